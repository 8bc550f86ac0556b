//! Addresses that somebody on the way has changed: RFC 6714, and what is made of them without it (D-15, D-16).

use parlour_msrp::accept::AcceptTypes;
use parlour_proto::config::{ActpassAnswer, Cema};
use parlour_proto::sdp::{
    Capabilities, Ends, Local, Refusal, Role, Session, Stream, answer, judge, offer, parse, read_answer,
};

fn ours(cema: Cema) -> Capabilities {
    Capabilities {
        receivable: AcceptTypes::parse("message/cpim text/plain", None),
        sendable: vec!["text/plain".to_owned()],
        max_size: 1 << 20,
        max_file: 0,
        ipv4: true,
        ipv6: true,
        fingerprints: Vec::new(),
        prefers_tls: false,
        plain: true,
        listens: true,
        listens_tls: true,
        connects: true,
        reachable: true,
        actpass_answer: ActpassAnswer::Auto,
        cema,
        relay: false,
        bandwidth: None,
    }
}

/// What stands in `c=` and `m=`, the path, the role, and whether the attribute is there.
fn description(host: &str, port: u16, path: &str, setup: &str, knows: bool) -> Session {
    let family = if host.contains(':') { "IP6" } else { "IP4" };
    let cema = if knows { "a=msrp-cema\r\n" } else { "" };
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\nm=message {port} TCP/MSRP *\r\n\
         a=path:{path}\r\na=setup:{setup}\r\na=accept-types:text/plain\r\n{cema}"
    );
    parse(text.as_bytes()).unwrap()
}

const PATH: &str = "msrp://192.0.2.1:2855/abc;tcp";
const RELAYED: &str = "msrp://192.0.2.7:2855/r;tcp msrp://192.0.2.1:2855/abc;tcp";
const SBC: (&str, u16) = ("203.0.113.5", 9000);

fn taken(cema: Cema, offer: &Session) -> Result<Stream, Refusal> {
    judge(offer, &ours(cema)).map(|judged| judged.chat.expect("a chat"))
}

fn target(stream: &Stream) -> String {
    let uri = stream.target();
    format!("{}:{}", uri.host(), uri.port().unwrap_or(0))
}

//= IM D-15 test
//= IM D-16 test
#[test]
fn an_offer_that_was_rewritten_is_followed_refused_or_ignored() {
    let (host, port) = SBC;
    // (c= and m= are elsewhere, msrp-cema) -> where we connect under each policy; None is a refusal.
    for (moved, knows, strict, lenient, off) in [
        (false, false, Some("192.0.2.1:2855"), "192.0.2.1:2855", "192.0.2.1:2855"),
        (false, true, Some("192.0.2.1:2855"), "192.0.2.1:2855", "192.0.2.1:2855"),
        (true, true, Some("203.0.113.5:9000"), "203.0.113.5:9000", "192.0.2.1:2855"),
        (true, false, None, "203.0.113.5:9000", "192.0.2.1:2855"),
    ] {
        let (host, port) = if moved { (host, port) } else { ("192.0.2.1", 2855) };
        let offer = description(host, port, PATH, "passive", knows);
        let case = format!("moved {moved}, knows {knows}");
        let read = taken(Cema::Strict, &offer);
        assert_eq!(read.as_ref().ok().map(target).as_deref(), strict, "{case}");
        if let Err(refusal) = read {
            assert_eq!((refusal.warning, refusal.clause), (306, "D-15"));
        }
        assert_eq!(target(&taken(Cema::Lenient, &offer).unwrap()), lenient, "{case}");
        for policy in [Cema::Off, Cema::Auto] {
            let stream = taken(policy, &offer).unwrap();
            assert_eq!((target(&stream).as_str(), stream.cema), (off, false), "{case}");
        }
        // Whatever the policy, the path alone is what To-Path says.
        assert_eq!(taken(Cema::Lenient, &offer).unwrap().path.to_string(), PATH);
    }
}

//= IM D-15 test
#[test]
fn the_answer_says_msrp_cema_where_both_ends_know_it() {
    for (policy, knows, says) in [
        (Cema::Strict, true, true),
        (Cema::Lenient, true, true),
        (Cema::Lenient, false, false),
        (Cema::Off, true, false),
    ] {
        let offered = description("192.0.2.1", 2855, PATH, "actpass", knows);
        let ours = ours(policy);
        let judged = judge(&offered, &ours).unwrap();
        let local = Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap();
        let text = answer(&offered, &judged, Ends { session: &local, files: &[] }, &ours);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.contains("a=msrp-cema\r\n"), says, "{policy:?} {knows}: {text}");
        let own = String::from_utf8(offer(&local, &ours).octets).unwrap();
        assert_eq!(own.contains("a=msrp-cema\r\n"), policy != Cema::Off);
        // RFC 6714 4.2: with setup, always.
        assert!(own.contains("a=setup:") && text.contains("a=setup:"));
    }
}

//= IM D-15 test
#[test]
fn relays_take_us_back_to_the_path() {
    let (host, port) = SBC;
    // The offerer has a relay and will connect; it has one and we connect; we have one and would have to connect.
    for (path, setup, relay, cema, hop) in [
        (RELAYED, "active", false, false, "192.0.2.7:2855"),
        (RELAYED, "passive", false, true, "203.0.113.5:9000"),
        (PATH, "passive", true, false, "192.0.2.1:2855"),
        (PATH, "active", true, true, "192.0.2.1:2855"),
    ] {
        let ours = Capabilities { relay, ..ours(Cema::Strict) };
        let judged = judge(&description(host, port, path, setup, true), &ours).unwrap();
        let stream = judged.chat.unwrap();
        assert_eq!((stream.cema, target(&stream).as_str()), (cema, hop), "{path} {setup} {relay}");
    }
    // Lenient, and nobody speaks of CEMA: a relay is where the path says.
    let stream = taken(Cema::Lenient, &description(host, port, RELAYED, "passive", false)).unwrap();
    assert_eq!(target(&stream), "192.0.2.7:2855");
}

//= IM D-15 test
#[test]
fn addresses_are_compared_as_addresses() {
    let same = |host: &str, port, path: &str| {
        taken(Cema::Strict, &description(host, port, path, "passive", false)).is_ok()
    };
    assert!(same("2001:db8:0:0::1", 2855, "msrp://[2001:db8::1]:2855/abc;tcp"));
    assert!(same("Chat.example.com", 2855, "msrp://chat.EXAMPLE.com:2855/abc;tcp"));
    assert!(!same("192.0.2.1", 2856, PATH), "the port counts");
    // A name is not looked up for that: then the port tells.
    assert!(same("192.0.2.1", 2855, "msrp://chat.example.com:2855/abc;tcp"));
    assert!(!same("192.0.2.1", 9000, "msrp://chat.example.com:2855/abc;tcp"));
}

//= IM D-16 test
#[test]
fn what_is_no_place_is_not_connected_to() {
    // The discard port of who does not listen, and the address that once meant hold.
    for (host, port) in [("203.0.113.5", 9), ("0.0.0.0", 2855)] {
        let stream = taken(Cema::Lenient, &description(host, port, PATH, "passive", false)).unwrap();
        assert_eq!(target(&stream), "192.0.2.1:2855", "{host} {port}");
    }
    // Where the peer connects it does not matter.
    let stream = taken(Cema::Lenient, &description("203.0.113.5", 9, PATH, "active", false)).unwrap();
    assert_eq!((stream.role, stream.hop), (Role::Passive, None));
}

//= IM D-15 test
#[test]
fn an_answer_is_followed_or_the_offer_made_again_without() {
    let (host, port) = SBC;
    let local = Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap();
    for (policy, setup, path, knows, falls_back, hop) in [
        (Cema::Strict, "passive", PATH, true, false, "203.0.113.5:9000"),
        (Cema::Strict, "passive", PATH, false, false, "203.0.113.5:9000"),
        (Cema::Strict, "active", PATH, false, true, "192.0.2.1:2855"),
        (Cema::Strict, "active", PATH, true, false, "192.0.2.1:2855"),
        (Cema::Strict, "passive", RELAYED, false, true, "192.0.2.7:2855"),
        (Cema::Lenient, "active", PATH, false, false, "192.0.2.1:2855"),
        (Cema::Lenient, "passive", PATH, false, false, "203.0.113.5:9000"),
        (Cema::Off, "passive", PATH, true, false, "192.0.2.1:2855"),
    ] {
        let ours = ours(policy);
        let own = offer(&local, &ours);
        let stream = read_answer(&own, &description(host, port, path, setup, knows), &ours).unwrap();
        let case = format!("{policy:?} {setup} {path} {knows}");
        assert_eq!((stream.falls_back, target(&stream).as_str()), (falls_back, hop), "{case}");
    }
}
