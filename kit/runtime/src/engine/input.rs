//! One input on its way through the engine, and how it ends.

use std::sync::Mutex;
use std::time::Instant;

use futures::future::BoxFuture;
use quadrille_decision::{AskError, Refusal, Service};
use quadrille_events::AggregateId;
use tokio::sync::oneshot;
use tracing::Span;

use crate::cause::{Cause, Effects};
use crate::engine::held::HeldMessage;
use crate::telemetry::spans;

/// An input that waits for its answer.
pub(crate) struct PendingInput<S: Service> {
    /// What to answer; replaced by the outcome once an outside call was made for it.
    pub input: S::Input,
    /// The order (or other aggregate) that it is about.
    pub about: Option<AggregateId>,
    /// What its answers name as their cause.
    pub cause: Cause,
    pub requester: Requester<S>,
    /// Neither a guess nor a remembered state will do: the state is read first. Set after a redelivery, a refused check, an
    /// unknown outcome.
    pub read_first: bool,
    /// An outside call was made for it: it is finished even if its caller has given up.
    pub must_finish: bool,
    /// The outside call that was begun for it and has not answered.
    pub open_call: Option<OpenCall<S>>,
    /// The span of the input, from its arrival to its end.
    pub span: Span,
}

/// An outside call that did not answer at once.
pub(crate) struct OpenCall<S: Service> {
    pub ask: S::Ask,
    /// In a mutex only to be `Sync`; it is never shared.
    pub future: Mutex<BoxFuture<'static, Result<S::Input, AskError>>>,
}

/// Who waits for the answer to an input.
pub(crate) enum Requester<S: Service> {
    /// The broker, which delivers the event again unless it is acknowledged.
    Event(Box<HeldMessage>),
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
    /// The input cannot be handled as it is, now or later.
    Failed(String),
    /// The input cannot be decided now, and perhaps later: an event comes again, a caller has to.
    Postponed(String),
    /// The input could not be settled in time: it is stored or not.
    Unknown(String),
}

impl<S: Service> PendingInput<S> {
    pub fn new(input: S::Input, cause: Cause, requester: Requester<S>, span: Span) -> Self {
        Self {
            about: S::about(&input),
            input,
            cause,
            requester,
            read_first: false,
            must_finish: false,
            open_call: None,
            span,
        }
    }

    /// The same input, to be decided on a state that is read first.
    #[must_use]
    pub fn read_first(mut self, read_first: bool) -> Self {
        self.read_first = read_first;
        self
    }

    /// Whether the caller has given up by now. The broker never does.
    pub fn is_expired(&self, now: Instant) -> bool {
        match &self.requester {
            Requester::Event(_) => false,
            Requester::Command { .. } if self.must_finish => false,
            Requester::Command { deadline, answer } => *deadline <= now || answer.is_closed(),
        }
    }

    /// Gives an event back to the broker, for another instance or a later moment; tells a caller that the outcome is unknown.
    pub async fn hand_back(self, reason: &str) {
        spans::ended(&self.span, "handed back", reason, &Effects::default());
        match self.requester {
            Requester::Event(held) => held.give_back(None).await,
            Requester::Command { answer, .. } => {
                let _ = answer.send(Verdict::Unknown(reason.to_owned()));
            }
        }
    }
}
