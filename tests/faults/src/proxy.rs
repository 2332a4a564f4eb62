//! A TCP proxy between the services and nats-server that knows the NATS protocol, and spoils it on purpose: deliveries
//! come twice and late, acknowledgements and the answers to commits are lost, connections are cut, stalled and slowed.
//!
//! The protocol is lines and, behind some, so many bytes
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>). Whole frames are passed on, as they came,
//! except for the last one of a connection that is cut.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// The longest line: an `INFO` or `CONNECT` has some hundred bytes.
const MAX_LINE: u64 = 64 * 1024;
/// The longest body; the server's own limit is 1 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How many frames may wait to be written.
const QUEUE: usize = 1_024;
/// How often a delivery is repeated that is: it comes five times over.
const REPEATS: usize = 4;

/// What is done to what passes. All zero: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How many of the deliveries come five times over, from 0 to 1.
    pub repeat: f64,
    /// How many of the others come late, behind newer ones.
    pub delay: f64,
    /// How late at most; repeats too.
    pub latest: Duration,
    /// How many acknowledgements of deliveries are lost.
    pub lose_acks: f64,
    /// How many answers to commits are lost.
    pub lose_answers: f64,
}

/// How the lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// They do what they should.
    #[default]
    Fine,
    /// Nothing passes; connections stay open.
    Stalled,
    /// Each frame takes so long.
    Slow(Duration),
}

/// How many frames were spoiled.
#[derive(Debug, Default)]
pub struct Counts {
    /// Deliveries that came five times over.
    pub repeated: AtomicU64,
    /// Deliveries that came late.
    pub delayed: AtomicU64,
    /// Acknowledgements that were lost.
    pub lost_acks: AtomicU64,
    /// Answers to commits that were lost.
    pub lost_answers: AtomicU64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        [&self.repeated, &self.delayed, &self.lost_acks, &self.lost_answers]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// The proxy. It ends with this handle, and so do its connections.
pub struct Proxy {
    /// Where it listens: what services take for the server.
    pub url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    rules: Mutex<Rules>,
    weather: watch::Sender<Weather>,
    counts: Counts,
    rng: Mutex<StdRng>,
    /// Those that are open, by number; `true` cuts one.
    lines: Mutex<BTreeMap<u64, watch::Sender<bool>>>,
}

impl Proxy {
    /// Listens on a free port, and passes on what comes to `upstream` (`host:port`).
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(upstream: String, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("nats://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::default(),
            weather: watch::Sender::default(),
            counts: Counts::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            lines: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            url,
            shared,
            accepting,
        })
    }

    /// Other rules from now on.
    pub fn set(&self, rules: Rules) {
        *lock(&self.shared.rules) = rules;
    }

    /// Another weather from now on.
    pub fn turn(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// How many frames were spoiled.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Cuts all connections, in the middle of a frame if there is one. Returns how many there were.
    pub fn cut_all(&self) -> usize {
        let lines = lock(&self.shared.lines);
        for cut in lines.values() {
            cut.send_replace(true);
        }
        lines.len()
    }

    /// Cuts one connection, drawn from those that are open.
    pub fn cut_one(&self, rng: &mut StdRng) -> usize {
        let lines = lock(&self.shared.lines);
        let drawn = lines.values().choose(rng);
        drawn.map_or(0, |cut| usize::from(!cut.send_replace(true)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        // Out of descriptors, most likely: somebody closes one sooner or later.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let cut = watch::Sender::new(false);
            let until_cut = cut.subscribe();
            lock(&shared.lines).insert(number, cut);
            // Either side closes, or it is cut: whoever it was finds out by himself.
            drop(connect(client, &shared, until_cut).await);
            lock(&shared.lines).remove(&number);
        });
    }
}

async fn connect(client: TcpStream, shared: &Arc<Shared>, cut: watch::Receiver<bool>) -> Result<()> {
    let server = TcpStream::connect(&shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, upward) = mpsc::channel(QUEUE);
    let (down, downward) = mpsc::channel(QUEUE);
    let line = Line {
        shared: Arc::clone(shared),
        doomed: Mutex::default(),
    };
    // The first to end ends all four, and with them the connection.
    tokio::select! {
        ended = line.up(BufReader::new(from_client), up) => ended,
        ended = line.down(BufReader::new(from_server), down) => ended,
        ended = write(to_server, upward, shared.weather.subscribe(), cut.clone()) => ended,
        ended = write(to_client, downward, shared.weather.subscribe(), cut) => ended,
    }
}

/// One connection.
struct Line {
    shared: Arc<Shared>,
    /// Where answers to commits are expected that will be lost.
    doomed: Mutex<HashSet<String>>,
}

impl Line {
    /// From the service to the server.
    async fn up(&self, mut from: impl AsyncBufRead + Unpin, to: mpsc::Sender<Bytes>) -> Result<()> {
        while let Some(frame) = read(&mut from).await? {
            let rules = *lock(&self.shared.rules);
            match frame.kind {
                Kind::Publish if frame.subject.starts_with("$JS.ACK.") && self.happens(rules.lose_acks) => {
                    self.shared.counts.lost_acks.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Kind::Publish if frame.subject.starts_with("$KV.") => {
                    if let Some(reply) = frame.reply
                        && self.happens(rules.lose_answers)
                    {
                        lock(&self.doomed).insert(reply);
                    }
                }
                Kind::Publish | Kind::Delivery | Kind::Other => {}
            }
            to.send(frame.bytes).await?;
        }
        Ok(())
    }

    /// From the server to the service.
    async fn down(&self, mut from: impl AsyncBufRead + Unpin, to: mpsc::Sender<Bytes>) -> Result<()> {
        while let Some(frame) = read(&mut from).await? {
            let rules = *lock(&self.shared.rules);
            if frame.kind == Kind::Delivery {
                if lock(&self.doomed).remove(&frame.subject) {
                    self.shared.counts.lost_answers.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // Only what a consumer delivers is answered there; reads and answers are not ours to repeat.
                if frame.reply.is_some_and(|reply| reply.starts_with("$JS.ACK.")) {
                    if self.happens(rules.repeat) {
                        self.shared.counts.repeated.fetch_add(1, Ordering::Relaxed);
                        for _ in 0..REPEATS {
                            self.later(rules.latest, &frame.bytes, &to);
                        }
                    } else if self.happens(rules.delay) {
                        self.shared.counts.delayed.fetch_add(1, Ordering::Relaxed);
                        self.later(rules.latest, &frame.bytes, &to);
                        continue;
                    }
                }
            }
            to.send(frame.bytes).await?;
        }
        Ok(())
    }

    fn happens(&self, rate: f64) -> bool {
        rate > 0.0 && lock(&self.shared.rng).random_bool(rate)
    }

    /// Passes a frame on after a while; if the connection is gone by then, it is lost.
    fn later(&self, latest: Duration, frame: &Bytes, to: &mpsc::Sender<Bytes>) {
        let after = latest.mul_f64(lock(&self.shared.rng).random_range(0.0..=1.0));
        let (frame, to) = (frame.clone(), to.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            drop(to.send(frame).await);
        });
    }
}

/// Writes frames, as the weather lets it, until there are no more or the connection is cut.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Bytes>,
    mut weather: watch::Receiver<Weather>,
    mut cut: watch::Receiver<bool>,
) -> Result<()> {
    let mut passing = async || -> Result<()> {
        while let Some(frame) = frames.recv().await {
            let now = *weather.wait_for(|weather| *weather != Weather::Stalled).await?;
            match now {
                Weather::Fine | Weather::Stalled => {}
                Weather::Slow(pause) => tokio::time::sleep(pause).await,
            }
            to.write_all(&frame).await?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        cut = cut.wait_for(|cut| *cut) => drop(cut?),
        passed = passing() => return passed,
    }
    // Half of what was on its way still arrives.
    if let Ok(frame) = frames.try_recv() {
        to.write_all(&frame[..frame.len() / 2]).await?;
    }
    Ok(())
}

/// What a frame is, as far as the rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `PUB` or `HPUB`.
    Publish,
    /// `MSG` or `HMSG`.
    Delivery,
    /// What has no body: `INFO`, `CONNECT`, `PING`, `SUB` and so on.
    Other,
}

/// One frame, with its bytes as they came.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: Kind,
    subject: String,
    reply: Option<String>,
    bytes: Bytes,
}

/// Reads the next frame; nothing at the end.
async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Frame>> {
    let mut line = Vec::new();
    if (&mut *from).take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    ensure!(line.ends_with(b"\n"), "a line ends in its middle, or is too long");
    let text = String::from_utf8_lossy(&line).into_owned();
    let mut words = text.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let words: Vec<&str> = words.collect();
    // SUBJECT [SID] [REPLY] [HEADER BYTES] BYTES: what is in brackets depends on the verb, the reply is left out if
    // there is none.
    let (kind, before, after) = match verb.as_str() {
        "PUB" => (Kind::Publish, 1, 1),
        "HPUB" => (Kind::Publish, 1, 2),
        "MSG" => (Kind::Delivery, 2, 1),
        "HMSG" => (Kind::Delivery, 2, 2),
        _ => {
            return Ok(Some(Frame {
                kind: Kind::Other,
                subject: String::new(),
                reply: None,
                bytes: line.into(),
            }));
        }
    };
    let reply = match words.len().checked_sub(before + after) {
        Some(0) => None,
        Some(1) => Some(words[before].to_owned()),
        Some(_) | None => bail!("not as the protocol has it: {text}"),
    };
    let size: usize = words[words.len() - 1]
        .parse()
        .with_context(|| format!("no size: {text}"))?;
    ensure!(size <= MAX_BODY, "a body of {size} bytes");
    let subject = words[0].to_owned();
    let mut bytes = BytesMut::from(line.as_slice());
    let head = bytes.len();
    // The body ends with a line break of its own.
    bytes.resize(head + size + 2, 0);
    from.read_exact(&mut bytes[head..]).await?;
    Ok(Some(Frame {
        kind,
        subject,
        reply,
        bytes: bytes.freeze(),
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(mut wire: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = read(&mut wire).await.unwrap() {
            frames.push(frame);
        }
        frames
    }

    #[tokio::test]
    async fn frames_are_read_as_they_are() {
        let wire = b"INFO {\"a\":\"PUB x 1\"}\r\nPING\r\n\
            PUB a.b 3\r\nx\r\n\r\n\
            HPUB $KV.order.created.1 _INBOX.1.2 12 15\r\nNATS/1.0\r\n\r\nabc\r\n\
            MSG $KV.order.created.1 7 $JS.ACK.KV_order.x 0\r\n\r\n\
            HMSG _INBOX.1.2 7 12 12\r\nNATS/1.0\r\n\r\n\r\n";
        let frames = frames(wire).await;
        let seen: Vec<_> = frames
            .iter()
            .map(|frame| (frame.kind, frame.subject.as_str(), frame.reply.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Other, "", None),
                (Kind::Other, "", None),
                (Kind::Publish, "a.b", None),
                (Kind::Publish, "$KV.order.created.1", Some("_INBOX.1.2")),
                (Kind::Delivery, "$KV.order.created.1", Some("$JS.ACK.KV_order.x")),
                (Kind::Delivery, "_INBOX.1.2", None),
            ]
        );
        let again: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
        assert_eq!(again, wire, "what is passed on is what came");
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_the_connection() {
        for wire in [
            &b"PUB a x\r\n"[..],
            b"MSG a 1\r\n",
            b"PUB a 9999999999\r\n",
            b"PUB a 5\r\nab",
            b"PIN",
        ] {
            let mut from = wire;
            assert!(
                read(&mut from).await.is_err(),
                "{}",
                String::from_utf8_lossy(wire)
            );
        }
    }
}
