//! Preconditions (RFC 3312, RFC 4032): what the network has to reserve before anybody is alerted.
//!
//! MSRP goes over the bearer that we have: our own part is reserved as soon as we are asked. What we wait for is the
//! peer's.

use super::write::Lines;
use super::{Judged, Local, Media, Session};

/// The one type of precondition that we know (RFC 3312 9).
const QOS: &str = "qos";

/// Types of preconditions that one stream is read for; all further ones count as one that nobody knows.
const TYPES: usize = 8;

/// The status tables of one stream (RFC 3312 5.1), seen from our side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    tables: Vec<Table>,
}

/// The preconditions of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    kind: String,
    end_to_end: Option<Rows>,
    segmented: Option<Segmented>,
}

/// The access networks of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Segmented {
    local: Rows,
    remote: Rows,
}

/// One row for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rows {
    send: Row,
    recv: Row,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Row {
    /// Whether the network has reserved it.
    current: bool,
    desired: Strength,
}

/// How much a reservation is wanted (RFC 3312 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Strength {
    #[default]
    None,
    Optional,
    Mandatory,
}

/// Which part of the way, as the author of a description says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    EndToEnd,
    Local,
    Remote,
}

impl Preconditions {
    //= IM R-60
    /// What a peer's description says of one of its streams, and our own part, which is always reserved. Lines that
    /// cannot be read say nothing.
    pub fn of(media: &Media) -> Self {
        let mut preconditions = Preconditions::default();
        // RFC 3312 8.1: what belongs to a refused stream is ignored.
        if media.port == 0 {
            return preconditions;
        }
        for value in media.all("des") {
            preconditions.desire(value);
        }
        for value in media.all("curr") {
            preconditions.note(value);
        }
        for table in preconditions.tables.iter_mut().filter(|table| table.is_known()) {
            // RFC 4032 4.1: of our own part we know better than the peer.
            if let Some(rows) = &mut table.end_to_end {
                rows.send.current = true;
            }
            if let Some(Segmented { local, .. }) = &mut table.segmented {
                (local.send.current, local.recv.current) = (true, true);
            }
        }
        preconditions
    }

    /// What we say in an offer of our own to a peer that demands preconditions: our part is reserved, and of its own part
    /// it may demand what it likes (RFC 3312 5.1.1).
    pub fn offered() -> Self {
        let (met, open) = (Row { current: true, ..Row::default() }, Row::default());
        let segmented =
            Segmented { local: Rows { send: met, recv: met }, remote: Rows { send: open, recv: open } };
        let table = Table { kind: QOS.to_owned(), end_to_end: None, segmented: Some(segmented) };
        Preconditions { tables: vec![table] }
    }

    /// Whether anything is mandatory, met or not.
    pub fn are_demanded(&self) -> bool {
        self.tables.iter().any(|table| table.rows().any(|(_, _, row)| row.desired == Strength::Mandatory))
    }

    /// Whether nothing mandatory is missing: the user may be alerted (RFC 3312 6).
    pub fn are_met(&self) -> bool {
        self.tables.iter().all(|table| table.rows().all(|(_, _, row)| row.is_met()))
    }

    /// Whether all that is mandatory can be met: our own part must not be of a type that we do not know (RFC 3312 9).
    pub fn can_be_met(&self) -> bool {
        self.tables.iter().all(|table| table.unknown().next().is_none())
    }

    /// The lines of our description, under its `m=` line.
    pub(super) fn write(&self, lines: &mut Lines) {
        for Table { kind, end_to_end, segmented } in &self.tables {
            let parts = [
                ("e2e", *end_to_end),
                ("local", segmented.map(|it| it.local)),
                ("remote", segmented.map(|it| it.remote)),
            ];
            let parts = || parts.into_iter().filter_map(|(status, rows)| Some((status, rows?)));
            for (status, rows) in parts() {
                lines.attribute("curr", &format!("{kind} {status} {}", rows.directions(|row| row.current)));
            }
            for (status, rows) in parts() {
                // RFC 3312 5.1.1: one line for both directions if they are wanted as much.
                for (strength, direction) in rows.desired() {
                    lines.attribute("des", &format!("{kind} {} {status} {direction}", strength.text()));
                }
            }
            // RFC 3312 6: who cannot meet all alone asks to be told. Our own part never waits.
            for (status, rows) in parts().filter(|(status, _)| *status != "local") {
                let missing = rows.directions(|row| !row.is_met());
                if missing != "none" {
                    lines.attribute("conf", &format!("{kind} {status} {missing}"));
                }
            }
        }
    }
}

//= IM R-60
/// The body of a 580 to a description (RFC 3312 8): what of its accepted stream is missing or unknown.
pub fn precondition_failure(description: &Session, judged: &Judged, local: &Local) -> Vec<u8> {
    let mut lines = Lines::new(local.address, local.session_id, local.version, std::iter::empty());
    for (at, media) in description.media.iter().enumerate() {
        // RFC 3312 8: a line for each of its lines, all with port 0.
        lines.media(&media.media, 0, &media.protocol, &media.formats);
        if judged.guarded() != Some(at) {
            continue;
        }
        for table in Preconditions::of(media).tables {
            // RFC 3312 9: a type that nobody knows is told apart.
            let unknown = table.unknown().next().is_some();
            let word = if unknown { "unknown" } else { "failure" };
            for (status, direction, row) in table.rows() {
                if !row.is_met() {
                    lines.attribute("des", &format!("{} {word} {status} {direction}", table.kind));
                }
            }
        }
    }
    lines.finish()
}

impl Judged {
    /// The preconditions of the chat of a description, or of its first file.
    pub fn preconditions(&self, description: &Session) -> Preconditions {
        let media = self.guarded().and_then(|line| description.media.get(line));
        media.map(Preconditions::of).unwrap_or_default()
    }

    /// The line whose preconditions count: the others have the same way to go.
    fn guarded(&self) -> Option<usize> {
        self.streams().next().map(|stream| stream.line)
    }
}

impl Preconditions {
    /// `qos mandatory local sendrecv`
    fn desire(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        let (Some(kind), Some(strength)) = (words.next(), words.next().and_then(Strength::read)) else {
            return;
        };
        self.update(kind, words, |row| row.desired = row.desired.max(strength));
    }

    /// `qos local sendrecv`
    fn note(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        let Some(kind) = words.next() else { return };
        self.update(kind, words, |row| row.current = true);
    }

    /// Changes the rows that a line means. RFC 3312 5.2, table 4: what is local to the peer is remote to us, and what
    /// it sends we receive.
    fn update<'w>(
        &mut self,
        kind: &str,
        mut words: impl Iterator<Item = &'w str>,
        change: impl Fn(&mut Row),
    ) {
        let (Some(status), Some(direction)) = (words.next().and_then(Status::read), words.next()) else {
            return;
        };
        let is = |name: &str| direction.eq_ignore_ascii_case(name);
        let (sends, receives) = (is("send") || is("sendrecv"), is("recv") || is("sendrecv"));
        if !(sends || receives || is("none")) {
            return;
        }
        let Some(table) = self.table(kind) else { return };
        let rows = match status {
            Status::EndToEnd => table.end_to_end.get_or_insert_default(),
            Status::Local => &mut table.segmented.get_or_insert_default().remote,
            Status::Remote => &mut table.segmented.get_or_insert_default().local,
        };
        if sends {
            change(&mut rows.recv);
        }
        if receives {
            change(&mut rows.send);
        }
    }

    fn table(&mut self, kind: &str) -> Option<&mut Table> {
        let known = self.tables.iter().position(|table| table.kind.eq_ignore_ascii_case(kind));
        if known.is_none() && self.tables.len() < TYPES {
            let kind = kind.to_owned();
            self.tables.push(Table { kind, end_to_end: None, segmented: None });
        }
        match known {
            Some(at) => self.tables.get_mut(at),
            None => self.tables.last_mut(),
        }
    }
}

impl Table {
    fn is_known(&self) -> bool {
        self.kind.eq_ignore_ascii_case(QOS)
    }

    /// All rows with their status and direction, seen from our side.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, Row)> {
        let of = |status, rows: Rows| [(status, "send", rows.send), (status, "recv", rows.recv)];
        let end_to_end = self.end_to_end.map(|rows| of("e2e", rows));
        let segments = self.segmented.map(|it| [of("local", it.local), of("remote", it.remote)]);
        end_to_end.into_iter().flatten().chain(segments.into_iter().flatten().flatten())
    }

    /// The rows that we would have to meet, and do not know how to. RFC 3312 9: what the peer meets alone is its own.
    fn unknown(&self) -> impl Iterator<Item = Row> {
        let known = self.is_known();
        self.rows()
            .filter(move |(status, _, row)| !known && *status != "remote" && !row.is_met())
            .map(|(_, _, row)| row)
    }
}

impl Rows {
    /// The directions that have this in common.
    fn directions(self, has: impl Fn(Row) -> bool) -> &'static str {
        match (has(self.send), has(self.recv)) {
            (true, true) => "sendrecv",
            (true, false) => "send",
            (false, true) => "recv",
            (false, false) => "none",
        }
    }

    fn desired(self) -> impl Iterator<Item = (Strength, &'static str)> {
        let (send, recv) = (self.send.desired, self.recv.desired);
        let both = (send == recv).then_some((send, "sendrecv"));
        let each = (send != recv).then_some([(send, "send"), (recv, "recv")]);
        both.into_iter().chain(each.into_iter().flatten())
    }
}

impl Row {
    fn is_met(self) -> bool {
        self.current || self.desired != Strength::Mandatory
    }
}

impl Strength {
    fn read(word: &str) -> Option<Self> {
        let all = [Strength::None, Strength::Optional, Strength::Mandatory];
        all.into_iter().find(|strength| strength.text().eq_ignore_ascii_case(word))
    }

    const fn text(self) -> &'static str {
        match self {
            Strength::None => "none",
            Strength::Optional => "optional",
            Strength::Mandatory => "mandatory",
        }
    }
}

impl Status {
    fn read(word: &str) -> Option<Self> {
        let all = [("e2e", Status::EndToEnd), ("local", Status::Local), ("remote", Status::Remote)];
        all.into_iter().find(|(text, _)| text.eq_ignore_ascii_case(word)).map(|(_, status)| status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::fuzzing::everything;
    use crate::sdp::{answer, judge, parse};

    const STREAM: &str = "v=0\no=- 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nt=0 0\n\
        m=message 2855 TCP/MSRP *\na=accept-types:text/plain\na=setup:actpass\n\
        a=path:msrp://192.0.2.1:2855/abc;tcp\n";

    fn local() -> Local {
        Local::new(false, "192.0.2.2".parse().unwrap(), 2855, "own", 7, 1).unwrap()
    }

    /// The lines of our answer about preconditions, and what we make of the offer.
    fn answered(lines: &[&str]) -> (Vec<String>, Preconditions) {
        let offer = parse((STREAM.to_owned() + &lines.join("\n") + "\n").as_bytes()).unwrap();
        let judged = judge(&offer, &everything()).unwrap();
        let octets = answer(&offer, &judged, &local(), &everything());
        let text = String::from_utf8(octets).unwrap();
        let about = |line: &&str| ["a=curr:", "a=des:", "a=conf:"].iter().any(|name| line.starts_with(name));
        (text.lines().filter(about).map(str::to_owned).collect(), judged.preconditions(&offer))
    }

    //= IM R-60 test
    #[test]
    fn segments_are_inverted_and_ours_is_met_at_once() {
        let (lines, seen) = answered(&[
            "a=curr:qos local none",
            "a=curr:qos remote none",
            "a=des:qos mandatory local sendrecv",
            "a=des:qos none remote sendrecv",
        ]);
        assert!(!seen.are_met() && seen.can_be_met());
        assert_eq!(
            lines,
            [
                "a=curr:qos local sendrecv",
                "a=curr:qos remote none",
                "a=des:qos none local sendrecv",
                "a=des:qos mandatory remote sendrecv",
                "a=conf:qos remote sendrecv",
            ]
        );
        let (lines, seen) = answered(&[
            "a=curr:qos local sendrecv",
            "a=curr:qos remote none",
            "a=des:qos mandatory local sendrecv",
            "a=des:qos mandatory remote sendrecv",
        ]);
        assert!(seen.are_met());
        assert!(!lines.iter().any(|line| line.starts_with("a=conf")), "{lines:?}");
    }

    //= IM R-60 test
    #[test]
    fn each_direction_counts_and_what_is_not_mandatory_does_not() {
        let (lines, seen) = answered(&[
            "a=curr:qos local send",
            "a=des:qos mandatory local recv",
            "a=des:qos optional local send",
        ]);
        assert!(!seen.are_met());
        assert!(lines.contains(&"a=curr:qos remote recv".to_owned()), "{lines:?}");
        assert!(lines.contains(&"a=conf:qos remote send".to_owned()), "{lines:?}");
        let (_, seen) = answered(&["a=curr:qos local none", "a=des:qos optional local sendrecv"]);
        assert!(seen.are_met());
        assert_eq!(answered(&[]).0, [""; 0], "who says nothing of preconditions hears nothing of them");
    }

    //= IM R-60 test
    #[test]
    fn end_to_end_waits_for_the_direction_of_the_peer() {
        let (lines, seen) = answered(&["a=curr:qos e2e none", "a=des:qos mandatory e2e sendrecv"]);
        assert!(!seen.are_met() && seen.can_be_met());
        assert_eq!(lines, ["a=curr:qos e2e send", "a=des:qos mandatory e2e sendrecv", "a=conf:qos e2e recv"]);
        let (lines, seen) = answered(&["a=curr:qos e2e send", "a=des:qos mandatory e2e sendrecv"]);
        assert!(seen.are_met());
        assert_eq!(lines, ["a=curr:qos e2e sendrecv", "a=des:qos mandatory e2e sendrecv"]);
    }

    //= IM R-60 test
    #[test]
    fn an_unknown_type_is_refused_unless_the_peer_meets_it_alone() {
        let (_, seen) = answered(&["a=curr:foo e2e none", "a=des:foo mandatory e2e send"]);
        assert!(!seen.can_be_met());
        let (lines, seen) = answered(&["a=curr:foo local none", "a=des:foo mandatory local send"]);
        assert!(seen.can_be_met() && !seen.are_met());
        assert!(lines.contains(&"a=conf:foo remote recv".to_owned()), "{lines:?}");
        let (_, seen) = answered(&["a=des:foo optional e2e sendrecv"]);
        assert!(seen.can_be_met() && seen.are_met());
    }

    //= IM R-60 test
    #[test]
    fn a_failure_names_what_is_missing_line_by_line() {
        let text = STREAM.replace("m=message", "m=audio 4000 RTP/AVP 0\nm=message")
            + "a=curr:qos local none\na=des:qos mandatory local sendrecv\na=des:foo mandatory e2e send\n";
        let offer = parse(text.as_bytes()).unwrap();
        let judged = judge(&offer, &everything()).unwrap();
        let text = String::from_utf8(precondition_failure(&offer, &judged, &local())).unwrap();
        let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=audio 0 RTP/AVP 0",
                "m=message 0 TCP/MSRP *",
                "a=des:qos failure remote send",
                "a=des:qos failure remote recv",
                "a=des:foo unknown e2e recv",
            ]
        );
    }

    #[test]
    fn nonsense_says_nothing_and_many_types_stay_few() {
        let (lines, _) = answered(&[
            "a=curr:qos",
            "a=curr:",
            "a=des:qos must local send",
            "a=des:qos mandatory here send",
            "a=des:qos mandatory local sideways",
            "a=curr",
        ]);
        assert_eq!(lines, [""; 0]);
        let many: Vec<String> = (0..50).map(|n| format!("a=des:t{n} mandatory remote send")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (_, seen) = answered(&many);
        assert_eq!(seen.tables.len(), TYPES);
        assert!(!seen.can_be_met());
    }
}
