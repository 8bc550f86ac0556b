//! The answer to an offer (RFC 3264 6, catalogue 3.5).

use super::write::Lines;
use super::{Capabilities, Judged, Local, Media, Preconditions, Session, Setup};

//= IM S-7
//= IM D-30
/// The answer to an offer that was judged acceptable: a line for each of its lines, in order. Our path in it is
/// [`Local::path`] for the role of `judged.stream`.
pub fn answer(offer: &Session, judged: &Judged, local: &Local, ours: &Capabilities) -> Vec<u8> {
    // RFC 3264 6: the answer's t= lines are the offer's.
    let times = offer.times.iter().map(String::as_str);
    let mut lines = Lines::new(local.address, local.session_id, local.version, times);
    for (at, media) in offer.media.iter().enumerate() {
        if at == judged.stream.line {
            accept(&mut lines, media, judged, local, ours);
        } else {
            reject(&mut lines, media);
        }
    }
    lines.finish()
}

fn accept(lines: &mut Lines, media: &Media, judged: &Judged, local: &Local, ours: &Capabilities) {
    let stream = &judged.stream;
    lines.stream(&media.media, &media.protocol, local.path(stream.role), Setup::from(stream.role), ours);
    lines.types(&stream.listed, ours);
    // RFC 7701 8: it is no negotiation; who does not speak of rooms need not hear of them.
    if stream.chatroom.is_some() {
        lines.chatroom();
    }
    lines.direction(stream.direction);
    //= IM D-35
    // Of grouping only the name is mirrored; BUNDLE and ICE mean nothing for MSRP over TCP.
    if let Some(mid) = &stream.mid {
        lines.attribute("mid", mid);
    }
    Preconditions::of(media).write(lines);
}

// RFC 3264 6: a refused line keeps media, protocol and formats, and has port 0.
pub(super) fn reject(lines: &mut Lines, media: &Media) {
    lines.media(&media.media, 0, &media.protocol, &media.formats);
    // RFC 5547 8.3: who refuses a file says which one.
    for name in ["file-selector", "file-transfer-id"] {
        if let Some(value) = media.attribute(name) {
            lines.attribute(name, value);
        }
    }
}
