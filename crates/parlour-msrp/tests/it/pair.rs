//! Two endpoints against each other over a bad wire, and reassembly against a model.

use std::collections::{BTreeMap, VecDeque};

use parlour_msrp::random::Random;
use parlour_msrp::time::Instant;
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    Body, ConnectionId, Endpoint, Event, Input, Limits, Output, Role, SessionId, SessionSpec, Source,
    SourceId, SpoolId, Verdict,
};
use proptest::prelude::*;

use crate::script::{ALICE, BOB, Bob, PEER, chunk, spec, text};

/// One end: an endpoint, its driver's memory, and the octets on their way to the other end.
struct End {
    endpoint: Endpoint,
    connection: ConnectionId,
    session: SessionId,
    wire: VecDeque<u8>,
    room: usize,
    held: bool,
    spools: BTreeMap<SpoolId, (Vec<u8>, u64)>,
    sources: BTreeMap<SourceId, Vec<u8>>,
    events: Vec<Event>,
    /// Inputs that the driver owes.
    owed: Vec<Owed>,
    received: BTreeMap<String, Vec<u8>>,
}

enum Owed {
    Fetched(SourceId, u64, usize),
    Spooled(SpoolId),
    Settled(parlour_msrp::Receipt),
}

impl End {
    fn new(seed: u8, limits: Limits, spec: SessionSpec) -> End {
        let mut endpoint = Endpoint::new(limits, Random::new([seed; 32]));
        let session = endpoint.open(Instant::ZERO, spec);
        End {
            endpoint,
            connection: ConnectionId(1),
            session,
            wire: VecDeque::new(),
            room: 16 * 1024,
            held: false,
            spools: BTreeMap::new(),
            sources: BTreeMap::new(),
            events: Vec::new(),
            owed: Vec::new(),
            received: BTreeMap::new(),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if let Input::Writable { room, .. } = input {
            self.room = room;
        }
        self.endpoint.handle(Instant::ZERO, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.endpoint.poll() {
                Output::Idle(_) => return,
                Output::Connect { connection, .. } => self.connection = connection,
                Output::Send { bytes, .. } => {
                    if String::from_utf8_lossy(&bytes).contains("\r\nContent-Type: ") {
                        assert!(
                            bytes.len() <= self.room,
                            "{} octets in a room of {}",
                            bytes.len(),
                            self.room
                        );
                    }
                    self.room = self.room.saturating_sub(bytes.len());
                    self.wire.extend(bytes);
                }
                Output::Hold { .. } => self.held = true,
                Output::Resume { .. } => self.held = false,
                Output::Spool { spool, offset, bytes } => {
                    let (octets, handed) = self.spools.entry(spool).or_default();
                    let offset = usize::try_from(offset).expect("a small test");
                    octets.resize(octets.len().max(offset + bytes.len()), 0);
                    octets[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    *handed += bytes.len() as u64;
                    self.owed.push(Owed::Spooled(spool));
                }
                Output::Fetch { source, offset, length } => {
                    self.owed.push(Owed::Fetched(source, offset, length))
                }
                Output::Event(Event::Message { receipt, message_id, body, .. }) => {
                    let octets = match body {
                        Body::Inline(octets) => octets,
                        Body::Spooled { spool, size, head } => {
                            let octets = self.spools.get(&spool).expect("a spool").0.clone();
                            assert_eq!(octets.len() as u64, size);
                            assert!(octets.starts_with(&head));
                            octets
                        }
                    };
                    assert!(self.received.insert(message_id, octets).is_none(), "a message came twice");
                    self.owed.push(Owed::Settled(receipt));
                }
                Output::Event(event) => self.events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Does what the driver owes, from the given one on.
    fn pay(&mut self, at: usize) {
        if self.owed.is_empty() {
            return;
        }
        match self.owed.remove(at % self.owed.len()) {
            Owed::Fetched(source, offset, length) => {
                let octets = self.sources.get(&source).expect("a source").clone();
                let start = usize::try_from(offset).expect("a small test");
                // A driver may give less than it was asked for.
                let length = (at % length).max(1).min(octets.len() - start);
                self.input(Input::Fetched { source, offset, bytes: &octets[start..start + length] });
            }
            Owed::Spooled(spool) => {
                let upto = self.spools.get(&spool).expect("a spool").1;
                self.input(Input::Spooled { spool, upto });
            }
            Owed::Settled(receipt) => {
                self.endpoint.settle(Instant::ZERO, receipt, Verdict::Accepted);
                self.drain();
            }
        }
    }
}

/// Moves up to `most` octets from one end to the other.
fn carry(from: &mut End, to: &mut End, most: usize) {
    if to.held {
        return;
    }
    let length = most.min(from.wire.len());
    let bytes: Vec<u8> = from.wire.drain(..length).collect();
    to.input(Input::Received { connection: to.connection, bytes: &bytes });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the wire and the drivers do, each message arrives once and whole, and is acknowledged and reported.
    //= IM M-6 test
    //= IM X-23 test
    #[test]
    fn every_message_arrives_once(
        messages in prop::collection::vec((0_usize..60_000, any::<u8>(), any::<bool>()), 1..6),
        steps in prop::collection::vec((0_u8..6, 0_usize..20_000), 50..400),
        inline in 0_usize..70_000,
    ) {
        let limits = || Limits::default().with(|limits| { limits.inline_body = inline; limits.unspooled = 8_000; limits.unacknowledged = 30_000; });
        let swapped = spec(Role::Active).with(|spec| { spec.local = MsrpUri::parse(ALICE).expect("a URI"); spec.remote.path = MsrpPath::parse(BOB).expect("a path"); });
        let mut alice = End::new(1, limits(), swapped);
        let mut bob = End::new(2, limits(), spec(Role::Passive));
        alice.drain();
        let mut sent = BTreeMap::new();
        for (n, (size, fill, fetched)) in messages.into_iter().enumerate() {
            // Bodies that look like MSRP.
            let body: Vec<u8> = b"\r\n-------".iter().copied().cycle().take(size).map(|octet| octet ^ (fill & 1)).collect();
            let id = format!("msg{n}");
            let source = SourceId(n as u64);
            // Some of it goes before what its source has.
            let head = if fetched && size > 0 { size.min(usize::from(fill) % 5 * 30) } else { 0 };
            let body_of = |body: &Vec<u8>| match fetched && size > 0 {
                true => Source::Fetched { source, size: (size - head) as u64, head: body[..head].to_vec() },
                false => Source::Inline(body.clone()),
            };
            for end in [&mut alice, &mut bob] {
                end.sources.insert(source, body[head..].to_vec());
                let outgoing = text(&id, "").with(|message| { message.success_report = n % 2 == 0; message.body = body_of(&body); });
                end.endpoint.send(Instant::ZERO, end.session, outgoing).expect("it is taken");
            }
            sent.insert(id, body);
        }
        let peer = "192.0.2.1:7777".parse().expect("an address");
        alice.input(Input::Connected { connection: alice.connection, peer, tls: None });
        bob.input(Input::Connected { connection: bob.connection, peer, tls: None });
        for (step, value) in steps {
            match step {
                0 => carry(&mut alice, &mut bob, value),
                1 => carry(&mut bob, &mut alice, value % 50),
                2 => alice.input(Input::Writable { connection: alice.connection, room: value }),
                3 => bob.input(Input::Writable { connection: bob.connection, room: value }),
                4 => alice.pay(value),
                _ => bob.pay(value),
            }
        }
        // Then the wire is good.
        for round in 0.. {
            for end in [&mut alice, &mut bob] {
                end.input(Input::Writable { connection: end.connection, room: 16 * 1024 });
                while !end.owed.is_empty() {
                    end.pay(100_000_000);
                }
            }
            carry(&mut alice, &mut bob, usize::MAX);
            carry(&mut bob, &mut alice, usize::MAX);
            let still = [&alice, &bob].iter().any(|end| end.endpoint.load().outgoing > 0);
            if !still {
                break;
            }
            prop_assert!(round < 2000, "stuck: {:?} {:?}", alice.endpoint.load(), bob.endpoint.load());
        }
        for end in [&alice, &bob] {
            prop_assert!(end.received == sent);
            for id in sent.keys() {
                let event = |wanted: &Event| end.events.iter().filter(|event| *event == wanted).count();
                let session = end.session;
                let acknowledged = Event::Acknowledged { session, message_id: id.clone() };
                let reported = Event::Reported { session, message_id: id.clone() };
                prop_assert_eq!(event(&acknowledged), 1);
                prop_assert_eq!(event(&reported), usize::from(id.as_bytes()[3] % 2 == 0));
            }
            let failures = |event: &&Event| matches!(event, Event::Failed { .. } | Event::SessionFailed { .. });
            prop_assert_eq!(end.events.iter().find(failures), None);
            let load = end.endpoint.load();
            prop_assert_eq!((load.transactions, load.incoming, load.receipts, load.octets), (0, 0, 0, 0));
        }
    }

    /// Chunks in any order, overlapping as they like, give what writing them into a buffer gives.
    //= IM M-6 test
    #[test]
    fn reassembly_equals_a_model(
        total in 1_usize..300,
        mut chunks in prop::collection::vec((0_usize..300, 1_usize..80), 0..40),
        inline in 0_usize..300,
        cut in 1_usize..40,
    ) {
        let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.inline_body = inline));
        // All octets come in the end, and one chunk says where that is.
        chunks.push((0, total));
        chunks.insert(chunks.len() / 2, (total - 1, 1));
        let mut model = vec![None; total];
        let mut ended = false;
        for (n, (start, length)) in chunks.into_iter().enumerate() {
            let start = start % total;
            let length = length.min(total - start);
            let fill = (b'a' + (n % 26) as u8) as char;
            model[start..start + length].fill(Some(fill as u8));
            let last = start + 1 == total || (start == 0 && length == total);
            ended |= last;
            let flag = if last { '$' } else { '+' };
            let body = fill.to_string().repeat(length);
            let text = chunk("tid1", "m1m1", &format!("{}-*/*", start + 1), &body, flag);
            for piece in text.as_bytes().chunks(cut) {
                bob.input(Input::Received { connection: PEER, bytes: piece });
            }
            if ended && model.iter().all(Option::is_some) {
                break;
            }
            prop_assert_eq!(bob.take_events(), vec![]);
        }
        let mut spooled = vec![0; total];
        let mut body = None;
        for output in std::mem::take(&mut bob.outputs) {
            match output {
                Output::Spool { offset, bytes, .. } => {
                    spooled[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
                }
                Output::Event(Event::Message { body: message, .. }) => body = Some(message),
                _ => {}
            }
        }
        let octets = match body {
            Some(Body::Inline(octets)) => octets,
            Some(Body::Spooled { size, head, .. }) => {
                prop_assert_eq!(size, total as u64);
                prop_assert_eq!(&head, &spooled);
                spooled
            }
            None => panic!("no message"),
        };
        let expected: Vec<u8> = model.into_iter().flatten().collect();
        prop_assert_eq!(octets, expected);
    }
}
