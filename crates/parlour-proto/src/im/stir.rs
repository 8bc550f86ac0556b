//! Signed caller identities (RFC 8224): whom the Identity headers of an invitation vouch for, and who is refused for
//! them. Keys come from the configuration; `info` only names them, and nothing is fetched.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Signs, Stir, StirKey};
use crate::event::{Identity, Proof};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::bodies;
use crate::im::trust::plain;
use crate::io::{AccountId, FlowId, Instant};
use crate::sip::header::{self, CallId, Date, From, HeaderFault, To};
use crate::sip::message::Message;
use crate::sip::passport::{self, Freshness, MediaKey, Party, PassportFault, Signalled};
use crate::sip::uri::Uri;

/// Identity headers that are looked at; each may cost a verification.
const MOST: usize = 8;

/// Signatures that are remembered.
const REMEMBERED: usize = 1024;

/// Proof that who calls has signed for it: only [`Core::signature`] makes it, and with it alone is a caller verified
/// for whom no trusted core vouches.
//= IM X-5
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed(String);

impl Signed {
    /// The address that was signed for.
    pub(crate) fn address(&self) -> &str {
        &self.0
    }
}

/// What the Identity headers of an invitation are worth.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    /// What is told; `None` without such a header.
    pub(crate) told: Option<Identity>,
    pub(crate) signed: Option<Signed>,
    /// The worst of those that are of a type that we know, and why.
    worst: Option<(Proof, String)>,
}

/// What is told of one header, and whom it signs for if it holds.
type Verdict = (Identity, Option<Signed>);

impl Core {
    /// Looks at the Identity headers of an invitation, and says what each is worth.
    //= IM X-5
    pub(crate) fn signature(&mut self, flow: FlowId, account: AccountId, request: &Message<'_>) -> Finding {
        let mut finding = Finding::default();
        let headers: Vec<_> = request.list::<header::Identity<'_>>().take(MOST).collect();
        // RFC 8224 6.2: the steps for each of them.
        for header in headers {
            let (told, signed) = self.judge(flow, account, request, header);
            let input = told.info.as_deref().map(|info| format!("info is {info}: {}", told.why));
            self.explain(account, None, "X-5", told.proof.decision(), input.as_deref().unwrap_or(&told.why));
            if told.proof != Proof::UnsupportedType {
                finding.worst = finding.worst.max(Some((told.proof, told.why.clone())));
            }
            finding.signed = finding.signed.or(signed);
            // RFC 8224 6.2.1: one that is valid is enough.
            if finding.told.as_ref().is_none_or(|best| told.proof < best.proof) {
                finding.told = Some(told);
            }
        }
        finding
    }

    fn judge(
        &mut self,
        flow: FlowId,
        account: AccountId,
        request: &Message<'_>,
        header: Result<header::Identity<'_>, HeaderFault>,
    ) -> Verdict {
        let header = match header {
            Ok(header) => header,
            Err(fault) => {
                let why = fault.to_string();
                return (Identity { proof: Proof::Invalid, info: None, why }, None);
            }
        };
        let (proof, why, signed) = match self.verify(flow, account, request, &header) {
            Ok(signed) => (Proof::Valid, format!("it signs for {}", signed.address()), Some(signed)),
            Err((proof, why)) => (proof, why, None),
        };
        (Identity { proof, info: Some(header.info.to_owned()), why }, signed)
    }

    /// RFC 8224 6.2, steps 1 to 5.
    fn verify(
        &mut self,
        flow: FlowId,
        account: AccountId,
        request: &Message<'_>,
        header: &header::Identity<'_>,
    ) -> Result<Signed, (Proof, String)> {
        if let Some(ppt) = &header.ppt {
            return Err((Proof::UnsupportedType, format!("ppt is {ppt}")));
        }
        if let Some(alg) = header.alg.as_ref().filter(|alg| **alg != passport::ALGORITHM) {
            return Err((Proof::UnsupportedAlgorithm, format!("alg is {alg}")));
        }
        let invalid = |why: &str| (Proof::Invalid, why.to_owned());
        let from = request.one::<From<'_>>().ok().and_then(|from| from.0.uri().ok());
        let from = from.ok_or_else(|| invalid("From is no URI"))?;
        let to = request.one::<To<'_>>().ok().and_then(|to| to.0.uri().ok());
        let to = to.ok_or_else(|| invalid("To is no URI"))?;
        // RFC 3986 6.2.1: simple comparison.
        let key = self.config.stir_keys.iter().find(|key| key.info == header.info);
        let key = key.ok_or_else(|| (Proof::UnknownSigner, "no key is configured for it".to_owned()))?;
        let date = request.maybe::<Date>().map_err(|fault| invalid(&fault.to_string()))?;
        let description = bodies::invitation(request).map(|carried| carried.description).unwrap_or_default();
        let date = date.map(|date| date.0);
        let signalled = Signalled { from, to, date, media_keys: MediaKey::all(description) };
        let freshness = Freshness { now: self.now.unix, within: self.config.stir_freshness };
        let proven =
            passport::verify(header, &signalled, &key.key, &freshness).map_err(|fault| match fault {
                PassportFault::Stale(why) => (Proof::Stale, why.to_owned()),
                PassportFault::Invalid(why) => invalid(why),
            })?;
        if let Some(why) = is_no_signer(key, &proven.orig, self.now.unix) {
            return Err((Proof::WrongSigner, why));
        }
        if !self.is_ours(account, &to) {
            return Err((Proof::Elsewhere, format!("To is {to}")));
        }
        let call = request.one::<CallId<'_>>().map(|call| call.0).unwrap_or_default();
        let from_where = self.flows.peer(flow).map(|peer| peer.ip());
        let remember = self.config.stir_freshness.saturating_mul(2);
        if !self.signatures.admit(self.now.instant, remember, proven.nonce, call, from_where) {
            return Err((Proof::Replayed, "it was seen before in another call".to_owned()));
        }
        Ok(Signed(match &proven.orig {
            // What was signed is the number, whatever host it stands at.
            Party::Number(_) => proven.orig.to_string(),
            // The port is not signed; in the letters of From, which a signature does not tell apart.
            Party::Uri(_) => without_port(&from),
        }))
    }

    /// Whether the signature was made for a call to us. Who gets a signed call could send it on in somebody's name.
    fn is_ours(&self, account: AccountId, to: &Uri<'_>) -> bool {
        let Some((own, to)) = self.account(account).zip(Party::of(to)) else { return false };
        let address = Some(&own.address).filter(|_| own.identities.is_empty());
        own.identities.iter().chain(address).any(|own| {
            let own = Uri::parse(own.as_bytes()).ok().and_then(|own| Party::of(&own));
            own.is_some_and(|own| own.is(&to))
        })
    }

    /// Whether a caller for whom no trusted core vouches is let in, as far as `stir` asks for signatures.
    //= IM X-5
    pub(crate) fn is_signed_enough(&self, finding: &Finding) -> Result<(), PeerFault> {
        let Some(told) = &finding.told else {
            return match self.config.stir {
                Stir::Show | Stir::Refuse => Ok(()),
                Stir::Require => Err(PeerFault::Unsigned),
            };
        };
        let best = || (told.proof, told.why.clone());
        // RFC 8224 6.2.1: only if all are wrong is the request, and unknown types are as if they were not there.
        let fault = match self.config.stir {
            Stir::Show => None,
            Stir::Refuse => Some(best()).filter(|(proof, _)| proof.is_wrong()),
            Stir::Require if told.proof == Proof::Valid => None,
            // RFC 8224 6.2.2: 436 if no credential is known, 437 if one is of no use, else what was wrong.
            Stir::Require => Some(finding.worst.clone().unwrap_or_else(best)),
        };
        fault.map_or(Ok(()), |(proof, why)| Err(PeerFault::BadlySigned(proof, why)))
    }
}

/// Why a key does not speak for this caller now, if it does not (RFC 8224 6.2 step 4, 8.2, 8.4).
fn is_no_signer(key: &StirKey, orig: &Party, now: Duration) -> Option<String> {
    if key.valid.as_ref().is_some_and(|valid| !valid.contains(&now.as_secs())) {
        return Some("its certificate is not valid now".to_owned());
    }
    let covers = |signs: &Signs| match (signs, orig) {
        (Signs::Numbers(prefix), Party::Number(number)) => number.starts_with(prefix.as_str()),
        // RFC 5922 7.2: the whole name, and no wildcards.
        (Signs::Domain(domain), Party::Uri(uri)) => {
            let host = uri.rsplit_once('@').or_else(|| uri.split_once(':')).map(|(_, host)| host);
            host.is_some_and(|host| host.eq_ignore_ascii_case(domain))
        }
        (Signs::Numbers(_), Party::Uri(_)) | (Signs::Domain(_), Party::Number(_)) => false,
    };
    (!key.signs.iter().any(covers)).then(|| format!("its key does not speak for {orig}"))
}

fn without_port(uri: &Uri<'_>) -> String {
    let plain = plain(uri.as_str().as_bytes());
    match uri.port() {
        Some(port) => plain.strip_suffix(&format!(":{port}")).unwrap_or(&plain).to_owned(),
        None => plain,
    }
}

/// Signatures that were seen a moment ago: RFC 8224 12.1 lets a verifier tell replays by them. A retried request of the
/// same call from the same place is none.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    seen: VecDeque<Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    nonce: [u8; 32],
    call: Box<str>,
    from: Option<IpAddr>,
}

impl Signatures {
    fn admit(
        &mut self,
        now: Instant,
        remember: Duration,
        nonce: [u8; 32],
        call: &str,
        from: Option<IpAddr>,
    ) -> bool {
        while self.seen.front().is_some_and(|seen| now - seen.at > remember) {
            self.seen.pop_front();
        }
        if let Some(seen) = self.seen.iter().find(|seen| seen.nonce == nonce) {
            return *seen.call == *call && seen.from == from;
        }
        // Only configured signers can fill it: who is pushed out is their own call.
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at: now, nonce, call: call.into(), from });
        true
    }
}
