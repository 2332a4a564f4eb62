//! What each service may have said about one order at any moment.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use quadrille_events::{Approval, Body, Event, EventName, EventSet, Expired, PaymentMode};

use crate::order_file::OrderFile;
use crate::report::Found;

/// What was found by exploring the decisions of the services; `just map` writes it.
static REACHABLE: LazyLock<HashSet<ReachableSet>> = LazyLock::new(|| {
    let lines = include_str!("reachable.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line| {
        ReachableSet::read(line)
            .unwrap_or_else(|| panic!("tools/audit/src/reachable.txt: `{line}`; `just map` writes it anew"))
    };
    lines.map(read).collect()
});

/// All that one service may have said at some moment about an order that is paid and approved like this.
#[derive(PartialEq, Eq, Hash)]
struct ReachableSet {
    service: &'static str,
    manual_payment: bool,
    manual_approval: bool,
    said: EventSet,
}

impl ReachableSet {
    /// Reads `payment manual auto opened charged`.
    fn read(line: &str) -> Option<Self> {
        let is_manual = |word| match word {
            "manual" => Some(true),
            "auto" => Some(false),
            _ => None,
        };
        let mut words = line.split_whitespace();
        let service = words.next()?;
        let event = |key| Event::names().find(|name| name.service == service && name.has_key(key));
        Some(Self {
            service: Event::SERVICES.into_iter().find(|known| *known == service)?,
            manual_payment: is_manual(words.next()?)?,
            manual_approval: is_manual(words.next()?)?,
            said: words
                .map(event)
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .collect(),
        })
    }

    fn of(file: &OrderFile, service: &'static str) -> Self {
        // The broker fired too late: the decision stands, as if the deadline had not passed.
        let ignored = file.expired_in_vain().then_some(Expired::NAME);
        let of_service = |name: &&EventName| name.service == service && Some(*name) != ignored;
        Self {
            service,
            manual_payment: file.order.payment == PaymentMode::Manual,
            manual_approval: file.order.approval == Approval::Manual,
            said: file.events.keys().copied().filter(of_service).collect(),
        }
    }
}

/// What each service has said of the order is one of the sets that its decisions lead to.
pub(crate) fn services_say_what_they_can(file: &OrderFile) -> Found {
    let sets = Event::SERVICES.map(|service| ReachableSet::of(file, service));
    let unreachable = sets.iter().filter(|set| !REACHABLE.contains(*set));
    unreachable
        .map(|ReachableSet { service, said, .. }| {
            let entries: BTreeSet<_> = said.names().map(EventName::key).collect();
            format!("has a set of entries that {service} cannot have decided: {entries:?}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use quadrille_events::{
        AwaitingApproval, CancelOrder, Charged, CreateDelivery, Created, Opened, Order, PaymentCancelled,
        PaymentFailed, Refunded, Released, Reserved,
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
            placed_at: None,
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

    /// What is found once these were said of an order that is paid and approved like this.
    fn found(payment: PaymentMode, approval: Approval, said: &[&'static EventName]) -> Found {
        let events: Vec<_> = said.iter().map(|name| (*name, 0)).collect();
        let mut file = file(false, &events);
        file.order = Arc::new(Order {
            payment,
            approval,
            ..(*file.order).clone()
        });
        services_say_what_they_can(&file)
    }

    #[test]
    fn what_no_decision_leads_to_is_found() {
        let (auto, manual) = (PaymentMode::Auto, PaymentMode::Manual);
        for (payment, approval, said, who) in [
            (
                auto,
                Approval::Auto,
                vec![Refunded::NAME, CancelOrder::NAME],
                "payment",
            ),
            (
                auto,
                Approval::Auto,
                vec![Charged::NAME, Refunded::NAME],
                "payment",
            ),
            (auto, Approval::Auto, vec![Opened::NAME], "payment"),
            (manual, Approval::Auto, vec![Charged::NAME], "payment"),
            (auto, Approval::Auto, vec![AwaitingApproval::NAME], "order"),
            (auto, Approval::Manual, vec![CreateDelivery::NAME], "order"),
            (auto, Approval::Auto, vec![Released::NAME], "inventory"),
        ] {
            let found = found(payment, approval, &said);
            let sentence = format!("{who} cannot have decided");
            assert!(
                matches!(found.as_slice(), [one] if one.contains(&sentence)),
                "{said:?}: {found:?}"
            );
        }
    }

    #[test]
    fn what_a_decision_leads_to_is_not() {
        let said = [
            AwaitingApproval::NAME,
            CreateDelivery::NAME,
            Charged::NAME,
            Reserved::NAME,
        ];
        assert_eq!(found(PaymentMode::Auto, Approval::Manual, &said), Found::new());
        // The customer cancelled before payment was asked.
        let said = [PaymentCancelled::NAME, CancelOrder::NAME];
        assert_eq!(found(PaymentMode::Manual, Approval::Auto, &said), Found::new());
    }
}
