//! The business setting `FLOW`: whether money or stock is asked for first.

/// In which order money and stock are asked for. Three wires differ and no decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Charge, then reserve: an order that cannot be paid never touches stock.
    #[default]
    PayFirst,
    /// Reserve, then charge: a customer is never charged for what is not there.
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
