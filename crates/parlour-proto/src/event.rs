//! What a user interface may be told.

#![expect(
    missing_docs,
    reason = "plain data: the names of fields and variants say all where no comment stands"
)]

use std::sync::Arc;
use std::time::Duration;

use parlour_msrp::Body;

use crate::io::{AccountId, FileId, Receipt, SessionId};
pub use crate::mime::conference_info::{Disconnection, Joining, Status};
use crate::mime::content::{self, Part};
use crate::mime::cpim::Mailbox;
pub use crate::mime::imdn::{Kind as NoticeKind, Status as NoticeStatus};
use crate::mime::resource_list;
pub use crate::mime::resource_list::CopyControl;
use crate::sdp::FileAttributes;

/// Something happened to one of our IM Addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose it is.
    pub account: AccountId,
    /// The session that it belongs to, if any.
    pub session: Option<SessionId>,
    /// What happened.
    pub what: What,
}

/// Who is at the other end, as far as we can tell. The strings are as received: neutralise them with
/// [`text::neutral`](crate::text::neutral) before they reach a screen or a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// The address: asserted by a trusted core or signed for if `verified`, else what From claims.
    pub address: String,
    /// The display name that came with it.
    pub display_name: Option<String>,
    /// Whether a trusted core, or the signature of a signer that we know (RFC 8224), vouches for the address.
    pub verified: bool,
}

/// What the Identity headers of an invitation are worth: the best of them (RFC 8224 6.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub proof: Proof,
    /// The name of the credential (`info`), as received; `None` if the header cannot be read.
    pub info: Option<String>,
    /// What decided, in plain words; parts of it are as received.
    pub why: String,
}

/// What an Identity header proves, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// A signer that we know has signed this call to us.
    Valid,
    /// No key is configured for its signer, so that nothing is known.
    UnknownSigner,
    /// It is signed in a way that we do not verify.
    UnsupportedAlgorithm,
    /// It is signed for a call to somebody else, who may have sent it on, or misused it.
    Elsewhere,
    /// The signature was seen before in another call.
    Replayed,
    /// It was signed too long ago, or is of the future.
    Stale,
    /// The signer does not speak for this caller.
    WrongSigner,
    /// It is not what a signer would have made for this call.
    Invalid,
    /// It is of a type (`ppt`) that we do not know, and counts as if it were not there.
    UnsupportedType,
}

impl Proof {
    /// Whether something was done that must not be, rather than left unproven.
    pub fn is_wrong(self) -> bool {
        matches!(self, Proof::Replayed | Proof::Stale | Proof::WrongSigner | Proof::Invalid)
    }

    pub(crate) fn decision(self) -> &'static str {
        match self {
            Proof::Valid => "the signature of the caller's identity is valid",
            Proof::UnknownSigner => {
                "the signature of the caller's identity counts for nothing: its signer is unknown"
            }
            Proof::UnsupportedAlgorithm => {
                "the signature of the caller's identity counts for nothing: not ES256"
            }
            Proof::Elsewhere => {
                "the signature of the caller's identity counts for nothing: it is for another callee"
            }
            Proof::Replayed => "the signature of the caller's identity is wrong: it was used before",
            Proof::Stale => "the signature of the caller's identity is wrong: its time is not now",
            Proof::WrongSigner => {
                "the signature of the caller's identity is wrong: its signer may not make it"
            }
            Proof::Invalid => "the signature of the caller's identity is wrong: it is not of this call",
            Proof::UnsupportedType => {
                "the signature of the caller's identity is passed over: of a type that we do not know"
            }
        }
    }
}

/// What TLS tells of who is at the other end of an MSRP connection (D-20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// The session's peer.
    pub peer: Peer,
    /// What vouches for the other end being the peer.
    pub by: Voucher,
    /// The fingerprint of the certificate that it has shown, SHA-256 as `a=fingerprint` spells it; `None` if it showed none.
    pub fingerprint: Option<String>,
    /// Whether the signalling came by TLS or a trusted core: if not, whoever could change it could have put in a
    /// fingerprint of his own (D-21).
    pub protected: bool,
}

/// What vouches for the other end of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Voucher {
    /// The fingerprint in the peer's description.
    Fingerprint,
    /// An authority, for the host of the peer's URI.
    Authority { name: String },
    /// Nothing but the session-id: the peer connects, and its description names no fingerprint.
    Nobody,
}

/// What an invitation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A conversation with the caller.
    #[default]
    Chat,
    /// A conversation with a group: the caller is its focus (RFC 4579 4).
    Group,
    /// Files alone.
    Files,
    /// One large message.
    LargeMessage,
    /// What was sent while we were away: the caller is a store-and-forward server of the core.
    Deferred,
}

/// Why an IM Session ended or never came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// We left.
    Left,
    /// The peer left (BYE), or took the last stream away.
    PeerLeft,
    /// The caller gave up before we answered (CANCEL), or another device answered.
    Cancelled { elsewhere: bool },
    /// We declined or policy did, with this status.
    Declined { status: u16 },
    /// The user did not answer in time.
    NoAnswer,
    /// The peer, or a proxy, refused our invitation.
    Refused {
        status: u16,
        reason: String,
        /// What its Warning headers say besides (RFC 3261 20.43).
        warning: Option<String>,
        /// When it may be tried again (Retry-After), from now on.
        retry_after: Option<Duration>,
    },
    /// Our 200 was never acknowledged.
    NoAck,
    /// The media connection could not be made or broke.
    MediaFailed { why: String },
    /// The other side does not answer, or no longer knows the session.
    Lost { why: String },
    /// Another session has taken its place.
    Replaced { by: SessionId },
}

impl Ended {
    /// Why a message that waited for the session was never sent, in words.
    pub fn unsent(&self) -> String {
        match self {
            Ended::Refused { status, reason, .. } => format!("never sent: refused with {status} {reason}"),
            Ended::Lost { why } | Ended::MediaFailed { why } => format!("never sent: {why}"),
            Ended::Left
            | Ended::PeerLeft
            | Ended::Cancelled { .. }
            | Ended::Declined { .. }
            | Ended::NoAnswer
            | Ended::NoAck
            | Ended::Replaced { .. } => "the session ended before it could be sent".to_owned(),
        }
    }

    /// Why a message that waited in a session which had stood is not confirmed, in words: it may have left before.
    pub fn unconfirmed(&self) -> String {
        match self {
            Ended::Lost { why } | Ended::MediaFailed { why } => format!("not confirmed: {why}"),
            Ended::Refused { .. }
            | Ended::Left
            | Ended::PeerLeft
            | Ended::Cancelled { .. }
            | Ended::Declined { .. }
            | Ended::NoAnswer
            | Ended::NoAck
            | Ended::Replaced { .. } => "the session ended before it was acknowledged".to_owned(),
        }
    }
}

/// How far one of our own messages got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Its last octet left.
    Sent,
    /// Every chunk of it was acknowledged by the next hop, or a success REPORT came.
    Acknowledged,
    /// It failed, and why.
    Failed { why: String },
}

/// What the recipient of one of our messages tells of it (RFC 5438). It is the recipient's word alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// He has it.
    Delivered,
    /// He will not have it.
    Failed,
    /// He was shown it.
    Displayed,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The registrar accepted us: what it calls us (P-Associated-URI, default first) and for how long.
    Registered { identities: Vec<String>, expires: Duration },
    /// Registration failed; `retry` says when it is tried again, `None` that it is not.
    RegistrationFailed { status: Option<u16>, why: String, retry: Option<Duration> },
    /// We are not registered any more, by our own wish.
    Unregistered,
    /// Somebody invites us; the answer is [`Client::accept`](crate::client::Client::accept) or
    /// [`decline`](crate::client::Client::decline).
    Invited {
        peer: Peer,
        kind: Kind,
        subject: Option<String>,
        /// Whether the user is to answer; if not, policy has accepted (S-2).
        asked: bool,
        /// What its Identity headers prove; `None` without them, which is usual.
        identity: Option<Box<Identity>>,
        /// What it goes on with.
        thread: Thread,
        /// Who else is invited, as far as the caller tells (RFC 5366). A first message that it brings follows as a
        /// [`What::Message`] of the session.
        invited_with: Vec<Invitee>,
        /// The files that it offers, or asks for.
        files: Vec<FileInfo>,
    },
    /// Somebody wanted to take this session over and may not. It goes on as before (S-6f).
    TakeoverRefused { by: Peer, why: String },
    /// A message of ours that nobody has acknowledged goes on in another session, under the same Message-ID.
    Moved { message_id: String, to: SessionId },
    /// An invitation was refused without troubling the user, or ended before the user answered.
    Missed { peer: Peer, why: Ended },
    /// Our invitation is on its way: to a chat, to files, or to one large message.
    Inviting { to: String, kind: Kind },
    /// Our invitation rings at the other end.
    Ringing,
    /// The session is agreed: 200 and ACK have passed.
    Established {
        /// Who is at the other end.
        peer: Peer,
        /// The IM Session Identity: the Contact of the dialog-forming message, octet by octet (G-4).
        session_identity: String,
        /// Whether the identity is a conference's, so that it can be invited again to come back; else it is only where
        /// the peer is now (G-4x).
        conference: bool,
    },
    /// Who is in the conference, or has come or gone since the last such event.
    Roster(Roster),
    /// No more is told of who is in the conference; the session goes on.
    RosterEnded { why: String },
    /// The conference has agreed to invite somebody: whether that one comes, the roster tells.
    AddAccepted { address: String },
    /// The conference does not invite somebody, or does not answer (408).
    AddRefused { address: String, status: u16, reason: String },
    /// The MSRP connection is encrypted, and what that says of who is at its other end. [`What::Connected`] follows.
    Secured(Secured),
    /// The peer is known by its fingerprint, and was known by another one when it was there before (RFC 6714 7.7). Whoever
    /// keeps what a peer has shown tells it, right after [`What::Secured`]; the client itself remembers nothing of it. `since`
    /// is when `old` was first seen, since 1970; `protected` is as in [`Secured`].
    FingerprintChanged { peer: Peer, old: String, new: String, since: Duration, protected: bool },
    /// Somebody with another certificate is at the other end of the MSRP connection. Nothing was sent to it, and the
    /// session ends. `expected` are the fingerprints of the peer's description, or what was wanted instead; `shown` is that
    /// of the certificate, `None` if there was none.
    Impostor { expected: Vec<String>, shown: Option<String> },
    /// The MSRP connection stands: messages flow. Told again when another connection has taken its place.
    Connected,
    /// The peer takes no messages for now: what we say waits (D-54).
    Held,
    /// The peer takes messages again, and gets those that waited.
    Resumed,
    /// The MSRP connection is lost; another one is being made, and what is said meanwhile waits for it.
    Reconnecting { why: String },
    /// Somebody has begun to write, or has stopped: also because a message came or the time that was told is over. It is of
    /// the moment: it is no message, and not to be kept. Sessions that end do not tell it.
    Composing {
        /// Who: in a conference as the state itself claims.
        by: Peer,
        active: bool,
        /// What is being made, as received: a media type, or the first half of one.
        content_type: Option<String>,
    },
    /// A message came: in a session, or without one in pager mode. It is acknowledged only after
    /// [`Client::stored`](crate::client::Client::stored) has said that it is durable.
    Message(Incoming),
    /// Part of a large message came.
    Receiving { message_id: String, received: u64, total: Option<u64> },
    /// Part of a large message of ours has left; told ten times a second at most.
    Sending { message_id: String, sent: u64, total: u64 },
    /// A message will never be whole.
    Incomplete { message_id: String, received: u64, why: String },
    /// One of our messages got further.
    Progress { message_id: String, progress: Progress },
    /// The other side adds files to a session that stands, and waits: answer with
    /// [`Client::accept_files`](crate::client::Client::accept_files), or `accept` or `decline` for all of them. After
    /// `within` they count as declined.
    FilesAdded { files: Vec<FileInfo>, within: Duration },
    /// A file of the session, and what is new of it.
    File { file: FileId, news: FileNews },
    /// The recipient of a message tells what became of it. Whether there was such a message, to him, is for whoever keeps
    /// them to see; it may be long ago, and told in another session.
    Receipt {
        /// The name that we gave the message: its Message-ID.
        message_id: String,
        /// The peer of the session in which it is told; without a session, who sent the MESSAGE.
        from: Peer,
        /// Who tells it, where others stand behind the peer: a URI, as received.
        recipient: Option<String>,
        fate: Fate,
    },
    /// The conference calls us so from now on; an empty nickname: it does not call us by one any more.
    Nickname { nickname: String },
    /// The conference does not call us so; `status` is its answer, if there was one. A nickname that we had still holds.
    NicknameRefused { nickname: String, status: Option<u16>, why: String },
    /// The peer does not take a media type (415). Until then it is said in another form, or not at all: give it back to
    /// [`Client::set_refusals`](crate::client::Client::set_refusals) after a restart.
    TypeRefused {
        peer: Peer,
        /// Whether in a message of pager mode (MESSAGE) rather than in a session.
        pager: bool,
        /// Whether it stood in message/cpim.
        wrapped: bool,
        media_type: String,
        /// Since 1970.
        until: Duration,
    },
    /// A relay of the account lends us nothing (RFC 4976), or has TLS where an offer has none, or the other way round: told
    /// once a minute at most while sessions need one.
    RelayFailed {
        /// In words.
        why: String,
        /// Whether there is no session without it; else sessions go on without, for all to read who are on the way.
        required: bool,
    },
    /// The session is over.
    Ended(Ended),
    /// Why something was decided: rule, decision and the input that decided.
    Explain(Explain),
}

/// A file of a session. The strings are as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    pub file: FileId,
    /// Whether we send it.
    pub sends: bool,
    pub about: FileAttributes,
    /// The preview that came with the offer (RFC 5547 8.8).
    pub icon: Option<Arc<Icon>>,
    /// What whoever keeps files does about it without asking the user, as he tells it on. The client leaves it open.
    pub unasked: Option<Unasked>,
}

/// What becomes of a file of an invitation without the user's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unasked {
    /// It is ours, was shared with who asks for it, and is given.
    Given {
        /// Where it lies.
        path: String,
    },
    /// The user has accepted it before: what is missing of it is taken.
    GoesOn,
    /// It is not taken, or not given.
    Refused { why: String },
}

/// A picture as a peer has sent it: nothing of it is safe, not even that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// What it is said to be: `image/...`.
    pub media_type: String,
    /// At most 64 KiB.
    pub octets: Vec<u8>,
    /// Where whoever keeps it has put it.
    pub path: Option<String>,
}

/// What is new of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileNews {
    /// We offer it, or ask for it, or the other side does so in a session that stands.
    Offered(Box<FileInfo>),
    /// It is agreed on: octets may flow.
    Begun(Box<FileInfo>),
    /// So many octets of the whole file are at the receiver, or have left for it. It is of the moment.
    Moved { octets: u64, size: Option<u64> },
    /// All octets that were agreed on are here. Check and keep the file, then call
    /// [`Client::file_kept`](crate::client::Client::file_kept).
    Whole {
        /// The MSRP Message-ID under which it came.
        message_id: String,
        body: Body,
    },
    /// The receiver has it.
    Done,
    /// It will not be whole in this transfer.
    Stopped(FileStop),
}

/// Why the transfer of a file is over before it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStop {
    /// The other side does not want it, or does not give it.
    Declined,
    /// We gave it up.
    Cancelled,
    /// The other side gave it up.
    Aborted,
    /// The connection, or the session, is gone: the rest can be had in another transfer.
    Interrupted { why: String },
    /// The octets are not those that the sender has named.
    Corrupt,
    /// Anything else.
    Failed { why: String },
}

/// Somebody else who is invited. The strings are as received, and nobody vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitee {
    pub address: String,
    pub display_name: Option<String>,
    /// How this one is addressed.
    pub copy: CopyControl,
    /// For how many it stands: those who stay anonymous are told together.
    pub count: u32,
}

impl From<resource_list::Entry> for Invitee {
    fn from(entry: resource_list::Entry) -> Self {
        let resource_list::Entry { uri, display_name, copy, count } = entry;
        Invitee { address: uri, display_name, copy, count }
    }
}

/// How an invitation goes on with what was before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thread {
    /// The session that it takes over, once it is accepted (RFC 3891).
    pub replaces: Option<SessionId>,
    /// Who sent the caller to us, as the core passed it on. Nothing proves it: `verified` is never set (RFC 3892 2.3).
    pub referred_by: Option<Peer>,
    /// The name of the conversation (Contribution-ID).
    pub conversation: Option<String>,
    /// The name of the conversation that it continues (Session-Replaces).
    pub continues: Option<String>,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Give it back to [`Client::stored`](crate::client::Client::stored).
    pub receipt: Receipt,
    /// The key against duplicates, unique for (account, peer): the IMDN Message-ID if there is one, else that of MSRP, else
    /// what is the same when a MESSAGE request comes again.
    pub message_id: String,
    /// Who wrote it: the session's peer in a 1-1 session.
    pub from: Peer,
    /// Set if the message itself claims another author than the session's peer (M-33).
    pub claimed_from: Option<String>,
    /// Who wrote it as several message/cpim around each other tell, the outermost first: each vouches for the next one
    /// (RFC 4975 14.5). Empty where there is one or none.
    pub authors: Vec<Mailbox>,
    /// The date that the message bears (CPIM DateTime, RFC 3339), as received: of the innermost that has one.
    pub sent_at: Option<String>,
    /// CPIM Subject, the same.
    pub subject: Option<String>,
    /// What its author is to hear of it, as far as he asks and the user wants: to be kept with the message until it is
    /// [settled](crate::io::Output::Settled).
    pub notices: Vec<Notice>,
    /// When it loses its meaning, since 1970 (RFC 3428 7): whoever shows it then says so.
    pub expires: Option<Duration>,
    /// The media type of the innermost body, with parameters.
    pub content_type: String,
    /// What is in the wrappings, and no longer coded; for spooled ones the whole message as received.
    pub body: Body,
    /// Octets of `body` before the innermost body starts; not 0 only for spooled CPIM messages.
    pub body_offset: u64,
    /// What it is made of: what is shown, and what is kept. Places count from the start of `body`. A spooled message is one
    /// part, as not all of it is here.
    pub parts: Vec<Part>,
    /// Whether it has text that can be shown; if not it is kept as an attachment.
    pub renderable: bool,
    /// Set in a conference: `from` is the conference itself then, and `claimed_from` is not set.
    pub room: Option<Box<InRoom>>,
}

/// Who wrote a message of a conference, and to whom (RFC 7701 6). The strings are as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InRoom {
    /// The participant who wrote it, with the nickname if there is one, as the conference says; `None` if it says nobody.
    /// `verified` if somebody vouches for the conference, and it knows this one.
    pub author: Option<Peer>,
    /// Whether it was said to one participant alone: to us, or by us.
    pub private: bool,
    /// Whether we have written it ourselves, on another device.
    pub own: bool,
    /// To whom, where that is not us.
    pub to: Option<String>,
}

impl Incoming {
    /// The text of it that is shown.
    pub fn text(&self) -> Option<String> {
        content::text(&self.parts)
    }
}

/// A notification that the author of a message is owed (RFC 5438): all that it takes to send it, in this run of the
/// program or in a later one. The strings are as received where they are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its own Message-ID, the same however often and whichever way it goes: it names the notification.
    pub id: String,
    /// Who sent the message, as [`Peer::address`].
    pub to: String,
    /// Whether somebody vouches for that.
    pub verified: bool,
    /// The identity of ours that the message was for.
    pub recipient: String,
    /// The name that the author gave the message.
    pub message_id: String,
    /// When it was sent (CPIM DateTime).
    pub date_time: Option<String>,
    /// Whom the message itself names as its author (CPIM From).
    pub author: Option<String>,
    /// Whom it was for before a server sent it on (Original-To).
    pub original_to: Option<String>,
    /// The way of notifications: the values of IMDN-Record-Route in order.
    pub routes: Vec<String>,
    /// Whether a trusted core brought the message: only then a MESSAGE goes where `routes` lead.
    pub routed: bool,
    /// Whether `to` is a conference, by which `author` is told as one of its participants.
    pub in_room: bool,
    /// What it tells.
    pub kind: NoticeKind,
    /// What became of the message.
    pub status: NoticeStatus,
}

impl Notice {
    /// Whether it is due only when the user was shown the message; else as soon as the message is durable.
    pub fn waits(&self) -> bool {
        self.status == NoticeStatus::Displayed
    }
}

/// What a conference tells of itself (RFC 4575), and who has come and gone since the last such event of the session;
/// in the first one, who is there. The strings are as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    pub subject: Option<String>,
    /// How many users the conference says it has; may exceed those that it names.
    pub user_count: Option<u32>,
    pub maximum_user_count: Option<u32>,
    /// Whether it can be joined now.
    pub active: Option<bool>,
    /// Whether nobody can be added.
    pub locked: Option<bool>,
    /// URIs by which it can be joined.
    pub conf_uris: Vec<String>,
    /// How many are in it, of those that it names.
    pub here: usize,
    /// Who has come.
    pub joined: Vec<Participant>,
    /// Of whom something else has changed, or who is about to come.
    pub changed: Vec<Participant>,
    /// Who has gone, or did not come.
    pub left: Vec<Participant>,
}

/// One user of a conference, known by the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    pub address: String,
    pub display_name: Option<String>,
    /// The name that is this one's alone in the conference (RFC 7701 7).
    pub nickname: Option<String>,
    pub roles: Vec<String>,
    /// How far the device is that counts most; None if nothing is told.
    pub status: Option<Status>,
    /// How that device came in.
    pub joining_method: Option<Joining>,
    /// How that device went.
    pub disconnection_method: Option<Disconnection>,
    /// Whether the conference keeps the address to itself (RFC 4575 5.6).
    pub anonymous: bool,
}

impl Participant {
    /// Whether this one is in the conference, rather than about to come or gone.
    pub fn is_in(&self) -> bool {
        self.status.is_none_or(Status::is_in)
    }
}

/// One decision, for whoever asks why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// The clause that decided: an id of docs/clauses.toml, or an RFC section.
    pub clause: &'static str,
    /// What was decided, in plain words.
    pub decision: String,
    /// The input that decided it, neutralised.
    pub input: String,
    /// The invitation that it is about, as long as no session stands for it.
    pub invitation: Option<Invitation>,
}

/// An INVITE outside a dialog, whether or not it becomes a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Counts the invitations of a client, from 1.
    pub number: u64,
    /// Its Call-ID, neutralised.
    pub call_id: String,
}
