//! The connection to NATS: who may be connected to, and the four requests that a commit needs - store one message,
//! store a batch, read many entries at once, read from the leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::{
    Client, ConnectOptions, HeaderMap, Request, ServerAddr, StatusCode, connection::State, header, jetstream,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// The oldest server that has all that is used here (atomic batches, schedules and their purge, TTL, async persistence).
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 14, 4);

/// How long the broker may take to acknowledge a write. After that its outcome is unknown.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the broker may take to answer a read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The most messages of one atomic batch (ADR-50).
pub const MAX_BATCH: usize = 1_000;

/// The most messages that one multi-get answers with.
pub const MAX_MULTI_GET: usize = 1_024;

/// How many requests a read by the leader has open at once.
const LEADER_READS: usize = 16;

/// The server's code for "there is no such message".
const NOT_FOUND: u64 = 10037;

/// A message to store.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub subject: String,
    /// With which headers; the check of the last sequence among them.
    pub headers: HeaderMap,
    /// What.
    pub body: Bytes,
}

/// A message as stored.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it is stored.
    pub subject: String,
    /// At which place of its stream.
    pub sequence: u64,
    /// When it was stored, by the server's clock.
    pub time: jiff::Timestamp,
    /// Its headers, without those that the broker adds to an answer.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Entry {
    /// Whether a KV client deleted or purged the key: this is only the marker.
    pub fn is_deleted(&self) -> bool {
        self.headers.get("KV-Operation").is_some()
    }
}

/// A message as it is stored, of which only the frame is known to make sense.
#[derive(Debug)]
pub(crate) struct Raw {
    pub subject: String,
    pub sequence: u64,
    pub time: jiff::Timestamp,
    /// From `NATS/1.0` on; empty if there are none.
    pub headers: Vec<u8>,
    pub body: Bytes,
}

/// Why a commit did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something else was written first. Read again, decide again.
    #[error("another commit came first")]
    Conflict,
    /// No answer: it may be stored or not. Read again, decide again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Nothing was stored; the broker cannot now (no leader, too many batches open, shutting down). Try again.
    #[error("the broker cannot store it now: {0}")]
    Busy(String),
    /// Nothing was stored, nor will it be as it is (too large, malformed).
    #[error("the broker refuses it: {0}")]
    Rejected(String),
}

impl CommitError {
    /// Every [`CommitError::kind`].
    pub const KINDS: [&'static str; 4] = ["conflict", "unknown", "busy", "rejected"];

    /// The error in a word, for whoever counts.
    pub fn kind(&self) -> &'static str {
        match self {
            CommitError::Conflict => "conflict",
            CommitError::Unknown(_) => "unknown",
            CommitError::Busy(_) => "busy",
            CommitError::Rejected(_) => "rejected",
        }
    }
}

/// Why a read brought nothing.
#[derive(Debug, thiserror::Error)]
#[error("the broker does not answer: {0}")]
pub struct ReadError(pub String);

/// A connection to a server that is new enough.
#[derive(Clone, Debug)]
pub struct Broker {
    client: Client,
    jetstream: jetstream::Context,
    batch_prefix: Arc<str>,
    batches: Arc<AtomicU64>,
    /// How often the connection was lost.
    losses: watch::Receiver<u64>,
}

impl Broker {
    /// Connects and waits until the server is there.
    ///
    /// Credentials may stand in the URL or in the file that `NATS_CREDS` names.
    ///
    /// # Errors
    /// Refuses a server that is older than [`OLDEST_SERVER`] or has no JetStream, in a sentence that says what is
    /// needed; likewise wrong credentials.
    pub async fn connect(url: &str, name: &str) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new();
        if let Ok(file) = std::env::var("NATS_CREDS") {
            options = ConnectOptions::with_credentials_file(&file)
                .await
                .with_context(|| format!("NATS_CREDS: cannot read {file}"))?;
        }
        let (lost, losses) = watch::channel(0);
        let options = options
            .name(name)
            .max_reconnects(None)
            .request_timeout(Some(READ_TIMEOUT))
            .subscription_capacity(65_536)
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(rand::random_range(0..=(50 << attempt.min(5)).min(2_000)))
            })
            .event_callback(move |event| {
                if matches!(event, async_nats::Event::Disconnected) {
                    lost.send_modify(|times| *times += 1);
                }
                async move {
                    match event {
                        async_nats::Event::ServerError(problem) => {
                            error!(%problem, "the server complains; a refused permission shows here only")
                        }
                        async_nats::Event::SlowConsumer(_) => warn!(%event, "NATS"),
                        async_nats::Event::Connected
                        | async_nats::Event::Disconnected
                        | async_nats::Event::LameDuckMode
                        | async_nats::Event::Draining
                        | async_nats::Event::Closed
                        | async_nats::Event::ClientError(_) => info!(%event, "NATS"),
                    }
                }
            });
        let options = with_credentials(options, &servers(url)?);
        // The client logs the addresses that it tries, at debug.
        let client = connect_patiently(options, &servers(&without_credentials(url))?, url).await?;
        let info = client.server_info();
        let shown = hide_credentials(url);
        check_version(&info.version).with_context(|| format!("the server at {shown} cannot be used"))?;
        let jetstream = jetstream::new(client.clone());
        if !info.jetstream {
            bail!(
                "the server at {shown} has no JetStream: start it with `nats-server -js`, or `jetstream {{}}` in its configuration"
            );
        }
        jetstream.query_account().await.with_context(|| {
            format!("the server at {shown} has JetStream, but this account cannot use it: enable it for the account")
        })?;
        Ok(Self {
            client,
            jetstream,
            batch_prefix: batch_prefix().into(),
            batches: Arc::default(),
            losses,
        })
    }

    /// The JetStream management API.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether there is a connection right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until there will be no connection any more: the client's own task has ended. It does where the client panics
    /// over a message ([`crate::engine::unreadable::read_headers`]), and says nothing.
    pub(crate) async fn died(&self) {
        let mut losses = self.losses.clone();
        // That task holds, by way of the events it tells of, who tells of losses.
        while losses.changed().await.is_ok() {}
    }

    /// How often it has connected.
    pub(crate) fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Stores one message and returns its sequence.
    ///
    /// # Errors
    /// [`CommitError`]; only `Unknown` leaves open whether it is stored.
    pub async fn publish(&self, write: Write) -> Result<u64, CommitError> {
        self.acknowledged(write).await
    }

    /// Stores all of `writes` or none, and returns the sequence of the last; they are stored without gaps.
    ///
    /// One message is a plain publish, more are an atomic batch (ADR-50): all but the last are sent without asking for
    /// an answer, because the answer to the last tells of them all.
    ///
    /// # Errors
    /// [`CommitError`]; only `Unknown` leaves open whether they are stored.
    pub async fn publish_all(&self, mut writes: Vec<Write>) -> Result<u64, CommitError> {
        let Some(last) = writes.pop() else {
            return Err(CommitError::Rejected("an empty commit".to_owned()));
        };
        if writes.is_empty() {
            return self.acknowledged(last).await;
        }
        let id = format!(
            "{}-{}",
            self.batch_prefix,
            self.batches.fetch_add(1, Ordering::Relaxed)
        );
        let mut number = 0_u64;
        let mut numbered = |mut write: Write| {
            number += 1;
            write.headers.insert(header::NATS_BATCH_ID, id.as_str());
            write
                .headers
                .insert(header::NATS_BATCH_SEQUENCE, number.to_string());
            write
        };
        let sending = async {
            for write in writes {
                let write = numbered(write);
                self.client
                    .publish_with_headers(write.subject, write.headers, write.body)
                    .await
                    .map_err(|error| send_error(&error.to_string()))?;
            }
            Ok::<_, CommitError>(())
        };
        tokio::time::timeout(COMMIT_TIMEOUT, sending)
            .await
            .map_err(|_| CommitError::Busy("the connection takes nothing".to_owned()))??;
        let mut last = numbered(last);
        last.headers
            .insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        self.acknowledged(last).await
    }

    async fn acknowledged(&self, write: Write) -> Result<u64, CommitError> {
        let request = Request::new()
            .headers(write.headers)
            .payload(write.body)
            .timeout(Some(COMMIT_TIMEOUT));
        let answering = self.client.send_request(write.subject, request);
        let Some(answer) = self.unless_lost(answering).await else {
            return Err(CommitError::Unknown("the connection was lost".to_owned()));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                use async_nats::RequestErrorKind as Kind;
                return Err(match error.kind() {
                    Kind::NoResponders => {
                        CommitError::Busy("no stream takes it; JetStream has no leader, or is off".to_owned())
                    }
                    Kind::InvalidSubject | Kind::MaxPayloadExceeded => {
                        CommitError::Rejected(error.to_string())
                    }
                    Kind::TimedOut | Kind::Other => CommitError::Unknown(error.to_string()),
                });
            }
        };
        let ack: Ack = serde_json::from_slice(&answer.payload)
            .map_err(|_| CommitError::Unknown("the answer is no acknowledgement".to_owned()))?;
        match ack.error {
            None => Ok(ack.seq),
            Some(error) => Err(error.into()),
        }
    }

    /// What `answering` comes to, or nothing if the connection is lost meanwhile: then no answer will come, and there is no
    /// point in waiting for the time-out. (A request sent while there is no connection is sent after the next one.)
    pub(crate) async fn unless_lost<T>(&self, answering: impl Future<Output = T>) -> Option<T> {
        let mut losses = self.losses.clone();
        losses.mark_unchanged();
        tokio::select! {
            biased;
            answer = answering => Some(answer),
            Ok(()) = losses.changed() => None,
        }
    }

    /// The newest message of each subject that matches one of `subjects`, oldest first, in one consistent look.
    ///
    /// With one replica the leader answers; with more it may be a follower that is a little behind.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or it would be more than [`MAX_MULTI_GET`] messages.
    pub async fn multi_get(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, ReadError> {
        let failed = |error: String| ReadError(format!("reading {stream}: {error}"));
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let request = json!({ "multi_last": subjects }).to_string();
        self.client
            .publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, request.into())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let collect = async {
            let mut entries = Vec::new();
            while let Some(message) = answers.next().await {
                match message.status.map(|status| status.as_u16()) {
                    None => {
                        entries.push(direct_entry(message).ok_or_else(|| failed("not a direct get".into()))?)
                    }
                    Some(204 | 404) => return Ok(entries),
                    Some(503) => {
                        return Err(failed(
                            "no leader, or no such stream: a service that knows it makes it at its start"
                                .into(),
                        ));
                    }
                    Some(413) => return Err(too_many(stream)),
                    Some(code) => {
                        return Err(failed(format!(
                            "{code} {}",
                            message.description.unwrap_or_default()
                        )));
                    }
                }
            }
            Err(failed("the connection closed".into()))
        };
        let mut entries = tokio::time::timeout(READ_TIMEOUT, self.unless_lost(collect))
            .await
            .map_err(|_| failed("timed out".into()))?
            .ok_or_else(|| failed("the connection was lost".into()))??;
        entries.sort_by_key(|entry| entry.sequence);
        Ok(entries)
    }

    /// The sequence of the newest message that matches `subject` (wildcards allowed), from the stream's leader;
    /// 0 if there is none.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub async fn leader_sequence(&self, stream: &str, subject: &str) -> Result<u64, ReadError> {
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
        }
        let request = json!({ "last_by_subj": subject });
        let found: Option<Place> = self.leader_get(stream, &request).await?;
        Ok(found.map_or(0, |place| place.seq))
    }

    /// The first message from `sequence` on whose subject matches `filter`, from the stream's leader: the one request whose
    /// answer can be read whatever the headers of the message are.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) async fn raw(
        &self,
        stream: &str,
        filter: &str,
        sequence: u64,
    ) -> Result<Option<Raw>, ReadError> {
        #[derive(Deserialize)]
        struct Stored {
            subject: String,
            seq: u64,
            time: jiff::Timestamp,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
        }
        let request = json!({ "seq": sequence, "next_by_subj": filter });
        let Some(stored): Option<Stored> = self.leader_get(stream, &request).await? else {
            return Ok(None);
        };
        let decode = |text: &str| {
            let decoded = BASE64_STANDARD.decode(text);
            decoded.map_err(|error| ReadError(format!("reading {stream} at {}: {error}", stored.seq)))
        };
        Ok(Some(Raw {
            headers: decode(&stored.hdrs)?,
            body: decode(&stored.data)?.into(),
            subject: stored.subject,
            sequence: stored.seq,
            time: stored.time,
        }))
    }

    /// What `STREAM.MSG.GET` brings, if it finds a message.
    async fn leader_get<T: DeserializeOwned>(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Option<T>, ReadError> {
        #[derive(Deserialize)]
        struct Found<T> {
            message: T,
        }
        let what = format!("STREAM.MSG.GET.{stream}");
        match self.answer::<Found<T>>(&what, request).await? {
            Ok(found) => Ok(Some(found.message)),
            Err(ApiError {
                err_code: NOT_FOUND, ..
            }) => Ok(None),
            Err(refusal) => Err(refused(&what, &refusal)),
        }
    }

    /// Asks the JetStream API what the client has no words for: `STREAM.INFO.KV_order`.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or it is a refusal, or no `T`.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        request: &serde_json::Value,
    ) -> Result<T, ReadError> {
        let answer = self.answer(what, request).await?;
        answer.map_err(|refusal| refused(what, &refusal))
    }

    /// What the JetStream API answers: what was asked for, or a refusal.
    async fn answer<T: DeserializeOwned>(
        &self,
        what: &str,
        request: &serde_json::Value,
    ) -> Result<Result<T, ApiError>, ReadError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: Option<ApiError>,
        }
        let failed = |error: String| ReadError(format!("asking for {what}: {error}"));
        let answer = self
            .client
            .request(format!("$JS.API.{what}"), request.to_string().into())
            .await
            .map_err(|error| failed(error.to_string()))?;
        // First, because a `T` without obligatory fields would be found in a refusal too.
        let refusal: Refusal =
            serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
        match refusal.error {
            Some(error) => Ok(Err(error)),
            None => serde_json::from_slice(&answer.payload)
                .map(Ok)
                .map_err(|error| failed(error.to_string())),
        }
    }

    /// The newest message of each subject, surely not older than this call.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or followers stay behind, or it would be more than [`MAX_MULTI_GET`] messages.
    pub async fn fresh_get(
        &self,
        stream: &str,
        subjects: &[String],
        replicas: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let losses = *self.losses.borrow();
        match self.fresh_multi_get(stream, subjects, replicas).await {
            // Perhaps because of what it brings: headers that the client cannot read end the connection, each time.
            Err(_) if *self.losses.borrow() != losses => self.get_one_by_one(stream, subjects).await,
            other => other,
        }
    }

    /// The newest message of each subject, each asked of the leader, and without its headers if they cannot be read.
    async fn get_one_by_one(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, ReadError> {
        let all_of = |subject: &String| {
            let subject = subject.clone();
            async move {
                let mut newest = HashMap::new();
                let mut next = 1;
                while let Some(raw) = self.raw(stream, &subject, next).await? {
                    next = raw.sequence + 1;
                    newest.insert(raw.subject.clone(), Entry::from(raw));
                    if newest.len() > MAX_MULTI_GET {
                        return Err(too_many(stream));
                    }
                }
                Ok(newest)
            }
        };
        let found: Vec<_> = futures::stream::iter(subjects.iter().map(all_of))
            .buffered(LEADER_READS)
            .try_collect()
            .await?;
        let mut entries: Vec<Entry> = found.into_iter().flat_map(HashMap::into_values).collect();
        if entries.len() > MAX_MULTI_GET {
            return Err(too_many(stream));
        }
        entries.sort_by_key(|entry| entry.sequence);
        Ok(entries)
    }

    /// With several replicas, what the multi-get brought is compared with what the leader has.
    async fn fresh_multi_get(
        &self,
        stream: &str,
        subjects: &[String],
        replicas: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        if replicas <= 1 {
            return self.multi_get(stream, subjects).await;
        }
        const TRIES: u32 = 10;
        let newest = futures::future::try_join_all(
            subjects
                .iter()
                .map(|subject| self.leader_sequence(stream, subject)),
        )
        .await?;
        for attempt in 0..TRIES {
            let entries = self.multi_get(stream, subjects).await?;
            // Whatever the leader had is there, or has been replaced by something newer under the same filter.
            let complete = subjects.iter().zip(&newest).all(|(subject, sequence)| {
                *sequence == 0
                    || entries
                        .iter()
                        .any(|e| e.sequence >= *sequence && matches(subject, &e.subject))
            });
            if complete {
                return Ok(entries);
            }
            debug!(stream, attempt, "a follower is behind the leader");
            tokio::time::sleep(Duration::from_millis(2 << attempt)).await;
        }
        Err(ReadError(format!(
            "the followers of {stream} are behind its leader"
        )))
    }
}

fn too_many(stream: &str) -> ReadError {
    ReadError(format!("reading {stream}: more than {MAX_MULTI_GET} entries"))
}

fn refused(what: &str, refusal: &ApiError) -> ReadError {
    let ApiError {
        description,
        err_code,
        ..
    } = refusal;
    ReadError(format!("asking for {what}: {description} ({err_code})"))
}

/// What begins the ids of this connection's batches: 64 random bits, so that no two open batches share an id. Short,
/// because it is stored with every message.
fn batch_prefix() -> String {
    format!("{:x}", rand::random::<u64>())
}

/// The servers of `nats://one:4222,nats://two:4222`.
fn servers(url: &str) -> anyhow::Result<Vec<ServerAddr>> {
    let parse = |one: &str| {
        one.trim()
            .parse()
            .with_context(|| format!("NATS_URL={}: is no URL of a NATS server", hide_credentials(one)))
    };
    url.split(',').map(parse).collect()
}

/// The client itself takes no notice of the user and password, or token, in a URL.
fn with_credentials(options: ConnectOptions, servers: &[ServerAddr]) -> ConnectOptions {
    let Some(server) = servers.iter().find(|server| server.has_user_pass()) else {
        return options;
    };
    let user = server.username().unwrap_or_default().to_owned();
    match server.password() {
        Some(password) => options.user_and_password(user, password.to_owned()),
        None => options.token(user),
    }
}

async fn connect_patiently(
    options: ConnectOptions,
    servers: &[ServerAddr],
    url: &str,
) -> anyhow::Result<Client> {
    // A first failure is worth a line; what cannot heal by waiting is an error.
    use async_nats::ConnectErrorKind as Kind;
    let mut told = false;
    let shown = hide_credentials(url);
    loop {
        match options.clone().connect(servers).await {
            Ok(client) => return Ok(client),
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Io | Kind::TimedOut | Kind::Dns | Kind::MaxReconnects
                ) =>
            {
                if !told {
                    warn!(%error, "waiting for NATS at {shown} (NATS_URL); start one with `nats-server -js`");
                    told = true;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => bail!("cannot connect to NATS at {shown} (NATS_URL): {error}"),
        }
    }
}

fn check_version(version: &str) -> anyhow::Result<()> {
    let mut numbers = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let found = (next(), next(), next());
    let (major, minor, patch) = OLDEST_SERVER;
    if found < OLDEST_SERVER {
        bail!(
            "nats-server {version} is too old: {major}.{minor}.{patch} at least is needed, for atomic batches and schedules"
        );
    }
    Ok(())
}

/// The URLs without user and password, or token.
fn without_credentials(url: &str) -> String {
    let bare = |one: &str| match (one.find("://"), one.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{}", &one[..scheme], &one[at + 1..]),
        (Some(_) | None, Some(at)) => one[at + 1..].to_owned(),
        (Some(_) | None, None) => one.to_owned(),
    };
    url.split(',').map(bare).collect::<Vec<_>>().join(",")
}

/// The URL as it may be logged.
pub(crate) fn hide_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://***{}", &url[..scheme], &url[at..]),
        (Some(_) | None, Some(at)) => format!("***{}", &url[at..]),
        (Some(_) | None, None) => url.to_owned(),
    }
}

/// Whether a subject matches a filter with `*` wildcards.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    filter
        .split('.')
        .all(|want| tokens.next().is_some_and(|token| want == "*" || want == token))
        && tokens.next().is_none()
}

fn direct_entry(message: async_nats::Message) -> Option<Entry> {
    let headers = message.headers?;
    let subject = headers.get("Nats-Subject")?.as_str().to_owned();
    let sequence = headers.get("Nats-Sequence")?.as_str().parse().ok()?;
    let time = headers.get("Nats-Time-Stamp")?.as_str().parse().ok()?;
    const OWN: [&str; 7] = [
        "Nats-Stream",
        "Nats-Subject",
        "Nats-Sequence",
        "Nats-Time-Stamp",
        "Nats-Num-Pending",
        "Nats-Last-Sequence",
        "Nats-UpTo-Sequence",
    ];
    let headers = headers
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_ref()))
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())))
        .collect();
    Some(Entry {
        subject,
        sequence,
        time,
        headers,
        body: message.payload,
    })
}

fn send_error(error: &str) -> CommitError {
    if error.contains("payload") {
        CommitError::Rejected(error.to_owned())
    } else {
        CommitError::Busy(error.to_owned())
    }
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl From<ApiError> for CommitError {
    fn from(error: ApiError) -> Self {
        let said = format!("{} ({})", error.description, error.err_code);
        match error.err_code {
            // Wrong last sequence, with and without its number (10164: checked against the batch itself).
            10071 | 10164 => CommitError::Conflict,
            // The batch is not known any more, or incomplete (ADR-50): a leader change, or the first message was
            // refused because too many batches are open (10210), whose answer nobody waited for.
            10176 | 10210 | 10211 => CommitError::Busy(said),
            // 4xx is about the message; 408, 429 and 5xx are about the moment.
            _ => match StatusCode::from_u16(error.code).map(|code| code.as_u16()) {
                Ok(400..=407 | 409..=428 | 430..=499) => CommitError::Rejected(said),
                Ok(_) | Err(_) => CommitError::Busy(said),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused_by_name() {
        assert!(check_version("2.14.4").is_ok());
        assert!(check_version("2.15.1").is_ok());
        assert!(check_version("3.0.0-beta.1").is_ok());
        let error = check_version("2.12.1").unwrap_err().to_string();
        assert!(error.contains("2.12.1") && error.contains("2.14.4"), "{error}");
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(
            hide_credentials("nats://ada:secret@host:4222"),
            "nats://***@host:4222"
        );
        assert_eq!(hide_credentials("nats://host:4222"), "nats://host:4222");
        assert_eq!(hide_credentials("token@host"), "***@host");
        assert_eq!(
            without_credentials("nats://ada:secret@one:4222,nats://two"),
            "nats://one:4222,nats://two"
        );
        assert_eq!(without_credentials("token@host"), "host");
    }

    #[test]
    fn a_filter_matches_token_by_token() {
        assert!(matches("$KV.payment.*.42", "$KV.payment.charged.42"));
        assert!(!matches("$KV.payment.*.42", "$KV.payment.charged.43"));
        assert!(!matches("$KV.payment.*.42", "$KV.payment.schedule.due.42"));
    }
}
