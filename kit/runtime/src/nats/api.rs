//! Requests to the JetStream API that the client library does not offer.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::nats::connection::Broker;

/// The server's code for "there is no such stream".
const STREAM_NOT_FOUND: u64 = 10059;

/// Why a read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker does not answer now, or not with what was asked for. The same read may succeed later.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// There is more than one read may bring. Waiting does not help.
    #[error("{0}")]
    TooMany(String),
}

/// Whether a stream takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamCondition {
    Writable,
    /// Somebody sealed the stream: it never takes a message again.
    Sealed,
    Missing,
}

#[derive(Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub code: u16,
    #[serde(default)]
    pub err_code: u64,
    #[serde(default)]
    pub description: String,
}

pub(crate) fn refused(what: &str, refusal: &ApiError) -> ReadError {
    let ApiError {
        description,
        err_code,
        ..
    } = refusal;
    ReadError::Unavailable(format!("asking for {what}: {description} ({err_code})"))
}

impl Broker {
    /// Sends a request to the JetStream API: `STREAM.INFO.KV_order`.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or the answer is a refusal or no `T`.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        request: &serde_json::Value,
    ) -> Result<T, ReadError> {
        let answer = self.answer(what, request).await?;
        answer.map_err(|refusal| refused(what, &refusal))
    }

    /// Whether there is a stream of this name.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) async fn is_there(&self, stream: &str) -> Result<bool, ReadError> {
        let condition = self.condition(stream).await?;
        Ok(condition != StreamCondition::Missing)
    }

    /// Whether there is a stream of this name, and takes messages.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) async fn condition(&self, stream: &str) -> Result<StreamCondition, ReadError> {
        #[derive(Deserialize)]
        struct Info {
            config: Sealing,
        }
        #[derive(Deserialize)]
        struct Sealing {
            #[serde(default)]
            sealed: bool,
        }
        let what = format!("STREAM.INFO.{stream}");
        match self.answer::<Info>(&what, &serde_json::json!({})).await? {
            Ok(info) if info.config.sealed => Ok(StreamCondition::Sealed),
            Ok(_) => Ok(StreamCondition::Writable),
            Err(ApiError {
                err_code: STREAM_NOT_FOUND,
                ..
            }) => Ok(StreamCondition::Missing),
            Err(refusal) => Err(refused(&what, &refusal)),
        }
    }

    /// The answer of the JetStream API: what was asked for, or a refusal.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        what: &str,
        request: &serde_json::Value,
    ) -> Result<Result<T, ApiError>, ReadError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: Option<ApiError>,
        }
        let failed = |error: String| ReadError::Unavailable(format!("asking for {what}: {error}"));
        let answer = self
            .client
            .request(format!("$JS.API.{what}"), request.to_string().into())
            .await
            .map_err(|error| failed(error.to_string()))?;
        // The refusal first: a `T` without required fields would match it, too.
        let refusal: Refusal =
            serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
        match refusal.error {
            Some(error) => Ok(Err(error)),
            None => serde_json::from_slice(&answer.payload)
                .map(Ok)
                .map_err(|error| failed(error.to_string())),
        }
    }
}
