//! What the file of the configuration may say, and what it may not.

use std::os::unix::fs::OpenOptionsExt;

use parlour_proto::io::Transport;

use super::*;

fn write(dir: &Path, name: &str, mode: u32, text: &str) -> PathBuf {
    let path = dir.join(name);
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&path).unwrap();
    io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    path
}

#[test]
fn a_full_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "secret", 0o600, "swordfish\n");
    let file = write(
        dir.path(),
        "parlour.toml",
        0o644,
        r#"
            core = "generic"
            accept = "auto"
            trusted_hops = ["192.0.2.0/24", "::1"]
            ring_timeout = 45
            sip = ["udp:127.0.0.1:5070", "tcp:[::1]:5070"]
            msrp = "127.0.0.1:0"
            data = "state"
            [[accounts]]
            address = "sip:alice@example.com"
            proxy = "tls:sip.example.com"
            register = true
            user = "alice"
            password_file = "secret"
            [limits]
            requests = 7
        "#,
    );
    let settings = Settings::read(&file).unwrap();
    let account = &settings.proto.accounts[0];
    assert_eq!(
        account.proxy,
        Some(Proxy { host: "sip.example.com".into(), port: None, transport: Transport::Tls })
    );
    assert_eq!(account.credentials.as_ref().unwrap().password.as_str(), "swordfish");
    assert_eq!(settings.proto.accept, Accept::Auto);
    assert_eq!(settings.proto.trusted_hops[0].bits, 24);
    assert_eq!(settings.proto.trusted_hops[1].bits, 128);
    assert_eq!(settings.proto.ring_timeout, Duration::from_secs(45));
    assert_eq!(settings.proto.limits.requests, 7);
    assert_eq!(settings.sip.len(), 2);
    assert_eq!(settings.data, Some(dir.path().join("state")));
}

#[test]
fn a_mistake_is_told_with_its_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    for (text, parts) in [
        ("accept = \"ask\"\nmax_session = 3\n", ["line 2", "max_session"]),
        ("\n\nmax_sessions = \"three\"\n", ["line 3", "max_sessions"]),
        ("trusted_hops = [\"192.0.2.300\"]\n", ["line 1", "192.0.2.300"]),
        ("[[accounts]]\naddress = \"sip:a@b\"\nproxy = \"h:99999\"\n", ["line 3", "99999"]),
        ("\nsip = [\"5060\"]\n", ["line 2", "names no transport"]),
        ("connect_allowed = [\"10.0.0.0/33\"]\n", ["line 1", "10.0.0.0/33"]),
        ("accept = \n", ["line 1", "accept"]),
        ("quiet_hours = [\"mon 8-9\"]\n", ["line 1", "mon-fri 22:00-07:00"]),
        ("\nunwanted = 600\n", ["line 2", "603 or 607"]),
        ("\nunwanted = \"spam\"\n", ["line 2", "\"spam\" is not \"auto\""]),
        ("\nanonymous_answer = 480\n", ["line 2", "433 or 603"]),
        ("\nmedia_security = \"tls\"\n", ["line 2", "require_tls"]),
        ("\ncema = \"on\"\n", ["line 2", "lenient"]),
        ("\nmsrps = \"h\"\n", ["line 2", "HOST:PORT"]),
        ("\nblocked_answer = 403\n", ["line 2", "480, 486 or 603"]),
        ("\nstir = \"refuse-all\"\n", ["line 2", "require"]),
        ("stir = \"require\"\n", ["stir_keys", "nobody could call"]),
    ] {
        let error = Settings::read(&write(dir.path(), "c.toml", 0o644, text)).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn an_account_that_is_not_in_the_file_belongs_to_its_core() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::read(&write(dir.path(), "c.toml", 0o644, "core = 'ims'\n")).unwrap();
    let address = Some("sip:a@x".to_owned());
    let flags = crate::cli::AccountFlags { user: None, password_file: None };
    crate::run::apply_account(&mut settings, address, None, &flags, None).unwrap();
    let [account] = &settings.proto.accounts[..] else { panic!("one account") };
    assert_eq!((account.address.as_str(), account.core), ("sip:a@x", CoreKind::Ims));
}

#[test]
fn an_account_may_belong_to_another_core_than_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let text = "core = 'ims'\n[[accounts]]\naddress = 'sip:a@x'\naccess_network = 'IEEE-802.3'\n\
        identities = ['sip:a@x', 'tel:+15550100']\nservice_route = ['sip:orig@x;lr']\n\
        [[accounts]]\naddress = 'sip:b@x'\ncore = 'generic'\n";
    let settings = Settings::read(&write(dir.path(), "c.toml", 0o644, text)).unwrap();
    let [first, second] = &settings.proto.accounts[..] else { panic!("two accounts") };
    assert_eq!((first.core, second.core), (CoreKind::Ims, CoreKind::Generic));
    assert_eq!(first.access_network.as_deref(), Some("IEEE-802.3"));
    assert_eq!(first.identities.len() + first.service_route.len(), 3);
    for wrong in ["identities = ['mailto:a@x']", "service_route = ['x']", "access_network = \"a\\r\\nb\""] {
        let text = format!("[[accounts]]\naddress = 'sip:a@x'\n{wrong}\n");
        assert!(Settings::read(&write(dir.path(), "w.toml", 0o644, &text)).is_err(), "{wrong}");
    }
}

#[test]
fn the_documented_file_is_right_and_names_every_key() {
    let text = include_str!("../../../../docs/configuration.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "password", 0o600, "swordfish\n");
    write(dir.path(), "relay-password", 0o600, "swordfish\n");
    let signer = rcgen::KeyPair::generate().unwrap().public_key_pem();
    write(dir.path(), "signer.pem", 0o644, &signer);
    let settings = Settings::read(&write(dir.path(), "c.toml", 0o644, example)).unwrap();
    assert_eq!(settings.proto.stir_keys[0].signs.len(), 2);
    assert_eq!(settings.proto.accounts[0].credentials.as_ref().unwrap().username, "alice");
    // The library's error lists the keys of a table.
    for (table, wrong) in [
        ("", "x = 1"),
        ("[[accounts]]", "[[accounts]]\nx = 1"),
        ("[limits]", "[limits]\nx = 1"),
        ("[[contacts]]", "[[contacts]]\nx = 1"),
        ("[[stir_keys]]", "[[stir_keys]]\nx = 1"),
    ] {
        let error = Settings::read(&write(dir.path(), "w.toml", 0o644, wrong)).unwrap_err().to_string();
        let (_, keys) = error.split_once("expected one of ").unwrap();
        for key in keys.split(['`', ',', ' ', '\n']).filter(|key| !key.is_empty()) {
            let shown = example.lines().any(|line| {
                line.starts_with(&format!("{key} = "))
                    || line == format!("[[{key}]]")
                    || line == format!("[{key}]")
            });
            assert!(shown, "{table} {key}");
        }
    }
}

#[test]
fn what_must_not_be_nothing_and_what_is_no_address_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (text, part) in [
        ("chunk_size = 0", "nonzero"),
        ("[limits]\nrequests = 0", "nonzero"),
        ("[limits]\nstream_message = 262145", "not between 1 and 262144"),
        ("[limits]\nstream_message = 0", "not between 1 and 262144"),
        ("[[accounts]]\naddress = \"tel:+123\"", "not a SIP address"),
    ] {
        let error = Settings::read(&write(dir.path(), "c.toml", 0o644, text)).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(password(&write(dir.path(), "a", 0o640, "x\n")), Err(ConfigFault::Exposed { .. })));
    assert!(matches!(password(&write(dir.path(), "b", 0o600, "\n")), Err(ConfigFault::NoPassword { .. })));
    // Nobody is told to change the mode of a directory.
    assert!(matches!(password(dir.path()), Err(ConfigFault::Read { .. })));
}
