//! What a message is made of: its body taken apart into what is shown and what is kept (RFC 2046 5, RFC 2183, RFC 2387,
//! RFC 1847, RFC 3862). The octets stay as they came; parts say where they lie in them.
//!
//! A body that cannot be taken apart is no fault of the message: it is one part then, which says what is wrong with it.

mod about;
mod read;
mod types;

use super::cpim::Mailbox;
pub use super::transfer::Coding;

pub use read::{Head, read, unread};
pub use types::{Container, KNOWN, Listed, Multipart, Treatment, known, taken_unlisted};

/// Characters of a media type, a file name and a description that are kept.
pub const LONGEST_TEXT: usize = 256;

/// One piece of a message. Texts are as received: neutralise them before they reach a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its media type with parameters.
    pub content_type: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it is to be shown with the message, or kept beside it.
    pub disposition: Disposition,
    /// The file name that it proposes: one to show, not one to open.
    pub name: Option<String>,
    /// What it says, where that is a text.
    pub text: Option<String>,
    /// What it is, in a few words, where that is more than its type: a name, a place.
    pub about: Option<String>,
    /// How many octets it has.
    pub size: u64,
    /// Where they lie; `None` if they lie inside octets that are coded, or are not in one piece.
    pub place: Option<Place>,
    /// Who wrote it, as the message/cpim around it inside the message say: the outermost first, each of whom vouches for
    /// the next one (RFC 4975 14.5).
    pub authors: Vec<Mailbox>,
    /// Whether it was signed: nobody has verified that.
    pub unverified: bool,
    /// Why it is not shown, if something is wrong with it.
    pub trouble: Option<String>,
}

/// Where the octets of a part lie in the body of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Octets before them.
    pub offset: u64,
    /// How many they are there.
    pub length: u64,
    /// How they are written there.
    pub coding: Coding,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text to read.
    Text,
    /// HTML, of which the text is told.
    Html,
    /// A picture.
    Image,
    /// A business card.
    Card,
    /// A place on earth.
    Location,
    /// Something that lies elsewhere, which nobody fetches.
    External,
    /// Something encrypted, or signed in a way that hides what it is.
    Protected,
    /// Anything else.
    Other,
}

/// What the sender wants done with a part (RFC 2183 2, RFC 3261 20.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is part of what is said.
    Render,
    /// It comes along.
    Attachment,
}

impl Part {
    /// Whether it is text that is shown with the message.
    pub fn is_shown(&self) -> bool {
        self.disposition == Disposition::Render && self.text.is_some()
    }
}

/// The text of a message: of its parts that are shown, one after the other. `None` if there is none.
pub fn text(parts: &[Part]) -> Option<String> {
    let texts: Vec<&str> =
        parts.iter().filter(|part| part.is_shown()).filter_map(|part| part.text.as_deref()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Whether the body is nothing but one text that is shown, and its octets are that text in UTF-8: then they say all.
pub fn is_plain(parts: &[Part], body: &[u8]) -> bool {
    let [part] = parts else { return false };
    part.kind == Kind::Text
        && part.is_shown()
        && !part.unverified
        && part.about.is_none()
        && part.authors.is_empty()
        && part.text.as_deref().is_some_and(|text| text.as_bytes() == body)
}
