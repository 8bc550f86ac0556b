use std::net::SocketAddr;

use super::*;
use crate::config::{Account, Config};
use crate::sip::dialog::Dialog;

fn config() -> Config {
    let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
    Config { accounts: vec![account], ..Config::default() }
}

fn invite(call: &str, rows: &str) -> String {
    format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call}\r\n\
         From: <sip:ann@192.0.2.1>;tag=theirs-{call}\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
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
            let octets = invite(&format!("call-{n}"), "");
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
            let octets = invite("new", &rows);
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
