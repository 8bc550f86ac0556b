//! Hold: what is said waits, what comes is heard, and a later offer takes it back.

use parlour_proto::event::{Progress, What};
use parlour_sim::text;

use super::renegotiate::{ask, hear, leave, lines, offer, ok, say, talk, told};
use crate::common::{self, Call};

//= IM D-54 test
//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn what_waits_on_hold_moves_along_with_the_path() {
    let (mut call, old) = Call::connected();
    let held = offer(&call, 2) + "a=sendonly\r\n";
    ask(&mut call, "UPDATE", &held, 200);
    say(&mut call, "first", "waits");
    call.script.path = call.script.path.replace("/session", "/moved");
    let moved = offer(&call, 3) + "a=sendonly\r\n";
    ask(&mut call, "INVITE", &moved, 200);
    say(&mut call, "second", "waits too");
    let new = call.connect();
    call.world.send(new, call.script.msrp_empty("bind2"));
    ok(&mut call, "bind2");
    call.world.expect_closed(call.alice);
    call.nothing_to(call.world.millis() + 1_000);
    let free = offer(&call, 4);
    ask(&mut call, "UPDATE", &free, 200);
    assert_eq!([hear(&mut call).0, hear(&mut call).0], ["first", "second"]);
    assert_eq!((told(&call, &What::Held), told(&call, &What::Resumed)), (1, 1));
    talk(&mut call, new, "2");
    let _ = old;
    leave(call);
}

//= IM D-54 test
//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn hold_with_another_path_stops_the_old_one_too() {
    let (mut call, old) = Call::connected();
    let large = "0123456789".repeat(60_000);
    say(&mut call, "large", &large);
    call.world.run(100);
    let sent = call.world.mail_of(call.alice);
    call.script.path = call.script.path.replace("/session", "/moved");
    let moved = offer(&call, 2) + "a=inactive\r\n";
    ask(&mut call, "UPDATE", &moved, 200);
    for send in &sent {
        let reply = call.script.msrp_respond(send.message(), "200 OK");
        call.world.send(old, reply);
    }
    call.nothing_to(call.world.millis() + 1_000);
    let new = call.connect();
    call.world.send(new, call.script.msrp_empty("bind2"));
    ok(&mut call, "bind2");
    let free = offer(&call, 3);
    ask(&mut call, "UPDATE", &free, 200);
    let mut octets = String::new();
    while octets.len() < large.len() {
        octets.push_str(&hear(&mut call).1);
    }
    assert!(octets.ends_with(&large));
    leave(call);
}

//= IM D-54 test
#[cfg_attr(test, test)]
pub(crate) fn hold_stops_what_is_said_and_nothing_else() {
    let holds: [fn(String) -> String; 3] = [
        |offer| offer + "a=sendonly\r\n",
        |offer| offer + "a=inactive\r\n",
        |offer| offer.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0"),
    ];
    let answers = ["recvonly", "inactive", "recvonly"];
    for (hold, direction) in holds.into_iter().zip(answers) {
        for method in ["INVITE", "UPDATE"] {
            let (mut call, media) = Call::connected();
            talk(&mut call, media, "1");
            let held = hold(offer(&call, 2));
            let answer = ask(&mut call, method, &held, 200);
            assert_eq!(
                lines(&answer, &format!("a={direction}")).len(),
                1,
                "{}",
                text::lossy(answer.message())
            );
            assert_ne!(lines(&answer, "c="), ["c=IN IP4 0.0.0.0"], "hold is not mirrored");
            assert_eq!((told(&call, &What::Held), told(&call, &What::Resumed)), (1, 0));
            for number in 1..4 {
                say(&mut call, &format!("waits{number}"), "waits");
            }
            call.nothing_to(call.world.millis() + 5_000);
            // Content from her is answered, reports included.
            let send = call.script.msrp_send("tid-h", "held", "held");
            call.world.send(media, send.replace("Byte-Range", "Success-Report: yes\r\nByte-Range"));
            ok(&mut call, "tid-h");
            call.request("REPORT");
            let free = offer(&call, 3);
            let answer = ask(&mut call, method, &free, 200);
            assert!(lines(&answer, "a=recvonly").is_empty() && lines(&answer, "a=inactive").is_empty());
            assert_eq!(told(&call, &What::Resumed), 1);
            let order = [1, 2, 3].map(|_| hear(&mut call).0);
            assert_eq!(order, ["waits1", "waits2", "waits3"]);
            talk(&mut call, media, "2");
            leave(call);
        }
    }
}

//= IM D-54 test
#[cfg_attr(test, test)]
pub(crate) fn hold_in_the_first_offer_is_hold_until_a_later_one() {
    let mut call = Call::new(common::config(common::BOB));
    let held = call.script.offer() + "a=sendonly\r\n";
    let invite = call.script.invite_with("", &held);
    call.send(invite);
    call.status(180);
    call.accept();
    let answer = call.status(200);
    call.script.learn(answer.message());
    say(&mut call, "early", "said before the ACK");
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    ok(&mut call, "bind1");
    assert_eq!(told(&call, &What::Held), 1);
    call.nothing_to(call.world.millis() + 3_000);
    let free = offer(&call, 2);
    ask(&mut call, "UPDATE", &free, 200);
    assert_eq!(hear(&mut call).0, "early");
    talk(&mut call, media, "1");
    leave(call);
}

//= IM D-54 test
#[cfg_attr(test, test)]
pub(crate) fn what_waits_on_hold_is_bounded() {
    let (mut call, _) = Call::connected();
    let held = offer(&call, 2) + "a=inactive\r\n";
    ask(&mut call, "UPDATE", &held, 200);
    for number in 0..1024 {
        say(&mut call, &format!("waits{number}"), "waits");
    }
    let session = call.session();
    let surplus = common::text("surplus", "no room");
    call.world.act(call.bob, |bob, now| bob.say(now, session, surplus)).expect_err("the queue is full");
    call.bye();
    call.status(200);
    let unsent = call
        .at_bob()
        .told()
        .filter(|what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. }));
    assert_eq!(unsent.count(), 1024, "whoever said it is told");
    call.over();
}
