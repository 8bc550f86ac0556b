//! Two MSRP ends over loopback: one says something, the other says it back.
//!
//! `cargo run -p parlour-msrp --features tokio --example echo -- --help`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a program, and no part of the library"
)]

use std::error::Error;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::random::Random;
use parlour_msrp::tokio::Driver;
use parlour_msrp::uri::MsrpUri;
use parlour_msrp::{Body, Event, Limits, Outgoing, Role, SessionSpec, Verdict};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HELP: &str = "\
Says something over MSRP and hears it back.

Usage: echo [TEXT]...                  both ends in this process; says `Hello!` unless told what to say
       echo --serve ADDRESS            the end that answers; prints the command for the other one
       echo --call PATH --as PATH [TEXT]...   the end that calls

Example: echo --serve 127.0.0.1:7777
";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

/// What the program does.
pub async fn run(arguments: Vec<String>) -> Outcome<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["-h" | "--help", ..] => print!("{HELP}"),
        ["--serve", address] => {
            let (server, ours, theirs) = server(address).await?;
            println!("now run: echo --call '{ours}' --as '{theirs}'");
            answer(server).await;
        }
        ["--call", theirs, "--as", ours, ref texts @ ..] => say(theirs, ours, texts).await?,
        [first, ..] if first.starts_with('-') => {
            return Err(format!("no such option: {first}\n{HELP}").into());
        }
        ref texts => {
            let (server, theirs, ours) = server("127.0.0.1:0").await?;
            let server = tokio::spawn(answer(server));
            say(theirs.as_str(), ours.as_str(), texts).await?;
            server.await?;
        }
    }
    Ok(())
}

/// An end that waits for its peer. In a call, SDP would tell each end the path of the other one; here this end invents
/// both.
async fn server(address: &str) -> Outcome<(Driver, MsrpUri, MsrpUri)> {
    let listener = TcpListener::bind(address).await?;
    let place = listener.local_addr()?;
    let mut random = Random::new(seed()?);
    // Whoever knows its session-id may bind a session: 22 characters are 132 random bits.
    let ours = MsrpUri::new(false, &place.ip().to_string(), place.port(), &random.ident(22))?;
    // The caller does not listen, so its port is that of nobody: 9 is `discard`.
    let theirs = MsrpUri::new(false, "127.0.0.1", 9, &random.ident(22))?;
    let mut driver = Driver::new(Limits::default(), seed()?);
    driver.listen(listener);
    driver.open(SessionSpec::new(ours.clone(), theirs.clone().into(), Role::Passive, types()));
    println!("server: waits at {ours}");
    Ok((driver, ours, theirs))
}

/// Says everything back until the session is over.
async fn answer(mut driver: Driver) {
    let mut said = 0;
    loop {
        match driver.next().await {
            Event::Bound { .. } => println!("server: somebody is here"),
            Event::Message {
                session, receipt, message_id, content_type, body: Body::Inline(body), ..
            } => {
                println!("server: heard {:?} ({message_id})", String::from_utf8_lossy(&body));
                // Only now the caller gets its 200: this is the place to store a message.
                driver.settle(receipt, Verdict::Accepted);
                said += 1;
                let echo = Outgoing::new(format!("echo{said}"), content_type, body);
                if let Err(why) = driver.send(session, echo) {
                    println!("server: cannot say it back: {why}");
                }
            }
            Event::SessionFailed { why, .. } => {
                println!("server: the session is over: {why}");
                return driver.shutdown().await;
            }
            _ => {}
        }
    }
}

/// Says each text and waits until it comes back.
async fn say(theirs: &str, ours: &str, texts: &[&str]) -> Outcome<()> {
    let texts = if texts.is_empty() { &["Hello!"] } else { texts };
    let mut driver = Driver::new(Limits::default(), seed()?);
    let session = driver.open(SessionSpec::new(ours.parse()?, theirs.parse()?, Role::Active, types()));
    for (number, text) in texts.iter().enumerate() {
        driver.send(session, Outgoing::new(format!("text{number}"), "text/plain", *text))?;
    }
    let mut back = 0;
    while back < texts.len() {
        match driver.next().await {
            Event::Bound { .. } => println!("caller: connected"),
            Event::Acknowledged { message_id, .. } => println!("caller: {message_id} has arrived"),
            Event::Message { receipt, body: Body::Inline(body), .. } => {
                println!("caller: heard {:?}", String::from_utf8_lossy(&body));
                driver.settle(receipt, Verdict::Accepted);
                back += 1;
            }
            Event::Failed { message_id, why, .. } => return Err(format!("{message_id}: {why}").into()),
            Event::SessionFailed { why, .. } => return Err(why.into()),
            _ => {}
        }
    }
    driver.shutdown().await;
    Ok(())
}

fn types() -> AcceptTypes {
    AcceptTypes::parse("text/plain", None)
}

fn seed() -> Outcome<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| why.to_string())?;
    Ok(seed)
}
