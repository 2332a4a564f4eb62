//! The periodic scrub, and its metrics.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use quadrille_runtime::operator::{Operator, Pace, ScrubReport};
use tracing::{info, warn};

/// `SCRUB_PERIOD`, unless it is set: damage is found while most orders that it concerns are still kept elsewhere, and reading
/// everything once an hour, at a fifth of the speed, is little work.
pub const PERIOD: Duration = Duration::from_secs(3_600);
/// The pause before the first scrub, unless the period is shorter: the system may be starting.
const FIRST: Duration = Duration::from_secs(60);
/// The pause after a scrub that failed, unless the period is shorter.
const AGAIN: Duration = Duration::from_secs(60);

/// What the last scrubs found; shared by the scrub and the metrics.
#[derive(Clone, Default)]
pub struct Scrubs(Arc<Mutex<ScrubState>>);

#[derive(Default)]
struct ScrubState {
    /// By stream and server: differences, and when the replica was last compared, in seconds since 1970; 0 for never.
    replicas: BTreeMap<(String, String), (u64, i64)>,
    /// By stream: differences between buckets and log.
    logs: BTreeMap<String, u64>,
    period: Duration,
}

impl Scrubs {
    /// Scrubs every `period`; never, if that is 0.
    pub async fn keep(&self, operator: &Operator, period: Duration) -> Infallible {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).period = period;
        if period.is_zero() {
            return std::future::pending().await;
        }
        tokio::time::sleep(period.min(FIRST)).await;
        loop {
            match operator.scrub(Pace::Fifth).await {
                Ok(report) => {
                    tell(&report);
                    self.see(&report, Timestamp::now());
                    tokio::time::sleep(period).await;
                }
                Err(error) => {
                    warn!(error = format!("{error:#}"), "the replicas could not be compared");
                    tokio::time::sleep(period.min(AGAIN)).await;
                }
            }
        }
    }

    fn see(&self, report: &ScrubReport, now: Timestamp) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut state.replicas);
        for replica in &report.replicas {
            let key = (replica.stream.clone(), replica.server.clone());
            let last = known.get(&key).copied().unwrap_or_default();
            let this = (replica.differences.count, now.as_second());
            let seen = if replica.unread.is_none() { this } else { last };
            state.replicas.insert(key, seen);
        }
        let logs = report.logs.iter();
        state.logs = logs
            .map(|(stream, found)| (stream.clone(), found.count))
            .collect();
    }

    /// The metrics, in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, series: Vec<(String, String)>| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (labels, value) in series {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let replicas = |value: &dyn Fn(&(u64, i64)) -> String| {
            let line = |((stream, server), seen): (&(String, String), &(u64, i64))| {
                (format!("{{stream={stream:?},server={server:?}}}"), value(seen))
            };
            state.replicas.iter().map(line).collect()
        };
        gauge(
            "quadrille_replica_differences",
            "Messages that the replica of a stream on a server lacks, cannot read, or has otherwise than the others.",
            replicas(&|(differences, _)| differences.to_string()),
        );
        gauge(
            "quadrille_replica_scrubbed_timestamp_seconds",
            "When the replica of a stream on a server was last compared; 0 for never.",
            replicas(&|(_, at)| at.to_string()),
        );
        let logs = state.logs.iter();
        gauge(
            "quadrille_log_differences",
            "Events that are not the same in their bucket and in EVENTS, by the stream that has them.",
            logs.map(|(stream, count)| (format!("{{stream={stream:?}}}"), count.to_string()))
                .collect(),
        );
        gauge(
            "quadrille_scrub_period_seconds",
            "How often the replicas are compared (SCRUB_PERIOD); 0 for never.",
            vec![(String::new(), state.period.as_secs_f64().to_string())],
        );
        text
    }
}

fn tell(report: &ScrubReport) {
    if report.is_clean() {
        info!(replicas = report.replicas.len(), "all replicas agree");
    }
    for replica in &report.replicas {
        let (stream, server) = (&replica.stream, &replica.server);
        if let Some(why) = &replica.unread {
            warn!(stream, server, why, "a replica could not be compared");
        }
        if let Some(first) = replica.differences.sentences.first() {
            let differences = replica.differences.count;
            warn!(stream, server, differences, first, "a replica is damaged");
        }
    }
    for (stream, found) in &report.logs {
        if let Some(first) = found.sentences.first() {
            let differences = found.count;
            warn!(stream, differences, first, "the buckets and EVENTS differ");
        }
    }
}
