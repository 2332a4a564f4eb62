//! NATS: the connection, the streams, and headers that the client library cannot read.

pub(crate) mod broker;
pub(crate) mod headers;
pub mod streams;

pub use broker::{Broker, CommitError, Entry, OLDEST_SERVER, ReadError, Write};
