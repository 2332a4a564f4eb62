//! Names of events, and the one way of reading and writing their bodies.

use std::sync::Arc;

use crate::{Order, OrderId};

/// What an event is called: in its owner's bucket and to the outside.
#[derive(Debug, PartialEq, Eq, Hash)]
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
    #[error("the body is no `{event}`: {source}")]
    Body {
        /// What it should have been.
        event: &'static str,
        /// What JSON decoding had to say, with line and column.
        source: serde_json::Error,
    },
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
        serde_json::from_slice(body)
            .map_err(|source| DecodeError::Body { event: Self::NAME.subject, source })
    }
}

/// Writes the enum of everything a service says from one line per event:
/// `Variant(Body) = "entry" => "subject"`.
macro_rules! said {
    (
        $(#[$doc:meta])*
        $name:ident by $service:literal {
            $( $(#[$event_doc:meta])* $variant:ident($body:ident) = $entry:literal => $subject:literal ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $( $(#[$event_doc])* $variant($body) ),+ }

        impl $crate::Said for $name {
            const SERVICE: &'static str = $service;
            const NAMES: &'static [&'static $crate::EventName] = &[ $( <$body as $crate::Body>::NAME ),+ ];

            fn name(&self) -> &'static $crate::EventName {
                match self { $( Self::$variant(_) => <$body as $crate::Body>::NAME ),+ }
            }

            fn order(&self) -> &std::sync::Arc<$crate::Order> {
                match self { $( Self::$variant(body) => &body.order ),+ }
            }

            fn encode(&self) -> Vec<u8> {
                let encoded = match self { $( Self::$variant(body) => serde_json::to_vec(body) ),+ };
                encoded.unwrap_or_else(|error| unreachable!("{}: plain data is always JSON: {error}", $service))
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

        $(
            impl $crate::Body for $body {
                const NAME: &'static $crate::EventName =
                    &$crate::EventName { service: $service, entry: $entry, subject: $subject, version: 1 };

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
