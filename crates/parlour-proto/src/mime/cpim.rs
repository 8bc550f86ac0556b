//! message/cpim (RFC 3862).
