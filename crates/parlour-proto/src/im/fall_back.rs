//! The second offer, without CEMA, where the answer to the first shows that CEMA cannot work (RFC 6714 4.2).

use std::time::Duration;

use crate::config::Cema;
use crate::im::Core;
use crate::im::names::Asker;
use crate::im::refresh::{Renewal, takes_invite};
use crate::im::session::{Phase, Session};
use crate::io::{FlowId, SessionId, Why};
use crate::sdp::FallBack;

/// Second offers that are put off, as the other end asks for.
const TRIES: u8 = 4;

impl Core {
    /// What becomes of addresses that somebody has changed, with a peer at the end of this flow.
    pub(crate) fn cema(&self, flow: FlowId) -> Cema {
        match self.config.cema {
            Cema::Auto if self.trust(flow).is_some() => Cema::Lenient,
            Cema::Auto => Cema::Off,
            said @ (Cema::Strict | Cema::Lenient | Cema::Off) => said,
        }
    }

    /// An offer of ours has been answered: does it have to be made again?
    //= IM D-15
    pub(crate) fn watch_fall_back(&mut self, session: &mut Session) {
        let Some(stated) = session.phase.chat().and_then(|chat| chat.stream.fall_back.stated()) else {
            return;
        };
        let stated = format!("c= and m=: {} {}", stated.host(), stated.port().unwrap_or(0));
        match self.cema(session.flow) {
            // D-16: the other end may well go by c= and m= although it does not say so.
            Cema::Lenient => {
                let decision = "the answer is without msrp-cema, and lenient: offered again without only if no connection comes";
                self.explain(session.account, Some(session.id), "D-15", decision, &stated);
            }
            Cema::Strict | Cema::Off | Cema::Auto => self.arm(session, Why::FallBack, self.now.instant),
        }
    }

    /// The second offer is due.
    pub(crate) fn fall_back_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::FallBack);
        let account = session.account;
        let known = self.names_found(Asker::Session(id));
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        // RFC 3261 14.1: no INVITE while another one of the dialog is not finished.
        let busy = live.renewal.is_some() || live.is_asked();
        let Some(agreed) = live.talk.agreed.as_mut() else { return self.sessions.put(session) };
        let Some(chat) = agreed.chat.as_mut() else { return self.sessions.put(session) };
        let stream = &mut chat.stream;
        if let Some(known) = known {
            stream.fall_back.settle(&stream.path, &known);
        }
        let names = stream.fall_back.names(&stream.path);
        if self.names_of_answer(id, account, &names) {
            return self.sessions.put(session);
        }
        // What could not even be asked for counts as another place.
        stream.fall_back.settle(&stream.path, &Default::default());
        let FallBack::Due(stated) = &stream.fall_back else { return self.sessions.put(session) };
        if busy {
            self.retry_after_glare(&mut session, Why::FallBack);
            return self.sessions.put(session);
        }
        if !takes_invite(&live.talk.remote.allow) {
            return self.not_fallen_back(session, "the other side takes no INVITE inside a session");
        }
        let stated = format!("c= and m=: {} {}", stated.host(), stated.port().unwrap_or(0));
        let decision = "offered again without msrp-cema: the other end does not know it, and would pass the middlebox by";
        agreed.local.without_cema = true;
        live.offered_without_cema = live.offered_without_cema.saturating_add(1);
        self.explain(account, Some(id), "D-15", decision, &stated);
        self.renew(session, Renewal::without_cema());
    }

    /// The other end wants us to wait.
    pub(crate) fn fall_back_put_off(&mut self, mut session: Session, pause: Duration, seen: &str) {
        let Phase::Live(live) = &session.phase else { return self.sessions.put(session) };
        if live.offered_without_cema >= TRIES {
            return self.not_fallen_back(session, seen);
        }
        let decision = format!("the offer without msrp-cema is made again in {} ms", pause.as_millis());
        self.explain(session.account, Some(session.id), "D-53", decision, seen);
        self.arm(&mut session, Why::FallBack, self.now.instant + pause);
        self.sessions.put(session);
    }

    /// RFC 3261 14.1: a refused offer leaves the session as it is. A connection by the path may still come about, and if
    /// none does the media is mended like any other that is lost.
    pub(crate) fn not_fallen_back(&mut self, mut session: Session, seen: &str) {
        if let Some(chat) = session.phase.chat_mut() {
            chat.stream.fall_back = FallBack::No;
        }
        let decision = "the session goes on as it is: the offer without msrp-cema came to nothing";
        self.explain(session.account, Some(session.id), "D-15", decision, seen);
        self.sessions.put(session);
    }
}
