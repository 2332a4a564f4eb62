//! What asks a program to stop, and how it takes down what it has started before it does.

use anyhow::{Result, bail};
use futures::FutureExt as _;
use futures::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a supervisor, a closed terminal.
pub struct Signals([Signal; 3]);

impl Signals {
    /// From now on these signals do not end the process but come here.
    pub fn listen() -> Result<Self> {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [a, b, c] = kinds.map(signal);
        Ok(Self([a?, b?, c?]))
    }

    /// The next one.
    pub async fn next(&mut self) {
        select_all(self.0.iter_mut().map(|signal| signal.recv().boxed())).await;
    }
}

/// Does `work` unless a signal comes first: then what it holds is dropped, and with it its processes, folders and disks,
/// which would stay behind if the signal ended us.
pub async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = work => done,
        () = signals.next() => bail!("interrupted"),
    }
}
