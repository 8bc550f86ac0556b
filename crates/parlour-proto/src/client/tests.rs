//! What a client keeps of its peers.

use super::*;
use crate::config::Account;
use crate::sip::method::Method;

const INVITE: &str = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
    Contact: \"A\" <sip:alice@192.0.2.1;x=%41>;+sip.instance=\"<urn:uuid:1>\"\r\n";

/// What an invitation with these rows told about the peer.
fn remote(rows: &str) -> crate::im::session::Remote {
    let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
    let mut client = Client::new(Config { accounts: vec![account], ..Config::default() }, [1; 32]);
    let now = Now { instant: crate::io::Instant::ZERO, unix: std::time::Duration::ZERO };
    let local = ([192, 0, 2, 2], 5060).into();
    let listening = Input::Listening { service: Service::Sip, transport: Transport::Udp, socket: 0, local };
    client.handle(now, listening);
    let flow = FlowId::Udp { socket: 0, peer: ([192, 0, 2, 1], 5060).into() };
    client.handle(now, Input::Received { flow, bytes: format!("{INVITE}{rows}\r\n").as_bytes() });
    let id = client.core.sessions.ids().pop().expect("an invitation");
    let session = client.core.sessions.take(id).expect("the same");
    let crate::im::session::Phase::Invited(invited) = session.phase else { panic!("{:?}", session.phase) };
    invited.remote
}

/// What Bob keeps of Alice's Allow after these requests of hers in the dialog: method and rows.
fn allowed_after(requests: &[(&str, &str)]) -> crate::sip::header::MethodSet {
    let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
    let mut client = Client::new(Config { accounts: vec![account], ..Config::default() }, [1; 32]);
    let now = Now { instant: crate::io::Instant::ZERO, unix: std::time::Duration::ZERO };
    let local = ([192, 0, 2, 2], 5060).into();
    client
        .handle(now, Input::Listening { service: Service::Sip, transport: Transport::Udp, socket: 0, local });
    let flow = FlowId::Udp { socket: 0, peer: ([192, 0, 2, 1], 5060).into() };
    let invite = format!("{INVITE}Allow: INVITE, ACK\r\n\r\n");
    client.handle(now, Input::Received { flow, bytes: invite.as_bytes() });
    let id = client.core.sessions.ids().pop().expect("an invitation");
    let tag = client.core.sessions.get(id).and_then(|session| session.phase.dialog());
    let tag = tag.map(|dialog| dialog.local_tag().to_owned()).expect("a dialog");
    for (number, (method, rows)) in (2..).zip(requests) {
        let request = INVITE.replace("INVITE sip", &format!("{method} sip"));
        let request = request.replace("1 INVITE", &format!("{number} {method}"));
        let request = request.replace("z9hG4bK1", &format!("z9hG4bK{number}"));
        let request =
            request.replace("To: <sip:bob@192.0.2.2>", &format!("To: <sip:bob@192.0.2.2>;tag={tag}"));
        let request = format!("{request}{rows}\r\n");
        client.handle(now, Input::Received { flow, bytes: request.as_bytes() });
    }
    let mut session = client.core.sessions.take(id).expect("the session");
    session.phase.remote_mut().expect("it stands").allow
}

//= IM G-3 test
#[test]
fn a_later_allow_takes_the_place_of_the_first() {
    let first = allowed_after(&[("UPDATE", ""), ("OPTIONS", "")]);
    assert!(first.contains(Method::Invite) && !first.contains(Method::Update), "silence changes nothing");
    for method in ["UPDATE", "OPTIONS"] {
        let later = allowed_after(&[(method, "Allow: ACK, UPDATE\r\nAllow: BYE\r\n")]);
        let has = |method| later.contains(method);
        assert!(has(Method::Update) && has(Method::Bye) && !has(Method::Invite), "{method}: {later:?}");
    }
    let none = allowed_after(&[("UPDATE", "Allow: INVITE, UPDATE\r\n"), ("UPDATE", "Allow: \r\n")]);
    assert!(none.is_known() && none.iter().next().is_none());
}

//= IM G-3 test
//= IM G-4 test
#[test]
fn what_the_peer_allows_and_who_the_session_is_are_kept() {
    let told = remote("Allow: INVITE, ACK\r\nallow: UPDATE,bye\r\n");
    assert!(told.allow.is_known());
    let has = |method| told.allow.contains(method);
    assert!(has(Method::Invite) && has(Method::Ack) && has(Method::Update));
    assert!(!has(Method::Bye), "methods are case-sensitive");
    assert_eq!(&*told.session_identity, "\"A\" <sip:alice@192.0.2.1;x=%41>;+sip.instance=\"<urn:uuid:1>\"");
    assert!(!remote("").allow.is_known(), "absence is not absence of support");
    let none = remote("Allow: \r\n").allow;
    assert!(none.is_known() && none.iter().next().is_none());
}
