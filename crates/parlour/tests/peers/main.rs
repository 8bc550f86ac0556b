//! Parlour against real programs on loopback. Those tests need the programs, so a plain `cargo test` names them as
//! ignored; `./check peers` installs what is missing and runs all.

mod agent;
mod bodies;
mod callers;
mod capture;
mod conference;
mod dissected;
mod durable;
mod early;
mod encrypted;
mod files;
mod harness;
mod invitations;
mod middlebox;
mod namespaces;
mod network;
mod pager;
mod pieces;
mod policy;
mod programs;
mod registrar;
mod relays;
mod replacing;
mod rooms;
mod rosters;
mod rough;
mod scenario;
mod services;
mod sessions;
mod signed;
mod smime;
mod stage;
mod unread;
mod unwanted;
