//! The courier desk: the people who say whether an address can be delivered to at all. Which courier goes is decided by
//! the service itself.

use std::pin::Pin;

use quadrille_decision::AskError;
use quadrille_decision::fate::fate;
use quadrille_events::Order;

pub type DeskReply<'a> = Pin<Box<dyn Future<Output = Result<DeskResult, AskError>> + Send + 'a>>;

/// A courier desk. It may be asked again about the same order after any doubt, and must give the same answer.
pub trait Desk: Send + Sync {
    /// Whether a request has effects outside this process. Then it is made only on a state that was read first.
    fn is_outside(&self) -> bool {
        true
    }

    /// Asks whether the order can be delivered.
    fn request<'a>(&'a self, order: &'a Order) -> DeskReply<'a>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskResult {
    /// The order can be delivered, if a courier is free.
    Accepted,
    Refused {
        /// In words for the customer.
        reason: String,
    },
}

/// The address that the simulated desk never delivers to begins with this.
pub const NO_COURIER_ADDRESS: &str = "test-no-courier";

/// The built-in desk: it refuses at a rate, by order id, so that asking again gives the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulator {
    /// The share of orders that are refused, from 0 to 1.
    pub failure_rate: f64,
    /// The answers are a function of the seed and the order id.
    pub seed: u64,
}

impl Desk for Simulator {
    fn is_outside(&self) -> bool {
        false
    }

    fn request<'a>(&'a self, order: &'a Order) -> DeskReply<'a> {
        let reason = if order.address.starts_with(NO_COURIER_ADDRESS) {
            Some("nobody delivers to this test address")
        } else if fate(self.seed, "desk", order.order_id.as_str()) < self.failure_rate {
            Some("no courier wants to go there (simulated)")
        } else {
            None
        };
        let result = match reason {
            Some(reason) => DeskResult::Refused {
                reason: reason.to_owned(),
            },
            None => DeskResult::Accepted,
        };
        Box::pin(std::future::ready(Ok(result)))
    }
}
