//! Bodies of the fuzz targets: they exercise everything that reads a peer's octets and assert what must always hold.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::door::{Abilities, dialog_contact, door, screen};
use super::fault::Fault;
use super::frame::{Frame, FrameLimits, Framer};
use super::header::lex::is_lws;
use super::header::{
    AcceptContact, Address, Allow, CSeq, CallId, Contact, ContentDisposition, ContentLength, ContentType,
    ContributionId, Date, Expires, From, Header, Identity, MaxForwards, MethodSet, MinExpires,
    PAssertedIdentity, Path, ProxyAuthenticate, RecordRoute, ReferTo, ReferredBy, Replaces, RetryAfter,
    Route, SessionReplaces, Subject, To, Via, WwwAuthenticate, unescape,
};
use super::message::{MAX_VIA, Message, Start};
use super::method::Method;
use super::name::Name;
use super::passport::{Freshness, MediaKey, PublicKey, Signalled, verify};
use super::uri::{Uri, aor, equivalent, is_anonymous, same_identity};
use super::write::Writer;

/// Reads `data` as one datagram.
pub fn sip_message(data: &[u8]) {
    match Message::parse(data) {
        Ok(message) => {
            assert!(message.octets().ends_with(message.body()));
            exercise(&message);
            survives_keeping(&message);
            survives_writing(&message);
        }
        Err(refused) => {
            let _ = refused.to_string();
            if let Some(readable) = refused.readable() {
                exercise(readable);
            }
            if let Some(readable) = refused.answerable() {
                can_be_refused(readable, &refused.fault);
            }
        }
    }
}

/// Reads `data` as a stream: whole, and cut as its first octet says.
pub fn sip_stream(data: &[u8]) {
    let (cut, data) = data.split_first().unwrap_or((&0, &[]));
    let limits = FrameLimits { message: 4_096, headers: 1_024 };
    let whole = frames(limits, std::iter::once(data));
    let cut = frames(limits, data.chunks(usize::from(*cut).saturating_add(1)));
    assert_eq!(whole, cut);
    for frame in whole {
        if let Seen::Message(octets) = frame {
            assert!(octets.len() <= limits.message);
            // Framing and parser agree on where a message ends.
            if let Ok(message) = Message::parse(&octets) {
                assert_eq!(message.octets(), octets);
            }
            sip_message(&octets);
        }
    }
}

/// Reads `data` as an Identity value and a description, separated by a line end; what starts as JSON is the header and
/// the claims of a PASSporT. Nothing holds but what was signed for this request.
pub fn identity(data: &[u8]) {
    let end = data.iter().position(|&octet| octet == b'\n').unwrap_or(data.len());
    let (value, rest) = data.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let json = value.starts_with(b"{").then(|| {
        let [head, claims] = [value, rest].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{head}.{claims}.{};info=<x:y>", "A".repeat(86))
    });
    let value = json.as_ref().map_or(value, |json| json.as_bytes());
    let Ok(identity) = Identity::parse(value) else { return };
    assert!(!identity.info.contains(['<', '>']) && !identity.token.is_empty());
    let uri = |text: &'static str| Uri::parse(text.as_bytes());
    // Any point will do: what does not lie on the curve verifies nothing.
    let key = PublicKey::of_point(&[4; 65]);
    let (Ok(from), Ok(to), Some(key)) = (uri("sip:alice@example.com"), uri("sip:bob@192.0.2.2"), key) else {
        return;
    };
    let freshness = Freshness { now: Duration::from_secs(1_767_225_600), within: Duration::from_secs(60) };
    let media_keys = MediaKey::all(rest);
    assert!(media_keys.is_sorted_by_key(|key| format!("{}{}", key.alg, key.dig)));
    for date in [None, Some(1_767_225_600)] {
        let request = Signalled { from, to, date, media_keys: media_keys.clone() };
        assert!(verify(&identity, &request, &key, &freshness).is_err());
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Ping,
    Pong,
    Fault(Fault),
}

fn frames<'d>(limits: FrameLimits, pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Seen> {
    let mut framer = Framer::new(limits);
    let mut seen = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            seen.push(match frame {
                Frame::Message(octets) => Seen::Message(octets.to_vec()),
                Frame::Ping => Seen::Ping,
                Frame::Pong => Seen::Pong,
                Frame::Fault(refused) => {
                    if let Some(readable) = refused.answerable() {
                        can_be_refused(readable, &refused.fault);
                    }
                    Seen::Fault(refused.fault)
                }
            });
        }
        assert!(framer.buffered() <= limits.message.max(limits.headers));
    }
    seen
}

/// Reads everything that there is to read.
fn exercise(message: &Message<'_>) {
    for field in message.fields() {
        assert!(!field.value.first().is_some_and(|&octet| is_lws(octet)));
        assert!(!field.value.last().is_some_and(|&octet| is_lws(octet)));
        // A message with a bare CR is refused, whatever its rows are taken for.
        if !field.name_text.contains(&b'\r') {
            assert_eq!(field.name, Name::of(field.name_text));
        }
        assert!(message.has(field.name));
    }
    for &name in Name::KNOWN {
        assert_eq!(message.has(name), message.rows(name).next().is_some());
        assert!(message.values(name).all(|value| !value.is_empty()));
    }
    each::<Via<'_>>(message, |via| {
        let _ = (via.branch(), via.received(), via.rport());
        assert!(!via.host.is_empty());
    });
    each::<From<'_>>(message, |from| address(&from));
    each::<To<'_>>(message, |to| address(&to));
    each::<Route<'_>>(message, |route| address(&route));
    each::<RecordRoute<'_>>(message, |route| address(&route));
    each::<Path<'_>>(message, |path| address(&path));
    each::<ReferTo<'_>>(message, |refer_to| address(&refer_to));
    each::<PAssertedIdentity<'_>>(message, |identity| address(&identity));
    each::<ReferredBy<'_>>(message, |referrer| address(&referrer.address));
    each::<Identity<'_>>(message, |identity| assert!(!identity.info.is_empty()));
    each::<Date>(message, |_| {});
    each::<Replaces<'_>>(message, |replaces| assert!(!replaces.call_id.contains([';', ' '])));
    for row in message.rows(Name::Replaces) {
        assert!(unescape(row).len() <= row.len());
    }
    each::<ContributionId<'_>>(message, |id| assert!(!id.0.is_empty()));
    each::<SessionReplaces<'_>>(message, |id| assert!(!id.0.is_empty()));
    each::<Contact<'_>>(message, |contact| {
        if let Some(found) = contact.address() {
            address(found);
        }
    });
    each::<AcceptContact<'_>>(message, |features| {
        features.params.iter().for_each(|param| drop(param.text()))
    });
    each::<WwwAuthenticate<'_>>(message, |challenge| {
        challenge.0.params().for_each(|param| drop(param.text()))
    });
    each::<ProxyAuthenticate<'_>>(message, |challenge| drop(challenge.0.param("nonce")));
    each::<ContentType<'_>>(message, |content_type| assert!(content_type.media_type.contains('/')));
    each::<ContentDisposition<'_>>(message, |disposition| assert!(!disposition.kind.is_empty()));
    each::<Subject<'_>>(message, drop);
    each::<CallId<'_>>(message, |call_id| assert!(!call_id.0.is_empty()));
    each::<CSeq<'_>>(message, |cseq| assert_eq!(cseq.method, Method::of(cseq.method_text)));
    each::<Allow>(message, drop);
    each::<MaxForwards>(message, drop);
    each::<Expires>(message, drop);
    each::<MinExpires>(message, drop);
    each::<RetryAfter>(message, drop);
    each::<ContentLength>(message, drop);
    let _ = (message.allow(), dialog_contact(message), message.return_path());
    match door(message) {
        Ok(core) => {
            assert_eq!(core.target.is_some(), message.is_request());
            let can = Abilities {
                methods: MethodSet::of(Method::KNOWN),
                options: &["timer"],
                media_types: &["text/*"],
            };
            let _ = screen(message, &core, &can).map_err(|fault| fault.reason());
        }
        Err(fault) if message.is_answerable() => can_be_refused(message, &fault),
        Err(fault) => drop(fault.reason()),
    }
}

fn each<'a, H: Header<'a>>(message: &Message<'a>, seen: impl Fn(H)) {
    for value in message.list::<H>() {
        match value {
            Ok(value) => seen(value),
            Err(fault) => assert_eq!(fault.name, H::NAME),
        }
    }
    if let Ok(Some(value)) = message.maybe::<H>() {
        seen(value);
    }
}

fn address(address: &Address<'_>) {
    let _ = (address.display_name(), address.tag());
    assert!(!address.uri.is_empty());
    address.params.iter().for_each(|param| drop(param.text()));
    if let Ok(uri) = address.uri() {
        self::uri(&uri);
    }
}

fn uri(uri: &Uri<'_>) {
    assert!(equivalent(uri, uri));
    assert_eq!(same_identity(uri, uri), !is_anonymous(uri));
    // A key that is a URI again stands for the same.
    let key = aor(uri);
    if let Ok(again) = Uri::parse(key.as_bytes()) {
        assert_eq!(aor(&again), key);
    }
}

fn survives_keeping(message: &Message<'_>) {
    let kept = message.keep();
    let again = kept.message();
    assert_eq!(again.octets(), message.octets());
    assert_eq!(again.start(), message.start());
    assert_eq!(again.body(), message.body());
    assert!(again.fields().eq(message.fields()));
}

/// What was read can be written, and is read again as the same.
fn survives_writing(message: &Message<'_>) {
    // Close to the limits, the spaces that we write may be too much.
    if message.octets().len() > 4_096 {
        return;
    }
    let mut writer = match message.start() {
        Start::Request { method_text, uri, .. } => {
            Writer::request(&String::from_utf8_lossy(method_text), uri)
        }
        Start::Response { status, reason } => Writer::response(status, &String::from_utf8_lossy(reason)),
    };
    for field in message.fields().filter(|field| field.name != Name::ContentLength) {
        writer.raw(&String::from_utf8_lossy(field.name_text), field.value);
    }
    let octets = writer.finish(Some(("", message.body())));
    let again = match Message::parse(&octets) {
        Ok(again) => again,
        Err(refused) => panic!("{refused}: {}", String::from_utf8_lossy(&octets)),
    };
    assert_eq!(again.method(), message.method());
    assert_eq!(again.status(), message.status());
    assert_eq!(again.request_uri(), message.request_uri());
    assert_eq!(again.body(), message.body());
    let plain = |message: &Message<'_>| {
        let fields = message.fields().filter(|field| field.name != Name::ContentLength);
        fields.map(|field| (field.name, unfold(field.value))).collect::<Vec<_>>()
    };
    assert_eq!(plain(&again), plain(message));
}

fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().map(|&octet| if is_lws(octet) { b' ' } else { octet }).collect()
}

/// The refusal is a well-formed response whose rows are those of the request.
fn can_be_refused(request: &Message<'_>, fault: &Fault) {
    let octets = Writer::reply(request, fault.status(), &fault.reason(), Some("tag")).finish(None);
    // Who sent more Vias than we read gets them back all the same.
    if octets.len() > 4_096 || request.values(Name::Via).count() > MAX_VIA {
        return;
    }
    let reply = match Message::parse(&octets) {
        Ok(reply) => reply,
        Err(refused) => panic!("{refused}: {}", String::from_utf8_lossy(&octets)),
    };
    assert_eq!(reply.status(), Some(fault.status()));
    // A fold, or a stray CR or LF, has become spaces.
    let rows = |message: &Message<'_>, name| message.rows(name).map(unfold).collect::<Vec<_>>();
    assert_eq!(rows(&reply, Name::Via), rows(request, Name::Via));
    assert_eq!(rows(&reply, Name::CallId).first(), rows(request, Name::CallId).first());
}
