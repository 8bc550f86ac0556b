//! The store by what it promises.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parlour_proto::event::{Ended, Fate, Incoming, Peer, Progress, What};
use parlour_proto::io::{AccountId, Receipt};

use super::*;

mod owed;

pub(super) fn received(id: &str, from: &str, body: Body) -> Job {
    let message = Incoming {
        receipt: Receipt(1),
        message_id: id.into(),
        from: Peer { address: from.into(), display_name: None, verified: false },
        claimed_from: None,
        authors: Vec::new(),
        sent_at: None,
        subject: None,
        notices: Vec::new(),
        expires: None,
        content_type: "text/plain".into(),
        body,
        body_offset: 0,
        parts: Vec::new(),
        renderable: true,
        room: None,
    };
    event(What::Message(message))
}

fn event(what: What) -> Job {
    let session = SessionName { run: 1, session: SessionId(7) };
    let event = Event { account: AccountId(0), session: Some(session.session), what };
    Job::Event { time: Duration::from_secs(1), account: "sip:us@x".into(), session: Some(session), event }
}

pub(super) fn text(text: &str) -> Body {
    Body::Inline(text.as_bytes().to_vec())
}

fn say(id: &str) -> Job {
    say_this(id, OwnBody::Inline(b"hi".to_vec()))
}

fn say_this(id: &str, body: OwnBody) -> Job {
    let session = SessionName { run: 1, session: SessionId(7) };
    let message = NewMessage {
        session: session.session,
        message_id: id.into(),
        content_type: "text/plain".into(),
        body,
        to: None,
    };
    let time = Duration::from_secs(1);
    Job::Say { by: By::Echo, time, account: "sip:us@x".into(), session, peer: "sip:a@x".into(), message }
}

/// The outcomes of jobs, and the spool progress on the way.
fn outcomes(answers: &mut UnboundedReceiver<Answer>, count: usize) -> Vec<Result<Kept, StoreFault>> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        match answers.blocking_recv().expect("the store lives") {
            Answer::Done(done) => outcomes.extend(done.into_iter().map(|done| done.outcome)),
            Answer::Spooled { .. } | Answer::Fetched { .. } | Answer::Due(_) | Answer::File(_) => {}
        }
    }
    outcomes
}

/// Up to where the next answer says that a spool is written.
fn spooled(answers: &mut UnboundedReceiver<Answer>) -> u64 {
    match answers.blocking_recv() {
        Some(Answer::Spooled { upto, .. }) => upto,
        other => panic!("{other:?}"),
    }
}

fn fetched(
    store: &Store,
    answers: &mut UnboundedReceiver<Answer>,
    source: SourceId,
    offset: u64,
    length: usize,
) -> Vec<u8> {
    store.fetch(source, offset, length);
    loop {
        if let Some(Answer::Fetched { offset: at, bytes, .. }) = answers.blocking_recv() {
            assert_eq!(at, offset);
            return bytes;
        }
    }
}

fn run(dir: &Path, jobs: Vec<Job>) -> Vec<Result<Kept, StoreFault>> {
    let (mut store, mut answers) = Store::open(dir).unwrap();
    let count = jobs.len();
    store.submit(jobs);
    let outcomes = outcomes(&mut answers, count);
    store.close();
    outcomes
}

fn fresh(seq: u64) -> Result<Kept, StoreFault> {
    Ok(Kept { seq, stored: Stored::Fresh })
}

fn history(dir: &Path, with: Option<&str>) -> Vec<(String, String, Option<String>)> {
    let mut all = Vec::new();
    let tell = |entry: Entry| {
        let Entry::Message(saying) = entry else { return Ok(()) };
        let body = saying.row.body.map(|body| String::from_utf8(body.octets).unwrap()).unwrap_or_default();
        all.push((body, saying.state, saying.why));
        Ok(())
    };
    Reader::open(dir).unwrap().history(with, tell).unwrap();
    all
}

#[test]
fn the_same_message_again_is_a_duplicate_within_and_across_runs() {
    let dir = tempfile::tempdir().unwrap();
    let jobs =
        || vec![received("m1", "sip:a@x", text("one")), received("m1", "sip:a@X;user=ip", text("one"))];
    let other = received("m1", "sip:b@x", text("two"));
    let duplicate = |seq| Ok(Kept { seq, stored: Stored::Duplicate });
    assert_eq!(run(dir.path(), jobs()), [fresh(1), duplicate(1)]);
    assert_eq!(
        run(dir.path(), jobs().into_iter().chain([other]).collect()),
        [duplicate(1), duplicate(1), fresh(2)]
    );
    assert_eq!(history(dir.path(), Some("sip:a@x")).len(), 1);
}

#[test]
fn only_its_owner_reads_the_store_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    store.submit(vec![received("m1", "sip:a@x", text("one"))]);
    outcomes(&mut answers, 1);
    for name in ["parlour.db", "parlour.db-wal", "parlour.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

//= IM G-4u test
#[test]
fn what_was_said_in_a_conference_is_found_by_its_identity() {
    let established = |session_identity: &str, conference| {
        let peer = Peer { address: "sip:focus@x".into(), display_name: None, verified: false };
        event(What::Established { peer, session_identity: session_identity.into(), conference })
    };
    let told = "<sip:chat%2D1@x;session=Ab%2F1>;isfocus";
    let said = || vec![received("m1", "sip:a@x", text("one")), received("m2", "sip:b@x", text("two"))];
    let found = |identity, conference, with| {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), [established(identity, conference)].into_iter().chain(said()).collect());
        history(dir.path(), Some(with)).len()
    };
    assert_eq!(found(told, true, "sip:chat%2D1@x;session=Ab%2F1"), 2);
    assert_eq!(found(told, true, told), 2, "as it was told");
    assert_eq!(found("sip:chat@x", true, "sip:chat@x"), 2);
    assert_eq!(found(told, true, "sip:chat%2D1@x"), 0, "another conference of the same host");
    assert_eq!(found("<sip:a@x>", false, "sip:a@x"), 1, "the place where a peer is names no conversation");
}

#[test]
fn another_message_under_a_used_identifier_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let said = |words: &str| received("1", "sip:a@x", text(words));
    let duplicate = |seq| Ok(Kept { seq, stored: Stored::Duplicate });
    let jobs = vec![said("one"), said("two"), said("one"), said("two"), said("three")];
    assert_eq!(run(dir.path(), jobs), [fresh(1), fresh(2), duplicate(2), duplicate(2), fresh(3)]);
    assert_eq!(run(dir.path(), vec![said("three")]), [duplicate(3)]);
    assert_eq!(history(dir.path(), Some("sip:a@x")).len(), 3);
}

#[test]
fn numbers_have_no_gaps_and_all_after_a_number_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes = run(
        dir.path(),
        vec![event(What::Connected), received("m1", "sip:a@x", text("x")), say("s1"), event(What::Ringing)],
    );
    // The fifth tells that the first run did not learn what became of its message.
    assert_eq!(outcomes, [fresh(1), fresh(2), fresh(3), fresh(4)]);
    assert_eq!(run(dir.path(), vec![event(What::Ringing)]), [fresh(6)]);
    let rows = Reader::open(dir.path()).unwrap().since(1, 4).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.seq, row.kind.as_str())).collect();
    assert_eq!(told, [(2, "message"), (3, "message"), (4, "ringing")]);
    assert_eq!(rows[0].session.as_deref(), Some("1-7"));
}

#[test]
fn a_message_of_ours_has_a_state_and_what_a_killed_run_left_open_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let progress = |id: &str, progress| event(What::Progress { message_id: id.into(), progress });
    run(
        dir.path(),
        vec![
            say("s1"),
            say("s2"),
            say("s3"),
            say("s4"),
            progress("s1", Progress::Acknowledged),
            progress("s2", Progress::Failed { why: "481".into() }),
            progress("s3", Progress::Sent),
        ],
    );
    run(dir.path(), vec![]);
    let states: Vec<_> = history(dir.path(), None).into_iter().map(|(_, state, why)| (state, why)).collect();
    assert_eq!(states[0], ("acknowledged".into(), None));
    assert_eq!(states[1], ("failed".into(), Some("481".into())));
    assert_eq!(states[2].0, "failed");
    assert!(states[2].1.as_ref().unwrap().starts_with("not confirmed"), "it may have arrived");
    assert!(states[3].1.as_ref().unwrap().starts_with("not confirmed"));
    // A program that reads on from where it was learns it, once.
    run(dir.path(), vec![]);
    let mut told = Vec::new();
    for row in Reader::open(dir.path()).unwrap().since(7, 99).unwrap() {
        told.push((row.seq, row.kind, row.json));
    }
    let [(8, first, unsure), (9, second, unsent)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("progress", "progress"));
    assert!(unsure.contains("\"s3\"") && unsure.contains("failed") && unsent.contains("\"s4\""), "{told:?}");
}

//= IM P-10 test
//= IM M-52 test
#[test]
fn what_a_recipient_tells_is_kept_once_and_never_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = |id: &str, from: &str, fate| {
        let from = Peer { address: from.into(), display_name: None, verified: false };
        event(What::Receipt { message_id: id.into(), from, recipient: None, fate })
    };
    let jobs = vec![
        say("m1m1"),
        receipt("m1m1", "sip:mallory@x", Fate::Displayed),
        receipt("none", "sip:a@x", Fate::Delivered),
        receipt("m1m1", "sip:a@x", Fate::Delivered),
        receipt("m1m1", "sip:a@x", Fate::Failed),
        receipt("m1m1", "sip:a@x;transport=tcp", Fate::Displayed),
        receipt("m1m1", "sip:a@x", Fate::Displayed),
        receipt("m1m1", "sip:a@x", Fate::Delivered),
    ];
    let news = run(dir.path(), jobs).into_iter().map(|kept| kept.unwrap().stored == Stored::Fresh);
    assert_eq!(news.collect::<Vec<_>>(), [true, false, false, true, false, true, false, false]);
    let mut told = Vec::new();
    let tell = |entry| {
        if let Entry::Message(saying) = entry {
            told.push(saying.receipt);
        }
        Ok(())
    };
    Reader::open(dir.path()).unwrap().history(None, tell).unwrap();
    assert_eq!(told, [Some("displayed".to_owned())]);
}

//= IM M-52 test
#[test]
fn what_each_of_many_recipients_tells_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = |recipient: &str, fate| {
        let from = Peer { address: "sip:a@x".into(), display_name: None, verified: false };
        let recipient = Some(recipient.to_owned());
        event(What::Receipt { message_id: "m1m1".into(), from, recipient, fate })
    };
    let mut jobs = vec![
        say("m1m1"),
        receipt("sip:bob@x", Fate::Delivered),
        receipt("sip:carol@x", Fate::Displayed),
        receipt("sip:bob@x", Fate::Delivered),
        receipt("sip:bob@x", Fate::Displayed),
        receipt("sip:carol@x", Fate::Delivered),
    ];
    jobs.extend((0..300).map(|number| receipt(&format!("sip:{number}@x"), Fate::Delivered)));
    let news = run(dir.path(), jobs).into_iter().map(|kept| kept.unwrap().stored == Stored::Fresh);
    let news: Vec<bool> = news.collect();
    assert_eq!(news[..6], [true, true, true, false, true, false]);
    assert_eq!(news[6..].iter().filter(|told| **told).count(), 254, "of so many, and no more");
}

#[test]
fn a_message_that_moves_is_not_failed_and_its_progress_is_told_by_the_other_session() {
    let dir = tempfile::tempdir().unwrap();
    let progress = |id: &str, progress| What::Progress { message_id: id.into(), progress };
    let there = |what: What| {
        let session = SessionName { run: 1, session: SessionId(8) };
        let event = Event { account: AccountId(0), session: Some(session.session), what };
        Job::Event { time: Duration::from_secs(2), account: "sip:us@x".into(), session: Some(session), event }
    };
    let moved = |id: &str| event(What::Moved { message_id: id.into(), to: SessionId(8) });
    let lost = || Progress::Failed { why: "late".into() };
    run(
        dir.path(),
        vec![
            say("s1"),
            say("s2"),
            say("s3"),
            event(progress("s1", Progress::Sent)),
            event(progress("s3", Progress::Acknowledged)),
            moved("s1"),
            moved("s2"),
            moved("s3"),
            // What the old session still says of them counts no more.
            event(progress("s1", lost())),
            there(progress("s1", Progress::Acknowledged)),
            there(progress("s2", Progress::Sent)),
            there(progress("s3", lost())),
        ],
    );
    let states: Vec<_> = history(dir.path(), None).into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, ["acknowledged", "sent", "acknowledged"]);
}

#[test]
fn a_large_message_lies_in_a_private_file_whose_octets_are_where_they_belong() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let spool = SpoolId(4);
    for (offset, bytes) in [(4, b"5678".to_vec()), (0, b"1234".to_vec())] {
        store.spool(SpoolJob::Write { bulk: Bulk::Received(spool), offset, bytes });
    }
    // What waited together may be told together.
    while spooled(&mut answers) != 8 {}
    store.submit(vec![received(
        "big",
        "sip:a@x",
        Body::Spooled { spool, size: 8, head: b"12345678".to_vec() },
    )]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(1)]);
    let file = store.file(Bulk::Received(spool)).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"12345678");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let row = Reader::open(dir.path()).unwrap().since(0, 9).unwrap().remove(0);
    assert_eq!(row.body.unwrap().file, Some(file));
    store.close();
}

#[test]
fn a_spool_that_cannot_be_written_refuses_its_message_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let never_written = Body::Spooled { spool: SpoolId(9), size: 8, head: Vec::new() };
    store.submit(vec![received("big", "sip:a@x", never_written), received("small", "sip:a@x", text("x"))]);
    let outcomes = outcomes(&mut answers, 2);
    assert!(outcomes.contains(&Err(StoreFault::Broken)) && outcomes.contains(&fresh(1)), "{outcomes:?}");
    store.close();
}

#[test]
fn a_spool_beyond_some_checkpoints_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let (spool, piece) = (SpoolId(4), 1 << 20);
    let octets: Vec<u8> = (0..40_u8).flat_map(|n| vec![n; piece]).collect();
    for (n, bytes) in octets.chunks(piece).enumerate() {
        store.spool(SpoolJob::Write {
            bulk: Bulk::Received(spool),
            offset: (n * piece) as u64,
            bytes: bytes.to_vec(),
        });
    }
    let size = octets.len() as u64;
    store.submit(vec![received("big", "sip:a@x", Body::Spooled { spool, size, head: Vec::new() })]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(1)]);
    assert!(fs::read(store.file(Bulk::Received(spool)).unwrap()).unwrap() == octets);
    store.close();
}

#[test]
fn an_unwanted_spool_goes_whether_it_is_whole_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    for spool in [SpoolId(1), SpoolId(2)] {
        store.spool(SpoolJob::Write { bulk: Bulk::Received(spool), offset: 0, bytes: b"1234".to_vec() });
    }
    let body = Body::Spooled { spool: SpoolId(2), size: 4, head: Vec::new() };
    store.submit(vec![received("big", "sip:a@x", body)]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(1)]);
    for spool in [SpoolId(1), SpoolId(2)] {
        store.spool(SpoolJob::Discard { bulk: Bulk::Received(spool) });
    }
    store.close();
    assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_run_did_not_acknowledge_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let spool = SpoolId(4);
    store.spool(SpoolJob::Write { bulk: Bulk::Received(spool), offset: 0, bytes: b"1234".to_vec() });
    let body = Body::Spooled { spool, size: 4, head: Vec::new() };
    store.submit(vec![received("big", "sip:a@x", body)]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(1)]);
    store.close();
    let spools = dir.path().join("spool");
    // Whole but without a row; not whole; and two that are none of ours.
    for name in ["1-5", "1-6.part", "notes.txt", "1-x"] {
        fs::write(spools.join(name), "x").unwrap();
    }
    let (store, _answers) = Store::open(dir.path()).unwrap();
    store.close();
    let mut names: Vec<_> = fs::read_dir(spools)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["1-4", "1-x", "notes.txt"]);
}

#[test]
fn a_large_message_of_ours_is_durable_in_a_file_and_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let octets: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let body = store.stow(OwnBody::Inline(octets.clone()));
    let OwnBody::Kept(source, 300_000) = body else { panic!("{body:?}") };
    store.submit(vec![say_this("s1", body)]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(1)]);
    let file = store.file(Bulk::Ours(source)).unwrap();
    assert!(fs::read(&file).unwrap() == octets);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fetched(&store, &mut answers, source, 200_000, 60_000) == octets[200_000..260_000]);
    assert!(fetched(&store, &mut answers, source, 299_999, 2).is_empty());
    store.close();
    // Another run keeps it, since its row is there, and numbers its own anew.
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let row = Reader::open(dir.path()).unwrap().since(0, 9).unwrap().remove(0);
    assert_eq!(row.body.unwrap().file, Some(file.clone()));
    assert!(row.json.contains("300000"), "{}", row.json);
    assert!(file.exists());
    let body = store.stow(OwnBody::Inline(vec![0; 300_000]));
    store.submit(vec![say_this("s2", body)]);
    assert_eq!(outcomes(&mut answers, 1), [fresh(3)]);
    fs::remove_file(store.file(Bulk::Ours(source)).unwrap()).unwrap();
    assert!(fetched(&store, &mut answers, source, 0, 60_000).is_empty());
    store.close();
}

#[test]
fn what_is_said_after_a_large_message_stays_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let mut ids = Vec::new();
    for round in 0..20 {
        let large = store.stow(OwnBody::Inline(vec![b'x'; 100_000]));
        let (a, b, c) = (format!("a{round}"), format!("b{round}"), format!("c{round}"));
        store.submit(vec![say_this(&a, large), say(&b)]);
        store.submit(vec![say(&c)]);
        ids.extend([a, b, c]);
    }
    let mut told = Vec::new();
    while told.len() < ids.len() {
        if let Some(Answer::Done(done)) = answers.blocking_recv() {
            told.extend(done.into_iter().map(|done| match done.job {
                Job::Say { message, .. } => message.message_id,
                Job::Event { .. } | Job::Page { .. } | Job::Note { .. } => panic!("nothing happened"),
            }));
        }
    }
    assert_eq!(told, ids);
    store.close();
}

#[test]
fn only_one_process_writes_and_anybody_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _answers) = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenFault::Locked { .. })));
    assert!(Reader::open(dir.path()).is_ok());
    store.close();
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = sqlite::Database::open(&database_file(dir.path()), Room::any()).unwrap();
    database.limit_pages(Some(0));
    let big = "x".repeat(1_000_000);
    let refused = database.commit(vec![received("m1", "sip:a@x", text(&big)), event(What::Ringing)]);
    assert!(refused.iter().all(|done| done.outcome == Err(StoreFault::Full)), "{refused:?}");
    database.limit_pages(None);
    let kept = database.commit(vec![received("m1", "sip:a@x", text(&big))]);
    assert_eq!(kept[0].outcome, fresh(1));
}

#[test]
fn below_half_of_the_reserve_nothing_is_taken_that_peers_say_and_the_rest_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(50));
    let look = free.clone();
    let room = Room::pretend(move || Some(look.load(Ordering::Relaxed)), 100);
    let mut database = sqlite::Database::open(&database_file(dir.path()), room).unwrap();
    let mut commit = |message_id| {
        let jobs = vec![event(What::Ringing), received(message_id, "sip:a@x", text("hi")), say("s")];
        database.commit(jobs).into_iter().map(|done| done.outcome).collect::<Vec<_>>()
    };
    assert_eq!(commit("m1"), [fresh(1), fresh(2), fresh(3)], "small messages have the other half");
    free.store(49, Ordering::Relaxed);
    assert_eq!(commit("m2"), [fresh(4), Err(StoreFault::Full), fresh(5)], "and no number is left out");
    free.store(1000, Ordering::Relaxed);
    assert_eq!(commit("m2"), [fresh(6), fresh(7), fresh(8)]);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), vec![]);
    let connection = rusqlite::Connection::open(database_file(dir.path())).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Store::open(dir.path()), Err(OpenFault::Newer { found: 99, .. })));
}

#[test]
fn a_store_that_keeps_nothing_answers_at_once_and_counts() {
    let (mut store, mut answers) = Store::nowhere();
    store.submit(vec![event(What::Ringing), say("s1")]);
    assert_eq!(outcomes(&mut answers, 2), [fresh(1), fresh(2)]);
    // It knows what came a moment ago all the same.
    let came = || received("m1", "sip:a@x", text("one"));
    store.submit(vec![came(), came(), say("s2")]);
    let again = Ok(Kept { seq: 3, stored: Stored::Duplicate });
    assert_eq!(outcomes(&mut answers, 3), [fresh(3), again, fresh(4)]);
}

//= IM R-40 test
#[test]
fn a_device_keeps_its_instance_and_no_other_has_it() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let instance = |dir: &Path| {
        let (store, _answers) = Store::open(dir).unwrap();
        let instance = store.instance().unwrap();
        store.close();
        instance
    };
    let first = instance(one.path());
    assert_eq!(first, instance(one.path()));
    assert_ne!(first, instance(other.path()));
    assert!(first.starts_with("urn:uuid:") && first.len() == 45 && first.as_bytes()[23] == b'4', "{first}");
}

fn note(note: Note) -> Job {
    Job::Note { by: None, note }
}

fn missed(from: &str, status: u16) -> Job {
    let peer = Peer { address: from.into(), display_name: None, verified: false };
    let what = What::Missed { peer, why: Ended::Declined { status } };
    let event = Event { account: AccountId(0), session: None, what };
    Job::Event { time: Duration::from_secs(1), account: "sip:us@x".into(), session: None, event }
}

#[test]
fn who_is_blocked_stays_so_across_runs_until_unblocked() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = |address: &str, verified| Blocked { address: address.into(), verified };
    let block = |address: &str, verified| note(Note::Block(blocked(address, verified)));
    let jobs = vec![block("sip:eve@x", true), block("sip:eve@X;user=ip", false), block("sip:bob@x", false)];
    let outcomes = run(dir.path(), jobs);
    assert!(outcomes.iter().all(Result::is_ok));
    let list = || Store::open(dir.path()).unwrap().0.blocked().to_vec();
    assert_eq!(
        list(),
        [blocked("sip:eve@x", true), blocked("sip:eve@X;user=ip", false), blocked("sip:bob@x", false)]
    );
    run(dir.path(), vec![note(Note::Unblock("sips:eve@x".into()))]);
    assert_eq!(list(), [blocked("sip:bob@x", false)]);
}

#[test]
fn notes_take_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes =
        run(dir.path(), vec![missed("sip:a@x", 486), note(Note::Looked(1)), missed("sip:b@x", 480)]);
    let numbers: Vec<u64> = outcomes.iter().map(|kept| kept.as_ref().unwrap().seq).collect();
    assert_eq!(numbers, [1, 1, 2]);
}

#[test]
fn what_is_read_at_once_is_bounded_and_all_of_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = (0..100).map(|number| received(&format!("m{number}"), "sip:a@x", text(&"x".repeat(60_000))));
    run(dir.path(), jobs.collect());
    let reader = Reader::open(dir.path()).unwrap();
    let (mut last, mut pages) = (0, Vec::new());
    loop {
        let page = reader.since(last, u64::MAX).unwrap();
        let Some(row) = page.last() else { break };
        last = row.seq;
        pages.push(page.len());
    }
    assert_eq!(pages, [70, 30], "4 MiB, and the rest");
}

#[test]
fn a_store_of_an_older_program_has_a_history_too() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), vec![received("m1", "sip:a@x", text("hi"))]);
    let older = rusqlite::Connection::open(super::database_file(dir.path())).unwrap();
    older.execute("ALTER TABLE messages DROP COLUMN receipt", []).unwrap();
    let mut came = Vec::new();
    let tell = |entry: Entry| {
        let Entry::Message(saying) = entry else { panic!("{entry:?}") };
        came.push((saying.row.seq, saying.receipt));
        Ok(())
    };
    Reader::open(dir.path()).unwrap().history(None, tell).unwrap();
    assert_eq!(came, [(1, None)]);
}

//= IM R-2 test
#[test]
fn missed_invitations_wait_until_they_are_looked_at_and_stay_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    run(
        dir.path(),
        vec![missed("sip:a@x", 486), received("m1", "sip:b@x", text("hi")), missed("sip:b@x", 480)],
    );
    let waiting = || -> Vec<String> {
        let missed = Reader::open(dir.path()).unwrap().missed().unwrap();
        missed.iter().map(|row| row.peer().address).collect()
    };
    let notice = || crate::line::missed_notice(&Reader::open(dir.path()).unwrap());
    assert_eq!(waiting(), ["sip:a@x", "sip:b@x"]);
    assert_eq!(notice().as_deref(), Some("2 missed invitations: type missed to see them"));
    run(dir.path(), vec![note(Note::Looked(3))]);
    assert_eq!(waiting(), [""; 0]);
    assert_eq!(notice(), None);
    // What the user declined himself, or took on another device, is seen to.
    let peer = || Peer { address: "sip:d@x".into(), display_name: None, verified: false };
    let declined = event(What::Missed { peer: peer(), why: Ended::Declined { status: 603 } });
    let elsewhere = event(What::Missed { peer: peer(), why: Ended::Cancelled { elsewhere: true } });
    run(dir.path(), vec![missed("sip:c@x", 480), declined, elsewhere]);
    assert_eq!(waiting(), ["sip:c@x"]);
    let entries = |with| {
        let mut entries = Vec::new();
        let tell = |entry: Entry| {
            entries.push(matches!(entry, Entry::Missed(_)));
            Ok(())
        };
        Reader::open(dir.path()).unwrap().history(with, tell).unwrap();
        entries
    };
    assert_eq!(entries(None), [true, false, true, true, true, true]);
    assert_eq!(entries(Some("sip:b@x")), [false, true]);
}

#[test]
fn the_paths_of_the_last_invitations_are_kept_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |id: u64, call_id: Option<&str>, session: Option<&str>| Decided {
        id,
        time: Duration::from_secs(id),
        account: "sip:us@x".into(),
        session: session.map(str::to_owned),
        call_id: call_id.map(str::to_owned),
        decisions: vec![Decision {
            time: 1,
            clause: "G-1".into(),
            decision: format!("answered {id}"),
            input: "x".into(),
        }],
    };
    let many = (1..=1500).map(|id| path(id, Some(&format!("call-{id}")), None)).collect();
    run(dir.path(), vec![note(Note::Paths(many))]);
    // A path that goes on is written again.
    let last = [path(1500, Some("call-1500"), Some("1-7")), path(1501, None, Some("1-8"))];
    run(dir.path(), vec![note(Note::Paths(last.to_vec()))]);
    let found = |which| Reader::open(dir.path()).unwrap().paths(which).unwrap();
    assert_eq!(found(None), last[..1], "the last that came to us");
    assert_eq!(found(Some("1-8")), last[1..]);
    assert_eq!(found(Some("1-7")), last[..1]);
    assert_eq!(found(Some("call-600")).len(), 1);
    assert_eq!(found(Some("call-501")), [], "1,000 are kept");
    assert_eq!(Store::open(dir.path()).unwrap().0.last_path(), 1501);
}
