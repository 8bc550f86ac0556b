//! XML from strangers, read element by element: one namespace counts, there is no DTD and no entity but the five of XML
//! itself, and nothing is nested deeply.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion, escape};

/// Elements inside each other.
const DEPTH: usize = 32;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// Octets that are no UTF-8, or a declaration of another encoding.
    #[error("the document is not UTF-8")]
    Encoding,
    /// A document type declaration: it could define entities, or fetch something.
    #[error("the document has a DTD")]
    Dtd,
    /// A reference to an entity that XML itself does not define.
    #[error("the document refers to the entity &{0};")]
    Entity(String),
    /// More than 32 elements inside each other.
    #[error("the document is nested too deeply")]
    Depth,
    /// Not well-formed.
    #[error("the document is not well-formed: {0}")]
    Malformed(String),
}

/// A document that is being read. Elements of other namespaces than the one that counts are passed over.
pub(crate) struct Xml<'x> {
    reader: NsReader<&'x [u8]>,
    namespace: &'static str,
    depth: usize,
    /// Whether an element, or its end, was seen.
    begun: bool,
}

/// The texts of all elements that have one of these local names, and the values of these attributes, each with that name
/// and cut after `most` characters; in the order of the document. Of whatever namespace: for documents that mix several,
/// and of which a few values are wanted.
///
/// # Errors
/// The document is no XML that we read, down to its end.
pub(crate) fn texts(
    octets: &[u8],
    elements: &[&'static str],
    attributes: &[(&str, &'static str)],
    most: usize,
) -> Result<Vec<(&'static str, String)>, XmlFault> {
    let (mut xml, root) = Xml::open(octets, "")?;
    let mut found = Vec::new();
    let mut piece = Piece::Start(root);
    loop {
        match piece {
            Piece::Start(element) => {
                let name = element.start.local_name().into_inner();
                for (_, attribute) in attributes.iter().filter(|(of, _)| *of == name) {
                    let value = element.attribute(attribute)?;
                    found.extend(value.map(|value| (*attribute, value.chars().take(most).collect())));
                }
                if let Some(wanted) = elements.iter().find(|wanted| **wanted == name) {
                    found.push((wanted, xml.text(most)?));
                }
            }
            Piece::End | Piece::Text(_) => {}
        }
        if xml.depth == 0 {
            return xml.close().map(|()| found);
        }
        piece = xml.next()?;
    }
}

/// The start of an element.
pub(crate) struct Element<'x> {
    start: BytesStart<'x>,
    /// Whether it is of the namespace that counts.
    ours: bool,
}

enum Piece<'x> {
    Start(Element<'x>),
    End,
    Text(String),
}

impl<'x> Xml<'x> {
    /// Opens a document and reads the start of its root.
    pub(crate) fn open(
        octets: &'x [u8],
        namespace: &'static str,
    ) -> Result<(Xml<'x>, Element<'x>), XmlFault> {
        let text = std::str::from_utf8(octets).map_err(|_| XmlFault::Encoding)?;
        let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let config = reader.config_mut();
        (config.expand_empty_elements, config.check_comments) = (true, true);
        let mut xml = Xml { reader, namespace, depth: 0, begun: false };
        match xml.next()? {
            Piece::Start(root) => Ok((xml, root)),
            Piece::End | Piece::Text(_) => Err(XmlFault::Malformed("there is no element".into())),
        }
    }

    /// Calls `each` for every child element of the namespace, up to the end of the element whose start was read last.
    /// What `each` leaves unread of a child is passed over.
    pub(crate) fn children<F: From<XmlFault>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Element<'x>) -> Result<(), F>,
    ) -> Result<(), F> {
        let own = self.depth;
        loop {
            match self.next()? {
                Piece::Start(child) => {
                    if child.ours {
                        each(self, child)?;
                    }
                    self.pass_over(own)?;
                }
                Piece::End => return Ok(()),
                Piece::Text(_) => {}
            }
        }
    }

    /// The text of the element whose start was read last, without white space around it, cut after `most` characters.
    pub(crate) fn text(&mut self, most: usize) -> Result<String, XmlFault> {
        let own = self.depth;
        let mut text = String::new();
        loop {
            match self.next()? {
                Piece::Start(_) => self.pass_over(own)?,
                Piece::End => break,
                // Four octets a character, and white space that falls away.
                Piece::Text(piece) if text.len() <= most.saturating_mul(8) => text.push_str(&piece),
                Piece::Text(_) => {}
            }
        }
        Ok(text.trim().chars().take(most).collect())
    }

    /// Makes sure that nothing but comments follows the root.
    pub(crate) fn close(mut self) -> Result<(), XmlFault> {
        loop {
            match self.event()?.1 {
                Event::Eof => return Ok(()),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if text.trim().is_empty() => {}
                Event::DocType(_) => return Err(XmlFault::Dtd),
                Event::Text(_)
                | Event::Start(_)
                | Event::End(_)
                | Event::Empty(_)
                | Event::CData(_)
                | Event::Decl(_)
                | Event::GeneralRef(_) => {
                    return Err(XmlFault::Malformed("something follows the root element".into()));
                }
            }
        }
    }

    /// Reads on until no more than `depth` elements are open.
    fn pass_over(&mut self, depth: usize) -> Result<(), XmlFault> {
        while self.depth > depth {
            self.next()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Piece<'x>, XmlFault> {
        loop {
            let first = !std::mem::replace(&mut self.begun, true);
            let (ours, event) = self.event()?;
            match event {
                Event::Start(start) => {
                    self.depth = self.depth.saturating_add(1);
                    if self.depth > DEPTH {
                        return Err(XmlFault::Depth);
                    }
                    for attribute in start.attributes() {
                        attribute.map_err(|fault| XmlFault::Malformed(fault.to_string()))?;
                    }
                    return Ok(Piece::Start(Element { start, ours }));
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Piece::End);
                }
                Event::Text(text) if self.depth > 0 => {
                    return Ok(Piece::Text(text.xml_content(XmlVersion::Implicit1_0).into_owned()));
                }
                Event::CData(data) if self.depth > 0 => {
                    return Ok(Piece::Text(data.xml_content(XmlVersion::Implicit1_0).into_owned()));
                }
                Event::GeneralRef(name) if self.depth > 0 => {
                    let malformed = |fault: quick_xml::Error| XmlFault::Malformed(fault.to_string());
                    let text = match name.resolve_char_ref().map_err(malformed)? {
                        Some(character) => character.to_string(),
                        None => escape::resolve_xml_entity(&name)
                            .ok_or_else(|| XmlFault::Entity(name.chars().take(32).collect()))?
                            .to_owned(),
                    };
                    return Ok(Piece::Text(text));
                }
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                Event::Decl(declaration) if first => {
                    let encoding = declaration.encoding().transpose();
                    let encoding = encoding.map_err(|fault| XmlFault::Malformed(fault.to_string()))?;
                    // RFC 4575 4.1, and every other document that we read: UTF-8.
                    let utf8 = |name: &str| ["utf-8", "us-ascii"].contains(&&*name.to_ascii_lowercase());
                    if !encoding.is_none_or(|name| utf8(&name)) {
                        return Err(XmlFault::Encoding);
                    }
                }
                Event::DocType(_) => return Err(XmlFault::Dtd),
                Event::Decl(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::GeneralRef(_)
                | Event::Empty(_)
                | Event::Eof => {
                    return Err(XmlFault::Malformed("the root element is not whole".into()));
                }
            }
        }
    }

    /// The next event, and whether it is an element of the namespace that counts.
    fn event(&mut self) -> Result<(bool, Event<'x>), XmlFault> {
        let namespace = self.namespace;
        let (resolved, event) = self
            .reader
            .read_resolved_event()
            .map_err(|fault| XmlFault::Malformed(fault.to_string().chars().take(200).collect()))?;
        match resolved {
            ResolveResult::Bound(bound) => Ok((bound.into_inner() == namespace, event)),
            ResolveResult::Unbound => Ok((false, event)),
            ResolveResult::Unknown(_) => Err(XmlFault::Malformed("a prefix without a namespace".into())),
        }
    }
}

impl Element<'_> {
    /// The local name; empty for an element of another namespace.
    pub(crate) fn name(&self) -> &str {
        if self.ours { self.start.local_name().into_inner() } else { "" }
    }

    /// The value of an attribute that has no prefix, if there is one.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<String>, XmlFault> {
        let malformed = |fault: String| XmlFault::Malformed(fault.chars().take(200).collect());
        let attribute = self.start.try_get_attribute(name).map_err(|fault| malformed(fault.to_string()))?;
        let value = attribute.map(|attribute| attribute.normalized_value(XmlVersion::Implicit1_0));
        match value.transpose() {
            Ok(value) => Ok(value.map(|value| value.into_owned())),
            // What an attribute refers to is bound by the same rules as text.
            Err(fault) => Err(malformed(fault.to_string())),
        }
    }
}

impl Element<'_> {
    /// The value of the first attribute of that local name that has a prefix, whichever: for a name that only one
    /// namespace gives to attributes here.
    pub(crate) fn foreign_attribute(&self, name: &str) -> Result<Option<String>, XmlFault> {
        let mut attributes = self.start.attributes().flatten();
        let found = attributes.find(|attribute| {
            attribute.key.prefix().is_some() && attribute.key.local_name().into_inner() == name
        });
        let value = found.map(|attribute| attribute.normalized_value(XmlVersion::Implicit1_0)).transpose();
        value
            .map(|value| value.map(|value| value.into_owned()))
            .map_err(|fault| XmlFault::Malformed(fault.to_string().chars().take(200).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(document: &str) -> Result<String, XmlFault> {
        let (mut xml, root) = Xml::open(document.as_bytes(), "urn:ours")?;
        assert_eq!(root.name(), "a");
        let mut text = String::new();
        xml.children::<XmlFault>(|xml, child| {
            if child.name() == "b" {
                text = xml.text(10)?;
            }
            Ok(())
        })?;
        xml.close().map(|()| text)
    }

    #[test]
    fn text_is_read_whatever_it_is_wrapped_in() {
        let within = |inner: &str| text_of(&format!("<a xmlns='urn:ours'><b>{inner}</b></a>"));
        assert_eq!(within(" one ").unwrap(), "one");
        assert_eq!(within("<![CDATA[<&]]>&lt;&#65;&#x42;&amp;").unwrap(), "<&<AB&");
        assert_eq!(within("1<c>no<d/></c>2<!-- no -->3").unwrap(), "123");
        assert_eq!(within(&"x".repeat(5000)).unwrap(), "x".repeat(10));
        assert_eq!(
            text_of(
                "<?xml version='1.0' encoding='Utf-8'?>\n<p:a xmlns:p='urn:ours'><p:b>x</p:b></p:a>\n<!-- -->"
            )
            .unwrap(),
            "x"
        );
        assert_eq!(text_of("<a xmlns='urn:ours'><b xmlns='urn:other'>x</b></a>").unwrap(), "");
        assert_eq!(text_of("\u{feff}<a xmlns='urn:ours'/>").unwrap(), "");
    }

    //= IM X-25 test
    #[test]
    fn x_25_no_dtd_no_entities_no_depth() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'boom'>]><a xmlns='urn:ours'><b>&x;</b></a>";
        assert_eq!(text_of(bomb), Err(XmlFault::Dtd));
        let after = "<a xmlns='urn:ours'/><!DOCTYPE a>";
        assert_eq!(text_of(after), Err(XmlFault::Dtd));
        let entity = "<a xmlns='urn:ours'><b>&x;</b></a>";
        assert_eq!(text_of(entity), Err(XmlFault::Entity("x".into())));
        let nested = |depth: usize| {
            let (open, end) = ("<c>".repeat(depth - 1), "</c>".repeat(depth - 1));
            text_of(&format!("<a xmlns='urn:ours'>{open}{end}</a>"))
        };
        assert_eq!(nested(32).unwrap(), "");
        assert_eq!(nested(33), Err(XmlFault::Depth));
        assert_eq!(nested(100_000), Err(XmlFault::Depth));
    }

    #[test]
    fn what_is_no_xml_is_told() {
        let malformed = |document: &str| matches!(text_of(document), Err(XmlFault::Malformed(_)));
        for document in [
            "",
            "text",
            "<a",
            "<a xmlns='urn:ours'>",
            "<a xmlns='urn:ours'><b></a></b>",
            "<a xmlns='urn:ours'/><a/>",
            "<a xmlns='urn:ours'/>text",
            "text<a xmlns='urn:ours'/>",
            "<a xmlns='urn:ours' x='1' x='2'/>",
            "<a xmlns='urn:ours'><p:b/></a>",
            "<a xmlns='urn:ours'>&#xD800;</a>",
        ] {
            assert!(malformed(document), "{document}: {:?}", text_of(document));
        }
        assert!(matches!(Xml::open(b"<a>\xff</a>", "urn:ours"), Err(XmlFault::Encoding)));
        assert_eq!(text_of("<?xml version='1.0' encoding='UTF-16'?><a/>"), Err(XmlFault::Encoding));
    }
}
