//! Bodies of fuzz targets.

/// Reads, judges and answers whatever comes.
pub fn sdp(data: &[u8]) {
    let _ = super::parse(data);
}
