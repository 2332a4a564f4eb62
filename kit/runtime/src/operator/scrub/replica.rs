//! One replica of a stream, read through a consumer beside it.
//!
//! A direct get is answered by any replica (nats-server 2.15.1 prefers none, not even that of the server the client is connected to).
//! A consumer without replicas of its own reads the replica of the server on which it runs, and its information names that server;
//! the server chooses at random, so consumers are made until there is one beside each replica.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream;
use futures::StreamExt as _;

use crate::nats::{Broker, StoredMessage};

/// Messages of one request.
const BATCH: usize = 500;

/// How long a reader may get nothing: what a replica cannot read counts as pending there and never comes.
const SILENCE: Duration = Duration::from_secs(3);

/// How often the connection may be lost while one message is read: more than a restart of a server takes.
const LOSSES: usize = 20;

/// The pause after a lost connection.
const PAUSE: Duration = Duration::from_millis(500);

/// After so long without a request the server removes a consumer that was left behind.
const INACTIVE: Duration = Duration::from_secs(120);

/// How many consumers are made until one runs beside each replica: five servers are missed by 64 random choices in one case of a million.
const PLACINGS: usize = 64;

/// Which messages a reader reads.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The first sequence.
    pub from: u64,
    /// Only these subjects; all if there are none.
    pub subjects: Vec<String>,
}

/// Reads one replica.
pub(super) struct ReplicaReader {
    /// The server that has the replica.
    pub server: String,
    broker: Broker,
    stream: stream::Stream,
    reading: Reading,
    consumer: PullConsumer,
    buffer: VecDeque<StoredMessage>,
    is_done: bool,
    /// Messages with headers that the client cannot read.
    pub skipped: u64,
}

/// Readers of the replicas that these servers have; without those beside which no consumer could be made.
pub(super) async fn readers(
    broker: &Broker,
    stream: &stream::Stream,
    servers: &BTreeSet<String>,
    reading: &Reading,
) -> anyhow::Result<Vec<ReplicaReader>> {
    let consumers = consumers_beside(broker, stream, servers, reading).await?;
    let reader = |(server, consumer)| ReplicaReader {
        server,
        broker: broker.clone(),
        stream: stream.clone(),
        reading: reading.clone(),
        consumer,
        buffer: VecDeque::new(),
        is_done: false,
        skipped: 0,
    };
    Ok(consumers.into_iter().map(reader).collect())
}

async fn consumers_beside(
    broker: &Broker,
    stream: &stream::Stream,
    servers: &BTreeSet<String>,
    reading: &Reading,
) -> anyhow::Result<BTreeMap<String, PullConsumer>> {
    let config = pull::Config {
        description: Some("a scrub".to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: reading.from,
        },
        filter_subjects: reading.subjects.clone(),
        ack_policy: AckPolicy::None,
        num_replicas: 1,
        memory_storage: true,
        inactive_threshold: INACTIVE,
        ..Default::default()
    };
    let mut consumers = BTreeMap::new();
    for _ in 0..PLACINGS {
        if consumers.len() == servers.len() {
            break;
        }
        let consumer = stream.create_consumer(config.clone()).await?;
        let info = consumer.cached_info();
        let leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone());
        // Without a cluster there is one server.
        let server = leader.unwrap_or_else(|| broker.client().server_info().server_name);
        if servers.contains(&server) && !consumers.contains_key(&server) {
            consumers.insert(server, consumer);
        } else {
            stream.delete_consumer(&info.name).await?;
        }
    }
    Ok(consumers)
}

impl ReplicaReader {
    /// Makes sure that there is a message in the buffer, unless the replica has no more.
    pub async fn fill(&mut self) -> anyhow::Result<()> {
        let mut losses = 0;
        while self.buffer.is_empty() && !self.is_done {
            let broker = self.broker.clone();
            match broker.unless_lost(self.fetch()).await {
                Some(fetched) => {
                    fetched?;
                    self.is_done = self.buffer.is_empty();
                }
                None => {
                    losses += 1;
                    anyhow::ensure!(losses < LOSSES, "the connection is lost again and again");
                    tokio::time::sleep(PAUSE).await;
                    self.resume().await?;
                }
            }
        }
        Ok(())
    }

    async fn fetch(&mut self) -> anyhow::Result<()> {
        let mut messages = self.consumer.fetch().max_messages(BATCH).messages().await?;
        while let Ok(Some(message)) = tokio::time::timeout(SILENCE, messages.next()).await {
            let message = message.map_err(|error| anyhow::anyhow!("reading {}: {error}", self.server))?;
            let message = StoredMessage::delivered(&message)?;
            self.reading.from = message.sequence + 1;
            self.buffer.push_back(message);
        }
        Ok(())
    }

    /// Goes on behind the last message, and skips one whose headers end the connection.
    async fn resume(&mut self) -> anyhow::Result<()> {
        if !self.buffer.is_empty() {
            return self.place().await;
        }
        let stream = &self.stream.cached_info().config.name;
        // The leader may be asked for any message: its answer is readable whatever the headers are.
        if let Some(raw) = self
            .broker
            .unreadable_next(stream, ">", self.reading.from)
            .await?
        {
            self.reading.from = raw.sequence + 1;
            self.skipped += 1;
        }
        self.place().await
    }

    async fn place(&mut self) -> anyhow::Result<()> {
        let servers = BTreeSet::from([self.server.clone()]);
        let consumers = consumers_beside(&self.broker, &self.stream, &servers, &self.reading).await?;
        let (_, consumer) = consumers
            .into_iter()
            .next()
            .with_context(|| format!("no consumer could be made on {}", self.server))?;
        self.consumer = consumer;
        Ok(())
    }

    /// The sequence up to which everything that the replica has is in the buffer; `None` without a limit, at the end.
    pub fn known_to(&self) -> Option<u64> {
        if self.is_done {
            return None;
        }
        Some(self.buffer.back().map_or(0, |last| last.sequence))
    }

    /// Takes the messages up to this sequence out of the buffer.
    pub fn take_to(&mut self, sequence: u64) -> Vec<StoredMessage> {
        let count = self
            .buffer
            .partition_point(|message| message.sequence <= sequence);
        self.buffer.drain(..count).collect()
    }

    /// Everything that is still to be read: for a reading of few subjects.
    pub async fn rest(mut self) -> anyhow::Result<Vec<StoredMessage>> {
        let mut all = Vec::new();
        loop {
            self.fill().await?;
            let some = self.take_to(u64::MAX);
            if some.is_empty() {
                self.end().await;
                return Ok(all);
            }
            all.extend(some);
        }
    }

    /// Removes the consumer. If that fails, the server does it after [`INACTIVE`].
    pub async fn end(self) {
        let name = &self.consumer.cached_info().name;
        let _ = self.stream.delete_consumer(name).await;
    }
}
