//! The ledger as an instance remembers it: stock, couriers' loads, with the revisions that its next commit has to name.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::engine::store::Seen;
use quadrille_decision::Reads;

/// The most records that an instance remembers before it forgets them all and reads anew.
const MAX_REMEMBERED_RECORDS: usize = 65_536;

/// The records an instance remembers, and what the group in hand makes of them.
pub(crate) struct Ledger<R> {
    pub records: BTreeMap<String, R>,
    pub revisions: HashMap<String, u64>,
    pub whole: HashSet<&'static str>,
    /// What the group in hand has changed: the record before.
    pub changed: BTreeMap<String, Option<R>>,
}

impl<R> Default for Ledger<R> {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            revisions: HashMap::new(),
            whole: HashSet::new(),
            changed: BTreeMap::new(),
        }
    }
}

impl<R: Clone> Ledger<R> {
    pub fn holds(&self, reads: &Reads) -> bool {
        match reads {
            Reads::Nothing => true,
            Reads::Keys(keys) => keys.iter().all(|key| self.revisions.contains_key(key)),
            Reads::All(prefix) => self.whole.contains(prefix),
        }
    }

    pub fn learn(&mut self, reads: &Reads, seen: BTreeMap<String, Seen<R>>) {
        for (key, seen) in seen {
            self.revisions.insert(key.clone(), seen.revision);
            match seen.record {
                Some(record) => drop(self.records.insert(key, record)),
                None => drop(self.records.remove(&key)),
            }
        }
        if let Reads::All(prefix) = reads {
            self.whole.insert(prefix);
        }
    }

    pub fn change(&mut self, key: String, record: R) {
        let before = self.records.insert(key.clone(), record);
        self.changed.entry(key).or_insert(before);
    }

    /// As before the group in hand.
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

    pub fn trim(&mut self) {
        if self.records.len() > MAX_REMEMBERED_RECORDS {
            self.forget();
        }
    }
}
