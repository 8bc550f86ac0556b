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

/// What may be read of a file of ours, as long as the store does not know how far it has come.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How much of it the store is being told to be surely there.
    recording: Option<u64>,
    /// What is to be read once the store knows: offset and length.
    waiting: Option<(u64, usize)>,
}

impl Gate {
    /// Octets up to `octets` have left; `recorded` is what was told to the store before. Returns what it is to be told now.
    fn left(&mut self, octets: u64, recorded: u64) -> Option<u64> {
        let safe = octets.saturating_sub(UNANSWERED);
        let safe = safe.saturating_sub(safe % CHECKPOINT);
        let news = (safe > recorded).then_some(safe);
        self.recording = news.or(self.recording);
        news
    }

    /// Octets from `upto` of the file on are wanted. Returns whether they may be read now; if not, they are remembered.
    fn opens(&mut self, upto: u64, offset: u64, length: usize) -> bool {
        let far = self.recording.is_some_and(|recording| upto > recording.saturating_add(AHEAD));
        if far {
            self.waiting = Some((offset, length));
        }
        !far
    }

    /// The store knows of so many octets, or cannot. Returns what is to be read that had to wait.
    fn recorded(&mut self, octets: u64) -> Option<(u64, usize)> {
        if self.recording != Some(octets) {
            return None;
        }
        self.recording = None;
        self.waiting.take()
    }
}

impl Agent {
    /// Octets of a file of ours have left: what is surely there is recorded now and then.
    pub(super) fn file_moved(&mut self, file: FileId, octets: u64) {
        let Some(transfer) = self.desk.on.get_mut(&file).filter(|transfer| transfer.source.is_some()) else {
            return;
        };
        let Some(row) = self.desk.rows.get_mut(&transfer.row) else { return };
        let Some(safe) = transfer.gate.left(octets, row.octets) else { return };
        row.octets = safe;
        let row = row.clone();
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
            let gate = self.desk.on.get_mut(&file).map(|transfer| &mut transfer.gate);
            if gate.is_some_and(|gate| !gate.opens(upto, offset, length)) {
                return;
            }
        }
        self.desk.disk.fetch(source, offset, length);
    }

    /// The store knows of a checkpoint, or cannot.
    pub(super) fn file_recorded(&mut self, file: FileId, octets: u64) {
        let Some(transfer) = self.desk.on.get_mut(&file) else { return };
        if let (Some((offset, length)), Some(source)) = (transfer.gate.recorded(octets), transfer.source) {
            self.desk.disk.fetch(source, offset, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM D-43 test
    #[test]
    fn a_file_waits_until_the_store_knows_its_checkpoint() {
        let mut gate = Gate::default();
        // Nothing is surely there before its answer.
        assert_eq!(gate.left(CHECKPOINT + UNANSWERED - 1, 0), None);
        assert!(gate.opens(CHECKPOINT + UNANSWERED - 1, 1, 10));
        assert_eq!(gate.left(CHECKPOINT + UNANSWERED, 0), Some(CHECKPOINT));
        assert_eq!(gate.left(CHECKPOINT + UNANSWERED + 1, CHECKPOINT), None, "it is told once");
        // A little more may leave meanwhile, and then no more.
        assert!(gate.opens(CHECKPOINT + AHEAD, 2, 20));
        assert_eq!(gate.recorded(CHECKPOINT - 1), None, "another checkpoint opens nothing");
        assert!(!gate.opens(CHECKPOINT + AHEAD + 1, 3, 30));
        assert_eq!(gate.recorded(CHECKPOINT - 1), None);
        assert_eq!(gate.recorded(CHECKPOINT), Some((3, 30)), "what waited is read");
        assert_eq!(gate.recorded(CHECKPOINT), None);
        assert!(gate.opens(u64::MAX, 4, 40), "the store knows");
        // One that is resumed begins behind its last checkpoint, and waits for the next one only.
        let mut gate = Gate::default();
        assert_eq!(gate.left(3 * CHECKPOINT, 3 * CHECKPOINT), None);
        assert!(gate.opens(3 * CHECKPOINT + AHEAD + 1, 5, 50));
    }
}
