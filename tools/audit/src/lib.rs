//! The audit: reads all buckets and the EVENTS log, and checks what must always hold.
//!
//! The order bucket is the truth about which orders there are. What a bucket or the log has dropped because of its age is
//! not missed: the report then says from when on orders were checked.
//!
//! Reading order: [`audit`]; `snapshot`, what is read, `order_file` about one order, `records` of the ledgers; then the
//! invariants, one small function each: `orders` (each order by itself), `reachable` (what each service can have said),
//! `ledgers`, `log` and `books`; `invariants` lists and runs them; `report` prints what they found.

mod books;
mod invariants;
mod items;
mod ledgers;
mod log;
mod order_file;
mod orders;
mod photos;
mod prices;
mod reachable;
mod records;
mod report;
mod snapshot;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quadrille_runtime::operator::{EVENTS, Operator};

use crate::invariants::judge;
use crate::snapshot::Snapshot;

pub use books::{Account, Books};
pub use report::{Report, Violation};

/// How long the audit waits by default for the services and the log to come to rest: many times `ACK_WAIT`, after which an
/// input whose acknowledgement was lost has been delivered again and handled.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long reading everything may take, and for each message in addition: ten times what it takes.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
const READ_TIME: Duration = Duration::from_micros(100);
/// The pause between two looks at a system that is still busy.
const PAUSE: Duration = Duration::from_millis(50);

/// Checks every invariant on the system behind `operator`, and against the provider's books if there are any.
///
/// Waits at most `patience` until no event is in flight. What is then still in flight is judged as it is.
///
/// An error means that the streams are not there or cannot be read; what is wrong with their contents is a
/// [`Violation`].
pub async fn audit(operator: &Operator, books: Option<&Books>, patience: Duration) -> Result<Report> {
    let (snapshot, notes) = come_to_rest(operator, patience).await?;
    Ok(judge(&snapshot, books, notes))
}

/// Waits until no listener is behind and nothing is stored while everything is read.
async fn come_to_rest(operator: &Operator, patience: Duration) -> Result<(Snapshot, Vec<String>)> {
    let deadline = Instant::now() + patience;
    loop {
        let behind = behind(operator).await?;
        let impatient = Instant::now() >= deadline;
        if behind.is_empty() || impatient {
            let before = last_sequences(operator).await?;
            let stored: u64 = before.iter().sum();
            let timeout = READ_TIMEOUT + READ_TIME * u32::try_from(stored).unwrap_or(u32::MAX);
            let read = tokio::time::timeout(timeout, Snapshot::read(operator));
            let snapshot = read
                .await
                .with_context(|| format!("the streams were not read within {timeout:?}"))??;
            let at_rest = before == last_sequences(operator).await?;
            if impatient {
                let mut notes = behind;
                if !at_rest {
                    notes.push(
                        "events kept coming while they were read: audit again when it is quiet".to_owned(),
                    );
                }
                return Ok((snapshot, notes));
            }
            if at_rest && snapshot.log_has_everything() {
                return Ok((snapshot, Vec::new()));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The listeners that have events left to handle, a sentence each.
async fn behind(operator: &Operator) -> Result<Vec<String>> {
    let lags = operator.lags().await?.into_iter();
    Ok(lags
        .filter(|lag| lag.pending > 0 || lag.unacknowledged > 0)
        .map(|lag| {
            let (listener, speaker) = (&lag.listener, lag.speaker);
            format!(
                "{listener} has yet to handle {} events of {speaker}",
                lag.pending + lag.unacknowledged as u64
            )
        })
        .collect())
}

async fn last_sequences(operator: &Operator) -> Result<Vec<u64>> {
    let mut sequences = Vec::new();
    for stream in operator.contract().services().chain([EVENTS]) {
        sequences.push(operator.size(stream).await?.last_sequence);
    }
    Ok(sequences)
}
