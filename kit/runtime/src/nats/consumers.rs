//! The durable consumers of a stream: how far each listener is.

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use crate::nats::api::ReadError;
use crate::nats::connection::Broker;

/// How far a durable consumer is.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerState {
    /// Its durable name: the service that hears the events.
    pub name: String,
    /// The subjects that it is filtered to.
    pub filters: Vec<String>,
    /// Messages that it was not given yet.
    pub pending: u64,
    /// Messages that it was given and has not acknowledged.
    pub ack_pending: u64,
    /// The sequence up to which everything is acknowledged.
    pub ack_floor: u64,
}

#[derive(Deserialize)]
struct ConsumerPage {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    consumers: Vec<ConsumerInfo>,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    config: ConsumerConfig,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    ack_floor: AckFloor,
}

#[derive(Deserialize)]
struct ConsumerConfig {
    durable_name: Option<String>,
    filter_subject: Option<String>,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

#[derive(Default, Deserialize)]
struct AckFloor {
    #[serde(default)]
    stream_seq: u64,
}

/// The durable consumers of a stream, page by page. Those without a durable name belong to readers, or to EVENTS.
///
/// # Errors
/// [`ReadError`] if there is no answer.
pub(crate) fn consumers_of<'a>(
    broker: &'a Broker,
    stream: &'a str,
) -> BoxFuture<'a, Result<Vec<ConsumerState>, ReadError>> {
    Box::pin(async move {
        let (mut durable, mut seen) = (Vec::new(), 0);
        loop {
            let page: ConsumerPage = broker
                .ask(&format!("CONSUMER.LIST.{stream}"), &json!({ "offset": seen }))
                .await?;
            seen += page.consumers.len();
            let is_last = page.consumers.is_empty() || seen >= page.total;
            durable.extend(page.consumers.into_iter().filter_map(durable_state));
            if is_last {
                return Ok(durable);
            }
        }
    })
}

fn durable_state(info: ConsumerInfo) -> Option<ConsumerState> {
    let ConsumerConfig {
        durable_name,
        filter_subject,
        mut filter_subjects,
    } = info.config;
    filter_subjects.extend(filter_subject.filter(|filter| !filter.is_empty()));
    if filter_subjects.is_empty() {
        filter_subjects.push(">".to_owned());
    }
    Some(ConsumerState {
        name: durable_name?,
        filters: filter_subjects,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending,
        ack_floor: info.ack_floor.stream_seq,
    })
}
