//! MSRP URIs (RFC 4975 6).

/// One `msrp:` or `msrps:` URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsrpUri {}

/// A path: leftmost URI first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsrpPath {}
