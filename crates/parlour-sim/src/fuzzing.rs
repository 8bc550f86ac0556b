//! The bodies of fuzz targets.
