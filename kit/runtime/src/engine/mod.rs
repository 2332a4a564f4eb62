//! The engine of a service: gather the inputs that are there, decide each in turn in memory, store the group in one commit,
//! settle each input.
//!
//! ```text
//! listener, Door ──> gather ──> plan ──> commit ──> settle
//!                      ^          │         │
//!                      │          └─ outside_calls (slow ones come back as inputs)
//!                      └── conflict, unknown outcome: read again, decide again (Engine::settle_together)
//! ```
//!
//! A commit fails in one way that matters: the broker did not store the group, or did not answer. The reaction is one too: forget what
//! was known of these aggregates, read again, decide again. An input leaves the engine only when its answer is durable, when it is
//! ignored on a state that was read from the leader after it arrived (or that the commit of its own group proved), or
//! parked as a dead letter.

pub(crate) mod dead_letter;
pub(crate) mod held;
pub(crate) mod input;
pub(crate) mod listener;
pub(crate) mod outside_calls;
pub(crate) mod retention;
pub(crate) mod store;
pub(crate) mod wires;

mod commit;
mod gather;
mod memory;
mod messages;
mod plan;
mod retry;
mod settle;
mod unreadable;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille_decision::Service;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::cause::Effects;
use crate::engine::commit::commit;
use crate::engine::gather::Gatherer;
use crate::engine::input::{PendingInput, Verdict};
use crate::engine::memory::Memory;
use crate::engine::outside_calls::OutsideCalls;
use crate::engine::plan::{InProgress, Planner};
use crate::engine::retry::{Backoff, Retry};
use crate::engine::settle::settle;
use crate::engine::store::Store;
use crate::shutdown::STOPPING;
use crate::telemetry::spans::CommitSize;

pub use commit::MAX_SINGLES;
pub use gather::{MAX_GROUP, QUEUE};
pub use listener::PULL;

/// After so many refused checks in a row a group is taken apart; after so many more a lone input is given back. One of the competing
/// commits always gets through, so a group that waits its turn keeps the price of contention low.
const MAX_CONFLICTS: u32 = 40;

/// Back-off after a revision conflict: roughly one commit, so that the competing commit can finish, up to a few of them.
const CONFLICT_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(4),
    most: Duration::from_millis(60),
};

/// Back-off while the broker cannot store, or does not answer.
const BUSY_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(20),
    most: Duration::from_secs(2),
};

/// The engine of one instance of a service.
pub(crate) struct Engine<S: Service> {
    service: Arc<S>,
    store: Store,
    gatherer: Gatherer<S>,
    calls: OutsideCalls<S>,
    memory: Memory<S::State, S::Record>,
    stop: watch::Receiver<bool>,
}

/// How often in a row a group could not be committed.
#[derive(Default)]
struct Failures {
    conflicts: u32,
    others: u32,
}

impl<S: Service> Engine<S> {
    pub fn new(
        service: Arc<S>,
        store: Store,
        inputs: mpsc::Receiver<PendingInput<S>>,
        give_up_calls: Duration,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (outcomes, returning) = mpsc::unbounded_channel();
        Self {
            calls: OutsideCalls::new(
                service.clone(),
                store.clone(),
                give_up_calls,
                outcomes,
                stop.clone(),
            ),
            gatherer: Gatherer::new(inputs, returning, stop.clone()),
            service,
            store,
            memory: Memory::new(),
            stop,
        }
    }

    /// Handles inputs until told to stop, which is when no listener brings any more; then finishes the group in progress and gives the
    /// rest back.
    pub async fn run(mut self) {
        while let Some(group) = self.gatherer.group().await {
            self.store.meters.group_inputs.record(group.len() as f64);
            self.settle_all(group).await;
        }
        self.gatherer.hand_back().await;
    }

    /// Brings every input of a group to its end. A group whose commit is refused for good is taken apart, so that one input does
    /// not fail the others.
    async fn settle_all(&mut self, group: Vec<PendingInput<S>>) {
        let mut groups = VecDeque::from([group]);
        while let Some(group) = groups.pop_front() {
            let left = self.settle_together(group).await;
            groups.extend(left.into_iter().map(|progress| vec![progress.pending]));
        }
    }

    /// Decides and commits until nothing is left, or returns inputs that had better be handled one by one.
    async fn settle_together(&mut self, group: Vec<PendingInput<S>>) -> Vec<InProgress<S>> {
        let mut group: Vec<_> = group.into_iter().map(InProgress::new).collect();
        let mut failures = Failures::default();
        loop {
            group = self.without_expired(group).await;
            if group.is_empty() {
                return group;
            }
            let before = group.len();
            let retry = match self.round(&mut group).await {
                Ok(()) => {
                    failures = Failures::default();
                    continue;
                }
                Err(retry) => retry,
            };
            if group.len() < before {
                failures = Failures::default();
            }
            self.doubt(&mut group);
            if self.back_off(retry, &mut group, &mut failures).await.is_break() {
                return group;
            }
        }
    }

    /// Waits before a group is taken up again; breaks off if its inputs had better be handled one by one.
    async fn back_off(
        &self,
        retry: Retry,
        group: &mut Vec<InProgress<S>>,
        failures: &mut Failures,
    ) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        match retry {
            Retry::Conflict => {
                failures.conflicts += 1;
                if failures.conflicts >= MAX_CONFLICTS {
                    if group.len() > 1 {
                        return Break(());
                    }
                    // Contention, not a fault: other instances go first.
                    hand_back(group, "others are faster; try again").await;
                }
                CONFLICT_BACKOFF.wait(failures.conflicts).await;
            }
            Retry::Later(problem) => {
                failures.others += 1;
                let (service, inputs) = (self.store.service, group.len());
                warn!(service, inputs, problem, "not committed; trying again");
                if *self.stop.borrow() {
                    hand_back(group, STOPPING).await;
                }
                BUSY_BACKOFF.wait(failures.others).await;
            }
            Retry::OneByOne(_) if group.len() > 1 => return Break(()),
            Retry::OneByOne(problem) => {
                for progress in group.drain(..) {
                    let verdict = Verdict::Failed(problem.clone());
                    settle(&self.store, progress.pending, verdict, &Effects::default()).await;
                }
            }
        }
        Continue(())
    }

    /// Forgets whatever was known of what these inputs are about, and of the ledger.
    fn doubt(&mut self, group: &mut [InProgress<S>]) {
        for InProgress { pending, .. } in group {
            pending.read_first = true;
            if let Some(about) = &pending.about {
                self.memory.forget(about);
            }
        }
        self.memory.ledger.forget();
    }

    async fn without_expired(&self, group: Vec<InProgress<S>>) -> Vec<InProgress<S>> {
        let now = Instant::now();
        let (expired, live): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|progress| progress.pending.is_expired(now));
        for progress in expired {
            let verdict = Verdict::Unknown("it was not settled in time".to_owned());
            settle(&self.store, progress.pending, verdict, &Effects::default()).await;
        }
        live
    }

    /// Decides and commits once. Inputs that are settled leave the group.
    async fn round(&mut self, group: &mut Vec<InProgress<S>>) -> Result<(), Retry> {
        let planner = Planner::new(&*self.service, &self.store, &self.calls, &mut self.memory);
        let mut plan = planner.plan(group).await?;
        let size = CommitSize {
            inputs: group.len(),
            messages: plan.writes.len(),
        };
        group.iter_mut().for_each(|progress| progress.begin_spans(size));
        let stored = commit(&self.store, &mut self.memory, &mut plan).await;

        // Of single commits some may be stored and some not; of a batch all or none.
        let mut left = Vec::new();
        let mut problem = None;
        for mut progress in group.drain(..) {
            let about = progress.pending.about.as_ref();
            let unstored = stored.problem_of(&plan, about);
            match (progress.decided.take(), unstored) {
                (None, _) if progress.pending.open_call.is_some() => self.calls.wait(progress.pending),
                (None, _) => left.push(progress),
                (Some(decided), None) => {
                    decided.spans.stored();
                    settle(&self.store, progress.pending, decided.verdict, &decided.effects).await;
                }
                (Some(decided), Some(error)) => {
                    decided.spans.failed(&error);
                    problem = Some(error);
                    left.push(progress);
                }
            }
        }
        *group = left;
        problem.map_or(Ok(()), |error| Err(error.into()))
    }
}

async fn hand_back<S: Service>(group: &mut Vec<InProgress<S>>, reason: &str) {
    for progress in group.drain(..) {
        progress.pending.hand_back(reason).await;
    }
}
