//! `parlour send --file` and `parlour files --resume`: files, how far they are, and whether they arrived.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use parlour_proto::event::{Ended, FileNews, FileStop, What};
use parlour_proto::io::FileId;
use parlour_proto::text;

use crate::agent::{Controls, Told};
use crate::command::{Asked, Command};
use crate::line::{end, stopped};
use crate::send::{NO_ANSWER, NOT_ACKNOWLEDGED, REFUSED, not_begun, unsent};
use crate::speed::{Track, progress};
use crate::{explain, log};

/// How often the line that shows how far things are is drawn anew.
const GLANCE: Duration = Duration::from_millis(200);

/// How long we wait for the end of the session when nothing is on its way any more.
const PARTING: Duration = Duration::from_secs(2);

/// One file on its way.
struct Going {
    sends: bool,
    name: String,
    size: u64,
    octets: u64,
    fate: Option<Result<(), FileStop>>,
    /// Where it lies, if it came in.
    path: Option<String>,
}

/// The story of files: exit code and sentence.
pub(crate) async fn tell(controls: Controls, to: &str, command: Command) -> (u8, String) {
    let Controls { commands, mut told, stop, .. } = controls;
    let to = text::neutral(to);
    let resumes = matches!(command, Command::ResumeFile { .. });
    let mut files = BTreeMap::<FileId, Going>::new();
    let mut over = None;
    let mut stood = false;
    let mut meter = Meter::new();
    if commands.send(Asked { id: None, command }).await.is_err() {
        return (1, "Not sent: the program was ended first.".to_owned());
    }
    loop {
        let heard = match stood && is_over(&files) {
            // A peer that does not answer our BYE any more changes nothing.
            true => tokio::time::timeout(PARTING, told.hear()).await.unwrap_or(None),
            false => told.hear().await,
        };
        let Some(told) = heard else { break };
        let happening = match told {
            Told::Event(happening) => happening,
            Told::Outcome(answer) => match answer.what {
                Err(why) => {
                    over = Some(match resumes {
                        true => (1, format!("It does not go on: {why}.")),
                        false => (not_begun(&why), format!("Not sent: {why}.")),
                    });
                    break;
                }
                Ok(_) => continue,
            },
            Told::Trouble(what) => {
                log::say(&what);
                continue;
            }
            Told::Said { .. } | Told::Paged { .. } | Told::Missed { .. } => continue,
        };
        let what = happening.event.what;
        if let What::Explain(why) = &what {
            log::say(&explain::line(why));
        }
        stood |= matches!(what, What::Established { .. });
        if let What::Ended(why) = what {
            over = Some(sum_up(&to, &why, stood, files.values()));
            break;
        }
        if let What::File { file, news } = what {
            note(&mut files, file, news);
            if let (Some(path), Some(going)) = (happening.file, files.get_mut(&file)) {
                going.path = Some(path);
            }
            meter.show(files.values());
        }
    }
    meter.clear();
    stop.notify_one();
    // The agent ends when it has left; what it still tells is not waited for.
    drop(told);
    // Who ends the program while a peer does not answer our BYE knows already what became of the files.
    let known = stood && is_over(&files);
    over.unwrap_or_else(|| match known {
        true => sum(&to, files.values()),
        false => (NO_ANSWER, format!("Not sent to {to}: the program was ended first.")),
    })
}

/// Whether the fate of all files is known.
fn is_over(files: &BTreeMap<FileId, Going>) -> bool {
    !files.is_empty() && files.values().all(|going| going.fate.is_some())
}

/// Takes in what is new of a file.
fn note(files: &mut BTreeMap<FileId, Going>, file: FileId, news: FileNews) {
    match news {
        FileNews::Offered(info) | FileNews::Begun(info) => {
            let selector = &info.about.selector;
            let name = selector.name.clone().unwrap_or_default();
            let (size, octets) = (selector.size.unwrap_or(0), info.about.skipped());
            let sends = info.sends;
            files.entry(file).or_insert(Going { sends, name, size, octets, fate: None, path: None });
        }
        FileNews::Moved { octets, .. } => {
            files.entry(file).and_modify(|going| going.octets = octets);
        }
        FileNews::Done => {
            files.entry(file).and_modify(|going| {
                (going.octets, going.fate) = (going.size, Some(Ok(())));
            });
        }
        FileNews::Stopped(stop) => {
            files.entry(file).and_modify(|going| going.fate = Some(Err(stop)));
        }
        FileNews::Whole { .. } => {}
    }
}

/// The session is over.
fn sum_up<'g>(to: &str, why: &Ended, stood: bool, files: impl Iterator<Item = &'g Going>) -> (u8, String) {
    if !stood {
        return unsent(to, why, false);
    }
    let (code, sentence) = sum(to, files);
    let usual = matches!(why, Ended::Left | Ended::PeerLeft);
    (code, if code == 0 || usual { sentence } else { format!("{sentence} {}.", end(why)) })
}

/// What became of all files.
fn sum<'g>(to: &str, files: impl Iterator<Item = &'g Going>) -> (u8, String) {
    let (mut code, mut sentences) = (0, Vec::new());
    for going in files {
        let name = text::neutral_within(&going.name, 80);
        if !going.sends {
            let path = going.path.as_deref().unwrap_or("nowhere");
            let (this, sentence) = match &going.fate {
                Some(Ok(())) => (0, format!("You have {name:?}: it lies in {path}.")),
                Some(Err(FileStop::Declined)) => (REFUSED, format!("{to} does not give {name:?}.")),
                Some(Err(stop)) => {
                    (NOT_ACKNOWLEDGED, format!("You do not have {name:?}: {}.", stopped(stop)))
                }
                None => (NOT_ACKNOWLEDGED, format!("You do not have {name:?}: the session is over.")),
            };
            code = code.max(this);
            sentences.push(sentence);
            continue;
        }
        match &going.fate {
            Some(Ok(())) => sentences.push(format!("{to} has {name:?}.")),
            Some(Err(stop)) => {
                let this = if *stop == FileStop::Declined { REFUSED } else { NOT_ACKNOWLEDGED };
                code = code.max(this);
                sentences.push(format!("{to} does not have {name:?}: {}.", stopped(stop)));
            }
            None => {
                code = code.max(NOT_ACKNOWLEDGED);
                sentences.push(format!("{to} does not have {name:?}: the session is over."));
            }
        }
    }
    (code, sentences.join(" "))
}

/// A line on a terminal.
struct Meter {
    shows: bool,
    track: Track,
    drawn: Option<Instant>,
}

impl Meter {
    fn new() -> Meter {
        Meter { shows: io::stderr().is_terminal(), track: Track::default(), drawn: None }
    }

    fn show<'g>(&mut self, files: impl Iterator<Item = &'g Going>) {
        let now = Instant::now();
        let (size, octets) = files
            .fold((0_u64, 0_u64), |sum, it| (sum.0.saturating_add(it.size), sum.1.saturating_add(it.octets)));
        let speed = self.track.look(now, octets, Some(size));
        if !self.shows || self.drawn.is_some_and(|drawn| now.duration_since(drawn) < GLANCE) {
            return;
        }
        self.drawn = Some(now);
        let line = progress(octets, Some(size), speed);
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }

    fn clear(&self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_files_is_the_exit_code() {
        let going = |fate| Going { sends: true, name: "a\x1bb".into(), size: 1, octets: 1, fate, path: None };
        let code = |fates: Vec<Option<Result<(), FileStop>>>| {
            let files: Vec<Going> = fates.into_iter().map(going).collect();
            sum("sip:b@x", files.iter()).0
        };
        assert_eq!(code(vec![Some(Ok(())), Some(Ok(()))]), 0);
        assert_eq!(code(vec![Some(Ok(())), Some(Err(FileStop::Declined))]), REFUSED);
        assert_eq!(code(vec![Some(Err(FileStop::Corrupt)), Some(Err(FileStop::Declined))]), NOT_ACKNOWLEDGED);
        assert_eq!(code(vec![None, Some(Ok(()))]), NOT_ACKNOWLEDGED);
        let sentence = sum("sip:b@x", [going(Some(Ok(())))].iter()).1;
        assert!(!sentence.contains('\x1b'), "{sentence}");
    }
}
