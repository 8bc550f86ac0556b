//! Is an offer acceptable? The test that S-1 asks for, before any user is troubled (catalogue 3.4).

use std::net::{IpAddr, Ipv4Addr};

use parlour_msrp::accept::{AcceptTypes, essence};
use parlour_msrp::uri::{MsrpPath, MsrpUri};

use super::cema::{Anchor, FallBack, Half, anchor, narrowed};
use super::fingerprint;
use super::setup::answer_role;
use super::unfit::quote;
use super::{
    Capabilities, Chatroom, Connection, Direction, FileAttributes, Fingerprint, Media, Refusal, Role,
    Session, Setup, Unfit,
};

/// The one container that we make.
const CPIM: &str = "message/cpim";

/// The most files that one session carries.
pub(super) const MOST_FILES: usize = 8;

/// An acceptable offer: one verdict for each line, and the streams that we take: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// For each `m=` line in order: why it is refused, or `None` for one that is accepted.
    pub lines: Vec<Option<Unfit>>,
    /// The stream for messages that is accepted, if one is.
    pub chat: Option<Stream>,
    /// The files that are accepted, in the order of their lines: each has [`Stream::file`].
    pub files: Vec<Stream>,
}

/// One agreed MSRP stream, seen from our side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The position of its `m=` line.
    pub line: usize,
    /// The peer's path.
    pub path: MsrpPath,
    /// What the peer takes: this governs what we send (D-33).
    pub accepted: AcceptTypes,
    /// What our description lists: this governs what we take; anything else gets 415 (D-33).
    pub listed: AcceptTypes,
    /// The largest message that our description says that we take, octets; larger ones get 413.
    pub takes: u64,
    /// The largest message that the peer wishes to receive, octets (D-7).
    pub max_size: Option<u64>,
    /// Whether we connect or listen.
    pub role: Role,
    /// Which way messages flow, seen from us. It governs content only: not REPORTs, IMDN and isComposing (RFC 4975 8.9).
    pub direction: Direction,
    /// Whether it is `TCP/TLS/MSRP`.
    pub tls: bool,
    /// By which fingerprints the peer's certificate is known, any of them; empty if its description has none.
    pub fingerprints: Vec<Fingerprint>,
    /// Where an active end connects, if not to the leftmost URI of the path (D-15, D-16).
    pub hop: Option<MsrpUri>,
    /// Whether both ends know CEMA (RFC 6714).
    pub cema: bool,
    /// Whether it has to be offered again without CEMA.
    pub fall_back: FallBack,
    /// `a=mid`, mirrored in our answer.
    pub mid: Option<String>,
    /// `a=chatroom`: what the peer says of chat rooms, if it is one or knows them.
    pub chatroom: Option<Chatroom>,
    /// `a=label`, else `i=`, for display: neutralise it first.
    pub label: Option<String>,
    /// The file that it is for; `None` for messages.
    pub file: Option<Box<FileAttributes>>,
}

/// How a body leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// As it is.
    Bare,
    /// Inside `message/cpim`.
    Cpim,
}

impl Stream {
    /// Where an active end connects.
    pub fn target(&self) -> &MsrpUri {
        self.hop.as_ref().unwrap_or_else(|| self.path.leftmost())
    }

    /// Whether the peer's lists have that very media type: `*` and `type/*` do not count.
    pub fn names(&self, media_type: &str) -> bool {
        let mut named = self.accepted.types().chain(self.accepted.wrapped_types());
        named.any(|named| named.eq_ignore_ascii_case(media_type))
    }

    //= IM M-32
    //= IM D-33
    /// How a body of that media type is sent to the peer; `None` if it takes no such body.
    pub fn wrapping(&self, media_type: &str) -> Option<Wrapping> {
        let cpim = self.accepted.accepts_inside(CPIM, media_type);
        match self.accepted.preference(media_type) {
            // What the peer lists first it likes best (RFC 4975 8.6).
            Some(bare) if cpim && self.accepted.preference(CPIM) < Some(bare) => Some(Wrapping::Cpim),
            Some(_) => Some(Wrapping::Bare),
            None => cpim.then_some(Wrapping::Cpim),
        }
    }
}

impl Judged {
    /// Refuses a line that was acceptable.
    pub fn refuse(&mut self, line: usize, why: Unfit) {
        self.chat.take_if(|stream| stream.line == line);
        self.files.retain(|stream| stream.line != line);
        if let Some(verdict) = self.lines.get_mut(line) {
            *verdict = Some(why);
        }
    }

    /// Refuses all files.
    pub fn refuse_files(&mut self, why: &'static str) {
        while let Some(stream) = self.files.first() {
            self.refuse(stream.line, Unfit::FileRefused(why));
        }
    }

    /// The streams that are accepted.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.chat.iter().chain(&self.files)
    }

    /// Takes a line in that was found acceptable, if there is room for one of its kind.
    pub(super) fn take(&mut self, stream: Stream) -> Option<Unfit> {
        match &stream.file {
            Some(_) if self.files.len() >= MOST_FILES => return Some(Unfit::Files(MOST_FILES)),
            Some(_) => self.files.push(stream),
            None if self.chat.is_some() => return Some(Unfit::Surplus),
            None => self.chat = Some(stream),
        }
        None
    }
}

//= IM S-1
//= IM S-1c
//= IM D-42
/// Judges an offer against what we can do: each line for itself.
///
/// # Errors
/// No line is acceptable: the reason of the line that came closest.
pub fn judge(offer: &Session, ours: &Capabilities) -> Result<Judged, Refusal> {
    let mut judged = Judged { lines: Vec::with_capacity(offer.media.len()), chat: None, files: Vec::new() };
    let secured = is_secured(offer, ours);
    for (line, media) in offer.media.iter().enumerate() {
        let role = |said, tls| answer_role(said, ours, tls);
        let verdict = match examine(offer, line, media, ours, Half::Offer, role) {
            Err(unfit) => Some(unfit),
            Ok(stream) if secured && !stream.tls && stream.file.is_none() => Some(Unfit::Downgrade),
            Ok(stream) => judged.take(stream),
        };
        judged.lines.push(verdict);
    }
    if judged.streams().next().is_none() {
        return Err(closest(&judged.lines));
    }
    Ok(judged)
}

//= IM D-22
/// Whether an offer has a line with TLS that we could take: then none without it is, whatever becomes of that line, as
/// whoever can spoil it could have us talk in the clear.
pub(super) fn is_secured(offer: &Session, ours: &Capabilities) -> bool {
    let with_tls = |media: &Media| {
        media.media.eq_ignore_ascii_case("message")
            && media.port != 0
            && media.protocol.eq_ignore_ascii_case("TCP/TLS/MSRP")
            && media.attribute("file-selector").is_none()
    };
    ours.has_tls() && offer.media.iter().any(with_tls)
}

/// What to tell of lines none of which is acceptable.
fn closest(lines: &[Option<Unfit>]) -> Refusal {
    let best = lines.iter().flatten().rev().max_by_key(|unfit| unfit.rank());
    Refusal::from(best.unwrap_or(&Unfit::NotMessage))
}

/// The checks that one line must pass, in order. `role` says what we do, given what the peer says, with or without TLS.
pub(super) fn examine(
    session: &Session,
    line: usize,
    media: &Media,
    ours: &Capabilities,
    half: Half,
    role: impl Fn(Option<Setup>, bool) -> Option<Role>,
) -> Result<Stream, Unfit> {
    if !media.media.eq_ignore_ascii_case("message") {
        return Err(Unfit::NotMessage);
    }
    if media.port == 0 {
        return Err(Unfit::Disabled);
    }
    let tls = protocol(media, ours)?;
    address(session, media, ours)?;
    let path = path(media, ours, tls)?;
    let direction = Direction::of(session, media).reversed();
    //= IM D-54
    // RFC 3264 8.4: this address was how RFC 2543 put a peer on hold.
    let held = connection(session, media).is_some_and(|connection| connection.address == "0.0.0.0");
    let direction = if held { direction.without_sending() } else { direction };
    let file = file(media, ours, direction)?;
    let (accepted, listed) = match &file {
        Some(file) => file_types(media, file)?,
        None => types(media, ours, direction)?,
    };
    let role = match Setup::of(session, media) {
        Err(value) => return Err(Unfit::Setup(quote(value))),
        Ok(said) => {
            let wanted = if half == Half::Offer { narrowed(said, media, &path, ours) } else { said };
            role(wanted, tls)
                .or_else(|| role(said, tls))
                .ok_or_else(|| Unfit::Setup(said.map_or("absent", Setup::text).to_owned()))?
        }
    };
    let fingerprints = if tls { fingerprint::of(session, media)? } else { Vec::new() };
    let Anchor { agreed: cema, hop, fall_back } = anchor(session, media, &path, role, half, ours)?;
    //= IM D-7
    // RFC 4975 8.6: max-size is a hint, so one that cannot be read says nothing.
    let max_size = media.attribute("max-size").and_then(|value| value.trim().parse().ok());
    let mid = media.attribute("mid").map(str::to_owned);
    let label = media.attribute("label").map(str::to_owned).or_else(|| media.title.clone());
    let chatroom = Chatroom::of(media);
    let takes = if file.is_some() { ours.max_file } else { ours.max_size };
    Ok(Stream {
        line,
        path,
        accepted,
        listed,
        takes,
        max_size,
        role,
        direction,
        tls,
        fingerprints,
        hop,
        cema,
        fall_back,
        mid,
        chatroom,
        label,
        file,
    })
}

//= IM D-1
//= IM D-20
//= IM D-21
/// Whether the line asks for TLS.
fn protocol(media: &Media, ours: &Capabilities) -> Result<bool, Unfit> {
    let protocol = &media.protocol;
    // RFC 4975 8.1 knows these two. A line that asks for TLS is never served without it.
    if protocol.eq_ignore_ascii_case("TCP/MSRP") {
        // Catalogue 1.3 row 34
        if ours.plain { Ok(false) } else { Err(Unfit::Plain) }
    } else if protocol.eq_ignore_ascii_case("TCP/TLS/MSRP") && ours.has_tls() {
        Ok(true)
    } else {
        Err(Unfit::Protocol(quote(protocol)))
    }
}

/// The `c=` line is not where MSRP connects (RFC 4975 8.1), but it tells what the peer can reach.
fn address(session: &Session, media: &Media, ours: &Capabilities) -> Result<(), Unfit> {
    let Some(connection) = connection(session, media) else { return Ok(()) };
    if !connection.net_type.eq_ignore_ascii_case("IN") {
        return Err(Unfit::Network(quote(&connection.net_type)));
    }
    let kind = &connection.address_type;
    let have =
        (kind.eq_ignore_ascii_case("IP4") && ours.ipv4) || (kind.eq_ignore_ascii_case("IP6") && ours.ipv6);
    if !have {
        return Err(Unfit::Family(quote(kind)));
    }
    let address = connection.address.split('/').next().unwrap_or_default();
    match address.parse::<IpAddr>() {
        Ok(address) if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Err(Unfit::Multicast)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The `c=` line that is for a line.
pub(super) fn connection<'s>(session: &'s Session, media: &'s Media) -> Option<&'s Connection> {
    media.connection.as_ref().or(session.connection.as_ref())
}

//= IM D-2
fn path(media: &Media, ours: &Capabilities, tls: bool) -> Result<MsrpPath, Unfit> {
    let mut values = media.all("path");
    let value = values.next().ok_or(Unfit::NoPath)?;
    // Some gateways write each attribute twice (catalogue 7.1c): the same path again is still one path.
    if values.any(|again| again.trim() != value.trim()) {
        return Err(Unfit::TwoPaths);
    }
    let path = MsrpPath::parse(value.trim()).map_err(Unfit::Path)?;
    for uri in path.uris() {
        // RFC 4975 8.2: URIs in SDP name their port.
        if uri.port().is_none() {
            return Err(Unfit::PathPart("a URI without port"));
        }
    }
    if path.rightmost().session_id().is_none() {
        return Err(Unfit::PathPart("a URI without session-id"));
    }
    let hop = path.leftmost();
    // RFC 7977 5.2.2: what lies behind the first hop may speak whatever it likes, such as WebSocket (ws) with its relay. No
    // peer can be connected to by WebSocket.
    if !hop.transport().eq_ignore_ascii_case("tcp") {
        return Err(Unfit::PathPart("a first hop with a transport other than tcp"));
    }
    if hop.is_secure() != tls {
        return Err(Unfit::PathPart(if tls { "msrp for TCP/TLS/MSRP" } else { "msrps for TCP/MSRP" }));
    }
    match hop.ip() {
        Some(ip) if ip.is_multicast() => Err(Unfit::Multicast),
        Some(IpAddr::V4(_)) if !ours.ipv4 => Err(Unfit::Family("IP4".to_owned())),
        Some(IpAddr::V6(_)) if !ours.ipv6 => Err(Unfit::Family("IP6".to_owned())),
        Some(_) | None => Ok(path),
    }
}

//= IM D-3
/// What the peer takes and what we list, if that leaves something to say to each other in our `direction`.
fn types(
    media: &Media,
    ours: &Capabilities,
    direction: Direction,
) -> Result<(AcceptTypes, AcceptTypes), Unfit> {
    let offered = media.attribute("accept-types").ok_or(Unfit::NoTypes)?;
    let mut accepted = AcceptTypes::default();
    media.all("accept-types").for_each(|value| accepted.add_types(value));
    media.all("accept-wrapped-types").for_each(|value| accepted.add_wrapped_types(value));
    //= IM D-32
    let listed = ours.receivable.answer(&accepted);
    let fits = match direction {
        Direction::RecvOnly => !listed.is_empty(),
        Direction::SendRecv | Direction::SendOnly | Direction::Inactive => {
            let sends = |kind: &String| accepted.accepts_root(kind) || accepted.accepts_inside(CPIM, kind);
            ours.sendable.iter().any(sends)
        }
    };
    if !fits {
        return Err(Unfit::Types(quote(offered)));
    }
    // RFC 4975 8.6: accept-types may not be missing, also where only the peer's list matters.
    let listed = if listed.is_empty() { ours.receivable.clone() } else { listed };
    Ok((accepted, listed))
}

//= IM D-40
/// What file the line is for, if it is for one that can be transferred in our `direction`.
fn file(
    media: &Media,
    ours: &Capabilities,
    direction: Direction,
) -> Result<Option<Box<FileAttributes>>, Unfit> {
    let Some(file) = FileAttributes::of(media)? else { return Ok(None) };
    // RFC 5547 8.2: sendonly pushes a file, recvonly pulls one.
    match (direction, file.selector.size) {
        _ if ours.max_file == 0 => Err(Unfit::File),
        (Direction::RecvOnly, Some(size)) if size > ours.max_file => {
            Err(Unfit::FileTooLarge(size, ours.max_file))
        }
        (Direction::RecvOnly | Direction::SendOnly, _) => Ok(Some(Box::new(file))),
        (Direction::SendRecv | Direction::Inactive, _) => Err(Unfit::FileDirection),
    }
}

/// What the peer takes, and what we list: the type of the file, if it is told.
fn file_types(media: &Media, file: &FileAttributes) -> Result<(AcceptTypes, AcceptTypes), Unfit> {
    media.attribute("accept-types").ok_or(Unfit::NoTypes)?;
    let mut accepted = AcceptTypes::default();
    media.all("accept-types").for_each(|value| accepted.add_types(value));
    media.all("accept-wrapped-types").for_each(|value| accepted.add_wrapped_types(value));
    let kind = file.selector.media_type.as_deref().map_or("*", essence);
    // D-32: what is offered first is listed first.
    let explicit = |kind| accepted.preference(kind).filter(|_| accepted.accepts_root(kind));
    let listed = match (explicit(CPIM), explicit(kind)) {
        (None, _) => AcceptTypes::parse(kind, None),
        (Some(wrapped), Some(bare)) if bare <= wrapped => AcceptTypes::parse(&format!("{kind} {CPIM}"), None),
        (Some(_), _) => AcceptTypes::parse(CPIM, Some(kind)),
    };
    Ok((accepted, listed))
}

/// What we list for a file that we ask for: bare, or wrapped as others do it (RFC 5547 9.1).
pub(crate) fn wanted_types(kind: &str) -> AcceptTypes {
    match essence(kind) {
        // That includes a wrapping, and likes it no better.
        "*" => AcceptTypes::parse("*", None),
        kind => AcceptTypes::parse(&format!("{kind} {CPIM}"), None),
    }
}
