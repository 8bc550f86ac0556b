//! The media types of `a=accept-types` and `a=accept-wrapped-types` (RFC 4975 8.6).

/// What an endpoint takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcceptTypes {}
