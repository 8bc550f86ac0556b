use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;
use crate::sip::header::{Date, Header};

const INFO: &str = "https://cert.example.org/passport.cer";
const HEAD: &str = r#"{"alg":"ES256","typ":"passport","x5u":"https://cert.example.org/passport.cer"}"#;
const CLAIMS: &str =
    r#"{"dest":{"uri":["sip:alice@example.com"]},"iat":1443208345,"orig":{"tn":"12155551212"}}"#;
const AT: u64 = 1_443_208_345;

fn decoded(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// The key pair of RFC 8225 A.1, and its public half. A.2 shows another one.
fn signer() -> (EcdsaKeyPair, PublicKey) {
    let pkcs8 = decoded(
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi7q2TZvN9VDFg8VyqCP06bETrR2v8MRvr89rn4i+UAahRANCAAQWfaj1HUETpoNC\
        rOtp9KA8o0V79IuWARKt9C1cFPkyd3FBP4SeiNZxQhDrD0tdBHls3/wFe8++K2FrPyQF9vuh",
    );
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new()).unwrap();
    let key = PublicKey::of_point(pair.public_key().as_ref()).unwrap();
    (pair, key)
}

/// The public key of RFC 8225 A.2.
fn other_key() -> PublicKey {
    let spki = decoded(
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8HNbQd/TmvCKwPKHkMF9fScavGeH78YTU8qLS8I5HLHSSmlATLcslQMhNC/OhlWBYC626nIlo7XeebYS\
        7Sb37g==",
    );
    PublicKey::of_point(&spki[spki.len() - 65..]).unwrap()
}

fn sign(signed: &str) -> String {
    let signature = signer().0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    BASE64URL.encode(signature.as_ref())
}

fn full(head: &str, claims: &str) -> String {
    let signed = format!("{}.{}", BASE64URL.encode(head), BASE64URL.encode(claims));
    format!("{signed}.{}", sign(&signed))
}

fn compact(head: &str, claims: &str) -> String {
    format!("..{}", full(head, claims).rsplit('.').next().unwrap())
}

/// The request of RFC 8224 5.1.
struct Request {
    from: &'static str,
    to: &'static str,
    date: Option<u64>,
    description: &'static str,
    now: u64,
}

const REQUEST: Request = Request {
    from: "sip:12155551212@example.com;user=phone",
    to: "sip:alice@example.com",
    date: Some(AT),
    description: "v=0\r\n",
    now: AT,
};

impl Request {
    fn verify_with(&self, key: &PublicKey, token: &str) -> Result<Proven, PassportFault> {
        let identity = Identity { token, info: INFO, alg: None, ppt: None };
        let uri = |text: &'static str| Uri::parse(text.as_bytes()).unwrap();
        let media_keys = MediaKey::all(self.description.as_bytes());
        let signalled = Signalled { from: uri(self.from), to: uri(self.to), date: self.date, media_keys };
        let freshness = Freshness { now: Duration::from_secs(self.now), within: Duration::from_secs(60) };
        verify(&identity, &signalled, key, &freshness)
    }

    #[track_caller]
    fn holds(&self, token: &str) -> Party {
        self.verify_with(&signer().1, token).unwrap().orig
    }

    #[track_caller]
    fn fails(&self, token: &str, why: &str) {
        let fault = self.verify_with(&signer().1, token).unwrap_err();
        assert!(fault.to_string().contains(why), "{fault}");
    }
}

/// Of the published examples one signature holds: that of RFC 8224 4.1.1, by the key of RFC 8225 A.2, over claims whose
/// `iat` is a string. No claims that obey RFC 8225 5.1.1 have it, and that of RFC 8225 A is by neither of its keys.
#[test]
fn the_examples_are_what_they_are() {
    let head = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9";
    assert_eq!(BASE64URL.encode(HEAD), head, "our serialization is that of the example");
    let claims = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6IjE0NDMyMDgzNDUiLCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0";
    let signature = "rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojNCpTzO3QfPOlckGaS6hEck7w";
    let octets = BASE64URL.decode(signature).unwrap();
    let holds = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, other_key().0)
        .verify(format!("{head}.{claims}").as_bytes(), &octets);
    assert!(holds.is_ok());
    let verify = |token: &str| REQUEST.verify_with(&other_key(), token).unwrap_err().to_string();
    assert!(verify(&format!("{head}.{claims}.{signature}")).contains("iat is no time"));
    assert!(verify(&format!("..{signature}")).contains("not that of the key"));
    let claims = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19";
    let signature = "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw";
    let later = Request { date: Some(1_471_375_418), now: 1_471_375_418, ..REQUEST };
    for key in [signer().1, other_key()] {
        let fault = later.verify_with(&key, &format!("{head}.{claims}.{signature}")).unwrap_err();
        assert!(fault.to_string().contains("not that of the key"), "{fault}");
    }
}

#[test]
fn full_and_compact_hold_and_prove_the_number() {
    let number = Party::Number("12155551212".into());
    assert_eq!(REQUEST.holds(&compact(HEAD, CLAIMS)), number);
    assert_eq!(REQUEST.holds(&full(HEAD, CLAIMS)), number);
    // A full one may have claims more, and spaces.
    let more = r#"{ "orig":{"tn":"12155551212"}, "dest":{"uri":["sip:alice@example.com","sip:x@y"]},"iat":1443208345,"z":[1]}"#;
    assert_eq!(REQUEST.holds(&full(HEAD, more)), number);
}

#[test]
fn a_letter_changed_anywhere_breaks_it() {
    let token = full(HEAD, CLAIMS);
    for at in (0..token.len()).filter(|at| token.as_bytes()[*at] != b'.') {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(REQUEST.verify_with(&signer().1, &forged).is_err(), "{at}");
    }
    assert!(REQUEST.verify_with(&other_key(), &token).is_err());
}

#[test]
fn the_request_must_say_the_same() {
    let (short, long) = (compact(HEAD, CLAIMS), full(HEAD, CLAIMS));
    let from = Request { from: "sip:12155551213@example.com;user=phone", ..REQUEST };
    from.fails(&long, "orig is not From");
    from.fails(&short, "not that of the key");
    let from = Request { from: "sip:12155551212@example.com", ..REQUEST };
    from.fails(&long, "orig is not From");
    let to = Request { to: "sip:bob@example.com", ..REQUEST };
    to.fails(&long, "dest is not To");
    to.fails(&short, "not that of the key");
    let date = Request { date: Some(AT + 1), ..REQUEST };
    date.fails(&short, "not that of the key");
    // iat may differ from Date in the full form.
    date.holds(&long);
    let mail = Request { from: "mailto:a@b", ..REQUEST };
    mail.fails(&short, "From is nobody");
}

#[test]
fn what_is_not_of_now_is_stale() {
    for (now, fresh) in [(AT - 61, false), (AT - 60, true), (AT + 60, true), (AT + 61, false)] {
        let request = Request { now, ..REQUEST };
        for token in [compact(HEAD, CLAIMS), full(HEAD, CLAIMS)] {
            match request.verify_with(&signer().1, &token) {
                Ok(_) => assert!(fresh, "{now}"),
                Err(Stale(_)) => assert!(!fresh, "{now}"),
                Err(Invalid(why)) => panic!("{why}"),
            }
        }
        let undated = Request { now, date: None, ..REQUEST };
        assert_eq!(undated.verify_with(&signer().1, &full(HEAD, CLAIMS)).is_ok(), fresh, "iat alone counts");
    }
    let undated = Request { date: None, ..REQUEST };
    undated.fails(&compact(HEAD, CLAIMS), "no Date");
    // A fresh iat does not mend an outdated Date.
    let outdated = Request { date: Some(AT - 3600), ..REQUEST };
    outdated.fails(&full(HEAD, CLAIMS), "Date is not of now");
    let old = CLAIMS.replace("1443208345", "1443204745");
    REQUEST.fails(&full(HEAD, &old), "iat is not of now");
    let huge = Request { date: Some(u64::MAX), now: u64::MAX / 2, ..REQUEST };
    huge.fails(&full(HEAD, CLAIMS), "Date is not of now");
}

#[test]
fn fingerprints_are_signed() {
    let description = "v=0\r\na=fingerprint:sha-256 4A:AD\r\nm=message 9 TCP/TLS/MSRP *\r\n\
        a=fingerprint:sha-256 02:1A\r\na=fingerprint:sha-256 02:1A\r\n";
    let with = Request { description, ..REQUEST };
    let mky = r#""iat":1443208345,"mky":[{"alg":"sha-256","dig":"021A"},{"alg":"sha-256","dig":"4AAD"}],"#;
    let claims = CLAIMS.replace(r#""iat":1443208345,"#, mky);
    with.holds(&compact(HEAD, &claims));
    with.holds(&full(HEAD, &claims));
    with.fails(&full(HEAD, CLAIMS), "mky");
    with.fails(&compact(HEAD, CLAIMS), "not that of the key");
    REQUEST.fails(&full(HEAD, &claims), "mky");
    let other = Request { description: "a=fingerprint:sha-256 02:1B\n", ..REQUEST };
    other.fails(&full(HEAD, &claims), "mky");
}

#[test]
fn what_is_no_passport_is_told_apart() {
    let claims = |text: &str| full(HEAD, text);
    for (token, why) in [
        (String::new(), "three parts"),
        ("a.b".into(), "three parts"),
        ("a.b.c.d".into(), "three parts"),
        (format!("{}.", full(HEAD, CLAIMS)), "three parts"),
        ("a..c".into(), "neither full nor compact"),
        (".b.c".into(), "neither full nor compact"),
        ("..".into(), "64 octets"),
        ("..AAAA".into(), "64 octets"),
        ("..A+/A".into(), "no base64url"),
        (format!("{}=", compact(HEAD, CLAIMS)), "no base64url"),
        ("a+.b.c".into(), "no base64url"),
        (full("{", CLAIMS), "header of the PASSporT is no JSON"),
        (full("[]", CLAIMS), "typ or alg"),
        (full(r#"{"alg":"ES256","typ":"passport"}"#, CLAIMS), "x5u"),
        (full(&HEAD.replace("ES256", "none"), CLAIMS), "typ or alg"),
        (full(&HEAD.replace("passport\"", "jwt\""), CLAIMS), "typ or alg"),
        (full(&HEAD.replace("https", "http"), CLAIMS), "x5u"),
        (full(&HEAD.replace("\"typ\"", "\"ppt\":\"shaken\",\"typ\""), CLAIMS), "extension"),
        (full(&HEAD.replace("\"typ\"", "\"crit\":[\"x\"],\"typ\""), CLAIMS), "extension"),
        (claims("\u{0}"), "claims"),
        (claims(&"[".repeat(5000)), "claims"),
        (claims(&CLAIMS.replace("1443208345", "-1")), "iat is no time"),
        (claims(&CLAIMS.replace("1443208345", "1443208345.0")), "iat is no time"),
        (claims(&CLAIMS.replace(r#""iat":1443208345,"#, "")), "iat is no time"),
        (claims(&CLAIMS.replace(r#""iat""#, r#""iat":1,"iat""#)), "claims"),
        (claims(&CLAIMS.replace(r#""tn":"#, r#""x":"","tn":"#)), "exactly one"),
        (claims(&CLAIMS.replace(r#"{"tn":"12155551212"}"#, "{}")), "exactly one"),
        (claims(&CLAIMS.replace(r#"{"tn""#, r#"{"uri":"sip:x@y","tn""#)), "exactly one"),
        (claims(&CLAIMS.replace(r#"{"uri":["sip:alice@example.com"]}"#, "{}")), "dest"),
    ] {
        REQUEST.fails(&token, why);
    }
}

#[test]
fn somebody_is_written_in_one_way() {
    let party = |text: &str| Party::of(&Uri::parse(text.as_bytes()).unwrap());
    let number = |number: &str| Some(Party::Number(number.into()));
    let uri = |uri: &str| Some(Party::Uri(uri.into()));
    for same in [
        "tel:+1-215-555-1212",
        "tel:+1(215)555.1212;isub=1",
        "sip:+12155551212@a.example",
        "sip:12155551212@b.example;user=phone",
        "sip:+1-215-555-1212;isub=1@c.example;user=PHONE",
        "sips:%2B12155551212@c.example:5061;user=phone",
        "tel:+12155551212;phone-context=+1",
    ] {
        assert_eq!(party(same), number("12155551212"), "{same}");
    }
    assert_eq!(party("sip:*31%23@x;user=phone"), number("*31#"));
    assert_eq!(party("tel:911;phone-context=example.com"), None);
    assert_eq!(party("mailto:a@b"), None);
    for (text, canonical) in [
        ("sip:Alice@Example.COM:5070;transport=tcp?x=y", "sip:alice@example.com"),
        ("SIPS:alice:secret@example.com", "sips:alice@example.com"),
        ("sip:%41li%2Dce%2f@example.com", "sip:ali-ce%2F@example.com"),
        ("sip:12155551212@example.com", "sip:12155551212@example.com"),
        ("sip:911;phone-context=x@example.com;user=phone", "sip:911;phone-context=x@example.com"),
        ("sip:1234567890123456@example.com;user=phone", "sip:1234567890123456@example.com"),
        ("sip:+12x@example.com", "sip:+12x@example.com"),
        ("sip:[2001:DB8::1]:5060", "sip:[2001:db8::1]"),
    ] {
        assert_eq!(party(text), uri(canonical), "{text}");
    }
    assert!(party("sips:a@x").unwrap().is(&party("sip:A@X").unwrap()));
    assert!(!party("sip:a@x").unwrap().is(&party("sip:a@y").unwrap()));
}

#[test]
fn a_uri_is_signed_as_it_stands() {
    let claims = CLAIMS.replace(r#"{"tn":"12155551212"}"#, r#"{"uri":"sip:bob@example.com"}"#);
    let bob = Request { from: "sip:Bob@EXAMPLE.com:5060;x=y", ..REQUEST };
    assert_eq!(bob.holds(&compact(HEAD, &claims)), Party::Uri("sip:bob@example.com".into()));
    assert_eq!(bob.holds(&full(HEAD, &claims)), Party::Uri("sip:bob@example.com".into()));
    // The scheme is signed: nobody takes the s away on the way.
    let secure = Request { from: "sips:bob@example.com", ..REQUEST };
    secure.fails(&full(HEAD, &claims), "orig");
}

/// Of a signature (r, s) there is a second form (r, n - s).
#[test]
fn both_forms_of_a_signature_have_one_nonce() {
    const ORDER: &str = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
    let token = compact(HEAD, CLAIMS);
    let mut signature = BASE64URL.decode(&token[2..]).unwrap();
    let mut borrow = 0_i32;
    for at in (0..32).rev() {
        let digit = i32::from(u8::from_str_radix(&ORDER[2 * at..2 * at + 2], 16).unwrap());
        let rest = digit - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(rest < 0);
        signature[32 + at] = u8::try_from(rest.rem_euclid(256)).unwrap();
    }
    let second = format!("..{}", BASE64URL.encode(&signature));
    assert_ne!(second, token);
    let verify = |token: &str| REQUEST.verify_with(&signer().1, token).unwrap().nonce;
    assert_eq!(verify(&second), verify(&token));
}

#[test]
fn the_example_has_the_date_that_its_claims_say() {
    assert_eq!(Date::parse(b"Fri, 25 Sep 2015 19:12:25 GMT").unwrap().0, AT);
}
