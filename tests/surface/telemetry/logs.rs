//! The log: one line per decision, in JSON when asked, and no secrets.

use quadrille_events::{Assigned, Body, Charged, Completed, CreateDelivery, Created, Reserved};
use quadrille_local::client::NewOrder;
use quadrille_local::{NatsServer, Service};
use quadrille_tests::{PATIENCE, PAY_FIRST, World, build};
use serde_json::Value;
use tokio::net::TcpSocket;

use super::collector::Collector;

#[tokio::test]
async fn every_decision_is_one_line_with_order_and_cause_in_json_when_asked() {
    let world = World::with()
        .env("FLOW", PAY_FIRST)
        .env("LOG_FORMAT", "json")
        .start()
        .await
        .unwrap();
    let id = world.place(NewOrder::new().line(2, "apple")).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.settle().await.unwrap();

    let mut decided = Vec::new();
    for service in Service::ALL {
        for line in world.log(service, 0).await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if line["message"] != "decided" || line["order_id"] != id.as_str() {
                continue;
            }
            assert_eq!(
                (&line["level"], &line["service"]),
                (&Value::from("INFO"), &Value::from(service.name()))
            );
            assert!(
                line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')),
                "{line}"
            );
            // Nobody exports spans, so there is no trace to name.
            assert!(line.get("trace_id").is_none(), "{line}");
            let word = |key: &str| line[key].as_str().unwrap().replace(&format!(".{id}"), "");
            decided.push((word("cause"), word("said")));
        }
    }
    decided.sort_unstable();
    let expected = [
        ("delivery/assigned", Completed::NAME.subject),
        ("http/create", Created::NAME.subject),
        ("inventory/reserved", CreateDelivery::NAME.subject),
        ("order/create-delivery", Assigned::NAME.subject),
        ("order/created", Charged::NAME.subject),
        ("payment/charged", Reserved::NAME.subject),
    ];
    assert_eq!(
        decided,
        expected.map(|(cause, said)| (cause.to_owned(), said.to_owned()))
    );
}

/// Whatever is asked of the log, credentials are not in it: those of NATS, with a server and without one, those of the
/// collector, those of the payment provider.
#[tokio::test]
async fn no_secret_is_logged() {
    build().unwrap();
    let nats = NatsServer::builder().start().await.unwrap();
    let collector = Collector::start().await;
    // Bound, and nobody listens: so nobody else does.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = held.local_addr().unwrap();
    let with_secret = |host: &str| format!("nats://ada:of-nobody@{host}");
    let server = with_secret(nats.url().trim_start_matches("nats://"));
    for (url, waits) in [(server, false), (with_secret(&nobody.to_string()), true)] {
        let mut process = Service::Order
            .launch(&url)
            .unwrap()
            .env("RUST_LOG", "debug")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-nobody")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .start()
            .unwrap();
        let said = |process: &quadrille_local::Instance| process.log().join("\n");
        if waits {
            let waiting = quadrille_local::client::until(PATIENCE, async || {
                anyhow::Ok(
                    said(&process)
                        .contains("waiting for NATS at nats://***@")
                        .then_some(()),
                )
            });
            assert!(waiting.await.unwrap().is_some(), "{}", said(&process));
        } else {
            process.wait_ready(PATIENCE).await.unwrap();
            let url = process.url();
            let http = reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap();
            http.get(format!("{url}/orders/nobodys")).send().await.unwrap();
            collector.wait("a span", |spans| !spans.is_empty()).await;
        }
        process.terminate().await.unwrap();
        let said = said(&process);
        assert!(said.contains("DEBUG"), "all of it is asked for: {said}");
        assert!(!said.contains("of-nobody"), "{said}");
    }
    assert!(
        collector
            .headers()
            .iter()
            .all(|headers| headers["authorization"] == "Bearer of-nobody")
    );
}
