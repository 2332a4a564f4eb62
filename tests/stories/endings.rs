//! Every way in which an order can end, each with a golden transcript in `golden/`.

use expect_test::expect_file;
use futures::future::{join, join_all};
use jiff::Timestamp;
use quadrille_events::{
    Assigned, AwaitingApproval, Body, DeliveryCancelled, Ending, Opened, OrderId, Released, Shipped,
};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{PLENTY, World};
use serde_json::json;

/// Runs each of these functions in a world of its own, with one instance of every service.
macro_rules! endings {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let world = World::start().await.unwrap();
                journeys::$name(&world).await;
                world.audit().await.unwrap();
            }
        )+

        /// Runs all of them at the same time in one world.
        async fn all(world: &World) {
            futures::join!($(journeys::$name(world)),+);
            world.audit().await.unwrap();
        }
    };
}

endings![
    an_order_charged_at_once_completes,
    an_order_of_many_lines_completes,
    an_order_completes_once_its_payment_is_confirmed,
    an_order_completes_once_it_is_approved,
    an_order_is_cancelled_when_its_payment_is_cancelled,
    an_order_is_cancelled_when_its_payment_is_declined,
    a_confirmed_payment_can_still_be_declined,
    an_order_is_cancelled_and_refunded_when_it_is_out_of_stock,
    not_one_line_is_reserved_when_one_is_out_of_stock,
    an_order_is_cancelled_and_undone_when_nobody_delivers,
    an_order_cancelled_while_its_payment_is_open_is_never_charged,
    an_order_cancelled_before_its_approval_is_undone,
    a_delivered_order_is_shipped,
    a_failed_delivery_is_undone_after_the_completion,
];

/// A customer cancels while the courier is on the way and the order service does not know it yet.
#[tokio::test]
async fn of_a_cancellation_and_a_delivery_the_first_decides() {
    for options in [World::with(), World::with().reserve_first()] {
        let world = options.start().await.unwrap();
        world.plug_ears(Service::Order, Service::Delivery).await.unwrap();
        let late = world.place(order()).await.unwrap();
        let early = world.place(order()).await.unwrap();
        for id in [&late, &early] {
            world.said(Assigned::NAME, id).await.unwrap();
            assert_eq!(world.api().order(id).await.unwrap().state, "confirmed");
        }

        // The courier is first: the customer keeps the goods, and the shop the money.
        let delivered = world.api().confirm_delivery(&late).await.unwrap();
        assert_eq!(delivered["state"], "delivered");
        assert_eq!(
            world.api().cancel_order(&late).await.unwrap()["state"],
            "cancelling"
        );
        // The customer is first: the courier returns, and the customer has the money back.
        world.api().cancel_order(&early).await.unwrap();
        world.said(DeliveryCancelled::NAME, &early).await.unwrap();
        let refused = world.api().confirm_delivery(&early).await.unwrap_err();
        assert_eq!(refused.status(), Some(409), "{refused}");
        assert!(
            refused.to_string().contains("the delivery is cancelled"),
            "{refused}"
        );
        assert_eq!(world.ended(&early).await.unwrap().state, "cancelled");

        world
            .unplug_ears(Service::Order, Service::Delivery)
            .await
            .unwrap();
        assert_eq!(world.ended(&late).await.unwrap().state, "completed");
        golden(&world, &late, "cancelled_after_the_delivery").await;
        golden(&world, &early, "cancelled_with_the_courier_on_the_way").await;
        assert_eq!(world.api().payment(&late).await.unwrap()["state"], "charged");
        let refunded = world.api().payment(&early).await.unwrap();
        assert_eq!(refunded["state"], "refunded");
        let at = |name: &str| -> Timestamp { refunded["times"][name].as_str().unwrap().parse().unwrap() };
        assert!(at("charged") < at("refunded"), "{refunded}");
        let report = world.audit().await.unwrap();
        assert_eq!(
            (
                report.ended(Ending::Delivered),
                report.ended(Ending::OrderCancelled)
            ),
            (1, 1),
            "{report}"
        );
    }
}

#[tokio::test]
async fn of_a_simultaneous_cancellation_and_delivery_one_takes_effect() {
    let world = World::with().instances(2).start().await.unwrap();
    world.plug_ears(Service::Order, Service::Delivery).await.unwrap();
    let ids = world.place_many(40, |_| order()).await.unwrap();
    let races = ids.iter().map(|id| async {
        world.said(Assigned::NAME, id).await.unwrap();
        let (cancelled, delivered) =
            join(world.api().cancel_order(id), world.api().confirm_delivery(id)).await;
        cancelled.unwrap();
        delivered
    });
    let delivered = join_all(races).await;
    world
        .unplug_ears(Service::Order, Service::Delivery)
        .await
        .unwrap();
    for (id, delivered) in ids.iter().zip(delivered) {
        let expected = match delivered {
            Ok(_) => "completed",
            Err(late) if late.status() == Some(409) => "cancelled",
            Err(error) => panic!("{error}"),
        };
        // An order that is being cancelled ends as the courier's answer says.
        assert_eq!(world.ended(id).await.unwrap().state, expected);
    }
    world.audit().await.unwrap();
}

#[tokio::test]
async fn orders_end_the_same_with_two_instances_of_every_service() {
    all(&World::with().instances(2).start().await.unwrap()).await;
}

#[tokio::test]
async fn orders_end_the_same_in_the_reserve_first_flow() {
    all(&World::with().reserve_first().start().await.unwrap()).await;
}

#[tokio::test]
async fn orders_end_the_same_with_two_instances_in_the_reserve_first_flow() {
    all(&World::with().instances(2).reserve_first().start().await.unwrap()).await;
}

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

/// Compares an order's history with its golden transcript: `golden/<flow>/<name>.txt`.
async fn golden(world: &World, order_id: &OrderId, name: &str) {
    let story = world.story(order_id).await.unwrap();
    expect_file![format!("golden/{}/{name}.txt", world.flow())].assert_eq(&story);
}

mod journeys {
    use super::*;

    pub async fn an_order_charged_at_once_completes(world: &World) {
        let id = world.place(order()).await.unwrap();
        let ended = world.ended(&id).await.unwrap();
        assert_eq!(ended.state, "completed");
        golden(world, &id, "paid_at_once").await;
        assert_eq!(world.api().payment(&id).await.unwrap()["state"], "charged");
        assert_eq!(
            world.api().delivery(&id).await.unwrap()["courier_id"],
            ended.rest["courier_id"]
        );
    }

    pub async fn a_delivered_order_is_shipped(world: &World) {
        world.api().put_item("cherry", 9).await.unwrap();
        let cherries = NewOrder::new().line(4, "cherry");
        let id = world.place(cherries).await.unwrap();
        let early = world.api().confirm_delivery(&"nobody".parse().unwrap()).await;
        assert_eq!(early.unwrap_err().status(), Some(404));
        world.ended(&id).await.unwrap();
        for _ in ["now", "before"] {
            let answer = world.api().confirm_delivery(&id).await.unwrap();
            assert_eq!(answer["state"], "delivered");
        }
        world.said(Shipped::NAME, &id).await.unwrap();
        golden(world, &id, "delivered").await;
        let item = world.api().item("cherry").await.unwrap();
        assert_eq!((&item["quantity"], &item["reserved"]), (&json!(5), &json!(0)));
        let refused = world.api().fail_delivery(&id, "too late").await.unwrap_err();
        assert_eq!(refused.status(), Some(409), "{refused}");
        assert!(
            refused.to_string().contains("has delivered the order"),
            "{refused}"
        );
        assert_eq!(world.api().order(&id).await.unwrap().state, "completed");
    }

    pub async fn a_failed_delivery_is_undone_after_the_completion(world: &World) {
        world.api().put_item("date", 9).await.unwrap();
        let id = world.place(NewOrder::new().line(4, "date")).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        for why in ["nobody at home", "repeated"] {
            let answer = world.api().fail_delivery(&id, why).await.unwrap();
            assert_eq!(answer["state"], "failed");
        }
        world.said(Released::NAME, &id).await.unwrap();
        let ended = world.api().order(&id).await.unwrap();
        assert_eq!(
            (ended.state.as_str(), ended.reason.as_deref()),
            ("cancelled", Some("nobody at home"))
        );
        golden(world, &id, "delivery_failed").await;
        let refused = world.api().confirm_delivery(&id).await.unwrap_err();
        assert_eq!(refused.status(), Some(409), "{refused}");
        let payment = world.api().payment(&id).await.unwrap();
        assert_eq!(
            (&payment["state"], &payment["payment_id"]),
            (&json!("refunded"), &json!(format!("pay-{id}")))
        );
        let item = world.api().item("date").await.unwrap();
        assert_eq!((&item["quantity"], &item["reserved"]), (&json!(9), &json!(0)));
    }

    pub async fn an_order_of_many_lines_completes(world: &World) {
        let many = order().line(1, "pear").line(3, "apple").line(7, "plum");
        let id = world.place(many).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        golden(world, &id, "paid_at_once").await;
    }

    pub async fn an_order_completes_once_its_payment_is_confirmed(world: &World) {
        let id = world.place(order().paid_by_hand()).await.unwrap();
        world.said(Opened::NAME, &id).await.unwrap();
        assert_eq!(world.api().order(&id).await.unwrap().state, "created");
        assert_eq!(
            world.api().confirm_payment(&id).await.unwrap()["state"],
            "charged"
        );
        assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        golden(world, &id, "payment_confirmed").await;
    }

    pub async fn an_order_completes_once_it_is_approved(world: &World) {
        let id = world.place(order().approved_by_hand()).await.unwrap();
        world.said(AwaitingApproval::NAME, &id).await.unwrap();
        world.api().approve_order(&id).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        golden(world, &id, "approved").await;
    }

    pub async fn an_order_is_cancelled_when_its_payment_is_cancelled(world: &World) {
        let id = world.place(order().paid_by_hand()).await.unwrap();
        world.said(Opened::NAME, &id).await.unwrap();
        assert_eq!(
            world.api().cancel_payment(&id).await.unwrap()["state"],
            "cancelled"
        );
        let ended = world.ended(&id).await.unwrap();
        assert_eq!(ended.state, "cancelled");
        assert_eq!(
            ended.reason.as_deref(),
            Some("the customer cancelled the payment")
        );
        golden(world, &id, "payment_cancelled").await;
    }

    pub async fn an_order_is_cancelled_when_its_payment_is_declined(world: &World) {
        let id = world.place(order().by("test-declined")).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
        golden(world, &id, "declined").await;
    }

    pub async fn a_confirmed_payment_can_still_be_declined(world: &World) {
        let id = world
            .place(order().by("test-declined").paid_by_hand())
            .await
            .unwrap();
        world.said(Opened::NAME, &id).await.unwrap();
        let refused = world.api().confirm_payment(&id).await.unwrap_err();
        assert_eq!(refused.status(), Some(409), "{refused}");
        assert!(refused.to_string().contains("declined"), "{refused}");
        golden(world, &id, "declined_on_confirmation").await;
    }

    pub async fn an_order_is_cancelled_and_refunded_when_it_is_out_of_stock(world: &World) {
        world.api().put_item("quince", 5).await.unwrap();
        let id = world.place(NewOrder::new().line(6, "quince")).await.unwrap();
        let ended = world.ended(&id).await.unwrap();
        assert_eq!(ended.state, "cancelled");
        golden(world, &id, "out_of_stock").await;
        assert_eq!(world.api().item("quince").await.unwrap()["available"], 5);
    }

    pub async fn not_one_line_is_reserved_when_one_is_out_of_stock(world: &World) {
        world.api().put_item("medlar", PLENTY).await.unwrap();
        world.api().put_item("sloe", 3).await.unwrap();
        // The two lines of one item add up to 4, of which 3 are in stock.
        let lines = NewOrder::new().line(1, "medlar").line(2, "sloe").line(2, "sloe");
        let id = world.place(lines).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
        golden(world, &id, "one_line_out_of_stock").await;
        assert_eq!(world.api().item("medlar").await.unwrap()["reserved"], 0);
        assert_eq!(world.api().item("sloe").await.unwrap()["reserved"], 0);
    }

    pub async fn an_order_is_cancelled_and_undone_when_nobody_delivers(world: &World) {
        world.api().put_item("fig", 9).await.unwrap();
        let far = NewOrder::new().line(9, "fig").to("test-no-courier, Far Away");
        let id = world.place(far).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
        golden(world, &id, "no_courier").await;
        assert_eq!(world.api().payment(&id).await.unwrap()["state"], "refunded");
        assert_eq!(world.api().item("fig").await.unwrap()["available"], 9);
    }

    pub async fn an_order_cancelled_while_its_payment_is_open_is_never_charged(world: &World) {
        let id = world.place(order().paid_by_hand()).await.unwrap();
        world.said(Opened::NAME, &id).await.unwrap();
        world.api().cancel_order(&id).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
        golden(world, &id, "order_cancelled_while_payment_is_open").await;
    }

    pub async fn an_order_cancelled_before_its_approval_is_undone(world: &World) {
        let id = world.place(order().approved_by_hand()).await.unwrap();
        world.said(AwaitingApproval::NAME, &id).await.unwrap();
        world.api().cancel_order(&id).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
        golden(world, &id, "order_cancelled_before_approval").await;
    }
}
