//! Later offers in a session that stands, and their answers (RFC 3264 8).

use super::answer::reject;
use super::cema::Half;
use super::judge::{examine, is_secured};
use super::offer::protocol;
use super::parse::parse;
use super::setup::{answer_role, offerer_role};
use super::write::Lines;
use super::{
    Capabilities, Connection, Judged, Local, Media, Offered, Refusal, Role, Session, Setup, Stream, Unfit,
};
use parlour_msrp::uri::MsrpPath;

/// What is on in a session before a later offer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing<'s> {
    /// The stream for messages.
    pub chat: Option<&'s Stream>,
    /// The files that are being transferred.
    pub files: &'s [&'s Stream],
}

/// Judges a later offer. `before` counts the lines of our last description, `standing` is what is on. Files that are new
/// are in [`Judged::files`] together with those that stand. `None` means that the offer leaves no stream on: answer it
/// with [`answer_disabled`].
///
/// # Errors
/// It has fewer lines than before, or what it makes of the standing chat is not acceptable: all stays as it is.
//= IM D-55
pub fn judge_again(
    offer: &Session,
    before: usize,
    standing: Standing<'_>,
    ours: &Capabilities,
) -> Result<Option<Judged>, Refusal> {
    // RFC 3264 8: a line is never taken away, only disabled.
    if offer.media.len() < before {
        return Err(Refusal::from(&Unfit::Fewer(offer.media.len(), before)));
    }
    let chat = match standing.chat {
        Some(stream) => stand(offer, stream, ours)?,
        None => None,
    };
    let secured = is_secured(offer, ours);
    let kept = chat.as_ref().map(|stream| stream.line);
    let mut judged = Judged { lines: Vec::with_capacity(offer.media.len()), chat, files: Vec::new() };
    for (line, media) in offer.media.iter().enumerate() {
        let role = |said, tls| answer_role(said, ours, tls);
        let file = standing.files.iter().find(|stream| stream.line == line);
        let verdict = match (file, examine(offer, line, media, ours, Half::Offer, role)) {
            _ if kept == Some(line) => None,
            _ if standing.chat.is_some_and(|stream| stream.line == line) => Some(Unfit::Disabled),
            (_, Err(unfit)) => Some(unfit),
            // A transfer that goes on stays as it was agreed on; RFC 5547 8.1: another id is another transfer.
            (Some(file), Ok(again)) if is_same_transfer(file, &again) => {
                //= IM D-41
                // RFC 5547 8.1: one name does not mean two files.
                let selector = |stream: &Stream| stream.file.as_ref().map(|file| file.selector.clone());
                let same = selector(file).zip(selector(&again)).is_some_and(|(one, other)| one.fits(&other));
                if !same {
                    Some(Unfit::FileRefused("its file-transfer-id is another file's"))
                } else if same_path(&file.path, &again.path) {
                    judged.take((*file).clone())
                } else {
                    Some(Unfit::FileRefused("its transfer has begun on another path"))
                }
            }
            //= IM D-22
            (_, Ok(stream)) if secured && !stream.tls && stream.file.is_none() => Some(Unfit::Downgrade),
            (_, Ok(stream)) => judged.take(stream),
        };
        judged.lines.push(verdict);
    }
    let is_on = judged.streams().next().is_some();
    Ok(is_on.then_some(judged))
}

/// Whether two streams are for one transfer of one file.
pub fn is_same_transfer(one: &Stream, other: &Stream) -> bool {
    match (&one.file, &other.file) {
        (Some(one), Some(other)) => one.transfer_id == other.transfer_id,
        (_, _) => false,
    }
}

/// What the offer makes of the stream that is on; `None` if it disables it.
fn stand(offer: &Session, stream: &Stream, ours: &Capabilities) -> Result<Option<Stream>, Refusal> {
    let Some(media) = offer.media.get(stream.line) else { return Ok(None) };
    let path = media.attribute("path").and_then(|path| MsrpPath::parse(path.trim()).ok());
    let stays = path.is_some_and(|path| same_path(&path, &stream.path));
    let role = |said, tls| match said {
        // Who has connected need not change it.
        Some(Setup::Actpass) if stays => Some(stream.role),
        said => answer_role(said, ours, tls),
    };
    match examine(offer, stream.line, media, ours, Half::Offer, role) {
        //= IM D-22
        Ok(new) if stream.tls && !new.tls => Err(Refusal::from(&Unfit::Downgrade)),
        Ok(new) => Ok(Some(new)),
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

/// Our own offer in a session whose streams are on (RFC 3261 14.2): the lines of our last description, in their places.
/// `chat` is the line of the chat and `files` those of the files that are on: our ends are as they were. The others have
/// port 0.
pub fn offer_again(
    before: &Session,
    chat: Option<usize>,
    files: &[usize],
    local: &Local,
    ours: &Capabilities,
) -> Offered {
    let path = local.path(Role::Passive).into_owned();
    // RFC 6135 4.2.2: an offer is never passive, and actpass needs a port that listens.
    let listens = ours.can_listen(local.is_secure()) && ours.reachable && local.can_listen();
    let setup = if local.is_relayed() || listens { Setup::Actpass } else { Setup::Active };
    let cema = ours.offers_cema(local);
    let times = before.times.iter().map(String::as_str);
    let mut lines = Lines::new(local.address, local.session_id, local.version, times);
    for (at, media) in before.media.iter().enumerate() {
        if chat == Some(at) {
            lines.stream(&media.media, &media.protocol, &local.told(Role::Passive), setup, cema, ours);
            lines.types(&ours.receivable, ours.max_size);
            // RFC 7701 8: without it, rooms take it that we no longer know them.
            lines.chatroom();
        } else if files.contains(&at) {
            repeat(&mut lines, media, setup, cema);
        } else {
            reject(&mut lines, media);
        }
    }
    let (listed, takes) = (ours.receivable.clone(), ours.max_size);
    Offered { octets: lines.finish(), setup, path, listed, takes, cema }
}

/// A line that stands, once more: who connects is the one thing that an offer says differently from an answer.
fn repeat(lines: &mut Lines, media: &Media, setup: Setup, cema: bool) {
    lines.media(&media.media, media.port, &media.protocol, &media.formats);
    if let Some(Connection { net_type, address_type, address }) = &media.connection {
        lines.connection(net_type, address_type, address);
    }
    for attribute in &media.attributes {
        match &attribute.value {
            _ if !cema && attribute.name.eq_ignore_ascii_case("msrp-cema") => {}
            Some(_) if attribute.name.eq_ignore_ascii_case("setup") => lines.attribute("setup", setup.text()),
            Some(value) => lines.attribute(&attribute.name, value),
            None => lines.flag(&attribute.name),
        }
    }
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
    let role = |said, _| offerer_role(offered.setup, said);
    // D-22: each line was offered with TLS or without, and stays what it was.
    let own = parse(&offered.octets).ok().and_then(|own| own.media.into_iter().nth(line));
    let secure = own.is_some_and(|own| own.protocol.eq_ignore_ascii_case(protocol(true)));
    match examine(answer, line, media, ours, Half::Answer { cema: offered.cema }, role) {
        Ok(stream) if stream.tls != secure => Err(Refusal::from(&Unfit::Downgrade)),
        Ok(stream) => Ok(Some(Stream { listed: offered.listed.clone(), takes: offered.takes, ..stream })),
        Err(unfit) => Err(Refusal::from(&unfit)),
    }
}
