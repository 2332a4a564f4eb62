//! The decisions of the inventory service: what it does with each input in each state.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Charged, Created, Delivered, Flow, InventoryEvent, Item, ItemId, ItemListed, ItemPhoto,
    ItemUpdated, ItemWithdrawn, Order, OrderCancelled, Released, ReservationFailed, Reserved, Shipped,
    TypedId,
};
use serde::{Deserialize, Serialize};

use crate::InventoryService;
use crate::item::{Expected, ItemChange};

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    None,
    /// All lines are reserved.
    Reserved { order: Arc<Order> },
    /// Nothing is reserved. Final.
    Failed { order: Arc<Order>, reason: String },
    /// The reserved stock is available again. Final.
    Released { order: Arc<Order> },
    /// The reserved stock has left the shop. Final.
    Shipped { order: Arc<Order> },
    /// The shop offers the item.
    Listed { version: u64, item: Arc<Item> },
    /// The item is not offered any more. Final.
    Withdrawn { version: u64, item: Arc<Item> },
}

#[derive(Clone, Debug)]
pub enum Input {
    /// Stock for the order's lines is to be reserved.
    Reserve {
        order: Arc<Order>,
        /// Whether the simulation lets the reservation fail.
        fails: bool,
    },
    /// The order is delivered.
    Delivered(Arc<Order>),
    /// The order is cancelled.
    Cancelled {
        order: Arc<Order>,
        /// Whether a reservation was ever requested: the request may still be in flight.
        asked: bool,
    },
    /// Command: lists an item, or replaces what is said of a listed one. A quantity alone changes only the quantity.
    Put {
        item_id: ItemId,
        change: ItemChange,
        expected: Expected,
    },
    /// Command: changes some fields of a listed item.
    Change {
        item_id: ItemId,
        change: ItemChange,
        expected: Expected,
    },
    /// Command: the item is not offered any more.
    Withdraw { item_id: ItemId, expected: Expected },
    /// Command: the item has this photo, whose bytes are stored; or none.
    SetPhoto {
        item_id: ItemId,
        photo: Option<ItemPhoto>,
        expected: Expected,
    },
}

impl State {
    /// The state's name in HTTP answers.
    pub fn name(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Reserved { .. } => "reserved",
            State::Failed { .. } => "failed",
            State::Released { .. } => "released",
            State::Shipped { .. } => "shipped",
            State::Listed { .. } => "listed",
            State::Withdrawn { .. } => "withdrawn",
        }
    }

    /// The item, listed or withdrawn, and its version.
    pub fn item(&self) -> Option<(u64, &Arc<Item>)> {
        match self {
            State::Listed { version, item } | State::Withdrawn { version, item } => Some((*version, item)),
            State::None
            | State::Reserved { .. }
            | State::Failed { .. }
            | State::Released { .. }
            | State::Shipped { .. } => None,
        }
    }
}

/// The stock of one item: a record of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    /// How much is there: put in and not shipped.
    pub quantity: u64,
    /// How much of it is reserved for orders that are not delivered yet.
    pub reserved: u64,
    /// Whether the item is withdrawn. Here and not only in the state of the item, so that a reservation and a withdrawal change
    /// the same record, and the broker refuses the second of two that were decided on the same revision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

impl Stock {
    /// How much can be reserved.
    pub fn available(&self) -> u64 {
        if self.withdrawn {
            return 0;
        }
        self.quantity.saturating_sub(self.reserved)
    }
}

/// The key of the item's record in the ledger.
pub fn key(item_id: &ItemId) -> String {
    format!("stock.item.{item_id}")
}

impl Service for InventoryService {
    type Said = InventoryEvent;
    type State = State;
    type Input = Input;
    type Record = Stock;
    type Ask = Infallible;

    fn wires(&self) -> Vec<Wire<Input>> {
        let simulation = self.simulation;
        let reserve = move |order: Arc<Order>| {
            let fails = simulation.fails(&order.order_id);
            Input::Reserve { order, fails }
        };
        let delivered = Wire::on::<Delivered>(|heard| Input::Delivered(heard.order));
        match self.flow {
            Flow::PayFirst => vec![
                Wire::on::<Charged>(move |heard| reserve(heard.order)),
                Wire::on::<OrderCancelled>(|heard| Input::Cancelled {
                    order: heard.order,
                    asked: heard.charged,
                }),
                delivered,
            ],
            Flow::ReserveFirst => vec![
                Wire::on::<Created>(move |heard| reserve(heard.order)),
                Wire::on::<OrderCancelled>(|heard| Input::Cancelled {
                    order: heard.order,
                    asked: true,
                }),
                delivered,
            ],
        }
    }

    fn about(input: &Input) -> Option<AggregateId> {
        match input {
            Input::Reserve { order, .. } | Input::Delivered(order) | Input::Cancelled { order, .. } => {
                Some(order.order_id.aggregate())
            }
            Input::Put { item_id, .. }
            | Input::Change { item_id, .. }
            | Input::Withdraw { item_id, .. }
            | Input::SetPhoto { item_id, .. } => Some(item_id.aggregate()),
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Reserve { .. } => true,
            Input::Delivered(_)
            | Input::Cancelled { .. }
            | Input::Put { .. }
            | Input::Change { .. }
            | Input::Withdraw { .. }
            | Input::SetPhoto { .. } => false,
        }
    }

    fn reads(input: &Input) -> Reads {
        match input {
            Input::Reserve { order, .. } | Input::Delivered(order) | Input::Cancelled { order, .. } => {
                let items: BTreeSet<_> = order.lines.iter().map(|line| &line.item_id).collect();
                Reads::Keys(items.into_iter().map(key).collect())
            }
            Input::Put { item_id, .. }
            | Input::Change { item_id, .. }
            | Input::Withdraw { item_id, .. }
            | Input::SetPhoto { item_id, .. } => Reads::Keys(vec![key(item_id)]),
        }
    }

    fn fold(state: &mut State, said: &InventoryEvent) {
        *state = match said {
            InventoryEvent::Reserved(Reserved { order }) => State::Reserved { order: order.clone() },
            InventoryEvent::ReservationFailed(ReservationFailed { order, reason }) => State::Failed {
                order: order.clone(),
                reason: reason.clone(),
            },
            InventoryEvent::Released(Released { order }) => State::Released { order: order.clone() },
            InventoryEvent::Shipped(Shipped { order }) => State::Shipped { order: order.clone() },
            InventoryEvent::ItemListed(ItemListed { version, item, .. })
            | InventoryEvent::ItemUpdated(ItemUpdated { version, item, .. }) => State::Listed {
                version: *version,
                item: item.clone(),
            },
            InventoryEvent::ItemWithdrawn(ItemWithdrawn { version, item, .. }) => State::Withdrawn {
                version: *version,
                item: item.clone(),
            },
        };
    }

    // Longer than a screen: one total match, every pair of state and input named.
    fn decide(state: &State, input: &Input, context: &Context<'_, Stock>) -> Decision<Self> {
        match (state, input) {
            // Reserve all lines or none.
            (State::None, Input::Reserve { order, fails: false }) => reserve(order, context.records),
            (State::None, Input::Reserve { order, fails: true }) => Decision::say([ReservationFailed {
                order: order.clone(),
                reason: "the goods are damaged (simulated)".to_owned(),
            }
            .into()]),
            (State::Reserved { .. }, Input::Reserve { .. }) => Decision::Ignore("already reserved"),
            (State::Failed { .. }, Input::Reserve { .. }) => Decision::Ignore("already failed"),
            (State::Released { .. }, Input::Reserve { .. }) => Decision::Ignore("already released"),
            (State::Shipped { .. }, Input::Reserve { .. }) => Decision::Ignore("already shipped"),

            // The courier has handed over the goods.
            (State::None, Input::Delivered(_)) => {
                Decision::Ignore("unknown reservation: its entries are gone")
            }
            (State::Reserved { .. }, Input::Delivered(order)) => ship(order, context.records),
            (State::Failed { .. }, Input::Delivered(_)) => {
                Decision::Ignore("cannot be: what is delivered was reserved")
            }
            (State::Released { .. }, Input::Delivered(_)) => Decision::Ignore(
                "already released: the previous release cancelled the order before the courier arrived",
            ),
            (State::Shipped { .. }, Input::Delivered(_)) => Decision::Ignore("already shipped"),

            // The order is cancelled. If the request is still in flight, it must find the reservation failed.
            (State::None, Input::Cancelled { order, asked: true }) => Decision::say([ReservationFailed {
                order: order.clone(),
                reason: "the order was cancelled before its stock was reserved".to_owned(),
            }
            .into()]),
            (State::None, Input::Cancelled { asked: false, .. }) => Decision::Ignore("nothing was asked for"),
            (State::Reserved { .. }, Input::Cancelled { order, .. }) => release(order, context.records),
            (State::Failed { .. }, Input::Cancelled { .. }) => Decision::Ignore("nothing is reserved"),
            (State::Released { .. }, Input::Cancelled { .. }) => Decision::Ignore("already released"),
            (State::Shipped { .. }, Input::Cancelled { .. }) => Decision::Ignore(
                "already shipped: the previous release cancelled the order before the courier arrived",
            ),

            // The shop owner lists an item, or changes it.
            (
                State::None,
                Input::Put {
                    item_id,
                    change,
                    expected,
                },
            ) => list(item_id, change, expected, context.records),
            (
                State::Listed { version, item },
                Input::Put {
                    item_id,
                    change,
                    expected,
                },
            ) => {
                let listed = ListedItem::new(item_id, *version, item, context.records);
                if change.is_quantity_alone() {
                    listed.change(change, expected, Unconditionally::Allowed)
                } else {
                    listed.replace(change, expected)
                }
            }
            (State::None, Input::Change { item_id, .. }) => not_found(item_id),
            (
                State::Listed { version, item },
                Input::Change {
                    item_id,
                    change,
                    expected,
                },
            ) => ListedItem::new(item_id, *version, item, context.records).change(
                change,
                expected,
                Unconditionally::Refused,
            ),
            (State::None, Input::SetPhoto { item_id, .. }) => not_found(item_id),
            (
                State::Listed { version, item },
                Input::SetPhoto {
                    item_id,
                    photo,
                    expected,
                },
            ) => ListedItem::new(item_id, *version, item, context.records).set_photo(photo.clone(), expected),
            (
                State::Withdrawn { .. },
                Input::Put { item_id, .. } | Input::Change { item_id, .. } | Input::SetPhoto { item_id, .. },
            ) => Decision::Refuse(Refusal::Conflict(format!(
                "`{item_id}` is withdrawn for good; list it under another id"
            ))),

            // The shop owner withdraws an item.
            (State::None, Input::Withdraw { item_id, .. }) => not_found(item_id),
            (State::Listed { version, item }, Input::Withdraw { item_id, expected }) => {
                ListedItem::new(item_id, *version, item, context.records).withdraw(expected)
            }
            (State::Withdrawn { .. }, Input::Withdraw { .. }) => Decision::Ignore("already withdrawn"),

            // The state of an order and an input about an item, or the other way round.
            (
                State::Listed { .. } | State::Withdrawn { .. },
                Input::Reserve { .. } | Input::Delivered(_) | Input::Cancelled { .. },
            )
            | (
                State::Reserved { .. }
                | State::Failed { .. }
                | State::Released { .. }
                | State::Shipped { .. },
                Input::Put { .. } | Input::Change { .. } | Input::Withdraw { .. } | Input::SetPhoto { .. },
            ) => Decision::Ignore("cannot be: an order is no item"),
        }
    }

    async fn ask(&self, ask: Infallible) -> Result<Input, AskError> {
        match ask {}
    }
}

fn reserve(order: &Arc<Order>, stock: &BTreeMap<String, Stock>) -> Decision<InventoryService> {
    let mut changed = Vec::new();
    for (item_id, wanted) in wanted(order) {
        let key = key(item_id);
        let there = stock.get(&key).cloned().unwrap_or_default();
        if there.withdrawn {
            return reservation_failed(order, format!("`{item_id}` is withdrawn"));
        }
        match there.reserved.checked_add(wanted) {
            Some(reserved) if reserved <= there.quantity => changed.push((key, Stock { reserved, ..there })),
            Some(_) | None => {
                let available = there.available();
                let reason = format!("out of stock: `{item_id}` ({wanted} wanted, {available} available)");
                return reservation_failed(order, reason);
            }
        }
    }
    Decision::say([Reserved { order: order.clone() }.into()]).with_records(changed)
}

fn reservation_failed(order: &Arc<Order>, reason: String) -> Decision<InventoryService> {
    let order = order.clone();
    Decision::say([ReservationFailed { order, reason }.into()])
}

fn release(order: &Arc<Order>, stock: &BTreeMap<String, Stock>) -> Decision<InventoryService> {
    let released = held(order, stock, |there, held| {
        there.reserved = there.reserved.saturating_sub(held);
    });
    Decision::say([Released { order: order.clone() }.into()]).with_records(released)
}

/// What is shipped is no longer reserved, and no longer there.
fn ship(order: &Arc<Order>, stock: &BTreeMap<String, Stock>) -> Decision<InventoryService> {
    let shipped = held(order, stock, |there, held| {
        there.quantity = there.quantity.saturating_sub(held);
        there.reserved = there.reserved.saturating_sub(held);
    });
    Decision::say([Shipped { order: order.clone() }.into()]).with_records(shipped)
}

/// The records of the items that are reserved for the order, changed: `change` gets a record and how much of it the order
/// holds. It was reserved before, so its subtractions saturate only if the bucket was edited by hand. Then the audit reports
/// it; the order must not get stuck.
fn held(
    order: &Order,
    stock: &BTreeMap<String, Stock>,
    change: impl Fn(&mut Stock, u64),
) -> Vec<(String, Stock)> {
    let changed = wanted(order).into_iter().filter_map(|(item_id, held)| {
        let key = key(item_id);
        let mut there = stock.get(&key)?.clone();
        change(&mut there, held);
        Some((key, there))
    });
    changed.collect()
}

/// Lists an item. Stock of an item that was never listed can be there, put in before items had prices: it is kept.
fn list(
    item_id: &ItemId,
    change: &ItemChange,
    expected: &Expected,
    stock: &BTreeMap<String, Stock>,
) -> Decision<InventoryService> {
    if let Expected::Any | Expected::Versions(_) = expected {
        return Decision::Refuse(Refusal::Outdated(format!(
            "there is no item `{item_id}`, so it has no version"
        )));
    }
    let item = match change.whole() {
        Ok(item) => item,
        Err(field) => {
            return Decision::Refuse(Refusal::Invalid {
                field: field.to_owned(),
                detail: format!(
                    "there is no item `{item_id}`; to list it, give its name, price and currency"
                ),
            });
        }
    };
    let stock = stock.get(&key(item_id)).cloned().unwrap_or_default();
    if stock.reserved > item.quantity {
        return too_few(item_id, &stock, item.quantity);
    }
    let quantity = item.quantity;
    let listed = ItemListed {
        item_id: item_id.clone(),
        version: 1,
        item: Arc::new(item),
    };
    Decision::say([listed.into()]).with_records([(key(item_id), Stock { quantity, ..stock })])
}

/// Whether a change without a version is made.
enum Unconditionally {
    Allowed,
    Refused,
}

/// A listed item with its stock.
struct ListedItem<'a> {
    item_id: &'a ItemId,
    version: u64,
    item: &'a Arc<Item>,
    stock: Stock,
}

impl<'a> ListedItem<'a> {
    fn new(item_id: &'a ItemId, version: u64, item: &'a Arc<Item>, stock: &BTreeMap<String, Stock>) -> Self {
        Self {
            item_id,
            version,
            item,
            stock: stock.get(&key(item_id)).cloned().unwrap_or_default(),
        }
    }

    fn replace(&self, change: &ItemChange, expected: &Expected) -> Decision<InventoryService> {
        match change.whole() {
            Ok(item) => {
                let photo = self.item.photo.clone();
                self.become_item(Item { photo, ..item }, expected, Unconditionally::Refused)
            }
            Err(field) => Decision::Refuse(Refusal::Invalid {
                field: field.to_owned(),
                detail: "PUT replaces the whole item, or, with a quantity alone, only the quantity; to change some \
                         fields, send PATCH"
                    .to_owned(),
            }),
        }
    }

    fn change(
        &self,
        change: &ItemChange,
        expected: &Expected,
        unconditionally: Unconditionally,
    ) -> Decision<InventoryService> {
        self.become_item(change.applied_to(self.present()), expected, unconditionally)
    }

    fn set_photo(&self, photo: Option<ItemPhoto>, expected: &Expected) -> Decision<InventoryService> {
        let item = Item {
            photo,
            ..self.present()
        };
        self.become_item(item, expected, Unconditionally::Refused)
    }

    /// The item with the quantity that there is now.
    fn present(&self) -> Item {
        Item {
            quantity: self.stock.quantity,
            ..(**self.item).clone()
        }
    }

    fn become_item(
        &self,
        item: Item,
        expected: &Expected,
        unconditionally: Unconditionally,
    ) -> Decision<InventoryService> {
        let quantity = item.quantity;
        // Also if another version is expected: the same request may have made this one.
        if self.stock.quantity == quantity
            && (Item {
                quantity: self.item.quantity,
                ..item.clone()
            }) == **self.item
        {
            return Decision::Ignore("nothing changes");
        }
        if let Err(refusal) = self.check(expected, unconditionally) {
            return Decision::Refuse(refusal);
        }
        if self.stock.reserved > quantity {
            return too_few(self.item_id, &self.stock, quantity);
        }
        let updated = ItemUpdated {
            item_id: self.item_id.clone(),
            version: self.version + 1,
            item: Arc::new(item),
        };
        let stock = Stock {
            quantity,
            ..self.stock.clone()
        };
        let changed = (stock != self.stock).then(|| (key(self.item_id), stock));
        Decision::say([updated.into()]).with_records(changed)
    }

    fn withdraw(&self, expected: &Expected) -> Decision<InventoryService> {
        if let Err(refusal) = self.check(expected, Unconditionally::Refused) {
            return Decision::Refuse(refusal);
        }
        if self.stock.reserved > 0 {
            return Decision::Refuse(Refusal::Conflict(format!(
                "{} of `{}` are reserved for orders, so it cannot be withdrawn",
                self.stock.reserved, self.item_id
            )));
        }
        let withdrawn = ItemWithdrawn {
            item_id: self.item_id.clone(),
            version: self.version + 1,
            item: Arc::new(Item {
                photo: None,
                ..(**self.item).clone()
            }),
        };
        let stock = Stock {
            withdrawn: true,
            ..self.stock.clone()
        };
        Decision::say([withdrawn.into()]).with_records([(key(self.item_id), stock)])
    }

    /// Whether the shop owner has seen the present version.
    fn check(&self, expected: &Expected, unconditionally: Unconditionally) -> Result<(), Refusal> {
        let Self { item_id, version, .. } = self;
        match (expected, unconditionally) {
            (Expected::Any, _) | (Expected::Nothing, Unconditionally::Allowed) => Ok(()),
            (Expected::Versions(versions), _) if versions.contains(version) => Ok(()),
            (Expected::Versions(_), _) => Err(Refusal::Outdated(format!(
                "`{item_id}` is at version {version} by now; look at it and try again"
            ))),
            (Expected::Absent, _) => Err(Refusal::Outdated(format!("there is an item `{item_id}` already"))),
            (Expected::Nothing, Unconditionally::Refused) => Err(Refusal::Unconditional(format!(
                "If-Match must name the version of `{item_id}` that you have seen (`\"{version}\"` now), or be `*`"
            ))),
        }
    }
}

fn too_few(item_id: &ItemId, stock: &Stock, quantity: u64) -> Decision<InventoryService> {
    Decision::Refuse(Refusal::Conflict(format!(
        "{} of `{item_id}` are reserved, so its quantity cannot be {quantity}",
        stock.reserved
    )))
}

fn not_found(item_id: &ItemId) -> Decision<InventoryService> {
    Decision::Refuse(Refusal::NotFound(format!("there is no item `{item_id}`")))
}

/// The quantity of each item over all lines. At most [`quadrille_events::MAX_LINES`] times `u32::MAX`, so a `u64` cannot
/// overflow.
fn wanted(order: &Order) -> BTreeMap<&ItemId, u64> {
    let mut wanted = BTreeMap::new();
    for line in &order.lines {
        *wanted.entry(&line.item_id).or_default() += u64::from(line.quantity);
    }
    wanted
}
