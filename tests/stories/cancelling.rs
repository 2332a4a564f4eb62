//! A customer can cancel an order in every state before its completion, also while services are deciding on it.

use futures::future::join;
use quadrille_events::{Body, Charged, CreateDelivery, Created, EventName, Opened, Reserved};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{PAY_FIRST, World, eventually};

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

/// Cancels an order while one service is frozen, so that this service finds both the order and its cancellation when it goes
/// on. `reached` is the last event that is said without that service.
async fn cancelled_while_frozen(world: &World, frozen: Service, reached: &EventName) {
    world.freeze(frozen, 0).await.unwrap();
    let id = world.place(order()).await.unwrap();
    world.said(reached, &id).await.unwrap();
    let answer = world.api().cancel_order(&id).await.unwrap();
    assert_eq!(answer["state"], "cancelling");
    world.thaw(frozen, 0).await.unwrap();
    let ended = world.ended(&id).await.unwrap();
    assert_eq!(ended.state, "cancelled");
    assert_eq!(ended.reason.as_deref(), Some("the customer cancelled the order"));
}

#[tokio::test]
async fn an_order_can_be_cancelled_in_every_state_before_its_completion() {
    let world = World::start().await.unwrap();
    let (before_payment, before_inventory) = match world.flow() {
        PAY_FIRST => (Created::NAME, Charged::NAME),
        _ => (Reserved::NAME, Created::NAME),
    };
    cancelled_while_frozen(&world, Service::Payment, before_payment).await;
    cancelled_while_frozen(&world, Service::Inventory, before_inventory).await;
    cancelled_while_frozen(&world, Service::Delivery, CreateDelivery::NAME).await;

    // Cancellations of open payments and of orders awaiting approval are tested in `endings`. A completed order cannot be
    // cancelled.
    let id = world.place(order()).await.unwrap();
    world.ended(&id).await.unwrap();
    let late = world.api().cancel_order(&id).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");
    assert!(late.to_string().contains("the order is completed"), "{late}");

    let report = world.audit().await.unwrap();
    assert_eq!(report.orders, 4);
    assert_eq!(
        world.api().item("apple").await.unwrap()["reserved"],
        2,
        "only the completed order holds apples"
    );
}

#[tokio::test]
async fn a_cancellation_takes_effect_or_is_refused_at_any_moment() {
    let world = World::with().instances(2).start().await.unwrap();
    // Every second order is cancelled after 1 to 6 events, the others at once.
    let all = (0..80_usize).map(|number| {
        let world = &world;
        async move {
            let order = if number % 2 == 0 {
                order()
            } else {
                order().paid_by_hand().approved_by_hand()
            };
            let id = world.place(order).await.unwrap();
            let wanted = 1 + number / 2 % 6;
            if number % 2 == 0 {
                let reached = eventually(async || {
                    let said = world.operator.history(&id).await?;
                    Ok((said.len() >= wanted).then_some(()))
                });
                reached.await.unwrap();
            }
            match world.api().cancel_order(&id).await {
                Ok(_) => assert_eq!(world.ended(&id).await.unwrap().state, "cancelled"),
                Err(late) => {
                    assert_eq!(late.status(), Some(409), "{late}");
                    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
                }
            }
        }
    });
    futures::future::join_all(all).await;
    assert_eq!(world.audit().await.unwrap().orders, 80);
}

#[tokio::test]
async fn of_a_simultaneous_confirmation_and_cancellation_one_takes_effect() {
    let world = World::with().instances(2).start().await.unwrap();
    let all = (0..40).map(|number| {
        let world = &world;
        async move {
            let id = world.place(order().paid_by_hand()).await.unwrap();
            world.said(Opened::NAME, &id).await.unwrap();
            let (first, second) = (world.api(), world.api());
            let (confirmed, cancelled) = if number % 2 == 0 {
                join(first.confirm_payment(&id), second.cancel_payment(&id)).await
            } else {
                let (cancelled, confirmed) =
                    join(first.cancel_payment(&id), second.confirm_payment(&id)).await;
                (confirmed, cancelled)
            };
            let ended = world.ended(&id).await.unwrap().state;
            match (confirmed, cancelled) {
                (Ok(_), Err(late)) => assert_eq!(
                    (late.status(), ended.as_str()),
                    (Some(409), "completed"),
                    "{late}"
                ),
                (Err(late), Ok(_)) => assert_eq!(
                    (late.status(), ended.as_str()),
                    (Some(409), "cancelled"),
                    "{late}"
                ),
                both => panic!("both or neither took effect: {both:?}; the order is {ended}"),
            }
        }
    });
    futures::future::join_all(all).await;
    world.audit().await.unwrap();
}
