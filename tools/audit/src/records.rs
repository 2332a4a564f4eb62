//! The records of the ledgers, as inventory and delivery store them.

use std::collections::BTreeMap;
use std::fmt::Display;

use quadrille_events::OrderId;
use quadrille_runtime::operator::Entry;
use serde::Deserialize;

/// A record of a ledger: how much there is, and how much of it is in use.
pub(crate) struct LedgerRecord {
    pub limit: u64,
    pub used: u64,
    /// The orders that use it, as far as the record lists them.
    pub listed: Vec<OrderId>,
    /// Whether nothing more may be used.
    pub closed: bool,
}

/// The record of an item, as inventory stores it.
#[derive(Deserialize)]
pub(crate) struct ItemStock {
    quantity: u64,
    reserved: u64,
    #[serde(default)]
    withdrawn: bool,
}

/// The record of a courier, as delivery stores it.
#[derive(Deserialize)]
pub(crate) struct CourierLoad {
    capacity: u64,
    load: u64,
    #[serde(default)]
    orders: Vec<OrderId>,
}

impl From<ItemStock> for LedgerRecord {
    fn from(stock: ItemStock) -> Self {
        Self {
            limit: stock.quantity,
            used: stock.reserved,
            listed: Vec::new(),
            closed: stock.withdrawn,
        }
    }
}

impl From<CourierLoad> for LedgerRecord {
    fn from(load: CourierLoad) -> Self {
        Self {
            limit: load.capacity,
            used: load.load,
            listed: load.orders,
            closed: false,
        }
    }
}

/// Files a record of a ledger under its key.
pub(crate) fn file_record<'a, R, K>(
    entry: &'a Entry,
    key: &str,
    ledger: &mut BTreeMap<K, LedgerRecord>,
) -> Result<(), String>
where
    R: Deserialize<'a> + Into<LedgerRecord>,
    K: std::str::FromStr<Err: Display> + Ord,
{
    let key = key.parse().map_err(|problem| format!("`{key}` {problem}"))?;
    let record: R = serde_json::from_slice(&entry.body).map_err(|problem| problem.to_string())?;
    ledger.insert(key, record.into());
    Ok(())
}
