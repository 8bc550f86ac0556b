//! The least that answers a call: one loop that receives a datagram, copies what an answer needs, and sends. It keeps
//! nothing, checks nothing and never sends anything again.

use std::net::UdpSocket;

use super::dialog::header;
use crate::Outcome;

/// Answers requests; knows only its own address.
#[derive(Debug)]
pub struct Floor {
    contact: String,
    body: String,
    out: Vec<u8>,
}

impl Floor {
    /// One that listens at `local`, HOST:PORT.
    pub fn new(local: &str) -> Floor {
        Floor::with_media(local, 2855)
    }

    /// One that says that it takes MSRP at a port of 127.0.0.1.
    pub fn with_media(local: &str, port: u16) -> Floor {
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=message {port} TCP/MSRP *\r\na=setup:passive\r\na=accept-types:message/cpim text/plain\r\n\
             a=path:msrp://127.0.0.1:{port}/floor0000000000;tcp\r\n"
        );
        Floor { contact: format!("<sip:bob@{local}>"), body, out: Vec::with_capacity(2048) }
    }

    /// Answers one request.
    pub fn answer(&mut self, request: &[u8], send: &mut dyn FnMut(&[u8])) {
        if request.starts_with(b"INVITE ") {
            send(self.respond(request, "200 OK", true));
        } else if request.starts_with(b"BYE ") {
            send(self.respond(request, "200 OK", false));
        }
    }

    /// The response, with a session description if `offer`.
    pub fn respond(&mut self, request: &[u8], status: &str, offer: bool) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(b"SIP/2.0 ");
        out.extend_from_slice(status.as_bytes());
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let value = header(request, name.as_bytes()).unwrap_or_default();
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            if name == "To" && memchr::memmem::find(value, b";tag=").is_none() {
                out.extend_from_slice(b";tag=floor");
            }
        }
        out.extend_from_slice(b"\r\nContact: ");
        out.extend_from_slice(self.contact.as_bytes());
        let body = if offer { self.body.as_str() } else { "" };
        if offer {
            out.extend_from_slice(b"\r\nContent-Type: application/sdp");
        }
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body.as_bytes());
        out
    }
}

/// Serves until it is killed.
pub fn serve() -> Outcome<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let local = socket.local_addr()?;
    crate::say_listening(local);
    let mut floor = Floor::new(&local.to_string());
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer)?;
        let request = buffer.get(..length).unwrap_or_default();
        floor.answer(request, &mut |octets| {
            // A full buffer is the caller's to notice.
            let _ = socket.send_to(octets, peer);
        });
    }
}
