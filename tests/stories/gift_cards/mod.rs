//! Events about something else than orders: a sample participant of another contract, whose aggregate is a gift card, with two
//! instances beside the four services.

mod service;

use std::collections::BTreeSet;

use quadrille_decision::Refusal;
use quadrille_decision::testing::Scenario;
use quadrille_events::Body;
use quadrille_local::client::NewOrder;
use quadrille_runtime::Settings;
use quadrille_runtime::operator::Operator;
use quadrille_tests::{World, eventually};
use reqwest::StatusCode;
use serde_json::json;
use service::{CONTRACT, CardBalance, CardClosed, CardEvent, CardId, CardInput, CardPaidOut, CardService};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

fn card() -> CardId {
    CardId::new("ada").unwrap()
}

fn credit(order_id: &str, amount: u64) -> CardInput {
    CardInput::Credit {
        card_id: card(),
        order_id: order_id.parse().unwrap(),
        amount,
    }
}

fn balance(balance: u64, orders: &[&str], redeemed: &[(&str, u64)]) -> CardEvent {
    CardBalance {
        card_id: card(),
        balance,
        orders: orders.iter().map(|order| (*order).to_owned()).collect(),
        redeemed: redeemed
            .iter()
            .map(|(key, amount)| ((*key).to_owned(), *amount))
            .collect(),
    }
    .into()
}

fn redeem(key: &str, amount: u64) -> CardInput {
    CardInput::Redeem {
        card_id: card(),
        key: key.to_owned(),
        amount,
    }
}

#[test]
fn orders_are_credited_once_each_in_any_order() {
    Scenario::<CardService>::given([])
        .when([credit("1", 50), credit("2", 30)])
        .then([balance(50, &["1"], &[]), balance(80, &["1", "2"], &[])]);
}

#[test]
fn a_card_pays_no_more_than_is_on_it() {
    Scenario::<CardService>::given([balance(80, &["1"], &[])])
        .when([redeem("a", 70), redeem("b", 20)])
        .then([balance(10, &["1"], &[("a", 70)])])
        .refused(Refusal::Conflict, "10 are on the card");
}

#[test]
fn a_closed_card_is_paid_out_once() {
    let closed = CardClosed {
        card_id: card(),
        balance: 80,
        reason: "the customer closed it".to_owned(),
    };
    let paid_out = CardPaidOut {
        card_id: card(),
        amount: 80,
    };
    Scenario::<CardService>::given([balance(80, &["1"], &[]), closed.into()])
        .when([CardInput::PayOut {
            card_id: card(),
            amount: 80,
        }])
        .then([paid_out.into()]);
}

/// Instances of the card service in this process, each with a connection, consumers and HTTP of its own.
struct Cards {
    urls: Vec<String>,
    running: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Cards {
    async fn start(world: &World, instances: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut cards = Cards {
            urls: Vec::new(),
            running: JoinSet::new(),
            stop,
        };
        let nats_url = world.nats_url.clone();
        for _ in 0..instances {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            cards
                .urls
                .push(format!("http://{}", listener.local_addr().unwrap()));
            let settings = Settings::of([("NATS_URL", nats_url.as_str()), ("ACK_WAIT", "2s")]);
            let stopped = stopped.clone();
            cards.running.spawn(async move {
                quadrille_runtime::run(
                    CONTRACT,
                    CardService,
                    service::routes,
                    &settings,
                    listener,
                    stopped,
                )
                .await
            });
        }
        cards
    }

    async fn post(&self, instance: usize, path: &str, body: serde_json::Value) -> StatusCode {
        let url = format!("{}{path}", self.urls[instance]);
        let sent = reqwest::Client::new().post(url).json(&body).send().await;
        sent.unwrap().status()
    }

    async fn stop(mut self) {
        self.stop.send(true).unwrap();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

/// The entry of a card's balance, as stored.
async fn stored_balance(operator: &Operator, card_id: &CardId) -> anyhow::Result<Option<CardBalance>> {
    let entries = operator.entries_of(card_id, &[]).await?;
    let mut balances = entries
        .iter()
        .filter(|entry| entry.subject == CardBalance::NAME.stored_as(card_id));
    Ok(balances
        .next()
        .map(|entry| serde_json::from_slice(&entry.body).unwrap()))
}

#[tokio::test]
async fn two_instances_keep_cards_beside_the_orders() {
    let world = World::start().await.unwrap();
    let cards = Cards::start(&world, 2).await;
    let operator = Operator::connect_to(&world.nats_url, CONTRACT).await.unwrap();

    // 20 orders of each customer, 500 each: credits of one card compete, and each order counts once.
    let customers = ["ada", "grace", "linus", "margaret"];
    let placing = customers
        .map(|customer| world.place_many(20, move |_| NewOrder::new().by(customer).line(2, "apple")));
    let placed = futures::future::try_join_all(placing).await.unwrap();
    for (customer, ids) in customers.iter().zip(&placed) {
        let orders: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        let card_id = CardId::new(customer).unwrap();
        let card = eventually(async || {
            let card = stored_balance(&operator, &card_id).await?;
            Ok(card.filter(|card| card.orders == orders))
        });
        let card = card.await.unwrap();
        assert_eq!(card.balance, 50 * 20);
    }

    // Both instances redeem, and no more than there is.
    let card_id = card();
    let path = |what: &str| format!("/cards/{card_id}/{what}");
    let redemptions = (0..8).map(|n| {
        let body = json!({ "key": format!("k{}", n / 2), "amount": 300 });
        cards.post(n % 2, "/cards/ada/redeem", body)
    });
    let answers = futures::future::join_all(redemptions).await;
    let ok = answers.iter().filter(|status| status.is_success()).count();
    assert_eq!(
        ok, 6,
        "1,000 are enough for three keys, each asked for twice: {answers:?}"
    );
    let card = stored_balance(&operator, &card_id).await.unwrap().unwrap();
    assert_eq!((card.balance, card.redeemed.len()), (100, 3));

    // The service hears its own event about a card.
    assert!(cards.post(1, &path("close"), json!({})).await.is_success());
    let history = eventually(async || {
        let history = operator.history(&card_id).await?;
        let is_paid_out = history
            .iter()
            .any(|entry| entry.event == CardPaidOut::NAME.subject);
        Ok(is_paid_out.then_some(history))
    });
    let subjects: Vec<_> = history
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.event)
        .collect();
    assert_eq!(
        subjects,
        [CardBalance::NAME, CardClosed::NAME, CardPaidOut::NAME].map(|name| name.subject)
    );

    // What cannot be read becomes a dead letter, named by kind and id.
    let poison = format!("$KV.cards.card.closed.{card_id}-2");
    operator.publish(&poison, [], b"not json").await.unwrap();
    let letter = eventually(async || {
        let other = CardId::new(format!("{card_id}-2")).unwrap();
        Ok(operator.dead_letters_of(&other).await?.pop())
    });
    let letter = letter.await.unwrap();
    assert!(
        letter.id.ends_with(&format!(".card.{card_id}-2")),
        "{}",
        letter.id
    );

    // The log shows every balance under its plain subject.
    let log = operator.log().await.unwrap();
    let balances = log
        .iter()
        .filter(|entry| entry.subject == CardBalance::NAME.heard_as(&card_id))
        .count();
    assert!((4..=23).contains(&balances), "{balances} balances");

    // The audit checks what it knows of any aggregate: the log is what the buckets say, and the unreadable is parked.
    let report = quadrille_audit::audit(&operator, None, quadrille_audit::PATIENCE)
        .await
        .unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.orders, 80);
    cards.stop().await;
}
