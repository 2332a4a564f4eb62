//! Ids. Each is one token of a NATS subject, so that it can be part of a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest id, in bytes. A subject holds at most two of them beside short names.
pub const MAX_ID: usize = 64;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It is longer than [`MAX_ID`] bytes.
    #[error("must be at most {MAX_ID} bytes long")]
    TooLong,
    /// It holds a character that cannot stand in a subject token, or that not every tool can type.
    #[error("must be letters, digits, `-` and `_` only (it becomes a token of a NATS subject), not {0:?}")]
    Character(char),
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

/// Reads an id from where it stands, without a copy of the text between.
struct Parsed<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = IdError>> de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! id {
    ($(#[doc = $means:literal])* $name:ident) => {
        $(#[doc = $means])*
        ///
        /// 1 to [`MAX_ID`] bytes of `A-Z a-z 0-9 - _`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes a text that is one subject token.
            ///
            /// # Errors
            /// [`IdError`] says what is wrong with it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Parsed(std::marker::PhantomData))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(concat!($($means),*).trim_ascii_start()))
                    .min_length(Some(1))
                    .max_length(Some(MAX_ID))
                    .pattern(Some("^[A-Za-z0-9_-]+$"))
                    .into()
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Which order: the last token of every subject.
    OrderId
}
id! {
    /// Whose order.
    CustomerId
}
id! {
    /// Which article of the shop.
    ItemId
}
id! {
    /// Which courier.
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
