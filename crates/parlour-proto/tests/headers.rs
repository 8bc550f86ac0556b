//! Typed headers and the limits of a message.

use parlour_proto::sip::door::{dialog_contact, door};
use parlour_proto::sip::fault::Fault;
use parlour_proto::sip::header::{
    AcceptContact, Allow, CSeq, CallId, Contact, ContentDisposition, ContentType, ContributionId, From,
    Header, HeaderFault, MaxForwards, MinSe, PAssertedIdentity, ProxyAuthenticate, ReferredBy, Refresher,
    Replaces, RetryAfter, Route, SessionExpires, Subject, To, Via, WwwAuthenticate, unescape,
};
use parlour_proto::sip::message::{MAX_MESSAGE, MAX_ROW, MAX_ROWS, MAX_URI, MAX_VIA, Message, Start};
use parlour_proto::sip::method::Method;
use parlour_proto::sip::name::Name;
use proptest::prelude::*;

fn read<'a, H: Header<'a>>(value: &'a str) -> H {
    H::parse(value.as_bytes()).unwrap_or_else(|fault| panic!("{value}: {fault}"))
}

fn what<'a, H: Header<'a>>(value: &'a str) -> &'static str {
    H::parse(value.as_bytes()).err().map_or("is fine", |fault| fault.what)
}

/// A request with these rows beside the mandatory ones.
fn request(rows: &str) -> Vec<u8> {
    format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:bob@example.com>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{rows}\r\n"
    )
    .into_bytes()
}

#[test]
fn via() {
    let via: Via<'_> = read("SIP/2.0/udp [2001:db8::1]:5070;rport=5080;received=\"x\";branch=z9hG4bKa;lr");
    assert_eq!((via.transport, via.host, via.port), ("udp", "[2001:db8::1]", Some(5070)));
    assert_eq!((via.branch(), via.rport(), via.received()), (Some("z9hG4bKa"), Some(Some(5080)), None));
    let via: Via<'_> = read("SIP / 2.0 / TCP\r\n h : 1 ; received = 2001:db8::9 ;rport ; branch = b");
    assert_eq!((via.host, via.port, via.branch()), ("h", Some(1), Some("b")));
    assert_eq!((via.rport(), via.received()), (Some(None), Some("2001:db8::9")));
    for bad in [
        "",
        "SIP/2.0",
        "SIP/2.0/UDP",
        "HTTP/1.1/TCP h",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:70000",
        "SIP/2.0/UDP [h]",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h;a=",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP h, SIP/2.0/UDP i",
    ] {
        assert!(Via::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn session_timers() {
    let timer = |value| {
        let SessionExpires { seconds, refresher } = read(value);
        (seconds, refresher)
    };
    assert_eq!(timer("1800"), (1800, None));
    assert_eq!(timer(" 3600 ; REFRESHER = Uas;x=y"), (3600, Some(Refresher::Uas)));
    assert_eq!(timer("0090;refresher=uac"), (90, Some(Refresher::Uac)));
    assert_eq!(timer("99999999999999999999"), (u32::MAX, None), "it saturates");
    let twice = "1800;refresher=uac;Refresher=uas";
    for bad in [
        "",
        "x",
        "-1",
        "+1",
        "1.5",
        "1 2",
        "1800;refresher=both",
        "1800;refresher",
        "1800;=",
        "1800,1800",
        twice,
    ] {
        assert!(SessionExpires::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!((read::<MinSe>("90").0, read::<MinSe>("4294967296;x").0), (90, u32::MAX));
    assert!(MinSe::parse(b"soon").is_err() && MinSe::parse(b"90 s").is_err());
    let message = request("x: 60\r\n");
    let message = Message::parse(&message).expect("a message");
    assert_eq!(message.one::<SessionExpires>().expect("compact").seconds, 60);
    let twice = request("x: 60\r\nSession-Expires: 60\r\n");
    assert!(Message::parse(&twice).expect("a message").maybe::<SessionExpires>().is_err());
}

#[test]
fn addresses() {
    let from: From<'_> = read("\"A \\\"B\\\" \\\\ <C>, D;\" <sip:a@b;tag=no?x=y>;x=\"tag=no\";TAG=yes");
    assert_eq!(from.display_name().as_deref(), Some("A \"B\" \\ <C>, D;"));
    assert_eq!((from.uri, from.tag()), (b"sip:a@b;tag=no?x=y".as_slice(), Some("yes")));
    let to: To<'_> = read("sip:a@b;tag=1");
    assert_eq!((to.uri, to.tag(), to.display_name()), (b"sip:a@b".as_slice(), Some("1"), None));
    let to: To<'_> = read("A. \r\n B<sip:a@b>");
    assert_eq!(to.display_name().as_deref(), Some("A.  B"));
    let latin = From::parse(b"\"Ren\xe9\" <sip:a@b>").unwrap();
    assert_eq!(latin.display_name().as_deref(), Some("Ren\u{fffd}"));
    assert_eq!(what::<From<'_>>("\"A <sip:a@b>"), "has an open quoted string");
    assert_eq!(what::<From<'_>>("\"A\" sip:a@b"), "has a display name without <address>");
    assert_eq!(what::<From<'_>>("A, B <sip:a@b>"), "has an unquoted display name with a comma or semicolon");
    assert_eq!(what::<From<'_>>("<sip:a@b"), "has no > after <");
    assert_eq!(what::<From<'_>>("<>"), "has no address");
    assert_eq!(what::<From<'_>>(""), "has no address");
    assert_eq!(what::<From<'_>>("< sip:a@b >"), "has a bad address");
    assert_eq!(what::<From<'_>>("sip:a@b?x=y"), "has a bad parameter");
    assert_eq!(what::<From<'_>>("<sip:a@b>;;tag=1"), "has a bad parameter");
    assert_eq!(what::<From<'_>>("<sip:a@b>;x=\"open"), "has a bad parameter");
    assert_eq!(what::<From<'_>>("<sip:a@b>, <sip:c@d>"), "has a bad parameter");
}

#[test]
fn contact_and_features() {
    assert_eq!(read::<Contact<'_>>(" * "), Contact::Star);
    let contact: Contact<'_> = read("<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";isfocus;q=0.5");
    let address = contact.address().unwrap();
    assert_eq!(address.params.get("+SIP.instance").unwrap().text(), "<urn:uuid:1>");
    assert!(address.params.has("isfocus") && !address.params.has("focus"));
    let wanted: AcceptContact<'_> = read("*;+g.oma.sip-im;require;explicit");
    assert_eq!(
        wanted.params.iter().map(|param| param.name).collect::<Vec<_>>(),
        ["+g.oma.sip-im", "require", "explicit"]
    );
    assert!(AcceptContact::parse(b"sip:a@b").is_err());
}

#[test]
fn call_id_cseq_and_numbers() {
    assert_eq!(read::<CallId<'_>>("a<>:\\\"/[]?{}@b").0, "a<>:\\\"/[]?{}@b");
    assert!(CallId::parse(b"a b").is_err() && CallId::parse(b"").is_err() && CallId::parse(b"\xe9").is_err());
    let cseq: CSeq<'_> = read("0009\r\n INVITE");
    assert_eq!((cseq.number, cseq.method, cseq.method_text), (9, Method::Invite, b"INVITE".as_slice()));
    for bad in ["1", "INVITE", "1INVITE", "-1 INVITE", "4294967296 INVITE", "1 INVITE x", ""] {
        assert!(CSeq::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(read::<MaxForwards>("0068").0, 68);
    assert!(MaxForwards::parse(b"256").is_err() && MaxForwards::parse(b"+1").is_err());
    assert_eq!(read::<RetryAfter>("120 (I'm in a meeting);duration=3600").0, 120);
}

#[test]
fn replaces() {
    // The examples of RFC 3891 6.1.
    let value: Replaces<'_> = read("98732@sip.example.com\r\n ;from-tag=r33th4x0r\r\n ;to-tag=ff87ff");
    assert_eq!((value.call_id, value.to_tag), ("98732@sip.example.com", "ff87ff"));
    assert_eq!((value.from_tag, value.early_only), ("r33th4x0r", false));
    let value: Replaces<'_> = read("12adf2f34456gs5;to-tag=12345;FROM-TAG=54321;Early-Only;x=y");
    assert_eq!((value.from_tag, value.early_only), ("54321", true));
    for bad in [
        "",
        ";to-tag=1;from-tag=2",
        "a",
        "a;to-tag=1",
        "a;from-tag=2",
        "a;to-tag=1;to-tag=1;from-tag=2",
        "a;to-tag=1;from-tag=2;from-tag=3",
        "a;to-tag=1;to-tag;from-tag=2",
        "a;to-tag;from-tag=2",
        "a;to-tag=\"1\";from-tag=2",
        "a;to-tag=;from-tag=2",
        "a b;to-tag=1;from-tag=2",
        "a;to-tag=1;from-tag=2, b;to-tag=1;from-tag=2",
    ] {
        assert!(Replaces::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    // As a Refer-To bears it (RFC 3261 19.1.1).
    let escaped = unescape(b"98732%40sip.example.com%3Bto-tag%3Dff%2587ff%3bfrom-tag%3D1%");
    assert_eq!(String::from_utf8_lossy(&escaped), "98732@sip.example.com;to-tag=ff%87ff;from-tag=1%");
}

#[test]
//= IM P-6 test
fn referred_by() {
    let rows = request("b: \"R\" <sip:r@ref.example;x=y?z=1>;cid=\"2UWQFN309shb3@ref.example\"\r\n");
    let message = Message::parse(&rows).expect("a message");
    let value: ReferredBy<'_> = message.one().expect("the compact form");
    assert_eq!(value.address.uri, b"sip:r@ref.example;x=y?z=1");
    assert_eq!(value.cid, Some("2UWQFN309shb3@ref.example"));
    // RFC 3892 3: without brackets, a parameter is the header's.
    let value: ReferredBy<'_> = read("sip:r@ref.example;user=phone");
    assert_eq!(value.address.uri, b"sip:r@ref.example");
    assert_eq!(read::<ReferredBy<'_>>("<sip:r@x>;cid=\"a@[2001:db8::1]\"").cid, Some("a@[2001:db8::1]"));
    for bad in [
        "",
        "sip:r@x?a=b",
        "sip:r@x, sip:s@x",
        "<sip:r@x>, <sip:s@x>",
        "<sip:r@x>;cid",
        "<sip:r@x>;cid=a@b",
        "<sip:r@x>;cid=\"a\"",
        "<sip:r@x>;cid=\"a@\"",
        "<sip:r@x>;cid=\"a@b c\"",
        "<sip:r@x>;cid=\"a@b\";cid=\"a@b\"",
    ] {
        assert!(ReferredBy::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let rows = request("Referred-By: <sip:r@x>\r\nb: <sip:r@x>\r\n");
    let twice = Message::parse(&rows).expect("a message");
    assert_eq!(twice.maybe::<ReferredBy<'_>>(), Err(HeaderFault::repeated(Name::ReferredBy)));
    assert_eq!(read::<ContributionId<'_>>(" a0b1@x ").0, "a0b1@x");
    assert_eq!(what::<ContributionId<'_>>("a b"), "is not one word");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn what_names_a_dialog_is_read_as_written(
        call_id in "[!-+\\--:<-~]{1,40}", to in "[a-zA-Z0-9.!%*_+~-]{1,20}", from in "[a-zA-Z0-9.!%*_+~-]{1,20}",
        early in any::<bool>(),
    ) {
        let early_only = if early { ";early-only" } else { "" };
        let text = format!("{call_id};from-tag={from} ;to-tag = {to}{early_only}");
        let value: Replaces<'_> = Replaces::parse(text.as_bytes()).expect("well-formed");
        prop_assert_eq!((value.call_id, value.to_tag, value.from_tag), (&*call_id, &*to, &*from));
        prop_assert_eq!(value.early_only, early);
        let escaped: String = text.bytes().map(|octet| format!("%{octet:02x}")).collect();
        prop_assert_eq!(&*unescape(escaped.as_bytes()), text.as_bytes());
    }

    #[test]
    fn no_octets_make_them_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (Replaces::parse(&octets), ReferredBy::parse(&octets), ContributionId::parse(&octets));
        prop_assert!(unescape(&octets).len() <= octets.len());
    }
}

#[test]
fn bodies_and_text() {
    let content_type: ContentType<'_> = read("Multipart/Mixed ; boundary=\"a;b\"");
    assert!(content_type.is("multipart/mixed"));
    assert_eq!(content_type.params.get("boundary").unwrap().text(), "a;b");
    assert!(ContentType::parse(b"text").is_err() && ContentType::parse(b"text/").is_err());
    let disposition: ContentDisposition<'_> = read("session;handling=optional");
    assert_eq!((disposition.kind, disposition.params.token("Handling")), ("session", Some("optional")));
    assert_eq!(Subject::parse(b"caf\xe9").unwrap().0, "caf\u{fffd}");
}

#[test]
fn challenges() {
    let challenge: WwwAuthenticate<'_> = read(
        "Digest realm=\"a, \\\"b\\\"\", nonce = \"n\" ,,algorithm=SHA-256, qop=\"auth,auth-int\",stale=TRUE",
    );
    assert_eq!(challenge.0.scheme, "Digest");
    assert_eq!(challenge.0.param("REALM").as_deref(), Some("a, \"b\""));
    assert_eq!(challenge.0.param("qop").as_deref(), Some("auth,auth-int"));
    assert_eq!(challenge.0.param("stale").as_deref(), Some("TRUE"));
    assert_eq!(challenge.0.param("opaque"), None);
    assert!(ProxyAuthenticate::parse(b"Digest realm=\"a").is_err());
    assert!(ProxyAuthenticate::parse(b"Digest realm").is_err());
    assert!(ProxyAuthenticate::parse(b"Digest realm=\"a\" nonce=\"b\"").is_err());
    let rows = request(
        "WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\nWWW-Authenticate: Basic realm=\"c\"\r\n",
    );
    assert_eq!(Message::parse(&rows).unwrap().list::<WwwAuthenticate<'_>>().filter(Result::is_ok).count(), 2);
}

#[test]
fn lists_are_split_only_where_elements_end() {
    let rows = request(
        "Contact: \"a, b\" <sip:a@h;x=,>, sip:c@h;q=1\r\nROUTE: <sip:p1;lr>\r\nRoute: <sip:p2;lr> , , <sip:p3>\r\n\
         P-Asserted-Identity: <sip:(a@h>, <tel:+1>\r\nServer: a (x, \\) (y), z), b\r\nAllow: INVITE,ACK\r\nallow: FOO, BYE\r\n",
    );
    let message = Message::parse(&rows).unwrap();
    assert_eq!(message.list::<Contact<'_>>().filter(Result::is_ok).count(), 2);
    assert_eq!(message.one::<Contact<'_>>(), Err(HeaderFault::repeated(Name::Contact)));
    let routes: Vec<_> = message.list::<Route<'_>>().map(|route| route.unwrap().uri).collect();
    assert_eq!(routes, [b"sip:p1;lr".as_slice(), b"sip:p2;lr", b"sip:p3"]);
    assert_eq!(message.list::<PAssertedIdentity<'_>>().filter(Result::is_ok).count(), 2);
    assert_eq!(message.values(Name::Server).collect::<Vec<_>>(), [b"a (x, \\) (y), z)".as_slice(), b"b"]);
    assert!(
        message.allow().is_known()
            && message.allow().contains(Method::Bye)
            && !message.allow().contains(Method::Info)
    );
    assert_eq!(message.list::<Allow>().count(), 4);
    let none = request("");
    assert!(!Message::parse(&none).unwrap().allow().is_known());
    let empty = request("Allow:\r\n");
    assert!(Message::parse(&empty).unwrap().allow().is_known());
}

#[test]
fn the_door_names_what_is_wrong() {
    for (good, bad, expected) in [
        ("CSeq: 1 INVITE\r\n", "", "CSeq is missing"),
        ("CSeq: 1 INVITE\r\n", "CSeq: 1 BYE\r\n", "CSeq method differs from the request"),
        ("CSeq: 1 INVITE\r\n", "CSeq: x INVITE\r\n", "CSeq has a bad number"),
        ("Call-ID: 1\r\n", "Call-ID: 1\r\ni: 1\r\n", "Call-ID is repeated"),
        ("To: <sip:bob@example.com>\r\n", "t: <sip:bob\r\n", "To has no > after <"),
        ("From: <sip:a@h>;tag=1\r\n", "", "From is missing"),
        ("sip:bob@example.com SIP", "sip:bob@:1 SIP", "Bad Request-URI"),
        ("branch=z9hG4bK1", "branch=z9hG4bK", "Via has an empty branch"),
        ("\r\n\r\n", "\r\nMax-Forwards: 256\r\n\r\n", "Max-Forwards is no number in range"),
    ] {
        let text = String::from_utf8(request("")).unwrap();
        assert!(text.contains(good));
        let text = text.replacen(good, bad, 1);
        let message = Message::parse(text.as_bytes()).unwrap();
        let fault = door(&message).unwrap_err();
        assert_eq!((fault.status(), fault.reason().as_str()), (400, expected));
        assert!(message.is_answerable());
    }
    let without_via = String::from_utf8(request("")).unwrap().replacen("Via:", "X:", 1);
    let message = Message::parse(without_via.as_bytes()).unwrap();
    assert!(door(&message).is_err() && !message.is_answerable());
}

#[test]
fn the_contact_of_a_dialog() {
    for (rows, expected) in [
        ("Contact: <sip:a@h>;isfocus\r\n", Ok(())),
        ("Contact: <sips:a@h>\r\n", Ok(())),
        ("", Err("is missing")),
        ("Contact: *\r\n", Err("is *")),
        ("Contact: <sip:a@h>, <sip:b@h>\r\n", Err("is repeated")),
        ("Contact: <sip:a@h>\r\nm: <sip:b@h>\r\n", Err("is repeated")),
        ("Contact: <tel:+1>\r\n", Err("is no SIP URI")),
        ("Contact: <sip:@>\r\n", Err("has a bad URI")),
    ] {
        let rows = request(rows);
        let message = Message::parse(&rows).unwrap();
        assert_eq!(dialog_contact(&message).map(|_| ()).map_err(|fault| fault.what), expected);
    }
}

#[test]
fn first_lines() {
    let request = request("");
    let message = Message::parse(&request).unwrap();
    let uri = b"sip:bob@example.com".as_slice();
    assert_eq!(message.start(), Start::Request { method: Method::Invite, method_text: b"INVITE", uri });
    for (line, expected) in [
        ("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}", Ok((200, "= 2**3 * 5**2 \u{43d}\u{43e}"))),
        ("SIP/2.0 100 ", Ok((100, ""))),
        ("SIP/2.0 100", Ok((100, ""))),
        ("SIP/2.0 1000 x", Err(Fault::StatusLine)),
        ("SIP/2.0 099 x", Err(Fault::StatusLine)),
        ("SIP/2.0 700 x", Err(Fault::StatusLine)),
        ("SIP/2.0 20", Err(Fault::StatusLine)),
        ("INVITE sip:a@b SIP/3.0", Err(Fault::Version)),
        ("INVITE sip:a@b", Err(Fault::RequestLine)),
        ("INVITE  sip:a@b SIP/2.0", Err(Fault::RequestLine)),
        ("INVITE sip:a@b SIP/2.0 ", Err(Fault::RequestLine)),
        ("INVITE", Err(Fault::NotSip)),
        ("\u{16}\u{3}", Err(Fault::NotSip)),
    ] {
        let text = format!("{line}\r\nVia: SIP/2.0/UDP h\r\n\r\n");
        let found = match Message::parse(text.as_bytes()) {
            Ok(message) => match message.start() {
                Start::Response { status, reason } => {
                    Ok((status, String::from_utf8(reason.to_vec()).unwrap()))
                }
                Start::Request { .. } => panic!("{line}"),
            },
            Err(refused) => Err(refused.fault),
        };
        assert_eq!(found, expected.map(|(status, reason)| (status, reason.to_owned())), "{line}");
    }
}

//= IM X-11 test
#[test]
fn limits() {
    let fault = |octets: &[u8]| {
        Message::parse(octets).err().map(|refused| (refused.fault, refused.answerable().is_some()))
    };
    let row = |length: usize| request(&format!("X: {}\r\n", "y".repeat(length - "X: \r\n".len())));
    assert_eq!(fault(&row(MAX_ROW)), None);
    assert_eq!(fault(&row(MAX_ROW + 1)), Some((Fault::RowTooLong, true)));
    let rows = |count: usize| request(&"X: y\r\n".repeat(count - 5));
    assert_eq!(fault(&rows(MAX_ROWS)), None);
    assert_eq!(fault(&rows(MAX_ROWS + 1)), Some((Fault::TooManyRows, true)));
    let vias =
        |count: usize| request(&format!("Via: SIP/2.0/UDP x{}\r\n", ", SIP/2.0/UDP y".repeat(count - 2)));
    assert_eq!(fault(&vias(MAX_VIA)), None);
    assert_eq!(fault(&vias(MAX_VIA + 1)), Some((Fault::TooManyVia, true)));
    let uri = |length: usize| {
        let uri = format!("sip:{}", "a".repeat(length - "sip:".len()));
        String::from_utf8(request("")).unwrap().replacen("sip:bob@example.com", &uri, 1).into_bytes()
    };
    assert_eq!(fault(&uri(MAX_URI)), None);
    assert_eq!(fault(&uri(MAX_URI + 1)), Some((Fault::UriTooLong, true)));
    let mut large = request("");
    large.resize(MAX_MESSAGE, b'x');
    assert_eq!(fault(&large), None);
    large.push(b'x');
    assert_eq!(fault(&large), Some((Fault::TooLarge, true)));
    assert_eq!(
        [Fault::TooLarge, Fault::UriTooLong, Fault::RowTooLong].map(|fault| fault.status()),
        [513, 414, 400]
    );
}

#[test]
fn the_body_is_what_content_length_says() {
    let read = |rows: &str, rest: &str| {
        let octets = [request(rows), rest.into()].concat();
        Message::parse(&octets).map(|message| message.body().to_vec()).map_err(|refused| refused.fault)
    };
    assert_eq!(read("Content-Length: 2\r\n", "abc"), Ok(b"ab".to_vec()));
    assert_eq!(read("", "abc"), Ok(b"abc".to_vec()));
    assert_eq!(read("Content-Length: 2\r\nl: 02\r\n", "abc"), Ok(b"ab".to_vec()));
    assert_eq!(read("Content-Length: 4\r\n", "abc"), Err(Fault::BodyTooShort));
    let conflict = HeaderFault { name: Name::ContentLength, what: "has conflicting values" };
    assert_eq!(read("Content-Length: 2\r\nl: 3\r\n", "abc"), Err(conflict.into()));
}

/// A CR alone ends a line for some readers: such a message has two meanings.
#[test]
fn a_bare_cr_is_refused() {
    let octets = request("Subject: a\rVia: SIP/2.0/UDP evil\r\n");
    let refused = Message::parse(&octets).unwrap_err();
    assert_eq!((refused.fault, refused.answerable().is_some()), (Fault::BareCr, true));
    let lines = String::from_utf8(request("")).unwrap().replace("\r\n", "\n");
    assert!(Message::parse(lines.as_bytes()).is_ok(), "a bare LF is no such danger");
}

#[test]
fn what_is_no_header_is_passed_over() {
    let octets =
        request("no colon here\r\n: no name\r\nbad name: x\r\n\u{e9}: x\r\nSubject: still there\r\n");
    let message = Message::parse(&octets).unwrap();
    assert_eq!(message.fields().count(), 6);
    assert_eq!(message.one::<Subject<'_>>().unwrap().0, "still there");
}
