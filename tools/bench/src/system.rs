//! What is measured: a running system, the load on it, and what its processes use.

use std::time::Duration;

use anyhow::{Result, ensure};
use quadrille_audit::audit;
use quadrille_events::OrderId;
use quadrille_local::usage::Usage;
use quadrille_local::{NatsServer, Program, Service, System};
use quadrille_runtime::operator::{EVENTS, Entry, Operator};

use crate::args::BenchArgs;
use crate::load::{self, OrderLoad};

const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running system of its own, and the load on it.
pub struct MeasuredSystem {
    system: System,
    pub operator: Operator,
    pub load: OrderLoad,
}

impl MeasuredSystem {
    /// Starts it, with plenty in stock.
    pub async fn start(args: &BenchArgs) -> Result<Self> {
        let mut builder = System::builder()
            .patience(READY_TIMEOUT)
            .instances(args.instances)
            .env("RUST_LOG", &args.log);
        builder = match args.replicas {
            1 => builder.server(NatsServer::builder().config(&args.nats_config)),
            _ => builder.cluster(),
        };
        if args.console {
            builder = builder.console();
        }
        let system = builder.start().await?;
        let operator = Operator::connect(system.nats_url()).await?;
        let orders = urls(&system, Service::Order).map(str::to_owned).collect();
        let load = OrderLoad::new(orders, operator.clone(), args.items);
        load.stock(
            system.url(Service::Inventory, 0)?,
            system.url(Service::Delivery, 0)?,
        )
        .await?;
        Ok(Self {
            system,
            operator,
            load,
        })
    }

    /// What has been used and stored up to now.
    pub async fn reading(&self) -> Result<UsageReading> {
        let mut usage = vec![Usage::of("driver", std::process::id())?];
        for (name, id) in self.system.process_ids().await {
            usage.push(Usage::of(name, id)?);
        }
        let (mut messages, mut bytes) = (0, 0);
        for service in Service::ALL {
            let size = self.operator.size(service.name()).await?;
            messages += size.last_sequence;
            bytes += size.bytes;
        }
        let log = self.operator.size(EVENTS).await?;
        Ok(UsageReading {
            usage,
            messages,
            events: log.last_sequence,
            bytes: bytes + log.bytes,
        })
    }

    /// Makes sure that nothing is left to deliver and that every invariant holds: else no figure counts.
    pub async fn prove(&self) -> Result<()> {
        let lags = self.operator.lags().await?;
        ensure!(
            lags.iter().all(|lag| lag.pending == 0),
            "something is left to deliver: {lags:?}"
        );
        let report = audit(&self.operator, None, Duration::from_secs(60)).await?;
        ensure!(
            report.is_clean(),
            "the audit found violations, so no figure counts:\n{report}"
        );
        Ok(())
    }

    /// The mean number of inputs in a group, by service.
    pub async fn groups(&self) -> Result<Vec<(String, f64)>> {
        let mut groups = Vec::new();
        for service in Service::ALL {
            for url in urls(&self.system, service) {
                groups.push((service.name().to_owned(), self.load.mean_group(url).await?));
            }
        }
        Ok(groups)
    }

    /// Everything that was stored for this order, and the records that it changed.
    pub async fn sample(&self, order_id: &str) -> Result<Vec<Entry>> {
        let id: OrderId = order_id.parse()?;
        let item = format!("$KV.inventory.stock.item.{}", OrderLoad::item(0));
        let couriers =
            (0..load::COURIERS).map(|n| format!("$KV.delivery.courier.load.{}", OrderLoad::courier(n)));
        let keys: Vec<String> = std::iter::once(item).chain(couriers).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.operator.entries_of(&id, &keys).await
    }
}

/// The base URLs of all instances of a service.
fn urls(system: &System, service: Service) -> impl Iterator<Item = &str> {
    let of_service = system
        .urls()
        .filter(move |(program, _)| *program == Program::Service(service));
    of_service.map(|(_, url)| url)
}

/// What has been used and stored up to a moment.
pub struct UsageReading {
    usage: Vec<Usage>,
    /// Messages ever stored in the buckets.
    messages: u64,
    /// Messages ever stored in EVENTS.
    events: u64,
    /// Bytes held by all.
    pub bytes: u64,
}

/// What an order took.
pub struct CostPerOrder {
    pub cpu_seconds_per_1000_orders: Vec<(String, f64)>,
    pub messages_per_order: f64,
    pub events_per_order: f64,
    pub bytes_per_order: f64,
}

impl UsageReading {
    /// What each of `orders` took between `before` and now.
    pub fn since(&self, before: &Self, orders: usize) -> CostPerOrder {
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / orders as f64;
        CostPerOrder {
            cpu_seconds_per_1000_orders: before
                .usage
                .iter()
                .zip(&self.usage)
                .map(|(b, a)| {
                    (
                        a.name.clone(),
                        (a.cpu_seconds - b.cpu_seconds) * 1e3 / orders as f64,
                    )
                })
                .collect(),
            messages_per_order: each(self.messages, before.messages),
            events_per_order: each(self.events, before.events),
            bytes_per_order: each(self.bytes, before.bytes),
        }
    }

    /// The most memory that each process has had.
    pub fn peak_memory_mb(&self) -> Vec<(String, f64)> {
        self.usage.iter().map(|u| (u.name.clone(), u.peak_mb)).collect()
    }

    /// The memory that a process has now.
    pub fn memory_mb(&self, name: &str) -> f64 {
        let process = self.usage.iter().find(|usage| usage.name == name);
        process.map_or(0.0, |usage| usage.memory_mb)
    }
}
