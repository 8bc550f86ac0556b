//! What is kept of the other side: its methods, its Contact, and who it says that it is.

use std::net::IpAddr;

use parlour_proto::config::{Config, Hop};
use parlour_proto::event::{Peer, What};
use parlour_proto::text::shown;
use parlour_sim::text;

use crate::common::{BOB, Call, config};
use crate::flows::session_timer::{answer_bye, called_with};

/// The refresh of a session timer shows which methods the peer is taken to understand.
//= IM G-3 test
//= IM G-3u test
#[cfg_attr(test, test)]
pub(crate) fn the_methods_of_allow_are_kept_and_a_later_allow_replaces_them() {
    for (first, later, method) in [
        ("Allow: INVITE, ACK\r\nallow: UPDATE,BYE\r\n", None, Some("UPDATE")),
        ("Allow: INVITE, update\r\n", None, Some("INVITE")),
        ("Allow: \r\n", None, None),
        ("Allow: INVITE\r\n", Some("Allow: UPDATE\r\n"), Some("UPDATE")),
        ("Allow: INVITE, UPDATE\r\n", Some("Allow: INVITE, ACK\r\n"), Some("INVITE")),
        ("Allow: INVITE, UPDATE\r\n", Some(""), Some("UPDATE")),
        ("Allow: INVITE, UPDATE\r\n", Some("Allow: \r\n"), None),
        ("", Some("Allow: UPDATE\r\n"), Some("UPDATE")),
    ] {
        let timer = "Session-Expires: 90;refresher=uas\r\nSupported: timer\r\n";
        let (mut call, _) = called_with(config(BOB), &format!("{first}{timer}"));
        if let Some(rows) = later {
            let options = call.script.next(&mut call.world, "OPTIONS", rows, "");
            call.send(options);
            call.status(200);
        }
        call.nothing_to(44_999);
        let Some(method) = method else {
            // Without a method to refresh it, the session ends with its interval.
            call.nothing_to(59_999);
            let bye = call.request("BYE");
            answer_bye(call, &bye);
            continue;
        };
        let refresh = call.request(method);
        assert_eq!(refresh.at.as_millis(), 45_000, "{first}{later:?}");
        call.send(call.script.respond(refresh.message(), "481 Gone", "", ""));
        call.over();
    }
}

//= IM G-4 test
//= IM G-4u test
#[cfg_attr(test, test)]
pub(crate) fn the_contact_of_the_invite_is_the_session_octet_by_octet() {
    const CONTACT: &str = "\"A,\\\" <b>\"  <sip:%61lice@192.0.2.1:5060;X=%41?h=1> ; +sip.instance=\"<urn:uuid:1>\";Expires=3600";
    let mut call = Call::new(config(BOB));
    let invite = call.script.invite().replace("<sip:192.0.2.1:5060>", CONTACT);
    assert!(invite.contains(&format!("Contact: {CONTACT}\r\n")), "{invite}");
    call.send(invite);
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    call.accept();
    let answer = call.status(200);
    call.ack(&answer);
    let identities: Vec<_> = call
        .at_bob()
        .told()
        .filter_map(|what| {
            let What::Established { session_identity, .. } = what else { return None };
            Some(session_identity.as_str())
        })
        .collect();
    assert_eq!(identities, [CONTACT]);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    // RFC 3261 12.2.1.1: the remote target is used as it is, without the headers that a Request-URI may not have.
    let line = text::start_line(bye.message());
    assert!(line.starts_with("BYE sip:%61lice@192.0.2.1:5060;X=%41"), "{line}");
    answer_bye(call, &bye);
}

//= IM X-3 test
//= IM X-4 test
#[cfg_attr(test, test)]
pub(crate) fn who_is_vouched_for_who_claims_and_what_a_name_pretends() {
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    let pretends = "\"bank@example.com\u{202e}\u{7}\" <sip:eve@192.0.2.9>";
    let asserted = "P-Asserted-Identity: \"Carol\" <sip:carol@example.com>\r\n";
    let verified =
        Peer { address: "sip:carol@example.com".into(), display_name: Some("Carol".into()), verified: true };
    let claimed = Peer {
        address: "sip:eve@192.0.2.9".into(),
        display_name: Some("bank@example.com\u{202e}\u{7}".into()),
        verified: false,
    };
    for (trusted_hops, peer, screen) in [
        (vec![hop], verified, "\"Carol\" <sip:carol@example.com>"),
        (
            vec![],
            claimed,
            "\"bank@example.com\\u{202e}\\u{7}\" <sip:eve@192.0.2.9> (unverified; the name looks like an address)",
        ),
    ] {
        let mut call = Call::new(Config { trusted_hops, ..config(BOB) });
        call.script.local = pretends.to_owned();
        call.send(call.script.invite_with(asserted, &call.script.offer()));
        call.status(180);
        let invited = call.at_bob().told().find_map(|what| {
            let What::Invited { peer, .. } = what else { return None };
            Some(peer.clone())
        });
        let invited = invited.expect("an invitation");
        assert_eq!(invited, peer);
        assert_eq!(shown(invited.display_name.as_deref(), &invited.address, invited.verified), screen);
        call.cancel();
        call.over();
    }
}
