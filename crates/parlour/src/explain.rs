//! Decisions, told to whoever asks why: live, and by `parlour explain` afterwards.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use parlour_conformance::CLAUSES;
use parlour_proto::event::Explain;
use parlour_proto::text;

use crate::cli::Explain as Flags;
use crate::store::{self, Decided, Reader};
use crate::{Fault, json};

/// Tells why the last invitation, or the one that is asked for, became what it became.
pub(crate) fn explain(flags: &Flags) -> Result<ExitCode, Fault> {
    let dir = flags.data.clone().unwrap_or_else(store::default_dir);
    let which = Some(flags.which.as_str()).filter(|which| *which != "last");
    let paths = Reader::open(&dir)?.paths(which).map_err(store::ReadFault::from)?;
    if paths.is_empty() {
        let kept = "those of the last 1,000 invitations are kept";
        return Err(match which {
            None => format!("no invitation has come yet to {}", dir.display()).into(),
            Some(which) => format!(
                "no decisions are known about {which:?}: name a session, such as 3-17, or a Call-ID; {kept}"
            )
            .into(),
        });
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let told = paths.iter().try_for_each(|path| {
        if flags.json {
            let mut decisions = path.decisions.iter();
            decisions.try_for_each(|decision| writeln!(out, "{}", json::decision_line(path, decision)))
        } else {
            writeln!(out, "{}", story(path))
        }
    });
    match told.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the decisions cannot be written: {error}").into())
        }
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// All decisions about an invitation, a paragraph for each, and what the last answer means.
fn story(path: &Decided) -> String {
    let Decided { time, account, session, call_id, decisions, .. } = path;
    let what = if call_id.is_some() { "Invitation to" } else { "Session of" };
    let mut story = format!("{what} {} at {}", text::neutral(account), json::seconds(*time));
    if let Some(session) = session {
        story.push_str(&format!(", session {session}"));
    }
    if let Some(call_id) = call_id {
        story.push_str(&format!(", Call-ID {}", text::neutral(call_id)));
    }
    let mut answer = None;
    for decision in decisions {
        let after = std::time::Duration::from_micros(decision.time).saturating_sub(*time);
        let (clause, said) = (&decision.clause, &decision.decision);
        story.push_str(&format!("\n{:>10} ms  {} [{clause}]", after.as_millis(), text::neutral(said)));
        if !decision.input.is_empty() {
            story.push_str(&format!("\n               because: {}", text::neutral(&decision.input)));
        }
        let answered = said.strip_prefix("answered ").and_then(|rest| rest.get(..3)?.parse().ok());
        answer = answered.map(|status: u16| (status, clause)).or(answer);
    }
    let Some((status, clause)) = answer else { return story };
    if let Some(meaning) = meaning(status) {
        story.push_str(&format!("\n{status} means: {meaning}"));
    }
    if let Some(asked) = CLAUSES.iter().find(|known| known.id == clause.as_str()) {
        story.push_str(&format!("\n{clause} says: {}", asked.gist));
    }
    if let Some(remedy) = remedy(status, clause) {
        story.push_str(&format!("\nWhat to do: {remedy}"));
    }
    story
}

/// What helps whoever wants another answer, where the status alone does not tell.
fn remedy(status: u16, clause: &str) -> Option<&'static str> {
    Some(match (status, clause) {
        (403, "S-6f") => {
            "nothing, if a stranger tried to take the chat over: it goes on as it was. For a sender who may, the core \
             that passes the INVITE on has to say who sends it (P-Asserted-Identity), and Referred-By has to name whom \
             it replaces, unless a peer moves its own chat (`replace_by_same_peer`)"
        }
        (481, "X-6") => {
            "nothing, if a stranger tried to take the chat over: it learns nothing of the session, which goes on as it \
             was. For a core that may speak for others, name its address in `trusted_hops` (--trust)"
        }
        (481, "P-3") => {
            "compare Call-ID and tags in Replaces with those of the session: it may be the session of another device, \
             or of a run before this one"
        }
        (481, _) => {
            "if it came from the peer's own core, by another address than the session's, name that address in \
             `trusted_hops` (--trust)"
        }
        _ => return None,
    })
}

/// What a status of ours tells the caller, in plain words.
fn meaning(status: u16) -> Option<&'static str> {
    Some(match status {
        200 => "the invitation was accepted",
        302 => "the caller is sent to another address",
        400 => "the request breaks the rules of SIP or SDP: the sender's software has to be mended",
        403 => {
            "understood, and not allowed: who sent it may not do this, or came a way that is not trusted for it"
        }
        404 => "the request is for an address that is none of ours",
        405 | 415 | 416 | 420 => {
            "the request needs something that we do not have; the answer lists what we do"
        }
        408 | 487 => "it ended before anybody answered",
        422 => "the session timer that was asked for is too short; Min-SE says the shortest",
        428 => "callers must have their identity signed (Identity), and this one has not",
        433 => "callers who hide who they are are not let in",
        436 => "no key of the caller's signer is configured: see `stir_keys`; keys are never fetched",
        437 => {
            "the signer of the caller's identity may not sign for it, or signs in a way that we do not verify"
        }
        438 => "the signature of the caller's identity is wrong or used twice: forged, or changed on its way",
        480 => "nobody can be reached here for now; Retry-After, if there, says when to try again",
        481 => "the request belongs to a dialog that is not here, or not any more",
        482 => "the same request came twice, by two ways: a proxy has forked it",
        486 => "this device takes no further session now; another one may",
        488 => "nothing in the offer (SDP) is what we take; Warning says what is wrong with it",
        491 => "two offers crossed: the sender tries again a little later",
        500 => "the request came out of order; Retry-After says when to try again",
        513 => "the request is too large",
        580 => "a precondition of the offer cannot be met",
        603 => "the user does not want it, on any device",
        607 => "the user wants nothing of this caller",
        _ => return None,
    })
}

/// One decision as a line: `[R-20] answered 420: Require: foo`.
pub(crate) fn line(explain: &Explain) -> String {
    let Explain { clause, decision, input, invitation: _ } = explain;
    let mut line = format!("[{clause}] {}", text::neutral(decision));
    if !input.is_empty() {
        line.push_str(": ");
        line.push_str(&text::neutral(input));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_says_what_was_decided_why_and_what_it_means() {
        let decision = |time, clause: &str, decision: &str, input: &str| store::Decision {
            time,
            clause: clause.into(),
            decision: decision.into(),
            input: input.into(),
        };
        let path = Decided {
            id: 1,
            time: std::time::Duration::from_secs(1),
            account: "sip:bob@192.0.2.2".into(),
            session: None,
            call_id: Some("call-1".into()),
            decisions: vec![
                decision(1_000_000, "G-1", "an invitation came", "INVITE sip:bob@192.0.2.2"),
                decision(1_002_000, "S-6f", "answered 403 Forbidden", "Referred-By: <sip:eve@x>\u{1b}"),
            ],
        };
        let expected = "Invitation to sip:bob@192.0.2.2 at 1970-01-01T00:00:01Z, Call-ID call-1
         0 ms  an invitation came [G-1]
               because: INVITE sip:bob@192.0.2.2
         2 ms  answered 403 Forbidden [S-6f]
               because: Referred-By: <sip:eve@x>\\u{1b}
403 means: understood, and not allowed: who sent it may not do this, or came a way that is not trusted for it
S-6f says: A refused takeover gets 403, leaves the old session as it is, is logged and told to the user.
What to do: nothing, if a stranger tried to take the chat over: it goes on as it was. For a sender who may, the core that \
passes the INVITE on has to say who sends it (P-Asserted-Identity), and Referred-By has to name whom it replaces, unless a \
peer moves its own chat (`replace_by_same_peer`)";
        assert_eq!(story(&path), expected);
    }

    #[test]
    fn what_a_peer_wrote_stays_on_the_line() {
        let explain = Explain {
            clause: "G-3",
            decision: "answered 420".into(),
            input: "Require: foo\r\nbar".into(),
            invitation: None,
        };
        let line = line(&explain);
        assert!(line.starts_with("[G-3] answered 420: Require: foo"), "{line}");
        assert!(!line.contains('\n') && !line.contains('\r'), "{line:?}");
    }
}
