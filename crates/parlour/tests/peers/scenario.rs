//! SIPp scenarios of several requests in one dialog, told step by step.

use std::fmt::Write as _;

/// What every response but 100 bears.
const RELEASE: &str = "^ *IM-client/OMA1\\.0 ";

/// A header with its colon, "body" or "msg" (all of it), and the extended regular expression that must be found there. A
/// pattern that begins with `!` must not be found.
pub(crate) type Check<'c> = (&'c str, &'c str);

/// An offer that Bob accepts: the caller will connect to him.
pub(crate) const OFFER: &str = "v=0\no=carol 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=message 9 TCP/MSRP *\n\
    a=accept-types:text/plain message/cpim\na=path:msrp://127.0.0.1:9/carol[pid]kLwz8Xw2;tcp\na=setup:active";

/// What one caller does and expects in one dialog, step by step.
#[derive(Default)]
pub(crate) struct Scenario {
    steps: String,
    variables: Vec<String>,
    /// How many gates there are.
    gates: u32,
    /// The CSeq of our last request, and of our last INVITE.
    sent: u32,
    invited: u32,
    /// The method of our last request.
    method: String,
    /// Where Bob began the dialog: the address that he called.
    called: Option<String>,
}

impl Scenario {
    pub(crate) fn new() -> Scenario {
        Scenario::default()
    }

    /// An INVITE with a good offer.
    pub(crate) fn invite(self, rows: &str) -> Scenario {
        self.request("INVITE", rows, OFFER)
    }

    /// Any request but ACK and CANCEL. What makes or refreshes a dialog gets a Contact, unless `rows` have one.
    pub(crate) fn request(mut self, method: &str, rows: &str, body: &str) -> Scenario {
        self.sent += 1;
        method.clone_into(&mut self.method);
        if method == "INVITE" {
            self.invited = self.sent;
        }
        let has_contact = rows.lines().any(|row| row.starts_with("Contact:"));
        let refreshes = ["INVITE", "UPDATE", "NOTIFY"].contains(&method) && !has_contact;
        let contact = "Contact: <sip:carol@[local_ip]:[local_port];transport=[transport]>\n";
        let contact = if refreshes { contact } else { "" };
        let branch = branch(self.sent, method);
        self.message(method, self.sent, &branch, &format!("{contact}{rows}"), body);
        self
    }

    /// The ACK of the last INVITE, which got a 2xx; in it may be an answer.
    pub(crate) fn ack(mut self, body: &str) -> Scenario {
        self.message("ACK", self.invited, &branch(self.invited, "ACK"), "", body);
        self
    }

    /// A response other than 100 to our last request, before which 100 and 180 may come.
    pub(crate) fn expect(self, status: u16, checks: &[Check<'_>]) -> Scenario {
        let (number, method) = (self.sent, self.method.clone());
        self.response_to(number, &method, status, checks)
    }

    /// The same to our last INVITE, whatever was asked since.
    pub(crate) fn answered(self, status: u16, checks: &[Check<'_>]) -> Scenario {
        let number = self.invited;
        self.response_to(number, "INVITE", status, checks)
    }

    /// A reliable provisional response to our last INVITE; [`prack`](Self::prack) is about it.
    pub(crate) fn reliable(self, status: u16, checks: &[Check<'_>]) -> Scenario {
        let reliable = [("Require:", "^ *100rel *$"), ("RSeq:", "^ *([0-9]+) *$")];
        self.answered(status, &[&reliable[..], checks].concat())
    }

    /// Acknowledges a reliable provisional response.
    pub(crate) fn prack(self, body: &str) -> Scenario {
        let rows = format!("RAck: [$rseq] {} INVITE", self.invited);
        self.request("PRACK", &rows, body)
    }

    fn response_to(mut self, number: u32, method: &str, status: u16, checks: &[Check<'_>]) -> Scenario {
        for provisional in [100, 180] {
            if status != provisional {
                let _ = writeln!(self.steps, "  <recv response=\"{provisional}\" optional=\"true\"/>");
            }
        }
        let _ = writeln!(self.steps, "  <recv response=\"{status}\">\n    <action>");
        self.find("CSeq:", &format!("^ *{number} {method} *$"));
        self.find("Server:", RELEASE);
        self.find("Allow:", "INVITE.*ACK.*CANCEL.*BYE.*OPTIONS");
        // What the dialog is known by from now on.
        self.keep("To:", ";tag=([^; ]+)", "tag");
        if (101..300).contains(&status) && method == "INVITE" {
            self.find("Contact:", "\\+g\\.oma\\.sip-im");
            self.keep("Contact:", "<([^>]+)>", "target");
        }
        for (place, pattern) in checks {
            if *place == "RSeq:" {
                self.keep(place, pattern, "rseq");
            }
        }
        self.check(checks);
        self
    }

    /// A refusal of an INVITE, acknowledged as it has to be.
    pub(crate) fn refused(mut self, status: u16, checks: &[Check<'_>]) -> Scenario {
        self = self.answered(status, checks);
        self.message("ACK", self.invited, &branch(self.invited, "INVITE"), "", "");
        self
    }

    /// The INVITE, its 200 and the ACK.
    pub(crate) fn call(self, rows: &str, checks: &[Check<'_>]) -> Scenario {
        self.invite(rows).expect(200, checks).ack("")
    }

    /// We hang up.
    pub(crate) fn bye(self) -> Scenario {
        self.request("BYE", "", "").expect(200, &[])
    }

    /// Bob hangs up.
    pub(crate) fn left(self) -> Scenario {
        self.serve("BYE", &[], "200 OK", "", "")
    }

    /// A request of Bob's, and our response, such as `200 OK`; to an ACK there is none.
    pub(crate) fn serve(
        mut self,
        method: &str,
        checks: &[Check<'_>],
        line: &str,
        rows: &str,
        body: &str,
    ) -> Scenario {
        let _ = writeln!(self.steps, "  <recv request=\"{method}\">\n    <action>");
        self.find("User-Agent:", RELEASE);
        self.check(checks);
        if !line.is_empty() {
            self.response(line, "", rows, body);
        }
        self
    }

    /// The same for a request that begins a dialog and must be for `address`.
    pub(crate) fn serve_first(
        self,
        address: &str,
        method: &str,
        checks: &[Check<'_>],
        line: &str,
        rows: &str,
    ) -> Scenario {
        self.serve_first_with(address, method, checks, line, rows, "")
    }

    /// The same, with a body in the response.
    pub(crate) fn serve_first_with(
        mut self,
        address: &str,
        method: &str,
        checks: &[Check<'_>],
        line: &str,
        rows: &str,
        body: &str,
    ) -> Scenario {
        let _ = writeln!(self.steps, "  <recv request=\"{method}\">\n    <action>");
        self.keep("From:", ";tag=([^; ]+)", "tag");
        self.keep("From:", "<([^>]+)>", "from");
        self.keep("Contact:", "<([^>]+)>", "target");
        self.check(checks);
        self.called = Some(address.to_owned());
        self.response(line, ";tag=carol[pid]", rows, body);
        self
    }

    /// Does nothing for so many milliseconds, in which nothing may come.
    pub(crate) fn pause(mut self, milliseconds: u32) -> Scenario {
        let _ = writeln!(self.steps, "  <pause milliseconds=\"{milliseconds}\"/>");
        self
    }

    /// Goes on when the test lets it: SIPp says so to the other half of a call of two controllers, which is the test.
    pub(crate) fn gate(mut self) -> Scenario {
        self.gates += 1;
        let arrived = "\n    <![CDATA[\nCall-ID: [call_id]\n\n    ]]>\n  ";
        let _ = writeln!(self.steps, "  <sendCmd>{arrived}</sendCmd>\n  <recvCmd/>");
        self
    }

    /// Whether the test has to open gates.
    pub(crate) fn has_gates(&self) -> bool {
        self.gates > 0
    }

    /// The scenario as SIPp reads it.
    pub(crate) fn xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"told\">\n{}  <Reference variables=\"{}\"/>\n\
             </scenario>\n",
            self.steps,
            self.variables.join(",")
        )
    }

    fn message(&mut self, method: &str, number: u32, branch: &str, rows: &str, body: &str) {
        let known = |name: &str| self.variables.iter().any(|known| known == name);
        let bob = "sip:bob@[remote_ip]:[remote_port]";
        let uri = if known("target") { "[$target]" } else { bob };
        let tag = if known("tag") { ";tag=[$tag]" } else { "" };
        let (from, to) = match &self.called {
            Some(address) => (address.as_str(), "[$from]"),
            None => ("sip:carol@[local_ip]:[local_port]", bob),
        };
        let head = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n\
             From: <{from}>;tag=carol[pid]\nTo: <{to}>{tag}\nCall-ID: [call_id]\nCSeq: {number} {method}\n\
             Max-Forwards: 70\n{rows}"
        );
        self.write(&head, body);
    }

    fn response(&mut self, line: &str, tag: &str, rows: &str, body: &str) {
        let head = format!(
            "SIP/2.0 {line}\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n{rows}"
        );
        self.write(&head, body);
    }

    /// A message, in whose head empty lines do not count.
    fn write(&mut self, head: &str, body: &str) {
        let head: Vec<_> = head.lines().filter(|line| !line.is_empty()).collect();
        let head = head.join("\n");
        let kind = if body.is_empty() || head.contains("Content-Type:") {
            ""
        } else {
            "Content-Type: application/sdp\n"
        };
        let length = if body.is_empty() { "0" } else { "[len]" };
        let _ = writeln!(
            self.steps,
            "  <send>\n    <![CDATA[\n\n{head}\n{kind}Content-Length: {length}\n\n{body}\n    ]]>\n  </send>"
        );
    }

    /// The rest of what is looked for in a message that came.
    fn check(&mut self, checks: &[Check<'_>]) {
        for (place, pattern) in checks {
            self.find(place, pattern);
        }
        self.steps.push_str("    </action>\n  </recv>\n");
    }

    fn find(&mut self, place: &str, pattern: &str) {
        let name = format!("found{}", self.variables.len());
        let (check, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => ("check_it_inverse", pattern),
            None => ("check_it", pattern),
        };
        self.search(place, pattern, check, &name);
        self.variables.push(name);
    }

    /// Keeps what stands between the parentheses.
    fn keep(&mut self, place: &str, pattern: &str, name: &str) {
        let whole = format!("whole{}", self.variables.len());
        self.search(place, pattern, "check_it", &format!("{whole},{name}"));
        self.variables.push(whole);
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
    }

    fn search(&mut self, place: &str, pattern: &str, check: &str, names: &str) {
        let pattern = pattern.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let place = if ["body", "msg"].contains(&place) {
            place.to_owned()
        } else {
            format!("hdr\" header=\"{place}")
        };
        let _ = writeln!(
            self.steps,
            "      <ereg regexp=\"{pattern}\" search_in=\"{place}\" {check}=\"true\" assign_to=\"{names}\"/>"
        );
    }
}

fn branch(number: u32, method: &str) -> String {
    format!("z9hG4bK[pid]x{number}{method}")
}
