//! A session behind an MSRP relay (RFC 4976): Alice takes a lease, SDP would tell Bob the path, and Bob reaches her
//! through the relay. The relay is a small one in this process, or one of your own.
//!
//! `cargo run -p parlour-msrp --features tokio --example behind_relay -- --help`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    reason = "a program, and no part of the library"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::digest::Credentials;
use parlour_msrp::frame::{FrameReader, Piece};
use parlour_msrp::head::{Flag, Start, Tid};
use parlour_msrp::random::Random;
use parlour_msrp::tokio::Driver;
use parlour_msrp::uri::MsrpUri;
use parlour_msrp::write::FrameWriter;
use parlour_msrp::{Body, Event, FailureReport, Limits, Outgoing, RelaySpec, Role, SessionSpec, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HELP: &str = "\
Talks to somebody behind an MSRP relay.

Usage: behind_relay                        over a relay in this process that trusts everybody
       behind_relay RELAY USER PASSWORD    over a relay without TLS on this machine

Example: behind_relay 'msrp://127.0.0.1:2855;tcp' alice secret
";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

/// What the program does.
pub async fn run(arguments: Vec<String>) -> Outcome<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (relay, credentials) = match words[..] {
        ["-h" | "--help", ..] => {
            print!("{HELP}");
            return Ok(());
        }
        [] => (start_relay().await?, Credentials::new("alice", "secret")),
        [relay, user, password] => (relay.to_owned(), Credentials::new(user, password)),
        _ => return Err(HELP.into()),
    };

    // Alice asks the relay for URIs for one session. AUTH without TLS is for one machine only.
    let mut random = Random::new(seed()?);
    let alice_uri = MsrpUri::new(false, "127.0.0.1", 9, &random.ident(22))?;
    let mut alice = Driver::new(Limits::default(), seed()?);
    let spec = RelaySpec::new(relay.parse()?, credentials).with(|spec| spec.insecure = true);
    let ours = alice_uri.clone();
    alice.verb(|endpoint, now| {
        let relay = endpoint.add_relay(spec);
        endpoint.lease(now, relay, ours)
    });
    let (lease, path) = loop {
        match alice.next().await {
            Event::Leased { lease, path, .. } => break (lease, path),
            Event::LeaseLost { why, .. } => return Err(why.into()),
            _ => {}
        }
    };
    println!("alice: her path for SDP is {path}");

    // SDP carries both paths. Bob connects to the relay, which is the leftmost hop of hers.
    let bob_uri = MsrpUri::new(false, "127.0.0.1", 9, &random.ident(22))?;
    let types = AcceptTypes::parse("text/plain", None);
    let spec = SessionSpec::new(alice_uri, bob_uri.clone().into(), Role::Passive, types.clone());
    alice.open(spec.with(|spec| spec.via = Some(lease)));
    let alice = tokio::spawn(async move {
        loop {
            match alice.next().await {
                Event::Message { session, receipt, body: Body::Inline(body), .. } => {
                    println!("alice: heard {:?}", String::from_utf8_lossy(&body));
                    alice.settle(receipt, Verdict::Accepted);
                    alice.send(session, Outgoing::new("reply", "text/plain", "Hi, Bob!"))?;
                }
                Event::Reported { .. } | Event::Acknowledged { .. } => {
                    println!("alice: Bob has the reply");
                    alice.shutdown().await;
                    return Outcome::Ok(());
                }
                Event::Failed { why, .. } => return Err(why.into()),
                Event::SessionFailed { why, .. } => return Err(why.into()),
                _ => {}
            }
        }
    });

    let mut bob = Driver::new(Limits::default(), seed()?);
    let session = bob.open(SessionSpec::new(bob_uri, path, Role::Active, types));
    // Through relays a 200 is the next hop's: only a REPORT is Alice's own word.
    let hello = Outgoing::new("hello", "text/plain", "Hi, Alice!");
    bob.send(session, hello.with(|message| message.success_report = true))?;
    let (mut reported, mut heard) = (false, false);
    while !(reported && heard) {
        match bob.next().await {
            Event::Reported { .. } => {
                println!("bob: Alice has what he said");
                reported = true;
            }
            Event::Message { receipt, body: Body::Inline(body), .. } => {
                println!("bob: heard {:?}", String::from_utf8_lossy(&body));
                bob.settle(receipt, Verdict::Accepted);
                heard = true;
            }
            Event::Failed { why, .. } => return Err(why.into()),
            Event::SessionFailed { why, .. } => return Err(why.into()),
            _ => {}
        }
    }
    let alice = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        tokio::pin!(alice);
        loop {
            // Bob's driver works only while somebody waits for it.
            tokio::select! {
                done = &mut alice => return done,
                _ = bob.next() => {}
            }
        }
    });
    alice.await???;
    bob.shutdown().await;
    Ok(())
}

/// What a relay knows: the connection that leads to each URI.
type Ways = Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Vec<u8>>>>>;

/// A relay that trusts everybody and keeps nothing: enough to see what one does, and no more.
async fn start_relay() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let place = format!("msrp://{}", listener.local_addr()?);
    println!("relay: waits at {place}");
    let (own, ways) = (place.clone(), Ways::default());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (own, ways) = (own.clone(), Arc::clone(&ways));
            tokio::spawn(async move { relay(stream, own, ways).await });
        }
    });
    Ok(format!("{place};tcp"))
}

/// One connection of the relay.
async fn relay(stream: TcpStream, own: String, ways: Ways) -> Outcome<()> {
    let (mut from, mut to) = stream.into_split();
    let (out, mut octets) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(octets) = octets.recv().await {
            if to.write_all(&octets).await.is_err() {
                return;
            }
        }
    });
    let mut random = Random::new(seed()?);
    let mut reader = FrameReader::new(16 * 1024);
    let mut buffer = vec![0; 16 * 1024];
    let mut frame = Frame::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let mut input = &buffer[..length];
        while let Some(piece) = reader.next(&mut input) {
            match piece {
                Piece::Head(head) => {
                    frame = Frame::default();
                    let mut row =
                        |name, value: Option<String>| frame.rows.extend(value.map(|value| (name, value)));
                    row("Message-ID", head.message_id.map(str::to_owned));
                    row("Success-Report", head.success_report.then(|| "yes".to_owned()));
                    row(
                        "Failure-Report",
                        (head.failure_report == FailureReport::No).then(|| "no".to_owned()),
                    );
                    row(
                        "Byte-Range",
                        head.byte_range.map(|range| {
                            let number =
                                |value: Option<u64>| value.map_or("*".to_owned(), |value| value.to_string());
                            format!("{}-{}/{}", range.start, number(range.end), number(range.total))
                        }),
                    );
                    row(
                        "Status",
                        head.status.map(|status| format!("000 {} {}", status.code, status.comment)),
                    );
                    row("Content-Type", head.content_type.map(str::to_owned));
                    frame.method = match head.start {
                        Start::Send => "SEND",
                        Start::Report => "REPORT",
                        Start::Other("AUTH") => "AUTH",
                        // The next hop's responses are the relay's own affair.
                        _ => "",
                    };
                    frame.tid = Some(head.tid);
                    frame.to = head.to_path.split(' ').map(str::to_owned).collect();
                    frame.from = head.from_path.to_owned();
                    frame.body = head.has_body.then(Vec::new);
                }
                Piece::Body(octets) => frame.body.iter_mut().for_each(|body| body.extend_from_slice(octets)),
                Piece::End(flag) => {
                    let answer = frame.pass(flag, &own, &mut random, &ways, &out);
                    _ = out.send(answer);
                }
                Piece::Fault(fault) => return Err(fault.into()),
                _ => {}
            }
        }
    }
}

/// A frame on its way through the relay.
#[derive(Default)]
struct Frame {
    method: &'static str,
    tid: Option<Tid>,
    to: Vec<String>,
    from: String,
    rows: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Frame {
    /// Passes it on, and returns what the previous hop is answered.
    fn pass(
        &self,
        flag: Flag,
        own: &str,
        random: &mut Random,
        ways: &Ways,
        back: &mpsc::UnboundedSender<Vec<u8>>,
    ) -> Vec<u8> {
        let mut answer = Vec::new();
        let (Some(tid), [first, rest @ ..]) = (self.tid, &self.to[..]) else { return answer };
        let previous = self.from.split(' ').next().unwrap_or_default();
        let mut ways = ways.lock().expect("no other task has panicked");
        // RFC 4976 6.1: what comes back for this URI goes where it came from.
        ways.insert(previous.to_owned(), back.clone());
        match (self.method, rest) {
            ("AUTH", _) => {
                let lent = format!("{own}/{};tcp", random.ident(22));
                FrameWriter::response(&mut answer, tid, 200, previous, first)
                    .row("Use-Path", &[&lent])
                    .row("Expires", &["900"])
                    .end(Flag::Last);
                println!("relay: lends {lent}");
            }
            ("SEND" | "REPORT", [next, ..]) => {
                let mut status = 481;
                if let Some(way) = ways.get(next) {
                    let fresh = Tid::parse(random.ident(16).as_bytes()).expect("16 characters are an ident");
                    let (to, from) = (rest.join(" "), format!("{first} {}", self.from));
                    let mut passed = Vec::new();
                    let mut frame = FrameWriter::request(&mut passed, fresh, self.method, &to, &from);
                    for (name, value) in &self.rows {
                        frame = frame.row(name, &[value]);
                    }
                    match &self.body {
                        Some(body) => frame.body(body).end(flag),
                        None => frame.end(flag),
                    }
                    println!("relay: passes a {} on to {next}", self.method);
                    status = if way.send(passed).is_ok() { 200 } else { 481 };
                }
                if self.method == "SEND" {
                    FrameWriter::response(&mut answer, tid, status, previous, first).end(Flag::Last);
                }
            }
            _ => {}
        }
        answer
    }
}

fn seed() -> Outcome<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| why.to_string())?;
    Ok(seed)
}
