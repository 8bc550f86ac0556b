//! The torture messages of RFC 4475 and RFC 5118: what our message layer does with each, against what the RFC says.
//!
//! A verdict is that of a user agent that takes every method that we know (REGISTER as well: refusing it is the
//! client's business), no options, and `application/sdp`, `multipart/*` and plain text.

#![expect(clippy::disallowed_methods, reason = "the messages are files")]

use std::path::Path;

use parlour_proto::sip::door::{Abilities, dialog_contact, door, screen};
use parlour_proto::sip::fault::Fault;
use parlour_proto::sip::header::{Contact, MethodSet};
use parlour_proto::sip::message::Message;
use parlour_proto::sip::method::Method;
use parlour_proto::sip::name::Name;
use parlour_proto::sip::write::Writer;

use Verdict::{Accept, Drop, Status};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Goes on to the transaction and its user.
    Accept,
    /// Refused with this status.
    Status(u16),
    /// Thrown away without an answer.
    Drop,
}

/// File, section, expected verdict, why.
type Row = (&'static str, &'static str, Verdict, &'static str);

#[rustfmt::skip]
const RFC_4475: [Row; 49] = [
    ("wsinv",      "3.1.1.1",  Accept,      "folds, escapes, odd spacing, compact names: all well formed"),
    ("intmeth",    "3.1.1.2",  Status(501), "well formed, but an endpoint does not know the method"),
    ("esc01",      "3.1.1.3",  Accept,      "escapes where the grammar has them"),
    ("escnull",    "3.1.1.4",  Accept,      "an escaped NUL shortens no user part"),
    ("esc02",      "3.1.1.5",  Status(501), "a percent sign in a method is no escape, so the method is unknown"),
    ("lwsdisp",    "3.1.1.6",  Accept,      "no space before < is an error of the grammar only"),
    ("longreq",    "3.1.1.7",  Accept,      "long and many values are legal"),
    ("dblreq",     "3.1.1.8",  Accept,      "octets after the body of a datagram are ignored"),
    ("semiuri",    "3.1.1.9",  Accept,      "semicolons may be part of the user"),
    ("transports", "3.1.1.10", Accept,      "unknown transports below the top are nobody's concern"),
    ("mpart01",    "3.1.1.11", Accept,      "NUL octets in a body are octets"),
    ("unreason",   "3.1.1.12", Accept,      "any text is a reason"),
    ("noreason",   "3.1.1.13", Accept,      "no text is a reason, too"),
    ("badinv01",   "3.1.2.1",  Status(400), "separators with nothing between them"),
    ("clerr",      "3.1.2.2",  Status(400), "a datagram's body shorter than Content-Length"),
    ("ncl",        "3.1.2.3",  Status(400), "a negative Content-Length"),
    ("scalar02",   "3.1.2.4",  Status(400), "CSeq beyond 32 bits"),
    ("scalarlg",   "3.1.2.5",  Drop,        "the same in a response, which nobody answers"),
    ("quotbal",    "3.1.2.6",  Status(400), "an open quote"),
    ("ltgtruri",   "3.1.2.7",  Status(400), "angle brackets around the Request-URI"),
    ("lwsruri",    "3.1.2.8",  Status(400), "a space in the Request-URI"),
    ("lwsstart",   "3.1.2.9",  Status(400), "more than one space in the Request-Line: may be refused"),
    ("trws",       "3.1.2.10", Status(400), "spaces at the end of the Request-Line: may be refused"),
    ("escruri",    "3.1.2.11", Status(400), "headers in the Request-URI: may be refused"),
    ("baddate",    "3.1.2.12", Accept,      "a bad Date matters only to those who use it; we do not"),
    ("regbadct",   "3.1.2.13", Status(400), "a URI with headers must be in angle brackets"),
    ("badaspec",   "3.1.2.14", Status(400), "spaces within an address: may be refused"),
    ("baddn",      "3.1.2.15", Status(400), "a comma in a display name without quotes: may be refused"),
    ("badvers",    "3.1.2.16", Status(505), "SIP/7.0"),
    ("mismatch01", "3.1.2.17", Status(400), "CSeq names another method"),
    ("mismatch02", "3.1.2.18", Status(501), "the same with an unknown method: 501 is the better answer"),
    ("bigcode",    "3.1.2.19", Drop,        "a status code beyond 699"),
    ("badbranch",  "3.2.1",    Status(400), "a branch of nothing but the cookie identifies no transaction"),
    ("insuf",      "3.3.1",    Status(400), "no Call-ID, From and To; ideally a 400"),
    ("unkscm",     "3.3.2",    Status(416), "a scheme that nobody knows"),
    ("novelsc",    "3.3.3",    Status(416), "a known scheme that we never serve"),
    ("unksm2",     "3.3.4",    Accept,      "schemes in other headers are well formed; a registrar would refuse them"),
    ("bext01",     "3.3.5",    Status(420), "options that nobody supports"),
    ("invut",      "3.3.6",    Status(415), "a body of unknown type"),
    ("regaut01",   "3.3.7",    Accept,      "an unknown Authorization scheme is well formed"),
    ("multi01",    "3.3.8",    Status(400), "several values where one is allowed"),
    ("mcl01",      "3.3.9",    Status(400), "two Content-Lengths that differ"),
    ("bcast",      "3.3.10",   Drop,        "a response with somebody else's Via"),
    ("zeromf",     "3.3.11",   Accept,      "Max-Forwards 0 stops proxies, not endpoints"),
    ("cparam01",   "3.3.12",   Accept,      "a parameter of Contact, not of its URI"),
    ("cparam02",   "3.3.13",   Accept,      "a parameter of the URI, not of Contact"),
    ("regescrt",   "3.3.14",   Accept,      "headers in a Contact URI are legal"),
    ("sdp01",      "3.3.15",   Status(406), "Accept excludes SDP, so no answer can be written"),
    ("inv2543",    "3.4.1",    Accept,      "RFC 2543: no branch, tag, Max-Forwards and Content-Length"),
];

#[rustfmt::skip]
const RFC_5118: [Row; 12] = [
    ("ipv6-good",                     "4.1",  Accept,      "IPv6 references where they belong"),
    ("ipv6-bad",                      "4.2",  Status(400), "an IPv6 address without brackets in the Request-URI"),
    ("port-ambiguous",                "4.3",  Accept,      "a port within the brackets is a part of the address"),
    ("port-unambiguous",              "4.4",  Accept,      "a port after the brackets"),
    ("via-received-param-with-delim", "4.5",  Accept,      "received with brackets is to be tolerated"),
    ("via-received-param-no-delim",   "4.5",  Accept,      "received without brackets is the grammar's way"),
    ("ipv6-in-sdp",                   "4.6",  Accept,      "IPv6 in the body is not ours to judge here"),
    ("mult-ip-in-header",             "4.7",  Accept,      "both families in Via"),
    ("mult-ip-in-sdp",                "4.8",  Accept,      "both families in the body"),
    ("ipv4-mapped-ipv6",              "4.9",  Accept,      "IPv4-mapped addresses"),
    ("ipv6-bug-abnf-3-colons",        "4.10", Accept,      "the third colon of RFC 3261's grammar is to be tolerated"),
    ("ipv6-correct-abnf-2-colons",    "4.10", Accept,      "the same without it"),
];

#[test]
fn every_message_of_rfc_4475_gets_its_verdict() {
    check("rfc4475", &RFC_4475);
}

#[test]
fn every_message_of_rfc_5118_gets_its_verdict() {
    check("rfc5118", &RFC_5118);
}

/// The valid messages of RFC 4475 3.1.1 pass parser and door, whatever a user agent then thinks of their method.
#[test]
fn the_thirteen_valid_messages_are_read_whole() {
    for (name, section, _, _) in RFC_4475.iter().filter(|row| row.1.starts_with("3.1.1.")) {
        let octets = load("rfc4475", name);
        let message = Message::parse(&octets).unwrap_or_else(|fault| panic!("{name} ({section}): {fault}"));
        door(&message).unwrap_or_else(|fault| panic!("{name} ({section}): {fault}"));
    }
}

/// A refusal is itself a message that passes the door of its receiver, wherever the request had what it takes.
#[test]
fn refusals_can_be_read() {
    for (name, _, verdict, _) in RFC_4475 {
        let octets = load("rfc4475", name);
        let Err(refused) = Message::parse(&octets) else { continue };
        let Some(readable) = refused.answerable() else {
            assert_eq!(verdict, Drop, "{name}");
            continue;
        };
        let reply = Writer::reply(readable, refused.fault.status(), &refused.fault.reason(), Some("ours"));
        let reply = reply.finish(None);
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.status().map(Status), Some(verdict), "{name}");
        assert!(reply.body().is_empty());
    }
}

fn check(folder: &str, rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, section, expected, why)| {
            let (found, fault) = verdict(&load(folder, name));
            let note = format!("{name} ({section}): {found:?} for {fault:?}, should be {expected:?}: {why}");
            (found != *expected).then_some(note)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files = std::fs::read_dir(path(folder)).unwrap().count();
    assert_eq!(files, rows.len(), "a file without a verdict, or the other way round");
}

fn verdict(octets: &[u8]) -> (Verdict, Option<Fault>) {
    let (message, fault) = match Message::parse(octets) {
        Ok(message) => {
            let fault = judge(&message).err();
            (Some(message), fault)
        }
        Err(refused) => (refused.readable().cloned(), Some(refused.fault)),
    };
    let verdict = match (fault, message) {
        (None, _) => Accept,
        (Some(fault), Some(message)) if message.is_answerable() => Status(fault.status()),
        (Some(_), _) => Drop,
    };
    (verdict, fault)
}

fn judge(message: &Message<'_>) -> Result<(), Fault> {
    let core = door(message)?;
    let can = Abilities {
        methods: MethodSet::of(Method::KNOWN),
        options: &[],
        media_types: &["application/sdp", "multipart/*", "text/plain"],
    };
    screen(message, &core, &can)?;
    if message.method() == Some(Method::Invite) {
        dialog_contact(message).map(|_| ()).or_else(|fault| {
            // RFC 4475 3.4.1: RFC 2543 had no Contact in requests.
            if message.has(Name::Contact) { Err(fault) } else { Ok(()) }
        })?;
    }
    for contact in message.list::<Contact<'_>>() {
        contact?;
    }
    Ok(())
}

fn load(folder: &str, name: &str) -> Vec<u8> {
    std::fs::read(path(folder).join(format!("{name}.dat"))).unwrap()
}

fn path(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(folder)
}
