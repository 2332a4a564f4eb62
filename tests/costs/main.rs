//! What an order costs, counted rather than timed: messages, bytes, round trips, allocations. These figures are the same
//! on every machine, however busy, so that a change that makes the system dearer fails here and not in somebody's bench.
//! Whoever makes it cheaper lowers the bound.

mod broker;
mod decisions;
