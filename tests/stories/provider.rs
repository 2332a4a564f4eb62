//! A payment provider behind HTTP that fails, is slow and loses answers. The audit checks its books too.

use futures::future::join;
use quadrille_audit::{Account, Books};
use quadrille_events::Ending;
use quadrille_local::Service;
use quadrille_local::client::{NewOrder, until};
use quadrille_tests::{PATIENCE, ProviderServer, World};

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

#[tokio::test]
async fn a_provider_that_fails_and_loses_answers_charges_once() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &url)
        .start()
        .await
        .unwrap();
    for customer in ["fine", "flaky", "busy", "lossy"] {
        let id = world.place(order().by(customer)).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "completed", "{customer}");
        assert_eq!(
            world.api().payment(&id).await.unwrap()["reference"],
            format!("ch_{id}")
        );
    }
    let poor = world.place(order().by("poor")).await.unwrap();
    let ended = world.ended(&poor).await.unwrap();
    assert!(ended.reason.unwrap().contains("insufficient funds"));
    let far = world
        .place(order().by("lossy").to("test-no-courier"))
        .await
        .unwrap();
    assert_eq!(world.ended(&far).await.unwrap().state, "cancelled");

    world.audit_with(|| provider.books()).await.unwrap();
    assert_eq!(
        provider.books()[&far],
        Account {
            charges: vec![500],
            refunds: vec![500]
        }
    );
}

#[tokio::test]
async fn a_slow_call_to_the_provider_delays_no_other_order() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &url)
        .start()
        .await
        .unwrap();
    let waiting = world
        .place_many(20, |n| order().by("kept-waiting").line(1 + n as u32, "plum"))
        .await
        .unwrap();
    let others = world
        .place_many(20, |n| order().by("fine").line(1 + n as u32, "plum"))
        .await
        .unwrap();
    for ended in world.all_ended(&others).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    for id in &waiting {
        assert_eq!(world.api().order(id).await.unwrap().state, "created");
    }
    provider.release();
    for ended in world.all_ended(&waiting).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    world.audit_with(|| provider.books()).await.unwrap();
}

#[tokio::test]
async fn an_order_cancelled_during_a_call_to_the_provider_is_refunded() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &url)
        .start()
        .await
        .unwrap();
    let id = world.place(order().by("kept-waiting")).await.unwrap();
    let taken = until(PATIENCE, async || {
        anyhow::Ok((provider.charges() == 1).then_some(()))
    });
    taken.await.unwrap().expect("the provider has taken the money");
    world.api().cancel_order(&id).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
    provider.release();
    world.audit_with(|| provider.books()).await.unwrap();
    assert_eq!(
        provider.books()[&id],
        Account {
            charges: vec![500],
            refunds: vec![500]
        }
    );
}

#[tokio::test]
async fn a_payment_service_killed_while_charging_charges_once() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    let options = World::with()
        .instances(2)
        .env("PAYMENT_PROVIDER_URL", &url)
        .env("ACK_WAIT", "2s");
    let world = options.start().await.unwrap();
    let customers = ["fine", "flaky", "lossy", "busy", "poor"];
    let order = |n: usize| {
        let order = order().by(customers[n % customers.len()]).line(1, "pear");
        if n % 7 == 3 {
            order.to("test-no-courier")
        } else {
            order
        }
    };
    let dying = async {
        for charges in [20, 60] {
            let charged = until(PATIENCE, async || {
                anyhow::Ok((provider.charges() >= charges).then_some(()))
            });
            charged.await.unwrap().expect("the provider is charging");
            world.kill9(Service::Payment, 0).await.unwrap();
            world.restart(Service::Payment, 0).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(150, order), dying).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    let report = world.audit_with(|| provider.books()).await.unwrap();
    assert_eq!(report.ended(Ending::Declined), 30, "{report}");
}

#[tokio::test]
async fn a_key_that_outlives_its_order_is_a_new_order_and_a_new_charge() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    // Long enough for an order, short enough to wait until nothing of it is left.
    let options = World::with()
        .env("PAYMENT_PROVIDER_URL", &url)
        .env("PAYMENT_DEADLINE", "2s")
        .env("RETENTION", "3s");
    let world = options.start().await.unwrap();
    let mut ids = Vec::new();
    for charges in 1..=2 {
        // Asked twice, it is one order and one charge.
        for _ in 0..2 {
            ids.push(world.place_surely(&order().by("fine"), "the-key").await.unwrap());
        }
        let id = &ids[0];
        assert_eq!(world.ended(id).await.unwrap().state, "completed");
        assert_eq!(provider.charges(), charges, "orders that were placed: {charges}");
        // An order does not expire while its courier has the goods.
        world.api().confirm_delivery(id).await.unwrap();
        let forgotten = until(PATIENCE, async || {
            let entries = world.operator.entries_of(id, &[]).await?;
            anyhow::Ok(entries.is_empty().then_some(()))
        });
        forgotten.await.unwrap().expect("its entries have expired");
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "one key, one id: {ids:?}");
}

#[tokio::test]
async fn the_audit_finds_violations_in_the_providers_books() {
    let (provider, url) = ProviderServer::start().await.unwrap();
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &url)
        .start()
        .await
        .unwrap();
    let id = world.place(order().by("fine")).await.unwrap();
    world.ended(&id).await.unwrap();
    let good = provider.books();
    world.audit_with(|| good).await.unwrap();
    let wrong = [
        (
            Account {
                charges: vec![500, 500],
                refunds: vec![500],
            },
            "was charged 2 times at the provider",
        ),
        (
            Account {
                charges: vec![499],
                refunds: vec![],
            },
            "the provider took 499 and gave back 0",
        ),
        (
            Account {
                charges: vec![500],
                refunds: vec![500],
            },
            "the provider took 500 and gave back 500",
        ),
        (Account::default(), "the provider took 0 and gave back 0"),
    ];
    for (account, says) in wrong {
        let found = world
            .audit_with(|| Books::from([(id.clone(), account)]))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            found.contains(&format!("order {id}")) && found.contains(says),
            "{found}"
        );
    }
}
