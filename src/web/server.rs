//! The listener and its connections. axum's own `serve` has no timeout for receiving a request; this one closes
//! connections of slow clients. Called by `app`.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The timeout for receiving the complete head of a request, from the connection's start or the last response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long, at shutdown, a connection without a request so far may still send one.
const LAST_READ_TIMEOUT: Duration = Duration::from_millis(250);
/// The delay after a failed `accept`, e.g. because all file descriptors are in use.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then completes the requests in progress.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_with_timeout(listener, router, stop, HEAD_TIMEOUT).await;
}

async fn serve_with_timeout(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    head_within: Duration,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_within);
    // Aborted when this future is dropped because the shutdown takes too long.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Responses are small and clients wait for them; Nagle's algorithm would only delay them.
                stream.set_nodelay(true).ok();
                connections.spawn(serve_connection(http.clone(), stream, router.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection. After `stop` it completes the current request and ends; a connection that never sent a
/// request is closed. Errors of a connection are ignored, because they concern only its client.
async fn serve_connection(http: http1::Builder, stream: TcpStream, router: Router, stop: CancellationToken) {
    let asked = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let ended = tokio::time::timeout(LAST_READ_TIMEOUT, connection.as_mut()).await.is_ok();
    if !ended && asked.load(Ordering::Relaxed) {
        connection.await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        /// Notified when `/slow` is requested.
        begun: Arc<Notify>,
        running: JoinHandle<()>,
    }

    /// Starts a server whose `/slow` responds when it is notified.
    async fn server(head_within: Duration) -> Server {
        let (stop, begun) = (CancellationToken::new(), Arc::<Notify>::default());
        let (told, begins) = (stop.clone(), begun.clone());
        let slow = get(|| async move {
            begins.notify_one();
            told.cancelled().await;
            tokio::task::yield_now().await;
            "done"
        });
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", slow);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let running = tokio::spawn(serve_with_timeout(listener, router, stop.clone(), head_within));
        Server { address, stop, begun, running }
    }

    /// Sends the text and returns everything the server sends until it closes the connection.
    async fn answer(address: SocketAddr, said: &str) -> String {
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        connection.write_all(said.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("the end");
        answer
    }

    #[tokio::test]
    async fn a_connection_without_a_complete_request_head_is_closed() {
        let Server { address, .. } = server(Duration::from_millis(50)).await;
        for said in ["", "GET / HTTP/1.1\r\nHost: x\r\nX:"] {
            let seen = answer(address, said).await;
            assert!(!seen.contains("200 OK"), "{seen}");
        }
        let seen = answer(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(seen.starts_with("HTTP/1.1 200 OK") && seen.ends_with("here"), "{seen}");
    }

    #[tokio::test]
    async fn the_shutdown_waits_for_requests_in_progress_and_not_for_idle_connections() {
        let Server { address, stop, begun, running } = server(Duration::from_secs(600)).await;
        let mut idle = TcpStream::connect(address).await.expect("a connection");
        let mut slow = TcpStream::connect(address).await.expect("a connection");
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        idle.read_exact(&mut [0; 4]).await.expect("an answer");
        begun.notified().await;
        let _silent = TcpStream::connect(address).await.expect("a connection");
        stop.cancel();
        let mut seen = String::new();
        slow.read_to_string(&mut seen).await.expect("an answer");
        assert!(seen.ends_with("done"), "{seen}");
        running.await.expect("the server stops");
        assert!(TcpStream::connect(address).await.is_err(), "expected no new connection");
    }
}
