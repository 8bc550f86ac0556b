//! Reading `message/cpim`.

use super::{CPIM_NAMESPACE, Cpim, CpimFault, Header, Mailbox};

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
    let mut reader = Reader {
        rest: head,
        line: 0,
        whole: whole && head.len() == octets.len(),
        full: head.len() == MAX_HEAD,
    };
    let mut cpim = Cpim::default();
    let mut namespaces = Namespaces::default();
    let mut count = 0_usize;
    while let Some(text) = reader.header(&mut count, Blank::Must)? {
        cpim.take(reader.line, &text, &mut namespaces)?;
    }
    let mut content: Vec<(String, String)> = Vec::new();
    // Some peers end a message without body after its last header.
    while let Some(text) = reader.header(&mut count, Blank::MayLack)? {
        match (text.strip_prefix([' ', '\t']), content.last_mut()) {
            // RFC 2045: headers of the body may be folded, those of CPIM may not.
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
    let (types, others) =
        content.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
    let types: Vec<(String, String)> = types;
    cpim.content_type = types.into_iter().next().map_or_else(|| "text/plain".to_owned(), |(_, value)| value);
    cpim.content_headers = others;
    cpim.body_offset = head.len().saturating_sub(reader.rest.len());
    Ok(cpim)
}

/// Whether a block of headers may end with the octets instead of a blank line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    Must,
    MayLack,
}

/// Cuts lines off the front.
struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
    whole: bool,
    full: bool,
}

impl Reader<'_> {
    /// The next header line, `None` at the end of the block.
    fn header(&mut self, count: &mut usize, blank: Blank) -> Result<Option<String>, CpimFault> {
        let line = match self
            .rest
            .iter()
            .position(|&octet| octet == b'\n')
            .and_then(|at| self.rest.split_at_checked(at))
        {
            Some((line, rest)) => {
                self.rest = rest.split_first().map_or(rest, |(_, rest)| rest);
                line
            }
            None if self.whole && blank == Blank::MayLack => std::mem::take(&mut self.rest),
            None if self.full => return Err(CpimFault::TooLarge),
            None => return Err(CpimFault::NeedMore),
        };
        self.line = self.line.saturating_add(1);
        // RFC 3862 2.2 asks for CRLF; LF alone is taken too.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        *count = count.saturating_add(1);
        if *count > MAX_HEADERS {
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
        let (namespace, name) = namespaces.resolve(full_name);
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
            // RFC 3862 2.2: an unknown header is ignored.
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
    let known = ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"];
    namespace == Some(CPIM_NAMESPACE) && known.contains(&name)
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

/// The character that four hexadecimal digits name, half of a surrogate pair shown as such, and what follows them.
fn code_point(text: &str) -> Option<(char, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    if !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after))
}
