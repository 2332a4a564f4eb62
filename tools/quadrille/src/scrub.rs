//! `quadrille scrub`: the replicas compared with each other, and the buckets with EVENTS.

use anyhow::{Result, ensure};
use quadrille_local::connect;
use quadrille_runtime::operator::Pace;

/// Compare the replicas of every stream with each other, and the buckets with EVENTS
///
/// Reads everything on every server. Names the server and the stream of what differs.
#[derive(clap::Args, Debug)]
pub struct ScrubArgs {}

/// Scrubs the running system and prints the report.
pub async fn run(_: ScrubArgs) -> Result<()> {
    let report = connect().await?.scrub(Pace::Full).await?;
    println!("{report}");
    ensure!(
        report.is_clean(),
        "what to do is in docs/operations.md, under \"A damaged replica\""
    );
    Ok(())
}
