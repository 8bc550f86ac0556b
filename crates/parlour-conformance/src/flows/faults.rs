//! Bad input over SIP, and what it is answered with (issue list, catalogue 1.3 and 6.6).

use crate::common::{Call, accepting, config};
use parlour_proto::config::Accept;
use parlour_proto::event::What;
use parlour_sim::{Mail, Script, text};

/// The response to a first request of Alice's, given what becomes of the usual INVITE on its way.
fn answer_to(change: impl Fn(&Call) -> String) -> (Call, Mail) {
    let mut call = Call::new(config(crate::common::BOB));
    let octets = change(&call);
    call.send(octets);
    let answer = call.world.expect(call.alice, "a final response", |mail| {
        text::status(mail.message()).is_some_and(|status| status >= 200)
    });
    (call, answer)
}

/// Makes sure of status and quietness, and ends the world.
#[track_caller]
fn refused(change: impl Fn(&Call) -> String, line: &str) -> Mail {
    let (mut call, answer) = answer_to(change);
    let start = text::start_line(answer.message());
    assert!(start.starts_with(&format!("SIP/2.0 {line}")), "{start}");
    assert_eq!(call.invitations(), 0);
    call.ack_refusal(&answer);
    call.over();
    answer
}

#[cfg_attr(test, test)]
pub(crate) fn an_unknown_extension_is_required() {
    let answer = refused(|call| call.script.invite_with("Require: foo\r\n", &call.script.offer()), "420");
    assert_eq!(text::header(answer.message(), "Unsupported").as_deref(), Some("foo"));
}

//= IM G-4v test
#[cfg_attr(test, test)]
pub(crate) fn two_contacts_none_a_star_or_another_scheme() {
    let contact = "Contact: <sip:192.0.2.1:5060>\r\n";
    for other in [
        "",
        "Contact: <sip:a@x>, <sip:b@x>\r\n",
        "Contact: *\r\n",
        "Contact: <tel:+1555>\r\n",
        "Contact: \r\n",
    ] {
        let answer = refused(|call| call.script.invite().replace(contact, other), "400");
        assert!(text::start_line(answer.message()).contains("Contact"), "{other:?}");
    }
}

//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn a_lower_cseq_in_the_dialog_gets_500() {
    let mut call = Call::established();
    call.script.cseq = 5;
    let options = call.script.next(&mut call.world, "OPTIONS", "", "");
    call.send(options);
    call.status(200);
    call.script.cseq = 2;
    let options = call.script.next(&mut call.world, "OPTIONS", "", "");
    call.send(options);
    call.status(500);
    call.script.cseq = 7;
    call.bye();
    call.status(200);
    call.over();
}

//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn an_unknown_dialog_gets_481() {
    for method in ["INVITE", "BYE", "OPTIONS"] {
        let mut call = Call::new(config(crate::common::BOB));
        call.script.remote_tag = Some("nobody".to_owned());
        let rows = "Contact: <sip:192.0.2.1:5060>\r\n";
        let request = call.script.next(&mut call.world, method, rows, "");
        call.send(request);
        let answer = call.status(481);
        if method == "INVITE" {
            call.ack_refusal(&answer);
        }
        call.over();
    }
}

/// Whoever knows the tags of a dialog is not yet its peer.
//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn a_bye_from_where_the_peer_is_not_known_to_be_gets_481() {
    for (contact, status) in [
        ("<sip:192.0.2.1:5060>", 481),
        ("<sip:alice@alice.example>", 481),
        // She said herself that she would be there.
        ("<sip:alice@192.0.2.3>", 200),
    ] {
        let mut call = Call::new(accepting(Accept::All));
        call.world.name("alice.example", &[[192, 0, 2, 3].into()]);
        let invite = call.script.invite().replacen("<sip:192.0.2.1:5060>", contact, 1);
        call.send(invite);
        let answer = call.status(200);
        call.ack(&answer);
        let mallory = call.world.peer("mallory");
        let way = call.world.udp(mallory, call.bob);
        let mut forged = call.script.clone();
        let bye = forged.bye(&mut call.world);
        call.world.send(way, bye);
        call.world.expect_status(mallory, status);
        let explained = call.at_bob().events.iter().any(|(_, event)| {
            matches!(&event.what, What::Explain(why) if why.clause == "X-8" && why.input.contains("192.0.2.3"))
        });
        assert_eq!(explained, status == 481, "{contact}");
        if status == 481 {
            call.bye();
            call.status(200);
        }
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn a_double_line_break_is_answered_with_one() {
    let mut call = Call::new(config(crate::common::BOB));
    let to = call.world.address(call.bob, 5060);
    let stream = call.world.open(call.alice, to, parlour_proto::io::Service::Sip);
    call.world.send(stream, "\r\n\r\n");
    let pong = call.world.expect(call.alice, "a line break", |mail| mail.message() == b"\r\n");
    assert_eq!(pong.way, stream);
    call.over();
}

//= IM X-11 test
#[cfg_attr(test, test)]
pub(crate) fn a_datagram_shorter_than_its_content_length() {
    refused(|call| call.script.invite().trim_end_matches("setup:actpass\r\n").to_owned(), "400");
}

#[cfg_attr(test, test)]
pub(crate) fn octets_behind_the_body_of_a_datagram_do_not_matter() {
    let mut call = Call::new(config(crate::common::BOB));
    call.send(format!("{}garbage", call.script.invite()));
    call.status(180);
    call.send(call.script.cancel());
    call.refused(487);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_latin_1_octet_or_an_escaped_quote_loses_nothing() {
    let mut call = Call::new(config(crate::common::BOB));
    let offer = call.script.offer();
    let invite =
        call.script.invite_with("Subject: caf\u{1}\r\nOrganization: \"a \\\" b\"\r\nX-Last: yes\r\n", &offer);
    let invite = invite.replace("From: \"alice\"", "From: \"al\u{1}ce \\\" <sip:x@y>\"");
    let octets: Vec<u8> = invite.bytes().map(|octet| if octet == 1 { 0xE9 } else { octet }).collect();
    call.send(&octets);
    let ringing = call.status(180);
    let from = |octets: &[u8]| {
        let start = octets.windows(6).position(|six| six == b"From: ").expect("it has From");
        octets.iter().copied().skip(start).take_while(|octet| *octet != b'\r').collect::<Vec<u8>>()
    };
    assert_eq!(from(ringing.message()), from(&octets));
    assert_eq!(call.invitations(), 1);
    call.send(call.script.cancel());
    call.refused(487);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_cseq_of_another_method() {
    refused(|call| call.script.invite().replace("1 INVITE", "1 BYE"), "400");
}

#[cfg_attr(test, test)]
pub(crate) fn methods_schemes_hosts_bodies_and_versions_that_we_do_not_serve() {
    let answer = refused(|call| call.script.request("PUBLISH", "z9hG4bK-1", "", ""), "405");
    assert!(text::header(answer.message(), "Allow").is_some_and(|allow| allow.contains("INVITE")));
    refused(|call| call.script.invite().replacen("sip:bob@192.0.2.2", "http://x", 1), "416");
    refused(|call| call.script.invite().replacen("sip:bob@192.0.2.2", "sip:carol@192.0.2.2", 1), "404");
    let answer =
        refused(|call| call.script.invite().replace("application/sdp", "application/unknown"), "415");
    assert!(text::header(answer.message(), "Accept").is_some_and(|types| types.contains("application/sdp")));
    refused(|call| call.script.invite().replacen("SIP/2.0", "SIP/3.0", 1), "505");
    refused(|call| call.script.invite().replacen("Max-Forwards: 70", "Max-Forwards: 256", 1), "400");
}

//= IM S-1 test
//= IM D-1 test
//= IM D-2 test
//= IM D-3 test
#[cfg_attr(test, test)]
pub(crate) fn offers_that_cannot_be_taken_never_alert() {
    let offers = [
        ("m=message 2855 TCP/MSRP *", "m=audio 2855 RTP/AVP 0", "304"),
        ("accept-types:text/plain message/cpim", "accept-types:foo/bar", "305"),
        ("TCP/MSRP", "TCP/FOO", "302"),
        ("TCP/MSRP", "msrp/tcp", "302"),
        ("a=path:", "a=nopath:", "306"),
        ("a=path:msrp", "a=path:http", "306"),
        (";tcp", ";ws", "306"),
        ("a=setup", "a=path:msrp://192.0.2.1:2855/other;tcp\r\na=setup", "306"),
        ("accept-types:", "no-types:", "306"),
    ];
    for (from, to, warning) in offers {
        let change = |call: &Call| {
            let offer = call.script.offer().replace("a=accept-wrapped-types:*\r\n", "").replace(from, to);
            call.script.invite_with("", &offer)
        };
        let answer = refused(change, "488");
        let found = text::header(answer.message(), "Warning").unwrap_or_default();
        assert!(found.starts_with(warning), "{to}: {found}");
    }
    refused(|call| call.script.invite_with("", "v=0\r\no=nonsense\r\n"), "400");
}

#[cfg_attr(test, test)]
pub(crate) fn requests_without_what_identifies_them_are_dropped() {
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let mut call = Call::new(config(crate::common::BOB));
        let invite = call.script.invite().replace("z9hG4bK-ok", "z9hG4bK-no");
        let without: Vec<&str> =
            invite.split_inclusive("\r\n").filter(|row| !row.starts_with(&format!("{name}:"))).collect();
        call.send(without.concat());
        call.world.run(40_000);
        let answers = call.world.mail_of(call.alice);
        assert!(
            answers.iter().all(|mail| text::status(mail.message()) == Some(400)),
            "without {name}: {:?}",
            answers.first().map(|mail| text::lossy(mail.message()))
        );
        assert_eq!(call.invitations(), 0);
        call.over();
    }
}

//= IM R-44 test
#[cfg_attr(test, test)]
pub(crate) fn options_tell_what_we_can() {
    // Long enough that the answer may be long.
    let rows = format!("Contact: <sip:192.0.2.1>\r\nSubject: {}\r\n", "x".repeat(900));
    let (call, answer) = answer_to(|call| call.script.request("OPTIONS", "z9hG4bK-1", &rows, ""));
    assert_eq!(text::status(answer.message()), Some(200));
    for name in ["Allow", "Accept", "Supported", "Server"] {
        assert!(text::header(answer.message(), name).is_some(), "no {name}");
    }
    assert!(text::lossy(text::body(answer.message())).contains("m=message 0 TCP/MSRP *"));
    call.over();
}

//= IM X-14 test
#[cfg_attr(test, test)]
pub(crate) fn a_forged_source_gets_no_more_out_of_us_than_was_put_in() {
    let small = |call: &Call| call.script.request("OPTIONS", "z9hG4bK-1", "", "");
    let no_chat = |call: &Call| {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        call.script.invite_with("", offer)
    };
    for (request, status) in [(&small as &dyn Fn(&Call) -> String, 200), (&no_chat, 488)] {
        let (mut call, answer) = answer_to(request);
        assert_eq!(text::status(answer.message()), Some(status));
        let (sent, got) = (request(&call).len(), answer.message().len());
        assert!(got <= sent.max(512) && text::body(answer.message()).is_empty(), "{got} for {sent}");
        call.ack_refusal(&answer);
        // Nobody forges a whole connection.
        let to = call.world.address(call.bob, 5060);
        let stream = call.world.open(call.alice, to, parlour_proto::io::Service::Sip);
        call.world.expect_opened(call.alice);
        call.script = Script::caller(&mut call.world, call.alice, stream, crate::common::BOB);
        call.world.send(stream, request(&call).replace("z9hG4bK-1", "z9hG4bK-2"));
        let answer = call.status(status);
        assert!(!text::body(answer.message()).is_empty());
        call.world.run(40_000);
        call.over();
    }
}

//= IM G-5 test
//= IM G-6 test
//= IM G-7 test
//= IM G-8 test
//= IM X-42 test
#[cfg_attr(test, test)]
pub(crate) fn every_response_bears_release_methods_identity_and_one_tag() {
    let (mut call, answer) = Call::answered();
    call.ack(&answer);
    call.bye();
    call.status(200);
    let mut tags: Vec<String> = Vec::new();
    for row in call.world.rows().iter().filter(|row| text::status(&row.octets).is_some()) {
        let value =
            |name| text::header(&row.octets, name).unwrap_or_else(|| panic!("{} has no {name}", row.label));
        assert!(value("Server").starts_with("IM-client/OMA1.0 Parlour/"));
        assert!(value("Allow").contains("INVITE"));
        let to_invite = value("CSeq").ends_with("INVITE");
        assert!(!to_invite || value("P-Preferred-Identity").contains(crate::common::BOB));
        assert_eq!(
            value("Via"),
            "SIP/2.0/UDP 192.0.2.1:5060;branch=".to_owned()
                + value("Via").split("branch=").nth(1).unwrap_or("")
        );
        tags.push(text::param(&value("To"), "tag").unwrap_or_default());
    }
    tags.dedup();
    assert!(matches!(&tags[..], [tag] if tag.len() >= 16), "{tags:?}");
    call.over();
}
