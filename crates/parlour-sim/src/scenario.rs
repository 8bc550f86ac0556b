//! Random scenarios: two clients and a hostile peer do what the dice say, over links that are as bad.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use parlour_msrp::random::Random;
use parlour_proto::config::{Accept, Account, ActpassAnswer, Config, Hop};
use parlour_proto::event::What as Told;
use parlour_proto::io::Service;

use crate::check::{Violation, WELL_FORMED};
use crate::client_node::Tamper;
use crate::link::{Link, Loss, Segments};
use crate::peer::{Mail, Way, What};
use crate::script::Script;
use crate::text;
use crate::world::{NodeId, World};

mod disturbances;
mod media;
mod procedures;
mod referrals;
mod users;

/// After so long without new input, nothing may be left of anything: two hours, in milliseconds.
const AFTERMATH: u64 = 7_200_000;

/// So long, in milliseconds, a request that is sent again is surely known: it is less than T4 (RFC 3261 17.1.2.2)
/// with the longest way there.
const RETRANSMITTED: u64 = 4_000;

/// Where a scenario's choices come from.
#[derive(Debug)]
pub enum Dice<'a> {
    /// A seed, and how many operations it is good for.
    Seeded(Box<Random>, u64),
    /// A fuzzer's octets; the scenario ends with them.
    Octets(&'a [u8]),
}

/// What became of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// Which client broke which rule.
    pub violations: Vec<(NodeId, Violation)>,
    /// What crossed the world.
    pub ladder: String,
    /// How many messages were stored, sessions begun, and rows drawn: that something happened.
    pub messages: usize,
    /// Events of all kinds.
    pub events: usize,
    /// REFERs to a focus of which the outcome was told.
    pub referrals: usize,
}

impl Dice<'_> {
    /// Dice from a seed.
    pub fn seeded(seed: u64) -> Self {
        let mut octets = [0; 32];
        for (octet, value) in octets.iter_mut().zip(seed.to_le_bytes()) {
            *octet = value;
        }
        let mut random = Random::new(octets);
        let operations = 5 + random.below(60);
        Dice::Seeded(Box::new(random), operations)
    }

    /// A value in `0..bound`.
    fn below(&mut self, bound: u64) -> u64 {
        match self {
            Dice::Seeded(random, _) => random.below(bound),
            Dice::Octets(octets) => {
                let wide = bound > 256;
                let (first, rest) =
                    octets.split_at_checked(if wide { 2 } else { 1 }).unwrap_or((octets, &[]));
                *octets = rest;
                first.iter().fold(0, |value, octet| value << 8 | u64::from(*octet)) % bound.max(1)
            }
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(at)
    }

    fn goes_on(&mut self) -> bool {
        match self {
            Dice::Seeded(_, left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
            Dice::Octets(octets) => !octets.is_empty(),
        }
    }
}

/// Plays one scenario. `plant` may give Bob a fault that the checks have to find.
pub fn play(mut dice: Dice<'_>, plant: Option<Tamper>) -> Outcome {
    let mut world = World::new(dice.below(1 << 16));
    let alice = world.client("alice", config(&mut dice, "sip:alice@192.0.2.1"));
    let bob = world.client("bob", config(&mut dice, "sip:bob@192.0.2.2"));
    let mallory = world.peer("mallory");
    for (a, b) in [(alice, bob), (alice, mallory), (bob, mallory)] {
        let link = link(&mut dice);
        world.link(a, b, link);
    }
    if let Some(at) = world.client_at_mut(bob) {
        at.tamper = plant;
    }
    let mut play = Play {
        world,
        dice,
        mallory,
        lines: Vec::new(),
        media: Vec::new(),
        foci: Vec::new(),
        referrals: Vec::new(),
        said: 0,
        polite: 90,
    };
    while play.dice.goes_on() {
        play.operation();
        play.pass();
    }
    play.end()
}

struct Play<'a> {
    world: World,
    dice: Dice<'a>,
    mallory: NodeId,
    /// Mallory's ends of dialogs.
    lines: Vec<Line>,
    /// Mallory's MSRP connections.
    media: Vec<Way>,
    /// Mallory's ends of subscriptions to conferences.
    foci: Vec<Script>,
    /// Mallory's ends of what REFERs to her have made.
    referrals: Vec<Script>,
    said: u64,
    /// How many of 100 messages Mallory answers properly.
    polite: u64,
}

/// One of Mallory's dialogs.
#[derive(Debug, Clone)]
struct Line {
    script: Script,
    /// The last request, and when it left, in milliseconds.
    last: String,
    sent: u64,
    /// The MSRP connection made for it.
    media: Option<Way>,
}

impl Play<'_> {
    fn operation(&mut self) {
        match self.dice.below(40) {
            0 | 1 => self.client_invites(),
            2..=5 => self.client_answers(),
            6 => self.client_leaves(),
            7..=9 => self.client_says(),
            10..=12 => self.invite(false),
            13 => self.invite(true),
            14 => self.send_again(),
            15 => self.cancel(),
            16 => self.in_dialog(),
            17..=19 => self.connect_media(),
            20..=24 => self.chunk(),
            25 => self.mutate(),
            26 => self.noise(),
            27 => self.break_stream(),
            28 => self.disturb_store(),
            29 => self.change_link(),
            30..=33 => self.invite_to_a_procedure(),
            34 | 35 => self.notify(),
            36 => self.refer(),
            37 | 38 => self.client_adds(),
            _ => self.polite = 50 + self.dice.below(51),
        }
    }

    /// Lets some time go by, in which Mallory reacts.
    fn pass(&mut self) {
        let millis = match self.dice.below(10) {
            0..=5 => self.dice.below(200),
            6..=8 => self.dice.below(3000),
            9.. if self.dice.chance(60) => self.dice.below(10_000),
            _ if self.dice.chance(70) => self.dice.below(70_000),
            _ => self.dice.below(300_000),
        };
        let end = self.world.millis() + millis;
        while self.world.next_within(end) {
            for mail in self.world.mail_of(self.mallory) {
                self.react(&mail);
            }
        }
        self.world.run_to(end);
    }

    fn react(&mut self, mail: &Mail) {
        if mail.what == What::Opened && !self.media.contains(&mail.way) {
            self.media.push(mail.way);
        }
        let message = mail.message();
        if !self.dice.chance(self.polite) {
            return;
        }
        let answer = match (text::transaction(message), text::method(message), text::status(message)) {
            (Some(_), Some(method), _) if method == "SEND" => {
                let line = if self.dice.chance(90) { "200 OK" } else { "413 Enough" };
                self.lines.first().map(|at| at.script.msrp_respond(message, line))
            }
            (Some(_), ..) => None,
            (None, Some(method), _) => self.answer_request(mail, &method),
            (None, None, Some(status)) => self.answer_response(message, status),
            (None, None, None) => None,
        };
        if let Some(answer) = answer {
            self.world.send(mail.way, answer);
        }
        let answered = text::status(message) == Some(200) && text::attribute(message, "path").is_some();
        if answered && self.dice.chance(60) {
            let call_id = text::header(message, "Call-ID").unwrap_or_default();
            let at =
                self.lines.iter().position(|line| line.script.call_id == call_id && line.media.is_none());
            at.into_iter().for_each(|at| self.connect_for(at));
        }
    }

    fn answer_request(&mut self, mail: &Mail, method: &str) -> Option<String> {
        let message = mail.message();
        let script = match method {
            "ACK" => return None,
            "SUBSCRIBE" => return Some(self.subscribed(mail)),
            "REFER" => return Some(self.referred(mail)),
            "INVITE" | "UPDATE" if self.by_call_id(message).is_some() => return Some(self.renewed(message)),
            "INVITE" => Script::callee(&mut self.world, self.mallory, mail.way, message),
            _ => match self.by_call_id(message) {
                Some(script) => script,
                None => Script::callee(&mut self.world, self.mallory, mail.way, message),
            },
        };
        if method != "INVITE" {
            return Some(script.respond(message, "200 OK", "", ""));
        }
        let answer = match self.dice.below(8) {
            6 | 7 => self.answer_by_procedure(&script, message),
            0 => script.respond(message, "180 Ringing", "", ""),
            1 => script.respond(message, "486 Busy Here", "", ""),
            2 => script.respond(message, "200 OK", "", &script.sdp("active", "text/plain message/cpim")),
            3 => script.respond(message, "200 OK", "", "nonsense"),
            _ => script.respond(message, "200 OK", "", &script.sdp("passive", "text/plain message/cpim")),
        };
        self.keep(script, &answer);
        Some(answer)
    }

    fn answer_response(&mut self, message: &[u8], status: u16) -> Option<String> {
        let invite = text::header(message, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        let via = text::header(message, "Via").unwrap_or_default();
        let at = self.lines.iter().position(|line| via.contains(&format!("{};", line.script.branch)));
        let (serial, answers) = (self.world.serial(), self.dice.chance(70));
        let Line { script, last, .. } = self.lines.get_mut(at?)?;
        let unanswered = answers && !last.contains("\r\n\r\nv=0");
        match status {
            _ if !invite => None,
            100..200 => {
                script.learn(message);
                at.and_then(|at| self.prack(at, message))
            }
            200..300 if unanswered => {
                script.learn(message);
                Some(script.request("ACK", &format!("z9hG4bK-ack-{serial}"), "", &script.sdp("active", "*")))
            }
            200..300 => Some(script.ack(&mut self.world, message)),
            _ => Some(script.clone().ack_refusal(message)),
        }
    }

    fn by_call_id(&self, message: &[u8]) -> Option<Script> {
        let call_id = text::header(message, "Call-ID")?;
        self.lines.iter().rev().find(|line| line.script.call_id == call_id).map(|line| line.script.clone())
    }

    fn invite(&mut self, strange: bool) {
        let way = self.a_sip_way();
        let Some((way, target)) = way else { return };
        let script = Script::caller(&mut self.world, self.mallory, way, target);
        let setup =
            self.dice.pick(&["actpass", "active", "passive", "holdconn"]).copied().unwrap_or("active");
        let offer = script.sdp(setup, "text/plain message/cpim");
        let mut invite = script.invite_with("", &offer);
        if strange {
            let edits: &[(&str, &str)] = &[
                ("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nRequire: foo, bar\r\n"),
                ("Contact:", "Contact: <sip:x@y>\r\nContact:"),
                ("m=message 2855", "m=audio 9"),
                ("accept-types:text/plain", "accept-types:foo/bar"),
                ("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nExpires: 3\r\n"),
                ("To: <", "To: \"\\\"<sip:odd@x>\" <"),
                ("a=path:msrp://192.0.2.3:2855", "a=path:msrp://127.0.0.1:22"),
                ("a=path:msrp://192.0.2.3:2855", "a=path:msrp://192.0.2.99:2855"),
            ];
            let edited = match self.dice.pick(edits) {
                Some((from, to)) => script.invite_with("", &offer.replace(from, to)).replacen(from, to, 1),
                None => script.invite_with("", ""),
            };
            invite = if self.dice.chance(20) { script.invite_with("", "") } else { edited };
        }
        self.world.send(way, &invite);
        self.keep(script, &invite);
    }

    /// The last request of some dialog once more: as it was, by another way, or when it was forgotten long ago.
    fn send_again(&mut self) {
        let Some(line) = self.dice.pick(&self.lines).cloned() else { return };
        let Line { script, last, sent, .. } = line;
        let fresh = matches!(script.way, Way::Udp { .. }) && self.world.millis() - sent < RETRANSMITTED;
        let again = match self.dice.chance(30) {
            true => last.replace(&script.branch, &format!("{WELL_FORMED}-merged-{}", self.world.serial())),
            false if fresh => last,
            false => last.replace(WELL_FORMED, "z9hG4bK-no"),
        };
        self.world.send(script.way, again);
    }

    fn cancel(&mut self) {
        if let Some(Line { script, .. }) = self.dice.pick(&self.lines) {
            let (way, cancel) = (script.way, script.cancel());
            self.world.send(way, cancel);
        }
    }

    fn in_dialog(&mut self) {
        let at = usize::try_from(self.dice.below(self.lines.len() as u64)).unwrap_or(0);
        let methods = ["BYE", "OPTIONS", "INVITE", "INVITE", "UPDATE", "UPDATE", "ACK", "INFO", "MESSAGE"];
        let method = self.dice.pick(&methods).copied().unwrap_or("BYE");
        let (wrong_tag, low) = (self.dice.chance(15), self.dice.chance(15));
        let (version, edit) = (self.dice.below(6), self.dice.pick(&LATER).copied().unwrap_or_default());
        let moved = self.dice.chance(30).then(|| format!("/moved{}", self.world.serial()));
        let now = self.world.millis();
        let Some(Line { script, last, sent, .. }) = self.lines.get_mut(at) else { return };
        let mut as_sent = script.clone();
        if wrong_tag {
            as_sent.remote_tag = Some("wrong".to_owned());
        }
        if low {
            as_sent.cseq = 0;
        }
        if let Some(moved) = moved {
            as_sent.path = as_sent.path.replace("/session", &moved);
            script.path = as_sent.path.clone();
        }
        let offer = as_sent.offer().replace("o=- 1 1", &format!("o=- 1 {version}"));
        let (rows, body) = match (method, edit) {
            ("INVITE" | "UPDATE", ("", _)) => ("Contact: <sip:192.0.2.3:5060>\r\n", String::new()),
            ("INVITE" | "UPDATE", (from, to)) => {
                ("Contact: <sip:192.0.2.3:5060>\r\n", offer.replace(from, to))
            }
            _ => ("", String::new()),
        };
        *sent = now;
        *last = as_sent.next(&mut self.world, method, rows, &body);
        let (way, request) = (as_sent.way, last.clone());
        (script.cseq, script.branch) = (script.cseq.max(as_sent.cseq), as_sent.branch);
        self.world.send(way, request);
    }

    fn keep(&mut self, script: Script, last: &str) {
        self.lines.push(Line { script, last: last.to_owned(), sent: self.world.millis(), media: None });
    }

    fn a_sip_way(&mut self) -> Option<(Way, &'static str)> {
        let node = self.a_client();
        let target = if node.0 == 0 { "sip:alice@192.0.2.1" } else { "sip:bob@192.0.2.2" };
        let way = match self.dice.below(4) {
            0 => {
                let to = self.world.address(node, 5060);
                self.world.open(self.mallory, to, Service::Sip)
            }
            _ => self.world.udp(self.mallory, node),
        };
        Some((way, target))
    }

    /// Everybody goes home; then nothing may be left.
    fn end(mut self) -> Outcome {
        for way in self.world.open_ways() {
            self.world.close(way);
        }
        for node in self.world.clients() {
            let _ = self.world.act(node, |client, now| {
                client.shutdown(now);
                Ok(())
            });
        }
        self.world.run(AFTERMATH);
        // What was opened to Mallory since then ends with her.
        for way in self.world.open_ways() {
            self.world.close(way);
        }
        self.world.run(AFTERMATH);
        self.world.judge();
        let clients = self.world.clients();
        let at = |node: &NodeId| self.world.client_at(*node);
        let broken = |node: &NodeId| {
            let violations = at(node).map(|client| client.violations().to_vec()).unwrap_or_default();
            violations.into_iter().map(|violation| (*node, violation)).collect::<Vec<_>>()
        };
        let referred = |what: &&Told| matches!(what, Told::AddAccepted { .. } | Told::AddRefused { .. });
        Outcome {
            violations: clients.iter().flat_map(broken).collect(),
            ladder: self.world.ladder(),
            messages: clients.iter().filter_map(at).map(|client| client.store.messages.len()).sum(),
            events: clients.iter().filter_map(at).map(|client| client.events.len()).sum(),
            referrals: clients
                .iter()
                .filter_map(at)
                .map(|client| client.told().filter(referred).count())
                .sum(),
        }
    }
}

/// Half of the clients believe what Mallory asserts.
const MALLORY: Hop = Hop { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), bits: 32 };

/// What a later offer changes; nothing, in the end, or all of it.
const LATER: [(&str, &str); 12] = [
    ("v=0", "v=0"),
    ("v=0", "v=0"),
    ("v=0", "v=0"),
    ("", ""),
    ("a=setup:actpass", "a=setup:actpass\r\na=sendonly"),
    ("a=setup:actpass", "a=setup:actpass\r\na=inactive"),
    ("c=IN IP4 192.0.2.3", "c=IN IP4 0.0.0.0"),
    ("m=message 2855", "m=message 0"),
    ("m=message 2855", "m=audio 9 RTP/AVP 0\r\nm=message 2855"),
    ("a=setup:actpass", "a=setup:passive"),
    ("TCP/MSRP", "TCP/FOO"),
    ("m=message", "m=audio"),
];

fn config(dice: &mut Dice<'_>, address: &str) -> Config {
    let account = Account { address: address.to_owned(), ..Account::default() };
    Config {
        accounts: vec![account],
        accept: dice.pick(&[Accept::Ask, Accept::All, Accept::Auto]).copied().unwrap_or_default(),
        session_expires: Duration::from_secs(dice.pick(&[1800, 90, 90, 0]).copied().unwrap_or(1800)),
        trusted_hops: if dice.chance(50) { vec![MALLORY] } else { Vec::new() },
        max_sessions: dice.pick(&[0, 0, 1, 3]).copied().unwrap_or(0),
        max_pending_invites: dice.pick(&[10, 10, 1]).copied().unwrap_or(10),
        actpass_answer: dice.pick(&[ActpassAnswer::Auto, ActpassAnswer::Active]).copied().unwrap_or_default(),
        ..Config::default()
    }
}

fn link(dice: &mut Dice<'_>) -> Link {
    Link {
        delay: Duration::from_millis(dice.below(200)),
        jitter: Duration::from_millis(dice.pick(&[0, 0, 50, 700]).copied().unwrap_or(0)),
        loss: Loss::Percent(dice.pick(&[0, 0, 10, 40]).copied().unwrap_or(0)),
        duplicate: dice.pick(&[0, 0, 20]).copied().unwrap_or(0),
        segments: dice
            .pick(&[Segments::Whole, Segments::Random(1400), Segments::Random(90)])
            .copied()
            .unwrap_or(Segments::Whole),
        window: dice.pick(&[64 * 1024, 16 * 1024, 3000]).copied().unwrap_or(64 * 1024),
        refuse: false,
    }
}
