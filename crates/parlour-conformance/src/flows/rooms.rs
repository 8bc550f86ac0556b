//! Chat rooms (RFC 7701): who speaks to whom, alone or to all, and what the room calls us.

use std::net::IpAddr;

use parlour_proto::client::{Misuse, Say};
use parlour_proto::config::{Accept, ConferenceSubscribe, Config, Hop};
use parlour_proto::event::{InRoom, Incoming, Peer, Progress, What};
use parlour_sim::{Mail, Script, text};

use super::conference::{Focus, document, focus_contact, in_session_by, user};
use crate::common::{self, BOB, accepting};

/// The room, as its documents call it.
const ROOM: &str = "sip:c@x";

pub(super) const BOTH: &str = "a=chatroom:nickname private-messages\r\n";

/// Bob is in a room whose description has these lines; of who is there nothing is told yet.
#[track_caller]
pub(super) fn joined(config: Config, lines: &str) -> Focus {
    let offer = |script: &Script| script.sdp("actpass", "message/cpim") + lines;
    let mut focus = Focus::asked_by(config, &focus_contact(), "", offer);
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus
}

/// The same, and he knows that alice, bob and carol are there.
#[track_caller]
pub(super) fn in_room(lines: &str) -> Focus {
    let mut focus = joined(accepting(Accept::All), lines);
    focus.notify("active;expires=3600", &document(1, "full", &users()));
    focus
}

pub(super) fn users() -> String {
    let bob = user("bob", "connected").replace("sip:bob@x", BOB);
    user("alice", "connected") + &bob + &user("carol", "connected")
}

/// Bob says something.
pub(super) fn says(focus: &mut Focus, message: Say) -> Result<(), Misuse> {
    let session = focus.call.session();
    let said = focus.call.world.act(focus.call.bob, |bob, now| bob.say(now, session, message));
    focus.call.world.run(0);
    said
}

/// Bob says something to one of them alone.
fn whispers(focus: &mut Focus, message_id: &str, to: &str) -> Result<(), Misuse> {
    says(focus, Say { to: Some(to.to_owned()), ..common::text(message_id, "psst") })
}

/// What the room gets: the next SEND, and the CPIM headers From and To. It answers so.
#[track_caller]
pub(super) fn gets(focus: &mut Focus, answer: &str) -> (Mail, String, String) {
    let send = focus.call.request("SEND");
    assert_eq!(text::header(send.message(), "Content-Type").as_deref(), Some("message/cpim"));
    let inside = |name: &str| {
        let octets = text::lossy(send.message());
        let line = octets.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default()
    };
    let (from, to) = (inside("From: "), inside("To: "));
    let reply = focus.call.script.msrp_respond(send.message(), answer);
    focus.call.world.send(focus.media, reply);
    focus.call.world.run(0);
    (send, from, to)
}

/// Nothing more leaves.
#[track_caller]
fn nothing(focus: &mut Focus) {
    let now = focus.call.world.millis();
    focus.call.nothing_to(now + 1000);
}

/// The room passes on what somebody said, and Bob has it; what his user is told.
#[track_caller]
fn passes_on(focus: &mut Focus, tid: &str, from: &str, to: &[&str], what: &str) -> Option<InRoom> {
    let before = messages(focus).len();
    let to: String = to.iter().map(|to| format!("To: <{to}>\r\n")).collect();
    let body = format!(
        "From: {from}\r\n{to}DateTime: 2026-11-30T08:00:00Z\r\n\r\nContent-Type: text/plain\r\n\r\n{what}"
    );
    let frame = focus.call.script.msrp_send(tid, &format!("id-{tid}"), &body);
    focus.call.world.send(
        focus.media,
        frame.replace("Content-Type: text/plain\r\n\r\nFrom", "Content-Type: message/cpim\r\n\r\nFrom"),
    );
    focus.call.status(200);
    focus.call.world.run(0);
    let told = messages(focus);
    assert!(told.len() <= before + 1);
    let message = told.get(before)?;
    assert_eq!(message.claimed_from, None);
    message.room.as_deref().cloned()
}

fn messages(focus: &Focus) -> Vec<Incoming> {
    let told = focus.call.at_bob().told();
    told.filter_map(|what| if let What::Message(message) = what { Some(message.clone()) } else { None })
        .collect()
}

fn author(address: &str, name: Option<&str>) -> Option<Peer> {
    Some(Peer { address: address.into(), display_name: name.map(str::to_owned), verified: false })
}

/// Why messages of Bob failed.
fn failures(focus: &Focus) -> Vec<String> {
    let told = focus.call.at_bob().told();
    let why = |what: &What| {
        let What::Progress { progress: Progress::Failed { why }, .. } = what else { return None };
        Some(why.clone())
    };
    told.filter_map(why).collect()
}

/// Bob wants to be called so.
fn nicks(focus: &mut Focus, nickname: &str) -> Result<(), Misuse> {
    let session = focus.call.session();
    let asked = focus.call.world.act(focus.call.bob, |bob, now| bob.nick(now, session, nickname));
    focus.call.world.run(0);
    asked
}

/// The room gets a NICKNAME, and answers so.
#[track_caller]
fn names(focus: &mut Focus, answer: &str) -> String {
    let request = focus.call.request("NICKNAME");
    let reply = focus.call.script.msrp_respond(request.message(), answer);
    focus.call.world.send(focus.media, reply);
    focus.call.world.run(0);
    text::header(request.message(), "Use-Nickname").unwrap_or_default()
}

/// What was told of nicknames: the nickname, the status, and whether it is ours now.
fn named(focus: &Focus) -> Vec<(String, Option<u16>, bool)> {
    let told = focus.call.at_bob().told();
    let name = |what: &What| {
        if let What::Nickname { nickname } = what {
            return Some((nickname.clone(), None, true));
        }
        let What::NicknameRefused { nickname, status, .. } = what else { return None };
        Some((nickname.clone(), *status, false))
    };
    told.filter_map(name).collect()
}

//= IM M-60 test
//= IM F-10 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_said_to_all_is_wrapped_and_names_the_room() {
    let mut focus = joined(accepting(Accept::All), BOTH);
    let alice = "<sip:alice@192.0.2.1:5060>".to_owned();
    says(&mut focus, common::text("said1", "hello")).expect("it can be said");
    let (_, from, to) = gets(&mut focus, "200 OK");
    // Its Contact is but the address of a machine, so it is known by the address that it goes by.
    assert_eq!((from, to), (format!("<{BOB}>"), alice));
    focus.notify("active;expires=3600", &document(1, "full", &users()));
    says(&mut focus, common::text("said2", "hello")).expect("it can be said");
    assert_eq!(gets(&mut focus, "200 OK").2, format!("<{ROOM}>"), "it calls itself so");
    assert_eq!(failures(&focus), Vec::<String>::new());
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn even_a_room_that_likes_bare_text_better_gets_it_wrapped() {
    let offer = |script: &Script| script.sdp("actpass", "text/plain message/cpim");
    let mut focus = Focus::asked_by(accepting(Accept::All), &focus_contact(), "", offer);
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("active;expires=3600", &document(1, "full", &users()));
    says(&mut focus, common::text("said1", "hello")).expect("it can be said");
    assert_eq!(gets(&mut focus, "200 OK").2, format!("<{ROOM}>"));
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_contact_with_a_name_is_the_room_until_it_names_itself() {
    let offer = |script: &Script| script.sdp("actpass", "message/cpim") + BOTH;
    let contact = "<sip:room22@chat.example.com;transport=tcp>;isfocus";
    let config = Config { conference_subscribe: ConferenceSubscribe::Never, ..accepting(Accept::All) };
    let (mut call, _) = in_session_by(config, contact, "", offer);
    let session = call.session();
    let said = common::text("said1", "hello");
    call.world.act(call.bob, |bob, now| bob.say(now, session, said)).expect("it can be said");
    let send = call.request("SEND");
    assert!(text::lossy(send.message()).contains("\r\nTo: <sip:room22@chat.example.com;transport=tcp>\r\n"));
    call.bye();
    call.over();
}

//= IM M-60 test
//= IM F-23 test
#[cfg_attr(test, test)]
pub(crate) fn a_private_message_goes_to_one_alone_or_nowhere() {
    let mut focus = in_room(BOTH);
    whispers(&mut focus, "psst1", "sip:carol@x").expect("the room allows it");
    let (_, from, to) = gets(&mut focus, "200 OK");
    assert_eq!((from.as_str(), to.as_str()), ("<sip:bob@192.0.2.2>", "<sip:carol@x>"));
    // RFC 7701 6.1: one To alone. What goes to the room all would get.
    for to in
        [ROOM, "sip:C@X", "sip:c@X;transport=tcp", "sip:alice@192.0.2.1:5060", "nobody", "sip:a@x>, <sip:b@x"]
    {
        let refused = whispers(&mut focus, "psst2", to);
        if to == "sip:C@X" {
            // User parts differ by case: that is somebody else.
            assert_eq!(gets(&mut focus, "200 OK").2, "<sip:C@X>");
            continue;
        }
        assert!(matches!(refused, Err(Misuse::Unsendable(_) | Misuse::BadAddress(_))), "{to}: {refused:?}");
    }
    nothing(&mut focus);
    focus.over(true);
    for (lines, part) in [("a=chatroom:nickname\r\n", "does not allow"), ("", "does not know")] {
        let mut focus = in_room(lines);
        let Err(Misuse::Unsendable(why)) = whispers(&mut focus, "psst1", "sip:carol@x") else {
            panic!("{lines}")
        };
        assert!(why.contains(part), "{why}");
        nothing(&mut focus);
        focus.over(true);
    }
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn outside_a_conference_nothing_is_private_and_nobody_has_a_nickname() {
    let (mut call, media) = common::Call::connected_by(common::config(BOB), |call| {
        call.script.invite_with("", &(call.script.offer() + BOTH))
    });
    let session = call.session();
    let say = Say { to: Some("sip:carol@x".into()), ..common::text("psst1", "psst") };
    let said = call.world.act(call.bob, |bob, now| bob.say(now, session, say));
    assert!(matches!(said, Err(Misuse::Unsendable(_))), "{said:?}");
    let asked = call.world.act(call.bob, |bob, now| bob.nick(now, session, "Bob"));
    assert!(matches!(asked, Err(Misuse::NoNickname(_))), "{asked:?}");
    let now = call.world.millis();
    call.nothing_to(now + 1000);
    // M-33: in a session of two, another author is a claim, and the peer is who it is.
    let body = "From: <sip:carol@x>\r\nTo: <sip:bob@192.0.2.2>\r\n\r\nContent-Type: text/plain\r\n\r\nhi";
    let frame = call.script.msrp_send("t1t1", "m1m1", body);
    call.world.send(media, frame.replace("text/plain\r\n\r\nFrom", "message/cpim\r\n\r\nFrom"));
    call.status(200);
    let told = call.at_bob().told().find_map(|what| {
        let What::Message(message) = what else { return None };
        Some((message.claimed_from.clone(), message.room.clone()))
    });
    assert_eq!(told, Some((Some("sip:carol@x".into()), None)));
    call.over();
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn what_waits_for_one_alone_is_never_said_to_all() {
    let mut focus = in_room(BOTH);
    // RFC 7701 8: what a room allows, it may stop to allow.
    let hold = focus.call.script.sdp("actpass", "message/cpim").replace("o=- 1 1 ", "o=- 1 2 ")
        + BOTH
        + "a=inactive\r\n";
    let contact = format!("Contact: {}\r\n", focus_contact());
    let reoffer = |focus: &mut Focus, body: &str| {
        let call = &mut focus.call;
        let request = call.script.next(&mut call.world, "INVITE", &contact, body);
        call.send(request);
        let answer =
            call.world.expect(call.alice, "the 200", |mail| mail.message().starts_with(b"SIP/2.0 200"));
        call.ack(&answer);
    };
    reoffer(&mut focus, &hold);
    whispers(&mut focus, "psst1", "sip:carol@x").expect("it waits");
    let resumed =
        focus.call.script.sdp("actpass", "message/cpim").replace("o=- 1 1 ", "o=- 1 3 ") + "a=chatroom\r\n";
    reoffer(&mut focus, &resumed);
    // It was addressed before, so it may leave: to her alone.
    let (_, _, to) = gets(&mut focus, "428 Private messages not supported");
    assert_eq!(to, "<sip:carol@x>");
    assert!(matches!(whispers(&mut focus, "psst2", "sip:carol@x"), Err(Misuse::Unsendable(_))));
    assert!(matches!(nicks(&mut focus, "Bob"), Err(Misuse::NoNickname(_))));
    nothing(&mut focus);
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_room_that_takes_no_message_says_why_in_words() {
    let mut focus = in_room(BOTH);
    for (message_id, answer, part) in [
        ("psst1", "404 Unknown recipient", "nobody of that address"),
        ("psst2", "428 Private messages not supported", "cannot be sent private messages"),
        ("psst3", "403 Forbidden", "does not let you"),
        ("psst4", "413 Too large", "the other side answered 413"),
    ] {
        whispers(&mut focus, message_id, "sip:carol@x").expect("the room allows it");
        gets(&mut focus, answer);
        let why = failures(&focus).pop().expect("it failed");
        assert!(why.contains(part) && why.contains(answer), "{why}");
    }
    assert_eq!(failures(&focus).len(), 4);
    says(&mut focus, common::text("said1", "hello")).expect("the session goes on");
    gets(&mut focus, "200 OK");
    focus.over(true);
}

//= IM M-33 test
//= IM M-60 test
//= IM F-23 test
#[cfg_attr(test, test)]
pub(crate) fn what_comes_tells_its_author_and_whether_it_is_private() {
    let mut focus = in_room(BOTH);
    let to_all = |author| Some(InRoom { author, ..InRoom::default() });
    let told = passes_on(&mut focus, "t1t1", "\"C\" <sip:carol@x>", &[ROOM], "hello");
    assert_eq!(told, to_all(author("sip:carol@x", Some("carol"))), "the roster knows her name");
    let told = passes_on(&mut focus, "t2t2", "<sip:carol@x;transport=tcp>", &[BOB], "psst");
    let private = InRoom {
        author: author("sip:carol@x;transport=tcp", Some("carol")),
        private: true,
        ..InRoom::default()
    };
    assert_eq!(told, Some(private.clone()));
    // All names of the room are its names.
    for (tid, to) in [("t3t3", "sip:alice@192.0.2.1"), ("t4t4", "sip:c@X;transport=tcp")] {
        let told = passes_on(&mut focus, tid, "<sip:carol@x>", &[to], "hello");
        assert!(told.is_some_and(|room| !room.private), "{to}");
    }
    // Somebody whom it does not list, under the name that he gives himself; and the room itself.
    let told = passes_on(&mut focus, "t5t5", "\"Eve\" <sip:eve@x>", &[ROOM], "hello");
    assert_eq!(told, to_all(author("sip:eve@x", Some("Eve"))));
    let told = passes_on(&mut focus, "t6t6", &format!("<{ROOM}>"), &[ROOM], "welcome");
    assert_eq!(told, to_all(None));
    // Nobody in particular is everybody.
    let told = passes_on(&mut focus, "t7t7", "<sip:carol@x>", &["sip:anonymous@anonymous.invalid"], "hello");
    assert!(told.is_some_and(|room| !room.private));
    // We ourselves, on another device: to all, and to one.
    let told = passes_on(&mut focus, "t8t8", &format!("<{BOB}>"), &[ROOM], "from my telephone");
    assert_eq!(told, Some(InRoom { author: author(BOB, Some("bob")), own: true, ..InRoom::default() }));
    let told = passes_on(&mut focus, "t9t9", &format!("<{BOB}>"), &["sip:carol@x"], "psst from there");
    let to = Some("sip:carol@x".into());
    assert_eq!(told, Some(InRoom { author: author(BOB, Some("bob")), own: true, private: true, to }));
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn an_echo_of_what_we_said_is_acknowledged_and_not_shown() {
    let mut focus = in_room(BOTH);
    says(&mut focus, common::text("said1", "hello")).expect("it can be said");
    gets(&mut focus, "200 OK");
    let from = format!("<{BOB}>");
    assert_eq!(passes_on(&mut focus, "t1t1", &from, &[ROOM], "hello"), None);
    // Once: the same from another device is news. So is the same from somebody else.
    assert!(passes_on(&mut focus, "t2t2", &from, &[ROOM], "hello").is_some_and(|room| room.own));
    says(&mut focus, common::text("said2", "hello")).expect("it can be said");
    gets(&mut focus, "200 OK");
    assert!(passes_on(&mut focus, "t3t3", "<sip:carol@x>", &[ROOM], "hello").is_some());
    assert_eq!(passes_on(&mut focus, "t4t4", &from, &[ROOM], "hello"), None);
    focus.over(true);
}

//= IM M-33 test
#[cfg_attr(test, test)]
pub(crate) fn the_word_of_a_room_is_worth_what_the_room_is_worth() {
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    let config = Config { trusted_hops: vec![hop], ..accepting(Accept::All) };
    let offer = |script: &Script| script.sdp("actpass", "message/cpim") + BOTH;
    let asserted = "P-Asserted-Identity: <sip:c@x>\r\n";
    let mut focus = Focus::asked_by(config, &focus_contact(), asserted, offer);
    focus.answer("200 OK", "Expires: 3600\r\n");
    let verified =
        |room: Option<InRoom>| room.and_then(|room| room.author).is_some_and(|author| author.verified);
    // Until it tells who is there, whoever it names is somebody of it.
    assert!(verified(passes_on(&mut focus, "t1t1", "<sip:eve@x>", &[ROOM], "hi")));
    focus.notify("active;expires=3600", &document(1, "full", &users()));
    assert!(verified(passes_on(&mut focus, "t2t2", "<sip:carol@x>", &[ROOM], "hi")));
    assert!(!verified(passes_on(&mut focus, "t3t3", "<sip:eve@x>", &[ROOM], "hi")));
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_room_that_knows_nothing_of_privacy_writes_to_whom_it_likes() {
    let mut focus = in_room("");
    let told = passes_on(&mut focus, "t1t1", "<sip:carol@x>", &[BOB], "hello");
    assert!(told.is_some_and(|room| !room.private));
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_to_a_thousand_harms_nobody() {
    let mut focus = in_room(BOTH);
    let many: Vec<String> = (0..1000).map(|number| format!("sip:user{number}@x")).collect();
    let to: String = many.iter().map(|to| format!("To: <{to}>\r\n")).collect();
    let body = format!("From: <sip:carol@x>\r\n{to}\r\nContent-Type: text/plain\r\n\r\nhi");
    let frame = focus.call.script.msrp_send("t1t1", "m1m1", &body);
    let frame = frame.replace("text/plain\r\n\r\nFrom", "message/cpim\r\n\r\nFrom");
    focus.call.world.send(focus.media, frame);
    focus.call.status(400);
    assert_eq!(messages(&focus).len(), 0);
    // A few are fine: one of them is the room, so it is for all.
    let told = passes_on(&mut focus, "t2t2", "<sip:carol@x>", &["sip:a@x", "sip:b@x", ROOM], "hello");
    assert!(told.is_some_and(|room| !room.private));
    focus.over(true);
}

//= IM M-61 test
//= IM F-23 test
#[cfg_attr(test, test)]
pub(crate) fn a_nickname_is_asked_for_refused_got_and_given_up() {
    let mut focus = in_room(BOTH);
    nicks(&mut focus, "  Alice   the great ").expect("it can be asked for");
    assert!(matches!(nicks(&mut focus, "Robert"), Err(Misuse::NoNickname(_))), "one at a time");
    // RFC 8266: blanks at the ends, and more than one between words, are not part of it.
    assert_eq!(names(&mut focus, "425 Nickname reserved or already in use"), "\"Alice the great\"");
    nicks(&mut focus, "Bob \"the\" \u{ff22}uilder").expect("it can be asked for");
    assert_eq!(names(&mut focus, "200 OK"), "\"Bob \\\"the\\\" Builder\"");
    nicks(&mut focus, "").expect("it can be given up");
    assert_eq!(names(&mut focus, "424 Malformed"), "\"\"");
    let told = [
        ("Alice the great".to_owned(), Some(425), false),
        ("Bob \"the\" Builder".to_owned(), None, true),
        (String::new(), Some(424), false),
    ];
    assert_eq!(named(&focus), told);
    for wrong in [" ", "a\u{7}b", "a\u{202e}b", &"x".repeat(1024)] {
        assert!(matches!(nicks(&mut focus, wrong), Err(Misuse::NoNickname(_))), "{wrong:?}");
    }
    nicks(&mut focus, "Rob").expect("it can be asked for");
    names(&mut focus, "501 Not known");
    assert!(matches!(nicks(&mut focus, "Rob"), Err(Misuse::NoNickname(_))), "not asked again");
    nothing(&mut focus);
    let world = focus.over(true);
    assert_snapshot!(world.ladder());
}

//= IM M-61 test
#[cfg_attr(test, test)]
pub(crate) fn answers_that_nobody_waits_for_change_nothing() {
    let mut focus = in_room(BOTH);
    nicks(&mut focus, "Bob").expect("it can be asked for");
    let request = focus.call.request("NICKNAME");
    for answer in ["200 OK", "425 Taken", "501 Not known"].repeat(500) {
        let reply = focus.call.script.msrp_respond(request.message(), answer);
        focus.call.world.send(focus.media, reply);
    }
    focus.call.world.run(0);
    assert_eq!(named(&focus), [("Bob".to_owned(), None, true)]);
    nicks(&mut focus, "Bobby").expect("the first answer counts, not the 501 after it");
    names(&mut focus, "200 OK");
    // RFC 7701 7.1: without an answer the name is not had; the room is there otherwise.
    nicks(&mut focus, "Rob").expect("it can be asked for");
    focus.call.request("NICKNAME");
    focus.call.world.run(29_000);
    let alive = focus.call.script.msrp_empty("alive");
    focus.call.world.send(focus.media, alive);
    focus.call.world.run(1_000);
    assert_eq!(named(&focus).last(), Some(&("Rob".to_owned(), None, false)));
    focus.over(true);
}

//= IM M-61 test
//= IM F-23 test
#[cfg_attr(test, test)]
pub(crate) fn the_roster_tells_nicknames_whoever_chose_them() {
    let mut focus = in_room(BOTH);
    let called = |nickname: &str| {
        user("carol", "connected")
            .replace("entity='sip:carol@x'", &format!("entity='sip:carol@x' {nickname}"))
    };
    let space = "xmlns:xcon='urn:ietf:params:xml:ns:xcon-conference-info' xcon:nickname=";
    focus.notify("active", &document(2, "partial", &called(&format!("{space}'Dopey Donkey'"))));
    let changed = focus.last().changed;
    assert_eq!(changed[0].nickname.as_deref(), Some("Dopey Donkey"));
    let told = passes_on(&mut focus, "t1t1", "<sip:carol@x>", &[ROOM], "hello");
    assert_eq!(told.and_then(|room| room.author), author("sip:carol@x", Some("Dopey Donkey")));
    // The room renames us too, and nobody has asked; that is what its roster says, and no answer to us.
    let ours =
        user("bob", "connected").replace("entity='sip:bob@x'", &format!("entity='{BOB}' {space}'Fool'"));
    // What a change does not name stays, and an empty nickname takes it away.
    focus.notify("active", &document(3, "partial", &called("state='partial'")));
    focus.notify("active", &document(4, "partial", &(ours + &called(&format!("state='partial' {space}''")))));
    let changed = focus.last().changed;
    assert_eq!(changed.iter().map(|user| user.nickname.as_deref()).collect::<Vec<_>>(), [Some("Fool"), None]);
    assert_eq!(named(&focus), []);
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_server_that_invites_us_to_its_room() {
    // As a conference server in use does after a REFER: the room calls, and everything is CPIM.
    let offer = |script: &Script| script.sdp("actpass", "Message/CPIM") + BOTH;
    let rows = "Referred-By: <sip:carol@x>\r\n";
    let contact = "<sip:192.0.2.1:5060;transport=udp>;isfocus";
    let mut focus = Focus::asked_by(accepting(Accept::All), contact, rows, offer);
    let told = focus.call.at_bob().told().find_map(|what| {
        let What::Invited { kind, .. } = what else { return None };
        Some(*kind)
    });
    assert_eq!(told, Some(parlour_proto::event::Kind::Group));
    let answer = focus.call.world.rows().iter().filter(|row| row.label.starts_with("200")).count();
    assert!(answer > 0);
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("active", &document(1, "full", &users()).replace("sip:c@x", "sip:alice@192.0.2.1:5060"));
    says(&mut focus, common::text("said1", "hello")).expect("it can be said");
    assert_eq!(gets(&mut focus, "200 OK").2, "<sip:alice@192.0.2.1:5060>");
    whispers(&mut focus, "psst1", "sip:carol@x").expect("the room allows it");
    assert_eq!(gets(&mut focus, "200 OK").2, "<sip:carol@x>");
    focus.over(true);
}

//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn what_we_understand_of_rooms_stands_in_our_descriptions() {
    let answer = |lines: &str| {
        let mut call = common::Call::new(accepting(Accept::All));
        call.send(call.script.invite_with("", &(call.script.offer() + lines)));
        let answer = call.status(200);
        let told = text::attribute(answer.message(), "chatroom");
        call.ack(&answer);
        call.bye();
        call.over();
        told
    };
    // RFC 7701 8: what it tells is its own, not a subset of ours.
    let ours = Some("nickname private-messages".to_owned());
    assert_eq!(answer("a=chatroom\r\n"), ours);
    assert_eq!(answer("a=chatroom:x.example.y\r\n"), ours);
    assert_eq!(answer(""), None, "who knows no rooms hears nothing of them");
}
