//! What messages are made of (RFC 2046 5, RFC 2183, RFC 2387, RFC 1847, RFC 3862, RFC 4975 14.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parlour_proto::mime::content::{
    Coding, Disposition, Head, Kind, Part, Place, is_plain, read, text, unread,
};
use parlour_proto::mime::fuzzing;
use proptest::prelude::*;

fn parts(kind: &str, body: &[u8]) -> Vec<Part> {
    read(Head { content_type: Some(kind.as_bytes()), ..Head::default() }, body)
}

/// Whether a reader takes a document, or what it says of it.
type Reads = fn(&[u8]) -> Result<(), String>;

/// The body of a multipart with boundary `b`, of parts with their rows.
fn multipart(parts: &[&str]) -> String {
    let mut body: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
    body.push_str("--b--\r\n");
    body
}

/// The media types of what is shown, and of what is kept in brackets.
fn outline(kind: &str, body: &str) -> Vec<String> {
    let show = |part: &Part| match &part.text {
        Some(text) if part.is_shown() => text.clone(),
        _ => format!("[{}]", part.content_type),
    };
    parts(kind, body.as_bytes()).iter().map(show).collect()
}

const PLAIN: &str = "Content-Type: text/plain\r\n\r\nplain";
const HTML: &str = "Content-Type: text/html\r\n\r\n<b>html</b>";
const IMAGE: &str = "Content-Type: image/png\r\nContent-ID: <i@x>\r\n\r\npng";
const ODD: &str = "Content-Type: application/x-whatever\r\n\r\nodd";

//= IM M-14 test
#[test]
fn a_text_is_one_part_that_is_shown() {
    let [part] = &parts("text/plain;charset=utf-8", b"hello")[..] else { panic!() };
    assert_eq!((part.kind, part.disposition), (Kind::Text, Disposition::Render));
    assert_eq!(part.place, Some(Place { offset: 0, length: 5, coding: Coding::Identity }));
    assert!(is_plain(std::slice::from_ref(part), b"hello"));
    assert_eq!(text(&parts("text/plain", b"hello")).as_deref(), Some("hello"));
    // RFC 2046 5.1: text, if nothing is said.
    assert_eq!(read(Head::default(), b"hello")[0].text.as_deref(), Some("hello"));
}

//= IM M-14 test
#[test]
fn dispositions_say_what_is_shown() {
    for (disposition, shown) in [
        (None, true),
        (Some("render"), true),
        (Some("Inline; filename=x"), true),
        (Some("attachment; filename=\"a.txt\""), false),
        (Some("icon"), false),
        (Some("x-new; handling=optional"), false),
    ] {
        let head = Head {
            content_type: Some(b"text/plain"),
            disposition: disposition.map(str::as_bytes),
            ..Head::default()
        };
        let [part] = &read(head, b"hello")[..] else { panic!() };
        assert_eq!(part.is_shown(), shown, "{disposition:?}");
        assert_eq!(part.text.as_deref(), Some("hello"), "it can be shown on demand");
    }
    let attached = Head {
        content_type: Some(b"multipart/mixed; boundary=b"),
        disposition: Some(b"attachment"),
        ..Head::default()
    };
    assert!(read(attached, multipart(&[PLAIN]).as_bytes()).iter().all(|part| !part.is_shown()));
}

//= IM M-14 test
#[test]
fn of_mixed_all_counts_and_of_alternatives_the_last_that_is_understood() {
    let mixed = "multipart/mixed; boundary=b";
    let alternative = "Multipart/Alternative; boundary=\"b\"";
    for (kind, body, expected) in [
        (mixed, vec![PLAIN, IMAGE, ODD], vec!["plain", "[image/png]", "[application/x-whatever]"]),
        ("multipart/x-odd; boundary=b", vec![PLAIN], vec!["plain"]),
        (alternative, vec![PLAIN, ODD], vec!["plain"]),
        // RFC 2046 5.1.4: the last that can be shown. HTML cannot, as it is.
        (alternative, vec![PLAIN, HTML, ODD], vec!["plain"]),
        (alternative, vec![HTML, ODD], vec!["html"]),
        (alternative, vec!["\r\nfirst", "\r\nsecond"], vec!["second"]),
        (alternative, vec![ODD, ODD], vec!["[application/x-whatever]"]),
        (alternative, vec![PLAIN, "Content-Type: text/plain; charset=x-odd\r\n\r\n?"], vec!["plain"]),
        (
            alternative,
            vec![PLAIN, "Content-Type: application/pidf+xml\r\n\r\n<pos>1 2</pos>"],
            vec!["[application/pidf+xml]"],
        ),
    ] {
        assert_eq!(outline(kind, &multipart(&body)), expected, "{kind}");
    }
}

//= IM M-14 test
#[test]
fn of_related_parts_the_root_is_shown_and_the_others_belong_to_it() {
    let root = "Content-Type: text/html\r\nContent-ID: <r@x>\r\n\r\n<p>root</p>";
    let beside = "Content-Type: text/plain\r\nContent-Disposition: inline\r\n\r\nbeside";
    let kind = "multipart/related; boundary=b; type=\"text/html\"; start=\"<r@x>\"";
    assert_eq!(outline(kind, &multipart(&[IMAGE, root, beside])), ["root", "[image/png]", "[text/plain]"]);
    assert_eq!(outline("multipart/related; boundary=b", &multipart(&[root, IMAGE])), ["root", "[image/png]"]);
    let missing = "multipart/related; boundary=b; start=nowhere";
    assert_eq!(outline(missing, &multipart(&[root, IMAGE])), ["root", "[image/png]"]);
}

//= IM M-14 test
//= IM M-34 test
#[test]
fn what_is_signed_is_shown_as_unverified() {
    // RFC 3862 5.2.
    let cpim = "Content-Type: Message/CPIM\r\n\r\nFrom: MR SANDERS <im:piglet@100akerwood.com>\r\n\
        To: Dopey Donkey <im:eeyore@100akerwood.com>\r\nDateTime: 2000-12-13T13:40:00-08:00\r\n\
        Subject: the weather will be fine today\r\nSubject:;lang=fr beau temps prevu pour aujourd'hui\r\n\r\n\
        Content-type: text/xml; charset=utf-8\r\nContent-ID: <1234567890@foo.com>\r\n\r\n<body>\r\n\
        Here is the text of my message.\r\n</body>";
    let signature = "Content-Type: application/pkcs7-signature\r\n\r\n\x30\x03\x02\x01\x00";
    let kind = "multipart/signed; boundary=b; micalg=sha1; protocol=application/pkcs7-signature";
    let [part] = &parts(kind, multipart(&[cpim, signature]).as_bytes())[..] else { panic!() };
    assert!(part.unverified && part.is_shown());
    assert_eq!(part.text.as_deref(), Some("<body>\r\nHere is the text of my message.\r\n</body>"));
    let author: Vec<_> =
        part.authors.iter().map(|author| (author.name.as_deref(), author.uri.as_str())).collect();
    assert_eq!(author, [(Some("MR SANDERS"), "im:piglet@100akerwood.com")]);
    // What is not signed beside it is not called so; a wrong number of parts hides nothing.
    let inner = format!(
        "Content-Type: {}\r\n\r\n{}",
        kind.replace("boundary=b", "boundary=c"),
        multipart(&[PLAIN, signature]).replace("--b", "--c")
    );
    let mixed = parts("multipart/mixed; boundary=b", multipart(&[&inner, PLAIN]).as_bytes());
    assert_eq!(mixed.iter().map(|part| part.unverified).collect::<Vec<_>>(), [true, false]);
    let three = parts(kind, multipart(&[PLAIN, PLAIN, signature]).as_bytes());
    assert!(three.len() == 3 && three.iter().all(|part| part.unverified));
}

//= IM M-34 test
#[test]
fn signed_data_is_opened_and_what_is_encrypted_is_kept() {
    // ContentInfo of signedData around id-data around a MIME entity, as openssl cms -sign -nodetach -outform DER makes it.
    let entity = b"Content-Type: text/plain\r\n\r\nsigned";
    let string = [&[0x04, 34][..], entity].concat();
    assert_eq!(entity.len(), 34);
    let wrap = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()], inner].concat();
    let data = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
    let encapsulated = wrap(0x30, &[&data[..], &[0x01], &wrap(0xa0, &string)].concat());
    let signed = wrap(0x30, &[&[0x02, 0x01, 0x01, 0x31, 0x00][..], &encapsulated].concat());
    let info = wrap(0x30, &[&data[..], &[0x02], &wrap(0xa0, &signed)].concat());
    let [part] = &parts("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", &info)[..] else {
        panic!()
    };
    assert_eq!((part.text.as_deref(), part.unverified, part.place), (Some("signed"), true, None));
    let coded =
        Head { content_type: Some(b"application/pkcs7-mime"), coding: Some(b"base64"), ..Head::default() };
    assert_eq!(read(coded, BASE64.encode(&info).as_bytes())[0].text.as_deref(), Some("signed"));
    let [part] = &parts("application/pkcs7-mime; smime-type=enveloped-data", b"\x30\x80?")[..] else {
        panic!()
    };
    assert_eq!((part.kind, part.text.as_deref()), (Kind::Protected, None));
    assert!(part.trouble.as_deref().is_some_and(|trouble| trouble.contains("encrypted")));
}

//= IM M-33 test
#[test]
fn wrappings_inside_a_message_tell_the_chain_of_authors() {
    let inner = "From: Al <im:al@y>\r\n\r\nContent-Type: text/plain\r\n\r\nhi";
    let outer = format!("From: <sip:gateway@x>\r\n\r\nContent-Type: message/cpim\r\n\r\n{inner}");
    let [part] = &parts("message/cpim", outer.as_bytes())[..] else { panic!() };
    let uris: Vec<_> = part.authors.iter().map(|author| author.uri.as_str()).collect();
    assert_eq!((part.text.as_deref(), uris), (Some("hi"), vec!["sip:gateway@x", "im:al@y"]));
    let at = outer.len() as u64 - 2;
    assert_eq!(part.place, Some(Place { offset: at, length: 2, coding: Coding::Identity }));
    // RFC 3862 3.5: it is kept, and not shown.
    let [part] = &parts("message/cpim", b"Require: x.y\r\n\r\nContent-Type: text/plain\r\n\r\nhi")[..] else {
        panic!()
    };
    assert!(part.text.is_none() && part.trouble.as_deref().is_some_and(|trouble| trouble.contains("x.y")));
}

//= IM M-14 test
#[test]
fn coded_parts_are_decoded_and_say_where_they_lie() {
    let coded = "Content-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=A4 5=\r\n.";
    let image = "Content-Type: image/png; name=\"=\"\r\nContent-Transfer-Encoding: BASE64\r\n\r\niVBORw==";
    let odd = "Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uu\r\n\r\nbegin";
    let nested = format!(
        "Content-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        BASE64.encode(multipart(&[PLAIN]).replace("--b", "--c"))
    );
    let body = multipart(&[coded, image, odd, &nested]);
    let parts = parts("multipart/mixed; boundary=b", body.as_bytes());
    assert_eq!(parts[0].text.as_deref(), Some("\u{20ac} 5."));
    assert_eq!((parts[1].size, parts[1].name.as_deref()), (4, Some("=")));
    assert!(parts[2].text.is_none() && parts[2].trouble.is_some());
    assert_eq!((parts[3].text.as_deref(), parts[3].place), (Some("plain"), None));
    let place = parts[1].place.unwrap();
    let (start, end) = (place.offset as usize, (place.offset + place.length) as usize);
    assert_eq!(place.coding.decode(&body.as_bytes()[start..end]).as_ref(), b"\x89PNG");
}

#[test]
fn what_is_not_here_is_not_taken_apart() {
    let head = Head { content_type: Some(b"multipart/mixed; boundary=b"), ..Head::default() };
    let [part] = &unread(head, 100, 70_000)[..] else { panic!() };
    assert_eq!((part.kind, part.size, part.text.as_deref()), (Kind::Other, 70_000, None));
    assert_eq!(part.place.map(|place| place.offset), Some(100));
    assert_eq!(unread(Head::default(), 0, 70_000)[0].kind, Kind::Text);
}

//= IM X-25 test
#[test]
fn x_25_what_lies_elsewhere_is_never_fetched_and_nothing_of_it_is_shown() {
    let kind = "message/external-body; access-type=URL; URL=\"http://x.example/\"";
    let [part] = &parts(kind, b"Content-Type: text/plain\r\n\r\nshow me")[..] else { panic!() };
    assert_eq!((part.kind, part.text.as_deref()), (Kind::External, None));
    assert_eq!(part.about.as_deref(), Some("http://x.example/"));
}

//= IM X-25 test
#[test]
fn x_25_a_body_that_breaks_its_type_is_kept_whole_and_says_why() {
    let deep = |levels: usize| {
        let mut body = "From: <a:b>\r\n\r\nContent-Type: text/plain\r\n\r\nhi".to_owned();
        for _ in 1..levels {
            body = format!("From: <a:b>\r\n\r\nContent-Type: message/cpim\r\n\r\n{body}");
        }
        body
    };
    assert_eq!(text(&parts("message/cpim", deep(8).as_bytes())).as_deref(), Some("hi"));
    let long = format!("multipart/mixed; boundary={}", "x".repeat(71));
    let flood = format!("From: <a:b>\r\n{}", "X: y\r\n".repeat(300));
    let huge = format!("Subject: {}\r\n\r\n\r\nhi", "x".repeat(16 * 1024));
    let many = multipart(&[PLAIN; 65]);
    for (kind, body, why) in [
        ("multipart/mixed", multipart(&[PLAIN]), "boundary"),
        (long.as_str(), multipart(&[PLAIN]), "boundary"),
        ("multipart/mixed; boundary=b", "--b\r\n\r\ncut".to_owned(), "closing"),
        ("multipart/mixed; boundary=b", many, "64"),
        ("message/cpim", deep(9), "inside each other"),
        ("message/cpim", flood, "too large"),
        ("message/cpim", huge, "too large"),
        ("message/cpim", "nonsense\r\n\r\n".to_owned(), "not a header"),
    ] {
        let found = parts(kind, body.as_bytes());
        let [part] = &found[..] else { panic!("{found:?}") };
        assert!(
            !part.is_shown() && part.trouble.as_deref().is_some_and(|trouble| trouble.contains(why)),
            "{part:?}"
        );
        assert!(part.place.map(|place| place.length).unwrap_or_default() > 0);
    }
    // Of what is broken inside, the rest is shown all the same.
    let broken = "Content-Type: multipart/mixed\r\n\r\nno boundary";
    let expected = ["plain", "[multipart/mixed]"];
    assert_eq!(outline("multipart/mixed; boundary=b", &multipart(&[PLAIN, broken])), expected);
}

//= IM X-25 test
#[test]
fn x_25_no_document_defines_refers_nests_or_floods() {
    use parlour_proto::mime::{composing, conference_info, imdn, resource_list};
    let roots = [
        ("imdn", "urn:ietf:params:xml:ns:imdn"),
        ("isComposing", "urn:ietf:params:xml:ns:im-iscomposing"),
        ("conference-info", "urn:ietf:params:xml:ns:conference-info"),
        ("resource-lists", "urn:ietf:params:xml:ns:resource-lists"),
    ];
    let readers: [Reads; 4] = [
        |octets| imdn::parse(octets).map(drop).map_err(|fault| fault.to_string()),
        |octets| composing::parse(octets).map(drop).map_err(|fault| fault.to_string()),
        |octets| conference_info::parse(octets).map(drop).map_err(|fault| fault.to_string()),
        |octets| resource_list::parse(octets).map(drop).map_err(|fault| fault.to_string()),
    ];
    for ((root, namespace), read) in roots.into_iter().zip(readers) {
        let document = |before: &str, inner: &str| {
            format!("{before}<{root} xmlns='{namespace}' version='1' entity='sip:c@x'>{inner}</{root}>")
        };
        let laughs = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>";
        let fetched = "<!DOCTYPE x SYSTEM 'http://x.example/x.dtd'>";
        for (octets, why) in [
            (document(laughs, "&b;"), "DTD"),
            (document(fetched, ""), "DTD"),
            (document("", "&b;"), "refers to the entity"),
            (document("", &format!("{}{}", "<a>".repeat(40), "</a>".repeat(40))), "nested"),
            (document("", &"<a/>".repeat(1 << 20)), "octets"),
        ] {
            // A recipient list comes in a SIP body, which is bounded itself.
            if root == "resource-lists" && why == "octets" {
                continue;
            }
            let told = read(octets.as_bytes()).expect_err(root);
            assert!(told.contains(why), "{root}: {told}");
        }
    }
}

//= IM X-25 test
#[test]
fn x_25_long_values_are_cut() {
    let name = "x".repeat(10_000);
    let kind = format!("image/png; name=\"{name}\"");
    let [part] = &parts(&kind, b"png")[..] else { panic!() };
    assert_eq!(part.name.as_deref().map(str::len), Some(256));
    assert_eq!(part.content_type.len(), 256);
    let charset = format!("text/plain; charset={name}");
    let [part] = &parts(&charset, b"x")[..] else { panic!() };
    assert!(part.text.is_none() && part.trouble.as_deref().is_some_and(|trouble| trouble.len() < 400));
}

//= IM X-25 test
#[test]
fn x_25_a_body_cut_anywhere_is_taken_or_kept() {
    let inner = format!(
        "Content-Type: multipart/alternative; boundary=c\r\n\r\n{}",
        multipart(&[PLAIN, HTML]).replace("--b", "--c")
    );
    let wrapped = format!("Content-Type: message/cpim\r\n\r\nFrom: <a:b>\r\n\r\n{PLAIN}");
    let body = multipart(&[&inner, &wrapped, IMAGE]);
    let whole = parts("multipart/mixed; boundary=b", body.as_bytes());
    assert_eq!(whole.len(), 3);
    for cut in 0..body.len() {
        let line = format!("multipart/mixed; boundary=b\n{}", &body[..cut]);
        fuzzing::content(line.as_bytes());
        let cut = parts("multipart/mixed; boundary=b", &body.as_bytes()[..cut]);
        assert!(cut.len() == 1 || cut == whole, "{cut:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_or_kept(
        kind in "(multipart/(mixed|alternative|related|signed|x); boundary=b|message/cpim|application/pkcs7-mime|text/(html|plain|vcard))",
        body in "((--b(--)?|Content-Type: (text/plain|message/cpim|multipart/mixed; boundary=b)|From: <a:b>|[a-z:=%<>]{0,9})(\r\n){0,3}){0,30}",
    ) {
        fuzzing::content(format!("{kind}\n{body}").as_bytes());
    }
}
