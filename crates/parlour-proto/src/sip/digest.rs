//! Digest authentication, the client's side (RFC 7616, RFC 8760, RFC 3261 section 22; RFC 2617 for old servers).

use std::borrow::Cow;
use std::fmt;

use md5::Md5;
use parlour_msrp::random::Random;
use sha2::digest::Digest as Hash;
use sha2::{Sha256, Sha512_256};
use zeroize::Zeroizing;

use super::header::{Challenge, Header, ProxyAuthenticate, WwwAuthenticate};
use super::message::Message;
use super::name::Name;

/// A user name and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The user name in the realm.
    pub username: String,
    /// The password; wiped from memory when dropped.
    pub password: Zeroizing<String>,
    /// If set, challenges for any other realm are not answered.
    pub realm: Option<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Broken, and still what most servers offer.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512 cut to 256 bits.
    Sha512_256,
}

/// Who asks: the server that a request is for, or a proxy on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Server,
    Proxy,
}

/// One protection space, and the nonce that opens it.
#[derive(Debug)]
struct Session {
    asker: Asker,
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

/// What one account has learnt from challenges; used again, with a higher count, for its next requests.
#[derive(Debug, Default)]
pub struct Authenticator {
    sessions: Vec<Session>,
}

/// The challenges answered so far for one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chain {
    answered: Vec<(bool, Box<str>)>,
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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

/// A request is sent with credentials this often at most.
const ATTEMPTS: usize = 2;
/// Protection spaces remembered for one account.
const SESSIONS: usize = 8;

impl Authenticator {
    /// Takes the challenges of a 401 or 407. After `Ok`, send the request again, with a new CSeq number and branch,
    /// and the rows of [`rows`](Self::rows). `chain` belongs to the request and lives until its last response.
    /// Returns the weakest algorithm that will be used.
    ///
    /// # Errors
    /// There is nothing that could be answered, or no sense in doing it once more.
    pub fn challenged(
        &mut self,
        response: &Message<'_>,
        credentials: &Credentials,
        chain: &mut Chain,
    ) -> Result<Algorithm, Refusal> {
        //= IM X-41
        if chain.answered.len() >= ATTEMPTS {
            return Err(Refusal::TooOften);
        }
        let mut refusal = Refusal::NoChallenge;
        let mut chosen: Vec<(Session, bool)> = Vec::new();
        for (asker, challenge) in challenges(response) {
            let Some((session, stale)) = understand(asker, &challenge) else {
                refusal = Refusal::NotUnderstood;
                continue;
            };
            if credentials.realm.as_deref().is_some_and(|realm| realm != &*session.realm) {
                refusal = Refusal::OtherRealm;
                continue;
            }
            // RFC 8760 2.4: the topmost that is understood, but by local policy MD5 only where nothing better is.
            match chosen.iter_mut().find(|(known, _)| known.is_same_space(&session)) {
                None => chosen.push((session, stale)),
                Some(known) if known.0.algorithm == Algorithm::Md5 && session.algorithm > Algorithm::Md5 => {
                    *known = (session, stale);
                }
                Some(_) => {}
            }
        }
        let weakest = chosen.iter().map(|(session, _)| session.algorithm).min().ok_or(refusal)?;
        for (session, stale) in &chosen {
            let space = (session.asker == Asker::Proxy, session.realm.clone());
            // RFC 7616 3.3: only `stale` says that the password was right.
            if chain.answered.contains(&space) && !stale {
                return Err(Refusal::Rejected);
            }
        }
        for (session, _) in chosen {
            chain.answered.push((session.asker == Asker::Proxy, session.realm.clone()));
            self.sessions.retain(|known| !known.is_same_space(&session));
            if self.sessions.len() >= SESSIONS {
                self.sessions.remove(0);
            }
            self.sessions.push(session);
        }
        Ok(weakest)
    }

    /// The Authorization and Proxy-Authorization rows for a request, one for each protection space known; none before
    /// the first challenge. `uri` is the Request-URI as it is written in the request.
    pub fn rows(
        &mut self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        random: &mut Random,
    ) -> Vec<(Name, String)> {
        self.sessions
            .iter_mut()
            .map(|session| {
                let name = match session.asker {
                    Asker::Server => Name::Authorization,
                    Asker::Proxy => Name::ProxyAuthorization,
                };
                (name, session.answer(credentials, method, uri, &random.ident(24)))
            })
            .collect()
    }

    /// Takes the nonce for the next request from Authentication-Info of a 2xx (RFC 7616 3.5).
    pub fn accepted(&mut self, response: &Message<'_>) {
        let Some(row) = response.rows(Name::AuthenticationInfo).next() else { return };
        // It is a challenge without its scheme.
        let row = [b"Digest ", row].concat();
        let next = WwwAuthenticate::parse(&row).ok().and_then(|info| info.0.param("nextnonce"));
        let session = self.sessions.iter_mut().rfind(|session| session.asker == Asker::Server);
        if let (Some(nonce), Some(session)) = (next, session) {
            session.nonce = nonce.into();
            session.used = 0;
        }
    }

    /// Whether a challenge of this realm was answered before.
    pub fn knows(&self, realm: &str) -> bool {
        self.sessions.iter().any(|session| *session.realm == *realm)
    }

    /// Whether there is anything to authenticate with yet.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl Session {
    fn is_same_space(&self, other: &Session) -> bool {
        self.asker == other.asker && self.realm == other.realm
    }

    /// The value of the Authorization row (RFC 7616 3.4).
    fn answer(&mut self, credentials: &Credentials, method: &str, uri: &str, cnonce: &str) -> String {
        self.used = self.used.saturating_add(1);
        let count = format!("{:08x}", self.used);
        let hash = |parts: &[&str]| self.algorithm.hash(parts);
        let a1 = hash(&[&credentials.username, ":", &self.realm, ":", &credentials.password]);
        let a2 = hash(&[method, ":", uri]);
        let response = match self.qop {
            true => hash(&[&a1, ":", &self.nonce, ":", &count, ":", cnonce, ":auth:", &a2]),
            // RFC 2617 3.2.2.1, for compatibility with RFC 2069.
            false => hash(&[&a1, ":", &self.nonce, ":", &a2]),
        };
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
            value.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={count}"));
        }
        value
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

/// The challenges of a response that can be read, in order.
fn challenges<'a>(response: &Message<'a>) -> Vec<(Asker, Challenge<'a>)> {
    let server = response.list::<WwwAuthenticate<'a>>().flatten().map(|row| (Asker::Server, row.0));
    let proxy = response.list::<ProxyAuthenticate<'a>>().flatten().map(|row| (Asker::Proxy, row.0));
    server.chain(proxy).collect()
}

/// What a challenge asks for, and whether it only says that the nonce was too old.
fn understand(asker: Asker, challenge: &Challenge<'_>) -> Option<(Session, bool)> {
    if !challenge.scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let named = challenge.param("algorithm");
    // RFC 7616 3.3: no algorithm means MD5.
    let algorithm = Algorithm::of(named.as_deref().unwrap_or("MD5"))?;
    let offered = challenge.param("qop");
    let qop = match &offered {
        Some(offered) => {
            // RFC 7616 3.3: options that we don't know are ignored, but one must be ours.
            offered.split(',').any(|option| option.trim().eq_ignore_ascii_case("auth")).then_some(true)?
        }
        // RFC 2617 3.2.1: an old server, which knows MD5 only, may offer none.
        None => (algorithm == Algorithm::Md5).then_some(false)?,
    };
    let stale = challenge.param("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
    let session = Session {
        asker,
        realm: challenge.param("realm")?.into(),
        nonce: challenge.param("nonce")?.into(),
        opaque: challenge.param("opaque").map(Into::into),
        algorithm,
        named: named.map(Into::into),
        qop,
        used: 0,
    };
    Some((session, stale))
}

/// The inside of a quoted string.
fn escape(text: &str) -> Cow<'_, str> {
    match text.contains(['"', '\\']) {
        true => Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests;
