//! Session timers (RFC 4028): a session whose peer has vanished does not stand for ever.
//!
//! A request that refreshes the session (INVITE, UPDATE) may ask for an interval; its 2xx grants one and says who
//! refreshes. Without a refresh the session expires.

use std::time::Duration;

use crate::event::Ended;
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::io::{SessionId, Why};
use crate::sip::header::{HeaderFault, MinSe, Refresher, SessionExpires};
use crate::sip::message::Message;
use crate::sip::name::Name;

/// The option tag of the extension.
pub(crate) const TIMER: &str = "timer";

/// RFC 4028 5: no interval is shorter, in seconds, and Min-SE means this where it is absent.
pub(crate) const LEAST: u32 = 90;

/// RFC 4028 10: how long before a session expires its BYE leaves, at most.
const BEFORE_EXPIRY: Duration = Duration::from_secs(32);

/// What a dialog knows of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SessionTimer {
    /// None while nobody refreshes: the session does not expire.
    pub(crate) interval: Option<Interval>,
    /// The largest Min-SE that a 422, or a request of the peer, has named; our requests repeat it.
    pub(crate) min_se: Option<u32>,
    /// How often the refresh of this interval was put off.
    pub(crate) put_off: u8,
}

/// What the last 2xx granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) seconds: u32,
    pub(crate) refresher: End,
}

/// One end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    We,
    Peer,
}

/// What our configuration says, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// What we ask for; 0 asks for nothing.
    pub(crate) wanted: u32,
    /// The shortest that we take.
    pub(crate) least: u32,
}

/// What a request, or a 2xx, says of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether its sender knows the extension.
    supported: bool,
    expires: Option<SessionExpires>,
    min_se: Option<u32>,
}

impl Said {
    pub(crate) fn by(message: &Message<'_>) -> Result<Said, HeaderFault> {
        Ok(Said {
            supported: message.values(Name::Supported).any(|tag| tag.eq_ignore_ascii_case(TIMER.as_bytes())),
            expires: message.maybe()?,
            min_se: message.maybe()?.map(|MinSe(seconds)| seconds),
        })
    }

    /// What a request has to ask for at least.
    fn floor(&self, policy: Policy) -> u32 {
        self.min_se.unwrap_or(LEAST).max(policy.least).max(LEAST)
    }

    /// The Min-SE of the 422 that a request deserves.
    fn too_small(&self, policy: Policy) -> Option<u32> {
        let floor = self.floor(policy);
        // RFC 4028 9: a 422 is for those who know the extension; others could do nothing about it.
        (self.supported && self.expires.is_some_and(|asked| asked.seconds < floor)).then_some(floor)
    }
}

impl SessionTimer {
    /// We answer a request with a 2xx: what it grants, and whether the peer has to know the extension to read it.
    //= IM D-56
    fn answer(&mut self, asked: &Said, policy: Policy) -> Option<(SessionExpires, bool)> {
        self.min_se = self.min_se.max(asked.min_se);
        let floor = asked.floor(policy);
        let seconds = match asked.expires {
            // RFC 4028 9: what was asked for is never raised, nor is anything below Min-SE told: then there is no timer.
            Some(asked) => Some(asked.seconds).filter(|seconds| *seconds >= floor),
            // RFC 4028 9: who knows the extension and asks for no timer may get one.
            None if asked.supported && policy.wanted > 0 => {
                Some(self.interval.map_or(policy.wanted, |current| current.seconds).max(floor))
            }
            None => None,
        };
        let Some(seconds) = seconds else {
            self.interval = None;
            return None;
        };
        // RFC 4028 9, table 2
        let refresher = match (asked.supported, asked.expires.and_then(|asked| asked.refresher)) {
            (false, _) => Refresher::Uas,
            (true, Some(chosen)) => chosen,
            (true, None) => match self.interval.map(|current| current.refresher) {
                Some(End::Peer) => Refresher::Uac,
                Some(End::We) | None => Refresher::Uas,
            },
        };
        let end = if refresher == Refresher::Uas { End::We } else { End::Peer };
        self.interval = Some(Interval { seconds, refresher: end });
        // RFC 4028 9: Require is a MUST for `uac`, and a SHOULD for `uas` if the UAC knows the extension. `uac` implies it.
        Some((SessionExpires { seconds, refresher: Some(refresher) }, asked.supported))
    }

    /// A 2xx to a request of ours that asked for `asked` seconds.
    fn granted(&mut self, asked: Option<u32>, said: &Said) {
        self.interval = match (said.expires, asked) {
            (Some(SessionExpires { seconds, refresher }), _) => {
                let refresher = if refresher == Some(Refresher::Uas) { End::Peer } else { End::We };
                // Nobody makes us refresh faster than RFC 4028 5 lets him.
                Some(Interval { seconds: seconds.max(LEAST), refresher })
            }
            // RFC 4028 7.2: the UAS does not know the extension, and we go on by ourselves.
            (None, Some(seconds)) if !said.supported => Some(Interval { seconds, refresher: End::We }),
            (None, _) => None,
        };
    }

    /// The seconds that our next request asks for (RFC 4028 7.4).
    pub(crate) fn asks(&self, policy: Policy, inside: bool) -> Option<u32> {
        let wanted = match self.interval {
            Some(current) => Some(current.seconds),
            None => Some(policy.wanted).filter(|wanted| *wanted > 0 && !inside),
        };
        wanted.map(|seconds| seconds.max(self.min_se.unwrap_or(LEAST)))
    }

    /// The rows of a request of ours that refreshes, or sets up, the session.
    pub(crate) fn request_rows(&self, policy: Policy, inside: bool) -> Vec<(Name, String)> {
        let expires = self.asks(policy, inside).map(|seconds| {
            // RFC 4028 7.4: whoever refreshes goes on with it; 7.1: at first it is negotiated.
            let refresher = self.interval.map(|current| match current.refresher {
                End::We => Refresher::Uac,
                End::Peer => Refresher::Uas,
            });
            (Name::SessionExpires, written(&SessionExpires { seconds, refresher }))
        });
        // RFC 4028 7.4: the largest that was heard, from a 422 or from the peer.
        let min_se = self.min_se.map(|seconds| (Name::MinSe, seconds.max(LEAST).to_string()));
        expires.into_iter().chain(min_se).collect()
    }

    /// A 422 to a request that asked for `asked` seconds: whether asking for more makes sense.
    pub(crate) fn raise(&mut self, asked: Option<u32>, refusal: &Message<'_>) -> bool {
        let Ok(Some(MinSe(least))) = refusal.maybe::<MinSe>() else { return false };
        self.min_se = self.min_se.max(Some(least));
        asked.is_some_and(|asked| least > asked)
    }
}

impl Interval {
    /// RFC 4028 7.2 and 9: refreshed after half of it.
    fn refresh(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) / 2
    }

    /// RFC 4028 10: the BYE leaves min(32 s, a third of it) before it is over.
    fn bye(&self) -> Duration {
        let whole = Duration::from_secs(self.seconds.into());
        whole.saturating_sub(BEFORE_EXPIRY.min(whole / 3))
    }
}

impl Core {
    pub(crate) fn timer_policy(&self) -> Policy {
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let least = seconds(self.config.min_se).max(LEAST);
        let wanted = seconds(self.config.session_expires);
        Policy { wanted: if wanted == 0 { 0 } else { wanted.max(least) }, least }
    }

    /// Whether a request asks for an interval that we take (catalogue 1.3 row 20).
    pub(crate) fn interval_suits(&self, request: &Message<'_>) -> Result<(), PeerFault> {
        match Said::by(request)?.too_small(self.timer_policy()) {
            Some(least) => Err(PeerFault::IntervalTooSmall { least }),
            None => Ok(()),
        }
    }

    /// The rows of our 2xx to an INVITE, initial or not, or an UPDATE; the session's timer runs from now on.
    pub(crate) fn timer_rows(&mut self, session: &mut Session, request: &Message<'_>) -> Vec<(Name, String)> {
        let policy = self.timer_policy();
        // `interval_suits` has refused what cannot be read.
        let Ok(asked) = Said::by(request) else { return Vec::new() };
        let answer = session.timer.answer(&asked, policy);
        if let (None, Some(expires)) = (answer, asked.expires) {
            let input = format!("Session-Expires: {}", written(&expires));
            let decision = "no session timer: the interval is too short, and the caller does not know timers";
            self.explain(session.account, Some(session.id), "D-56", decision, &input);
        }
        self.run_timer(session);
        let Some((expires, known)) = answer else { return Vec::new() };
        let mut rows = vec![(Name::SessionExpires, written(&expires))];
        if known {
            rows.push((Name::Require, TIMER.to_owned()));
        }
        rows
    }

    /// A 2xx came to a request of ours that asked for `asked` seconds: the session's timer runs from now on.
    pub(crate) fn timer_granted(
        &mut self,
        session: &mut Session,
        asked: Option<u32>,
        response: &Message<'_>,
    ) {
        match Said::by(response) {
            Ok(said) => session.timer.granted(asked, &said),
            Err(fault) => {
                // As if it had named the interval that we asked for, and us as the refresher.
                session.timer.interval = asked.map(|seconds| Interval { seconds, refresher: End::We });
                let decision = "we refresh the session: its 2xx does not say readably who does";
                self.explain(session.account, Some(session.id), "D-56", decision, &fault.to_string());
            }
        }
        self.run_timer(session);
    }

    /// Starts the session's deadlines anew.
    fn run_timer(&mut self, session: &mut Session) {
        let now = self.now.instant;
        session.timer.put_off = 0;
        match session.timer.interval {
            Some(interval) => {
                self.arm(session, Why::SessionExpires, now + interval.bye());
                match interval.refresher {
                    End::We => self.arm(session, Why::Refresh, now + interval.refresh()),
                    End::Peer => self.disarm(session, Why::Refresh),
                }
            }
            None => {
                self.disarm(session, Why::SessionExpires);
                self.disarm(session, Why::Refresh);
            }
        }
    }

    /// Nobody has refreshed the session (RFC 4028 10).
    pub(crate) fn session_expired(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.timers.retain(|(reason, _)| *reason != Why::SessionExpires);
        }
        if self.is_asking(id) {
            // The re-INVITE that waits for the user is a refresh, once it is answered.
            self.word_due(id);
            let refreshed =
                |session: &Session| session.timer.interval.is_none() || session.is_armed(Why::SessionExpires);
            if self.sessions.get(id).is_some_and(refreshed) {
                return;
            }
        }
        let Some(session) = self.sessions.take(id) else { return };
        if !matches!(session.phase, Phase::Live(_)) {
            return self.sessions.put(session);
        }
        let (decision, why) = match session.timer.interval.map(|interval| interval.refresher) {
            Some(End::We) => ("left: our refreshes failed", "the session expired: our refreshes failed"),
            Some(End::Peer) | None => (
                "left: the other side did not refresh the session",
                "the session expired: the other side did not refresh it",
            ),
        };
        let input = session
            .timer
            .interval
            .map_or_else(String::new, |interval| format!("the session interval is {} s", interval.seconds));
        self.explain(session.account, Some(id), "RFC 4028 10", decision, &input);
        self.bye(session, Ended::Lost { why: why.to_owned() });
    }
}

fn written(expires: &SessionExpires) -> String {
    match expires.refresher {
        Some(refresher) => format!("{};refresher={}", expires.seconds, refresher.text()),
        None => expires.seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { wanted: 1800, least: 90 };

    fn said(supported: bool, expires: Option<(u32, Option<Refresher>)>, min_se: Option<u32>) -> Said {
        let expires = expires.map(|(seconds, refresher)| SessionExpires { seconds, refresher });
        Said { supported, expires, min_se }
    }

    /// Session-Expires of our 2xx, and `R` if it bears Require.
    fn answer(timer: &mut SessionTimer, asked: Said) -> String {
        timer.answer(&asked, POLICY).map_or_else(String::new, |(expires, require)| {
            format!("{}{}", written(&expires), if require { " R" } else { "" })
        })
    }

    //= IM D-56 test
    #[test]
    fn the_uas_follows_the_table() {
        let (uac, uas) = (Some(Refresher::Uac), Some(Refresher::Uas));
        for (asked, answered) in [
            (said(false, Some((1800, None)), None), "1800;refresher=uas"),
            // Disallowed combinations: who does not know the extension cannot refresh.
            (said(false, Some((1800, uac)), None), "1800;refresher=uas"),
            (said(false, Some((1800, uas)), None), "1800;refresher=uas"),
            (said(true, Some((1800, None)), None), "1800;refresher=uas R"),
            (said(true, Some((1800, uac)), None), "1800;refresher=uac R"),
            (said(true, Some((1800, uas)), None), "1800;refresher=uas R"),
            (said(true, Some((3600, uas)), Some(90)), "3600;refresher=uas R"),
            // Never raised, never below Min-SE.
            (said(false, Some((60, None)), None), ""),
            (said(false, Some((100, None)), Some(200)), ""),
            (said(false, Some((90, None)), None), "90;refresher=uas"),
            (said(true, None, None), "1800;refresher=uas R"),
            (said(true, None, Some(7200)), "7200;refresher=uas R"),
            (said(false, None, None), ""),
        ] {
            assert_eq!(answer(&mut SessionTimer::default(), asked), answered, "{asked:?}");
        }
    }

    #[test]
    fn roles_and_interval_stay_when_a_refresh_does_not_speak_of_them() {
        let mut timer = SessionTimer::default();
        answer(&mut timer, said(true, Some((600, Some(Refresher::Uac))), Some(120)));
        assert_eq!(timer.interval, Some(Interval { seconds: 600, refresher: End::Peer }));
        assert_eq!(answer(&mut timer, said(true, None, None)), "600;refresher=uac R");
        assert_eq!(answer(&mut timer, said(true, Some((700, None)), None)), "700;refresher=uac R");
        assert_eq!(
            timer.request_rows(POLICY, true),
            [(Name::SessionExpires, "700;refresher=uas".into()), (Name::MinSe, "120".into())]
        );
        assert_eq!(answer(&mut timer, said(false, None, None)), "", "it can be turned off");
        assert_eq!(timer.request_rows(POLICY, true), [(Name::MinSe, "120".into())]);
    }

    #[test]
    fn only_who_knows_timers_gets_a_422() {
        let policy = Policy { wanted: 1800, least: 300 };
        assert_eq!(said(true, Some((299, None)), None).too_small(policy), Some(300));
        assert_eq!(said(true, Some((300, None)), None).too_small(policy), None);
        assert_eq!(said(false, Some((1, None)), None).too_small(policy), None);
        assert_eq!(said(true, Some((400, None)), Some(500)).too_small(policy), Some(500));
        assert_eq!(said(true, None, Some(500)).too_small(policy), None);
    }

    #[test]
    fn the_uac_takes_what_the_2xx_says() {
        let granted = |asked, said: Said| {
            let mut timer = SessionTimer::default();
            timer.granted(asked, &said);
            timer.interval.map(|interval| (interval.seconds, interval.refresher))
        };
        let (uac, uas) = (Some(Refresher::Uac), Some(Refresher::Uas));
        assert_eq!(granted(Some(1800), said(true, Some((600, uas)), None)), Some((600, End::Peer)));
        assert_eq!(granted(Some(1800), said(true, Some((600, uac)), None)), Some((600, End::We)));
        assert_eq!(granted(None, said(false, Some((600, None)), None)), Some((600, End::We)));
        assert_eq!(granted(Some(1800), said(false, None, None)), Some((1800, End::We)));
        assert_eq!(granted(Some(1800), said(true, None, None)), None);
        assert_eq!(granted(Some(1800), said(true, Some((1, uac)), None)), Some((90, End::We)));
    }

    #[test]
    fn refresh_and_bye_come_in_time() {
        let at = |seconds| {
            let interval = Interval { seconds, refresher: End::We };
            (interval.refresh().as_millis(), interval.bye().as_millis())
        };
        assert_eq!((at(90), at(96), at(1800)), ((45_000, 60_000), (48_000, 64_000), (900_000, 1_768_000)));
    }
}
