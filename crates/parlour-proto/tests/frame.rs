//! Streams: where messages end, keep-alives, limits.

use parlour_proto::sip::fault::Fault;
use parlour_proto::sip::frame::{Frame, FrameLimits, Framer};
use parlour_proto::sip::header::HeaderFault;
use parlour_proto::sip::name::Name;

const OPTIONS: &str = "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n";

fn framer() -> Framer {
    Framer::new(FrameLimits { message: 1_000, headers: 500 })
}

/// What comes out, in short.
fn drain(framer: &mut Framer) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(frame) = framer.next() {
        seen.push(match frame {
            Frame::Message(octets) => format!("message of {}", octets.len()),
            Frame::Ping => "ping".to_owned(),
            Frame::Pong => "pong".to_owned(),
            Frame::Fault(refused) => {
                format!("{} {} {}", refused.fault.status(), refused.fault, refused.answerable().is_some())
            }
        });
    }
    seen
}

#[test]
fn messages_back_to_back_with_keep_alives_between() {
    let mut framer = framer();
    let message = format!("{OPTIONS}l: 3\r\n\r\nabc");
    framer.push(format!("\r\n\r\n{message}{message}\r\n{message}").as_bytes());
    let whole = format!("message of {}", message.len());
    assert_eq!(drain(&mut framer), ["pong", "ping", &whole, &whole, "pong", &whole]);
    assert_eq!(framer.buffered(), 0);
}

#[test]
fn a_message_waits_for_its_body() {
    let mut framer = framer();
    framer.push(format!("{OPTIONS}Content-Length: 3\r\n\r\nab").as_bytes());
    assert!(drain(&mut framer).is_empty());
    assert!(framer.is_mid_message());
    framer.push(b"c\r\n");
    assert_eq!(drain(&mut framer).len(), 2);
    assert!(!framer.is_mid_message());
}

//= IM X-11 test
#[test]
fn what_cannot_be_framed_is_refused_once() {
    for (rest, expected) in [
        ("\r\n".to_owned(), "400 Content-Length is missing true"),
        ("Content-Length: 1\r\nl: 2\r\n\r\n".to_owned(), "400 Content-Length has conflicting values true"),
        ("Content-Length: -1\r\n\r\n".to_owned(), "400 Content-Length is no number in range true"),
        ("Content-Length: five\r\n\r\n".to_owned(), "400 Content-Length is no number in range true"),
        (
            "Content-Length: 99999999999999999999\r\n\r\n".to_owned(),
            "400 Content-Length is no number in range true",
        ),
        ("Content-Length: 4294967295\r\n\r\n".to_owned(), "513 Message Too Large true"),
        ("Content-Length: 1000\r\n\r\n".to_owned(), "513 Message Too Large true"),
        (format!("Subject: {}", "x".repeat(500)), "513 Message Too Large true"),
    ] {
        let mut framer = framer();
        framer.push(format!("{OPTIONS}{rest}").as_bytes());
        assert_eq!(drain(&mut framer), [expected], "{rest}");
        framer.push(format!("{OPTIONS}l: 0\r\n\r\n").as_bytes());
        assert!(drain(&mut framer).is_empty(), "framing is lost for good");
        assert_eq!(framer.buffered(), 0);
    }
}

#[test]
fn garbage_is_refused_without_waiting() {
    for garbage in [b"\x16\x03\x01\x02".as_slice(), b"\rx", b" INVITE", b"\0"] {
        let mut framer = framer();
        framer.push(garbage);
        match framer.next() {
            Some(Frame::Fault(refused)) => {
                assert_eq!(refused.fault, Fault::NotSip);
                assert!(refused.answerable().is_none());
            }
            other => panic!("{other:?}"),
        }
    }
    let mut framer = framer();
    framer.push(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    match framer.next() {
        Some(Frame::Fault(refused)) => {
            assert_eq!(refused.fault, HeaderFault::missing(Name::ContentLength).into());
            assert!(refused.answerable().is_none(), "no Via, no answer");
        }
        other => panic!("{other:?}"),
    }
}

/// 200,000 octets one by one: quadratic work would take minutes.
#[test]
fn a_slow_drip_costs_no_more_than_a_flood() {
    let mut framer = Framer::new(FrameLimits { message: 256 << 10, headers: 256 << 10 });
    let message = format!("{OPTIONS}{}l: 0\r\n\r\n", "X: y\r\n".repeat(33_000));
    for octet in message.as_bytes() {
        framer.push(std::slice::from_ref(octet));
        while framer.next().is_some() {}
    }
    assert_eq!(framer.buffered(), 0);
}
