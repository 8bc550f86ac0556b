//! The files of sessions (RFC 5547): which there are, and how far each is.
//!
//! ```text
//!  Offered --agreed--> Running --all octets here--> Whole --kept--> Over
//!     |                   |                           |
//!     +--declined---------+--gave up, lost------------+--cannot be kept--> Over
//! ```
//! Each file has a line of its own and an MSRP session of its own, so nothing that becomes of one touches another, or the
//! chat. A transfer that is over is remembered until its session ends: its line stands until an offer says port 0, and its
//! id starts nothing a second time.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlour_msrp::SourceId;

use crate::event::{FileInfo, Icon};
use crate::im::bodies::Image;
use crate::im::file_unwrap::Wrap;
use crate::io::{AccountId, FileId, SessionId};
use crate::sdp::{self, FileAttributes, FileSelector, Local, Unfit};
use crate::verb::FileAnswer;

/// Transfers that one session remembers. Who wants more makes another session.
const MOST: usize = 64;

/// All files of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Files {
    map: BTreeMap<FileId, FileTransfer>,
    by_session: BTreeMap<SessionId, Vec<FileId>>,
    by_msrp: BTreeMap<parlour_msrp::SessionId, FileId>,
    given: u64,
}

/// One file on its way.
#[derive(Debug)]
pub(crate) struct FileTransfer {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    /// The position of its line.
    pub(crate) line: usize,
    /// Whether we send it.
    pub(crate) sends: bool,
    /// Whether it is we who offered it, or asked for it.
    pub(crate) ours: bool,
    pub(crate) about: FileAttributes,
    /// Our end, once there is one.
    pub(crate) local: Option<Local>,
    pub(crate) msrp: Option<parlour_msrp::SessionId>,
    /// What was agreed on, as long as the line stands.
    pub(crate) stream: Option<sdp::Stream>,
    /// Where the octets are that we send.
    pub(crate) source: Option<SourceId>,
    /// The Message-ID under which we send it.
    pub(crate) message_id: String,
    /// Octets of the message before those of the file, for one that is wrapped.
    pub(crate) wrapping: u64,
    /// Its preview.
    pub(crate) icon: Option<Arc<Icon>>,
    /// How far the wrapping is known of one that comes.
    pub(crate) wrap: Wrap,
    /// Whether the user has accepted it.
    pub(crate) taken: bool,
    /// Whether the shell knows which spool it comes through.
    pub(crate) claimed: bool,
    /// Whether all octets of one that we send have left.
    pub(crate) gone: bool,
    /// Whether it is we who gave it up.
    pub(crate) given_up: bool,
    pub(crate) stage: Stage,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Somebody has to say yes.
    Offered,
    /// Octets flow, or may.
    Running,
    /// It is here, and the shell looks at it.
    Whole(parlour_msrp::Receipt),
    /// It is over, one way or another.
    Over,
}

/// What a file-transfer-id of a later offer means.
#[derive(Debug)]
pub(crate) enum Named<'f> {
    /// A new transfer.
    Unknown,
    /// One that the user has not taken yet.
    Asked,
    /// One that the user takes, of this file.
    Taken(&'f FileSelector),
    /// One that never began.
    Declined,
    /// One that began.
    Used,
}

impl FileTransfer {
    /// Whether something is still to come of it.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Whole(_))
    }

    pub(crate) fn info(&self, file: FileId) -> FileInfo {
        let (about, icon) = (self.about.clone(), self.icon.clone());
        FileInfo { file, sends: self.sends, about, icon, unasked: None }
    }
}

impl Files {
    /// Remembers a file; None if the session has too many.
    pub(crate) fn add(&mut self, transfer: FileTransfer) -> Option<FileId> {
        let ids = self.by_session.entry(transfer.session).or_default();
        if ids.len() >= MOST {
            return None;
        }
        self.given = self.given.saturating_add(1);
        let id = FileId(self.given);
        ids.push(id);
        self.map.insert(id, transfer);
        Some(id)
    }

    /// The id that the next file gets.
    pub(crate) fn next_id(&self) -> FileId {
        FileId(self.given.saturating_add(1))
    }

    /// Remembers what an invitation offers.
    pub(crate) fn offered(
        &mut self,
        owner: (AccountId, SessionId),
        streams: Vec<sdp::Stream>,
        images: &[Image<'_>],
    ) {
        for stream in streams {
            self.add(with_icon(transfer_of(owner, &stream), images));
        }
    }

    pub(crate) fn get(&self, id: FileId) -> Option<&FileTransfer> {
        self.map.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: FileId) -> Option<&mut FileTransfer> {
        self.map.get_mut(&id)
    }

    /// The files of a session, in the order in which they came up.
    pub(crate) fn ids(&self, session: SessionId) -> &[FileId] {
        self.by_session.get(&session).map(Vec::as_slice).unwrap_or_default()
    }

    fn all(&self, session: SessionId) -> impl Iterator<Item = (FileId, &FileTransfer)> {
        self.ids(session).iter().filter_map(|id| Some((*id, self.map.get(id)?)))
    }

    /// The same, as they are told.
    pub(crate) fn of(&self, session: SessionId) -> Vec<FileInfo> {
        self.all(session).map(|(id, transfer)| transfer.info(id)).collect()
    }

    /// Whether one of them comes to us, or was to.
    pub(crate) fn came(&self, session: SessionId) -> bool {
        self.all(session).any(|(_, transfer)| !transfer.sends)
    }

    /// Whether something is still to come of one of them.
    pub(crate) fn are_on(&self, session: SessionId) -> bool {
        self.all(session).any(|(_, transfer)| transfer.is_on())
    }

    /// Whether only the answer to the last octets of one of them is missing.
    pub(crate) fn await_answers(&self, session: SessionId) -> bool {
        self.all(session).any(|(_, transfer)| transfer.stage == Stage::Running && transfer.gone)
    }

    /// Whether the session was made for files alone.
    pub(crate) fn are_all(&self, session: &crate::im::session::Session) -> bool {
        session.phase.msrp().is_none() && self.by_session.contains_key(&session.id)
    }

    /// The lines of those that an offer of ours lets stand.
    pub(crate) fn lines_on(&self, session: SessionId) -> Vec<usize> {
        self.all(session)
            .filter(|(_, transfer)| transfer.is_on())
            .map(|(_, transfer)| transfer.line)
            .collect()
    }

    /// What was agreed on for those whose lines stand.
    pub(crate) fn streams_on(&self, session: SessionId) -> Vec<&sdp::Stream> {
        self.all(session).filter_map(|(_, transfer)| transfer.stream.as_ref()).collect()
    }

    /// Whether an offer of ours is due for one that we have given up (RFC 5547 8.4). What is done may wait for the next one.
    pub(crate) fn owe_an_offer(&self, session: SessionId) -> bool {
        self.all(session).any(|(_, transfer)| transfer.given_up && transfer.stream.is_some())
    }

    /// What became of the transfer of that name, if the session has had one.
    pub(crate) fn named(&self, session: SessionId, transfer_id: &str) -> Named<'_> {
        let named = self.all(session).find(|(_, transfer)| transfer.about.transfer_id == transfer_id);
        match named.map(|(_, transfer)| transfer) {
            None => Named::Unknown,
            Some(it) if it.stage == Stage::Offered && it.taken => Named::Taken(&it.about.selector),
            Some(it) if it.stage == Stage::Offered => Named::Asked,
            Some(it) if it.msrp.is_none() => Named::Declined,
            Some(_) => Named::Used,
        }
    }

    /// The file of a stream. A line may have had others: the name of the transfer tells which one is meant.
    pub(crate) fn of_stream(&self, session: SessionId, stream: &sdp::Stream) -> Option<FileId> {
        let name = &stream.file.as_ref()?.transfer_id;
        let mut all = self.all(session);
        all.find(|(_, transfer)| transfer.about.transfer_id == *name).map(|(id, _)| id)
    }

    pub(crate) fn by_msrp(&self, msrp: parlour_msrp::SessionId) -> Option<FileId> {
        self.by_msrp.get(&msrp).copied()
    }

    pub(crate) fn index_msrp(&mut self, msrp: parlour_msrp::SessionId, file: FileId) {
        self.by_msrp.insert(msrp, file);
    }

    /// Forgets all files of a session.
    pub(crate) fn forget(&mut self, session: SessionId) -> Vec<(FileId, FileTransfer)> {
        let ids = self.by_session.remove(&session).unwrap_or_default();
        let gone = ids.into_iter().filter_map(|id| Some((id, self.map.remove(&id)?)));
        let gone: Vec<_> = gone.collect();
        for msrp in gone.iter().filter_map(|(_, transfer)| transfer.msrp) {
            self.by_msrp.remove(&msrp);
        }
        gone
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The user takes all that he is given.
    pub(crate) fn take_all(&mut self, session: SessionId) {
        self.each_offered(session, |transfer| transfer.taken = !transfer.sends);
    }

    /// Those of a session that somebody has to say yes to.
    fn each_offered(&mut self, session: SessionId, then: impl Fn(&mut FileTransfer)) {
        for id in self.ids(session).to_vec() {
            if let Some(transfer) = self.map.get_mut(&id).filter(|transfer| transfer.stage == Stage::Offered)
            {
                then(transfer);
            }
        }
    }

    /// The user takes, and serves, these alone. Returns the first that cannot be.
    pub(crate) fn take(&mut self, session: SessionId, answers: Vec<FileAnswer>) -> Result<(), FileId> {
        self.each_offered(session, |transfer| transfer.taken = false);
        for FileAnswer { file, serve } in answers {
            let transfer = self.map.get_mut(&file).filter(|transfer| {
                transfer.session == session
                    && transfer.stage == Stage::Offered
                    && transfer.sends == serve.is_some()
            });
            let Some(transfer) = transfer else { return Err(file) };
            if let Some((selector, source)) = serve {
                if !serves(&transfer.about, &selector) {
                    return Err(file);
                }
                (transfer.about.selector, transfer.source) = (selector, Some(source));
            }
            transfer.taken = true;
        }
        Ok(())
    }

    /// Refuses the lines of those that the user did not take, and completes those that he serves. Returns the first kind.
    pub(crate) fn choose(&mut self, session: SessionId, judged: &mut sdp::Judged) -> Vec<FileId> {
        let mut untaken = Vec::new();
        for id in self.ids(session).to_vec() {
            let Some(transfer) = self.map.get_mut(&id) else { continue };
            if transfer.taken {
                let streams = judged.files.iter_mut().filter(|stream| stream.line == transfer.line);
                for file in streams.filter_map(|stream| stream.file.as_mut()) {
                    file.selector.clone_from(&transfer.about.selector);
                }
            } else {
                if transfer.stage == Stage::Offered {
                    untaken.push(id);
                }
                judged.refuse(transfer.line, Unfit::FileRefused("the user has not taken it"));
            }
        }
        untaken
    }
}

/// Whether a file of ours is what is asked for.
fn serves(asked: &FileAttributes, ours: &FileSelector) -> bool {
    let begins_inside = ours.size.is_none_or(|size| asked.skipped() <= size);
    asked.selector.fits(ours) && begins_inside
}

/// The same, with the picture that it names as its preview.
pub(crate) fn with_icon(transfer: FileTransfer, images: &[Image<'_>]) -> FileTransfer {
    let named = transfer.about.icon.as_deref().filter(|_| !transfer.sends);
    let image = named.and_then(|named| images.iter().find(|image| image.id == named.as_bytes()));
    let icon = image.map(|image| {
        let (media_type, octets) = (image.media_type.clone(), image.octets.to_vec());
        Arc::new(Icon { media_type, octets, path: None })
    });
    FileTransfer { icon, ..transfer }
}

/// A file that somebody offers, or wants, in a line.
pub(crate) fn transfer_of((account, session): (AccountId, SessionId), stream: &sdp::Stream) -> FileTransfer {
    FileTransfer {
        account,
        session,
        line: stream.line,
        sends: stream.direction.sends(),
        ours: false,
        about: stream.file.as_deref().cloned().unwrap_or_default(),
        local: None,
        msrp: None,
        stream: None,
        source: None,
        message_id: String::new(),
        wrapping: 0,
        icon: None,
        wrap: Wrap::default(),
        taken: false,
        claimed: false,
        gone: false,
        given_up: false,
        stage: Stage::Offered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that comes, in this stage.
    fn transfer(session: u64, stage: Stage) -> FileTransfer {
        FileTransfer {
            account: AccountId(0),
            session: SessionId(session),
            line: 0,
            sends: false,
            ours: false,
            about: FileAttributes::default(),
            local: None,
            msrp: None,
            stream: None,
            source: None,
            message_id: String::new(),
            wrapping: 0,
            icon: None,
            wrap: Wrap::default(),
            taken: false,
            claimed: false,
            gone: false,
            given_up: false,
            stage,
        }
    }

    //= IM X-30 test
    #[test]
    fn x_30_one_session_has_so_many_transfers_and_others_have_theirs() {
        let mut files = Files::default();
        let added = (0..MOST + 5).filter_map(|_| files.add(transfer(1, Stage::Over)));
        assert_eq!(added.count(), MOST);
        assert!(files.add(transfer(2, Stage::Over)).is_some());
        assert_eq!(files.forget(SessionId(1)).len(), MOST);
        assert_eq!(files.len(), 1);
    }

    //= IM D-42 test
    #[test]
    fn a_file_that_is_being_looked_at_keeps_its_session() {
        for (stage, on) in [
            (Stage::Offered, false),
            (Stage::Running, true),
            (Stage::Whole(parlour_msrp::Receipt(1)), true),
            (Stage::Over, false),
        ] {
            let mut files = Files::default();
            files.add(transfer(1, stage));
            assert_eq!(files.are_on(SessionId(1)), on, "{stage:?}");
        }
    }
}
