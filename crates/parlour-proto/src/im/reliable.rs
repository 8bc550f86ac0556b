//! The early dialog of an invitation that came: what waits for a PRACK (RFC 3262 3), as a small machine and its memory.

use std::time::Duration;

use parlour_msrp::random::Random;

use crate::event::{Ended, What};
use crate::fault::PeerFault;
use crate::im::media::{Agreed, OwnOffer};
use crate::sip::header::RAck;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;

/// What MSRP may tell of a session before it is accepted.
const HELD: usize = 64;

/// How far the reliable provisional responses of one invitation are.
///
/// ```text
///                 sent without SDP                  sent with SDP
///     +------+  <-------------------  +-------+  ------------------> +-----------+
///     | Bare |                        | Clear |                      | Described |
///     +------+  ------------------->  +-------+  <------------------ +-----------+
///       |  |      PRACK, or accepted:    ^  ^         PRACK             |    |
///   met |  |      the 200 overtakes it   |  |                           |    | accepted
///       V  |                             |  | PRACK:                met |    V
///   +-----------+      PRACK: alert      |  | 200    +------------+     |  (waits)
///   | AlertNext |------------------------+  +--------| AnswerNext |<----|----+
///   +-----------+ <-----------------------------------------------------+
///                                                    +------------+
/// ```
/// In every state but Clear the response is sent again after T1, 2*T1 and so on, and the invitation is refused after
/// 64*T1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// No reliable response waits for its PRACK.
    #[default]
    Clear,
    /// One without a description waits.
    Bare,
    /// One with a description waits: no 2xx may leave (RFC 3262 5).
    Described,
    /// One waits, and the preconditions are met: the user is alerted after it.
    AlertNext,
    /// One with a description waits, and the user has accepted: the 200 leaves after it.
    AnswerNext,
}

/// What happens to an early dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A reliable response without a description was sent.
    SentBare,
    /// A reliable response with a description was sent.
    SentDescribed,
    /// The PRACK that belongs to it is here.
    Pracked,
    /// Nothing keeps us from alerting the user any more.
    Met,
    /// The user, or policy, says yes.
    Accepted,
    /// It is time to send the response again.
    Again,
    /// 64*T1 are over.
    NoPrack,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Alert the user.
    Alert,
    /// Send the 200.
    Answer,
    /// Send the response again.
    SendAgain,
    /// Refuse the INVITE.
    GiveUp,
}

impl State {
    /// The next state, and what follows; pairs that the diagram does not show change nothing.
    pub(crate) fn on(self, event: Event) -> (State, Option<Action>) {
        match (self, event) {
            (State::Clear, Event::SentBare) => (State::Bare, None),
            (State::Clear, Event::SentDescribed) => (State::Described, None),
            (State::Clear, Event::Met) => (State::Clear, Some(Action::Alert)),
            // RFC 3262 3: a 2xx may overtake a response that carries no description.
            (State::Clear | State::Bare, Event::Accepted) => (State::Clear, Some(Action::Answer)),

            // RFC 3262 3: no further reliable response before the PRACK for the one before.
            (State::Bare | State::Described, Event::Met) => (State::AlertNext, None),
            // RFC 3262 5: the 2xx waits for the PRACK.
            (State::Described, Event::Accepted) => (State::AnswerNext, None),

            (State::Bare | State::Described, Event::Pracked) => (State::Clear, None),
            (State::AlertNext, Event::Pracked) => (State::Clear, Some(Action::Alert)),
            (State::AnswerNext, Event::Pracked) => (State::Clear, Some(Action::Answer)),

            (State::Bare | State::Described | State::AlertNext | State::AnswerNext, Event::Again) => {
                (self, Some(Action::SendAgain))
            }
            (State::Bare | State::Described | State::AlertNext | State::AnswerNext, Event::NoPrack) => {
                (State::Clear, Some(Action::GiveUp))
            }
            (state, _) => (state, None),
        }
    }
}

/// The early dialog of an invitation that came.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) reliability: Reliability,
    pub(crate) state: State,
    pub(crate) awaited: Option<Awaited>,
    /// The number of the last reliable response; 0 before the first.
    rseq: u32,
    pub(crate) media: Media,
    /// The INVITE has `Require: precondition`.
    pub(crate) demands_preconditions: bool,
    /// Whether the user, or policy, has been told of the invitation.
    pub(crate) alerted: bool,
    /// What is to be done as soon as the request that brought it is answered.
    pub(crate) due: Option<Due>,
    /// What MSRP told meanwhile: for the user, once the session is accepted.
    pub(crate) held: Vec<What>,
}

/// Whether provisional responses are sent reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reliability {
    /// The caller does not know 100rel.
    Never,
    /// `Supported: 100rel`: where it is needed.
    Possible,
    /// `Require: 100rel`.
    Always,
}

/// A reliable response that waits for its PRACK.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) rseq: u32,
    /// The number of the INVITE.
    pub(crate) cseq: u32,
    pub(crate) status: u16,
    pub(crate) response: Box<[u8]>,
    /// How long ago it was sent last.
    pub(crate) interval: Duration,
}

/// How far offer and answer are.
#[derive(Debug, Default)]
pub(crate) enum Media {
    /// Only what the INVITE says, if anything.
    #[default]
    Fresh,
    /// Our offer is out, in a reliable response: the answer comes in its PRACK.
    Offered(Box<OwnOffer>),
    /// Offer and answer are exchanged; MSRP begins when the user accepts.
    Settled(Box<Agreed>),
}

/// What follows a request of the early dialog.
#[derive(Debug)]
pub(crate) enum Due {
    Alert,
    Answer,
    /// The invitation cannot go on.
    Refuse(PeerFault, Ended),
}

impl Early {
    /// The early dialog that an INVITE makes.
    pub(crate) fn of(invite: &Message<'_>) -> Self {
        let has = |name, option: &str| {
            invite.values(name).any(|value| value.eq_ignore_ascii_case(option.as_bytes()))
        };
        // RFC 3262 3: only a caller that names 100rel knows what a reliable response is.
        let reliability = if has(Name::Require, "100rel") {
            Reliability::Always
        } else if has(Name::Supported, "100rel") {
            Reliability::Possible
        } else {
            Reliability::Never
        };
        Early {
            reliability,
            state: State::Clear,
            awaited: None,
            rseq: 0,
            media: Media::Fresh,
            demands_preconditions: has(Name::Require, "precondition"),
            alerted: false,
            due: None,
            held: Vec::new(),
        }
    }

    /// Lets something happen, and says what follows.
    pub(crate) fn step(&mut self, event: Event) -> Option<Action> {
        let (state, action) = self.state.on(event);
        self.state = state;
        action
    }

    /// Lets something happen; what follows is done once the request that brought it is answered.
    pub(crate) fn step_later(&mut self, event: Event) {
        match self.step(event) {
            Some(Action::Alert) => self.due = Some(Due::Alert),
            Some(Action::Answer) => self.due = Some(Due::Answer),
            Some(Action::SendAgain | Action::GiveUp) | None => {}
        }
    }

    /// The number of the next reliable response (RFC 3262 3): the first is drawn from 1 to 2^31-1.
    pub(crate) fn next_rseq(&mut self, random: &mut Random) -> u32 {
        self.rseq = match self.rseq {
            0 => u32::try_from(random.below((1 << 31) - 1)).unwrap_or(0).saturating_add(1),
            last => last.saturating_add(1),
        };
        self.rseq
    }

    /// Takes out the response that a PRACK acknowledges, if one waits for it.
    pub(crate) fn take_awaited(&mut self, rack: &RAck) -> Option<Awaited> {
        self.awaited.take_if(|awaited| awaited.is_meant_by(rack))
    }

    /// Keeps what MSRP tells before the session is accepted. `false` if it is too much.
    pub(crate) fn hold(&mut self, what: What) -> bool {
        let room = self.held.len() < HELD;
        if room {
            self.held.push(what);
        }
        room
    }
}

impl Awaited {
    /// RFC 3262 3: number, CSeq number and method are those of the response.
    pub(crate) fn is_meant_by(&self, rack: &RAck) -> bool {
        rack.response == self.rseq && rack.cseq == self.cseq && rack.method == Method::Invite
    }
}

impl Media {
    pub(crate) fn msrp(&self) -> Option<parlour_msrp::SessionId> {
        match self {
            Media::Fresh => None,
            Media::Offered(own) => own.msrp,
            Media::Settled(agreed) => agreed.chat.as_ref().map(|chat| chat.msrp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_with_every_event() {
        use std::fmt::Write as _;
        let mut table = String::new();
        for state in [State::Clear, State::Bare, State::Described, State::AlertNext, State::AnswerNext] {
            writeln!(table, "{state:?}").unwrap();
            for event in [
                Event::SentBare,
                Event::SentDescribed,
                Event::Pracked,
                Event::Met,
                Event::Accepted,
                Event::Again,
                Event::NoPrack,
            ] {
                match state.on(event) {
                    (next, None) if next == state => writeln!(table, "    {event:?} -").unwrap(),
                    (next, None) => writeln!(table, "    {event:?} -> {next:?}").unwrap(),
                    (next, Some(action)) => writeln!(table, "    {event:?} -> {next:?} {action:?}").unwrap(),
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    //= IM R-61 test
    #[test]
    fn numbers_begin_in_range_and_rise_by_one() {
        let mut random = Random::new([7; 32]);
        for _ in 0..1000 {
            let invite = Message::parse(b"INVITE sip:b@h SIP/2.0\r\nRequire: 100REL\r\n\r\n").unwrap();
            let mut early = Early::of(&invite);
            assert_eq!(early.reliability, Reliability::Always);
            let first = early.next_rseq(&mut random);
            assert!((1..1 << 31).contains(&first), "{first}");
            assert_eq!(early.next_rseq(&mut random), first + 1);
        }
    }
}
