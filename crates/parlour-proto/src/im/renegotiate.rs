//! Later offers: what a peer wants to change of a session that stands.

use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::session::{Phase, Session, Unacked};
use crate::im::stamp::Reply;
use crate::io::FlowId;
use crate::sdp;
use crate::sip::header::CSeq;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::tx::{ServerId, T1};

impl Core {
    /// A second INVITE of the dialog: a refresh gets the same answer, a change is refused, and the session lives.
    //= IM D-50
    pub(crate) fn reinvited(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
    ) -> Result<(), PeerFault> {
        let Phase::Live(live) = &mut session.phase else { return Err(PeerFault::InviteInProgress) };
        if live.reanswered.is_some() {
            return Err(PeerFault::InviteInProgress);
        }
        let Some(agreed) = &live.talk.agreed else { return Err(PeerFault::Renegotiation) };
        if !request.body().is_empty() {
            let offer = sdp::parse(request.body()).map_err(|fault| PeerFault::Sdp(fault.to_string()))?;
            if offer.origin != agreed.origin {
                return Err(PeerFault::Renegotiation);
            }
        }
        let description = agreed.description.clone();
        live.talk.dialog.refresh_target(request)?;
        //= IM G-3
        if request.has(Name::Allow) {
            live.talk.remote.allow = request.allow();
        }
        let cseq = request.one::<CSeq<'_>>()?.number;
        let body = Some(("application/sdp", &*description));
        let reply = Reply { status: 200, reason: "OK", body, ..Reply::default() };
        let octets = self.response(request, flow, Some(session.account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets.clone());
        let unacked = Unacked { server, cseq, response: octets.into_boxed_slice(), interval: T1 };
        if let Phase::Live(live) = &mut session.phase {
            live.reanswered = Some(unacked);
        }
        self.await_ack(session);
        Ok(())
    }

    /// A changed path: the MSRP session that was agreed on before is closed.
    pub(crate) fn media_moved(&mut self, old: parlour_msrp::SessionId) {
        if let Some((account, id)) = self.sessions.owner_of(old) {
            let decision = "messages go over the new path; what was not acknowledged goes there again";
            self.explain(account, Some(id), "D-51", decision, "");
        }
        self.sessions.forget_msrp(old);
    }
}
