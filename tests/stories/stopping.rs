//! Services start, stop, and refuse to start.

use std::time::{Duration, Instant};

use futures::future::join;
use quadrille_local::client::NewOrder;
use quadrille_local::{NatsServer, Process, Service, nats_server_binary};
use quadrille_tests::{PATIENCE, World, build};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

fn order(_: usize) -> NewOrder {
    NewOrder::new().line(1, "apple")
}

#[tokio::test]
async fn sigterm_finishes_the_inputs_in_flight_and_loses_nothing() {
    let world = World::start().await.unwrap();
    let stopping = async {
        for (service, events) in Service::ALL.into_iter().zip([100, 300, 500, 700]) {
            world.holds("EVENTS", events).await.unwrap();
            let status = world.terminate(service, 0).await.unwrap();
            assert_eq!(status.code(), Some(0), "{}", service.name());
            world.restart(service, 0).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, order), stopping).await;
    for ended in world.all_ended(&ids.unwrap()).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    assert_eq!(world.audit().await.unwrap().orders, 200);
}

/// How many orders are placed while instances are stopped, and how many stops that is: one for every [`STOP_EVERY`] events.
const STOPPED_AMONG: usize = 1_500;
const STOP_EVERY: usize = 375;

#[tokio::test]
async fn a_stop_under_load_hands_over_every_input() {
    // An input that is not handed over keeps its order waiting for an hour.
    let options = World::with().instances(2).env("ACK_WAIT", "1h");
    let world = options.start().await.unwrap();
    let stopping = async {
        let services = Service::ALL.into_iter().cycle();
        for (stop, service) in (1..STOPPED_AMONG * 6 / STOP_EVERY).zip(services) {
            let events = u64::try_from(stop * STOP_EVERY).unwrap();
            world.holds("EVENTS", events).await.unwrap();
            let instance = stop % 2;
            let status = world.terminate(service, instance).await.unwrap();
            assert_eq!(status.code(), Some(0), "{}", service.name());
            world.restart(service, instance).await.unwrap();
        }
    };
    // If an order waits, so many events never come.
    let stopping = tokio::time::timeout(PATIENCE, stopping);
    let (ids, _) = join(world.place_many(STOPPED_AMONG, order), stopping).await;
    let placed = Instant::now();
    for ended in world.all_ended(&ids.unwrap()).await.unwrap() {
        assert_eq!(ended.state, "completed");
    }
    let after = placed.elapsed();
    assert!(
        after < Duration::from_secs(10),
        "the last order ended after {after:?}"
    );
    assert_eq!(world.audit().await.unwrap().orders, STOPPED_AMONG);
}

#[tokio::test]
async fn services_start_in_any_order() {
    use Service::{Delivery, Inventory, Order, Payment};
    for first in [
        [Payment, Inventory, Delivery, Order],
        [Inventory, Order, Payment, Delivery],
        [Delivery, Inventory, Payment, Order],
    ] {
        let world = World::with().in_order(first).start().await.unwrap();
        let id = world.place(order(0)).await.unwrap();
        assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        world.audit().await.unwrap();
    }
}

/// Starts one service with the server at `nats_url`, and returns the one-line error with which it must exit.
async fn refused(nats_url: &str, port: u16) -> String {
    build().unwrap();
    let mut process = Service::Order
        .launch(nats_url)
        .unwrap()
        .port(port)
        .start()
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert_eq!(
        ended.expect("the service exits").unwrap().code(),
        Some(1),
        "{}",
        process.log_tail()
    );
    let last = process.log().pop().expect("a log line");
    assert!(
        last.starts_with("order: "),
        "the last line names the service: {last}"
    );
    last
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let world = World::with().start_empty().await.unwrap();
    let port = world.api().order.rsplit(':').next().unwrap().parse().unwrap();
    let sentence = refused(&world.nats_url, port).await;
    assert!(
        sentence.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{sentence}"
    );
    assert!(sentence.contains("PORT chooses another port"), "{sentence}");
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    // First a server without JetStream, then an account without it.
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::builder("nats-server", nats_server_binary().unwrap())
        .arg("--addr")
        .arg("127.0.0.1")
        .arg("--port")
        .arg("-1")
        .arg("--ports_file_dir")
        .arg(folder.path())
        .start()
        .unwrap();
    let url = quadrille_local::client::until(PATIENCE, async || {
        assert!(server.try_status()?.is_none(), "{}", server.log_tail());
        let ports = std::fs::read_dir(folder.path())?
            .next()
            .transpose()?
            .map(|file| std::fs::read(file.path()));
        let ports = ports
            .transpose()?
            .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        anyhow::Ok(ports.and_then(|ports| ports["nats"][0].as_str().map(str::to_owned)))
    });
    let url = url.await.unwrap().expect("the server writes its port to a file");
    let sentence = refused(&url, 0).await;
    assert!(
        sentence.contains("has no JetStream: start it with `nats-server -js`"),
        "{sentence}"
    );

    let server = NatsServer::builder()
        .config("accounts { A { users [{user: a, password: b}] }, SYS { users [{user: s, password: s}] } }\nsystem_account: SYS")
        .start()
        .await
        .unwrap();
    let sentence = refused(&server.url().replace("//", "//a:b@"), 0).await;
    assert!(sentence.contains("this account cannot use it"), "{sentence}");
    assert!(
        !sentence.contains("a:b@"),
        "the password is not shown: {sentence}"
    );
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let old = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let info = r#"INFO {"server_id":"X","version":"2.10.29","jetstream":true,"headers":true,"max_payload":1048576}"#;
            stream.write_all(format!("{info}\r\n").as_bytes()).await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or_default() > 0 {
                if line.starts_with("PING") {
                    stream.write_all(b"PONG\r\n").await.unwrap();
                }
                line.clear();
            }
        }
    });
    let sentence = refused(&format!("nats://127.0.0.1:{port}"), 0).await;
    old.abort();
    assert!(
        sentence.contains("2.10.29") && sentence.contains("2.14.4"),
        "{sentence}"
    );
}

#[tokio::test]
async fn services_wait_for_a_server_that_is_not_there_yet() {
    build().unwrap();
    let mut server = NatsServer::builder().start().await.unwrap();
    server.kill9().await.unwrap();
    let mut services: Vec<_> = Service::ALL
        .iter()
        .map(|service| service.launch(&server.url()).unwrap().start().unwrap())
        .collect();
    server.restart().await.unwrap();
    for service in &mut services {
        service.wait_ready(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    build().unwrap();
    let settings = [
        (
            Service::Payment,
            "PAYMENT_DEADLINE",
            "15 minutes",
            "knows no unit ` minutes`",
        ),
        (Service::Payment, "PAYMENT_DECLINE_RATE", "2", "from 0 to 1"),
        (
            Service::Order,
            "FLOW",
            "sideways",
            "`pay-first` or `reserve-first`",
        ),
        (Service::Inventory, "REPLICAS", "7", "1, 3 or 5"),
        (Service::Delivery, "PORT", "70000", "number too large"),
        (Service::Order, "LOG_FORMAT", "xml", "`text` or `json`"),
    ];
    let server = NatsServer::builder().start().await.unwrap();
    for (service, name, value, says) in settings {
        let mut process = service
            .launch(&server.url())
            .unwrap()
            .env(name, value)
            .start()
            .unwrap();
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
        assert_eq!(ended.expect("it ends").unwrap().code(), Some(1), "{name}={value}");
        let last = process.log().pop().expect("a log line");
        assert!(
            last.contains(&format!("{name}={value}")) && last.contains(says),
            "{last}"
        );
    }
}
