//! What the agent knows of files: one row for each, the transfers that are on, and what there is room for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::config::Proxy;
use parlour_proto::event::FileInfo;
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sdp::FileHash;

use super::sending::Gate;
use crate::files::Files;
use crate::room;
use crate::speed::Track;
use crate::store::{By, FileRow, FileState};

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
    pub(super) peers: BTreeMap<SessionId, (AccountId, String)>,
    /// Files of ours that are being looked at, and why.
    pub(super) looking: BTreeMap<u64, Why>,
    /// The next hops by which files were asked for.
    pub(super) ways: BTreeMap<SessionId, Proxy>,
    /// The rows of transfers of this run that went on with one, by their own names.
    pub(super) names: BTreeMap<String, String>,
    /// What goes on by itself.
    pub(super) resume: Vec<Due>,
    usage: RefCell<Option<Usage>>,
}

/// Octets of all files and of those of each peer, as they were a moment ago: the disk is not asked for each line that
/// somebody offers.
struct Usage {
    looked: Instant,
    all: u64,
    peers: BTreeMap<String, u64>,
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
    Send { by: By, account: Option<String>, to: String, via: Option<Proxy> },
    Resume { row: String, by: Option<By>, tries: u8 },
    Serve { session: SessionId, asked: Vec<(FileInfo, String)> },
}

impl Desk {
    pub(super) fn new(disk: Files, quota: Quota, rows: Vec<FileRow>) -> Desk {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let (on, kept, peers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (looking, ways, names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Desk {
            disk,
            quota,
            rows,
            on,
            kept,
            peers,
            looking,
            ways,
            names,
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

    /// Whether an invitation to or from the other side of this file waits for an answer.
    pub(super) fn is_beginning_with_peer_of(&self, row: &str) -> bool {
        let Some(peer) = self.rows.get(row).map(|row| &row.peer) else { return false };
        let mut beginning = self.on.values().filter(|transfer| !transfer.begun);
        beginning.any(|transfer| self.rows.get(&transfer.row).is_some_and(|row| row.peer == *peer))
    }

    /// Octets that lie here, or are on their way: of all, and of one peer. What nobody is sending any more counts by what
    /// is here of it, wherever it lies.
    fn used(&self, peer: &str) -> (u64, u64) {
        let lies = |row: &FileRow| {
            let meta = row.path.as_ref().and_then(|path| path.metadata().ok());
            meta.map_or(0, |meta| meta.len())
        };
        let counts = |row: &FileRow| match row.state {
            _ if !row.incoming => 0,
            FileState::Running => row.size.unwrap_or(row.octets),
            FileState::Done | FileState::Interrupted | FileState::Failed => lies(row),
            FileState::Offered => 0,
        };
        let mut kept = self.usage.borrow_mut();
        let usage = match &mut *kept {
            Some(usage) if usage.looked.elapsed() < GLANCE => usage,
            stale => {
                let mut usage = Usage { looked: Instant::now(), all: 0, peers: BTreeMap::new() };
                for row in self.rows.values() {
                    let octets = counts(row);
                    let of_peer = usage.peers.entry(row.peer.clone()).or_default();
                    *of_peer = of_peer.saturating_add(octets);
                    usage.all = usage.all.saturating_add(octets);
                }
                stale.insert(usage)
            }
        };
        (usage.all, usage.peers.get(peer).copied().unwrap_or(0))
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

    /// Why a file of that size may not come in.
    //= IM X-30
    pub(super) fn refuses(&self, peer: &str, size: u64) -> Option<String> {
        if self.disk.places().is_none() {
            return Some("there is no directory for it".into());
        }
        let ((all, of_peer), free) = (self.used(peer), self.free());
        if self.rows.len() > self.quota.records {
            Some(format!("file_records: {} files lie here, or are on their way", self.rows.len()))
        } else if all.saturating_add(size) > self.quota.all {
            Some(format!("file_quota: {all} of {} octets are used", self.quota.all))
        } else if of_peer.saturating_add(size) > self.quota.peer {
            Some(format!("file_quota_per_peer: {of_peer} of {} octets are used", self.quota.peer))
        } else if free.saturating_sub(self.quota.reserve) < size {
            Some(format!("disk_reserve: {free} octets are free on the disk"))
        } else {
            None
        }
    }

    /// The last row of a file that is meant: same other side, and a hash that both name.
    fn find(&self, peer: &str, hashes: &[FileHash], fits: impl Fn(&FileRow) -> bool) -> Option<&FileRow> {
        let same = |row: &&FileRow| {
            row.peer == peer && row.hashes.iter().any(|hash| hashes.contains(hash)) && fits(row)
        };
        self.rows.values().filter(same).max_by_key(|row| row.time)
    }

    /// A file of ours that this peer may have: it was given to him, whole or in part. What was never accepted, or was
    /// given up, is nobody's.
    //= IM D-43
    pub(super) fn shared(&self, peer: &str, hashes: &[FileHash]) -> Option<&FileRow> {
        self.find(peer, hashes, |row| {
            let given = matches!(row.state, FileState::Done | FileState::Interrupted);
            given && !row.incoming && row.path.is_some() && !self.is_on(&row.id)
        })
    }

    /// A file of which a part is here.
    pub(super) fn interrupted(&self, peer: &str, hashes: &[FileHash]) -> Option<&FileRow> {
        self.find(peer, hashes, |row| row.incoming && row.state == FileState::Interrupted)
    }

    /// The rows that are not to be remembered any more: those that are too old, and the oldest of those that are too many.
    /// A file that came in and lies where it was put is remembered, since the quota counts it; so is one that is on its
    /// way, and what goes on one day, unless it is too old.
    pub(super) fn to_forget(&self, now: Duration) -> Vec<String> {
        let mut rows: Vec<&FileRow> = self.rows.values().collect();
        rows.sort_by_key(|row| row.time);
        let mut excess = rows.len().saturating_sub(self.quota.records);
        let mut forgotten = Vec::new();
        for row in rows {
            let old = now.saturating_sub(row.time) > self.quota.age;
            if !old && excess == 0 {
                continue;
            }
            let is_over = match row.state {
                FileState::Offered | FileState::Running => false,
                // Of what nothing is here nothing is lost.
                FileState::Interrupted => old || (row.incoming && row.octets == 0),
                FileState::Done | FileState::Failed => {
                    !row.incoming || !row.path.as_ref().is_some_and(|path| path.exists())
                }
            };
            if is_over && !self.is_on(&row.id) {
                excess = excess.saturating_sub(1);
                forgotten.push(row.id.clone());
            }
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Places;

    const QUOTA: Quota = Quota { all: 1, peer: 1, reserve: 0, records: 100, age: Duration::from_secs(1000) };

    fn row(id: &str, peer: &str, state: FileState, size: u64, path: PathBuf) -> FileRow {
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
        }
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
        let (same, other) = ([FileHash::Sha1([7; 20])], [FileHash::Sha1([8; 20])]);
        let all = desk(vec![sent("1-1", FileState::Done)]);
        assert!(all.shared("sip:a@x", &same).is_some());
        assert!(all.shared("sip:b@x", &same).is_none() && all.shared("sip:a@x", &other).is_none());
        assert!(all.shared("sip:a@x", &[]).is_none(), "nobody gets a file by its name");
        assert!(all.interrupted("sip:a@x", &same).is_none());
        for state in [FileState::Failed, FileState::Offered] {
            assert!(desk(vec![sent("1-1", state)]).shared("sip:a@x", &same).is_none(), "{state:?}");
        }
        assert!(desk(vec![sent("1-1", FileState::Interrupted)]).shared("sip:a@x", &same).is_some());
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
        let found = desk.interrupted("sip:a@x", &[FileHash::Sha1([7; 20])]);
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
        assert!(full.refuses("sip:a@x", 0).is_some_and(|why| why.starts_with("file_records")));
        assert_eq!(full.room(), 0);
    }
}
