//! Plain pages: health, readiness, metrics, the web app, the client SDK.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use lockgate_model::Secret;

use crate::problem::problem;
use crate::server::{Asset, Doors};

/// `GET /health`: the process lives and answers.
pub(crate) async fn health() -> Response {
    Json(serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// `GET /ready`: the node can do its work; else 503 with what is missing.
pub(crate) async fn ready(State(doors): State<Arc<Doors>>) -> Response {
    let missing = (doors.pages.ready)();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": missing.is_empty(), "missing": missing }))).into_response()
}

/// `GET /metrics` in the Prometheus text format: for this machine, or with the configured token.
pub(crate) async fn metrics(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let allowed = match &doors.pages.metrics_token {
        Some(token) => bearer(&headers).is_some_and(|given| given == *token),
        None => peer.ip().to_canonical().is_loopback() && asks_this_machine(&headers) && !is_forwarded(&headers),
    };
    if !allowed {
        return problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "metrics are for this machine; set [metrics] token to read them from elsewhere",
        );
    }
    let text = (doors.pages.metrics)().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// `GET /ws/schema.json`: what is said on a socket. It is for everybody, and pages of all sites.
pub(crate) async fn schema() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/schema+json"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, SCHEMA.as_str()).into_response()
}

/// The web app's and the SDK's files, compiled in.
pub(crate) async fn asset(State(doors): State<Arc<Doors>>, uri: Uri) -> Response {
    serve_asset(&doors, uri.path().trim_start_matches('/'))
}

/// `GET /admin/`: the operator's page. It is no secret: what it shows, it asks for with the operator's token.
pub(crate) async fn dashboard(State(doors): State<Arc<Doors>>) -> Response {
    serve_asset(&doors, "app/admin/index.html")
}

pub(crate) fn serve_asset(doors: &Doors, path: &str) -> Response {
    let Some(asset) = doors.pages.assets.iter().find(|asset| asset.path == path) else {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    };
    let Asset { media_type, bytes, .. } = *asset;
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    ];
    // The SDK is for pages of other sites, too. It is no secret, and knows none.
    let mut response = (headers, bytes).into_response();
    if path.starts_with("sdk/") {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// Whether a request names this machine by its loopback: one from elsewhere that a proxy here passes on names another host.
pub(crate) fn asks_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether a page of the very host asks that it asks. Clients that are no browsers name no origin.
pub(crate) fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && host == text(header::HOST)
}

/// Whether a proxy says that it passes the request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
}

/// Made once, when somebody asks for it.
static SCHEMA: LazyLock<String> = LazyLock::new(lockgate_model::schema::dialect_text);
/// What proxies add (RFC 7239, and what was there before it).
const FORWARDED: &[&str] =
    &["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];
/// The app loads nothing from elsewhere and talks to its own node only.
const CONTENT_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob: mediastream:; \
     img-src 'self' data: blob:; style-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
