//! The decisions of the delivery service: what it does with each input in each state.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Assigned, CourierId, CreateDelivery, DeliveryCancelled, DeliveryEvent, NoCourier, Order,
    OrderCancelled, TypedId,
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
    },
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The order is to be delivered.
    Deliver(Arc<Order>),
    /// The desk's answer to [`Ask::Desk`].
    Desk { order: Arc<Order>, result: DeskResult },
    /// The order is cancelled.
    Cancelled {
        order: Arc<Order>,
        /// Whether a delivery was ever requested: the request may still be in flight.
        asked: bool,
    },
    /// Command: sets how many orders a courier can take.
    Courier { courier_id: CourierId, capacity: u64 },
    /// Command: removes a courier who has no orders.
    RemoveCourier { courier_id: CourierId },
}

impl State {
    /// The state's name in HTTP answers.
    pub fn name(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Assigned { .. } => "assigned",
            State::NoCourier { .. } => "no-courier",
            State::Cancelled { .. } => "cancelled",
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
    /// How many orders the courier has.
    pub load: u64,
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
            Wire::on::<OrderCancelled>(|heard| Input::Cancelled {
                order: heard.order,
                asked: heard.delivery_requested,
            }),
        ]
    }

    fn about(input: &Input) -> Option<AggregateId> {
        match input {
            Input::Deliver(order) | Input::Desk { order, .. } | Input::Cancelled { order, .. } => {
                Some(order.order_id.aggregate())
            }
            Input::Courier { .. } | Input::RemoveCourier { .. } => None,
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Deliver(_) | Input::Desk { .. } => true,
            Input::Cancelled { .. } | Input::Courier { .. } | Input::RemoveCourier { .. } => false,
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
            // The courier to call back is known only from the state, which is read together with the records.
            Input::Cancelled { asked: true, .. } => Reads::All(COURIERS),
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
            DeliveryEvent::Cancelled(DeliveryCancelled { order, courier_id }) => State::Cancelled {
                order: order.clone(),
                courier_id: courier_id.clone(),
            },
        };
    }

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

            // The order is cancelled. If the request is still in flight, it must find the delivery cancelled.
            (State::None, Input::Cancelled { order, asked: true }) => Decision::say([DeliveryCancelled {
                order: order.clone(),
                courier_id: None,
            }
            .into()]),
            (State::None, Input::Cancelled { asked: false, .. }) => Decision::Ignore("nothing was asked for"),
            (State::Assigned { courier_id, .. }, Input::Cancelled { order, .. }) => {
                call_back(order, courier_id, context.records)
            }
            (State::NoCourier { .. }, Input::Cancelled { .. }) => {
                Decision::Ignore("no courier is on the way")
            }
            (State::Cancelled { .. }, Input::Cancelled { .. }) => Decision::Ignore("already cancelled"),

            // A courier's capacity changes, or the courier leaves. That concerns no order, so the state does not matter.
            (
                State::None | State::Assigned { .. } | State::NoCourier { .. } | State::Cancelled { .. },
                Input::Courier { courier_id, capacity },
            ) => report(courier_id, *capacity, context.records),
            (
                State::None | State::Assigned { .. } | State::NoCourier { .. } | State::Cancelled { .. },
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
            let record = Courier {
                capacity: courier.capacity,
                load: courier.load + 1,
            };
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

fn call_back(
    order: &Arc<Order>,
    courier_id: &CourierId,
    couriers: &BTreeMap<String, Courier>,
) -> Decision<DeliveryService> {
    let key = key(courier_id);
    // The load was added when the courier was assigned, so this saturates only if the bucket was edited by hand. Then the audit
    // reports it; the order must not get stuck.
    let lighter = couriers.get(&key).map(|courier| {
        (
            key,
            Courier {
                capacity: courier.capacity,
                load: courier.load.saturating_sub(1),
            },
        )
    });
    Decision::say([DeliveryCancelled {
        order: order.clone(),
        courier_id: Some(courier_id.clone()),
    }
    .into()])
    .with_records(lighter)
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
                load: courier.load,
            },
        ),
        None => Decision::record(key, Courier { capacity, load: 0 }),
    }
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
