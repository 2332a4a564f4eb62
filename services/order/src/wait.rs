//! `Prefer: wait=N` (RFC 7240): the answer to a new order waits until the order has ended or a person is next.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use futures::StreamExt;
use futures::stream::BoxStream;
use quadrille_events::{AwaitingApproval, Body, Completed, EventName, Opened, OrderCancelled, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::Problem;
use quadrille_runtime::operator::HistoryEntry;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::OrderService;

/// The longest wait: with the time of the commit it stays below the 20 s that any request may take.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The most requests that wait at once, each with four subscriptions; any more are answered as without the header.
const MAX_WAITING: usize = 1_024;

static PLACES: Semaphore = Semaphore::const_new(MAX_WAITING);

/// What ends a wait.
const ENDS: [&EventName; 4] = [
    Opened::NAME,
    AwaitingApproval::NAME,
    Completed::NAME,
    OrderCancelled::NAME,
];

/// A wait for what becomes of one order.
pub struct Wait {
    until: Instant,
    seconds: u64,
    events: BoxStream<'static, HistoryEntry>,
    _place: SemaphorePermit<'static>,
}

impl Wait {
    /// Begins to listen, before the order is placed, so that no event is missed. `None` if the client has not asked for it, or too many
    /// wait already.
    pub async fn begin(
        door: &Door<OrderService>,
        headers: &HeaderMap,
        order_id: &OrderId,
    ) -> Result<Option<Self>, Problem> {
        let Some(asked) = asked_seconds(headers) else {
            return Ok(None);
        };
        let Ok(place) = PLACES.try_acquire() else {
            return Ok(None);
        };
        let seconds = asked.min(MAX_WAIT.as_secs());
        Ok(Some(Self {
            until: Instant::now() + Duration::from_secs(seconds),
            seconds,
            events: door.arriving(order_id, ENDS).await?,
            _place: place,
        }))
    }

    /// The value of `Preference-Applied`.
    pub fn applied(&self) -> HeaderValue {
        let applied = format!("wait={}", self.seconds);
        HeaderValue::try_from(applied).unwrap_or(HeaderValue::from_static("wait"))
    }

    /// Waits; returns whose turn it is if it is a person's. `is_new` tells whether this request placed the order.
    pub async fn end(
        mut self,
        door: &Door<OrderService>,
        order_id: &OrderId,
        is_new: bool,
    ) -> Result<Option<&'static str>, Problem> {
        if !is_new {
            let history = door.history(order_id).await?;
            let last = history.last().map(|entry| entry.event.as_str());
            if last.is_some_and(|event| ENDS.iter().any(|name| name.subject == event)) {
                return Ok(last.and_then(who_is_next));
            }
        }
        let next = tokio::time::timeout_at(self.until, self.events.next()).await;
        Ok(next.ok().flatten().and_then(|entry| who_is_next(&entry.event)))
    }
}

fn who_is_next(event: &str) -> Option<&'static str> {
    if event == Opened::NAME.subject {
        Some("customer")
    } else if event == AwaitingApproval::NAME.subject {
        Some("shop owner")
    } else {
        None
    }
}

/// The seconds of the first `wait` among the preferences. One that is no whole number is ignored, as RFC 7240 asks of a server.
fn asked_seconds(headers: &HeaderMap) -> Option<u64> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_found_among_the_preferences() {
        let asked = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", HeaderValue::from_static(value));
            }
            asked_seconds(&headers)
        };
        assert_eq!(asked(&["wait=5"]), Some(5));
        assert_eq!(asked(&["respond-async, Wait = \"7\""]), Some(7));
        assert_eq!(asked(&["return=minimal; foo=1", "wait=0"]), Some(0));
        assert_eq!(asked(&["wait=5, wait=9"]), Some(5));
        for nothing in ["wait", "wait=-1", "wait=soon", "waiting=5", ""] {
            assert_eq!(asked(&[nothing]), None, "{nothing}");
        }
    }
}
