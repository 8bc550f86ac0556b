//! The answer to an offer (RFC 3264 6, catalogue 3.5).

use super::file::Part;
use super::write::Lines;
use super::{Capabilities, Direction, Judged, Local, Media, Preconditions, Session, Setup, Stream};

/// Our ends of the streams of a session.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'e> {
    /// What the `o=` line says, and our end of the chat.
    pub session: &'e Local,
    /// Our end of each file, in the order of [`Judged::files`].
    pub files: &'e [&'e Local],
}

impl<'e> From<&'e Local> for Ends<'e> {
    fn from(session: &'e Local) -> Self {
        Ends { session, files: &[] }
    }
}

//= IM S-7
//= IM D-30
/// The answer to an offer that was judged acceptable: a line for each of its lines, in order. Our path in each accepted
/// one is [`Local::path`] for the role of its stream. A file for which there is no end is refused.
pub fn answer<'e>(
    offer: &Session,
    judged: &Judged,
    ends: impl Into<Ends<'e>>,
    ours: &Capabilities,
) -> Vec<u8> {
    let Ends { session: local, files } = ends.into();
    // RFC 3264 6: the answer's t= lines are the offer's.
    let times = offer.times.iter().map(String::as_str);
    let mut lines = Lines::new(local.address, local.session_id, local.version, times);
    for (at, media) in offer.media.iter().enumerate() {
        let chat = judged.chat.iter().map(|stream| (stream, local));
        let mut accepted = chat.chain(judged.files.iter().zip(files.iter().copied()));
        match accepted.find(|(stream, _)| stream.line == at) {
            Some((stream, local)) => accept(&mut lines, media, stream, local, ours),
            None => reject(&mut lines, media),
        }
    }
    lines.finish()
}

fn accept(lines: &mut Lines, media: &Media, stream: &Stream, local: &Local, ours: &Capabilities) {
    let (path, setup) = (local.told(stream.role), Setup::from(stream.role));
    lines.stream(&media.media, &media.protocol, &path, setup, stream.cema, ours);
    lines.types(&stream.listed, stream.takes);
    // RFC 7701 8: it is no negotiation; who does not speak of rooms need not hear of them.
    if stream.chatroom.is_some() {
        lines.chatroom();
    }
    lines.direction(stream.direction);
    if let Some(file) = &stream.file {
        let receives = stream.direction == Direction::RecvOnly;
        file.write(lines, if receives { Part::AnswersAndReceives } else { Part::AnswersAndSends });
    }
    //= IM D-35
    // Of grouping only the name is mirrored; BUNDLE and ICE mean nothing for MSRP over TCP.
    if let Some(mid) = &stream.mid {
        lines.attribute("mid", mid);
    }
    Preconditions::of(media).write(lines);
}

//= IM D-41
// RFC 3264 6: a refused line keeps media, protocol and formats, and has port 0.
pub(super) fn reject(lines: &mut Lines, media: &Media) {
    lines.media(&media.media, 0, &media.protocol, &media.formats);
    // RFC 5547 8.3: who refuses a file says which one.
    for attribute in &media.attributes {
        let name = &attribute.name;
        if name.eq_ignore_ascii_case("file-selector") || name.eq_ignore_ascii_case("file-transfer-id") {
            match &attribute.value {
                Some(value) => lines.attribute(name, value),
                None => lines.flag(name),
            }
        }
    }
}
