//! What a piece of news holds in memory: what waits for a front end that stands still has to be bounded.

use std::mem::size_of;

use parlour_msrp::Body;
use parlour_proto::event::{
    Ended, Explain, FileInfo, FileNews, FileStop, InRoom, Incoming, Invitee, Notice, Participant, Peer,
    Progress, Roster, Secured, Thread, Unasked, Voucher, What,
};
use parlour_proto::mime::content::Part;
use parlour_proto::mime::cpim::Mailbox;

use super::Told;
use crate::store::OwnBody;

impl Told {
    /// Octets, as far as a peer or the user can make them many.
    pub(super) fn weight(&self) -> usize {
        let more = match self {
            Told::Event(happening) => what(&happening.event.what).saturating_add(text(&happening.file)),
            Told::Said { peer, message, file, .. } => {
                let body = match &message.body {
                    OwnBody::Inline(octets) => octets.len(),
                    OwnBody::Kept(..) => 0,
                };
                let names = [peer, &message.message_id, &message.content_type].map(String::len);
                sum(names).saturating_add(body).saturating_add(text(&message.to)).saturating_add(text(file))
            }
            Told::Paged { to, page, .. } => {
                sum([to.len(), page.message_id.len(), page.content_type.len(), page.body.len()])
            }
            Told::Outcome(outcome) => match &outcome.what {
                Ok(achieved) => {
                    let users = achieved.users.as_ref().map_or(0, |users| each(users, participant));
                    sum([text(&outcome.id), text(&achieved.message_id), users])
                }
                Err(why) => text(&outcome.id).saturating_add(why.len()),
            },
            Told::Trouble(why) => why.len(),
            Told::Missed { .. } => 0,
        };
        size_of::<Told>().saturating_add(more)
    }
}

fn what(what: &What) -> usize {
    match what {
        What::Unregistered | What::Ringing | What::Connected | What::Held | What::Resumed => 0,
        What::Registered { identities, .. } => strings(identities),
        What::RegistrationFailed { why, .. }
        | What::RosterEnded { why }
        | What::Reconnecting { why }
        | What::RelayFailed { why, .. } => why.len(),
        What::Invited { peer: caller, subject, identity, thread, invited_with, files, kind: _, asked: _ } => {
            let identity = identity
                .as_ref()
                .map_or(0, |identity| text(&identity.info).saturating_add(identity.why.len()));
            let Thread { replaces: _, referred_by, conversation, continues } = thread;
            let thread = sum([referred_by.as_ref().map_or(0, peer), text(conversation), text(continues)]);
            let invitee = |Invitee { address, display_name, .. }: &Invitee| {
                address.len().saturating_add(text(display_name))
            };
            sum([
                peer(caller),
                text(subject),
                identity,
                thread,
                each(invited_with, invitee),
                each(files, file),
            ])
        }
        What::TakeoverRefused { by, why } => peer(by).saturating_add(why.len()),
        What::Moved { message_id, .. }
        | What::Receiving { message_id, .. }
        | What::Sending { message_id, .. } => message_id.len(),
        What::Missed { peer: caller, why } => peer(caller).saturating_add(ended(why)),
        What::Inviting { to, .. } => to.len(),
        What::Established { peer: other, session_identity, .. } => {
            peer(other).saturating_add(session_identity.len())
        }
        What::Roster(news) => roster(news),
        What::AddAccepted { address } => address.len(),
        What::AddRefused { address, reason, .. } => address.len().saturating_add(reason.len()),
        What::Secured(Secured { peer: other, by, fingerprint, protected: _ }) => {
            let name = match by {
                Voucher::Authority { name } => name.len(),
                Voucher::Fingerprint | Voucher::Nobody => 0,
            };
            sum([peer(other), name, text(fingerprint)])
        }
        What::FingerprintChanged { peer: other, old, new, .. } => sum([peer(other), old.len(), new.len()]),
        What::Impostor { expected, shown } => strings(expected).saturating_add(text(shown)),
        What::Composing { by, content_type, .. } => peer(by).saturating_add(text(content_type)),
        What::Message(message) => incoming(message),
        What::Incomplete { message_id, why, .. } => message_id.len().saturating_add(why.len()),
        What::Progress { message_id, progress } => {
            let why = match progress {
                Progress::Failed { why } => why.len(),
                Progress::Sent | Progress::Acknowledged => 0,
            };
            message_id.len().saturating_add(why)
        }
        What::FilesAdded { files, .. } => each(files, file),
        What::File { news, .. } => file_news(news),
        What::Receipt { message_id, from, recipient, .. } => {
            sum([message_id.len(), peer(from), text(recipient)])
        }
        What::Nickname { nickname } => nickname.len(),
        What::NicknameRefused { nickname, why, .. } => nickname.len().saturating_add(why.len()),
        What::TypeRefused { peer: other, media_type, .. } => peer(other).saturating_add(media_type.len()),
        What::Ended(why) => ended(why),
        What::Explain(Explain { decision, input, invitation, .. }) => {
            let call_id = invitation.as_ref().map_or(0, |invitation| invitation.call_id.len());
            sum([decision.len(), input.len(), call_id])
        }
    }
}

fn incoming(message: &Incoming) -> usize {
    let Incoming {
        receipt: _,
        message_id,
        from,
        claimed_from,
        authors,
        sent_at,
        subject,
        notices,
        expires: _,
        content_type,
        body: octets,
        body_offset: _,
        parts,
        renderable: _,
        room,
    } = message;
    let room = room.as_ref().map_or(0, |room| {
        let InRoom { author, to, .. } = room.as_ref();
        sum([size_of::<InRoom>(), author.as_ref().map_or(0, peer), text(to)])
    });
    sum([
        message_id.len(),
        peer(from),
        text(claimed_from),
        each(authors, mailbox),
        text(sent_at),
        text(subject),
    ])
    .saturating_add(sum([
        each(notices, notice),
        content_type.len(),
        body(octets),
        each(parts, part),
        room,
    ]))
}

fn body(body: &Body) -> usize {
    match body {
        Body::Inline(octets) => octets.len(),
        Body::Spooled { head, .. } => head.len(),
    }
}

fn part(part: &Part) -> usize {
    let Part { content_type, name, text: says, about, authors, trouble, .. } = part;
    sum([content_type.len(), text(name), text(says), text(about), each(authors, mailbox), text(trouble)])
}

fn notice(notice: &Notice) -> usize {
    let Notice { id, to, recipient, message_id, date_time, author, original_to, routes, .. } = notice;
    sum([
        id.len(),
        to.len(),
        recipient.len(),
        message_id.len(),
        text(date_time),
        text(author),
        text(original_to),
    ])
    .saturating_add(strings(routes))
}

fn mailbox(mailbox: &Mailbox) -> usize {
    mailbox.uri.len().saturating_add(text(&mailbox.name))
}

fn peer(peer: &Peer) -> usize {
    peer.address.len().saturating_add(text(&peer.display_name))
}

fn roster(news: &Roster) -> usize {
    let Roster { subject, conf_uris, joined, changed, left, .. } = news;
    let users = [joined, changed, left].map(|users| each(users, participant));
    sum([text(subject), strings(conf_uris), sum(users)])
}

fn participant(user: &Participant) -> usize {
    let Participant { address, display_name, nickname, roles, .. } = user;
    sum([address.len(), text(display_name), text(nickname), strings(roles)])
}

fn file(info: &FileInfo) -> usize {
    let about = &info.about;
    let selector = &about.selector;
    sum([
        text(&selector.name),
        text(&selector.media_type),
        each(&selector.hashes, |_| 0),
        about.transfer_id.len(),
    ])
    .saturating_add(sum(
        [&about.disposition, &about.created, &about.modified, &about.read, &about.icon].map(text)
    ))
    .saturating_add(match &info.unasked {
        Some(Unasked::Given { path: more } | Unasked::Refused { why: more }) => more.len(),
        Some(Unasked::GoesOn) | None => 0,
    })
}

fn file_news(news: &FileNews) -> usize {
    match news {
        FileNews::Offered(info) | FileNews::Begun(info) => size_of::<FileInfo>().saturating_add(file(info)),
        FileNews::Whole { message_id, body: octets } => message_id.len().saturating_add(body(octets)),
        FileNews::Stopped(FileStop::Interrupted { why } | FileStop::Failed { why }) => why.len(),
        FileNews::Stopped(
            FileStop::Declined | FileStop::Cancelled | FileStop::Aborted | FileStop::Corrupt,
        )
        | FileNews::Moved { .. }
        | FileNews::Done => 0,
    }
}

fn ended(why: &Ended) -> usize {
    match why {
        Ended::Refused { reason, warning, .. } => reason.len().saturating_add(text(warning)),
        Ended::MediaFailed { why: words } | Ended::Lost { why: words } => words.len(),
        Ended::Left
        | Ended::PeerLeft
        | Ended::Cancelled { .. }
        | Ended::Declined { .. }
        | Ended::NoAnswer
        | Ended::NoAck
        | Ended::Replaced { .. } => 0,
    }
}

fn text(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn strings(strings: &[String]) -> usize {
    each(strings, String::len)
}

/// A list: its places, and what each of them holds elsewhere.
fn each<T>(list: &[T], one: impl Fn(&T) -> usize) -> usize {
    list.iter().fold(0, |all, item| all.saturating_add(size_of::<T>()).saturating_add(one(item)))
}

fn sum(parts: impl IntoIterator<Item = usize>) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use parlour_proto::event::Event;
    use parlour_proto::io::{AccountId, Receipt, SessionId};
    use parlour_proto::mime::content::{Head, read};

    use super::*;
    use crate::agent::Happening;

    /// A text message with so many octets.
    pub(in crate::agent) fn message(seq: u64, octets: usize) -> Told {
        let text = vec![b'x'; octets];
        let message = Incoming {
            receipt: Receipt(seq),
            message_id: "m".into(),
            from: Peer::default(),
            claimed_from: None,
            authors: Vec::new(),
            sent_at: None,
            subject: None,
            notices: Vec::new(),
            expires: None,
            content_type: "text/plain".into(),
            parts: read(Head { content_type: Some(b"text/plain"), ..Head::default() }, &text),
            body: Body::Inline(text),
            body_offset: 0,
            renderable: true,
            room: None,
        };
        event(Some(seq), What::Message(message))
    }

    fn event(seq: Option<u64>, what: What) -> Told {
        let event = Event { account: AccountId(0), session: Some(SessionId(1)), what };
        let (time, account) = (Duration::ZERO, "sip:us@x".into());
        Told::Event(Happening { seq, time, account, session: None, event, file: None, speed: None })
    }

    #[test]
    fn a_text_weighs_its_octets_and_what_was_made_of_them() {
        let little = message(1, 10).weight();
        assert_eq!(message(1, 10_010).weight(), little + 20_000, "the octets, and the text in the part");
    }

    #[test]
    fn lists_and_words_of_a_peer_count() {
        let user = |address: &str| Participant {
            address: address.into(),
            display_name: Some("n".repeat(50)),
            nickname: None,
            roles: vec!["r".repeat(20)],
            status: None,
            joining_method: None,
            disconnection_method: None,
            anonymous: false,
        };
        let users = |count| {
            let joined = vec![user("sip:a@x"); count];
            event(None, What::Roster(Roster { joined, ..Roster::default() })).weight()
        };
        assert!(users(100) - users(0) >= 100 * (7 + 50 + 20 + size_of::<Participant>()));
        let refused = |reason: &str| Ended::Refused {
            status: 500,
            reason: reason.into(),
            warning: None,
            retry_after: None,
        };
        let ends = |reason: &str| event(None, What::Ended(refused(reason))).weight();
        assert_eq!(ends(&"r".repeat(300)) - ends(""), 300);
        let missed = |reason: &str| {
            let peer = Peer { address: "a".repeat(40), ..Peer::default() };
            event(None, What::Missed { peer, why: refused(reason) }).weight()
        };
        assert_eq!(missed("why") - event(None, What::Held).weight(), 43);
    }
}
