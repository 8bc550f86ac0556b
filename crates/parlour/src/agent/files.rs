//! Files: what the agent decides about them, and what it remembers.
//!
//! A file has one row in the store, however many transfers it takes. What was interrupted goes on when the program comes
//! back: who has part of a file asks for the rest, who was sending one offers the rest, each from the last checkpoint on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parlour_msrp::{Body, SpoolId};
use parlour_proto::client::FileFault;
use parlour_proto::event::{Event, FileInfo, FileNews, FileStop, Peer, What};
use parlour_proto::io::{FileId, SessionId};

use super::desk::{Other, Transfer, Why};
use super::resuming::{NO_FILE, RESUME_AFTER_BREAK, STEP_BACK, TRIES};
use super::{Agent, Told};
use crate::command::{Achieved, Outcome};
use crate::files::{Expected, Finished, Told as FromDisk};
use crate::json::file::file_name;
use crate::speed::Speed;
use crate::store::{By, FileRow, FileState, Job, Note, party};

/// What is remembered.
impl Agent {
    /// No file is accepted unasked for which there is no room.
    pub(super) fn tell_room(&mut self) {
        self.client.set_file_room(self.desk.rooms());
    }

    /// Gives a file that comes in up for that reason, and says so; of one that is over already, all was said.
    pub(super) fn refuse_file(&mut self, file: FileId, why: String) {
        let told = Told::Trouble(format!("a file was refused: {why}"));
        if self.client.fail_file(self.clock.now(), file, why).is_ok() {
            self.tell(told);
        }
    }

    pub(super) fn add_file(&mut self, row: FileRow) {
        self.desk.rows.insert(row.id.clone(), row.clone());
        self.note_file(row, None);
        self.forget_files();
        self.tell_room();
    }

    pub(super) fn note_file(&mut self, row: FileRow, by: Option<By>) {
        self.desk.changed();
        self.enqueue(Job::Note { by, note: Note::File(Box::new(row)) });
    }

    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut FileRow)) {
        if let Some(row) = self.desk.rows.get_mut(id) {
            change(row);
            let row = row.clone();
            self.note_file(row, None);
        }
    }
}

/// What the disk tells.
impl Agent {
    pub(super) fn disk_says(&mut self, told: FromDisk) {
        match told {
            FromDisk::Spooled { spool, upto } => self.give(parlour_proto::io::Input::Spooled { spool, upto }),
            FromDisk::Fetched { source, offset, bytes } => {
                self.give(parlour_proto::io::Input::Fetched { source, offset, bytes: &bytes });
            }
            FromDisk::Checkpoint { file, octets, last } => {
                let Some(row) = self.desk.on.get(&file).map(|transfer| transfer.row.clone()) else { return };
                let ended =
                    last && self.desk.rows.get(&row).is_some_and(|row| row.state == FileState::Interrupted);
                self.change(&row, |row| row.octets = row.octets.max(octets));
                if ended
                    && let Some(transfer) = self.desk.on.remove(&file)
                    && octets == 0
                    && let Some(part) = transfer.part
                {
                    self.desk.disk.drop_part(file, &part);
                    self.change(&row, |row| row.path = None);
                }
            }
            FromDisk::Prepared { ticket, files } => {
                let Some(why) = self.desk.looking.remove(&ticket) else { return };
                match why {
                    Why::Send { by, account, to, via } => {
                        let sent = files.and_then(|files| self.offer_prepared(account, &to, via, files));
                        self.tell_outcome(by, sent);
                    }
                    Why::Resume { row, by, tries } => {
                        let resumed = files.and_then(|files| self.offer_rest(&row, tries, files));
                        match (resumed, by) {
                            (resumed, Some(by)) => self.tell_outcome(by, resumed),
                            (Ok(_), None) => {}
                            (Err(why), None) => tracing::warn!(file = row, why, "a file does not go on"),
                        }
                    }
                    Why::Serve { session, given, taken } => {
                        self.serve_prepared(session, given, taken, files);
                    }
                }
                self.drain();
            }
            FromDisk::Broken { file, why } => {
                let _ = self.client.fail_file(
                    self.clock.now(),
                    file,
                    format!("it cannot be written here: {why}"),
                );
                self.drain();
            }
            FromDisk::Finished { file, outcome } => self.file_finished(file, outcome),
        }
    }

    /// A file that came in has been looked at; its last response leaves when its row is durable.
    fn file_finished(&mut self, file: FileId, outcome: Result<Finished, (FileFault, Option<PathBuf>)>) {
        let Some(id) = self.desk.on.get(&file).map(|transfer| transfer.row.clone()) else { return };
        let Some(row) = self.desk.rows.get_mut(&id) else { return };
        let verdict = match outcome {
            Ok(Finished { path, size, hashes, apart }) => {
                (row.state, row.octets, row.size) = (FileState::Done, size, Some(size));
                (row.path, row.hashes, row.why) = (Some(path), hashes, apart.map(str::to_owned));
                Ok(())
            }
            Err((fault, path)) => {
                (row.state, row.why, row.octets) = (FileState::Failed, Some(fault.to_string()), 0);
                row.path = path;
                Err(fault)
            }
        };
        if let (Some(why), Some(path)) = (&row.why, &row.path) {
            let told = format!("a file lies in {}, apart from the others: {why}", path.display());
            let row = row.clone();
            self.tell(Told::Trouble(told));
            self.note_file(row, Some(By::File(file, verdict)));
        } else {
            let row = row.clone();
            self.note_file(row, Some(By::File(file, verdict)));
        }
        self.tell_room();
    }

    /// The row of a file that came in is durable, or will never be.
    pub(super) fn file_noted(&mut self, file: FileId, verdict: Result<(), FileFault>, kept: bool) {
        let broken = FileFault::Store(parlour_proto::client::StoreFault::Broken);
        let verdict = if kept { verdict } else { Err(broken) };
        // Its session may have ended: it is here all the same.
        let _ = self.client.file_kept(self.clock.now(), file, verdict);
        self.drain();
    }
}

/// What the client tells.
impl Agent {
    /// Hears of files, before anybody else does. Returns whether others should.
    pub(super) fn hear_of_files(&mut self, event: &mut Event) -> bool {
        let (account, session) = (event.account, event.session);
        if let What::File { file, news } = &event.what {
            return self.file_news(*file, session, news);
        }
        let Some(session) = session else { return true };
        if let What::Inviting { to, .. } = &event.what {
            self.desk.peers.insert(session, Other::new(account, to, false));
        }
        if let What::Invited { peer: Peer { address, verified, .. }, .. }
        | What::Established { peer: Peer { address, verified, .. }, .. } = &event.what
        {
            self.desk.peers.insert(session, Other::new(account, address, *verified));
        }
        self.invited_to_files(session, &mut event.what);
        if matches!(event.what, What::Ended(_) | What::Missed { .. }) {
            self.desk.peers.remove(&session);
            self.desk.ways.remove(&session);
        }
        true
    }

    fn file_news(&mut self, file: FileId, session: Option<SessionId>, news: &FileNews) -> bool {
        match news {
            FileNews::Offered(_) => {}
            FileNews::Begun(info) => {
                if let Some(session) = session {
                    self.file_begun(session, info);
                }
            }
            FileNews::Moved { octets, size } => {
                self.file_moved(file, *octets);
                if size.is_none() {
                    self.stays_in_quota(file, *octets);
                }
            }
            FileNews::Whole { body, .. } => {
                self.file_whole(file, body);
                return false;
            }
            FileNews::Done => {
                if let Some(transfer) = self.desk.on.get(&file) {
                    let (row, source) = (transfer.row.clone(), transfer.source);
                    source.into_iter().for_each(|source| self.desk.disk.unserve(source));
                    if source.is_some() {
                        self.change(&row, |row| {
                            (row.state, row.why) = (FileState::Done, None);
                            row.octets = row.size.unwrap_or(row.octets);
                        });
                    }
                }
            }
            FileNews::Stopped(stop) => self.file_stopped(file, stop),
        }
        true
    }

    fn file_begun(&mut self, session: SessionId, info: &FileInfo) {
        let file = info.file;
        let selector = &info.about.selector;
        if let Some(transfer) = self.desk.on.get_mut(&file) {
            transfer.begun = true;
            let (row, part, skip) = (transfer.row.clone(), transfer.part.clone(), transfer.skip);
            let verified = self.desk.peers.get(&session).is_some_and(|other| other.verified);
            self.change(&row, |row| {
                row.tries = 0;
                row.verified |= verified;
                // Who has it all, and wants it again, has it all the same.
                if row.incoming || row.state != FileState::Done {
                    (row.state, row.why) = (FileState::Running, None);
                    row.octets = if row.incoming { row.octets.min(skip) } else { skip };
                }
            });
            if !info.sends {
                // A part of which nothing counts is begun anew.
                let part = part.filter(|_| skip > 0).or_else(|| self.new_part(file));
                if let Some(part) = part {
                    self.drop_other_part(&row, &part);
                    self.desk.disk.take(file, &part, skip);
                    self.change(&row, |row| row.path = Some(part.clone()));
                    if let Some(transfer) = self.desk.on.get_mut(&file) {
                        transfer.part = Some(part);
                    }
                }
            }
            return;
        }
        if info.sends {
            return;
        }
        let Some(Other { account, address, verified, .. }) = self.desk.peers.get(&session).cloned() else {
            return;
        };
        let peer = party(&address);
        let why = self.desk.refuses_another(&peer, selector.size.unwrap_or(0));
        let part = self.new_part(file).filter(|_| why.is_none());
        let Some(part) = part else {
            let why = why.unwrap_or_else(|| "there is no place for it".to_owned());
            return self.refuse_file(file, why);
        };
        let id = file_name(self.store.run(), file);
        let row = FileRow {
            id: id.clone(),
            time: self.clock.now().unix,
            account: self.address(account).to_string(),
            peer,
            address,
            incoming: true,
            name: selector.name.clone(),
            content_type: selector.media_type.clone(),
            size: selector.size,
            hashes: selector.hashes.clone(),
            state: FileState::Running,
            why: None,
            octets: 0,
            path: Some(part.clone()),
            modified: Duration::ZERO,
            via: self.desk.ways.get(&session).cloned(),
            tries: 0,
            attempts: Vec::new(),
            verified,
        };
        self.desk.disk.take(file, &part, 0);
        self.add_file(row);
        let transfer = Transfer { row: id, part: Some(part), begun: true, ..Transfer::default() };
        self.desk.on.insert(file, transfer);
    }

    /// How fast a file moves of which there is news.
    pub(super) fn speed(&mut self, event: &Event) -> Option<Speed> {
        let What::File { file, news: FileNews::Moved { octets, size } } = &event.what else { return None };
        let transfer = self.desk.on.get_mut(file)?;
        Some(transfer.track.look(Instant::now(), *octets, *size))
    }

    /// The room on the disk has gone meanwhile: what comes is refused (413) before it takes what is kept for others.
    pub(super) fn stop_files_without_room(&mut self) {
        let stopped = self.desk.without_room();
        for file in &stopped {
            let why = "disk_reserve: the disk is nearly full".to_owned();
            self.refuse_file(*file, why);
        }
        if !stopped.is_empty() {
            self.drain();
        }
    }

    /// Of a file whose size nobody has told, what is here counts.
    //= IM X-30
    fn stays_in_quota(&mut self, file: FileId, octets: u64) {
        let row = self.desk.on.get(&file).and_then(|transfer| self.desk.rows.get_mut(&transfer.row));
        let Some(row) = row.filter(|row| row.incoming) else { return };
        row.octets = row.octets.max(octets);
        let peer = row.peer.clone();
        self.desk.changed();
        if let Some(why) = self.desk.refuses(&peer, 0) {
            let _ = self.client.fail_file(self.clock.now(), file, why);
        }
    }

    /// The path of a file whose transfer is done, for the last time.
    pub(super) fn file_is_done(&mut self, file: FileId) -> Option<String> {
        let path = self.desk.path(file);
        self.desk.on.remove(&file);
        path
    }

    /// What lies of a file elsewhere than in the part that it is written to now is not wanted any more.
    fn drop_other_part(&self, row: &str, part: &Path) {
        let Some(places) = self.desk.disk.places() else { return };
        let other = self.desk.rows.get(row).and_then(|row| row.path.as_deref());
        let is_part = |path: &&Path| *path != part && path.parent() == Some(&places.incoming());
        if let Some(other) = other.filter(is_part) {
            self.desk.disk.drop_part(NO_FILE, other);
        }
    }

    fn new_part(&self, file: FileId) -> Option<PathBuf> {
        let places = self.desk.disk.places()?;
        Some(places.part(&self.store.mark(), &file_name(self.store.run(), file)))
    }

    /// Octets of a spool are a file's.
    pub(super) fn keep(&mut self, spool: SpoolId, file: FileId) {
        self.desk.kept.insert(spool, file);
    }

    /// No more comes through a spool that is a file's.
    pub(super) fn let_go(&mut self, spool: SpoolId) -> bool {
        let Some(file) = self.desk.kept.remove(&spool) else { return false };
        self.desk.disk.close(file);
        true
    }

    fn file_whole(&mut self, file: FileId, body: &Body) {
        let Some(transfer) = self.desk.on.get(&file) else { return };
        let (Some(part), Some(row)) = (transfer.part.clone(), self.desk.rows.get(&transfer.row)) else {
            return;
        };
        let expected = Expected {
            name: row.name.clone(),
            media_type: row.content_type.clone(),
            size: row.size,
            hashes: row.hashes.clone(),
        };
        match body {
            Body::Inline(octets) => self.desk.disk.write(file, None, 0, octets.clone()),
            Body::Spooled { spool, .. } => drop(self.desk.kept.remove(spool)),
        }
        self.desk.disk.finish(file, &part, expected);
    }

    fn file_stopped(&mut self, file: FileId, stop: &FileStop) {
        let Some(transfer) = self.desk.on.get(&file) else { return };
        let (id, part, source) = (transfer.row.clone(), transfer.part.clone(), transfer.source);
        let (begun, skip, tries) = (transfer.begun, transfer.skip, transfer.tries);
        source.into_iter().for_each(|source| self.desk.disk.unserve(source));
        let Some(row) = self.desk.rows.get(&id) else { return };
        let (was, incoming, octets) = (row.state, row.incoming, row.octets);
        if was == FileState::Done {
            self.desk.on.remove(&file);
            return;
        }
        let why = Some(crate::line::stopped(stop));
        let goes_on = match stop {
            FileStop::Interrupted { .. } => begun,
            // The other side has less than we thought.
            FileStop::Declined => skip > 0,
            FileStop::Cancelled | FileStop::Aborted | FileStop::Corrupt | FileStop::Failed { .. } => false,
        };
        if goes_on || (!begun && was == FileState::Interrupted) {
            self.change(&id, |row| {
                (row.state, row.why) = (FileState::Interrupted, why);
                if !begun && *stop == FileStop::Declined {
                    row.tries = row.tries.saturating_add(1);
                    if !row.incoming {
                        row.octets = row.octets.saturating_sub(STEP_BACK);
                    }
                }
                // Who does not know parts of files gets, and gives, the whole.
                if !begun && matches!(stop, FileStop::Failed { .. }) {
                    row.octets = 0;
                }
            });
            let tries = if begun && octets > skip { 0 } else { tries.saturating_add(1) };
            // Of a file that was coming, its sender offers the rest.
            if (!incoming || !begun) && tries < TRIES && self.goes_on {
                self.resume_later(&id, RESUME_AFTER_BREAK, tries);
            }
            if incoming && begun {
                // The last checkpoint is on its way, and removes it.
                self.desk.disk.close(file);
                return;
            }
        } else {
            let corrupt = *stop == FileStop::Corrupt;
            if let (Some(part), false) = (&part, corrupt) {
                self.desk.disk.drop_part(file, part);
            }
            self.change(&id, |row| {
                (row.state, row.why) = (FileState::Failed, why);
                if incoming && !corrupt {
                    (row.octets, row.path) = (0, None);
                }
            });
        }
        self.desk.on.remove(&file);
        self.forget_files();
        self.tell_room();
    }

    /// Tells whoever asked what became of a command about a file.
    pub(super) fn answer_about_file(&mut self, id: Option<String>, what: Result<(), String>) {
        self.tell(Told::Outcome(Outcome { id, what: what.map(|()| Achieved::default()) }));
    }
}
