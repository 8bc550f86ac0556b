//! What a certificate says: the SIP domains that it vouches for (RFC 5922 section 7), when it is valid, and its key.

use std::ops::RangeInclusive;

use parlour_proto::config::Hash;

/// Tag of a DER SEQUENCE.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[3] EXPLICIT`: the extensions in TBSCertificate (RFC 5280 4.1).
const EXTENSIONS: u8 = 0xa3;
/// GeneralName: `[2] IA5String`.
const DNS_NAME: u8 = 0x82;
/// GeneralName: `[6] IA5String`.
const URI: u8 = 0x86;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.2.840.10045.2.1 and 1.2.840.10045.3.1.7: a key of the curve P-256 (RFC 5480 2.1.1).
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];

/// Names in the subjectAltName extension.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Hosts of `sip:` URIs without a user.
    sip_domains: Vec<String>,
    /// dNSName entries.
    dns_names: Vec<String>,
}

impl Names {
    /// The names in a DER certificate; none if it cannot be read.
    pub(crate) fn of(certificate: &[u8]) -> Names {
        let mut names = Names::default();
        let Some(general_names) = subject_alt_name(certificate) else {
            return names;
        };
        for (tag, value) in Elements(general_names) {
            let text = String::from_utf8_lossy(value).into_owned();
            match tag {
                DNS_NAME => names.dns_names.push(text),
                URI => names.sip_domains.extend(sip_domain(&text)),
                _ => {}
            }
        }
        names
    }

    /// The domains that count.
    pub(crate) fn domains(&self) -> &[String] {
        // RFC 5922 7.1: where there are SIP URIs, they alone count; dNSName is for certificates without them.
        if self.sip_domains.is_empty() { &self.dns_names } else { &self.sip_domains }
    }

    /// Whether a host that shows this certificate is that one: by its dNSName entries alone, whole and without wildcards
    /// (RFC 4975 14.2, RFC 8122 6.1).
    pub(super) fn vouch_for_host(&self, host: &str) -> bool {
        self.dns_names.iter().any(|name| same_name(name, host))
    }

    /// Whether a server that shows this certificate may speak for `domain`.
    pub(super) fn vouch_for(&self, domain: &str) -> bool {
        // RFC 5922 7.2: the whole name is compared, without regard to case; no wildcards.
        self.domains().iter().any(|name| same_name(name, domain))
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

/// The host of a `sip:` URI that identifies a domain: RFC 5922 7.1 ignores other schemes and URIs with a user.
fn sip_domain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host = rest.split([';', '?', ':']).next()?;
    Some(host.to_owned())
}

/// The octets of the GeneralNames in subjectAltName (RFC 5280 4.1, 4.2.1.6).
fn subject_alt_name(certificate: &[u8]) -> Option<&[u8]> {
    let extensions =
        Elements(Elements(to_be_signed(certificate)?).find_tag(EXTENSIONS)?).find_tag(SEQUENCE)?;
    for (_, extension) in Elements(extensions).filter(|(tag, _)| *tag == SEQUENCE) {
        let mut fields = Elements(extension).filter(|(tag, _)| *tag != BOOLEAN);
        if fields.next() == Some((OBJECT_IDENTIFIER, SUBJECT_ALT_NAME)) {
            let (_, value) = fields.next().filter(|(tag, _)| *tag == OCTET_STRING)?;
            return Elements(value).find_tag(SEQUENCE);
        }
    }
    None
}

/// From when until when a DER certificate is valid, in seconds since 1970.
pub(crate) fn validity(certificate: &[u8]) -> Option<RangeInclusive<u64>> {
    // RFC 5280 4.1: of the sequences in it, after the algorithm and the issuer.
    let (_, validity) = Elements(to_be_signed(certificate)?).filter(|(tag, _)| *tag == SEQUENCE).nth(2)?;
    let mut dates = Elements(validity).map(|(tag, text)| seconds(tag, text));
    Some(dates.next()??..=dates.next()??)
}

/// The hash function of the signature on a DER certificate, if it is one that fingerprints have too.
pub(crate) fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    // RFC 5280 4.1.1.2: what is signed, then by which algorithm.
    let (_, algorithm) = Elements(value(certificate)?).nth(1).filter(|(tag, _)| *tag == SEQUENCE)?;
    match Elements(algorithm).find_tag(OBJECT_IDENTIFIER)? {
        // RFC 5758 3.2: 1.2.840.10045.4.3.{2,3,4}; RFC 8017 C: 1.2.840.113549.1.1.{11,12,13}.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 11] => Some(Hash::Sha256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12] => Some(Hash::Sha384),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13] => Some(Hash::Sha512),
        _ => None,
    }
}

/// The SubjectPublicKeyInfo of a DER certificate, without its own tag and length.
pub(crate) fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let mut sequences = Elements(to_be_signed(certificate)?).filter(|(tag, _)| *tag == SEQUENCE);
    sequences.nth(4).map(|(_, info)| info)
}

/// What is in a DER SEQUENCE.
pub(crate) fn value(sequence: &[u8]) -> Option<&[u8]> {
    Elements(sequence).find_tag(SEQUENCE)
}

/// The point of a SubjectPublicKeyInfo whose key is of P-256.
pub(crate) fn p256_point(info: &[u8]) -> Option<&[u8]> {
    let mut fields = Elements(info);
    fields.next().filter(|field| *field == (SEQUENCE, P256))?;
    let (_, bits) = fields.next().filter(|(tag, _)| *tag == BIT_STRING)?;
    // Its first octet counts the bits that are left over.
    bits.strip_prefix(&[0])
}

/// RFC 5280 4.1.2.5: `YYMMDDHHMMSSZ`, or with four digits of the year.
fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(text.len().checked_sub(10)?)?;
    let number: u32 = year.parse().ok()?;
    let year = match (tag, year.len()) {
        (UTC_TIME, 2) if number < 50 => 2000 + number,
        (UTC_TIME, 2) => 1900 + number,
        (GENERALIZED_TIME, 4) => number,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let month = time::Month::try_from(part(0)?).ok()?;
    let date = time::Date::from_calendar_date(i32::try_from(year).ok()?, month, part(2)?).ok()?;
    let at = date.with_hms(part(4)?, part(6)?, part(8)?).ok()?.assume_utc();
    // What is before 1970 has begun long ago.
    Some(u64::try_from(at.unix_timestamp()).unwrap_or(0))
}

fn to_be_signed(certificate: &[u8]) -> Option<&[u8]> {
    value(value(certificate)?)
}

/// DER elements in a row: tag and value. Ends at the first that is not well formed.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn find_tag(mut self, wanted: u8) -> Option<&'a [u8]> {
        self.find(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let length = if first & 0x80 == 0 {
            usize::from(first)
        } else {
            let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            octets
                .iter()
                .try_fold(0_usize, |sum, octet| sum.checked_mul(256)?.checked_add(usize::from(*octet)))?
        };
        let (value, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, value))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str], names: &[&str]) -> Vec<u8> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_dns_name_counts_where_there_is_no_sip_uri() {
        let names = Names::of(&certificate(&[], &["Example.COM", "*.wild.example"]));
        assert!(names.vouch_for("example.com"));
        assert!(!names.vouch_for("sip.example.com"));
        assert!(!names.vouch_for("host.wild.example"), "RFC 5922 7.2: no wildcards");
        assert!(names.vouch_for_host("EXAMPLE.com.") && !names.vouch_for_host("host.wild.example"));
    }

    #[test]
    fn a_sip_uri_takes_the_place_of_dns_names() {
        let names =
            Names::of(&certificate(&["sip:example.org", "http://example.net"], &["host.example.com"]));
        assert!(names.vouch_for("example.org"));
        assert!(!names.vouch_for("host.example.com"));
        assert!(names.vouch_for_host("host.example.com"), "of MSRP hosts SIP URIs say nothing");
        assert!(!names.vouch_for("example.net"));
        assert!(
            Names::of(&certificate(&["sip:user@example.org"], &["dns.example"])).vouch_for("dns.example")
        );
    }

    #[test]
    fn a_certificate_cut_anywhere_vouches_for_nothing_wrong_and_does_not_panic() {
        let whole = certificate(&[], &["example.com"]);
        for end in 0..whole.len() {
            assert!(!Names::of(&whole[..end]).vouch_for("other.example"));
        }
    }
}
