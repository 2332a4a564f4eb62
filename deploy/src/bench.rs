//! `quadrille bench`: how fast, at what cost, and how far from what the broker itself can do.
//!
//! Each run has its own nats-server (`sync_interval: always`, a fresh folder) and its own release binaries. Orders come
//! in over HTTP with keep-alive; an order is in flight from its request until its `order.completed` is heard. Afterwards
//! the audit runs, and the loop of [`quadrille_runtime::limit`] pushes the same messages through a server of its own.

mod load;
mod process;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quadrille_events::OrderId;
use quadrille_runtime::limit::limit;
use quadrille_runtime::operator::{EVENTS, Operator};
use serde::Serialize;

use crate::audit::audit;
use crate::local::{NatsServer, Process, Service, repo_root};
use load::{Latencies, Load, Pace};
use process::Usage;

/// Measures orders per second, latency, CPU, memory and storage per order; with `sync_interval: always`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How many orders may be in flight at once, one series of runs each.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256,1024")]
    in_flight: Vec<usize>,
    /// Orders per run (fewer for a single order in flight: see `--seconds`).
    #[arg(long, default_value_t = 20_000)]
    orders: usize,
    /// No run takes much longer than this.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs per figure; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Instead of keeping orders in flight, send this many a second, whatever happens (no coordinated omission).
    #[arg(long)]
    rate: Option<f64>,
    /// How many items the orders spread over; 1 is a hot item.
    #[arg(long, default_value_t = 100)]
    items: usize,
    /// Instances of every service.
    #[arg(long, default_value_t = 1)]
    instances: usize,
    /// Orders stored before the measurement begins, by the same services.
    #[arg(long, default_value_t = 0)]
    stored: usize,
    /// Lines for the nats-server's configuration, to try them or to profile it: `prof_port: 6060`.
    #[arg(long, default_value = "")]
    nats_config: String,
    /// Leaves out the loop that finds the broker's limit.
    #[arg(long)]
    no_limit: bool,
}

/// What one run found.
#[derive(Clone, Debug, Serialize)]
struct Run {
    in_flight: usize,
    orders: usize,
    orders_per_second: f64,
    latency: Latencies,
    cpu_seconds_per_1000_orders: Vec<(String, f64)>,
    peak_memory_mb: Vec<(String, f64)>,
    messages_per_order: f64,
    events_per_order: f64,
    bytes_per_order: f64,
    group_size: Vec<(String, f64)>,
    limit_orders_per_second: Option<f64>,
    ratio_to_limit: Option<f64>,
}

/// Runs it and prints the tables; `target/bench/bench.json` holds every run.
///
/// # Errors
/// A program is missing, an order was lost, or the audit found a violation: then no figure counts.
pub async fn run(args: Args) -> Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "a debug build measures nothing: run `just bench`"
    );
    let mut all = Vec::new();
    let series = if args.rate.is_some() {
        vec![0]
    } else {
        args.in_flight.clone()
    };
    println!("{}", machine());
    println!(
        "fsync always; {} items; {} instance(s) a service; medians of {} runs\n",
        args.items, args.instances, args.runs
    );
    for in_flight in series {
        let mut runs = Vec::new();
        for number in 1..=args.runs.max(1) {
            eprint!(
                "\r\x1b[K{} run {number} of {} ...",
                heading(&args, in_flight),
                args.runs
            );
            runs.push(one_run(&args, in_flight).await?);
        }
        eprint!("\r\x1b[K");
        runs.sort_by(|a, b| a.orders_per_second.total_cmp(&b.orders_per_second));
        show(&heading(&args, in_flight), &runs[runs.len() / 2], &runs);
        all.extend(runs);
    }
    let folder = repo_root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&all)?)?;
    println!("\nall runs: {}", file.display());
    Ok(())
}

fn heading(args: &Args, in_flight: usize) -> String {
    match args.rate {
        Some(rate) => format!("{rate} orders/s"),
        None => format!("{in_flight} in flight"),
    }
}

async fn one_run(args: &Args, in_flight: usize) -> Result<Run> {
    let server = NatsServer::builder().config(&args.nats_config).start().await?;
    let mut processes = Vec::new();
    let mut urls = Vec::new();
    for service in Service::ALL {
        for _ in 0..args.instances {
            let builder = service
                .on(&server.url(), 0)?
                .env("RUST_LOG", "warn,quadrille_runtime::run=info");
            let mut process = builder.start()?;
            urls.push((service, process.wait_ready(Duration::from_secs(20)).await?));
            processes.push(process);
        }
    }
    let url_of = |wanted: Service| {
        urls.iter()
            .filter(move |(s, _)| *s == wanted)
            .map(|(_, url)| url.clone())
    };
    let operator = Operator::connect(&server.url()).await?;
    let load = Load::new(url_of(Service::Order).collect(), operator.clone(), args.items);
    load.stock(
        &url_of(Service::Inventory).next().context("no inventory")?,
        &url_of(Service::Delivery).next().context("no delivery")?,
    )
    .await?;
    let pace = |orders: usize| match args.rate {
        Some(rate) => Pace::Fixed { rate, orders },
        None => Pace::Closed { in_flight, orders },
    };
    let warm = load
        .drive(
            Pace::Closed {
                in_flight: in_flight.clamp(1, 64),
                orders: 300,
            },
            args.seconds,
        )
        .await?;
    if args.stored > 0 {
        load.drive(
            Pace::Closed {
                in_flight: 512,
                orders: args.stored,
            },
            3_600,
        )
        .await?;
    }

    let before: Vec<Usage> = usage(&server, &processes)?;
    let size_before = sizes(&operator).await?;
    let orders = match args.rate {
        Some(rate) => (rate * args.seconds as f64) as usize,
        None => args.orders,
    };
    let measured = load.drive(pace(orders), args.seconds).await?;
    let after: Vec<Usage> = usage(&server, &processes)?;
    let size_after = sizes(&operator).await?;

    let lags = operator.lags().await?;
    ensure!(
        lags.iter().all(|lag| lag.pending == 0),
        "something is left to deliver: {lags:?}"
    );
    let report = audit(&operator, None, Duration::from_secs(60)).await?;
    ensure!(
        report.is_clean(),
        "the audit found violations, so no figure counts:\n{report}"
    );

    let done = measured.orders as f64;
    let per_thousand = |seconds: f64| seconds * 1_000.0 / done;
    let mut groups = Vec::new();
    for (service, url) in &urls {
        groups.push((service.name().to_owned(), load.mean_group(url).await?));
    }
    let limit_rate = if args.no_limit || args.rate.is_some() {
        None
    } else {
        let id: OrderId = warm.sample.context("no order was completed")?.parse()?;
        let item = format!("$KV.inventory.stock.item.{}", Load::item(0));
        let couriers = (0..load::COURIERS).map(|n| format!("$KV.delivery.courier.load.{}", Load::courier(n)));
        let keys: Vec<String> = std::iter::once(item).chain(couriers).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let sample = operator.entries_of(&id, &keys).await?;
        drop(processes);
        let fresh = NatsServer::builder().config(&args.nats_config).start().await?;
        limit(&fresh.url(), &sample, 300, in_flight.min(64)).await?;
        let fresh = NatsServer::builder().config(&args.nats_config).start().await?;
        let rate = limit(&fresh.url(), &sample, measured.orders, in_flight).await?;
        Some(rate.orders as f64 / rate.took.as_secs_f64())
    };
    let rate = done / measured.took.as_secs_f64();
    Ok(Run {
        in_flight,
        orders: measured.orders,
        orders_per_second: rate,
        latency: measured.latencies,
        cpu_seconds_per_1000_orders: before
            .iter()
            .zip(&after)
            .map(|(b, a)| (a.name.clone(), per_thousand(a.cpu_seconds - b.cpu_seconds)))
            .collect(),
        peak_memory_mb: after.iter().map(|u| (u.name.clone(), u.peak_mb)).collect(),
        messages_per_order: (size_after.0 - size_before.0) as f64 / done,
        events_per_order: (size_after.1 - size_before.1) as f64 / done,
        bytes_per_order: (size_after.2 - size_before.2) as f64 / done,
        group_size: groups,
        limit_orders_per_second: limit_rate,
        ratio_to_limit: limit_rate.map(|limit| rate / limit),
    })
}

fn usage(server: &NatsServer, processes: &[Process]) -> Result<Vec<Usage>> {
    let mut all = vec![Usage::of("driver", std::process::id())?];
    if let Some(id) = server.id() {
        all.push(Usage::of("nats-server", id)?);
    }
    for process in processes {
        let id = process
            .id()
            .with_context(|| format!("{} has ended", process.name()))?;
        all.push(Usage::of(process.name(), id)?);
    }
    Ok(all)
}

/// Messages ever stored in the buckets, messages ever stored in EVENTS, bytes held by all.
async fn sizes(operator: &Operator) -> Result<(u64, u64, u64)> {
    let (mut messages, mut bytes) = (0, 0);
    for service in Service::ALL {
        let size = operator.size(service.name()).await?;
        messages += size.last_sequence;
        bytes += size.bytes;
    }
    let log = operator.size(EVENTS).await?;
    Ok((messages, log.last_sequence, bytes + log.bytes))
}

fn show(heading: &str, median: &Run, runs: &[Run]) {
    let rates: Vec<String> = runs
        .iter()
        .map(|run| format!("{:.0}", run.orders_per_second))
        .collect();
    println!(
        "{heading}: {:.0} orders/s (runs: {})",
        median.orders_per_second,
        rates.join(", ")
    );
    let l = &median.latency;
    println!(
        "  latency create to completed  p50 {:.1} ms  p90 {:.1}  p99 {:.1}  max {:.1}",
        l.p50, l.p90, l.p99, l.max
    );
    if let (Some(limit), Some(ratio)) = (median.limit_orders_per_second, median.ratio_to_limit) {
        let mut ratios: Vec<f64> = runs.iter().filter_map(|run| run.ratio_to_limit).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "  limit of the broker          {limit:.0} orders/s; services / limit = {ratio:.2} (median of runs {:.2})",
            ratios[ratios.len() / 2]
        );
    }
    let list = |pairs: &[(String, f64)], digits: usize| {
        pairs
            .iter()
            .map(|(name, value)| format!("{name} {value:.digits$}"))
            .collect::<Vec<_>>()
            .join("  ")
    };
    println!(
        "  CPU s per 1,000 orders       {}",
        list(&median.cpu_seconds_per_1000_orders, 3)
    );
    println!(
        "  peak memory MB               {}",
        list(&median.peak_memory_mb, 0)
    );
    println!("  inputs per group             {}", list(&median.group_size, 1));
    println!(
        "  stored per order             {:.2} messages in the buckets, {:.2} in EVENTS, {:.0} bytes in all",
        median.messages_per_order, median.events_per_order, median.bytes_per_order
    );
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("an unknown CPU");
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}
