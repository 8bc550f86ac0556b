//! The door: what every message must have before anything looks further (RFC 3261 8.1.1, 8.1.3.3), and what a user agent
//! server checks next, in the order of RFC 3261 8.2.

use super::fault::Fault;
use super::header::{
    CSeq, CallId, Contact, ContentDisposition, ContentType, From, Header, HeaderFault, MaxForwards,
    MethodSet, To, Via,
};
use super::message::{Message, Start};
use super::method::Method;
use super::name::Name;
use super::uri::{Scheme, Uri};

/// The headers that every message has, typed; whoever holds them cannot fail on them later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core<'a> {
    /// The Request-URI; `None` in a response.
    pub target: Option<Uri<'a>>,
    /// The topmost Via.
    pub via: Via<'a>,
    /// From.
    pub from: From<'a>,
    /// To.
    pub to: To<'a>,
    /// Call-ID.
    pub call_id: CallId<'a>,
    /// CSeq.
    pub cseq: CSeq<'a>,
}

/// Reads the headers that RFC 3261 8.1.1 makes mandatory: one each of From, To, Call-ID and CSeq, and at least one Via.
///
/// # Errors
/// One of them is missing, repeated or malformed, CSeq names another method than the request, the Request-URI is
/// malformed, or Max-Forwards is no number up to 255. A response is refused when it has more than one Via, too.
pub fn door<'a>(message: &Message<'a>) -> Result<Core<'a>, Fault> {
    let mut core = Core {
        target: None,
        via: message.top_via()?,
        from: message.one()?,
        to: message.one()?,
        call_id: message.one()?,
        cseq: message.one()?,
    };
    // RFC 4475 3.2.1: the cookie of RFC 3261 8.1.1.7 with nothing after it identifies no transaction.
    if core.via.branch() == Some("z9hG4bK") {
        return Err(HeaderFault::bad(Name::Via, "has an empty branch").into());
    }
    match message.start() {
        Start::Request { method, method_text, uri } => {
            // RFC 3261 8.1.1.5: the method of CSeq is that of the request.
            if core.cseq.method_text != method_text {
                // RFC 4475 3.1.2.18: for a method that we do not know, 501 tells more.
                return Err(if method == Method::Other { Fault::UnknownMethod } else { Fault::CSeqMethod });
            }
            // RFC 3261 8.1.1.6 makes Max-Forwards mandatory, RFC 4475 3.4.1 wants requests without it accepted.
            message.maybe::<MaxForwards>()?;
            let uri = Uri::parse(uri).map_err(|_| Fault::RequestUri)?;
            // RFC 3261 19.1.1: header fields have no place in a Request-URI.
            if uri.has_headers() {
                return Err(Fault::UriHeaders);
            }
            core.target = Some(uri);
        }
        // RFC 3261 8.1.3.3: our own Via is the only one that a response to us can have.
        Start::Response { .. } if message.values(Name::Via).nth(1).is_some() => {
            return Err(Fault::StrayResponse);
        }
        Start::Response { .. } => {}
    }
    Ok(core)
}

/// What a user agent server can take.
#[derive(Debug, Clone, Copy)]
pub struct Abilities<'s> {
    /// The methods that it takes.
    pub methods: MethodSet,
    /// The option tags that it understands.
    pub options: &'s [&'s str],
    /// The media types that it can read: `type/subtype`, or `type/*`.
    pub media_types: &'s [&'s str],
}

/// The checks of RFC 3261 8.2.1 to 8.2.3 that depend on nothing but the request, in their order. Whoever has more to
/// check in between (RFC 3261 8.2.2.1: is the target one of ours? 8.2.2.2: is it merged?) calls them one by one.
///
/// # Errors
/// The first of them that fails.
pub fn screen(request: &Message<'_>, core: &Core<'_>, can: &Abilities<'_>) -> Result<(), Fault> {
    method(request, can)?;
    scheme(core)?;
    extensions(request, can)?;
    content(request, can)
}

/// RFC 3261 8.2.1: is the method one that we take?
///
/// # Errors
/// It is not, or nobody knows it.
pub fn method(request: &Message<'_>, can: &Abilities<'_>) -> Result<(), Fault> {
    match request.method() {
        Some(Method::Other) => Err(Fault::UnknownMethod),
        Some(method) if !can.methods.contains(method) => Err(Fault::MethodNotAllowed),
        Some(_) | None => Ok(()),
    }
}

/// RFC 3261 8.2.2.1: is the scheme of the Request-URI one that we take?
///
/// # Errors
/// It is not.
pub fn scheme(core: &Core<'_>) -> Result<(), Fault> {
    let foreign = core.target.is_some_and(|uri| uri.scheme() == Scheme::Other);
    if foreign { Err(Fault::Scheme) } else { Ok(()) }
}

/// RFC 3261 8.2.2.3: do we have all that Require asks for? [`unsupported`] lists what we lack.
///
/// # Errors
/// We do not.
pub fn extensions(request: &Message<'_>, can: &Abilities<'_>) -> Result<(), Fault> {
    // Require means nothing in ACK and CANCEL.
    let asks = !matches!(request.method(), Some(Method::Ack | Method::Cancel));
    let lacks = asks && unsupported(request, can.options).next().is_some();
    if lacks { Err(Fault::Extension) } else { Ok(()) }
}

/// RFC 3261 8.2.3: can we read the body, and give the answer that is asked for?
///
/// # Errors
/// Its type or coding is unknown, or Accept excludes session descriptions.
pub fn content(request: &Message<'_>, can: &Abilities<'_>) -> Result<(), Fault> {
    body_is_readable(request, can.media_types)?;
    // RFC 3261 13.2.1: the answer to an INVITE is a session description.
    if request.method() == Some(Method::Invite) && !accepts(request, "application/sdp") {
        return Err(Fault::NotAcceptable);
    }
    Ok(())
}

/// The option tags of Require that we do not have: the content of Unsupported.
pub fn unsupported<'a>(request: &Message<'a>, options: &[&str]) -> impl Iterator<Item = &'a [u8]> {
    let has = |tag: &[u8]| options.iter().any(|option| option.as_bytes().eq_ignore_ascii_case(tag));
    request.values(Name::Require).filter(move |tag| !has(tag))
}

/// The Contact of a request that forms a dialog.
///
/// # Errors
/// It is missing, repeated, `*`, malformed, or no SIP or SIPS URI (RFC 3261 8.1.1.8).
pub fn dialog_contact<'a>(message: &Message<'a>) -> Result<(Contact<'a>, Uri<'a>), HeaderFault> {
    let contact: Contact<'a> = message.one()?;
    let address = contact.address().ok_or(HeaderFault::bad(Name::Contact, "is *"))?;
    let uri = address.uri().map_err(|_| HeaderFault::bad(Name::Contact, "has a bad URI"))?;
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips => Ok((contact, uri)),
        Scheme::Tel | Scheme::Other => Err(HeaderFault::bad(Name::Contact, "is no SIP URI")),
    }
}

/// RFC 3261 8.2.3.
fn body_is_readable(request: &Message<'_>, media_types: &[&str]) -> Result<(), Fault> {
    if request.body().is_empty() {
        return Ok(());
    }
    let disposition = request.maybe::<ContentDisposition<'_>>()?;
    // RFC 3261 20.11: a body that is optional may be passed over.
    let handling = disposition.and_then(|disposition| disposition.params.token("handling"));
    if handling.is_some_and(|handling| handling.eq_ignore_ascii_case("optional")) {
        return Ok(());
    }
    // RFC 3261 7.4.1: a body tells its type.
    let content_type: ContentType<'_> = request.one()?;
    if !media_types.iter().any(|range| in_range(content_type.media_type, range)) {
        return Err(Fault::MediaType);
    }
    if request.values(Name::ContentEncoding).any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::Encoding);
    }
    Ok(())
}

/// Whether Accept allows this media type. RFC 3261 20.1: no Accept is no restriction here.
fn accepts(request: &Message<'_>, media_type: &str) -> bool {
    if !request.has(Name::Accept) {
        return true;
    }
    request
        .values(Name::Accept)
        .any(|range| ContentType::parse(range).is_ok_and(|range| in_range(media_type, range.media_type)))
}

fn in_range(media_type: &str, range: &str) -> bool {
    match range.strip_suffix("/*") {
        Some("*") => true,
        Some(kind) => media_type.split('/').next().is_some_and(|found| found.eq_ignore_ascii_case(kind)),
        None => media_type.eq_ignore_ascii_case(range),
    }
}
