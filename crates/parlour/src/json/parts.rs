//! What a message is made of, as JSON and back.

use parlour_proto::mime::content::{Coding, Disposition, Kind, Part, Place};
use parlour_proto::mime::cpim::Mailbox;
use serde::{Deserialize, Serialize};

/// A part, in the words of docs/json.md.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartLine {
    kind: String,
    content_type: String,
    disposition: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coding: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authors: Vec<Author>,
    #[serde(default, skip_serializing_if = "is_false")]
    unverified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// Who wrote it, as a wrapping says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Author {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

const KINDS: [(&str, Kind); 8] = [
    ("text", Kind::Text),
    ("html", Kind::Html),
    ("image", Kind::Image),
    ("card", Kind::Card),
    ("location", Kind::Location),
    ("external", Kind::External),
    ("protected", Kind::Protected),
    ("other", Kind::Other),
];

const DISPOSITIONS: [(&str, Disposition); 2] =
    [("render", Disposition::Render), ("attachment", Disposition::Attachment)];

const CODINGS: [(&str, Coding); 3] = [
    ("identity", Coding::Identity),
    ("base64", Coding::Base64),
    ("quoted-printable", Coding::QuotedPrintable),
];

/// The parts of a message.
pub(super) fn lines(parts: &[Part]) -> Vec<PartLine> {
    parts.iter().map(PartLine::from).collect()
}

/// Those who wrote a message.
pub(super) fn authors(mailboxes: &[Mailbox]) -> Vec<Author> {
    mailboxes.iter().map(Author::from).collect()
}

/// What the line of a message that came tells of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Empty where the octets say all.
    pub(crate) parts: Vec<Part>,
    pub(crate) authors: Vec<Mailbox>,
    pub(crate) claimed_from: Option<String>,
    pub(crate) sent_at: Option<String>,
    pub(crate) size: u64,
}

/// Reads such a line.
pub(crate) fn told(json: &str) -> Told {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        parts: Vec<PartLine>,
        #[serde(default)]
        authors: Vec<Author>,
        claimed_from: Option<String>,
        sent_at: Option<String>,
        #[serde(default)]
        size: u64,
    }
    let Ok(Line { parts, authors, claimed_from, sent_at, size }) = serde_json::from_str(json) else {
        return Told::default();
    };
    let parts = parts.into_iter().map(Part::from).collect();
    let authors = authors.into_iter().map(Mailbox::from).collect();
    Told { parts, authors, claimed_from, sent_at, size }
}

fn word<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

fn value<T: Copy>(wanted: &str, words: &[(&'static str, T)], other: T) -> T {
    words.iter().find(|(word, _)| *word == wanted).map_or(other, |(_, value)| *value)
}

impl From<&Part> for PartLine {
    fn from(part: &Part) -> Self {
        let Part { content_type, name, text, about, trouble, .. } = part.clone();
        let coding = part.place.map(|place| place.coding).filter(|coding| *coding != Coding::Identity);
        PartLine {
            kind: word(&part.kind, &KINDS).into(),
            content_type,
            disposition: word(&part.disposition, &DISPOSITIONS).into(),
            size: part.size,
            name,
            text,
            about,
            offset: part.place.map(|place| place.offset),
            length: part.place.map(|place| place.length),
            coding: coding.map(|coding| word(&coding, &CODINGS).into()),
            authors: authors(&part.authors),
            unverified: part.unverified,
            trouble,
        }
    }
}

impl From<PartLine> for Part {
    fn from(line: PartLine) -> Self {
        let coding =
            line.coding.as_deref().map_or(Coding::Identity, |word| value(word, &CODINGS, Coding::Identity));
        let place = line.offset.zip(line.length).map(|(offset, length)| Place { offset, length, coding });
        Part {
            content_type: line.content_type,
            kind: value(&line.kind, &KINDS, Kind::Other),
            disposition: value(&line.disposition, &DISPOSITIONS, Disposition::Attachment),
            name: line.name,
            text: line.text,
            about: line.about,
            size: line.size,
            place,
            authors: line.authors.into_iter().map(Mailbox::from).collect(),
            unverified: line.unverified,
            trouble: line.trouble,
        }
    }
}

impl From<&Mailbox> for Author {
    fn from(mailbox: &Mailbox) -> Self {
        Author { address: mailbox.uri.clone(), display_name: mailbox.name.clone() }
    }
}

impl From<Author> for Mailbox {
    fn from(author: Author) -> Self {
        Mailbox { name: author.display_name, uri: author.address }
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::mime::content::{Head, read};

    use super::*;

    #[test]
    fn parts_come_back_from_their_lines() {
        let body = b"--b\r\nContent-Type: message/cpim\r\n\r\nFrom: Al <im:a@x>\r\n\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
            --b\r\nContent-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment\r\n\r\niVA=\r\n--b\r\nContent-Type: text/plain; charset=x-odd\r\n\r\nx\r\n--b--";
        let head = Head { content_type: Some(b"multipart/mixed; boundary=b"), ..Head::default() };
        let parts = read(head, body);
        assert_eq!(parts.len(), 3);
        let line =
            serde_json::json!({ "parts": lines(&parts), "authors": [{"address": "sip:a@x"}] }).to_string();
        let author = Mailbox { name: None, uri: "sip:a@x".into() };
        let back = told(&line);
        assert_eq!((back.parts, back.authors), (parts, vec![author]));
        assert!(told("{}").parts.is_empty());
    }
}
