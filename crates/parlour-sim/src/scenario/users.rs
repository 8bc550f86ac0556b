//! What the users of the two clients do.

use std::time::Duration;

use parlour_msrp::Source;
use parlour_proto::client::{Decline, Say};
use parlour_proto::io::{AccountId, SessionId};

use super::Play;
use crate::model::Model;
use crate::world::NodeId;

/// When another time would be better.
const LATER: [Decline; 3] = [
    Decline::Later { after: Duration::from_secs(600), reachable: None },
    Decline::Later { after: Duration::ZERO, reachable: None },
    Decline::Later { after: Duration::from_secs(7200), reachable: Some(Duration::from_secs(3600)) },
];

impl Play<'_> {
    pub(super) fn client_invites(&mut self) {
        let node = self.a_client();
        let (alice, bob) = ("sip:alice@192.0.2.1", "sip:bob@192.0.2.2");
        let others =
            [alice, bob, alice, bob, "sip:mallory@192.0.2.3", "sip:x@192.0.2.99", "sip:x@nowhere.example"];
        let to = self.dice.pick(&others).copied().unwrap_or("");
        let _ = self.world.act(node, |client, now| client.invite(now, AccountId(0), to, None));
    }

    pub(super) fn client_answers(&mut self) {
        let (node, session) = self.a_session();
        let how = match self.dice.below(8) {
            0 => self.dice.pick(&[Decline::Declined, Decline::Unwanted]).copied(),
            1 => self.dice.pick(&[Decline::Busy, Decline::Unavailable]).copied(),
            2 => self.dice.pick(&LATER).copied(),
            _ => None,
        };
        let _ = match how {
            Some(how) => self.world.act(node, |client, now| client.decline(now, session, how)),
            None => self.world.act(node, |client, now| client.accept(now, session)),
        };
    }

    pub(super) fn client_leaves(&mut self) {
        let (node, session) = self.a_session();
        let _ = self.world.act(node, |client, now| client.leave(now, session));
    }

    pub(super) fn client_says(&mut self) {
        let (node, session) = self.a_session();
        self.said += 1;
        let length = match self.dice.below(4) {
            0 => self.dice.below(120_000),
            1 => 0,
            _ => self.dice.below(200),
        };
        let octets = vec![b'.'; usize::try_from(length).unwrap_or(0)];
        let message_id = format!("said-{}", self.said);
        let say = Say {
            message_id: message_id.clone(),
            content_type: "text/plain".to_owned(),
            body: Source::Inline(octets),
            to: None,
        };
        self.model_of(node, |model| model.said.insert(message_id.clone(), false));
        if self.world.act(node, |client, now| client.say(now, session, say)).is_err() {
            self.model_of(node, |model| model.said.remove(&message_id));
        }
    }

    pub(super) fn a_client(&mut self) -> NodeId {
        NodeId(usize::try_from(self.dice.below(2)).unwrap_or(0))
    }

    /// Some session of some client; or one that is not there.
    pub(super) fn a_session(&mut self) -> (NodeId, SessionId) {
        let node = self.a_client();
        let sessions = self.sessions_of(node);
        self.dice.pick(&sessions).copied().unwrap_or((node, SessionId(u64::MAX)))
    }

    pub(super) fn model_of<T>(&mut self, node: NodeId, change: impl FnOnce(&mut Model) -> T) {
        if let Some(at) = self.world.client_at_mut(node) {
            change(&mut at.model);
        }
    }

    /// The users want somebody in every conference that they are in, or in some session that may be none.
    pub(super) fn client_adds(&mut self) {
        let whom = self.dice.pick(&["sip:carol@192.0.2.9", "tel:+15550100", "nobody"]).copied().unwrap_or("");
        let sessions = match self.dice.chance(20) {
            true => vec![self.a_session()],
            false => self.world.clients().into_iter().flat_map(|node| self.sessions_of(node)).collect(),
        };
        for (node, session) in sessions {
            let _ = self.world.act(node, |client, now| client.add(now, session, whom));
        }
    }

    fn sessions_of(&self, node: NodeId) -> Vec<(NodeId, SessionId)> {
        let sessions = self.world.client_at(node).map(|at| at.model.sessions.keys());
        sessions.into_iter().flatten().map(|session| (node, *session)).collect()
    }
}
