//! Seeded mistakes: each is one thing done wrong, by a service, by the engine, by the wiring or by the provider. The
//! claims must catch every one of them.

use std::sync::Arc;

use quadrille_events::{
    CancelOrder, CancelPayment, Completed, CreateDelivery, DeliveryEvent, Event, InventoryEvent, Order,
    OrderCancelled, OrderEvent, PaymentEvent, Reserved,
};

use crate::participant::{Answer, Due, Fact, Trigger, fact};
use crate::world::{Command, NAMES, Slot, Who, bit};

macro_rules! mutations {
    ($( $(#[$doc:meta])* $name:ident by $whose:ident: $words:literal; )+) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutation { $( #[doc = $words] $name ),+ }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Mutation] = &[ $( Mutation::$name ),+ ];

            /// What is done wrong.
            pub fn in_words(self) -> &'static str {
                match self { $( Mutation::$name => $words ),+ }
            }

            /// Whose mistake it is.
            pub fn whose(self) -> &'static str {
                match self { $( Mutation::$name => stringify!($whose) ),+ }
            }
        }
    };
}

mutations! {
    SkipRefund by payment: "says that it refunded, and asks nobody to";
    RefundWithoutCancelOrder by payment: "refunds and does not say cancel-order";
    IgnoreLateCancel by payment: "ignores a cancel-payment that comes after the charge";
    NoPaymentTombstone by payment: "forgets a cancel-payment that overtakes the request";
    IgnoreExpiry by payment: "does nothing when the deadline passes";
    SkipVoid by payment: "does not void a cancelled payment";
    VoidOnlyIfOpened by payment: "voids only payments that were opened";
    DeadlineLeftSet by payment: "charges or cancels and leaves the deadline set";
    DeadlineNeverSet by payment: "opens a payment without a deadline";
    NeverCharged by payment: "says of every cancelled order that it was never charged";
    FreshIdempotencyKey by payment: "uses a new idempotency key for every call";
    ForgetReleasedStock by inventory: "releases and leaves the stock reserved";
    NoInventoryTombstone by inventory: "forgets a cancellation that overtakes the request";
    Oversell by inventory: "reserves without looking at what is there";
    ReserveOneLine by inventory: "reserves the first line and forgets the others";
    DoubleRelease by inventory: "gives back two for one";
    NoDeliveryTombstone by delivery: "forgets a cancellation that overtakes the request";
    CourierStaysOut by delivery: "cancels and does not call the courier back";
    DoubleCallBack by delivery: "takes two orders off the courier for one";
    CompleteWhileCancelling by order: "completes although it is being cancelled";
    CancelCompleted by order: "lets a customer cancel what is completed";
    DeliveryNeverRequested by order: "says of every cancelled order that delivery was never asked";
    SkipApproval by order: "asks for the delivery without waiting for the approval";
    ForgetCancelOrder by order: "ignores a cancel-order unless it asked for it";
    ActOnDuplicate by engine: "decides on an input that comes again as if nothing had been said";
    IgnoreOnRemembered by engine: "ignores on a remembered state";
    CommitWithoutCheck by engine: "commits an event without its check";
    RecordWithoutCheck by engine: "writes a record without its check";
    IgnoreOnRememberedLedger by engine: "ignores a command about stock on remembered stock";
    TornCommit by engine: "commits one message after the other, not all or nothing";
    AckBeforeOutcome by engine: "acknowledges an input while its outside call is on its way";
    DeafInventory by wiring: "inventory does not hear order.cancelled";
    DeafDelivery by wiring: "delivery does not hear order.cancelled";
    DeafToVoiding by wiring: "payment does not hear its own payment.cancelled";
    ProviderForgetsVoid by provider: "takes a charge after a void, which its trait forbids";
}

/// What a mistaken service looks at.
pub(crate) struct Occasion<'a> {
    pub who: Who,
    pub order: &'a Arc<Order>,
    /// The names of what it has said.
    pub said: u32,
    pub trigger: &'a Trigger<'a>,
    pub slots: &'a [Slot],
}

impl Occasion<'_> {
    /// The event that was heard.
    fn heard(&self) -> u32 {
        match self.trigger {
            Trigger::Heard(fact) => bit(fact.name),
            Trigger::Command(_) | Trigger::Stock(_) | Trigger::Outcome(_) => 0,
        }
    }
}

impl Mutation {
    /// Whether a listener's ear for this event is cut off.
    pub(crate) fn deafens(self, who: Who, name: u32) -> bool {
        (self == Mutation::DeafInventory && who == Who::Inventory && name == NAMES.order_cancelled)
            || (self == Mutation::DeafDelivery && who == Who::Delivery && name == NAMES.order_cancelled)
            || (self == Mutation::DeafToVoiding && who == Who::Payment && name == NAMES.payment_cancelled)
    }

    /// What the service answers instead of `answer`. `afresh` is what it would answer if it had said nothing.
    pub(crate) fn instead(self, at: &Occasion<'_>, answer: Answer, afresh: impl Fn() -> Answer) -> Answer {
        match answer {
            Answer::Say {
                facts,
                slots,
                deadline,
            } => self.says_instead(at, facts, slots, deadline),
            Answer::Ignore(_) if self == Mutation::ActOnDuplicate && at.heard() != 0 => afresh(),
            Answer::Ignore(_)
                if self == Mutation::CompleteWhileCancelling && at.heard() == NAMES.assigned =>
            {
                match at.trigger {
                    Trigger::Heard(heard) => complete(heard),
                    Trigger::Command(_) | Trigger::Stock(_) | Trigger::Outcome(_) => answer,
                }
            }
            Answer::Refuse
                if self == Mutation::CancelCompleted
                    && matches!(at.trigger, Trigger::Command(Command::CancelOrder))
                    && at.said & NAMES.completed != 0 =>
            {
                says(OrderEvent::from(CancelPayment {
                    order: at.order.clone(),
                    reason: "late".to_owned(),
                }))
            }
            Answer::Ask(_) if self == Mutation::IgnoreLateCancel && at.heard() == NAMES.cancel_payment => {
                Answer::Ignore("late")
            }
            Answer::Ask(_)
                if self == Mutation::VoidOnlyIfOpened
                    && at.heard() == NAMES.payment_cancelled
                    && at.said & NAMES.opened == 0 =>
            {
                Answer::Ignore("never opened")
            }
            Answer::Ask(_) | Answer::Ignore(_) | Answer::Refuse | Answer::Broken(_) => answer,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever is not named here is as shipped"
    )]
    fn says_instead(
        self,
        at: &Occasion<'_>,
        mut facts: Vec<Fact>,
        mut changed: Vec<(usize, Slot)>,
        mut deadline: Due<Fact>,
    ) -> Answer {
        let says = |name: u32| facts.iter().any(|fact| bit(fact.name) == name);
        let heard = at.heard();
        match self {
            Mutation::RefundWithoutCancelOrder if says(NAMES.refunded) => facts.truncate(1),
            Mutation::NoPaymentTombstone
                if at.who == Who::Payment && at.said == 0 && heard == NAMES.cancel_payment =>
            {
                return Answer::Ignore("not mine");
            }
            Mutation::IgnoreExpiry if heard == NAMES.expired => return Answer::Ignore("so what"),
            Mutation::DeadlineLeftSet if deadline == Due::Clear => deadline = Due::Keep,
            Mutation::DeadlineNeverSet if deadline != Due::Clear => deadline = Due::Keep,
            Mutation::ForgetReleasedStock if says(NAMES.released) => changed.clear(),
            Mutation::NoInventoryTombstone
                if says(NAMES.reservation_failed) && heard == NAMES.order_cancelled =>
            {
                return Answer::Ignore("not mine");
            }
            Mutation::Oversell if says(NAMES.reservation_failed) && heard != NAMES.order_cancelled => {
                facts = vec![fact(&InventoryEvent::from(Reserved {
                    order: at.order.clone(),
                }))];
                let more = at.slots.iter().map(|slot| Slot {
                    used: slot.used + 1,
                    ..*slot
                });
                changed = more.enumerate().collect();
            }
            Mutation::ReserveOneLine if says(NAMES.reserved) => changed.truncate(1),
            Mutation::DoubleRelease if says(NAMES.released) => one_less(&mut changed),
            Mutation::NoDeliveryTombstone if says(NAMES.delivery_cancelled) && changed.is_empty() => {
                return Answer::Ignore("not mine");
            }
            Mutation::CourierStaysOut if says(NAMES.delivery_cancelled) => changed.clear(),
            Mutation::DoubleCallBack if says(NAMES.delivery_cancelled) => one_less(&mut changed),
            Mutation::SkipApproval if says(NAMES.awaiting_approval) => {
                facts = vec![fact(&OrderEvent::from(CreateDelivery {
                    order: at.order.clone(),
                }))];
            }
            Mutation::ForgetCancelOrder
                if says(NAMES.order_cancelled) && at.said & NAMES.cancel_payment == 0 =>
            {
                return Answer::Ignore("did not ask for it");
            }
            Mutation::NeverCharged | Mutation::DeliveryNeverRequested => {
                for old in &mut facts {
                    self.rewrite(old);
                }
            }
            _ => {}
        }
        Answer::Say {
            facts,
            slots: changed,
            deadline,
        }
    }

    /// Says less in an event than the service did.
    fn rewrite(self, old: &mut Fact) {
        let event = Event::decode(old.name.service, old.name.entry, &old.body);
        if let Ok(Event::Payment(PaymentEvent::CancelOrder(said))) = &event
            && self == Mutation::NeverCharged
        {
            *old = fact(&PaymentEvent::from(CancelOrder {
                charged: false,
                ..said.clone()
            }));
        }
        if let Ok(Event::Order(OrderEvent::Cancelled(said))) = &event
            && self == Mutation::DeliveryNeverRequested
        {
            *old = fact(&OrderEvent::from(OrderCancelled {
                delivery_requested: false,
                ..said.clone()
            }));
        }
    }
}

fn one_less(changed: &mut [(usize, Slot)]) {
    for (_, slot) in changed {
        slot.used = slot.used.saturating_sub(1);
    }
}

fn says(event: OrderEvent) -> Answer {
    Answer::Say {
        facts: vec![fact(&event)],
        slots: Vec::new(),
        deadline: Due::Keep,
    }
}

/// Takes `delivery.assigned` for the end.
fn complete(heard: &Fact) -> Answer {
    let event = Event::decode(heard.name.service, heard.name.entry, &heard.body);
    let Ok(Event::Delivery(DeliveryEvent::Assigned(assigned))) = event else {
        return Answer::Ignore("no delivery.assigned");
    };
    says(OrderEvent::from(Completed {
        order: assigned.order,
        courier_id: assigned.courier_id,
    }))
}

impl Mutation {
    /// Whether it needs to know what a ledger looked like before its last change.
    pub(crate) fn remembers_ledger(self) -> bool {
        self == Mutation::RecordWithoutCheck || self == Mutation::IgnoreOnRememberedLedger
    }
}
