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
    ReferredBy "Referred-By" b'b',
    ReferTo "Refer-To" b'r',
    ReferSub "Refer-Sub" 0,
    Privacy "Privacy" 0,
    Event "Event" b'o',
    SubscriptionState "Subscription-State" 0,
    AllowEvents "Allow-Events" b'u',
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
    /// The name that a header row starts with, in any letter case, full or compact.
    pub fn of(name: &[u8]) -> Name {
        if let [letter] = name {
            let letter = usize::from(letter.to_ascii_lowercase());
            return COMPACT.get(letter).copied().unwrap_or(Name::Other);
        }
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return Name::Other };
        let mut slot = home(name.len(), *first, *last);
        // The table is not full, so the walk ends at a free slot.
        while let Some((text, name_there)) = SLOTS.get(slot % SLOT_COUNT) {
            if text.as_bytes() == name || text.is_empty() || text.as_bytes().eq_ignore_ascii_case(name) {
                return *name_there;
            }
            slot = slot.wrapping_add(1);
        }
        Name::Other
    }

    /// The quick way for a row that starts with a known name and a colon: the name and its length. It looks at 16 octets
    /// at once; what does not fit is left to [`Name::of`].
    pub(crate) fn at_start(row: &[u8]) -> Option<(Name, usize)> {
        let octets = u128::from_le_bytes(*row.first_chunk()?);
        let bits = first_octet(octets, b':')?;
        let word = (octets | CASE) & (1_u128 << bits).wrapping_sub(1);
        let length = usize::try_from(bits / 8).ok()?;
        let [first, ..] = word.to_le_bytes();
        if length == 1 {
            let name = *COMPACT.get(usize::from(first))?;
            return (name != Name::Other).then_some((name, length));
        }
        let [last, ..] = (word >> bits.checked_sub(8)?).to_le_bytes();
        let home = home(length, first, last);
        let found = [home, home.wrapping_add(1)]
            .into_iter()
            .find_map(|slot| WORDS.get(slot % SLOT_COUNT).filter(|(there, _)| *there == word));
        found.map(|(_, name)| (*name, length))
    }

    /// How many names there are, `Other` included.
    pub(crate) const COUNT: usize = Name::KNOWN.len() + 1;

    /// This name's bit in a set of names.
    pub(crate) const fn bit(self) -> u128 {
        1 << (self as u8)
    }
}

const SLOT_COUNT: usize = 256;

/// Hash table of the full names: open addressing, an empty text marks a free slot.
static SLOTS: [(&str, Name); SLOT_COUNT] = {
    let mut slots = [("", Name::Other); SLOT_COUNT];
    let mut at = 0;
    while at < Name::KNOWN.len() {
        let name = Name::KNOWN[at];
        let text = name.text().as_bytes();
        let mut slot = home(text.len(), text[0], text[text.len() - 1]);
        while !slots[slot % SLOT_COUNT].0.is_empty() {
            slot += 1;
        }
        slots[slot % SLOT_COUNT] = (name.text(), name);
        at += 1;
    }
    slots
};

/// The full names of up to 15 letters in the order of `SLOTS`, lower case, as the number that their octets make; 0 for
/// the others. A CR looks like the hyphen here: a row with a bare CR is refused anyway.
static WORDS: [(u128, Name); SLOT_COUNT] = {
    let mut words = [(0, Name::Other); SLOT_COUNT];
    let mut slot = 0;
    while slot < SLOT_COUNT {
        let (text, name) = SLOTS[slot];
        let mut word = 0;
        let mut at = 0;
        while at < text.len() && text.len() < 16 {
            word |= ((text.as_bytes()[at] | 0x20) as u128) << (8 * at);
            at += 1;
        }
        words[slot] = (word, name);
        slot += 1;
    }
    words
};

/// 1 in each of 16 octets.
const ONES: u128 = u128::MAX / 0xff;
/// The bit that tells lower from upper case, in each of 16 octets.
const CASE: u128 = ONES << 5;

/// How many bits lie below the first of 16 octets that equals `wanted`. That octet becomes 0, and the lowest 0 is the
/// lowest octet that borrows into its top bit.
fn first_octet(octets: u128, wanted: u8) -> Option<u32> {
    let zeros = octets ^ ONES.wrapping_mul(wanted.into());
    let found = zeros.wrapping_sub(ONES) & !zeros & (ONES << 7);
    (found != 0).then(|| found.trailing_zeros() & !7)
}

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

/// Where a name is first looked for: length, first and last letter tell most names apart. The case bit is masked out.
const fn home(length: usize, first: u8, last: u8) -> usize {
    let (first, last) = ((first & 0x1f) as usize, (last & 0x1f) as usize);
    length
        .wrapping_mul(FACTORS.0)
        .wrapping_add(first.wrapping_mul(FACTORS.1))
        .wrapping_add(last.wrapping_mul(FACTORS.2))
}

/// Found by trying: no look-up of a known name takes more than one step past its home.
const FACTORS: (usize, usize, usize) = (1, 71, 111);

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
                assert_eq!(found, (text.len() < 16).then_some((name, text.len())), "{text}");
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

    #[test]
    fn a_look_up_takes_few_steps() {
        let steps = |name: Name| {
            let text = name.text().as_bytes();
            let home = home(text.len(), text[0], text[text.len() - 1]);
            (0..SLOT_COUNT).find(|step| SLOTS[(home + step) % SLOT_COUNT].1 == name)
        };
        assert!(Name::KNOWN.iter().all(|&name| steps(name) <= Some(1)));
        assert!(Name::KNOWN.len() < 127, "Name::bit has room for 127 names and Other");
    }
}
