//! The types of a service's decisions: plain values, no clock, no random numbers, no I/O.
//!
//! A service is a total match on (state, input) whose result is a [`Decision`]. The state is the fold of the events that the
//! service itself has said about the order (or other aggregate). Time, ids and the outcomes of outside calls are part of the
//! input or of the [`Context`].

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use quadrille_events::{AggregateId, Body, DecodeError, EventName, Said, TypedId};
use serde::{Serialize, de::DeserializeOwned};

/// A participant of the choreography.
pub trait Service: Send + Sync + 'static {
    /// The events that the service says.
    type Said: Said;
    /// The fold of the events that the service has said about one order (or other aggregate). `Default` is the state before the
    /// first event. If the events are about several kinds of aggregates, the state has variants for each kind.
    type State: Default + Clone + Debug + PartialEq + Send + Sync;
    /// What the service decides on: an event that it hears, a command, the outcome of an outside call.
    type Input: Clone + Debug + Send + Sync;
    /// A record of the service's ledger (stock, a courier's load); `()` if it has no ledger.
    type Record: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync;
    /// A call to the outside (a payment provider); [`std::convert::Infallible`] if the service makes none.
    type Ask: Clone + Debug + Send + Sync;

    /// The events that the service hears, one wire each. Nothing else in a service depends on the flow.
    fn wires(&self) -> Vec<Wire<Self::Input>>;

    /// The order (or other aggregate) that an input is about, and so is every event that answers the input. `None` for a
    /// command that concerns the ledger only.
    fn about(input: &Self::Input) -> Option<AggregateId>;

    /// Whether the service has usually said nothing yet about the order (or other aggregate) of this input. Such an input is
    /// decided on the default state without a read; if the guess is wrong, the broker rejects the commit and the input is
    /// decided again.
    fn opens(input: &Self::Input) -> bool;

    /// The records that the decision on an input reads.
    fn reads(input: &Self::Input) -> Reads;

    /// Applies an event that the service has said to the state.
    fn fold(state: &mut Self::State, said: &Self::Said);

    /// How this event ends the order, as a label for metrics: `completed`. `None` if the order goes on, or is ended by another
    /// service.
    fn ending(_said: &Self::Said) -> Option<&'static str> {
        None
    }

    /// Tells whether an order (or other aggregate) in a state still waits for something, so that its entries must not expire
    /// (`RETENTION`); `None` if the service never waits for more than an input that is on its way to it.
    fn open_states() -> Option<fn(&Self::State) -> bool> {
        None
    }

    /// Decides on an input. A pure function. Once the events of a decision are said, the same input must be ignored. An event
    /// whose entry is rewritten ([`quadrille_events::Lifetime::Latest`]) is said again only with another body.
    fn decide(
        state: &Self::State,
        input: &Self::Input,
        context: &Context<'_, Self::Record>,
    ) -> Decision<Self>
    where
        Self: Sized;

    /// Whether [`Service::ask`] has effects outside this process. If so, a call is made only on a state that was read from
    /// the leader after the input arrived. If not, the check at commit suffices.
    fn asks_outside(&self) -> bool {
        true
    }

    /// Makes an outside call and returns its outcome as an input. Must be idempotent: after a crash or an unknown outcome it is
    /// called with the same `ask` again. A call that takes longer than [`ASK_TIMEOUT`] counts as [`AskError::Transient`].
    ///
    /// # Errors
    /// [`AskError`] says whether the call can be repeated.
    fn ask(&self, ask: Self::Ask) -> impl Future<Output = Result<Self::Input, AskError>> + Send;
}

/// What a decision may use besides state and input.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a, R> {
    /// The time of the decision.
    pub now: Timestamp,
    /// The records of the ledger that [`Service::reads`] names. A record that is missing here does not exist.
    pub records: &'a BTreeMap<String, R>,
}

/// The records of the ledger that a decision reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// No record.
    Nothing,
    /// The records with these keys: `stock.item.apple`.
    Keys(Vec<String>),
    /// All records whose key is this prefix and one more token: `courier.load`.
    All(&'static str),
    /// The records with these keys, at most [`MAX_LAG`] old: for records that this decision only looks at, and that may have changed
    /// a moment ago without harm (`price.item.apple`). What is said rests on them unchecked; before an input is refused they
    /// are read again.
    Lagging(Vec<String>),
}

/// The most that a record of [`Reads::Lagging`] is behind the bucket: short for whoever has changed a price and looks at the
/// result, and long enough that a busy instance reads a record once for hundreds of decisions.
pub const MAX_LAG: Duration = Duration::from_secs(1);

impl Reads {
    /// Whether the decision reads the record with this key.
    pub fn names(&self, key: &str) -> bool {
        match self {
            Reads::Nothing => false,
            Reads::Keys(keys) | Reads::Lagging(keys) => keys.iter().any(|named| named == key),
            Reads::All(prefix) => key
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|token| !token.is_empty() && !token.contains('.')),
        }
    }
}

/// What a service does with an input.
#[derive(Debug)]
pub enum Decision<S: Service + ?Sized> {
    /// Say events and change the ledger, in one commit.
    Say(Say<S>),
    /// Make an outside call first. The outcome comes back as an input.
    Ask(S::Ask),
    /// Do nothing, for this reason. Logged and counted.
    Ignore(&'static str),
    /// Refuse a command.
    Refuse(Refusal),
}

/// One commit: stored as a whole or not at all.
#[derive(Debug)]
pub struct Say<S: Service + ?Sized> {
    /// The events, in this order. All are about the order (or other aggregate) of the input.
    pub events: Vec<S::Said>,
    /// The changes of the ledger: key and new record; `None` removes the record.
    pub records: Vec<(String, Option<S::Record>)>,
    /// The change of the deadline of the order (or other aggregate).
    pub deadline: Deadline<S::Said>,
}

/// What a commit does to the deadline. An order (or other aggregate) has at most one deadline per service; the broker holds
/// it.
#[derive(Clone, Debug, PartialEq)]
pub enum Deadline<E> {
    /// Keep the deadline, if there is one.
    Keep,
    /// Set the deadline: the broker publishes an event on the service's behalf.
    Set {
        /// The time of the deadline.
        at: Timestamp,
        /// The event that is published.
        says: E,
    },
    /// Remove the deadline.
    Clear,
}

impl<E> Deadline<E> {
    /// The same deadline with another type of event.
    pub fn map<F>(self, form: impl FnOnce(E) -> F) -> Deadline<F> {
        match self {
            Deadline::Keep => Deadline::Keep,
            Deadline::Set { at, says } => Deadline::Set { at, says: form(says) },
            Deadline::Clear => Deadline::Clear,
        }
    }
}

/// Why a command is refused, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The order, item or courier does not exist (HTTP 404).
    NotFound(String),
    /// The command does not fit the state, or comes too late (HTTP 409).
    Conflict(String),
    /// The idempotency key was used with another body before (HTTP 422).
    Mismatch(String),
    /// A field of the command is wrong for what the service knows (HTTP 422).
    Invalid {
        /// The name of the field: `lines[2].unit_price`.
        field: String,
        /// What is wrong with the field.
        detail: String,
    },
    /// The command names another version than the present one (HTTP 412).
    Outdated(String),
    /// The command has to name the version that it changes (HTTP 428).
    Unconditional(String),
}

impl Refusal {
    /// The kind of refusal, as a label for metrics: `conflict`.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::NotFound(_) => "not found",
            Refusal::Conflict(_) => "conflict",
            Refusal::Mismatch(_) => "mismatch",
            Refusal::Invalid { .. } => "invalid",
            Refusal::Outdated(_) => "outdated",
            Refusal::Unconditional(_) => "unconditional",
        }
    }

    /// The HTTP status with which the refusal is answered.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NotFound(_) => 404,
            Refusal::Conflict(_) => 409,
            Refusal::Outdated(_) => 412,
            Refusal::Mismatch(_) | Refusal::Invalid { .. } => 422,
            Refusal::Unconditional(_) => 428,
        }
    }

    /// The field that is wrong, if the refusal names one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Refusal::Invalid { field, .. } => Some(field),
            Refusal::NotFound(_)
            | Refusal::Conflict(_)
            | Refusal::Mismatch(_)
            | Refusal::Outdated(_)
            | Refusal::Unconditional(_) => None,
        }
    }

    /// The reason, in words for the client.
    pub fn words(&self) -> &str {
        match self {
            Refusal::NotFound(words)
            | Refusal::Conflict(words)
            | Refusal::Mismatch(words)
            | Refusal::Outdated(words)
            | Refusal::Unconditional(words) => words,
            Refusal::Invalid { detail, .. } => detail,
        }
    }
}

impl<S: Service> Decision<S> {
    /// Says events; ledger and deadline stay as they are.
    pub fn say(events: impl IntoIterator<Item = S::Said>) -> Self {
        Decision::Say(Say {
            events: events.into_iter().collect(),
            records: Vec::new(),
            deadline: Deadline::Keep,
        })
    }

    /// Changes one record of the ledger and says nothing.
    pub fn record(key: String, record: S::Record) -> Self {
        Decision::say([]).with_records([(key, record)])
    }

    /// Removes one record of the ledger and says nothing. Afterwards the record does not exist; it can be written again.
    pub fn remove_record(key: String) -> Self {
        Decision::Say(Say {
            events: Vec::new(),
            records: vec![(key, None)],
            deadline: Deadline::Keep,
        })
    }

    /// Adds changes of the ledger to the commit. Has no effect unless this is [`Decision::Say`].
    #[must_use]
    pub fn with_records(mut self, records: impl IntoIterator<Item = (String, S::Record)>) -> Self {
        if let Decision::Say(say) = &mut self {
            let changed = records.into_iter().map(|(key, record)| (key, Some(record)));
            say.records.extend(changed);
        }
        self
    }

    /// Adds a change of the deadline to the commit. Has no effect unless this is [`Decision::Say`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Deadline<S::Said>) -> Self {
        if let Decision::Say(say) = &mut self {
            say.deadline = deadline;
        }
        self
    }
}

/// Why an outside call has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The call can succeed later: a time-out, a 5xx, a lost connection. It is repeated.
    #[error("{0}")]
    Transient(String),
    /// The call cannot succeed as it is. The input becomes a dead letter.
    #[error("{0}")]
    Permanent(String),
}

/// One wire of the choreography: an event that a service hears, and the input that it becomes.
pub struct Wire<I> {
    /// The name of the event.
    pub name: &'static EventName,
    decode: Decode<I>,
}

type Decode<I> = Box<dyn Fn(&[u8]) -> Result<(AggregateId, I), DecodeError> + Send + Sync>;

impl<I> Wire<I> {
    /// Hears the event with the body `B`. `hear` makes the input from it.
    pub fn on<B: Body>(hear: impl Fn(B) -> I + Send + Sync + 'static) -> Self {
        Wire {
            name: B::NAME,
            decode: Box::new(move |bytes| {
                let body = B::decode(bytes)?;
                Ok((body.id().aggregate(), hear(body)))
            }),
        }
    }

    /// Decodes the body of the event: the aggregate that it is about, and the input that it becomes.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with the body.
    pub fn decode(&self, body: &[u8]) -> Result<(AggregateId, I), DecodeError> {
        (self.decode)(body)
    }
}

impl<I> Debug for Wire<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wire").field(&self.name).finish()
    }
}

/// The longest that a call of [`Service::ask`] may take. After that it counts as [`AskError::Transient`].
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
