//! What arrives and belongs to no procedure yet: broken messages, floods, and responses on their way to whoever asked.

use crate::event::Ended;
use crate::fault::{PeerFault, Refused};
use crate::im::Core;
use crate::im::core::Purpose;
use crate::im::screen::{abilities, amplifies};
use crate::im::session::Phase;
use crate::im::stamp::Reply;
use crate::io::{AccountId, FlowId, SessionId, Why};
use crate::sip::dialog::DialogKey;
use crate::sip::door;
use crate::sip::fault::Fault;
use crate::sip::message::{Message, ParseFault};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{ClientId, ServerId, reply_flow};

impl Core {
    /// A message that cannot be read as a whole: answered if enough of it can, else dropped (catalogue 1.3 row 28).
    pub(crate) fn malformed(&mut self, flow: FlowId, fault: &ParseFault<'_>) {
        if let Some(request) = fault.answerable() {
            self.hear(flow, request, None);
            self.refuse_statelessly(flow, request, &PeerFault::Sip(fault.fault));
            self.hearing = None;
        }
    }

    /// A request that passed the parser and not the door.
    pub(crate) fn turned_away(&mut self, flow: FlowId, request: &Message<'_>, fault: Fault) {
        if request.is_answerable() {
            self.hear(flow, request, None);
            self.refuse_statelessly(flow, request, &PeerFault::Sip(fault));
            self.hearing = None;
        }
    }

    /// A response that no transaction keeps (RFC 3261 8.2.7). An ACK is never answered.
    fn answer_statelessly(&mut self, flow: FlowId, request: &Message<'_>, refused: &Refused, input: &str) {
        let Refused { status, reason, rows, clause } = refused;
        if request.method().is_none_or(|method| method == Method::Ack) {
            return;
        }
        let Some(via) = request.return_path() else { return };
        // RFC 3261 8.2.7: the same request gets the same To tag.
        let tag = self.stateless_tag(request);
        let reply = Reply { status: *status, reason, rows, tag: Some(&tag), body: None };
        let octets = self.response(request, flow, None, &reply);
        // nobody gets more out of us than he put in, if a forged source could be the victim.
        if !amplifies(flow, request, &octets) {
            self.send(reply_flow(flow, &via), octets);
        }
        let decision = format!("answered {status} {reason}");
        self.explain(AccountId(0), None, clause, decision, input);
    }

    fn stateless_tag(&self, request: &Message<'_>) -> String {
        use std::hash::{BuildHasher, Hasher};
        let mut hash = self.stateless_keys.build_hasher();
        for name in [Name::CallId, Name::CSeq, Name::From, Name::Via] {
            hash.write(request.rows(name).next().unwrap_or_default());
        }
        format!("{:016x}", hash.finish())
    }

    /// Whether a message is let in at all: requests outside the dialogs that we know pass a rate limit.
    pub(crate) fn admit(&mut self, flow: FlowId, message: &Message<'_>, core: &door::Core<'_>) -> bool {
        // An ACK is not answered.
        let answered = message.method().is_some_and(|method| method != Method::Ack);
        let dialog = DialogKey::named_by(core).filter(|_| answered);
        if !answered || dialog.is_some_and(|key| self.sessions.by_dialog(&key).is_some()) {
            return true;
        }
        let Some(source) = self.flows.peer(flow).map(|peer| peer.ip()) else { return false };
        if self.gate.admit(self.now.instant, source) {
            return true;
        }
        // Over UDP the source may be forged: silence costs the victim nothing.
        if matches!(flow, FlowId::Stream(_)) {
            self.refuse_statelessly(flow, message, &PeerFault::Flood);
        }
        false
    }

    /// The transaction table is full.
    pub(crate) fn overloaded(&mut self, flow: FlowId, request: &Message<'_>) {
        self.refuse_statelessly(flow, request, &PeerFault::Overload);
    }

    fn refuse_statelessly(&mut self, flow: FlowId, request: &Message<'_>, fault: &PeerFault) {
        let refused = fault.refused(request, &abilities(request.method()), "", self.retry_after());
        self.answer_statelessly(flow, request, &refused, &fault.input(request));
    }

    /// A response to one of our requests.
    pub(crate) fn response_came(&mut self, flow: FlowId, client: ClientId, response: &Message<'_>) {
        let Some(purpose) = self.requests.get(&client).cloned() else { return };
        let status = response.status().unwrap_or(0);
        if status >= 200 && !matches!(purpose, Purpose::Accepted(_)) {
            self.requests.remove(&client);
        }
        match purpose {
            Purpose::Invite(id) => self.invite_answered(id, client, flow, response),
            Purpose::Accepted(accepted) => self.accepted_again(client, *accepted, response),
            Purpose::Renew(id) => self.renewal_answered(id, client, response),
            Purpose::Late(late) if (200..300).contains(&status) => self.renewed_late(client, *late, response),
            Purpose::Bye(id) if status >= 200 => self.bye_answered(id, Some(response)),
            Purpose::Register(id) if status >= 200 => self.register_answered(id, flow, response),
            Purpose::Subscribe(id) if status >= 200 => self.subscribe_answered(id, client, Ok(response)),
            Purpose::Page(number) if status >= 200 => self.page_answered(number, Ok(response)),
            Purpose::Refer(number) if status >= 200 => self.refer_answered(number, Ok(response)),
            Purpose::Prack(id, tag) if status >= 200 => self.prack_answered(id, &tag, client, Some(response)),
            Purpose::Bye(_)
            | Purpose::Prack(..)
            | Purpose::Register(_)
            | Purpose::Subscribe(_)
            | Purpose::Refer(_)
            | Purpose::Page(_)
            | Purpose::Late(_)
            | Purpose::Cancel => {}
        }
    }

    /// A datagram could not leave. RFC 3261 18.4: whoever waits for an answer to it is told.
    pub(crate) fn datagram_failed(&mut self, flow: FlowId) {
        let waits = |(client, purpose): (&ClientId, &Purpose)| {
            let waits = self.tx.flow(*client) == Some(flow) && !matches!(purpose, Purpose::Accepted(_));
            waits.then_some(*client)
        };
        let waiting: Vec<ClientId> = self.requests.iter().filter_map(waits).collect();
        for client in waiting {
            self.tx.unreachable(self.now.instant, client);
        }
    }

    /// One of our requests got no final response: it timed out, or its flow is gone.
    pub(crate) fn no_response(&mut self, client: ClientId, why: &str) {
        match self.requests.remove(&client) {
            Some(Purpose::Invite(id)) => self.invite_unanswered(id, why),
            Some(Purpose::Renew(id)) => self.renewal_unanswered(id),
            Some(Purpose::Bye(id)) => self.bye_answered(id, None),
            Some(Purpose::Register(id)) => self.register_unanswered(id, why),
            Some(Purpose::Subscribe(id)) => self.subscribe_answered(id, client, Err(why)),
            Some(Purpose::Page(number)) => self.page_answered(number, Err(why)),
            Some(Purpose::Refer(number)) => self.refer_answered(number, Err(why)),
            Some(Purpose::Prack(id, tag)) => self.prack_answered(id, &tag, client, None),
            Some(Purpose::Cancel | Purpose::Accepted(_) | Purpose::Late(_)) | None => {}
        }
    }

    /// An INVITE can be answered no more: the stream that it came on is gone.
    pub(crate) fn invite_gone(&mut self, invite: ServerId) {
        self.drop_held(invite);
        let Some(mut session) = self.sessions.by_invite(invite).and_then(|id| self.sessions.take(id)) else {
            return;
        };
        if matches!(session.phase, Phase::Live(_)) {
            self.drop_asking(&mut session, "the stream that it came on is gone");
            return self.sessions.put(session);
        }
        self.end(session, Ended::Lost { why: "the caller's connection is gone".into() });
    }

    /// A deadline of a session.
    pub(crate) fn session_due(&mut self, id: SessionId, why: Why) {
        match why {
            Why::RingTimeout | Why::InviteExpires | Why::RepeatProvisional => self.invitation_due(id, why),
            Why::Resend2xx => self.resend_2xx(id),
            Why::ResendProvisional => self.resend_provisional(id),
            Why::NoPrack => self.never_pracked(id),
            Why::No2xxAck => self.never_acknowledged(id),
            Why::Leave => self.cancel_unanswered(id),
            Why::Refresh => self.refresh_due(id),
            Why::Recover => self.recovery_due(id),
            Why::FallBack => self.fall_back_due(id),
            Why::Unanswered => self.renewal_unanswered(id),
            Why::SessionExpires => self.session_expired(id),
            Why::Session => self.media_lost(id),
            Why::NoStream => self.nothing_left(id),
            Why::Composing => self.composing_due(id),
            Why::Writers => self.writers_due(id),
            Why::Files => self.files_due(id),
            Why::Word => self.word_due(id),
            Why::Large => self.large_due(id),
            Why::Trying
            | Why::Retransmit
            | Why::TransactionTimeout
            | Why::ResendFinal
            | Why::AckTimeout
            | Why::TransactionLinger
            | Why::Register
            | Why::KeepAlive
            | Why::NoNotify
            | Why::Subscribe
            | Why::FlowIdle
            | Why::Notify
            | Why::Msrp => {}
        }
    }

    /// Answers the INVITE of an invitation 487 (RFC 3261 15.1.2).
    pub(crate) fn terminate_invite(&mut self, session: &crate::im::session::Session) {
        if let Phase::Invited(invited) = &session.phase {
            let tag = invited.dialog.local_tag().to_owned();
            let reply =
                Reply { status: 487, reason: "Request Terminated", tag: Some(&tag), ..Reply::default() };
            self.answer_invite(session, invited.invite, &reply);
        }
    }
}
