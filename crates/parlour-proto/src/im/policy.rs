//! Who is not let in by our own policy, before any user is troubled.

use crate::event::Peer;
use crate::fault::PeerFault;
use crate::im::Core;
use crate::io::{AccountId, FlowId, Transport};
use crate::sip::uri::{Uri, is_anonymous, same_identity};

impl Core {
    /// Who calls an account that registers comes the way of its registrar, or of a trusted hop; calls that come straight
    /// are for those who want them.
    //= IM X-2
    pub(crate) fn comes_by_registrar(&self, flow: FlowId, account: AccountId) -> Result<(), PeerFault> {
        let Some(account) = self.account(account) else { return Ok(()) };
        if account.direct || !account.registration.is_wanted() || self.trust(flow).is_some() {
            return Ok(());
        }
        let came = self.source(flow);
        let registrar = account.registration.registrar();
        // Datagrams may bear any address: they count only where the registrar itself is spoken to by them. A stream of
        // its own making is as good as ours: a registrar that has lost our connection calls us on a new one.
        let same = registrar.is_some_and(|registrar| {
            came.address == registrar.address
                && (came.transport != Transport::Udp || registrar.transport == Transport::Udp)
        });
        if same { Ok(()) } else { Err(PeerFault::NotByRegistrar) }
    }

    /// Blocked, anonymous, or any caller while nobody may disturb (catalogue 1.3 rows 6 to 8).
    //= IM G-1c
    pub(crate) fn is_wanted(&self, peer: &Peer) -> Result<(), PeerFault> {
        let uri = Uri::parse(peer.address.as_bytes());
        //= IM X-4
        let is_peer = |blocked: &String| match (&uri, Uri::parse(blocked.as_bytes())) {
            (Ok(uri), Ok(blocked)) => same_identity(uri, &blocked),
            (Ok(_) | Err(_), _) => *blocked == peer.address,
        };
        if self.config.blocked.iter().any(is_peer) {
            return Err(PeerFault::Blocked);
        }
        if self.config.refuse_anonymous && uri.is_ok_and(|uri| is_anonymous(&uri)) {
            return Err(PeerFault::Anonymous);
        }
        if self.config.do_not_disturb { Err(PeerFault::DoNotDisturb) } else { Ok(()) }
    }
}
