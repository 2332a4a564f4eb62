//! Requests of customers, and their checks: a wrong request is answered by the first field that is wrong.

use jiff::Timestamp;
use quadrille_events::{
    Approval, Currency, CustomerId, ItemId, MAX_ADDRESS, MAX_LINES, MAX_MONEY, Money, OrderId, PaymentMode,
};
use quadrille_runtime::http::{Problem, at_most, field, plain_text, reason, whole, whole_or_null};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::price::{LineRequest, OrderRequest};

/// A new order.
// Ids and the currency are read as text, so that a wrong one is answered by its field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "customer_id": "ada",
    "lines": [{ "item_id": "apple", "quantity": 2, "unit_price": 250 }],
    "total": 500,
    "currency": "EUR",
    "address": "1 Main St",
    "payment": "auto",
}))]
pub struct NewOrder {
    /// The customer, who pays.
    #[schema(value_type = CustomerId)]
    customer_id: String,
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<NewLine>,
    /// The sum of all lines, in minor units. If it is given, an order that has another is refused.
    #[serde(default, deserialize_with = "whole_or_null")]
    #[schema(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    total: Option<Money>,
    /// ISO 4217: the currency in which every item is priced.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// Where to deliver, on one line: at most 500 bytes, without control characters.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    address: String,
    /// Whether the payment is charged at once or waits for the customer.
    #[serde(default)]
    payment: PaymentMode,
    /// Whether the order waits for the shop owner.
    #[serde(default)]
    approval: Approval,
}

/// One line of a new order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLine {
    #[schema(value_type = ItemId)]
    item_id: String,
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    quantity: u32,
    /// The price of one, in minor units. If it is given, an order at another price is refused.
    #[serde(default, deserialize_with = "whole_or_null")]
    #[schema(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    unit_price: Option<Money>,
}

/// The approval of an order by the shop owner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d" }))]
pub struct ConfirmOrder {
    #[schema(value_type = OrderId)]
    order_id: String,
}

/// The cancellation of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d", "reason": "changed my mind" }))]
pub struct CancelOrder {
    #[schema(value_type = OrderId)]
    order_id: String,
    /// Why, in a sentence or two, without control characters.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    reason: Option<String>,
}

impl NewOrder {
    /// What the customer asks for, placed now. The id is random, or derived from customer and idempotency key.
    pub fn check(self, key: Option<&str>) -> Result<OrderRequest, Problem> {
        let customer_id: CustomerId = field("customer_id", &self.customer_id)?;
        let lines = check_lines(self.lines)?;
        check_amount("total", self.total)?;
        let currency = Currency::from_code(&self.currency)
            .ok_or_else(|| Problem::invalid("currency", "must be a code of ISO 4217 such as `EUR`"))?;
        if self.address.len() > MAX_ADDRESS {
            return Err(Problem::invalid(
                "address",
                format!("must be at most {MAX_ADDRESS} bytes long"),
            ));
        }
        plain_text("address", &self.address)?;
        Ok(OrderRequest {
            order_id: order_id(&customer_id, key),
            customer_id,
            lines,
            total: self.total,
            currency,
            address: self.address,
            payment: self.payment,
            approval: self.approval,
            placed_at: Timestamp::from_millisecond(Timestamp::now().as_millisecond()).ok(),
        })
    }
}

fn check_lines(requested: Vec<NewLine>) -> Result<Vec<LineRequest>, Problem> {
    if requested.is_empty() {
        return Err(Problem::invalid("lines", "must not be empty"));
    }
    if requested.len() > MAX_LINES {
        let problem = format!(
            "must be at most {MAX_LINES}, not {}; split the order",
            requested.len()
        );
        return Err(Problem::invalid("lines", problem));
    }
    let lines = requested.into_iter().enumerate().map(|(n, line)| {
        let item_id = field(format!("lines[{n}].item_id"), &line.item_id)?;
        let NewLine {
            quantity, unit_price, ..
        } = line;
        if quantity == 0 {
            let name = format!("lines[{n}].quantity");
            return Err(Problem::invalid(name, "must be at least 1"));
        }
        check_amount(&format!("lines[{n}].unit_price"), unit_price)?;
        Ok(LineRequest {
            item_id,
            quantity,
            unit_price,
        })
    });
    lines.collect()
}

fn check_amount(name: &str, amount: Option<Money>) -> Result<(), Problem> {
    amount.map_or(Ok(()), |amount| at_most(name, amount, MAX_MONEY).map(drop))
}

impl ConfirmOrder {
    pub fn check(self) -> Result<OrderId, Problem> {
        field("order_id", &self.order_id)
    }
}

impl CancelOrder {
    pub fn check(self) -> Result<(OrderId, String), Problem> {
        let reason = reason(self.reason, "the customer cancelled the order")?;
        Ok((field("order_id", &self.order_id)?, reason))
    }
}

/// The namespace of order ids that are derived (RFC 9562, 5.5). Never to be changed: a key that is repeated across an
/// update must find its order.
const KEYED_ORDERS: Uuid = Uuid::from_u128(0x8f0b_6a4e_2f63_4c1d_9b57_51a1_0c3e_77d2);

/// With a key, the same request has the same id, so it is the same order; without one, every request is a new order.
/// Random ids sort by time (RFC 9562, 5.7).
fn order_id(customer_id: &CustomerId, key: Option<&str>) -> OrderId {
    let id = match key {
        // Neither contains a line break, so no two pairs give the same text.
        Some(key) => Uuid::new_v5(&KEYED_ORDERS, format!("{customer_id}\n{key}").as_bytes()),
        None => Uuid::now_v7(),
    };
    OrderId::new(id.to_string()).unwrap_or_else(|error| unreachable!("a UUID is an id: {error}"))
}
