//! Places calls over UDP at a steady rate and counts what becomes of them.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::dialog::{Call, Route, Step, number_of};
use crate::Outcome;

/// How long the last calls may take to end.
const AFTERMATH: Duration = Duration::from_secs(9);
/// How long the caller sleeps when nothing is to be done.
const NAP: Duration = Duration::from_micros(200);

/// What became of the calls of a run.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Calls placed.
    pub placed: u32,
    /// Calls with every answer right.
    pub done: u32,
    /// Calls with a wrong answer or none.
    pub failed: u32,
    /// Requests that we sent again.
    pub resent: u32,
    /// Responses that came again.
    pub repeated: u32,
    /// From the first INVITE to the last answer.
    pub took: Duration,
    /// The first failure's reason.
    pub why: Option<String>,
}

impl Tally {
    /// No failure, no retransmission.
    pub fn is_clean(&self) -> bool {
        self.done == self.placed && self.failed == 0 && self.resent == 0 && self.repeated == 0
    }
}

/// Places `count` calls, `rate` a second.
pub fn place(peer: SocketAddr, user: &str, run: u32, count: u32, rate: f64) -> Outcome<Tally> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // As much as the kernel gives.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let socket = UdpSocket::from(socket);
    socket.connect(peer)?;
    socket.set_nonblocking(true)?;
    let route = Route { local: socket.local_addr()?.to_string(), to: format!("sip:{user}@{peer}"), run };
    let mut send = |octets: &[u8]| {
        // What cannot be sent is sent again later.
        let _ = socket.send(octets);
    };

    let begin = Instant::now();
    let mut calls: Vec<Call> = Vec::with_capacity(count as usize);
    let mut tally = Tally { placed: count, ..Tally::default() };
    let mut buffer = vec![0; 65_536];
    let mut next_tick = Duration::from_millis(100);
    let mut oldest = 0;
    loop {
        let now = begin.elapsed();
        let due = ((now.as_secs_f64() * rate) as u32).saturating_add(1).min(count);
        while calls.len() < due as usize {
            calls.push(Call::start(now, calls.len() as u32, &route, &mut send));
        }
        let mut heard = false;
        // Not for ever: calls are due meanwhile.
        for _ in 0..64 {
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Nobody listens there yet, or not any more: calls fail by themselves.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            heard = true;
            let octets = buffer.get(..length).unwrap_or_default();
            let Some(number) = number_of(octets, run) else { continue };
            let Some(call) = calls.get_mut(number as usize) else { continue };
            match call.response(begin.elapsed(), number, &route, octets, &mut send) {
                Step::On => {}
                Step::Repeated => tally.repeated += 1,
                Step::Done => {
                    tally.done += 1;
                    tally.took = begin.elapsed();
                }
                Step::Failed(why) => {
                    tally.failed += 1;
                    tally.why.get_or_insert_with(|| {
                        let line = octets.split(|octet| *octet == b'\r').next().unwrap_or_default();
                        format!("{why}: {}", String::from_utf8_lossy(line))
                    });
                }
            }
        }
        if now >= next_tick {
            next_tick = now + Duration::from_millis(100);
            while calls.get(oldest).is_some_and(Call::is_over) {
                oldest += 1;
            }
            for (number, call) in calls.iter_mut().enumerate().skip(oldest) {
                match call.tick(now, number as u32, &route, &mut send) {
                    Some(resent) => tally.resent += resent,
                    None => {
                        tally.failed += 1;
                        tally.why.get_or_insert_with(|| "no answer".into());
                    }
                }
            }
        }
        let late = now.as_secs_f64() > f64::from(count) / rate + AFTERMATH.as_secs_f64();
        if tally.done + tally.failed >= count || late {
            tally.failed = count - tally.done;
            return Ok(tally);
        }
        if !heard {
            std::thread::sleep(NAP);
        }
    }
}
