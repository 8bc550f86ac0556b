//! tshark as judge of our bytes: a whole conversation is captured and must dissect without a complaint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::agent::{Setup, converse};
use crate::capture::{self, Packet};
use crate::harness::{Folder, output};

/// What tshark found.
pub(crate) struct Verdict {
    /// Packets that it dissected as SIP, as SDP and as MSRP.
    pub(crate) sip: usize,
    sdp: usize,
    pub(crate) msrp: usize,
    /// Malformed packets, and warnings and errors of those three.
    pub(crate) complaints: Vec<String>,
}

/// Has tshark read a capture in which these ports speak SIP and MSRP.
pub(crate) fn judge(file: &Path, sip: &[u16], msrp: &[u16]) -> Verdict {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file);
    command.args(["-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "udp.check_checksum:FALSE"]);
    for port in sip {
        command.args(["-d", &format!("udp.port=={port},sip"), "-d", &format!("tcp.port=={port},sip")]);
    }
    for port in msrp {
        command.args(["-d", &format!("tcp.port=={port},msrp")]);
    }
    command.args(["-T", "fields", "-E", "separator=|", "-e", "frame.number", "-e", "frame.protocols"]);
    command.args(["-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-e", "_ws.malformed"]);
    let text = output(&mut command);
    let mut verdict = Verdict { sip: 0, sdp: 0, msrp: 0, complaints: Vec::new() };
    for line in text.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let [_, protocols, severities, _, malformed] = fields[..] else { panic!("tshark writes {line:?}") };
        let has = |name: &str| protocols.split(':').any(|protocol| protocol == name);
        verdict.sip += usize::from(has("sip"));
        verdict.sdp += usize::from(has("sdp"));
        verdict.msrp += usize::from(has("msrp"));
        // Wireshark's levels: chat 0x200000, note 0x400000, warning 0x600000, error 0x800000.
        let bad = severities
            .split(',')
            .filter_map(|level| level.parse::<u32>().ok())
            .any(|level| level >= 0x60_0000);
        if bad || !malformed.is_empty() || has("_ws.malformed") {
            verdict.complaints.push(line.to_owned());
        }
    }
    verdict
}

/// What tshark reads of the connections in a capture that are TLS to this port, as if they had been plain, each from a port
/// of its own. There is nothing of those whose keys it has not.
pub(crate) fn decrypted(file: &Path, port: u16, keys: Option<&Path>) -> Vec<Packet> {
    let mut list = Command::new("tshark");
    list.args(["-n", "-r"]).arg(file).args(["-Y", &format!("tcp.port=={port}"), "-T", "fields"]);
    let connections = output(list.args(["-e", "tcp.stream"]));
    let mut command = Command::new("tshark");
    command.args(["-n", "-q", "-r"]).arg(file).args(["-d", &format!("tcp.port=={port},tls")]);
    if let Some(keys) = keys {
        command.arg("-o").arg(format!("tls.keylog_file:{}", keys.display()));
    }
    for connection in connections.lines().collect::<BTreeSet<_>>() {
        command.args(["-z", &format!("follow,tls,raw,{connection}")]);
    }
    let (mut client, mut sent, mut packets) = (0, BTreeMap::<(u16, u16), u32>::new(), Vec::new());
    for line in output(&mut command).lines() {
        if let Some(connection) = line.strip_prefix("Filter: tcp.stream eq ") {
            client = 40_000 + connection.parse::<u16>().expect("few connections");
        }
        // What the second node sent is set in; the client of the connection speaks first.
        let (back, digits) = line.strip_prefix('\t').map_or((false, line), |rest| (true, rest));
        let Some(payload) = octets(digits).filter(|payload| payload.len() > 2) else { continue };
        let (source, destination) = if back { (port, client) } else { (client, port) };
        let next = sent.entry((source, destination)).or_insert(1);
        let sequence = *next;
        *next += u32::try_from(payload.len()).expect("a short conversation");
        packets.push(Packet { protocol: 6, source, destination, sequence, payload });
    }
    packets
}

/// What clients sent in messages of WebSocket to this port, by TLS if there are keys: a packet for each message. Those of
/// the server are text, of which tshark shows lines.
pub(crate) fn messages(file: &Path, port: u16, keys: Option<&Path>) -> Vec<Packet> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file);
    if let Some(keys) = keys {
        command.arg("-o").arg(format!("tls.keylog_file:{}", keys.display()));
        command.args(["-d", &format!("tcp.port=={port},tls"), "-d", &format!("tls.port=={port},http")]);
    } else {
        command.args(["-d", &format!("tcp.port=={port},http")]);
    }
    command.args(["-Y", &format!("websocket && tcp.dstport=={port}"), "-T", "fields"]);
    let text = output(command.args(["-e", "tcp.srcport", "-e", "data.data"]));
    let (mut sent, mut packets) = (BTreeMap::<u16, u32>::new(), Vec::new());
    for line in text.lines() {
        let (source, all) = line.split_once('\t').expect("two fields");
        let source = source.parse().expect("a port");
        for payload in all.split(',').filter(|digits| !digits.is_empty()) {
            let payload = octets(payload).expect("hexadecimal digits");
            let next = sent.entry(source).or_insert(1);
            let sequence = *next;
            *next += u32::try_from(payload.len()).expect("a short conversation");
            packets.push(Packet { protocol: 6, source, destination: port, sequence, payload });
        }
    }
    packets
}

/// What these hexadecimal digits say.
fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[test]
#[ignore = "needs tcpdump and tshark: run ./check"]
fn a_conversation_dissects_without_complaint() {
    let folder = Folder::new("dissected");
    let (to, from) = (Setup::new(&folder, "bob", "ask"), Setup::new(&folder, "alice", "ask"));
    let file = folder.join("whole.pcap");
    let recording = capture::start(&folder, &file, &[to.sip, from.sip, to.msrp, from.msrp]);
    let (mut bob, mut alice) = (to.start(&folder, "bob"), from.start(&folder, "alice"));
    converse(&to, &mut alice, &mut bob);
    alice.quit();
    bob.quit();
    capture::finish(recording, &file);

    let packets = capture::read(&fs::read(&file).expect("a capture"));
    let msrp = [to.msrp, from.msrp];
    let split = capture::one_frame_a_packet(&packets, &msrp).expect("MSRP frames, one after the other");
    let frames = split
        .iter()
        .filter(|packet| msrp.contains(&packet.source) || msrp.contains(&packet.destination))
        .count();
    let file = folder.write("split.pcap", capture::write(&split));
    let verdict = judge(&file, &[to.sip, from.sip], &msrp);
    assert!(verdict.complaints.is_empty(), "{:#?}", verdict.complaints);
    assert_eq!(verdict.msrp, frames, "every frame is seen as MSRP");
    assert!(frames >= 8, "three messages and their answers, one in several chunks: {frames}");
    // INVITE, 180, 200, ACK, BYE, 200.
    assert!(verdict.sip >= 6 && verdict.sdp >= 2, "{} SIP, {} SDP", verdict.sip, verdict.sdp);
}

const INVITE: &str = "INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\n\
    From: <sip:alice@127.0.0.1>;tag=1\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:alice@127.0.0.1>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

const SEND: &str = "MSRP a786hjs2 SEND\r\nTo-Path: msrp://127.0.0.1:7000/abc;tcp\r\n\
    From-Path: msrp://127.0.0.1:7001/def;tcp\r\nMessage-ID: 87652\r\nByte-Range: 1-2/2\r\nContent-Type: text/plain\r\n\r\n\
    Hi\r\n-------a786hjs2$\r\n";

fn planted(sip: &str, msrp: &str) -> Verdict {
    let folder = Folder::new("planted");
    let packet = |protocol, port, text: &str| Packet {
        protocol,
        source: port,
        destination: port,
        sequence: 1,
        payload: text.as_bytes().to_vec(),
    };
    let file = folder.write("planted.pcap", capture::write(&[packet(17, 5070, sip), packet(6, 7000, msrp)]));
    judge(&file, &[5070], &[7000])
}

#[test]
#[ignore = "needs tshark: run ./check"]
fn the_judge_finds_planted_faults() {
    let good = planted(INVITE, SEND);
    assert_eq!((good.sip, good.msrp, good.complaints.len()), (1, 1, 0), "{:?}", good.complaints);
    let plants = [
        (INVITE.replace("Content-Length: 0", "Content-Length: none"), SEND.to_owned()),
        (
            INVITE.replace(
                "Content-Length: 0\r\n\r\n",
                "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1\r\nm= message 9 TCP/MSRP *\r\n",
            ),
            SEND.to_owned(),
        ),
    ];
    for (sip, msrp) in &plants {
        let verdict = planted(sip, msrp);
        assert_eq!(verdict.complaints.len(), 1, "{sip}{msrp}{:?}", verdict.complaints);
    }
    assert_eq!(
        planted(INVITE, "MRSP a786hjs2 SEND\r\n").msrp,
        0,
        "what is no MSRP does not count as a frame"
    );
}
