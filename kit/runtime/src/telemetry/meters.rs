//! Metrics for Prometheus: names, descriptions, and the handles that the hot path keeps.
//!
//! No label is an id: subjects, outcomes and reasons are constants of the code, so the size of a scrape is bounded.

use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tracing::debug;

use crate::cause::InputName;
use crate::nats::consumers::consumers_of;
use crate::nats::streams::{EVENTS, bucket_stream, letter_subject};
use crate::nats::{Broker, CommitError, ReadError};
use crate::shutdown::stopped;

/// From the 0.3 ms of a lone commit to the 5 s after which one counts as lost, and the 20 s that a handler may take.
const LATENCIES: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0,
];
/// From the milliseconds of an undelayed order, over a payment deadline, to an approval after a weekend.
const DURATIONS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0,
];
/// Up to the largest group and the largest batch.
const SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// How often the broker is asked about the bucket, the log and the consumers: three requests with small answers, whatever the size. Prometheus usually scrapes every 15 s.
const LOOK: Duration = Duration::from_secs(5);
/// How long one such look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);
/// How often the broker is asked what a stream has lost, besides after every connect.
const SEARCH: Duration = Duration::from_secs(300);
/// Lost bytes are asked for up to so many deleted messages, because the answer names each: some 2 MB. Rewriting a ledger record deletes a
/// message, so the buckets of inventory and delivery reach this number in time; then the metric is NaN.
const MAX_DELETED: u64 = 200_000;
/// An offset beyond the end of any list: the broker answers with the count alone.
const BEYOND: u64 = 1 << 40;

const COMMITS: &str = "quadrille_commits_total";
const COMMIT_DURATION: &str = "quadrille_commit_duration_seconds";
const COMMIT_MESSAGES: &str = "quadrille_commit_messages";
const GROUP_INPUTS: &str = "quadrille_group_inputs";
const INPUTS: &str = "quadrille_inputs_total";
const REDELIVERIES: &str = "quadrille_redeliveries_total";
const DEAD_LETTERS: &str = "quadrille_dead_letters_total";
const PARKED: &str = "quadrille_dead_letters_parked";
const ORDER_DURATION: &str = "quadrille_order_duration_seconds";
const REQUEST_DURATION: &str = "quadrille_http_request_duration_seconds";
const PENDING: &str = "quadrille_consumer_pending";
const ACK_PENDING: &str = "quadrille_consumer_ack_pending";
const UNHANDLED_AGE: &str = "quadrille_unhandled_input_age_seconds";
const RETENTION: &str = "quadrille_retention_seconds";
const RETENTION_HELD: &str = "quadrille_retention_held";
const STREAM_BYTES: &str = "quadrille_stream_bytes";
const STREAM_LOST_BYTES: &str = "quadrille_stream_lost_bytes";
const READY: &str = "quadrille_ready";
const BUILD_INFO: &str = "quadrille_build_info";

/// Renders the metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// One recorder a process; a second service in the same process (in tests) shares it.
    pub fn start() -> anyhow::Result<Self> {
        static RECORDER: OnceLock<Metrics> = OnceLock::new();
        if let Some(metrics) = RECORDER.get() {
            return Ok(metrics.clone());
        }
        let buckets = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
        };
        let builder = buckets(PrometheusBuilder::new(), COMMIT_DURATION, &LATENCIES)?;
        let builder = buckets(builder, REQUEST_DURATION, &LATENCIES)?;
        let builder = buckets(builder, ORDER_DURATION, &DURATIONS)?;
        let builder = buckets(builder, COMMIT_MESSAGES, &SIZES)?;
        let handle = buckets(builder, GROUP_INPUTS, &SIZES)?.install_recorder()?;
        describe();
        Ok(RECORDER.get_or_init(|| Metrics(handle)).clone())
    }

    /// The text format of Prometheus; `ready` is whether the service can do its work at this moment.
    pub fn render(&self, service: &'static str, ready: bool) -> String {
        metrics::gauge!(READY, "service" => service).set(f64::from(u8::from(ready)));
        self.0.render()
    }
}

fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    counter!(
        COMMITS,
        "Commits by outcome: stored, conflict (another came first; decided again), busy and unknown (tried again), rejected."
    );
    histogram!(
        COMMIT_DURATION,
        Unit::Seconds,
        "From sending a commit until the broker has answered."
    );
    histogram!(
        COMMIT_MESSAGES,
        "Messages of a commit: events, records of the ledger, schedules."
    );
    histogram!(
        GROUP_INPUTS,
        "Inputs that were gathered into one group, which is one commit."
    );
    counter!(
        INPUTS,
        "Inputs by subject (an event's, or http/<command>) and outcome: acted, ignored and refused (by reason), parked as a dead letter, failed, unknown to the caller."
    );
    counter!(
        REDELIVERIES,
        "Events that were delivered more than once, by who said them."
    );
    counter!(
        DEAD_LETTERS,
        "Inputs that could not be handled and were parked as dead letters."
    );
    gauge!(
        PARKED,
        "Dead letters that are parked now. One that was retried counts for a minute more."
    );
    histogram!(
        ORDER_DURATION,
        Unit::Seconds,
        "From placing an order to its end, by how it ended."
    );
    histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "HTTP requests by method, route and status, until the answer begins."
    );
    gauge!(
        PENDING,
        "Events of a bucket that its listener has not been given yet, as the speaker sees it."
    );
    gauge!(
        ACK_PENDING,
        "Events of a bucket that its listener was given and has not acknowledged, as the speaker sees it."
    );
    gauge!(
        UNHANDLED_AGE,
        Unit::Seconds,
        "Age of the oldest event of a bucket that its listener has not handled, as the speaker sees it; 0 if there is none."
    );
    gauge!(
        RETENTION,
        Unit::Seconds,
        "RETENTION of this service; 0 is for ever."
    );
    gauge!(
        RETENTION_HELD,
        "1 if nothing expires in the service's bucket, because something that is half as old as RETENTION is still needed, else 0."
    );
    gauge!(STREAM_BYTES, Unit::Bytes, "What a stream holds.");
    gauge!(
        STREAM_LOST_BYTES,
        Unit::Bytes,
        "What a stream has lost on disk (state.lost). Always 0, or somebody has to look at it. NaN for a stream with too many deleted messages to ask."
    );
    gauge!(
        READY,
        "1 if the service is connected and hears everybody, else 0."
    );
    gauge!(BUILD_INFO, "1, with the version that runs.");
}

/// The metrics of one service. The handles are looked up once.
#[derive(Debug)]
pub(crate) struct Meters {
    service: &'static str,
    pub group_inputs: Histogram,
    commit_duration: Histogram,
    commit_messages: Histogram,
    pub dead_letters: Counter,
    inputs: Mutex<HashMap<Counted, Counter>>,
    commits: HashMap<&'static str, Counter>,
}

/// Subject, whether it is a command, outcome, reason.
type Counted = (&'static str, bool, &'static str, &'static str);

impl Meters {
    /// Needs the recorder; without it nothing is counted. Series that are known beforehand begin at 0, so that their first change is
    /// visible.
    pub fn of(service: &'static str) -> Self {
        let commits = |outcome: &'static str| {
            let counter = metrics::counter!(COMMITS, "service" => service, "outcome" => outcome);
            (outcome, counter)
        };
        metrics::gauge!(BUILD_INFO, "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        metrics::gauge!(PARKED, "service" => service).set(0.0);
        Self {
            service,
            group_inputs: metrics::histogram!(GROUP_INPUTS, "service" => service),
            commit_duration: metrics::histogram!(COMMIT_DURATION, "service" => service),
            commit_messages: metrics::histogram!(COMMIT_MESSAGES, "service" => service),
            dead_letters: metrics::counter!(DEAD_LETTERS, "service" => service),
            inputs: Mutex::default(),
            commits: [STORED]
                .into_iter()
                .chain(CommitError::KINDS)
                .map(commits)
                .collect(),
        }
    }

    /// Counts one input by its end. `reason` is a constant of the code, or empty.
    pub fn input(&self, name: InputName, outcome: &'static str, reason: &'static str) {
        let (word, is_command) = match name {
            InputName::Event(name) => (name.subject, false),
            InputName::Command(what) => (what, true),
        };
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        inputs
            .entry((word, is_command, outcome, reason))
            .or_insert_with(|| {
                let subject = if is_command { format!("http/{word}") } else { word.to_owned() };
                metrics::counter!(
                    INPUTS, "service" => self.service, "subject" => subject, "outcome" => outcome, "reason" => reason
                )
            })
            .increment(1);
    }

    /// Records the result, size and duration of one commit.
    pub fn commit(&self, result: Result<(), &CommitError>, messages: usize, took: Duration) {
        self.commit_duration.record(took);
        self.commit_messages.record(messages as f64);
        let outcome = result.err().map_or(STORED, CommitError::kind);
        if let Some(counter) = self.commits.get(outcome) {
            counter.increment(1);
        }
    }

    /// Records that an order has ended, and how long after it was placed.
    pub fn order(&self, ending: &'static str, after: Duration) {
        metrics::histogram!(ORDER_DURATION, "service" => self.service, "ending" => ending).record(after);
    }

    /// Records an answered request.
    pub fn request(&self, method: &'static str, route: &str, status: u16, after: Duration) {
        metrics::histogram!(
            REQUEST_DURATION,
            "service" => self.service, "method" => method, "route" => route.to_owned(), "status" => status.to_string()
        )
        .record(after);
    }

    /// The counter of redelivered events of `speaker`.
    pub fn redeliveries(&self, speaker: &'static str) -> Counter {
        metrics::counter!(REDELIVERIES, "service" => self.service, "speaker" => speaker)
    }
}

const STORED: &str = "stored";

/// Records how old the oldest event of a bucket is that its listener has not handled.
pub(crate) fn unhandled(speaker: &'static str, listener: &str, age: Duration) {
    metrics::gauge!(UNHANDLED_AGE, "stream" => bucket_stream(speaker), "consumer" => listener.to_owned())
        .set(age.as_secs_f64());
}

/// Records whether expiry is off in the bucket of a service.
pub(crate) fn retention(service: &'static str, retention: Duration, held: bool) {
    metrics::gauge!(RETENTION, "service" => service).set(retention.as_secs_f64());
    metrics::gauge!(RETENTION_HELD, "service" => service).set(f64::from(u8::from(held)));
}

/// Updates the metrics that only the broker knows, and keeps the recorder small, until the service stops. It never delays a request; a
/// look that fails leaves the previous values.
pub(crate) fn keep(
    metrics: Metrics,
    broker: Broker,
    service: &'static str,
    mut stop: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let looking = async {
            let mut searched = None;
            loop {
                // Without upkeep, every sample of a histogram is kept until the next scrape.
                metrics.0.run_upkeep();
                // A server notices what it has lost when it starts, and then there is another connection.
                let connection = broker.connections();
                let due = searched
                    .is_none_or(|(of, at): (u64, Instant)| of != connection || at.elapsed() >= SEARCH);
                match tokio::time::timeout(LOOK_TIMEOUT, look(&broker, service, due)).await {
                    Ok(Ok(())) if due => searched = Some((connection, Instant::now())),
                    Ok(Ok(())) => {}
                    Ok(Err(problem)) => debug!(%problem, "the metrics of the streams could not be updated"),
                    Err(_) => debug!("the metrics of the streams could not be updated in time"),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = looking => {}
        }
    })
}

#[derive(Deserialize)]
struct StreamInfo {
    state: StreamState,
    /// How many subjects there are of those that were asked for; 0 if none were.
    #[serde(default)]
    total: u64,
}

#[derive(Deserialize)]
struct StreamState {
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    num_deleted: u64,
    lost: Option<Lost>,
}

#[derive(Deserialize)]
struct Lost {
    #[serde(default)]
    bytes: u64,
}

/// The bytes that a stream has lost. The answer contains the sequence of every deleted message, so the server is not asked about a stream
/// with very many of them: then the value is NaN, which cannot be mistaken for 0.
async fn lost(broker: &Broker, api: &str, num_deleted: u64) -> Result<f64, ReadError> {
    if num_deleted > MAX_DELETED {
        return Ok(f64::NAN);
    }
    let ask = json!({ "deleted_details": true });
    let StreamInfo { state, .. } = broker.ask(api, &ask).await?;
    Ok(state.lost.map_or(0.0, |lost| lost.bytes as f64))
}

/// Updates the metrics of the bucket, its consumers and the log; with `search`, also what the streams have lost.
async fn look(broker: &Broker, service: &'static str, search: bool) -> Result<(), ReadError> {
    let bucket = bucket_stream(service);
    let letters = letter_subject(service, ">");
    // The number of dead letters, without their names.
    let ask = json!({ "subjects_filter": letters, "offset": BEYOND });
    for (stream, ask) in [(bucket.as_str(), ask), (EVENTS, json!({}))] {
        let api = format!("STREAM.INFO.{stream}");
        let StreamInfo { state, total } = broker.ask(&api, &ask).await?;
        metrics::gauge!(STREAM_BYTES, "stream" => stream.to_owned()).set(state.bytes as f64);
        if stream != EVENTS {
            metrics::gauge!(PARKED, "service" => service).set(total as f64);
        }
        if search {
            let lost = lost(broker, &api, state.num_deleted).await?;
            metrics::gauge!(STREAM_LOST_BYTES, "stream" => stream.to_owned()).set(lost);
        }
    }
    for consumer in consumers_of(broker, &bucket).await? {
        let gauge = |name: &'static str| metrics::gauge!(name, "stream" => bucket.clone(), "consumer" => consumer.name.clone());
        gauge(PENDING).set(consumer.pending as f64);
        gauge(ACK_PENDING).set(consumer.ack_pending as f64);
    }
    Ok(())
}
