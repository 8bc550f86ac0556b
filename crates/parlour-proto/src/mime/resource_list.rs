//! Who else is invited: `application/resource-lists+xml` (RFC 4826 3) with copy control (RFC 5364), as a server that
//! invites several sends it (RFC 5366). External lists and references to entries elsewhere are passed over: nothing is
//! fetched.

use super::xml::{Element, Xml, XmlFault};

/// The media type.
pub const MEDIA_TYPE: &str = "application/resource-lists+xml";

/// RFC 4826 3.2.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:resource-lists";

/// Entries that are read; the others are left out.
pub const MOST_ENTRIES: usize = 256;

/// Octets of a URI; an entry with a longer one is left out.
const LONGEST_URI: usize = 2048;

/// Characters of a display name; what is longer is cut.
const LONGEST_NAME: usize = 256;

/// One entry of a list. The strings are as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The address.
    pub uri: String,
    /// The name.
    pub display_name: Option<String>,
    /// What the entry is to the others.
    pub copy: CopyControl,
    /// For how many it stands: those who stay anonymous share one entry (RFC 5364 5).
    pub count: u32,
}

/// How somebody is addressed (RFC 5364 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyControl {
    /// One of those whom it is for.
    To,
    /// Gets a copy, and all may know.
    Cc,
    /// Gets a copy, and the others are not told.
    Bcc,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlFault),
    /// Another document.
    #[error("the document is no resource-lists")]
    Root,
}

/// Reads a document: the entries of all its lists, in order.
///
/// # Errors
/// It is no XML that we read, or another document.
pub fn parse(octets: &[u8]) -> Result<Vec<Entry>, Fault> {
    let (mut xml, root) = Xml::open(octets, NAMESPACE)?;
    if root.name() != "resource-lists" {
        return Err(Fault::Root);
    }
    let mut entries = Vec::new();
    list(&mut xml, &mut entries)?;
    xml.close()?;
    Ok(entries)
}

/// Lists may stand in lists; the reader bounds how deep.
fn list(xml: &mut Xml<'_>, entries: &mut Vec<Entry>) -> Result<(), Fault> {
    xml.children(|xml, child| {
        match child.name() {
            "list" => list(xml, entries)?,
            "entry" => entries.extend(entry(xml, &child)?.filter(|_| entries.len() < MOST_ENTRIES)),
            _ => {}
        }
        Ok(())
    })
}

fn entry(xml: &mut Xml<'_>, element: &Element<'_>) -> Result<Option<Entry>, Fault> {
    let uri = element.attribute("uri")?.filter(|uri| !uri.is_empty() && uri.len() <= LONGEST_URI);
    let copy = match element.foreign_attribute("copyControl")?.as_deref() {
        Some("to") => CopyControl::To,
        Some("cc") => CopyControl::Cc,
        // RFC 5364 4: so it is if nothing is said.
        Some(_) | None => CopyControl::Bcc,
    };
    let count = element.foreign_attribute("count")?.and_then(|count| count.trim().parse().ok()).unwrap_or(1);
    let mut display_name = None;
    xml.children::<Fault>(|xml, child| {
        if child.name() == "display-name" && display_name.is_none() {
            display_name = Some(xml.text(LONGEST_NAME)?).filter(|name| !name.is_empty());
        }
        Ok(())
    })?;
    Ok(uri.map(|uri| Entry { uri, display_name, copy, count }))
}
