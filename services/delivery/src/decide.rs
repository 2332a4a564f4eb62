//! The decisions of the delivery service: what it does with each input in each state.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Assigned, CancelDelivery, CourierId, CreateDelivery, Delivered, DeliveryCancelled,
    DeliveryEvent, DeliveryFailed, NoCourier, Order, OrderCancelled, OrderId, TypedId,
};
use serde::{Deserialize, Serialize};

use crate::DeliveryService;
use crate::desk::DeskResult;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    None,
    Assigned {
        order: Arc<Order>,
        courier_id: CourierId,
    },
    /// No courier can deliver the order. Final.
    NoCourier { order: Arc<Order>, reason: String },
    /// The courier was called back, or none will be sent. Final.
    Cancelled {
        order: Arc<Order>,
        /// The courier who was called back.
        courier_id: Option<CourierId>,
        reason: String,
    },
    /// The courier has handed over the goods. Final.
    Delivered {
        order: Arc<Order>,
        courier_id: CourierId,
    },
    /// The courier could not hand over the goods. Final.
    Failed {
        order: Arc<Order>,
        courier_id: CourierId,
        reason: String,
    },
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The order is to be delivered.
    Deliver(Arc<Order>),
    /// The desk's answer to [`Ask::Desk`].
    Desk { order: Arc<Order>, result: DeskResult },
    /// The customer cancelled the order after a delivery was requested. The request may still be in flight.
    CancelDelivery { order: Arc<Order>, reason: String },
    /// The order is cancelled. An order of release 0.1 can be cancelled while its courier is on the way, or while the request
    /// for one is in flight.
    Cancelled {
        order: Arc<Order>,
        reason: String,
        /// Whether a delivery was ever requested.
        asked: bool,
    },
    /// Command: the courier has handed over the goods.
    Confirm { order_id: OrderId },
    /// Command: the courier could not hand over the goods.
    Fail { order_id: OrderId, reason: String },
    /// Command: sets how many orders a courier can take.
    Courier { courier_id: CourierId, capacity: u64 },
    /// Command: removes a courier who has no orders.
    RemoveCourier { courier_id: CourierId },
}

impl State {
    /// Whether the courier still has the goods.
    fn is_open(&self) -> bool {
        match self {
            State::Assigned { .. } => true,
            State::None
            | State::NoCourier { .. }
            | State::Cancelled { .. }
            | State::Delivered { .. }
            | State::Failed { .. } => false,
        }
    }

    /// The state's name in HTTP answers.
    pub fn name(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Assigned { .. } => "assigned",
            State::NoCourier { .. } => "no-courier",
            State::Cancelled { .. } => "cancelled",
            State::Delivered { .. } => "delivered",
            State::Failed { .. } => "failed",
        }
    }

    /// The state in words, for a courier whose command does not fit it.
    fn in_words(&self) -> String {
        match self {
            State::None => "no courier was asked for yet".to_owned(),
            State::Assigned { courier_id, .. } => format!("courier `{courier_id}` is on the way"),
            State::NoCourier { reason, .. } => format!("no courier delivers the order: {reason}"),
            State::Cancelled { reason, .. } => format!("the delivery is cancelled: {reason}"),
            State::Delivered { courier_id, .. } => format!("courier `{courier_id}` has delivered the order"),
            State::Failed { reason, .. } => format!("the delivery has failed: {reason}"),
        }
    }
}

/// Calls to the courier desk.
#[derive(Clone, Debug)]
pub enum Ask {
    Desk { order: Arc<Order> },
}

/// The load of one courier: a record of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Courier {
    /// How many orders the courier can take.
    pub capacity: u64,
    /// How many orders the courier carries: those that are assigned and not ended.
    pub load: u64,
    /// Which they are, in the order in which they were assigned. Fewer than `load` if some were assigned while the courier
    /// could take more than [`MAX_LISTED`], or by release 0.1, which has no such field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderId>,
}

/// The orders of a courier are listed up to this capacity: more than a person carries, and the record, which every assignment
/// writes, stays below 2 kB. A courier with a larger capacity is a fleet, or a load test.
pub const MAX_LISTED: u64 = 32;

impl Courier {
    /// Takes on one more order.
    fn load(mut self, order_id: &OrderId) -> Self {
        self.load += 1;
        if self.capacity <= MAX_LISTED {
            self.orders.push(order_id.clone());
        }
        self
    }

    /// Puts down an order. The load was added when the courier was assigned, so it saturates only if the bucket was edited by
    /// hand. Then the audit reports it; the order must not get stuck.
    fn unload(mut self, order_id: &OrderId) -> Self {
        self.load = self.load.saturating_sub(1);
        self.orders.retain(|carried| carried != order_id);
        self
    }
}

/// The prefix of the keys of all couriers' records.
pub const COURIERS: &str = "courier.load";

/// The key of the courier's record in the ledger.
pub fn key(courier_id: &CourierId) -> String {
    format!("{COURIERS}.{courier_id}")
}

/// The courier whose record has this key.
pub fn courier_of(key: &str) -> Option<CourierId> {
    CourierId::new(key.strip_prefix(COURIERS)?.strip_prefix('.')?).ok()
}

impl Service for DeliveryService {
    type Said = DeliveryEvent;
    type State = State;
    type Input = Input;
    type Record = Courier;
    type Ask = Ask;

    fn wires(&self) -> Vec<Wire<Input>> {
        vec![
            Wire::on::<CreateDelivery>(|heard| Input::Deliver(heard.order)),
            Wire::on::<CancelDelivery>(|heard| Input::CancelDelivery {
                order: heard.order,
                reason: heard.reason,
            }),
            // Needed by orders that release 0.1 was cancelling when it was replaced: it asked payment, not delivery.
            Wire::on::<OrderCancelled>(|heard| Input::Cancelled {
                order: heard.order,
                reason: heard.reason,
                asked: heard.delivery_requested,
            }),
        ]
    }

    fn about(input: &Input) -> Option<AggregateId> {
        match input {
            Input::Deliver(order)
            | Input::Desk { order, .. }
            | Input::CancelDelivery { order, .. }
            | Input::Cancelled { order, .. } => Some(order.order_id.aggregate()),
            Input::Confirm { order_id } | Input::Fail { order_id, .. } => Some(order_id.aggregate()),
            Input::Courier { .. } | Input::RemoveCourier { .. } => None,
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Deliver(_) | Input::Desk { .. } => true,
            Input::CancelDelivery { .. }
            | Input::Cancelled { .. }
            | Input::Confirm { .. }
            | Input::Fail { .. }
            | Input::Courier { .. }
            | Input::RemoveCourier { .. } => false,
        }
    }

    fn reads(input: &Input) -> Reads {
        match input {
            // If the desk answers at once, its answer is decided with the records that were read for the request.
            Input::Deliver(_)
            | Input::Desk {
                result: DeskResult::Accepted,
                ..
            } => Reads::All(COURIERS),
            // The courier who is free again is known only from the state, which is read together with the records.
            Input::CancelDelivery { .. }
            | Input::Cancelled { asked: true, .. }
            | Input::Confirm { .. }
            | Input::Fail { .. } => Reads::All(COURIERS),
            Input::Courier { courier_id, .. } | Input::RemoveCourier { courier_id } => {
                Reads::Keys(vec![key(courier_id)])
            }
            Input::Desk {
                result: DeskResult::Refused { .. },
                ..
            }
            | Input::Cancelled { asked: false, .. } => Reads::Nothing,
        }
    }

    fn fold(state: &mut State, said: &DeliveryEvent) {
        *state = match said {
            DeliveryEvent::Assigned(Assigned { order, courier_id }) => State::Assigned {
                order: order.clone(),
                courier_id: courier_id.clone(),
            },
            DeliveryEvent::CancelPayment(NoCourier { order, reason }) => State::NoCourier {
                order: order.clone(),
                reason: reason.clone(),
            },
            DeliveryEvent::Cancelled(DeliveryCancelled {
                order,
                courier_id,
                reason,
            }) => State::Cancelled {
                order: order.clone(),
                courier_id: courier_id.clone(),
                reason: reason.clone(),
            },
            DeliveryEvent::Delivered(Delivered { order, courier_id }) => State::Delivered {
                order: order.clone(),
                courier_id: courier_id.clone(),
            },
            DeliveryEvent::Failed(DeliveryFailed {
                order,
                courier_id,
                reason,
            }) => State::Failed {
                order: order.clone(),
                courier_id: courier_id.clone(),
                reason: reason.clone(),
            },
        };
    }

    fn open_states() -> Option<fn(&State) -> bool> {
        Some(State::is_open)
    }

    // Longer than a screen: one total match, every pair of state and input named.
    fn decide(state: &State, input: &Input, context: &Context<'_, Courier>) -> Decision<Self> {
        match (state, input) {
            // The order is to be delivered. The desk says whether its address can be reached.
            (State::None, Input::Deliver(order)) => Decision::Ask(Ask::Desk { order: order.clone() }),
            (
                State::None,
                Input::Desk {
                    order,
                    result: DeskResult::Accepted,
                },
            ) => assign(order, context.records),
            (
                State::None,
                Input::Desk {
                    order,
                    result: DeskResult::Refused { reason },
                },
            ) => Decision::say([NoCourier {
                order: order.clone(),
                reason: reason.clone(),
            }
            .into()]),
            (State::Assigned { .. }, Input::Deliver(_) | Input::Desk { .. }) => {
                Decision::Ignore("already assigned")
            }
            (State::NoCourier { .. }, Input::Deliver(_) | Input::Desk { .. }) => {
                Decision::Ignore("already found no courier")
            }
            // Most likely the cancellation overtook the request.
            (State::Cancelled { .. }, Input::Deliver(_) | Input::Desk { .. }) => {
                Decision::Ignore("already cancelled")
            }
            (State::Delivered { .. }, Input::Deliver(_) | Input::Desk { .. }) => {
                Decision::Ignore("already delivered")
            }
            (State::Failed { .. }, Input::Deliver(_) | Input::Desk { .. }) => {
                Decision::Ignore("already failed")
            }

            // The customer cancels. Payment hears `delivery.cancelled` and refunds. If the request is still in flight, it must find
            // the delivery cancelled.
            (State::None, Input::CancelDelivery { order, reason }) => {
                call_back(order, None, reason, context.records)
            }
            (State::Assigned { courier_id, .. }, Input::CancelDelivery { order, reason }) => {
                call_back(order, Some(courier_id), reason, context.records)
            }
            (State::NoCourier { .. }, Input::CancelDelivery { .. }) => {
                Decision::Ignore("no courier is on the way: payment was asked to refund")
            }
            (State::Cancelled { .. }, Input::CancelDelivery { .. }) => Decision::Ignore("already cancelled"),
            // Order hears `delivery.delivered` and completes the order.
            (State::Delivered { .. }, Input::CancelDelivery { .. }) => {
                Decision::Ignore("already delivered: too late to cancel")
            }
            (State::Failed { .. }, Input::CancelDelivery { .. }) => {
                Decision::Ignore("no courier is on the way: payment was asked to refund")
            }

            // The order is cancelled. The money is settled, so the goods were called back or had not left; unless the order was
            // cancelled as release 0.1 did it.
            (
                State::None,
                Input::Cancelled {
                    order,
                    reason,
                    asked: true,
                },
            ) => call_back(order, None, reason, context.records),
            (State::None, Input::Cancelled { asked: false, .. }) => Decision::Ignore("nothing was asked for"),
            (State::Assigned { courier_id, .. }, Input::Cancelled { order, reason, .. }) => {
                call_back(order, Some(courier_id), reason, context.records)
            }
            (State::NoCourier { .. } | State::Failed { .. }, Input::Cancelled { .. }) => {
                Decision::Ignore("no courier is on the way")
            }
            (State::Cancelled { .. }, Input::Cancelled { .. }) => Decision::Ignore("already cancelled"),
            (State::Delivered { .. }, Input::Cancelled { .. }) => Decision::Ignore(
                "already delivered: the previous release asked payment before the courier arrived",
            ),

            // The courier has handed over the goods.
            (State::None, Input::Confirm { order_id } | Input::Fail { order_id, .. }) => not_found(order_id),
            (State::Assigned { order, courier_id }, Input::Confirm { .. }) => {
                let delivered = Delivered {
                    order: order.clone(),
                    courier_id: courier_id.clone(),
                };
                let free = unloaded(order, courier_id, context.records);
                Decision::say([delivered.into()]).with_records(free)
            }
            (State::Delivered { .. }, Input::Confirm { .. }) => Decision::Ignore("already delivered"),
            (
                State::NoCourier { .. } | State::Cancelled { .. } | State::Failed { .. },
                Input::Confirm { .. },
            ) => Decision::Refuse(Refusal::Conflict(state.in_words())),

            // The courier could not hand over the goods. Payment refunds, and the order is cancelled.
            (State::Assigned { order, courier_id }, Input::Fail { reason, .. }) => {
                let failed = DeliveryFailed {
                    order: order.clone(),
                    courier_id: courier_id.clone(),
                    reason: reason.clone(),
                };
                let free = unloaded(order, courier_id, context.records);
                Decision::say([failed.into()]).with_records(free)
            }
            (State::Failed { .. }, Input::Fail { .. }) => Decision::Ignore("already failed"),
            (
                State::NoCourier { .. } | State::Cancelled { .. } | State::Delivered { .. },
                Input::Fail { .. },
            ) => Decision::Refuse(Refusal::Conflict(state.in_words())),

            // A courier's capacity changes, or the courier leaves. That concerns no order, so the state does not matter.
            (
                State::None
                | State::Assigned { .. }
                | State::NoCourier { .. }
                | State::Cancelled { .. }
                | State::Delivered { .. }
                | State::Failed { .. },
                Input::Courier { courier_id, capacity },
            ) => report(courier_id, *capacity, context.records),
            (
                State::None
                | State::Assigned { .. }
                | State::NoCourier { .. }
                | State::Cancelled { .. }
                | State::Delivered { .. }
                | State::Failed { .. },
                Input::RemoveCourier { courier_id },
            ) => remove(courier_id, context.records),
        }
    }

    fn asks_outside(&self) -> bool {
        self.desk.is_outside()
    }

    async fn ask(&self, ask: Ask) -> Result<Input, AskError> {
        match ask {
            Ask::Desk { order } => {
                let result = self.desk.request(&order).await?;
                Ok(Input::Desk { order, result })
            }
        }
    }
}

fn assign(order: &Arc<Order>, couriers: &BTreeMap<String, Courier>) -> Decision<DeliveryService> {
    let order = order.clone();
    let free = couriers
        .iter()
        .filter_map(|(key, courier)| Some((courier_of(key)?, courier)))
        .filter(|(_, courier)| courier.load < courier.capacity)
        // a/b < c/d is ad < cb; products of two u64 fit a u128. Of equals, the map's order takes the first name.
        .min_by(|(_, a), (_, b)| {
            let share = |load: u64, capacity: u64| u128::from(load) * u128::from(capacity);
            share(a.load, b.capacity).cmp(&share(b.load, a.capacity))
        });
    match free {
        Some((courier_id, courier)) => {
            let record = courier.clone().load(&order.order_id);
            let key = key(&courier_id);
            Decision::say([Assigned { order, courier_id }.into()]).with_records([(key, record)])
        }
        None => {
            let reason = if couriers.is_empty() {
                "there are no couriers"
            } else {
                "every courier is busy"
            };
            Decision::say([NoCourier {
                order,
                reason: reason.to_owned(),
            }
            .into()])
        }
    }
}

/// `courier_id` is the courier who is on the way, if there is one.
fn call_back(
    order: &Arc<Order>,
    courier_id: Option<&CourierId>,
    reason: &str,
    couriers: &BTreeMap<String, Courier>,
) -> Decision<DeliveryService> {
    let free = courier_id.and_then(|courier_id| unloaded(order, courier_id, couriers));
    Decision::say([DeliveryCancelled {
        order: order.clone(),
        courier_id: courier_id.cloned(),
        reason: reason.to_owned(),
    }
    .into()])
    .with_records(free)
}

/// The record of the courier who carried the order, without the order. `None` if there is no such record: the bucket was edited
/// by hand.
fn unloaded(
    order: &Order,
    courier_id: &CourierId,
    couriers: &BTreeMap<String, Courier>,
) -> Option<(String, Courier)> {
    let key = key(courier_id);
    let courier = couriers.get(&key)?.clone();
    Some((key, courier.unload(&order.order_id)))
}

fn report(
    courier_id: &CourierId,
    capacity: u64,
    couriers: &BTreeMap<String, Courier>,
) -> Decision<DeliveryService> {
    let key = key(courier_id);
    match couriers.get(&key) {
        Some(courier) if courier.capacity == capacity => Decision::Ignore("the capacity is the same already"),
        Some(courier) if courier.load > capacity => Decision::Refuse(Refusal::Conflict(format!(
            "courier `{courier_id}` has {} orders, so their capacity cannot be {capacity}",
            courier.load
        ))),
        Some(courier) => Decision::record(
            key,
            Courier {
                capacity,
                ..courier.clone()
            },
        ),
        None => Decision::record(
            key,
            Courier {
                capacity,
                ..Courier::default()
            },
        ),
    }
}

fn not_found(order_id: &OrderId) -> Decision<DeliveryService> {
    Decision::Refuse(Refusal::NotFound(format!(
        "there is no delivery of order `{order_id}` (yet: a courier is asked for once the order is confirmed)"
    )))
}

fn remove(courier_id: &CourierId, couriers: &BTreeMap<String, Courier>) -> Decision<DeliveryService> {
    let key = key(courier_id);
    match couriers.get(&key) {
        Some(Courier { load: 0, .. }) => Decision::remove_record(key),
        Some(Courier { load, .. }) => Decision::Refuse(Refusal::Conflict(format!(
            "courier `{courier_id}` has {load} orders, so they cannot be removed; with capacity 0 they get no new ones"
        ))),
        None => Decision::Refuse(Refusal::NotFound(format!("there is no courier `{courier_id}`"))),
    }
}
