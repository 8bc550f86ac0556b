//! Bodies of fuzz targets.

use std::net::{IpAddr, Ipv6Addr};

use parlour_msrp::accept::AcceptTypes;

use super::{
    Capabilities, Ends, FallBack, FileSelector, Fingerprint, Hash, Local, Names, Standing, Stream, answer,
    answer_disabled, judge, judge_again, names_to_compare, offer, offer_again, parse, read_answer,
    read_answer_again,
};
use crate::config::{ActpassAnswer, Cema};

/// Reads, judges and answers whatever comes: what we answer can be read again and has as many lines.
///
/// # Panics
/// When one of our own invariants does not hold.
pub fn sdp(data: &[u8]) {
    // What is not UTF-8 grows when it is written again, and may not outgrow the bound of a description.
    let Some(data) = data.get(..data.len().min(20 * 1024)) else { return };
    let Ok(session) = parse(data) else { return };
    let ours = Capabilities {
        fingerprints: vec![Fingerprint::of(Hash::Sha256, b"fuzz")],
        listens_tls: true,
        cema: Cema::Lenient,
        ..everything()
    };
    let end = |tls| {
        Local::new(tls, IpAddr::V6(Ipv6Addr::LOCALHOST), 2855, "fuzz", 1, 1)
            .expect("invariant: a port and a plain session-id make a URI")
    };
    if let Ok(judged) = judge(&session, &ours) {
        let local = end(judged.chat.as_ref().is_some_and(|chat| chat.tls));
        let locals: Vec<Local> = judged.files.iter().map(|stream| end(stream.tls)).collect();
        let ends = Ends { session: &local, files: &locals.iter().collect::<Vec<_>>() };
        let octets = answer(&session, &judged, ends, &ours);
        let again = parse(&octets).expect("invariant: our answer can be read");
        assert_eq!(again.media.len(), session.media.len());
        let own = offer(&local, &ours);
        let asked = names_to_compare(&session, &ours);
        let mut knowing = ours.clone();
        asked.iter().for_each(|name| knowing.names.learn(name, &[IpAddr::V6(Ipv6Addr::LOCALHOST)]));
        assert!(asked.len() > 3 || names_to_compare(&session, &knowing).is_empty());
        let _ = judge(&session, &Capabilities { cema: Cema::Strict, ..knowing.clone() });
        if let Ok(mut stream) = read_answer(&own, &session, &ours) {
            let asked = stream.fall_back.names(&stream.path);
            assert_eq!(asked.is_empty(), !matches!(stream.fall_back, FallBack::Unless(_)));
            stream.fall_back.settle(&stream.path, &knowing.names);
            assert!(!matches!(stream.fall_back, FallBack::Unless(_)));
        }
        let chat = judged.chat.as_ref();
        let files: Vec<&Stream> = judged.files.iter().collect();
        let on = usize::from(chat.is_some()) + files.len();
        assert_eq!(again.media.iter().filter(|media| media.port != 0).count(), on);
        for stream in &files {
            let said =
                again.media[stream.line].attribute("file-selector").expect("invariant: a file is named");
            let said = FileSelector::parse(said).expect("invariant: our selector can be read");
            let file = stream.file.as_ref().expect("invariant: it is a file");
            assert!(said.fits(&file.selector), "{said:?} {file:?}");
        }
        // The same description as a later offer: whatever is on stays on, in its place.
        let later = judge_again(&session, again.media.len(), Standing { chat, files: &files }, &ours)
            .expect("invariant: what was acceptable still is")
            .expect("invariant: nothing was disabled");
        assert_eq!(
            later.chat.as_ref().map(|stream| (stream.line, &stream.path)),
            chat.map(|it| (it.line, &it.path))
        );
        assert_eq!(later.files, judged.files);
        let standing: Vec<usize> = files.iter().map(|stream| stream.line).collect();
        let own = offer_again(&again, chat.map(|stream| stream.line), &standing, &local, &ours);
        let lines = parse(&own.octets).expect("invariant: our offer can be read").media.len();
        assert_eq!(lines, session.media.len());
        for stream in judged.streams() {
            let _ = read_answer_again(&own, stream.line, lines, &session, &ours);
        }
    }
    let none = parse(&answer_disabled(&session, &end(false))).expect("invariant: our answer can be read");
    assert!(none.media.len() == session.media.len() && none.media.iter().all(|media| media.port == 0));
}

/// A client that can do all there is to do, apart from TLS.
pub(super) fn everything() -> Capabilities {
    Capabilities {
        receivable: AcceptTypes::parse("message/cpim text/plain", Some("image/*")),
        sendable: vec!["text/plain".to_owned()],
        max_size: 1024 * 1024,
        max_file: 1 << 40,
        ipv4: true,
        ipv6: true,
        fingerprints: Vec::new(),
        prefers_tls: false,
        plain: true,
        listens: true,
        listens_tls: false,
        connects: true,
        reachable: true,
        actpass_answer: ActpassAnswer::Auto,
        cema: Cema::Off,
        names: Names::default(),
        relay: false,
        bandwidth: None,
    }
}
