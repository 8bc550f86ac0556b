//! Large messages of the real program, piece by piece, to a peer that reads as it likes.

use serde_json::json;

use crate::callers::Transport;
use crate::scenario::Scenario;
use crate::stage::{Stage, WAIT};

//= IM M-4 test
//= IM F-15 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_message_from_the_store_leaves_in_pieces_that_let_answers_through() {
    const PIECE: usize = 4096;
    let mut stage = Stage::new("pieces", "all", &[], &format!("chunk_size = {PIECE}\n"));
    let scenario = Scenario::new().call("", &[]).left();
    let mut player = stage.play(Transport::Tcp, "127.0.0.1", &scenario);
    stage.bob.await_event("established", WAIT);
    let mut media = player.connect();
    stage.bob.await_event("connected", WAIT);
    // More than 64 KiB lie in a file of the store; no two places in it are alike.
    let large: String = (0..60_000).map(|at| format!("{at:05}")).collect();
    stage.bob.tell(&json!({"do": "say", "message_id": "large1", "text": large}));
    stage.bob.tell(&json!({"do": "say", "message_id": "small1", "text": "behind it"}));
    let first = media.frame();
    assert_eq!(
        first.row("Byte-Range"),
        format!("1-*/{}", large.len()),
        "RFC 4975 7.1.1: it may be interrupted"
    );
    // She answers nothing for now, says something herself, and reads on.
    let taken = media.say_on("an aside");
    let (mut came, mut waiting, mut answered) = (first.body(), vec![first], false);
    while came.len() < large.len() {
        let frame = media.frame();
        if frame.text().starts_with(&taken) {
            answered = true;
            waiting.drain(..).for_each(|frame| media.take_it(&frame));
            continue;
        }
        assert_eq!(frame.row("Message-ID"), "large1");
        let start = came.len() + 1;
        let range = frame.row("Byte-Range");
        assert!(
            range.starts_with(&format!("{start}-")) && range.ends_with(&format!("/{}", large.len())),
            "{range}"
        );
        assert!(frame.body().len() <= PIECE);
        came += &frame.body();
        assert_eq!(frame.flag(), Some(if came.len() == large.len() { '$' } else { '+' }));
        if answered {
            media.take_it(&frame);
        } else {
            waiting.push(frame);
        }
    }
    assert!(answered, "her aside was answered before all of it had left");
    assert!(came == large, "it came as something else");
    let aside = stage.bob.await_such("message", WAIT, |event| event["direction"] == "in");
    assert_eq!(aside["text"], "an aside");
    stage.bob.await_such("progress", WAIT, |event| {
        event["state"] == "acknowledged" && event["message_id"] == "large1"
    });
    assert_eq!(media.hear(), ("small1".to_owned(), "behind it".to_owned()));
    stage.bob.await_such("progress", WAIT, |event| {
        event["state"] == "acknowledged" && event["message_id"] == "small1"
    });
    stage.bob.tell(&json!({"do": "leave"}));
    player.program.succeed(WAIT);
    stage.bob.await_event("ended", WAIT);
}
