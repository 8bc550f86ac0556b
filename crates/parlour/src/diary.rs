//! Why things were decided: the last invitations, each with its path. `parlour explain` tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parlour_proto::event::Explain;
use parlour_proto::io::SessionId;

use crate::model::SessionName;
use crate::store::{Decided as Path, Decision, PATHS};

/// What is kept of one path, octets.
const LONGEST: usize = 8 * 1024;
/// What a decision costs besides its text, octets.
const OVERHEAD: usize = 64;
/// How long decisions wait, so that many are written together.
const PATIENCE: Duration = Duration::from_millis(300);

/// The paths that are young enough to go on. Bounded, whatever peers send.
#[derive(Debug)]
pub(crate) struct Diary {
    entries: BTreeMap<u64, Entry>,
    by_invitation: BTreeMap<u64, u64>,
    by_session: BTreeMap<SessionId, u64>,
    /// Not written yet, and since when.
    changed: BTreeSet<u64>,
    since: Option<Instant>,
    last: u64,
}

/// One path, and how it is found.
#[derive(Debug)]
struct Entry {
    path: Path,
    /// The number of the invitation.
    invitation: Option<u64>,
    session: Option<SessionId>,
    /// What its decisions hold.
    octets: usize,
}

impl Diary {
    /// Goes on after the last path of an earlier run.
    pub(crate) fn new(last: u64) -> Diary {
        Diary {
            entries: BTreeMap::new(),
            by_invitation: BTreeMap::new(),
            by_session: BTreeMap::new(),
            changed: BTreeSet::new(),
            since: None,
            last,
        }
    }

    /// Adds a decision to the path of its session, else of its invitation; one that belongs to neither is not kept.
    pub(crate) fn note(
        &mut self,
        time: Duration,
        account: &str,
        session: Option<SessionName>,
        why: &Explain,
    ) {
        let Explain { clause, decision, input, invitation } = why;
        if session.is_none() && invitation.is_none() {
            return;
        }
        let known = session.and_then(|session| self.by_session.get(&session.session)).copied();
        let heard = invitation.as_ref().and_then(|heard| self.by_invitation.get(&heard.number)).copied();
        let id = known.or(heard).unwrap_or_else(|| self.begin(time, account));
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(session) = session.filter(|_| known.is_none() && entry.session.is_none()) {
            entry.session = Some(session.session);
            entry.path.session = Some(session.to_string());
            self.by_session.insert(session.session, id);
        }
        if let Some(heard) = invitation.as_ref().filter(|_| known.is_none() && entry.invitation.is_none()) {
            entry.invitation = Some(heard.number);
            entry.path.call_id = Some(heard.call_id.clone());
            self.by_invitation.insert(heard.number, id);
        }
        entry.octets =
            entry.octets.saturating_add(OVERHEAD).saturating_add(decision.len()).saturating_add(input.len());
        if entry.octets > LONGEST {
            return;
        }
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (clause, decision, input) = ((*clause).to_owned(), decision.clone(), input.clone());
        entry.path.decisions.push(Decision { time, clause, decision, input });
        self.changed.insert(id);
        self.since.get_or_insert_with(Instant::now);
    }

    /// When the changes are to be written.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// What has changed; it is written then.
    pub(crate) fn take(&mut self) -> Vec<Path> {
        self.since = None;
        let changed = std::mem::take(&mut self.changed);
        changed.iter().filter_map(|id| self.entries.get(id)).map(|entry| entry.path.clone()).collect()
    }

    fn begin(&mut self, time: Duration, account: &str) -> u64 {
        self.last = self.last.saturating_add(1);
        let account = account.to_owned();
        let path = Path { id: self.last, time, account, session: None, call_id: None, decisions: Vec::new() };
        self.entries.insert(self.last, Entry { path, invitation: None, session: None, octets: 0 });
        if self.entries.len() > PATHS
            && let Some((old, entry)) = self.entries.pop_first()
        {
            self.changed.remove(&old);
            entry.session.map(|session| self.by_session.remove(&session));
            entry.invitation.map(|number| self.by_invitation.remove(&number));
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::event::Invitation;

    use super::*;

    fn why(decision: &str, number: Option<u64>) -> Explain {
        let invitation = number.map(|number| Invitation { number, call_id: format!("call-{number}") });
        Explain { clause: "G-1", decision: decision.into(), input: "x".into(), invitation }
    }

    fn session(number: u64) -> Option<SessionName> {
        Some(SessionName { run: 1, session: SessionId(number) })
    }

    fn told(path: &Path) -> Vec<&str> {
        path.decisions.iter().map(|decision| decision.decision.as_str()).collect()
    }

    #[test]
    fn a_path_goes_on_from_the_invitation_to_its_session() {
        let mut diary = Diary::new(7);
        let mut note = |session, why| diary.note(Duration::from_secs(1), "sip:us@x", session, &why);
        note(None, why("came", Some(1)));
        note(session(5), why("rings", Some(1)));
        note(None, why("another came", Some(2)));
        note(session(5), why("declined", None));
        // While another invitation is judged, something is decided about a session that stands.
        note(session(5), why("replaced", Some(2)));
        note(None, why("refused", Some(2)));
        note(None, why("nobody's", None));
        let paths = diary.take();
        assert_eq!(paths.iter().map(|path| path.id).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(told(&paths[0]), ["came", "rings", "declined", "replaced"]);
        assert_eq!((paths[0].session.as_deref(), paths[0].call_id.as_deref()), (Some("1-5"), Some("call-1")));
        assert_eq!(told(&paths[1]), ["another came", "refused"]);
        assert_eq!(paths[1].session, None);
        assert_eq!(diary.take(), []);
    }

    #[test]
    fn what_peers_send_fills_no_memory() {
        let mut diary = Diary::new(0);
        for number in 1..=3000 {
            let why = Explain { input: "y".repeat(500), ..why("came", Some(number)) };
            for _ in 0..20 {
                diary.note(Duration::ZERO, "sip:us@x", session(number), &why);
            }
        }
        assert_eq!(
            (diary.entries.len(), diary.by_session.len(), diary.by_invitation.len()),
            (PATHS, PATHS, PATHS)
        );
        let paths = diary.take();
        assert_eq!(paths.len(), PATHS);
        assert!(paths.iter().all(|path| path.decisions.len() < 20 && !path.decisions.is_empty()));
    }
}
