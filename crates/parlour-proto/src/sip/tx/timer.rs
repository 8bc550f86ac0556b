//! The timers of RFC 3261 (table 4) and RFC 6026: their values in one place, and the two clocks of a transaction.

use std::time::Duration;

use parlour_msrp::time::Instant;
use parlour_msrp::timer::{TimerId, Timers};

use super::key::Print;
use crate::io::Why;

/// Estimate of the round-trip time.
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of non-INVITE requests and of final responses to INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64*T1: how long either side of a transaction hopes for the other one.
pub const PATIENCE: Duration = Duration::from_secs(32);
/// RFC 3261 17.2.1: an INVITE that got no response after this time is answered 100.
pub const TRYING: Duration = Duration::from_millis(200);
/// RFC 4320 4.1: other requests get their 100 when the client's timer E reaches T2, at 500 + 1000 + 2000 ms.
pub const LATE_TRYING: Duration = Duration::from_millis(3500);

/// The timers by their names in the RFCs, and three that have no letter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Client: INVITE again, T1 doubling.
    A,
    /// Client: no response to the INVITE.
    B,
    /// Client: the response to CANCEL'ed INVITE stays away (RFC 3261 9.1).
    Cancelled,
    /// Client: end of repeated 300-699 responses to INVITE.
    D,
    /// Client: another request again, T1 doubling up to T2.
    E,
    /// Client: no final response to another request.
    F,
    /// Client: end of repeated final responses.
    K,
    /// Client: end of repeated and further 2xx responses to INVITE (RFC 6026).
    M,
    /// Server: the 100 for an INVITE is due.
    Trying,
    /// Server: the 100 for another request is due.
    LateTrying,
    /// Server: whoever sent a request other than INVITE has given up on it (its timer F).
    Abandoned,
    /// Server: the 300-699 response to INVITE again, T1 doubling up to T2.
    G,
    /// Server: no ACK.
    H,
    /// Server: end of repeated ACKs.
    I,
    /// Server: end of repeated requests.
    J,
    /// Server: end of repeated INVITEs after a 2xx (RFC 6026).
    L,
}

impl Timer {
    /// How long it runs at first; `None` if it is not used at all on reliable flows.
    fn first(self, reliable: bool) -> Option<Duration> {
        let lingers = |unreliable| Some(if reliable { Duration::ZERO } else { unreliable });
        match self {
            Timer::A | Timer::E | Timer::G => (!reliable).then_some(T1),
            Timer::B | Timer::Cancelled | Timer::F | Timer::H | Timer::Abandoned => Some(PATIENCE),
            Timer::L | Timer::M => Some(PATIENCE),
            // RFC 3261 17.1.1.2: at least 32 s, whatever T1 is.
            Timer::D => lingers(Duration::from_secs(32)),
            Timer::J => lingers(PATIENCE),
            Timer::I | Timer::K => lingers(T4),
            Timer::Trying => Some(TRYING),
            Timer::LateTrying => Some(LATE_TRYING),
        }
    }

    /// Whether it repeats within a state, as opposed to ending it.
    fn repeats(self) -> bool {
        matches!(self, Timer::A | Timer::E | Timer::G | Timer::Trying | Timer::LateTrying)
    }

    /// Whether it belongs to a server transaction.
    pub(super) fn of_server(self) -> bool {
        match self {
            Timer::A | Timer::B | Timer::Cancelled | Timer::D | Timer::E | Timer::F | Timer::K | Timer::M => {
                false
            }
            Timer::Trying | Timer::LateTrying | Timer::Abandoned => true,
            Timer::G | Timer::H | Timer::I | Timer::J | Timer::L => true,
        }
    }

    /// What a deadline of this timer is for.
    pub(super) fn why(self) -> Why {
        match self {
            Timer::A | Timer::E => Why::Retransmit,
            Timer::B | Timer::Cancelled | Timer::F | Timer::Abandoned => Why::TransactionTimeout,
            Timer::Trying | Timer::LateTrying => Why::Trying,
            Timer::G => Why::ResendFinal,
            Timer::H => Why::AckTimeout,
            Timer::D | Timer::I | Timer::J | Timer::K | Timer::L | Timer::M => Why::TransactionLinger,
        }
    }
}

/// One armed deadline: which timer, of which transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) print: Print,
    pub(super) timer: Timer,
}

/// The deadlines of one transaction: at most one that repeats something and one that ends the state.
#[derive(Debug, Default)]
pub(super) struct Clock {
    again: Option<TimerId>,
    end: Option<TimerId>,
    /// The running interval of `again`, in milliseconds.
    interval: u32,
}

impl Clock {
    /// Starts a timer in place of the one of its kind that runs. Says `true` if the timer is of zero length and fires
    /// here and now instead.
    pub(super) fn start(&mut self, timers: &mut Timers<Due>, now: Instant, due: Due, reliable: bool) -> bool {
        self.stop(timers, due.timer);
        match due.timer.first(reliable) {
            None => false,
            Some(Duration::ZERO) => true,
            Some(first) => {
                self.arm(timers, now, due, first);
                false
            }
        }
    }

    /// Starts a repeating timer again with twice its last interval, T2 at most but for timer A, which B bounds.
    pub(super) fn back_off(&mut self, timers: &mut Timers<Due>, now: Instant, due: Due) {
        let doubled = Duration::from_millis(u64::from(self.interval).saturating_mul(2));
        self.arm(timers, now, due, if due.timer == Timer::A { doubled } else { doubled.min(T2) });
    }

    /// Starts a repeating timer again with T2.
    pub(super) fn slow_down(&mut self, timers: &mut Timers<Due>, now: Instant, due: Due) {
        self.arm(timers, now, due, T2);
    }

    /// Stops the timer of this one's kind.
    pub(super) fn stop(&mut self, timers: &mut Timers<Due>, timer: Timer) {
        let slot = if timer.repeats() { &mut self.again } else { &mut self.end };
        if let Some(id) = slot.take() {
            timers.cancel(id);
        }
    }

    /// Stops both.
    pub(super) fn stop_all(&mut self, timers: &mut Timers<Due>) {
        for id in [self.again.take(), self.end.take()].into_iter().flatten() {
            timers.cancel(id);
        }
    }

    fn arm(&mut self, timers: &mut Timers<Due>, now: Instant, due: Due, after: Duration) {
        let id = timers.arm(now + after, due);
        if due.timer.repeats() {
            self.again = Some(id);
            self.interval = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        } else {
            self.end = Some(id);
        }
    }
}
