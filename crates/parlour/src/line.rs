//! The front end for people: one line in, one line out.

use std::collections::BTreeSet;
use std::io::{self, BufReader, BufWriter, Write};
use std::time::Duration;

use parlour_proto::client::Decline;
use parlour_proto::event::{
    Ended, Fate, FileInfo, FileNews, FileStop, Identity, Incoming, Invitee, Kind, Peer, Progress, Thread,
    What,
};
use parlour_proto::io::{FileId, SessionId};
use parlour_proto::text;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::agent::{Happening, Hearer, Told};
use crate::command::{Achieved, Asked, Command, Whom, Wish};
use crate::ending::write_in_background;
use crate::json_front::next_line;
use crate::model::SessionName;
use crate::secured::{another_certificate, encrypted, relay_failed};
use crate::shown::shown;
use crate::speed::progress;
use crate::store::Reader;
use crate::{config, explain, history, json, large, roster};

/// Missed invitations that are shown at once.
const SHOWN: usize = 20;

/// Octets of a line that is typed or piped in.
const LONGEST: usize = 64 * 1024;

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
cancelfile N                           decline a file, or give it up; resume ID goes on with one that broke off
help, quit
N is a session's number, needed only when there are several.";

/// How long the lines of an instant are gathered: nobody reads faster, and under load one waking serves many rounds.
const GLANCE: Duration = Duration::from_millis(10);

/// Prints what happens in a thread of its own until the agent ends. `kept`: whether a store has the messages.
pub(crate) fn print_events(mut told: Hearer, kept: bool) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    write_in_background(move || {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut large = BTreeSet::new();
        while let Some(round) = told.wait() {
            let mut shown = round.iter().filter(|told| !large::is_frame(told, &mut large));
            let printed = shown.try_for_each(|told| print(&mut out, told, kept));
            printed
                .and_then(|()| out.flush())
                .inspect_err(|error| tracing::warn!(%error, "nobody reads our lines any more"))?;
            std::thread::sleep(GLANCE);
        }
        Ok(())
    })
}

/// Reads lines from stdin in a thread of its own. The end of stdin ends the reading, not the program.
pub(crate) fn read_commands(commands: Sender<Asked>, run: u64, reader: Option<Reader>) -> io::Result<()> {
    let read = move || {
        let mut input = BufReader::new(io::stdin().lock());
        while let Ok(Some(line)) = next_line(&mut input, LONGEST) {
            let command = match line {
                Ok(line) if line.trim() == "missed" => {
                    let (answer, seen) = missed(reader.as_ref());
                    crate::log::say(&answer);
                    seen.map(Ok)
                }
                Ok(line) => command(line.trim(), run),
                Err(what) => Some(Err(format!("! not said: {what}"))),
            };
            let command = match command {
                Some(Ok(command)) => command,
                Some(Err(answer)) => {
                    crate::log::say(&answer);
                    continue;
                }
                None => continue,
            };
            if commands.blocking_send(Asked { id: None, command }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read).map(drop)
}

/// What a line means; for one that asks only for a word of ours, that word.
fn command(line: &str, run: u64) -> Option<Result<Command, String>> {
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
                let (to, paths) = (to.to_owned(), vec![path.trim().into()]);
                Some(Command::SendFiles { account: None, to, via: None, paths })
            }
            Some(_) | None => return Some(Err("write: sendfile SIP-URI PATH".into())),
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
            [to] => Some(Command::Invite { account: None, to: (*to).to_owned(), via: None, large: false }),
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

/// The invitations that were missed since the user last looked: what to show, and the command that says they are seen.
fn missed(reader: Option<&Reader>) -> (String, Option<Command>) {
    let missed = match reader.map(Reader::missed) {
        Some(Ok(missed)) => missed,
        Some(Err(error)) => return (format!("! they cannot be read: {error}"), None),
        None => return ("nothing is kept: store is false".into(), None),
    };
    let Some(upto) = missed.last().map(|row| row.seq) else {
        return (
            "no missed invitations since you last looked; parlour history has those before".into(),
            None,
        );
    };
    let first = missed.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = missed.iter().skip(first).map(history::missed).collect();
    if first > 0 {
        lines.insert(0, format!("{first} more before these: see parlour history"));
    }
    (lines.join("\n"), Some(Command::Looked { upto }))
}

/// `2 missed invitations: type missed to see them`.
pub(crate) fn missed_notice(reader: &Reader) -> Option<String> {
    let count = reader.missed().map(|missed| missed.len()).unwrap_or(0);
    let invitations = if count == 1 { "invitation" } else { "invitations" };
    (count > 0).then(|| format!("{count} missed {invitations}: type missed to see them"))
}

/// `kept`: whether a store has the messages.
fn print(out: &mut impl Write, told: &Told, kept: bool) -> io::Result<()> {
    let line = match told {
        Told::Event(happening) => event(happening),
        Told::Said { .. } | Told::Paged { .. } => None,
        Told::Outcome(outcome) => match &outcome.what {
            Ok(Achieved { wish: Some(Wish::Blocked(address)), .. }) => {
                let address = text::neutral(address);
                Some(format!(
                    "{address} is blocked: no invitation of his reaches you; unblock {address} ends that"
                ))
            }
            Ok(Achieved { wish: Some(Wish::Unblocked(address)), .. }) => {
                Some(format!("{} is not blocked any more", text::neutral(address)))
            }
            Ok(achieved) => achieved.users.as_deref().map(roster::listed),
            Err(why) => Some(format!("! {}", text::neutral(why))),
        },
        Told::Trouble(what) => Some(format!("! {what}")),
        Told::Missed { count, .. } if kept => {
            Some(format!("! {count} events were too many to show; parlour history has the messages"))
        }
        Told::Missed { count, .. } => {
            Some(format!("! {count} events were too many to show, and are lost: store is false"))
        }
    };
    if let Some(line) = line {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn event(happening: &Happening) -> Option<String> {
    let session = happening.event.session.map(|session| format!("[{}] ", session.0)).unwrap_or_default();
    let account = text::neutral(&happening.account);
    let line = match &happening.event.what {
        What::Registered { expires, .. } => format!("{account} is registered for {} s", expires.as_secs()),
        What::RegistrationFailed { why, retry, .. } => {
            let next = match retry {
                Some(retry) => format!("next attempt in {} s", retry.as_secs()),
                None => "not tried again".to_owned(),
            };
            format!("! {account} is not registered: {}; {next}", text::neutral(why))
        }
        What::Unregistered => format!("{account} is not registered any more"),
        What::TakeoverRefused { by, why } => {
            format!(
                "{session}! {} wanted to take this chat over and may not: {}",
                who(by),
                text::neutral(why)
            )
        }
        What::Moved { to, .. } => {
            format!("{session}a message that was not delivered goes on in session {}", to.0)
        }
        What::Invited { peer, thread: Thread { replaces: Some(old), referred_by, .. }, asked, .. } => {
            let on_behalf =
                referred_by.as_ref().map(|by| format!(", sent by {}", who(by))).unwrap_or_default();
            let next = if *asked { "accept or decline?" } else { "accepted" };
            format!("{session}{}{on_behalf} takes the chat of session {} on: {next}", who(peer), old.0)
        }
        What::Invited { peer, kind, subject, asked, identity, thread: _, invited_with, files } => {
            let to = match kind {
                Kind::Chat => "",
                Kind::Group => " to a group",
                Kind::Files => "",
                Kind::LargeMessage => " to take a large message",
                Kind::Deferred => " to take what was sent while you were away",
            };
            let subject = subject.as_deref().map(|subject| format!(" about {:?}", text::neutral(subject)));
            let subject = subject.unwrap_or_default();
            let with = invited_too(invited_with);
            let next = if *asked { "accept or decline?" } else { "accepted" };
            let signed = forged(identity.as_deref());
            let about = offered_files(files);
            format!("{session}{}{signed} invites you{to}{with}{subject}{about}: {next}", who(peer))
        }
        What::Missed { peer, why } => format!("{session}{} called: {}", who(peer), end(why)),
        What::Inviting { to, .. } => format!("{session}inviting {}", text::neutral(to)),
        What::Ringing => format!("{session}it rings"),
        What::Established { peer, conference: false, .. } => {
            format!("{session}in session with {}", who(peer))
        }
        What::Established { peer, conference: true, .. } => {
            format!("{session}in a conference: {}", who(peer))
        }
        What::Connected => format!("{session}connected: type what you want to say"),
        What::Reconnecting { why } => {
            format!("{session}reconnecting, what you say waits: {}", text::neutral(why))
        }
        What::Secured(secured) => format!("{session}{}", encrypted(secured)),
        What::FingerprintChanged { peer, old, new, since, protected } => {
            format!("{session}{}", another_certificate(peer, old, new, *since, *protected))
        }
        What::Impostor { shown, .. } => {
            let shown = shown
                .as_deref()
                .map_or("no certificate".to_owned(), |shown| format!("{:?}", text::neutral(shown)));
            format!(
                "{session}! SECURITY: whoever is at the other end of the connection is not who it should be: it has shown {shown}. \
                 Nothing was sent and the chat is ended. Try again, or ask your contact on another way what this means"
            )
        }
        What::Held => format!("{session}on hold: what you say waits"),
        What::Resumed => format!("{session}off hold: what waited is sent"),
        What::Message(message) => {
            let at = json::seconds(happening.time);
            // RFC 3428 7: what is shown too late is shown as such.
            let late = message.expires.is_some_and(|expires| expires <= happening.time);
            let late = if late { " (it has expired)" } else { "" };
            let shown = shown(message, happening.file.as_deref(), happening.time);
            format!("{session}{at} {}: {shown}{late}", author(message))
        }
        What::Composing { by, active: true, content_type } => {
            let voice = content_type.as_deref().is_some_and(|kind| kind.starts_with("audio"));
            format!("{session}{} is {}", who(by), if voice { "recording" } else { "typing" })
        }
        What::Receipt { recipient, from, fate, .. } => {
            let outside = Some(from.address.as_str()).filter(|_| happening.event.session.is_none());
            let by = recipient.as_deref().or(outside);
            let by = by.map(|uri| format!(" by {}", text::neutral(uri))).unwrap_or_default();
            match fate {
                Fate::Delivered => format!("{session}received{by}"),
                Fate::Displayed => format!("{session}read{by}"),
                Fate::Failed => format!("{session}! not received{by}"),
            }
        }
        What::Composing { active: false, .. } | What::Receiving { .. } | What::Sending { .. } => return None,
        What::FilesAdded { files, within } => {
            let about = offered_files(files);
            format!(
                "{session}the other side wants you{about}: accept or decline within {} s?",
                within.as_secs()
            )
        }
        What::File { file, news: FileNews::Moved { octets, size } } => {
            let speed = happening.speed.filter(|speed| speed.is_news)?;
            format!("{session}file {}: {}", file.0, progress(*octets, *size, speed))
        }
        What::File { file, news: FileNews::Done } => {
            let lies =
                happening.file.as_deref().map(|path| format!(", it lies in {path}")).unwrap_or_default();
            format!("{session}file {}: done{lies}", file.0)
        }
        What::File { file, news } => format!("{session}{}", file_news(*file, news)?),
        What::Incomplete { received, why, .. } => {
            format!("{session}! a message broke off after {received} octets: {}", text::neutral(why))
        }
        What::Progress { progress: Progress::Failed { why }, .. } => {
            format!("{session}! your message was not delivered: {}", text::neutral(why))
        }
        What::Progress { progress: Progress::Acknowledged, .. } => format!("{session}delivered"),
        What::Progress { progress: Progress::Sent, .. } => return None,
        What::Roster(news) => format!("{session}{}", roster::news(news)?),
        // What was said goes in another form, or its failure is told.
        What::TypeRefused { .. } => return None,
        What::RelayFailed { why, required } => relay_failed(why, *required),
        What::RosterEnded { why } => {
            format!("{session}who is in the conference is not told any more: {}", text::neutral(why))
        }
        What::AddAccepted { address } => {
            format!("{session}the conference invites {}", text::neutral(address))
        }
        What::AddRefused { address, status, reason } => {
            let (address, reason) = (text::neutral(address), text::neutral(reason));
            format!("{session}! the conference does not invite {address}: {status} {reason}")
        }
        What::Nickname { nickname } if nickname.is_empty() => {
            format!("{session}the conference calls you by no nickname any more")
        }
        What::Nickname { nickname } => {
            format!("{session}the conference calls you {:?} now", text::neutral(nickname))
        }
        What::NicknameRefused { nickname, why, .. } => {
            let (nickname, why) = (text::neutral(nickname), text::neutral(why));
            format!("{session}! the conference does not call you {nickname:?}: {why}")
        }
        What::Ended(why) => format!("{session}over: {}", end(why)),
        What::Explain(why) => format!("{session}why: {}", explain::line(why)),
    };
    Some(line)
}

/// A peer by name and address; the name never alone, and `unverified` where nobody vouches.
pub(crate) fn who(peer: &Peer) -> String {
    text::shown(peer.display_name.as_deref(), &peer.address, peer.verified)
}

/// Who wrote a message: in a conference which of them, and whether to you alone.
fn author(message: &Incoming) -> String {
    let Some(room) = &message.room else { return who(&message.from) };
    let author = match &room.author {
        Some(_) if room.own => "you, on another device".to_owned(),
        Some(author) => who(author),
        None => who(&message.from),
    };
    match &room.to {
        Some(to) => format!("{author}, to {} alone", text::neutral_within(to, 200)),
        None if room.private => format!("{author}, to you alone"),
        None => author,
    }
}

/// A warning where the caller's identity is signed wrongly; what is merely not proven `who` says.
fn forged(identity: Option<&Identity>) -> String {
    match identity.filter(|identity| identity.proof.is_wrong()) {
        Some(identity) => format!(" (! wrong signature: {})", text::neutral(&identity.why)),
        None => String::new(),
    }
}

/// Who else is invited: the first few by name.
fn invited_too(invitees: &[Invitee]) -> String {
    const NAMED: usize = 4;
    if invitees.is_empty() {
        return String::new();
    }
    let name = |invitee: &Invitee| {
        let name = text::neutral(invitee.display_name.as_deref().unwrap_or(&invitee.address));
        if invitee.count > 1 { format!("{name} ({})", invitee.count) } else { name }
    };
    let names: Vec<_> = invitees.iter().take(NAMED).map(name).collect();
    let more = invitees.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(" with {}{more}", names.join(", "))
}

/// Why a session ended, in words.
pub(crate) fn end(why: &Ended) -> String {
    match why {
        Ended::Left => "you left".into(),
        Ended::PeerLeft => "the other side left".into(),
        Ended::Cancelled { elsewhere: true } => "answered on another device".into(),
        Ended::Cancelled { elsewhere: false } => "the caller gave up".into(),
        Ended::Declined { status } => format!("declined ({status})"),
        Ended::NoAnswer => "you did not answer in time".into(),
        Ended::Refused { status, reason, warning, retry_after } => {
            let warning = warning.as_ref().map(|warning| format!(" ({})", text::neutral(warning)));
            let after = retry_after.map(|after| format!("; try again in {} s", after.as_secs()));
            let (warning, after) = (warning.unwrap_or_default(), after.unwrap_or_default());
            format!("refused: {status} {}{warning}{after}", text::neutral(reason))
        }
        Ended::NoAck => "it could not be established: our answer was never acknowledged".into(),
        Ended::MediaFailed { why } => format!("the media connection failed: {}", text::neutral(why)),
        Ended::Lost { why } => format!("lost: {}", text::neutral(why)),
        Ended::Replaced { by } => format!("the chat goes on in session {}", by.0),
    }
}

/// The files of an invitation.
fn offered_files(files: &[FileInfo]) -> String {
    let each = |info: &FileInfo| format!("{} as file {}", about_file(info), info.file.0);
    let list = |sends: bool| {
        let these: Vec<String> = files.iter().filter(|info| info.sends == sends).map(each).collect();
        these.join(", ")
    };
    let (given, wanted) = (list(false), list(true));
    let given = if given.is_empty() { given } else { format!(" to take {given}") };
    if wanted.is_empty() { given } else { format!("{given} to give {wanted}") }
}

/// A file, for people: nothing of its name does harm on a screen.
pub(crate) fn about_file(info: &FileInfo) -> String {
    let selector = &info.about.selector;
    let name = text::neutral_within(selector.name.as_deref().unwrap_or("a file"), 60);
    match selector.size {
        Some(size) => format!("{name:?} ({size} octets)"),
        None => format!("{name:?}"),
    }
}

fn file_news(file: FileId, news: &FileNews) -> Option<String> {
    let file = file.0;
    Some(match news {
        FileNews::Offered(info) if info.sends => format!("file {file}: offering {}", about_file(info)),
        FileNews::Offered(info) => format!("file {file}: {} is to come", about_file(info)),
        FileNews::Begun(info) if info.sends => format!("file {file}: sending {}", about_file(info)),
        FileNews::Begun(info) => format!("file {file}: receiving {}", about_file(info)),
        FileNews::Moved { .. } | FileNews::Done | FileNews::Whole { .. } => return None,
        FileNews::Stopped(stop) => format!("! file {file}: {}", stopped(stop)),
    })
}

/// Why a transfer is over.
pub(crate) fn stopped(stop: &FileStop) -> String {
    match stop {
        FileStop::Declined => "it was declined".to_owned(),
        FileStop::Cancelled => "you have given it up".to_owned(),
        FileStop::Aborted => "the other side has given it up".to_owned(),
        FileStop::Interrupted { why } => format!("interrupted: {}", text::neutral(why)),
        FileStop::Corrupt => {
            "what came is not what the sender has announced: it is kept apart as damaged".to_owned()
        }
        FileStop::Failed { why } => text::neutral(why),
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::event::Event;
    use parlour_proto::io::AccountId;

    use super::event as event_of;
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

    #[test]
    fn what_holds_from_now_on_and_what_a_refusal_says_besides_is_shown() {
        let shown = |wish| {
            let what = Ok(Achieved { wish: Some(wish), ..Achieved::default() });
            let mut out = Vec::new();
            print(&mut out, &Told::Outcome(crate::command::Outcome { id: None, what }), true).unwrap();
            String::from_utf8(out).unwrap()
        };
        let blocked = shown(Wish::Blocked("sip:a@x\u{1b}".into()));
        assert!(blocked.starts_with("sip:a@x\\u{1b} is blocked: "), "{blocked}");
        assert_eq!(shown(Wish::Unblocked("sip:a@x".into())), "sip:a@x is not blocked any more\n");
        let refused = |warning: Option<&str>, after: Option<u64>| {
            let (warning, retry_after) = (warning.map(str::to_owned), after.map(Duration::from_secs));
            end(&Ended::Refused { status: 480, reason: "Away".into(), warning, retry_after })
        };
        assert_eq!(refused(None, None), "refused: 480 Away");
        assert_eq!(refused(Some("At lunch"), Some(90)), "refused: 480 Away (At lunch); try again in 90 s");
    }

    //= IM M-42 test
    #[test]
    fn who_is_writing_is_shown_and_who_has_stopped_is_not() {
        let line = |active, kind: Option<&str>| {
            let by = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
            let what = What::Composing { by, active, content_type: kind.map(str::to_owned) };
            let session = Some(SessionId(2));
            let event = Event { account: AccountId(0), session, what };
            let (time, account) = (Duration::ZERO, "sip:us@x".into());
            event_of(&Happening { seq: None, time, account, session: None, event, file: None, speed: None })
        };
        assert_eq!(line(true, Some("text/plain")).as_deref(), Some("[2] sip:a@x is typing"));
        assert_eq!(line(true, Some("audio/amr")).as_deref(), Some("[2] sip:a@x is recording"));
        assert_eq!(line(false, None), None);
    }
}
