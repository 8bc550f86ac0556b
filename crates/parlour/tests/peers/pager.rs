//! Pager mode with programs that speak it: SIPp, baresip, linphonec; and a receiver that is killed before it could tell.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::{Setup, history};
use crate::harness::{Folder, Program, await_until, free_port, is_bound};

const PAGING: &str = include_str!("sipp/paging.xml");
const PAGED: &str = include_str!("sipp/paged.xml");

const WAIT: Duration = Duration::from_secs(15);

/// An agent whose configuration has these keys of its account.
fn setup(folder: &Folder, name: &str, host: &str, keys: &str) -> Setup {
    let text = format!("[[accounts]]\naddress = \"sip:{name}@{host}\"\n{keys}");
    let config = folder.write(&format!("{name}.toml"), text).display().to_string();
    let more = vec!["--config".to_owned(), config];
    Setup {
        more,
        address: format!("sip:{name}@{host}"),
        host: host.into(),
        ..Setup::new(folder, name, "ask")
    }
}

/// Runs SIPp with a scenario from this port.
fn sipp(folder: &Folder, name: &str, port: u16, to: Option<u16>, xml: &str) -> Program {
    let file = folder.write(&format!("{name}.xml"), xml);
    let mut command = Command::new("sipp");
    command.args(to.map(|to| format!("127.0.0.1:{to}"))).arg("-sf").arg(file);
    command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-t", "u1", "-m", "1", "-nostdin"]);
    command.args(["-timeout", "40", "-timeout_error", "-trace_err", "-error_file"]);
    command.arg(folder.join(&format!("{name}.errors")));
    command.args(["-trace_msg", "-message_file"]).arg(folder.join(&format!("{name}.messages")));
    Program::run(folder, name, command.current_dir(folder.path()))
}

fn paging(port: u16, kind: &str, body: &str) -> String {
    PAGING.replace("@PORT@", &port.to_string()).replace("@TYPE@", kind).replace("@BODY@", body)
}

/// A MESSAGE that is answered so; what has to be found in it, and what comes after.
fn paged(status: &str, rows: &str, patterns: &[&str], more: &str) -> String {
    let (mut checks, mut names) = (String::new(), String::new());
    for (index, pattern) in patterns.iter().enumerate() {
        let pattern = pattern.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        checks.push_str(&format!(
            "<ereg regexp=\"{pattern}\" search_in=\"msg\" check_it=\"true\" assign_to=\"found{index}\"/>\n"
        ));
        names.push_str(&format!(",found{index}"));
    }
    let xml = PAGED.replace("@CHECKS@", &checks).replace("@STATUS@", status).replace("@ROWS@", rows);
    xml.replace("@NAMES@", &names).replace("@MORE@", more)
}

/// message/cpim whose author asks what becomes of it.
fn asking(name: &str) -> String {
    format!(
        "From: Carol <sip:carol@127.0.0.1>\nTo: <sip:bob@127.0.0.1>\nDateTime: 2026-01-02T03:04:05Z\n\
         NS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: {name}\n\
         imdn.Disposition-Notification: positive-delivery, display\n\nContent-Type: text/plain\n\nDinner at eight?"
    )
}

//= IM F-5 test
//= IM F-6 test
//= IM M-52 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn sipp_pages_and_hears_what_became_of_it() {
    let folder = Folder::new("pager");
    let bob = setup(&folder, "bob", "127.0.0.1", "tell_unverified = true\ntell_displayed = true\n");
    let mut agent = bob.start(&folder, "bob");
    let carol = free_port();
    // She hears twice: that it is there, and that it was shown.
    for (name, kind, word) in [("first", "delivery", "delivered"), ("second", "display", "displayed")] {
        let patterns = [
            "MESSAGE sip:carol@127\\.0\\.0\\.1:",
            "Content-Type: message/cpim",
            "Content-Disposition: notification",
            "message-id>sipp-1<",
            &format!("<{kind}-notification><status><{word}"),
        ];
        let mut hears = sipp(&folder, name, carol, None, &paged("200 OK", "X-Nothing: 1", &patterns, ""));
        await_until(WAIT, "SIPp to listen", || is_bound(carol));
        if word == "delivered" {
            let xml = paging(carol, "message/cpim", &asking("sipp-1"));
            sipp(&folder, "pages", free_port(), Some(bob.sip), &xml).succeed(WAIT);
            let came = agent.await_event("message", WAIT);
            assert_eq!((&came["session"], &came["message_id"]), (&json!(null), &json!("sipp-1")));
            assert_eq!(came["text"].as_str().map(str::trim_end), Some("Dinner at eight?"));
        } else {
            agent.tell(&json!({"do": "read", "message_id": "sipp-1", "id": "r"}));
            agent.await_event("result", WAIT);
        }
        hears.succeed(WAIT);
    }
    // The same again is no message, and nobody is told.
    let nothing = UdpSocket::bind(("127.0.0.1", carol)).expect("her port");
    nothing.set_read_timeout(Some(Duration::from_secs(3))).expect("a time-out");
    let xml = paging(carol, "message/cpim", &asking("sipp-1"));
    sipp(&folder, "again", free_port(), Some(bob.sip), &xml).succeed(WAIT);
    assert!(nothing.recv(&mut [0; 2000]).is_err(), "one of a kind for each message");
    let xml = paging(carol, "text/plain", "bare text");
    sipp(&folder, "plain", free_port(), Some(bob.sip), &xml).succeed(WAIT);
    assert_eq!(agent.await_event("message", WAIT)["text"].as_str().map(str::trim_end), Some("bare text"));
    assert_eq!(agent.count("message"), 2);
    agent.quit();
}

//= IM F-5 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn sipp_is_paged_and_has_the_text_alone() {
    let folder = Folder::new("paged");
    let bob = setup(&folder, "bob", "127.0.0.1", "ask_delivered = true\n");
    let mut agent = bob.start(&folder, "bob");
    let carol = free_port();
    let text = "Content-Type: text/plain";
    let second = paged("202 Accepted", "X-Nothing: 1", &[text, "Running late"], "");
    let start = second.find("<recv").expect("a step");
    let end = second.find("  <Reference").expect("its end");
    let again = second.get(start..end).expect("its steps").replace("assign_to=\"", "assign_to=\"second");
    let asks =
        ["Content-Type: message/cpim", "imdn.Disposition-Notification: positive-delivery, negative-delivery"];
    let xml = paged("415 Unsupported Media Type", "Accept: text/plain, application/json", &asks, &again);
    let names = "secondagent,secondfeature,secondcontact,secondfound0,secondfound1,agent";
    let xml = xml.replace("variables=\"agent", &format!("variables=\"{names}"));
    let mut hears = sipp(&folder, "hears", carol, None, &xml);
    await_until(WAIT, "SIPp to listen", || is_bound(carol));
    let to = format!("sip:carol@127.0.0.1:{carol}");
    agent.tell(&json!({"do": "page", "to": to, "text": "Running late", "message_id": "page1"}));
    let out = agent.await_such("message", WAIT, |event| event["direction"] == "out");
    assert_eq!((&out["to"], &out["text"]), (&json!(to), &json!("Running late")));
    agent.await_such("progress", WAIT, |event| {
        event["state"] == "acknowledged" && event["message_id"] == "page1"
    });
    hears.succeed(WAIT);
    agent.quit();
    let lines = history(&bob.data);
    assert_eq!(lines.first().map(|line| line["state"].clone()), Some(json!("acknowledged")));
}

/// A peer that does nothing but what the test says.
struct Carol {
    socket: UdpSocket,
    port: u16,
}

impl Carol {
    fn new() -> Carol {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("it has one").port();
        Carol { socket, port }
    }

    /// Sends a message that asks what becomes of it, and waits for the 200.
    fn page(&self, to: u16, name: &str) {
        let (port, body) = (self.port, asking(name).replace('\n', "\r\n"));
        let request = format!(
            "MESSAGE sip:bob@127.0.0.1:{to} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{name}\r\n\
             From: <sip:carol@127.0.0.1:{port}>;tag=c\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: {name}\r\n\
             CSeq: 1 MESSAGE\r\nContent-Type: message/cpim\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(request.as_bytes(), ("127.0.0.1", to)).expect("it leaves");
        let answer = self.next(WAIT).expect("an answer");
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }

    fn next(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).expect("a time-out");
        let mut octets = [0; 4000];
        let (length, from) = self.socket.recv_from(&mut octets).ok()?;
        let text = String::from_utf8_lossy(&octets[..length]).into_owned();
        if text.starts_with("MESSAGE ") {
            let keep = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let rows = text
                .lines()
                .take_while(|line| !line.is_empty())
                .filter(|line| keep.iter().any(|name| line.starts_with(name)));
            let rows: String = rows.map(|line| format!("{line}\r\n")).collect();
            let answer =
                format!("SIP/2.0 200 OK\r\n{rows}Content-Length: 0\r\n\r\n").replacen("To: <", "To: <", 1);
            self.socket.send_to(answer.as_bytes(), from).expect("it leaves");
        }
        Some(text)
    }
}

//= IM M-51 test
//= IM M-52 test
#[test]
#[ignore = "kills a receiver five times, 20 s: run ./check"]
fn a_receiver_that_is_killed_before_it_could_tell_tells_in_its_next_life_and_once() {
    let folder = Folder::new("owed");
    let bob = setup(&folder, "bob", "127.0.0.1", "tell_unverified = true\n");
    let carol = Carol::new();
    let (mut life, mut paged) = (0, 0);
    while life < 5 {
        let mut agent = bob.start(&folder, "bob");
        let name = format!("page{paged}");
        paged += 1;
        let from = Instant::now();
        carol.page(bob.sip, &name);
        // It has said 200, so it has the message; it tells a second later.
        thread::sleep(Duration::from_millis(100 * life));
        agent.kill();
        if from.elapsed() > Duration::from_millis(900) {
            // On so busy a machine it may have told by now: nothing is learnt from this one.
            assert!(paged < 20, "no kill comes in time");
            let mut agent = bob.start(&folder, "bob");
            while carol.next(Duration::from_secs(3)).is_some() {}
            agent.kill();
            continue;
        }
        life += 1;
        assert!(carol.next(Duration::from_millis(50)).is_none(), "not yet");
        let mut agent = bob.start(&folder, "bob");
        let told = carol.next(WAIT).expect("a notification");
        assert!(
            told.contains(&format!("<message-id>{name}</message-id>")) && told.contains("<delivered/>"),
            "{told}"
        );
        // And none more, in this life or the next.
        assert!(carol.next(Duration::from_millis(1500)).is_none());
        agent.kill();
    }
    let agent = bob.start(&folder, "bob");
    assert!(carol.next(Duration::from_secs(3)).is_none());
    agent.quit();
    let kept = history(&bob.data);
    assert_eq!(kept.len(), paged, "{kept:?}");
}

/// A message for baresip's control port, and what it says.
fn tell_baresip(port: u16, command: &str, parameter: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("its control port");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let line = json!({"command": command, "params": parameter, "token": "t"}).to_string();
    write!(stream, "{}:{line},", line.len()).expect("it reads");
    let mut answer = [0; 4000];
    let length = stream.read(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

//= IM F-5 test
#[test]
#[ignore = "needs baresip: run ./check"]
fn baresip_pages_and_is_paged() {
    let folder = Folder::new("baresip");
    let bob = setup(&folder, "bob", "127.0.0.1", "ask_delivered = true\n");
    let mut agent = bob.start(&folder, "bob");
    let (port, control) = (free_port(), free_port());
    let modules = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"];
    let modules = modules.iter().find(|path| fs::exists(path).unwrap_or(false)).expect("its modules");
    folder.write(
        "config",
        format!(
            "module_path {modules}\nsip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\n\
             ctrl_tcp_listen 127.0.0.1:{control}\nmodule ctrl_tcp.so\nmodule_app account.so\n\
             module_app contact.so\nmodule_app menu.so\n"
        ),
    );
    folder.write("accounts", "<sip:carol@127.0.0.1>;regint=0\n");
    folder.write("contacts", format!("\"Bob\" <sip:bob@127.0.0.1:{}>\n", bob.sip));
    let mut command = Command::new("baresip");
    let mut baresip = Program::run(&folder, "baresip", command.arg("-f").arg(folder.path()));
    baresip.ready(WAIT, || TcpStream::connect(("127.0.0.1", control)).is_ok());
    let said = tell_baresip(control, "message", "hello from baresip");
    assert!(said.contains("\"ok\":true"), "{said}");
    let came = agent.await_event("message", WAIT);
    assert_eq!((&came["text"], &came["session"]), (&json!("hello from baresip"), &json!(null)));
    // It takes no message/cpim: the text alone reaches it.
    let to = format!("sip:carol@127.0.0.1:{port}");
    for id in ["page1", "page2"] {
        agent.tell(&json!({"do": "page", "to": to, "text": "hello", "message_id": id}));
        let of = |event: &serde_json::Value| event["message_id"] == id && event["state"] == "acknowledged";
        agent.await_such("progress", WAIT, of);
    }
    agent.quit();
}

//= IM F-5 test
#[test]
#[ignore = "needs linphonec and port 5060 of an address in 127.9.0.0/16: run ./check"]
fn linphonec_pages_and_is_paged() {
    let folder = Folder::new("linphonec");
    // It drops the port of a direct address, so this address has to be nobody else's.
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = format!("127.9.{high}.{low}");
    let bob = Setup { sip: 5060, ..setup(&folder, "bob", &host, "ask_delivered = true\n") };
    let mut agent = bob.start(&folder, "bob");
    fs::create_dir_all(folder.join(".local/share/linphone")).expect("its folder");
    let port = free_port();
    let config = format!(
        "[sip]\nsip_port={port}\nsip_tcp_port=0\nsip_tls_port=0\nbind_address=127.0.0.1\ndefault_proxy=-1\n\
         contact=sip:dave@127.0.0.1\n"
    );
    let config = folder.write("linphone.conf", config);
    let mut command = Command::new("linphonec");
    command.arg("-c").arg(config).env("HOME", folder.path()).stdin(Stdio::piped());
    let shown = folder.join("linphonec.out");
    command.stdout(fs::File::create(&shown).expect("a file"));
    let mut linphonec = Program::start(&folder, "linphonec", &mut command);
    let mut lines = linphonec.child().stdin.take().expect("invariant: piped above");
    let sees = |what: &str| fs::read_to_string(&shown).unwrap_or_default().contains(what);
    linphonec.ready(WAIT, || is_bound(port) && sees("linphonec> "));
    writeln!(lines, "chat sip:bob@{host} hello from linphone").expect("it reads");
    assert_eq!(agent.await_event("message", WAIT)["text"], "hello from linphone");
    let to = format!("sip:dave@127.0.0.1:{port}");
    agent.tell(&json!({"do": "page", "to": to, "text": "hello, linphone", "message_id": "page1"}));
    agent.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    await_until(WAIT, "linphonec to show it", || sees("hello, linphone"));
    let _ = writeln!(lines, "quit");
    agent.quit();
}

//= IM F-5 test
//= IM F-6 test
#[test]
#[ignore = "needs free ports and 10 s: run ./check"]
fn send_pages_and_says_whether_it_was_taken() {
    let folder = Folder::new("send-pager");
    let bob = setup(&folder, "bob", "127.0.0.1", "tell_unverified = true\n");
    let mut agent = bob.start(&folder, "bob");
    let send = |to: String, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
        command.args(["send", "--pager", "--data"]).arg(folder.join("alice-data"));
        let done = command.args(more).args(["--to", &to, "Running late"]).output().expect("it runs");
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let to = format!("sip:bob@127.0.0.1:{}", bob.sip);
    let from = Instant::now();
    assert_eq!(send(to.clone(), &[]), (Some(0), format!("The message to {to} was taken.\n")));
    assert!(from.elapsed() < WAIT);
    assert_eq!(agent.await_event("message", WAIT)["text"], "Running late");
    // Who is not there: nobody listens on that port.
    let (code, said) = send(format!("sip:bob@127.0.0.1:{}", free_port()), &[]);
    assert_eq!(code, Some(4), "{said}");
    let (code, said) = send(to.replace("bob", "carol"), &[]);
    assert_eq!((code, said.contains("404")), (Some(3), true), "{said}");
    agent.quit();
}
