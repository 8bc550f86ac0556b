//! What the client cannot see for itself: room on the disk, memory, descriptors, the time zone.

use std::time::{Duration, Instant};

use parlour_proto::client::Shortage;

use super::Agent;
use crate::room::{Left, Room};

/// How often we look, if anything happens at all.
const PERIOD: Duration = Duration::from_secs(1);
/// Descriptors that are left for what is on: a new session takes up to three, for SIP, MSRP and a file.
const DESCRIPTORS: usize = 32;
/// So many octets may come for the disk until we look again.
const OCTETS: usize = 4 * 1024 * 1024;

/// Where to look, and what for.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) disk: Room,
    /// Octets of memory; 0 for any.
    pub(super) memory: u64,
    /// When we looked last.
    pub(super) looked: Option<Instant>,
    /// Octets that have come for the disk since.
    pub(super) came: usize,
}

impl Agent {
    /// Tells the client how things are outside, once in a while.
    pub(super) fn watch(&mut self) {
        let now = Instant::now();
        let recent = self.watch.looked.is_some_and(|looked| now.duration_since(looked) < PERIOD);
        if recent && self.watch.came < OCTETS {
            return;
        }
        (self.watch.looked, self.watch.came) = (Some(now), 0);
        let shortage = self.watch.shortage();
        if let Some(shortage) = shortage {
            tracing::warn!(?shortage, "no invitation is taken, nor a large message if it is the disk");
        }
        self.client.set_shortage(shortage);
        self.stop_files_without_room();
        self.client.set_utc_offset(chrono::Local::now().offset().local_minus_utc());
    }
}

impl Watch {
    fn shortage(&self) -> Option<Shortage> {
        let full = self.disk.left() < Left::Enough;
        let used = || std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident(&status));
        let fat = || self.memory > 0 && used().is_some_and(|used| used > self.memory);
        let few = || lacks(DESCRIPTORS, || rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 0));
        if full {
            Some(Shortage::Disk)
        } else if few() {
            Some(Shortage::Descriptors)
        } else {
            fat().then_some(Shortage::Memory)
        }
    }
}

/// Whether so many cannot be opened. The kernel tells nobody how many are left but by opening them; that takes some
/// microseconds.
fn lacks<T>(count: usize, mut open: impl FnMut() -> rustix::io::Result<T>) -> bool {
    use rustix::io::Errno;
    let opened: Result<Vec<T>, Errno> = (0..count).map(|_| open()).collect();
    matches!(opened.err(), Some(Errno::MFILE | Errno::NFILE))
}

/// The octets in memory of a process, by its /proc/PID/status.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_much_memory_are_seen() {
        let watch = |reserve, memory| {
            let disk = Room::pretend(|| Some(1000), reserve);
            Watch { disk, memory, looked: None, came: 0 }.shortage()
        };
        assert_eq!(watch(0, 0), None);
        assert_eq!(watch(u64::MAX, 0), Some(Shortage::Disk));
        assert_eq!(watch(0, 1), Some(Shortage::Memory));
        assert_eq!(watch(0, u64::MAX), None);
        // So many at once, or not; what fails for another reason says nothing.
        let left = std::rc::Rc::new(());
        let open = |most: usize| {
            let left = left.clone();
            move || match std::rc::Rc::strong_count(&left) <= most + 1 {
                true => Ok(left.clone()),
                false => Err(rustix::io::Errno::MFILE),
            }
        };
        assert!(!lacks(DESCRIPTORS, open(DESCRIPTORS)) && lacks(DESCRIPTORS, open(DESCRIPTORS - 1)));
        assert_eq!(std::rc::Rc::strong_count(&left), 1, "they are closed again");
        assert!(!lacks(DESCRIPTORS, || Err::<(), _>(rustix::io::Errno::BADF)));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
    }
}
