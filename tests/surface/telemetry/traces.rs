//! One order is one trace.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use quadrille_events::{Body, Opened, OrderId, Reserved, TraceParent, TypedId};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{PATIENCE, PAY_FIRST, World};
use serde_json::json;
use tokio::net::TcpListener;

use super::collector::{Collector, Span};

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

/// A world whose services export to `url`, soon. What is delivered again would be told again.
async fn exporting_to(url: &str, env: &[(&str, &str)]) -> World {
    let mut world = World::with()
        .env("FLOW", PAY_FIRST)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("ACK_WAIT", "60s");
    for (name, value) in env {
        world = world.env(name, value);
    }
    world.start().await.unwrap()
}

/// The trace as a tree: what, who. Roots have no parent, or `caller`. Those who hear the same event are told by name, all
/// else in the order in which it began.
fn tree(spans: &[Span], trace: &str, caller: &str) -> String {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "an id is used twice: {spans:#?}");
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        assert!(
            ids.contains(span.parent.as_str()) || span.parent == caller,
            "the parent of `{}` never arrived: {spans:#?}",
            span.name
        );
        children.entry(&span.parent).or_default().push(span);
    }
    let mut told = String::new();
    tell(&mut children, caller, 0, &mut told);
    told
}

fn tell(children: &mut BTreeMap<&str, Vec<&Span>>, parent: &str, depth: usize, told: &mut String) {
    let mut spans = children.remove(parent).unwrap_or_default();
    spans.sort_by_key(|span| match span.kind {
        SpanKind::Consumer => (0, span.service.clone()),
        SpanKind::Unspecified
        | SpanKind::Internal
        | SpanKind::Server
        | SpanKind::Client
        | SpanKind::Producer => (span.began, span.name.clone()),
    });
    for span in spans {
        let outcome = match span.attribute("quadrille.outcome") {
            "" | "acted" => String::new(),
            other => format!(": {other}, {}", span.attribute("quadrille.reason")),
        };
        let failed = if span.failed { " FAILED" } else { "" };
        let indent = "  ".repeat(depth);
        *told += &format!("{indent}{} ({}){outcome}{failed}\n", span.name, span.service);
        tell(children, &span.id, depth + 1, told);
    }
}

fn of_order(id: &OrderId) -> String {
    format!("{:032x}", TraceParent::of(&id.aggregate()).trace_id())
}

/// Stops all services, which send their last spans.
async fn stop(world: &World) {
    world.settle().await.unwrap();
    for service in Service::ALL {
        let status = world.terminate(service, 0).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", service.name());
    }
}

/// Waits for these traces, stops all services, which send what they have left, and compares. Returns the spans of each.
async fn told<const N: usize>(
    collector: &Collector,
    world: &World,
    caller: &str,
    traces: [(String, Expect); N],
) -> [Vec<Span>; N] {
    let of = |spans: &[Span], trace: &str| -> Vec<Span> {
        let spans = spans.iter().filter(|span| span.trace == trace);
        spans.cloned().collect()
    };
    for (trace, expected) in &traces {
        let lines = expected.data().trim().lines().count();
        let enough = |spans: &[Span]| of(spans, trace).len() >= lines;
        collector.wait(&format!("a trace of {lines} spans"), enough).await;
    }
    stop(world).await;
    let spans = collector.spans();
    traces.map(|(trace, expected)| {
        expected.assert_eq(&tree(&spans, &trace, caller));
        of(&spans, &trace)
    })
}

#[tokio::test]
async fn one_order_is_one_trace_across_all_four_services() {
    let collector = Collector::start().await;
    let world = exporting_to(
        &collector.url,
        &[
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=story"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-nobody"),
        ],
    )
    .await;

    let at_once = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&at_once).await.unwrap().state, "completed");
    let by_hand = world.place(order().paid_by_hand()).await.unwrap();
    world.said(Opened::NAME, &by_hand).await.unwrap();
    world.api().confirm_payment(&by_hand).await.unwrap();
    assert_eq!(world.ended(&by_hand).await.unwrap().state, "completed");
    world.api().put_item("quince", 1).await.unwrap();
    let too_many = world.place(NewOrder::new().line(2, "quince")).await.unwrap();
    assert_eq!(world.ended(&too_many).await.unwrap().state, "cancelled");
    world.audit().await.unwrap();

    let paid_at_once = expect![[r#"
        POST /orders/create_order (order)
          decide create (order)
            publish order.created (order)
              process order.created (payment)
                publish payment.charged (payment)
                  process payment.charged (inventory)
                    publish inventory.reserved (inventory)
                      process inventory.reserved (order)
                        publish create-delivery (order)
                          process create-delivery (delivery)
                            publish delivery.assigned (delivery)
                              process delivery.assigned (order)
                                publish order.completed (order)
    "#]];
    // The confirmation is a request of its own in the same trace, and so is what the broker was to say.
    let paid_by_hand = expect![[r#"
        POST /orders/create_order (order)
          decide create (order)
            publish order.created (order)
              process order.created (payment)
                publish payment.opened (payment)
                schedule payment.expired (payment)
        POST /payments/confirm (payment)
          decide confirm (payment)
            publish payment.charged (payment)
              process payment.charged (inventory)
                publish inventory.reserved (inventory)
                  process inventory.reserved (order)
                    publish create-delivery (order)
                      process create-delivery (delivery)
                        publish delivery.assigned (delivery)
                          process delivery.assigned (order)
                            publish order.completed (order)
    "#]];
    // What undoes it is in it too.
    let out_of_stock = expect![[r#"
        POST /orders/create_order (order)
          decide create (order)
            publish order.created (order)
              process order.created (payment)
                publish payment.charged (payment)
                  process payment.charged (inventory)
                    publish inventory.reservation.failed (inventory)
                      process inventory.reservation.failed (payment)
                        publish payment.refunded (payment)
                        publish cancel-order (payment)
                          process cancel-order (order)
                            publish order.cancelled (order)
                              process order.cancelled (delivery): ignored, nothing was asked for
                              process order.cancelled (inventory): ignored, nothing is reserved
    "#]];

    let traces = [
        (of_order(&at_once), paid_at_once),
        (of_order(&by_hand), paid_by_hand),
        (of_order(&too_many), out_of_stock),
    ];
    let [spans, ..] = told(&collector, &world, "", traces).await;
    for service in Service::ALL {
        assert!(spans.iter().any(|span| span.service == service.name()));
    }
    looks_as_the_conventions_say(&spans, &at_once);

    // A header may be a secret.
    let headers = collector.headers();
    assert!(
        headers
            .iter()
            .all(|headers| headers["authorization"] == "Bearer of-nobody")
    );
    for service in Service::ALL {
        let log = world.log(service, 0).await.unwrap().join("\n");
        assert!(
            !log.contains("of-nobody"),
            "the log of {} tells it: {log}",
            service.name()
        );
        let trace = format!("trace_id=\"{}\"", of_order(&at_once));
        assert!(
            log.contains(&trace),
            "the log of {} names no trace: {log}",
            service.name()
        );
    }
}

/// OpenTelemetry's semantic conventions for HTTP and messaging, and what there is of our own.
fn looks_as_the_conventions_say(spans: &[Span], id: &OrderId) {
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let request = find("POST /orders/create_order");
    assert_eq!(request.kind, SpanKind::Server);
    assert_eq!(request.attribute("http.request.method"), "POST");
    assert_eq!(request.attribute("http.route"), "/orders/create_order");
    assert_eq!(request.attribute("http.response.status_code"), "201");
    let process = find("process payment.charged");
    assert_eq!(process.kind, SpanKind::Consumer);
    assert_eq!(process.attribute("messaging.system"), "nats");
    let subject = format!("$KV.payment.charged.{id}");
    assert_eq!(process.attribute("messaging.destination.name"), subject);
    assert_eq!(process.attribute("messaging.consumer.group.name"), "inventory");
    assert_eq!(process.attribute("quadrille.order_id"), id.as_str());
    assert_eq!(process.attribute("quadrille.outcome"), "acted");
    assert_eq!(process.attribute("quadrille.said"), Reserved::NAME.subject);
    let publish = find("publish inventory.reserved");
    assert_eq!(publish.kind, SpanKind::Producer);
    assert_eq!(
        publish.attribute("messaging.message.id"),
        format!("reserved.{id}")
    );
    assert_eq!(publish.attribute("quadrille.group.inputs"), "1");
    // The event, and the record of the apples.
    assert_eq!(publish.attribute("quadrille.commit.messages"), "2");
    assert!(publish.began >= process.began && publish.ended <= process.ended);
    assert!(publish.ended > publish.began);
    assert_eq!(publish.resource["deployment.environment.name"], "story");
    assert_eq!(publish.resource["service.namespace"], "quadrille");
}

#[tokio::test]
async fn a_payment_deadline_fires_within_the_trace_of_its_order() {
    let collector = Collector::start().await;
    let world = exporting_to(&collector.url, &[("PAYMENT_DEADLINE", "1s")]).await;
    let id = world.place(order().paid_by_hand()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
    // What payment remembers of the order is behind what the broker has said, so its first commit is refused.
    let expired = expect![[r#"
        POST /orders/create_order (order)
          decide create (order)
            publish order.created (order)
              process order.created (payment)
                publish payment.opened (payment)
                schedule payment.expired (payment)
                  process payment.expired (payment)
                    publish payment.cancelled (payment) FAILED
                    publish cancel-order (payment) FAILED
                    publish payment.cancelled (payment)
                      process payment.cancelled (payment): ignored, nothing is held at the provider
                    publish cancel-order (payment)
                      process cancel-order (order)
                        publish order.cancelled (order)
                          process order.cancelled (delivery): ignored, nothing was asked for
                          process order.cancelled (inventory): ignored, nothing was asked for
    "#]];
    told(&collector, &world, "", [(of_order(&id), expired)]).await;
}

/// Places an order with a `traceparent`, and waits for its end.
async fn placed_within(world: &World, traceparent: &str) -> OrderId {
    let body = json!({
        "customer_id": "ada", "lines": [{ "item_id": "apple", "quantity": 1, "unit_price": 250 }],
        "total": 250, "currency": "EUR", "address": "1 Main St", "payment": "auto",
    });
    let headers = [("traceparent", traceparent)];
    let path = "/orders/create_order";
    let answer = world
        .api()
        .send(
            Service::Order,
            Method::POST,
            path,
            &headers,
            Some(body.to_string()),
        )
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = answer.json();
    let id: OrderId = answer["order_id"].as_str().unwrap().parse().unwrap();
    world.ended(&id).await.unwrap();
    id
}

#[tokio::test]
async fn a_callers_trace_goes_on_and_its_choice_not_to_be_recorded_holds() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const CALLER: &str = "b7ad6b7169203331";
    const UNRECORDED: &str = "0af7651916cd43dd8448eb211c80319d";
    let collector = Collector::start().await;
    let world = exporting_to(&collector.url, &[]).await;
    placed_within(&world, &format!("00-{UNRECORDED}-{CALLER}-00")).await;
    let id = placed_within(&world, &format!("00-{TRACE}-{CALLER}-01")).await;
    let completed = expect![[r#"
            POST /orders/create_order (order)
              decide create (order)
                publish order.created (order)
                  process order.created (payment)
                    publish payment.charged (payment)
                      process payment.charged (inventory)
                        publish inventory.reserved (inventory)
                          process inventory.reserved (order)
                            publish create-delivery (order)
                              process create-delivery (delivery)
                                publish delivery.assigned (delivery)
                                  process delivery.assigned (order)
                                    publish order.completed (order)
        "#]];
    let [spans] = told(&collector, &world, CALLER, [(TRACE.to_owned(), completed)]).await;
    assert!(
        spans
            .iter()
            .any(|span| span.attribute("quadrille.order_id") == id.as_str())
    );
    assert!(collector.spans().iter().all(|span| span.trace != UNRECORDED));
}

#[tokio::test]
async fn of_an_order_all_is_recorded_or_nothing() {
    const ORDERS: usize = 24;
    let collector = Collector::start().await;
    let half = [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ];
    let world = exporting_to(&collector.url, &half).await;
    let ids = world.place_many(ORDERS, |_| order()).await.unwrap();
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    world.settle().await.unwrap();
    // Each service decides by itself, from the trace's id.
    let recorded = |spans: &[Span]| -> Vec<String> {
        let recorded = ids.iter().map(of_order);
        recorded
            .filter(|trace| spans.iter().any(|span| span.trace == *trace))
            .collect()
    };
    let is_whole = |spans: &[Span], trace: &String| {
        let spans: Vec<_> = spans.iter().filter(|span| span.trace == *trace).collect();
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
        spans.iter().any(|span| span.name == "publish order.completed")
            && spans
                .iter()
                .all(|span| span.parent.is_empty() || ids.contains(&span.parent))
    };
    collector
        .wait("all of each order of which there is anything", |spans| {
            let recorded = recorded(spans);
            !recorded.is_empty() && recorded.iter().all(|trace| is_whole(spans, trace))
        })
        .await;
    stop(&world).await;
    let spans = collector.spans();
    let recorded = recorded(&spans);
    for trace in &recorded {
        // Twelve inputs and events and a request at least; refused commits are seen too.
        let told = tree(&spans, trace, "");
        assert!(
            told.contains("publish order.completed") && told.lines().count() >= 13,
            "{told}"
        );
    }
    assert!(
        (1..ORDERS).contains(&recorded.len()),
        "{} of {ORDERS}",
        recorded.len()
    );
}

/// Orders go through while nobody takes the spans, and everybody stops in time.
async fn unaffected(world: &World) {
    let ids = world.place_many(20, |_| order()).await.unwrap();
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    world.audit().await.unwrap();
    stop(world).await;
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_and_no_orders() {
    // Bound and never listened on would be better, but std listens at once; nobody else gets this port while it is held.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    let world = exporting_to(&url, &[]).await;
    unaffected(&world).await;
    for service in Service::ALL {
        let log = world.log(service, 0).await.unwrap().join("\n");
        assert!(
            log.contains("BatchSpanProcessor.ExportError"),
            "{} has not tried: {log}",
            service.name()
        );
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_spans_and_no_orders() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (taken, mut tried) = tokio::sync::watch::channel(0_usize);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
            taken.send_replace(held.len());
        }
    });
    // A queue of a few spans, so that it overflows.
    let small = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
    ];
    let world = exporting_to(&url, &small).await;
    world.place(order()).await.unwrap();
    let all = tokio::time::timeout(PATIENCE, tried.wait_for(|tried| *tried >= 4)).await;
    all.expect("all four try to export").unwrap();
    unaffected(&world).await;
}
