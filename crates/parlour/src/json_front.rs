//! The front end for programs: JSON lines on stdin and stdout.

use std::io::{self, BufRead, BufReader, BufWriter, Read, StdoutLock, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::sync::{Notify, oneshot};

use crate::agent::{Happening, Hearer, Told};
use crate::command::{Asked, Command};
use crate::ending::write_in_background;
use crate::json;
use crate::store::Reader;

/// Writes events to stdout in a thread of its own until the agent ends. Durable events come in order, each once, from
/// number `after` + 1 on: what the queue missed is read from the store. If they cannot be written, the agent is told to
/// stop.
pub(crate) fn write_events(
    told: Hearer,
    after: u64,
    upto: u64,
    reader: Option<Reader>,
    stop: Arc<Notify>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    write_in_background(move || {
        let mut front = Front { out: BufWriter::new(io::stdout().lock()), reader, last: after };
        front.write_all(told, upto).inspect_err(|_| stop.notify_one())
    })
}

/// Tells the agent to stop when the program at the other end of stdout is gone, even if nothing happens: it will want
/// the data directory when it comes back.
pub(crate) async fn stop_when_unread(stop: Arc<Notify>) -> io::Result<()> {
    // Fails where nobody can go away: a file, /dev/null.
    #[expect(
        deprecated,
        reason = "safe here: this descriptor is ours alone and stays open as long as it is watched"
    )]
    let stdout = AsyncFd::with_interest(io::stdout().as_fd().try_clone_to_owned()?, Interest::WRITABLE)?;
    loop {
        let mut ready = stdout.writable().await?;
        if ready.ready().is_write_closed() {
            tracing::warn!("nobody reads our events any more: leaving");
            stop.notify_one();
            return Ok(());
        }
        ready.clear_ready();
    }
}

/// Reads commands from stdin in a thread of its own. The end of stdin ends the reading, not the program.
pub(crate) fn read_commands(commands: Sender<Asked>) -> io::Result<()> {
    let read = move || {
        let mut input = BufReader::new(io::stdin().lock());
        loop {
            let line = match next_line(&mut input, json::LONGEST_COMMAND) {
                Ok(None) => return,
                Ok(Some(line)) => line,
                Err(error) => return tracing::warn!(%error, "commands cannot be read any more"),
            };
            let asked = match line {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => json::command(&line),
                Err(what) => Err((None, what)),
            };
            let asked = asked.unwrap_or_else(|(id, what)| Asked { id, command: Command::Nonsense(what) });
            if commands.blocking_send(asked).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read).map(drop)
}

/// The next line of at most `longest` octets, its end included, or what is wrong with it; `None` at the end.
pub(crate) fn next_line(
    input: &mut impl BufRead,
    longest: usize,
) -> io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() >= longest && line.last() != Some(&b'\n') {
        // The rest of it must not pass for another line.
        input.skip_until(b'\n')?;
        let what = format!("this line is longer than {longest} octets");
        return Ok(Some(Err(what)));
    }
    Ok(Some(String::from_utf8(line).map_err(|_| "this line is not UTF-8".to_owned())))
}

struct Front {
    out: BufWriter<StdoutLock<'static>>,
    reader: Option<Reader>,
    /// The last number written.
    last: u64,
}

impl Front {
    fn write_all(&mut self, mut told: Hearer, upto: u64) -> io::Result<()> {
        self.catch_up(upto)?;
        while let Some(round) = told.wait() {
            for told in round {
                self.write(told)?;
            }
            self.out.flush()?;
        }
        Ok(())
    }

    fn write(&mut self, told: Told) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match told {
            Told::Event(Happening { seq, time, account, session, event, file, speed }) => {
                if self.is_old(seq)? {
                    return Ok(());
                }
                let line =
                    json::event_line(seq, time, &account, session, &event.what, (file.as_deref(), speed));
                writeln!(self.out, "{line}")
            }
            Told::Said { seq, time, account, session, peer, message, file } => {
                if self.is_old(Some(seq))? {
                    return Ok(());
                }
                let file = file.as_deref();
                writeln!(self.out, "{}", json::said_line(seq, time, &account, session, &peer, &message, file))
            }
            Told::Paged { seq, time, account, to, page } => {
                if self.is_old(Some(seq))? {
                    return Ok(());
                }
                writeln!(self.out, "{}", json::paged_line(seq, time, &account, &to, &page))
            }
            Told::Outcome(outcome) => writeln!(self.out, "{}", json::outcome_line(now, &outcome)),
            Told::Trouble(what) => writeln!(self.out, "{}", json::notice_line(now, "trouble", &what)),
            Told::Missed { count, upto } => {
                writeln!(self.out, "{}", json::slow_line(now, count, self.reader.is_some()))?;
                self.catch_up(upto)
            }
        }
    }

    /// Whether this number was written before; if not, all before it are now.
    fn is_old(&mut self, seq: Option<u64>) -> io::Result<bool> {
        let Some(seq) = seq else { return Ok(false) };
        if seq <= self.last {
            return Ok(true);
        }
        self.catch_up(seq.saturating_sub(1))?;
        self.last = seq;
        Ok(false)
    }

    fn catch_up(&mut self, upto: u64) -> io::Result<()> {
        let Some(reader) = &self.reader else { return Ok(()) };
        while self.last < upto {
            let rows = reader.since(self.last, upto).map_err(io::Error::other)?;
            let Some(last) = rows.last().map(|row| row.seq) else { break };
            for row in &rows {
                writeln!(self.out, "{}", json::row_line(row))?;
            }
            self.last = last;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_read() {
        let mut octets = vec![b'x'; 15];
        octets.extend_from_slice(b"\n{\"do\":\"quit\"}\n\xff\n");
        let mut input = octets.as_slice();
        assert!(matches!(next_line(&mut input, 14), Ok(Some(Err(_)))));
        assert_eq!(next_line(&mut input, 14).unwrap(), Some(Ok("{\"do\":\"quit\"}\n".into())));
        assert!(matches!(next_line(&mut input, 14), Ok(Some(Err(_)))));
        assert_eq!(next_line(&mut input, 14).unwrap(), None);
    }
}
