//! One session takes the place of another: who may, who may not, and what becomes of the old one.

use std::net::IpAddr;

use parlour_proto::config::{Accept, Config, Hop, ReplaceAccept};
use parlour_proto::event::{Ended, Explain, Progress, Thread, What};
use parlour_proto::io::{AccountId, SessionId};
use parlour_sim::{Mail, NodeId, Script, Way, text};

use crate::common::{BOB, Call, config, text as words};

pub(super) const ANN: &str = "P-Asserted-Identity: \"Ann\" <sip:ann@example.com>, <tel:+1-555-0100>\r\n";
pub(super) const FOCUS: &str = "P-Asserted-Identity: <sip:conference@example.com>\r\n";

/// Alice's address is that of the core, whose word counts.
pub(super) fn trusting() -> Config {
    let trusted_hops = vec![Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 }];
    Config { trusted_hops, accept: Accept::Auto, ..config(BOB) }
}

pub(super) fn asking() -> Config {
    Config { replace_accept: ReplaceAccept::Ask, ..trusting() }
}

/// A session between Ann, for whom the core speaks, and Bob. Her connection is bound.
pub(super) struct Chat {
    pub(super) call: Call,
    pub(super) media: Way,
    pub(super) old: SessionId,
}

impl Chat {
    pub(super) fn new(config: Config) -> Self {
        Chat::with(config, ANN)
    }

    pub(super) fn with(config: Config, rows: &str) -> Self {
        let mut call = Call::new(config);
        call.send(call.script.invite_with(rows, &call.script.offer()));
        let first = call.world.expect(call.alice, "an answer", |mail| text::status(mail.message()).is_some());
        let answer = if text::status(first.message()) == Some(180) {
            call.accept();
            call.status(200)
        } else {
            first
        };
        let old = call.session();
        call.ack(&answer);
        let media = call.connect();
        call.world.send(media, call.script.msrp_empty("bind1"));
        call.status(200);
        Chat { call, media, old }
    }

    /// The header that names the old dialog.
    pub(super) fn replaces(&self, more: &str) -> String {
        let Script { call_id, remote_tag, local_tag, .. } = &self.call.script;
        let remote_tag = remote_tag.as_deref().unwrap_or_default();
        format!("Replaces: {call_id};to-tag={remote_tag};from-tag={local_tag}{more}\r\n")
    }

    /// Somebody at `node` invites Bob, with these rows.
    pub(super) fn invite(&mut self, node: NodeId, rows: &str) -> Script {
        let way = self.call.world.udp(node, self.call.bob);
        let script = Script::caller(&mut self.call.world, node, way, BOB);
        self.call.world.send(way, script.invite_with(rows, &script.offer()));
        script
    }

    /// The same from the core.
    pub(super) fn core_invites(&mut self, rows: &str) -> Script {
        self.invite(self.call.alice, rows)
    }

    #[track_caller]
    pub(super) fn refused(&mut self, mut script: Script, status: u16) -> Mail {
        let refusal = self.call.world.expect_status(script.node, status);
        let ack = script.ack_refusal(refusal.message());
        self.call.world.send(script.way, ack);
        self.call.world.run(10);
        refusal
    }

    /// The 200 to an INVITE, acknowledged.
    #[track_caller]
    pub(super) fn accepted(&mut self, script: &mut Script) {
        let answer = self.call.status(200);
        self.acknowledge(script, &answer);
    }

    pub(super) fn acknowledge(&mut self, script: &mut Script, answer: &Mail) {
        let ack = script.ack(&mut self.call.world, answer.message());
        self.call.send(ack);
        self.call.world.run(0);
    }

    /// Bob's BYE of the old session, answered.
    #[track_caller]
    pub(super) fn old_ends(&mut self) {
        let bye = self.call.request("BYE");
        assert_eq!(text::header(bye.message(), "Call-ID").as_deref(), Some(&*self.call.script.call_id));
        self.call.send(self.call.script.respond(bye.message(), "200 OK", "", ""));
        self.call.world.run(10);
    }

    /// The old session carries messages both ways.
    #[track_caller]
    pub(super) fn lives(&mut self) {
        let Chat { call, media, old } = self;
        call.world.send(*media, call.script.msrp_send("alive1", "alive-in", "are you there"));
        call.status(200);
        call.world.act(call.bob, |bob, now| bob.say(now, *old, words("alive-out", "yes"))).expect("say");
        let send = call.request("SEND");
        call.world.send(*media, call.script.msrp_respond(send.message(), "200 OK"));
        call.world.run(10);
        assert!(told(call, *old, |what| matches!(
            what,
            What::Progress { message_id, progress: Progress::Acknowledged } if message_id == "alive-out"
        )));
    }

    pub(super) fn say(&mut self, session: SessionId, message_id: &str) {
        let said =
            self.call.world.act(self.call.bob, |bob, now| bob.say(now, session, words(message_id, "hello")));
        said.expect("say");
    }

    pub(super) fn accept(&mut self, session: SessionId) -> Result<(), parlour_proto::client::Misuse> {
        self.call.world.act(self.call.bob, |bob, now| bob.accept(now, session))
    }

    pub(super) fn new_session(&self) -> SessionId {
        let invited = self.call.at_bob().events.iter().rev();
        let mut ids = invited.filter(|(_, event)| matches!(event.what, What::Invited { .. }));
        ids.next().and_then(|(_, event)| event.session).expect("an invitation")
    }

    pub(super) fn over_with_old(mut self) {
        self.call.bye();
        self.call.status(200);
        self.call.over();
    }
}

pub(super) fn told(call: &Call, session: SessionId, fits: impl Fn(&What) -> bool) -> bool {
    call.at_bob().events.iter().any(|(_, event)| event.session == Some(session) && fits(&event.what))
}

pub(super) fn explained(call: &Call, clause: &str) -> Option<Explain> {
    let explained =
        |what: &What| if let What::Explain(explain) = what { Some(explain.clone()) } else { None };
    let all = call.at_bob().events.iter().rev().filter_map(|(_, event)| explained(&event.what));
    all.into_iter().find(|explain| explain.clause == clause)
}

/// Binds the new session and returns its connection.
pub(super) fn bind(chat: &mut Chat, script: &Script) -> Way {
    let media = chat.call.connect();
    chat.call.world.send(media, script.msrp_empty("bind2"));
    chat.call.status(200);
    media
}

//= IM S-6 test
//= IM S-6f test
//= IM P-4 test
//= IM X-6 test
#[cfg_attr(test, test)]
pub(crate) fn who_may_not_replace_a_session_is_refused_and_it_lives_on() {
    let referred = |by: &str| format!("Referred-By: {by}\r\n");
    let ann = referred("<sip:ann@example.com>");
    for (rows, why) in [
        (ann.clone(), "P-Asserted-Identity is missing"),
        (String::new(), "P-Asserted-Identity is missing"),
        (FOCUS.to_owned(), "Referred-By is missing"),
        (
            format!("{FOCUS}{}", referred("<sip:mallory@example.com>")),
            "Referred-By is sip:mallory@example.com",
        ),
        (format!("{FOCUS}{}", referred("<sip:Ann@example.com>")), "Referred-By is sip:Ann@example.com"),
        (format!("{FOCUS}{}", referred("<sip:ann@anonymous.invalid>")), "Referred-By is"),
        // S-6 is literal: somebody else's name in Referred-By is not made good by who sends it.
        (format!("{ANN}{}", referred("<sip:mallory@example.com>")), "Referred-By is sip:mallory@example.com"),
        // A value of another kind, and a second one of the same, do not count.
        (format!("P-Asserted-Identity: <http://x>\r\n{ann}"), "P-Asserted-Identity is missing"),
    ] {
        let mut chat = Chat::new(trusting());
        let invite = chat.replaces("") + &rows;
        let script = chat.core_invites(&invite);
        chat.refused(script, 403);
        let explain = explained(&chat.call, "S-6f").expect("it says why");
        assert!(explain.decision.contains("403") && explain.input.contains(why), "{rows}: {explain:?}");
        assert!(explain.input.contains("Replaces: call-"), "{explain:?}");
        assert!(told(&chat.call, chat.old, |what| matches!(what, What::TakeoverRefused { .. })));
        assert_eq!(chat.call.invitations(), 1, "nobody was asked");
        chat.lives();
        chat.over_with_old();
    }
}

//= IM X-1 test
//= IM X-6 test
//= IM X-7 test
#[cfg_attr(test, test)]
pub(crate) fn from_an_untrusted_source_no_identity_helps() {
    let mut chat = Chat::new(trusting());
    let mallory = chat.call.world.peer("mallory");
    let rows = [ANN, FOCUS].map(|pai| format!("{pai}Referred-By: <sip:ann@example.com>\r\n"));
    for rows in [&rows[0], &rows[1], ANN] {
        let invite = chat.replaces("") + rows;
        let script = chat.invite(mallory, &invite);
        let known = chat.refused(script, 481);
        assert!(explained(&chat.call, "X-6").is_some());
        // An unknown dialog gets the very same answer.
        let unknown = chat.replaces("").replace("from-tag=", "from-tag=x") + rows;
        let script = chat.invite(mallory, &unknown);
        let unknown = chat.refused(script, 481);
        let line = |mail: &Mail| text::lossy(mail.message()).lines().next().map(str::to_owned);
        assert_eq!(line(&known), line(&unknown));
    }
    let refused = |what: &What| matches!(what, What::TakeoverRefused { by, .. } if !by.verified);
    assert_eq!(chat.call.at_bob().told().filter(|what| refused(what)).count(), 3);
    // Who goes on trying is not told of for ever.
    let invite = chat.replaces("") + ANN;
    let script = chat.invite(mallory, &invite);
    chat.refused(script, 481);
    assert_eq!(chat.call.at_bob().told().filter(|what| refused(what)).count(), 3);
    chat.lives();
    chat.over_with_old();
}

//= IM S-5 test
//= IM P-7 test
//= IM P-9 test
//= IM P-10 test
//= IM R-3 test
//= IM G-1a test
#[cfg_attr(test, test)]
pub(crate) fn a_referred_focus_takes_the_chat_over_with_what_was_not_delivered() {
    let mut chat = Chat::new(Config { max_sessions: 1, per_peer_limit: 1, ..trusting() });
    let old = chat.old;
    chat.say(old, "m-sent");
    chat.call.request("SEND");
    let rows = chat.replaces("") + FOCUS + "Referred-By: <sips:ann@EXAMPLE.com;x=y>\r\n";
    let mut focus = chat.core_invites(&rows);
    chat.accepted(&mut focus);
    let new = chat.new_session();
    assert_ne!(new, old);
    let invited = |what: &What| {
        matches!(what, What::Invited { asked: false, thread: Thread { replaces, referred_by: Some(by), .. }, .. }
            if *replaces == Some(old) && !by.verified && by.address == "sips:ann@example.com")
    };
    assert!(told(&chat.call, new, invited), "{}", chat.call.world.ladder());
    assert!(told(&chat.call, old, |what| *what == What::Moved { message_id: "m-sent".into(), to: new }));
    // While the old one goes, its owner may not know yet: what he says there goes on in the new one.
    chat.say(old, "m-late");
    chat.old_ends();
    assert!(told(&chat.call, old, |what| *what == What::Ended(Ended::Replaced { by: new })));
    // 200 first, then BYE.
    let rows = chat.call.world.rows();
    let last = |label: &str| rows.iter().rposition(|row| row.label == label);
    assert!(last("200 OK") < last("BYE") && last("200 OK").is_some(), "{}", chat.call.world.ladder());
    let media = bind(&mut chat, &focus);
    for expected in ["m-sent", "m-late"] {
        let send = chat.call.request("SEND");
        assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some(expected));
        assert_eq!(text::body(send.message()), b"hello");
        assert_eq!(send.way, media);
        chat.call.world.send(media, focus.msrp_respond(send.message(), "200 OK"));
    }
    chat.call.world.run(10);
    let acknowledged = |id: &str| {
        told(
            &chat.call,
            new,
            |what| matches!(what, What::Progress { message_id, progress: Progress::Acknowledged } if message_id == id),
        )
    };
    assert!(acknowledged("m-sent") && acknowledged("m-late"));
    let failed = |what: &What| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. });
    assert!(!chat.call.at_bob().told().any(failed));
    let bye = focus.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}

//= IM P-4 test
//= IM P-5 test
#[cfg_attr(test, test)]
pub(crate) fn the_same_peer_moves_its_own_chat_and_any_common_address_will_do() {
    for (rows, same_peer, status) in [
        ("P-Asserted-Identity: <tel:+15550100>\r\n", true, 200),
        ("P-Asserted-Identity: <sip:+1.555.0100@gw;user=phone>\r\n", true, 200),
        ("P-Asserted-Identity: <sip:%61nn@example.com:5060>\r\n", true, 200),
        ("P-Asserted-Identity: <sip:ann@example.com>\r\n", false, 403),
        ("P-Asserted-Identity: <sip:+15550100@gw>\r\n", true, 403),
        ("P-Asserted-Identity: <sip:bea@example.com>\r\n", true, 403),
    ] {
        let mut chat = Chat::new(Config { replace_by_same_peer: same_peer, ..trusting() });
        let invite = chat.replaces("") + rows;
        let mut script = chat.core_invites(&invite);
        if status == 200 {
            chat.accepted(&mut script);
            chat.old_ends();
            let bye = script.bye(&mut chat.call.world);
            chat.call.send(bye);
            chat.call.status(200);
            chat.call.over();
        } else {
            chat.refused(script, status);
            chat.lives();
            chat.over_with_old();
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn whom_nobody_vouched_for_cannot_be_stood_for() {
    // The first call came without an asserted identity, or with an anonymous one.
    for rows in ["", "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n"] {
        let mut chat = Chat::with(trusting(), rows);
        let from = text::uri(&chat.call.script.local);
        let invite = format!("{}{FOCUS}Referred-By: <{from}>\r\n", chat.replaces(""));
        let script = chat.core_invites(&invite);
        chat.refused(script, 403);
        chat.lives();
        chat.over_with_old();
    }
}

//= IM P-1 test
//= IM P-2 test
//= IM P-3 test
//= IM P-6 test
#[cfg_attr(test, test)]
pub(crate) fn malformed_contradictory_and_unknown() {
    let mut chat = Chat::new(trusting());
    let good = chat.replaces("");
    let ann = format!("{FOCUS}Referred-By: <sip:ann@example.com>\r\n");
    let value = good.trim_start_matches("Replaces: ").trim_end().to_owned();
    let swapped = good.replace("to-tag", "x-tag").replace("from-tag", "to-tag").replace("x-tag", "from-tag");
    for (rows, status, header) in [
        (format!("{good}{good}{ann}"), 400, "Replaces"),
        (format!("Replaces: {value}, {value}\r\n{ann}"), 400, "Replaces"),
        (format!("Replaces: {}\r\n{ann}", value.split(";from").next().unwrap()), 400, "Replaces"),
        (format!("Replaces: {value};to-tag=x\r\n{ann}"), 400, "Replaces"),
        (format!("Replaces: \r\n{ann}"), 400, "Replaces"),
        (format!("{good}Join: {value}\r\n{ann}"), 400, "Join"),
        (format!("{good}{ann}b: <sip:ann@example.com>\r\n"), 400, "Referred-By"),
        (format!("{good}{FOCUS}Referred-By: sip:ann@example.com?x=y\r\n"), 400, "Referred-By"),
        (format!("{good}{FOCUS}Referred-By: <sip:ann@example.com>;cid=\"x\"\r\n"), 400, "Referred-By"),
        // Without Replaces, too.
        ("Referred-By: <sip:ann@example.com>;cid\r\n".to_owned(), 400, "Referred-By"),
        (format!("{swapped}{ann}"), 481, ""),
        (good.replace("call-", "Call-") + &ann, 481, ""),
        (good.replace(";from-tag=", ";from-tag=0;x=") + &ann, 481, ""),
        (format!("{}{ann}", chat.replaces(";early-only")), 486, ""),
    ] {
        let script = chat.core_invites(&rows);
        let refusal = chat.refused(script, status);
        let line = text::lossy(refusal.message()).lines().next().unwrap_or_default().to_owned();
        assert!(line.contains(header), "{rows}: {line}");
    }
    // It has no place in other requests, nor in a dialog of its own.
    for method in ["OPTIONS", "BYE", "INVITE"] {
        let offer = if method == "INVITE" { chat.call.script.offer() } else { String::new() };
        let rows = format!("Contact: <sip:{}>\r\n{good}", chat.call.script.host);
        let request = chat.call.script.next(&mut chat.call.world, method, &rows, &offer);
        chat.call.send(request);
        let refusal = chat.call.status(400);
        if method == "INVITE" {
            chat.call.ack_refusal(&refusal);
        }
    }
    chat.lives();
    chat.over_with_old();
}

//= IM P-2 test
#[cfg_attr(test, test)]
pub(crate) fn escapes_of_a_refer_that_were_left_in_do_no_harm() {
    for whole in [false, true] {
        let mut chat = Chat::new(trusting());
        let good = chat.replaces("");
        let value = good.trim_start_matches("Replaces: ").trim_end();
        let escaped = if whole {
            value.replace('@', "%40").replace(';', "%3B").replace('=', "%3d")
        } else {
            value.replace('@', "%40")
        };
        assert_ne!(escaped, value);
        let rows = format!("Replaces: {escaped}\r\nRequire: replaces\r\n{ANN}");
        let mut script = chat.core_invites(&rows);
        chat.accepted(&mut script);
        chat.old_ends();
        let bye = script.bye(&mut chat.call.world);
        chat.call.send(bye);
        chat.call.status(200);
        chat.call.over();
    }
}

//= IM P-3 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_ended_is_remembered_for_five_minutes() {
    let mut chat = Chat::new(trusting());
    let rows = chat.replaces("") + ANN;
    chat.call.bye();
    chat.call.status(200);
    chat.call.world.run(10);
    let script = chat.core_invites(&rows);
    chat.refused(script, 603);
    chat.call.world.run(299_000);
    let script = chat.core_invites(&rows);
    chat.refused(script, 603);
    chat.call.world.run(2_000);
    let script = chat.core_invites(&rows);
    chat.refused(script, 481);
    chat.call.over();
}

//= IM P-3 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_that_is_not_answered_cannot_be_replaced() {
    let mut call = Call::new(Config { accept: Accept::Ask, ..trusting() });
    call.send(call.script.invite_with(ANN, &call.script.offer()));
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    let old = call.session();
    let mut chat = Chat { media: call.way, call, old };
    let rows = chat.replaces("") + ANN;
    let script = chat.core_invites(&rows);
    chat.refused(script, 481);
    chat.accept(old).expect("it still rings");
    let answer = chat.call.status(200);
    chat.call.ack(&answer);
    chat.over_with_old();
}

//= IM P-9 test
#[cfg_attr(test, test)]
pub(crate) fn an_early_dialog_of_ours_is_cancelled() {
    for more in ["", ";early-only"] {
        let mut call = Call::new(trusting());
        let alice = "sip:ann@192.0.2.1";
        let old =
            call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), alice, None)).expect("a way");
        call.world.act(call.bob, |bob, now| bob.say(now, old, words("m-early", "hello"))).expect("say");
        let invite = call.request("INVITE");
        assert_eq!(
            text::header(invite.message(), "Supported").map(|tags| tags.contains("replaces")),
            Some(true)
        );
        call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
        let ringing = call.script.respond(invite.message(), "180 Ringing", ANN, "");
        call.send(ringing);
        call.world.run(10);
        let mut chat = Chat { media: call.way, call, old };
        // Her desk rings; she picks up in the lab. She writes the tags as Bob would see them.
        let rows = chat.replaces(more) + ANN;
        let mut lab = chat.core_invites(&rows);
        // Not an active chat: the policy for callers decides, and the core vouches for her.
        chat.accepted(&mut lab);
        let new = chat.new_session();
        let cancel = chat.call.request("CANCEL");
        chat.call.send(chat.call.script.respond(cancel.message(), "200 OK", "", ""));
        let gone = chat.call.script.respond(invite.message(), "487 Request Terminated", "", "");
        chat.call.send(gone);
        chat.call.request("ACK");
        assert!(told(&chat.call, old, |what| *what == What::Ended(Ended::Replaced { by: new })));
        bind(&mut chat, &lab);
        let send = chat.call.request("SEND");
        assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some("m-early"));
        let bye = lab.bye(&mut chat.call.world);
        chat.call.send(bye);
        chat.call.status(200);
        chat.call.over();
    }
}

//= IM P-7 test
//= IM P-12 test
#[cfg_attr(test, test)]
pub(crate) fn of_two_that_replace_one_the_first_that_is_accepted_wins() {
    let mut chat = Chat::new(Config { accept: Accept::Ask, ..asking() });
    let rows = chat.replaces("") + ANN;
    let mut first = chat.core_invites(&rows);
    let ringing = chat.call.status(180);
    first.learn(ringing.message());
    let one = chat.new_session();
    let second = chat.core_invites(&rows);
    chat.call.status(180);
    let two = chat.new_session();
    // Both ring: nothing has happened to the old one.
    chat.lives();
    chat.accept(one).expect("the first wins");
    chat.accepted(&mut first);
    // Its BYE is not even answered.
    let refused = chat.accept(two);
    assert!(refused.is_err());
    chat.refused(second, 603);
    chat.old_ends();
    // A third one comes too late, as well.
    let third = chat.core_invites(&rows);
    chat.refused(third, 603);
    let bye = first.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}

//= IM P-8 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_ends_while_its_successor_rings_takes_it_along() {
    let mut chat = Chat::new(Config { accept: Accept::Ask, ..asking() });
    let rows = chat.replaces("") + ANN;
    let script = chat.core_invites(&rows);
    chat.call.status(180);
    let new = chat.new_session();
    chat.call.bye();
    chat.call.status(200);
    assert!(chat.accept(new).is_err());
    chat.refused(script, 603);
    assert!(explained(&chat.call, "P-8").is_some());
    chat.call.over();
}

//= IM S-6f test
//= IM P-9 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_that_cannot_be_taken_leaves_the_old_session_alone() {
    let mut chat = Chat::new(trusting());
    let rows = chat.replaces("") + ANN;
    let way = chat.call.way;
    let script = Script::caller(&mut chat.call.world, chat.call.alice, way, BOB);
    let offer = script.sdp("actpass", "image/gif");
    chat.call.send(script.invite_with(&rows, &offer));
    chat.refused(script, 488);
    chat.lives();
    chat.over_with_old();
}

//= IM P-9 test
//= IM P-10 test
#[cfg_attr(test, test)]
pub(crate) fn a_200_that_is_never_acknowledged_ends_both_and_says_so() {
    let mut chat = Chat::new(trusting());
    let old = chat.old;
    chat.say(old, "m-lost");
    chat.call.request("SEND");
    let rows = chat.replaces("") + ANN;
    let script = chat.core_invites(&rows);
    chat.call.status(200);
    let new = chat.new_session();
    chat.old_ends();
    chat.call.world.run(33_000);
    assert!(told(&chat.call, old, |what| *what == What::Ended(Ended::Replaced { by: new })));
    assert!(told(&chat.call, new, |what| *what == What::Ended(Ended::NoAck)));
    assert!(told(&chat.call, new, |what| matches!(
        what,
        What::Progress { message_id, progress: Progress::Failed { .. } } if message_id == "m-lost"
    )));
    let _ = script;
    chat.call.over();
}

//= IM P-10 test
#[cfg_attr(test, test)]
pub(crate) fn byes_of_the_old_session_that_cross_are_no_error() {
    let mut chat = Chat::new(trusting());
    let old = chat.old;
    let rows = chat.replaces("") + ANN;
    let mut script = chat.core_invites(&rows);
    chat.accepted(&mut script);
    let new = chat.new_session();
    let bye = chat.call.request("BYE");
    let crossing = chat.call.script.bye(&mut chat.call.world);
    chat.call.send(crossing);
    chat.call.status(200);
    chat.call.send(chat.call.script.respond(bye.message(), "481 Call/Transaction Does Not Exist", "", ""));
    chat.call.world.run(10);
    let ends: Vec<_> = chat.call.at_bob().told().filter(|what| matches!(what, What::Ended(_))).collect();
    assert_eq!(ends, [&What::Ended(Ended::Replaced { by: new })]);
    let again = chat.call.script.bye(&mut chat.call.world);
    chat.call.send(again);
    chat.call.status(481);
    assert!(told(&chat.call, old, |what| matches!(what, What::Ended(_))));
    let bye = script.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}

//= IM P-10 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_without_its_ack_waits_for_it_before_it_goes() {
    let mut call = Call::new(trusting());
    call.send(call.script.invite_with(ANN, &call.script.offer()));
    let answer = call.status(200);
    call.script.learn(answer.message());
    let old = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, old, words("m-early", "hello"))).expect("say");
    let mut chat = Chat { media: call.way, call, old };
    let rows = chat.replaces("") + ANN;
    let mut script = chat.core_invites(&rows);
    let is_new = |mail: &Mail| {
        text::status(mail.message()) == Some(200)
            && text::header(mail.message(), "Call-ID").as_deref() == Some(&*script.call_id)
    };
    let accepted = chat.call.world.expect(chat.call.alice, "the second 200", is_new);
    chat.acknowledge(&mut script, &accepted);
    let sent_bye = |chat: &Chat| chat.call.world.rows().iter().any(|row| row.label == "BYE");
    assert!(!sent_bye(&chat), "RFC 3261 15: not before the ACK");
    chat.call.ack(&answer);
    chat.old_ends();
    bind(&mut chat, &script);
    let send = chat.call.request("SEND");
    assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some("m-early"));
    let bye = script.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}
