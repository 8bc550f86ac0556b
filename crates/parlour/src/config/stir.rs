//! Whose signatures of callers' identities count (RFC 8224): keys and certificates that are here already.

use std::fs;
use std::path::{Path, PathBuf};

use parlour_proto::config::{PublicKey, Signs, Stir, StirKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;

use super::ConfigFault;
use crate::net::certificate::{self, Names};

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FileStir {
    Show,
    Refuse,
    Require,
}

impl From<FileStir> for Stir {
    fn from(stir: FileStir) -> Stir {
        match stir {
            FileStir::Show => Stir::Show,
            FileStir::Refuse => Stir::Refuse,
            FileStir::Require => Stir::Require,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileStirKey {
    info: String,
    file: PathBuf,
    signs: Option<Vec<String>>,
}

/// Reads all keys; relative paths are relative to `base`.
pub(super) fn keys(all: Vec<FileStirKey>, base: &Path) -> Result<Vec<StirKey>, ConfigFault> {
    let mut keys: Vec<StirKey> = Vec::new();
    for key in all {
        if keys.iter().any(|other| other.info == key.info) {
            return Err(ConfigFault::Flag(format!("stir_keys names {:?} twice", key.info)));
        }
        keys.push(key.read(base)?);
    }
    Ok(keys)
}

impl FileStirKey {
    fn read(self, base: &Path) -> Result<StirKey, ConfigFault> {
        let file = base.join(&self.file);
        let pem = fs::read(&file).map_err(|error| ConfigFault::Read { file: file.clone(), error })?;
        let fault = |why: String| ConfigFault::Signer { file: file.clone(), why };
        let (key, valid, named) = match CertificateDer::from_pem_slice(&pem) {
            Ok(leaf) => {
                let valid = certificate::validity(&leaf)
                    .ok_or_else(|| fault("its certificate has no dates".into()))?;
                (
                    certificate::public_key_info(&leaf).map(<[u8]>::to_vec),
                    Some(valid),
                    Names::of(&leaf).domains().to_vec(),
                )
            }
            Err(_) => {
                let info = SubjectPublicKeyInfoDer::from_pem_slice(&pem);
                let info = info.map_err(|error| {
                    fault(format!("it is neither a certificate nor a public key (PEM): {error}"))
                })?;
                (certificate::value(&info).map(<[u8]>::to_vec), None, Vec::new())
            }
        };
        let key = key.as_deref().and_then(certificate::p256_point).and_then(PublicKey::of_point);
        let key = key.ok_or_else(|| fault("its key is not of P-256, which ES256 needs".into()))?;
        let signs = match self.signs {
            Some(signs) => signs.iter().map(|text| whom(text).map_err(&fault)).collect::<Result<_, _>>()?,
            None => named.iter().filter_map(|name| whom(name).ok()).collect::<Vec<_>>(),
        };
        if signs.is_empty() {
            let why = "nothing says whom it signs for: give signs = [\"example.com\", \"+1555\"]";
            return Err(fault(why.into()));
        }
        Ok(StirKey { info: self.info, key, signs, valid })
    }
}

/// `example.com`, or the first digits of telephone numbers as `+1555`.
fn whom(text: &str) -> Result<Signs, String> {
    let wrong =
        || format!("signs: {text:?} is neither a domain, as example.com, nor the start of numbers, as +1555");
    if let Some(digits) = text.strip_prefix('+') {
        let all = digits.bytes().all(|digit| digit.is_ascii_digit());
        return if all { Ok(Signs::Numbers(digits.to_owned())) } else { Err(wrong()) };
    }
    let is_host = |octet: u8| octet.is_ascii_alphanumeric() || b"-._[]:".contains(&octet);
    if text.is_empty() || !text.bytes().all(is_host) {
        return Err(wrong());
    }
    Ok(Signs::Domain(text.trim_end_matches('.').to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData};

    use super::*;

    /// What becomes of a file.
    fn read(pem: &str, signs: Option<&[&str]>) -> Result<StirKey, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key.pem"), pem).unwrap();
        let signs = signs.map(|signs| signs.iter().map(|text| (*text).to_owned()).collect());
        let key = FileStirKey { info: "https://x".into(), file: "key.pem".into(), signs };
        keys(vec![key], dir.path()).map(|mut keys| keys.remove(0)).map_err(|fault| fault.to_string())
    }

    fn point(pair: &KeyPair) -> PublicKey {
        PublicKey::of_point(pair.der_bytes()).unwrap()
    }

    #[test]
    fn a_key_and_a_certificate_are_read() {
        let pair = KeyPair::generate().unwrap();
        let key = read(&pair.public_key_pem(), Some(&["Example.COM", "+1555"])).unwrap();
        assert_eq!((key.key, key.valid), (point(&pair), None));
        assert_eq!(key.signs, [Signs::Domain("example.com".into()), Signs::Numbers("1555".into())]);

        let mut params =
            CertificateParams::new(["example.org".to_owned(), "*.x.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = rcgen::date_time_ymd(2060, 1, 2);
        let certificate = params.self_signed(&pair).unwrap();
        let key = read(&certificate.pem(), None).unwrap();
        assert_eq!(key.key, point(&pair));
        // UTCTime ends with 2049: later dates are written as GeneralizedTime.
        assert_eq!(key.valid, Some(1_577_923_200..=2_840_227_200));
        assert_eq!(key.signs, [Signs::Domain("example.org".into())], "RFC 5922 7.2: no wildcards");
    }

    #[test]
    fn what_is_no_key_is_told() {
        let pair = KeyPair::generate().unwrap();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let nameless = CertificateParams::default().self_signed(&pair).unwrap();
        for (pem, signs, part) in [
            (String::new(), Some(&["x"][..]), "neither a certificate nor a public key"),
            (pair.serialize_pem(), Some(&["x"]), "neither a certificate nor a public key"),
            (other.public_key_pem(), Some(&["x"]), "P-256"),
            (pair.public_key_pem(), None, "whom it signs for"),
            (pair.public_key_pem(), Some(&[]), "whom it signs for"),
            (nameless.pem(), None, "whom it signs for"),
            (pair.public_key_pem(), Some(&["sip:a@x"]), "neither a domain"),
            (pair.public_key_pem(), Some(&["+1x"]), "neither a domain"),
        ] {
            let why = read(&pem, signs).unwrap_err();
            assert!(why.contains(part), "{part}: {why}");
        }
        let twice = || FileStirKey {
            info: "https://x".into(),
            file: "key.pem".into(),
            signs: Some(vec!["x".into()]),
        };
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key.pem"), pair.public_key_pem()).unwrap();
        assert!(keys(vec![twice(), twice()], dir.path()).unwrap_err().to_string().contains("twice"));
    }
}
