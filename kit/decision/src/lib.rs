//! The types of a service's decisions, and the kit for testing them. Pure: no clock, no random numbers, no I/O. The crate
//! depends on no other crate of the workspace but the contract.

#![warn(missing_docs)]

mod decision;
pub mod erased;
pub mod fate;
pub mod testing;

pub use decision::*;
