//! Reliable provisional responses to our own INVITE, and their PRACKs (RFC 3262 4).

use crate::event::Ended;
use crate::im::Core;
use crate::im::bodies;
use crate::im::core::Purpose;
use crate::im::leaving::NextHop;
use crate::im::session::{Inviting, Phase, Session};
use crate::io::SessionId;
use crate::sdp;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Chain;
use crate::sip::header::{CSeq, RSeq, To};
use crate::sip::message::{Kept, Message};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::ClientId;

/// Early dialogs of one INVITE that get PRACKs: whoever shows more of them makes them up to have us send.
const FOLLOWED: usize = 4;

/// The early dialog of one who answers our INVITE with reliable provisional responses.
#[derive(Debug, Clone)]
pub(crate) struct Fork {
    dialog: Dialog,
    /// The number of the last response that came in order.
    rseq: u32,
    /// What RAck says of it.
    rack: String,
    /// The answer that one of them brought.
    pub(crate) answer: Option<(sdp::Stream, sdp::Origin)>,
    prack: Prack,
    /// The challenges of the last PRACK that were answered.
    chain: Chain,
}

/// How far the last PRACK of an early dialog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prack {
    /// It is answered, or there was none: the next response gets one.
    Answered,
    /// It is out.
    Out(ClientId),
    /// It was refused, or nobody answered it: there is no such dialog, or no wish for more.
    Refused,
}

/// What a provisional response is to us.
pub(crate) enum Provisional {
    /// It tells something new.
    News,
    /// A retransmission, or one that came before the one before it.
    Old,
    /// It brings an answer that cannot be taken.
    Unfit(String),
}

impl Core {
    /// A provisional response to our INVITE: if it is reliable, and next in order, it gets its PRACK.
    //= IM R-61
    pub(crate) fn provisional_came(
        &mut self,
        session: &mut Session,
        status: u16,
        response: &Message<'_>,
    ) -> Provisional {
        // RFC 3262 4: a 100 is never reliable, whatever it says.
        let reliable =
            status > 100 && response.values(Name::Require).any(|tag| tag.eq_ignore_ascii_case(b"100rel"));
        if !reliable {
            return Provisional::News;
        }
        let Phase::Inviting(inviting) = &mut session.phase else { return Provisional::Old };
        let tag = response.one::<To<'_>>().ok().and_then(|to| to.tag()).unwrap_or_default();
        let (Ok(RSeq(rseq)), Ok(cseq), Some(sent), false) =
            (response.one(), response.one::<CSeq<'_>>(), &inviting.sent, tag.is_empty())
        else {
            let decision =
                "passed over a provisional response: without RSeq and To tag nothing acknowledges it";
            self.explain(session.account, Some(session.id), "RFC 3262 4", decision, "");
            return Provisional::Old;
        };
        let rack = format!("{rseq} {} INVITE", cseq.number);
        let known = inviting.forks.iter_mut().position(|fork| fork.dialog.remote_tag() == tag);
        let at = match known {
            Some(at) => at,
            None => {
                let dialog = Dialog::uac(&sent.request.message(), response);
                let (Ok(dialog), true) = (dialog, inviting.forks.len() < FOLLOWED) else {
                    return Provisional::Old;
                };
                let before = rseq.saturating_sub(1);
                let fork = Fork {
                    dialog,
                    rseq: before,
                    rack: String::new(),
                    answer: None,
                    prack: Prack::Answered,
                    chain: Chain::default(),
                };
                inviting.forks.push(fork);
                inviting.forks.len().saturating_sub(1)
            }
        };
        let Some(fork) = inviting.forks.get_mut(at) else { return Provisional::Old };
        // RFC 3262 3: who has no PRACK for one sends no other one. Should it overtake his 200 to the PRACK, it comes again.
        if fork.prack != Prack::Answered {
            return Provisional::Old;
        }
        // RFC 3262 4: no other than the next one is acknowledged, or taken notice of.
        if fork.rseq.checked_add(1) != Some(rseq) {
            return Provisional::Old;
        }
        (fork.rseq, fork.rack, fork.chain) = (rseq, rack, Chain::default());
        let unanswered = fork.answer.is_none() && !bodies::description_or_none(response).is_empty();
        let answer = match inviting.own.as_ref().filter(|_| unanswered) {
            Some(own) => self
                .read_answer(session.account, session.flow, own, bodies::description_or_none(response))
                .map(Some),
            None => Ok(None),
        };
        self.send_prack(session, tag, &[]);
        let Phase::Inviting(inviting) = &mut session.phase else { return Provisional::Old };
        match (answer, inviting.forks.get_mut(at)) {
            (Err(why), _) => Provisional::Unfit(why),
            // RFC 3261 13.2.1: the first description is the answer.
            (Ok(Some(answer)), Some(fork)) => {
                fork.answer = Some(answer);
                Provisional::News
            }
            (Ok(_), _) => Provisional::News,
        }
    }

    fn send_prack(&mut self, session: &mut Session, tag: &str, rows: &[(Name, String)]) {
        let (account, made_on, source, id) = (session.account, session.flow, session.source, session.id);
        let Phase::Inviting(inviting) = &mut session.phase else { return };
        let Some(fork) = inviting.fork_mut(tag) else { return };
        let flow = match self.next_hop(&fork.dialog, made_on, source) {
            NextHop::Over(flow) => flow,
            // The response that it answers came by this way a moment ago.
            NextHop::Named(_) | NextHop::Unreachable(_) => made_on,
        };
        let mut rows = rows.to_vec();
        rows.push((Name::RAck, fork.rack.clone()));
        let request = self.request_in_dialog(&mut fork.dialog, Method::Prack, flow, account, &rows);
        let client = self.dispatch(flow, request, Purpose::Prack(id, tag.into()));
        if let Phase::Inviting(inviting) = &mut session.phase
            && let Some(fork) = inviting.fork_mut(tag)
        {
            fork.prack = Prack::Out(client);
        }
    }

    /// The final response to a PRACK, or None if none came. A challenge is answered: without its PRACK the other side
    /// refuses our INVITE.
    pub(crate) fn prack_answered(
        &mut self,
        id: SessionId,
        tag: &str,
        client: ClientId,
        response: Option<&Message<'_>>,
    ) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let account = session.account;
        if let Phase::Inviting(inviting) = &mut session.phase
            && let own_hop = inviting.call.own_hop
            && let Some(fork) = inviting.fork_mut(tag).filter(|fork| fork.prack == Prack::Out(client))
        {
            let taken = response.and_then(Message::status).is_some_and(|status| status < 300);
            fork.prack = if taken { Prack::Answered } else { Prack::Refused };
            let target = fork.dialog.remote_target().to_owned();
            let rows = response.filter(|_| own_hop).and_then(|response| {
                self.credentials_for(account, &mut fork.chain, Method::Prack, &target, response)
            });
            if let Some(rows) = rows {
                self.send_prack(&mut session, tag, &rows);
            }
        }
        self.sessions.put(session);
    }

    /// A reliable response brought an answer that cannot be taken: nothing refuses it but CANCEL (RFC 3261 13.2.1).
    pub(crate) fn cancel_unfit(&mut self, session: Session, why: String) {
        self.explain(
            session.account,
            Some(session.id),
            "S-1",
            "taken back: the answer cannot be taken",
            &why,
        );
        self.cancel_invite(session, Ended::MediaFailed { why });
    }
}

impl Inviting {
    fn fork_mut(&mut self, tag: &str) -> Option<&mut Fork> {
        self.forks.iter_mut().find(|fork| fork.dialog.remote_tag() == tag)
    }
}

/// The dialog of a 2xx, and the answer that came before it, if one did: its early dialog goes on, with the numbers of its
/// PRACKs.
pub(crate) fn dialog_of(
    forks: &mut Vec<Fork>,
    invite: &Kept,
    response: &Message<'_>,
) -> Option<(Dialog, Option<(sdp::Stream, sdp::Origin)>)> {
    let tag = response.one::<To<'_>>().ok().and_then(|to| to.tag()).unwrap_or_default();
    let Some(at) = forks.iter().position(|fork| fork.dialog.remote_tag() == tag) else {
        return Some((Dialog::uac(&invite.message(), response).ok()?, None));
    };
    let Fork { mut dialog, answer, .. } = forks.remove(at);
    dialog.follow(response).ok()?;
    Some((dialog, answer))
}
