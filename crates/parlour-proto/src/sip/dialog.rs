//! Dialogs (RFC 3261 section 12) as values: what two user agents remember of each other between their requests.

use std::borrow::Cow;

use super::door::Core;
use super::header::{Address, CSeq, CallId, Contact, From, Header, HeaderFault, RecordRoute, To};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::uri::{Scheme, Uri};
use super::write::Writer;

/// One side's state of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    call_id: Box<str>,
    local_tag: Box<str>,
    /// Empty for a peer of RFC 2543 that sets none.
    remote_tag: Box<str>,
    local_uri: Box<str>,
    remote_uri: Box<str>,
    remote_target: Box<str>,
    /// In the order in which our requests visit them.
    route_set: Box<[Box<str>]>,
    /// The number of our last request.
    local_cseq: Option<u32>,
    /// The number of the peer's last request.
    remote_cseq: Option<u32>,
    /// The number of the peer's last INVITE, which its ACK repeats.
    invite_cseq: Option<u32>,
    secure: bool,
    role: Role,
    phase: Phase,
}

/// Which side made the request that created the dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We sent it.
    Uac,
    /// We answered it.
    Uas,
}

/// How far a dialog is (RFC 3261 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A provisional response created it.
    Early,
    /// A 2xx stands behind it.
    Confirmed,
}

/// Why a request does not fit into a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialogFault {
    /// Call-ID or tags are those of another dialog, or an ACK is for no INVITE of this one: 481 (never for an ACK).
    #[error("the request belongs to no dialog")]
    NotThisDialog,
    /// The CSeq number has not risen: 500.
    #[error("CSeq number {got} after {last}")]
    CSeqOrder {
        /// The number of the request.
        got: u32,
        /// The highest one before.
        last: u32,
    },
}

/// What identifies a dialog: Call-ID, local tag and remote tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogKey(Box<str>);

impl DialogKey {
    /// The key of these three; a missing tag is empty.
    pub fn new(call_id: &str, local_tag: &str, remote_tag: &str) -> Self {
        // None of the three can contain a space.
        DialogKey([call_id, local_tag, remote_tag].join(" ").into())
    }

    /// The dialog that a received request names (RFC 3261 12); `None` if it has no To tag.
    pub fn of_request(request: &Message<'_>) -> Option<Self> {
        let call_id = request.one::<CallId<'_>>().ok()?;
        let (from, to) = (request.one::<From<'_>>().ok()?, request.one::<To<'_>>().ok()?);
        Some(DialogKey::new(call_id.0, to.tag()?, from.tag().unwrap_or_default()))
    }

    /// The same of a request whose headers are read.
    pub fn named_by(request: &Core<'_>) -> Option<Self> {
        Some(DialogKey::new(request.call_id.0, request.to.tag()?, request.from.tag().unwrap_or_default()))
    }

    /// The dialog that a received response names; `None` if it has no To tag.
    pub fn of_response(response: &Message<'_>) -> Option<Self> {
        let call_id = response.one::<CallId<'_>>().ok()?;
        let (from, to) = (response.one::<From<'_>>().ok()?, response.one::<To<'_>>().ok()?);
        Some(DialogKey::new(call_id.0, from.tag().unwrap_or_default(), to.tag()?))
    }
}

impl Dialog {
    /// The dialog that our response with `local_tag` creates (RFC 3261 12.1.1). It is early until
    /// [`confirm`](Self::confirm)ed.
    ///
    /// # Errors
    /// From, To, Call-ID, CSeq, Contact or Record-Route can't be read, or there is not exactly one Contact.
    pub fn uas(request: &Message<'_>, local_tag: &str) -> Result<Self, HeaderFault> {
        let (from, to): (From<'_>, To<'_>) = (request.one()?, request.one()?);
        let number = request.one::<CSeq<'_>>()?.number;
        let contact = contact(request)?.ok_or(HeaderFault::missing(Name::Contact))?;
        Ok(Dialog {
            call_id: request.one::<CallId<'_>>()?.0.into(),
            local_tag: local_tag.into(),
            remote_tag: from.tag().unwrap_or_default().into(),
            local_uri: text(Name::To, to.uri)?.into(),
            remote_uri: text(Name::From, from.uri)?.into(),
            remote_target: contact.into(),
            // RFC 3261 12.1.1: in the order of the request.
            route_set: record_route(request)?.into(),
            local_cseq: None,
            remote_cseq: Some(number),
            invite_cseq: Some(number),
            secure: request.request_uri().is_some_and(is_sips),
            role: Role::Uas,
            phase: Phase::Early,
        })
    }

    /// The dialog that a response to our request creates (RFC 3261 12.1.2): early by a provisional response, confirmed
    /// by a 2xx. A response without Contact leaves the Request-URI as the remote target.
    ///
    /// # Errors
    /// From, To, Call-ID, CSeq, Contact or Record-Route can't be read, or there is more than one Contact.
    pub fn uac(request: &Message<'_>, response: &Message<'_>) -> Result<Self, HeaderFault> {
        let (from, to): (From<'_>, To<'_>) = (request.one()?, response.one()?);
        let request_uri = request.request_uri().unwrap_or_default();
        let mut dialog = Dialog {
            call_id: request.one::<CallId<'_>>()?.0.into(),
            local_tag: from.tag().unwrap_or_default().into(),
            remote_tag: to.tag().unwrap_or_default().into(),
            local_uri: text(Name::From, from.uri)?.into(),
            remote_uri: text(Name::To, to.uri)?.into(),
            remote_target: String::from_utf8_lossy(request_uri).into(),
            route_set: Box::default(),
            local_cseq: Some(request.one::<CSeq<'_>>()?.number),
            remote_cseq: None,
            invite_cseq: None,
            secure: is_sips(request_uri),
            role: Role::Uac,
            phase: Phase::Early,
        };
        dialog.follow(response)?;
        Ok(dialog)
    }

    /// The dialog that a NOTIFY creates at the subscriber, whose SUBSCRIBE had the number `local_cseq`. RFC 6665 4.4.1:
    /// the NOTIFY makes it, with the route set of its own; the 2xx to the SUBSCRIBE does not.
    ///
    /// # Errors
    /// As for [`uas`](Self::uas).
    pub fn subscriber(notify: &Message<'_>, local_cseq: u32) -> Result<Self, HeaderFault> {
        let to: To<'_> = notify.one()?;
        let dialog = Dialog::uas(notify, to.tag().unwrap_or_default())?;
        let secure = is_sips(dialog.remote_target.as_bytes());
        let local_cseq = Some(local_cseq);
        Ok(Dialog {
            local_cseq,
            invite_cseq: None,
            secure,
            role: Role::Uac,
            phase: Phase::Confirmed,
            ..dialog
        })
    }

    /// The further dialog that a response with another To tag creates, after the request was forked (RFC 3261 13.2.2.4).
    ///
    /// # Errors
    /// As for [`uac`](Self::uac).
    pub fn fork(&self, response: &Message<'_>) -> Result<Self, HeaderFault> {
        let to: To<'_> = response.one()?;
        let number = response.one::<CSeq<'_>>()?.number;
        let mut dialog = self.clone();
        dialog.remote_tag = to.tag().unwrap_or_default().into();
        dialog.local_cseq = Some(number);
        (dialog.remote_cseq, dialog.invite_cseq, dialog.phase) = (None, None, Phase::Early);
        dialog.follow(response)?;
        Ok(dialog)
    }

    /// Takes route set and remote target from a response to our request. RFC 3261 13.2.2.4: the 2xx decides, whatever
    /// a provisional response said.
    ///
    /// # Errors
    /// Contact or Record-Route can't be read, or there is more than one Contact. Nothing has changed then.
    pub fn follow(&mut self, response: &Message<'_>) -> Result<(), HeaderFault> {
        let (target, mut routes) = (contact(response)?, record_route(response)?);
        // RFC 3261 12.1.2: in reverse order.
        routes.reverse();
        self.route_set = routes.into();
        if let Some(target) = target {
            self.remote_target = target.into();
        }
        if response.status().is_some_and(|status| (200..300).contains(&status)) {
            self.phase = Phase::Confirmed;
        }
        Ok(())
    }

    /// We sent a 2xx: the dialog is confirmed.
    pub fn confirm(&mut self) {
        self.phase = Phase::Confirmed;
    }

    /// Whether a received request fits, by Call-ID, tags and CSeq (RFC 3261 12.2.2). If so, its CSeq number is the new
    /// measure.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn check(&mut self, request: &Core<'_>) -> Result<(), DialogFault> {
        let CSeq { number: got, method, .. } = request.cseq;
        if !self.is_named_by(request) {
            return Err(DialogFault::NotThisDialog);
        }
        match (method, self.remote_cseq) {
            // RFC 3261 13.2.2.4: the ACK has the number of its INVITE, whatever came in between.
            (Method::Ack, _) => {
                return (self.invite_cseq == Some(got)).then_some(()).ok_or(DialogFault::NotThisDialog);
            }
            // RFC 3261 12.2.2: a lower number is out of order and earns a 500. An equal one is none the better: the
            // transaction layer has absorbed the retransmissions.
            //= IM X-8
            (_, Some(last)) if got <= last => return Err(DialogFault::CSeqOrder { got, last }),
            // RFC 3261 12.2.2: gaps are no fault.
            (_, _) => self.remote_cseq = Some(got),
        }
        if method == Method::Invite {
            self.invite_cseq = Some(got);
        }
        Ok(())
    }

    /// Takes the remote target from a target refresh: an INVITE or UPDATE of the peer that we accept, or a 2xx to
    /// ours. One without a Contact changes nothing (RFC 3261 12.2.1.2, 12.2.2). The route set never changes.
    ///
    /// # Errors
    /// Contact can't be read or is repeated. Nothing has changed then.
    pub fn refresh_target(&mut self, message: &Message<'_>) -> Result<(), HeaderFault> {
        if let Some(target) = contact(message)? {
            self.remote_target = target.into();
        }
        Ok(())
    }

    /// Starts our next request in the dialog (RFC 3261 12.2.1.1): Request-URI, the Via rows that `via` writes,
    /// Max-Forwards, Route, From, To, Call-ID, and the next CSeq.
    pub fn request(&mut self, method: Method, via: impl FnOnce(&mut Writer)) -> Writer {
        // RFC 3261 12.2.1.1: one more than the last; 8.1.1.5: the first one is ours to choose.
        let number = self.local_cseq.map_or(1, |last| last.saturating_add(1));
        self.local_cseq = Some(number);
        self.outline(method, number, via)
    }

    /// Starts the ACK for a 2xx: as every request, with the CSeq number of its INVITE (RFC 3261 13.2.2.4).
    pub fn ack(&self, number: u32, via: impl FnOnce(&mut Writer)) -> Writer {
        self.outline(Method::Ack, number, via)
    }

    /// The URI that tells where our requests go first (RFC 3261 12.2.1.1 and 8.1.2).
    pub fn next_hop(&self) -> &str {
        self.route_set.first().unwrap_or(&self.remote_target)
    }

    /// All URIs that our requests visit, the remote target last.
    pub fn hops(&self) -> impl Iterator<Item = &str> {
        self.route_set.iter().chain(std::iter::once(&self.remote_target)).map(Box::as_ref)
    }

    /// The key of this dialog.
    pub fn key(&self) -> DialogKey {
        DialogKey::new(&self.call_id, &self.local_tag, &self.remote_tag)
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The peer's tag; empty if it has none.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Our URI, as the first From or To named it.
    pub fn local_uri(&self) -> &str {
        &self.local_uri
    }

    /// The peer's URI, as the first From or To named it.
    pub fn remote_uri(&self) -> &str {
        &self.remote_uri
    }

    /// Where the peer wants our requests: the URI of its last Contact.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The proxies that our requests visit, in order.
    pub fn route_set(&self) -> impl Iterator<Item = &str> {
        self.route_set.iter().map(Box::as_ref)
    }

    /// The CSeq number of our last request, if there was one.
    pub fn local_cseq(&self) -> Option<u32> {
        self.local_cseq
    }

    /// The CSeq number of the peer's last request, if there was one.
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Whether the request that created the dialog was for a SIPS URI.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Which side we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far the dialog is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a received request names this dialog.
    fn is_named_by(&self, request: &Core<'_>) -> bool {
        request.call_id.0 == &*self.call_id
            && request.to.tag().unwrap_or_default() == &*self.local_tag
            && request.from.tag().unwrap_or_default() == &*self.remote_tag
    }

    fn outline(&self, method: Method, number: u32, via: impl FnOnce(&mut Writer)) -> Writer {
        let (uri, routes) = self.way();
        let mut request = Writer::request(method.text(), uri.as_bytes());
        via(&mut request);
        request.row(Name::MaxForwards, "70");
        for route in routes {
            request.fmt(Name::Route, format_args!("<{route}>"));
        }
        // RFC 3261 12.2.1.1: no tag parameter for a tag that is not there.
        for (name, uri, tag) in
            [(Name::From, &self.local_uri, &self.local_tag), (Name::To, &self.remote_uri, &self.remote_tag)]
        {
            match tag.is_empty() {
                true => request.fmt(name, format_args!("<{uri}>")),
                false => request.fmt(name, format_args!("<{uri}>;tag={tag}")),
            };
        }
        request.row(Name::CallId, self.call_id.as_bytes());
        request.fmt(Name::CSeq, format_args!("{number} {}", method.text()));
        request
    }

    /// Request-URI and Route of our requests (RFC 3261 12.2.1.1).
    fn way(&self) -> (Cow<'_, str>, Vec<&str>) {
        let target = &*self.remote_target;
        match self.route_set.split_first() {
            // A strict router (RFC 2543) finds itself in the Request-URI, and the remote target last in Route.
            Some((first, rest)) if !is_loose(first) => {
                let routes = rest.iter().map(Box::as_ref).chain(std::iter::once(target));
                (as_request_uri(first), routes.collect())
            }
            Some(_) | None => (as_request_uri(target), self.route_set().collect()),
        }
    }
}

/// Whether the Contact of our response must be a SIPS URI: if the Request-URI is one, or the top Record-Route, or without
/// that the Contact of the request (RFC 3261 12.1.1).
pub fn wants_secure_contact(request: &Message<'_>) -> bool {
    let from_peer = match request.list::<RecordRoute<'_>>().next() {
        Some(top) => top.is_ok_and(|top| is_sips(top.uri)),
        None => contact(request).is_ok_and(|uri| uri.is_some_and(|uri| is_sips(uri.as_bytes()))),
    };
    from_peer || request.request_uri().is_some_and(is_sips)
}

/// The URI of the one Contact.
fn contact<'a>(message: &Message<'a>) -> Result<Option<&'a str>, HeaderFault> {
    let Some(contact) = message.maybe::<Contact<'a>>()? else { return Ok(None) };
    let address = contact.address().ok_or(HeaderFault::bad(Name::Contact, "is * outside REGISTER"))?;
    sip_uri(Name::Contact, address).map(Some)
}

/// The URIs of Record-Route in the order of the message.
fn record_route(message: &Message<'_>) -> Result<Vec<Box<str>>, HeaderFault> {
    message.list::<RecordRoute<'_>>().map(|route| Ok(sip_uri(RecordRoute::NAME, &route?.0)?.into())).collect()
}

/// The URI of an address that we are to send requests to.
fn sip_uri<'a>(name: Name, address: &Address<'a>) -> Result<&'a str, HeaderFault> {
    match address.uri().map(|uri| uri.scheme()) {
        Ok(Scheme::Sip | Scheme::Sips) => text(name, address.uri),
        Ok(Scheme::Tel | Scheme::Other) => Err(HeaderFault::bad(name, "is no SIP or SIPS URI")),
        Err(_) => Err(HeaderFault::bad(name, "has a bad URI")),
    }
}

fn text(name: Name, octets: &[u8]) -> Result<&str, HeaderFault> {
    std::str::from_utf8(octets).map_err(|_| HeaderFault::bad(name, "has a URI that is not UTF-8"))
}

fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme() == Scheme::Sips)
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri.as_bytes()).is_ok_and(|uri| uri.param("lr").is_some())
}

/// RFC 3261 19.1.1, table 1: no headers and no method parameter in a Request-URI.
pub(crate) fn as_request_uri(uri: &str) -> Cow<'_, str> {
    let is_method = |param: &str| param.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("method="));
    // A user part may contain both marks.
    let host_at = uri.find('@').unwrap_or(0);
    let (user, rest) = uri.split_at_checked(host_at).unwrap_or(("", uri));
    let bare = rest.split('?').next().unwrap_or(rest);
    if bare.len() == rest.len() && !bare.split(';').any(is_method) {
        return Cow::Borrowed(uri);
    }
    let kept: Vec<&str> = bare.split(';').filter(|param| !is_method(param)).collect();
    Cow::Owned([user, &kept.join(";")].concat())
}

#[cfg(test)]
mod tests;
