//! The first message of a session, which came in its invitation (catalogue 5.1): it is told with the invitation, kept
//! even if that is declined, and no 200 leaves before it is durable.

use parlour_msrp::Body;

use crate::config::Ack;
use crate::event::{Ended, Incoming, What};
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::im::unwrap::unwrap;
use crate::io::{Receipt, SessionId, Why};
use crate::mime::{composing, cpim};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::verb::{StoreFault, Stored};

/// Marks the receipts of first messages: MSRP counts its own from 1.
const MARK: u64 = 1 << 63;

/// How far the first message of an invitation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum First {
    /// There is none, or it is durable.
    #[default]
    Settled,
    /// The store has not spoken.
    Unsaved,
    /// Nor has it, and the invitation is accepted: the 200 waits.
    Awaited,
}

impl Core {
    /// Tells of the first message that an invitation brings.
    //= IM S-1b
    pub(crate) fn bring(&mut self, session: &mut Session, invite: &Message<'_>, octets: &[u8]) {
        if !matches!(session.phase, Phase::Invited(_)) {
            return;
        }
        // Without a name of its own, the invitation is the only thing that is the same when it comes again.
        let call_id = String::from_utf8_lossy(invite.rows(Name::CallId).next().unwrap_or_default());
        let mut incoming = Incoming {
            receipt: Receipt(MARK | session.id.0),
            message_id: call_id.into_owned(),
            from: session.peer.clone(),
            claimed_from: None,
            authors: Vec::new(),
            sent_at: None,
            subject: None,
            notices: Vec::new(),
            expires: None,
            content_type: cpim::MEDIA_TYPE.to_owned(),
            body: Body::Inline(octets.to_vec()),
            body_offset: 0,
            parts: Vec::new(),
            renderable: false,
            room: None,
        };
        // M-42, M-51: a typing state is no message, wherever it stands, nor is a notification.
        let Ok(wrapped) = unwrap(&mut incoming) else { return };
        if wrapped.notifies || composing::is_composing(&incoming.content_type) {
            return;
        }
        if let Some(room) = self.in_room(session, wrapped.from.as_ref(), &wrapped.to) {
            (incoming.claimed_from, incoming.room) = (None, Some(Box::new(room)));
        }
        if let Some(asked) = wrapped.asked {
            self.ask(&self.origin(session), &asked, &mut incoming);
        }
        self.take_apart(session.account, Some(session.id), &mut incoming, &wrapped.around);
        if let Phase::Invited(invited) = &mut session.phase
            && self.config.ack == Ack::Stored
        {
            invited.first = First::Unsaved;
        }
        self.tell(session.account, Some(session.id), What::Message(incoming));
    }

    /// Whether an accepted invitation has to wait until its first message is durable: what we acknowledge, we have.
    pub(crate) fn waits_for_first(&mut self, session: &mut Session) -> bool {
        let Phase::Invited(invited) = &mut session.phase else { return false };
        if invited.first == First::Settled {
            return false;
        }
        invited.first = First::Awaited;
        // A store that never speaks is no reason to keep the caller for ever.
        if !session.is_armed(Why::RingTimeout) {
            self.arm(session, Why::RingTimeout, self.now.instant + self.config.ring_timeout);
        }
        let decision = "accepted: the 200 waits until the first message is stored";
        self.explain(session.account, Some(session.id), "S-1b", decision, "");
        true
    }

    /// The session whose first message a receipt is for.
    pub(crate) fn first_of(receipt: Receipt) -> Option<SessionId> {
        (receipt.0 & MARK != 0).then_some(SessionId(receipt.0 & !MARK))
    }

    /// The store has spoken about a first message.
    pub(crate) fn first_stored(&mut self, id: SessionId, outcome: Result<Stored, StoreFault>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let Phase::Invited(invited) = &mut session.phase else { return self.sessions.put(session) };
        let before = std::mem::take(&mut invited.first);
        match (before, outcome) {
            (First::Settled, _) | (First::Unsaved, Ok(_)) => self.sessions.put(session),
            (First::Awaited, Ok(_)) => drop(self.answer(session)),
            (First::Unsaved | First::Awaited, Err(fault)) => {
                let input = format!("its first message cannot be kept: {fault}");
                self.reject(session, 480, "Resource limit", Ended::Declined { status: 480 }, "G-1b", &input);
            }
        }
    }
}
