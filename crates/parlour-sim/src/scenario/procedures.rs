//! What Mallory does with the procedures that go beyond a simple call: session timers, reliable provisional responses,
//! sessions that replace others, and conferences.

use super::Play;
use crate::peer::Mail;
use crate::script::Script;
use crate::text;

impl Play<'_> {
    /// INVITE that asks for more than a session.
    pub(super) fn invite_to_a_procedure(&mut self) {
        let Some((way, target)) = self.a_sip_way() else { return };
        let script = Script::caller(&mut self.world, self.mallory, way, target);
        let mut rows = String::new();
        for _ in 0..=self.dice.below(2) {
            rows.push_str(&self.row());
        }
        let setup = self.dice.pick(&["actpass", "active"]).copied().unwrap_or("active");
        let mut offer = script.sdp(setup, "text/plain message/cpim");
        if self.dice.chance(20) {
            rows.push_str("Require: precondition\r\nRequire: 100rel\r\n");
            offer.push_str(self.dice.pick(&PRECONDITIONS).copied().unwrap_or(""));
        }
        let offer = if self.dice.chance(25) { String::new() } else { offer };
        let mut invite = script.invite_with(&rows, &offer);
        if self.dice.chance(40) {
            let focus = self.dice.pick(&[">;isfocus\r\n", ">;isfocus\r\nSupported: tdialog\r\n"]).copied();
            invite = invite.replacen(":5060>\r\n", &format!(":5060{}", focus.unwrap_or("")), 1);
        }
        self.world.send(way, &invite);
        self.keep(script, &invite);
    }

    fn row(&mut self) -> String {
        match self.dice.below(6) {
            0 => "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n".to_owned(),
            1 => {
                "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n"
                    .to_owned()
            }
            2 => "Require: 100rel\r\n".to_owned(),
            3 => "Contribution-ID: abcdef0123456789abcdef0123456789\r\n".to_owned(),
            _ => self.replaces(),
        }
    }

    /// Rows by which Mallory, whom some trust, takes the place of one of her own sessions.
    fn replaces(&mut self) -> String {
        let mut rows = "P-Asserted-Identity: <sip:mallory@192.0.2.3>\r\n".to_owned();
        let Some(line) = self.dice.pick(&self.lines) else { return rows };
        let (call_id, ours) = (line.script.call_id.clone(), line.script.local_tag.clone());
        let theirs = line.script.remote_tag.clone().unwrap_or_else(|| "0".to_owned());
        if self.dice.chance(75) {
            rows.push_str("Referred-By: <sip:mallory@192.0.2.3>\r\n");
        }
        let early = if self.dice.chance(20) { ";early-only" } else { "" };
        if self.dice.chance(75) {
            rows.push_str(&format!("Replaces: {call_id};to-tag={theirs};from-tag={ours}{early}\r\n"));
        }
        rows
    }

    /// PRACK for a reliable response, more or less as it should be.
    pub(super) fn prack(&mut self, at: usize, response: &[u8]) -> Option<String> {
        let rseq = text::header(response, "RSeq")?;
        let cseq = text::header(response, "CSeq")?;
        let offers = text::attribute(response, "path").is_some();
        let dice = self.dice.below(10);
        let (world, line) = (&mut self.world, self.lines.get_mut(at)?);
        let mut script = line.script.clone();
        let rack =
            if dice == 0 { "RAck: 1 1 INVITE\r\n".to_owned() } else { format!("RAck: {rseq} {cseq}\r\n") };
        let body = match dice {
            1 => script.offer(),
            2 => "nonsense".to_owned(),
            3 => script.sdp("passive", "text/plain"),
            4 => script.offer().replace("msrp://192.0.2.3:", "msrp://192.0.2.99:"),
            _ if offers => script.sdp("active", "text/plain message/cpim"),
            _ => String::new(),
        };
        let prack = script.next(world, "PRACK", &rack, &body);
        // The INVITE stays the last request: its branch is what a CANCEL and an ACK need.
        line.script.cseq = script.cseq;
        Some(prack)
    }

    /// How Mallory, called, answers by a procedure.
    pub(super) fn answer_by_procedure(&mut self, script: &Script, invite: &[u8]) -> String {
        let sdp = script.sdp("passive", "text/plain message/cpim");
        let timer = "Require: timer\r\nSession-Expires: 90;refresher=";
        match self.dice.below(7) {
            0 => script.respond(invite, "200 OK", &format!("{timer}uac\r\n"), &sdp),
            1 => script.respond(invite, "200 OK", &format!("{timer}uas\r\n"), &sdp),
            2 => script.respond(invite, "422 Session Interval Too Small", "Min-SE: 1900\r\n", ""),
            3 => script.respond(invite, "183 Session Progress", "Require: 100rel\r\nRSeq: 7\r\n", &sdp),
            4 => script.respond(invite, "180 Ringing", "Require: 100rel\r\nRSeq: 7\r\n", ""),
            5 => script.respond(invite, "183 Session Progress", "Require: 100rel\r\nRSeq: 7\r\n", "nonsense"),
            _ => script.respond(invite, "200 OK", "", &sdp).replacen(">\r\n", ">;isfocus\r\n", 1),
        }
    }

    /// How Mallory answers a request inside a session.
    pub(super) fn renewed(&mut self, request: &[u8]) -> String {
        let Some(script) = self.by_call_id(request) else { return String::new() };
        let serial = self.world.serial();
        let mut moved = script.clone();
        moved.path = moved.path.replace("/session", &format!("/anew{serial}"));
        let answer = |script: &Script, setup| match text::body(request) {
            [] => String::new(),
            _ => script.sdp(setup, "text/plain message/cpim").replace("o=- 1 1", &format!("o=- 1 {serial}")),
        };
        let line = ["491 Request Pending", "481 Gone", "405 No", "488 No", "401 Who", "302 There"];
        match self.dice.below(14) {
            at @ 0..6 => {
                let line = usize::try_from(at).ok().and_then(|at| line.get(at)).copied().unwrap_or("400 No");
                script.respond(request, line, "Allow: INVITE, ACK, BYE\r\n", "")
            }
            6 => script.respond(request, "422 Small", "Min-SE: 200\r\n", ""),
            7 => script.respond(request, "500 Later", "Retry-After: 0\r\n", ""),
            8 => script.respond(request, "100 Trying", "", ""),
            9 => script.respond(request, "200 OK", "", &answer(&moved, "passive")),
            10 => script.respond(request, "200 OK", "", &answer(&script, "active").replace(" 2855 ", " 0 ")),
            11 => script.respond(
                request,
                "200 OK",
                "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
                &answer(&script, "active"),
            ),
            12 => script.respond(request, "200 OK", "", "nonsense"),
            _ => script.respond(request, "200 OK", "", &answer(&script, "active")),
        }
    }

    /// SUBSCRIBE came: Mallory is taken for a focus.
    pub(super) fn subscribed(&mut self, mail: &Mail) -> String {
        let message = mail.message();
        let call_id = text::header(message, "Call-ID").unwrap_or_default();
        let known = self.foci.iter().find(|focus| focus.call_id == call_id).cloned();
        let script = match known {
            Some(script) => script,
            None => {
                let script = Script::callee(&mut self.world, self.mallory, mail.way, message);
                self.foci.push(script.clone());
                script
            }
        };
        match self.dice.below(10) {
            0 => script.respond(message, "423 Brief", "Min-Expires: 7200\r\n", ""),
            1 => script.respond(message, "481 Gone", "", ""),
            2 => script.respond(message, "503 Later", "Retry-After: 3\r\n", ""),
            3 => script.respond(
                message,
                "401 Who",
                "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n",
                "",
            ),
            4 => script.respond(message, "200 OK", "Expires: 0\r\n", ""),
            _ => script.respond(message, "200 OK", "Expires: 60\r\n", ""),
        }
    }

    pub(super) fn notify(&mut self) {
        let at = usize::try_from(self.dice.below(self.foci.len() as u64)).unwrap_or(0);
        let states = [
            "active;expires=60",
            "active;expires=0",
            "active",
            "pending",
            "terminated",
            "terminated;reason=timeout",
            "terminated;reason=deactivated",
            "terminated;reason=probation;retry-after=2",
            "terminated;reason=noresource",
            "active;expires=60",
            "active;expires=3600",
            "active",
        ];
        let state = self.dice.pick(&states).copied().unwrap_or("active");
        let (version, user) = (self.dice.below(6), self.dice.below(4));
        let whole = self.dice.pick(&["full", "partial", "deleted"]).copied().unwrap_or("full");
        let status = self.dice.pick(&["connected", "disconnected", "pending"]).copied().unwrap_or("pending");
        let body = match self.dice.below(5) {
            0 => String::new(),
            1 => "<nonsense".to_owned(),
            _ => format!(
                "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:c@x' state='{whole}' \
                 version='{version}'><users state='partial'><user entity='sip:u{user}@x' state='full'><endpoint \
                 entity='e'><status>{status}</status></endpoint></user></users></conference-info>"
            ),
        };
        let Some(focus) = self.foci.get_mut(at) else { return };
        let rows =
            format!("Contact: <sip:192.0.2.3:5060>\r\nEvent: conference\r\nSubscription-State: {state}\r\n");
        let notify = focus.next(&mut self.world, "NOTIFY", &rows, &body);
        self.world.send(focus.way, notify.replace("application/sdp", "application/conference-info+xml"));
    }
}

const PRECONDITIONS: [&str; 3] = [
    "a=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=des:qos none remote sendrecv\r\n",
    "a=curr:qos e2e none\r\na=des:qos mandatory e2e sendrecv\r\n",
    "a=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=des:qos optional remote sendrecv\r\n",
];
