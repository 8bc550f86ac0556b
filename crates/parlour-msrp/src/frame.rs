//! Frames out of a stream of octets (RFC 4975 5.1 and 7.1).
//!
//! A body ends where its end-line stands, never where Byte-Range says. Bodies pass as slices of the input; only a
//! header section that is cut by the end of the input, and a tail that may be the start of an end-line, are copied.

use memchr::memchr_iter;

use crate::head::{Flag, Head, Tid};
use crate::line::Lines;
use crate::read::{self, MAX_START_LINE};

/// One step through a frame: a head, any number of body pieces, an end.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one at a time is handed out, and looked at in place")]
pub enum Piece<'a> {
    /// The header section of the next frame.
    Head(Head<'a>),
    /// The next octets of the body, never empty.
    Body(&'a [u8]),
    /// The frame is over.
    End(Flag),
    /// Frames cannot be told apart any more: close the connection. Nothing more comes.
    Fault(FrameFault),
}

/// Why the framing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// A frame does not start with `MSRP`, a space, an identifier and a space.
    #[error("a frame does not start with MSRP and a transaction identifier")]
    NotMsrp,
    /// The header section is longer than the limit.
    #[error("a header section is longer than {0} octets")]
    HeadTooLong(usize),
}

/// Cuts a stream into frames. The same octets give the same pieces however they arrive, but for where bodies are cut.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    state: State,
    /// The start of a header section that the input's end has cut.
    buffer: Vec<u8>,
    /// How far the search for its end has come.
    scan: Scan,
    /// What ends the frame whose head was read last.
    end_line: EndLine,
    /// Octets that may be the start of an end-line.
    tail: Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body,
    End(Flag),
    Broken,
}

impl FrameReader {
    /// A reader that takes header sections of up to `limit` octets.
    pub fn new(limit: usize) -> Self {
        let tid = Tid::parse(b"none").expect("invariant: four letters are an ident");
        let (scan, end_line, tail) = (Scan::default(), EndLine(tid), Tail::default());
        FrameReader { limit, state: State::Head, buffer: Vec::new(), scan, end_line, tail }
    }

    /// Whether a frame has begun and not ended.
    pub fn is_mid_frame(&self) -> bool {
        self.state != State::Head || !self.buffer.is_empty()
    }

    /// How many octets are kept.
    pub fn buffered(&self) -> usize {
        self.buffer.len().saturating_add(self.tail.length)
    }

    /// Takes the next piece off the input, or `None` if all of the input is used up. Call it until `None`.
    //= IM X-23
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        match self.state {
            State::Head => self.next_head(input),
            State::Body => {
                self.buffer = Vec::new();
                self.next_body(input)
            }
            State::End(flag) => {
                self.buffer = Vec::new();
                self.state = State::Head;
                Some(Piece::End(flag))
            }
            State::Broken => {
                *input = &[];
                None
            }
        }
    }

    fn next_head<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        if !self.buffer.is_empty() {
            return self.next_cut_head(input);
        }
        // Some peers keep a connection alive with empty lines.
        while let [b'\r' | b'\n', rest @ ..] = *input {
            *input = rest;
        }
        if input.is_empty() {
            return None;
        }
        // Nearly all heads come whole.
        match read::read(input.get(..self.limit).unwrap_or(input), false) {
            Some(head) => {
                *input = input.get(head.length..).unwrap_or_default();
                self.begin(head.tid, head.flag);
                Some(Piece::Head(head))
            }
            None => self.next_cut_head(input),
        }
    }

    /// Goes on with a head of which the input has a part.
    #[cold]
    fn next_cut_head<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        let before = self.buffer.len();
        let room = self.limit.saturating_sub(before);
        self.buffer.extend_from_slice(input.get(..room).unwrap_or(input));
        let found = self.scan.find_end(&self.buffer, self.limit);
        match found {
            Ok(None) => {
                *input = &[];
                None
            }
            Ok(Some(end)) => {
                self.scan = Scan::default();
                *input = input.get(end.length.saturating_sub(before)..).unwrap_or_default();
                self.begin(end.tid, end.flag);
                read::read(&self.buffer, true).map(Piece::Head)
            }
            Err(fault) => {
                self.state = State::Broken;
                self.buffer = Vec::new();
                *input = &[];
                Some(Piece::Fault(fault))
            }
        }
    }

    /// What follows a head.
    fn begin(&mut self, tid: Tid, flag: Option<Flag>) {
        match flag {
            Some(flag) => (self.state, self.tail.length) = (State::End(flag), 0),
            None => {
                self.state = State::Body;
                self.end_line = EndLine(tid);
                self.tail.begin();
            }
        }
    }

    fn next_body<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        if self.tail.length > 0 {
            match self.tail.grow(&self.end_line, input) {
                Grown::Whole(flag) => {
                    self.state = State::End(flag);
                    return self.next(input);
                }
                Grown::Maybe => return None,
                Grown::Body if self.tail.visible().is_empty() => self.tail.length = 0,
                Grown::Body => {
                    let length = std::mem::take(&mut self.tail.length);
                    return Some(Piece::Body(
                        self.tail.octets.get(self.tail.hidden..length).unwrap_or_default(),
                    ));
                }
            }
        }
        let (body, rest, found) = self.end_line.find(input);
        *input = rest;
        match found {
            Found::Whole(flag) => self.state = State::End(flag),
            Found::Start(start) => self.tail = Tail::of(start),
            Found::Nothing => {}
        }
        if body.is_empty() { self.state_end(input) } else { Some(Piece::Body(body)) }
    }

    /// The end of a frame whose last piece of body was empty.
    fn state_end<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        match self.state {
            State::End(_) => self.next(input),
            State::Head | State::Body | State::Broken => None,
        }
    }
}

/// Where a header section ends, and how.
struct HeadEnd {
    tid: Tid,
    length: usize,
    flag: Option<Flag>,
}

/// How far the search for the end of a header section has come that arrives in parts.
#[derive(Debug, Default)]
struct Scan {
    tid: Option<Tid>,
    lines: Lines,
}

impl Scan {
    fn find_end(&mut self, section: &[u8], limit: usize) -> Result<Option<HeadEnd>, FrameFault> {
        while let Some(line) = self.lines.next(section) {
            let Some(tid) = self.tid else {
                self.tid = Some(read::start_line(line).ok_or(FrameFault::NotMsrp)?.0);
                continue;
            };
            if let Some(flag) = read::ends(line, &tid) {
                return Ok(Some(HeadEnd { tid, length: self.lines.start, flag }));
            }
        }
        // What cannot become a frame any more need not wait for its line's end.
        let whole = |start: &[u8]| b"MSRP ".starts_with(start) || start.starts_with(b"MSRP ");
        if self.tid.is_none() && (!whole(section) || section.len() > MAX_START_LINE) {
            return Err(FrameFault::NotMsrp);
        }
        if section.len() >= limit { Err(FrameFault::HeadTooLong(limit)) } else { Ok(None) }
    }
}

/// CR LF, seven hyphens, the identifier: what an end-line after a body starts with. A flag and CR LF follow.
#[derive(Debug)]
struct EndLine(Tid);

enum Found<'a> {
    Whole(Flag),
    /// The input ends with what may be the start of the end-line.
    Start(&'a [u8]),
    Nothing,
}

impl EndLine {
    const START: &[u8; 9] = b"\r\n-------";

    /// What follows it.
    #[inline]
    fn strip<'i>(&self, octets: &'i [u8]) -> Option<&'i [u8]> {
        octets.strip_prefix(Self::START)?.strip_prefix(self.0.as_bytes())
    }

    fn length(&self) -> usize {
        Self::START.len() + self.0.as_bytes().len()
    }

    /// One of its octets.
    fn octet(&self, at: usize) -> Option<u8> {
        Self::START.iter().chain(self.0.as_bytes()).nth(at).copied()
    }

    /// Splits the input into octets that are surely body, and what follows the end-line or is not decided.
    fn find<'i>(&self, input: &'i [u8]) -> (&'i [u8], &'i [u8], Found<'i>) {
        for at in memchr_iter(b'\r', input) {
            let (body, line) = input.split_at_checked(at).unwrap_or((input, &[]));
            // Most lines of a body are told by these octets.
            if line.get(2).is_some_and(|third| *third != b'-') {
                continue;
            }
            if let Some([flag, b'\r', b'\n', rest @ ..]) = self.strip(line) {
                if let Some(flag) = Flag::of(*flag) {
                    return (body, rest, Found::Whole(flag));
                }
            } else if self.begins(line) {
                return (body, &[], Found::Start(line));
            }
            // The identifier stands in the body, or another line does.
        }
        (input, &[], Found::Nothing)
    }

    /// Whether the octets are a proper start of the end-line.
    fn begins(&self, octets: &[u8]) -> bool {
        match self.strip(octets) {
            Some([]) => true,
            Some([flag] | [flag, b'\r']) => Flag::of(*flag).is_some(),
            Some(_) => false,
            None => {
                let mut whole = Self::START.iter().chain(self.0.as_bytes());
                octets.len() < self.length() && octets.iter().all(|octet| whole.next() == Some(octet))
            }
        }
    }
}

/// A kept start of an end-line.
#[derive(Debug)]
struct Tail {
    octets: [u8; Tail::MAX],
    length: usize,
    /// How many of the octets are no part of the body.
    hidden: usize,
}

enum Grown {
    Whole(Flag),
    Maybe,
    /// It was body after all.
    Body,
}

impl Default for Tail {
    fn default() -> Self {
        Tail { octets: [0; Tail::MAX], length: 0, hidden: 0 }
    }
}

impl Tail {
    const MAX: usize = 9 + Tid::MAX + 3;

    fn of(start: &[u8]) -> Tail {
        let mut tail = Tail::default();
        start.iter().for_each(|octet| tail.push(*octet));
        tail
    }

    /// The CR LF of the blank line may be the one before the end-line: some peers write an empty body that way.
    fn begin(&mut self) {
        let [cr, lf, ..] = &mut self.octets;
        (*cr, *lf, self.length, self.hidden) = (b'\r', b'\n', 2, 2);
    }

    fn push(&mut self, octet: u8) {
        if let Some(slot) = self.octets.get_mut(self.length) {
            *slot = octet;
            self.length = self.length.saturating_add(1);
        }
    }

    fn kept(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    fn visible(&self) -> &[u8] {
        self.kept().get(self.hidden..).unwrap_or_default()
    }

    /// Takes octets off the input as long as they go on with the end-line.
    fn grow(&mut self, end_line: &EndLine, input: &mut &[u8]) -> Grown {
        while let Some((&octet, rest)) = input.split_first() {
            let flag = self.kept().get(end_line.length()).copied().and_then(Flag::of);
            match (end_line.octet(self.length), self.length.saturating_sub(end_line.length()), flag) {
                (Some(expected), ..) if octet == expected => {}
                (None, 0, _) if Flag::of(octet).is_some() => {}
                (None, 1, _) if octet == b'\r' => {}
                (None, 2, Some(flag)) if octet == b'\n' => {
                    *input = rest;
                    self.length = 0;
                    return Grown::Whole(flag);
                }
                _ => return Grown::Body,
            }
            self.push(octet);
            *input = rest;
        }
        Grown::Maybe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a stream that arrives cut at the given places, bodies joined.
    fn read(stream: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut reader = FrameReader::new(512);
        let mut pieces: Vec<String> = Vec::new();
        let mut body = Vec::new();
        let mut rest = stream;
        let mut cuts = cuts.iter();
        while !rest.is_empty() {
            let length = cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len()));
            let (mut input, tail) = rest.split_at(length);
            rest = tail;
            while let Some(piece) = reader.next(&mut input) {
                match piece {
                    Piece::Body(octets) => {
                        assert!(!octets.is_empty());
                        body.extend_from_slice(octets);
                        continue;
                    }
                    Piece::Head(head) => pieces.push(format!("{head:?}")),
                    Piece::End(flag) => {
                        pieces.push(format!("{:?}", String::from_utf8_lossy(&std::mem::take(&mut body))));
                        pieces.push(format!("{flag:?}"));
                    }
                    Piece::Fault(fault) => pieces.push(format!("{fault:?}")),
                }
            }
            assert!(reader.buffered() <= 512 + Tail::MAX);
        }
        pieces
    }

    fn send(tid: &str, body: Option<&str>, flag: char) -> String {
        let head = format!("MSRP {tid} SEND\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n");
        match body {
            Some(body) => format!("{head}Content-Type: text/plain\r\n\r\n{body}\r\n-------{tid}{flag}\r\n"),
            None => format!("{head}-------{tid}{flag}\r\n"),
        }
    }

    //= IM X-23 test
    #[test]
    fn bodies_that_look_like_end_lines_stay_bodies() {
        for body in [
            "",
            "\r\n",
            "-------abcd",
            "\r\n-------abcd",
            "\r\n-------abcdX\r\n",
            "\r\n-------abcd$\r",
            "x\r\n-------abcd$\rx",
            "\r\n-------abc$\r\n",
            "\r\n------abcd$\r\n",
            "\r\n\r\n-------\r\n-------abc",
            "-------abce$\r\n",
            "\r",
            "\n-------abcd$\r",
        ] {
            let stream = send("abcd", Some(body), '+') + &send("wxyz", None, '$');
            let whole = read(stream.as_bytes(), &[]);
            assert_eq!(whole.len(), 6, "{body:?}: {whole:?}");
            assert_eq!(whole[1], format!("{body:?}"));
            assert_eq!((whole[2].as_str(), whole[5].as_str()), ("More", "Last"));
            for size in 1..8 {
                assert_eq!(read(stream.as_bytes(), &[size; 500]), whole, "{body:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn an_empty_body_may_lack_its_line() {
        let stream =
            "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nContent-Type: a/b\r\n\r\n-------abcd$\r\n";
        for size in [1, 2, 3, 500] {
            let pieces = read(stream.as_bytes(), &[size; 500]);
            assert_eq!(pieces[1..], ["\"\"", "Last"], "in pieces of {size}");
        }
    }

    #[test]
    fn lost_framing_is_told_once() {
        for (stream, fault) in [
            ("HELO".to_owned(), FrameFault::NotMsrp),
            ("MSRP abc SEND\r\n".to_owned(), FrameFault::NotMsrp),
            ("MSRP abcd\r\n".to_owned(), FrameFault::NotMsrp),
            (format!("MSRP abcd SEND\r\n{}", "X-Y: z\r\n".repeat(100)), FrameFault::HeadTooLong(512)),
        ] {
            for size in [1, 7, 5000] {
                let pieces = read(stream.as_bytes(), &vec![size; 2000]);
                assert_eq!(pieces, [format!("{fault:?}")], "{stream:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn empty_lines_between_frames_are_skipped() {
        let stream = format!("\r\n{}\r\n\r\n{}", send("abcd", None, '$'), send("wxyz", Some("x"), '#'));
        assert_eq!(read(stream.as_bytes(), &[]).len(), 6);
    }

    #[test]
    fn large_bodies_are_not_copied() {
        let body = "x".repeat(100_000);
        let stream = send("abcd", Some(&body), '$');
        let mut reader = FrameReader::new(512);
        let mut input = stream.as_bytes();
        let pieces = std::iter::from_fn(|| {
            Some(match reader.next(&mut input)? {
                Piece::Body(octets) => octets.len(),
                Piece::Head(_) | Piece::End(_) | Piece::Fault(_) => 0,
            })
        });
        assert_eq!(pieces.collect::<Vec<_>>(), [0, 100_000, 0]);
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[test]
    fn a_broken_head_reads_the_same_whole_and_cut() {
        let stream = b"MSRP abcd SEND\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\nMessage-ID: 4711\r\n\
            Byte-Range: 1-1/1\r\nX-Y: z\r\nContent-Type: a/b\r\nContent-Disposition: render\r\n\r\nx\r\n-------abcd$\r\n";
        let mut unlike = 0;
        let good = read(stream, &[]);
        for at in 0..stream.len() {
            for octet in [b'\n', b'\r', b' ', b'-', b'x', b'\xff', b'\xc3'] {
                let mut broken = stream.to_vec();
                broken[at] = octet;
                let whole = read(&broken, &[]);
                unlike += usize::from(whole != good);
                for cut in [1, at, at + 1, stream.len() - 1] {
                    assert_eq!(read(&broken, &[cut]), whole, "{octet:#x} at {at}, cut at {cut}");
                }
            }
        }
        assert!(unlike > stream.len() * 5);
    }

    #[test]
    fn what_is_no_utf_8_counts_only_where_it_is_read() {
        let head = |lines: &[u8]| {
            let paths = b"MSRP abcd SEND\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n";
            let stream = [paths, lines, b"-------abcd$\r\n"].concat();
            read(&stream, &[])[0].clone()
        };
        assert!(head(b"X-Y: \xff\r\nContent-Type: a/b\r\n").contains("fault: None"));
        assert!(head(b"X-Y: \xff\r\nContent-Type: a/b\r\n").contains("content_type: Some(\"a/b\")"));
        assert!(head(b"Content-Type: a/b;n=\xff\r\n").contains("fault: Some(ContentType)"));
        // Of a repeated header the first that is good counts.
        let twice = head(b"Content-Type: a/\xff\r\nContent-Type: c/d\r\nByte-Range: x\r\n");
        assert!(twice.contains("content_type: Some(\"c/d\")") && twice.contains("fault: Some(ContentType)"));
    }

    proptest::proptest! {
        //= IM X-23 test
        #[test]
        fn any_cut_gives_the_same_frames(
            bodies in proptest::collection::vec(
                proptest::option::of("([\r\n-]|-------|abcd|[$+#]|\r\n-------abcd[$+#x]|[a-z]){0,12}"), 1..5),
            cuts in proptest::collection::vec(1_usize..40, 0..200),
        ) {
            let stream: String = bodies.iter().map(|body| send("abcd", body.as_deref(), '$')).collect();
            proptest::prop_assert_eq!(read(stream.as_bytes(), &cuts), read(stream.as_bytes(), &[]));
        }

        #[test]
        fn any_octets_are_frames_or_a_fault(
            stream in "(MSRP |abcd|SEND|200|\r\n|-------|[$+#]|To-Path: |msrp://a:1;tcp|\\PC){0,60}",
            cuts in proptest::collection::vec(1_usize..9, 0..300),
        ) {
            proptest::prop_assert_eq!(read(stream.as_bytes(), &cuts), read(stream.as_bytes(), &[]));
        }
    }
}
