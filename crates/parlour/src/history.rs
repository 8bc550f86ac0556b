//! `parlour history`: what was said, whether or not a client is running.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use parlour_proto::text;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Fault;
use crate::cli::History;
use crate::json;
use crate::line::who;
use crate::log;
use crate::shown::shown_again;
use crate::store::{self, Entry, ReadFault, Reader, Row, Saying};

/// Prints the messages, oldest first.
pub(crate) fn history(flags: &History) -> Result<ExitCode, Fault> {
    let dir = flags.data.clone().unwrap_or_else(store::default_dir);
    let reader = Reader::open(&dir)?;
    let mut page = Page::new(flags, BufWriter::new(io::stdout().lock()));
    let told = reader.history(flags.with.as_deref(), |entry| page.entry(&entry));
    let told = told.and_then(|()| Ok(page.end()?));
    match told {
        // Whoever reads has seen enough.
        Err(ReadFault::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(fault) => Err(fault.into()),
        Ok(()) => {
            if page.is_empty && !flags.json {
                if flags.search.is_some() || flags.since.is_some() {
                    log::say("parlour: nothing that was said fits");
                    return Ok(ExitCode::SUCCESS);
                }
                let with = flags.with.as_deref().map(|with| format!(" with {}", text::neutral(with)));
                let with = with.unwrap_or_default();
                log::say(&format!("parlour: nothing was said{with} yet, and no invitation was missed"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is shown of the entries as they come, oldest first.
struct Page<'f, W> {
    flags: &'f History,
    out: W,
    /// Lines that are shown unless too many follow.
    last: VecDeque<String>,
    /// Nothing was wanted.
    is_empty: bool,
}

impl<W: Write> Page<'_, W> {
    fn new(flags: &History, out: W) -> Page<'_, W> {
        Page { flags, out, last: VecDeque::new(), is_empty: true }
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        if !is_wanted(entry, self.flags) {
            return Ok(());
        }
        self.is_empty = false;
        let line = match entry {
            Entry::Message(saying) if self.flags.json => json::saying_line(saying),
            Entry::Message(saying) => readable(saying),
            Entry::Missed(row) if self.flags.json => json::row_line(row),
            Entry::Missed(row) => missed(row),
        };
        let Some(most) = self.flags.last else { return writeln!(self.out, "{line}") };
        self.last.push_back(line);
        if self.last.len() > most {
            self.last.pop_front();
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.last.drain(..).try_for_each(|line| writeln!(self.out, "{line}"))?;
        self.out.flush()
    }
}

/// Whether it is of the time, and has the words, that are asked for. Invitations have no words.
fn is_wanted(entry: &Entry, flags: &History) -> bool {
    let time = match entry {
        Entry::Message(saying) => saying.row.time,
        Entry::Missed(row) => row.time,
    };
    let is_late = flags.since.is_none_or(|since| time >= since);
    let has_words = flags.search.as_deref().is_none_or(|words| match entry {
        Entry::Message(saying) => shown_again(saying).to_lowercase().contains(&words.to_lowercase()),
        Entry::Missed(_) => false,
    });
    is_late && has_words
}

/// A day, or a moment (RFC 3339), since 1970.
pub(crate) fn date(text: &str) -> Result<Duration, String> {
    let day = format!("{text}T00:00:00Z");
    let date = [text, &day].into_iter().find_map(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let date = date.ok_or("write it as 2026-11-30 or 2026-11-30T18:00:00Z")?;
    Ok(Duration::from_secs(u64::try_from(date.unix_timestamp()).unwrap_or(0)))
}

/// `2026-01-02T03:04:05Z <sip:bob@example.com> (unverified): missed invitation`.
pub(crate) fn missed(row: &Row) -> String {
    let what = row.seen_to().map_or("missed invitation".to_owned(), |how| format!("invitation, {how}"));
    format!("{} {}: {what}", json::seconds(row.time), who(&row.peer()))
}

/// `2026-01-02T03:04:05Z sip:bob@example.com > text` for what came, `<` for what went. In a conference it says who wrote
/// it, and to whom alone.
fn readable(saying: &Saying) -> String {
    let Saying { row, peer, incoming, state, why, receipt } = saying;
    let arrow = if *incoming { ">" } else { "<" };
    let body = shown_again(saying);
    let state = match receipt {
        Some(receipt) => format!("{state}, {receipt}"),
        None => state.clone(),
    };
    let state = match (incoming, why) {
        (true, _) => String::new(),
        (false, None) => format!("  ({state})"),
        (false, Some(why)) => format!("  ({state}: {})", text::neutral(why)),
    };
    let who = match row.in_room() {
        Some(words) => format!("{} {words}", text::neutral(peer)),
        None => text::neutral(peer),
    };
    format!("{} {who} {arrow} {body}{state}", json::seconds(row.time))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::store::StoredBody;

    fn said(time: u64, text: &str) -> Entry {
        let octets = text.as_bytes().to_vec();
        let body = Some(StoredBody { content_type: "text/plain".into(), octets, file: None });
        let (account, kind, json) = ("sip:us@x".to_owned(), "message".to_owned(), "{}".to_owned());
        let row = Row { seq: 1, time: Duration::from_secs(time), account, session: None, kind, json, body };
        let (peer, state) = ("sip:a@x".to_owned(), "received".to_owned());
        Entry::Message(Saying { row, peer, incoming: true, state, why: None, receipt: None })
    }

    fn flags(words: &[&str]) -> History {
        let line = ["parlour", "history"].iter().chain(words);
        let Verb::History(flags) = Cli::try_parse_from(line).expect("a command line").verb else {
            unreachable!("it is one of history")
        };
        flags
    }

    #[test]
    fn the_history_is_searched_by_words_and_time() {
        let wanted = |entry: &Entry, words: &[&str]| is_wanted(entry, &flags(words));
        let dinner = said(1_764_500_000, "Dinner at \u{c4}nne's?");
        assert!(wanted(&dinner, &[]));
        assert!(
            wanted(&dinner, &["--search", "dinner AT \u{e4}nne"]) && !wanted(&dinner, &["--search", "lunch"])
        );
        assert!(wanted(&dinner, &["--since", "2025-11-30"]) && !wanted(&dinner, &["--since", "2025-12-01"]));
        let at = |second| format!("2025-11-30T10:53:{second}Z");
        assert!(wanted(&dinner, &["--since", &at("20")]) && !wanted(&dinner, &["--since", &at("21")]));
        assert!(!wanted(&dinner, &["--since", "2025-11-30", "--search", "lunch"]));
        for wrong in ["yesterday", "2025-13-01", "30.11.2025", ""] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_said_in_a_room_says_who_wrote_it_and_to_whom() {
        let shown = |json: &str| {
            let Entry::Message(mut saying) = said(0, "hi") else { unreachable!("it is one") };
            saying.row.json = json.to_owned();
            readable(&saying)
        };
        assert_eq!(shown("{}"), "1970-01-01T00:00:00Z sip:a@x > hi");
        assert!(shown("{\"private\":true}").contains("sip:a@x (to you alone) > hi"));
        assert!(shown("{\"private_to\":\"sip:b@x\"}").contains("sip:a@x (to sip:b@x alone) > hi"));
        let author = "{\"author\":{\"address\":\"sip:c@x\",\"verified\":true}}";
        assert!(shown(author).contains("sip:a@x (sip:c@x) > hi"), "{}", shown(author));
    }

    #[test]
    fn the_last_are_counted_among_those_that_are_wanted() {
        let page = |words: &[&str]| {
            let (flags, mut out) = (flags(words), Vec::new());
            let mut page = Page::new(&flags, &mut out);
            for (at, text) in
                [(10, "lunch?"), (20, "dinner?"), (30, "Dinner!"), (40, "lunch!"), (50, "DINNER")]
            {
                page.entry(&said(1_764_500_000 + at, text)).expect("a Vec takes all");
            }
            page.end().expect("a Vec takes all");
            let said = String::from_utf8(out).expect("text");
            said.lines().map(|line| line.rsplit(' ').next().expect("a word").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(page(&[]), ["lunch?", "dinner?", "Dinner!", "lunch!", "DINNER"]);
        assert_eq!(page(&["--last", "2"]), ["lunch!", "DINNER"], "the last, oldest first");
        assert_eq!(page(&["--last", "9"]).len(), 5);
        assert_eq!(page(&["--last", "0"]), [""; 0]);
        assert_eq!(page(&["--last", "2", "--search", "dinner"]), ["Dinner!", "DINNER"]);
        let since = "2025-11-30T10:53:45Z";
        assert_eq!(page(&["--last", "2", "--since", since]), ["lunch!", "DINNER"]);
        assert_eq!(page(&["--last", "2", "--since", "2025-11-30T10:54:05Z"]), ["DINNER"]);
        assert_eq!(page(&["--search", "lunch", "--since", since, "--last", "1"]), ["lunch!"]);
        let (flags, mut out) = (flags(&["--search", "breakfast"]), Vec::new());
        let mut empty = Page::new(&flags, &mut out);
        empty.entry(&said(1_764_500_000, "lunch")).expect("a Vec takes all");
        assert!(empty.is_empty, "nothing fits, and that is said");
    }
}
