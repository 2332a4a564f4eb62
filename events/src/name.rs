//! Names of events, and the one way of reading and writing their bodies.

use std::sync::Arc;

use crate::{Order, OrderId};

/// What an event is called: in its owner's bucket and to the outside.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The service that says it, and the name of its bucket: `payment`.
    pub service: &'static str,
    /// Its token in the bucket, one per event: `reservation-failed`.
    pub entry: &'static str,
    /// Its subject in the EVENTS log without the order id, and its CloudEvents `type`:
    /// `inventory.reservation.failed`.
    pub subject: &'static str,
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
    /// The subject under which it is stored: `$KV.payment.charged.<order_id>`.
    pub fn stored_as(&self, order_id: &OrderId) -> String {
        format!("$KV.{}.{}.{order_id}", self.service, self.entry)
    }

    /// The filter for all orders' entries of this event: `$KV.payment.charged.*`.
    pub fn filter(&self) -> String {
        format!("$KV.{}.{}.*", self.service, self.entry)
    }

    /// The subject under which the EVENTS log shows it: `payment.charged.<order_id>`.
    pub fn heard_as(&self, order_id: &OrderId) -> String {
        format!("{}.{order_id}", self.subject)
    }

    /// Its CloudEvents `id`, which is the name of its entry: `charged.<order_id>`. Together with the `source` (the
    /// service) it names this one event for ever; nothing is drawn at random.
    pub fn id(&self, order_id: &OrderId) -> String {
        format!("{}.{order_id}", self.entry)
    }
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.subject)
    }
}

/// Why a stored message is not the event that its name promises.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The name is none of the contract's.
    #[error("there is no event `{entry}` of service `{service}`")]
    UnknownEvent {
        /// The bucket it was found in.
        service: String,
        /// The token it was found under.
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

    /// What it is called.
    fn name(&self) -> &'static EventName;
    /// The order it is about.
    fn order(&self) -> &Arc<Order>;
    /// Why, if it gives a reason.
    fn reason(&self) -> Option<&str>;
    /// Its JSON body.
    fn encode(&self) -> Vec<u8>;
    /// Reads a body back by the token it is stored under.
    ///
    /// # Errors
    /// [`DecodeError`] if the service has no such event or the body is not one.
    fn decode(entry: &str, body: &[u8]) -> Result<Self, DecodeError>;
}

/// The body of one event: what a listener wires to an input of its own.
pub trait Body: serde::de::DeserializeOwned + Send + Sync + 'static {
    /// What the event is called.
    const NAME: &'static EventName;
    /// The order it is about.
    fn order(&self) -> &Arc<Order>;

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError::Body`] says what JSON decoding had to say.
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(body).map_err(|source| DecodeError::Body {
            event: Self::NAME.subject,
            source,
        })
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
    pub(crate) fn of<B: Body + utoipa::ToSchema>() -> Self {
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

/// Writes the enum of everything a service says from one line per event:
/// `Variant(Body) = "entry" => "subject"`, after which may stand `with reason`, if the body has that field, `for outside`, if
/// no participant has to hear it, and `undone by "entry"`, if it takes something. The map's tests hold the last two against
/// what the services do.
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
    (
        $(#[$doc:meta])*
        $name:ident by $service:literal {
            $(
                $(#[doc = $means:literal])*
                $variant:ident($body:ident) = $entry:literal => $subject:literal
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

            fn order(&self) -> &std::sync::Arc<$crate::Order> {
                match self { $( Self::$variant(body) => &body.order ),+ }
            }

            fn reason(&self) -> Option<&str> {
                match self { $( Self::$variant(body) => $crate::name::said!(@reason body $($reason)?) ),+ }
            }

            fn encode(&self) -> Vec<u8> {
                // Most orders are shorter; growing to this would be five allocations.
                let mut encoded = Vec::with_capacity(512);
                let written = match self { $( Self::$variant(body) => serde_json::to_writer(&mut encoded, body) ),+ };
                match written {
                    Ok(()) => encoded,
                    Err(error) => unreachable!("{}: plain data is always JSON: {error}", $service),
                }
            }

            fn decode(entry: &str, body: &[u8]) -> Result<Self, $crate::DecodeError> {
                match entry {
                    $( $entry => <$body as $crate::Body>::decode(body).map(Self::$variant), )+
                    unknown => Err($crate::DecodeError::UnknownEvent {
                        service: $service.to_owned(),
                        entry: unknown.to_owned(),
                    }),
                }
            }
        }

        #[cfg(feature = "schema")]
        impl $name {
            /// The schema of every body, and of all that it refers to.
            pub fn schemas() -> Vec<$crate::BodySchema> {
                vec![ $( $crate::BodySchema::of::<$body>() ),+ ]
            }
        }

        $(
            impl $crate::Body for $body {
                const NAME: &'static $crate::EventName = &$crate::EventName {
                    service: $service,
                    entry: $entry,
                    subject: $subject,
                    version: 1,
                    means: concat!($($means),*).trim_ascii_start(),
                    for_outside: $crate::name::said!(@is $($outside)?),
                    undone_by: $crate::name::said!(@maybe $($undone_by)?),
                };

                fn order(&self) -> &std::sync::Arc<$crate::Order> {
                    &self.order
                }
            }

            impl From<$body> for $name {
                fn from(body: $body) -> Self {
                    Self::$variant(body)
                }
            }
        )+
    };
}
pub(crate) use said;

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
                [ $( $said::NAMES ),+ ].into_iter().flatten().copied()
            }

            /// Decodes the body of the entry `$KV.<service>.<entry>.<order_id>`.
            ///
            /// # Errors
            /// [`DecodeError`] if no such event exists or the body is not one.
            pub fn decode(service: &str, entry: &str, body: &[u8]) -> Result<Self, DecodeError> {
                match service {
                    $( $said::SERVICE => $said::decode(entry, body).map(Self::$variant), )+
                    unknown => Err(DecodeError::UnknownEvent {
                        service: unknown.to_owned(),
                        entry: entry.to_owned(),
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

            /// The order it is about.
            pub fn order(&self) -> &std::sync::Arc<Order> {
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
