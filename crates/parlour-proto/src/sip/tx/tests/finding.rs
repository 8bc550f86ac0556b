//! Which transaction a message belongs to, and where a response goes.

use super::*;
use crate::sip::tx::{mark_source, reply_flow};

fn invite() -> String {
    request("INVITE", "z9hG4bKone", "")
}

/// Whether `text` belongs to the INVITE of `invite()`.
fn is_same(text: &str) -> bool {
    let mut world = World::udp();
    world.new_request(&invite());
    world.receive(text) == Incoming::Absorbed
}

#[test]
fn a_request_is_the_same_by_branch_sent_by_and_method() {
    assert!(is_same(&invite()));
    assert!(is_same(&invite().replace("alice.example", "ALICE.example")), "hosts have no case");
    assert!(is_same(&invite().replace("CSeq: 1 ", "CSeq: 2 ")), "the branch decides");
    assert!(!is_same(&invite().replace("z9hG4bKone", "z9hG4bKtwo")));
    assert!(!is_same(&invite().replace("z9hG4bKone", "z9hG4bKONE")));
    assert!(!is_same(&invite().replace("alice.example:5070", "alice.example")));
    assert!(!is_same(&invite().replace("alice.example", "bob.example")));
    assert!(!is_same(&request("OPTIONS", "z9hG4bKone", "")));
    assert!(!is_same(&request("CANCEL", "z9hG4bKone", "")));
}

#[test]
fn without_the_magic_cookie_a_request_is_the_same_by_what_rfc_2543_knows() {
    for branch in ["1", "z9hG4bK"] {
        let old = |to_tag| request("INVITE", branch, to_tag);
        let is_same = |first: &str, text: &str| {
            let mut world = World::udp();
            world.new_request(first);
            world.receive(text) == Incoming::Absorbed
        };
        assert!(is_same(&old(""), &old("")));
        assert!(is_same(&old(";tag=b1"), &old(";tag=b1")));
        assert!(!is_same(&old(""), &old(";tag=b1")));
        assert!(!is_same(&old(";tag=b2"), &old(";tag=b1")));
        for (part, other) in [
            ("sip:bob@192", "sip:bob2@192"),
            ("tag=a1", "tag=a2"),
            ("call-1", "call-2"),
            ("CSeq: 1 ", "CSeq: 2 "),
            ("alice.example", "alice2.example"),
        ] {
            assert!(!is_same(&old(""), &old("").replace(part, other)), "{part}");
        }
    }
}

#[test]
fn an_ack_of_an_old_client_has_the_to_tag_of_the_response() {
    let mut world = World::udp();
    let id = world.new_request(&request("INVITE", "1", ""));
    assert_eq!(world.receive(&request("ACK", "1", ";tag=b1")), Incoming::Absorbed, "it is early");
    world.respond(id, 486);
    assert_eq!(world.receive(&request("ACK", "1", ";tag=b2")), Incoming::Ack);
    assert_eq!(world.receive(&request("ACK", "1", "")), Incoming::Ack);
    assert_eq!(world.out(), ["SIP/2.0 486 Test"]);
    assert_eq!(world.until(500), each("SIP/2.0 486 Test", &[500]), "not acknowledged yet");
    assert_eq!(world.receive(&request("ACK", "1", ";tag=b1")), Incoming::Absorbed);
    assert_eq!(world.until(100_000), each("", &[]));
}

#[test]
fn an_ack_for_an_unanswered_invite_changes_nothing() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    assert_eq!(world.receive(&request("ACK", "z9hG4bKone", ";tag=b1")), Incoming::Absorbed);
    world.respond(id, 486);
    assert_eq!(world.out(), ["SIP/2.0 486 Test"]);
    assert_eq!(world.until(500), each("SIP/2.0 486 Test", &[500]));
}

//= IM X-12 test
#[test]
fn the_same_request_over_another_path_is_merged() {
    let mut world = World::udp();
    world.new_request(&invite());
    let merged = |incoming| matches!(incoming, Incoming::Request { merged: true, .. });
    let other_path = request("INVITE", "z9hG4bKtwo", "");
    assert!(merged(world.receive(&other_path)));
    assert_eq!(world.receive(&other_path), Incoming::Absorbed);
    assert!(merged(world.receive(&request("INVITE", "z9hG4bKthree", ""))));
    for (branch, part, other) in [
        ("z9hG4bK1", "tag=a1", "tag=a2"),
        ("z9hG4bK2", "call-1", "call-2"),
        ("z9hG4bK3", "CSeq: 1 ", "CSeq: 2 "),
        ("z9hG4bK4", "<sip:bob@example.com>", "<sip:bob@example.com>;tag=b1"),
    ] {
        world.new_request(&request("INVITE", branch, "").replace(part, other));
    }
    world.new_request(&request("OPTIONS", "z9hG4bKfour", ""));
}

#[test]
fn a_request_is_merged_for_as_long_as_the_first_is_known() {
    let mut world = World::udp();
    let first = world.new_request(&invite());
    let Incoming::Request { id: second, merged: true } = world.receive(&request("INVITE", "z9hG4bKtwo", ""))
    else {
        panic!("expected a merged request");
    };
    world.respond(second, 482);
    world.receive(&request("ACK", "z9hG4bKtwo", ";tag=b1"));
    world.out();
    world.until(5_000);
    assert_eq!(world.tx.len(), 1, "the merged one is over");
    world.respond(first, 200);
    world.out();
    world.until(36_999);
    let third = world.receive(&request("INVITE", "z9hG4bKthree", ""));
    assert!(matches!(third, Incoming::Request { merged: true, .. }), "{third:?}");
    world.until(37_000);
    world.new_request(&request("INVITE", "z9hG4bKfour", ""));
}

//= IM X-8 test
#[test]
fn a_cancel_takes_back_the_invite_of_its_own_hop_only() {
    let invite_of = |world: &mut World, text: &str| {
        let Incoming::Cancel { invite, .. } = world.receive(text) else { panic!("expected a CANCEL") };
        invite
    };
    let cancel = request("CANCEL", "z9hG4bKone", "");
    for mut world in [World::udp(), World::stream()] {
        let id = world.new_request(&invite());
        world.source.set_port(9);
        assert_eq!(invite_of(&mut world, &cancel), Some(id), "another port of the same hop");
        assert_eq!(world.receive(&cancel), Incoming::Absorbed);
        assert_eq!(invite_of(&mut world, &request("CANCEL", "z9hG4bKtwo", "")), None, "of nothing");
        let other = request("INVITE", "z9hG4bKthree", ";tag=b1");
        world.new_request(&other);
        world.source = "192.0.2.5:5070".parse().expect("invariant: an address");
        assert_eq!(
            invite_of(&mut world, &request("CANCEL", "z9hG4bKthree", ";tag=b1")),
            None,
            "from elsewhere"
        );
    }
}

#[test]
fn a_cancel_after_the_final_response_still_finds_its_invite() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.respond(id, 200);
    let cancel = world.receive(&request("CANCEL", "z9hG4bKone", ""));
    assert!(matches!(cancel, Incoming::Cancel { invite: Some(found), .. } if found == id), "{cancel:?}");
    assert!(world.tx.kept(id).is_none(), "which says that there is nothing to cancel");
}

#[test]
fn a_request_whose_via_cannot_be_read_is_dropped() {
    let mut world = World::udp();
    let broken = invite().replacen("SIP/2.0/UDP", "SIP/2.0/", 1);
    assert!(matches!(world.receive(&broken), Incoming::Dropped(_)));
    assert!(world.tx.is_empty());
}

//= IM X-14 test
#[test]
fn a_response_goes_to_the_source_of_the_packet_and_nowhere_else() {
    let from: SocketAddr = "[2001:db8::4]:6000".parse().expect("invariant: an address");
    let to = |via: &str| {
        let text = invite().replacen("SIP/2.0/UDP alice.example:5070;rport;branch=z9hG4bKone", via, 1);
        let octets = crlf(&text);
        let message = Message::parse(&octets).expect("invariant: the test's message can be read");
        let via = message.top_via().expect("invariant: the test's Via can be read");
        let flow = reply_flow(FlowId::Udp { socket: 3, peer: from }, &via);
        let FlowId::Udp { socket: 3, peer } = flow else { panic!("another socket: {flow:?}") };
        peer.to_string()
    };
    assert_eq!(to("SIP/2.0/UDP a.example:5070;rport;branch=z9hG4bKx"), "[2001:db8::4]:6000");
    assert_eq!(to("SIP/2.0/UDP a.example:5070;rport=1;branch=z9hG4bKx"), "[2001:db8::4]:6000");
    assert_eq!(to("SIP/2.0/UDP a.example:5070;branch=z9hG4bKx"), "[2001:db8::4]:5070");
    assert_eq!(to("SIP/2.0/UDP a.example;branch=z9hG4bKx"), "[2001:db8::4]:5060");
    assert_eq!(to("SIP/2.0/UDP a.example:0;branch=z9hG4bKx"), "[2001:db8::4]:5060");
    assert_eq!(to("SIP/2.0/UDP a.example;maddr=192.0.2.66;received=192.0.2.66"), "[2001:db8::4]:5060");
}

#[test]
fn the_top_via_tells_the_source() {
    let mark = |via: &str, source: &str| {
        let source = source.parse().expect("invariant: an address");
        String::from_utf8(mark_source(via.as_bytes(), source)).expect("invariant: text")
    };
    let v4 = "192.0.2.4:5070";
    // RFC 3261 18.2.1: only if sent-by says something else.
    assert_eq!(mark("SIP/2.0/UDP 192.0.2.4;branch=z", v4), "SIP/2.0/UDP 192.0.2.4;branch=z");
    assert_eq!(mark("SIP/2.0/UDP 10.1.1.1:5060;a=b", v4), "SIP/2.0/UDP 10.1.1.1:5060;a=b;received=192.0.2.4");
    assert_eq!(mark("SIP / 2.0 / UDP a.example", v4), "SIP / 2.0 / UDP a.example;received=192.0.2.4");
    // RFC 3581 4: both, if rport asks for it.
    assert_eq!(
        mark("SIP/2.0/UDP 192.0.2.4:5060;rport;branch=z", v4),
        "SIP/2.0/UDP 192.0.2.4:5060;rport=5070;branch=z;received=192.0.2.4"
    );
    // What the sender says of its own source is not believed.
    assert_eq!(
        mark("SIP/2.0/UDP a.example;RPORT=1;Received=10.0.0.1;rport=2;x=\"a;received=b\"", v4),
        "SIP/2.0/UDP a.example;rport=5070;x=\"a;received=b\";received=192.0.2.4"
    );
    let quoted = "SIP/2.0/UDP a.example;x=\"\\\";rport\";y=\"z;rport";
    assert_eq!(
        mark(quoted, v4),
        format!("{quoted};received=192.0.2.4"),
        "escapes, and a quote that stays open"
    );
    assert_eq!(
        mark("SIP/2.0/TCP [2001:db8::1]:5060;a", "[2001:db8::1]:9"),
        "SIP/2.0/TCP [2001:db8::1]:5060;a"
    );
    assert_eq!(mark("SIP/2.0/TCP [::1]", "[2001:db8::1]:9"), "SIP/2.0/TCP [::1];received=2001:db8::1");
    assert_eq!(mark("SIP/2.0/UDP 192.0.2.4", "[::ffff:192.0.2.4]:9"), "SIP/2.0/UDP 192.0.2.4");
    assert_eq!(mark("", v4), ";received=192.0.2.4");
}
