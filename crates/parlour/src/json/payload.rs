//! What an event tells, as JSON.

use parlour_msrp::Body;
use parlour_proto::client::Page;
use parlour_proto::event::{
    CopyControl, Disconnection, Ended, Fate, Identity, Incoming, Invitee, Joining, Kind, Participant, Peer,
    Progress, Proof, Roster, Secured, Status, Thread, Voucher, What,
};
use parlour_proto::io::SessionId;
use parlour_proto::mime::content;
use serde::Serialize;

use super::file::{self, About, News};
use super::parts::{self, Author, PartLine};
use crate::model::SessionName;
use crate::store::NewMessage;

/// The name of what an invitation is to.
fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Chat => "chat",
        Kind::Group => "group",
        Kind::Files => "files",
        Kind::LargeMessage => "large_message",
        Kind::Deferred => "deferred",
    }
}

/// The name of an event's kind: `type` in its line.
pub(crate) fn kind(what: &What) -> &'static str {
    match what {
        What::Registered { .. } => "registered",
        What::RegistrationFailed { .. } => "registration_failed",
        What::Unregistered => "unregistered",
        What::Invited { .. } => "invited",
        What::TakeoverRefused { .. } => "takeover_refused",
        What::Moved { .. } => "moved",
        What::Missed { .. } => "missed",
        What::Inviting { .. } => "inviting",
        What::Ringing => "ringing",
        What::Established { .. } => "established",
        What::Connected => "connected",
        What::Secured(_) => "secured",
        What::FingerprintChanged { .. } => "fingerprint_changed",
        What::Impostor { .. } => "impostor",
        What::Reconnecting { .. } => "reconnecting",
        What::Held => "held",
        What::Resumed => "resumed",
        What::Message(_) => "message",
        What::Composing { .. } => "composing",
        What::Receipt { .. } => "receipt",
        What::Receiving { .. } => "receiving",
        What::Sending { .. } => "sending",
        What::Incomplete { .. } => "incomplete",
        What::FilesAdded { .. } => "files_added",
        What::File { .. } => "file",
        What::Progress { .. } => "progress",
        What::Roster(_) => "roster",
        What::RosterEnded { .. } => "roster_ended",
        What::TypeRefused { .. } => "type_refused",
        What::RelayFailed { .. } => "relay_failed",
        What::AddAccepted { .. } => "add_accepted",
        What::AddRefused { .. } => "add_refused",
        What::Nickname { .. } => "nickname",
        What::NicknameRefused { .. } => "nickname_refused",
        What::Ended(_) => "ended",
        What::Explain(_) => "explain",
    }
}

/// What an event's line tells besides the envelope and the body: a JSON object. `run` is part of sessions' names.
pub(crate) fn payload(what: &What, run: u64) -> String {
    let name = |session: SessionId| SessionName { run, session }.to_string();
    let payload = match what {
        What::Registered { identities, expires } => {
            Payload::Registered { identities, expires: expires.as_secs() }
        }
        What::RegistrationFailed { status, why, retry } => {
            Payload::RegistrationFailed { status: *status, why, retry: retry.map(|retry| retry.as_secs()) }
        }
        What::Unregistered | What::Ringing | What::Connected | What::Held | What::Resumed => {
            Payload::Nothing {}
        }
        What::Invited { peer, kind, subject, asked, identity, thread, invited_with, files } => {
            let Thread { replaces, referred_by, conversation, continues } = thread;
            Payload::Invited {
                peer: peer.into(),
                kind: name_of(*kind),
                subject: subject.as_deref(),
                asked: *asked,
                identity: identity.as_deref().map(Into::into),
                replaces: replaces.map(name),
                referred_by: referred_by.as_ref().map(Into::into),
                conversation: conversation.as_deref(),
                continues: continues.as_deref(),
                invited_with: invited_with.iter().map(Into::into).collect(),
                files: files.iter().map(|info| About::of(info, run)).collect(),
            }
        }
        What::TakeoverRefused { by, why } => Payload::TakeoverRefused { by: by.into(), why },
        What::Moved { message_id, to } => Payload::Moved { message_id, to: name(*to) },
        What::Missed { peer, why } => Payload::Missed { peer: peer.into(), end: end(why, name) },
        What::Reconnecting { why } => Payload::Reconnecting { why },
        What::Secured(Secured { peer, by, fingerprint, protected }) => {
            let (by, name) = match by {
                Voucher::Fingerprint => ("fingerprint", None),
                Voucher::Authority { name } => ("authority", Some(name.as_str())),
                Voucher::Nobody => ("nobody", None),
            };
            let fingerprint = fingerprint.as_deref();
            Payload::Secured { peer: peer.into(), by, name, fingerprint, protected: *protected }
        }
        What::FingerprintChanged { peer, old, new, since, protected } => {
            let (peer, since) = (peer.into(), super::seconds(*since));
            Payload::FingerprintChanged { peer, old, new, since, protected: *protected }
        }
        What::Impostor { expected, shown } => Payload::Impostor { expected, shown: shown.as_deref() },
        What::Inviting { to, kind } => Payload::Inviting { to, kind: name_of(*kind) },
        What::Established { peer, session_identity, conference } => {
            Payload::Established { peer: peer.into(), session_identity, conference: *conference }
        }
        What::Message(message) => Payload::from(message),
        What::Composing { by, active, content_type } => {
            Payload::Composing { by: by.into(), active: *active, content_type: content_type.as_deref() }
        }
        What::Receipt { message_id, from, recipient, fate } => {
            let (from, recipient) = (from.into(), recipient.as_deref());
            Payload::Receipt { message_id, from, recipient, state: fate_word(*fate) }
        }
        What::Receiving { message_id, received, total } => {
            Payload::Receiving { message_id, received: *received, total: *total }
        }
        What::Sending { message_id, sent, total } => {
            Payload::Sending { message_id, sent: *sent, total: *total }
        }
        What::Incomplete { message_id, received, why } => {
            Payload::Incomplete { message_id, received: *received, why }
        }
        What::FilesAdded { files, within } => {
            let files = files.iter().map(|info| About::of(info, run)).collect();
            Payload::FilesAdded { files, within: within.as_secs() }
        }
        What::File { file, news } => Payload::File(file::news(*file, news, run)),
        What::Progress { message_id, progress } => {
            let (state, why) = match progress {
                Progress::Sent => ("sent", None),
                Progress::Acknowledged => ("acknowledged", None),
                Progress::Failed { why } => ("failed", Some(why.as_str())),
            };
            Payload::Progress { message_id, state, why }
        }
        What::Roster(roster) => Payload::from(roster),
        What::RosterEnded { why } => Payload::RosterEnded { why },
        What::TypeRefused { peer, pager, wrapped, media_type, until } => {
            let (peer, until) = (peer.into(), super::seconds(*until));
            Payload::TypeRefused { peer, pager: *pager, wrapped: *wrapped, media_type, until }
        }
        What::RelayFailed { why, required } => Payload::RelayFailed { why, required: *required },
        What::AddAccepted { address } => Payload::AddAccepted { address },
        What::AddRefused { address, status, reason } => {
            Payload::AddRefused { address, status: *status, reason }
        }
        What::Nickname { nickname } => Payload::Nickname { nickname },
        What::NicknameRefused { nickname, status, why } => {
            Payload::NicknameRefused { nickname, status: *status, why }
        }
        What::Ended(why) => Payload::Ended { end: end(why, name) },
        What::Explain(explain) => {
            let call_id = explain.invitation.as_ref().map(|invitation| invitation.call_id.as_str());
            let (decision, input) = (&explain.decision, &explain.input);
            Payload::Explain { clause: explain.clause, decision, input, call_id }
        }
    };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".into())
}

/// What a recipient tells of a message of ours, in a word.
pub(crate) fn fate_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered => "delivered",
        Fate::Failed => "failed",
        Fate::Displayed => "displayed",
    }
}

/// As [`payload`], for a message of ours.
pub(crate) fn saying(peer: &str, message: &NewMessage) -> String {
    let payload = Payload::Outgoing {
        direction: "out",
        message_id: &message.message_id,
        to: peer,
        private_to: message.to.as_deref(),
        content_type: &message.content_type,
        size: message.body.size(),
    };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".into())
}

/// What is not so is not written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// As [`payload`], for a message of ours outside any session.
pub(crate) fn paging(to: &str, page: &Page) -> String {
    let payload = Payload::Outgoing {
        direction: "out",
        message_id: &page.message_id,
        to,
        private_to: None,
        content_type: &page.content_type,
        size: u64::try_from(page.body.len()).unwrap_or(u64::MAX),
    };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".into())
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Nothing {},
    Registered {
        identities: &'a [String],
        expires: u64,
    },
    RegistrationFailed {
        status: Option<u16>,
        why: &'a str,
        retry: Option<u64>,
    },
    Invited {
        peer: Party<'a>,
        kind: &'static str,
        subject: Option<&'a str>,
        asked: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        identity: Option<Signature<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        referred_by: Option<Party<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        invited_with: Vec<AlsoInvited<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<About<'a>>,
    },
    FilesAdded {
        files: Vec<About<'a>>,
        within: u64,
    },
    File(News<'a>),
    TakeoverRefused {
        by: Party<'a>,
        why: &'a str,
    },
    Moved {
        message_id: &'a str,
        to: String,
    },
    Missed {
        peer: Party<'a>,
        end: End<'a>,
    },
    Inviting {
        to: &'a str,
        kind: &'static str,
    },
    Established {
        peer: Party<'a>,
        session_identity: &'a str,
        conference: bool,
    },
    Reconnecting {
        why: &'a str,
    },
    Secured {
        peer: Party<'a>,
        by: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        fingerprint: Option<&'a str>,
        protected: bool,
    },
    FingerprintChanged {
        peer: Party<'a>,
        old: &'a str,
        new: &'a str,
        since: String,
        protected: bool,
    },
    Impostor {
        expected: &'a [String],
        shown: Option<&'a str>,
    },
    Message {
        direction: &'static str,
        message_id: &'a str,
        from: Party<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        author: Option<Party<'a>>,
        #[serde(skip_serializing_if = "is_not")]
        private: bool,
        #[serde(skip_serializing_if = "is_not")]
        own: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        private_to: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        claimed_from: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sent_at: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires: Option<String>,
        content_type: &'a str,
        renderable: bool,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        body_offset: Option<u64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        authors: Vec<Author>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        parts: Vec<PartLine>,
    },
    Outgoing {
        direction: &'static str,
        message_id: &'a str,
        to: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        private_to: Option<&'a str>,
        content_type: &'a str,
        size: u64,
    },
    Receipt {
        message_id: &'a str,
        from: Party<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recipient: Option<&'a str>,
        state: &'static str,
    },
    Composing {
        by: Party<'a>,
        active: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        content_type: Option<&'a str>,
    },
    Receiving {
        message_id: &'a str,
        received: u64,
        total: Option<u64>,
    },
    Sending {
        message_id: &'a str,
        sent: u64,
        total: u64,
    },
    Incomplete {
        message_id: &'a str,
        received: u64,
        why: &'a str,
    },
    Progress {
        message_id: &'a str,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
    },
    Roster {
        subject: Option<&'a str>,
        user_count: Option<u32>,
        maximum_user_count: Option<u32>,
        active: Option<bool>,
        locked: Option<bool>,
        conf_uris: &'a [String],
        here: usize,
        joined: Vec<User<'a>>,
        changed: Vec<User<'a>>,
        left: Vec<User<'a>>,
    },
    TypeRefused {
        peer: Party<'a>,
        pager: bool,
        wrapped: bool,
        media_type: &'a str,
        until: String,
    },
    RelayFailed {
        why: &'a str,
        required: bool,
    },
    RosterEnded {
        why: &'a str,
    },
    AddAccepted {
        address: &'a str,
    },
    AddRefused {
        address: &'a str,
        status: u16,
        reason: &'a str,
    },
    Nickname {
        nickname: &'a str,
    },
    NicknameRefused {
        nickname: &'a str,
        status: Option<u16>,
        why: &'a str,
    },
    Ended {
        end: End<'a>,
    },
    Explain {
        clause: &'a str,
        decision: &'a str,
        input: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        call_id: Option<&'a str>,
    },
}

impl<'a> From<&'a Incoming> for Payload<'a> {
    fn from(message: &'a Incoming) -> Self {
        let size = match &message.body {
            Body::Inline(octets) => u64::try_from(octets.len()).unwrap_or(u64::MAX),
            Body::Spooled { size, .. } => *size,
        };
        let room = message.room.as_deref();
        let says_all = match &message.body {
            Body::Inline(octets) => content::is_plain(&message.parts, octets),
            Body::Spooled { .. } => false,
        };
        Payload::Message {
            direction: "in",
            message_id: &message.message_id,
            from: (&message.from).into(),
            author: room.and_then(|room| room.author.as_ref()).map(Into::into),
            private: room.is_some_and(|room| room.private),
            own: room.is_some_and(|room| room.own),
            private_to: room.and_then(|room| room.to.as_deref()),
            claimed_from: message.claimed_from.as_deref(),
            sent_at: message.sent_at.as_deref(),
            subject: message.subject.as_deref(),
            expires: message.expires.map(super::seconds),
            content_type: &message.content_type,
            renderable: message.renderable,
            size,
            body_offset: Some(message.body_offset).filter(|offset| *offset > 0),
            authors: parts::authors(&message.authors),
            parts: if says_all { Vec::new() } else { parts::lines(&message.parts) },
        }
    }
}

impl<'a> From<&'a Roster> for Payload<'a> {
    fn from(roster: &'a Roster) -> Self {
        Payload::Roster {
            subject: roster.subject.as_deref(),
            user_count: roster.user_count,
            maximum_user_count: roster.maximum_user_count,
            active: roster.active,
            locked: roster.locked,
            conf_uris: &roster.conf_uris,
            here: roster.here,
            joined: users(&roster.joined),
            changed: users(&roster.changed),
            left: users(&roster.left),
        }
    }
}

/// Users of a conference, as JSON.
pub(crate) fn users(participants: &[Participant]) -> Vec<User<'_>> {
    participants.iter().map(User::from).collect()
}

#[derive(Serialize)]
pub(crate) struct User<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joining_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnection_method: Option<&'static str>,
    anonymous: bool,
}

impl<'a> From<&'a Participant> for User<'a> {
    fn from(user: &'a Participant) -> Self {
        User {
            address: &user.address,
            display_name: user.display_name.as_deref(),
            nickname: user.nickname.as_deref(),
            roles: &user.roles,
            status: user.status.and_then(|status| word(status, &Status::WORDS)),
            joining_method: user.joining_method.and_then(|how| word(how, &Joining::WORDS)),
            disconnection_method: user.disconnection_method.and_then(|how| word(how, &Disconnection::WORDS)),
            anonymous: user.anonymous,
        }
    }
}

/// The word of RFC 4575 for a value.
pub(crate) fn word<T: PartialEq>(value: T, words: &[(&'static str, T)]) -> Option<&'static str> {
    words.iter().find(|(_, known)| *known == value).map(|(word, _)| *word)
}

#[derive(Serialize)]
struct AlsoInvited<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    copy: &'static str,
    count: u32,
}

impl<'a> From<&'a Invitee> for AlsoInvited<'a> {
    fn from(invitee: &'a Invitee) -> Self {
        AlsoInvited {
            address: &invitee.address,
            display_name: invitee.display_name.as_deref(),
            copy: match invitee.copy {
                CopyControl::To => "to",
                CopyControl::Cc => "cc",
                CopyControl::Bcc => "bcc",
            },
            count: invitee.count,
        }
    }
}

#[derive(Serialize)]
struct Signature<'a> {
    proof: &'static str,
    info: Option<&'a str>,
    why: &'a str,
}

impl<'a> From<&'a Identity> for Signature<'a> {
    fn from(Identity { proof, info, why }: &'a Identity) -> Self {
        let proof = match proof {
            Proof::Valid => "valid",
            Proof::UnknownSigner => "unknown_signer",
            Proof::UnsupportedAlgorithm => "unsupported_algorithm",
            Proof::Elsewhere => "elsewhere",
            Proof::Replayed => "replayed",
            Proof::Stale => "stale",
            Proof::WrongSigner => "wrong_signer",
            Proof::Invalid => "invalid",
            Proof::UnsupportedType => "unsupported_type",
        };
        Signature { proof, info: info.as_deref(), why }
    }
}

#[derive(Serialize)]
struct Party<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    verified: bool,
}

impl<'a> From<&'a Peer> for Party<'a> {
    fn from(peer: &'a Peer) -> Self {
        Party { address: &peer.address, display_name: peer.display_name.as_deref(), verified: peer.verified }
    }
}

#[derive(Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
enum End<'a> {
    Left,
    PeerLeft,
    Cancelled {
        elsewhere: bool,
    },
    Declined {
        status: u16,
    },
    NoAnswer,
    Refused {
        status: u16,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    NoAck,
    MediaFailed {
        why: &'a str,
    },
    Lost {
        why: &'a str,
    },
    Replaced {
        by: String,
    },
}

fn end(ended: &Ended, name: impl Fn(SessionId) -> String) -> End<'_> {
    match ended {
        Ended::Left => End::Left,
        Ended::PeerLeft => End::PeerLeft,
        Ended::Cancelled { elsewhere } => End::Cancelled { elsewhere: *elsewhere },
        Ended::Declined { status } => End::Declined { status: *status },
        Ended::NoAnswer => End::NoAnswer,
        Ended::Refused { status, reason, warning, retry_after } => End::Refused {
            status: *status,
            reason,
            warning: warning.as_deref(),
            retry_after: retry_after.map(|after| after.as_secs()),
        },
        Ended::NoAck => End::NoAck,
        Ended::MediaFailed { why } => End::MediaFailed { why },
        Ended::Lost { why } => End::Lost { why },
        Ended::Replaced { by } => End::Replaced { by: name(*by) },
    }
}
