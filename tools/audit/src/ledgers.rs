//! The invariants of the ledgers: stock and couriers' load, compared with what the orders hold.

use std::collections::BTreeMap;
use std::fmt::Display;

use quadrille_events::{CourierId, ItemId, OrderId};

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
    adds_up("item", &snapshot.stock, &held)
}

pub(crate) fn loads_add_up(snapshot: &Snapshot) -> Found {
    let mut held: BTreeMap<&CourierId, u64> = BTreeMap::new();
    for courier in snapshot.orders.values().filter_map(OrderFile::courier) {
        *held.entry(courier).or_default() += 1;
    }
    let mut found = adds_up("courier", &snapshot.couriers, &held);
    for (courier, record) in &snapshot.couriers {
        let carries = |order: &&OrderId| {
            let file = snapshot.orders.get(order);
            file.and_then(OrderFile::courier) == Some(courier)
        };
        // Of an order whose entries have gone, nobody knows.
        let is_known =
            |order: &&OrderId| snapshot.orders_since.is_none() || snapshot.orders.contains_key(order);
        let wrong = record
            .listed
            .iter()
            .filter(|order| is_known(order) && !carries(order));
        found.extend(
            wrong.map(|order| format!("courier {courier} lists order {order} and does not carry it")),
        );
        let listed = record.listed.len() as u64;
        if listed > record.used {
            found.push(format!(
                "courier {courier} lists {listed} orders, and carries {}",
                record.used
            ));
        }
    }
    found
}

/// Checks that each record is within its limit and used by exactly what the orders hold, also where orders have gone: one that holds
/// something does not expire.
fn adds_up<K: Ord + Display>(
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
        if *used != held {
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
