//! Reading `message/cpim`.

use super::{CPIM_NAMESPACE, Cpim, CpimFault, Header, Mailbox};
use crate::mime::imdn;

/// The headers may not be larger than this, octets.
pub const MAX_HEAD: usize = 16 * 1024;
/// There may not be more headers than this, those of the body included.
pub const MAX_HEADERS: usize = 200;

/// Reads the headers from the start of a message. `whole` says that nothing follows `octets`.
///
/// # Errors
/// See [`CpimFault`]; with [`MAX_HEAD`] octets or more it is never [`CpimFault::NeedMore`].
//= IM M-30
pub fn parse(octets: &[u8], whole: bool) -> Result<Cpim, CpimFault> {
    let head = octets.get(..MAX_HEAD).unwrap_or(octets);
    let mut reader = Reader { at: 0, line: 0, count: 0, whole: whole && head.len() == octets.len() };
    let mut cpim = Cpim::default();
    let mut namespaces = Namespaces::default();
    while let Some(text) = reader.header(head, Blank::Must)? {
        cpim.take(reader.line, &text, &mut namespaces)?;
    }
    let mut content: Vec<(String, String)> = Vec::new();
    // Some peers end a message without body after its last header.
    while let Some(text) = reader.header(head, Blank::MayLack)? {
        match (text.strip_prefix([' ', '\t']), content.last_mut()) {
            // RFC 2045 3: headers of the body may be folded; those of CPIM may not.
            (Some(more), Some((_, value))) => {
                value.push(' ');
                value.push_str(more.trim());
            }
            _ => {
                let (name, value) = text.split_once(':').ok_or(CpimFault::NoHeader { line: reader.line })?;
                content.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    let is_type = |(name, _): &(String, String)| name.eq_ignore_ascii_case("Content-Type");
    cpim.content_type = match content.iter().position(is_type) {
        Some(at) => content.remove(at).1,
        None => "text/plain".to_owned(),
    };
    cpim.content_headers = content;
    cpim.body_offset = reader.at;
    Ok(cpim)
}

/// Whether a block of headers may end with the octets instead of a blank line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    Must,
    MayLack,
}

/// How far reading got.
struct Reader {
    /// The start of the next line.
    at: usize,
    /// Lines read.
    line: usize,
    /// Headers read.
    count: usize,
    /// Whether nothing follows the octets at hand.
    whole: bool,
}

impl Reader {
    /// The next header line of `head`, `None` at the end of the block.
    fn header(&mut self, head: &[u8], blank: Blank) -> Result<Option<String>, CpimFault> {
        let rest = head.get(self.at..).unwrap_or_default();
        let (line, length) = match rest.iter().position(|&octet| octet == b'\n') {
            Some(end) => (rest.get(..end).unwrap_or_default(), end.saturating_add(1)),
            None if self.whole && blank == Blank::MayLack => (rest, rest.len()),
            None if head.len() >= MAX_HEAD => return Err(CpimFault::TooLarge),
            None => return Err(CpimFault::NeedMore),
        };
        self.at = self.at.saturating_add(length);
        self.line = self.line.saturating_add(1);
        // RFC 3862 2.2 asks for CRLF; LF alone is taken too.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        self.count = self.count.saturating_add(1);
        if self.count > MAX_HEADERS {
            return Err(CpimFault::TooLarge);
        }
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }
}

/// Which URI each prefix stands for, the empty prefix too.
#[derive(Default)]
struct Namespaces(Vec<(String, String)>);

impl Namespaces {
    fn declare(&mut self, prefix: &str, uri: &str) {
        self.0.push((prefix.to_owned(), uri.to_owned()));
    }

    //= IM M-31
    /// The namespace and the bare name of `[prefix.]name`; a later declaration hides an earlier one.
    fn resolve<'n>(&self, name: &'n str) -> (Option<&str>, &'n str) {
        let (prefix, bare) = name.split_once('.').unwrap_or(("", name));
        let declared = self.0.iter().rev().find(|(known, _)| known == prefix).map(|(_, uri)| uri.as_str());
        (declared.or(prefix.is_empty().then_some(CPIM_NAMESPACE)), bare)
    }
}

impl Cpim {
    // RFC 3862 3.6: Header-name ":" *( ";" Parameter ) SP Header-value
    fn take(&mut self, line: usize, text: &str, namespaces: &mut Namespaces) -> Result<(), CpimFault> {
        let (full_name, rest) = text.split_once(':').ok_or(CpimFault::NoHeader { line })?;
        if full_name.is_empty() || full_name.bytes().any(|octet| octet <= b' ' || octet >= 0x7f) {
            return Err(CpimFault::NoHeader { line });
        }
        // Some peers leave out the space after the colon.
        let (parameters, value) = match rest.strip_prefix(';') {
            Some(rest) => split_parameters(rest),
            None => ("", rest.strip_prefix(' ').unwrap_or(rest)),
        };
        let (namespace, name) = match full_name {
            // A declared default namespace does not take away the means to declare and to require.
            "NS" | "Require" => (Some(CPIM_NAMESPACE), full_name),
            _ => namespaces.resolve(full_name),
        };
        let repeated = |name| CpimFault::Repeated { line, name };
        match (namespace == Some(CPIM_NAMESPACE), name) {
            (true, "From") if self.from.is_some() => return Err(repeated("From")),
            (true, "From") => self.from = Some(mailbox(line, value)?),
            (true, "To") => self.to.push(mailbox(line, value)?),
            (true, "cc") => self.cc.push(mailbox(line, value)?),
            (true, "DateTime") if self.date_time.is_some() => return Err(repeated("DateTime")),
            (true, "DateTime") => self.date_time = Some(unescape(value.trim())),
            (true, "Subject") if self.subject.is_none() => self.subject = Some(unescape(value)),
            (true, "NS") => {
                let (prefix, uri) = angle(value).ok_or(CpimFault::NoAddress { line })?;
                namespaces.declare(prefix.trim(), uri);
            }
            // RFC 3862 3.5: what is required and not understood makes the message unreadable.
            (true, "Require") => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                let unknown = names.filter(|name| !understood(namespaces.resolve(name)));
                self.required_unknown.extend(unknown.map(unescape));
            }
            // RFC 3862 2.2: an unknown header is ignored. Subjects in further languages are kept beside the first.
            (true | false, _) => self.headers.push(Header {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
                parameters: parameters.to_owned(),
                value: unescape(value),
            }),
        }
        Ok(())
    }
}

fn understood((namespace, name): (Option<&str>, &str)) -> bool {
    match namespace {
        Some(CPIM_NAMESPACE) => ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"].contains(&name),
        Some(imdn::HEADERS) => imdn::KNOWN.contains(&name),
        Some(_) | None => false,
    }
}

/// Parameters, up to the first space outside a quoted string, and the value.
fn split_parameters(rest: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.find(|c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ' ' && !quoted
    });
    match end.and_then(|end| rest.split_at_checked(end)) {
        Some((parameters, value)) => (parameters, value.strip_prefix(' ').unwrap_or(value)),
        None => (rest, ""),
    }
}

// RFC 3862 4.1: [ Formal-name ] "<" URI ">"
fn mailbox(line: usize, value: &str) -> Result<Mailbox, CpimFault> {
    let (name, uri) = angle(value).ok_or(CpimFault::NoAddress { line })?;
    let name = name.trim();
    let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    let name = Some(unescape(bare)).filter(|name| !name.is_empty());
    Ok(Mailbox { name, uri: uri.to_owned() })
}

/// What stands in front of the last `<...>`, and in it.
fn angle(value: &str) -> Option<(&str, &str)> {
    let (front, uri) = value.trim_end().strip_suffix('>')?.rsplit_once('<')?;
    (!uri.is_empty()).then_some((front, uri))
}

// RFC 3862 2.3: \uXXXX and the short forms; of any other escape the second character counts, a last backslash does not.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some('b')) => out.push('\u{8}'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('u')) => match code_point(rest.as_str()) {
                Some((letter, after)) => {
                    out.push(letter);
                    rest = after.chars();
                }
                None => out.push('u'),
            },
            ('\\', Some(other)) => out.push(other),
            ('\\', None) => {}
            (_, _) => out.push(c),
        }
    }
    out
}

/// The character that four hexadecimal digits name, and what follows them. RFC 3862 2.3 escapes UCS-2, so others than
/// those of its plane come as two; half of such a pair is shown as no character.
fn code_point(text: &str) -> Option<(char, &str)> {
    let (first, after) = unit(text)?;
    let second = after.strip_prefix("\\u").and_then(unit);
    if let Some((second, after)) = second
        && let Some(Ok(letter)) = char::decode_utf16([first, second]).next()
        && letter.len_utf16() == 2
    {
        return Some((letter, after));
    }
    Some((char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), after))
}

/// Four hexadecimal digits, and what follows them.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    let all = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    Some((u16::from_str_radix(digits, 16).ok().filter(|_| all)?, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // RFC 3862 5.1.
    const EXAMPLE: &str = "From: MR SANDERS <im:piglet@100akerwood.com>\r\n\
        To: Depressed Donkey <im:eeyore@100akerwood.com>\r\n\
        DateTime: 2000-12-13T13:40:00-08:00\r\n\
        Subject: the weather will be fine today\r\n\
        Subject:;lang=fr beau temps prevu pour aujourd'hui\r\n\
        NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\n\
        Require: MyFeatures.VitalMessageOption\r\n\
        MyFeatures.VitalMessageOption: Confirmation-requested\r\n\
        MyFeatures.WackyMessageOption: Use-silly-font\r\n\
        \r\n\
        Content-type: text/xml; charset=utf-8\r\n\
        Content-ID: <1234567890@foo.com>\r\n\
        \r\n\
        <body>\r\nHere is the text of my message.\r\n</body>";

    fn mailbox(name: &str, uri: &str) -> Mailbox {
        Mailbox { name: Some(name.to_owned()).filter(|name| !name.is_empty()), uri: uri.to_owned() }
    }

    fn read(text: &str) -> Result<Cpim, CpimFault> {
        parse(text.as_bytes(), true)
    }

    //= IM M-30 test
    //= IM M-31 test
    #[test]
    fn the_example_of_the_rfc() {
        let cpim = read(EXAMPLE).unwrap();
        assert_eq!(cpim.from, Some(mailbox("MR SANDERS", "im:piglet@100akerwood.com")));
        assert_eq!(cpim.to, [mailbox("Depressed Donkey", "im:eeyore@100akerwood.com")]);
        assert_eq!(cpim.sent_at().unwrap().as_secs(), 976_743_600);
        assert_eq!(cpim.subject.as_deref(), Some("the weather will be fine today"));
        assert_eq!(cpim.required_unknown, ["MyFeatures.VitalMessageOption"]);
        let option = cpim.header("mid:MessageFeatures@id.foo.com", "WackyMessageOption");
        assert_eq!(option, Some("Use-silly-font"));
        let french = cpim.headers.first().unwrap();
        assert_eq!((french.name.as_str(), french.parameters.as_str()), ("Subject", "lang=fr"));
        assert_eq!(cpim.content_type, "text/xml; charset=utf-8");
        assert_eq!(cpim.content_headers, [("Content-ID".to_owned(), "<1234567890@foo.com>".to_owned())]);
        assert!(EXAMPLE[cpim.body_offset..].starts_with("<body>"));
    }

    //= IM M-30 test
    //= IM M-31 test
    #[test]
    fn the_headers_that_the_rfc_shows_are_read() {
        // RFC 3862 2.2, 3.3, 3.4, 4.1 to 4.7.
        let cpim = read(
            "To: Pooh Bear <im:pooh@100akerwood.com>\r\nFrom: <im:piglet@100akerwood.com>\r\n\
             cc: Winnie the Pooh <im:pooh@100akerwood.com>\r\ncc: <im:tigger@100akerwood.com>\r\n\
             To: <im:tigger@100akerwood.com>\r\nDateTime: 2001-02-02T10:48:54-05:00\r\n\
             Subject:;lang=en Eeyore's feeling very depressed today\r\nSubject:;lang=fr Objet de message\r\n\
             NS: MyAlias <mid:MessageFeatures@id.foo.com>\r\nMyAlias.MyHeader: private-extension-data\r\n\
             Require: MyAlias.VitalHeader, From\r\n\r\nContent-Type: text/plain\r\n\r\n",
        );
        let cpim = cpim.unwrap();
        let tigger = mailbox("", "im:tigger@100akerwood.com");
        assert_eq!(cpim.to, [mailbox("Pooh Bear", "im:pooh@100akerwood.com"), tigger.clone()]);
        assert_eq!(cpim.from, Some(mailbox("", "im:piglet@100akerwood.com")));
        assert_eq!(cpim.cc, [mailbox("Winnie the Pooh", "im:pooh@100akerwood.com"), tigger]);
        assert_eq!(cpim.sent_at().unwrap().as_secs(), 981_128_934);
        assert_eq!(cpim.subject.as_deref(), Some("Eeyore's feeling very depressed today"));
        let namespace = "mid:MessageFeatures@id.foo.com";
        assert_eq!(cpim.header(namespace, "MyHeader"), Some("private-extension-data"));
        assert_eq!(cpim.required_unknown, ["MyAlias.VitalHeader"]);
        // RFC 3862 3.4: three ways to name one header.
        let uri = "http://id.acme.widgets/wily-headers/";
        for (prefix, header) in
            [("acme ", "acme.runner-trap"), ("widget ", "widget.runner-trap"), ("", "runner-trap")]
        {
            let cpim = read(&format!("NS: {prefix}<{uri}>\r\n{header}: set\r\n\r\n\r\n")).unwrap();
            assert_eq!(cpim.header(uri, "runner-trap"), Some("set"), "{header}");
        }
    }

    //= IM M-30 test
    #[test]
    fn escapes_are_read() {
        let cpim =
            read("From: \"a\\\"b\\\\c\" <sip:a@x>\nSubject: \\u00e9\\t\\n\\q\\u12 \\ud800\\\n\n\n").unwrap();
        assert_eq!(cpim.from, Some(mailbox("a\"b\\c", "sip:a@x")));
        assert_eq!(cpim.subject.as_deref(), Some("é\t\nqu12 \u{fffd}"));
        // RFC 3862 2.3: all of the special sequences, and characters of two units.
        let cpim = read("Subject: \\\\\\\"\\'\\b\\r\\u000A\\ud83d\\ude00\\ude00\\ud83dx\n\n\n").unwrap();
        let expected = "\\\"'\u{8}\r\n\u{1f600}\u{fffd}\u{fffd}x";
        assert_eq!(cpim.subject.as_deref(), Some(expected));
    }

    //= IM M-31 test
    #[test]
    fn prefixes_are_resolved_by_their_uri() {
        let imdn = "urn:ietf:params:imdn";
        let cpim =
            read("x.Message-ID: early\nNS: x <urn:ietf:params:imdn>\nx.Message-ID: 34jk\n\n\n").unwrap();
        assert_eq!(cpim.header(imdn, "Message-ID"), Some("34jk"));
        // RFC 3862 3.4: a declaration comes before its use.
        assert_eq!(cpim.headers.first().unwrap().namespace, None);
        // The default namespace can be another one; then From is not From.
        let cpim =
            read("NS: <urn:other>\nFrom: x\nNS: c <urn:ietf:params:cpim-headers:>\nc.From: <sip:a@x>\n\n\n");
        let cpim = cpim.unwrap();
        assert_eq!(cpim.from, Some(mailbox("", "sip:a@x")));
        assert_eq!(cpim.header("urn:other", "From"), Some("x"));
        // The later declaration counts.
        let cpim = read("NS: x <urn:a>\nNS: x <urn:b>\nx.y: z\n\n\n").unwrap();
        assert_eq!((cpim.header("urn:a", "y"), cpim.header("urn:b", "y")), (None, Some("z")));
        // Both names mean the same header.
        let cpim =
            read("NS: c <urn:ietf:params:cpim-headers:>\nRequire: c.Subject, DateTime, c.Foo\n\n\n").unwrap();
        assert_eq!(cpim.required_unknown, ["c.Foo"]);
        // RFC 5438 6: we understand these, whatever the prefix, and no others of that namespace.
        let cpim = read("NS: i <urn:ietf:params:imdn>\nRequire: i.Message-ID, i.Telepathy\n\n\n").unwrap();
        assert_eq!(cpim.required_unknown, ["i.Telepathy"]);
    }

    //= IM M-30 test
    #[test]
    fn header_names_have_case_and_some_are_unique() {
        let cpim = read("from: <sip:a@x>\n\n\n").unwrap();
        assert_eq!((cpim.from, cpim.headers.len()), (None, 1));
        assert_eq!(
            read("From: <a:b>\nFrom: <a:c>\n\n\n"),
            Err(CpimFault::Repeated { line: 2, name: "From" })
        );
        let twice = "DateTime: 1\nTo: <a:b>\nTo: <a:c>\nDateTime: 2\n\n\n";
        assert_eq!(read(twice), Err(CpimFault::Repeated { line: 4, name: "DateTime" }));
        assert_eq!(read("To: a@b\n\n\n"), Err(CpimFault::NoAddress { line: 1 }));
        assert_eq!(read("To: <a:b>\nnonsense\n\n\n"), Err(CpimFault::NoHeader { line: 2 }));
        assert_eq!(read("To: <a:b>\n folded: <a:b>\n\n\n"), Err(CpimFault::NoHeader { line: 2 }));
    }

    //= IM M-30 test
    #[test]
    fn parameters_stand_before_the_space() {
        let cpim = read("x:;a=\"b \\\" c\";d=e the value\ny:;lang=fr\nz:bare\n\n\n").unwrap();
        let of = |at: usize| (cpim.headers[at].parameters.as_str(), cpim.headers[at].value.as_str());
        assert_eq!(of(0), ("a=\"b \\\" c\";d=e", "the value"));
        assert_eq!((of(1), of(2)), (("lang=fr", ""), ("", "bare")));
    }

    #[test]
    fn the_media_type_has_no_case() {
        use crate::mime::cpim::is_cpim;
        assert!(
            is_cpim("Message/CPIM") && is_cpim("message/cpim; charset=utf-8") && !is_cpim("message/cpimx")
        );
    }

    #[test]
    fn a_message_without_body() {
        for text in
            ["From: <a:b>\r\n\r\nContent-Type: text/plain\r\n\r\n", "From: <a:b>\n\nContent-Type: text/plain"]
        {
            let cpim = read(text).unwrap();
            assert_eq!((cpim.body_offset, cpim.content_type.as_str()), (text.len(), "text/plain"));
        }
        assert_eq!(read("From: <a:b>\r\n\r\n").unwrap().content_type, "text/plain");
        assert_eq!(read("From: <a:b>\r\n"), Err(CpimFault::NeedMore));
        assert_eq!(read(""), Err(CpimFault::NeedMore));
    }

    #[test]
    fn the_headers_are_bounded() {
        let flood = format!("From: <a:b>\n{}", "X: y\n".repeat(MAX_HEADERS));
        assert_eq!(read(&flood), Err(CpimFault::TooLarge));
        let long = format!("Subject: {}", "x".repeat(MAX_HEAD));
        assert_eq!(read(&long), Err(CpimFault::TooLarge));
        assert_eq!(parse(long.as_bytes(), false), Err(CpimFault::TooLarge));
        // A long body is none of our business.
        let message = format!("From: <a:b>\n\nContent-Type: a/b\n\n{}", "x".repeat(3 * MAX_HEAD));
        assert_eq!(parse(message.as_bytes(), false).unwrap().body_offset, 32);
    }

    #[test]
    fn a_cut_asks_for_more() {
        let whole = parse(EXAMPLE.as_bytes(), false).unwrap();
        for cut in 0..EXAMPLE.len() {
            let part = parse(&EXAMPLE.as_bytes()[..cut], false);
            let expected = if cut < whole.body_offset { Err(CpimFault::NeedMore) } else { Ok(whole.clone()) };
            assert_eq!(part, expected, "cut at {cut}");
        }
    }

    //= IM M-30 test
    //= IM M-32 test
    #[test]
    fn what_we_write() {
        let when = std::time::Duration::new(1_790_000_000, 999);
        let head = crate::mime::cpim::head(
            &mailbox("Al \"x\"\n", "sip:alice@home1.net"),
            &mailbox("", "sip:b@x"),
            when,
            "text/plain;charset=utf-8",
        );
        let expected = "From: \"Al \\\"x\\\"\\n\" <sip:alice@home1.net>\r\nTo: <sip:b@x>\r\n\
            DateTime: 2026-09-21T14:13:20Z\r\n\r\nContent-Type: text/plain;charset=utf-8\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    /// Text of any characters, control characters too.
    fn any_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof![any::<char>(), proptest::char::range('\0', '\u{7f}')], 0..40)
            .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(name in any_text(), to in any_text(), uri in "sip:[a-z]{1,9}@[a-z.]{1,9}", secs in 0..99_999_999_999_u64) {
            let (from, to) = (mailbox(&name, &uri), mailbox(&to, &uri));
            let when = std::time::Duration::from_secs(secs);
            let head = crate::mime::cpim::head(&from, &to, when, "image/png");
            let cpim = parse(&head, false).unwrap();
            prop_assert_eq!(cpim.body_offset, head.len());
            prop_assert_eq!(&cpim.from, &Some(from));
            prop_assert_eq!(&cpim.to, &[to]);
            prop_assert_eq!(cpim.sent_at(), Some(when).filter(|_| secs < 253_402_300_800));
            prop_assert_eq!(cpim.content_type, "image/png");
        }

        #[test]
        fn hostile_addresses_stay_in_their_line(uri in any_text()) {
            let head = crate::mime::cpim::head(&mailbox("", &uri), &mailbox("", "a:b"), std::time::Duration::ZERO, &uri);
            let lines = head.split(|&octet| octet == b'\n').count();
            prop_assert_eq!(lines, 7);
        }

        #[test]
        fn nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..200), text in "(From|To|NS|Require|Subject|x\\.y)?[:; <>\"\\\\a-z.\n]{0,60}") {
            crate::mime::fuzzing::cpim(&octets);
            crate::mime::fuzzing::cpim(text.as_bytes());
        }
    }
}
