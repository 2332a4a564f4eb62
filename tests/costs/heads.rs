//! What a client costs a service that sends the head of a request and never ends it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use quadrille_tests::{OrderAlone, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Fewer than a process may have files open anywhere.
const CONNECTIONS: usize = 200;
/// Of memory for one of them. The largest head is 16 kB; the buffer that holds it grows by doubling.
const BYTES: f64 = 40_000.0;
/// Nearly the largest head that is read.
const LARGEST: usize = 15_000;
const TOO_LARGE: usize = 400_000;
/// How long a refusal may take; without one, a connection ends after 60 s.
const REFUSAL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_unfinished_head_costs_little_memory() {
    let order = OrderAlone::start().await.unwrap();
    let address = order.address();
    let before = order.memory();
    let each = || (order.memory() - before) / CONNECTIONS as f64;

    let mut connections = unfinished(address, LARGEST).await;
    // Until the service has read all of them, the kernel holds them.
    eventually(async || Ok((each() >= LARGEST as f64).then_some(())))
        .await
        .unwrap();
    println!("an unfinished head of {LARGEST} bytes costs {:.0} bytes", each());
    assert!(each() <= BYTES, "{:.0} bytes a connection", each());

    connections.extend(unfinished(address, TOO_LARGE).await);
    for connection in &mut connections[CONNECTIONS..] {
        let mut answer = Vec::new();
        let closed = connection.read_to_end(&mut answer);
        assert!(timeout(REFUSAL, closed).await.is_ok(), "still connected");
    }
    assert!(each() <= BYTES, "{:.0} bytes a connection", each());
}

/// Connections on each of which a head begins that has so many bytes and no end.
async fn unfinished(address: &str, bytes: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /healthz HTTP/1.1\r\nhost: {address}\r\nx: {}",
            "x".repeat(bytes)
        );
        // Fails when the server has closed the connection in the middle.
        drop(connection.write_all(head.as_bytes()).await);
        connections.push(connection);
    }
    connections
}
