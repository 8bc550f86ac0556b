//! Writing what comes in, reading what goes out, in order; and a thread that makes durable what is written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::io::FileId;
use tokio::sync::mpsc::UnboundedSender;

use super::{Expected, Told, look};
use crate::store::Answer;

/// Octets that are written before they are made durable. Four times as many, 8 MiB, come twice after a sudden end: those of
/// a checkpoint at work, of one that waits, of one that waits for that, and those since.
const CHECKPOINT: u64 = 2 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Ask {
    Serve { source: SourceId, open: File, base: u64, size: u64, modified: Duration },
    Fetch { source: SourceId, offset: u64, length: usize },
    Unserve { source: SourceId },
    Take { file: FileId, part: PathBuf, base: u64 },
    Write { file: FileId, spool: Option<SpoolId>, offset: u64, bytes: Vec<u8> },
    Close { file: FileId },
    Drop { file: FileId, part: PathBuf },
    Finish { file: FileId, part: PathBuf, expected: Expected },
}

/// A file of the user.
struct Served {
    open: File,
    base: u64,
    size: u64,
    modified: Duration,
}

/// A file that comes in.
struct Taken {
    part: PathBuf,
    /// None until its first octets are here: what only was announced holds no descriptor.
    open: Option<io::Result<Arc<Part>>>,
    base: u64,
    /// Octets of the spool that were handed out.
    taken: u64,
    /// Octets from the beginning of the file without a hole.
    upto: u64,
    /// How many of them are, or are about to be, durable.
    synced: u64,
}

struct Sync {
    file: FileId,
    open: Arc<Part>,
    /// Octets at its beginning that were durable before it came.
    base: u64,
    octets: u64,
    /// Whether no other one follows.
    last: bool,
}

/// The part of a file that comes in, and whether the disk has lost something of it. The system tells of a lost page once:
/// who syncs after that, on whatever thread, has to know.
pub(super) struct Part {
    pub(super) open: File,
    sync: fn(&File) -> io::Result<()>,
    lost: Mutex<Option<String>>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Part {
    pub(super) fn new(open: File) -> Part {
        Part { open, sync: File::sync_data, lost: Mutex::new(None) }
    }

    /// Makes durable what is written so far, if nothing before was lost.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = lost.as_ref() {
            return Err(io::Error::other(why.clone()));
        }
        (self.sync)(&self.open).inspect_err(|error| *lost = Some(error.to_string()))
    }
}

/// Makes durable what is due, and tells how much of which file is.
fn keep(due: &mpsc::Receiver<Sync>, answers: &UnboundedSender<Answer>) {
    let mut durable = BTreeMap::<FileId, u64>::new();
    let tell = |told| drop(answers.send(Answer::File(told)));
    while let Ok(Sync { file, open, base, octets, last }) = due.recv() {
        let synced = open.sync();
        if let Err(error) = &synced {
            tracing::error!(%error, "part of a file cannot be made durable");
        }
        let before = durable.get(&file).copied().unwrap_or(base);
        let octets = if synced.is_ok() { octets } else { before };
        match synced {
            _ if last => {
                durable.remove(&file);
                tell(Told::Checkpoint { file, octets, last });
            }
            Ok(()) => {
                durable.insert(file, octets);
                tell(Told::Checkpoint { file, octets, last });
            }
            Err(error) => tell(Told::Broken { file, why: error.to_string() }),
        }
    }
}

pub(super) fn start(
    look: mpsc::Sender<look::Ask>,
    answers: UnboundedSender<Answer>,
) -> io::Result<(mpsc::Sender<Ask>, [JoinHandle<()>; 2])> {
    let (asks, waiting) = mpsc::channel();
    // One checkpoint at work and one that waits bound what is not durable.
    let (syncs, due) = mpsc::sync_channel::<Sync>(1);
    let told = answers.clone();
    let sync = std::thread::Builder::new().name("file-sync".into()).spawn(move || keep(&due, &told))?;
    let disk = Disk { served: BTreeMap::new(), taken: BTreeMap::new(), syncs, look, answers };
    let work = std::thread::Builder::new().name("file-disk".into()).spawn(move || disk.serve(&waiting))?;
    Ok((asks, [work, sync]))
}

struct Disk {
    served: BTreeMap<SourceId, Served>,
    taken: BTreeMap<FileId, Taken>,
    syncs: mpsc::SyncSender<Sync>,
    look: mpsc::Sender<look::Ask>,
    answers: UnboundedSender<Answer>,
}

impl Disk {
    fn serve(mut self, asks: &mpsc::Receiver<Ask>) {
        while let Ok(ask) = asks.recv() {
            self.carry_out(ask);
        }
    }

    fn tell(&self, told: Told) {
        let _ = self.answers.send(Answer::File(told));
    }

    fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::Serve { source, open, base, size, modified } => {
                self.served.insert(source, Served { open, base, size, modified });
            }
            Ask::Fetch { source, offset, length } => {
                let read = self.served.get(&source).map(|served| served.read(offset, length));
                let bytes =
                    read.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).unwrap_or_else(|error| {
                        tracing::warn!(%error, "a file that is being sent cannot be read any more");
                        Vec::new()
                    });
                self.tell(Told::Fetched { source, offset, bytes });
            }
            Ask::Unserve { source } => drop(self.served.remove(&source)),
            Ask::Take { file, part, base } => {
                let taken = Taken { part, open: None, base, taken: 0, upto: base, synced: base };
                self.taken.insert(file, taken);
            }
            Ask::Write { file, spool, offset, bytes } => self.write(file, spool, offset, &bytes),
            Ask::Close { file } => match self.taken.remove(&file) {
                Some(Taken { open: Some(Ok(open)), base, upto, .. }) => {
                    let _ = self.syncs.send(Sync { file, open, base, octets: upto, last: true });
                }
                Some(Taken { open: None, base, .. }) => {
                    self.tell(Told::Checkpoint { file, octets: base, last: true });
                }
                Some(Taken { open: Some(Err(_)), .. }) | None => {}
            },
            Ask::Drop { file, part } => {
                self.taken.remove(&file);
                let _ = fs::remove_file(part);
            }
            Ask::Finish { file, part, expected } => {
                let open = match self.taken.remove(&file) {
                    Some(mut taken) => {
                        taken.opened();
                        taken.open.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
                    }
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                let _ = self.look.send(look::Ask::Finish { file, part, open, expected });
            }
        }
    }

    fn write(&mut self, file: FileId, spool: Option<SpoolId>, offset: u64, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(taken) = self.taken.get_mut(&file) else {
            // Nobody wants it any more; the endpoint still waits for word.
            if let Some(spool) = spool {
                self.tell(Told::Spooled { spool, upto: u64::MAX });
            }
            return;
        };
        let at = taken.base.saturating_add(offset);
        taken.taken = taken.taken.saturating_add(length);
        let mut broken = taken.opened().map(|why| Told::Broken { file, why });
        let written = match &taken.open {
            Some(Ok(part)) => part.open.write_all_at(bytes, at),
            Some(Err(_)) | None => Ok(()),
        };
        match written {
            Ok(()) if at == taken.upto => taken.upto = at.saturating_add(length),
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "a file that comes in cannot be written");
                let why = error.to_string();
                taken.open = Some(Err(error));
                broken = Some(Told::Broken { file, why });
            }
        }
        let upto = taken.taken;
        if let Some(Ok(open)) = &taken.open
            && taken.upto.saturating_sub(taken.synced) >= CHECKPOINT
        {
            taken.synced = taken.upto;
            let (open, base, octets) = (open.clone(), taken.base, taken.upto);
            let sync = Sync { file, open, base, octets, last: false };
            // Waits for the checkpoint before the last one: nobody sends faster than the disk.
            let _ = self.syncs.send(sync);
        }
        if let Some(spool) = spool {
            self.tell(Told::Spooled { spool, upto });
        }
        if let Some(broken) = broken {
            self.tell(broken);
        }
    }
}

impl Taken {
    /// Opens it, if it is not open yet. Returns why that cannot be.
    fn opened(&mut self) -> Option<String> {
        if self.open.is_some() {
            return None;
        }
        let open = part_file(&self.part, self.base).map(|open| Arc::new(Part::new(open)));
        let fault = open.as_ref().err().map(ToString::to_string);
        if let Some(error) = &fault {
            tracing::error!(error, part = ?self.part, "a file that comes in cannot be written");
        }
        self.open = Some(open);
        fault
    }
}

impl Served {
    /// All of the octets, or none: a file that was changed is another one.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let meta = self.open.metadata()?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        if meta.len() != self.size || modified != self.modified {
            return Err(io::Error::other("it has changed meanwhile"));
        }
        let mut bytes = vec![0; length];
        self.open.read_exact_at(&mut bytes, self.base.saturating_add(offset))?;
        Ok(bytes)
    }
}

/// A new file that nobody else can read, or the one that was begun: no link is followed.
//= IM X-30
fn part_file(part: &Path, base: u64) -> io::Result<File> {
    let no_links = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.write(true).read(true).mode(0o600).custom_flags(no_links);
    if base == 0 {
        return options.create_new(true).open(part);
    }
    let open = options.open(part)?;
    let meta = open.metadata()?;
    if !meta.is_file() || meta.len() < base {
        return Err(io::Error::other("less of the file is here than was thought"));
    }
    // What was written behind the last checkpoint comes again.
    open.set_len(base)?;
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (mpsc::Sender<Ask>, tokio::sync::mpsc::UnboundedReceiver<Answer>) {
        let (answers, told) = tokio::sync::mpsc::unbounded_channel();
        let (look, _) = mpsc::channel();
        let (asks, _) = start(look, answers).unwrap();
        (asks, told)
    }

    //= IM X-30 test
    #[test]
    fn x_30_no_link_is_followed_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(
            part_file(&link, 0).is_err() && part_file(&link, 3).is_err() && part_file(&target, 0).is_err()
        );
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
        assert!(part_file(&dangling, 0).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        let fresh = dir.path().join("fresh");
        part_file(&fresh, 0).unwrap();
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o777, 0o600);
    }

    //= IM D-43 test
    #[test]
    fn a_checkpoint_counts_octets_without_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let (asks, mut told) = disk();
        let file = FileId(1);
        asks.send(Ask::Take { file, part: part.clone(), base: 0 }).unwrap();
        let write = |offset, bytes| Ask::Write { file, spool: Some(SpoolId(4)), offset, bytes };
        asks.send(write(0, vec![1; 100])).unwrap();
        asks.send(write(200, vec![3; 100])).unwrap();
        asks.send(Ask::Close { file }).unwrap();
        let mut upto = Vec::new();
        let octets = loop {
            let answer = told.blocking_recv().unwrap();
            if let Answer::File(Told::Checkpoint { octets, .. }) = answer {
                break octets;
            }
            let Answer::File(Told::Spooled { upto: of, .. }) = answer else { panic!("{answer:?}") };
            upto.push(of);
        };
        assert_eq!((upto, octets), (vec![100, 200], 100));
        // What lies behind it is written again.
        asks.send(Ask::Take { file, part: part.clone(), base: 100 }).unwrap();
        asks.send(write(0, vec![2; 50])).unwrap();
        asks.send(Ask::Close { file }).unwrap();
        while !matches!(told.blocking_recv().unwrap(), Answer::File(Told::Checkpoint { octets: 150, .. })) {}
        assert_eq!(fs::read(&part).unwrap(), [vec![1; 100], vec![2; 50]].concat());
    }

    //= IM D-43 test
    #[test]
    fn a_checkpoint_is_made_now_and_then_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (asks, mut told) = disk();
        let file = FileId(1);
        asks.send(Ask::Take { file, part: dir.path().join("part"), base: 0 }).unwrap();
        let large = usize::try_from(CHECKPOINT).unwrap();
        for (offset, length) in [(0, large), (CHECKPOINT, 10), (CHECKPOINT + 10, 10)] {
            asks.send(Ask::Write { file, spool: None, offset, bytes: vec![1; length] }).unwrap();
        }
        asks.send(Ask::Close { file }).unwrap();
        let mut checkpoint = || {
            let answer = told.blocking_recv().unwrap();
            let Answer::File(Told::Checkpoint { octets, last, .. }) = answer else { panic!("{answer:?}") };
            (octets, last)
        };
        assert_eq!([checkpoint(), checkpoint()], [(CHECKPOINT, false), (CHECKPOINT + 20, true)]);
    }

    //= IM D-43 test
    #[test]
    fn what_the_disk_has_lost_is_told_of_no_checkpoint_and_of_no_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let open = File::create(dir.path().join("part")).unwrap();
        // The first sync tells of it, and no other one.
        static SYNCS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let sync: fn(&File) -> io::Result<()> =
            |_| match SYNCS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                1 => Err(io::Error::other("a page was lost")),
                _ => Ok(()),
            };
        let part = Arc::new(Part { sync, ..Part::new(open) });
        let (syncs, due) = mpsc::channel();
        let (answers, mut told) = tokio::sync::mpsc::unbounded_channel();
        let file = FileId(1);
        for (octets, last) in [(200, false), (300, false), (400, false), (500, true)] {
            syncs.send(Sync { file, open: part.clone(), base: 100, octets, last }).unwrap();
        }
        drop(syncs);
        keep(&due, &answers);
        let mut news = || {
            let answer = told.try_recv().unwrap();
            let Answer::File(Told::Checkpoint { octets, last, .. }) = answer else {
                assert!(matches!(answer, Answer::File(Told::Broken { .. })), "{answer:?}");
                return (0, false);
            };
            (octets, last)
        };
        assert_eq!([news(), news(), news()], [(200, false), (0, false), (0, false)]);
        assert_eq!(news(), (200, true), "whoever waits for the last word gets it");
        assert!(part.sync().is_err(), "nor is it whole");
        // Without a checkpoint of its own, what was here before is what counts.
        let (syncs, due) = mpsc::channel();
        syncs.send(Sync { file, open: part, base: 100, octets: 500, last: true }).unwrap();
        drop(syncs);
        keep(&due, &answers);
        let mut news = || told.try_recv().unwrap();
        assert!(matches!(news(), Answer::File(Told::Checkpoint { octets: 100, last: true, .. })));
    }

    #[test]
    fn what_comes_for_a_file_that_nobody_wants_any_more_is_let_go() {
        let (asks, mut told) = disk();
        let write = Ask::Write { file: FileId(7), spool: Some(SpoolId(4)), offset: 0, bytes: vec![1; 5] };
        asks.send(write).unwrap();
        let answer = told.blocking_recv().unwrap();
        assert!(matches!(answer, Answer::File(Told::Spooled { spool: SpoolId(4), upto: u64::MAX })));
    }

    #[test]
    fn a_file_that_changes_while_it_is_sent_is_not_sent_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"0123456789").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let modified = meta.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
        let served = Served { open: File::open(&path).unwrap(), base: 4, size: 10, modified };
        assert_eq!(served.read(0, 3).unwrap(), b"456");
        assert!(served.read(5, 3).is_err(), "behind the end");
        fs::write(&path, b"9876543210").unwrap();
        File::open(&path).unwrap().set_modified(UNIX_EPOCH + modified + Duration::from_secs(1)).unwrap();
        assert!(served.read(0, 3).is_err(), "as long as it was");
        fs::write(&path, b"01234567890").unwrap();
        assert!(served.read(0, 3).is_err());
    }
}
