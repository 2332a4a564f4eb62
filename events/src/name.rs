//! Names of events, and the one way of reading and writing their bodies.

use std::fmt::Display;
use std::sync::Arc;

use crate::{AggregateId, AggregateKind, Order, TypedId};

/// How often the entry of an event is written, and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifetime {
    /// Created, and never written again; kept for `RETENTION`. The event is an idempotency key.
    Once,
    /// Rewritten under its revision, and kept for ever. Its body carries the whole state, so that a listener that hears only the
    /// newest has missed nothing.
    Latest,
}

/// What an event is called: in its owner's bucket and on plain subjects.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The service that says it, and the name of its bucket: `payment`.
    pub service: &'static str,
    /// The kind of aggregate that it is about.
    pub about: AggregateKind,
    /// Its token in the bucket, one per event and kind: `reservation-failed`.
    pub entry: &'static str,
    /// Its subject in the EVENTS log without the id, and its CloudEvents `type`: `inventory.reservation.failed`.
    pub subject: &'static str,
    /// Whether its entry is written once, or rewritten.
    pub lifetime: Lifetime,
    /// The version of its body. A listener parks versions that it does not know.
    pub version: u32,
    /// What it means, in a sentence.
    pub means: &'static str,
    /// Whether it is a fact for the outside: no participant has to hear it.
    pub for_outside: bool,
    /// The entry by which the same service gives back what this event takes, if it takes something.
    pub undone_by: Option<&'static str>,
}

impl EventName {
    /// Its name in the bucket, without the id: `charged`, and `item.listed` where it is about an item.
    pub fn key(&self) -> String {
        match self.about.token() {
            None => self.entry.to_owned(),
            Some(kind) => format!("{kind}.{}", self.entry),
        }
    }

    /// Whether it is stored under this name (without the id): `charged`, `item.listed`.
    pub fn has_key(&self, key: &str) -> bool {
        match self.about.token() {
            None => key == self.entry,
            Some(kind) => key.split_once('.') == Some((kind, self.entry)),
        }
    }

    /// The subject under which it is stored: `$KV.payment.charged.<order_id>`, `$KV.inventory.item.listed.<item_id>`.
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

    /// The subject under which the EVENTS log shows it: `payment.charged.<order_id>`, `item.listed.<item_id>`.
    pub fn heard_as(&self, id: &impl Display) -> String {
        format!("{}.{id}", self.subject)
    }

    /// The name of its entry: `charged.<order_id>`. Its CloudEvents `id`, if the entry is written once: together with the
    /// `source` (the service) it names this one event for ever, and nothing in it is random.
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

/// The name of an entry, split: `$KV.payment.charged.42` is `payment`, `charged`, `42`; `$KV.inventory.item.listed.apple` is
/// `inventory`, `item.listed`, `apple`. `None` for what has another shape; ledger records, schedules and dead letters can have
/// the second shape, so only a [`Contract`] knows whether it is an event.
pub fn split_entry(subject: &str) -> Option<(&str, &str, &str)> {
    let (service, rest) = subject.strip_prefix("$KV.")?.split_once('.')?;
    let (key, id) = rest.rsplit_once('.')?;
    (key.split('.').count() <= 2).then_some((service, key, id))
}

/// Why a stored message is not the event that its name promises.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The name is none of the contract's.
    #[error("there is no event `{entry}` of service `{service}`")]
    UnknownEvent {
        /// The bucket it was found in.
        service: String,
        /// The name it was found under, without the id.
        entry: String,
    },
    /// The body does not fit the name.
    #[error("the body is no `{event}`: {}", brief(source))]
    Body {
        /// What it should have been.
        event: &'static str,
        /// What JSON decoding had to say, with line and column.
        source: serde_json::Error,
    },
}

/// The most that is repeated of what JSON decoding had to say, in characters: it quotes the body, which may be anything.
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

/// Everything that one service says: an enum with a variant per event.
pub trait Said: Clone + std::fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The service, and the name of its bucket.
    const SERVICE: &'static str;
    /// All its events.
    const NAMES: &'static [&'static EventName];

    /// What the event is called.
    fn name(&self) -> &'static EventName;
    /// The aggregate that it is about.
    fn about(&self) -> AggregateId;
    /// The order that it carries, if it is about one.
    fn order(&self) -> Option<&Arc<Order>>;
    /// Why, if it gives a reason.
    fn reason(&self) -> Option<&str>;
    /// Its JSON body.
    fn encode(&self) -> Vec<u8>;
    /// Reads a body back by the name that it is stored under, without the id: `charged`, `item.listed`.
    ///
    /// # Errors
    /// [`DecodeError`] if the service has no such event or the body is not one.
    fn decode(key: &str, body: &[u8]) -> Result<Self, DecodeError>;
}

/// The body of one event: what a listener wires to an input of its own.
pub trait Body: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// What the event is called.
    const NAME: &'static EventName;
    /// The type of the id of what it is about.
    type Id: TypedId;

    /// The id of what it is about.
    fn id(&self) -> &Self::Id;

    /// The order that it carries, if it is about one.
    fn order(&self) -> Option<&Arc<Order>> {
        None
    }

    /// Writes it as JSON.
    fn encode(&self) -> Vec<u8> {
        // Most orders are shorter; growing to this size would take five allocations.
        let mut encoded = Vec::with_capacity(512);
        match serde_json::to_writer(&mut encoded, self) {
            Ok(()) => encoded,
            Err(error) => unreachable!("{}: plain data is always JSON: {error}", Self::NAME),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError::Body`] repeats what JSON decoding reported.
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(body).map_err(|source| DecodeError::Body {
            event: Self::NAME.subject,
            source,
        })
    }
}

/// A service and all its events.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The service, and the name of its bucket.
    pub service: &'static str,
    /// Its events.
    pub events: &'static [&'static EventName],
}

impl Owner {
    /// The owner of everything that `S` says.
    pub const fn of<S: Said>() -> Self {
        Self {
            service: S::SERVICE,
            events: S::NAMES,
        }
    }
}

/// The services of a choreography, and all that they say: which buckets there are, and which events are in them.
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

    /// Every event there is.
    pub fn names(self) -> impl Iterator<Item = &'static EventName> {
        self.0.iter().flat_map(|owner| owner.events).copied()
    }

    /// The event that is stored under this subject, and the id that it is about: `$KV.payment.charged.42`. `None` if the
    /// contract has no such event.
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
    /// Whose.
    pub event: &'static EventName,
    /// What it is called among the components.
    pub name: String,
    /// It, and what it refers to.
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

/// Writes the enum of everything a service says from one line per event: `Variant(Body) = "entry" => "subject"`, after which
/// may stand, in this order:
///
/// - `about field: Id`, if it is not about an order: the body's field that holds the id, and the type of that id;
/// - `as latest`, if its entry is rewritten ([`Lifetime::Latest`]);
/// - `with reason`, if the body has that field;
/// - `for outside`, if no participant has to hear it;
/// - `undone by "entry"`, if it takes something. The map's tests hold the last two against what the services do.
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
                    $(with $reason:ident)? $(for $outside:ident)? $(undone by $undone_by:literal)?
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

/// The schemas of everything a service says, where schemas are generated.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __schemas {
    ($name:ident $($body:ident)+) => {
        impl $name {
            /// The schema of every body, and of everything that it refers to.
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

/// Writes [`Event`](crate::Event) from one line per service: `Variant(EnumOfAllItSays)`.
macro_rules! events {
    ( $( $(#[$doc:meta])* $variant:ident($said:ident) ),+ $(,)? ) => {
        /// Any event of the choreography, by the service that says it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $( $(#[$doc])* $variant($said) ),+ }

        impl Event {
            /// The services that say something, each the owner of one bucket.
            pub const SERVICES: [&'static str; [$( $said::SERVICE ),+].len()] = [ $( $said::SERVICE ),+ ];

            /// Every event there is, in the order of the files.
            pub fn names() -> impl Iterator<Item = &'static EventName> {
                Self::CONTRACT.names()
            }

            /// The services and all that they say.
            pub const CONTRACT: Contract = Contract::new(&[ $( Owner::of::<$said>() ),+ ]);

            /// Decodes the body of the entry `$KV.<service>.<key>.<id>`: `charged`, `item.listed`.
            ///
            /// # Errors
            /// [`DecodeError`] if no such event exists or the body is not one.
            pub fn decode(service: &str, key: &str, body: &[u8]) -> Result<Self, DecodeError> {
                match service {
                    $( $said::SERVICE => $said::decode(key, body).map(Self::$variant), )+
                    unknown => Err(DecodeError::UnknownEvent {
                        service: unknown.to_owned(),
                        entry: key.to_owned(),
                    }),
                }
            }

            /// Its JSON body.
            pub fn encode(&self) -> Vec<u8> {
                match self { $( Self::$variant(said) => said.encode() ),+ }
            }

            /// What it is called.
            pub fn name(&self) -> &'static EventName {
                match self { $( Self::$variant(said) => said.name() ),+ }
            }

            /// The aggregate that it is about.
            pub fn about(&self) -> AggregateId {
                match self { $( Self::$variant(said) => said.about() ),+ }
            }

            /// The order that it carries, if it is about one.
            pub fn order(&self) -> Option<&std::sync::Arc<Order>> {
                match self { $( Self::$variant(said) => said.order() ),+ }
            }

            /// Why, for those that give a reason.
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
