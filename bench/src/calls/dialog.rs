//! One call, without IO: INVITE with an MSRP offer, 180 if the peer rings, 200, ACK, BYE, 200, each answer checked.

use std::time::Duration;

use memchr::memmem;

/// RFC 3261 17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// A call that is not over by then has failed.
const LIMIT: Duration = Duration::from_secs(8);

/// Who calls whom, and from where.
#[derive(Debug, Clone)]
pub struct Route {
    /// Our own HOST:PORT, for Via and Contact.
    pub local: String,
    /// The called address, such as `sip:bob@127.0.0.1:5060`.
    pub to: String,
    /// Makes the Call-IDs of this run its own.
    pub run: u32,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    state: State,
    started: Duration,
    /// When the outstanding request is sent again, and after how long then.
    resend: (Duration, Duration),
}

#[derive(Debug)]
enum State {
    Inviting {
        to_tag: Option<Vec<u8>>,
    },
    /// ACK and BYE are out.
    Leaving {
        target: Vec<u8>,
        to: Vec<u8>,
    },
    Over,
}

/// What has become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    On,
    /// Every answer came, and came right.
    Done,
    /// The peer sent something again.
    Repeated,
    /// An answer was wrong.
    Failed(&'static str),
}

impl Call {
    /// Starts call number `number`: the INVITE goes to `send`.
    pub fn start(now: Duration, number: u32, route: &Route, send: &mut dyn FnMut(&[u8])) -> Call {
        send(&invite(number, route));
        Call { state: State::Inviting { to_tag: None }, started: now, resend: (now + T1, T1) }
    }

    /// Whether it is over, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// A response to this call.
    pub fn response(
        &mut self,
        now: Duration,
        number: u32,
        route: &Route,
        octets: &[u8],
        send: &mut dyn FnMut(&[u8]),
    ) -> Step {
        let status = octets.get(8..11).unwrap_or_default();
        let method =
            header(octets, b"CSeq").and_then(|value| value.split(|octet| *octet == b' ').next_back());
        let to = header(octets, b"To").unwrap_or_default();
        let tag = memmem::find(to, b";tag=").and_then(|at| to.get(at + 5..));
        match (&mut self.state, method, status) {
            (State::Inviting { .. }, Some(b"INVITE"), b"100") => Step::On,
            (State::Inviting { to_tag }, Some(b"INVITE"), b"180") => match (tag, &to_tag) {
                (None, _) => self.fail("180 without To tag"),
                (Some(_), Some(_)) => Step::Repeated,
                (Some(tag), None) => {
                    *to_tag = Some(tag.to_vec());
                    Step::On
                }
            },
            (State::Inviting { to_tag }, Some(b"INVITE"), b"200") => {
                // Who accepts by policy need not ring.
                if tag.is_none() || to_tag.as_deref().is_some_and(|rung| tag != Some(rung)) {
                    return self.fail("200 without To tag, or with another than the 180");
                }
                if memmem::find(octets, b"\r\nm=message ").is_none()
                    || memmem::find(octets, b"\r\na=path:msrp://").is_none()
                {
                    return self.fail("200 without an MSRP answer");
                }
                let Some(target) = header(octets, b"Contact").and_then(uri) else {
                    return self.fail("200 without Contact");
                };
                let (target, to) = (target.to_vec(), to.to_vec());
                send(&inside("ACK", 1, number, route, &target, &to));
                send(&inside("BYE", 2, number, route, &target, &to));
                self.state = State::Leaving { target, to };
                self.resend = (now + T1, T1);
                Step::On
            }
            (State::Leaving { .. } | State::Over, Some(b"INVITE"), b"180" | b"200") => Step::Repeated,
            (State::Leaving { .. }, Some(b"BYE"), b"200") => {
                self.state = State::Over;
                Step::Done
            }
            (State::Over, Some(b"BYE"), b"200") => Step::Repeated,
            _ => self.fail("an answer that is not 180 or 200"),
        }
    }

    /// Time has passed. Says how many requests were sent again, or `None` when the call was given up.
    pub fn tick(
        &mut self,
        now: Duration,
        number: u32,
        route: &Route,
        send: &mut dyn FnMut(&[u8]),
    ) -> Option<u32> {
        if self.is_over() || now < self.resend.0 {
            return Some(0);
        }
        if now.saturating_sub(self.started) > LIMIT {
            self.state = State::Over;
            return None;
        }
        match &self.state {
            State::Inviting { .. } => send(&invite(number, route)),
            State::Leaving { target, to } => send(&inside("BYE", 2, number, route, target, to)),
            State::Over => {}
        }
        let next = self.resend.1 * 2;
        self.resend = (now + next, next);
        Some(1)
    }

    fn fail(&mut self, why: &'static str) -> Step {
        self.state = State::Over;
        Step::Failed(why)
    }
}

/// The number of the call that a response belongs to.
pub fn number_of(octets: &[u8], run: u32) -> Option<u32> {
    let id = header(octets, b"Call-ID")?;
    let (call, host) = std::str::from_utf8(id).ok()?.split_once('@')?;
    (host == format!("{run}.bench")).then(|| u32::from_str_radix(call, 16).ok()).flatten()
}

/// The value of the first row of that name in full form, or `i` for Call-ID and so on.
pub fn header<'o>(octets: &'o [u8], name: &[u8]) -> Option<&'o [u8]> {
    let mut rest = octets;
    loop {
        let end = memchr::memchr(b'\n', rest)?;
        rest = rest.get(end + 1..)?;
        if rest.starts_with(b"\r\n") {
            return None;
        }
        if rest.len() > name.len()
            && rest.get(..name.len())?.eq_ignore_ascii_case(name)
            && rest.get(name.len()) == Some(&b':')
        {
            let row = rest.get(name.len() + 1..memchr::memchr(b'\n', rest)?)?;
            return Some(row.trim_ascii());
        }
    }
}

fn uri(contact: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'<', contact)? + 1;
    let length = memchr::memchr(b'>', contact.get(start..)?)?;
    contact.get(start..start + length)
}

/// The INVITE of call number `number`; each call has a caller of its own.
pub fn invite(number: u32, route: &Route) -> Vec<u8> {
    let Route { local, to, run } = route;
    let body = format!(
        "v=0\r\no=- {number} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 9 TCP/MSRP *\r\na=setup:active\r\na=accept-types:message/cpim text/plain\r\n\
         a=accept-wrapped-types:*\r\na=path:msrp://127.0.0.1:9/caller{run:x}{number:08x};tcp\r\n"
    );
    format!(
        "INVITE {to} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{run:x}i{number:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:caller{number}@127.0.0.1>;tag=f{run:x}{number:08x}\r\n\
         To: <{to}>\r\nCall-ID: {number:08x}@{run}.bench\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:caller{number}@{local}>\r\nUser-Agent: IM-client/OMA1.0 bench/1\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request inside the dialog.
pub fn inside(method: &str, cseq: u32, number: u32, route: &Route, target: &[u8], to: &[u8]) -> Vec<u8> {
    let Route { local, run, .. } = route;
    let (target, to) = (String::from_utf8_lossy(target), String::from_utf8_lossy(to));
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{run:x}{method}{number:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:caller{number}@127.0.0.1>;tag=f{run:x}{number:08x}\r\n\
         To: {to}\r\nCall-ID: {number:08x}@{run}.bench\r\nCSeq: {cseq} {method}\r\n\
         User-Agent: IM-client/OMA1.0 bench/1\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::floor::Floor;
    use super::*;

    fn route() -> Route {
        Route { local: "127.0.0.1:7".into(), to: "sip:bob@127.0.0.1:8".into(), run: 3 }
    }

    /// Lets a call and the floor talk until both are silent; `spoil` may change what the floor says.
    fn talk(spoil: impl Fn(String) -> String) -> Vec<Step> {
        let (route, mut floor) = (route(), Floor::new("127.0.0.1:8"));
        let mut requests = Vec::new();
        let mut call = Call::start(Duration::ZERO, 5, &route, &mut |octets| requests.push(octets.to_vec()));
        let mut steps = Vec::new();
        while !requests.is_empty() {
            let request = requests.remove(0);
            let mut answers = Vec::new();
            floor.answer(&request, &mut |octets| answers.push(octets.to_vec()));
            for answer in answers {
                let answer = spoil(String::from_utf8(answer).unwrap()).into_bytes();
                assert_eq!(number_of(&answer, 3), Some(5));
                steps.push(call.response(Duration::ZERO, 5, &route, &answer, &mut |octets| {
                    requests.push(octets.to_vec());
                }));
            }
        }
        steps
    }

    #[test]
    fn a_call_runs_to_its_end() {
        assert_eq!(talk(|answer| answer), [Step::On, Step::Done]);
    }

    #[test]
    fn wrong_answers_are_seen() {
        let without_media = talk(|answer| answer.replace("m=message", "m=audio"));
        assert_eq!(without_media.last(), Some(&Step::Failed("200 without an MSRP answer")));
        let refused = talk(|answer| answer.replace("SIP/2.0 200 OK", "SIP/2.0 486 Busy"));
        assert_eq!(refused.last(), Some(&Step::Failed("an answer that is not 180 or 200")));
        let without_tag = talk(|answer| answer.replace(";tag=floor", ""));
        assert_eq!(
            without_tag.last(),
            Some(&Step::Failed("200 without To tag, or with another than the 180"))
        );
    }

    #[test]
    fn what_gets_no_answer_is_sent_again_and_given_up() {
        let mut sent = 0;
        let mut call = Call::start(Duration::ZERO, 1, &route(), &mut |_| sent += 1);
        let mut at = |ms| call.tick(Duration::from_millis(ms), 1, &route(), &mut |_| {});
        assert_eq!([at(499), at(500), at(501), at(1500)], [Some(0), Some(1), Some(0), Some(1)]);
        assert_eq!(at(9000), None);
    }
}
