//! The inputs that this instance holds: delivered, and not yet acknowledged or given back.
//!
//! The broker redelivers an input that is not acknowledged within `ack_wait`, which is short, so that the inputs of an instance that
//! died soon come to another one. So whatever an instance holds, it says so (`+WPI`): inputs in the queue, in the group in progress,
//! with an open outside call. And an input that is redelivered all the same, for example after the broker stood still, is not
//! taken up a second time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subject;
use async_nats::jetstream::{self, AckKind};
use tokio::sync::Notify;
use tracing::debug;

use crate::nats::{Broker, acknowledge};

/// How often within `ack_wait` the held inputs are looked at, and after which part of it the broker is told: an input is never silent
/// for longer than 7/12 of `ack_wait`, and one that is settled quickly costs nothing.
const LOOKS: u32 = 4;
const QUIET: u32 = 3;

/// An input as the broker knows it: the speaker whose bucket it is in, and its sequence there.
type InputKey = (&'static str, u64);

/// What an instance holds. There are never more inputs than `MAX_ACK_PENDING` of each consumer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldInputs(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    inputs: Mutex<HashMap<InputKey, LastSign>>,
    emptied: Notify,
}

/// When the broker last heard of an input, and where it wants to hear of it.
#[derive(Debug)]
struct LastSign {
    at: Instant,
    reply: Subject,
}

/// A delivered message that is held until it is settled, or dropped.
#[derive(Debug)]
pub(crate) struct HeldMessage {
    pub message: jetstream::Message,
    pub hold: Hold,
}

/// Holds one input until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    held: HeldInputs,
    key: InputKey,
}

impl HeldInputs {
    /// Holds the input at `sequence` of the bucket of `speaker`, whose delivery wants its answer at `reply`; `None` if this instance
    /// holds it already.
    pub fn hold(&self, speaker: &'static str, sequence: u64, reply: Subject) -> Option<Hold> {
        let key = (speaker, sequence);
        let sign = LastSign {
            at: Instant::now(),
            reply,
        };
        match self.inputs().entry(key) {
            Entry::Occupied(mut known) => {
                known.insert(sign);
                return None;
            }
            Entry::Vacant(place) => place.insert(sign),
        };
        Some(Hold {
            held: self.clone(),
            key,
        })
    }

    /// Waits until everything is settled.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.inputs().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Keeps the broker from redelivering what is held, for ever.
    pub async fn keep_alive(self, broker: Broker, ack_wait: Duration) {
        loop {
            tokio::time::sleep(ack_wait / LOOKS).await;
            // What is sent without a connection would wait for the next one.
            if !broker.is_connected() {
                continue;
            }
            for reply in self.due(ack_wait / QUIET) {
                if let Err(error) = broker.client().publish(reply, AckKind::Progress.into()).await {
                    debug!(%error, "a sign of life was not sent; the input will come again");
                }
            }
        }
    }

    /// Where signs of life are due, of which the time begins anew.
    fn due(&self, quiet: Duration) -> Vec<Subject> {
        let now = Instant::now();
        let mut inputs = self.inputs();
        let due = inputs
            .values_mut()
            .filter(|sign| now.duration_since(sign.at) >= quiet);
        due.map(|sign| {
            sign.at = now;
            sign.reply.clone()
        })
        .collect()
    }

    fn inputs(&self) -> MutexGuard<'_, HashMap<InputKey, LastSign>> {
        self.0.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldMessage {
    /// Acknowledges the message.
    pub async fn acknowledge(self) {
        acknowledge(&self.message, AckKind::Ack).await;
    }

    /// Gives the message back to the broker, which delivers it again after `pause` or at once, to this instance or another one.
    pub async fn give_back(self, pause: Option<Duration>) {
        let Self { message, hold } = self;
        // First, or it might come again while it counts as held.
        drop(hold);
        acknowledge(&message, AckKind::Nak(pause)).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inputs = self.held.inputs();
        inputs.remove(&self.key);
        if inputs.is_empty() {
            self.held.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK_WAIT: Duration = Duration::from_secs(2);

    fn reply(text: &'static str) -> Subject {
        Subject::from_static(text)
    }

    #[test]
    fn an_input_that_is_redelivered_while_it_is_held_is_not_taken_up_again() {
        let held = HeldInputs::default();
        let first = held.hold("order", 7, reply("first"));
        assert!(first.is_some());
        assert!(held.hold("order", 7, reply("second")).is_none());
        assert!(held.hold("payment", 7, reply("other")).is_some());
        assert_eq!(held.due(Duration::ZERO), [reply("second")]);
        drop(first);
        assert!(held.hold("order", 7, reply("third")).is_some());
    }

    #[test]
    fn the_broker_is_told_only_of_inputs_that_it_has_not_heard_of_for_a_while() {
        let held = HeldInputs::default();
        let _old = held.hold("order", 1, reply("old"));
        held.inputs()
            .values_mut()
            .for_each(|sign| sign.at -= ACK_WAIT / QUIET);
        let _new = held.hold("order", 2, reply("new"));
        assert_eq!(held.due(ACK_WAIT / QUIET), [reply("old")]);
        assert!(held.due(ACK_WAIT / QUIET).is_empty(), "it was told just now");
    }

    #[tokio::test]
    async fn a_stop_waits_until_nothing_is_held() {
        use futures::FutureExt as _;
        let held = HeldInputs::default();
        held.emptied().await;
        let hold = held.hold("order", 1, reply("one"));
        assert!(held.emptied().now_or_never().is_none());
        let emptied = held.emptied();
        tokio::pin!(emptied);
        assert!(futures::poll!(emptied.as_mut()).is_pending());
        drop(hold);
        emptied.await;
    }
}
