//! Our own offers, the answers to them, and what we tell of ourselves when nothing is negotiated.

use std::net::IpAddr;

use parlour_msrp::accept::{AcceptTypes, essence};
use parlour_msrp::uri::MsrpUri;

use super::cema::Half;
use super::file::Part;
use super::judge::{examine, wanted_types};
use super::setup::offerer_role;
use super::write::Lines;
use super::{
    Capabilities, Direction, FileAttributes, Local, Preconditions, Refusal, Role, Session, Setup, Stream,
    Unfit,
};

/// An offer of ours: keep it until the answer comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// What to send.
    pub octets: Vec<u8>,
    /// What it says about connecting.
    pub setup: Setup,
    /// Our own path in it: the MSRP session goes by this one.
    pub path: MsrpUri,
    /// What it lists.
    pub listed: AcceptTypes,
    /// The largest message that it says that we take, octets.
    pub takes: u64,
    /// Whether it says that we know CEMA.
    pub cema: bool,
}

//= IM S-1a
//= IM D-13
//= IM D-21
/// An offer of one message stream, with TLS if our end is for it: for an INVITE, or for the 200 to an INVITE without a description.
pub fn offer(local: &Local, ours: &Capabilities) -> Offered {
    offer_under(local, ours, &Preconditions::default())
}

/// An offer under preconditions (RFC 3312 5.1).
pub fn offer_under(local: &Local, ours: &Capabilities, preconditions: &Preconditions) -> Offered {
    let (setup, role) = ours.offered_setup(local);
    let path = local.path(role).into_owned();
    let mut lines = Lines::new(local.address, local.session_id, local.version, std::iter::empty());
    let cema = ours.offers_cema(local);
    lines.stream("message", protocol(local.is_secure()), &local.told(role), setup, cema, ours);
    lines.types(&ours.receivable, ours.max_size);
    lines.chatroom();
    preconditions.write(&mut lines);
    let (listed, takes) = (ours.receivable.clone(), ours.max_size);
    Offered { octets: lines.finish(), setup, path, listed, takes, cema }
}

/// Our end of a file in an offer of ours.
#[derive(Debug, Clone, Copy)]
pub struct FileEnd<'f> {
    /// The file.
    pub file: &'f FileAttributes,
    /// Whether we send it, or ask for it.
    pub sends: bool,
    /// Our end.
    pub local: &'f Local,
}

//= IM D-40
//= IM D-42
/// An offer of files, a line for each, in a session without chat. `local` says what its `o=` line is.
pub fn offer_files(local: &Local, files: &[FileEnd<'_>], ours: &Capabilities) -> Offered {
    let end = files.first().map_or(local, |first| first.local);
    let (setup, role) = ours.offered_setup(end);
    let mut lines = Lines::new(local.address, local.session_id, local.version, std::iter::empty());
    for FileEnd { file, sends, local } in files {
        let cema = ours.offers_cema(local);
        lines.stream("message", protocol(local.is_secure()), &local.told(role), setup, cema, ours);
        // RFC 4975 8.6: accept-types may not be missing, also where only the peer's list matters.
        let kind = file.selector.media_type.as_deref().map_or("*", essence);
        let listed = if *sends { AcceptTypes::parse(kind, None) } else { wanted_types(kind) };
        lines.types(&listed, ours.max_file);
        lines.direction(if *sends { Direction::SendOnly } else { Direction::RecvOnly });
        file.write(&mut lines, Part::Offers);
    }
    Offered {
        octets: lines.finish(),
        setup,
        path: local.path(role).into_owned(),
        listed: AcceptTypes::default(),
        takes: ours.max_file,
        cema: ours.offers_cema(end),
    }
}

impl Capabilities {
    /// Whether an offer of ours says that we know CEMA: not once it has turned out not to work (RFC 6714 4.2).
    pub(super) fn offers_cema(&self, local: &Local) -> bool {
        self.knows_cema() && !local.without_cema
    }

    /// RFC 6135 4.2.2: actpass if we can be reached, as we can behind a relay, else active; an offer is never passive.
    pub(super) fn offered_setup(&self, local: &Local) -> (Setup, Role) {
        if local.is_relayed() || (self.can_listen(local.is_secure()) && self.reachable) {
            (Setup::Actpass, Role::Passive)
        } else {
            (Setup::Active, Role::Active)
        }
    }
}

/// Reads the answer to an offer of one message stream.
///
/// # Errors
/// The peer refused the stream, or answers what we cannot take.
pub fn read_answer(offered: &Offered, answer: &Session, ours: &Capabilities) -> Result<Stream, Refusal> {
    // RFC 3264 6: as many lines as the offer has, in the same order.
    let [media] = answer.media.as_slice() else {
        return Err(Refusal::from(&Unfit::Lines(answer.media.len())));
    };
    let role = |said, _| offerer_role(offered.setup, said);
    match examine(answer, 0, media, ours, Half::Answer { cema: offered.cema }, role) {
        Ok(stream) if stream.tls != offered.path.is_secure() => Err(Refusal::from(&Unfit::Downgrade)),
        Ok(stream) => Ok(Stream { listed: offered.listed.clone(), takes: offered.takes, ..stream }),
        Err(unfit) => Err(Refusal::from(&unfit)),
    }
}

pub(super) fn protocol(tls: bool) -> &'static str {
    if tls { "TCP/TLS/MSRP" } else { "TCP/MSRP" }
}

/// What we can do, for the 200 to OPTIONS and for a 488. `session_id` is the number in its `o=` line.
pub fn capabilities(address: IpAddr, session_id: u64, ours: &Capabilities) -> Vec<u8> {
    let mut lines = Lines::new(address.to_canonical(), session_id, 0, std::iter::empty());
    // RFC 3264 9: the port is 0, as nothing is set up.
    lines.media("message", 0, protocol(ours.prefers_tls), "*");
    lines.types(&ours.receivable, ours.max_size);
    lines.chatroom();
    lines.finish()
}
