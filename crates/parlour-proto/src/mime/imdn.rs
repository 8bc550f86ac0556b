//! What became of a message: `message/imdn+xml` (RFC 5438 11), and the headers that ask for it (RFC 5438 6).

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::cpim::{Cpim, Header};
use super::multipart::{self, MultipartFault};
use super::xml::{Xml, XmlFault};

/// The media type.
pub const MEDIA_TYPE: &str = "message/imdn+xml";

/// RFC 5438 6.1: the namespace of the headers.
pub const HEADERS: &str = "urn:ietf:params:imdn";

/// The headers of that namespace that mean something to us.
pub const KNOWN: &[&str] =
    &["Message-ID", "Disposition-Notification", "Original-To", "IMDN-Record-Route", "IMDN-Route"];

/// RFC 5438 11.1.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";

/// Octets of a document; the usual one has 400.
pub const LONGEST: usize = 16 * 1024;

/// Characters of a text in it, and of a header that asks: a Message-ID that is longer names nothing.
const LONGEST_TEXT: usize = 1024;

/// Hops that a notification takes at most.
const MOST_ROUTES: usize = 16;

/// Octets of who asks and of the way to him: a request that says more is not answered.
const MOST_OCTETS: usize = 2048;

/// What a notification tells (RFC 5438 5). `Forbidden` and `Error` are about the notification that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the message came to its recipient.
    Delivery,
    /// What a server on the way did with it.
    Processing,
    /// Whether the recipient was shown it.
    Display,
}

/// What became of it (RFC 5438 11.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It is there.
    Delivered,
    /// It will not be there.
    Failed,
    /// It was shown.
    Displayed,
    /// A server has passed it on.
    Processed,
    /// A server keeps it until the recipient is there.
    Stored,
    /// The recipient, or a server, does not want that told.
    Forbidden,
    /// It cannot be told.
    Error,
}

impl Status {
    const WORDS: [(&str, Status); 7] = [
        ("delivered", Status::Delivered),
        ("failed", Status::Failed),
        ("displayed", Status::Displayed),
        ("processed", Status::Processed),
        ("stored", Status::Stored),
        ("forbidden", Status::Forbidden),
        ("error", Status::Error),
    ];
}

/// A notification. The texts are as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The Message-ID of the message that it is about.
    pub message_id: String,
    /// When that was sent.
    pub date_time: Option<String>,
    /// To whom.
    pub recipient: Option<String>,
    /// To whom it was before a server sent it on.
    pub original_recipient: Option<String>,
    /// What it tells.
    pub kind: Kind,
    /// What became of the message.
    pub status: Status,
}

/// What the author of a message wants to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// How he names it.
    pub message_id: String,
    /// When he sent it, as received.
    pub date_time: Option<String>,
    /// Who he is: the URI of CPIM From.
    pub author: Option<String>,
    /// The URI of Original-To.
    pub original_to: Option<String>,
    /// The way that notifications take: the values of IMDN-Record-Route in order.
    pub routes: Vec<String>,
    /// Whether he wants to know that it is delivered.
    pub delivered: bool,
    /// Whether he wants to know if it cannot be.
    pub failed: bool,
    /// Whether he wants to know when it is shown.
    pub displayed: bool,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More octets than [`LONGEST`].
    #[error("the notification has {0} octets, more than {LONGEST}")]
    Length(usize),
    /// No XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlFault),
    /// Several notifications that cannot be told apart.
    #[error(transparent)]
    Multipart(#[from] MultipartFault),
    /// Another document.
    #[error("the document is no imdn")]
    Root,
    /// It does not name the message.
    #[error("the notification names no message")]
    MessageId,
    /// It does not say what became of the message.
    #[error("the notification tells no status")]
    Status,
}

/// Whether this is a notification, or several: by its media type, or as aggregated ones are marked (RFC 5438 8.3).
pub fn is_notification(cpim: &Cpim) -> bool {
    let kind = parlour_msrp::accept::essence(&cpim.content_type);
    let marked = cpim.content_headers.iter().any(|(name, value)| {
        let value = value.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("Content-Disposition") && value.eq_ignore_ascii_case("notification")
    });
    kind.eq_ignore_ascii_case(MEDIA_TYPE) || (marked && kind.eq_ignore_ascii_case("multipart/mixed"))
}

/// The name of a message, if it has one that is of use.
pub fn message_id(cpim: &Cpim) -> Option<&str> {
    cpim.header(HEADERS, "Message-ID").map(str::trim).filter(is_short)
}

fn is_short(text: &&str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST_TEXT
}

/// What the author of a message asks for, if anything. Of notifications nobody asks (RFC 5438 7.2.1).
//= IM M-50
//= IM M-51
pub fn asked(cpim: &Cpim) -> Option<Asked> {
    if is_notification(cpim) {
        return None;
    }
    let value = |name: &str| cpim.header(HEADERS, name).map(str::trim);
    let wanted = value("Disposition-Notification").filter(is_short)?;
    let wants = |word: &str| {
        let mut words = wanted.split(',').map(|word| word.split(';').next().unwrap_or_default().trim());
        words.any(|wanted| wanted == word)
    };
    let is_route =
        |header: &&Header| header.namespace.as_deref() == Some(HEADERS) && header.name == "IMDN-Record-Route";
    let routes: Vec<_> = cpim.headers.iter().filter(is_route).map(|header| header.value.clone()).collect();
    let uri = |value: &str| value.rsplit_once('<').map(|(_, uri)| uri.trim_end_matches('>').to_owned());
    let asked = Asked {
        // RFC 5438 7.1.1.1: who asks names the message.
        message_id: message_id(cpim)?.to_owned(),
        date_time: cpim.date_time.clone(),
        author: cpim.from.as_ref().map(|from| from.uri.clone()),
        original_to: value("Original-To").filter(is_short).and_then(uri),
        routes,
        delivered: wants("positive-delivery"),
        failed: wants("negative-delivery"),
        displayed: wants("display"),
    };
    let any = asked.delivered || asked.failed || asked.displayed;
    let texts = asked.routes.iter().chain(&asked.date_time).chain(&asked.author);
    let octets = texts.fold(0, |sum: usize, text| sum.saturating_add(text.len()));
    (any && asked.routes.len() <= MOST_ROUTES && octets <= MOST_OCTETS).then_some(asked)
}

/// Reads what a body with that Content-Type tells: one notification, or several in a `multipart/mixed` (RFC 5438 8.3).
///
/// # Errors
/// See [`Fault`]. Parts of other types are passed over.
//= IM X-25
pub fn read(content_type: &str, body: &[u8]) -> Result<Vec<Notification>, Fault> {
    if !multipart::is_multipart(content_type.as_bytes()) {
        return parse(body).map(|told| vec![told]);
    }
    let is_ours = |kind: &[u8]| {
        let kind = String::from_utf8_lossy(kind);
        parlour_msrp::accept::essence(&kind).eq_ignore_ascii_case(MEDIA_TYPE)
    };
    let parts = multipart::read(content_type.as_bytes(), body)?;
    let ours = parts.iter().filter(|part| part.row("Content-Type").is_some_and(is_ours));
    ours.map(|part| parse(part.body)).collect()
}

/// Reads one document.
///
/// # Errors
/// See [`Fault`].
pub fn parse(octets: &[u8]) -> Result<Notification, Fault> {
    if octets.len() > LONGEST {
        return Err(Fault::Length(octets.len()));
    }
    let (mut xml, root) = Xml::open(octets, NAMESPACE)?;
    if root.name() != "imdn" {
        return Err(Fault::Root);
    }
    let (mut message_id, mut date_time, mut recipient, mut original_recipient) = (None, None, None, None);
    let mut told = None;
    xml.children::<Fault>(|xml, child| {
        let text = |xml: &mut Xml<'_>| -> Result<Option<String>, XmlFault> {
            Ok(Some(xml.text(LONGEST_TEXT)?).filter(|text| !text.is_empty()))
        };
        match child.name() {
            "message-id" => message_id = text(xml)?,
            "datetime" => date_time = text(xml)?,
            "recipient-uri" => recipient = text(xml)?,
            "original-recipient-uri" => original_recipient = text(xml)?,
            "delivery-notification" => told = told.or(status(xml)?.map(|status| (Kind::Delivery, status))),
            "processing-notification" => {
                told = told.or(status(xml)?.map(|status| (Kind::Processing, status)));
            }
            "display-notification" => told = told.or(status(xml)?.map(|status| (Kind::Display, status))),
            _ => {}
        }
        Ok(())
    })?;
    xml.close()?;
    let (kind, status) = told.ok_or(Fault::Status)?;
    let message_id = message_id.ok_or(Fault::MessageId)?;
    Ok(Notification { message_id, date_time, recipient, original_recipient, kind, status })
}

/// The first status that we know.
fn status(xml: &mut Xml<'_>) -> Result<Option<Status>, Fault> {
    let mut found = None;
    xml.children::<Fault>(|xml, child| {
        if child.name() == "status" {
            xml.children::<Fault>(|_, word| {
                let known = Status::WORDS.iter().find(|(name, _)| *name == word.name());
                found = found.or(known.map(|(_, status)| *status));
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The document that tells it.
//= IM M-50
pub fn write(told: &Notification) -> Vec<u8> {
    let kind = match told.kind {
        Kind::Delivery => "delivery",
        Kind::Processing => "processing",
        Kind::Display => "display",
    };
    let status =
        Status::WORDS.iter().find(|(_, status)| *status == told.status).map_or("error", |(word, _)| word);
    // XML 1.0 2.8: it may do without a declaration, and the 1,300 octets of a MESSAGE are few.
    let mut out = format!("<imdn xmlns=\"{NAMESPACE}\">");
    let texts = [
        ("message-id", Some(&told.message_id)),
        ("datetime", told.date_time.as_ref()),
        ("recipient-uri", told.recipient.as_ref()),
        ("original-recipient-uri", told.original_recipient.as_ref()),
    ];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        // Writing to a String cannot fail.
        let _ = write!(out, "<{name}>{}</{name}>", escape(text.as_str()));
    }
    let _ = write!(out, "<{kind}-notification><status><{status}/></status></{kind}-notification></imdn>\r\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::cpim;

    fn document(inner: &str) -> String {
        format!("<imdn xmlns='{NAMESPACE}'><message-id>34jk324j</message-id>{inner}</imdn>")
    }

    fn delivered() -> Notification {
        Notification {
            message_id: "34jk324j".into(),
            date_time: Some("2008-04-04T12:16:49-05:00".into()),
            recipient: Some("im:bob@example.com".into()),
            original_recipient: None,
            kind: Kind::Delivery,
            status: Status::Delivered,
        }
    }

    fn asks(rows: &str, content: &str) -> Option<Asked> {
        let text = format!(
            "From: Alice <im:alice@example.com>\r\nNS: x <urn:ietf:params:imdn>\r\nx.Message-ID: 34jk324j\r\n{rows}\r\n\
             {content}\r\n\r\nHello"
        );
        asked(&cpim::parse(text.as_bytes(), true).unwrap())
    }

    //= IM M-50 test
    #[test]
    fn what_peers_write_is_read_and_what_we_write_reads_back() {
        // RFC 5438 7.2.1.1, with a prefix and an extension.
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<i:imdn xmlns:i=\"urn:ietf:params:xml:ns:imdn\">\n\
            <i:message-id>34jk324j</i:message-id>\n<i:datetime>2008-04-04T12:16:49-05:00</i:datetime>\n\
            <i:recipient-uri>im:bob@example.com</i:recipient-uri>\n<x:more xmlns:x='urn:x'/>\n\
            <i:delivery-notification><i:status><x:own xmlns:x='urn:x'/><i:delivered/></i:status>\
            </i:delivery-notification>\n</i:imdn>\n";
        assert_eq!(parse(text.as_bytes()), Ok(delivered()));
        let displayed = Notification {
            kind: Kind::Display,
            status: Status::Displayed,
            original_recipient: Some("im:a&b@x".into()),
            date_time: None,
            ..delivered()
        };
        for told in [delivered(), displayed] {
            assert_eq!(parse(&write(&told)), Ok(told));
        }
    }

    //= IM M-50 test
    #[test]
    fn several_in_one_are_read_and_other_parts_passed_over() {
        let other = write(&Notification { message_id: "m2".into(), ..delivered() });
        let body = [
            &b"--b\r\nContent-type: message/imdn+xml\r\n\r\n"[..],
            &write(&delivered()),
            b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: Message/IMDN+xml\r\n\r\n",
            &other,
            b"\r\n--b--\r\n",
        ]
        .concat();
        let told = read("multipart/mixed; boundary=b", &body).unwrap();
        assert_eq!(told.iter().map(|told| told.message_id.as_str()).collect::<Vec<_>>(), ["34jk324j", "m2"]);
    }

    //= IM X-25 test
    #[test]
    fn what_is_no_notification_is_told() {
        let status = "<delivery-notification><status><delivered/></status></delivery-notification>";
        assert!(parse(document(status).as_bytes()).is_ok());
        assert_eq!(parse(document("").as_bytes()), Err(Fault::Status));
        let unknown = status.replace("delivered", "teleported");
        assert_eq!(parse(document(&unknown).as_bytes()), Err(Fault::Status));
        assert_eq!(parse(document(status).replace("34jk324j", " ").as_bytes()), Err(Fault::MessageId));
        assert_eq!(parse(b"<imdn/>"), Err(Fault::Root));
        let bomb = format!("<!DOCTYPE i [<!ENTITY a 'aaaa'>]>{}", document(status));
        assert_eq!(parse(bomb.as_bytes()), Err(Fault::Xml(XmlFault::Dtd)));
        assert!(matches!(parse(document(&"x".repeat(LONGEST)).as_bytes()), Err(Fault::Length(_))));
        assert!(matches!(read("multipart/mixed", b"x"), Err(Fault::Multipart(_))));
    }

    //= IM M-50 test
    //= IM M-51 test
    #[test]
    fn what_is_asked_for_is_read_by_namespace_and_nobody_asks_of_a_notification() {
        let text = "Content-Type: text/plain";
        let rows = "DateTime: 2006-04-04T12:16:49-05:00\r\nx.Disposition-Notification: positive-delivery ,display;p=1, foo\r\n\
            x.Original-To: Bob <im:bob@example.com>\r\nx.IMDN-Record-Route: <sip:b@x>\r\nx.IMDN-Record-Route: A <sip:a@x>\r\n";
        let all = asks(rows, text).unwrap();
        assert_eq!((all.delivered, all.failed, all.displayed), (true, false, true));
        assert_eq!(all.message_id, "34jk324j");
        assert_eq!(all.author.as_deref(), Some("im:alice@example.com"));
        assert_eq!(all.original_to.as_deref(), Some("im:bob@example.com"));
        assert_eq!(all.routes, ["<sip:b@x>", "A <sip:a@x>"]);
        for rows in ["", "x.Disposition-Notification: \r\n", "x.Disposition-Notification: processing\r\n"] {
            assert_eq!(asks(rows, text), None, "{rows}");
        }
        assert_eq!(asks("Disposition-Notification: display\r\n", text), None, "of another namespace");
        for kind in [
            "Content-Type: message/imdn+xml",
            "Content-Type: multipart/mixed; boundary=b\r\nContent-Disposition: Notification",
        ] {
            assert_eq!(asks(rows, kind), None, "{kind}");
        }
        assert!(asks(rows, "Content-Type: multipart/mixed; boundary=b").is_some());
        let far = "x.IMDN-Record-Route: <sip:b@x>\r\n".repeat(17);
        assert_eq!(asks(&format!("{rows}{far}"), text), None);
        let long = format!("x.IMDN-Record-Route: <sip:{}@x>\r\n", "b".repeat(2048));
        assert_eq!(asks(&format!("{rows}{long}"), text), None);
    }
}
