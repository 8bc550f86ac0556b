//! PASSporTs (RFC 8225) as the Identity header of SIP carries them (RFC 8224): compared with the request that they came
//! in, and verified with a key that is known already. Nothing is fetched.

mod json;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::header::{Identity, unescape};
use super::uri::{Scheme, Uri};
use json::{Value, quoted};

/// The one algorithm that PASSporTs must be verified with (RFC 8225 4.2): ECDSA with P-256 and SHA-256.
pub const ALGORITHM: &str = "ES256";

/// A public key of P-256: an uncompressed point.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 65]);

impl PublicKey {
    /// Takes a point as SEC 1 2.3.3 writes it without compression: 4, x, y. Whether it lies on the curve shows when
    /// something is verified with it: with one that does not, nothing ever is.
    pub fn of_point(point: &[u8]) -> Option<PublicKey> {
        let point: [u8; 65] = point.try_into().ok()?;
        point.starts_with(&[4]).then_some(PublicKey(point))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey(P-256)")
    }
}

/// Somebody, in the one way to write him that both sides of a signature share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// A telephone number: digits, `#` and `*` (RFC 8224 8.3).
    Number(String),
    /// A SIP or SIPS URI without port and parameters, in lower case (RFC 8224 8.5).
    Uri(String),
}

impl Party {
    /// Who a URI of the signalling stands for. `None`: a scheme that no PASSporT can name, or a local number.
    pub fn of(uri: &Uri<'_>) -> Option<Party> {
        let number = || number(uri).map(Party::Number);
        match uri.scheme() {
            Scheme::Tel => number(),
            Scheme::Sip | Scheme::Sips => number().or_else(|| Some(Party::Uri(canonical(uri)))),
            Scheme::Other => None,
        }
    }

    fn claimed(kind: &str, name: &str) -> Option<Party> {
        match kind {
            "tn" => Some(Party::Number(name.to_owned())),
            "uri" => Some(Party::Uri(name.to_owned())),
            _ => None,
        }
    }

    /// Whether both are the same, SIP and SIPS being no difference.
    pub fn is(&self, other: &Party) -> bool {
        let bare = |uri: &str| uri.split_once(':').map(|(_, rest)| rest.to_owned());
        match (self, other) {
            (Party::Uri(a), Party::Uri(b)) => bare(a) == bare(b),
            (Party::Number(a), Party::Number(b)) => a == b,
            (Party::Number(_), Party::Uri(_)) | (Party::Uri(_), Party::Number(_)) => false,
        }
    }
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Party::Number(number) => write!(f, "tel:+{number}"),
            Party::Uri(uri) => f.write_str(uri),
        }
    }
}

/// RFC 8224 8.1: a tel URI, `user=phone`, or a user part that starts with `+`. Which country a number without `+` belongs
/// to is not guessed: it counts as it is.
fn number(uri: &Uri<'_>) -> Option<String> {
    let user = unescape(uri.user()?.as_bytes());
    let mut parts = user.split(|octet| *octet == b';');
    let subscriber = parts.next()?;
    let is_global = subscriber.starts_with(b"+");
    let says_phone = uri.scheme() == Scheme::Tel
        || uri.param("user").flatten().is_some_and(|user| user.eq_ignore_ascii_case("phone"));
    let has_context = uri.scheme() == Scheme::Tel && uri.param("phone-context").is_some()
        || parts.any(|param| param.to_ascii_lowercase().starts_with(b"phone-context="));
    if !(is_global || says_phone && !has_context) {
        return None;
    }
    let mut number = String::new();
    for octet in subscriber.strip_prefix(b"+").unwrap_or(subscriber) {
        match octet {
            b'0'..=b'9' | b'#' | b'*' => number.push(char::from(*octet)),
            // RFC 3966 3: visual separators
            b'-' | b'.' | b'(' | b')' | b' ' => {}
            _ => return None,
        }
    }
    // E.164: at most 15 digits.
    (1..=15).contains(&number.len()).then_some(number)
}

/// RFC 8224 8.5: scheme, user and host, and nothing else.
fn canonical(uri: &Uri<'_>) -> String {
    let mut canonical = String::from(if uri.scheme() == Scheme::Sips { "sips:" } else { "sip:" });
    if let Some(user) = uri.user() {
        let mut rest = user.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let escape = rest.get(..3).filter(|_| *first == b'%');
            let octet = match escape.map(unescape).as_deref() {
                // RFC 3986 2.3: escapes of these mean the same as what they stand for.
                Some([octet]) if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) => *octet,
                Some([octet]) => {
                    let _ = write!(canonical, "%{octet:02X}");
                    rest = after.get(2..).unwrap_or_default();
                    continue;
                }
                Some(_) | None => *first,
            };
            rest = if escape.is_some() { after.get(2..).unwrap_or_default() } else { after };
            canonical.push(char::from(octet.to_ascii_lowercase()));
        }
        canonical.push('@');
    }
    canonical.push_str(&uri.host().to_ascii_lowercase());
    canonical
}

/// The fingerprint of a certificate in a session description: what `mky` signs (RFC 8225 5.2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaKey {
    /// The hash function.
    pub alg: String,
    /// The digest in hexadecimal, without colons.
    pub dig: String,
}

impl MediaKey {
    /// All that a description bears, in the order in which they are signed.
    pub fn all(description: &[u8]) -> Vec<MediaKey> {
        let key = |line: &[u8]| {
            let value = line.trim_ascii().strip_prefix(b"a=fingerprint:")?;
            let (alg, dig) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
            Some(MediaKey { alg: alg.to_owned(), dig: dig.trim().replace(':', "") })
        };
        let mut keys: Vec<_> = description.split(|octet| *octet == b'\n').filter_map(key).collect();
        keys.sort_by_cached_key(|key| format!("{}{}", key.alg, key.dig));
        // RFC 8224 4.1: equal ones count once.
        keys.dedup();
        keys
    }

    fn member(&self) -> String {
        format!(r#"{{"alg":{},"dig":{}}}"#, quoted(&self.alg), quoted(&self.dig))
    }

    fn of(claim: &Value) -> Option<MediaKey> {
        let member = |name: &str| Some(claim.get(name)?.text()?.to_owned());
        Some(MediaKey { alg: member("alg")?, dig: member("dig")? })
    }

    fn same(these: &[MediaKey], those: &[MediaKey]) -> bool {
        let folded = |keys: &[MediaKey]| {
            let mut keys: Vec<_> =
                keys.iter().map(|key| (key.alg.to_ascii_lowercase(), key.dig.to_ascii_lowercase())).collect();
            keys.sort();
            keys.dedup();
            keys
        };
        folded(these) == folded(those)
    }
}

/// What a request says for itself. A PASSporT has to repeat it: nothing that only the PASSporT says is believed
/// (RFC 8224 6.2.4).
#[derive(Debug, Clone)]
pub struct Signalled<'a> {
    /// The URI of From.
    pub from: Uri<'a>,
    /// The URI of To.
    pub to: Uri<'a>,
    /// Date: seconds since 1970.
    pub date: Option<u64>,
    /// The fingerprints of its description.
    pub media_keys: Vec<MediaKey>,
}

/// What time it is, and how old a signature may be.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// The wall clock: time since 1970-01-01T00:00:00Z.
    pub now: Duration,
    /// The largest difference between then and now.
    pub within: Duration,
}

impl Freshness {
    fn has(&self, seconds: u64) -> bool {
        self.now.abs_diff(Duration::from_secs(seconds)) <= self.within
    }
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The caller, as it was signed.
    pub orig: Party,
    /// The half of the signature that nobody but the signer can change: of each signature there is a second form, with the
    /// same first half, that anybody can compute.
    pub nonce: [u8; 32],
}

/// Why a PASSporT proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassportFault {
    /// It was signed too long ago, or is of the future.
    #[error("{0}")]
    Stale(&'static str),
    /// It is not what a signer would have made for this request.
    #[error("{0}")]
    Invalid(&'static str),
}

use PassportFault::{Invalid, Stale};

/// Verifies what an Identity header says about the request that it came in: baseline PASSporTs, full or compact.
///
/// # Errors
/// It does not hold.
pub fn verify(
    identity: &Identity<'_>,
    request: &Signalled<'_>,
    key: &PublicKey,
    freshness: &Freshness,
) -> Result<Proven, PassportFault> {
    let mut parts = identity.token.split('.');
    let (Some(head), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Invalid("the PASSporT has not three parts"));
    };
    // RFC 8224 12.1: a request with an outdated Date is never deemed valid.
    if request.date.is_some_and(|date| !freshness.has(date)) {
        return Err(Stale("Date is not of now"));
    }
    let (orig, signed) = match (head.is_empty(), claims.is_empty()) {
        (true, true) => rebuilt(identity, request)?,
        (false, false) => {
            let orig = repeated(identity, request, (head, claims), freshness)?;
            (orig, format!("{head}.{claims}"))
        }
        (true, false) | (false, true) => return Err(Invalid("the PASSporT is neither full nor compact")),
    };
    let signature = BASE64URL.decode(signature).map_err(|_| Invalid("the signature is no base64url"))?;
    let Some((nonce, 64)) = signature.first_chunk().map(|nonce| (*nonce, signature.len())) else {
        return Err(Invalid("the signature has not 64 octets"));
    };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.0)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| Invalid("the signature is not that of the key over this request"))?;
    Ok(Proven { orig, nonce })
}

/// What the signer of a compact PASSporT must have signed (RFC 8224 4.1, RFC 8225 7).
fn rebuilt(identity: &Identity<'_>, request: &Signalled<'_>) -> Result<(Party, String), PassportFault> {
    let iat = request.date.ok_or(Invalid("the PASSporT is compact and there is no Date"))?;
    let orig = Party::of(&request.from).ok_or(Invalid("From is nobody that a PASSporT can name"))?;
    let dest = Party::of(&request.to).ok_or(Invalid("To is nobody that a PASSporT can name"))?;
    let (dest, from) = (member(&dest, true), member(&orig, false));
    // RFC 8225 9: keys in lexicographic order, no spaces.
    let head = format!(r#"{{"alg":"{ALGORITHM}","typ":"passport","x5u":{}}}"#, quoted(identity.info));
    let keys: Vec<_> = request.media_keys.iter().map(MediaKey::member).collect();
    let mky = if keys.is_empty() { String::new() } else { format!(r#""mky":[{}],"#, keys.join(",")) };
    let claims = format!(r#"{{"dest":{dest},"iat":{iat},{mky}"orig":{from}}}"#);
    Ok((orig, format!("{}.{}", BASE64URL.encode(head), BASE64URL.encode(claims))))
}

/// Somebody as `orig`, or as the only one in `dest`.
fn member(party: &Party, listed: bool) -> String {
    let (name, text) = match party {
        Party::Number(number) => ("tn", quoted(number)),
        Party::Uri(uri) => ("uri", quoted(uri)),
    };
    if listed { format!(r#"{{"{name}":[{text}]}}"#) } else { format!(r#"{{"{name}":{text}}}"#) }
}

/// Compares a full PASSporT with the request: who is signed for.
fn repeated(
    identity: &Identity<'_>,
    request: &Signalled<'_>,
    (head, claims): (&str, &str),
    freshness: &Freshness,
) -> Result<Party, PassportFault> {
    let decode = |part: &str| BASE64URL.decode(part).map_err(|_| Invalid("the PASSporT is no base64url"));
    let (head, claims) = (decode(head)?, decode(claims)?);
    let head = Value::parse(&head).ok_or(Invalid("the header of the PASSporT is no JSON"))?;
    let claims = Value::parse(&claims).ok_or(Invalid("the claims of the PASSporT are no JSON"))?;
    let says = |name: &str, wanted: &str| head.get(name).and_then(Value::text) == Some(wanted);
    if !says("typ", "passport") || !says("alg", ALGORITHM) {
        return Err(Invalid("the header of the PASSporT has another typ or alg"));
    }
    // RFC 8224 4.1: equal by simple comparison.
    if !says("x5u", identity.info) {
        return Err(Invalid("x5u of the PASSporT is not info of the header"));
    }
    // RFC 8225 8.1: a ppt that is not known fails; RFC 7515 4.1.11: so does crit. The header told of neither.
    if head.get("ppt").is_some() || head.get("crit").is_some() {
        return Err(Invalid("the PASSporT wants an extension that Identity does not tell"));
    }
    let iat = claims.get("iat").and_then(Value::number).ok_or(Invalid("iat is no time in seconds"))?;
    if !freshness.has(iat) {
        return Err(Stale("iat is not of now"));
    }
    // RFC 8224 6.2.4: From says who calls, not the PASSporT.
    let orig = match claims.get("orig").and_then(Value::members) {
        Some([(kind, name)]) => name.text().and_then(|name| Party::claimed(kind, name)),
        Some(_) | None => None,
    };
    let orig = orig.ok_or(Invalid("orig is not exactly one number or URI"))?;
    if !stands_for(&request.from, &orig) {
        return Err(Invalid("orig is not From"));
    }
    let dest = claims.get("dest").and_then(Value::members).unwrap_or_default();
    let mut all = dest.iter().flat_map(|(kind, names)| {
        let names = names.items().unwrap_or_default().iter();
        names.filter_map(|name| Party::claimed(kind, name.text()?))
    });
    if !all.any(|dest| stands_for(&request.to, &dest)) {
        return Err(Invalid("dest is not To"));
    }
    let signed: Option<Vec<_>> = match claims.get("mky") {
        Some(keys) => keys.items().and_then(|keys| keys.iter().map(MediaKey::of).collect()),
        None => Some(Vec::new()),
    };
    // RFC 8224 4.1: fingerprints are always signed; one that is not here any more was taken away.
    if !signed.is_some_and(|signed| MediaKey::same(&signed, &request.media_keys)) {
        return Err(Invalid("mky is not what the description has as fingerprint"));
    }
    Ok(orig)
}

/// Whether a signer may have written this URI like that: a number as a number or as the URI that it stands in.
fn stands_for(uri: &Uri<'_>, party: &Party) -> bool {
    match party {
        Party::Number(signed) => number(uri).is_some_and(|number| number == *signed),
        Party::Uri(signed) => matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) && canonical(uri) == *signed,
    }
}

#[cfg(test)]
mod tests;
