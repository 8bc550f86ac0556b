//! What a scripted peer writes: SIP dialogs and MSRP frames as text.

use crate::check::WELL_FORMED;
use crate::peer::Way;
use crate::text;
use crate::world::{NodeId, World};

/// One end of a SIP dialog, and of the MSRP session in it, as a script plays it.
///
/// All fields may be changed at will: that is what a hostile peer does.
#[derive(Debug, Clone)]
pub struct Script {
    /// Who plays it.
    pub node: NodeId,
    /// How it reaches the other end.
    pub way: Way,
    /// `UDP` or `TCP`, as in Via.
    pub transport: &'static str,
    /// `192.0.2.1:5060`: our own host and port, as in Via and Contact.
    pub host: String,
    /// From of our requests, without the tag.
    pub local: String,
    /// To of our requests, without the tag.
    pub remote: String,
    /// Call-ID.
    pub call_id: String,
    /// The tag of our end.
    pub local_tag: String,
    /// The tag of the other end, once it is known.
    pub remote_tag: Option<String>,
    /// The Request-URI.
    pub target: String,
    /// The sequence number of our last request.
    pub cseq: u32,
    /// The branch of the last request other than ACK and CANCEL.
    pub branch: String,
    /// Our MSRP URI.
    pub path: String,
    /// The peer's, once its SDP is known.
    pub peer_path: String,
}

impl Script {
    /// A caller at `node` who wants `remote`, a SIP URI, over `way`.
    pub fn caller(world: &mut World, node: NodeId, way: Way, remote: &str) -> Self {
        let serial = world.serial();
        let (transport, port) = match way {
            Way::Udp { .. } => ("UDP", 5060),
            Way::Stream { .. } => ("TCP", 5060),
        };
        let host = world.address(node, port).to_string();
        let name = world.names().nth(node.0).unwrap_or("peer").to_owned();
        Script {
            node,
            way,
            transport,
            local: format!("\"{name}\" <sip:{name}@{host}>"),
            remote: format!("<{remote}>"),
            call_id: format!("call-{serial}@{name}"),
            local_tag: format!("tag-{serial}"),
            remote_tag: None,
            target: remote.to_owned(),
            cseq: 1,
            branch: format!("{WELL_FORMED}-{serial}"),
            path: format!("msrp://{}/session{serial}-{name};tcp", world.address(node, 2855)),
            peer_path: String::new(),
            host,
        }
    }

    /// The called end of the dialog that an INVITE which arrived over `way` makes.
    pub fn callee(world: &mut World, node: NodeId, way: Way, invite: &[u8]) -> Self {
        let value = |name| text::header(invite, name).unwrap_or_default();
        let (from, to) = (value("From"), value("To"));
        let mut script = Script::caller(world, node, way, &text::uri(&value("Contact")));
        script.call_id = value("Call-ID");
        script.remote_tag = text::param(&from, "tag");
        script.remote = format!("<{}>", text::uri(&from));
        script.local = format!("<{}>", text::uri(&to));
        script.peer_path = text::attribute(invite, "path").unwrap_or_default();
        script
    }

    /// A request of this dialog. `rows` are whole header lines, each with its CRLF.
    pub fn request(&self, method: &str, branch: &str, rows: &str, body: &str) -> String {
        let Script { target, transport, host, local, local_tag, remote, call_id, cseq, .. } = self;
        let remote_tag = self.remote_tag.as_ref().map_or_else(String::new, |tag| format!(";tag={tag}"));
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let length = body.len();
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {host};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: {local};tag={local_tag}\r\nTo: {remote}{remote_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{rows}{kind}Content-Length: {length}\r\n\r\n{body}"
        )
    }

    /// INVITE with the usual offer.
    pub fn invite(&self) -> String {
        self.invite_with("", &self.offer())
    }

    /// INVITE with these header lines and this body.
    pub fn invite_with(&self, rows: &str, body: &str) -> String {
        let contact = format!("Contact: <sip:{}>\r\n{rows}", self.host);
        self.request("INVITE", &self.branch, &contact, body)
    }

    /// CANCEL of the last INVITE.
    pub fn cancel(&self) -> String {
        let mut early = self.clone();
        early.remote_tag = None;
        early.request("CANCEL", &self.branch, "", "")
    }

    /// ACK for a final response other than 2xx.
    pub fn ack_refusal(&mut self, response: &[u8]) -> String {
        self.learn(response);
        self.request("ACK", &self.branch, "", "")
    }

    /// ACK for a 2xx.
    pub fn ack(&mut self, world: &mut World, response: &[u8]) -> String {
        self.learn(response);
        let branch = format!("z9hG4bK-ack-{}", world.serial());
        self.request("ACK", &branch, "", "")
    }

    /// The next request of this dialog: CSeq rises, the branch is new.
    pub fn next(&mut self, world: &mut World, method: &str, rows: &str, body: &str) -> String {
        self.cseq += 1;
        self.branch = format!("{WELL_FORMED}-{}", world.serial());
        self.request(method, &self.branch, rows, body)
    }

    /// BYE.
    pub fn bye(&mut self, world: &mut World) -> String {
        self.next(world, "BYE", "", "")
    }

    /// Keeps what a response tells: tag, target and MSRP path.
    pub fn learn(&mut self, response: &[u8]) {
        let to = text::header(response, "To").unwrap_or_default();
        self.remote_tag = text::param(&to, "tag").or_else(|| self.remote_tag.take());
        if let Some(contact) = text::header(response, "Contact") {
            self.target = text::uri(&contact);
        }
        if let Some(path) = text::attribute(response, "path") {
            self.peer_path = path;
        }
    }

    /// Our response to a request.
    pub fn respond(&self, request: &[u8], line: &str, rows: &str, body: &str) -> String {
        let mut response = format!("SIP/2.0 {line}\r\n");
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in text::headers(request, name) {
                let tag =
                    match name == "To" && text::param(&value, "tag").is_none() && !line.starts_with("100") {
                        true => format!(";tag={}", self.local_tag),
                        false => String::new(),
                    };
                response.push_str(&format!("{name}: {value}{tag}\r\n"));
            }
        }
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        response.push_str(&format!(
            "Contact: <sip:{}>\r\n{rows}{kind}Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        ));
        response
    }

    /// The usual offer: text and CPIM, `actpass`, our path.
    pub fn offer(&self) -> String {
        self.sdp("actpass", "text/plain message/cpim")
    }

    /// An SDP body with one MSRP line.
    pub fn sdp(&self, setup: &str, types: &str) -> String {
        let address = self.path.trim_start_matches("msrp://").split(':').next().unwrap_or("");
        format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=message 2855 TCP/MSRP *\r\n\
             a=accept-types:{types}\r\na=accept-wrapped-types:*\r\na=path:{}\r\na=setup:{setup}\r\n",
            self.path
        )
    }

    /// A SEND without a body: what binds a session, or keeps it alive.
    pub fn msrp_empty(&self, tid: &str) -> String {
        let Script { peer_path, path, .. } = self;
        format!(
            "MSRP {tid} SEND\r\nTo-Path: {peer_path}\r\nFrom-Path: {path}\r\nMessage-ID: empty-{tid}\r\n\
             Byte-Range: 1-0/0\r\n-------{tid}$\r\n"
        )
    }

    /// A SEND with a whole text.
    pub fn msrp_send(&self, tid: &str, message_id: &str, text: &str) -> String {
        self.msrp_chunk(tid, message_id, &format!("1-{0}/{0}", text.len()), text.as_bytes(), '$')
    }

    /// A SEND with some octets of a text.
    pub fn msrp_chunk(&self, tid: &str, message_id: &str, range: &str, octets: &[u8], flag: char) -> String {
        let Script { peer_path, path, .. } = self;
        let body = text::lossy(octets);
        format!(
            "MSRP {tid} SEND\r\nTo-Path: {peer_path}\r\nFrom-Path: {path}\r\nMessage-ID: {message_id}\r\n\
             Byte-Range: {range}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------{tid}{flag}\r\n"
        )
    }

    /// A response to an MSRP request.
    pub fn msrp_respond(&self, request: &[u8], line: &str) -> String {
        let tid = text::transaction(request).unwrap_or_default();
        let from = text::header(request, "From-Path").unwrap_or_default();
        let to_path = from.split(' ').next().unwrap_or("");
        let from_path = text::header(request, "To-Path").unwrap_or_default();
        format!("MSRP {tid} {line}\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\n-------{tid}$\r\n")
    }
}
