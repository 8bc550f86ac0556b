//! Digest authentication of SIP requests (RFC 3261 section 22): who asks, and in which rows it is answered. What is
//! answered is [`parlour_msrp::digest`]'s.

use parlour_msrp::digest::{self, Challenge as Params, Qop, Space};
pub use parlour_msrp::digest::{Algorithm, Credentials, Refusal};
use parlour_msrp::random::Random;

use super::header::{Challenge, ProxyAuthenticate, WwwAuthenticate};
use super::message::Message;
use super::name::Name;

/// Who asks: the server that a request is for, or a proxy on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The server.
    Server,
    /// A proxy.
    Proxy,
}

/// What one account has learnt from challenges; used again, with a higher count, for its next requests.
#[derive(Debug, Default)]
pub struct Authenticator {
    known: digest::Authenticator<Asker>,
}

/// The challenges answered so far for one request.
pub type Chain = digest::Chain<Asker>;

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
        let server = response.list::<WwwAuthenticate<'_>>().flatten().map(|row| (Asker::Server, row.0));
        let proxy = response.list::<ProxyAuthenticate<'_>>().flatten().map(|row| (Asker::Proxy, row.0));
        let understood = server.chain(proxy).map(|(asker, challenge)| (asker, understand(&challenge)));
        self.known.challenged(understood, credentials, chain)
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
        self.known
            .spaces()
            .map(|(asker, space)| {
                let name = match asker {
                    Asker::Server => Name::Authorization,
                    Asker::Proxy => Name::ProxyAuthorization,
                };
                (name, space.answer(credentials, method, uri, &random.ident(24)).0)
            })
            .collect()
    }

    /// Takes the nonce for the next request from Authentication-Info of a 2xx (RFC 7616 3.5).
    pub fn accepted(&mut self, response: &Message<'_>) {
        let row = response.rows(Name::AuthenticationInfo).next().and_then(|row| str::from_utf8(row).ok());
        let next = row.and_then(|row| Params::info(row).param("nextnonce"));
        let space = self.known.spaces().rfind(|(asker, _)| **asker == Asker::Server);
        if let (Some(nonce), Some((_, space))) = (next, space) {
            space.renew(&nonce);
        }
    }

    /// Whether a challenge of this realm was answered before.
    pub fn knows(&self, realm: &str) -> bool {
        self.known.knows(realm)
    }

    /// Whether there is anything to authenticate with yet.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

fn understand(challenge: &Challenge<'_>) -> Option<(Space, bool)> {
    if !challenge.scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    Space::understand(|name| challenge.param(name), Qop::Any)
}

#[cfg(test)]
mod tests;
