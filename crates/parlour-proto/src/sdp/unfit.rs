//! Why a line is not acceptable, and what the peer is told then.

use parlour_msrp::uri::UriFault;

use crate::text::neutral_within;

/// Why one `m=` line is not acceptable, in the order of the checks of catalogue 3.4.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its media is not `message`.
    #[error("Media type not available: no message stream")]
    NotMessage,
    /// Its port is 0.
    #[error("The message stream is disabled: port 0")]
    Disabled,
    /// Its protocol is not one that we speak.
    #[error("Transport protocol not available: {0}")]
    Protocol(String),
    /// It has no TLS, and policy wants that.
    #[error("Transport protocol not available: TLS is required")]
    Plain,
    /// Its network is not the Internet.
    #[error("Network protocol not available: {0}")]
    Network(String),
    /// Its address family is one that we do not have.
    #[error("Address format not available: {0}")]
    Family(String),
    /// Its address is a multicast one.
    #[error("Multicast not available")]
    Multicast,
    /// It has no `a=path`.
    #[error("Attribute path is missing")]
    NoPath,
    /// It has more than one `a=path`.
    #[error("Attribute path stands twice")]
    TwoPaths,
    /// Its path does not parse.
    #[error("Attribute path is malformed: {0}")]
    Path(UriFault),
    /// A URI of its path lacks what an SDP path must have, or needs a transport that we do not have.
    #[error("Attribute path is not usable: {0}")]
    PathPart(&'static str),
    /// It is known by fingerprints none of which we can compute (D-20).
    #[error("Attribute fingerprint is not usable: {0}")]
    Fingerprint(String),
    /// Somebody who does not know CEMA has changed its addresses (RFC 6714 4.3).
    #[error("Addresses of c= and m= are not those of the path, and there is no msrp-cema")]
    Rewritten,
    /// It has no TLS, and there is, or was, a line with it (D-22).
    #[error("A stream with TLS is not given up for one without")]
    Downgrade,
    /// It has no `a=accept-types`.
    #[error("Attribute accept-types is missing")]
    NoTypes,
    /// It takes none of our types.
    #[error("Incompatible media format: accept-types {0}")]
    Types(String),
    /// The role that it leaves to us is impossible, or its value is unknown.
    #[error("Attribute setup is not usable: {0}")]
    Setup(String),
    /// It is about a file, and we take part in no file transfers.
    #[error("File transfer not available")]
    File,
    /// An attribute that describes its file cannot be read, or is missing.
    #[error("Attribute {0}")]
    FileAttribute(&'static str),
    /// It neither only sends nor only receives its file.
    #[error("A file goes one way: sendonly or recvonly")]
    FileDirection,
    /// Its file is larger than we take: its size, and ours.
    #[error("The file has {0} octets, and at most {1} are taken")]
    FileTooLarge(u64, u64),
    /// Its file is one more than a session may carry.
    #[error("Only {0} files a session")]
    Files(usize),
    /// Its file is not wanted, or not to be had.
    #[error("The file is refused: {0}")]
    FileRefused(&'static str),
    /// It is acceptable, but one more than we take.
    #[error("Only one message stream a session")]
    Surplus,
    /// An answer to our offer has another number of lines than the offer.
    #[error("The answer has {0} m= lines, not as many as the offer")]
    Lines(usize),
    /// A later offer takes lines away.
    #[error("The offer has {0} m= lines, and there were {1}")]
    Fewer(usize, usize),
}

/// Why no line is acceptable: 488 with this Warning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The Warning code (RFC 3261 20.43).
    pub warning: u16,
    /// The Warning text, without quotation marks, backslashes and control characters.
    pub text: String,
    /// The rule that decided.
    pub clause: &'static str,
}

impl Unfit {
    /// The Warning code that tells it (RFC 3261 20.43).
    pub const fn warning(&self) -> u16 {
        self.facts().1
    }

    /// The rule that it breaks.
    pub const fn clause(&self) -> &'static str {
        self.facts().2
    }

    /// How far the line got: the best line's reason is told.
    pub(super) const fn rank(&self) -> u8 {
        self.facts().0
    }

    /// Rank, Warning code, rule.
    const fn facts(&self) -> (u8, u16, &'static str) {
        match self {
            Unfit::Lines(_) => (0, 399, "D-30"),
            Unfit::Fewer(..) => (0, 399, "D-55"),
            Unfit::NotMessage => (1, 304, "D-1"),
            Unfit::Disabled => (2, 399, "D-4"),
            Unfit::Protocol(_) => (3, 302, "D-1"),
            Unfit::Plain => (3, 302, "D-21"),
            Unfit::Network(_) => (4, 300, "S-1"),
            Unfit::Family(_) => (4, 301, "S-1"),
            Unfit::Multicast => (4, 330, "S-1"),
            Unfit::NoPath | Unfit::TwoPaths | Unfit::Path(_) | Unfit::PathPart(_) => (5, 306, "D-2"),
            Unfit::NoTypes => (6, 306, "D-3"),
            Unfit::Types(_) => (6, 305, "S-1"),
            Unfit::Setup(_) => (7, 306, "D-10"),
            Unfit::Fingerprint(_) => (7, 306, "D-20"),
            Unfit::Rewritten => (7, 306, "D-15"),
            Unfit::Downgrade => (7, 302, "D-22"),
            Unfit::File | Unfit::FileAttribute(_) | Unfit::FileDirection => (8, 399, "D-40"),
            Unfit::FileTooLarge(..) | Unfit::Files(_) => (8, 399, "X-30"),
            Unfit::FileRefused(_) => (8, 399, "D-41"),
            Unfit::Surplus => (9, 399, "S-1c"),
        }
    }
}

impl Refusal {
    /// A session that has TLS keeps it.
    pub fn downgrade() -> Refusal {
        Refusal::from(&Unfit::Downgrade)
    }

    /// Without TLS there would be no stream at all.
    pub fn tls() -> Refusal {
        Refusal::from(&Unfit::Plain)
    }
}

impl From<&Unfit> for Refusal {
    fn from(unfit: &Unfit) -> Self {
        Refusal { warning: unfit.warning(), text: unfit.to_string(), clause: unfit.clause() }
    }
}

/// A peer's text as it may stand in a Warning.
pub(super) fn quote(text: &str) -> String {
    neutral_within(text, 60).replace(['"', '\\'], "'")
}
