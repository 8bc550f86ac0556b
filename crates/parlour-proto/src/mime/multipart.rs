//! Bodies of several parts (RFC 2046 5.1), read strictly and within bounds; nothing is copied.

use memchr::memmem;

use super::parameter::parameter;

/// Parts of a body, those inside other parts included.
pub const MOST_PARTS: usize = 64;
/// Multipart bodies inside each other, the outermost included.
pub const DEEPEST: usize = 8;
/// Header rows of a part.
const MOST_ROWS: usize = 32;
/// RFC 2046 5.1.1: the longest boundary, octets.
const LONGEST_BOUNDARY: usize = 70;

/// Name and value of a header row.
pub type Row<'a> = (&'a str, &'a [u8]);

/// One part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Names and values of its header rows, in order; folds stay in the values.
    pub rows: Vec<Row<'a>>,
    /// Its octets, without the CRLF that belongs to the boundary after it.
    pub body: &'a [u8],
    /// Its own parts, if it is a multipart body itself.
    pub parts: Vec<Part<'a>>,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartFault {
    /// Content-Type has no boundary, or one that RFC 2046 does not allow.
    #[error("a multipart body has no proper boundary")]
    Boundary,
    /// The first boundary is missing: there is no part.
    #[error("a multipart body has no part")]
    Empty,
    /// The last boundary is missing: the body was cut.
    #[error("a multipart body has no closing boundary")]
    Open,
    /// A header row of a part has no name or no end, or there are more than 32.
    #[error("a body part has bad headers")]
    Headers,
    /// More than 64 parts.
    #[error("a multipart body has more than 64 parts")]
    TooMany,
    /// More than eight multipart bodies inside each other.
    #[error("a multipart body is nested more than 8 deep")]
    TooDeep,
}

impl<'a> Part<'a> {
    /// The value of the first row of that name.
    pub fn row(&self, name: &str) -> Option<&'a [u8]> {
        let row = self.rows.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        row.map(|(_, value)| *value)
    }
}

/// Whether a Content-Type, parameters or not, is a multipart one.
pub fn is_multipart(content_type: &[u8]) -> bool {
    content_type.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"))
}

/// Reads a body of that Content-Type.
///
/// # Errors
/// See [`MultipartFault`].
//= IM X-11
pub fn read<'a>(content_type: &[u8], body: &'a [u8]) -> Result<Vec<Part<'a>>, MultipartFault> {
    read_within(content_type, body, DEEPEST, &mut MOST_PARTS.clone())
}

fn read_within<'a>(
    content_type: &[u8],
    body: &'a [u8],
    depth: usize,
    room: &mut usize,
) -> Result<Vec<Part<'a>>, MultipartFault> {
    let depth = depth.checked_sub(1).ok_or(MultipartFault::TooDeep)?;
    let mut parts = Vec::new();
    for (_, mut part) in pieces(content_type, body, room)? {
        let kind = part.row("Content-Type").filter(|kind| is_multipart(kind));
        if let Some(kind) = kind {
            part.parts = read_within(kind, part.body, depth, room)?;
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The parts of a body, and where the body of each begins in it; what they have inside is not looked into. `room` is for
/// how many parts there still is.
pub(super) fn pieces<'a>(
    content_type: &[u8],
    body: &'a [u8],
    room: &mut usize,
) -> Result<Vec<(usize, Part<'a>)>, MultipartFault> {
    let boundary = boundary(content_type).ok_or(MultipartFault::Boundary)?;
    let part = |(start, octets): (usize, &'a [u8])| {
        let part = entity(octets)?;
        let rows = octets.len().saturating_sub(part.body.len());
        Ok((start.saturating_add(rows), part))
    };
    cut(body, &boundary, room)?.into_iter().map(part).collect()
}

/// Reads octets that are a part on their own.
pub(super) fn entity(octets: &[u8]) -> Result<Part<'_>, MultipartFault> {
    let (rows, body) = head(octets)?;
    Ok(Part { rows, body, parts: Vec::new() })
}

/// What stands between the boundaries, and where it begins.
fn cut<'a>(
    body: &'a [u8],
    boundary: &[u8],
    room: &mut usize,
) -> Result<Vec<(usize, &'a [u8])>, MultipartFault> {
    let dashes = [b"--", boundary].concat();
    let mut parts = Vec::new();
    let mut begun: Option<usize> = None;
    for at in memmem::find_iter(body, &dashes) {
        // RFC 2046 5.1.1: a delimiter is a whole line, and the CRLF before it belongs to it.
        let before = body.get(..at).unwrap_or_default();
        let Some(end) = before.strip_suffix(b"\r\n").map(<[u8]>::len).or((at == 0).then_some(0)) else {
            continue;
        };
        let Some((length, last)) = delimiter(body.get(at..).unwrap_or_default(), dashes.len()) else {
            continue;
        };
        if let Some(start) = begun {
            *room = room.checked_sub(1).ok_or(MultipartFault::TooMany)?;
            // Two delimiters may share a CRLF: then the part between them is empty.
            parts.push((start, body.get(start..end.max(start)).unwrap_or_default()));
        }
        // RFC 2046 5.1.1: what stands before the first and after the last boundary is nobody's.
        if last {
            return if begun.is_some() { Ok(parts) } else { Err(MultipartFault::Empty) };
        }
        begun = Some(at.saturating_add(length));
    }
    Err(if begun.is_some() { MultipartFault::Open } else { MultipartFault::Empty })
}

/// The length of the delimiter line at the start, whose dashes and boundary are so long, and whether it is the last one.
fn delimiter(line: &[u8], dashes: usize) -> Option<(usize, bool)> {
    let rest = line.get(dashes..)?;
    let last = rest.starts_with(b"--");
    let rest = if last { rest.get(2..)? } else { rest };
    let padding = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let end = rest.get(padding..)?;
    match (end.starts_with(b"\r\n"), end.is_empty() && last) {
        (true, _) => Some((dashes.saturating_add(padding).saturating_add(2), last)),
        (false, true) => Some((line.len(), true)),
        (false, false) => None,
    }
}

/// The header rows of a part, and its body. RFC 2046 5.1.1: without rows it begins with an empty line; without a body
/// that line may lack.
fn head(octets: &[u8]) -> Result<(Vec<Row<'_>>, &[u8]), MultipartFault> {
    let mut rows = Vec::new();
    let mut rest = octets;
    loop {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return Ok((rows, body));
        }
        if rest.is_empty() {
            return Ok((rows, rest));
        }
        if rows.len() >= MOST_ROWS {
            return Err(MultipartFault::Headers);
        }
        let length = row_length(rest);
        let (row, after) = rest.split_at_checked(length).ok_or(MultipartFault::Headers)?;
        let colon = memchr::memchr(b':', row).ok_or(MultipartFault::Headers)?;
        let (name, value) = row.split_at_checked(colon).ok_or(MultipartFault::Headers)?;
        let name =
            std::str::from_utf8(name).map_err(|_| MultipartFault::Headers)?.trim_end_matches([' ', '\t']);
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(MultipartFault::Headers);
        }
        rows.push((name, value.get(1..).unwrap_or_default().trim_ascii()));
        rest = after.strip_prefix(b"\r\n").unwrap_or(after);
    }
}

/// Octets of the row at the start, its folds included and its last CRLF not.
fn row_length(octets: &[u8]) -> usize {
    memmem::find_iter(octets, b"\r\n")
        .find(|end| !matches!(octets.get(end.saturating_add(2)), Some(b' ' | b'\t')))
        .unwrap_or(octets.len())
}

/// The boundary that a Content-Type names.
fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let value = parameter(content_type, b"boundary")?;
    let allowed = |octet: &u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(octet);
    // RFC 2046 5.1.1: 1 to 70 of these characters, and no space at the end. Others that a token may have are taken too.
    let fits = (1..=LONGEST_BOUNDARY).contains(&value.len())
        && value.iter().all(|octet| allowed(octet) || octet.is_ascii_graphic())
        && value.last() != Some(&b' ');
    fits.then_some(value)
}
