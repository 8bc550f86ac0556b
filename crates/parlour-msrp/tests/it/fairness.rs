//! A large file that runs, and all that has to get past it, over a link that is slow in virtual time.

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    Event, Incomplete, Input, Output, Role, SendFailure, SessionId, Source, SourceId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frame, frames, send, spec, text};

const GIGABYTE: u64 = 1 << 30;

/// The most octets of a file behind which anything else may have to wait.
const BEHIND: usize = 256 * 1024;

/// A link that takes a million octets a second, and a peer that answers what arrives.
struct Link {
    bob: Bob,
    /// What Bob has written and the link has not carried.
    queue: Vec<u8>,
    carried: usize,
    room: usize,
}

impl Link {
    fn new(bob: Bob, room: usize) -> Link {
        let mut link = Link { bob, queue: Vec::new(), carried: 0, room };
        link.bob.input(Input::Writable { connection: PEER, room });
        link
    }

    /// Serves the endpoint's fetches, and takes what it writes.
    fn collect(&mut self) {
        loop {
            let asked = self.bob.outputs.iter().position(|output| matches!(output, Output::Fetch { .. }));
            let Some(at) = asked else { break };
            let Output::Fetch { source, offset, length } = self.bob.outputs.remove(at) else { break };
            self.bob.input(Input::Fetched { source, offset, bytes: &vec![b'f'; length] });
        }
        for (_, bytes) in std::mem::take(&mut self.bob.written) {
            self.queue.extend(bytes);
        }
    }

    /// A millisecond passes: a thousand octets leave.
    fn step(&mut self) -> String {
        self.collect();
        let left: Vec<u8> = self.queue.drain(..self.queue.len().min(1000)).collect();
        self.carried += left.len();
        self.bob.now = self.bob.now + Duration::from_millis(1);
        let room = self.room.saturating_sub(self.queue.len());
        self.bob.input(Input::Writable { connection: PEER, room });
        self.collect();
        String::from_utf8_lossy(&left).into_owned()
    }

    /// Lets the link run until a text has left, and says how many octets were before it.
    fn until(&mut self, wanted: &str, answers: bool) -> usize {
        let start = self.carried;
        let mut text = String::new();
        for _ in 0..5_000 {
            let from = text.len();
            text += &self.step();
            if answers {
                // The peer answers each SEND whose start line has come.
                for (tid, what) in frames(&text[from.saturating_sub(40)..]) {
                    if what == "SEND" {
                        self.bob.receive(&answer(&tid, "200 OK"));
                    }
                }
            }
            if let Some(at) = text.find(wanted) {
                return at;
            }
        }
        panic!("{wanted} does not leave in {} octets", self.carried - start);
    }
}

/// Bob with sessions on one connection, the first of which sends a file of a gigabyte.
fn running(sessions: usize, chunk_size: usize, room: usize) -> (Link, Vec<SessionId>) {
    let mut bob = Bob::new();
    bob.connect(PEER);
    let mut ids = Vec::new();
    for n in 0..sessions {
        let (local, peer) =
            (BOB.replace("9di4e", &format!("s{n}s")), ALICE.replace("iau39", &format!("s{n}s")));
        ids.push(bob.open(spec(Role::Passive).with(|spec| {
            spec.local = MsrpUri::parse(&local).expect("a URI");
            spec.remote.path = MsrpPath::parse(&peer).expect("a path");
            spec.chunk_size = chunk_size;
        })));
        let bind = send("bind", &["Message-ID: hello"], None, '$').replace(BOB, &local).replace(ALICE, &peer);
        bob.receive(&bind);
    }
    bob.take_text(PEER);
    let body = Source::Fetched { source: SourceId(1), size: GIGABYTE, head: Vec::new() };
    let mut link = Link::new(bob, room);
    link.bob.send(ids[0], text("file", "").with(|message| message.body = body));
    link.bob.take_events();
    (link, ids)
}

fn from_second(stream: String) -> String {
    stream.replace("9di4e", "s1s").replace("iau39", "s1s")
}

//= IM M-4 test
//= IM M-15 test
#[test]
fn reports_and_small_messages_wait_behind_at_most_256_kib_of_a_running_file() {
    // Whatever the chunks are, and however much the driver takes.
    for (chunk_size, room) in
        [(12 * 1024, 256 * 1024), (2048, 64 * 1024), (usize::MAX, 1 << 20), (12 * 1024, 20_000)]
    {
        let (mut link, sessions) = running(2, chunk_size, room);
        for _ in 0..700 {
            link.step();
        }
        for round in 0..5 {
            // A message of the other session.
            let id = format!("small{round}");
            link.bob.send(sessions[1], text(&id, "hello"));
            let behind = link.until(&id, true);
            assert!(
                behind <= BEHIND,
                "chunks of {chunk_size}, room {room}: {behind} octets before a message"
            );
            // A REPORT on one that comes in it.
            let id = format!("came{round}");
            let stream = chunk("tid1", &id, "1-2/2", "hi", '$')
                .replace("Message-ID", "Success-Report: yes\r\nMessage-ID");
            link.bob.receive(&from_second(stream));
            let events = link.bob.take_events();
            let receipt = events.iter().find_map(|event| match event {
                Event::Message { receipt, .. } => Some(*receipt),
                _ => None,
            });
            link.bob.settle(receipt.expect("a message"), Verdict::Accepted);
            let behind = link.until(" REPORT\r\n", true);
            assert!(behind <= BEHIND, "chunks of {chunk_size}, room {room}: {behind} octets before a REPORT");
        }
    }
}

//= IM M-4 test
//= IM M-15 test
#[test]
fn files_of_several_sessions_share_the_link() {
    let (mut link, sessions) = running(4, 12 * 1024, 64 * 1024);
    for (n, session) in sessions.iter().enumerate().skip(1) {
        let body = Source::Fetched { source: SourceId(n as u64 + 1), size: GIGABYTE, head: Vec::new() };
        link.bob.send(*session, text("file", "").with(|message| message.body = body));
    }
    let mut octets = vec![0; sessions.len()];
    let mut text = String::new();
    for _ in 0..4_000 {
        let step = link.step();
        for (tid, what) in frames(&step) {
            if what == "SEND" {
                link.bob.receive(&answer(&tid, "200 OK"));
            }
        }
        text += &step;
    }
    // The first one had the link to itself for as long as its room.
    for (n, octets) in octets.iter_mut().enumerate() {
        *octets = text.matches(&format!("From-Path: msrp://192.0.2.2:8888/s{n}s")).count();
    }
    let (least, most) = (octets.iter().min().copied(), octets.iter().max().copied());
    assert!(least.zip(most).is_some_and(|(least, most)| most <= least + 6), "{octets:?}");
}

//= IM M-5 test
#[test]
fn a_running_file_that_is_given_up_ends_with_a_hash_behind_at_most_256_kib() {
    let (mut link, sessions) = running(2, 12 * 1024, 256 * 1024);
    for _ in 0..300 {
        link.step();
    }
    link.bob.endpoint.abort(link.bob.now, sessions[0], "file");
    link.bob.drain();
    assert_eq!(
        link.bob.take_events().last(),
        Some(&Event::Failed { session: sessions[0], message_id: "file".into(), why: SendFailure::Aborted })
    );
    let behind = link.until("#\r\n", false);
    assert!(behind <= BEHIND, "{behind} octets");
    // Nothing of it follows.
    let mut rest = String::new();
    for _ in 0..1000 {
        rest += &link.step();
    }
    assert!(!rest.contains("Message-ID: file"), "{rest}");
}

//= IM M-12 test
#[test]
fn a_receiver_that_stops_a_message_answers_the_running_chunk_at_once() {
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/900000", "0123456789", '+'));
    bob.take_text(PEER);
    // In the middle of the second chunk.
    let second = chunk("tid2", "m1m1", "11-*/900000", &"x".repeat(4000), '+');
    let (begun, rest) = second.split_at(2000);
    bob.receive(begun);
    assert_eq!(bob.take_text(PEER), "");
    bob.endpoint.stop(bob.now, session, "m1m1");
    bob.drain();
    assert_eq!(frames(&bob.take_text(PEER)), [("tid2".to_owned(), "413 Stop Sending".to_owned())]);
    let events = bob.take_events();
    let why = Incomplete::Refused;
    assert!(matches!(&events[..], [Event::Incomplete { why: told, .. }] if *told == why), "{events:?}");
    // The sender did not stop; nothing is answered twice, shown or kept.
    bob.receive(rest);
    assert_eq!(bob.take_text(PEER), "");
    bob.receive(&chunk("tid3", "m1m1", "4011-*/900000", "xxx", '+'));
    assert_eq!(frames(&bob.take_text(PEER)), [("tid3".to_owned(), "413 Stop Sending".to_owned())]);
    assert_eq!((bob.take_events(), bob.endpoint.load().incoming), (vec![], 0));
    // Between two chunks the next one is answered so.
    bob.receive(&chunk("tid4", "m2m2", "1-*/*", "hello", '+'));
    bob.endpoint.stop(bob.now, session, "m2m2");
    bob.endpoint.stop(bob.now, session, "none");
    bob.drain();
    bob.take_text(PEER);
    assert!(matches!(bob.take_events()[..], [Event::Incomplete { received: 5, .. }]));
    bob.receive(&chunk("tid5", "m2m2", "6-*/*", "world", '$'));
    assert_eq!(frames(&bob.take_text(PEER)), [("tid5".to_owned(), "413 Stop Sending".to_owned())]);
    // Others go on.
    bob.receive(&chunk("tid6", "m3m3", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
}

//= IM M-8 test
#[test]
fn reports_on_parts_of_a_large_message_are_told_and_bounded() {
    let (mut bob, session) = Bob::bound();
    let size = 900_000;
    let body = Source::Inline(vec![b'x'; size]);
    bob.send(
        session,
        text("m1m1", "").with(|message| {
            message.body = body;
            message.success_report = true;
        }),
    );
    let mut told = Vec::new();
    let mut from = 1;
    while from <= size {
        for (tid, what) in frames(&bob.take_text(PEER)) {
            if what == "SEND" {
                bob.receive(&answer(&tid, "200 OK"));
            }
        }
        let to = (from + 9_999).min(size);
        let range = format!("Byte-Range: {from}-{to}/{size}");
        bob.receive(&frame("repo", "REPORT", &["Message-ID: m1m1", &range, "Status: 000 200 OK"], None, '$'));
        from = to + 1;
        bob.now = bob.now + Duration::from_millis(5);
        told.extend(bob.take_events().into_iter().filter_map(|event| match event {
            Event::Reporting { reported, total, .. } => Some((reported, total)),
            _ => None,
        }));
    }
    assert_eq!(told, [(270_000, 900_000), (540_000, 900_000), (810_000, 900_000)]);
}
