//! Seeded mistakes: each is one thing done wrong, by a service, by the engine, by the wiring or by the provider. The
//! claims must catch every one of them.

use std::sync::Arc;

use quadrille_decision::Deadline;
use quadrille_decision::erased::Fact;
use quadrille_events::{
    Assigned, AwaitingApproval, Body, CancelDelivery, CancelOrder, CancelPayment, Completed, CourierId,
    CreateDelivery, Delivered, DeliveryCancelled, DeliveryEvent, DeliveryFailed, Event, EventName, Expired,
    InventoryEvent, ItemWithdrawn, Opened, Order, OrderCancelled, OrderEvent, OrderFacts, PaymentCancelled,
    PaymentEvent, Refunded, Released, ReservationFailed, Reserved, Said, Shipped, event_set,
};
use quadrille_inventory::samples;

use crate::configuration::item_id;
use crate::stimulus::{ModelledAnswer, Stimulus};
use crate::world::{ModelCommand, ShopCommand, Slot, Who};

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
    ShipFromNowhere by inventory: "ships and leaves the quantity as it is";
    ShipAndKeepReserved by inventory: "ships and leaves the stock reserved";
    ReleaseDelivered by inventory: "puts back what is delivered";
    ForgetWithdrawnStock by inventory: "withdraws an item and leaves its stock to be reserved";
    WithdrawReserved by inventory: "withdraws an item that is reserved";
    NoDeliveryTombstone by delivery: "forgets a cancellation that overtakes the request";
    CourierStaysOut by delivery: "cancels and does not call the courier back";
    DoubleCallBack by delivery: "takes two orders off the courier for one";
    CourierStaysLoaded by delivery: "confirms a delivery and leaves the courier's load";
    CourierStaysLoadedOnFailure by delivery: "notes a failed delivery and leaves the courier's load";
    ConfirmCalledBack by delivery: "lets a courier confirm what was called back";
    FailDelivered by delivery: "lets a courier fail what was delivered";
    CallBackDelivered by delivery: "calls back what is delivered";
    AskPaymentPastDelivery by order: "asks payment to cancel although a courier was asked for";
    KeepCompleted by order: "keeps an order completed whose delivery failed";
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
    DeafToCancelDelivery by wiring: "delivery does not hear cancel-delivery";
    DeafToDelivered by wiring: "order does not hear delivery.delivered";
    DeafToShipping by wiring: "inventory does not hear delivery.delivered";
    DeafToCallBack by wiring: "payment does not hear delivery.cancelled";
    DeafToFailedDelivery by wiring: "payment does not hear delivery.failed";
    DeafToVoiding by wiring: "payment does not hear its own payment.cancelled";
    ProviderForgetsVoid by provider: "takes a charge after a void, which its trait forbids";
}

/// What a mistaken service looks at.
pub(crate) struct MistakeOccasion<'a> {
    pub who: Who,
    pub order: &'a Arc<Order>,
    pub said: OrderFacts,
    pub stimulus: Stimulus<&'a Fact>,
    pub slots: &'a [Slot],
}

impl MistakeOccasion<'_> {
    /// The event that was heard.
    fn heard(&self) -> Option<&'static EventName> {
        match self.stimulus {
            Stimulus::Heard(fact) => Some(fact.name),
            Stimulus::Command(_) | Stimulus::Shop(_) | Stimulus::Outcome(_) => None,
        }
    }
}

impl Mutation {
    /// Whether a listener's ear for this event is cut off.
    pub(crate) fn deafens(self, who: Who, name: &EventName) -> bool {
        let cut = [
            (Mutation::DeafInventory, Who::Inventory, OrderCancelled::NAME),
            (Mutation::DeafDelivery, Who::Delivery, OrderCancelled::NAME),
            (
                Mutation::DeafToCancelDelivery,
                Who::Delivery,
                CancelDelivery::NAME,
            ),
            (Mutation::DeafToDelivered, Who::Order, Delivered::NAME),
            (Mutation::DeafToShipping, Who::Inventory, Delivered::NAME),
            (Mutation::DeafToCallBack, Who::Payment, DeliveryCancelled::NAME),
            (Mutation::DeafToFailedDelivery, Who::Payment, DeliveryFailed::NAME),
            (Mutation::DeafToVoiding, Who::Payment, PaymentCancelled::NAME),
        ];
        cut.contains(&(self, who, name))
    }

    /// What the service answers instead of `answer`. `afresh` is what it would answer if it had said nothing.
    pub(crate) fn instead(
        self,
        at: &MistakeOccasion<'_>,
        answer: ModelledAnswer<Fact>,
        afresh: impl Fn() -> ModelledAnswer<Fact>,
    ) -> ModelledAnswer<Fact> {
        match answer {
            ModelledAnswer::Say {
                facts,
                slots,
                deadline,
            } => self.says_instead(at, facts, slots, deadline),
            ModelledAnswer::Ignore(_) if self == Mutation::ActOnDuplicate && at.heard().is_some() => afresh(),
            ModelledAnswer::Ignore(_)
                if self == Mutation::CompleteWhileCancelling && at.heard() == Some(Assigned::NAME) =>
            {
                match at.stimulus {
                    Stimulus::Heard(heard) => complete(heard),
                    Stimulus::Command(_) | Stimulus::Shop(_) | Stimulus::Outcome(_) => answer,
                }
            }
            ModelledAnswer::Refuse
                if self == Mutation::CancelCompleted
                    && matches!(at.stimulus, Stimulus::Command(ModelCommand::CancelOrder))
                    && at.said.said::<Completed>() =>
            {
                says(OrderEvent::from(CancelPayment {
                    order: at.order.clone(),
                    reason: "late".to_owned(),
                }))
            }
            ModelledAnswer::Refuse
                if self == Mutation::ConfirmCalledBack
                    && matches!(at.stimulus, Stimulus::Command(ModelCommand::ConfirmDelivery))
                    && at.said.said_all(event_set![Assigned, DeliveryCancelled]) =>
            {
                says(DeliveryEvent::from(Delivered {
                    order: at.order.clone(),
                    courier_id: courier(),
                }))
            }
            ModelledAnswer::Refuse
                if self == Mutation::FailDelivered
                    && matches!(at.stimulus, Stimulus::Command(ModelCommand::FailDelivery))
                    && at.said.said::<Delivered>() =>
            {
                says(DeliveryEvent::from(DeliveryFailed {
                    order: at.order.clone(),
                    courier_id: courier(),
                    reason: "late".to_owned(),
                }))
            }
            ModelledAnswer::Ignore(_)
                if self == Mutation::CallBackDelivered
                    && at.heard() == Some(CancelDelivery::NAME)
                    && at.said.said::<Delivered>()
                    && !at.said.said::<DeliveryCancelled>() =>
            {
                says(DeliveryEvent::from(DeliveryCancelled {
                    order: at.order.clone(),
                    courier_id: Some(courier()),
                    reason: "late".to_owned(),
                }))
            }
            ModelledAnswer::Refuse
                if self == Mutation::WithdrawReserved
                    && matches!(at.stimulus, Stimulus::Shop(ShopCommand::Withdraw)) =>
            {
                withdraw(at.slots)
            }
            ModelledAnswer::Ask(_)
                if self == Mutation::IgnoreLateCancel && at.heard() == Some(CancelPayment::NAME) =>
            {
                ModelledAnswer::Ignore("late")
            }
            ModelledAnswer::Ask(_)
                if self == Mutation::VoidOnlyIfOpened
                    && at.heard() == Some(PaymentCancelled::NAME)
                    && !at.said.said::<Opened>() =>
            {
                ModelledAnswer::Ignore("never opened")
            }
            ModelledAnswer::Ask(_)
            | ModelledAnswer::Ignore(_)
            | ModelledAnswer::Refuse
            | ModelledAnswer::Broken(_) => answer,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever is not named here is as shipped"
    )]
    fn says_instead(
        self,
        at: &MistakeOccasion<'_>,
        mut facts: Vec<Fact>,
        mut changed: Vec<(usize, Slot)>,
        mut deadline: Deadline<Fact>,
    ) -> ModelledAnswer<Fact> {
        let says = |name: &EventName| facts.iter().any(|fact| fact.name == name);
        let heard = at.heard();
        match self {
            Mutation::RefundWithoutCancelOrder if says(Refunded::NAME) => facts.truncate(1),
            Mutation::NoPaymentTombstone
                if at.who == Who::Payment
                    && at.said.events().is_empty()
                    && heard == Some(CancelPayment::NAME) =>
            {
                return ModelledAnswer::Ignore("not mine");
            }
            Mutation::IgnoreExpiry if heard == Some(Expired::NAME) => {
                return ModelledAnswer::Ignore("so what");
            }
            Mutation::DeadlineLeftSet if deadline == Deadline::Clear => deadline = Deadline::Keep,
            Mutation::DeadlineNeverSet if deadline != Deadline::Clear => deadline = Deadline::Keep,
            Mutation::ForgetReleasedStock if says(Released::NAME) => changed.clear(),
            Mutation::ForgetWithdrawnStock if says(ItemWithdrawn::NAME) => changed.clear(),
            Mutation::NoInventoryTombstone
                if says(ReservationFailed::NAME) && heard == Some(OrderCancelled::NAME) =>
            {
                return ModelledAnswer::Ignore("not mine");
            }
            Mutation::Oversell if says(ReservationFailed::NAME) && heard != Some(OrderCancelled::NAME) => {
                facts = vec![Fact::of(&InventoryEvent::from(Reserved {
                    order: at.order.clone(),
                }))];
                let more = at.slots.iter().map(|slot| Slot {
                    used: slot.used + 1,
                    ..*slot
                });
                changed = more.enumerate().collect();
            }
            Mutation::ReserveOneLine if says(Reserved::NAME) => changed.truncate(1),
            Mutation::DoubleRelease if says(Released::NAME) => one_less(&mut changed),
            Mutation::ShipFromNowhere if says(Shipped::NAME) => {
                for (item, slot) in &mut changed {
                    slot.there = at.slots[*item].there;
                }
            }
            Mutation::ShipAndKeepReserved if says(Shipped::NAME) => {
                for (item, slot) in &mut changed {
                    slot.used = at.slots[*item].used;
                }
            }
            Mutation::ReleaseDelivered if says(Shipped::NAME) => {
                facts = vec![Fact::of(&InventoryEvent::from(Released {
                    order: at.order.clone(),
                }))];
                for (item, slot) in &mut changed {
                    slot.there = at.slots[*item].there;
                }
            }
            Mutation::CourierStaysLoaded if says(Delivered::NAME) => changed.clear(),
            Mutation::CourierStaysLoadedOnFailure if says(DeliveryFailed::NAME) => changed.clear(),
            Mutation::AskPaymentPastDelivery => {
                facts = facts.into_iter().map(without_cancel_delivery).collect();
            }
            Mutation::KeepCompleted if says(OrderCancelled::NAME) && at.said.said::<Completed>() => {
                return ModelledAnswer::Ignore("completed");
            }
            Mutation::NoDeliveryTombstone if says(DeliveryCancelled::NAME) && changed.is_empty() => {
                return ModelledAnswer::Ignore("not mine");
            }
            Mutation::CourierStaysOut if says(DeliveryCancelled::NAME) => changed.clear(),
            Mutation::DoubleCallBack if says(DeliveryCancelled::NAME) => one_less(&mut changed),
            Mutation::SkipApproval if says(AwaitingApproval::NAME) => {
                facts = vec![Fact::of(&OrderEvent::from(CreateDelivery {
                    order: at.order.clone(),
                }))];
            }
            Mutation::ForgetCancelOrder
                if says(OrderCancelled::NAME)
                    && !at.said.said_any(event_set![CancelPayment, CancelDelivery]) =>
            {
                return ModelledAnswer::Ignore("did not ask for it");
            }
            Mutation::NeverCharged | Mutation::DeliveryNeverRequested => {
                for old in &mut facts {
                    self.rewrite(old);
                }
            }
            _ => {}
        }
        ModelledAnswer::Say {
            facts,
            slots: changed,
            deadline,
        }
    }

    /// Says less in an event than the service did.
    fn rewrite(self, old: &mut Fact) {
        let event = old.event();
        if let Event::Payment(PaymentEvent::CancelOrder(said)) = &event
            && self == Mutation::NeverCharged
        {
            *old = Fact::of(&PaymentEvent::from(CancelOrder {
                charged: false,
                ..said.clone()
            }));
        }
        if let Event::Order(OrderEvent::Cancelled(said)) = &event
            && self == Mutation::DeliveryNeverRequested
        {
            *old = Fact::of(&OrderEvent::from(OrderCancelled {
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

/// The courier of every order here: each beginning has at most one.
fn courier() -> CourierId {
    CourierId::new("courier-0").unwrap_or_else(|error| unreachable!("{error}"))
}

/// What the order service of release 0.1 said instead of `cancel-delivery`.
pub(crate) fn without_cancel_delivery(fact: Fact) -> Fact {
    let event = fact.event();
    if let Event::Order(OrderEvent::CancelDelivery(CancelDelivery { order, reason })) = event {
        Fact::of(&OrderEvent::from(CancelPayment { order, reason }))
    } else {
        fact
    }
}

fn says(event: impl Said) -> ModelledAnswer<Fact> {
    ModelledAnswer::Say {
        facts: vec![Fact::of(&event)],
        slots: Vec::new(),
        deadline: Deadline::Keep,
    }
}

/// Withdraws the first item, whatever is reserved of it.
fn withdraw(slots: &[Slot]) -> ModelledAnswer<Fact> {
    let withdrawn = InventoryEvent::from(ItemWithdrawn {
        item_id: item_id(0),
        version: 2,
        item: Arc::new(samples::item(1)),
    });
    let closed = slots.first().map(|slot| Slot {
        closed: true,
        ..*slot
    });
    ModelledAnswer::Say {
        facts: vec![Fact::of(&withdrawn)],
        slots: closed.map(|slot| (0, slot)).into_iter().collect(),
        deadline: Deadline::Keep,
    }
}

/// Takes `delivery.assigned` for the end.
fn complete(heard: &Fact) -> ModelledAnswer<Fact> {
    let event = heard.event();
    let Event::Delivery(DeliveryEvent::Assigned(assigned)) = event else {
        return ModelledAnswer::Ignore("no delivery.assigned");
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
