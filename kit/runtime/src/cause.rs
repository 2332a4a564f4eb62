//! What an input is an instance of, and what it brings about: the words that the engine, telemetry and HTTP share.

use std::borrow::Cow;
use std::time::Duration;

use quadrille_events::{AggregateId, EventName, TraceParent};

/// What an input is called: the event, or the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputName {
    /// An event of some service.
    Event(&'static EventName),
    /// A command: `create`.
    Command(&'static str),
}

/// An input as the cause of its answers: the causation id that they carry, and the trace that they continue.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub reference: String,
    pub name: InputName,
    pub trace: Option<TraceParent>,
}

impl Cause {
    /// The trace that answers about `about` continue: the input's own, else the one derived from the id.
    pub fn trace_of(&self, about: &AggregateId) -> Cow<'_, TraceParent> {
        match &self.trace {
            Some(trace) => Cow::Borrowed(trace),
            None => Cow::Owned(TraceParent::of(about)),
        }
    }
}

/// What an input brings about, for the log, metrics and spans.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub events: Vec<&'static EventName>,
    /// The event that the broker is to say at the deadline.
    pub deadline: Option<&'static EventName>,
    /// How the order ends by it, and how long after the first event about it.
    pub ending: Option<(&'static str, Duration)>,
}

impl Effects {
    /// The subjects of the events, joined by ` + `.
    pub fn subjects(&self) -> String {
        let subjects: Vec<_> = self.events.iter().map(|name| name.subject).collect();
        subjects.join(" + ")
    }
}
