//! The MSRP side of a session: what our descriptions say.

use std::net::IpAddr;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{Remote, SessionSpec};

use crate::config::{Config, MediaSecurity};
use crate::im::Core;
use crate::im::file_unwrap::WRAPPING;
use crate::im::large::Large;
use crate::im::secure::trust;
use crate::im::session::Session;
use crate::io::{AccountId, FlowId, SessionId};
use crate::mime::content::{self, Listed, Treatment};
use crate::mime::{composing, cpim, imdn};
use crate::sdp::{self, Capabilities, Local, Offered};

/// The types that we take: those that we know what to do with, and what the configuration adds.
//= IM M-14
pub(crate) fn receivable(config: &Config) -> AcceptTypes {
    let listed = |wanted: Listed| content::KNOWN.iter().filter(move |(.., listed)| *listed == wanted);
    let name = |(name, ..): &(&'static str, Treatment, Listed)| *name;
    let mut types = AcceptTypes::new(listed(Listed::Root).map(name), listed(Listed::Wrapped).map(name));
    //= IM M-40
    // RFC 3994 4: negotiated like any other media type.
    if config.show_composing {
        types.add_types(composing::MEDIA_TYPE);
        types.add_wrapped_types(composing::MEDIA_TYPE);
    }
    //= IM M-50
    // Servers that find it missing deliver nothing.
    types.add_wrapped_types(imdn::MEDIA_TYPE);
    types
}

/// An offer of ours: the MSRP sessions are ready for a peer that comes before its answer does. Those of files are in
/// [`Core::files`].
#[derive(Debug)]
pub(crate) struct OwnOffer {
    pub(crate) offered: Offered,
    /// The chat's; None if only files are offered.
    pub(crate) msrp: Option<parlour_msrp::SessionId>,
    /// Our end, as the offer tells it.
    pub(crate) local: Local,
}

/// What is agreed on, but for files: these are in [`Core::files`].
#[derive(Debug)]
pub(crate) struct Agreed {
    /// None if the session is for files alone, or while the stream is disabled (D-55).
    pub(crate) chat: Option<Chat>,
    /// The origin of the peer's last description, to tell a refresh from a change (D-50).
    pub(crate) origin: sdp::Origin,
    /// Our last description.
    pub(crate) description: Box<[u8]>,
    /// Our end, as it tells it: of the chat, and what stands in `o=`.
    pub(crate) local: Local,
    /// Whether the first offer of the session was ours.
    pub(crate) offerer: bool,
}

/// The stream for messages.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) msrp: parlour_msrp::SessionId,
    pub(crate) stream: sdp::Stream,
}

impl Agreed {
    pub(crate) fn new(
        chat: Option<(parlour_msrp::SessionId, sdp::Stream)>,
        origin: sdp::Origin,
        description: &[u8],
        local: Local,
    ) -> Self {
        let chat = chat.map(|(msrp, stream)| Chat { msrp, stream });
        Agreed { chat, origin, description: description.into(), local, offerer: false }
    }
}

impl Core {
    /// What we can do for a peer at the end of this flow.
    pub(crate) fn capabilities(&self, account: AccountId, flow: FlowId) -> Capabilities {
        let address = self.media_address(flow);
        let security = self.config.media_security;
        // Behind a relay peers reach us whether or not we listen.
        let listens = |tls| {
            self.acts_for(account, Some(tls))
                || address.is_some_and(|address| self.flows.msrp_port(address, tls).is_some())
        };
        Capabilities {
            receivable: self.receivable.clone(),
            sendable: vec!["text/plain".to_owned()],
            max_size: self.takes(account, None),
            max_file: self.config.max_file,
            ipv4: address.is_none_or(|address| address.is_ipv4()),
            ipv6: address.is_none_or(|address| address.is_ipv6()),
            fingerprints: self.config.fingerprints.clone(),
            prefers_tls: security != MediaSecurity::AllowPlain,
            plain: security != MediaSecurity::RequireTls,
            listens: listens(false),
            listens_tls: listens(true),
            connects: true,
            reachable: listens(false) || listens(true),
            actpass_answer: self.config.actpass_answer,
            cema: self.cema(flow),
            names: sdp::Names::default(),
            relay: self.acts_for(account, None),
            bandwidth: self.config.bandwidth,
        }
    }

    /// The same in a session.
    pub(crate) fn capabilities_in(&self, session: &Session) -> Capabilities {
        let max_size = self.takes(session.account, session.large);
        Capabilities { max_size, ..self.capabilities(session.account, session.flow) }
    }

    /// The largest message that is taken: it depends on what a session is for, and on the account.
    pub(crate) fn takes(&self, account: AccountId, large: Option<Large>) -> u64 {
        let own = self.account(account).and_then(|account| account.max_size);
        match large {
            Some(Large::Awaited(most)) => most,
            Some(Large::Here | Large::Ours | Large::Sent) | None => own.unwrap_or(self.config.max_size),
        }
    }

    /// Whether our own offers are for TLS.
    //= IM D-21
    pub(crate) fn prefers_tls(&self) -> bool {
        self.config.media_security != MediaSecurity::AllowPlain
    }

    /// Our end of a new session with a peer at the end of this flow. `tls` is what its offer asks for; `None` makes the end
    /// of an offer of ours, by policy and as a relay of ours has it.
    pub(crate) fn local_media(
        &mut self,
        account: AccountId,
        flow: FlowId,
        tls: Option<bool>,
    ) -> Option<Local> {
        let relayed = tls.or(self.prefers_tls().then_some(true));
        if let Some(path) = self.take_relay(account, relayed) {
            let session_id = self.random.bits() >> 2;
            return Some(Local::behind(self.media_address(flow)?, path, session_id, 1));
        }
        // For whoever comes next, or again.
        self.want_relay(account);
        let tls = tls.unwrap_or(self.prefers_tls());
        if self.needs_relay(account) { None } else { self.direct_media(flow, tls) }
    }

    /// The same without a relay.
    pub(crate) fn direct_media(&mut self, flow: FlowId, tls: bool) -> Option<Local> {
        let address = self.media_address(flow)?;
        // Without a listener we are active, and the port is never told.
        let port = self.flows.msrp_port(address, tls).unwrap_or(9);
        //= IM D-5
        let ident = self.random.ident(24);
        // RFC 4566 5.2: a numeric string; 62 bits stay within what peers parse.
        let session_id = self.random.bits() >> 2;
        Local::new(tls, address, port, &ident, session_id, 1).ok()
    }

    fn media_address(&self, flow: FlowId) -> Option<IpAddr> {
        let own = self.flows.local(flow)?.ip();
        let told = match self.config.advertised_address {
            Some(advertised) if advertised.is_ipv4() == own.is_ipv4() => advertised,
            _ => own,
        };
        // 0.0.0.0 is no address, and was a sign of hold once.
        (!told.is_unspecified()).then_some(told)
    }

    /// Registers an agreed session with MSRP. A passive end is ready when this returns (S-8).
    //= IM D-14
    pub(crate) fn open_media(
        &mut self,
        owner: (AccountId, SessionId),
        local: &MsrpUri,
        stream: &sdp::Stream,
    ) -> parlour_msrp::SessionId {
        let spec = self.stream_spec(owner.0, local, stream);
        let msrp = self.msrp.open(self.now.instant, spec);
        self.msrp.pause(self.now.instant, msrp, !stream.direction.sends());
        self.sessions.index_msrp(msrp, owner);
        msrp
    }

    /// Registers the end of a session that is not accepted yet with MSRP: its peer may connect already. See
    /// [`Core::start_media`].
    pub(crate) fn expect_media(
        &mut self,
        owner: (AccountId, SessionId),
        local: &MsrpUri,
        stream: &sdp::Stream,
    ) -> parlour_msrp::SessionId {
        let spec = self.stream_spec(owner.0, local, stream);
        let msrp = self.msrp.expect(self.now.instant, spec);
        self.sessions.index_msrp(msrp, owner);
        msrp
    }

    /// Our end of a stream, by way of the relay that acts for it.
    fn stream_spec(&mut self, account: AccountId, local: &MsrpUri, stream: &sdp::Stream) -> SessionSpec {
        let via = self.use_lease(local);
        self.spec(account, local, &stream.listed, remote(stream)).with(|spec| {
            spec.via = via;
            spec.max_size = self.largest(stream);
        })
    }

    /// The largest message that we take on a stream: a file comes as one.
    fn largest(&self, stream: &sdp::Stream) -> u64 {
        match &stream.file {
            Some(file) => {
                let wrapping = if stream.listed.accepts_root(cpim::MEDIA_TYPE) { WRAPPING } else { 0 };
                file.length().unwrap_or(u64::MAX).min(stream.takes).saturating_add(wrapping)
            }
            None => stream.takes,
        }
    }

    /// A session that was settled before it was accepted begins.
    pub(crate) fn start_media(&mut self, agreed: &Agreed) {
        let Some(Chat { msrp, stream }) = &agreed.chat else { return };
        self.msrp.agree(self.now.instant, *msrp, remote(stream));
    }

    /// Makes an offer for a session with a peer at the end of this flow.
    pub(crate) fn make_offer(&mut self, owner: (AccountId, SessionId), flow: FlowId) -> Option<OwnOffer> {
        self.make_offer_under(owner, flow, &sdp::Preconditions::default())
    }

    /// Makes an offer under preconditions.
    pub(crate) fn make_offer_under(
        &mut self,
        owner: (AccountId, SessionId),
        flow: FlowId,
        preconditions: &sdp::Preconditions,
    ) -> Option<OwnOffer> {
        let local = self.local_media(owner.0, flow, None)?;
        let offered = sdp::offer_under(&local, &self.capabilities(owner.0, flow), preconditions);
        self.expect(owner, local, offered)
    }

    /// Registers our end of an offer with MSRP.
    pub(crate) fn expect(
        &mut self,
        owner: (AccountId, SessionId),
        local: Local,
        offered: Offered,
    ) -> Option<OwnOffer> {
        let nobody = MsrpPath::new(vec![offered.path.clone()]).ok()?;
        let nobody = Remote::new(nobody, parlour_msrp::Role::Passive);
        let via = self.use_lease(&offered.path);
        let spec = self.spec(owner.0, &offered.path, &offered.listed, nobody).with(|spec| {
            spec.via = via;
            spec.max_size = offered.takes;
        });
        let msrp = self.msrp.expect(self.now.instant, spec);
        self.sessions.index_msrp(msrp, owner);
        let local = local.settled(offered.path.clone());
        Some(OwnOffer { offered, msrp: Some(msrp), local })
    }

    /// Nothing comes of an offer of ours.
    pub(crate) fn drop_offer(&mut self, own: &OwnOffer) {
        if let Some(msrp) = own.msrp {
            self.refuse_unproven(msrp);
            self.msrp.close(self.now.instant, msrp);
            self.sessions.forget_msrp(msrp);
        }
    }

    /// The answer to an offer of ours is here.
    pub(crate) fn agree(&mut self, own: &OwnOffer, stream: sdp::Stream, origin: sdp::Origin) -> Agreed {
        let chat = own.msrp.map(|msrp| {
            self.msrp.agree(self.now.instant, msrp, remote(&stream));
            self.msrp.pause(self.now.instant, msrp, !stream.direction.sends());
            (msrp, stream)
        });
        let agreed = Agreed::new(chat, origin, &own.offered.octets, own.local.clone());
        Agreed { offerer: true, ..agreed }
    }

    /// What is the same for all MSRP sessions of an account.
    //= IM M-4
    pub(crate) fn spec(
        &self,
        account: AccountId,
        local: &MsrpUri,
        listed: &AcceptTypes,
        remote: Remote,
    ) -> SessionSpec {
        let piece = self.account(account).and_then(|account| account.chunk_size);
        let mut accept = listed.clone();
        // RFC 4975 7.3.1 and 14.3: a peer may send these to every endpoint, whatever its description lists.
        accept.add_entries(content::taken_unlisted());
        SessionSpec::new(local.clone(), remote.path.clone(), remote.role, accept).with(|spec| {
            spec.remote = remote;
            spec.matching = self.config.sessmatch;
            spec.chunk_size = piece.unwrap_or(self.config.chunk_size);
            // Who names pieces for an account knows its relays.
            spec.relayed_chunk_size = piece.unwrap_or(spec.relayed_chunk_size);
        })
    }
}

/// What MSRP is told of the other end.
pub(crate) fn remote(stream: &sdp::Stream) -> Remote {
    let role = match stream.role {
        sdp::Role::Active => parlour_msrp::Role::Active,
        sdp::Role::Passive => parlour_msrp::Role::Passive,
    };
    Remote::new(stream.path.clone(), role).with(|remote| {
        remote.hop = stream.hop.clone();
        remote.max_size = stream.max_size;
        remote.trust = trust(stream);
    })
}
