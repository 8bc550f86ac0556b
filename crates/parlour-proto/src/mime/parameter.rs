//! Parameters of Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2183 2, RFC 2231).

/// The value of the first parameter of that name, unquoted.
pub(crate) fn parameter(value: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value.get(memchr::memchr(b';', value)?..)?;
    while let Some(after) = rest.strip_prefix(b";") {
        let equals = after.iter().position(|octet| matches!(octet, b'=' | b';')).unwrap_or(after.len());
        let (name, after) = after.split_at_checked(equals)?;
        let mut value = Vec::new();
        rest = after;
        if let Some(after) = after.strip_prefix(b"=") {
            (value, rest) = parameter_value(after.trim_ascii_start())?;
        }
        if name.trim_ascii().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = rest.trim_ascii_start();
    }
    None
}

/// A text that a parameter bears, and how `name*` says that it is written (RFC 2231 4) where it does.
pub(crate) fn text(value: &[u8], name: &str) -> Option<String> {
    let extended = parameter(value, format!("{name}*").as_bytes());
    extended.and_then(|octets| percent(&octets)).or_else(|| {
        let octets = parameter(value, name.as_bytes())?;
        Some(String::from_utf8_lossy(&octets).into_owned())
    })
}

/// RFC 2231 4: `charset'language'octets`, where `%` writes octets. Other charsets than UTF-8 are rare and left.
fn percent(octets: &[u8]) -> Option<String> {
    let mut pieces = octets.splitn(3, |octet| *octet == b'\'');
    let (charset, _, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if !charset.eq_ignore_ascii_case(b"utf-8") {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(hex);
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(out).ok()
}

/// The octet that two hexadecimal digits name.
pub(super) fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.contains(['+', '-']))?;
    u8::from_str_radix(text, 16).ok()
}

/// A token or a quoted string, and what follows it.
fn parameter_value(octets: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = octets.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', octets).unwrap_or(octets.len());
        let (value, rest) = octets.split_at_checked(end)?;
        return Some((value.trim_ascii().to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut octets = quoted.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return Some((value, octets.as_slice())),
            b'\\' => value.push(*octets.next()?),
            _ => value.push(*octet),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_and_names_have_no_case() {
        let value = b"multipart/mixed; a;b=\"x;\\\"y\" ; Boundary = b1; z";
        assert_eq!(parameter(value, b"boundary").as_deref(), Some(b"b1".as_slice()));
        assert_eq!(parameter(value, b"b").as_deref(), Some(b"x;\"y".as_slice()));
        assert_eq!(parameter(value, b"z").as_deref(), Some(b"".as_slice()));
        assert_eq!((parameter(value, b"c"), parameter(b"text/plain", b"a")), (None, None));
        assert_eq!(parameter(b"a/b;c=\"open", b"c"), None);
    }

    #[test]
    fn file_names_come_in_two_forms() {
        let text = |value: &str| text(value.as_bytes(), "filename");
        assert_eq!(text("attachment; filename=\"a b.png\"").as_deref(), Some("a b.png"));
        let both = "attachment; filename=x; filename*=UTF-8'en'%e2%82%ac%20rates";
        assert_eq!(text(both).as_deref(), Some("\u{20ac} rates"));
        assert_eq!(text("attachment; filename*=koi8-r''%c1; filename=x").as_deref(), Some("x"));
        assert_eq!(text("attachment; filename*=utf-8''%+1%zz%").as_deref(), Some("%+1%zz%"));
        assert_eq!(text("attachment"), None);
    }
}
