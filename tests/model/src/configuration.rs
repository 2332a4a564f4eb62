//! Which world: how many orders of which kind, who does what, how often things break.

use std::sync::Arc;

use quadrille_events::Flow;
use quadrille_events::{Approval, Currency, CustomerId, ItemId, Line, Order, OrderId, PaymentMode};

/// What people do at any moment at which they can. Whatever they do not do is explored as well: nobody has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomerHabits {
    /// How often the customer sends a confirmation that reaches the provider.
    pub confirms: u8,
    /// Whether the customer may cancel the payment.
    pub cancels_payment: bool,
    /// Whether the customer may cancel the order.
    pub cancels_order: bool,
}

impl CustomerHabits {
    /// Does everything that is possible.
    pub const RESTLESS: CustomerHabits = CustomerHabits {
        confirms: 2,
        cancels_payment: true,
        cancels_order: true,
    };
    /// Confirms, perhaps, and may cancel the order.
    pub const CALM: CustomerHabits = CustomerHabits {
        confirms: 1,
        cancels_payment: false,
        cancels_order: true,
    };
}

/// One world to explore.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What it is called in tables.
    pub name: String,
    /// In which order money and stock are asked for.
    pub flow: Flow,
    /// The orders: how each is paid and approved. Each is of one piece of each item.
    pub orders: Vec<(PaymentMode, Approval)>,
    /// How many pieces of each item there may be at first: one beginning each.
    pub stocks: Vec<Vec<u8>>,
    /// What the couriers' capacities may be at first: one beginning each.
    pub couriers: Vec<Vec<u8>>,
    /// What the customers do.
    pub customer: CustomerHabits,
    /// How often the shop owner says how much of the first item was put in: one piece, or two.
    pub puts: u8,
    /// How often the shop owner withdraws the first item.
    pub withdrawals: u8,
    /// Whether the provider may decline.
    pub declines: bool,
    /// Whether the desk may refuse.
    pub refusals: bool,
    /// How many instances crash with an outside call in hand.
    pub crashes: u8,
    /// How many outside calls are made although one for the same input was made already.
    pub doubles: u8,
    /// Whether the broker may fire a schedule that the commit before has purged.
    pub late_expiry: bool,
    /// Whether outside calls are answered at once, as the simulators do without latency.
    pub instant: bool,
}

impl Configuration {
    /// One order that meets everything.
    pub fn one(flow: Flow, payment: PaymentMode, approval: Approval) -> Self {
        Configuration {
            name: format!("one, {}, {}", words(payment, "payment"), words_of(approval)),
            flow,
            orders: vec![(payment, approval)],
            // The second line may be short: all or nothing.
            stocks: vec![vec![1, 1], vec![1, 0]],
            couriers: vec![vec![1], vec![]],
            customer: CustomerHabits::RESTLESS,
            puts: 0,
            withdrawals: 0,
            declines: true,
            refusals: true,
            crashes: 1,
            doubles: 1,
            late_expiry: true,
            instant: false,
        }
    }

    /// Two orders, alike, that compete for the last piece and the last courier.
    pub fn two(flow: Flow, payment: PaymentMode, approval: Approval) -> Self {
        Configuration {
            name: format!("two, {}, {}", words(payment, "payment"), words_of(approval)),
            orders: vec![(payment, approval); 2],
            stocks: vec![vec![1], vec![2]],
            couriers: vec![vec![1], vec![2]],
            customer: CustomerHabits::CALM,
            declines: false,
            refusals: false,
            crashes: 0,
            doubles: 0,
            late_expiry: false,
            instant: true,
            ..Self::one(flow, payment, approval)
        }
    }

    /// The same with goods that come in while the orders are under way.
    #[must_use]
    pub fn stocked_later(self) -> Self {
        Configuration {
            name: format!("{}, stock comes in", self.name),
            stocks: vec![vec![0], vec![1]],
            puts: 2,
            ..self
        }
    }

    /// The same with a shop owner who withdraws the first item while the orders are under way.
    #[must_use]
    pub fn withdrawn_meanwhile(self) -> Self {
        Configuration {
            name: format!("{}, the item is withdrawn", self.name),
            stocks: vec![vec![2]],
            withdrawals: 1,
            ..self
        }
    }

    /// The orders as their customers place them.
    pub fn placed(&self) -> Vec<Arc<Order>> {
        let items = self.stocks.first().map_or(0, Vec::len);
        self.orders
            .iter()
            .enumerate()
            .map(|(n, (payment, approval))| {
                let lines: Vec<_> = (0..items)
                    .map(|item| Line {
                        item_id: item_id(item),
                        quantity: 1,
                        unit_price: 250,
                    })
                    .collect();
                Arc::new(Order {
                    order_id: order_id(n),
                    customer_id: CustomerId::new("ada").unwrap_or_else(|e| unreachable!("{e}")),
                    total: lines.iter().map(|line| line.unit_price).sum(),
                    lines,
                    currency: Currency::EUR,
                    address: "1 Main St".to_owned(),
                    payment: *payment,
                    approval: *approval,
                    placed_at: None,
                })
            })
            .collect()
    }
}

fn words(payment: PaymentMode, of: &str) -> String {
    match payment {
        PaymentMode::Auto => format!("auto {of}"),
        PaymentMode::Manual => format!("manual {of}"),
    }
}

fn words_of(approval: Approval) -> &'static str {
    match approval {
        Approval::Auto => "auto approval",
        Approval::Manual => "manual approval",
    }
}

/// The id of the n-th order. No other id holds one of them, so that it can be left out of a text.
pub(crate) fn order_id(n: usize) -> OrderId {
    OrderId::new(format!("order-{}", n + 1)).unwrap_or_else(|e| unreachable!("{e}"))
}

/// The id of the n-th item.
pub(crate) fn item_id(n: usize) -> ItemId {
    ItemId::new(["apple", "bread", "candle"][n]).unwrap_or_else(|e| unreachable!("{e}"))
}

const FLOWS: [Flow; 2] = [Flow::PayFirst, Flow::ReserveFirst];
const PAYMENTS: [PaymentMode; 2] = [PaymentMode::Auto, PaymentMode::Manual];
const APPROVALS: [Approval; 2] = [Approval::Auto, Approval::Manual];

/// What `just verify` runs: one order in every combination, and two that compete.
pub fn quick() -> Vec<Configuration> {
    let mut all = Vec::new();
    for flow in FLOWS {
        for payment in PAYMENTS {
            for approval in APPROVALS {
                let one = Configuration::one(flow, payment, approval);
                // What makes the world of a manual payment large, one at a time.
                all.push(match approval {
                    Approval::Auto => Configuration {
                        late_expiry: false,
                        ..one
                    },
                    Approval::Manual => Configuration {
                        customer: CustomerHabits {
                            confirms: 1,
                            ..CustomerHabits::RESTLESS
                        },
                        ..one
                    },
                });
            }
        }
        let two = Configuration::two(flow, PaymentMode::Auto, Approval::Auto);
        all.push(two.clone().stocked_later());
        all.push(two.clone().withdrawn_meanwhile());
        all.push(two);
    }
    all
}

/// Where seeded mistakes are looked for: small worlds in which, together, everything happens.
pub fn small() -> Vec<Configuration> {
    let one = |payment, approval| Configuration {
        late_expiry: false,
        customer: CustomerHabits {
            confirms: 1,
            ..CustomerHabits::RESTLESS
        },
        ..Configuration::one(Flow::PayFirst, payment, approval)
    };
    let two = Configuration::two(Flow::PayFirst, PaymentMode::Auto, Approval::Auto);
    vec![
        one(PaymentMode::Auto, Approval::Auto),
        two.clone(),
        one(PaymentMode::Manual, Approval::Manual),
        two.clone().stocked_later(),
        two.withdrawn_meanwhile(),
    ]
}

/// What is run by hand: more crashes, more doubled calls, and two orders of every kind.
pub fn full() -> Vec<Configuration> {
    let mut all = Vec::new();
    for flow in FLOWS {
        for payment in PAYMENTS {
            for approval in APPROVALS {
                let one = Configuration::one(flow, payment, approval);
                all.push(Configuration {
                    name: format!("{}, worse", one.name),
                    crashes: 2,
                    doubles: 2,
                    ..one
                });
            }
        }
        for payment in PAYMENTS {
            for approval in APPROVALS {
                let two = Configuration::two(flow, payment, approval);
                all.push(Configuration {
                    name: format!("{}, slow", two.name),
                    instant: false,
                    ..two
                });
            }
        }
        let two = Configuration::two(flow, PaymentMode::Auto, Approval::Auto);
        all.push(Configuration {
            name: format!("{}, worse", two.name),
            instant: false,
            crashes: 1,
            doubles: 1,
            ..two
        });
    }
    all
}
