//! What an instance remembers between groups: states of orders (or other aggregates), and records of the ledger, each with the
//! revision that the next commit has to name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;
use quadrille_decision::{MAX_LAG, Reads};
use quadrille_events::AggregateId;

use crate::engine::store::{KnownState, RecordRevision};

/// The states that an instance remembers, of about 0.6 KB each: more than are in flight in `just bench`.
const MAX_STATES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The most records that an instance remembers before it forgets them all and reads anew.
const MAX_RECORDS: usize = 65_536;

/// The memory of one instance. Whatever is in it may be stale: the broker's check finds out.
pub(crate) struct Memory<T, R> {
    states: LruCache<AggregateId, KnownState<T>>,
    pub ledger: LedgerMemory<R>,
}

impl<T: Clone, R: Clone> Memory<T, R> {
    pub fn new() -> Self {
        Self {
            states: LruCache::new(MAX_STATES),
            ledger: LedgerMemory::default(),
        }
    }

    pub fn recall(&mut self, about: &AggregateId) -> Option<KnownState<T>> {
        self.states.get(about).cloned()
    }

    /// Remembers a state after its last event was stored at `sequence`.
    pub fn remember(&mut self, about: &AggregateId, state: &KnownState<T>, sequence: u64) {
        let state = KnownState {
            sequence,
            ..state.clone()
        };
        self.states.put(about.clone(), state);
    }

    pub fn forget(&mut self, about: &AggregateId) {
        self.states.pop(about);
    }
}

/// The revision of a record, and when the record was known to be the newest: when it was read or written.
#[derive(Clone, Copy)]
struct SeenRevision {
    revision: u64,
    at: Instant,
}

impl SeenRevision {
    fn now(revision: u64) -> Self {
        let at = Instant::now();
        Self { revision, at }
    }
}

/// The records an instance remembers, and what the group in progress makes of them.
pub(crate) struct LedgerMemory<R> {
    records: BTreeMap<String, R>,
    seen: HashMap<String, SeenRevision>,
    /// The prefixes under which every record is known.
    whole: HashSet<&'static str>,
    /// What the group in progress has changed: the record before.
    changed: BTreeMap<String, Option<R>>,
}

impl<R> Default for LedgerMemory<R> {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            seen: HashMap::new(),
            whole: HashSet::new(),
            changed: BTreeMap::new(),
        }
    }
}

impl<R: Clone> LedgerMemory<R> {
    /// The records that are known.
    pub fn records(&self) -> &BTreeMap<String, R> {
        &self.records
    }

    /// Whether everything that `reads` names is known.
    pub fn holds(&self, reads: &Reads) -> bool {
        match reads {
            Reads::Nothing => true,
            Reads::Keys(keys) => keys.iter().all(|key| self.seen.contains_key(key)),
            Reads::All(prefix) => self.whole.contains(prefix),
            Reads::Lagging(keys) => keys.iter().all(|key| self.holds_recent(key)),
        }
    }

    /// Whether the record was read or written within [`MAX_LAG`]. Another instance may have written it since, which no check of
    /// the broker finds out.
    pub fn holds_recent(&self, key: &str) -> bool {
        self.seen
            .get(key)
            .is_some_and(|seen| seen.at.elapsed() <= MAX_LAG)
    }

    /// Takes in what was read for `reads`.
    pub fn learn(&mut self, reads: &Reads, read: BTreeMap<String, RecordRevision<R>>) {
        for (key, read) in read {
            self.seen.insert(key.clone(), SeenRevision::now(read.revision));
            match read.record {
                Some(record) => drop(self.records.insert(key, record)),
                None => drop(self.records.remove(&key)),
            }
        }
        if let Reads::All(prefix) = reads {
            self.whole.insert(prefix);
        }
    }

    /// Changes a record for the group in progress; `None` removes it.
    pub fn change(&mut self, key: String, record: Option<R>) {
        let before = match record {
            Some(record) => self.records.insert(key.clone(), record),
            None => self.records.remove(&key),
        };
        self.changed.entry(key).or_insert(before);
    }

    /// How many records the group in progress changes.
    pub fn changes(&self) -> usize {
        self.changed.len()
    }

    /// The records that the group in progress changes: key, new record (`None` if it is removed), and the revision to check.
    pub fn changed(&self) -> impl Iterator<Item = (&str, Option<&R>, u64)> {
        self.changed.keys().map(|key| {
            let revision = self.seen.get(key).map_or(0, |seen| seen.revision);
            (key.as_str(), self.records.get(key), revision)
        })
    }

    /// The group is stored, this record at `revision`.
    pub fn stored(&mut self, key: &str, revision: u64) {
        self.seen.insert(key.to_owned(), SeenRevision::now(revision));
        self.changed.remove(key);
    }

    /// Takes back what the group in progress has changed.
    pub fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.changed) {
            match before {
                Some(record) => drop(self.records.insert(key, record)),
                None => drop(self.records.remove(&key)),
            }
        }
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets everything once there is too much of it. Only between groups. Counts revisions: a record that does not exist
    /// has one, too.
    pub fn trim(&mut self) {
        if self.seen.len() > MAX_RECORDS {
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_may_lag_is_read_again_once_it_is_too_old() {
        let (lagging, newest) = (
            Reads::Lagging(vec!["price".to_owned()]),
            Reads::Keys(vec!["price".to_owned()]),
        );
        let mut ledger = LedgerMemory::<u64>::default();
        assert!(!ledger.holds(&lagging));
        let there = RecordRevision {
            record: Some(250),
            revision: 7,
        };
        let read = BTreeMap::from([("price".to_owned(), there)]);
        ledger.learn(&lagging, read.clone());
        assert!(ledger.holds(&lagging) && ledger.holds(&newest));

        let age = |ledger: &mut LedgerMemory<u64>| {
            let seen = ledger.seen.get_mut("price").expect("it was read");
            seen.at = seen.at.checked_sub(2 * MAX_LAG).expect("the clock is old enough");
        };
        age(&mut ledger);
        assert!(!ledger.holds(&lagging), "another instance may have written it");
        assert!(ledger.holds(&newest), "the check of the commit finds that out");
        ledger.learn(&lagging, read);
        assert!(ledger.holds(&lagging));

        // What the instance itself has written is the newest at that moment.
        age(&mut ledger);
        ledger.change("price".to_owned(), Some(270));
        ledger.stored("price", 8);
        assert!(ledger.holds(&lagging));
    }
}
