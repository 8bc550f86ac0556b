//! The second offer, without CEMA, where the answer to the first shows that CEMA cannot work (RFC 6714 4.2).

use std::time::Duration;

use crate::config::Cema;
use crate::event::FileStop;
use crate::im::Core;
use crate::im::media::remote;
use crate::im::names::Asker;
use crate::im::refresh::{Renewal, takes_invite};
use crate::im::session::{Phase, Session};
use crate::io::{FlowId, SessionId, Why};
use crate::sdp::{self, FallBack, Names, Offered};

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
        let mut stated = None;
        self.each_stream(session, |stream| stated = stated.take().or_else(|| told(&stream.fall_back)));
        let Some(stated) = stated else { return };
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
        if let Some(known) = self.names_found(Asker::Session(id)) {
            self.each_stream(&mut session, |stream| stream.fall_back.settle(&stream.path, &known));
        }
        let mut names = Vec::new();
        self.each_stream(&mut session, |stream| names.extend(stream.fall_back.names(&stream.path)));
        names.sort_unstable();
        names.dedup();
        if self.names_of_answer(id, account, &names) {
            return self.sessions.put(session);
        }
        // What could not even be asked for counts as another place.
        let mut stated = None;
        self.each_stream(&mut session, |stream| {
            stream.fall_back.settle(&stream.path, &Names::default());
            stated = stated.take().or_else(|| told(&stream.fall_back));
        });
        let (Some(stated), Phase::Live(live)) = (stated, &mut session.phase) else {
            return self.sessions.put(session);
        };
        // RFC 3261 14.1: no INVITE while another one of the dialog is not finished.
        if live.renewal.is_some() || live.is_asked() {
            self.retry_after_glare(&mut session, Why::FallBack);
            return self.sessions.put(session);
        }
        let Some(agreed) = live.talk.agreed.as_mut() else { return self.sessions.put(session) };
        if !takes_invite(&live.talk.remote.allow) {
            return self.not_fallen_back(session, "the other side takes no INVITE inside a session");
        }
        let decision = "offered again without msrp-cema: the other end does not know it, and would pass the middlebox by";
        agreed.local.without_cema = true;
        live.offered_without_cema = live.offered_without_cema.saturating_add(1);
        self.explain(account, Some(id), "D-15", decision, &stated);
        self.renew(session, Renewal::without_cema());
    }

    /// The answer to the second offer is here: files go by its paths.
    pub(crate) fn files_fell_back(&mut self, session: &Session, offered: &Offered, answer: &sdp::Session) {
        let ours = self.capabilities_in(session);
        for file in self.files.ids(session.id).to_vec() {
            let Some(transfer) = self.files.get(file).filter(|transfer| transfer.is_on()) else { continue };
            let (line, Some(before)) = (transfer.line, &transfer.stream) else { continue };
            if before.fall_back == FallBack::No {
                continue;
            }
            match sdp::read_answer_again(offered, line, answer.media.len(), answer, &ours) {
                Ok(Some(stream)) => {
                    let moved = !sdp::same_path(&before.path, &stream.path) || before.role != stream.role;
                    if let Some(msrp) = transfer.msrp.filter(|_| moved) {
                        self.msrp.rejoin(self.now.instant, msrp, remote(&stream));
                    }
                    if let Some(transfer) = self.files.get_mut(file) {
                        transfer.stream = Some(stream);
                    }
                }
                Err(refusal) => self.stop_file(file, FileStop::Failed { why: refusal.text }),
                // A line that is disabled has been seen to.
                Ok(None) => {}
            }
        }
    }

    /// All that was agreed on in a session: its chat, and its files.
    fn each_stream(&mut self, session: &mut Session, mut each: impl FnMut(&mut sdp::Stream)) {
        if let Some(chat) = session.phase.chat_mut() {
            each(&mut chat.stream);
        }
        for file in self.files.ids(session.id).to_vec() {
            if let Some(stream) = self.files.get_mut(file).and_then(|transfer| transfer.stream.as_mut()) {
                each(stream);
            }
        }
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
        self.each_stream(&mut session, |stream| stream.fall_back = FallBack::No);
        let decision = "the session goes on as it is: the offer without msrp-cema came to nothing";
        self.explain(session.account, Some(session.id), "D-15", decision, seen);
        self.sessions.put(session);
    }
}

/// Where `c=` and `m=` of the answer lead, for explanations.
fn told(fall_back: &FallBack) -> Option<String> {
    let stated = fall_back.stated()?;
    Some(format!("c= and m=: {} {}", stated.host(), stated.port().unwrap_or(0)))
}
