//! What a user or a program can ask, whatever front end it comes from.

use parlour_proto::client::Decline;
use parlour_proto::config::Proxy;
use parlour_proto::event::Participant;
use parlour_proto::sdp::FileSelector;

use crate::files::ToSend;
use crate::model::SessionName;

/// A command and the mark by which its answer is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) id: Option<String>,
    pub(crate) command: Command,
}

/// A command. Without a session, the only one that fits is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Accept {
        session: Option<SessionName>,
        /// These files alone; without it, all that come in.
        files: Option<Vec<SessionName>>,
    },
    /// Send files in a session of their own.
    SendFiles {
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
        files: Vec<ToSend>,
    },
    /// Ask somebody for a file that he has shared.
    FetchFile {
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
        selector: FileSelector,
    },
    /// Decline a file, or give its transfer up.
    CancelFile {
        /// Named like a session.
        file: SessionName,
    },
    /// Go on with a file that was interrupted, known by the id of its row.
    ResumeFile {
        file: String,
        /// Another way than it went before.
        via: Option<Proxy>,
    },
    Decline {
        session: Option<SessionName>,
        how: Decline,
    },
    Say {
        session: Option<SessionName>,
        /// The one participant of a conference who gets it: an address or a name.
        to: Option<String>,
        message_id: Option<String>,
        content_type: String,
        body: Vec<u8>,
    },
    /// A message outside any session.
    Page {
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
        message_id: Option<String>,
        content_type: String,
        body: Vec<u8>,
    },
    /// The user is writing.
    Composing {
        session: Option<SessionName>,
    },
    /// The user was shown a message that came.
    Read {
        session: Option<SessionName>,
        message_id: String,
    },
    Leave {
        session: Option<SessionName>,
    },
    /// `account` is one of our addresses; the first if absent.
    Invite {
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
        /// To take one large message: the first that is said.
        large: bool,
        /// What is said in it first. It is kept whatever becomes of the invitation.
        first: Option<First>,
    },
    /// The conference is to call us so; by none if it is empty.
    Nick {
        session: Option<SessionName>,
        nickname: String,
    },
    /// Who is in the conference.
    Who {
        session: Option<SessionName>,
    },
    /// The conference is to invite somebody.
    Add {
        session: Option<SessionName>,
        address: String,
    },
    /// No invitation of these callers reaches the user any more.
    Block {
        whom: Whom,
    },
    Unblock {
        address: String,
    },
    /// The user has seen the invitations missed up to this number.
    Looked {
        upto: u64,
    },
    Quit,
    /// What was asked makes no sense, and why.
    Nonsense(String),
}

/// The first message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) message_id: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The other side of a session or an invitation.
    Session(Option<SessionName>),
    Address(String),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) id: Option<String>,
    pub(crate) what: Result<Achieved, String>,
}

/// What a command that made sense achieved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Achieved {
    /// The session that it was about.
    pub(crate) session: Option<SessionName>,
    /// The message that it sends; it is durable.
    pub(crate) message_id: Option<String>,
    /// Who is in its conference or about to come.
    pub(crate) users: Option<Vec<Participant>>,
    /// What holds from now on.
    pub(crate) wish: Option<Wish>,
}

/// A lasting wish of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Blocked(String),
    Unblocked(String),
}
