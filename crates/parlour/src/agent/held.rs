//! What an agent holds at this moment: asked for with SIGUSR1, to see whether something is left that should be gone.

use parlour_proto::client::Load;

use super::Agent;
use crate::log;

impl Agent {
    /// Says it on stderr.
    pub(super) fn say_held(&self) {
        let shell = [
            ("talks", self.model.talks.len()),
            ("sockets", self.net.streams()),
            ("unstored_octets", self.pending),
        ];
        log::say(&line(&self.client.load(), &shell));
    }
}

/// One line: names and numbers, apart by one blank, as a program reads them.
fn line(load: &Load, shell: &[(&str, usize)]) -> String {
    let Load {
        sessions,
        parting,
        invitations,
        suspended,
        transactions,
        registers,
        requests,
        lookups,
        msrp_sessions,
        msrp_connections,
        msrp_messages,
        msrp_receipts,
        pages,
        paging,
        subscriptions,
        referrals,
        files,
        flows,
        timers,
    } = load;
    let client = [
        ("sessions", sessions),
        ("parting", parting),
        ("invitations", invitations),
        ("suspended", suspended),
        ("transactions", transactions),
        ("registers", registers),
        ("requests", requests),
        ("lookups", lookups),
        ("msrp_sessions", msrp_sessions),
        ("msrp_connections", msrp_connections),
        ("msrp_messages", msrp_messages),
        ("msrp_receipts", msrp_receipts),
        ("pages", pages),
        ("paging", paging),
        ("subscriptions", subscriptions),
        ("referrals", referrals),
        ("files", files),
        ("flows", flows),
        ("timers", timers),
    ];
    let mut line = "parlour: held:".to_owned();
    let client = client.into_iter().map(|(name, number)| (name, *number));
    for (name, number) in client.chain(shell.iter().copied()) {
        line.push_str(&format!(" {name}={number}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_by_its_name() {
        let load = Load { sessions: 3, msrp_connections: 2, timers: 9, ..Load::default() };
        let said = line(&load, &[("talks", 4)]);
        for part in [" sessions=3 ", " transactions=0 ", " msrp_connections=2 ", " timers=9 "] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.starts_with("parlour: held: ") && said.ends_with(" talks=4"), "{said}");
    }
}
