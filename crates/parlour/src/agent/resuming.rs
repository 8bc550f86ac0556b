//! Files that broke off, and what is remembered of files: what goes on by itself, or because the user says so, and what is
//! forgotten.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parlour_proto::client::FileOffer;
use parlour_proto::config::Proxy;
use parlour_proto::io::FileId;

use super::desk::{Due, Transfer, Why};
use super::offering::offer_of;
use super::{Agent, sending};
use crate::command::Achieved;
use crate::files::Prepared;
use crate::store::{By, FileRow, FileState, Job, Note};

/// How much further back a resumption begins when the other side has less than we thought.
pub(super) const STEP_BACK: u64 = 3 * sending::CHECKPOINT;
/// How long after the start, after a break, or after an offer of more than we could take, what was interrupted goes on.
const RESUME_AT_START: Duration = Duration::from_secs(1);
pub(super) const RESUME_AFTER_BREAK: Duration = Duration::from_secs(15);
const RESUME_AFTER_OFFER: Duration = Duration::from_secs(1);
/// How long the second file of one peer waits before it looks again whether the first one has begun.
const NEXT_OF_PEER: Duration = Duration::from_secs(1);
/// How often a file that breaks off is offered again by itself, and how often it may be declined until it is not any more.
pub(super) const TRIES: u8 = 4;
/// Files that go on by themselves at the start.
const MOST_RESUMED: usize = 32;

/// No file is called that: of a part to which nothing is written.
pub(super) const NO_FILE: FileId = FileId(0);

impl Agent {
    /// The user goes on with a file, which he calls by the name of any of its transfers.
    pub(super) fn resume_by_hand(&mut self, name: &str, via: Option<Proxy>, asked: Option<String>) {
        let id = self.desk.called(name).map_or_else(|| name.to_owned(), |row| row.id.clone());
        if let (Some(via), Some(row)) = (via, self.desk.rows.get_mut(&id)) {
            row.via = Some(via);
        }
        self.resume_file(&id, Some(By::Front(asked)), 0);
    }

    /// Goes on with a file that was interrupted.
    pub(super) fn resume_file(&mut self, id: &str, by: Option<By>, tries: u8) {
        if let Err(why) = self.try_to_resume(id, by.clone(), tries) {
            match by {
                Some(by) => self.tell_outcome(by, Err(why)),
                None => tracing::warn!(file = id, why, "a file does not go on"),
            }
        }
    }

    //= IM D-43
    fn try_to_resume(&mut self, id: &str, by: Option<By>, tries: u8) -> Result<(), String> {
        let row =
            self.desk.rows.get(id).ok_or_else(|| format!("there is no file {id}: `files` shows them"))?;
        let row = row.clone();
        if self.desk.is_on(id) {
            return Err(format!("file {id} is on its way"));
        }
        if !matches!(row.state, FileState::Interrupted | FileState::Failed) {
            return Err(format!("file {id} is {}: there is nothing to go on with", row.state.text()));
        }
        if !row.incoming {
            let path = row.path.clone().ok_or("nobody knows where the file lies: send it anew")?;
            let ticket = self.desk.disk.prepare(vec![path.into()]);
            self.desk.looking.insert(ticket, Why::Resume { row: id.to_owned(), by, tries });
            return Ok(());
        }
        if row.hashes.is_empty() {
            return Err(
                "its sender has told no hash by which it could be asked for: ask him to send it anew".into(),
            );
        }
        let account = self.account(Some(&row.account))?;
        let (part, skip) = part_of(&row);
        let offer = FileOffer { selector: row.selector(), source: None, skip, modified: None, icon: None };
        let via = row.via.clone();
        let offered = self.client.offer_files(self.clock.now(), account, &row.address, via, vec![offer]);
        let (session, files) = offered.map_err(|why| why.to_string())?;
        for file in files {
            let row = id.to_owned();
            let transfer = Transfer { row, part: part.clone(), skip, tries, ..Transfer::default() };
            self.attempt(file, transfer);
        }
        self.drain();
        if let Some(by) = by {
            self.tell_outcome(by, Ok(Achieved { session: Some(self.name(session)), ..Achieved::default() }));
        }
        Ok(())
    }

    /// Offers what is left of a file of ours.
    pub(super) fn offer_rest(
        &mut self,
        id: &str,
        tries: u8,
        files: Vec<Prepared>,
    ) -> Result<Achieved, String> {
        let row = self.desk.rows.get(id).ok_or("it is gone")?.clone();
        let prepared = files.into_iter().next().ok_or("it is gone")?;
        if prepared.hashes != row.hashes || Some(prepared.size) != row.size {
            self.change(id, |row| {
                (row.state, row.why) = (FileState::Failed, Some("the file has changed since".to_owned()));
            });
            return Err("the file has changed since: send it anew".into());
        }
        if self.desk.is_on(id) {
            return Err("it is on its way".into());
        }
        let account = self.account(Some(&row.account))?;
        // Of what has failed the other side keeps nothing.
        let skip = if row.state == FileState::Interrupted { row.octets } else { 0 };
        let source = self.desk.disk.serve(&prepared, skip).map_err(|error| error.to_string())?;
        let offers = vec![offer_of(&prepared, source, skip)];
        let offered = self.client.offer_files(self.clock.now(), account, &row.address, row.via, offers);
        if offered.is_err() {
            self.desk.disk.unserve(source);
        }
        let (session, files) = offered.map_err(|why| why.to_string())?;
        for file in files {
            let (row, source) = (id.to_owned(), Some(source));
            self.attempt(file, Transfer { row, source, skip, tries, ..Transfer::default() });
        }
        self.drain();
        Ok(Achieved { session: Some(self.name(session)), ..Achieved::default() })
    }

    /// The other side has offered more, or other parts, of a file than we can take: we ask for what we need.
    pub(super) fn ask_for_the_rest(&mut self, id: &str) {
        self.resume_later(id, RESUME_AFTER_OFFER, 0);
    }

    /// Has a file go on by itself after a while.
    pub(super) fn resume_later(&mut self, id: &str, after: Duration, tries: u8) {
        if !self.desk.resume.iter().any(|due| due.row == id) {
            self.desk.resume.push(Due { at: Instant::now() + after, row: id.to_owned(), tries });
        }
    }

    /// What was interrupted when the program ended goes on.
    pub(super) fn remember_files(&mut self, resumes: bool) {
        let at = Instant::now() + RESUME_AT_START;
        let mut changed = Vec::new();
        for row in self.desk.rows.values_mut() {
            if matches!(row.state, FileState::Running | FileState::Offered) {
                let never = row.state == FileState::Offered && row.incoming;
                row.state = if never { FileState::Failed } else { FileState::Interrupted };
                row.why = Some("the program ended".to_owned());
                changed.push(row.clone());
            }
        }
        for row in changed {
            self.note_file(row, None);
        }
        self.forget_files();
        self.sweep_parts();
        self.tell_room();
        if !resumes {
            return;
        }
        let goes_on = |row: &&FileRow| row.state == FileState::Interrupted && row.tries < TRIES;
        let mut rows: Vec<&FileRow> = self.desk.rows.values().filter(goes_on).collect();
        rows.sort_by_key(|row| row.time);
        let due = |row: &FileRow| Due { at, row: row.id.clone(), tries: 0 };
        self.desk.resume = rows.into_iter().rev().take(MOST_RESUMED).map(due).collect();
    }

    /// Goes on with what is due: with each peer one file after the other, as an invitation that rings keeps others out.
    pub(super) fn resume_due(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.desk.resume).into_iter().partition(|due| due.at <= now);
        self.desk.resume = later;
        // What has gone on meanwhile, as the other side has asked for it, needs nothing.
        let waits = |due: &Due| {
            let row = self.desk.rows.get(&due.row);
            row.is_some_and(|row| row.state == FileState::Interrupted) && !self.desk.is_on(&due.row)
        };
        let due: Vec<Due> = due.into_iter().filter(waits).collect();
        for due in due {
            if self.desk.is_beginning_with_peer_of(&due.row) {
                self.desk.resume.push(Due { at: now + NEXT_OF_PEER, ..due });
            } else {
                self.resume_file(&due.row, None, due.tries);
            }
        }
    }

    /// What is remembered of files has a bound: see [`Desk::to_forget`](super::desk::Desk::to_forget).
    pub(super) fn forget_files(&mut self) {
        let forgotten = self.desk.to_forget(self.clock.now().unix);
        if forgotten.is_empty() {
            return;
        }
        for id in &forgotten {
            if let Some(row) = self.desk.rows.remove(id)
                && let (FileState::Interrupted, true, Some(part)) = (row.state, row.incoming, &row.path)
            {
                self.desk.disk.drop_part(NO_FILE, part);
            }
        }
        self.enqueue(Job::Note { by: None, note: Note::ForgetFiles(forgotten) });
    }

    /// Parts that nobody goes on with are removed: the program has ended between a part and its row.
    fn sweep_parts(&self) {
        let Some(places) = self.desk.disk.places() else { return };
        if let Err(error) = places.drop_previews(&self.store.mark()) {
            tracing::warn!(%error, "previews of files may be left");
        }
        let wanted = |row: &&FileRow| row.incoming && row.state == FileState::Interrupted;
        let known: Vec<PathBuf> =
            self.desk.rows.values().filter(wanted).filter_map(|row| row.path.clone()).collect();
        match places.sweep(&self.store.mark(), &known) {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "parts of files that belong to nothing were removed"),
            Err(error) => tracing::warn!(%error, "parts of files that belong to nothing may be left"),
        }
    }
}

/// The part of a file that is here, and how much of it is durable; without one all of it is needed.
pub(super) fn part_of(row: &FileRow) -> (Option<PathBuf>, u64) {
    let part = row.path.clone().filter(|_| row.state == FileState::Interrupted);
    let part =
        part.filter(|part| part.metadata().is_ok_and(|meta| meta.is_file() && meta.len() >= row.octets));
    let skip = if part.is_some() { row.octets } else { 0 };
    // A part of which nothing is durable is begun anew.
    (part.filter(|_| skip > 0), skip)
}
