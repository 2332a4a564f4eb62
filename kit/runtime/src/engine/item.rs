//! One input on its way through the engine, and how it ends.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind};
use futures::future::BoxFuture;
use quadrille_events::EventName;
use tokio::sync::{oneshot, watch};
use tracing::{Span, debug};

use crate::engine::store::Cause;
use crate::telemetry::spans;
use quadrille_decision::{AskError, Refusal, Service};

/// What a caller is told whose input is not settled at the stop.
pub(crate) const STOPPING: &str = "the service is stopping";

/// An input that waits for its answer.
pub(crate) struct Item<S: Service> {
    /// What to answer; replaced by the outcome once an outside call was made for it.
    pub input: S::Input,
    /// What its answer names as its cause.
    pub cause: Cause,
    /// Who waits.
    pub source: Source<S>,
    /// No guess, no memory: read first. Set after a redelivery, a refused check, a doubt.
    pub read_first: bool,
    /// An outside call was made for it: it goes on even if its caller has given up.
    pub must_finish: bool,
    /// The outside call that was begun for it and is not done.
    pub asking: Option<Asking<S>>,
    /// Its span, from its arrival to its end.
    pub span: Span,
}

/// What an input comes to say.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub events: Vec<&'static EventName>,
    /// What the broker is to say at the deadline.
    pub due: Option<&'static EventName>,
    /// How the order ends by it, and how long after it was first spoken of.
    pub ends: Option<(&'static str, Duration)>,
}

impl Told {
    /// The subjects of the events, for people.
    pub fn words(&self) -> String {
        let subjects: Vec<_> = self.events.iter().map(|name| name.subject).collect();
        subjects.join(" + ")
    }
}

/// An outside call that did not answer at once.
pub(crate) struct Asking<S: Service> {
    pub ask: S::Ask,
    /// In a mutex only to be `Sync`; nobody shares it.
    pub call: Mutex<BoxFuture<'static, Result<S::Input, AskError>>>,
}

/// Who waits for the answer to an input.
pub(crate) enum Source<S: Service> {
    /// The broker, to be told that the event need not be delivered again.
    Event(Box<jetstream::Message>),
    /// A caller, who gives up at `deadline`.
    Command {
        answer: oneshot::Sender<Verdict<S>>,
        deadline: Instant,
    },
}

/// How an input ended.
#[derive(Debug)]
pub(crate) enum Verdict<S: Service> {
    /// What was decided is stored.
    Done { state: S::State },
    /// Nothing was to be done.
    Ignored { state: S::State, reason: &'static str },
    /// The command cannot take effect.
    Refused(Refusal),
    /// It cannot be handled, now or later, as it is.
    Failed(String),
    /// It could not be settled in time: stored or not.
    Unknown(String),
}

impl<S: Service> Item<S> {
    /// Whether the caller has given up by now. An event never does.
    pub fn expired(&self, now: Instant) -> bool {
        match &self.source {
            Source::Event(_) => false,
            Source::Command { .. } if self.must_finish => false,
            Source::Command { deadline, answer } => *deadline <= now || answer.is_closed(),
        }
    }

    /// Gives an event back to the broker, for another instance or a later moment.
    pub async fn hand_back(self, reason: &str) {
        spans::ended(&self.span, "handed back", reason, &Told::default());
        match self.source {
            Source::Event(message) => acknowledge(&message, AckKind::Nak(None)).await,
            Source::Command { answer, .. } => {
                let _ = answer.send(Verdict::Unknown(reason.to_owned()));
            }
        }
    }
}

/// Tells the broker. That this can get lost is no concern: what comes again is ignored.
pub(crate) async fn acknowledge(message: &jetstream::Message, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        debug!(%error, "an acknowledgement was not sent; the input will come again");
    }
}

/// Waits until the service is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could tell.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Sleeps for a random time between half and all of `base * 2^(attempt-1)`, which is at most `most`: so rivals part.
pub(crate) async fn backoff(base: Duration, attempt: u32, most: Duration) {
    let limit = base
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(most);
    tokio::time::sleep(limit.mul_f64(rand::random_range(0.5..=1.0))).await;
}
