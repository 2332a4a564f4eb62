//! Objects: values larger than a message, each named by the digest of its bytes, in a bucket of a JetStream Object Store (ADR-20).
//!
//! The client library writes an object, so every client of object stores can read it (`nats object get`). Reading, listing and removing
//! are done here: the library makes a consumer for each object that it reads, waits for ever for a chunk that is missing, and deletes
//! whichever version of an object is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use async_nats::jetstream::object_store::{self, ObjectMetadata};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tracing::debug;

use crate::nats::api::{ApiError, ReadError};
use crate::nats::connection::Broker;
use crate::nats::message::StoredMessage;
use crate::nats::read::MAX_MULTI_GET;
use crate::nats::streams::ensure_stream;

/// How long storing an object may take. An upload that takes longer has failed, and its chunks may be removed.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an object is read whose bytes are not those of its digest: it may have been stored again meanwhile, and a follower may be
/// behind.
const GET_TRIES: u32 = 5;

/// The name under which the metadata of an object has its media type.
const MEDIA_TYPE: &str = "content-type";

/// What is known of an object without reading its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The SHA-256 digest of the bytes, in hexadecimal digits: the name of the object.
    pub digest: String,
    /// The media type that the object was stored with: `image/png`.
    pub media_type: String,
    /// The number of bytes.
    pub size: u64,
}

/// An object that was read.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// What is known of it.
    pub info: ObjectInfo,
    /// Its bytes; their digest is that of the info.
    pub bytes: Bytes,
}

/// Why an object is not stored or not read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The broker does not answer now. The same request may succeed later.
    #[error(transparent)]
    Unavailable(#[from] ReadError),
    /// The object is there, and its bytes are incomplete or others. Waiting does not help.
    #[error("the object {0} is damaged: its bytes are not those of its digest")]
    Damaged(String),
}

/// How much [`Objects::remove_unused`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Objects that nobody used.
    pub objects: usize,
    /// Uploads that were never finished.
    pub uploads: usize,
}

/// A bucket of objects. The bucket is made when the first object is stored.
#[derive(Clone, Debug)]
pub struct Objects {
    broker: Broker,
    bucket: &'static str,
    replicas: usize,
}

/// The stored description of an object, and which version of it.
struct StoredDescription {
    info: object_store::ObjectInfo,
    sequence: u64,
    time: Timestamp,
}

/// What a bucket holds.
struct BucketSurvey {
    /// The server's clock when the survey began.
    began_at: Timestamp,
    /// The ids of the versions of which there are chunks, read before `descriptions`.
    chunked: Vec<String>,
    descriptions: Vec<StoredDescription>,
}

impl Objects {
    /// The bucket of this name; a bucket that is made has so many replicas.
    pub(crate) fn new(broker: Broker, bucket: &'static str, replicas: usize) -> Self {
        Self {
            broker,
            bucket,
            replicas,
        }
    }

    /// The stream under the bucket.
    fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket)
    }

    /// What is known of an object with these bytes once it is stored.
    pub fn describe(media_type: &str, bytes: &[u8]) -> ObjectInfo {
        ObjectInfo {
            digest: digest_of(bytes),
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
        }
    }

    /// Stores an object, also if it is there already: then its age begins anew. Returns when it is on disk; until then nothing of it can
    /// be read.
    ///
    /// # Errors
    /// The broker does not answer, or not within [`PUT_TIMEOUT`].
    pub fn put<'a>(
        &'a self,
        media_type: &'a str,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<ObjectInfo, ObjectError>> {
        Box::pin(async move {
            let described = Self::describe(media_type, bytes);
            let name = described.digest.clone();
            let failed = |why: String| ReadError::Unavailable(format!("storing the object {name}: {why}"));
            let metadata = ObjectMetadata {
                name: name.clone(),
                metadata: [(MEDIA_TYPE.to_owned(), media_type.to_owned())].into(),
                ..ObjectMetadata::default()
            };
            let storing = async {
                ensure_stream(&self.broker, self.config())
                    .await
                    .map_err(|error| failed(format!("{error:#}")))?;
                let store = self.broker.jetstream().get_object_store(self.bucket).await;
                let store = store.map_err(|error| failed(error.to_string()))?;
                let stored = store.put(metadata, &mut &bytes[..]).await;
                stored.map_err(|error| failed(error.to_string()))
            };
            let began = Instant::now();
            let stored = tokio::time::timeout(PUT_TIMEOUT, storing).await;
            stored.map_err(|_| failed(format!("not within {PUT_TIMEOUT:?}")))??;
            // A process that was stopped in the middle may have finished what was removed meanwhile.
            if began.elapsed() > PUT_TIMEOUT {
                return Err(failed(format!("not within {PUT_TIMEOUT:?}")).into());
            }
            Ok(described)
        })
    }

    /// What is known of the object with this digest; `None` if it is not there.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn info<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<ObjectInfo>, ObjectError>> {
        Box::pin(async move { Ok(self.description(digest).await?.map(|found| info_of(&found.info))) })
    }

    /// The object with this digest, whose bytes have it; `None` if it is not there.
    ///
    /// # Errors
    /// The broker does not answer, or the object is damaged.
    pub fn get<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<StoredObject>, ObjectError>> {
        Box::pin(async move {
            for attempt in 0..GET_TRIES {
                let Some(found) = self.description(digest).await? else {
                    return Ok(None);
                };
                let bytes = self.bytes(&found.info.nuid).await?;
                if digest_of(&bytes) == digest {
                    let info = info_of(&found.info);
                    return Ok(Some(StoredObject { info, bytes }));
                }
                debug!(digest, attempt, "the bytes of an object are not complete");
                tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
            }
            Err(ObjectError::Damaged(digest.to_owned()))
        })
    }

    /// Removes the objects that `used` does not name and that are older than `grace`, and the chunks of uploads that were begun before
    /// then and never finished. `used` is asked after the objects were listed, so an object that is stored and named within `grace` stays.
    /// Several instances may do this at once.
    ///
    /// # Errors
    /// Those of `used`; the broker does not answer.
    pub async fn remove_unused<E: From<ObjectError>>(
        &self,
        grace: Duration,
        used: impl AsyncFnOnce() -> Result<BTreeSet<String>, E>,
    ) -> Result<Removals, E> {
        let Some(survey) = self.survey().await? else {
            return Ok(Removals::default());
        };
        let used = used().await?;
        Ok(self.remove(survey, grace, &used).await?)
    }

    fn config(&self) -> Config {
        let bucket = self.bucket;
        Config {
            name: self.stream(),
            description: Some(format!("objects: {bucket}, each named by its digest")),
            subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            allow_rollup: true,
            allow_direct: true,
            ..Default::default()
        }
    }

    fn chunks_of(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket)
    }

    async fn description(&self, digest: &str) -> Result<Option<StoredDescription>, ReadError> {
        let name = BASE64_URL_SAFE.encode(digest);
        let subject = [format!("$O.{}.M.{name}", self.bucket)];
        let stream = self.stream();
        let found = match self.broker.fresh_get(&stream, &subject, self.replicas).await {
            Ok(found) => found,
            Err(_) if !self.broker.is_there(&stream).await? => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = found.iter().filter_map(describe).next();
        Ok(found.filter(|found| !found.info.deleted && found.info.name == digest))
    }

    async fn bytes(&self, nuid: &str) -> Result<Bytes, ReadError> {
        let (stream, chunks) = (self.stream(), self.chunks_of(nuid));
        let (mut bytes, mut next) = (BytesMut::new(), 1);
        loop {
            let page = self.broker.page(&stream, &chunks, next, MAX_MULTI_GET).await?;
            for chunk in &page.messages {
                bytes.extend_from_slice(&chunk.body);
                next = chunk.sequence + 1;
            }
            if !page.has_more {
                return Ok(bytes.freeze());
            }
        }
    }

    /// What the bucket holds; `None` if there is no bucket.
    fn survey(&self) -> BoxFuture<'_, Result<Option<BucketSurvey>, ObjectError>> {
        Box::pin(async move {
            let stream = self.stream();
            if !self.broker.is_there(&stream).await? {
                return Ok(None);
            }
            let (began_at, chunked) = self.chunked(&stream).await?;
            let filter = format!("$O.{}.M.>", self.bucket);
            let stored = self.broker.get_all(&stream, &filter, self.replicas).await?;
            Ok(Some(BucketSurvey {
                began_at,
                chunked,
                descriptions: stored.iter().filter_map(describe).collect(),
            }))
        })
    }

    /// The server's time, and the ids of all versions of which there are chunks.
    async fn chunked(&self, stream: &str) -> Result<(Timestamp, Vec<String>), ReadError> {
        #[derive(Deserialize)]
        struct BucketInfo {
            ts: Timestamp,
            state: BucketState,
            #[serde(default)]
            total: usize,
        }
        #[derive(Deserialize)]
        struct BucketState {
            #[serde(default)]
            subjects: BTreeMap<String, u64>,
        }
        let (filter, what) = (self.chunks_of(">"), format!("STREAM.INFO.{stream}"));
        let prefix = self.chunks_of("");
        let (mut began_at, mut chunked, mut offset) = (None, Vec::new(), 0);
        loop {
            let request = json!({ "subjects_filter": filter, "offset": offset });
            let info: BucketInfo = self.broker.ask(&what, &request).await?;
            let began_at = *began_at.get_or_insert(info.ts);
            let page = info.state.subjects.len();
            let nuids = info.state.subjects.into_keys();
            chunked.extend(nuids.filter_map(|subject| subject.strip_prefix(&prefix).map(str::to_owned)));
            offset += page;
            if page == 0 || offset >= info.total {
                return Ok((began_at, chunked));
            }
        }
    }

    fn remove<'a>(
        &'a self,
        survey: BucketSurvey,
        grace: Duration,
        used: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Removals, ObjectError>> {
        Box::pin(async move {
            let mut removed = Removals::default();
            let is_old = |time: Timestamp| {
                let age = Duration::try_from(survey.began_at.duration_since(time));
                age.is_ok_and(|age| age > grace)
            };
            let mut described = BTreeSet::new();
            for StoredDescription { info, sequence, time } in survey.descriptions {
                let is_used = !info.deleted && used.contains(&info.name);
                if !is_used && is_old(time) && self.delete(sequence).await? {
                    self.purge(&info.nuid).await?;
                    removed.objects += 1;
                }
                described.insert(info.nuid);
            }
            for nuid in survey.chunked {
                if described.contains(&nuid) {
                    continue;
                }
                // The first chunk of an upload is at most `PUT_TIMEOUT` older than its last one.
                let first = self.broker.raw(&self.stream(), &self.chunks_of(&nuid), 1).await?;
                if first.is_some_and(|first| is_old(first.time)) {
                    self.purge(&nuid).await?;
                    removed.uploads += 1;
                }
            }
            Ok(removed)
        })
    }

    /// Deletes one message and no other: if the object was stored again meanwhile, that sequence is gone. Returns whether it was there.
    async fn delete(&self, sequence: u64) -> Result<bool, ReadError> {
        let what = format!("STREAM.MSG.DELETE.{}", self.stream());
        let request = json!({ "seq": sequence, "no_erase": true });
        let deleted: Result<serde_json::Value, ApiError> = self.broker.answer(&what, &request).await?;
        Ok(deleted.is_ok())
    }

    /// Removes all chunks of a version.
    async fn purge(&self, nuid: &str) -> Result<(), ReadError> {
        let what = format!("STREAM.PURGE.{}", self.stream());
        let request = json!({ "filter": self.chunks_of(nuid) });
        let _: serde_json::Value = self.broker.ask(&what, &request).await?;
        Ok(())
    }
}

/// The description of an object that a message holds, if it is one.
fn describe(message: &StoredMessage) -> Option<StoredDescription> {
    Some(StoredDescription {
        info: serde_json::from_slice(&message.body).ok()?,
        sequence: message.sequence,
        time: message.time,
    })
}

fn info_of(info: &object_store::ObjectInfo) -> ObjectInfo {
    ObjectInfo {
        digest: info.name.clone(),
        media_type: info.metadata.get(MEDIA_TYPE).cloned().unwrap_or_default(),
        size: info.size as u64,
    }
}

/// The SHA-256 digest of these bytes, in hexadecimal digits.
fn digest_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_fips_180() {
        assert_eq!(
            digest_of(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
