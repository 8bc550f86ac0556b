//! The two server machines: RFC 3261 17.2 as RFC 6026 corrects it.

use crate::sip::tx::timer::Timer;

/// The INVITE server transaction, figure 7 of RFC 3261 as RFC 6026 8.6 draws it.
///
/// ```text
///                          |INVITE
///                          |to TU, Trying starts
///        INVITE            V
///        last 1xx    +------------+  101-199 from TU, Trying fires
///            +-------|            |------+ send
///            +------>| Proceeding |<-----+
///                    +------------+
///    300-699 from TU   |        |    2xx from TU
///    send, start G, H  |        |    send, start L
///                      V        V
///    INVITE, G  +-----------+  +------------+  INVITE: -
///    final   +--|           |  |            |--+ ACK: to TU
///    again   +->| Completed |  |  Accepted  |  | 2xx from TU: send
///               +-----------+  |            |<-+
///           ACK  |       |H    +------------+
///       start I  V       |tell TU     |L
///        +-----------+   |            |
///        | Confirmed |   V            V
///        +-----------+--->[Terminated]
///                      I
/// ```
/// A closed flow ends every state, as no connection is opened anew for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Invite {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// The non-INVITE server transaction, figure 8 of RFC 3261 with the 100 of RFC 4320.
///
/// ```text
///                     |request
///                     |to TU, LateTrying and Abandoned start
///                     V
///               +-----------+
///   request: -  |  Trying   |----------------------+
///               +-----------+                      |
///     LateTrying fires |                           | 200-699 from TU
///             send 100 V                           | send, start J
///   request     +------------+  200-699 from TU    |
///   100 again+--| Proceeding |-----------------+   |
///            +->+------------+  send, start J  V   V
///                  |             request     +-----------+
///        Abandoned |             final    +--| Completed |
///                  V             again    +->+-----------+
///            [Terminated]<---------------------------+ J
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Other {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// What happens to a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Event {
    /// The request was received again.
    Again,
    /// An ACK was received.
    Ack,
    /// The TU gave a provisional response.
    Provisional,
    /// The TU gave a 2xx.
    Success,
    /// The TU gave a 300-699.
    Failure,
    /// A timer fired.
    Fired(Timer),
    /// The stream is gone.
    Closed,
}

/// What a server transaction does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip::tx) enum Action {
    /// Send the response that the TU gave.
    Send,
    /// Send the response that the TU gave, and keep it.
    SendAndKeep,
    /// Make a 100, send and keep it.
    SendTrying,
    /// Send the kept response again.
    SendAgain,
    /// Hand the ACK to the TU.
    PassAck,
    /// The request is of no use any more.
    DropRequest,
    /// The kept response is of no use any more.
    DropResponse,
    Start(Timer),
    Stop(Timer),
    BackOff(Timer),
    /// Tell the TU that no ACK came.
    TellNoAck,
    /// Tell the TU that nobody is there to be answered.
    TellGone,
}

use Action::{
    BackOff, DropRequest, DropResponse, PassAck, Send, SendAgain, SendAndKeep, SendTrying, Start, Stop,
};
use Action::{TellGone, TellNoAck};

impl Invite {
    pub(in crate::sip::tx) const ON_START: &'static [Action] = &[Start(Timer::Trying)];

    /// The next state and what to do; pairs that the diagram does not show change nothing.
    pub(in crate::sip::tx) fn on(self, event: Event) -> (Invite, &'static [Action]) {
        match (self, event) {
            (Invite::Proceeding, Event::Again) => (Invite::Proceeding, &[SendAgain]),
            (Invite::Proceeding, Event::Fired(Timer::Trying)) => (Invite::Proceeding, &[SendTrying]),
            (Invite::Proceeding, Event::Provisional) => {
                (Invite::Proceeding, &[Stop(Timer::Trying), SendAndKeep])
            }
            (Invite::Proceeding, Event::Success) => {
                (Invite::Accepted, &[Stop(Timer::Trying), Send, DropRequest, DropResponse, Start(Timer::L)])
            }
            (Invite::Proceeding, Event::Failure) => (
                Invite::Completed,
                &[Stop(Timer::Trying), SendAndKeep, DropRequest, Start(Timer::G), Start(Timer::H)],
            ),
            (Invite::Proceeding, Event::Closed) => (Invite::Terminated, &[TellGone]),

            (Invite::Completed, Event::Again) => (Invite::Completed, &[SendAgain]),
            (Invite::Completed, Event::Fired(Timer::G)) => {
                (Invite::Completed, &[SendAgain, BackOff(Timer::G)])
            }
            (Invite::Completed, Event::Ack) => {
                (Invite::Confirmed, &[Stop(Timer::G), DropResponse, Start(Timer::I)])
            }
            (Invite::Completed, Event::Fired(Timer::H)) => (Invite::Terminated, &[TellNoAck]),
            (Invite::Completed, Event::Closed) => (Invite::Terminated, &[]),

            (Invite::Confirmed, Event::Fired(Timer::I)) => (Invite::Terminated, &[]),
            (Invite::Confirmed, Event::Closed) => (Invite::Terminated, &[]),

            (Invite::Accepted, Event::Success) => (Invite::Accepted, &[Send]),
            (Invite::Accepted, Event::Ack) => (Invite::Accepted, &[PassAck]),
            (Invite::Accepted, Event::Fired(Timer::L)) => (Invite::Terminated, &[]),
            (Invite::Accepted, Event::Closed) => (Invite::Terminated, &[]),

            (state, _) => (state, &[]),
        }
    }
}

impl Other {
    pub(in crate::sip::tx) const ON_START: &'static [Action] =
        &[Start(Timer::LateTrying), Start(Timer::Abandoned)];

    /// The next state and what to do; pairs that the diagram does not show change nothing.
    pub(in crate::sip::tx) fn on(self, event: Event) -> (Other, &'static [Action]) {
        const ANSWER: &[Action] = &[Stop(Timer::LateTrying), SendAndKeep, DropRequest, Start(Timer::J)];
        match (self, event) {
            // RFC 4320 4.1: no provisional response but the 100, and no 100 before timer E of the client is at T2.
            (Other::Trying, Event::Fired(Timer::LateTrying)) => (Other::Proceeding, &[SendTrying]),
            (Other::Proceeding, Event::Again) => (Other::Proceeding, &[SendAgain]),

            (Other::Trying | Other::Proceeding, Event::Success | Event::Failure) => {
                (Other::Completed, ANSWER)
            }
            // RFC 4320 4.2: who can't respond before the transaction expires does not respond at all.
            (Other::Trying | Other::Proceeding, Event::Fired(Timer::Abandoned)) => {
                (Other::Terminated, &[TellGone])
            }
            (Other::Trying | Other::Proceeding, Event::Closed) => (Other::Terminated, &[TellGone]),

            (Other::Completed, Event::Again) => (Other::Completed, &[SendAgain]),
            (Other::Completed, Event::Fired(Timer::J)) => (Other::Terminated, &[]),
            (Other::Completed, Event::Closed) => (Other::Terminated, &[]),

            (state, _) => (state, &[]),
        }
    }
}
