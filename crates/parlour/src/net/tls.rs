//! TLS for SIP: the certificate chain is checked by the library, the name by the rules of RFC 5922.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate;

/// Where the keys and certificates lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// Private authorities that are trusted besides the system's, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate chain, PEM: needed to listen.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) key: Option<PathBuf>,
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
}

/// Both sides' settings, made when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    files: Files,
    connector: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files of private authorities at once, so that a mistake shows at start.
    pub(crate) fn new(files: Files) -> Result<Tls, TlsFault> {
        let tls = Tls { files, connector: OnceLock::new() };
        if tls.files.ca.is_some() {
            tls.connector()?;
        }
        Ok(tls)
    }

    pub(super) fn connector(&self) -> Result<TlsConnector, TlsFault> {
        if let Some(config) = self.connector.get() {
            return Ok(TlsConnector::from(config.clone()));
        }
        let config = Arc::new(client_config(self.files.ca.as_deref())?);
        Ok(TlsConnector::from(self.connector.get_or_init(|| config).clone()))
    }

    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsFault> {
        let (Some(certificate), Some(key)) = (&self.files.certificate, &self.files.key) else {
            return Err(TlsFault::NoCertificate);
        };
        let chain = read_certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsFault::Pem { file: key.clone(), why: error.to_string() })?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsFault::Key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The name that a certificate must bear, for SNI and the check; an address where there is no name.
pub(super) fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}

//= IM X-40
fn client_config(ca: Option<&Path>) -> Result<ClientConfig, TlsFault> {
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
    let provider = provider();
    let verifier = SipVerifier { roots, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsFault::Key)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
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

/// The library's chain check with RFC 5922's name check.
#[derive(Debug)]
struct SipVerifier {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SipVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if let ServerName::DnsName(name) = server_name {
            if !certificate::Names::of(end_entity).vouch_for(name.as_ref()) {
                return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
            }
        } else {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
