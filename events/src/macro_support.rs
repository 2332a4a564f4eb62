//! Items of this and other crates that the exported macros use.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::de;

pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[cfg(feature = "schema")]
pub use utoipa;

/// Deserializes an id from the borrowed text, without a copy.
#[derive(Debug)]
pub struct IdVisitor<T>(std::marker::PhantomData<T>);

impl<T> Default for IdVisitor<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: FromStr<Err: Display>> de::Visitor<'_> for IdVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The schema of every id.
#[cfg(feature = "schema")]
pub fn id_schema(means: &str, max_length: usize) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .description(Some(means.trim_start()))
        .min_length(Some(1))
        .max_length(Some(max_length))
        .pattern(Some("^[A-Za-z0-9_-]+$"))
        .into()
}
