//! NATS: the connection, storing, reading, the streams, and how a stored event is read.
//!
//! What generic code awaits is a boxed future. The body of an `async fn` is compiled in every crate that polls it, together
//! with all of the client library that it calls; without the box each service would compile that library anew.

pub mod streams;

pub(crate) mod consumers;
pub(crate) mod expiry;
pub(crate) mod log;

mod api;
mod commit;
mod connection;
pub(crate) mod headers;
mod message;
mod objects;
mod pull;
mod read;
mod stored_event;

use async_nats::jetstream::{self, AckKind};
use tracing::debug;

pub use api::ReadError;
pub(crate) use api::StreamCondition;
pub use commit::{COMMIT_TIMEOUT, CommitError, MAX_BATCH};
pub(crate) use connection::READ_TIMEOUT;
pub use connection::{Broker, OLDEST_SERVER};
pub use message::{StoredMessage, Write};
pub use objects::{ObjectError, ObjectInfo, Objects, PUT_TIMEOUT, Removals, StoredObject};
pub use read::{MAX_MULTI_GET, Page};
pub use stored_event::{MAX_EVENT_BYTES, StoredEvent, StoredEventError};

pub(crate) use message::{KV_OPERATION, RawMessage};
pub(crate) use pull::{EXPIRES, Pull};

/// Acknowledges a delivered message, or gives it back. An acknowledgement that gets lost does no harm: the input comes again and is
/// ignored.
pub(crate) async fn acknowledge(message: &jetstream::Message, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        debug!(%error, "an acknowledgement was not sent; the input will come again");
    }
}
