//! What the caller says, and how it reads what it hears: SIP messages and MSRP frames.

use memchr::memmem;

use crate::calls::dialog::header;

/// Who asks for a refusal, by being on the block list.
pub const BLOCKED: &str = "sip:blocked@127.0.0.1";
/// What is said in each session.
pub const TEXT: &str = "Dinner at eight?";

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A session with a message each way.
    Session,
    /// An offer without MSRP: 488.
    Offer,
    /// A caller who is blocked: 486.
    Blocked,
}

impl Kind {
    /// The final response that it has to get.
    pub fn wanted(self) -> &'static [u8] {
        match self {
            Kind::Session => b"200",
            Kind::Offer => b"488",
            Kind::Blocked => b"486",
        }
    }

    fn letter(self) -> char {
        match self {
            Kind::Session => 's',
            Kind::Offer => 'o',
            Kind::Blocked => 'b',
        }
    }
}

/// Which call of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is for.
    pub kind: Kind,
    /// Its number among its kind.
    pub number: u32,
}

/// Who calls whom, and from where.
#[derive(Debug, Clone)]
pub struct Route {
    /// Our own HOST:PORT, for Via and Contact.
    pub local: String,
    /// The called address, such as `sip:bob@127.0.0.1:5060`.
    pub to: String,
    /// Makes the names of this run its own.
    pub run: u32,
}

impl Key {
    fn name(self, route: &Route) -> String {
        format!("{}{:08x}x{:x}", self.kind.letter(), self.number, route.run)
    }

    fn read(name: &[u8], route: &Route) -> Option<Key> {
        let (first, rest) = std::str::from_utf8(name).ok()?.split_at_checked(1)?;
        let kind = [Kind::Session, Kind::Offer, Kind::Blocked]
            .into_iter()
            .find(|kind| first.starts_with(kind.letter()))?;
        let (number, run) = rest.split_once('x')?;
        let key = Key { kind, number: u32::from_str_radix(number, 16).ok()? };
        (u32::from_str_radix(run, 16).ok()? == route.run).then_some(key)
    }

    /// The call of a SIP response.
    pub fn of_sip(octets: &[u8], route: &Route) -> Option<Key> {
        let id = header(octets, b"Call-ID")?;
        Key::read(id.split(|octet| *octet == b'@').next()?, route)
    }

    /// The call of an MSRP frame that came to this URI of ours.
    pub fn of_msrp(uri: &[u8], route: &Route) -> Option<Key> {
        Key::read(uri.strip_prefix(b"msrp://127.0.0.1:9/")?.strip_suffix(b";tcp")?, route)
    }

    /// Our URI in its session.
    pub fn path(self, route: &Route) -> String {
        format!("msrp://127.0.0.1:9/{};tcp", self.name(route))
    }

    fn from(self, route: &Route) -> String {
        let user = match self.kind {
            Kind::Blocked => BLOCKED.to_owned(),
            Kind::Session | Kind::Offer => {
                format!("sip:{}{}@127.0.0.1", self.kind.letter(), self.number)
            }
        };
        format!("<{user}>;tag=f{}", self.name(route))
    }
}

/// The INVITE of a call.
pub fn invite(key: Key, route: &Route) -> Vec<u8> {
    let Route { local, to, .. } = route;
    let (name, from) = (key.name(route), key.from(route));
    let media = match key.kind {
        Kind::Offer => "m=audio 9 RTP/AVP 0\r\na=sendrecv\r\n".to_owned(),
        Kind::Session | Kind::Blocked => format!(
            "m=message 9 TCP/MSRP *\r\na=setup:active\r\na=accept-types:text/plain\r\na=path:{}\r\n",
            key.path(route)
        ),
    };
    let body = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}");
    format!(
        "INVITE {to} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKi{name};rport\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: <{to}>\r\nCall-ID: {name}@soak\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:soak@{local}>\r\nUser-Agent: IM-client/OMA1.0 bench/1\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The ACK that a final response to an INVITE asks for; it is all in the response.
pub fn ack(key: Key, route: &Route, response: &[u8]) -> Vec<u8> {
    let to = header(response, b"To").unwrap_or_default();
    match target(response) {
        // RFC 3261 13.2.2.4: a transaction of its own, to the remote target.
        Some(target) if response.get(8..9) == Some(b"2") => bodiless("ACK", 1, 'a', key, route, target, to),
        // RFC 3261 17.1.1.3: the INVITE's own branch and Request-URI.
        _ => bodiless("ACK", 1, 'i', key, route, route.to.as_bytes(), to),
    }
}

/// The BYE of a dialog.
pub fn bye(key: Key, route: &Route, target: &[u8], to: &[u8]) -> Vec<u8> {
    bodiless("BYE", 2, 'b', key, route, target, to)
}

fn bodiless(
    method: &str,
    cseq: u32,
    branch: char,
    key: Key,
    route: &Route,
    target: &[u8],
    to: &[u8],
) -> Vec<u8> {
    let (name, from) = (key.name(route), key.from(route));
    let (target, to) = (String::from_utf8_lossy(target), String::from_utf8_lossy(to));
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{branch}{name};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {name}@soak\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n",
        route.local
    )
    .into_bytes()
}

/// The URI of a response's Contact.
pub fn target(response: &[u8]) -> Option<&[u8]> {
    header(response, b"Contact")?.split(|octet| matches!(octet, b'<' | b'>')).nth(1)
}

/// The MSRP URI in the session description of a response that takes our offer, and the HOST:PORT in it.
pub fn path(response: &[u8]) -> Option<(&str, &str)> {
    let port = memmem::find(response, b"\r\nm=message ").and_then(|at| response.get(at + 12));
    // RFC 3264 6: port 0 rejects the stream.
    port.filter(|digit| matches!(digit, b'1'..=b'9'))?;
    let at = memmem::find(response, b"\r\na=path:")?;
    let row = response.get(at + 9..)?.split(|octet| *octet == b'\r').next()?;
    let uri = std::str::from_utf8(row).ok()?;
    Some((uri, uri.strip_prefix("msrp://")?.split('/').next()?))
}

/// A SEND with our text as one chunk, from `from` to `to`. It asks for no report; its identifiers are made of `id`.
pub fn send(id: &str, to: &str, from: &str, text: &str) -> Vec<u8> {
    let size = text.len();
    format!(
        "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m{id}\r\n\
         Byte-Range: 1-{size}/{size}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n-------{id}$\r\n"
    )
    .into_bytes()
}

/// The transaction-id of our SEND in a call.
pub fn tid(key: Key, route: &Route) -> String {
    format!("t{}", key.name(route))
}

/// An MSRP frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'o> {
    /// The transaction-id.
    pub tid: &'o [u8],
    /// A method, or a status code.
    pub word: &'o [u8],
    /// To-Path.
    pub to: &'o [u8],
    /// From-Path.
    pub from: &'o [u8],
    /// What it carries.
    pub body: Option<&'o [u8]>,
    /// Its length, end-line included.
    pub length: usize,
}

impl<'o> Frame<'o> {
    /// The first frame; none while it is not whole.
    ///
    /// # Errors
    ///
    /// These octets are no MSRP.
    pub fn read(octets: &'o [u8]) -> Result<Option<Frame<'o>>, &'static str> {
        let Some(row) = memmem::find(octets, b"\r\n") else { return Ok(None) };
        let mut words = octets.get(..row).unwrap_or_default().splitn(4, |octet| *octet == b' ');
        let (Some(b"MSRP"), Some(tid), Some(word)) = (words.next(), words.next(), words.next()) else {
            return Err("not MSRP");
        };
        let end_line = [b"\r\n-------", tid].concat();
        let rest = octets.get(row..).unwrap_or_default();
        let Some(end) = memmem::find(rest, &end_line) else { return Ok(None) };
        let Some(flag) = rest.get(end + end_line.len()..end + end_line.len() + 3) else { return Ok(None) };
        if flag != b"$\r\n" {
            return Err("a frame that does not end its message");
        }
        let inside = rest.get(..end).unwrap_or_default();
        let (head, body) = match memmem::find(inside, b"\r\n\r\n") {
            Some(at) => (inside.get(..at).unwrap_or_default(), inside.get(at + 4..)),
            None => (inside, None),
        };
        let mut rows = head.split(|octet| *octet == b'\n').skip(1);
        let mut value = |name: &[u8]| rows.next()?.strip_prefix(name).map(<[u8]>::trim_ascii);
        // RFC 4975 7.1: To-Path comes first, then From-Path.
        let (Some(to), Some(from)) = (value(b"To-Path:"), value(b"From-Path:")) else {
            return Err("a frame without its paths");
        };
        Ok(Some(Frame { tid, word, to, from, body, length: row + end + end_line.len() + 3 }))
    }

    /// Its 200.
    pub fn ok(&self) -> Vec<u8> {
        [b"MSRP ", self.tid, b" 200 OK\r\nTo-Path: ", self.from, b"\r\nFrom-Path: ", self.to]
            .into_iter()
            .chain([&b"\r\n-------"[..], self.tid, b"$\r\n"])
            .flatten()
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route { local: "127.0.0.1:7".into(), to: "sip:bob@127.0.0.1:8".into(), run: 3 }
    }

    #[test]
    fn a_call_is_known_by_its_names_and_those_of_another_run_are_not() {
        let key = Key { kind: Kind::Blocked, number: 0xabc };
        let other = Route { run: 4, ..route() };
        let request = invite(key, &route());
        assert_eq!(Key::of_sip(&request, &route()), Some(key));
        assert_eq!(Key::of_sip(&request, &other), None);
        let path = key.path(&route());
        assert_eq!(Key::of_msrp(path.as_bytes(), &route()), Some(key));
        assert_eq!(Key::of_msrp(path.as_bytes(), &other), None);
        for strange in ["", "x00000001x3", "s00000001", "s0000000gx3"] {
            assert_eq!(Key::read(strange.as_bytes(), &route()), None, "{strange}");
        }
    }

    #[test]
    fn the_ack_to_a_refusal_has_the_branch_of_the_invite() {
        let key = Key { kind: Kind::Offer, number: 1 };
        let answer = |status: &str| {
            format!("SIP/2.0 {status}\r\nTo: <sip:bob@x>;tag=t\r\nContact: <sip:bob@y>\r\n\r\n").into_bytes()
        };
        let of = |octets: &[u8]| {
            let text = String::from_utf8(octets.to_vec()).unwrap();
            let branch = header(octets, b"Via").map(|via| String::from_utf8_lossy(via).into_owned()).unwrap();
            (text.split(' ').nth(1).unwrap().to_owned(), branch)
        };
        let asked = of(&invite(key, &route()));
        let (uri, via) = of(&ack(key, &route(), &answer("488 Not Acceptable Here")));
        assert_eq!((&uri, &via), (&asked.0, &asked.1));
        let (uri, via) = of(&ack(key, &route(), &answer("200 OK")));
        assert_eq!(uri, "sip:bob@y");
        assert_ne!(via, asked.1);
    }

    #[test]
    fn frames_are_taken_off_whole() {
        let one = send("tid1", "msrp://a/b;tcp", "msrp://c/d;tcp", "-------tid2$\r\nx");
        let two = Frame::read(&one).unwrap().unwrap().ok();
        let stream = [one.clone(), two.clone()].concat();
        for cut in 0..one.len() {
            assert_eq!(Frame::read(&one[..cut]), Ok(None), "{cut}");
        }
        let first = Frame::read(&stream).unwrap().unwrap();
        assert_eq!((first.word, first.length), (&b"SEND"[..], one.len()));
        assert_eq!(first.body, Some(&b"-------tid2$\r\nx"[..]));
        let second = Frame::read(&stream[first.length..]).unwrap().unwrap();
        assert_eq!((second.word, second.tid, second.body), (&b"200"[..], &b"tid1"[..], None));
        assert_eq!((second.to, second.from), (first.from, first.to));
        assert_eq!(second.length, two.len());
        assert!(Frame::read(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(Frame::read(b"MSRP a 200 OK\r\nFrom-Path: x\r\n-------a$\r\n").is_err());
    }

    #[test]
    fn where_to_connect_is_read_from_the_answer() {
        let answer = |port| {
            format!(
                "SIP/2.0 200 OK\r\n\r\nv=0\r\nm=message {port} TCP/MSRP *\r\na=path:msrp://127.0.0.1:9999/abc;tcp\r\n"
            )
        };
        let taken = Some(("msrp://127.0.0.1:9999/abc;tcp", "127.0.0.1:9999"));
        assert_eq!(path(answer(9999).as_bytes()), taken);
        assert_eq!(path(answer(0).as_bytes()), None);
        assert_eq!(path(b"SIP/2.0 200 OK\r\n\r\nv=0\r\n"), None);
    }
}
