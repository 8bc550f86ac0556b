//! application/conference-info+xml: the examples of RFC 4575, the merge of its documents, and what is refused.

use std::collections::BTreeMap;

use parlour_proto::mime::conference_info::{
    Conference, Disconnection, Document, Fault, Joining, LONGEST, State, Status, Verdict, parse,
};
use parlour_proto::mime::fuzzing;
use parlour_proto::mime::xml::XmlFault;
use proptest::prelude::*;

const BASIC: &str = include_str!("rfc4575/basic.xml");
const RICH: &str = include_str!("rfc4575/rich.xml");

/// A document with these attributes and this content.
fn document(attributes: &str, content: &str) -> String {
    format!(
        "<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"sip:c@x\" {attributes}>\
         {content}</conference-info>"
    )
}

#[track_caller]
fn read(attributes: &str, content: &str) -> Document {
    parse(document(attributes, content).as_bytes()).expect("a document")
}

/// A conference with alice (two devices) and bob, at version 5.
fn known() -> Conference {
    let mut conference = Conference::default();
    let users = "<conference-description><subject>tea</subject><maximum-user-count>9</maximum-user-count>\
        </conference-description><conference-state><user-count>2</user-count></conference-state><users>\
        <user entity='sip:alice@x'><display-text>Alice</display-text><roles><entry>chair</entry></roles>\
        <endpoint entity='pc'><status>connected</status><media id='1'><type>message</type></media></endpoint>\
        <endpoint entity='phone'><status>alerting</status></endpoint></user>\
        <user entity='sip:bob@x'><display-text>Bob</display-text></user></users>";
    assert_eq!(conference.take(read("version='5'", users)), Verdict::Merged);
    conference
}

fn names(conference: &Conference) -> Vec<&str> {
    conference.users.keys().map(|entity| &**entity).collect()
}

#[test]
fn the_basic_example() {
    let document = parse(BASIC.as_bytes()).unwrap();
    assert_eq!(
        (document.entity.as_str(), document.state, document.version),
        ("sips:conf233@example.com", State::Full, 1)
    );
    let mut conference = Conference::default();
    assert_eq!(conference.take(document), Verdict::Merged);
    assert_eq!(conference.description.subject.as_deref(), Some("Agenda: This month's goals"));
    assert_eq!(conference.condition.user_count, Some(33));
    let bob = &conference.users["sip:bob@example.com"];
    assert_eq!(bob.display_text.as_deref(), Some("Bob Hoskins"));
    let laptop = &bob.endpoints["sip:bob@pc33.example.com"];
    assert_eq!(laptop.status, Some(Status::Disconnected));
    assert_eq!(laptop.disconnection_method, Some(Disconnection::Departed));
    assert_eq!(laptop.disconnection_reason.as_deref(), Some("bad voice quality"));
    assert_eq!(laptop.media["1"].kind.as_deref(), Some("audio"));
    let alice =
        &conference.users["sip:alice@example.com"].endpoints["sip:4kfk4j392jsu@example.com;grid=433kj4j3u"];
    assert_eq!((alice.status, alice.joining_method), (Some(Status::Connected), Some(Joining::DialedOut)));
}

#[test]
fn the_rich_example() {
    let document = parse(RICH.as_bytes()).unwrap();
    let uris = document.description.as_ref().map(|description| description.conf_uris.clone()).unwrap();
    let uris: Vec<_> = uris.iter().map(|uri| (uri.uri.as_str(), uri.purpose.as_deref())).collect();
    assert_eq!(uris[0], ("tel:+18005671234", Some("participation")));
    assert_eq!(uris[2], ("http://real.streaming.com/54634/live.ram", Some("streaming")));
    let mut conference = Conference::default();
    // It is partial: without the four before it, it says nothing.
    assert_eq!(conference.take(document.clone()), Verdict::Gap);
    assert_eq!(conference, Conference::default());
    conference.take(read("version='4'", "<users><user entity='sip:mike@example.com'/></users>"));
    assert_eq!(conference.take(document), Verdict::Merged);
    assert_eq!(conference.description.maximum_user_count, Some(100));
    assert_eq!((conference.condition.active, conference.condition.locked), (Some(true), Some(false)));
    // RFC 4575 4.4: what says no state is full, <users> too, although its own example seems to forget that.
    assert_eq!(names(&conference), ["sip:bob@example.com"]);
    let bob = &conference.users["sip:bob@example.com"];
    assert_eq!(bob.roles.as_deref(), Some(&["participant".to_owned()][..]));
    assert_eq!(bob.endpoints["sip:bob@pc33.example.com"].status, Some(Status::Disconnecting));
}

//= IM R-13 test
#[test]
fn versions_decide_what_counts() {
    let mut conference = known();
    let before = conference.clone();
    for stale in [
        "version='5'",
        "version='0' state='full'",
        "version='4' state='deleted'",
        "version='5' state='partial'",
    ] {
        assert_eq!(conference.take(read(stale, "<users/>")), Verdict::Stale, "{stale}");
    }
    assert_eq!(conference.take(read("version='7' state='partial'", "<users/>")), Verdict::Gap);
    assert_eq!(conference, before);
    assert_eq!(conference.take(read("version='6' state='partial'", "")), Verdict::Merged);
    // A full one may leap.
    assert_eq!(conference.take(read("version='4294967295'", "<users/>")), Verdict::Merged);
    assert!(conference.users.is_empty());
    assert_eq!(conference.take(read("version='4294967295' state='partial'", "")), Verdict::Stale);
    conference.restart();
    assert_eq!(conference.take(read("version='1' state='partial'", "")), Verdict::Gap);
    assert_eq!(conference.take(read("version='0'", "")), Verdict::Merged);
}

//= IM R-13 test
#[test]
fn a_partial_document_changes_what_it_names() {
    let mut conference = known();
    let news = "<users state='partial'><user entity='sip:alice@x' state='partial'>\
        <endpoint entity='phone' state='partial'><status>connected</status></endpoint>\
        <endpoint entity='pc' state='deleted'/><endpoint entity='tablet'><status>pending</status></endpoint>\
        <endpoint entity='gone' state='deleted'><status>connected</status></endpoint></user>\
        <user entity='sip:carol@x' state='partial'><display-text>Carol</display-text></user>\
        <user entity='sip:bob@x'><roles><entry>guest</entry></roles></user></users>";
    assert_eq!(conference.take(read("version='6' state='partial'", news)), Verdict::Merged);
    assert_eq!(names(&conference), ["sip:alice@x", "sip:bob@x", "sip:carol@x"]);
    let alice = &conference.users["sip:alice@x"];
    assert_eq!(alice.display_text.as_deref(), Some("Alice"), "not named, not changed");
    assert_eq!(alice.endpoints.keys().map(|key| &**key).collect::<Vec<_>>(), ["phone", "tablet"]);
    assert_eq!(alice.endpoints["phone"].status, Some(Status::Connected));
    let bob = &conference.users["sip:bob@x"];
    assert_eq!((bob.display_text.as_deref(), bob.state), (None, State::Full), "told in full: flushed");
    // Neither description nor state were named.
    assert_eq!(conference.description.subject.as_deref(), Some("tea"));
    assert_eq!(conference.condition.user_count, Some(2));
    let description = "<conference-description><subject>coffee</subject></conference-description>\
        <users state='partial'><user entity='sip:bob@x' state='deleted'><display-text>x</display-text></user></users>";
    assert_eq!(conference.take(read("version='7' state='partial'", description)), Verdict::Merged);
    assert_eq!(conference.description.subject.as_deref(), Some("coffee"));
    assert_eq!(conference.description.maximum_user_count, None, "it is replaced as a whole");
    assert_eq!(names(&conference), ["sip:alice@x", "sip:carol@x"]);
    assert_eq!(
        conference.take(read("version='8' state='partial'", "<users state='deleted'/>")),
        Verdict::Merged
    );
    assert!(conference.users.is_empty());
}

#[test]
fn keys_are_compared_octet_by_octet() {
    let mut conference = known();
    let news = "<users state='partial'><user entity='sip:ALICE@x' state='deleted'/>\
        <user entity='sip:alice@x;a' state='deleted'/></users>";
    conference.take(read("version='6' state='partial'", news));
    assert_eq!(names(&conference), ["sip:alice@x", "sip:bob@x"]);
    let news = "<users state='partial'><user entity='sip:alice&#x40;x' state='deleted'/></users>";
    conference.take(read("version='7' state='partial'", news));
    assert_eq!(names(&conference), ["sip:bob@x"], "a reference in an attribute is what it stands for");
}

//= IM R-13 test
#[test]
fn a_deleted_conference_is_over() {
    let mut conference = known();
    assert_eq!(
        conference.take(read("version='6' state='deleted'", "<users><user entity='a'/></users>")),
        Verdict::Over
    );
    assert!(conference.users.is_empty(), "what a deleted parent contains is ignored");
}

//= IM R-17 test
//= IM X-25 test
#[test]
fn what_is_too_much_is_refused() {
    let users = |count: usize| {
        let users: String = (0..count).map(|n| format!("<user entity='u{n}'/>")).collect();
        parse(document("version='1'", &format!("<users>{users}</users>")).as_bytes()).map(|_| ())
    };
    assert_eq!(users(10_000), Ok(()));
    assert_eq!(users(10_001), Err(Fault::Users));
    let padded = |length: usize| {
        let bare = document("version='1'", "<!---->").len();
        let text = document("version='1'", &format!("<!--{}-->", "x".repeat(length - bare)));
        parse(text.as_bytes()).map(|document| document.version)
    };
    assert_eq!(padded(LONGEST), Ok(1));
    assert_eq!(padded(LONGEST + 1), Err(Fault::Length(LONGEST + 1)));
    let deep = "<x>".repeat(40) + &"</x>".repeat(40);
    assert_eq!(parse(document("version='1'", &deep).as_bytes()), Err(XmlFault::Depth.into()));
    let bomb = format!("<!DOCTYPE a [<!ENTITY a 'xxxxxxxx'>]>{}", document("version='1'", "&a;"));
    assert_eq!(parse(bomb.as_bytes()), Err(XmlFault::Dtd.into()));
    assert_eq!(parse(document("version='1'", "&a;").as_bytes()), Err(XmlFault::Entity("a".into()).into()));
    let outside = "<!DOCTYPE a SYSTEM 'http://192.0.2.9/x'>".to_owned() + &document("version='1'", "");
    assert_eq!(parse(outside.as_bytes()), Err(XmlFault::Dtd.into()));
    let key = document("version='1'", &format!("<users><user entity='{}'/></users>", "k".repeat(2049)));
    assert_eq!(parse(key.as_bytes()), Err(Fault::Key));
    let long =
        format!("<conference-description><subject>{}</subject></conference-description>", "é".repeat(5000));
    let subject = read("version='1'", &long).description.unwrap().subject.unwrap();
    assert_eq!(subject, "é".repeat(1024));
}

//= IM R-17 test
#[test]
fn a_conference_that_grows_without_end_is_forgotten() {
    let mut conference = Conference::default();
    assert_eq!(conference.take(read("version='1'", "<users/>")), Verdict::Merged);
    let mut last = Verdict::Merged;
    let mut version = 1;
    while last == Verdict::Merged && version < 100 {
        version += 1;
        let users: String =
            (0..900).map(|n| format!("<user entity='{version}-{n}'><endpoint/></user>")).collect();
        let users = format!("<users state='partial'>{users}</users>");
        last = conference.take(read(&format!("version='{version}' state='partial'"), &users));
    }
    assert_eq!((last, version), (Verdict::TooLarge, 13));
    assert!(conference.users.is_empty());
}

#[test]
fn what_is_wrong_is_told() {
    let fault =
        |attributes: &str, content: &str| parse(document(attributes, content).as_bytes()).unwrap_err();
    assert_eq!(fault("", ""), Fault::Version);
    for version in ["version=''", "version='-1'", "version='4294967296'", "version='1.0'"] {
        assert_eq!(fault(version, ""), Fault::Version, "{version}");
    }
    assert_eq!(fault("version='1' state='whole'", ""), Fault::State);
    assert_eq!(fault("version='1'", "<users><user entity='a' state=''/></users>"), Fault::State);
    let root = |text: &str| parse(text.as_bytes()).unwrap_err();
    assert_eq!(root("<conference-info version='1'/>"), Fault::Root);
    assert_eq!(root("<conference-info xmlns='urn:ietf:params:xml:ns:conference' version='1'/>"), Fault::Root);
    assert_eq!(root("<users xmlns='urn:ietf:params:xml:ns:conference-info' version='1'/>"), Fault::Root);
    assert!(matches!(fault("version='1'", "<users>"), Fault::Xml(XmlFault::Malformed(_))));
    // Elements of others, and values of extensions, are passed over.
    let extended = "<x:users xmlns:x='urn:x'><x:user entity='a'/></x:users><users><user entity='b'>\
        <x:y xmlns:x='urn:x'/><endpoint><status>levitating</status></endpoint></user><novelty/></users>";
    let users = read("version=' 1 '", extended).users.unwrap().list;
    assert_eq!((users.len(), users["b"].endpoints[""].status), (1, None));
}

/// What a user is told to be: its name and the status of its devices.
type Told = (String, BTreeMap<u8, Status>);

/// A user's element; `before` is what was told of it last.
fn element(key: u8, user: &Told, before: Option<&Told>) -> String {
    let word = |status: Status| Status::WORDS.iter().find(|(_, value)| *value == status).unwrap().0;
    let mut content = String::new();
    if before.is_none_or(|before| before.0 != user.0) {
        content.push_str(&format!("<display-text>{}</display-text>", user.0));
    }
    for (device, status) in &user.1 {
        if before.is_none_or(|before| before.1.get(device) != Some(status)) {
            content.push_str(&format!(
                "<endpoint entity='e{device}'><status>{}</status></endpoint>",
                word(*status)
            ));
        }
    }
    for device in
        before.iter().flat_map(|before| before.1.keys()).filter(|device| !user.1.contains_key(device))
    {
        content.push_str(&format!("<endpoint entity='e{device}' state='deleted'/>"));
    }
    let state = if before.is_some() { " state='partial'" } else { "" };
    format!("<user entity='sip:u{key}@x'{state}>{content}</user>")
}

proptest! {
    //= IM R-13 test
    #[test]
    fn a_full_document_and_changes_are_worth_the_full_document_after_them(
        stages in prop::collection::vec(
            prop::collection::btree_map(
                0..6_u8,
                ("[a-z]{1,3}", prop::collection::btree_map(0..3_u8, prop::sample::select(&Status::WORDS[..]).prop_map(|word| word.1), 0..3)),
                0..6,
            ),
            1..8,
        ),
    ) {
        let full = |version: usize, users: &BTreeMap<u8, Told>| {
            let users: String = users.iter().map(|(key, user)| element(*key, user, None)).collect();
            read(&format!("version='{version}'"), &format!("<users>{users}</users>"))
        };
        let mut conference = Conference::default();
        prop_assert_eq!(conference.take(full(0, &stages[0])), Verdict::Merged);
        for (version, pair) in stages.windows(2).enumerate() {
            let (before, after) = (&pair[0], &pair[1]);
            let mut changes: String = after.iter().map(|(key, user)| element(*key, user, before.get(key))).collect();
            for key in before.keys().filter(|key| !after.contains_key(key)) {
                changes.push_str(&format!("<user entity='sip:u{key}@x' state='deleted'/>"));
            }
            let attributes = format!("version='{}' state='partial'", version + 1);
            let partial = read(&attributes, &format!("<users state='partial'>{changes}</users>"));
            prop_assert_eq!(conference.take(partial), Verdict::Merged);
        }
        let mut whole = Conference::default();
        whole.take(full(stages.len() - 1, &stages[stages.len() - 1]));
        prop_assert_eq!(conference, whole);
    }

    #[test]
    fn nothing_makes_it_panic(data in prop::collection::vec(any::<u8>(), 0..300), cut in 0..4000_usize, at in 0..4000_usize, octet: u8) {
        fuzzing::conference_info(&data);
        for example in [BASIC, RICH] {
            let mut octets = example.as_bytes().to_vec();
            let place = at % octets.len();
            octets[place] = octet;
            fuzzing::conference_info(&octets);
            octets.truncate(cut);
            fuzzing::conference_info(&octets);
        }
    }
}
