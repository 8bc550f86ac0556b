//! Reading MSRP frames: ours, and a `memchr` over the same octets.

use std::hint::black_box;

use memchr::memchr_iter;
use parlour_msrp::frame::{FrameReader, Piece};

use crate::parse::Contender;

/// Frames that come together.
pub const TOGETHER: usize = 16;

/// A stream of frames with bodies of so many octets.
fn stream(body: usize) -> Vec<u8> {
    let body = "0123456789abcde ".repeat(body.div_ceil(16));
    (0..TOGETHER)
        .map(|n| {
            format!(
                "MSRP d93kswow{n:08} SEND\r\nTo-Path: msrp://192.0.2.2:8888/9di4eae923wzd9di4eae9;tcp\r\n\
                 From-Path: msrp://192.0.2.1:7777/iau39soe2843ziau39soe;tcp\r\nMessage-ID: 12339sdqwer{n:05}\r\n\
                 Byte-Range: 1-*/{}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------d93kswow{n:08}$\r\n",
                body.len()
            )
        })
        .collect::<String>()
        .into_bytes()
}

/// Cutting a stream into frames and reading their headers, beside a search for each line end in the same octets.
pub fn read(body: usize) -> Vec<Contender> {
    let (ours, floor) = (stream(body), stream(body));
    let mut reader = FrameReader::new(16 * 1024);
    vec![
        Contender {
            name: "parlour-msrp",
            work: Box::new(move || {
                let mut input = black_box(&ours[..]);
                let mut frames = 0;
                // Looked at in place, as an endpoint does: a head is not small.
                loop {
                    let next = reader.next(&mut input);
                    match black_box(&next) {
                        Some(Piece::End(_)) => frames += 1,
                        Some(_) => {}
                        None => break,
                    }
                }
                assert_eq!(frames, TOGETHER, "the frames are good");
            }),
        },
        Contender {
            name: "memchr floor",
            work: Box::new(move || {
                // Each is looked at: counting alone would be another, faster algorithm.
                memchr_iter(b'\n', black_box(&floor)).for_each(|at| {
                    black_box(at);
                });
            }),
        },
    ]
}
