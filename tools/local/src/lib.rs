//! A Quadrille on this machine: a real nats-server and the real programs as child processes.
//!
//! `quadrille run-all`, the stories in `tests/`, the faults and the bench all start a [`System`], so what a developer runs
//! by hand is what is tested. Reading order: [`Process`] (any child, its log and its end), [`NatsServer`] (the broker),
//! [`Instance`] (a service or the console, on a port), [`System`] (all of them), [`client`] (their HTTP, typed).
//!
//! **Nothing is left running.** Every child is the leader of its own process group (so the terminal's Ctrl-C reaches only
//! this process, which decides in which order things stop). Dropping its handle kills the group; and if this process dies
//! without dropping anything (SIGKILL, `cargo test` interrupted, a static), a guardian per child does it: see [`process`].

pub mod client;
pub mod cluster;
mod instance;
pub mod nats_server;
pub mod picture;
pub mod ports;
pub mod process;
pub mod program;
pub mod shop;
pub mod signals;
pub mod system;
pub mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use quadrille_runtime::operator::Operator;

pub use cluster::Cluster;
pub use instance::{Instance, Launch};
pub use nats_server::{NatsServer, NatsServerBuilder, nats_server_binary};
pub use ports::free_port;
pub use process::{Process, ProcessBuilder};
pub use program::{Program, Service};
pub use signals::{Signals, unless_interrupted};
pub use system::{System, SystemBuilder};

/// The root of the repository: the first folder above this executable that holds the `justfile` and
/// `deploy/tools.txt`, else the folder it was compiled in (they differ when cargo's target folder is elsewhere).
pub fn repo_root() -> PathBuf {
    let is_root =
        |folder: &Path| folder.join("justfile").is_file() && folder.join("deploy/tools.txt").is_file();
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|folder| is_root(folder)).map(Path::to_owned))
        .unwrap_or_else(|| {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            here.ancestors().nth(2).unwrap_or(here).to_owned()
        })
}

/// An environment variable, where the empty string counts as not set (as `FOO= command` is usually meant).
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The port that NATS clients and servers use by default.
const DEFAULT_NATS_PORT: u16 = 4222;

/// The port of the nats-server that `run-all` starts: `NATS_PORT`, else 4222.
pub fn nats_port() -> Result<u16> {
    env("NATS_PORT").map_or(Ok(DEFAULT_NATS_PORT), |port| {
        port.parse()
            .with_context(|| format!("NATS_PORT is {port:?}, which is no port (0 to 65535)"))
    })
}

/// Where a running system's NATS server is: `NATS_URL`, else on this machine on [`nats_port`].
pub fn nats_url() -> Result<String> {
    env("NATS_URL").map_or_else(|| Ok(format!("nats://127.0.0.1:{}", nats_port()?)), Ok)
}

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects as an operator to the running system.
pub async fn connect() -> Result<Operator> {
    let url = nats_url()?;
    tokio::time::timeout(CONNECT_TIMEOUT, Operator::connect(&url))
        .await
        .with_context(|| {
            format!("no NATS server answers at {url}: start the system with `deploy/just run-all`")
        })?
}
