//! Who is not let in by our own policy, before any user is troubled.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{BlockedAnswer, CoreKind, Unwanted};
use crate::event::{Ended, Peer, What};
use crate::fault::{PeerFault, later};
use crate::im::Core;
use crate::im::account::Account;
use crate::im::flows::Source;
use crate::im::screen::abilities;
use crate::im::session::{Phase, Session};
use crate::im::stir::Finding;
use crate::io::{AccountId, FlowId, Instant, SessionId, Transport};
use crate::schedule;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::uri::{Uri, aor, is_anonymous};
use crate::verb::Blocked;

/// How long a caller whose refused invitation was told is not told again.
const NOTICE_PAUSE: Duration = Duration::from_secs(60);

/// Callers who are told in that time; of more, nothing is told.
const NOTICES: usize = 64;

impl Core {
    /// Who calls an account that registers comes the way of its registrar, or of a trusted hop; calls that come straight
    /// are for those who want them.
    //= IM X-2
    pub(crate) fn comes_by_registrar(&self, flow: FlowId, account: AccountId) -> Result<(), PeerFault> {
        let Some(account) = self.account(account) else { return Ok(()) };
        // an IMS core is the only one that an IMS client listens to, registered or not.
        //= IM R-65
        let takes_all =
            account.core == CoreKind::Generic && (account.direct || !account.registration.is_wanted());
        if takes_all || self.trust(flow).is_some() || is_registrars(self.source(flow), account) {
            return Ok(());
        }
        Err(PeerFault::NotByRegistrar)
    }

    /// The code of a refusal that says that the caller is unwanted, and why it is that. RFC 8197 4: a registrar that takes
    /// 607 says so, and only what came by its way goes back by its way.
    pub(crate) fn unwanted(&self, session: &Session) -> (u16, &'static str, &'static str) {
        let taken = self.account(session.account).is_some_and(|account| {
            account.registration.takes_unwanted() && is_registrars(session.source, account)
        });
        match (self.config.unwanted, taken) {
            (Unwanted::Unwanted, _) => (607, "Unwanted", "the user said: unwanted; `unwanted` is 607"),
            (Unwanted::Auto, true) => {
                (607, "Unwanted", "the user said: unwanted, and the registrar takes that (sip.607)")
            }
            (Unwanted::Auto, false) => {
                (603, "Decline", "the user said: unwanted; 607 only by way of a registrar that says sip.607")
            }
            (Unwanted::Decline, _) => (603, "Decline", "the user said: unwanted; `unwanted` is 603"),
        }
    }

    /// Blocked or anonymous (catalogue 1.3 rows 6 and 7), or of no name that is proven where one has to be.
    //= IM G-1c
    pub(crate) fn is_welcome(&self, peer: &Peer, signature: &Finding) -> Result<(), PeerFault> {
        if !self.config.im_service {
            return Err(PeerFault::ServiceOff);
        }
        if self.blocked.has(peer) {
            return Err(PeerFault::Blocked(self.config.blocked_answer));
        }
        let is_nobody = Uri::parse(peer.address.as_bytes()).is_ok_and(|uri| is_anonymous(&uri));
        if self.config.refuse_anonymous && is_nobody {
            return Err(PeerFault::Anonymous(self.config.anonymous_answer));
        }
        // What a trusted core asserts is proof enough: it has done its own verifying.
        if !peer.verified {
            self.is_signed_enough(signature)?;
        }
        Ok(())
    }

    /// The same, or any caller while nobody may disturb (catalogue 1.3 row 8).
    //= IM G-1c
    pub(crate) fn is_wanted(&self, peer: &Peer, signature: &Finding) -> Result<(), PeerFault> {
        self.is_welcome(peer, signature)?;
        if let Some(to) = &self.config.redirect {
            return Err(PeerFault::Redirected(to.clone()));
        }
        if self.config.do_not_disturb {
            return Err(PeerFault::DoNotDisturb(None));
        }
        let unix = i64::try_from(self.now.unix.as_secs()).unwrap_or(i64::MAX);
        let local = unix.saturating_add(self.utc_offset.into());
        schedule::quiet(&self.config.quiet_hours, local)
            .map_or(Ok(()), |quiet| Err(PeerFault::DoNotDisturb(Some(quiet))))
    }

    /// An invitation is refused unseen: the user learns of it as missed, unless it is one that he does not want to hear of.
    /// Who calls again and again is told once a minute.
    //= IM R-2
    //= IM X-10
    pub(crate) fn missed(
        &mut self,
        account: AccountId,
        peer: &Peer,
        request: &Message<'_>,
        fault: &PeerFault,
    ) {
        let tells = !matches!(
            fault,
            PeerFault::Blocked(_) | PeerFault::Anonymous(_) | PeerFault::ServiceOff | PeerFault::RingsAlready
        );
        if tells && self.notices.admit(self.now.instant, peer) {
            let status = fault.refused(request, &abilities(request.method()), "", 0).status;
            let why = Ended::Declined { status };
            self.tell(account, None, What::Missed { peer: peer.clone(), why });
        }
    }

    /// What the user blocks from now on; those of them who ring are refused.
    pub(crate) fn set_blocked(&mut self, blocked: &[Blocked]) {
        self.blocked = BlockList::new(&self.config.blocked);
        blocked.iter().for_each(|blocked| self.blocked.add(&blocked.address, blocked.verified));
        let is_blocked = |id: &SessionId| {
            let session = self.sessions.get(*id);
            session.is_some_and(|session| self.blocked.has(&session.peer))
        };
        let ringing: Vec<SessionId> = self.sessions.ringing_ids().filter(is_blocked).collect();
        for session in ringing.into_iter().filter_map(|id| self.sessions.take(id)).collect::<Vec<Session>>() {
            let (status, reason) = match self.config.blocked_answer {
                BlockedAnswer::Unavailable => (480, "Temporarily Unavailable"),
                BlockedAnswer::Decline => (603, "Decline"),
                BlockedAnswer::Busy => (486, "Busy Here"),
            };
            debug_assert!(matches!(session.phase, Phase::Invited(_)), "invariant: it rings");
            self.reject(
                session,
                status,
                reason,
                Ended::Declined { status },
                "G-1c",
                "the user has blocked the caller",
            );
        }
    }

    /// When a caller may try again who is told that we are busy (catalogue 1.3 row 1).
    pub(crate) fn busy_rows(&self, status: u16) -> Vec<(Name, String)> {
        let after = u32::try_from(self.config.busy_retry_after.as_secs()).ok();
        if status == 486 { later(after.filter(|after| *after > 0), None) } else { Vec::new() }
    }
}

/// Whether a request came the way of the account's registrar. Datagrams may bear any address: they count only where the
/// registrar itself is spoken to by them. A stream of its own making is as good as ours: a registrar that has lost our
/// connection calls us on a new one.
fn is_registrars(came: Source, account: &Account) -> bool {
    account.registration.registrar().is_some_and(|registrar| {
        came.address == registrar.address
            && (came.transport != Transport::Udp || registrar.transport == Transport::Udp)
    })
}

/// Whose invitations never reach the user, by address of record.
//= IM X-4
#[derive(Debug, Default)]
pub(crate) struct BlockList {
    /// Whoever bears, or claims, the address.
    all: BTreeSet<String>,
    /// Who claims the address without anybody vouching: who is vouched for is another.
    unverified: BTreeSet<String>,
}

impl BlockList {
    pub(crate) fn new(addresses: &[String]) -> Self {
        let mut list = BlockList::default();
        addresses.iter().for_each(|address| list.add(address, true));
        list
    }

    fn add(&mut self, address: &str, verified: bool) {
        let list = if verified { &mut self.all } else { &mut self.unverified };
        if let Some(key) = key(address) {
            list.insert(key);
        }
    }

    pub(crate) fn has(&self, peer: &Peer) -> bool {
        if self.all.is_empty() && self.unverified.is_empty() {
            return false;
        }
        let Some(key) = key(&peer.address) else { return false };
        self.all.contains(&key) || (!peer.verified && self.unverified.contains(&key))
    }
}

/// The same for all ways to write an address; none for callers who are nobody.
pub(crate) fn key(address: &str) -> Option<String> {
    match Uri::parse(address.as_bytes()) {
        Ok(uri) if is_anonymous(&uri) => None,
        Ok(uri) => Some(aor(&uri)),
        Err(_) => Some(address.to_owned()),
    }
}

/// Whose refused invitations were told a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    told: Vec<(Instant, Peer)>,
}

impl Notices {
    fn admit(&mut self, now: Instant, peer: &Peer) -> bool {
        self.told.retain(|(at, _)| now - *at < NOTICE_PAUSE);
        let known =
            self.told.iter().any(|(_, told)| told.address == peer.address && told.verified == peer.verified);
        if known || self.told.len() >= NOTICES {
            return false;
        }
        self.told.push((now, peer.clone()));
        true
    }
}
