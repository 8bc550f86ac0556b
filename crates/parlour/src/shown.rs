//! A message as a person reads it: its text made harmless, and in brackets what came with it.

use std::time::Duration;

use parlour_msrp::Body;
use parlour_proto::event::Incoming;
use parlour_proto::mime::content::{self, Head, Kind, Part};
use parlour_proto::mime::cpim::{self, Mailbox};
use parlour_proto::text;

use crate::json;
use crate::store::Saying;

/// How far the sender's clock may be from ours before his time is shown (M-31).
const SKEW: Duration = Duration::from_secs(300);

/// Authors of a chain that are named.
const MOST_AUTHORS: usize = 5;

/// A message that came at `came`, since 1970. `file` is where a large one lies.
pub(crate) fn shown(message: &Incoming, file: Option<&str>, came: Duration) -> String {
    let mut line = match &message.body {
        Body::Inline(_) => parts(&message.parts),
        Body::Spooled { size, .. } => kept(&message.content_type, *size, file.unwrap_or("nowhere")),
    };
    let claimed = message.claimed_from.as_deref();
    line.push_str(&remarks(claimed, &message.authors, message.sent_at.as_deref(), came));
    line
}

/// A message of the history, whoever said it.
pub(crate) fn shown_again(saying: &Saying) -> String {
    let row = &saying.row;
    let Some(body) = &row.body else { return String::new() };
    let mut told = json::told(&row.json);
    let mut line = match &body.file {
        Some(file) => kept(&body.content_type, told.size, &file.display().to_string()),
        None => {
            if told.parts.is_empty() {
                let head = Head { content_type: Some(body.content_type.as_bytes()), ..Head::default() };
                told.parts = content::read(head, &body.octets);
            }
            parts(&told.parts)
        }
    };
    line.push_str(&remarks(told.claimed_from.as_deref(), &told.authors, told.sent_at.as_deref(), row.time));
    line
}

/// A text of several lines, made harmless and indented: what a peer writes never begins a line, so it cannot pass for
/// one of ours.
fn one_voice(body: &str) -> String {
    text::neutral_lines(body).replace('\n', "\n    ")
}

/// One part after the other: what is shown as text, the others by what they are.
//= IM X-25
fn parts(parts: &[Part]) -> String {
    let shown: Vec<String> = parts.iter().map(part).collect();
    shown.join("\n    ")
}

fn part(part: &Part) -> String {
    let by = chain(&part.authors);
    let unverified = if part.unverified { " (signed, not verified)" } else { "" };
    match &part.text {
        Some(text) if part.is_shown() => {
            let about = part.about.as_deref().map(|about| format!(" [{}]", text::neutral(about)));
            format!("{}{}{by}{unverified}", one_voice(text), about.unwrap_or_default())
        }
        Some(_) | None => format!("[{}]{by}{unverified}", placeholder(part)),
    }
}

/// `image/png, 1234 octets, "cat.png"`.
fn placeholder(part: &Part) -> String {
    let mut words = format!("{}, {} octets", text::neutral(&part.content_type), part.size);
    let name = part.name.as_deref().map(|name| format!(", {:?}", text::neutral(name)));
    words.push_str(&name.unwrap_or_default());
    let about = part.about.as_deref().map(text::neutral);
    let about = about.map(|about| match part.kind {
        Kind::Card => format!(", the card of {about}"),
        Kind::Location => format!(", at {about}"),
        Kind::External => format!(", lies elsewhere and was not fetched: {about}"),
        Kind::Text | Kind::Html | Kind::Image | Kind::Protected | Kind::Other => format!(", {about}"),
    });
    words.push_str(&about.unwrap_or_default());
    let trouble = part.trouble.as_deref().map(|trouble| format!(", not shown: {}", text::neutral(trouble)));
    words.push_str(&trouble.unwrap_or_default());
    words
}

fn kept(content_type: &str, size: u64, file: &str) -> String {
    format!("[{}, {size} octets, kept in {file}]", text::neutral(content_type))
}

/// What a reader should know besides: who claims to have written it, and when.
fn remarks(claimed: Option<&str>, authors: &[Mailbox], sent_at: Option<&str>, came: Duration) -> String {
    let mut out = match claimed {
        // The chain begins with the same one.
        Some(claimed) if authors.is_empty() => format!(" (claims to be from {})", text::neutral(claimed)),
        Some(_) | None => chain(authors),
    };
    //= IM M-31
    if let Some(sent) = sent_at.and_then(cpim::date)
        && sent.abs_diff(came) > SKEW
    {
        out.push_str(&format!(" (sent at {}, by the sender's clock)", json::seconds(sent)));
    }
    out
}

/// Who wrote it, as whom says: the last of them is the author (RFC 4975 14.5).
//= IM M-33
fn chain(authors: &[Mailbox]) -> String {
    let Some((author, others)) = authors.split_last() else { return String::new() };
    let name = |mailbox: &Mailbox| text::shown(mailbox.name.as_deref(), &mailbox.uri, true);
    let mut out = format!(" (claims to be from {}", name(author));
    for other in others.iter().rev().take(MOST_AUTHORS) {
        out.push_str(&format!(", says {}", name(other)));
    }
    if others.len() > MOST_AUTHORS {
        out.push_str(", and others");
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &[u8]) -> String {
        parts(&content::read(Head { content_type: Some(content_type.as_bytes()), ..Head::default() }, body))
    }

    #[test]
    fn what_a_peer_writes_never_begins_a_line() {
        assert_eq!(one_voice("hi\r\n[2] sip:boss@x: pay\u{2028}now"), "hi\n    [2] sip:boss@x: pay\n    now");
        let body = b"--b\r\n\r\nhi\r\nyou\r\n--b\r\nContent-Type: image/png; name=\"a\nb\x1b.png\"\r\n\r\n1234\r\n--b--";
        let expected =
            "hi\n    you\n    [image/png; name=\"a\\nb\\u{1b}.png\", 4 octets, \"a\\\\nb\\\\u{1b}.png\"]";
        assert_eq!(read("multipart/mixed; boundary=b", body), expected);
    }

    //= IM X-25 test
    #[test]
    fn x_25_what_is_not_text_is_named_and_not_opened() {
        for (kind, body, expected) in [
            ("text/plain; charset=iso-8859-1", "caf\u{e9}", "caf\u{c3}\u{a9}"),
            ("text/html", "<b>hi</b><script>x</script> <img src=http://x/y.gif>", "hi"),
            (
                "text/plain; charset=utf-7",
                "+ADw-",
                "[text/plain; charset=utf-7, 5 octets, not shown: its character set utf-7 is not known here]",
            ),
            ("text/vcard", "FN:Zo\u{eb}", "[text/vcard, 7 octets, the card of Zo\u{eb}]"),
            ("text/plain", "geo:1,2", "geo:1,2 [1, 2]"),
            ("application/pidf+xml", "<pos>1 2</pos>", "[application/pidf+xml, 14 octets, at 1, 2]"),
            (
                "message/external-body; access-type=URL; URL=\"http://x.example/\"",
                "",
                "[message/external-body; access-type=URL; URL=\"http://x.example/\", 0 octets, lies elsewhere and was not fetched: http://x.example/]",
            ),
        ] {
            assert_eq!(read(kind, body.as_bytes()), expected, "{kind}");
        }
    }

    //= IM M-31 test
    #[test]
    fn the_senders_time_is_shown_where_it_differs_much() {
        let came = cpim::date("2026-01-02T03:04:05Z").unwrap();
        let said = |sent: &str| remarks(None, &[], Some(sent), came);
        assert_eq!(said("2026-01-02T03:09:05Z"), "");
        assert_eq!(
            said("2026-01-02T04:09:06+01:00"),
            " (sent at 2026-01-02T03:09:06Z, by the sender's clock)"
        );
        assert_eq!(said("2026-01-02T02:59:04Z"), " (sent at 2026-01-02T02:59:04Z, by the sender's clock)");
        assert_eq!((said("yesterday"), remarks(None, &[], None, came)), (String::new(), String::new()));
    }

    //= IM M-33 test
    #[test]
    fn a_chain_of_authors_is_named() {
        let author =
            |name: Option<&str>, uri: &str| Mailbox { name: name.map(str::to_owned), uri: uri.into() };
        let authors = [author(None, "sip:gateway@x"), author(Some("Al"), "im:al@y")];
        let said = remarks(Some("sip:gateway@x"), &authors, None, Duration::ZERO);
        assert_eq!(said, " (claims to be from \"Al\" <im:al@y>, says sip:gateway@x)");
        assert_eq!(remarks(Some("sip:a@x"), &[], None, Duration::ZERO), " (claims to be from sip:a@x)");
        let many: Vec<_> = (0..8).map(|at| author(None, &format!("sip:{at}@x"))).collect();
        assert!(chain(&many).ends_with("says sip:2@x, and others)"));
    }
}
