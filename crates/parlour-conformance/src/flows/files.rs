//! Files (RFC 5547; catalogue 3.6).

use std::collections::BTreeMap;

use parlour_proto::client::{FileAnswer, FileFault, FileOffer, FileRoom, Misuse};
use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Ended, FileInfo, FileNews, FileStop, Kind, What};
use parlour_proto::io::{AccountId, FileId, SessionId, SourceId};
use parlour_proto::sdp::{FileHash, FileSelector};
use parlour_sim::client_node::ClientNode;
use parlour_sim::{Link, NodeId, World, text};

use crate::common::{BOB, Call, accepting, config, finish};

pub(crate) const ANN: &str = "sip:ann@192.0.2.1";

/// Ann at 192.0.2.1 and Bob at 192.0.2.2 are two clients.
pub(crate) struct Two {
    pub(crate) world: World,
    pub(crate) ann: NodeId,
    pub(crate) bob: NodeId,
}

impl Two {
    pub(crate) fn new(bob: Config) -> Two {
        let mut world = crate::stage::world(3);
        let (ann, bob) = (world.client("ann", config(ANN)), world.client("bob", bob));
        Two { world, ann, bob }
    }

    pub(crate) fn at(&self, node: NodeId) -> &ClientNode {
        self.world.client_at(node).expect("a client")
    }

    /// Ann has a file, and offers it from there on.
    fn push(&mut self, files: &[(&str, &[u8], u64)]) -> (SessionId, Vec<FileId>) {
        let mut offers = Vec::new();
        for (number, (name, octets, skip)) in (1..).zip(files) {
            let rest = octets.get(usize::try_from(*skip).unwrap()..).unwrap_or_default();
            let source = SourceId(number);
            let at = self.world.client_at_mut(self.ann).expect("a client");
            at.sources.insert(source, rest.to_vec());
            offers.push(FileOffer {
                selector: selector(name, octets),
                source: Some(source),
                skip: *skip,
                modified: None,
                icon: None,
            });
        }
        let offer =
            self.world.act(self.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, None, offers));
        offer.expect("an offer")
    }

    /// What Bob was invited to.
    #[track_caller]
    pub(crate) fn invitation(&self) -> (SessionId, Vec<FileInfo>) {
        let events = &self.at(self.bob).events;
        let invited = events.iter().rev().find_map(|(_, event)| {
            let What::Invited { files, .. } = &event.what else { return None };
            Some((event.session.expect("a session"), files.clone()))
        });
        invited.expect("an invitation")
    }

    fn accept(&mut self, session: SessionId, files: &[FileId]) {
        let files = files.iter().map(|file| FileAnswer { file: *file, serve: None }).collect();
        self.world.act(self.bob, |bob, now| bob.accept_files(now, session, files)).expect("accepted");
    }

    pub(crate) fn run(&mut self, millis: u64) {
        let until = self.world.millis() + millis;
        self.world.run_to(until);
    }

    /// What a client was told of a file, in order, but for octets on their way.
    pub(crate) fn news(&self, node: NodeId, file: FileId) -> Vec<FileNews> {
        let news = self.at(node).told().filter_map(|what| {
            let What::File { file: of, news } = what else { return None };
            (*of == file).then(|| news.clone())
        });
        news.filter(|news| !matches!(news, FileNews::Moved { .. })).collect()
    }

    #[track_caller]
    pub(crate) fn last(&self, node: NodeId, file: FileId) -> FileNews {
        self.news(node, file).pop().expect("news of the file")
    }

    pub(crate) fn ended(&self, node: NodeId) -> Option<Ended> {
        self.at(node)
            .told()
            .find_map(|what| if let What::Ended(why) = what { Some(why.clone()) } else { None })
    }

    pub(crate) fn over(mut self) -> World {
        finish(&mut self.world);
        self.world
    }
}

pub(crate) fn selector(name: &str, octets: &[u8]) -> FileSelector {
    FileSelector {
        name: Some(name.to_owned()),
        media_type: Some("application/x-thing".to_owned()),
        size: Some(octets.len() as u64),
        hashes: vec![FileHash::Sha1([7; 20])],
    }
}

pub(crate) fn octets(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect()
}

//= IM D-40 test
//= IM R-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_is_pushed_and_the_session_ends_with_it() {
    let mut two = Two::new(config(BOB));
    let file = octets(300_000);
    let (_, sent) = two.push(&[("a \"b\".bin", &file, 0)]);
    two.run(100);
    let (session, files) = two.invitation();
    let kind = |what: &What| matches!(what, What::Invited { kind: Kind::Files, asked: true, .. });
    assert!(two.at(two.bob).told().any(kind));
    assert_eq!(files[0].about.selector, selector("a \"b\".bin", &file));
    assert!(!files[0].sends);
    two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    two.run(1000);
    assert_eq!(two.at(two.bob).files[&files[0].file], file);
    assert_eq!(
        (two.last(two.ann, sent[0]), two.last(two.bob, files[0].file)),
        (FileNews::Done, FileNews::Done)
    );
    assert_eq!((two.ended(two.ann), two.ended(two.bob)), (Some(Ended::Left), Some(Ended::PeerLeft)));
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn of_several_files_each_is_taken_or_not() {
    let mut two = Two::new(config(BOB));
    let (one, two_, three) = (octets(5), octets(70_000), octets(200));
    let (_, sent) = two.push(&[("one", &one, 0), ("two", &two_, 0), ("three", &three, 0)]);
    two.run(100);
    let (session, files) = two.invitation();
    let ids: Vec<FileId> = files.iter().map(|info| info.file).collect();
    two.accept(session, &[ids[1], ids[2]]);
    two.run(1000);
    assert_eq!(two.last(two.ann, sent[0]), FileNews::Stopped(FileStop::Declined));
    assert_eq!((two.last(two.ann, sent[1]), two.last(two.ann, sent[2])), (FileNews::Done, FileNews::Done));
    assert_eq!(two.last(two.bob, ids[0]), FileNews::Stopped(FileStop::Cancelled));
    let here = &two.at(two.bob).files;
    assert_eq!((here.get(&ids[0]), &here[&ids[1]], &here[&ids[2]]), (None, &two_, &three));
    assert_eq!(two.ended(two.ann), Some(Ended::Left));
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn files_that_are_all_declined_are_an_invitation_that_is_declined() {
    let mut two = Two::new(config(BOB));
    let (_, sent) = two.push(&[("one", &octets(5), 0), ("two", &octets(6), 0)]);
    two.run(100);
    let (_, files) = two.invitation();
    for info in files {
        two.world.act(two.bob, |bob, now| bob.cancel_file(now, info.file)).expect("declined");
    }
    two.run(100);
    let refused = Ended::Refused { status: 603, reason: "Decline".into(), warning: None, retry_after: None };
    assert_eq!(two.ended(two.ann), Some(refused));
    assert_eq!(two.last(two.ann, sent[0]), FileNews::Stopped(FileStop::Declined));
    two.over();
}

//= IM D-40 test
//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_is_pulled_from_whoever_shares_it_and_from_nobody_else() {
    let file = octets(150_000);
    for shared in [true, false] {
        let mut two = Two::new(accepting(Accept::All));
        let wanted =
            FileSelector { name: None, hashes: vec![FileHash::Sha1([7; 20])], ..FileSelector::default() };
        let offers = vec![FileOffer { selector: wanted, source: None, skip: 0, modified: None, icon: None }];
        let offer = two.world.act(two.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, None, offers));
        let (_, asked) = offer.expect("an offer");
        two.run(100);
        let (session, files) = two.invitation();
        // Even who is accepted unasked gets nothing unasked.
        assert!(
            files[0].sends
                && two.at(two.bob).told().any(|what| matches!(what, What::Invited { asked: true, .. }))
        );
        let id = files[0].file;
        if shared {
            let source = SourceId(9);
            two.world.client_at_mut(two.bob).expect("a client").sources.insert(source, file.clone());
            let serve = Some((selector("x.bin", &file), source));
            let answers = vec![FileAnswer { file: id, serve }];
            two.world.act(two.bob, |bob, now| bob.accept_files(now, session, answers)).expect("accepted");
            two.run(1000);
            assert_eq!(two.at(two.ann).files[&asked[0]], file);
            let news = two.news(two.ann, asked[0]);
            let begun = news.iter().find_map(|news| {
                let FileNews::Begun(info) = news else { return None };
                Some(info.about.selector.clone())
            });
            assert_eq!(begun, Some(selector("x.bin", &file)), "the answer completes what is known");
            assert_eq!(two.last(two.ann, asked[0]), FileNews::Done);
            // RFC 5547 8.7: the sender ends it. A BYE of the receiver might be there before its last 200.
            assert_eq!(two.last(two.bob, id), FileNews::Done);
            assert_eq!((two.ended(two.ann), two.ended(two.bob)), (Some(Ended::PeerLeft), Some(Ended::Left)));
        } else {
            two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted, with nothing left");
            two.run(1000);
            assert!(matches!(two.ended(two.ann), Some(Ended::Refused { status: 603, .. })));
        }
        two.over();
    }
}

//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn the_rest_of_a_file_is_a_transfer_of_its_own() {
    let mut two = Two::new(config(BOB));
    let file = octets(200_000);
    let (_, sent) = two.push(&[("a", &file, 70_000)]);
    two.run(100);
    let (session, files) = two.invitation();
    assert_eq!((files[0].about.skipped(), files[0].about.length()), (70_000, Some(130_000)));
    two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    two.run(1000);
    assert_eq!(two.at(two.bob).files[&files[0].file], file[70_000..]);
    let last_octets = two.at(two.ann).told().filter_map(|what| {
        let What::File { news: FileNews::Moved { octets, .. }, .. } = what else { return None };
        Some(*octets)
    });
    assert!(last_octets.max().is_none_or(|octets| octets > 70_000));
    assert_eq!(two.last(two.ann, sent[0]), FileNews::Done);
    two.over();
}

/// Bob receives a large file over a slow link, and part of it is there.
fn under_way() -> (Two, FileId, FileId) {
    let mut two = Two::new(config(BOB));
    let (ann, bob) = (two.ann, two.bob);
    two.world.link(ann, bob, Link::delayed(50));
    let (_, sent) = two.push(&[("large", &octets(20_000_000), 0)]);
    two.run(300);
    let (session, files) = two.invitation();
    two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    two.run(1500);
    assert!(matches!(two.last(two.bob, files[0].file), FileNews::Begun(_)));
    let moved = |what: &What| matches!(what, What::File { news: FileNews::Moved { .. }, .. });
    assert!(two.at(two.bob).told().any(moved), "{:?}", two.news(two.bob, files[0].file));
    (two, sent[0], files[0].file)
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_sender_that_gives_up_says_so_and_leaves() {
    let (mut two, sent, received) = under_way();
    two.world.act(two.ann, |ann, now| ann.cancel_file(now, sent)).expect("cancelled");
    // The BYE comes when the end of the message was heard, and does not overtake it.
    two.run(950);
    assert_eq!(two.last(two.bob, received), FileNews::Stopped(FileStop::Aborted));
    assert_eq!(two.ended(two.ann), None);
    two.run(1050);
    assert_eq!(two.last(two.ann, sent), FileNews::Stopped(FileStop::Cancelled));
    assert_eq!(two.last(two.bob, received), FileNews::Stopped(FileStop::Aborted));
    assert_eq!((two.ended(two.ann), two.ended(two.bob)), (Some(Ended::Left), Some(Ended::PeerLeft)));
    assert!(!two.at(two.bob).files[&received].is_empty(), "what is here is kept");
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_receiver_that_gives_up_refuses_the_running_send() {
    let (mut two, sent, received) = under_way();
    two.world.act(two.bob, |bob, now| bob.cancel_file(now, received)).expect("cancelled");
    two.run(3000);
    assert_eq!(two.last(two.bob, received), FileNews::Stopped(FileStop::Cancelled));
    assert_eq!(two.last(two.ann, sent), FileNews::Stopped(FileStop::Aborted), "413");
    assert_eq!(two.ended(two.ann), Some(Ended::Left));
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn who_gives_one_of_two_files_up_offers_port_0_and_the_other_goes_on() {
    for by_sender in [true, false] {
        let mut two = Two::new(config(BOB));
        let (ann, bob) = (two.ann, two.bob);
        two.world.link(ann, bob, Link::delayed(50));
        let (_, sent) = two.push(&[("one", &octets(3_000_000), 0), ("two", &octets(3_000_000), 0)]);
        two.run(300);
        let (session, files) = two.invitation();
        two.world.act(bob, |bob, now| bob.accept(now, session)).expect("accepted");
        two.run(700);
        let before = two.world.rows().iter().filter(|row| row.label == "INVITE").count();
        match by_sender {
            true => two.world.act(ann, |ann, now| ann.cancel_file(now, sent[0])),
            false => two.world.act(bob, |bob, now| bob.cancel_file(now, files[0].file)),
        }
        .expect("cancelled");
        two.run(20_000);
        let after = two.world.rows().iter().filter(|row| row.label == "INVITE").count();
        assert_eq!(after, before + 1, "{by_sender}: {}", two.world.ladder());
        let given_up = if by_sender { two.last(ann, sent[0]) } else { two.last(bob, files[0].file) };
        assert_eq!(given_up, FileNews::Stopped(FileStop::Cancelled));
        let other = if by_sender { two.last(bob, files[0].file) } else { two.last(ann, sent[0]) };
        assert_eq!(other, FileNews::Stopped(FileStop::Aborted));
        assert_eq!((two.last(ann, sent[1]), two.last(bob, files[1].file)), (FileNews::Done, FileNews::Done));
        assert_eq!(two.at(bob).files[&files[1].file], octets(3_000_000));
        assert_eq!(two.ended(ann), Some(Ended::Left));
        two.over();
    }
}

//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_that_is_not_what_was_announced_fails_on_both_sides() {
    let mut two = Two::new(config(BOB));
    two.world.client_at_mut(two.bob).expect("a client").store.file_fault = Some(FileFault::Corrupt);
    let (_, sent) = two.push(&[("a", &octets(100), 0)]);
    two.run(100);
    let (session, files) = two.invitation();
    two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    two.run(1000);
    assert_eq!(two.last(two.bob, files[0].file), FileNews::Stopped(FileStop::Corrupt));
    assert_eq!(two.last(two.ann, sent[0]), FileNews::Stopped(FileStop::Aborted));
    two.over();
}

//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_a_large_file_is_asked_about_whoever_sends_it() {
    for (size, asked) in [(1000, false), (1001, true)] {
        let bob = Config { auto_accept_file: 1000, ..accepting(Accept::All) };
        let mut two = Two::new(bob);
        let (_, sent) = two.push(&[("a", &octets(size), 0)]);
        two.run(1000);
        let is_asked = two.at(two.bob).told().any(|what| matches!(what, What::Invited { asked: true, .. }));
        assert_eq!(is_asked, asked);
        assert_eq!(two.last(two.ann, sent[0]) == FileNews::Done, !asked);
        two.over();
    }
}

//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_what_has_no_room_and_the_rest_of_a_file_are_never_taken_unasked() {
    let of = |peer: &str, octets| BTreeMap::from([(peer.to_owned(), octets)]);
    let all = |octets| FileRoom { all: octets, peers: BTreeMap::new() };
    for (room, skip, asked) in [
        (all(1000), 0, false),
        (all(999), 0, true),
        (all(1000), 1, true),
        (FileRoom { all: 1000, peers: of("sip:ann@192.0.2.1", 1000) }, 0, false),
        (FileRoom { all: 1000, peers: of("sip:ann@192.0.2.1", 999) }, 0, true),
        (FileRoom { all: 1000, peers: of("sip:eve@192.0.2.1", 999) }, 0, false),
    ] {
        let mut two = Two::new(accepting(Accept::All));
        let set = |bob: &mut parlour_proto::client::Client, _| {
            bob.set_file_room(room.clone());
            Ok(())
        };
        two.world.act(two.bob, set).expect("set");
        two.push(&[("a", &octets(1000), skip)]);
        two.run(1000);
        let is_asked = two.at(two.bob).told().any(|what| matches!(what, What::Invited { asked: true, .. }));
        assert_eq!(is_asked, asked, "{room:?} {skip}");
        two.over();
    }
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn no_media_type_adds_lines_to_an_offer() {
    let mut two = Two::new(config(BOB));
    let media_type = Some("text/plain\r\nm=audio 4000 RTP/AVP 0".to_owned());
    let selector = FileSelector { media_type, ..FileSelector::default() };
    let offer = FileOffer { selector, source: None, skip: 0, modified: None, icon: None };
    let asked = two.world.act(two.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, None, vec![offer]));
    assert!(matches!(asked, Err(Misuse::Unsendable(why)) if why.ends_with("is no media type")));
    two.run(100);
    assert_eq!(two.at(two.bob).told().count(), 0);
    two.over();
}

//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_a_file_that_cannot_be_kept_is_given_up_at_once() {
    let (mut two, sent, received) = under_way();
    let why = "the disk is full".to_owned();
    two.world.act(two.bob, |bob, now| bob.fail_file(now, received, why.clone())).expect("given up");
    two.run(3000);
    assert_eq!(two.last(two.bob, received), FileNews::Stopped(FileStop::Failed { why }));
    assert_eq!(two.last(two.ann, sent), FileNews::Stopped(FileStop::Aborted), "413");
    two.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_that_nobody_answers_is_no_word_about_its_files() {
    let mut two = Two::new(Config { ring_timeout: std::time::Duration::from_secs(5), ..config(BOB) });
    let (_, sent) = two.push(&[("a", &octets(1000), 0)]);
    two.run(6000);
    assert!(matches!(two.last(two.ann, sent[0]), FileNews::Stopped(FileStop::Interrupted { .. })));
    let (_, files) = two.invitation();
    assert!(matches!(two.last(two.bob, files[0].file), FileNews::Stopped(FileStop::Failed { .. })));
    two.over();
}

//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_a_file_that_is_too_large_is_refused_before_anybody_is_troubled() {
    let mut two = Two::new(Config { max_file: 999, ..config(BOB) });
    two.push(&[("a", &octets(1000), 0)]);
    two.run(100);
    assert!(matches!(two.ended(two.ann), Some(Ended::Refused { status: 488, .. })));
    assert_eq!(two.at(two.bob).told().count(), 0);
    two.over();
}

/// The line of a file that Alice, a script, offers.
pub(crate) fn line(call: &Call, port: u16, id: &str, size: usize, more: &str) -> String {
    let path = format!("msrp://192.0.2.1:2855/file{id};tcp");
    assert!(call.script.offer().contains("m=message"));
    format!(
        "m=message {port} TCP/MSRP *\r\na=accept-types:*\r\na=path:{path}\r\na=setup:active\r\na=sendonly\r\n\
         a=file-selector:name:\"f\" type:text/plain size:{size}\r\na=file-transfer-id:{id}\r\n{more}"
    )
}

/// An offer of another version with lines after those that stand.
pub(crate) fn offer_with(call: &Call, version: u32, lines: &str) -> String {
    let offer = call.script.offer();
    let mut rows: Vec<String> = offer.split("\r\n").map(str::to_owned).collect();
    for row in &mut rows {
        if row.starts_with("o=") {
            let words: Vec<&str> = row.split(' ').collect();
            *row = [words[0], words[1], &version.to_string(), words[3], words[4], words[5]].join(" ");
        }
    }
    format!("{}{lines}", rows.join("\r\n"))
}

pub(crate) fn path_of(lines: &str) -> String {
    lines.lines().find_map(|row| row.strip_prefix("a=path:")).expect("a path").to_owned()
}

pub(crate) fn answer_of(mail: &parlour_sim::Mail) -> String {
    text::lossy(text::body(mail.message()))
}

//= IM D-42 test
//= IM D-55 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_joins_a_chat_and_leaves_it_again() {
    let mut call = Call::new(accepting(Accept::All));
    call.send(call.script.invite());
    let (_, media) = call.bound("bind1");
    let lines = line(&call, 2855, "one", 5, "");
    let offer = offer_with(&call, 90, &lines);
    let invite = call.script.next(&mut call.world, "INVITE", "", &offer);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    let said = answer_of(&answer);
    let added = said.split("m=").nth(2).expect("a second line");
    assert!(added.starts_with("message 2855 ") && added.contains("a=recvonly"), "{said}");
    assert!(added.contains("a=file-transfer-id:one\r\n") && !added.contains("hash"), "{said}");
    let to = path_of(added);
    // The file comes on a connection of its own, and the chat goes on.
    let other = call.connect();
    let send = call.script.msrp_send("tid1", "file1", "01234");
    let own = path_of(&lines);
    let send = rerouted(&send, &to, &own);
    call.world.send(other, send);
    call.status(200);
    call.world.send(media, call.script.msrp_send("tid2", "m2", "still here"));
    call.status(200);
    let done = |what: &What| matches!(what, What::File { news: FileNews::Done, .. });
    assert!(call.at_bob().told().any(done));
    assert_eq!(call.at_bob().files.values().next().map(Vec::as_slice), Some(&b"01234"[..]));
    // The same name again begins nothing.
    let again = offer_with(&call, 91, &format!("{lines}{}", line(&call, 2856, "one", 5, "")));
    let invite = call.script.next(&mut call.world, "INVITE", "", &again);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    let said = answer_of(&answer);
    let ports: Vec<&str> =
        said.split("m=message ").skip(1).filter_map(|part| part.split(' ').next()).collect();
    assert_eq!(ports, ["2855", "2855", "0"], "{said}");
    // It is over, and the chat stays.
    let over =
        offer_with(&call, 92, &format!("{}{}", line(&call, 0, "one", 5, ""), line(&call, 0, "one", 5, "")));
    let invite = call.script.next(&mut call.world, "INVITE", "", &over);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    assert_eq!(answer_of(&answer).matches("m=message 0 ").count(), 2);
    call.world.send(media, call.script.msrp_send("tid3", "m3", "and still"));
    call.status(200);
    call.bye();
    call.status(200);
    call.over();
}

/// The same request between other ends.
pub(crate) fn rerouted(send: &str, to: &str, from: &str) -> String {
    let rows = send.split("\r\n").map(|row| match row.split_once(": ") {
        Some(("To-Path", _)) => format!("To-Path: {to}"),
        Some(("From-Path", _)) => format!("From-Path: {from}"),
        Some(_) | None => row.to_owned(),
    });
    rows.collect::<Vec<_>>().join("\r\n")
}

/// Alice offers a file in a session of its own, Bob takes it, and her connection stands. Returns the way, both ends and
/// Bob's answer.
fn taken(types: &str, size: usize) -> (Call, parlour_sim::Way, [String; 2], String) {
    let mut call = Call::new(config(BOB));
    let lines = line(&call, 2855, "one", size, "").replace("a=accept-types:*", types);
    let offer = call.script.offer();
    let offer = format!("{}{lines}", &offer[..offer.find("m=").expect("a line")]);
    call.send(call.script.invite_with("", &offer));
    call.status(180);
    call.accept();
    let answer = call.status(200);
    call.script.learn(answer.message());
    call.ack(&answer);
    let said = answer_of(&answer);
    let ends = [path_of(&said), path_of(&lines)];
    let media = call.connect();
    (call, media, ends, said)
}

const WRAPPED: &str =
    "From: <sip:alice@192.0.2.1>\r\nTo: <sip:bob@192.0.2.2>\r\n\r\nContent-Type: text/plain\r\n\r\n";

/// A SEND of part of a message/cpim.
fn wrapped(call: &Call, [to, from]: &[String; 2], tid: &str, whole: &str, at: usize, more: usize) -> String {
    let (end, total) = ((at + more).min(whole.len()), whole.len());
    let flag = if end == total { '$' } else { '+' };
    let range = format!("{}-{end}/{total}", at + 1);
    let send = call.script.msrp_chunk(tid, "file1", &range, &whole.as_bytes()[at..end], flag);
    // The type of the message, not that in its wrapping.
    rerouted(&send, to, from).replacen("Content-Type: text/plain", "Content-Type: message/cpim", 1)
}

//= IM D-43 test
//= IM M-32 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_that_comes_wrapped_is_the_file_inside() {
    // RFC 5547 9.1 has its files wrapped. One is small, one goes through a spool.
    for size in [10, 600_000] {
        let types = "a=accept-types:message/cpim\r\na=accept-wrapped-types:*";
        let (mut call, media, ends, said) = taken(types, size);
        assert!(
            said.contains("a=accept-types:message/cpim\r\na=accept-wrapped-types:text/plain\r\n"),
            "{said}"
        );
        let file: String = (0..size).map(|at| char::from(b'a' + u8::try_from(at % 23).unwrap())).collect();
        let whole = format!("{WRAPPED}{file}");
        let mut at = 0;
        while at < whole.len() {
            // The wrapping comes in two pieces.
            let more = if at == 0 { 30 } else { 50_000 };
            let head = wrapped(&call, &ends, &format!("tid{at}"), &whole, at, more);
            call.world.send(media, head);
            call.world.run(0);
            let stopped = |what: &What| matches!(what, What::File { news: FileNews::Stopped(_), .. });
            assert!(!call.at_bob().told().any(stopped), "{:?}", call.at_bob().told().last());
            call.status(200);
            at += more;
        }
        let done = |what: &What| matches!(what, What::File { news: FileNews::Done, .. });
        assert!(call.at_bob().told().any(done), "{size}");
        let kept = call.at_bob().files.values().next().expect("a file");
        assert!(kept.as_slice() == file.as_bytes(), "{size}: {} octets", kept.len());
        let most = call.at_bob().told().filter_map(|what| {
            let What::File { news: FileNews::Moved { octets, .. }, .. } = what else { return None };
            Some(*octets)
        });
        // What the wrapping has is no part of it.
        let most = most.max();
        assert_eq!(most.is_some(), size > 100_000);
        assert!(
            most.is_none_or(|octets| octets <= size as u64 && (octets + WRAPPED.len() as u64) % 50_000 == 30),
            "{most:?}"
        );
        call.bye();
        call.status(200);
        call.over();
    }
}

//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_wrapped_has_to_be_listed_and_of_the_size_that_was_told() {
    let types = "a=accept-types:message/cpim\r\na=accept-wrapped-types:*";
    let cases = [
        ("", "text/html", "0123456789", 415),
        ("", "text/plain", "012345678", 413),
        ("", "text/plain", "0123456789X", 413),
        ("", "text/plain\r\nContent-Transfer-Encoding: base64", "MDEyMzQ1Njc4OQ==", 415),
        ("NS: x <urn:x>\r\nRequire: x.Unknown\r\n", "text/plain", "0123456789", 415),
    ];
    for (rows, kind, octets, status) in cases {
        let (mut call, media, ends, _) = taken(types, 10);
        let whole = format!("{rows}{}{octets}", WRAPPED.replace("text/plain", kind));
        let send = wrapped(&call, &ends, "tid1", &whole, 0, 9999);
        call.world.send(media, send);
        call.status(status);
        let failed =
            |what: &What| matches!(what, What::File { news: FileNews::Stopped(FileStop::Failed { .. }), .. });
        assert!(call.at_bob().told().any(failed), "{kind}");
        call.bye();
        call.status(200);
        call.over();
    }
    // Where it was not offered it is not taken: our description lists the type of the file alone.
    let (mut call, media, ends, said) = taken("a=accept-types:text/plain", 10);
    assert!(said.contains("a=accept-types:text/plain\r\n"), "{said}");
    let send = wrapped(&call, &ends, "tid1", &format!("{WRAPPED}0123456789"), 0, 9999);
    call.world.send(media, send);
    call.status(415);
    call.bye();
    call.status(200);
    call.over();
}

/// An offer of a file with a picture beside it (RFC 5547 8.8).
pub(crate) fn with_picture(call: &Call, offer: &str, id: &str) -> (String, String) {
    assert!(call.script.offer().contains("m=message"));
    let rows = "Content-Type: multipart/related;type=\"application/sdp\";boundary=b1\r\n".to_owned();
    let body = format!(
        "--b1\r\nContent-Type: application/sdp\r\n\r\n{offer}\r\n--b1\r\nContent-Type: image/jpeg\r\n\
         Content-ID: <{id}>\r\nContent-Disposition: icon\r\n\r\nJPEG\r\n--b1--\r\n"
    );
    (rows, body)
}

/// An INVITE with a body of several parts.
pub(crate) fn with_body(invite: &str, rows: &str, body: &str) -> String {
    let (head, _) = invite.split_once("\r\n\r\n").expect("a head");
    let kept: Vec<&str> = head.split("\r\n").filter(|row| !row.starts_with("Content-")).collect();
    format!("{}\r\n{rows}Content-Length: {}\r\n\r\n{body}", kept.join("\r\n"), body.len())
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_preview_comes_with_the_offer_and_is_not_in_the_answer() {
    for (id, comes) in [("icon%40alice", true), ("other%40alice", false)] {
        let mut call = Call::new(config(BOB));
        let lines = line(&call, 2855, "one", 5, &format!("a=file-icon:cid:{id}\r\n"));
        let offer = call.script.offer();
        let offer = format!("{}{lines}", &offer[..offer.find("m=").expect("a line")]);
        let (rows, body) = with_picture(&call, &offer, "icon@alice");
        call.send(with_body(&call.script.invite(), &rows, &body));
        call.status(180);
        let icons: Vec<_> = call
            .at_bob()
            .told()
            .filter_map(|what| {
                let What::Invited { files, .. } = what else { return None };
                Some(files[0].icon.as_ref().map(|icon| (icon.media_type.clone(), icon.octets.clone())))
            })
            .collect();
        assert_eq!(icons, [comes.then(|| ("image/jpeg".to_owned(), b"JPEG".to_vec()))], "{id}");
        call.accept();
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        let said = answer_of(&answer);
        assert!(said.contains("a=file-transfer-id:one") && !said.contains("file-icon"), "{said}");
        call.bye();
        call.status(200);
        call.over();
    }
    // The same in a session that stands.
    let (mut call, _) = Call::connected();
    let offer = offer_with(&call, 90, &line(&call, 2855, "one", 5, "a=file-icon:cid:icon@alice\r\n"));
    let (rows, body) = with_picture(&call, &offer, "icon@alice");
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", "");
    call.send(with_body(&invite, &rows, &body));
    call.status(100);
    let comes = |what: &What| matches!(what, What::FilesAdded { files, .. } if files[0].icon.is_some());
    assert!(call.at_bob().told().any(comes));
    call.bye();
    call.status(200);
    call.status(487);
    call.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_bye_before_all_octets_have_left_ends_the_file_at_once() {
    let (mut two, sent, received) = under_way();
    let (session, _) = two.invitation();
    two.world.act(two.bob, |bob, now| bob.leave(now, session)).expect("left");
    two.run(300);
    assert!(matches!(two.last(two.ann, sent), FileNews::Stopped(FileStop::Interrupted { .. })));
    assert_eq!(two.ended(two.ann), Some(Ended::PeerLeft));
    assert!(matches!(two.last(two.bob, received), FileNews::Stopped(FileStop::Interrupted { .. })));
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_that_is_given_up_while_it_is_looked_at_is_refused() {
    let mut two = Two::new(config(BOB));
    two.world.client_at_mut(two.bob).expect("a client").store.delay = std::time::Duration::from_secs(5);
    let (_, sent) = two.push(&[("a", &octets(100), 0)]);
    two.run(100);
    let (session, files) = two.invitation();
    two.world.act(two.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    two.run(1000);
    assert!(matches!(two.last(two.bob, files[0].file), FileNews::Whole { .. }));
    two.world.act(two.bob, |bob, now| bob.cancel_file(now, files[0].file)).expect("given up");
    two.run(1000);
    assert_eq!(two.last(two.bob, files[0].file), FileNews::Stopped(FileStop::Cancelled));
    assert_eq!(two.last(two.ann, sent[0]), FileNews::Stopped(FileStop::Aborted), "413");
    two.over();
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_whose_connection_breaks_is_interrupted_and_who_received_one_leaves_at_last() {
    for breaks in [true, false] {
        let (mut call, media, ends, _) = taken("a=accept-types:text/plain", 10);
        let octets = if breaks { "01234" } else { "0123456789" };
        let flag = if breaks { '+' } else { '$' };
        let range = format!("1-{}/10", octets.len());
        let send = call.script.msrp_chunk("tid1", "file1", &range, octets.as_bytes(), flag);
        call.world.send(media, rerouted(&send, &ends[0], &ends[1]));
        call.status(200);
        let at = call.world.millis();
        let fate = |call: &Call| {
            let mut told = call.at_bob().told().filter_map(|what| {
                let What::File { news, .. } = what else { return None };
                matches!(news, FileNews::Done | FileNews::Stopped(_)).then(|| news.clone())
            });
            told.next()
        };
        if breaks {
            call.world.close(media);
            call.world.run(1000);
            let fate = fate(&call);
            assert!(matches!(fate, Some(FileNews::Stopped(FileStop::Interrupted { .. }))), "{fate:?}");
        } else {
            assert_eq!(fate(&call), Some(FileNews::Done));
            // RFC 5547 8.7: the sender ends it. One who does not is left after a while.
            call.nothing_to(at + 9_900);
            let bye = call.request("BYE");
            assert!(bye.at.as_millis() <= at + 10_100, "{}", bye.at.as_millis() - at);
        }
        call.world.run(60_000);
    }
}

//= IM M-32 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_that_is_a_wrapping_itself_is_kept_as_it_is() {
    let whole = format!("{WRAPPED}0123456789");
    let mut call = Call::new(config(BOB));
    let lines = line(&call, 2855, "one", whole.len(), "").replace("type:text/plain", "type:message/cpim");
    let offer = call.script.offer();
    let offer = format!("{}{lines}", &offer[..offer.find("m=").expect("a line")]);
    call.send(call.script.invite_with("", &offer));
    call.status(180);
    call.accept();
    let answer = call.status(200);
    call.script.learn(answer.message());
    call.ack(&answer);
    let ends = [path_of(&answer_of(&answer)), path_of(&lines)];
    let media = call.connect();
    let send = wrapped(&call, &ends, "tid1", &whole, 0, 9999);
    call.world.send(media, send);
    call.status(200);
    let kept = call.at_bob().files.values().next().expect("a file");
    assert_eq!(String::from_utf8_lossy(kept), whole);
    call.bye();
    call.status(200);
    call.over();
}
