//! Sessions behind relays that act for us (RFC 4976): how a relay is found, what it is told, what its URIs are used for.

use parlour_msrp::digest::{Challenge, Credentials, Qop, Space};
use parlour_msrp::uri::MsrpPath;
use parlour_proto::config::{Config, Relays};
use parlour_proto::event::{Ended, FileNews, FileStop, Progress, What};
use parlour_sim::{Mail, NodeId, Way, text};

use crate::common::{BOB, Call, config, finish, text as words};
use crate::flows::secure::{fingerprint, speak_tls, tls_sdp, with_certificate};

const INNER: &str = "msrps://relay.test;tcp";
const OUTER: &str = "msrps://outer.test;tcp";
/// What the inner relay challenges with: RFC 4976 9.1 has `domain` ignored.
const CHALLENGE: &str =
    "Digest realm=\"relay.test\", qop=\"auth\", nonce=\"n1\", domain=\"msrps://other.test\"";

/// Bob behind a relay, which is a script, and Alice, who is behind none.
struct Behind {
    call: Call,
    relay: NodeId,
    /// Bob's connection to the relay.
    way: Way,
    /// The URI of Bob that he has named in his last AUTH.
    own: String,
    /// URIs that the relay has lent.
    lent: u32,
}

fn credentials() -> Credentials {
    Credentials { username: "bob".to_owned(), password: "secret".to_owned().into(), realm: None }
}

/// Bob's configuration with these relays; he accepts everybody.
fn with_relays(chain: &str, required: bool) -> Config {
    let mut config = with_certificate(config(BOB));
    let chain = MsrpPath::parse(chain).expect("a path");
    let relays = Relays { chain, credentials: credentials(), required, insecure: false };
    config.accounts[0].relays = Some(relays);
    config
}

fn row(mail: &Mail, name: &str) -> String {
    text::header(mail.message(), name)
        .unwrap_or_else(|| panic!("no {name} in {}", text::lossy(mail.message())))
}

/// The space of a challenge, and what Bob says of it: nonce count, client nonce.
fn space(challenge: &str) -> Space {
    let challenge = Challenge::parse(challenge).expect("Digest");
    Space::understand(|name| challenge.param(name), Qop::AuthAlone).expect("understood").0
}

/// What a row of parameters says of one.
fn said(row: &str, name: &str) -> String {
    let value = Challenge::parse(row).and_then(|fields| fields.param(name)).map(|value| value.into_owned());
    value.unwrap_or_else(|| panic!("no {name} in {row}"))
}

/// Whether an Authorization row is what somebody who knows the password makes of this challenge for this URI.
fn is_authorized(row: &str, challenge: &str, uri: &str) -> bool {
    space(challenge).answer(&credentials(), "AUTH", uri, &said(row, "cnonce")).0 == row
}

/// Authentication-Info of a relay that believes this password to be the right one (RFC 7616 3.5).
fn info(authorization: &str, challenge: &str, uri: &str, password: &str, next: &str) -> String {
    let theirs = Credentials { password: password.to_owned().into(), ..credentials() };
    let cnonce = said(authorization, "cnonce");
    let rspauth = said(&space(challenge).answer(&theirs, "", uri, &cnonce).0, "response");
    format!(
        "Authentication-Info: nextnonce=\"{next}\", rspauth=\"{rspauth}\", cnonce=\"{cnonce}\", nc=00000001, qop=auth\r\n"
    )
}

impl Behind {
    /// The world, in which nobody has said anything yet.
    fn world(config: Config) -> (Call, NodeId) {
        let mut call = Call::new(config);
        let relay = call.world.peer("relay");
        let at = call.world.address(relay, 2856);
        call.world.service("_msrps._tcp.relay.test", &[at]);
        call.world.vouch(relay, "relay.test");
        (call, relay)
    }

    /// Alice calls, and Bob has connected to his relay.
    fn called(config: Config) -> Behind {
        let (mut call, relay) = Behind::world(config);
        let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
        speak_tls(&mut call);
        call.send(call.script.invite_with("", &offer));
        let way = call.world.expect_opened(relay);
        Behind { call, relay, way, own: String::new(), lent: 0 }
    }

    /// Alice has called, Bob has the relay's URIs for the session, and both have agreed.
    fn agreed(expires: u32) -> Behind {
        let mut behind = Behind::called(with_relays(INNER, true));
        behind.grant(&format!("Expires: {expires}\r\n"));
        let answer = behind.call.status(200);
        behind.call.script.learn(answer.message());
        behind.call.ack(&answer);
        behind.bound();
        behind
    }

    #[track_caller]
    fn request(&mut self, method: &str) -> Mail {
        self.call.world.expect_request(self.relay, method)
    }

    #[track_caller]
    fn auth(&mut self) -> Mail {
        let auth = self.request("AUTH");
        self.own = row(&auth, "From-Path");
        auth
    }

    /// The relay's response to a request that came over its connection. `rows` are whole header lines.
    fn respond(&mut self, request: &Mail, line: &str, rows: &str) {
        let (tid, from, to) = (
            text::transaction(request.message()).unwrap_or_default(),
            row(request, "From-Path"),
            row(request, "To-Path"),
        );
        let to = to.split(' ').next().unwrap_or_default();
        self.call.world.send(
            request.way,
            format!("MSRP {tid} {line}\r\nTo-Path: {from}\r\nFrom-Path: {to}\r\n{rows}-------{tid}$\r\n"),
        );
    }

    /// The URI that the relay has lent last.
    fn uri(&self) -> String {
        format!("msrps://relay.test:2856/lent{};tcp", self.lent)
    }

    /// The relay lends a URI to whoever asks next.
    #[track_caller]
    fn grant(&mut self, rows: &str) -> Mail {
        let auth = self.auth();
        self.lend(&auth, rows);
        auth
    }

    fn lend(&mut self, auth: &Mail, rows: &str) {
        self.lent += 1;
        let rows = format!("Use-Path: {}\r\n{rows}", self.uri());
        self.respond(auth, "200 OK", &rows);
    }

    /// Bob's first SEND goes the whole way, and says nothing.
    #[track_caller]
    fn bound(&mut self) {
        let bind = self.request("SEND");
        assert_eq!(row(&bind, "To-Path"), format!("{} {}", self.uri(), self.call.script.path));
        assert_eq!(row(&bind, "From-Path"), self.own);
        self.respond(&bind, "200 OK", "");
        self.call.world.run(50);
    }

    /// Something of Alice, as the relay passes it on.
    fn pass(&mut self, tid: &str, method: &str, rows: &str) {
        let (own, uri, alice) = (self.own.clone(), self.uri(), self.call.script.path.clone());
        self.call.world.send(
            self.way,
            format!(
                "MSRP {tid} {method}\r\nTo-Path: {own}\r\nFrom-Path: {uri} {alice}\r\n{rows}-------{tid}$\r\n"
            ),
        );
        self.call.world.run(50);
    }

    /// A chunk that others follow.
    fn pass_part(&mut self, tid: &str, rows: &str) {
        let (own, uri, alice) = (self.own.clone(), self.uri(), self.call.script.path.clone());
        let head = format!("MSRP {tid} SEND\r\nTo-Path: {own}\r\nFrom-Path: {uri} {alice}\r\n");
        self.call.world.send(self.way, format!("{head}{rows}-------{tid}+\r\n"));
        self.call.world.run(50);
    }

    fn pass_text(&mut self, tid: &str, words: &str) {
        let rows = format!(
            "Message-ID: {tid}-id\r\nByte-Range: 1-{0}/{0}\r\nContent-Type: text/plain\r\n\r\n{words}\r\n",
            words.len()
        );
        self.pass(tid, "SEND", &rows);
    }

    fn say(&mut self, id: &str, said: &str) {
        let session = self.call.session();
        self.call.world.act(self.call.bob, |bob, now| bob.say(now, session, words(id, said))).expect("say");
    }

    /// What Bob was told of one of his messages.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
    fn progress(&self, id: &str) -> Vec<Progress> {
        let told = self.call.at_bob().told().filter_map(|what| match what {
            What::Progress { message_id, progress } if message_id == id => Some(progress.clone()),
            _ => None,
        });
        told.collect()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
    fn ended(&self) -> Vec<Ended> {
        let told = self.call.at_bob().told().filter_map(|what| match what {
            What::Ended(ended) => Some(ended.clone()),
            _ => None,
        });
        told.collect()
    }

    /// Requests of Bob to his relay with this method.
    fn count(&self, method: &str) -> usize {
        let rows = self.call.world.rows().iter();
        rows.filter(|row| row.to == self.relay && row.label.split(' ').next() == Some(method)).count()
    }

    #[track_caller]
    fn over(mut self) -> String {
        if self.ended().is_empty() {
            self.call.bye();
            let ok =
                |mail: &Mail| text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE"));
            self.call.world.expect(self.call.alice, "200 to BYE", ok);
        }
        finish(&mut self.call.world);
        self.call.world.ladder()
    }
}

//= IM M-20 test
//= IM M-21 test
//= IM M-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_is_found_by_its_service_and_its_uri_leads_to_us() {
    let mut behind = Behind::called(with_relays(INNER, true));
    let first = behind.auth();
    assert_eq!(row(&first, "To-Path"), INNER);
    assert_eq!(text::header(first.message(), "Authorization"), None, "there is nothing to answer yet");
    behind.respond(&first, "401 Unauthorized", &format!("WWW-Authenticate: {CHALLENGE}\r\n"));
    let second = behind.auth();
    let authorization = row(&second, "Authorization");
    assert!(is_authorized(&authorization, CHALLENGE, INNER), "{authorization}");
    assert!(authorization.contains("qop=auth,") && authorization.contains("nc=00000001"), "{authorization}");
    let info = info(&authorization, CHALLENGE, INNER, "secret", "n2");
    behind.lend(&second, &format!("Expires: 900\r\n{info}"));
    let answer = behind.call.status(200);
    behind.call.script.learn(answer.message());
    // RFC 4976 5.1: for the peer the relay comes first, and we are at the end.
    assert_eq!(text::attribute(answer.message(), "path"), Some(format!("{} {}", behind.uri(), behind.own)));
    behind.call.ack(&answer);
    behind.bound();
    behind.pass_text("alice1", "Hello, Bob");
    assert_eq!(behind.call.at_bob().stored_texts(), ["Hello, Bob"]);
    behind.say("m1-id", "Hello, Alice");
    let send = behind.request("SEND");
    assert_eq!(row(&send, "To-Path"), format!("{} {}", behind.uri(), behind.call.script.path));
    assert_eq!(row(&send, "Success-Report"), "yes", "only the peer can say that it has it");
    behind.respond(&send, "200 OK", "");
    behind.call.world.run(1000);
    assert_eq!(behind.progress("m1-id"), [Progress::Sent], "the relay's 200 is not the peer's");
    behind.pass("alice2", "REPORT", "Message-ID: m1-id\r\nByte-Range: 1-12/12\r\nStatus: 000 200 OK\r\n");
    assert_eq!(behind.progress("m1-id"), [Progress::Sent, Progress::Acknowledged]);
    assert_snapshot!(behind.over());
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_without_srv_records_is_at_the_registered_port_of_its_host() {
    let (mut call, relay) = Behind::world(with_relays("msrps://host.test;tcp", true));
    let at = call.world.address(relay, 2855);
    call.world.does_tls_at(relay, 2855);
    call.world.name("host.test", &[at.ip()]);
    call.world.vouch(relay, "host.test");
    let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
    speak_tls(&mut call);
    call.send(call.script.invite_with("", &offer));
    let way = call.world.expect_opened(relay);
    assert_eq!(call.world.here(way), Some(at));
    let mut behind = Behind { call, relay, way, own: String::new(), lent: 0 };
    behind.grant("Expires: 900\r\n");
    let answer = behind.call.status(200);
    behind.call.script.learn(answer.message());
    behind.call.ack(&answer);
    behind.bound();
    behind.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn the_first_of_several_relays_that_can_be_reached_is_used() {
    let (mut call, relay) = Behind::world(with_relays(INNER, true));
    let down = call.world.peer("down");
    let at = [call.world.address(down, 1), call.world.address(relay, 2856)];
    call.world.service("_msrps._tcp.relay.test", &at);
    let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
    speak_tls(&mut call);
    call.send(call.script.invite_with("", &offer));
    let way = call.world.expect_opened(relay);
    let mut behind = Behind { call, relay, way, own: String::new(), lent: 0 };
    behind.grant("");
    behind.call.status(200);
    behind.call.world.run(200);
    behind.call.bye();
    finish(&mut behind.call.world);
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_whose_srv_records_lead_nowhere_is_not_looked_for_elsewhere() {
    let (mut call, relay) = Behind::world(with_relays(INNER, true));
    let at = call.world.address(relay, 2855);
    call.world.does_tls_at(relay, 2855);
    call.world.service("_msrps._tcp.relay.test", &[]);
    call.world.name("relay.test", &[at.ip()]);
    let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
    call.send(call.script.invite_with("", &offer));
    call.status(480);
    assert!(call.world.mail_of(relay).is_empty());
    call.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn nothing_is_said_to_a_relay_whose_certificate_is_another_ones() {
    let (mut call, relay) = Behind::world(with_relays("msrps://host.test:2856;tcp", true));
    let at = call.world.address(relay, 2856);
    call.world.name("host.test", &[at.ip()]);
    let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
    speak_tls(&mut call);
    call.send(call.script.invite_with("", &offer));
    let way = call.world.expect_opened(relay);
    call.world.expect_closed(relay);
    call.status(480);
    let behind = Behind { call, relay, way, own: String::new(), lent: 0 };
    assert_eq!(behind.count("AUTH"), 0);
    behind.over();
}

//= IM M-20 test
//= IM M-21 test
#[cfg_attr(test, test)]
pub(crate) fn two_relays_are_asked_one_through_the_other_and_an_offer_names_both() {
    let (mut call, relay) = Behind::world(with_relays(&format!("{INNER} {OUTER}"), true));
    let invited = call.world.act(call.bob, |bob, now| {
        bob.invite(now, parlour_proto::io::AccountId(0), "sip:alice@192.0.2.1", None)
    });
    invited.expect("invite");
    let way = call.world.expect_opened(relay);
    let mut behind = Behind { call, relay, way, own: String::new(), lent: 0 };
    behind.grant("Expires: 900\r\n");
    let inner = behind.uri();
    let challenge = "Digest realm=\"outer.test\", qop=\"auth\", nonce=\"o1\"";
    // RFC 4976 5.1: through the first, with the URI that it has lent.
    let auth = behind.auth();
    assert_eq!(row(&auth, "To-Path"), format!("{inner} {OUTER}"));
    behind.respond(&auth, "401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"));
    let auth = behind.auth();
    assert_eq!(row(&auth, "To-Path"), format!("{inner} {OUTER}"));
    let authorization = row(&auth, "Authorization");
    // RFC 4976 9.1: H(A2) is over the rightmost URI of To-Path.
    assert!(is_authorized(&authorization, challenge, OUTER), "{authorization}");
    let info = info(&authorization, challenge, OUTER, "secret", "o2");
    let outer = "msrps://outer.test:2856/lent;tcp";
    behind.respond(&auth, "200 OK", &format!("Use-Path: {inner} {outer}\r\nExpires: 1800\r\n{info}"));
    let invite = behind.call.request("INVITE");
    let path = text::attribute(invite.message(), "path");
    assert_eq!(path, Some(format!("{outer} {inner} {}", behind.own)));
    let script =
        parlour_sim::Script::callee(&mut behind.call.world, behind.call.alice, invite.way, invite.message());
    behind.call.script = script;
    speak_tls(&mut behind.call);
    let answer = tls_sdp(&behind.call, "passive", &fingerprint("alice"));
    behind.call.send(behind.call.script.respond(invite.message(), "200 OK", "", &answer));
    behind.call.request("ACK");
    let bind = behind.request("SEND");
    assert_eq!(row(&bind, "To-Path"), format!("{inner} {outer} {}", behind.call.script.path));
    behind.respond(&bind, "200 OK", "");
    assert_snapshot!(behind.over());
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_lifetime_that_a_relay_does_not_allow_is_asked_for_again_within_its_bounds() {
    let mut behind = Behind::called(with_relays(INNER, true));
    let auth = behind.auth();
    assert_eq!(text::header(auth.message(), "Expires"), None, "the relay may choose");
    behind.respond(&auth, "423 Interval Out-of-Bounds", "Max-Expires: 600\r\n");
    let auth = behind.auth();
    assert_eq!(row(&auth, "Expires"), "600");
    behind.lend(&auth, "Expires: 600\r\n");
    let answer = behind.call.status(200);
    behind.call.ack(&answer);
    behind.bound();
    behind.over();
    // A relay that is content with nothing is left alone.
    let mut behind = Behind::called(with_relays(INNER, true));
    for _ in 0..2 {
        let auth = behind.auth();
        behind.respond(&auth, "423 Interval Out-of-Bounds", "Min-Expires: 1200\r\n");
    }
    behind.call.status(480);
    assert_eq!(behind.count("AUTH"), 2);
    behind.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn challenges_that_rfc_4976_forbids_are_not_answered() {
    for challenge in [
        "Basic realm=\"relay.test\"",
        "Digest realm=\"relay.test\", qop=\"auth-int\", nonce=\"n1\"",
        "Digest realm=\"relay.test\", qop=\"auth\", algorithm=MD5-sess, nonce=\"n1\"",
        "Digest realm=\"relay.test\", nonce=\"n1\"",
    ] {
        for required in [true, false] {
            let mut behind = Behind::called(with_relays(INNER, required));
            let auth = behind.auth();
            behind.respond(&auth, "401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"));
            if required {
                behind.call.status(480);
            } else {
                // Bob has no certificate, so nothing of his own can carry TLS but to connect.
                let answer = behind.call.status(200);
                let path = text::attribute(answer.message(), "path").unwrap_or_default();
                assert!(!path.contains(' ') && path.contains("192.0.2.2"), "{path}");
                behind.call.ack(&answer);
            }
            assert_eq!(behind.count("AUTH"), 1, "{challenge}");
            let told = behind.call.at_bob().told().filter_map(|what| {
                if let What::RelayFailed { why, required } = what {
                    Some((why.clone(), *required))
                } else {
                    None
                }
            });
            let told: Vec<_> = told.collect();
            assert!(matches!(&told[..], [(_, told)] if *told == required), "{told:?}");
            behind.over();
        }
    }
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_that_does_not_know_the_password_lends_nothing() {
    let mut behind = Behind::called(with_relays(INNER, true));
    let auth = behind.auth();
    behind.respond(&auth, "401 Unauthorized", &format!("WWW-Authenticate: {CHALLENGE}\r\n"));
    let auth = behind.auth();
    let info = info(&row(&auth, "Authorization"), CHALLENGE, INNER, "guess", "n2");
    behind.lend(&auth, &info);
    behind.call.status(480);
    behind.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn before_its_uris_end_a_session_gets_others_and_nothing_is_lost() {
    let mut behind = Behind::called(with_relays(INNER, true));
    let auth = behind.auth();
    behind.respond(&auth, "401 Unauthorized", &format!("WWW-Authenticate: {CHALLENGE}\r\n"));
    let auth = behind.auth();
    let info = info(&row(&auth, "Authorization"), CHALLENGE, INNER, "secret", "n2");
    behind.lend(&auth, &format!("Expires: 900\r\n{info}"));
    let granted = behind.call.world.millis();
    let answer = behind.call.status(200);
    behind.call.script.learn(answer.message());
    behind.call.ack(&answer);
    behind.bound();
    let former = (behind.uri(), behind.own.clone());
    behind.call.world.run_to(granted + 770_000);
    assert_eq!(behind.count("AUTH"), 2, "there is time");
    behind.call.world.run_to(granted + 785_000);
    let auth = behind.auth();
    let authorization = row(&auth, "Authorization");
    assert_eq!((said(&authorization, "nonce"), said(&authorization, "nc")), ("n2".into(), "00000001".into()));
    // What is said meanwhile waits for the new way.
    behind.say("m1-id", "still there");
    behind.lend(&auth, "Expires: 900\r\n");
    let invite = behind.call.request("INVITE");
    assert_eq!(text::attribute(invite.message(), "path"), Some(format!("{} {}", behind.uri(), behind.own)));
    assert_ne!(former, (behind.uri(), behind.own.clone()));
    behind.call.script.path = behind.call.script.path.replace("/session", "/another");
    let description = tls_sdp(&behind.call, "active", &fingerprint("alice")).replace("o=- 1 1", "o=- 1 2");
    behind.call.send(behind.call.script.respond(invite.message(), "200 OK", "", &description));
    behind.call.request("ACK");
    behind.pass("bind2", "SEND", "Message-ID: bind2-id\r\nByte-Range: 1-0/0\r\n");
    behind.say("m2-id", "on the new way");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let send = behind.request("SEND");
        assert_eq!(row(&send, "To-Path"), format!("{} {}", behind.uri(), behind.call.script.path));
        ids.push(row(&send, "Message-ID"));
        behind.respond(&send, "200 OK", "");
    }
    assert_eq!(ids, ["m1-id", "m2-id"]);
    assert!(!behind.call.at_bob().told().any(|what| matches!(what, What::Reconnecting { .. })));
    behind.over();
}

//= IM M-20 test
//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_goes_on_until_the_uris_have_ended() {
    for late in [false, true] {
        let (mut call, relay) = Behind::world(with_relays(INNER, true));
        let file =
            "a=sendonly\r\na=file-selector:name:\"f\" type:text/plain size:20\r\na=file-transfer-id:one\r\n";
        let offer = tls_sdp(&call, "passive", &fingerprint("alice")) + file;
        speak_tls(&mut call);
        call.send(call.script.invite_with("", &offer));
        call.world.run(10);
        call.accept();
        let way = call.world.expect_opened(relay);
        let mut behind = Behind { call, relay, way, own: String::new(), lent: 0 };
        behind.grant("Expires: 900\r\n");
        let granted = behind.call.world.millis();
        let answer = behind.call.status(200);
        behind.call.script.learn(answer.message());
        behind.call.ack(&answer);
        behind.bound();
        let chunk = |range: &str, octets: &str| {
            format!(
                "Message-ID: file-id\r\nByte-Range: {range}/20\r\nContent-Type: text/plain\r\n\r\n{octets}\r\n"
            )
        };
        for at in 1..=17 {
            behind.pass_part(&format!("file{at}"), &chunk(&format!("{at}-{at}"), "x"));
            // There is nothing to be gained from another way: the file would have to begin again.
            behind.call.nothing_to(granted + 52_000 * at);
        }
        assert_eq!(behind.count("AUTH"), 1);
        if late {
            // What is left of it goes with new URIs, in a session of its own.
            behind.pass_part("file18", &chunk("18-18", "x"));
            behind.call.world.run_to(granted + 935_000);
            let bye = behind.call.request("BYE");
            assert!(
                (granted + 900_000..granted + 935_000).contains(&bye.at.as_millis()),
                "{}",
                bye.at.as_millis()
            );
            behind.call.ok(&bye);
            behind.call.world.run(10);
        } else {
            behind.pass("last", "SEND", &chunk("18-20", "xyz"));
        }
        let broken = |what: &What| {
            matches!(what, What::File { news: FileNews::Stopped(FileStop::Interrupted { .. }), .. })
        };
        let done = |what: &What| matches!(what, What::File { news: FileNews::Done, .. });
        assert_eq!(
            (behind.call.at_bob().told().any(broken), behind.call.at_bob().told().any(done)),
            (late, !late)
        );
        finish(&mut behind.call.world);
    }
}

//= IM M-20 test
//= IM M-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_that_goes_away_is_asked_again_and_the_session_goes_on() {
    let mut behind = Behind::agreed(900);
    behind.say("m1-id", "Hello, Alice");
    let send = behind.request("SEND");
    behind.respond(&send, "200 OK", "");
    behind.call.world.run(50);
    behind.call.world.close(behind.way);
    let lost = behind.call.world.millis();
    // RFC 4976 6.3: what was lent on that connection is worth nothing any more.
    behind.way = behind.call.world.expect_opened(behind.relay);
    behind.grant("Expires: 900\r\n");
    // A BYE has 2 s to come, and Alice, who made the first offer, 2 to 4 s to make another.
    behind.call.nothing_to(lost + 3999);
    let invite = behind.call.request("INVITE");
    let lag = invite.at.as_millis() - lost - 2000;
    assert!((2000..=4000).contains(&lag) && lag.is_multiple_of(10), "{lag}");
    assert_eq!(text::attribute(invite.message(), "path"), Some(format!("{} {}", behind.uri(), behind.own)));
    behind.call.script.path = behind.call.script.path.replace("/session", "/another");
    let description = tls_sdp(&behind.call, "passive", &fingerprint("alice")).replace("o=- 1 1", "o=- 1 2");
    behind.call.send(behind.call.script.respond(invite.message(), "200 OK", "", &description));
    behind.call.request("ACK");
    let send = behind.request("SEND");
    assert_eq!(row(&send, "To-Path"), format!("{} {}", behind.uri(), behind.call.script.path));
    assert_eq!(row(&send, "Message-ID"), "m1-id", "nobody has reported it");
    behind.respond(&send, "200 OK", "");
    behind.pass("alice2", "REPORT", "Message-ID: m1-id\r\nByte-Range: 1-12/12\r\nStatus: 000 200 OK\r\n");
    assert_eq!(behind.progress("m1-id").last(), Some(&Progress::Acknowledged));
    behind.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_that_stays_away_ends_the_session_that_needs_it() {
    let mut behind = Behind::agreed(900);
    let link = parlour_sim::Link { refuse: true, ..parlour_sim::Link::default() };
    behind.call.world.link(behind.call.bob, behind.relay, link);
    behind.say("m1-id", "Hello, Alice");
    behind.call.world.close(behind.way);
    let end = behind.call.world.millis() + 120_000;
    let bye = loop {
        let mail = behind.call.world.mail_of(behind.call.alice);
        if let Some(bye) =
            mail.into_iter().find(|mail| text::method(mail.message()).as_deref() == Some("BYE"))
        {
            break bye;
        }
        assert!(behind.call.world.millis() < end, "Bob does not give up\n{}", behind.call.world.ladder());
        behind.call.world.run(1000);
    };
    behind.call.send(behind.call.script.respond(bye.message(), "200 OK", "", ""));
    behind.call.world.run(100);
    assert!(matches!(behind.ended()[..], [Ended::MediaFailed { .. }]), "{:?}", behind.ended());
    assert!(matches!(behind.progress("m1-id").last(), Some(Progress::Failed { .. })));
    behind.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_that_is_away_for_long_is_told_once_a_minute_while_sessions_want_it() {
    let config = Config { explain: true, ..with_relays(INNER, false) };
    let (mut call, relay) = Behind::world(config);
    let link = parlour_sim::Link { refuse: true, ..parlour_sim::Link::default() };
    call.world.link(call.bob, relay, link);
    let mut told = Vec::new();
    for _ in 0..20 {
        call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, BOB);
        let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        let session = call.session();
        let explained = call.at_bob().events.iter().any(|(_, event)| {
            event.session == Some(session)
                && matches!(&event.what, What::Explain(why) if why.decision.contains("does without the relay"))
        });
        assert!(explained, "`parlour explain` shows it");
        call.world.run(5_000);
        call.bye();
        call.world.run(4_000);
        told.push(call.at_bob().told().filter(|what| matches!(what, What::RelayFailed { .. })).count());
    }
    assert_eq!(told.last(), Some(&3), "in three minutes: {told:?}");
    call.over();
}

//= IM M-20 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_without_tls_goes_past_a_relay_that_has_it_and_that_is_told() {
    for required in [false, true] {
        let config = Config { explain: true, ..with_relays(INNER, required) };
        let (mut call, relay) = Behind::world(config);
        call.send(call.script.invite());
        let answer = call.status(if required { 480 } else { 200 });
        if required {
            call.ack_refusal(&answer);
        } else {
            let path = text::attribute(answer.message(), "path").unwrap_or_default();
            assert!(path.starts_with("msrp://192.0.2.2:2855/") && !path.contains(' '), "{path}");
            call.ack(&answer);
        }
        let session = call.session();
        let why = call.at_bob().events.iter().find_map(|(_, event)| {
            let What::Explain(why) = &event.what else { return None };
            (event.session == Some(session) && why.clause == "M-20").then(|| why.input.clone())
        });
        assert_eq!(why.as_deref(), Some("it has TLS, and the offer has none"));
        let told =
            |what: &&What| matches!(what, What::RelayFailed { required: told, .. } if *told == required);
        assert_eq!(call.at_bob().told().filter(told).count(), 1);
        let way = call.way;
        Behind { call, relay, way, own: String::new(), lent: 0 }.over();
    }
}

//= IM M-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_failure_that_a_relay_reports_fails_the_message_and_the_connection_stays_for_an_hour() {
    let mut behind = Behind::agreed(7200);
    behind.say("m1-id", "Hello, Alice");
    let send = behind.request("SEND");
    behind.respond(&send, "200 OK", "");
    behind.call.world.run(30_000);
    // RFC 4976 6.4.1: the next hop has not answered for 30 s.
    behind.pass("late1", "REPORT", "Message-ID: m1-id\r\nStatus: 000 408 Timeout\r\n");
    let told = behind.progress("m1-id");
    assert!(matches!(told[..], [Progress::Sent, Progress::Failed { .. }]), "{told:?}");
    behind.call.bye();
    let ended = behind.call.world.millis();
    behind.call.world.run_to(ended + 3_590_000);
    assert!(behind.call.world.mail_of(behind.relay).is_empty(), "the next session would find it");
    behind.call.world.run_to(ended + 3_598_000);
    let closed = behind.call.world.expect_closed(behind.relay);
    assert!((ended + 3_600_000..ended + 3_601_000).contains(&closed), "{closed}");
    finish(&mut behind.call.world);
}
