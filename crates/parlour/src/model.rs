//! What goes on, folded from events: all that a front end has to know to make sense of a command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use parlour_proto::event::{Event, FileNews, Kind, Participant, Peer, Progress, What};
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::nickname;

/// A session's name across restarts: which run of the program on this store, and which session in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionName {
    pub(crate) run: u64,
    pub(crate) session: SessionId,
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.session.0)
    }
}

impl FromStr for SessionName {
    type Err = String;

    fn from_str(text: &str) -> Result<SessionName, String> {
        let numbers =
            text.split_once('-').and_then(|(run, session)| Some((run.parse().ok()?, session.parse().ok()?)));
        let (run, session) =
            numbers.ok_or_else(|| format!("{text:?} is no session and no file: one looks like 3-17"))?;
        Ok(SessionName { run, session: SessionId(session) })
    }
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The other side waits for our answer.
    Invited,
    /// We wait for the other side's.
    Inviting,
    /// Agreed.
    Established,
    /// Messages flow.
    Connected,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) account: AccountId,
    pub(crate) peer: Peer,
    pub(crate) stage: Stage,
    /// Message-IDs of ours whose fate is still open.
    pub(crate) open: BTreeSet<String>,
    /// Whether we may say something: not in one for files, nor in one for a large message of the peer.
    pub(crate) says: bool,
    /// Who is in the conference or about to come, by address; None if it does not tell.
    pub(crate) present: Option<BTreeMap<String, Participant>>,
    /// Files that were added to it, and that wait for the user's word.
    pub(crate) asked: BTreeSet<FileId>,
}

impl Talk {
    /// The address of the one participant who is called so: an address, a nickname, or a name.
    pub(crate) fn participant(&self, who: &str) -> Result<String, String> {
        if who.contains(':') {
            return Ok(who.to_owned());
        }
        let present =
            self.present.as_ref().ok_or("this session does not tell who is in it: give the address")?;
        let called = |name: fn(&Participant) -> Option<&String>| {
            let is_it = move |user: &&Participant| name(user).is_some_and(|name| nickname::same(name, who));
            present.values().filter(is_it).map(|user| user.address.clone()).take(2).collect::<Vec<_>>()
        };
        // A nickname is one user's alone; a name may be anybody's.
        let nicknames = called(|user| user.nickname.as_ref());
        let found = if nicknames.is_empty() { called(|user| user.display_name.as_ref()) } else { nicknames };
        match found.as_slice() {
            [address] => Ok(address.clone()),
            [] => Err(format!("nobody in the conference is called {who:?}: who tells who is there")),
            _ => Err(format!("several are called {who:?}: give the address")),
        }
    }

    fn new(account: AccountId, peer: Peer, stage: Stage) -> Talk {
        Talk {
            account,
            peer,
            stage,
            open: BTreeSet::new(),
            says: true,
            present: None,
            asked: BTreeSet::new(),
        }
    }
}

/// The sessions that have not ended, and which accounts are registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) talks: BTreeMap<SessionId, Talk>,
    pub(crate) registered: Vec<AccountId>,
    /// Message-IDs of ours outside any session whose fate is still open.
    pub(crate) paged: BTreeSet<String>,
}

impl Model {
    /// Takes one event in.
    pub(crate) fn fold(&mut self, event: &Event) {
        let account = event.account;
        match (&event.what, event.session) {
            (What::Registered { .. }, _) => {
                if !self.registered.contains(&account) {
                    self.registered.push(account);
                }
            }
            (What::Unregistered | What::RegistrationFailed { .. }, _) => {
                self.registered.retain(|registered| *registered != account);
            }
            (what, Some(session)) => self.fold_session(account, session, what),
            (
                What::Progress { message_id, progress: Progress::Acknowledged | Progress::Failed { .. } },
                None,
            ) => {
                self.paged.remove(message_id);
            }
            (_, None) => {}
        }
    }

    fn fold_session(&mut self, account: AccountId, session: SessionId, what: &What) {
        match what {
            What::Invited { peer, kind, .. } => {
                let talk = Talk::new(account, peer.clone(), Stage::Invited);
                let says = !matches!(kind, Kind::Files | Kind::LargeMessage);
                self.talks.insert(session, Talk { says, ..talk });
            }
            What::Inviting { to, kind } => {
                let peer = Peer { address: to.clone(), ..Peer::default() };
                let talk = Talk::new(account, peer, Stage::Inviting);
                let says = *kind != Kind::Files;
                // It is told once at once, and once more when it is durable.
                self.talks.entry(session).or_insert(Talk { says, ..talk });
            }
            What::Established { peer, .. } => {
                let fresh = || Talk::new(account, peer.clone(), Stage::Established);
                let talk = self.talks.entry(session).or_insert_with(fresh);
                talk.peer = peer.clone();
                if talk.stage != Stage::Connected {
                    talk.stage = Stage::Established;
                }
            }
            What::Connected => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    talk.stage = Stage::Connected;
                }
            }
            What::Reconnecting { .. } => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    talk.stage = Stage::Established;
                }
            }
            What::Progress { message_id, progress: Progress::Acknowledged | Progress::Failed { .. } } => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    talk.open.remove(message_id);
                }
            }
            What::Moved { message_id, to } => {
                let was_open = self.talks.get_mut(&session).is_some_and(|talk| talk.open.remove(message_id));
                if let Some(talk) = self.talks.get_mut(to).filter(|_| was_open) {
                    talk.open.insert(message_id.clone());
                }
            }
            What::Roster(roster) => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    let present = talk.present.get_or_insert_default();
                    let come = roster.joined.iter().chain(&roster.changed);
                    present
                        .extend(come.map(|participant| (participant.address.clone(), participant.clone())));
                    roster.left.iter().for_each(|participant| drop(present.remove(&participant.address)));
                }
            }
            What::RosterEnded { .. } => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    talk.present = None;
                }
            }
            What::FilesAdded { files, .. } => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    let asked = files.iter().filter(|info| info.unasked.is_none());
                    talk.asked = asked.map(|info| info.file).collect();
                }
            }
            What::File { file, news: FileNews::Begun(_) | FileNews::Stopped(_) } => {
                if let Some(talk) = self.talks.get_mut(&session) {
                    talk.asked.remove(file);
                }
            }
            What::File { .. } => {}
            What::Missed { .. } | What::Ended(_) => {
                self.talks.remove(&session);
            }
            What::Registered { .. }
            | What::RegistrationFailed { .. }
            | What::Unregistered
            | What::Ringing
            | What::Held
            | What::Resumed
            | What::Secured(_)
            | What::FingerprintChanged { .. }
            | What::Impostor { .. }
            | What::TakeoverRefused { .. }
            | What::AddAccepted { .. }
            | What::AddRefused { .. }
            | What::Nickname { .. }
            | What::NicknameRefused { .. }
            | What::Message(_)
            | What::Receiving { .. }
            | What::Sending { .. }
            | What::Composing { .. }
            | What::TypeRefused { .. }
            | What::RelayFailed { .. }
            | What::Receipt { .. }
            | What::Incomplete { .. }
            | What::Progress { progress: Progress::Sent, .. }
            | What::Explain(_) => {}
        }
    }

    /// The one session at these stages, whatever it is for, if there is exactly one; else what to do about it.
    pub(crate) fn only(&self, stages: &[Stage]) -> Result<SessionId, String> {
        let nobody = match stages {
            [Stage::Invited] => "no invitation waits for an answer",
            _ => "there is no session now: invite somebody, or accept an invitation",
        };
        // Files that were added to a session are answered as an invitation is.
        let asks = |talk: &Talk| stages == [Stage::Invited] && !talk.asked.is_empty();
        self.only_such(|talk| stages.contains(&talk.stage) || asks(talk), nobody)
    }

    /// The same, of those in which something can be said.
    pub(crate) fn only_chat(&self, stages: &[Stage]) -> Result<SessionId, String> {
        let nobody = "there is no chat now: invite somebody, or accept an invitation";
        self.only_such(|talk| stages.contains(&talk.stage) && talk.says, nobody)
    }

    fn only_such(&self, fits: impl Fn(&Talk) -> bool, nobody: &str) -> Result<SessionId, String> {
        let mut fitting = self.talks.iter().filter(|(_, talk)| fits(talk)).map(|(session, _)| session);
        match (fitting.next(), fitting.next()) {
            (Some(session), None) => Ok(*session),
            (None, _) => Err(nobody.to_owned()),
            (Some(_), Some(_)) => Err("there are several sessions: say which".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::event::{Ended, Roster, Thread};

    use super::*;

    fn event(session: u64, what: What) -> Event {
        Event { account: AccountId(0), session: Some(SessionId(session)), what }
    }

    fn established(address: &str) -> What {
        What::Established { peer: peer(address), session_identity: String::new(), conference: false }
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.into(), display_name: None, verified: false }
    }

    #[test]
    fn a_session_goes_through_its_stages_and_out() {
        let mut model = Model::default();
        model.fold(&event(
            1,
            What::Invited {
                peer: peer("sip:a@x"),
                kind: Kind::Chat,
                subject: None,
                asked: true,
                identity: None,
                thread: Thread::default(),
                invited_with: Vec::new(),
                files: Vec::new(),
            },
        ));
        assert_eq!(model.only(&[Stage::Invited]), Ok(SessionId(1)));
        model.fold(&event(1, established("sip:a@x")));
        model.fold(&event(1, What::Connected));
        assert_eq!(model.only(&[Stage::Connected]), Ok(SessionId(1)));
        model.fold(&event(2, What::Inviting { to: "sip:b@x".into(), kind: Kind::Chat }));
        assert!(model.only(&[Stage::Connected, Stage::Inviting]).unwrap_err().contains("several"));
        model.fold(&event(1, What::Ended(Ended::PeerLeft)));
        model.fold(&event(2, What::Ended(Ended::Left)));
        assert_eq!(model, Model::default());
    }

    #[test]
    fn what_is_said_goes_to_the_chat_and_not_to_the_files_beside_it() {
        let mut model = Model::default();
        model.fold(&event(1, What::Inviting { to: "sip:b@x".into(), kind: Kind::Files }));
        let stages = [Stage::Inviting];
        assert!(model.only_chat(&stages).is_err(), "files alone");
        assert_eq!(model.only(&stages), Ok(SessionId(1)), "but they can be left");
        model.fold(&event(2, What::Inviting { to: "sip:b@x".into(), kind: Kind::Chat }));
        assert_eq!(model.only_chat(&stages), Ok(SessionId(2)));
        assert!(model.only(&stages).unwrap_err().contains("several"));
    }

    #[test]
    fn messages_that_overtake_the_ack_do_not_set_a_session_back() {
        let mut model = Model::default();
        model.fold(&event(
            1,
            What::Invited {
                peer: peer("sip:a@x"),
                kind: Kind::Chat,
                subject: None,
                asked: true,
                identity: None,
                thread: Thread::default(),
                invited_with: Vec::new(),
                files: Vec::new(),
            },
        ));
        model.fold(&event(1, What::Connected));
        model.fold(&event(1, established("sip:a@x")));
        assert_eq!(model.talks[&SessionId(1)].stage, Stage::Connected);
    }

    #[test]
    fn a_message_id_is_taken_until_its_fate_is_told() {
        let mut model = Model::default();
        model.fold(&event(1, What::Inviting { to: "sip:b@x".into(), kind: Kind::Chat }));
        model.talks.get_mut(&SessionId(1)).unwrap().open.insert("m1".into());
        model.fold(&event(1, established("sip:b@x")));
        let progress = |progress| event(1, What::Progress { message_id: "m1".into(), progress });
        model.fold(&progress(Progress::Sent));
        assert!(model.talks[&SessionId(1)].open.contains("m1"));
        model.fold(&progress(Progress::Acknowledged));
        assert!(model.talks[&SessionId(1)].open.is_empty());
    }

    #[test]
    fn who_is_in_a_conference_is_folded() {
        let participant = |address: &str| Participant {
            address: address.into(),
            display_name: None,
            nickname: None,
            roles: Vec::new(),
            status: None,
            joining_method: None,
            disconnection_method: None,
            anonymous: false,
        };
        let mut model = Model::default();
        model.fold(&event(1, What::Inviting { to: "sip:c@x".into(), kind: Kind::Chat }));
        let joined = vec![participant("sip:a@x"), participant("sip:b@x")];
        model.fold(&event(1, What::Roster(Roster { joined, ..Roster::default() })));
        let left = vec![participant("sip:a@x")];
        model.fold(&event(1, What::Roster(Roster { left, ..Roster::default() })));
        let present = model.talks[&SessionId(1)].present.clone().unwrap();
        assert_eq!(present.keys().collect::<Vec<_>>(), ["sip:b@x"]);
        model.fold(&event(1, What::RosterEnded { why: "over".into() }));
        assert_eq!(model.talks[&SessionId(1)].present, None);
    }

    //= IM M-60 test
    #[test]
    fn a_participant_is_known_by_address_and_by_name() {
        let mut talk = Talk::new(AccountId(0), peer("sip:room@x"), Stage::Connected);
        assert!(talk.participant("alice").unwrap_err().contains("does not tell"));
        let user = |address: &str, name: &str, nickname: Option<&str>| Participant {
            address: address.into(),
            display_name: Some(name.into()),
            nickname: nickname.map(str::to_owned),
            roles: Vec::new(),
            status: None,
            joining_method: None,
            disconnection_method: None,
            anonymous: false,
        };
        let users = [
            user("sip:a@x", "Alice", Some("Alice the great")),
            user("sip:b@x", "Alice the great", None),
            user("sip:c@x", "Carol", None),
            user("sip:d@x", "carol", None),
        ];
        talk.present = Some(users.into_iter().map(|user| (user.address.clone(), user)).collect());
        assert_eq!(talk.participant("alice  THE great").as_deref(), Ok("sip:a@x"), "nicknames come first");
        assert_eq!(talk.participant("alice").as_deref(), Ok("sip:a@x"));
        assert_eq!(
            talk.participant("sip:nobody@x").as_deref(),
            Ok("sip:nobody@x"),
            "the conference may know more"
        );
        assert!(talk.participant("Carol").unwrap_err().contains("several"));
        assert!(talk.participant("dave").unwrap_err().contains("nobody"));
    }

    #[test]
    fn a_name_reads_back() {
        let name = SessionName { run: 3, session: SessionId(17) };
        assert_eq!(name.to_string().parse(), Ok(name));
        assert!("17".parse::<SessionName>().is_err());
    }
}
