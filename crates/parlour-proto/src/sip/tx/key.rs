//! How messages find their transaction: RFC 3261 17.1.3 and 17.2.3.

use std::num::NonZero;

use parlour_msrp::table::HashKeys;
use siphasher::sip128::SipHasher13;
use smallvec::SmallVec;

use crate::sip::header::{CSeq, CallId, From, To, Via};
use crate::sip::message::{Message, Start};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// 128 bits of a keyed hash over what identifies a transaction.
///
/// It stands for the strings themselves: the keys are secret, so nobody can construct two of the same print, and
/// among a million transactions two meet by chance once in 2^88.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Print(u64, NonZero<u64>);

impl Print {
    /// The first of all in order.
    pub(super) const LEAST: Print = Print(0, NonZero::<u64>::MIN);

    fn of(keys: HashKeys, parts: &[&[u8]]) -> Print {
        // One run over the parts, each behind its length.
        let mut octets = Vec::with_capacity(256);
        for part in parts {
            octets.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            octets.extend_from_slice(part);
        }
        let hash = SipHasher13::new_with_keys(keys.0, keys.1).hash(&octets);
        Print(hash.h1, NonZero::new(hash.h2).unwrap_or(NonZero::<u64>::MIN))
    }

    /// Names a client transaction: our branches are unique, and a CANCEL shares that of its INVITE.
    pub(super) fn of_client(keys: HashKeys, branch: &str, method: &[u8]) -> Print {
        Print::of(keys, &[b"client", branch.as_bytes(), method])
    }
}

/// Whose transaction a request is to be found under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// That of the request itself.
    Itself,
    /// That of the INVITE which this ACK or CANCEL is about.
    Invite,
    /// As `Invite`, for a client of RFC 2543: that of an INVITE without To tag.
    InviteWithoutToTag,
}

/// The print of the server transaction of a request.
pub(super) fn server(keys: HashKeys, request: &Message<'_>, via: &Via<'_>, like: As) -> Print {
    let method = match (like, request.start()) {
        (As::Itself, Start::Request { method_text, .. }) => method_text,
        (As::Invite | As::InviteWithoutToTag, _) | (_, Start::Response { .. }) => b"INVITE",
    };
    if let Some(branch) = modern_branch(via) {
        // RFC 3261 17.2.3: branch, sent-by and method.
        let mut host = SmallVec::<[u8; 64]>::from_slice(via.host.as_bytes());
        host.make_ascii_lowercase();
        let port = via.port.map(u16::to_be_bytes);
        let port = port.as_ref().map_or([].as_slice(), |port| port);
        return Print::of(keys, &[b"server", branch.as_bytes(), &host, port, method]);
    }
    // RFC 3261 17.2.3, for clients of RFC 2543: Request-URI, To tag, From tag, Call-ID, CSeq and top Via.
    let to_tag = match like {
        As::Itself | As::Invite => to_tag(request),
        As::InviteWithoutToTag => None,
    };
    let parts: [&[u8]; 8] = [
        b"2543",
        method,
        request.request_uri().unwrap_or_default(),
        to_tag.unwrap_or_default().as_bytes(),
        from_tag(request).unwrap_or_default().as_bytes(),
        request.one::<CallId<'_>>().map_or("", |id| id.0).as_bytes(),
        &request.one::<CSeq<'_>>().map_or([0; 4], |cseq| cseq.number.to_be_bytes()),
        request.values(Name::Via).next().unwrap_or_default(),
    ];
    Print::of(keys, &parts)
}

/// What a request that came here twice over different paths has in common with itself (RFC 3261 8.2.2.2); `None` for
/// requests within a dialog and for those that can't be compared.
pub(super) fn merge(keys: HashKeys, request: &Message<'_>) -> Option<Print> {
    if request.method() == Some(Method::Ack) || to_tag(request).is_some() {
        return None;
    }
    let cseq = request.one::<CSeq<'_>>().ok()?;
    let call_id = request.one::<CallId<'_>>().ok()?;
    let from_tag = from_tag(request).unwrap_or_default();
    let number = cseq.number.to_be_bytes();
    Some(Print::of(keys, &[b"merge", from_tag.as_bytes(), call_id.0.as_bytes(), &number, cseq.method_text]))
}

/// The branch, if it was made by the rules of RFC 3261 8.1.1.7: the magic cookie and something unique behind it.
pub(super) fn modern_branch<'a>(via: &Via<'a>) -> Option<&'a str> {
    let branch = via.branch()?;
    let (cookie, unique) = branch.split_at_checked(7)?;
    (cookie.eq_ignore_ascii_case("z9hG4bK") && !unique.is_empty()).then_some(branch)
}

/// The To tag of a message.
pub(super) fn to_tag<'a>(message: &Message<'a>) -> Option<&'a str> {
    message.one::<To<'a>>().ok()?.tag()
}

fn from_tag<'a>(message: &Message<'a>) -> Option<&'a str> {
    message.one::<From<'a>>().ok()?.tag()
}
