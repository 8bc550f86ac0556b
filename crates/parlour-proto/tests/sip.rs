//! What holds for any octets that a peer may send.

use parlour_proto::sip::fuzzing;
use parlour_proto::sip::message::Message;
use parlour_proto::sip::name::Name;
use parlour_proto::sip::uri::{Uri, aor, equivalent, same_identity};
use proptest::prelude::*;

/// Pieces of messages, so that random input gets past the first line.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"INVITE sip:bob@example.com SIP/2.0\r\n", b"OPTIONS * SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"SIP/2.0 180 \r\n",
    b"ACK tel:+1-201-555-0123 SIP/2.0\r\n", b"Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKa;rport\r\n",
    b"v: SIP / 2.0 / TCP h ;\r\n branch=x, SIP/2.0/TLS b;received=::1\r\n", b"From: \"A \\\" \xe9\" <sip:a@b;c=d?e=f>;tag=1\r\n",
    b"To: Bob <sip:bob@example.com>\r\n", b"t: <sip:b@c>;tag=\"x\"\r\n", b"Call-ID: 1@h\r\n", b"i: 2\r\n", b"CSeq: 1 INVITE\r\n",
    b"CSeq: 4294967296 ACK\r\n", b"Contact: *\r\n", b"m: <sip:a@[::1]>;q=0.5;+sip.instance=\"<urn:x>\", sip:b\r\n",
    b"Content-Length: 3\r\n", b"l: 0\r\n", b"Content-Type: text/plain;charset=\"utf-8\"\r\n", b"Max-Forwards: 70\r\n",
    b"WWW-Authenticate: Digest realm=\"a,b\", nonce=\"\\\"\", qop=\"auth\"\r\n", b"Allow: INVITE, ACK,,BYE\r\n",
    b"Accept-Contact: *;+g.oma.sip-im;explicit;require\r\n", b"P-Asserted-Identity: <sip:a@b>, tel:+1\r\n", b"Route: <sip:p;lr>\r\n",
    b"Require: timer\r\n", b"X: y\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\"", b"\\", b"<", b">", b"(", b")",
    b"=", b"@", b"%", b"%41", b"%00", b"abc", b"\0", b"\xff", b"sip:", b"tel:+1", b"\r\n ",
];

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_datagram_is_read_or_refused(data in octets()) {
        fuzzing::sip_message(&data);
    }

    #[test]
    fn noise_is_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::sip_message(&data);
        fuzzing::sip_stream(&data);
    }

    #[test]
    fn any_cut_of_a_stream_gives_the_same_frames(cut in 0_u8..40, data in octets()) {
        fuzzing::sip_stream(&[&[cut], data.as_slice()].concat());
    }

    #[test]
    fn a_written_uri_is_read_again(
        user in proptest::option::of("([A-Za-z0-9&=+$,;?/_.!~*'()-]|%[0-9A-Fa-f]{2}){1,12}"),
        host in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]{2,3})?|\\[2001:db8::[0-9a-f]{1,4}\\]",
        port in proptest::option::of(any::<u16>()),
        params in proptest::collection::vec(("[a-z]{1,6}", proptest::option::of("[a-z0-9%.]{0}[a-z0-9]{1,6}")), 0..4),
    ) {
        let mut text = String::from("sip:");
        if let Some(user) = &user {
            text += &format!("{user}@");
        }
        text += &host;
        if let Some(port) = port {
            text += &format!(":{port}");
        }
        for (name, value) in &params {
            text += &format!(";{name}");
            if let Some(value) = value {
                text += &format!("={value}");
            }
        }
        let uri = Uri::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(uri.user(), user.as_deref());
        prop_assert_eq!(uri.host(), host.as_str());
        prop_assert_eq!(uri.port(), port);
        let read: Vec<_> = uri.params().collect();
        let written: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        prop_assert_eq!(read, written);
        prop_assert!(equivalent(&uri, &uri) && same_identity(&uri, &uri));
        prop_assert!(Uri::parse(aor(&uri).as_bytes()).is_ok());
    }

    /// One octet of any kind, in any one place of one row, loses neither the request nor another row.
    #[test]
    fn one_bad_row_harms_no_other(octet in any::<u8>(), at in 0_usize..40) {
        // A space at the start would make it a part of the row before.
        prop_assume!(!matches!(octet, b'\r' | b'\n') && (at > 0 || !matches!(octet, b' ' | b'\t')));
        let mut row = b"Subject: \"some \\\" text\", <that> (is) free".to_vec();
        row.insert(at.min(row.len()), octet);
        let data = [
            b"MESSAGE sip:bob@example.com SIP/2.0\r\nCall-ID: 1\r\n".as_slice(),
            &row,
            b"\r\nVia: SIP/2.0/UDP h\r\nCSeq: 1 MESSAGE\r\n\r\n",
        ];
        let data = data.concat();
        let message = Message::parse(&data).unwrap();
        prop_assert_eq!(message.rows(Name::CallId).collect::<Vec<_>>(), [b"1"]);
        prop_assert_eq!(message.values(Name::Via).count(), 1);
        prop_assert_eq!(message.rows(Name::CSeq).count(), 1);
    }
}
