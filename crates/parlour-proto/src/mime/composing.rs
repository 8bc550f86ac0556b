//! Whether somebody is writing: `application/im-iscomposing+xml` (RFC 3994).

use std::fmt::Write as _;
use std::time::Duration;

use quick_xml::escape::escape;

use super::xml::{Xml, XmlFault};

/// The media type.
pub const MEDIA_TYPE: &str = "application/im-iscomposing+xml";

/// RFC 3994 6.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// Octets of a document; the usual one has 200.
pub const LONGEST: usize = 8 * 1024;

/// Characters of a text in it; what is longer is cut.
const LONGEST_TEXT: usize = 128;

/// How long an active state holds that does not say for how long (RFC 3994 3.3).
pub const REFRESH: Duration = Duration::from_secs(120);

/// A state, as somebody tells his own. The texts are as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Composing {
    /// Whether he is writing, or has stopped.
    pub active: bool,
    /// When he last wrote something.
    pub last_active: Option<String>,
    /// What he is making: a media type, or the first half of one, such as `audio`.
    pub content_type: Option<String>,
    /// How long an active state holds if it is not told again, more than nothing.
    pub refresh: Option<Duration>,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More octets than [`LONGEST`].
    #[error("the document has {0} octets, more than {LONGEST}")]
    Length(usize),
    /// No XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlFault),
    /// Another document.
    #[error("the document is no isComposing")]
    Root,
    /// It tells no state.
    #[error("the document tells no state")]
    State,
}

/// Whether a Content-Type, parameters or not, is that of a typing state.
pub fn is_composing(content_type: &str) -> bool {
    parlour_msrp::accept::essence(content_type).eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Reads a document.
///
/// # Errors
/// See [`Fault`].
//= IM M-42
//= IM X-25
pub fn parse(octets: &[u8]) -> Result<Composing, Fault> {
    if octets.len() > LONGEST {
        return Err(Fault::Length(octets.len()));
    }
    let (mut xml, root) = Xml::open(octets, NAMESPACE)?;
    if root.name() != "isComposing" {
        return Err(Fault::Root);
    }
    let mut state = None;
    let mut composing = Composing::default();
    xml.children::<Fault>(|xml, child| {
        let text = |xml: &mut Xml<'_>| xml.text(LONGEST_TEXT);
        match child.name() {
            "state" => state = Some(text(xml)?),
            "lastactive" => composing.last_active = Some(text(xml)?).filter(|text| !text.is_empty()),
            "contenttype" => composing.content_type = Some(text(xml)?).filter(|text| !text.is_empty()),
            // xs:positiveInteger; anything else says nothing.
            "refresh" => {
                let seconds = text(xml)?.parse::<u32>().ok().filter(|seconds| *seconds > 0);
                composing.refresh = seconds.map(|seconds| Duration::from_secs(seconds.into()));
            }
            _ => {}
        }
        Ok(())
    })?;
    xml.close()?;
    // RFC 3994 3.5: a state of an extension counts as idle.
    composing.active = state.ok_or(Fault::State)? == "active";
    Ok(composing)
}

/// The document that tells a state. A refresh is written in whole seconds, at least one.
//= IM M-40
pub fn write(composing: &Composing) -> Vec<u8> {
    let state = if composing.active { "active" } else { "idle" };
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"{NAMESPACE}\"><state>{state}</state>"
    );
    let texts = [("lastactive", &composing.last_active), ("contenttype", &composing.content_type)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))) {
        // Writing to a String cannot fail.
        let _ = write!(out, "<{name}>{}</{name}>", escape(text));
    }
    if let Some(refresh) = composing.refresh {
        let _ = write!(out, "<refresh>{}</refresh>", refresh.as_secs().max(1));
    }
    out.push_str("</isComposing>\r\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str) -> Result<Composing, Fault> {
        parse(format!("<isComposing xmlns='{NAMESPACE}'>{inner}</isComposing>").as_bytes())
    }

    //= IM M-42 test
    #[test]
    fn what_peers_write_is_read() {
        // RFC 3994 5.
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"\n\
            xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\n\
            xsi:schemaLocation=\"urn:ietf:params:xml:ns:im-composing iscomposing.xsd\">\n\
            <state>active</state>\n<contenttype>text/plain</contenttype>\n<refresh>90</refresh>\n</isComposing>\n";
        let expected = Composing {
            active: true,
            last_active: None,
            content_type: Some("text/plain".into()),
            refresh: Some(Duration::from_secs(90)),
        };
        assert_eq!(parse(document.as_bytes()), Ok(expected));
        let prefixed =
            format!("<c:isComposing xmlns:c='{NAMESPACE}'><c:state> idle </c:state></c:isComposing>");
        assert_eq!(parse(prefixed.as_bytes()), Ok(Composing::default()));
        let idle = read("<state>idle</state><lastactive>2003-01-27T10:43:00Z</lastactive>").unwrap();
        assert_eq!(idle.last_active.as_deref(), Some("2003-01-27T10:43:00Z"));
    }

    //= IM M-42 test
    #[test]
    fn an_unknown_state_is_idle_and_a_refresh_that_is_none_says_nothing() {
        assert!(!read("<state>pondering</state>").unwrap().active);
        for refresh in ["0", "-5", "soon", "", "99999999999"] {
            let told = read(&format!("<state>active</state><refresh>{refresh}</refresh>")).unwrap();
            assert_eq!((told.active, told.refresh), (true, None), "{refresh}");
        }
        let foreign = read("<state>active</state><x:state xmlns:x='urn:x'>idle</x:state>").unwrap();
        assert!(foreign.active, "elements of other namespaces are passed over");
    }

    //= IM X-25 test
    #[test]
    fn what_is_no_such_document_is_told() {
        assert_eq!(read(""), Err(Fault::State));
        assert_eq!(parse(b"<isComposing><state>active</state></isComposing>"), Err(Fault::Root));
        assert!(matches!(parse(b"active"), Err(Fault::Xml(_))));
        assert_eq!(parse(b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><isComposing/>"), Err(Fault::Xml(XmlFault::Dtd)));
        assert!(matches!(read(&"x".repeat(LONGEST)), Err(Fault::Length(_))));
    }

    //= IM M-40 test
    #[test]
    fn what_we_write_reads_back() {
        let active = Composing {
            active: true,
            last_active: Some("2026-01-01T00:00:00Z".into()),
            content_type: Some("a&b<c>".into()),
            refresh: Some(Duration::from_secs(60)),
        };
        for composing in [active, Composing::default()] {
            assert_eq!(parse(&write(&composing)), Ok(composing));
        }
    }
}
