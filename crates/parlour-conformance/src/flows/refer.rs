//! Adding somebody to a conference, and coming back to one (G-4u).

use parlour_proto::client::Misuse;
use parlour_proto::config::{Accept, Account, ConferenceSubscribe, Config, Credentials, Proxy};
use parlour_proto::event::What;
use parlour_proto::io::Transport;
use parlour_sim::{Mail, Script, text};

use crate::common::{Call, accepting};

/// The IM Session Identity: none of its parameters may be lost or changed.
const IDENTITY: &str = "sip:chat%2D1@192.0.2.1:5060;session=Ab%2F1;gr";
const CAROL: &str = "sip:carol@192.0.2.3";

/// Bob is in a conference; Alice is its focus, and her INVITE had these rows. Nothing else is under way.
#[track_caller]
fn in_conference(config: Config, rows: &str) -> Call {
    in_session(config, &format!("<{IDENTITY}>;isfocus;+g.oma.sip-im"), rows)
}

#[track_caller]
fn in_session(config: Config, contact: &str, rows: &str) -> Call {
    let config = Config { conference_subscribe: ConferenceSubscribe::Never, ..config };
    let mut call = Call::new(config);
    let rows = format!("Contact: {contact}\r\n{rows}");
    call.send(call.script.request("INVITE", &call.script.branch, &rows, &call.script.offer()));
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    let bind = call.script.msrp_empty("bind");
    call.world.send(media, bind);
    call.status(200);
    call
}

fn add(call: &mut Call, whom: &str) -> Result<(), Misuse> {
    let (bob, session) = (call.bob, call.session());
    call.world.act(bob, |bob, now| bob.add(now, session, whom))
}

/// Alice answers a REFER.
fn answer(call: &mut Call, refer: &Mail, line: &str, rows: &str) -> Script {
    let script = Script::callee(&mut call.world, call.alice, refer.way, refer.message());
    let response = script.respond(refer.message(), line, rows, "");
    call.world.send(refer.way, response);
    call.world.run(0);
    script
}

/// What Bob was told of those whom he adds.
fn told(call: &Call) -> Vec<String> {
    let outcome = |what: &What| {
        if let What::AddRefused { address, status, reason } = what {
            return Some(format!("{address}: {status} {reason}"));
        }
        if let What::AddAccepted { address } = what { Some(format!("{address} is invited")) } else { None }
    };
    call.at_bob().told().filter_map(outcome).collect()
}

fn header(mail: &Mail, name: &str) -> String {
    text::header(mail.message(), name).unwrap_or_default()
}

fn over(mut call: Call) {
    call.bye();
    call.world.run(0);
    assert_eq!(call.at_bob().client.load().referrals, 0);
    call.over();
}

//= IM G-4u test
#[cfg_attr(test, test)]
pub(crate) fn a_focus_is_asked_to_invite_somebody() {
    let mut call = in_conference(accepting(Accept::All), "Allow: INVITE, ACK, BYE, REFER\r\n");
    add(&mut call, CAROL).expect("the focus takes REFER");
    let refer = call.request("REFER");
    assert_eq!(text::start_line(refer.message()), format!("REFER {IDENTITY} SIP/2.0"));
    assert_eq!(header(&refer, "To"), format!("<{IDENTITY}>"));
    assert_eq!(header(&refer, "Refer-To"), format!("<{CAROL}>"));
    assert_eq!(header(&refer, "Refer-Sub"), "false");
    assert_eq!(header(&refer, "Contact"), "<sip:bob@192.0.2.2:5060>;+g.oma.sip-im");
    assert_ne!(header(&refer, "Call-ID"), call.script.call_id, "it is outside the dialog");
    assert!(!header(&refer, "Supported").contains("norefersub"), "we take no REFER");
    answer(&mut call, &refer, "202 Accepted", "Refer-Sub: false\r\n");
    assert_eq!(told(&call), [format!("{CAROL} is invited")]);
    over(call);
}

#[cfg_attr(test, test)]
pub(crate) fn a_refusal_is_told_with_its_words_and_silence_as_one() {
    let mut call = in_conference(accepting(Accept::All), "");
    add(&mut call, CAROL).expect("an Allow that is not there excludes nothing");
    let refer = call.request("REFER");
    answer(&mut call, &refer, "403 Only the owner adds", "");
    add(&mut call, "tel:+4930123").expect("once more");
    call.request("REFER");
    call.world.run(40_000);
    let [refused, silent] = told(&call).try_into().expect("two outcomes");
    assert_eq!(refused, format!("{CAROL}: 403 Only the owner adds"));
    assert!(silent.starts_with("tel:+4930123: 408 "), "{silent}");
    over(call);
}

//= IM G-3u test
#[cfg_attr(test, test)]
pub(crate) fn what_makes_no_sense_never_leaves() {
    let refused = |call: &mut Call, whom| add(call, whom).expect_err("it is refused");
    let mut call = in_conference(accepting(Accept::All), "Allow: INVITE, ACK, BYE, NOTIFY\r\n");
    assert_eq!(refused(&mut call, CAROL), Misuse::CannotAdd("the conference takes no REFER"));
    for address in ["carol", "sip:carol@x>;method=BYE", "", "sip:carol@x\r\nX: y"] {
        assert_eq!(refused(&mut call, address), Misuse::BadAddress(address.to_owned()));
    }
    call.world.run(1000);
    assert!(call.times("REFER").is_empty());
    over(call);
    let mut call = in_session(accepting(Accept::All), &format!("<{IDENTITY}>"), "");
    assert_eq!(refused(&mut call, CAROL), Misuse::CannotAdd("the session is no conference"));
    over(call);
}

/// NOTIFY in the dialog that a REFER has made.
#[track_caller]
fn notify(call: &mut Call, script: &mut Script, rows: &str, status: u16) {
    let rows = format!("Contact: <sip:focus@192.0.2.1:5060>\r\n{rows}");
    let notify = script.next(&mut call.world, "NOTIFY", &rows, "SIP/2.0 100 Trying\r\n");
    call.send(notify.replace("application/sdp", "message/sipfrag;version=2.0"));
    call.status(status);
}

#[cfg_attr(test, test)]
pub(crate) fn a_focus_that_tells_how_it_fares_is_heard_for_a_while() {
    const ACTIVE: &str = "Event: refer\r\nSubscription-State: active;expires=60\r\n";
    const OVER: &str = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n";
    let mut call = in_conference(accepting(Accept::All), "");
    let refer = |call: &mut Call| {
        add(call, CAROL).expect("it can be asked");
        let refer = call.request("REFER");
        let script = answer(call, &refer, "202 Accepted", "");
        (refer, script)
    };
    // Up to the end.
    let (_, mut script) = refer(&mut call);
    notify(&mut call, &mut script, ACTIVE, 200);
    notify(&mut call, &mut script, &ACTIVE.replace("refer", "presence"), 489);
    notify(&mut call, &mut script, &ACTIVE.replace("active", "=;"), 400);
    assert_eq!(call.at_bob().client.load().referrals, 1);
    notify(&mut call, &mut script, OVER, 200);
    assert_eq!(call.at_bob().client.load().referrals, 0);
    notify(&mut call, &mut script, ACTIVE, 481);
    // Up to the end of our patience.
    let (_, mut script) = refer(&mut call);
    call.world.run(170_000);
    notify(&mut call, &mut script, ACTIVE, 200);
    call.world.run(20_000);
    notify(&mut call, &mut script, ACTIVE, 481);
    // The end may come before the answer.
    add(&mut call, CAROL).expect("it can be asked");
    let refer = call.request("REFER");
    let mut early = Script::callee(&mut call.world, call.alice, refer.way, refer.message());
    notify(&mut call, &mut early, OVER, 200);
    answer(&mut call, &refer, "200 OK", "");
    assert_eq!(call.at_bob().client.load().referrals, 0);
    assert_eq!(told(&call).len(), 3);
    over(call);
}

#[cfg_attr(test, test)]
pub(crate) fn the_answer_to_a_session_that_is_over_is_nobodys() {
    let mut call = in_conference(accepting(Accept::All), "");
    add(&mut call, CAROL).expect("it can be asked");
    let refer = call.request("REFER");
    call.bye();
    call.status(200);
    answer(&mut call, &refer, "202 Accepted", "");
    assert_eq!(told(&call).len(), 0);
    call.world.run(200_000);
    assert_eq!(call.at_bob().client.load().referrals, 0);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn only_the_proxy_of_the_configuration_is_answered_when_it_asks_who_we_are() {
    let challenge =
        "Proxy-Authenticate: Digest realm=\"192.0.2.2\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n";
    let asked = |proxy: Option<Proxy>| {
        let mut config = accepting(Accept::All);
        let credentials =
            Some(Credentials { username: "bob".into(), password: "secret".to_owned().into(), realm: None });
        config.accounts = vec![Account { proxy, credentials, ..config.accounts[0].clone() }];
        let mut call = in_conference(config, "");
        add(&mut call, CAROL).expect("it can be asked");
        let refer = call.request("REFER");
        answer(&mut call, &refer, "407 Who are you", challenge);
        call
    };
    let proxy = Proxy { host: "192.0.2.1".into(), port: Some(5060), transport: Transport::Udp };
    let mut call = asked(Some(proxy));
    let refer = call.request("REFER");
    assert!(header(&refer, "Proxy-Authorization").contains("username=\"bob\""));
    assert_eq!(header(&refer, "CSeq"), "2 REFER");
    answer(&mut call, &refer, "202 Accepted", "Refer-Sub: false\r\n");
    assert_eq!(told(&call), [format!("{CAROL} is invited")]);
    over(call);
    let call = asked(None);
    assert_eq!(told(&call), [format!("{CAROL}: 407 Who are you")]);
    over(call);
}

//= IM G-4u test
#[cfg_attr(test, test)]
pub(crate) fn a_conference_is_joined_again_by_its_identity() {
    let again = |identity: &str| {
        let mut call = in_conference(accepting(Accept::All), "");
        call.bye();
        call.status(200);
        call.world
            .act(call.bob, |bob, now| bob.invite(now, parlour_proto::io::AccountId(0), identity, None))
            .unwrap();
        let invite = call.request("INVITE");
        (text::start_line(invite.message()), header(&invite, "To"))
    };
    let expected = (format!("INVITE {IDENTITY} SIP/2.0"), format!("<{IDENTITY}>"));
    assert_eq!(again(IDENTITY), expected);
    assert_eq!(again(&format!("<{IDENTITY}>;isfocus;+g.oma.sip-im")), expected, "as it was told");
}
