//! Replays the committed corpora of all fuzz targets.

#![expect(clippy::disallowed_methods, reason = "a corpus lies in files")]

use std::path::{Path, PathBuf};

/// Runs a target on every file of its corpus; a failure names the file.
#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for file in files {
        let octets = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let outcome = std::panic::catch_unwind(|| run(&octets));
        assert!(outcome.is_ok(), "{} fails", file.display());
    }
}

#[test]
fn sip_message() {
    replay("sip_message", parlour_proto::sip::fuzzing::sip_message);
}

#[test]
fn sip_stream() {
    replay("sip_stream", parlour_proto::sip::fuzzing::sip_stream);
}

#[test]
fn identity() {
    replay("identity", parlour_proto::sip::fuzzing::identity);
}

#[test]
fn sdp() {
    replay("sdp", parlour_proto::sdp::fuzzing::sdp);
}

#[test]
fn cpim() {
    replay("cpim", parlour_proto::mime::fuzzing::cpim);
}

#[test]
fn composing() {
    replay("composing", parlour_proto::mime::fuzzing::composing);
}

#[test]
fn conference_info() {
    replay("conference_info", parlour_proto::mime::fuzzing::conference_info);
}

#[test]
fn imdn() {
    replay("imdn", parlour_proto::mime::fuzzing::imdn);
}

#[test]
fn multipart() {
    replay("multipart", parlour_proto::mime::fuzzing::multipart);
}

#[test]
fn content() {
    replay("content", parlour_proto::mime::fuzzing::content);
}

#[test]
fn msrp_stream() {
    replay("msrp_stream", parlour_msrp::fuzzing::fuzz_stream);
}

#[test]
fn scenario() {
    replay("scenario", parlour_sim::fuzzing::scenario);
}

#[test]
fn websocket() {
    replay("websocket", parlour_msrp::fuzzing::fuzz_websocket);
}
