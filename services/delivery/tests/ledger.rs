//! Property tests of decisions on arbitrary ledgers, also on records that no decision writes. Seeds of failures are kept in
//! `ledger.regressions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_decision::testing::{NOW, id, order};
use quadrille_decision::{Context, Decision, Service};
use quadrille_delivery::DeliveryService;
use quadrille_delivery::decide::{COURIERS, Courier, Input, State, courier_of, key};
use quadrille_delivery::desk::DeskResult;
use quadrille_events::{Assigned, CourierId, DeliveryEvent};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_u64, any::<u64>(), Just(u64::MAX)]
}

fn courier() -> impl Strategy<Value = Courier> {
    (number(), number()).prop_map(|(capacity, load)| Courier { capacity, load })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn only_the_key_of_a_courier_is_read_as_that_courier(name in "[A-Za-z0-9_-]{1,64}", noise in any::<String>()) {
        let courier_id: CourierId = id(&name);
        prop_assert_eq!(courier_of(&key(&courier_id)), Some(courier_id));
        if let Some(read) = courier_of(&noise) {
            prop_assert_eq!(key(&read), noise);
        }
    }

    #[test]
    fn a_decision_never_panics_and_never_makes_a_sound_record_unsound(
        couriers in prop::collection::btree_map("[a-c]", courier(), 0..4), capacity in number(), n in 0..5,
        stray in any::<bool>(),
    ) {
        let order = Arc::new(order("42"));
        let mut records: BTreeMap<_, _> =
            couriers.into_iter().map(|(name, courier)| (key(&id(&name)), courier)).collect();
        if stray {
            records.insert(format!("{COURIERS}.no id"), Courier { capacity: 1, load: 0 });
        }
        let assigned = DeliveryEvent::from(Assigned { order: order.clone(), courier_id: id("a") });
        let (said, input) = match n {
            0 => (vec![], Input::Desk { order: order.clone(), result: DeskResult::Accepted }),
            1 => (vec![assigned], Input::Cancelled { order: order.clone(), asked: true }),
            2 => (vec![], Input::Cancelled { order: order.clone(), asked: true }),
            3 => (vec![], Input::RemoveCourier { courier_id: id("a") }),
            _ => (vec![], Input::Courier { courier_id: id("a"), capacity }),
        };
        let mut state = State::default();
        said.iter().for_each(|said| DeliveryService::fold(&mut state, said));
        if let Decision::Say(say) = DeliveryService::decide(&state, &input, &Context { now: NOW, records: &records }) {
            for (key, after) in say.records {
                let before = records.get(&key).cloned().unwrap_or_default();
                let Some(after) = after else {
                    prop_assert_eq!(before.load, 0, "removed with orders");
                    continue;
                };
                let was_sound = before.load <= before.capacity;
                prop_assert!(!was_sound || after.load <= after.capacity, "{before:?} -> {after:?}");
            }
        }
    }
}
