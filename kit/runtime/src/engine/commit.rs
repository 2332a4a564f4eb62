//! Committing: a plan is stored in one atomic batch, or, if it is a few independent events, in as many plain publishes.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use quadrille_decision::Service;
use quadrille_events::AggregateId;

use crate::engine::memory::Memory;
use crate::engine::plan::{GroupPlan, PlannedWrite, WriteContent};
use crate::engine::store::Store;
use crate::nats::CommitError;

/// Up to so many commits of one message each go out side by side rather than as a batch, which costs the server a directory of
/// its own.
pub const MAX_SINGLES: usize = 8;

/// What became of a plan's messages.
pub(super) enum CommitResult {
    /// All of them are stored.
    All,
    /// None is stored, or it is not known whether.
    None(CommitError),
    /// Each aggregate's event was a commit of its own.
    Each(HashMap<AggregateId, Result<(), CommitError>>),
}

impl CommitResult {
    /// Why an input cannot end as it was decided: what its end rests on is not stored, or may not be.
    pub fn problem_of<S: Service>(
        &self,
        plan: &GroupPlan<S>,
        about: Option<&AggregateId>,
    ) -> Option<CommitError> {
        match self {
            CommitResult::All => None,
            CommitResult::None(error) => plan.proves(about).then(|| error.clone()),
            CommitResult::Each(results) => results.get(about?)?.clone().err(),
        }
    }
}

/// Stores what is planned, and remembers it.
pub(super) async fn commit<S: Service>(
    store: &Store,
    memory: &mut Memory<S::State, S::Record>,
    plan: &mut GroupPlan<S>,
) -> CommitResult {
    let writes = std::mem::take(&mut plan.writes);
    match writes.len() {
        0 => CommitResult::All,
        2..=MAX_SINGLES if are_independent(&writes) => commit_each(store, memory, plan, writes).await,
        _ => commit_all(store, memory, plan, writes).await,
    }
}

/// Whether each message is a commit of its own: one event of one aggregate.
fn are_independent(writes: &[PlannedWrite]) -> bool {
    let mut aggregates = HashSet::new();
    writes.iter().all(|planned| match &planned.content {
        WriteContent::Event(about) => aggregates.insert(about),
        WriteContent::Schedule | WriteContent::Record(_) => false,
    })
}

async fn commit_each<S: Service>(
    store: &Store,
    memory: &mut Memory<S::State, S::Record>,
    plan: &GroupPlan<S>,
    writes: Vec<PlannedWrite>,
) -> CommitResult {
    let began = Instant::now();
    let publishing = writes.into_iter().map(async |planned| {
        let result = store.broker.publish(planned.write).await;
        store.meters.commit(result.as_ref().map(drop), 1, began.elapsed());
        (planned.content, result)
    });
    let mut each = HashMap::new();
    for (content, result) in futures::future::join_all(publishing).await {
        let WriteContent::Event(about) = content else {
            continue;
        };
        if let (Ok(sequence), Some(state)) = (&result, plan.states.get(&about)) {
            memory.remember(&about, state, *sequence);
        }
        each.insert(about, result.map(drop));
    }
    CommitResult::Each(each)
}

async fn commit_all<S: Service>(
    store: &Store,
    memory: &mut Memory<S::State, S::Record>,
    plan: &GroupPlan<S>,
    writes: Vec<PlannedWrite>,
) -> CommitResult {
    let began = Instant::now();
    let count = writes.len();
    let (writes, contents): (Vec<_>, Vec<_>) = writes
        .into_iter()
        .map(|planned| (planned.write, planned.content))
        .unzip();
    let stored = store.broker.publish_all(writes).await;
    store
        .meters
        .commit(stored.as_ref().map(drop), count, began.elapsed());
    let last = match stored {
        Ok(last) => last,
        Err(error) => {
            memory.ledger.undo();
            return CommitResult::None(error);
        }
    };
    // A batch is stored without gaps.
    let first = last + 1 - count as u64;
    for (sequence, content) in (first..).zip(&contents) {
        match content {
            WriteContent::Event(about) => {
                if let Some(state) = plan.states.get(about) {
                    memory.remember(about, state, sequence);
                }
            }
            WriteContent::Schedule => {}
            WriteContent::Record(key) => memory.ledger.stored(key, sequence),
        }
    }
    CommitResult::All
}
