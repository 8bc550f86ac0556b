//! Bodies of the fuzz targets: they exercise everything that reads a peer's octets and assert what must always hold.
