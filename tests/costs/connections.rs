//! The memory that a client's connection costs a service.

use quadrille_tests::OrderAlone;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Below the usual limits of open files.
const CONNECTIONS: usize = 400;
/// The memory of one idle connection. Two thirds are hyper's buffers.
const BYTES: f64 = 20_000.0;

#[tokio::test]
async fn a_connection_that_is_kept_alive_costs_little_memory() {
    let order = OrderAlone::start().await.unwrap();
    let address = order.address();
    let before = order.memory();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 1_024];
        let read = connection.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{read}");
        connections.push(connection);
    }
    let each = (order.memory() - before) / CONNECTIONS as f64;
    assert!(each <= BYTES, "{each:.0} bytes a connection");
    drop(connections);
}
