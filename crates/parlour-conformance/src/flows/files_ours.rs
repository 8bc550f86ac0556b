//! Files that we offer or ask for, and what the other side makes of them (RFC 5547 8.2 to 8.4).

use parlour_proto::client::FileOffer;
use parlour_proto::event::{Ended, FileNews, FileStop, What};
use parlour_proto::io::{AccountId, FileId, SourceId};
use parlour_proto::sdp::{FileHash, FileSelector};
use parlour_sim::{Mail, NodeId, Script, World, text};

use crate::common::{BOB, config, finish};
use crate::flows::files::{ANN, octets, rerouted, selector};

/// Bob, a client, offers files to Alice, a script, or asks her for some.
struct Ours {
    world: World,
    alice: NodeId,
    bob: NodeId,
    callee: Script,
    invite: Mail,
    files: Vec<FileId>,
}

/// A file of ten octets that is sent, or is asked for, from `skip` on.
fn ten(sends: bool, skip: u64) -> FileOffer {
    let source = sends.then_some(SourceId(1));
    FileOffer { selector: selector("f", &octets(10)), source, skip, modified: None, icon: None }
}

impl Ours {
    fn new(offers: Vec<FileOffer>) -> Ours {
        let mut world = crate::stage::world(2);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config(BOB)));
        let skip = offers.first().map_or(0, |offer| usize::try_from(offer.skip).expect("a number"));
        world.client_at_mut(bob).expect("a client").sources.insert(SourceId(1), octets(10 - skip));
        let offered = world.act(bob, |bob, now| bob.offer_files(now, AccountId(0), ANN, None, offers));
        let (_, files) = offered.expect("an offer");
        let invite = world.expect_request(alice, "INVITE");
        let callee = Script::callee(&mut world, alice, invite.way, invite.message());
        Ours { world, alice, bob, callee, invite, files }
    }

    fn offer(&self) -> String {
        text::lossy(text::body(self.invite.message()))
    }

    /// Her answer to the offer of an INVITE: what she says of each line besides its name; a line without has port 0.
    fn answer_to(&self, invite: &Mail, lines: &[&str]) -> String {
        let offer = text::lossy(text::body(invite.message()));
        let names = offer.lines().filter_map(|row| row.strip_prefix("a=file-transfer-id:"));
        let (head, first) = self
            .callee
            .sdp("passive", "*")
            .split_once("m=")
            .map_or_else(Default::default, |parts| (parts.0.to_owned(), format!("m={}", parts.1)));
        let each = lines.iter().zip(names).enumerate().map(|(at, (more, name))| {
            let path = format!("{}{at};tcp", self.callee.path.trim_end_matches(";tcp"));
            let line = first.replace(&self.callee.path, if at == 0 { &self.callee.path } else { &path });
            let line = if more.is_empty() { line.replace("message 2855", "message 0") } else { line };
            format!("{line}{more}a=file-transfer-id:{name}\r\n")
        });
        format!("{head}{}", each.collect::<Vec<_>>().concat())
    }

    fn answer(&mut self, lines: &[&str]) {
        let answer = self.answer_to(&self.invite, lines);
        let ok = self.callee.respond(self.invite.message(), "200 OK", "", &answer);
        self.world.send(self.invite.way, ok);
        self.world.expect_request(self.alice, "ACK");
    }

    /// What Bob was told of a file, but for octets on their way.
    fn news(&self, file: FileId) -> Vec<FileNews> {
        let told = self.world.client_at(self.bob).expect("a client").told();
        let news = told.filter_map(|what| {
            let What::File { file: of, news } = what else { return None };
            (*of == file && !matches!(news, FileNews::Moved { .. })).then(|| news.clone())
        });
        news.collect()
    }

    fn has_ended(&self, how: &Ended) -> bool {
        let mut told = self.world.client_at(self.bob).expect("a client").told();
        told.any(|what| *what == What::Ended(how.clone()))
    }

    /// Her end of the connection that Bob has made, bound by his first SEND.
    fn bound(&mut self) -> Mail {
        let bind = self.world.expect_request(self.alice, "SEND");
        self.world.send(bind.way, self.callee.msrp_respond(bind.message(), "200 OK"));
        bind
    }
}

/// She takes, or gives, the file that was offered.
const SELECTOR: &str = "a=file-selector:name:\"f\" type:application/x-thing size:10\r\n";

fn taken() -> String {
    format!("a=recvonly\r\n{SELECTOR}")
}

fn given() -> String {
    format!("a=sendonly\r\n{SELECTOR}")
}

//= IM D-41 test
//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn who_does_not_answer_for_a_part_gets_and_gives_none() {
    for (sends, range, begins) in [
        (true, "a=file-range:4-*\r\n", true),
        (true, "", false),
        (false, "", false),
        (false, "a=file-range:5-*\r\n", false),
    ] {
        let mut ours = Ours::new(vec![ten(sends, 3)]);
        assert!(ours.offer().contains("a=file-range:4-*\r\n"), "{}", ours.offer());
        ours.answer(&[&format!("{}{range}", if sends { taken() } else { given() })]);
        ours.world.run(1000);
        let told = ours.news(ours.files[0]);
        let has_begun = told.iter().any(|news| matches!(news, FileNews::Begun(_)));
        assert_eq!(has_begun, begins, "{sends} {range:?}: {told:?}");
        let failed = told.iter().any(|news| matches!(news, FileNews::Stopped(FileStop::Failed { .. })));
        assert_eq!(failed, !begins, "{told:?}");
        ours.world.run(60_000);
    }
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_that_turns_a_file_round_takes_none() {
    for (sends, answer) in [(true, given()), (false, taken())] {
        let mut ours = Ours::new(vec![ten(sends, 0)]);
        ours.answer(&[&answer]);
        ours.world.expect_request(ours.alice, "BYE");
        let told = ours.news(ours.files[0]);
        assert!(matches!(told.last(), Some(FileNews::Stopped(FileStop::Failed { .. }))), "{told:?}");
        assert!(!told.iter().any(|news| matches!(news, FileNews::Begun(_))), "{told:?}");
        ours.world.run(60_000);
    }
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn who_has_a_file_completes_what_is_known_of_it() {
    let named = FileSelector { name: Some("f".to_owned()), ..FileSelector::default() };
    let mut ours = Ours::new(vec![FileOffer { selector: named, ..ten(false, 0) }]);
    let hash = FileHash::Sha1([7; 20]);
    let with_hash = format!("{} hash:sha-1:{}\r\n", given().trim_end(), hash.text());
    ours.answer(&[&with_hash]);
    let begun = ours.news(ours.files[0]).into_iter().find_map(|news| match news {
        FileNews::Begun(info) => Some(info.about.selector),
        FileNews::Offered(_)
        | FileNews::Moved { .. }
        | FileNews::Whole { .. }
        | FileNews::Done
        | FileNews::Stopped(_) => None,
    });
    assert_eq!(begun, Some(FileSelector { hashes: vec![hash], ..selector("f", &octets(10)) }));
    ours.world.run(60_000);
}

//= IM D-43 test
//= IM M-32 test
#[cfg_attr(test, test)]
pub(crate) fn what_was_asked_for_may_come_wrapped_and_be_larger_by_that() {
    let mut ours = Ours::new(vec![ten(false, 0)]);
    ours.answer(&[&given()]);
    let bind = ours.bound();
    let whole = format!(
        "From: <{ANN}>\r\nTo: <{BOB}>\r\n\r\nContent-Type: application/x-thing\r\n\r\n{}",
        text::lossy(&octets(10))
    );
    let range = format!("1-{0}/{0}", whole.len());
    let send = ours.callee.msrp_chunk("tid1", "file1", &range, whole.as_bytes(), '$');
    let send = send.replacen("Content-Type: text/plain", "Content-Type: message/cpim", 1);
    let from = text::header(bind.message(), "From-Path").expect("a path");
    ours.world.send(bind.way, rerouted(&send, &from, &ours.callee.path));
    ours.world.expect_status(ours.alice, 200);
    assert_eq!(ours.news(ours.files[0]).last(), Some(&FileNews::Done));
    let kept = &ours.world.client_at(ours.bob).expect("a client").files[&ours.files[0]];
    assert_eq!(*kept, octets(10));
    ours.world.run(60_000);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn what_an_answer_to_a_later_offer_disables_is_over() {
    let mut ours = Ours::new(vec![ten(true, 0), ten(true, 0)]);
    ours.answer(&[&taken(), &taken()]);
    let (alice, bob, first, second) = (ours.alice, ours.bob, ours.files[0], ours.files[1]);
    ours.world.act(bob, |bob, now| bob.cancel_file(now, first)).expect("given up");
    let invite = ours.world.expect_request(alice, "INVITE");
    let offer = text::lossy(text::body(invite.message()));
    let ports: Vec<&str> = offer.lines().filter(|row| row.starts_with("m=")).collect();
    assert!(
        matches!(ports[..], [off, on] if off.starts_with("m=message 0 ") && !on.starts_with("m=message 0 "))
    );
    assert!(!matches!(ours.news(second).last(), Some(FileNews::Stopped(_))));
    let answer = ours.answer_to(&invite, &["", ""]);
    let ok = ours.callee.respond(invite.message(), "200 OK", "", &answer);
    ours.world.send(invite.way, ok);
    ours.world.expect_request(alice, "ACK");
    assert_eq!(ours.news(second).last(), Some(&FileNews::Stopped(FileStop::Aborted)));
    ours.world.expect_request(alice, "BYE");
    ours.world.run(60_000);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_that_the_bye_of_the_receiver_overtakes_counts_for_two_seconds() {
    // When the answer comes, if it does; by what; and whether the file is there for Bob.
    for (answers, status, arrives) in [
        (Some(1900), "200 OK", true),
        (Some(2100), "200 OK", false),
        (None, "", false),
        (Some(500), "413 Stop", false),
    ] {
        let mut ours = Ours::new(vec![ten(true, 0)]);
        ours.answer(&[&taken()]);
        ours.bound();
        let send = ours.world.expect_request(ours.alice, "SEND");
        assert_eq!(text::header(send.message(), "Byte-Range").as_deref(), Some("1-10/10"));
        let bye = ours.callee.bye(&mut ours.world);
        ours.world.send(ours.callee.way, bye);
        ours.world.expect_status(ours.alice, 200);
        let is_over = |ours: &Ours| {
            let fate = ours.news(ours.files[0]).last().cloned();
            (fate.filter(|news| !matches!(news, FileNews::Begun(_))), ours.has_ended(&Ended::PeerLeft))
        };
        assert_eq!(is_over(&ours), (None, false));
        let left = ours.world.millis();
        if let Some(millis) = answers {
            ours.world.run_to(left + millis);
            ours.world.send(send.way, ours.callee.msrp_respond(send.message(), status));
        }
        // What was waited for is all that was: the session ends with it.
        ours.world.run_to(left + answers.map_or(2100, |millis| millis + 1100));
        let (fate, ended) = is_over(&ours);
        assert!(ended, "{answers:?} {status}");
        match (arrives, status) {
            (true, _) => assert_eq!(fate, Some(FileNews::Done)),
            (false, "413 Stop") => assert_eq!(fate, Some(FileNews::Stopped(FileStop::Aborted))),
            (false, _) => {
                assert!(matches!(fate, Some(FileNews::Stopped(FileStop::Interrupted { .. }))), "{fate:?}");
            }
        }
        finish(&mut ours.world);
    }
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_whose_octets_nobody_answers_is_interrupted() {
    let mut ours = Ours::new(vec![ten(true, 0)]);
    ours.answer(&[&taken()]);
    ours.bound();
    ours.world.expect_request(ours.alice, "SEND");
    ours.world.run(29_000);
    assert!(matches!(ours.news(ours.files[0]).last(), Some(FileNews::Begun(_))));
    ours.world.run(2_000);
    let fate = ours.news(ours.files[0]).last().cloned();
    assert!(matches!(fate, Some(FileNews::Stopped(FileStop::Interrupted { .. }))), "{fate:?}");
    ours.world.run(60_000);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn where_we_send_a_file_nothing_is_taken() {
    let mut ours = Ours::new(vec![ten(true, 0)]);
    ours.answer(&[&taken()]);
    let bind = ours.bound();
    let send = ours.callee.msrp_send("tid1", "m1", "0123456789");
    let send = send.replacen("Content-Type: text/plain", "Content-Type: application/x-thing", 1);
    let from = text::header(bind.message(), "From-Path").expect("a path");
    ours.world.send(bind.way, rerouted(&send, &from, &ours.callee.path));
    ours.world.expect_status(ours.alice, 413);
    let told = ours.news(ours.files[0]);
    assert!(matches!(told.last(), Some(FileNews::Begun(_))), "{told:?}");
    ours.world.run(60_000);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn who_takes_all_back_before_the_answer_cancels_the_invitation() {
    let mut ours = Ours::new(vec![ten(true, 0)]);
    let ringing = ours.callee.respond(ours.invite.message(), "180 Ringing", "", "");
    ours.world.send(ours.invite.way, ringing);
    ours.world.run(100);
    let (bob, file) = (ours.bob, ours.files[0]);
    ours.world.act(bob, |bob, now| bob.cancel_file(now, file)).expect("taken back");
    ours.world.expect_request(ours.alice, "CANCEL");
    ours.world.run(60_000);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_second_file_that_is_given_up_waits_for_the_answer_about_the_first() {
    let mut ours = Ours::new(vec![ten(true, 0), ten(true, 0), ten(true, 0)]);
    ours.answer(&[&taken(), &taken(), &taken()]);
    let (alice, bob, first, second) = (ours.alice, ours.bob, ours.files[0], ours.files[1]);
    ours.world.act(bob, |bob, now| bob.cancel_file(now, first)).expect("given up");
    let invite = ours.world.expect_request(alice, "INVITE");
    ours.world.send(invite.way, ours.callee.respond(invite.message(), "100 Trying", "", ""));
    ours.world.act(bob, |bob, now| bob.cancel_file(now, second)).expect("given up");
    ours.world.run(10_000);
    let again = ours.world.find(alice, |mail| text::label(mail.message()) == "INVITE");
    assert!(again.is_none(), "{}", ours.world.ladder());
    let ok = ours.callee.respond(
        invite.message(),
        "200 OK",
        "",
        &ours.answer_to(&invite, &["", &taken(), &taken()]),
    );
    ours.world.send(invite.way, ok);
    ours.world.expect_request(alice, "ACK");
    ours.world.run(1000);
    let invite = ours.world.expect_request(alice, "INVITE");
    let offer = text::lossy(text::body(invite.message()));
    assert_eq!(offer.matches("m=message 0 ").count(), 2, "{offer}");
    ours.world.run(60_000);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn who_has_received_a_file_leaves_soon_if_he_asked_for_it() {
    let mut ours = Ours::new(vec![ten(false, 0)]);
    ours.answer(&[&given()]);
    let bind = ours.bound();
    let send = ours.callee.msrp_chunk("tid1", "file1", "1-10/10", b"0123456789", '$');
    let send = send.replacen("Content-Type: text/plain", "Content-Type: application/x-thing", 1);
    let from = text::header(bind.message(), "From-Path").expect("a path");
    ours.world.send(bind.way, rerouted(&send, &from, &ours.callee.path));
    ours.world.expect_status(ours.alice, 200);
    let at = ours.world.millis();
    ours.world.run_to(at + 1900);
    assert!(ours.world.find(ours.alice, |mail| text::label(mail.message()) == "BYE").is_none());
    let bye = ours.world.expect_request(ours.alice, "BYE");
    assert!(bye.at.as_millis() <= at + 2100, "{}", bye.at.as_millis() - at);
    ours.world.run(60_000);
}

//= IM D-40 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_says_when_a_file_was_changed_unless_we_are_private() {
    let date = "Mon, 15 May 2006 15:01:31 +0300";
    for private in [false, true] {
        let mut world = crate::stage::world(2);
        let mut bob = config(BOB);
        bob.accounts[0].privacy = private;
        let (alice, bob) = (world.peer("alice"), world.client("bob", bob));
        let offers = vec![FileOffer { modified: Some(date.to_owned()), ..ten(true, 0) }, ten(false, 0)];
        world.act(bob, |bob, now| bob.offer_files(now, AccountId(0), ANN, None, offers)).expect("an offer");
        let invite = world.expect_request(alice, "INVITE");
        let offer = text::lossy(text::body(invite.message()));
        let told = offer.contains(&format!("a=file-date:modification:\"{date}\"\r\n"));
        assert_eq!(told, !private, "{offer}");
        // Who asks for a file says nothing of what is to become of it.
        assert_eq!(offer.matches("a=file-disposition:attachment\r\n").count(), 1, "{offer}");
        world.run(60_000);
    }
}
