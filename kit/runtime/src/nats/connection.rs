//! The connection to NATS.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::{Client, ConnectOptions, ServerAddr, connection::State, jetstream};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// The oldest server that has everything used here (atomic batches, schedules and their purge, TTL, async persistence).
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 14, 4);

/// How long the broker may take to answer a read.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the client pings the server. A connection that was cut without a word counts as lost at the third ping without an answer:
/// within 15 s.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// A connection to a server that is new enough.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(super) client: Client,
    jetstream: jetstream::Context,
    /// Where it was connected to, and as what: for [`Broker::subscriber`].
    origin: Arc<(String, String)>,
    subscriber: Arc<tokio::sync::Mutex<Option<Arc<Self>>>>,
    pub(super) batch_prefix: Arc<str>,
    pub(super) batches: Arc<AtomicU64>,
    /// How often the connection was lost.
    pub(super) losses: watch::Receiver<u64>,
}

impl Broker {
    /// Connects and waits until the server is there.
    ///
    /// Credentials may stand in the URL or in the file that `NATS_CREDS` names.
    ///
    /// # Errors
    /// Refuses a server that is older than [`OLDEST_SERVER`] or has no JetStream, in a sentence that says what is
    /// needed; likewise wrong credentials.
    pub fn connect<'a>(url: &'a str, name: &'a str) -> BoxFuture<'a, anyhow::Result<Self>> {
        Box::pin(async move {
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
            .ping_interval(PING_INTERVAL)
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
                            error!(%problem, "the server reported an error; a refused permission shows only here")
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
                origin: Arc::new((url.to_owned(), name.to_owned())),
                subscriber: Arc::default(),
                batch_prefix: batch_prefix().into(),
                batches: Arc::default(),
                losses,
            })
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

    /// A connection of its own for subscriptions to plain subjects, made when it is first needed. Anybody may publish there, and over
    /// some headers the client panics ([`crate::nats::headers`]): then this connection dies, is made again for the next caller, and the
    /// service goes on.
    ///
    /// # Errors
    /// As [`Broker::connect`].
    pub(crate) fn subscriber(&self) -> BoxFuture<'_, anyhow::Result<Client>> {
        Box::pin(async move {
            let mut subscriber = self.subscriber.lock().await;
            if let Some(broker) = subscriber.as_ref().filter(|broker| !broker.is_dead()) {
                return Ok(broker.client.clone());
            }
            let (url, name) = &*self.origin;
            let broker = Box::pin(Self::connect(url, &format!("{name}-live"))).await?;
            let client = broker.client.clone();
            *subscriber = Some(Arc::new(broker));
            Ok(client)
        })
    }

    /// Whether the client's own task has ended: see [`Broker::died`].
    fn is_dead(&self) -> bool {
        self.losses.has_changed().is_err()
    }

    /// Waits until the client's own task has ended, after which there is never a connection again. That task ends without a word when the
    /// client panics over a message ([`crate::nats::headers`]).
    pub(crate) async fn died(&self) {
        let mut losses = self.losses.clone();
        // The task owns the sender of this channel.
        while losses.changed().await.is_ok() {}
    }

    /// Waits until the server has received everything that was sent before: it handles what a connection sends in order, and this
    /// comes last.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn sent_everything(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            if !self.is_connected() {
                bail!("there is no connection");
            }
            let inbox = self.client.new_inbox();
            let mut echo = self.client.subscribe(inbox.clone()).await?;
            self.client.publish(inbox, Bytes::new()).await?;
            let echoed = self.unless_lost(echo.next()).await.flatten();
            echoed
                .map(drop)
                .context("the connection was lost before everything was sent")
        })
    }

    /// How often it has connected.
    pub(crate) fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// The result of `answering`; `None` if the connection is lost meanwhile, because then no answer will come and waiting for the
    /// time-out is useless. (A request without a connection is sent after the next connect.)
    pub(crate) async fn unless_lost<T>(&self, answering: impl Future<Output = T>) -> Option<T> {
        let mut losses = self.losses.clone();
        losses.mark_unchanged();
        tokio::select! {
            biased;
            answer = answering => Some(answer),
            Ok(()) = losses.changed() => None,
        }
    }
}

/// The prefix of this connection's batch ids: 64 random bits, so that no two open batches share an id. Short, because it is stored
/// with every message.
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

/// Takes user and password, or token, from the URL: the client ignores them.
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
    // The first failure is logged; an error that waiting cannot heal is returned.
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
fn hide_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://***{}", &url[..scheme], &url[at..]),
        (Some(_) | None, Some(at)) => format!("***{}", &url[at..]),
        (Some(_) | None, None) => url.to_owned(),
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
}
