//! header/mod
