//! What lies under every service: pull, decide, commit, acknowledge on NATS JetStream. The only crate that knows NATS.
//!
//! To read it: [`decision`] are the words in which a service decides; `engine` gathers inputs into groups, decides them
//! and stores each group in one commit; `listen` and [`Door`] bring the inputs; `store` turns what is said into messages
//! and reads it back; `broker` speaks to the server; `topology` makes sure of the streams; [`main`] ties it together.

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
mod outside;
mod run;
mod settings;
mod store;
mod topology;
mod unreadable;

pub use broker::{OLDEST_SERVER, ReadError};
pub use dead_letter::{DeadLetter, MAX_LISTED};
pub use decision::*;
pub use door::{COMMAND_TIMEOUT, Door, Outcome, Reply};
pub use engine::MAX_GROUP;
pub use history::HistoryEntry;
pub use listen::MAX_EVENT_BYTES;
pub use run::{main, program, run};
pub use settings::Settings;
pub use store::MAX_RECORDS;
