//! Storing: one message, or an atomic batch; and why a commit failed.

use futures::future::BoxFuture;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Request, StatusCode, header};
use serde::Deserialize;

use crate::nats::api::ApiError;
use crate::nats::connection::Broker;
use crate::nats::message::Write;

/// How long the broker may take to acknowledge a write. After that its outcome is unknown.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most messages of one atomic batch (ADR-50).
pub const MAX_BATCH: usize = 1_000;

/// Why a commit was refused, or its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another commit changed the checked entries first. Read again, decide again.
    #[error("another commit came first")]
    Conflict,
    /// No answer came: the messages are stored or not. Read again, decide again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Nothing was stored, because the broker cannot store now (no leader, too many open batches, shutting down). Try again.
    #[error("the broker cannot store it now: {0}")]
    Busy(String),
    /// Nothing was stored, and the same commit will never be (too large, malformed).
    #[error("the broker refuses it: {0}")]
    Rejected(String),
}

impl CommitError {
    /// Every [`CommitError::kind`].
    pub const KINDS: [&'static str; 4] = ["conflict", "unknown", "busy", "rejected"];

    /// The error in one word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            CommitError::Conflict => "conflict",
            CommitError::Unknown(_) => "unknown",
            CommitError::Busy(_) => "busy",
            CommitError::Rejected(_) => "rejected",
        }
    }
}

impl Broker {
    /// Stores one message and returns its sequence.
    ///
    /// # Errors
    /// [`CommitError`]; only `Unknown` leaves open whether it is stored.
    pub fn publish(&self, write: Write) -> BoxFuture<'_, Result<u64, CommitError>> {
        Box::pin(async move { self.acknowledged(write).await })
    }

    /// Stores all of `writes` or none, and returns the sequence of the last; they are stored without gaps.
    ///
    /// One message is a plain publish, more are an atomic batch (ADR-50): all but the last are sent without asking for
    /// an answer, because the answer to the last covers all of them.
    ///
    /// # Errors
    /// [`CommitError`]; only `Unknown` leaves open whether they are stored.
    pub fn publish_all(&self, mut writes: Vec<Write>) -> BoxFuture<'_, Result<u64, CommitError>> {
        Box::pin(async move {
            let Some(last) = writes.pop() else {
                return Err(CommitError::Rejected("an empty commit".to_owned()));
            };
            if writes.is_empty() {
                return self.acknowledged(last).await;
            }
            let id = format!(
                "{}-{}",
                self.batch_prefix,
                self.batches.fetch_add(1, Ordering::Relaxed)
            );
            let mut number = 0_u64;
            let mut numbered = |mut write: Write| {
                number += 1;
                write.headers.insert(header::NATS_BATCH_ID, id.as_str());
                write
                    .headers
                    .insert(header::NATS_BATCH_SEQUENCE, number.to_string());
                write
            };
            let sending = async {
                for write in writes {
                    let write = numbered(write);
                    self.client
                        .publish_with_headers(write.subject, write.headers, write.body)
                        .await
                        .map_err(|error| send_error(&error.to_string()))?;
                }
                Ok::<_, CommitError>(())
            };
            tokio::time::timeout(COMMIT_TIMEOUT, sending)
                .await
                .map_err(|_| CommitError::Busy("the connection takes nothing".to_owned()))??;
            let mut last = numbered(last);
            last.headers
                .insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
            self.acknowledged(last).await
        })
    }

    async fn acknowledged(&self, write: Write) -> Result<u64, CommitError> {
        let request = Request::new()
            .headers(write.headers)
            .payload(write.body)
            .timeout(Some(COMMIT_TIMEOUT));
        let answering = self.client.send_request(write.subject, request);
        let Some(answer) = self.unless_lost(answering).await else {
            return Err(CommitError::Unknown("the connection was lost".to_owned()));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                use async_nats::RequestErrorKind as Kind;
                return Err(match error.kind() {
                    Kind::NoResponders => {
                        CommitError::Busy("no stream takes it; JetStream has no leader, or is off".to_owned())
                    }
                    Kind::InvalidSubject | Kind::MaxPayloadExceeded => {
                        CommitError::Rejected(error.to_string())
                    }
                    Kind::TimedOut | Kind::Other => CommitError::Unknown(error.to_string()),
                });
            }
        };
        let ack: Ack = serde_json::from_slice(&answer.payload)
            .map_err(|_| CommitError::Unknown("the answer is no acknowledgement".to_owned()))?;
        match ack.error {
            None => Ok(ack.seq),
            Some(error) => Err(error.into()),
        }
    }
}

fn send_error(error: &str) -> CommitError {
    if error.contains("payload") {
        CommitError::Rejected(error.to_owned())
    } else {
        CommitError::Busy(error.to_owned())
    }
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

impl From<ApiError> for CommitError {
    fn from(error: ApiError) -> Self {
        let said = format!("{} ({})", error.description, error.err_code);
        match error.err_code {
            // Wrong last sequence, with and without its number (10164: checked against the batch itself).
            10071 | 10164 => CommitError::Conflict,
            // The batch is not known any more, or incomplete (ADR-50): a leader change, or the first message was
            // refused because too many batches are open (10210), and its answer is not waited for.
            10176 | 10210 | 10211 => CommitError::Busy(said),
            // 4xx is about the message; 408, 429 and 5xx are temporary.
            _ => match StatusCode::from_u16(error.code).map(|code| code.as_u16()) {
                Ok(400..=407 | 409..=428 | 430..=499) => CommitError::Rejected(said),
                Ok(_) | Err(_) => CommitError::Busy(said),
            },
        }
    }
}
