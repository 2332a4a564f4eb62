//! The words in which a service decides: plain values, no clock, no chance, no I/O.
//!
//! A service is a total match on (state, input) that answers with a [`Decision`]. State is the fold of what the
//! service itself has said about the order (or other aggregate); time, ids and the outcomes of outside calls come in with the input.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use quadrille_events::{AggregateId, Body, DecodeError, EventName, Said, TypedId};
use serde::{Serialize, de::DeserializeOwned};

/// A participant of the choreography.
pub trait Service: Send + Sync + 'static {
    /// What it says.
    type Said: Said;
    /// The fold of what it has said about one order (or other aggregate); `Default` is "nothing yet". A service that speaks
    /// about several kinds has a variant for each.
    type State: Default + Clone + Debug + PartialEq + Send + Sync;
    /// What it has to answer: an event it hears, a command, the outcome of an outside call.
    type Input: Clone + Debug + Send + Sync;
    /// A record of its ledger (stock, a courier's load); `()` if it keeps none.
    type Record: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync;
    /// A call to the outside world; [`std::convert::Infallible`] if it makes none.
    type Ask: Clone + Debug + Send + Sync;

    /// Whom it hears: one wire per event. All it knows of the flow.
    fn wires(&self) -> Vec<Wire<Self::Input>>;

    /// The order (or other aggregate) that an input is about, and every event that answers it; `None` for a command that
    /// concerns the ledger only.
    fn about(input: &Self::Input) -> Option<AggregateId>;

    /// Whether an input usually meets an order (or other aggregate) about which nothing has been said, so that it can be decided on that
    /// guess without reading. A wrong guess is corrected by the broker's check.
    fn opens(input: &Self::Input) -> bool;

    /// Which records the decision on an input looks at.
    fn reads(input: &Self::Input) -> Reads;

    /// What having said something means for the state.
    fn fold(state: &mut Self::State, said: &Self::Said);

    /// How an order ends by this being said, in a word for those who count: `completed`. `None` if it goes on, or if it is
    /// another service that ends it.
    fn ending(_said: &Self::Said) -> Option<&'static str> {
        None
    }

    /// The answer to an input. Pure. Saying an event must make the same input ignored from then on; an event that is rewritten
    /// ([`quadrille_events::Lifetime::Latest`]) is said again only if it says something else.
    fn decide(
        state: &Self::State,
        input: &Self::Input,
        context: &Context<'_, Self::Record>,
    ) -> Decision<Self>
    where
        Self: Sized;

    /// Whether [`Service::ask`] has effects outside this process. Then a call is made only on a state that was read from
    /// the leader after its input came; otherwise the broker's check comes soon enough.
    fn asks_outside(&self) -> bool {
        true
    }

    /// Makes an outside call and brings back its outcome as an input. Called with the same `ask` again after any
    /// doubt, so it must be idempotent.
    ///
    /// # Errors
    /// [`AskError`] says whether to try again.
    fn ask(&self, ask: Self::Ask) -> impl Future<Output = Result<Self::Input, AskError>> + Send;
}

/// What a decision may look at besides state and input.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a, R> {
    /// When the decision is made.
    pub now: Timestamp,
    /// The records of the ledger that [`Service::reads`] named; an absent one does not exist.
    pub records: &'a BTreeMap<String, R>,
}

/// Which records of the ledger a decision looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// None.
    Nothing,
    /// These, by key: `stock.item.apple`.
    Keys(Vec<String>),
    /// All whose key is this prefix and one more token: `courier.load`.
    All(&'static str),
}

impl Reads {
    /// Whether the record of this key is among them.
    pub fn names(&self, key: &str) -> bool {
        match self {
            Reads::Nothing => false,
            Reads::Keys(keys) => keys.iter().any(|named| named == key),
            Reads::All(prefix) => key
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|token| !token.is_empty() && !token.contains('.')),
        }
    }
}

/// The answer of a service to an input.
#[derive(Debug)]
pub enum Decision<S: Service + ?Sized> {
    /// Say something, in one commit with changes of the ledger.
    Say(Say<S>),
    /// Ask the outside world first; the outcome comes back as an input.
    Ask(S::Ask),
    /// There is nothing to do, for this reason. Logged and counted.
    Ignore(&'static str),
    /// A command cannot take effect.
    Refuse(Refusal),
}

/// One commit: all of it is stored, or nothing.
#[derive(Debug)]
pub struct Say<S: Service + ?Sized> {
    /// What is said, in this order, all about the order (or other aggregate) of the input.
    pub events: Vec<S::Said>,
    /// The ledger's changes: key and new record.
    pub records: Vec<(String, S::Record)>,
    /// What becomes of the deadline of the order (or other aggregate).
    pub deadline: Deadline<S::Said>,
}

/// What a commit does to the one deadline that an order (or other aggregate) can have in a service. The broker holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Deadline<E> {
    /// It stays as it is.
    Keep,
    /// At `at` the broker says `says` on the service's behalf.
    Set {
        /// When.
        at: Timestamp,
        /// What.
        says: E,
    },
    /// It is off.
    Clear,
}

impl<E> Deadline<E> {
    /// The same with another form of what is said.
    pub fn map<F>(self, form: impl FnOnce(E) -> F) -> Deadline<F> {
        match self {
            Deadline::Keep => Deadline::Keep,
            Deadline::Set { at, says } => Deadline::Set { at, says: form(says) },
            Deadline::Clear => Deadline::Clear,
        }
    }
}

/// Why a command cannot take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing (404).
    NotFound(String),
    /// It is too late, or does not fit what has happened (409).
    Conflict(String),
    /// The same idempotency key came with another body (422).
    Mismatch(String),
}

impl Refusal {
    /// Why, in a word for whoever counts.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::NotFound(_) => "not found",
            Refusal::Conflict(_) => "conflict",
            Refusal::Mismatch(_) => "mismatch",
        }
    }
}

impl<S: Service> Decision<S> {
    /// Says events and touches nothing else.
    pub fn say(events: impl IntoIterator<Item = S::Said>) -> Self {
        Decision::Say(Say {
            events: events.into_iter().collect(),
            records: Vec::new(),
            deadline: Deadline::Keep,
        })
    }

    /// Changes the ledger and says nothing.
    pub fn record(key: String, record: S::Record) -> Self {
        Decision::Say(Say {
            events: Vec::new(),
            records: vec![(key, record)],
            deadline: Deadline::Keep,
        })
    }

    /// Adds changes of the ledger to what is said.
    #[must_use]
    pub fn with_records(mut self, records: impl IntoIterator<Item = (String, S::Record)>) -> Self {
        if let Decision::Say(say) = &mut self {
            say.records.extend(records);
        }
        self
    }

    /// Adds a change of the deadline to what is said.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Deadline<S::Said>) -> Self {
        if let Decision::Say(say) = &mut self {
            say.deadline = deadline;
        }
        self
    }
}

/// Why an outside call brought no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It may work later: a time-out, a 5xx, a lost connection. The call is repeated.
    #[error("{0}")]
    Transient(String),
    /// It will never work as it is. The input is parked.
    #[error("{0}")]
    Permanent(String),
}

/// One wire of the choreography: an event heard, and the input it becomes.
pub struct Wire<I> {
    /// The event.
    pub name: &'static EventName,
    decode: Decode<I>,
}

type Decode<I> = Box<dyn Fn(&[u8]) -> Result<(AggregateId, I), DecodeError> + Send + Sync>;

impl<I> Wire<I> {
    /// Hears the event whose body is `B` as the input that `hear` makes of it.
    pub fn on<B: Body>(hear: impl Fn(B) -> I + Send + Sync + 'static) -> Self {
        Wire {
            name: B::NAME,
            decode: Box::new(move |bytes| {
                let body = B::decode(bytes)?;
                Ok((body.id().aggregate(), hear(body)))
            }),
        }
    }

    /// Reads a body: what it is about, and the input it becomes.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with it.
    pub fn decode(&self, body: &[u8]) -> Result<(AggregateId, I), DecodeError> {
        (self.decode)(body)
    }
}

impl<I> Debug for Wire<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wire").field(&self.name).finish()
    }
}

/// How long a call of [`Service::ask`] may take before it counts as [`AskError::Transient`].
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
