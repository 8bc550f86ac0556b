//! Invitations to files: which go on by themselves, which are given, which cannot be, and which the user has the word about.
//!
//! A file that the user has accepted once goes on unasked, from wherever it broke off, also from its first octet: it is the
//! same account, the same peer, the same hash and the same size, no octet that is durable here is given up that its sender
//! does not send again, and what is whole has to have that hash. A file of ours is given unasked to whom it was given
//! before. All else is for the user. Neither of the first two ever answers for a chat, or for another file, that stands
//! in the same invitation.

use std::collections::BTreeSet;
use std::sync::Arc;

use parlour_proto::client::FileAnswer;
use parlour_proto::event::{FileInfo, Icon, Kind, Unasked, What};
use parlour_proto::io::{FileId, SessionId};
use parlour_proto::sdp::FileSelector;

use super::Agent;
use super::desk::{Desk, Transfer, Whose, Why};
use super::offering::offer_of;
use super::resuming::part_of;
use crate::files::Prepared;
use crate::json::file::file_name;

/// What becomes of one file of an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It is ours, in the row of that id, and is given.
    Given(String),
    /// It is that row's, of which a part is here, or was to be.
    GoesOn(String),
    /// It is not taken, or not given.
    Refused(String),
    /// The same; we ask for what is missing of this row instead.
    Behind(String),
    /// Whoever answers invitations has the word.
    Open,
}

impl Desk {
    /// What becomes of the files of an invitation. `alone` says that there is nothing else in it.
    //= IM D-43
    fn judge(&self, whose: &Whose<'_>, files: &[FileInfo], alone: bool) -> Vec<Fate> {
        let mut rows = BTreeSet::new();
        let mut fates: Vec<Fate> = files.iter().map(|info| self.judge_one(whose, info, &mut rows)).collect();
        if !alone || fates.contains(&Fate::Open) {
            for fate in &mut fates {
                if matches!(fate, Fate::Given(_)) {
                    *fate = Fate::Refused("it is given in an invitation of its own".to_owned());
                }
            }
        }
        fates
    }

    /// `rows` are those of the files before it: none is meant twice.
    fn judge_one(&self, whose: &Whose<'_>, info: &FileInfo, rows: &mut BTreeSet<String>) -> Fate {
        let (selector, skip) = (&info.about.selector, info.about.skipped());
        if info.sends {
            return match self.shared(whose, selector) {
                None => Fate::Refused("it was not shared with who asks for it".to_owned()),
                Some(row) if !self.can_be_given(row) => {
                    Fate::Refused("it is on its way to who asks for it already".to_owned())
                }
                Some(row) if !rows.insert(row.id.clone()) => {
                    Fate::Refused("it is asked for twice in one invitation".to_owned())
                }
                Some(row) => Fate::Given(row.id.clone()),
            };
        }
        let known = self.interrupted(whose, selector).filter(|row| rows.insert(row.id.clone()));
        match known.map(|row| (row, part_of(row).1)) {
            Some((row, here)) if here >= skip && !self.is_running(&row.id) => {
                let rest = row.size.or(selector.size).unwrap_or(0).saturating_sub(here);
                self.refuses(whose.peer, rest).map_or_else(|| Fate::GoesOn(row.id.clone()), Fate::Refused)
            }
            Some((row, _)) => Fate::Behind(row.id.clone()),
            None if skip > 0 => Fate::Refused(LESS_IS_HERE.to_owned()),
            None => {
                self.refuses_another(whose.peer, selector.size.unwrap_or(0)).map_or(Fate::Open, Fate::Refused)
            }
        }
    }
}

const LESS_IS_HERE: &str = "less of it is here than it leaves out";

impl Agent {
    pub(super) fn accept_files(&mut self, session: SessionId, files: &[FileId]) -> Result<(), String> {
        let answers = files.iter().map(|file| FileAnswer { file: *file, serve: None }).collect();
        self.client.accept_files(self.clock.now(), session, answers).map_err(|why| why.to_string())
    }

    /// An invitation to files, or a later offer: it is told on with what the program does about each.
    pub(super) fn invited_to_files(&mut self, session: SessionId, what: &mut What) {
        let (files, alone, asked) = if let What::Invited { files, kind, asked, .. } = what {
            (files, *kind == Kind::Files, Some(asked))
        } else if let What::FilesAdded { files, .. } = what {
            (files, true, None)
        } else {
            return;
        };
        if files.is_empty() {
            return;
        }
        let Some(other) = self.desk.peers.get(&session).cloned() else { return };
        let address = self.address(other.account);
        let fates = self.desk.judge(&other.whose(&address), files, alone);
        let is_for_user = !alone || fates.contains(&Fate::Open);
        // Policy may have accepted all of it: then there is nothing left to say.
        let may_answer = !is_for_user && asked.as_deref() != Some(&false);
        let (mut given, mut taken) = (Vec::new(), Vec::new());
        for (info, fate) in files.iter_mut().zip(fates) {
            info.unasked = match fate {
                Fate::Open => None,
                Fate::Given(row) => {
                    let path = self.desk.rows.get(&row).and_then(|row| row.path.clone());
                    given.push((info.clone(), row));
                    path.map(|path| Unasked::Given { path: path.to_string_lossy().into_owned() })
                }
                Fate::GoesOn(row) => {
                    self.goes_on_with(info, row);
                    taken.push(info.file);
                    Some(Unasked::GoesOn)
                }
                Fate::Refused(why) => Some(Unasked::Refused { why }),
                Fate::Behind(row) => {
                    self.ask_for_the_rest(&row);
                    Some(Unasked::Refused { why: LESS_IS_HERE.to_owned() })
                }
            };
        }
        if let Some(asked) = asked {
            *asked &= is_for_user;
        }
        for info in files.iter() {
            let Some(Unasked::Refused { why }) = &info.unasked else { continue };
            tracing::info!(why, "a file is declined");
            if info.sends {
                let _ = self.client.fail_file(self.clock.now(), info.file, why.clone());
            } else {
                self.refuse_file(info.file, why.clone());
            }
        }
        if !given.is_empty() {
            let path = |id: &String| self.desk.rows.get(id)?.path.clone();
            let files = given.iter().filter_map(|(_, id)| path(id).map(Into::into)).collect();
            let ticket = self.desk.disk.prepare(files);
            self.desk.looking.insert(ticket, Why::Serve { session, given, taken });
        } else if !taken.is_empty()
            && may_answer
            && let Err(why) = self.accept_files(session, &taken)
        {
            tracing::debug!(why, "files do not go on");
        }
    }

    /// The other side goes on with a file of which it was sending us a part.
    fn goes_on_with(&mut self, info: &FileInfo, row: String) {
        // Both sides may have come back at once: who has the file decides.
        let crosses = |transfer: &Transfer| transfer.row == row && !transfer.begun;
        let crossing = self.desk.on.iter().filter(|(_, transfer)| crosses(transfer));
        let crossing: Vec<FileId> = crossing.map(|(file, _)| *file).collect();
        for file in crossing {
            self.desk.on.remove(&file);
            let _ = self.client.cancel_file(self.clock.now(), file);
        }
        let part = self.desk.rows.get(&row).and_then(|row| row.path.clone());
        let skip = info.about.skipped();
        self.attempt(info.file, Transfer { row, part, skip, ..Transfer::default() });
    }

    /// Gives somebody the files that were shared with him, and no others; `taken` are those that go on besides.
    //= IM D-43
    pub(super) fn serve_prepared(
        &mut self,
        session: SessionId,
        given: Vec<(FileInfo, String)>,
        taken: Vec<FileId>,
        files: Result<Vec<Prepared>, String>,
    ) {
        let mut answers: Vec<FileAnswer> =
            taken.into_iter().map(|file| FileAnswer { file, serve: None }).collect();
        for ((info, id), prepared) in given.into_iter().zip(files.unwrap_or_default()) {
            let same = self
                .desk
                .rows
                .get(&id)
                .is_some_and(|row| row.hashes == prepared.hashes && self.desk.can_be_given(row));
            let skip = info.about.skipped();
            let source = if same { self.desk.disk.serve(&prepared, skip).ok() } else { None };
            let Some(source) = source else { continue };
            let selector = offer_of(&prepared, source, skip).selector;
            // What is asked for may be called as its receiver calls it.
            let asked = &info.about.selector;
            let selector = FileSelector {
                name: asked.name.clone().or(selector.name),
                media_type: asked.media_type.clone().or(selector.media_type),
                ..selector
            };
            answers.push(FileAnswer { file: info.file, serve: Some((selector, source)) });
            self.attempt(info.file, Transfer { row: id, source: Some(source), skip, ..Transfer::default() });
        }
        let now = self.clock.now();
        let answered = match answers.is_empty() {
            true => self.client.decline(now, session, parlour_proto::client::Decline::Declined),
            false => self.client.accept_files(now, session, answers),
        };
        if let Err(why) = answered {
            tracing::debug!(%why, "files that were asked for were not given");
        }
    }

    /// A transfer of a file that is known begins, or is offered: the file is called by its name, too.
    pub(super) fn attempt(&mut self, file: FileId, transfer: Transfer) {
        let (name, row) = (file_name(self.store.run(), file), transfer.row.clone());
        self.desk.on.insert(file, transfer);
        self.change(&row, |row| row.called(name));
    }

    /// Puts the previews of files that are offered where they lie, and forgets those that cannot.
    pub(super) fn keep_previews(&mut self, what: &mut What) {
        let (What::Invited { files, .. } | What::FilesAdded { files, .. }) = what else { return };
        for info in files.iter_mut() {
            let Some(icon) = info.icon.take() else { continue };
            let Some(places) = self.desk.disk.places() else { continue };
            let name = file_name(self.store.run(), info.file);
            match places.keep_preview(&self.store.mark(), &name, &icon.octets) {
                Ok(path) => {
                    let path = Some(path.to_string_lossy().into_owned());
                    info.icon = Some(Arc::new(Icon { octets: Vec::new(), path, ..Icon::clone(&icon) }));
                }
                Err(error) => tracing::info!(%error, file = name, "its preview is not kept"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlour_proto::sdp::{FileAttributes, FileRange};

    use super::super::desk::tests::{QUOTA, named, row, whose};
    use super::super::quota::Quota;
    use super::*;
    use crate::files::{Files, Places};
    use crate::store::{FileRow, FileState};

    fn info(file: u64, sends: bool, selector: FileSelector, skip: u64) -> FileInfo {
        let range = (skip > 0).then_some(FileRange { start: skip + 1, stop: None });
        let about = FileAttributes { selector, range, ..FileAttributes::default() };
        FileInfo { file: FileId(file), sends, about, icon: None, unasked: None }
    }

    fn desk(dir: &std::path::Path, rows: Vec<FileRow>) -> Desk {
        let (answers, _told) = tokio::sync::mpsc::unbounded_channel();
        let disk = Files::start(Some(Places { root: dir.join("files") }), &answers).unwrap();
        Desk::new(disk, Quota { all: 100, peer: 100, ..QUOTA }, rows)
    }

    const A: &str = "sip:a@x";

    //= IM D-43 test
    #[test]
    fn what_broke_off_goes_on_unasked_from_its_first_octet_too() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        std::fs::write(&part, [0; 10]).unwrap();
        let begun = FileRow { octets: 10, ..row("1-1", A, FileState::Interrupted, 50, part) };
        let nothing = FileRow { octets: 0, path: None, ..begun.clone() };
        let goes_on = Fate::GoesOn("1-1".to_owned());
        let fate = |row: &FileRow, info| {
            desk(dir.path(), vec![row.clone()]).judge(&whose(A), &[info], true).remove(0)
        };
        let whole = |selector| info(1, false, selector, 0);
        assert_eq!(fate(&nothing, whole(named(7))), goes_on, "nothing of it had come");
        assert_eq!(fate(&begun, whole(named(7))), goes_on, "its sender knows no parts");
        assert_eq!(fate(&begun, info(1, false, named(7), 10)), goes_on);
        assert_eq!(fate(&begun, info(1, false, named(7), 11)), Fate::Behind("1-1".to_owned()));
        assert_eq!(fate(&nothing, info(1, false, named(7), 1)), Fate::Behind("1-1".to_owned()));
        // Another file, or another size under the same hash, is another question.
        assert_eq!(fate(&nothing, whole(named(8))), Fate::Open);
        assert_eq!(fate(&nothing, whole(FileSelector { size: Some(51), ..named(7) })), Fate::Open);
        assert_eq!(fate(&nothing, whole(FileSelector { size: Some(50), ..named(7) })), goes_on);
        let declined = FileRow { state: FileState::Failed, ..nothing.clone() };
        assert_eq!(fate(&declined, whole(named(7))), Fate::Open, "it was given up");
        assert!(matches!(fate(&declined, info(1, false, named(7), 1)), Fate::Refused(_)));
        // Who only claims to be the peer has to ask.
        let vouched = FileRow { verified: true, ..nothing.clone() };
        assert_eq!(fate(&vouched, whole(named(7))), Fate::Open);
        // What has no room does not go on; and one row is one file.
        let large = FileRow { size: Some(101), ..nothing.clone() };
        assert!(matches!(fate(&large, whole(named(7))), Fate::Refused(_)));
        let twice = [whole(named(7)), info(2, false, named(7), 0)];
        let judged = desk(dir.path(), vec![nothing.clone()]).judge(&whose(A), &twice, true);
        assert_eq!(judged, [goes_on.clone(), Fate::Open]);
        // While the last octets of the attempt before are written it cannot be taken.
        let mut busy = desk(dir.path(), vec![nothing]);
        let transfer = |begun| Transfer { row: "1-1".to_owned(), begun, ..Transfer::default() };
        busy.on.insert(FileId(9), transfer(true));
        assert_eq!(busy.judge(&whose(A), &[whole(named(7))], true), [Fate::Behind("1-1".to_owned())]);
        busy.on.insert(FileId(9), transfer(false));
        assert_eq!(busy.judge(&whose(A), &[whole(named(7))], true), [goes_on]);
    }

    //= IM D-43 test
    #[test]
    fn a_file_of_ours_is_given_unasked_but_opens_no_chat_and_takes_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let ours = FileRow { incoming: false, ..row("1-1", A, FileState::Done, 5, "f".into()) };
        let desk = desk(dir.path(), vec![FileRow { time: Duration::ZERO, ..ours }]);
        let wanted = |file, octet| info(file, true, named(octet), 0);
        let judge = |files: &[FileInfo], alone| desk.judge(&whose(A), files, alone);
        assert_eq!(judge(&[wanted(1, 7)], true), [Fate::Given("1-1".to_owned())]);
        let refused = |fates: Vec<Fate>| fates.iter().all(|fate| matches!(fate, Fate::Refused(_)));
        assert!(refused(judge(&[wanted(1, 8)], true)), "it was not shared");
        assert!(refused(judge(&[wanted(1, 7)], false)), "a chat is asked about");
        let pushed = info(2, false, named(9), 0);
        let both = judge(&[wanted(1, 7), pushed], true);
        assert!(matches!(both[..], [Fate::Refused(_), Fate::Open]), "{both:?}");
        assert!(matches!(judge(&[wanted(1, 7), wanted(2, 7)], true)[..], [Fate::Given(_), Fate::Refused(_)]));
    }
}
