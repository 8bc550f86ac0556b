//! What there is room for: how much may lie here, how much of it from one peer, and which files are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parlour_proto::client::FileRoom;
use parlour_proto::io::FileId;

use super::desk::Desk;
use crate::room;
use crate::store::{FileRow, FileState};

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

/// What lies here, or is on its way: octets of all files that came in, and octets and number of those of each peer, as
/// they were a moment ago: the disk is not asked for each line that somebody offers.
pub(super) struct Usage {
    looked: Instant,
    all: u64,
    /// What is still to come of files that are on their way.
    coming: u64,
    /// Files that stay remembered, also if others need the place: whoever sent them.
    staying: usize,
    peers: BTreeMap<String, OfPeer>,
}

/// What lies here of one peer, or is on its way.
#[derive(Debug, Clone, Copy, Default)]
struct OfPeer {
    octets: u64,
    /// Files of his that stay remembered.
    staying: usize,
}

impl Desk {
    /// Has a look at what lies here, or is on its way. What nobody is sending any more counts by what is here of it,
    /// wherever it lies.
    fn used<T>(&self, look: impl FnOnce(&Usage) -> T) -> T {
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
                let (looked, peers) = (Instant::now(), BTreeMap::new());
                let mut usage = Usage { looked, all: 0, coming: 0, staying: 0, peers };
                let on: BTreeSet<&str> = self.on.values().map(|transfer| transfer.row.as_str()).collect();
                for row in self.rows.values() {
                    let stays = usize::from(on.contains(row.id.as_str()) || stays(row));
                    usage.staying = usage.staying.saturating_add(stays);
                    if !row.incoming {
                        continue;
                    }
                    let octets = counts(row);
                    let of_peer = usage.peers.entry(row.peer.clone()).or_default();
                    of_peer.octets = of_peer.octets.saturating_add(octets);
                    of_peer.staying = of_peer.staying.saturating_add(stays);
                    usage.all = usage.all.saturating_add(octets);
                    if row.state == FileState::Running {
                        usage.coming = usage.coming.saturating_add(octets.saturating_sub(lies(row)));
                    }
                }
                stale.insert(usage)
            }
        };
        look(usage)
    }

    /// Something has changed of what lies here.
    pub(super) fn changed(&self) {
        self.usage.replace(None);
    }

    /// For how large a file there is room: of anybody, and of those who have used what is theirs.
    //= IM X-30
    pub(super) fn rooms(&self) -> FileRoom {
        let of_peer = |used: &OfPeer| {
            let has_place = used.staying < self.quota.records_of_peer;
            if has_place { self.quota.peer.saturating_sub(used.octets) } else { 0 }
        };
        self.used(|usage| {
            let left = self.quota.all.saturating_sub(usage.all);
            let left = left.min(self.quota.peer).min(self.spare(usage.coming));
            let all = if usage.staying < self.quota.records { left } else { 0 };
            let peers = usage.peers.iter().map(|(peer, used)| (peer.clone(), of_peer(used)));
            FileRoom { all, peers: peers.filter(|(_, room)| *room < all).collect() }
        })
    }

    /// Octets of the disk that nobody has been promised.
    fn spare(&self, coming: u64) -> u64 {
        self.free().saturating_sub(self.quota.reserve).saturating_sub(coming)
    }

    /// The files that come in, if they cannot go on: what is left of the disk is not for them any more.
    //= IM X-30
    pub(super) fn without_room(&self) -> Vec<FileId> {
        if self.free() >= self.quota.reserve {
            return Vec::new();
        }
        let comes = |row: &String| {
            self.rows.get(row).is_some_and(|row| row.incoming && row.state == FileState::Running)
        };
        self.on.iter().filter(|(_, transfer)| comes(&transfer.row)).map(|(file, _)| *file).collect()
    }

    /// Octets that are free on the disk.
    fn free(&self) -> u64 {
        self.disk.places().and_then(|places| room::free(&places.root)).unwrap_or(u64::MAX)
    }

    /// Why another file, of that size, may not come in.
    //= IM X-30
    pub(super) fn refuses_another(&self, peer: &str, size: u64) -> Option<String> {
        let of_peer = |usage: &Usage| usage.peers.get(peer).copied().unwrap_or_default();
        let (all, of_peer) = self.used(|usage| (usage.staying, of_peer(usage).staying));
        if all >= self.quota.records {
            Some(format!("file_records: {all} files lie here, or are on their way"))
        } else if of_peer >= self.quota.records_of_peer {
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
        let of_peer = |usage: &Usage| usage.peers.get(peer).copied().unwrap_or_default();
        let (all, of_peer, coming) = self.used(|usage| (usage.all, of_peer(usage).octets, usage.coming));
        if all.saturating_add(size) > self.quota.all {
            Some(format!("file_quota: {all} of {} octets are used", self.quota.all))
        } else if of_peer.saturating_add(size) > self.quota.peer {
            Some(format!("file_quota_per_peer: {of_peer} of {} octets are used", self.quota.peer))
        } else if self.spare(coming) < size {
            let free = self.free();
            Some(format!("disk_reserve: {free} octets are free on the disk, and {coming} are on their way"))
        } else {
            None
        }
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
            let is_given_up = row.state == FileState::Interrupted && old(row);
            (is_given_up || !stays(row)) && !self.is_on(&row.id)
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

/// Whether a file stays remembered that is not too old: something of it is here, or to come.
fn stays(row: &FileRow) -> bool {
    match row.state {
        FileState::Offered | FileState::Running => true,
        // Of what nothing is here nothing is lost.
        FileState::Interrupted => !row.incoming || row.octets > 0,
        FileState::Done | FileState::Failed => {
            row.incoming && row.path.as_ref().is_some_and(|path| path.exists())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::desk::tests::{QUOTA, row};
    use super::*;
    use crate::files::{Files, Places};

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
        // What policy may take unasked is what anybody may send.
        let rooms = desk(0).rooms();
        assert_eq!(rooms.all, 30, "of all 85 are used");
        let less = [("sip:a@x".to_owned(), 20), ("sip:b@x".to_owned(), 15)];
        assert_eq!(rooms.peers, BTreeMap::from(less), "of what each may have");
        assert_eq!(desk(u64::MAX).rooms(), FileRoom { all: 0, peers: BTreeMap::new() });
        let mut roomy = desk(0);
        roomy.quota.all = 1000;
        assert_eq!(roomy.rooms().all, 60, "no more than one peer may have");
        // Of one whose size nobody has told, what has come counts.
        let of_no_size =
            FileRow { size: None, octets: 50, ..row("1-6", "sip:d@x", FileState::Running, 0, gone.clone()) };
        roomy.rows.insert(of_no_size.id.clone(), of_no_size);
        roomy.changed();
        assert!(roomy.refuses("sip:d@x", 10).is_none() && roomy.refuses("sip:d@x", 11).is_some());
        let nowhere = Desk::new(Files::start(None, &answers).unwrap(), QUOTA, Vec::new());
        assert!(nowhere.refuses("sip:a@x", 0).is_some());
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
        let (mut on, now) = desk(0, 100);
        on.on.insert(FileId(1), super::super::desk::Transfer { row: "1-6".to_owned(), ..Default::default() });
        assert_eq!(on.to_forget(now), ["1-2", "1-3"], "what is on its way is remembered");
        // Three stay: what is here, and what comes. Others make room for one more.
        let (full, _) = desk(3, 100);
        assert!(full.refuses_another("sip:a@x", 0).is_some_and(|why| why.starts_with("file_records: 3 ")));
        assert_eq!(full.rooms().all, 0);
        let (nearly, _) = desk(4, 100);
        assert_eq!(nearly.refuses_another("sip:a@x", 0), None);
        assert!(nearly.rooms().all > 0);
        let (mut on, _) = desk(4, 100);
        on.on.insert(FileId(1), super::super::desk::Transfer { row: "1-6".to_owned(), ..Default::default() });
        assert!(on.refuses_another("sip:a@x", 0).is_some(), "what is on its way stays");
        assert_eq!(full.refuses("sip:a@x", 0), None, "what is on its way needs no other row");
    }

    //= IM X-30 test
    #[test]
    fn x_30_what_is_still_to_come_is_promised_and_what_has_no_room_left_stops() {
        let dir = tempfile::tempdir().unwrap();
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let part = dir.path().join("part");
        std::fs::write(&part, [0; 1000]).unwrap();
        let disk = Files::start(Some(Places { root: dir.path().join("files") }), &answers).unwrap();
        let huge = 1 << 60;
        let quota = Quota { all: u64::MAX, peer: u64::MAX, ..QUOTA };
        let running = row("1-1", "sip:a@x", FileState::Running, huge, part);
        let ours = FileRow { incoming: false, ..row("1-2", "sip:a@x", FileState::Running, 5, "f".into()) };
        let mut desk = Desk::new(disk, quota, vec![running.clone(), ours]);
        for (file, row) in [(1, "1-1"), (2, "1-2")] {
            let transfer = super::super::desk::Transfer { row: row.to_owned(), ..Default::default() };
            desk.on.insert(FileId(file), transfer);
        }
        let why = desk.refuses("sip:b@x", 1).unwrap();
        assert!(
            why.starts_with("disk_reserve") && why.ends_with(&format!("{} are on their way", huge - 1000)),
            "{why}"
        );
        assert_eq!(desk.rooms().all, 0);
        // What broke off has been promised nothing.
        desk.rows.insert("1-1".to_owned(), FileRow { state: FileState::Interrupted, ..running.clone() });
        desk.changed();
        assert_eq!(desk.refuses("sip:b@x", 1), None);
        desk.rows.insert("1-1".to_owned(), running);
        assert!(desk.without_room().is_empty());
        desk.quota.reserve = u64::MAX;
        assert_eq!(desk.without_room(), [FileId(1)], "what leaves needs none");
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
        let mut many = ["1-1", "1-2", "1-3"].map(|id| of(id, "sip:a@x", &kept)).to_vec();
        // The user has removed it.
        many.push(of("1-4", "sip:a@x", &gone));
        let full = desk(many.clone());
        let why = full.refuses_another("sip:a@x", 0).unwrap();
        assert!(why.starts_with("file_records_per_peer: 3 files"), "{why}");
        assert_eq!(full.rooms().peers, BTreeMap::from([("sip:a@x".to_owned(), 0)]));
        assert_eq!(full.refuses_another("sip:b@x", 0), None);
        assert_eq!(full.to_forget(Duration::ZERO), ["1-4"]);
        assert_eq!(
            desk(many[1..].to_vec()).refuses_another("sip:a@x", 0),
            None,
            "he has two, and one is gone"
        );
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
