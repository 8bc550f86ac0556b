//! Whose fault it is, and the one table: fault -> status code, headers, clause.

use crate::sdp::Refusal;
use crate::sip::header::HeaderFault;
use crate::sip::method::Method;
use crate::sip::name::Name;

/// What a peer did, asked or offered that we do not go along with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFault {
    /// A header field that breaks its grammar or its cardinality.
    Header(HeaderFault),
    /// A request that cannot be right, for the reason given.
    Malformed(String),
    /// The Contact of a dialog-forming INVITE is not exactly one SIP or SIPS URI.
    Contact(&'static str),
    /// A body that is no SDP: the line and what is wrong with it.
    Sdp(String),
    /// A method that we know and do not take here.
    MethodNotAllowed(Method),
    /// A method that nobody has told us of.
    MethodUnknown(String),
    /// The Request-URI has a scheme that we do not take.
    Scheme(String),
    /// The Request-URI is nobody here.
    NotFound,
    /// The Request-URI is nobody here, and nobody may pass the request on.
    TooManyHops,
    /// The same request came by two ways.
    Merged,
    /// A To tag, or a CANCEL, that belongs to nothing we have.
    NoDialog,
    /// Option tags that we do not understand.
    Require(Vec<String>),
    /// A body whose type we do not understand and may not ignore.
    BodyType(String),
    /// A body whose encoding we do not understand.
    BodyEncoding(String),
    /// An Accept-Contact or Reject-Contact that excludes us.
    CallerPreferences(String),
    /// CSeq is not higher than the one before.
    CSeqOrder {
        /// The number that came.
        got: u32,
        /// The highest one before.
        last: u32,
    },
    /// Another INVITE of this dialog is not finished.
    InviteInProgress,
    /// We have an offer of our own outstanding.
    Glare,
    /// No stream of the offer is acceptable.
    NotAcceptable(Refusal),
    /// A later offer changes what we cannot change.
    Renegotiation,
    /// As many sessions as we take.
    SessionLimit,
    /// As many waiting invitations as we take, or as one peer may have.
    InvitationLimit,
    /// More requests than we take.
    Flood,
    /// Tables are full.
    Overload,
    /// The store is full or broken: nothing more can be kept.
    NoResources,
    /// An offerless INVITE from somebody who may aim our connect at a victim.
    OfferlessUntrusted,
}

/// How a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status code, 300 to 699.
    pub status: u16,
    /// The reason phrase, which helps the other side.
    pub reason: String,
    /// Header rows that the code asks for.
    pub rows: Vec<(Name, String)>,
    /// The clause that decides.
    pub clause: &'static str,
}

impl PeerFault {
    /// The table. `allow` is the list of our methods, `host` the pseudonym that Warning shows.
    /// `retry_after` counts seconds: drawn by chance, so that those who are told do not all come back at once.
    pub fn refused(&self, allow: &str, host: &str, retry_after: u32) -> Refused {
        let (status, reason, clause): (u16, String, &'static str) = match self {
            Self::Header(fault) => {
                (400, format!("Bad {}: {}", fault.name.text(), fault.what), "RFC 3261 21.4.1")
            }
            Self::Malformed(what) => (400, what.clone(), "RFC 3261 21.4.1"),
            Self::Contact(what) => (400, format!("Bad Contact: {what}"), "G-4v"),
            Self::Sdp(what) => (400, format!("Bad SDP: {what}"), "RFC 3261 21.4.1"),
            Self::MethodNotAllowed(_) => (405, "Method Not Allowed".into(), "RFC 3261 8.2.1"),
            Self::MethodUnknown(_) => (501, "Not Implemented".into(), "RFC 3261 21.5.2"),
            Self::Scheme(_) => (416, "Unsupported URI Scheme".into(), "RFC 3261 8.2.2.1"),
            Self::NotFound => (404, "Not Found".into(), "RFC 3261 8.2.2.1"),
            Self::TooManyHops => (483, "Too Many Hops".into(), "RFC 3261 8.1.1.6"),
            Self::Merged => (482, "Loop Detected: merged request".into(), "RFC 3261 8.2.2.2"),
            Self::NoDialog => (481, "Call/Transaction Does Not Exist".into(), "RFC 3261 12.2.2"),
            Self::Require(_) => (420, "Bad Extension".into(), "RFC 3261 8.2.2.3"),
            Self::BodyType(_) => (415, "Unsupported Media Type".into(), "RFC 3261 8.2.3"),
            Self::BodyEncoding(_) => (415, "Unsupported Content-Encoding".into(), "RFC 3261 8.2.3"),
            Self::CallerPreferences(_) => (480, "Caller preferences exclude this device".into(), "R-43"),
            Self::CSeqOrder { .. } => (500, "CSeq out of order".into(), "X-8"),
            Self::InviteInProgress => (500, "Another INVITE is in progress".into(), "RFC 3261 14.2"),
            Self::Glare => (491, "Request Pending".into(), "RFC 3261 14.2"),
            Self::NotAcceptable(_) => (488, "Not Acceptable Here".into(), "S-1"),
            Self::Renegotiation => (488, "Not Acceptable Here: the session cannot be changed".into(), "D-50"),
            Self::SessionLimit => (486, "Busy Here".into(), "G-1a"),
            Self::InvitationLimit => (486, "Busy Here: too many invitations are waiting".into(), "R-6"),
            Self::Flood => (480, "Too many requests".into(), "X-10"),
            Self::Overload | Self::NoResources => (480, "Resource limit".into(), "G-1b"),
            Self::OfferlessUntrusted => (488, "Not Acceptable Here: an offer is needed".into(), "X-22"),
        };
        let warning =
            |code: u16, text: &str| (Name::Warning, format!("{code} {host} \"{}\"", quotable(text)));
        let rows = match self {
            // RFC 3261 21.4.6: a 405 must list what is allowed. 8.2.1 asks no less of a 501.
            Self::MethodNotAllowed(_) | Self::MethodUnknown(_) => vec![(Name::Allow, allow.to_owned())],
            // RFC 3261 8.2.2.3: a 420 must list what it does not understand.
            Self::Require(tags) => vec![(Name::Unsupported, tags.join(", "))],
            // RFC 3261 21.4.13: a 415 lists what would have been understood.
            Self::BodyType(_) => vec![(Name::Accept, "application/sdp".to_owned())],
            Self::BodyEncoding(_) => vec![(Name::AcceptEncoding, "identity".to_owned())],
            // RFC 3261 13.3.1.3: a 488 should carry a Warning that says why.
            Self::NotAcceptable(refusal) => vec![warning(refusal.warning, &refusal.text)],
            Self::Renegotiation => vec![warning(399, "this session keeps the media that it was set up with")],
            Self::OfferlessUntrusted => {
                vec![warning(399, "an INVITE without SDP is taken from a trusted core only")]
            }
            // RFC 3261 8.2.2.1 and 21.4.17: whoever asks is told what we take.
            Self::CSeqOrder { .. } | Self::InviteInProgress => vec![(Name::RetryAfter, "5".to_owned())],
            Self::Flood | Self::Overload | Self::NoResources => {
                vec![(Name::RetryAfter, retry_after.to_string())]
            }
            Self::Header(_)
            | Self::Malformed(_)
            | Self::Contact(_)
            | Self::Sdp(_)
            | Self::Scheme(_)
            | Self::NotFound
            | Self::TooManyHops
            | Self::Merged
            | Self::NoDialog
            | Self::CallerPreferences(_)
            | Self::Glare
            | Self::SessionLimit
            | Self::InvitationLimit => Vec::new(),
        };
        Refused { status, reason, rows, clause }
    }

    /// The input that decided, for [`Explain`](crate::event::Explain).
    pub fn input(&self) -> String {
        match self {
            Self::Header(fault) => format!("{}: {}", fault.name.text(), fault.what),
            Self::Malformed(what) | Self::Sdp(what) => what.clone(),
            Self::Contact(what) => format!("Contact: {what}"),
            Self::MethodNotAllowed(method) => method.text().to_owned(),
            Self::MethodUnknown(text) | Self::Scheme(text) => text.clone(),
            Self::Require(tags) => format!("Require: {}", tags.join(", ")),
            Self::BodyType(text) => format!("Content-Type: {text}"),
            Self::BodyEncoding(text) => format!("Content-Encoding: {text}"),
            Self::CallerPreferences(text) => text.clone(),
            Self::CSeqOrder { got, last } => format!("CSeq {got} after {last}"),
            Self::NotAcceptable(refusal) => format!("warning {}: {}", refusal.warning, refusal.text),
            Self::NotFound
            | Self::TooManyHops
            | Self::Merged
            | Self::NoDialog
            | Self::InviteInProgress
            | Self::Glare
            | Self::Renegotiation
            | Self::SessionLimit
            | Self::InvitationLimit
            | Self::Flood
            | Self::Overload
            | Self::NoResources
            | Self::OfferlessUntrusted => String::new(),
        }
    }
}

/// Text that may stand in a quoted string of a header.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if c == '"' || c == '\\' || c.is_control() { '\'' } else { c }).collect()
}
