//! Accepts connections and carries HTTP/1.1 on them, so that nobody holds one for nothing: a request has its time, and so has a
//! connection that becomes no socket, and there are no more of them than may be. Knows no page.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A connection's place among those that may be open. It is kept by whoever carries the connection on, and given back with the
/// last copy.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    /// Whether the connection carries an answer that goes on for as long as somebody listens.
    streams: Arc<AtomicBool>,
}

impl Place {
    /// From now on the connection may last for as long as this is kept.
    pub(crate) fn stream(&self) -> Streaming {
        self.streams.store(true, Ordering::Relaxed);
        Streaming(Arc::clone(&self.streams))
    }
}

/// Lets a connection last beyond its time. Whoever gives an answer that goes on drops it when there is no more to come: a client that
/// does not read the rest must not keep its place for it.
#[derive(Debug, Default)]
pub struct Streaming(Arc<AtomicBool>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a connection is carried with.
#[derive(Clone)]
struct Carrier {
    app: TowerToHyperService<Router>,
    http: Builder,
    ending: watch::Receiver<bool>,
}

/// Serves until `ending` becomes true, then lets requests finish that have begun. At most `max_open` connections are open, sockets
/// included; more wait until they are accepted.
pub(crate) async fn serve(listener: TcpListener, app: Router, max_open: usize, ending: watch::Receiver<bool>) {
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD);
    let carrier = Carrier { app: TowerToHyperService::new(app), http, ending: ending.clone() };
    let places = Arc::new(Semaphore::new(max_open.min(Semaphore::MAX_PERMITS)));
    let mut ended = pin!(ends(ending));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            (place, stream, peer) = accept(&listener, &places) => {
                open.spawn(carrier.clone().carry(stream, peer, place));
            }
            Some(_) = open.join_next() => {}
            () = &mut ended => break,
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it. Safe to cancel.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (Place, TcpStream, SocketAddr) {
    loop {
        // Nobody closes it.
        let Ok(permit) = places.clone().acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (Place { _permit: Arc::new(permit), streams: Arc::default() }, stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                // Out of file handles, most likely: asked again at once, the system would say the same.
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether only the connection that came is over.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl Carrier {
    /// Carries one connection until either side ends it, its time is over, or it becomes a socket.
    async fn carry(self, stream: TcpStream, peer: SocketAddr, place: Place) {
        // Messages are small and often come in pairs: held back until the first one is acknowledged, the second would come 40 ms late.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection delays small messages");
        }
        let (app, streams) = (self.app, Arc::clone(&place.streams));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(place.clone());
            app.call(request)
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = ends(self.ending) => None,
            () = is_over(&streams) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                if streams.load(Ordering::Relaxed) {
                    // It has an end of its own when the node has; whoever ends the doors bounds how long that takes.
                    connection.await
                } else {
                    timeout(FINISH_WITHIN, connection).await.unwrap_or(Ok(()))
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection failed");
        }
    }
}

/// Waits until the time of a connection is over, which does not come while it streams.
async fn is_over(streams: &AtomicBool) {
    loop {
        sleep(CONNECTION_WITHIN).await;
        if !streams.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn ends(mut ending: watch::Receiver<bool>) {
    // An error means that the sender is gone: the node ends.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// How long a client may take for a request's head, and leave a connection idle before it.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// How long a connection may last that becomes no socket. No page is large, and a browser opens another one.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
/// How long a request that has begun may take when its connection's time is over or the node ends.
const FINISH_WITHIN: Duration = Duration::from_secs(4);
/// How long nothing is accepted after the system refused.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_time_unless_it_streams() {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let place = Place { _permit: Arc::new(permit), streams: Arc::default() };
        let (streams, streaming) = (Arc::clone(&place.streams), place.stream());
        assert!(timeout(CONNECTION_WITHIN * 100, is_over(&streams)).await.is_err());
        drop(streaming);
        assert!(timeout(CONNECTION_WITHIN * 2, is_over(&streams)).await.is_ok());
    }
}
