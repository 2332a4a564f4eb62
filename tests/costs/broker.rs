//! The cost of an order for the broker: messages and bytes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quadrille_decision::MAX_LAG;
use quadrille_local::client::NewOrder;
use quadrille_local::{NatsServer, Service};
use quadrille_tests::{PLENTY, World};
use reqwest::Client;
use serde::Deserialize;

/// Totals since the start of the world.
struct Bill {
    /// Messages stored in the buckets.
    stored: u64,
    /// Messages stored in EVENTS.
    events: u64,
    /// Bytes held by all streams.
    bytes: u64,
    /// Messages that the services have sent to the server: stored messages, acknowledgements, reads, pulls.
    sent: u64,
}

impl Bill {
    async fn of(world: &World) -> Result<Self> {
        let (mut stored, mut bytes) = (0, 0);
        for service in Service::ALL {
            let size = world.operator.size(service.name()).await?;
            stored += size.last_sequence;
            bytes += size.bytes;
        }
        let events = world.operator.size("EVENTS").await?;
        let monitoring = world
            .with_nats(0, async |server| {
                server.monitoring().context("the server has no monitoring port")
            })
            .await?;
        let text = get(&format!("{monitoring}/connz?limit=1000")).await?;
        let connections: Connections = serde_json::from_str(&text)?;
        let services = Service::ALL.map(|service| format!("quadrille-{}", service.name()));
        let of_services = connections
            .connections
            .into_iter()
            .filter(|connection| services.contains(&connection.name));
        let sent: Vec<_> = of_services.map(|connection| connection.in_msgs).collect();
        ensure!(sent.len() == services.len(), "{} connections", sent.len());
        Ok(Self {
            stored,
            events: events.last_sequence,
            bytes: bytes + events.bytes,
            sent: sent.iter().sum(),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            stored: self.stored - before.stored,
            events: self.events - before.events,
            bytes: self.bytes - before.bytes,
            sent: self.sent - before.sent,
        }
    }
}

async fn get(url: &str) -> Result<String> {
    let client = Client::builder().no_proxy().build()?;
    Ok(client.get(url).send().await?.text().await?)
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    #[serde(default)]
    name: String,
    in_msgs: u64,
}

/// A world whose server has a monitoring port.
async fn monitored() -> Result<World> {
    let server = NatsServer::builder().config("http: \"127.0.0.1:-1\"");
    let world = World::with().server(server).start_empty().await?;
    world.open(&["apple"], &["grace"], PLENTY).await?;
    // The first order fills caches.
    world.place(apple()).await?;
    world.holds("EVENTS", LISTED + EVENTS).await?;
    Ok(world)
}

fn apple() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

/// Six events, one record of stock and one of a courier.
const STORED: u64 = 8;
const EVENTS: u64 = 6;
/// The event by which the item was listed.
const LISTED: u64 = 1;
/// One acknowledgement for each event that is heard.
const ACKNOWLEDGED: u64 = 5;
/// Bytes of an order of one line, in the buckets and in EVENTS together.
const BYTES: u64 = 12_000;

#[tokio::test]
async fn a_single_order_sends_its_commits_and_acknowledgements_and_one_read_a_second() {
    const ORDERS: u64 = 120;
    let world = monitored().await.unwrap();
    let began = Instant::now();
    let before = Bill::of(&world).await.unwrap();
    for number in 1..=ORDERS {
        world.place(apple()).await.unwrap();
        world
            .holds("EVENTS", before.events + number * EVENTS)
            .await
            .unwrap();
    }
    let bill = Bill::of(&world).await.unwrap().since(&before);
    assert_eq!(bill.stored, STORED * ORDERS);
    assert_eq!(bill.events, EVENTS * ORDERS);
    assert!(
        bill.bytes <= BYTES * ORDERS,
        "{} bytes an order",
        bill.bytes / ORDERS
    );
    // One read a second, of the price; else the usual input is decided on the default state, or on what the instance has said
    // itself. The rest does not depend on orders: eleven consumers are pulled from once a second, and in 5 s metrics ask twelve
    // times and retention two dozen times.
    let seconds = began.elapsed().as_secs() + 1;
    let periodic = 30 + 20 * seconds + seconds / MAX_LAG.as_secs();
    let needed = (STORED + ACKNOWLEDGED) * ORDERS;
    let more = bill.sent.saturating_sub(needed);
    assert!(
        more <= periodic,
        "{more} messages more than {needed} for {ORDERS} orders"
    );
}

#[tokio::test]
async fn many_orders_at_once_are_stored_in_few_commits() {
    const ORDERS: usize = 400;
    let world = monitored().await.unwrap();
    world.freeze(Service::Payment, 0).await.unwrap();
    world.place_many(ORDERS, |_| apple()).await.unwrap();
    world
        .holds("EVENTS", LISTED + EVENTS + ORDERS as u64)
        .await
        .unwrap();
    let before = Bill::of(&world).await.unwrap();
    world.thaw(Service::Payment, 0).await.unwrap();
    world
        .holds("EVENTS", before.events + 5 * ORDERS as u64)
        .await
        .unwrap();
    let bill = Bill::of(&world).await.unwrap().since(&before);
    let url = format!("{}/metrics", world.api().url(Service::Payment));
    let text = get(&url).await.unwrap();
    let commits = text.lines().find_map(|line| {
        let rest = line.strip_prefix("quadrille_commits_total{")?;
        rest.contains("stored")
            .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    let commits = commits.expect("payment counts its commits");
    assert!(
        commits >= 1.0 && commits <= ORDERS as f64 / 10.0,
        "{commits} commits for {ORDERS} orders at once"
    );
    // A group commit writes a record once, however many of its orders change it.
    let records = bill.stored - 5 * ORDERS as u64;
    assert!(
        records <= ORDERS as u64 / 2,
        "{records} records written for {ORDERS} orders"
    );
}
