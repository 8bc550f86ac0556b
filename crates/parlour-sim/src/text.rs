//! The tiny text code of scripted peers and checks: it shares nothing with the parsers under test.

use parlour_proto::io::Service;

/// Octets as text for people and for comparisons; what is not UTF-8 is replaced.
pub fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The first line.
pub fn start_line(octets: &[u8]) -> String {
    lossy(octets).lines().next().unwrap_or("").to_owned()
}

/// The status of a SIP or MSRP response.
pub fn status(octets: &[u8]) -> Option<u16> {
    let line = start_line(octets);
    let mut words = line.split(' ');
    let code = match words.next()? {
        "SIP/2.0" => words.next(),
        "MSRP" => words.nth(1),
        _ => None,
    }?;
    (code.len() == 3).then(|| code.parse().ok()).flatten()
}

/// The method of a SIP or MSRP request.
pub fn method(octets: &[u8]) -> Option<String> {
    let line = start_line(octets);
    let mut words = line.split(' ');
    let method = match words.next()? {
        "SIP/2.0" => None,
        "MSRP" => words.nth(1),
        sip => line.ends_with("SIP/2.0").then_some(sip),
    }?;
    method.bytes().all(|octet| octet.is_ascii_uppercase()).then(|| method.to_owned())
}

/// The transaction id of an MSRP frame.
pub fn transaction(octets: &[u8]) -> Option<String> {
    let line = start_line(octets);
    line.strip_prefix("MSRP ")?.split(' ').next().map(str::to_owned)
}

/// The values of all rows of one header, in order.
pub fn headers(octets: &[u8], name: &str) -> Vec<String> {
    let text = lossy(head(octets));
    let rows = text.split("\r\n").skip(1).filter_map(|row| row.split_once(':'));
    rows.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// The value of the first row of one header.
pub fn header(octets: &[u8], name: &str) -> Option<String> {
    headers(octets, name).into_iter().next()
}

/// A header parameter outside angle brackets, such as `tag` of From.
pub fn param(value: &str, name: &str) -> Option<String> {
    let outside = value.rsplit_once('>').map_or(value, |(_, after)| after);
    let params = outside.split(';').filter_map(|param| param.split_once('='));
    params.into_iter().find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// What stands between `<` and `>`, or all of it.
pub fn uri(value: &str) -> String {
    let inside = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(|| value.split(';').next().unwrap_or("").trim(), |(uri, _)| uri).to_owned()
}

/// The value of the first `a=name:` line of an SDP body.
pub fn attribute(octets: &[u8], name: &str) -> Option<String> {
    let text = lossy(body(octets));
    let rows = text.lines().filter_map(|line| line.strip_prefix("a=")?.split_once(':'));
    rows.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned())
}

/// The body: behind the first blank line; for MSRP, up to the end-line.
pub fn body(octets: &[u8]) -> &[u8] {
    let Some(start) = find(octets, b"\r\n\r\n") else { return b"" };
    let rest = octets.get(start + 4..).unwrap_or(b"");
    match transaction(octets) {
        Some(tid) => {
            find(rest, format!("\r\n-------{tid}").as_bytes()).and_then(|end| rest.get(..end)).unwrap_or(b"")
        }
        None => rest,
    }
}

/// The continuation flag of an MSRP frame: `$`, `+` or `#`.
pub fn flag(octets: &[u8]) -> Option<char> {
    octets.strip_suffix(b"\r\n")?.last().map(|octet| char::from(*octet))
}

/// The numbers of a Byte-Range, `None` for `*`.
pub fn byte_range(octets: &[u8]) -> Option<(u64, Option<u64>, Option<u64>)> {
    let value = header(octets, "Byte-Range")?;
    let (start, rest) = value.split_once('-')?;
    let (end, total) = rest.split_once('/')?;
    Some((start.parse().ok()?, end.parse().ok(), total.parse().ok()))
}

/// One line for a ladder: what kind of message this is, without what differs from seed to seed.
pub fn label(octets: &[u8]) -> String {
    if octets.iter().all(|octet| matches!(octet, b'\r' | b'\n')) {
        return octets.iter().map(|octet| if *octet == b'\r' { "CR" } else { "LF" }).collect();
    }
    let range = header(octets, "Byte-Range").map_or_else(String::new, |range| format!(" {range}"));
    let flag = flag(octets).unwrap_or(' ');
    match (transaction(octets), method(octets), status(octets)) {
        (Some(_), Some(method), _) if method == "REPORT" => {
            format!("REPORT{range} {}", header(octets, "Status").unwrap_or_default())
        }
        (Some(_), Some(method), _) => format!("{method}{range} {flag}"),
        (Some(tid), None, Some(_)) => start_line(octets).replacen(&format!(" {tid}"), "", 1),
        (None, Some(method), _) => method,
        (None, None, Some(_)) => {
            let line = start_line(octets);
            let reason = line.strip_prefix("SIP/2.0 ").unwrap_or(&line);
            match header(octets, "CSeq")
                .and_then(|cseq| cseq.split_once(' ').map(|(_, method)| method.to_owned()))
            {
                Some(method) if method != "INVITE" => format!("{reason} ({method})"),
                _ => reason.to_owned(),
            }
        }
        _ => format!("{} octets", octets.len()),
    }
}

/// Cuts a stream into whole messages: SIP by Content-Length, MSRP by end-line.
#[derive(Debug)]
pub struct Splitter {
    service: Service,
    buffer: Vec<u8>,
    searched: usize,
}

impl Splitter {
    /// A splitter for one direction of one stream.
    pub fn new(service: Service) -> Self {
        Splitter { service, buffer: Vec::new(), searched: 0 }
    }

    /// Takes octets, gives the messages that they complete.
    pub fn push(&mut self, octets: &[u8]) -> Vec<Vec<u8>> {
        self.buffer.extend_from_slice(octets);
        let mut whole = Vec::new();
        while let Some(length) = self.next_length().filter(|length| *length > 0) {
            whole.push(self.buffer.drain(..length).collect());
            self.searched = 0;
        }
        whole
    }

    fn next_length(&mut self) -> Option<usize> {
        match self.service {
            Service::Sip => self.sip_length(),
            Service::Msrp => self.msrp_length(),
        }
    }

    fn sip_length(&mut self) -> Option<usize> {
        let breaks = self.buffer.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        if breaks > 0 {
            return Some(breaks);
        }
        let from = self.searched.saturating_sub(3);
        let Some(end) = find(self.buffer.get(from..)?, b"\r\n\r\n").map(|at| from + at + 4) else {
            self.searched = self.buffer.len();
            return (self.searched > 1 << 20).then_some(self.searched);
        };
        let length = header(self.buffer.get(..end)?, "Content-Length").and_then(|value| value.parse().ok());
        let length = end.saturating_add(length.unwrap_or(0));
        (length <= self.buffer.len()).then_some(length)
    }

    fn msrp_length(&mut self) -> Option<usize> {
        let line = find(&self.buffer, b"\r\n");
        let Some(tid) = line.and_then(|_| transaction(&self.buffer)) else {
            let garbage = line.is_some() || self.buffer.len() > 100;
            return garbage.then_some(self.buffer.len());
        };
        let mark = format!("\r\n-------{tid}");
        let mut from = self.searched.saturating_sub(mark.len() + 3);
        while let Some(at) = find(self.buffer.get(from..)?, mark.as_bytes()).map(|at| from + at) {
            let end = at + mark.len();
            if let [b'$' | b'+' | b'#', b'\r', b'\n', ..] = self.buffer.get(end..)? {
                return Some(end + 3);
            }
            from = at + 1;
        }
        self.searched = self.buffer.len();
        None
    }
}

fn head(octets: &[u8]) -> &[u8] {
    let end = find(octets, b"\r\n\r\n").unwrap_or(octets.len());
    octets.get(..end).unwrap_or(octets)
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fall_into_messages_at_any_cut() {
        let msrp = b"MSRP a1b2 SEND\r\nTo-Path: x\r\n\r\n-------a1b\r\n-------a1b2$x\r\n-------a1b2+\r\nMSRP c3d4 200 OK\r\n-------c3d4$\r\n";
        let sip = b"\r\n\r\nBYE sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nhiSIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        for (service, octets, count) in [(Service::Msrp, &msrp[..], 2), (Service::Sip, &sip[..], 3)] {
            for cut in 1..octets.len() {
                let mut splitter = Splitter::new(service);
                let mut whole: Vec<Vec<u8>> = Vec::new();
                for piece in octets.chunks(cut) {
                    whole.extend(splitter.push(piece));
                }
                assert_eq!(whole.concat(), octets);
                let messages = whole.iter().filter(|message| message.len() > 4).count();
                assert_eq!(messages, count - usize::from(service == Service::Sip));
            }
        }
    }

    #[test]
    fn reads_what_scripts_ask_for() {
        let frame = b"MSRP a1b2 SEND\r\nByte-Range: 1-*/10\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------a1b2+\r\n";
        assert_eq!(byte_range(frame), Some((1, None, Some(10))));
        assert_eq!(body(frame), b"hello");
        assert_eq!(label(frame), "SEND 1-*/10 +");
        let response = b"SIP/2.0 481 Gone\r\nTo: <sip:a;x=1>;tag=7\r\nCSeq: 2 BYE\r\n\r\n";
        assert_eq!(label(response), "481 Gone (BYE)");
        assert_eq!(param(&header(response, "to").unwrap_or_default(), "tag").as_deref(), Some("7"));
    }
}
