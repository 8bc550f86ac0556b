//! Later offers in a session that stands, and their answers (RFC 3264 8).

use super::answer::reject;
use super::judge::examine;
use super::setup::{answer_role, offerer_role};
use super::write::Lines;
use super::{Capabilities, Judged, Local, Offered, Refusal, Role, Session, Setup, Stream, Unfit};
use parlour_msrp::uri::MsrpPath;

/// Judges a later offer. `before` counts the lines of our last description, `standing` is the stream that is on, if one
/// is. `None` means that the offer leaves no stream on: answer it with [`answer_disabled`].
///
/// # Errors
/// It has fewer lines than before, or what it makes of the standing stream is not acceptable: all stays as it is.
//= IM D-55
pub fn judge_again(
    offer: &Session,
    before: usize,
    standing: Option<&Stream>,
    ours: &Capabilities,
) -> Result<Option<Judged>, Refusal> {
    // RFC 3264 8: a line is never taken away, only disabled.
    if offer.media.len() < before {
        return Err(Refusal::from(&Unfit::Fewer(offer.media.len(), before)));
    }
    let mut chosen = match standing {
        Some(stream) => stand(offer, stream, ours)?,
        None => None,
    };
    let standing = standing.map(|stream| stream.line);
    let mut lines = Vec::with_capacity(offer.media.len());
    for (line, media) in offer.media.iter().enumerate() {
        let role = |said| answer_role(said, ours);
        let verdict = match (&chosen, examine(offer, line, media, ours, role)) {
            (Some(stream), _) if stream.line == line => None,
            (_, _) if standing == Some(line) => Some(Unfit::Disabled),
            (_, Err(unfit)) => Some(unfit),
            (Some(_), Ok(_)) => Some(Unfit::Surplus),
            (None, Ok(stream)) => {
                chosen = Some(stream);
                None
            }
        };
        lines.push(verdict);
    }
    Ok(chosen.map(|stream| Judged { lines, stream }))
}

/// What the offer makes of the stream that is on; `None` if it disables it.
fn stand(offer: &Session, stream: &Stream, ours: &Capabilities) -> Result<Option<Stream>, Refusal> {
    let Some(media) = offer.media.get(stream.line) else { return Ok(None) };
    let path = media.attribute("path").and_then(|path| MsrpPath::parse(path.trim()).ok());
    let stays = path.is_some_and(|path| same_path(&path, &stream.path));
    let role = |said| match said {
        // Who has connected need not change it.
        Some(Setup::Actpass) if stays => Some(stream.role),
        said => answer_role(said, ours),
    };
    match examine(offer, stream.line, media, ours, role) {
        Ok(stream) => Ok(Some(stream)),
        // RFC 3264 8.2: port 0 alone disables a line, whatever media it has now.
        Err(_) if media.port == 0 => Ok(None),
        Err(unfit) => Err(Refusal::from(&unfit)),
    }
}

/// Whether two paths are the same (RFC 4975 6.1).
//= IM D-51
pub fn same_path(one: &MsrpPath, other: &MsrpPath) -> bool {
    one.uris().len() == other.uris().len()
        && one.uris().iter().zip(other.uris()).all(|(one, other)| one.matches(other))
}

/// The answer to an offer that leaves no stream on: all lines are disabled.
pub fn answer_disabled(offer: &Session, local: &Local) -> Vec<u8> {
    let times = offer.times.iter().map(String::as_str);
    let mut lines = Lines::new(local.address, local.session_id, local.version, times);
    offer.media.iter().for_each(|media| reject(&mut lines, media));
    lines.finish()
}

/// Our own offer in a session whose stream is on (RFC 3261 14.2): the lines of our last description, in their places,
/// and our end as it is.
pub fn offer_again(before: &Session, line: usize, local: &Local, ours: &Capabilities) -> Offered {
    let path = local.path(Role::Passive).clone();
    // RFC 6135 4.2.2: an offer is never passive, and actpass needs a port that listens.
    let setup =
        if ours.listens && ours.reachable && local.can_listen() { Setup::Actpass } else { Setup::Active };
    let times = before.times.iter().map(String::as_str);
    let mut lines = Lines::new(local.address, local.session_id, local.version, times);
    for (at, media) in before.media.iter().enumerate() {
        if at == line {
            lines.stream(&media.media, &media.protocol, &path, setup, ours);
            lines.types(&ours.receivable, ours);
            // RFC 7701 8: without it, rooms take it that we no longer know them.
            lines.chatroom();
        } else {
            reject(&mut lines, media);
        }
    }
    Offered { octets: lines.finish(), setup, path, listed: ours.receivable.clone() }
}

/// Reads the answer to [`offer_again`]; `lines` counts those of the offer. `None` means that the peer disabled the
/// stream.
///
/// # Errors
/// It is no answer to that offer, or one that we cannot take.
pub fn read_answer_again(
    offered: &Offered,
    line: usize,
    lines: usize,
    answer: &Session,
    ours: &Capabilities,
) -> Result<Option<Stream>, Refusal> {
    let Some(media) = answer.media.get(line).filter(|_| answer.media.len() == lines) else {
        return Err(Refusal::from(&Unfit::Lines(answer.media.len())));
    };
    if media.port == 0 {
        return Ok(None);
    }
    let role = |said| offerer_role(offered.setup, said);
    match examine(answer, line, media, ours, role) {
        Ok(stream) => Ok(Some(Stream { listed: offered.listed.clone(), ..stream })),
        Err(unfit) => Err(Refusal::from(&unfit)),
    }
}
