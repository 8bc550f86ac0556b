use super::*;
use crate::sip::door::door;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn invite(rows: &str) -> Vec<u8> {
    crlf(&format!(
        "INVITE sip:bob@192.0.2.1 SIP/2.0\n\
         Via: SIP/2.0/UDP alice.example;branch=z9hG4bKone\n\
         From: \"Alice\" <sip:alice@example.com>;tag=a1\n\
         To: <sip:bob@example.com>\n\
         Call-ID: call-1\n\
         CSeq: 41 INVITE\n\
         {rows}Content-Length: 0\n\n"
    ))
}

fn answer(status: u16, rows: &str) -> Vec<u8> {
    crlf(&format!(
        "SIP/2.0 {status} Test\n\
         Via: SIP/2.0/UDP alice.example;branch=z9hG4bKone\n\
         From: \"Alice\" <sip:alice@example.com>;tag=a1\n\
         To: <sip:bob@example.com>;tag=b1\n\
         Call-ID: call-1\n\
         CSeq: 41 INVITE\n\
         {rows}Content-Length: 0\n\n"
    ))
}

fn inside(method: &str, number: u32, from_tag: &str, to_tag: &str) -> Vec<u8> {
    crlf(&format!(
        "{method} sip:bob@192.0.2.1 SIP/2.0\n\
         Via: SIP/2.0/UDP alice.example;branch=z9hG4bKtwo\n\
         From: <sip:alice@example.com>;tag={from_tag}\n\
         To: <sip:bob@example.com>;tag={to_tag}\n\
         Call-ID: call-1\n\
         CSeq: {number} {method}\n\
         Content-Length: 0\n\n"
    ))
}

fn read(octets: &[u8]) -> Message<'_> {
    Message::parse(octets).expect("invariant: the test's message can be read")
}

fn core<'a>(message: &Message<'a>) -> Core<'a> {
    door(message).expect("invariant: the test's message has what every message has")
}

fn uas(rows: &str) -> Dialog {
    Dialog::uas(&read(&invite(rows)), "b1").expect("a dialog")
}

fn uac(rows: &str, answer_rows: &str) -> Dialog {
    Dialog::uac(&read(&invite(rows)), &read(&answer(200, answer_rows))).expect("a dialog")
}

fn written(writer: Writer) -> String {
    String::from_utf8(writer.finish(None)).expect("invariant: text").replace('\r', "")
}

const CONTACT: &str = "Contact: <sip:alice@192.0.2.4:5070;x=1>;isfocus\n";
const ROUTES: &str =
    "Record-Route: <sip:p3.example;lr>\nRecord-Route: <sip:p2.example;lr>, <sip:p1.example;lr>\n";

#[test]
fn both_sides_of_one_dialog_mirror_each_other() {
    let (theirs, ours) = (uas(&[CONTACT, ROUTES].concat()), uac(CONTACT, &[CONTACT, ROUTES].concat()));
    for (dialog, local, remote) in [(&theirs, "b1", "a1"), (&ours, "a1", "b1")] {
        assert_eq!((dialog.call_id(), dialog.local_tag(), dialog.remote_tag()), ("call-1", local, remote));
    }
    assert_eq!((theirs.local_uri(), theirs.remote_uri()), ("sip:bob@example.com", "sip:alice@example.com"));
    assert_eq!((ours.local_uri(), ours.remote_uri()), ("sip:alice@example.com", "sip:bob@example.com"));
    assert_eq!((theirs.local_cseq(), theirs.remote_cseq()), (None, Some(41)));
    assert_eq!((ours.local_cseq(), ours.remote_cseq()), (Some(41), None));
    assert_eq!((theirs.role(), ours.role()), (Role::Uas, Role::Uac));
    assert_eq!((theirs.phase(), ours.phase()), (Phase::Early, Phase::Confirmed));
    assert_eq!(theirs.remote_target(), "sip:alice@192.0.2.4:5070;x=1");
    // RFC 3261 12.1.1 in order, 12.1.2 in reverse.
    let routes = ["sip:p3.example;lr", "sip:p2.example;lr", "sip:p1.example;lr"];
    assert!(theirs.route_set().eq(routes));
    assert!(ours.route_set().eq(routes.into_iter().rev()));
    assert_eq!(theirs.next_hop(), "sip:p3.example;lr");
    assert!(theirs.hops().eq(routes.into_iter().chain(["sip:alice@192.0.2.4:5070;x=1"])));
    assert_eq!(uas(CONTACT).next_hop(), "sip:alice@192.0.2.4:5070;x=1");
}

#[test]
fn requests_are_built_from_the_dialog() {
    let mut dialog = uas(&[CONTACT, ROUTES].concat());
    let via = |out: &mut Writer| {
        out.row(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx");
    };
    insta::assert_snapshot!(written(dialog.request(Method::Bye, via)), @r"
    BYE sip:alice@192.0.2.4:5070;x=1 SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx
    Max-Forwards: 70
    Route: <sip:p3.example;lr>
    Route: <sip:p2.example;lr>
    Route: <sip:p1.example;lr>
    From: <sip:bob@example.com>;tag=b1
    To: <sip:alice@example.com>;tag=a1
    Call-ID: call-1
    CSeq: 1 BYE
    Content-Length: 0
    ");
    assert!(written(dialog.request(Method::Bye, |_| {})).contains("\nCSeq: 2 BYE\n"));
    let mut ours = uac(CONTACT, CONTACT);
    assert!(written(ours.ack(41, |_| {})).contains("\nCSeq: 41 ACK\n"));
    assert!(written(ours.request(Method::Bye, |_| {})).contains("\nCSeq: 42 BYE\n"));
}

#[test]
fn a_strict_router_stands_in_the_request_uri() {
    // The example of RFC 3261 12.2.1.1.
    let mut dialog = uas(
        "Contact: sip:user@remoteua\nRecord-Route: <sip:proxy1;method=INVITE?x=y>,<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>\n",
    );
    let request = written(dialog.request(Method::Bye, |_| {}));
    assert!(request.starts_with("BYE sip:proxy1 SIP/2.0\n"), "{request}");
    let routes: Vec<&str> = request.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes, ["<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>", "<sip:user@remoteua>"]);
    assert_eq!(dialog.next_hop(), "sip:proxy1;method=INVITE?x=y");
}

#[test]
fn a_request_uri_has_neither_headers_nor_method() {
    for (contact, uri) in [
        ("sip:a@b;x=1;Method=BYE;y", "sip:a@b;x=1;y"),
        ("sip:a@b?Replaces=x", "sip:a@b"),
        ("sip:a;method=x?b@c;method=BYE", "sip:a;method=x?b@c"),
        ("sip:b;methods=1", "sip:b;methods=1"),
    ] {
        assert_eq!(as_request_uri(contact), uri);
    }
}

#[test]
fn a_peer_without_tags_gets_none() {
    let request = String::from_utf8(invite(CONTACT)).expect("text").replace(";tag=a1", "").into_bytes();
    let mut dialog = Dialog::uas(&read(&request), "b1").expect("a dialog");
    assert_eq!(dialog.remote_tag(), "");
    assert!(written(dialog.request(Method::Bye, |_| {})).contains("\nTo: <sip:alice@example.com>\n"));
    let bye =
        String::from_utf8(inside("BYE", 42, "x", "b1")).expect("text").replace(";tag=x", "").into_bytes();
    assert_eq!(dialog.check(&core(&read(&bye))), Ok(()));
}

//= IM X-8 test
#[test]
fn requests_must_rise_and_bear_the_tags_of_the_dialog() {
    let mut dialog = uas(CONTACT);
    let mut check = |method, number, from, to| dialog.check(&core(&read(&inside(method, number, from, to))));
    assert_eq!(check("BYE", 42, "a1", "b2"), Err(DialogFault::NotThisDialog));
    assert_eq!(check("BYE", 42, "a2", "b1"), Err(DialogFault::NotThisDialog));
    assert_eq!(check("BYE", 42, "b1", "a1"), Err(DialogFault::NotThisDialog));
    assert_eq!(check("BYE", 40, "a1", "b1"), Err(DialogFault::CSeqOrder { got: 40, last: 41 }));
    assert_eq!(check("BYE", 41, "a1", "b1"), Err(DialogFault::CSeqOrder { got: 41, last: 41 }));
    assert_eq!(check("ACK", 40, "a1", "b1"), Err(DialogFault::NotThisDialog));
    assert_eq!(check("OPTIONS", 50, "a1", "b1"), Ok(()));
    assert_eq!(check("ACK", 41, "a1", "b1"), Ok(()), "the ACK has the number of its INVITE");
    assert_eq!(check("ACK", 50, "a1", "b1"), Err(DialogFault::NotThisDialog));
    assert_eq!(check("BYE", 49, "a1", "b1"), Err(DialogFault::CSeqOrder { got: 49, last: 50 }));
    assert_eq!(check("INVITE", 51, "a1", "b1"), Ok(()));
    assert_eq!(check("ACK", 41, "a1", "b1"), Err(DialogFault::NotThisDialog), "of the first INVITE");
    assert_eq!(check("ACK", 51, "a1", "b1"), Ok(()));
    assert_eq!(check("BYE", u32::MAX, "a1", "b1"), Ok(()));
}

#[test]
fn the_first_request_of_the_answerer_may_have_any_number() {
    let mut dialog = uac(CONTACT, CONTACT);
    assert_eq!(dialog.check(&core(&read(&inside("ACK", 0, "b1", "a1")))), Err(DialogFault::NotThisDialog));
    assert_eq!(dialog.check(&core(&read(&inside("BYE", 0, "b1", "a1")))), Ok(()));
    assert_eq!(dialog.remote_cseq(), Some(0));
}

#[test]
fn a_target_refresh_changes_the_target_and_nothing_else() {
    let mut dialog = uas(&[CONTACT, ROUTES].concat());
    let mut expected = dialog.clone();
    dialog
        .refresh_target(&read(&invite("Record-Route: <sip:new.example;lr>\n")))
        .expect("no Contact is fine");
    assert_eq!(dialog, expected);
    let moved = invite("Contact: <sip:alice@192.0.2.9>\nRecord-Route: <sip:new.example;lr>\n");
    dialog.refresh_target(&read(&moved)).expect("a good Contact");
    expected.remote_target = "sip:alice@192.0.2.9".into();
    assert_eq!(dialog, expected);
    for bad in
        ["Contact: *\n", "Contact: <sip:a@b>, <sip:c@d>\n", "Contact: <tel:123>\n", "Contact: <sip:>\n"]
    {
        assert!(dialog.refresh_target(&read(&invite(bad))).is_err(), "{bad}");
        assert_eq!(dialog, expected);
    }
}

#[test]
fn what_makes_no_dialog_names_the_header() {
    for (rows, fault) in [
        ("", "Contact is missing"),
        ("Contact: *\n", "Contact is * outside REGISTER"),
        ("Contact: <sip:a@b>\nContact: <sip:c@d>\n", "Contact is repeated"),
        ("Contact: <mailto:a@b>\n", "Contact is no SIP or SIPS URI"),
        ("Contact: <sip:a@b>\nRecord-Route: <tel:1>\n", "Record-Route is no SIP or SIPS URI"),
    ] {
        let got = Dialog::uas(&read(&invite(rows)), "b1").expect_err("no dialog");
        assert_eq!(got.to_string(), fault);
    }
}

#[test]
fn the_2xx_decides_over_route_set_and_target() {
    let early = answer(180, "Contact: <sip:bob@early>\nRecord-Route: <sip:p1.example;lr>\n");
    let mut dialog = Dialog::uac(&read(&invite(CONTACT)), &read(&early)).expect("a dialog");
    assert_eq!((dialog.phase(), dialog.remote_target()), (Phase::Early, "sip:bob@early"));
    let ok = answer(200, "Contact: <sip:bob@late>\nRecord-Route: <sip:p9.example;lr>\n");
    dialog.follow(&read(&ok)).expect("a good 2xx");
    assert_eq!((dialog.phase(), dialog.remote_target()), (Phase::Confirmed, "sip:bob@late"));
    assert!(dialog.route_set().eq(["sip:p9.example;lr"]));
    let bare = Dialog::uac(&read(&invite(CONTACT)), &read(&answer(180, ""))).expect("a dialog");
    assert_eq!(bare.remote_target(), "sip:bob@192.0.2.1", "without Contact, where the INVITE went");
}

#[test]
fn another_2xx_of_a_forked_invite_is_another_dialog() {
    let mut first = uac(CONTACT, CONTACT);
    let _ = first.request(Method::Bye, |_| {});
    first.check(&core(&read(&inside("OPTIONS", 7, "b1", "a1")))).expect("in order");
    let second =
        String::from_utf8(answer(200, "Contact: <sip:bob@two>\n")).expect("text").replace("b1", "b2");
    let fork = first.fork(&read(second.as_bytes())).expect("a dialog");
    assert_eq!((fork.remote_tag(), fork.remote_target()), ("b2", "sip:bob@two"));
    assert_eq!((fork.local_tag(), fork.local_cseq(), fork.remote_cseq()), ("a1", Some(41), None));
    assert_ne!(fork.key(), first.key());
}

#[test]
fn messages_find_their_dialog_by_key() {
    let theirs = uas(CONTACT).key();
    assert_eq!(DialogKey::of_request(&read(&inside("BYE", 42, "a1", "b1"))), Some(theirs.clone()));
    assert_ne!(DialogKey::of_request(&read(&inside("BYE", 42, "b1", "a1"))), Some(theirs));
    assert_eq!(DialogKey::of_request(&read(&invite(CONTACT))), None);
    let ours = uac(CONTACT, CONTACT).key();
    assert_eq!(DialogKey::of_response(&read(&answer(200, ""))), Some(ours.clone()));
    assert_eq!(DialogKey::of_request(&read(&inside("BYE", 42, "b1", "a1"))), Some(ours));
}

#[test]
fn sips_asks_for_a_sips_contact() {
    let sips = |rows: &str, uri: &str| {
        let text = String::from_utf8(invite(rows)).expect("text").replacen("sip:bob", uri, 1);
        let request = read(text.as_bytes());
        (wants_secure_contact(&request), Dialog::uas(&request, "b1").is_ok_and(|dialog| dialog.is_secure()))
    };
    assert_eq!(sips(CONTACT, "sip:bob"), (false, false));
    assert_eq!(sips(CONTACT, "sips:bob"), (true, true));
    assert_eq!(sips("Contact: <sips:a@b>\n", "sip:bob"), (true, false));
    assert_eq!(sips("Contact: <sips:a@b>\nRecord-Route: <sip:p;lr>\n", "sip:bob"), (false, false));
    assert_eq!(sips("Contact: <sip:a@b>\nRecord-Route: <sips:p;lr>\n", "sip:bob"), (true, false));
}

#[test]
fn a_dialog_is_small() {
    let dialog = uas(&[CONTACT, ROUTES].concat());
    let strings = dialog.hops().map(|uri| uri.len() + size_of::<Box<str>>()).sum::<usize>()
        + [&dialog.call_id, &dialog.local_tag, &dialog.remote_tag, &dialog.local_uri, &dialog.remote_uri]
            .map(|text| text.len())
            .iter()
            .sum::<usize>();
    assert!(size_of::<Dialog>() + strings < 512, "{} + {strings}", size_of::<Dialog>());
}
