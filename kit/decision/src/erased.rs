//! Services without static types: events and records as bytes. For programs that handle several services alike: the map
//! (`tools/map`) and the model (`tests/model`).
//!
//! [`erase`] makes a [`Participant`] of a [`Service`]. Its events are [`Fact`]s, its ledger is [`Records`], its inputs and
//! outside calls are [`OpaqueValue`]s, and its answer to an input is a [`Reaction`].

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use quadrille_events::{AggregateId, DecodeError, Event, EventName, Said};
use serde::{Serialize, de::DeserializeOwned};

use crate::decision::{AskError, Context, Deadline, Decision, Reads, Service, Wire};

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The name of the event.
    pub name: &'static EventName,
    /// The JSON body.
    pub body: Vec<u8>,
}

impl Fact {
    /// The event as its owner stores it.
    ///
    /// # Panics
    /// If the event is another one after encoding and decoding.
    pub fn of<E: Said>(event: &E) -> Self {
        let fact = Self {
            name: event.name(),
            body: event.encode(),
        };
        let again: E = fact.read();
        assert_eq!(
            again, *event,
            "{} is another one after encoding and decoding",
            fact.name
        );
        fact
    }

    /// The event, decoded by its name.
    ///
    /// # Panics
    /// If the body is not that of its event.
    pub fn event(&self) -> Event {
        Event::decode(self.name.service, &self.name.key(), &self.body)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", self.name))
    }

    fn read<E: Said>(&self) -> E {
        E::decode(&self.name.key(), &self.body)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", self.name))
    }
}

/// A ledger: key and JSON body of each record.
pub type Records = BTreeMap<String, Vec<u8>>;

/// Encodes the ledger of a service.
pub fn records<R: Serialize>(records: &BTreeMap<String, R>) -> Records {
    let stored = records.iter().map(|(key, record)| (key.clone(), encode(record)));
    stored.collect()
}

/// Encodes a record as JSON.
pub fn encode<R: Serialize>(record: &R) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_else(|error| unreachable!("plain data is always JSON: {error}"))
}

/// Decodes a record.
///
/// # Panics
/// If the body is not that of a record `R`.
pub fn decode<R: DeserializeOwned>(body: &[u8]) -> R {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("cannot read a record: {error}"))
}

/// An input or an outside call of a service, with its type erased. Two values are equal if their `Debug` texts are equal: both
/// are plain data.
#[derive(Clone)]
pub struct OpaqueValue(Arc<dyn Plain>);

trait Plain: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Plain for T {}

impl OpaqueValue {
    /// Erases the type of a value.
    pub fn new<T: Any + Debug + Send + Sync>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value.
    ///
    /// # Panics
    /// If the value is not a `T`, because it belongs to another service.
    pub fn get<T: Any>(&self) -> &T {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
            .unwrap_or_else(|| panic!("{self:?} is not a {}", std::any::type_name::<T>()))
    }
}

impl Debug for OpaqueValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for OpaqueValue {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// The decision of a service on an input: a [`Decision`] with its types erased.
#[derive(Clone, Debug, PartialEq)]
pub enum Reaction {
    /// One commit.
    Say {
        /// The events.
        facts: Vec<Fact>,
        /// The changes of the ledger: key and new record; `None` removes the record.
        records: Vec<(String, Option<Vec<u8>>)>,
        /// The change of the deadline.
        deadline: Deadline<Fact>,
    },
    /// Make an outside call first.
    Ask(OpaqueValue),
    /// Do nothing, for this reason.
    Ignore(&'static str),
    /// Refuse a command.
    Refuse,
}

/// The future of an outside call. Its outcome is an input.
pub type OutsideCall<'a> = Pin<Box<dyn Future<Output = Result<OpaqueValue, AskError>> + Send + 'a>>;

/// A service with its types erased.
pub trait Participant: Send + Sync {
    /// The name of the service, which is also the name of its bucket.
    fn service(&self) -> &'static str;

    /// The events that the service hears.
    fn hears(&self) -> Vec<&'static EventName>;

    /// The inputs that an event becomes: none if the service does not hear the event.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not that of the event.
    fn hear(&self, fact: &Fact) -> Result<Vec<OpaqueValue>, DecodeError>;

    /// The order (or other aggregate) that an input is about; `None` if it concerns the ledger only.
    fn about(&self, input: &OpaqueValue) -> Option<AggregateId>;

    /// Whether an input is decided on the default state without a read: see [`Service::opens`].
    fn opens(&self, input: &OpaqueValue) -> bool;

    /// The records that the decision on an input reads.
    fn reads(&self, input: &OpaqueValue) -> Reads;

    /// Decides on an input at `now`, after the service has said `said`, with the ledger `records`. The decision sees only the
    /// records that [`Participant::reads`] names.
    fn react(&self, said: &[&Fact], input: &OpaqueValue, records: &Records, now: Timestamp) -> Reaction;

    /// Makes an outside call: see [`Service::ask`].
    fn ask(&self, ask: &OpaqueValue) -> OutsideCall<'_>;
}

/// Erases the types of a service.
pub fn erase<S: Service>(service: S) -> Box<dyn Participant> {
    let wires = service.wires();
    Box::new(TypedService { service, wires })
}

/// The state of a service that has said these events.
pub fn fold<S: Service>(said: &[&Fact]) -> S::State {
    let mut state = S::State::default();
    for fact in said {
        S::fold(&mut state, &fact.read());
    }
    state
}

struct TypedService<S: Service> {
    service: S,
    wires: Vec<Wire<S::Input>>,
}

impl<S: Service> Participant for TypedService<S> {
    fn service(&self) -> &'static str {
        S::Said::SERVICE
    }

    fn hears(&self) -> Vec<&'static EventName> {
        self.wires.iter().map(|wire| wire.name).collect()
    }

    fn hear(&self, fact: &Fact) -> Result<Vec<OpaqueValue>, DecodeError> {
        let wires = self.wires.iter().filter(|wire| wire.name == fact.name);
        wires
            .map(|wire| {
                let (about, input) = wire.decode(&fact.body)?;
                assert_eq!(S::about(&input), Some(about), "the aggregate of {input:?}");
                Ok(OpaqueValue::new(input))
            })
            .collect()
    }

    fn about(&self, input: &OpaqueValue) -> Option<AggregateId> {
        S::about(input.get())
    }

    fn opens(&self, input: &OpaqueValue) -> bool {
        S::opens(input.get())
    }

    fn reads(&self, input: &OpaqueValue) -> Reads {
        S::reads(input.get())
    }

    fn react(&self, said: &[&Fact], input: &OpaqueValue, records: &Records, now: Timestamp) -> Reaction {
        let input = input.get();
        let reads = S::reads(input);
        let read = records.iter().filter(|(key, _)| reads.names(key));
        let records = read.map(|(key, body)| (key.clone(), decode(body))).collect();
        let context = Context {
            now,
            records: &records,
        };
        match S::decide(&fold::<S>(said), input, &context) {
            Decision::Say(say) => Reaction::Say {
                facts: say.events.iter().map(Fact::of).collect(),
                records: say
                    .records
                    .into_iter()
                    .map(|(key, record)| (key, record.as_ref().map(encode)))
                    .collect(),
                deadline: say.deadline.map(|says| Fact::of(&says)),
            },
            Decision::Ask(ask) => Reaction::Ask(OpaqueValue::new(ask)),
            Decision::Ignore(reason) => Reaction::Ignore(reason),
            Decision::Refuse(_) => Reaction::Refuse,
        }
    }

    fn ask(&self, ask: &OpaqueValue) -> OutsideCall<'_> {
        let ask = ask.get::<S::Ask>().clone();
        Box::pin(async { self.service.ask(ask).await.map(OpaqueValue::new) })
    }
}
