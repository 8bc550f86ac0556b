//! The rules of the house, checked by reading the repository: the ledger of clauses and the flows that show them, the direction of dependencies,
//! the purity of the protocol crates, and what no file may contain.

#[path = "../common/repo.rs"]
mod repo;

mod arrows;
mod conformance;
mod contents;
mod ledger;
