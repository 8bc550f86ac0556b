//! Our message layer against that of `sipx-sip`, which is written to the RFCs with care: on the torture messages and on
//! generated ones, both must accept or refuse the same and read the same from what they accept. Where they differ, the
//! difference stands in a table with its reason.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use parlour_proto::sip::door::door;
use parlour_proto::sip::header::{Contact, Route};
use parlour_proto::sip::message::{Message, Start};
use parlour_proto::sip::name::Name;
use sipx_sip::TypedHeader;

/// What both must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Method or status, Request-URI.
    start: (String, String),
    fields: usize,
    vias: usize,
    branch: Option<String>,
    sent_by: (String, Option<u16>),
    from: (String, Option<String>),
    to: (String, Option<String>),
    call_id: String,
    cseq: (u32, String),
    contacts: Option<usize>,
    routes: Option<usize>,
    body: Vec<u8>,
}

/// What was read, or why not.
type Verdict = Result<Seen, String>;

fn ours(octets: &[u8]) -> Verdict {
    let message = Message::parse(octets).map_err(|refused| refused.fault.reason())?;
    let core = door(&message).map_err(|fault| fault.reason())?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let start = match message.start() {
        Start::Request { method_text, uri, .. } => (text(method_text), text(uri)),
        Start::Response { status, .. } => (status.to_string(), String::new()),
    };
    Ok(Seen {
        start,
        fields: message.fields().count(),
        vias: message.values(Name::Via).count(),
        branch: core.via.branch().map(str::to_owned),
        sent_by: (core.via.host.trim_matches(['[', ']']).to_ascii_lowercase(), core.via.port),
        from: (text(core.from.uri), core.from.tag().map(str::to_owned)),
        to: (text(core.to.uri), core.to.tag().map(str::to_owned)),
        call_id: core.call_id.0.to_owned(),
        cseq: (core.cseq.number, text(core.cseq.method_text)),
        contacts: message.list::<Contact<'_>>().collect::<Result<Vec<_>, _>>().ok().map(|all| all.len()),
        routes: message.list::<Route<'_>>().collect::<Result<Vec<_>, _>>().ok().map(|all| all.len()),
        body: message.body().to_vec(),
    })
}

fn theirs(octets: &[u8]) -> Verdict {
    use sipx_sip::headers::{CSeq, CallId, From, To, Via};
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let parsed = sipx_sip::parse_datagram(Bytes::copy_from_slice(octets), &sipx_sip::Limits::datagram());
    let message = parsed.map_err(|error| format!("{error:?}"))?;
    if let Some(finding) = sipx_sip::validate(&message).iter().find(|finding| !finding.is_repairable()) {
        return Err(format!("{finding:?}"));
    }
    let headers = message.headers();
    fn typed<H: TypedHeader>(headers: &sipx_sip::Headers) -> Result<H, String> {
        headers.typed::<H>().ok_or("missing")?.map_err(|error| format!("{error:?}"))
    }
    let via: Via = typed(headers)?;
    let (from, to): (From, To) = (typed(headers)?, typed(headers)?);
    let (call_id, cseq): (CallId, CSeq) = (typed(headers)?, typed(headers)?);
    let start = match &message {
        sipx_sip::Message::Request(request) => {
            (text(request.method.as_bytes()), text(&request.uri.to_bytes()))
        }
        sipx_sip::Message::Response(response) => (response.status.code().to_string(), String::new()),
    };
    let count = |name: sipx_sip::HeaderName, list: fn(&[u8]) -> Option<usize>| {
        headers.get_all(&name).map(|header| list(&header.value())).sum::<Option<usize>>()
    };
    Ok(Seen {
        start,
        fields: headers.len(),
        vias: count(sipx_sip::HeaderName::Via, |value| Via::decode_list(value).ok().map(|all| all.len()))
            .unwrap_or(0),
        branch: via.branch().map(text),
        sent_by: (text(&via.host.to_bytes()).trim_matches(['[', ']']).to_ascii_lowercase(), via.port),
        from: (text(&from.0.uri.to_bytes()), from.0.tag().map(text)),
        to: (text(&to.0.uri.to_bytes()), to.0.tag().map(text)),
        call_id: text(&call_id.0),
        cseq: (cseq.sequence, text(cseq.method.as_bytes())),
        contacts: count(sipx_sip::HeaderName::Contact, |value| {
            sipx_sip::headers::ContactValue::decode_list(value).ok().map(|all| all.len())
        }),
        routes: count(sipx_sip::HeaderName::Route, |value| {
            sipx_sip::headers::Route::decode_list(value).ok().map(|all| all.len())
        }),
        body: message.body().to_vec(),
    })
}

/// One kind of difference: how to know it, and why it is right.
struct Deviation {
    reason: &'static str,
    is: fn(&Verdict, &Verdict) -> bool,
}

/// Whether only we accept, while their fault is one of these.
fn only_we(ours: &Verdict, theirs: &Verdict, faults: &[&str]) -> bool {
    ours.is_ok() && theirs.as_ref().is_err_and(|found| faults.iter().any(|fault| found.contains(fault)))
}

/// Whether only they accept, while our fault is one of these.
fn only_they(ours: &Verdict, theirs: &Verdict, faults: &[&str]) -> bool {
    theirs.is_ok() && ours.as_ref().is_err_and(|found| faults.iter().any(|fault| found.contains(fault)))
}

const DEVIATIONS: &[Deviation] = &[
    Deviation {
        reason: "a line end without CR is read as one: it can mean nothing else",
        is: |ours, theirs| only_we(ours, theirs, &["BareNewline", "NoHeaderTerminator"]),
    },
    Deviation {
        reason: "RFC 3261 8.2.2: a line that is no header, and that nothing needs, is passed over",
        is: |ours, theirs| only_we(ours, theirs, &["MissingColon", "NameNotToken", "EmptyName"]),
    },
    Deviation {
        reason: "display names, tags and branches are taken with any octets that do not end them; URIs in headers are read \
                 when they are used",
        is: |ours, theirs| only_we(ours, theirs, &["MalformedRequiredHeader"]),
    },
    Deviation {
        reason: "the user part of a Request-URI may hold characters that should have been escaped",
        is: |ours, theirs| only_we(ours, theirs, &["StartLine(Uri(User))"]),
    },
    Deviation {
        reason: "several Content-Length that agree do no harm",
        is: |ours, theirs| only_we(ours, theirs, &["ContentLengthRepeated"]),
    },
    Deviation {
        reason: "RFC 3261 8.1.3.3: a response with somebody else's Via is not for a user agent",
        is: |ours, theirs| only_they(ours, theirs, &["Response has more than one Via"]),
    },
    Deviation {
        reason: "RFC 4475 3.2.1: a branch of nothing but the cookie is refused statelessly",
        is: |ours, theirs| only_they(ours, theirs, &["Via has an empty branch"]),
    },
    Deviation {
        reason: "protocol, version and transport of Via are tokens, and the protocol is SIP",
        is: |ours, theirs| {
            let faults =
                ["Via has a protocol", "Via has no version", "Via has no transport", "Via has a bad host"];
            only_they(ours, theirs, &faults)
        },
    },
    Deviation {
        reason: "RFC 3261 25.1: there is no white space in a Call-ID",
        is: |ours, theirs| only_they(ours, theirs, &["Call-ID is malformed"]),
    },
];

/// What the comparison found: messages that we accept, listed deviations, unlisted ones with an example of each kind.
#[derive(Default)]
struct Tally {
    accepted: usize,
    /// How often each entry of the table was needed.
    listed: [usize; DEVIATIONS.len()],
    unlisted: BTreeMap<String, String>,
}

impl Tally {
    fn compare(&mut self, octets: &[u8]) {
        let (ours, theirs) = (ours(octets), theirs(octets));
        self.accepted += usize::from(ours.is_ok());
        let kind = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if same(ours, theirs) => return,
            (Err(_), Err(_)) => return,
            (Ok(_), Ok(_)) => format!("both accept: {}", difference(&ours, &theirs)),
            (Ok(_), Err(fault)) => format!("only we accept; they: {fault}"),
            (Err(fault), Ok(_)) => format!("only they accept; we: {fault}"),
        };
        match DEVIATIONS.iter().position(|deviation| (deviation.is)(&ours, &theirs)) {
            Some(at) => self.listed[at] += 1,
            None => drop(self.unlisted.insert(kind, octets.escape_ascii().to_string())),
        }
    }

    fn report(&self) {
        let lines: Vec<_> =
            self.unlisted.iter().map(|(kind, example)| format!("{kind}\n    {example}")).collect();
        assert!(lines.is_empty(), "deviations without a reason:\n{}", lines.join("\n"));
    }
}

/// Equal, but for lists that only one of the two could read whole: we read them element by element.
fn same(ours: &Seen, theirs: &Seen) -> bool {
    let mut ours = ours.clone();
    if theirs.vias == 0 {
        ours.vias = 0;
    }
    if ours.contacts.is_none() || theirs.contacts.is_none() {
        ours.contacts = theirs.contacts;
    }
    if ours.routes.is_none() || theirs.routes.is_none() {
        ours.routes = theirs.routes;
    }
    ours == *theirs
}

/// The lines that differ.
fn difference(ours: &Verdict, theirs: &Verdict) -> String {
    let (ours, theirs) = (format!("{ours:#?}"), format!("{theirs:#?}"));
    let pairs = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs);
    pairs.map(|(ours, theirs)| format!("{} | {}", ours.trim(), theirs.trim())).collect()
}

#[test]
fn torture_messages() {
    let torture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parlour-proto/tests/torture");
    let (mut tally, mut messages) = (Tally::default(), 0);
    for folder in ["rfc4475", "rfc5118"] {
        for file in std::fs::read_dir(torture.join(folder)).unwrap() {
            tally.compare(&std::fs::read(file.unwrap().path()).unwrap());
            messages += 1;
        }
    }
    assert_eq!(messages, 61);
    tally.report();
}

#[test]
fn generated_messages() {
    let (mut random, mut tally) = (Random(0x9e37_79b9_7f4a_7c15), Tally::default());
    for _ in 0..20_000 {
        tally.compare(&generate(&mut random));
    }
    tally.report();
    // The generator must not stray into messages that nobody reads, nor the table into excuses for everything.
    assert!(tally.accepted > 5_000, "{}", tally.accepted);
    assert!(tally.listed.iter().sum::<usize>() < 2_000, "{:?}", tally.listed);
    for (deviation, times) in DEVIATIONS.iter().zip(tally.listed) {
        assert!(times > 0, "not needed any more: {}", deviation.reason);
    }
}

/// A repeatable sequence (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[rustfmt::skip]
const STARTS: &[&str] = &[
    "INVITE sip:bob@example.com SIP/2.0", "MESSAGE sips:bob@[2001:db8::1]:5061;lr SIP/2.0", "BYE sip:h SIP/2.0",
    "INVITE tel:+1-201-555-0123 SIP/2.0", "FOO%41 sip:a;b=c%40d@example.com SIP/2.0", "SIP/2.0 200 OK", "SIP/2.0 486 ",
    "INVITE sip:bob@example.com sip/2.0", "OPTIONS urn:service:sos SIP/2.0", "INVITE <sip:a@b> SIP/2.0",
];

/// Variants of each row: the first ones as they should be.
#[rustfmt::skip]
const ROWS: &[&[&str]] = &[
    &["Via: SIP/2.0/UDP h.example.com:5060;branch=z9hG4bK1;rport", "v: SIP / 2.0 / TCP [::1]:5061 ;branch= z9hG4bKa , SIP/2.0/UDP b",
      "VIA : SIP/2.0/TLS 192.0.2.1;received=192.0.2.9;branch=x;maddr=\"q\"", "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n ;ttl=1", "Via: HTTP/1.1/TCP h"],
    &["From: Alice <sip:alice@example.com>;tag=1", "f: \"A. \\\" B, C\" <sip:alice@example.com;x=y>;tag=a;z", "From: sip:alice@example.com;tag=t",
      "From: <sips:a%20b@h:5061>;x=\"y;z\";tag=~", "from:Alice<sip:a@h>", "From: <sip:a@h", "From: A, B <sip:a@h>;tag=1"],
    &["To: Bob <sip:bob@example.com>", "t: <tel:+12015550123>;tag=2", "TO: sip:bob@example.com", "To:\r\n <sip:bob@example.com>", "To: <sip:b@h>, <sip:c@h>"],
    &["Call-ID: 1@h", "i: abc", "CALL-ID:  a%b<>{}", "Call-ID: a b"],
    &["CSeq: 1 INVITE", "CSeq: 0007   INVITE", "cseq: 2147483647\tINVITE", "CSeq: 4294967296 INVITE", "CSeq: INVITE"],
    &["Max-Forwards: 70", "Max-Forwards: 0", "max-forwards: 007", "Max-Forwards: 256", "Max-Forwards: -1"],
    &["", "Contact: <sip:a@h>;q=0.5", "m: *", "Contact: \"x,y\" <sip:a@h?b=c>, sip:d@h;expires=3", "Contact: <sip:a@h", "Contact: *, <sip:a@b>"],
    &["", "Route: <sip:p;lr>", "Route: <sip:p;lr>, <sip:q;lr>", "Route: <sip:p;lr>\r\nroute: Q <sip:q>", "Route: <sip:p;lr>;;x"],
    &["", "Content-Length: 4", "l: 0", "Content-Length : 0004", "Content-Length: 9", "Content-Length: x", "Content-Length: 4\r\nl: 4", "l: 4\r\nl: 3"],
    &["", "Subject: caf\u{e9}", "X-Y: a,b;c=\"", "Allow: INVITE,, ACK", "Subject:", "Accept-Contact: *;+g.oma.sip-im"],
];

const OCTETS: &[u8] = b" \t\r\n:;,\"\\<>()=@%[]aZ0/?*.\0\x7f\x80\xe9";

fn generate(random: &mut Random) -> Vec<u8> {
    let mut rows: Vec<&str> = ROWS
        .iter()
        .map(|variants| {
            // Mostly the good ones, or nearly every message would have some fault.
            let bound = if random.below(12) == 0 { variants.len() } else { variants.len().min(3) };
            variants[random.below(bound)]
        })
        .collect();
    if random.below(30) == 0 {
        let (from, to) = (random.below(rows.len()), random.below(rows.len()));
        rows[to] = rows[from];
    }
    for at in 1..rows.len() {
        let other = random.below(at + 1);
        rows.swap(at, other);
    }
    let starts = if random.below(8) == 0 { STARTS.len() } else { 1 };
    let mut text = format!("{}\r\n", STARTS[random.below(starts)]);
    for row in rows.into_iter().filter(|row| !row.is_empty()) {
        text += row;
        text += "\r\n";
    }
    text += "\r\nbody";
    let mut octets = text.into_bytes();
    if random.below(3) == 0 {
        let at = random.below(octets.len());
        match random.below(3) {
            0 => drop(octets.remove(at)),
            1 => octets.insert(at, OCTETS[random.below(OCTETS.len())]),
            _ => octets[at] = OCTETS[random.below(OCTETS.len())],
        }
    }
    octets
}
