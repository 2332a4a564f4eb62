//! The console: one page that shows the whole flow at a glance, live.
//!
//! The console reads the EVENTS log and the buckets, as everybody may, and coordinates nothing: the system runs the same
//! without it. The page shows a fold of the log, made anew at every start; nothing is stored elsewhere.
//!
//! The modules: [`view`] folds the log into all orders at once; [`map`] shows who hears whom, from the consumers that
//! exist; [`story`] reads one order in full from the buckets; `follow` keeps view and map up to date; [`http`] serves them,
//! live, and forwards commands about orders to the services; `shop` forwards what is about items, prices and couriers; `scrub`
//! compares the replicas of the streams now and then.
//!
//! Settings: those of every service (`NATS_URL`, `NATS_CREDS`, `BIND`, `PORT`, `RUST_LOG`, `LOG_FORMAT`, `ALLOWED_HOSTS`,
//! `MAX_SSE`, `MAX_SSE_PER_ADDRESS`), `ORDER_URL`, `PAYMENT_URL`, `INVENTORY_URL` and `DELIVERY_URL`, to which requests are
//! forwarded, and `SCRUB_PERIOD`. The console does not authenticate anybody: whoever reaches its port sees and does everything,
//! so it listens on this machine only unless `BIND` says otherwise.

#![allow(missing_docs)] // Not published: a comment says why, or is not there.

pub mod http;
pub mod map;
pub mod story;
pub mod view;

mod app;
mod follow;
mod live;
mod proxy;
mod scrub;
mod shop;

use std::time::Duration;

use anyhow::Context as _;
use quadrille_runtime::Settings;
use quadrille_runtime::http::Edge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::follow::Shared;

/// How long the requests in progress may take at a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Serves the console on `listener` until `stop` turns true. The page is there before NATS is.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let nats_url = settings.or("NATS_URL", "nats://127.0.0.1:4222".to_owned())?;
    let services = proxy::Services::new(&settings)?;
    let edge = Edge::new(&settings)?;
    let scrub_period = settings.duration("SCRUB_PERIOD", scrub::PERIOD)?;
    let shared = Shared::new(stop.clone());
    let address = listener.local_addr()?;
    let app = http::routes(shared.clone(), services, &edge);
    let serving_stop = stop.clone();
    let mut serving = tokio::spawn(async move { edge.serve(listener, app, serving_stop).await });
    info!("listening on http://{address}");
    tokio::select! {
        failed = follow::keep(&nats_url, &shared, scrub_period) => return failed.map(|never| match never {}),
        served = &mut serving => served.context("the HTTP server panicked")?,
        () = stopped(stop.clone()) => {
            if tokio::time::timeout(STOP_TIMEOUT, serving).await.is_err() {
                warn!("some connections were still open after {STOP_TIMEOUT:?}; they are closed");
            }
        }
    }
    info!("stopped");
    Ok(())
}

/// Waits until the console is told to stop.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left who could tell.
    let _ = stop.wait_for(|stop| *stop).await;
}
