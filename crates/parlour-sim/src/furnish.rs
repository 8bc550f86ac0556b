//! What a world is furnished with besides its nodes: names, certificates, links.

use std::net::{IpAddr, SocketAddr};

use crate::link::Link;
use crate::world::{NodeId, World};

impl World {
    /// What the name servers of this world answer for a name.
    pub fn name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.insert(name.to_owned(), addresses.to_vec());
    }

    /// What they answer for a service of a name, such as `_msrps._tcp.relay.test`; nothing if its records lead nowhere.
    pub fn service(&mut self, name: &str, addresses: &[SocketAddr]) {
        self.services.insert(name.to_owned(), addresses.to_vec());
    }

    /// Has a node show this in TLS, or nothing.
    pub fn shows(&mut self, node: NodeId, certificate: Option<&[u8]>) {
        self.certificates.insert(node, certificate.map(Into::into));
    }

    /// Has an authority vouch for a name to be that of a node.
    pub fn vouch(&mut self, node: NodeId, name: &str) {
        self.vouched.insert((node, name.to_owned()));
    }

    /// Sets both directions between two nodes.
    pub fn link(&mut self, a: NodeId, b: NodeId, link: Link) {
        self.link_one_way(a, b, link.clone());
        self.link_one_way(b, a, link);
    }

    /// Sets one direction.
    pub fn link_one_way(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.datagrams.remove(&(from, to));
        self.links.insert((from, to), link);
    }
}
