//! Access for operators: read every stream, follow the log, publish raw messages. The audit, the command line, the console and the tests
//! use it; services use only [`history`].

pub mod history;
pub mod open_orders;
pub mod scrub;
pub mod story;

mod scan;

pub use history::{Archive, HistoryEntry};
pub use scan::Followed;
pub use scrub::{Pace, ScrubReport, body_digest, logged_as};

use std::pin::pin;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream;
use futures::stream::try_unfold;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use quadrille_events::{Contract, Event, EventName, TypedId};

use crate::engine::dead_letter::{DeadLetter, Parked, read_letter};
use crate::engine::store::entries_of;
use crate::nats::expiry::may_have_expired;
use crate::nats::streams::{bucket_stream, letter_subject};
use crate::nats::{Broker, Objects, StoredEvent, Write};
use crate::operator::scan::{Parts, SILENCE, Scan};

pub use crate::nats::StoredMessage as Entry;
pub use crate::nats::streams::EVENTS;

/// After so many silences in a row a reader checks that the log still exists.
const SILENCES_PER_CHECK: u32 = 3;

/// How often a reader resumes after a lost connection: the message that it is about to receive can end the next connection, too.
const RESUMES: usize = 5;

/// A connection with an operator's rights.
#[derive(Clone, Debug)]
pub struct Operator {
    broker: Broker,
    contract: Contract,
}

/// How large a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Messages it holds.
    pub messages: u64,
    /// Bytes it holds, headers and subjects included.
    pub bytes: u64,
    /// The sequence of its last message: how many were ever stored.
    pub last_sequence: u64,
    /// Whether it is so old that messages may have expired.
    pub may_have_expired: bool,
}

/// How far a consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The service that says the events.
    pub speaker: &'static str,
    /// The name of the consumer: the service that hears them.
    pub listener: String,
    /// The events that the consumer is filtered to.
    pub hears: Vec<&'static EventName>,
    /// Not yet delivered.
    pub pending: u64,
    /// Delivered and not yet acknowledged.
    pub unacknowledged: usize,
    /// Whether a pull is waiting. `false` for a moment is normal under load; `false` for long means that no listener runs.
    pub is_pulled: bool,
}

/// Where in the EVENTS log to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The first message that is still kept.
    Start,
    /// The next message that is stored.
    Now,
}

/// An event of the EVENTS log and when it was decided; `None` if it is none, or cannot be read.
pub fn heard(entry: &Entry) -> Option<(Event, jiff::Timestamp)> {
    let stored = StoredEvent::in_log(Event::CONTRACT, entry).ok()?;
    Some((stored.event().ok()?, stored.decided_at(entry.time)))
}

impl Operator {
    /// Connects; waits until the server is there.
    ///
    /// # Errors
    /// As a service: a server that is too old or has no JetStream is refused.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::connect_to(url, Event::CONTRACT).await
    }

    /// Connects to a system of another contract than the shop's.
    ///
    /// # Errors
    /// As [`Operator::connect`].
    pub async fn connect_to(url: &str, contract: Contract) -> anyhow::Result<Self> {
        Ok(Self {
            broker: Broker::connect(url, "quadrille-operator").await?,
            contract,
        })
    }

    /// The contract of the system.
    pub fn contract(&self) -> Contract {
        self.contract
    }

    /// A bucket of objects, which has so many replicas.
    pub fn objects(&self, bucket: &'static str, replicas: usize) -> Objects {
        Objects::new(self.broker.clone(), bucket, replicas)
    }

    /// Where histories are read.
    fn archive(&self) -> Archive {
        Archive {
            broker: self.broker.clone(),
            contract: self.contract,
            replicas: 1,
        }
    }

    /// Everything in the bucket of `service`: entries, ledgers, schedules, dead letters.
    ///
    /// # Errors
    /// The stream is not there, or the broker does not answer.
    pub async fn bucket(&self, service: &str) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.read_bucket(service, |entry| entries.push(entry)).await?;
        Ok(entries)
    }

    /// The whole EVENTS log.
    ///
    /// # Errors
    /// As [`Operator::bucket`].
    pub async fn log(&self) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.read_log(|entry| entries.push(entry)).await?;
        Ok(entries)
    }

    /// Shows everything in the bucket of `service` to `see`, one after the other, so that it need not fit in memory.
    ///
    /// # Errors
    /// As [`Operator::bucket`].
    pub async fn read_bucket(&self, service: &str, see: impl FnMut(Entry)) -> anyhow::Result<()> {
        self.scan(&bucket_stream(service), see).await
    }

    /// Shows the whole EVENTS log to `see`.
    ///
    /// # Errors
    /// As [`Operator::bucket`].
    pub async fn read_log(&self, see: impl FnMut(Entry)) -> anyhow::Result<()> {
        self.scan(EVENTS, see).await
    }

    /// Reads a stream from its first to its last message, as it is at this moment.
    async fn scan(&self, stream: &str, mut see: impl FnMut(Entry)) -> anyhow::Result<()> {
        let mut scan = Scan::of(&self.broker, stream, vec![">".to_owned()], Parts::All).await?;
        while let Some(entry) = scan.next().await? {
            see(entry);
        }
        Ok(())
    }

    /// Compares the replicas of every stream with each other, and the buckets with EVENTS.
    ///
    /// # Errors
    /// A stream is not there, or the broker does not answer.
    pub async fn scrub(&self, pace: Pace) -> anyhow::Result<ScrubReport> {
        scrub::scrub(&self.broker, self.contract, pace).await
    }

    /// What all services have said about an order (or other aggregate).
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn history(&self, id: &impl TypedId) -> anyhow::Result<Vec<HistoryEntry>> {
        Ok(self.archive().history(&id.aggregate()).await?)
    }

    /// Every event as it is committed: subject and message, from the EVENTS log, `subject` being a filter such as `>`.
    ///
    /// # Errors
    /// The log is not there.
    pub async fn follow(
        &self,
        filter: &str,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Entry>> + Send + use<>> {
        let followed = self.follow_since(filter, Since::Now).await?;
        Ok(followed.map(|followed| followed.map(|followed| followed.entry)))
    }

    /// Every event of the EVENTS log from `since` on, stored and future; headers that cannot be read are dropped. The stream ends with an
    /// error when the log cannot be read on without a gap: after a server was killed, EVENTS may source its tail anew under other
    /// sequences, and somebody may delete it.
    ///
    /// # Errors
    /// The log is not there.
    pub async fn follow_since(
        &self,
        filter: &str,
        since: Since,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Followed>> + Send + use<>> {
        let log = self
            .broker
            .jetstream()
            .get_stream(EVENTS)
            .await
            .context("no EVENTS log: has a service ever run here?")?;
        let next = match since {
            Since::Start => 1,
            Since::Now => log.cached_info().state.last_sequence + 1,
        };
        let mut reader = Reader {
            broker: self.broker.clone(),
            connections: self.broker.connections(),
            log,
            filter: filter.to_owned(),
            next,
            last: None,
            messages: None,
            silences: 0,
        };
        reader.begin(next).await?;
        Ok(try_unfold(reader, async |mut reader| {
            let followed = reader.read().await?;
            Ok(Some((followed, reader)))
        }))
    }

    /// Deletes the EVENTS log. Running services make it again within seconds, and the server sources it anew from the buckets.
    ///
    /// # Errors
    /// There is none, or the broker does not answer.
    pub async fn delete_log(&self) -> anyhow::Result<()> {
        self.broker.jetstream().delete_stream(EVENTS).await?;
        Ok(())
    }

    /// Whether there is a connection right now.
    pub fn is_connected(&self) -> bool {
        self.broker.is_connected()
    }

    /// Waits until the client has died and will never connect again: only a new process helps.
    pub async fn died(&self) {
        self.broker.died().await;
    }

    /// How often it has connected.
    pub fn connections(&self) -> u64 {
        self.broker.connections()
    }

    /// The parked inputs of all services, oldest first, however many there are.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for service in self.contract.services() {
            let filter = letter_subject(service, ">");
            let found = self.broker.get_all(&bucket_stream(service), &filter, 1).await?;
            letters.extend(parked(found).map(|parked| parked.letter));
        }
        letters.sort_by_key(|letter: &DeadLetter| letter.parked_at);
        Ok(letters)
    }

    /// The parked input of this id, at every service that has parked it.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn dead_letter(&self, id: &str) -> anyhow::Result<Vec<Parked>> {
        let mut all = Vec::new();
        if id.contains(['*', '>', ' ']) {
            return Ok(all);
        }
        for service in self.contract.services() {
            let filter = [letter_subject(service, id)];
            let found = self.broker.multi_get(&bucket_stream(service), &filter).await?;
            all.extend(parked(found));
        }
        Ok(all)
    }

    /// The parked inputs about one order (or other aggregate), of whichever service.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn dead_letters_of(&self, id: &impl TypedId) -> anyhow::Result<Vec<DeadLetter>> {
        Ok(self.archive().dead_letters(&id.aggregate()).await?)
    }

    /// The subjects of all events that match `filter` as they are committed, from what the EVENTS log republishes. Nothing
    /// is asked of the server for it, and nothing is repeated if the connection is lost.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn subjects(&self, filter: &str) -> anyhow::Result<impl Stream<Item = String> + use<>> {
        let subscription = self.broker.client().subscribe(filter.to_owned()).await?;
        self.broker.client().flush().await?;
        Ok(subscription.map(|message| message.subject.to_string()))
    }

    /// The entries about an order (or other aggregate) in all buckets, and the records `ledger` names (`$KV.inventory.stock.item.apple`).
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn entries_of(&self, id: &impl TypedId, ledger: &[&str]) -> anyhow::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for service in self.contract.services() {
            let mut filters = vec![entries_of(service, &id.aggregate())];
            let prefix = format!("$KV.{service}.");
            filters.extend(
                ledger
                    .iter()
                    .filter(|key| key.starts_with(&prefix))
                    .map(|key| (*key).to_owned()),
            );
            found.extend(self.broker.multi_get(&bucket_stream(service), &filters).await?);
        }
        Ok(found)
    }

    /// Stores a raw message, unchecked, as `nats pub` would.
    ///
    /// # Errors
    /// The broker refuses it or does not answer.
    pub async fn publish(
        &self,
        subject: &str,
        headers: impl IntoIterator<Item = (String, String)>,
        body: &[u8],
    ) -> anyhow::Result<u64> {
        let mut map = HeaderMap::new();
        for (key, value) in headers {
            map.insert(key.as_str(), value.as_str());
        }
        let write = Write {
            subject: subject.to_owned(),
            headers: map,
            body: body.to_vec().into(),
        };
        Ok(self.broker.publish(write).await?)
    }

    /// How many replicas the bucket of a service has.
    ///
    /// # Errors
    /// The stream is not there.
    pub async fn replicas(&self, service: &str) -> anyhow::Result<usize> {
        let stream = self.broker.jetstream().get_stream(bucket_stream(service)).await?;
        Ok(stream.cached_info().config.num_replicas)
    }

    /// How large the bucket of a service is, or EVENTS.
    ///
    /// # Errors
    /// The stream is not there.
    pub async fn size(&self, service_or_events: &str) -> anyhow::Result<Size> {
        let name = match service_or_events {
            EVENTS => EVENTS.to_owned(),
            service => bucket_stream(service),
        };
        let stream = self.broker.jetstream().get_stream(name).await?;
        let info = stream.get_info().await?;
        let created = Timestamp::from_nanosecond(info.created.unix_timestamp_nanos())?;
        let may_have_expired = may_have_expired(&info.config, Timestamp::now().duration_since(created));
        let state = info.state;
        Ok(Size {
            may_have_expired,
            messages: state.messages,
            bytes: state.bytes,
            last_sequence: state.last_sequence,
        })
    }

    /// How far each listener is.
    ///
    /// # Errors
    /// A stream is not there.
    pub async fn lags(&self) -> anyhow::Result<Vec<Lag>> {
        let mut lags = Vec::new();
        for speaker in self.contract.services() {
            let stream = self.broker.jetstream().get_stream(bucket_stream(speaker)).await?;
            let mut consumers = pin!(stream.consumers());
            while let Some(consumer) = consumers.next().await {
                let consumer = consumer?;
                // Those without acknowledgement are somebody's look (an audit, `nats kv watch`), or EVENTS' own.
                if consumer.config.ack_policy != AckPolicy::Explicit {
                    continue;
                }
                let config = &consumer.config;
                let hears = |filter: &str| {
                    config.filter_subject == filter || config.filter_subjects.iter().any(|f| f == filter)
                };
                let hears = self
                    .contract
                    .names()
                    .filter(|name| name.service == speaker && hears(&name.filter()))
                    .collect();
                lags.push(Lag {
                    speaker,
                    listener: consumer.name,
                    hears,
                    pending: consumer.num_pending,
                    unacknowledged: consumer.num_ack_pending,
                    is_pulled: consumer.num_waiting > 0,
                });
            }
        }
        Ok(lags)
    }
}

/// The letters among these messages.
fn parked(found: Vec<Entry>) -> impl Iterator<Item = Parked> {
    let there = found.into_iter().filter(|entry| !entry.is_deleted());
    there.filter_map(read_letter)
}

/// A place in the EVENTS log, and what comes from there on.
struct Reader {
    broker: Broker,
    log: stream::Stream,
    filter: String,
    /// The sequence to go on with.
    next: u64,
    /// The last message that was read: its sequence, and when it was stored there.
    last: Option<(u64, jiff::Timestamp)>,
    messages: Option<pull::Ordered>,
    /// How often there had been a connection when the messages were asked for.
    connections: u64,
    /// How often nothing came within [`SILENCE`].
    silences: u32,
}

impl Reader {
    async fn read(&mut self) -> anyhow::Result<Followed> {
        loop {
            let Some(messages) = &mut self.messages else {
                self.begin(self.next).await?;
                continue;
            };
            let next = tokio::time::timeout(SILENCE, messages.next()).await;
            // Even if there is a message: after a reconnect this sequence may be another message.
            if self.broker.connections() != self.connections {
                if let Some(followed) = self.resume().await? {
                    return Ok(followed);
                }
                continue;
            }
            match next {
                Err(_) => self.check_log().await?,
                Ok(None) => anyhow::bail!("the messages of {EVENTS} have ended"),
                Ok(Some(message)) => {
                    let followed = Followed::read(&message?)?;
                    self.seen(followed.entry.sequence, followed.entry.time);
                    return Ok(followed);
                }
            }
        }
    }

    /// Fails if the log is not the one that is being read: it was deleted, and perhaps made again.
    async fn check_log(&mut self) -> anyhow::Result<()> {
        self.silences += 1;
        if !self.silences.is_multiple_of(SILENCES_PER_CHECK) {
            return Ok(());
        }
        // Whoever cannot ask now is told by the connection.
        if let Ok(info) = self.log.get_info().await {
            anyhow::ensure!(
                info.created == self.log.cached_info().created,
                "{EVENTS} was deleted, and is made again"
            );
        } else if self.broker.is_connected() && !self.broker.is_there(EVENTS).await? {
            anyhow::bail!("{EVENTS} was deleted");
        }
        Ok(())
    }

    fn seen(&mut self, sequence: u64, time: jiff::Timestamp) {
        self.last = Some((sequence, time));
        self.next = sequence + 1;
    }

    /// Asks for the messages from `start_sequence` on, and returns how many there are.
    async fn begin(&mut self, start_sequence: u64) -> anyhow::Result<u64> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            filter_subject: self.filter.clone(),
            ..Default::default()
        };
        let consumer = self.log.create_consumer(config).await?;
        let pending = consumer.cached_info().num_pending;
        self.messages = Some(consumer.messages().await?);
        Ok(pending)
    }

    /// Resumes after a lost connection, and skips a message that may have ended it.
    async fn resume(&mut self) -> anyhow::Result<Option<Followed>> {
        // The old consumer would ask for the same message again.
        self.messages = None;
        let broker = self.broker.clone();
        let mut problem = anyhow::anyhow!("the connection is lost again and again");
        for _ in 0..RESUMES {
            self.connections = broker.connections();
            match broker.unless_lost(self.try_resume()).await {
                Some(Ok(Resumed::AsBefore)) => return Ok(None),
                Some(Ok(Resumed::Over(followed))) => return Ok(Some(followed)),
                Some(Ok(Resumed::Elsewhere)) => {
                    anyhow::bail!("{EVENTS} is not what it was before the connection was lost")
                }
                // The server may be starting.
                Some(Err(error)) => {
                    problem = error;
                    tokio::time::sleep(SILENCE).await;
                }
                None => {}
            }
        }
        Err(problem)
    }

    async fn try_resume(&mut self) -> anyhow::Result<Resumed> {
        if let Some((sequence, time)) = self.last {
            let there = self.broker.raw(EVENTS, ">", sequence).await?;
            if !there.is_some_and(|raw| raw.sequence == sequence && raw.time == time) {
                return Ok(Resumed::Elsewhere);
            }
        }
        let Some(raw) = self
            .broker
            .unreadable_next(EVENTS, &self.filter, self.next)
            .await?
        else {
            self.begin(self.next).await?;
            return Ok(Resumed::AsBefore);
        };
        let behind = self.begin(raw.sequence + 1).await?;
        self.seen(raw.sequence, raw.time);
        let entry = raw.into();
        Ok(Resumed::Over(Followed { entry, behind }))
    }
}

/// Where a reader resumes after a lost connection.
enum Resumed {
    /// At the next message, as before.
    AsBefore,
    /// Behind this message, which the client library cannot read.
    Over(Followed),
    /// The log was recreated since the last read: the message at that sequence is another one, or gone.
    Elsewhere,
}
