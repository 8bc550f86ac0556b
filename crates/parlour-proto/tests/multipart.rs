//! Bodies of several parts (RFC 2046 5.1) and lists of who else is invited (RFC 4826, RFC 5364).

use parlour_proto::mime::fuzzing;
use parlour_proto::mime::multipart::{MultipartFault, read};
use parlour_proto::mime::resource_list::{CopyControl, Fault, MOST_ENTRIES, parse};
use parlour_proto::mime::xml::XmlFault;
use proptest::prelude::*;

/// Rows and body of each part.
type Written = Vec<(Vec<(String, String)>, Vec<u8>)>;

fn write(boundary: &str, parts: &Written) -> Vec<u8> {
    let mut out = b"preamble".to_vec();
    for (rows, body) in parts {
        out.extend(format!("\r\n--{boundary}\r\n").as_bytes());
        for (name, value) in rows {
            out.extend(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend(b"\r\n");
        out.extend(body);
    }
    out.extend(format!("\r\n--{boundary}--\r\nepilogue").as_bytes());
    out
}

fn bodies(kind: &str, body: &str) -> Result<Vec<String>, MultipartFault> {
    let parts = read(kind.as_bytes(), body.as_bytes())?;
    Ok(parts.iter().map(|part| String::from_utf8_lossy(part.body).into_owned()).collect())
}

//= IM S-1b test
#[test]
fn the_example_of_the_rfc() {
    let body = "This is the preamble.  It is to be ignored, though it\r\n\r\n--simple boundary\r\n\r\n\
        This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.\r\n--simple boundary\r\n\
        Content-type: text/plain; charset=us-ascii\r\n\r\nIt DOES end with a linebreak.\r\n\r\n\
        --simple boundary--\r\n\r\nThis is the epilogue.  It is also to be ignored.\r\n";
    let parts = read(b"multipart/mixed; boundary=\"simple boundary\"", body.as_bytes()).unwrap();
    assert_eq!(parts.len(), 2);
    assert!(parts[0].rows.is_empty() && parts[0].body.ends_with(b"NOT end with a linebreak."));
    assert_eq!(parts[1].row("content-TYPE"), Some(b"text/plain; charset=us-ascii".as_slice()));
    assert_eq!(parts[1].body, b"It DOES end with a linebreak.\r\n");
}

#[test]
fn a_delimiter_is_a_whole_line() {
    let kind = "Multipart/Mixed ; charset=x;Boundary = b ;z";
    for (body, expected) in [
        ("--b\r\n\r\nx--b--\r\n--bb\r\n--b- \r\n--b-- \t\r\n", vec!["x--b--\r\n--bb\r\n--b- "]),
        ("--b \t\r\n\r\nx\r\n--b--", vec!["x"]),
        ("--b\r\n\r\n\r\n--b\r\nA: b\r\n--b--", vec!["", ""]),
        ("--b\r\n--b--", vec![""]),
        ("--b\r\n\r\nx\n--b--\r\n--b--", vec!["x\n--b--"]),
        ("--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\nnot there\r\n--b--", vec!["x"]),
    ] {
        assert_eq!(bodies(kind, body), Ok(expected.iter().map(ToString::to_string).collect()), "{body:?}");
    }
    for (body, fault) in [
        ("", MultipartFault::Empty),
        ("--b--", MultipartFault::Empty),
        (" --b\r\n\r\n--b--", MultipartFault::Empty),
        ("--b\r\n\r\nx\r\n--b", MultipartFault::Open),
        ("--b\r\n\r\nx\r\n--b-", MultipartFault::Open),
        ("--b\r\n: x\r\n\r\n\r\n--b--", MultipartFault::Headers),
        ("--b\r\nno colon\r\n\r\n\r\n--b--", MultipartFault::Headers),
    ] {
        assert_eq!(bodies(kind, body), Err(fault), "{body:?}");
    }
    let long = format!("multipart/mixed;boundary={}", "x".repeat(71));
    for kind in
        ["multipart/mixed", "multipart/mixed;boundary=", "multipart/mixed;boundary=\"b", long.as_str()]
    {
        assert_eq!(bodies(kind, "--b\r\n\r\n\r\n--b--"), Err(MultipartFault::Boundary), "{kind}");
    }
}

//= IM X-11 test
#[test]
fn parts_are_counted_over_all_levels_and_levels_are_bounded() {
    let level = |inner: &str, at: usize| {
        format!("--b{at}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n{inner}\r\n--b{at}--", at + 1)
    };
    let nested = |levels: usize| {
        let leaf = format!("--b{levels}\r\n\r\nx\r\n--b{levels}--");
        (1..levels).rev().fold(leaf, |inner, at| level(&inner, at))
    };
    assert!(read(b"multipart/mixed;boundary=b1", nested(8).as_bytes()).is_ok());
    assert_eq!(read(b"multipart/mixed;boundary=b1", nested(9).as_bytes()), Err(MultipartFault::TooDeep));
    let many = |parts: usize| level(&format!("{}--b2--", "--b2\r\n\r\nx\r\n".repeat(parts)), 1);
    assert!(read(b"multipart/mixed;boundary=b1", many(63).as_bytes()).is_ok());
    assert_eq!(read(b"multipart/mixed;boundary=b1", many(64).as_bytes()), Err(MultipartFault::TooMany));
    // What is inside a part that never ends does not run over the boundary around it.
    let open = "--b1\r\nContent-Type: multipart/mixed;boundary=b2\r\n\r\n--b2\r\n\r\nx\r\n--b1--";
    assert_eq!(read(b"multipart/mixed;boundary=b1", open.as_bytes()), Err(MultipartFault::Open));
}

const LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";

//= IM S-1b test
#[test]
fn a_list_is_read_with_all_its_lists() {
    let document = format!(
        "<?xml version=\"1.0\"?><rl:resource-lists xmlns:rl='{LISTS}' xmlns:c='urn:ietf:params:xml:ns:copycontrol'>\
         <rl:list name='a'><rl:display-name>friends</rl:display-name>\
         <rl:entry uri='sip:bill@x' c:copyControl='to'><rl:display-name> Bill &amp; Co </rl:display-name></rl:entry>\
         <rl:list><rl:entry uri='tel:+1555' c:copyControl='cc' c:count='3'/></rl:list>\
         <rl:entry-ref ref='somewhere'/><rl:external anchor='http://x'/><rl:entry/><rl:entry uri='sip:joe@x'/>\
         </rl:list></rl:resource-lists>"
    );
    let entries = parse(document.as_bytes()).unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.uri.as_str(), entry.copy, entry.count)).collect();
    let expected = [
        ("sip:bill@x", CopyControl::To, 1),
        ("tel:+1555", CopyControl::Cc, 3),
        ("sip:joe@x", CopyControl::Bcc, 1),
    ];
    assert_eq!(told, expected);
    assert_eq!(entries[0].display_name.as_deref(), Some("Bill & Co"));
}

//= IM X-25 test
#[test]
fn a_list_is_bounded_and_defines_nothing() {
    let list = |inner: &str| format!("<resource-lists xmlns='{LISTS}'><list>{inner}</list></resource-lists>");
    let entries = parse(list(&"<entry uri='sip:a@x'/>".repeat(1000)).as_bytes()).unwrap();
    assert_eq!(entries.len(), MOST_ENTRIES);
    let long = format!("<entry uri='sip:{}@x'/>", "a".repeat(3000));
    assert_eq!(parse(list(&long).as_bytes()), Ok(Vec::new()));
    let deep = list(&format!("{}{}", "<list>".repeat(40), "</list>".repeat(40)));
    assert_eq!(parse(deep.as_bytes()), Err(Fault::Xml(XmlFault::Depth)));
    let bomb = format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{}", list("&a;"));
    assert_eq!(parse(bomb.as_bytes()), Err(Fault::Xml(XmlFault::Dtd)));
    assert_eq!(parse(b"<a/>"), Err(Fault::Root));
}

fn part() -> impl Strategy<Value = (Vec<(String, String)>, Vec<u8>)> {
    let row = ("[A-Z][a-z-]{0,10}", "[!-~]([ -~]{0,20}[!-~])?");
    // Anything may stand in a body but the boundary.
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "(\r\n|--|b0undary|-|x| ){0,12}".prop_map(String::into_bytes),
    ];
    (proptest::collection::vec(row, 0..4), body)
}

proptest! {
    #[test]
    fn the_same_parts_come_out(parts in proptest::collection::vec(part(), 1..8)) {
        let boundary = "b0undary-7Qx";
        let whole = write(boundary, &parts);
        let kind = format!("multipart/mixed; boundary={boundary}");
        prop_assume!(!parts.iter().any(|(rows, _)| rows.iter().any(|(name, _)| name == "Content-Type")));
        let read = read(kind.as_bytes(), &whole).unwrap();
        let again: Written = read
            .iter()
            .map(|part| {
                let row = |(name, value): &(&str, &[u8])| {
                    ((*name).to_owned(), String::from_utf8_lossy(value).into_owned())
                };
                (part.rows.iter().map(row).collect(), part.body.to_vec())
            })
            .collect();
        prop_assert_eq!(again, parts);
    }

    #[test]
    fn anything_is_read_or_refused(octets in "(multipart/mixed;boundary=b\n)?(--b|--c|\r\n|Content-Type: multipart/x;boundary=c|--|: |x){0,40}") {
        fuzzing::multipart(octets.as_bytes());
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::multipart(&octets);
    }
}
