//! Any sequence of events: nothing panics, and in the end nothing is left.

use proptest::prelude::*;

use super::*;
use crate::sip::tx::ClientId;

#[derive(Debug, Clone)]
enum Step {
    Receive { method: usize, branch: usize, tagged: bool, stream: bool },
    Respond { which: usize, status: u16 },
    Request { method: usize, branch: usize, stream: bool },
    Answer { method: usize, branch: usize, status: u16 },
    Wait { ms: u64 },
    Close,
    ForgetServer { which: usize },
    ForgetClient { which: usize },
}

const METHODS: [&str; 5] = ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"];
const BRANCHES: [&str; 4] = ["z9hG4bKone", "z9hG4bKtwo", "1", "z9hG4bK"];

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![Just(100), Just(180), Just(200), Just(202), Just(302), Just(408), Just(487), Just(603)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5usize, 0..4usize, any::<bool>(), any::<bool>())
            .prop_map(|(method, branch, tagged, stream)| Step::Receive { method, branch, tagged, stream }),
        4 => (0..8usize, status()).prop_map(|(which, status)| Step::Respond { which, status }),
        2 => (0..5usize, 0..4usize, any::<bool>())
            .prop_map(|(method, branch, stream)| Step::Request { method, branch, stream }),
        4 => (0..5usize, 0..4usize, status())
            .prop_map(|(method, branch, status)| Step::Answer { method, branch, status }),
        3 => (0..6_000u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Close),
        1 => (0..8usize).prop_map(|which| Step::ForgetServer { which }),
        1 => (0..8usize).prop_map(|which| Step::ForgetClient { which }),
    ]
}

fn run(steps: Vec<Step>) {
    let mut world = World::udp();
    let udp = world.flow;
    let flow = |stream| if stream { FlowId::Stream(7) } else { udp };
    let mut servers: Vec<ServerId> = Vec::new();
    let mut clients: Vec<ClientId> = Vec::new();
    for step in steps {
        match step {
            Step::Receive { method, branch, tagged, stream } => {
                world.flow = flow(stream);
                let to_tag = if tagged { ";tag=b1" } else { "" };
                let incoming = world.receive(&request(METHODS[method], BRANCHES[branch], to_tag));
                if let Incoming::Request { id, .. } | Incoming::Cancel { id, .. } = incoming {
                    servers.insert(0, id);
                } else {
                    assert!(matches!(incoming, Incoming::Ack | Incoming::Absorbed), "{incoming:?}");
                }
            }
            Step::Respond { which, status } => {
                if let Some(id) = servers.get(which) {
                    world.respond(*id, status);
                }
            }
            Step::Request { method, branch, stream } if METHODS[method] != "ACK" => {
                let octets = our_request(METHODS[method], BRANCHES[branch]);
                clients.insert(0, world.tx.request(world.now, flow(stream), octets));
            }
            Step::Request { .. } => {}
            Step::Answer { method, branch, status } => {
                world.receive(&their_response(status, METHODS[method], BRANCHES[branch]));
            }
            Step::Wait { ms } => world.wait(ms),
            Step::Close => world.tx.flow_closed(world.now, FlowId::Stream(7)),
            Step::ForgetServer { which } => {
                servers.get(which).into_iter().for_each(|id| world.tx.forget_server(*id))
            }
            Step::ForgetClient { which } => {
                clients.get(which).into_iter().for_each(|id| world.tx.forget_client(*id))
            }
        }
        while world.tx.poll().is_some() {}
    }
    // What waits for the TU is answered, what waits for the peer is cancelled.
    servers.iter().for_each(|id| world.respond(*id, 500));
    for branch in BRANCHES {
        world.tx.request(world.now, udp, our_request("CANCEL", branch));
    }
    for _ in 0..40 {
        world.wait(1_000);
        while world.tx.poll().is_some() {}
    }
    assert_eq!(world.tx.len(), 0);
    assert_eq!(world.tx.next_deadline(), None);
    assert!(world.tx.shared.streams.is_empty());
    assert_eq!(world.tx.servers.merges(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    //= IM X-12 test
    #[test]
    fn after_all_timers_nothing_is_left(steps in proptest::collection::vec(step(), 0..60)) {
        run(steps);
    }
}
