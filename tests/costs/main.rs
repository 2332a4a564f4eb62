//! What an order costs, counted rather than timed: messages, bytes, round trips, allocations, memory. That does not depend on how
//! fast or busy a machine is, so a change that makes the system dearer fails here and not in somebody's bench. Whoever
//! makes it cheaper lowers the bound.

mod broker;
#[cfg(target_os = "linux")]
mod connections;
mod decisions;
#[cfg(target_os = "linux")]
mod heads;
