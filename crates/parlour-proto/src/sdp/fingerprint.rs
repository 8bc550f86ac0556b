//! Certificate fingerprints (RFC 8122), by which a self-signed certificate is known: `a=fingerprint`.

use std::fmt;

use ring::digest;

use super::{Media, Session, Unfit, find};

/// A hash function of `a=fingerprint`, weakest first. MD5 and MD2 are never computed (RFC 8122 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// Of peers that know RFC 4572 only.
    Sha1,
    /// The one that everybody knows.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The hash of a certificate in DER.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: Hash,
    octets: Box<[u8]>,
}

impl Hash {
    /// All that can be compared.
    pub const ALL: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    /// As `a=fingerprint` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "SHA-1",
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(hash: Hash, certificate: &[u8]) -> Self {
        let octets = digest::digest(hash.algorithm(), certificate);
        Fingerprint { hash, octets: octets.as_ref().into() }
    }

    /// Reads the value of an `a=fingerprint` line, in any case. `None` if it is malformed or of a hash function that we
    /// do not compute.
    pub fn parse(value: &str) -> Option<Self> {
        let (name, digits) = value.trim().split_once(' ')?;
        let hash = Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))?;
        let mut octets = Vec::with_capacity(hash.algorithm().output_len());
        for pair in digits.trim().split(':') {
            // `from_str_radix` would take a sign.
            let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            octets.push(u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)?);
        }
        let fits = octets.len() == hash.algorithm().output_len();
        fits.then(|| Fingerprint { hash, octets: octets.into() })
    }

    /// Its hash function.
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (at, octet) in self.octets.iter().enumerate() {
            write!(f, "{}{octet:02X}", if at == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

//= IM D-20
/// By which fingerprints the peer's certificate is known: none if its description has none.
pub(super) fn of(session: &Session, media: &Media) -> Result<Vec<Fingerprint>, Unfit> {
    // RFC 8122 5: those of the session are for lines that have none of their own.
    let mut values: Vec<&str> = media.all("fingerprint").collect();
    if values.is_empty() {
        values = find(&session.attributes, "fingerprint").collect();
    }
    let mut fingerprints: Vec<Fingerprint> = values.iter().filter_map(|v| Fingerprint::parse(v)).collect();
    // RFC 8122 5.1: of several hash functions the one that we like best counts, whichever others match.
    let best = fingerprints.iter().map(Fingerprint::hash).max();
    fingerprints.retain(|fingerprint| Some(fingerprint.hash) == best);
    fingerprints.dedup();
    match (values.first(), best) {
        // A peer that is known by something that we cannot compare is not known.
        (Some(value), None) => Err(Unfit::Fingerprint(super::unfit::quote(value))),
        _ => Ok(fingerprints),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::parse;

    /// Of the three octets `abc` (FIPS 180-4).
    const ABC: &str = "SHA-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
    const ABC_1: &str = "SHA-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";

    #[test]
    //= IM D-20 test
    fn fingerprints_are_written_and_read_in_any_case() {
        for (hash, text) in [(Hash::Sha1, ABC_1), (Hash::Sha256, ABC)] {
            let of = Fingerprint::of(hash, b"abc");
            assert_eq!(of.to_string(), text);
            assert_eq!(Fingerprint::parse(&text.to_ascii_lowercase()), Some(of));
        }
        for hash in Hash::ALL {
            let of = Fingerprint::of(hash, b"x");
            assert_eq!(Fingerprint::parse(&of.to_string()), Some(of));
        }
        let cut = ABC.rsplit_once(':').unwrap().0;
        let sign = ABC.replace("BA:", "+A:");
        for wrong in ["", "SHA-256", "SHA-256 ", "md5 00:11", cut, &sign, &ABC.replace(':', "")] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }

    fn read(session: &str, media: &str) -> Result<Vec<String>, Unfit> {
        let text = format!("v=0\no=- 1 1 IN IP4 a\n{session}m=message 1 TCP/TLS/MSRP *\n{media}");
        let session = parse(text.as_bytes()).unwrap();
        of(&session, &session.media[0]).map(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    //= IM D-20 test
    fn the_line_wins_over_the_session_and_the_strongest_hash_over_the_others() {
        let line = |text: &str| format!("a=fingerprint:{text}\n");
        let other = Fingerprint::of(Hash::Sha256, b"other").to_string();
        assert_eq!(read("", ""), Ok(vec![]));
        assert_eq!(read(&line(ABC), ""), Ok(vec![ABC.into()]));
        assert_eq!(read(&line(ABC), &line(&other)), Ok(vec![other.clone()]));
        let both = line(ABC_1) + &line(ABC) + &line(&other) + &line("md5 00:11");
        assert_eq!(read("", &both), Ok(vec![ABC.into(), other]));
        assert_eq!(read("", &line(ABC_1)), Ok(vec![ABC_1.into()]), "SHA-1 where there is nothing else");
        assert!(matches!(read(&line(ABC), &line("md5 00:11")), Err(Unfit::Fingerprint(_))));
    }
}
