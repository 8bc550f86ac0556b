//! As much of JSON (RFC 8259) as PASSporTs need: names are told once, numbers are whole.

use super::super::header::lex::Cursor;

/// Lists and objects within each other.
const DEEPEST: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Text(String),
    /// A whole number that is not negative and fits.
    Number(u64),
    /// Any other number, and `true`, `false` and `null`.
    Other,
}

impl Value {
    /// Reads a whole text. `None`: it is no JSON, is nested too deeply, or an object has a name twice (RFC 8225 9).
    pub(super) fn parse(text: &[u8]) -> Option<Value> {
        let mut cursor = Cursor::new(text);
        let value = value(&mut cursor, 0)?;
        cursor.lws();
        cursor.is_empty().then_some(value)
    }

    /// The member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members()?.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn members(&self) -> Option<&[(String, Value)]> {
        if let Value::Object(members) = self { Some(members) } else { None }
    }

    pub(super) fn items(&self) -> Option<&[Value]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<u64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }
}

/// A text as JSON, with its quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Option<Value> {
    cursor.lws();
    let deeper = depth.checked_add(1).filter(|deeper| *deeper <= DEEPEST);
    match cursor.peek()? {
        b'{' => {
            let mut members: Vec<(String, Value)> = Vec::new();
            list(cursor, b'{', b'}', |cursor| {
                let name = string(cursor)?;
                if members.iter().any(|(known, _)| *known == name) || !cursor.eat_spaced(b':') {
                    return None;
                }
                members.push((name, value(cursor, deeper?)?));
                Some(())
            })?;
            Some(Value::Object(members))
        }
        b'[' => {
            let mut items = Vec::new();
            list(cursor, b'[', b']', |cursor| {
                items.push(value(cursor, deeper?)?);
                Some(())
            })?;
            Some(Value::Array(items))
        }
        b'"' => string(cursor).map(Value::Text),
        _ => scalar(cursor.take_while(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))),
    }
}

/// What stands between brackets, separated by commas.
fn list<'a>(
    cursor: &mut Cursor<'a>,
    open: u8,
    close: u8,
    mut item: impl FnMut(&mut Cursor<'a>) -> Option<()>,
) -> Option<()> {
    cursor.eat_spaced(open).then_some(())?;
    if cursor.eat(close) {
        return Some(());
    }
    loop {
        item(cursor)?;
        if !cursor.eat_spaced(b',') {
            return cursor.eat(close).then_some(());
        }
    }
}

fn string(cursor: &mut Cursor<'_>) -> Option<String> {
    let inside = std::str::from_utf8(cursor.quoted()?).ok()?;
    let mut letters = inside.chars();
    let mut text = String::with_capacity(inside.len());
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\0'..='\x1f' => return None,
            '\\' => match letters.next()? {
                plain @ ('"' | '\\' | '/') => plain,
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => escaped(&mut letters)?,
                _ => return None,
            },
            _ => letter,
        });
    }
    Some(text)
}

/// RFC 8259 7: four digits, or twice four for what does not fit.
fn escaped(letters: &mut std::str::Chars<'_>) -> Option<char> {
    let first = unit(letters)?;
    let rest = letters.as_str().strip_prefix("\\u");
    match (char::from_u32(first.into()), rest) {
        (Some(letter), _) => Some(letter),
        (None, Some(rest)) => {
            *letters = rest.chars();
            char::decode_utf16([first, unit(letters)?]).next()?.ok()
        }
        (None, None) => None,
    }
}

fn unit(letters: &mut std::str::Chars<'_>) -> Option<u16> {
    (0..4).try_fold(0_u16, |unit, _| {
        let digit = u16::try_from(letters.next()?.to_digit(16)?).ok()?;
        Some(unit << 4 | digit)
    })
}

fn scalar(word: &[u8]) -> Option<Value> {
    if matches!(word, b"true" | b"false" | b"null") {
        return Some(Value::Other);
    }
    let text = std::str::from_utf8(word).ok()?;
    let whole = text.strip_prefix('-').unwrap_or(text);
    let digits = whole.split(['.', 'e', 'E']).next()?;
    let has_zero_before = digits.len() > 1 && digits.starts_with('0');
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit()) && !has_zero_before;
    // RFC 8259 6: digits follow the point, which Rust does not ask for.
    let fraction = whole.split_once('.').map_or("0", |(_, fraction)| fraction);
    let is_number = is_number && fraction.starts_with(|first: char| first.is_ascii_digit());
    // What is no plain number is none that anything here asks for: that it is one at all is enough.
    let number = text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    (is_number && text.parse::<f64>().is_ok()).then(|| number.map_or(Value::Other, Value::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let parsed =
            Value::parse(b" {\"a\" : [1, -1, 1.5e3, true, null, \"\"], \"b\":{} , \"c\":[ ]}\r\n").unwrap();
        let items = parsed.get("a").and_then(Value::items).unwrap();
        assert_eq!(items[0].number(), Some(1));
        assert_eq!(items[1..5], [Value::Other, Value::Other, Value::Other, Value::Other]);
        assert_eq!(parsed.get("b").and_then(Value::members), Some(&[][..]));
        assert_eq!(parsed.get("c").and_then(Value::items), Some(&[][..]));
        let text = Value::parse(b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9\"").unwrap();
        assert_eq!(text.text(), Some("\"\\/\x08\x0c\n\r\t\u{e9}\u{1f600}\u{e9}"));
        assert_eq!(Value::parse(b"18446744073709551616"), Some(Value::Other));
        let round = "a\"\\\n\u{e9}";
        assert_eq!(Value::parse(quoted(round).as_bytes()).unwrap().text(), Some(round));
    }

    #[test]
    fn what_is_no_json_is_none() {
        for wrong in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,\"a\":1}",
            "\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\n\"",
            "01",
            "-",
            "1.",
            "1.e",
            "1.e5",
            "-1.E0",
            "1e",
            "+1",
            "NaN",
            "inf",
            "tru",
            "nulls",
            "1 2",
            "[1 2]",
            "'a'",
        ] {
            assert_eq!(Value::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Value::parse(b"\"\xff\""), None);
    }

    #[test]
    fn what_is_too_deep_is_none() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::parse(nested(DEEPEST + 1).as_bytes()).is_some());
        assert!(Value::parse(nested(DEEPEST + 2).as_bytes()).is_none());
        assert!(Value::parse("{\"a\":".repeat(100_000).as_bytes()).is_none());
    }
}
