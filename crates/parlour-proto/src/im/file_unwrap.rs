//! Files that come wrapped in `message/cpim` (RFC 5547 8.7): the wrapping is taken off as the octets pass, so that what is
//! kept, counted and gone on with is the file alone.

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::{Body, SpoolId};

use crate::event::FileStop;
use crate::im::Core;
use crate::im::files::{FileTransfer, Stage};
use crate::io::Output;
use crate::mime::cpim::{self, CpimFault};
use crate::mime::transfer::Coding;

/// Octets that a wrapping may have: a message that may be wrapped may be larger than its file by that.
pub(crate) const WRAPPING: u64 = 16 * 1024;

/// How far the wrapping of a file is known.
#[derive(Debug, Default)]
pub(crate) enum Wrap {
    /// Nothing has come of it.
    #[default]
    Unknown,
    /// Its beginning, which is not whole.
    Begun(Vec<u8>),
    /// There is none, or it is off.
    Off,
}

impl Core {
    /// Octets of a message on their way to where it is kept: of a file, without what it is wrapped in.
    pub(crate) fn spool(&mut self, spool: SpoolId, offset: u64, bytes: Vec<u8>) {
        self.claim(spool);
        let file = self.msrp.session_of(spool).and_then(|msrp| self.files.by_msrp(msrp));
        let kind = self.msrp.content_type_of(spool).unwrap_or_default().to_owned();
        let unwrapped = match file.and_then(|file| self.files.get_mut(file)) {
            Some(transfer) => unwrap(transfer, &kind, offset, bytes),
            None => Ok(Some((offset, bytes))),
        };
        match (unwrapped, file) {
            (Ok(Some((offset, bytes))), _) => self.outputs.push_back(Output::Spool { spool, offset, bytes }),
            (Ok(None), _) => {}
            (Err(why), Some(file)) => {
                let _ = self.give_up_file(file, FileStop::Failed { why });
            }
            (Err(_), None) => {}
        }
    }

    /// So many octets of a spool are kept: what was taken off counts with them.
    pub(crate) fn spooled(&mut self, spool: SpoolId, upto: u64) -> u64 {
        let file = self.msrp.session_of(spool).and_then(|msrp| self.files.by_msrp(msrp));
        let off = file.and_then(|file| self.files.get(file)).filter(|transfer| !transfer.sends);
        upto.saturating_add(off.map_or(0, |transfer| transfer.wrapping))
    }
}

/// What goes on of a piece: nothing as long as the wrapping has no end.
fn unwrap(
    transfer: &mut FileTransfer,
    kind: &str,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<Option<(u64, Vec<u8>)>, String> {
    let mut begun = match std::mem::replace(&mut transfer.wrap, Wrap::Off) {
        // What nobody wants any more is passed on, so that it is let go.
        Wrap::Off => return Ok(Some((offset.saturating_sub(transfer.wrapping), bytes))),
        Wrap::Unknown if !is_wrapped(transfer, kind) || transfer.stage != Stage::Running => {
            return Ok(Some((offset, bytes)));
        }
        Wrap::Unknown => Vec::new(),
        Wrap::Begun(begun) => begun,
    };
    if u64::try_from(begun.len()).unwrap_or(u64::MAX) != offset {
        return Err("its wrapping did not come in order".to_owned());
    }
    begun.extend(bytes);
    match open(transfer, &begun, false) {
        Ok(Some(length)) => {
            transfer.wrapping = u64::try_from(length).unwrap_or(u64::MAX);
            Ok(Some((0, begun.split_off(length.min(begun.len())))))
        }
        Ok(None) => {
            transfer.wrap = Wrap::Begun(begun);
            Ok(None)
        }
        Err(why) => Err(why),
    }
}

/// Whether a message of that type is a file in a wrapping, and not the file itself.
fn is_wrapped(transfer: &FileTransfer, kind: &str) -> bool {
    cpim::is_cpim(kind) && !transfer.about.selector.media_type.as_deref().is_some_and(cpim::is_cpim)
}

/// Octets of the wrapping at the beginning; None if it has no end yet.
fn open(transfer: &FileTransfer, octets: &[u8], whole: bool) -> Result<Option<usize>, String> {
    let wrapping = match cpim::parse(octets, whole) {
        Ok(wrapping) => wrapping,
        Err(CpimFault::NeedMore) if !whole => return Ok(None),
        Err(fault) => return Err(fault.to_string()),
    };
    // RFC 3862 4.6
    if let Some(unknown) = wrapping.required_unknown.first() {
        return Err(format!("its wrapping requires {unknown}, which we do not know"));
    }
    // RFC 4975 8.6: what is wrapped has to be listed, too.
    let listed = transfer.stream.as_ref().map_or_else(AcceptTypes::default, |stream| stream.listed.clone());
    if !listed.accepts_inside(cpim::MEDIA_TYPE, &wrapping.content_type) {
        return Err(format!("it came as {}, which was not listed", wrapping.content_type));
    }
    if Coding::of(wrapping.content_head().coding) != Some(Coding::Identity) {
        return Err("its octets are coded in its wrapping, which has no place in MSRP".to_owned());
    }
    Ok(Some(wrapping.body_offset))
}

/// Takes the wrapping off a file that is here.
pub(crate) fn unwrap_whole(transfer: &mut FileTransfer, kind: &str, body: Body) -> Result<Body, String> {
    match body {
        Body::Inline(mut octets) if is_wrapped(transfer, kind) => {
            let length = open(transfer, &octets, true)?.unwrap_or(octets.len());
            octets.drain(..length.min(octets.len()));
            Ok(Body::Inline(octets))
        }
        Body::Spooled { spool, size, mut head } => {
            let off = usize::try_from(transfer.wrapping).unwrap_or(usize::MAX);
            head.drain(..off.min(head.len()));
            Ok(Body::Spooled { spool, size: size.saturating_sub(transfer.wrapping), head })
        }
        body @ Body::Inline(_) => Ok(body),
    }
}
