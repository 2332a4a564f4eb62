//! The metrics: those that are promised, as they should be for a known set of orders, and no others in what is shipped.

use std::path::Path;

use axum::http::Method;
use quadrille_events::{Body, CancelOrder, Charged, CreateDelivery, Created, OrderCancelled, OrderId};
use quadrille_local::client::{NewOrder, until};
use quadrille_local::{NatsServer, Service, repo_root};
use quadrille_runtime::operator::Operator;
use quadrille_tests::{PATIENCE, PAY_FIRST, World, build};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::prometheus::promtool;
use super::scrape::{Scrape, text};

/// What every service says.
const SERVICES_SAY: [(&str, &str); 19] = [
    ("quadrille_build_info", "gauge"),
    ("quadrille_commit_duration_seconds", "histogram"),
    ("quadrille_commit_messages", "histogram"),
    ("quadrille_commits_total", "counter"),
    ("quadrille_consumer_ack_pending", "gauge"),
    ("quadrille_consumer_pending", "gauge"),
    ("quadrille_dead_letters_parked", "gauge"),
    ("quadrille_dead_letters_total", "counter"),
    ("quadrille_group_inputs", "histogram"),
    ("quadrille_http_request_duration_seconds", "histogram"),
    ("quadrille_inputs_total", "counter"),
    ("quadrille_order_duration_seconds", "histogram"),
    ("quadrille_ready", "gauge"),
    ("quadrille_redeliveries_total", "counter"),
    ("quadrille_retention_held", "gauge"),
    ("quadrille_retention_seconds", "gauge"),
    ("quadrille_stream_bytes", "gauge"),
    ("quadrille_stream_lost_bytes", "gauge"),
    ("quadrille_unhandled_input_age_seconds", "gauge"),
];
/// What the console says.
const CONSOLE_SAYS: [(&str, &str); 7] = [
    ("quadrille_log_differences", "gauge"),
    ("quadrille_orders_in_flight", "gauge"),
    ("quadrille_orders_stuck", "gauge"),
    ("quadrille_orders_uncounted", "gauge"),
    ("quadrille_replica_differences", "gauge"),
    ("quadrille_replica_scrubbed_timestamp_seconds", "gauge"),
    ("quadrille_scrub_period_seconds", "gauge"),
];

const STREAMS: [&str; 5] = ["KV_order", "KV_payment", "KV_inventory", "KV_delivery", "EVENTS"];

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

/// Waits until what is scraped satisfies `enough`: some of it is looked at every 5 s only.
async fn scraped(world: &World, what: &str, enough: impl Fn(&Scrape) -> bool) -> Scrape {
    let waited = until(PATIENCE, async || {
        let scrape = Scrape::of(world, None).await;
        anyhow::Ok(enough(&scrape).then_some(scrape))
    });
    waited
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("{what} is not to be seen"))
}

#[tokio::test]
async fn metrics_are_those_that_are_promised_and_move_as_they_should() {
    // What is delivered again would be counted again.
    let patient = World::with().env("FLOW", PAY_FIRST).env("ACK_WAIT", "60s");
    let world = patient.start().await.unwrap();
    let launch = world.launch_console().unwrap().env("SCRUB_PERIOD", "1s");
    let mut console = launch.start().unwrap();
    console.wait_ready(PATIENCE).await.unwrap();

    // Three orders complete, one is declined; a request makes no sense, another comes for nothing; an input is poison.
    let declined = order().by("test-declined");
    for order in [order(), order(), order(), declined] {
        let id = world.place(order).await.unwrap();
        world.ended(&id).await.unwrap();
    }
    let nonsense = json!({ "customer_id": "ada" });
    let api = world.api();
    let refused = api
        .send(
            Service::Order,
            Method::POST,
            "/orders/create_order",
            &[],
            Some(nonsense.to_string()),
        )
        .await;
    assert_eq!(refused.unwrap().status, 422);
    let nobodys: OrderId = "nobodys".parse().unwrap();
    let refused = api.approve_order(&nobodys).await.unwrap_err();
    assert_eq!(refused.status(), Some(404));
    let nothing = std::iter::empty::<(String, String)>();
    world
        .operator
        .publish("$KV.order.created.x", nothing, b"not json")
        .await
        .unwrap();
    world.settle().await.unwrap();

    let looked = |scrape: &Scrape| {
        let bytes = |stream: &str| scrape.sum("quadrille_stream_bytes", &[("stream", stream)]);
        let lost = |stream: &str| scrape.values("quadrille_stream_lost_bytes", &[("stream", stream)]);
        // The letter is stored, then counted.
        scrape.sum("quadrille_dead_letters_parked", &[("service", "payment")]) == 1.0
            && scrape.sum("quadrille_dead_letters_total", &[]) > 0.0
            && !scrape
                .values("quadrille_unhandled_input_age_seconds", &[])
                .is_empty()
            && STREAMS
                .iter()
                .all(|stream| bytes(stream) > 0.0 && !lost(stream).is_empty())
    };
    let seen = scraped(&world, "the dead letter, or what each stream holds,", looked).await;

    let inputs = |labels: &[(&str, &str)]| seen.sum("quadrille_inputs_total", labels);
    let of = |service: &'static str| ("service", service);
    let acted = ("outcome", "acted");
    assert_eq!(inputs(&[of("order"), ("subject", "http/create"), acted]), 4.0);
    assert_eq!(
        inputs(&[of("payment"), ("subject", Created::NAME.subject), acted]),
        4.0
    );
    assert_eq!(
        inputs(&[
            of("payment"),
            ("subject", Created::NAME.subject),
            ("outcome", "parked")
        ]),
        1.0
    );
    assert_eq!(
        inputs(&[of("inventory"), ("subject", Charged::NAME.subject), acted]),
        3.0
    );
    assert_eq!(
        inputs(&[of("delivery"), ("subject", CreateDelivery::NAME.subject), acted]),
        3.0
    );
    assert_eq!(
        inputs(&[of("order"), ("subject", CancelOrder::NAME.subject), acted]),
        1.0
    );
    let ignored = [
        ("subject", OrderCancelled::NAME.subject),
        ("outcome", "ignored"),
        ("reason", "nothing was asked for"),
    ];
    assert_eq!(inputs(&ignored), 2.0, "by inventory and delivery");
    let refused = [of("order"), ("outcome", "refused"), ("reason", "not found")];
    assert_eq!(inputs(&refused), 1.0);
    let ended = |ending| seen.sum("quadrille_order_duration_seconds_count", &[("ending", ending)]);
    assert_eq!((ended("completed"), ended("cancelled")), (3.0, 1.0));
    assert_eq!(seen.sum("quadrille_dead_letters_total", &[]), 1.0);
    for service in Service::ALL.map(Service::name) {
        // Every input that was not parked unread was in a group.
        let unread = inputs(&[of(service), ("outcome", "parked")]);
        let grouped = seen.sum("quadrille_group_inputs_sum", &[of(service)]);
        assert_eq!(grouped, inputs(&[of(service)]) - unread, "{service}");
        let commits = seen.sum("quadrille_commits_total", &[of(service)]);
        assert!(seen.sum("quadrille_commits_total", &[of(service), ("outcome", "stored")]) > 0.0);
        let timed = seen.sum("quadrille_commit_duration_seconds_count", &[of(service)]);
        assert_eq!(timed, commits, "{service}");
        assert_eq!(seen.sum("quadrille_ready", &[of(service)]), 1.0, "{service}");
    }
    let created = |status| {
        let labels = [
            ("method", "POST"),
            ("route", "/orders/create_order"),
            ("status", status),
        ];
        seen.sum("quadrille_http_request_duration_seconds_count", &labels)
    };
    assert_eq!((created("201"), created("422")), (4.0, 1.0));
    for stream in STREAMS {
        let lost = seen.values("quadrille_stream_lost_bytes", &[("stream", stream)]);
        assert!(
            !lost.is_empty() && lost.iter().all(|lost| *lost == 0.0),
            "{stream} has lost {lost:?} bytes"
        );
    }

    let compared = until(PATIENCE, async || {
        let all = Scrape::of(&world, Some(console.url())).await;
        let replicas = all.values("quadrille_replica_differences", &[]);
        let logs = all.values("quadrille_log_differences", &[]);
        assert!(
            replicas
                .iter()
                .chain(&logs)
                .all(|differences| *differences == 0.0)
        );
        anyhow::Ok((replicas.len() == STREAMS.len() && logs.len() == STREAMS.len()).then_some(()))
    });
    assert!(compared.await.unwrap().is_some(), "the replicas are not compared");

    // As promised, and no others.
    let all = Scrape::of(&world, Some(console.url())).await;
    let types: Vec<_> = all
        .types
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect();
    let mut promised = [SERVICES_SAY.as_slice(), &CONSOLE_SAYS].concat();
    promised.sort_unstable();
    assert_eq!(types, promised);

    // What is shipped asks for nothing else.
    for expression in expressions() {
        for name in names(&expression) {
            assert!(
                name == "up" || all.has(&name),
                "there is no metric {name}, which is asked for in `{expression}`"
            );
        }
    }

    // Prometheus' own eyes: names, units, help.
    for url in Service::ALL
        .map(|service| world.api().url(service).to_owned())
        .iter()
        .chain([&console.url().to_owned()])
    {
        promtool(&["check", "metrics"], &text(url).await);
    }
}

#[tokio::test]
async fn what_is_in_hand_and_delivered_again_is_counted() {
    let world = World::with()
        .env("FLOW", PAY_FIRST)
        .env("ACK_WAIT", "1s")
        .start()
        .await
        .unwrap();
    // A frozen listener holds its input until the broker tries again; whether it did shows once the listener is back.
    let redelivered = until(PATIENCE, async || {
        world.freeze(Service::Inventory, 0).await?;
        let id = world.place(order()).await?;
        let in_hand = until(PATIENCE, async || {
            let payment = text(world.api().url(Service::Payment)).await;
            let mut scrape = Scrape::default();
            scrape.read(&payment);
            let listener = [("stream", "KV_payment"), ("consumer", "inventory")];
            let waiting = scrape.sum("quadrille_consumer_ack_pending", &listener)
                + scrape.sum("quadrille_consumer_pending", &listener);
            anyhow::Ok((waiting >= 1.0).then_some(()))
        });
        assert!(in_hand.await?.is_some(), "nothing waits for inventory");
        world.thaw(Service::Inventory, 0).await?;
        assert_eq!(world.ended(&id).await?.state, "completed");
        world.settle().await?;
        let scrape = Scrape::of(&world, None).await;
        let again = [("service", "inventory"), ("speaker", "payment")];
        anyhow::Ok((scrape.sum("quadrille_redeliveries_total", &again) >= 1.0).then_some(()))
    });
    assert!(redelivered.await.unwrap().is_some(), "nothing is delivered again");
    world.audit().await.unwrap();
}

/// nats-server itself finds damage when it reads its files at the start, and says so to whoever asks in the right way.
#[tokio::test]
async fn what_a_stream_has_lost_on_disk_is_seen() {
    build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut nats = NatsServer::builder().folder(folder.path()).start().await.unwrap();
    let url = nats.url();
    let mut service = Service::Order.launch(&url).unwrap().start().unwrap();
    service.wait_ready(PATIENCE).await.unwrap();
    let at = service.url().to_owned();
    let operator = Operator::connect(&url).await.unwrap();
    for number in 0..50 {
        let subject = format!("$KV.order.note.{number}");
        let nothing = std::iter::empty::<(String, String)>();
        operator.publish(&subject, nothing, &[b'x'; 100]).await.unwrap();
    }
    let none = until(PATIENCE, async || {
        anyhow::Ok((lost(&at).await == Some(0.0)).then_some(()))
    });
    assert!(none.await.unwrap().is_some(), "nobody looks");

    nats.kill9().await.unwrap();
    damage(folder.path());
    nats.restart().await.unwrap();
    let is_missed = |lost: Option<f64>| lost.is_some_and(|lost| lost > 0.0);
    let seen = until(PATIENCE, async || {
        anyhow::Ok(is_missed(lost(&at).await).then_some(()))
    });
    assert!(seen.await.unwrap().is_some(), "nobody misses anything");
}

/// Where too many messages were deleted to ask, it is not 0 that is said.
#[tokio::test]
#[ignore = "a quarter of a million writes take a minute; `cargo test --test surface -- --ignored` runs it"]
async fn what_nobody_knows_is_not_said_to_be_none() {
    /// Far more than the service asks about: the death of the server may take the last of them along.
    const REWRITES: u64 = 250_000;
    build().unwrap();
    let mut nats = NatsServer::builder().start().await.unwrap();
    let url = nats.url();
    let mut service = Service::Order.launch(&url).unwrap().start().unwrap();
    service.wait_ready(PATIENCE).await.unwrap();
    let at = service.url().to_owned();
    let operator = Operator::connect(&url).await.unwrap();
    let none = until(PATIENCE, async || {
        anyhow::Ok((lost(&at).await == Some(0.0)).then_some(()))
    });
    assert!(none.await.unwrap().is_some(), "nobody looks");

    let nothing = std::iter::empty::<(String, String)>();
    operator
        .publish("$KV.order.note.first", nothing, b"x")
        .await
        .unwrap();
    let mut server = TcpStream::connect(url.trim_start_matches("nats://"))
        .await
        .unwrap();
    server
        .write_all(b"CONNECT {\"verbose\":false}\r\n")
        .await
        .unwrap();
    let some = b"PUB $KV.order.note.again 1\r\nx\r\n".repeat(5_000);
    let rewritten = until(PATIENCE, async || {
        // What comes faster than it can be stored is dropped, hence by and by.
        server.write_all(&some).await?;
        let last = operator.size("order").await?.last_sequence;
        anyhow::Ok((last > REWRITES).then_some(()))
    });
    assert!(rewritten.await.unwrap().is_some(), "they cannot be stored");

    // With another connection it looks again.
    nats.restart().await.unwrap();
    let unknown = until(PATIENCE, async || {
        anyhow::Ok(lost(&at).await.is_some_and(f64::is_nan).then_some(()))
    });
    assert!(
        unknown.await.unwrap().is_some(),
        "it is still said to be known: {:?} of {:?}",
        lost(&at).await,
        operator.size("order").await
    );
}

/// What this service says that the order bucket has lost, if it says anything of it.
async fn lost(at: &str) -> Option<f64> {
    let mut scrape = Scrape::default();
    scrape.read(&text(at).await);
    let said = scrape.values("quadrille_stream_lost_bytes", &[("stream", "KV_order")]);
    assert!(said.len() <= 1, "{said:?}");
    said.first().copied()
}

/// Spoils a few bytes in the middle of the order bucket's only block, and takes away the index that would hide it.
fn damage(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    let mut spoiled = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("KV_order/msgs/1.blk") {
                let mut block = std::fs::read(&path).unwrap();
                let middle = block.len() / 2;
                block[middle..middle + 20]
                    .iter_mut()
                    .for_each(|byte| *byte ^= 0xff);
                std::fs::write(&path, block).unwrap();
                spoiled += 1;
            } else if path.ends_with("KV_order/msgs/index.db") {
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
    assert_eq!(spoiled, 1, "the block was there");
}

/// Every PromQL expression of the rules and of the dashboard.
pub fn expressions() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(repo_root().join(path)).unwrap();
    let rules = read("deploy/prometheus/alerts.yml");
    let mut found: Vec<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .map(str::to_owned)
        .collect();
    assert_eq!(found.len(), rules.matches("- alert: ").count(), "one line each");
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/quadrille.json")).unwrap();
    let shown = found.len();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(target["expr"].as_str().unwrap().replace("$__rate_interval", "1m"));
        }
    }
    assert!(found.len() > shown + 20, "the dashboard shows something");
    found
}

/// The metrics that an expression names: its words that are no function, no keyword, no label.
fn names(expression: &str) -> Vec<String> {
    const KEYWORDS: [&str; 9] = [
        "by", "without", "on", "ignoring", "and", "or", "unless", "offset", "bool",
    ];
    // Without what is in braces, brackets and quotes, and without the labels after `by`.
    let mut bare = String::new();
    let mut depth = 0_u32;
    for c in expression.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if depth == 0 => bare.push(c),
            _ => {}
        }
    }
    let mut rest = bare.as_str();
    let mut found = Vec::new();
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let end = word
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(word.len());
        let after = word[end..].trim_start();
        // `rate(...)`, `sum by (...)`
        let is_call = ["(", "by ", "without "]
            .iter()
            .any(|next| after.starts_with(next));
        let word = &word[..end];
        rest = match (word, is_call) {
            ("by" | "without" | "on" | "ignoring", true) => after.split_once(')').unwrap().1,
            (_, _) => &rest[start + end..],
        };
        if !is_call && !KEYWORDS.contains(&word) {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn names_of_metrics_are_found_in_expressions() {
    let names = |expression: &str| names(expression).join(" ");
    assert_eq!(names("up{job=\"quadrille\"} == 0"), "up");
    assert_eq!(
        names("histogram_quantile(0.99, sum by (service, le) (rate(a_bucket[5m]))) > 0.5"),
        "a_bucket"
    );
    assert_eq!(names("max by (stream) (a + b{c=~\"d|e\"}) > 1000"), "a b");
}
