//! Whoever follows the broker meets nothing that `events/asyncapi.yaml` does not name: no key and no header in the buckets, in
//! EVENTS and on the republished subjects, and no state over HTTP.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use quadrille_events::{AwaitingApproval, Body, Created, Opened};
use quadrille_local::client::{NewOrder, until};
use quadrille_local::{Service, repo_root};
use quadrille_runtime::nats::Broker;
use quadrille_runtime::operator::{EVENTS, Entry};
use quadrille_tests::{PATIENCE, World, eventually};
use serde_json::{Value, json};

/// The committed document.
struct Document(Value);

impl Document {
    fn read() -> Self {
        let text = std::fs::read_to_string(repo_root().join("events/asyncapi.yaml")).unwrap();
        Self(serde_norway::from_str(&text).unwrap())
    }

    /// What a `$ref` refers to.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.follow(self.0.pointer(reference.trim_start_matches('#')).unwrap()),
            None => value,
        }
    }

    /// The names in a schema of headers.
    fn header_names(&self, schema: &Value) -> BTreeSet<String> {
        let schema = self.follow(schema);
        let own = schema["properties"].as_object().into_iter().flatten();
        let mut names: BTreeSet<_> = own.map(|(name, _)| name.clone()).collect();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            names.extend(self.header_names(part));
        }
        names
    }

    /// The messages that are stored under this key of a bucket, by name.
    fn stored_as(&self, subject: &str) -> Vec<(&str, &Value)> {
        let messages = self.0["components"]["messages"].as_object().unwrap().iter();
        let events = messages
            .filter(|(_, message)| {
                message["x-stored-as"]
                    .as_str()
                    .is_some_and(|key| fits(key, subject))
            })
            .map(|(name, message)| (name.as_str(), message));
        events.chain(self.sent_to(subject)).collect()
    }

    /// The messages of the channels with this address.
    fn sent_to(&self, subject: &str) -> Vec<(&str, &Value)> {
        let channels = self.0["channels"].as_object().unwrap().values();
        channels
            .filter(|channel| fits(channel["address"].as_str().unwrap(), subject))
            .flat_map(|channel| channel["messages"].as_object().unwrap())
            .map(|(name, message)| (name.as_str(), self.follow(message)))
            .collect()
    }

    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let root = json!({ "components": self.0["components"], "allOf": [schema] });
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7);
        options.should_validate_formats(true).build(&root).unwrap()
    }

    /// Checks a stored or republished message against what may come under its subject; returns the names of those.
    #[track_caller]
    fn check(&self, subject: &str, headers: &[String], messages: &[(&str, &Value)]) {
        assert!(!messages.is_empty(), "asyncapi.yaml does not name {subject}");
        let names: BTreeSet<_> = messages
            .iter()
            .flat_map(|(_, message)| self.header_names(&message["headers"]))
            .collect();
        let unnamed: Vec<_> = headers.iter().filter(|name| !names.contains(*name)).collect();
        assert!(
            unnamed.is_empty(),
            "{subject}: asyncapi.yaml does not name {unnamed:?}"
        );
    }
}

/// Whether a subject has this address, in which `{order_id}` is any token.
fn fits(address: &str, subject: &str) -> bool {
    let tokens = address.split('.').zip(subject.split('.'));
    address.split('.').count() == subject.split('.').count() && { tokens }
        .all(|(wanted, token)| wanted.starts_with('{') || wanted == token)
}

fn header_names(entry: &Entry) -> Vec<String> {
    entry.headers.iter().map(|(name, _)| name.to_string()).collect()
}

fn apple() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

/// Orders with every ending, an open payment, a courier who left, items that are changed and withdrawn, and a dead letter; returns the states that were seen.
async fn everything_happens(world: &World) -> BTreeSet<String> {
    let mut states = BTreeSet::new();
    let unconfirmed = world.place(apple().paid_by_hand()).await.unwrap();
    let cancelled = world.place(apple().approved_by_hand()).await.unwrap();
    world.said(AwaitingApproval::NAME, &cancelled).await.unwrap();
    world.api().put_courier("gone", 1).await.unwrap();
    world.api().delete_courier("gone").await.unwrap();
    world
        .api()
        .change_item("pear", &json!({"price": 95}))
        .await
        .unwrap();
    world.api().withdraw_item("plum").await.unwrap();
    world
        .operator
        .publish(&Created::NAME.stored_as(&"poison"), [], b"not json")
        .await
        .unwrap();
    let listener = world.hears_orders();
    eventually(async || Ok(world.api().dead_letters(listener).await?.pop()))
        .await
        .unwrap();
    // Without delivery and payment, orders stay where they otherwise are for milliseconds only.
    let declined = world.place(apple().by("test-declined")).await.unwrap();
    world.ended(&declined).await.unwrap();
    world.freeze(Service::Delivery, 0).await.unwrap();
    let confirmed = world.place(apple()).await.unwrap();
    let mut wait_for = async |id, state: &str| {
        let seen = until(PATIENCE, async || {
            let order = world.api().order(id).await?;
            states.insert(order.state.clone());
            anyhow::Ok((order.state == state).then_some(()))
        });
        assert!(seen.await.unwrap().is_some(), "never {state}");
    };
    wait_for(&confirmed, "confirmed").await;
    world.freeze(Service::Payment, 0).await.unwrap();
    world.api().cancel_order(&cancelled).await.unwrap();
    wait_for(&cancelled, "cancelling").await;
    world.thaw(Service::Payment, 0).await.unwrap();
    world.thaw(Service::Delivery, 0).await.unwrap();
    for (id, state) in [
        (&confirmed, "completed"),
        (&cancelled, "cancelled"),
        (&unconfirmed, "cancelled"),
    ] {
        wait_for(id, state).await;
    }
    states
}

#[tokio::test]
async fn a_follower_meets_nothing_that_is_not_named() {
    let world = World::with().env("PAYMENT_DEADLINE", "5s").start().await.unwrap();
    let document = Document::read();
    let follower = Broker::connect(&world.nats_url, "follower").await.unwrap();
    let mut published = follower.client().subscribe(">").await.unwrap();
    follower.client().flush().await.unwrap();

    let states = everything_happens(&world).await;
    let named = &document.0["components"]["schemas"]["OrderState"]["enum"];
    let named: BTreeSet<String> = serde_json::from_value(named.clone()).unwrap_or_default();
    assert!(states.is_subset(&named), "{states:?} are not all in {named:?}");
    // The newest deadline is still in its bucket.
    let open = world.place(apple().paid_by_hand()).await.unwrap();
    world.said(Opened::NAME, &open).await.unwrap();

    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for service in Service::ALL {
        for entry in world.operator.bucket(service.name()).await.unwrap() {
            let messages = document.stored_as(&entry.subject);
            if entry.subject.ends_with(".poison") && messages.len() == 1 && entry.headers.is_empty() {
                continue;
            }
            document.check(&entry.subject, &header_names(&entry), &messages);
            let [(name, message)] = messages[..] else {
                panic!("{} is ambiguous: {messages:?}", entry.subject);
            };
            *met.entry(name.to_owned()).or_default() += 1;
            if let Some(letter) = entry.header("Dead-Letter") {
                let schema = &document.0["components"]["schemas"]["DeadLetter"];
                let letter = serde_json::from_str(letter).unwrap();
                assert!(document.validator(schema).is_valid(&letter), "{letter:#}");
            } else if !entry.is_deleted() && message["contentType"] == "application/json" {
                let body = serde_json::from_slice(&entry.body).unwrap();
                assert!(
                    document.validator(&message["payload"]).is_valid(&body),
                    "{name}: {body:#}"
                );
            }
        }
    }
    let dead_letter = format!("{}.dead-letter", world.hears_orders().name());
    for kind in [
        "inventory.ledger.stock.item",
        "inventory.item.listed",
        "inventory.item.updated",
        "inventory.item.withdrawn",
        "order.ledger.price.item",
        "delivery.ledger.courier.load",
        "payment.schedule",
        &dead_letter,
    ] {
        assert!(met.contains_key(kind), "there was no {kind}: {met:?}");
    }
    for entry in world.operator.log().await.unwrap() {
        document.check(
            &entry.subject,
            &header_names(&entry),
            &document.sent_to(&entry.subject),
        );
    }
    let mut republished = 0;
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(200), published.next()).await {
        let Some(headers) = &message.headers else { continue };
        if headers
            .get("Nats-Stream")
            .is_none_or(|stream| stream.as_str() != EVENTS)
        {
            continue;
        }
        let names: Vec<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
        document.check(&message.subject, &names, &document.sent_to(&message.subject));
        republished += 1;
    }
    assert!(republished > 20, "{republished}");
}
