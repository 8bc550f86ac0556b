//! Files on disk: those that come in, under names of ours until they are whole, and those that the user sends, which are
//! read where they lie.
//!
//! One thread writes and reads in the order in which it is asked, one makes durable what is written, every 2 MiB, one reads
//! whole files for their hashes. What is told comes through the channel of the store's answers.

mod disk;
mod look;
mod name;
mod preview;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use parlour_msrp::{SourceId, SpoolId};
use parlour_proto::client::FileFault;
use parlour_proto::event::Icon;
use parlour_proto::io::FileId;
use parlour_proto::sdp::FileHash;
use tokio::sync::mpsc::UnboundedSender;

use crate::store::Answer;

/// Sources of files have this bit: the others are messages of the store.
pub(crate) const SOURCE: u64 = 1 << 63;

/// The ending of files that are not whole.
const PART: &str = ".part";

/// The directories for what comes in.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Where whole files lie.
    pub(crate) root: PathBuf,
}

impl Places {
    /// Files that are not whole: ours alone.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join(".incoming")
    }

    /// Whole files that nobody should open without a second look.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Where a file lies until it is whole. `mark` tells the stores apart that share these directories.
    pub(crate) fn part(&self, mark: &str, name: &str) -> PathBuf {
        self.incoming().join(format!("{mark}-{name}{PART}"))
    }

    /// Removes the parts of a store that it does not know. Returns how many.
    pub(crate) fn sweep(&self, mark: &str, known: &[PathBuf]) -> io::Result<usize> {
        let mut swept = 0_usize;
        for entry in std::fs::read_dir(self.incoming())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = name.strip_suffix(PART).and_then(|name| name.strip_prefix(mark)?.strip_prefix('-'));
            let ours =
                name.is_some_and(|name| name.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-'));
            if ours && !known.contains(&path) {
                std::fs::remove_file(&path)?;
                swept = swept.saturating_add(1);
            }
        }
        Ok(swept)
    }

    fn make(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for dir in [self.root.clone(), self.incoming(), self.quarantine(), self.previews()] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(())
    }
}

/// A file of the user that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToSend {
    pub(crate) path: PathBuf,
    /// Where its preview lies.
    pub(crate) icon: Option<PathBuf>,
}

impl From<PathBuf> for ToSend {
    fn from(path: PathBuf) -> ToSend {
        ToSend { path, icon: None }
    }
}

/// A file of the user, ready to be read.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) media_type: &'static str,
    pub(crate) size: u64,
    /// When it was changed last, since 1970.
    pub(crate) modified: Duration,
    pub(crate) hashes: Vec<FileHash>,
    pub(crate) icon: Option<Icon>,
    pub(crate) open: std::fs::File,
}

/// What a file that came in has to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// As its sender calls it.
    pub(crate) name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) hashes: Vec<FileHash>,
}

/// A whole file that is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) hashes: Vec<FileHash>,
    /// Why it lies apart, if it does.
    pub(crate) apart: Option<&'static str>,
}

/// What the threads tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// So many octets of a spool are written.
    Spooled { spool: SpoolId, upto: u64 },
    /// So many octets at the beginning of a file are durable; `last` says that no more is written.
    Checkpoint { file: FileId, octets: u64, last: bool },
    /// A file that comes in cannot be written.
    Broken { file: FileId, why: String },
    /// Octets of a file of ours; none if it cannot be read, or has changed.
    Fetched { source: SourceId, offset: u64, bytes: Vec<u8> },
    /// The files that were asked about.
    Prepared { ticket: u64, files: Result<Vec<Prepared>, String> },
    /// A file that came in was looked at.
    Finished { file: FileId, outcome: Result<Finished, (FileFault, Option<PathBuf>)> },
}

/// The way to the threads.
#[derive(Debug)]
pub(crate) struct Files {
    disk: mpsc::Sender<disk::Ask>,
    look: mpsc::Sender<look::Ask>,
    next_ticket: u64,
    next_source: u64,
    places: Option<Places>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Files {
    /// Without a place nothing can come in.
    pub(crate) fn start(places: Option<Places>, answers: &UnboundedSender<Answer>) -> io::Result<Files> {
        if let Some(places) = &places {
            places.make()?;
        }
        let (look, look_thread) = look::start(places.clone(), answers.clone())?;
        let (disk, disk_threads) = disk::start(look.clone(), answers.clone())?;
        let threads = disk_threads.into_iter().chain([look_thread]).collect();
        Ok(Files { disk, look, next_ticket: 0, next_source: SOURCE, places, threads })
    }

    pub(crate) fn places(&self) -> Option<&Places> {
        self.places.as_ref()
    }

    /// Looks at files of the user; [`Told::Prepared`] has them.
    pub(crate) fn prepare(&mut self, files: Vec<ToSend>) -> u64 {
        self.next_ticket = self.next_ticket.saturating_add(1);
        // The threads end only when this sender is gone.
        let _ = self.look.send(look::Ask::Prepare { ticket: self.next_ticket, files });
        self.next_ticket
    }

    /// Has a file of the user read from `base` on, as long as it stays as it is.
    pub(crate) fn serve(&mut self, prepared: &Prepared, base: u64) -> io::Result<SourceId> {
        self.next_source = self.next_source.saturating_add(1);
        let source = SourceId(self.next_source);
        let open = prepared.open.try_clone()?;
        let (size, modified) = (prepared.size, prepared.modified);
        let _ = self.disk.send(disk::Ask::Serve { source, open, base, size, modified });
        Ok(source)
    }

    pub(crate) fn fetch(&self, source: SourceId, offset: u64, length: usize) {
        let _ = self.disk.send(disk::Ask::Fetch { source, offset, length });
    }

    pub(crate) fn unserve(&self, source: SourceId) {
        let _ = self.disk.send(disk::Ask::Unserve { source });
    }

    /// What comes for a file goes into `part`, behind its first `base` octets.
    pub(crate) fn take(&self, file: FileId, part: &Path, base: u64) {
        let _ = self.disk.send(disk::Ask::Take { file, part: part.to_owned(), base });
    }

    pub(crate) fn write(&self, file: FileId, spool: Option<SpoolId>, offset: u64, bytes: Vec<u8>) {
        let _ = self.disk.send(disk::Ask::Write { file, spool, offset, bytes });
    }

    /// No more comes for now: what is here is made durable.
    pub(crate) fn close(&self, file: FileId) {
        let _ = self.disk.send(disk::Ask::Close { file });
    }

    /// What is here is not wanted any more.
    pub(crate) fn drop_part(&self, file: FileId, part: &Path) {
        let _ = self.disk.send(disk::Ask::Drop { file, part: part.to_owned() });
    }

    /// The file is here: it is looked at, and put in its place.
    pub(crate) fn finish(&self, file: FileId, part: &Path, expected: Expected) {
        let _ = self.disk.send(disk::Ask::Finish { file, part: part.to_owned(), expected });
    }

    /// Waits until all that was asked is done.
    pub(crate) fn stop(self) {
        let Files { disk, look, threads, .. } = self;
        drop((disk, look));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// The name of a file of ours that is told to others: nothing of where it lies.
pub(crate) fn told_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM X-30 test
    #[test]
    fn x_30_parts_that_belong_to_nothing_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { root: dir.path().to_owned() };
        places.make().unwrap();
        let known = places.part("0a1b", "3-7");
        let others = [
            known.clone(),
            places.part("ffff", "3-8"),
            places.incoming().join("0a1b-notes.part"),
            places.incoming().join("mine.txt"),
            places.root.join("0a1b-3-9.part"),
        ];
        let orphan = places.part("0a1b", "3-10");
        for path in others.iter().chain([&orphan]) {
            std::fs::write(path, "x").unwrap();
        }
        assert_eq!(places.sweep("0a1b", &[known]).unwrap(), 1);
        assert!(!orphan.exists() && others.iter().all(|path| path.exists()));
    }
}
