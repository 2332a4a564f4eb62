//! The operator's commands `quadrille demo`, `audit`, `trace`, `dead-letters`; and violations that the audit must find.

use std::time::Duration;

use quadrille_events::{
    AwaitingApproval, Body, Charged, Created, EventName, Opened, OrderCancelled, OrderId, Refunded,
};
use quadrille_local::Service;
use quadrille_local::client::{NewOrder, until};
use quadrille_tests::{PATIENCE, World, eventually};

#[tokio::test]
async fn the_demo_shows_every_ending() {
    let world = World::start().await.unwrap();
    let (ok, said) = world.quadrille(&["demo"]).await.unwrap();
    assert!(
        !ok && said.contains("bread"),
        "there is no bread in this world: {said}"
    );
    world.api().put_item("bread", 10).await.unwrap();
    let (ok, said) = world.quadrille(&["demo"]).await.unwrap();
    assert!(ok, "{said}");
    for ending in [
        "completed",
        "payment declined",
        "out of stock",
        "no courier",
        "payment cancelled",
        "order cancelled",
    ] {
        assert!(said.contains(ending), "{ending}: {said}");
    }
    let (ok, said) = world.quadrille(&["audit"]).await.unwrap();
    assert!(ok && said.ends_with("all invariants hold"), "{said}");
}

#[tokio::test]
async fn an_operator_finds_orders_and_dead_letters() {
    let world = World::start().await.unwrap();
    let waiting = world
        .place(NewOrder::new().line(1, "apple").paid_by_hand())
        .await
        .unwrap();
    world.said(Opened::NAME, &waiting).await.unwrap();
    let (ok, said) = world.quadrille(&["audit"]).await.unwrap();
    assert!(
        ok && said.contains("1  waiting for the customer to pay"),
        "an order that waits for the customer is no violation: {said}"
    );

    let (ok, said) = world.quadrille(&["trace", waiting.as_str()]).await.unwrap();
    assert!(
        ok && said.contains("http       create order") && said.contains("└─ payment.opened"),
        "{said}"
    );
    let (ok, said) = world.quadrille(&["trace", "nobody-knows"]).await.unwrap();
    assert!(
        !ok && said.contains("nobody has said anything about an order nobody-knows"),
        "{said}"
    );

    let (ok, said) = world.quadrille(&["dead-letters"]).await.unwrap();
    assert!(ok && said == "no dead letters", "{said}");
    let nothing = std::iter::empty::<(String, String)>();
    world
        .operator
        .publish("$KV.order.created.x", nothing, b"not json")
        .await
        .unwrap();
    let parked = until(PATIENCE, async || {
        let letters = world.api().dead_letters(world.hears_orders()).await?;
        anyhow::Ok(letters.into_iter().next())
    });
    let id = parked.await.unwrap().expect("a dead letter").id;
    let (ok, said) = world.quadrille(&["dead-letters"]).await.unwrap();
    assert!(ok && said.contains(&id), "{said}");
    let (ok, said) = world.quadrille(&["dead-letter", &id]).await.unwrap();
    assert!(ok && said.contains("not json"), "{said}");
    for args in [["retry", id.as_str()], ["retry", "--all"]] {
        let (ok, said) = world.quadrille(&args).await.unwrap();
        assert!(!ok && said.contains("1 of 1 stay parked"), "{said}");
    }

    let (ok, said) = world.quadrille(&["retry", "KV_order.999.x"]).await.unwrap();
    assert!(
        !ok && said.contains("no service has parked KV_order.999.x"),
        "{said}"
    );

    world.kill9(world.hears_orders(), 0).await.unwrap();
    let (ok, said) = world.quadrille(&["dead-letter", &id]).await.unwrap();
    assert!(
        ok && said.contains("not json"),
        "a dead letter can be read while its service is down: {said}"
    );
}

#[tokio::test]
async fn a_stuck_order_is_seen_when_the_log_has_forgotten_it() {
    let world = World::with().env("EVENTS_MAX_AGE", "2s").start().await.unwrap();
    let completed = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    world.ended(&completed).await.unwrap();
    let waiting = NewOrder::new().line(1, "apple").paid_by_hand();
    let waiting = world.place(waiting).await.unwrap();
    world.said(Opened::NAME, &waiting).await.unwrap();
    // Cancelled, and nobody takes the stock back.
    let undoing = NewOrder::new().line(1, "apple").approved_by_hand();
    let undoing = world.place(undoing).await.unwrap();
    world.said(AwaitingApproval::NAME, &undoing).await.unwrap();
    world.kill9(Service::Delivery, 0).await.unwrap();
    world.kill9(Service::Inventory, 0).await.unwrap();
    world.api().cancel_order(&undoing).await.unwrap();
    world.said(OrderCancelled::NAME, &undoing).await.unwrap();
    let stuck = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    let forgotten = eventually(async || {
        let log = world.operator.size("EVENTS").await?;
        Ok((log.messages == 0).then_some(()))
    });
    forgotten.await.unwrap();

    let listed = eventually(async || {
        let (ok, said) = world.quadrille(&["stuck"]).await?;
        anyhow::ensure!(ok, "{said}");
        Ok(said.contains("2 stuck").then_some(said))
    });
    let listed = listed.await.unwrap();
    assert!(listed.contains("3 orders in flight, 2 stuck"), "{listed}");
    assert!(
        listed.contains(stuck.as_str()) && listed.contains(undoing.as_str()),
        "{listed}"
    );
    assert!(!listed.contains(waiting.as_str()), "{listed}");
    let (_, all) = world.quadrille(&["stuck", "--all"]).await.unwrap();
    assert!(
        all.contains(waiting.as_str()) && !all.contains(completed.as_str()),
        "{all}"
    );

    // A console that starts now has never heard of them.
    let console = world.console().await.unwrap();
    let metrics = reqwest::get(format!("{}/metrics", console.url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "quadrille_orders_stuck{step=\"undoing\"} 1",
        "quadrille_orders_in_flight{step=\"opened\"} 1",
        "quadrille_orders_uncounted 0",
        "quadrille_ready{service=\"console\"} 1",
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "no `{line}` in\n{metrics}"
        );
    }
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("quadrille_orders_stuck{"));
    let counted = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    assert_eq!(counted.sum::<u64>(), 2, "{metrics}");
}

#[tokio::test]
async fn the_demo_reports_a_service_that_is_not_running() {
    let world = World::start().await.unwrap();
    world.kill9(Service::Payment, 0).await.unwrap();
    let (ok, said) = world.quadrille(&["demo"]).await.unwrap();
    assert!(
        !ok && said.contains("the payment service is not ready") && said.contains("deploy/just run-all"),
        "{said}"
    );
}

/// Stores a message as an event, and waits until it is in the log: with all services stopped, the audit does not wait for it.
async fn store(world: &World, subject: &str, headers: Vec<(String, String)>, body: &[u8]) {
    let logged = world.operator.size("EVENTS").await.unwrap().last_sequence;
    world.operator.publish(subject, headers, body).await.unwrap();
    world.holds_ever("EVENTS", logged + 1).await.unwrap();
}

/// Stores an event that its service has not said, with a valid envelope.
async fn forge(world: &World, name: &EventName, id: &OrderId) {
    let stored = world.operator.bucket("order").await.unwrap();
    let subject = Created::NAME.stored_as(id);
    let model = stored.iter().find(|stored| stored.subject == subject).unwrap();
    let headers: Vec<_> = model
        .headers
        .iter()
        .filter(|(name, _)| name.to_string().starts_with("ce-") || name.to_string() == "traceparent")
        .map(|(header, values)| {
            let value = match header.to_string().as_str() {
                "ce-id" => name.id(id),
                "ce-source" => name.service.to_owned(),
                "ce-type" => name.subject.to_owned(),
                _ => values.first().unwrap().to_string(),
            };
            (header.to_string(), value)
        })
        .collect();
    let mut body: serde_json::Value = serde_json::from_slice(&model.body).unwrap();
    body["reason"] = "forged".into();
    body["reference"] = "forged".into();
    body["courier_id"] = "forged".into();
    body["charged"] = true.into();
    body["delivery_requested"] = true.into();
    store(world, &name.stored_as(id), headers, body.to_string().as_bytes()).await;
}

#[tokio::test]
async fn the_audit_finds_planted_violations() {
    let world = World::start().await.unwrap();
    let order = || NewOrder::new().line(2, "apple");
    let mut ids = world
        .place_many(4, |n| order().by(&format!("c{n}")))
        .await
        .unwrap();
    world.all_ended(&ids).await.unwrap();
    world.audit().await.unwrap();
    // In the order in which they are stored. The last one is overwritten below; if the first one were, the bucket would look as
    // if its oldest entries had aged away.
    let stored = world.operator.bucket("order").await.unwrap();
    ids.sort_by_key(|id| {
        let created = Created::NAME.stored_as(id);
        stored
            .iter()
            .find(|entry| entry.subject == created)
            .map(|entry| entry.sequence)
    });
    // From here on no service reacts.
    for service in Service::ALL {
        world.kill9(service, 0).await.unwrap();
    }
    let found = async || {
        let report = world.report(None, Duration::from_millis(500)).await.unwrap();
        report
            .violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let nothing = || std::iter::empty::<(String, String)>();
    let [first, second, third, fourth] = ids.as_slice() else {
        unreachable!()
    };

    let stock = br#"{"quantity":10000,"reserved":9}"#;
    world
        .operator
        .publish("$KV.inventory.stock.item.apple", nothing(), stock)
        .await
        .unwrap();
    let says = found().await;
    assert!(
        says.contains("item apple is used 9 times by its ledger, and 8 times by the orders"),
        "{says}"
    );
    let stock = br#"{"quantity":10000,"reserved":8,"withdrawn":true}"#;
    world
        .operator
        .publish("$KV.inventory.stock.item.apple", nothing(), stock)
        .await
        .unwrap();
    let says = found().await;
    assert!(
        says.contains("item apple is withdrawn in its record, and inventory has not said so"),
        "{says}"
    );
    assert!(
        says.contains("item apple is withdrawn, and 8 are reserved"),
        "{says}"
    );
    let stock = br#"{"quantity":7,"reserved":8}"#;
    world
        .operator
        .publish("$KV.inventory.stock.item.apple", nothing(), stock)
        .await
        .unwrap();
    let says = found().await;
    assert!(
        says.contains("item apple is used 8 times, and there are only 7"),
        "{says}"
    );
    assert_eq!(says.lines().count(), 1, "{says}");

    forge(&world, Refunded::NAME, first).await;
    let says = found().await;
    assert!(
        says.contains(&format!("order {first} is completed and was refunded")),
        "{says}"
    );
    assert!(says.contains("payment cannot have decided"), "{says}");

    forge(&world, OrderCancelled::NAME, second).await;
    let says = found().await;
    assert!(
        says.contains(&format!("order {second} is completed and is cancelled too")),
        "{says}"
    );
    assert!(
        says.contains(&format!(
            "order {second} is cancelled and was charged and not refunded"
        )),
        "{says}"
    );
    assert!(
        says.contains(&format!(
            "order {second} is cancelled and was reserved and not released"
        )),
        "{says}"
    );
    assert!(
        says.contains(&format!(
            "order {second} is cancelled and still has a courier on the way"
        )),
        "{says}"
    );

    let charged = Charged::NAME.stored_as(third);
    store(&world, &charged, Vec::new(), b"{}").await;
    let says = found().await;
    assert!(
        says.contains(&format!("order {third} is completed and was not charged")),
        "{says}"
    );
    assert!(
        says.contains(&charged) && says.contains("parked nowhere"),
        "{says}"
    );
    assert!(
        says.contains(&Charged::NAME.heard_as(third)) && says.contains("in no bucket"),
        "{says}"
    );
    assert!(
        says.contains(&format!("because of payment/charged.{third}, which nobody said")),
        "{says}"
    );

    // The same entry written again: one entry in the bucket, two events in the log.
    forge(&world, Created::NAME, fourth).await;
    let says = found().await;
    assert!(
        says.contains(&format!("order {fourth} has order.created 2 times in the log")),
        "{says}"
    );

    let stranger: OrderId = "stranger".parse().unwrap();
    let created = world.operator.bucket("order").await.unwrap();
    let model = created
        .iter()
        .find(|entry| entry.subject == Created::NAME.stored_as(first))
        .unwrap();
    let body = String::from_utf8_lossy(&model.body)
        .replace(first.as_str(), "stranger")
        .replace("\"unit_price\":250", "\"unit_price\":1");
    let headers: Vec<_> = model
        .headers
        .iter()
        .filter(|(name, _)| name.to_string().starts_with("ce-") || name.to_string() == "traceparent")
        .map(|(name, values)| {
            (
                name.to_string(),
                values
                    .first()
                    .unwrap()
                    .to_string()
                    .replace(first.as_str(), "stranger"),
            )
        })
        .collect();
    let created = Created::NAME.stored_as(&stranger);
    store(&world, &created, headers, body.as_bytes()).await;
    let says = found().await;
    assert!(
        says.contains(&format!(
            "order {stranger} has not ended; said so far: order.created"
        )),
        "{says}"
    );
    let free = format!("order {stranger} has apple at 1 EUR, which the shop has never asked");
    assert!(says.contains(&free), "{says}");
}

#[tokio::test]
async fn the_audit_accepts_orders_whose_entries_have_aged_away() {
    let world = World::with()
        .env("RETENTION", "10s")
        .env("EVENTS_MAX_AGE", "10s")
        .env("PAYMENT_DEADLINE", "1s")
        .start()
        .await
        .unwrap();
    let order = |n: usize| NewOrder::new().by(&format!("c{n}")).line(2, "apple");
    let ids = world.place_many(5, order).await.unwrap();
    world.all_ended(&ids).await.unwrap();
    // The prices of the four items stay.
    for (held, stay) in [("order", 4), ("EVENTS", 0)] {
        let gone = eventually(async || Ok((world.operator.size(held).await?.messages == stay).then_some(())));
        gone.await.expect("entries of ended orders age away");
    }
    world.audit().await.unwrap();
    let id = world.place(order(6)).await.unwrap();
    world.ended(&id).await.unwrap();
    let report = world.audit().await.unwrap();
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("entries of the order bucket have gone")),
        "{report}"
    );
    // Records of the ledger do not age: stock that has gone out with an order stays used.
    assert_eq!(world.api().item("apple").await.unwrap()["reserved"], 12);
}
