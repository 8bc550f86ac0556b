//! The 1 kB INVITE that all parsers read: two hops, a route set of two, an asserted identity, an MSRP offer.

/// The message.
pub const INVITE: &[u8] = b"INVITE sip:bob@192.0.2.4:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP proxy.example.com:5060;branch=z9hG4bK2d4790.1;rport\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;received=192.0.2.1;branch=z9hG4bKnashds8\r\n\
    Max-Forwards: 69\r\n\
    Record-Route: <sip:proxy.example.com;lr>\r\n\
    Record-Route: <sip:edge.example.com;lr>\r\n\
    From: \"Alice Liddell\" <sip:alice@example.com>;tag=1928301774\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: a84b4c76e66710@pc33.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1:5060>;+g.oma.sip-im\r\n\
    Accept-Contact: *;+g.oma.sip-im;explicit;require\r\n\
    User-Agent: IM-client/OMA1.0 Parlour/0.1.0\r\n\
    Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, NOTIFY\r\n\
    P-Asserted-Identity: \"Alice\" <sip:alice@example.com>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 246\r\n\r\n\
    v=0\r\no=- 3890844526 3890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=message 2855 TCP/MSRP *\r\na=setup:actpass\r\na=max-size:1048576\r\n\
    a=accept-types:text/plain\r\na=accept-wrapped-types:*\r\na=path:msrp://192.0.2.1:2855/iau39soe2843z;tcp\r\n";
