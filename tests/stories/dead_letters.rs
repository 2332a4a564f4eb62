//! An input that cannot be read becomes a dead letter and delays no other input.

use quadrille_events::{Body, Created};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{PATIENCE, World, eventually};

fn order(_: usize) -> NewOrder {
    NewOrder::new().line(1, "apple")
}

/// The entry of `order.created` of this order.
fn created_of(order_id: &str) -> String {
    Created::NAME.stored_as(&order_id)
}

#[tokio::test]
async fn an_unreadable_input_becomes_a_dead_letter_of_its_listener_and_delays_no_order() {
    let world = World::start().await.unwrap();
    let nothing = std::iter::empty::<(String, String)>;
    world
        .operator
        .publish(&created_of("x"), nothing(), b"not json")
        .await
        .unwrap();
    let ids = world.place_many(20, order).await.unwrap();
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    world.settle().await.unwrap();

    let listener = world.hears_orders();
    for service in Service::ALL {
        let letters = world.api().dead_letters(service).await.unwrap();
        assert_eq!(letters.len(), usize::from(service == listener), "{letters:#?}");
    }
    let letter = world.api().dead_letters(listener).await.unwrap().remove(0);
    assert_eq!(
        (letter.subject.as_str(), letter.attempts),
        (created_of("x").as_str(), 1)
    );
    assert!(
        letter.reason.contains("the header `ce-specversion` is missing"),
        "{}",
        letter.reason
    );
    let (_, body) = world.api().dead_letter(listener, &letter.id).await.unwrap();
    assert_eq!(body, "not json");

    // A retry of the unchanged input fails again.
    let refused = world.api().retry(listener, &letter.id).await.unwrap_err();
    assert_eq!(refused.status(), Some(409), "{refused}");
    assert_eq!(world.api().dead_letters(listener).await.unwrap().len(), 1);

    let report = world.audit().await.unwrap();
    assert_eq!(report.orders, 20);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("1 inputs are parked")),
        "{report}"
    );
}

#[tokio::test]
async fn an_input_with_a_wrong_envelope_becomes_a_dead_letter() {
    let world = World::start().await.unwrap();
    let id = world.place(order(0)).await.unwrap();
    world.ended(&id).await.unwrap();
    let stored = world.operator.bucket("order").await.unwrap();
    let created = stored
        .iter()
        .find(|entry| entry.subject == Created::NAME.stored_as(&id))
        .unwrap();
    let good: Vec<(String, String)> = created
        .headers
        .iter()
        .filter(|(name, _)| name.to_string().starts_with("ce-") || name.to_string() == "traceparent")
        .map(|(name, values)| (name.to_string(), values.first().unwrap().to_string()))
        .collect();
    let but = |name: &str, value: Option<&str>| -> Vec<(String, String)> {
        let mut headers: Vec<_> = good.iter().filter(|(known, _)| known != name).cloned().collect();
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        headers
    };
    let oversize = [
        &created.body[..created.body.len() - 1],
        " ".repeat(300_000).as_bytes(),
        b"}",
    ]
    .concat();
    let cases = [
        (
            "a",
            but("ce-id", None),
            created.body.to_vec(),
            "the header `ce-id` is missing",
        ),
        (
            "b",
            but("ce-eventversion", Some("2")),
            created.body.to_vec(),
            "not the name of its entry",
        ),
        (
            "c",
            but("ce-source", Some("payment")),
            created.body.to_vec(),
            "`ce-source` is `payment`",
        ),
        ("d", good.clone(), oversize, "262144 at most"),
    ];
    for (name, headers, body, _) in &cases {
        let subject = created_of(name);
        world
            .operator
            .publish(&subject, headers.clone(), body)
            .await
            .unwrap();
    }
    // A valid envelope with a body about another order, and an envelope with an unknown version.
    let with_id = |name: &str, version: &str| {
        let mut headers = but("ce-id", Some(&format!("created.{name}")));
        headers.retain(|(key, _)| key != "ce-eventversion");
        headers.push(("ce-eventversion".to_owned(), version.to_owned()));
        headers
    };
    world
        .operator
        .publish(&created_of("e"), with_id("e", "1"), &created.body)
        .await
        .unwrap();
    world
        .operator
        .publish(&created_of("f"), with_id("f", "2"), &created.body)
        .await
        .unwrap();

    let listener = world.hears_orders();
    let parked = quadrille_local::client::until(PATIENCE, async || {
        let letters = world.api().dead_letters(listener).await?;
        anyhow::Ok((letters.len() == 6).then_some(letters))
    });
    let parked = parked.await.unwrap().expect("six letters");
    let reason = |name: &str| {
        let subject = created_of(name);
        parked
            .iter()
            .find(|letter| letter.subject == subject)
            .map(|letter| letter.reason.clone())
            .unwrap()
    };
    for (name, _, _, says) in &cases {
        assert!(reason(name).contains(says), "{name}: {}", reason(name));
    }
    assert!(
        reason("e").contains("the body is about the order"),
        "{}",
        reason("e")
    );
    assert!(
        reason("f").contains("this version of the event is not known here"),
        "{}",
        reason("f")
    );
    world.audit().await.unwrap();
}

/// How many of ada's orders the console shows as completed.
async fn seen_completed(console: &str) -> anyhow::Result<usize> {
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = http.get(format!("{console}/api/orders?q=ada")).send().await?;
    // The console may have no connection to NATS at this moment.
    if answer.status().is_server_error() {
        return Ok(0);
    }
    let found: serde_json::Value = answer.error_for_status()?.json().await?;
    let orders = found["orders"].as_array().into_iter().flatten();
    Ok(orders.filter(|order| order["step"] == "completed").count())
}

/// At all but the last two, the client library closes the connection, on every redelivery until the message is a dead letter.
/// In the log they stay.
#[tokio::test]
async fn a_message_that_the_client_library_cannot_parse_becomes_a_dead_letter() {
    let world = World::with().env("ACK_WAIT", "1s").start().await.unwrap();
    let live = world.console().await.unwrap();
    let cases: [(&str, &[u8], &str); 6] = [
        ("a", b"NATS/1.0\r\nno colon\r\n\r\n", "a line without a colon"),
        ("b", b"NATS/1.0\r\nname: \xff\r\n\r\n", "not UTF-8"),
        ("e", b"\r\nNATS/1.0\r\n\r\n", "no version"),
        (
            "f",
            b"NATS/1.0\r\na: b\r\n\r\n c\r\n\r\n",
            "a line without a colon",
        ),
        (
            "c",
            b"NATS/1.0 503\r\n\r\n",
            "the header `ce-specversion` is missing",
        ),
        (
            "d",
            b"NATS/1.0 abc\r\n\r\n",
            "the header `ce-specversion` is missing",
        ),
    ];
    for (name, headers, _) in cases {
        let subject = created_of(name);
        world.publish_bytes(&subject, headers, b"{}").await.unwrap();
    }
    let ids = world.place_many(20, order).await.unwrap();
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }

    let listener = world.hears_orders();
    let parked = quadrille_local::client::until(PATIENCE, async || {
        match world.api().dead_letters(listener).await {
            Ok(letters) => Ok((letters.len() == cases.len()).then_some(letters)),
            // The connection may be down at this moment.
            Err(error) if error.is_in_doubt() => Ok(None),
            Err(error) => Err(error),
        }
    });
    let parked = parked.await.unwrap().expect("one dead letter each");
    for (name, _, says) in cases {
        let subject = created_of(name);
        let letter = parked.iter().find(|letter| letter.subject == subject).unwrap();
        assert!(letter.reason.contains(says), "{}", letter.reason);
    }
    // Dead letters are not redelivered, and the audit can skip the messages.
    world.settle().await.unwrap();
    world.audit().await.unwrap();

    // So can a console, whether it was started before or reads the log from its start.
    let late = world.console().await.unwrap();
    for console in [&live, &late] {
        let sees_all = quadrille_local::client::until(PATIENCE, async || {
            let seen = seen_completed(console.url()).await?;
            anyhow::Ok((seen == ids.len()).then_some(()))
        });
        sees_all.await.unwrap().expect("the console shows all orders");
    }

    // The view of such an order is an error that names the unreadable message.
    for name in ["a", "c"] {
        let id = name.parse().unwrap();
        let refused = eventually(async || match world.api().order(&id).await {
            Ok(order) => panic!("{order:?}"),
            // Reading the message closes the connection; skipping it needs a new one.
            Err(error) if error.is_in_doubt() => Err(error.into()),
            Err(error) => Ok(Some(error)),
        });
        let refused = refused.await.unwrap();
        assert_eq!(refused.status(), Some(500), "{refused}");
        assert!(refused.to_string().contains(&created_of(name)), "{refused}");
    }
}

/// At this message the client library panics and has no connection afterwards, so the service exits. After a restart, the
/// service makes a dead letter of the redelivered message.
#[tokio::test]
async fn a_message_at_which_the_client_library_panics_becomes_a_dead_letter_after_restarts() {
    let world = World::with().env("ACK_WAIT", "2s").start().await.unwrap();
    let listener = world.hears_orders();
    let headers = b"NATS/1.0\r\nname: a\rb\r\n\r\n";
    world
        .publish_bytes(&created_of("a"), headers, b"{}")
        .await
        .unwrap();
    let mut lives = 0;
    let parked = eventually(async || {
        if !world.deaths().await?.is_empty() {
            lives += 1;
            // The service may exit before it is ready.
            let _ = world.restart(listener, 0).await;
            return Ok(None);
        }
        let letters = world.api().dead_letters(listener).await?;
        // Until the input is acknowledged too, it can be redelivered once more.
        let lags = world.operator.lags().await?;
        let is_over = lags.iter().all(|lag| lag.pending == 0 && lag.unacknowledged == 0);
        Ok(letters.into_iter().next().filter(|_| is_over))
    });
    let letter = parked.await.unwrap();
    assert!(
        letter
            .reason
            .contains("a lone carriage return in a header: \"name\""),
        "{}",
        letter.reason
    );
    assert_eq!(
        letter.attempts, 0,
        "the message was never delivered to the service"
    );
    assert!(
        lives > 0,
        "the client library can parse the message now: this test is not needed any more"
    );
    let id = world.place(order(0)).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
}
