//! Bodies of fuzz targets.

use super::composing;
use super::conference_info::{self, Conference, State, Verdict};
use super::content;
use super::cpim::{CpimFault, MAX_HEAD, MAX_HEADERS, parse};
use super::imdn;
use super::multipart::{self, MOST_PARTS, Part};
use super::resource_list;

/// Reads whatever comes, whole and cut: a cut either says that more is needed or changes nothing.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn cpim(data: &[u8]) {
    let all = parse(data, false);
    assert!(data.len() < MAX_HEAD || all != Err(CpimFault::NeedMore));
    if let Ok(cpim) = &all {
        assert!(cpim.body_offset <= data.len());
        let _ = cpim.sent_at();
        let all = cpim.to.len() + cpim.cc.len() + cpim.headers.len() + cpim.content_headers.len();
        assert!(all <= MAX_HEADERS && cpim.required_unknown.len() <= MAX_HEAD);
        assert_eq!(parse(data, true).as_ref(), Ok(cpim));
    }
    for cut in [data.len() / 3, data.len() / 2] {
        let part = parse(data.get(..cut).unwrap_or_default(), false);
        assert!(part == Err(CpimFault::NeedMore) || part == all);
    }
}

/// Reads whatever comes as a typing state, and what we would write of it.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn composing(data: &[u8]) {
    let Ok(told) = composing::parse(data) else { return };
    assert!(told.refresh.is_none_or(|refresh| !refresh.is_zero()));
    if told.last_active.iter().chain(&told.content_type).all(comes_back) {
        assert_eq!(composing::parse(&composing::write(&told)), Ok(told));
    }
}

/// Reads whatever comes as a conference document, merges it, and sees that the same one again changes nothing.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn conference_info(data: &[u8]) {
    let Ok(document) = conference_info::parse(data) else { return };
    let mut conference = Conference::default();
    let first = conference.take(document.clone());
    assert!(conference.users.len() <= conference_info::MOST_USERS);
    assert!(conference.users.values().all(|user| user.state == State::Full));
    match first {
        Verdict::Merged | Verdict::Over => assert_eq!(conference.take(document), Verdict::Stale),
        Verdict::Gap => assert_eq!(document.state, State::Partial),
        Verdict::TooLarge => assert_eq!(conference, Conference::default()),
        Verdict::Stale => panic!("nothing was known"),
    }
}

/// Reads whatever comes as a notification, and what we would write of it; and as a message that asks for one.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn imdn(data: &[u8]) {
    if let Some(asked) = parse(data, true).ok().as_ref().and_then(imdn::asked) {
        assert!(!asked.message_id.is_empty() && (asked.delivered || asked.failed || asked.displayed));
    }
    let Ok(told) = imdn::parse(data) else { return };
    let more = [&told.date_time, &told.recipient, &told.original_recipient];
    let faithful = comes_back(&told.message_id) && more.into_iter().flatten().all(comes_back);
    let written = imdn::write(&told);
    if written.len() <= imdn::LONGEST && faithful {
        assert_eq!(imdn::parse(&written), Ok(told));
    }
}

/// Reads whatever comes as a body whose first line is its Content-Type: parts are bounded and lie within it. What looks like a list of addresses is read as one.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn multipart(data: &[u8]) {
    let end = data.iter().position(|&octet| octet == b'\n').unwrap_or(data.len());
    let (content_type, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let Ok(parts) = multipart::read(content_type, body) else { return };
    assert!(!parts.is_empty() && count(&parts) <= MOST_PARTS);
    for (at, part) in multipart::pieces(content_type, body, &mut MOST_PARTS.clone()).expect("it was read") {
        let end = at.saturating_add(part.body.len());
        assert_eq!(body.get(at..end), Some(part.body), "it lies where it says");
    }
    for part in &parts {
        assert!(body.len() >= part.body.len());
        if let Ok(entries) = resource_list::parse(part.body) {
            assert!(entries.len() <= resource_list::MOST_ENTRIES);
        }
    }
}

/// Takes a body apart whose first line is its Content-Type: parts are bounded, and lie where they say.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn content(data: &[u8]) {
    let end = data.iter().position(|&octet| octet == b'\n').unwrap_or(data.len());
    let (content_type, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let head = content::Head { content_type: Some(content_type), ..content::Head::default() };
    let parts = content::read(head, body);
    // A wrapping counts as one, and so does what is in it.
    assert!(!parts.is_empty() && parts.len() <= MOST_PARTS.saturating_add(1));
    let whole = u64::try_from(body.len()).expect("a length");
    for part in &parts {
        let end = part.place.map_or(0, |place| place.offset.saturating_add(place.length));
        assert!(end <= whole && part.size <= whole);
        assert!(part.authors.len() <= multipart::DEEPEST);
        let short = [Some(&part.content_type), part.name.as_ref(), part.about.as_ref()];
        assert!(short.into_iter().flatten().all(|text| text.chars().count() <= content::LONGEST_TEXT));
        // A replacement character has three octets for one that is none.
        assert!(part.text.as_ref().is_none_or(|text| text.len() <= body.len().saturating_mul(3)));
    }
    let _ = content::text(&parts);
}

fn count(parts: &[Part<'_>]) -> usize {
    parts.iter().map(|part| 1 + count(&part.parts)).sum()
}

/// Whether a text is the same when it is written as XML and read again: without characters that XML does not hold, and
/// without space at an end where it was cut.
fn comes_back(text: &String) -> bool {
    text.trim() == text && !text.chars().any(char::is_control)
}
