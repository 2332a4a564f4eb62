//! The invariants of the ledgers: stock and couriers' load, compared with what the orders hold.

use std::collections::BTreeMap;
use std::fmt::Display;

use quadrille_events::{CourierId, ItemId};

use crate::order_file::OrderFile;
use crate::records::LedgerRecord;
use crate::report::Found;
use crate::snapshot::Snapshot;

pub(crate) fn stock_adds_up(snapshot: &Snapshot) -> Found {
    let mut held: BTreeMap<&ItemId, u64> = BTreeMap::new();
    for file in snapshot.orders.values().filter(|file| file.facts.holds_stock()) {
        for line in &file.order.lines {
            *held.entry(&line.item_id).or_default() += u64::from(line.quantity);
        }
    }
    adds_up(snapshot, "item", &snapshot.stock, &held)
}

pub(crate) fn loads_add_up(snapshot: &Snapshot) -> Found {
    let mut held: BTreeMap<&CourierId, u64> = BTreeMap::new();
    for courier in snapshot.orders.values().filter_map(OrderFile::courier) {
        *held.entry(courier).or_default() += 1;
    }
    adds_up(snapshot, "courier", &snapshot.couriers, &held)
}

/// Checks that each record is within its limit and used by exactly what the orders hold. Where the first entries of the
/// order bucket have gone, orders that are not known any more may hold the difference.
fn adds_up<K: Ord + Display>(
    snapshot: &Snapshot,
    what: &str,
    ledger: &BTreeMap<K, LedgerRecord>,
    held: &BTreeMap<&K, u64>,
) -> Found {
    let mut found = Found::new();
    for (key, LedgerRecord { limit, used, .. }) in ledger {
        let held = held.get(key).copied().unwrap_or_default();
        if used > limit {
            found.push(format!(
                "{what} {key} is used {used} times, and there are only {limit}"
            ));
        }
        let agrees = if snapshot.orders_since.is_some() {
            *used >= held
        } else {
            *used == held
        };
        if !agrees {
            found.push(format!(
                "{what} {key} is used {used} times by its ledger, and {held} times by the orders"
            ));
        }
    }
    let unknown = held.iter().filter(|(key, _)| !ledger.contains_key(**key));
    found.extend(
        unknown.map(|(key, held)| format!("{what} {key} has no ledger, and orders use it {held} times")),
    );
    found
}
