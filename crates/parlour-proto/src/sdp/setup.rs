//! Who connects (RFC 6135, `a=setup`) and which way messages flow (`a=sendrecv` and the like).

/// What a description says about connecting (RFC 4145 4). `holdconn` is not here: RFC 6135 4.2.1 has us read it as if
/// nothing were said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Its author connects.
    Active,
    /// Its author listens.
    Passive,
    /// Either.
    Actpass,
}

/// What we do ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We connect, and send the first SEND at once (D-14).
    Active,
    /// We wait for the peer's connection.
    Passive,
}

/// Which way messages flow, seen from whoever says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From it.
    SendOnly,
    /// To it.
    RecvOnly,
    /// Not at all: on hold.
    Inactive,
}
