//! A relay that is found by SRV records (RFC 4976 8), as a real name server gives them.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Folder, Program};
use crate::namespaces::Namespace;
use crate::relays::{Relay, chat};

const WAIT: Duration = Duration::from_secs(20);

/// A namespace with dnsmasq as its name server and Kamailio as a relay at this port of its loopback.
struct Net {
    relay: Relay,
    _dnsmasq: Program,
}

impl Net {
    fn new(folder: &Folder, name: &str, port: u16, records: &[&str]) -> Net {
        let space = Namespace::new(name);
        space.asks("127.0.0.1");
        let mut command = space.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file",
            "--user=root",
            "--log-facility=-",
        ]);
        command.args(["--no-resolv", "--no-hosts", "--local=/test/", "--log-queries"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces"]).args(records);
        let mut dnsmasq = Program::run(folder, "dnsmasq", &mut command);
        dnsmasq.ready(WAIT, || space.listens(53));
        Net { relay: Relay::in_space(folder, port, space), _dnsmasq: dnsmasq }
    }

    /// Two whose relay is this one, and who may not do without it, chat.
    fn chats(&self, folder: &Folder, uri: &str) {
        let (bob, alice) = ["bob", "alice"]
            .map(|name| self.relay.member_at(folder, name, uri, "relay_required = true"))
            .into();
        let (mut to, mut from) = (bob.start(folder, "bob"), alice.start(folder, "alice"));
        chat(&bob, &mut from, &mut to);
        from.quit();
        to.quit();
    }
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio, dnsmasq and network namespaces (root): run ./check"]
fn a_relay_is_where_the_first_of_its_srv_records_that_leads_anywhere_says() {
    let folder = Folder::new("srv");
    let net = Net::new(
        &folder,
        "srv",
        9000,
        &[
            "--srv-host=_msrps._tcp.relay.test,here.relay.test,9000,7,1",
            // Nobody listens there, nobody knows the name, and RFC 2782 has the lowest priority tried first.
            "--srv-host=_msrps._tcp.relay.test,silent.relay.test,9000,3,65535",
            "--srv-host=_msrps._tcp.relay.test,unknown.relay.test,9000,0,1",
            "--srv-host=_msrps._tcp.relay.test,later.relay.test,9000,9,65535",
            "--host-record=here.relay.test,127.0.0.1",
            "--host-record=silent.relay.test,127.0.0.9",
            "--host-record=later.relay.test,127.0.0.10",
            // Where the domain itself is, there is no relay.
            "--host-record=relay.test,127.0.0.8",
        ],
    );
    // Somebody is where the last one leads, so that whoever comes there stays.
    let mut later = net.relay.command("openssl");
    later.args(["s_server", "-accept", "127.0.0.10:9000", "-cert"]).arg(folder.join("server.pem"));
    let shown = folder.join("later.out");
    later.arg("-key").arg(folder.join("server.key")).stdin(std::process::Stdio::piped());
    later.stdout(std::fs::File::create(&shown).expect("a file"));
    let mut later = Program::start(&folder, "later", &mut later);
    let of_later = || std::fs::read_to_string(&shown).unwrap_or_default();
    later.ready(WAIT, || of_later().contains("ACCEPT"));
    net.chats(&folder, "msrps://relay.test;tcp");
    assert!(!of_later().contains("CIPHER"), "{}", of_later());
    let asked = std::fs::read_to_string(folder.join("dnsmasq.log")).expect("a log");
    assert!(asked.contains("query[SRV] _msrps._tcp.relay.test"), "{asked}");
    assert!(asked.contains("query[A] unknown.relay.test"), "{asked}");
    assert!(!asked.contains("query[A] relay.test"), "{asked}");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio, dnsmasq and network namespaces (root): run ./check"]
fn a_relay_is_found_behind_an_equal_that_is_not_there() {
    let folder = Folder::new("srv-equal");
    // RFC 2782: of one priority, the heavier is likelier to be the first; the other one is tried after it.
    let records = [
        "--srv-host=_msrps._tcp.relay.test,heavy.relay.test,9000,5,65535",
        "--srv-host=_msrps._tcp.relay.test,light.relay.test,9000,5,1",
        "--host-record=heavy.relay.test,127.0.0.9",
        "--host-record=light.relay.test,127.0.0.1",
    ];
    Net::new(&folder, "equal", 9000, &records).chats(&folder, "msrps://relay.test;tcp");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio, dnsmasq and network namespaces (root): run ./check"]
fn a_relay_without_srv_records_is_a_host_with_the_registered_port() {
    let folder = Folder::new("srv-none");
    let net = Net::new(&folder, "host", 2855, &["--host-record=plain.test,127.0.0.1"]);
    net.chats(&folder, "msrps://plain.test;tcp");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio, dnsmasq and network namespaces (root): run ./check"]
fn a_domain_that_says_that_it_has_no_relay_is_believed() {
    let folder = Folder::new("srv-refused");
    // RFC 2782: a record without a target says so.
    let records = ["--srv-host=_msrps._tcp.none.test", "--host-record=none.test,127.0.0.1"];
    let net = Net::new(&folder, "none", 2855, &records);
    let alice = net.relay.member_at(&folder, "alice", "msrps://none.test;tcp", "relay_required = true");
    let mut from = alice.start(&folder, "alice");
    from.tell(&json!({"do": "invite", "to": "sip:bob@127.0.0.1", "via": "udp:127.0.0.1:9"}));
    let end = from.await_event("ended", WAIT)["end"].to_string();
    assert!(end.contains("a relay is required"), "{end}");
    from.quit();
}
