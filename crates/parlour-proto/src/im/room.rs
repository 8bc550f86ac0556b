//! Sessions with the focus of a conference: who speaks to whom, and what the room calls us (RFC 7701).

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};

use parlour_msrp::{Body, SendFailure, Source};
use siphasher::sip::SipHasher13;

use crate::event::{InRoom, Incoming, Participant, Peer, What};
use crate::im::Core;
use crate::im::account::ANONYMOUS;
use crate::im::session::{Phase, Session};
use crate::io::SessionId;
use crate::mime::conference_info::Conference;
use crate::mime::cpim::Mailbox;
use crate::nickname;
use crate::sdp::Chatroom;
use crate::sip::uri::{Uri, aor, same_identity};
use crate::text;
use crate::verb::{Misuse, Say};

/// Messages of ours whose echo is recognised: the last so many.
const ECHOES: usize = 32;

/// Users among whom one is looked for who is not written as the conference writes it.
const SEARCHED: usize = 64;

/// What a session keeps for being with a conference.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// What we said to all, as numbers made of it.
    said: VecDeque<u64>,
}

impl Core {
    /// The URI by which messages reach the whole room (RFC 7701 6.1). The conference names itself in the documents that
    /// tell who is there (RFC 4575 5.3). Before they come its Contact does, unless that is only where a server is: some
    /// know their rooms by the address that was called alone.
    //= IM M-60
    fn room_uri<'s>(&'s self, session: &'s Session) -> &'s str {
        let entity = self.conference(session).and_then(|conference| conference.entity.as_deref());
        let contact = session.focus().filter(|contact| is_name(contact));
        entity.or(contact).unwrap_or(&session.peer.address)
    }

    /// Whether what is sent to that URI is for all: any of the names of the room.
    fn is_room_uri(&self, session: &Session, uri: &str) -> bool {
        let conference = self.conference(session);
        let entity = conference.and_then(|conference| conference.entity.as_deref());
        let more = conference.into_iter().flat_map(|conference| &conference.description.conf_uris);
        let names = [entity, session.focus(), Some(session.peer.address.as_str())].into_iter().flatten();
        let names = names.chain(more.map(|more| more.uri.as_str()));
        let parsed = Uri::parse(uri.as_bytes());
        { names }.any(|name| match (Uri::parse(name.as_bytes()), &parsed) {
            (Ok(name), Ok(uri)) => same_identity(&name, uri),
            (Ok(_) | Err(_), _) => name == uri,
        })
    }

    /// Whether a message to that URI went to one participant of the session's room.
    pub(crate) fn is_private_to(&self, session: &Session, uri: &str) -> bool {
        session.is_room() && !self.is_room_uri(session, uri)
    }

    fn conference(&self, session: &Session) -> Option<&Conference> {
        self.subscriptions.get(session.id).map(|subscription| &subscription.conference)
    }

    /// The participant with that address, as the conference tells it; `Err` if it tells of none.
    fn participant(&self, session: &Session, address: &str) -> Result<Option<&Participant>, ()> {
        let subscription =
            self.subscriptions.get(session.id).filter(|subscription| subscription.told.is_some());
        let present = &subscription.ok_or(())?.present;
        let Ok(uri) = Uri::parse(address.as_bytes()) else { return Ok(None) };
        let known = present.get(address).or_else(|| present.get(aor(&uri).as_str()));
        let is_it =
            |entity: &str| Uri::parse(entity.as_bytes()).is_ok_and(|entity| same_identity(&entity, &uri));
        let search =
            || present.iter().take(SEARCHED).find(|(entity, _)| is_it(entity)).map(|(_, found)| found);
        Ok(known.or_else(search))
    }

    /// The addresses that a message of ours bears inside: from whom, and to whom; `to` is one participant of a room.
    pub(crate) fn correspondents(
        &self,
        session: &Session,
        to: Option<&str>,
    ) -> Result<(Mailbox, Mailbox), Misuse> {
        let mailbox = |uri: &str| Mailbox { name: None, uri: uri.to_owned() };
        let from = mailbox(&self.own_identity(session));
        let to = match to {
            None if session.is_room() => self.room_uri(session),
            None => &session.peer.address,
            //= IM M-60
            Some(to) => self.confidant(session, to)?,
        };
        Ok((from, mailbox(to)))
    }

    /// Whether a message may go to one participant alone. Where it may not it is not sent, and never to all.
    fn confidant<'t>(&self, session: &Session, to: &'t str) -> Result<&'t str, Misuse> {
        let cannot = |why: &str| Err(Misuse::Unsendable(why.to_owned()));
        if !session.is_room() {
            return cannot("only a conference takes private messages, and this is none");
        }
        match session.chatroom() {
            Some(chatroom) if chatroom.private_messages => {}
            Some(_) => return cannot("the conference does not allow private messages"),
            None => return cannot("the conference does not know private messages"),
        }
        if Uri::parse(to.as_bytes()).is_err() || to.contains(['<', '>', '"', ' ']) {
            return Err(Misuse::BadAddress(to.to_owned()));
        }
        if self.is_room_uri(session, to) {
            return cannot("that is the conference itself: what it gets, all get");
        }
        Ok(to)
    }

    /// Whether a message that came is one of ours that came back; it is known by what it says.
    pub(crate) fn is_echo(&mut self, id: SessionId, incoming: &Incoming) -> bool {
        let is_own = incoming.room.as_ref().is_some_and(|room| room.own && !room.private);
        let Body::Inline(octets) = &incoming.body else { return false };
        let Some(session) = self.sessions.get_mut(id).filter(|_| is_own) else { return false };
        let said = &mut session.room.said;
        let trace = trace(&incoming.content_type, octets);
        let found = said.iter().position(|known| *known == trace).and_then(|at| said.remove(at));
        found.is_some()
    }

    /// Who wrote a message of a room, and whether to us alone. The focus answers for the author (M-33): it has to see that
    /// nobody writes in another's name (RFC 7701 6.1).
    //= IM M-33
    //= IM M-60
    pub(crate) fn in_room(
        &self,
        session: &Session,
        from: Option<&Mailbox>,
        to: &[Mailbox],
    ) -> Option<InRoom> {
        if !session.is_room() {
            return None;
        }
        let account = self.account(session.account)?;
        let own =
            |uri: &str| account.identity_named(uri.as_bytes()).is_some() || uri == self.own_identity(session);
        // Nobody is called anonymous: what goes to nobody in particular is for all (M-32), but where we are nobody.
        let for_all =
            |to: &Mailbox| self.is_room_uri(session, &to.uri) || (to.uri == ANONYMOUS && !own(&to.uri));
        // RFC 7701 6.2: what is not addressed to the room is private. Rooms that know nothing of that write what they like.
        let private = session.chatroom().is_some() && !to.is_empty() && !to.iter().any(for_all);
        let author = from.filter(|from| !self.is_room_uri(session, &from.uri));
        let known = author.map(|author| self.participant(session, &author.uri));
        let listed = known.as_ref().and_then(|known| known.as_ref().ok().copied().flatten());
        let told = listed.and_then(|user| user.nickname.clone().or_else(|| user.display_name.clone()));
        let author_peer = author.map(|author| Peer {
            address: author.uri.clone(),
            display_name: told.or_else(|| author.name.clone()),
            // Where the conference tells who is there, its word on others is worth nothing.
            verified: session.peer.verified && (listed.is_some() || matches!(known, Some(Err(())))),
        });
        let own = author.is_some_and(|author| own(&author.uri));
        let to = to.first().filter(|_| private && own).map(|to| to.uri.clone());
        Some(InRoom { author: author_peer, private, own, to })
    }

    /// Asks the room to call us by that name; an empty one gives up the one that we have.
    //= IM M-61
    pub(crate) fn nick(&mut self, id: SessionId, name: &str) -> Result<(), Misuse> {
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        let chat = match &session.phase {
            Phase::Live(live) => live.talk.chat(),
            other @ (Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_)) => {
                return Err(Misuse::WrongState { state: other.name(), verb: "a nickname" });
            }
        };
        let none = |why: &str| Err(Misuse::NoNickname(why.to_owned()));
        if !session.is_room() {
            return none("the session is no conference");
        }
        // RFC 7701 7.1: it may be sent where the room says so.
        match chat.map(|chat| chat.stream.chatroom.as_ref()) {
            Some(Some(chatroom)) if chatroom.nickname => {}
            Some(Some(_)) => return none("the conference does not allow any"),
            Some(None) => return none("the conference does not know any"),
            None => return none("the conference takes no messages now"),
        }
        let name = if name.is_empty() {
            String::new()
        } else {
            nickname::prepare(name)
                .map_err(|why| Misuse::NoNickname(format!("it is not one by RFC 8266: {why}")))?
        };
        let Some(msrp) = chat.map(|chat| chat.msrp) else { return Err(Misuse::NoSession) };
        let asked = self.msrp.nickname(self.now.instant, msrp, &name);
        self.pump_msrp();
        asked.map_err(|fault| Misuse::NoNickname(fault.to_string()))
    }

    /// Why a message was not taken, in the words of rooms where it is one.
    pub(crate) fn in_words(&self, msrp: parlour_msrp::SessionId, why: &SendFailure) -> Option<String> {
        let id = self.sessions.by_msrp(msrp)?;
        let SendFailure::Refused { status, comment } = why else { return None };
        let words =
            self.sessions.get(id).filter(|session| session.is_room()).and_then(|_| refused(*status))?;
        Some(format!("{words} ({status} {})", text::neutral(comment)))
    }
}

/// The room does not call us so, and why.
pub(crate) fn not_named(nickname: String, why: &SendFailure) -> What {
    let (status, words) = match why {
        SendFailure::Refused { status, comment } => {
            let words = match status {
                403 => "the conference does not let you have it",
                423 => "it is too long for the conference",
                424 => "the conference says that it is malformed",
                425 => "somebody else has it, or it is reserved",
                501 => "the conference does not know nicknames",
                _ => "the conference refuses it",
            };
            (Some(*status), format!("{words} ({status} {})", text::neutral(comment)))
        }
        SendFailure::NoResponse => (None, "the conference did not answer in 30 s".to_owned()),
        SendFailure::SessionEnded | SendFailure::Unreadable | SendFailure::Aborted | _ => {
            (None, "the session ended before the conference answered".to_owned())
        }
    };
    What::NicknameRefused { nickname, status, why: words }
}

/// What a room means by refusing a message (RFC 7701 6.2, 6.3).
fn refused(status: u16) -> Option<&'static str> {
    match status {
        403 => Some("the conference does not let you say that, or not under this address"),
        404 => Some("nobody of that address is in the conference"),
        415 => Some("the conference does not take this type of message"),
        428 => Some("this participant cannot be sent private messages"),
        _ => None,
    }
}

/// Whether a URI names something by more than where it is: its host is no address.
fn is_name(uri: &str) -> bool {
    let host = Uri::parse(uri.as_bytes()).map(|uri| uri.host().to_owned()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    !host.is_empty() && address.is_err()
}

/// A number that two messages share only if they say the same.
fn trace(content_type: &str, octets: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    content_type.hash(&mut hasher);
    octets.hash(&mut hasher);
    hasher.finish()
}

impl Session {
    /// Notes what is about to be said to all: some conferences send it back to us.
    pub(crate) fn note_said(&mut self, message: &Say) {
        let Source::Inline(octets) = &message.body else { return };
        if !self.is_room() || message.to.is_some() {
            return;
        }
        if self.room.said.len() >= ECHOES {
            self.room.said.pop_front();
        }
        self.room.said.push_back(trace(&message.content_type, octets));
    }

    /// The IM Session Identity where it is a conference's.
    fn focus(&self) -> Option<&str> {
        match &self.phase {
            Phase::Invited(invited) => invited.remote.focus(),
            other @ (Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_)) => {
                other.talk().and_then(|talk| talk.remote.focus())
            }
        }
    }

    /// Whether it is a room that passes on what is for one participant alone (RFC 7701 6.2).
    pub(crate) fn passes_on(&self) -> bool {
        self.chatroom().is_some_and(|chatroom| chatroom.private_messages)
    }

    /// What the room says of itself, in its last description.
    fn chatroom(&self) -> Option<&Chatroom> {
        match &self.phase {
            Phase::Invited(invited) => invited.offer.as_ref()?.1.chat.as_ref()?.chatroom.as_ref(),
            other @ (Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_)) => {
                other.chat()?.stream.chatroom.as_ref()
            }
        }
    }
}
