//! What fuzz targets run; tests replay it.

use std::time::Duration;

use crate::accept::AcceptTypes;
use crate::random::Random;
use crate::time::Instant;
use crate::uri::{MsrpPath, MsrpUri};
use crate::{
    ConnectionId, Endpoint, Event, FailureReport, Input, Limits, Matching, Outgoing, Output, Receipt, Remote,
    Role, SessionSpec, Source, SourceId, SpoolId, Verdict,
};

/// Cuts octets into the messages of a WebSocket, and reads these as the other end does: nothing is lost or added, no cut
/// falls inside a frame, and no message holds two.
///
/// # Panics
/// If that is not so.
pub fn fuzz_websocket(data: &[u8]) {
    use crate::frame::{FrameReader, Piece};
    let cut: Vec<&[u8]> = crate::websocket::frames(data).collect();
    assert_eq!(cut.concat(), data, "nothing is lost or added");
    let ends = |octets: &[u8]| {
        let (mut reader, mut input, mut ends) = (FrameReader::new(16 * 1024), octets, Vec::new());
        while let Some(piece) = reader.next(&mut input) {
            match piece {
                Piece::End(_) => ends.push(input.len()),
                Piece::Fault(_) => return None,
                Piece::Head(_) | Piece::Body(_) => {}
            }
        }
        (!reader.is_mid_frame()).then_some(ends)
    };
    // Where the octets are whole frames and nothing else, as all that leaves is, each one is a message.
    let follows = |left: &usize| {
        let rest = data.get(data.len().saturating_sub(*left)..).unwrap_or_default();
        rest.is_empty() || rest.starts_with(b"MSRP ")
    };
    if let Some(whole) = ends(data).filter(|whole| follows(&data.len()) && whole.iter().all(follows)) {
        assert_eq!(cut.len(), whole.len(), "one frame a message");
        assert!(cut.iter().all(|message| ends(message).is_some_and(|ends| ends == [0])));
    }
}

/// Feeds an endpoint with a stream and with a driver's acts, both chosen by the data, and checks that it keeps to its
/// bounds. The first octet of each step says what happens, the second how much of it.
///
/// # Panics
/// If the endpoint breaks a rule of its own.
pub fn fuzz_stream(data: &[u8]) {
    let limits =
        Limits { inline_body: 64, unspooled: 512, pending_replies: 2048, unsettled: 8, ..Limits::default() }
            // Two messages in spools, or a heap of small ones; and what three messages to be sent have.
            .with(|limits| (limits.reassembly, limits.queued_octets) = (600 * 1024, 40 * 1024));
    let mut run = Run {
        endpoint: Endpoint::new(limits, Random::new([1; 32])),
        now: Instant::ZERO,
        receipts: Vec::new(),
        spools: Vec::new(),
        fetches: Vec::new(),
        held: false,
        room: 16 * 1024,
    };
    let session = run.endpoint.open(run.now, session());
    let connection = ConnectionId(1);
    run.input(Input::Connected { connection, peer: ([192, 0, 2, 1], 7).into(), tls: None });
    let mut rest = data;
    let mut sent = 0_u32;
    while let [act, amount, tail @ ..] = rest {
        rest = tail;
        let amount = usize::from(*amount);
        match act {
            0 => {
                run.room = amount.saturating_mul(64);
                run.input(Input::Writable { connection, room: run.room });
            }
            1 => {
                if let Some(receipt) = run.receipts.pop() {
                    let verdict = match amount % 3 {
                        0 => Verdict::Accepted,
                        1 => Verdict::Received,
                        _ => Verdict::Refused(413),
                    };
                    run.endpoint.settle(run.now, receipt, verdict);
                    if verdict == Verdict::Received {
                        run.receipts.insert(0, receipt);
                    }
                    run.drain();
                }
            }
            2 => {
                if let Some((spool, upto)) = run.spools.pop() {
                    run.input(Input::Spooled { spool, upto });
                }
            }
            3 => {
                if let Some((source, offset, length)) = run.fetches.pop() {
                    let bytes = vec![b'-'; length.min(amount.saturating_mul(99))];
                    run.input(Input::Fetched { source, offset, bytes: &bytes });
                }
            }
            4 => {
                run.now = run.now + Duration::from_secs(u64::try_from(amount).unwrap_or(0));
                run.input(Input::Tick);
            }
            5 => {
                sent = sent.saturating_add(1);
                let body = match amount % 2 {
                    0 => Source::Inline(vec![b'x'; amount.saturating_mul(64)]),
                    _ => Source::Fetched { source: SourceId(7), size: 20_000, head: Vec::new() },
                };
                let outgoing = Outgoing::new(format!("msg{sent}"), "text/plain", body).with(|message| {
                    message.success_report = amount % 3 == 0;
                    message.failure_report =
                        if amount % 5 == 0 { FailureReport::No } else { FailureReport::Yes };
                });
                // Refusals are fine.
                _ = run.endpoint.send(run.now, session, outgoing);
                run.drain();
            }
            6 => {
                run.endpoint.abort(run.now, session, &format!("msg{amount}"));
                run.drain();
            }
            _ => {
                let (bytes, tail) = rest.split_at_checked(amount).unwrap_or((rest, &[]));
                rest = tail;
                run.input(Input::Received { connection, bytes });
            }
        }
    }
    run.input(Input::Received { connection, bytes: rest });
    run.endpoint.close(run.now, session);
    run.input(Input::Closed { connection });
    let load = run.endpoint.load();
    assert_eq!(
        (load.sessions, load.connections, load.octets),
        (0, 0, 0),
        "everything is forgotten in the end"
    );
    assert!(run.endpoint.kept.is_empty(), "and nothing of it is counted");
}

/// The session that the stream can speak of: `msrp://b:2/b;tcp` is ours, `msrp://a:1/a;tcp` the peer's.
fn session() -> SessionSpec {
    SessionSpec {
        local: MsrpUri::parse("msrp://b:2/b;tcp").expect("invariant: a good URI"),
        remote: Remote::new(
            MsrpPath::parse("msrp://a:1/a;tcp").expect("invariant: a good path"),
            Role::Passive,
        ),
        matching: Matching::SessionId,
        accept: AcceptTypes::new(["*"], []),
        max_size: 100_000,
        chunk_size: 2048,
        relayed_chunk_size: 2048,
        via: None,
    }
}

struct Run {
    endpoint: Endpoint,
    now: Instant,
    receipts: Vec<Receipt>,
    spools: Vec<(SpoolId, u64)>,
    fetches: Vec<(SourceId, u64, usize)>,
    held: bool,
    room: usize,
}

impl Run {
    fn input(&mut self, input: Input<'_>) {
        self.endpoint.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.endpoint.poll() {
                Output::Idle(next) => {
                    assert!(next.is_none_or(|next| next >= self.now), "a deadline lies in the past");
                    break;
                }
                Output::Send { bytes, .. } => {
                    assert!(!bytes.is_empty(), "nothing is sent");
                    self.room = self.room.saturating_sub(bytes.len());
                }
                Output::Hold { .. } => assert!(!std::mem::replace(&mut self.held, true), "held twice"),
                Output::Resume { .. } => {
                    assert!(std::mem::replace(&mut self.held, false), "resumed without a hold")
                }
                Output::Spool { spool, bytes, .. } => {
                    let length = u64::try_from(bytes.len()).unwrap_or(0);
                    match self.spools.iter_mut().find(|(other, _)| *other == spool) {
                        Some((_, upto)) => *upto = upto.saturating_add(length),
                        None => self.spools.push((spool, length)),
                    }
                }
                Output::Discard { spool } => self.spools.retain(|(other, _)| *other != spool),
                Output::Fetch { source, offset, length } => {
                    assert!(length > 0 && length <= 64 * 1024, "a fetch of {length} octets");
                    self.fetches.push((source, offset, length));
                }
                Output::Event(Event::Message { receipt, .. }) => self.receipts.push(receipt),
                Output::Connect { .. } | Output::ConnectRelay { .. } => panic!("a passive session connects"),
                Output::Close { .. } | Output::Event(_) => {}
            }
        }
        let load = self.endpoint.load();
        assert!(load.incoming <= 33, "{load:?}");
        // 33 messages of 64 octets or 16 KiB heads of spools, with their labels and 257 holes; one header section, the
        // labels of receipts, what the data queues.
        let queued = load.outgoing.saturating_mul(140 * 1024);
        let whole = load.receipts.saturating_mul(6 * 1024);
        let parts = 33_usize.saturating_mul((16 + 7 + 5) * 1024);
        let bound = parts.saturating_add(80 * 1024).saturating_add(whole).saturating_add(queued);
        assert!(load.octets <= bound, "{load:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_conversation_runs() {
        let mut data = Vec::new();
        let frame = b"MSRP abcd SEND\r\nTo-Path: msrp://b:2/b;tcp\r\nFrom-Path: msrp://a:1/a;tcp\r\n\
                      Message-ID: m1\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------abcd$\r\n";
        for half in [&frame[..50], &frame[50..]] {
            data.extend_from_slice(&[9, u8::try_from(half.len()).expect("a short frame")]);
            data.extend_from_slice(half);
        }
        data.extend_from_slice(&[1, 0, 5, 3, 0, 255, 3, 255, 4, 31]);
        fuzz_stream(&data);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_stream_breaks_an_endpoint(
            steps in prop::collection::vec(
                prop_oneof![
                    (0_u8..7, any::<u8>()).prop_map(|(act, amount)| vec![act, amount]),
                    frames().prop_map(|text| {
                        let mut step = Vec::new();
                        for piece in text.as_bytes().chunks(255) {
                            step.extend_from_slice(&[9, u8::try_from(piece.len()).unwrap_or(0)]);
                            step.extend_from_slice(piece);
                        }
                        step
                    }),
                ],
                0..60,
            ),
        ) {
            fuzz_stream(&steps.concat());
        }
    }

    /// Frames that are nearly right.
    fn frames() -> impl Strategy<Value = String> {
        let method =
            prop_oneof![4 => Just("SEND"), 1 => Just("REPORT"), 1 => Just("200 OK"), 1 => Just("AUTH")];
        let range =
            prop_oneof!["1-\\*/\\*", "[0-9]{1,3}-(\\*|[0-9]{1,3})/(\\*|[0-9]{1,6})", "[0-9]{18,21}-\\*/\\*"];
        let body = prop::option::weighted(0.8, "[a-z\\r\\n-]{0,300}");
        let flag = prop_oneof![Just('$'), Just('+'), Just('#')];
        let extra = prop::sample::select(vec![
            "",
            "Success-Report: yes\r\n",
            "Failure-Report: no\r\n",
            "Failure-Report: partial\r\n",
            "Status: 000 200 OK\r\n",
            "Status: 000 481 Gone\r\n",
            "nonsense\r\n",
        ]);
        (method, "m[0-9]{1,2}", range, body, flag, extra).prop_map(
            |(method, id, range, body, flag, extra)| {
                let head = format!(
                    "MSRP abcd {method}\r\nTo-Path: msrp://b:2/b;tcp\r\nFrom-Path: msrp://a:1/a;tcp\r\n\
                 Message-ID: {id}\r\nByte-Range: {range}\r\n{extra}"
                );
                match body {
                    Some(body) => {
                        format!("{head}Content-Type: text/plain\r\n\r\n{body}\r\n-------abcd{flag}\r\n")
                    }
                    None => format!("{head}-------abcd{flag}\r\n"),
                }
            },
        )
    }
}
