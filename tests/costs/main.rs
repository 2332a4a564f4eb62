//! The cost of an order in messages, bytes, round trips, allocations and memory. Unlike times, these do not depend on how fast or
//! busy the machine is, so a change that makes the system more expensive fails here. After a change that makes it cheaper,
//! lower the bound.

mod broker;
#[cfg(target_os = "linux")]
mod connections;
mod decisions;
#[cfg(target_os = "linux")]
mod heads;
