//! Sample states and inputs of the inventory service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{Samples, id, order, order_of};
use quadrille_events::{
    Currency, InventoryEvent, Item, ItemId, ItemListed, ItemPhoto, ItemUpdated, ItemWithdrawn, Released,
    ReservationFailed, Reserved,
};

use crate::InventoryService;
use crate::decide::{Input, State, Stock, key};
use crate::item::{Expected, ItemChange};

/// An item that costs 250 a piece.
pub fn item(quantity: u64) -> Item {
    Item {
        name: "Apple".to_owned(),
        description: "A red apple".to_owned(),
        price: 250,
        currency: Currency::EUR,
        quantity,
        tags: vec![id("fruit")],
        photo: None,
    }
}

/// A photo of 48 kB.
pub fn photo() -> ItemPhoto {
    ItemPhoto {
        digest: "ab".repeat(32),
        media_type: "image/jpeg".to_owned(),
        size: 48_213,
    }
}

/// The command that lists this item.
pub fn whole(item: Item) -> ItemChange {
    ItemChange {
        name: Some(item.name),
        description: Some(item.description),
        price: Some(item.price),
        currency: Some(item.currency),
        quantity: Some(item.quantity),
        tags: Some(item.tags),
    }
}

pub fn samples() -> Samples<InventoryService> {
    Samples {
        states: states(),
        heard: heard(),
        commands: commands(),
        outcomes: |ask| match *ask {},
        records: BTreeMap::from([("apple", 2), ("bread", 0)].map(|(item_id, reserved)| {
            let stock = Stock {
                quantity: 10,
                reserved,
                withdrawn: false,
            };
            (key(&id(item_id)), stock)
        })),
        state_name: State::name,
    }
}

fn states() -> Vec<(&'static str, Vec<InventoryEvent>)> {
    let order = Arc::new(order("42"));
    let reserved = InventoryEvent::from(Reserved { order: order.clone() });
    let failed = InventoryEvent::from(ReservationFailed {
        order: order.clone(),
        reason: "sold out".to_owned(),
    });
    let released = InventoryEvent::from(Released { order });
    let item = Arc::new(item(10));
    let listed = |item_id: &str| {
        InventoryEvent::from(ItemListed {
            item_id: id(item_id),
            version: 1,
            item: item.clone(),
        })
    };
    let updated = InventoryEvent::from(ItemUpdated {
        item_id: id("apple"),
        version: 2,
        item: item.clone(),
    });
    let withdrawn = InventoryEvent::from(ItemWithdrawn {
        item_id: id("bread"),
        version: 2,
        item: item.clone(),
    });
    let both = vec![listed("apple"), listed("bread")];
    vec![
        ("none", vec![]),
        ("reserved", vec![reserved.clone()]),
        ("failed", vec![failed]),
        ("released", vec![reserved, released]),
        ("listed", both.clone()),
        ("updated, withdrawn", [both, vec![updated, withdrawn]].concat()),
    ]
}

fn heard() -> Vec<(&'static str, Input)> {
    let (order, greedy) = (Arc::new(order("42")), Arc::new(order_of("42", &[("apple", 200)])));
    let cancelled = |asked| Input::Cancelled {
        order: order.clone(),
        asked,
    };
    vec![
        ("reserve", Input::Reserve(order.clone())),
        ("reserve (too many)", Input::Reserve(greedy)),
        ("order.cancelled", cancelled(true)),
        ("order.cancelled (unasked)", cancelled(false)),
    ]
}

fn commands() -> Vec<(&'static str, Input)> {
    let apple: ItemId = id("apple");
    let put = |change, expected| Input::Put {
        item_id: apple.clone(),
        change,
        expected,
    };
    let quantity = |quantity| ItemChange {
        quantity: Some(quantity),
        ..ItemChange::default()
    };
    let change = |expected| Input::Change {
        item_id: apple.clone(),
        change: ItemChange {
            price: Some(270),
            ..ItemChange::default()
        },
        expected,
    };
    let withdraw = |item_id: &str, expected| Input::Withdraw {
        item_id: id(item_id),
        expected,
    };
    let first = || Expected::Versions(vec![1]);
    let set_photo = |photo, expected| Input::SetPhoto {
        item_id: apple.clone(),
        photo,
        expected,
    };
    vec![
        ("put-item (new)", put(whole(item(10)), Expected::Absent)),
        ("put-item (other)", put(whole(item(12)), Expected::Nothing)),
        ("put-item (replace)", put(whole(item(12)), first())),
        ("put-item (more)", put(quantity(20), Expected::Nothing)),
        ("put-item (the same)", put(quantity(10), Expected::Nothing)),
        ("put-item (too few)", put(quantity(1), Expected::Nothing)),
        ("change-item", change(first())),
        ("change-item (any)", change(Expected::Any)),
        ("change-item (unseen)", change(Expected::Nothing)),
        ("set-photo", set_photo(Some(photo()), first())),
        ("set-photo (unseen)", set_photo(Some(photo()), Expected::Nothing)),
        ("set-photo (none)", set_photo(None, Expected::Any)),
        ("withdraw-item", withdraw("apple", Expected::Any)),
        ("withdraw-item (free)", withdraw("bread", first())),
    ]
}
