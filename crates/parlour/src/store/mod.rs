//! What is kept: every event, every message, in one directory that one process writes.
//!
//! The rule: what we acknowledge, we have, and what we are told to send, we have before it leaves. Jobs go to a writer
//! thread that puts all that wait into one transaction (group commit); the answers come back together after the commit.

mod fetch;
mod file;
mod note;
mod notice;
mod pin;
mod read;
mod recent;
mod refusal;
mod spool;
mod sqlite;
#[cfg(test)]
mod tests;
mod unsettled;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parlour_msrp::{Body, SourceId, SpoolId};
use parlour_proto::client::{Blocked, FileFault, Page, StoreFault, Stored};
use parlour_proto::config::Proxy;
use parlour_proto::event::Event;
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sip::uri::{Uri, aor};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) use file::{FileRow, FileState};
pub(crate) use note::{BLOCKED, Decision, Note, PATHS, Path as Decided};
pub(crate) use notice::{Due, Seen};
#[cfg(test)]
pub(crate) use read::StoredBody;
pub(crate) use read::{Entry, ReadFault, Reader, Row, Saying};
pub(crate) use refusal::Refused;

use crate::files;
use crate::model::SessionName;
use crate::pins::{Owner, Pin};
use crate::room::Room;

/// Messages of ours with more octets go into a file, as what is received does.
const INLINE: usize = 64 * 1024;

/// A thing to be kept.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every job is an event")]
pub(crate) enum Job {
    /// Something happened.
    Event { time: Duration, account: Arc<str>, session: Option<SessionName>, event: Event },
    /// We are to send a message.
    Say { by: By, time: Duration, account: Arc<str>, session: SessionName, peer: String, message: NewMessage },
    /// We are to send a message outside any session.
    Page { by: By, time: Duration, account: Arc<str>, message: NewPage },
    /// Something besides; whoever wants it is told.
    Note { by: Option<By>, note: Note },
}

/// Who wants a message sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// A front end, and the mark of its command.
    Front(Option<String>),
    /// The same, and whom to invite first.
    Invite(Option<String>, Box<Invitation>),
    /// `--echo`.
    Echo,
    /// A file that came in, and whether it is kept.
    File(FileId, Result<(), FileFault>),
    /// A file that we send, and how much of it is surely there.
    Sent(FileId, u64),
}

/// Whom to invite to what is said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    pub(crate) account: AccountId,
    pub(crate) to: String,
    pub(crate) via: Option<Proxy>,
    /// To take one large message.
    pub(crate) large: bool,
}

/// A message of ours, before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewMessage {
    pub(crate) session: SessionId,
    pub(crate) message_id: String,
    pub(crate) content_type: String,
    pub(crate) body: OwnBody,
    /// The one participant of the conference who gets it.
    pub(crate) to: Option<String>,
}

/// A message of ours outside any session, before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPage {
    /// Whose it is.
    pub(crate) from: AccountId,
    pub(crate) to: String,
    pub(crate) via: Option<Proxy>,
    pub(crate) page: Page,
}

/// The octets of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnBody {
    Inline(Vec<u8>),
    /// So many, which lie in a file of the store.
    Kept(SourceId, u64),
}

/// A body too large for memory: it lies in a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bulk {
    Received(SpoolId),
    Ours(SourceId),
}

/// What became of a job, in the order of the jobs.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its number, if it is durable.
    pub(crate) outcome: Result<Kept, StoreFault>,
    pub(crate) job: Job,
}

/// A durable job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its sequence number, from 1, without gaps.
    pub(crate) seq: u64,
    /// Whether it was there before; then it got no new number.
    pub(crate) stored: Stored,
}

/// What the spool threads are asked.
#[derive(Debug)]
pub(crate) enum SpoolJob {
    Write { bulk: Bulk, offset: u64, bytes: Vec<u8> },
    Discard { bulk: Bulk },
}

/// What the store tells the agent.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Jobs are done.
    Done(Vec<Done>),
    /// Octets of a spool are written: so many in all.
    Spooled { spool: SpoolId, upto: u64 },
    /// Authors are to be told, since the user was shown their messages.
    Due(Vec<Due>),
    /// Octets of a message of ours; none if they cannot be read.
    Fetched { source: SourceId, offset: u64, bytes: Vec<u8> },
    /// Something about files.
    File(files::Told),
}

/// The directory cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFault {
    #[error("the data directory {dir:?} cannot be used: {error}. Name another with --data DIR")]
    Directory { dir: PathBuf, error: io::Error },
    #[error(
        "another parlour uses the data directory {dir:?}: end it, or name another directory with --data DIR"
    )]
    Locked { dir: PathBuf },
    #[error("the database {file:?} cannot be opened: {error}. {}", advice(error))]
    Database { file: PathBuf, error: rusqlite::Error },
    #[error(
        "the database {file:?} is of a newer version ({found}, this program knows up to {known}): use \
             that program, or name another directory with --data DIR"
    )]
    Newer { file: PathBuf, found: i64, known: i64 },
    #[error("there is no history in {dir:?} yet")]
    NoHistory { dir: PathBuf },
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Store {
    jobs: Option<mpsc::Sender<Vec<Job>>>,
    spool: Option<spool::Spools>,
    fetches: Option<fetch::Fetches>,
    /// The next large message of ours.
    next_source: u64,
    /// Where the answers of a store that keeps nothing come from.
    answers: UnboundedSender<Answer>,
    next_seq: u64,
    dir: Option<PathBuf>,
    room: Room,
    run: u64,
    last_seq: u64,
    instance: Option<String>,
    blocked: Vec<Blocked>,
    files: Vec<FileRow>,
    last_path: u64,
    /// What was owed when the store was opened.
    due: Vec<Due>,
    refused: Vec<Refused>,
    pins: Vec<(Owner, Pin)>,
    /// In a store that keeps nothing: what is owed once the user is shown a message, and what came.
    waiting: notice::Waiting,
    recent: recent::Recent,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Octets of spools that a store which keeps nothing has dropped.
    dropped: BTreeMap<SpoolId, u64>,
    /// Held as long as we write.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in `dir`, and makes it if need be. The answers come through the receiver.
    pub(crate) fn open(dir: &Path) -> Result<(Store, UnboundedReceiver<Answer>), OpenFault> {
        Store::open_within(dir, Room::any())
    }

    /// The same on a disk on which some room is to be left.
    pub(crate) fn open_within(
        dir: &Path,
        room: Room,
    ) -> Result<(Store, UnboundedReceiver<Answer>), OpenFault> {
        let directory = |error| OpenFault::Directory { dir: dir.to_owned(), error };
        make_private_dir(dir).map_err(directory)?;
        // Paths are kept: they mean the same wherever the program starts the next time.
        let dir = &dir.canonicalize().map_err(directory)?;
        let lock = lock(dir)?;
        let (answers, receiver) = unbounded_channel();
        let database = sqlite::Database::open(&database_file(dir), room.clone())?;
        let (run, last_seq) = (database.run(), database.last_seq());
        let instance = Some(database.instance());
        let (blocked, last_path) =
            database.notes().map_err(|error| OpenFault::Database { file: database_file(dir), error })?;
        let due = database.due().map_err(|error| OpenFault::Database { file: database_file(dir), error })?;
        let refused =
            database.refusals().map_err(|error| OpenFault::Database { file: database_file(dir), error })?;
        let pins =
            database.pins().map_err(|error| OpenFault::Database { file: database_file(dir), error })?;
        let files =
            database.files().map_err(|error| OpenFault::Database { file: database_file(dir), error })?;
        let (jobs, waiting) = mpsc::channel();
        let spools_dir = dir.join("spool");
        make_private_dir(&spools_dir).map_err(directory)?;
        spool::sweep(&spools_dir, |name| database.knows_file(name)).map_err(directory)?;
        let (spool, spool_threads) =
            spool::Spools::start(&spools_dir, run, jobs.clone(), answers.clone(), room.clone())
                .map_err(directory)?;
        let (fetches, fetch_thread) =
            fetch::Fetches::start(&spools_dir, run, answers.clone()).map_err(directory)?;
        let told = answers.clone();
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || database.serve(&waiting, &told))
            .map_err(directory)?;
        let store = Store {
            jobs: Some(jobs),
            spool: Some(spool),
            fetches: Some(fetches),
            next_source: 0,
            answers,
            next_seq: 0,
            dir: Some(dir.to_owned()),
            room,
            run,
            last_seq,
            instance,
            blocked,
            files,
            last_path,
            due,
            refused,
            pins,
            waiting: notice::Waiting::default(),
            recent: recent::Recent::default(),
            threads: spool_threads.into_iter().chain([fetch_thread, writer]).collect(),
            dropped: BTreeMap::new(),
            _lock: Some(lock),
        };
        Ok((store, receiver))
    }

    /// This device's `+sip.instance`: drawn by chance when the store was made, the same ever since.
    pub(crate) fn instance(&self) -> Option<String> {
        self.instance.clone()
    }

    /// What tells the files of this store from those of others.
    pub(crate) fn mark(&self) -> String {
        let instance = self.instance.as_deref().unwrap_or_default();
        instance.trim_start_matches("urn:uuid:").chars().take(8).collect()
    }

    /// Whom the user had blocked when the store was opened.
    pub(crate) fn blocked(&self) -> &[Blocked] {
        &self.blocked
    }

    /// What authors were owed when the store was opened: once.
    pub(crate) fn take_due(&mut self) -> Vec<Due> {
        std::mem::take(&mut self.due)
    }

    /// What peers had refused lately when the store was opened.
    pub(crate) fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The certificates that peers had shown when the store was opened: once.
    pub(crate) fn take_pins(&mut self) -> Vec<(Owner, Pin)> {
        std::mem::take(&mut self.pins)
    }

    /// The number of the last path of decisions when the store was opened.
    pub(crate) fn last_path(&self) -> u64 {
        self.last_path
    }

    /// Where everything is kept, if it is.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// A store that keeps nothing: every job is done at once. Large messages are dropped as they come.
    pub(crate) fn nowhere() -> (Store, UnboundedReceiver<Answer>) {
        let (answers, receiver) = unbounded_channel();
        let store = Store {
            jobs: None,
            spool: None,
            fetches: None,
            next_source: 0,
            answers,
            next_seq: 0,
            dir: None,
            room: Room::any(),
            run: 0,
            last_seq: 0,
            instance: None,
            blocked: Vec::new(),
            files: Vec::new(),
            last_path: 0,
            due: Vec::new(),
            refused: Vec::new(),
            pins: Vec::new(),
            waiting: notice::Waiting::default(),
            recent: recent::Recent::default(),
            threads: Vec::new(),
            dropped: BTreeMap::new(),
            _lock: None,
        };
        (store, receiver)
    }

    /// Hands jobs over; their answers come in the same order, but for messages that lie in a file, and what is said
    /// after such a message: they come when the file is durable.
    pub(crate) fn submit(&mut self, jobs: Vec<Job>) {
        let Some(sender) = &self.jobs else {
            for bulk in jobs.iter().filter_map(Job::bulk) {
                self.forget(bulk);
            }
            let mut due = Vec::new();
            let done = jobs.into_iter().map(|job| {
                let stored = if self.recent.knows(&job) { Stored::Duplicate } else { Stored::Fresh };
                if stored == Stored::Fresh {
                    self.next_seq = self.next_seq.saturating_add(1);
                    due.extend(self.waiting.take_in(self.next_seq, &job));
                }
                Done { outcome: Ok(Kept { seq: self.next_seq, stored }), job }
            });
            let done = done.collect();
            let _ = self.answers.send(Answer::Done(done));
            if !due.is_empty() {
                let _ = self.answers.send(Answer::Due(due));
            }
            return;
        };
        // What is said after a large message leaves after it, so it waits for the same file.
        let mut behind = self.spool.as_ref().is_some_and(spool::Spools::is_saying);
        let (spooled, inline): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| {
            let says = matches!(job, Job::Say { .. });
            let spooled = job.bulk().is_some() || (says && behind);
            behind |= says && spooled;
            spooled
        });
        let lost = match sender.send(inline) {
            Ok(()) => Vec::new(),
            Err(lost) => lost.0,
        };
        let refused =
            lost.into_iter().chain(spooled.into_iter().filter_map(|job| self.spool.as_ref()?.finish(job)));
        let refused: Vec<Done> = refused.map(|job| Done { outcome: Err(StoreFault::Broken), job }).collect();
        if !refused.is_empty() {
            let _ = self.answers.send(Answer::Done(refused));
        }
    }

    pub(crate) fn spool(&mut self, job: SpoolJob) {
        match (&self.spool, job) {
            (Some(spools), job) => spools.ask(job),
            (None, SpoolJob::Write { bulk: Bulk::Received(spool), bytes, .. }) => {
                let upto = self.dropped.entry(spool).or_default();
                *upto = upto.saturating_add(length(&bytes));
                let _ = self.answers.send(Answer::Spooled { spool, upto: *upto });
            }
            (None, SpoolJob::Write { bulk: Bulk::Ours(_), .. }) => {}
            (None, SpoolJob::Discard { bulk }) => self.forget(bulk),
        }
    }

    /// Puts the octets of a message of ours into a file if there are many; hand its job over next.
    pub(crate) fn stow(&mut self, body: OwnBody) -> OwnBody {
        match (&self.spool, body) {
            (Some(spools), OwnBody::Inline(bytes)) if bytes.len() > INLINE => {
                self.next_source = self.next_source.saturating_add(1);
                let (source, size) = (SourceId(self.next_source), length(&bytes));
                spools.ask(SpoolJob::Write { bulk: Bulk::Ours(source), offset: 0, bytes });
                OwnBody::Kept(source, size)
            }
            (Some(_) | None, body) => body,
        }
    }

    /// Reads octets of a message of ours; [`Answer::Fetched`] brings them.
    pub(crate) fn fetch(&self, source: SourceId, offset: u64, length: usize) {
        match &self.fetches {
            Some(fetches) => fetches.ask(source, offset, length),
            None => drop(self.answers.send(Answer::Fetched { source, offset, bytes: Vec::new() })),
        }
    }

    fn forget(&mut self, bulk: Bulk) {
        match bulk {
            Bulk::Received(spool) => drop(self.dropped.remove(&spool)),
            Bulk::Ours(_) => {}
        }
    }

    /// Where a body lies that is too large for memory.
    pub(crate) fn file(&self, bulk: Bulk) -> Option<PathBuf> {
        let dir = self.dir.as_deref()?;
        Some(dir.join("spool").join(spool::file_name(self.run, bulk)))
    }

    /// The disk on which it lies.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Where answers come from that are not of the store itself.
    pub(crate) fn answers(&self) -> UnboundedSender<Answer> {
        self.answers.clone()
    }

    /// The files that were sent and received before.
    pub(crate) fn take_files(&mut self) -> Vec<FileRow> {
        std::mem::take(&mut self.files)
    }

    /// How often this store was opened for writing: names sessions across restarts.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// The last number given out when the store was opened.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// A second, reading end, if anything is kept.
    pub(crate) fn reader(&self) -> Option<Result<Reader, OpenFault>> {
        self.dir.as_deref().map(Reader::open)
    }

    /// Waits until all jobs are done.
    pub(crate) fn close(mut self) {
        self.spool = None;
        self.fetches = None;
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Job {
    /// Whether it is a message that a peer has sent.
    fn is_received(&self) -> bool {
        use parlour_proto::event::What;
        matches!(self, Job::Event { event: Event { what: What::Message(_), .. }, .. })
    }

    /// The file that the job's message lies in.
    fn bulk(&self) -> Option<Bulk> {
        use parlour_proto::event::{Incoming, What};
        match self {
            Job::Event { event: Event { what: What::Message(Incoming { body, .. }), .. }, .. } => {
                match body {
                    Body::Spooled { spool, .. } => Some(Bulk::Received(*spool)),
                    Body::Inline(_) => None,
                }
            }
            Job::Say { message, .. } => message.body.bulk(),
            Job::Event { .. } | Job::Page { .. } | Job::Note { .. } => None,
        }
    }

    /// Octets that the job holds in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        use parlour_proto::event::{Incoming, What};
        let body = match self {
            // Until it is durable, it may still be in memory.
            Job::Say { message, .. } => usize::try_from(message.body.size()).unwrap_or(usize::MAX),
            Job::Event { event: Event { what: What::Message(Incoming { body, .. }), .. }, .. } => {
                match body {
                    Body::Inline(body) => body.len(),
                    Body::Spooled { head, .. } => head.len(),
                }
            }
            Job::Event { .. } => 0,
            Job::Page { message, .. } => message.page.body.len(),
            Job::Note { note, .. } => note.weight(),
        };
        body.saturating_add(512)
    }
}

impl OwnBody {
    /// How many octets there are.
    pub(crate) fn size(&self) -> u64 {
        match self {
            OwnBody::Inline(bytes) => length(bytes),
            OwnBody::Kept(_, size) => *size,
        }
    }

    /// The file in which they lie, if it is not memory.
    pub(crate) fn bulk(&self) -> Option<Bulk> {
        match self {
            OwnBody::Inline(_) => None,
            OwnBody::Kept(source, _) => Some(Bulk::Ours(*source)),
        }
    }
}

/// `$XDG_DATA_HOME/parlour`, `~/.local/share/parlour` without it.
pub(crate) fn default_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_else(std::env::temp_dir).join("parlour")
}

/// The other end of a conversation, as a key: its address of record, so that parameters and a display name do not
/// split a history.
pub(crate) fn party(address: &str) -> String {
    Uri::parse(address.as_bytes()).map_or_else(|_| address.to_owned(), |uri| aor(&uri))
}

/// What to do about an error of the database.
fn advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DiskFull | Code::SystemIoFailure) => {
            "Is its disk full? Make room there, or use --data DIR"
        }
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            "It is damaged: put a copy from a backup in its place, or move it away to begin anew"
        }
        Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied) => {
            "We must be allowed to write it and its directory"
        }
        _ => "Name another directory with --data DIR",
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn database_file(dir: &Path) -> PathBuf {
    dir.join("parlour.db")
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn lock(dir: &Path) -> Result<File, OpenFault> {
    let directory = |error| OpenFault::Directory { dir: dir.to_owned(), error };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"));
    let file = file.map_err(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenFault::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(directory(error)),
    }
}
