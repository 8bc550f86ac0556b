//! Client transactions in virtual time.

use super::*;
use crate::io::Why;
use crate::sip::tx::ClientId;

const INVITE: &str = "INVITE sip:alice@192.0.2.4 SIP/2.0";
const BYE: &str = "BYE sip:alice@192.0.2.4 SIP/2.0";
const ACK: &str = "ACK sip:alice@192.0.2.4 SIP/2.0";

fn send(world: &mut World, method: &str) -> ClientId {
    let id = world.tx.request(world.now, world.flow, our_request(method, "z9hG4bKours"));
    assert_eq!(world.out(), [format!("{method} sip:alice@192.0.2.4 SIP/2.0")]);
    id
}

fn get(world: &mut World, status: u16, method: &str) -> Incoming {
    world.receive(&their_response(status, method, "z9hG4bKours"))
}

#[test]
fn an_invite_is_repeated_with_doubling_intervals_until_64_t1() {
    let mut world = World::udp();
    send(&mut world, "INVITE");
    assert_eq!(world.tx.next_deadline(), Some((Instant::from_micros(500_000), Why::Retransmit)));
    let mut expected = each(INVITE, &[500, 1500, 3500, 7500, 15_500, 31_500]);
    expected.push((32_000, "timeout".to_owned()));
    assert_eq!(world.until(100_000), expected);
    assert!(world.tx.is_empty());
}

#[test]
fn over_a_stream_nothing_is_repeated() {
    for method in ["INVITE", "BYE"] {
        let mut world = World::stream();
        send(&mut world, method);
        assert_eq!(world.until(100_000), each("timeout", &[32_000]));
        assert!(world.tx.is_empty());
    }
}

#[test]
fn a_provisional_response_ends_repetition_and_timeout_of_an_invite() {
    let mut world = World::udp();
    let id = send(&mut world, "INVITE");
    assert!(!world.tx.proceeding(id));
    world.wait(400);
    for status in [100, 180, 183] {
        assert_eq!(get(&mut world, status, "INVITE"), Incoming::Response { id });
        assert!(world.tx.proceeding(id));
    }
    assert_eq!(world.until(600_000), each("", &[]));
    assert_eq!(world.tx.next_deadline(), None);
}

#[test]
fn a_cancelled_invite_has_64_t1_for_its_final_response() {
    let mut world = World::udp();
    let id = send(&mut world, "INVITE");
    get(&mut world, 180, "INVITE");
    world.wait(1_000);
    let invite = our_request("INVITE", "z9hG4bKours");
    let cancel =
        crate::sip::tx::cancel_for(&Message::parse(&invite).expect("invariant: our own")).finish(None);
    let cancel = world.tx.request(world.now, world.flow, cancel);
    insta::assert_snapshot!(world.sent().replace('\r', ""), @r"
    CANCEL sip:alice@192.0.2.4 SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport
    Max-Forwards: 70
    Route: <sip:p1.example;lr>
    Route: <sip:p2.example;lr>
    From: <sip:bob@example.com>;tag=b1
    To: <sip:alice@example.com>
    Call-ID: call-2
    CSeq: 17 CANCEL
    Content-Length: 0
    ");
    assert_eq!(get(&mut world, 200, "CANCEL"), Incoming::Response { id: cancel });
    assert_eq!(world.until(32_999), each("", &[]));
    assert!(world.tx.proceeding(id));
    assert_eq!(world.until(33_000), each("timeout", &[33_000]));
    assert!(world.tx.is_empty());
}

#[test]
fn a_failed_invite_is_acknowledged_each_time_and_told_once() {
    let mut world = World::udp();
    let id = send(&mut world, "INVITE");
    world.wait(300);
    assert_eq!(get(&mut world, 486, "INVITE"), Incoming::Response { id });
    let ack = world.sent();
    insta::assert_snapshot!(ack.replace('\r', ""), @r"
    ACK sip:alice@192.0.2.4 SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport
    Max-Forwards: 70
    Route: <sip:p1.example;lr>
    Route: <sip:p2.example;lr>
    From: <sip:bob@example.com>;tag=b1
    To: <sip:alice@example.com>;tag=a9
    Call-ID: call-2
    CSeq: 17 ACK
    Content-Length: 0
    ");
    assert_eq!(world.until(32_299), each("", &[]));
    assert_eq!(get(&mut world, 486, "INVITE"), Incoming::Absorbed);
    assert_eq!(world.sent(), ack);
    for status in [180, 200] {
        assert_eq!(get(&mut world, status, "INVITE"), Incoming::Absorbed);
        assert_eq!(world.out(), [""; 0]);
    }
    assert_eq!(world.until(32_300), each("", &[]));
    assert!(world.tx.is_empty());
    assert_eq!(get(&mut world, 486, "INVITE"), Incoming::Stray);
}

#[test]
fn an_ack_bears_the_credentials_of_its_invite() {
    let mut world = World::udp();
    let invite = String::from_utf8(our_request("INVITE", "z9hG4bKours")).expect("invariant: text");
    let invite = invite.replace("Require: none", "Proxy-Authorization: Digest username=\"bob\"");
    world.tx.request(world.now, world.flow, invite.into_bytes());
    world.out();
    get(&mut world, 486, "INVITE");
    assert!(world.sent().contains("\r\nProxy-Authorization: Digest username=\"bob\"\r\n"));
}

#[test]
fn over_a_stream_a_failed_invite_is_acknowledged_and_over() {
    let mut world = World::stream();
    let id = send(&mut world, "INVITE");
    assert_eq!(get(&mut world, 603, "INVITE"), Incoming::Response { id });
    assert_eq!(world.out(), [ACK]);
    assert!(world.tx.is_empty());
    assert_eq!(world.tx.next_deadline(), None);
}

#[test]
fn every_2xx_to_an_invite_is_told_for_64_t1_and_acknowledged_by_others() {
    for mut world in [World::udp(), World::stream()] {
        let id = send(&mut world, "INVITE");
        assert_eq!(get(&mut world, 200, "INVITE"), Incoming::Response { id });
        assert_eq!(world.until(31_999), each("", &[]));
        assert_eq!(get(&mut world, 200, "INVITE"), Incoming::Response { id });
        assert_eq!(get(&mut world, 180, "INVITE"), Incoming::Absorbed);
        assert_eq!(get(&mut world, 486, "INVITE"), Incoming::Absorbed);
        assert_eq!(world.out(), [""; 0]);
        assert_eq!(world.until(32_000), each("", &[]));
        assert!(world.tx.is_empty());
    }
}

#[test]
fn another_request_is_repeated_every_t2_at_last() {
    let mut world = World::udp();
    send(&mut world, "BYE");
    let mut expected = each(BYE, &[500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    expected.push((32_000, "timeout".to_owned()));
    assert_eq!(world.until(100_000), expected);
    assert!(world.tx.is_empty());
}

#[test]
fn after_a_provisional_response_another_request_is_repeated_every_t2() {
    let mut world = World::udp();
    let id = send(&mut world, "BYE");
    assert_eq!(world.until(600), each(BYE, &[500]));
    assert_eq!(get(&mut world, 100, "BYE"), Incoming::Response { id });
    let mut expected = each(BYE, &[1500, 5500, 9500, 13_500, 17_500, 21_500, 25_500, 29_500]);
    expected.push((32_000, "timeout".to_owned()));
    assert_eq!(world.until(100_000), expected);
}

#[test]
fn the_final_response_to_another_request_is_told_once_and_absorbed_for_t4() {
    let mut world = World::udp();
    let id = send(&mut world, "BYE");
    assert_eq!(get(&mut world, 200, "BYE"), Incoming::Response { id });
    assert_eq!(world.tx.next_deadline(), Some((Instant::from_micros(5_000_000), Why::TransactionLinger)));
    assert_eq!(world.until(4_999), each("", &[]));
    assert_eq!(get(&mut world, 200, "BYE"), Incoming::Absorbed);
    assert_eq!(world.until(5_000), each("", &[]));
    assert!(world.tx.is_empty());
    assert_eq!(get(&mut world, 200, "BYE"), Incoming::Stray);
}

#[test]
fn over_a_stream_the_final_response_to_another_request_ends_it() {
    let mut world = World::stream();
    let id = send(&mut world, "BYE");
    assert_eq!(get(&mut world, 481, "BYE"), Incoming::Response { id });
    assert!(world.tx.is_empty());
    assert_eq!(world.tx.next_deadline(), None);
}

//= IM X-14 test
#[test]
fn a_response_needs_branch_and_method_of_a_request() {
    let mut world = World::udp();
    let id = send(&mut world, "BYE");
    assert_eq!(get(&mut world, 200, "INVITE"), Incoming::Stray);
    assert_eq!(world.receive(&their_response(200, "BYE", "z9hG4bKoursx")), Incoming::Stray);
    let response = their_response(200, "BYE", "z9hG4bKours");
    let second = response.replace("From:", "Via: SIP/2.0/UDP x.example;branch=z9hG4bKx\nFrom:");
    assert!(matches!(world.receive(&second), Incoming::Dropped(_)));
    assert!(matches!(world.receive(&response.replace("Via", "X-Via")), Incoming::Dropped(_)));
    assert!(matches!(world.receive(&response.replace("17 BYE", "x BYE")), Incoming::Dropped(_)));
    assert_eq!(world.receive(&response), Incoming::Response { id });
}

#[test]
fn our_request_is_there_until_its_final_response() {
    let mut world = World::udp();
    let id = send(&mut world, "INVITE");
    get(&mut world, 180, "INVITE");
    assert_eq!(world.tx.sent(id), Some(&*our_request("INVITE", "z9hG4bKours")));
    get(&mut world, 486, "INVITE");
    assert_eq!(world.tx.sent(id), None);
    assert!(!world.tx.proceeding(id));
}

#[test]
fn a_closed_stream_leaves_nobody_waiting() {
    let mut world = World::stream();
    send(&mut world, "BYE");
    world.tx.flow_closed(world.now, world.flow);
    assert_eq!(world.out(), ["unreachable"]);
    let id = send(&mut world, "INVITE");
    get(&mut world, 200, "INVITE");
    world.tx.flow_closed(world.now, world.flow);
    assert_eq!(world.out(), [""; 0]);
    assert!(world.tx.is_empty());
    assert!(!world.tx.proceeding(id));
}

#[test]
fn a_forgotten_request_is_repeated_no_more() {
    let mut world = World::udp();
    let id = send(&mut world, "BYE");
    world.tx.forget_client(id);
    assert!(world.tx.is_empty());
    assert_eq!(world.until(100_000), each("", &[]));
}

#[test]
fn a_request_beyond_the_limit_is_not_sent() {
    let source: SocketAddr = PEER.parse().expect("invariant: an address");
    let flow = FlowId::Udp { socket: 0, peer: source };
    let mut world = World::on(flow, Limits { server: 0, client: 1 });
    send(&mut world, "BYE");
    world.tx.request(world.now, flow, our_request("BYE", "z9hG4bKmore"));
    assert_eq!(world.out(), ["unreachable"]);
}
