//! Bodies.
pub mod cpim;
