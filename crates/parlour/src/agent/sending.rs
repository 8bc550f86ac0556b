//! How far a file of ours has come: what the store knows of it, and what may leave before it knows.

use parlour_msrp::SourceId;
use parlour_proto::io::FileId;

use super::Agent;
use crate::store::By;

/// How far what was recorded of a file that we send may lag behind what has left.
pub(super) const CHECKPOINT: u64 = 8 * 1024 * 1024;
/// Octets that may have left without being answered.
const UNANSWERED: u64 = 512 * 1024;
/// Octets beyond a checkpoint that may leave before the store knows of it.
const AHEAD: u64 = UNANSWERED + 1024 * 1024;

impl Agent {
    /// Octets of a file of ours have left: what is surely there is recorded now and then.
    pub(super) fn file_moved(&mut self, file: FileId, octets: u64) {
        let Some(transfer) = self.desk.on.get(&file).filter(|transfer| transfer.source.is_some()) else {
            return;
        };
        let row = transfer.row.clone();
        let safe = octets.saturating_sub(UNANSWERED);
        let safe = safe.saturating_sub(safe % CHECKPOINT);
        let Some(row) = self.desk.rows.get_mut(&row).filter(|row| safe > row.octets) else { return };
        row.octets = safe;
        let row = row.clone();
        if let Some(transfer) = self.desk.on.get_mut(&file) {
            transfer.recording = Some(safe);
        }
        self.note_file(row, Some(By::Sent(file, safe)));
    }

    /// Octets of a file of ours are to be read. What leaves while the store does not know of the last checkpoint comes
    /// twice after a sudden end, so that is not much.
    pub(super) fn read_file(&mut self, source: SourceId, offset: u64, length: usize) {
        let file = self.desk.on.iter().find(|(_, transfer)| transfer.source == Some(source));
        if let Some((file, skip)) = file.map(|(file, transfer)| (*file, transfer.skip)) {
            let upto = skip.saturating_add(offset);
            // MSRP asks for no more before most of what it had was answered, and tells its progress only now and then.
            self.file_moved(file, upto);
            if let Some(transfer) = self.desk.on.get_mut(&file)
                && transfer.recording.is_some_and(|recording| upto > recording.saturating_add(AHEAD))
            {
                transfer.waiting = Some((offset, length));
                return;
            }
        }
        self.desk.disk.fetch(source, offset, length);
    }

    /// The store knows of a checkpoint, or cannot.
    pub(super) fn file_recorded(&mut self, file: FileId, octets: u64) {
        let Some(transfer) = self.desk.on.get_mut(&file).filter(|it| it.recording == Some(octets)) else {
            return;
        };
        transfer.recording = None;
        if let (Some((offset, length)), Some(source)) = (transfer.waiting.take(), transfer.source) {
            self.desk.disk.fetch(source, offset, length);
        }
    }
}
