//! What one INVITE of 1 kB costs: reading it, reading its headers by type, writing it again.
#![expect(clippy::disallowed_types, reason = "divan keeps its benches in statics")]

use divan::{AllocProfiler, Bencher, black_box};
use parlour_proto::sip::door::door;
use parlour_proto::sip::frame::{FrameLimits, Framer};
use parlour_proto::sip::header::{Contact, PAssertedIdentity, Route, Via};
use parlour_proto::sip::message::{Message, Start};
use parlour_proto::sip::uri::Uri;
use parlour_proto::sip::write::Writer;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// An INVITE as it comes out of an IMS core: 20 rows, 1 kB without its body.
const INVITE: &[u8] = b"INVITE sip:bob@192.0.2.4:5060;transport=udp SIP/2.0\r\n\
Via: SIP/2.0/UDP proxy.example.com:5060;branch=z9hG4bK87asdks7hd8w2.1;rport\r\n\
Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bKnashds8;received=192.0.2.1\r\n\
Record-Route: <sip:proxy.example.com;lr;ftag=1928301774>\r\n\
Route: <sip:edge.example.net:5060;transport=udp;lr>, <sip:core.example.net;lr>\r\n\
Max-Forwards: 68\r\n\
From: \"Alice Liddell\" <sip:alice@example.com>;tag=1928301774\r\n\
To: Bob <sip:bob@example.net>\r\n\
Call-ID: a84b4c76e66710@pc33.example.com\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@192.0.2.101:5060;transport=udp>;+g.oma.sip-im\r\n\
Accept-Contact: *;+g.oma.sip-im\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, NOTIFY, REFER\r\n\
Supported: replaces, timer, 100rel\r\n\
P-Asserted-Identity: \"Alice Liddell\" <sip:alice@example.com>\r\n\
User-Agent: IM-client/OMA1.0 Example/2.1\r\n\
Subject: lunch\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 0\r\n\
\r\n";

/// Written again octet by octet, as for a second attempt with credentials.
#[divan::bench(sample_size = 2_000)]
fn write_again(bencher: Bencher<'_, '_>) {
    let message = Message::parse(INVITE).expect("a valid message");
    bencher.bench(|| black_box(Writer::again(black_box(&message), &[]).finish(None)).len());
}

/// The least that finding names and values takes: a search for each colon and each line end.
#[divan::bench(sample_size = 2_000)]
fn floor(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let mut rest = black_box(INVITE);
        let mut sum = 0_usize;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            sum += memchr::memchr(b':', line).unwrap_or(0);
            rest = after;
        }
        sum
    });
}

#[divan::bench(sample_size = 2_000)]
fn parse(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Message::parse(black_box(INVITE)).map(|message| black_box(message).octets().len()).ok());
}

#[divan::bench(sample_size = 2_000)]
fn parse_and_door(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let message = Message::parse(black_box(INVITE)).expect("a valid message");
        black_box(door(&message)).is_ok()
    });
}

/// Via, From, To, Call-ID, CSeq, Contact with its URI, the route set, Allow, P-Asserted-Identity.
#[divan::bench(sample_size = 2_000)]
fn parse_and_read(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let message = Message::parse(black_box(INVITE)).expect("a valid message");
        let core = door(&message).expect("a valid message");
        let contact: Contact<'_> = message.one().expect("a Contact");
        let target = contact.address().map(|address| Uri::parse(address.uri));
        let routes = message.list::<Route<'_>>().filter(Result::is_ok).count();
        let identity: PAssertedIdentity<'_> = message.one().expect("an identity");
        black_box((core.cseq, target, routes, message.allow(), identity));
    });
}

#[divan::bench(sample_size = 2_000)]
fn read_all_via(bencher: Bencher<'_, '_>) {
    let message = Message::parse(INVITE).expect("a valid message");
    bencher.bench(|| black_box(&message).list::<Via<'_>>().filter(Result::is_ok).count());
}

#[divan::bench(sample_size = 2_000)]
fn keep(bencher: Bencher<'_, '_>) {
    let message = Message::parse(INVITE).expect("a valid message");
    bencher.bench(|| drop(black_box(black_box(&message).keep())));
}

#[divan::bench(sample_size = 2_000)]
fn write(bencher: Bencher<'_, '_>) {
    let message = Message::parse(INVITE).expect("a valid message");
    bencher.bench(|| {
        let message = black_box(&message);
        let Start::Request { method, uri, .. } = message.start() else { return 0 };
        let mut writer = Writer::request(method.text(), uri);
        for field in message.fields().take(18) {
            writer.row(field.name, field.value);
        }
        black_box(writer.finish(None)).len()
    });
}

#[divan::bench(sample_size = 2_000)]
fn write_reply(bencher: Bencher<'_, '_>) {
    let message = Message::parse(INVITE).expect("a valid message");
    bencher.bench(|| {
        let reply = Writer::reply(black_box(&message), 180, "Ringing", Some("8a7sd8f7asd87fa8"));
        black_box(reply.finish(None)).len()
    });
}

#[divan::bench(sample_size = 2_000)]
fn frame(bencher: Bencher<'_, '_>) {
    let mut framer = Framer::new(FrameLimits::default());
    bencher.bench_local(|| {
        framer.push(black_box(INVITE));
        matches!(framer.next(), Some(parlour_proto::sip::frame::Frame::Message(_)))
    });
}
