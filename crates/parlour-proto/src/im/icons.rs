//! Previews of the files that we offer (RFC 5547 8.8): beside the description in the body of the INVITE, or not at all.

use std::sync::Arc;

use crate::event::Icon;
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::io::FlowId;

impl Core {
    /// The type and the octets of the body of an INVITE of ours that has previews beside its description.
    pub(crate) fn with_icons(&mut self, session: &Session) -> Option<(String, Vec<u8>)> {
        let Phase::Inviting(inviting) = &session.phase else { return None };
        let description = &inviting.own.as_ref()?.offered.octets;
        let transfers = self.files.ids(session.id).iter().filter_map(|file| self.files.get(*file));
        let icons: Vec<(String, Arc<Icon>)> = transfers
            .filter_map(|transfer| Some((transfer.about.icon.clone()?, transfer.icon.clone()?)))
            .collect();
        (!icons.is_empty()).then(|| related(&self.random.ident(24), description, &icons))
    }

    /// RFC 3261 18.1.1: what may be too long for a datagram goes over a stream. Our INVITEs fit otherwise, so it is the
    /// previews that stay here.
    pub(crate) fn leave_icons_out_of_datagrams(&mut self, session: &mut Session) {
        if !matches!(session.flow, FlowId::Stream(_)) && self.drop_icons(session) {
            let decision = "previews of files are left out: the INVITE goes over UDP";
            self.explain(session.account, Some(session.id), "RFC 3261 18.1.1", decision, "");
        }
    }

    /// Takes the previews out of an invitation of ours. Returns whether there were any.
    pub(crate) fn drop_icons(&mut self, session: &mut Session) -> bool {
        let mut dropped = false;
        for file in self.files.ids(session.id).to_vec() {
            if let Some(transfer) = self.files.get_mut(file) {
                transfer.icon = None;
                dropped |= transfer.about.icon.take().is_some();
            }
        }
        if let (true, Phase::Inviting(inviting)) = (dropped, &mut session.phase)
            && let Some(own) = &mut inviting.own
        {
            own.offered.octets = without_icons(&own.offered.octets);
        }
        dropped
    }
}

/// A description without the lines that name previews.
fn without_icons(description: &[u8]) -> Vec<u8> {
    let lines = description.split_inclusive(|octet| *octet == b'\n');
    lines.filter(|line| !line.starts_with(b"a=file-icon:")).flatten().copied().collect()
}

/// RFC 5547 8.8, RFC 2387: the description is the root, and the first part.
fn related(boundary: &str, description: &[u8], icons: &[(String, Arc<Icon>)]) -> (String, Vec<u8>) {
    let kind = format!("multipart/related;type=\"application/sdp\";boundary={boundary}");
    let mut body = format!("--{boundary}\r\nContent-Type: application/sdp\r\n\r\n").into_bytes();
    body.extend(description);
    for (id, icon) in icons {
        // RFC 5621 8.1: who does not know what an icon is may pass it over.
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\n\
             Content-Disposition: icon;handling=optional\r\n\r\n",
            icon.media_type
        );
        body.extend(head.into_bytes());
        body.extend(&icon.octets);
    }
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    (kind, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::multipart;

    //= IM D-40 test
    #[test]
    fn the_description_is_the_root_and_pictures_stand_beside_it() {
        let icon = |octets: &[u8]| {
            Arc::new(Icon { media_type: "image/png".into(), octets: octets.to_vec(), path: None })
        };
        let description = b"v=0\r\na=file-icon:cid:a@x\r\nm=message\r\n";
        let octets = b"\x89PNG\r\n--b\r\n\0";
        let icons = [("a@x".to_owned(), icon(octets)), ("b@x".to_owned(), icon(b"2"))];
        let (kind, body) = related("b24", description, &icons);
        let parts = multipart::read(kind.as_bytes(), &body).unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(
            (parts[0].row("Content-Type"), parts[0].body),
            (Some(&b"application/sdp"[..]), &description[..])
        );
        assert_eq!((parts[1].row("Content-ID"), parts[1].body), (Some(&b"<a@x>"[..]), &octets[..]));
        assert_eq!(parts[2].body, b"2");
        assert!(kind.contains("type=\"application/sdp\""));
        assert_eq!(without_icons(description), b"v=0\r\nm=message\r\n");
    }
}
