//! Growth: one system that fills up, measured at each size - a lone order, and a flood.

use anyhow::Result;
use serde::Serialize;

use crate::args::BenchArgs;
use crate::load::{Latencies, Pace};
use crate::progress::ProgressLine;
use crate::report::{list, write};
use crate::system::MeasuredSystem;

/// How many orders are in flight while it fills up, and in the flood.
const IN_FLIGHT: usize = 256;
/// Orders of the flood that is measured.
const FLOOD: usize = 8_000;
/// Lone orders that are measured.
const LONE: usize = 300;
/// The audit reads everything into memory, 5 kB an order, so it ends the run only up to this size.
const MOST_AUDITED: usize = 2_000_000;
/// No size takes longer to reach.
const FILL_SECONDS: u64 = 3_600;

/// What was found at one size.
#[derive(Debug, Serialize)]
struct GrowthPoint {
    stored: usize,
    orders_per_second: f64,
    lone: Latencies,
    cpu_seconds_per_1000_orders: Vec<(String, f64)>,
    server_memory_mb: f64,
    gigabytes_stored: f64,
}

/// Fills one system up to each size in turn and measures there.
pub async fn run(args: &BenchArgs) -> Result<()> {
    let subject = MeasuredSystem::start(args).await?;
    let mut sizes = Vec::new();
    let mut stored = 0;
    println!("{FLOOD} orders with {IN_FLIGHT} in flight, and {LONE} lone ones, at each size\n");
    for wanted in &args.growth {
        let label = format!("{wanted} orders");
        let flood = |orders| Pace::Closed {
            in_flight: IN_FLIGHT,
            orders,
        };
        let fill = wanted.saturating_sub(stored);
        if fill > 0 {
            let progress = ProgressLine::of(&label, "filling up");
            let filled = subject.load.drive(flood(fill), FILL_SECONDS, &progress).await?;
            stored += filled.orders;
        }
        let lone = Pace::Closed {
            in_flight: 1,
            orders: LONE,
        };
        let progress = ProgressLine::of(&label, "lone orders");
        let lone = subject.load.drive(lone, args.seconds, &progress).await?;
        drop(progress);
        let before = subject.reading().await?;
        let progress = ProgressLine::of(&label, "orders in the flood");
        let measured = subject.load.drive(flood(FLOOD), FILL_SECONDS, &progress).await?;
        drop(progress);
        let after = subject.reading().await?;
        let size = GrowthPoint {
            stored,
            orders_per_second: measured.orders as f64 / measured.took.as_secs_f64(),
            lone: lone.latencies,
            cpu_seconds_per_1000_orders: after.since(&before, measured.orders).cpu_seconds_per_1000_orders,
            server_memory_mb: after.memory_mb("nats-server"),
            gigabytes_stored: after.bytes as f64 / 1e9,
        };
        stored += lone.orders + measured.orders;
        println!(
            "{} stored: {:.0} orders/s; a lone order p50 {:.1} ms, p99 {:.1}; nats-server {:.0} MB; {:.2} GB stored",
            size.stored,
            size.orders_per_second,
            size.lone.p50,
            size.lone.p99,
            size.server_memory_mb,
            size.gigabytes_stored
        );
        println!(
            "  CPU s per 1,000 orders  {}",
            list(&size.cpu_seconds_per_1000_orders, 3)
        );
        sizes.push(size);
    }
    if stored <= MOST_AUDITED {
        subject.prove().await?;
        println!("the audit is clean");
    } else {
        println!("not audited: it would read all {stored} orders into memory");
    }
    write("growth.json", &sizes)
}
