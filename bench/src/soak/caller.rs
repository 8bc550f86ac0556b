//! Places sessions and calls that are refused, each at a steady rate, over one UDP socket and the MSRP connections.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use super::call::{Call, Out, Step};
use super::lines::Lines;
use super::tally::Tally;
use super::wire::{self, Frame, Key, Kind, Route};
use crate::Outcome;
use crate::calls::dialog::header;

const DATAGRAMS: Token = Token(0);
/// Calls of one kind that are placed before answers have their turn.
const BURST: u32 = 64;
/// How long the caller sleeps when nothing is to be done.
const NAP: Duration = Duration::from_millis(1);
/// How often requests are looked at for being sent again.
const TICK: Duration = Duration::from_millis(100);
/// How often somebody may look at what has become of the calls.
const GLANCE: Duration = Duration::from_secs(5);

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Sessions.
    pub sessions: u32,
    /// Sessions a second.
    pub rate: f64,
    /// Calls a second that are refused, as long as sessions are placed.
    pub refused_rate: f64,
    /// MSRP connections that the sessions share; 0 gives each its own. One session more stays on each of them until the
    /// end, since a connection goes with its last session.
    pub connections: u32,
    /// How long a session is kept after both messages.
    pub hold: Duration,
}

impl Plan {
    fn refused(&self) -> u32 {
        (f64::from(self.sessions) / self.rate * self.refused_rate) as u32
    }
}

/// Carries out a plan against SIP at `peer`. `run` names its calls; `glance` sees the tally now and then.
pub fn run(peer: SocketAddr, run: u32, plan: Plan, glance: &mut dyn FnMut(&Tally)) -> Outcome<Tally> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // As much as the kernel gives.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.set_nonblocking(true)?;
    let mut socket = UdpSocket::from_std(socket.into());
    socket.connect(peer)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut socket, DATAGRAMS, Interest::READABLE)?;
    let route = Route { local: socket.local_addr()?.to_string(), to: format!("sip:bob@{peer}"), run };
    let caller = Caller {
        poll,
        socket,
        route,
        plan,
        begin: Instant::now(),
        calls: HashMap::new(),
        lines: Lines::new(plan.connections as usize),
        resting: VecDeque::new(),
        staying: Vec::new(),
        tally: Tally::default(),
        last: Duration::ZERO,
    };
    caller.place_all(glance)
}

struct Caller {
    poll: Poll,
    socket: UdpSocket,
    route: Route,
    plan: Plan,
    begin: Instant,
    calls: HashMap<Key, (Call, Option<usize>)>,
    lines: Lines,
    /// Sessions that are left then.
    resting: VecDeque<(Duration, Key)>,
    /// Sessions that keep the shared connections.
    staying: Vec<Key>,
    tally: Tally,
    /// When the last call ended.
    last: Duration,
}

impl Caller {
    fn place_all(mut self, glance: &mut dyn FnMut(&Tally)) -> Outcome<Tally> {
        let plan = self.plan;
        let mut buffer = vec![0; 65_536];
        let mut events = Events::with_capacity(1024);
        let (mut tick, mut look) = (TICK, GLANCE);
        let session = |number| Key { kind: Kind::Session, number };
        for number in 0..plan.connections {
            self.place(session(number));
        }
        let kept = plan.connections;
        // Counted from the time when the connections stand.
        let (mut start, mut sessions, mut refused) = (None, 0, 0);
        loop {
            let now = self.begin.elapsed();
            if start.is_none() && self.calls.len() == self.staying.len() {
                start = Some(now);
            }
            let mut behind = false;
            if let Some(start) = start {
                let since = now - start;
                for (rate, count, placed, is_session) in [
                    (plan.rate, plan.sessions, &mut sessions, true),
                    (plan.refused_rate, plan.refused(), &mut refused, false),
                ] {
                    let due = ((since.as_secs_f64() * rate) as u32).saturating_add(1).min(count);
                    let until = due.min(*placed + BURST);
                    behind |= until < due;
                    while *placed < until {
                        let at = Duration::from_secs_f64(f64::from(*placed) / rate);
                        self.tally.lateness.add((self.begin.elapsed() - start).saturating_sub(at));
                        let kind = match *placed % 2 {
                            _ if is_session => Kind::Session,
                            0 => Kind::Offer,
                            _ => Kind::Blocked,
                        };
                        let first = if is_session { kept } else { 0 };
                        self.place(Key { kind, number: first + *placed });
                        *placed += 1;
                    }
                }
            }
            while let Some((due, key)) = self.resting.front().copied()
                && due <= now
            {
                self.resting.pop_front();
                self.leave(key);
            }
            let all = sessions == plan.sessions && refused == plan.refused();
            if all && start.is_some() && self.calls.len() == self.staying.len() {
                if self.calls.is_empty() {
                    break;
                }
                if self.tally.took.is_zero() {
                    self.tally.took =
                        (self.last - start.unwrap_or_default()).saturating_sub(plan.hold).max(NAP);
                    std::mem::take(&mut self.staying).into_iter().for_each(|key| self.leave(key));
                }
            }
            if now >= tick {
                tick = now + TICK;
                self.tick(now);
            }
            if now >= look {
                look = now + GLANCE;
                glance(&self.tally);
            }
            let more = self.hear_datagrams(&mut buffer)?;
            let nap = if more || behind { Duration::ZERO } else { NAP };
            match self.poll.poll(&mut events, Some(nap)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                if event.token() != DATAGRAMS {
                    self.hear_line(event.token().0, &mut buffer);
                }
            }
        }
        if self.tally.took.is_zero() {
            self.tally.took = (self.last - start.unwrap_or_default()).saturating_sub(plan.hold).max(NAP);
        }
        (self.tally.opened, self.tally.kept) = (self.lines.opened, kept);
        Ok(self.tally)
    }

    fn place(&mut self, key: Key) {
        let mut out = Out::default();
        let call = Call::place(self.begin.elapsed(), key, &self.route, &mut out);
        self.calls.insert(key, (call, None));
        self.placed_of(key).0 += 1;
        self.carry_out(key, out);
    }

    fn placed_of(&mut self, key: Key) -> &mut (u32, u32) {
        match key.kind {
            Kind::Session => &mut self.tally.sessions,
            Kind::Offer | Kind::Blocked => &mut self.tally.refused,
        }
    }

    fn leave(&mut self, key: Key) {
        let mut out = Out::default();
        if let Some((call, _)) = self.calls.get_mut(&key) {
            call.leave(self.begin.elapsed(), &self.route, &mut out);
        }
        self.carry_out(key, out);
    }

    fn carry_out(&mut self, key: Key, out: Out) {
        for datagram in out.sip {
            // What cannot be sent is sent again later.
            let _ = self.socket.send(&datagram);
        }
        if let Some((_, Some(line))) = self.calls.get(&key)
            && !out.msrp.is_empty()
        {
            self.lines.say(*line, &out.msrp);
        }
    }

    /// Whether there may be more.
    fn hear_datagrams(&mut self, buffer: &mut [u8]) -> Outcome<bool> {
        for _ in 0..BURST {
            let length = match self.socket.recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                // Nobody listens there any more: calls fail by themselves.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            self.hear_datagram(buffer.get(..length).unwrap_or_default());
        }
        Ok(true)
    }

    fn hear_datagram(&mut self, octets: &[u8]) {
        let Some(key) = Key::of_sip(octets, &self.route) else {
            return self.tally.fail("a SIP message that belongs to no call", octets);
        };
        let now = self.begin.elapsed();
        let mut out = Out::default();
        let Some((call, _)) = self.calls.get_mut(&key) else {
            let is_final = octets.get(8..9) != Some(b"1");
            if is_final && header(octets, b"CSeq").is_some_and(|value| value.ends_with(b"INVITE")) {
                out.sip.push(wire::ack(key, &self.route, octets));
            }
            self.tally.repeated += 1;
            return self.carry_out(key, out);
        };
        let step = call.response(now, &self.route, octets, &mut out);
        self.stepped(now, key, step, octets, out);
    }

    fn hear_line(&mut self, token: usize, buffer: &mut [u8]) {
        let (heard, stands) = self.lines.hear(token, buffer);
        let mut rest = &heard[..];
        loop {
            match Frame::read(rest) {
                Ok(Some(frame)) => {
                    self.hear_frame(token, &frame);
                    rest = rest.get(frame.length..).unwrap_or_default();
                }
                Ok(None) => break,
                Err(why) => {
                    self.tally.fail(why, rest);
                    rest = &[];
                    break;
                }
            }
        }
        if stands {
            self.lines.keep(token, rest.to_vec());
        } else {
            let bound = |(call, line): &(Call, Option<usize>)| *line == Some(token) && call.is_bound();
            let lost: Vec<Key> =
                self.calls.iter().filter(|(_, entry)| bound(entry)).map(|(key, _)| *key).collect();
            for key in lost {
                self.give_up(key, "the MSRP connection went under a session");
            }
        }
    }

    fn hear_frame(&mut self, token: usize, frame: &Frame<'_>) {
        let now = self.begin.elapsed();
        let mut out = Out::default();
        let key = Key::of_msrp(frame.to, &self.route);
        let entry = key.and_then(|key| self.calls.get_mut(&key));
        match (key, entry) {
            (Some(key), Some((call, line))) if *line == Some(token) => {
                let step = call.frame(now, &self.route, frame, &mut out);
                self.stepped(now, key, step, frame.body.unwrap_or(frame.word), out);
            }
            (Some(_), None) if frame.word != b"SEND" => {}
            _ => self.tally.fail("an MSRP frame of no session on this connection", frame.to),
        }
    }

    fn stepped(&mut self, now: Duration, key: Key, step: Step, heard: &[u8], out: Out) {
        let Some((call, line)) = self.calls.get_mut(&key) else { return };
        let took = now.saturating_sub(call.placed);
        let stays = key.kind == Kind::Session && key.number < self.plan.connections;
        match step {
            Step::On => {}
            Step::Repeated => self.tally.repeated += 1,
            Step::Accepted(place) => {
                if !stays {
                    self.tally.set_up.add(took);
                }
                match self.lines.bind(self.poll.registry(), key.number, &place) {
                    Ok(token) => *line = Some(token),
                    Err(error) => {
                        call.fail("");
                        self.tally.fail("no MSRP connection", error.to_string().as_bytes());
                    }
                }
            }
            Step::Said if stays => self.staying.push(key),
            Step::Said => self.resting.push_back((now + self.plan.hold, key)),
            Step::Done => {
                if key.kind != Kind::Session {
                    self.tally.refusal.add(took);
                }
                self.last = if stays { self.last } else { now };
                self.placed_of(key).1 += 1;
            }
            Step::Failed(why) => {
                self.last = now;
                self.tally.fail(why, heard);
            }
        }
        self.carry_out(key, out);
        self.forget_if_over(key);
    }

    fn tick(&mut self, now: Duration) {
        let mut done = Vec::new();
        for (key, (call, _)) in &mut self.calls {
            let mut out = Out::default();
            let tried = call.tick(now, &self.route, &mut out);
            if tried != Ok(0) {
                done.push((*key, tried, out));
            }
        }
        for (key, tried, out) in done {
            self.carry_out(key, out);
            match tried {
                Ok(resent) => self.tally.resent += resent,
                Err(why) => self.give_up(key, why),
            }
        }
    }

    fn give_up(&mut self, key: Key, why: &'static str) {
        if let Some((call, _)) = self.calls.get_mut(&key) {
            call.fail(why);
            self.last = self.begin.elapsed();
            self.tally.fail(why, format!("{key:?}").as_bytes());
            self.forget_if_over(key);
        }
    }

    fn forget_if_over(&mut self, key: Key) {
        if let Some((call, line)) = self.calls.get(&key)
            && call.is_over()
        {
            if let Some(token) = *line {
                self.lines.release(token);
            }
            self.calls.remove(&key);
            self.staying.retain(|staying| *staying != key);
        }
    }
}
