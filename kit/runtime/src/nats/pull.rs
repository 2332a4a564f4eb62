//! Pulling: the inputs of a durable consumer, asked for in small pieces of time.
//!
//! The client library's own stream cannot be stopped without loss: dropping it unsubscribes, and so does `Subscriber::drain` of
//! async-nats 0.51, which forgets the subscription at the next turn of its loop instead of at the server's PONG. What the server sent
//! until it processed the UNSUB is then thrown away, and comes again only after `ack_wait`; in a cluster even a PONG would prove
//! nothing, because messages reach this connection through another server. So a [`Pull`] ends the other way round: it asks for no
//! more, and listens until the server has ended the requests that are open. A request lives for [`EXPIRES`], and the server sends its
//! end behind the last message that it brings.

use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber, jetstream};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::nats::connection::Broker;

/// How long a request waits for messages. Bounds how long a stop takes, and for how long messages are sent to a process that is
/// frozen. Each request of an idle consumer costs the server two small messages, with several replicas two Raft entries too.
pub(crate) const EXPIRES: Duration = Duration::from_secs(1);

/// How much later the end of a request may arrive until the request counts as lost, and is made again.
const GRACE: Duration = Duration::from_secs(1);

/// After so many lost requests in a row the consumer is made sure of, and pulled from anew.
const MAX_LOST: u32 = 3;

/// How many messages the open requests may still bring, in the header that ends one of them.
const PENDING_MESSAGES: &str = "Nats-Pending-Messages";

/// A request for messages (ADR-13; with `group` and `priority` for instances of different rank, ADR-42).
#[derive(Serialize)]
struct PullRequest {
    batch: usize,
    /// In nanoseconds.
    expires: u128,
}

/// The messages of one consumer.
pub(crate) struct Pull {
    jetstream: jetstream::Context,
    client: Client,
    /// Where requests go.
    requests: String,
    inbox: Subject,
    subscriber: Subscriber,
    /// How many messages the requests that are open may still bring.
    open: usize,
    /// When the last message or status arrived, or the last request was sent.
    heard: Instant,
    /// How many requests in a row had no end.
    lost: u32,
    ending: bool,
    /// How often the connection was lost: requests are lost with it.
    losses: watch::Receiver<u64>,
}

impl Broker {
    /// Begins to pull from a durable consumer; the first request is sent by [`Pull::next`].
    pub(crate) fn pull<'a>(
        &'a self,
        stream: &'a str,
        consumer: &'a str,
    ) -> BoxFuture<'a, anyhow::Result<Pull>> {
        Box::pin(async move {
            let inbox = Subject::from(self.client.new_inbox());
            let mut losses = self.losses.clone();
            losses.mark_unchanged();
            Ok(Pull {
                jetstream: self.jetstream().clone(),
                client: self.client.clone(),
                requests: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
                subscriber: self.client.subscribe(inbox.clone()).await?,
                inbox,
                open: 0,
                heard: Instant::now(),
                lost: 0,
                ending: false,
                losses,
            })
        })
    }
}

impl Pull {
    /// The next message, or `None` at the end. Asks for as many messages as there is `room` for, in few requests. Can be dropped and
    /// called again without losing a message.
    ///
    /// # Errors
    /// A sentence that says why pulling has to begin anew. What is still on its way is redelivered after `ack_wait`.
    pub fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<jetstream::Message>, String>> {
        Box::pin(async move {
            loop {
                if self.ending && self.open == 0 {
                    return Ok(None);
                }
                if !self.ending && self.open <= room / 2 && room > 0 {
                    self.ask(room - self.open).await?;
                }
                let lost_at = match self.open {
                    0 => None,
                    _ => Some(self.heard + EXPIRES + GRACE),
                };
                let message = tokio::select! {
                    biased;
                    message = self.subscriber.next() => message,
                    _ = self.losses.changed() => return Err("the connection was lost".to_owned()),
                    () = until(lost_at) => {
                        self.request_is_lost()?;
                        continue;
                    }
                };
                let message = message.ok_or("the client has closed the subscription")?;
                self.heard = Instant::now();
                self.lost = 0;
                if message.status.is_some() {
                    self.note_status(&message)?;
                    continue;
                }
                self.open = self.open.saturating_sub(1);
                return Ok(Some(jetstream::Message {
                    message,
                    context: self.jetstream.clone(),
                }));
            }
        })
    }

    /// Asks for nothing any more: [`Pull::next`] returns what the open requests still bring, and then `None`.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Whether [`Pull::end`] was called.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    async fn ask(&mut self, batch: usize) -> Result<(), String> {
        let request = PullRequest {
            batch,
            expires: EXPIRES.as_nanos(),
        };
        let request = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
        let sent = self
            .client
            .publish_with_reply(self.requests.clone(), self.inbox.clone(), request.into());
        sent.await.map_err(|error| error.to_string())?;
        self.open += batch;
        self.heard = Instant::now();
        Ok(())
    }

    fn request_is_lost(&mut self) -> Result<(), String> {
        self.open = 0;
        self.heard = Instant::now();
        self.lost += 1;
        if self.lost < MAX_LOST || self.ending {
            return Ok(());
        }
        Err(format!("the server has not answered to {MAX_LOST} pulls"))
    }

    /// Notes what a message without a body says about a request. Any status but a heartbeat ends one.
    fn note_status(&mut self, message: &Message) -> Result<(), String> {
        let text = message.description.as_deref().unwrap_or_default();
        let pending = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(PENDING_MESSAGES)?.as_str().parse().ok());
        match (message.status.map_or(0, |status| status.as_u16()), pending) {
            (100, _) => {}
            // The request ended: its time, its bytes.
            (404 | 408 | 409, Some(pending)) => self.open = self.open.saturating_sub(pending),
            (404 | 408, None) => self.open = 0,
            // Another server leads the consumer from now on, and knows of no request.
            (409, None) if text == "Leadership Change" || text == "Server Shutdown" => self.open = 0,
            (503, _) => return Err("nobody answers for the consumer".to_owned()),
            (status, _) => return Err(format!("the server refuses the pull: {status} {text}")),
        }
        Ok(())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
