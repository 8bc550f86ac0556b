//! Where large messages lie.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "files are what this module is for")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::sync::mpsc;
use ::tokio::task::{JoinHandle, spawn_blocking};

use super::Told;
use crate::{SourceId, SpoolId};

/// Where octets of large messages go, and where those of large messages to be sent come from. It runs on a thread of
/// its own, so its methods may block.
pub trait Storage: Send + 'static {
    /// Puts octets of a received message into its spool, over what is there. The first call for a spool makes it.
    ///
    /// # Errors
    /// If they cannot be written: the message is refused with 413 when it is whole.
    fn write(&mut self, spool: SpoolId, offset: u64, octets: &[u8]) -> io::Result<()>;

    /// All octets of the message are written, and its [`Event::Message`](crate::Event::Message) is told when this returns:
    /// close what is open for it. Nothing more is asked of the spool.
    ///
    /// # Errors
    /// If the octets are not all there: the message is refused with 413, and the spool discarded.
    fn finish(&mut self, spool: SpoolId) -> io::Result<()>;

    /// The message of this spool is abandoned.
    fn discard(&mut self, spool: SpoolId);

    /// Reads up to `length` octets of a message to be sent, and one at least.
    ///
    /// # Errors
    /// If they cannot be read: the message fails.
    fn read(&mut self, source: SourceId, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

/// No storage: messages stay in memory, and only such can be sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStorage;

impl Storage for NoStorage {
    fn write(&mut self, _: SpoolId, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn finish(&mut self, _: SpoolId) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn discard(&mut self, _: SpoolId) {}

    fn read(&mut self, _: SourceId, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Files: each spool is one in a folder, each source one that was named before. A file is open while octets come for it.
///
/// Nothing is synced to the disk; do that before [`Verdict::Accepted`](crate::Verdict::Accepted) where a message must
/// outlive the machine's power.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// Of messages that are coming.
    spools: BTreeMap<SpoolId, File>,
    sources: Sources,
}

/// The files that sources stand for. Clones are one and the same: keep one to name files while the driver runs.
#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<SourceId, File>>>);

impl Sources {
    /// Lets `source` stand for a file, and returns how large that is.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn add(&self, source: SourceId, path: impl AsRef<Path>) -> io::Result<u64> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        self.files().insert(source, file);
        Ok(size)
    }

    /// Closes the file of a source: once its message is acknowledged, or has failed for good.
    pub fn remove(&self, source: SourceId) {
        self.files().remove(&source);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<SourceId, File>> {
        // Whoever panicked has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Spools in this folder, which exists and belongs to this driver alone.
    pub fn new(folder: impl Into<PathBuf>) -> Files {
        Files { folder: folder.into(), spools: BTreeMap::new(), sources: Sources::default() }
    }

    /// Where files to be sent are named, now or while the driver runs.
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// Where the octets of a spool lie: for whoever has got its [`Event::Message`](crate::Event::Message), and moves
    /// or removes the file afterwards.
    pub fn path(folder: impl AsRef<Path>, spool: SpoolId) -> PathBuf {
        folder.as_ref().join(format!("spool-{}", spool.0))
    }
}

impl Storage for Files {
    fn write(&mut self, spool: SpoolId, offset: u64, octets: &[u8]) -> io::Result<()> {
        let file = match self.spools.entry(spool) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let path = Files::path(&self.folder, spool);
                entry.insert(OpenOptions::new().write(true).create_new(true).open(path)?)
            }
        };
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(octets)
    }

    fn finish(&mut self, spool: SpoolId) -> io::Result<()> {
        self.spools.remove(&spool);
        Ok(())
    }

    fn discard(&mut self, spool: SpoolId) {
        if self.spools.remove(&spool).is_some() {
            // Nobody misses it; what cannot be removed is found by whoever cleans the folder.
            _ = fs::remove_file(Files::path(&self.folder, spool));
        }
    }

    fn read(&mut self, source: SourceId, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut files = self.sources.files();
        let file = files.get_mut(&source).ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut octets = Vec::new();
        file.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut octets)?;
        Ok(octets)
    }
}

/// What a storage is to do.
pub(super) enum Job {
    Write { spool: SpoolId, offset: u64, octets: Vec<u8>, upto: u64 },
    Finish { spool: SpoolId },
    Discard { spool: SpoolId },
    Read { source: SourceId, offset: u64, length: usize },
}

/// A storage and its thread, which starts with the first job.
pub(super) struct Depot {
    /// Until the thread has it.
    storage: Option<Box<dyn Storage>>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    tell: mpsc::Sender<Told>,
}

impl Depot {
    pub(super) fn new(storage: impl Storage, tell: mpsc::Sender<Told>) -> Depot {
        Depot { storage: Some(Box::new(storage)), jobs: None, thread: None, tell }
    }

    /// Gives a job; jobs are done in order.
    pub(super) fn give(&mut self, job: Job) {
        if let Some(storage) = self.storage.take() {
            let (give, jobs) = mpsc::unbounded_channel();
            let tell = self.tell.clone();
            self.thread = Some(spawn_blocking(move || serve(storage, jobs, &tell)));
            self.jobs = Some(give);
        }
        if let Some(jobs) = &self.jobs {
            // The thread ends after its sender.
            _ = jobs.send(job);
        }
    }

    /// Waits until all jobs are done.
    pub(super) async fn finish(self) {
        drop(self.jobs);
        if let Some(thread) = self.thread {
            // If a storage panics there is nothing left to wait for.
            _ = thread.await;
        }
    }
}

fn serve(mut storage: Box<dyn Storage>, mut jobs: mpsc::UnboundedReceiver<Job>, tell: &mpsc::Sender<Told>) {
    while let Some(job) = jobs.blocking_recv() {
        let told = match job {
            Job::Write { spool, offset, octets, upto } => {
                Told::Spooled { spool, upto, good: storage.write(spool, offset, &octets).is_ok() }
            }
            Job::Finish { spool } => Told::Finished { spool, good: storage.finish(spool).is_ok() },
            Job::Discard { spool } => {
                storage.discard(spool);
                continue;
            }
            Job::Read { source, offset, length } => {
                let octets = storage.read(source, offset, length).unwrap_or_default();
                Told::Fetched { source, offset, octets }
            }
        };
        // A driver that is shutting down does not listen any more, and its jobs are done nevertheless.
        _ = tell.blocking_send(told);
    }
}
