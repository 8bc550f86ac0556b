//! Large messages on their way to disk: written where they belong, synced before their row commits.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use parlour_msrp::SpoolId;
use parlour_proto::client::StoreFault;
use tokio::sync::mpsc::UnboundedSender;

use super::{Answer, Done, Job, SpoolJob};

/// The way to the spool thread.
#[derive(Debug)]
pub(super) struct Spools(mpsc::Sender<Ask>);

#[derive(Debug)]
enum Ask {
    Job(SpoolJob),
    /// The message is whole: make its octets durable, then hand the job to the store.
    Finish(SpoolId, Box<Job>),
}

impl Spools {
    /// `dir` is ours alone. What unfinished messages of earlier runs left there goes.
    pub(super) fn start(
        dir: &Path,
        run: u64,
        store: mpsc::Sender<Vec<Job>>,
        answers: UnboundedSender<Answer>,
    ) -> io::Result<(Spools, std::thread::JoinHandle<()>)> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(&path)?;
            }
        }
        let mut worker = Worker { dir: dir.to_owned(), run, open: BTreeMap::new(), store, answers };
        let (sender, asks) = mpsc::channel();
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || {
            while let Ok(ask) = asks.recv() {
                worker.serve(ask);
            }
        })?;
        Ok((Spools(sender), thread))
    }

    pub(super) fn ask(&self, job: SpoolJob) {
        // The thread ends only when this sender is gone.
        let _ = self.0.send(Ask::Job(job));
    }

    /// Gives the job back if it cannot be done.
    pub(super) fn finish(&self, job: Job) -> Option<Job> {
        let Some(spool) = job.spool() else { return Some(job) };
        match self.0.send(Ask::Finish(spool, Box::new(job))) {
            Ok(()) => None,
            Err(mpsc::SendError(Ask::Finish(_, job))) => Some(*job),
            Err(mpsc::SendError(Ask::Job(_))) => None,
        }
    }
}

/// The file in which a spool's octets lie in the end, relative to the data directory.
pub(super) fn file_name(run: u64, spool: SpoolId) -> String {
    format!("{run}-{}", spool.0)
}

struct Worker {
    dir: PathBuf,
    run: u64,
    open: BTreeMap<SpoolId, Spool>,
    store: mpsc::Sender<Vec<Job>>,
    answers: UnboundedSender<Answer>,
}

struct Spool {
    /// What went wrong is told when the message is whole; until then its octets are dropped.
    file: Result<File, io::Error>,
    taken: u64,
}

impl Worker {
    fn serve(&mut self, ask: Ask) {
        match ask {
            Ask::Job(SpoolJob::Write { spool, offset, bytes }) => {
                let path = self.part(spool);
                let open = self.open.entry(spool).or_insert_with(|| Spool { file: create(&path), taken: 0 });
                if let Ok(file) = &open.file
                    && let Err(error) = file.write_all_at(&bytes, offset)
                {
                    tracing::error!(%error, "a large message cannot be written to disk");
                    open.file = Err(error);
                }
                open.taken = open.taken.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                let _ = self.answers.send(Answer::Spooled { spool, upto: open.taken });
            }
            Ask::Job(SpoolJob::Discard { spool }) => {
                let begun = self.open.remove(&spool).is_some();
                // Not begun: it was whole, but its message was there before or could not be kept.
                let file = if begun { self.part(spool) } else { self.dir.join(file_name(self.run, spool)) };
                let _ = fs::remove_file(file);
            }
            Ask::Finish(spool, job) => {
                let outcome = match self.open.remove(&spool) {
                    Some(Spool { file: Ok(file), .. }) => self.keep(spool, &file),
                    Some(Spool { file: Err(error), .. }) => Err(error),
                    None => Err(io::Error::other("the spool was never written")),
                };
                let refused = match outcome {
                    Ok(()) => self.store.send(vec![*job]).err().map(|lost| (StoreFault::Broken, lost.0)),
                    Err(error) => {
                        tracing::error!(%error, "a large message cannot be kept");
                        let _ = fs::remove_file(self.part(spool));
                        let full = matches!(
                            error.kind(),
                            io::ErrorKind::StorageFull
                                | io::ErrorKind::QuotaExceeded
                                | io::ErrorKind::FileTooLarge
                        );
                        Some((if full { StoreFault::Full } else { StoreFault::Broken }, vec![*job]))
                    }
                };
                if let Some((fault, jobs)) = refused {
                    let done = jobs.into_iter().map(|job| Done { outcome: Err(fault), job }).collect();
                    let _ = self.answers.send(Answer::Done(done));
                }
            }
        }
    }

    /// The octets, then the name, are durable when this returns.
    fn keep(&self, spool: SpoolId, file: &File) -> io::Result<()> {
        file.sync_data()?;
        fs::rename(self.part(spool), self.dir.join(file_name(self.run, spool)))?;
        File::open(&self.dir)?.sync_all()
    }

    fn part(&self, spool: SpoolId) -> PathBuf {
        self.dir.join(format!("{}.part", file_name(self.run, spool)))
    }
}

/// A file that nobody else can read, and that was not there before.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if let Err(error) = &file {
        tracing::error!(%error, "a large message cannot be written to disk");
    }
    file
}
