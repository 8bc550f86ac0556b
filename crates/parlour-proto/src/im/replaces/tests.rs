use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::client::Client;
use crate::config::{Account, Config};
use crate::io::{Input, Instant, Now, Output, Security, Service, Transport};
use crate::sip::dialog::Dialog;

const NOW: Now = Now { instant: Instant::ZERO, unix: Duration::ZERO };

fn config() -> Config {
    let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
    Config { accounts: vec![account], accept: crate::config::Accept::All, ..Config::default() }
}

fn invite(transport: &str, call: &str, from: &str, rows: &str) -> String {
    format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.1;branch=z9hG4bK{call}\r\n\
         From: <{from}>;tag=theirs-{call}\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@192.0.2.1>\r\nMax-Forwards: 70\r\n{rows}Content-Length: 0\r\n\r\n"
    )
}

/// Finding a dialog among 100,000 takes as many look-ups as finding it among two.
//= IM P-2 test
#[test]
fn a_dialog_is_found_by_look_ups_not_by_looking_through() {
    let mut counts = Vec::new();
    for dialogs in [2_u64, 100_000] {
        let mut core = Core::new(config(), [1; 32]);
        for n in 0..dialogs {
            let octets = invite("UDP", &format!("call-{n}"), "sip:ann@192.0.2.1", "");
            let request = Message::parse(octets.as_bytes()).expect("an INVITE");
            let dialog = Dialog::uas(&request, "ours").expect("a dialog");
            core.sessions.index_dialog(&dialog, SessionId(n));
        }
        let peer: SocketAddr = ([192, 0, 2, 1], 5060).into();
        let flow = FlowId::Udp { socket: 0, peer };
        let last = dialogs - 1;
        let named = format!("Replaces: call-{last};to-tag=ours;from-tag=theirs-call-{last}\r\n");
        let hopeless = format!("Replaces: call%2D{last};to-tag=ours;from-tag=0\r\n");
        for rows in [named, hopeless] {
            let octets = invite("UDP", "new", "sip:ann@192.0.2.1", &rows);
            let request = Message::parse(octets.as_bytes()).expect("an INVITE");
            core.sessions.looked_up.set(0);
            let outcome = core.replacement(flow, AccountId(0), &request);
            // There is a dialog, and no session: nothing to authorise.
            assert_eq!(outcome, Err(PeerFault::NotReplaced(NotReplaced::Unknown)));
            counts.push(core.sessions.looked_up.get());
        }
    }
    // At most two spellings of the Call-ID and of the tag 0, each among confirmed dialogs and early ones.
    assert_eq!(counts, [1, 8, 1, 8]);
}

/// What Bob's client sends in answer to these messages, each from a flow.
fn answers(security: Security, messages: &[(u64, String)]) -> (Client, Vec<String>) {
    let mut client = Client::new(config(), [1; 32]);
    let local: SocketAddr = ([192, 0, 2, 2], 5061).into();
    let listening = Input::Listening { service: Service::Sip, transport: Transport::Tls, socket: 0, local };
    client.handle(NOW, listening);
    let peer: SocketAddr = ([192, 0, 2, 1], 40_000).into();
    for stream in [1, 2] {
        let (flow, service) = (FlowId::Stream(stream), Service::Sip);
        client.handle(NOW, Input::Opened { flow, service, local, peer, security: security.clone() });
    }
    let mut sent = Vec::new();
    for (stream, message) in messages {
        client.handle(NOW, Input::Received { flow: FlowId::Stream(*stream), bytes: message.as_bytes() });
        loop {
            match client.poll() {
                Output::Send { bytes, .. } => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
                Output::Idle(_) => break,
                Output::Event(_)
                | Output::Resolve { .. }
                | Output::Open { .. }
                | Output::Hold { .. }
                | Output::Resume { .. }
                | Output::Close { .. }
                | Output::Spool { .. }
                | Output::Discard { .. }
                | Output::Fetch { .. } => {}
            }
        }
    }
    (client, sent)
}

//= IM P-4 test
//= IM X-7 test
#[test]
fn without_a_core_only_the_same_caller_on_the_same_proven_connection_may() {
    const ANN: &str = "sip:ann@192.0.2.1";
    let proven = Security::Tls { verified: true };
    for (security, stream, from, status) in [
        (proven.clone(), 1, ANN, "200 OK"),
        (proven.clone(), 1, "sip:bea@192.0.2.1", "481 "),
        (proven, 2, ANN, "481 "),
        (Security::Tls { verified: false }, 1, ANN, "481 "),
        (Security::Plain, 1, ANN, "481 "),
    ] {
        let first = invite("TLS", "first", ANN, "");
        let (_, sent) = answers(security.clone(), &[(1, first.clone())]);
        let answer = sent.last().expect("an answer");
        let tag = answer.split("To: ").nth(1).and_then(|to| to.split(";tag=").nth(1));
        let tag = tag.and_then(|tag| tag.split("\r\n").next()).expect("a To tag");
        // The same seed makes the same tag.
        let rows = format!(
            "Replaces: first;to-tag={tag};from-tag=theirs-first\r\nReferred-By: <{ANN}>\r\n\
             P-Asserted-Identity: <{ANN}>\r\n"
        );
        let second = invite("TLS", "second", from, &rows);
        let (client, sent) = answers(security, &[(1, first), (stream, second)]);
        let answer = sent.iter().find(|octets| octets.contains("Call-ID: second")).expect("an answer");
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{stream} {from}: {answer}");
        assert_eq!(client.load().sessions, if status == "200 OK" { 2 } else { 1 });
    }
}
