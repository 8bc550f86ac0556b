//! Large messages in the terminal: they are shown as messages (F-15).

use std::collections::BTreeSet;

use parlour_proto::event::{Ended, Kind, What};
use parlour_proto::io::SessionId;

use crate::agent::{Happening, Told};

/// Whether what is told is only the frame of a large message that nobody was asked about: it is shown as a message, not as
/// a chat.
//= IM F-15
pub(crate) fn is_frame(told: &Told, large: &mut BTreeSet<SessionId>) -> bool {
    let Told::Event(Happening { event, .. }) = told else { return false };
    let Some(session) = event.session else { return false };
    let what = &event.what;
    if matches!(what, What::Invited { kind: Kind::LargeMessage, asked: false, .. }) {
        return large.insert(session);
    }
    if let What::Ended(why) = what {
        return large.remove(&session)
            && matches!(why, Ended::Left | Ended::PeerLeft | Ended::Replaced { .. });
    }
    large.contains(&session) && matches!(what, What::Established { .. } | What::Connected)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlour_proto::event::{Event, Peer, Thread};
    use parlour_proto::io::AccountId;

    use super::is_frame as is_frame_of;
    use super::*;

    //= IM F-15 test
    #[test]
    fn a_large_message_that_nobody_was_asked_about_is_shown_as_a_message() {
        let mut large = BTreeSet::new();
        let mut is_frame = |session, what| {
            let event = Event { account: AccountId(0), session: Some(SessionId(session)), what };
            let (time, account) = (Duration::ZERO, "sip:us@x".into());
            let told = Happening { seq: None, time, account, session: None, event, file: None, speed: None };
            is_frame_of(&Told::Event(told), &mut large)
        };
        let invited = |kind, asked| What::Invited {
            peer: Peer::default(),
            kind,
            subject: None,
            asked,
            identity: None,
            thread: Thread::default(),
            invited_with: Vec::new(),
            files: Vec::new(),
        };
        assert!(is_frame(1, invited(Kind::LargeMessage, false)) && is_frame(1, What::Connected));
        assert!(!is_frame(2, invited(Kind::Chat, false)) && !is_frame(2, What::Connected));
        assert!(!is_frame(3, invited(Kind::LargeMessage, true)) && !is_frame(3, What::Connected));
        let receiving = What::Receiving { message_id: "m".into(), received: 1, total: None };
        assert!(!is_frame(1, receiving));
        assert!(is_frame(1, What::Ended(Ended::PeerLeft)));
        assert!(!is_frame(1, What::Ended(Ended::PeerLeft)), "it is over");
        assert!(is_frame(4, invited(Kind::LargeMessage, false)));
        assert!(!is_frame(4, What::Ended(Ended::MediaFailed { why: "broke".into() })), "that is news");
    }
}
