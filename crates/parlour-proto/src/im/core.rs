//! The state that the procedures share, and the few ways to change it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use parlour_msrp::Endpoint;
use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::random::Random;
use parlour_msrp::table::HashKeys;
use parlour_msrp::timer::{TimerId, Timers};

use crate::config::{Config, Contact, Proxy};
use crate::event::{Ended, Event, Explain, FileStop, Invitation, Notice, What};
use crate::im::account::Account;
use crate::im::chat::Came;
use crate::im::files::Files;
use crate::im::flows::{Flows, Source, Stream, TrustedCore, literal};
use crate::im::gate::Gate;
use crate::im::imdn::Pending;
use crate::im::learned::Learned;
use crate::im::media::receivable;
use crate::im::names::{Asker, Inquiry};
use crate::im::page::Lanes;
use crate::im::pager::Pages;
use crate::im::policy::{self, BlockList, Notices};
use crate::im::prack::Fork;
use crate::im::refer::Referrals;
use crate::im::relays::Relays;
use crate::im::session::{Phase, Session};
use crate::im::sessions::Sessions;
use crate::im::stir::Signatures;
use crate::im::subscription::Subscriptions;
use crate::io::{AccountId, FlowId, Instant, Now, Output, QueryId, Receipt, SessionId, Why};
use crate::sip::dialog::Dialog;
use crate::sip::message::Kept;
use crate::sip::tx::{self, ClientId, Transactions};
use crate::text;
use crate::verb::{FileRoom, Shortage};

/// Characters of an input that are told with a decision.
const LONGEST_INPUT: usize = 500;

/// Everything a client knows.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) random: Random,
    pub(crate) tx: Transactions,
    pub(crate) msrp: Endpoint,
    /// When MSRP wants to be woken.
    pub(crate) msrp_deadline: Option<Instant>,
    pub(crate) flows: Flows,
    pub(crate) gate: Gate,
    /// Bounds the connects that descriptions make us start.
    pub(crate) connects: Gate,
    /// Bounds those of one peer whom no trusted core vouches for.
    pub(crate) connects_of: Gate,
    pub(crate) accounts: Vec<Account>,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) referrals: Referrals,
    pub(crate) files: Files,
    pub(crate) relays: Relays,
    pub(crate) timers: Timers<Deadline>,
    pub(crate) requests: BTreeMap<ClientId, Purpose>,
    pub(crate) lookups: BTreeMap<QueryId, (Errand, Proxy)>,
    /// Names that have to be known before something is decided.
    pub(crate) inquiries: BTreeMap<Asker, Inquiry>,
    pub(crate) outputs: VecDeque<Output>,
    /// When the store last failed to keep a message.
    pub(crate) store_failed: Option<Instant>,
    /// Whether everything is being left: nobody is let in any more.
    pub(crate) leaving: bool,
    /// What the shell says that there is too little of.
    pub(crate) shortage: Option<Shortage>,
    /// For how much there is room: no larger file is accepted unasked.
    pub(crate) file_room: FileRoom,
    /// Seconds that local time is ahead of UTC.
    pub(crate) utc_offset: i32,
    pub(crate) blocked: BlockList,
    /// Whose refused invitations were told lately.
    pub(crate) notices: Notices,
    /// Signatures of callers that were seen lately.
    pub(crate) signatures: Signatures,
    /// The invitation that is being judged: decisions are about it.
    pub(crate) hearing: Option<Invitation>,
    /// How many invitations were heard.
    pub(crate) heard: u64,
    /// For the To tags of responses that no transaction keeps.
    pub(crate) stateless_keys: HashKeys,
    /// Received messages whose authors ask what became of them, until the store has spoken.
    pub(crate) asked: BTreeMap<Receipt, Pending>,
    /// Messages of pager mode that the store has not judged.
    pub(crate) pages: Pages,
    /// What is to leave in pager mode.
    pub(crate) lanes: Lanes,
    /// Notifications that are out in sessions, by the Message-ID of their SEND.
    pub(crate) told: BTreeMap<String, (AccountId, Vec<Notice>)>,
    /// Contacts for whom something else holds than for others, by address of record.
    pub(crate) contacts: BTreeMap<String, Contact>,
    /// Messages that came over TLS before the answer that tells whose they may be.
    pub(crate) unproven: BTreeMap<parlour_msrp::SessionId, Vec<Came>>,
    /// What peers have refused.
    pub(crate) learned: Learned,
    /// What every description of ours lists, at most.
    pub(crate) receivable: AcceptTypes,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    Session(SessionId, Why),
    Account(AccountId, Why),
    /// The conference state of a session.
    Subscription(SessionId, Why),
    /// A REFER whose focus still tells how it fares.
    Referral(u64),
    /// Dialogs that ended are forgotten (P-3).
    Tombstones,
    /// Notifications to one address have gathered, or are tried again.
    Page(u64),
    /// A peer that does not finish a message.
    Flow(FlowId),
    /// A 2xx to our INVITE comes again no more.
    Accepted(ClientId),
}

/// What one of our requests is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Invite(SessionId),
    /// An INVITE that got its 2xx, which may come again, or from another fork.
    Accepted(Box<Accepted>),
    /// CANCEL, or BYE to a fork that nobody wants: nothing follows from its answer.
    Cancel,
    Bye(SessionId),
    /// PRACK in the early dialog with this remote tag.
    Prack(SessionId, Box<str>),
    /// INVITE or UPDATE inside a session.
    Renew(SessionId),
    /// INVITE inside a session that is over.
    Late(Box<Late>),
    Register(AccountId),
    Subscribe(SessionId),
    Refer(u64),
    /// MESSAGE to the address of a lane.
    Page(u64),
}

/// What a repeated 2xx to our INVITE is answered with (RFC 3261 13.2.2.4).
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) account: AccountId,
    pub(crate) request: Kept,
    /// The way of the INVITE.
    pub(crate) flow: FlowId,
    pub(crate) source: Source,
    /// The ACK of each fork that answered; the session's own comes first.
    pub(crate) acks: Vec<Acknowledged>,
    /// The early dialogs of forks that have not answered.
    pub(crate) forks: Vec<Fork>,
}

/// What is left of an INVITE of ours inside a session that is over: a 2xx is acknowledged all the same.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    pub(crate) account: AccountId,
    pub(crate) dialog: Dialog,
    pub(crate) request: Kept,
    /// The way of the session.
    pub(crate) flow: FlowId,
    pub(crate) source: Source,
    /// When it is forgotten.
    pub(crate) timer: TimerId,
}

/// The ACK that one fork got.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) remote_tag: Box<str>,
    pub(crate) flow: FlowId,
    pub(crate) ack: Box<[u8]>,
}

/// Who waits for the address of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    Invite(SessionId),
    Register(AccountId),
    Bye(SessionId),
    Renew(SessionId),
    Subscribe(SessionId),
    Page(u64),
    /// An MSRP connection: the look-up is of the first URI of the peer's path.
    Connect(parlour_msrp::ConnectionId, parlour_msrp::SessionId),
    /// Where something leads is compared.
    Compare(Asker),
    /// A connection to a relay of ours.
    Relay(parlour_msrp::ConnectionId),
}

impl Core {
    pub(crate) fn new(config: Config, seed: [u8; 32]) -> Self {
        let mut random = Random::new(seed);
        let limits = tx::Limits { server: config.limits.transactions, client: config.limits.transactions };
        let tx = Transactions::new(random.hash_keys(), limits);
        let msrp = Endpoint::new(config.limits.msrp.clone(), Random::new(random.fork()));
        let accounts = config.accounts.iter().map(|account| Account::new(account, &mut random)).collect();
        let stateless_keys = random.hash_keys();
        let blocked = BlockList::new(&config.blocked);
        let receivable = receivable(&config);
        let contact = |contact: &Contact| Some((policy::key(&contact.address)?, contact.clone()));
        let contacts = config.contacts.iter().filter_map(contact).collect();
        let gate_keys = random.hash_keys();
        let connect_keys = random.hash_keys();
        let mut core = Core {
            gate: Gate::new(config.limits.requests_per_source, config.limits.requests, gate_keys),
            connects: Gate::new(config.limits.connects, config.limits.connects, connect_keys),
            connects_of: Gate::new(config.limits.connects_per_peer, u32::MAX, connect_keys),
            sessions: Sessions::new(&mut random),
            subscriptions: Subscriptions::default(),
            referrals: Referrals::default(),
            files: Files::default(),
            relays: Relays::default(),
            now: Now { instant: Instant::ZERO, unix: std::time::Duration::ZERO },
            config,
            random,
            tx,
            msrp,
            msrp_deadline: None,
            flows: Flows::default(),
            accounts,
            timers: Timers::default(),
            requests: BTreeMap::new(),
            lookups: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            unproven: BTreeMap::new(),
            outputs: VecDeque::new(),
            store_failed: None,
            leaving: false,
            shortage: None,
            file_room: FileRoom::default(),
            utc_offset: 0,
            blocked,
            notices: Notices::default(),
            signatures: Signatures::default(),
            hearing: None,
            heard: 0,
            stateless_keys,
            asked: BTreeMap::new(),
            pages: Pages::default(),
            lanes: Lanes::default(),
            told: BTreeMap::new(),
            contacts,
            learned: Learned::default(),
            receivable,
        };
        core.add_relays();
        core
    }

    /// The proof that a flow is the core's, if it is.
    pub(crate) fn trust(&self, flow: FlowId) -> Option<TrustedCore> {
        let registered = self.accounts.iter().filter_map(Account::registered_flow);
        self.flows.trust(flow, &self.config.trusted_hops, registered)
    }

    /// Who is at the other end of a flow.
    pub(crate) fn source(&self, flow: FlowId) -> Source {
        Source {
            address: self.flows.peer(flow).map(|peer| peer.ip()),
            transport: self.flows.transport(flow),
            trusted: self.trust(flow).is_some(),
        }
    }

    pub(crate) fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn tell(&mut self, account: AccountId, session: Option<SessionId>, what: What) {
        self.outputs.push_back(Output::Event(Event { account, session, what }));
    }

    /// Says why something was decided (design.md: every refusal, silence and fallback).
    pub(crate) fn explain(
        &mut self,
        account: AccountId,
        session: Option<SessionId>,
        clause: &'static str,
        decision: impl Into<String>,
        input: &str,
    ) {
        if !self.config.explain {
            return;
        }
        let input = text::neutral_within(input, LONGEST_INPUT);
        let (decision, invitation) = (decision.into(), self.hearing.clone());
        self.tell(account, session, What::Explain(Explain { clause, decision, input, invitation }));
    }

    pub(crate) fn send(&mut self, flow: FlowId, bytes: Vec<u8>) {
        if self.flows.is_usable(flow) {
            self.outputs.push_back(Output::Send { flow, bytes });
        }
    }

    /// Sends a stamped request in a transaction of its own.
    pub(crate) fn dispatch(&mut self, flow: FlowId, request: Vec<u8>, purpose: Purpose) -> ClientId {
        let client = self.tx.request(self.now.instant, flow, request);
        self.requests.insert(client, purpose);
        client
    }

    /// Arms, or moves, the deadline of a session for a reason.
    pub(crate) fn arm(&mut self, session: &mut Session, why: Why, at: Instant) {
        self.disarm(session, why);
        let timer = self.timers.arm(at, Deadline::Session(session.id, why));
        session.timers.push((why, timer));
    }

    pub(crate) fn disarm(&mut self, session: &mut Session, why: Why) {
        session.timers.retain(|(reason, timer)| {
            let keep = *reason != why;
            if !keep {
                self.timers.cancel(*timer);
            }
            keep
        });
    }

    pub(crate) fn disarm_all(&mut self, session: &mut Session) {
        for (_, timer) in session.timers.drain(..) {
            self.timers.cancel(timer);
        }
    }

    /// Forgets a session that was taken out, and says how it ended.
    pub(crate) fn end(&mut self, mut session: Session, ended: Ended) {
        self.fail_queue(&mut session, &ended);
        let (account, id) = (session.account, session.id);
        // Of what the user was not told, he hears only that he has missed it.
        let told = (!session.phase.is_suspended()).then_some(id);
        let refused = if let Ended::Refused { status, .. } = &ended { Some(*status) } else { None };
        let what = match &session.phase {
            Phase::Invited(_) => What::Missed { peer: session.peer.clone(), why: ended },
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => {
                What::Ended(ended)
            }
        };
        if let (Phase::Inviting(_), Some(status)) = (&session.phase, refused) {
            let files = self.files.ids(id).to_vec();
            // Who is busy, or not there, has not said that he does not want them.
            let stop = match status {
                408 | 480 | 500..600 => FileStop::Interrupted { why: format!("the answer was {status}") },
                _ => FileStop::Declined,
            };
            self.stop_offered(&files, &stop);
        }
        self.forget(session);
        self.tell(account, told, what);
    }

    /// Forgets a session that was taken out.
    pub(crate) fn forget(&mut self, mut session: Session) {
        self.unsubscribe(session.id);
        self.inquiries.remove(&Asker::Session(session.id));
        self.disarm_all(&mut session);
        self.fail_queue(&mut session, &Ended::Left);
        self.drop_renewal(&mut session);
        self.drop_asking(&mut session, "the session is over");
        self.refuse_held(&mut session);
        self.drop_files(session.id);
        self.drop_media(&session);
        if let Some(dialog) = session.phase.dialog() {
            self.sessions.forget_dialog(dialog);
            self.bury(&dialog.key());
        }
        if let Phase::Inviting(inviting) = &session.phase {
            inviting.early.iter().for_each(|key| self.bury(key));
        }
        if let Phase::Invited(invited) = &session.phase {
            self.sessions.forget_invite(invited.invite);
        }
    }

    /// Closes the MSRP session of a session that goes.
    pub(crate) fn drop_media(&mut self, session: &Session) {
        if let Some(msrp) = session.phase.msrp() {
            // Of the media of an invitation the user hears only once he has accepted it.
            if matches!(session.phase, Phase::Invited(_)) {
                self.sessions.forget_msrp(msrp);
            }
            self.msrp.close(self.now.instant, msrp);
            self.pump_msrp();
            self.sessions.forget_msrp(msrp);
        }
    }

    /// The flow to a next hop; `None` while its name is looked up, after which the errand is run again.
    pub(crate) fn reach(&mut self, errand: Errand, hop: &Proxy) -> Option<Result<FlowId, String>> {
        match literal(&hop.host) {
            Some(address) => Some(self.reach_at(hop, &[address])),
            None => {
                self.look_up(errand, hop.clone());
                None
            }
        }
    }

    /// Looks the name of a next hop up, after which the errand is run.
    pub(crate) fn look_up(&mut self, errand: Errand, hop: Proxy) {
        let query = self.flows.query();
        self.outputs.push_back(Output::Resolve { query, name: hop.host.clone() });
        self.lookups.insert(query, (errand, hop));
    }

    /// The flow to a next hop whose addresses are known.
    pub(crate) fn reach_at(&mut self, hop: &Proxy, addresses: &[IpAddr]) -> Result<FlowId, String> {
        if addresses.is_empty() {
            return Err(format!("{} has no address", text::neutral(&hop.host)));
        }
        let Some((flow, target)) = self.flows.toward(hop, addresses) else {
            return Err(format!(
                "no UDP socket of ours has the address family of {}",
                text::neutral(&hop.host)
            ));
        };
        if let Some(to) = target {
            let stream = Stream::asked_for(&to, self.now.instant);
            self.flows.opened(flow, stream, usize::MAX);
            self.outputs.push_back(Output::Open { flow, to });
        }
        Ok(flow)
    }
}
