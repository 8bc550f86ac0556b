//! Bodies of fuzz targets.

use super::cpim::{CpimFault, MAX_HEAD, parse};

/// Reads whatever comes, whole and cut: a cut either says that more is needed or changes nothing.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn cpim(data: &[u8]) {
    let all = parse(data, false);
    assert!(data.len() < MAX_HEAD || all != Err(CpimFault::NeedMore));
    if let Ok(cpim) = &all {
        assert!(cpim.body_offset <= data.len());
        let _ = cpim.sent_at();
        assert_eq!(parse(data, true).as_ref(), Ok(cpim));
    }
    for cut in [data.len() / 3, data.len() / 2] {
        let part = parse(data.get(..cut).unwrap_or_default(), false);
        assert!(part == Err(CpimFault::NeedMore) || part == all);
    }
}
