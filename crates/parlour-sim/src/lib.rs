//! parlour-sim
