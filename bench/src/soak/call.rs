//! One call, without IO: an INVITE that is refused, or a session with a message each way and BYE, each answer checked.

use std::time::Duration;

use super::wire::{self, Frame, Key, Kind, Route, TEXT};
use crate::calls::dialog::header;

/// RFC 3261 17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// A step that is not answered by then has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// What a call wants sent.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams.
    pub sip: Vec<Vec<u8>>,
    /// Octets for its MSRP connection.
    pub msrp: Vec<u8>,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    key: Key,
    state: State,
    /// When it was placed.
    pub placed: Duration,
    /// When the step that it is at began.
    since: Duration,
    /// When the outstanding request is sent again, and after how long then.
    resend: (Duration, Duration),
}

#[derive(Debug)]
enum State {
    Inviting,
    /// ACK and SEND are out.
    Talking {
        dialog: Dialog,
        answered: bool,
        heard: bool,
    },
    /// All was said.
    Resting(Dialog),
    Leaving(Dialog),
    Over,
}

#[derive(Debug, Clone)]
struct Dialog {
    target: Vec<u8>,
    to: Vec<u8>,
}

/// What has become of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    On,
    /// It is accepted: its SEND belongs on a connection to this HOST:PORT.
    Accepted(String),
    /// Both messages are through: it may end now.
    Said,
    /// Every answer came, and came right.
    Done,
    /// The peer sent something again.
    Repeated,
    /// An answer was wrong.
    Failed(&'static str),
}

impl Call {
    /// Places a call.
    pub fn place(now: Duration, key: Key, route: &Route, out: &mut Out) -> Call {
        out.sip.push(wire::invite(key, route));
        Call { key, state: State::Inviting, placed: now, since: now, resend: (now + T1, T1) }
    }

    /// Whether it is over, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether it needs its MSRP connection.
    pub fn is_bound(&self) -> bool {
        matches!(self.state, State::Talking { .. } | State::Resting(_))
    }

    /// A SIP response to it.
    pub fn response(&mut self, now: Duration, route: &Route, octets: &[u8], out: &mut Out) -> Step {
        let status = octets.get(8..11).unwrap_or_default();
        let method =
            header(octets, b"CSeq").and_then(|value| value.split(|octet| *octet == b' ').next_back());
        match (&self.state, method) {
            (State::Inviting, Some(b"INVITE")) if status.starts_with(b"1") => Step::On,
            (State::Inviting, Some(b"INVITE")) => {
                out.sip.push(wire::ack(self.key, route, octets));
                if status != self.key.kind.wanted() {
                    return self.fail("another final response to INVITE than the right one");
                }
                if self.key.kind != Kind::Session {
                    self.state = State::Over;
                    return Step::Done;
                }
                self.accepted(now, route, octets, out)
            }
            (_, Some(b"INVITE")) if !status.starts_with(b"1") => {
                // The ACK was lost.
                out.sip.push(wire::ack(self.key, route, octets));
                Step::Repeated
            }
            (State::Leaving(_), Some(b"BYE")) if status == b"200" => {
                self.state = State::Over;
                Step::Done
            }
            (State::Over, _) => Step::Repeated,
            (State::Leaving(_), Some(b"BYE")) => self.fail("BYE is not answered 200"),
            _ => self.fail("a response to nothing"),
        }
    }

    fn accepted(&mut self, now: Duration, route: &Route, octets: &[u8], out: &mut Out) -> Step {
        let (Some(target), Some(to)) = (wire::target(octets), header(octets, b"To")) else {
            return self.fail("200 without Contact or To");
        };
        let Some((path, place)) = wire::path(octets) else {
            return self.fail("200 without an MSRP answer");
        };
        let tid = wire::tid(self.key, route);
        out.msrp.extend(wire::send(&tid, path, &self.key.path(route), TEXT));
        let dialog = Dialog { target: target.to_vec(), to: to.to_vec() };
        self.state = State::Talking { dialog, answered: false, heard: false };
        self.since = now;
        Step::Accepted(place.to_owned())
    }

    /// A frame came in its session.
    pub fn frame(&mut self, now: Duration, route: &Route, frame: &Frame<'_>, out: &mut Out) -> Step {
        if frame.word == b"SEND" {
            out.msrp.extend(frame.ok());
            // Without a body it only tells who is there.
            if frame.body.is_some() && frame.body != Some(TEXT.as_bytes()) {
                return self.fail("another text came back than was said");
            }
        }
        let State::Talking { dialog, answered, heard } = &mut self.state else {
            return if frame.word == b"SEND" { Step::Repeated } else { Step::On };
        };
        match frame.word {
            b"SEND" if frame.body.is_none() => {}
            b"SEND" if *heard => return Step::Repeated,
            b"SEND" => *heard = true,
            b"200" if frame.tid == wire::tid(self.key, route).as_bytes() => *answered = true,
            _ => return self.fail("SEND is not answered 200"),
        }
        if !(*answered && *heard) {
            return Step::On;
        }
        self.state = State::Resting(dialog.clone());
        self.since = now;
        Step::Said
    }

    /// Ends a session in which all was said.
    pub fn leave(&mut self, now: Duration, route: &Route, out: &mut Out) {
        if let State::Resting(dialog) = &self.state {
            out.sip.push(wire::bye(self.key, route, &dialog.target, &dialog.to));
            self.state = State::Leaving(dialog.clone());
            (self.since, self.resend) = (now, (now + T1, T1));
        }
    }

    /// Time has passed. Says how many requests were sent again.
    pub fn tick(&mut self, now: Duration, route: &Route, out: &mut Out) -> Result<u32, &'static str> {
        let late = now.saturating_sub(self.since) > LIMIT;
        let request = match &self.state {
            State::Inviting if late => Err("no final response to INVITE"),
            State::Talking { answered: false, .. } if late => Err("no answer to SEND"),
            State::Talking { .. } if late => Err("the message did not come back"),
            State::Leaving(_) if late => Err("no answer to BYE"),
            State::Inviting if now >= self.resend.0 => Ok(wire::invite(self.key, route)),
            State::Leaving(dialog) if now >= self.resend.0 => {
                Ok(wire::bye(self.key, route, &dialog.target, &dialog.to))
            }
            _ => return Ok(0),
        };
        if request.is_err() {
            self.state = State::Over;
        }
        out.sip.push(request?);
        let next = self.resend.1 * 2;
        self.resend = (now + next, next);
        Ok(1)
    }

    /// Gives it up.
    pub fn fail(&mut self, why: &'static str) -> Step {
        self.state = State::Over;
        Step::Failed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::floor::{echo, respond};
    use super::*;
    use crate::calls::floor::Floor;

    fn route() -> Route {
        Route { local: "127.0.0.1:7".into(), to: "sip:bob@127.0.0.1:8".into(), run: 3 }
    }

    /// Lets a call and the bare loop talk until both are silent; `spoil` may change what the loop says.
    fn talk(kind: Kind, spoil: impl Fn(String) -> String) -> Vec<Step> {
        let (route, mut floor, mut out) = (route(), Floor::with_media("127.0.0.1:8", 77), Out::default());
        let key = Key { kind, number: 5 };
        let mut call = Call::place(Duration::ZERO, key, &route, &mut out);
        let mut steps = Vec::new();
        loop {
            let Out { sip, msrp } = std::mem::take(&mut out);
            if sip.is_empty() && msrp.is_empty() {
                return steps;
            }
            for request in sip {
                let Some(answer) = respond(&mut floor, &request) else { continue };
                let answer = spoil(String::from_utf8(answer.to_vec()).unwrap()).into_bytes();
                assert_eq!(Key::of_sip(&answer, &route), Some(key));
                steps.push(call.response(Duration::ZERO, &route, &answer, &mut out));
            }
            let mut answers = Vec::new();
            assert_eq!(echo(&msrp, &mut answers), Ok(msrp.len()));
            let answers = spoil(String::from_utf8(answers).unwrap()).into_bytes();
            let mut rest = &answers[..];
            while let Some(frame) = Frame::read(rest).unwrap() {
                assert_eq!(Key::of_msrp(frame.to, &route), Some(key));
                let step = call.frame(Duration::ZERO, &route, &frame, &mut out);
                if step == Step::Said {
                    call.leave(Duration::ZERO, &route, &mut out);
                }
                steps.push(step);
                rest = &rest[frame.length..];
            }
        }
    }

    #[test]
    fn a_session_runs_to_its_end() {
        let accepted = Step::Accepted("127.0.0.1:77".into());
        assert_eq!(talk(Kind::Session, |answer| answer), [accepted, Step::On, Step::Said, Step::Done]);
    }

    #[test]
    fn refusals_are_acknowledged_and_have_to_be_the_right_ones() {
        assert_eq!(talk(Kind::Offer, |answer| answer), [Step::Done]);
        assert_eq!(talk(Kind::Blocked, |answer| answer), [Step::Done]);
        let wrong = talk(Kind::Blocked, |answer| answer.replace("486", "480"));
        assert_eq!(wrong, [Step::Failed("another final response to INVITE than the right one")]);
    }

    #[test]
    fn wrong_answers_are_seen() {
        let failure = |from: &'static str, to: &'static str| {
            let steps = talk(Kind::Session, |answer| answer.replace(from, to));
            steps.into_iter().find_map(|step| if let Step::Failed(why) = step { Some(why) } else { None })
        };
        assert_eq!(failure("nothing", "of this"), None);
        assert_eq!(failure("a=path:", "a=x:"), Some("200 without an MSRP answer"));
        assert_eq!(failure("m=message 77", "m=message 0"), Some("200 without an MSRP answer"));
        assert_eq!(failure("Contact:", "X:"), Some("200 without Contact or To"));
        assert_eq!(failure(" 200 OK\r\nTo-Path", " 481 x\r\nTo-Path"), Some("SEND is not answered 200"));
        let other = "another text came back than was said";
        assert_eq!(failure("\r\n\r\nDinner at eight?", "\r\n\r\nDinner at three?"), Some(other));
    }

    #[test]
    fn what_gets_no_answer_is_sent_again_and_given_up() {
        let mut out = Out::default();
        let key = Key { kind: Kind::Session, number: 1 };
        let mut call = Call::place(Duration::ZERO, key, &route(), &mut out);
        let mut at = |ms| call.tick(Duration::from_millis(ms), &route(), &mut out);
        assert_eq!([at(499), at(500), at(501), at(1500)], [Ok(0), Ok(1), Ok(0), Ok(1)]);
        assert_eq!(at(10_001), Err("no final response to INVITE"));
        assert_eq!(out.sip.len(), 3);
        assert!(call.is_over());
    }
}
