//! JSON lines: events out, commands in. The format is written down in docs/json.md; [`VERSION`] counts its breaks.

mod command;
pub(crate) mod file;
mod parts;
mod payload;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parlour_msrp::Body;
use parlour_proto::client::Page;
use parlour_proto::event::What;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::{Outcome, Wish};
use crate::model::SessionName;
use crate::speed::Speed;
use crate::store::{Decided, Decision, NewMessage, OwnBody, Row, Saying};

pub(crate) use command::command;
pub(crate) use parts::told;
pub(crate) use payload::{fate_word, kind, paging, payload, saying, word};

/// Stands in every line as `v`. A new version may take meaning away; within one, fields and types are only added.
pub(crate) const VERSION: u32 = 1;

/// Octets of a command line, its end included.
pub(crate) const LONGEST_COMMAND: usize = 4 * 1024 * 1024;

/// A line for a live event. `file` is where a spooled body, or a whole file, lies; `speed` is that of a file.
pub(crate) fn event_line(
    seq: Option<u64>,
    time: Duration,
    account: &str,
    session: Option<SessionName>,
    what: &What,
    (file, speed): (Option<&str>, Option<Speed>),
) -> String {
    let run = session.map_or(0, |session| session.run);
    let session = session.map(|session| session.to_string());
    let mut line = envelope(seq, time, Some(account), session.as_deref(), kind(what));
    push_object(&mut line, &payload(what, run));
    if let (What::File { .. }, Some(path)) = (what, file) {
        push_field(&mut line, "path", path);
    }
    if let Some(Speed { rate, left, .. }) = speed {
        push_field(&mut line, "rate", &rate);
        push_field(&mut line, "left", &left);
    }
    if let What::Message(message) = what {
        match &message.body {
            Body::Inline(octets) => push_body(&mut line, &message.content_type, octets),
            Body::Spooled { .. } => push_field(&mut line, "file", &file),
        }
    }
    line.push('}');
    line
}

/// A line for a stored event.
pub(crate) fn row_line(row: &Row) -> String {
    let mut line = envelope(Some(row.seq), row.time, Some(&row.account), row.session.as_deref(), &row.kind);
    push_object(&mut line, &row.json);
    if let Some(body) = &row.body {
        match &body.file {
            Some(file) => push_field(&mut line, "file", &file.to_string_lossy()),
            None => push_body(&mut line, &body.content_type, &body.octets),
        }
    }
    line.push('}');
    line
}

/// A line for a message of the history: as [`row_line`], with its state.
pub(crate) fn saying_line(saying: &Saying) -> String {
    let mut line = row_line(&saying.row);
    line.pop();
    push_field(&mut line, "state", &saying.state);
    if let Some(why) = &saying.why {
        push_field(&mut line, "why", why);
    }
    if let Some(receipt) = &saying.receipt {
        push_field(&mut line, "receipt", receipt);
    }
    line.push('}');
    line
}

/// A line for a message of ours that is durable now. `file` is where a large body lies.
pub(crate) fn said_line(
    seq: u64,
    time: Duration,
    account: &str,
    session: SessionName,
    peer: &str,
    message: &NewMessage,
    file: Option<&str>,
) -> String {
    let mut line = envelope(Some(seq), time, Some(account), Some(&session.to_string()), "message");
    push_object(&mut line, &saying(peer, message));
    match &message.body {
        OwnBody::Inline(octets) => push_body(&mut line, &message.content_type, octets),
        OwnBody::Kept(..) => push_field(&mut line, "file", &file),
    }
    line.push('}');
    line
}

/// A line for a message of ours outside any session that is durable now.
pub(crate) fn paged_line(seq: u64, time: Duration, account: &str, to: &str, page: &Page) -> String {
    let mut line = envelope(Some(seq), time, Some(account), None, "message");
    push_object(&mut line, &paging(to, page));
    push_body(&mut line, &page.content_type, &page.body);
    line.push('}');
    line
}

/// A line for a decision that was kept.
pub(crate) fn decision_line(path: &Decided, decision: &Decision) -> String {
    let time = Duration::from_micros(decision.time);
    let mut line = envelope(None, time, Some(&path.account), path.session.as_deref(), "explain");
    push_field(&mut line, "clause", &decision.clause);
    push_field(&mut line, "decision", &decision.decision);
    push_field(&mut line, "input", &decision.input);
    if let Some(call_id) = &path.call_id {
        push_field(&mut line, "call_id", call_id);
    }
    line.push('}');
    line
}

/// The line that answers a command.
pub(crate) fn outcome_line(time: Duration, outcome: &Outcome) -> String {
    let kind = if outcome.what.is_ok() { "result" } else { "error" };
    let mut line = envelope(None, time, None, None, kind);
    if let Some(id) = &outcome.id {
        push_field(&mut line, "id", id);
    }
    match &outcome.what {
        Ok(achieved) => {
            if let Some(session) = achieved.session {
                push_field(&mut line, "session", &session.to_string());
            }
            if let Some(message_id) = &achieved.message_id {
                push_field(&mut line, "message_id", message_id);
            }
            match &achieved.wish {
                Some(Wish::Blocked(address)) => push_field(&mut line, "blocked", address),
                Some(Wish::Unblocked(address)) => push_field(&mut line, "unblocked", address),
                None => {}
            }
            if let Some(users) = &achieved.users {
                push_field(&mut line, "users", &payload::users(users));
            }
        }
        Err(what) => push_field(&mut line, "what", what),
    }
    line.push('}');
    line
}

/// A line that says something about the program itself.
pub(crate) fn notice_line(time: Duration, kind: &str, what: &str) -> String {
    let mut line = envelope(None, time, None, None, kind);
    push_field(&mut line, "what", &what);
    line.push('}');
    line
}

/// The line that says that so many events were not written; those that are `kept` follow it.
pub(crate) fn slow_line(time: Duration, missed: u64, kept: bool) -> String {
    let what = match kept {
        true => format!("{missed} events were not written at once; those with a number follow"),
        false => format!("{missed} events were not written and are lost: store is false"),
    };
    let mut line = envelope(None, time, None, None, "slow");
    push_field(&mut line, "what", &what);
    push_field(&mut line, "missed", &missed);
    line.push('}');
    line
}

/// The first line of a run: where it listens and who it is.
pub(crate) fn ready_line(time: Duration, run: u64, addresses: &[String], listening: &[String]) -> String {
    let mut line = envelope(None, time, None, None, "ready");
    push_field(&mut line, "run", &run);
    push_field(&mut line, "addresses", addresses);
    push_field(&mut line, "listening", listening);
    line.push('}');
    line
}

/// As [`rfc3339`], to the second.
pub(crate) fn seconds(time: Duration) -> String {
    rfc3339(Duration::from_secs(time.as_secs()))
}

/// Octets of a text that is UTF-8, else `None`.
fn as_text<'a>(content_type: &str, octets: &'a [u8]) -> Option<&'a str> {
    let is_text = content_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    if is_text { std::str::from_utf8(octets).ok() } else { None }
}

fn envelope(
    seq: Option<u64>,
    time: Duration,
    account: Option<&str>,
    session: Option<&str>,
    kind: &str,
) -> String {
    let head = Envelope { v: VERSION, seq, time: &rfc3339(time), account, session, r#type: kind };
    let mut line = serde_json::to_string(&head).unwrap_or_else(|_| "{}".into());
    line.pop();
    line
}

/// Adds the fields of an object to a line that is open.
fn push_object(line: &mut String, object: &str) {
    let fields = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    if !fields.is_empty() {
        line.push(',');
        line.push_str(fields);
    }
}

fn push_field(line: &mut String, name: &str, value: &(impl Serialize + ?Sized)) {
    if let Ok(value) = serde_json::to_string(value) {
        line.push_str(",\"");
        line.push_str(name);
        line.push_str("\":");
        line.push_str(&value);
    }
}

fn push_body(line: &mut String, content_type: &str, octets: &[u8]) {
    match as_text(content_type, octets) {
        Some(text) => push_field(line, "text", text),
        None => push_field(line, "base64", &BASE64.encode(octets)),
    }
}

/// As RFC 3339 writes it, in UTC, to the microsecond.
pub(crate) fn rfc3339(time: Duration) -> String {
    let nanos = i128::try_from(time.as_micros()).unwrap_or(0).saturating_mul(1000);
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}

#[derive(Serialize)]
struct Envelope<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    r#type: &'a str,
}

#[cfg(test)]
mod tests {
    use parlour_proto::event::{Ended, Incoming, Peer, Proof};
    use parlour_proto::io::{Receipt, SessionId};
    use parlour_proto::mime::content::{Head, read};

    use super::*;
    use crate::store::StoredBody;

    fn message(content_type: &str, body: &[u8]) -> What {
        What::Message(Incoming {
            receipt: Receipt(1),
            message_id: "m1".into(),
            from: Peer { address: "sip:a@x".into(), display_name: Some("A \"B\"".into()), verified: true },
            claimed_from: None,
            authors: Vec::new(),
            sent_at: None,
            subject: None,
            notices: Vec::new(),
            expires: None,
            content_type: content_type.into(),
            body: Body::Inline(body.to_vec()),
            body_offset: 0,
            parts: read(Head { content_type: Some(content_type.as_bytes()), ..Head::default() }, body),
            renderable: true,
            room: None,
        })
    }

    fn read_line(line: &str) -> serde_json::Value {
        serde_json::from_str(line).expect("a line of JSON")
    }

    fn row(content_type: &str, octets: &[u8], file: Option<&str>) -> Row {
        let body = StoredBody {
            content_type: content_type.into(),
            octets: octets.into(),
            file: file.map(Into::into),
        };
        Row {
            seq: 7,
            time: Duration::from_millis(1_500),
            account: "sip:us@x".into(),
            session: Some("3-17".into()),
            kind: "message".into(),
            json: "{\"message_id\":\"m1\"}".into(),
            body: Some(body),
        }
    }

    #[test]
    fn what_is_stored_is_told_with_its_text_or_its_file() {
        let short = read_line(&row_line(&row("Text/Plain", b"hi", None)));
        assert_eq!(
            (&short["seq"], &short["message_id"], &short["text"]),
            (&7.into(), &"m1".into(), &"hi".into())
        );
        assert_eq!(read_line(&row_line(&row("image/png", b"hi", None)))["base64"], "aGk=");
        let large = read_line(&row_line(&row("text/plain", b"", Some("/spool/7"))));
        assert_eq!((&large["file"], large.get("text")), (&"/spool/7".into(), None));
        let saying = Saying {
            row: row("text/plain", b"hi", None),
            peer: "sip:a@x".into(),
            incoming: false,
            state: "failed".into(),
            why: Some("gone".into()),
            receipt: Some("delivered".into()),
        };
        let told = read_line(&saying_line(&saying));
        let words = [&told["state"], &told["why"], &told["receipt"], &told["text"]];
        assert_eq!(words, ["failed", "gone", "delivered", "hi"]);
        assert_eq!(seconds(Duration::from_millis(1_999)), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn what_a_program_is_told_of_its_commands_and_of_itself() {
        let outcome =
            |what| read_line(&outcome_line(Duration::ZERO, &Outcome { id: Some("5".into()), what }));
        let done = outcome(Ok(crate::command::Achieved::default()));
        assert_eq!((&done["type"], &done["id"]), (&"result".into(), &"5".into()));
        let fault = outcome(Err("no such session".into()));
        assert_eq!((&fault["type"], &fault["what"]), (&"error".into(), &"no such session".into()));
        for (kept, word) in [(true, "follow"), (false, "lost")] {
            let slow = read_line(&slow_line(Duration::ZERO, 3, kept));
            assert!(
                slow["missed"] == 3 && slow["what"].as_str().is_some_and(|it| it.contains(word)),
                "{slow}"
            );
        }
        let ready =
            read_line(&ready_line(Duration::ZERO, 4, &["sip:a@x".into()], &["udp:0.0.0.0:5060".into()]));
        assert_eq!((&ready["run"], &ready["addresses"][0]), (&4.into(), &"sip:a@x".into()));
    }

    fn line(what: &What) -> serde_json::Value {
        let session = SessionName { run: 3, session: SessionId(17) };
        let line =
            event_line(Some(9), Duration::from_millis(1_500), "sip:us@x", Some(session), what, (None, None));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_message_is_one_object_with_its_text() {
        let json = line(&message("text/plain;charset=utf-8", "h\u{e9}\n".as_bytes()));
        let expected = serde_json::json!({
            "v": 1, "seq": 9, "time": "1970-01-01T00:00:01.5Z", "account": "sip:us@x", "session": "3-17",
            "type": "message", "direction": "in", "message_id": "m1",
            "from": {"address": "sip:a@x", "display_name": "A \"B\"", "verified": true},
            "content_type": "text/plain;charset=utf-8", "renderable": true, "size": 4, "text": "h\u{e9}\n",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn octets_that_are_no_text_are_base64() {
        assert_eq!(line(&message("image/png", b"\x89P"))["base64"], "iVA=");
        assert_eq!(line(&message("text/plain", b"\xff"))["base64"], "/w==");
    }

    #[test]
    fn a_message_of_several_parts_tells_them() {
        let body = b"--b\r\n\r\nhi\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVA=\r\n--b--";
        let json = line(&message("multipart/mixed; boundary=b", body));
        let expected = serde_json::json!([
            {"kind": "text", "content_type": "text/plain", "disposition": "render", "size": 2, "text": "hi",
             "offset": 7, "length": 2},
            {"kind": "image", "content_type": "image/png", "disposition": "render", "size": 2, "offset": 78,
             "length": 4, "coding": "base64"},
        ]);
        assert_eq!(json["parts"], expected);
        assert_eq!(&body[78..82], b"iVA=");
        // Octets that are no UTF-8 are a text all the same.
        let latin = line(&message("text/plain; charset=iso-8859-1", b"caf\xe9"));
        assert_eq!((&latin["parts"][0]["text"], &latin["base64"]), (&"caf\u{e9}".into(), &"Y2Fm6Q==".into()));
    }

    #[test]
    fn an_event_without_fields_of_its_own_is_an_object_too() {
        assert_eq!(line(&What::Connected)["type"], "connected");
        assert_eq!(line(&What::Held)["type"], "held");
        let reconnecting = line(&What::Reconnecting { why: "gone".into() });
        assert_eq!((&reconnecting["type"], &reconnecting["why"]), (&"reconnecting".into(), &"gone".into()));
        assert_eq!(line(&What::Resumed)["type"], "resumed");
        let refused = |warning: Option<&str>, retry_after| {
            let (warning, reason) = (warning.map(str::to_owned), "Busy Here".to_owned());
            line(&What::Ended(Ended::Refused { status: 486, reason, warning, retry_after }))["end"].clone()
        };
        let plain = serde_json::json!({"how": "refused", "status": 486, "reason": "Busy Here"});
        assert_eq!(refused(None, None), plain);
        let full = refused(Some("In a call"), Some(Duration::from_secs(90)));
        assert_eq!((&full["warning"], &full["retry_after"]), (&"In a call".into(), &90.into()));
    }

    #[test]
    fn who_is_writing_is_named() {
        let by = Peer { address: "sip:a@x".into(), display_name: None, verified: false };
        let written = line(&What::Composing { by, active: true, content_type: Some("audio".into()) });
        assert_eq!((&written["type"], &written["active"]), (&"composing".into(), &true.into()));
        assert_eq!(written["by"], serde_json::json!({"address": "sip:a@x", "verified": false}));
        assert_eq!(written["content_type"], "audio");
    }

    #[test]
    fn what_a_recipient_tells_is_named() {
        let from = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
        let (message_id, fate) = ("m1".into(), parlour_proto::event::Fate::Displayed);
        let told = line(&What::Receipt { message_id, from, recipient: Some("sip:c@x".into()), fate });
        assert_eq!((&told["type"], &told["state"]), (&"receipt".into(), &"displayed".into()));
        assert_eq!((&told["message_id"], &told["recipient"]), (&"m1".into(), &"sip:c@x".into()));
        assert_eq!(told["from"]["verified"], true);
    }

    //= IM M-60 test
    //= IM M-61 test
    #[test]
    fn a_conference_tells_who_wrote_what_to_whom() {
        let What::Message(mut told) = message("text/plain", b"hi") else { unreachable!("it is a message") };
        let author = Peer { address: "sip:c@x".into(), display_name: Some("Carol".into()), verified: true };
        let room = parlour_proto::event::InRoom { author: Some(author), private: true, ..Default::default() };
        told.room = Some(Box::new(room));
        let json = line(&What::Message(told));
        let author = serde_json::json!({"address": "sip:c@x", "display_name": "Carol", "verified": true});
        assert_eq!((&json["author"], &json["private"]), (&author, &true.into()));
        assert!(json.get("own").is_none() && json.get("private_to").is_none());
        let plain = line(&message("text/plain", b"hi"));
        assert!(plain.get("author").is_none() && plain.get("private").is_none());
        let named = line(&What::Nickname { nickname: "Bob".into() });
        assert_eq!((&named["type"], &named["nickname"]), (&"nickname".into(), &"Bob".into()));
        let (status, why) = (Some(425), "taken".into());
        let refused = line(&What::NicknameRefused { nickname: "Bob".into(), status, why });
        assert_eq!((&refused["type"], &refused["status"]), (&"nickname_refused".into(), &425.into()));
    }

    #[test]
    fn other_sessions_are_named_in_full() {
        let replaced = line(&What::Ended(Ended::Replaced { by: SessionId(18) }));
        assert_eq!(replaced["end"], serde_json::json!({"how": "replaced", "by": "3-18"}));
        let moved = line(&What::Moved { message_id: "m1".into(), to: SessionId(18) });
        assert_eq!((&moved["type"], &moved["to"]), (&"moved".into(), &"3-18".into()));
        let thread = parlour_proto::event::Thread { replaces: Some(SessionId(16)), ..Default::default() };
        let peer = parlour_proto::event::Peer::default();
        let kind = parlour_proto::event::Kind::Group;
        let invitee = |address: &str, copy| parlour_proto::event::Invitee {
            address: address.into(),
            display_name: None,
            copy,
            count: 1,
        };
        let invited_with = vec![invitee("sip:bill@x", parlour_proto::event::CopyControl::Cc)];
        let (info, why) = (Some("https://x".to_owned()), "ok".to_owned());
        let identity = parlour_proto::event::Identity { proof: Proof::UnknownSigner, info, why };
        let identity = Some(Box::new(identity));
        let (subject, asked, files) = (None, false, Vec::new());
        let invited =
            line(&What::Invited { peer, kind, subject, asked, identity, thread, invited_with, files });
        let identity = serde_json::json!({"proof": "unknown_signer", "info": "https://x", "why": "ok"});
        assert_eq!(invited["identity"], identity);
        assert_eq!(invited["replaces"], "3-16");
        assert!(invited.get("referred_by").is_none());
        let bill = serde_json::json!([{"address": "sip:bill@x", "copy": "cc", "count": 1}]);
        assert_eq!(invited["invited_with"], bill);
    }
}
