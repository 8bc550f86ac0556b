//! Sessions with one peer that follow one another: conversations, a second session, invitations that cross.

use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Ended, What};
use parlour_proto::io::AccountId;
use parlour_sim::{Script, text};

use super::replaces::{ANN, Chat, FOCUS, bind, told, trusting};
use crate::common::{BOB, Call};

//= IM P-11 test
#[cfg_attr(test, test)]
pub(crate) fn a_conversation_goes_on_in_another_session() {
    let named = "Contribution-ID: conversation-1\r\n";
    // Unknown: an invitation like others. Known: as with Replaces.
    let ann = "Referred-By: <sip:ann@example.com>\r\n";
    let mut chat = Chat::with(trusting(), &format!("{ANN}{named}"));
    let old = chat.old;
    let script = chat.core_invites(&format!("Session-Replaces: conversation-1\r\n{FOCUS}"));
    chat.refused(script, 403);
    chat.lives();
    // The same words of another account's, or none: nothing to do with the chat.
    let contradicts = chat.replaces(";x=y").replace("call-", "other-");
    let script = chat.core_invites(&format!("Session-Replaces: conversation-1\r\n{contradicts}{FOCUS}{ann}"));
    chat.refused(script, 481);
    let rows = format!("Session-Replaces: conversation-1\r\nContribution-ID: conversation-2\r\n{FOCUS}{ann}");
    let mut script = chat.core_invites(&rows);
    chat.accepted(&mut script);
    chat.old_ends();
    let new = chat.new_session();
    let is_thread = |what: &What| {
        matches!(what, What::Invited { thread, .. } if thread.replaces == Some(old)
            && thread.conversation.as_deref() == Some("conversation-2")
            && thread.continues.as_deref() == Some("conversation-1"))
    };
    assert!(told(&chat.call, new, is_thread));
    let bye = script.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    // It is over: who continues it now is let in like anybody else.
    let mut late = chat.core_invites(&format!("Session-Replaces: conversation-2\r\n{FOCUS}"));
    chat.accepted(&mut late);
    let bye = late.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}

//= IM R-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_second_session_with_the_same_peer_succeeds_the_first_once_it_is_bound() {
    let mut chat = Chat::new(Config { accept: Accept::Ask, ..trusting() });
    let old = chat.old;
    chat.say(old, "m-sent");
    chat.call.request("SEND");
    let mut script = chat.core_invites(ANN);
    chat.accepted(&mut script);
    let new = chat.new_session();
    chat.call.world.run(1000);
    assert!(!told(&chat.call, old, |what| matches!(what, What::Ended(_))), "not before messages can flow");
    bind(&mut chat, &script);
    chat.old_ends();
    assert!(told(&chat.call, old, |what| *what == What::Ended(Ended::Replaced { by: new })));
    let send = chat.call.request("SEND");
    assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some("m-sent"));
    let bye = script.bye(&mut chat.call.world);
    chat.call.send(bye);
    chat.call.status(200);
    chat.call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_focus_and_a_stranger_with_the_same_name_succeed_nobody() {
    let mut chat = Chat::new(Config { accept: Accept::All, ..trusting() });
    let mallory = chat.call.world.peer("mallory");
    let mut stranger = chat.invite(mallory, ANN);
    stranger.local = chat.call.script.local.clone();
    let answer = chat.call.world.expect_status(mallory, 200);
    let ack = stranger.ack(&mut chat.call.world, answer.message());
    chat.call.world.send(stranger.way, ack);
    let way = chat.call.way;
    let mut focus = Script::caller(&mut chat.call.world, chat.call.alice, way, BOB);
    let invite = focus.invite_with(ANN, &focus.offer()).replacen(">\r\nP-A", ">;isfocus\r\nP-A", 1);
    assert!(invite.contains("isfocus"));
    chat.call.send(invite);
    chat.accepted(&mut focus);
    bind(&mut chat, &focus);
    chat.call.world.run(1000);
    chat.lives();
    for (script, node) in [(&mut focus, chat.call.alice), (&mut stranger, mallory)] {
        let bye = script.bye(&mut chat.call.world);
        chat.call.world.send(script.way, bye);
        chat.call.world.expect_status(node, 200);
    }
    chat.over_with_old();
}

//= IM R-5 test
#[cfg_attr(test, test)]
pub(crate) fn invitations_that_cross_both_succeed() {
    let mut call = Call::new(trusting());
    let mine = call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), "sip:ann@192.0.2.1", None));
    let mine = mine.expect("a way");
    let invite = call.request("INVITE");
    let callee = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
    let hers = "P-Asserted-Identity: <sip:ann@192.0.2.1>\r\n";
    call.send(call.script.invite_with(hers, &call.script.offer()));
    let answer = call.status(200);
    let theirs = call.session();
    call.ack(&answer);
    call.send(callee.respond(invite.message(), "200 OK", hers, &callee.sdp("passive", "text/plain")));
    call.request("ACK");
    let media = call.world.expect_opened(call.alice);
    let binding = call.request("SEND");
    call.world.send(media, callee.msrp_respond(binding.message(), "200 OK"));
    let other = call.connect();
    call.world.send(other, call.script.msrp_empty("bind1"));
    call.status(200);
    call.world.run(1000);
    for session in [mine, theirs] {
        assert!(told(&call, session, |what| *what == What::Connected), "{}", call.world.ladder());
        assert!(!told(&call, session, |what| matches!(what, What::Ended(_))));
        call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
        let bye = call.request("BYE");
        call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    }
    call.over();
}
