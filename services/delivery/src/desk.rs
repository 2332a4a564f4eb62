//! The courier desk: the people who say whether an address can be delivered to at all. Which courier goes is decided by
//! the service itself.

use std::pin::Pin;

use quadrille_decision::AskError;
use quadrille_decision::fate::fate;
use quadrille_events::Order;

/// What a desk answers, once it does.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<DeskResult, AskError>> + Send + 'a>>;

/// A courier desk. It may be asked again about the same order after any doubt, and must give the same answer.
pub trait Desk: Send + Sync {
    /// Whether a request has effects outside this process. Then it is made only on a state that was read first.
    fn is_outside(&self) -> bool {
        true
    }

    /// Can this order be brought?
    ///
    /// # Errors
    /// [`AskError`] says whether to ask again.
    fn request<'a>(&'a self, order: &'a Order) -> Answer<'a>;
}

/// What a desk answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskResult {
    /// Yes, if a courier is free.
    Accepted,
    /// No.
    Refused {
        /// Why, in words for the customer.
        reason: String,
    },
}

/// The address that the simulated desk never delivers to begins with this.
pub const NO_COURIER_ADDRESS: &str = "test-no-courier";

/// The built-in desk: it refuses at a rate, by order id, so that asking again gives the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulator {
    /// How often it refuses, from 0 to 1.
    pub failure_rate: f64,
    /// What its answers hang on beside the order id.
    pub seed: u64,
}

impl Desk for Simulator {
    fn is_outside(&self) -> bool {
        false
    }

    fn request<'a>(&'a self, order: &'a Order) -> Answer<'a> {
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
