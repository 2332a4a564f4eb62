//! The courier desk, which says whether an address can be delivered to. The service itself decides which courier goes.

use std::pin::Pin;

use quadrille_decision::AskError;
use quadrille_decision::fate::fate;
use quadrille_events::Order;

pub type DeskReply<'a> = Pin<Box<dyn Future<Output = Result<DeskResult, AskError>> + Send + 'a>>;

/// A courier desk. The service repeats a request whose outcome is unknown; the desk must give the same answer.
pub trait Desk: Send + Sync {
    /// Whether a request has effects outside this process: see `Service::asks_outside`.
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

/// The simulated desk refuses every address that begins with this.
pub const NO_COURIER_ADDRESS: &str = "test-no-courier";

/// The built-in desk. It refuses at a rate, by order id, so that a repeated request has the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedDesk {
    /// The share of orders that are refused, from 0 to 1.
    pub failure_rate: f64,
    /// The answers are a function of the seed and the order id.
    pub seed: u64,
}

impl Desk for SimulatedDesk {
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
