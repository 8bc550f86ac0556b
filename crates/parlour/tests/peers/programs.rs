//! What a program that runs `parlour run --json` can rely on when it, or its memory, is gone.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `run --json` on free ports of loopback.
fn start(data: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
    command.args(["run", "--json", "--sip", "udp:127.0.0.1:0", "--msrp", "127.0.0.1:0", "--data"]);
    command.arg(data).args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the agent starts")
}

/// Its exit code; it is ended if it does not end by itself.
fn code(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("its status") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("its end");
    child.wait().expect("its end").code()
}

#[test]
fn an_agent_whose_program_is_gone_leaves_the_data_directory_to_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    for _life in 0..2 {
        let mut agent = start(dir.path(), &["--after", "0"]);
        let mut out = BufReader::new(agent.stdout.take().expect("invariant: piped above"));
        let mut line = String::new();
        out.read_line(&mut line).expect("its first line");
        assert!(line.contains("\"type\":\"ready\""), "{line}");
        // The kernel does the same when the program is killed.
        drop((out, agent.stdin.take()));
        assert_eq!(code(&mut agent), Some(0));
    }
}

#[test]
fn a_number_from_another_store_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut agent = start(dir.path(), &["--after", "7"]);
    assert_eq!(code(&mut agent), Some(1));
    let said =
        std::io::read_to_string(agent.stderr.take().expect("invariant: piped above")).expect("its words");
    assert!(said.contains("--after 7") && said.contains("--data"), "{said}");
}

#[test]
fn the_program_shows_what_it_does_clause_by_clause() {
    // Somewhere without the sources: all that the suite needs is in the program.
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
    let done = command.arg("conformance").current_dir(dir.path()).output().expect("the program runs");
    let (told, complaints) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!((done.status.code(), &*complaints), (Some(0), ""), "{told}");
    assert!(told.contains("\npass       P-4    SHALL   replaces::"), "{told}");
    // Sockets are no matter of virtual time.
    assert!(told.contains("\nelsewhere  X-40   SHALL   crates/parlour/"), "{told}");
    assert!(told.trim_end().ends_with(", 0 failed"), "{told}");
}
