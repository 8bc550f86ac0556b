//! Large Message Mode (F-15): an invitation for one message alone; and how large messages, and their pieces, may be.

use std::net::IpAddr;

use parlour_proto::client::{Misuse, Say};
use parlour_proto::config::{Accept, Account, Config, Hop, LargeMessage};
use parlour_proto::event::{Ended, Kind, Progress, What};
use parlour_proto::io::SessionId;
use parlour_sim::{Mail, NodeId, Script, Way, World, text};

use crate::common::{self, BOB, Call, config};

const TAGGED: &str = "Accept-Contact: *;+g.oma.sip-im;+g.oma.sip-im.large-message\r\n";
const ASSERTED: &str = "P-Asserted-Identity: <sip:carol@example.com>\r\n";

fn on() -> Config {
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    let large_message = Some(LargeMessage { most: 1_000_000, unasked: 100_000 });
    Config { trusted_hops: vec![hop], large_message, ..config(BOB) }
}

/// Bob has the INVITE with these rows, and has accepted it by himself; Alice is connected.
#[track_caller]
fn unasked(config: Config, rows: &str) -> (Call, Way) {
    let mut call = Call::new(config);
    call.send(call.script.invite_with(rows, &call.script.offer()));
    let answer = call.status(200);
    assert_eq!(text::attribute(answer.message(), "max-size").as_deref(), Some("100000"));
    let contact = text::header(answer.message(), "Contact").unwrap_or_default();
    assert!(contact.ends_with(";+g.oma.sip-im;+g.oma.sip-im.large-message"), "{contact}");
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    (call, media)
}

/// Alice sends a message of so many octets in pieces.
fn sends(call: &mut Call, media: Way, message_id: &str, size: usize) {
    let octets = vec![b'x'; size];
    let mut start = 1;
    for piece in octets.chunks(10_000) {
        let end = start + piece.len();
        let flag = if end > size { '$' } else { '+' };
        let range = format!("{start}-{}/{size}", end - 1);
        let tid = format!("{message_id}{start}");
        call.world.send(media, call.script.msrp_chunk(&tid, message_id, &range, piece, flag));
        start = end;
    }
    call.world.run(0);
}

/// How the SENDs of the message were answered.
fn answers(call: &mut Call) -> Vec<u16> {
    call.world.mail_of(call.alice).iter().filter_map(|mail| text::status(mail.message())).collect()
}

fn messages(call: &Call) -> usize {
    call.at_bob().told().filter(|what| matches!(what, What::Message(_))).count()
}

fn ended(call: &Call) -> Option<Ended> {
    let told = call.at_bob().told();
    told.filter_map(|what| if let What::Ended(why) = what { Some(why.clone()) } else { None }).last()
}

//= IM F-15 test
//= IM R-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_is_taken_unasked_and_its_sender_leaves() {
    let (mut call, media) = unasked(on(), &format!("{TAGGED}{ASSERTED}"));
    let asked = call.at_bob().told().find_map(|what| {
        let What::Invited { kind, asked, .. } = what else { return None };
        Some((*kind, *asked))
    });
    assert_eq!(asked, Some((Kind::LargeMessage, false)));
    sends(&mut call, media, "large1", 90_000);
    assert_eq!(answers(&mut call), [200; 9]);
    assert_eq!(messages(&call), 1);
    // F-15: one message, and no more.
    call.world.send(media, call.script.msrp_send("second1", "second1", "and another thing"));
    call.status(403);
    let session = call.session();
    let said = common::text("said1", "thanks");
    let said = call.world.act(call.bob, |bob, now| bob.say(now, session, said));
    assert!(matches!(said, Err(Misuse::Unsendable(_))), "{said:?}");
    call.bye();
    call.status(200);
    assert_eq!((messages(&call), ended(&call)), (1, Some(Ended::PeerLeft)));
    let world = call.over();
    assert_snapshot!(world.ladder());
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn whom_nobody_vouches_for_is_asked_about_and_may_send_more() {
    let mut call = Call::new(on());
    call.send(call.script.invite_with(TAGGED, &call.script.offer()));
    call.status(180);
    call.accept();
    let answer = call.status(200);
    assert_eq!(text::attribute(answer.message(), "max-size").as_deref(), Some("1000000"));
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    sends(&mut call, media, "large1", 200_000);
    assert_eq!((answers(&mut call), messages(&call)), (vec![200; 20], 1));
    call.bye();
    call.over();
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn whoever_takes_all_calls_takes_all_of_their_large_messages() {
    let mut call = Call::new(Config { accept: Accept::All, ..on() });
    call.send(call.script.invite_with(TAGGED, &call.script.offer()));
    let answer = call.status(200);
    assert_eq!(text::attribute(answer.message(), "max-size").as_deref(), Some("1000000"));
    call.ack(&answer);
    call.bye();
    call.over();
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_larger_than_allowed_gets_413_and_the_session_ends() {
    let (mut call, media) = unasked(on(), &format!("{TAGGED}{ASSERTED}"));
    // RFC 4975 10.5: the sender is stopped by what the head of the first chunk says.
    sends(&mut call, media, "large1", 100_001);
    assert!(answers(&mut call).iter().all(|status| *status == 413));
    assert_eq!(messages(&call), 0);
    call.bye();
    call.over();
    // It says nothing of its size, and never ends.
    let (mut call, media) = unasked(on(), &format!("{TAGGED}{ASSERTED}"));
    let piece = vec![b'x'; 60_000];
    call.world.send(media, call.script.msrp_chunk("t1t1", "large1", "1-*/*", &piece, '+'));
    call.status(200);
    call.world.send(media, call.script.msrp_chunk("t2t2", "large1", "60001-*/*", &piece, '+'));
    call.status(413);
    let bye = call.request("BYE");
    let response = call.script.respond(bye.message(), "200 OK", "", "");
    call.send(response);
    call.world.run(0);
    assert_eq!((messages(&call), ended(&call)), (0, Some(Ended::Left)));
    call.over();
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn whoever_sends_nothing_or_does_not_leave_is_left_after_a_minute() {
    for (comes, octets) in [(false, 0), (true, 10)] {
        let (mut call, media) = unasked(on(), &format!("{TAGGED}{ASSERTED}"));
        call.world.run(30_000);
        if comes {
            sends(&mut call, media, "large1", octets);
            answers(&mut call);
        }
        let start = if comes { 30_000 } else { 0 };
        call.world.expect_nothing_to(call.alice, start + 59_999);
        call.world.run(1);
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), start + 60_000);
        let response = call.script.respond(bye.message(), "200 OK", "", "");
        call.send(response);
        call.world.run(0);
        assert_eq!((messages(&call), ended(&call)), (usize::from(comes), Some(Ended::Left)));
        call.over();
    }
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_has_to_come_to_us() {
    for (direction, status) in [("recvonly", 488), ("inactive", 488), ("sendonly", 180)] {
        let mut call = Call::new(on());
        let offer = call.script.offer() + "a=" + direction + "\r\n";
        call.send(call.script.invite_with(TAGGED, &offer));
        let answer = call.status(status);
        if status == 488 {
            call.ack_refusal(&answer);
            assert_eq!(call.invitations(), 0);
        }
        call.over();
    }
}

//= IM F-15 test
//= IM R-43 test
#[cfg_attr(test, test)]
pub(crate) fn without_the_mode_it_is_a_chat() {
    let (mut call, media) =
        Call::connected_by(config(BOB), |call| call.script.invite_with(TAGGED, &call.script.offer()));
    for id in ["m1m1", "m2m2"] {
        call.world.send(media, call.script.msrp_send(id, id, "hello"));
        call.status(200);
    }
    assert_eq!(messages(&call), 2);
    call.bye();
    call.over();
    // Who insists on a device with the mode does not get one without it.
    for (config, status) in [(config(BOB), 480), (on(), 180)] {
        let mut call = Call::new(config);
        let rows = TAGGED.replace("large-message", "large-message;require;explicit");
        call.send(call.script.invite_with(&rows, &call.script.offer()));
        let answer = call.status(status);
        if status == 480 {
            call.ack_refusal(&answer);
        }
        call.over();
    }
}

/// Bob invites Alice to take a large message; she has accepted and is connected.
struct Sending {
    world: World,
    alice: NodeId,
    bob: NodeId,
    script: Script,
    media: Way,
    session: SessionId,
}

impl Sending {
    #[track_caller]
    fn new(config: Config, lines: &str) -> (Sending, Mail) {
        Sending::saying(config, lines, None)
    }

    /// What is said `early` waits for the answer.
    #[track_caller]
    fn saying(config: Config, lines: &str, early: Option<Say>) -> (Sending, Mail) {
        let mut world = crate::stage::world(1);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config));
        let to = "sip:alice@192.0.2.1:5060";
        let session =
            world.act(bob, |bob, now| bob.invite_to_large(now, parlour_proto::io::AccountId(0), to, None));
        let session = session.expect("it is an address");
        let invite = world.expect_request(alice, "INVITE");
        let script = Script::callee(&mut world, alice, invite.way, invite.message());
        if let Some(early) = early {
            world.act(bob, |bob, now| bob.say(now, session, early)).expect("it can be said");
        }
        let answer = script.sdp("passive", "text/plain") + lines;
        let answer = script.respond(invite.message(), "200 OK", "", &answer);
        world.send(invite.way, answer);
        world.expect_request(alice, "ACK");
        let media = world.expect_opened(alice);
        let bind = world.expect_request(alice, "SEND");
        world.send(media, script.msrp_respond(bind.message(), "200 OK"));
        world.run(0);
        (Sending { world, alice, bob, script, media, session }, invite)
    }

    fn says(&mut self, message_id: &str, size: usize) -> Result<(), Misuse> {
        let message = common::text(message_id, &"x".repeat(size));
        let session = self.session;
        let said = self.world.act(self.bob, |bob, now| bob.say(now, session, message));
        self.world.run(0);
        said
    }

    /// All SENDs that are there, answered so; their sizes.
    fn takes(&mut self, line: &str) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            let sends: Vec<Mail> = self.world.mail_of(self.alice);
            let sends: Vec<_> =
                sends.iter().filter(|mail| text::method(mail.message()).as_deref() == Some("SEND")).collect();
            if sends.is_empty() {
                return sizes;
            }
            for send in sends {
                let (_, end, total) = text::byte_range(send.message()).expect("a range");
                let body = text::body(send.message()).len();
                sizes.push(body);
                let reply = self.script.msrp_respond(send.message(), line);
                self.world.send(self.media, reply);
                let _ = (end, total);
            }
            self.world.run(0);
        }
    }

    fn progress(&self) -> Vec<Progress> {
        let told = self.world.client_at(self.bob).expect("bob is a client").told();
        told.filter_map(|what| {
            if let What::Progress { progress, .. } = what { Some(progress.clone()) } else { None }
        })
        .collect()
    }
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn our_large_message_is_one_and_then_bye() {
    let (mut sending, invite) = Sending::new(config(BOB), "");
    let wanted = text::headers(invite.message(), "Accept-Contact");
    assert_eq!(wanted, ["*;+g.oma.sip-im;+g.oma.sip-im.large-message"]);
    sending.says("large1", 30_000).expect("it can be said");
    assert!(matches!(sending.says("large2", 10), Err(Misuse::Unsendable(_))), "one alone");
    let send = sending.world.expect_request(sending.alice, "SEND");
    let reply = sending.script.msrp_respond(send.message(), "200 OK");
    sending.world.send(sending.media, reply);
    sending.world.run(0);
    assert_eq!(sending.progress(), [Progress::Sent], "two pieces are open");
    for _ in 0..2 {
        let send = sending.world.expect_request(sending.alice, "SEND");
        let reply = sending.script.msrp_respond(send.message(), "200 OK");
        sending.world.send(sending.media, reply);
    }
    let bye = sending.world.expect_request(sending.alice, "BYE");
    assert_eq!(sending.progress(), [Progress::Sent, Progress::Acknowledged]);
    let response = sending.script.respond(bye.message(), "200 OK", "", "");
    sending.world.send(bye.way, response);
    common::finish(&mut sending.world);
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_may_be_said_while_it_rings() {
    let large = common::text("large1", &"x".repeat(30_000));
    let (mut sending, _) = Sending::saying(config(BOB), "", Some(large.clone()));
    sending.takes("200 OK");
    assert_eq!(sending.progress(), [Progress::Sent, Progress::Acknowledged]);
    assert_eq!(sending.world.rows().iter().filter(|row| row.label == "BYE").count(), 1);
    common::finish(&mut sending.world);
    // One that turns out to be too large does not leave; a smaller one may.
    let (mut sending, _) = Sending::saying(config(BOB), "a=max-size:20000\r\n", Some(large));
    assert!(matches!(sending.progress().as_slice(), [Progress::Failed { .. }]), "{:?}", sending.progress());
    sending.says("large2", 20_000).expect("it can be said");
    sending.takes("200 OK");
    assert_eq!(sending.progress().last(), Some(&Progress::Acknowledged));
    common::finish(&mut sending.world);
}

//= IM F-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_that_is_refused_ends_its_session() {
    let (mut sending, _) = Sending::new(config(BOB), "a=max-size:20000\r\n");
    // What is known to be too large does not leave; a smaller one may.
    assert!(matches!(sending.says("large1", 20_001), Err(Misuse::Unsendable(_))));
    sending.says("large2", 20_000).expect("it can be said");
    sending.takes("413 Too large");
    let failed = matches!(sending.progress().last(), Some(Progress::Failed { .. }));
    assert!(failed, "{:?}", sending.progress());
    assert_eq!(sending.world.rows().iter().filter(|row| row.label == "BYE").count(), 1);
    common::finish(&mut sending.world);
}

//= IM M-4 test
#[cfg_attr(test, test)]
pub(crate) fn pieces_are_as_large_as_the_account_and_the_path_want_them() {
    let account = |chunk_size| Account { address: BOB.into(), chunk_size, ..Account::default() };
    let with = |chunk_size| Config { accounts: vec![account(chunk_size)], ..config(BOB) };
    let pieces = |config: Config, relay: bool| {
        let mut world = crate::stage::world(1);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config));
        let way = world.udp(alice, bob);
        let mut script = Script::caller(&mut world, alice, way, BOB);
        let own = script.path.clone();
        let offer = script.offer();
        // As where a relay of hers is at her own address: what counts is that the path leads through one.
        let path = format!("a=path:msrp://192.0.2.1:2855/relay;tcp {own}\r\n");
        let offer = if relay { offer.replace(&format!("a=path:{own}\r\n"), &path) } else { offer };
        world.send(way, script.invite_with("", &offer));
        let session = loop {
            if let Some(session) = world.client_at(bob).and_then(|bob| bob.last_session()) {
                break session;
            }
            world.run(1);
        };
        world.act(bob, |bob, now| bob.accept(now, session)).expect("it rings");
        let answer = world.expect(alice, "the 200", |mail| mail.message().starts_with(b"SIP/2.0 200"));
        script.learn(answer.message());
        let ack = script.ack(&mut world, answer.message());
        world.send(way, ack);
        let to = world.address(bob, 2855);
        let media = world.open(alice, to, parlour_proto::io::Service::Msrp);
        world.expect_opened(alice);
        world.send(media, script.msrp_empty("bind1"));
        world.expect(alice, "the 200", |mail| mail.message().starts_with(b"MSRP bind1 200"));
        let message = common::text("m1m1", &"x".repeat(40_000));
        world.act(bob, |bob, now| bob.say(now, session, message)).expect("it can be said");
        world.run(0);
        let mails = world.mail_of(alice);
        let sends = mails.iter().filter(|mail| text::method(mail.message()).as_deref() == Some("SEND"));
        let sizes: Vec<usize> = sends.map(|mail| text::body(mail.message()).len()).collect();
        sizes.first().copied().unwrap_or_default()
    };
    assert_eq!(pieces(config(BOB), false), 12 * 1024);
    assert_eq!(pieces(Config { chunk_size: 20_000, ..config(BOB) }, false), 20_000);
    assert_eq!(
        pieces(Config { chunk_size: 20_000, ..config(BOB) }, true),
        8 * 1024,
        "a relay may have no room"
    );
    assert_eq!(pieces(Config { chunk_size: 4096, ..config(BOB) }, true), 4096);
    assert_eq!(
        pieces(Config { chunk_size: 4096, ..with(Some(20_000)) }, true),
        20_000,
        "the account knows its relays"
    );
    assert_eq!(pieces(with(Some(3000)), false), 3000);
}

//= IM D-7 test
#[cfg_attr(test, test)]
pub(crate) fn each_account_takes_what_it_is_configured_to() {
    let account = Account { address: BOB.into(), max_size: Some(5000), ..Account::default() };
    let (mut call, media) =
        Call::connected_by(Config { accounts: vec![account], ..config(BOB) }, |call| call.script.invite());
    call.world.send(media, call.script.msrp_send("t1t1", "m1m1", &"x".repeat(5000)));
    call.status(200);
    call.world.send(media, call.script.msrp_send("t2t2", "m2m2", &"x".repeat(5001)));
    call.status(413);
    let again = call.script.offer().replace("o=- 1 1 ", "o=- 1 2 ");
    let contact = "Contact: <sip:192.0.2.1:5060>\r\n";
    let request = call.script.next(&mut call.world, "INVITE", contact, &again);
    call.send(request);
    let answer = call.world.expect(call.alice, "the 200", |mail| mail.message().starts_with(b"SIP/2.0 200"));
    assert_eq!(text::attribute(answer.message(), "max-size").as_deref(), Some("5000"), "also later on");
    call.ack(&answer);
    call.over();
}
