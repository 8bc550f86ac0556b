//! Files, as JSON.

use parlour_proto::event::{FileInfo, FileNews, FileStop, Unasked};
use parlour_proto::io::{FileId, SessionId};
use parlour_proto::sdp::FileHash;
use serde::Serialize;

use crate::model::SessionName;
use crate::store::FileRow;

/// What names a file across restarts: written like the name of a session.
pub(crate) fn file_name(run: u64, file: FileId) -> String {
    SessionName { run, session: SessionId(file.0) }.to_string()
}

/// A file, as it is offered or agreed on.
#[derive(Serialize)]
pub(super) struct About<'a> {
    file: String,
    /// `in` or `out`.
    direction: &'static str,
    name: Option<&'a str>,
    content_type: Option<&'a str>,
    /// Octets of the whole file.
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<String>,
    /// Octets at the beginning that are not transferred.
    #[serde(skip_serializing_if = "is_zero")]
    skip: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<&'a str>,
    /// Where a preview lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<&'a str>,
    /// What the program does about it without asking: `given`, `goes_on` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unasked: Option<&'static str>,
    /// Where one of ours lies that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> About<'a> {
    pub(super) fn of(info: &'a FileInfo, run: u64) -> Self {
        let selector = &info.about.selector;
        let (unasked, path, why) = match &info.unasked {
            None => (None, None, None),
            Some(Unasked::Given { path }) => (Some("given"), Some(path.as_str()), None),
            Some(Unasked::GoesOn) => (Some("goes_on"), None, None),
            Some(Unasked::Refused { why }) => (Some("refused"), None, Some(why.as_str())),
        };
        About {
            file: file_name(run, info.file),
            direction: if info.sends { "out" } else { "in" },
            name: selector.name.as_deref(),
            content_type: selector.media_type.as_deref(),
            size: selector.size,
            hashes: selector
                .hashes
                .iter()
                .map(|hash| format!("{}:{}", hash.algorithm(), hash.text()))
                .collect(),
            skip: info.about.skipped(),
            modified: info.about.modified.as_deref(),
            preview: info.icon.as_ref().and_then(|icon| icon.path.as_deref()),
            unasked,
            path,
            why,
        }
    }
}

/// A file of the store, as a line.
pub(crate) fn row_line(row: &FileRow) -> String {
    let hash = |hash: &FileHash| format!("{}:{}", hash.algorithm(), hash.text());
    let line = serde_json::json!({
        "v": 1,
        "type": "known_file",
        "id": row.id,
        "time": super::rfc3339(row.time),
        "account": row.account,
        "peer": row.peer,
        "direction": if row.incoming { "in" } else { "out" },
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size,
        "hashes": row.hashes.iter().map(hash).collect::<Vec<_>>(),
        "state": row.state.text(),
        "why": row.why,
        "octets": row.octets,
        "attempts": row.attempts,
        "path": row.path,
    });
    line.to_string()
}

/// What is new of a file.
#[derive(Serialize)]
pub(super) struct News<'a> {
    file: String,
    state: &'static str,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'a> {
    Nothing {},
    About(Box<Details<'a>>),
    Moved {
        octets: u64,
        size: Option<u64>,
    },
    Stopped {
        stop: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
    },
}

/// As [`About`], without the name of the transfer.
#[derive(Serialize)]
struct Details<'a> {
    about: About<'a>,
}

pub(super) fn news(file: FileId, news: &FileNews, run: u64) -> News<'_> {
    let about = |info| Rest::About(Box::new(Details { about: About::of(info, run) }));
    let (state, rest) = match news {
        FileNews::Offered(info) => ("offered", about(info)),
        FileNews::Begun(info) => ("begun", about(info)),
        FileNews::Moved { octets, size } => ("moved", Rest::Moved { octets: *octets, size: *size }),
        FileNews::Whole { .. } => ("whole", Rest::Nothing {}),
        FileNews::Done => ("done", Rest::Nothing {}),
        FileNews::Stopped(stop) => ("stopped", stopped(stop)),
    };
    News { file: file_name(run, file), state, rest }
}

fn stopped(stop: &FileStop) -> Rest<'_> {
    let why = match stop {
        FileStop::Interrupted { why } | FileStop::Failed { why } => Some(why.as_str()),
        FileStop::Declined | FileStop::Cancelled | FileStop::Aborted | FileStop::Corrupt => None,
    };
    Rest::Stopped { stop: stop_word(stop), why }
}

/// Why a transfer is over, in a word.
pub(crate) fn stop_word(stop: &FileStop) -> &'static str {
    match stop {
        FileStop::Declined => "declined",
        FileStop::Cancelled => "cancelled",
        FileStop::Aborted => "aborted",
        FileStop::Interrupted { .. } => "interrupted",
        FileStop::Corrupt => "corrupt",
        FileStop::Failed { .. } => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlour_proto::sdp::FileAttributes;

    use super::*;
    use crate::store::FileState;

    #[test]
    fn a_known_file_says_which_way_it_went() {
        for (incoming, word) in [(true, "in"), (false, "out")] {
            let row = FileRow {
                id: "3-1".into(),
                time: Duration::ZERO,
                account: "sip:us@x".into(),
                peer: "sip:a@x".into(),
                address: "sip:a@x".into(),
                incoming,
                name: Some("a.dat".into()),
                content_type: None,
                size: Some(9),
                hashes: Vec::new(),
                state: FileState::Done,
                why: None,
                octets: 9,
                path: None,
                modified: Duration::ZERO,
                via: None,
                tries: 0,
                attempts: Vec::new(),
                verified: true,
            };
            let line: serde_json::Value = serde_json::from_str(&row_line(&row)).expect("a line of JSON");
            let told = [&line["direction"], &line["id"], &line["name"], &line["state"]];
            assert_eq!(told, [word, "3-1", "a.dat", "done"]);
        }
    }

    #[test]
    fn what_is_not_skipped_is_not_spoken_of() {
        let about = FileAttributes::default();
        let info = FileInfo { file: FileId(1), sends: false, about, icon: None, unasked: None };
        let told = serde_json::to_value(About::of(&info, 3)).expect("an object");
        assert_eq!((&told["file"], &told["direction"]), (&"3-1".into(), &"in".into()));
        assert_eq!((told.get("skip"), told.get("unasked")), (None, None));
    }
}
