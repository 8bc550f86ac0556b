//! URIs against the examples and rules of RFC 3261 19.1, RFC 3966 and P-5.

use parlour_proto::sip::uri::{Scheme, Uri, aor, equivalent, same_identity};

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn all_parts_are_found() {
    let uri = uri(
        "sips:alice%40home:pa%20ss@[2001:db8::1]:5061;transport=tcp;lr;maddr=h?subject=project%20x&priority=urgent",
    );
    assert_eq!(uri.scheme(), Scheme::Sips);
    assert_eq!((uri.user(), uri.password()), (Some("alice%40home"), Some("pa%20ss")));
    assert_eq!((uri.host(), uri.port()), ("[2001:db8::1]", Some(5061)));
    assert_eq!(
        (uri.param("Transport"), uri.param("lr"), uri.param("ttl")),
        (Some(Some("tcp")), Some(None), None)
    );
    assert_eq!(uri.headers().collect::<Vec<_>>(), [("subject", "project%20x"), ("priority", "urgent")]);
}

#[test]
fn what_breaks_the_grammar_is_refused() {
    for text in [
        "",
        "sip",
        "sip:",
        "sip:@host",
        "sip:alice@",
        "sip:alice@host:",
        "sip:alice@host:65536",
        "sip:alice@host:a",
        "sip:2001:db8::1",
        "sip:[2001:db8::1",
        "sip:[host]",
        "sip:alice@ho st",
        "sip:al<ice@host",
        "sip:al%4@host",
        "sip:alice@host/x",
        "1sip:alice@host",
        "tel:",
        "tel:+",
        "tel:alice",
        "urn:",
    ] {
        assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Uri::parse(b"sip:\xff@host").is_err());
}

/// RFC 3261 19.1.4: each line is a set of equivalent URIs.
#[test]
fn the_examples_of_equivalence_hold() {
    for set in [
        &["sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"][..],
        &["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
        &["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
        &[
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ],
        &[
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ],
        &["sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]"],
        &["tel:+1-201-555-0123", "tel:+1(201)5550123"],
        &["tel:7042;phone-context=Example.com;ext=1", "tel:7042;ext=1;phone-context=example.com"],
    ] {
        for a in set {
            for b in set {
                assert!(equivalent(&uri(a), &uri(b)), "{a} {b}");
            }
        }
    }
}

/// RFC 3261 19.1.4: each line is a pair of URIs that are not equivalent.
#[test]
fn the_examples_of_difference_hold() {
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:alice@atlanta.com", "sips:alice@atlanta.com"),
        ("sip:alice@atlanta.com", "sip:alice:secret@atlanta.com"),
        ("sip:alice@atlanta.com", "sip:atlanta.com"),
        ("sip:alice@atlanta.com;maddr=239.255.255.1", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;ttl=1", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;user=phone", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;method=INVITE", "sip:alice@atlanta.com"),
        ("sip:a%3Bb@atlanta.com", "sip:a;b@atlanta.com"),
        ("tel:+12015550123", "tel:12015550123"),
        ("tel:7042;phone-context=a.com", "tel:7042;phone-context=b.com"),
    ] {
        assert!(!equivalent(&uri(a), &uri(b)), "{a} {b}");
        assert!(!equivalent(&uri(b), &uri(a)), "{b} {a}");
    }
}

//= IM P-5 test
#[test]
fn an_identity_is_the_same_however_it_is_written() {
    for (a, b) in [
        ("sip:alice@atlanta.com", "sips:alice@ATLANTA.com:5061;transport=tcp?subject=x"),
        ("sip:%61lice@atlanta.com", "sip:alice:secret@atlanta.com:5060"),
        ("tel:+1-201-555-0123", "sip:+12015550123@gateway.example.com;user=phone"),
        ("tel:+1.201.5550123;ext=9", "sips:+1-201-555-0123;x=y@other.example.com:5090;user=PHONE"),
        ("tel:7042;phone-context=example.com", "sip:70-42;phone-context=EXAMPLE.com@gw;user=phone"),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
    ] {
        assert!(same_identity(&uri(a), &uri(b)), "{a} {b}: {} {}", aor(&uri(a)), aor(&uri(b)));
    }
    for (a, b) in [
        ("sip:alice@atlanta.com", "sip:Alice@atlanta.com"),
        ("sip:alice@atlanta.com", "sip:alice@atlanta.com:5080"),
        ("sip:alice@atlanta.com", "sip:alice@biloxi.com"),
        ("sip:alice@atlanta.com", "sip:atlanta.com"),
        ("sip:+12015550123@a.com", "sip:+12015550123@b.com"),
        ("sip:7042@a.com;user=phone", "sip:7042@b.com;user=phone"),
        ("tel:+12015550123", "tel:12015550123"),
        ("tel:7042;phone-context=a.com", "tel:7042;phone-context=b.com"),
        ("sip:anonymous@anonymous.invalid", "sip:anonymous@anonymous.invalid"),
        ("sip:a%2540@b", "sip:a%40@b"),
    ] {
        assert!(!same_identity(&uri(a), &uri(b)), "{a} {b}");
    }
}
