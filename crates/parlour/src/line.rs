//! The front end for people: one line in, one line out.

use std::collections::BTreeSet;
use std::io::{self, BufReader, BufWriter, Write};
use std::time::Duration;

use parlour_proto::event::{
    Ended, Fate, FileInfo, FileNews, FileStop, Identity, Incoming, Invitee, Kind, Peer, Progress, Thread,
    Unasked, What,
};
use parlour_proto::io::FileId;
use parlour_proto::text;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::agent::{Happening, Hearer, Told};
use crate::command::{Achieved, Asked, Command, Wish};
use crate::ending::write_in_background;
use crate::json_front::next_line;
use crate::secured::{another_certificate, encrypted, relay_failed};
use crate::shown::shown;
use crate::speed::progress;
use crate::store::Reader;
use crate::typed::command;
use crate::{explain, history, json, large, roster};

/// Missed invitations that are shown at once.
const SHOWN: usize = 20;

/// Octets of a line that is typed or piped in.
const LONGEST: usize = 64 * 1024;

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
    let account = || text::neutral(&happening.account);
    let line = match &happening.event.what {
        What::Registered { expires, .. } => {
            format!("{} is registered for {} s", account(), expires.as_secs())
        }
        What::RegistrationFailed { why, retry, .. } => {
            let next = match retry {
                Some(retry) => format!("next attempt in {} s", retry.as_secs()),
                None => "not tried again".to_owned(),
            };
            format!("! {} is not registered: {}; {next}", account(), text::neutral(why))
        }
        What::Unregistered => format!("{} is not registered any more", account()),
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
            // Each file says then what becomes of it.
            let decided = !files.is_empty() && files.iter().all(|info| info.unasked.is_some());
            let next = match asked {
                true => ": accept or decline?",
                false if decided => "",
                false => ": accepted",
            };
            let signed = forged(identity.as_deref());
            let about = offered_files(files);
            format!("{session}{}{signed} invites you{to}{with}{subject}{about}{next}", who(peer))
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
            let asks = files.iter().any(|info| info.unasked.is_none());
            let within = format!(": accept or decline within {} s?", within.as_secs());
            format!("{session}the other side wants you{about}{}", if asks { &within } else { "" })
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
    let each = |info: &FileInfo| {
        let becomes = match &info.unasked {
            None => String::new(),
            Some(Unasked::Given { path }) => {
                format!(", which you have shared with this peer: it is given from {path}")
            }
            Some(Unasked::GoesOn) => ", which you have accepted before: it goes on".to_owned(),
            Some(Unasked::Refused { why }) => format!(", which is refused: {}", text::neutral(why)),
        };
        format!("{} as file {}{becomes}", about_file(info), info.file.0)
    };
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
    use parlour_proto::io::{AccountId, SessionId};

    use super::event as event_of;
    use super::*;

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

    //= IM D-43 test
    #[test]
    fn whoever_answers_sees_which_file_of_his_is_wanted_by_whom_and_what_becomes_of_it() {
        use parlour_proto::sdp::{FileAttributes, FileSelector};
        let file = |number, sends, unasked| FileInfo {
            file: FileId(number),
            sends,
            about: FileAttributes {
                selector: FileSelector {
                    name: Some("a.jpg".into()),
                    size: Some(5),
                    ..FileSelector::default()
                },
                ..FileAttributes::default()
            },
            icon: None,
            unasked,
        };
        let invited = |files, asked, kind| {
            let peer = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
            let (subject, identity, thread, invited_with) = (None, None, Thread::default(), Vec::new());
            let what = What::Invited { peer, kind, subject, asked, identity, thread, invited_with, files };
            let event = Event { account: AccountId(0), session: Some(SessionId(2)), what };
            let (time, account) = (Duration::ZERO, "sip:us@x".into());
            let happening =
                Happening { seq: None, time, account, session: None, event, file: None, speed: None };
            event_of(&happening).unwrap()
        };
        let given = file(3, true, Some(Unasked::Given { path: "/f/a".into() }));
        let refused = |sends| file(4, sends, Some(Unasked::Refused { why: "not shared".into() }));
        assert_eq!(
            invited(vec![given, refused(true)], false, Kind::Files),
            "[2] sip:a@x invites you to give \"a.jpg\" (5 octets) as file 3, which you have shared with this peer: \
             it is given from /f/a, \"a.jpg\" (5 octets) as file 4, which is refused: not shared"
        );
        let asked = invited(vec![file(5, false, None), refused(true)], true, Kind::Chat);
        assert!(asked.contains("to take \"a") && asked.contains("to give \"a"), "{asked}");
        assert!(asked.ends_with("which is refused: not shared: accept or decline?"), "{asked}");
        let policy = invited(vec![file(5, false, None)], false, Kind::Files);
        assert!(policy.ends_with("as file 5: accepted"), "{policy}");
        let on = invited(vec![file(6, false, Some(Unasked::GoesOn))], false, Kind::Files);
        assert!(on.ends_with("as file 6, which you have accepted before: it goes on"), "{on}");
    }

    #[test]
    fn a_receipt_names_who_has_not_said_it_in_the_session_and_added_files_ask_once() {
        let line = |session: Option<u64>, what| {
            let event = Event { account: AccountId(0), session: session.map(SessionId), what };
            let (time, account) = (Duration::ZERO, "sip:us@x".into());
            event_of(&Happening { seq: None, time, account, session: None, event, file: None, speed: None })
        };
        let receipt = |session, recipient: Option<&str>, fate| {
            let from = Peer { address: "sip:a@x".into(), display_name: None, verified: true };
            let (recipient, message_id) = (recipient.map(str::to_owned), "m1".to_owned());
            line(session, What::Receipt { message_id, recipient, from, fate }).unwrap()
        };
        assert_eq!(receipt(Some(2), None, Fate::Delivered), "[2] received");
        assert_eq!(receipt(None, None, Fate::Displayed), "read by sip:a@x");
        assert_eq!(receipt(Some(2), Some("sip:c@x"), Fate::Failed), "[2] ! not received by sip:c@x");
        let added = |unasked| {
            let about = parlour_proto::sdp::FileAttributes::default();
            let file = FileInfo { file: FileId(1), sends: false, about, icon: None, unasked };
            line(Some(2), What::FilesAdded { files: vec![file], within: Duration::from_secs(25) }).unwrap()
        };
        assert!(added(None).ends_with(": accept or decline within 25 s?"), "{}", added(None));
        assert!(!added(Some(Unasked::GoesOn)).contains("accept or decline"));
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
