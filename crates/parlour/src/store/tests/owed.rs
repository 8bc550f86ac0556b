//! What authors are owed, and messages outside any session.

use parlour_proto::event::{Notice, NoticeKind, NoticeStatus, Secured, Voucher};

use super::*;
use crate::pins::{Pinned, Pins};

/// A message whose author is owed two notifications: one at once, and one when the user was shown it.
fn asking(id: &str) -> Job {
    let notice = |name: &str, kind, status| Notice {
        id: format!("{name}-{id}"),
        to: "sip:a@x".into(),
        verified: true,
        recipient: "sip:us@x".into(),
        message_id: id.into(),
        date_time: Some("2026-01-02T03:04:05Z".into()),
        author: Some("sip:a@x".into()),
        original_to: None,
        routes: vec!["<sip:s@x>".into()],
        routed: true,
        in_room: true,
        kind,
        status,
    };
    let mut job = received(id, "sip:a@x", text("hi"));
    if let Job::Event { event: Event { what: What::Message(message), .. }, .. } = &mut job {
        message.notices.push(notice("delivered", NoticeKind::Delivery, NoticeStatus::Delivered));
        message.notices.push(notice("displayed", NoticeKind::Display, NoticeStatus::Displayed));
    }
    // Not so old that nobody wants to hear of it.
    if let Job::Event { time, .. } = &mut job {
        *time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    }
    job
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.notice.id.as_str()).collect()
}

//= IM M-52 test
#[test]
fn what_authors_are_owed_is_kept_with_the_message_until_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = vec![asking("m1"), asking("m2"), asking("m1")];
    let Job::Event { event: Event { what: What::Message(message), .. }, .. } = &jobs[0] else {
        panic!("a message")
    };
    let told = message.notices[0].clone();
    run(dir.path(), jobs);
    let (mut store, mut answers) = Store::open(dir.path()).unwrap();
    let due = store.take_due();
    assert_eq!(names(&due), ["delivered-m1", "delivered-m2"], "the duplicate is owed nothing");
    assert_eq!((&due[0].notice, &*due[0].account), (&told, "sip:us@x"), "as it was written");
    // The user is shown one, by its name in its session, and again; and one by its number.
    let session = Some(SessionName { run: 1, session: SessionId(7) });
    let other = Some(SessionName { run: 1, session: SessionId(8) });
    let named = |session, id: &str| note(Note::Seen(Seen::Named { session, message_id: id.into() }));
    store.submit(vec![named(other, "m1")]);
    outcomes(&mut answers, 1);
    for (job, expected) in
        [(named(session, "m1"), "displayed-m1"), (note(Note::Seen(Seen::Number(2))), "displayed-m2")]
    {
        store.submit(vec![job]);
        let due = loop {
            if let Some(Answer::Due(due)) = answers.blocking_recv() {
                break due;
            }
        };
        assert_eq!(names(&due), [expected]);
    }
    store.submit(vec![named(None, "m1"), note(Note::Settled("delivered-m1".into()))]);
    store.close();
    while let Some(answer) = answers.blocking_recv() {
        assert!(!matches!(answer, Answer::Due(_)), "it was due already");
    }
    // What was not told when the program ended is owed on.
    let (mut store, _answers) = Store::open(dir.path()).unwrap();
    assert_eq!(names(&store.take_due()), ["displayed-m1", "delivered-m2", "displayed-m2"]);
    store.close();
}

//= IM M-52 test
#[test]
fn a_store_that_keeps_nothing_knows_what_waits_for_the_user() {
    let (mut store, mut answers) = Store::nowhere();
    store.submit(vec![asking("m1"), note(Note::Seen(Seen::Number(1))), note(Note::Seen(Seen::Number(1)))]);
    outcomes(&mut answers, 3);
    let Some(Answer::Due(due)) = answers.blocking_recv() else { panic!("something is due") };
    assert_eq!(names(&due), ["displayed-m1"]);
}

//= IM F-5 test
#[test]
fn a_message_outside_any_session_is_durable_with_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let page = |id: &str| {
        let page = Page { message_id: id.into(), content_type: "text/plain".into(), body: b"hi".to_vec() };
        let message = NewPage { from: AccountId(0), to: "sip:a@x;transport=tcp".into(), via: None, page };
        Job::Page { by: By::Echo, time: Duration::from_secs(1), account: "sip:us@x".into(), message }
    };
    let outside = |what| {
        let event = Event { account: AccountId(0), session: None, what };
        Job::Event { time: Duration::from_secs(2), account: "sip:us@x".into(), session: None, event }
    };
    let progress = |id: &str, progress| outside(What::Progress { message_id: id.into(), progress });
    let from = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
    let receipt = What::Receipt { message_id: "p1".into(), from, recipient: None, fate: Fate::Delivered };
    run(dir.path(), vec![page("p1"), page("p2"), progress("p1", Progress::Acknowledged), outside(receipt)]);
    let why = "480 Temporarily Unavailable".to_owned();
    run(dir.path(), vec![page("p3"), progress("p3", Progress::Failed { why: why.clone() })]);
    let mut found = Vec::new();
    let tell = |entry: Entry| {
        let Entry::Message(saying) = entry else { return Ok(()) };
        found.push((saying.state, saying.why, saying.receipt));
        Ok(())
    };
    Reader::open(dir.path()).unwrap().history(Some("sip:a@x"), tell).unwrap();
    let delivered = Some("delivered".to_owned());
    let unsure = found[1].1.clone().unwrap();
    assert!(unsure.starts_with("not confirmed"), "{unsure}");
    assert_eq!(found[0], ("acknowledged".into(), None, delivered));
    assert_eq!(found[2], ("failed".into(), Some(why), None));
}

//= IM X-43 test
#[test]
fn x_43_what_a_peer_has_shown_outlives_the_program() {
    let dir = tempfile::tempdir().expect("a folder");
    let shows = |print: &str| Secured {
        peer: Peer { address: "sip:a@x".into(), display_name: None, verified: true },
        by: Voucher::Fingerprint,
        fingerprint: Some(print.into()),
        protected: false,
    };
    let mut told = Vec::new();
    for (second, print) in (1..).zip(["A", "A", "B", "B", "A"]) {
        let (mut store, _answers) = Store::open(dir.path()).expect("a store");
        let mut pins = Pins::new(store.take_pins());
        let seen = pins.see("sip:us@x", Duration::from_secs(second), &shows(print));
        let (pinned, before) = seen.expect("it is remembered");
        told.extend(before.map(|pin| (second, pin)));
        store.submit(vec![note(Note::Pinned(Box::new(pinned)))]);
        store.close();
    }
    let pin = |print: &str, first, last, confirmed| {
        let (first, last) = (Duration::from_secs(first), Duration::from_secs(last));
        Pin { fingerprint: print.into(), first, last, protected: false, confirmed }
    };
    assert_eq!(told, [(3, pin("A", 1, 2, true))], "once, by what was known before");
    let (mut store, mut answers) = Store::open(dir.path()).expect("the same store");
    let kept = store.take_pins();
    let owner = Owner { account: "sip:us@x".into(), party: "sip:a@x".into(), verified: true };
    let both = [(owner.clone(), pin("A", 1, 5, true)), (owner.clone(), pin("B", 3, 4, false))];
    assert_eq!(kept, both);
    // Who has to go for another one goes from the disk, too.
    let other = Owner { party: "sip:b@x".into(), ..owner.clone() };
    let pins = vec![pin("C", 6, 6, true)];
    let pinned = Pinned { owner: other.clone(), pins, forgotten: Some(owner) };
    store.submit(vec![note(Note::Pinned(Box::new(pinned)))]);
    outcomes(&mut answers, 1);
    store.close();
    let (mut store, _answers) = Store::open(dir.path()).expect("the same store");
    assert_eq!(store.take_pins(), [(other, pin("C", 6, 6, true))]);
    store.close();
}

//= IM M-12 test
#[test]
fn what_a_peer_refused_outlives_the_program() {
    let dir = tempfile::tempdir().expect("a folder");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let refused = |media_type: &str, until| {
        let peer = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
        event(What::TypeRefused { peer, pager: true, wrapped: true, media_type: media_type.into(), until })
    };
    let (mut store, _answers) = Store::open(dir.path()).expect("a store");
    assert!(store.refused().is_empty());
    let late = now.saturating_add(Duration::from_secs(3600));
    store.submit(vec![
        refused("text/plain", late),
        refused("text/html", now.saturating_sub(Duration::from_secs(1))),
    ]);
    store.close();
    let (store, _answers) = Store::open(dir.path()).expect("the same store");
    let [one] = store.refused() else { panic!("{:?}", store.refused()) };
    let expected = (("sip:us@x", "sip:a@x"), (true, true, "text/plain"), late.as_secs());
    assert_eq!(
        (
            (one.account.as_str(), one.peer.as_str()),
            (one.pager, one.wrapped, one.media_type.as_str()),
            one.until.as_secs()
        ),
        expected
    );
    store.close();
}
