//! Sockets against sockets, on loopback.

use std::io::{Read, Write};
use std::net::{TcpStream as StdStream, UdpSocket as StdUdp};
use std::path::PathBuf;

use parlour_proto::io::TlsExpect;

use super::identity::Identity;
use super::*;

const WINDOW: usize = tcp::WINDOW;

/// A place that takes any free port.
fn at(service: Service, transport: Transport) -> Listen {
    Listen { service, transport, host: "127.0.0.1".into(), port: 0 }
}

fn local(input: &Input<'_>) -> SocketAddr {
    let Input::Listening { local, .. } = input else { panic!("not listening: {input:?}") };
    *local
}

fn with(files: tls::Files) -> Tls {
    let identity = Identity::of(&files, None).unwrap();
    Tls::new(files, identity).unwrap()
}

fn net(files: tls::Files) -> (Net, Rung) {
    Net::new(with(files), 512, None)
}

/// The next input as text, octets as they are; `None` when nothing comes for a while.
async fn next(net: &mut Net, rung: &mut Rung) -> Option<String> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut news = Vec::new();
        net.flush(Instant::now(), &mut news);
        if let Some(input) = news.first() {
            return Some(format!("{input:?}"));
        }
        let token = tokio::time::timeout(Duration::from_millis(500), rung.recv()).await.ok()??;
        let heard = net.hear(token, &mut buffer).map(|input| {
            let Input::Received { bytes, .. } = input else { return format!("{input:?}") };
            String::from_utf8_lossy(bytes).into_owned()
        });
        match heard {
            Some(heard) => {
                net.again(token);
                return Some(heard);
            }
            None => net.go_on(token),
        }
    }
}

/// NATs and firewalls forget a stream of which they hear nothing for some minutes.
//= IM M-10 test
#[tokio::test]
async fn a_stream_that_says_nothing_is_probed_before_anybody_forgets_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tcp::tune(&stream);
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert!(socket.tcp_keepalive_time().unwrap() <= Duration::from_secs(120));
    let given_up = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
    assert!(given_up <= Duration::from_secs(180), "{given_up:?}");
}

#[tokio::test]
async fn datagrams_come_and_go() {
    let (mut net, mut rung) = net(tls::Files::default());
    let here = local(&net.listen(&at(Service::Sip, Transport::Udp)).unwrap());
    let peer = StdUdp::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"one", here).unwrap();
    peer.send_to(b"two", here).unwrap();
    assert_eq!(next(&mut net, &mut rung).await.as_deref(), Some("one"));
    assert_eq!(next(&mut net, &mut rung).await.as_deref(), Some("two"));
    assert_eq!(next(&mut net, &mut rung).await, None);
    net.send(FlowId::Udp { socket: 0, peer: peer.local_addr().unwrap() }, b"answer".to_vec());
    let mut buffer = [0; 16];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 6);
}

#[tokio::test]
async fn a_datagram_that_has_no_way_is_told() {
    let (mut net, mut rung) = net(tls::Files::default());
    net.listen(&at(Service::Sip, Transport::Udp)).unwrap();
    // A socket on loopback reaches nobody else.
    let flow = FlowId::Udp { socket: 0, peer: ([192, 0, 2, 1], 5060).into() };
    net.send(flow, b"lost".to_vec());
    let told = next(&mut net, &mut rung).await.unwrap();
    assert!(told.contains("Closed") && told.contains("192.0.2.1"), "{told}");
    assert_eq!(next(&mut net, &mut rung).await, None);
}

//= IM X-13 test
#[tokio::test]
async fn handshakes_count_against_what_one_address_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let (mut net, mut rung) = Net::new(with(authority(dir.path(), "localhost")), 2, None);
    let here = local(&net.listen(&at(Service::Sip, Transport::Tls)).unwrap());
    let mut silent: Vec<StdStream> = (0..3).map(|_| StdStream::connect(here).unwrap()).collect();
    assert_eq!(next(&mut net, &mut rung).await, None, "nobody shakes hands");
    assert_eq!(net.streams.len(), 2);
    let mut third = silent.pop().unwrap();
    assert_eq!(third.read(&mut [0; 1]).unwrap(), 0, "it was closed");
    // Who goes makes room.
    silent.pop();
    let closed = next(&mut net, &mut rung).await.unwrap();
    assert!(closed.contains("Closed"), "{closed}");
    let _fourth = StdStream::connect(here).unwrap();
    assert_eq!(next(&mut net, &mut rung).await, None);
    assert_eq!(net.streams.len(), 2);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_remedy() {
    let (mut net, _rung) = net(tls::Files::default());
    for transport in [Transport::Udp, Transport::Tcp] {
        let taken = local(&net.listen(&at(Service::Sip, transport)).unwrap());
        let again = Listen { port: taken.port(), ..at(Service::Sip, transport) };
        let error = net.listen(&again).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("--sip"), "{error}");
    }
}

#[tokio::test]
async fn a_stream_is_read_held_resumed_and_closed_without_loss() {
    let (mut net, mut rung) = net(tls::Files::default());
    let here = local(&net.listen(&at(Service::Msrp, Transport::Tcp)).unwrap());
    let mut peer = StdStream::connect(here).unwrap();
    let opened = next(&mut net, &mut rung).await.unwrap();
    assert!(opened.contains("Opened") && opened.contains("Msrp"), "{opened}");
    let room = next(&mut net, &mut rung).await.unwrap();
    assert!(room.contains(&format!("room: {WINDOW}")), "{room}");
    let flow = FlowId::Stream(1);
    peer.write_all(b"first").unwrap();
    assert_eq!(next(&mut net, &mut rung).await.as_deref(), Some("first"));
    net.hold(flow);
    peer.write_all(b"second").unwrap();
    assert_eq!(next(&mut net, &mut rung).await, None);
    net.resume(flow);
    assert_eq!(next(&mut net, &mut rung).await.as_deref(), Some("second"));
    net.send(flow, b"last ".to_vec());
    net.send(flow, b"words".to_vec());
    net.close(flow);
    let reader = std::thread::spawn(move || {
        let mut words = String::new();
        peer.read_to_string(&mut words).unwrap();
        words
    });
    let closed = next(&mut net, &mut rung).await.unwrap();
    assert!(closed.contains("Local"), "{closed}");
    assert_eq!(reader.join().unwrap(), "last words");
}

#[tokio::test]
async fn room_is_told_again_only_when_the_peer_has_read() {
    let (mut net, mut rung) = net(tls::Files::default());
    let here = local(&net.listen(&at(Service::Msrp, Transport::Tcp)).unwrap());
    let mut peer = StdStream::connect(here).unwrap();
    next(&mut net, &mut rung).await;
    next(&mut net, &mut rung).await;
    let mut sent = 0;
    // The kernel takes some; then there is no news of room until the peer reads.
    loop {
        net.send(FlowId::Stream(1), vec![b'x'; WINDOW]);
        sent += WINDOW;
        if next(&mut net, &mut rung).await.is_none() {
            break;
        }
        assert!(sent < 64 * 1024 * 1024, "the kernel takes everything");
    }
    assert!(net.deadline().is_some(), "a peer that does not read is watched");
    let mut news = Vec::new();
    net.watch(Instant::now() + Duration::from_secs(31), &mut news);
    assert!(matches!(news.as_slice(), [Input::Closed { why: CloseReason::Error, .. }]), "{news:?}");
    drop(peer.read(&mut [0; 1]));
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told() {
    let (mut net, mut rung) = net(tls::Files::default());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target {
        service: Service::Sip,
        transport: Transport::Tcp,
        address: nobody,
        others: Vec::new(),
        tls: None,
        websocket: None,
    };
    net.open(FlowId::Stream(1 << 63), target);
    let closed = next(&mut net, &mut rung).await.unwrap();
    assert!(closed.contains("Connect"), "{closed}");
}

//= IM M-16 test
#[tokio::test]
async fn the_address_that_answers_is_the_peer() {
    let (mut net, mut rung) = net(tls::Files::default());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = somebody.local_addr().unwrap();
    let target = Target {
        service: Service::Msrp,
        transport: Transport::Tcp,
        address: nobody,
        others: vec![nobody, here],
        tls: None,
        websocket: None,
    };
    net.open(FlowId::Stream(1 << 63), target);
    let opened = next(&mut net, &mut rung).await.unwrap();
    assert!(opened.contains("Opened") && opened.contains(&format!("peer: {here}")), "{opened}");
}

/// Files of a private authority and of a server certificate that it signed.
fn authority(dir: &std::path::Path, name: &str) -> tls::Files {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |file: &str, text: String| -> Option<PathBuf> {
        std::fs::write(dir.join(file), text).unwrap();
        Some(dir.join(file))
    };
    tls::Files {
        ca: write("ca.pem", ca_pem),
        certificate: write("cert.pem", certificate.pem()),
        key: write("key.pem", key.serialize_pem()),
        ..tls::Files::default()
    }
}

//= IM X-40 test
#[tokio::test]
async fn tls_stands_only_with_the_right_name_and_a_known_authority() {
    let dir = tempfile::tempdir().unwrap();
    let files = authority(dir.path(), "sip.example.com");
    let (mut server, mut server_rung) = net(files.clone());
    let here = local(&server.listen(&at(Service::Sip, Transport::Tls)).unwrap());
    let stranger = tls::Files::default();
    for (files, name, verdict) in [
        (files.clone(), "sip.example.com", "Tls { verified: true"),
        (files.clone(), "other.example.com", "why: Tls"),
        (stranger, "sip.example.com", "why: Tls"),
    ] {
        let (mut client, mut client_rung) = net(tls::Files { certificate: None, key: None, ..files });
        let target = Target {
            service: Service::Sip,
            transport: Transport::Tls,
            address: here,
            others: Vec::new(),
            tls: Some(TlsExpect { name: name.into(), must_verify: true, present_certificate: false }),
            websocket: None,
        };
        let flow = FlowId::Stream(1 << 63);
        client.open(flow, target);
        client.send(flow, b"hello over TLS".to_vec());
        let serve = async {
            let mut all = Vec::new();
            while let Some(input) = next(&mut server, &mut server_rung).await {
                all.push(input);
            }
            all
        };
        let (seen, heard) = tokio::join!(next(&mut client, &mut client_rung), async {
            tokio::time::timeout(Duration::from_secs(3), serve).await.unwrap_or_default()
        });
        let seen = seen.unwrap();
        assert!(seen.contains(verdict), "{name}: {seen}");
        if verdict.contains("true") {
            let _ = next(&mut client, &mut client_rung).await;
            let heard =
                next(&mut server, &mut server_rung).await.into_iter().chain(heard).collect::<Vec<_>>();
            assert!(heard.iter().any(|input| input == "hello over TLS"), "{heard:?}");
        }
    }
}

/// A WebSocket server for one client: what it does with it, once the handshake confirms `protocol`.
fn web_server(
    protocol: Option<&'static str>,
    serve: impl FnOnce(tokio_tungstenite::tungstenite::WebSocket<StdStream>) + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<()>) {
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    use tokio_tungstenite::tungstenite::http::HeaderValue;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let confirm = move |request: &Request, mut response: Response| {
        assert_eq!(request.headers().get("Sec-WebSocket-Protocol"), Some(&HeaderValue::from_static("msrp")));
        if let Some(protocol) = protocol {
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        }
        Ok(response)
    };
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(tokio_tungstenite::tungstenite::accept_hdr(stream, confirm).unwrap());
    });
    (here, thread)
}

fn web_socket_to(address: SocketAddr) -> Target {
    let websocket = Some(address.to_string());
    Target {
        service: Service::Msrp,
        transport: Transport::Tcp,
        address,
        others: Vec::new(),
        tls: None,
        websocket,
    }
}

#[tokio::test]
async fn a_web_socket_carries_one_frame_a_message_and_reads_text_and_binary_alike() {
    use tokio_tungstenite::tungstenite::Message;
    let frame = |tid: &str| format!("MSRP {tid} 200 OK\r\nTo-Path: x\r\nFrom-Path: y\r\n-------{tid}$\r\n");
    let (one, two) = (frame("tid1"), frame("tid2"));
    let expected = [one.clone(), two.clone()];
    let (here, server) = web_server(Some("msrp"), move |mut socket| {
        socket.send(Message::text("as text, ")).unwrap();
        socket.send(Message::binary("as octets".as_bytes().to_vec())).unwrap();
        socket.send(Message::Ping("still there?".into())).unwrap();
        let mut heard = Vec::new();
        let mut answered = false;
        while heard.len() < 2 || !answered {
            match socket.read().unwrap() {
                Message::Binary(octets) => heard.push(String::from_utf8(octets.to_vec()).unwrap()),
                Message::Pong(said) => answered = said == "still there?",
                Message::Ping(_) => {}
                other @ (Message::Text(_) | Message::Close(_) | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, expected);
        // More than is taken at once.
        let _ = socket.send(Message::binary(vec![b'x'; 2 * 1024 * 1024]));
        let closed = loop {
            match socket.read() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        drop(closed);
    });
    let (mut net, mut rung) = net(tls::Files::default());
    let flow = FlowId::Stream(1 << 63);
    net.open(flow, web_socket_to(here));
    net.send(flow, [one, two].concat().into_bytes());
    let mut heard = String::new();
    let closed = loop {
        let Some(input) = next(&mut net, &mut rung).await else { continue };
        if input.contains("Closed") {
            break input;
        }
        if !input.contains("Opened") && !input.contains("Writable") {
            heard += &input;
        }
    };
    assert_eq!(heard, "as text, as octets");
    assert!(closed.contains("Error"), "{closed}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_web_server_that_does_not_speak_msrp_is_left() {
    let (here, server) = web_server(None, |mut socket| assert!(socket.read().is_err()));
    let (mut net, mut rung) = net(tls::Files::default());
    net.open(FlowId::Stream(1 << 63), web_socket_to(here));
    let closed = loop {
        if let Some(input) = next(&mut net, &mut rung).await {
            break input;
        }
    };
    assert!(closed.contains("why: Connect"), "{closed}");
    server.join().unwrap();
}
