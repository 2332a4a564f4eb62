//! What each service can have said of one order at any moment.

use std::collections::BTreeSet;

use quadrille_events::{Approval, CreateDelivery, PaymentMode};

use crate::order_file::OrderFile;
use crate::report::Found;

/// What each service can have said of one order at any moment, after its `decide.rs`.
pub(crate) fn services_say_what_they_can(file: &OrderFile) -> Found {
    const INVENTORY: &[&[&str]] = &[
        &[],
        &["reserved"],
        &["released", "reserved"],
        &["reservation-failed"],
    ];
    const DELIVERY: &[&[&str]] = &[
        &[],
        &["assigned"],
        &["assigned", "cancelled"],
        &["cancel-payment"],
        &["cancelled"],
    ];
    const PAYMENT_AUTO: &[&[&str]] = &[
        &[],
        &["charged"],
        &["cancel-order", "charged", "refunded"],
        &["cancel-order", "failed"],
        &["cancel-order", "cancelled"],
    ];
    const PAYMENT_MANUAL: &[&[&str]] = &[
        &[],
        &["opened"],
        &["charged", "opened"],
        &["cancel-order", "charged", "opened", "refunded"],
        &["cancel-order", "failed", "opened"],
        &["cancel-order", "cancelled", "opened"],
        &["expired", "opened"],
        &["cancel-order", "cancelled", "expired", "opened"],
        &["cancel-order", "cancelled"],
    ];
    const ORDER_AUTO: &[&[&str]] = &[
        &["created"],
        &["create-delivery", "created"],
        &["completed", "create-delivery", "created"],
        &["cancel-payment", "created"],
        &["cancel-payment", "create-delivery", "created"],
        &["cancelled", "created"],
        &["cancelled", "create-delivery", "created"],
        &["cancel-payment", "cancelled", "created"],
        &["cancel-payment", "cancelled", "create-delivery", "created"],
    ];
    let of = |service: &'static str| -> BTreeSet<&'static str> {
        file.events
            .keys()
            .filter(|name| name.service == service)
            .map(|name| name.entry)
            .collect()
    };
    let mut order = of("order");
    let awaited = order.remove("awaiting-approval");
    let mut payment = of("payment");
    if file.expired_in_vain() {
        payment.remove("expired");
    }
    let payment_can = match file.order.payment {
        PaymentMode::Auto => PAYMENT_AUTO,
        PaymentMode::Manual => PAYMENT_MANUAL,
    };
    let said_by = [
        ("order", order, ORDER_AUTO),
        ("payment", payment, payment_can),
        ("inventory", of("inventory"), INVENTORY),
        ("delivery", of("delivery"), DELIVERY),
    ];
    let mut found: Found = said_by
        .iter()
        .filter(|(_, said, can)| !can.iter().any(|set| said.iter().eq(set.iter())))
        .map(|(service, said, _)| {
            format!("has a set of entries that {service} cannot have decided: {said:?}")
        })
        .collect();
    match file.order.approval {
        Approval::Auto if awaited => found.push("awaited an approval that it does not need".to_owned()),
        Approval::Manual if file.facts.said::<CreateDelivery>() && !awaited => {
            found.push("was confirmed before it awaited approval".to_owned());
        }
        Approval::Auto | Approval::Manual => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use quadrille_events::{
        Body, CancelOrder, Charged, Created, EventName, Expired, Opened, Order, PaymentCancelled,
        PaymentFailed, Refunded,
    };

    use super::*;
    use crate::order_file::FiledEvent;

    /// What payment has said of an order that is paid by hand, in this order and so many seconds after it began.
    fn file(is_replicated: bool, events: &[(&'static EventName, i64)]) -> OrderFile {
        let order = Order {
            order_id: "a".parse().unwrap(),
            customer_id: "ada".parse().unwrap(),
            lines: Vec::new(),
            total: 250,
            currency: "EUR".parse().unwrap(),
            address: "1 Main St".to_owned(),
            payment: PaymentMode::Manual,
            approval: Approval::Auto,
        };
        let mut file = OrderFile::new(Arc::new(order), is_replicated);
        for (number, (name, at)) in [(Created::NAME, 0)].iter().chain(events).enumerate() {
            let event = FiledEvent {
                name,
                at: Timestamp::from_second(*at).unwrap(),
                // The entries of other orders stand between.
                sequence: 10 * number as u64,
                cause: "http/confirm".to_owned(),
                digest: 0,
                carries_the_order: true,
                courier: None,
                logged: Vec::new(),
            };
            file.facts.insert(name);
            file.events.insert(name, event);
        }
        file
    }

    #[track_caller]
    fn is_excused(is_replicated: bool, events: &[(&'static EventName, i64)]) -> bool {
        let file = file(is_replicated, events);
        let found = services_say_what_they_can(&file);
        assert_eq!(found.is_empty(), file.expired_in_vain(), "{found:?}");
        found.is_empty()
    }

    #[test]
    fn a_deadline_behind_the_decision_is_in_vain_anywhere_and_whenever() {
        for is_replicated in [false, true] {
            let charged = [(Opened::NAME, 0), (Charged::NAME, 5), (Expired::NAME, 60)];
            assert!(is_excused(is_replicated, &charged));
            let declined = [
                (Opened::NAME, 0),
                (PaymentFailed::NAME, 5),
                (CancelOrder::NAME, 5),
                (Expired::NAME, 60),
            ];
            assert!(is_excused(is_replicated, &declined));
        }
    }

    #[test]
    fn a_charge_behind_the_deadline_is_excused_in_a_cluster_and_of_the_same_moment_alone() {
        let charged_at = |at| [(Opened::NAME, 0), (Expired::NAME, 60), (Charged::NAME, at)];
        assert!(is_excused(true, &charged_at(60)));
        assert!(is_excused(true, &charged_at(70)));
        assert!(!is_excused(true, &charged_at(71)), "far too late");
        assert!(
            !is_excused(false, &charged_at(60)),
            "one server sees its own entry"
        );
    }

    #[test]
    fn a_charge_of_what_the_deadline_has_cancelled_is_found() {
        let entries = [
            (Opened::NAME, 0),
            (Expired::NAME, 60),
            (PaymentCancelled::NAME, 60),
            (CancelOrder::NAME, 60),
            (Charged::NAME, 60),
        ];
        assert!(!is_excused(true, &entries), "it was decided before");
        let entries = [
            (Opened::NAME, 0),
            (Expired::NAME, 60),
            (Refunded::NAME, 60),
            (Charged::NAME, 60),
        ];
        assert!(!is_excused(true, &entries), "something stands between");
    }
}
