//! Which files a session carries: those that we offer, those that a peer offers, and what the answers make of them
//! (RFC 5547 8.2, 8.3).

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::Accept;
use crate::event::{FileNews, FileStop, Peer, What};
use crate::im::Core;
use crate::im::file_unwrap::{WRAPPING, Wrap};
use crate::im::files::{FileTransfer, Named, Stage, transfer_of};
use crate::im::media::{Agreed, OwnOffer, remote};
use crate::im::session::{Phase, Session};
use crate::io::{AccountId, FileId, FlowId, SessionId, Why};
use crate::sdp::{self, Capabilities, Ends, FileAttributes, FileEnd, FileRange, Judged, Local, Unfit};
use crate::verb::{Decline, FileAnswer, FileOffer, Misuse};

/// What the user says.
impl Core {
    /// Accepts these files of an invitation, and the chat that it may offer too; or of those that are added to a session.
    pub(crate) fn accept_files(&mut self, id: SessionId, files: Vec<FileAnswer>) -> Result<(), Misuse> {
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        if !matches!(session.phase, Phase::Invited(_)) && !self.is_asking(id) {
            return Err(Misuse::WrongState { state: session.phase.name(), verb: "accept" });
        }
        self.files.take(id, files).map_err(|_| Misuse::NoFile)?;
        self.accepted(id)
    }

    /// Remembers the files that we are to offer.
    pub(crate) fn own_files(
        &mut self,
        (account, session): (AccountId, SessionId),
        files: Vec<FileOffer>,
    ) -> Vec<FileId> {
        let mut ids = Vec::with_capacity(files.len());
        for (line, FileOffer { selector, source, skip, modified, icon }) in files.into_iter().enumerate() {
            let range = (skip > 0).then(|| FileRange { start: skip.saturating_add(1), stop: None });
            //= IM D-43
            // RFC 5547 8.2: each attempt has a name of its own, also one for the rest of a file.
            let transfer_id = self.random.ident(32);
            // RFC 5547 6: it is to be kept, not shown as it comes. When it was changed says something of us.
            let disposition = source.is_some().then(|| "attachment".to_owned());
            let modified = modified.filter(|_| !self.account(account).is_some_and(|account| account.privacy));
            let named = icon.is_some().then(|| format!("{}@icon.invalid", self.random.ident(20)));
            let about = FileAttributes {
                selector,
                transfer_id,
                modified,
                disposition,
                range,
                icon: named,
                ..FileAttributes::default()
            };
            let transfer = FileTransfer {
                account,
                session,
                line,
                sends: source.is_some(),
                ours: true,
                about,
                local: None,
                msrp: None,
                stream: None,
                source,
                message_id: self.random.ident(20),
                wrapping: 0,
                icon: icon.map(Arc::new),
                wrap: Wrap::default(),
                taken: true,
                claimed: false,
                gone: false,
                given_up: false,
                stage: Stage::Offered,
            };
            let news = FileNews::Offered(Box::new(transfer.info(self.files.next_id())));
            if let Some(file) = self.files.add(transfer) {
                ids.push(file);
                self.tell(account, Some(session), What::File { file, news });
            }
        }
        ids
    }
}

/// Our offer, and its answer.
impl Core {
    /// Makes the offer of a session for files.
    //= IM D-42
    pub(crate) fn offer_files(&mut self, owner: (AccountId, SessionId), flow: FlowId) -> Option<OwnOffer> {
        // What stands in `o=` and `c=`, and leads nowhere.
        let local = self.direct_media(flow, self.prefers_tls())?;
        for id in self.files.ids(owner.1).to_vec() {
            let end = self.local_media(owner.0, flow, None);
            if let Some(transfer) = self.files.get_mut(id) {
                transfer.local = end;
            }
        }
        let transfers = self.files.ids(owner.1).iter().filter_map(|id| self.files.get(*id));
        let ends: Vec<FileEnd<'_>> = transfers
            .filter_map(|transfer| {
                let local = transfer.local.as_ref()?;
                Some(FileEnd { file: &transfer.about, sends: transfer.sends, local })
            })
            .collect();
        let offered = sdp::offer_files(&local, &ends, &self.capabilities(owner.0, flow));
        let setup = offered.setup;
        for id in self.files.ids(owner.1).to_vec() {
            let Some(transfer) = self.files.get_mut(id) else { continue };
            let Some(end) = transfer.local.take() else { continue };
            let role = if setup == sdp::Setup::Active { sdp::Role::Active } else { sdp::Role::Passive };
            let path = end.path(role).into_owned();
            transfer.local = Some(end.settled(path.clone()));
            let largest = transfer.about.length().unwrap_or(u64::MAX).min(self.config.max_file);
            let kind = transfer.about.selector.media_type.clone().unwrap_or_else(|| "*".to_owned());
            let listed = sdp::wanted_types(&kind);
            let Ok(nobody) = parlour_msrp::uri::MsrpPath::new(vec![path.clone()]) else { continue };
            let nobody = parlour_msrp::Remote::new(nobody, parlour_msrp::Role::Passive);
            let via = self.use_lease(&path);
            let spec = self.spec(owner.0, &path, &listed, nobody).with(|spec| {
                spec.max_size = largest.saturating_add(WRAPPING);
                spec.via = via;
            });
            let msrp = self.msrp.expect(self.now.instant, spec);
            self.sessions.index_msrp(msrp, owner);
            self.files.index_msrp(msrp, id);
            if let Some(transfer) = self.files.get_mut(id) {
                transfer.msrp = Some(msrp);
            }
        }
        Some(OwnOffer { offered, msrp: None, local })
    }

    /// The answer to an offer of files is here: what it takes begins.
    //= IM D-42
    pub(crate) fn files_taken(
        &mut self,
        owner: (AccountId, SessionId),
        flow: FlowId,
        own: &OwnOffer,
        body: &[u8],
    ) -> Result<Agreed, String> {
        if body.is_empty() {
            return Err("the answer to our offer is missing".to_owned());
        }
        let (account, id) = owner;
        let answer = sdp::parse(body).map_err(|fault| fault.to_string())?;
        let ours = self.capabilities(account, flow);
        let files = self.files.ids(id).to_vec();
        let lines = files.len();
        let mut begun = 0_usize;
        for file in files {
            let Some(transfer) = self.files.get(file) else { continue };
            let read = sdp::read_answer_again(&own.offered, transfer.line, lines, &answer, &ours);
            // RFC 5547 8.2: who answers without naming the file does not know what it is about.
            let is_it = |stream: &sdp::Stream| {
                let named = stream.file.as_ref();
                named.is_some_and(|named| named.transfer_id == transfer.about.transfer_id)
                    && stream.direction.sends() == transfer.sends
            };
            //= IM D-41
            // RFC 5547 8.3: who takes or gives a part says so. Who does not would take it for the whole, or give the whole.
            let same_part = |stream: &sdp::Stream| {
                stream.file.as_ref().is_some_and(|named| named.skipped() == transfer.about.skipped())
            };
            match read {
                Ok(Some(stream))
                    if transfer.stage == Stage::Offered && is_it(&stream) && same_part(&stream) =>
                {
                    begun = begun.saturating_add(1);
                    self.begin_agreed(file, stream);
                }
                Ok(Some(stream)) => {
                    let why = match is_it(&stream) {
                        true => "the other side does not know parts of files: it has to go as a whole",
                        false => "the answer does not name it",
                    };
                    self.stop_file(file, FileStop::Failed { why: why.to_owned() });
                }
                Ok(None) => self.stop_file(file, FileStop::Declined),
                Err(refusal) => self.stop_file(file, FileStop::Failed { why: refusal.text }),
            }
        }
        if begun == 0 {
            return Err("the other side took none of the files".to_owned());
        }
        let agreed = Agreed::new(None, answer.origin, &own.offered.octets, own.local.clone());
        Ok(Agreed { offerer: true, ..agreed })
    }

    fn begin_agreed(&mut self, file: FileId, mut stream: sdp::Stream) {
        let Some(transfer) = self.files.get_mut(file) else { return };
        let Some(msrp) = transfer.msrp else { return };
        // What our offer lists, as for whatever comes in its session.
        let kind = transfer.about.selector.media_type.as_deref().unwrap_or("*");
        stream.listed = sdp::wanted_types(kind);
        // Who sends knows the file best: the answer to a pull completes what we have asked for.
        if let Some(named) = stream.file.as_ref().filter(|_| !transfer.sends) {
            complete(&mut transfer.about, named);
        }
        let peer = remote(&stream);
        transfer.stream = Some(stream);
        self.msrp.agree(self.now.instant, msrp, peer);
        self.begin_file(file);
    }

    /// The answer to a later offer of ours: lines that either of them disables are over. What was given up since the offer
    /// left still stands in it.
    pub(crate) fn files_answered(&mut self, session: SessionId, offered: &[u8], answer: &sdp::Session) {
        let offer = sdp::parse(offered).ok();
        let is_on = |description: &sdp::Session, line: usize| {
            description.media.get(line).is_some_and(|media| media.port != 0)
        };
        for file in self.files.ids(session).to_vec() {
            let Some(transfer) = self.files.get_mut(file) else { continue };
            let on = is_on(answer, transfer.line)
                && offer.as_ref().is_none_or(|offer| is_on(offer, transfer.line));
            if on {
                continue;
            }
            if transfer.stage == Stage::Over {
                transfer.stream = None;
            } else if transfer.is_on() {
                self.stop_file(file, FileStop::Aborted);
            }
        }
    }
}

/// Offers of peers.
impl Core {
    /// Refuses the files of an invitation that cannot be, whatever the user says.
    pub(crate) fn screen_files(
        &self,
        account: AccountId,
        flow: FlowId,
        offer: &sdp::Session,
        judged: &mut Judged,
    ) {
        let mut seen: Vec<String> = Vec::new();
        let streams: Vec<sdp::Stream> = judged.files.clone();
        // Under preconditions a part of the answer leaves before the user has said which files he takes.
        let demanded = judged.preconditions(offer).are_demanded();
        for stream in streams {
            let Some(file) = &stream.file else { continue };
            //= IM D-41
            // RFC 5547 8.1: two transfers do not have one name.
            let twice = seen.contains(&file.transfer_id);
            seen.push(file.transfer_id.clone());
            //= IM X-22
            let why = if demanded {
                Some("no file is taken under preconditions")
            } else if twice {
                Some("its file-transfer-id stands twice")
            } else {
                self.aims_badly(account, flow, &stream)
                    .or_else(|| self.aims_elsewhere(account, flow, judged, &stream))
            };
            if let Some(why) = why {
                judged.refuse(stream.line, Unfit::FileRefused(why));
            }
        }
    }

    /// Whether policy may accept the files of an invitation of that peer without asking.
    //= IM X-30
    pub(crate) fn files_need_no_word(&self, session: SessionId, peer: &Peer) -> bool {
        let room = self.file_room.of(&peer.address);
        let small =
            |about: &FileAttributes| about.selector.size.is_some_and(|size| self.is_small(size, room));
        let transfers = self.files.ids(session).iter().filter_map(|id| self.files.get(*id));
        // What the other side wants of us nobody gives unasked; and of a rest, whoever keeps files knows whether it fits.
        let mut transfers = transfers.filter(|transfer| transfer.stage == Stage::Offered);
        transfers.all(|transfer| !transfer.sends && small(&transfer.about) && transfer.about.skipped() == 0)
    }

    /// Whether a file of that size may be accepted unasked from somebody for whose files there is so much room.
    fn is_small(&self, size: u64, room: u64) -> bool {
        room > 0 && size <= self.config.auto_accept_file.min(room)
    }

    /// Whether policy may accept a file that is added to a session without asking.
    //= IM X-30
    pub(crate) fn takes_unasked_file(&self, session: &Session, stream: &sdp::Stream) -> bool {
        let accepts = match self.config.accept {
            Accept::Ask => false,
            Accept::Auto => session.peer.verified,
            Accept::All => true,
        };
        let size = stream.file.as_ref().and_then(|file| file.selector.size);
        let room = self.file_room.of(&session.peer.address);
        accepts && size.is_some_and(|size| self.is_small(size, room)) && !stream.direction.sends()
    }

    /// Makes our ends of the files of an invitation that is accepted.
    pub(crate) fn prepare_files(
        &mut self,
        flow: FlowId,
        owner: (AccountId, SessionId),
        streams: &[sdp::Stream],
    ) -> Vec<FileId> {
        let (account, session) = owner;
        let mut ids = Vec::with_capacity(streams.len());
        for stream in streams {
            let Some(file) = self.files.of_stream(session, stream) else { continue };
            let end = self.local_media(account, flow, Some(stream.tls));
            let Some(transfer) = self.files.get_mut(file) else { continue };
            transfer.local = end.map(|end| {
                let path = end.path(stream.role).into_owned();
                end.settled(path)
            });
            transfer.stream = Some(stream.clone());
            ids.push(file);
        }
        ids
    }

    /// Remembers the files that a later offer brings, and makes our ends of them.
    pub(crate) fn adopt_files(
        &mut self,
        flow: FlowId,
        session: &Session,
        streams: &[sdp::Stream],
    ) -> Vec<FileId> {
        let standing = self.files.streams_on(session.id);
        let is_new = |stream: &&sdp::Stream| !standing.iter().any(|it| sdp::is_same_transfer(it, stream));
        let new: Vec<sdp::Stream> = streams.iter().filter(is_new).cloned().collect();
        let owner = (session.account, session.id);
        let mut added = Vec::with_capacity(new.len());
        for stream in &new {
            let name = stream.file.as_ref().map_or("", |file| &file.transfer_id);
            if matches!(self.files.named(session.id, name), Named::Taken(_)) {
                // The user was asked about it.
                added.push(stream.clone());
                continue;
            }
            let transfer = FileTransfer { taken: true, ..transfer_of(owner, stream) };
            let info = transfer.info(self.files.next_id());
            if let Some(file) = self.files.add(transfer) {
                let news = FileNews::Offered(Box::new(info));
                self.tell(session.account, Some(session.id), What::File { file, news });
                added.push(stream.clone());
            }
        }
        self.prepare_files(flow, owner, &added)
    }

    /// The answer to an offer, with our end of each file.
    pub(crate) fn describe(
        &self,
        session: SessionId,
        offer: &sdp::Session,
        judged: &Judged,
        local: &Local,
        ours: &Capabilities,
    ) -> Vec<u8> {
        let end = |stream: &sdp::Stream| {
            let file = self.files.of_stream(session, stream)?;
            self.files.get(file)?.local.as_ref()
        };
        let (with_end, without): (Vec<&sdp::Stream>, Vec<&sdp::Stream>) =
            judged.files.iter().partition(|stream| end(stream).is_some());
        let mut judged = Cow::Borrowed(judged);
        let lost: Vec<usize> = without.iter().map(|stream| stream.line).collect();
        let ends: Vec<&Local> = with_end.into_iter().filter_map(end).collect();
        for line in lost {
            judged.to_mut().refuse(line, Unfit::FileRefused("there are too many"));
        }
        sdp::answer(offer, &judged, Ends { session: local, files: &ends }, ours)
    }

    /// Opens the MSRP sessions of files that are agreed on.
    pub(crate) fn begin_files(&mut self, owner: (AccountId, SessionId), files: Vec<FileId>) {
        for file in files {
            let Some(transfer) = self.files.get(file) else { continue };
            let (Some(local), Some(stream)) = (transfer.local.clone(), transfer.stream.clone()) else {
                continue;
            };
            let msrp = self.open_media(owner, &local.path(stream.role), &stream);
            self.files.index_msrp(msrp, file);
            if let Some(transfer) = self.files.get_mut(file) {
                transfer.msrp = Some(msrp);
                if transfer.message_id.is_empty() {
                    transfer.message_id = self.random.ident(20);
                }
            }
            self.begin_file(file);
        }
    }

    /// A later offer of the peer leaves these streams on: the transfers of others are over.
    //= IM D-42
    //= IM D-55
    pub(crate) fn files_closed(&mut self, session: SessionId, on: &[sdp::Stream]) {
        for file in self.files.ids(session).to_vec() {
            let Some(transfer) = self.files.get_mut(file) else { continue };
            let Some(stream) = &transfer.stream else { continue };
            if on.iter().any(|it| sdp::is_same_transfer(it, stream)) {
                continue;
            }
            transfer.stream = None;
            self.stop_file(file, FileStop::Aborted);
        }
    }

    /// Declines a file of an invitation, or gives a transfer up.
    //= IM D-42
    pub(crate) fn cancel_file(&mut self, file: FileId) -> Result<(), Misuse> {
        self.give_up_file(file, FileStop::Cancelled)
    }

    /// The same, for a reason of its own.
    pub(crate) fn give_up_file(&mut self, file: FileId, stop: FileStop) -> Result<(), Misuse> {
        let transfer = self.files.get(file).filter(|transfer| transfer.stage != Stage::Over);
        let transfer = transfer.ok_or(Misuse::NoFile)?;
        let (id, sends) = (transfer.session, transfer.sends);
        let on = transfer.is_on();
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        let invited = matches!(session.phase, Phase::Invited(_));
        let inviting = matches!(session.phase, Phase::Inviting(_));
        if on && !sends {
            // RFC 5547 8.4: the running SEND is answered 413, then an offer has port 0.
            if let Some(msrp) = transfer.msrp {
                self.msrp.limit(msrp, 0);
            }
        }
        self.stop_file(file, stop);
        let left = self.files.ids(id).iter().filter_map(|it| self.files.get(*it));
        let none_left = left.clone().all(|transfer| transfer.stage == Stage::Over);
        if none_left && invited && !self.offers_chat(id) {
            return self.decline(id, Decline::Declined);
        }
        if none_left && inviting {
            return self.leave(id);
        }
        if self.has_his_word(id) {
            self.answer_asking(id, &FileStop::Cancelled);
        }
        self.pump_msrp();
        Ok(())
    }

    fn offers_chat(&self, id: SessionId) -> bool {
        match self.sessions.get(id).map(|session| &session.phase) {
            Some(Phase::Invited(invited)) => {
                invited.offer.as_ref().is_none_or(|(_, judged)| judged.chat.is_some())
            }
            Some(Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_)) | None => {
                false
            }
        }
    }

    /// Has [`Core::files_due`] called at that time.
    pub(crate) fn later(&mut self, session: SessionId, at: crate::io::Instant) {
        self.timers.arm(at, crate::im::core::Deadline::Session(session, Why::Files));
    }
}

/// Takes over what whoever has the file says of it.
fn complete(about: &mut FileAttributes, named: &FileAttributes) {
    let (ours, theirs) = (&mut about.selector, &named.selector);
    ours.name = ours.name.take().or_else(|| theirs.name.clone());
    ours.media_type = ours.media_type.take().or_else(|| theirs.media_type.clone());
    ours.size = ours.size.take().or(theirs.size);
    if ours.hashes.is_empty() {
        ours.hashes.clone_from(&theirs.hashes);
    }
}
