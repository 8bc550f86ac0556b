//! Decisions, told to whoever asks why.

use parlour_proto::event::Explain;
use parlour_proto::text;

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
