//! Whose fault it is, and the one table: fault -> status code, headers, clause.

use std::net::SocketAddr;

use crate::config::{AnonymousAnswer, BlockedAnswer};
use crate::event::Proof;
use crate::io::SessionId;
use crate::schedule::Quiet;
use crate::sdp::Refusal;
use crate::sip::door::{Abilities, unsupported};
use crate::sip::fault::Fault;
use crate::sip::header::HeaderFault;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::verb::Shortage;

/// What a peer did, asked or offered that we do not go along with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFault {
    /// A message that breaks SIP's own rules, or asks for what we do not have (RFC 3261 8.2.1 to 8.2.3).
    Sip(Fault),
    /// A body that is no SDP: the line and what is wrong with it.
    Sdp(String),
    /// A body that breaks the rules of its type: what is wrong with it.
    Body(String),
    /// A body, or what it carries, of more octets than we take.
    TooLarge {
        /// How many there are.
        octets: usize,
        /// How many there may be.
        most: usize,
    },
    /// The Request-URI is nobody here.
    NotFound,
    /// The Request-URI is nobody here, and nobody may pass the request on.
    TooManyHops,
    /// The same request came by two ways.
    Merged,
    /// A To tag, or a CANCEL, that belongs to nothing we have.
    NoDialog,
    /// The dialog is there, and its peer is not known to be where this came from.
    Elsewhere(Option<SocketAddr>),
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
    /// An offer crosses one of ours.
    Glare,
    /// An UPDATE brings what the user has to be asked about.
    NeedsWord,
    /// An offer came before the last one was answered.
    OfferUnanswered,
    /// The dialog that is to be replaced stays as it is.
    NotReplaced(NotReplaced),
    /// No stream of the offer is acceptable.
    NotAcceptable(Refusal),
    /// A NOTIFY of an event package that we do not follow.
    BadEvent,
    /// Session-Expires is below this many seconds.
    IntervalTooSmall {
        /// What Min-SE says.
        least: u32,
    },
    /// A later INVITE without an offer finds no stream that we could offer.
    Renegotiation,
    /// A PRACK for a provisional response that does not wait for one.
    NoProvisional,
    /// Preconditions that cannot be met: the body that says which.
    Preconditions(Vec<u8>),
    /// Preconditions without what is needed to meet them.
    NeedsReliable,
    /// As many sessions as we take.
    SessionLimit,
    /// As many waiting invitations as we take, or as one peer may have.
    InvitationLimit,
    /// The account registers, and this did not come by its registrar.
    NotByRegistrar,
    /// The caller is blocked; what it is answered.
    Blocked(BlockedAnswer),
    /// The caller hides who it is; what it is answered.
    Anonymous(AnonymousAnswer),
    /// The caller's identity is not signed, and has to be.
    Unsigned,
    /// What the signature of the caller's identity is worth, and why.
    BadlySigned(Proof, String),
    /// Nobody may disturb for now; when that ends, if it does.
    DoNotDisturb(Option<Quiet>),
    /// All who call are sent elsewhere.
    Redirected(String),
    /// The IM service is switched off.
    ServiceOff,
    /// More requests than we take.
    Flood,
    /// Tables are full.
    Overload,
    /// The means for a session are not there.
    NoResources,
    /// There is too little of something to let anybody in.
    Short(Shortage),
    /// This caller rings already.
    RingsAlready,
}

/// Why an INVITE does not replace a dialog (RFC 3891 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReplaced {
    /// Replaces, or what stands beside it, breaks the rules.
    Header(HeaderFault),
    /// There is no such dialog of an INVITE, or there are two.
    Unknown,
    /// We are the ones who were invited, and have not answered.
    EarlyForeign,
    /// The dialog was there not long ago.
    Over,
    /// `early-only`, and the dialog is confirmed.
    Confirmed,
    /// Whoever sends the INVITE may not replace this session.
    Unauthorised {
        /// The session that stays.
        session: SessionId,
        /// Whether the INVITE came from a trusted core: nobody else learns that the dialog is there.
        trusted: bool,
        /// What was compared.
        why: String,
    },
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
    /// The table. `host` is the pseudonym that Warning shows. `retry_after` counts seconds: drawn by chance, so that
    /// those who are told do not all come back at once.
    pub fn refused(
        &self,
        request: &Message<'_>,
        can: &Abilities<'_>,
        host: &str,
        retry_after: u32,
    ) -> Refused {
        let (status, reason, clause): (u16, String, &'static str) = match self {
            Self::Sip(fault) => (fault.status(), fault.reason(), "RFC 3261 8.2"),
            Self::Sdp(what) => (400, what.clone(), "RFC 3261 21.4.1"),
            Self::Body(what) => (400, what.clone(), "S-1b"),
            // Catalogue 1.3 row 27. It will be no smaller another time: no Retry-After (RFC 3261 21.4.11).
            Self::TooLarge { most, .. } => {
                (413, format!("Request Entity Too Large: {most} octets at most"), "RFC 3261 21.4.11")
            }
            Self::NotFound => (404, "Not Found".into(), "RFC 3261 8.2.2.1"),
            Self::TooManyHops => (483, "Too Many Hops".into(), "RFC 3261 8.1.1.6"),
            Self::Merged => (482, "Loop Detected: merged request".into(), "RFC 3261 8.2.2.2"),
            Self::NoDialog => (481, "Call/Transaction Does Not Exist".into(), "RFC 3261 12.2.2"),
            // Who has found out the tags of a dialog learns nothing from this.
            Self::Elsewhere(_) => (481, "Call/Transaction Does Not Exist".into(), "X-8"),
            Self::CallerPreferences(_) => (480, "Caller preferences exclude this device".into(), "R-43"),
            Self::CSeqOrder { .. } => (500, "CSeq out of order".into(), "X-8"),
            Self::InviteInProgress => (500, "Another INVITE is in progress".into(), "RFC 3261 14.2"),
            Self::Glare => (491, "Request Pending".into(), "D-53"),
            Self::NeedsWord => (
                504,
                "Server Time-out: the user has to be asked, which takes an INVITE".into(),
                "RFC 3311 5.2",
            ),
            Self::OfferUnanswered => (500, "Another offer is not answered yet".into(), "RFC 3311 5.2"),
            Self::NotReplaced(why) => why.refused(),
            Self::NotAcceptable(refusal) => (488, "Not Acceptable Here".into(), refusal.clause),
            Self::BadEvent => (489, "Bad Event".into(), "R-12"),
            Self::Renegotiation => (488, "Not Acceptable Here: there is no stream to offer".into(), "D-50"),
            Self::IntervalTooSmall { .. } => (422, "Session Interval Too Small".into(), "D-56"),
            Self::NoProvisional => {
                (481, "No provisional response of that number waits for PRACK".into(), "RFC 3262 3")
            }
            Self::Preconditions(_) => (580, "Precondition Failure".into(), "R-60"),
            Self::NeedsReliable => (421, "Extension Required: 100rel".into(), "RFC 3312 11"),
            Self::SessionLimit => (486, "Busy Here".into(), "G-1a"),
            Self::InvitationLimit => (486, "Busy Here: too many invitations are waiting".into(), "R-6"),
            Self::NotByRegistrar => (403, "Forbidden".into(), "X-2"),
            // Catalogue 1.3 row 6: who is blocked is not told so.
            Self::Blocked(BlockedAnswer::Unavailable) | Self::DoNotDisturb(_) => {
                (480, "Temporarily Unavailable".into(), "G-1c")
            }
            Self::Blocked(BlockedAnswer::Decline) => (603, "Decline".into(), "G-1c"),
            Self::Blocked(BlockedAnswer::Busy) => (486, "Busy Here".into(), "G-1c"),
            // Catalogue 1.3 row 33
            Self::Redirected(_) => (302, "Moved Temporarily".into(), "G-1c"),
            // Catalogue 1.3 row 32
            Self::ServiceOff => (488, "Not Acceptable Here".into(), "G-1c"),
            Self::RingsAlready => (486, "Busy Here: you are ringing already".into(), "X-10"),
            // RFC 5079 4
            Self::Anonymous(AnonymousAnswer::Disallowed) => (433, "Anonymity Disallowed".into(), "G-1c"),
            Self::Anonymous(AnonymousAnswer::Decline) => (603, "Decline".into(), "G-1c"),
            // RFC 8224 6.2
            Self::Unsigned => (428, "Use Identity Header".into(), "X-5"),
            Self::BadlySigned(proof, _) => unproven(*proof),
            Self::Flood => (480, "Too many requests".into(), "X-10"),
            Self::Overload | Self::NoResources | Self::Short(_) => (480, "Resource limit".into(), "G-1b"),
        };
        let warning =
            |code: u16, text: &str| (Name::Warning, format!("{code} {host} \"{}\"", quotable(text)));
        let rows = match self {
            Self::Sip(fault) => asked_for(fault, request, can),
            // RFC 3261 13.3.1.3: a 488 should carry a Warning that says why.
            Self::NotAcceptable(refusal) => vec![warning(refusal.warning, &refusal.text)],
            // RFC 6665 8.2: a 489 tells which packages would have been understood.
            Self::BadEvent => vec![(Name::AllowEvents, "conference".to_owned())],
            Self::Renegotiation => vec![warning(399, "this session has no stream that could be offered")],
            // RFC 4028 9: a 422 must name the shortest interval.
            Self::IntervalTooSmall { least } => vec![(Name::MinSe, least.to_string())],
            // RFC 3261 14.2: 0 to 10 s.
            Self::CSeqOrder { .. } | Self::InviteInProgress | Self::OfferUnanswered => {
                vec![(Name::RetryAfter, (retry_after % 11).to_string())]
            }
            Self::DoNotDisturb(Some(quiet)) => later(quiet.ends_in, Some(quiet.free_for)),
            Self::Redirected(to) => vec![(Name::Contact, format!("<{to}>"))],
            Self::ServiceOff => vec![warning(399, "instant messaging is switched off")],
            Self::Flood | Self::Overload | Self::NoResources | Self::Short(_) => {
                vec![(Name::RetryAfter, retry_after.to_string())]
            }
            // RFC 3261 21.4.15: Require lists what is missed.
            Self::NeedsReliable => vec![(Name::Require, "100rel".to_owned())],
            Self::Sdp(_)
            | Self::Body(_)
            | Self::TooLarge { .. }
            | Self::NotFound
            | Self::NoProvisional
            | Self::Preconditions(_)
            | Self::TooManyHops
            | Self::Merged
            | Self::NoDialog
            | Self::Elsewhere(_)
            | Self::Glare
            | Self::NeedsWord
            | Self::CallerPreferences(_)
            | Self::NotByRegistrar
            | Self::Blocked(_)
            | Self::Anonymous(_)
            | Self::Unsigned
            | Self::BadlySigned(..)
            | Self::NotReplaced(_)
            | Self::DoNotDisturb(None)
            | Self::RingsAlready
            | Self::SessionLimit
            | Self::InvitationLimit => Vec::new(),
        };
        Refused { status, reason, rows, clause }
    }

    /// The session description that the refusal itself brings along.
    pub fn description(&self) -> Option<&[u8]> {
        if let Self::Preconditions(body) = self {
            Some(body.as_slice()).filter(|body| !body.is_empty())
        } else {
            None
        }
    }

    /// The input that decided, for [`Explain`](crate::event::Explain).
    pub fn input(&self, request: &Message<'_>) -> String {
        match self {
            Self::Sip(fault) => {
                let telling =
                    TELLING.iter().find(|(known, _)| known == fault).map_or(Name::CSeq, |(_, name)| *name);
                let name = if let Fault::Header(header) = fault { header.name } else { telling };
                let row = request.rows(name).next().unwrap_or_default();
                format!("{}: {}", name.text(), String::from_utf8_lossy(row))
            }
            Self::Sdp(what) | Self::Body(what) | Self::CallerPreferences(what) => what.clone(),
            Self::TooLarge { octets, most } => format!("{octets} octets, and {most} are taken"),
            Self::NotReplaced(why) => why.input(request),
            Self::CSeqOrder { got, last } => format!("CSeq {got} after {last}"),
            Self::BadEvent => {
                String::from_utf8_lossy(request.rows(Name::Event).next().unwrap_or_default()).into_owned()
            }
            Self::NotAcceptable(refusal) => format!("warning {}: {}", refusal.warning, refusal.text),
            Self::NoProvisional => {
                let row = request.rows(Name::RAck).next().unwrap_or_default();
                format!("RAck: {}", String::from_utf8_lossy(row))
            }
            // The lines that say what is missing.
            Self::Preconditions(body) => {
                let text = String::from_utf8_lossy(body);
                text.lines().filter(|line| line.starts_with("a=des:")).collect::<Vec<_>>().join(", ")
            }
            Self::NeedsReliable => {
                let row = request.rows(Name::Supported).next().unwrap_or_default();
                format!("Supported: {}", String::from_utf8_lossy(row))
            }
            Self::NotFound | Self::TooManyHops => {
                String::from_utf8_lossy(request.request_uri().unwrap_or_default()).into_owned()
            }
            Self::IntervalTooSmall { .. } => {
                let row = request.rows(Name::SessionExpires).next().unwrap_or_default();
                format!("Session-Expires: {}", String::from_utf8_lossy(row))
            }
            Self::NotByRegistrar => {
                "neither its registrar nor a trusted hop sent it: see `trusted_hops`, `direct` and `core`"
                    .to_owned()
            }
            Self::Blocked(_) => "the caller is blocked, by the user or in the configuration".to_owned(),
            Self::Anonymous(_) => "the caller hides who it is, and `refuse_anonymous` is on".to_owned(),
            Self::Unsigned => "no Identity header, and `stir` is \"require\" (RFC 8224 6.2.2)".to_owned(),
            Self::BadlySigned(_, why) => format!("{why}, and `stir` asks for better (RFC 8224 6.2.2)"),
            Self::DoNotDisturb(None) => "`do_not_disturb` is on".to_owned(),
            Self::DoNotDisturb(Some(quiet)) => match quiet.ends_in {
                Some(seconds) => format!("it is one of the `quiet_hours`, for {seconds} s more"),
                None => "it is one of the `quiet_hours`, which never end".to_owned(),
            },
            Self::Redirected(to) => format!("`redirect` is {to}"),
            Self::ServiceOff => "`im_service` is off".to_owned(),
            Self::Short(Shortage::Disk) => "the disk is nearly full: `disk_reserve` is all that is left".to_owned(),
            Self::Short(Shortage::Memory) => "the program uses as much memory as `memory_limit` allows".to_owned(),
            Self::Short(Shortage::Descriptors) => {
                "few descriptors are left for connections and files: allow the program more (ulimit -n)".to_owned()
            }
            Self::Short(Shortage::Store) => "the store failed to keep a message a moment ago".to_owned(),
            Self::Short(Shortage::Ending) => "the program is ending".to_owned(),
            Self::SessionLimit => "there are as many sessions as `max_sessions` allows".to_owned(),
            Self::InvitationLimit => {
                "as many invitations wait as `max_pending_invites`, or `per_peer_limit` for this caller, allows".to_owned()
            }
            Self::RingsAlready => "an invitation of this caller rings already".to_owned(),
            Self::Merged => "the same request came before by another way (same Call-ID, From tag and CSeq)".to_owned(),
            Self::NoDialog => "no dialog of ours has this Call-ID and these tags, or it is over".to_owned(),
            Self::Elsewhere(from) => {
                let from = from.map_or_else(|| "nowhere".to_owned(), |from| from.ip().to_string());
                format!("it came from {from}, where the peer of this dialog is not known to be: see `trusted_hops`")
            }
            Self::InviteInProgress
            | Self::Glare
            | Self::NeedsWord
            | Self::OfferUnanswered
            | Self::Renegotiation => {
                let row = request.rows(Name::CSeq).next().unwrap_or_default();
                format!("CSeq: {}", String::from_utf8_lossy(row))
            }
            Self::Flood => "more requests a second than `limits` allow".to_owned(),
            Self::Overload => "as many transactions as `limits.transactions` allows".to_owned(),
            Self::NoResources => String::new(),
        }
    }
}

impl NotReplaced {
    /// Catalogue 1.3, rows 18 and 22 to 25.
    //= IM P-3
    //= IM S-6f
    //= IM X-6
    fn refused(&self) -> (u16, String, &'static str) {
        const NO_DIALOG: &str = "Call/Transaction Does Not Exist";
        match self {
            Self::Header(fault) => (400, fault.to_string(), "P-1"),
            Self::Unknown | Self::EarlyForeign => (481, NO_DIALOG.into(), "P-3"),
            Self::Over => (603, "Decline: the replaced dialog is over".into(), "P-3"),
            Self::Confirmed => (486, "Busy Here: the replaced dialog is confirmed".into(), "P-3"),
            Self::Unauthorised { trusted: true, .. } => (403, "Forbidden".into(), "S-6f"),
            Self::Unauthorised { trusted: false, .. } => (481, NO_DIALOG.into(), "X-6"),
        }
    }

    fn input(&self, request: &Message<'_>) -> String {
        let shown = |name: Name| {
            let rows: Vec<_> = request.rows(name).map(String::from_utf8_lossy).collect();
            (!rows.is_empty()).then(|| format!("{}: {}", name.text(), rows.join(" and ")))
        };
        let named = [Name::Replaces, Name::SessionReplaces].into_iter().find_map(shown).unwrap_or_default();
        match self {
            Self::Header(fault) => shown(fault.name).unwrap_or_default(),
            Self::Unknown => format!("{named} is no dialog of ours"),
            Self::EarlyForeign => format!("{named} is an invitation to us that is not answered"),
            Self::Over | Self::Confirmed => named,
            Self::Unauthorised { why, .. } => format!("{named}; {why}"),
        }
    }
}

/// RFC 8224 6.2.2, with the names of RFC 8224 13.2.
//= IM X-5
fn unproven(proof: Proof) -> (u16, String, &'static str) {
    let (status, reason) = match proof {
        Proof::UnsupportedType => (428, "Use Supported PASSporT Format"),
        Proof::UnknownSigner => (436, "Bad Identity Info"),
        Proof::UnsupportedAlgorithm | Proof::WrongSigner => (437, "Unsupported Credential"),
        Proof::Stale => (403, "Stale Date"),
        Proof::Valid | Proof::Elsewhere | Proof::Replayed | Proof::Invalid => {
            (438, "Invalid Identity Header")
        }
    };
    (status, reason.to_owned(), "X-5")
}

/// When to try again, and how long that will be possible (RFC 3261 20.33).
pub(crate) fn later(after: Option<u32>, reachable: Option<u32>) -> Vec<(Name, String)> {
    let Some(after) = after else { return Vec::new() };
    let duration = reachable.map(|seconds| format!(";duration={seconds}")).unwrap_or_default();
    vec![(Name::RetryAfter, format!("{after}{duration}"))]
}

/// The rows with which a refusal tells what would have been right.
fn asked_for(fault: &Fault, request: &Message<'_>, can: &Abilities<'_>) -> Vec<(Name, String)> {
    // RFC 3261 21.4.6: a 405 must have Allow, which every response of ours bears.
    if *fault == Fault::Extension {
        // RFC 3261 8.2.2.3: a 420 must list what is not understood.
        let tags: Vec<_> = unsupported(request, can.options).map(String::from_utf8_lossy).collect();
        vec![(Name::Unsupported, tags.join(", "))]
    } else if *fault == Fault::MediaType {
        // RFC 3261 8.2.3: a 415 must list what would have been understood.
        vec![(Name::Accept, can.media_types.join(", "))]
    } else if *fault == Fault::Encoding {
        vec![(Name::AcceptEncoding, "identity".to_owned())]
    } else {
        Vec::new()
    }
}

/// The header that tells why, for the faults of a request as a whole.
const TELLING: [(Fault, Name); 4] = [
    (Fault::Extension, Name::Require),
    (Fault::MediaType, Name::ContentType),
    (Fault::Encoding, Name::ContentEncoding),
    (Fault::NotAcceptable, Name::Accept),
];

impl From<HeaderFault> for PeerFault {
    fn from(fault: HeaderFault) -> Self {
        PeerFault::Sip(Fault::Header(fault))
    }
}

impl From<Fault> for PeerFault {
    fn from(fault: Fault) -> Self {
        PeerFault::Sip(fault)
    }
}

/// Text that may stand in a quoted string of a header.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if c == '"' || c == '\\' || c.is_control() { '\'' } else { c }).collect()
}
