//! The HTTP server: HTTP/1.1 that waits for no client for ever, which `axum::serve` does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use crate::shutdown::stopped;

/// How long a client may take for the head of a request, and how long a connection may lie idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many connections may be open at once, at 12 kB of memory each and some 30 kB with an order in hand; further ones
/// wait to be accepted.
const MAX_CONNECTIONS: usize = 8_192;

/// How many connections may wait to be accepted; the kernel has a bound of its own (`net.core.somaxconn`). A client whom
/// the queue has no room for tries again only after a second, then after two more.
const BACKLOG: u32 = 4_096;

/// Listens on `address`.
///
/// # Errors
/// The port is taken, or not allowed.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an instance that has just ended do not keep the port from the next one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `app` on `listener` until `stop` turns true; then no more connections, and it ends when the requests in hand
/// are answered.
pub async fn serve(listener: TcpListener, app: Router, stop: watch::Receiver<bool>) {
    serve_for(HEAD_TIMEOUT, listener, app, stop).await;
}

async fn serve_for(
    patience: Duration,
    mut listener: TcpListener,
    app: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            // Unlike tokio's own, this one waits and goes on where no file is left for another connection.
            let (stream, _) = Listener::accept(&mut listener).await;
            (place, stream)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = stopped(&mut stop) => break,
        };
        at_once(&stream);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection has ended before its time");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// What is said on a live stream goes out when it is said, not when the client has acknowledged what was before.
fn at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use futures::future::join_all;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    /// A server that waits so long for a head.
    fn started(patience: Duration) -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let app = Router::new().route("/", get(async || "here"));
        let serving = tokio::spawn(serve_for(patience, listener, app, stopping));
        (address, stop, serving)
    }

    /// What the server answers to `request` until it closes the connection.
    async fn answer(address: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_more_is_not_waited_for_for_ever() {
        const PATIENCE: Duration = Duration::from_secs(2);
        let (address, _stop, _) = started(PATIENCE);
        let begun = Instant::now();
        let requests = ["", "GET / HT", "GET / HTTP/1.1\r\nhost: here\r\n\r\n"];
        let answers = join_all(requests.map(|request| answer(address, request))).await;
        assert!(begun.elapsed() >= PATIENCE, "{:?}", begun.elapsed());
        let [silent, halting, idle] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!((silent.as_str(), halting.as_str()), ("", ""));
        assert!(idle.ends_with("here"), "{idle}");
    }

    #[tokio::test]
    async fn it_stops_without_waiting_for_those_who_ask_nothing() {
        let (address, stop, serving) = started(Duration::from_secs(3_600));
        let mut idle = TcpStream::connect(address).await.unwrap();
        let answer = answer(address, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
        stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "it is closed");
    }
}
