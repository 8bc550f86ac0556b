//! Files that a later offer adds to a session that stands: the user is asked (RFC 5547 8.3.1, RFC 3261 14.2).

use parlour_proto::client::{Decline, FileAnswer};
use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Ended, FileInfo, FileNews, FileStop, What};
use parlour_proto::io::FileId;
use parlour_sim::{Mail, Way, text};

use crate::common::{BOB, Call, accepting, config};
use crate::flows::files::{answer_of, line, offer_with, path_of, rerouted};

const CONTACT: &str = "Contact: <sip:192.0.2.1:5060>\r\n";

/// Alice and Bob chat, and Alice's re-INVITE adds these lines. Returns it, and when it left.
fn asked(config: Config, lines: &str) -> (Call, Way, String, u64) {
    let (mut call, media) = Call::connected_by(config, |call| call.script.invite());
    let (invite, at) = add(&mut call, 90, CONTACT, lines);
    (call, media, invite, at)
}

fn add(call: &mut Call, version: u32, rows: &str, lines: &str) -> (String, u64) {
    let offer = offer_with(call, version, lines);
    let invite = call.script.next(&mut call.world, "INVITE", rows, &offer);
    let at = call.world.millis();
    call.send(&invite);
    (invite, at)
}

fn one(call: &Call) -> String {
    line(call, 2855, "one", 5, "")
}

fn fresh() -> Call {
    Call::new(config(BOB))
}

/// What Bob was asked about last.
#[track_caller]
fn question(call: &Call) -> Vec<FileInfo> {
    let added = call.at_bob().told().filter_map(|what| {
        let What::FilesAdded { files, .. } = what else { return None };
        Some(files.clone())
    });
    added.last().expect("a question")
}

fn questions(call: &Call) -> usize {
    call.at_bob().told().filter(|what| matches!(what, What::FilesAdded { .. })).count()
}

fn last(call: &Call, id: FileId) -> Option<FileNews> {
    let news = call.at_bob().told().filter_map(|what| {
        let What::File { file, news } = what else { return None };
        (*file == id && !matches!(news, FileNews::Moved { .. })).then_some(news)
    });
    news.last().cloned()
}

fn ports(answer: &str) -> Vec<&str> {
    answer.split("m=message ").skip(1).filter_map(|part| part.split(' ').next()).collect()
}

/// The chat is as before, and ends.
fn goes_on(mut call: Call, media: Way) {
    call.world.send(media, call.script.msrp_send("tid9", "m9", "still here"));
    call.status(200);
    call.bye();
    call.status(200);
    call.over();
}

/// The file comes in the session of its own line.
fn send_file(call: &mut Call, answer: &str, line_at: usize, own: &str, octets: &str) {
    let added = answer.split("m=").nth(line_at + 1).expect("the line");
    let other = call.connect();
    let send = call.script.msrp_send("tid1", "file1", octets);
    let send = rerouted(&send, &path_of(added), &path_of(own));
    call.world.send(other, send);
    call.status(200);
}

#[track_caller]
fn final_answer(call: &mut Call, status: u16) -> Mail {
    let answer = call.status(status);
    if status < 300 {
        call.ack(&answer)
    } else {
        call.ack_refusal(&answer)
    }
    answer
}

//= IM D-41 test
//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_re_invite_that_adds_a_file_waits_for_the_user_who_takes_it() {
    let lines = one(&fresh());
    let (mut call, media, _, at) = asked(config(BOB), &lines);
    assert_eq!(call.status(100).at.as_millis(), at + 200);
    let files = question(&call);
    assert_eq!((files.len(), files[0].about.transfer_id.as_str(), files[0].sends), (1, "one", false));
    // The chat goes on meanwhile, and nobody answers for the user.
    call.world.send(media, call.script.msrp_send("tid0", "m0", "have you seen it?"));
    call.status(200);
    call.nothing_to(at + 10_000);
    let session = call.session();
    let answers = vec![FileAnswer { file: files[0].file, serve: None }];
    call.world.act(call.bob, |bob, now| bob.accept_files(now, session, answers)).expect("taken");
    let answer = final_answer(&mut call, 200);
    let said = answer_of(&answer);
    assert_eq!(ports(&said), ["2855", "2855"]);
    assert!(said.contains("a=file-transfer-id:one\r\n") && said.contains("a=recvonly"), "{said}");
    let own = one(&call);
    send_file(&mut call, &said, 1, &own, "01234");
    assert_eq!(last(&call, files[0].file), Some(FileNews::Done));
    assert_eq!(call.at_bob().files[&files[0].file], b"01234");
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_that_was_added_and_declined_has_port_0_and_nobody_is_asked_again() {
    let lines = one(&fresh());
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    let (session, file) = (call.session(), question(&call)[0].file);
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Declined)).expect("declined");
    let answer = final_answer(&mut call, 200);
    let said = answer_of(&answer);
    assert_eq!(ports(&said), ["2855", "0"]);
    // RFC 5547 8.3: both attributes as in the offer.
    let rejected = said.split("m=").nth(2).expect("its line");
    let mirrored = "a=file-selector:name:\"f\" type:text/plain size:5\r\na=file-transfer-id:one\r\n";
    assert!(rejected.contains(mirrored), "{rejected}");
    assert_eq!(last(&call, file), Some(FileNews::Stopped(FileStop::Cancelled)));
    // The same transfer once more starts nothing and alerts nobody.
    let lines = one(&call);
    add(&mut call, 91, CONTACT, &lines);
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "0"]);
    assert_eq!(questions(&call), 1);
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_user_who_says_nothing_has_declined_before_the_other_side_gives_up() {
    let lines = one(&fresh());
    let (mut call, media, _, at) = asked(config(BOB), &lines);
    call.status(100);
    let file = question(&call)[0].file;
    call.nothing_to(at + 24_999);
    let answer = final_answer(&mut call, 200);
    assert_eq!((answer.at.as_millis(), ports(&answer_of(&answer))), (at + 25_000, vec!["2855", "0"]));
    assert!(matches!(last(&call, file), Some(FileNews::Stopped(FileStop::Failed { .. }))));
    let session = call.session();
    let late = vec![FileAnswer { file, serve: None }];
    assert!(call.world.act(call.bob, |bob, now| bob.accept_files(now, session, late)).is_err());
    goes_on(call, media);
    // RFC 3261 13.3.1: an INVITE may be worth an answer for less.
    let (mut call, media) = Call::connected();
    let lines = one(&call);
    let (_, at) = add(&mut call, 90, &format!("{CONTACT}Expires: 7\r\n"), &lines);
    call.status(100);
    call.nothing_to(at + 6_999);
    final_answer(&mut call, 200);
    let lines = format!("{}{}", one(&call), line(&call, 2855, "late", 5, ""));
    let (_, at) = add(&mut call, 91, &format!("{CONTACT}Expires: 4\r\n"), &lines);
    let answer = final_answer(&mut call, 200);
    assert_eq!((answer.at.as_millis(), ports(&answer_of(&answer))), (at, vec!["2855", "0", "0"]));
    assert_eq!(questions(&call), 1, "nobody can say anything in that time");
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_re_invite_that_is_cancelled_while_the_user_is_asked_changes_nothing() {
    let lines = one(&fresh());
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    let (session, file) = (call.session(), question(&call)[0].file);
    let cancel = call.script.cancel();
    call.send(cancel);
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..2 {
        let mail = call.world.expect(call.alice, "an answer", |_| true);
        statuses.push(text::status(mail.message()).unwrap_or(0));
        if text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE")) {
            call.ack_refusal(&mail);
        }
    }
    assert_eq!(statuses, [200, 487]);
    assert_eq!(last(&call, file), Some(FileNews::Stopped(FileStop::Aborted)));
    assert!(call.world.act(call.bob, |bob, now| bob.accept(now, session)).is_err());
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_ends_while_the_user_is_asked_answers_the_re_invite() {
    // RFC 3261 15.1.2: requests that wait get 487.
    let lines = one(&fresh());
    let (mut call, _, invite, _) = asked(config(BOB), &lines);
    call.status(100);
    let number = text::header(invite.as_bytes(), "CSeq");
    call.bye();
    call.status(200);
    let terminated = call.status(487);
    assert_eq!(text::header(terminated.message(), "CSeq"), number);
    let ended = |what: &What| matches!(what, What::Ended(Ended::PeerLeft));
    assert!(call.at_bob().told().any(ended));
    call.over();
    // The same when it is we who leave.
    let (mut call, _, _, _) = asked(config(BOB), &lines);
    call.status(100);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("left");
    call.refused(487);
    let bye = call.request("BYE");
    call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    call.over();
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn while_the_user_is_asked_no_other_offer_is_made_or_taken() {
    let lines = one(&fresh());
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    let asking = call.script.clone();
    for (method, version) in [("INVITE", 91), ("UPDATE", 92)] {
        let offer = offer_with(&call, version, "");
        let request = call.script.next(&mut call.world, method, CONTACT, &offer);
        call.send(request);
        let refused = call.status(500);
        assert!(text::header(refused.message(), "Retry-After").is_some());
        if method == "INVITE" {
            call.ack_refusal(&refused);
        }
    }
    // Without an offer an UPDATE changes nothing of what is asked.
    let update = call.script.next(&mut call.world, "UPDATE", CONTACT, "");
    call.send(update);
    call.status(200);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    let answer = call.status(200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "2855"]);
    // Its ACK has the number of the INVITE, and others have come since.
    let mut asking = asking;
    let ack = asking.ack(&mut call.world, answer.message());
    call.send(ack);
    let own = one(&call);
    send_file(&mut call, &answer_of(&answer), 1, &own, "01234");
    goes_on(call, media);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_of_ours_waits_while_the_user_is_asked() {
    let timed = "Session-Expires: 90;refresher=uas\r\nSupported: timer\r\nMin-SE: 90\r\n";
    let invite = |call: &Call| call.script.invite_with(timed, &call.script.offer());
    let (mut call, _) = Call::connected_by(config(BOB), invite);
    call.world.run_to(40_000);
    let lines = one(&call);
    let rows = format!("{CONTACT}{timed}");
    let (_, at) = add(&mut call, 90, &rows, &lines);
    call.status(100);
    // The refresh would be due at 45 s, and at 60 s the session would be over: the 2xx refreshes it.
    call.nothing_to(59_999);
    let answer = final_answer(&mut call, 200);
    assert!((at..at + 25_000).contains(&answer.at.as_millis()));
    call.nothing_to(60_000 + 44_999);
    let refresh = call.request("INVITE");
    call.send(call.script.respond(refresh.message(), "481 Gone", "", ""));
    call.request("ACK");
    let bye = call.request("BYE");
    call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    call.over();
}

//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn an_update_that_adds_a_file_is_refused_with_504_as_nobody_can_be_asked_in_time() {
    let (mut call, media) = Call::connected();
    let offer = offer_with(&call, 90, &one(&call));
    let update = call.script.next(&mut call.world, "UPDATE", CONTACT, &offer);
    call.send(update);
    let refused = call.status(504);
    assert_eq!(refused.at.as_millis(), call.world.millis());
    assert_eq!(questions(&call), 0);
    // The peer uses an INVITE then (RFC 3311 5.2), under the same name.
    let lines = one(&call);
    add(&mut call, 91, CONTACT, &lines);
    call.status(100);
    assert_eq!(questions(&call), 1);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "2855"]);
    goes_on(call, media);
    // What needs nobody's word may come in an UPDATE.
    let (mut call, media) = Call::connected();
    call.bob_mut();
    let offer = offer_with(&call, 90, &line(&call, 0, "one", 5, ""));
    let update = call.script.next(&mut call.world, "UPDATE", CONTACT, &offer);
    call.send(update);
    call.status(200);
    goes_on(call, media);
}

//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn of_several_files_that_are_added_each_is_taken_or_not() {
    let lines = {
        let call = fresh();
        format!("{}{}{}", one(&call), line(&call, 2855, "two", 6, ""), line(&call, 2855, "three", 7, ""))
    };
    let (mut call, media, _, at) = asked(config(BOB), &lines);
    call.status(100);
    let ids: Vec<FileId> = question(&call).iter().map(|info| info.file).collect();
    let session = call.session();
    // The last word about them decides, and the last of several is here when each was declined or the rest taken.
    call.world.act(call.bob, |bob, now| bob.cancel_file(now, ids[0])).expect("declined");
    call.nothing_to(at + 3000);
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "0", "2855", "2855"]);
    assert_eq!(last(&call, ids[0]), Some(FileNews::Stopped(FileStop::Cancelled)));
    goes_on(call, media);
    // Each declined for itself.
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    for info in question(&call) {
        call.world.act(call.bob, |bob, now| bob.cancel_file(now, info.file)).expect("declined");
    }
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "0", "0", "0"]);
    goes_on(call, media);
}

//= IM D-41 test
//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_what_policy_takes_is_taken_with_what_the_user_is_asked_about() {
    let config = Config { auto_accept_file: 5, ..accepting(Accept::All) };
    let mut call = Call::new(config);
    call.send(call.script.invite());
    let (_, media) = call.bound("bind1");
    let lines = format!("{}{}", one(&call), line(&call, 2855, "large", 6, ""));
    add(&mut call, 90, CONTACT, &lines);
    call.status(100);
    let files = question(&call);
    assert_eq!(files.iter().map(|info| info.about.selector.size).collect::<Vec<_>>(), [Some(6)]);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Declined)).expect("declined");
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "2855", "0"]);
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn one_name_for_two_files_is_an_error() {
    // Two new lines of one offer.
    let lines = {
        let call = fresh();
        format!("{}{}", one(&call), line(&call, 2855, "one", 6, ""))
    };
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    assert_eq!(question(&call).len(), 1);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "2855", "0"]);
    // RFC 5547 8.1: the name of a transfer that is on, and another file: the transfer is aborted.
    let file = question(&call)[0].file;
    let lines = format!("{}{}", line(&call, 2855, "one", 7, ""), line(&call, 0, "one", 6, ""));
    add(&mut call, 91, CONTACT, &lines);
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "0", "0"]);
    assert_eq!(last(&call, file), Some(FileNews::Stopped(FileStop::Aborted)));
    assert_eq!(questions(&call), 1);
    goes_on(call, media);
}

//= IM D-41 test
#[cfg_attr(test, test)]
pub(crate) fn another_name_on_the_line_of_a_file_is_another_transfer() {
    // RFC 5547 8.1 and 8.6: the one that is on is aborted, and the user is asked about the new one.
    let lines = one(&fresh());
    let (mut call, media, _, _) = asked(config(BOB), &lines);
    call.status(100);
    let (session, old) = (call.session(), question(&call)[0].file);
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    final_answer(&mut call, 200);
    let lines = line(&call, 2855, "again", 5, "");
    add(&mut call, 91, CONTACT, &lines);
    call.status(100);
    assert_eq!(
        last(&call, old).map(|news| matches!(news, FileNews::Begun(_))),
        Some(true),
        "until then it goes on"
    );
    let new = question(&call)[0].file;
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect("taken");
    let answer = final_answer(&mut call, 200);
    assert_eq!(ports(&answer_of(&answer)), ["2855", "2855"]);
    assert_eq!(last(&call, old), Some(FileNews::Stopped(FileStop::Aborted)));
    send_file(&mut call, &answer_of(&answer), 1, &lines, "43210");
    assert_eq!(last(&call, new), Some(FileNews::Done));
    goes_on(call, media);
}

//= IM X-30 test
#[cfg_attr(test, test)]
pub(crate) fn x_30_a_file_that_is_wanted_or_comes_from_nobody_known_is_never_answered_unasked() {
    // Policy takes what comes from everybody; or what comes from those for whom somebody vouches.
    for (accept, wanted, asks) in
        [(Accept::All, false, false), (Accept::All, true, true), (Accept::Auto, false, true)]
    {
        let lines = one(&fresh());
        let lines = if wanted { lines.replace("a=sendonly", "a=recvonly") } else { lines };
        let mut call = Call::new(accepting(accept));
        call.send(call.script.invite());
        let media = if accept == Accept::All { call.bound("bind1").1 } else { call.taken("bind1").1 };
        add(&mut call, 90, CONTACT, &lines);
        call.world.run(0);
        assert_eq!(questions(&call), usize::from(asks), "{accept:?} {wanted}");
        if asks {
            let session = call.session();
            call.world
                .act(call.bob, |bob, now| bob.decline(now, session, Decline::Declined))
                .expect("declined");
        }
        final_answer(&mut call, 200);
        goes_on(call, media);
    }
}
