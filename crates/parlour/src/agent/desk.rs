//! What the agent knows of files: one row for each, the transfers that are on, and what there is room for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::config::Proxy;
use parlour_proto::event::FileInfo;
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sdp::FileHash;

use crate::files::Files;
use crate::store::{By, FileRow, FileState};

/// How much may lie here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    /// Octets of all files that came in.
    pub(crate) all: u64,
    /// Octets of those of one peer.
    pub(crate) peer: u64,
    /// Octets that stay free on the disk.
    pub(crate) reserve: u64,
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
    /// Rows that go on by themselves, and when.
    pub(super) resume: Vec<(Instant, String)>,
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
    pub(super) tries: u8,
    /// How much of it, if it is ours, the store is being told to be surely there.
    pub(super) recording: Option<u64>,
    /// What is to be read once the store knows: offset and length.
    pub(super) waiting: Option<(u64, usize)>,
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
        Desk { disk, quota, rows, on, kept, peers, looking: BTreeMap::new(), resume: Vec::new() }
    }

    /// When something goes on by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        self.resume.iter().map(|(at, _)| *at).min()
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

    /// Octets that lie here, or are on their way: of all, and of one peer.
    fn used(&self, peer: &str) -> (u64, u64) {
        let counts = |row: &&FileRow| {
            row.incoming
                && match row.state {
                    FileState::Running | FileState::Interrupted => true,
                    FileState::Done => row.path.as_ref().is_some_and(|path| path.exists()),
                    FileState::Offered | FileState::Failed => false,
                }
        };
        let mut used = (0_u64, 0_u64);
        for row in self.rows.values().filter(counts) {
            let size = row.size.unwrap_or(row.octets);
            used.0 = used.0.saturating_add(size);
            if row.peer == peer {
                used.1 = used.1.saturating_add(size);
            }
        }
        used
    }

    /// Why a file of that size may not come in.
    //= IM X-30
    pub(super) fn refuses(&self, peer: &str, size: u64) -> Option<String> {
        let Some(places) = self.disk.places() else { return Some("there is no directory for it".into()) };
        let (all, of_peer) = self.used(peer);
        let free = rustix::fs::statvfs(&places.root)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
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

    /// The row of a file that is meant: same other side, same direction, and a hash that both name.
    pub(super) fn find(&self, peer: &str, incoming: bool, hashes: &[FileHash]) -> Option<&FileRow> {
        let same = |row: &&FileRow| {
            row.peer == peer
                && row.incoming == incoming
                && row.hashes.iter().any(|hash| hashes.contains(hash))
        };
        self.rows.values().rev().find(same)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::Places;

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
        }
    }

    //= IM X-30 test
    #[test]
    fn x_30_what_lies_here_or_comes_counts_for_each_peer_and_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, "x").unwrap();
        let gone = dir.path().join("gone");
        let desk = |reserve| {
            let places = Places { root: dir.path().join("files") };
            let disk = Files::start(Some(places), &answers).unwrap();
            let rows = vec![
                row("1-1", "sip:a@x", FileState::Done, 40, kept.clone()),
                row("1-2", "sip:a@x", FileState::Done, 1000, gone.clone()),
                row("1-3", "sip:b@x", FileState::Running, 30, gone.clone()),
                row("1-4", "sip:b@x", FileState::Failed, 1000, kept.clone()),
            ];
            Desk::new(disk, Quota { all: 100, peer: 60, reserve }, rows)
        };
        let refuses = |peer: &str, size| {
            desk(0).refuses(peer, size).map(|why| why.split(':').next().map(str::to_owned))
        };
        assert_eq!(refuses("sip:a@x", 20), None, "what the user has removed does not count");
        assert_eq!(refuses("sip:a@x", 21), Some(Some("file_quota_per_peer".to_owned())));
        assert_eq!(refuses("sip:c@x", 30), None);
        assert_eq!(refuses("sip:c@x", 31), Some(Some("file_quota".to_owned())));
        assert_eq!(refuses("sip:c@x", u64::MAX), Some(Some("file_quota".to_owned())));
        let full = desk(u64::MAX).refuses("sip:c@x", 1);
        assert!(full.is_some_and(|why| why.starts_with("disk_reserve")));
        let nowhere = Desk::new(
            Files::start(None, &answers).unwrap(),
            Quota { all: 1, peer: 1, reserve: 0 },
            Vec::new(),
        );
        assert!(nowhere.refuses("sip:a@x", 0).is_some());
    }

    //= IM D-43 test
    #[test]
    fn a_file_is_found_by_its_hash_and_its_peer_alone() {
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let disk = Files::start(None, &answers).unwrap();
        let rows = vec![row("1-1", "sip:a@x", FileState::Done, 1, PathBuf::new())];
        let desk = Desk::new(disk, Quota { all: 1, peer: 1, reserve: 0 }, rows);
        let (same, other) = ([FileHash::Sha1([7; 20])], [FileHash::Sha1([8; 20])]);
        assert!(desk.find("sip:a@x", true, &same).is_some());
        assert!(desk.find("sip:b@x", true, &same).is_none() && desk.find("sip:a@x", true, &other).is_none());
        assert!(desk.find("sip:a@x", true, &[]).is_none(), "nobody gets a file by its name");
        assert!(desk.find("sip:a@x", false, &same).is_none());
    }
}
