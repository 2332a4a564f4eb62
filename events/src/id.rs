//! Ids. Each id is one token of a NATS subject, so that subjects can contain it. The type of an aggregate's id also gives the
//! kind of the aggregate.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The longest id, in bytes. A subject contains at most two ids beside short names.
pub const MAX_ID: usize = 64;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than [`MAX_ID`] bytes.
    #[error("must be at most {MAX_ID} bytes long")]
    TooLong,
    /// The text contains a character other than `A-Z a-z 0-9 - _`: it could not be a token of a NATS subject, or would need
    /// quoting in a shell or URL.
    #[error("must be letters, digits, `-` and `_` only (it becomes a token of a NATS subject), not {0:?}")]
    Character(char),
}

impl IdError {
    /// Checks that a text is one token of a NATS subject, and not too long.
    #[doc(hidden)]
    pub fn check(text: &str) -> Result<(), Self> {
        check(text)
    }
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID {
        return Err(IdError::TooLong);
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_'))
    {
        Some(other) => Err(IdError::Character(other)),
        None => Ok(()),
    }
}

/// The kind of an aggregate, by name. For every kind but the order, the kind is one more token in the names of its entries
/// (`$KV.inventory.item.listed.<item_id>`), so that no filter matches ids of two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateKind(&'static str);

impl AggregateKind {
    /// The order, the kind that most events are about. The names of its entries do not contain the kind:
    /// `$KV.payment.charged.<order_id>`.
    pub const ORDER: Self = Self("order");

    /// The kind with this name, which must be one token of a NATS subject: `item`. Not allowed are `order`, `schedule`,
    /// `dead-letter` and the first token of any ledger key (`stock`, `courier`).
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name: `order`, `item`.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// The token before the event's own in the name of an entry; `None` for an order.
    pub const fn token(self) -> Option<&'static str> {
        match self.0.as_bytes() {
            b"order" => None,
            _ => Some(self.0),
        }
    }
}

impl fmt::Display for AggregateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// A typed id of an aggregate: an [`OrderId`], or a type that a participant declares with
/// [`aggregate_id!`](crate::aggregate_id).
pub trait TypedId:
    Clone + fmt::Debug + fmt::Display + Eq + Ord + Hash + FromStr<Err = IdError> + Send + Sync + 'static
{
    /// The kind of aggregate that ids of this type name.
    const KIND: AggregateKind;

    /// The same id without the static type.
    fn aggregate(&self) -> AggregateId;
}

/// The id of an aggregate of any kind: the kind and the id. Displayed as the id alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AggregateId {
    kind: AggregateKind,
    id: Arc<str>,
}

impl Hash for AggregateId {
    /// Hashes the id alone: two kinds rarely have the same id, and hashing the kind costs as much as hashing a short id.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl AggregateId {
    /// The id `text` of an aggregate of this kind. `text` must be one token of a NATS subject.
    ///
    /// # Errors
    /// [`IdError`] says what is wrong with the text.
    pub fn new(kind: AggregateKind, text: &str) -> Result<Self, IdError> {
        check(text)?;
        Ok(Self {
            kind,
            id: text.into(),
        })
    }

    #[doc(hidden)]
    pub fn of_checked(kind: AggregateKind, id: &Arc<str>) -> Self {
        Self { kind, id: id.clone() }
    }

    /// The kind of aggregate.
    pub fn kind(&self) -> AggregateKind {
        self.kind
    }

    /// The id, without its kind.
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// The order id; `None` if the aggregate is not an order.
    pub fn order_id(&self) -> Option<OrderId> {
        (self.kind == AggregateKind::ORDER).then(|| OrderId(self.id.clone()))
    }

    /// The id, preceded by the kind if entry names contain it: `42`, `item.apple`.
    pub fn tokens(&self) -> String {
        match self.kind.token() {
            None => self.id.as_ref().to_owned(),
            Some(kind) => format!("{kind}.{}", self.id),
        }
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// Declares a type of id: 1 to [`MAX_ID`] bytes of `A-Z a-z 0-9 - _`.
#[doc(hidden)]
#[macro_export]
macro_rules! __id {
    ($(#[doc = $means:literal])* $name:ident) => {
        $(#[doc = $means])*
        ///
        /// 1 to 64 bytes of `A-Z a-z 0-9 - _`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(::std::sync::Arc<str>);

        impl $name {
            /// The id `text`, which must be one token of a NATS subject.
            ///
            /// # Errors
            /// [`IdError`]($crate::IdError) says what is wrong with the text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::IdError> {
                $crate::IdError::check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $crate::macro_support::Serialize for $name {
            fn serialize<S: $crate::macro_support::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::macro_support::Deserialize<'de> for $name {
            fn deserialize<D: $crate::macro_support::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::macro_support::IdVisitor::default())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::IdError;
            fn from_str(text: &str) -> Result<Self, $crate::IdError> {
                Self::new(text)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        $crate::__id_schema! { $name $($means)* }
    };
}

/// The schema of an id, where schemas are generated.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __id_schema {
    ($name:ident $($means:literal)*) => {
        impl $crate::macro_support::utoipa::PartialSchema for $name {
            fn schema() -> $crate::macro_support::utoipa::openapi::RefOr<$crate::macro_support::utoipa::openapi::schema::Schema> {
                $crate::macro_support::id_schema(concat!($($means),*), $crate::MAX_ID)
            }
        }

        impl $crate::macro_support::utoipa::ToSchema for $name {}
    };
}

#[cfg(not(feature = "schema"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __id_schema {
    ($name:ident $($means:literal)*) => {};
}

/// Declares the type of an aggregate's id and its kind: `aggregate_id! { /// The id of a gift card. CardId of "card" }`.
#[macro_export]
macro_rules! aggregate_id {
    ($(#[doc = $means:literal])* $name:ident of $kind:expr) => {
        $crate::__id! { $(#[doc = $means])* $name }

        impl $crate::TypedId for $name {
            const KIND: $crate::AggregateKind = $crate::AggregateKind::new($kind);

            fn aggregate(&self) -> $crate::AggregateId {
                $crate::AggregateId::of_checked(Self::KIND, &self.0)
            }
        }
    };
}

aggregate_id! {
    /// The id of an order: the last token of every subject about it.
    OrderId of "order"
}
__id! {
    /// The id of a customer.
    CustomerId
}
aggregate_id! {
    /// The id of an item of the shop.
    ItemId of "item"
}
__id! {
    /// A tag of an item, by which a list is filtered.
    Tag
}
__id! {
    /// The id of a courier.
    CourierId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_subject_token() {
        assert!(OrderId::new("0190b5d4-7c1e_x").is_ok());
        assert_eq!(OrderId::new(""), Err(IdError::Empty));
        assert_eq!(OrderId::new("a.b"), Err(IdError::Character('.')));
        assert_eq!(OrderId::new("*"), Err(IdError::Character('*')));
        assert_eq!(OrderId::new("a b"), Err(IdError::Character(' ')));
        assert_eq!(OrderId::new("x".repeat(65)), Err(IdError::TooLong));
    }
}
