//! The EVENTS log while services run.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use quadrille_events::Contract;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::nats::api::ReadError;
use crate::nats::connection::Broker;
use crate::nats::streams::{EVENTS, Keeping, ensure_stream, log_config};
use crate::shutdown::stopped;

/// How often a service looks whether the log is still there.
const LOG_CHECK: Duration = Duration::from_secs(3);

/// How often it looks for messages that would never leave the log, as a part of `EVENTS_MAX_AGE`.
const TRIMS_PER_AGE: u32 = 20;

/// Keeps the EVENTS log until the service stops: makes the log again if somebody deletes it (the server then sources it anew from the
/// buckets), and removes what would never leave it.
pub(crate) fn keep_log(
    broker: Broker,
    contract: Contract,
    keeping: Keeping,
    mut stop: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut trimmed = Instant::now();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(LOG_CHECK) => {}
            }
            let is_due = trimmed.elapsed() >= keeping.events_max_age / TRIMS_PER_AGE;
            if is_due && !keeping.events_max_age.is_zero() {
                trimmed = Instant::now();
                if let Err(error) = trim(&broker, keeping.events_max_age).await {
                    debug!(%error, "{EVENTS} cannot be trimmed now");
                }
            }
            if !matches!(broker.is_there(EVENTS).await, Ok(false)) {
                continue;
            }
            match ensure_stream(&broker, log_config(contract, keeping)).await {
                Ok(_) => {
                    warn!("the stream {EVENTS} was deleted; it is made again, and sourced from the buckets")
                }
                Err(error) => warn!(error = format!("{error:#}"), "the stream {EVENTS} was deleted"),
            }
        }
    })
}

/// Removes from EVENTS what is older than `max_age`, and has a `Nats-TTL: never` that is meant for the bucket from which it was sourced.
/// Left in place, the first such message would make a hole in the log of everything that expires behind it.
async fn trim(broker: &Broker, max_age: Duration) -> Result<(), ReadError> {
    let now = Timestamp::now();
    // Some more than `max_age`: at that age the server itself is about to remove a message.
    let overdue = now - max_age - max_age / 4;
    let first = broker.first_since(EVENTS, Timestamp::UNIX_EPOCH).await?;
    if first.is_none_or(|(_, time)| time >= overdue) {
        return Ok(());
    }
    // Asked for first: what comes after it is not removed.
    let stream = broker.jetstream().get_stream(EVENTS).await;
    let stream = stream.map_err(|error| ReadError::Unavailable(error.to_string()))?;
    let last = stream.cached_info().state.last_sequence;
    let recent = broker.first_since(EVENTS, now - max_age).await?;
    let keep_from = recent.map_or(last + 1, |(sequence, _)| sequence);
    let purged: Purged = broker
        .ask(&format!("STREAM.PURGE.{EVENTS}"), &json!({ "seq": keep_from }))
        .await?;
    debug!(
        EVENTS,
        purged = purged.purged,
        "removed what is too old and would never expire"
    );
    Ok(())
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}
