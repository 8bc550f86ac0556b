//! Client transactions: the table, and the hands of the machines.

pub(super) mod machine;

use parlour_msrp::table::{HashKeys, Table};
use parlour_msrp::time::Instant;

use self::machine::{Action, Event, Invite, Other};
use super::key::Print;
use super::timer::{Clock, Due, Timer};
use super::{ClientId, Incoming, Shared, Side, TxOutput, is_reliable, make};
use crate::io::FlowId;
use crate::sip::header::{CSeq, Via};
use crate::sip::message::{Message, Start};
use crate::sip::method::Method;

#[derive(Debug)]
pub(super) struct Clients {
    table: Table<Print, Box<Transaction>>,
    limit: usize,
}

#[derive(Debug)]
struct Transaction {
    serial: u64,
    state: State,
    flow: FlowId,
    /// The request; in Completed the ACK, if it was an INVITE; else empty.
    octets: Box<[u8]>,
    clock: Clock,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Invite(Invite),
    Other(Other),
}

impl Clients {
    pub(super) fn new(keys: HashKeys, limit: usize) -> Self {
        Clients { table: Table::new(keys), limit }
    }

    pub(super) fn request(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        flow: FlowId,
        bytes: Vec<u8>,
    ) -> ClientId {
        let (method, print, invite) = prints(shared.keys, &bytes);
        let id = ClientId { serial: shared.next_serial(), print };
        if self.table.len() >= self.limit {
            shared.outputs.push_back(TxOutput::ClientUnreachable { id });
            return id;
        }
        // A branch is never used twice; should it be, the earlier request is given up.
        self.remove(shared, print);
        if method == Method::Cancel {
            self.step(shared, now, invite, Event::CancelSent, None);
        }
        let state = match method == Method::Invite {
            true => State::Invite(Invite::Calling),
            false => State::Other(Other::Trying),
        };
        shared.enter(flow, Side::Client, print);
        let octets = bytes.into_boxed_slice();
        let mut transaction =
            Box::new(Transaction { serial: id.serial, state, flow, octets, clock: Clock::default() });
        transaction.act(shared, now, print, state.on_start(), None);
        self.table.insert(print, transaction);
        id
    }

    pub(super) fn receive(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        response: &Message<'_>,
        via: &Via<'_>,
    ) -> Incoming {
        // RFC 3261 17.1.3: branch of the top Via and method of CSeq.
        //= IM X-14
        let Some(branch) = via.branch() else { return Incoming::Stray };
        let Ok(cseq) = response.one::<CSeq<'_>>() else {
            return Incoming::Dropped("a response whose CSeq can't be read");
        };
        let event = match response.status().unwrap_or(0) {
            100..200 => Event::Provisional,
            200..300 => Event::Success,
            300..700 => Event::Failure,
            _ => return Incoming::Dropped("a status code outside 100-699"),
        };
        let print = Print::of_client(shared.keys, branch, cseq.method_text);
        let Some(serial) = self.table.get(&print).map(|transaction| transaction.serial) else {
            return Incoming::Stray;
        };
        match self.step(shared, now, print, event, Some(response)) {
            true => Incoming::Response { id: ClientId { serial, print } },
            false => Incoming::Absorbed,
        }
    }

    pub(super) fn proceeding(&self, id: ClientId) -> bool {
        self.find(id).is_some_and(|transaction| match transaction.state {
            State::Invite(state) => state == Invite::Proceeding,
            State::Other(state) => state == Other::Proceeding,
        })
    }

    pub(super) fn sent(&self, id: ClientId) -> Option<&[u8]> {
        let transaction = self.find(id)?;
        transaction.state.is_pending().then_some(&transaction.octets)
    }

    pub(super) fn fire(&mut self, shared: &mut Shared, now: Instant, due: Due) {
        self.step(shared, now, due.print, Event::Fired(due.timer), None);
    }

    pub(super) fn close(&mut self, shared: &mut Shared, now: Instant, print: Print) {
        self.step(shared, now, print, Event::Closed, None);
    }

    pub(super) fn flow(&self, id: ClientId) -> Option<FlowId> {
        self.find(id).map(|transaction| transaction.flow)
    }

    pub(super) fn unreachable(&mut self, shared: &mut Shared, now: Instant, id: ClientId) {
        if self.find(id).is_some() {
            self.close(shared, now, id.print);
        }
    }

    pub(super) fn forget(&mut self, shared: &mut Shared, id: ClientId) {
        if self.find(id).is_some() {
            self.remove(shared, id.print);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn find(&self, id: ClientId) -> Option<&Transaction> {
        self.table.get(&id.print).map(Box::as_ref).filter(|transaction| transaction.serial == id.serial)
    }

    /// Lets something happen to a transaction; says whether the TU is to see the response.
    fn step(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        print: Print,
        event: Event,
        response: Option<&Message<'_>>,
    ) -> bool {
        let Some(transaction) = self.table.get_mut(&print) else { return false };
        let (state, actions) = transaction.state.on(event);
        transaction.state = state;
        let done = transaction.act(shared, now, print, actions, response);
        if let Some(timer) = done.fired {
            self.step(shared, now, print, Event::Fired(timer), None);
        } else if transaction.state.is_over() {
            self.remove(shared, print);
        }
        done.pass_up
    }

    fn remove(&mut self, shared: &mut Shared, print: Print) {
        let Some(mut transaction) = self.table.remove(&print) else { return };
        transaction.clock.stop_all(&mut shared.timers);
        shared.leave(transaction.flow, Side::Client, print);
    }
}

/// The method of a request of ours, its print, and the print of the INVITE with its branch.
fn prints(keys: HashKeys, bytes: &[u8]) -> (Method, Print, Print) {
    let request = Message::parse(bytes).ok();
    let via = request.as_ref().and_then(|request| request.top_via().ok());
    let branch = via.and_then(|via| via.branch()).unwrap_or_default();
    let (method, text) = match request.as_ref().map(Message::start) {
        Some(Start::Request { method, method_text, .. }) => (method, method_text),
        Some(Start::Response { .. }) | None => (Method::Other, [].as_slice()),
    };
    (method, Print::of_client(keys, branch, text), Print::of_client(keys, branch, b"INVITE"))
}

/// What came of a list of actions.
#[derive(Default)]
struct Done {
    pass_up: bool,
    /// A timer of zero length.
    fired: Option<Timer>,
}

impl Transaction {
    fn act(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        print: Print,
        actions: &[Action],
        response: Option<&Message<'_>>,
    ) -> Done {
        let mut done = Done::default();
        let id = ClientId { serial: self.serial, print };
        for action in actions {
            match *action {
                Action::Send | Action::AckAgain if self.octets.is_empty() => {}
                Action::Send | Action::AckAgain => shared.send(self.flow, self.octets.to_vec()),
                Action::PassUp => done.pass_up = true,
                Action::MakeAck => {
                    let ack = match (Message::parse(&self.octets), response) {
                        (Ok(invite), Some(response)) => make::ack_for(&invite, response),
                        // Our own INVITE can be read, and only a response leads here.
                        (Err(_), _) | (_, None) => continue,
                    };
                    self.octets = ack.as_slice().into();
                    shared.send(self.flow, ack);
                }
                Action::DropRequest => self.octets = Box::default(),
                Action::Start(timer) => {
                    let due = Due { print, timer };
                    if self.clock.start(&mut shared.timers, now, due, is_reliable(self.flow)) {
                        done.fired = Some(timer);
                    }
                }
                Action::Stop(timer) => self.clock.stop(&mut shared.timers, timer),
                Action::BackOff(timer) => self.clock.back_off(&mut shared.timers, now, Due { print, timer }),
                Action::SlowDown(timer) => {
                    self.clock.slow_down(&mut shared.timers, now, Due { print, timer })
                }
                Action::TellTimeout => shared.outputs.push_back(TxOutput::ClientTimeout { id }),
                Action::TellUnreachable => shared.outputs.push_back(TxOutput::ClientUnreachable { id }),
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

    fn is_pending(self) -> bool {
        match self {
            State::Invite(state) => matches!(state, Invite::Calling | Invite::Proceeding),
            State::Other(state) => matches!(state, Other::Trying | Other::Proceeding),
        }
    }

    fn is_over(self) -> bool {
        matches!(self, State::Invite(Invite::Terminated) | State::Other(Other::Terminated))
    }
}
