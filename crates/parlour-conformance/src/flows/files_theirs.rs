//! Files of invitations that cannot be, or not as they are (RFC 5547 8.1, 8.3).

use parlour_proto::client::{FileAnswer, FileOffer};
use parlour_proto::config::Accept;
use parlour_proto::event::{FileInfo, FileNews, FileStop, What};
use parlour_proto::io::{AccountId, SourceId};
use parlour_proto::sdp::{FileHash, FileSelector};

use super::early::SEGMENTED;
use crate::common::{BOB, Call, accepting, config};
use crate::flows::files::{Two, answer_of, line, octets, offer_with, selector, with_body, with_picture};

/// Alice invites Bob to these lines, besides a chat if there is one.
fn invite(call: &mut Call, chats: bool, lines: &str) {
    let offer = call.script.offer();
    let head = if chats { offer.as_str() } else { &offer[..offer.find("m=").expect("a line")] };
    let invite = call.script.invite_with("", &format!("{head}{lines}"));
    call.send(invite);
}

fn files(call: &Call) -> Vec<FileInfo> {
    let invited = call.at_bob().told().find_map(|what| {
        let What::Invited { files, .. } = what else { return None };
        Some(files.clone())
    });
    invited.expect("an invitation")
}

//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_is_given_only_if_it_is_the_one_that_is_asked_for() {
    // The other file has another hash; the last one has fewer octets than are left out.
    for (skip, size, hash, gives) in
        [(0, 100, 7, true), (0, 100, 8, false), (100, 100, 7, true), (101, 100, 7, false)]
    {
        let mut two = Two::new(config(BOB));
        let wanted = FileSelector { hashes: vec![FileHash::Sha1([7; 20])], ..FileSelector::default() };
        let offers = vec![FileOffer { selector: wanted, source: None, skip, modified: None, icon: None }];
        let offer = two.world.act(two.ann, |ann, now| ann.offer_files(now, AccountId(0), BOB, None, offers));
        offer.expect("an offer");
        two.run(100);
        let (session, files) = two.invitation();
        let accept = |two: &mut Two, serve| {
            let answers = vec![FileAnswer { file: files[0].file, serve }];
            two.world.act(two.bob, |bob, now| bob.accept_files(now, session, answers))
        };
        assert!(accept(&mut two, None).is_err(), "what is wanted is no file that comes");
        let ours = FileSelector { hashes: vec![FileHash::Sha1([hash; 20])], ..selector("x", &octets(size)) };
        two.world.client_at_mut(two.bob).expect("a client").sources.insert(SourceId(9), Vec::new());
        assert_eq!(accept(&mut two, Some((ours, SourceId(9)))).is_ok(), gives, "{skip} {size} {hash}");
        two.over();
    }
    // What comes is not given.
    let mut call = Call::new(config(BOB));
    let lines = line(&call, 2855, "one", 5, "");
    invite(&mut call, false, &lines);
    call.status(180);
    let (session, file) = (call.session(), files(&call)[0].file);
    let answers = vec![FileAnswer { file, serve: Some((selector("f", b""), SourceId(9))) }];
    assert!(call.world.act(call.bob, |bob, now| bob.accept_files(now, session, answers)).is_err());
    call.send(call.script.cancel());
    let refusal = call.status(487);
    call.ack_refusal(&refusal);
    call.over();
}

//= IM D-43 test
#[cfg_attr(test, test)]
pub(crate) fn nobody_gives_a_small_file_unasked_either() {
    let mut call = Call::new(accepting(Accept::All));
    let lines = line(&call, 2855, "one", 5, "").replace("a=sendonly", "a=recvonly");
    invite(&mut call, false, &lines);
    call.status(180);
    assert!(files(&call)[0].sends);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Invited { asked: true, .. })));
    call.send(call.script.cancel());
    let refusal = call.status(487);
    call.ack_refusal(&refusal);
    call.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn two_files_of_one_name_are_one() {
    let mut call = Call::new(config(BOB));
    let lines = [line(&call, 2855, "one", 5, ""), line(&call, 2856, "one", 6, "")].concat();
    invite(&mut call, false, &lines);
    call.status(180);
    assert_eq!(files(&call).len(), 1);
    call.accept();
    let answer = call.status(200);
    call.script.learn(answer.message());
    call.ack(&answer);
    let said = answer_of(&answer);
    assert!(said.contains("m=message 2855 ") && said.contains("m=message 0 "), "{said}");
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn no_file_comes_under_preconditions() {
    let mut call = Call::new(config(BOB));
    let lines = line(&call, 2855, "one", 5, SEGMENTED);
    let offer = call.script.offer();
    let offer = format!("{}{lines}", &offer[..offer.find("m=").expect("a line")]);
    call.send(call.script.invite_with("Supported: 100rel, precondition\r\n", &offer));
    let refusal = call.status(488);
    call.ack_refusal(&refusal);
    assert_eq!(call.at_bob().told().filter(|what| matches!(what, What::Invited { .. })).count(), 0);
    call.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn who_declines_the_file_beside_a_chat_has_not_declined_the_chat() {
    let mut call = Call::new(config(BOB));
    let lines = line(&call, 2856, "one", 5, "");
    invite(&mut call, true, &lines);
    call.status(180);
    let file = files(&call)[0].file;
    call.world.act(call.bob, |bob, now| bob.cancel_file(now, file)).expect("declined");
    let stopped =
        |what: &What| matches!(what, What::File { news: FileNews::Stopped(FileStop::Cancelled), .. });
    assert!(call.at_bob().told().any(stopped));
    call.accept();
    let (answer, _) = call.bound("bind1");
    let said = answer_of(&answer);
    assert!(said.contains("m=message 2855 ") && said.contains("m=message 0 "), "{said}");
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn who_asks_for_a_file_shows_no_preview_of_it() {
    let mut call = Call::new(config(BOB));
    let lines =
        line(&call, 2855, "one", 5, "a=file-icon:cid:icon%40alice\r\n").replace("a=sendonly", "a=recvonly");
    let offer = call.script.offer();
    let offer = format!("{}{lines}", &offer[..offer.find("m=").expect("a line")]);
    let (rows, body) = with_picture(&call, &offer, "icon@alice");
    call.send(with_body(&call.script.invite(), &rows, &body));
    call.status(180);
    assert!(files(&call)[0].sends && files(&call)[0].icon.is_none());
    call.send(call.script.cancel());
    let refusal = call.status(487);
    call.ack_refusal(&refusal);
    call.over();
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_name_whose_line_was_closed_begins_nothing_any_more() {
    let mut call = Call::new(accepting(Accept::All));
    call.send(call.script.invite());
    call.bound("bind1");
    for (version, port, answered) in
        [(90, 2855, "m=message 2855 "), (91, 0, "m=message 0 "), (92, 2855, "m=message 0 ")]
    {
        let offer = offer_with(&call, version, &line(&call, port, "one", 5, ""));
        let invite = call.script.next(&mut call.world, "INVITE", "", &offer);
        call.send(invite);
        let answer = call.status(200);
        call.ack(&answer);
        let said = answer_of(&answer);
        let second = said.match_indices("m=").nth(1).map(|(at, _)| &said[at..]).expect("a second line");
        assert!(second.starts_with(answered), "{version}: {said}");
    }
    let begun = |what: &&What| matches!(what, What::File { news: FileNews::Begun(_), .. });
    assert_eq!(call.at_bob().told().filter(begun).count(), 1);
    call.bye();
    call.status(200);
    call.over();
}
