//! Previews of files that we offer (RFC 5547 8.8).

use parlour_proto::client::FileOffer;
use parlour_proto::config::Proxy;
use parlour_proto::event::{Ended, Icon};
use parlour_proto::io::{AccountId, SourceId, Transport};
use parlour_sim::{Script, text};

use crate::common::{BOB, config, finish};
use crate::flows::files::{ANN, Two, octets, selector};

/// A picture beside a file of Ann's.
fn icon() -> Icon {
    let octets = b"\x89PNG\r\n\x1a\n--not a boundary\r\n\0".to_vec();
    Icon { media_type: "image/png".to_owned(), octets, path: None }
}

/// What Ann offers with a preview.
fn with_icon(two: &mut Two, via: Option<Proxy>) {
    let at = two.world.client_at_mut(two.ann).expect("a client");
    at.sources.insert(SourceId(1), octets(5));
    let offer = FileOffer {
        selector: selector("a.png", &octets(5)),
        source: Some(SourceId(1)),
        skip: 0,
        modified: None,
        icon: Some(icon()),
    };
    let offered =
        two.world.act(two.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, via, vec![offer]));
    offered.expect("an offer");
}

fn over_tcp() -> Option<Proxy> {
    let transport = Transport::Tcp;
    Some(Proxy { host: "192.0.2.2".to_owned(), port: Some(5060), transport })
}

//= IM D-40 test
#[cfg_attr(test, test)]
pub(crate) fn a_preview_goes_with_the_offer_over_a_stream_and_not_in_a_datagram() {
    for (via, goes) in [(over_tcp(), true), (None, false)] {
        let mut two = Two::new(config(BOB));
        with_icon(&mut two, via);
        two.run(100);
        let (session, files) = two.invitation();
        assert_eq!(files[0].icon.as_deref(), goes.then(icon).as_ref());
        assert_eq!(files[0].about.icon.is_some(), goes, "nothing is named that is not there");
        two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
        two.run(1000);
        assert_eq!(two.at(two.bob).files[&files[0].file], octets(5));
        two.over();
    }
}

//= IM D-40 test
#[cfg_attr(test, test)]
pub(crate) fn who_takes_no_preview_is_offered_the_file_without() {
    for (status, again) in
        [("415 Unsupported Media Type", true), ("513 Message Too Large", true), ("486 Busy Here", false)]
    {
        let mut world = crate::stage::world(2);
        let (bob, ann) = (world.peer("bob"), world.client("ann", config(ANN)));
        let mut two = Two { ann, bob, world };
        let to = Proxy { host: "192.0.2.1".to_owned(), ..over_tcp().expect("a hop") };
        with_icon(&mut two, Some(to));
        let invite = two.world.expect_request(bob, "INVITE");
        let first = text::lossy(text::body(invite.message()));
        let kind = text::header(invite.message(), "Content-Type").expect("a type");
        assert!(kind.starts_with("multipart/related;type=\"application/sdp\";boundary="), "{kind}");
        let cid = first.lines().find_map(|row| row.strip_prefix("a=file-icon:cid:")).expect("an icon").trim();
        assert!(
            first.contains(&format!("Content-ID: <{cid}>")) && first.contains("Content-Disposition: icon")
        );
        let callee = Script::callee(&mut two.world, bob, invite.way, invite.message());
        two.world.send(invite.way, callee.respond(invite.message(), status, "", ""));
        two.world.expect_request(bob, "ACK");
        if again {
            let invite = two.world.expect_request(bob, "INVITE");
            let kind = text::header(invite.message(), "Content-Type");
            assert_eq!(kind.as_deref(), Some("application/sdp"));
            let said = text::lossy(text::body(invite.message()));
            assert!(said.contains("a=file-transfer-id:") && !said.contains("file-icon"), "{said}");
            two.world.send(invite.way, callee.respond(invite.message(), status, "", ""));
            two.world.expect_request(bob, "ACK");
        }
        two.run(1000);
        assert!(matches!(two.ended(ann), Some(Ended::Refused { .. })), "{status}: it is tried once");
        finish(&mut two.world);
    }
}

//= IM D-40 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_no_preview_is_not_sent() {
    let large = Icon { octets: vec![0; 16 * 1024 + 1], ..icon() };
    let empty = Icon { octets: Vec::new(), ..icon() };
    let kind = |media_type: &str| Icon { media_type: media_type.to_owned(), ..icon() };
    let mut two = Two::new(config(BOB));
    let wrong = [large, empty, kind("text/html"), kind("image/"), kind("image/png\r\nX: y")];
    let cases = wrong.into_iter().map(|icon| (icon, Some(SourceId(1)))).chain([(icon(), None)]);
    for (icon, source) in cases {
        let offer = FileOffer {
            selector: selector("f", b""),
            source,
            skip: 0,
            modified: None,
            icon: Some(icon.clone()),
        };
        let offered =
            two.world.act(two.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, None, vec![offer]));
        assert!(offered.is_err(), "{}", icon.media_type);
    }
    two.over();
}
