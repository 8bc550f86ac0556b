//! Our own certificate for MSRP over TLS: configured, or made once and kept beside the store (RFC 4975 14.4).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use parlour_proto::config::{Fingerprint, Hash};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::certificate;
use super::tls::{Files, TlsFault, read_certificates, read_key};

/// Where one that was made is kept, in the store's directory.
const FILE: &str = "msrp-identity.pem";

/// A certificate chain, ours first, and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The one that is configured; else the one that is kept in `dir`, made now if there is none; without a directory, one
    /// for this run.
    pub(crate) fn of(files: &Files, dir: Option<&Path>) -> Result<Identity, TlsFault> {
        match (&files.msrp_certificate, &files.msrp_key, dir) {
            (Some(chain), Some(key), _) => {
                Ok(Identity { chain: read_certificates(chain)?, key: read_key(key)? })
            }
            (None, None, Some(dir)) => Identity::kept(&dir.join(FILE)),
            (None, None, None) => Ok(Identity::make()?.0),
            (Some(_), None, _) | (None, Some(_), _) => Err(TlsFault::HalfIdentity),
        }
    }

    /// By which fingerprints peers know it.
    pub(crate) fn fingerprints(&self) -> Vec<Fingerprint> {
        let Some(own) = self.chain.first() else { return Vec::new() };
        // RFC 8122 5.1: SHA-256, and the hash function of the signature on the certificate.
        let mut hashes = vec![Hash::Sha256];
        hashes.extend(certificate::signature_hash(own).filter(|hash| *hash != Hash::Sha256));
        hashes.into_iter().map(|hash| Fingerprint::of(hash, own)).collect()
    }

    fn kept(file: &Path) -> Result<Identity, TlsFault> {
        let fault = |why: String| TlsFault::Identity { file: file.to_owned(), why };
        match fs::metadata(file) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let command = format!("others can read it: run chmod 600 {}", file.display());
                Err(fault(command))
            }
            Ok(_) => {
                let chain = read_certificates(file).map_err(|why| fault(why.to_string()))?;
                Ok(Identity { chain, key: read_key(file).map_err(|why| fault(why.to_string()))? })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (identity, pem) = Identity::make()?;
                write(file, pem.as_bytes()).map_err(|error| fault(error.to_string()))?;
                tracing::info!(?file, "a certificate for MSRP over TLS was made");
                Ok(identity)
            }
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// A self-signed certificate that names nobody: it is known by its fingerprint.
    fn make() -> Result<(Identity, Zeroizing<String>), TlsFault> {
        let fault = |error: rcgen::Error| TlsFault::Key(rustls::Error::General(error.to_string()));
        let key = KeyPair::generate().map_err(fault)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(fault)?;
        params.distinguished_name.push(DnType::CommonName, "msrp");
        let certificate = params.self_signed(&key).map_err(fault)?;
        let secret = Zeroizing::new(key.serialize_pem());
        let pem = Zeroizing::new(format!("{}{}", certificate.pem(), *secret));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((Identity { chain: vec![certificate.der().clone()], key }, pem))
    }
}

/// Writes a file that only we can read, whole or not at all.
fn write(file: &Path, octets: &[u8]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut open = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
    open.write_all(octets)?;
    open.sync_all()?;
    fs::rename(&fresh, file)?;
    file.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_made_once_and_kept_where_only_we_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::default();
        let prints = || Identity::of(&files, Some(dir.path())).map(|identity| identity.fingerprints());
        let first = prints().unwrap();
        assert_eq!(first.iter().map(Fingerprint::hash).collect::<Vec<_>>(), [Hash::Sha256]);
        assert_eq!(prints().unwrap(), first);
        let file = dir.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(Identity::of(&files, None).unwrap().fingerprints(), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(prints().unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "nonsense").unwrap();
        assert!(prints().unwrap_err().to_string().contains("Remove it"));
    }

    #[test]
    fn a_configured_one_needs_its_key_and_tells_the_hash_of_its_signature() {
        let dir = tempfile::tempdir().unwrap();
        let half = Files { msrp_certificate: Some(dir.path().join("c")), ..Files::default() };
        assert!(matches!(Identity::of(&half, None), Err(TlsFault::HalfIdentity)));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let made =
            CertificateParams::new(vec!["chat.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(dir.path().join("c"), made.pem()).unwrap();
        fs::write(dir.path().join("k"), key.serialize_pem()).unwrap();
        let files = Files { msrp_key: Some(dir.path().join("k")), ..half };
        let prints = Identity::of(&files, None).unwrap().fingerprints();
        assert_eq!(prints.iter().map(Fingerprint::hash).collect::<Vec<_>>(), [Hash::Sha256, Hash::Sha384]);
    }
}
