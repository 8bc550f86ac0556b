//! What the measured program says that it holds.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Outcome;
use crate::process::Server;

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(500);
/// How long tables may take to become empty. Where all went well it is 64*T1 (RFC 3261 17.2.2); where a caller went away,
/// a connection is tried again and a BYE is sent for as long, one after the other.
const SETTLING: Duration = Duration::from_secs(100);
/// Where the line of interest begins.
pub const MARK: &str = "parlour: held: ";

/// The tables' names and what is in them.
pub type Held = Vec<(String, u64)>;

/// Waits until all tables are empty, or should have been for long. Says what is left in them.
pub fn settle(server: &Server) -> Outcome<Held> {
    let until = Instant::now() + SETTLING;
    loop {
        let left = left(&ask(server)?);
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        std::thread::sleep(PERIOD);
    }
}

fn ask(server: &Server) -> Outcome<Held> {
    let answers = |said: &str| said.lines().filter(|line| line.starts_with(MARK)).count();
    let before = answers(&server.said());
    server.signal(Signal::USR1)?;
    let until = Instant::now() + ANSWER;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        let said = server.said();
        if answers(&said) > before
            && let Some(line) = said.lines().rfind(|line| line.starts_with(MARK))
        {
            return read(line).ok_or_else(|| format!("not understood: {line}").into());
        }
    }
    Err(format!("parlour does not say what it holds: {}", server.said()).into())
}

fn read(line: &str) -> Option<Held> {
    let pair = |word: &str| {
        let (name, number) = word.split_once('=')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    line.strip_prefix(MARK)?.split(' ').map(pair).collect()
}

/// What should not be there. One timer may: dialogs that ended are remembered for five minutes, to be replaced too late.
fn left(held: &Held) -> Held {
    let allowed = |name: &str| u64::from(name == "timers");
    held.iter().filter(|(name, number)| *number > allowed(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_line() {
        let held = read("parlour: held: sessions=0 transactions=12 timers=1 talks=0").unwrap();
        assert_eq!(held.len(), 4);
        assert_eq!(left(&held), [("transactions".to_owned(), 12)]);
        let held = read("parlour: held: sessions=0 timers=2").unwrap();
        assert_eq!(left(&held), [("timers".to_owned(), 2)]);
        assert_eq!(read("parlour: held: sessions=0 timers"), None);
        assert_eq!(read("parlour: listening"), None);
    }
}
