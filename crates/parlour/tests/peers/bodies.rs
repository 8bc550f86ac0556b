//! SIPp invites with bodies of several parts: who else is invited, a first message, and what Bob does not know.

use serde_json::json;

use crate::callers::BOTH;
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Stage, WAIT};

const HERE: &str = "127.0.0.1";

const HISTORY: &str = "Content-Type: application/resource-lists+xml\n\
    Content-Disposition: recipient-list-history; handling=optional\n\n\
    <?xml version=\"1.0\"?>\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
    xmlns:cp=\"urn:ietf:params:xml:ns:copyControl\"><list>\
    <entry uri=\"sip:bill@example.com\" cp:copyControl=\"to\"/></list></resource-lists>";

const FIRST: &str = "Content-Type: message/cpim\n\nFrom: <sip:anonymous@anonymous.invalid>\n\
    To: <sip:bob@127.0.0.1>\nNS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: first[pid]\n\n\
    Content-Type: text/plain; charset=utf-8\n\nIs it lunch yet?";

/// An INVITE whose body has these parts and an offer.
fn invite(parts: &[&str]) -> Scenario {
    let offer = format!("Content-Type: application/sdp\n\n{OFFER}");
    let parts = parts.iter().copied().chain([offer.as_str()]);
    let body: String = parts.map(|part| format!("--b1\n{part}\n")).collect();
    Scenario::new().request(
        "INVITE",
        "Content-Type: multipart/mixed; boundary=\"b1\"",
        &format!("{body}--b1--"),
    )
}

//= IM S-1b test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn who_else_is_invited_and_a_first_message_come_with_the_invitation() {
    let mut stage = Stage::new("parts", "all", &[], "");
    let answer: [Check<'_>; 3] =
        [("Content-Type:", "^ *application/sdp *$"), ("body", "^v=0"), ("body", "a=path:msrp:")];
    for transport in BOTH {
        stage.whole(transport, HERE, &invite(&[HISTORY, FIRST]).expect(200, &answer).ack("").bye());
        let invited = stage.bob.await_event("invited", WAIT);
        assert_eq!(invited["invited_with"][0]["address"], "sip:bill@example.com", "{invited}");
        assert_eq!(invited["invited_with"][0]["copy"], "to");
        let first = stage.bob.await_event("message", WAIT);
        assert_eq!((&first["text"], &first["session"]), (&json!("Is it lunch yet?"), &invited["session"]));
        stage.bob.await_event("ended", WAIT);
    }
    stage.judged(4);
}

//= IM S-1b test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn parts_that_must_be_understood_and_are_not_ring_nobody() {
    let mut stage = Stage::new("odd-parts", "all", &[], "");
    let html = "Content-Type: text/html\n\n<p>";
    let twice = "Content-Type: application/sdp\n\nv=0";
    let optional = "Content-Type: text/html\nContent-Disposition: render;handling=optional\n\n<p>";
    for transport in BOTH {
        for scenario in [
            invite(&[html]).refused(415, &[("Accept:", "^ *application/sdp, multipart/mixed")]),
            invite(&[twice]).refused(400, &[("msg", "!Contact: ")]),
            Scenario::new()
                .request("INVITE", "Content-Type: multipart/mixed", "--b1\n\nx\n--b1--")
                .refused(400, &[("msg", "^SIP/2\\.0 400 .*boundary")]),
            invite(&[optional]).expect(200, &[("body", "a=path:msrp:")]).ack("").bye(),
        ] {
            stage.whole(transport, HERE, &scenario);
        }
    }
    stage.bob.caught_up();
    assert_eq!(stage.bob.count("invited"), 2);
    stage.judged(8);
}
