//! The history: every request and what became of it.
//!
//! A request is *ok* (2xx), *failed* (4xx), or *unknown* (503, a time-out, a connection cut): then it may have taken
//! effect or not, at any time until the end, and the check accepts either. So does
//! [Jepsen](https://github.com/jepsen-io/jepsen/blob/main/jepsen/src/jepsen/history.clj), as `:ok`, `:fail`, `:info`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use jiff::Timestamp;
use quadrille_events::OrderId;
use quadrille_local::client::NewOrder;
use serde::Serialize;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// `POST /orders/create_order`
    Create,
    /// `POST /payments/confirm`
    ConfirmPayment,
    /// `POST /payments/cancel`
    CancelPayment,
    /// `POST /orders/confirm`
    Approve,
    /// `POST /orders/cancel`
    CancelOrder,
    /// `GET /orders/{order_id}`
    Show,
}

/// What is known of a request's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It did not, nor will it.
    Failed,
    /// Either.
    Unknown,
}

impl Outcome {
    /// What an HTTP status tells; `None` is no answer.
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Ok,
            Some(400..=499) => Self::Failed,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// When it was sent, in microseconds since the history began.
    pub sent: u64,
    /// When its outcome was known.
    pub ended: u64,
    /// What was asked.
    pub asked: Asked,
    /// What was ordered; its address marks it, no two bodies have the same. Of [`Asked::Create`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<NewOrder>,
    /// Its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which order, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// What became of it.
    pub outcome: Outcome,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The order's state in an answer that is ok; else what the service, or the network, has to say.
    pub answer: String,
}

/// One strike.
#[derive(Clone, Debug, Serialize)]
pub struct Strike {
    /// When it began, in microseconds since the history began.
    pub began: u64,
    /// When what it hit was whole again.
    pub healed: u64,
    /// What it was.
    pub strike: String,
}

/// How many requests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// 2xx.
    pub ok: usize,
    /// 4xx.
    pub failed: usize,
    /// Everything else.
    pub unknown: usize,
}

/// What happens in a campaign, written to a file line by line as it happens.
pub struct History {
    began: Instant,
    /// When it began, by the wall clock: what the broker dates its entries by.
    pub began_at: Timestamp,
    /// Where it is written to, as JSON lines.
    pub path: PathBuf,
    told: Mutex<Told>,
}

struct Told {
    file: BufWriter<File>,
    requests: Vec<Request>,
    strikes: Vec<Strike>,
}

impl History {
    /// A new one, in this file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            began: Instant::now(),
            began_at: Timestamp::now(),
            path: path.to_owned(),
            told: Mutex::new(Told {
                file: BufWriter::new(file),
                requests: Vec::new(),
                strikes: Vec::new(),
            }),
        })
    }

    /// Microseconds since it began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds a request.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn asked(&self, request: Request) -> Result<()> {
        let mut told = self.told();
        told.write(&request)?;
        told.requests.push(request);
        Ok(())
    }

    /// Adds a strike.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn struck(&self, strike: Strike) -> Result<()> {
        let mut told = self.told();
        told.write(&strike)?;
        told.strikes.push(strike);
        Ok(())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.told().requests.clone()
    }

    /// All strikes so far.
    pub fn strikes(&self) -> Vec<Strike> {
        self.told().strikes.clone()
    }

    /// How many requests, sent after `since`, that satisfy `is`.
    pub fn count(&self, since: u64, is: impl Fn(&Request) -> bool) -> usize {
        let told = self.told();
        // They are in the order in which they ended; none takes longer than the client's time-out.
        told.requests
            .iter()
            .rev()
            .take_while(|request| request.ended >= since)
            .filter(|request| request.sent >= since && is(request))
            .count()
    }

    /// How many orders were accepted: answered 201, each counted once.
    pub fn accepted(&self) -> usize {
        accepted(&self.told().requests).len()
    }

    /// How many requests came to what.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for request in &self.told().requests {
            match request.outcome {
                Outcome::Ok => tally.ok += 1,
                Outcome::Failed => tally.failed += 1,
                Outcome::Unknown => tally.unknown += 1,
            }
        }
        tally
    }

    /// Puts all of it on disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> Result<()> {
        Ok(self.told().file.flush()?)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        Ok(self.file.write_all(b"\n")?)
    }
}

/// The orders that were answered 201.
pub fn accepted(requests: &[Request]) -> BTreeSet<OrderId> {
    requests
        .iter()
        .filter(|request| request.asked == Asked::Create && request.outcome == Outcome::Ok)
        .filter_map(|request| request.order_id.clone())
        .collect()
}
