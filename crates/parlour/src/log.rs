//! Logs and error messages, on stderr. Bodies, passwords and session-ids are never handed to them. Whoever writes one
//! waits for nobody.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use parlour_proto::text;
use tracing::callsite;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines of one kind in a period; the rest is counted only.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// Starts logging: warnings and errors, or what `PARLOUR_LOG` asks for, such as `parlour=debug`.
pub(crate) fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::WARN.into())
        .with_env_var("PARLOUR_LOG")
        .from_env_lossy();
    crate::stderr::start();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Stderr).event_format(OneLine);
    tracing_subscriber::registry().with(lines.with_filter(RateLimit::default()).with_filter(filter)).init();
}

/// Writes a sentence to stderr. A stderr that is gone is no reason to stop.
pub(crate) fn say(sentence: &str) {
    crate::stderr::write(format!("{}\n", text::neutral_lines(sentence)).as_bytes());
}

/// Where events go, each by one write.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        crate::stderr::write(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event, one line: what a peer wrote cannot begin another one.
//= IM X-15
struct OneLine;

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        write!(writer, "{} {:5} {}", crate::json::rfc3339(time), event.metadata().level(), line.message)?;
        writeln!(writer, "{}", line.fields)
    }
}

/// The fields of an event, neutralised.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = text::neutral(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push_str(&format!(" {}={value}", field.name()));
        }
    }
}

/// Lets a line pass only so often: a peer that makes the same fault again and again does not fill the disk.
#[derive(Default)]
struct RateLimit {
    /// For each place in the code: the period's start, and its lines in it.
    places: Mutex<HashMap<callsite::Identifier, (Option<Instant>, u32)>>,
}

impl RateLimit {
    fn passes(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        if *metadata.level() > Level::INFO {
            return true;
        }
        let place = metadata.callsite();
        let Ok(mut places) = self.places.lock() else { return true };
        let (since, lines) = places.entry(place).or_default();
        if since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            *since = Some(now);
            *lines = 0;
        }
        *lines = lines.saturating_add(1);
        *lines <= LINES
    }
}

impl<S: Subscriber> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.passes(event.metadata(), Instant::now())
    }
}

/// Writes a sentence to stdout.
pub(crate) fn say_out(sentence: &str) {
    let _ = writeln!(io::stdout().lock(), "{}", text::neutral_lines(sentence));
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM X-15 test
    #[test]
    fn one_place_writes_so_many_lines_in_a_period() {
        use tracing::Callsite as _;
        let noisy = tracing::callsite!(name: "noisy", kind: tracing::metadata::Kind::EVENT, level: Level::WARN, fields:);
        let other = tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, level: Level::WARN, fields:);
        let limit = RateLimit::default();
        let start = Instant::now();
        let passed = |at: Instant| (0..100).filter(|_| limit.passes(noisy.metadata(), at)).count();
        assert_eq!(passed(start), 20);
        assert_eq!(passed(start + Duration::from_millis(9_999)), 0);
        assert!(limit.passes(other.metadata(), start), "another place has lines of its own");
        assert_eq!(passed(start + PERIOD), 20);
    }
}
