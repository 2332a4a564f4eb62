//! What hostile clients, foreign pages and strange texts can do to the services and the console: real processes, real HTTP.

use std::net::{IpAddr, Ipv4Addr};

use axum::routing::post;
use quadrille_events::{Body, Opened, PaymentFailed};
use quadrille_local::client::{Answer, NewOrder};
use quadrille_local::{Instance, Process, Service};
use quadrille_tests::hostile::{pipeline_without_reading, send_endless_head};
use quadrille_tests::{OrderAlone, PATIENCE, World, eventually, quadrille};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A clear screen, a forged line and an 8-bit colour: what no terminal must get.
const EVIL: &str = "no\u{1b}[2J\nforged \u{9b}31mtext";
const EVIL_ESCAPED: &str = r"no\u{1b}[2J\nforged \u{9b}31mtext";

fn http() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn apples() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await.unwrap();
    Answer {
        status,
        headers,
        body,
    }
}

/// Sends a request, whose answer must be a problem with this status; returns the problem.
#[track_caller]
fn refused(request: RequestBuilder, status: u16) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    async move {
        let response = request.send().await.unwrap();
        // The body of an event stream never ends.
        assert_eq!(response.status().as_u16(), status, "{caller}");
        let answer = read(response).await;
        let shown = format!("{caller}: {} {}", answer.status, answer.body);
        assert_eq!(
            answer.headers["content-type"], "application/problem+json",
            "{shown}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{shown}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{shown}"
        );
        problem
    }
}

/// A console on a free port, with these settings.
async fn start_console(world: &World, settings: &[(&str, &str)]) -> (Instance, String) {
    let mut launch = world.launch_console().unwrap();
    for (name, value) in settings {
        launch = launch.env(name, value);
    }
    let mut console = launch.start().unwrap();
    console.wait_ready(PATIENCE).await.unwrap();
    let url = console.url().to_owned();
    (console, url)
}

#[tokio::test]
async fn event_streams_leave_room_for_probes_and_commands() {
    let world = World::with()
        .env("MAX_SSE", "3")
        .env("MAX_SSE_PER_ADDRESS", "2")
        .start()
        .await
        .unwrap();
    let id = world.place(apples().paid_by_hand()).await.unwrap();
    let url = format!("{}/orders/{id}/events", world.api().order);
    let from = |last: u8| {
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
        let client = Client::builder().no_proxy().local_address(address);
        client
            .build()
            .unwrap()
            .get(&url)
            .header("accept", "text/event-stream")
    };
    let open = async |last: u8| {
        let stream = from(last).send().await.unwrap();
        assert_eq!(stream.status().as_u16(), 200);
        stream
    };
    let first = open(1).await;
    let _second = open(1).await;
    let problem = refused(from(1), 503).await;
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("MAX_SSE_PER_ADDRESS"),
        "{problem}"
    );
    let _third = open(2).await;
    let problem = refused(from(3), 503).await;
    assert!(
        problem["detail"].as_str().unwrap().contains("(MAX_SSE)"),
        "{problem}"
    );

    // All other requests are answered as before.
    world.api().ready(Service::Order).await.unwrap();
    assert!(world.api().events(&id).await.unwrap().is_array());
    let other = world.place(apples()).await.unwrap();
    assert_eq!(world.ended(&other).await.unwrap().state, "completed");

    // A client that goes away makes room.
    drop(first);
    let reopened = eventually(async || {
        let stream = from(1).send().await?;
        Ok((stream.status().as_u16() == 200).then_some(stream))
    });
    drop(reopened.await.unwrap());

    let (_console, url) = start_console(&world, &[("MAX_SSE_PER_ADDRESS", "1")]).await;
    let page = http().get(format!("{url}/api/live")).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    refused(http().get(format!("{url}/api/live")), 503).await;
    assert_eq!(
        http()
            .get(format!("{url}/readyz"))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        200
    );
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    let order = OrderAlone::start().await.unwrap();
    let disconnected = tokio::time::timeout(PATIENCE, pipeline_without_reading(order.address())).await;
    assert!(disconnected.is_ok(), "still connected after {PATIENCE:?}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_408() {
    let order = OrderAlone::start().await.unwrap();
    let address = order.address();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /orders/create_order HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{\"customer_id\":"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it is answered")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("content-type: application/problem+json"),
        "{answer}"
    );
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], 408, "{problem}");
}

#[tokio::test]
async fn an_endless_head_is_refused_early() {
    let order = OrderAlone::start().await.unwrap();
    let (sent, answer) = send_endless_head(order.address()).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 431"),
        "after {sent} bytes: {answer:?}"
    );
    assert!((16_000..=64_000).contains(&sent), "refused after {sent} bytes");
}

#[tokio::test]
async fn a_name_that_is_not_the_services_own_is_refused() {
    let world = World::with()
        .env("ALLOWED_HOSTS", "shop.test")
        .start()
        .await
        .unwrap();
    let (_console, console) = start_console(&world, &[("ALLOWED_HOSTS", "shop.test")]).await;
    let services = Service::ALL.map(|service| world.api().url(service).to_owned());
    for url in services.iter().chain([&console]) {
        let port = url.rsplit(':').next().unwrap();
        for path in ["/healthz", "/readyz", "/metrics", "/", "/nowhere"] {
            let get = |host: &str| http().get(format!("{url}{path}")).header("host", host);
            for evil in ["evil.example", "127.0.0.1.evil.example"] {
                let problem = refused(get(&format!("{evil}:{port}")), 421).await;
                assert!(problem["detail"].as_str().unwrap().contains(evil), "{problem}");
            }
            let expected = if path == "/nowhere" { 404 } else { 200 };
            // Kubernetes and Prometheus address a pod by its IP.
            for own in [
                "127.0.0.1",
                "10.1.2.3:7001",
                "[::1]:7001",
                "localhost",
                "shop.test",
            ] {
                let status = get(own).send().await.unwrap().status().as_u16();
                assert_eq!(status, expected, "{own} {url}{path}");
            }
        }
    }
    // The rebound page sends its own name as origin too, so only the name gives it away.
    let page = |request: RequestBuilder| {
        request
            .header("host", "evil.example:7001")
            .header("origin", "http://evil.example:7001")
            .header("sec-fetch-site", "same-origin")
    };
    let stock = format!("{}/inventory/items/apple", world.api().inventory);
    refused(page(http().put(stock).json(&json!({"quantity": 1}))), 421).await;
    refused(
        page(http().post(format!("{console}/api/orders")).json(&apples())),
        421,
    )
    .await;
    assert_eq!(world.api().item("apple").await.unwrap()["quantity"], 10_000);
}

#[tokio::test]
async fn a_page_of_another_site_sends_no_commands() {
    let world = World::start().await.unwrap();
    let (_console, console) = start_console(&world, &[]).await;
    let id = world.place(apples().paid_by_hand()).await.unwrap();
    world.said(Opened::NAME, &id).await.unwrap();
    let nothing = std::iter::empty::<(String, String)>();
    world
        .operator
        .publish("$KV.order.created.x", nothing, b"not json")
        .await
        .unwrap();
    let listener = world.hears_orders();
    let letter = eventually(async || Ok(world.api().dead_letters(listener).await?.into_iter().next()));
    let letter = letter.await.unwrap().id;

    let of = |service: Service, path: &str| format!("{}{path}", world.api().url(service));
    let about = json!({"order_id": id});
    let commands = [
        (
            Method::POST,
            of(Service::Order, "/orders/create_order"),
            serde_json::to_value(apples()).unwrap(),
        ),
        (Method::POST, of(Service::Order, "/orders/confirm"), about.clone()),
        (Method::POST, of(Service::Order, "/orders/cancel"), about.clone()),
        (
            Method::POST,
            of(Service::Payment, "/payments/confirm"),
            about.clone(),
        ),
        (Method::POST, of(Service::Payment, "/payments/cancel"), about),
        (
            Method::PUT,
            of(Service::Inventory, "/inventory/items/apple"),
            json!({"quantity": 1}),
        ),
        (
            Method::PUT,
            of(Service::Delivery, "/couriers/grace"),
            json!({"capacity": 1}),
        ),
        (
            Method::POST,
            of(listener, &format!("/dead-letters/{letter}/retry")),
            json!({}),
        ),
        (
            Method::POST,
            format!("{console}/api/orders"),
            serde_json::to_value(apples()).unwrap(),
        ),
        (
            Method::POST,
            format!("{console}/api/orders/{id}/cancel-order"),
            json!({}),
        ),
        (Method::DELETE, format!("{console}/api/orders/{id}"), json!({})),
        (
            Method::PUT,
            format!("{console}/api/items/apple"),
            json!({"quantity": 1}),
        ),
        (
            Method::PATCH,
            format!("{console}/api/items/apple"),
            json!({"price": 1}),
        ),
        (Method::DELETE, format!("{console}/api/items/apple"), json!({})),
        (Method::PUT, format!("{console}/api/items/apple/photo"), json!({})),
        (
            Method::PUT,
            format!("{console}/api/couriers/grace"),
            json!({"capacity": 1}),
        ),
    ];
    let stored = world.operator.size("order").await.unwrap().messages;
    for (method, url, body) in commands {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            let request = http()
                .request(method.clone(), &url)
                .header(name, value)
                .json(&body);
            refused(request, 403).await;
        }
    }
    // A form needs no JSON for a retry; that was all it took.
    let form = http().post(of(listener, &format!("/dead-letters/{letter}/retry")));
    refused(form.header("origin", "http://evil.example").body("a=b"), 403).await;
    assert_eq!(world.operator.size("order").await.unwrap().messages, stored);

    // The console's own page, and programs, send commands as before.
    let own = http().post(format!("{console}/api/orders")).json(&apples());
    let own = own
        .header("sec-fetch-site", "same-origin")
        .header("origin", &console);
    assert_eq!(own.send().await.unwrap().status().as_u16(), 201);
    world.api().confirm_payment(&id).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
}

#[tokio::test]
async fn only_integers_are_integers() {
    let world = World::start().await.unwrap();
    let (_console, console) = start_console(&world, &[]).await;
    let order = |quantity: &str, unit_price: &str, total: &str| {
        format!(
            r#"{{"customer_id":"ada","lines":[{{"item_id":"apple","quantity":{quantity},"unit_price":{unit_price}}}],
            "total":{total},"currency":"EUR","address":"1 Main St","payment":"auto"}}"#
        )
    };
    let create = format!("{}/orders/create_order", world.api().order);
    let stock = format!("{}/inventory/items/apple", world.api().inventory);
    let courier = format!("{}/couriers/grace", world.api().delivery);
    let by_console = format!("{console}/api/orders");
    let send = |method: Method, url: &str, body: String| {
        http()
            .request(method, url)
            .header("content-type", "application/json")
            .body(body)
    };
    for tiny in ["1e-400", "1.00000000000000000001", "0.5", "-1", "\"1\""] {
        for url in [&create, &by_console] {
            let problem = refused(send(Method::POST, url, order("1", tiny, "0")), 422).await;
            assert_eq!(problem["field"], "lines[0].unit_price", "{problem}");
            let problem = refused(send(Method::POST, url, order("1", "250", tiny)), 422).await;
            assert_eq!(problem["field"], "total", "{problem}");
        }
        let quantity = format!(r#"{{"quantity":{tiny}}}"#);
        assert_eq!(
            refused(send(Method::PUT, &stock, quantity), 422).await["field"],
            "quantity"
        );
        let capacity = format!(r#"{{"capacity":{tiny}}}"#);
        assert_eq!(
            refused(send(Method::PUT, &courier, capacity), 422).await["field"],
            "capacity"
        );
    }
    refused(send(Method::POST, &create, order("1", "1e400", "0")), 422).await;
    // To JSON Schema these are integers.
    let placed = send(Method::POST, &create, order("2.0", "25e1", "5E+2"))
        .send()
        .await
        .unwrap();
    assert_eq!(placed.status().as_u16(), 201);
    assert_eq!(world.api().item("apple").await.unwrap()["quantity"], 10_000);
}

#[tokio::test]
async fn the_console_answers_problems_and_no_page_can_be_framed() {
    let world = World::start().await.unwrap();
    let (_console, console) = start_console(&world, &[]).await;
    let at = |path: &str| format!("{console}{path}");
    let problem = refused(http().delete(at("/api/orders")), 405).await;
    assert!(
        problem["detail"].as_str().unwrap().contains("takes no DELETE"),
        "{problem}"
    );
    refused(http().get(at("/nowhere")), 404).await;
    assert_eq!(refused(http().get(at("/api/orders")), 422).await["field"], "q");
    assert_eq!(refused(http().get(at("/api/orders?q=")), 422).await["field"], "q");
    refused(http().get(at("/api/orders?q=a&q=b")), 400).await;
    refused(
        http().post(at("/api/orders/%FF/cancel-order")).json(&json!({})),
        400,
    )
    .await;
    let create = |keys: &[&str]| {
        let request = http().post(at("/api/orders")).json(&apples());
        keys.iter()
            .fold(request, |request, key| request.header("idempotency-key", *key))
    };
    refused(create(&["a", "b"]), 400).await;
    refused(create(&["a b"]), 400).await;
    let first = read(create(&["a"]).send().await.unwrap()).await;
    let again = read(create(&["a"]).send().await.unwrap()).await;
    assert_eq!((first.status, &first.body), (201, &again.body));

    let docs = Service::ALL.map(|service| format!("{}/docs", world.api().url(service)));
    for url in docs
        .into_iter()
        .chain([at("/"), at("/api/orders?q=a"), at("/nowhere")])
    {
        let page = http().get(&url).send().await.unwrap();
        let header = |name: &str| page.headers()[name].to_str().unwrap();
        assert!(
            header("content-security-policy").contains("frame-ancestors 'none'"),
            "{url}"
        );
        assert_eq!(header("x-frame-options"), "DENY", "{url}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{url}");
    }
}

#[tokio::test]
async fn texts_with_control_characters_are_refused() {
    let world = World::start().await.unwrap();
    let (_console, console) = start_console(&world, &[]).await;
    let id = world.place(apples().paid_by_hand()).await.unwrap();
    world.said(Opened::NAME, &id).await.unwrap();
    let (order, payment) = (&world.api().order, &world.api().payment);
    for text in ["a\u{1b}[31mb", "a\nb", "a\u{7f}", "a\u{9b}31m"] {
        let cancel = json!({"order_id": id, "reason": text});
        for request in [
            http().post(format!("{order}/orders/cancel")).json(&cancel),
            http().post(format!("{payment}/payments/cancel")).json(&cancel),
            http()
                .post(format!("{console}/api/orders/{id}/cancel-order"))
                .json(&json!({"reason": text})),
        ] {
            assert_eq!(refused(request, 422).await["field"], "reason");
        }
        for url in [
            format!("{order}/orders/create_order"),
            format!("{console}/api/orders"),
        ] {
            let problem = refused(http().post(url).json(&apples().to(text)), 422).await;
            assert_eq!(problem["field"], "address");
        }
    }
    world.api().confirm_payment(&id).await.unwrap();
    assert_eq!(
        world.ended(&id).await.unwrap().state,
        "completed",
        "it was not cancelled"
    );
}

/// A payment provider that declines with a text that is meant for a terminal.
async fn hostile_provider() -> String {
    let decline = async || axum::Json(json!({ "status": "declined", "reason": EVIL }));
    let done = async || axum::Json(json!({}));
    let routes = axum::Router::new()
        .route("/charges", post(decline))
        .route("/refunds", post(done))
        .route("/voids", post(done));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    url
}

#[track_caller]
fn assert_commands_no_terminal(text: &str) {
    let control = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(control.is_none(), "{control:?} in {text:?}");
}

#[tokio::test]
async fn what_strangers_wrote_commands_no_terminal() {
    let provider = hostile_provider().await;
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &provider)
        .start()
        .await
        .unwrap();
    let id = world.place(apples()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "cancelled");
    let story = world.quadrille(&["trace", id.as_str()]).await.unwrap().1;
    assert_commands_no_terminal(&story);
    assert!(
        story.contains(&format!("payment.failed: {EVIL_ESCAPED}")),
        "{story}"
    );

    // A subject may hold anything but spaces and line breaks.
    let subject = "$KV.order.created.x\u{1b}[2J\u{9b}31m";
    world
        .publish_bytes(subject, b"NATS/1.0\r\nce-x: \x1b[2J\r\n\r\n", b"\x1b[2J")
        .await
        .unwrap();
    let listener = world.hears_orders();
    let letter = eventually(async || Ok(world.api().dead_letters(listener).await?.into_iter().next()));
    let letter = letter.await.unwrap();
    assert!(letter.subject.contains('\u{1b}'), "{}", letter.subject);
    for args in [
        vec!["dead-letters"],
        vec!["dead-letter", &letter.id],
        vec!["retry", &letter.id],
        vec!["stuck"],
    ] {
        let said = world.quadrille(&args).await.unwrap().1;
        assert_commands_no_terminal(&said);
        assert!(!said.is_empty());
    }
    let parked = eventually(async || {
        let log = world.log(listener, 0).await?;
        Ok(log
            .into_iter()
            .find(|line| line.contains("parked as a dead letter")))
    });
    let parked = parked.await.unwrap();
    assert_commands_no_terminal(&parked);
    assert!(
        parked.contains(r"subject=$KV.order.created.x\u{1b}[2J\u{9b}31m"),
        "{parked}"
    );
    for service in Service::ALL {
        assert_commands_no_terminal(&world.log(service, 0).await.unwrap().join("\n"));
    }
}

#[tokio::test]
async fn what_is_watched_commands_no_terminal() {
    let provider = hostile_provider().await;
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &provider)
        .start()
        .await
        .unwrap();
    let watching = Process::builder("quadrille", quadrille().unwrap())
        .env("NATS_URL", &world.nats_url)
        .arg("watch")
        .arg("--plain")
        .start()
        .unwrap();
    let seen = || watching.log();
    // Until it has subscribed, it misses orders.
    let failed = eventually(async || {
        let id = world.place(apples()).await?;
        world.ended(&id).await?;
        Ok(seen()
            .into_iter()
            .find(|line| line.contains(PaymentFailed::NAME.subject)))
    });
    let failed = failed.await.unwrap();
    assert!(failed.ends_with(EVIL_ESCAPED), "{failed}");
    assert_commands_no_terminal(&seen().join("\n"));
}
