//! Why a group is taken up again, and how long the engine waits before it.

use std::time::Duration;

use crate::nats::{CommitError, ReadError};

/// Why a group has to be taken up again.
pub(super) enum Retry {
    /// Another commit came first.
    Conflict,
    /// The broker cannot store it now, or did not answer.
    Later(String),
    /// Something in the group will never be stored: each input on its own.
    OneByOne(String),
}

impl From<ReadError> for Retry {
    fn from(error: ReadError) -> Self {
        Retry::Later(error.to_string())
    }
}

impl From<CommitError> for Retry {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Retry::Conflict,
            CommitError::Rejected(problem) => Retry::OneByOne(problem),
            error @ (CommitError::Unknown(_) | CommitError::Busy(_)) => Retry::Later(error.to_string()),
        }
    }
}

/// Pauses that double from `base` up to `most`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub base: Duration,
    pub most: Duration,
}

impl Backoff {
    /// Waits for a random time between half and all of the pause of this attempt, counted from 1: so competitors part.
    pub async fn wait(self, attempt: u32) {
        let doubled = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let pause = doubled.min(self.most).mul_f64(rand::random_range(0.5..=1.0));
        tokio::time::sleep(pause).await;
    }
}
