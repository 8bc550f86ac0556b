//! Digest authentication, the client's side (RFC 7616 and 8760; RFC 2617 for old servers): what SIP and MSRP share.
//!
//! A challenge that is understood becomes a protection space, which answers for as many requests as its nonce lives. Who
//! asked, and where the answer is written, is for the protocols to know. Users of relays need [`Credentials`], and
//! [`Refusal`] where these do not help; the rest is for the other crates of Parlour, and no promise is made of it.

use std::borrow::Cow;
use std::fmt;

use md5::Md5;
use sha2::digest::Digest as Hash;
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::parts::is_token;

/// A user name and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The user name in the realm.
    pub username: String,
    /// The password; wiped from memory when dropped.
    pub password: Zeroizing<String>,
    /// If set, challenges for any other realm are not answered (X-41).
    pub realm: Option<String>,
}

impl Credentials {
    /// For whatever realm asks.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials { username: username.into(), password: Zeroizing::new(password.into()), realm: None }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// The hash functions of RFC 8760.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Broken, and still what most servers offer.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512 cut to 256 bits.
    Sha512_256,
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The response holds no challenge that can be read.
    #[error("no challenge can be read")]
    NoChallenge,
    /// None of the challenges is Digest with an algorithm and a quality of protection that we know.
    #[error("no algorithm or qop that is understood")]
    NotUnderstood,
    /// The challenge is for a realm that we have no password for.
    #[error("a realm that no password is for")]
    OtherRealm,
    /// The credentials were refused.
    #[error("user name or password is wrong")]
    Rejected,
    /// The third challenge in a row for one request.
    #[error("challenged again and again")]
    TooOften,
}

/// The quality of protection that a challenge has to offer.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// None, if it is MD5, for servers of before RFC 2617; where `auth` is offered, it is taken.
    Any,
    /// `auth`, and not `auth-int` beside it (RFC 4976 9.1).
    AuthAlone,
}

/// One protection space, and the nonce that opens it.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Space {
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    algorithm: Algorithm,
    /// The algorithm as the challenge named it, to be returned unchanged.
    named: Option<Box<str>>,
    /// Whether qop=auth is offered; if not, RFC 2617's older way is taken.
    qop: bool,
    /// How often the nonce was used.
    used: u32,
}

/// What was learnt from challenges; used again, with a higher count, for later requests. `A` is who asks.
#[doc(hidden)]
#[derive(Debug)]
pub struct Authenticator<A> {
    spaces: Vec<(A, Space)>,
}

impl<A> Default for Authenticator<A> {
    fn default() -> Self {
        Authenticator { spaces: Vec::new() }
    }
}

/// The challenges answered so far for one request.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain<A> {
    answered: Vec<(A, Box<str>)>,
}

impl<A> Default for Chain<A> {
    fn default() -> Self {
        Chain { answered: Vec::new() }
    }
}

/// A request is sent with credentials this often at most (X-41).
const ATTEMPTS: usize = 2;
/// Protection spaces remembered by one authenticator.
const SPACES: usize = 8;

impl<A: Clone + PartialEq> Authenticator<A> {
    /// Takes the challenges of a response, those that are not understood as `None`: a space, and whether the challenge
    /// says that only the nonce was too old. After `Ok`, send the request again. `chain` belongs to the request and lives
    /// until its last response. Returns the weakest algorithm that will be used.
    ///
    /// # Errors
    /// There is nothing that could be answered, or no sense in doing it once more.
    pub fn challenged(
        &mut self,
        challenges: impl IntoIterator<Item = (A, Option<(Space, bool)>)>,
        credentials: &Credentials,
        chain: &mut Chain<A>,
    ) -> Result<Algorithm, Refusal> {
        //= IM X-41
        if chain.answered.len() >= ATTEMPTS {
            return Err(Refusal::TooOften);
        }
        let mut refusal = Refusal::NoChallenge;
        let mut chosen: Vec<(A, Space, bool)> = Vec::new();
        for (asker, understood) in challenges {
            let Some((space, stale)) = understood else {
                refusal = Refusal::NotUnderstood;
                continue;
            };
            if credentials.realm.as_deref().is_some_and(|realm| realm != &*space.realm) {
                refusal = Refusal::OtherRealm;
                continue;
            }
            // RFC 8760 2.4: the topmost that is understood, but by local policy MD5 only where nothing better is.
            match chosen.iter_mut().find(|(known, of, _)| *known == asker && of.realm == space.realm) {
                None => chosen.push((asker, space, stale)),
                Some(known) if known.1.algorithm == Algorithm::Md5 && space.algorithm > Algorithm::Md5 => {
                    *known = (asker, space, stale);
                }
                Some(_) => {}
            }
        }
        let weakest = chosen.iter().map(|(_, space, _)| space.algorithm).min().ok_or(refusal)?;
        for (asker, space, stale) in &chosen {
            // RFC 7616 3.3: only `stale` says that the password was right.
            let before = chain.answered.iter().any(|(known, realm)| known == asker && *realm == space.realm);
            if before && !stale {
                return Err(Refusal::Rejected);
            }
        }
        for (asker, space, _) in chosen {
            chain.answered.push((asker.clone(), space.realm.clone()));
            self.spaces.retain(|(known, of)| *known != asker || of.realm != space.realm);
            if self.spaces.len() >= SPACES {
                self.spaces.remove(0);
            }
            self.spaces.push((asker, space));
        }
        Ok(weakest)
    }

    /// The spaces known, the one learnt last at the end.
    pub fn spaces(&mut self) -> impl DoubleEndedIterator<Item = (&A, &mut Space)> {
        self.spaces.iter_mut().map(|(asker, space)| (&*asker, space))
    }

    /// Forgets what an asker said.
    pub fn forget(&mut self, asker: &A) {
        self.spaces.retain(|(known, _)| known != asker);
    }

    /// Whether a challenge of this realm was answered before.
    pub fn knows(&self, realm: &str) -> bool {
        self.spaces.iter().any(|(_, space)| *space.realm == *realm)
    }

    /// Whether there is anything to authenticate with yet.
    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }
}

/// What was sent with a request, to check the proof of the server that it knows the password too.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    nonce: Box<str>,
    cnonce: Box<str>,
    count: u32,
}

impl Space {
    /// What a Digest challenge asks for, and whether it only says that the nonce was too old. `param` gives the value
    /// of a parameter, without its quotes. `None` if it asks for what we do not know.
    pub fn understand<'c>(
        param: impl Fn(&str) -> Option<Cow<'c, str>>,
        wanted: Qop,
    ) -> Option<(Space, bool)> {
        let named = param("algorithm");
        // RFC 7616 3.3: no algorithm means MD5.
        let algorithm = Algorithm::of(named.as_deref().unwrap_or("MD5"))?;
        let offered = param("qop");
        let offers = |option: &str| {
            let offered = offered.as_deref().unwrap_or_default();
            offered.split(',').any(|offered| offered.trim().eq_ignore_ascii_case(option))
        };
        let qop = match (&offered, wanted) {
            (Some(_), Qop::AuthAlone) if offers("auth-int") => return None,
            // RFC 7616 3.3: options that we don't know are ignored, but one must be ours.
            (Some(_), Qop::Any | Qop::AuthAlone) => offers("auth").then_some(true)?,
            // RFC 2617 3.2.1: an old server, which knows MD5 only, may offer none.
            (None, Qop::Any) => (algorithm == Algorithm::Md5).then_some(false)?,
            (None, Qop::AuthAlone) => return None,
        };
        let stale = param("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let space = Space {
            realm: param("realm")?.into(),
            nonce: param("nonce")?.into(),
            opaque: param("opaque").map(Into::into),
            algorithm,
            named: named.map(Into::into),
            qop,
            used: 0,
        };
        Some((space, stale))
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The value of the Authorization row (RFC 7616 3.4) for the next request, and what a proof of the server is
    /// checked against. `uri` is the one that the request is for, as it is written there; `cnonce` is random.
    pub fn answer(
        &mut self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        cnonce: &str,
    ) -> (String, Asked) {
        self.used = self.used.saturating_add(1);
        let asked = Asked { nonce: self.nonce.clone(), cnonce: cnonce.into(), count: self.used };
        let response = self.response(credentials, &asked, &[method, ":", uri]);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\"",
            escape(&credentials.username),
            escape(&self.realm),
            escape(&self.nonce),
            escape(uri),
            *response
        );
        // RFC 7616 3.4: what the challenge said of these is returned as it was.
        if let Some(named) = &self.named {
            value.push_str(&format!(", algorithm={named}"));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{}\"", escape(opaque)));
        }
        if self.qop {
            value.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={:08x}", self.used));
        }
        (value, asked)
    }

    /// Whether `rspauth` proves that the server which was asked for `uri` knows the password (RFC 7616 3.5).
    pub fn proves(&self, credentials: &Credentials, asked: &Asked, uri: &str, rspauth: &str) -> bool {
        // RFC 7616 3.4.3: A2 of a response has no method.
        let expected = self.response(credentials, asked, &[":", uri]);
        let same: bool = expected.as_bytes().ct_eq(rspauth.to_ascii_lowercase().as_bytes()).into();
        same
    }

    /// Takes the nonce for the next request (RFC 7616 3.5).
    pub fn renew(&mut self, nonce: &str) {
        (self.nonce, self.used) = (nonce.into(), 0);
    }

    fn response(&self, credentials: &Credentials, asked: &Asked, a2: &[&str]) -> Zeroizing<String> {
        let hash = |parts: &[&str]| self.algorithm.hash(parts);
        let a1 = hash(&[&credentials.username, ":", &self.realm, ":", &credentials.password]);
        let a2 = hash(a2);
        let count = format!("{:08x}", asked.count);
        match self.qop {
            true => hash(&[&a1, ":", &asked.nonce, ":", &count, ":", &asked.cnonce, ":auth:", &a2]),
            // RFC 2617 3.2.2.1, for compatibility with RFC 2069.
            false => hash(&[&a1, ":", &asked.nonce, ":", &a2]),
        }
    }
}

impl Algorithm {
    /// RFC 7616 6.1 and RFC 8760 2.1; the `-sess` variants are not understood.
    fn of(name: &str) -> Option<Algorithm> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("MD5") => Some(Algorithm::Md5),
            () if is("SHA-256") => Some(Algorithm::Sha256),
            () if is("SHA-512-256") => Some(Algorithm::Sha512_256),
            () => None,
        }
    }

    /// The hash of the concatenation, in lower-case hexadecimal digits.
    fn hash(self, parts: &[&str]) -> Zeroizing<String> {
        fn hex<H: Hash>(parts: &[&str]) -> Zeroizing<String> {
            let mut hash = H::new();
            for part in parts {
                hash.update(part.as_bytes());
            }
            let digits = |octet: &u8| [octet >> 4, octet & 15].map(|half| char::from_digit(half.into(), 16));
            Zeroizing::new(hash.finalize().iter().flat_map(digits).flatten().collect())
        }
        match self {
            Algorithm::Md5 => hex::<Md5>(parts),
            Algorithm::Sha256 => hex::<Sha256>(parts),
            Algorithm::Sha512_256 => hex::<Sha512_256>(parts),
        }
    }
}

/// The value of a WWW-Authenticate or Authentication-Info header of MSRP: parameters, after a scheme or not.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    params: &'a str,
}

impl<'a> Challenge<'a> {
    /// Reads a Digest challenge; `None` for another scheme.
    pub fn parse(value: &'a str) -> Option<Challenge<'a>> {
        let (scheme, params) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("Digest").then_some(Challenge { params })
    }

    /// Parameters alone, as Authentication-Info has them.
    pub fn info(params: &'a str) -> Challenge<'a> {
        Challenge { params }
    }

    /// The value of a parameter with quotes and escapes resolved. Names are case-insensitive. What follows a malformed
    /// parameter is not read.
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.params;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let length = rest.bytes().take_while(|octet| is_token(*octet)).count();
            let (found, tail) = rest.split_at_checked(length)?;
            let tail = tail.trim_start_matches([' ', '\t']).strip_prefix('=')?;
            let tail = tail.trim_start_matches([' ', '\t']);
            let (value, tail) = match tail.strip_prefix('"') {
                Some(inner) => quoted(inner)?,
                None => {
                    let (value, tail) = tail.split_at_checked(tail.find(',').unwrap_or(tail.len()))?;
                    (Cow::Borrowed(value.trim_end()), tail)
                }
            };
            if found.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = tail;
        }
    }
}

/// What stands before the closing quote, and what follows it.
fn quoted(inner: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = inner.find(|letter| match letter {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        _ => letter == '"',
    })?;
    let (text, tail) = inner.split_at_checked(end)?;
    let tail = tail.strip_prefix('"')?;
    if !text.contains('\\') {
        return Some((Cow::Borrowed(text), tail));
    }
    let mut escaped = false;
    let resolved = text.chars().filter(|letter| {
        escaped = *letter == '\\' && !escaped;
        !escaped
    });
    Some((Cow::Owned(resolved.collect()), tail))
}

/// The inside of a quoted string.
fn escape(text: &str) -> Cow<'_, str> {
    match text.contains(['"', '\\']) {
        true => Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(password: &str) -> Credentials {
        Credentials {
            username: "Mufasa".to_owned(),
            password: Zeroizing::new(password.to_owned()),
            realm: None,
        }
    }

    fn space(challenge: &str, wanted: Qop) -> Option<(Space, bool)> {
        let challenge = Challenge::parse(challenge)?;
        Space::understand(|name| challenge.param(name), wanted)
    }

    /// The answer to one challenge, with the cnonce of an example.
    fn answer(challenge: &str, password: &str, cnonce: &str) -> String {
        let (mut space, _) = space(challenge, Qop::Any).expect("a challenge that is understood");
        space.answer(&credentials(password), "GET", "/dir/index.html", cnonce).0
    }

    const RFC_7616: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=ALGORITHM, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    #[test]
    fn the_example_of_rfc_7616_with_sha_256() {
        insta::assert_snapshot!(
            answer(&RFC_7616.replace("ALGORITHM", "SHA-256"), "Circle of Life", CNONCE).replace(", ", "\n"), @r#"
        Digest username="Mufasa"
        realm="http-auth@example.org"
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
        uri="/dir/index.html"
        response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        algorithm=SHA-256
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        qop=auth
        nc=00000001
        "#);
    }

    #[test]
    fn the_example_of_rfc_7616_with_md5() {
        let answer = answer(&RFC_7616.replace("ALGORITHM", "MD5"), "Circle of Life", CNONCE);
        assert!(answer.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{answer}");
    }

    #[test]
    fn the_example_of_rfc_2617() {
        let challenge = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let answer = answer(challenge, "Circle Of Life", "0a4f113b");
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
        assert!(!answer.contains("algorithm"), "it named none");
    }

    #[test]
    fn without_qop_the_older_way_is_taken_with_md5_only() {
        let challenge = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let answer = answer(challenge, "Circle Of Life", "0a4f113b");
        // The hash of RFC 2069, which RFC 2617's reference code yields for the values of its example.
        assert!(answer.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{answer}");
        assert!(!answer.contains("qop") && !answer.contains("cnonce") && !answer.contains("nc="), "{answer}");
        assert!(space(&format!("{challenge}, algorithm=SHA-256"), Qop::Any).is_none());
    }

    #[test]
    fn sha_512_256_is_understood() {
        // The hash of "abc" from FIPS 180-4's examples.
        assert_eq!(
            &*Algorithm::Sha512_256.hash(&["a", "bc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        let challenge = RFC_7616.replace("ALGORITHM", "sha-512-256");
        assert!(answer(&challenge, "x", "y").contains("algorithm=sha-512-256,"), "as the challenge wrote it");
    }

    //= IM M-20 test
    #[test]
    fn relays_may_offer_qop_auth_alone() {
        let challenge = |rest: &str| space(&format!("Digest realm=\"r\", nonce=\"n\"{rest}"), Qop::AuthAlone);
        assert!(challenge(", qop=\"auth\", domain=\"elsewhere\"").is_some());
        assert!(challenge(", qop=\"auth\", algorithm=SHA-256").is_some());
        for refused in [
            "",
            ", qop=\"auth-int\"",
            ", qop=\"auth,auth-int\"",
            ", qop=\"auth\", algorithm=MD5-sess",
            ", qop=\"auth\", algorithm=FOO",
        ] {
            assert!(challenge(refused).is_none(), "{refused}");
        }
        assert!(space("Basic realm=\"r\"", Qop::Any).is_none());
    }

    //= IM M-20 test
    #[test]
    fn a_server_proves_that_it_knows_the_password() {
        let (mut space, _) = space(&RFC_7616.replace("ALGORITHM", "MD5"), Qop::Any).expect("understood");
        let (_, asked) = space.answer(&credentials("Circle of Life"), "GET", "/dir/index.html", CNONCE);
        // MD5(A1):nonce:00000001:cnonce:auth:MD5(":/dir/index.html"), computed with another program.
        let rspauth = "9b712497bc9f91499fbcca1dfc5f09a5";
        let of = |password: &str, rspauth: &str| {
            space.proves(&credentials(password), &asked, "/dir/index.html", rspauth)
        };
        assert!(of("Circle of Life", rspauth) && of("Circle of Life", &rspauth.to_uppercase()));
        assert!(!of("circle of life", rspauth) && !of("Circle of Life", "") && !of("Circle of Life", "9f"));
    }

    #[test]
    fn parameters_are_read_with_their_quotes_resolved() {
        let challenge =
            Challenge::parse(r#"digest realm="a\"b\\c" , nonce="n,x=\"1",, qop = auth,opaque="unfinished"#)
                .expect("Digest");
        assert_eq!(challenge.param("REALM").as_deref(), Some(r#"a"b\c"#));
        assert_eq!(challenge.param("nonce").as_deref(), Some(r#"n,x="1"#));
        assert_eq!(challenge.param("qop").as_deref(), Some("auth"));
        assert_eq!(challenge.param("x"), None);
        assert_eq!(challenge.param("opaque"), None);
        assert_eq!(Challenge::info("nextnonce=\"a\",qop=auth").param("nextnonce").as_deref(), Some("a"));
    }

    #[test]
    fn no_debug_output_shows_the_password() {
        let shown = format!("{:?}", credentials("Circle of Life"));
        assert!(shown.contains("Mufasa") && !shown.contains("Circle"), "{shown}");
    }
}
