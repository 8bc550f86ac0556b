//! Files between programs: large ones in little memory, and ones that are killed in the middle.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Setup};
use crate::harness::Folder;

const WAIT: Duration = Duration::from_secs(60);

/// Two agents, each of which is the other's proxy, so that each can call the other when it comes back.
struct Two {
    folder: Folder,
    alice: Setup,
    bob: Setup,
}

impl Two {
    fn new(name: &str, accept: &'static str) -> Two {
        let folder = Folder::new(name);
        let config = folder.write("files.toml", "auto_accept_file = 1000000000\n").display().to_string();
        let (mut alice, mut bob) = (Setup::new(&folder, "alice", accept), Setup::new(&folder, "bob", accept));
        let proxy = |to: &Setup| format!("tcp:{}:{}", to.host, to.sip);
        let (to_alice, to_bob) = (proxy(&alice), proxy(&bob));
        alice.more = ["--proxy", &to_bob, "--config", &config].map(str::to_owned).to_vec();
        bob.more = ["--proxy", &to_alice, "--config", &config].map(str::to_owned).to_vec();
        Two { folder, alice, bob }
    }

    /// A file of so many octets, each 8 of which are different.
    fn file(&self, name: &str, octets: u64) -> PathBuf {
        let path = self.folder.join(name);
        let whole: Vec<u8> =
            (0..octets / 8).flat_map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes()).collect();
        fs::write(&path, whole).expect("a file");
        path
    }
}

fn push(from: &mut Agent, to: &Setup, path: &Path) {
    from.tell(&json!({"do": "send_files", "to": to.address, "paths": [path]}));
}

/// What `parlour files` shows.
fn listed(data: &Path) -> Vec<Value> {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_parlour"))
        .args(["files", "--json", "--data"])
        .arg(data)
        .output()
        .expect("parlour runs");
    let text = String::from_utf8(out.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until the one file there is in this state.
#[track_caller]
fn await_state(data: &Path, state: &str) -> Value {
    let until = Instant::now() + WAIT;
    loop {
        let rows = listed(data);
        if let [row] = rows.as_slice()
            && row["state"] == state
        {
            return row.clone();
        }
        assert!(Instant::now() < until, "not {state}: {rows:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn until(limit: Duration, so: impl Fn() -> bool, what: impl Fn() -> String) {
    let until = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < until, "{}", what());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Octets of memory that a file may take, however large it is.
const MORE: u64 = 32 << 20;

/// Octets in memory at most, so far.
fn peak(agent: &mut Agent) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", agent.program.child().id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

//= IM F-14 test
//= IM D-43 test
#[test]
#[ignore = "moves 300 MB between two programs: run ./check"]
fn a_large_file_takes_little_memory_while_a_chat_goes_on() {
    let two = Two::new("large-file", "all");
    let path = two.file("large.dat", 300_000_000);
    let mut bob = two.bob.start(&two.folder, "bob");
    let mut alice = two.alice.start(&two.folder, "alice");
    alice.tell(&json!({"do": "invite", "to": two.bob.address}));
    let chat = alice.await_event("connected", WAIT)["session"].clone();
    bob.await_event("connected", WAIT);
    let idle = [peak(&mut alice), peak(&mut bob)];
    push(&mut alice, &two.bob, &path);
    alice.await_such("file", WAIT, |event| event["state"] == "moved");
    let mut said = 0;
    loop {
        let id = format!("while{said}");
        alice.tell(&json!({"do": "say", "session": chat, "message_id": id, "text": "still here?"}));
        let mut over = false;
        alice.await_such("progress", WAIT, |event| {
            event["message_id"] == id && event["state"] == "acknowledged"
        });
        over |= alice.seen.iter().any(|event| event["type"] == "file" && event["state"] == "done");
        said += 1;
        if over {
            break;
        }
    }
    let done = bob.await_such("file", WAIT, |event| event["state"] == "done");
    let kept = done["path"].as_str().expect("a path").to_owned();
    assert!(
        fs::read(&kept).expect("it is there") == fs::read(&path).expect("it is there"),
        "the same octets"
    );
    assert!(said > 3, "the chat waited for the file: {said} messages");
    for ((name, agent), idle) in [("alice", &mut alice), ("bob", &mut bob)].into_iter().zip(idle) {
        let more = peak(agent) - idle;
        assert!(more < MORE, "{name} took {more} octets more than the {idle} of a chat");
    }
    assert_eq!(listed(&two.bob.data)[0]["state"], "done");
    assert_eq!(listed(&two.alice.data)[0]["state"], "done");
    alice.quit();
    bob.quit();
}

/// Octets that a transfer leaves out.
fn skipped(agent: &Agent) -> Vec<u64> {
    let begun = agent.seen.iter().filter(|event| event["type"] == "file" && event["state"] == "begun");
    begun.map(|event| event["about"]["skip"].as_u64().unwrap_or(0)).collect()
}

const CHECKPOINT: u64 = 8 * 1024 * 1024;

/// Somebody is killed in the middle, and comes back.
fn killed(sender: bool) {
    let two = Two::new(if sender { "killed-sender" } else { "killed-receiver" }, "all");
    let path = two.file("f.dat", 120_000_000);
    let mut bob = two.bob.start(&two.folder, "bob");
    let mut alice = two.alice.start(&two.folder, "alice");
    push(&mut alice, &two.bob, &path);
    let victim = if sender { &mut alice } else { &mut bob };
    victim.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(60_000_000));
    victim.kill();
    // What has passed the other one has seen.
    let survivor = if sender { &mut bob } else { &mut alice };
    while survivor.next(Duration::from_millis(500)).is_some() {}
    let there = survivor.seen.iter().filter_map(|event| event["octets"].as_u64()).max().expect("a number");
    if sender {
        alice = two.alice.start(&two.folder, "alice");
        alice.await_such("file", WAIT, |event| event["state"] == "begun");
    } else {
        bob = two.bob.start(&two.folder, "bob");
    }
    let done = bob.await_such("file", WAIT, |event| event["state"] == "done");
    let kept = done["path"].as_str().expect("a path").to_owned();
    assert!(
        fs::read(&kept).expect("it is there") == fs::read(&path).expect("it is there"),
        "the same octets"
    );
    let skip = skipped(if sender { &alice } else { &bob }).last().copied().expect("a second transfer");
    // One checkpoint, and 2 MB between the programs.
    assert!(skip > 0 && skip + CHECKPOINT + 2_000_000 > there, "{skip} of {there} octets were left out");
    let row = await_state(&two.bob.data, "done");
    assert_eq!((row["octets"].as_u64(), row["size"].as_u64()), (Some(120_000_000), Some(120_000_000)));
    await_state(&two.alice.data, "done");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "kills a sender in the middle of a file: run ./check"]
fn a_killed_sender_goes_on_when_it_comes_back() {
    killed(true);
}

//= IM D-43 test
#[test]
#[ignore = "kills a receiver in the middle of a file: run ./check"]
fn a_killed_receiver_goes_on_when_it_comes_back() {
    killed(false);
}

//= IM F-14 test
//= IM D-43 test
#[test]
#[ignore = "starts programs and needs free ports: run ./check"]
fn send_file_says_what_became_of_each_and_only_what_was_shared_is_given() {
    let two = Two::new("send-file", "all");
    let (one, other) = (two.file("one.dat", 8000), two.file("two.sh", 200_000));
    let icon = two.folder.join("icon.png");
    fs::write(&icon, b"\x89PNG\r\n\x1a\nsmall").expect("a picture");
    let mut bob = two.bob.start(&two.folder, "bob");
    let send = |to: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_parlour"))
            .args(["send", "--to", to, "--address", &two.alice.address, "--data"])
            .arg(&two.alice.data)
            .args(["--via", &format!("tcp:{}:{}", two.bob.host, two.bob.sip), "--file"])
            .arg(&one)
            .arg("--file")
            .arg(&other)
            .arg("--icon")
            .arg(&icon)
            .output()
            .expect("parlour runs")
    };
    let sent = send(&two.bob.address);
    let invited = bob.await_event("invited", WAIT);
    let preview = invited["files"][0]["preview"].as_str().expect("a preview");
    assert_eq!(fs::read(preview).expect("a picture"), fs::read(&icon).expect("a picture"));
    assert_eq!(invited["files"][1]["preview"], Value::Null);
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert_eq!(sent.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&sent.stderr));
    assert!(said.contains("has \"one.dat\"") && said.contains("has \"two.sh\""), "{said}");
    let rows = listed(&two.bob.data);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let places: Vec<&str> = rows.iter().filter_map(|row| row["path"].as_str()).collect();
    assert!(places.iter().any(|path| path.ends_with("/files/one.dat")), "{places:?}");
    assert!(
        places.iter().any(|path| path.ends_with("/files/quarantine/two.sh")),
        "a program lies apart: {places:?}"
    );
    // Bob has lost one and asks for it: Alice gives it, by its hash, and nothing else.
    let mut alice = two.alice.start(&two.folder, "alice");
    let sent = listed(&two.alice.data);
    let hash = sent.iter().find(|row| row["name"] == "one.dat").expect("it was sent")["hashes"][0].clone();
    bob.tell(&json!({"do": "fetch_file", "to": two.alice.address, "hash": hash}));
    let wanted = alice.await_event("invited", WAIT);
    assert_eq!(
        (&wanted["asked"], &wanted["files"][0]["direction"]),
        (&json!(false), &json!("out")),
        "{wanted}"
    );
    assert_eq!(wanted["files"][0]["unasked"], "given", "{wanted}");
    assert_eq!(wanted["files"][0]["path"], json!(one.canonicalize().expect("a path")), "{wanted}");
    let done = bob.await_such("file", WAIT, |event| {
        event["state"] == "done" && !places.iter().any(|place| event["path"] == *place)
    });
    assert!(
        fs::read(done["path"].as_str().expect("a path")).expect("it is there") == fs::read(&one).unwrap()
    );
    // Who gave it knows that it is there, and goes on with nothing.
    until(
        WAIT,
        || listed(&two.alice.data).iter().all(|row| row["state"] == "done"),
        || format!("{:#?}", listed(&two.alice.data)),
    );
    let nobody = "sha-1:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
    bob.tell(&json!({"do": "fetch_file", "to": two.alice.address, "hash": nobody}));
    bob.await_such("file", WAIT, |event| event["state"] == "stopped" && event["stop"] == "declined");
    let refused = alice.await_such("invited", WAIT, |event| event["files"][0]["unasked"] == "refused");
    assert_eq!(refused["asked"], false, "{refused}");
    assert!(refused["files"][0]["why"].as_str().is_some_and(|why| why.contains("not shared")), "{refused}");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "kills a receiver in the middle of a file: run ./check"]
fn a_receiver_goes_on_from_another_directory_and_two_files_one_after_the_other() {
    let mut two = Two::new("moved-receiver", "all");
    let paths = [two.file("one.dat", 60_000_000), two.file("two.dat", 60_008_000)];
    // The same store, named from two places.
    let whole = two.bob.data.clone();
    let (here, there) = (two.folder.path().to_owned(), two.folder.join("elsewhere"));
    fs::create_dir(&there).expect("a directory");
    let from = |dir: &Path| ["env", "-C", &dir.display().to_string()].map(str::to_owned).to_vec();
    (two.bob.wrapper, two.bob.data) = (from(&here), PathBuf::from("bob-data"));
    let mut bob = two.bob.start(&two.folder, "bob");
    let mut alice = two.alice.start(&two.folder, "alice");
    alice.tell(&json!({"do": "send_files", "to": two.bob.address, "paths": paths}));
    bob.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(30_000_000));
    bob.kill();
    (two.bob.wrapper, two.bob.data) = (from(&there), PathBuf::from("../bob-data"));
    let mut bob = two.bob.start(&two.folder, "bob");
    for _ in 0..2 {
        let done = bob.await_such("file", WAIT, |event| event["state"] == "done");
        let kept = PathBuf::from(done["path"].as_str().expect("a path"));
        assert!(kept.is_absolute() && kept.starts_with(whole.canonicalize().expect("a directory")), "{done}");
        let name = kept.file_name().expect("a name").to_owned();
        assert!(fs::read(&kept).expect("it is there") == fs::read(here.join(&name)).expect("it is there"));
    }
    let skips = skipped(&bob);
    assert!(skips.iter().all(|skip| *skip > 0), "nothing begins anew: {skips:?}");
    until(
        WAIT,
        || listed(&two.alice.data).iter().all(|row| row["state"] == "done"),
        || format!("{:#?}", listed(&two.alice.data)),
    );
    let left: Vec<_> = fs::read_dir(whole.join("files/.incoming")).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "starts programs and needs free ports: run ./check"]
fn a_file_that_was_taken_back_is_given_to_nobody() {
    let two = Two::new("taken-back", "ask");
    let path = two.file("secret.dat", 80_000);
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    push(&mut alice, &two.bob, &path);
    let invited = bob.await_event("invited", WAIT);
    let hash = invited["files"][0]["hashes"][0].clone();
    let offered = alice.await_such("file", WAIT, |event| event["state"] == "offered");
    alice.tell(&json!({"do": "cancel_file", "file": offered["file"]}));
    bob.await_event("missed", WAIT);
    bob.tell(&json!({"do": "fetch_file", "to": two.alice.address, "hash": hash}));
    bob.await_such("file", WAIT, |event| event["state"] == "stopped" && event["stop"] == "declined");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "starts programs and needs free ports: run ./check"]
fn a_file_that_changes_while_it_is_sent_is_given_up_on_both_sides() {
    use std::io::Write as _;
    let two = Two::new("changing", "all");
    let path = two.file("f.dat", 200_000_000);
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    push(&mut alice, &two.bob, &path);
    alice.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(10_000_000));
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("the file");
    file.write_all(b"more").expect("written");
    let stopped = alice.await_such("file", WAIT, |event| event["state"] == "stopped");
    assert_eq!(stopped["stop"], "failed", "{stopped}");
    assert!(stopped["why"].as_str().is_some_and(|why| why.contains("changed")), "{stopped}");
    let stopped = bob.await_such("file", WAIT, |event| event["state"] == "stopped");
    assert_eq!(stopped["stop"], "aborted", "{stopped}");
    await_state(&two.bob.data, "failed");
    let left: Vec<_> = fs::read_dir(two.bob.data.join("files/.incoming")).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
    alice.quit();
    bob.quit();
}

//= IM X-30 test
#[test]
#[ignore = "starts programs and needs free ports: run ./check"]
fn x_30_what_has_no_room_is_declined_and_damaged_files_count() {
    let two = Two::new("quota", "all");
    let config = "auto_accept_file = 1000000000\nfile_quota = 1000000\nfile_quota_per_peer = 1000000\n";
    fs::write(two.folder.join("files.toml"), config).expect("written");
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    let mut send = |octets: u64| {
        let path = two.file(&format!("{octets}.dat"), octets);
        push(&mut alice, &two.bob, &path);
        let over =
            alice.await_such("file", WAIT, |event| event["state"] == "stopped" || event["state"] == "done");
        over["stop"].as_str().unwrap_or("done").to_owned()
    };
    assert_eq!(send(600_000), "done");
    // Nothing of it is asked for: the invitation is declined.
    assert_eq!(send(400_008), "declined");
    assert_eq!(send(400_000), "done");
    bob.caught_up();
    let begun = bob.seen.iter().filter(|event| event["state"] == "begun").count();
    assert_eq!(begun, 2);
    alice.quit();
    bob.quit();
}

/// `parlour files --resume`, towards the other one: exit code, and what it said.
fn resume(data: &Path, id: &str, to: &Setup) -> (Option<i32>, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_parlour"))
        .args(["files", "--resume", id, "--via", &format!("tcp:{}:{}", to.host, to.sip), "--data"])
        .arg(data)
        .output()
        .expect("parlour runs");
    let said = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&said).into_owned())
}

//= IM D-43 test
#[test]
#[ignore = "stops and kills programs in the middle of files: run ./check"]
fn a_file_of_which_nothing_had_come_goes_on_without_another_question() {
    let two = Two::new("at-nothing", "ask");
    let path = two.file("f.dat", 80_000);
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    push(&mut alice, &two.bob, &path);
    let invited = bob.await_event("invited", WAIT);
    assert_eq!(
        (&invited["asked"], &invited["files"][0]["unasked"]),
        (&json!(true), &Value::Null),
        "{invited}"
    );
    // She remembers it by now. She does not move any more when Bob says yes, and then both are gone.
    alice.await_such("file", WAIT, |event| event["state"] == "offered");
    let stopped = std::process::Command::new("kill")
        .args(["-STOP", &alice.program.child().id().to_string()])
        .status()
        .expect("kill runs");
    assert!(stopped.success());
    bob.tell(&json!({"do": "accept", "session": invited["session"]}));
    bob.await_such("file", WAIT, |event| event["state"] == "begun");
    bob.kill();
    alice.kill();
    assert_eq!(listed(&two.bob.data)[0]["octets"], 0);
    // Bob asks for it in vain; then Alice comes back, and offers it.
    let mut bob = two.bob.start(&two.folder, "bob");
    bob.await_such("file", WAIT, |event| event["state"] == "stopped");
    let alice = two.alice.start(&two.folder, "alice");
    let again = bob.await_event("invited", WAIT);
    assert_eq!(
        (&again["asked"], &again["files"][0]["unasked"]),
        (&json!(false), &json!("goes_on")),
        "{again}"
    );
    let done = bob.await_such("file", WAIT, |event| event["state"] == "done");
    assert!(fs::read(done["path"].as_str().expect("a path")).expect("it") == fs::read(&path).expect("it"));
    let row = await_state(&two.bob.data, "done");
    assert_eq!(row["attempts"].as_array().and_then(|names| names.last()), Some(&done["file"]), "{row}");
    await_state(&two.alice.data, "done");
    let left: Vec<_> = fs::read_dir(two.bob.data.join("files/.incoming")).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "kills programs in the middle of files: run ./check"]
fn a_file_goes_on_by_the_name_of_a_later_attempt() {
    let two = Two::new("by-attempt", "all");
    let path = two.file("f.dat", 200_000_000);
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    push(&mut alice, &two.bob, &path);
    bob.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(20_000_000));
    bob.kill();
    let mut bob = two.bob.start(&two.folder, "bob");
    let begun = bob.await_such("file", WAIT, |event| event["state"] == "begun");
    bob.kill();
    let (name, row) = (begun["file"].as_str().expect("a name"), listed(&two.bob.data).remove(0));
    assert_ne!(row["id"], *name);
    let (code, said) = resume(&two.bob.data, name, &two.alice);
    assert!(code == Some(0) && said.contains("You have \"f.dat\": it lies in "), "{code:?} {said}");
    assert_eq!(listed(&two.bob.data).len(), 1, "it is one file");
    alice.quit();
}

//= IM D-43 test
#[test]
#[ignore = "kills programs in the middle of files: run ./check"]
fn a_person_goes_on_with_a_file_by_hand_in_both_directions() {
    let two = Two::new("by-hand", "all");
    let (one, other) = (two.file("one.dat", 120_000_000), two.file("two.dat", 120_000_008));
    let mut bob = two.bob.start(&two.folder, "bob");
    let mut alice = two.alice.start(&two.folder, "alice");
    push(&mut alice, &two.bob, &one);
    bob.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(50_000_000));
    bob.kill();
    let id = listed(&two.bob.data)[0]["id"].as_str().expect("an id").to_owned();
    let (code, said) = resume(&two.bob.data, &id, &two.alice);
    assert!(code == Some(0) && said.contains("You have \"one.dat\": it lies in "), "{code:?} {said}");
    assert!(fs::read(two.bob.data.join("files/one.dat")).expect("it") == fs::read(&one).expect("it"));
    let rest = |event: &Value| event["state"] == "begun" && event["about"]["skip"].as_u64() > Some(0);
    alice.await_such("file", WAIT, rest);
    // There is nothing to go on with any more, nor ever was of another one.
    let (code, said) = resume(&two.bob.data, &id, &two.alice);
    assert!(code == Some(1) && said.contains("is done: there is nothing to go on with"), "{code:?} {said}");
    let (code, said) = resume(&two.bob.data, "77-1", &two.alice);
    assert!(code == Some(1) && said.contains("there is no file 77-1"), "{code:?} {said}");
    let (code, said) = resume(&two.alice.data, "1-1", &two.bob);
    assert!(code == Some(1) && said.contains("another parlour uses"), "{code:?} {said}");
    alice.quit();

    let mut bob = two.bob.start(&two.folder, "bob");
    let mut send = std::process::Command::new(env!("CARGO_BIN_EXE_parlour"))
        .args(["send", "--to", &two.bob.address, "--address", &two.alice.address, "--data"])
        .arg(&two.alice.data)
        .args(["--via", &format!("tcp:{}:{}", two.bob.host, two.bob.sip), "--file"])
        .arg(&other)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("parlour runs");
    bob.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(50_000_000));
    send.kill().expect("killed");
    send.wait().expect("it has ended");
    let row = listed(&two.alice.data).pop().expect("a row");
    let (code, said) = resume(&two.alice.data, row["id"].as_str().expect("an id"), &two.bob);
    assert!(code == Some(0) && said.contains("has \"two.dat\""), "{code:?} {said}");
    bob.await_such("file", WAIT, rest);
    bob.quit();
}

//= IM G-1b test
#[test]
#[ignore = "starts programs and needs free ports: run ./check"]
fn where_few_descriptors_are_left_an_invitation_is_refused_before_anything_fails() {
    let two = Two::new("descriptors", "all");
    let path = two.file("f.dat", 8000);
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    let pid = bob.program.child().id();
    let limit = |most: usize| {
        // The soft limit alone.
        let args = [format!("--pid={pid}"), format!("--nofile={most}:")];
        assert!(std::process::Command::new("prlimit").args(args).status().expect("prlimit runs").success());
        // It looks once in a second.
        std::thread::sleep(Duration::from_millis(1100));
    };
    push(&mut alice, &two.bob, &path);
    alice.await_such("file", WAIT, |event| event["state"] == "done");
    let used = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count();
    limit(used + 20);
    push(&mut alice, &two.bob, &path);
    let ended = alice.await_such("ended", WAIT, |event| event["end"]["status"] == 480);
    assert!(ended["end"]["retry_after"].as_u64() >= Some(30), "{ended}");
    assert_eq!(ended["end"]["reason"], "Resource limit", "{ended}");
    limit(1024);
    push(&mut alice, &two.bob, &path);
    alice.await_such("file", WAIT, |event| event["state"] == "done");
    alice.quit();
    bob.quit();
}

//= IM D-43 test
#[test]
#[ignore = "kills a sender in the middle of a file: run ./check"]
fn a_file_that_has_changed_since_is_neither_gone_on_with_nor_given() {
    let two = Two::new("changed", "all");
    let (large, small) = (two.file("large.dat", 200_000_000), two.file("small.dat", 8000));
    let (mut alice, mut bob) = (two.alice.start(&two.folder, "alice"), two.bob.start(&two.folder, "bob"));
    push(&mut alice, &two.bob, &small);
    let done = alice.await_such("file", WAIT, |event| event["state"] == "done");
    push(&mut alice, &two.bob, &large);
    bob.await_such("file", WAIT, |event| event["octets"].as_u64() > Some(20_000_000));
    alice.kill();
    for path in [&large, &small] {
        let octets = fs::read(path).expect("the file").len();
        fs::write(path, vec![7; octets]).expect("written");
    }
    let alice = two.alice.start(&two.folder, "alice");
    let of = |id: &str| listed(&two.alice.data).into_iter().find(|row| row["name"] == id).expect("a row");
    until(
        WAIT,
        || of("large.dat")["why"].as_str().is_some_and(|why| why.contains("has changed since")),
        || of("large.dat").to_string(),
    );
    assert_eq!(of("large.dat")["state"], "failed");
    let row = of("small.dat");
    assert_eq!(row["id"], done["file"]);
    bob.tell(&json!({"do": "fetch_file", "to": two.alice.address, "hash": row["hashes"][0]}));
    bob.await_such("file", WAIT, |event| event["state"] == "stopped" && event["stop"] == "declined");
    alice.quit();
    bob.quit();
}
