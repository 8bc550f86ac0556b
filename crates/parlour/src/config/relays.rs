//! The relays of an account.

use std::path::PathBuf;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_proto::config::{Credentials, Relays};

use super::{ConfigFault, password};

/// Reads the keys of one account. `credentials` are user, password file and realm; `policy` is whether the relay is
/// required, and whether it may be one without TLS.
pub(super) fn read(
    address: &str,
    uris: &[String],
    credentials: (Option<String>, Option<PathBuf>, Option<String>),
    policy: (bool, bool),
) -> Result<Option<Relays>, ConfigFault> {
    let (required, insecure) = policy;
    let (username, file) = match (uris, credentials.0, credentials.1) {
        ([], None, None) => return Ok(None),
        ([_, ..], Some(username), Some(file)) => (username, file),
        _ => return Err(ConfigFault::HalfRelay { address: address.to_owned() }),
    };
    let chain = uris.iter().map(|uri| {
        relay(uri, insecure).map_err(|why| ConfigFault::Relay {
            address: address.to_owned(),
            uri: uri.clone(),
            why,
        })
    });
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let many = |fault: parlour_msrp::uri::UriFault| ConfigFault::Relay {
        address: address.to_owned(),
        uri: uris.join(" "),
        why: fault.to_string(),
    };
    let chain = MsrpPath::new(chain).map_err(many)?;
    if insecure {
        tracing::warn!(
            account = address,
            "relay_insecure: whoever can read the traffic, or play the relay, gets the messages; for tests only"
        );
    }
    let credentials = Credentials { username, password: password(&file)?, realm: credentials.2 };
    Ok(Some(Relays { chain, credentials, required, insecure }))
}

fn relay(text: &str, insecure: bool) -> Result<MsrpUri, String> {
    let uri = MsrpUri::parse(text).map_err(|fault| format!("{fault}. Write msrps://relay.example.com"))?;
    let transport = uri.transport().to_ascii_lowercase();
    if !matches!(transport.as_str(), "tcp" | "ws") {
        return Err(format!("its transport {transport:?} is neither tcp nor ws"));
    }
    if !uri.is_secure() && !insecure {
        return Err(
            "RFC 4976 wants TLS: write msrps://, or set relay_insecure for a test on one machine".to_owned()
        );
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    //= IM M-20 test
    #[test]
    fn relays_are_read_with_all_that_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "swordfish\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let read = |uris: &[&str], user: Option<&str>, insecure| {
            let uris: Vec<_> = uris.iter().map(|uri| (*uri).to_owned()).collect();
            let credentials = (user.map(str::to_owned), user.map(|_| file.clone()), None);
            super::read("sip:a@b", &uris, credentials, (true, insecure))
        };
        assert!(read(&[], None, false).unwrap().is_none());
        let relays = read(&["msrps://in.example.com", "msrps://out.example.com:9000;tcp"], Some("a"), false);
        let relays = relays.unwrap().unwrap();
        assert_eq!(relays.chain.to_string(), "msrps://in.example.com;tcp msrps://out.example.com:9000;tcp");
        assert!(relays.required && !relays.insecure && relays.credentials.password.as_str() == "swordfish");
        assert!(read(&["msrps://relay.example.com:443;ws"], Some("a"), false).is_ok());
        for (uris, user, insecure, part) in [
            (&["msrps://r"][..], None, false, "relay_password_file"),
            (&[], Some("a"), false, "relay_user"),
            (&["relay.example.com"], Some("a"), false, "Write msrps://"),
            (&["msrp://r"], Some("a"), false, "RFC 4976 wants TLS"),
            (&["msrps://r;sctp"], Some("a"), false, "neither tcp nor ws"),
        ] {
            let told = read(uris, user, insecure).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
        assert!(read(&["msrp://127.0.0.1:2855"], Some("a"), true).is_ok());
    }
}
