//! Stderr: written in a thread of its own, so that whoever reads it, and has stopped, stops nothing of ours. What waits for
//! him is bounded; what does not fit is lost and counted.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Octets that wait at most, beside those that are being written.
const ROOM: usize = 64 * 1024;

/// How long the end of the program waits for a reader who is slow, or not there.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is on its way to stderr, once [`start`] has been called.
static WAITING: OnceLock<Waiting> = OnceLock::new();

/// Runs the thread that writes. Without it, as in tests, all is written at once.
pub(crate) fn start() {
    let writes = || {
        if let Some(waiting) = WAITING.get() {
            waiting.write_to(&mut io::stderr());
        }
    };
    if WAITING.set(Waiting::default()).is_ok()
        && std::thread::Builder::new().name("stderr".into()).spawn(writes).is_err()
        && let Some(waiting) = WAITING.get()
    {
        waiting.lock().nobody_writes = true;
    }
}

/// Writes some lines. A stderr that is gone is no reason to stop, nor is one that nobody reads.
pub(crate) fn write(lines: &[u8]) {
    let is_taken = WAITING.get().is_some_and(|waiting| waiting.put(lines));
    if !is_taken {
        let _ = io::stderr().lock().write_all(lines);
    }
}

/// Waits until all is written, but not for long: then the program may end.
pub(crate) fn finish() {
    if let Some(waiting) = WAITING.get() {
        waiting.all_written(PATIENCE);
    }
}

/// Lines that wait for their thread.
#[derive(Debug, Default)]
struct Waiting {
    lines: Mutex<Lines>,
    /// Lines have come; all is written.
    come: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    octets: Vec<u8>,
    /// Lines behind those, for which there was no room.
    lost: u64,
    is_writing: bool,
    nobody_writes: bool,
}

impl Lines {
    fn are_all_written(&self) -> bool {
        self.octets.is_empty() && self.lost == 0 && !self.is_writing
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines, or counts them as lost; false if they have to be written here and now.
    fn put(&self, octets: &[u8]) -> bool {
        let mut lines = self.lock();
        if lines.nobody_writes {
            return false;
        }
        // What is lost stays in one piece, so that the count of it stands where it would have been.
        if lines.lost > 0 || lines.octets.len().saturating_add(octets.len()) > ROOM {
            let count = octets.iter().filter(|octet| **octet == b'\n').count();
            lines.lost = lines.lost.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        } else {
            lines.octets.extend_from_slice(octets);
        }
        self.come.notify_one();
        true
    }

    /// Writes for ever. What cannot be written is gone, as stderr is.
    fn write_to(&self, out: &mut impl Write) {
        loop {
            let mut lines = self.lock();
            lines.is_writing = false;
            while lines.are_all_written() {
                self.written.notify_all();
                lines = self.come.wait(lines).unwrap_or_else(PoisonError::into_inner);
            }
            let (octets, lost) = (std::mem::take(&mut lines.octets), std::mem::take(&mut lines.lost));
            lines.is_writing = true;
            drop(lines);
            let _ = out.write_all(&octets);
            if lost > 0 {
                let told = format!("parlour: {lost} lines are lost here: nobody read them in time\n");
                let _ = out.write_all(told.as_bytes());
            }
            let _ = out.flush();
        }
    }

    /// Whether all was written within so long.
    fn all_written(&self, patience: Duration) -> bool {
        let lines = self.lock();
        if lines.nobody_writes {
            return true;
        }
        let waited = self.written.wait_timeout_while(lines, patience, |lines| !lines.are_all_written());
        waited.is_ok_and(|(_, late)| !late.timed_out())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// Somebody who reads a piece when he is asked for one.
    struct Reader {
        pieces: mpsc::Sender<Vec<u8>>,
        may: mpsc::Receiver<()>,
    }

    impl Write for Reader {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.pieces.send(octets.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.may.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_keeps_nobody_and_is_told_how_much_is_lost() {
        let waiting = Arc::new(Waiting::default());
        let ((pieces, come), (go, may)) = (mpsc::channel(), mpsc::channel());
        let of_thread = Arc::clone(&waiting);
        std::thread::spawn(move || of_thread.write_to(&mut Reader { pieces, may }));
        assert!(waiting.put(b"first\n"));
        assert_eq!(come.recv().unwrap(), b"first\n");
        // He stands still. What has room waits, in order; the rest is lost, and keeps nobody.
        let line = |number: usize| format!("{number:9}\n").into_bytes();
        for number in 0..10_000 {
            assert!(waiting.put(&line(number)));
        }
        assert!(!waiting.all_written(Duration::from_millis(1)));
        assert!(waiting.lock().octets.len() <= ROOM);
        go.send(()).unwrap();
        let fit = ROOM / line(0).len();
        assert!(come.recv().unwrap() == (0..fit).flat_map(line).collect::<Vec<_>>());
        go.send(()).unwrap();
        let told = String::from_utf8(come.recv().unwrap()).unwrap();
        assert_eq!(
            told,
            format!("parlour: {} lines are lost here: nobody read them in time\n", 10_000 - fit)
        );
        // And on it goes.
        assert!(waiting.put(b"last\n"));
        go.send(()).unwrap();
        assert_eq!(come.recv().unwrap(), b"last\n");
        go.send(()).unwrap();
        assert!(waiting.all_written(Duration::from_secs(10)));
    }

    #[test]
    fn a_stderr_that_is_gone_takes_all() {
        let waiting = Arc::new(Waiting::default());
        let ((pieces, gone), (_go, may)) = (mpsc::channel(), mpsc::channel());
        drop(gone);
        let of_thread = Arc::clone(&waiting);
        std::thread::spawn(move || of_thread.write_to(&mut Reader { pieces, may }));
        for _ in 0..3 {
            assert!(waiting.put(b"line\n"));
            assert!(waiting.all_written(Duration::from_secs(10)));
        }
    }

    #[test]
    fn without_its_thread_lines_are_written_by_who_has_them() {
        let waiting = Waiting::default();
        waiting.lock().nobody_writes = true;
        assert!(!waiting.put(b"line\n") && waiting.all_written(Duration::ZERO));
    }
}
