//! Every state with every event, for all four machines: a change of any cell shows.

use std::fmt::{Debug, Write};

use crate::sip::tx::client::machine as client;
use crate::sip::tx::server::machine as server;
use crate::sip::tx::timer::Timer;

fn matrix<S: Copy + Debug + PartialEq, E: Copy + Debug, A: Debug + 'static>(
    states: &[S],
    events: &[E],
    start: &[A],
    on: impl Fn(S, E) -> (S, &'static [A]),
) -> String {
    let mut table = format!("start: {start:?}\n");
    for state in states {
        let _ = writeln!(table, "{state:?}");
        for event in events {
            let (next, actions) = on(*state, *event);
            if next != *state || !actions.is_empty() {
                let _ = writeln!(table, "    {event:?} -> {next:?} {actions:?}");
            } else {
                let _ = writeln!(table, "    {event:?} -");
            }
        }
    }
    table
}

#[test]
fn server_machines() {
    use server::{Event, Invite, Other};
    let common =
        [Event::Again, Event::Ack, Event::Provisional, Event::Success, Event::Failure, Event::Closed];
    let timers = [Timer::Trying, Timer::G, Timer::H, Timer::I, Timer::L].map(Event::Fired);
    let states =
        [Invite::Proceeding, Invite::Completed, Invite::Confirmed, Invite::Accepted, Invite::Terminated];
    let table = matrix(&states, &[&common[..], &timers].concat(), Invite::ON_START, Invite::on);
    insta::assert_snapshot!("invite_server", table);

    let timers = [Timer::LateTrying, Timer::Abandoned, Timer::J].map(Event::Fired);
    let states = [Other::Trying, Other::Proceeding, Other::Completed, Other::Terminated];
    let table = matrix(&states, &[&common[..], &timers].concat(), Other::ON_START, Other::on);
    insta::assert_snapshot!("other_server", table);
}

#[test]
fn client_machines() {
    use client::{Event, Invite, Other};
    let common = [Event::Provisional, Event::Success, Event::Failure, Event::CancelSent, Event::Closed];
    let timers = [Timer::A, Timer::B, Timer::Cancelled, Timer::D, Timer::M].map(Event::Fired);
    let states =
        [Invite::Calling, Invite::Proceeding, Invite::Completed, Invite::Accepted, Invite::Terminated];
    let table = matrix(&states, &[&common[..], &timers].concat(), Invite::ON_START, Invite::on);
    insta::assert_snapshot!("invite_client", table);

    let timers = [Timer::E, Timer::F, Timer::K].map(Event::Fired);
    let states = [Other::Trying, Other::Proceeding, Other::Completed, Other::Terminated];
    let table = matrix(&states, &[&common[..], &timers].concat(), Other::ON_START, Other::on);
    insta::assert_snapshot!("other_client", table);
}
