//! Relays that act for us (RFC 4976), played by a script: AUTH, what a relay lends, and sessions behind it.

use std::time::Duration;

use parlour_msrp::digest::{Challenge, Credentials, Qop, Refusal, Space};
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Event, FailureReport, Input, LeaseFailure, LeaseId, Outgoing, Output, RelayId, RelaySpec,
    Remote, Role, SendFailure, SessionFailure, SessionId, SessionSpec, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, frames, spec, text};

const RELAY: &str = "msrps://relay.example.com;tcp";
const OUTER: &str = "msrps://outer.example.com;tcp";
/// What the relay lends.
const LENT: &str = "msrps://relay.example.com:9000/jui787s2f;tcp";
const LENT_OUTER: &str = "msrps://outer.example.com:9000/mywdEe1233;tcp";
const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"relay.example.com\", qop=\"auth\", nonce=\"n1\"";

/// Bob and the connection to his relay.
struct Behind {
    bob: Bob,
    relay: RelayId,
    connection: ConnectionId,
}

fn credentials() -> Credentials {
    Credentials { username: "bob".to_owned(), password: "secret".to_owned().into(), realm: None }
}

fn uri(text: &str) -> MsrpUri {
    MsrpUri::parse(text).expect("a URI")
}

fn relay_spec(chain: &str) -> RelaySpec {
    let chain = MsrpPath::parse(chain).expect("a path");
    RelaySpec::new(chain, credentials())
}

/// The values of a header in what was written.
fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

fn value<'t>(text: &'t str, name: &str) -> &'t str {
    values(text, name).first().copied().unwrap_or_else(|| panic!("no {name} in {text}"))
}

impl Behind {
    /// Bob wants a lease, and his relay has accepted the connection.
    fn connected(spec: RelaySpec) -> (Behind, LeaseId) {
        let mut bob = Bob::new();
        let relay = bob.endpoint.add_relay(spec);
        let lease = bob.endpoint.lease(bob.now, relay, uri(BOB));
        bob.drain();
        let connection = match bob.outputs.pop() {
            Some(Output::ConnectRelay { connection, .. }) => connection,
            other => panic!("{other:?}"),
        };
        bob.connect(connection);
        (Behind { bob, relay, connection }, lease)
    }

    /// Bob has a lease for the session with the URI of [`BOB`].
    fn leased() -> (Behind, LeaseId) {
        let (mut behind, lease) = Behind::connected(relay_spec(RELAY));
        behind.grant(&["Expires: 900"]);
        assert!(matches!(behind.bob.take_events()[..], [Event::Leased { .. }]));
        (behind, lease)
    }

    /// The one AUTH that was written: its transaction identifier, and all of it.
    fn auth(&mut self) -> (String, String) {
        let text = self.bob.take_text(self.connection);
        let frames = frames(&text);
        assert!(frames.len() == 1 && frames[0].1 == "AUTH", "{text}");
        (frames[0].0.clone(), text)
    }

    fn respond(&mut self, tid: &str, status: &str, rows: &[&str]) {
        let mut text = format!("MSRP {tid} {status}\r\nTo-Path: {BOB}\r\nFrom-Path: {RELAY}\r\n");
        rows.iter().for_each(|row| text += &format!("{row}\r\n"));
        self.receive(&(text + &format!("-------{tid}$\r\n")));
    }

    fn receive(&mut self, text: &str) {
        self.bob.receive_on(self.connection, text);
    }

    /// Answers the AUTH that was written with URIs of the relay.
    fn grant(&mut self, rows: &[&str]) {
        let (tid, _) = self.auth();
        let use_path = format!("Use-Path: {LENT}");
        self.respond(&tid, "200 OK", &[&[use_path.as_str()], rows].concat());
    }

    /// A SEND of Alice, as the relay passes it on.
    fn pass_on(&mut self, tid: &str, rows: &[&str], body: Option<&str>) {
        let rows = rows.iter().map(|row| format!("{row}\r\n")).collect::<String>();
        let body = body.map(|body| format!("Content-Type: text/plain\r\n\r\n{body}\r\n")).unwrap_or_default();
        self.receive(&format!(
            "MSRP {tid} SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {LENT} {ALICE}\r\n{rows}{body}-------{tid}$\r\n"
        ));
    }

    /// Why the lease that was asked for did not come.
    fn refused(&mut self) -> LeaseFailure {
        let mut events = self.bob.take_events();
        match events.pop() {
            Some(Event::LeaseLost { why, .. }) if events.is_empty() => why,
            other => panic!("{other:?} after {events:?}"),
        }
    }

    fn close(&mut self) {
        self.bob.input(Input::Closed { connection: self.connection });
    }
}

fn behind_relay(lease: LeaseId, role: Role) -> SessionSpec {
    spec(role).with(|spec| spec.via = Some(lease))
}

fn unconfirmed(message_id: &str) -> Outgoing {
    text(message_id, "hello")
}

/// Checks an Authorization row as a relay does.
fn is_authorized(row: &str, challenge: &str, uri: &str) -> bool {
    let fields = Challenge::parse(row).expect("Digest");
    let challenge = Challenge::parse(challenge).expect("Digest");
    let (mut space, _) = Space::understand(|name| challenge.param(name), Qop::AuthAlone).expect("understood");
    let cnonce = fields.param("cnonce").expect("a cnonce");
    space.answer(&credentials(), "AUTH", uri, &cnonce).0 == row
}

//= IM M-20 test
#[test]
fn a_challenge_is_answered_over_the_rightmost_uri_and_brings_a_use_path() {
    let (mut behind, lease) = Behind::connected(relay_spec(RELAY));
    let (first, text) = behind.auth();
    let expected =
        format!("MSRP {first} AUTH\r\nTo-Path: {RELAY}\r\nFrom-Path: {BOB}\r\n-------{first}$\r\n");
    assert_eq!(text, expected, "the first AUTH has nothing to answer yet");
    behind.respond(&first, "401 Unauthorized", &[CHALLENGE]);
    let (second, text) = behind.auth();
    assert_ne!(first, second);
    let authorization = value(&text, "Authorization").to_owned();
    let challenge = CHALLENGE.split_once(": ").expect("a header").1;
    assert!(is_authorized(&authorization, challenge, RELAY), "{authorization}");
    assert!(authorization.contains("qop=auth, nc=00000001") && authorization.contains("cnonce=\""));
    behind.respond(&second, "200 OK", &[&format!("Use-Path: {LENT}"), "Expires: 900"]);
    let path = MsrpPath::parse(&format!("{LENT} {BOB}")).expect("a path");
    let lifetime = Some(Duration::from_secs(900));
    assert_eq!(behind.bob.take_events(), [Event::Leased { lease, path, lifetime }]);
}

//= IM M-20 test
#[test]
fn the_relay_proves_that_it_knows_the_password_and_its_next_nonce_is_used() {
    for (secret, good) in [("secret", true), ("guess", false)] {
        let (mut behind, _) = Behind::connected(relay_spec(RELAY));
        let (tid, _) = behind.auth();
        behind.respond(&tid, "401 Unauthorized", &[CHALLENGE]);
        let (tid, text) = behind.auth();
        let authorization = value(&text, "Authorization");
        let cnonce = Challenge::parse(authorization).and_then(|it| it.param("cnonce")).expect("a cnonce");
        // RFC 7616 3.5: as the response is computed, but A2 is ":" and the URI, which an empty method yields.
        let challenge = Challenge::parse(CHALLENGE.split_once(": ").expect("a header").1).expect("Digest");
        let (mut space, _) =
            Space::understand(|name| challenge.param(name), Qop::AuthAlone).expect("understood");
        let theirs = Credentials { password: secret.to_owned().into(), ..credentials() };
        let (answer, _) = space.answer(&theirs, "", RELAY, &cnonce);
        let rspauth =
            Challenge::parse(&answer).and_then(|it| it.param("response")).expect("a response").into_owned();
        let info = format!(
            "Authentication-Info: nextnonce=\"n2\", rspauth=\"{rspauth}\", cnonce=\"{cnonce}\", nc=00000001, qop=auth"
        );
        behind.respond(&tid, "200 OK", &[&format!("Use-Path: {LENT}"), &info, "Expires: 900"]);
        if !good {
            assert_eq!(behind.refused(), LeaseFailure::NotProven);
            continue;
        }
        assert!(matches!(behind.bob.take_events()[..], [Event::Leased { .. }]));
        behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(ALICE));
        behind.bob.drain();
        let (_, text) = behind.auth();
        let row = value(&text, "Authorization");
        assert!(row.contains("nonce=\"n2\"") && row.contains("nc=00000001"), "{row}");
    }
}

//= IM M-20 test
#[test]
fn an_endless_challenger_gets_two_answers() {
    let (mut behind, _) = Behind::connected(relay_spec(RELAY));
    let mut answers = 0;
    let refusal = loop {
        let (tid, text) = behind.auth();
        answers += values(&text, "Authorization").len();
        behind.respond(&tid, "401 Unauthorized", &[&format!("{CHALLENGE}, stale=true")]);
        if !behind.bob.outputs.is_empty() {
            break behind.refused();
        }
        assert!(answers < 9, "endless");
    };
    assert_eq!((answers, refusal), (2, LeaseFailure::Challenge(Refusal::TooOften)));
    assert_eq!(behind.bob.take_text(behind.connection), "");
}

//= IM M-20 test
#[test]
fn a_wrong_password_is_tried_once_and_all_that_wait_are_told() {
    let (mut behind, first) = Behind::connected(relay_spec(RELAY));
    let second = behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(ALICE));
    behind.bob.drain();
    for _ in 0..2 {
        let (tid, _) = behind.auth();
        behind.respond(&tid, "401 Unauthorized", &[CHALLENGE]);
    }
    let why = LeaseFailure::Challenge(Refusal::Rejected);
    let lost = |lease| Event::LeaseLost { lease, why: why.clone() };
    assert_eq!(behind.bob.take_events(), [lost(first), lost(second)]);
    assert_eq!(behind.bob.take_text(behind.connection), "");
}

//= IM M-20 test
#[test]
fn challenges_that_a_relay_may_not_send_are_not_answered() {
    let not_understood = LeaseFailure::Challenge(Refusal::NotUnderstood);
    for (challenge, why) in [
        ("X: y", LeaseFailure::Challenge(Refusal::NoChallenge)),
        ("WWW-Authenticate: Basic realm=\"r\"", not_understood.clone()),
        ("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth,auth-int\"", not_understood.clone()),
        ("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"", not_understood.clone()),
        (
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5-sess",
            not_understood,
        ),
        (
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"",
            LeaseFailure::Challenge(Refusal::OtherRealm),
        ),
    ] {
        let own = Credentials { realm: Some("relay.example.com".to_owned()), ..credentials() };
        let (mut behind, _) = Behind::connected(relay_spec(RELAY).with(|spec| spec.credentials = own));
        let (tid, _) = behind.auth();
        behind.respond(&tid, "401 Unauthorized", &[challenge]);
        assert_eq!(behind.refused(), why, "{challenge}");
        assert_eq!(behind.bob.take_text(behind.connection), "", "{challenge}");
    }
}

//= IM M-20 test
//= IM M-12 test
#[test]
fn expires_is_asked_for_within_what_423_allows_once() {
    for (wanted, bound, asked) in [
        (None, "Max-Expires: 600", "600"),
        (Some(9), "Min-Expires: 60", "60"),
        (Some(900), "Max-Expires: 600", "600"),
    ] {
        let (mut behind, _) = Behind::connected(relay_spec(RELAY).with(|spec| spec.expires = wanted));
        let (tid, text) = behind.auth();
        assert_eq!(values(&text, "Expires"), wanted.map(|it| it.to_string()).iter().collect::<Vec<_>>());
        behind.respond(&tid, "423 Interval Out-of-Bounds", &[bound]);
        let (tid, text) = behind.auth();
        assert_eq!(value(&text, "Expires"), asked);
        behind.respond(&tid, "423 Interval Out-of-Bounds", &[bound]);
        assert_eq!(behind.refused(), LeaseFailure::OutOfBounds);
    }
    for bound in ["Min-Expires: 0", "Max-Expires: -1", "X: y", "Min-Expires: 60\r\nMax-Expires: 6"] {
        let (mut behind, _) = Behind::connected(relay_spec(RELAY));
        let (tid, _) = behind.auth();
        behind.respond(&tid, "423 Interval Out-of-Bounds", &[bound]);
        assert_eq!(behind.refused(), LeaseFailure::OutOfBounds, "{bound}");
    }
}

//= IM M-21 test
#[test]
fn a_chain_is_authenticated_to_relay_by_relay() {
    let (mut behind, lease) = Behind::connected(relay_spec(&format!("{RELAY} {OUTER}")));
    behind.grant(&["Expires: 900"]);
    assert_eq!(behind.bob.take_events(), []);
    let (tid, text) = behind.auth();
    assert_eq!(value(&text, "To-Path"), format!("{LENT} {OUTER}"), "through the first to the second");
    let challenge = CHALLENGE.replace("relay.", "outer.");
    behind.respond(&tid, "401 Unauthorized", &[&challenge]);
    let (tid, text) = behind.auth();
    assert_eq!(value(&text, "To-Path"), format!("{LENT} {OUTER}"));
    let row = value(&text, "Authorization").to_owned();
    assert!(is_authorized(&row, challenge.split_once(": ").expect("a header").1, OUTER), "{row}");
    // What is behind the first relay is known by its rspauth alone.
    let cnonce = Challenge::parse(&row).and_then(|it| it.param("cnonce")).expect("a cnonce");
    let of = Challenge::parse(challenge.split_once(": ").expect("a header").1).expect("Digest");
    let (mut space, _) = Space::understand(|name| of.param(name), Qop::AuthAlone).expect("understood");
    let (answer, _) = space.answer(&credentials(), "", OUTER, &cnonce);
    let rspauth = Challenge::parse(&answer).and_then(|it| it.param("response")).expect("a response");
    let info =
        format!("Authentication-Info: rspauth=\"{rspauth}\", cnonce=\"{cnonce}\", nc=00000001, qop=auth");
    behind.respond(&tid, "200 OK", &[&format!("Use-Path: {LENT} {LENT_OUTER}"), &info, "Expires: 1800"]);
    // RFC 4976 5.1: "C B A" for the peer, "B C D E F" for our requests.
    let path = MsrpPath::parse(&format!("{LENT_OUTER} {LENT} {BOB}")).expect("a path");
    let lifetime = Some(Duration::from_secs(900));
    assert_eq!(behind.bob.take_events(), [Event::Leased { lease, path, lifetime }]);
    let peer = MsrpPath::parse(&format!("msrps://d.example.net:1/d;tcp {ALICE}")).expect("a path");
    let session =
        behind.bob.open(behind_relay(lease, Role::Active).with(|spec| spec.remote.path = peer.clone()));
    let text = behind.bob.take_text(behind.connection);
    assert_eq!(value(&text, "To-Path"), format!("{LENT} {LENT_OUTER} {peer}"));
    assert_eq!(behind.bob.take_events(), [Event::Bound { session }]);
}

//= IM M-21 test
#[test]
fn a_relay_behind_another_one_must_prove_itself() {
    let (mut behind, _) = Behind::connected(relay_spec(&format!("{RELAY} {OUTER}")));
    behind.grant(&[]);
    let (tid, _) = behind.auth();
    behind.respond(&tid, "401 Unauthorized", &[CHALLENGE]);
    let (tid, _) = behind.auth();
    behind.respond(&tid, "200 OK", &[&format!("Use-Path: {LENT} {LENT_OUTER}")]);
    assert_eq!(behind.refused(), LeaseFailure::NotProven);
}

//= IM M-20 test
#[test]
fn a_use_path_that_cannot_be_used_is_refused() {
    for bad in [
        "X: y".to_owned(),
        "Use-Path: msrps://relay.example.com/id;tcp".to_owned(),
        "Use-Path: msrps://relay.example.com:9000;tcp".to_owned(),
        "Use-Path: msrp://relay.example.com:9000/id;tcp".to_owned(),
        format!("Use-Path: {}", format!("{LENT} ").repeat(17)),
        format!("Use-Path: {}", format!("{LENT} ").repeat(16)),
    ] {
        let (mut behind, _) = Behind::connected(relay_spec(RELAY));
        let (tid, _) = behind.auth();
        behind.respond(&tid, "200 OK", &[&bad, "Expires: 900"]);
        assert!(matches!(behind.refused(), LeaseFailure::UsePath(_)), "{bad}");
    }
    // One relay of a chain may not lead around another.
    let (mut behind, _) = Behind::connected(relay_spec(&format!("{RELAY} {OUTER}")));
    behind.grant(&[]);
    let (tid, _) = behind.auth();
    behind.respond(&tid, "200 OK", &[&format!("Use-Path: {LENT_OUTER} {LENT}")]);
    assert!(matches!(behind.refused(), LeaseFailure::UsePath(_)));
}

//= IM M-21 test
#[test]
fn no_use_path_is_for_two_sessions() {
    let (mut behind, _) = Behind::leased();
    behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(ALICE));
    behind.bob.drain();
    behind.grant(&["Expires: 900"]);
    assert!(matches!(behind.refused(), LeaseFailure::UsePath(_)));
}

//= IM M-20 test
#[test]
fn a_use_path_of_another_host_leads_nowhere_but_over_the_relays_connection() {
    let (mut behind, lease) = Behind::connected(relay_spec(RELAY));
    let (tid, _) = behind.auth();
    behind.respond(&tid, "200 OK", &["Use-Path: msrps://victim.example.net:2855/id;tcp", "Expires: 900"]);
    assert_eq!(behind.bob.take_explained(), ["M-20"]);
    behind.bob.take_events();
    behind.bob.open(behind_relay(lease, Role::Active));
    behind.bob.take_events();
    assert_eq!(behind.bob.outputs, [], "nothing is connected to");
    assert!(behind.bob.take_text(behind.connection).contains("victim.example.net"));
}

//= IM M-20 test
#[test]
fn a_lease_that_holds_for_next_to_no_time_is_none() {
    for seconds in [0, 4] {
        let (mut behind, _) = Behind::connected(relay_spec(RELAY));
        behind.grant(&[&format!("Expires: {seconds}")]);
        assert_eq!(behind.refused(), LeaseFailure::Expired);
    }
    let (mut behind, _) = Behind::connected(relay_spec(RELAY));
    behind.grant(&["Expires: 5"]);
    assert!(matches!(behind.bob.take_events()[..], [Event::Leased { .. }]));
}

//= IM M-20 test
#[test]
fn its_owner_is_told_before_a_lease_ends_and_its_session_fails_when_it_has() {
    let (mut behind, lease) = Behind::leased();
    let session = behind.bob.open(behind_relay(lease, Role::Active));
    let (tid, _) = frames(&behind.bob.take_text(behind.connection)).remove(0);
    behind.respond(&tid, "200 OK", &[]);
    behind.bob.take_events();
    behind.bob.wait(Duration::from_secs(779));
    assert_eq!(behind.bob.take_events(), []);
    behind.bob.wait(Duration::from_secs(1));
    assert_eq!(behind.bob.take_events(), [Event::LeaseEnding { lease, session: Some(session) }]);
    behind.bob.wait(Duration::from_secs(120));
    let why = SessionFailure::Disconnected;
    assert_eq!(behind.bob.take_events(), [Event::SessionFailed { session, why, unsent: Vec::new() }]);
    // One without a session just goes.
    let (mut behind, lease) = Behind::leased();
    behind.bob.wait(Duration::from_secs(900));
    let lost = Event::LeaseLost { lease, why: LeaseFailure::Expired };
    assert_eq!(behind.bob.take_events(), [Event::LeaseEnding { lease, session: None }, lost]);
}

//= IM M-20 test
#[test]
fn auth_goes_over_tls_unless_that_is_waived() {
    let plain = "msrp://127.0.0.1:2855;tcp";
    let mut bob = Bob::new();
    let relay = bob.endpoint.add_relay(relay_spec(plain));
    let lease = bob.endpoint.lease(bob.now, relay, uri(BOB));
    bob.drain();
    assert_eq!(bob.take_events(), [Event::LeaseLost { lease, why: LeaseFailure::Insecure }]);
    assert_eq!(bob.outputs, []);
    let (mut behind, _) = Behind::connected(relay_spec(plain).with(|spec| spec.insecure = true));
    behind.auth();
}

//= IM M-20 test
#[test]
fn a_relay_that_says_nothing_or_no_is_given_up() {
    let (mut behind, _) = Behind::connected(relay_spec(RELAY));
    behind.bob.wait(Duration::from_secs(30));
    assert_eq!(behind.refused(), LeaseFailure::Unresponsive);
    assert!(matches!(behind.bob.outputs[..], [Output::Close { .. }]), "{:?}", behind.bob.outputs);
    let (mut behind, _) = Behind::connected(relay_spec(RELAY));
    let (tid, _) = behind.auth();
    behind.respond(&tid, "403 Not You", &[]);
    assert_eq!(behind.refused(), LeaseFailure::Refused { status: 403, comment: "Not You".to_owned() });
    // It may be asked again.
    let lease = behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(BOB));
    behind.bob.drain();
    behind.grant(&[]);
    assert!(
        matches!(behind.bob.take_events()[..], [Event::Leased { lease: granted, lifetime: None, .. }] if granted == lease)
    );
}

//= IM M-20 test
#[test]
fn only_the_relay_that_was_asked_answers() {
    let (mut behind, _) = Behind::connected(relay_spec(RELAY));
    let (tid, _) = behind.auth();
    behind.bob.connect(PEER);
    let forged = format!(
        "MSRP {tid} 200 OK\r\nTo-Path: {BOB}\r\nFrom-Path: {RELAY}\r\nUse-Path: {LENT}\r\n-------{tid}$\r\n"
    );
    behind.bob.receive(&forged);
    behind.respond("other123", "200 OK", &[&format!("Use-Path: {LENT}")]);
    assert_eq!(behind.bob.take_events(), []);
    behind.receive(&forged);
    assert!(matches!(behind.bob.take_events()[..], [Event::Leased { .. }]));
}

//= IM M-22 test
#[test]
fn sessions_share_the_relays_connection_which_stays_for_an_hour() {
    let (mut behind, lease) = Behind::leased();
    let one = behind.bob.open(behind_relay(lease, Role::Passive));
    let local = uri("msrp://192.0.2.2:8888/another;tcp");
    let lease = behind.bob.endpoint.lease(behind.bob.now, behind.relay, local.clone());
    behind.bob.drain();
    let (tid, _) = behind.auth();
    behind.respond(&tid, "200 OK", &["Use-Path: msrps://relay.example.com:9000/second;tcp"]);
    behind.bob.take_events();
    let two = behind.bob.open(behind_relay(lease, Role::Active).with(|spec| spec.local = local));
    assert_eq!(behind.bob.take_events(), [Event::Bound { session: two }]);
    for session in [one, two] {
        behind.bob.endpoint.close(behind.bob.now, session);
    }
    behind.bob.drain();
    behind.bob.take_events();
    behind.bob.wait(Duration::from_secs(3599));
    assert_eq!(behind.bob.outputs, []);
    behind.bob.wait(Duration::from_secs(1));
    assert_eq!(behind.bob.outputs, [Output::Close { connection: behind.connection }]);
    let load = behind.bob.endpoint.load();
    assert_eq!((load.connections, load.sessions, load.leases), (0, 0, 0));
}

//= IM M-22 test
#[test]
fn the_connection_to_a_peers_relay_stays_for_five_minutes() {
    let mut bob = Bob::new();
    let relayed = MsrpPath::parse(&format!("{LENT} {ALICE}")).expect("a path");
    let behind = |role| spec(role).with(|spec| spec.remote.path = relayed.clone());
    let first = bob.open(behind(Role::Active));
    let Some(Output::Connect { connection, to, .. }) = bob.outputs.pop() else { panic!("no connection") };
    assert_eq!(to, uri(LENT));
    let peer = "192.0.2.1:7777".parse().expect("an address");
    bob.input(Input::Connected { connection, peer, tls: Some(Vec::new()) });
    assert_eq!(value(&bob.take_text(connection), "To-Path"), relayed.to_string());
    bob.endpoint.close(bob.now, first);
    bob.drain();
    bob.wait(Duration::from_secs(299));
    // It is found by the next session, and then waits anew.
    let second = bob.open(behind(Role::Active));
    bob.wait(Duration::from_secs(2));
    bob.endpoint.close(bob.now, second);
    bob.drain();
    bob.take_events();
    bob.wait(Duration::from_secs(299));
    assert_eq!(bob.outputs, []);
    bob.wait(Duration::from_secs(1));
    assert_eq!(bob.outputs, [Output::Close { connection }]);
}

//= IM D-14 test
#[test]
fn a_session_behind_a_relay_never_connects_and_binds_only_if_it_is_active() {
    for role in [Role::Active, Role::Passive] {
        let (mut behind, lease) = Behind::leased();
        let session = behind.bob.open(behind_relay(lease, role));
        assert!(!behind.bob.outputs.iter().any(|output| matches!(output, Output::Connect { .. })));
        let text = behind.bob.take_text(behind.connection);
        match role {
            Role::Active => {
                assert_eq!(value(&text, "To-Path"), format!("{LENT} {ALICE}"));
                assert_eq!(value(&text, "From-Path"), BOB);
                assert_eq!(behind.bob.take_events(), [Event::Bound { session }]);
            }
            Role::Passive => {
                assert_eq!((text.as_str(), behind.bob.take_events()), ("", vec![]));
                behind.pass_on("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None);
                let answer =
                    format!("MSRP bind 200 OK\r\nTo-Path: {LENT}\r\nFrom-Path: {BOB}\r\n-------bind$\r\n");
                assert_eq!(behind.bob.take_text(behind.connection), answer, "to the previous hop alone");
                assert_eq!(behind.bob.take_events(), [Event::Bound { session }]);
            }
        }
    }
}

//= IM M-22 test
#[test]
fn what_is_for_a_session_behind_a_relay_comes_from_the_relay() {
    let (mut behind, lease) = Behind::leased();
    behind.bob.open(behind_relay(lease, Role::Passive));
    behind.bob.connect(PEER);
    behind.bob.receive(&crate::script::send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    assert_eq!(behind.bob.take_text(PEER), crate::script::response("bind", "506 Session In Use"));
    assert_eq!(behind.bob.take_events(), []);
}

//= IM D-14 test
#[test]
fn an_offer_behind_a_relay_is_bound_before_its_answer_is_here() {
    let (mut behind, lease) = Behind::leased();
    let own = MsrpPath::from(uri(BOB));
    let spec = behind_relay(lease, Role::Active).with(|spec| spec.remote.path = own);
    let session = behind.bob.endpoint.expect(behind.bob.now, spec);
    behind.pass_on("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None);
    assert_eq!(behind.bob.take_events(), [Event::Bound { session }]);
    let alice = MsrpPath::parse(ALICE).expect("a path");
    behind.bob.endpoint.agree(behind.bob.now, session, Remote::new(alice, Role::Passive));
    behind.bob.take_text(behind.connection);
    behind.bob.send(session, unconfirmed("m1m1"));
    let text = behind.bob.take_text(behind.connection);
    assert_eq!(value(&text, "To-Path"), format!("{LENT} {ALICE}"));
}

/// An active session of Bob behind his relay, bound.
fn session() -> (Behind, SessionId) {
    let (mut behind, lease) = Behind::leased();
    let session = behind.bob.open(behind_relay(lease, Role::Active));
    let (tid, _) = frames(&behind.bob.take_text(behind.connection)).remove(0);
    behind.respond(&tid, "200 OK", &[]);
    behind.bob.take_events();
    (behind, session)
}

fn report(tid: &str, message_id: &str, range: &str, status: &str) -> String {
    format!(
        "MSRP {tid} REPORT\r\nTo-Path: {BOB}\r\nFrom-Path: {LENT} {ALICE}\r\nMessage-ID: {message_id}\r\n\
         Byte-Range: {range}\r\nStatus: 000 {status}\r\n-------{tid}$\r\n"
    )
}

//= IM M-22 test
#[test]
fn a_relays_200_acknowledges_nothing_and_a_report_does() {
    let (mut behind, session) = session();
    behind.bob.send(session, unconfirmed("m1m1"));
    let text = behind.bob.take_text(behind.connection);
    assert_eq!(value(&text, "Success-Report"), "yes");
    let tid = frames(&text).remove(0).0;
    behind.bob.take_events();
    behind.respond(&tid, "200 OK", &["Message-ID: m1m1"]);
    assert_eq!(behind.bob.take_events(), []);
    behind.receive(&report("rep1", "m1m1", "1-3/5", "200 OK"));
    assert_eq!(behind.bob.take_events(), [], "three octets of five");
    behind.receive(&report("rep2", "m1m1", "4-5/5", "200 OK"));
    let acknowledged = Event::Acknowledged { session, message_id: "m1m1".to_owned() };
    assert_eq!(behind.bob.take_events(), [acknowledged]);
    assert_eq!(behind.bob.endpoint.load().outgoing, 0);
    // What does not ask for responses gets no REPORT either.
    let control = unconfirmed("c1c1").with(|message| message.failure_report = FailureReport::No);
    behind.bob.endpoint.send_control(behind.bob.now, session, control).expect("it is taken");
    behind.bob.drain();
    assert_eq!(values(&behind.bob.take_text(behind.connection), "Success-Report"), [""; 0]);
}

//= IM M-22 test
#[test]
fn chunks_through_a_relay_are_as_small_as_relays_need_them() {
    let (mut behind, session) = session();
    behind.bob.send(session, text("m1m1", &"x".repeat(30_000)));
    let text = behind.bob.take_text(behind.connection);
    let frames: Vec<_> = text.split("MSRP ").map(str::len).collect();
    assert!(
        frames.iter().all(|frame| *frame < 10_000) && frames.iter().sum::<usize>() > 30_000,
        "{frames:?}"
    );
}

//= IM M-22 test
#[test]
fn a_report_of_failure_fails_the_message_after_the_relays_200() {
    for (status, why, end) in [
        ("408 Timeout", SendFailure::NoResponse, true),
        ("413 Too much", SendFailure::Refused { status: 413, comment: "Too much".to_owned() }, false),
    ] {
        let (mut behind, session) = session();
        behind.bob.send(session, unconfirmed("m1m1"));
        let tid = frames(&behind.bob.take_text(behind.connection)).remove(0).0;
        behind.respond(&tid, "200 OK", &[]);
        behind.bob.take_events();
        behind.receive(&report("rep1", "m1m1", "1-5/5", status));
        let events = behind.bob.take_events();
        assert_eq!(events[0], Event::Failed { session, message_id: "m1m1".to_owned(), why });
        assert_eq!(matches!(events.get(1), Some(Event::SessionFailed { .. })), end, "{status}");
    }
}

//= IM M-22 test
#[test]
fn a_peer_that_sends_no_reports_is_taken_to_have_what_nobody_complains_about() {
    let (mut behind, session) = session();
    behind.bob.send(session, unconfirmed("m1m1"));
    let tid = frames(&behind.bob.take_text(behind.connection)).remove(0).0;
    behind.respond(&tid, "200 OK", &[]);
    behind.bob.take_events();
    behind.bob.wait(Duration::from_secs(119));
    assert_eq!(behind.bob.take_events(), []);
    behind.bob.wait(Duration::from_secs(1));
    assert_eq!(behind.bob.take_explained(), ["M-22"]);
    let acknowledged = Event::Acknowledged { session, message_id: "m1m1".to_owned() };
    assert_eq!(behind.bob.take_events(), [acknowledged]);
}

//= IM M-22 test
#[test]
fn a_relay_that_closes_in_the_middle_loses_nothing() {
    let (mut behind, session) = session();
    let large = "x".repeat(30_000);
    behind.bob.send(session, text("m1m1", "first"));
    behind.bob.send(session, text("m2m2", &large));
    let answered = frames(&behind.bob.take_text(behind.connection)).remove(0).0;
    behind.respond(&answered, "200 OK", &[]);
    behind.receive(&format!(
        "MSRP half SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {LENT} {ALICE}\r\nMessage-ID: x9x9\r\n\
         Byte-Range: 1-*/100\r\nContent-Type: text/plain\r\n\r\nunfinished"
    ));
    behind.bob.take_events();
    let waiting = behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(ALICE));
    behind.close();
    let events = behind.bob.take_events();
    let [Event::Incomplete { received: 10, .. }, Event::SessionFailed { why, unsent, .. }, lost] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*why, SessionFailure::Disconnected);
    let ids: Vec<_> = unsent.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids, ["m1m1", "m2m2"], "the first had the relay's 200 and no REPORT");
    assert_eq!(*lost, Event::LeaseLost { lease: waiting, why: LeaseFailure::Disconnected });
    let load = behind.bob.endpoint.load();
    assert_eq!((load.connections, load.sessions, load.leases), (0, 0, 0));
    // The next lease connects anew.
    behind.bob.endpoint.lease(behind.bob.now, behind.relay, uri(BOB));
    behind.bob.drain();
    assert!(matches!(behind.bob.outputs[..], [Output::ConnectRelay { .. }]));
}

//= IM M-22 test
#[test]
fn a_session_that_waits_for_its_peer_fails_with_its_relay() {
    let (mut behind, lease) = Behind::leased();
    let session = behind.bob.open(behind_relay(lease, Role::Passive));
    behind.close();
    let why = SessionFailure::Disconnected;
    assert_eq!(behind.bob.take_events(), [Event::SessionFailed { session, why, unsent: Vec::new() }]);
    // And one whose lease is gone before it begins.
    let late = behind.bob.open(behind_relay(lease, Role::Active));
    let why = SessionFailure::ConnectFailed;
    assert_eq!(behind.bob.take_events(), [Event::SessionFailed { session: late, why, unsent: Vec::new() }]);
}

//= IM M-22 test
#[test]
fn a_session_that_its_relay_has_lost_goes_on_behind_the_next_one() {
    let (mut behind, old) = session();
    behind.bob.send(old, unconfirmed("m1m1"));
    let tid = frames(&behind.bob.take_text(behind.connection)).remove(0).0;
    behind.respond(&tid, "200 OK", &[]);
    behind.bob.take_events();
    let local = uri("msrp://192.0.2.2:8888/another;tcp");
    let lease = behind.bob.endpoint.lease(behind.bob.now, behind.relay, local.clone());
    behind.bob.drain();
    let (tid, _) = behind.auth();
    behind.respond(&tid, "200 OK", &["Use-Path: msrps://relay.example.com:9000/second;tcp"]);
    behind.bob.take_events();
    let new = behind.bob.open(behind_relay(lease, Role::Active).with(|spec| spec.local = local));
    behind.bob.endpoint.succeed(behind.bob.now, old, new);
    behind.bob.drain();
    let text = behind.bob.take_text(behind.connection);
    assert_eq!(
        values(&text, "Message-ID")[1..],
        ["m1m1"],
        "after the SEND that binds: what has no REPORT goes again"
    );
    assert!(value(&text, "To-Path").starts_with("msrps://relay.example.com:9000/second;tcp "));
    assert!(behind.bob.take_events().contains(&Event::Succeeded { session: old, by: new }));
    // The old one's octets are acknowledged by nobody any more.
    assert_eq!(behind.bob.endpoint.load().leases, 1);
}

//= IM M-3 test
#[test]
fn reports_go_back_the_whole_way() {
    let (mut behind, _) = session();
    behind.pass_on("tid1", &["Message-ID: m1m1", "Byte-Range: 1-2/2", "Success-Report: yes"], Some("Hi"));
    let (receipt, body) = behind.bob.take_message();
    assert_eq!(body, "Hi");
    behind.bob.settle(receipt, Verdict::Accepted);
    let text = behind.bob.take_text(behind.connection);
    assert_eq!(values(&text, "To-Path"), [LENT.to_owned(), format!("{LENT} {ALICE}")]);
    assert_eq!(frames(&text)[1].1, "REPORT");
}
