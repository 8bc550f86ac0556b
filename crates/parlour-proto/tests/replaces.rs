//! Who may replace a session where no core vouches for anybody (P-4).

use std::net::SocketAddr;
use std::time::Duration;

use parlour_proto::client::Client;
use parlour_proto::config::{Accept, Account, Config};
use parlour_proto::io::{FlowId, Input, Instant, Now, Output, Security, Service, Transport};

const NOW: Now = Now { instant: Instant::ZERO, unix: Duration::ZERO };

fn config() -> Config {
    let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
    Config { accounts: vec![account], accept: Accept::All, ..Config::default() }
}

fn invite(call: &str, from: &str, rows: &str) -> String {
    format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK{call}\r\n\
         From: <{from}>;tag=theirs-{call}\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@192.0.2.1>\r\nMax-Forwards: 70\r\n{rows}Content-Length: 0\r\n\r\n"
    )
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
                | Output::Locate { .. }
                | Output::Open { .. }
                | Output::Hold { .. }
                | Output::Resume { .. }
                | Output::Close { .. }
                | Output::Spool { .. }
                | Output::Keep { .. }
                | Output::Discard { .. }
                | Output::Settled { .. }
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
    let proven = Security::Tls { verified: true, certificate: None };
    for (security, stream, from, status) in [
        (proven.clone(), 1, ANN, "200 OK"),
        (proven.clone(), 1, "sip:bea@192.0.2.1", "481 "),
        (proven, 2, ANN, "481 "),
        (Security::Tls { verified: false, certificate: None }, 1, ANN, "481 "),
        (Security::Plain, 1, ANN, "481 "),
    ] {
        let first = invite("first", ANN, "");
        let (_, sent) = answers(security.clone(), &[(1, first.clone())]);
        let answer = sent.last().expect("an answer");
        let tag = answer.split("To: ").nth(1).and_then(|to| to.split(";tag=").nth(1));
        let tag = tag.and_then(|tag| tag.split("\r\n").next()).expect("a To tag");
        // The same seed makes the same tag.
        let rows = format!(
            "Replaces: first;to-tag={tag};from-tag=theirs-first\r\nReferred-By: <{ANN}>\r\n\
             P-Asserted-Identity: <{ANN}>\r\n"
        );
        let second = invite("second", from, &rows);
        let (client, sent) = answers(security, &[(1, first), (stream, second)]);
        let answer = sent.iter().find(|octets| octets.contains("Call-ID: second")).expect("an answer");
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{stream} {from}: {answer}");
        assert_eq!(client.load().sessions, if status == "200 OK" { 2 } else { 1 });
    }
}
