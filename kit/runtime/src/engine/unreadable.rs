//! Messages that the client library cannot read, and so never delivers.
//!
//! nats-server stores headers unchecked. If they are not what
//! [ADR-4](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md) says, async-nats 0.51 closes the connection; the
//! message is redelivered after every `ack_wait`, and closes the next connection, for ever. So each listener regularly reads the redelivered
//! messages through the one request whose answer is JSON, and parks those that the client cannot read.

use std::sync::{Mutex, PoisonError};

use async_nats::Message;
use async_nats::jetstream::{self, AckKind, consumer};
use tracing::warn;

use crate::cause::InputName;
use crate::engine::dead_letter::letter_id;
use crate::engine::store::Store;
use crate::engine::wires::Wires;
use crate::nats::headers::read_headers;
use crate::nats::{RawMessage, acknowledge};

/// The most messages that one search reads. The next search continues behind them.
const MAX_SEARCHED: usize = 4_096;

/// How far a search has come: a place in one wire's entries. Kept from search to search, so that an input that is held back at the front
/// hides nothing behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    wire: usize,
    /// The next sequence; 0 for the first that may be unacknowledged.
    next: u64,
}

/// The searches of one listener, one after the other.
#[derive(Debug, Default)]
pub(crate) struct UnreadableSearch(Mutex<Place>);

impl UnreadableSearch {
    /// Parks redelivered messages that cannot be read. Begins where the last search ended, and ends with the last wire.
    pub async fn park_unreadable<I>(
        &self,
        store: &Store,
        speaker: &'static str,
        wires: &Wires<I>,
        info: &consumer::Info,
    ) {
        if let Err(error) = self.try_park(store, speaker, wires, info).await {
            warn!(
                service = store.service,
                speaker, error, "cannot search for unreadable inputs now"
            );
        }
    }

    fn place(&self) -> Place {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_on_at(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    async fn try_park<I>(
        &self,
        store: &Store,
        speaker: &'static str,
        wires: &Wires<I>,
        info: &consumer::Info,
    ) -> Result<(), String> {
        if info.num_redelivered == 0 {
            return Ok(());
        }
        let stream = &info.stream_name;
        let names: Vec<_> = wires
            .iter()
            .map(|wire| wire.name)
            .filter(|name| name.service == speaker)
            .collect();
        for _ in 0..MAX_SEARCHED {
            let Place { wire, next } = self.place();
            let Some(name) = names.get(wire) else {
                self.go_on_at(Place::default());
                return Ok(());
            };
            let from = next.max(info.ack_floor.stream_sequence + 1);
            let raw = store
                .broker
                .raw(stream, &name.filter(), from)
                .await
                .map_err(|error| error.to_string())?;
            let Some(raw) = raw.filter(|raw| raw.sequence <= info.delivered.stream_sequence) else {
                self.go_on_at(Place {
                    wire: wire + 1,
                    next: 0,
                });
                continue;
            };
            let behind = Place {
                wire,
                next: raw.sequence + 1,
            };
            if let Err(problem) = read_headers(&raw.headers) {
                let id = letter_id(store.contract, stream, raw.sequence, &raw.subject);
                let message = as_delivered(raw, stream, &info.name, store);
                // A parked message is found again while an earlier one waits, or if its acknowledgement was lost.
                match store.letter(&id).await.map_err(|error| error.to_string())? {
                    Some(_) => acknowledge(&message, AckKind::Ack).await,
                    None => {
                        store.meters.input(InputName::Event(name), "parked", "");
                        let reason = format!("its headers cannot be read: {problem}");
                        store.park(&message, &reason).await;
                    }
                }
            }
            self.go_on_at(behind);
        }
        Ok(())
    }
}

/// The message as if it had been delivered without its headers, with 0 as the number of deliveries: the real number is not known. For an
/// acknowledgement the server looks only at stream, consumer and sequence.
fn as_delivered(raw: RawMessage, stream: &str, consumer: &str, store: &Store) -> jetstream::Message {
    let (sequence, time) = (raw.sequence, raw.time.as_nanosecond());
    let reply = format!("$JS.ACK.{stream}.{consumer}.0.{sequence}.1.{time}.0");
    jetstream::Message {
        message: Message {
            subject: raw.subject.into(),
            reply: Some(reply.into()),
            length: raw.body.len(),
            payload: raw.body,
            headers: None,
            status: None,
            description: None,
        },
        context: store.broker.jetstream().clone(),
    }
}
