//! Commands, as programs write them.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parlour_proto::client::{Decline, MAX_FILES};
use parlour_proto::sdp::{FileHash, FileSelector};
use serde::Deserialize;

use crate::command::{Asked, Command, First, Whom};
use crate::config;
use crate::files::ToSend;
use crate::model::SessionName;

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
        Line::Accept { session: text, files } => {
            let files = files
                .map(|files| files.iter().map(|name| name.parse::<SessionName>()).collect::<Result<_, _>>());
            Command::Accept { session: session(text)?, files: files.transpose().map_err(fault)? }
        }
        Line::SendFiles { account, to, via, paths, icons } => {
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            if paths.is_empty() || paths.len() > MAX_FILES {
                return Err(fault("\"paths\" has one to eight paths".into()));
            }
            if icons.len() > paths.len() {
                return Err(fault(
                    "\"icons\" has one for each of \"paths\", or null, in the same order".into(),
                ));
            }
            let icons = icons.into_iter().chain(std::iter::repeat(None));
            let files = paths.into_iter().zip(icons).map(|(path, icon)| ToSend { path, icon }).collect();
            Command::SendFiles { account, to, via, files }
        }
        Line::FetchFile { account, to, via, name, size, hash, content_type } => {
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            let wrong = || fault("\"hash\" looks like sha-1:AB:CD:...".into());
            let hash = hash.map(|hash| FileHash::parse(&hash).ok_or_else(wrong)).transpose()?;
            if name.is_none() && size.is_none() && hash.is_none() {
                return Err(fault("which file? \"hash\" says it best, \"name\" and \"size\" may do".into()));
            }
            let hashes = hash.into_iter().collect();
            let selector = FileSelector { name, size, hashes, media_type: content_type };
            Command::FetchFile { account, to, via, selector }
        }
        Line::CancelFile { file: name } => Command::CancelFile { file: name.parse().map_err(fault)? },
        Line::ResumeFile { file, via } => {
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            Command::ResumeFile { file, via }
        }
        Line::Decline { session: text, how, after, reachable } => {
            let how = how.unwrap_or_default();
            let seconds = |seconds: NonZeroU32| Duration::from_secs(seconds.get().into());
            let how = match (how, after) {
                (How::Later, Some(after)) => {
                    Decline::Later { after: seconds(after), reachable: reachable.map(seconds) }
                }
                (How::Later, None) => return Err(fault("\"later\" needs \"after\", in seconds".into())),
                (_, Some(_)) => return Err(fault("\"after\" goes with \"later\"".into())),
                (_, None) if reachable.is_some() => {
                    return Err(fault("\"reachable\" goes with \"later\"".into()));
                }
                (How::Declined, None) => Decline::Declined,
                (How::Busy, None) => Decline::Busy,
                (How::Unavailable, None) => Decline::Unavailable,
                (How::Spam, None) => Decline::Unwanted,
            };
            Command::Decline { session: session(text)?, how }
        }
        Line::Block { session: text, address } => match address {
            Some(address) if text.is_none() => {
                Command::Block { whom: Whom::Address(config::caller(&address).map_err(fault)?) }
            }
            None => Command::Block { whom: Whom::Session(session(text)?) },
            Some(_) => return Err(fault("block needs either \"session\" or \"address\"".into())),
        },
        Line::Unblock { address } => Command::Unblock { address: config::caller(&address).map_err(fault)? },
        Line::Composing { session: text } => Command::Composing { session: session(text)? },
        Line::Read { session: text, message_id } => Command::Read { session: session(text)?, message_id },
        Line::Leave { session: text } => Command::Leave { session: session(text)? },
        Line::Say { session: text, to, message_id, content_type, text: words, base64 } => {
            let body = body("say", words, base64).map_err(fault)?;
            let content_type = content_type.unwrap_or_else(|| "text/plain".into());
            Command::Say { session: session(text)?, to, message_id, content_type, body }
        }
        Line::Page { account, to, via, message_id, content_type, text: words, base64 } => {
            let body = body("page", words, base64).map_err(fault)?;
            let content_type = content_type.unwrap_or_else(|| "text/plain".into());
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            Command::Page { account, to, via, message_id, content_type, body }
        }
        Line::Invite { account, to, via, large, message_id, content_type, text: words, base64 } => {
            let via = via.map(|via| config::proxy(&via).map_err(fault)).transpose()?;
            let is_silent = words.is_none() && base64.is_none();
            if is_silent && (message_id.is_some() || content_type.is_some()) {
                return Err(fault(
                    "\"message_id\" and \"content_type\" go with \"text\" or \"base64\"".into(),
                ));
            }
            let first = if is_silent {
                None
            } else {
                let content_type = content_type.unwrap_or_else(|| "text/plain".into());
                Some(First { message_id, content_type, body: body("invite", words, base64).map_err(fault)? })
            };
            Command::Invite { account, to, via, large, first }
        }
        Line::Add { session: text, address } => Command::Add { session: session(text)?, address },
        Line::Nick { session: text, nickname } => Command::Nick { session: session(text)?, nickname },
        Line::Who { session: text } => Command::Who { session: session(text)? },
        Line::Quit {} => Command::Quit,
    };
    Ok(Asked { id, command })
}

/// The octets of a message, however they are written.
fn body(verb: &str, words: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (words, base64) {
        (Some(words), None) => Ok(words.into_bytes()),
        (None, Some(base64)) => {
            BASE64.decode(base64).map_err(|error| format!("\"base64\" is not base64: {error}"))
        }
        (None, None) | (Some(_), Some(_)) => Err(format!("{verb} needs either \"text\" or \"base64\"")),
    }
}

/// A command as it stands in a line, without its `id`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Accept {
        session: Option<String>,
        files: Option<Vec<String>>,
    },
    SendFiles {
        account: Option<String>,
        to: String,
        via: Option<String>,
        paths: Vec<PathBuf>,
        #[serde(default)]
        icons: Vec<Option<PathBuf>>,
    },
    FetchFile {
        account: Option<String>,
        to: String,
        via: Option<String>,
        name: Option<String>,
        size: Option<u64>,
        hash: Option<String>,
        content_type: Option<String>,
    },
    CancelFile {
        file: String,
    },
    ResumeFile {
        file: String,
        via: Option<String>,
    },
    Decline {
        session: Option<String>,
        how: Option<How>,
        /// Seconds.
        after: Option<NonZeroU32>,
        /// Seconds.
        reachable: Option<NonZeroU32>,
    },
    Say {
        session: Option<String>,
        to: Option<String>,
        message_id: Option<String>,
        content_type: Option<String>,
        text: Option<String>,
        base64: Option<String>,
    },
    Page {
        account: Option<String>,
        to: String,
        via: Option<String>,
        message_id: Option<String>,
        content_type: Option<String>,
        text: Option<String>,
        base64: Option<String>,
    },
    Composing {
        session: Option<String>,
    },
    Read {
        session: Option<String>,
        message_id: String,
    },
    Leave {
        session: Option<String>,
    },
    Invite {
        account: Option<String>,
        to: String,
        via: Option<String>,
        #[serde(default)]
        large: bool,
        message_id: Option<String>,
        content_type: Option<String>,
        text: Option<String>,
        base64: Option<String>,
    },
    Nick {
        session: Option<String>,
        nickname: String,
    },
    Who {
        session: Option<String>,
    },
    Add {
        session: Option<String>,
        address: String,
    },
    Block {
        session: Option<String>,
        address: Option<String>,
    },
    Unblock {
        address: String,
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
    Spam,
    Later,
}

#[cfg(test)]
mod tests {
    use parlour_proto::io::SessionId;

    use super::*;

    #[test]
    fn commands_are_read_with_their_mark() {
        let asked = command(r#"{"id":5,"do":"say","session":"3-17","text":"hi"}"#).unwrap();
        assert_eq!(asked.id.as_deref(), Some("5"));
        let session = Some(SessionName { run: 3, session: SessionId(17) });
        let (content_type, body) = ("text/plain".to_owned(), b"hi".to_vec());
        assert_eq!(asked.command, Command::Say { session, to: None, message_id: None, content_type, body });
        assert_eq!(command(r#"{"do":"quit"}"#), Ok(Asked { id: None, command: Command::Quit }));
        let busy = command(r#"{"do":"decline","how":"busy"}"#).unwrap().command;
        assert_eq!(busy, Command::Decline { session: None, how: Decline::Busy });
        let composing = command(r#"{"do":"composing","session":"3-17"}"#).unwrap().command;
        assert_eq!(composing, Command::Composing { session });
        let page = command(r#"{"do":"page","to":"sip:c@x","text":"hi"}"#).unwrap().command;
        let (to, content_type, body) = ("sip:c@x".to_owned(), "text/plain".to_owned(), b"hi".to_vec());
        assert_eq!(
            page,
            Command::Page { account: None, to, via: None, message_id: None, content_type, body }
        );
        let read = command(r#"{"do":"read","message_id":"m1"}"#).unwrap().command;
        assert_eq!(read, Command::Read { session: None, message_id: "m1".into() });
        let private = command(r#"{"do":"say","to":"sip:c@x","text":"hi"}"#).unwrap().command;
        assert!(matches!(private, Command::Say { to: Some(to), .. } if to == "sip:c@x"));
        let nick = command(r#"{"do":"nick","nickname":"Bob"}"#).unwrap().command;
        assert_eq!(nick, Command::Nick { session: None, nickname: "Bob".into() });
        let add = command(r#"{"do":"add","address":"sip:c@x"}"#).unwrap().command;
        assert_eq!(add, Command::Add { session: None, address: "sip:c@x".into() });
    }

    #[test]
    fn previews_belong_to_the_files_of_the_same_places() {
        let read = |icons: &str| {
            let line = format!(r#"{{"do":"send_files","to":"sip:a@b","paths":["f","g"]{icons}}}"#);
            command(&line).map(|asked| asked.command).map_err(|(_, what)| what)
        };
        let sent = |icon: Option<&str>, other: Option<&str>| {
            let file =
                |path: &str, icon: Option<&str>| ToSend { path: path.into(), icon: icon.map(Into::into) };
            let files = vec![file("f", icon), file("g", other)];
            Ok(Command::SendFiles { account: None, to: "sip:a@b".into(), via: None, files })
        };
        assert_eq!(read(""), sent(None, None));
        assert_eq!(read(r#","icons":["i"]"#), sent(Some("i"), None));
        assert_eq!(read(r#","icons":[null,"i"]"#), sent(None, Some("i")));
        assert!(read(r#","icons":["i","j","k"]"#).unwrap_err().contains("same order"));
    }

    #[test]
    fn declining_and_blocking_have_their_words() {
        let read = |line: &str| command(line).map(|asked| asked.command).map_err(|(_, what)| what);
        let decline = |how| Ok(Command::Decline { session: None, how });
        assert_eq!(read(r#"{"do":"decline","how":"spam"}"#), decline(Decline::Unwanted));
        let (after, reachable) = (Duration::from_secs(600), Some(Duration::from_secs(3600)));
        let later = r#"{"do":"decline","how":"later","after":600,"reachable":3600}"#;
        assert_eq!(read(later), decline(Decline::Later { after, reachable }));
        for wrong in [
            r#"{"do":"decline","how":"later"}"#,
            r#"{"do":"decline","how":"later","after":0}"#,
            r#"{"do":"decline","how":"busy","after":600}"#,
            r#"{"do":"block","session":"1-1","address":"sip:a@b"}"#,
            r#"{"do":"block","address":"bob"}"#,
            r#"{"do":"unblock"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read(r#"{"do":"block"}"#), Ok(Command::Block { whom: Whom::Session(None) }));
        let whom = Whom::Address("sip:a@b".into());
        assert_eq!(read(r#"{"do":"block","address":"sip:a@b"}"#), Ok(Command::Block { whom }));
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
            (r#"{"id":"x","do":"fetch_file","to":"sip:a@b"}"#, Some("x"), "which file"),
            (r#"{"id":"x","do":"fetch_file","to":"sip:a@b","hash":"md5"}"#, Some("x"), "looks like sha-1"),
            (r#"{"id":"x","do":"say","base64":"*"}"#, Some("x"), "not base64"),
            (r#"{"id":"x","do":"invite"}"#, Some("x"), "to"),
            (r#"{"id":"x","do":"invite","to":"sip:a@b","message_id":"m1"}"#, Some("x"), "go with"),
            (r#"{"id":"x","do":"invite","to":"sip:a@b","text":"a","base64":"YQ=="}"#, Some("x"), "either"),
            (r#"{"id":"x","do":"invite","to":"sip:a@b","via":"h:x"}"#, Some("x"), "not a port"),
            (r#"{"id":{},"do":"quit"}"#, None, "string or a number"),
        ] {
            let (id, what) = command(line).unwrap_err();
            assert_eq!(id.as_deref(), mark, "{line}");
            assert!(what.contains(part), "{line}: {what}");
        }
    }
}
