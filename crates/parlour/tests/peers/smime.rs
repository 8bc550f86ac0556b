//! What openssl signs and encrypts (RFC 8591): signed messages are opened and shown as unverified, others are kept.

use std::path::Path;
use std::process::Command;

use parlour_proto::mime::content::{Head, Kind, Part, read};

use crate::harness::{Folder, output};

const ENTITY: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nsigned, sealed, delivered";

fn cms(folder: &Folder, arguments: &[&str]) -> Vec<u8> {
    let to = folder.join("out");
    let mut command = Command::new("openssl");
    command
        .current_dir(folder.path())
        .args(["cms", "-binary", "-in", "entity", "-out", "out"])
        .args(arguments);
    output(&mut command);
    std::fs::read(&to).expect("what openssl wrote")
}

fn parts(content_type: &str, coding: Option<&str>, body: &[u8]) -> Vec<Part> {
    let coding = coding.map(str::as_bytes);
    read(Head { content_type: Some(content_type.as_bytes()), coding, ..Head::default() }, body)
}

fn certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["alice.example".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("the certificate");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("the key");
}

//= IM M-34 test
#[test]
#[ignore = "needs openssl: run ./check"]
fn what_openssl_signs_is_opened_and_what_it_encrypts_is_kept() {
    let folder = Folder::new("smime");
    folder.write("entity", ENTITY);
    certificate(folder.path());
    let sign = ["-sign", "-signer", "cert.pem", "-inkey", "key.pem"];
    for more in [&["-nodetach", "-outform", "DER"][..], &["-nodetach", "-outform", "DER", "-stream"]] {
        let signed = cms(&folder, &[&sign[..], more].concat());
        let [part] = &parts("application/pkcs7-mime; smime-type=signed-data", None, &signed)[..] else {
            panic!("{more:?}")
        };
        assert_eq!((part.text.as_deref(), part.unverified), (Some("signed, sealed, delivered"), true));
    }
    // multipart/signed, as mail has it: openssl writes the headers too.
    let mail = cms(&folder, &[&sign[..], &["-outform", "SMIME", "-crlfeol"]].concat());
    let mail = String::from_utf8(mail).expect("mail is text");
    let (head, body) = mail.split_once("\r\n\r\n").expect("mail has a head");
    let start = head.find("Content-Type: ").expect("a type") + "Content-Type: ".len();
    let kind = head[start..].replace("\r\n", "");
    let told = parts(&kind, None, body.as_bytes());
    let [part] = &told[..] else { panic!("{kind}\n{told:?}") };
    assert_eq!((part.text.as_deref(), part.unverified), (Some("signed, sealed, delivered"), true));
    let sealed = cms(&folder, &["-encrypt", "-aes128", "-outform", "DER", "-recip", "cert.pem"]);
    let [part] = &parts("application/pkcs7-mime; smime-type=enveloped-data", None, &sealed)[..] else {
        panic!("{} octets", sealed.len())
    };
    assert_eq!((part.kind, part.text.as_deref()), (Kind::Protected, None));
}
