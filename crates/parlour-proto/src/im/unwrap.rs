//! Received messages: taken out of message/cpim, and then apart.

use parlour_msrp::Body;
use parlour_msrp::accept::AcceptTypes;

use crate::event::Incoming;
use crate::im::Core;
use crate::io::{AccountId, SessionId};
use crate::mime::content::{self, Coding, Head};
use crate::mime::cpim::{self, Cpim, CpimFault, Mailbox};
use crate::mime::imdn::{self, Asked};
use crate::mime::multipart::DEEPEST;
use crate::sip::uri::{Uri, is_anonymous, same_identity};

/// Why a wrapping cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Cpim(#[from] CpimFault),
    #[error("Require: {0}")]
    Required(String),
}

impl Fault {
    /// The MSRP status that says so.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Fault::Cpim(_) => 400,
            Fault::Required(_) => 415,
        }
    }
}

/// What a wrapping says besides who wrote to whom.
#[derive(Debug, Default)]
pub(crate) struct Wrapped {
    /// What the author wants to hear of the message.
    pub(crate) asked: Option<Asked>,
    /// Whether it is a notification of what became of a message of ours.
    pub(crate) notifies: bool,
    /// Who wrote it, as the outermost wrapping says.
    pub(crate) from: Option<Mailbox>,
    /// To whom, the same.
    pub(crate) to: Vec<Mailbox>,
    /// What it says of the body.
    pub(crate) around: Around,
}

/// What the headers around a body say of it, besides its type.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) disposition: Option<String>,
    /// Content-Transfer-Encoding, unless it was undone.
    pub(crate) coding: Option<String>,
}

/// Takes a message out of its message/cpim wrapping, and that out of the next one if there are several.
///
/// # Errors
/// It is no message/cpim, or requires what we do not know.
//= IM M-30
pub(crate) fn unwrap(incoming: &mut Incoming) -> Result<Wrapped, Fault> {
    let mut wrapped = Wrapped::default();
    let mut authors = Vec::new();
    for level in 0..DEEPEST {
        // What is still coded is not here as a whole.
        if !cpim::is_cpim(&incoming.content_type) || wrapped.around.coding.is_some() {
            break;
        }
        let wrapping = match parse(incoming) {
            // Of what lies in a spool only the beginning is here.
            Err(Fault::Cpim(CpimFault::NeedMore | CpimFault::TooLarge)) if level > 0 => break,
            parsed => parsed?,
        };
        // RFC 5438 7.1: who sends the message to us asks; what is inside was asked of somebody else.
        if level == 0 {
            wrapped.asked = imdn::asked(&wrapping);
            (wrapped.from, wrapped.to) = (wrapping.from.clone(), wrapping.to.clone());
            // P-10: the same message, whatever carries it, has one name.
            if let Some(id) = imdn::message_id(&wrapping) {
                incoming.message_id = id.to_owned();
            }
        }
        wrapped.notifies = imdn::is_notification(&wrapping);
        wrapped.around = open(incoming, &wrapping);
        authors.extend(wrapping.from);
        // The innermost is the author's own word.
        incoming.sent_at = wrapping.date_time.or(incoming.sent_at.take());
        incoming.subject = wrapping.subject.or(incoming.subject.take());
        incoming.content_type = wrapping.content_type;
    }
    //= IM M-33
    let claimed = authors.first().map(|author| author.uri.clone());
    incoming.claimed_from = claimed.filter(|uri| is_other_author(uri, &incoming.from.address));
    // RFC 4975 14.5: a gateway and a conference wrap what they pass on, and each vouches for the next one.
    incoming.authors = if authors.len() > 1 { authors } else { Vec::new() };
    wrapped.asked = wrapped.asked.filter(|_| !wrapped.notifies);
    Ok(wrapped)
}

/// Reads the wrapping that the octets at hand begin with.
fn parse(incoming: &Incoming) -> Result<Cpim, Fault> {
    let (head, whole) = match &incoming.body {
        Body::Inline(octets) => (octets, true),
        Body::Spooled { head, .. } => (head, false),
    };
    let from = usize::try_from(incoming.body_offset).unwrap_or(usize::MAX);
    let octets = head.get(from..).unwrap_or_default();
    let wrapping = cpim::parse(octets, whole)?;
    match wrapping.required_unknown.first() {
        // RFC 3862 3.5: what requires something that we do not know must not be shown.
        Some(unknown) => Err(Fault::Required(unknown.clone())),
        None => Ok(wrapping),
    }
}

/// Leaves what is inside the wrapping, decoded if it is here as a whole.
fn open(incoming: &mut Incoming, wrapping: &Cpim) -> Around {
    let head = wrapping.content_head();
    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    let mut around = Around { disposition: text(head.disposition), coding: None };
    let coding = Coding::of(head.coding);
    match &mut incoming.body {
        Body::Inline(octets) => {
            octets.drain(..wrapping.body_offset.min(octets.len()));
            match coding {
                Some(Coding::Identity) => {}
                Some(coding) => *octets = coding.decode(octets).into_owned(),
                None => around.coding = text(head.coding),
            }
        }
        Body::Spooled { .. } => {
            let offset = u64::try_from(wrapping.body_offset).unwrap_or(u64::MAX);
            incoming.body_offset = incoming.body_offset.saturating_add(offset);
            around.coding = text(head.coding).filter(|_| coding != Some(Coding::Identity));
        }
    }
    around
}

impl Core {
    /// Takes a message apart. What is too large for memory stays whole: only its first octets are here.
    //= IM M-14
    pub(crate) fn take_apart(
        &mut self,
        account: AccountId,
        session: Option<SessionId>,
        incoming: &mut Incoming,
        around: &Around,
    ) {
        let head = Head {
            content_type: Some(incoming.content_type.as_bytes()),
            disposition: around.disposition.as_deref().map(str::as_bytes),
            coding: around.coding.as_deref().map(str::as_bytes),
            id: None,
        };
        let parts = match &incoming.body {
            Body::Inline(octets) => content::read(head, octets),
            Body::Spooled { size, .. } => {
                content::unread(head, incoming.body_offset, size.saturating_sub(incoming.body_offset))
            }
        };
        for part in &parts {
            if let Some(trouble) = &part.trouble {
                let input = format!("{}: {trouble}", part.content_type);
                self.explain(account, session, "M-14", "a part of a message is kept and not shown", &input);
            }
        }
        incoming.renderable = parts.iter().any(content::Part::is_shown);
        incoming.parts = parts;
    }
}

/// Whether a type may stand in a wrapping: our description lists it, or every endpoint takes it.
//= IM D-33
pub(crate) fn takes_wrapped(listed: &AcceptTypes, media_type: &str) -> bool {
    let wanted = parlour_msrp::accept::essence(media_type);
    listed.accepts_wrapped(media_type)
        || cpim::is_cpim(media_type)
        || content::taken_unlisted().any(|known| known.eq_ignore_ascii_case(wanted))
}

/// Whether a message claims an author other than the peer of its session. Anonymous is no claim (M-32).
fn is_other_author(claimed: &str, peer: &str) -> bool {
    match (Uri::parse(claimed.as_bytes()), Uri::parse(peer.as_bytes())) {
        (Ok(claimed), _) if is_anonymous(&claimed) => false,
        (Ok(claimed), Ok(peer)) => !same_identity(&claimed, &peer),
        (_, _) => claimed != peer,
    }
}
