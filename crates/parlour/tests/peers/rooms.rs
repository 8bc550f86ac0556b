//! SIPp is the focus of a chat room (RFC 7701): what becomes of messages there is told to one participant alone.

use serde_json::json;

use crate::callers::Transport;
use crate::scenario::{OFFER, Scenario};
use crate::stage::{Msrp, Stage, WAIT};

const CONFIG: &str = "conference_subscribe = \"never\"\n[[accounts]]\naddress = \"sip:bob@127.0.0.1\"\n\
    ask_in_rooms = \"delivered\"\ntell_in_rooms = \"displayed\"\ntell_unverified = true\n";

/// The room passes on what somebody has written; `content` stands behind the headers of message/cpim.
fn passes_on(media: &mut Msrp, who: &str, rows: &str, content: &str) {
    let body = format!(
        "From: <sip:{who}@x>\r\nTo: <sip:room@x>\r\nDateTime: 2026-11-30T08:00:00Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: of-{who}\r\n{rows}\r\n{content}"
    );
    let range = format!("Byte-Range: 1-{0}/{0}", body.len());
    media.send(&format!("{range}\r\nContent-Type: message/cpim\r\n\r\n{body}\r\n"), 200);
}

//= IM M-52 test
//= IM M-60 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn who_speaks_in_a_room_is_told_alone_and_each_who_answers_is_told_of() {
    let mut stage = Stage::new("rooms", "all", &[], CONFIG);
    let offer = format!("{OFFER}\na=accept-wrapped-types:*\na=chatroom:private-messages");
    let contact = "Contact: <sip:room@[local_ip]:[local_port];transport=[transport]>;isfocus\n";
    let scenario =
        Scenario::new().request("INVITE", contact, &offer).expect(200, &[("body", "a=path:")]).ack("").left();
    let mut player = stage.play(Transport::Tcp, "127.0.0.1", &scenario);
    stage.bob.await_event("established", WAIT);
    let mut media = player.connect();
    stage.bob.await_event("connected", WAIT);
    let wanted = "imdn.Disposition-Notification: positive-delivery, display\r\n";
    passes_on(&mut media, "carol", wanted, "Content-Type: text/plain\r\n\r\nHello, all");
    let came = stage.bob.await_such("message", WAIT, |event| event["direction"] == "in");
    assert_eq!(came["text"], "Hello, all");
    let (_, delivered) = media.hear();
    stage.bob.tell(&json!({"do": "read", "message_id": came["message_id"]}));
    let (_, displayed) = media.hear();
    for (told, what) in [(delivered, "<delivered/>"), (displayed, "<displayed/>")] {
        assert!(told.contains("\r\nTo: <sip:carol@x>\r\n") && told.contains(what), "{told}");
        assert!(told.contains("<message-id>of-carol</message-id>"), "{told}");
    }
    stage.bob.tell(&json!({"do": "say", "message_id": "said1", "text": "Hello, Carol"}));
    let (_, said) = media.hear();
    assert!(
        said.contains("\r\nimdn.Disposition-Notification: positive-delivery, negative-delivery\r\n"),
        "{said}"
    );
    // Each of them says it twice; Bob's user hears it once.
    for who in ["carol", "dave", "carol", "dave"] {
        let document = format!(
            "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>said1</message-id>\
             <datetime>2026-11-30T08:00:00Z</datetime><recipient-uri>sip:{who}@x</recipient-uri>\
             <delivery-notification><status><delivered/></status></delivery-notification></imdn>"
        );
        let content = "Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n";
        passes_on(&mut media, who, "", &format!("{content}{document}"));
    }
    stage.bob.tell(&json!({"do": "leave"}));
    player.program.succeed(WAIT);
    stage.bob.await_event("ended", WAIT);
    let told = stage.bob.seen.iter().filter(|event| event["type"] == "receipt");
    let told: Vec<_> = told.map(|event| (&event["recipient"], &event["state"])).collect();
    assert_eq!(
        told,
        [(&json!("sip:carol@x"), &json!("delivered")), (&json!("sip:dave@x"), &json!("delivered"))]
    );
}
