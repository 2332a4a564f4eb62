//! The prices that the shop has asked, from the events about items.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_events::{
    Body, Currency, Event, EventName, InventoryEvent, Item, ItemId, ItemListed, ItemUpdated, ItemWithdrawn,
    Money, TypedId,
};
use quadrille_runtime::operator::Entry;

/// The prices that the shop has asked for one item.
pub(crate) struct PriceHistory {
    /// When the first of them was stored.
    pub since: Timestamp,
    /// The price of each version of the item.
    prices: BTreeMap<u64, (Money, Currency)>,
}

impl PriceHistory {
    /// Whether all versions are known. The bucket has the newest only; a log that was rebuilt from the buckets has no more.
    pub fn is_whole(&self) -> bool {
        let newest = self.prices.last_key_value().map_or(0, |(version, _)| *version);
        usize::try_from(newest).is_ok_and(|versions| versions == self.prices.len())
    }

    pub fn has(&self, price: Money, currency: Currency) -> bool {
        self.prices.values().any(|known| *known == (price, currency))
    }
}

/// The price histories of all items.
pub(crate) type PriceHistories = BTreeMap<ItemId, PriceHistory>;

/// Adds what an event about an item says of its price. `event` was stored as `entry`.
pub(crate) fn file_price(entry: &Entry, event: &Event, histories: &mut PriceHistories) {
    let Some((item_id, version, item)) = item_of(event) else {
        return;
    };
    let history = histories.entry(item_id.clone()).or_insert_with(|| PriceHistory {
        since: entry.time,
        prices: BTreeMap::new(),
    });
    history.since = history.since.min(entry.time);
    history.prices.insert(version, (item.price, item.currency));
}

/// The item that an event is about, and its version.
pub(crate) fn item_of(event: &Event) -> Option<(&ItemId, u64, &Item)> {
    let Event::Inventory(event) = event else {
        return None;
    };
    match event {
        InventoryEvent::ItemListed(ItemListed {
            item_id,
            version,
            item,
        })
        | InventoryEvent::ItemUpdated(ItemUpdated {
            item_id,
            version,
            item,
        })
        | InventoryEvent::ItemWithdrawn(ItemWithdrawn {
            item_id,
            version,
            item,
        }) => Some((item_id, *version, item)),
        InventoryEvent::Reserved(_) | InventoryEvent::ReservationFailed(_) | InventoryEvent::Released(_) => {
            None
        }
    }
}

/// Whether it is the name of an event about items.
pub(crate) fn is_about_items(name: &EventName) -> bool {
    name.service == ItemListed::NAME.service && name.about == ItemId::KIND
}
