//! SIPp calls with signed identities (RFC 8224): who has signed is let in unasked, who forges is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;

use crate::callers::BOTH;
use crate::harness::Folder;
use crate::policy::explain;
use crate::scenario::Scenario;
use crate::stage::{Stage, WAIT};

const HOST: &str = "127.0.0.1";
const INFO: &str = "https://signer.example/passport.cer";

/// Who signs for all at this host.
struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// A new one, and its public key as PEM.
    fn new() -> (Signer, String) {
        let (key, random) = (rcgen::KeyPair::generate().expect("a key"), SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random);
        (Signer { pair: pair.expect("a key of P-256"), random }, key.public_key_pem())
    }

    /// The rows of a call to Bob that is made now: a full PASSporT.
    fn rows(&self, from: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let head = json!({"alg": "ES256", "typ": "passport", "x5u": INFO});
        let (orig, dest) = (json!({"uri": from}), json!({"uri": [format!("sip:bob@{HOST}")]}));
        let claims = json!({"dest": dest, "iat": now, "orig": orig});
        let part = |json: serde_json::Value| BASE64URL.encode(json.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).expect("a signature");
        format!("Identity: {signed}.{};info=<{INFO}>;alg=ES256\n", BASE64URL.encode(signature.as_ref()))
    }
}

//= IM X-5 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_signed_call_is_let_in_and_a_forged_one_is_not() {
    let (signer, pem) = Signer::new();
    let keys = Folder::new("signed-keys");
    let file = keys.write("signer.pem", pem);
    let config = format!(
        "stir = \"require\"\n[[stir_keys]]\ninfo = \"{INFO}\"\nfile = \"{}\"\nsigns = [\"{HOST}\"]\n",
        file.display()
    );
    let mut stage = Stage::new("signed", "auto", &[], &config);
    let carol = format!("sip:carol@{HOST}");
    for transport in BOTH {
        let rows = signer.rows(&carol);
        stage.whole(transport, HOST, &Scenario::new().call(&rows, &[]).bye());
        let invited = stage.bob.await_event("invited", WAIT);
        assert_eq!(invited["peer"], json!({"address": carol, "verified": true}));
        assert_eq!(invited["identity"]["proof"], "valid");
        assert_eq!((&invited["identity"]["info"], &invited["asked"]), (&json!(INFO), &json!(false)));
        let parts = [
            "the signature of the caller's identity is valid [X-5]",
            "a signature vouches for the caller (Identity) [R-32]",
        ];
        explain(&stage.setup.data, &[], &parts);
        let stranger = Signer::new().0.rows(&carol);
        let refused = |status: u16, reason: &str, rows: &str| {
            let line = format!("^SIP/2\\.0 {status} {reason}");
            let checks = [("msg", line.as_str()), ("msg", "!Contact: ")];
            stage.whole(transport, HOST, &Scenario::new().invite(rows).refused(status, &checks));
        };
        // The same signature in another call, one by somebody else's key, one for another caller, one with an unknown
        // name, and none.
        refused(438, "Invalid Identity Header", &rows);
        refused(438, "Invalid Identity Header", &stranger);
        refused(438, "Invalid Identity Header", &signer.rows(&format!("sip:alice@{HOST}")));
        refused(436, "Bad Identity Info", &rows.replace("info=<https", "info=<http"));
        refused(428, "Use Identity Header", "");
        refused(438, "Invalid Identity Header", &stranger);
        let parts = [
            "the signature of the caller's identity is wrong: it is not of this call [X-5]",
            "because: info is https://signer.example/passport.cer: the signature is not that of the key over this request",
            "answered 438 Invalid Identity Header [X-5]",
            "RFC 8224 6.2.2",
            "438 means: the signature of the caller's identity is wrong",
        ];
        explain(&stage.setup.data, &[], &parts);
    }
    stage.bob.caught_up();
    assert_eq!(
        (stage.bob.count("invited"), stage.bob.count("missed")),
        (2, 12),
        "each From has another port"
    );
    stage.judged(14);
}
