//! Where peers cannot make us connect to (RFC 4975 14.5, X-22).

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use parlour_proto::config::{Accept, Cema, Config, Hop, Limits};
use parlour_proto::event::What;
use parlour_proto::io::Output;
use parlour_sim::text;

use crate::common::{Call, accepting};

/// What Bob asks his shell for: names to look up, and addresses to connect to, each stream's together.
#[derive(Debug, Default)]
struct Asked {
    names: Vec<String>,
    opened: Vec<Vec<SocketAddr>>,
}

fn watched(config: Config) -> (Call, Rc<RefCell<Asked>>) {
    let mut call = Call::new(config);
    let asked = Rc::new(RefCell::new(Asked::default()));
    let seen = asked.clone();
    call.bob_mut().tamper = Some(Box::new(move |output| {
        if let Output::Resolve { name, .. } = &output {
            seen.borrow_mut().names.push(name.clone());
        }
        if let Output::Open { to, .. } = &output {
            let all = [to.address].into_iter().chain(to.others.iter().copied());
            seen.borrow_mut().opened.push(all.collect());
        }
        vec![output]
    }));
    (call, asked)
}

fn at(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// Alice's offer, by which Bob is to connect to `place`, a host and port.
fn aimed(call: &Call, place: &str) -> String {
    call.script
        .sdp("passive", "text/plain")
        .replace("a=path:msrp://192.0.2.1:2855", &format!("a=path:msrp://{place}"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
fn refused(call: &Call) -> Vec<String> {
    let events = call.at_bob().events.iter();
    let explained = events.filter_map(|(_, event)| match &event.what {
        What::Explain(why) if why.clause == "X-22" => Some(format!("{}; {}", why.decision, why.input)),
        _ => None,
    });
    explained.collect()
}

//= IM X-22 test
//= IM M-16 test
#[cfg_attr(test, test)]
pub(crate) fn x_22_a_name_is_looked_up_once_and_each_of_its_addresses_is_guarded() {
    // Whom a trusted core vouches for may have us try four, others two.
    let trusted = Hop { address: at("192.0.2.1"), bits: 32 };
    for (hops, tried) in [(vec![], 2), (vec![trusted], 4)] {
        let config = Config { trusted_hops: hops, cema: Cema::Off, ..accepting(Accept::All) };
        let (mut call, asked) = watched(config);
        let found = [
            "127.0.0.1",
            "fe80::1",
            "192.0.2.9",
            "192.0.2.1",
            "198.51.100.1",
            "198.51.100.2",
            "198.51.100.3",
        ];
        call.world.name("alice.test", &found.map(at));
        let offer = aimed(&call, "alice.test:2855");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        // What a second look-up would bring.
        call.world.name("alice.test", &[at("203.0.113.7")]);
        call.world.run(1000);
        let asked = asked.borrow();
        let good: Vec<SocketAddr> = found[2..].iter().take(tried).map(|it| (at(it), 2855).into()).collect();
        assert_eq!((asked.names.as_slice(), &asked.opened), (&["alice.test".to_owned()][..], &vec![good]));
        let refused = refused(&call);
        assert!(refused.len() == 2 && refused[0].contains("127.0.0.1") && refused[1].contains("fe80::1"));
        // Nobody is at the first that may be.
        call.world.expect_opened(call.alice);
        call.bye();
        call.over();
    }
}

//= IM X-22 test
//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn x_22_a_stranger_has_us_connect_a_few_times_a_second() {
    let trusted = Hop { address: at("192.0.2.1"), bits: 32 };
    for (hops, most) in [(vec![], 8), (vec![trusted], 40)] {
        let (mut call, asked) = watched(Config { trusted_hops: hops, ..accepting(Accept::All) });
        let offer = aimed(&call, "192.0.2.1:2855");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        for number in 1..40 {
            let offer = aimed(&call, &format!("192.0.2.1:{}", 4000 + number))
                .replace("o=- 1 1 ", &format!("o=- 1 {} ", 1 + number));
            let contact = "Contact: <sip:192.0.2.1:5060>\r\n";
            let again = call.script.next(&mut call.world, "INVITE", contact, &offer);
            call.send(again);
            call.world.run(1);
            if let Some(answer) =
                call.world.find(call.alice, |mail| text::status(mail.message()) == Some(200))
            {
                call.ack(&answer);
            }
        }
        assert_eq!(asked.borrow().opened.len(), most);
        let bounded = refused(&call).iter().any(|why| why.contains("too often"));
        assert_eq!(bounded, most == 8, "{:?}", refused(&call));
        call.world.run(60_000);
        call.bye();
        call.over();
    }
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn x_22_what_an_offer_must_not_aim_at_is_refused_and_the_user_may_allow_it() {
    for victim in [
        "127.0.0.1:2855",
        "169.254.7.7:2855",
        "224.0.0.9:2855",
        "255.255.255.255:2855",
        "0.0.0.0:2855",
        // Our own address.
        "192.0.2.2:2855",
        "192.0.2.1:25",
    ] {
        let (mut call, asked) = watched(accepting(Accept::All));
        let offer = aimed(&call, victim);
        call.send(call.script.invite_with("", &offer));
        let refusal = call.status(488);
        let warning = text::header(refusal.message(), "Warning").unwrap_or_default();
        assert!(
            warning.contains("we would not connect") || warning.starts_with("330 "),
            "{victim}: {warning}"
        );
        call.ack_refusal(&refusal);
        assert!(call.invitations() == 0 && asked.borrow().opened.is_empty(), "{victim}");
        call.over();
    }
    let whole = |address| Hop { address: at(address), bits: 32 };
    for (allowed, place, taken) in [
        (vec![whole("127.0.0.1")], "127.0.0.1:2855", true),
        (vec![whole("192.0.2.1")], "192.0.2.1:25", true),
        (vec![Hop { address: at("10.0.0.0"), bits: 8 }], "10.1.2.3:2855", true),
        (vec![whole("192.0.2.1")], "10.1.2.3:2855", false),
    ] {
        let config = Config { connect_allowed: allowed, connect_private: false, ..accepting(Accept::All) };
        let (mut call, asked) = watched(config);
        let offer = aimed(&call, place);
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(if taken { 200 } else { 488 });
        if taken {
            call.ack(&answer);
            let place: SocketAddr = place.parse().expect("a place");
            assert_eq!(asked.borrow().opened, [[place]]);
            call.bye();
        } else {
            call.ack_refusal(&answer);
        }
        call.over();
    }
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn x_22_one_description_makes_us_connect_to_one_place() {
    let trusted = Hop { address: at("192.0.2.1"), bits: 32 };
    for (hops, refused) in [(vec![], true), (vec![trusted], false)] {
        let config = Config { max_file: 1000, trusted_hops: hops, ..accepting(Accept::All) };
        let (mut call, asked) = watched(config);
        let file = |number: u32, port: u16| {
            format!(
                "m=message {port} TCP/MSRP *\r\na=sendonly\r\na=accept-types:*\r\na=setup:passive\r\n\
                 a=path:msrp://192.0.2.1:{port}/f{number};tcp\r\n\
                 a=file-selector:name:\"{number}.txt\" type:text/plain size:5\r\na=file-transfer-id:t{number}\r\n"
            )
        };
        let offer = aimed(&call, "192.0.2.1:2855") + &file(1, 2855) + &file(2, 4000);
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        let body = text::lossy(text::body(answer.message()));
        let ports: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("m=message ")).collect();
        let third = if refused { "0 TCP/MSRP *" } else { "9 TCP/MSRP *" };
        assert_eq!(ports, ["9 TCP/MSRP *", "9 TCP/MSRP *", third]);
        call.world.run(100);
        let places: Vec<u16> = asked.borrow().opened.iter().flatten().map(SocketAddr::port).collect();
        // RFC 4975 5.4: what leads to one place shares a connection.
        assert_eq!(places, if refused { vec![2855] } else { vec![2855, 4000] });
        call.bye();
        call.over();
    }
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn x_22_connects_are_counted_against_a_bound() {
    let limits = Limits { connects: 2, ..Limits::default() };
    let (mut call, asked) = watched(Config { limits, ..accepting(Accept::All) });
    for number in 1..=3 {
        call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, crate::common::BOB);
        // Each to a device of its own, so that none shares the connection of another.
        let offer = aimed(&call, &format!("192.0.2.1:{}", 4000 + number));
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        call.world.run(1);
    }
    assert_eq!(asked.borrow().opened.len(), 2);
    assert!(refused(&call).iter().any(|why| why.contains("too many connects")), "{:?}", refused(&call));
    call.over();
}

//= IM X-22 test
//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn x_22_who_calls_without_an_offer_has_us_connect_to_himself_alone() {
    for (place, taken) in
        [("198.51.100.7:2855", false), ("victim.test:2855", false), ("192.0.2.1:2855", true)]
    {
        let (mut call, asked) = watched(accepting(Accept::All));
        call.world.name("victim.test", &[at("198.51.100.7")]);
        call.send(call.script.invite_with("", ""));
        let offer = call.status(200);
        call.script.learn(offer.message());
        let answer = aimed(&call, place);
        let ack = call.script.request("ACK", "z9hG4bK-ack-own", "", &answer);
        call.send(ack);
        call.world.run(100);
        let asked = asked.borrow();
        assert_eq!((asked.opened.len(), asked.names.len()), (usize::from(taken), 0), "{place}");
        if !taken {
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
        }
        call.over();
    }
}
