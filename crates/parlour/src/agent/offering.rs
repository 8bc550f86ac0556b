//! Files that the user sends, or asks somebody for.

use parlour_msrp::SourceId;
use parlour_proto::client::FileOffer;
use parlour_proto::config::Proxy;
use parlour_proto::io::SessionId;
use parlour_proto::sdp::FileSelector;

use super::Agent;
use super::desk::{Transfer, Why};
use crate::command::Achieved;
use crate::files::{Prepared, ToSend};
use crate::json::file::file_name;
use crate::store::{By, FileRow, FileState, party};

impl Agent {
    //= IM F-14
    pub(super) fn send_files(
        &mut self,
        by: By,
        account: Option<String>,
        to: String,
        via: Option<Proxy>,
        files: Vec<ToSend>,
    ) {
        let ticket = self.desk.disk.prepare(files);
        self.desk.looking.insert(ticket, Why::Send { by, account, to, via });
    }

    /// Asks somebody for a file.
    pub(super) fn fetch_file(
        &mut self,
        account: Option<&str>,
        to: &str,
        via: Option<Proxy>,
        selector: FileSelector,
    ) -> Result<SessionId, String> {
        let account = self.account(account)?;
        let offer = FileOffer { selector, source: None, skip: 0, modified: None, icon: None };
        let offered = self.client.offer_files(self.clock.now(), account, to, via.clone(), vec![offer]);
        let (session, _) = offered.map_err(|why| why.to_string())?;
        if let Some(via) = via {
            self.desk.ways.insert(session, via);
        }
        Ok(session)
    }

    /// They were looked at: the offer leaves.
    pub(super) fn offer_prepared(
        &mut self,
        account: Option<String>,
        to: &str,
        via: Option<Proxy>,
        files: Vec<Prepared>,
    ) -> Result<Achieved, String> {
        let account = self.account(account.as_deref())?;
        let mut offers = Vec::with_capacity(files.len());
        for prepared in &files {
            let source = self.desk.disk.serve(prepared, 0).map_err(|error| error.to_string())?;
            offers.push(FileOffer { icon: prepared.icon.clone(), ..offer_of(prepared, source, 0) });
        }
        let sources: Vec<_> = offers.iter().map(|offer| offer.source).collect();
        let offered = self.client.offer_files(self.clock.now(), account, to, via.clone(), offers);
        if offered.is_err() {
            sources.iter().flatten().for_each(|source| self.desk.disk.unserve(*source));
        }
        let (session, ids) = offered.map_err(|why| why.to_string())?;
        for ((file, prepared), source) in ids.into_iter().zip(&files).zip(sources) {
            let id = file_name(self.store.run(), file);
            let row = FileRow {
                id: id.clone(),
                time: self.clock.now().unix,
                account: self.address(account).to_string(),
                peer: party(to),
                address: to.to_owned(),
                incoming: false,
                name: Some(prepared.name.clone()),
                content_type: Some(prepared.media_type.to_owned()),
                size: Some(prepared.size),
                hashes: prepared.hashes.clone(),
                state: FileState::Offered,
                why: None,
                octets: 0,
                path: Some(prepared.path.clone()),
                modified: prepared.modified,
                via: via.clone(),
                tries: 0,
                attempts: Vec::new(),
                verified: false,
            };
            self.add_file(row);
            self.desk.on.insert(file, Transfer { row: id, source, ..Transfer::default() });
        }
        self.drain();
        Ok(Achieved { session: Some(self.name(session)), ..Achieved::default() })
    }
}

/// What a file of ours is offered, or given, as.
pub(super) fn offer_of(prepared: &Prepared, source: SourceId, skip: u64) -> FileOffer {
    let selector = FileSelector {
        name: Some(prepared.name.clone()),
        media_type: Some(prepared.media_type.to_owned()),
        size: Some(prepared.size),
        hashes: prepared.hashes.clone(),
    };
    let seconds = i64::try_from(prepared.modified.as_secs()).unwrap_or(i64::MAX);
    let modified = chrono::DateTime::from_timestamp(seconds, 0).map(|date| date.to_rfc2822());
    FileOffer { selector, source: Some(source), skip, modified, icon: None }
}
