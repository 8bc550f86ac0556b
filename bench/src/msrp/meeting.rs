//! Sessions to send in: agreed by SIP with the real program.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use memchr::memmem;

use super::sender::Session;
use crate::Outcome;
use crate::calls::dialog::{Route, header, inside, invite};

/// Invites `count` times and acknowledges; the sessions stay.
pub fn agree(sip: SocketAddr, run: u32, count: u32) -> Outcome<Vec<Session>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(sip)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let route = Route { local: socket.local_addr()?.to_string(), to: format!("sip:bob@{sip}"), run };
    (0..count).map(|number| one(&socket, &route, number)).collect()
}

fn one(socket: &UdpSocket, route: &Route, number: u32) -> Outcome<Session> {
    let mut buffer = vec![0; 65_536];
    for _ in 0..4 {
        socket.send(&invite(number, route))?;
        while let Ok(length) = socket.recv(&mut buffer) {
            let octets = buffer.get(..length).unwrap_or_default();
            if crate::calls::dialog::number_of(octets, route.run) != Some(number) {
                continue;
            }
            match octets.get(8..11) {
                Some(b"100" | b"180") => {}
                Some(b"200") => return established(socket, route, number, octets),
                _ => return Err(format!("refused: {}", String::from_utf8_lossy(octets)).into()),
            }
        }
    }
    Err("an INVITE got no answer".into())
}

fn established(socket: &UdpSocket, route: &Route, number: u32, octets: &[u8]) -> Outcome<Session> {
    let contact = header(octets, b"Contact").unwrap_or_default();
    let target = contact.split(|octet| matches!(octet, b'<' | b'>')).nth(1).unwrap_or_default();
    let to = header(octets, b"To").unwrap_or_default();
    socket.send(&inside("ACK", 1, number, route, target, to))?;
    let path = memmem::find(octets, b"a=path:").and_then(|at| octets.get(at + 7..)).unwrap_or_default();
    let path = path.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let their_path = String::from_utf8_lossy(path).into_owned();
    let place =
        their_path.strip_prefix("msrp://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let our_path = format!("msrp://127.0.0.1:9/caller{:x}{number:08x};tcp", route.run);
    Ok(Session { to: place.parse()?, their_path, our_path })
}
