//! Server transactions: the table, and the hands of the machines.

pub(super) mod machine;

use std::net::SocketAddr;

use parlour_msrp::table::{HashKeys, Table};
use parlour_msrp::time::Instant;

use self::machine::{Action, Event, Invite, Other};
use super::key::{self, As, Print};
use super::timer::{Clock, Due};
use super::{Incoming, ServerId, Shared, Side, TxOutput, is_reliable, make, via};
use crate::io::FlowId;
use crate::sip::header::Via;
use crate::sip::message::{Kept, Message};
use crate::sip::method::Method;

#[derive(Debug)]
pub(super) struct Servers {
    table: Table<Print, Box<Transaction>>,
    /// What tells a merged request, for each transaction that came first with it.
    merges: Table<Print, ()>,
    limit: usize,
}

#[derive(Debug)]
pub(super) struct Transaction {
    serial: u64,
    state: State,
    /// Where the responses go.
    flow: FlowId,
    /// Until the final response.
    pending: Option<Box<Pending>>,
    /// The response that a retransmitted request gets; empty if there is none.
    last: Box<[u8]>,
    merge: Option<Print>,
    clock: Clock,
}

/// What responses are made from.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: Kept,
    pub(super) source: SocketAddr,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Invite(Invite),
    Other(Other),
}

impl Servers {
    pub(super) fn new(keys: HashKeys, limit: usize) -> Self {
        Servers { table: Table::new(keys), merges: Table::new(keys), limit }
    }

    pub(super) fn receive(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        flow: FlowId,
        source: SocketAddr,
        request: &Message<'_>,
        via: &Via<'_>,
    ) -> Incoming {
        let method = request.method().unwrap_or(Method::Other);
        if method == Method::Ack {
            return self.acknowledge(shared, now, request, via);
        }
        let print = key::server(shared.keys, request, via, As::Itself);
        if self.table.contains(&print) {
            // A retransmission never reaches the TU, so it never alerts a user twice.
            //= IM X-12
            self.step(shared, now, print, Event::Again, None);
            return Incoming::Absorbed;
        }
        let invite =
            if method == Method::Cancel { self.cancelled(shared, source, request, via) } else { None };
        // One CANCEL fits each INVITE, so that they need no limit of their own.
        if self.table.len() >= self.limit && invite.is_none() {
            return Incoming::Overload;
        }
        let merge = if method == Method::Cancel { None } else { key::merge(shared.keys, request) };
        let merged = merge.is_some_and(|merge| self.merges.insert(merge, ()).is_some());
        let id = ServerId { serial: shared.next_serial(), print };
        let state = match method == Method::Invite {
            true => State::Invite(Invite::Proceeding),
            false => State::Other(Other::Trying),
        };
        shared.enter(flow, Side::Server, print);
        let mut transaction = Box::new(Transaction {
            serial: id.serial,
            state,
            flow: via::reply_flow(flow, via),
            pending: Some(Box::new(Pending { request: request.keep(), source, since: now })),
            last: Box::default(),
            merge: if merged { None } else { merge },
            clock: Clock::default(),
        });
        transaction.act(shared, now, print, state.on_start(), &mut None);
        self.table.insert(print, transaction);
        if method == Method::Cancel {
            Incoming::Cancel { id, invite }
        } else {
            Incoming::Request { id, merged }
        }
    }

    pub(super) fn respond(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        id: ServerId,
        status: u16,
        bytes: Vec<u8>,
    ) {
        let Some(transaction) = self.find(id) else { return };
        let event = match (status, transaction.state) {
            // RFC 4320 4.2: never a 408 to a request other than INVITE.
            (408, State::Other(_)) => return,
            (100..200, _) => Event::Provisional,
            (200..300, _) => Event::Success,
            (300..700, _) => Event::Failure,
            _ => return,
        };
        self.step(shared, now, id.print, event, Some(bytes));
    }

    pub(super) fn pending(&self, id: ServerId) -> Option<&Pending> {
        self.find(id)?.pending.as_deref()
    }

    pub(super) fn fire(&mut self, shared: &mut Shared, now: Instant, due: Due) {
        self.step(shared, now, due.print, Event::Fired(due.timer), None);
    }

    pub(super) fn close(&mut self, shared: &mut Shared, now: Instant, print: Print) {
        self.step(shared, now, print, Event::Closed, None);
    }

    pub(super) fn forget(&mut self, shared: &mut Shared, id: ServerId) {
        if self.find(id).is_some() {
            self.remove(shared, id.print);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[cfg(test)]
    pub(super) fn merges(&self) -> usize {
        self.merges.len()
    }

    fn find(&self, id: ServerId) -> Option<&Transaction> {
        self.table.get(&id.print).map(Box::as_ref).filter(|transaction| transaction.serial == id.serial)
    }

    /// RFC 3261 17.2.3: an ACK belongs to the INVITE with its branch.
    fn acknowledge(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        ack: &Message<'_>,
        via: &Via<'_>,
    ) -> Incoming {
        let mut print = key::server(shared.keys, ack, via, As::Invite);
        if key::modern_branch(via).is_none() {
            if !self.table.contains(&print) {
                print = key::server(shared.keys, ack, via, As::InviteWithoutToTag);
            }
            // RFC 3261 17.2.3: for a client of RFC 2543, the To tag is the one of the response.
            if !self.table.get(&print).is_some_and(|invite| invite.gave_tag_of(ack)) {
                return Incoming::Ack;
            }
        }
        if !self.table.contains(&print) || self.step(shared, now, print, Event::Ack, None) {
            return Incoming::Ack;
        }
        Incoming::Absorbed
    }

    /// RFC 3261 9.2: the INVITE that a CANCEL is about.
    fn cancelled(
        &self,
        shared: &Shared,
        source: SocketAddr,
        cancel: &Message<'_>,
        via: &Via<'_>,
    ) -> Option<ServerId> {
        let print = key::server(shared.keys, cancel, via, As::Invite);
        let invite = self.table.get(&print)?;
        // Only the hop that sent the INVITE may take it back. After the final response a CANCEL does nothing.
        //= IM X-8
        let same_hop = invite.pending.as_ref().is_none_or(|pending| pending.source.ip() == source.ip());
        same_hop.then_some(ServerId { serial: invite.serial, print })
    }

    /// Lets something happen to a transaction; says whether the TU is to see the ACK.
    fn step(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        print: Print,
        event: Event,
        mut given: Option<Vec<u8>>,
    ) -> bool {
        let Some(transaction) = self.table.get_mut(&print) else { return false };
        let (state, actions) = transaction.state.on(event);
        transaction.state = state;
        let done = transaction.act(shared, now, print, actions, &mut given);
        if let Some(timer) = done.fired {
            return self.step(shared, now, print, Event::Fired(timer), None);
        }
        if transaction.state.is_over() {
            self.remove(shared, print);
        }
        done.pass_ack
    }

    fn remove(&mut self, shared: &mut Shared, print: Print) {
        let Some(mut transaction) = self.table.remove(&print) else { return };
        transaction.clock.stop_all(&mut shared.timers);
        shared.leave(transaction.flow, Side::Server, print);
        if let Some(merge) = transaction.merge {
            self.merges.remove(&merge);
        }
    }
}

/// What came of a list of actions.
#[derive(Default)]
struct Done {
    pass_ack: bool,
    /// A timer of zero length.
    fired: Option<super::timer::Timer>,
}

impl Transaction {
    /// Whether the To tag of an ACK is the one of our response, as far as that is still known.
    fn gave_tag_of(&self, ack: &Message<'_>) -> bool {
        self.last.is_empty()
            || Message::parse(&self.last).is_ok_and(|last| key::to_tag(&last) == key::to_tag(ack))
    }

    fn act(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        print: Print,
        actions: &[Action],
        given: &mut Option<Vec<u8>>,
    ) -> Done {
        let mut done = Done::default();
        let id = ServerId { serial: self.serial, print };
        for action in actions {
            match *action {
                Action::Send => shared.send(self.flow, given.take().unwrap_or_default()),
                Action::SendAndKeep => {
                    let bytes = given.take().unwrap_or_default();
                    self.last = bytes.as_slice().into();
                    shared.send(self.flow, bytes);
                }
                Action::SendTrying => {
                    if let Some(pending) = &self.pending {
                        let bytes =
                            make::trying(&pending.request.message(), pending.source, now - pending.since);
                        self.last = bytes.as_slice().into();
                        shared.send(self.flow, bytes);
                    }
                }
                Action::SendAgain if self.last.is_empty() => {}
                Action::SendAgain => shared.send(self.flow, self.last.to_vec()),
                Action::PassAck => done.pass_ack = true,
                Action::DropRequest => self.pending = None,
                Action::DropResponse => self.last = Box::default(),
                Action::Start(timer) => {
                    let due = Due { print, timer };
                    if self.clock.start(&mut shared.timers, now, due, is_reliable(self.flow)) {
                        done.fired = Some(timer);
                    }
                }
                Action::Stop(timer) => self.clock.stop(&mut shared.timers, timer),
                Action::BackOff(timer) => self.clock.back_off(&mut shared.timers, now, Due { print, timer }),
                Action::TellNoAck => shared.outputs.push_back(TxOutput::ServerNoAck { id }),
                Action::TellGone => shared.outputs.push_back(TxOutput::ServerGone { id }),
            }
        }
        done
    }
}

impl State {
    fn on_start(self) -> &'static [Action] {
        match self {
            State::Invite(_) => Invite::ON_START,
            State::Other(_) => Other::ON_START,
        }
    }

    fn on(self, event: Event) -> (State, &'static [Action]) {
        match self {
            State::Invite(invite) => {
                let (next, actions) = invite.on(event);
                (State::Invite(next), actions)
            }
            State::Other(other) => {
                let (next, actions) = other.on(event);
                (State::Other(next), actions)
            }
        }
    }

    fn is_over(self) -> bool {
        matches!(self, State::Invite(Invite::Terminated) | State::Other(Other::Terminated))
    }
}
