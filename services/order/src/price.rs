//! The price list of the order service, and what a customer asks for before it has a price.
//!
//! The price of an item is a record of the ledger, `price.item.<item_id>`, written when inventory lists, changes or withdraws the
//! item. An order is placed at the prices that the order service knows; inventory may have changed one a moment before.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_decision::Refusal;
use quadrille_events::{
    Approval, Currency, CustomerId, Item, ItemId, Line, MAX_MONEY, Money, Order, OrderId, PaymentMode,
};
use serde::{Deserialize, Serialize};

/// What the order service knows of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemPrice {
    /// The version of the item. An event with a smaller one came late, and is ignored.
    pub version: u64,
    /// The price of one, in minor units.
    pub price: Money,
    pub currency: Currency,
    /// Whether the item is not offered any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

impl ItemPrice {
    pub fn of(version: u64, item: &Item) -> Self {
        Self {
            version,
            price: item.price,
            currency: item.currency,
            withdrawn: false,
        }
    }
}

/// The key of an item's record in the ledger.
pub fn key(item_id: &ItemId) -> String {
    format!("price.item.{item_id}")
}

/// An order as its customer sends it: prices and total may be left out.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRequest {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub lines: Vec<LineRequest>,
    pub total: Option<Money>,
    pub currency: Currency,
    pub address: String,
    pub payment: PaymentMode,
    pub approval: Approval,
    pub placed_at: Option<Timestamp>,
}

/// One line of an [`OrderRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct LineRequest {
    pub item_id: ItemId,
    pub quantity: u32,
    pub unit_price: Option<Money>,
}

impl OrderRequest {
    /// The order at these prices, or why it cannot be placed: the first line that is wrong.
    pub fn priced(&self, prices: &BTreeMap<String, ItemPrice>) -> Result<Order, Refusal> {
        let mut total: Money = 0;
        let mut lines = Vec::with_capacity(self.lines.len());
        for (n, line) in self.lines.iter().enumerate() {
            let unit_price = self.unit_price(n, line, prices)?;
            total = unit_price
                .checked_mul(Money::from(line.quantity))
                .and_then(|price| price.checked_add(total))
                .filter(|total| *total <= MAX_MONEY)
                .ok_or_else(|| {
                    let detail = format!("makes the order dearer than {MAX_MONEY}, the largest amount");
                    invalid(format!("lines[{n}].quantity"), detail)
                })?;
            lines.push(Line {
                item_id: line.item_id.clone(),
                quantity: line.quantity,
                unit_price,
            });
        }
        match self.total {
            Some(given) if given != total => {
                let detail = format!("is {given}, but the lines add up to {total}");
                Err(invalid("total".to_owned(), detail))
            }
            Some(_) | None => Ok(Order {
                order_id: self.order_id.clone(),
                customer_id: self.customer_id.clone(),
                lines,
                total,
                currency: self.currency,
                address: self.address.clone(),
                payment: self.payment,
                approval: self.approval,
                placed_at: self.placed_at,
            }),
        }
    }

    /// The price of one piece of the `n`-th line.
    fn unit_price(
        &self,
        n: usize,
        line: &LineRequest,
        prices: &BTreeMap<String, ItemPrice>,
    ) -> Result<Money, Refusal> {
        let item_id = &line.item_id;
        let of_item = |detail: String| Err(invalid(format!("lines[{n}].item_id"), detail));
        let Some(known) = prices.get(&key(item_id)) else {
            return of_item(format!("the shop has no item `{item_id}`"));
        };
        if known.withdrawn {
            return of_item(format!("`{item_id}` is withdrawn"));
        }
        let (price, currency) = (known.price, known.currency.code());
        if known.currency != self.currency {
            let asked = self.currency.code();
            return of_item(format!(
                "`{item_id}` costs {price} {currency}, and the order is in {asked}"
            ));
        }
        match line.unit_price {
            Some(given) if given != price => {
                let detail = format!("is {given}, but `{item_id}` costs {price} {currency}");
                Err(invalid(format!("lines[{n}].unit_price"), detail))
            }
            Some(_) | None => Ok(price),
        }
    }

    /// Whether the placed order is the one that is asked for. What was left out can be anything, because prices may have
    /// changed since; and so can the time.
    pub fn asks_for(&self, placed: &Order) -> bool {
        let Order {
            order_id,
            customer_id,
            lines,
            total,
            currency,
            address,
            payment,
            approval,
            placed_at: _,
        } = placed;
        let is_line = |(asked, placed): (&LineRequest, &Line)| {
            asked.item_id == placed.item_id
                && asked.quantity == placed.quantity
                && asked.unit_price.is_none_or(|price| price == placed.unit_price)
        };
        self.order_id == *order_id
            && self.customer_id == *customer_id
            && self.lines.len() == lines.len()
            && self.lines.iter().zip(lines).all(is_line)
            && self.total.is_none_or(|asked| asked == *total)
            && self.currency == *currency
            && self.address == *address
            && self.payment == *payment
            && self.approval == *approval
    }
}

impl From<&Order> for OrderRequest {
    /// The request that names everything.
    fn from(order: &Order) -> Self {
        let lines = order.lines.iter().map(|line| LineRequest {
            item_id: line.item_id.clone(),
            quantity: line.quantity,
            unit_price: Some(line.unit_price),
        });
        Self {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            lines: lines.collect(),
            total: Some(order.total),
            currency: order.currency,
            address: order.address.clone(),
            payment: order.payment,
            approval: order.approval,
            placed_at: order.placed_at,
        }
    }
}

fn invalid(field: String, detail: String) -> Refusal {
    Refusal::Invalid { field, detail }
}
