//! The roster of a conference: SUBSCRIBE to the focus, NOTIFY, and how both go wrong.

use parlour_proto::config::{Accept, Account, ConferenceSubscribe, Config, Credentials, Proxy};
use parlour_proto::event::{Roster, What};
use parlour_proto::io::Transport;
use parlour_sim::{Mail, Script, Way, World, text};

use crate::common::{Call, accepting};

/// The IM Session Identity: none of its parameters may be lost or changed.
pub(super) const IDENTITY: &str = "sip:chat%2D1@192.0.2.1:5060;session=Ab%2F1;gr";
pub(super) const TYPE: &str = "Content-Type: application/conference-info+xml\r\n";

/// Alice is the focus of a conference that Bob is in.
pub(super) struct Focus {
    pub(super) call: Call,
    pub(super) media: Way,
    /// Alice's end of the subscription.
    pub(super) script: Script,
    pub(super) subscribe: Mail,
    /// The SUBSCRIBEs taken so far.
    pub(super) seen: usize,
}

/// Bob has accepted an invitation whose Contact is this, with these rows; Alice has said ACK and connected.
#[track_caller]
pub(super) fn in_session(config: Config, contact: &str, rows: &str) -> (Call, Way) {
    in_session_by(config, contact, rows, Script::offer)
}

/// The same with an offer of hers.
#[track_caller]
pub(super) fn in_session_by(
    config: Config,
    contact: &str,
    rows: &str,
    offer: impl FnOnce(&Script) -> String,
) -> (Call, Way) {
    let mut call = Call::new(config);
    let rows = format!("Contact: {contact}\r\n{rows}");
    call.send(call.script.request("INVITE", &call.script.branch, &rows, &offer(&call.script)));
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    let bind = call.script.msrp_empty("bind");
    call.world.send(media, bind);
    call.status(200);
    (call, media)
}

pub(super) fn focus_contact() -> String {
    format!("<{IDENTITY}>;isfocus;+g.oma.sip-im")
}

impl Focus {
    /// SUBSCRIBE is here, and not answered.
    #[track_caller]
    pub(super) fn asked(rows: &str) -> Self {
        Focus::of(in_session(accepting(Accept::All), &focus_contact(), rows))
    }

    /// The same in a session that such an INVITE has made.
    #[track_caller]
    pub(super) fn asked_by(
        config: Config,
        contact: &str,
        rows: &str,
        offer: impl FnOnce(&Script) -> String,
    ) -> Self {
        Focus::of(in_session_by(config, contact, rows, offer))
    }

    #[track_caller]
    pub(super) fn of((mut call, media): (Call, Way)) -> Self {
        let subscribe = call.request("SUBSCRIBE");
        let script = Script::callee(&mut call.world, call.alice, subscribe.way, subscribe.message());
        Focus { call, media, script, subscribe, seen: 1 }
    }

    /// SUBSCRIBE is answered 200, and a first full document is there: version 1, alice and bob.
    #[track_caller]
    pub(super) fn followed() -> Self {
        let mut focus = Focus::asked("");
        focus.answer("200 OK", "Expires: 3600\r\n");
        let users = user("alice", "connected") + &user("bob", "connected");
        focus.notify("active;expires=3600", &document(1, "full", &users));
        focus
    }

    pub(super) fn answer(&mut self, line: &str, rows: &str) {
        let response = self.script.respond(self.subscribe.message(), line, rows, "");
        self.call.world.send(self.subscribe.way, response);
        self.call.world.run(0);
    }

    /// NOTIFY with these rows and this body, not sent.
    pub(super) fn draft(&mut self, rows: &str, body: &str) -> String {
        let rows = format!("Contact: <sip:focus@192.0.2.1:5060>\r\n{rows}");
        let request = self.script.next(&mut self.call.world, "NOTIFY", &rows, "");
        let kind = if body.is_empty() { "" } else { TYPE };
        request.replace(
            "Content-Length: 0\r\n\r\n",
            &format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len()),
        )
    }

    #[track_caller]
    pub(super) fn answered(&mut self, notify: impl AsRef<[u8]>, status: u16) -> Mail {
        self.call.send(notify);
        self.call.status(status)
    }

    /// NOTIFY, which Bob answers 200.
    #[track_caller]
    pub(super) fn notify(&mut self, state: &str, body: &str) {
        let notify = self.draft(&format!("Event: conference\r\nSubscription-State: {state}\r\n"), body);
        self.answered(notify, 200);
        self.call.world.run(0);
    }

    /// The next SUBSCRIBE, refresh or new.
    #[track_caller]
    pub(super) fn next(&mut self) -> String {
        let (world, sent) = (&mut self.call.world, self.seen);
        let subscribes = |world: &World| world.rows().iter().filter(|row| row.label == "SUBSCRIBE").count();
        while subscribes(world) <= sent && world.millis() < 10_000_000 && world.step() {}
        self.seen = sent + 1;
        self.subscribe = self.call.request("SUBSCRIBE");
        String::from_utf8_lossy(self.subscribe.message()).into_owned()
    }

    /// As [`Focus::next`], for one that makes a subscription anew; when it came, in milliseconds.
    #[track_caller]
    pub(super) fn anew(&mut self) -> u64 {
        let (before, subscribe) = (self.script.call_id.clone(), self.next());
        assert_eq!(text::param(&header(&subscribe, "To"), "tag"), None, "{subscribe}");
        assert_ne!(header(&subscribe, "Call-ID"), before);
        let mail = &self.subscribe;
        self.script = Script::callee(&mut self.call.world, self.call.alice, mail.way, mail.message());
        self.subscribe.at.as_millis()
    }

    pub(super) fn rosters(&self) -> Vec<Roster> {
        let told = self.call.at_bob().told();
        told.filter_map(|what| if let What::Roster(roster) = what { Some(roster.clone()) } else { None })
            .collect()
    }

    #[track_caller]
    pub(super) fn last(&self) -> Roster {
        self.rosters().pop().expect("a roster was told")
    }

    /// Why the roster ended, for each time that this was told.
    pub(super) fn ended(&self) -> Vec<String> {
        let told = self.call.at_bob().told();
        told.filter_map(|what| if let What::RosterEnded { why } = what { Some(why.clone()) } else { None })
            .collect()
    }

    /// The chat goes on: a message comes through.
    #[track_caller]
    pub(super) fn chats(&mut self) {
        let send = self.call.script.msrp_send("tid1", "m1", "hello");
        self.call.world.send(self.media, send);
        let (alice, texts) = (self.call.alice, self.call.at_bob().stored_texts().len());
        self.call.world.expect_status(alice, 200);
        assert_eq!(self.call.at_bob().stored_texts().len(), texts + 1);
    }

    /// Alice leaves; the subscription, if there is one, ends with that.
    #[track_caller]
    pub(super) fn over(mut self, unsubscribes: bool) -> World {
        self.call.bye();
        self.call.world.run(0);
        if unsubscribes {
            let subscribe = self.next();
            assert_eq!(header(&subscribe, "Expires"), "0");
            self.answer("200 OK", "Expires: 0\r\n");
            self.notify("terminated;reason=timeout", "");
        }
        assert_eq!(self.call.at_bob().client.load().subscriptions, 0);
        self.call.over()
    }
}

pub(super) fn header(message: &str, name: &str) -> String {
    text::header(message.as_bytes(), name).unwrap_or_default()
}

pub(super) fn user(name: &str, status: &str) -> String {
    format!(
        "<user entity='sip:{name}@x'><display-text>{name}</display-text><endpoint entity='e'>\
         <status>{status}</status></endpoint></user>"
    )
}

pub(super) fn document(version: u32, state: &str, users: &str) -> String {
    let list = if state == "full" { "full" } else { "partial" };
    format!(
        "<?xml version='1.0'?><conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:c@x' \
         state='{state}' version='{version}'><users state='{list}'>{users}</users></conference-info>"
    )
}

pub(super) fn names(users: &[parlour_proto::event::Participant]) -> Vec<&str> {
    users.iter().filter_map(|user| user.display_name.as_deref()).collect()
}

//= IM S-9 test
//= IM R-10 test
//= IM R-14 test
//= IM R-16 test
//= IM G-4u test
//= IM F-11 test
#[cfg_attr(test, test)]
pub(crate) fn a_roster_from_the_first_document_to_the_end() {
    let mut focus = Focus::asked("");
    let subscribe = String::from_utf8_lossy(focus.subscribe.message()).into_owned();
    assert_eq!(text::start_line(subscribe.as_bytes()), format!("SUBSCRIBE {IDENTITY} SIP/2.0"));
    assert_eq!(header(&subscribe, "To"), format!("<{IDENTITY}>"));
    assert_eq!(header(&subscribe, "Event"), "conference");
    assert_eq!(header(&subscribe, "Accept"), "application/conference-info+xml");
    assert_eq!(header(&subscribe, "Expires"), "3600");
    assert_eq!(header(&subscribe, "Accept-Contact"), "*;+g.oma.sip-im");
    assert_eq!(header(&subscribe, "Contact"), "<sip:bob@192.0.2.2:5060>;+g.oma.sip-im");
    assert_eq!(header(&subscribe, "P-Preferred-Identity"), "<sip:bob@192.0.2.2>");
    assert!(header(&subscribe, "User-Agent").starts_with("IM-client/OMA1.0 "));
    assert!(header(&subscribe, "Allow").contains("NOTIFY"));
    assert_ne!(header(&subscribe, "Call-ID"), focus.call.script.call_id, "a dialog of its own");
    for absent in ["Target-Dialog", "Require", "Route"] {
        assert_eq!(header(&subscribe, absent), "", "{absent}");
    }
    focus.answer("200 OK", "Expires: 3600\r\n");
    let state = "<conference-description><subject>tea</subject><conf-uris><entry><uri>sip:c@x</uri></entry></conf-uris>\
        <maximum-user-count>9</maximum-user-count></conference-description><conference-state>\
        <user-count>2</user-count><locked>true</locked></conference-state>";
    let users = user("alice", "connected") + &user("bob", "on-hold") + &user("carol", "alerting");
    let full = document(1, "full", &users).replace("<users", &format!("{state}<users"));
    focus.notify("active;expires=3600", &full);
    let roster = focus.last();
    assert_eq!(
        (roster.subject.as_deref(), roster.user_count, roster.maximum_user_count),
        (Some("tea"), Some(2), Some(9))
    );
    assert_eq!((roster.locked, roster.active, roster.here), (Some(true), None, 2));
    assert_eq!(roster.conf_uris, ["sip:c@x"]);
    assert_eq!((names(&roster.joined), names(&roster.changed)), (vec!["alice", "bob"], vec!["carol"]));
    // Carol comes, and alice goes.
    let gone = "<user entity='sip:alice@x' state='partial'><endpoint entity='e' state='partial'>\
        <status>disconnected</status><disconnection-method>booted</disconnection-method></endpoint></user>";
    focus.notify("active", &document(2, "partial", &(user("carol", "connected") + gone)));
    let roster = focus.last();
    assert_eq!((names(&roster.joined), names(&roster.left), roster.here), (vec!["carol"], vec!["alice"], 2));
    assert!(roster.changed.is_empty());
    assert_eq!(roster.left[0].disconnection_method, Some(parlour_proto::event::Disconnection::Booted));
    // The same again is no news, and an old one is none either.
    focus.notify("active", &document(3, "partial", &user("carol", "connected")));
    focus.notify("active", &document(2, "full", ""));
    assert_eq!(focus.rosters().len(), 2);
    let world = focus.over(true);
    assert_snapshot!(world.ladder());
}

//= IM S-9 test
//= IM G-4x test
#[cfg_attr(test, test)]
pub(crate) fn only_a_focus_is_asked_unless_configured() {
    let asks = |which, contact: &str| {
        let config = Config { conference_subscribe: which, ..accepting(Accept::All) };
        let (mut call, _) = in_session(config, contact, "");
        call.world.run(1000);
        let established = |what: &What| {
            if let What::Established { conference, .. } = what { Some(*conference) } else { None }
        };
        let conference = call.at_bob().told().find_map(established);
        (!call.times("SUBSCRIBE").is_empty(), conference)
    };
    let plain = format!("<{IDENTITY}>");
    assert_eq!(asks(ConferenceSubscribe::Focus, &plain), (false, Some(false)));
    assert_eq!(asks(ConferenceSubscribe::Always, &plain), (true, Some(false)));
    assert_eq!(asks(ConferenceSubscribe::Never, &focus_contact()), (false, Some(true)));
    // A URI parameter is not the feature.
    assert_eq!(asks(ConferenceSubscribe::Focus, "<sip:c@192.0.2.1;isfocus>"), (false, Some(false)));
}

//= IM G-4x test
//= IM G-4u test
#[cfg_attr(test, test)]
pub(crate) fn who_the_session_is_stays_when_the_peer_moves() {
    let mut focus = Focus::followed();
    // A target refresh without isfocus moves the peer, not the session.
    let rows = "Contact: <sip:moved@192.0.2.1:5060>\r\n";
    let offer = focus.call.script.offer();
    let invite = focus.call.script.next(&mut focus.call.world, "INVITE", rows, &offer);
    focus.call.send(invite);
    let answer = focus.call.status(200);
    focus.call.ack(&answer);
    focus.notify("terminated;reason=deactivated", "");
    focus.anew();
    assert_eq!(text::start_line(focus.subscribe.message()), format!("SUBSCRIBE {IDENTITY} SIP/2.0"));
    focus.answer("403 Forbidden", "");
    // Who has refused is not asked again with each refresh of the session.
    let refresh = focus.call.script.next(&mut focus.call.world, "INVITE", rows, &offer);
    focus.call.send(refresh);
    let answer = focus.call.status(200);
    focus.call.ack(&answer);
    focus.call.world.run(1000);
    assert_eq!((focus.call.times("SUBSCRIBE").len(), focus.ended().len()), (2, 1));
    // Bob's BYE goes to where the peer is.
    let session = focus.call.session();
    let bob = focus.call.bob;
    focus.call.world.act(bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = focus.call.request("BYE");
    assert!(
        text::start_line(bye.message()).starts_with("BYE sip:moved@192.0.2.1:5060 "),
        "{}",
        text::start_line(bye.message())
    );
    let response = focus.call.script.respond(bye.message(), "200 OK", "", "");
    focus.call.send(response);
    focus.call.over();
}

//= IM G-4x test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_becomes_a_focus_is_followed() {
    let (mut call, _) = in_session(accepting(Accept::All), "<sip:alice@192.0.2.1:5060>", "");
    call.world.run(1000);
    assert!(call.times("SUBSCRIBE").is_empty());
    let (rows, offer) = (format!("Contact: {}\r\n", focus_contact()), call.script.offer());
    let invite = call.script.next(&mut call.world, "INVITE", &rows, &offer);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    let subscribe = call.request("SUBSCRIBE");
    assert_eq!(text::start_line(subscribe.message()), format!("SUBSCRIBE {IDENTITY} SIP/2.0"));
}

//= IM R-11 test
#[cfg_attr(test, test)]
pub(crate) fn the_session_is_named_to_a_focus_that_knows_how() {
    let mut focus = Focus::asked("Supported: timer, tdialog\r\n");
    let subscribe = String::from_utf8_lossy(focus.subscribe.message()).into_owned();
    let script = &focus.call.script;
    // RFC 4538 3: as the focus sees it, its own tag is the local one.
    let (call_id, local, remote) =
        (&script.call_id, &script.local_tag, script.remote_tag.clone().unwrap_or_default());
    let expected = format!("{call_id};local-tag={local};remote-tag={remote}");
    assert_eq!(header(&subscribe, "Target-Dialog"), expected);
    assert_eq!(header(&subscribe, "Require"), "tdialog");
    focus.answer("200 OK", "Expires: 60\r\n");
    focus.notify("active", "");
    let refresh = focus.next();
    assert_eq!(
        (header(&refresh, "Target-Dialog"), header(&refresh, "Require")),
        (String::new(), String::new())
    );
    focus.answer("200 OK", "Expires: 60\r\n");
    focus.notify("active", "");
    focus.over(true);
}

//= IM R-12 test
#[cfg_attr(test, test)]
pub(crate) fn a_notify_may_come_before_the_200() {
    let mut focus = Focus::asked("");
    let rows = "Event: conference\r\nSubscription-State: active;expires=600\r\nRecord-Route: <sip:192.0.2.1:5060;lr;x=1>, <sip:192.0.2.1;lr;x=2>\r\n";
    let body = document(1, "full", &user("alice", "connected"));
    let notify = focus.draft(rows, &body);
    focus.answered(notify, 200);
    assert_eq!(names(&focus.last().joined), ["alice"]);
    focus.answer("200 OK", "Expires: 3600\r\nRecord-Route: <sip:192.0.2.99;lr>\r\n");
    // RFC 6665 4.4.1: tags, target and routes are those of the NOTIFY.
    let refresh = focus.next();
    assert!(refresh.starts_with("SUBSCRIBE sip:focus@192.0.2.1:5060 SIP/2.0\r\n"), "{refresh}");
    let routes = text::headers(refresh.as_bytes(), "Route");
    assert_eq!(routes, ["<sip:192.0.2.1:5060;lr;x=1>", "<sip:192.0.2.1;lr;x=2>"]);
    assert_eq!(text::param(&header(&refresh, "To"), "tag").as_deref(), Some(focus.script.local_tag.as_str()));
    assert_eq!(header(&refresh, "CSeq"), "2 SUBSCRIBE");
    assert!(header(&refresh, "Contact").starts_with("<sip:bob@192.0.2.2:5060>"));
    focus.answer("200 OK", "");
    focus.notify("active", "");
    focus.over(true);
}

//= IM R-12 test
//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_no_notify_of_ours_is_refused() {
    let mut focus = Focus::asked("");
    focus.answer("200 OK", "Expires: 3600\r\n");
    let good = "Event: conference\r\nSubscription-State: active\r\n";
    // Before any NOTIFY: the wrong tag, the wrong Call-ID, the dialog of the session, another id, another package.
    let draft = focus.draft(good, "");
    let tag = focus.script.remote_tag.clone().unwrap_or_default();
    focus.answered(draft.replace(&tag, "wrong"), 481);
    let draft = focus.draft(good, "");
    focus.answered(draft.replace("Call-ID: ", "Call-ID: x"), 481);
    let draft = focus.draft("Event: conference;id=1\r\nSubscription-State: active\r\n", "");
    focus.answered(draft, 481);
    let own = focus.call.script.next(&mut focus.call.world, "NOTIFY", good, "");
    focus.answered(own, 481);
    for event in ["Event: presence\r\n", "Event: Conference\r\n", ""] {
        let draft = focus.draft(&format!("{event}Subscription-State: active\r\n"), "");
        let refusal = focus.answered(draft, 489);
        assert_eq!(text::header(refusal.message(), "Allow-Events").as_deref(), Some("conference"), "{event}");
    }
    let draft = focus.draft("Event: conference\r\n", "");
    let refusal = focus.answered(draft, 400);
    assert!(text::start_line(refusal.message()).contains("Subscription-State"));
    let body = document(1, "full", "");
    let draft = focus.draft(good, &body).replace("conference-info+xml", "pidf+xml");
    let refusal = focus.answered(draft, 415);
    assert_eq!(text::header(refusal.message(), "Accept").as_deref(), Some("application/conference-info+xml"));
    // None of these has made a dialog or a roster. Now one does.
    assert!(focus.rosters().is_empty());
    focus.notify("active", &body);
    assert_eq!(focus.rosters().len(), 1);
    // Another fork (RFC 4575 3.8), an old CSeq, and somebody from elsewhere who knows the tags.
    let draft = focus.draft(good, "");
    let local = format!("tag={}", focus.script.local_tag);
    focus.answered(draft.replace(&local, "tag=fork"), 481);
    focus.script.cseq = 0;
    let draft = focus.draft(good, "");
    focus.answered(draft, 500);
    focus.script.cseq = 50;
    let mallory = focus.call.world.peer("mallory");
    let way: Way = focus.call.world.udp(mallory, focus.call.bob);
    let draft = focus.draft(good, &document(9, "full", &user("eve", "connected")));
    focus.call.world.send(way, draft);
    focus.call.world.expect_status(mallory, 481);
    assert_eq!(focus.rosters().len(), 1);
    focus.over(true);
}

//= IM R-13 test
#[cfg_attr(test, test)]
pub(crate) fn a_gap_is_closed_by_a_refresh() {
    let mut focus = Focus::followed();
    focus.call.world.run(10_000);
    focus.notify("active", &document(3, "partial", &user("dave", "connected")));
    let refresh = focus.next();
    assert_eq!(header(&refresh, "Expires"), "3600");
    assert_eq!(header(&refresh, "Call-ID"), focus.script.call_id);
    focus.answer("200 OK", "Expires: 3600\r\n");
    assert_eq!(focus.rosters().len(), 1, "nothing was merged");
    let users = user("alice", "connected") + &user("dave", "connected");
    focus.notify("active", &document(3, "full", &users));
    assert_eq!((names(&focus.last().joined), names(&focus.last().left)), (vec!["dave"], vec!["bob"]));
    // The next gap comes at once: it waits 5 s for its refresh.
    let at = focus.call.world.millis();
    focus.notify("active", &document(7, "partial", ""));
    focus.next();
    assert!(focus.subscribe.at.as_millis() >= at + 4_900, "{} {at}", focus.subscribe.at.as_millis());
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("active", &document(8, "full", &users));
    focus.over(true);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn it_is_refreshed_before_it_expires() {
    let mut focus = Focus::followed();
    let refresh = focus.next();
    // Ten minutes before the end.
    assert_eq!(focus.subscribe.at.as_millis() / 1000, 3000);
    assert_eq!(header(&refresh, "CSeq"), "2 SUBSCRIBE");
    focus.answer("200 OK", "Expires: 100\r\n");
    // RFC 6665 4.1.3: what the NOTIFY says is authoritative.
    focus.notify("active;expires=60", "");
    focus.next();
    assert_eq!(focus.subscribe.at.as_millis() / 1000, 3030);
    // A refresh that fails otherwise leaves it alive: it is tried again in the time that is left.
    focus.answer("500 Oops", "");
    focus.next();
    assert_eq!(focus.subscribe.at.as_millis() / 1000, 3045);
    focus.answer("481 Gone", "");
    focus.anew();
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("active", &document(0, "full", &user("bob", "connected")));
    assert_eq!(names(&focus.last().left), ["alice"], "the new subscription counts anew");
    assert!(focus.ended().is_empty());
    focus.over(true);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_longer_lifetime_is_gone_along_with_once() {
    let mut focus = Focus::asked("");
    focus.answer("423 Interval Too Brief", "Min-Expires: 7200\r\n");
    let subscribe = focus.next();
    assert_eq!(
        (header(&subscribe, "Expires"), header(&subscribe, "CSeq")),
        ("7200".into(), "2 SUBSCRIBE".into())
    );
    focus.answer("423 Interval Too Brief", "Min-Expires: 7201\r\n");
    assert_eq!(focus.ended().len(), 1);
    focus.over(false);
    for rows in ["", "Min-Expires: 60\r\n", "Min-Expires: 4294967295\r\n"] {
        let mut focus = Focus::asked("");
        focus.answer("423 Interval Too Brief", rows);
        assert_eq!(focus.ended().len(), 1, "{rows}");
        focus.over(false);
    }
}

//= IM R-12 test
//= IM R-17 test
//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn documents_that_cannot_be_read_change_nothing() {
    let users: String = (0..10_001).map(|n| format!("<user entity='u{n}'/>")).collect();
    let bomb = "<!DOCTYPE a [<!ENTITY a 'xxxx'>]>".to_owned()
        + &document(2, "full", "&a;").replace("<?xml version='1.0'?>", "");
    let deep = document(2, "full", &("<x>".repeat(50) + &"</x>".repeat(50)));
    let cases = [
        ("no XML", "hello".to_owned()),
        ("a DTD", bomb),
        ("an entity", document(2, "full", "&a;")),
        ("depth", deep),
        ("users", document(2, "full", &users)),
        ("no version", document(2, "full", "").replace("version='2'", "")),
        ("wrong version", document(2, "full", "").replace("version='2'", "version='two'")),
        ("namespace", document(2, "full", "").replace("conference-info'", "conference'")),
        ("cut", document(2, "full", "").replace("</conference-info>", "")),
        (
            "Latin-1",
            document(2, "full", "")
                .replace("<?xml version='1.0'?>", "<?xml version='1.0' encoding='iso-8859-1'?>"),
        ),
    ];
    for (what, body) in cases {
        let mut focus = Focus::followed();
        focus.call.world.run(10_000);
        focus.notify("active", &body);
        assert_eq!(focus.rosters().len(), 1, "{what}");
        // A refresh asks for what was meant.
        focus.next();
        focus.answer("200 OK", "Expires: 3600\r\n");
        focus.notify("active", &document(9, "full", &user("bob", "connected")));
        assert_eq!(names(&focus.last().left), ["alice"], "{what}");
        focus.over(true);
    }
}

//= IM R-17 test
#[cfg_attr(test, test)]
pub(crate) fn a_flood_of_notifies_is_answered_and_costs_little() {
    let mut focus = Focus::followed();
    focus.call.world.run(10_000);
    for version in 2..202 {
        let name = format!("u{version}");
        let rows = "Event: conference\r\nSubscription-State: active\r\n";
        let notify = focus.draft(rows, &document(version, "partial", &user(&name, "connected")));
        focus.call.send(notify);
    }
    for _ in 0..200 {
        focus.call.status(200);
    }
    // Five documents a second are read; what the others said, one refresh brings.
    assert_eq!(focus.rosters().len(), 6);
    focus.next();
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.call.world.run(2_000);
    focus.notify("active", &document(202, "full", &user("bob", "connected")));
    assert_eq!(focus.last().here, 1);
    assert!(focus.ended().is_empty());
    let refreshes = focus.call.times("SUBSCRIBE").len();
    assert_eq!(refreshes, 2);
    focus.over(true);
}

//= IM R-13 test
//= IM R-17 test
#[cfg_attr(test, test)]
pub(crate) fn many_who_come_at_once_are_all_there_in_the_end() {
    let mut focus = Focus::followed();
    let name = |n: u32| format!("u{n}");
    // More documents a second than are read: one is passed over, and all after it follow a gap.
    for version in 2..42 {
        focus.call.world.run(100);
        focus.notify("active", &document(version, "partial", &user(&name(version), "connected")));
    }
    assert!(focus.ended().is_empty(), "{:?}", focus.ended());
    assert_eq!(header(&focus.next(), "Expires"), "3600");
    focus.answer("200 OK", "Expires: 3600\r\n");
    let users: String = (2..42).map(|n| user(&name(n), "connected")).collect();
    focus.notify("active", &document(42, "full", &users));
    assert_eq!(focus.last().here, 40);
    // Refreshes that bring no full state are another matter.
    for round in 1..=5 {
        assert!(focus.ended().is_empty(), "after {round} rounds");
        for version in [100, 200] {
            focus.call.world.run(1_000);
            focus.notify("active", &document(version * round, "partial", ""));
        }
        focus.next();
        focus.answer("200 OK", "Expires: 3600\r\n");
    }
    assert_eq!(focus.ended().len(), 1);
    assert_eq!(header(&String::from_utf8_lossy(focus.subscribe.message()), "Expires"), "0");
    focus.notify("terminated", "");
    focus.over(false);
}

/// As in common's, with a proxy of its own at Alice's address.
pub(super) fn through_a_proxy() -> Config {
    let mut config = accepting(Accept::All);
    let proxy = Proxy { host: "192.0.2.1".to_owned(), port: Some(5060), transport: Transport::Udp };
    let credentials =
        Credentials { username: "bob".into(), password: "secret".to_owned().into(), realm: None };
    let account = config.accounts.remove(0);
    config.accounts.push(Account { proxy: Some(proxy), credentials: Some(credentials), ..account });
    config
}

//= IM R-10 test
#[cfg_attr(test, test)]
pub(crate) fn a_proxy_is_passed_and_its_challenge_answered() {
    let contact = "<sip:room@conf.example.com;x=1>;isfocus";
    let (mut call, media) = in_session(through_a_proxy(), contact, "");
    let first = call.request("SUBSCRIBE");
    assert_eq!(text::start_line(first.message()), "SUBSCRIBE sip:room@conf.example.com;x=1 SIP/2.0");
    assert_eq!(text::header(first.message(), "Route").as_deref(), Some("<sip:192.0.2.1:5060;lr>"));
    let script = Script::callee(&mut call.world, call.alice, first.way, first.message());
    let challenge = "Proxy-Authenticate: Digest realm=\"example.net\", nonce=\"n1\", qop=\"auth\"\r\n";
    let response = script.respond(first.message(), "407 Who are you", challenge, "");
    call.send(response);
    let mut focus = Focus { subscribe: call.request("SUBSCRIBE"), script, call, media, seen: 2 };
    let second = String::from_utf8_lossy(focus.subscribe.message()).into_owned();
    assert!(
        header(&second, "Proxy-Authorization").contains("uri=\"sip:room@conf.example.com;x=1\""),
        "{second}"
    );
    assert_eq!(header(&second, "CSeq"), "2 SUBSCRIBE");
    assert_eq!(header(&second, "Call-ID"), text::header(first.message(), "Call-ID").unwrap_or_default());
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("active", &document(1, "full", &user("bob", "connected")));
    assert_eq!(focus.last().here, 1);
    focus.over(true);
}
