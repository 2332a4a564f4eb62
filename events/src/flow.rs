//! The business setting `FLOW`: whether an order is charged or its stock reserved first.

/// Whether an order is charged or its stock reserved first. The two flows differ in three wires and in no decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Charge, then reserve: no stock is reserved for an order that cannot be paid.
    #[default]
    PayFirst,
    /// Reserve, then charge: no customer is charged for items that are out of stock.
    ReserveFirst,
}

impl std::str::FromStr for Flow {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pay-first" => Ok(Flow::PayFirst),
            "reserve-first" => Ok(Flow::ReserveFirst),
            other => Err(format!("must be `pay-first` or `reserve-first`, not `{other}`")),
        }
    }
}
