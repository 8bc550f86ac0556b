//! Callers whose identity is signed (RFC 8224): who is believed, who is refused, and what is told.

use std::net::IpAddr;

use parlour_proto::config::{Accept, Config, Hop, PublicKey, Signs, Stir, StirKey};
use parlour_proto::event::{Ended, Identity, Peer, Proof, What};
use parlour_sim::{Mail, Script, text};

use crate::common::{BOB, Call, accepting, config};

const INFO: &str = "https://example.com/stir.pem";

/// The public half of the key that made the signatures below.
const POINT: [u8; 65] = [
    0x04, 0x37, 0x63, 0x12, 0x4c, 0x1f, 0x7e, 0x51, 0xb2, 0x41, 0x8d, 0x8f, 0x35, 0x2c, 0xc2, 0x1b, 0xc8,
    0xad, 0x0c, 0xb5, 0xc3, 0xc5, 0x81, 0x9b, 0x86, 0x02, 0x8e, 0x97, 0x81, 0xc4, 0xdf, 0xb7, 0x84, 0x86,
    0x4e, 0x3e, 0xef, 0x90, 0xdb, 0x4e, 0x1a, 0x06, 0x79, 0xe2, 0x01, 0xd3, 0x78, 0xb8, 0x55, 0x40, 0x87,
    0xb3, 0x39, 0x20, 0x9b, 0x53, 0xb4, 0x54, 0x01, 0x8e, 0xa3, 0x82, 0x82, 0x20, 0xc6,
];

/// When the virtual clock starts: all tokens are signed then.
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

const ALICE: &str = "<sip:alice@example.com>";

/// sip:alice@example.com calls sip:bob@192.0.2.2.
const FULL: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9leGFtcGxlLmNvbS9zdGlyLnBlbSJ9.\
    eyJkZXN0Ijp7InVyaSI6WyJzaXA6Ym9iQDE5Mi4wLjIuMiJdfSwiaWF0IjoxNzY3MjI1NjAwLCJvcmlnIjp7InVyaSI6InNpcDphbGljZUBleGFtcGxlLmNvbSJ9fQ.\
    NOp2ERgBXvsYfeDN9uYdaio68BM1USdML-AiEy1Opzw3OW2IE7IRRntyV49d8MEUtfFXCKFbkijZKUyPQUluXQ";

/// 15551234567 calls sip:bob@192.0.2.2.
const NUMBER: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9leGFtcGxlLmNvbS9zdGlyLnBlbSJ9.\
    eyJkZXN0Ijp7InVyaSI6WyJzaXA6Ym9iQDE5Mi4wLjIuMiJdfSwiaWF0IjoxNzY3MjI1NjAwLCJvcmlnIjp7InRuIjoiMTU1NTEyMzQ1NjcifX0.\
    l0_VHIQOK8k4DNJDKIgPXdzzXmpJtesmXS5xLynBfieWE4dhM5aZklw_1cGrU8wApIfeBQnDfbj86Y53VX2R8g";

/// sip:alice@example.com calls sip:carol@192.0.2.2.
const CAROL: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9leGFtcGxlLmNvbS9zdGlyLnBlbSJ9.\
    eyJkZXN0Ijp7InVyaSI6WyJzaXA6Y2Fyb2xAMTkyLjAuMi4yIl19LCJpYXQiOjE3NjcyMjU2MDAsIm9yaWciOnsidXJpIjoic2lwOmFsaWNlQGV4YW1wbGUuY29tIn19.\
    9ofx1NOSg26J3PPHyNirRGYJXpD9ZHHmbztvUfN9wKgYHlH6wCa59Uth3nhyEVs4eWBKN2v0QMii5Jhs99H52Q";

/// sip:alice@example.net calls sip:bob@192.0.2.2.
const NET: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9leGFtcGxlLmNvbS9zdGlyLnBlbSJ9.\
    eyJkZXN0Ijp7InVyaSI6WyJzaXA6Ym9iQDE5Mi4wLjIuMiJdfSwiaWF0IjoxNzY3MjI1NjAwLCJvcmlnIjp7InVyaSI6InNpcDphbGljZUBleGFtcGxlLm5ldCJ9fQ.\
    BumXY_YN8x4rYR0cRS_80HCxos4RPQnDnzfPRRiErZjixeliKtVdtf_s4jDKR18wOZRWnuwQEERt7AaNnmFYeQ";

/// Bob, who knows one signer.
fn bob(stir: Stir, accept: Accept) -> Config {
    let signs = vec![Signs::Domain("example.com".into()), Signs::Numbers("1555".into())];
    let key = PublicKey::of_point(&POINT).expect("a point");
    let key = StirKey { info: INFO.into(), key, signs, valid: None };
    Config { stir, stir_keys: vec![key], ..accepting(accept) }
}

/// A row that says who is calling.
fn row(token: &str) -> String {
    format!("Identity: {token};info=<{INFO}>\r\n")
}

fn compact(token: &str) -> &str {
    token.rsplit('.').next().expect("a signature")
}

/// Alice, as she calls herself, sends an INVITE with these rows.
fn invite(call: &mut Call, from: &str, rows: &str) {
    call.script.local = from.to_owned();
    call.send(call.script.invite_with(rows, &call.script.offer()));
}

/// What Bob's user is told of the last caller.
fn told(call: &Call) -> (Peer, Option<Identity>) {
    let invited = |what: &What| {
        let What::Invited { peer, identity, .. } = what else { return None };
        Some((peer.clone(), identity.as_deref().cloned()))
    };
    call.at_bob().told().filter_map(invited).last().expect("an invitation")
}

/// What was decided about signatures, and why.
fn decisions(call: &Call) -> Vec<String> {
    let why = |what: &What| {
        let What::Explain(why) = what else { return None };
        (why.clause == "X-5").then(|| format!("{}: {}", why.decision, why.input))
    };
    call.at_bob().events.iter().filter_map(|(_, event)| why(&event.what)).collect()
}

//= IM X-5 test
//= IM X-4 test
#[cfg_attr(test, test)]
pub(crate) fn who_has_signed_is_verified() {
    let dated = format!("Date: {DATE}\r\n{}", row(&format!("..{}", compact(FULL))));
    let forged = FULL.replace(compact(FULL), compact(CAROL));
    let beside = format!("Identity: {forged};info=<{INFO}>, {FULL};info=<{INFO}>;alg=ES256\r\n");
    let unknown = format!("y: {FULL};info=<https://a.example>;ppt=shaken\r\n{}", row(FULL));
    let alice = "sip:alice@example.com";
    for (from, rows, address) in [
        ("\"Alice\" <sip:alice@EXAMPLE.com:5070;x=y>", row(FULL), alice),
        (ALICE, dated, alice),
        (ALICE, beside, alice),
        (ALICE, unknown, alice),
        ("<sip:+1-555-123-4567@gw.example.net;user=phone>", row(NUMBER), "tel:+15551234567"),
        ("<tel:+15551234567>", row(NUMBER), "tel:+15551234567"),
    ] {
        for stir in [Stir::Show, Stir::Refuse, Stir::Require] {
            let mut call = Call::new(bob(stir, Accept::Auto));
            invite(&mut call, from, &rows);
            let answer = call.status(200);
            let (peer, identity) = told(&call);
            assert_eq!((peer.address.as_str(), peer.verified), (address, true), "{rows}");
            let name = from.starts_with('"').then_some("Alice");
            assert_eq!(peer.display_name.as_deref(), name, "nobody has signed it, and it is shown as before");
            let identity = identity.expect("it is told");
            assert_eq!((identity.proof, identity.info.as_deref()), (Proof::Valid, Some(INFO)));
            let told = decisions(&call).pop().expect("it is explained");
            assert!(told.contains("is valid: info is https://example.com/stir.pem: it signs for "), "{told}");
            call.ack(&answer);
            call.bye();
            call.status(200);
            call.over();
        }
    }
}

/// Whom it is about, the rows, what they prove, and the statuses where wrong ones are refused and where all must be
/// proven.
type Case = (&'static str, String, Option<Proof>, Option<u16>, u16);

/// What is not proven.
fn unproven() -> Vec<Case> {
    let forged = FULL.replace(compact(FULL), compact(CAROL));
    let with = |token: &str, more: &str| format!("Identity: {token};info=<{INFO}>{more}\r\n");
    let elsewhere_from = "<sip:mallory@example.com>";
    let net = "<sip:alice@example.net>";
    let old = "Date: Wed, 31 Dec 2025 23:58:59 GMT\r\n";
    let unknown = format!("Identity: {FULL};info=<https://example.com/other.pem>\r\n");
    vec![
        (ALICE, String::new(), None, None, 428),
        (ALICE, with(FULL, ";ppt=shaken"), Some(Proof::UnsupportedType), None, 428),
        (ALICE, unknown.clone(), Some(Proof::UnknownSigner), None, 436),
        (ALICE, with(FULL, ";alg=RS256"), Some(Proof::UnsupportedAlgorithm), None, 437),
        // With one of which nothing is known, it cannot be said that all are wrong.
        (ALICE, format!("{unknown}{}", with(&forged, "")), Some(Proof::UnknownSigner), None, 438),
        (net, with(NET, ""), Some(Proof::WrongSigner), Some(437), 437),
        (ALICE, format!("{old}{}", with(FULL, "")), Some(Proof::Stale), Some(403), 403),
        (ALICE, with(&forged, ""), Some(Proof::Invalid), Some(438), 438),
        (
            ALICE,
            format!("{}{}", with(&forged, ""), with(FULL, ";ppt=x")),
            Some(Proof::Invalid),
            Some(438),
            438,
        ),
        (elsewhere_from, with(FULL, ""), Some(Proof::Invalid), Some(438), 438),
        (ALICE, with(CAROL, ""), Some(Proof::Invalid), Some(438), 438),
        (ALICE, with(&format!("..{}", compact(FULL)), ""), Some(Proof::Invalid), Some(438), 438),
        (ALICE, with("a.%.c", ""), Some(Proof::Invalid), Some(438), 438),
        (ALICE, "Identity: \"a\"\r\n".to_owned(), Some(Proof::Invalid), Some(438), 438),
        (ALICE, format!("Date: now\r\n{}", with(FULL, "")), Some(Proof::Invalid), Some(438), 438),
    ]
}

//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn who_has_not_is_not_and_is_refused_where_that_is_wanted() {
    for (from, rows, proof, where_wrong, where_unproven) in unproven() {
        for (stir, status) in
            [(Stir::Show, None), (Stir::Refuse, where_wrong), (Stir::Require, Some(where_unproven))]
        {
            let mut call = Call::new(bob(stir, Accept::Auto));
            invite(&mut call, from, &rows);
            let Some(status) = status else {
                call.status(180);
                let (peer, identity) = told(&call);
                assert!(!peer.verified, "{rows}");
                assert_eq!(identity.map(|identity| identity.proof), proof, "{rows}");
                call.cancel();
                call.over();
                continue;
            };
            let refusal = call.status(status);
            assert_eq!(call.invitations(), 0, "nobody is troubled");
            let missed =
                |what: &What| matches!(what, What::Missed { why, .. } if *why == Ended::Declined { status });
            assert!(call.at_bob().told().any(missed), "and is told afterwards");
            let told = decisions(&call).pop().expect("it is explained");
            assert!(
                told.starts_with(&format!("answered {status} ")) && told.contains("RFC 8224 6.2.2"),
                "{told}"
            );
            call.ack_refusal(&refusal);
            call.over();
        }
    }
}

/// The reason phrases are those that RFC 8224 6.2.2 and 13.2 name.
//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn refusals_are_called_by_their_names() {
    for (from, rows, _, _, status) in unproven() {
        let mut call = Call::new(bob(Stir::Require, Accept::Ask));
        invite(&mut call, from, &rows);
        let refusal = call.status(status);
        let name = match status {
            428 if rows.is_empty() => "428 Use Identity Header",
            428 => "428 Use Supported PASSporT Format",
            436 => "436 Bad Identity Info",
            437 => "437 Unsupported Credential",
            403 => "403 Stale Date",
            _ => "438 Invalid Identity Header",
        };
        let line = text::lossy(refusal.message());
        assert!(line.starts_with(&format!("SIP/2.0 {name}\r\n")), "{line}");
        call.ack_refusal(&refusal);
        call.over();
    }
}

//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_signature_grows_old() {
    for (seconds, status) in [(60, 180), (61, 403)] {
        let mut call = Call::new(bob(Stir::Refuse, Accept::Ask));
        call.world.run(seconds * 1000);
        invite(&mut call, ALICE, &row(FULL));
        let answer = call.status(status);
        if status == 180 {
            assert!(told(&call).0.verified);
            call.cancel();
            call.over();
        } else {
            call.ack_refusal(&answer);
            call.over();
        }
    }
}

/// Carol was called by Alice, and sends the call on with Alice's name to Bob.
//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn what_was_signed_for_a_call_to_somebody_else_proves_nothing() {
    for stir in [Stir::Show, Stir::Refuse, Stir::Require] {
        let mut call = Call::new(bob(stir, Accept::Auto));
        call.script.remote = "<sip:carol@192.0.2.2>".to_owned();
        invite(&mut call, ALICE, &row(CAROL));
        if stir == Stir::Require {
            call.refused(438);
            call.over();
            continue;
        }
        call.status(180);
        let (peer, identity) = told(&call);
        assert!(!peer.verified);
        assert_eq!(
            identity.map(|identity| identity.proof),
            Some(Proof::Elsewhere),
            "it may have been forwarded"
        );
        call.cancel();
        call.over();
    }
}

//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_signature_is_good_for_one_call() {
    let mut call = Call::new(bob(Stir::Refuse, Accept::Auto));
    invite(&mut call, ALICE, &row(FULL));
    let answer = call.status(200);
    call.ack(&answer);
    // Mallory has seen it pass by.
    let mallory = call.world.peer("mallory");
    let way = call.world.udp(mallory, call.bob);
    for copied in [false, true] {
        let mut script = Script::caller(&mut call.world, mallory, way, BOB);
        script.local = ALICE.to_owned();
        if copied {
            script.call_id.clone_from(&call.script.call_id);
        }
        call.world.send(way, script.invite_with(&row(FULL), &script.offer()));
        let refusal: Mail = call.world.expect_status(mallory, 438);
        call.world.send(way, script.ack_refusal(refusal.message()));
        call.world.run(0);
    }
    assert_eq!(call.invitations(), 1);
    assert!(
        decisions(&call).iter().any(|told| told.contains("it was used before")),
        "{:?}",
        decisions(&call)
    );
    call.bye();
    call.status(200);
    call.over();
}

/// A refusal that can be mended is no use of the signature by somebody else.
//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_call_that_is_tried_again_is_no_replay() {
    let mut call = Call::new(bob(Stir::Require, Accept::Auto));
    let rows = row(FULL);
    invite(&mut call, ALICE, &format!("{rows}Session-Expires: 60\r\nSupported: timer\r\n"));
    call.refused(422);
    call.script.remote_tag = None;
    BOB.clone_into(&mut call.script.target);
    let body = call.script.offer();
    let contact = format!("Contact: <sip:{}>\r\n{rows}", call.script.host);
    let again = call.script.next(&mut call.world, "INVITE", &contact, &body);
    call.send(again);
    let answer = call.status(200);
    assert!(told(&call).0.verified);
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM X-5 test
//= IM R-32 test
#[cfg_attr(test, test)]
pub(crate) fn whom_the_core_asserts_needs_no_signature() {
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    let asserted = "P-Asserted-Identity: <sip:carol@example.org>\r\n";
    for rows in [asserted.to_owned(), format!("{asserted}{}", row(NET)), format!("{asserted}{}", row(FULL))] {
        let mut call = Call::new(Config { trusted_hops: vec![hop], ..bob(Stir::Require, Accept::Ask) });
        invite(&mut call, ALICE, &rows);
        call.status(180);
        let (peer, _) = told(&call);
        assert_eq!((peer.address.as_str(), peer.verified), ("sip:carol@example.org", true));
        call.cancel();
        call.over();
    }
    // The core that asserts nobody leaves it to the signature.
    let mut call = Call::new(Config { trusted_hops: vec![hop], ..bob(Stir::Require, Accept::Ask) });
    invite(&mut call, ALICE, &row(FULL));
    call.status(180);
    assert_eq!(told(&call).0.address, "sip:alice@example.com");
    call.cancel();
    call.over();
}

/// Nothing is asked for and nothing known: an Identity is told as unproven, and its absence as nothing.
//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn without_keys_nothing_is_proven_and_nobody_refused() {
    for (rows, proof) in [(String::new(), None), (row(FULL), Some(Proof::UnknownSigner))] {
        let mut call = Call::new(config(BOB));
        invite(&mut call, ALICE, &rows);
        call.status(180);
        let (peer, identity) = told(&call);
        assert!(!peer.verified);
        assert_eq!(identity.map(|identity| identity.proof), proof);
        assert_eq!(decisions(&call).len(), usize::from(proof.is_some()));
        call.cancel();
        call.over();
    }
}

/// Each header may cost a verification: of many, the first ones are looked at.
//= IM X-5 test
#[cfg_attr(test, test)]
pub(crate) fn no_more_than_eight_are_looked_at() {
    let forged = FULL.replace(compact(FULL), compact(CAROL));
    for (before, verified) in [(7, true), (8, false)] {
        let mut call = Call::new(bob(Stir::Show, Accept::Ask));
        invite(&mut call, ALICE, &format!("{}{}", row(&forged).repeat(before), row(FULL)));
        call.status(180);
        assert_eq!(told(&call).0.verified, verified);
        assert_eq!(decisions(&call).len(), 8);
        call.cancel();
        call.over();
    }
}
