//! The HTTP server: HTTP/1.1 with a bound on everything that a client can make it hold, which `axum::serve` lacks.

use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use crate::http::sse::{SseClient, SseLimits};
use crate::http::write_timeout::WriteTimeout;
use crate::shutdown::stopped;

/// How many connections may be open at once, at 12 kB of memory each and some 30 kB with an order in hand; further ones
/// wait to be accepted.
const MAX_CONNECTIONS: usize = 8_192;

/// How many connections event streams leave to probes and commands.
const RESERVED_CONNECTIONS: usize = 1_024;

/// The most streams of server-sent events for which there is room.
pub(crate) const SSE_ROOM: usize = MAX_CONNECTIONS - RESERVED_CONNECTIONS;

/// The largest head of a request in bytes, and the read buffer of a connection: what Node.js allows too. A larger head
/// is answered 431.
const MAX_HEAD: usize = 16 * 1024;

/// How many connections may wait to be accepted; the kernel has a bound of its own (`net.core.somaxconn`). A client whom
/// the queue has no room for tries again only after a second, then after two more.
const BACKLOG: u32 = 4_096;

/// What a client's connection may take.
#[derive(Clone, Copy, Debug)]
struct ConnectionLimits {
    /// How many connections may be open at once.
    connections: usize,
    /// If fewer places than this are free, a new connection serves one request, within `hurried`.
    crowded: usize,
    /// How long the head of a request may take, and how long a connection may be idle between two requests.
    head: Duration,
    /// As `head`, while places are few.
    hurried: Duration,
    /// How long a write may make no progress, because the client does not read.
    write: Duration,
}

const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: MAX_CONNECTIONS,
    crowded: RESERVED_CONNECTIONS,
    head: Duration::from_secs(60),
    hurried: Duration::from_secs(5),
    write: Duration::from_secs(20),
};

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

/// Serves `app` on `listener` until `stop` turns true; then accepts no more connections, and ends when the requests in
/// progress are answered.
pub(crate) fn serve(
    listener: TcpListener,
    app: Router,
    sse: SseLimits,
    stop: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        serve_within(LIMITS, listener, app, sse, stop).await;
    })
}

async fn serve_within(
    limits: ConnectionLimits,
    mut listener: TcpListener,
    app: Router,
    sse: SseLimits,
    mut stop: watch::Receiver<bool>,
) {
    let usual = builder(limits.head);
    let mut hurried = builder(limits.hurried);
    hurried.keep_alive(false);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            // Unlike tokio's own, this one waits and goes on where no file is left for another connection.
            let (stream, peer) = Listener::accept(&mut listener).await;
            (place, stream, peer)
        };
        let (place, stream, peer) = tokio::select! {
            accepted = accepted => accepted,
            () = stopped(&mut stop) => break,
        };
        send_at_once(&stream);
        let crowded = places.available_permits() < limits.crowded;
        let http = if crowded { &hurried } else { &usual };
        let service = ClientService {
            client: SseClient::new(sse.clone(), peer.ip()),
            app: TowerToHyperService::new(app.clone()),
        };
        let stream = WriteTimeout::new(stream, limits.write);
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
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

fn builder(head: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD);
    http
}

/// The app as one connection sees it: each request says who the client is.
struct ClientService {
    client: SseClient,
    app: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for ClientService {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.client.clone());
        self.app.call(request)
    }
}

/// An event on a live stream is sent when it is written, not when the client has acknowledged the one before.
fn send_at_once(stream: &TcpStream) {
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
    use crate::settings::Settings;

    /// The largest body of an answer here: more than the kernel buffers for a client that does not read.
    const LARGE: usize = 16 * 1024 * 1024;

    struct Server {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        serving: JoinHandle<()>,
    }

    impl Server {
        fn start(limits: ConnectionLimits) -> Self {
            let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopping) = watch::channel(false);
            let app = Router::new()
                .route("/", get(async || "here"))
                .route("/large", get(async || vec![b'x'; LARGE]));
            let sse = SseLimits::new(&Settings::of([("MAX_SSE", "1")]), 1).unwrap();
            let serving = tokio::spawn(serve_within(limits, listener, app, sse, stopping));
            Self {
                address,
                stop,
                serving,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Everything that the server sends after `request`, until it closes the connection.
        async fn answer(&self, request: &str) -> String {
            let mut connection = self.connect().await;
            connection.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn an_idle_client_is_disconnected() {
        const HEAD: Duration = Duration::from_secs(2);
        let server = Server::start(ConnectionLimits { head: HEAD, ..LIMITS });
        let begun = Instant::now();
        let requests = ["", "GET / HT", "GET / HTTP/1.1\r\nhost: here\r\n\r\n"];
        let answers = join_all(requests.map(|request| server.answer(request))).await;
        assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
        let [silent, halting, idle] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!((silent.as_str(), halting.as_str()), ("", ""));
        assert!(idle.ends_with("here"), "{idle}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_disconnected() {
        const WRITE: Duration = Duration::from_millis(500);
        let server = Server::start(ConnectionLimits {
            write: WRITE,
            ..LIMITS
        });
        let mut silent = server.connect().await;
        silent
            .write_all(b"GET /large HTTP/1.1\r\nhost: here\r\n\r\n")
            .await
            .unwrap();
        let mut slow = server.connect().await;
        slow.write_all(b"GET /large HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        // The slow one reads for three times the time-out, but reads.
        let mut read = 0;
        let mut buffer = vec![0; LARGE / 16];
        loop {
            match slow.read(&mut buffer).await.unwrap() {
                0 => break,
                more => read += more,
            }
            tokio::time::sleep(WRITE / 8).await;
        }
        assert!(read > LARGE, "{read}");
        let mut rest = Vec::new();
        let ended = silent.read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.len() < LARGE, "{}", rest.len());
    }

    #[tokio::test]
    async fn a_head_of_more_than_16_kb_is_refused() {
        let server = Server::start(LIMITS);
        let head = |kilobytes: usize| {
            format!(
                "GET / HTTP/1.1\r\nhost: here\r\nx: {}\r\nconnection: close\r\n\r\n",
                "x".repeat(kilobytes * 1024)
            )
        };
        let fits = server.answer(&head(15)).await;
        assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
        // The unread rest of the head may reset the connection, so only what the server had read before is sent.
        let unfinished = &head(17)[..MAX_HEAD];
        let refused = server.answer(unfinished).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    }

    #[tokio::test]
    async fn idle_connections_make_room_when_places_are_few() {
        let limits = ConnectionLimits {
            connections: 3,
            crowded: 2,
            head: Duration::from_secs(3_600),
            hurried: Duration::from_millis(200),
            ..LIMITS
        };
        let server = Server::start(limits);
        let _idle = [
            server.connect().await,
            server.connect().await,
            server.connect().await,
        ];
        let answer = server.answer("GET / HTTP/1.1\r\nhost: here\r\n\r\n").await;
        assert!(
            answer.ends_with("here") && answer.contains("connection: close"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_idle_connections() {
        let server = Server::start(LIMITS);
        let mut idle = server.connect().await;
        let answer = server.answer("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
        server.stop.send(true).unwrap();
        server.serving.await.unwrap();
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "it is closed");
    }
}
