//! What crossed the world, as a ladder diagram in text.

use parlour_proto::io::Instant;

use crate::text;
use crate::world::{NodeId, World};

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Row {
    /// When it left.
    pub at: Instant,
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What it is, in a few words.
    pub label: String,
    /// The message; empty for connects and closes.
    pub octets: Vec<u8>,
    /// Whether it was lost on the way.
    pub lost: bool,
}

/// What a ladder shows beside labels.
#[derive(Debug, Clone, Copy, Default)]
pub enum Detail<'a> {
    /// Nothing.
    #[default]
    None,
    /// These headers, below each message that has them.
    Headers(&'a [&'a str]),
    /// Each message whole.
    Whole,
}

impl World {
    /// The diagram of all that crossed the world so far: time of departure in milliseconds, then one column for each
    /// node; `x` in place of an arrow head marks what was lost.
    pub fn ladder(&self) -> String {
        self.ladder_with(Detail::None)
    }

    /// The same with details.
    pub fn ladder_with(&self, detail: Detail<'_>) -> String {
        let names: Vec<&str> = self.names().collect();
        let widest =
            self.rows().iter().map(|row| row.label.len()).chain(names.iter().map(|name| name.len())).max();
        let gap = widest.unwrap_or(0) + 8;
        let mut lines = vec![heading(&names, gap)];
        for row in self.rows() {
            lines.push(arrow(row, names.len(), gap));
            lines.extend(details(row, detail));
        }
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// An instant in milliseconds, with as many decimals as it needs.
pub fn millis(at: Instant) -> String {
    let micros = at.as_micros();
    match micros % 1000 {
        0 => format!("{}", micros / 1000),
        rest => format!("{}.{rest:03}", micros / 1000).trim_end_matches('0').to_owned(),
    }
}

fn heading(names: &[&str], gap: usize) -> String {
    names.iter().fold("        ms  ".to_owned(), |line, name| format!("{line}{name:<gap$}"))
}

fn arrow(row: &Row, nodes: usize, gap: usize) -> String {
    let (left, right) = (row.from.0.min(row.to.0), row.from.0.max(row.to.0));
    let mut line = format!("{:>10}  ", millis(row.at));
    for node in 0..nodes {
        line.push('|');
        if left == right && node == left {
            line.push_str(&format!("{:<width$}", format!("> {}", row.label), width = gap - 1));
            continue;
        }
        let (within, first, last) = (node >= left && node < right, node == left, node + 1 == right);
        if !within {
            line.push_str(&" ".repeat(gap - 1));
            continue;
        }
        let label = if first { format!(" {} ", row.label) } else { String::new() };
        let mut piece = format!("{label:-^width$}", width = gap - 1);
        let rightwards = row.to.0 == right;
        if rightwards && last {
            piece.pop();
            piece.push(if row.lost { 'x' } else { '>' });
        }
        if !rightwards && first {
            piece.replace_range(0..1, if row.lost { "x" } else { "<" });
        }
        line.push_str(&piece);
    }
    line
}

fn details(row: &Row, detail: Detail<'_>) -> Vec<String> {
    match detail {
        Detail::None => Vec::new(),
        Detail::Headers(names) => names
            .iter()
            .flat_map(|name| {
                text::headers(&row.octets, name)
                    .into_iter()
                    .map(move |value| format!("{:12}  {name}: {value}", ""))
            })
            .collect(),
        Detail::Whole => text::lossy(&row.octets).lines().map(|line| format!("{:12}  {line}", "")).collect(),
    }
}
