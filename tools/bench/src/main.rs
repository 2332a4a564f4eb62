//! `bench`: how fast, at what cost, and how far from what the broker itself can do.
//!
//! Each run has its own nats-server (`sync_interval: always`, a fresh folder) and its own release binaries. Orders come
//! in over HTTP with keep-alive; an order is in flight from its request until its `order.completed` is heard. Afterwards
//! the audit runs, and the loop of [`limit`] pushes the same messages through a server of its own.

mod args;
mod growth;
mod limit;
mod load;
mod progress;
mod report;
mod system;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use quadrille_local::{NatsServer, unless_interrupted};
use quadrille_runtime::Allocator;
use serde::Serialize;

use args::BenchArgs;
use limit::{Spread, limit};
use load::{Latencies, Pace};
use progress::ProgressLine;
use report::{list, write};
use system::MeasuredSystem;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[tokio::main]
async fn main() -> ExitCode {
    match unless_interrupted(run(BenchArgs::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Orders before those that are measured, on the same server, of the services and of the limit.
const WARM_UP: usize = 300;

/// What one run found.
#[derive(Clone, Debug, Serialize)]
struct BenchRun {
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
async fn run(args: BenchArgs) -> Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "a debug build measures nothing: run `just bench`"
    );
    ensure!(
        args.replicas == 1 || args.replicas == 3 && args.nats_config.is_empty(),
        "--replicas is 1, or 3 without --nats-config"
    );
    println!("{}", machine());
    println!(
        "fsync always; {} replica(s); {} items; {} instance(s) a service{}; log {}",
        args.replicas,
        args.items,
        args.instances,
        if args.console { ", and the console" } else { "" },
        args.log
    );
    if !args.growth.is_empty() {
        return growth::run(&args).await;
    }
    println!("medians of {} runs\n", args.runs);
    let mut all = Vec::new();
    let series = if args.rate.is_some() {
        vec![0]
    } else {
        args.in_flight.clone()
    };
    for in_flight in series {
        let mut runs = Vec::new();
        for number in 1..=args.runs.max(1) {
            let label = format!("{}, run {number} of {}", heading(&args, in_flight), args.runs);
            runs.push(one_run(&args, in_flight, &label).await?);
        }
        runs.sort_by(|a, b| a.orders_per_second.total_cmp(&b.orders_per_second));
        show(&heading(&args, in_flight), &runs[runs.len() / 2], &runs);
        all.extend(runs);
    }
    write("bench.json", &all)
}

fn heading(args: &BenchArgs, in_flight: usize) -> String {
    match args.rate {
        Some(rate) => format!("{rate} orders/s"),
        None => format!("{in_flight} in flight"),
    }
}

async fn one_run(args: &BenchArgs, in_flight: usize, label: &str) -> Result<BenchRun> {
    let subject = MeasuredSystem::start(args).await?;
    let load = &subject.load;
    let warm_up = Pace::Closed {
        in_flight: in_flight.clamp(1, 64),
        orders: WARM_UP,
    };
    let warm = load
        .drive(warm_up, args.seconds, &ProgressLine::of(label, "warming up"))
        .await?;

    let pace = match args.rate {
        Some(rate) => Pace::Fixed {
            rate,
            orders: (rate * args.seconds as f64) as usize,
        },
        None => Pace::Closed {
            in_flight,
            orders: args.orders,
        },
    };
    let before = subject.reading().await?;
    let measured = load
        .drive(pace, args.seconds, &ProgressLine::of(label, "orders"))
        .await?;
    let after = subject.reading().await?;
    let _auditing = ProgressLine::of(label, "auditing, then the limit");
    subject.prove().await?;

    let done = measured.orders as f64;
    let used = after.since(&before, measured.orders);
    let groups = subject.groups().await?;
    let limit_rate = if args.no_limit || args.rate.is_some() || args.replicas > 1 {
        None
    } else {
        let sample = subject
            .sample(&warm.sample.context("no order was completed")?)
            .await?;
        drop(subject);
        let spread = Spread {
            items: args.items,
            couriers: load::COURIERS,
        };
        let fresh = NatsServer::builder().config(&args.nats_config).start().await?;
        let rate = limit(&fresh.url(), &sample, spread, WARM_UP, measured.orders, in_flight).await?;
        Some(rate.orders as f64 / rate.took.as_secs_f64())
    };
    let rate = done / measured.took.as_secs_f64();
    Ok(BenchRun {
        in_flight,
        orders: measured.orders,
        orders_per_second: rate,
        latency: measured.latencies,
        cpu_seconds_per_1000_orders: used.cpu_seconds_per_1000_orders,
        peak_memory_mb: after.peak_memory_mb(),
        messages_per_order: used.messages_per_order,
        events_per_order: used.events_per_order,
        bytes_per_order: used.bytes_per_order,
        group_size: groups,
        limit_orders_per_second: limit_rate,
        ratio_to_limit: limit_rate.map(|limit| rate / limit),
    })
}

fn show(heading: &str, median: &BenchRun, runs: &[BenchRun]) {
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
