//! Large messages of ours on their way back from disk, a piece at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use parlour_msrp::SourceId;
use tokio::sync::mpsc::UnboundedSender;

use super::spool::file_name;
use super::{Answer, Bulk};

/// The way to the reading thread. What is read ahead is bounded by whoever asks.
#[derive(Debug)]
pub(super) struct Fetches(mpsc::Sender<Ask>);

#[derive(Debug)]
struct Ask {
    source: SourceId,
    offset: u64,
    length: usize,
}

impl Fetches {
    pub(super) fn start(
        dir: &Path,
        run: u64,
        answers: UnboundedSender<Answer>,
    ) -> io::Result<(Fetches, JoinHandle<()>)> {
        let dir = dir.to_owned();
        let (sender, asks) = mpsc::channel::<Ask>();
        let thread = std::thread::Builder::new().name("fetch".into()).spawn(move || {
            while let Ok(Ask { source, offset, length }) = asks.recv() {
                let file = dir.join(file_name(run, Bulk::Ours(source)));
                let bytes = read(&file, offset, length).unwrap_or_else(|error| {
                    tracing::error!(%error, ?file, "a message of ours cannot be read any more");
                    Vec::new()
                });
                let _ = answers.send(Answer::Fetched { source, offset, bytes });
            }
        })?;
        Ok((Fetches(sender), thread))
    }

    pub(super) fn ask(&self, source: SourceId, offset: u64, length: usize) {
        // The thread ends only when this sender is gone.
        let _ = self.0.send(Ask { source, offset, length });
    }
}

/// All of the octets, or none.
fn read(file: &PathBuf, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open(file)?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
