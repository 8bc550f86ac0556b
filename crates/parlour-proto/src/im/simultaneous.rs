//! How many IM Sessions at once (catalogue 2.1).

use std::time::Duration;

use crate::config::Accept;
use crate::event::Peer;
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::replaces::Replacement;
use crate::verb::Shortage;

/// How long no invitation is taken after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(30);

impl Core {
    /// Whether there is the means for a new session and what it would bring, and the time. After a failure of the
    /// store they are refused for a while, then tried again: only a message shows whether it works.
    //= IM G-1b
    pub(crate) fn resources(&self) -> Result<(), PeerFault> {
        let failed = self.store_failed.is_some_and(|at| self.now.instant - at < STORE_PAUSE);
        let short = match self.shortage {
            _ if self.leaving => Some(Shortage::Ending),
            None => failed.then_some(Shortage::Store),
            short => short,
        };
        short.map_or(Ok(()), |short| Err(PeerFault::Short(short)))
    }

    /// The same for a message that comes without a session: it needs no connection and no file of its own.
    pub(crate) fn resources_for_message(&self) -> Result<(), PeerFault> {
        match self.resources() {
            Err(PeerFault::Short(Shortage::Descriptors)) => Ok(()),
            other => other,
        }
    }

    /// Whether what is left of the disk is not for files.
    pub(crate) fn is_disk_short(&self) -> bool {
        self.shortage == Some(Shortage::Disk)
    }

    /// Whether one more invitation of this peer is let in to the user.
    //= IM R-2
    //= IM R-6
    pub(crate) fn room_to_ring(&self, peer: &Peer) -> Result<(), PeerFault> {
        self.resources()?;
        self.room_for_session()?;
        let pending = usize::try_from(self.config.max_pending_invites).unwrap_or(usize::MAX);
        let asks = match self.config.accept {
            Accept::Ask => true,
            Accept::Auto => !peer.verified,
            Accept::All => false,
        };
        // Where the user has allowed everybody everything, one peer may have everything.
        let many = self.config.accept != Accept::All
            && self.sessions.with_peer(&peer.address) >= self.config.per_peer_limit;
        if many || (asks && self.sessions.ringing() >= pending) {
            return Err(PeerFault::InvitationLimit);
        }
        //= IM X-10
        if asks && self.sessions.is_ringing(peer) { Err(PeerFault::RingsAlready) } else { Ok(()) }
    }

    /// The same for an invitation that takes the place of a session: there are no more sessions afterwards, so nobody is
    /// too busy for it. If the user is asked, it waits like others.
    //= IM G-1a
    pub(crate) fn room_to_replace(&self, replacement: &Replacement) -> Result<(), PeerFault> {
        self.resources()?;
        let pending = usize::try_from(self.config.max_pending_invites).unwrap_or(usize::MAX);
        let full = !self.replaces_unasked(replacement) && self.sessions.ringing() >= pending;
        if full { Err(PeerFault::InvitationLimit) } else { Ok(()) }
    }

    /// Whether one more session is taken (R-1: confirmed, or accepted and waiting for the ACK).
    //= IM G-1a
    //= IM R-1
    pub(crate) fn room_for_session(&self) -> Result<(), PeerFault> {
        let limit = usize::try_from(self.config.max_sessions).unwrap_or(usize::MAX);
        if limit != 0 && self.sessions.standing() >= limit { Err(PeerFault::SessionLimit) } else { Ok(()) }
    }
}
