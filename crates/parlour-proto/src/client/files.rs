//! The verbs for files.

use super::Client;
use crate::config::Proxy;
use crate::event::{FileStop, Icon};
use crate::io::{AccountId, FileId, Now, SessionId};
use crate::verb::{FileAnswer, FileFault, FileOffer, FileRoom, Misuse};

/// Files in one session, at most.
pub const MAX_FILES: usize = 8;

/// Octets of the preview of a file that we send, at most. RFC 5547 8.8: as few as have a meaning. Those of eight files fit
/// into one SIP message as others take it.
pub const MAX_ICON: usize = 16 * 1024;

impl Client {
    /// Invites `to` to a session for files, as [`invite`](Self::invite) does: those that we send, and those that we ask
    /// for. They are told of in the order in which they stand here.
    ///
    /// # Errors
    /// As for [`invite`](Self::invite); or there are no files, or more than eight; or what is said to be a media type is
    /// none; or a preview is no picture, has more than [`MAX_ICON`] octets, or is of a file that we do not send.
    pub fn offer_files(
        &mut self,
        now: Now,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        files: Vec<FileOffer>,
    ) -> Result<(SessionId, Vec<FileId>), Misuse> {
        self.core.now = now;
        if files.is_empty() || files.len() > MAX_FILES {
            return Err(Misuse::Unsendable("a session is for one to eight files".into()));
        }
        files.iter().try_for_each(|file| file.selector.can_be_written()).map_err(Misuse::Unsendable)?;
        if files
            .iter()
            .any(|file| file.icon.as_ref().is_some_and(|icon| !is_icon(icon, file.source.is_some())))
        {
            let why = format!("a preview is a picture of 1 to {MAX_ICON} octets, of a file that is sent");
            return Err(Misuse::Unsendable(why));
        }
        let session = self.reserve();
        self.core.invite_for(session, account, to, via, files, None).map(|files| (session, files))
    }

    /// Accepts these files of an invitation, and the chat that it may offer besides. A file that is not named is refused.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept); or a file is none of the invitation's, or not the one that is asked for; or what is
    /// said to be its media type is none.
    pub fn accept_files(
        &mut self,
        now: Now,
        session: SessionId,
        files: Vec<FileAnswer>,
    ) -> Result<(), Misuse> {
        self.core.now = now;
        let mut served = files.iter().filter_map(|file| file.serve.as_ref());
        served.try_for_each(|(selector, _)| selector.can_be_written()).map_err(Misuse::Unsendable)?;
        self.core.accept_files(session, files)
    }

    /// Declines a file, or gives its transfer up, in either direction. The last file of an invitation takes it along.
    ///
    /// # Errors
    /// Its transfer is over, or never was.
    pub fn cancel_file(&mut self, now: Now, file: FileId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.cancel_file(file)
    }

    /// The same, for a reason that is not the user's: [`FileStop::Failed`] tells it.
    ///
    /// # Errors
    /// As for [`cancel_file`](Self::cancel_file).
    pub fn fail_file(&mut self, now: Now, file: FileId, why: String) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.give_up_file(file, FileStop::Failed { why })
    }

    /// Sets for how many octets of files there is room: a larger file is asked about, whatever
    /// [`Config::auto_accept_file`](crate::config::Config::auto_accept_file) says.
    pub fn set_file_room(&mut self, room: FileRoom) {
        self.core.file_room = room;
    }

    /// Says what became of a file that is here as a whole ([`FileNews::Whole`](crate::event::FileNews::Whole)): only now
    /// its last response leaves.
    ///
    /// # Errors
    /// Its transfer is over meanwhile.
    pub fn file_kept(
        &mut self,
        now: Now,
        file: FileId,
        outcome: Result<(), FileFault>,
    ) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.file_kept(file, outcome)
    }
}

/// Whether it is a preview that can be sent: what stands in a header row is a token on each side of the slash.
fn is_icon(icon: &Icon, sends: bool) -> bool {
    let subtype = icon.media_type.strip_prefix("image/").unwrap_or_default();
    let is_token = !subtype.is_empty()
        && subtype.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.+_".contains(&octet));
    sends && is_token && (1..=MAX_ICON).contains(&icon.octets.len())
}
