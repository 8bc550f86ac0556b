//! Who connects where, and who binds: every value of `setup` and every habit of peers that touches it (catalogue 3.2).
//!
//! One driver plays each cell of the tables: it fails where the two ends do not come to talk although the cell says so.

use parlour_msrp::Matching;
use parlour_proto::config::{Accept, Cema, Config};
use parlour_proto::event::What;
use parlour_proto::io::AccountId;
use parlour_sim::{Link, Mail, NodeId, Script, Way, text};

use crate::common::{BOB, Call, config, text as words};

const ALICE: &str = "sip:alice@192.0.2.1";
const AT_ALICE: NodeId = NodeId(0);
/// Where a border element is.
const BOX: &str = "192.0.2.3";

const SETUPS: [Option<&str>; 5] = [None, Some("active"), Some("passive"), Some("actpass"), Some("holdconn")];

/// What peers, and boxes on the way to them, do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Plain,
    /// A gateway puts its own host into paths; each end speaks by the path that it knows.
    PathRewritten,
    /// The same, and we compare whole URIs.
    PathRewrittenStrict,
    /// A border element puts itself into `c=` and `m=`, and knows no CEMA.
    MediaRewritten(Cema),
    /// The same, and the peer knows CEMA.
    Cema,
    /// `m=` says the discard port, the path does not.
    Discard,
    /// Both do.
    DiscardInPath,
    /// `c=` says 0.0.0.0.
    Held,
    PortZero,
    /// The path leads over a relay of the peer.
    TwoUris,
    /// The path has a name for a host.
    Named,
    /// `a=connection`, which is not for MSRP.
    Connection,
    /// Each attribute stands twice.
    Twice,
    /// `setup` stands above the `m=` line.
    AtSession,
    /// The peer connects as soon as it can: before its ACK, or its 200.
    Early,
    /// Who listens sends an empty SEND as well.
    BindsToo,
    /// Its first SEND has a text.
    SaysAtOnce,
    /// Nobody ever comes, or lets us in.
    Never,
}

const HABITS: [Habit; 19] = [
    Habit::Plain,
    Habit::PathRewritten,
    Habit::PathRewrittenStrict,
    Habit::MediaRewritten(Cema::Off),
    Habit::MediaRewritten(Cema::Lenient),
    Habit::MediaRewritten(Cema::Strict),
    Habit::Cema,
    Habit::Discard,
    Habit::DiscardInPath,
    Habit::Held,
    Habit::PortZero,
    Habit::TwoUris,
    Habit::Named,
    Habit::Connection,
    Habit::Twice,
    Habit::AtSession,
    Habit::Early,
    Habit::BindsToo,
    Habit::SaysAtOnce,
];

impl Habit {
    fn config(self) -> Config {
        let cema = if let Habit::MediaRewritten(cema) = self {
            cema
        } else if self == Habit::Cema {
            Cema::Strict
        } else {
            Cema::Auto
        };
        let sessmatch =
            if self == Habit::PathRewrittenStrict { Matching::Strict } else { Matching::SessionId };
        Config { accept: Accept::All, cema, sessmatch, ..config(BOB) }
    }

    /// What comes of a usual description of Alice. Her path, as she knows it, stays in the script.
    fn spoil(self, script: &mut Script, setup: Option<&str>) -> String {
        let plain = script.sdp("?", "text/plain message/cpim");
        let line = setup.map(|setup| format!("a=setup:{setup}\r\n")).unwrap_or_default();
        let said = plain.replace("a=setup:?\r\n", if self == Habit::AtSession { "" } else { &line });
        let in_path = |to: &str| said.replace("a=path:msrp://192.0.2.1:2855", &format!("a=path:msrp://{to}"));
        let boxed = || said.replace("c=IN IP4 192.0.2.1", &format!("c=IN IP4 {BOX}"));
        match self {
            Habit::PathRewritten | Habit::PathRewrittenStrict => in_path(&format!("{BOX}:2855")),
            Habit::MediaRewritten(_) => boxed(),
            Habit::Cema => boxed() + "a=msrp-cema\r\n",
            Habit::Discard => said.replace("m=message 2855", "m=message 9"),
            Habit::DiscardInPath => {
                script.path = script.path.replace(":2855/", ":9/");
                in_path("192.0.2.1:9").replace("m=message 2855", "m=message 9")
            }
            Habit::Held => said.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0"),
            Habit::PortZero => said.replace("m=message 2855", "m=message 0"),
            Habit::TwoUris => {
                let path = format!("msrp://192.0.2.1:2855/relay;tcp {}", script.path);
                let said = said.replace(&script.path, &path);
                script.path = path;
                said
            }
            Habit::Named => {
                script.path = script.path.replace("192.0.2.1", "alice.test");
                in_path("alice.test:2855")
            }
            Habit::Connection => said + "a=connection:existing\r\n",
            Habit::Twice => {
                let twice = said.lines().map(|line| match line.strip_prefix("a=") {
                    Some(_) => format!("{line}\r\n{line}\r\n"),
                    None => format!("{line}\r\n"),
                });
                twice.collect()
            }
            Habit::AtSession => said.replace("m=message", &format!("{line}m=message")),
            Habit::Plain | Habit::Early | Habit::BindsToo | Habit::SaysAtOnce | Habit::Never => said,
        }
    }

    /// Where the frames of Alice are for, if not by the path of Bob's description.
    fn passes_on(self, path: &str) -> String {
        if matches!(self, Habit::PathRewritten | Habit::PathRewrittenStrict) {
            return path.replace("192.0.2.2", BOX);
        }
        path.to_owned()
    }
}

/// A world with Alice, Bob and a box.
fn stage(habit: Habit, listens: bool) -> Call {
    let mut call = Call::of(habit.config(), listens);
    call.world.peer("box");
    call.world.name("alice.test", &["192.0.2.1".parse().expect("an address")]);
    if habit == Habit::Never {
        call.world.link_one_way(call.bob, call.alice, Link { refuse: true, ..Link::default() });
    }
    call
}

/// Where Bob has connected to: the name of the node, and the end there.
fn connected_to(call: &mut Call) -> Option<(NodeId, Way)> {
    call.world.run(5);
    [AT_ALICE, NodeId(2)].into_iter().find_map(|node| {
        let opened = |mail: &Mail| mail.what == parlour_sim::What::Opened;
        call.world.find(node, opened).map(|mail| (node, mail.way))
    })
}

/// Alice comes, and binds: Bob's answer to her first SEND.
fn comes(call: &mut Call, habit: Habit) -> (Way, Option<u16>) {
    let way = call.connect();
    let first = if habit == Habit::SaysAtOnce {
        call.script.msrp_send("bind1", "first", "at once")
    } else {
        call.script.msrp_empty("bind1")
    };
    call.world.send(way, first);
    call.world.run(5);
    let answer = call.world.find(AT_ALICE, |mail| mail.message().starts_with(b"MSRP bind1 "));
    (way, answer.and_then(|mail| text::status(mail.message())))
}

/// A text each way, over the connection that ends at `node`.
#[track_caller]
fn talk(call: &mut Call, habit: Habit, node: NodeId, way: Way) {
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, session, words("m1-id", "from Bob"))).expect("say");
    call.world.run(5);
    let send = call.world.find(node, |mail| text::lossy(mail.message()).contains("from Bob"));
    assert_eq!(send.is_none(), habit == Habit::Held, "{}", call.world.ladder());
    if let Some(send) = send {
        call.world.send(send.way, call.script.msrp_respond(send.message(), "200 OK"));
    }
    call.world.send(way, call.script.msrp_send("tid1", "hers", "from Alice"));
    call.world.run(5);
    assert!(call.at_bob().stored_texts().contains(&"from Alice".to_owned()), "{}", call.world.ladder());
}

/// What comes of the media once both have a description: Bob is active, or passive.
fn media(call: &mut Call, habit: Habit, active: bool) -> String {
    if active {
        let Some((node, way)) = connected_to(call) else {
            return never(call, habit);
        };
        let place = if node == AT_ALICE { "the peer" } else { "the box" };
        // RFC 6135 4.2.3 and RFC 4975 5.4: who connects binds, at once.
        let bind = call.world.find(node, |mail| text::method(mail.message()).as_deref() == Some("SEND"));
        let bind = bind.unwrap_or_else(|| panic!("no SEND\n{}", call.world.ladder()));
        assert!(text::body(bind.message()).is_empty());
        if habit == Habit::BindsToo {
            call.world.send(way, call.script.msrp_empty("bind2"));
        }
        call.world.send(way, call.script.msrp_respond(bind.message(), "200 OK"));
        call.world.run(5);
        if habit == Habit::PathRewrittenStrict {
            // Alice is called otherwise than her description says.
            call.world.send(way, call.script.msrp_send("tid1", "hers", "from Alice"));
            call.world.run(5);
            let answer = call.world.find(node, |mail| mail.message().starts_with(b"MSRP tid1 "));
            return format!("to {place}, {}", answer.and_then(|it| text::status(it.message())).unwrap_or(0));
        }
        talk(call, habit, node, way);
        return format!("to {place}");
    }
    if habit == Habit::Never {
        return never(call, habit);
    }
    assert_eq!(connected_to(call), None, "{}", call.world.ladder());
    match comes(call, habit) {
        (way, Some(200)) => {
            talk(call, habit, AT_ALICE, way);
            "from the peer".to_owned()
        }
        (_, status) => format!("from the peer, {}", status.unwrap_or(0)),
    }
}

/// Nobody is there: after how many seconds Bob offers again, or gives up.
fn never(call: &mut Call, habit: Habit) -> String {
    let start = call.world.millis();
    for _ in 0..900 {
        call.world.run(100);
        let again =
            call.world.find(AT_ALICE, |mail| text::method(mail.message()).as_deref() == Some("INVITE"));
        let ended = call.at_bob().told().any(|what| matches!(what, What::Ended(_)));
        let seconds = (call.world.millis() - start) / 1000;
        if again.is_some() {
            return format!("nowhere, INVITE at {seconds} s");
        }
        if ended {
            return format!("nowhere, left at {seconds} s");
        }
    }
    panic!("{habit:?}: still waiting\n{}", call.world.ladder());
}

/// What Bob says of the connection in his description: his role, and the port of his `m=` line and path.
fn said(mail: &Mail) -> (bool, String) {
    let body = text::lossy(text::body(mail.message()));
    let port = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before).unwrap_or_default();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let path = text::attribute(mail.message(), "path").unwrap_or_default();
    let (media, own) = (port(&body, "m=message "), port(path.trim_start_matches("msrp://"), ":"));
    assert_eq!(media, own, "RFC 4975 8.1: {body}");
    let setup = text::attribute(mail.message(), "setup").unwrap_or_default();
    (setup == "active", format!("{setup} {media}"))
}

/// Alice offers.
fn offered(setup: Option<&str>, habit: Habit, listens: bool) -> String {
    let mut call = stage(habit, listens);
    let offer = habit.spoil(&mut call.script, setup);
    call.send(call.script.invite_with("", &offer));
    call.world.run(5);
    let answer = call.world.find(AT_ALICE, |mail| text::status(mail.message()).is_some_and(|it| it >= 200));
    let answer = answer.unwrap_or_else(|| panic!("no answer\n{}", call.world.ladder()));
    if let Some(status) = text::status(answer.message()).filter(|status| *status >= 300) {
        call.ack_refusal(&answer);
        call.over();
        return status.to_string();
    }
    call.script.learn(answer.message());
    let path = call.script.peer_path.clone();
    let (active, says) = said(&answer);
    call.script.peer_path = habit.passes_on(&path);
    let early = habit == Habit::Early && !active;
    let before = early.then(|| comes(&mut call, habit));
    let ack = call.script.clone().ack(&mut call.world, answer.message());
    call.send(ack);
    let media = match before {
        Some((way, status)) => {
            assert_eq!(status, Some(200), "{}", call.world.ladder());
            talk(&mut call, habit, AT_ALICE, way);
            "from the peer".to_owned()
        }
        None => media(&mut call, habit, active),
    };
    format!("{says}: {media}")
}

/// Bob offers, and Alice answers.
fn answered(setup: Option<&str>, habit: Habit, listens: bool) -> String {
    let mut call = stage(habit, listens);
    call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None)).expect("invite");
    let invite = call.request("INVITE");
    let (_, says) = said(&invite);
    assert_eq!(says, if listens { "actpass 2855" } else { "active 9" });
    call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
    let path = call.script.peer_path.clone();
    let answer = habit.spoil(&mut call.script, setup);
    call.script.peer_path = habit.passes_on(&path);
    let early = habit == Habit::Early && listens && setup == Some("active");
    let before = early.then(|| comes(&mut call, habit));
    call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
    call.request("ACK");
    call.world.run(5);
    if call.world.find(AT_ALICE, |mail| text::method(mail.message()).as_deref() == Some("BYE")).is_some() {
        return "BYE".to_owned();
    }
    if habit == Habit::MediaRewritten(Cema::Strict) && setup == Some("active") {
        let again = call.request("INVITE");
        // RFC 6714 4.2: the path alone, now.
        let answer = answer.replace("o=- 1 1 ", "o=- 1 2 ");
        call.send(call.script.respond(again.message(), "200 OK", "", &answer));
        call.request("ACK");
        return format!("offered again, {}", media(&mut call, habit, setup != Some("active")));
    }
    match before {
        Some((way, status)) => {
            assert_eq!(status, Some(200), "{}", call.world.ladder());
            talk(&mut call, habit, AT_ALICE, way);
            "from the peer".to_owned()
        }
        // RFC 6135 5: who says nothing leaves it to us.
        None => media(&mut call, habit, setup != Some("active")),
    }
}

/// A table: a row for each habit, a column for each value of `setup`.
fn table(cell: impl Fn(Option<&str>, Habit) -> String) -> String {
    let widths = 37;
    let mut lines = String::new();
    let mut row = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("| {cell:<widths$}")).collect();
        lines += &format!("{name:<24}{}\n", cells.trim_end());
    };
    row("", SETUPS.iter().map(|setup| setup.unwrap_or("absent").to_owned()).collect());
    for habit in HABITS.into_iter().chain([Habit::Never]) {
        let name = format!("{habit:?}");
        row(&name, SETUPS.iter().map(|setup| cell(*setup, habit)).collect());
    }
    lines
}

//= IM D-4 test
//= IM D-10 test
//= IM D-11 test
//= IM D-12 test
//= IM D-14 test
//= IM D-15 test
//= IM D-16 test
//= IM D-17 test
#[cfg_attr(test, test)]
pub(crate) fn what_every_offer_of_a_peer_comes_to() {
    assert_snapshot!(table(|setup, habit| offered(setup, habit, true)));
}

//= IM D-10 test
#[cfg_attr(test, test)]
pub(crate) fn what_every_offer_comes_to_where_we_cannot_be_reached() {
    assert_snapshot!(table(|setup, habit| offered(setup, habit, false)));
}

//= IM D-10 test
//= IM D-13 test
//= IM D-14 test
//= IM D-15 test
//= IM D-16 test
//= IM D-17 test
#[cfg_attr(test, test)]
pub(crate) fn what_every_answer_to_an_offer_of_ours_comes_to() {
    assert_snapshot!(table(|setup, habit| answered(setup, habit, true)));
}

//= IM D-10 test
//= IM D-13 test
#[cfg_attr(test, test)]
pub(crate) fn what_every_answer_comes_to_where_we_cannot_be_reached() {
    assert_snapshot!(table(|setup, habit| answered(setup, habit, false)));
}
