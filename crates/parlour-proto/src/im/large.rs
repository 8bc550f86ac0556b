//! Large Message Mode (F-15): an invitation for one message of any size, and BYE.

use std::time::Duration;

use crate::config::Accept;
use crate::event::{Ended, Kind};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::im::stamp::{FEATURE, LARGE};
use crate::io::{SessionId, Why};
use crate::sdp::{Direction, Refusal, Stream};
use crate::sip::name::Name;
use crate::verb::Misuse;

/// How long the one message, or the next part of it, may take; and how long its sender may wait with the BYE.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the one message of a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Large {
    /// It is to come, and so many octets are taken at most.
    Awaited(u64),
    /// It is here.
    Here,
    /// We are to send it.
    Ours,
    /// It is on its way.
    Sent,
}

impl Core {
    /// What an invitation to a large message comes to; None if it is none, but for files alone, say.
    //= IM F-15
    pub(crate) fn large(&self, kind: Kind, stream: Option<&Stream>) -> Result<Option<Large>, PeerFault> {
        let limits = self.config.large_message.filter(|_| kind == Kind::LargeMessage);
        let (Some(limits), Some(stream)) = (limits, stream) else { return Ok(None) };
        match stream.direction {
            Direction::SendOnly | Direction::Inactive => {
                let text = "a large message has to come to us".to_owned();
                Err(PeerFault::NotAcceptable(Refusal { warning: 399, text, clause: "F-15" }))
            }
            Direction::SendRecv | Direction::RecvOnly => Ok(Some(Large::Awaited(limits.most))),
        }
    }

    /// Whether an invitation to a large message is accepted unasked, as a message would be: then it may have fewer octets.
    /// Nobody is whose address nobody vouches for, but by express wish.
    //= IM F-15
    pub(crate) fn takes_unasked(&self, session: &mut Session, by_config: bool) -> bool {
        let (Some(Large::Awaited(most)), Some(limits)) = (&mut session.large, self.config.large_message)
        else {
            return false;
        };
        let unasked = limits.unasked > 0 && (by_config || session.peer.verified);
        // Whoever takes all calls wants what they bring.
        if unasked && self.config.accept != Accept::All {
            *most = limits.unasked.min(limits.most);
            if let Phase::Invited(invited) = &mut session.phase
                && let Some((_, judged)) = &mut invited.offer
                && let Some(chat) = &mut judged.chat
            {
                chat.takes = *most;
            }
        }
        unasked
    }

    /// Content came in a session: whether it may.
    //= IM F-15
    pub(crate) fn large_came(&mut self, id: SessionId) -> Result<(), &'static str> {
        let Some(mut session) = self.sessions.take(id) else { return Ok(()) };
        let may = match session.large {
            None => Ok(()),
            Some(Large::Awaited(_)) => {
                session.large = Some(Large::Here);
                self.arm(&mut session, Why::Large, self.now.instant + PATIENCE);
                Ok(())
            }
            Some(Large::Here) => Err("an invitation to a large message brings one alone"),
            Some(Large::Ours | Large::Sent) => Err("the session is for one message of ours"),
        };
        self.sessions.put(session);
        may
    }

    /// Something of the one message came, or its connection: the rest may take a while again.
    pub(crate) fn large_goes_on(&mut self, msrp: parlour_msrp::SessionId) {
        let Some(id) = self.sessions.by_msrp(msrp) else { return };
        let Some(mut session) = self.sessions.take(id) else { return };
        if matches!(session.large, Some(Large::Awaited(_) | Large::Sent)) {
            self.arm(&mut session, Why::Large, self.now.instant + PATIENCE);
        }
        self.sessions.put(session);
    }

    /// Our one message cannot be sent: another may be tried.
    pub(crate) fn large_not_said(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(session) = session.filter(|session| session.large == Some(Large::Sent)) {
            session.large = Some(Large::Ours);
        }
    }

    /// The one message, ours or the peer's, gets no further.
    //= IM F-15
    pub(crate) fn large_is_over(&mut self, msrp: parlour_msrp::SessionId) {
        let Some(id) = self.sessions.by_msrp(msrp) else { return };
        let Some(session) = self.sessions.get(id).filter(|session| session.large.is_some()) else { return };
        let account = session.account;
        if self.leave(id).is_ok() {
            self.explain(account, Some(id), "F-15", "left: the one message of this session is over", "");
        }
    }

    /// The one message does not come, or its sender does not leave.
    pub(crate) fn large_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        self.disarm(&mut session, Why::Large);
        if !matches!(session.phase, Phase::Live(_)) {
            return self.sessions.put(session);
        }
        let decision = match session.large {
            Some(Large::Here) => "left: the large message is here, and its sender does not leave",
            Some(Large::Awaited(_)) => "left: the large message did not come",
            Some(Large::Ours | Large::Sent) | None => "left: nobody tells whether the large message came",
        };
        self.explain(session.account, Some(id), "F-15", decision, "");
        self.bye(session, Ended::Left);
    }
}

/// Whether what MSRP tells is the end of the one message of a session: it is there, or will never be.
pub(crate) fn ends_large(event: &parlour_msrp::Event) -> bool {
    use parlour_msrp::Event as E;
    // A lost connection is mended, and the message goes again.
    matches!(event, E::Acknowledged { .. } | E::Failed { .. } | E::Reported { .. })
        || matches!(event, E::Incomplete { why, .. } if *why != parlour_msrp::Incomplete::Disconnected)
}

impl Session {
    /// Whether something may be said in it.
    pub(crate) fn may_say(&mut self) -> Result<(), Misuse> {
        match self.large {
            None => Ok(()),
            Some(Large::Ours) => {
                self.large = Some(Large::Sent);
                Ok(())
            }
            Some(Large::Awaited(_) | Large::Here | Large::Sent) => {
                Err(Misuse::Unsendable("the session is for one large message alone: invite again".to_owned()))
            }
        }
    }

    /// What an INVITE of ours asks for besides (RFC 3841): a device that takes large messages.
    //= IM F-15
    pub(crate) fn wishes(&self) -> Vec<(Name, String)> {
        let is_large = self.large.is_some();
        is_large.then(|| (Name::AcceptContact, format!("*;{FEATURE};{LARGE}"))).into_iter().collect()
    }
}
