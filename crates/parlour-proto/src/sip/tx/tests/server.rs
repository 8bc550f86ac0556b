//! Server transactions in virtual time.

use super::*;
use crate::io::Why;

const TRYING: &str = "SIP/2.0 100 Trying";
const BUSY: &str = "SIP/2.0 486 Test";

fn invite() -> String {
    request("INVITE", "z9hG4bKone", "")
}

#[test]
fn an_invite_without_answer_gets_100_after_200_ms_and_no_more() {
    for mut world in [World::udp(), World::stream()] {
        world.new_request(&invite());
        assert_eq!(world.tx.next_deadline(), Some((Instant::from_micros(200_000), Why::Trying)));
        assert_eq!(world.until(120_000), each(TRYING, &[200]));
    }
}

#[test]
fn the_100_says_only_what_every_response_says() {
    let mut world = World::udp();
    let timed = invite().replace("Max-Forwards", "Timestamp: 54.5\nRequire: foo\nMax-Forwards");
    world.new_request(&timed);
    world.wait(200);
    insta::assert_snapshot!(world.sent().replace('\r', ""), @r"
    SIP/2.0 100 Trying
    Via: SIP/2.0/UDP alice.example:5070;rport=5070;branch=z9hG4bKone;received=192.0.2.4
    Via: SIP/2.0/TCP far.example;branch=z9hG4bKfar
    From: <sip:alice@example.com>;tag=a1
    To: <sip:bob@example.com>
    Call-ID: call-1
    CSeq: 1 INVITE
    Timestamp: 54.5 0.200
    Content-Length: 0
    ");
}

#[test]
fn a_response_in_time_takes_the_place_of_the_100() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.wait(199);
    assert_eq!(world.out(), [""; 0]);
    world.respond(id, 180);
    assert_eq!(world.out(), ["SIP/2.0 180 Test"]);
    assert_eq!(world.until(300_000), each("", &[]), "ringing has no end here");
}

//= IM X-12 test
#[test]
fn a_retransmitted_invite_gets_the_last_provisional_response_and_alerts_nobody() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    assert_eq!(world.out(), [""; 0], "there is none yet");
    world.wait(200);
    assert_eq!(world.out(), [TRYING]);
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    assert_eq!(world.out(), [TRYING]);
    world.respond(id, 180);
    world.respond(id, 183);
    assert_eq!(world.out(), ["SIP/2.0 180 Test", "SIP/2.0 183 Test"]);
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    assert_eq!(world.out(), ["SIP/2.0 183 Test"]);
}

#[test]
fn a_final_response_is_repeated_until_64_t1() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.respond(id, 486);
    assert_eq!(world.out(), [BUSY]);
    let mut expected = each(BUSY, &[500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    expected.push((32_000, "no ACK".to_owned()));
    assert_eq!(world.until(100_000), expected);
    assert!(world.tx.is_empty());
}

#[test]
fn a_final_response_over_a_stream_is_sent_once_and_waits_for_its_ack() {
    let mut world = World::stream();
    let id = world.new_request(&invite());
    world.respond(id, 486);
    assert_eq!(world.out(), [BUSY]);
    assert_eq!(world.until(100_000), each("no ACK", &[32_000]));
    assert!(world.tx.is_empty());
}

#[test]
fn a_487_is_sent_again_for_a_retransmitted_invite() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.respond(id, 487);
    world.wait(100);
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    assert_eq!(world.out(), ["SIP/2.0 487 Test", "SIP/2.0 487 Test"]);
}

#[test]
fn only_the_first_final_response_counts() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.respond(id, 486);
    for status in [180, 200, 603] {
        world.respond(id, status);
    }
    assert_eq!(world.out(), [BUSY]);
}

#[test]
fn an_ack_ends_the_repetition_and_further_acks_are_absorbed_for_t4() {
    let mut world = World::udp();
    let id = world.new_request(&invite());
    world.respond(id, 486);
    world.out();
    world.wait(600);
    assert_eq!(world.out(), [BUSY]);
    let ack = request("ACK", "z9hG4bKone", ";tag=b1");
    assert_eq!(world.receive(&ack), Incoming::Absorbed);
    assert_eq!(world.tx.next_deadline(), Some((Instant::from_micros(5_600_000), Why::TransactionLinger)));
    assert_eq!(world.until(5_599), each("", &[]));
    assert_eq!(world.receive(&ack), Incoming::Absorbed);
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    assert_eq!(world.until(5_600), each("", &[]));
    assert!(world.tx.is_empty());
    assert_eq!(world.receive(&ack), Incoming::Ack, "a stray one");
}

#[test]
fn over_a_stream_an_ack_ends_the_transaction() {
    let mut world = World::stream();
    let id = world.new_request(&invite());
    world.respond(id, 486);
    assert_eq!(world.receive(&request("ACK", "z9hG4bKone", ";tag=b1")), Incoming::Absorbed);
    assert!(world.tx.is_empty());
    assert_eq!(world.tx.next_deadline(), None);
}

#[test]
fn an_accepted_invite_is_absorbed_and_its_2xx_repeated_when_asked_for() {
    for mut world in [World::udp(), World::stream()] {
        let id = world.new_request(&invite());
        world.respond(id, 200);
        assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
        // RFC 6026 7.1: the retransmission is absorbed.
        assert_eq!(world.receive(&invite()), Incoming::Absorbed);
        world.wait(500);
        assert_eq!(world.out(), [""; 0]);
        world.respond(id, 200);
        assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
        world.respond(id, 487);
        world.respond(id, 180);
        assert_eq!(world.out(), [""; 0]);
        assert_eq!(world.receive(&request("ACK", "z9hG4bKone", ";tag=b1")), Incoming::Ack);
        assert_eq!(world.receive(&request("ACK", "z9hG4bKother", ";tag=b1")), Incoming::Ack);
        assert_eq!(world.until(31_999), each("", &[]));
        assert_eq!(world.tx.len(), 1);
        assert_eq!(world.until(32_000), each("", &[]));
        assert!(world.tx.is_empty());
        world.respond(id, 200);
        assert_eq!(world.out(), [""; 0], "the transaction is gone");
    }
}

#[test]
fn another_request_gets_a_100_only_when_the_clients_timer_e_is_at_t2() {
    for mut world in [World::udp(), World::stream()] {
        let bye = request("BYE", "z9hG4bKbye", ";tag=b1");
        let id = world.new_request(&bye);
        assert_eq!(world.until(3_499), each("", &[]));
        assert_eq!(world.receive(&bye), Incoming::Absorbed);
        assert_eq!(world.out(), [""; 0], "nothing to repeat");
        assert_eq!(world.until(5_000), each(TRYING, &[3_500]));
        assert_eq!(world.receive(&bye), Incoming::Absorbed);
        assert_eq!(world.out(), [TRYING]);
        world.respond(id, 200);
        assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
    }
}

#[test]
fn the_final_response_to_another_request_is_repeated_on_demand_for_64_t1() {
    let mut world = World::udp();
    let bye = request("BYE", "z9hG4bKbye", ";tag=b1");
    let id = world.new_request(&bye);
    world.respond(id, 200);
    world.respond(id, 481);
    assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
    assert_eq!(world.until(31_999), each("", &[]));
    assert_eq!(world.receive(&bye), Incoming::Absorbed);
    assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
    assert_eq!(world.until(32_000), each("", &[]));
    assert!(world.tx.is_empty());
}

#[test]
fn over_a_stream_the_final_response_to_another_request_ends_it() {
    let mut world = World::stream();
    let id = world.new_request(&request("BYE", "z9hG4bKbye", ";tag=b1"));
    world.respond(id, 200);
    assert_eq!(world.out(), ["SIP/2.0 200 Test"]);
    assert!(world.tx.is_empty());
    assert_eq!(world.tx.next_deadline(), None);
}

#[test]
fn another_request_gets_neither_1xx_nor_408_and_is_given_up_with_its_client() {
    let mut world = World::udp();
    let id = world.new_request(&request("OPTIONS", "z9hG4bKopt", ""));
    world.respond(id, 180);
    world.respond(id, 408);
    assert_eq!(world.out(), [""; 0]);
    let mut expected = each(TRYING, &[3_500]);
    expected.push((32_000, "gone".to_owned()));
    assert_eq!(world.until(100_000), expected);
    assert!(world.tx.is_empty());
}

#[test]
fn the_request_is_kept_until_its_final_response() {
    for (status, keeps) in [(180, true), (200, false), (486, false)] {
        let mut world = World::udp();
        let id = world.new_request(&invite());
        world.respond(id, status);
        assert_eq!(world.tx.kept(id).is_some(), keeps, "{status}");
        assert_eq!(world.tx.source(id).is_some(), keeps, "{status}");
    }
}

#[test]
fn a_closed_stream_ends_its_transactions_and_no_other() {
    let mut world = World::stream();
    let ringing = world.new_request(&invite());
    let done = world.new_request(&request("INVITE", "z9hG4bKtwo", ";tag=b1"));
    world.respond(done, 486);
    let accepted = world.new_request(&request("INVITE", "z9hG4bKthree", ";tag=b1"));
    world.respond(accepted, 200);
    world.out();
    world.flow = FlowId::Stream(8);
    world.new_request(&request("INVITE", "z9hG4bKfour", ";tag=b1"));
    world.tx.flow_closed(world.now, FlowId::Stream(7));
    assert_eq!(world.tx.poll(), Some(TxOutput::ServerGone { id: ringing }));
    assert_eq!(world.tx.poll(), None);
    assert_eq!(world.tx.len(), 1);
    world.respond(accepted, 200);
    assert_eq!(world.tx.poll(), None, "nothing goes to a dead flow");
}

#[test]
fn a_forgotten_transaction_leaves_nothing_behind() {
    let mut world = World::stream();
    let id = world.new_request(&invite());
    world.tx.forget_server(id);
    assert!(world.tx.is_empty());
    assert_eq!(world.tx.next_deadline(), None);
    let again = world.new_request(&invite());
    assert_ne!(id, again, "numbers are never used twice");
    world.respond(id, 200);
    assert_eq!(world.out(), [""; 0]);
}

//= IM X-12 test
#[test]
fn there_is_an_end_to_the_room_but_for_cancel() {
    let source: SocketAddr = PEER.parse().expect("invariant: an address");
    let flow = FlowId::Udp { socket: 0, peer: source };
    let mut world = World::on(flow, Limits { server: 2, client: 0 });
    world.new_request(&invite());
    world.new_request(&request("BYE", "z9hG4bKbye", ";tag=b1"));
    assert_eq!(world.receive(&request("BYE", "z9hG4bKmore", ";tag=b1")), Incoming::Overload);
    assert_eq!(world.receive(&request("CANCEL", "z9hG4bKmore", "")), Incoming::Overload);
    assert_eq!(world.receive(&invite()), Incoming::Absorbed);
    let cancel = world.receive(&request("CANCEL", "z9hG4bKone", ""));
    assert!(matches!(cancel, Incoming::Cancel { invite: Some(_), .. }), "{cancel:?}");
}

#[test]
fn a_lingering_transaction_is_small() {
    assert!(std::mem::size_of::<crate::sip::tx::server::Transaction>() <= 136);
}
