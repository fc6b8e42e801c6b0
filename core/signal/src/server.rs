//! The HTTP server: routes to pages and sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use lockgate_model::Secret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Administer, OpenFeed};
use crate::dialect::{Dialect, Typed};
use crate::guest::{self, MintGuest};
use crate::listen::{self, Place};
use crate::pages;
use crate::problem::problem;
use crate::recorded::{self, FindRecorded};
use crate::rheomesh;
use crate::socket::{self, Arrival, MAX_FRAME};
use crate::turn::Turns;
use crate::whip::{self, Origins, Sessions};

/// What the node still lacks, in words; empty when it is ready.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// For `/ready`.
    pub ready: Readiness,
    /// For `/metrics`: the text.
    pub metrics: Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>,
    /// Who may read the metrics from elsewhere; none: only this machine.
    pub metrics_token: Option<Secret>,
    /// The web app, of which `app/index.html` is shown on `/` and `app/admin/index.html` on `/admin/`, and the client SDK.
    pub assets: &'static [Asset],
    /// For `/admin/v1`; none: there are no such pages.
    pub admin: Option<Administer>,
    /// For `/admin/v1/events`; none: there is no such page.
    pub feed: Option<OpenFeed>,
    /// For `/recorded/…`; none: there are no such pages.
    pub recorded: Option<FindRecorded>,
    /// For `/dev/token`; none: there is no such page.
    pub guest: Option<MintGuest>,
}

/// A file of the web app or of the client SDK.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its path without the first `/`: `app/…` or `sdk/…`; pages of all sites may load the latter.
    pub path: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

/// Everything the doors need.
pub struct Doors {
    /// What the pages show.
    pub pages: Pages,
    /// Where sockets are announced; when it is full, new ones are turned away.
    pub arrivals: mpsc::Sender<Arrival>,
    /// The other sites whose pages may publish and view over HTTP, and speak Rheomesh's dialect.
    pub origins: Origins,
    /// Whether the dialect of Rheomesh's examples is spoken at `/socket`.
    pub rheomesh: bool,
    /// Most connections that are open at a time, sockets included; more wait until they are accepted.
    pub max_open: usize,
}

/// Serves until `ending` becomes true, then lets open requests finish, and what operators have begun, though they may have hung up. Whoever calls
/// it bounds how long that takes.
pub async fn serve(listener: TcpListener, doors: Doors, ending: watch::Receiver<bool>) {
    let (max_open, turns) = (doors.max_open, Arc::new(Turns::new(MAX_OPERATING)));
    listen::serve(listener, routes(Arc::new(doors), Arc::clone(&turns)), max_open, ending).await;
    turns.over().await;
}

fn routes(doors: Arc<Doors>, turns: Arc<Turns>) -> Router {
    let (turns, sessions) = (Extension(turns), Extension(Arc::new(Sessions::default())));
    Router::new()
        .route("/", get(front_door))
        .route("/ws", get(socket_door))
        .route("/ws/schema.json", get(pages::schema))
        .route("/socket", get(rheomesh::socket))
        .route("/health", get(pages::health))
        .route("/ready", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .route("/dev/token", post(guest::mint))
        .route("/admin", get(pages::dashboard))
        .route("/admin/", get(pages::dashboard))
        .nest("/admin/v1", admin::routes().layer(turns))
        .route("/recorded/{room}/{session}/{file}", get(recorded::recorded))
        .route("/whip/{*rest}", any(whip::whip).layer(sessions.clone()))
        .route("/whep/{*rest}", any(whip::whep).layer(sessions))
        .route("/app/{*path}", get(pages::asset))
        .route("/sdk/{*path}", get(pages::asset))
        .fallback(async || problem(StatusCode::NOT_FOUND, "not-found", "there is no such page"))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(doors)
}

/// A WebSocket upgrade on `/` is the seed's door; anything else gets the web app.
async fn front_door(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Place>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => open_socket(upgrade, peer, place, &doors, Box::new(Typed)),
        Err(_) => pages::serve_asset(&doors, "app/index.html"),
    }
}

async fn socket_door(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Place>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => open_socket(upgrade, peer, place, &doors, Box::new(Typed)),
        Err(rejection) => no_upgrade(rejection),
    }
}

/// The answer to a request that is none for a WebSocket.
pub(crate) fn no_upgrade(rejection: WebSocketUpgradeRejection) -> Response {
    let response = rejection.into_response();
    if response.status() == StatusCode::BAD_REQUEST {
        return problem(StatusCode::UPGRADE_REQUIRED, "invalid-message", "open a WebSocket here");
    }
    response
}

/// Opens a socket for a client that speaks like this.
pub(crate) fn open_socket(
    upgrade: WebSocketUpgrade,
    peer: SocketAddr,
    place: Place,
    doors: &Doors,
    dialect: Box<dyn Dialect>,
) -> Response {
    let arrivals = doors.arrivals.clone();
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME);
    upgrade.on_upgrade(move |socket| async move {
        socket::carry(socket, peer, arrivals, dialect).await;
        drop(place);
    })
}

/// Operators' requests of one network that may be open: a fourth of those that may wait for policy.
const MAX_OPERATING: usize = 4;
/// What a socket holds for reading, and clears before each attempt to read: most messages are smaller, larger ones make it grow. The
/// library's 128 KiB would be the most that a member of a room costs, in memory and, as every announcement wakes a socket, in time.
const READ_BUFFER: usize = 4 << 10;
