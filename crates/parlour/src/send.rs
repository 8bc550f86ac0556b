//! `parlour send`: one message, and whether it arrived.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use parlour_proto::client::MAX_FILES;
use parlour_proto::config::{MediaSecurity, Proxy};
use parlour_proto::event::{Ended, Progress, What};
use parlour_proto::io::{Service, Transport};
use parlour_proto::sip::uri::Uri;
use parlour_proto::text;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::agent::{Agent, Controls, Setup, Told};
use crate::cli::{Send, Way};
use crate::command::{Asked, Command, First};
use crate::config::Settings;
use crate::files::ToSend;
use crate::line::{end, who};
use crate::net::Listen;
use crate::room::Room;
use crate::run::{apply_account, local_address, runtime, settings};
use crate::store::{self, Answer, OpenFault, Store};
use crate::{Fault, ending, explain, log, secured, send_files};

/// What this machine or its user has to mend: asking again would not help.
const OURS: u8 = 1;
/// The other side refused or declined.
pub(crate) const REFUSED: u8 = 3;
/// Nobody answered, or there was no way there.
pub(crate) const NO_ANSWER: u8 = 4;
/// The session stood, but the message was not acknowledged.
pub(crate) const NOT_ACKNOWLEDGED: u8 = 5;
/// RFC 3261 16.6: proxies give up an INVITE that rings after three minutes or more.
const PATIENCE: Duration = Duration::from_secs(190);

/// Octets of a message that is read from stdin.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Sends, waits, leaves; one sentence on stdout says what happened, and the exit code says it to programs.
pub(crate) fn send(flags: Send) -> Result<ExitCode, Fault> {
    let mut flags = flags;
    if flags.file.len() > MAX_FILES {
        let usage = format!(
            "{} files are too many for one session: send up to {MAX_FILES} at a time",
            flags.file.len()
        );
        log::say(&format!("parlour: {usage}"));
        return Ok(ExitCode::from(2));
    }
    if flags.text.as_deref() == Some("-") {
        flags.text = Some(typed()?);
    }
    let settings = settings(flags.way.config.as_deref())?;
    let store = keep(flags.data.as_deref().or(settings.data.as_deref()), settings.disk_reserve)?;
    let (to, via) = (flags.to.clone(), flags.via.clone());
    if flags.file.is_empty() {
        return errand(&flags.way, (&to, via.as_ref()), settings, store, |controls| tell(controls, &flags));
    }
    if flags.icon.len() > flags.file.len() {
        return Err("there are more --icon than --file: each belongs to the file of the same place".into());
    }
    let icons = flags.icon.into_iter().map(Some).chain(std::iter::repeat(None));
    let files = flags.file.into_iter().zip(icons).map(|(path, icon)| ToSend { path, icon }).collect();
    let command = Command::SendFiles { account: None, to: to.clone(), via: via.clone(), files };
    errand(&flags.way, (&to, via.as_ref()), settings, store, |controls| {
        send_files::tell(controls, &to, command)
    })
}

/// Has an agent do one thing; its story ends with an exit code and a sentence.
pub(crate) fn errand<F: Future<Output = (u8, String)>>(
    way: &Way,
    (to, via): (&str, Option<&Proxy>),
    mut settings: Settings,
    store: (Store, UnboundedReceiver<Answer>),
    story: impl FnOnce(Controls) -> F,
) -> Result<ExitCode, Fault> {
    let uri = Uri::parse(to.as_bytes())
        .map_err(|_| format!("{to:?} is not a SIP address: write it as sip:user@host"))?;
    let configured = settings.proto.accounts.first().and_then(|account| account.proxy.as_ref());
    let hop = via.or(configured).map_or(uri.host(), |proxy| &proxy.host);
    let local = local_address(Some(hop.trim_start_matches('[').trim_end_matches(']')));
    apply_account(&mut settings, way.address.clone(), None, &way.account, Some(&local.to_string()))?;
    if way.ca.is_some() {
        settings.tls.ca.clone_from(&way.ca);
    }
    let place = |service, transport| Listen { service, transport, host: local.to_string(), port: 0 };
    let msrp = match settings.proto.media_security {
        MediaSecurity::AllowPlain => Transport::Tcp,
        MediaSecurity::PreferTls | MediaSecurity::RequireTls => Transport::Tls,
    };
    let listen = vec![place(Service::Sip, Transport::Udp), place(Service::Msrp, msrp)];
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let setup = Setup {
            settings,
            listen,
            store,
            tap: None,
            echo: false,
            shows: false,
            resumes: false,
            explain: way.explain,
        };
        let (agent, controls) = Agent::start(setup)?;
        ending::stop_on_signals(controls.stop.clone())?;
        let ((), (code, sentence)) = tokio::join!(agent.run(), story(controls));
        log::say_out(&sentence);
        Ok(ExitCode::from(code))
    });
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    ended
}

/// The message from stdin.
fn typed() -> Result<String, Fault> {
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| format!("the message cannot be read from stdin: {error}"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LONGEST {
        return Err(format!("the message has more than {LONGEST} octets").into());
    }
    Ok(text)
}

/// Where the message is kept: without a directory of its own the usual one, if no other parlour has it.
fn keep(
    dir: Option<&std::path::Path>,
    reserve: u64,
) -> Result<(Store, UnboundedReceiver<Answer>), OpenFault> {
    let place = dir.map_or_else(store::default_dir, std::path::Path::to_owned);
    match Store::open_within(&place, Room::of(&place, reserve)) {
        Err(fault @ OpenFault::Locked { .. }) if dir.is_none() => {
            tracing::info!(%fault, "the message is not kept in the history");
            Ok(Store::nowhere())
        }
        opened => opened,
    }
}

/// The story of one message: exit code and sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "the story needs only these events")]
async fn tell(controls: Controls, flags: &Send) -> (u8, String) {
    let Controls { commands, mut told, stop, .. } = controls;
    let to = text::neutral(&flags.to);
    let ask = |command| commands.send(Asked { id: None, command });
    let mut outcome = None;
    let (mut begun, mut stood, mut left, mut relayless) = (false, false, false, false);
    let story = async {
        let (content_type, body) =
            ("text/plain".to_owned(), flags.text.clone().unwrap_or_default().into_bytes());
        let (account, to_whom, via) = (None, flags.to.clone(), flags.via.clone());
        let begin = if flags.pager {
            Command::Page { account, to: to_whom, via, message_id: None, content_type, body }
        } else {
            // It is kept from the beginning, whatever becomes of it, and leaves when the session stands.
            let first = Some(First { message_id: None, content_type, body });
            Command::Invite { account, to: to_whom, via, large: flags.large, first }
        };
        let _ = ask(begin).await;
        while let Some(told) = told.hear().await {
            let happening = match told {
                Told::Event(happening) => happening,
                Told::Outcome(answer) => match answer.what {
                    Ok(_) => {
                        begun = true;
                        continue;
                    }
                    // We could not leave a session that has ended meanwhile: that is told, too.
                    Err(_) if begun => continue,
                    Err(why) => return outcome = Some((not_begun(&why), format!("Not sent: {why}."))),
                },
                Told::Trouble(what) => return outcome = Some((1, format!("Not sent: {what}."))),
                Told::Said { .. } | Told::Paged { .. } | Told::Missed { .. } => continue,
            };
            match happening.event.what {
                What::Established { peer, .. } => {
                    stood = true;
                    tracing::info!(peer = %who(&peer), "in session");
                }
                // Outside a session the next hop has it, and nobody leaves anything.
                What::Progress { progress: Progress::Acknowledged, .. } if flags.pager => {
                    return outcome = Some((0, format!("The message to {to} was taken.")));
                }
                What::Progress { progress: Progress::Failed { why }, .. } if flags.pager => {
                    return outcome =
                        Some((unpaged(&why), format!("Not sent to {to}: {}.", text::neutral(&why))));
                }
                What::Progress { progress: Progress::Sent, .. } => left = true,
                // The end of the session follows, and says why.
                What::Progress { progress: Progress::Failed { .. }, .. } if !stood => {}
                What::Progress { progress: Progress::Acknowledged, .. } => {
                    outcome = Some((0, format!("{to} has the message.")));
                    let _ = ask(Command::Leave { session: None }).await;
                }
                What::Progress { progress: Progress::Failed { why }, .. } => {
                    let (why, hint) = (text::neutral(&why), hint(&why, flags.large));
                    let sentence = if left {
                        format!("{to} did not confirm the message: {why}.{hint}")
                    } else {
                        format!("Not sent to {to}: {why}.{hint}")
                    };
                    // What was not taken is told twice.
                    outcome.get_or_insert((NOT_ACKNOWLEDGED, sentence));
                    let _ = ask(Command::Leave { session: None }).await;
                }
                What::Ended(why) => {
                    outcome.get_or_insert_with(|| match unsent(&to, &why, stood) {
                        // The account's relay lends us nothing, whomever we call.
                        (_, sentence) if relayless && !stood => (OURS, sentence),
                        other => other,
                    });
                    return;
                }
                What::Explain(why) => log::say(&explain::line(&why)),
                What::RelayFailed { why, required } => {
                    log::say(&secured::relay_failed(&why, required));
                    relayless |= required;
                }
                What::FingerprintChanged { peer, old, new, since, protected } => {
                    log::say(&secured::another_certificate(&peer, &old, &new, since, protected));
                }
                _ => {}
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, story).await.is_ok();
    stop.notify_one();
    // The agent ends when it has left; what it still tells is not waited for.
    drop(told);
    let silence = if in_time { "the program was ended first" } else { "no answer in time" };
    outcome.unwrap_or_else(|| (NO_ANSWER, format!("Not sent to {to}: {silence}.")))
}

/// What to do about a message that is too large.
fn hint(why: &str, is_large: bool) -> &'static str {
    if why.contains("larger than") && !is_large { " Try --large" } else { "" }
}

/// Nothing has left yet: there is no way, which may change, or what was asked for cannot be done.
pub(crate) fn not_begun(why: &str) -> u8 {
    if why.starts_with("there is no way") { NO_ANSWER } else { OURS }
}

/// Why a message outside any session was not taken: it begins with the status if there was an answer.
fn unpaged(why: &str) -> u8 {
    match why.get(..3).and_then(|status| status.parse::<u16>().ok()) {
        Some(408 | 480 | 502..=504) | None => NO_ANSWER,
        Some(_) => REFUSED,
    }
}

/// The session ended before the message was confirmed.
pub(crate) fn unsent(to: &str, why: &Ended, stood: bool) -> (u8, String) {
    let code = match why {
        Ended::Refused { status: 408 | 480 | 502 | 503 | 504, .. } | Ended::NoAnswer => NO_ANSWER,
        Ended::Refused { .. } | Ended::Declined { .. } | Ended::Cancelled { .. } => REFUSED,
        Ended::Left
        | Ended::PeerLeft
        | Ended::NoAck
        | Ended::MediaFailed { .. }
        | Ended::Lost { .. }
        | Ended::Replaced { .. } => {
            if stood {
                NOT_ACKNOWLEDGED
            } else {
                NO_ANSWER
            }
        }
    };
    (code, format!("Not sent to {to}: {}.", end(why)))
}

#[cfg(test)]
mod tests {
    use parlour_proto::client::Misuse;

    use super::*;

    #[test]
    fn the_exit_code_tells_whether_the_session_stood() {
        let code = |why: Ended, stood| unsent("sip:b@x", &why, stood).0;
        assert_eq!(code(Ended::Left, false), NO_ANSWER, "given up while it rang");
        assert_eq!(code(Ended::PeerLeft, true), NOT_ACKNOWLEDGED);
        assert_eq!(code(Ended::Lost { why: "no address".into() }, false), NO_ANSWER);
        let refused =
            |status| Ended::Refused { status, reason: String::new(), warning: None, retry_after: None };
        assert_eq!(code(refused(480), false), NO_ANSWER);
        assert_eq!(code(refused(603), false), REFUSED);
        assert_eq!(not_begun(&Misuse::NoRoute("no address".into()).to_string()), NO_ANSWER);
        let too_large = parlour_msrp::SendError::TooLarge(5).to_string();
        assert!(!hint(&too_large, false).is_empty() && hint(&too_large, true).is_empty());
        assert_eq!(not_begun("it is longer than a MESSAGE may be"), OURS);
        assert_eq!(unpaged("603 Decline"), REFUSED);
        assert_eq!(unpaged("480 Temporarily Unavailable"), NO_ANSWER);
        assert_eq!(unpaged("no answer came in time"), NO_ANSWER);
    }
}
