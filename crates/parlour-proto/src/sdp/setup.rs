//! Who connects (RFC 6135, `a=setup`) and which way messages flow (`a=sendrecv` and the like).

use super::{Capabilities, Media, Session};
use crate::config::ActpassAnswer;

/// What a description says about connecting (RFC 4145 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Its author connects.
    Active,
    /// Its author listens.
    Passive,
    /// Either.
    Actpass,
}

/// What we do ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We connect, and send the first SEND at once (D-14).
    Active,
    /// We wait for the peer's connection.
    Passive,
}

/// Which way messages flow, seen from whoever says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From it.
    SendOnly,
    /// To it.
    RecvOnly,
    /// Not at all: on hold.
    Inactive,
}

impl Setup {
    /// The attribute's value.
    pub const fn text(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::Actpass => "actpass",
        }
    }

    /// What a description says of one of its lines: `Ok(None)` if nothing, `Err` with the value if it is none that
    /// we know.
    pub(super) fn of<'s>(session: &'s Session, media: &'s Media) -> Result<Option<Setup>, &'s str> {
        match session.attribute(media, "setup").map(str::trim) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("active") => Ok(Some(Setup::Active)),
            Some(value) if value.eq_ignore_ascii_case("passive") => Ok(Some(Setup::Passive)),
            Some(value) if value.eq_ignore_ascii_case("actpass") => Ok(Some(Setup::Actpass)),
            //= IM D-11
            // RFC 6135 4.2.1: holdconn is read as if there were no setup at all.
            Some(value) if value.eq_ignore_ascii_case("holdconn") => Ok(None),
            Some(value) => Err(value),
        }
    }
}

impl From<Role> for Setup {
    fn from(role: Role) -> Self {
        match role {
            Role::Active => Setup::Active,
            Role::Passive => Setup::Passive,
        }
    }
}

//= IM D-10
/// Our role when an offer says `offered`; `None` if we cannot take the one that is left to us.
pub(super) fn answer_role(offered: Option<Setup>, ours: &Capabilities, tls: bool) -> Option<Role> {
    let active = ours.connects.then_some(Role::Active);
    let passive = ours.can_listen(tls).then_some(Role::Passive);
    match offered {
        // RFC 4975 8.5: without setup the offerer connects.
        None | Some(Setup::Active) => passive,
        // RFC 6135 4.2.2 forbids it in an offer; servers that follow RFC 4145 send it.
        Some(Setup::Passive) => active,
        Some(Setup::Actpass) => match ours.actpass_answer {
            // RFC 6135 4.2.2: passive if we know that we are not behind a NAT.
            ActpassAnswer::Auto if ours.reachable => passive.or(active),
            ActpassAnswer::Auto | ActpassAnswer::Active => active.or(passive),
            ActpassAnswer::Passive => passive.or(active),
        },
    }
}

/// Our role when we offered `offered` and the answer says `answered`; `None` if that does not fit.
pub(super) fn offerer_role(offered: Setup, answered: Option<Setup>) -> Option<Role> {
    match (offered, answered) {
        (Setup::Actpass | Setup::Passive, Some(Setup::Active)) => Some(Role::Passive),
        (Setup::Active, Some(Setup::Active))
        | (Setup::Passive, None | Some(Setup::Passive | Setup::Actpass)) => None,
        // RFC 6135 5: who does not know setup leaves the connection to the offerer.
        // An answer of actpass is an error of some servers, who then wait (catalogue 7.1c).
        (Setup::Active | Setup::Actpass, None | Some(Setup::Passive | Setup::Actpass)) => Some(Role::Active),
    }
}

impl Direction {
    /// The attribute's name.
    pub const fn text(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    //= IM D-34
    /// The same, seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            Direction::SendRecv | Direction::Inactive => self,
        }
    }

    /// The same, but its author sends nothing.
    #[must_use]
    pub const fn without_sending(self) -> Self {
        match self {
            Direction::SendRecv | Direction::RecvOnly => Direction::RecvOnly,
            Direction::SendOnly | Direction::Inactive => Direction::Inactive,
        }
    }

    /// Whether its author sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether its author receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// What a description says of one of its lines; both ways if nothing (RFC 4566 6).
    pub(super) fn of(session: &Session, media: &Media) -> Direction {
        let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
        media
            .attributes
            .iter()
            .chain(&session.attributes)
            .find_map(|attribute| all.into_iter().find(|it| attribute.name.eq_ignore_ascii_case(it.text())))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::parse;

    fn said(value: &str) -> Result<Option<Setup>, String> {
        let text = format!("v=0\no=- 1 1 IN IP4 a\nm=message 1 TCP/MSRP *\n{value}\n");
        let session = parse(text.as_bytes()).unwrap();
        Setup::of(&session, &session.media[0]).map_err(str::to_owned)
    }

    //= IM D-11 test
    #[test]
    fn holdconn_says_nothing_and_connection_is_ignored() {
        assert_eq!(said("a=setup:holdconn"), Ok(None));
        assert_eq!(said("a=connection:new"), Ok(None));
        assert_eq!(said("a=setup:ACTIVE "), Ok(Some(Setup::Active)));
        assert_eq!(said("a=setup:both"), Err("both".to_owned()));
    }

    //= IM D-10 test
    #[test]
    fn setup_may_stand_at_session_level_and_the_media_level_wins() {
        let text = "v=0\no=- 1 1 IN IP4 a\na=setup:passive\nm=message 1 TCP/MSRP *\nm=message 1 TCP/MSRP *\na=setup:active\n";
        let session = parse(text.as_bytes()).unwrap();
        assert_eq!(Setup::of(&session, &session.media[0]), Ok(Some(Setup::Passive)));
        assert_eq!(Setup::of(&session, &session.media[1]), Ok(Some(Setup::Active)));
    }

    fn role_text(role: Option<Role>) -> &'static str {
        role.map_or("-", |role| Setup::from(role).text())
    }

    //= IM D-10 test
    #[test]
    fn the_matrix_of_answers() {
        use std::fmt::Write as _;
        let mut table = String::from("what we answer; - is a refusal\n\n");
        let policies = [ActpassAnswer::Auto, ActpassAnswer::Active, ActpassAnswer::Passive];
        let offers = [None, Some(Setup::Active), Some(Setup::Passive), Some(Setup::Actpass)];
        writeln!(table, "listens connects reachable policy  | absent   active   passive  actpass").unwrap();
        for bits in 0..8 {
            let (listens, connects, reachable) = (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0);
            for actpass_answer in policies {
                let ours = Capabilities {
                    listens,
                    connects,
                    reachable,
                    actpass_answer,
                    ..crate::sdp::fuzzing::everything()
                };
                let policy = format!("{actpass_answer:?}");
                write!(table, "{listens:<7} {connects:<8} {reachable:<9} {policy:<7} |").unwrap();
                for offer in offers {
                    write!(table, " {:<8}", role_text(answer_role(offer, &ours, false))).unwrap();
                }
                table = table.trim_end().to_owned() + "\n";
            }
        }
        insta::assert_snapshot!(table);
    }

    //= IM D-10 test
    //= IM D-13 test
    #[test]
    fn the_matrix_of_what_follows_our_offer() {
        let role = |offered, answered| role_text(offerer_role(offered, answered));
        let answers = [None, Some(Setup::Active), Some(Setup::Passive), Some(Setup::Actpass)];
        assert_eq!(answers.map(|it| role(Setup::Actpass, it)), ["active", "passive", "active", "active"]);
        assert_eq!(answers.map(|it| role(Setup::Active, it)), ["active", "-", "active", "active"]);
        assert_eq!(answers.map(|it| role(Setup::Passive, it)), ["-", "passive", "-", "-"]);
    }

    //= IM D-34 test
    #[test]
    fn directions() {
        let of = |lines: &str| {
            let text = format!("v=0\no=- 1 1 IN IP4 a\na=recvonly\nm=message 1 TCP/MSRP *\n{lines}");
            let session = parse(text.as_bytes()).unwrap();
            Direction::of(&session, &session.media[0])
        };
        assert_eq!(of(""), Direction::RecvOnly);
        assert_eq!(of("a=SendOnly\n"), Direction::SendOnly);
        assert_eq!(of("a=inactive\n"), Direction::Inactive);
        assert_eq!(of("a=sendrecv\n"), Direction::SendRecv);
        let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
        assert_eq!(all.map(|it| it.reversed().text()), ["sendrecv", "recvonly", "sendonly", "inactive"]);
    }
}
