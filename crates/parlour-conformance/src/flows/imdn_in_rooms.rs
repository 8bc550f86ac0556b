//! What becomes of messages in rooms (M-52): told to their authors alone, where the room passes that on and the user wants it.

use parlour_proto::config::{Accept, Config, Imdn, InRooms};
use parlour_proto::event::What;
use parlour_sim::{Mail, text};

use super::conference::{Focus, document as roster};
use super::imdn::{ALL, TELLING, document, notifications, with};
use super::rooms::{BOTH, gets, joined, says, users};
use crate::common;

/// Bob is in a room whose description has these lines, and knows who is there.
#[track_caller]
fn in_room(imdn: Imdn, lines: &str) -> Focus {
    let mut focus = joined(Config { accept: Accept::All, ..with(imdn) }, lines);
    focus.notify("active;expires=3600", &roster(1, "full", &users()));
    focus
}

fn telling(tell_in_rooms: InRooms) -> Imdn {
    Imdn { tell_in_rooms, ..TELLING }
}

/// The room passes on a message of somebody; `content` stands behind its CPIM headers.
#[track_caller]
fn passes_on(focus: &mut Focus, tid: &str, from: &str, rows: &str, content: &str) {
    let body = format!(
        "From: <{from}>\r\nTo: <sip:c@x>\r\nDateTime: 2026-11-30T08:00:00Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: imdn-{tid}\r\n{rows}\r\n{content}"
    );
    let frame = focus.call.script.msrp_send(tid, &format!("id-{tid}"), &body);
    focus
        .call
        .world
        .send(focus.media, frame.replacen("Content-Type: text/plain", "Content-Type: message/cpim", 1));
    focus.call.status(200);
    focus.call.world.run(0);
}

/// Somebody says something to all, and asks for all notifications of it.
#[track_caller]
fn asks(focus: &mut Focus, tid: &str, from: &str) {
    let rows = format!("imdn.Disposition-Notification: {ALL}\r\n");
    passes_on(focus, tid, from, &rows, "Content-Type: text/plain\r\n\r\nhello");
}

/// Bob's user looks at a message; the notifications that have left by then.
fn read(focus: &mut Focus, message_id: &str) -> Vec<String> {
    focus.call.world.shown(focus.call.bob, &[message_id]);
    focus.call.world.run(5000);
    notifications(&mut focus.call)
}

//= IM M-52 test
//= IM M-60 test
#[cfg_attr(test, test)]
pub(crate) fn an_author_is_told_alone_where_the_room_passes_it_on() {
    for (told, kinds) in [
        (InRooms::Nothing, &[][..]),
        (InRooms::Delivered, &["<delivered/>"][..]),
        (InRooms::Displayed, &["<delivered/>", "<displayed/>"][..]),
    ] {
        let mut focus = in_room(telling(told), BOTH);
        asks(&mut focus, "tid1", "sip:carol@x");
        let left = read(&mut focus, "imdn-tid1");
        assert_eq!(left.len(), kinds.len(), "{told:?} {left:#?}");
        for (octets, kind) in left.iter().zip(kinds) {
            assert!(octets.starts_with("MSRP ") && octets.contains(kind), "{octets}");
            assert!(
                octets.contains("\r\nTo: <sip:carol@x>\r\n"),
                "the room sends it to nobody else: {octets}"
            );
            assert!(octets.contains(&format!("\r\nFrom: <{}>\r\n", common::BOB)), "{octets}");
        }
        focus.call.over();
    }
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn nobody_is_told_where_all_would_hear_it() {
    for lines in ["", "a=chatroom:nickname\r\n"] {
        let mut focus = in_room(telling(InRooms::Displayed), lines);
        asks(&mut focus, "tid1", "sip:carol@x");
        assert_eq!(read(&mut focus, "imdn-tid1"), Vec::<String>::new());
        focus.call.over();
    }
    // Who is not named, or is Bob on another device, cannot be told alone; nor who may be anybody.
    for from in ["sip:c@x", common::BOB, "sip:anonymous@anonymous.invalid"] {
        let mut focus = in_room(telling(InRooms::Displayed), BOTH);
        asks(&mut focus, "tid1", from);
        assert_eq!(read(&mut focus, "imdn-tid1"), Vec::<String>::new(), "{from}");
        focus.call.over();
    }
    let wary = Imdn { tell_unverified: false, ..telling(InRooms::Displayed) };
    let mut focus = in_room(wary, BOTH);
    asks(&mut focus, "tid1", "sip:carol@x");
    assert_eq!(read(&mut focus, "imdn-tid1"), Vec::<String>::new());
    focus.call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_owed_in_a_room_goes_no_other_way() {
    let mut focus = in_room(telling(InRooms::Displayed), BOTH);
    asks(&mut focus, "tid1", "sip:carol@x");
    focus.call.world.run(100);
    assert_eq!(notifications(&mut focus.call).len(), 1);
    focus.call.bye();
    focus.call.world.run(100);
    assert_eq!(read(&mut focus, "imdn-tid1"), Vec::<String>::new(), "no MESSAGE, to the room or to her");
    focus.call.over();
}

//= IM M-50 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn many_are_asked_only_where_the_user_wants_it_and_each_answer_names_who_gave_it() {
    for (ask_in_rooms, wanted) in [
        (InRooms::Nothing, None),
        (InRooms::Delivered, Some("positive-delivery, negative-delivery")),
        (InRooms::Displayed, Some("positive-delivery, negative-delivery, display")),
    ] {
        // What holds outside of rooms does not count.
        let imdn = Imdn { ask_delivered: true, ask_displayed: true, ask_in_rooms, ..Imdn::default() };
        let mut focus = in_room(imdn, BOTH);
        says(&mut focus, common::text("said1", "hello")).expect("it can be said");
        let (send, _, to) = gets(&mut focus, "200 OK");
        assert_eq!(to, "<sip:c@x>");
        let octets = text::lossy(send.message());
        let asked = octets.lines().find_map(|line| line.strip_prefix("imdn.Disposition-Notification: "));
        assert_eq!(asked, wanted);
        focus.call.over();
    }
    let mut focus = in_room(Imdn { ask_in_rooms: InRooms::Delivered, ..Imdn::default() }, BOTH);
    says(&mut focus, common::text("said1", "hello")).expect("it can be said");
    gets(&mut focus, "200 OK");
    for who in ["alice", "carol"] {
        let body = document("said1", "delivery", "delivered")
            .replace("sip:alice@192.0.2.1", &format!("sip:{who}@x"));
        let content =
            format!("Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n{body}");
        passes_on(&mut focus, who, &format!("sip:{who}@x"), "", &content);
    }
    let told =
        focus.call.at_bob().told().filter_map(|what| {
            if let What::Receipt { recipient, .. } = what { recipient.clone() } else { None }
        });
    assert_eq!(told.collect::<Vec<_>>(), ["sip:alice@x", "sip:carol@x"]);
    focus.call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_request_of_a_room_is_not_answered_by_one() {
    let mut focus = in_room(telling(InRooms::Displayed), BOTH);
    let body = format!(
        "From: <sip:carol@x>\r\nTo: <sip:c@x>\r\nDateTime: 2026-11-30T08:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: paged\r\nimdn.Disposition-Notification: {ALL}\r\n\r\nContent-Type: text/plain\r\n\r\nhello"
    );
    let page = focus.call.script.next(&mut focus.call.world, "MESSAGE", "", &body);
    focus.call.send(page.replacen("application/sdp", "message/cpim", 1));
    let is_answer =
        |mail: &Mail| text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" MESSAGE"));
    let answer = focus.call.world.expect(focus.call.alice, "200 to MESSAGE", is_answer);
    assert_eq!(text::status(answer.message()), Some(200));
    assert_eq!(read(&mut focus, "paged"), Vec::<String>::new());
    focus.call.over();
}
