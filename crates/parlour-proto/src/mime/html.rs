//! HTML as text: what it says, without what it would do. Nothing is rendered, run or fetched (X-25).
//!
//! This is no parser of HTML: whatever it makes of nonsense is text, which is neutralised like any other before it is
//! shown. Each octet is looked at once, so that no document costs more than its length.

/// Characters of a link or a picture's description.
const LONGEST_VALUE: usize = 2048;

/// Octets of a character reference.
const LONGEST_REFERENCE: usize = 32;

/// Elements whose content is not text.
const SILENT: &[&str] =
    &["script", "style", "title", "template", "noscript", "svg", "math", "iframe", "object"];

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// What a reader of the document would read, with the target of each link behind it.
pub fn text(html: &str) -> String {
    let mut page = Page::default();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        page.text(before);
        rest = if from.starts_with('&') { page.reference(from) } else { page.markup(from) };
    }
    page.text(rest);
    page.out.trim_end().to_owned()
}

/// The text so far.
#[derive(Default)]
struct Page {
    out: String,
    /// White space that was read and not written yet.
    space: bool,
    /// Inside `pre`, where white space counts.
    preformatted: usize,
    /// Where the link that is open leads, and where its text begins.
    link: Option<(String, usize)>,
}

impl Page {
    fn text(&mut self, text: &str) {
        text.chars().for_each(|c| self.letter(c));
    }

    fn letter(&mut self, c: char) {
        if self.preformatted > 0 {
            return self.out.push(c);
        }
        if c.is_ascii_whitespace() {
            self.space = true;
            return;
        }
        let space = std::mem::take(&mut self.space);
        if space && !self.out.is_empty() && !self.out.ends_with(['\n', ' ']) {
            self.out.push(' ');
        }
        self.out.push(c);
    }

    /// Whatever follows begins a line.
    fn line(&mut self) {
        self.space = false;
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    /// A character reference, or an ampersand that is one itself; returns what follows.
    fn reference<'h>(&mut self, from: &'h str) -> &'h str {
        let after = from.get(1..).unwrap_or_default();
        let end = after.bytes().take(LONGEST_REFERENCE).position(|octet| octet == b';');
        let named =
            end.and_then(|end| Some((character(after.get(..end)?)?, after.get(end.saturating_add(1)..)?)));
        match named {
            // A space that does not break is a space all the same.
            Some(('\u{a0}', rest)) => {
                self.letter(' ');
                rest
            }
            Some((c, rest)) => {
                self.letter(c);
                rest
            }
            None => {
                self.letter('&');
                after
            }
        }
    }

    /// A tag, a comment, or a `<` that is one itself; returns what follows.
    fn markup<'h>(&mut self, from: &'h str) -> &'h str {
        let after = from.get(1..).unwrap_or_default();
        if let Some(comment) = after.strip_prefix("!--") {
            return comment.split_once("-->").map_or("", |(_, rest)| rest);
        }
        let (closes, inner) = after.strip_prefix('/').map_or((false, after), |inner| (true, inner));
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
            if after.starts_with(['!', '?', '/']) {
                return after.split_once('>').map_or("", |(_, rest)| rest);
            }
            self.letter('<');
            return after;
        }
        let Some((tag, rest)) = split_tag(inner) else { return "" };
        let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at_checked(end).unwrap_or((tag, ""));
        let name = name.to_ascii_lowercase();
        if SILENT.contains(&name.as_str()) && !closes && !attributes.ends_with('/') {
            return after_end(rest, &name);
        }
        self.tag(&name, attributes, closes);
        rest
    }

    fn tag(&mut self, name: &str, attributes: &str, closes: bool) {
        match name {
            "br" => {
                self.space = false;
                self.out.push('\n');
            }
            "li" if !closes => {
                self.line();
                self.out.push_str("- ");
            }
            "td" | "th" => self.space = true,
            "img" => {
                if let Some(words) = attribute(attributes, "alt").filter(|words| !words.trim().is_empty()) {
                    self.text("[");
                    self.text(words.trim());
                    self.text("]");
                }
            }
            "a" => {
                self.leave_link();
                if !closes && let Some(href) = attribute(attributes, "href") {
                    self.link = Some((href.trim().to_owned(), self.out.len()));
                }
            }
            "pre" => {
                self.line();
                self.preformatted = match closes {
                    true => self.preformatted.saturating_sub(1),
                    false => self.preformatted.saturating_add(1),
                };
            }
            block if BLOCKS.contains(&block) => self.line(),
            _ => {}
        }
    }

    /// A link that says another thing than where it leads shows both.
    fn leave_link(&mut self) {
        let Some((target, from)) = self.link.take() else { return };
        let said = self.out.get(from..).unwrap_or_default().trim();
        let bare = target.strip_prefix("mailto:").unwrap_or(&target);
        if !target.is_empty() && !target.starts_with('#') && said != target && said != bare {
            self.space = true;
            self.text(&format!("<{target}>"));
        }
    }
}

/// What stands in a tag, and what follows it; `None` if it has no end.
fn split_tag(inner: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let end = inner.bytes().position(|octet| match quote {
        Some(open) => {
            quote = Some(open).filter(|open| *open != octet);
            false
        }
        None => {
            quote = Some(octet).filter(|octet| matches!(octet, b'"' | b'\''));
            octet == b'>'
        }
    })?;
    Some((inner.get(..end)?, inner.get(end.saturating_add(1)..)?))
}

/// What follows the end tag of that name.
fn after_end<'h>(html: &'h str, name: &str) -> &'h str {
    let mut rest = html;
    while let Some((_, tag)) = rest.split_once("</") {
        let is_it = tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if is_it {
            return tag.split_once('>').map_or("", |(_, rest)| rest);
        }
        rest = tag;
    }
    ""
}

/// The value of an attribute, its character references resolved.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let mut value = "";
        rest = after.trim_ascii_start();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_ascii_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            (value, rest) = match quote {
                Some(quote) => after.get(1..)?.split_once(quote).unwrap_or((after.get(1..)?, "")),
                None => {
                    let end = after.find(|c: char| c.is_ascii_whitespace()).unwrap_or(after.len());
                    after.split_at_checked(end)?
                }
            };
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(resolved(value));
        }
        rest = rest.trim_ascii_start();
    }
    None
}

/// A value with its character references resolved, in one line.
fn resolved(value: &str) -> String {
    let mut page = Page { preformatted: 1, ..Page::default() };
    let mut rest = value;
    while let Some((before, _)) = rest.split_once('&') {
        page.text(before);
        rest = page.reference(rest.get(before.len()..).unwrap_or_default());
    }
    page.text(rest);
    page.out.chars().filter(|c| !c.is_control()).take(LONGEST_VALUE).collect()
}

/// The character that a reference names.
fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    const NAMED: &[(&str, char)] = &[
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("copy", '\u{a9}'),
        ("reg", '\u{ae}'),
        ("trade", '\u{2122}'),
        ("deg", '\u{b0}'),
        ("sect", '\u{a7}'),
        ("euro", '\u{20ac}'),
        ("pound", '\u{a3}'),
        ("yen", '\u{a5}'),
        ("cent", '\u{a2}'),
        ("hellip", '\u{2026}'),
        ("ndash", '\u{2013}'),
        ("mdash", '\u{2014}'),
        ("lsquo", '\u{2018}'),
        ("rsquo", '\u{2019}'),
        ("ldquo", '\u{201c}'),
        ("rdquo", '\u{201d}'),
        ("laquo", '\u{ab}'),
        ("raquo", '\u{bb}'),
        ("bull", '\u{2022}'),
        ("middot", '\u{b7}'),
        ("times", '\u{d7}'),
        ("rarr", '\u{2192}'),
        ("larr", '\u{2190}'),
        ("iexcl", '\u{a1}'),
        ("iquest", '\u{bf}'),
        ("Auml", '\u{c4}'),
        ("Ouml", '\u{d6}'),
        ("Uuml", '\u{dc}'),
        ("auml", '\u{e4}'),
        ("ouml", '\u{f6}'),
        ("uuml", '\u{fc}'),
        ("szlig", '\u{df}'),
        ("agrave", '\u{e0}'),
        ("aacute", '\u{e1}'),
        ("ccedil", '\u{e7}'),
        ("egrave", '\u{e8}'),
        ("eacute", '\u{e9}'),
        ("ntilde", '\u{f1}'),
        ("oacute", '\u{f3}'),
    ];
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| *c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::text;

    #[test]
    fn what_a_reader_would_read() {
        for (html, expected) in [
            ("<p>Hello <b>big</b>\n  world</p>", "Hello big world"),
            ("<div>one</div><div>two<br>three</div>\n", "one\ntwo\nthree"),
            ("<ul><li>a</li>\n<li>b</li></ul>c", "- a\n- b\nc"),
            ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1 2\n3"),
            ("a&lt;b&gt; &amp;&nbsp;&#8364;&#x41; &nope; &", "a<b> & \u{20ac}A &nope; &"),
            ("<pre>a\n  b</pre>c", "a\n  b\nc"),
            ("1 < 2 and <3", "1 < 2 and <3"),
            ("<!DOCTYPE html><?xml?><!-- <b>no</b> --><HTML><TITLE>no</TITLE>yes", "yes"),
            ("<img src=x alt='a \"cat\"'><img src=x>", "[a \"cat\"]"),
            ("", ""),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
    }

    #[test]
    fn links_show_where_they_lead() {
        for (html, expected) in [
            (
                "<a href=\"https://evil.example/\">https://bank.example/</a>!",
                "https://bank.example/ <https://evil.example/>!",
            ),
            ("<a class=x href='https://a.example'>https://a.example</a>", "https://a.example"),
            ("<a href=mailto:a@b.example>a@b.example</a>", "a@b.example"),
            ("<a href=\"#top\">up</a> <a>none</a>", "up none"),
            ("<a href='javascript:alert(1)'>x</a>", "x <javascript:alert(1)>"),
            ("<a href='x&#10;y'>a</a>", "a <xy>"),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
    }

    //= IM X-25 test
    #[test]
    fn x_25_html_is_text_and_nothing_of_it_is_run() {
        for (html, expected) in [
            ("a<script>alert('</p>')</script>b", "ab"),
            ("a<SCRIPT src=x>never ended", "a"),
            ("a<style>p { color: red }</style>b<iframe src=x>c</iframe>", "ab"),
            ("a<img src=http://x/track.gif onerror=alert(1)>b", "ab"),
            ("a<b title=\">\">c", "ac"),
            ("a<b title=\"never ended", "a"),
            ("a<!-- never ended", "a"),
            ("&#0;&#xd800;", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
        // Nothing is looked at twice: else these would not end.
        for flood in
            ["<", "<a href=", "<a href=x>", "&", "<!--", "</", "<li>", "<script>", "<pre>", "<a title='"]
        {
            let _ = text(&flood.repeat(400_000 / flood.len()));
        }
    }

    proptest! {
        #[test]
        fn no_document_grows(html in "(<[a-z]{0,3}[ ='\"a-z/]{0,9}>?|&[a-z#0-9]{0,4};?|[a-z \n<>&]){0,60}") {
            prop_assert!(text(&html).len() <= html.len());
        }
    }
}
