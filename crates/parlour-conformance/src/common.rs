//! Alice, a scripted caller, and Bob, a client.

use parlour_proto::client::Say;
use parlour_proto::config::{Accept, Account, Config};
use parlour_proto::event::What;
use parlour_proto::io::{Service, SessionId};
use parlour_sim::client_node::ClientNode;
use parlour_sim::{Mail, NodeId, Script, Way, World};

pub(crate) const BOB: &str = "sip:bob@192.0.2.2";

/// A configuration with one IM Address and nothing else.
pub(crate) fn config(address: &str) -> Config {
    let account = Account { address: address.to_owned(), ..Account::default() };
    Config { accounts: vec![account], ..Config::default() }
}

pub(crate) fn accepting(accept: Accept) -> Config {
    Config { accept, ..config(BOB) }
}

/// A text to be said.
pub(crate) fn text(message_id: &str, text: &str) -> Say {
    let body = parlour_msrp::Source::Inline(text.as_bytes().to_vec());
    Say { message_id: message_id.to_owned(), content_type: "text/plain".to_owned(), body, to: None }
}

/// Alice at node 0 (192.0.2.1) calls Bob at node 1 (192.0.2.2).
pub(crate) struct Call {
    pub(crate) world: World,
    pub(crate) alice: NodeId,
    pub(crate) bob: NodeId,
    pub(crate) way: Way,
    pub(crate) script: Script,
}

impl Call {
    /// Nobody has said anything yet.
    pub(crate) fn new(config: Config) -> Self {
        Call::of(config, true)
    }

    /// The same, where Bob may have no listener for MSRP.
    pub(crate) fn of(config: Config, listens: bool) -> Self {
        let mut world = crate::stage::world(1);
        let alice = world.peer("alice");
        let bob = match listens {
            true => world.client("bob", config),
            false => world.client_without_listener("bob", config),
        };
        let way = world.udp(alice, bob);
        let script = Script::caller(&mut world, alice, way, BOB);
        Call { world, alice, bob, way, script }
    }

    /// Bob's telephone rings.
    pub(crate) fn ringing() -> Self {
        let mut call = Call::new(config(BOB));
        call.send(call.script.invite());
        let ringing = call.status(180);
        call.script.learn(ringing.message());
        call
    }

    /// Bob has accepted, Alice has his 200 and has not said ACK.
    pub(crate) fn answered() -> (Self, Mail) {
        let mut call = Call::ringing();
        call.accept();
        let answer = call.status(200);
        call.script.learn(answer.message());
        (call, answer)
    }

    /// The session is agreed; Bob is passive.
    pub(crate) fn established() -> Self {
        let (mut call, answer) = Call::answered();
        call.ack(&answer);
        call
    }

    /// The session is agreed and Alice's connection is bound.
    pub(crate) fn connected() -> (Self, Way) {
        let mut call = Call::established();
        let media = call.connect();
        call.world.send(media, call.script.msrp_empty("bind1"));
        call.status(200);
        (call, media)
    }

    /// The same where Alice calls with an INVITE of her own and Bob is configured like that.
    pub(crate) fn connected_by(config: Config, invite: impl FnOnce(&Call) -> String) -> (Self, Way) {
        let mut call = Call::new(config);
        call.send(invite(&call));
        let (_, media) = call.taken("bind1");
        (call, media)
    }

    /// Alice's INVITE is on its way: Bob accepts, and her connection is bound by a SEND of this name. His 200, and the
    /// connection.
    #[track_caller]
    pub(crate) fn taken(&mut self, bind: &str) -> (Mail, Way) {
        self.status(180);
        self.accept();
        self.bound(bind)
    }

    /// The same where Bob accepts by himself.
    #[track_caller]
    pub(crate) fn bound(&mut self, bind: &str) -> (Mail, Way) {
        let answer = self.status(200);
        self.script.learn(answer.message());
        self.ack(&answer);
        let media = self.connect();
        let empty = self.script.msrp_empty(bind);
        self.world.send(media, empty);
        self.status(200);
        (answer, media)
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.world.send(self.way, octets);
    }

    #[track_caller]
    pub(crate) fn status(&mut self, status: u16) -> Mail {
        self.world.expect_status(self.alice, status)
    }

    #[track_caller]
    pub(crate) fn request(&mut self, method: &str) -> Mail {
        self.world.expect_request(self.alice, method)
    }

    #[track_caller]
    pub(crate) fn nothing_to(&mut self, millis: u64) {
        self.world.expect_nothing_to(self.alice, millis);
    }

    pub(crate) fn ack(&mut self, answer: &Mail) {
        let ack = self.script.ack(&mut self.world, answer.message());
        self.send(ack);
        self.world.run(0);
    }

    pub(crate) fn ack_refusal(&mut self, answer: &Mail) {
        let ack = self.script.ack_refusal(answer.message());
        self.send(ack);
        self.world.run(0);
    }

    /// The invitation is refused.
    #[track_caller]
    pub(crate) fn refused(&mut self, status: u16) -> Mail {
        let refusal = self.status(status);
        self.ack_refusal(&refusal);
        refusal
    }

    /// The caller gives up while it rings.
    #[track_caller]
    pub(crate) fn cancel(&mut self) {
        self.send(self.script.cancel());
        self.status(200);
        self.refused(487);
    }

    /// Bob's request is answered.
    pub(crate) fn ok(&mut self, request: &Mail) {
        let ok = self.script.respond(request.message(), "200 OK", "", "");
        self.send(ok);
    }

    pub(crate) fn bye(&mut self) {
        let bye = self.script.bye(&mut self.world);
        self.send(bye);
    }

    pub(crate) fn connect(&mut self) -> Way {
        let to = self.world.address(self.bob, 2855);
        let media = self.world.open(self.alice, to, Service::Msrp);
        self.world.expect_opened(self.alice);
        media
    }

    #[track_caller]
    pub(crate) fn accept(&mut self) {
        let session = self.session();
        self.world.act(self.bob, |bob, now| bob.accept(now, session)).expect("an invitation can be accepted");
    }

    #[track_caller]
    pub(crate) fn session(&self) -> SessionId {
        self.at_bob().last_session().expect("there is a session")
    }

    pub(crate) fn at_bob(&self) -> &ClientNode {
        self.world.client_at(self.bob).expect("bob is a client")
    }

    pub(crate) fn bob_mut(&mut self) -> &mut ClientNode {
        self.world.client_at_mut(self.bob).expect("bob is a client")
    }

    pub(crate) fn invitations(&self) -> usize {
        self.at_bob().told().filter(|what| matches!(what, What::Invited { .. })).count()
    }

    /// When each message with this label left, in milliseconds.
    pub(crate) fn times(&self, label: &str) -> Vec<u64> {
        let rows = self.world.rows().iter().filter(|row| row.label == label);
        rows.map(|row| row.at.as_millis()).collect()
    }

    /// Runs until nothing is left to happen, then makes sure that nothing is left and no rule was broken.
    #[track_caller]
    pub(crate) fn over(mut self) -> World {
        finish(&mut self.world);
        self.world
    }
}

/// Lets the world end, and judges all clients.
#[track_caller]
pub(crate) fn finish(world: &mut World) {
    for way in world.open_ways() {
        world.close(way);
    }
    world.run(3_600_000);
    world.judge();
    for node in world.clients() {
        let client = world.client_at(node).expect("it is a client");
        assert_eq!(client.violations(), [], "{}", world.ladder());
    }
}
