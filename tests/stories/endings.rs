//! Every way in which an order can end, each with a golden transcript in `golden/`.

use expect_test::expect_file;
use quadrille_events::{AwaitingApproval, Body, Opened, OrderId};
use quadrille_local::client::NewOrder;
use quadrille_tests::{PLENTY, World};

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
];

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
