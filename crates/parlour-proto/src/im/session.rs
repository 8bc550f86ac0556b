//! IM Sessions: a sum of states, of which each verb consumes one and returns the next.

use std::time::Duration;

use parlour_msrp::timer::TimerId;

use crate::config::Proxy;
use crate::event::{Ended, Identity, Peer};
use crate::fault::PeerFault;
use crate::im::added::Asking;
use crate::im::composing::Writing;
use crate::im::first_message::First;
use crate::im::flows::Source;
use crate::im::large::Large;
use crate::im::media::{Agreed, Chat, OwnOffer};
use crate::im::prack::Fork;
use crate::im::recover::Lost;
use crate::im::refresh::Renewal;
use crate::im::reliable::{Awaited, Early, Media};
use crate::im::replaces::Replacement;
use crate::im::room::Room;
use crate::im::session_timer::SessionTimer;
use crate::im::trust::Asserted;
use crate::io::{AccountId, FlowId, SessionId, Why};
use crate::sdp;
use crate::sip::dialog::{Dialog, DialogKey};
use crate::sip::digest::Chain;
use crate::sip::header::{Contact, Header, MethodSet, RAck};
use crate::sip::message::{Kept, Message};
use crate::sip::name::Name;
use crate::sip::tx::{ClientId, ServerId};
use crate::verb::Say;

/// One IM Session, from its invitation to its end. It shares nothing with others, but for the MSRP connection perhaps.
//= IM R-4
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) peer: Peer,
    /// The way on which the dialog was made.
    pub(crate) flow: FlowId,
    /// Who was at its other end then.
    pub(crate) source: Source,
    /// Deadlines, at most one for each reason.
    pub(crate) timers: Vec<(Why, TimerId)>,
    pub(crate) phase: Phase,
    pub(crate) timer: SessionTimer,
    /// Messages for as soon as the session stands; empty from then on.
    pub(crate) queue: Vec<Say>,
    pub(crate) writing: Writing,
    pub(crate) room: Room,
    /// Set if it is for one large message alone.
    pub(crate) large: Option<Large>,
    pub(crate) ties: Ties,
}

/// What ties a session to others.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// Who a trusted core says that the peer is: only an INVITE on his behalf may replace the session (P-4).
    pub(crate) asserted: Option<Asserted>,
    /// The identity of ours that was called, if the caller named one (R-31).
    pub(crate) called: Option<Box<str>>,
    /// The Contribution-ID (P-11).
    pub(crate) conversation: Option<Box<str>>,
    /// An older session with the same peer, which goes as soon as messages flow in this one (R-5).
    pub(crate) supersedes: Option<SessionId>,
    /// How often the user was told that somebody wanted to take the session over.
    pub(crate) attempts: u8,
}

/// ```text
///  INVITE in --> Invited --accept--> Answered --ACK--> Live --leave/BYE--> Leaving --> gone
///                   |                    |               ^
///                   +--decline, CANCEL   +--no ACK: BYE  |
///  invite --> Inviting --------2xx, ACK------------------+
///                 +--refused, CANCEL--> gone
/// ```
#[derive(Debug)]
pub(crate) enum Phase {
    /// Our invitation is out, or waits for the address of its next hop.
    Inviting(Box<Inviting>),
    /// We are invited; the user has not answered.
    Invited(Box<Invited>),
    /// Our 200 is out; its ACK is not here.
    Answered(Box<Answered>),
    /// The session stands.
    Live(Box<Live>),
    /// Our BYE is out, or waits for the address of its next hop.
    Leaving(Box<Leaving>),
}

/// An invitation that came.
#[derive(Debug)]
pub(crate) struct Invited {
    pub(crate) invite: ServerId,
    pub(crate) dialog: Dialog,
    /// None for an INVITE without an offer (S-1a). Replaced by each later description of the caller.
    pub(crate) offer: Option<(sdp::Session, sdp::Judged)>,
    pub(crate) remote: Remote,
    /// What its Identity headers prove.
    pub(crate) identity: Option<Identity>,
    /// Its first message.
    pub(crate) first: First,
    /// The session that it may replace.
    pub(crate) replacement: Option<Replacement>,
    pub(crate) early: Early,
}

/// What a peer's Contact and Allow told us.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// The Contact as received: the IM Session Identity (G-4).
    pub(crate) session_identity: Box<str>,
    /// The methods of Allow (G-3).
    pub(crate) allow: MethodSet,
    /// Whether it knows Target-Dialog (RFC 4538 3).
    pub(crate) tdialog: bool,
    /// Whether its conference state was asked for: once in a session.
    pub(crate) followed: bool,
}

impl Remote {
    /// What the message that forms a dialog tells.
    pub(crate) fn of(message: &Message<'_>) -> Self {
        Remote {
            //= IM G-4
            session_identity: identity(message),
            //= IM G-3
            allow: message.allow(),
            tdialog: lists_tdialog(message),
            followed: false,
        }
    }

    /// What a target refresh changes that was carried out (RFC 3261 12.2.2). The remote target is the dialog's own affair:
    /// who the session is stays as it was first told, or as a focus told it last.
    //= IM G-4x
    pub(crate) fn follow(&mut self, message: &Message<'_>) {
        let identity = identity(message);
        if focus(&identity).is_some() {
            self.session_identity = identity;
        }
        self.hear(message);
    }

    /// What any later message of the dialog tells of its sender, whatever becomes of it.
    pub(crate) fn hear(&mut self, message: &Message<'_>) {
        //= IM G-3
        if message.has(Name::Allow) {
            self.allow = message.allow();
        }
        self.tdialog |= lists_tdialog(message);
    }

    /// The URI of the IM Session Identity if it is a conference's, which others than this dialog may use (RFC 4579 4.3).
    pub(crate) fn focus(&self) -> Option<&str> {
        focus(&self.session_identity)
    }

    /// The URI of the IM Session Identity, octet by octet.
    pub(crate) fn identity_uri(&self) -> Option<&str> {
        uri_of(&self.session_identity)
    }
}

fn identity(message: &Message<'_>) -> Box<str> {
    String::from_utf8_lossy(message.values(Name::Contact).next().unwrap_or_default()).into()
}

fn focus(contact: &str) -> Option<&str> {
    let parsed = Contact::parse(contact.as_bytes()).ok()?;
    let is_focus = parsed.address().is_some_and(|address| address.params.has("isfocus"));
    if is_focus { uri_of(contact) } else { None }
}

/// The URI of a Contact, octet by octet.
pub(crate) fn uri_of(contact: &str) -> Option<&str> {
    let Contact::Address(address) = Contact::parse(contact.as_bytes()).ok()? else { return None };
    std::str::from_utf8(address.uri).ok()
}

fn lists_tdialog(message: &Message<'_>) -> bool {
    message.values(Name::Supported).any(|tag| tag.eq_ignore_ascii_case(b"tdialog"))
}

/// An invitation that went out.
#[derive(Debug)]
pub(crate) struct Inviting {
    pub(crate) call: Call,
    /// The INVITE's transaction and octets, once it has left.
    pub(crate) sent: Option<Sent>,
    /// None until the INVITE has left.
    pub(crate) own: Option<OwnOffer>,
    /// Whether a provisional response came: only then may a CANCEL leave (RFC 3261 9.1).
    pub(crate) proceeding: bool,
    /// Whether the user was told that it rings there.
    pub(crate) ringing: bool,
    /// Why the invitation was taken back, if it was.
    pub(crate) cancelled: Option<Ended>,
    /// The early dialogs that provisional responses made, one for each fork (RFC 3261 12.1.2).
    pub(crate) early: Vec<DialogKey>,
    /// Those of them whose provisional responses are reliable.
    pub(crate) forks: Vec<Fork>,
    /// The challenges answered so far.
    pub(crate) chain: Chain,
    /// The session interval that the last INVITE asked for, in seconds.
    pub(crate) asked: Option<u32>,
}

/// What all INVITEs of one invitation share: a challenge is answered with a second one.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) uri: Box<str>,
    pub(crate) call_id: Box<str>,
    pub(crate) tag: Box<str>,
    pub(crate) cseq: u32,
    pub(crate) hop: Proxy,
    /// Whether the user or the configuration named the next hop, rather than the invited address.
    pub(crate) own_hop: bool,
}

/// A request that left.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) client: ClientId,
    pub(crate) request: Kept,
}

/// Our 200 is out.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) talk: Talk,
    pub(crate) unacked: Unacked,
    /// Set if the offer was ours, in the 200: the answer comes in the ACK.
    pub(crate) own: Option<OwnOffer>,
    /// Why to leave as soon as the ACK is here: BYE may not leave before (RFC 3261 15).
    pub(crate) leave: Option<Ended>,
}

/// A 2xx that is sent again until its ACK comes (RFC 3261 13.3.1.4).
#[derive(Debug)]
pub(crate) struct Unacked {
    pub(crate) server: ServerId,
    pub(crate) cseq: u32,
    pub(crate) response: Box<[u8]>,
    pub(crate) interval: Duration,
}

/// A session that stands. What few have at a time lies in boxes.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) talk: Talk,
    /// The answer to a re-INVITE that was not acknowledged yet.
    pub(crate) reanswered: Option<Box<Unacked>>,
    /// The offer in that answer, if the re-INVITE had none: its ACK brings the peer's answer.
    pub(crate) reoffered: Option<Box<sdp::Offered>>,
    /// A re-INVITE that waits for the user's word about the files that it adds.
    pub(crate) asking: Option<Box<Asking>>,
    /// Our own request inside the session that has no final response yet.
    pub(crate) renewal: Option<Box<Renewal>>,
    /// How often we have offered again without CEMA.
    pub(crate) offered_without_cema: u8,
}

impl Live {
    pub(crate) fn of(talk: Talk) -> Self {
        Live { talk, reanswered: None, reoffered: None, asking: None, renewal: None, offered_without_cema: 0 }
    }
}

/// What an agreed session needs.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) dialog: Dialog,
    pub(crate) remote: Remote,
    /// None while the peer's answer to our offer is not here.
    pub(crate) agreed: Option<Agreed>,
    /// Set when its media is lost, until that is mended and has stood for a while.
    pub(crate) lost: Option<Lost>,
    /// A reliable provisional response that our 200 has overtaken.
    pub(crate) unpracked: Option<Box<Awaited>>,
}

/// Our BYE is out, or waits for the address of its next hop.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) dialog: Dialog,
    /// The MSRP session, which ends with the dialog: peers take a connection that closes before the BYE for a failure.
    pub(crate) msrp: Option<parlour_msrp::SessionId>,
    /// What to say at the end; None once it is said, and only the BYE goes on.
    pub(crate) ended: Option<Ended>,
    /// The challenges answered so far.
    pub(crate) chain: Chain,
    /// What the BYE bears besides the usual rows.
    pub(crate) rows: Vec<(Name, String)>,
    /// The BYE was the peer's, and answers to files are waited for until then.
    pub(crate) until: Option<crate::io::Instant>,
}

impl Session {
    /// Takes the first of the messages that wait, unless its media is lost.
    pub(crate) fn next_queued(&mut self) -> Option<Say> {
        (!self.queue.is_empty() && !self.has_lost_media()).then(|| self.queue.remove(0))
    }

    /// Whether messages have nowhere to go until a new MSRP session is agreed on.
    pub(crate) fn has_lost_media(&self) -> bool {
        self.phase.talk().and_then(|talk| talk.lost.as_ref()).is_some_and(Lost::is_gone)
    }

    pub(crate) fn is_armed(&self, why: Why) -> bool {
        self.timers.iter().any(|(reason, _)| *reason == why)
    }
}

impl Talk {
    /// The stream for messages that is on.
    pub(crate) fn chat(&self) -> Option<&Chat> {
        self.agreed.as_ref()?.chat.as_ref()
    }

    /// The PRACK for a response that our 200 has overtaken (RFC 3262 3).
    pub(crate) fn late_prack(&mut self, rack: &RAck) -> Result<(), PeerFault> {
        let acknowledged = self.unpracked.take_if(|awaited| awaited.is_meant_by(rack));
        acknowledged.map(drop).ok_or(PeerFault::NoProvisional)
    }
}

impl Phase {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Phase::Inviting(inviting) if inviting.cancelled.is_some() => "ending",
            Phase::Inviting(_) => "being set up",
            Phase::Invited(_) => "an unanswered invitation",
            Phase::Answered(_) | Phase::Live(_) => "established",
            Phase::Leaving(_) => "ending",
        }
    }

    pub(crate) fn dialog(&self) -> Option<&Dialog> {
        match self {
            Phase::Inviting(_) => None,
            Phase::Invited(invited) => Some(&invited.dialog),
            Phase::Answered(answered) => Some(&answered.talk.dialog),
            Phase::Live(live) => Some(&live.talk.dialog),
            Phase::Leaving(leaving) => Some(&leaving.dialog),
        }
    }

    pub(crate) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match self {
            Phase::Inviting(_) => None,
            Phase::Invited(invited) => Some(&mut invited.dialog),
            Phase::Answered(answered) => Some(&mut answered.talk.dialog),
            Phase::Live(live) => Some(&mut live.talk.dialog),
            Phase::Leaving(leaving) => Some(&mut leaving.dialog),
        }
    }

    /// What the peer's Contact and Allow told.
    pub(crate) fn remote_mut(&mut self) -> Option<&mut Remote> {
        match self {
            Phase::Invited(invited) => Some(&mut invited.remote),
            Phase::Answered(answered) => Some(&mut answered.talk.remote),
            Phase::Live(live) => Some(&mut live.talk.remote),
            Phase::Inviting(_) | Phase::Leaving(_) => None,
        }
    }

    /// Whether an offer or an INVITE of ours waits for its answer: an offer of the peer crosses it (RFC 3261 14.2).
    pub(crate) fn offer_outstanding(&self) -> bool {
        match self {
            Phase::Answered(answered) => answered.own.is_some(),
            Phase::Live(live) => {
                live.reoffered.is_some() || live.renewal.as_ref().is_some_and(|renewal| renewal.offers())
            }
            Phase::Inviting(_) => true,
            Phase::Invited(invited) => matches!(invited.early.media, Media::Offered(_)),
            Phase::Leaving(_) => false,
        }
    }

    /// What is agreed on, once it is; before we have accepted, if it was settled early.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        match self {
            Phase::Invited(invited) => match &invited.early.media {
                Media::Settled(agreed) => Some(agreed),
                Media::Fresh | Media::Offered(_) => None,
            },
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => {
                self.talk()?.agreed.as_ref()
            }
        }
    }

    /// What is agreed on, once it is.
    pub(crate) fn agreed_mut(&mut self) -> Option<&mut Agreed> {
        self.talk_mut()?.agreed.as_mut()
    }

    /// The stream for messages that is on.
    pub(crate) fn chat(&self) -> Option<&Chat> {
        self.talk()?.chat()
    }

    /// The same, to change it.
    pub(crate) fn chat_mut(&mut self) -> Option<&mut Chat> {
        self.agreed_mut()?.chat.as_mut()
    }

    pub(crate) fn talk(&self) -> Option<&Talk> {
        match self {
            Phase::Answered(answered) => Some(&answered.talk),
            Phase::Live(live) => Some(&live.talk),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Leaving(_) => None,
        }
    }

    pub(crate) fn talk_mut(&mut self) -> Option<&mut Talk> {
        match self {
            Phase::Answered(answered) => Some(&mut answered.talk),
            Phase::Live(live) => Some(&mut live.talk),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Leaving(_) => None,
        }
    }

    /// The MSRP session of the chat, agreed or offered.
    pub(crate) fn msrp(&self) -> Option<parlour_msrp::SessionId> {
        let own = match self {
            Phase::Inviting(inviting) => inviting.own.as_ref(),
            Phase::Answered(answered) => answered.own.as_ref(),
            Phase::Leaving(leaving) => return leaving.msrp,
            Phase::Invited(invited) => return invited.early.media.msrp(),
            Phase::Live(_) => None,
        };
        own.and_then(|own| own.msrp).or(self.chat().map(|chat| chat.msrp))
    }

    /// Over for the user: only its BYE goes on.
    pub(crate) fn is_parting(&self) -> bool {
        matches!(self, Phase::Leaving(leaving) if leaving.ended.is_none())
    }

    /// An invitation that the user does not know of, as preconditions are not met.
    pub(crate) fn is_suspended(&self) -> bool {
        matches!(self, Phase::Invited(invited) if !invited.early.alerted)
    }

    /// Counts against `max_sessions` (R-1): confirmed, or accepted and waiting for the ACK, or for the store.
    pub(crate) fn is_session(&self) -> bool {
        matches!(self, Phase::Answered(_) | Phase::Live(_)) || self.awaits_store()
    }

    pub(crate) fn awaits_store(&self) -> bool {
        matches!(self, Phase::Invited(invited) if invited.first == First::Awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(contact: &str) -> Vec<u8> {
        format!("UPDATE sip:b@x SIP/2.0\r\n{contact}\r\n").into_bytes()
    }

    //= IM G-4x test
    #[test]
    fn only_a_focus_says_anew_who_the_session_is() {
        let parse = |octets: &[u8], remote: &mut Remote| {
            remote.follow(&Message::parse(octets).expect("a message"));
            remote.session_identity.to_string()
        };
        let mut remote =
            Remote::of(&Message::parse(&message("Contact: <sip:a@x;p=1>\r\n")).expect("a message"));
        let first = "<sip:a@x;p=1>";
        assert_eq!(parse(&message("Contact: <sip:moved@x>\r\n"), &mut remote), first);
        assert_eq!(remote.focus(), None);
        assert_eq!(parse(&message("Contact: <sip:c@x>;isfocus\r\n"), &mut remote), "<sip:c@x>;isfocus");
        assert_eq!(parse(&message("Contact: <sip:moved@x>\r\n"), &mut remote), "<sip:c@x>;isfocus");
        assert_eq!(parse(&message(""), &mut remote), "<sip:c@x>;isfocus");
        assert_eq!(remote.focus(), Some("sip:c@x"));
    }
}
