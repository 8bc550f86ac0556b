//! All sessions, and the ways to find one.

use std::collections::{BTreeMap, BTreeSet};

use parlour_msrp::random::Random;
use parlour_msrp::table::Table;

use crate::event::Peer;
use crate::im::groups::Groups;
use crate::im::session::{Phase, Session};
use crate::im::tombstones::Tombstones;
use crate::io::{AccountId, FlowId, SessionId};
use crate::sip::dialog::{Dialog, DialogKey};
use crate::sip::tx::ServerId;

/// All sessions, and the ways to find one.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// In boxes, as a B-tree leaves half of its places empty.
    map: BTreeMap<SessionId, Box<Session>>,
    by_dialog: Table<DialogKey, SessionId>,
    /// Early dialogs of invitations of ours.
    by_early: Table<DialogKey, SessionId>,
    pub(crate) tombstones: Tombstones,
    by_invite: BTreeMap<ServerId, SessionId>,
    by_msrp: BTreeMap<parlour_msrp::SessionId, (AccountId, SessionId)>,
    by_peer: Groups<String>,
    by_conversation: Groups<(AccountId, Box<str>)>,
    standing: usize,
    ringing: BTreeSet<SessionId>,
    parting: usize,
    suspended: usize,
    given: u64,
    /// Look-ups of dialogs, counted.
    #[cfg(test)]
    pub(crate) looked_up: std::cell::Cell<usize>,
}

impl Sessions {
    pub(crate) fn new(random: &mut Random) -> Self {
        Sessions {
            map: BTreeMap::new(),
            by_dialog: Table::new(random.hash_keys()),
            by_early: Table::new(random.hash_keys()),
            tombstones: Tombstones::new(random.hash_keys()),
            by_invite: BTreeMap::new(),
            by_msrp: BTreeMap::new(),
            by_peer: Groups::new(random.hash_keys()),
            by_conversation: Groups::new(random.hash_keys()),
            standing: 0,
            ringing: BTreeSet::new(),
            parting: 0,
            suspended: 0,
            given: 0,
            #[cfg(test)]
            looked_up: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn fresh_id(&mut self) -> SessionId {
        self.given = self.given.saturating_add(1);
        SessionId(self.given)
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.map.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.map.get_mut(&id).map(Box::as_mut)
    }

    /// Takes a session out to change its state. Give it back with [`Sessions::put`], or forget it with
    /// [`Sessions::forget_dialog`] and its kin.
    pub(crate) fn take(&mut self, id: SessionId) -> Option<Session> {
        let session = *self.map.remove(&id)?;
        self.standing = self.standing.saturating_sub(usize::from(session.phase.is_session()));
        self.ringing.remove(&id);
        self.parting = self.parting.saturating_sub(usize::from(session.phase.is_parting()));
        self.suspended = self.suspended.saturating_sub(usize::from(session.phase.is_suspended()));
        self.by_peer.remove(&session.peer.address, id);
        if let Some(conversation) = &session.ties.conversation {
            self.by_conversation.remove(&(session.account, conversation.clone()), id);
        }
        if let Phase::Inviting(inviting) = &session.phase {
            for early in &inviting.early {
                self.by_early.remove(early);
            }
        }
        Some(session)
    }

    pub(crate) fn put(&mut self, session: Session) {
        self.standing = self.standing.saturating_add(usize::from(session.phase.is_session()));
        if matches!(session.phase, Phase::Invited(_)) && !session.phase.awaits_store() {
            self.ringing.insert(session.id);
        }
        self.parting = self.parting.saturating_add(usize::from(session.phase.is_parting()));
        self.suspended = self.suspended.saturating_add(usize::from(session.phase.is_suspended()));
        self.by_peer.add(session.peer.address.clone(), session.id);
        if let Some(conversation) = &session.ties.conversation {
            self.by_conversation.add((session.account, conversation.clone()), session.id);
        }
        if let Phase::Inviting(inviting) = &session.phase {
            for early in &inviting.early {
                self.by_early.insert(early.clone(), session.id);
            }
        }
        self.map.insert(session.id, Box::new(session));
    }

    pub(crate) fn index_dialog(&mut self, dialog: &Dialog, id: SessionId) {
        self.by_dialog.insert(dialog.key(), id);
    }

    pub(crate) fn forget_dialog(&mut self, dialog: &Dialog) {
        self.by_dialog.remove(&dialog.key());
    }

    pub(crate) fn by_dialog(&self, key: &DialogKey) -> Option<SessionId> {
        #[cfg(test)]
        self.looked_up.set(self.looked_up.get() + 1);
        self.by_dialog.get(key).copied()
    }

    /// The invitation of ours that a provisional response has made this dialog of.
    pub(crate) fn by_early(&self, key: &DialogKey) -> Option<SessionId> {
        #[cfg(test)]
        self.looked_up.set(self.looked_up.get() + 1);
        self.by_early.get(key).copied()
    }

    /// The sessions of a conversation.
    pub(crate) fn by_conversation(&self, account: AccountId, conversation: &str) -> &[SessionId] {
        self.by_conversation.get(&(account, Box::from(conversation)))
    }

    /// Sessions and invitations with this peer.
    pub(crate) fn by_peer(&self, address: &str) -> &[SessionId] {
        self.by_peer.get(address)
    }

    pub(crate) fn index_invite(&mut self, invite: ServerId, id: SessionId) {
        self.by_invite.insert(invite, id);
    }

    pub(crate) fn forget_invite(&mut self, invite: ServerId) {
        self.by_invite.remove(&invite);
    }

    pub(crate) fn by_invite(&self, invite: ServerId) -> Option<SessionId> {
        self.by_invite.get(&invite).copied()
    }

    pub(crate) fn index_msrp(&mut self, msrp: parlour_msrp::SessionId, owner: (AccountId, SessionId)) {
        self.by_msrp.insert(msrp, owner);
    }

    pub(crate) fn forget_msrp(&mut self, msrp: parlour_msrp::SessionId) {
        self.by_msrp.remove(&msrp);
    }

    pub(crate) fn by_msrp(&self, msrp: parlour_msrp::SessionId) -> Option<SessionId> {
        self.owner_of(msrp).map(|(_, id)| id)
    }

    /// Also while the session is taken out: what becomes of its last messages is told as it ends.
    pub(crate) fn owner_of(&self, msrp: parlour_msrp::SessionId) -> Option<(AccountId, SessionId)> {
        self.by_msrp.get(&msrp).copied()
    }

    /// Sessions whose invitation, or next request, waits for this flow to stand.
    pub(crate) fn waiting_for(&self, flow: FlowId) -> Vec<SessionId> {
        let waits = |session: &Session| match &session.phase {
            Phase::Inviting(inviting) => session.flow == flow && inviting.sent.is_none(),
            Phase::Live(live) => live.renewal.as_ref().is_some_and(|renewal| renewal.waits_for(flow)),
            Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_) => false,
        };
        self.map.values().filter(|session| waits(session)).map(|session| session.id).collect()
    }

    /// All ids, oldest first.
    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.map.keys().copied().collect()
    }

    /// Those that the user knows of, and that are not over for him.
    pub(crate) fn len(&self) -> usize {
        self.map.len().saturating_sub(self.parting).saturating_sub(self.suspended)
    }

    /// Invitations that the user does not know of yet.
    pub(crate) fn suspended(&self) -> usize {
        self.suspended
    }

    /// Those that are over for the user, and whose BYE goes on.
    pub(crate) fn parting(&self) -> usize {
        self.parting
    }

    /// Sessions that are confirmed, or accepted and waiting for the ACK.
    pub(crate) fn standing(&self) -> usize {
        self.standing
    }

    /// Invitations that wait for the user.
    pub(crate) fn ringing(&self) -> usize {
        self.ringing.len()
    }

    /// Which these are, oldest first.
    pub(crate) fn ringing_ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.ringing.iter().copied()
    }

    /// Whether an invitation of this peer waits for the user. Who is vouched for is another than who claims the same.
    pub(crate) fn is_ringing(&self, peer: &Peer) -> bool {
        self.ringing
            .iter()
            .filter_map(|id| self.map.get(id))
            .any(|session| session.peer.address == peer.address && session.peer.verified == peer.verified)
    }

    /// Sessions and invitations with this peer.
    pub(crate) fn with_peer(&self, address: &str) -> u32 {
        u32::try_from(self.by_peer(address).len()).unwrap_or(u32::MAX)
    }
}
