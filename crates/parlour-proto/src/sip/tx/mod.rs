//! tx/mod
