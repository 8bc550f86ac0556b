//! MSRP over WebSocket (RFC 7977): what there is to it besides octets. A message of the WebSocket holds one frame, so what
//! leaves has to be cut; what comes may be read as the stream that its messages make one after the other.

use memchr::memmem;

/// The frames of octets that hold whole ones, as [`Output::Send`](crate::Output::Send) does: each goes into a message of its
/// own (RFC 7977 5.1). What is no frame comes last and uncut.
pub fn frames(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (frame, tail) = rest.split_at_checked(frame_length(rest)?)?;
        rest = tail;
        Some(frame)
    })
}

/// Octets of the first frame; all of them if it has no end; `None` if there are none.
fn frame_length(octets: &[u8]) -> Option<usize> {
    if octets.is_empty() {
        return None;
    }
    let tid = octets.strip_prefix(b"MSRP ").and_then(|rest| rest.split(|octet| *octet == b' ').next());
    let Some(tid) = tid.filter(|tid| crate::head::Tid::parse(tid).is_some()) else {
        return Some(octets.len());
    };
    let end_line = [b"\r\n-------".as_slice(), tid].concat();
    let ends = memmem::find_iter(octets, &end_line).map(|at| at.saturating_add(end_line.len()));
    // RFC 4975 7.1: only a flag and CRLF behind it make it the end.
    let whole = ends.filter_map(|at| {
        let [flag, b'\r', b'\n', ..] = octets.get(at..)? else { return None };
        crate::head::Flag::of(*flag).map(|_| at.saturating_add(3))
    });
    Some(whole.min().unwrap_or(octets.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: &str = "MSRP tid1 SEND\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n\
        Content-Type: text/plain\r\n\r\n-------tid1$ is no end, nor is\r\n-------tid1x\r\n\r\n-------tid1+\r\n";
    const OK: &str =
        "MSRP abcd 200 OK\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n-------abcd$\r\n";

    #[test]
    fn each_frame_is_cut_out_whole() {
        let all = [SEND, OK, OK, SEND].concat();
        let cut: Vec<_> = frames(all.as_bytes()).collect();
        assert_eq!(cut, [SEND, OK, OK, SEND].map(str::as_bytes));
        assert_eq!(frames(b"").next(), None);
    }

    #[test]
    fn what_is_no_frame_comes_uncut() {
        let half = [OK, &SEND[..60]].concat();
        let cut: Vec<_> = frames(half.as_bytes()).collect();
        assert_eq!(cut, [OK.as_bytes(), &SEND.as_bytes()[..60]]);
        assert_eq!(frames(b"MSRP \r\n-------$\r\n").count(), 1);
        assert_eq!(frames(b"nonsense").collect::<Vec<_>>(), [b"nonsense"]);
    }
}
