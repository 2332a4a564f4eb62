//! The bucket of one service: what it has said and recorded, read back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_nats::header;
use jiff::Timestamp;
use quadrille_decision::{Reads, Service};
use quadrille_events::{AggregateId, AggregateKind, Contract, Lifetime, Said, split_entry};

use crate::nats::streams::bucket_stream;
use crate::nats::{Broker, MAX_MULTI_GET, ReadError, StoredMessage};
use crate::telemetry::meters::Meters;

/// The most entries that one order (or other aggregate) can have in one bucket, with room: how many of them fit in a multi-get.
const MAX_ENTRIES: usize = 8;

/// What is known of an order (or other aggregate) in this service.
#[derive(Clone, Debug)]
pub(crate) struct KnownState<T> {
    /// The fold of the entries.
    pub state: T,
    /// The sequence of the last entry; 0 if there is none. The next commit has to name it.
    pub sequence: u64,
    /// When the first event was decided, or stored.
    pub since: Option<Timestamp>,
}

impl<T: Default> Default for KnownState<T> {
    fn default() -> Self {
        Self {
            state: T::default(),
            sequence: 0,
            since: None,
        }
    }
}

/// A record of the ledger as last read.
#[derive(Clone, Debug)]
pub(crate) struct RecordRevision<R> {
    /// `None` if there is none by this key.
    pub record: Option<R>,
    /// Its sequence; 0 if there is none.
    pub revision: u64,
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The broker does not answer now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry is not what its name says. Waiting does not help.
    #[error("the entry {subject} (sequence {sequence}) cannot be read: {problem}")]
    Unreadable {
        subject: String,
        sequence: u64,
        problem: String,
    },
    /// An entry was decided on an earlier one that the broker does not return: damaged on the replica that answers, perhaps whole on
    /// another. Waiting helps if another replica leads.
    #[error(
        "the entry {subject} was decided on the entry at sequence {missing}, which cannot be read: a replica of {stream} may be damaged"
    )]
    Incomplete {
        subject: String,
        missing: u64,
        stream: String,
    },
}

/// The states that were asked for, each or why it cannot be read.
type States<T> = HashMap<AggregateId, Result<KnownState<T>, StateError>>;

/// The bucket of one service.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub broker: Broker,
    pub contract: Contract,
    pub service: &'static str,
    pub stream: String,
    pub replicas: usize,
    /// How long an entry lives; `None` is for ever.
    pub retention: Option<Duration>,
    pub meters: Arc<Meters>,
}

impl Store {
    pub fn new(
        broker: Broker,
        contract: Contract,
        service: &'static str,
        replicas: usize,
        retention: Option<Duration>,
    ) -> Self {
        Self {
            broker,
            contract,
            service,
            stream: bucket_stream(service),
            replicas,
            retention,
            meters: Arc::new(Meters::of(service)),
        }
    }

    /// The states of these aggregates, none older than this call. One whose entries make no sense has an error of its own and
    /// does not spoil the others.
    pub async fn states<S: Service>(&self, wanted: &[AggregateId]) -> Result<States<S::State>, ReadError> {
        let mut states: States<S::State> = wanted
            .iter()
            .map(|about| (about.clone(), Ok(KnownState::default())))
            .collect();
        for chunk in wanted.chunks(MAX_MULTI_GET / MAX_ENTRIES) {
            match self.fold_entries::<S>(chunk, &mut states).await {
                Ok(()) => {}
                // One of them has far more entries than there are events. The others are not to suffer from it.
                Err(ReadError::TooMany(_)) => self.fold_one_by_one::<S>(chunk, &mut states).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(states)
    }

    async fn fold_entries<S: Service>(
        &self,
        wanted: &[AggregateId],
        states: &mut States<S::State>,
    ) -> Result<(), ReadError> {
        let filters: Vec<_> = wanted
            .iter()
            .map(|about| entries_of(self.service, about))
            .collect();
        let entries = self.broker.fresh_get(&self.stream, &filters, self.replicas);
        let mut entries_by_aggregate: HashMap<AggregateId, Vec<StoredMessage>> = HashMap::new();
        for entry in entries.await? {
            if let Some(about) = self.aggregate_of(&entry) {
                entries_by_aggregate.entry(about).or_default().push(entry);
            }
        }
        for (about, entries) in entries_by_aggregate {
            if let Some(state) = states.get_mut(&about) {
                *state = self.fold::<S>(about.kind(), &entries);
            }
        }
        Ok(())
    }

    /// The fold of all entries of one aggregate, oldest first.
    fn fold<S: Service>(
        &self,
        kind: AggregateKind,
        entries: &[StoredMessage],
    ) -> Result<KnownState<S::State>, StateError> {
        if let Some((entry, missing)) = self.missing_predecessor(kind, entries) {
            return Err(StateError::Incomplete {
                subject: entry.subject.clone(),
                missing,
                stream: self.stream.clone(),
            });
        }
        let mut known = KnownState::default();
        for entry in entries {
            fold_entry::<S>(&mut known, entry)?;
        }
        Ok(known)
    }

    /// The first entry that was decided on an entry which is not there, and the sequence of that one. Each entry names the last one before
    /// it, because the broker checked it. Three things may be missing without damage: an entry that was rewritten, one that a KV
    /// client deleted, and the first entries of an old order, which expire before the later ones (an order that is still open
    /// does not get that old: [`crate::engine::retention`]).
    fn missing_predecessor<'e>(
        &self,
        kind: AggregateKind,
        entries: &'e [StoredMessage],
    ) -> Option<(&'e StoredMessage, u64)> {
        let mut names = self.contract.names();
        let rewrites = names.any(|name| {
            name.service == self.service && name.about == kind && name.lifetime == Lifetime::Latest
        });
        let expires = |entry: &StoredMessage| {
            let age = Duration::try_from(Timestamp::now().duration_since(entry.time)).unwrap_or_default();
            self.retention.is_some_and(|retention| age >= retention / 2)
        };
        if rewrites || entries.first().is_some_and(expires) || entries.iter().any(StoredMessage::is_deleted) {
            return None;
        }
        entries.iter().enumerate().find_map(|(position, entry)| {
            let checked = entry.header(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref())?;
            let before: u64 = checked.parse().ok()?;
            let there = before == 0 || entries[..position].iter().any(|e| e.sequence == before);
            (!there).then_some((entry, before))
        })
    }

    async fn fold_one_by_one<S: Service>(
        &self,
        wanted: &[AggregateId],
        states: &mut States<S::State>,
    ) -> Result<(), ReadError> {
        for about in wanted {
            match self.fold_entries::<S>(std::slice::from_ref(about), states).await {
                Ok(()) => {}
                Err(ReadError::TooMany(problem)) => {
                    let error = StateError::Unreadable {
                        subject: entries_of(self.service, about),
                        sequence: 0,
                        problem,
                    };
                    states.insert(about.clone(), Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What an entry of this bucket is about: by the shape of its name alone, because a name that the service does not know is
    /// unreadable, not absent.
    pub fn aggregate_of(&self, entry: &StoredMessage) -> Option<AggregateId> {
        let (_, key, id) = split_entry(&entry.subject)?;
        let kind = match key.split_once('.') {
            None => AggregateKind::ORDER,
            Some((kind, _)) => {
                let mut names = self.contract.names();
                names.find(|name| name.about.token() == Some(kind))?.about
            }
        };
        AggregateId::new(kind, id).ok()
    }

    /// The records that `reads` names, by key, none older than this call.
    pub async fn records<S: Service>(
        &self,
        reads: &Reads,
    ) -> Result<BTreeMap<String, RecordRevision<S::Record>>, StateError> {
        let mut records = BTreeMap::new();
        let prefix = format!("$KV.{}.", self.service);
        let filters: Vec<String> = match reads {
            Reads::Nothing => return Ok(records),
            Reads::Keys(keys) | Reads::Lagging(keys) => {
                let absent = |key: &String| {
                    let absent = RecordRevision {
                        record: None,
                        revision: 0,
                    };
                    (key.clone(), absent)
                };
                records.extend(keys.iter().map(absent));
                keys.iter().map(|key| format!("{prefix}{key}")).collect()
            }
            Reads::All(all) => vec![format!("{prefix}{all}.*")],
        };
        for entry in self.entries(&filters).await? {
            let Some(key) = entry.subject.strip_prefix(&prefix) else {
                continue;
            };
            let record = if entry.is_deleted() {
                None
            } else {
                Some(serde_json::from_slice(&entry.body).map_err(|e| unreadable(&entry, e.to_string()))?)
            };
            let revision = entry.sequence;
            records.insert(key.to_owned(), RecordRevision { record, revision });
        }
        Ok(records)
    }

    /// The newest entry of each subject that matches one of these filters, however many there are.
    async fn entries(&self, filters: &[String]) -> Result<Vec<StoredMessage>, ReadError> {
        let mut entries = Vec::new();
        for chunk in filters.chunks(MAX_MULTI_GET) {
            match self.broker.fresh_get(&self.stream, chunk, self.replicas).await {
                Ok(found) => entries.extend(found),
                Err(ReadError::TooMany(_)) => {
                    for filter in chunk {
                        entries.extend(self.broker.get_all(&self.stream, filter, self.replicas).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

/// All entries about an aggregate in the bucket of `service`: `$KV.payment.*.<order_id>`, `$KV.inventory.item.*.<item_id>`.
pub(crate) fn entries_of(service: &str, about: &AggregateId) -> String {
    match about.kind().token() {
        None => format!("$KV.{service}.*.{about}"),
        Some(kind) => format!("$KV.{service}.{kind}.*.{about}"),
    }
}

/// Folds one entry into the state that it belongs to.
fn fold_entry<S: Service>(known: &mut KnownState<S::State>, entry: &StoredMessage) -> Result<(), StateError> {
    let Some((_, key, _)) = split_entry(&entry.subject) else {
        return Ok(());
    };
    known.sequence = entry.sequence;
    known.since.get_or_insert(entry.time);
    if !entry.is_deleted() {
        let said = S::Said::decode(key, &entry.body);
        S::fold(
            &mut known.state,
            &said.map_err(|problem| unreadable(entry, problem.to_string()))?,
        );
    }
    Ok(())
}

fn unreadable(entry: &StoredMessage, problem: String) -> StateError {
    StateError::Unreadable {
        subject: entry.subject.clone(),
        sequence: entry.sequence,
        problem,
    }
}
