//! Our BYE: when the user learns of the end, and the way that the BYE takes.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Proxy;
use crate::event::{Ended, What};
use crate::im::Core;
use crate::im::aim::{FEW_ADDRESSES, in_turn};
use crate::im::core::{Errand, Purpose};
use crate::im::flows::{Source, literal};
use crate::im::session::{Leaving, Phase, Session};
use crate::io::{FlowId, SessionId, Transport};
use crate::sip::dialog::Dialog;
use crate::sip::digest::Chain;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::uri::{Scheme, Uri};

/// Whether what whoever is at `source` says may have us send to an address: [`Core::may_reach`] for the requests of his
/// dialog, [`Core::may_follow`] for those that he has us make besides.
pub(crate) type Guard = fn(&Core, Source, &Proxy, IpAddr) -> bool;

/// How long answers to files may be later than the BYE of whoever has them.
const ANSWERS: Duration = Duration::from_secs(2);

/// The way to the next hop of a dialog.
#[derive(Debug)]
pub(crate) enum NextHop {
    Over(FlowId),
    /// Its name has to be looked up first.
    Named(Proxy),
    /// There is none, for this reason.
    Unreachable(&'static str),
}

impl Core {
    /// Live -> Leaving: BYE goes out.
    pub(crate) fn bye(&mut self, mut session: Session, ended: Ended) {
        self.disarm_all(&mut session);
        self.unsubscribe(session.id);
        self.fail_queue(&mut session, &ended);
        self.drop_renewal(&mut session);
        self.drop_asking(&mut session, "the session is over");
        let msrp = session.phase.msrp();
        let dialog = match session.phase {
            Phase::Live(live) => live.talk.dialog,
            other @ Phase::Leaving(_) => {
                session.phase = other;
                return self.sessions.put(session);
            }
            other @ (Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_)) => {
                session.phase = other;
                return self.end(session, ended);
            }
        };
        // Catalogue 6.6; RFC 3326 lets any request in a dialog say why.
        let media_failed = matches!(ended, Ended::MediaFailed { .. });
        let reason = media_failed.then(|| (Name::Reason, "SIP;cause=480;text=\"Media failed\"".to_owned()));
        // Until the peer has our BYE, it may still acknowledge what we said. Where the media is gone nothing can come:
        // the user learns of the end at once, as a dead peer answers the BYE never.
        let talks_on = matches!(ended, Ended::Left | Ended::Replaced { .. });
        let rows = reason.into_iter().collect();
        let leaving =
            Leaving { dialog, msrp, ended: Some(ended), chain: Chain::default(), rows, until: None };
        session.phase = Phase::Leaving(Box::new(leaving));
        if !talks_on {
            self.part(&mut session);
        }
        self.send_bye(session);
    }

    /// The peer has left. MSRP has a way of its own: where all octets of files have gone, the answers to the last of them
    /// may come after the BYE, and are waited for. Nothing else of the session goes on meanwhile.
    //= IM D-42
    pub(crate) fn peer_left(&mut self, mut session: Session) {
        let stood = matches!(session.phase, Phase::Live(_)) && self.files.are_all(&session);
        if !stood || !self.files.await_answers(session.id) {
            return self.end(session, Ended::PeerLeft);
        }
        self.disarm_all(&mut session);
        self.unsubscribe(session.id);
        self.drop_renewal(&mut session);
        self.drop_asking(&mut session, "the session is over");
        let dialog = match session.phase {
            Phase::Live(live) => live.talk.dialog,
            other @ (Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_)) => {
                session.phase = other;
                return self.end(session, Ended::PeerLeft);
            }
        };
        let until = self.now.instant + ANSWERS;
        let (ended, chain, rows) = (Some(Ended::PeerLeft), Chain::default(), Vec::new());
        let leaving = Leaving { dialog, msrp: None, ended, chain, rows, until: Some(until) };
        session.phase = Phase::Leaving(Box::new(leaving));
        self.later(session.id, until);
        let decision = "the peer has left: answers to the last octets of files are waited for";
        self.explain(session.account, Some(session.id), "D-42", decision, "BYE");
        self.sessions.put(session);
    }

    /// Nothing of a session that the peer has left is waited for any more.
    pub(crate) fn answers_due(&mut self, session: Session) {
        let Phase::Leaving(leaving) = &session.phase else { return self.sessions.put(session) };
        match leaving.until {
            Some(until) if until <= self.now.instant || !self.files.await_answers(session.id) => {
                self.parted(session);
            }
            Some(_) | None => self.sessions.put(session),
        }
    }

    /// The session is over for the user; only its BYE goes on.
    fn part(&mut self, session: &mut Session) {
        self.drop_files(session.id);
        self.drop_media(session);
        let Phase::Leaving(leaving) = &mut session.phase else { return };
        leaving.msrp = None;
        if let Some(ended) = leaving.ended.take() {
            self.tell(session.account, Some(session.id), What::Ended(ended));
        }
    }

    /// Nothing more comes of the BYE.
    fn parted(&mut self, mut session: Session) {
        self.part(&mut session);
        self.forget(session);
    }

    fn send_bye(&mut self, session: Session) {
        let Phase::Leaving(leaving) = &session.phase else { return };
        match self.next_hop(&leaving.dialog, session.flow, session.source) {
            NextHop::Over(flow) => self.send_bye_over(session, flow),
            NextHop::Named(hop) => {
                self.look_up(Errand::Bye(session.id), hop);
                self.sessions.put(session);
            }
            NextHop::Unreachable(why) => self.bye_unsent(session, why),
        }
    }

    fn send_bye_over(&mut self, mut session: Session, flow: FlowId) {
        let Phase::Leaving(leaving) = &mut session.phase else { return };
        let request =
            self.request_in_dialog(&mut leaving.dialog, Method::Bye, flow, session.account, &leaving.rows);
        self.dispatch(flow, request, Purpose::Bye(session.id));
        self.sessions.put(session);
    }

    /// The name of the next hop was looked up.
    pub(crate) fn bye_resolved(&mut self, id: SessionId, hop: &Proxy, addresses: &[IpAddr]) {
        let Some(session) = self.sessions.take(id) else { return };
        match self.way_to(Core::may_reach, session.source, hop, addresses) {
            Ok(flow) => self.send_bye_over(session, flow),
            Err(why) => self.bye_unsent(session, &why),
        }
    }

    /// The flow to a next hop of a dialog whose name was looked up, to an address that passes `guard`.
    pub(crate) fn way_to(
        &mut self,
        guard: Guard,
        source: Source,
        hop: &Proxy,
        addresses: &[IpAddr],
    ) -> Result<FlowId, String> {
        let passes = |address: &IpAddr| guard(self, source, hop, *address);
        let allowed: Vec<IpAddr> = addresses.iter().copied().filter(passes).collect();
        if allowed.is_empty() && !addresses.is_empty() {
            return Err(FORBIDDEN.to_owned());
        }
        let allowed = if source.trusted { allowed } else { in_turn(&allowed, FEW_ADDRESSES) };
        self.reach_at(hop, &allowed)
    }

    fn bye_unsent(&mut self, session: Session, why: &str) {
        let decision = "the peer was sent no BYE: there is no way to it";
        self.explain(session.account, Some(session.id), "RFC 3261 12.2.1.1", decision, why);
        self.parted(session);
    }

    /// The final response to our BYE, or None if none came: the session is over either way (RFC 3261 15.1.1).
    pub(crate) fn bye_answered(&mut self, id: SessionId, response: Option<&Message<'_>>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let Phase::Leaving(leaving) = &mut session.phase else { return self.sessions.put(session) };
        let target = leaving.dialog.remote_target().to_owned();
        let Some(response) = response else {
            let decision = "left without an answer to our BYE";
            self.explain(session.account, Some(id), "RFC 3261 15.1.1", decision, &target);
            return self.parted(session);
        };
        let rows = self.credentials_for(session.account, &mut leaving.chain, Method::Bye, &target, response);
        let Some(rows) = rows else { return self.parted(session) };
        leaving.rows.retain(|(name, _)| *name == Name::Reason);
        leaving.rows.extend(rows);
        self.send_bye(session);
    }

    /// The way to the next hop of a dialog: the stream that made it while it stands, else what its first route or its
    /// remote target says (RFC 3261 12.2.1.1). Over UDP a name there, or an address that a peer has no business to name,
    /// is reached by the way that made the dialog.
    pub(crate) fn next_hop(&mut self, dialog: &Dialog, made_on: FlowId, source: Source) -> NextHop {
        self.hop_to(Core::may_reach, dialog.next_hop(), made_on, source)
    }

    /// As [`Core::next_hop`], for the URI of a first route or a target, to an address that passes `guard`.
    pub(crate) fn hop_to(&mut self, guard: Guard, uri: &str, made_on: FlowId, source: Source) -> NextHop {
        let stands = self.flows.is_usable(made_on);
        if stands && matches!(made_on, FlowId::Stream(_)) {
            return NextHop::Over(made_on);
        }
        let Ok(uri) = Uri::parse(uri.as_bytes()) else {
            return if stands { NextHop::Over(made_on) } else { NextHop::Unreachable(NO_URI) };
        };
        let transport = match uri.param("transport").flatten() {
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            Some(name) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
            _ if uri.scheme() == Scheme::Sips => Transport::Tls,
            _ => source.transport,
        };
        let hop = Proxy { host: uri.host().to_owned(), port: uri.port(), transport };
        match literal(&hop.host) {
            Some(address) if guard(self, source, &hop, address) => match self.reach_at(&hop, &[address]) {
                Ok(flow) => NextHop::Over(flow),
                Err(_) => NextHop::Unreachable("no socket of ours has its address family"),
            },
            Some(_) | None if stands => NextHop::Over(made_on),
            Some(_) => NextHop::Unreachable(FORBIDDEN),
            None => NextHop::Named(hop),
        }
    }
}

const NO_URI: &str = "its Contact or Record-Route cannot be read, and the connection that made it is gone";
const FORBIDDEN: &str =
    "its Contact or Record-Route leads where no peer may send us, and the connection that made it is gone";
