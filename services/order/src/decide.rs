//! The decisions of the order service: what it does with each input in each state.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Approval, Assigned, AwaitingApproval, CancelOrder, CancelPayment, Charged, Completed,
    CourierId, CreateDelivery, Created, Flow, ItemId, ItemListed, ItemUpdated, ItemWithdrawn, Order,
    OrderCancelled, OrderEvent, OrderId, Reserved, TypedId,
};

use crate::OrderService;
use crate::price::{ItemPrice, OrderRequest, key};

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    None,
    /// Placed, and not yet both paid and reserved.
    Created(Arc<Order>),
    /// Paid and reserved; waits for the shop owner.
    AwaitingApproval(Arc<Order>),
    /// Delivery is asked to send a courier.
    Confirmed(Arc<Order>),
    /// Payment is asked to cancel or refund.
    Cancelling {
        order: Arc<Order>,
        reason: String,
        /// Whether delivery was asked to send a courier before.
        delivery_requested: bool,
    },
    /// A courier is on the way. Final.
    Completed {
        order: Arc<Order>,
        courier_id: CourierId,
    },
    /// Final.
    Cancelled { order: Arc<Order>, reason: String },
}

#[derive(Clone, Debug)]
pub enum Input {
    /// Command: the customer places the order.
    Create(Arc<OrderRequest>),
    /// The order is paid and reserved.
    Ready(Arc<Order>),
    /// Command: the shop owner approves.
    Approve { order_id: OrderId },
    /// Command: the customer (or the shop owner) cancels.
    Cancel { order_id: OrderId, reason: String },
    /// A courier is on the way.
    Assigned {
        order: Arc<Order>,
        courier_id: CourierId,
    },
    /// There is no payment: the order must be cancelled.
    CancelOrder {
        order: Arc<Order>,
        reason: String,
        /// Whether the payment was ever charged.
        charged: bool,
    },
    /// The shop has listed, changed or withdrawn an item.
    Priced { item_id: ItemId, price: ItemPrice },
}

impl Service for OrderService {
    type Said = OrderEvent;
    type State = State;
    type Input = Input;
    type Record = ItemPrice;
    type Ask = Infallible;

    fn wires(&self) -> Vec<Wire<Input>> {
        let ready = match self.flow {
            Flow::PayFirst => Wire::on::<Reserved>(|heard| Input::Ready(heard.order)),
            Flow::ReserveFirst => Wire::on::<Charged>(|heard| Input::Ready(heard.order)),
        };
        vec![
            ready,
            Wire::on::<Assigned>(|heard| Input::Assigned {
                order: heard.order,
                courier_id: heard.courier_id,
            }),
            Wire::on::<CancelOrder>(|heard| Input::CancelOrder {
                order: heard.order,
                reason: heard.reason,
                charged: heard.charged,
            }),
            Wire::on::<ItemListed>(|heard| Input::Priced {
                price: ItemPrice::of(heard.version, &heard.item),
                item_id: heard.item_id,
            }),
            Wire::on::<ItemUpdated>(|heard| Input::Priced {
                price: ItemPrice::of(heard.version, &heard.item),
                item_id: heard.item_id,
            }),
            Wire::on::<ItemWithdrawn>(|heard| Input::Priced {
                price: ItemPrice {
                    withdrawn: true,
                    ..ItemPrice::of(heard.version, &heard.item)
                },
                item_id: heard.item_id,
            }),
        ]
    }

    fn about(input: &Input) -> Option<AggregateId> {
        match input {
            Input::Create(request) => Some(request.order_id.aggregate()),
            Input::Ready(order) | Input::Assigned { order, .. } | Input::CancelOrder { order, .. } => {
                Some(order.order_id.aggregate())
            }
            Input::Approve { order_id } | Input::Cancel { order_id, .. } => Some(order_id.aggregate()),
            Input::Priced { item_id, .. } => Some(item_id.aggregate()),
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Create(_) | Input::Priced { .. } => true,
            Input::Ready(_)
            | Input::Approve { .. }
            | Input::Cancel { .. }
            | Input::Assigned { .. }
            | Input::CancelOrder { .. } => false,
        }
    }

    fn reads(input: &Input) -> Reads {
        match input {
            // A price may change at any moment, also while the customer fills in the order: a moment more does no harm.
            Input::Create(request) => {
                let items: BTreeSet<_> = request.lines.iter().map(|line| &line.item_id).collect();
                Reads::Lagging(items.into_iter().map(key).collect())
            }
            Input::Priced { item_id, .. } => Reads::Keys(vec![key(item_id)]),
            Input::Ready(_)
            | Input::Approve { .. }
            | Input::Cancel { .. }
            | Input::Assigned { .. }
            | Input::CancelOrder { .. } => Reads::Nothing,
        }
    }

    fn fold(state: &mut State, said: &OrderEvent) {
        *state = match said {
            OrderEvent::Created(Created { order }) => State::Created(order.clone()),
            OrderEvent::AwaitingApproval(AwaitingApproval { order }) => {
                State::AwaitingApproval(order.clone())
            }
            OrderEvent::CreateDelivery(CreateDelivery { order }) => State::Confirmed(order.clone()),
            OrderEvent::CancelPayment(CancelPayment { order, reason }) => State::Cancelling {
                order: order.clone(),
                reason: reason.clone(),
                delivery_requested: state.delivery_requested(),
            },
            OrderEvent::Completed(Completed { order, courier_id }) => State::Completed {
                order: order.clone(),
                courier_id: courier_id.clone(),
            },
            OrderEvent::Cancelled(OrderCancelled { order, reason, .. }) => State::Cancelled {
                order: order.clone(),
                reason: reason.clone(),
            },
        };
    }

    fn ending(said: &OrderEvent) -> Option<&'static str> {
        match said {
            OrderEvent::Completed(_) => Some("completed"),
            OrderEvent::Cancelled(_) => Some("cancelled"),
            OrderEvent::Created(_)
            | OrderEvent::AwaitingApproval(_)
            | OrderEvent::CreateDelivery(_)
            | OrderEvent::CancelPayment(_) => None,
        }
    }

    fn open_states() -> Option<fn(&State) -> bool> {
        Some(State::is_open)
    }

    // Longer than a screen: one total match, every pair of state and input named.
    fn decide(state: &State, input: &Input, context: &Context<'_, ItemPrice>) -> Decision<Self> {
        match (state, input) {
            // The customer places the order. Its id is random, or derived from customer and idempotency key: if the order
            // exists already, the same request was repeated, or the key was used for another order.
            (State::None, Input::Create(request)) => match request.priced(context.records) {
                Ok(order) => Decision::say([Created {
                    order: Arc::new(order),
                }
                .into()]),
                Err(refusal) => Decision::Refuse(refusal),
            },
            (
                State::Created(placed)
                | State::AwaitingApproval(placed)
                | State::Confirmed(placed)
                | State::Cancelling { order: placed, .. }
                | State::Completed { order: placed, .. }
                | State::Cancelled { order: placed, .. },
                Input::Create(request),
            ) => {
                if request.asks_for(placed) {
                    Decision::Ignore("already created")
                } else {
                    Decision::Refuse(Refusal::Mismatch(
                        "this Idempotency-Key came with another order before; a new order needs a new key"
                            .to_owned(),
                    ))
                }
            }

            // The order is paid and reserved.
            (State::None, Input::Ready(_)) => Decision::Ignore(UNKNOWN),
            (State::Created(_), Input::Ready(order)) => {
                let order = order.clone();
                Decision::say([match order.approval {
                    Approval::Auto => CreateDelivery { order }.into(),
                    Approval::Manual => AwaitingApproval { order }.into(),
                }])
            }
            (State::AwaitingApproval(_), Input::Ready(_)) => Decision::Ignore("already awaiting approval"),
            (State::Confirmed(_) | State::Completed { .. }, Input::Ready(_)) => {
                Decision::Ignore("already confirmed")
            }
            // Payment and inventory hear of the cancellation, and refund and release.
            (State::Cancelling { .. }, Input::Ready(_)) => Decision::Ignore("being cancelled"),
            (State::Cancelled { .. }, Input::Ready(_)) => Decision::Ignore("already cancelled"),

            // The shop owner approves.
            (State::None, Input::Approve { order_id }) => not_found(order_id),
            (State::Created(order), Input::Approve { .. }) => conflict(match order.approval {
                Approval::Auto => "the order needs no approval: it is confirmed once it is paid and reserved",
                Approval::Manual => {
                    "the order is not paid and reserved yet; approve it once it is awaiting approval"
                }
            }),
            (State::AwaitingApproval(order), Input::Approve { .. }) => {
                Decision::say([CreateDelivery { order: order.clone() }.into()])
            }
            (State::Confirmed(_) | State::Completed { .. }, Input::Approve { .. }) => {
                Decision::Ignore("already confirmed")
            }
            (State::Cancelling { reason, .. }, Input::Approve { .. }) => {
                conflict(format!("the order is being cancelled: {reason}"))
            }
            (State::Cancelled { reason, .. }, Input::Approve { .. }) => {
                conflict(format!("the order is cancelled: {reason}"))
            }

            // The customer cancels. Payment cancels or refunds, and says `cancel-order`.
            (State::None, Input::Cancel { order_id, .. }) => not_found(order_id),
            (
                State::Created(order) | State::AwaitingApproval(order) | State::Confirmed(order),
                Input::Cancel { reason, .. },
            ) => Decision::say([CancelPayment {
                order: order.clone(),
                reason: reason.clone(),
            }
            .into()]),
            (State::Cancelling { .. }, Input::Cancel { .. }) => Decision::Ignore("already being cancelled"),
            (State::Cancelled { .. }, Input::Cancel { .. }) => Decision::Ignore("already cancelled"),
            (State::Completed { courier_id, .. }, Input::Cancel { .. }) => conflict(format!(
                "the order is completed: courier `{courier_id}` is on the way"
            )),

            // A courier is on the way.
            (State::None, Input::Assigned { .. }) => Decision::Ignore(UNKNOWN),
            (State::Created(_) | State::AwaitingApproval(_), Input::Assigned { .. }) => {
                Decision::Ignore("cannot be: a courier is assigned, and delivery was never asked")
            }
            (State::Confirmed(_), Input::Assigned { order, courier_id }) => Decision::say([Completed {
                order: order.clone(),
                courier_id: courier_id.clone(),
            }
            .into()]),
            // Delivery hears of the cancellation and calls the courier back.
            (State::Cancelling { .. }, Input::Assigned { .. }) => Decision::Ignore("being cancelled"),
            (State::Completed { .. }, Input::Assigned { .. }) => Decision::Ignore("already completed"),
            (State::Cancelled { .. }, Input::Assigned { .. }) => Decision::Ignore("already cancelled"),

            // There is no payment.
            (State::None, Input::CancelOrder { .. }) => Decision::Ignore(UNKNOWN),
            (
                State::Created(_)
                | State::AwaitingApproval(_)
                | State::Confirmed(_)
                | State::Cancelling { .. },
                Input::CancelOrder {
                    order,
                    reason,
                    charged,
                },
            ) => Decision::say([OrderCancelled {
                order: order.clone(),
                reason: reason.clone(),
                charged: *charged,
                delivery_requested: state.delivery_requested(),
            }
            .into()]),
            (State::Completed { .. }, Input::CancelOrder { .. }) => {
                Decision::Ignore("cannot be: payment gives nothing back once a courier is assigned")
            }
            (State::Cancelled { .. }, Input::CancelOrder { .. }) => Decision::Ignore("already cancelled"),

            // An item has another price.
            (State::None, Input::Priced { item_id, price }) => {
                let key = key(item_id);
                match context.records.get(&key) {
                    Some(known) if known.version >= price.version => {
                        Decision::Ignore("a newer price is known")
                    }
                    Some(_) | None => Decision::record(key, price.clone()),
                }
            }
            (
                State::Created(_)
                | State::AwaitingApproval(_)
                | State::Confirmed(_)
                | State::Cancelling { .. }
                | State::Completed { .. }
                | State::Cancelled { .. },
                Input::Priced { .. },
            ) => Decision::Ignore("cannot be: an order is no item"),
        }
    }

    async fn ask(&self, ask: Infallible) -> Result<Input, AskError> {
        match ask {}
    }
}

/// The order service says `created` before any other service can say something about the order, so its entries can only have
/// aged away (`RETENTION`).
const UNKNOWN: &str = "unknown order: its entries are gone";

impl State {
    /// Whether delivery was ever asked to send a courier. The request may still be in flight.
    fn delivery_requested(&self) -> bool {
        match self {
            State::Confirmed(_) | State::Completed { .. } => true,
            State::Cancelling {
                delivery_requested, ..
            } => *delivery_requested,
            State::None | State::Created(_) | State::AwaitingApproval(_) | State::Cancelled { .. } => false,
        }
    }

    /// Whether the order has not ended.
    fn is_open(&self) -> bool {
        match self {
            State::Created(_)
            | State::AwaitingApproval(_)
            | State::Confirmed(_)
            | State::Cancelling { .. } => true,
            State::None | State::Completed { .. } | State::Cancelled { .. } => false,
        }
    }

    /// The state's name in HTTP answers.
    pub fn name(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Created(_) => "created",
            State::AwaitingApproval(_) => "awaiting-approval",
            State::Confirmed(_) => "confirmed",
            State::Cancelling { .. } => "cancelling",
            State::Completed { .. } => "completed",
            State::Cancelled { .. } => "cancelled",
        }
    }

    pub fn order(&self) -> Option<&Arc<Order>> {
        match self {
            State::None => None,
            State::Created(order)
            | State::AwaitingApproval(order)
            | State::Confirmed(order)
            | State::Cancelling { order, .. }
            | State::Completed { order, .. }
            | State::Cancelled { order, .. } => Some(order),
        }
    }
}

fn not_found(order_id: &OrderId) -> Decision<OrderService> {
    Decision::Refuse(Refusal::NotFound(format!("there is no order `{order_id}`")))
}

fn conflict(why: impl Into<String>) -> Decision<OrderService> {
    Decision::Refuse(Refusal::Conflict(why.into()))
}
