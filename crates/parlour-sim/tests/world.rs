//! The world itself, with scripted peers alone.

use std::time::Duration;

use parlour_proto::io::Service;
use parlour_sim::{Link, Loss, NodeId, Script, Segments, World};

fn two_peers(link: Link) -> (World, NodeId, NodeId) {
    let mut world = World::new(1);
    let (alice, bob) = (world.peer("alice"), world.peer("bob"));
    world.link(alice, bob, link);
    (world, alice, bob)
}

#[test]
fn a_call_between_two_scripts() {
    let (mut world, alice, bob) =
        two_peers(Link { loss: Loss::Labelled("ACK".to_owned()), ..Link::delayed(10) });
    let way = world.udp(alice, bob);
    let mut caller = Script::caller(&mut world, alice, way, "sip:bob@192.0.2.2:5060");
    world.send(way, caller.invite());
    let invite = world.expect_request(bob, "INVITE");
    let callee = Script::callee(&mut world, bob, invite.way, invite.message());
    world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    world.expect_status(alice, 180);
    world.run(500);
    world.send(
        invite.way,
        callee.respond(invite.message(), "200 OK", "", &callee.sdp("passive", "text/plain")),
    );
    let answer = world.expect_status(alice, 200);
    assert_eq!(answer.at.as_millis(), 530);
    let ack = caller.ack(&mut world, answer.message());
    world.send(way, ack);
    let passive = world.address(bob, 2855);
    let media = world.open(alice, passive, Service::Msrp);
    world.send(media, caller.msrp_send("tid1", "m1", "hello"));
    let send = world.expect_request(bob, "SEND");
    world.send(send.way, callee.msrp_respond(send.message(), "200 OK"));
    world.expect_status(alice, 200);
    let bye = caller.bye(&mut world);
    world.send(way, bye);
    world.close(media);
    while world.step() {}
    insta::assert_snapshot!(world.ladder());
}

#[test]
fn links_lose_double_and_reorder_datagrams_by_their_seed() {
    let run = |seed| {
        let mut world = World::new(seed);
        let (alice, bob) = (world.peer("alice"), world.peer("bob"));
        let jitter = Duration::from_millis(50);
        world.link(alice, bob, Link { jitter, loss: Loss::Percent(20), duplicate: 20, ..Link::delayed(5) });
        let way = world.udp(alice, bob);
        for number in 0..200_u8 {
            world.send(way, [number]);
        }
        while world.step() {}
        let mail = world.mail_of(bob);
        mail.iter().filter_map(|mail| mail.message().first().copied()).collect::<Vec<u8>>()
    };
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let mut different = first.clone();
    different.sort_unstable();
    different.dedup();
    assert!((130..190).contains(&different.len()), "{} of 200 arrived", different.len());
    assert!(first.len() > different.len(), "none arrived twice");
    assert!(!first.is_sorted(), "none was overtaken");
}

#[test]
fn scripted_losses_hit_the_numbers_named() {
    let (mut world, alice, bob) = two_peers(Link { loss: Loss::These(vec![2, 3]), ..Link::default() });
    let way = world.udp(alice, bob);
    for number in 1..=4_u8 {
        world.send(way, [number]);
    }
    while world.step() {}
    let arrived: Vec<Vec<u8>> = world.mail_of(bob).iter().map(|mail| mail.message().to_vec()).collect();
    assert_eq!(arrived, [[1], [4]]);
}

#[test]
fn streams_keep_their_order_whatever_the_cut() {
    let link = Link { jitter: Duration::from_millis(20), segments: Segments::Random(7), ..Link::default() };
    let (mut world, alice, bob) = two_peers(link);
    let to = world.address(bob, 2855);
    let media = world.open(alice, to, Service::Msrp);
    let way = world.udp(alice, bob);
    let script = Script::caller(&mut world, alice, way, "sip:bob@192.0.2.2");
    let texts: Vec<String> = (0..20).map(|number| "x".repeat(number * 3)).collect();
    for (number, text) in texts.iter().enumerate() {
        world.send(media, script.msrp_send(&format!("tid{number}"), "m1", text));
    }
    world.close(media);
    for text in &texts {
        let send = world.expect_request(bob, "SEND");
        assert_eq!(parlour_sim::text::body(send.message()), text.as_bytes());
    }
    world.expect_closed(bob);
}

#[test]
fn a_connect_may_be_refused_and_a_stream_may_break() {
    let (mut world, alice, bob) = two_peers(Link::delayed(5));
    let nobody = world.address(bob, 9);
    world.open(alice, nobody, Service::Msrp);
    assert_eq!(world.expect_closed(alice), 10);
    let to = world.address(bob, 2855);
    world.open(alice, to, Service::Msrp);
    world.expect_opened(alice);
    world.expect_opened(bob);
    let streams = world.open_streams();
    streams.into_iter().for_each(|stream| world.reset(stream));
    world.expect_closed(alice);
    world.expect_closed(bob);
}

#[test]
fn a_reader_that_holds_gets_all_later() {
    let (mut world, alice, bob) = two_peers(Link::default());
    let to = world.address(bob, 2855);
    let media = world.open(alice, to, Service::Msrp);
    let accepted = world.expect_opened(bob);
    let way = world.udp(alice, bob);
    let script = Script::caller(&mut world, alice, way, "sip:bob@192.0.2.2");
    world.read(accepted, false);
    world.send(media, script.msrp_send("tid1", "m1", "late"));
    world.close(media);
    world.expect_nothing_to(bob, 1000);
    world.read(accepted, true);
    assert_eq!(world.expect_request(bob, "SEND").at.as_millis(), 1000);
    world.expect_closed(bob);
}

#[test]
#[should_panic(expected = "SEND did not come")]
fn what_does_not_come_fails_with_the_ladder() {
    let (mut world, _, bob) = two_peers(Link::default());
    world.expect_request(bob, "SEND");
}
