//! What the stories stand on: a [`World`] with a real nats-server and the real service programs, of its own.
//!
//! Everything is awaited by a condition, with a deadline; no story sleeps, and no port is fixed.

pub mod hostile;

mod journeys;
mod order_alone;
mod programs;
mod provider;
mod world;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use quadrille_local::client::until;

pub use order_alone::OrderAlone;
pub use programs::{build, quadrille};
pub use provider::ProviderServer;
pub use world::{Options, World};

/// How long anything awaited may take. Much longer than it ever does; it only ends a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The quantity of every item that is not to run out.
pub const PLENTY: u64 = 10_000;

/// An item of which there is none.
pub const SOLD_OUT: &str = "unicorn";

/// Money before stock.
pub const PAY_FIRST: &str = "pay-first";
/// Stock before money.
pub const RESERVE_FIRST: &str = "reserve-first";

/// Looks again and again until there is something. A look that fails is no reason to give up: a server that is being started,
/// or three of them in an election, do not answer.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut failed = None;
    let found = until(PATIENCE, async || {
        let looked = look().await;
        failed = looked.as_ref().err().map(|error| format!(": {error:#}"));
        anyhow::Ok(looked.unwrap_or_default())
    });
    let found = found.await?;
    found.with_context(|| format!("not within {PATIENCE:?}{}", failed.unwrap_or_default()))
}

/// Says that something is left out, and what it lacks on this machine. On a developer's machine that may be; in CI there
/// has to be all that is tested with, unless the variable `unless` is set.
pub fn leave_out(lacks: &str, unless: &str) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    assert!(
        !is_set("CI") || is_set(unless),
        "{lacks}; {unless}=1 leaves out what is tested with it"
    );
    // Not `eprintln!`: of a test that passes, cargo shows nothing that was printed so.
    drop(writeln!(std::io::stderr(), "LEFT OUT: {lacks}"));
}
