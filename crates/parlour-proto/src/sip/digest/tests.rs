use zeroize::Zeroizing;

use super::*;

fn credentials(password: &str) -> Credentials {
    Credentials { username: "Mufasa".to_owned(), password: Zeroizing::new(password.to_owned()), realm: None }
}

fn response(rows: &str) -> Vec<u8> {
    format!("SIP/2.0 401 Unauthorized\r\n{}\r\n\r\n", rows.trim().replace('\n', "\r\n")).into_bytes()
}

/// Hands challenges to an authenticator.
fn challenged(auth: &mut Authenticator, rows: &str, chain: &mut Chain) -> Result<Algorithm, Refusal> {
    challenged_with(auth, rows, chain, &credentials("x"))
}

fn challenged_with(
    auth: &mut Authenticator,
    rows: &str,
    chain: &mut Chain,
    credentials: &Credentials,
) -> Result<Algorithm, Refusal> {
    let octets = response(rows);
    let message = Message::parse(&octets).expect("invariant: the test's message can be read");
    auth.challenged(&message, credentials, chain)
}

fn rows(auth: &mut Authenticator) -> Vec<(Name, String)> {
    auth.rows(&credentials("x"), "REGISTER", "sip:example.com", &mut Random::new([1; 32]))
}

fn only_row(auth: &mut Authenticator) -> String {
    let mut rows = rows(auth);
    assert_eq!(rows.len(), 1);
    rows.remove(0).1
}

fn offer(algorithm: &str, more: &str) -> String {
    format!(
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n-{algorithm}\", algorithm={algorithm}, qop=\"auth\"{more}\n"
    )
}

//= IM X-41 test
#[test]
fn the_topmost_challenge_that_is_understood_is_taken_and_md5_only_alone() {
    let chosen = |rows: &str| challenged(&mut Authenticator::default(), rows, &mut Chain::default());
    let (md5, sha, sha512) = (offer("MD5", ""), offer("SHA-256", ""), offer("SHA-512-256", ""));
    assert_eq!(chosen(&[&*sha, &sha512, &md5].concat()), Ok(Algorithm::Sha256));
    assert_eq!(chosen(&[&*sha512, &sha].concat()), Ok(Algorithm::Sha512_256));
    assert_eq!(chosen(&[&*md5, &sha512, &sha].concat()), Ok(Algorithm::Sha512_256));
    assert_eq!(chosen(&md5), Ok(Algorithm::Md5));
    assert_eq!(chosen(&[&*offer("SHA-256-sess", ""), &offer("FOO", ""), &md5].concat()), Ok(Algorithm::Md5));
    assert_eq!(chosen(&["WWW-Authenticate: Basic realm=\"r\"\n", &*md5].concat()), Ok(Algorithm::Md5));
    assert_eq!(chosen("WWW-Authenticate: Basic realm=\"r\""), Err(Refusal::NotUnderstood));
    assert_eq!(chosen(&offer("MD5", "").replace("\"auth\"", "\"auth-int\"")), Err(Refusal::NotUnderstood));
    assert_eq!(chosen("WWW-Authenticate: Digest realm=\"r\", qop=\"auth\""), Err(Refusal::NotUnderstood));
    assert_eq!(chosen("X: y"), Err(Refusal::NoChallenge));
}

//= IM X-41 test
#[test]
fn only_the_configured_realm_is_answered() {
    let mut auth = Authenticator::default();
    let only = |realm: &str| Credentials { realm: Some(realm.to_owned()), ..credentials("x") };
    let rows = offer("MD5", "");
    assert_eq!(
        challenged_with(&mut auth, &rows, &mut Chain::default(), &only("R")),
        Err(Refusal::OtherRealm)
    );
    assert!(auth.is_empty());
    assert_eq!(challenged_with(&mut auth, &rows, &mut Chain::default(), &only("r")), Ok(Algorithm::Md5));
}

//= IM X-41 test
#[test]
fn a_refused_password_is_not_tried_again_but_a_stale_nonce_is_renewed_once() {
    let mut auth = Authenticator::default();
    let mut chain = Chain::default();
    assert!(challenged(&mut auth, &offer("MD5", ""), &mut chain).is_ok());
    assert_eq!(challenged(&mut auth, &offer("MD5", ""), &mut chain), Err(Refusal::Rejected));
    assert_eq!(challenged(&mut auth, &offer("MD5", ", stale=FALSE"), &mut chain), Err(Refusal::Rejected));
    assert!(challenged(&mut auth, &offer("MD5", ", stale=TRUE"), &mut chain).is_ok());
    assert_eq!(challenged(&mut auth, &offer("MD5", ", stale=true"), &mut chain), Err(Refusal::TooOften));
    // The next request starts anew: its nonce may have gone stale without a word.
    assert!(challenged(&mut auth, &offer("MD5", ""), &mut Chain::default()).is_ok());
}

#[test]
fn server_and_proxy_are_both_answered() {
    let mut auth = Authenticator::default();
    let mut chain = Chain::default();
    let proxy = offer("MD5", "").replace("WWW", "Proxy");
    assert!(challenged(&mut auth, &proxy, &mut chain).is_ok());
    assert!(challenged(&mut auth, &offer("SHA-256", ""), &mut chain).is_ok(), "another asker, same realm");
    let rows = rows(&mut auth);
    assert_eq!(
        rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        [Name::ProxyAuthorization, Name::Authorization]
    );
    assert!(rows[0].1.contains("nonce=\"n-MD5\"") && rows[1].1.contains("nonce=\"n-SHA-256\""), "{rows:?}");
}

#[test]
fn the_nonce_count_rises_and_starts_again_with_a_new_nonce() {
    let mut auth = Authenticator::default();
    assert_eq!(rows(&mut auth), []);
    challenged(&mut auth, &offer("MD5", ""), &mut Chain::default()).expect("a good challenge");
    assert!(only_row(&mut auth).contains("nc=00000001"));
    assert!(only_row(&mut auth).contains("nc=00000002"));
    let info = response("Authentication-Info: nextnonce=\"nn\", qop=auth");
    auth.accepted(&Message::parse(&info).expect("invariant: can be read"));
    let row = only_row(&mut auth);
    assert!(row.contains("nc=00000001") && row.contains("nonce=\"nn\""), "{row}");
    auth.accepted(
        &Message::parse(&response("Authentication-Info: qop=auth")).expect("invariant: can be read"),
    );
    assert!(only_row(&mut auth).contains("nc=00000002"));
    challenged(&mut auth, &offer("MD5", ""), &mut Chain::default()).expect("a good challenge");
    assert!(only_row(&mut auth).contains("nc=00000001"));
}

#[test]
fn each_answer_has_a_cnonce_of_its_own() {
    let mut auth = Authenticator::default();
    let mut random = Random::new([7; 32]);
    challenged(&mut auth, &offer("MD5", ""), &mut Chain::default()).expect("a good challenge");
    let mut cnonce = || {
        let row = auth.rows(&credentials("x"), "BYE", "sip:a", &mut random).remove(0).1;
        row.split("cnonce=").nth(1).map(|rest| rest[..26].to_owned())
    };
    assert_ne!(cnonce(), cnonce());
}

#[test]
fn hostile_strings_stay_inside_their_quotes() {
    let mut auth = Authenticator::default();
    let rows = r#"WWW-Authenticate: Digest realm="a\"b\\c", nonce="n\", evil=\"1", opaque="o\"", qop="auth""#;
    challenged(&mut auth, rows, &mut Chain::default()).expect("a good challenge");
    let row = only_row(&mut auth);
    assert!(row.contains(r#"realm="a\"b\\c", nonce="n\", evil=\"1", uri="#), "{row}");
    assert!(row.contains(r#"opaque="o\"", cnonce"#), "{row}");
}

#[test]
fn the_memory_of_challenges_is_bounded() {
    let mut auth = Authenticator::default();
    for number in 0..100 {
        let rows = format!("WWW-Authenticate: Digest realm=\"{number}\", nonce=\"n\", qop=\"auth\"");
        challenged(&mut auth, &rows, &mut Chain::default()).expect("a good challenge");
    }
    assert_eq!(rows(&mut auth).len(), 8);
}
