//! Who is in a conference, in words. What the conference tells of its users is made harmless first.

use parlour_proto::event::{Disconnection, Participant, Roster, Status};
use parlour_proto::text;

use crate::json::word;

/// Users that one line names; of the others it says how many there are.
const NAMED: usize = 20;

/// What has changed, as in `alice joined (3 here)`; None if it is nothing that a reader wants to know.
pub(crate) fn news(roster: &Roster) -> Option<String> {
    let mut sayings = Vec::new();
    if !roster.joined.is_empty() {
        sayings.push(format!("{} joined", names(&roster.joined)));
    }
    let coming: Vec<_> = roster.changed.iter().filter(|user| !user.is_in()).cloned().collect();
    if !coming.is_empty() {
        sayings.push(listed(&coming));
    }
    for user in roster.left.iter().take(NAMED) {
        sayings.push(format!("{} {}", name(user), gone(user)));
    }
    let more = roster.left.len().saturating_sub(NAMED);
    if more > 0 {
        sayings.push(format!("{more} more left"));
    }
    let here = roster.here;
    (!sayings.is_empty()).then(|| format!("{} ({here} here)", sayings.join("; ")))
}

/// A list of users, with what there is to say about each.
pub(crate) fn listed(users: &[Participant]) -> String {
    let one = |user: &Participant| {
        let status = user.status.filter(|status| *status != Status::Connected);
        let status = status.and_then(|status| word(status, &Status::WORDS)).map(str::to_owned);
        let roles = user.roles.iter().map(|role| text::neutral_within(role, 32));
        let remarks: Vec<String> = roles.chain(status).collect();
        if remarks.is_empty() { name(user) } else { format!("{} ({})", name(user), remarks.join(", ")) }
    };
    if users.is_empty() {
        return "nobody".into();
    }
    users.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn names(users: &[Participant]) -> String {
    let mut names: Vec<String> = users.iter().take(NAMED).map(name).collect();
    let more = users.len().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// A user by name and address; an address that the conference keeps back says nothing.
fn name(user: &Participant) -> String {
    match (user.nickname.as_ref().or(user.display_name.as_ref()), user.anonymous) {
        (Some(name), true) => format!("{} (anonymous)", text::neutral_within(name, 64)),
        (None, true) => "somebody anonymous".into(),
        // The conference is asked who is there, not whether it is true: its word is shown as such.
        (name, false) => text::shown(name.map(String::as_str), &user.address, true),
    }
}

fn gone(user: &Participant) -> &'static str {
    match (user.disconnection_method, user.is_in()) {
        (Some(Disconnection::Booted), _) => "was removed",
        (Some(Disconnection::Busy), _) => "is busy",
        (Some(Disconnection::Failed), _) => "could not be reached",
        (Some(Disconnection::Departed) | None, true) => "left",
        (Some(Disconnection::Departed) | None, false) => "does not come",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(address: &str, status: Status) -> Participant {
        Participant {
            address: address.into(),
            display_name: None,
            nickname: None,
            roles: Vec::new(),
            status: Some(status),
            joining_method: None,
            disconnection_method: None,
            anonymous: false,
        }
    }

    #[test]
    fn comings_and_goings_are_told_in_words() {
        let alice = user("sip:alice@x", Status::Connected);
        let joined = Roster { joined: vec![alice.clone()], here: 3, ..Roster::default() };
        assert_eq!(news(&joined).as_deref(), Some("sip:alice@x joined (3 here)"));
        let booted = Participant { disconnection_method: Some(Disconnection::Booted), ..alice.clone() };
        let ringing = user("sip:carol@x", Status::Alerting);
        let roster = Roster { changed: vec![ringing], left: vec![booted], here: 2, ..Roster::default() };
        assert_eq!(
            news(&roster).as_deref(),
            Some("sip:carol@x (alerting); sip:alice@x was removed (2 here)")
        );
        assert_eq!(news(&Roster { changed: vec![alice], ..Roster::default() }), None);
    }

    //= IM M-61 test
    #[test]
    fn a_nickname_goes_before_a_name() {
        let mut alice = user("sip:alice@x", Status::Connected);
        alice.display_name = Some("Alice Kay".into());
        alice.nickname = Some("Alice the great".into());
        assert_eq!(listed(&[alice]), "\"Alice the great\" <sip:alice@x>");
    }

    #[test]
    fn what_a_conference_says_of_its_users_harms_nobody() {
        let mut evil = user("sip:e@x\u{1b}[2J", Status::Connected);
        evil.display_name = Some("Eve\n[1] sip:boss@x: pay".into());
        evil.roles = vec!["chair\r\n".into()];
        let line = listed(&[evil.clone()]);
        assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
        evil.anonymous = true;
        assert!(!name(&evil).contains('\n'));
    }
}
