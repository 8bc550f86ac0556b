//! Room on the disk of the data directory, and what is left for whom.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How much room there is, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// Less than half of the reserve: nothing is taken that peers say, so that what happens can still be written down.
    Little,
    /// Less than the reserve: it is for what lies in the database. Nobody is let in, and no message that needs a file.
    Reserve,
    Enough,
}

/// Where to look, and what is not for everybody.
#[derive(Clone)]
pub(crate) struct Room {
    /// Octets that are free; `None` if nobody knows, which counts as enough.
    free: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    reserve: u64,
}

impl Room {
    /// The disk on which `dir` lies, of which `reserve` octets are to be left.
    pub(crate) fn of(dir: &Path, reserve: u64) -> Room {
        let dir = dir.to_owned();
        Room::pretend(move || free(&dir), reserve)
    }

    /// A disk that nobody looks after.
    pub(crate) fn any() -> Room {
        Room::pretend(|| None, 0)
    }

    /// A disk with as much room as `free` says.
    pub(crate) fn pretend(free: impl Fn() -> Option<u64> + Send + Sync + 'static, reserve: u64) -> Room {
        Room { free: Arc::new(free), reserve }
    }

    /// What is left now.
    pub(crate) fn left(&self) -> Left {
        match (self.free)() {
            Some(free) if free < self.reserve / 2 => Left::Little,
            Some(free) if free < self.reserve => Left::Reserve,
            Some(_) | None => Left::Enough,
        }
    }
}

/// Octets that are free on the disk of a directory; `None` if nobody knows.
pub(crate) fn free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("reserve", &self.reserve).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_reserve_is_for_the_database_alone() {
        let left = |free| Room::pretend(move || free, 100).left();
        assert_eq!([Some(49), Some(50), Some(99), Some(100), None].map(left), {
            use Left::{Enough, Little, Reserve};
            [Little, Reserve, Reserve, Enough, Enough]
        });
        let real = |reserve| Room::of(&std::env::temp_dir(), reserve).left();
        assert_eq!((real(0), real(u64::MAX)), (Left::Enough, Left::Little));
    }
}
