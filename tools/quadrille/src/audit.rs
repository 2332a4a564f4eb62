//! `quadrille audit`: every invariant on the running system.

use std::time::Duration;

use anyhow::{Result, ensure};
use quadrille_audit::{PATIENCE, audit};
use quadrille_local::connect;

/// Check every invariant on the running system
///
/// Waits until no event is in flight, then reads the buckets and the EVENTS log. Orders that wait for their
/// customer or the shop owner are no violation.
#[derive(clap::Args, Debug)]
pub struct AuditArgs {
    /// How many seconds to wait until no event is in flight
    #[arg(long, default_value_t = PATIENCE.as_secs())]
    patience: u64,
}

/// Audits the running system and prints the report.
pub async fn run(args: AuditArgs) -> Result<()> {
    let report = audit(&connect().await?, None, Duration::from_secs(args.patience)).await?;
    println!("{report}");
    ensure!(
        report.orders > 0,
        "nothing was checked: place an order first, or look at NATS_URL and at RETENTION"
    );
    ensure!(
        report.is_clean(),
        "{} violations of the invariants",
        report.violations.len()
    );
    Ok(())
}
