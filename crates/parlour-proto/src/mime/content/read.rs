//! Taking a body apart.

use super::about;
use super::types::{Container, Multipart, Treatment, known};
use super::{Coding, Disposition, Kind, LONGEST_TEXT, Part, Place};
use crate::mime::cpim::{self, Mailbox};
use crate::mime::multipart::{self, DEEPEST, MOST_PARTS};
use crate::mime::parameter::{self, parameter};
use crate::mime::{charset, cms, html};

/// What the headers around a body say of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'h> {
    /// Content-Type; `text/plain` if there is none (RFC 2046 5.1).
    pub content_type: Option<&'h [u8]>,
    /// Content-Disposition.
    pub disposition: Option<&'h [u8]>,
    /// Content-Transfer-Encoding.
    pub coding: Option<&'h [u8]>,
    /// Content-ID.
    pub id: Option<&'h [u8]>,
}

/// What a body that is here as a whole is made of: at least one part, at most 64.
//= IM M-14
//= IM X-25
pub fn read(head: Head<'_>, body: &[u8]) -> Vec<Part> {
    let mut reader = Reader { room: MOST_PARTS };
    let mut parts = Vec::new();
    let around = Around { depth: DEEPEST, base: Some(0), authors: &[], unverified: false, attached: false };
    reader.take(&head, body, &around, &mut parts);
    if parts.is_empty() {
        // A multipart of nothing but signatures, say.
        parts.push(leaf(&head, Kind::Other, &around, length(body)));
    }
    parts
}

/// What is known of a body that is not here: one part of `length` octets, which is not taken apart.
pub fn unread(head: Head<'_>, offset: u64, length: u64) -> Vec<Part> {
    let around = Around { depth: 1, base: None, authors: &[], unverified: false, attached: false };
    let kind = match known(&head.media_type()) {
        Some(Treatment::Keep(kind)) => kind,
        Some(Treatment::Open(Container::Cms)) => Kind::Protected,
        Some(Treatment::Open(Container::Cpim | Container::Multipart(_))) | None => Kind::Other,
    };
    let mut part = leaf(&head, kind, &around, length);
    part.place = Coding::of(head.coding).map(|coding| Place { offset, length, coding });
    vec![part]
}

impl Head<'_> {
    fn media_type(&self) -> String {
        String::from_utf8_lossy(self.content_type.unwrap_or(b"text/plain")).into_owned()
    }

    fn disposition(&self) -> Disposition {
        let value = self.disposition.unwrap_or_default();
        let kind = value.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
        // RFC 2183 2.8: one that nobody knows is an attachment.
        let shown =
            [b"".as_slice(), b"render", b"inline"].iter().any(|known| kind.eq_ignore_ascii_case(known));
        if shown { Disposition::Render } else { Disposition::Attachment }
    }

    fn name(&self) -> Option<String> {
        let proposed = parameter::text(self.disposition.unwrap_or_default(), "filename")
            .or_else(|| parameter::text(self.content_type.unwrap_or_default(), "name"));
        proposed
            .map(|name| name.chars().take(LONGEST_TEXT).collect())
            .filter(|name: &String| !name.is_empty())
    }
}

/// What holds for everything inside some place of a message.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// How many containers there may be inside.
    depth: usize,
    /// Where the octets at hand begin in the body; `None` if they are no part of it.
    base: Option<u64>,
    authors: &'a [Mailbox],
    unverified: bool,
    /// Whether it belongs to an attachment, so that nothing in it is shown.
    attached: bool,
}

/// How well a part is understood: of alternatives the last of the best is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grasp {
    /// Nobody knows what it is, or it is broken.
    Nothing,
    /// It can be kept and named, or told in other words.
    Roughly,
    /// It is told as it was written.
    Fully,
}

struct Reader {
    /// How many more parts there may be.
    room: usize,
}

impl Reader {
    /// Takes a part in, with all that it has inside, and says how well it is understood.
    fn take(&mut self, head: &Head<'_>, body: &[u8], around: &Around<'_>, out: &mut Vec<Part>) -> Grasp {
        let Some(coding) = Coding::of(head.coding) else {
            let trouble = "it is written in a way that is not known here";
            return keep(head, Kind::Other, body, around, Some(trouble.into()), out);
        };
        let container = match known(&head.media_type()) {
            Some(Treatment::Open(container)) => container,
            Some(Treatment::Keep(kind)) => return take_leaf(kind, coding, head, body, around, out),
            None => return take_leaf(Kind::Other, coding, head, body, around, out),
        };
        let Some(depth) = around.depth.checked_sub(1) else {
            let trouble = format!("more than {DEEPEST} bodies stand inside each other");
            return keep(head, Kind::Other, body, around, Some(trouble), out);
        };
        // Inside an attachment all is attached; what is only shown inline is not.
        let attached = around.attached || head.disposition() == Disposition::Attachment;
        let base = around.base.filter(|_| coding == Coding::Identity);
        let inside = Around { depth, base, attached, ..*around };
        let octets = coding.decode(body);
        let before = (out.len(), self.room);
        let taken = match container {
            Container::Cpim => self.take_cpim(&octets, &inside, out),
            Container::Cms => self.take_cms(&octets, &inside, out),
            Container::Multipart(what) => self.take_multipart(what, head, &octets, &inside, out),
        };
        taken.unwrap_or_else(|trouble| {
            // It is whole or not at all.
            out.truncate(before.0);
            self.room = before.1;
            let kind = if container == Container::Cms { Kind::Protected } else { Kind::Other };
            keep(head, kind, body, around, Some(trouble), out)
        })
    }

    fn take_multipart(
        &mut self,
        what: Multipart,
        head: &Head<'_>,
        body: &[u8],
        around: &Around<'_>,
        out: &mut Vec<Part>,
    ) -> Result<Grasp, String> {
        let content_type = head.content_type.unwrap_or_default();
        let pieces =
            multipart::pieces(content_type, body, &mut self.room).map_err(|fault| fault.to_string())?;
        let pieces: Vec<Piece<'_>> = pieces.into_iter().map(|(at, part)| Piece::new(at, &part)).collect();
        Ok(match what {
            Multipart::Mixed => self.take_all(&pieces, around, out),
            Multipart::Alternative => self.take_best(&pieces, around, out),
            Multipart::Related => self.take_root(&pieces, content_type, around, out),
            Multipart::Signed => self.take_signed(&pieces, around, out),
        })
    }

    fn take_piece(&mut self, piece: &Piece<'_>, around: &Around<'_>, out: &mut Vec<Part>) -> Grasp {
        let at = u64::try_from(piece.at).unwrap_or(u64::MAX);
        let base = around.base.map(|base| base.saturating_add(at));
        self.take(&piece.head, piece.body, &Around { base, ..*around }, out)
    }

    // RFC 2046 5.1.3
    fn take_all(&mut self, pieces: &[Piece<'_>], around: &Around<'_>, out: &mut Vec<Part>) -> Grasp {
        let grasps = pieces.iter().map(|piece| self.take_piece(piece, around, out));
        grasps.min().unwrap_or(Grasp::Nothing)
    }

    /// RFC 2046 5.1.4: the last that is understood. HTML is none of what a terminal shows, so a plain text goes first; the
    /// others say the same, and stay in the octets.
    fn take_best(&mut self, pieces: &[Piece<'_>], around: &Around<'_>, out: &mut Vec<Part>) -> Grasp {
        let mut best: Option<(Grasp, Vec<Part>)> = None;
        for piece in pieces {
            let mut parts = Vec::new();
            let grasp = self.take_piece(piece, around, &mut parts);
            if best.as_ref().is_none_or(|(known, _)| grasp >= *known) {
                best = Some((grasp, parts));
            }
        }
        let (grasp, parts) = best.unwrap_or((Grasp::Nothing, Vec::new()));
        out.extend(parts);
        grasp
    }

    /// RFC 2387 3.2: the part that `start` names, else the first; RFC 2387 4: the disposition of the others does not count,
    /// as the root says what becomes of them.
    fn take_root(
        &mut self,
        pieces: &[Piece<'_>],
        content_type: &[u8],
        around: &Around<'_>,
        out: &mut Vec<Part>,
    ) -> Grasp {
        let start = parameter(content_type, b"start");
        let is_root = |piece: &Piece<'_>| {
            start.as_deref().is_some_and(|start| piece.head.id.is_some_and(|id| bare(id) == bare(start)))
        };
        let root = pieces.iter().position(is_root).unwrap_or(0);
        let Some(first) = pieces.get(root) else { return Grasp::Nothing };
        let mut grasp = self.take_piece(first, around, out);
        let beside = Around { attached: true, ..*around };
        for (at, piece) in pieces.iter().enumerate() {
            if at != root {
                grasp = grasp.min(self.take_piece(piece, &beside, out));
            }
        }
        grasp
    }

    /// RFC 1847 2.1: what was signed, then the signature, which nobody verifies here.
    //= IM M-34
    fn take_signed(&mut self, pieces: &[Piece<'_>], around: &Around<'_>, out: &mut Vec<Part>) -> Grasp {
        let signed = Around { unverified: true, ..*around };
        match pieces {
            [content, _signature] => self.take_piece(content, &signed, out),
            // That many are none of this type's, but what they say is no secret.
            other => self.take_all(other, &signed, out),
        }
    }

    //= IM M-34
    fn take_cms(&mut self, body: &[u8], around: &Around<'_>, out: &mut Vec<Part>) -> Result<Grasp, String> {
        let content =
            cms::signed_content(body).ok_or("it is encrypted, or signed in a way that is not read here")?;
        self.room = self.room.checked_sub(1).ok_or("there are too many parts")?;
        let part = multipart::entity(&content).map_err(|fault| fault.to_string())?;
        let inside = Around { base: None, unverified: true, ..*around };
        Ok(self.take_piece(&Piece::new(0, &part), &inside, out))
    }

    /// RFC 4975 14.5: each wrapping says who vouches for whom.
    //= IM M-33
    fn take_cpim(&mut self, body: &[u8], around: &Around<'_>, out: &mut Vec<Part>) -> Result<Grasp, String> {
        let wrapping = cpim::parse(body, true).map_err(|fault| fault.to_string())?;
        // RFC 3862 4.6: what requires something that we do not know must not be shown.
        if let Some(unknown) = wrapping.required_unknown.first() {
            return Err(format!("it requires {unknown}, which is not known here"));
        }
        self.room = self.room.checked_sub(1).ok_or("there are too many parts")?;
        let rest = body.get(wrapping.body_offset..).unwrap_or_default();
        let mut authors = around.authors.to_vec();
        authors.extend(wrapping.from.clone());
        let inside = Around { authors: &authors, ..*around };
        let piece = Piece { at: wrapping.body_offset, head: wrapping.content_head(), body: rest };
        Ok(self.take_piece(&piece, &inside, out))
    }
}

/// A part of a container, and where its body begins in the container's.
struct Piece<'p> {
    at: usize,
    head: Head<'p>,
    body: &'p [u8],
}

impl<'p> Piece<'p> {
    fn new(at: usize, part: &multipart::Part<'p>) -> Piece<'p> {
        let head = Head {
            content_type: part.row("Content-Type"),
            disposition: part.row("Content-Disposition"),
            coding: part.row("Content-Transfer-Encoding"),
            id: part.row("Content-ID"),
        };
        Piece { at, head, body: part.body }
    }
}

impl cpim::Cpim {
    /// What it says of its body.
    pub fn content_head(&self) -> Head<'_> {
        let row = |name: &str| {
            let mut rows = self.content_headers.iter();
            rows.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_bytes())
        };
        Head {
            content_type: Some(self.content_type.as_bytes()),
            disposition: row("Content-Disposition"),
            coding: row("Content-Transfer-Encoding"),
            id: row("Content-ID"),
        }
    }
}

/// Takes a part in that has nothing inside.
fn take_leaf(
    kind: Kind,
    coding: Coding,
    head: &Head<'_>,
    body: &[u8],
    around: &Around<'_>,
    out: &mut Vec<Part>,
) -> Grasp {
    let octets = coding.decode(body);
    let content_type = head.content_type.unwrap_or_default();
    let charset =
        || parameter(content_type, b"charset").map(|name| String::from_utf8_lossy(&name).into_owned());
    let grasp = match kind {
        Kind::Text | Kind::Card | Kind::Location => Grasp::Fully,
        Kind::Html | Kind::Image | Kind::External => Grasp::Roughly,
        Kind::Protected | Kind::Other => Grasp::Nothing,
    };
    let mut part = leaf(head, kind, around, length(&octets));
    part.place = around.base.map(|offset| Place { offset, length: length(body), coding });
    match kind {
        Kind::Text | Kind::Html => match charset::decode(&octets, charset().as_deref()) {
            Some(text) if kind == Kind::Html => part.text = Some(html::text(&text)),
            Some(text) => {
                part.about = about::geo_uri(&text);
                if part.about.is_some() {
                    part.kind = Kind::Location;
                }
                part.text = Some(text.into_owned());
            }
            None => {
                let name: String = charset().unwrap_or_default().chars().take(LONGEST_TEXT).collect();
                part.trouble = Some(format!("its character set {name} is not known here"));
                out.push(part);
                return Grasp::Nothing;
            }
        },
        Kind::Card => part.about = about::card(&octets, charset().as_deref()),
        Kind::Location => part.about = about::location(&octets),
        Kind::External => part.about = about::external(content_type),
        Kind::Image | Kind::Protected | Kind::Other => {}
    }
    out.push(part);
    grasp
}

/// Keeps a part as it is, and says what is wrong with it.
fn keep(
    head: &Head<'_>,
    kind: Kind,
    body: &[u8],
    around: &Around<'_>,
    trouble: Option<String>,
    out: &mut Vec<Part>,
) -> Grasp {
    let mut part = leaf(head, kind, around, length(body));
    let coding = Coding::of(head.coding).unwrap_or_default();
    part.place = around.base.map(|offset| Place { offset, length: length(body), coding });
    part.trouble = trouble;
    out.push(part);
    Grasp::Nothing
}

fn leaf(head: &Head<'_>, kind: Kind, around: &Around<'_>, size: u64) -> Part {
    let disposition = if around.attached { Disposition::Attachment } else { head.disposition() };
    Part {
        content_type: head.media_type().chars().take(LONGEST_TEXT).collect(),
        kind,
        disposition,
        name: head.name(),
        text: None,
        about: None,
        size,
        place: None,
        authors: around.authors.to_vec(),
        unverified: around.unverified,
        trouble: None,
    }
}

/// A Content-ID without its angle brackets.
fn bare(id: &[u8]) -> &[u8] {
    let id = id.trim_ascii();
    id.strip_prefix(b"<").and_then(|id| id.strip_suffix(b">")).unwrap_or(id)
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
