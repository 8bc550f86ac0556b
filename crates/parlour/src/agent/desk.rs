//! What the agent knows of files: one row for each, and the transfers that are on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::config::Proxy;
use parlour_proto::event::FileInfo;
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sdp::FileSelector;

use super::quota::{Quota, Usage};
use super::sending::Gate;
use crate::files::Files;
use crate::speed::Track;
use crate::store::{By, FileRow, FileState, party};

/// All that the agent knows of files.
pub(super) struct Desk {
    pub(super) disk: Files,
    pub(super) quota: Quota,
    pub(super) rows: BTreeMap<String, FileRow>,
    /// Transfers that are on, or offered.
    pub(super) on: BTreeMap<FileId, Transfer>,
    pub(super) kept: BTreeMap<SpoolId, FileId>,
    /// Who is at the other end of sessions.
    pub(super) peers: BTreeMap<SessionId, Other>,
    /// Files of ours that are being looked at, and why.
    pub(super) looking: BTreeMap<u64, Why>,
    /// The next hops by which files were asked for.
    pub(super) ways: BTreeMap<SessionId, Proxy>,
    /// What goes on by itself.
    pub(super) resume: Vec<Due>,
    pub(super) usage: RefCell<Option<Usage>>,
}

/// Who is at the other end of a session.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) account: AccountId,
    pub(super) address: String,
    /// Whether somebody vouches for that.
    pub(super) verified: bool,
    /// The address, as a key.
    peer: String,
}

impl Other {
    pub(super) fn new(account: AccountId, address: &str, verified: bool) -> Other {
        Other { account, address: address.to_owned(), verified, peer: party(address) }
    }

    pub(super) fn whose<'o>(&'o self, account: &'o str) -> Whose<'o> {
        Whose { account, peer: &self.peer, verified: self.verified }
    }
}

/// Whose files are meant: those that passed between an account of ours and a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'o> {
    pub(super) account: &'o str,
    pub(super) peer: &'o str,
    /// Whether somebody vouches that it is the peer. Files of one who was vouched for are not those of who only claims to
    /// be the same.
    pub(super) verified: bool,
}

/// A file that goes on by itself.
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) row: String,
    /// How often it was tried in vain in this run.
    pub(super) tries: u8,
}

#[derive(Default)]
pub(super) struct Transfer {
    /// The id of its row.
    pub(super) row: String,
    pub(super) part: Option<PathBuf>,
    pub(super) source: Option<SourceId>,
    /// Octets that it leaves out.
    pub(super) skip: u64,
    pub(super) begun: bool,
    /// How fast it is.
    pub(super) track: Track,
    pub(super) tries: u8,
    /// How far it may leave, if it is ours, before the store knows.
    pub(super) gate: Gate,
}

/// Why files of ours are looked at.
pub(super) enum Why {
    Send {
        by: By,
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
    },
    Resume {
        row: String,
        by: Option<By>,
        tries: u8,
    },
    /// Those that are given, each with its row; and those that go on besides.
    Serve {
        session: SessionId,
        given: Vec<(FileInfo, String)>,
        taken: Vec<FileId>,
    },
}

impl FileRow {
    fn is_of(&self, whose: &Whose<'_>) -> bool {
        self.account == whose.account && self.peer == whose.peer && (whose.verified || !self.verified)
    }

    /// What is known of it.
    pub(super) fn selector(&self) -> FileSelector {
        FileSelector {
            name: self.name.clone(),
            media_type: self.content_type.clone(),
            size: self.size,
            hashes: self.hashes.clone(),
        }
    }
}

impl Desk {
    pub(super) fn new(disk: Files, quota: Quota, rows: Vec<FileRow>) -> Desk {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let (on, kept, peers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (looking, ways) = (BTreeMap::new(), BTreeMap::new());
        Desk {
            disk,
            quota,
            rows,
            on,
            kept,
            peers,
            looking,
            ways,
            resume: Vec::new(),
            usage: RefCell::new(None),
        }
    }

    /// When something goes on by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        self.resume.iter().map(|due| due.at).min()
    }

    /// The file that a spool is of.
    pub(super) fn file_of(&self, spool: SpoolId) -> Option<FileId> {
        self.kept.get(&spool).copied()
    }

    /// Where the file of a transfer lies.
    pub(super) fn path(&self, file: FileId) -> Option<String> {
        let row = self.rows.get(&self.on.get(&file)?.row)?;
        row.path.as_ref().map(|path| path.to_string_lossy().into_owned())
    }

    pub(super) fn is_on(&self, row: &str) -> bool {
        self.on.values().any(|transfer| transfer.row == row)
    }

    /// Whether octets of it flow, or the last of them are being written.
    pub(super) fn is_running(&self, row: &str) -> bool {
        self.on.values().any(|transfer| transfer.row == row && transfer.begun)
    }

    /// The file of which this is the name, or that of one of its transfers.
    pub(super) fn called(&self, name: &str) -> Option<&FileRow> {
        self.rows.get(name).or_else(|| self.rows.values().find(|row| row.is_called(name)))
    }

    /// Whether an invitation to or from the other side of this file waits for an answer.
    pub(super) fn is_beginning_with_peer_of(&self, row: &str) -> bool {
        let Some(peer) = self.rows.get(row).map(|row| &row.peer) else { return false };
        let mut beginning = self.on.values().filter(|transfer| !transfer.begun);
        beginning.any(|transfer| self.rows.get(&transfer.row).is_some_and(|row| row.peer == *peer))
    }

    /// The last row of a file that is meant: same account and other side, a hash that both name, and no other size.
    fn find(
        &self,
        whose: &Whose<'_>,
        named: &FileSelector,
        fits: impl Fn(&FileRow) -> bool,
    ) -> Option<&FileRow> {
        let same = |row: &&FileRow| {
            row.is_of(whose)
                && row.hashes.iter().any(|hash| named.hashes.contains(hash))
                && named.size.is_none_or(|size| row.size.is_none_or(|ours| ours == size))
                && fits(row)
        };
        self.rows.values().filter(same).max_by_key(|row| row.time)
    }

    /// A file of ours that this peer may have: it was given to him, whole or in part. What was never accepted, or was
    /// given up, is nobody's.
    //= IM D-43
    /// One that is asked for without a hash has to be the only one of them that is called so, or is of that size.
    pub(super) fn shared(&self, whose: &Whose<'_>, named: &FileSelector) -> Option<&FileRow> {
        let given = |row: &FileRow| {
            let given = match row.state {
                FileState::Done | FileState::Interrupted | FileState::Running => true,
                FileState::Offered | FileState::Failed => false,
            };
            given && !row.incoming && row.path.is_some()
        };
        if !named.hashes.is_empty() {
            let at_once = self.find(whose, named, |row| given(row) && self.can_be_given(row));
            return at_once.or_else(|| self.find(whose, named, given));
        }
        if named.name.is_none() && named.size.is_none() {
            return None;
        }
        let fits = |row: &&FileRow| row.is_of(whose) && given(row) && named.fits(&row.selector());
        let mut fitting = self.rows.values().filter(fits);
        let first = fitting.next()?;
        // Sent twice it is the same file all the same.
        let is_one = fitting.all(|row| row.hashes == first.hashes);
        let at_once = || self.rows.values().filter(fits).find(|row| self.can_be_given(row));
        is_one.then(|| at_once().unwrap_or(first))
    }

    /// Whether a file of ours may be given to who has had it, now. What he has as a whole he may have again, also while
    /// the last transfer of it is on, or has just been done; of a part that is on its way the row tells how far it is,
    /// and that is one transfer's.
    pub(super) fn can_be_given(&self, row: &FileRow) -> bool {
        row.state == FileState::Done || !self.is_on(&row.id)
    }

    /// A file of which a part is here.
    pub(super) fn interrupted(&self, whose: &Whose<'_>, named: &FileSelector) -> Option<&FileRow> {
        self.find(whose, named, |row| row.incoming && row.state == FileState::Interrupted)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use parlour_proto::sdp::FileHash;

    use super::*;

    pub(crate) const QUOTA: Quota = Quota {
        all: 1,
        peer: 1,
        reserve: 0,
        records: 100,
        records_of_peer: 100,
        age: Duration::from_secs(1000),
    };

    pub(crate) fn row(id: &str, peer: &str, state: FileState, size: u64, path: PathBuf) -> FileRow {
        FileRow {
            id: id.to_owned(),
            time: Duration::ZERO,
            account: String::new(),
            peer: peer.to_owned(),
            address: peer.to_owned(),
            incoming: true,
            name: None,
            content_type: None,
            size: Some(size),
            hashes: vec![FileHash::Sha1([7; 20])],
            state,
            why: None,
            octets: 0,
            path: Some(path),
            modified: Duration::ZERO,
            via: None,
            tries: 0,
            attempts: Vec::new(),
            verified: false,
        }
    }

    /// A peer, as our one account sees him.
    pub(crate) fn whose(peer: &str) -> Whose<'_> {
        Whose { account: "", peer, verified: false }
    }

    pub(crate) fn named(octet: u8) -> FileSelector {
        FileSelector { hashes: vec![FileHash::Sha1([octet; 20])], ..FileSelector::default() }
    }

    //= IM D-43 test
    #[test]
    fn a_file_is_given_to_whom_it_was_given_before_by_its_hash() {
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let sent = |id: &str, state| FileRow {
            incoming: false,
            path: Some(PathBuf::from("f")),
            ..row(id, "sip:a@x", state, 1, PathBuf::new())
        };
        let desk = |rows| Desk::new(Files::start(None, &answers).unwrap(), QUOTA, rows);
        let (same, other) = (named(7), named(8));
        let (a, b) = (whose("sip:a@x"), whose("sip:b@x"));
        let all = desk(vec![sent("1-1", FileState::Done)]);
        assert!(all.shared(&a, &same).is_some());
        assert!(all.shared(&b, &same).is_none() && all.shared(&a, &other).is_none());
        assert!(all.shared(&a, &FileSelector::default()).is_none(), "which one?");
        assert!(all.interrupted(&a, &same).is_none());
        for state in [FileState::Failed, FileState::Offered] {
            assert!(desk(vec![sent("1-1", state)]).shared(&a, &same).is_none(), "{state:?}");
        }
        assert!(desk(vec![sent("1-1", FileState::Interrupted)]).shared(&a, &same).is_some());
        let larger = FileSelector { size: Some(2), ..same.clone() };
        assert!(all.shared(&a, &larger).is_none(), "no file has two sizes");
        assert!(all.shared(&Whose { account: "sip:other@us", ..a }, &same).is_none(), "nor two owners");
        let mut on_its_way = desk(vec![sent("1-1", FileState::Done)]);
        on_its_way.on.insert(FileId(1), Transfer { row: "1-1".to_owned(), ..Transfer::default() });
        let row = on_its_way.shared(&a, &same).unwrap();
        assert!(on_its_way.can_be_given(row), "he has had it: the transfer before may not be over for us");
        for state in [FileState::Interrupted, FileState::Running] {
            on_its_way.rows.insert("1-1".to_owned(), sent("1-1", state));
            let row = on_its_way.shared(&a, &same).unwrap();
            assert!(!on_its_way.can_be_given(row), "the rest of it is being given");
            on_its_way.rows.insert("1-0".to_owned(), sent("1-0", FileState::Done));
            assert_eq!(on_its_way.shared(&a, &same).unwrap().id, "1-0", "sent twice");
            on_its_way.rows.remove("1-0");
        }
        let later = FileRow { time: Duration::from_secs(9), ..sent("1-0", FileState::Done) };
        let last = desk(vec![sent("1-1", FileState::Done), later, sent("1-2", FileState::Done)]);
        assert_eq!(last.shared(&a, &same).map(|row| row.id.as_str()), Some("1-0"), "the last one counts");
        // Who is vouched for is not whoever claims to be the same.
        let vouched = desk(vec![FileRow { verified: true, ..sent("1-1", FileState::Done) }]);
        assert!(vouched.shared(&a, &same).is_none());
        assert!(vouched.shared(&Whose { verified: true, ..a }, &same).is_some());
        assert!(all.shared(&Whose { verified: true, ..a }, &same).is_some());
    }

    //= IM D-43 test
    #[test]
    fn a_file_that_was_given_is_given_again_by_a_name_or_size_that_no_other_one_has() {
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let sent = |id: &str, name: &str, size, hash| FileRow {
            incoming: false,
            path: Some(PathBuf::from("f")),
            name: Some(name.to_owned()),
            content_type: Some("text/plain".to_owned()),
            hashes: vec![FileHash::Sha1([hash; 20])],
            ..row(id, "sip:a@x", FileState::Done, size, PathBuf::new())
        };
        let rows = vec![
            sent("1-1", "a", 5, 1),
            sent("1-2", "b", 6, 2),
            sent("1-3", "b", 7, 3),
            sent("1-4", "a", 5, 1),
        ];
        let of_another = FileRow { peer: "sip:b@x".into(), ..sent("1-5", "c", 8, 4) };
        let desk = Desk::new(Files::start(None, &answers).unwrap(), QUOTA, [rows, vec![of_another]].concat());
        let shared = |name: Option<&str>, size, media_type: Option<&str>| {
            let named = FileSelector {
                name: name.map(str::to_owned),
                size,
                media_type: media_type.map(str::to_owned),
                ..FileSelector::default()
            };
            desk.shared(&whose("sip:a@x"), &named).map(|row| row.id.clone())
        };
        assert_eq!(shared(Some("a"), None, None).as_deref(), Some("1-1"), "sent twice it is one");
        assert_eq!(shared(Some("b"), None, None), None, "which one?");
        assert_eq!(shared(Some("b"), Some(7), None).as_deref(), Some("1-3"));
        assert_eq!(shared(None, Some(6), Some("TEXT/plain")).as_deref(), Some("1-2"));
        assert_eq!(shared(Some("a"), Some(6), None), None);
        assert_eq!(shared(Some("a"), None, Some("image/png")), None);
        assert_eq!(shared(None, None, Some("text/plain")), None, "that says nothing");
        assert_eq!(shared(Some("c"), None, None), None, "it was given to somebody else");
        let mut desk = desk;
        for (file, id) in [(1, "1-1"), (2, "1-3")] {
            desk.on.insert(FileId(file), Transfer { row: id.to_owned(), ..Transfer::default() });
            desk.rows.get_mut(id).unwrap().state = FileState::Running;
        }
        let row = |size| {
            let named = FileSelector { size: Some(size), ..FileSelector::default() };
            desk.shared(&whose("sip:a@x"), &named).unwrap()
        };
        assert!(!desk.can_be_given(row(7)), "it is being given");
        assert_eq!(row(5).id, "1-4", "sent twice");
    }

    //= IM D-43 test
    #[test]
    fn a_later_attempt_that_failed_hides_no_part_that_is_here() {
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let part = row("1-9", "sip:a@x", FileState::Interrupted, 1, PathBuf::from("p"));
        let failed = FileRow {
            time: Duration::from_secs(5),
            ..row("1-10", "sip:a@x", FileState::Failed, 1, PathBuf::new())
        };
        let desk = Desk::new(Files::start(None, &answers).unwrap(), QUOTA, vec![part, failed]);
        let found = desk.interrupted(&whose("sip:a@x"), &named(7));
        assert_eq!(found.map(|row| row.id.as_str()), Some("1-9"));
    }
}
