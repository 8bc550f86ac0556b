//! TLS: the chain is checked by the library, the name by the rules of SIP (RFC 5922) or MSRP (RFC 4975 14.2). Of MSRP
//! peers only what they have shown is told: whether it will do is the client's verdict.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parlour_proto::io::{Service, TlsExpect};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, KeyLogFile,
    RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate;
use super::identity::Identity;

/// Where the keys and certificates lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// Private authorities that are trusted besides the system's, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate chain for SIP, PEM: needed to listen.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) key: Option<PathBuf>,
    /// Our own certificate chain for MSRP, PEM: one is made without it.
    pub(crate) msrp_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) msrp_key: Option<PathBuf>,
}

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("{file:?} cannot be read as PEM: {why}")]
    Pem { file: PathBuf, why: String },
    #[error("the certificate and the key do not work together: {0}")]
    Key(Error),
    #[error("to listen for TLS, the configuration must name tls_certificate and tls_key")]
    NoCertificate,
    #[error("msrp_certificate and msrp_key belong together: give both, or neither to have one made")]
    HalfIdentity,
    #[error(
        "{file:?}, where our key for MSRP over TLS is kept, cannot be used: {why}. Remove it to have a new one made: peers \
         will be told that our certificate has changed"
    )]
    Identity { file: PathBuf, why: String },
}

/// Both sides' settings, made when they are first needed.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    /// What we show to MSRP peers.
    identity: Identity,
    connectors: OnceLock<Connectors>,
}

/// One for each kind of other end.
#[derive(Debug)]
struct Connectors {
    sip: Arc<ClientConfig>,
    /// MSRP peers, and what checks their names.
    peer: Arc<ClientConfig>,
    /// MSRP relays.
    relay: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

/// What opens one TLS connection.
pub(super) struct Client {
    pub(super) connector: TlsConnector,
    verifier: Arc<Verifier>,
}

impl Client {
    /// Whether the chain that the other end has shown is valid for the name.
    pub(super) fn vouches(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        self.verifier.check(own, others, name, UnixTime::now()).is_ok()
    }
}

impl Tls {
    /// Reads the files of private authorities at once, so that a mistake shows at start.
    pub(crate) fn new(files: Files, identity: Identity) -> Result<Tls, TlsFault> {
        let tls = Tls { files, identity, connectors: OnceLock::new() };
        if tls.files.ca.is_some() {
            tls.connectors()?;
        }
        if let Some(file) = key_log_file() {
            tracing::warn!(
                "the keys of all TLS connections are written to {file:?} (SSLKEYLOGFILE): whoever reads it can read what \
                 is said. Unset it when you are done"
            );
        }
        Ok(tls)
    }

    pub(super) fn client(&self, service: Service, expect: &TlsExpect) -> Result<Client, TlsFault> {
        let connectors = self.connectors()?;
        let config = match service {
            Service::Sip => &connectors.sip,
            Service::Msrp if expect.must_verify || !expect.present_certificate => &connectors.relay,
            Service::Msrp => &connectors.peer,
        };
        let connector = TlsConnector::from(config.clone());
        Ok(Client { connector, verifier: connectors.verifier.clone() })
    }

    pub(super) fn acceptor(&self, service: Service) -> Result<TlsAcceptor, TlsFault> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsFault::Key)?;
        let mut config = match service {
            Service::Sip => {
                let (Some(certificate), Some(key)) = (&self.files.certificate, &self.files.key) else {
                    return Err(TlsFault::NoCertificate);
                };
                let (chain, key) = (read_certificates(certificate)?, read_key(key)?);
                builder.with_no_client_auth().with_single_cert(chain, key)
            }
            Service::Msrp => {
                let identity = &self.identity;
                // RFC 8122 6.2: the peer's certificate is asked for; which one it has to be, its description tells.
                builder
                    .with_client_cert_verifier(Arc::new(AnyClient { provider: provider() }))
                    .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            }
        }
        .map_err(TlsFault::Key)?;
        if key_log_file().is_some() {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn connectors(&self) -> Result<&Connectors, TlsFault> {
        if let Some(connectors) = self.connectors.get() {
            return Ok(connectors);
        }
        let connectors = self.make_connectors()?;
        Ok(self.connectors.get_or_init(|| connectors))
    }

    //= IM X-40
    fn make_connectors(&self) -> Result<Connectors, TlsFault> {
        let roots = Arc::new(roots(self.files.ca.as_deref())?);
        let verifier = |service, strict| {
            Arc::new(Verifier { roots: roots.clone(), provider: provider(), service, strict })
        };
        let config = |verifier: &Arc<Verifier>, identity: Option<&Identity>| {
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(TlsFault::Key)?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone());
            let mut config = match identity {
                None => builder.with_no_client_auth(),
                Some(Identity { chain, key }) => {
                    builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(TlsFault::Key)?
                }
            };
            if key_log_file().is_some() {
                config.key_log = Arc::new(KeyLogFile::new());
            }
            Ok::<_, TlsFault>(Arc::new(config))
        };
        let lenient = verifier(Service::Msrp, false);
        Ok(Connectors {
            sip: config(&verifier(Service::Sip, true), None)?,
            peer: config(&lenient, Some(&self.identity))?,
            relay: config(&verifier(Service::Msrp, true), None)?,
            verifier: lenient,
        })
    }
}

/// The name that a certificate must bear, for SNI and the check; an address where there is no name.
pub(super) fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}

/// Where the keys of connections are to be written for whoever debugs them, if anywhere.
fn key_log_file() -> Option<std::ffi::OsString> {
    std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty())
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = ca {
        for certificate in read_certificates(file)? {
            roots
                .add(certificate)
                .map_err(|error| TlsFault::Pem { file: file.to_owned(), why: error.to_string() })?;
        }
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |why: String| TlsFault::Pem { file: file.to_owned(), why };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error: rustls::pki_types::pem::Error| fault(error.to_string()))?;
    if certificates.is_empty() {
        Err(fault("there is no certificate in it".into()))
    } else {
        Ok(certificates)
    }
}

pub(super) fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| TlsFault::Pem { file: file.to_owned(), why: error.to_string() })
}

/// The signatures of the handshake are the library's to check, whosever certificate it is.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// The library's chain check with the name check of the service.
#[derive(Debug)]
struct Verifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    service: Service,
    /// Whether a certificate that does not pass ends the handshake; otherwise whoever asks is told.
    strict: bool,
}

impl Verifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let ServerName::DnsName(name) = server_name else {
            return verify_server_name(&parsed, server_name);
        };
        let names = certificate::Names::of(end_entity);
        let vouched = match self.service {
            Service::Sip => names.vouch_for(name.as_ref()),
            Service::Msrp => names.vouch_for_host(name.as_ref()),
        };
        if vouched { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::NotValidForName)) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.strict {
            self.check(end_entity, intermediates, server_name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

/// Takes any certificate whose key the other end has, and none as well.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}
