//! Property tests of decisions on arbitrary ledgers, also on records that no decision writes. Seeds of failures are kept in
//! `ledger.regressions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_decision::testing::{NOW, id, order_of};
use quadrille_decision::{Context, Decision, Service};
use quadrille_events::{InventoryEvent, ItemListed, Released, Reserved};
use quadrille_inventory::InventoryService;
use quadrille_inventory::decide::{Input, State, Stock, key};
use quadrille_inventory::item::{Expected, ItemChange};
use quadrille_inventory::samples::{item, whole};

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

fn stock() -> impl Strategy<Value = Stock> {
    (number(), number(), any::<bool>()).prop_map(|(quantity, reserved, withdrawn)| Stock {
        quantity,
        reserved,
        withdrawn,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_decision_never_panics_and_never_makes_a_sound_record_unsound(
        apple in prop::option::of(stock()), bread in prop::option::of(stock()),
        wanted in prop::collection::vec((prop::sample::select(vec!["apple", "bread"]), 1..=u32::MAX), 1..5),
        put in number(), n in 0..7,
    ) {
        let order = Arc::new(order_of("42", &[("apple", 1)]));
        let order = Arc::new(quadrille_events::Order { lines: order_of_lines(&wanted), ..(*order).clone() });
        let records: BTreeMap<_, _> = [("apple", apple), ("bread", bread)]
            .into_iter()
            .filter_map(|(item, stock)| Some((key(&id(item)), stock?)))
            .collect();
        let reserved = InventoryEvent::from(Reserved { order: order.clone() });
        let listed = || vec![InventoryEvent::from(ItemListed { item_id: id("apple"), version: 1, item: Arc::new(item(put)) })];
        let change = ItemChange { quantity: Some(put), ..ItemChange::default() };
        let (said, input) = match n {
            0 => (vec![], Input::Reserve(order.clone())),
            1 => (vec![reserved], Input::Cancelled { order: order.clone(), asked: true }),
            2 => (vec![], Input::Cancelled { order: order.clone(), asked: true }),
            3 => (vec![reserved, Released { order: order.clone() }.into()], Input::Reserve(order.clone())),
            4 => (listed(), Input::Put { item_id: id("apple"), change, expected: Expected::Nothing }),
            5 => (vec![], Input::Put { item_id: id("apple"), change: whole(item(put)), expected: Expected::Nothing }),
            _ => (listed(), Input::Withdraw { item_id: id("apple"), expected: Expected::Any }),
        };
        let mut state = State::default();
        said.iter().for_each(|said| InventoryService::fold(&mut state, said));
        if let Decision::Say(say) = InventoryService::decide(&state, &input, &Context { now: NOW, records: &records }) {
            for (key, after) in say.records {
                let after = after.expect("inventory removes no record");
                let before = records.get(&key).cloned().unwrap_or_default();
                let was_sound = before.reserved <= before.quantity;
                prop_assert!(!was_sound || after.reserved <= after.quantity, "{before:?} -> {after:?}");
                prop_assert!(!before.withdrawn || after.withdrawn, "{before:?} -> {after:?}");
                prop_assert!(!after.withdrawn || before.withdrawn || after.reserved == 0, "{before:?} -> {after:?}");
            }
        }
    }
}

fn order_of_lines(wanted: &[(&str, u32)]) -> Vec<quadrille_events::Line> {
    wanted
        .iter()
        .map(|(item, quantity)| quadrille_events::Line {
            item_id: id(item),
            quantity: *quantity,
            unit_price: 1,
        })
        .collect()
}
