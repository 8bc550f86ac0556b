//! What the body of a request carries, whole or in parts: the session description, and in an invitation who else is
//! invited and a first message (RFC 5621; catalogue 5.1).

use crate::event::Invitee;
use crate::fault::PeerFault;
use crate::mime::multipart::{self, Part};
use crate::mime::{cpim, resource_list};
use crate::sip::fault::Fault;
use crate::sip::header::{ContentDisposition, ContentType, Header};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;

/// What we read in any request that may have a description, and what besides in an INVITE.
pub(crate) const DESCRIBING: &[&str] = &["application/sdp", "multipart/mixed", "multipart/*"];
pub(crate) const INVITING: &[&str] =
    &["application/sdp", "multipart/mixed", "multipart/*", resource_list::MEDIA_TYPE, cpim::MEDIA_TYPE];

/// What the answer to OPTIONS tells of it: over UDP it may not be long.
pub(crate) const BRIEFLY: &[&str] = &["application/sdp", "multipart/mixed"];

/// What a body carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried<'a> {
    /// The session description; empty if there is none.
    pub(crate) description: &'a [u8],
    /// Who else is invited.
    pub(crate) invited_with: Vec<Invitee>,
    /// The first message: `message/cpim`.
    pub(crate) first: Option<&'a [u8]>,
    /// Pictures in an INVITE: previews of files, or of the caller.
    pub(crate) images: Vec<Image<'a>>,
    /// Types of parts that need not be understood, and are not.
    pub(crate) passed_over: Vec<String>,
    /// Whether pictures have a place here.
    takes_images: bool,
}

/// A picture in a body.
#[derive(Debug, Clone)]
pub(crate) struct Image<'a> {
    /// Its Content-ID, without the angle brackets.
    pub(crate) id: &'a [u8],
    pub(crate) media_type: String,
    pub(crate) octets: &'a [u8],
}

/// Pictures that are kept of one body.
const MOST_IMAGES: usize = 8;
/// The largest that is kept, octets. RFC 5547 8.8: as few as have a meaning.
const LARGEST_IMAGE: usize = 64 * 1024;

/// Reads the body of an initial INVITE.
///
/// # Errors
/// It breaks the rules of its type, or a part that must be understood is not.
//= IM S-1b
pub(crate) fn invitation<'a>(invite: &Message<'a>) -> Result<Carried<'a>, PeerFault> {
    read(invite, true)
}

/// The session description in the body of a message; empty if there is none.
///
/// # Errors
/// As for an invitation.
pub(crate) fn description<'a>(message: &Message<'a>) -> Result<&'a [u8], PeerFault> {
    read(message, false).map(|carried| carried.description)
}

/// The pictures in the body of an INVITE.
pub(crate) fn images<'a>(invite: &Message<'a>) -> Vec<Image<'a>> {
    read(invite, false).map(|carried| carried.images).unwrap_or_default()
}

/// The same in a message that cannot be refused: what cannot be read is not there.
pub(crate) fn description_or_none<'a>(message: &Message<'a>) -> &'a [u8] {
    description(message).unwrap_or_default()
}

fn read<'a>(message: &Message<'a>, invites: bool) -> Result<Carried<'a>, PeerFault> {
    let takes_images = invites || message.method() == Some(Method::Invite);
    let mut carried = Carried { takes_images, ..Carried::default() };
    let body = message.body();
    let Some(kind) = message.rows(Name::ContentType).next().filter(|_| !body.is_empty()) else {
        // Who sends an answer without saying what it is has always been understood.
        carried.description = body;
        return Ok(carried);
    };
    let says_more = message.has(Name::ContentDisposition) || message.has(Name::ContentEncoding);
    if kind.eq_ignore_ascii_case(b"application/sdp") && !says_more {
        // As nearly always.
        carried.description = body;
        return Ok(carried);
    }
    let row = |name: Name| message.rows(name).next().map(|value| (name.text(), value));
    let rows = [Name::ContentType, Name::ContentDisposition, Name::ContentEncoding].map(row);
    let mut whole = Part { rows: rows.into_iter().flatten().collect(), body, parts: Vec::new() };
    if multipart::is_multipart(kind) {
        whole.parts = multipart::read(kind, body).map_err(|fault| PeerFault::Body(fault.to_string()))?;
    }
    carried.take(&whole, invites, Demand::AsItSays)?;
    Ok(carried)
}

/// Whether a part must be understood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Its Content-Disposition says.
    AsItSays,
    /// It must, whatever it says.
    Must,
}

impl<'a> Carried<'a> {
    /// Takes a part in, with all that it has inside.
    fn take(&mut self, part: &Part<'a>, invites: bool, demand: Demand) -> Result<(), PeerFault> {
        let disposition = part.row("Content-Disposition").map(ContentDisposition::parse).transpose()?;
        let handling = disposition.and_then(|disposition| disposition.params.token("handling"));
        // RFC 5621 8.1: required, if nothing is said.
        let optional = demand == Demand::AsItSays
            && handling.is_some_and(|handling| handling.eq_ignore_ascii_case("optional"));
        // RFC 2046 5.1: text, if nothing is said.
        let kind = part.row("Content-Type").unwrap_or(b"text/plain");
        let media_type = ContentType::parse(kind).map_or("", |kind| kind.media_type).to_ascii_lowercase();
        let taken = if encoded(part) {
            Err(Fault::Encoding.into())
        } else if media_type == "multipart/alternative" {
            self.take_one_of(&part.parts, invites)
        } else if media_type.starts_with("multipart/") {
            self.take_all(&part.parts, invites)
        } else {
            self.take_leaf(&media_type, disposition.map(|disposition| disposition.kind), part.body, invites)
        };
        if taken.is_ok()
            && media_type.starts_with("image/")
            && part.body.len() <= LARGEST_IMAGE
            && self.images.len() < MOST_IMAGES
        {
            let id = part.row("Content-ID").unwrap_or_default().trim_ascii();
            let id = id.strip_prefix(b"<").and_then(|id| id.strip_suffix(b">")).unwrap_or(id);
            self.images.push(Image { id, media_type: media_type.clone(), octets: part.body });
        }
        match taken {
            // RFC 5621 8.1: what is optional and not understood is passed over.
            Err(_) if optional => {
                self.passed_over.push(media_type);
                Ok(())
            }
            taken => taken,
        }
    }

    /// RFC 2046 5.1.3: each part for itself. A subtype that nobody knows is read so, too. All of it or nothing: an
    /// optional whole whose parts are not understood is passed over as a whole.
    fn take_all(&mut self, parts: &[Part<'a>], invites: bool) -> Result<(), PeerFault> {
        let mut with = self.clone();
        parts.iter().try_for_each(|part| with.take(part, invites, Demand::AsItSays))?;
        *self = with;
        Ok(())
    }

    /// RFC 5621 6.1 and 8.3: the last of the parts that is understood; what they say of themselves does not count.
    fn take_one_of(&mut self, parts: &[Part<'a>], invites: bool) -> Result<(), PeerFault> {
        let mut first_fault = None;
        for part in parts.iter().rev() {
            let mut with = self.clone();
            match with.take(part, invites, Demand::Must) {
                Ok(()) => {
                    *self = with;
                    return Ok(());
                }
                Err(fault) => drop(first_fault.get_or_insert(fault)),
            }
        }
        Err(first_fault.unwrap_or(Fault::MediaType.into()))
    }

    fn take_leaf(
        &mut self,
        media_type: &str,
        disposition: Option<&str>,
        body: &'a [u8],
        invites: bool,
    ) -> Result<(), PeerFault> {
        // RFC 3261 20.11: what the defaults are.
        let default = if media_type == "application/sdp" { "session" } else { "render" };
        let disposition = disposition.unwrap_or(default).to_ascii_lowercase();
        match (media_type, disposition.as_str()) {
            ("application/sdp", "session") if self.description.is_empty() => self.description = body,
            ("application/sdp", "session") => {
                return Err(PeerFault::Body("there are two session descriptions".into()));
            }
            // RFC 5366 4
            (resource_list::MEDIA_TYPE, "recipient-list-history") if invites => {
                let entries =
                    resource_list::parse(body).map_err(|fault| PeerFault::Body(fault.to_string()))?;
                let room = resource_list::MOST_ENTRIES.saturating_sub(self.invited_with.len());
                self.invited_with.extend(entries.into_iter().take(room).map(Invitee::from));
            }
            (cpim::MEDIA_TYPE, "render") if invites && self.first.is_none() => {
                let message = cpim::parse(body, true).map_err(|fault| PeerFault::Body(fault.to_string()))?;
                // RFC 3862 4.6: what requires something that we do not know must not be shown.
                if !message.required_unknown.is_empty() {
                    return Err(Fault::MediaType.into());
                }
                self.first = Some(body);
            }
            // RFC 5547 8.8: a preview of a file; or of the caller, which nothing shows yet.
            (image, _) if self.takes_images && image.starts_with("image/") => {}
            // RFC 5621 8.4: a type or a disposition that has no meaning here.
            (_, _) => return Err(Fault::MediaType.into()),
        }
        Ok(())
    }
}

/// Whether a part is coded in a way that we would have to undo. RFC 5621 3.2: in SIP nothing needs to be.
fn encoded(part: &Part<'_>) -> bool {
    let plain = |value: &[u8]| {
        ["7bit", "8bit", "binary", "identity", ""]
            .iter()
            .any(|known| value.eq_ignore_ascii_case(known.as_bytes()))
    };
    let rows =
        ["Content-Transfer-Encoding", "Content-Encoding"].into_iter().filter_map(|name| part.row(name));
    !rows.into_iter().all(|value| plain(value.trim_ascii()))
}

/// What a request with this method may carry.
pub(crate) fn media_types(method: Option<Method>) -> &'static [&'static str] {
    match method {
        Some(Method::Invite | Method::Options) => INVITING,
        _ => DESCRIBING,
    }
}
