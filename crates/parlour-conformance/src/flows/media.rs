//! Messages over MSRP (catalogue 4.1, 6.3).

use std::time::Duration;

use parlour_proto::client::{Shortage, StoreFault};
use parlour_proto::event::{Ended, Progress, What};
use parlour_proto::io::Service;
use parlour_sim::{Link, Segments, text};

use crate::common::{self, Call, accepting};

/// The whole text in chunks of `size`, as frames, in order.
fn chunks(call: &Call, message_id: &str, text: &str, size: usize) -> Vec<String> {
    let (total, mut start) = (text.len(), 1);
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
    let last = pieces.len() - 1;
    let frames = pieces.into_iter().enumerate().map(|(number, piece)| {
        let range = format!("{start}-{}/{total}", start + piece.len() - 1);
        start += piece.len();
        let flag = if number == last { '$' } else { '+' };
        call.script.msrp_chunk(&format!("tid{number:04}"), message_id, &range, piece, flag)
    });
    frames.collect()
}

//= IM M-7 test
#[cfg_attr(test, test)]
pub(crate) fn the_200_waits_for_the_store() {
    let (mut call, media) = Call::connected();
    call.bob_mut().store.delay = Duration::from_millis(40);
    let start = call.world.millis();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello"));
    call.nothing_to(start + 39);
    assert_eq!(call.status(200).at.as_millis(), start + 40);
    call.over();
}

//= IM M-13 test
#[cfg_attr(test, test)]
pub(crate) fn a_store_that_fails_gives_413_and_keeps_the_session() {
    let (mut call, media) = Call::connected();
    call.bob_mut().store.fault = Some(StoreFault::Full);
    call.world.send(media, call.script.msrp_send("tid1", "m1", "lost"));
    call.status(413);
    call.bob_mut().store.fault = None;
    call.world.send(media, call.script.msrp_send("tid2", "m2", "kept"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["kept"]);
    call.over();
}

//= IM M-2 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_that_comes_twice_is_acknowledged_twice_and_kept_once() {
    let (mut call, media) = Call::connected();
    for tid in ["tid1", "tid2"] {
        call.world.send(media, call.script.msrp_send(tid, "m1", "once"));
        call.status(200);
    }
    assert_eq!(call.at_bob().stored_texts(), ["once"]);
    call.over();
}

//= IM M-8 test
#[cfg_attr(test, test)]
pub(crate) fn a_success_report_follows_the_store() {
    let (mut call, media) = Call::connected();
    call.bob_mut().store.delay = Duration::from_millis(40);
    let start = call.world.millis();
    let send = call
        .script
        .msrp_send("tid1", "m1", "hello")
        .replace("Byte-Range", "Success-Report: yes\r\nByte-Range");
    call.world.send(media, send);
    let report = call.request("REPORT");
    assert_eq!(report.at.as_millis(), start + 40);
    assert_eq!(text::header(report.message(), "Byte-Range").as_deref(), Some("1-5/5"));
    call.over();
}

//= IM M-6 test
#[cfg_attr(test, test)]
pub(crate) fn forty_kib_in_chunks_in_any_order() {
    let sent: String =
        (0..40 * 1024).map(|at| char::from(b'a' + u8::try_from(at % 26).unwrap_or(0))).collect();
    for order in [0_usize, 1, 2] {
        let (mut call, media) = Call::connected();
        let link = Link { segments: Segments::Every(1400), ..Link::delayed(5) };
        call.world.link(call.alice, call.bob, link);
        let mut frames = chunks(&call, "m1", &sent, 4096);
        match order {
            0 => {}
            1 => frames.reverse(),
            _ => frames.sort_by_key(|frame| frame.bytes().skip(50).map(u64::from).sum::<u64>() % 7),
        }
        for frame in &frames {
            call.world.send(media, frame);
        }
        for _ in &frames {
            call.status(200);
        }
        assert_eq!(call.at_bob().stored_texts(), [sent.as_str()]);
        call.over();
    }
}

//= IM M-6 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_goes_through_the_spool() {
    let sent = "0123456789abcdef".repeat(20_000);
    let (mut call, media) = Call::connected();
    call.bob_mut().store.delay = Duration::from_millis(7);
    for frame in chunks(&call, "m1", &sent, 32 * 1024) {
        call.world.send(media, frame);
        call.status(200);
    }
    assert_eq!(call.at_bob().stored_texts(), [sent]);
    call.over();
}

/// One that is coming is stopped at 256 KiB, when there is word of it, a smaller one is refused when it is whole.
#[cfg_attr(test, test)]
pub(crate) fn a_full_disk_takes_small_messages_and_no_large_ones() {
    for (size, taken) in [(400_000, 8), (100_000, 3)] {
        let sent = "x".repeat(size);
        let (mut call, media) = Call::connected();
        for (number, frame) in chunks(&call, "m1", &sent, 32 * 1024).into_iter().take(taken + 1).enumerate() {
            if number == 1 {
                set_shortage(&mut call, Some(Shortage::Disk));
            }
            call.world.send(media, frame);
            call.status(if number < taken { 200 } else { 413 });
        }
        call.world.send(media, call.script.msrp_send("small", "m2", "small"));
        call.status(200);
        set_shortage(&mut call, None);
        for frame in chunks(&call, "m3", &sent, 32 * 1024) {
            call.world.send(media, frame.replace("tid", "again"));
            call.status(200);
        }
        assert_eq!(call.at_bob().stored_texts(), ["small".to_owned(), sent]);
        let told = call.at_bob().told().filter(|what| matches!(what, What::Incomplete { .. })).count();
        assert_eq!(told, usize::from(size > 256 * 1024));
        call.over();
    }
}

fn set_shortage(call: &mut Call, shortage: Option<Shortage>) {
    let done = call.world.act(call.bob, |bob, _| {
        bob.set_shortage(shortage);
        Ok(())
    });
    done.expect("it cannot fail");
}

//= IM M-11 test
//= IM X-21 test
#[cfg_attr(test, test)]
pub(crate) fn a_second_connection_gets_506_and_a_wrong_session_481() {
    let (mut call, media) = Call::connected();
    let second = call.connect();
    call.world.send(second, call.script.msrp_send("tid2", "m2", "hijack"));
    call.status(506);
    let third = call.connect();
    let path = call.script.peer_path.clone();
    call.script.peer_path = path.replace(";tcp", "x;tcp");
    call.world.send(third, call.script.msrp_send("tid3", "m3", "guess"));
    call.status(481);
    call.script.peer_path = path;
    call.world.send(media, call.script.msrp_send("tid4", "m4", "fine"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["fine"]);
    call.over();
}

//= IM X-21 test
#[cfg_attr(test, test)]
pub(crate) fn a_connection_that_is_not_bound_is_closed_after_10_s() {
    let mut call = Call::established();
    let start = call.world.millis();
    call.connect();
    call.nothing_to(start + 9_999);
    assert_eq!(call.world.expect_closed(call.alice), start + 10_000);
    call.over();
}

//= IM X-21 test
//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_nobody_binds_is_offered_once_more_after_30_s_and_ends() {
    for accepts in [false, true] {
        let (mut call, answer) = Call::answered();
        call.ack(&answer);
        call.nothing_to(29_999);
        let offer = call.request("INVITE");
        assert_eq!(offer.at.as_millis(), 30_000);
        assert_ne!(text::attribute(offer.message(), "path"), text::attribute(answer.message(), "path"));
        if accepts {
            let answer = call.script.sdp("active", "text/plain message/cpim");
            call.send(call.script.respond(offer.message(), "200 OK", "", &answer));
        } else {
            call.send(call.script.respond(offer.message(), "488 Not Acceptable Here", "", ""));
        }
        call.request("ACK");
        let end = if accepts { 60_000 } else { 30_000 };
        call.world.run_to(end);
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), end);
        let reason = text::header(bye.message(), "Reason");
        assert!(reason.as_deref().is_some_and(|reason| reason.contains("cause=480")), "{reason:?}");
        call.ok(&bye);
        call.world.run(0);
        assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::MediaFailed { .. }))));
        call.over();
    }
}

//= IM X-20 test
#[cfg_attr(test, test)]
pub(crate) fn four_hundred_megabytes_declared_get_413() {
    let (mut call, media) = Call::connected();
    call.world.send(media, call.script.msrp_chunk("tid1", "m1", "1-*/400000000", b"hello", '+'));
    call.status(413);
    call.world.send(media, call.script.msrp_send("tid2", "m2", "small"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["small"]);
    call.over();
}

//= IM M-13 test
#[cfg_attr(test, test)]
pub(crate) fn garbage_on_the_msrp_port_closes_that_connection_only() {
    let (mut call, media) = Call::connected();
    let other = call.connect();
    call.world.send(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    call.world.expect_closed(call.alice);
    call.world.send(media, call.script.msrp_send("tid1", "m1", "unharmed"));
    call.status(200);
    call.over();
}

//= IM M-13 test
#[cfg_attr(test, test)]
pub(crate) fn a_type_that_was_not_listed_gets_415() {
    let (mut call, media) = Call::connected();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "x").replace("text/plain", "text/html"));
    call.status(415);
    let quiet =
        call.script.msrp_send("tid2", "m2", "x").replace("Byte-Range", "Failure-Report: no\r\nByte-Range");
    call.world.send(media, quiet);
    let now = call.world.millis();
    call.nothing_to(now + 1000);
    call.over();
}

//= IM M-7 test
//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn a_send_without_response_fails_at_30_s() {
    let (mut call, _) = Call::connected();
    let session = call.session();
    let start = call.world.millis();
    call.world
        .act(call.bob, |bob, now| bob.say(now, session, common::text("m1-id", "anybody there?")))
        .expect("say");
    call.request("SEND");
    let failed = |call: &Call| {
        let mut told = call.at_bob().told();
        told.any(|what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. }))
    };
    call.world.run_to(start + 29_999);
    assert!(!failed(&call));
    call.world.run_to(start + 30_000);
    assert!(failed(&call));
    call.over();
}

//= IM M-17 test
#[cfg_attr(test, test)]
pub(crate) fn no_chunk_leaves_without_room() {
    let (mut call, media) = Call::connected();
    call.world.read(media, false);
    let session = call.session();
    let large = "x".repeat(300_000);
    call.world.act(call.bob, |bob, now| bob.say(now, session, common::text("m1-id", &large))).expect("say");
    call.world.run(1000);
    call.world.read(media, true);
    let mut received = String::new();
    while received.len() < large.len() {
        let send = call.request("SEND");
        received.push_str(&text::lossy(text::body(send.message())));
        call.world.send(media, call.script.msrp_respond(send.message(), "200 OK"));
    }
    call.world.run(10);
    assert!(
        call.at_bob()
            .told()
            .any(|what| matches!(what, What::Progress { progress: Progress::Acknowledged, .. }))
    );
    call.over();
}

//= IM D-10 test
//= IM M-10 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_that_is_passive_makes_us_connect_and_bind() {
    let mut call = Call::new(accepting(parlour_proto::config::Accept::All));
    call.send(call.script.invite_with("", &call.script.sdp("passive", "text/plain message/cpim")));
    let answer = call.status(200);
    assert_eq!(text::attribute(answer.message(), "setup").as_deref(), Some("active"));
    call.ack(&answer);
    let media = call.world.expect_opened(call.alice);
    let bind = call.request("SEND");
    assert_eq!(bind.way, media);
    assert_eq!(text::header(bind.message(), "Byte-Range").as_deref(), Some("1-0/0"));
    call.world.send(media, call.script.msrp_respond(bind.message(), "200 OK"));
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello"));
    call.status(200);
    call.bye();
    call.status(200);
    assert_snapshot!(call.over().ladder());
}

//= IM M-16 test
#[cfg_attr(test, test)]
pub(crate) fn the_next_address_of_a_name_is_tried() {
    let mut call = Call::new(accepting(parlour_proto::config::Accept::All));
    let nobody = call.world.peer("nobody");
    let dead = call.world.address(nobody, 2855).ip();
    call.world.link(call.bob, nobody, Link { refuse: true, ..Link::default() });
    call.world.name("media.example", &[dead, [192, 0, 2, 1].into()]);
    let sdp = call
        .script
        .sdp("passive", "text/plain message/cpim")
        .replace("a=path:msrp://192.0.2.1", "a=path:msrp://media.example");
    call.send(call.script.invite_with("", &sdp));
    let answer = call.status(200);
    call.ack(&answer);
    call.world.expect_opened(call.alice);
    call.request("SEND");
    call.bye();
    call.status(200);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_name_that_is_found_after_the_session_has_ended_is_not_connected_to() {
    let mut call = Call::new(accepting(parlour_proto::config::Accept::All));
    call.world.look_up = Duration::from_secs(5);
    call.world.name("media.example", &[[192, 0, 2, 1].into()]);
    let sdp = call
        .script
        .sdp("passive", "text/plain message/cpim")
        .replace("a=path:msrp://192.0.2.1", "a=path:msrp://media.example");
    call.send(call.script.invite_with("", &sdp));
    let answer = call.status(200);
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.nothing_to(10_000);
    assert!(call.times("connect Msrp").is_empty(), "{}", call.world.ladder());
    call.over();
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_connect_that_is_refused_is_offered_anew_three_times_and_ends_the_session() {
    let mut call = Call::new(accepting(parlour_proto::config::Accept::All));
    call.world.link(call.bob, call.alice, Link { refuse: true, ..Link::default() });
    call.send(call.script.invite_with("", &call.script.sdp("passive", "text/plain message/cpim")));
    let answer = call.status(200);
    call.ack(&answer);
    // The pause doubles.
    for at in [0, 2000, 6000] {
        let offer = call.request("INVITE");
        assert_eq!(offer.at.as_millis(), at);
        let answer = call.script.sdp("passive", "text/plain message/cpim");
        call.send(call.script.respond(offer.message(), "200 OK", "", &answer));
        call.request("ACK");
    }
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), 6000);
    call.ok(&bye);
    call.world.run(0);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::MediaFailed { .. }))));
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_is_dead_does_not_delay_the_news_of_the_end() {
    let (mut call, media) = Call::connected();
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, session, common::text("m1-id", "there?"))).expect("say");
    let start = call.world.millis();
    call.world.close(media);
    call.nothing_to(start + 4000);
    let offer = call.request("INVITE");
    let end = offer.at.as_millis() + 32_000;
    call.world.run_to(end);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), end);
    let at = |call: &Call, fits: fn(&What) -> bool| {
        let mut events = call.at_bob().events.iter();
        events.find(|(_, event)| fits(&event.what)).map(|(at, _)| at.as_millis())
    };
    assert_eq!(at(&call, |what| matches!(what, What::Reconnecting { .. })), Some(start + 2000));
    assert_eq!(at(&call, |what| matches!(what, What::Ended(Ended::Lost { .. }))), Some(end));
    assert!(
        at(&call, |what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. })).is_some()
    );
    // The BYE goes on for as long as any.
    let load = call.at_bob().client.load();
    assert_eq!((load.sessions, load.parting), (0, 1));
    call.world.run(33_000);
    assert_eq!(call.at_bob().client.load().parting, 0);
    assert!(call.times(&bye_label(&call)).len() >= 10, "{}", call.world.ladder());
    call.over();
}

fn bye_label(call: &Call) -> String {
    let bye = call.world.rows().iter().find(|row| row.label.starts_with("BYE"));
    bye.map(|row| row.label.clone()).unwrap_or_default()
}

#[cfg_attr(test, test)]
pub(crate) fn messages_wait_for_the_session_and_keep_their_order() {
    let mut call = Call::ringing();
    let session = call.session();
    call.accept();
    for (id, words) in [("m1-id", "first"), ("m2-id", "second")] {
        call.world.act(call.bob, |bob, now| bob.say(now, session, common::text(id, words))).expect("say");
    }
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    for words in ["first", "second"] {
        assert_eq!(text::lossy(text::body(call.request("SEND").message())), words);
    }
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_stream_cut_at_each_octet_means_the_same() {
    for size in [1, 2, 3, 7] {
        let (mut call, media) = Call::connected();
        call.world.link(call.alice, call.bob, Link { segments: Segments::Every(size), ..Link::default() });
        call.world.send(media, call.script.msrp_send("tid1", "m1", "cut -------tid1 here\r\n-------tid"));
        call.status(200);
        assert_eq!(call.at_bob().stored_texts(), ["cut -------tid1 here\r\n-------tid"]);
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn connections_of_msrp_are_not_sip() {
    let (mut call, _) = Call::connected();
    let to = call.world.address(call.bob, 5060);
    let sip = call.world.open(call.alice, to, Service::Sip);
    call.world.send(sip, call.script.msrp_send("tid1", "m1", "wrong door"));
    call.world.run(40_000);
    assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new());
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn what_nobody_had_acknowledged_when_a_session_ends_is_told_before_its_end() {
    for bob_leaves in [false, true] {
        let (mut call, _media) = Call::connected();
        let session = call.session();
        call.world
            .act(call.bob, |bob, now| bob.say(now, session, common::text("m2-id", "anybody?")))
            .expect("say");
        call.request("SEND");
        if bob_leaves {
            call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
        } else {
            call.bye();
            call.status(200);
        }
        call.world.run(100);
        let at = |wanted: fn(&What) -> bool| call.at_bob().told().position(wanted);
        let failed = at(|what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. }));
        let ended = at(|what| matches!(what, What::Ended(_)));
        assert!(failed.is_some() && failed < ended, "{failed:?} {ended:?}");
        call.over();
    }
}
