//! Where descriptions make us connect to, and the guard on it (RFC 4975 14.5, X-22).

use std::net::{IpAddr, SocketAddr};

use parlour_msrp::ConnectionId;
use parlour_msrp::uri::MsrpUri;

use crate::config::Proxy;
use crate::im::Core;
use crate::im::core::Errand;
use crate::im::flows::{Source, Stream, covered};
use crate::im::media::Chat;
use crate::im::session::Session;
use crate::io::{AccountId, FlowId, Output, Service, Target, Transport};
use crate::sdp;
use crate::sip::dialog::Role;

/// The most addresses of one name that are tried: whoever owns a name says where it leads.
pub(crate) const MOST_ADDRESSES: usize = 4;

/// The same where a peer names it whom no trusted core vouches for: one of each family is enough to reach who is there.
pub(crate) const FEW_ADDRESSES: usize = 2;

impl Core {
    /// MSRP wants a connection: to an address at once, to a name after its look-up.
    pub(crate) fn connect(
        &mut self,
        connection: ConnectionId,
        session: parlour_msrp::SessionId,
        to: &MsrpUri,
    ) {
        // D-2: a URI in SDP has an explicit port; 2855 is the registered one (RFC 4975 15.4).
        let port = to.port().unwrap_or(2855);
        self.explain_hop(session);
        match to.ip() {
            Some(address) => self.connect_to(connection, session, to.is_secure(), port, &[address]),
            None => {
                let transport = if to.is_secure() { Transport::Tls } else { Transport::Tcp };
                let hop = Proxy { host: to.host().to_owned(), port: Some(port), transport };
                self.look_up(Errand::Connect(connection, session), hop);
            }
        }
    }

    /// That we do not connect to where the path leads.
    fn explain_hop(&mut self, msrp: parlour_msrp::SessionId) {
        let (Some((account, id)), Some(stream)) = (self.sessions.owner_of(msrp), self.stream_of(msrp)) else {
            return;
        };
        let Some(hop) = &stream.hop else { return };
        let (clause, decision) = match stream.cema {
            true => ("D-15", "connected to c= and m=, as both ends know msrp-cema"),
            false => ("D-16", "connected to c= and m=, which somebody has changed, and not to the path"),
        };
        let input = format!("{hop}; the path: {}", stream.path);
        self.explain(account, Some(id), clause, decision, &input);
    }

    /// MSRP is done with a connection. If its address is still being looked up, nobody wants that any more.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        self.hang_up_relay(connection);
        let flow = FlowId::Stream(connection.0);
        if self.flows.closed(flow).is_some() {
            self.outputs.push_back(Output::Close { flow });
        } else {
            self.lookups
                .retain(|_, (errand, _)| !matches!(errand, Errand::Connect(of, _) | Errand::Relay(of) if *of == connection));
        }
    }

    /// Connects to the addresses that the guard lets through: to the one that answers first.
    //= IM M-16
    //= IM X-22
    pub(crate) fn connect_to(
        &mut self,
        connection: ConnectionId,
        msrp: parlour_msrp::SessionId,
        tls: bool,
        port: u16,
        addresses: &[IpAddr],
    ) {
        let now = self.now.instant;
        let owner = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.get(id));
        let caller = owner.and_then(|session| session.source.address);
        let trusted = owner.is_some_and(|session| session.source.trusted);
        let (account, id) = match owner {
            Some(session) => (session.account, Some(session.id)),
            None => (AccountId(0), None),
        };
        let refused = |core: &mut Core, address: &IpAddr, why: &str| {
            let input = format!("the description names {address} port {port}");
            core.explain(account, id, "X-22", format!("not connected: {why}"), &input);
        };
        let (may, not): (Vec<IpAddr>, Vec<IpAddr>) =
            addresses.iter().partition(|address| self.guarded(**address, port, caller).is_ok());
        for address in not.iter().take(MOST_ADDRESSES) {
            let why = self.guarded(*address, port, caller).err();
            refused(self, address, why.unwrap_or_default());
        }
        let stranger = caller.filter(|caller| !trusted && !caller.to_canonical().is_loopback());
        let most = if trusted { MOST_ADDRESSES } else { FEW_ADDRESSES };
        let mut turns = in_turn(&may, most);
        if let (Some(stranger), Some(first)) = (stranger, turns.first().copied())
            && !self.connects_of.admit(now, stranger)
        {
            turns.clear();
            refused(self, &first, "the peer has had us connect too often within a second");
        }
        let mut may = Vec::new();
        for address in turns {
            if self.connects.admit(now, address) {
                may.push(SocketAddr::new(address, port));
            } else {
                refused(self, &address, "too many connects in one second");
            }
        }
        let mut may = may.into_iter();
        let Some(address) = may.next() else {
            return self.msrp.handle(now, parlour_msrp::Input::Closed { connection });
        };
        let flow = FlowId::Stream(connection.0);
        let to = Target {
            service: Service::Msrp,
            transport: if tls { Transport::Tls } else { Transport::Tcp },
            address,
            others: may.collect(),
            tls: tls.then(|| self.expectation(msrp)).flatten(),
            websocket: None,
        };
        self.flows.opened(flow, Stream::asked_for(&to, now), usize::MAX);
        self.outputs.push_back(Output::Open { flow, to });
    }

    /// Whether a description may lead there, as told by who speaks from `caller`.
    fn guarded(&self, address: IpAddr, port: u16, caller: Option<IpAddr>) -> Result<(), &'static str> {
        if covered(&self.config.connect_allowed, address) {
            return Ok(());
        }
        guard(address, port, caller, self.flows.is_own(address), self.config.connect_private)
    }

    /// Why an offer that makes us connect cannot be taken, when its path names an address: the user is not troubled with
    /// a session that cannot be. A name is judged when it has been looked up.
    pub(crate) fn aims_badly(
        &self,
        account: AccountId,
        flow: FlowId,
        stream: &sdp::Stream,
    ) -> Option<&'static str> {
        if self.acts_for(account, Some(stream.tls)) {
            // Then it is the relay that connects, and nobody else is connected to.
            return None;
        }
        let target = stream.target();
        let address = target.ip().filter(|_| stream.role == sdp::Role::Active)?;
        let caller = self.flows.peer(flow).map(|peer| peer.ip());
        self.guarded(address, target.port().unwrap_or(2855), caller).err()
    }

    /// Why a line may not be taken beside the others: who is not trusted makes us connect to one place with one description.
    //= IM X-22
    pub(crate) fn aims_elsewhere(
        &self,
        account: AccountId,
        flow: FlowId,
        judged: &sdp::Judged,
        stream: &sdp::Stream,
    ) -> Option<&'static str> {
        if self.trust(flow).is_some() || self.acts_for(account, Some(stream.tls)) {
            return None;
        }
        let active = |stream: &&sdp::Stream| stream.role == sdp::Role::Active;
        let first = judged.streams().find(active)?.target();
        let stream = Some(stream).filter(active)?.target();
        (!first.same_device(stream)).then_some("it would have us connect elsewhere than the other lines")
    }

    /// Whether a dialog may lead there: Contact and Record-Route must not aim our requests at a victim either.
    pub(crate) fn may_reach(&self, source: Source, hop: &Proxy, address: IpAddr) -> bool {
        source.trusted || self.guarded(address, hop.port.unwrap_or(5060), source.address).is_ok()
    }

    /// Whether a SUBSCRIBE may go there because a Contact says isfocus. It is sent unasked, again and again, so it goes to
    /// nobody who has not spoken first: to where the peer speaks from, or to a hop that is trusted. Everything else takes
    /// the way that made the session, on which a proxy passes it on.
    //= IM X-22
    pub(crate) fn may_follow(&self, source: Source, hop: &Proxy, address: IpAddr) -> bool {
        let is_known = source.address == Some(address) || covered(&self.config.trusted_hops, address);
        source.trusted || (is_known && self.may_reach(source, hop, address))
    }

    /// Whether the peer's description may make us connect at all: without an offer of its own, only if a trusted core
    /// passed it on, or it names the very address that it speaks from (S-1a, X-22).
    pub(crate) fn may_aim(&self, source: Source, stream: &sdp::Stream) -> bool {
        if stream.role == sdp::Role::Passive || source.trusted {
            return true;
        }
        let target = stream.target().ip();
        target.is_some() && target == source.address
    }

    /// The same for the answer to a later offer: it may also name the host where the media of the session was. And RFC 6714
    /// 6.2: without CEMA it is the middlebox that answers. Whom we have called may name that one, as it could have in its
    /// first answer.
    pub(crate) fn may_aim_again(&self, session: &Session, stream: &sdp::Stream) -> bool {
        let host = stream.target().host();
        let called = session.phase.dialog().is_some_and(|dialog| dialog.role() == Role::Uac);
        let fell_back = |chat: &Chat| chat.stream.fall_back != sdp::FallBack::No;
        self.may_aim(session.source, stream)
            || (called && session.phase.chat().is_some_and(fell_back))
            || session.phase.chat().is_some_and(|chat| chat.stream.target().host().eq_ignore_ascii_case(host))
    }
}

/// The addresses of a name in the order in which they are tried. RFC 8305 4: they came in the order of preference (RFC 6724),
/// of which the families take turns, so that one that does not work costs one try.
pub(crate) fn in_turn(addresses: &[IpAddr], most: usize) -> Vec<IpAddr> {
    let first = addresses.first().is_some_and(IpAddr::is_ipv6);
    let of = |v6: bool| addresses.iter().filter(move |address| address.is_ipv6() == v6);
    let (mut preferred, mut other) = (of(first), of(!first));
    let mut turns = Vec::with_capacity(most);
    while turns.len() < most {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            break;
        }
        turns.extend(pair.into_iter().flatten());
    }
    turns.truncate(most);
    turns
}

/// Where a peer's description may not make us connect to (RFC 4975 14.5).
//= IM X-22
fn guard(
    address: IpAddr,
    port: u16,
    caller: Option<IpAddr>,
    own: bool,
    private: bool,
) -> Result<(), &'static str> {
    let address = address.to_canonical();
    let local_call = caller.is_some_and(|caller| caller.to_canonical().is_loopback());
    if address.is_loopback() && !local_call {
        return Err("the address is this machine's own, and the peer is elsewhere");
    }
    if own && caller != Some(address) && !local_call {
        return Err("the address is our own, and the peer is elsewhere");
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err("the address is no single host's");
    }
    let (link_local, broadcast, own_range) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast(), v4.is_private()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false, v6.is_unique_local()),
    };
    if link_local || broadcast {
        return Err("the address is link-local or broadcast");
    }
    if own_range && !private {
        return Err("the address is private, and connect_private is off");
    }
    if port < 1024 && port != 443 {
        return Err("the port is a privileged one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM M-16 test
    #[test]
    fn families_take_turns_and_the_one_that_is_preferred_begins() {
        let turns = |addresses: &str| {
            let addresses: Vec<IpAddr> = addresses.split(' ').filter_map(|it| it.parse().ok()).collect();
            let turns: Vec<_> = in_turn(&addresses, MOST_ADDRESSES).iter().map(ToString::to_string).collect();
            turns.join(" ")
        };
        assert_eq!(turns("::a ::b ::c 192.0.2.1 192.0.2.2"), "::a 192.0.2.1 ::b 192.0.2.2");
        assert_eq!(turns("192.0.2.1 192.0.2.2 ::a"), "192.0.2.1 ::a 192.0.2.2");
        assert_eq!(turns("::a ::b ::c ::d ::e"), "::a ::b ::c ::d", "four are enough");
        assert_eq!(turns(""), "");
    }

    #[test]
    //= IM X-22 test
    fn x_22_a_description_cannot_aim_us_at_a_victim() {
        let at = |address: &str| address.parse::<IpAddr>().unwrap();
        let elsewhere = Some(at("192.0.2.1"));
        for victim in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "fe80::1",
        ] {
            assert!(guard(at(victim), 2855, elsewhere, false, true).is_err(), "{victim}");
            assert!(guard(at(victim), 2855, None, false, true).is_err(), "{victim}");
        }
        assert_eq!(guard(at("127.0.0.1"), 2855, Some(at("127.0.0.9")), true, true), Ok(()));
        assert_eq!(guard(at("198.51.100.7"), 2855, elsewhere, false, true), Ok(()));
        assert!(guard(at("198.51.100.7"), 25, elsewhere, false, true).is_err());
        assert_eq!(guard(at("198.51.100.7"), 443, elsewhere, false, true), Ok(()));
        assert!(guard(at("192.0.2.9"), 2855, elsewhere, true, true).is_err(), "our own address");
        assert_eq!(guard(at("192.0.2.9"), 2855, Some(at("192.0.2.9")), true, true), Ok(()));
        assert_eq!(guard(at("10.0.0.7"), 2855, elsewhere, false, true), Ok(()));
        assert!(guard(at("10.0.0.7"), 2855, elsewhere, false, false).is_err());
    }
}
