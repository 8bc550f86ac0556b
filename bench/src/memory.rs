//! What a client keeps, counted by the allocator: for finished calls whose timers run, and for idle sessions.

use std::alloc::System;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use parlour_msrp::random::Random;
use parlour_msrp::{ConnectionId, Endpoint, Role};
use parlour_proto::client::Client;
use parlour_proto::config::{Accept, Account, Config, Limits};
use parlour_proto::io::{FlowId, Input, Instant, Now, Output, Security, Service, Transport};
use stats_alloc::{Region, StatsAlloc};

use crate::calls::dialog::{Call, Route, Step, number_of};
use crate::msrp::answerer;
use crate::parse::{self, Contender};
use crate::report::{Row, Target};
use crate::{Effort, Outcome};

type Allocator = &'static StatsAlloc<System>;

/// How long after the last call everything is over: twice 64*T1.
const OVER: Duration = Duration::from_secs(70);

/// `key value...` for each number.
pub fn report(allocator: Allocator, quick: bool) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    for (what, contenders) in [
        ("index", parse::index()),
        ("typed", parse::typed()),
        ("write", parse::write()),
        ("build", parse::build()),
    ] {
        let counts: Vec<String> =
            contenders.into_iter().map(|contender| count(allocator, contender).to_string()).collect();
        lines.push(format!("{what} {}", counts.join(" ")));
    }
    let calls = if quick { 5_000 } else { 40_000 };
    let (kept, left) = finished_calls(allocator, calls)?;
    lines.push(format!("call {kept} {left}"));
    let (connections, each) = if quick { (100, 100) } else { (1_000, 100) };
    let (dialog, session) = idle_sessions(allocator, connections, each)?;
    let media = idle_media(allocator, connections, each)?;
    lines.push(format!("idle {session} {dialog} {media}"));
    Ok(lines)
}

/// The same as rows: asks the program that counts.
pub fn rows(effort: Effort) -> Outcome<(Vec<Vec<f64>>, Vec<Row>)> {
    let mut command = std::process::Command::new(crate::process::sibling("parlour-memory")?);
    let output = command.args(effort.quick.then_some("--quick")).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: BTreeMap<&str, Vec<f64>> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, values)| (key, values.split(' ').filter_map(|value| value.parse().ok()).collect()))
        .collect();
    let of = |key: &str| numbers.get(key).cloned().unwrap_or_default();
    let row = |what: &str, key: &str, at: usize| {
        Row::new(what, of(key).get(at).copied().unwrap_or(f64::NAN), "octets")
    };
    let rows = vec![
        row("memory kept for a finished call while its timers run", "call", 0)
            .target(Target::AtMost(1_000.0)),
        row("- after they ran out", "call", 1),
        row("memory for an idle session, 100 sessions a connection", "idle", 0)
            .target(Target::AtMost(4_000.0)),
        row("- of that the dialog", "idle", 1).target(Target::AtMost(3_000.0)),
        row("- an MSRP session alone, endpoint only", "idle", 2),
    ];
    Ok((["index", "typed", "write", "build"].map(of).into(), rows))
}

/// Allocations of one run, growing included.
fn count(allocator: Allocator, mut contender: Contender) -> usize {
    (contender.work)();
    let region = Region::new(allocator);
    (contender.work)();
    let change = region.change();
    change.allocations + change.reallocations
}

fn kept(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    // Growing in place counts with its difference, which may be negative.
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// A client and its caller, in virtual time.
struct World {
    client: Client,
    now: Duration,
    flow: FlowId,
    connections: BTreeMap<FlowId, String>,
}

impl World {
    fn new() -> World {
        let account = Account { address: "sip:bob@127.0.0.1".into(), ..Account::default() };
        let limits = Limits { transactions: 1_000_000, streams_per_source: 100_000, ..Limits::default() };
        let config = Config {
            explain: false,
            accounts: vec![account],
            accept: Accept::All,
            limits,
            ..Config::default()
        };
        let mut world = World {
            client: Client::new(config, [9; 32]),
            now: Duration::from_secs(1),
            flow: FlowId::Udp { socket: 0, peer: SocketAddr::from(([127, 0, 0, 1], 7)) },
            connections: BTreeMap::new(),
        };
        for (service, transport, port) in
            [(Service::Sip, Transport::Udp, 5060), (Service::Msrp, Transport::Tcp, 2855)]
        {
            let local = ([127, 0, 0, 1], port).into();
            world.tell(Input::Listening { service, transport, socket: 0, local });
        }
        world
    }

    /// Tells the client, drains it, and returns the datagrams that it sent.
    fn tell(&mut self, input: Input<'_>) -> Vec<Vec<u8>> {
        let now = Now {
            instant: Instant::from_micros(u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX)),
            unix: Duration::from_secs(1_800_000_000) + self.now,
        };
        self.client.handle(now, input);
        let mut sent = Vec::new();
        loop {
            match self.client.poll() {
                Output::Send { flow: FlowId::Udp { .. }, bytes } => sent.push(bytes),
                Output::Send { flow, bytes } => {
                    // The last words on a connection, for checking.
                    if let Some(heard) = self.connections.get_mut(&flow) {
                        *heard = String::from_utf8_lossy(&bytes).into_owned();
                    }
                }
                Output::Idle(_) => return sent,
                _ => {}
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(100);
            self.tell(Input::Tick);
        }
    }

    /// One call, up to its 200 and ACK, or to the end of its BYE. Returns the 200.
    fn call(&mut self, number: u32, leave: bool) -> Outcome<Vec<u8>> {
        let route = Route { local: "127.0.0.1:7".into(), to: "sip:bob@127.0.0.1".into(), run: 0 };
        // 5,000 a second.
        self.now += Duration::from_micros(200);
        let mut requests = Vec::new();
        let mut call = Call::start(self.now, number, &route, &mut |octets| requests.push(octets.to_vec()));
        let mut answer = Vec::new();
        while !requests.is_empty() {
            let request = requests.remove(0);
            if !leave && request.starts_with(b"BYE ") {
                return Ok(answer);
            }
            for response in self.tell(Input::Received { flow: self.flow, bytes: &request }) {
                if number_of(&response, 0) != Some(number) {
                    continue;
                }
                let mut send = |octets: &[u8]| requests.push(octets.to_vec());
                if let Step::Failed(why) = call.response(self.now, number, &route, &response, &mut send) {
                    return Err(format!("{why}: {}", String::from_utf8_lossy(&response)).into());
                }
                if response.starts_with(b"SIP/2.0 200") && answer.is_empty() {
                    answer = response;
                }
            }
        }
        if call.is_over() && leave { Ok(answer) } else { Err("a call did not end well".into()) }
    }
}

/// Microseconds of CPU for a call between a client and a caller in one thread.
pub fn client_alone(count: u32) -> Outcome<f64> {
    let mut world = World::new();
    for number in 0..1_000 {
        world.call(u32::MAX - number, true)?;
    }
    let before = crate::micro::used();
    for number in 0..count {
        world.call(number, true)?;
    }
    Ok(crate::micro::used().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(count))
}

/// Octets kept for a finished call while its timers run, and what is left of it afterwards.
fn finished_calls(allocator: Allocator, count: u32) -> Outcome<(f64, f64)> {
    let mut world = World::new();
    world.call(u32::MAX, true)?;
    world.wait(OVER);
    let region = Region::new(allocator);
    for number in 0..count {
        world.call(number, true)?;
    }
    let load = world.client.load();
    if load.sessions > 0 || load.transactions < count as usize {
        return Err(format!("the calls are not as they should be: {load:?}").into());
    }
    let lingering = kept(&region) / f64::from(count);
    world.wait(OVER);
    Ok((lingering, kept(&region) / f64::from(count)))
}

/// Octets for an idle session: the SIP dialog alone, then with MSRP bound.
fn idle_sessions(allocator: Allocator, connections: u32, each: u32) -> Outcome<(f64, f64)> {
    let mut world = World::new();
    world.call(u32::MAX, true)?;
    world.wait(OVER);
    let media = idle_media(allocator, connections, each)?;
    let region = Region::new(allocator);
    let sessions = f64::from(connections * each);
    for connection in 0..connections {
        let flow = FlowId::Stream(u64::from(connection));
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let local = SocketAddr::from(([127, 0, 0, 1], 2855));
        world.connections.insert(flow, String::new());
        world.tell(Input::Opened { flow, service: Service::Msrp, local, peer, security: Security::Plain });
        for number in connection * each..(connection + 1) * each {
            let answer = world.call(number, false)?;
            let answer = String::from_utf8(answer)?;
            let path =
                answer.split("a=path:").nth(1).and_then(|rest| rest.split('\r').next()).unwrap_or_default();
            let send = format!(
                "MSRP bind{number:08x} SEND\r\nTo-Path: {path}\r\nFrom-Path: msrp://127.0.0.1:9/caller0{number:08x};tcp\r\n\
                 Message-ID: bind{number:08x}\r\nByte-Range: 1-0/0\r\n-------bind{number:08x}$\r\n"
            );
            world.tell(Input::Received { flow, bytes: send.as_bytes() });
            let heard = world.connections.get(&flow).map(String::as_str).unwrap_or_default();
            if !heard.contains(" 200") {
                return Err(format!("a session was not bound: {heard:?}").into());
            }
            world.tell(Input::Writable { flow, room: 256 * 1024 });
        }
    }
    world.wait(OVER);
    let load = world.client.load();
    if load.sessions != (connections * each) as usize || load.transactions > 0 {
        return Err(format!("the sessions are not as they should be: {load:?}").into());
    }
    let whole = kept(&region) / sessions;
    Ok((whole - media, whole))
}

/// Octets for an idle MSRP session: the endpoint alone.
fn idle_media(allocator: Allocator, connections: u32, each: u32) -> Outcome<f64> {
    let region = Region::new(allocator);
    let mut endpoint = Endpoint::new(parlour_msrp::Limits::default(), Random::new([3; 32]));
    let now = Instant::ZERO;
    let to = SocketAddr::from(([127, 0, 0, 1], 2855));
    for connection in 0..connections {
        let id = ConnectionId(u64::from(connection));
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        endpoint.handle(now, parlour_msrp::Input::Connected { connection: id, peer, tls: None });
        for number in connection * each..(connection + 1) * each {
            let session = answerer::session(to, number);
            endpoint.open(now, answerer::spec(&session, Role::Passive, 1 << 20)?);
            let (their, our) = (&session.their_path, &session.our_path);
            let send = format!(
                "MSRP bind{number:08x} SEND\r\nTo-Path: {their}\r\nFrom-Path: {our}\r\nMessage-ID: bind{number:08x}\r\n\
                 Byte-Range: 1-0/0\r\n-------bind{number:08x}$\r\n"
            );
            endpoint.handle(now, parlour_msrp::Input::Received { connection: id, bytes: send.as_bytes() });
            endpoint.handle(now, parlour_msrp::Input::Writable { connection: id, room: 256 * 1024 });
            while !matches!(endpoint.poll(), parlour_msrp::Output::Idle(_)) {}
        }
    }
    endpoint.handle(now + OVER, parlour_msrp::Input::Tick);
    while !matches!(endpoint.poll(), parlour_msrp::Output::Idle(_)) {}
    if endpoint.load().connections != connections as usize
        || endpoint.sessions() != (connections * each) as usize
    {
        return Err(format!("the sessions are not as they should be: {:?}", endpoint.load()).into());
    }
    let octets = kept(&region) / f64::from(connections * each);
    drop(endpoint);
    Ok(octets)
}
