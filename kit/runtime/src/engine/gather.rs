//! Gathering: the inputs that are there at one moment become one group, and so one commit.

use quadrille_decision::Service;
use tokio::sync::{mpsc, watch};

use crate::engine::input::PendingInput;
use crate::shutdown::{STOPPING, stopped};

/// The most inputs of one group: one commit for all of them, and `just bench` shows how much that saves.
pub const MAX_GROUP: usize = 500;

/// How many inputs may wait for the engine before those who bring them are held back.
pub const QUEUE: usize = 2_048;

/// The inputs of one engine: from listeners and callers, and the outcomes of slow outside calls.
pub(super) struct Gatherer<S: Service> {
    inputs: mpsc::Receiver<PendingInput<S>>,
    outcomes: mpsc::UnboundedReceiver<PendingInput<S>>,
    stop: watch::Receiver<bool>,
}

impl<S: Service> Gatherer<S> {
    pub fn new(
        inputs: mpsc::Receiver<PendingInput<S>>,
        outcomes: mpsc::UnboundedReceiver<PendingInput<S>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            inputs,
            outcomes,
            stop,
        }
    }

    /// The next group, of one input at least; `None` once the service is told to stop.
    pub async fn group(&mut self) -> Option<Vec<PendingInput<S>>> {
        let first = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return None,
            Some(outcome) = self.outcomes.recv() => outcome,
            input = self.inputs.recv() => input?,
        };
        let mut group = Vec::with_capacity(16);
        group.push(first);
        while group.len() < MAX_GROUP
            && let Ok(outcome) = self.outcomes.try_recv()
        {
            group.push(outcome);
        }
        while group.len() < MAX_GROUP
            && let Ok(input) = self.inputs.try_recv()
        {
            group.push(input);
        }
        Some(group)
    }

    /// Gives back everything that waits, and takes nothing any more.
    pub async fn hand_back(mut self) {
        self.inputs.close();
        self.outcomes.close();
        while let Some(pending) = self.inputs.recv().await {
            pending.hand_back(STOPPING).await;
        }
        while let Some(pending) = self.outcomes.recv().await {
            pending.hand_back(STOPPING).await;
        }
    }
}
