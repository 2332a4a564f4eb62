//! The rules that are shipped, as the real Prometheus evaluates them on the real system.

use anyhow::Context as _;
use quadrille_local::client::{NewOrder, until};
use quadrille_local::{Service, repo_root};
use quadrille_tests::{PATIENCE, PAY_FIRST, World};
use serde_json::Value;

use super::metrics::expressions;
use super::prometheus::{Prometheus, find, promtool};
use super::scrape::Scrape;

#[test]
fn the_rules_pass_their_own_tests() {
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"], "");
    promtool(&["test", "rules", "deploy/prometheus/alerts.test.yml"], "");
    let read =
        |file: &str| std::fs::read_to_string(repo_root().join("deploy/prometheus").join(file)).unwrap();
    let tests = read("alerts.test.yml");
    for line in read("alerts.yml").lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            let fires = format!("- alertname: {alert}\n");
            let does_not = format!("- {{ alertname: {alert},");
            assert!(
                tests.contains(&fires) && tests.contains(&does_not),
                "{alert} has no test"
            );
        }
    }
}

/// The shipped configuration, for this world and in a hurry.
fn configuration(world: &World, console: &str) -> String {
    let shipped = std::fs::read_to_string(repo_root().join("deploy/prometheus/prometheus.yml")).unwrap();
    let mut config = shipped.replace("_interval: 5s", "_interval: 1s");
    let ports = [7001, 7002, 7003, 7004, 7000];
    let urls = Service::ALL.map(|service| world.api().url(service).to_owned());
    for (port, url) in ports.iter().zip(urls.iter().map(String::as_str).chain([console])) {
        let target = format!("\"127.0.0.1:{port}\"");
        assert_eq!(config.matches(&target).count(), 1, "{target}");
        config = config.replace(&target, &format!("{:?}", url.trim_start_matches("http://")));
    }
    config
}

/// The shipped rules, but that nobody waits before they fire.
fn rules() -> String {
    let shipped = std::fs::read_to_string(repo_root().join("deploy/prometheus/alerts.yml")).unwrap();
    let lines = shipped
        .lines()
        .map(|line| match line.trim().starts_with("for: ") {
            true => "        for: 0s",
            false => line,
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// Delivery is gone and an order waits for it: on the page's metrics, in `just stuck`, as a firing alert.
#[tokio::test]
async fn a_broken_order_is_a_firing_alert() {
    let world = World::with().env("FLOW", PAY_FIRST).start().await.unwrap();
    let console = world.console().await.unwrap();
    let fine = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    world.ended(&fine).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let prometheus = match find("prometheus") {
        None => None,
        Some(program) => {
            let config = folder.path().join("prometheus.yml");
            std::fs::write(&config, configuration(&world, console.url())).unwrap();
            std::fs::write(folder.path().join("alerts.yml"), rules()).unwrap();
            let prometheus = Prometheus::start(&program, &config, folder.path()).await;
            // It knows all five, and nothing is wrong.
            let up = until(PATIENCE, async || {
                let answer = prometheus.get("/api/v1/query", &[("query", "sum(up)")]).await;
                anyhow::Ok((answer["data"]["result"][0]["value"][1] == "5").then_some(()))
            });
            assert!(
                up.await.unwrap().is_some(),
                "{:#}",
                prometheus.get("/api/v1/targets", &[]).await
            );
            prometheus_sees(&prometheus, nothing_wrong).await;
            // Whatever is asked for in what is shipped, it understands.
            for expression in expressions() {
                let answer = prometheus.get("/api/v1/query", &[("query", &expression)]).await;
                assert_eq!(answer["status"], "success", "{expression}: {answer:#}");
            }
            Some(prometheus)
        }
    };

    world.kill9(Service::Delivery, 0).await.unwrap();
    let stuck = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    let counted = until(PATIENCE, async || {
        let mut scrape = Scrape::default();
        scrape.read(&super::scrape::text(console.url()).await);
        let at = [("step", "confirmed")];
        anyhow::Ok((scrape.sum("quadrille_orders_stuck", &at) >= 1.0).then_some(()))
    });
    assert!(
        counted.await.unwrap().is_some(),
        "the console counts no stuck order"
    );
    let (_, listed) = world.quadrille(&["stuck"]).await.unwrap();
    assert!(
        listed.contains(stuck.as_str()) && listed.contains("delivery"),
        "{listed}"
    );

    // Its bucket's speaker sees that the listener does not come.
    let behind = until(PATIENCE, async || {
        let mut scrape = Scrape::default();
        scrape.read(&super::scrape::text(world.api().url(Service::Order)).await);
        let listener = [("stream", "KV_order"), ("consumer", "delivery")];
        let waits = scrape.sum("quadrille_consumer_pending", &listener)
            + scrape.sum("quadrille_consumer_ack_pending", &listener);
        anyhow::Ok((waits >= 1.0).then_some(()))
    });
    assert!(
        behind.await.unwrap().is_some(),
        "nobody sees that delivery is behind"
    );

    if let Some(prometheus) = &prometheus {
        prometheus_sees(prometheus, |alerts| {
            let fires = |name: &str, label: &str, value: &str| {
                alerts.iter().any(|alert| {
                    let labels = &alert["labels"];
                    alert["state"] == "firing" && labels["alertname"] == name && labels[label] == value
                })
            };
            fires("QuadrilleOrdersStuck", "step", "confirmed")
                && fires("QuadrilleServiceDown", "service", "delivery")
        })
        .await;
    }
    world.restart(Service::Delivery, 0).await.unwrap();
    assert_eq!(world.ended(&stuck).await.unwrap().state, "completed");
    if let Some(prometheus) = &prometheus {
        prometheus_sees(prometheus, nothing_wrong).await;
    }
    world.audit().await.unwrap();
}

/// Nothing but, maybe, that one commit was slow: of that the machine decides, and the alert looks back for 5 minutes.
fn nothing_wrong(alerts: &[Value]) -> bool {
    alerts
        .iter()
        .all(|alert| alert["labels"]["alertname"] == "QuadrilleCommitsSlow")
}

/// Waits until the alerts, pending and firing, are as they should be.
async fn prometheus_sees(prometheus: &Prometheus, expected: impl Fn(&[Value]) -> bool) {
    let mut seen = Value::Null;
    let waited = until(PATIENCE, async || {
        seen = prometheus.get("/api/v1/alerts", &[]).await;
        let alerts = seen["data"]["alerts"].as_array().context("no alerts")?;
        anyhow::Ok(expected(alerts).then_some(()))
    });
    assert!(waited.await.unwrap().is_some(), "after {PATIENCE:?}: {seen:#}");
}
