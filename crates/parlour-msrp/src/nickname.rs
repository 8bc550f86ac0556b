//! Names in chat rooms: the NICKNAME request as a client (RFC 7701 7).

use crate::bind::Refusal;
use crate::connection::Current;
use crate::endpoint::Endpoint;
use crate::head::{Flag, Head, Tid};
use crate::io::{ConnectionId, Event, FailureReport, NicknameError, Output, SendFailure, SessionId};
use crate::send::Turn;
use crate::session::Session;
use crate::settle::fresh_tid;
use crate::time::Instant;
use crate::write::FrameWriter;

/// The longest nickname, octets of UTF-8 (RFC 7701 7.1).
pub const MAX_NICKNAME: usize = 1023;

/// Octets of a NICKNAME besides the paths and the name, at most.
const ROWS: usize = 96;

/// A name that was asked for.
#[derive(Debug)]
pub(crate) struct Naming {
    name: Box<str>,
    /// The request, once it has left.
    asked: Option<Tid>,
}

/// What a session knows of names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// RFC 7701 7.1 sets no limit to how many are asked for at once; one is what a user waits for.
    naming: Option<Box<Naming>>,
    /// Whether the peer does not know NICKNAME (501).
    unknown: bool,
}

impl Endpoint {
    /// Asks the chat room at the other end of a session to call us `nickname` from now on; an empty one gives up the name
    /// that we have. The outcome is [`Event::Named`] or [`Event::NotNamed`]: until then, and after a refusal, the former
    /// name holds (RFC 7701 7.2). Before the session is bound it waits. Whether the room knows nicknames, its SDP tells
    /// (`a=chatroom:nickname`), and how they are prepared and compared is RFC 8266: both are the caller's affair.
    ///
    /// # Errors
    /// Why it is not asked for.
    //= IM M-61
    pub fn nickname(&mut self, now: Instant, id: SessionId, nickname: &str) -> Result<(), NicknameError> {
        self.now = self.now.max(now);
        let session = self.sessions.get_mut(&id).ok_or(NicknameError::UnknownSession)?;
        if session.names.unknown {
            return Err(NicknameError::Unsupported);
        }
        if session.names.naming.is_some() {
            return Err(NicknameError::Outstanding);
        }
        if nickname.len() > MAX_NICKNAME {
            return Err(NicknameError::TooLong);
        }
        if nickname.chars().any(char::is_control) {
            return Err(NicknameError::BadCharacter);
        }
        session.names.naming = Some(Box::new(Naming { name: nickname.into(), asked: None }));
        self.wake(id);
        Ok(())
    }

    /// Appends the NICKNAME of a session that owes one.
    pub(crate) fn write_nickname(&mut self, at: ConnectionId, id: SessionId, batch: &mut Vec<u8>) -> Turn {
        let Some(session) = self.sessions.get_mut(&id) else { return Turn::Waived };
        let Some(known) = self.connections.get_mut(&at) else { return Turn::Waived };
        let need = session.overhead(None);
        let Some(naming) = &session.names.naming else { return Turn::Waived };
        let quoted = quoted(&naming.name);
        if need.saturating_add(quoted.len()).saturating_add(ROWS) > known.room {
            return Turn::NoRoom;
        }
        let tid = fresh_tid(&mut self.random, &self.transactions, &[]);
        let message_id = self.random.ident(16);
        let before = batch.len();
        // RFC 7701 7.1: no Success-Report, no Failure-Report. It needs no Message-ID either, but a relay in use refuses it
        // without one.
        FrameWriter::request(batch, tid, "NICKNAME", session.to(), session.local.as_str())
            .row("Message-ID", &[&message_id])
            .row("Use-Nickname", &[&quoted])
            .end(Flag::Last);
        known.spend(batch.len().saturating_sub(before));
        if let Some(naming) = &mut session.names.naming {
            naming.asked = Some(tid);
        }
        self.await_response(at, id, None, tid, 0, FailureReport::Yes);
        Turn::Taken
    }

    /// A response to a request that bears no message, such as our NICKNAME.
    pub(crate) fn nickname_answered(&mut self, id: SessionId, tid: Tid, status: u16, comment: &str) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(naming) = session.names.naming.take_if(|naming| naming.asked == Some(tid)) else { return };
        //= IM M-12
        // RFC 4975 10.11: whoever does not know the method will not learn it in this session.
        session.names.unknown |= status == 501;
        let nickname = naming.name.into();
        let event = match status {
            200..=299 => Event::Named { session: id, nickname },
            408 => Event::NotNamed { session: id, nickname, why: SendFailure::NoResponse },
            _ => {
                let why = SendFailure::Refused { status, comment: comment.to_owned() };
                Event::NotNamed { session: id, nickname, why }
            }
        };
        self.out.push_back(Output::Event(event));
    }

    /// 30 s have passed: perhaps it was our NICKNAME that nobody has answered.
    pub(crate) fn nickname_unanswered(&mut self, id: SessionId, tid: Tid) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(naming) = session.names.naming.take_if(|naming| naming.asked == Some(tid)) {
            let (nickname, why) = (naming.name.into(), SendFailure::NoResponse);
            self.out.push_back(Output::Event(Event::NotNamed { session: id, nickname, why }));
        }
    }

    /// A NICKNAME that came: we are no chat room (RFC 4975 10.11).
    //= IM M-13
    pub(crate) fn nickname_came(&mut self, connection: ConnectionId, head: &Head<'_>) -> Option<Current> {
        let (session, refusal) = match self.place(connection, head) {
            Ok(session) => (Some(session), Refusal::new(501, "M-61", "NICKNAME is for chat rooms")),
            Err(refusal) => (None, refusal),
        };
        self.refuse(connection, session, head, &refusal);
        None
    }
}

impl Session {
    /// Whether a NICKNAME is to leave.
    pub(crate) fn owes_nickname(&self) -> bool {
        self.greeted && self.names.naming.as_ref().is_some_and(|naming| naming.asked.is_none())
    }
}

impl Names {
    /// What another connection, or a session in this one's place, goes on with: what was not answered is asked again.
    pub(crate) fn anew(&mut self) -> Names {
        let mut names = std::mem::take(self);
        if let Some(naming) = &mut names.naming {
            naming.asked = None;
        }
        names
    }

    /// Takes over what another session knows, unless this one was asked for a name itself.
    pub(crate) fn inherit(&mut self, mut other: Names) {
        let Names { naming, unknown } = other.anew();
        self.naming = self.naming.take().or(naming);
        self.unknown |= unknown;
    }

    /// The session ends: what becomes of a name that was asked for.
    pub(crate) fn end(self, session: SessionId) -> Option<Event> {
        let naming = self.naming?;
        Some(Event::NotNamed { session, nickname: naming.name.into(), why: SendFailure::SessionEnded })
    }
}

/// A quoted-string (RFC 4975 9): what would end it is escaped.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len().saturating_add(2));
    quoted.push('"');
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
