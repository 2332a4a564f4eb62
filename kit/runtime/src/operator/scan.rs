//! A stream from its first to its last message, one after the other.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream;
use futures::StreamExt;

use crate::nats::{Broker, RawMessage, ReadError, StoredMessage};

/// How long a read may bring nothing until it is checked whether anything is left.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// One message of the EVENTS log as it is followed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The message.
    pub entry: StoredMessage,
    /// How many are in the log behind it; at 0 the reader has caught up.
    pub behind: u64,
}

/// What a [`Scan`] brings of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    All,
    /// The body is empty.
    Headers,
}

/// A reader of one stream as it is at this moment.
pub(super) struct Scan {
    broker: Broker,
    stream: stream::Stream,
    name: String,
    filters: Vec<String>,
    parts: Parts,
    last_seen: u64,
    messages: Option<pull::Ordered>,
    is_over: bool,
}

impl Followed {
    /// A delivered message, and how many are still to come.
    pub(super) fn read(message: &async_nats::jetstream::Message) -> anyhow::Result<Self> {
        let info = message
            .info()
            .map_err(|error| anyhow::anyhow!("{}: {error}", message.subject))?;
        Ok(Self {
            behind: info.pending,
            entry: StoredMessage::delivered(message)?,
        })
    }
}

impl Scan {
    /// A scan of the messages that match one of `filters`, which must not overlap.
    pub async fn of(
        broker: &Broker,
        stream: &str,
        filters: Vec<String>,
        parts: Parts,
    ) -> anyhow::Result<Self> {
        let handle = broker.jetstream().get_stream(stream).await;
        Ok(Self {
            broker: broker.clone(),
            stream: handle.with_context(|| format!("no stream {stream}: has a service ever run here?"))?,
            name: stream.to_owned(),
            filters,
            parts,
            last_seen: 0,
            messages: None,
            is_over: false,
        })
    }

    /// The next message; `None` behind the last one.
    pub async fn next(&mut self) -> anyhow::Result<Option<StoredMessage>> {
        while !self.is_over {
            let Some(messages) = &mut self.messages else {
                self.begin().await?;
                continue;
            };
            let next = tokio::time::timeout(SILENCE, messages.next());
            // The next message may have been overwritten or have expired, or it cannot be read, which ends the connection: then the
            // read begins again behind the last message.
            if let Some(Ok(Some(message))) = self.broker.unless_lost(next).await {
                let Followed { entry, behind } = Followed::read(&message?)?;
                self.last_seen = entry.sequence;
                self.is_over = behind == 0;
                return Ok(Some(entry));
            }
            // The old consumer would ask for the unreadable message again.
            self.messages = None;
            if let Some(raw) = self.unreadable_next().await? {
                self.last_seen = raw.sequence;
                return Ok(Some(raw.into()));
            }
        }
        Ok(None)
    }

    /// The next message, if it is one that the client library cannot read.
    async fn unreadable_next(&self) -> Result<Option<RawMessage>, ReadError> {
        let next = self.last_seen + 1;
        let asking = self
            .filters
            .iter()
            .map(|filter| self.broker.raw(&self.name, filter, next));
        let found = futures::future::try_join_all(asking).await?;
        let next = found.into_iter().flatten().min_by_key(|raw| raw.sequence);
        Ok(next.filter(RawMessage::is_unreadable))
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.last_seen + 1,
            },
            filter_subjects: self.filters.clone(),
            headers_only: self.parts == Parts::Headers,
            ..Default::default()
        };
        let consumer = self.stream.create_consumer(config).await?;
        if consumer.cached_info().num_pending == 0 {
            self.is_over = true;
        } else {
            self.messages = Some(consumer.messages().await?);
        }
        Ok(())
    }
}
