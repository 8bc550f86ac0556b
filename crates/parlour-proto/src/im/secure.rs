//! TLS of message streams: who has to be at the other end of a connection, and whether it is (RFC 4975 14.2 and 14.4,
//! RFC 8122). The shell does TLS and tells what the other end has shown; the verdict is here.

use parlour_msrp::{ConnectionId, Trust};

use crate::event::{Secured, Voucher, What};
use crate::im::Core;
use crate::im::chat::{Came, spool_of};
use crate::im::flows::Stream;
use crate::io::{FlowId, Security, TlsExpect, Transport};
use crate::sdp::{self, Fingerprint, Hash, Role};

/// Messages of a peer that was faster than its answer which are kept until the answer proves it.
const UNPROVEN: usize = 16;

/// Who has to be at the other end of the connection of a stream.
//= IM D-20
pub(crate) fn trust(stream: &sdp::Stream) -> Trust {
    if !stream.tls {
        return Trust::Anyone;
    }
    // The first hop of a path over relays is a relay (RFC 4976 9.2), whose certificate is not the peer's.
    let relayed = stream.path.uris().len() > 1;
    if !relayed && !stream.fingerprints.is_empty() {
        // RFC 8122 5.1: a certificate that does not match is wrong, whoever has signed it.
        return Trust::OneOf(stream.fingerprints.iter().map(|print| print.to_string().into()).collect());
    }
    match stream.role {
        // RFC 4975 14.2: an authority vouches for the host of the URI.
        Role::Active => Trust::OneOf(vec![named(stream.path.leftmost().host())]),
        // Nothing tells which certificate would be the right one: the session-id is what the peer knows.
        Role::Passive => Trust::Anyone,
    }
}

/// How a name that a certificate chain is valid for stands beside fingerprints.
fn named(name: &str) -> Box<str> {
    format!("name {}", name.to_ascii_lowercase()).into()
}

impl Core {
    /// The names that the other end of a stream has shown in TLS; `None` without TLS.
    pub(crate) fn shown(&mut self, flow: FlowId) -> Option<Vec<Box<str>>> {
        let Stream { security, asked, .. } = self.flows.stream(flow)?;
        let Security::Tls { verified, certificate } = security else { return None };
        let prints = certificate.iter().flat_map(|der| Hash::ALL.map(|hash| Fingerprint::of(hash, der)));
        let mut names: Vec<Box<str>> = prints.map(|print| print.to_string().into()).collect();
        names.extend(asked.as_deref().filter(|_| *verified).map(named));
        Some(names)
    }

    /// What is expected of the TLS connection of a session.
    pub(crate) fn expectation(&self, msrp: parlour_msrp::SessionId) -> Option<TlsExpect> {
        let path = &self.stream_of(msrp)?.path;
        let relayed = path.uris().len() > 1;
        Some(TlsExpect {
            name: path.leftmost().host().to_owned(),
            must_verify: relayed,
            // RFC 8122 6.2: both ends show theirs; RFC 4976 9.2: a relay gets none.
            present_certificate: !relayed,
        })
    }

    /// What was agreed on for an MSRP session.
    pub(crate) fn stream_of(&self, msrp: parlour_msrp::SessionId) -> Option<&sdp::Stream> {
        if let Some(file) = self.files.by_msrp(msrp) {
            return self.files.get(file)?.stream.as_ref();
        }
        let session = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.get(id))?;
        Some(&session.phase.agreed()?.chat.as_ref()?.stream)
    }

    /// A session has its connection: what TLS says of the other end is told before anything else of it.
    //= IM D-21
    pub(crate) fn tell_secured(&mut self, msrp: parlour_msrp::SessionId) {
        let Some(certificate) = self.msrp.connection_of(msrp).and_then(|at| self.certificate(at)) else {
            return;
        };
        let Some((account, id)) = self.sessions.owner_of(msrp) else { return };
        let (Some(session), Some(stream)) = (self.sessions.get(id), self.stream_of(msrp)) else { return };
        let by = match trust(stream) {
            Trust::Anyone => Voucher::Nobody,
            Trust::OneOf(_) if stream.fingerprints.is_empty() || stream.path.uris().len() > 1 => {
                Voucher::Authority { name: stream.path.leftmost().host().to_owned() }
            }
            Trust::OneOf(_) => Voucher::Fingerprint,
        };
        let legacy = stream.fingerprints.iter().any(|print| print.hash() == Hash::Sha1);
        // RFC 8122 7: hop by hop is enough.
        let protected = session.source.trusted || session.source.transport == Transport::Tls;
        let peer = session.peer.clone();
        if legacy && by == Voucher::Fingerprint {
            let decision = "taken: the peer's certificate is known by SHA-1, which can be forged with effort";
            self.explain(account, Some(id), "D-20", decision, "a=fingerprint");
        }
        if !protected && by == Voucher::Fingerprint {
            let decision =
                "the fingerprint is used, but whoever could change the signalling could have put in his own";
            self.explain(
                account,
                Some(id),
                "D-21",
                decision,
                "the signalling has neither TLS nor a trusted core",
            );
        }
        let fingerprint = certificate.map(|der| Fingerprint::of(Hash::Sha256, &der).to_string());
        self.tell_of_media(account, id, What::Secured(Secured { peer, by, fingerprint, protected }));
    }

    /// The other end of a connection is not the peer of the session: it ends.
    //= IM D-20
    pub(crate) fn tell_untrusted(&mut self, msrp: parlour_msrp::SessionId, connection: ConnectionId) {
        let shown = self.certificate(connection).flatten();
        let Some((account, id)) = self.sessions.owner_of(msrp) else { return };
        let Some(stream) = self.stream_of(msrp) else { return };
        let hash = stream.fingerprints.first().map_or(Hash::Sha256, Fingerprint::hash);
        let shown = shown.map(|der| Fingerprint::of(hash, &der).to_string());
        let mut expected: Vec<String> = stream.fingerprints.iter().map(ToString::to_string).collect();
        if expected.is_empty() {
            expected.push(format!("one valid for {}", stream.path.leftmost().host()));
        }
        let input = shown.as_deref().unwrap_or("no certificate").to_owned();
        self.explain(account, Some(id), "D-20", "torn down: the certificate is not the peer's", &input);
        self.tell(account, Some(id), What::Impostor { expected, shown });
    }

    /// RFC 8122 6.2: what comes over TLS before the answer to our offer waits for the fingerprint in it.
    pub(crate) fn hold_unproven(&mut self, msrp: parlour_msrp::SessionId, message: Came) {
        let held = self.unproven.entry(msrp).or_default();
        if held.len() < UNPROVEN {
            held.push(message);
        } else {
            self.refuse_message(message.receipt, spool_of(&message.body), 413);
        }
    }

    /// What has waited, now that it is the peer's.
    pub(crate) fn proven(&mut self, msrp: parlour_msrp::SessionId) -> Vec<Came> {
        self.unproven.remove(&msrp).unwrap_or_default()
    }

    /// What has waited was somebody else's, or nothing has come of the offer.
    pub(crate) fn refuse_unproven(&mut self, msrp: parlour_msrp::SessionId) {
        for Came { receipt, body, .. } in self.proven(msrp) {
            self.refuse_message(receipt, spool_of(&body), 481);
        }
    }

    /// The certificate of the other end of a connection: `None` without TLS, `Some(None)` if it showed none.
    fn certificate(&mut self, connection: ConnectionId) -> Option<Option<Box<[u8]>>> {
        match &self.flows.stream(FlowId::Stream(connection.0))?.security {
            Security::Plain => None,
            Security::Tls { certificate, .. } => Some(certificate.clone()),
        }
    }
}
