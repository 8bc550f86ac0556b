//! One large message over msrps, beside raw rustls over loopback: two threads, the same records, the same sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant as Clock;

use memchr::memmem;
use parlour_msrp::random::Random;
use parlour_msrp::time::Instant;
use parlour_msrp::{ConnectionId, Endpoint, Event, Input, Limits, Output, Role, Verdict};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::answerer;
use crate::Outcome;

/// Octets that are written at once.
const PIECE: usize = 64 * 1024;

type Accepted = StreamOwned<ServerConnection, TcpStream>;
type Made = StreamOwned<ClientConnection, TcpStream>;

/// Octets a second through rustls alone.
pub fn raw(size: u64) -> Outcome<f64> {
    run(
        size,
        |mut stream| {
            let (mut buffer, mut heard) = (vec![0; PIECE], 0);
            while heard < size {
                heard += stream.read(&mut buffer)? as u64;
            }
            Ok(stream.write_all(b"!")?)
        },
        |stream| {
            let piece = vec![b'x'; PIECE];
            for _ in 0..size / PIECE as u64 {
                stream.write_all(&piece)?;
            }
            stream.flush()?;
            let mut last = [0];
            Ok(stream.read_exact(&mut last)?)
        },
    )
}

/// Octets a second of one message in chunks of `chunk`, to an endpoint that throws them away. It asks for no responses
/// and for a REPORT, as blocking sockets read or write.
pub fn endpoint(size: u64, chunk: u64) -> Outcome<f64> {
    let session = answerer::session(([127, 0, 0, 1], 1).into(), 0);
    let spec = answerer::spec(&session, Role::Passive, u64::MAX / 2)?;
    let (to, from) = (session.their_path, session.our_path);
    run(
        size,
        |stream| receive(stream, spec),
        move |stream| {
            let body = vec![b'x'; PIECE];
            let mut out = Vec::with_capacity(2 * PIECE);
            for number in 0..size.div_ceil(chunk) {
                let start = number * chunk;
                let length = chunk.min(size - start);
                write!(
                    out,
                    "MSRP tls{number:013} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: large\r\n\
                 Success-Report: yes\r\nFailure-Report: no\r\nByte-Range: {}-*/{size}\r\nContent-Type: text/plain\r\n\r\n",
                    start + 1
                )?;
                let mut left = length;
                while left > 0 {
                    let piece = left.min(PIECE as u64);
                    out.extend_from_slice(body.get(..piece as usize).unwrap_or_default());
                    left -= piece;
                    if out.len() >= PIECE {
                        stream.write_all(&out)?;
                        out.clear();
                    }
                }
                let flag = if start + length == size { '$' } else { '+' };
                write!(out, "\r\n-------tls{number:013}{flag}\r\n")?;
            }
            stream.write_all(&out)?;
            stream.flush()?;
            let (mut buffer, mut heard) = (vec![0; PIECE], Vec::new());
            while memmem::find(&heard, b"Status: 000 200").is_none() {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Err("no REPORT came".into());
                }
                heard.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
            Ok(())
        },
    )
}

/// Drives an endpoint until its message is settled.
fn receive(mut stream: Accepted, spec: parlour_msrp::SessionSpec) -> Outcome<()> {
    let clock = Clock::now();
    let now = || Instant::from_micros(u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut endpoint = Endpoint::new(Limits::default(), Random::new([7; 32]));
    endpoint.open(now(), spec);
    let connection = ConnectionId(1);
    endpoint.handle(now(), Input::Connected { connection, peer: stream.sock.peer_addr()?, tls: None });
    let mut buffer = vec![0; PIECE];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        endpoint
            .handle(now(), Input::Received { connection, bytes: buffer.get(..length).unwrap_or_default() });
        let (mut spooled, mut whole) = (None, false);
        loop {
            match endpoint.poll() {
                Output::Send { bytes, .. } => stream.write_all(&bytes)?,
                Output::Event(Event::Message { receipt, .. }) => {
                    endpoint.settle(now(), receipt, Verdict::Accepted);
                    whole = true;
                }
                Output::Spool { spool, offset, bytes } => {
                    spooled = Some((spool, offset + bytes.len() as u64))
                }
                Output::Idle(_) => match spooled.take() {
                    Some((spool, upto)) => endpoint.handle(now(), Input::Spooled { spool, upto }),
                    None => break,
                },
                _ => {}
            }
        }
        if whole {
            stream.flush()?;
            return Ok(());
        }
    }
}

/// Octets a second between a server and a client over TLS 1.3.
fn run(
    size: u64,
    server: impl FnOnce(Accepted) -> Outcome<()> + Send,
    client: impl FnOnce(&mut Made) -> Outcome<()>,
) -> Outcome<f64> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = own.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let accepts = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let connects = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let place = listener.local_addr()?;
    std::thread::scope(|scope| {
        let accepted = scope.spawn(move || -> Outcome<()> {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            server(StreamOwned::new(ServerConnection::new(Arc::new(accepts))?, stream))
        });
        let stream = TcpStream::connect(place)?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(connects), name)?, stream);
        // The handshake is not measured.
        stream.conn.complete_io(&mut stream.sock)?;
        let start = Clock::now();
        client(&mut stream)?;
        let took = start.elapsed();
        accepted.join().map_err(|_| "the server panicked")??;
        Ok(size as f64 / took.as_secs_f64())
    })
}
