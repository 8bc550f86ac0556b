//! What a typed line means.

use std::path::PathBuf;
use std::time::Duration;

use parlour_proto::client::Decline;
use parlour_proto::io::SessionId;
use parlour_proto::sdp::{FileHash, FileSelector};

use crate::command::{Command, Whom};
use crate::config;
use crate::model::SessionName;

const HELP: &str = "\
accept [N]                           accept the invitation
decline [N] [busy|unavailable|spam]  decline it
decline [N] later 10m [for 1h]       decline it for now: when to try again (s, m, h, d), and for how long then
block [N|SIP-URI], unblock SIP-URI   whose invitations never reach you
missed                               invitations that you missed since you last looked
TEXT, or say TEXT                    say it in the session; with several sessions: @N TEXT
leave [N]                            leave the session
invite SIP-URI                       start a session
page SIP-URI TEXT                    say it outside any session
who [N]                              who is in the conference
nick [@N] NAME                       what the conference is to call you; nick alone: by no name
msg [@N] WHO TEXT                    say it to one of the conference alone: an address or a nickname, with blanks in \"..\"
add [N] SIP-URI                      have the conference invite somebody
sendfile SIP-URI PATH                  send a file in a session of its own
fetchfile SIP-URI NAME                 ask for a file that you were sent before, by its name or its hash (sha-1:..)
cancelfile N                           decline a file, or give it up; resume ID goes on with one that broke off
help, quit
N is a session's number, needed only when there are several.";

/// What a line means; for one that asks only for a word of ours, that word.
pub(crate) fn command(line: &str, run: u64) -> Option<Result<Command, String>> {
    let name =
        |number: &str| number.parse().ok().map(|number| SessionName { run, session: SessionId(number) });
    let (verb, rest) =
        line.split_once(char::is_whitespace).map_or((line, ""), |(verb, rest)| (verb, rest.trim()));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let say = |session, text: &str| {
        let (content_type, body) = ("text/plain".into(), text.as_bytes().to_vec());
        Command::Say { session, to: None, message_id: None, content_type, body }
    };
    let at = |words: &[&str]| match words {
        [] => Some(None),
        [number] => name(number).map(Some),
        _ => None,
    };
    let command = match verb {
        "" => return None,
        "help" if words.is_empty() => return Some(Err(HELP.into())),
        "quit" if words.is_empty() => Some(Command::Quit),
        "accept" => at(&words).map(|session| Command::Accept { session, files: None }),
        // A path may have blanks.
        "sendfile" => match rest.split_once(char::is_whitespace) {
            Some((to, path)) if to.contains(':') => {
                let (to, files) = (to.to_owned(), vec![PathBuf::from(path.trim()).into()]);
                Some(Command::SendFiles { account: None, to, via: None, files })
            }
            Some(_) | None => return Some(Err("write: sendfile SIP-URI PATH".into())),
        },
        "fetchfile" => match rest.split_once(char::is_whitespace) {
            Some((to, which)) if to.contains(':') => {
                let (to, which) = (to.to_owned(), which.trim());
                let selector = match FileHash::parse(which) {
                    Some(hash) => FileSelector { hashes: vec![hash], ..FileSelector::default() },
                    None => FileSelector { name: Some(which.to_owned()), ..FileSelector::default() },
                };
                Some(Command::FetchFile { account: None, to, via: None, selector })
            }
            Some(_) | None => return Some(Err("write: fetchfile SIP-URI NAME".into())),
        },
        "cancelfile" => match words.as_slice() {
            [number] => name(number).map(|file| Command::CancelFile { file }),
            _ => return Some(Err("write: cancelfile N, as the file was told".into())),
        },
        "resume" => match words.as_slice() {
            [id] if id.contains('-') => Some(Command::ResumeFile { file: (*id).to_owned(), via: None }),
            // A number that is none must not be said to whoever is in session.
            [id] if id.bytes().all(|octet| octet.is_ascii_digit()) => {
                return Some(Err("write: resume ID, as parlour files tells it: 3-17".into()));
            }
            _ => None,
        },
        "add" => match words.split_last() {
            // Without the scheme it is a sentence.
            Some((address, numbers)) if address.contains(':') => {
                at(numbers).map(|session| Command::Add { session, address: (*address).to_owned() })
            }
            Some(_) | None => None,
        },
        "who" => at(&words).map(|session| Command::Who { session }),
        "leave" => at(&words).map(|session| Command::Leave { session }),
        "decline" => {
            let (how, numbers) = match later(&words) {
                Some((later, numbers)) => (later, numbers),
                // A time that is none must not be said to whoever is in session.
                None if matches!(words.as_slice(), ["later", _] | [_, "later", _]) => {
                    return Some(Err("write: decline later 10m; s, m, h and d are understood".into()));
                }
                None => plainly(&words),
            };
            at(numbers).map(|session| Command::Decline { session, how })
        }
        "block" => match words.as_slice() {
            [address] if name(address).is_none() => match config::caller(address) {
                Ok(address) => Some(Command::Block { whom: Whom::Address(address) }),
                Err(why) => return Some(Err(format!("! {why}"))),
            },
            _ => at(&words).map(|session| Command::Block { whom: Whom::Session(session) }),
        },
        "unblock" => match words.as_slice() {
            [address] => match config::caller(address) {
                Ok(address) => Some(Command::Unblock { address }),
                Err(why) => return Some(Err(format!("! {why}"))),
            },
            _ => return Some(Err("write: unblock SIP-URI".into())),
        },
        "page" => match rest.split_once(char::is_whitespace) {
            // Without the scheme it is a sentence.
            Some((to, text)) if to.contains(':') => Some(Command::Page {
                account: None,
                to: to.to_owned(),
                via: None,
                message_id: None,
                content_type: "text/plain".into(),
                body: text.trim().as_bytes().to_vec(),
            }),
            Some(_) | None => None,
        },
        "invite" => match words.as_slice() {
            [to] => Some(Command::Invite {
                account: None,
                to: (*to).to_owned(),
                via: None,
                large: false,
                first: None,
            }),
            _ => return Some(Err("write: invite SIP-URI".into())),
        },
        "nick" => {
            let (session, nickname) = addressed(rest, name);
            Some(Command::Nick { session, nickname: nickname.into() })
        }
        // What is meant for one must not be said to all: whatever begins so is never a sentence.
        "msg" => {
            let (session, rest) = addressed(rest, name);
            match whom(rest) {
                Some((who, text)) => {
                    let (to, content_type, body) = (Some(who.into()), "text/plain".into(), text.into());
                    Some(Command::Say { session, to, message_id: None, content_type, body })
                }
                None => return Some(Err("write: msg WHO TEXT, or msg \"WHO WITH BLANKS\" TEXT".into())),
            }
        }
        "say" => Some(say(None, rest)),
        _ => match verb.strip_prefix('@').and_then(name) {
            Some(session) => Some(say(Some(session), rest)),
            None => Some(say(None, line)),
        },
    };
    // A line that begins like a command and goes on like a sentence is a sentence.
    Some(Ok(command.unwrap_or_else(|| say(None, line))))
}

/// `@N` at the start of what follows a verb, and the rest.
fn addressed(rest: &str, name: impl Fn(&str) -> Option<SessionName>) -> (Option<SessionName>, &str) {
    let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match first.strip_prefix('@').and_then(name) {
        Some(session) => (Some(session), tail.trim_start()),
        None => (None, rest),
    }
}

/// To whom, and what: a name with blanks stands in quotation marks.
fn whom(rest: &str) -> Option<(&str, &str)> {
    let (who, text) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    let text = text.trim();
    (!who.is_empty() && !text.is_empty()).then_some((who, text))
}

/// How to decline, and what stands before it.
fn plainly<'w, 'l>(words: &'w [&'l str]) -> (Decline, &'w [&'l str]) {
    match words.split_last() {
        Some((&"busy", numbers)) => (Decline::Busy, numbers),
        Some((&"unavailable", numbers)) => (Decline::Unavailable, numbers),
        Some((&"spam", numbers)) => (Decline::Unwanted, numbers),
        Some(_) | None => (Decline::Declined, words),
    }
}

/// `later 10m`, or `later 10m for 1h`.
fn later<'w, 'l>(words: &'w [&'l str]) -> Option<(Decline, &'w [&'l str])> {
    let at = words.iter().position(|word| *word == "later")?;
    let (numbers, rest) = words.split_at_checked(at)?;
    let (after, reachable) = match rest {
        [_, after] => (time_span(after)?, None),
        [_, after, "for", reachable] => (time_span(after)?, Some(time_span(reachable)?)),
        _ => return None,
    };
    Some((Decline::Later { after, reachable }, numbers))
}

/// `30s`, `10m`, `2h` or `1d`; more than nothing.
fn time_span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    Some(Duration::from_secs(u64::from(number).saturating_mul(unit))).filter(|span| !span.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Option<String> {
        match command(line, 3) {
            Some(Ok(Command::Say { body, session: None, .. })) => Some(String::from_utf8(body).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn verbs_are_understood_and_everything_else_is_said() {
        let name = SessionName { run: 3, session: SessionId(7) };
        let ok = |command| Some(Ok(command));
        let fetch =
            |selector| ok(Command::FetchFile { account: None, to: "sip:a@b".into(), via: None, selector });
        let named = FileSelector { name: Some("my photo.jpg".into()), ..FileSelector::default() };
        assert_eq!(command("fetchfile sip:a@b my photo.jpg", 3), fetch(named));
        let text = format!("sha-1:{}", ["0A"; 20].join(":"));
        let hashed = FileSelector { hashes: vec![FileHash::Sha1([10; 20])], ..FileSelector::default() };
        assert_eq!(command(&format!("fetchfile sip:a@b {text}"), 3), fetch(hashed));
        assert!(matches!(command("fetchfile photo.jpg", 3), Some(Err(_))));
        assert_eq!(command("accept", 3), ok(Command::Accept { session: None, files: None }));
        assert_eq!(command("accept 7", 3), ok(Command::Accept { session: Some(name), files: None }));
        assert_eq!(command("decline busy", 3), ok(Command::Decline { session: None, how: Decline::Busy }));
        assert_eq!(
            command("decline 7 unavailable", 3),
            ok(Command::Decline { session: Some(name), how: Decline::Unavailable })
        );
        let decline = |how| ok(Command::Decline { session: None, how });
        assert_eq!(command("decline spam", 3), decline(Decline::Unwanted));
        let ten = Duration::from_secs(600);
        assert_eq!(command("decline later 10m", 3), decline(Decline::Later { after: ten, reachable: None }));
        let how = Decline::Later { after: ten, reachable: Some(Duration::from_secs(7200)) };
        assert_eq!(
            command("decline 7 later 10m for 2h", 3),
            ok(Command::Decline { session: Some(name), how })
        );
        assert_eq!(said("decline later than planned").as_deref(), Some("decline later than planned"));
        for wrong in ["decline later soon", "decline 7 later 0m"] {
            let answer = super::command(wrong, 3).unwrap().unwrap_err();
            assert!(answer.contains("decline later 10m"), "{answer}");
        }
        assert_eq!(command("block", 3), ok(Command::Block { whom: Whom::Session(None) }));
        assert_eq!(command("block 7", 3), ok(Command::Block { whom: Whom::Session(Some(name)) }));
        let whom = Whom::Address("sip:a@b".into());
        assert_eq!(command("block sip:a@b", 3), ok(Command::Block { whom }));
        assert_eq!(command("unblock sip:a@b", 3), ok(Command::Unblock { address: "sip:a@b".into() }));
        assert!(matches!(command("unblock bob", 3), Some(Err(_))));
        assert_eq!(said("block party tonight").as_deref(), Some("block party tonight"));
        let add = |session| ok(Command::Add { session, address: "sip:c@x".into() });
        assert_eq!((command("add sip:c@x", 3), command("add 7 sip:c@x", 3)), (add(None), add(Some(name))));
        assert_eq!(said("add some sugar").as_deref(), Some("add some sugar"));
        let nick = |session, nickname: &str| ok(Command::Nick { session, nickname: nickname.into() });
        assert_eq!(command("nick Alice the great", 3), nick(None, "Alice the great"));
        assert_eq!((command("nick", 3), command("nick @7 Al", 3)), (nick(None, ""), nick(Some(name), "Al")));
        let private = |line: &str| match command(line, 3) {
            Some(Ok(Command::Say { session, to: Some(to), body, .. })) => {
                Some((session, to, String::from_utf8(body).unwrap()))
            }
            _ => None,
        };
        assert_eq!(private("msg sip:c@x  hi there"), Some((None, "sip:c@x".into(), "hi there".into())));
        let great = Some((Some(name), "Alice the great".into(), "hi".into()));
        assert_eq!(private("msg @7 \"Alice the great\" hi"), great);
        for wrong in ["msg", "msg carol", "msg \"carol hi", "msg \"\" hi"] {
            assert!(matches!(command(wrong, 3), Some(Err(_))), "{wrong}");
        }
        assert_eq!(command("leave", 3), ok(Command::Leave { session: None }));
        let (content_type, body) = ("text/plain".to_owned(), b"see you".to_vec());
        let to = "sip:c@x".to_owned();
        let paged = Command::Page { account: None, to, via: None, message_id: None, content_type, body };
        assert_eq!(command("page sip:c@x  see you", 3), ok(paged));
        assert_eq!(said("page three is missing").as_deref(), Some("page three is missing"));
        assert_eq!(command("", 3), None);
        assert!(matches!(command("help", 3), Some(Err(_))));
        assert_eq!(said("accept my apologies, please").as_deref(), Some("accept my apologies, please"));
        assert_eq!(said("say quit").as_deref(), Some("quit"));
        assert_eq!(said("hello there").as_deref(), Some("hello there"));
        assert!(
            matches!(command("@7 hello", 3), Some(Ok(Command::Say { session: Some(at), .. })) if at == name)
        );
    }
}
