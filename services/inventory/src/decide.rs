//! The decisions of the inventory service: what it does with each input in each state.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Charged, Created, Delivered, Flow, InventoryEvent, ItemId, Order, OrderCancelled, Released,
    ReservationFailed, Reserved, Shipped, TypedId,
};
use serde::{Deserialize, Serialize};

use crate::InventoryService;

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
    /// Command: sets the quantity of an item.
    Stock {
        item_id: ItemId,
        /// How many are there, including those that are reserved.
        quantity: u64,
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
}

impl Stock {
    /// How much can be reserved.
    pub fn available(&self) -> u64 {
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
            Input::Stock { .. } => None,
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Reserve { .. } => true,
            Input::Delivered(_) | Input::Cancelled { .. } | Input::Stock { .. } => false,
        }
    }

    fn reads(input: &Input) -> Reads {
        match input {
            Input::Reserve { order, .. } | Input::Delivered(order) | Input::Cancelled { order, .. } => {
                let items: BTreeSet<_> = order.lines.iter().map(|line| &line.item_id).collect();
                Reads::Keys(items.into_iter().map(key).collect())
            }
            Input::Stock { item_id, .. } => Reads::Keys(vec![key(item_id)]),
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
        };
    }

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

            // The shop owner changes the stock. That concerns no order, so the state does not matter.
            (
                State::None
                | State::Reserved { .. }
                | State::Failed { .. }
                | State::Released { .. }
                | State::Shipped { .. },
                Input::Stock { item_id, quantity },
            ) => stock(item_id, *quantity, context.records),
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
        match there.reserved.checked_add(wanted) {
            Some(reserved) if reserved <= there.quantity => changed.push((key, Stock { reserved, ..there })),
            Some(_) | None => {
                let available = there.available();
                let reason = format!("not enough of `{item_id}`: {wanted} wanted, {available} available");
                return Decision::say([ReservationFailed {
                    order: order.clone(),
                    reason,
                }
                .into()]);
            }
        }
    }
    Decision::say([Reserved { order: order.clone() }.into()]).with_records(changed)
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

fn stock(item_id: &ItemId, quantity: u64, stock: &BTreeMap<String, Stock>) -> Decision<InventoryService> {
    let key = key(item_id);
    match stock.get(&key) {
        Some(there) if there.quantity == quantity => Decision::Ignore("the quantity is the same already"),
        Some(there) if there.reserved > quantity => Decision::Refuse(Refusal::Conflict(format!(
            "{} of `{item_id}` are reserved, so its quantity cannot be {quantity}",
            there.reserved
        ))),
        Some(there) => Decision::record(
            key,
            Stock {
                quantity,
                reserved: there.reserved,
            },
        ),
        None => Decision::record(
            key,
            Stock {
                quantity,
                reserved: 0,
            },
        ),
    }
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
