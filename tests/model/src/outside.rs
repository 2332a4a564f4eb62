//! Whoever is outside: a provider and a desk that the shipped `Service::ask` really calls.

use std::cell::RefCell;
use std::future::ready;
use std::time::Duration;

use quadrille_delivery::DeliveryService;
use quadrille_delivery::desk::{self, Desk, DeskResult};
use quadrille_events::Flow;
use quadrille_events::Order;
use quadrille_payment::PaymentService;
use quadrille_payment::provider::{self, ChargeResult, Provider};

use crate::mutation::Mutation;
use crate::world::{ProviderBooks, digest};

/// What the outside world knows of one order, while it is called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    pub books: ProviderBooks,
    pub desk: Option<bool>,
    /// What it answers if it is free to choose.
    pub luck: bool,
    pub mutation: Option<Mutation>,
    /// The order was called by this total.
    pub amount: Option<u64>,
}

thread_local! {
    /// The outside world of the call that this thread makes.
    static NOW: RefCell<Outside> = RefCell::default();
}

/// Lets `call` meet this outside world, and brings back what has become of it.
pub(crate) fn meet<T>(outside: Outside, call: impl FnOnce() -> T) -> (T, Outside) {
    NOW.set(outside);
    let answer = call();
    (answer, NOW.take())
}

struct Scripted;

fn key_of(order: &Order, key: &str) -> u32 {
    digest(key.replace(order.order_id.as_str(), "#").as_bytes())
}

impl Provider for Scripted {
    fn charge<'a>(&'a self, order: &'a Order, key: &'a str) -> provider::ProviderReply<'a, ChargeResult> {
        let approved = NOW.with_borrow_mut(|now| {
            now.amount = Some(order.total);
            now.charge(key_of(order, key))
        });
        Box::pin(ready(Ok(if approved {
            ChargeResult::Approved {
                reference: "sim".to_owned(),
            }
        } else {
            ChargeResult::Declined {
                reason: "declined".to_owned(),
            }
        })))
    }

    fn refund<'a>(&'a self, order: &'a Order, key: &'a str) -> provider::ProviderReply<'a, ()> {
        NOW.with_borrow_mut(|now| {
            now.amount = Some(order.total);
            now.refund(key_of(order, key));
        });
        Box::pin(ready(Ok(())))
    }

    fn void<'a>(&'a self, order: &'a Order, _: &'a str) -> provider::ProviderReply<'a, ()> {
        NOW.with_borrow_mut(|now| {
            now.amount = Some(order.total);
            now.void();
        });
        Box::pin(ready(Ok(())))
    }
}

impl Outside {
    fn charge(&mut self, key: u32) -> bool {
        let fresh = self.mutation == Some(Mutation::FreshIdempotencyKey);
        let key = if fresh {
            key.wrapping_add(self.books.charges.len() as u32)
        } else {
            key
        };
        if let Some((_, approved)) = self.books.charges.iter().find(|(known, _)| *known == key) {
            return *approved;
        }
        if self.books.voided && self.mutation != Some(Mutation::ProviderForgetsVoid) {
            return false;
        }
        self.books.charges.push((key, self.luck));
        self.books.taken += u8::from(self.luck);
        self.luck
    }

    fn refund(&mut self, key: u32) {
        if self.mutation == Some(Mutation::SkipRefund) || self.books.refunds.contains(&key) {
            return;
        }
        self.books.refunds.push(key);
        self.books.returned += 1;
    }

    fn void(&mut self) {
        if self.mutation == Some(Mutation::SkipVoid) {
            return;
        }
        self.books.voided = true;
        self.books.returned = self.books.returned.max(self.books.taken);
    }
}

impl Desk for Scripted {
    fn request<'a>(&'a self, _: &'a Order) -> desk::DeskReply<'a> {
        let accepted = NOW.with_borrow_mut(|now| {
            let luck = now.luck;
            *now.desk.get_or_insert(luck)
        });
        Box::pin(ready(Ok(if accepted {
            DeskResult::Accepted
        } else {
            DeskResult::Refused {
                reason: "refused".to_owned(),
            }
        })))
    }
}

/// The payment service with this provider.
pub(crate) fn payment(flow: Flow) -> PaymentService {
    PaymentService {
        flow,
        pay_within: Duration::from_secs(900),
        provider: Box::new(Scripted),
    }
}

/// The delivery service with this desk.
pub(crate) fn delivery() -> DeliveryService {
    DeliveryService {
        desk: Box::new(Scripted),
    }
}
