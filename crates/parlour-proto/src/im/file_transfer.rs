//! The octets of files: what MSRP says of each, how it ends, and what becomes of its line then (RFC 5547 8.4).

use std::time::Duration;

use parlour_msrp::{Body, Outgoing, Source, SpoolId, Verdict};

use crate::event::{Ended, FileNews, FileStop, What};
use crate::im::Core;
use crate::im::file_unwrap::unwrap_whole;
use crate::im::files::Stage;
use crate::im::refresh::{Renewal, takes_invite};
use crate::im::session::{Phase, Session};
use crate::io::{FileId, Output, SessionId, Why};
use crate::mime::cpim::{self, Mailbox};
use crate::sdp::Wrapping;
use crate::verb::{FileFault, Misuse};

/// How long who gives up waits before it offers port 0, or leaves: a receiver for a SEND that it can refuse, a sender for
/// the end of its own.
const REFUSAL: Duration = Duration::from_secs(1);

/// How long who has received files waits for the other side's BYE when all are over: who made the session, and who did
/// not.
const LINGERS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// How long an offer waits before it looks again whether another request of the dialog is finished.
const BUSY: Duration = Duration::from_secs(1);

impl Core {
    /// What a file is agreed on for begins: whoever has it sends it, as one message.
    pub(crate) fn begin_file(&mut self, file: FileId) {
        let Some(transfer) = self.files.get_mut(file) else { return };
        transfer.stage = Stage::Running;
        let (account, session) = (transfer.account, transfer.session);
        let news = FileNews::Begun(Box::new(transfer.info(file)));
        self.tell(account, Some(session), What::File { file, news });
        let Some(transfer) = self.files.get(file) else { return };
        let (Some(msrp), Some(source), Some(stream)) = (transfer.msrp, transfer.source, &transfer.stream)
        else {
            return;
        };
        let kind = transfer.about.selector.media_type.clone();
        let kind = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
        let size = transfer.about.length().unwrap_or(0);
        let success_report = stream.path.uris().len() > 1;
        let message_id = transfer.message_id.clone();
        //= IM M-32
        let wrapping = stream.wrapping(&kind);
        let (content_type, head) = match wrapping {
            Some(Wrapping::Bare) => (kind, Vec::new()),
            Some(Wrapping::Cpim) => {
                let peer = self.sessions.get(session).map(|session| session.peer.address.clone());
                let own = self.account(account).map(|account| account.address.clone());
                let mailbox = |uri: Option<String>| Mailbox {
                    name: None,
                    uri: uri.unwrap_or_else(|| "sip:anonymous@anonymous.invalid".to_owned()),
                };
                let head = cpim::head(&mailbox(own), &mailbox(peer), self.now.unix, &kind);
                (cpim::MEDIA_TYPE.to_owned(), head)
            }
            None => {
                let why = format!("the other side does not take {kind}");
                return self.stop_file(file, FileStop::Failed { why });
            }
        };
        let wrapped = u64::try_from(head.len()).unwrap_or(u64::MAX);
        let body = match size {
            0 => Source::Inline(head),
            size => Source::Fetched { source, size, head },
        };
        let outgoing = Outgoing::new(message_id, content_type, body)
            .with(|message| message.success_report = success_report);
        if let Some(transfer) = self.files.get_mut(file) {
            transfer.wrapping = wrapped;
        }
        if let Err(fault) = self.msrp.send(self.now.instant, msrp, outgoing) {
            self.stop_file(file, FileStop::Failed { why: fault.to_string() });
        }
    }

    /// Tells the shell, once, that a spool is a file's.
    pub(crate) fn claim(&mut self, spool: SpoolId) {
        let Some(file) = self.msrp.session_of(spool).and_then(|msrp| self.files.by_msrp(msrp)) else {
            return;
        };
        let Some(transfer) = self.files.get_mut(file) else { return };
        if !std::mem::replace(&mut transfer.claimed, true) {
            self.outputs.push_back(Output::Keep { spool, file });
        }
    }

    /// Takes what MSRP says of files; what is of a chat is given back.
    pub(crate) fn file_event(&mut self, event: parlour_msrp::Event) -> Option<parlour_msrp::Event> {
        use parlour_msrp::Event as E;
        let msrp = match &event {
            E::Bound { session }
            | E::Message { session, .. }
            | E::Receiving { session, .. }
            | E::Incomplete { session, .. }
            | E::Progress { session, .. }
            | E::Reporting { session, .. }
            | E::Sent { session, .. }
            | E::Acknowledged { session, .. }
            | E::Reported { session, .. }
            | E::Failed { session, .. }
            | E::Succeeded { session, .. }
            | E::SessionFailed { session, .. } => *session,
            E::Leased { .. } | E::LeaseEnding { .. } | E::LeaseLost { .. } | E::Explain { .. } | _ => {
                return Some(event);
            }
        };
        let Some(file) = self.files.by_msrp(msrp) else { return Some(event) };
        match event {
            E::Message { receipt, message_id, content_type, body, .. } => {
                self.file_came(file, receipt, (message_id, &content_type), body)
            }
            E::Receiving { received, .. } => self.file_moved(file, received),
            E::Progress { sent, .. } => self.file_moved(file, sent),
            E::Acknowledged { .. } | E::Reported { .. } => self.file_done(file),
            E::Failed { why, .. } => {
                use parlour_msrp::SendFailure as F;
                let stop = match &why {
                    F::Refused { status: 413, .. } => FileStop::Aborted,
                    F::Aborted => FileStop::Cancelled,
                    F::SessionEnded | F::NoResponse => FileStop::Interrupted { why: why.to_string() },
                    F::Unreadable => {
                        let why = "it has changed meanwhile, or cannot be read any more: send it anew";
                        FileStop::Failed { why: why.to_owned() }
                    }
                    F::Refused { .. } | _ => FileStop::Failed { why: why.to_string() },
                };
                self.stop_file(file, stop);
            }
            E::Incomplete { why, .. } => {
                use parlour_msrp::Incomplete as I;
                let stop = match why {
                    I::Aborted => FileStop::Aborted,
                    I::Disconnected | I::Idle => FileStop::Interrupted { why: why.to_string() },
                    I::Refused | _ => FileStop::Failed { why: why.to_string() },
                };
                self.stop_file(file, stop);
                self.files_over(file);
            }
            E::SessionFailed { why, .. } => {
                self.stop_file(file, FileStop::Interrupted { why: why.to_string() });
            }
            E::Bound { session } => self.tell_secured(session),
            E::Sent { .. } => {
                if let Some(transfer) = self.files.get_mut(file) {
                    transfer.gone = true;
                }
            }
            E::Succeeded { .. }
            | E::Leased { .. }
            | E::LeaseEnding { .. }
            | E::LeaseLost { .. }
            | E::Explain { .. }
            | _ => {}
        }
        None
    }

    fn file_moved(&mut self, file: FileId, octets: u64) {
        let Some(transfer) = self.files.get(file).filter(|transfer| transfer.stage == Stage::Running) else {
            return;
        };
        let octets = transfer.about.skipped().saturating_add(octets.saturating_sub(transfer.wrapping));
        let news = FileNews::Moved { octets, size: transfer.about.selector.size };
        self.tell(transfer.account, Some(transfer.session), What::File { file, news });
    }

    /// All octets are here.
    //= IM D-43
    fn file_came(
        &mut self,
        file: FileId,
        receipt: parlour_msrp::Receipt,
        (message_id, content_type): (String, &str),
        body: Body,
    ) {
        let now = self.now.instant;
        let transfer = self.files.get_mut(file).filter(|transfer| transfer.stage == Stage::Running);
        let Some(transfer) = transfer.filter(|transfer| !transfer.sends) else {
            // RFC 4975 7.3.1: nothing is wanted here, or not any more.
            self.outputs.extend(spool_of(&body).map(|spool| Output::Discard { spool }));
            return self.msrp.settle(now, receipt, Verdict::Refused(413));
        };
        let spool = spool_of(&body);
        let outcome = unwrap_whole(transfer, content_type, body).map_err(|why| (415, why)).and_then(|body| {
            let came = match &body {
                Body::Inline(octets) => u64::try_from(octets.len()).unwrap_or(u64::MAX),
                Body::Spooled { size, .. } => *size,
            };
            match transfer.about.length().filter(|length| *length != came) {
                Some(length) => Err((413, format!("it has {came} octets, and {length} were announced"))),
                None => Ok(body),
            }
        });
        let body = match outcome {
            Ok(body) => body,
            Err((status, why)) => {
                self.outputs.extend(spool.map(|spool| Output::Discard { spool }));
                self.msrp.settle(now, receipt, Verdict::Refused(status));
                return self.stop_file(file, FileStop::Failed { why });
            }
        };
        transfer.stage = Stage::Whole(receipt);
        let (account, session) = (transfer.account, transfer.session);
        self.tell(account, Some(session), What::File { file, news: FileNews::Whole { message_id, body } });
    }

    /// The shell has looked at a file that came, and keeps it or not: only now its last response leaves.
    //= IM D-43
    pub(crate) fn file_kept(&mut self, file: FileId, outcome: Result<(), FileFault>) -> Result<(), Misuse> {
        let transfer = self.files.get(file).ok_or(Misuse::NoFile)?;
        let Stage::Whole(receipt) = transfer.stage else { return Err(Misuse::NoFile) };
        let now = self.now.instant;
        match outcome {
            Ok(()) => {
                self.msrp.settle(now, receipt, Verdict::Accepted);
                self.file_done(file);
            }
            // RFC 4975 10.5: the one status that says that the receiver does not want this message.
            Err(fault) => {
                self.msrp.settle(now, receipt, Verdict::Refused(413));
                let stop = match fault {
                    FileFault::Corrupt => FileStop::Corrupt,
                    FileFault::Store(_) => FileStop::Failed { why: fault.to_string() },
                };
                self.stop_file(file, stop);
            }
        }
        self.pump_msrp();
        Ok(())
    }

    fn file_done(&mut self, file: FileId) {
        let Some(transfer) = self.files.get_mut(file).filter(|transfer| transfer.is_on()) else { return };
        transfer.stage = Stage::Over;
        let (account, session) = (transfer.account, transfer.session);
        self.tell(account, Some(session), What::File { file, news: FileNews::Done });
        self.files_over(file);
    }

    /// Ends a transfer before its file is whole; one that is over stays as it is.
    pub(crate) fn stop_file(&mut self, file: FileId, stop: FileStop) {
        let Some(transfer) = self.files.get_mut(file).filter(|transfer| transfer.stage != Stage::Over) else {
            return;
        };
        let was = std::mem::replace(&mut transfer.stage, Stage::Over);
        transfer.given_up = !matches!(stop, FileStop::Aborted | FileStop::Declined);
        let (account, session, msrp) = (transfer.account, transfer.session, transfer.msrp);
        let (sends, message_id) = (transfer.sends, transfer.message_id.clone());
        if let (Stage::Whole(receipt), Some(_)) = (was, msrp) {
            self.msrp.settle(self.now.instant, receipt, Verdict::Refused(413));
        }
        //= IM D-42
        // RFC 5547 8.4: a sender that gives up ends its message with `#`.
        if let Some(msrp) = msrp.filter(|_| sends) {
            self.msrp.abort(self.now.instant, msrp, &message_id);
        }
        self.tell(account, Some(session), What::File { file, news: FileNews::Stopped(stop) });
        // What we have just said in the MSRP session is there before a BYE, which may overtake it.
        let pause = if was == Stage::Running && msrp.is_some() { REFUSAL } else { Duration::ZERO };
        self.later(session, self.now.instant + pause);
    }

    /// Something follows for the session, once whoever holds it has put it back.
    fn files_over(&mut self, file: FileId) {
        if let Some(session) = self.files.get(file).map(|transfer| transfer.session) {
            self.later(session, self.now.instant);
        }
    }

    /// Files of a session are over: the lines that are left say so, or the session ends.
    //= IM D-42
    pub(crate) fn files_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let Phase::Live(live) = &session.phase else { return self.answers_due(session) };
        let Some(agreed) = &live.talk.agreed else { return self.sessions.put(session) };
        let (offerer, chats) = (agreed.offerer, agreed.chat.is_some());
        if live.asking.is_some() {
            // What comes of that decides.
            return self.sessions.put(session);
        }
        let busy = live.renewal.is_some() || live.is_asked();
        if !chats && !self.files.are_on(id) && self.files.are_all(&session) {
            // RFC 5547 8.7: it is the sender who closes. The receiver's BYE would overtake its last responses.
            if !self.files.came(id) {
                return self.files_left(session);
            }
            if !session.is_armed(Why::NoStream) {
                let linger = if offerer { LINGERS.0 } else { LINGERS.1 };
                self.arm(&mut session, Why::NoStream, self.now.instant + linger);
            }
            return self.sessions.put(session);
        }
        // RFC 5547 8.4: the session goes on, and an offer has port 0 for what was given up.
        if self.files.owe_an_offer(id) && takes_invite(&live.talk.remote.allow) {
            // RFC 3261 14.1: no INVITE while another one of the dialog is not finished.
            if busy {
                self.later(id, self.now.instant + BUSY);
            } else {
                return self.renew(session, Renewal::lines());
            }
        }
        self.sessions.put(session);
    }

    /// All files of a session for files are over, and nobody else ends it.
    pub(crate) fn files_left(&mut self, session: Session) {
        self.explain(session.account, Some(session.id), "D-42", "left: all files are over", "");
        self.bye(session, Ended::Left);
    }

    /// The session of files ends.
    pub(crate) fn drop_files(&mut self, session: SessionId) {
        for file in self.files.ids(session).to_vec() {
            let Some(transfer) = self.files.get(file) else { continue };
            let why = "the session is over".to_owned();
            let stop = match (transfer.stage, transfer.ours) {
                (Stage::Offered, false) => FileStop::Failed { why },
                (Stage::Offered | Stage::Running | Stage::Whole(_) | Stage::Over, _) => {
                    FileStop::Interrupted { why }
                }
            };
            self.stop_file(file, stop);
        }
        for (_, transfer) in self.files.forget(session) {
            if let Some(msrp) = transfer.msrp {
                self.msrp.close(self.now.instant, msrp);
                self.sessions.forget_msrp(msrp);
            }
        }
    }
}

fn spool_of(body: &Body) -> Option<SpoolId> {
    match body {
        Body::Spooled { spool, .. } => Some(*spool),
        Body::Inline(_) => None,
    }
}
