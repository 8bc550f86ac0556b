//! Header names (RFC 3261 7.3.1): interned, case-insensitive, with their compact forms.

/// Writes the enum and the table of its texts: variant, full name, compact form (0: none).
macro_rules! names {
    ($($variant:ident $text:literal $compact:literal,)*) => {
        /// The name of a header field. One that we do not know is `Other`; its text stays readable in the message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the variants are the headers' names")]
        pub enum Name {
            $($variant,)*
            Other,
        }

        impl Name {
            /// All names but `Other`.
            pub const KNOWN: &[Name] = &[$(Name::$variant),*];

            /// The full name as it is written; empty for `Other`.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other => "",
                }
            }

            /// The one-letter form (RFC 3261 7.3.3 and the extensions' own), lower case; 0 if there is none.
            const fn compact(self) -> u8 {
                match self {
                    $(Name::$variant => $compact,)*
                    Name::Other => 0,
                }
            }
        }
    };
}

names! {
    Via "Via" b'v',
    From "From" b'f',
    To "To" b't',
    CallId "Call-ID" b'i',
    CSeq "CSeq" 0,
    Contact "Contact" b'm',
    MaxForwards "Max-Forwards" 0,
    Route "Route" 0,
    RecordRoute "Record-Route" 0,
    Allow "Allow" 0,
    Supported "Supported" b'k',
    Require "Require" 0,
    ProxyRequire "Proxy-Require" 0,
    Unsupported "Unsupported" 0,
    ContentType "Content-Type" b'c',
    ContentLength "Content-Length" b'l',
    ContentEncoding "Content-Encoding" b'e',
    ContentDisposition "Content-Disposition" 0,
    ContentLanguage "Content-Language" 0,
    Accept "Accept" 0,
    AcceptEncoding "Accept-Encoding" 0,
    AcceptLanguage "Accept-Language" 0,
    Expires "Expires" 0,
    MinExpires "Min-Expires" 0,
    RetryAfter "Retry-After" 0,
    Server "Server" 0,
    UserAgent "User-Agent" 0,
    Subject "Subject" b's',
    Warning "Warning" 0,
    Reason "Reason" 0,
    Timestamp "Timestamp" 0,
    Date "Date" 0,
    MimeVersion "MIME-Version" 0,
    Organization "Organization" 0,
    Priority "Priority" 0,
    InReplyTo "In-Reply-To" 0,
    WwwAuthenticate "WWW-Authenticate" 0,
    Authorization "Authorization" 0,
    ProxyAuthenticate "Proxy-Authenticate" 0,
    ProxyAuthorization "Proxy-Authorization" 0,
    AuthenticationInfo "Authentication-Info" 0,
    PAssertedIdentity "P-Asserted-Identity" 0,
    PPreferredIdentity "P-Preferred-Identity" 0,
    PAssociatedUri "P-Associated-URI" 0,
    PCalledPartyId "P-Called-Party-ID" 0,
    PAccessNetworkInfo "P-Access-Network-Info" 0,
    ServiceRoute "Service-Route" 0,
    Path "Path" 0,
    AcceptContact "Accept-Contact" b'a',
    RejectContact "Reject-Contact" b'j',
    RequestDisposition "Request-Disposition" b'd',
    Replaces "Replaces" 0,
    Join "Join" 0,
    SessionReplaces "Session-Replaces" 0,
    ContributionId "Contribution-ID" 0,
    ReferredBy "Referred-By" b'b',
    ReferTo "Refer-To" b'r',
    ReferSub "Refer-Sub" 0,
    TargetDialog "Target-Dialog" 0,
    Privacy "Privacy" 0,
    Event "Event" b'o',
    SubscriptionState "Subscription-State" 0,
    AllowEvents "Allow-Events" b'u',
    FeatureCaps "Feature-Caps" 0,
    SessionExpires "Session-Expires" b'x',
    MinSe "Min-SE" 0,
    RSeq "RSeq" 0,
    RAck "RAck" 0,
    SipEtag "SIP-ETag" 0,
    SipIfMatch "SIP-If-Match" 0,
    HistoryInfo "History-Info" 0,
    Identity "Identity" b'y',
    Geolocation "Geolocation" 0,
}

impl Name {
    /// The name that this text is, in any letter case, full or compact.
    pub fn of(text: &[u8]) -> Name {
        if let [letter] = text {
            return compact(*letter);
        }
        let mut start = [0; 16];
        for (octet, there) in start.iter_mut().zip(text) {
            *octet = *there;
        }
        let name = known(word(start) & below(text.len()));
        if name.text().as_bytes().eq_ignore_ascii_case(text) { name } else { Name::Other }
    }

    /// The quick way for octets that start with a known name and a colon: the name and its length. It looks at 16 octets
    /// at once; what does not fit is left to [`Name::of`]. A CR looks like the hyphen here: a row with a bare CR is refused
    /// anyway.
    #[inline]
    pub(crate) fn at_start(row: &[u8]) -> Option<(Name, usize)> {
        let start @ [letter, ..]: &[u8; 16] = row.first_chunk()?;
        // Colons become 0, and the lowest 0 is the lowest octet that borrows into its top bit.
        let zeros = u128::from_le_bytes(*start) ^ COLONS;
        let colons = zeros.wrapping_sub(ONES) & !zeros & TOPS;
        if colons == 0 {
            return Name::long_at_start(row, known(word(*start)));
        }
        let before_colon = (colons ^ colons.wrapping_sub(1)) >> 8;
        let name = match before_colon {
            0xff => compact(*letter),
            _ => known(word(*start) & before_colon),
        };
        (name != Name::Other).then_some((name, usize::try_from(colons.trailing_zeros() / 8).ok()?))
    }

    /// Whether `row` goes on as it starts: with that name of 16 or more letters and a colon.
    fn long_at_start(row: &[u8], name: Name) -> Option<(Name, usize)> {
        let (text, after) = row.split_at_checked(name.text().len())?;
        let is_name = after.first() == Some(&b':') && name.text().as_bytes().eq_ignore_ascii_case(text);
        (is_name && name != Name::Other).then_some((name, text.len()))
    }

    /// How many names there are, `Other` included.
    pub(crate) const COUNT: usize = Name::KNOWN.len() + 1;
}

/// The name of one letter.
fn compact(letter: u8) -> Name {
    COMPACT.get(usize::from(letter.to_ascii_lowercase())).copied().unwrap_or(Name::Other)
}

/// The only name that may start with this word.
fn known(word: u128) -> Name {
    let name = SLOTS.get(slot(word)).copied().unwrap_or(Name::Other);
    if WORDS.get(name as usize) == Some(&word) { name } else { Name::Other }
}

/// 16 octets as a number, letters in lower case.
const fn word(octets: [u8; 16]) -> u128 {
    u128::from_le_bytes(octets) | CASE
}

/// The bits of the first `length` octets.
const fn below(length: usize) -> u128 {
    if length < 16 { (1 << (8 * length)) - 1 } else { u128::MAX }
}

/// 1 in each of 16 octets.
const ONES: u128 = u128::MAX / 0xff;
/// The top bits.
const TOPS: u128 = ONES << 7;
/// The bits that tell lower from upper case.
const CASE: u128 = ONES << 5;
/// Colons.
const COLONS: u128 = ONES * b':' as u128;

/// The first 16 letters of each name, as [`word`] makes it.
static WORDS: [u128; Name::COUNT] = {
    let mut words = [0; Name::COUNT];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        let text = Name::KNOWN[at].text().as_bytes();
        let mut start = [0; 16];
        let mut length = 0;
        while length < text.len() && length < 16 {
            start[length] = text[length];
            length += 1;
        }
        words[at] = word(start) & below(length);
        at += 1;
    }
    words
};

/// Hash table of the words: one name a slot.
static SLOTS: [Name; 256] = {
    let mut slots = [Name::Other; 256];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        let slot = slot(WORDS[at]);
        assert!(matches!(slots[slot], Name::Other), "two names in one slot: try another FACTOR");
        slots[slot] = Name::KNOWN[at];
        at += 1;
    }
    slots
};

/// Where a word's name is: the top octet of a product.
const fn slot(word: u128) -> usize {
    (((word ^ (word >> 64)) as u64).wrapping_mul(FACTOR) >> 56) as usize
}

/// Found by trying: it gives each name a slot of its own.
const FACTOR: u64 = 0xd2d9_0a27_2205_10f3;

static COMPACT: [Name; 128] = {
    let mut letters = [Name::Other; 128];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        let name = Name::KNOWN[at];
        if name.compact() != 0 {
            letters[name.compact() as usize] = name;
        }
        at += 1;
    }
    letters
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_compact() {
        for &name in Name::KNOWN {
            assert_eq!(Name::of(name.text().as_bytes()), name);
            assert_eq!(Name::of(name.text().to_uppercase().as_bytes()), name);
            assert_eq!(Name::of(name.text().to_lowercase().as_bytes()), name);
            if name.compact() != 0 {
                assert_eq!(Name::of(&[name.compact()]), name);
                assert_eq!(Name::of(&[name.compact().to_ascii_uppercase()]), name);
            }
        }
    }

    #[test]
    fn the_quick_way_finds_the_same() {
        for &name in Name::KNOWN {
            for text in [name.text().to_owned(), name.text().to_uppercase(), name.text().to_lowercase()] {
                let found = Name::at_start(format!("{text}: value of sixteen").as_bytes());
                assert_eq!(found, Some((name, text.len())), "{text}");
                assert_eq!(Name::at_start(format!("x{text}:                ").as_bytes()), None);
            }
            if name.compact() != 0 {
                let row = format!("{}: value of sixteen", char::from(name.compact()));
                assert_eq!(Name::at_start(row.as_bytes()), Some((name, 1)));
            }
        }
        for row in [
            "Via:",
            "Via : value of sixteen",
            ": value of sixteen",
            "z: value of sixteen",
            "no colon in sixteen",
        ] {
            assert_eq!(Name::at_start(row.as_bytes()), None, "{row}");
        }
    }

    #[test]
    fn others_are_other() {
        for name in ["", "z", "\u{e9}", "Vi", "Viaa", "Call_ID", "X-Via", "Content-Length "] {
            assert_eq!(Name::of(name.as_bytes()), Name::Other, "{name}");
        }
    }
}
