//! Large messages on their way to disk: written where they belong, synced before their row commits.
//!
//! Two threads: one writes what comes and says so at once, the other makes it durable, so that octets go on coming
//! while the disk works. All names and endings pass through the second one, in order.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parlour_msrp::SpoolId;
use parlour_proto::client::StoreFault;
use tokio::sync::mpsc::UnboundedSender;

use super::{Answer, Bulk, Done, Job, SpoolJob, length};
use crate::room::{Left, Room};

/// Octets of a file that are written before they are made durable.
const CHECKPOINT: u64 = 8 * 1024 * 1024;
/// Octets that are written before the agent is told, if more wait: reading goes on at half of what may be unspooled.
const TELL: u64 = 128 * 1024;
/// Octets that are written until we look how much room there is.
const LOOK: u64 = 4 * 1024 * 1024;

/// The way to the spool threads.
#[derive(Debug)]
pub(super) struct Spools {
    asks: mpsc::Sender<Ask>,
    /// How many messages of ours are on this way to the store.
    saying: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Ask {
    Job(SpoolJob),
    /// The message is whole: make its octets durable, if they lie in a file, then hand the job to the store.
    Finish(Box<Job>),
}

impl Spools {
    /// `dir` is ours alone.
    pub(super) fn start(
        dir: &Path,
        run: u64,
        store: mpsc::Sender<Vec<Job>>,
        answers: UnboundedSender<Answer>,
        room: Room,
    ) -> io::Result<(Spools, [JoinHandle<()>; 2])> {
        let saying = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper {
            dir: dir.to_owned(),
            run,
            failed: BTreeMap::new(),
            saying: saying.clone(),
            store,
            answers: answers.clone(),
        };
        // One checkpoint at work and one that waits: no more than three times its octets are ever unsynced.
        let (syncs, due) = mpsc::sync_channel(1);
        let (open, news) = (BTreeMap::new(), BTreeMap::new());
        let writer = Writer { dir: dir.to_owned(), run, open, news, room, written: 0, syncs, answers };
        let (asks, waiting) = mpsc::channel();
        let spool = std::thread::Builder::new().name("spool".into()).spawn(move || writer.serve(&waiting))?;
        let sync = std::thread::Builder::new().name("sync".into()).spawn(move || keeper.serve(&due))?;
        Ok((Spools { asks, saying }, [spool, sync]))
    }

    pub(super) fn ask(&self, job: SpoolJob) {
        // The thread ends only when this sender is gone.
        let _ = self.asks.send(Ask::Job(job));
    }

    /// Gives the job back if it cannot be done.
    pub(super) fn finish(&self, job: Job) -> Option<Job> {
        if matches!(job, Job::Say { .. }) {
            self.saying.fetch_add(1, Ordering::Release);
        }
        match self.asks.send(Ask::Finish(Box::new(job))) {
            Ok(()) => None,
            Err(mpsc::SendError(Ask::Finish(job))) => Some(*job),
            Err(mpsc::SendError(Ask::Job(_))) => None,
        }
    }

    /// Whether a message of ours has been handed over and not passed on yet.
    pub(super) fn is_saying(&self) -> bool {
        self.saying.load(Ordering::Acquire) > 0
    }
}

/// The file in which the octets lie in the end, relative to the spool directory.
pub(super) fn file_name(run: u64, bulk: Bulk) -> String {
    match bulk {
        Bulk::Received(spool) => format!("{run}-{}", spool.0),
        Bulk::Ours(source) => format!("{run}-o{}", source.0),
    }
}

/// Removes what earlier runs left: unfinished messages, and whole ones that were never acknowledged since the program
/// ended before their row was durable. What we have not named is not touched.
pub(super) fn sweep(dir: &Path, is_known: impl Fn(&str) -> rusqlite::Result<bool>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let whole = name.strip_suffix(PART).unwrap_or(name);
        if is_ours(whole) && (whole != name || !is_known(name).map_err(io::Error::other)?) {
            tracing::info!(file = name, "removed: a large message that an earlier run did not finish");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What the names of unfinished files end with.
const PART: &str = ".part";

/// Whether [`file_name`] could have made the name.
fn is_ours(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-')
        .is_some_and(|(run, bulk)| number(run) && number(bulk.strip_prefix('o').unwrap_or(bulk)))
}

/// Writes.
struct Writer {
    dir: PathBuf,
    run: u64,
    open: BTreeMap<Bulk, Spool>,
    /// What is written of received messages, and not told.
    news: BTreeMap<SpoolId, u64>,
    room: Room,
    /// Octets since we looked how much room there is.
    written: u64,
    syncs: mpsc::SyncSender<Due>,
    answers: UnboundedSender<Answer>,
}

struct Spool {
    /// What went wrong is told when the message is whole; until then its octets are dropped.
    file: Result<Arc<File>, io::Error>,
    taken: u64,
    /// Octets since the last checkpoint.
    unsynced: u64,
}

/// What the keeper has to do.
enum Due {
    /// Make durable what is written so far.
    Checkpoint(Bulk, Arc<File>),
    /// The message is whole.
    Finish(Option<(Bulk, io::Result<Arc<File>>)>, Box<Job>),
    Discard(Bulk),
}

impl Writer {
    fn serve(mut self, asks: &mpsc::Receiver<Ask>) {
        while let Ok(ask) = asks.recv() {
            let mut written = self.carry_out(ask);
            // What waits is written before anybody is woken.
            while written < TELL
                && let Ok(ask) = asks.try_recv()
            {
                written = written.saturating_add(self.carry_out(ask));
            }
            for (spool, upto) in std::mem::take(&mut self.news) {
                let _ = self.answers.send(Answer::Spooled { spool, upto });
            }
        }
    }

    /// Returns how many octets were written.
    fn carry_out(&mut self, ask: Ask) -> u64 {
        let due = match ask {
            Ask::Job(SpoolJob::Write { bulk, offset, bytes }) => return self.write(bulk, offset, &bytes),
            Ask::Job(SpoolJob::Discard { bulk }) => {
                self.open.remove(&bulk);
                Due::Discard(bulk)
            }
            Ask::Finish(job) => {
                let never = || Err(io::Error::other("the spool was never written"));
                let mut file = |bulk| self.open.remove(&bulk).map_or_else(never, |open| open.file);
                Due::Finish(job.bulk().map(|bulk| (bulk, file(bulk))), job)
            }
        };
        // The keeper ends only when this sender is gone.
        let _ = self.syncs.send(due);
        0
    }

    fn write(&mut self, bulk: Bulk, offset: u64, bytes: &[u8]) -> u64 {
        let length = length(bytes);
        self.written = self.written.saturating_add(length);
        let part = part(&self.dir, self.run, bulk);
        let open = self.open.entry(bulk).or_insert_with(|| {
            // What the user says may have what is kept from peers.
            let least = if matches!(bulk, Bulk::Ours(_)) { Left::Reserve } else { Left::Enough };
            let file = if self.room.left() < least { Err(full()) } else { create(&part).map(Arc::new) };
            Spool { file, taken: 0, unsynced: 0 }
        });
        if self.written >= LOOK {
            self.written = 0;
            if open.file.is_ok() && self.room.left() == Left::Little {
                tracing::warn!("a large message is dropped: the disk is nearly full");
                open.file = Err(full());
                // Its room is needed now, not when its sender has said all.
                let _ = fs::remove_file(&part);
            }
        }
        open.taken = open.taken.saturating_add(length);
        open.unsynced = open.unsynced.saturating_add(length);
        if let Bulk::Received(spool) = bulk {
            self.news.insert(spool, open.taken);
        }
        if let Ok(file) = &open.file {
            match file.write_all_at(bytes, offset) {
                Ok(()) if open.unsynced < CHECKPOINT => {}
                Ok(()) => {
                    open.unsynced = 0;
                    let _ = self.syncs.send(Due::Checkpoint(bulk, file.clone()));
                }
                Err(error) => {
                    tracing::error!(%error, "a large message cannot be written to disk");
                    open.file = Err(error);
                }
            }
        }
        length
    }
}

/// Makes durable.
struct Keeper {
    dir: PathBuf,
    run: u64,
    /// Checkpoints that failed: the system tells of a lost page once only.
    failed: BTreeMap<Bulk, io::Error>,
    saying: Arc<AtomicUsize>,
    store: mpsc::Sender<Vec<Job>>,
    answers: UnboundedSender<Answer>,
}

impl Keeper {
    fn serve(mut self, due: &mpsc::Receiver<Due>) {
        while let Ok(due) = due.recv() {
            match due {
                Due::Checkpoint(bulk, file) => {
                    if let Err(error) = file.sync_data() {
                        self.failed.entry(bulk).or_insert(error);
                    }
                }
                Due::Finish(file, job) => {
                    let says = matches!(*job, Job::Say { .. });
                    self.finish(file, *job);
                    if says {
                        self.saying.fetch_sub(1, Ordering::Release);
                    }
                }
                Due::Discard(bulk) => {
                    self.failed.remove(&bulk);
                    // One of the two: it may have been whole, but its message was there before or could not be kept.
                    let _ = fs::remove_file(part(&self.dir, self.run, bulk))
                        .or_else(|_| fs::remove_file(self.dir.join(file_name(self.run, bulk))));
                }
            }
        }
    }

    fn finish(&mut self, file: Option<(Bulk, io::Result<Arc<File>>)>, job: Job) {
        let outcome = file.map_or(Ok(()), |(bulk, file)| {
            let failed = self.failed.remove(&bulk).map_or(Ok(()), Err);
            let kept = failed.and(file).and_then(|file| self.keep(bulk, &file));
            kept.inspect_err(|_| drop(fs::remove_file(part(&self.dir, self.run, bulk))))
        });
        let refused = match outcome {
            Ok(()) => self.store.send(vec![job]).err().map(|lost| (StoreFault::Broken, lost.0)),
            Err(error) => {
                tracing::error!(%error, "a large message cannot be kept");
                Some((fault(&error), vec![job]))
            }
        };
        if let Some((fault, jobs)) = refused {
            let done = jobs.into_iter().map(|job| Done { outcome: Err(fault), job }).collect();
            let _ = self.answers.send(Answer::Done(done));
        }
    }

    /// The octets, then the name, are durable when this returns.
    fn keep(&self, bulk: Bulk, file: &File) -> io::Result<()> {
        file.sync_data()?;
        fs::rename(part(&self.dir, self.run, bulk), self.dir.join(file_name(self.run, bulk)))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn part(dir: &Path, run: u64, bulk: Bulk) -> PathBuf {
    dir.join(format!("{}{PART}", file_name(run, bulk)))
}

/// A file that nobody else can read, and that was not there before.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if let Err(error) = &file {
        tracing::error!(%error, "a large message cannot be written to disk");
    }
    file
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn fault(error: &io::Error) -> StoreFault {
    use io::ErrorKind as Kind;
    let full = matches!(error.kind(), Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge);
    if full { StoreFault::Full } else { StoreFault::Broken }
}

#[cfg(test)]
mod tests {
    use super::super::tests::received;
    use super::*;

    #[test]
    fn a_long_file_is_made_durable_while_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let (syncs, due) = mpsc::sync_channel(16);
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let (open, news) = (BTreeMap::new(), BTreeMap::new());
        let (dir, room) = (dir.path().to_owned(), Room::any());
        let mut writer = Writer { dir, run: 1, open, news, room, written: 0, syncs, answers };
        for n in 0..20 {
            writer.write(Bulk::Received(SpoolId(1)), n << 20, &vec![0; 1 << 20]);
        }
        drop(writer);
        let checkpoints =
            due.iter().filter(|due| matches!(due, Due::Checkpoint(Bulk::Received(SpoolId(1)), _))).count();
        assert_eq!(checkpoints, 2);
    }

    #[test]
    fn a_message_whose_checkpoint_failed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ((store, jobs), (answers, mut told)) = (mpsc::channel(), tokio::sync::mpsc::unbounded_channel());
        let (failed, saying) = (BTreeMap::new(), Arc::default());
        let keeper = Keeper { dir: dir.path().to_owned(), run: 1, failed, saying, store, answers };
        let (syncs, due) = mpsc::channel();
        // No device can be synced that is none.
        let bad = Arc::new(File::open("/dev/null").unwrap());
        syncs.send(Due::Checkpoint(Bulk::Received(SpoolId(1)), bad)).unwrap();
        for spool in [SpoolId(1), SpoolId(2)] {
            let file = create(&part(dir.path(), 1, Bulk::Received(spool))).map(Arc::new);
            let body = parlour_msrp::Body::Spooled { spool, size: 0, head: Vec::new() };
            syncs
                .send(Due::Finish(
                    Some((Bulk::Received(spool), file)),
                    Box::new(received("m1", "sip:a@x", body)),
                ))
                .unwrap();
        }
        drop(syncs);
        keeper.serve(&due);
        let Some(Answer::Done(refused)) = told.blocking_recv() else { panic!("no answer") };
        assert_eq!(refused[0].outcome, Err(StoreFault::Broken));
        assert_eq!(refused[0].job.bulk(), Some(Bulk::Received(SpoolId(1))));
        assert_eq!(
            jobs.iter().flatten().filter_map(|job| job.bulk()).collect::<Vec<_>>(),
            [Bulk::Received(SpoolId(2))]
        );
    }

    /// A writer on a disk with as much room as the number says, of which 100 octets are kept.
    fn on_a_disk(dir: &Path) -> (Writer, Arc<AtomicUsize>) {
        let (syncs, _due) = mpsc::sync_channel(16);
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let (open, news) = (BTreeMap::new(), BTreeMap::new());
        let free = Arc::new(AtomicUsize::new(100));
        let look = free.clone();
        let room = Room::pretend(move || u64::try_from(look.load(Ordering::Relaxed)).ok(), 100);
        (Writer { dir: dir.to_owned(), run: 1, open, news, room, written: 0, syncs, answers }, free)
    }

    #[test]
    fn below_the_reserve_no_large_message_begins_but_one_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, free) = on_a_disk(dir.path());
        let (before, after) = (Bulk::Received(SpoolId(1)), Bulk::Received(SpoolId(2)));
        let ours = Bulk::Ours(parlour_msrp::SourceId(1));
        writer.write(before, 0, b"x");
        free.store(99, Ordering::Relaxed);
        for bulk in [before, after, ours] {
            writer.write(bulk, 1, b"x");
        }
        let fault_of = |writer: &Writer, bulk| writer.open[&bulk].file.as_ref().err().map(fault);
        assert_eq!(fault_of(&writer, before), None, "one that has begun goes on");
        assert_eq!(fault_of(&writer, after), Some(StoreFault::Full));
        assert_eq!(fault_of(&writer, ours), None);
        free.store(49, Ordering::Relaxed);
        let last = Bulk::Ours(parlour_msrp::SourceId(2));
        writer.write(last, 0, b"x");
        assert_eq!(fault_of(&writer, last), Some(StoreFault::Full));
    }

    #[test]
    fn below_half_of_the_reserve_a_large_message_gives_its_room_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, free) = on_a_disk(dir.path());
        let bulk = Bulk::Received(SpoolId(1));
        let piece = vec![0; 1 << 20];
        let parts = || fs::read_dir(dir.path()).unwrap().count();
        writer.write(bulk, 0, &piece);
        free.store(49, Ordering::Relaxed);
        writer.write(bulk, 1 << 20, &piece);
        assert_eq!(parts(), 1, "we look every 4 MiB");
        for n in 2..4 {
            writer.write(bulk, n << 20, &piece);
        }
        assert_eq!(parts(), 0);
        assert_eq!(writer.open[&bulk].file.as_ref().err().map(fault), Some(StoreFault::Full));
        // What still comes is counted, so that its sender goes on, and dropped.
        writer.write(bulk, 4 << 20, &piece);
        assert_eq!((parts(), writer.news[&SpoolId(1)]), (0, 5 << 20));
    }
}
