//! What goes wrong by itself: octets, streams, stores and links.

use std::time::Duration;

use parlour_proto::client::StoreFault;

use super::{Line, Play, link};
use crate::check::WELL_FORMED;
use crate::link::Loss;
use crate::world::NodeId;

impl Play<'_> {
    /// The last request once more, with octets changed at random.
    pub(super) fn mutate(&mut self) {
        let Some(Line { script, last, .. }) = self.dice.pick(&self.lines).cloned() else { return };
        let mut octets = last.replace(WELL_FORMED, "z9hG4bK-no").into_bytes();
        for _ in 0..=self.dice.below(4) {
            let at = usize::try_from(self.dice.below(octets.len() as u64)).unwrap_or(0);
            let octet = u8::try_from(self.dice.below(256)).unwrap_or(0);
            match (self.dice.below(3), octets.get_mut(at)) {
                (0, Some(place)) => *place = octet,
                (1, Some(_)) => octets.insert(at, octet),
                (_, Some(_)) => octets.truncate(at.max(1)),
                (_, None) => {}
            }
        }
        self.world.send(script.way, octets);
    }

    pub(super) fn noise(&mut self) {
        let lines: [&[u8]; 7] = [
            b"\r\n\r\n",
            b"\r\n",
            b"MSRP x SEND\r\n\r\n",
            b"SIP/2.0 200 OK\r\n\r\n",
            b"INVITE x SIP/2.0\r\n\r\n",
            b"\0\xFF\0",
            b"MSRP abcd 200 OK\r\n-------abcd$\r\n",
        ];
        let noise = self.dice.pick(&lines).copied().unwrap_or(b"").to_vec();
        let way = match self.dice.pick(&self.media).copied() {
            Some(way) if self.dice.chance(50) => Some(way),
            _ => self.a_sip_way().map(|(way, _)| way),
        };
        if let Some(way) = way {
            self.world.send(way, noise);
        }
    }

    pub(super) fn break_stream(&mut self) {
        let streams = self.world.open_streams();
        let Some(stream) = self.dice.pick(&streams).copied() else { return };
        match self.dice.below(2) {
            0 => self.world.reset(stream),
            _ => {
                let ways = self.world.open_ways();
                if let Some(way) = self.dice.pick(&ways).copied() {
                    self.world.close(way);
                }
            }
        }
    }

    pub(super) fn disturb_store(&mut self) {
        let node = self.a_client();
        let delay = Duration::from_millis(self.dice.below(300));
        let fault = match self.dice.below(4) {
            0 => Some(StoreFault::Full),
            1 => Some(StoreFault::Broken),
            _ => None,
        };
        if let Some(at) = self.world.client_at_mut(node) {
            (at.store.delay, at.store.fault) = (delay, fault);
        }
    }

    pub(super) fn change_link(&mut self) {
        let (a, b) = (NodeId(0), NodeId(usize::try_from(1 + self.dice.below(2)).unwrap_or(1)));
        let mut link = link(&mut self.dice);
        if self.dice.chance(20) {
            (link.loss, link.refuse) = (Loss::Percent(100), true);
        }
        self.world.link(a, b, link);
    }
}
