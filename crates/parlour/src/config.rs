//! The configuration file: TOML whose keys are the names of catalogue 5.2. What stands on the command line wins.

mod media;
mod relays;
mod stir;
mod value;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlour_proto::config::{
    Accept, Account, Ack, ActpassAnswer, AnonymousAnswer, BlockedAnswer, ConferenceSubscribe, Config,
    Contact, ContactImdn, CoreKind, Credentials, DeclineScope, Hop, Hours, Imdn, InRooms, LargeMessage,
    PreferredIdentity, Proxy, ReplaceAccept, Stir, Unwanted,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::net::Listen;
use crate::net::tls;

use media::{FileCema, FileMediaSecurity, FileSessmatch};
use stir::{FileStir, FileStirKey};
use value::{
    Text, a_caller, addresses, an_address, each, identities, maybe_address, maybe_anonymous_answer,
    maybe_blocked_answer, maybe_line, maybe_min_se, maybe_msrp, maybe_msrps, maybe_proxy,
    maybe_stream_message, maybe_unwanted,
};

pub(crate) use value::{address, caller, hop, proxy, proxy_text};

/// All that the program is told once.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) proto: Config,
    /// The kind of network, for an account that is not in the file.
    pub(crate) core: CoreKind,
    /// Where SIP listens; empty for the default.
    pub(crate) sip: Vec<Listen>,
    /// Where MSRP listens.
    pub(crate) msrp: Option<Listen>,
    /// Where MSRP over TLS listens.
    pub(crate) msrps: Option<Listen>,
    /// Where everything is kept.
    pub(crate) data: Option<PathBuf>,
    /// Whether anything is kept.
    pub(crate) store: bool,
    /// Octets that are to be left on the disk: with less, no invitation is taken.
    pub(crate) disk_reserve: u64,
    /// Octets of memory above which no invitation is taken; 0 for any.
    pub(crate) memory_limit: u64,
    pub(crate) tls: tls::Files,
    /// Where files lie that come in; in the store without it.
    pub(crate) files: Option<PathBuf>,
    /// Octets of all files that came in, and of those of one peer.
    pub(crate) file_quota: u64,
    pub(crate) file_quota_per_peer: u64,
    /// Files that are remembered, and for how long.
    pub(crate) file_records: usize,
    pub(crate) file_records_per_peer: usize,
    pub(crate) file_record_age: Duration,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFault {
    #[error("{file:?} cannot be read: {error}")]
    Read { file: PathBuf, error: io::Error },
    /// The library's text names line and key.
    #[error("{file:?} is wrong: {error}")]
    Toml { file: PathBuf, error: Box<toml::de::Error> },
    #[error("{file:?} can be read by others: run chmod 600 {}", file.display())]
    Exposed { file: PathBuf },
    #[error("{file:?} holds no password: its first line is empty")]
    NoPassword { file: PathBuf },
    #[error("account {address} has a user but no password_file, or the other way round: give both")]
    HalfCredentials { address: String },
    #[error("account {address}: relay needs relay_user and relay_password_file, and they need relay")]
    HalfRelay { address: String },
    #[error("account {address}: relay: {uri:?} cannot be used: {why}")]
    Relay { address: String, uri: String, why: String },
    #[error("stir_keys: {file:?} cannot be used: {why}")]
    Signer { file: PathBuf, why: String },
    #[error("{0}")]
    Flag(String),
}

impl Settings {
    /// The defaults, without an account.
    pub(crate) fn new() -> Settings {
        Settings {
            proto: Config::default(),
            core: CoreKind::Generic,
            sip: Vec::new(),
            msrp: None,
            msrps: None,
            data: None,
            store: true,
            disk_reserve: 64 * 1024 * 1024,
            memory_limit: 0,
            tls: tls::Files::default(),
            files: None,
            file_quota: 10 * 1024 * 1024 * 1024,
            file_quota_per_peer: 2 * 1024 * 1024 * 1024,
            file_records: 10_000,
            file_records_per_peer: 1_000,
            file_record_age: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }

    /// Reads a file. Relative paths in it are relative to its directory.
    pub(crate) fn read(file: &Path) -> Result<Settings, ConfigFault> {
        let text =
            fs::read_to_string(file).map_err(|error| ConfigFault::Read { file: file.to_owned(), error })?;
        let parsed = toml::from_str::<File>(&text)
            .map_err(|error| ConfigFault::Toml { file: file.to_owned(), error: Box::new(error) })?;
        parsed.settings(file.parent().unwrap_or(Path::new(".")))
    }
}

/// Reads a password: the first line of a file that nobody else can read.
pub(crate) fn password(file: &Path) -> Result<Zeroizing<String>, ConfigFault> {
    let fault = |error| ConfigFault::Read { file: file.to_owned(), error };
    let metadata = fs::metadata(file).map_err(fault)?;
    if metadata.is_dir() {
        return Err(fault(io::ErrorKind::IsADirectory.into()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(ConfigFault::Exposed { file: file.to_owned() });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(fault)?);
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
        None => Err(ConfigFault::NoPassword { file: file.to_owned() }),
    }
}

/// Octets of a large message that is taken unasked, where nothing else is configured.
const LARGE_UNASKED: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accounts: Vec<FileAccount>,
    core: Option<FileCore>,
    vendor: Option<String>,
    accept: Option<FileAccept>,
    #[serde(default, deserialize_with = "each")]
    trusted_hops: Vec<Text<Hop>>,
    stir: Option<FileStir>,
    #[serde(default)]
    contacts: Vec<FileContact>,
    /// Octets.
    page_size: Option<NonZeroUsize>,
    #[serde(default)]
    stir_keys: Vec<FileStirKey>,
    /// Seconds.
    stir_freshness: Option<NonZeroU32>,
    max_sessions: Option<u32>,
    max_pending_invites: Option<NonZeroU32>,
    per_peer_limit: Option<NonZeroU32>,
    /// Seconds.
    ring_timeout: Option<NonZeroU32>,
    /// Seconds; 0 asks for no timer.
    session_expires: Option<u32>,
    /// Seconds.
    #[serde(default, deserialize_with = "maybe_min_se")]
    min_se: Option<u32>,
    decline_scope: Option<FileDeclineScope>,
    replace_accept: Option<FileReplaceAccept>,
    replace_by_same_peer: Option<bool>,
    actpass_answer: Option<FileActpass>,
    media_security: Option<FileMediaSecurity>,
    cema: Option<FileCema>,
    sessmatch: Option<FileSessmatch>,
    advertised_address: Option<IpAddr>,
    bandwidth: Option<u32>,
    max_size: Option<NonZeroU64>,
    /// Octets; 0 for none.
    max_file: Option<u64>,
    /// Octets.
    auto_accept_file: Option<u64>,
    files: Option<PathBuf>,
    /// Octets.
    file_quota: Option<u64>,
    /// Octets.
    file_quota_per_peer: Option<u64>,
    file_records: Option<NonZeroU32>,
    file_records_per_peer: Option<NonZeroU32>,
    file_record_days: Option<NonZeroU32>,
    chunk_size: Option<NonZeroUsize>,
    /// Octets; 0 turns the mode off.
    large_message_max: Option<u64>,
    /// Octets; 0 asks always.
    large_message_unasked: Option<u64>,
    ack: Option<FileAck>,
    preferred_identity: Option<FilePreferred>,
    conference_subscribe: Option<FileConference>,
    send_composing: Option<bool>,
    show_composing: Option<bool>,
    connect_private: Option<bool>,
    #[serde(default)]
    connect_allowed: Vec<Text<Hop>>,
    #[serde(default, deserialize_with = "addresses")]
    blocked: Vec<String>,
    refuse_anonymous: Option<bool>,
    do_not_disturb: Option<bool>,
    #[serde(default, deserialize_with = "each")]
    quiet_hours: Vec<Text<Hours>>,
    #[serde(default, deserialize_with = "maybe_blocked_answer")]
    blocked_answer: Option<BlockedAnswer>,
    #[serde(default, deserialize_with = "maybe_anonymous_answer")]
    anonymous_answer: Option<AnonymousAnswer>,
    #[serde(default, deserialize_with = "maybe_unwanted")]
    unwanted: Option<Unwanted>,
    #[serde(default, deserialize_with = "maybe_address")]
    redirect: Option<String>,
    im_service: Option<bool>,
    /// Seconds; 0 does not say.
    busy_retry_after: Option<u32>,
    /// Octets.
    disk_reserve: Option<u64>,
    /// Octets; 0 for any.
    memory_limit: Option<u64>,
    #[serde(default, deserialize_with = "addresses")]
    store_and_forward: Vec<String>,
    limits: Option<FileLimits>,
    #[serde(default, deserialize_with = "each")]
    sip: Vec<Text<Listen>>,
    #[serde(default, deserialize_with = "maybe_msrp")]
    msrp: Option<Listen>,
    #[serde(default, deserialize_with = "maybe_msrps")]
    msrps: Option<Listen>,
    data: Option<PathBuf>,
    store: Option<bool>,
    tls_ca: Option<PathBuf>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    msrp_certificate: Option<PathBuf>,
    msrp_key: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    #[serde(deserialize_with = "an_address")]
    address: String,
    display_name: Option<String>,
    #[serde(default, deserialize_with = "maybe_proxy")]
    proxy: Option<Proxy>,
    #[serde(default)]
    register: bool,
    #[serde(default)]
    direct: bool,
    /// Seconds.
    register_expires: Option<NonZeroU32>,
    #[serde(default)]
    privacy: bool,
    user: Option<String>,
    password_file: Option<PathBuf>,
    realm: Option<String>,
    #[serde(default)]
    relay: Vec<String>,
    relay_user: Option<String>,
    relay_password_file: Option<PathBuf>,
    relay_realm: Option<String>,
    #[serde(default)]
    relay_required: bool,
    #[serde(default)]
    relay_insecure: bool,
    core: Option<FileCore>,
    #[serde(default, deserialize_with = "maybe_line")]
    access_network: Option<String>,
    #[serde(default, deserialize_with = "addresses")]
    service_route: Vec<String>,
    #[serde(default, deserialize_with = "identities")]
    identities: Vec<String>,
    ask_delivered: Option<bool>,
    ask_displayed: Option<bool>,
    tell_delivered: Option<bool>,
    tell_displayed: Option<bool>,
    tell_unverified: Option<bool>,
    tell_forbidden: Option<bool>,
    #[serde(default)]
    ask_in_rooms: FileInRooms,
    #[serde(default)]
    tell_in_rooms: FileInRooms,
    max_size: Option<NonZeroU64>,
    chunk_size: Option<NonZeroUsize>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum FileInRooms {
    #[default]
    Nothing,
    Delivered,
    Displayed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContact {
    #[serde(deserialize_with = "a_caller")]
    address: String,
    ask_delivered: Option<bool>,
    ask_displayed: Option<bool>,
    tell_delivered: Option<bool>,
    tell_displayed: Option<bool>,
    tell_unverified: Option<bool>,
    tell_forbidden: Option<bool>,
    send_composing: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    #[serde(default, deserialize_with = "maybe_stream_message")]
    stream_message: Option<usize>,
    body: Option<NonZeroUsize>,
    transactions: Option<NonZeroUsize>,
    requests_per_source: Option<NonZeroU32>,
    requests: Option<NonZeroU32>,
    streams_per_source: Option<NonZeroUsize>,
    connects: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileCore {
    Generic,
    Ims,
}

impl From<FileCore> for CoreKind {
    fn from(core: FileCore) -> CoreKind {
        match core {
            FileCore::Generic => CoreKind::Generic,
            FileCore::Ims => CoreKind::Ims,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileAccept {
    Ask,
    Auto,
    All,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileDeclineScope {
    AllDevices,
    ThisDevice,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileReplaceAccept {
    Ask,
    AutoIfActive,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileActpass {
    Auto,
    Active,
    Passive,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileAck {
    Stored,
    Received,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilePreferred {
    Auto,
    Always,
    Never,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileConference {
    Focus,
    Always,
    Never,
}

impl File {
    fn settings(self, base: &Path) -> Result<Settings, ConfigFault> {
        let within = |path: PathBuf| base.join(path);
        let mut settings = Settings::new();
        settings.core = self.core.map_or(CoreKind::Generic, Into::into);
        let proto = &mut settings.proto;
        for account in self.accounts {
            proto.accounts.push(account.account(base, settings.core)?);
        }
        set(&mut proto.vendor, self.vendor);
        set(&mut proto.accept, self.accept.map(Into::into));
        proto.trusted_hops = self.trusted_hops.into_iter().map(|hop| hop.0).collect();
        set(&mut proto.stir, self.stir.map(Into::into));
        proto.stir_keys = stir::keys(self.stir_keys, base)?;
        if proto.stir == Stir::Require && proto.stir_keys.is_empty() {
            return Err(ConfigFault::Flag("stir = \"require\" needs stir_keys: nobody could call".into()));
        }
        proto.contacts = self.contacts.into_iter().map(Into::into).collect();
        set(&mut proto.page_size, self.page_size.map(NonZeroUsize::get));
        set(&mut proto.stir_freshness, self.stir_freshness.map(seconds));
        set(&mut proto.max_sessions, self.max_sessions);
        set(&mut proto.max_pending_invites, self.max_pending_invites.map(NonZeroU32::get));
        set(&mut proto.per_peer_limit, self.per_peer_limit.map(NonZeroU32::get));
        set(&mut proto.ring_timeout, self.ring_timeout.map(seconds));
        let whole = |seconds: u32| Duration::from_secs(seconds.into());
        set(&mut proto.session_expires, self.session_expires.map(whole));
        set(&mut proto.min_se, self.min_se.map(whole));
        let decline_scope = self.decline_scope.map(|scope| match scope {
            FileDeclineScope::AllDevices => DeclineScope::AllDevices,
            FileDeclineScope::ThisDevice => DeclineScope::ThisDevice,
        });
        set(&mut proto.decline_scope, decline_scope);
        let replace_accept = self.replace_accept.map(|accept| match accept {
            FileReplaceAccept::Ask => ReplaceAccept::Ask,
            FileReplaceAccept::AutoIfActive => ReplaceAccept::AutoIfActive,
        });
        set(&mut proto.replace_accept, replace_accept);
        set(&mut proto.replace_by_same_peer, self.replace_by_same_peer);
        let actpass_answer = self.actpass_answer.map(|answer| match answer {
            FileActpass::Auto => ActpassAnswer::Auto,
            FileActpass::Active => ActpassAnswer::Active,
            FileActpass::Passive => ActpassAnswer::Passive,
        });
        set(&mut proto.actpass_answer, actpass_answer);
        set(&mut proto.media_security, self.media_security.map(Into::into));
        set(&mut proto.cema, self.cema.map(Into::into));
        set(&mut proto.sessmatch, self.sessmatch.map(Into::into));
        proto.advertised_address = self.advertised_address;
        proto.bandwidth = self.bandwidth;
        set(&mut proto.max_size, self.max_size.map(NonZeroU64::get));
        set(&mut proto.max_file, self.max_file);
        set(&mut proto.auto_accept_file, self.auto_accept_file);
        set(&mut proto.chunk_size, self.chunk_size.map(NonZeroUsize::get));
        let unasked = self.large_message_unasked.unwrap_or(LARGE_UNASKED);
        let most = self.large_message_max.filter(|most| *most > 0);
        proto.large_message = most.map(|most| LargeMessage { most, unasked });
        let ack = self.ack.map(|ack| match ack {
            FileAck::Stored => Ack::Stored,
            FileAck::Received => Ack::Received,
        });
        set(&mut proto.ack, ack);
        let preferred_identity = self.preferred_identity.map(|preferred| match preferred {
            FilePreferred::Auto => PreferredIdentity::Auto,
            FilePreferred::Always => PreferredIdentity::Always,
            FilePreferred::Never => PreferredIdentity::Never,
        });
        set(&mut proto.preferred_identity, preferred_identity);
        let conference_subscribe = self.conference_subscribe.map(|which| match which {
            FileConference::Focus => ConferenceSubscribe::Focus,
            FileConference::Always => ConferenceSubscribe::Always,
            FileConference::Never => ConferenceSubscribe::Never,
        });
        set(&mut proto.conference_subscribe, conference_subscribe);
        set(&mut proto.send_composing, self.send_composing);
        set(&mut proto.show_composing, self.show_composing);
        set(&mut proto.connect_private, self.connect_private);
        proto.connect_allowed = self.connect_allowed.into_iter().map(|hop| hop.0).collect();
        proto.blocked = self.blocked;
        set(&mut proto.refuse_anonymous, self.refuse_anonymous);
        set(&mut proto.do_not_disturb, self.do_not_disturb);
        proto.quiet_hours = self.quiet_hours.into_iter().map(|hours| hours.0).collect();
        set(&mut proto.blocked_answer, self.blocked_answer);
        set(&mut proto.anonymous_answer, self.anonymous_answer);
        set(&mut proto.unwanted, self.unwanted);
        proto.redirect = self.redirect;
        set(&mut proto.im_service, self.im_service);
        set(&mut proto.busy_retry_after, self.busy_retry_after.map(whole));
        set(&mut settings.disk_reserve, self.disk_reserve);
        set(&mut settings.file_quota, self.file_quota);
        set(&mut settings.file_quota_per_peer, self.file_quota_per_peer);
        let records = |most: Option<NonZeroU32>| Some(usize::try_from(most?.get()).unwrap_or(usize::MAX));
        set(&mut settings.file_records, records(self.file_records));
        set(&mut settings.file_records_per_peer, records(self.file_records_per_peer));
        let age = |days: NonZeroU32| Duration::from_secs(u64::from(days.get()).saturating_mul(24 * 60 * 60));
        set(&mut settings.file_record_age, self.file_record_days.map(age));
        set(&mut settings.memory_limit, self.memory_limit);
        proto.store_and_forward = self.store_and_forward;
        if let Some(limits) = self.limits {
            limits.apply(&mut proto.limits);
        }
        settings.sip = self.sip.into_iter().map(|at| at.0).collect();
        settings.msrp = self.msrp;
        settings.msrps = self.msrps;
        settings.data = self.data.map(within);
        settings.files = self.files.map(within);
        set(&mut settings.store, self.store);
        settings.tls = tls::Files {
            ca: self.tls_ca.map(within),
            certificate: self.tls_certificate.map(within),
            key: self.tls_key.map(within),
            msrp_certificate: self.msrp_certificate.map(within),
            msrp_key: self.msrp_key.map(within),
        };
        Ok(settings)
    }
}

impl FileAccount {
    fn account(self, base: &Path, core: CoreKind) -> Result<Account, ConfigFault> {
        let credentials = match (self.user, self.password_file) {
            (Some(username), Some(file)) => {
                Some(Credentials { username, password: password(&base.join(file))?, realm: self.realm })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(ConfigFault::HalfCredentials { address: self.address });
            }
        };
        let relays = relays::read(
            &self.address,
            &self.relay,
            (self.relay_user, self.relay_password_file.map(|file| base.join(file)), self.relay_realm),
            (self.relay_required, self.relay_insecure),
        )?;
        let mut imdn = Imdn::default();
        set(&mut imdn.ask_delivered, self.ask_delivered);
        set(&mut imdn.ask_displayed, self.ask_displayed);
        set(&mut imdn.tell_delivered, self.tell_delivered);
        set(&mut imdn.tell_displayed, self.tell_displayed);
        set(&mut imdn.tell_unverified, self.tell_unverified);
        set(&mut imdn.tell_forbidden, self.tell_forbidden);
        (imdn.ask_in_rooms, imdn.tell_in_rooms) = (self.ask_in_rooms.into(), self.tell_in_rooms.into());
        Ok(Account {
            address: self.address,
            display_name: self.display_name,
            proxy: self.proxy,
            register: self.register,
            direct: self.direct,
            register_expires: self.register_expires.map_or(Duration::from_secs(3600), seconds),
            privacy: self.privacy,
            credentials,
            core: self.core.map_or(core, Into::into),
            access_network: self.access_network,
            service_route: self.service_route,
            identities: self.identities,
            relays,
            imdn,
            max_size: self.max_size.map(NonZeroU64::get),
            chunk_size: self.chunk_size.map(NonZeroUsize::get),
        })
    }
}

impl FileLimits {
    fn apply(self, limits: &mut parlour_proto::config::Limits) {
        set(&mut limits.stream_message, self.stream_message);
        set(&mut limits.body, self.body.map(NonZeroUsize::get));
        set(&mut limits.transactions, self.transactions.map(NonZeroUsize::get));
        set(&mut limits.requests_per_source, self.requests_per_source.map(NonZeroU32::get));
        set(&mut limits.requests, self.requests.map(NonZeroU32::get));
        set(&mut limits.streams_per_source, self.streams_per_source.map(NonZeroUsize::get));
        set(&mut limits.connects, self.connects.map(NonZeroU32::get));
    }
}

impl From<FileContact> for Contact {
    fn from(contact: FileContact) -> Contact {
        let imdn = ContactImdn {
            ask_delivered: contact.ask_delivered,
            ask_displayed: contact.ask_displayed,
            tell_delivered: contact.tell_delivered,
            tell_displayed: contact.tell_displayed,
            tell_unverified: contact.tell_unverified,
            tell_forbidden: contact.tell_forbidden,
        };
        Contact { address: contact.address, imdn, send_composing: contact.send_composing }
    }
}

impl From<FileInRooms> for InRooms {
    fn from(told: FileInRooms) -> InRooms {
        match told {
            FileInRooms::Nothing => InRooms::Nothing,
            FileInRooms::Delivered => InRooms::Delivered,
            FileInRooms::Displayed => InRooms::Displayed,
        }
    }
}

impl From<FileAccept> for Accept {
    fn from(accept: FileAccept) -> Accept {
        match accept {
            FileAccept::Ask => Accept::Ask,
            FileAccept::Auto => Accept::Auto,
            FileAccept::All => Accept::All,
        }
    }
}

fn seconds(seconds: NonZeroU32) -> Duration {
    Duration::from_secs(seconds.get().into())
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests;
