//! Bodies of fuzz targets.

use std::net::{IpAddr, Ipv6Addr};

use parlour_msrp::accept::AcceptTypes;

use super::{Capabilities, Local, answer, judge, offer, parse, read_answer};
use crate::config::ActpassAnswer;

/// Reads, judges and answers whatever comes: what we answer can be read again and has as many lines.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn sdp(data: &[u8]) {
    // What is not UTF-8 grows when it is written again, and may not outgrow the bound of a description.
    let Some(data) = data.get(..data.len().min(20 * 1024)) else { return };
    let Ok(session) = parse(data) else { return };
    let ours = everything();
    let local = Local::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 2855, "fuzz", 1, 1)
        .expect("invariant: a port and a plain session-id make a URI");
    if let Ok(judged) = judge(&session, &ours) {
        let octets = answer(&session, &judged, &local, &ours);
        let again = parse(&octets).expect("invariant: our answer can be read");
        assert_eq!(again.media.len(), session.media.len());
        assert_eq!(again.media.iter().filter(|media| media.port != 0).count(), 1);
        let own = offer(&local, &ours);
        let _ = read_answer(&own, &session, &ours);
    }
}

/// A client that can do all there is to do, apart from TLS.
pub(super) fn everything() -> Capabilities {
    Capabilities {
        receivable: AcceptTypes::parse("message/cpim text/plain", Some("image/*")),
        sendable: vec!["text/plain".to_owned()],
        max_size: 1024 * 1024,
        ipv4: true,
        ipv6: true,
        tls: false,
        listens: true,
        connects: true,
        reachable: true,
        actpass_answer: ActpassAnswer::Auto,
    }
}
