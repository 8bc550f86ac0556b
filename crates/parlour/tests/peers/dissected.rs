//! tshark as judge of our bytes: a whole conversation is captured and must dissect without a complaint.

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
    msrp: usize,
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
