//! The words in which a service decides, and how its decisions are tested. Pure: no clock, no random numbers, no I/O;
//! the crate depends on the contract alone, so that Cargo proves it.

#![warn(missing_docs)]

mod decision;
pub mod erased;
pub mod fate;
pub mod testing;

pub use decision::*;
