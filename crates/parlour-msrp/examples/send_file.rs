//! Sends a file over MSRP to a receiver in the same process, shows the progress of both, and compares hashes.
//!
//! `cargo run -p parlour-msrp --features tokio --example send_file -- --help`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    reason = "a program, and no part of the library"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::random::Random;
use parlour_msrp::tokio::{Driver, Files};
use parlour_msrp::uri::MsrpUri;
use parlour_msrp::{Body, Event, Limits, Outgoing, Role, SessionSpec, Source, SourceId, Verdict};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HELP: &str = "\
Sends a file over MSRP and verifies what arrives.

Usage: send_file [FILE]    without FILE: 8 MB of numbers

Example: send_file /etc/services
";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

/// What the program does.
pub async fn run(arguments: Vec<String>) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let file = match words[..] {
        ["-h" | "--help", ..] => {
            print!("{HELP}");
            return Ok(());
        }
        [] => numbers(folder.path())?,
        [file] => PathBuf::from(file),
        _ => return Err(HELP.into()),
    };
    let expected = hash(&file)?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut random = Random::new(seed()?);
    let port = listener.local_addr()?.port();
    let theirs = MsrpUri::new(false, "127.0.0.1", port, &random.ident(22))?;
    let ours = MsrpUri::new(false, "127.0.0.1", 9, &random.ident(22))?;
    let listed = AcceptTypes::parse("application/octet-stream", None);

    let spools = folder.path().to_owned();
    let mut receiver = Driver::with_storage(Limits::default(), seed()?, Files::new(&spools));
    receiver.listen(listener);
    let spec = SessionSpec::new(theirs.clone(), ours.clone().into(), Role::Passive, listed.clone());
    receiver.open(spec.with(|spec| spec.max_size = 1 << 40));
    let receiver = tokio::spawn(receive(receiver, spools));

    let files = Files::new(folder.path());
    let source = SourceId(1);
    let size = files.sources().add(source, &file)?;
    println!("sends {} ({size} octets)", file.display());
    let mut sender = Driver::with_storage(Limits::default(), seed()?, files);
    let session = sender.open(SessionSpec::new(ours, theirs.into(), Role::Active, listed));
    let body = Source::Fetched { source, size, head: Vec::new() };
    let message = Outgoing::new("thefile", "application/octet-stream", body);
    // The REPORT comes when the receiver has verified and stored it.
    sender.send(session, message.with(|message| message.success_report = true))?;
    let mut told = 0;
    loop {
        match sender.next().await {
            Event::Progress { sent, total, .. } => tell("sent", sent, total, &mut told),
            Event::Reported { .. } => break,
            Event::Failed { why, .. } => return Err(why.into()),
            Event::SessionFailed { why, .. } => return Err(why.into()),
            _ => {}
        }
    }
    println!("the receiver has reported that it has all of it");
    sender.shutdown().await;
    let came = receiver.await??;
    println!("sha-256 of what was sent {expected}\nsha-256 of what came      {came}");
    if came == expected { Ok(()) } else { Err("the hashes differ".into()) }
}

/// Takes one file and returns its hash.
async fn receive(mut driver: Driver, spools: PathBuf) -> Outcome<String> {
    let mut told = 0;
    loop {
        match driver.next().await {
            Event::Receiving { received, total: Some(total), .. } => tell("came", received, total, &mut told),
            Event::Message { receipt, body, .. } => {
                let hash = match body {
                    Body::Spooled { spool, .. } => hash(&Files::path(&spools, spool))?,
                    Body::Inline(octets) => hexadecimal(&Sha256::digest(&octets)),
                };
                driver.settle(receipt, Verdict::Accepted);
                driver.shutdown().await;
                return Ok(hash);
            }
            Event::Incomplete { why, .. } => return Err(why.into()),
            Event::SessionFailed { why, .. } => return Err(why.into()),
            _ => {}
        }
    }
}

/// Tells of each tenth.
fn tell(what: &str, octets: u64, total: u64, told: &mut u64) {
    let tenth = octets.saturating_mul(10).checked_div(total).unwrap_or(0);
    if tenth > *told {
        *told = tenth;
        println!("{what} {octets} of {total} octets");
    }
}

fn numbers(folder: &Path) -> Outcome<PathBuf> {
    let path = folder.join("numbers");
    let mut file = std::io::BufWriter::new(File::create(&path)?);
    for number in 0..1_000_000 {
        writeln!(file, "{number:07}")?;
    }
    file.flush()?;
    Ok(path)
}

fn hash(path: &Path) -> Outcome<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hexadecimal(&hash.finalize()))
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn seed() -> Outcome<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| why.to_string())?;
    Ok(seed)
}
