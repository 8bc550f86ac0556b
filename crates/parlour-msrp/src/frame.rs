//! Frames out of a stream of octets (RFC 4975 5.1 and 7.1).
//!
//! A body ends where its end-line stands, never where Byte-Range says. Bodies pass as slices of the input; only a
//! header section that is cut by the end of the input, and a tail that may be the start of an end-line, are copied.

use memchr::{memchr, memchr_iter};

use crate::head::{Flag, Head, Tid};

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
    /// Where in the header section the search for its end goes on.
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
        let (scan, end_line, tail) = (Scan::default(), EndLine::of(&tid), Tail::default());
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
        if self.buffer.is_empty() {
            // Some peers keep a connection alive with empty lines.
            while let [b'\r' | b'\n', rest @ ..] = *input {
                *input = rest;
            }
            if input.is_empty() {
                return None;
            }
        }
        let before = self.buffer.len();
        let found = if before == 0 {
            self.scan.find_end(input, self.limit)
        } else {
            let room = self.limit.saturating_sub(before);
            self.buffer.extend_from_slice(input.get(..room).unwrap_or(input));
            self.scan.find_end(&self.buffer, self.limit)
        };
        match found {
            Ok(Some(end)) => {
                let section: &'s [u8] = if before == 0 { input } else { &self.buffer };
                *input = input.get(end.length.saturating_sub(before)..).unwrap_or_default();
                match end.flag {
                    Some(flag) => (self.state, self.tail.length) = (State::End(flag), 0),
                    None => {
                        (self.state, self.tail) = (State::Body, Tail::after_head());
                        self.end_line = EndLine::of(&end.tid);
                    }
                }
                let section = section.get(..end.length).unwrap_or_default();
                let head = Head::parse(end.tid, section, self.scan.lines(), end.flag.is_none());
                self.scan.clear();
                Some(Piece::Head(head))
            }
            Ok(None) => {
                if before == 0 {
                    self.buffer = input.to_vec();
                }
                *input = &[];
                None
            }
            Err(fault) => {
                self.state = State::Broken;
                self.buffer = Vec::new();
                *input = &[];
                Some(Piece::Fault(fault))
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

/// Where a header section ends.
struct HeadEnd {
    tid: Tid,
    /// Octets of the start line, the header lines, and the blank line, or the end-line if there is no body.
    length: usize,
    /// The flag of the end-line if there is no body.
    flag: Option<Flag>,
}

/// How far the search for the end of a header section has come.
#[derive(Debug, Default)]
struct Scan {
    tid: Option<Tid>,
    looked: usize,
    /// Where each line that was seen ends, behind its CR LF.
    ends: Vec<usize>,
}

impl Scan {
    fn find_end(&mut self, section: &[u8], limit: usize) -> Result<Option<HeadEnd>, FrameFault> {
        let seen = section.get(..limit).unwrap_or(section);
        let from = self.looked;
        for at in memchr_iter(b'\n', seen.get(from..).unwrap_or_default()) {
            let length = from.saturating_add(at).saturating_add(1);
            let start = self.ends.last().copied().unwrap_or(0);
            // A line ends with CR LF; a lone LF is one of its octets.
            let Some(line) = seen.get(start..length).and_then(|line| line.strip_suffix(b"\r\n")) else {
                continue;
            };
            match &self.tid {
                None => self.tid = Some(read_tid(line).ok_or(FrameFault::NotMsrp)?),
                // Most lines are neither empty nor an end-line.
                Some(_) if line.first().is_some_and(|first| *first != b'-') => {}
                Some(tid) => {
                    let flag = end_flag(line, tid);
                    if line.is_empty() || flag.is_some() {
                        return Ok(Some(HeadEnd { tid: *tid, length, flag }));
                    }
                }
            }
            self.ends.push(length);
        }
        self.looked = seen.len();
        // What cannot become a frame any more need not wait for its line's end.
        let whole = |start: &[u8]| b"MSRP ".starts_with(start) || start.starts_with(b"MSRP ");
        if self.tid.is_none() && (!whole(seen) || seen.len() > MAX_START_LINE) {
            return Err(FrameFault::NotMsrp);
        }
        if seen.len() >= limit { Err(FrameFault::HeadTooLong(limit)) } else { Ok(None) }
    }

    /// The start line and the header lines: from where to where each goes, with its CR LF.
    fn lines(&self) -> impl Iterator<Item = (usize, usize)> {
        std::iter::once(0).chain(self.ends.iter().copied()).zip(self.ends.iter().copied())
    }

    /// Ready for the next header section.
    fn clear(&mut self) {
        (self.tid, self.looked) = (None, 0);
        self.ends.clear();
        // Few heads have more lines; what one of thousands took is not kept for the life of the connection.
        self.ends.shrink_to(32);
    }
}

/// Start lines hold a method or a comment; longer ones are no MSRP.
const MAX_START_LINE: usize = 1024;

fn read_tid(line: &[u8]) -> Option<Tid> {
    if line.len() > MAX_START_LINE {
        return None;
    }
    let rest = line.strip_prefix(b"MSRP ")?;
    let (tid, _) = rest.split_at_checked(memchr(b' ', rest)?)?;
    Tid::parse(tid)
}

fn end_flag(line: &[u8], tid: &Tid) -> Option<Flag> {
    let rest = line.strip_prefix(b"-------")?.strip_prefix(tid.as_bytes())?;
    match rest {
        [flag] => Flag::of(*flag),
        _ => None,
    }
}

/// CR LF, seven hyphens, the identifier: what an end-line after a body starts with. A flag and CR LF follow.
#[derive(Debug)]
struct EndLine {
    octets: [u8; 9 + Tid::MAX],
    length: usize,
}

enum Found<'a> {
    Whole(Flag),
    /// The input ends with what may be the start of the end-line.
    Start(&'a [u8]),
    Nothing,
}

impl EndLine {
    fn of(tid: &Tid) -> EndLine {
        let mut octets = [b'-'; 9 + Tid::MAX];
        let length = tid.as_bytes().len().saturating_add(9);
        if let Some(start) = octets.get_mut(..2) {
            start.copy_from_slice(b"\r\n");
        }
        if let Some(end) = octets.get_mut(9..length) {
            end.copy_from_slice(tid.as_bytes());
        }
        EndLine { octets, length }
    }

    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// Splits the input into octets that are surely body, and what follows the end-line or is not decided.
    fn find<'i>(&self, input: &'i [u8]) -> (&'i [u8], &'i [u8], Found<'i>) {
        for at in memchr_iter(b'\r', input) {
            let (body, line) = input.split_at_checked(at).unwrap_or((input, &[]));
            // Most lines of a body are told by these octets.
            if line.get(2).is_some_and(|third| *third != b'-') {
                continue;
            }
            if let Some([flag, b'\r', b'\n', rest @ ..]) = line.strip_prefix(self.as_bytes()) {
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
        match octets.split_at_checked(self.length) {
            None => self.as_bytes().starts_with(octets),
            Some((start, rest)) => {
                start == self.as_bytes()
                    && match rest {
                        [] => true,
                        [flag] | [flag, b'\r'] => Flag::of(*flag).is_some(),
                        _ => false,
                    }
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
    fn after_head() -> Tail {
        Tail { hidden: 2, ..Tail::of(b"\r\n") }
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
            let flag = self.kept().get(end_line.length).copied().and_then(Flag::of);
            match (end_line.as_bytes().get(self.length), self.length.saturating_sub(end_line.length), flag) {
                (Some(expected), ..) if octet == *expected => {}
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
