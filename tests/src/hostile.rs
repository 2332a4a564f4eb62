//! Clients that take what they can and give nothing: they open event streams, never read, never finish, or read very slowly.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How many requests are sent at once without a look at the answers.
const PIPELINED: usize = 3_000;
/// The headers of an endless head, and the size of each: far more than any service takes.
const HEADERS: usize = 95;
const HEADER_BYTES: usize = 4_000;
/// How long a sender of headers looks for an answer after each.
const GLANCE: Duration = Duration::from_millis(200);
/// How often a slow reader reads one byte.
const SIP: Duration = Duration::from_millis(100);

/// A `GET` of `path`.
fn get(address: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\n\r\n")
}

/// A connection to `address` from one of 250 loopback addresses.
async fn connect_from(address: &str, number: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(number % 250).unwrap_or_default() + 1;
    socket.bind((Ipv4Addr::new(127, 0, 1, last), 0).into())?;
    Ok(socket.connect(address.parse()?).await?)
}

/// Sends many requests and never reads an answer; returns once the server has closed the connection.
pub async fn pipeline_without_reading(address: &str) -> Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    let pipelined = get(address, "/openapi.json").repeat(PIPELINED);
    // Writes block once the buffers on both sides are full, and fail once the server has closed the connection.
    while connection.write_all(pipelined.as_bytes()).await.is_ok() {}
    Ok(())
}

/// Sends a head that does not end, until the server answers or closes the connection; returns how many bytes it took, and the answer.
pub async fn send_endless_head(address: &str) -> Result<(usize, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let start = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n");
    connection.write_all(start.as_bytes()).await?;
    let mut sent = start.len();
    let mut answer = Vec::new();
    for number in 0..HEADERS {
        let header = format!("x-{number}: {}\r\n", "x".repeat(HEADER_BYTES));
        if connection.write_all(header.as_bytes()).await.is_err() {
            break;
        }
        sent += HEADER_BYTES;
        let answered = tokio::time::timeout(GLANCE, connection.read_buf(&mut answer)).await;
        if answered.is_ok() {
            break;
        }
    }
    Ok((sent, String::from_utf8_lossy(&answer).into_owned()))
}

/// Begins a head and leaves it at that; returns once the server has closed the connection.
pub async fn leave_head_unfinished(address: &str) -> Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: {address}\r\nx: {}",
        "x".repeat(HEADER_BYTES)
    );
    connection.write_all(head.as_bytes()).await?;
    connection.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// Opens an event stream from one of many addresses and reads no more than the status line, of which `opened` is told the
/// status; keeps the connection until the future is dropped.
pub async fn open_events(address: &str, path: &str, number: usize, opened: impl Fn(u16)) -> Result<()> {
    let mut connection = connect_from(address, number).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    connection.read_exact(&mut status).await?;
    let status = String::from_utf8_lossy(&status[9..]).into_owned();
    opened(status.parse()?);
    std::future::pending().await
}

/// Asks for a long answer and reads it byte by byte, for ever; returns once the server has closed the connection.
pub async fn read_slowly(address: &str) -> Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    let requests = get(address, "/openapi.json").repeat(PIPELINED / 100);
    connection.write_all(requests.as_bytes()).await?;
    let mut byte = [0];
    while connection.read(&mut byte).await? > 0 {
        tokio::time::sleep(SIP).await;
    }
    Ok(())
}
