//! Parlour's conformance suite: [`FLOWS`] in virtual time, and the [`CLAUSES`] that they show.
//!
//! A flow is a test under `cargo test` and an ordinary function elsewhere, so that a program can run the suite wherever
//! it is: `parlour conformance` does. It panics if the client does not do what it must, and says why. It reads no file
//! and no clock.
//!
//! The marks above a flow, `//= IM <clause> test`, say what it shows; the build script makes the tables from them.

mod common;
mod snapshot;

/// Compares what a flow drew with what is kept: with insta under `cargo test`, with a copy inside the program elsewhere.
macro_rules! assert_snapshot {
    ($drawn:expr) => {{
        #[cfg(test)]
        insta::assert_snapshot!($drawn);
        #[cfg(not(test))]
        {
            fn here() {}
            $crate::snapshot::compare(std::any::type_name_of_val(&here), &$drawn);
        }
    }};
}

mod flows;

/// What a flow is and how it is run.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// The file that it stands in, without its ending.
    pub module: &'static str,
    /// What it shows, as a sentence with underscores.
    pub name: &'static str,
    /// The ids of the clauses that it shows; none for what no clause asks for.
    pub clauses: &'static [&'static str],
    /// Plays it in virtual time. Panics if the client does not do what it must.
    pub run: fn(),
}

/// A requirement.
#[derive(Debug, Clone, Copy)]
pub struct Clause {
    /// Its id, such as `P-4`.
    pub id: &'static str,
    /// `SHALL`, `SHOULD`, `MAY`, or `POL` where the standards leave it to us.
    pub level: &'static str,
    /// What it asks for, in our words.
    pub gist: &'static str,
    /// Whether the client does it.
    pub status: Status,
    /// Why it is never done.
    pub reason: Option<&'static str>,
    /// Its tests that are no flows, as `file: function`.
    pub elsewhere: &'static [&'static str],
}

/// Whether the client does what a clause asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Done,
    /// Not yet.
    Todo,
    /// It will not.
    Never,
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
