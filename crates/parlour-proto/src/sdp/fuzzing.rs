//! Bodies of fuzz targets.

use std::net::{IpAddr, Ipv6Addr};

use parlour_msrp::accept::AcceptTypes;

use super::{Capabilities, Local, Role, answer, judge, offer, parse, read_answer};
use crate::config::ActpassAnswer;

/// Reads, judges and answers whatever comes: what we answer can be read again and has as many lines.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn sdp(data: &[u8]) {
    let Ok(session) = parse(data) else { return };
    let ours = Capabilities {
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
    };
    let local = Local::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 2855, "fuzz", 1, 1)
        .expect("invariant: a port and a plain session-id make a URI");
    if let Ok(judged) = judge(&session, &ours) {
        let octets = answer(&session, &judged, &local, &ours);
        let again = parse(&octets).expect("invariant: our answer can be read");
        assert_eq!(again.media.len(), session.media.len());
        assert_eq!(again.media.iter().filter(|media| media.port != 0).count(), 1);
        let own = offer(&local, &ours);
        let ours_by_them = judge(&again, &ours).map(|judged| judged.stream.line);
        // Whoever listens can be answered by who may do either, unless nothing can be said.
        if judged.stream.role == Role::Passive && judged.stream.direction.receives() {
            assert_eq!(ours_by_them, Ok(judged.stream.line));
        }
        let _ = read_answer(&own, &session, &ours);
    }
}
