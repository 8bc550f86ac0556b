//! What the terminal says of who carries and reads what is said: a peer's certificate, a relay that does not work.

use std::time::Duration;

use parlour_proto::event::{Peer, Secured, Voucher};
use parlour_proto::text;

use crate::json;
use crate::line::who;

/// What TLS says of who is there.
pub(crate) fn encrypted(secured: &Secured) -> String {
    let Secured { peer, by, fingerprint: _, protected } = secured;
    match by {
        Voucher::Authority { name } => format!("encrypted; an authority vouches for {}", text::neutral(name)),
        Voucher::Fingerprint if *protected => {
            format!("encrypted; the certificate is the one of {}", who(peer))
        }
        Voucher::Fingerprint => format!(
            "encrypted; the certificate is the one of the invitation, which came unprotected: nobody vouches that it is {}'s",
            who(peer)
        ),
        Voucher::Nobody => format!("encrypted; nothing says whether it is {} who is there", who(peer)),
    }
}

/// A peer that is known by another certificate: what happened, why it may matter and what to do.
pub(crate) fn another_certificate(
    peer: &Peer,
    old: &str,
    new: &str,
    since: Duration,
    protected: bool,
) -> String {
    let unprotected = if protected {
        ""
    } else {
        " The invitation came unprotected: whoever could change it on its way could have put this certificate in."
    };
    format!(
        "! SECURITY: {} shows another certificate than before (since {}). It may be a new device or program, or somebody \
         in between who reads what you write.{unprotected} Before you write what is private, ask your contact on another \
         way whether this is the new one: {:?}. The old one was {:?}. You are not warned of it again",
        who(peer),
        json::seconds(since),
        text::neutral(new),
        text::neutral(old)
    )
}

/// That a relay of ours is not used, and what that means.
pub(crate) fn relay_failed(why: &str, required: bool) -> String {
    let then = match required {
        true => "no session without it, as `relay_required` is set",
        false => "sessions do without it; `relay_required = true` has none instead",
    };
    format!("! the relay is not used: {}: {then}", text::neutral(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM X-43 test
    #[test]
    fn x_43_a_change_of_certificate_says_what_why_and_what_to_do() {
        let peer = Peer { address: "sip:alice@x".into(), display_name: None, verified: true };
        let line = |protected| {
            another_certificate(&peer, "SHA-256 AA", "SHA-256 BB", Duration::from_secs(1), protected)
        };
        for part in
            ["sip:alice@x", "1970-01-01T00:00:01Z", "\"SHA-256 AA\"", "\"SHA-256 BB\"", "ask your contact"]
        {
            assert!(line(true).contains(part), "{part}: {}", line(true));
        }
        assert!(line(false).contains("came unprotected") && !line(true).contains("unprotected"));
    }
}
