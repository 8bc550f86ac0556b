//! JSON lines: events out, commands in. The format is written down in docs/json.md; [`VERSION`] counts its breaks.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parlour_msrp::Body;
use parlour_proto::client::Decline;
use parlour_proto::event::{Ended, Incoming, Peer, Progress, What};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::{Asked, Command, Outcome};
use crate::config;
use crate::model::SessionName;
use crate::store::{NewMessage, Row, Saying};

/// Stands in every line as `v`. A new version may take meaning away; within one, fields and types are only added.
pub(crate) const VERSION: u32 = 1;

/// Octets of a command line, its end included.
pub(crate) const LONGEST_COMMAND: usize = 4 * 1024 * 1024;

/// A line for a live event. `file` is where a spooled body lies.
pub(crate) fn event_line(
    seq: Option<u64>,
    time: Duration,
    account: &str,
    session: Option<SessionName>,
    what: &What,
    file: Option<&str>,
) -> String {
    let session = session.map(|session| session.to_string());
    let mut line = envelope(seq, time, Some(account), session.as_deref(), kind(what));
    push_object(&mut line, &payload(what));
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
    line.push('}');
    line
}

/// A line for a message of ours that is durable now.
pub(crate) fn said_line(
    seq: u64,
    time: Duration,
    account: &str,
    session: SessionName,
    peer: &str,
    message: &NewMessage,
) -> String {
    let mut line = envelope(Some(seq), time, Some(account), Some(&session.to_string()), "message");
    push_object(&mut line, &saying(peer, message));
    push_body(&mut line, &message.content_type, &message.body);
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

/// The first line of a run: where it listens and who it is.
pub(crate) fn ready_line(time: Duration, run: u64, addresses: &[String], listening: &[String]) -> String {
    let mut line = envelope(None, time, None, None, "ready");
    push_field(&mut line, "run", &run);
    push_field(&mut line, "addresses", addresses);
    push_field(&mut line, "listening", listening);
    line.push('}');
    line
}

/// The name of an event's kind: `type` in its line.
pub(crate) fn kind(what: &What) -> &'static str {
    match what {
        What::Registered { .. } => "registered",
        What::RegistrationFailed { .. } => "registration_failed",
        What::Unregistered => "unregistered",
        What::Invited { .. } => "invited",
        What::Missed { .. } => "missed",
        What::Inviting { .. } => "inviting",
        What::Ringing => "ringing",
        What::Established { .. } => "established",
        What::Connected => "connected",
        What::Message(_) => "message",
        What::Receiving { .. } => "receiving",
        What::Incomplete { .. } => "incomplete",
        What::Progress { .. } => "progress",
        What::Ended(_) => "ended",
        What::Explain(_) => "explain",
    }
}

/// What an event's line tells besides the envelope and the body: a JSON object.
pub(crate) fn payload(what: &What) -> String {
    let payload = match what {
        What::Registered { identities, expires } => {
            Payload::Registered { identities, expires: expires.as_secs() }
        }
        What::RegistrationFailed { status, why, retry } => {
            Payload::RegistrationFailed { status: *status, why, retry: retry.map(|retry| retry.as_secs()) }
        }
        What::Unregistered | What::Ringing | What::Connected => Payload::Nothing {},
        What::Invited { peer, subject } => {
            Payload::Invited { peer: peer.into(), subject: subject.as_deref() }
        }
        What::Missed { peer, why } => Payload::Missed { peer: peer.into(), end: why.into() },
        What::Inviting { to } => Payload::Inviting { to },
        What::Established { peer, session_identity } => {
            Payload::Established { peer: peer.into(), session_identity }
        }
        What::Message(message) => Payload::from(message),
        What::Receiving { message_id, received, total } => {
            Payload::Receiving { message_id, received: *received, total: *total }
        }
        What::Incomplete { message_id, received, why } => {
            Payload::Incomplete { message_id, received: *received, why }
        }
        What::Progress { message_id, progress } => {
            let (state, why) = match progress {
                Progress::Sent => ("sent", None),
                Progress::Acknowledged => ("acknowledged", None),
                Progress::Failed { why } => ("failed", Some(why.as_str())),
            };
            Payload::Progress { message_id, state, why }
        }
        What::Ended(why) => Payload::Ended { end: why.into() },
        What::Explain(explain) => {
            Payload::Explain { clause: explain.clause, decision: &explain.decision, input: &explain.input }
        }
    };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".into())
}

/// As [`payload`], for a message of ours.
pub(crate) fn saying(peer: &str, message: &NewMessage) -> String {
    let payload = Payload::Outgoing {
        direction: "out",
        message_id: &message.message_id,
        to: peer,
        content_type: &message.content_type,
        size: message.body.len(),
    };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".into())
}

/// Reads a command. The error says what is wrong with it, and the mark that it bears if that can be read.
pub(crate) fn command(line: &str) -> Result<Asked, (Option<String>, String)> {
    let mut value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| (None, format!("this line is not JSON: {error}")))?;
    let id = match value.get("id") {
        Some(serde_json::Value::String(id)) => Some(id.clone()),
        Some(serde_json::Value::Number(id)) => Some(id.to_string()),
        Some(_) => return Err((None, "\"id\" must be a string or a number".into())),
        None => None,
    };
    let fault = |what: String| (id.clone(), what);
    let Some(object) = value.as_object_mut() else {
        return Err(fault("a command is an object, such as {\"do\":\"quit\"}".into()));
    };
    object.remove("id");
    let line: Line = serde_json::from_value(value).map_err(|error| fault(error.to_string()))?;
    let session =
        |text: Option<String>| text.map(|text| text.parse::<SessionName>().map_err(fault)).transpose();
    let command = match line {
        Line::Accept { session: text } => Command::Accept { session: session(text)? },
        Line::Decline { session: text, how } => {
            Command::Decline { session: session(text)?, how: how.unwrap_or_default().into() }
        }
        Line::Leave { session: text } => Command::Leave { session: session(text)? },
        Line::Say { session: text, message_id, content_type, text: words, base64 } => {
            let body = match (words, base64) {
                (Some(words), None) => words.into_bytes(),
                (None, Some(base64)) => BASE64
                    .decode(base64)
                    .map_err(|error| fault(format!("\"base64\" is not base64: {error}")))?,
                (None, None) | (Some(_), Some(_)) => {
                    return Err(fault("say needs either \"text\" or \"base64\"".into()));
                }
            };
            let content_type = content_type.unwrap_or_else(|| "text/plain".into());
            Command::Say { session: session(text)?, message_id, content_type, body }
        }
        Line::Invite { account, to, via } => {
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            Command::Invite { account, to, via }
        }
        Line::Quit {} => Command::Quit,
    };
    Ok(Asked { id, command })
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

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Nothing {},
    Registered {
        identities: &'a [String],
        expires: u64,
    },
    RegistrationFailed {
        status: Option<u16>,
        why: &'a str,
        retry: Option<u64>,
    },
    Invited {
        peer: Party<'a>,
        subject: Option<&'a str>,
    },
    Missed {
        peer: Party<'a>,
        end: End<'a>,
    },
    Inviting {
        to: &'a str,
    },
    Established {
        peer: Party<'a>,
        session_identity: &'a str,
    },
    Message {
        direction: &'static str,
        message_id: &'a str,
        from: Party<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        claimed_from: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sent_at: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a str>,
        content_type: &'a str,
        renderable: bool,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        body_offset: Option<u64>,
    },
    Outgoing {
        direction: &'static str,
        message_id: &'a str,
        to: &'a str,
        content_type: &'a str,
        size: usize,
    },
    Receiving {
        message_id: &'a str,
        received: u64,
        total: Option<u64>,
    },
    Incomplete {
        message_id: &'a str,
        received: u64,
        why: &'a str,
    },
    Progress {
        message_id: &'a str,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
    },
    Ended {
        end: End<'a>,
    },
    Explain {
        clause: &'a str,
        decision: &'a str,
        input: &'a str,
    },
}

impl<'a> From<&'a Incoming> for Payload<'a> {
    fn from(message: &'a Incoming) -> Self {
        let size = match &message.body {
            Body::Inline(octets) => u64::try_from(octets.len()).unwrap_or(u64::MAX),
            Body::Spooled { size, .. } => *size,
        };
        Payload::Message {
            direction: "in",
            message_id: &message.message_id,
            from: (&message.from).into(),
            claimed_from: message.claimed_from.as_deref(),
            sent_at: message.sent_at.as_deref(),
            subject: message.subject.as_deref(),
            content_type: &message.content_type,
            renderable: message.renderable,
            size,
            body_offset: Some(message.body_offset).filter(|offset| *offset > 0),
        }
    }
}

#[derive(Serialize)]
struct Party<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    verified: bool,
}

impl<'a> From<&'a Peer> for Party<'a> {
    fn from(peer: &'a Peer) -> Self {
        Party { address: &peer.address, display_name: peer.display_name.as_deref(), verified: peer.verified }
    }
}

#[derive(Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
enum End<'a> {
    Left,
    PeerLeft,
    Cancelled { elsewhere: bool },
    Declined { status: u16 },
    NoAnswer,
    Refused { status: u16, reason: &'a str },
    NoAck,
    MediaFailed { why: &'a str },
    Lost { why: &'a str },
}

impl<'a> From<&'a Ended> for End<'a> {
    fn from(ended: &'a Ended) -> Self {
        match ended {
            Ended::Left => End::Left,
            Ended::PeerLeft => End::PeerLeft,
            Ended::Cancelled { elsewhere } => End::Cancelled { elsewhere: *elsewhere },
            Ended::Declined { status } => End::Declined { status: *status },
            Ended::NoAnswer => End::NoAnswer,
            Ended::Refused { status, reason } => End::Refused { status: *status, reason },
            Ended::NoAck => End::NoAck,
            Ended::MediaFailed { why } => End::MediaFailed { why },
            Ended::Lost { why } => End::Lost { why },
        }
    }
}

/// A command as it stands in a line, without its `id`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Accept {
        session: Option<String>,
    },
    Decline {
        session: Option<String>,
        how: Option<How>,
    },
    Say {
        session: Option<String>,
        message_id: Option<String>,
        content_type: Option<String>,
        text: Option<String>,
        base64: Option<String>,
    },
    Leave {
        session: Option<String>,
    },
    Invite {
        account: Option<String>,
        to: String,
        via: Option<String>,
    },
    Quit {},
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Declined,
    Busy,
    Unavailable,
}

impl From<How> for Decline {
    fn from(how: How) -> Decline {
        match how {
            How::Declined => Decline::Declined,
            How::Busy => Decline::Busy,
            How::Unavailable => Decline::Unavailable,
        }
    }
}

/// A message's text for a person: what can be read of it, or what it is instead.
pub(crate) fn readable<'a>(content_type: &str, octets: &'a [u8]) -> Cow<'a, str> {
    match as_text(content_type, octets) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(format!("[{content_type}, {} octets]", octets.len())),
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::io::{Receipt, SessionId};

    use super::*;

    fn message(content_type: &str, body: &[u8]) -> What {
        What::Message(Incoming {
            receipt: Receipt(1),
            message_id: "m1".into(),
            from: Peer { address: "sip:a@x".into(), display_name: Some("A \"B\"".into()), verified: true },
            claimed_from: None,
            sent_at: None,
            subject: None,
            content_type: content_type.into(),
            body: Body::Inline(body.to_vec()),
            body_offset: 0,
            renderable: true,
        })
    }

    fn line(what: &What) -> serde_json::Value {
        let session = SessionName { run: 3, session: SessionId(17) };
        let line = event_line(Some(9), Duration::from_millis(1_500), "sip:us@x", Some(session), what, None);
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
    fn an_event_without_fields_of_its_own_is_an_object_too() {
        assert_eq!(line(&What::Connected)["type"], "connected");
        let ended = line(&What::Ended(Ended::Refused { status: 486, reason: "Busy Here".into() }));
        assert_eq!(ended["end"], serde_json::json!({"how": "refused", "status": 486, "reason": "Busy Here"}));
    }

    #[test]
    fn commands_are_read_with_their_mark() {
        let asked = command(r#"{"id":5,"do":"say","session":"3-17","text":"hi"}"#).unwrap();
        assert_eq!(asked.id.as_deref(), Some("5"));
        let session = Some(SessionName { run: 3, session: SessionId(17) });
        let (content_type, body) = ("text/plain".to_owned(), b"hi".to_vec());
        assert_eq!(asked.command, Command::Say { session, message_id: None, content_type, body });
        assert_eq!(command(r#"{"do":"quit"}"#), Ok(Asked { id: None, command: Command::Quit }));
        let busy = command(r#"{"do":"decline","how":"busy"}"#).unwrap().command;
        assert_eq!(busy, Command::Decline { session: None, how: Decline::Busy });
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_mark_and_what_is_wrong() {
        for (line, mark, part) in [
            ("hello", None, "not JSON"),
            ("[1]", None, "is an object"),
            (r#"{"id":"x","do":"dance"}"#, Some("x"), "dance"),
            (r#"{"id":"x","do":"accept","sesion":"1-1"}"#, Some("x"), "sesion"),
            (r#"{"id":"x","do":"accept","session":"seven"}"#, Some("x"), "looks like 3-17"),
            (r#"{"id":"x","do":"say"}"#, Some("x"), "either"),
            (r#"{"id":"x","do":"say","base64":"*"}"#, Some("x"), "not base64"),
            (r#"{"id":"x","do":"invite"}"#, Some("x"), "to"),
            (r#"{"id":"x","do":"invite","to":"sip:a@b","via":"h:x"}"#, Some("x"), "not a port"),
            (r#"{"id":{},"do":"quit"}"#, None, "string or a number"),
        ] {
            let (id, what) = command(line).unwrap_err();
            assert_eq!(id.as_deref(), mark, "{line}");
            assert!(what.contains(part), "{line}: {what}");
        }
    }
}
