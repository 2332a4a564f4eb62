//! The orders that have not ended, read from the buckets: EVENTS may have forgotten them.
//!
//! The order bucket is scanned once, without bodies, for what opens and what ends an order; what is left is read in full, from all
//! buckets. So the memory it takes is that of the open orders' ids, however many orders have ended.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use quadrille_events::{Body, Completed, Created, Event, OrderCancelled, OrderId, OrderProgress, TypedId};

use crate::engine::store::entries_of;
use crate::nats::streams::bucket_stream;
use crate::nats::{MAX_MULTI_GET, ReadError, StoredEvent, StoredMessage};
use crate::operator::Operator;
use crate::operator::scan::{Parts, Scan};

/// How many orders are read in one request to each bucket: no order has so many entries in one bucket that these do not fit into
/// one answer.
const CHUNK: usize = MAX_MULTI_GET / 8;

/// How many chunks are read at once.
const CHUNKS: usize = 4;

/// An order that has not ended: what every service has said about it, and when.
#[derive(Clone, Debug)]
pub struct OpenOrder {
    /// Which order.
    pub order_id: OrderId,
    /// The events that can be read, bucket by bucket; at least one.
    pub events: Vec<(Event, Timestamp)>,
    /// How far the order is.
    pub progress: OrderProgress,
}

impl OpenOrder {
    /// `None` if the order is over, or nothing that was said about it can be read.
    fn new(order_id: OrderId, events: Vec<(Event, Timestamp)>) -> Option<Self> {
        let (first, at) = events.first()?;
        let mut progress = OrderProgress::new(first, *at);
        for (event, at) in &events {
            progress.hear(event, *at);
        }
        (!progress.step().is_over()).then_some(Self {
            order_id,
            events,
            progress,
        })
    }
}

impl Operator {
    /// Shows every order to `see` that is created and not over, also one that is cancelled while something is to be undone. An
    /// order that is created or ends during the read may be missed or shown.
    ///
    /// # Errors
    /// The stream is not there, or the broker does not answer.
    pub async fn open_orders(&self, mut see: impl FnMut(OpenOrder)) -> anyhow::Result<()> {
        let mut open: HashSet<OrderId> = HashSet::new();
        // Whether everything is undone is in the other buckets. Looked up now and then, so that they are never many.
        let mut cancelled: Vec<OrderId> = Vec::new();
        let names = [Created::NAME, Completed::NAME, OrderCancelled::NAME];
        let filters = names.map(|name| name.filter()).into();
        let bucket = bucket_stream(Created::NAME.service);
        let mut scan = Scan::of(&self.broker, &bucket, filters, Parts::Headers).await?;
        while let Some(entry) = scan.next().await? {
            let named = self.contract.stored(&entry.subject);
            let Some((name, Ok(order_id))) = named.map(|(name, id)| (name, id.parse())) else {
                continue;
            };
            if name == Created::NAME {
                open.insert(order_id);
                continue;
            }
            open.remove(&order_id);
            if name == OrderCancelled::NAME {
                cancelled.push(order_id);
            }
            if cancelled.len() >= CHUNK * CHUNKS {
                self.read_open(std::mem::take(&mut cancelled), &mut see).await?;
            }
        }
        cancelled.extend(open);
        self.read_open(cancelled, &mut see).await
    }

    /// Reads these orders in full, and shows those that are not over.
    async fn read_open(&self, ids: Vec<OrderId>, see: &mut impl FnMut(OpenOrder)) -> anyhow::Result<()> {
        let chunks = ids.chunks(CHUNK).map(<[OrderId]>::to_vec);
        let mut reading = futures::stream::iter(chunks.map(|chunk| self.read_chunk(chunk))).buffered(CHUNKS);
        while let Some(read) = reading.try_next().await? {
            for (order_id, events) in read {
                if let Some(order) = OpenOrder::new(order_id, events) {
                    see(order);
                }
            }
        }
        Ok(())
    }

    async fn read_chunk(
        &self,
        ids: Vec<OrderId>,
    ) -> Result<HashMap<OrderId, Vec<(Event, Timestamp)>>, ReadError> {
        let mut events: HashMap<OrderId, Vec<_>> = HashMap::new();
        for service in self.contract.services() {
            for message in self.entries_of_all(service, &ids).await? {
                let Ok(stored) = StoredEvent::in_bucket(self.contract, &message) else {
                    continue;
                };
                if let (Some(order_id), Ok(event)) = (stored.about.order_id(), stored.event()) {
                    let at = stored.decided_at(message.time);
                    events.entry(order_id).or_default().push((event, at));
                }
            }
        }
        Ok(events)
    }

    /// All entries about these orders in the bucket of `service`.
    async fn entries_of_all(&self, service: &str, ids: &[OrderId]) -> Result<Vec<StoredMessage>, ReadError> {
        let stream = bucket_stream(service);
        let filters: Vec<_> = ids
            .iter()
            .map(|id| entries_of(service, &id.aggregate()))
            .collect();
        match self.broker.fresh_get(&stream, &filters, 1).await {
            Err(ReadError::TooMany(_)) => {}
            other => return other,
        }
        // One of them has far more entries than there are events.
        let mut all = Vec::new();
        for filter in &filters {
            all.extend(self.broker.get_all(&stream, filter, 1).await?);
        }
        Ok(all)
    }
}
