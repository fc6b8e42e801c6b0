//! `GET /admin/v1/events`: what happens, as server-sent events (WHATWG HTML §9.2).

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Secret};
use tokio::sync::mpsc;

use super::{read, too_many};
use crate::listen::{Place, Streaming};
use crate::pages::bearer;
use crate::problem::{problem, refuse};
use crate::server::Doors;
use crate::turn::Turns;

/// Lets somebody follow what happens, if policy lets them. They get nothing more when the other end is dropped.
pub type OpenFeed = Arc<
    dyn Fn(FeedRequest) -> Pin<Box<dyn Future<Output = Result<mpsc::Receiver<FeedItem>, Denial>> + Send>> + Send + Sync,
>;

/// Somebody wants to follow what happens.
#[derive(Debug)]
pub struct FeedRequest {
    /// Who says so: the bearer token as it came.
    pub token: Secret,
    /// From which address.
    pub peer: IpAddr,
    /// After which event; none: after the last one that there is.
    pub after: Option<u64>,
    /// To be kept until nothing more is told.
    pub streaming: Streaming,
}

/// What a reader is told.
#[derive(Debug)]
pub enum FeedItem {
    /// Something happened.
    Event {
        /// Its number.
        id: u64,
        /// Its kind.
        name: &'static str,
        /// The event as JSON, on one line.
        text: String,
    },
    /// Nothing for the reader happened up to here.
    At {
        /// The number of the last event.
        id: u64,
    },
}

/// `GET /admin/v1/events`
pub(super) async fn follow(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(turns): Extension<Arc<Turns>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Response {
    let Some(open) = &doors.pages.feed else {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    };
    let Some(token) = bearer(request.headers()) else {
        return refuse(&Denial::new(ErrorCode::UNAUTHENTICATED, "send a bearer token"));
    };
    let header = request.headers().get(LAST_EVENT_ID);
    let after = match read::after(request.uri().query(), header) {
        Ok(after) => after,
        Err(denial) => return refuse(&denial),
    };
    // Who they are is asked in a turn like any operator's; following takes none.
    let Some(turn) = turns.take(peer.ip()) else { return refuse(&too_many()) };
    let opened = open(FeedRequest { token, peer: peer.ip().to_canonical(), after, streaming: place.stream() }).await;
    drop(turn);
    match opened {
        Ok(items) => stream(items),
        Err(denial) => refuse(&denial),
    }
}

fn stream(items: mpsc::Receiver<FeedItem>) -> Response {
    let events = futures_util::stream::unfold(items, |mut items| async move {
        let item = items.recv().await?;
        Some((Ok::<_, Infallible>(event(item)), items))
    });
    let mut response = Sse::new(events).into_response();
    // Reverse proxies pass on each event when it comes, and not when a buffer is full.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    // The connection has no limit of time any more: nothing else is to come over it.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn event(item: FeedItem) -> Event {
    match item {
        FeedItem::Event { id, name, text } => Event::default().id(id.to_string()).event(name).data(text),
        // Without data nothing is told, but the reader goes on from here if it must come again.
        FeedItem::At { id } => Event::default().id(id.to_string()).comment("nothing new"),
    }
}

const LAST_EVENT_ID: &str = "last-event-id";
