//! The names of events, and how their bodies are encoded and decoded.

use std::fmt::Display;
use std::sync::Arc;

use crate::{AggregateId, AggregateKind, Order, TypedId};

/// How often the entry of an event is written, and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifetime {
    /// Written once and kept for `RETENTION`. The name of the entry is an idempotency key.
    Once,
    /// Rewritten under its revision and kept for ever. The body carries the whole state, so that a listener that hears only the
    /// newest version misses nothing.
    Latest,
}

/// The name of an event: in its owner's bucket, and on the subjects of the EVENTS log.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The service that says the event, which is also the name of the bucket: `payment`.
    pub service: &'static str,
    /// The kind of aggregate that the event is about.
    pub about: AggregateKind,
    /// The event's token in the bucket, unique per service and kind of aggregate: `reservation-failed`.
    pub entry: &'static str,
    /// The subject in the EVENTS log without the id, which is also the CloudEvents `type`: `inventory.reservation.failed`.
    pub subject: &'static str,
    /// Whether the entry is written once or rewritten.
    pub lifetime: Lifetime,
    /// The version of the body. A listener makes a dead letter of a version that it does not know.
    pub version: u32,
    /// What the event means, in a sentence or two.
    pub means: &'static str,
    /// Whether the event is meant for other programs: no participant hears it.
    pub for_outside: bool,
    /// Whether the step of an order depends on it: see [`crate::OrderFacts`].
    pub moves_orders: bool,
    /// The entry by which the same service undoes this event, if it can be undone: `refunded`.
    pub undone_by: Option<&'static str>,
}

impl EventName {
    /// The name of the entry without the id: `charged`; `item.listed` for an event about an item.
    pub fn key(&self) -> String {
        match self.about.token() {
            None => self.entry.to_owned(),
            Some(kind) => format!("{kind}.{}", self.entry),
        }
    }

    /// Whether `key` is the name of the entry without the id: `charged`, `item.listed`.
    pub fn has_key(&self, key: &str) -> bool {
        match self.about.token() {
            None => key == self.entry,
            Some(kind) => key.split_once('.') == Some((kind, self.entry)),
        }
    }

    /// The subject under which the event is stored: `$KV.payment.charged.<order_id>`, `$KV.inventory.item.listed.<item_id>`.
    pub fn stored_as(&self, id: &impl Display) -> String {
        let Self { service, entry, .. } = self;
        match self.about.token() {
            None => format!("$KV.{service}.{entry}.{id}"),
            Some(kind) => format!("$KV.{service}.{kind}.{entry}.{id}"),
        }
    }

    /// The filter for the entries of this event about all aggregates: `$KV.payment.charged.*`.
    pub fn filter(&self) -> String {
        self.stored_as(&'*')
    }

    /// The subject of the event in the EVENTS log: `payment.charged.<order_id>`, `item.listed.<item_id>`.
    pub fn heard_as(&self, id: &impl Display) -> String {
        format!("{}.{id}", self.subject)
    }

    /// The name of the entry: `charged.<order_id>`. If the entry is written once, this is the CloudEvents `id`: together with
    /// the `source` (the service) it identifies the event, and it contains nothing random.
    pub fn id(&self, id: &impl Display) -> String {
        let entry = self.entry;
        match self.about.token() {
            None => format!("{entry}.{id}"),
            Some(kind) => format!("{kind}.{entry}.{id}"),
        }
    }
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.subject)
    }
}

/// Splits the subject of an entry into service, name without id, and id: `$KV.payment.charged.42` into `payment`, `charged`,
/// `42`; `$KV.inventory.item.listed.apple` into `inventory`, `item.listed`, `apple`. `None` for a subject of another form.
/// Ledger records, schedules and dead letters can have the second form: whether it is an event, only a [`Contract`] says.
pub fn split_entry(subject: &str) -> Option<(&str, &str, &str)> {
    let (service, rest) = subject.strip_prefix("$KV.")?.split_once('.')?;
    let (key, id) = rest.rsplit_once('.')?;
    (key.split('.').count() <= 2).then_some((service, key, id))
}

/// Why a stored message is not the event that its subject names.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The contract has no event of this name.
    #[error("there is no event `{entry}` of service `{service}`")]
    UnknownEvent {
        /// The bucket that holds the entry.
        service: String,
        /// The name of the entry, without the id.
        entry: String,
    },
    /// The body is not that of the event.
    #[error("the body is no `{event}`: {}", brief(source))]
    Body {
        /// The subject of the expected event, without the id.
        event: &'static str,
        /// The error of the JSON decoder, with line and column.
        source: serde_json::Error,
    },
}

/// The most that is shown of an error of the JSON decoder, in characters: it quotes the body, which can be anything.
const MAX_PROBLEM: usize = 300;

fn brief(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    match text.char_indices().nth(MAX_PROBLEM) {
        Some((end, _)) => format!(
            "{}... at line {} column {}",
            &text[..end],
            problem.line(),
            problem.column()
        ),
        None => text,
    }
}

/// The events that one service says: an enum with a variant per event, written by [`said!`](crate::said).
pub trait Said: Clone + std::fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The service, which is also the name of its bucket.
    const SERVICE: &'static str;
    /// All events of the service.
    const NAMES: &'static [&'static EventName];

    /// The name of the event.
    fn name(&self) -> &'static EventName;
    /// The aggregate that the event is about.
    fn about(&self) -> AggregateId;
    /// The order that the event carries; `None` if it is about another kind of aggregate.
    fn order(&self) -> Option<&Arc<Order>>;
    /// The reason, if the event has one.
    fn reason(&self) -> Option<&str>;
    /// The JSON body.
    fn encode(&self) -> Vec<u8>;
    /// Decodes the body of the entry `key`, a name without the id: `charged`, `item.listed`.
    ///
    /// # Errors
    /// [`DecodeError`] if the service has no such event or the body is not that of the event.
    fn decode(key: &str, body: &[u8]) -> Result<Self, DecodeError>;
}

/// The body of one event. A listener's wires turn bodies into its inputs.
pub trait Body: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// The name of the event.
    const NAME: &'static EventName;
    /// The type of the id of the aggregate that the event is about.
    type Id: TypedId;

    /// The id of the aggregate that the event is about.
    fn id(&self) -> &Self::Id;

    /// The order that the event carries; `None` if it is about another kind of aggregate.
    fn order(&self) -> Option<&Arc<Order>> {
        None
    }

    /// Encodes the body as JSON.
    fn encode(&self) -> Vec<u8> {
        // Most bodies are shorter; growing to this size would take five allocations.
        let mut encoded = Vec::with_capacity(512);
        match serde_json::to_writer(&mut encoded, self) {
            Ok(()) => encoded,
            Err(error) => unreachable!("{}: plain data is always JSON: {error}", Self::NAME),
        }
    }

    /// Decodes a JSON body.
    ///
    /// # Errors
    /// [`DecodeError::Body`] with the error of the JSON decoder.
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(body).map_err(|source| DecodeError::Body {
            event: Self::NAME.subject,
            source,
        })
    }
}

/// A service and its events.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The service, which is also the name of its bucket.
    pub service: &'static str,
    /// All events of the service.
    pub events: &'static [&'static EventName],
}

impl Owner {
    /// The owner of the events `S`.
    pub const fn of<S: Said>() -> Self {
        Self {
            service: S::SERVICE,
            events: S::NAMES,
        }
    }
}

/// The services of a choreography and their events: which buckets there are, and which events each of them holds.
#[derive(Clone, Copy, Debug)]
pub struct Contract(&'static [Owner]);

impl Contract {
    /// The contract of these services.
    pub const fn new(owners: &'static [Owner]) -> Self {
        Self(owners)
    }

    /// The services, each with its events.
    pub const fn owners(self) -> &'static [Owner] {
        self.0
    }

    /// The services, each the owner of one bucket.
    pub fn services(self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|owner| owner.service)
    }

    /// All events, service by service.
    pub fn names(self) -> impl Iterator<Item = &'static EventName> {
        self.0.iter().flat_map(|owner| owner.events).copied()
    }

    /// The event that is stored under this subject, and the id of its aggregate: `payment.charged` and `42` for
    /// `$KV.payment.charged.42`. `None` if the contract has no such event.
    pub fn stored(self, subject: &str) -> Option<(&'static EventName, &str)> {
        let (service, key, id) = split_entry(subject)?;
        let mut names = self.names();
        let name = names.find(|name| name.service == service && name.has_key(key))?;
        Some((name, id))
    }

    /// The event that `service` says under this subject (without the id). Two services may use one subject: `cancel-payment`.
    pub fn said(self, service: &str, subject: &str) -> Option<&'static EventName> {
        self.names()
            .find(|name| name.service == service && name.subject == subject)
    }
}

/// The JSON schema of an event's body.
#[cfg(feature = "schema")]
pub struct BodySchema {
    /// The event.
    pub event: &'static EventName,
    /// The name of the schema among the components.
    pub name: String,
    /// The schema and all schemas that it refers to.
    pub components: Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
}

#[cfg(feature = "schema")]
impl BodySchema {
    /// The schema of the body `B`.
    pub fn of<B: Body + utoipa::ToSchema>() -> Self {
        let name = B::name().into_owned();
        let mut components = vec![(name.clone(), B::schema())];
        B::schemas(&mut components);
        Self {
            event: B::NAME,
            name,
            components,
        }
    }
}

/// Declares the enum of a service's events from one line per event: `Variant(Body) = "entry" => "subject"`, followed by any
/// of these, in this order:
///
/// - `about field: Id`, if the event is not about an order: the body's field that holds the id, and the type of that id;
/// - `as latest`, if the entry is rewritten ([`Lifetime::Latest`]);
/// - `with reason`, if the body has a field `reason`;
/// - `for outside`, if no participant hears the event;
/// - `beside orders`, if the event carries an order and no order's step depends on it;
/// - `undone by "entry"`, if another event of the service undoes this one. The map's tests compare the last two with what the
///   services do.
///
/// The body of an event about an order has the field `order: Arc<Order>`.
#[macro_export]
macro_rules! said {
    (@reason $body:ident) => {{
        let _ = $body;
        None
    }};
    (@reason $body:ident $reason:ident) => { Some(&$body.$reason) };
    (@is) => { false };
    (@is outside) => { true };
    (@moves $body:ident) => {
        <<$body as $crate::Body>::Id as $crate::TypedId>::KIND.token().is_none()
    };
    (@moves $body:ident orders) => { false };
    (@maybe) => { None };
    (@maybe $entry:literal) => { Some($entry) };
    (@lifetime) => { $crate::Lifetime::Once };
    (@lifetime latest) => { $crate::Lifetime::Latest };
    (@about) => {
        type Id = $crate::OrderId;

        fn id(&self) -> &$crate::OrderId {
            &self.order.order_id
        }

        fn order(&self) -> Option<&::std::sync::Arc<$crate::Order>> {
            Some(&self.order)
        }
    };
    (@about $field:ident $id:ident) => {
        type Id = $id;

        fn id(&self) -> &$id {
            &self.$field
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident by $service:literal {
            $(
                $(#[doc = $means:literal])*
                $variant:ident($body:ident) = $entry:literal => $subject:literal
                    $(about $field:ident: $id:ident)? $(as $lifetime:ident)?
                    $(with $reason:ident)? $(for $outside:ident)? $(beside $orders:ident)?
                    $(undone by $undone_by:literal)?
            ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $( $(#[doc = $means])* $variant($body) ),+ }

        impl $crate::Said for $name {
            const SERVICE: &'static str = $service;
            const NAMES: &'static [&'static $crate::EventName] = &[ $( <$body as $crate::Body>::NAME ),+ ];

            fn name(&self) -> &'static $crate::EventName {
                match self { $( Self::$variant(_) => <$body as $crate::Body>::NAME ),+ }
            }

            fn about(&self) -> $crate::AggregateId {
                match self { $( Self::$variant(body) => $crate::TypedId::aggregate($crate::Body::id(body)) ),+ }
            }

            fn order(&self) -> Option<&::std::sync::Arc<$crate::Order>> {
                match self { $( Self::$variant(body) => $crate::Body::order(body) ),+ }
            }

            fn reason(&self) -> Option<&str> {
                match self { $( Self::$variant(body) => $crate::said!(@reason body $($reason)?) ),+ }
            }

            fn encode(&self) -> Vec<u8> {
                match self { $( Self::$variant(body) => $crate::Body::encode(body) ),+ }
            }

            fn decode(key: &str, body: &[u8]) -> Result<Self, $crate::DecodeError> {
                $(
                    if <$body as $crate::Body>::NAME.has_key(key) {
                        return <$body as $crate::Body>::decode(body).map(Self::$variant);
                    }
                )+
                Err($crate::DecodeError::UnknownEvent {
                    service: $service.to_owned(),
                    entry: key.to_owned(),
                })
            }
        }

        $crate::__schemas! { $name $($body)+ }

        $(
            impl $crate::Body for $body {
                const NAME: &'static $crate::EventName = &$crate::EventName {
                    service: $service,
                    about: <<$body as $crate::Body>::Id as $crate::TypedId>::KIND,
                    entry: $entry,
                    subject: $subject,
                    lifetime: $crate::said!(@lifetime $($lifetime)?),
                    version: 1,
                    means: concat!($($means),*).trim_ascii_start(),
                    for_outside: $crate::said!(@is $($outside)?),
                    moves_orders: $crate::said!(@moves $body $($orders)?),
                    undone_by: $crate::said!(@maybe $($undone_by)?),
                };

                $crate::said! { @about $($field $id)? }
            }

            impl From<$body> for $name {
                fn from(body: $body) -> Self {
                    Self::$variant(body)
                }
            }
        )+
    };
}

/// The schemas of a service's events, where schemas are generated.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __schemas {
    ($name:ident $($body:ident)+) => {
        impl $name {
            /// The schema of every body, and of all that it refers to.
            pub fn schemas() -> Vec<$crate::BodySchema> {
                vec![ $( $crate::BodySchema::of::<$body>() ),+ ]
            }
        }
    };
}

#[cfg(not(feature = "schema"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __schemas {
    ($name:ident $($body:ident)+) => {};
}

/// Declares [`Event`](crate::Event) from one line per service: `Variant(EnumOfItsEvents)`.
macro_rules! events {
    ( $( $(#[$doc:meta])* $variant:ident($said:ident) ),+ $(,)? ) => {
        /// Any event of the contract, by the service that says it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $( $(#[$doc])* $variant($said) ),+ }

        impl Event {
            /// The services, each the owner of one bucket.
            pub const SERVICES: [&'static str; [$( $said::SERVICE ),+].len()] = [ $( $said::SERVICE ),+ ];

            /// All events, in the order of the files.
            pub fn names() -> impl Iterator<Item = &'static EventName> {
                Self::CONTRACT.names()
            }

            /// The services and their events.
            pub const CONTRACT: Contract = Contract::new(&[ $( Owner::of::<$said>() ),+ ]);

            /// Decodes the body of the entry `$KV.<service>.<key>.<id>`: `charged`, `item.listed`.
            ///
            /// # Errors
            /// [`DecodeError`] if no such event exists or the body is not that of the event.
            pub fn decode(service: &str, key: &str, body: &[u8]) -> Result<Self, DecodeError> {
                match service {
                    $( $said::SERVICE => $said::decode(key, body).map(Self::$variant), )+
                    unknown => Err(DecodeError::UnknownEvent {
                        service: unknown.to_owned(),
                        entry: key.to_owned(),
                    }),
                }
            }

            /// The JSON body.
            pub fn encode(&self) -> Vec<u8> {
                match self { $( Self::$variant(said) => said.encode() ),+ }
            }

            /// The name of the event.
            pub fn name(&self) -> &'static EventName {
                match self { $( Self::$variant(said) => said.name() ),+ }
            }

            /// The aggregate that the event is about.
            pub fn about(&self) -> AggregateId {
                match self { $( Self::$variant(said) => said.about() ),+ }
            }

            /// The order that the event carries; `None` if it is about another kind of aggregate.
            pub fn order(&self) -> Option<&std::sync::Arc<Order>> {
                match self { $( Self::$variant(said) => said.order() ),+ }
            }

            /// The reason, if the event has one.
            pub fn reason(&self) -> Option<&str> {
                match self { $( Self::$variant(said) => said.reason() ),+ }
            }

            /// The schema of every body, and of all that it refers to.
            #[cfg(feature = "schema")]
            pub fn schemas() -> Vec<BodySchema> {
                [ $( $said::schemas() ),+ ].into_iter().flatten().collect()
            }
        }
    };
}
pub(crate) use events;
