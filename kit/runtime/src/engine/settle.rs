//! Settling: an input ends. Its requester is answered, the log gets a line, the metrics a count.

use std::time::Duration;

use quadrille_decision::Service;
use quadrille_events::AggregateId;
use tracing::{error, info, warn};

use crate::cause::Effects;
use crate::engine::input::{PendingInput, Requester, Verdict};
use crate::engine::store::Store;
use crate::telemetry::spans;

/// How long an event waits whose order cannot be read now.
const POSTPONED: Duration = Duration::from_secs(5);

/// How an input ended, in the words that are counted: outcome and reason are words of the code.
struct Outcome<'a> {
    name: &'static str,
    /// For the metrics.
    reason: &'static str,
    /// For the span: the reason in full.
    detail: &'a str,
}

/// Brings an input to its end.
pub(super) async fn settle<S: Service>(
    store: &Store,
    pending: PendingInput<S>,
    verdict: Verdict<S>,
    effects: &Effects,
) {
    let outcome = log_line(store, &pending, &verdict, effects);
    store
        .meters
        .input(pending.cause.name, outcome.name, outcome.reason);
    if let Some((ending, after)) = effects.ending {
        store.meters.order(ending, after);
    }
    spans::ended(&pending.span, outcome.name, outcome.detail, effects);
    match pending.requester {
        Requester::Command { answer, .. } => drop(answer.send(verdict)),
        Requester::Event(held) => match verdict {
            Verdict::Failed(problem) => store.park(&held.message, &problem).await,
            Verdict::Refused(refusal) => {
                // Only commands are refused; a refused event shows a hole in the decisions.
                let reason = format!("an event was refused: {refusal:?}");
                store.park(&held.message, &reason).await;
            }
            Verdict::Postponed(_) => held.give_back(Some(POSTPONED)).await,
            Verdict::Done { .. } | Verdict::Ignored { .. } | Verdict::Unknown(_) => {
                held.acknowledge().await;
            }
        },
    }
}

/// Writes the line of the log that every input ends with.
fn log_line<'a, S: Service>(
    store: &Store,
    pending: &PendingInput<S>,
    verdict: &'a Verdict<S>,
    effects: &Effects,
) -> Outcome<'a> {
    let service = store.service;
    let order_id = pending.about.as_ref().map_or("", AggregateId::as_str);
    let cause = &pending.cause.reference;
    let trace_id = spans::trace_id(&pending.cause, pending.about.as_ref());
    let outcome = |name, reason, detail| Outcome { name, reason, detail };
    match verdict {
        Verdict::Done { .. } => {
            info!(
                service,
                order_id,
                cause,
                said = effects.subjects(),
                trace_id,
                "decided"
            );
            outcome("acted", "", "")
        }
        Verdict::Ignored { reason, .. } => {
            info!(service, order_id, cause, reason, trace_id, "ignored");
            outcome("ignored", reason, reason)
        }
        Verdict::Refused(refusal) => {
            info!(service, order_id, cause, ?refusal, trace_id, "refused");
            outcome("refused", refusal.kind(), refusal.kind())
        }
        Verdict::Failed(problem) => {
            error!(service, order_id, cause, problem, trace_id, "cannot be handled");
            match &pending.requester {
                Requester::Command { .. } => outcome("failed", "", problem),
                Requester::Event(_) => outcome("parked", "", problem),
            }
        }
        Verdict::Postponed(problem) => {
            error!(service, order_id, cause, problem, trace_id, "postponed");
            outcome("postponed", "", problem)
        }
        Verdict::Unknown(problem) => {
            warn!(
                service,
                order_id, cause, problem, trace_id, "the caller is told that the outcome is unknown"
            );
            outcome("unknown", "", problem)
        }
    }
}
