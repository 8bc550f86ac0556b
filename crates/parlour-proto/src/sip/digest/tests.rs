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

/// The answer to one challenge, with the cnonce of an example.
fn answer(challenge: &str, password: &str, cnonce: &str) -> String {
    let mut auth = Authenticator::default();
    challenged(&mut auth, challenge, &mut Chain::default()).expect("a challenge that is understood");
    auth.sessions[0].answer(&credentials(password), "GET", "/dir/index.html", cnonce)
}

const RFC_7616: &str = "WWW-Authenticate: Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
    algorithm=ALGORITHM, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
    opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"\n";
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

#[test]
fn the_example_of_rfc_7616_with_sha_256() {
    insta::assert_snapshot!(
        answer(&RFC_7616.replace("ALGORITHM", "SHA-256"), "Circle of Life", CNONCE).replace(", ", "\n"), @r#"
    Digest username="Mufasa"
    realm="http-auth@example.org"
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    uri="/dir/index.html"
    response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    algorithm=SHA-256
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    qop=auth
    nc=00000001
    "#);
}

#[test]
fn the_example_of_rfc_7616_with_md5() {
    let answer = answer(&RFC_7616.replace("ALGORITHM", "MD5"), "Circle of Life", CNONCE);
    assert!(answer.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{answer}");
}

#[test]
fn the_example_of_rfc_2617() {
    let challenge = "WWW-Authenticate: Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let answer = answer(challenge, "Circle Of Life", "0a4f113b");
    assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
    assert!(!answer.contains("algorithm"), "it named none");
}

#[test]
fn without_qop_the_older_way_is_taken_with_md5_only() {
    let challenge =
        "WWW-Authenticate: Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let answer = answer(challenge, "Circle Of Life", "0a4f113b");
    // The hash of RFC 2069, which RFC 2617's reference code yields for the values of its example.
    assert!(answer.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{answer}");
    assert!(!answer.contains("qop") && !answer.contains("cnonce") && !answer.contains("nc="), "{answer}");
    let strong = format!("{challenge}, algorithm=SHA-256");
    let refused = challenged(&mut Authenticator::default(), &strong, &mut Chain::default());
    assert_eq!(refused, Err(Refusal::NotUnderstood));
}

#[test]
fn sha_512_256_is_understood() {
    // The hash of "abc" from FIPS 180-4's examples.
    assert_eq!(
        &*Algorithm::Sha512_256.hash(&["a", "bc"]),
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    );
    let challenge = RFC_7616.replace("ALGORITHM", "sha-512-256");
    assert!(answer(&challenge, "x", "y").contains("algorithm=sha-512-256,"), "as the challenge wrote it");
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
    assert_eq!(auth.sessions.len(), SESSIONS);
}

#[test]
fn no_debug_output_shows_the_password() {
    let shown = format!("{:?}", credentials("Circle of Life"));
    assert!(shown.contains("Mufasa") && !shown.contains("Circle"), "{shown}");
}
