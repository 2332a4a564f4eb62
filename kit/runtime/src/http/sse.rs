//! Server-sent events: how many streams may be open, so that streams never take the connections that probes and commands
//! need.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _};

use crate::http::problem::Problem;
use crate::settings::Settings;

/// How long one stream may last; browsers connect again by themselves.
const STREAM_LIFETIME: Duration = Duration::from_secs(3_600);

/// The default of `MAX_SSE`: half of the 1,024 files that a process may have open on many systems.
const MAX_SSE: usize = 512;

/// The default of `MAX_SSE_PER_ADDRESS`: browsers open six connections to a host; some people share an address.
const MAX_SSE_PER_ADDRESS: usize = 64;

/// Counts the open streams of a process, and refuses more than its settings allow.
#[derive(Clone, Debug)]
pub struct SseLimits(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl SseLimits {
    /// Reads `MAX_SSE` (512) and `MAX_SSE_PER_ADDRESS` (64). `most` is what the server has room for.
    ///
    /// # Errors
    /// A setting is no number, or `MAX_SSE` is more than `most`.
    pub(crate) fn new(settings: &Settings, most: usize) -> anyhow::Result<Self> {
        let total = settings.or("MAX_SSE", MAX_SSE)?;
        ensure!(
            total <= most,
            "MAX_SSE={total}: must be at most {most}, so that connections are left for probes and commands"
        );
        let per_address = settings.or("MAX_SSE_PER_ADDRESS", MAX_SSE_PER_ADDRESS)?;
        let open = Mutex::default();
        Ok(Self(Arc::new(Counted {
            total,
            per_address,
            open,
        })))
    }

    fn take(&self, address: IpAddr) -> Result<SsePlace, Problem> {
        let Counted {
            total,
            per_address,
            open,
        } = &*self.0;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= *total {
            return Err(Problem::unavailable(format!(
                "{total} streams of events are open already (MAX_SSE); try again later, or ask without \
                 `Accept: text/event-stream`"
            )));
        }
        let of_address = open.by_address.get(&address).copied().unwrap_or_default();
        if of_address >= *per_address {
            return Err(Problem::unavailable(format!(
                "{of_address} streams of events are open already from {address} (MAX_SSE_PER_ADDRESS); close one first, or \
                 ask without `Accept: text/event-stream`"
            )));
        }
        open.total += 1;
        open.by_address.insert(address, of_address + 1);
        let limits = self.clone();
        Ok(SsePlace { limits, address })
    }
}

/// One open stream. Dropped with the answer that it belongs to.
#[derive(Debug)]
pub struct SsePlace {
    limits: SseLimits,
    address: IpAddr,
}

impl SsePlace {
    /// Answers with these events, for an hour at most.
    pub fn answer(self, events: impl Stream<Item = Event> + Send + 'static) -> Response {
        let events = events
            .take_until(tokio::time::sleep(STREAM_LIFETIME))
            .map(move |event| {
                let _held = &self;
                Ok::<_, Infallible>(event)
            });
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }
}

impl Drop for SsePlace {
    fn drop(&mut self) {
        let mut open = self.limits.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// The client of a request, who may ask for a stream. The server adds it to every request.
#[derive(Clone, Debug)]
pub struct SseClient {
    limits: SseLimits,
    address: IpAddr,
}

impl SseClient {
    pub(crate) fn new(limits: SseLimits, address: IpAddr) -> Self {
        let address = counted_as(address);
        Self { limits, address }
    }

    /// Takes a place for a stream.
    ///
    /// # Errors
    /// 503 if this client's address, or the whole process, has as many streams open as it may.
    pub fn place(&self) -> Result<SsePlace, Problem> {
        self.limits.take(self.address)
    }
}

/// Whoever has one IPv6 address has all of its /64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SseClient {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Self>().cloned();
        client.ok_or_else(|| Problem::internal("the server does not say who the client is"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: &str, per_address: &str) -> anyhow::Result<SseLimits> {
        let settings = Settings::of([("MAX_SSE", total), ("MAX_SSE_PER_ADDRESS", per_address)]);
        SseLimits::new(&settings, 1_000)
    }

    #[test]
    fn streams_are_counted_by_address_and_in_all() {
        let limits = limits("3", "2").unwrap();
        let client = |address: &str| SseClient::new(limits.clone(), address.parse().unwrap());
        let refused = |address: &str| client(address).place().unwrap_err().detail;
        let first = client("192.0.2.1").place().unwrap();
        let _second = client("192.0.2.1").place().unwrap();
        assert!(refused("192.0.2.1").contains("MAX_SSE_PER_ADDRESS"));
        assert!(refused("::ffff:192.0.2.1").contains("from 192.0.2.1"));
        let _third = client("2001:db8::1").place().unwrap();
        assert!(refused("192.0.2.2").contains("(MAX_SSE)"));
        drop(first);
        let _fourth = client("2001:db8::2").place().unwrap();
        assert!(refused("192.0.2.1").contains("(MAX_SSE)"));
        assert_eq!(
            limits.0.open.lock().unwrap().by_address.len(),
            2,
            "one /64 is one address"
        );
    }

    #[test]
    fn connections_are_left_for_probes_and_commands() {
        assert!(limits("1000", "1").is_ok());
        assert!(
            limits("1001", "1")
                .unwrap_err()
                .to_string()
                .starts_with("MAX_SSE=1001")
        );
    }
}
