//! Two network namespaces with a cable between them: what a peer from elsewhere may not aim us at.

use std::process::Command;
use std::time::Duration;

use crate::agent::Setup;
use crate::callers::{Call, Transport};
use crate::harness::{Folder, output};

/// Two namespaces, joined by a cable; they are gone when it is dropped.
struct Cable {
    ours: String,
    theirs: String,
}

const OURS: &str = "10.207.0.1";
const THEIRS: &str = "10.207.0.2";

impl Cable {
    fn lay() -> Cable {
        let id = std::process::id();
        let cable = Cable { ours: format!("parlour-a{id}"), theirs: format!("parlour-b{id}") };
        let ip = |words: &[&str]| drop(output(Command::new("ip").args(words)));
        ip(&["netns", "add", &cable.ours]);
        ip(&["netns", "add", &cable.theirs]);
        ip(&[
            "-n",
            &cable.ours,
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "cable",
            "netns",
            &cable.theirs,
        ]);
        for (space, address) in [(&cable.ours, OURS), (&cable.theirs, THEIRS)] {
            ip(&["-n", space, "address", "add", &format!("{address}/24"), "dev", "cable"]);
            ip(&["-n", space, "link", "set", "cable", "up"]);
            ip(&["-n", space, "link", "set", "lo", "up"]);
        }
        cable
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for space in [&self.ours, &self.theirs] {
            let _ = Command::new("ip").args(["netns", "delete", space]).output();
        }
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
    setup.wrapper = ["ip", "netns", "exec", &cable.ours].map(str::to_owned).to_vec();
    let mut bob = setup.start(&folder, "bob");
    let sipp = ["ip", "netns", "exec", &cable.theirs, "sipp"];
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
    bob.drain(Duration::from_millis(300));
    assert_eq!(bob.count("established"), 0, "{:#?}", bob.seen);
}
