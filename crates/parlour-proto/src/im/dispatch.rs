//! What an invitation is for.

use crate::event::{Kind, Peer};
use crate::im::Core;
use crate::im::stamp::LARGE;
use crate::im::trust;
use crate::io::FlowId;
use crate::sip::header::{AcceptContact, Contact, Header};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::uri::{Uri, same_identity};

impl Core {
    /// What an INVITE with MSRP invites to, by its tags and by who sends it. A file is told by its line of the offer, and
    /// refused there.
    //= IM R-42
    pub(crate) fn kind(&self, flow: FlowId, request: &Message<'_>, peer: &Peer) -> Kind {
        if self.is_deferred(flow, request, peer) {
            Kind::Deferred
        } else if self.config.large_message.is_some() && asks_for(request, LARGE) {
            Kind::LargeMessage
        } else if is_focus(request) {
            Kind::Group
        } else {
            // With or without the tag of OMA IM: a generic core does not demand it.
            Kind::Chat
        }
    }

    /// Whether a store-and-forward server delivers what was said while we were away. Only a trusted core can say that.
    fn is_deferred(&self, flow: FlowId, request: &Message<'_>, peer: &Peer) -> bool {
        let servers = &self.config.store_and_forward;
        let is_server = |uri: &[u8]| {
            let is = |server: &String| match (Uri::parse(uri), Uri::parse(server.as_bytes())) {
                (Ok(uri), Ok(server)) => same_identity(&uri, &server),
                (Ok(_) | Err(_), _) => false,
            };
            servers.iter().any(is)
        };
        let Some(core) = self.trust(flow) else { return false };
        peer.verified && is_server(peer.address.as_bytes())
            || trust::referrer(request, core).is_some_and(|referrer| is_server(referrer.uri))
    }
}

/// Whether the caller wants a device with this feature. What its own Contact lists is what it could do, not what this
/// call is for.
fn asks_for(request: &Message<'_>, feature: &str) -> bool {
    let names = |value: AcceptContact<'_>| value.params.iter().any(|param| is(param.name, feature));
    request.list::<AcceptContact<'_>>().flatten().any(names)
}

/// Whether the sender has more than one peer (RFC 4579 4).
pub(crate) fn is_focus(request: &Message<'_>) -> bool {
    request.values(Name::Contact).any(says_focus)
}

/// Whether this Contact is that of a focus.
pub(crate) fn says_focus(contact: &[u8]) -> bool {
    let contact = Contact::parse(contact);
    contact.is_ok_and(|contact| contact.address().is_some_and(|at| at.params.has("isfocus")))
}

fn is(name: &str, feature: &str) -> bool {
    name.eq_ignore_ascii_case(feature)
}
