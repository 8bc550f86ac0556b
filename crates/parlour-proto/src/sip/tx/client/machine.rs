//! The two client machines: RFC 3261 17.1 as RFC 6026 corrects it.

use crate::sip::tx::timer::Timer;

/// The INVITE client transaction, figure 5 of RFC 3261 as RFC 6026 8.4 draws it.
///
/// ```text
///                        |INVITE from TU
///                        |send, start A, B
///           A            V
///           send   +-----------+  B, closed: tell TU
///              +---|  Calling  |----------------------------+
///              +-->+-----------+                            |
///    300-699        |1xx       |2xx                         |
///   +---------------+to TU     +to TU-----------+           |
///   |               V           start M         |           |
///   |   1xx    +------------+                   |           |
///   |   to TU--| Proceeding |-------------------|---------->|
///   |      +-->+------------+ Cancelled, closed:|           |
///   |           |        |2xx     tell TU       |           |
///   |   300-699 |        |to TU, start M        |           |
///   |           |        +-------------------+  |           |
///   V           V                            V  V           |
///   to TU, ACK, start D                  +------------+     |
///              +-----------+             |  Accepted  |--+  |
///   300-699 +--| Completed |             +------------+  |  |
///   ACK     +->+-----------+   closed     |    ^   2xx   |  |
///                  |D, closed             |M   +---to TU-+  |
///                  V                      V                 V
///                              [Terminated]
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Invite {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// The non-INVITE client transaction, figure 6 of RFC 3261.
///
/// ```text
///                    |request from TU
///                    |send, start E, F
///          E         V
///          send  +-----------+  F, closed: tell TU
///             +--|  Trying   |---------------------+
///             +->+-----------+                     |
///     200-699     |1xx                             |
///     to TU   +---+to TU                           |
///     start K |   V                                |
///        E    | +------------+ F, closed: tell TU  |
///        send +-| Proceeding |-------------------->|
///        E=T2 +>+------------+                     |
///             |   |200-699                         |
///             V   V to TU, start K                 |
///          +-----------+                           V
///          | Completed |---------------------->[Terminated]
///          +-----------+  K, closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Other {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// What happens to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Event {
    /// A 1xx was received.
    Provisional,
    /// A 2xx was received.
    Success,
    /// A 300-699 was received.
    Failure,
    /// A CANCEL for the request was sent.
    CancelSent,
    /// A timer fired.
    Fired(Timer),
    /// The stream is gone.
    Closed,
}

/// What a client transaction does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Action {
    /// Send the request.
    Send,
    /// Hand the response to the TU.
    PassUp,
    /// Make the ACK from the request and the response, send it, and keep it in place of the request.
    MakeAck,
    /// Send the kept ACK again.
    AckAgain,
    /// The request is of no use any more.
    DropRequest,
    Start(Timer),
    Stop(Timer),
    BackOff(Timer),
    SlowDown(Timer),
    /// Tell the TU that no response came.
    TellTimeout,
    /// Tell the TU that the peer can't be reached.
    TellUnreachable,
}

use Action::{AckAgain, BackOff, DropRequest, MakeAck, PassUp, Send, SlowDown, Start, Stop};
use Action::{TellTimeout, TellUnreachable};

impl Invite {
    pub(in crate::sip::tx) const ON_START: &'static [Action] = &[Send, Start(Timer::A), Start(Timer::B)];

    /// The next state and what to do; pairs that the diagram does not show change nothing.
    pub(in crate::sip::tx) fn on(self, event: Event) -> (Invite, &'static [Action]) {
        const FAILED: &[Action] = &[Stop(Timer::A), PassUp, MakeAck, Start(Timer::D)];
        const ACCEPTED: &[Action] = &[Stop(Timer::A), PassUp, DropRequest, Start(Timer::M)];
        match (self, event) {
            (Invite::Calling, Event::Fired(Timer::A)) => (Invite::Calling, &[Send, BackOff(Timer::A)]),
            (Invite::Calling, Event::Provisional) => {
                (Invite::Proceeding, &[Stop(Timer::A), Stop(Timer::B), PassUp])
            }
            (Invite::Calling, Event::Fired(Timer::B)) => (Invite::Terminated, &[TellTimeout]),

            (Invite::Proceeding, Event::Provisional) => (Invite::Proceeding, &[PassUp]),
            // RFC 3261 9.1: a cancelled INVITE that gets no final response in 64*T1 is over.
            (Invite::Proceeding, Event::CancelSent) => (Invite::Proceeding, &[Start(Timer::Cancelled)]),
            (Invite::Proceeding, Event::Fired(Timer::Cancelled)) => (Invite::Terminated, &[TellTimeout]),

            (Invite::Calling | Invite::Proceeding, Event::Success) => (Invite::Accepted, ACCEPTED),
            (Invite::Calling | Invite::Proceeding, Event::Failure) => (Invite::Completed, FAILED),
            (Invite::Calling | Invite::Proceeding, Event::Closed) => (Invite::Terminated, &[TellUnreachable]),

            (Invite::Completed, Event::Failure) => (Invite::Completed, &[AckAgain]),
            (Invite::Completed, Event::Fired(Timer::D)) => (Invite::Terminated, &[]),
            (Invite::Completed, Event::Closed) => (Invite::Terminated, &[]),

            (Invite::Accepted, Event::Success) => (Invite::Accepted, &[PassUp]),
            (Invite::Accepted, Event::Fired(Timer::M)) => (Invite::Terminated, &[]),
            (Invite::Accepted, Event::Closed) => (Invite::Terminated, &[]),

            (state, _) => (state, &[]),
        }
    }
}

impl Other {
    pub(in crate::sip::tx) const ON_START: &'static [Action] = &[Send, Start(Timer::E), Start(Timer::F)];

    /// The next state and what to do; pairs that the diagram does not show change nothing.
    pub(in crate::sip::tx) fn on(self, event: Event) -> (Other, &'static [Action]) {
        const FINAL: &[Action] = &[Stop(Timer::E), PassUp, DropRequest, Start(Timer::K)];
        match (self, event) {
            (Other::Trying, Event::Fired(Timer::E)) => (Other::Trying, &[Send, BackOff(Timer::E)]),
            (Other::Trying | Other::Proceeding, Event::Provisional) => (Other::Proceeding, &[PassUp]),
            (Other::Proceeding, Event::Fired(Timer::E)) => (Other::Proceeding, &[Send, SlowDown(Timer::E)]),

            (Other::Trying | Other::Proceeding, Event::Success | Event::Failure) => (Other::Completed, FINAL),
            (Other::Trying | Other::Proceeding, Event::Fired(Timer::F)) => {
                (Other::Terminated, &[TellTimeout])
            }
            (Other::Trying | Other::Proceeding, Event::Closed) => (Other::Terminated, &[TellUnreachable]),

            (Other::Completed, Event::Fired(Timer::K)) => (Other::Terminated, &[]),
            (Other::Completed, Event::Closed) => (Other::Terminated, &[]),

            (state, _) => (state, &[]),
        }
    }
}
