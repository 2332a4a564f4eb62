//! What lies under every service: pull, decide, commit, acknowledge on NATS JetStream. The only crate that knows NATS.
//!
//! To read it: [`decision`] are the words in which a service decides; `engine` gathers inputs into groups, decides them
//! and stores each group in one commit; `listen` and [`Door`] bring the inputs; `store` turns what is said into messages
//! and reads it back; `broker` speaks to the server; `topology` makes sure of the streams; [`main`] ties it together.
//! What can be seen of all that from outside: `meters` counts, `spans` traces, `telemetry` writes the log and exports.

pub mod decision;
pub mod fate;
pub mod http;
pub mod limit;
pub mod operator;
pub mod testing;

mod broker;
mod dead_letter;
mod document;
mod door;
mod engine;
mod history;
mod item;
mod ledger;
mod listen;
mod meters;
mod outside;
mod run;
mod serve;
mod settings;
mod spans;
mod store;
mod telemetry;
mod topology;
mod unreadable;

/// The allocator of the programs here. Events are many small strings, made in one thread and freed in another, which is
/// what glibc's is slow at: `just bench` shows a quarter less CPU in every service with this one.
pub use mimalloc::MiMalloc as Allocator;

pub use broker::{OLDEST_SERVER, ReadError};
pub use dead_letter::{DeadLetter, MAX_LISTED, Parked};
pub use decision::*;
pub use door::{COMMAND_TIMEOUT, Door, Outcome, Reply};
pub use engine::MAX_GROUP;
pub use history::HistoryEntry;
pub use listen::MAX_EVENT_BYTES;
pub use run::{main, program, run};
pub use serve::serve;
pub use settings::Settings;
pub use store::MAX_RECORDS;
