//! Re-INVITEs that wait: for names that are looked up (RFC 6714 4.4), and where they add files to a session that stands,
//! for the user's word about these (RFC 5547 8.3.1).
//!
//! RFC 3261 14.2 lets the user be asked before a re-INVITE is answered. It waits for that long, and is judged and carried
//! out only then, like any other: what has changed meanwhile counts. Nothing of the session waits with it but other offers.

use std::time::Duration;

use crate::event::{FileStop, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::bodies;
use crate::im::files::{Named, Stage, transfer_of, with_icon};
use crate::im::session::{Live, Phase, Session};
use crate::im::stamp::Reply;
use crate::io::{FileId, FlowId, SessionId, Why};
use crate::sdp::{self, Judged, Names, Unfit};
use crate::sip::header::Expires;
use crate::sip::message::Message;
use crate::sip::tx::ServerId;

/// How long the user has. Once a 100 is there no timer of RFC 3261 ends the other side's transaction, but callers have one
/// of their own, often of 64*T1 (32 s) like ours, and some then leave. They get an answer well before that.
pub(crate) const WORD: Duration = Duration::from_secs(25);

/// Nobody can say anything in less: then nobody is asked.
const SHORTEST: Duration = Duration::from_secs(5);

/// A re-INVITE that waits.
#[derive(Debug)]
pub(crate) struct Asking {
    invite: ServerId,
    /// The way on which it came.
    flow: FlowId,
    what: Awaited,
}

#[derive(Debug)]
enum Awaited {
    /// What the names in its description stand for.
    Names,
    /// The user's word about the files that it adds; its names are known.
    Word(Vec<FileId>, Names),
}

impl Asking {
    /// The files that the user is asked about; none unless he is.
    fn files(&self) -> Option<&[FileId]> {
        match &self.what {
            Awaited::Names => None,
            Awaited::Word(files, _) => Some(files),
        }
    }
}

impl Live {
    /// Whether an INVITE of the peer's is not finished: none of ours may leave meanwhile (RFC 3261 14.1).
    pub(crate) fn is_asked(&self) -> bool {
        self.reanswered.is_some() || self.asking.is_some()
    }
}

impl Core {
    /// Refuses the new files of a later offer that cannot be, and those that nobody has said yes to. Returns those that the
    /// user may be asked about.
    pub(crate) fn screen_new_files(
        &self,
        flow: FlowId,
        session: &Session,
        judged: &mut Judged,
    ) -> Vec<sdp::Stream> {
        let (mut asked, mut seen) = (Vec::new(), Vec::new());
        for stream in judged.files.clone() {
            let Some(file) = &stream.file else { continue };
            //= IM D-41
            let twice = seen.contains(&file.transfer_id);
            seen.push(file.transfer_id.clone());
            let stands =
                self.files.streams_on(session.id).iter().any(|it| sdp::is_same_transfer(it, &stream));
            let why = match self.files.named(session.id, &file.transfer_id) {
                // RFC 5547 8.1: two transfers do not have one name.
                _ if twice => "its file-transfer-id stands twice",
                _ if stands => continue,
                Named::Taken(ours) => {
                    let lines = judged.files.iter_mut().filter(|it| it.line == stream.line);
                    lines.filter_map(|it| it.file.as_mut()).for_each(|file| file.selector = ours.clone());
                    continue;
                }
                Named::Asked => "nobody has taken it",
                Named::Declined => "it was declined",
                // RFC 5547 8.1: a name that was used begins nothing, and nobody is alerted.
                Named::Used => "its file-transfer-id was used before",
                Named::Unknown => match self
                    .aims_badly(session.account, flow, &stream)
                    .or_else(|| self.aims_elsewhere(session.account, flow, judged, &stream))
                {
                    Some(why) => why,
                    None if self.takes_unasked_file(session, &stream) => continue,
                    None => {
                        asked.push(stream.clone());
                        "it needs the user's word"
                    }
                },
            };
            judged.refuse(stream.line, Unfit::FileRefused(why));
        }
        asked
    }

    /// Says which files of a later offer were refused, and why.
    pub(crate) fn explain_refused_files(&mut self, session: &Session, offer: &sdp::Session, judged: &Judged) {
        for (line, media) in judged.lines.iter().zip(&offer.media) {
            let Some(Unfit::FileRefused(why)) = line else { continue };
            let decision = format!("a file that was added is refused: {why}");
            let named = media.attribute("file-selector").unwrap_or_default();
            self.explain(session.account, Some(session.id), "D-41", decision, named);
        }
    }

    /// A re-INVITE brings files that the user is to be asked about: it waits. Returns false if it cannot.
    //= IM D-41
    pub(crate) fn ask_about_files(
        &mut self,
        (flow, server): (FlowId, ServerId),
        request: &Message<'_>,
        session: &mut Session,
        (added, names): (&[sdp::Stream], &Names),
    ) -> bool {
        let owner = (session.account, session.id);
        let Phase::Live(live) = &mut session.phase else { return false };
        // RFC 3261 13.3.1: an INVITE may say how long it is worth an answer.
        let expires = request.maybe::<Expires>().ok().flatten();
        let within = expires.map_or(WORD, |Expires(seconds)| WORD.min(Duration::from_secs(seconds.into())));
        if within < SHORTEST {
            return false;
        }
        let images = if added.is_empty() { Vec::new() } else { bodies::images(request) };
        let (mut files, mut infos) = (Vec::new(), Vec::new());
        for stream in added {
            let transfer = with_icon(transfer_of(owner, stream), &images);
            let info = transfer.info(self.files.next_id());
            if let Some(file) = self.files.add(transfer) {
                files.push(file);
                infos.push(info);
            }
        }
        if files.is_empty() {
            return false;
        }
        let what = Awaited::Word(files, names.clone());
        live.asking = Some(Box::new(Asking { invite: server, flow, what }));
        self.sessions.index_invite(server, session.id);
        self.arm(session, Why::Word, self.now.instant + within);
        self.disarm(session, Why::NoStream);
        self.want_relay(owner.0);
        let decision =
            "a re-INVITE adds files: it is answered when the user has said which, or his time is over";
        self.explain(owner.0, Some(owner.1), "RFC 3261 14.2", decision, &format!("{} s", within.as_secs()));
        self.tell(owner.0, Some(owner.1), What::FilesAdded { files: infos, within });
        true
    }

    /// Whether a re-INVITE of the session waits for the user's word.
    pub(crate) fn is_asking(&self, id: SessionId) -> bool {
        let live = self.sessions.get(id).map(|session| &session.phase);
        matches!(live, Some(Phase::Live(live)) if live.asking.as_ref().is_some_and(|it| it.files().is_some()))
    }

    /// Whether the user has said of each file what he wants.
    pub(crate) fn has_his_word(&self, id: SessionId) -> bool {
        let Some(Phase::Live(live)) = self.sessions.get(id).map(|session| &session.phase) else {
            return false;
        };
        let is_open = |file: &FileId| self.files.get(*file).is_some_and(|it| it.stage == Stage::Offered);
        let files = live.asking.as_ref().and_then(|asking| asking.files());
        files.is_some_and(|files| !files.iter().any(is_open))
    }

    /// The re-INVITE is carried out with the files that the user has taken. `stop` is what becomes of the others.
    pub(crate) fn answer_asking(&mut self, id: SessionId, stop: &FileStop) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let Some(Asking { invite, flow, what: Awaited::Word(files, names) }) = self.take_asking(&mut session)
        else {
            return self.sessions.put(session);
        };
        self.go_on((flow, invite), session, |core, request, session| {
            let later = core.judge_later(flow, session, bodies::description(request)?, names)?;
            let description = core.carry_out(flow, session, later)?;
            core.answer_reinvite((flow, invite), request, session, (description, None))
        });
        self.stop_offered(&files, stop);
        // What had to wait for that.
        self.later(id, self.now.instant);
        self.pump_msrp();
    }

    /// A re-INVITE waits for the names in its description.
    pub(crate) fn await_names(&mut self, (flow, server): (FlowId, ServerId), session: &mut Session) {
        if let Phase::Live(live) = &mut session.phase {
            live.asking = Some(Box::new(Asking { invite: server, flow, what: Awaited::Names }));
            self.sessions.index_invite(server, session.id);
        }
    }

    /// They are known, as far as they can be.
    pub(crate) fn go_on_with_names(&mut self, id: SessionId, names: Names) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let Some(Asking { invite, flow, .. }) = self.take_asking(&mut session) else {
            return self.sessions.put(session);
        };
        self.go_on((flow, invite), session, |core, request, session| {
            core.reoffered((flow, invite), request, session, names)
        });
        self.later(id, self.now.instant);
        self.pump_msrp();
    }

    /// Goes on with a re-INVITE that has waited, unless its transaction is over.
    fn go_on(
        &mut self,
        (flow, server): (FlowId, ServerId),
        mut session: Session,
        with: impl FnOnce(&mut Core, &Message<'_>, &mut Session) -> Result<(), PeerFault>,
    ) {
        let Some(kept) = self.tx.kept(server).cloned() else { return self.sessions.put(session) };
        let (account, request) = (session.account, kept.message());
        let outcome = with(self, &request, &mut session);
        self.sessions.put(session);
        if let Err(fault) = outcome {
            self.refuse(flow, server, &request, Some(account), &fault);
        }
    }

    /// The user's time is over.
    pub(crate) fn word_due(&mut self, id: SessionId) {
        let why = "nobody said in time whether it is wanted".to_owned();
        self.answer_asking(id, &FileStop::Failed { why });
    }

    /// The other side takes its re-INVITE back, or the session ends: it is answered 487 (RFC 3261 9.2, 15.1.2), and all
    /// stays as it was (RFC 3261 14.1).
    pub(crate) fn drop_asking(&mut self, session: &mut Session, input: &str) {
        let Some(Asking { invite, flow, what }) = self.take_asking(session) else { return };
        if let Some(kept) = self.tx.kept(invite).cloned() {
            let reply = Reply { status: 487, reason: "Request Terminated", ..Reply::default() };
            let octets = self.response(&kept.message(), flow, Some(session.account), &reply);
            self.tx.respond(self.now.instant, invite, 487, octets);
            let decision = "answered 487 Request Terminated: nothing of the session changes";
            self.explain(session.account, Some(session.id), "RFC 3261 9.2", decision, input);
        }
        if let Awaited::Word(files, _) = what {
            self.stop_offered(&files, &FileStop::Aborted);
        }
        self.later(session.id, self.now.instant);
    }

    fn take_asking(&mut self, session: &mut Session) -> Option<Asking> {
        self.disarm(session, Why::Word);
        let Phase::Live(live) = &mut session.phase else { return None };
        let asking = *live.asking.take()?;
        self.sessions.forget_invite(asking.invite);
        self.forget_names_of_later(session.id, asking.invite);
        Some(asking)
    }

    /// Those that nobody has taken are over.
    pub(crate) fn stop_offered(&mut self, files: &[FileId], stop: &FileStop) {
        for file in files {
            if self.files.get(*file).is_some_and(|transfer| transfer.stage == Stage::Offered) {
                self.stop_file(*file, stop.clone());
            }
        }
    }
}
