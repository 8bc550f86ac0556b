//! Two network namespaces with a cable between them: what a peer from elsewhere may not aim us at.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::agent::Setup;
use crate::callers::{Call, Transport};
use crate::harness::{Folder, output};

/// A network namespace with a loopback of its own; it is gone when this is dropped.
pub(crate) struct Namespace {
    name: String,
}

/// Two of them, joined by a cable.
struct Cable {
    ours: Namespace,
    theirs: Namespace,
}

const OURS: &str = "10.207.0.1";
const THEIRS: &str = "10.207.0.2";

fn ip(words: &[&str]) {
    output(Command::new("ip").args(words));
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Namespace {
        let space = Namespace { name: format!("parlour-{name}{}", std::process::id()) };
        ip(&["netns", "add", &space.name]);
        ip(&["-n", &space.name, "link", "set", "lo", "up"]);
        space
    }

    /// Has what runs in it ask this name server.
    pub(crate) fn asks(&self, server: &str) {
        let folder = self.settings();
        std::fs::create_dir_all(&folder).expect("the namespace's settings");
        std::fs::write(folder.join("resolv.conf"), format!("nameserver {server}\n")).expect("resolv.conf");
    }

    /// What `ip netns exec` lays over /etc.
    fn settings(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    /// The words before those of a command that is to run in it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Whether somebody listens at a TCP port in it.
    pub(crate) fn listens(&self, port: u16) -> bool {
        let found = output(self.command("ss").args(["-Hltn", &format!("sport = :{port}")]));
        !found.is_empty()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        let _ = std::fs::remove_dir_all(self.settings());
    }
}

impl Cable {
    fn lay() -> Cable {
        let cable = Cable { ours: Namespace::new("a"), theirs: Namespace::new("b") };
        let (ours, theirs) = (cable.ours.name.as_str(), cable.theirs.name.as_str());
        ip(&["-n", ours, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", theirs]);
        for (space, address) in [(ours, OURS), (theirs, THEIRS)] {
            ip(&["-n", space, "address", "add", &format!("{address}/24"), "dev", "cable"]);
            ip(&["-n", space, "link", "set", "cable", "up"]);
        }
        cable
    }
}

//= IM X-22 test
#[test]
#[ignore = "needs SIPp and network namespaces (root): run ./check"]
fn a_peer_from_elsewhere_cannot_aim_us_at_our_loopback() {
    let folder = Folder::new("namespaces");
    let cable = Cable::lay();
    let mut setup = Setup::new(&folder, "bob", "all");
    setup.host = OURS.to_owned();
    setup.address = format!("sip:bob@{OURS}");
    setup.wrapper = cable.ours.wrapper();
    let mut bob = setup.start(&folder, "bob");
    let sipp = ["ip", "netns", "exec", &cable.theirs.name, "sipp"];
    // The offer says setup:passive, so that we would connect to its path: to ourselves, and then to a host of theirs.
    let aimed = |host: &str| {
        let call = Call::refused(488).offer("setup:active", "setup:passive");
        call.offer("m=message 9 ", "m=message 7654 ").offer("127.0.0.1:9/", &format!("{host}:7654/"))
    };
    for host in ["127.0.0.1", "127.8.9.10", "169.254.1.1", "224.0.0.5", "255.255.255.255", "0.0.0.0", OURS] {
        let mut caller =
            aimed(host).at_host(OURS).place_from(&folder, Transport::Udp, OURS, setup.sip, &sipp, THEIRS);
        caller.succeed(Duration::from_secs(10));
    }
    bob.caught_up();
    assert_eq!(bob.count("established"), 0, "{:#?}", bob.seen);
}
