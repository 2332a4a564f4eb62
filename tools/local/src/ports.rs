//! Ports that are known before anybody listens on them, and that stay whose they are while nobody does: of a server that is
//! killed and started again.

use std::net::TcpStream;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Below those that the kernel gives to outgoing connections, and to whoever listens on port 0 (32768 on, on Linux).
const PORTS: Range<u32> = 20_000..32_000;

/// A free port, another one every time: this process begins somewhere and goes on from there.
pub fn free_port() -> Result<u16> {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random_range(PORTS)));
    let count = PORTS.end - PORTS.start;
    (0..count)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % count + PORTS.start)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| !is_taken(*port))
        .with_context(|| format!("no port from {} to {} is free", PORTS.start, PORTS.end))
}

/// Whether somebody listens on this port. Asked by a connection: whoever tries to listen there himself holds the port for a
/// moment longer than he wants to, if another thread starts a process just then, which inherits it until it is that program.
pub(super) fn is_taken(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
