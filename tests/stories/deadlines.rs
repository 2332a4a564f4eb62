//! Deadlines of payments, which the broker holds.

use expect_test::expect_file;
use quadrille_events::{Body, Ending, Expired, Opened};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::World;

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple").paid_by_hand()
}

async fn an_unconfirmed_payment_expires(world: &World) {
    let id = world.place(order()).await.unwrap();
    let ended = world.ended(&id).await.unwrap();
    assert_eq!(
        ended.reason.as_deref(),
        Some("the payment was not confirmed in time")
    );
    let story = world.story(&id).await.unwrap();
    expect_file![format!("golden/{}/expired.txt", world.flow())].assert_eq(&story);
    let late = world.api().confirm_payment(&id).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");
    assert!(late.to_string().contains("not confirmed in time"), "{late}");
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_unconfirmed_payment_expires_at_its_deadline() {
    let world = World::with().env("PAYMENT_DEADLINE", "1s").start().await.unwrap();
    an_unconfirmed_payment_expires(&world).await;
}

#[tokio::test]
async fn an_unconfirmed_payment_expires_and_its_stock_is_released() {
    let world = World::with()
        .env("PAYMENT_DEADLINE", "1s")
        .reserve_first()
        .start()
        .await
        .unwrap();
    an_unconfirmed_payment_expires(&world).await;
}

#[tokio::test]
async fn a_deadline_passes_while_every_service_is_down() {
    let world = World::with().env("PAYMENT_DEADLINE", "5s").start().await.unwrap();
    let ids = world.place_many(10, |_| order()).await.unwrap();
    for id in &ids {
        world.said(Opened::NAME, id).await.unwrap();
    }
    world.settle().await.unwrap();
    for service in Service::ALL {
        world.kill9(service, 0).await.unwrap();
    }
    for id in &ids {
        world.said(Expired::NAME, id).await.unwrap();
    }
    for service in Service::ALL {
        world.restart(service, 0).await.unwrap();
    }
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(ended.state, "cancelled");
    }
    assert_eq!(world.audit().await.unwrap().ended(Ending::Expired), 10);
}

#[tokio::test]
async fn a_confirmation_at_the_last_moment_charges_or_is_too_late() {
    let world = World::with()
        .instances(2)
        .env("PAYMENT_DEADLINE", "3s")
        .start()
        .await
        .unwrap();
    let all = (0..60).map(|_| {
        let world = &world;
        async move {
            let id = world.place(order()).await.unwrap();
            let due = world.opened(&id).await.unwrap();
            // The deadline is a time by the clock; there is no condition to wait for.
            let left = due.duration_since(jiff::Timestamp::now());
            tokio::time::sleep(left.try_into().unwrap_or_default()).await;
            let confirmed = world.api().confirm_payment(&id).await;
            let ended = world.ended(&id).await.unwrap().state;
            match confirmed {
                Ok(_) => assert_eq!(ended, "completed"),
                Err(late) => assert_eq!(
                    (late.status(), ended.as_str()),
                    (Some(409), "cancelled"),
                    "{late}"
                ),
            }
        }
    });
    futures::future::join_all(all).await;
    let report = world.audit().await.unwrap();
    assert_eq!(
        report.ended(Ending::Completed) + report.ended(Ending::Expired),
        60
    );
}
