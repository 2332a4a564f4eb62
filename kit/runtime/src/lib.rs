//! What a participant runs on: pull, decide, commit, acknowledge on NATS JetStream. The only crate that knows NATS.
//!
//! From the bottom up: [`nats`] connects, stores and reads; `telemetry` writes the log, counts and traces; `engine` turns
//! inputs into commits; [`operator`] reads all buckets and the EVENTS log; [`http`] serves commands and queries; [`run`]
//! ties them together for one service.

#![warn(missing_docs)]

pub mod engine;
pub mod http;
pub mod nats;
pub mod operator;

mod background;
mod cause;
mod printable;
mod run;
mod settings;
mod shutdown;
mod telemetry;

/// The allocator of the programs here. Events are many small strings, made in one thread and freed in another, which is
/// what glibc's is slow at: `just bench` shows a quarter less CPU in every service with this one.
pub use mimalloc::MiMalloc as Allocator;

pub use engine::dead_letter::{DeadLetter, MAX_LISTED, Parked};
pub use http::door::{COMMAND_TIMEOUT, Door, IdPage, Outcome, Reply};
pub use nats::{ObjectError, ObjectInfo, Objects, PUT_TIMEOUT, Removals, StoredObject};
pub use printable::printable;
pub use run::{main, program, run};
pub use settings::Settings;
