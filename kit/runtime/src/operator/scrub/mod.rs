//! The scrub: compares the replicas of each stream with each other, and the buckets with EVENTS.
//!
//! nats-server trusts its index after a graceful stop, and notices a damaged block at most when an entry is read. The scrub reads every
//! entry of every replica. What differs is read again before it is reported, because entries are written meanwhile.
//!
//! What it cannot see: an entry that all replicas, their index and EVENTS have lost alike.

mod log;
mod replica;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::stream;
use jiff::Timestamp;
use quadrille_events::Contract;
use serde::Deserialize;
use serde_json::json;

use crate::nats::streams::{EVENTS, bucket_stream};
use crate::nats::{Broker, StoredMessage};

use log::{forgets_before, strays, unlogged};
use replica::{Reading, ReplicaReader, readers};

pub use log::{body_digest, logged_as};
pub use report::{Differences, ReplicaCondition, ScrubReport};

/// After so many differences of a stream its scrub ends: it is damaged, and how much does not matter.
const MAX_DIFFERENCES: usize = 1_000;

/// How many subjects are read again together: they are the filter of a consumer.
const AGAIN_AT_ONCE: usize = 100;

/// How often something that differs is read again, and the pause before: a replica may be behind.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// How fast a scrub reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it can.
    Full,
    /// Beside other work: it pauses four times as long as it reads.
    Fifth,
}

impl Pace {
    async fn rest(self, worked: Duration) {
        match self {
            Self::Full => {}
            Self::Fifth => tokio::time::sleep(4 * worked).await,
        }
    }
}

/// Compares everything.
pub(super) async fn scrub(broker: &Broker, contract: Contract, pace: Pace) -> anyhow::Result<ScrubReport> {
    let mut report = ScrubReport::default();
    let log = stream_of(broker, EVENTS).await?;
    let mut forgotten = BTreeMap::new();
    for service in contract.services() {
        let name = bucket_stream(service);
        let mut scrub = StreamScrub::of(broker, &name).await?;
        let mut oldest = None;
        let differences = report.logs.entry(name.clone()).or_default();
        while let Some(window) = scrub.next_window(pace).await? {
            let mut events = window
                .iter()
                .filter(|entry| contract.stored(&entry.subject).is_some());
            oldest = oldest.or_else(|| events.next().map(|entry| entry.time));
            if differences.count < MAX_DIFFERENCES as u64 {
                let logged_since = forgets_before(&log.cached_info().config, None);
                let found = unlogged(broker, contract, &window, logged_since).await?;
                found.into_iter().for_each(|sentence| differences.add(sentence));
            }
        }
        forgotten.insert(
            service,
            forgets_before(&scrub.stream.cached_info().config, oldest),
        );
        report.replicas.extend(scrub.finish().await?);
    }
    let mut scrub = StreamScrub::of(broker, EVENTS).await?;
    let differences = report.logs.entry(EVENTS.to_owned()).or_default();
    while let Some(window) = scrub.next_window(pace).await? {
        if differences.count < MAX_DIFFERENCES as u64 {
            let found = strays(broker, contract, &window, &forgotten).await?;
            found.into_iter().for_each(|sentence| differences.add(sentence));
        }
    }
    report.replicas.extend(scrub.finish().await?);
    Ok(report)
}

async fn stream_of(broker: &Broker, name: &str) -> anyhow::Result<stream::Stream> {
    let stream = broker.jetstream().get_stream(name).await;
    stream.with_context(|| format!("no stream {name}: has a service ever run here?"))
}

/// A scrub of one stream under way.
struct StreamScrub {
    broker: Broker,
    stream: stream::Stream,
    name: String,
    /// The server that leads the stream.
    leader: String,
    readers: Vec<ReplicaReader>,
    conditions: BTreeMap<String, ReplicaCondition>,
    /// Subjects that differed at the first look.
    suspects: BTreeSet<String>,
    confirmed: usize,
    /// What the leader's replica could read: the hashes of the subjects, and the number of messages up to the last one at the beginning.
    subjects_read: Vec<u64>,
    counted: u64,
}

impl StreamScrub {
    async fn of(broker: &Broker, name: &str) -> anyhow::Result<Self> {
        let stream = stream_of(broker, name).await?;
        let cluster = stream.cached_info().cluster.as_ref();
        let own_name = broker.client().server_info().server_name;
        let leader = cluster
            .and_then(|cluster| cluster.leader.clone())
            .unwrap_or(own_name);
        let mut servers = BTreeSet::from([leader.clone()]);
        let mut conditions = BTreeMap::new();
        let condition = |server: &str, unread: Option<&str>| ReplicaCondition {
            stream: name.to_owned(),
            server: server.to_owned(),
            messages: 0,
            differences: Differences::default(),
            unread: unread.map(str::to_owned),
        };
        for peer in cluster.iter().flat_map(|cluster| &cluster.replicas) {
            if peer.offline {
                conditions.insert(
                    peer.name.clone(),
                    condition(&peer.name, Some("the server is away")),
                );
            } else {
                servers.insert(peer.name.clone());
            }
        }
        let everything = Reading {
            from: 1,
            subjects: Vec::new(),
        };
        let readers = readers(broker, &stream, &servers, &everything).await?;
        for server in &servers {
            let is_read = readers.iter().any(|reader| reader.server == *server);
            let unread = (!is_read).then_some("the server runs no consumer");
            conditions.insert(server.clone(), condition(server, unread));
        }
        Ok(Self {
            broker: broker.clone(),
            name: name.to_owned(),
            leader,
            readers,
            conditions,
            suspects: BTreeSet::new(),
            confirmed: 0,
            subjects_read: Vec::new(),
            counted: 0,
            stream,
        })
    }

    /// The next messages, as most replicas have them; `None` at the end.
    async fn next_window(&mut self, pace: Pace) -> anyhow::Result<Option<Vec<StoredMessage>>> {
        let began = Instant::now();
        if self.confirmed >= MAX_DIFFERENCES {
            return Ok(None);
        }
        for reader in &mut self.readers {
            reader.fill().await?;
        }
        let end = self.readers.iter().filter_map(ReplicaReader::known_to).min();
        let end = end.unwrap_or(u64::MAX);
        let mut window: BTreeMap<u64, Versions> = BTreeMap::new();
        for reader in &mut self.readers {
            for message in reader.take_to(end) {
                let condition = self.conditions.get_mut(&reader.server);
                condition.context("every reader has a condition")?.messages += 1;
                if reader.server == self.leader {
                    let is_counted = message.sequence <= self.stream.cached_info().state.last_sequence;
                    self.counted += u64::from(is_counted);
                    self.subjects_read.push(hash(&message.subject));
                }
                window.entry(message.sequence).or_default().add(message);
            }
        }
        let at_end = window.is_empty();
        let replicas = self.readers.len();
        let mut messages = Vec::with_capacity(window.len());
        for versions in window.into_values() {
            if !versions.agree(replicas) {
                self.suspects.extend(versions.subjects());
            }
            messages.extend(versions.usual());
        }
        if self.suspects.len() >= AGAIN_AT_ONCE || at_end {
            self.look_again().await?;
        }
        pace.rest(began.elapsed()).await;
        Ok((!at_end).then_some(messages))
    }

    /// Reads what differed again, and reports what still differs.
    async fn look_again(&mut self) -> anyhow::Result<()> {
        let suspects: Vec<String> = std::mem::take(&mut self.suspects).into_iter().collect();
        for some in suspects.chunks(AGAIN_AT_ONCE) {
            let found = self.differing(some.to_vec()).await?;
            self.confirmed += found.len();
            for (subject, server, what) in found {
                if let Some(condition) = self.conditions.get_mut(&server) {
                    condition.differences.add(format!("{subject}: {what}"));
                }
            }
        }
        Ok(())
    }

    /// Which server has which of these subjects otherwise than most, at several looks.
    async fn differing(
        &self,
        mut subjects: Vec<String>,
    ) -> anyhow::Result<Vec<(String, String, &'static str)>> {
        let mut found = Vec::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            found = odd_ones(&self.read_subjects(&subjects).await?, &subjects);
            let still: BTreeSet<&String> = found.iter().map(|(subject, ..)| subject).collect();
            subjects = still.into_iter().cloned().collect();
            if subjects.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// What each replica has under these subjects: sequences and digests.
    async fn read_subjects(&self, subjects: &[String]) -> anyhow::Result<BTreeMap<String, ReplicaContent>> {
        let servers = self.readers.iter().map(|reader| reader.server.clone()).collect();
        let reading = Reading {
            from: 1,
            subjects: subjects.to_vec(),
        };
        let mut all = BTreeMap::new();
        for reader in readers(&self.broker, &self.stream, &servers, &reading).await? {
            let server = reader.server.clone();
            let mut content = ReplicaContent::new();
            for message in reader.rest().await? {
                let version = (message.sequence, digest(&message));
                content.entry(message.subject).or_default().push(version);
            }
            all.insert(server, content);
        }
        Ok(all)
    }

    /// Ends the readers, looks for what the leader lists and cannot read, and returns the conditions.
    async fn finish(mut self) -> anyhow::Result<Vec<ReplicaCondition>> {
        for reader in std::mem::take(&mut self.readers) {
            let skipped = reader.skipped;
            if let Some(condition) = self.conditions.get_mut(&reader.server) {
                // Such a message is parked by whoever hears it; its headers are all that is not compared.
                condition.messages += skipped;
            }
            if reader.server == self.leader {
                self.counted += skipped;
            }
            self.unread_by_leader(&reader).await?;
            reader.end().await;
        }
        Ok(self.conditions.into_values().collect())
    }

    /// Reports the subjects that the leader lists (from its index) and cannot read: all that one replica can tell of itself.
    async fn unread_by_leader(&mut self, reader: &ReplicaReader) -> anyhow::Result<()> {
        let state = &self.stream.cached_info().state;
        if reader.server != self.leader || self.confirmed > 0 || self.counted >= state.messages {
            return Ok(());
        }
        self.subjects_read.sort_unstable();
        let candidates = self.unread_subjects().await?;
        let servers = BTreeSet::from([self.leader.clone()]);
        for some in candidates.chunks(AGAIN_AT_ONCE) {
            let reading = Reading {
                from: 1,
                subjects: some.to_vec(),
            };
            let mut there = BTreeSet::new();
            for reader in readers(&self.broker, &self.stream, &servers, &reading).await? {
                // One with headers that the client cannot read was stepped over.
                if reader.skipped > 0 {
                    return Ok(());
                }
                there.extend(reader.rest().await?.into_iter().map(|message| message.subject));
            }
            for subject in some.iter().filter(|subject| !there.contains(*subject)) {
                // Unless it was deleted meanwhile.
                if self.listed(subject, 0).await?.state.subjects.is_empty()
                    || self.has_unreadable_headers(subject).await?
                {
                    continue;
                }
                if let Some(condition) = self.conditions.get_mut(&self.leader) {
                    condition
                        .differences
                        .add(format!("{subject}: listed, and cannot be read"));
                }
            }
        }
        Ok(())
    }

    async fn has_unreadable_headers(&self, subject: &str) -> anyhow::Result<bool> {
        let found = self.broker.unreadable_next(&self.name, subject, 1).await?;
        Ok(found.is_some())
    }

    /// The subjects that the leader lists and of which nothing was read, at most [`MAX_DIFFERENCES`].
    async fn unread_subjects(&self) -> anyhow::Result<Vec<String>> {
        let mut unread = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.listed(">", offset).await?;
            let listed = page.state.subjects;
            offset += listed.len();
            let is_last = listed.is_empty() || offset >= page.total;
            let is_read = |subject: &String| self.subjects_read.binary_search(&hash(subject)).is_ok();
            unread.extend(listed.into_keys().filter(|subject| !is_read(subject)));
            if is_last || unread.len() >= MAX_DIFFERENCES {
                unread.truncate(MAX_DIFFERENCES);
                return Ok(unread);
            }
        }
    }

    /// One page of the leader's list of subjects.
    async fn listed(&self, filter: &str, offset: usize) -> anyhow::Result<SubjectPage> {
        let ask = json!({ "subjects_filter": filter, "offset": offset });
        let api = format!("STREAM.INFO.{}", self.name);
        Ok(self.broker.ask(&api, &ask).await?)
    }
}

#[derive(Deserialize)]
struct SubjectPage {
    #[serde(default)]
    total: usize,
    state: SubjectCounts,
}

#[derive(Deserialize)]
struct SubjectCounts {
    #[serde(default)]
    subjects: HashMap<String, u64>,
}

/// What a replica has, by subject: sequences and digests.
type ReplicaContent = HashMap<String, Vec<(u64, u64)>>;

/// What the replicas have under one sequence: each version, its digest, and how many replicas have it.
#[derive(Default)]
struct Versions(Vec<(u64, StoredMessage, usize)>);

impl Versions {
    fn add(&mut self, message: StoredMessage) {
        let digest = digest(&message);
        match self.0.iter_mut().find(|(known, ..)| *known == digest) {
            Some((.., count)) => *count += 1,
            None => self.0.push((digest, message, 1)),
        }
    }

    fn agree(&self, replicas: usize) -> bool {
        matches!(self.0.as_slice(), [(.., count)] if *count == replicas)
    }

    fn subjects(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(_, message, _)| message.subject.clone())
    }

    /// The version that most replicas have.
    fn usual(self) -> Option<StoredMessage> {
        let most = self.0.into_iter().max_by_key(|(.., count)| *count);
        most.map(|(_, message, _)| message)
    }
}

/// The servers that have a subject otherwise than most of those that have it. Without a majority none of them is right for sure, and
/// all that have something are named; who has nothing lacks it.
fn odd_ones(
    all: &BTreeMap<String, ReplicaContent>,
    subjects: &[String],
) -> Vec<(String, String, &'static str)> {
    let mut odd = Vec::new();
    for subject in subjects {
        let of = |content: &ReplicaContent| content.get(subject).cloned().unwrap_or_default();
        let mut votes: BTreeMap<Vec<(u64, u64)>, usize> = BTreeMap::new();
        for content in all.values().map(of).filter(|content| !content.is_empty()) {
            *votes.entry(content).or_default() += 1;
        }
        let most = votes.values().max().copied().unwrap_or_default();
        let mut winners = votes.iter().filter(|(_, count)| **count == most);
        let right = match (winners.next(), winners.next()) {
            (Some((right, _)), None) => Some(right),
            _ => None,
        };
        if right.is_none() && votes.is_empty() {
            continue;
        }
        for (server, content) in all {
            let content = of(content);
            if right == Some(&content) {
                continue;
            }
            let what = if content.is_empty() {
                "missing, or cannot be read"
            } else {
                "not what other replicas have"
            };
            odd.push((subject.clone(), server.clone(), what));
        }
    }
    odd
}

fn hash(subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

/// The digest of a message with everything that every replica has to have alike.
fn digest(message: &StoredMessage) -> u64 {
    let mut headers: Vec<(String, Vec<&str>)> = message
        .headers
        .iter()
        .map(|(name, values)| {
            (
                name.to_string(),
                values.iter().map(|value| value.as_str()).collect(),
            )
        })
        .collect();
    headers.sort();
    let mut hasher = DefaultHasher::new();
    (&message.subject, message.sequence, headers, &message.body).hash(&mut hasher);
    let time: Timestamp = message.time;
    time.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(versions: [&[(u64, u64)]; 3]) -> BTreeMap<String, ReplicaContent> {
        let content = |version: &[(u64, u64)]| match version {
            [] => ReplicaContent::new(),
            some => ReplicaContent::from([("a".to_owned(), some.to_vec())]),
        };
        let names = ["n0", "n1", "n2"].map(str::to_owned);
        names.into_iter().zip(versions.map(content)).collect()
    }

    #[track_caller]
    fn assert_odd(versions: [&[(u64, u64)]; 3], expected: &[&str]) {
        let odd = odd_ones(&replicas(versions), &["a".to_owned()]);
        let servers: Vec<&str> = odd.iter().map(|(_, server, _)| server.as_str()).collect();
        assert_eq!(servers, expected);
    }

    #[test]
    fn who_differs_from_most_is_named() {
        assert_odd([&[(1, 7)], &[(1, 7)], &[(1, 7)]], &[]);
        assert_odd([&[(1, 7)], &[(1, 8)], &[(1, 7)]], &["n1"]);
        assert_odd([&[(1, 7)], &[(1, 7)], &[]], &["n2"]);
        // An entry that can be read was written: those that cannot read it have lost it, also if they are more.
        assert_odd([&[(1, 7)], &[], &[]], &["n1", "n2"]);
        assert_odd([&[(1, 7)], &[(1, 8)], &[]], &["n0", "n1", "n2"]);
        // Deleted everywhere meanwhile.
        assert_odd([&[], &[], &[]], &[]);
    }
}
