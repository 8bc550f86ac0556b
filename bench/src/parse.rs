//! Reading and writing one message: ours, two peers' and the floor. The same functions are timed by one program and
//! have their allocations counted by the other.

use std::hint::black_box;

use bytes::Bytes;
use parlour_proto::sip::header::{CSeq, CallId, Contact, From, PAssertedIdentity, RecordRoute, To};
use parlour_proto::sip::message::{Message, Start};
use parlour_proto::sip::name::Name;
use parlour_proto::sip::write::Writer;
use rsipstack::sip::headers::ToTypedHeader;
use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{Header, SipMessage};
use sipx_sip::headers as sipx;

use crate::invite::INVITE;

/// What is compared.
pub struct Contender {
    /// For the table.
    pub name: &'static str,
    /// Does the work once.
    pub work: Box<dyn FnMut()>,
}

fn contender(name: &'static str, work: impl FnMut() + 'static) -> Contender {
    Contender { name, work: Box::new(work) }
}

/// Indexing the headers.
pub fn index() -> Vec<Contender> {
    let octets = Bytes::from_static(INVITE);
    let limits = sipx_sip::parser::Limits::datagram();
    vec![
        contender("parlour", || {
            black_box(&Message::parse(black_box(INVITE)).expect("the message is good"));
        }),
        contender("memchr floor", || {
            black_box(floor(black_box(INVITE)));
        }),
        contender("rsipstack", || {
            black_box(&SipMessage::try_from(black_box(INVITE)).expect("the message is good"));
        }),
        contender("sipx-sip", move || {
            let message = sipx_sip::parser::parse_datagram(black_box(octets.clone()), &limits);
            black_box(&message.expect("the message is good"));
        }),
    ]
}

/// Indexing, then reading Via, From, To, Call-ID, CSeq, Contact, route set, Allow and P-Asserted-Identity.
pub fn typed() -> Vec<Contender> {
    let octets = Bytes::from_static(INVITE);
    let limits = sipx_sip::parser::Limits::datagram();
    vec![
        contender("parlour", || read_ours(&Message::parse(black_box(INVITE)).expect("the message is good"))),
        contender("rsipstack", || {
            read_rsipstack(&SipMessage::try_from(black_box(INVITE)).expect("the message is good"));
        }),
        contender("sipx-sip", move || {
            let message = sipx_sip::parser::parse_datagram(black_box(octets.clone()), &limits);
            read_sipx(&message.expect("the message is good"));
        }),
    ]
}

/// Writing the message that was read.
pub fn write() -> Vec<Contender> {
    let ours = Message::parse(INVITE).expect("the message is good");
    let sipx =
        sipx_sip::parser::parse_datagram(Bytes::from_static(INVITE), &sipx_sip::parser::Limits::datagram())
            .expect("the message is good");
    let rsipstack = SipMessage::try_from(INVITE).expect("the message is good");
    let again = |message: &Message<'_>| Writer::again(message, &[]).finish(Some(("", message.body())));
    assert_eq!(again(&ours).len(), INVITE.len(), "nothing is lost");
    vec![
        contender("parlour", move || {
            black_box(&again(black_box(&ours)));
        }),
        contender("memcpy floor", || {
            black_box(&black_box(INVITE).to_vec());
        }),
        contender("rsipstack", move || {
            black_box(&black_box(&rsipstack).to_bytes());
        }),
        contender("sipx-sip", move || {
            black_box(&black_box(&sipx).to_bytes());
        }),
    ]
}

/// Building the same message of its rows, each checked for line ends, as a new one is built.
pub fn build() -> Vec<Contender> {
    let ours = Message::parse(INVITE).expect("the message is good");
    assert_eq!(build_ours(&ours).len(), INVITE.len(), "nothing is lost");
    vec![
        contender("parlour", move || {
            black_box(&build_ours(black_box(&ours)));
        }),
        contender("memcpy floor", || {
            black_box(&black_box(INVITE).to_vec());
        }),
    ]
}

/// The least that any index needs: where each row ends, and where its colon is.
fn floor(octets: &[u8]) -> usize {
    let mut sum = 0_usize;
    let mut at = 0_usize;
    while let Some(rest) = octets.get(at..)
        && let Some(end) = memchr::memchr(b'\n', rest)
        && end > 1
    {
        sum = sum.wrapping_add(memchr::memchr(b':', rest).unwrap_or(0));
        at = at.wrapping_add(end).wrapping_add(1);
    }
    sum.wrapping_add(at)
}

fn read_ours(message: &Message<'_>) {
    let good = "the header is good";
    black_box(&message.top_via().expect(good));
    black_box(&message.one::<From<'_>>().expect(good));
    black_box(&message.one::<To<'_>>().expect(good));
    black_box(&message.one::<CallId<'_>>().expect(good));
    black_box(&message.one::<CSeq<'_>>().expect(good));
    let contact = message.one::<Contact<'_>>().expect(good);
    black_box(&contact.address().expect("no star").uri().expect(good));
    for route in message.list::<RecordRoute<'_>>() {
        black_box(&route.expect(good));
    }
    black_box(&message.allow());
    black_box(&message.one::<PAssertedIdentity<'_>>().expect(good));
}

fn read_rsipstack(message: &SipMessage) {
    let good = "the header is good";
    black_box(&message.via_header().expect(good).typed().expect(good));
    black_box(&message.from_header().expect(good).typed().expect(good));
    black_box(&message.to_header().expect(good).typed().expect(good));
    black_box(&message.call_id_header().expect(good).value());
    black_box(&message.cseq_header().expect(good).typed().expect(good));
    black_box(&message.contact_header().expect(good).typed().expect(good));
    black_box(&message.typed_record_route_headers().expect(good));
    for header in rsipstack::sip::HasHeaders::headers(message).iter() {
        if let Header::Allow(allow) = header {
            black_box(&allow.value());
        }
    }
    black_box(&message.p_asserted_identity_header().expect(good));
}

fn read_sipx(message: &sipx_sip::message::Message) {
    let good = "the header is good";
    let headers = message.headers();
    black_box(&headers.typed::<sipx::Via>().expect(good).expect(good));
    black_box(&headers.typed::<sipx::From>().expect(good).expect(good));
    black_box(&headers.typed::<sipx::To>().expect(good).expect(good));
    black_box(&headers.typed::<sipx::CallId>().expect(good).expect(good));
    black_box(&headers.typed::<sipx::CSeq>().expect(good).expect(good));
    black_box(&headers.typed::<sipx::ContactValue>().expect(good).expect(good));
    for route in headers.typed_all::<sipx::RecordRoute>() {
        black_box(&route.expect(good));
    }
    black_box(&headers.typed::<sipx::Allow>().expect(good).expect(good));
    black_box(&sipx::PAssertedIdentityList::from_headers(headers).expect(good).expect(good));
}

fn build_ours(message: &Message<'_>) -> Vec<u8> {
    let Start::Request { method_text, uri, .. } = message.start() else { unreachable!("it is a request") };
    let mut writer = Writer::request(std::str::from_utf8(method_text).unwrap_or_default(), uri);
    let mut content_type = "";
    for field in message.fields() {
        match field.name {
            Name::ContentType => content_type = std::str::from_utf8(field.value).unwrap_or_default(),
            Name::ContentLength => {}
            Name::Other => {
                writer.raw(std::str::from_utf8(field.name_text).unwrap_or_default(), field.value);
            }
            name => {
                writer.row(name, field.value);
            }
        }
    }
    writer.finish(Some((content_type, message.body())))
}
