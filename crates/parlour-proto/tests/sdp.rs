//! Offers of real peers, of RFC examples and of nobody in his right mind, judged and answered.

use parlour_msrp::accept::AcceptTypes;
use parlour_proto::config::{ActpassAnswer, Cema};
use parlour_proto::sdp::{
    Capabilities, Direction, Ends, Local, Names, Refusal, Role, Session, Setup, Standing, Stream, Unfit,
    Wrapping, answer, answer_disabled, capabilities, fuzzing, judge, judge_again, offer, offer_again, parse,
    read_answer, read_answer_again, same_path,
};
use proptest::prelude::*;

fn ours() -> Capabilities {
    Capabilities {
        receivable: AcceptTypes::parse("message/cpim text/plain", Some("image/* application/*")),
        sendable: vec!["text/plain".to_owned()],
        max_size: 1_048_576,
        max_file: 1_000_000_000,
        ipv4: true,
        ipv6: true,
        fingerprints: Vec::new(),
        prefers_tls: false,
        plain: true,
        listens: true,
        listens_tls: true,
        connects: true,
        reachable: true,
        cema: Cema::Off,
        names: Names::default(),
        relay: false,
        bandwidth: None,
        actpass_answer: ActpassAnswer::Auto,
    }
}

fn local(address: &str) -> Local {
    Local::new(false, address.parse().unwrap(), 2855, "9Yb3kQ0fT2mXw7Vd", 3820233127, 1).unwrap()
}

/// An offer of the given media lines.
fn with(lines: &str) -> Session {
    let text = format!("v=0\no=alice 7 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{lines}");
    parse(text.as_bytes()).unwrap()
}

const PATH: &str = "a=path:msrp://192.0.2.1:7394/2s93i9ek2a;tcp\n";
const TYPES: &str = "a=accept-types:message/cpim text/plain text/html\n";

//= IM R-62 test
#[test]
fn bandwidth_is_told_where_it_is_configured_and_addresses_are_real() {
    let ours = Capabilities { bandwidth: Some(64), ..ours() };
    for address in ["192.0.2.7", "2001:db8::7"] {
        let offer = with(&chat("a=setup:actpass\n"));
        let judged = judge(&offer, &ours).unwrap();
        let answered = String::from_utf8(answer(&offer, &judged, &local(address), &ours)).unwrap();
        let offered = String::from_utf8(offer_of(&local(address), &ours)).unwrap();
        for text in [answered, offered] {
            let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("m=message")).collect();
            assert_eq!(lines.get(1), Some(&"b=AS:64"), "{text}");
            assert!(
                text.contains(&format!("c=IN IP{} {address}", if address.contains(':') { 6 } else { 4 }))
            );
            assert!(!text.contains("0.0.0.0"));
        }
    }
}

fn offer_of(local: &Local, ours: &Capabilities) -> Vec<u8> {
    parlour_proto::sdp::offer(local, ours).octets
}

/// An acceptable line for a file.
fn file(port: u16, more: &str) -> String {
    format!(
        "m=message {port} TCP/MSRP *\na=accept-types:*\na=path:msrp://192.0.2.1:7395/f{port};tcp\na=setup:actpass\n\
         a=file-selector:name:\"a %22b%22.png\" type:image/png size:7 hash:sha-1:{HASH}\n\
         a=file-transfer-id:id{port}\n{more}"
    )
}

const HASH: &str = "72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E";

/// An acceptable message line with more attributes.
fn chat(more: &str) -> String {
    format!("m=message 7394 TCP/MSRP *\n{TYPES}{PATH}{more}")
}

fn stream(lines: &str) -> Stream {
    judge(&with(lines), &ours()).unwrap().chat.unwrap()
}

fn refusal(lines: &str) -> Refusal {
    judge(&with(lines), &ours()).unwrap_err()
}

fn answered(offer: &Session, ours: &Capabilities) -> String {
    let judged = judge(offer, ours).unwrap();
    String::from_utf8(answer(offer, &judged, &local("192.0.2.7"), ours)).unwrap()
}

//= IM S-7 test
//= IM D-6 test
//= IM D-7 test
//= IM D-31 test
//= IM D-32 test
#[test]
fn the_example_of_rfc_4975() {
    let text = "v=0\r\no=usera 2890844526 2890844527 IN IP4 alice.example.com\r\ns= -\r\nc=IN IP4 alice.example.com\r\n\
        t=2873397496 2873404696\r\nm=message 7394 TCP/MSRP *\r\na=accept-types:message/cpim text/plain text/html\r\n\
        a=path:msrp://alice.example.com:7394/2s93i93idj;tcp\r\n";
    let offer = parse(text.as_bytes()).unwrap();
    let expected = "v=0\r\no=- 3820233127 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=2873397496 2873404696\r\n\
        m=message 2855 TCP/MSRP *\r\na=path:msrp://192.0.2.7:2855/9Yb3kQ0fT2mXw7Vd;tcp\r\na=setup:passive\r\n\
        a=accept-types:message/cpim text/plain\r\na=max-size:1048576\r\n";
    assert_eq!(answered(&offer, &ours()), expected);
}

//= IM S-1 test
//= IM D-32 test
#[test]
fn the_offer_of_a_real_im_server() {
    let line = "m=message 2855 TCP/MSRP *\r\na=path:msrp://95.130.218.67:2855/01t1pks4m2;tcp\r\na=setup:actpass\r\n\
        a=msrp-acm\r\na=accept-types:* message/CPIM\r\n";
    let text = format!(
        "v=0\r\no=ConferenceFactory 1 1 IN IP4 95.130.218.67\r\ns=-\r\nc=IN IP4 95.130.218.67\r\nt=0 0\r\n{line}"
    );
    let offer = parse(text.as_bytes()).unwrap();
    let answer = answered(&offer, &ours());
    assert!(answer.contains("a=accept-types:message/cpim text/plain\r\n"), "{answer}");
    assert!(answer.contains("a=accept-wrapped-types:image/* application/*\r\n"), "{answer}");
    assert!(answer.contains("a=setup:passive\r\n"), "{answer}");
    // Its published text lacks the line end after the m= line.
    let broken = text.replace("*\r\na=path", "*a=path");
    let refusal = judge(&parse(broken.as_bytes()).unwrap(), &ours()).unwrap_err();
    assert_eq!((refusal.warning, refusal.clause), (306, "D-2"));
}

//= IM S-1 test
//= IM D-1 test
//= IM D-2 test
//= IM D-1 test
//= IM D-2 test
//= IM M-21 test
#[test]
fn what_lies_behind_the_first_hop_may_speak_another_transport() {
    let relayed = |path: &str| format!("m=message 7394 TCP/MSRP *\n{TYPES}a=path:{path}\na=setup:actpass\n");
    let path = "msrp://relay.example.com:2855/x;tcp msrps://df7jal23ls0d.invalid:2855/98cjs;ws";
    assert_eq!(stream(&relayed(path)).path.to_string(), path);
    let backwards = "msrp://df7jal23ls0d.invalid:2855/98cjs;ws msrp://relay.example.com:2855/x;tcp";
    assert_eq!(refusal(&relayed(backwards)).clause, "D-2");
}

//= IM M-21 test
//= IM D-13 test
#[test]
fn an_end_behind_a_relay_tells_the_whole_path_and_offers_either_role() {
    let path = "msrp://relay.example.com:2855/lent;tcp msrp://192.0.2.9:2855/own;tcp";
    let behind = Local::behind("192.0.2.7".parse().unwrap(), path.parse().unwrap(), 7, 1);
    let deaf = Capabilities { listens: false, reachable: false, ..ours() };
    let text = String::from_utf8(offer_of(&behind, &deaf)).unwrap();
    for line in
        ["c=IN IP4 192.0.2.9", "m=message 2855 TCP/MSRP *", &format!("a=path:{path}"), "a=setup:actpass"]
    {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    assert!(behind.is_relayed() && behind.path(Role::Active).as_str().ends_with("/own;tcp"));
}

//= IM D-3 test
#[test]
fn what_is_not_acceptable_and_the_warning() {
    let line = |protocol: &str, more: &str| format!("m=message 7394 {protocol} *\n{more}");
    let all = format!("{TYPES}{PATH}");
    let cases = [
        ("", 304, "D-1"),
        ("m=audio 49170 RTP/AVP 0\n", 304, "D-1"),
        ("m=text 7394 TCP/MSRP *\n", 304, "D-1"),
        (&line("TCP/FOO", &all), 302, "D-1"),
        (&line("msrp/tcp", &all), 302, "D-1"),
        (&line("TCP/TLS/MSRP", &format!("{TYPES}a=path:msrps://192.0.2.1:1/a;tcp\n")), 302, "D-1"),
        (&line("UDP/DTLS/SCTP", &all), 302, "D-1"),
        (&format!("m=message 0 TCP/MSRP *\n{all}"), 399, "D-4"),
        (&chat("c=ATM NSAP 47\n"), 300, "S-1"),
        (&chat("c=IN IP5 192.0.2.1\n"), 301, "S-1"),
        (&chat("c=IN IP4 224.2.1.1/127/3\n"), 330, "S-1"),
        (&chat("c=IN IP6 ff15::101/3\n"), 330, "S-1"),
        (&line("TCP/MSRP", TYPES), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:http://x:1/a;tcp\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:msrp://192.0.2.1/a;tcp\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:msrp://x/a;tcp\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:msrp://x:1;tcp\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:msrp://x:1/a;ws\n")), 306, "D-2"),
        (&line("TCP/MSRP", &format!("{TYPES}a=path:msrps://x:1/a;tcp\n")), 306, "D-2"),
        (&chat("a=path:msrp://192.0.2.2:7394/other;tcp\n"), 306, "D-2"),
        (&line("TCP/MSRP", PATH), 306, "D-3"),
        (&line("TCP/MSRP", &format!("{PATH}a=accept-types:foo/bar\n")), 305, "S-1"),
        (&line("TCP/MSRP", &format!("{PATH}a=accept-types:\n")), 305, "S-1"),
        (&line("TCP/MSRP", &format!("{PATH}a=accept-types:message/cpim\n")), 305, "S-1"),
        (
            &line(
                "TCP/MSRP",
                &format!("{PATH}a=accept-types:image/png\na=accept-wrapped-types:text/plain\n"),
            ),
            305,
            "S-1",
        ),
        (&chat("a=setup:sideways\n"), 306, "D-10"),
        (&chat("a=sendonly\na=file-selector:name:\"a.png\" size:7\n"), 399, "D-40"),
    ];
    for (lines, warning, clause) in cases {
        let refusal = refusal(lines);
        assert_eq!((refusal.warning, refusal.clause), (warning, clause), "{refusal} for\n{lines}");
    }
}

//= IM S-1 test
#[test]
fn the_line_that_came_closest_gives_the_warning() {
    let far = format!("m=message 1 TCP/MSRP *\n{PATH}a=accept-types:foo/bar\n");
    let near = "m=message 1 TCP/FOO *\n";
    assert_eq!(refusal(&format!("m=audio 1 RTP/AVP 0\n{near}{far}")).warning, 305);
    assert_eq!(refusal(&format!("{far}{near}m=audio 1 RTP/AVP 0\n")).warning, 305);
    let two = refusal("m=message 1 TCP/FOO *\nm=message 1 TCP/BAR *\n");
    assert_eq!(two.text, "Transport protocol not available: TCP/FOO");
}

//= IM S-1 test
#[test]
fn what_is_acceptable() {
    let types = |value: &str| format!("m=message 7394 TCP/MSRP *\n{PATH}a=accept-types:{value}\n");
    for lines in [
        chat(""),
        chat("a=accept-types:text/plain\n"),
        chat(
            "a=path:msrp://192.0.2.1:7394/2s93i9ek2a;tcp\na=setup:active\na=setup:active\na=connection:new\n",
        ),
        chat("c=IN IP6 2001:db8::1\n"),
        chat("c=IN IP4 0.0.0.0\n"),
        chat("a=inactive\na=group:BUNDLE 1\na=candidate:1\n"),
        chat("").replace("TCP/MSRP *", "tcp/msrp foo").replace("m=message", "m=Message"),
        chat("").replace(";tcp", ""),
        chat("").replace(";tcp", ";TCP"),
        chat("").replace("message 7394", "message 9"),
        chat("").replace("msrp://192", "msrp://relay.example.com:2855/x;tcp msrp://192"),
        types("*"),
        types("text/*"),
        types("TEXT/Plain;charset=utf-8"),
        types("message/CPIM\na=accept-wrapped-types:text/plain"),
        types("message/cpim\na=accept-wrapped-types:*"),
        types("foo/bar\na=accept-types:text/plain"),
        // Who only sends need not take anything of ours.
        types("message/cpim") + "a=sendonly\n",
    ] {
        assert_eq!(stream(&lines).line, 0, "{lines}");
    }
    let multi = chat("").replace("msrp://192", "msrp://relay.example.com:2855/x;tcp msrp://192");
    assert_eq!(stream(&multi).path.leftmost().host(), "relay.example.com");
    assert_eq!(stream(&chat("a=max-size:70000 \n")).max_size, Some(70_000));
    assert_eq!(stream(&chat("a=max-size:lots\n")).max_size, None);
    assert_eq!(stream(&chat("i=news\n")).label.as_deref(), Some("news"));
    assert_eq!(stream(&chat("i=news\na=label:l\n")).label.as_deref(), Some("l"));
}

//= IM S-1 test
#[test]
fn what_we_lack_decides_too() {
    let judge_with =
        |lines: &str, ours: Capabilities| judge(&with(lines), &ours).map(|judged| judged.chat.unwrap().role);
    let warning = |result: Result<Role, Refusal>| result.unwrap_err().warning;
    assert_eq!(warning(judge_with(&chat(""), Capabilities { ipv4: false, ..ours() })), 301);
    let six = chat("c=IN IP6 2001:db8::1\n");
    assert_eq!(warning(judge_with(&six, Capabilities { ipv6: false, ..ours() })), 301);
    let path = six.replace("192.0.2.1:", "[2001:db8::1]:");
    assert_eq!(judge_with(&path, Capabilities { ipv4: false, ..ours() }), Ok(Role::Passive));
    assert_eq!(warning(judge_with(&chat(""), Capabilities { listens: false, ..ours() })), 306);
    let passive = chat("a=setup:passive\n");
    assert_eq!(warning(judge_with(&passive, Capabilities { connects: false, ..ours() })), 306);
    assert_eq!(judge_with(&passive, ours()), Ok(Role::Active));
    let nothing_to_say = Capabilities { sendable: Vec::new(), ..ours() };
    assert_eq!(warning(judge_with(&chat(""), nothing_to_say.clone())), 305);
    assert_eq!(judge_with(&chat("a=sendonly\n"), nothing_to_say), Ok(Role::Passive));
}

//= IM S-1c test
//= IM D-30 test
//= IM D-35 test
#[test]
fn every_line_is_answered_in_its_place() {
    let file = "m=message 7395 TCP/MSRP *\na=accept-types:*\na=path:msrp://192.0.2.1:7395/f;tcp\n\
        a=file-selector:name:\"a b.png\" size:7\na=file-transfer-id:vBnG916bdberum2fFEABR1FR3ExZMUrd\na=mid:f\n";
    let lines = format!(
        "m=audio 49170/2 RTP/AVP 0 96\na=rtpmap:0 PCMU/8000\n{file}{}{}",
        chat("a=mid:c\n"),
        chat("a=mid:d\n")
    );
    let offer = with(&lines);
    let judged = judge(&offer, &ours()).unwrap();
    assert_eq!(
        judged.lines,
        [Some(Unfit::NotMessage), Some(Unfit::FileDirection), None, Some(Unfit::Surplus)]
    );
    let text = answered(&offer, &ours());
    let media = text.split_once("m=").unwrap().1;
    assert_eq!(
        media,
        "audio 0 RTP/AVP 0 96\r\nm=message 0 TCP/MSRP *\r\na=file-selector:name:\"a b.png\" size:7\r\n\
         a=file-transfer-id:vBnG916bdberum2fFEABR1FR3ExZMUrd\r\nm=message 2855 TCP/MSRP *\r\n\
         a=path:msrp://192.0.2.7:2855/9Yb3kQ0fT2mXw7Vd;tcp\r\na=setup:passive\r\n\
         a=accept-types:message/cpim text/plain\r\na=max-size:1048576\r\na=mid:c\r\nm=message 0 TCP/MSRP *\r\n"
    );
}

//= IM D-4 test
//= IM D-12 test
#[test]
fn the_active_side_writes_the_discard_port_twice() {
    let offer = with(&chat("a=setup:passive\n"));
    let text = answered(&offer, &ours());
    assert!(
        text.contains(
            "m=message 9 TCP/MSRP *\r\na=path:msrp://192.0.2.7:9/9Yb3kQ0fT2mXw7Vd;tcp\r\na=setup:active\r\n"
        ),
        "{text}"
    );
    assert_eq!(local("192.0.2.7").path(Role::Active).as_str(), "msrp://192.0.2.7:9/9Yb3kQ0fT2mXw7Vd;tcp");
}

//= IM D-5 test
//= IM D-6 test
#[test]
fn ipv6_addresses() {
    let offer = with(&chat(""));
    let judged = judge(&offer, &ours()).unwrap();
    let text = |address| String::from_utf8(answer(&offer, &judged, &local(address), &ours())).unwrap();
    let six = text("2001:db8::7");
    assert!(
        six.contains("o=- 3820233127 1 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\n"),
        "{six}"
    );
    assert!(six.contains("a=path:msrp://[2001:db8::7]:2855/9Yb3kQ0fT2mXw7Vd;tcp\r\n"), "{six}");
    assert_eq!(text("::ffff:192.0.2.7"), text("192.0.2.7"));
    assert!(Local::new(false, "::1".parse().unwrap(), 0, "x", 1, 1).is_err());
    assert!(Local::new(false, "::1".parse().unwrap(), 1, "a/b\r\n", 1, 1).is_err());
}

//= IM D-34 test
#[test]
fn directions_are_turned_round() {
    for (offered, answered, line) in [
        ("a=sendonly\n", Direction::RecvOnly, "a=recvonly\r\n"),
        ("a=recvonly\n", Direction::SendOnly, "a=sendonly\r\n"),
        ("a=inactive\n", Direction::Inactive, "a=inactive\r\n"),
        ("a=sendrecv\n", Direction::SendRecv, "1048576\r\n"),
        ("", Direction::SendRecv, "1048576\r\n"),
    ] {
        assert_eq!(stream(&chat(offered)).direction, answered);
        let text = self::answered(&with(&chat(offered)), &ours());
        assert!(text.ends_with(line), "{text}");
    }
}

//= IM D-32 test
//= IM D-33 test
#[test]
fn types_follow_the_order_of_the_offer() {
    let listed = |types: &str, wrapped: &str| {
        let lines = format!(
            "m=message 1 TCP/MSRP *\n{PATH}a=accept-types:{types}\na=accept-wrapped-types:{wrapped}\n"
        );
        let stream = stream(&lines);
        let wrapped = stream.listed.wrapped_types_attribute().unwrap_or_default();
        (stream.listed.types_attribute().to_owned(), wrapped.to_owned())
    };
    let both = |types: &str, wrapped: &str| (types.to_owned(), wrapped.to_owned());
    assert_eq!(listed("text/plain message/cpim", ""), both("text/plain message/cpim", ""));
    assert_eq!(
        listed("message/cpim", "text/html text/plain image/png"),
        both("message/cpim", "text/plain image/png")
    );
    assert_eq!(listed("TEXT/PLAIN foo/bar", "image/png").0.to_ascii_lowercase(), "text/plain");
    // Who only receives lists nothing of ours, but an answer lists something.
    let receiver = format!("m=message 1 TCP/MSRP *\n{PATH}a=accept-types:foo/bar\na=recvonly\n");
    let sendable = vec!["foo/bar".to_owned()];
    assert!(
        answered(&with(&receiver), &Capabilities { sendable, ..ours() })
            .contains("types:message/cpim text/plain\r\n")
    );
    let stream = stream(&chat("a=accept-wrapped-types:image/png\n"));
    assert!(
        stream.accepted.accepts_inside("message/cpim", "image/png")
            && !stream.accepted.accepts_root("image/png")
    );
}

//= IM M-32 test
//= IM D-33 test
#[test]
fn bodies_are_wrapped_where_the_peer_likes_it() {
    let how = |types: &str| {
        let lines = format!("m=message 1 TCP/MSRP *\n{PATH}a=accept-types:{types}\n");
        stream(&lines).wrapping("text/plain;charset=utf-8")
    };
    assert_eq!(how("message/cpim text/plain"), Some(Wrapping::Cpim));
    assert_eq!(how("text/plain message/cpim"), Some(Wrapping::Bare));
    assert_eq!(how("text/plain"), Some(Wrapping::Bare));
    assert_eq!(how("message/cpim\na=accept-wrapped-types:text/plain"), Some(Wrapping::Cpim));
    assert_eq!(how("* message/CPIM"), Some(Wrapping::Cpim));
    assert_eq!(how("*"), Some(Wrapping::Bare));
    assert_eq!(stream(&chat("")).wrapping("image/png"), None);
}

//= IM S-1a test
//= IM D-13 test
#[test]
fn our_own_offers() {
    let local = local("192.0.2.7");
    let own = offer(&local, &ours());
    assert_eq!((own.setup, own.path.port()), (Setup::Actpass, Some(2855)));
    let expected = "v=0\r\no=- 3820233127 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
        m=message 2855 TCP/MSRP *\r\na=path:msrp://192.0.2.7:2855/9Yb3kQ0fT2mXw7Vd;tcp\r\na=setup:actpass\r\n\
        a=accept-types:message/cpim text/plain\r\na=accept-wrapped-types:image/* application/*\r\na=max-size:1048576\r\n\
        a=chatroom:nickname private-messages\r\n";
    assert_eq!(String::from_utf8(own.octets).unwrap(), expected);
    for hidden in [Capabilities { reachable: false, ..ours() }, Capabilities { listens: false, ..ours() }] {
        let own = offer(&local, &hidden);
        assert_eq!((own.setup, own.path.port()), (Setup::Active, Some(9)));
        assert!(String::from_utf8(own.octets).unwrap().contains("m=message 9 TCP/MSRP *\r\n"));
    }
}

//= IM S-1a test
#[test]
fn answers_to_our_offers() {
    let own = offer(&local("192.0.2.7"), &ours());
    let read = |lines: &str| read_answer(&own, &with(lines), &ours());
    let role = |setup: &str| read(&chat(setup)).map(|stream| stream.role);
    assert_eq!(role("a=setup:active\n"), Ok(Role::Passive));
    assert_eq!(role("a=setup:passive\n"), Ok(Role::Active));
    assert_eq!(role("a=setup:actpass\n"), Ok(Role::Active));
    assert_eq!(role("a=setup:holdconn\n"), Ok(Role::Active));
    assert_eq!(role(""), Ok(Role::Active));
    let stream = read(&chat("a=recvonly\n")).unwrap();
    assert_eq!((stream.direction, stream.listed), (Direction::SendOnly, ours().receivable));
    let told = |lines: &str| read(lines).map_err(|refusal| (refusal.warning, refusal.clause)).unwrap_err();
    assert_eq!(told(""), (399, "D-30"));
    assert_eq!(told(&(chat("") + &chat(""))), (399, "D-30"));
    assert_eq!(told("m=message 0 TCP/MSRP *\n"), (399, "D-4"));
    assert_eq!(told("m=audio 1 RTP/AVP 0\n"), (304, "D-1"));
    assert_eq!(told(&format!("m=message 1 TCP/MSRP *\n{TYPES}")), (306, "D-2"));
    assert_eq!(told(&format!("m=message 1 TCP/MSRP *\n{PATH}a=accept-types:foo/bar\n")), (305, "S-1"));
    let hidden = offer(&local("192.0.2.7"), &Capabilities { reachable: false, ..ours() });
    assert!(read_answer(&hidden, &with(&chat("a=setup:active\n")), &ours()).is_err());
    assert!(read_answer(&hidden, &with(&chat("a=setup:passive\n")), &ours()).is_ok());
}

//= IM S-7 test
#[test]
fn two_of_us_agree() {
    for reachable in [true, false] {
        let caller = offer(&local("192.0.2.7"), &Capabilities { reachable, ..ours() });
        let invitation = parse(&caller.octets).unwrap();
        let judged = judge(&invitation, &ours()).unwrap();
        let reply = parse(&answer(&invitation, &judged, &local("192.0.2.8"), &ours())).unwrap();
        let agreed = read_answer(&caller, &reply, &ours()).unwrap();
        let chat = judged.chat.unwrap();
        assert_ne!(agreed.role, chat.role);
        assert_eq!(*agreed.path.rightmost(), *local("192.0.2.8").path(chat.role));
        assert_eq!(&caller.path, chat.path.rightmost());
        assert_eq!(agreed.max_size, Some(1_048_576));
    }
}

#[test]
fn what_we_tell_without_a_session() {
    let text = String::from_utf8(capabilities("192.0.2.7".parse().unwrap(), 5, &ours())).unwrap();
    let expected = "v=0\r\no=- 5 0 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=message 0 TCP/MSRP *\r\n\
        a=accept-types:message/cpim text/plain\r\na=accept-wrapped-types:image/* application/*\r\na=max-size:1048576\r\n\
        a=chatroom:nickname private-messages\r\n";
    assert_eq!(text, expected);
}

#[test]
fn an_unchanged_origin_means_that_nothing_changed() {
    let with = |origin: &str| parse(format!("v=0\no={origin}\n").as_bytes()).unwrap().origin;
    assert_eq!(with("- 1 1 IN IP4 a"), with("-  1 1 IN IP4 a "));
    for other in ["- 1 2 IN IP4 a", "- 2 1 IN IP4 a", "x 1 1 IN IP4 a", "- 1 1 IN IP4 b"] {
        assert_ne!(with("- 1 1 IN IP4 a"), with(other));
    }
}

#[test]
fn a_warning_can_stand_between_quotation_marks() {
    let refusal = refusal("m=message 1 TCP/\"\\\u{202e}\u{1}FOO *\n");
    assert_eq!(refusal.text, "Transport protocol not available: TCP/'''u{202e}\u{fffd}FOO");
}

//= IM D-55 test
#[test]
fn what_a_later_offer_makes_of_the_lines() {
    let standing = stream(&chat("a=setup:active\n"));
    let on = Standing { chat: Some(&standing), files: &[] };
    let again = |lines: &str, before| judge_again(&with(lines), before, on, &ours());
    let verdicts = |lines: &str, before| {
        let judged = again(lines, before).unwrap().unwrap();
        (judged.chat.unwrap().line, judged.lines.iter().map(Option::is_none).collect::<Vec<_>>())
    };
    let (chat, audio) = (chat(""), "m=audio 7000 RTP/AVP 0\n");
    let off = "m=message 0 TCP/MSRP *\n";
    assert_eq!(verdicts(&chat, 1), (0, vec![true]));
    assert_eq!(verdicts(&format!("{chat}{audio}{chat}"), 1), (0, vec![true, false, false]));
    // The chat may go on in another line.
    assert_eq!(verdicts(&format!("{off}{chat}"), 1), (1, vec![false, true]));
    assert_eq!(again(off, 1), Ok(None));
    assert_eq!(again("m=audio 0 RTP/AVP 0\n", 1), Ok(None));
    let disabled = String::from_utf8(answer_disabled(&with(off), &local("192.0.2.7").revised())).unwrap();
    assert!(disabled.contains(" 2 IN IP4") && disabled.ends_with("m=message 0 TCP/MSRP *\r\n"), "{disabled}");
    // What takes lines away, or makes the chat something else, is refused as a whole.
    assert_eq!(again(&chat, 2).unwrap_err().text, "The offer has 1 m= lines, and there were 2");
    assert_eq!(again(&format!("{audio}{chat}"), 1).unwrap_err().warning, 304);
    // Without a stream any line may become one.
    let nothing = Standing::default();
    let fresh = judge_again(&with(&format!("{off}{chat}")), 1, nothing, &ours()).unwrap().unwrap();
    assert_eq!(fresh.chat.unwrap().line, 1);
    assert_eq!(judge_again(&with(audio), 1, nothing, &ours()), Ok(None));
}

//= IM D-51 test
#[test]
fn a_standing_connection_keeps_its_direction_and_another_path_may_turn_it() {
    let ours = Capabilities { actpass_answer: ActpassAnswer::Passive, ..ours() };
    let standing = Stream { role: Role::Active, ..stream(&chat("a=setup:passive\n")) };
    let role = |lines: &str| {
        let on = Standing { chat: Some(&standing), files: &[] };
        judge_again(&with(lines), 1, on, &ours).unwrap().map(|judged| judged.chat.unwrap().role)
    };
    assert_eq!(role(&chat("a=setup:actpass\n")), Some(Role::Active));
    assert_eq!(role(&chat("a=setup:active\n")), Some(Role::Passive));
    assert_eq!(role(&chat("a=setup:actpass\n").replace("2s93", "9999")), Some(Role::Passive));
    let path = |text: &str| stream(&chat("").replace("192.0.2.1:7394/2s93i9ek2a;tcp", text)).path;
    let first = path("Example.com:7394/2s93i9ek2a;tcp");
    assert!(same_path(&first, &path("example.COM:7394/2s93i9ek2a;TCP")));
    assert!(!same_path(&first, &path("example.com:7394/2s93i9ek2A;tcp")), "session-ids are case-sensitive");
    assert!(!same_path(&first, &path("example.com:7395/2s93i9ek2a;tcp")));
}

//= IM D-54 test
#[test]
fn the_address_of_nobody_is_hold() {
    let direction = |lines: &str| stream(lines).direction;
    let nobody = "c=IN IP4 0.0.0.0\n";
    assert_eq!(direction(&chat(nobody)), Direction::RecvOnly);
    assert_eq!(direction(&chat(&format!("{nobody}a=recvonly\n"))), Direction::Inactive);
    assert_eq!(direction(&chat(&format!("{nobody}a=sendonly\n"))), Direction::RecvOnly);
    assert_eq!(direction(&chat("c=IN IP4 192.0.2.1\n")), Direction::SendRecv);
}

//= IM S-1a test
#[test]
fn our_later_offer_keeps_lines_and_path() {
    let offer = with(&format!("m=audio 7000 RTP/AVP 0\n{}", chat("a=setup:active\na=recvonly\n")));
    let judged = judge(&offer, &ours()).unwrap();
    let path = local("192.0.2.7").path(Role::Passive).into_owned();
    let settled = local("192.0.2.7").settled(path.clone());
    let before = parse(&answer(&offer, &judged, &settled, &ours())).unwrap();
    let own = offer_again(&before, Some(1), &[], &settled.clone().revised(), &ours());
    let text = String::from_utf8(own.octets.clone()).unwrap();
    assert!(text.contains(" 2 IN IP4 192.0.2.7") && text.contains("m=audio 0 RTP/AVP 0"), "{text}");
    assert!(text.contains(&format!("a=path:{path}")) && text.contains("a=setup:actpass"), "{text}");
    assert!(!text.contains("a=sendonly"), "an offer says what we want, not what was left to us");
    let read = |lines: &str| read_answer_again(&own, 1, 2, &with(lines), &ours());
    let audio = "m=audio 0 RTP/AVP 0\n";
    let answered = read(&format!("{audio}{}", chat("a=setup:active\n"))).unwrap().unwrap();
    assert_eq!((answered.line, answered.role), (1, Role::Passive));
    assert_eq!(read(&format!("{audio}m=message 0 TCP/MSRP *\n")), Ok(None));
    assert!(read(&chat("")).is_err() && read(&format!("{audio}{audio}")).is_ok_and(|none| none.is_none()));
    // Where nobody can connect to us, we connect.
    let active = local("192.0.2.7").settled(local("192.0.2.7").path(Role::Active).into_owned());
    let text = String::from_utf8(offer_again(&before, Some(1), &[], &active, &ours()).octets).unwrap();
    assert!(text.contains("m=message 9 ") && text.contains("a=setup:active"), "{text}");
}

fn any_offer() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("m=message 7394 TCP/MSRP *".to_owned()),
        Just("m=message 0 TCP/MSRP *".to_owned()),
        Just("m=message 1 TCP/TLS/MSRP *".to_owned()),
        Just("m=audio 1 RTP/AVP 0 8".to_owned()),
        Just(PATH.trim_end().to_owned()),
        Just(TYPES.trim_end().to_owned()),
        Just("a=accept-types:*".to_owned()),
        Just("a=accept-wrapped-types:text/* image/png".to_owned()),
        "a=setup:(active|passive|actpass|holdconn|x)",
        "a=(sendonly|recvonly|inactive|mid:[a-z\"\u{1}-\u{ff}]{0,4}|file-selector(:x|:name:\"a%20b\" size:7|:type:a/b hash:sha-1:00)?|file-transfer-id:y|file-range:[0-9]-[0-9*]|max-size:[0-9]{0,30})",
        "c=IN IP[46] [0-9a-f:./]{1,15}",
        "t=[ -~]{0,12}",
        "[a-z]=[ -~\u{0}-\u{ff}]{0,20}",
    ];
    proptest::collection::vec(line, 0..16).prop_map(|lines| {
        ["v=0", "o=- 1 1 IN IP4 a"]
            .map(str::to_owned)
            .into_iter()
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\r\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn our_answers_can_be_read_and_have_as_many_lines(offer in any_offer()) {
        fuzzing::sdp(offer.as_bytes());
    }
}

//= IM D-41 test
//= IM D-42 test
#[test]
fn files_are_accepted_and_refused_line_by_line() {
    let push = "a=sendonly\na=file-icon:cid:x@y\na=file-disposition:render\na=file-date:creation:\"now\"\n";
    let offer = with(&format!(
        "{}{}{}{}",
        file(1, push),
        file(2, "a=sendonly\n"),
        file(3, "a=sendonly\na=file-range:3-*\n"),
        chat("")
    ));
    let mut judged = judge(&offer, &ours()).unwrap();
    assert_eq!(judged.lines, [None, None, None, None]);
    assert!(judged.chat.as_ref().is_some_and(|chat| chat.line == 3));
    assert!(judged.files.iter().all(|file| file.direction == Direction::RecvOnly));
    judged.refuse(1, Unfit::FileRefused("the user declined"));
    let locals = [local("192.0.2.7"), local("192.0.2.7")];
    let ends = Ends { session: &local("192.0.2.7"), files: &[&locals[0], &locals[1]] };
    let text = String::from_utf8(answer(&offer, &judged, ends, &ours())).unwrap();
    let lines: Vec<&str> = text.split("m=").skip(1).collect();
    let selector = "a=file-selector:name:\"a %22b%22.png\" type:image/png size:7";
    // The receiver adds nothing of its own, and leaves the hash to whoever has the file.
    assert_eq!(
        lines[0],
        format!(
            "message 2855 TCP/MSRP *\r\na=path:msrp://192.0.2.7:2855/9Yb3kQ0fT2mXw7Vd;tcp\r\na=setup:passive\r\n\
             a=accept-types:image/png message/cpim\r\na=max-size:1000000000\r\na=recvonly\r\n{selector}\r\n\
             a=file-transfer-id:id1\r\n"
        )
    );
    // Who refuses one says which, hash and all.
    let whole = format!("message 0 TCP/MSRP *\r\n{selector} hash:sha-1:{HASH}\r\na=file-transfer-id:id2\r\n");
    assert_eq!(lines[1], whole);
    assert!(lines[2].contains("a=file-range:3-*\r\n") && lines[2].contains("id3"), "{text}");
    assert!(
        lines[3].starts_with("message 2855 ") && lines[3].contains("accept-types:message/cpim"),
        "{text}"
    );
}

//= IM D-40 test
#[test]
fn a_pull_is_answered_with_the_hash_by_whoever_has_the_file() {
    let offer = with(&file(1, "a=recvonly\n"));
    let judged = judge(&offer, &ours()).unwrap();
    assert_eq!(judged.files[0].direction, Direction::SendOnly);
    let end = local("192.0.2.7");
    let text =
        String::from_utf8(answer(&offer, &judged, Ends { session: &end, files: &[&end] }, &ours())).unwrap();
    assert!(text.contains("a=sendonly\r\n") && text.contains(&format!("hash:sha-1:{HASH}\r\n")), "{text}");
}

//= IM X-30 test
#[test]
fn x_30_what_no_session_carries_of_files() {
    let refused = |lines: &str, ours: Capabilities| judge(&with(lines), &ours).unwrap_err().text;
    let small = Capabilities { max_file: 6, ..ours() };
    assert_eq!(
        refused(&file(1, "a=sendonly\n"), small.clone()),
        "The file has 7 octets, and at most 6 are taken"
    );
    assert!(judge(&with(&file(1, "a=recvonly\n")), &small).is_ok(), "the bound is on what we receive");
    assert_eq!(
        refused(&file(1, "a=sendonly\n"), Capabilities { max_file: 0, ..ours() }),
        "File transfer not available"
    );
    assert!(refused(&file(1, ""), ours()).contains("one way"));
    let many: String = (1..=9).map(|port| file(port, "a=sendonly\n")).collect();
    let judged = judge(&with(&many), &ours()).unwrap();
    assert_eq!((judged.files.len(), judged.lines[8].clone()), (8, Some(Unfit::Files(8))));
}

//= IM D-42 test
//= IM D-55 test
#[test]
fn what_a_later_offer_makes_of_files() {
    let first = with(&format!("{}{}", chat(""), file(1, "a=sendonly\n")));
    let judged = judge(&first, &ours()).unwrap();
    let files: Vec<&Stream> = judged.files.iter().collect();
    let on = Standing { chat: judged.chat.as_ref(), files: &files };
    let again = |lines: &str| judge_again(&with(lines), 2, on, &ours()).unwrap();
    let chat = chat("");
    // It goes on, and one more is offered.
    let more = again(&format!("{chat}{}{}", file(1, "a=sendonly\n"), file(2, "a=sendonly\n"))).unwrap();
    let ids: Vec<_> =
        more.files.iter().map(|it| (it.line, it.file.as_ref().unwrap().transfer_id.as_str())).collect();
    assert_eq!(ids, [(1, "id1"), (2, "id2")]);
    // It is over, and the chat goes on.
    let over = again(&format!("{chat}m=message 0 TCP/MSRP *\n")).unwrap();
    assert!(over.chat.is_some() && over.files.is_empty());
    // The chat is over, and the file goes on.
    let file_only = again(&format!("m=message 0 TCP/MSRP *\n{}", file(1, "a=sendonly\n"))).unwrap();
    assert!(file_only.chat.is_none() && file_only.files.len() == 1);
    assert_eq!(again("m=message 0 TCP/MSRP *\nm=message 0 TCP/MSRP *\n"), None);
    let moved = again(&format!("{chat}{}", file(1, "a=sendonly\n").replace("/f1;", "/f9;"))).unwrap();
    assert!(matches!(moved.lines[1], Some(Unfit::FileRefused(_))), "{:?}", moved.lines);
}
