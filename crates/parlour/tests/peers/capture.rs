//! Captures of loopback traffic: reading them, and writing them again with one MSRP frame a packet, as tshark does not
//! put MSRP frames together from TCP segments.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Folder, Program, await_until};

/// Ethernet and IPv4 headers without options.
const ETHERNET: usize = 14;
const IP: usize = 20;
/// The most that a segment of ours carries: an IPv4 packet has a length of 16 bits.
const ROOM: usize = 65_000;

/// A TCP segment or UDP datagram over IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// 6 for TCP, 17 for UDP.
    pub(crate) protocol: u8,
    pub(crate) source: u16,
    pub(crate) destination: u16,
    /// The TCP sequence number.
    pub(crate) sequence: u32,
    pub(crate) payload: Vec<u8>,
}

/// What stands in a capture behind all that came before it.
const MARK: &[u8] = b"so much had passed when this was sent";

/// A capture that goes on.
pub(crate) struct Recording {
    program: Program,
    /// Both ends of a datagram that is captured too.
    marker: UdpSocket,
}

/// Captures what passes loopback on these ports until it is ended.
pub(crate) fn start(folder: &Folder, file: &Path, ports: &[u16]) -> Recording {
    let marker = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let own = marker.local_addr().expect("a bound socket has an address").port();
    let ports = ports.iter().chain([&own]);
    let filter = ports.map(|port| format!("port {port}")).collect::<Vec<_>>().join(" or ");
    let mut command = Command::new("tcpdump");
    command
        .args(["-i", "lo", "-U", "-s", "0", "-B", "16384", "--immediate-mode", "-w"])
        .arg(file)
        .arg(filter);
    if Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0")) {
        // Else it becomes another user, who may not write here.
        command.args(["-Z", "root"]);
    }
    let mut program = Program::run(folder, "tcpdump", &mut command);
    let log = folder.join("tcpdump.log");
    program.ready(Duration::from_secs(10), || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on lo"))
    });
    Recording { program, marker }
}

/// Ends a capture when all is in it that has passed so far.
pub(crate) fn finish(mut recording: Recording, file: &Path) {
    let own = recording.marker.local_addr().expect("a bound socket has an address");
    recording.marker.send_to(MARK, own).expect("loopback takes it");
    await_until(Duration::from_secs(30), "the capture to be complete", || {
        let so_far = std::fs::read(file).unwrap_or_default();
        so_far.get(so_far.len().saturating_sub(1000)..).is_some_and(|end| find(end, MARK).is_some())
    });
    recording.program.terminate();
    recording.program.succeed(Duration::from_secs(10));
}

/// The packets of a capture file (the classic format, Ethernet), those of IPv4 that carry something.
pub(crate) fn read(file: &[u8]) -> Vec<Packet> {
    let (packets, rest) = so_far(file);
    assert!(rest.is_empty(), "a whole packet");
    packets
}

/// The same of one that is still written: the packets that are whole, and the octets behind them.
pub(crate) fn so_far(file: &[u8]) -> (Vec<Packet>, &[u8]) {
    assert_eq!(file.get(..4), Some(&[0xd4, 0xc3, 0xb2, 0xa1][..]), "a little-endian capture in microseconds");
    let mut packets = Vec::new();
    let mut rest = &file[24..];
    while let Some((head, after)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let Some((frame, after)) = after.split_at_checked(length) else { break };
        packets.extend(packet(frame).filter(|packet| packet.payload != MARK));
        rest = after;
    }
    (packets, rest)
}

fn packet(frame: &[u8]) -> Option<Packet> {
    if frame.get(12..14)? != [0x08, 0x00] {
        return None;
    }
    let ip = frame.get(ETHERNET..)?;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let protocol = *ip.get(9)?;
    let inner = ip.get(usize::from(ip.first()? & 0x0f) * 4..total)?;
    let port = |at: usize| Some(u16::from_be_bytes([*inner.get(at)?, *inner.get(at + 1)?]));
    let (sequence, header) = match protocol {
        6 => (u32::from_be_bytes(inner.get(4..8)?.try_into().ok()?), usize::from(inner.get(12)? >> 4) * 4),
        17 => (0, 8),
        _ => return None,
    };
    let payload = inner.get(header..)?.to_vec();
    let (source, destination) = (port(0)?, port(2)?);
    (!payload.is_empty()).then_some(Packet { protocol, source, destination, sequence, payload })
}

/// A capture file with these packets, in their order, a millisecond apart.
pub(crate) fn write(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1] {
        file.extend(word.to_le_bytes());
    }
    for (index, packet) in packets.iter().enumerate() {
        let header = if packet.protocol == 6 { 20 } else { 8 };
        let length = IP + header + packet.payload.len();
        let length16 = u16::try_from(length).expect("a packet of less than 64 KiB");
        let micros = u32::try_from(index * 1000).expect("a short capture");
        for word in [micros / 1_000_000, micros % 1_000_000] {
            file.extend(word.to_le_bytes());
        }
        for _ in 0..2 {
            file.extend(u32::from(length16).saturating_add(ETHERNET as u32).to_le_bytes());
        }
        file.extend([0; 12]);
        file.extend([0x08, 0x00, 0x45, 0]);
        file.extend(length16.to_be_bytes());
        file.extend([0, 0, 0, 0, 64, packet.protocol, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        file.extend(packet.source.to_be_bytes());
        file.extend(packet.destination.to_be_bytes());
        if packet.protocol == 6 {
            file.extend(packet.sequence.to_be_bytes());
            file.extend([0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        } else {
            file.extend(u16::try_from(8 + packet.payload.len()).expect("as above").to_be_bytes());
            file.extend([0, 0]);
        }
        file.extend(&packet.payload);
    }
    file
}

/// The same traffic with one MSRP frame a packet on the connections of these ports. Says what is wrong if the bytes on
/// them are not MSRP frames one after the other.
pub(crate) fn one_frame_a_packet(packets: &[Packet], ports: &[u16]) -> Result<Vec<Packet>, String> {
    let msrp = |packet: &Packet| {
        packet.protocol == 6 && (ports.contains(&packet.source) || ports.contains(&packet.destination))
    };
    let mut out = Vec::new();
    let mut waiting = BTreeMap::<(u16, u16), Stream>::new();
    for packet in packets {
        if !msrp(packet) {
            out.push(packet.clone());
            continue;
        }
        let stream = waiting.entry((packet.source, packet.destination)).or_insert_with(|| Stream {
            next: packet.sequence,
            written: packet.sequence,
            bytes: Vec::new(),
        });
        // Loopback neither loses nor reorders, but a capture may show a segment twice.
        let ahead = packet.sequence.wrapping_sub(stream.next);
        if ahead > u32::MAX / 2 {
            continue;
        }
        if ahead != 0 {
            return Err(format!("the capture lacks {ahead} octets"));
        }
        stream.next = stream.next.wrapping_add(u32::try_from(packet.payload.len()).expect("a packet"));
        stream.bytes.extend(&packet.payload);
        while let Some(length) = frame_length(&stream.bytes)? {
            if length > ROOM {
                return Err(format!("a frame of {length} octets fits no packet"));
            }
            let payload: Vec<u8> = stream.bytes.drain(..length).collect();
            out.push(Packet { sequence: stream.written, payload, ..packet.clone() });
            stream.written = stream.written.wrapping_add(u32::try_from(length).expect("checked above"));
        }
    }
    match waiting.values().find(|stream| !stream.bytes.is_empty()) {
        Some(stream) => Err(format!("{} octets after the last frame", stream.bytes.len())),
        None => Ok(out),
    }
}

struct Stream {
    next: u32,
    written: u32,
    bytes: Vec<u8>,
}

/// The length of the MSRP frame that `bytes` begins with, `None` while it is not whole (RFC 4975 section 9).
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = find(bytes, b"\r\n") else {
        let begun = bytes.len().min(5);
        return if bytes[..begun] == b"MSRP "[..begun] { Ok(None) } else { Err(not_a_frame(bytes)) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| not_a_frame(bytes))?;
    let mut words = line.splitn(3, ' ');
    let (Some("MSRP"), Some(tid), Some(_)) = (words.next(), words.next(), words.next()) else {
        return Err(not_a_frame(bytes));
    };
    if !(4..=32).contains(&tid.len()) {
        return Err(format!("a transaction id of {} characters", tid.len()));
    }
    let mark = format!("\r\n-------{tid}");
    let mut from = end;
    while let Some(found) = find(&bytes[from..], mark.as_bytes()) {
        let after = from + found + mark.len();
        match bytes.get(after..after + 3) {
            None => return Ok(None),
            Some([b'$' | b'+' | b'#', b'\r', b'\n']) => return Ok(Some(after + 3)),
            Some(_) => from = after,
        }
    }
    Ok(None)
}

fn not_a_frame(bytes: &[u8]) -> String {
    format!("no MSRP frame: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[test]
fn frames_are_split_whatever_the_segments() {
    let frames: [&[u8]; 3] = [
        b"MSRP a786hjs2 SEND\r\nTo-Path: msrp://a:1/x;tcp\r\n\r\nbody -------a786hjs2\r\n\r\n-------a786hjs2$\r\n",
        b"MSRP a786hjs3 200 OK\r\nTo-Path: msrp://a:1/x;tcp\r\n-------a786hjs3$\r\n",
        b"MSRP bbbb REPORT\r\n-------bbbb+\r\n",
    ];
    let stream = frames.concat();
    for size in [1, 7, 50, stream.len()] {
        let mut sequence = u32::MAX - 20;
        let mut packets = Vec::new();
        for part in stream.chunks(size) {
            packets.push(Packet { protocol: 6, source: 1, destination: 2, sequence, payload: part.to_vec() });
            sequence = sequence.wrapping_add(u32::try_from(part.len()).expect("short"));
        }
        let split = one_frame_a_packet(&read(&write(&packets)), &[2]).expect("only frames");
        assert_eq!(split.iter().map(|packet| packet.payload.as_slice()).collect::<Vec<_>>(), frames);
        assert_eq!(split[0].sequence, u32::MAX - 20);
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"MSRP abcd SEND\r\n-------abcd$\r\nrest",
        b"MSRP abc 200 OK\r\n-------abc$\r\n",
    ] {
        let packet = Packet { protocol: 6, source: 1, destination: 2, sequence: 0, payload: bytes.to_vec() };
        assert!(one_frame_a_packet(&[packet], &[2]).is_err(), "{bytes:?}");
    }
}
