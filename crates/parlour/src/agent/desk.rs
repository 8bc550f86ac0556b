//! What the agent knows of files: one row for each, the transfers that are on, and what there is room for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::config::Proxy;
use parlour_proto::event::FileInfo;
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sdp::FileSelector;

use super::sending::Gate;
use crate::files::Files;
use crate::room;
use crate::speed::Track;
use crate::store::{By, FileRow, FileState, party};

/// How long it is believed what lies here, unless something has changed.
const GLANCE: Duration = Duration::from_secs(10);

/// How much may lie here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    /// Octets of all files that came in.
    pub(crate) all: u64,
    /// Octets of those of one peer.
    pub(crate) peer: u64,
    /// Octets that stay free on the disk.
    pub(crate) reserve: u64,
    /// Files that are remembered, sent and received together.
    pub(crate) records: usize,
    /// Of them, those that came from one peer.
    pub(crate) records_of_peer: usize,
    /// For how long.
    pub(crate) age: Duration,
}

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
    usage: RefCell<Option<Usage>>,
}

/// Octets of all files, and octets and number of those of each peer, as they were a moment ago: the disk is not asked for
/// each line that somebody offers.
struct Usage {
    looked: Instant,
    all: u64,
    peers: BTreeMap<String, (u64, usize)>,
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

    /// Octets that lie here, or are on their way: of all, and of one peer, and of how many files of his. What nobody is
    /// sending any more counts by what is here of it, wherever it lies.
    fn used(&self, peer: &str) -> (u64, (u64, usize)) {
        let lies = |row: &FileRow| {
            let meta = row.path.as_ref().and_then(|path| path.metadata().ok());
            meta.map_or(0, |meta| meta.len())
        };
        let counts = |row: &FileRow| match row.state {
            FileState::Running => row.size.unwrap_or(row.octets),
            FileState::Done | FileState::Interrupted | FileState::Failed => lies(row),
            FileState::Offered => 0,
        };
        let mut kept = self.usage.borrow_mut();
        let usage = match &mut *kept {
            Some(usage) if usage.looked.elapsed() < GLANCE => usage,
            stale => {
                let mut usage = Usage { looked: Instant::now(), all: 0, peers: BTreeMap::new() };
                for row in self.rows.values().filter(|row| row.incoming) {
                    let octets = counts(row);
                    let (of_peer, files) = usage.peers.entry(row.peer.clone()).or_default();
                    *of_peer = of_peer.saturating_add(octets);
                    *files = files.saturating_add(1);
                    usage.all = usage.all.saturating_add(octets);
                }
                stale.insert(usage)
            }
        };
        (usage.all, usage.peers.get(peer).copied().unwrap_or_default())
    }

    /// Something has changed of what lies here.
    pub(super) fn changed(&self) {
        self.usage.replace(None);
    }

    /// For how large a file of anybody there is room.
    pub(super) fn room(&self) -> u64 {
        if self.rows.len() > self.quota.records {
            return 0;
        }
        let left = self.quota.all.saturating_sub(self.used("").0);
        left.min(self.quota.peer).min(self.free().saturating_sub(self.quota.reserve))
    }

    /// Octets that are free on the disk.
    fn free(&self) -> u64 {
        self.disk.places().and_then(|places| room::free(&places.root)).unwrap_or(u64::MAX)
    }

    /// Why another file, of that size, may not come in.
    //= IM X-30
    pub(super) fn refuses_another(&self, peer: &str, size: u64) -> Option<String> {
        let (_, (_, of_peer)) = self.used(peer);
        if self.rows.len() > self.quota.records {
            Some(format!("file_records: {} files lie here, or are on their way", self.rows.len()))
        } else if of_peer > self.quota.records_of_peer {
            Some(format!("file_records_per_peer: {of_peer} files of this peer lie here, or are on their way"))
        } else {
            self.refuses(peer, size)
        }
    }

    /// Why so many octets more may not come in.
    //= IM X-30
    pub(super) fn refuses(&self, peer: &str, size: u64) -> Option<String> {
        if self.disk.places().is_none() {
            return Some("there is no directory for it".into());
        }
        let ((all, (of_peer, _)), free) = (self.used(peer), self.free());
        if all.saturating_add(size) > self.quota.all {
            Some(format!("file_quota: {all} of {} octets are used", self.quota.all))
        } else if of_peer.saturating_add(size) > self.quota.peer {
            Some(format!("file_quota_per_peer: {of_peer} of {} octets are used", self.quota.peer))
        } else if free.saturating_sub(self.quota.reserve) < size {
            Some(format!("disk_reserve: {free} octets are free on the disk"))
        } else {
            None
        }
    }

    /// The last row of a file that is meant: same account and other side, a hash that both name, and no other size.
    fn find(
        &self,
        whose: &Whose<'_>,
        named: &FileSelector,
        fits: impl Fn(&FileRow) -> bool,
    ) -> Option<&FileRow> {
        let same = |row: &&FileRow| {
            row.account == whose.account
                && row.peer == whose.peer
                && (whose.verified || !row.verified)
                && row.hashes.iter().any(|hash| named.hashes.contains(hash))
                && named.size.is_none_or(|size| row.size.is_none_or(|ours| ours == size))
                && fits(row)
        };
        self.rows.values().filter(same).max_by_key(|row| row.time)
    }

    /// A file of ours that this peer may have: it was given to him, whole or in part. What was never accepted, or was
    /// given up, is nobody's.
    //= IM D-43
    pub(super) fn shared(&self, whose: &Whose<'_>, named: &FileSelector) -> Option<&FileRow> {
        self.find(whose, named, |row| {
            let given = matches!(row.state, FileState::Done | FileState::Interrupted);
            given && !row.incoming && row.path.is_some() && !self.is_on(&row.id)
        })
    }

    /// A file of which a part is here.
    pub(super) fn interrupted(&self, whose: &Whose<'_>, named: &FileSelector) -> Option<&FileRow> {
        self.find(whose, named, |row| row.incoming && row.state == FileState::Interrupted)
    }

    /// The rows that are not to be remembered any more: those that are too old, the oldest of those that are too many of
    /// one peer, and then of those that are too many.
    /// A file that came in and lies where it was put is remembered, since the quota counts it; so is one that is on its
    /// way, and what goes on one day, unless it is too old.
    pub(super) fn to_forget(&self, now: Duration) -> Vec<String> {
        let mut rows: Vec<&FileRow> = self.rows.values().collect();
        rows.sort_by_key(|row| row.time);
        let mut of_peer = BTreeMap::<&str, usize>::new();
        for row in rows.iter().filter(|row| row.incoming) {
            let files = of_peer.entry(&row.peer).or_default();
            *files = files.saturating_add(1);
        }
        of_peer.values_mut().for_each(|files| *files = files.saturating_sub(self.quota.records_of_peer));
        let mut excess = rows.len().saturating_sub(self.quota.records);
        let (mut forgotten, mut others) = (Vec::new(), Vec::new());
        let old = |row: &FileRow| now.saturating_sub(row.time) > self.quota.age;
        let is_over = |row: &FileRow| {
            let is_over = match row.state {
                FileState::Offered | FileState::Running => false,
                // Of what nothing is here nothing is lost.
                FileState::Interrupted => old(row) || (row.incoming && row.octets == 0),
                FileState::Done | FileState::Failed => {
                    !row.incoming || !row.path.as_ref().is_some_and(|path| path.exists())
                }
            };
            is_over && !self.is_on(&row.id)
        };
        for row in rows {
            // Who sends us many files makes us forget his own.
            let too_many = of_peer.get_mut(row.peer.as_str()).filter(|files| row.incoming && **files > 0);
            if !old(row) && too_many.is_none() {
                others.push(row);
            } else if is_over(row) {
                too_many.into_iter().for_each(|files| *files = files.saturating_sub(1));
                excess = excess.saturating_sub(1);
                forgotten.push(row.id.clone());
            }
        }
        let others = others.into_iter().filter(|row| is_over(row)).take(excess);
        forgotten.extend(others.map(|row| row.id.clone()));
        forgotten
    }
}

#[cfg(test)]
pub(super) mod tests {
    use parlour_proto::sdp::FileHash;

    use super::*;
    use crate::files::Places;

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

    //= IM X-30 test
    #[test]
    fn x_30_what_lies_here_or_comes_counts_for_each_peer_and_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, [0; 40]).unwrap();
        let gone = dir.path().join("gone");
        // Damaged files lie apart and count; of one that broke off counts what is here, whatever was announced.
        let (apart, part) = (dir.path().join("apart"), dir.path().join("part"));
        std::fs::write(&apart, [0; 10]).unwrap();
        std::fs::write(&part, [0; 5]).unwrap();
        let desk = |reserve| {
            let places = Places { root: dir.path().join("files") };
            let disk = Files::start(Some(places), &answers).unwrap();
            let rows = vec![
                row("1-1", "sip:a@x", FileState::Done, 40, kept.clone()),
                row("1-2", "sip:a@x", FileState::Done, 1000, gone.clone()),
                row("1-3", "sip:b@x", FileState::Running, 30, gone.clone()),
                row("1-4", "sip:b@x", FileState::Failed, 1000, apart.clone()),
                row("1-5", "sip:b@x", FileState::Interrupted, 1000, part.clone()),
            ];
            Desk::new(disk, Quota { all: 115, peer: 60, reserve, ..QUOTA }, rows)
        };
        let refuses = |peer: &str, size| {
            desk(0).refuses(peer, size).map(|why| why.split(':').next().map(str::to_owned))
        };
        assert_eq!(refuses("sip:a@x", 20), None, "what the user has removed does not count");
        assert_eq!(refuses("sip:a@x", 21), Some(Some("file_quota_per_peer".to_owned())));
        assert_eq!(refuses("sip:b@x", 15), None);
        assert_eq!(refuses("sip:b@x", 16), Some(Some("file_quota_per_peer".to_owned())));
        assert_eq!(refuses("sip:c@x", 30), None);
        assert_eq!(refuses("sip:c@x", 31), Some(Some("file_quota".to_owned())));
        assert_eq!(refuses("sip:c@x", u64::MAX), Some(Some("file_quota".to_owned())));
        let full = desk(u64::MAX).refuses("sip:c@x", 1);
        assert!(full.is_some_and(|why| why.starts_with("disk_reserve")));
        let nowhere = Desk::new(Files::start(None, &answers).unwrap(), QUOTA, Vec::new());
        assert!(nowhere.refuses("sip:a@x", 0).is_some());
    }

    //= IM D-43 test
    #[test]
    fn a_file_is_given_to_whom_it_was_given_before_by_its_hash_alone() {
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
        assert!(all.shared(&a, &FileSelector::default()).is_none(), "nobody gets a file by its name");
        assert!(all.interrupted(&a, &same).is_none());
        for state in [FileState::Failed, FileState::Offered] {
            assert!(desk(vec![sent("1-1", state)]).shared(&a, &same).is_none(), "{state:?}");
        }
        assert!(desk(vec![sent("1-1", FileState::Interrupted)]).shared(&a, &same).is_some());
        let larger = FileSelector { size: Some(2), ..same.clone() };
        assert!(all.shared(&a, &larger).is_none(), "no file has two sizes");
        assert!(all.shared(&Whose { account: "sip:other@us", ..a }, &same).is_none(), "nor two owners");
        // Who is vouched for is not whoever claims to be the same.
        let vouched = desk(vec![FileRow { verified: true, ..sent("1-1", FileState::Done) }]);
        assert!(vouched.shared(&a, &same).is_none());
        assert!(vouched.shared(&Whose { verified: true, ..a }, &same).is_some());
        assert!(all.shared(&Whose { verified: true, ..a }, &same).is_some());
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

    //= IM X-30 test
    #[test]
    fn x_30_what_is_remembered_of_files_has_a_bound_and_what_lies_here_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, "x").unwrap();
        let gone = dir.path().join("gone");
        let rows = [
            ("1-1", FileState::Done, &kept),
            ("1-2", FileState::Done, &gone),
            ("1-3", FileState::Interrupted, &gone),
            ("1-4", FileState::Running, &gone),
            ("1-5", FileState::Failed, &kept),
            ("1-6", FileState::Failed, &gone),
        ];
        let desk = |records, at: u64| {
            let rows = rows.iter().zip(1_u64..).map(|((id, state, path), time)| FileRow {
                time: Duration::from_secs(time),
                ..row(id, "sip:a@x", *state, 1, (*path).clone())
            });
            let disk = Files::start(Some(Places { root: dir.path().join("files") }), &answers).unwrap();
            let quota = Quota { all: 1000, peer: 1000, records, ..QUOTA };
            (Desk::new(disk, quota, rows.collect()), Duration::from_secs(at))
        };
        let forgotten = |(desk, now): (Desk, Duration)| desk.to_forget(now);
        assert!(forgotten(desk(6, 100)).is_empty());
        assert_eq!(forgotten(desk(5, 100)), ["1-2"], "the oldest one first");
        assert_eq!(
            forgotten(desk(0, 100)),
            ["1-2", "1-3", "1-6"],
            "of the others something is here, or to come"
        );
        assert_eq!(forgotten(desk(6, 1_004)), ["1-2", "1-3"]);
        let (full, _) = desk(3, 100);
        assert!(full.refuses_another("sip:a@x", 0).is_some_and(|why| why.starts_with("file_records")));
        assert_eq!(full.room(), 0);
        assert_eq!(full.refuses("sip:a@x", 0), None, "what is on its way needs no other row");
    }

    //= IM X-30 test
    #[test]
    fn x_30_no_peer_fills_the_table_of_files_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let (kept, gone) = (dir.path().join("kept"), dir.path().join("gone"));
        std::fs::write(&kept, "x").unwrap();
        let desk = |rows: Vec<FileRow>| {
            let disk = Files::start(Some(Places { root: dir.path().join("files") }), &answers).unwrap();
            let quota = Quota { all: 1000, peer: 1000, records: 8, records_of_peer: 3, ..QUOTA };
            let rows = rows.into_iter().zip(1_u64..);
            let rows = rows.map(|(row, time)| FileRow { time: Duration::from_secs(time), ..row }).collect();
            Desk::new(disk, quota, rows)
        };
        let of = |id: &str, peer: &str, path: &PathBuf| row(id, peer, FileState::Done, 1, path.clone());
        // What lies here of one peer keeps out more of his, and nothing of others.
        let many =
            ["1-1", "1-2", "1-3", "1-4"].map(|id| of(id, "sip:a@x", &kept)).into_iter().collect::<Vec<_>>();
        let full = desk(many.clone());
        let why = full.refuses_another("sip:a@x", 0).unwrap();
        assert!(why.starts_with("file_records_per_peer: 4 files"), "{why}");
        assert_eq!((full.refuses_another("sip:b@x", 0), full.to_forget(Duration::ZERO)), (None, Vec::new()));
        assert_eq!(desk(many[..3].to_vec()).refuses_another("sip:a@x", 0), None);
        // What is forgotten of one who has too many is his own, and not what is older of others, or ours.
        let mut rows = vec![of("2-1", "sip:b@x", &gone)];
        rows.extend(["1-1", "1-2", "1-3", "1-4"].map(|id| of(id, "sip:a@x", &gone)));
        rows.extend(["3-1", "3-2"].map(|id| FileRow { incoming: false, ..of(id, "sip:a@x", &gone) }));
        assert_eq!(desk(rows.clone()).to_forget(Duration::ZERO), ["1-1"]);
        // Too many of all: first his, then the oldest.
        rows.extend(["4-1", "4-2", "4-3"].map(|id| of(id, "sip:c@x", &gone)));
        assert_eq!(desk(rows).to_forget(Duration::ZERO), ["1-1", "2-1"]);
    }
}
