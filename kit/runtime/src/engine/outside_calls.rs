//! Outside calls that do not answer at once: they run beside the groups, so that a slow provider delays no other input, and are repeated
//! with back-off; each outcome comes back as an input.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::warn;

use quadrille_decision::{ASK_TIMEOUT, AskError, Service};

use crate::cause::Effects;
use crate::engine::input::{OpenCall, PendingInput, Requester, Verdict};
use crate::engine::retry::Backoff;
use crate::engine::store::Store;
use crate::shutdown::{STOPPING, stopped};
use crate::telemetry::spans;

/// The most outside calls at once.
const MAX_CALLS: usize = 256;

/// The pauses between two tries of a call.
const CALL_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(100),
    most: Duration::from_secs(30),
};

/// The outside calls of one instance.
pub(crate) struct OutsideCalls<S: Service> {
    service: Arc<S>,
    store: Store,
    calls: Arc<Semaphore>,
    give_up: Duration,
    outcomes: mpsc::UnboundedSender<PendingInput<S>>,
    stop: watch::Receiver<bool>,
}

impl<S: Service> OutsideCalls<S> {
    /// A call is repeated for `give_up`, and then its input is parked. Outcomes go to `outcomes`; there are never more of them than
    /// inputs that wait.
    pub fn new(
        service: Arc<S>,
        store: Store,
        give_up: Duration,
        outcomes: mpsc::UnboundedSender<PendingInput<S>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            service,
            store,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            give_up,
            outcomes,
            stop,
        }
    }

    /// A call that nothing waits for yet.
    pub fn begin(&self, ask: S::Ask) -> BoxFuture<'static, Result<S::Input, AskError>> {
        let service = self.service.clone();
        async move { service.ask(ask).await }.boxed()
    }

    /// Waits for the call that was begun for an input, and sends the input back to the engine with the outcome in its place.
    pub fn wait(&self, mut pending: PendingInput<S>) {
        let Some(OpenCall { ask, future }) = pending.open_call.take() else {
            return;
        };
        let call = future.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (service, store, outcomes) = (self.service.clone(), self.store.clone(), self.outcomes.clone());
        let (calls, give_up, mut stop) = (self.calls.clone(), self.give_up, self.stop.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = repeat(&*service, ask, call, &calls, give_up, &pending) => ended,
                () = stopped(&mut stop) => return pending.hand_back(STOPPING).await,
            };
            match ended {
                Ok(outcome) => {
                    pending.input = outcome;
                    pending.must_finish = true;
                    // The engine has ended meanwhile: the call is made again, with the same key.
                    if let Err(unsent) = outcomes.send(pending) {
                        unsent.0.hand_back(STOPPING).await;
                    }
                }
                Err(problem) => {
                    let outcome = match &pending.requester {
                        Requester::Event(_) => "parked",
                        Requester::Command { .. } => "unknown",
                    };
                    store.meters.input(pending.cause.name, outcome, "");
                    spans::ended(&pending.span, outcome, &problem, &Effects::default());
                    match pending.requester {
                        Requester::Event(held) => store.park(&held.message, &problem).await,
                        Requester::Command { answer, .. } => drop(answer.send(Verdict::Unknown(problem))),
                    }
                }
            }
        });
    }
}

async fn repeat<S: Service>(
    service: &S,
    ask: S::Ask,
    first: BoxFuture<'static, Result<S::Input, AskError>>,
    calls: &Semaphore,
    give_up: Duration,
    pending: &PendingInput<S>,
) -> Result<S::Input, String> {
    let began = Instant::now();
    let mut first = Some(first);
    let mut attempts = 0_u32;
    loop {
        let result = {
            let _permit = calls.acquire().await.map_err(|_| STOPPING.to_owned())?;
            attempts += 1;
            match first.take() {
                Some(call) => tokio::time::timeout(ASK_TIMEOUT, call).await,
                None => tokio::time::timeout(ASK_TIMEOUT, service.ask(ask.clone())).await,
            }
        };
        let problem = match result {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(AskError::Permanent(problem))) => return Err(problem),
            Ok(Err(AskError::Transient(problem))) => problem,
            Err(_) => format!("no answer within {ASK_TIMEOUT:?}"),
        };
        if began.elapsed() >= give_up {
            return Err(format!("given up after {attempts} calls: {problem}"));
        }
        warn!(
            cause = pending.cause.reference,
            attempts, problem, "an outside call failed; it is repeated"
        );
        CALL_BACKOFF.wait(attempts).await;
    }
}
