//! Addresses that somebody on the way has changed: RFC 6714, and what is made of them without it (D-15, D-16).

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::uri::MsrpPath;
use parlour_proto::config::{ActpassAnswer, Cema};
use parlour_proto::sdp::{
    Capabilities, Ends, FallBack, Local, Names, Refusal, Role, Session, Stream, Unfit, answer, judge,
    names_to_compare, offer, offer_again, parse, read_answer, read_answer_again,
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
        names: Names::default(),
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
    for (path, setup, relay, cema, role, hop) in [
        // The offerer has a relay, and will connect; or we do.
        (RELAYED, "active", false, false, Role::Passive, "192.0.2.7:2855"),
        (RELAYED, "passive", false, true, Role::Active, "203.0.113.5:9000"),
        // RFC 6714 4.2: that is what its actpass is for.
        (RELAYED, "actpass", false, true, Role::Active, "203.0.113.5:9000"),
        // We have a relay and would have to connect; or need not, and RFC 6714 4.3 wants us passive.
        (PATH, "passive", true, false, Role::Active, "192.0.2.1:2855"),
        (PATH, "active", true, true, Role::Passive, "192.0.2.1:2855"),
        (PATH, "actpass", true, true, Role::Passive, "192.0.2.1:2855"),
        // Both have one.
        (RELAYED, "actpass", true, false, Role::Active, "192.0.2.7:2855"),
        (RELAYED, "active", true, false, Role::Passive, "192.0.2.7:2855"),
    ] {
        let ours = Capabilities { relay, actpass_answer: ActpassAnswer::Active, ..ours(Cema::Strict) };
        let judged = judge(&description(host, port, path, setup, true), &ours).unwrap();
        let stream = judged.chat.unwrap();
        let found = (stream.cema, stream.role, target(&stream));
        assert_eq!(found, (cema, role, hop.to_owned()), "{path} {setup} {relay}");
    }
    // Without the attribute the choice is ours.
    let judged =
        judge(&description("192.0.2.7", 2855, RELAYED, "actpass", false), &ours(Cema::Strict)).unwrap();
    assert_eq!(judged.chat.unwrap().role, Role::Passive);
    // Lenient, and nobody speaks of CEMA: a relay is where the path says.
    let stream = taken(Cema::Lenient, &description(host, port, RELAYED, "passive", false)).unwrap();
    assert_eq!(target(&stream), "192.0.2.7:2855");
}

//= IM D-15 test
#[test]
fn with_a_relay_of_ours_c_and_m_say_where_it_is() {
    for (relay, family) in [("192.0.2.7", "IP4"), ("[2001:db8::7]", "IP6"), ("relay.example", "IP4")] {
        let path = format!("msrp://{relay}:2857/r;tcp msrp://192.0.2.2:2855/own;tcp");
        let path = MsrpPath::parse(&path).unwrap();
        let local = Local::behind("192.0.2.2".parse().unwrap(), path, 7, 1);
        let host = relay.trim_matches(['[', ']']);
        for (policy, place) in [
            (Cema::Strict, format!("m=message 2857 TCP/MSRP *\r\nc=IN {family} {host}\r\n")),
            (Cema::Off, "m=message 2855 TCP/MSRP *\r\na=".to_owned()),
        ] {
            let ours = Capabilities { relay: true, reachable: false, ..ours(policy) };
            let own = String::from_utf8(offer(&local, &ours).octets).unwrap();
            assert!(own.contains(&place) && own.contains("a=setup:actpass\r\n"), "{own}");
            let offered = description("192.0.2.1", 2855, PATH, "actpass", true);
            let judged = judge(&offered, &ours).unwrap();
            let text = answer(&offered, &judged, Ends { session: &local, files: &[] }, &ours);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains(&place), "{text}");
            assert_eq!(text.contains("a=setup:passive\r\na=msrp-cema\r\n"), policy == Cema::Strict, "{text}");
        }
    }
}

//= IM D-15 test
#[test]
fn addresses_are_compared_as_addresses() {
    let judged = |host: &str, port, path: &str, setup: &str, names: &[(&str, &str)]| {
        let mut ours = ours(Cema::Strict);
        names.iter().for_each(|(name, address)| ours.names.learn(name, &[address.parse().unwrap()]));
        let offer = description(host, port, path, setup, false);
        (names_to_compare(&offer, &ours), judge(&offer, &ours).is_ok())
    };
    let same = |host: &str, port, path: &str| judged(host, port, path, "passive", &[]) == (Vec::new(), true);
    assert!(same("2001:db8:0:0::1", 2855, "msrp://[2001:db8::1]:2855/abc;tcp"));
    assert!(same("2001:DB8::A", 2855, "msrp://[2001:db8:0:0:0:0:0:a]:2855/abc;tcp"));
    assert!(same("Chat.example.com", 2855, "msrp://chat.EXAMPLE.com:2855/abc;tcp"));
    assert!(same("192.0.2.7", 2855, RELAYED) && same("192.0.2.1", 2855, RELAYED), "any URI of the path");
    assert!(!same("192.0.2.1", 2856, PATH), "the port counts");
    // D-12: but not where nobody listens. Peers say the discard port there, or in both places.
    let silent = |host, port, path| judged(host, port, path, "active", &[]).1;
    assert!(silent("192.0.2.1", 9, PATH) && silent("192.0.2.1", 9, "msrp://192.0.2.1:9/abc;tcp"));
    assert!(!silent("203.0.113.5", 9, PATH) && !same("192.0.2.1", 9, PATH));
    // A name has to be looked up, but where the port tells already.
    const NAMED: &str = "msrp://chat.example.com:2855/abc;tcp";
    let ask = |names: &[(&str, &str)]| judged("192.0.2.1", 2855, NAMED, "passive", names);
    assert_eq!(ask(&[]).0, ["chat.example.com"]);
    assert_eq!(ask(&[("chat.example.com", "192.0.2.1")]), (Vec::new(), true));
    assert_eq!(ask(&[("chat.example.com", "192.0.2.2")]), (Vec::new(), false));
    assert_eq!(judged("192.0.2.1", 9000, NAMED, "passive", &[]), (Vec::new(), false));
    assert_eq!(judged("sbc.example", 2855, NAMED, "active", &[]).0, ["chat.example.com", "sbc.example"]);
    // With the attribute, and where nobody asks, nobody has to know.
    let named = |knows| description("192.0.2.1", 2855, NAMED, "passive", knows);
    assert!(names_to_compare(&named(true), &ours(Cema::Strict)).is_empty());
    assert!(names_to_compare(&named(false), &ours(Cema::Off)).is_empty());
    assert_eq!(names_to_compare(&named(false), &ours(Cema::Lenient)), ["chat.example.com"]);
    let they_connect = description("192.0.2.1", 2855, NAMED, "active", false);
    assert!(names_to_compare(&they_connect, &ours(Cema::Lenient)).is_empty());
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
    let local = Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap();
    let sbc = "203.0.113.5:9000";
    const NAMED: &str = "msrp://chat.example.com:9000/abc;tcp";
    #[derive(Debug, PartialEq)]
    enum Then {
        No,
        Due,
        Unless,
    }
    for (policy, setup, path, relay, knows, then, hop) in [
        (Cema::Strict, "passive", PATH, false, true, Then::No, sbc),
        (Cema::Strict, "passive", PATH, false, false, Then::No, sbc),
        (Cema::Strict, "passive", NAMED, false, false, Then::No, sbc),
        (Cema::Strict, "active", PATH, false, false, Then::Due, "192.0.2.1:2855"),
        (Cema::Strict, "active", NAMED, false, false, Then::Unless, "chat.example.com:9000"),
        (Cema::Strict, "active", PATH, false, true, Then::No, "192.0.2.1:2855"),
        // The answerer has a relay, or we have, and we connect.
        (Cema::Strict, "passive", RELAYED, false, false, Then::Due, "192.0.2.7:2855"),
        (Cema::Strict, "passive", PATH, true, false, Then::Due, "192.0.2.1:2855"),
        (Cema::Strict, "passive", PATH, true, true, Then::No, "192.0.2.1:2855"),
        (Cema::Lenient, "active", PATH, false, false, Then::Due, "192.0.2.1:2855"),
        (Cema::Lenient, "passive", PATH, false, false, Then::No, sbc),
        (Cema::Off, "passive", PATH, false, true, Then::No, "192.0.2.1:2855"),
        (Cema::Off, "active", PATH, false, false, Then::No, "192.0.2.1:2855"),
    ] {
        let (host, port) = SBC;
        let ours = Capabilities { relay, ..ours(policy) };
        let own = offer(&local, &ours);
        let stream = read_answer(&own, &description(host, port, path, setup, knows), &ours).unwrap();
        let case = format!("{policy:?} {setup} {path} {relay} {knows}");
        let found = match &stream.fall_back {
            FallBack::No => Then::No,
            FallBack::Due(_) => Then::Due,
            FallBack::Unless(_) => Then::Unless,
        };
        assert_eq!((found, target(&stream).as_str()), (then, hop), "{case}");
        if let Some(stated) = stream.fall_back.stated() {
            assert_eq!((stated.host(), stated.port()), (host, Some(port)), "{case}");
        }
    }
    // The relay of the answerer is where c= and m= say: there is no middlebox, and the path leads there.
    let ours = ours(Cema::Strict);
    let there = description("192.0.2.7", 2855, RELAYED, "passive", false);
    let stream = read_answer(&offer(&local, &ours), &there, &ours).unwrap();
    assert_eq!((stream.fall_back, stream.hop), (FallBack::No, None));
}

//= IM D-15 test
#[test]
fn the_second_offer_is_without_and_its_answer_is_taken_by_the_path() {
    let local = Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap();
    let ours = ours(Cema::Strict);
    let first = parse(&offer(&local, &ours).octets).unwrap();
    let mut again = local.clone().revised();
    again.without_cema = true;
    let second = offer_again(&first, Some(0), &[], &again, &ours);
    let text = String::from_utf8(second.octets.clone()).unwrap();
    assert!(
        !text.contains("cema") && text.contains("a=setup:actpass") && text.contains(" 7 2 IN IP4 "),
        "{text}"
    );
    let (host, port) = SBC;
    for (setup, knows) in [("active", false), ("passive", false), ("passive", true)] {
        let answer = description(host, port, PATH, setup, knows);
        let stream = read_answer_again(&second, 0, 1, &answer, &ours).unwrap().unwrap();
        assert_eq!(
            (stream.fall_back, stream.hop, stream.cema),
            (FallBack::No, None, false),
            "{setup} {knows}"
        );
    }
}

//= IM D-15 test
#[test]
fn a_line_that_was_rewritten_does_not_spoil_the_others() {
    let (host, port) = SBC;
    let mut offer = description(host, port, PATH, "active", false);
    let good = description("192.0.2.1", 2855, PATH, "active", false);
    offer.media.extend(good.media);
    // Whose c= line is the session's, which is not its own.
    offer.media[1].connection = good.connection;
    let judged = judge(&offer, &ours(Cema::Strict)).unwrap();
    assert_eq!(judged.lines, [Some(Unfit::Rewritten), None]);
    let local = Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap();
    let text = answer(&offer, &judged, Ends { session: &local, files: &[] }, &ours(Cema::Strict));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("m=message 0 TCP/MSRP *\r\nm=message 2855 TCP/MSRP *\r\n"), "{text}");
}
