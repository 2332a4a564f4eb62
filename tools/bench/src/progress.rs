//! A line on the terminal that says how far a run is.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

const TICK: Duration = Duration::from_millis(500);

/// How much is done.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    /// One more is.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shown until it is dropped; nothing, if nobody looks.
pub struct ProgressLine {
    counter: Counter,
    showing: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows `label`, a count, and what is counted.
    pub fn of(label: &str, what: &str) -> Self {
        let counter = Counter::default();
        let (label, what, counted) = (label.to_owned(), what.to_owned(), counter.clone());
        let showing = std::io::stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                loop {
                    match counted.0.load(Ordering::Relaxed) {
                        0 => eprint!("\r\x1b[K{label}: {what} ..."),
                        some => eprint!("\r\x1b[K{label}: {some} {what} ..."),
                    }
                    tokio::time::sleep(TICK).await;
                }
            })
        });
        Self { counter, showing }
    }

    /// For whoever does it.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(showing) = &self.showing {
            showing.abort();
            eprint!("\r\x1b[K");
        }
    }
}
