//! REFER: what a focus makes of those that it gets, and those that nobody should send to a client.

use super::Play;
use crate::peer::Mail;
use crate::script::Script;

/// How Mallory tells, asked or not, how a REFER fares.
const STATES: [&str; 6] = [
    "Event: refer\r\nSubscription-State: active;expires=60\r\n",
    "Event: refer\r\nSubscription-State: pending\r\n",
    "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n",
    "Event: refer;id=1\r\nSubscription-State: terminated\r\n",
    "Event: conference\r\nSubscription-State: active\r\n",
    "Event: refer\r\n",
];

impl Play<'_> {
    /// REFER came: Mallory is the focus of a conference.
    pub(super) fn referred(&mut self, mail: &Mail) -> String {
        let message = mail.message();
        let script = Script::callee(&mut self.world, self.mallory, mail.way, message);
        self.referrals.push(script.clone());
        let challenge = "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n";
        let (line, rows) = match self.dice.below(10) {
            0 => ("403 No", ""),
            1 => ("401 Who", challenge),
            2 => ("481 Gone", ""),
            3 => ("100 Trying", ""),
            4 => ("503 Later", "Retry-After: 3\r\n"),
            5 | 6 => ("202 Accepted", "Refer-Sub: false\r\n"),
            7 => ("200 OK", "Refer-Sub: nonsense\r\n"),
            _ => ("202 Accepted", ""),
        };
        script.respond(message, line, rows, "")
    }

    /// Mallory tells how a REFER fares, or sends one herself, inside a session or not.
    pub(super) fn refer(&mut self) {
        let at = usize::try_from(self.dice.below(self.referrals.len() as u64)).unwrap_or(0);
        let (told, state) = (self.dice.chance(60), self.dice.pick(&STATES).copied().unwrap_or(""));
        if let Some(focus) = self.referrals.get_mut(at).filter(|_| told) {
            let rows = format!("Contact: <sip:192.0.2.3:5060>\r\n{state}");
            let notify = focus.next(&mut self.world, "NOTIFY", &rows, "SIP/2.0 180 Ringing\r\n");
            return self.world.send(focus.way, notify.replace("application/sdp", "message/sipfrag"));
        }
        let to = self.dice.pick(&["<sip:x@192.0.2.9>", "<sip:x@192.0.2.9;method=BYE>", "nonsense"]);
        let rows = format!("Contact: <sip:192.0.2.3:5060>\r\nRefer-To: {}\r\n", to.copied().unwrap_or(""));
        let inside = self.a_line().filter(|_| self.dice.chance(70));
        if let Some(line) = inside.and_then(|at| self.lines.get_mut(at)) {
            let mut script = line.script.clone();
            let refer = script.next(&mut self.world, "REFER", &rows, "");
            // The INVITE stays the last request: its branch is what a CANCEL and an ACK need.
            line.script.cseq = script.cseq;
            return self.world.send(script.way, refer);
        }
        let Some((way, target)) = self.a_sip_way() else { return };
        let script = Script::caller(&mut self.world, self.mallory, way, target);
        let refer = script.request("REFER", &script.branch, &rows, "");
        self.world.send(way, refer);
    }
}
