//! Names that are looked up before something can be decided (RFC 6714 4.4): whoever asks waits here.

use std::net::IpAddr;

use crate::config::{Cema, Proxy};
use crate::event::Invitation;
use crate::im::Core;
use crate::im::bodies;
use crate::im::core::Errand;
use crate::im::session::Session;
use crate::im::stamp::Reply;
use crate::io::{AccountId, FlowId, SessionId, Transport};
use crate::sdp::{self, Names};
use crate::sip::message::Message;
use crate::sip::tx::ServerId;

/// Invitations and sessions that wait at once; a name in a further one stays unknown.
const MOST: usize = 256;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// The offer of an INVITE, which nobody has judged yet.
    Invite(ServerId),
    /// A session: the answer to an offer of ours.
    Session(SessionId),
    /// The same: the offer of a re-INVITE, which waits.
    Later(SessionId, ServerId),
}

/// What is being looked up for one of them.
#[derive(Debug)]
pub(crate) struct Inquiry {
    names: Names,
    missing: usize,
    held: Option<Held>,
}

/// An INVITE that is judged when the names are known.
#[derive(Debug)]
struct Held {
    flow: FlowId,
    account: AccountId,
    hearing: Option<Invitation>,
}

impl Core {
    /// What is known of the names in the offer of an INVITE, as far as judging it takes them. `None`: they are being looked
    /// up, and the INVITE comes back when they are.
    pub(crate) fn names_of_offer(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        account: AccountId,
    ) -> Option<Names> {
        if let Some(found) = self.names_found(Asker::Invite(server)) {
            return Some(found);
        }
        if matches!(self.cema(flow), Cema::Off | Cema::Auto) {
            return Some(Names::default());
        }
        let offer = bodies::invitation(request).ok().and_then(|carried| sdp::parse(carried.description).ok());
        let ours = self.capabilities(account, flow);
        let names = offer.map(|offer| sdp::names_to_compare(&offer, &ours)).unwrap_or_default();
        let held = Held { flow, account, hearing: self.hearing.clone() };
        (!self.ask_names(Asker::Invite(server), account, &names, Some(held))).then(Names::default)
    }

    /// The same for the offer of a re-INVITE, which then waits in its session.
    pub(crate) fn names_of_later(
        &mut self,
        way: (FlowId, ServerId),
        session: &mut Session,
        offer: &[u8],
    ) -> Option<Names> {
        if matches!(self.cema(way.0), Cema::Off | Cema::Auto) {
            return Some(Names::default());
        }
        let agreed = session.phase.talk().and_then(|talk| talk.agreed.as_ref());
        // RFC 4975 8.4: by the same o= line nothing has changed, and nothing is compared.
        let offer = sdp::parse(offer).ok().filter(|offer| agreed.is_none_or(|it| it.origin != offer.origin));
        let ours = self.capabilities(session.account, way.0);
        let names = offer.map(|offer| sdp::names_to_compare(&offer, &ours)).unwrap_or_default();
        if !self.ask_names(Asker::Later(session.id, way.1), session.account, &names, None) {
            return Some(Names::default());
        }
        self.await_names(way, session);
        None
    }

    /// What was looked up for a re-INVITE matters to nobody any more.
    pub(crate) fn forget_names_of_later(&mut self, id: SessionId, server: ServerId) {
        self.inquiries.remove(&Asker::Later(id, server));
    }

    /// Looks names up for a session, or is doing so; false if there is nothing that could be looked up.
    pub(crate) fn names_of_answer(&mut self, id: SessionId, account: AccountId, names: &[String]) -> bool {
        self.ask_names(Asker::Session(id), account, names, None)
    }

    /// What has been found, once all of it has.
    pub(crate) fn names_found(&mut self, asker: Asker) -> Option<Names> {
        self.inquiries.get(&asker).filter(|inquiry| inquiry.missing == 0)?;
        self.inquiries.remove(&asker).map(|inquiry| inquiry.names)
    }

    fn ask_names(&mut self, asker: Asker, account: AccountId, names: &[String], held: Option<Held>) -> bool {
        if self.inquiries.contains_key(&asker) {
            return true;
        }
        if names.is_empty() || self.inquiries.len() >= MOST {
            return false;
        }
        let decision = "names are looked up, to tell whether c= and m= lead where the path does";
        let session = match asker {
            Asker::Invite(_) => None,
            Asker::Session(id) | Asker::Later(id, _) => Some(id),
        };
        self.explain(account, session, "D-15", decision, &names.join(" "));
        self.inquiries.insert(asker, Inquiry { names: Names::default(), missing: names.len(), held });
        for name in names {
            let hop = Proxy { host: name.clone(), port: None, transport: Transport::Tcp };
            self.look_up(Errand::Compare(asker), hop);
        }
        true
    }

    /// A name was looked up.
    pub(crate) fn name_found(&mut self, asker: Asker, name: &str, addresses: &[IpAddr]) {
        let Some(inquiry) = self.inquiries.get_mut(&asker) else { return };
        inquiry.names.learn(name, addresses);
        inquiry.missing = inquiry.missing.saturating_sub(1);
        if inquiry.missing > 0 {
            return;
        }
        match (asker, inquiry.held.take()) {
            (Asker::Session(id), _) => self.fall_back_due(id),
            (Asker::Later(id, _), _) => {
                let names = self.names_found(asker).unwrap_or_default();
                self.go_on_with_names(id, names);
            }
            (Asker::Invite(server), Some(held)) => self.judge_held(server, held),
            (Asker::Invite(_), None) => {}
        }
    }

    fn judge_held(&mut self, server: ServerId, held: Held) {
        let Held { flow, account, hearing } = held;
        let Some(kept) = self.tx.kept(server).cloned() else {
            self.inquiries.remove(&Asker::Invite(server));
            return;
        };
        let request = kept.message();
        self.hearing = hearing;
        if let Err(fault) = self.invited(flow, server, &request, account) {
            self.refuse(flow, server, &request, Some(account), &fault);
        }
        self.hearing = None;
    }

    /// An INVITE that waits was cancelled, or cannot be answered any more: nobody has heard of it.
    pub(crate) fn drop_held(&mut self, server: ServerId) {
        self.answer_held(server, 487, "Request Terminated");
    }

    /// We are leaving, and nobody will be asked about those that wait.
    pub(crate) fn refuse_all_held(&mut self) {
        let askers: Vec<Asker> = self.inquiries.keys().copied().collect();
        for asker in askers {
            if let Asker::Invite(server) = asker {
                self.answer_held(server, 480, "Temporarily Unavailable");
            }
        }
    }

    fn answer_held(&mut self, server: ServerId, status: u16, reason: &str) {
        let Some(held) = self.inquiries.remove(&Asker::Invite(server)).and_then(|inquiry| inquiry.held)
        else {
            return;
        };
        let Some(kept) = self.tx.kept(server).cloned() else { return };
        let tag = self.tag();
        let reply = Reply { status, reason, tag: Some(&tag), ..Reply::default() };
        let octets = self.response(&kept.message(), held.flow, Some(held.account), &reply);
        self.tx.respond(self.now.instant, server, status, octets);
    }
}
