//! What is measured: a nats-server, the services, perhaps the console, and the load on them; and what they have used.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quadrille_events::OrderId;
use quadrille_runtime::operator::{EVENTS, Entry, Operator};

use super::Args;
use super::load::{self, Load};
use quadrille_audit::audit;
use quadrille_local::usage::Usage;
use quadrille_local::{Cluster, NatsServer, Process, Service, console};

const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running system of its own.
pub struct System {
    // Dropped in this order: the services before the server that they talk to.
    processes: Vec<Process>,
    servers: Vec<NatsServer>,
    urls: Vec<(Service, String)>,
    pub operator: Operator,
    pub load: Load,
}

impl System {
    /// Starts it, with plenty in stock.
    pub async fn start(args: &Args) -> Result<Self> {
        let servers = match args.replicas {
            1 => vec![NatsServer::builder().config(&args.nats_config).start().await?],
            _ => Cluster::start().await?.1,
        };
        let nats_urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
        let nats_url = nats_urls.join(",");
        let mut processes = Vec::new();
        let mut urls = Vec::new();
        for service in Service::ALL {
            for _ in 0..args.instances {
                let builder = service
                    .on(&nats_url, 0)?
                    .env("RUST_LOG", &args.log)
                    .env("REPLICAS", args.replicas.to_string());
                let mut process = builder.start()?;
                urls.push((service, process.wait_ready(READY_TIMEOUT).await?));
                processes.push(process);
            }
        }
        let of = |wanted: Service| {
            urls.iter()
                .filter(move |(service, _)| *service == wanted)
                .map(|(_, url)| url.clone())
        };
        let first = |wanted: Service| of(wanted).next().with_context(|| format!("no {}", wanted.name()));
        if args.console {
            let order = first(Service::Order)?;
            let payment = first(Service::Payment)?;
            let mut process = console::on(&nats_url, 0, &order, &payment)?.start()?;
            process.wait_ready(READY_TIMEOUT).await?;
            processes.push(process);
        }
        let operator = Operator::connect(&nats_url).await?;
        let load = Load::new(of(Service::Order).collect(), operator.clone(), args.items);
        load.stock(&first(Service::Inventory)?, &first(Service::Delivery)?)
            .await?;
        Ok(Self {
            processes,
            servers,
            urls,
            operator,
            load,
        })
    }

    /// What has been used and stored up to now.
    pub async fn reading(&self) -> Result<Reading> {
        let mut usage = vec![Usage::of("driver", std::process::id())?];
        for id in self.servers.iter().filter_map(NatsServer::id) {
            usage.push(Usage::of("nats-server", id)?);
        }
        for process in &self.processes {
            let id = process
                .id()
                .with_context(|| format!("{} has ended", process.name()))?;
            usage.push(Usage::of(process.name(), id)?);
        }
        let (mut messages, mut bytes) = (0, 0);
        for service in Service::ALL {
            let size = self.operator.size(service.name()).await?;
            messages += size.last_sequence;
            bytes += size.bytes;
        }
        let log = self.operator.size(EVENTS).await?;
        Ok(Reading {
            usage,
            messages,
            events: log.last_sequence,
            bytes: bytes + log.bytes,
        })
    }

    /// Makes sure that nothing is left to deliver and that every invariant holds.
    ///
    /// # Errors
    /// They do not: then no figure counts.
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
        for (service, url) in &self.urls {
            groups.push((service.name().to_owned(), self.load.mean_group(url).await?));
        }
        Ok(groups)
    }

    /// Everything that was stored for this order, and the records that it changed.
    pub async fn sample(&self, order_id: &str) -> Result<Vec<Entry>> {
        let id: OrderId = order_id.parse()?;
        let item = format!("$KV.inventory.stock.item.{}", Load::item(0));
        let couriers = (0..load::COURIERS).map(|n| format!("$KV.delivery.courier.load.{}", Load::courier(n)));
        let keys: Vec<String> = std::iter::once(item).chain(couriers).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.operator.entries_of(&id, &keys).await
    }
}

/// What has been used and stored up to a moment.
pub struct Reading {
    usage: Vec<Usage>,
    /// Messages ever stored in the buckets.
    messages: u64,
    /// Messages ever stored in EVENTS.
    events: u64,
    /// Bytes held by all.
    pub bytes: u64,
}

/// What an order took.
pub struct Used {
    pub cpu_seconds_per_1000_orders: Vec<(String, f64)>,
    pub messages_per_order: f64,
    pub events_per_order: f64,
    pub bytes_per_order: f64,
}

impl Reading {
    /// What each of `orders` took between `before` and now.
    pub fn since(&self, before: &Self, orders: usize) -> Used {
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / orders as f64;
        Used {
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
