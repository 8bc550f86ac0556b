//! Bodies of fuzz targets.

/// Reads whatever comes, whole and cut.
pub fn cpim(data: &[u8]) {
    let _ = super::cpim::parse(data, true);
}
