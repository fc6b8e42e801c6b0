//! Guest tokens for development: a page on the same machine gets a ten-minute token without an account.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::timeout;

use crate::body::BODY_WITHIN;
use crate::pages::{asks_this_machine, is_own_origin};
use crate::problem::problem;
use crate::server::Doors;

/// Makes a token for a guest of this name.
pub type MintGuest = Arc<dyn Fn(&GuestRequest) -> Option<String> + Send + Sync>;

/// What a guest says of itself.
#[derive(Debug, Deserialize)]
pub struct GuestRequest {
    /// Name for people, 1–64 characters.
    pub name: String,
    /// Who it is, to renew its token: 32 hexadecimal digits of the page's own choice, told to nobody else.
    #[serde(default)]
    pub guest: Option<String>,
}

/// `POST /dev/token`. Only this machine's own pages get one: the peer is on loopback, and the page's origin is the host
/// it asks, so no other site's page can (Host and Origin are set by the browser, not by the page).
pub(crate) async fn mint(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(mint) = &doors.pages.guest else {
        return problem(StatusCode::NOT_FOUND, "not-found", "this node mints no guest tokens");
    };
    if !peer.ip().to_canonical().is_loopback() || !is_own_page(request.headers()) {
        return problem(StatusCode::FORBIDDEN, "forbidden", "guest tokens are for pages of this machine only");
    }
    // Only now: whoever may not ask is not read from.
    let request = match timeout(BODY_WITHIN, Json::<GuestRequest>::from_request(request, &())).await {
        Ok(Ok(Json(request))) => request,
        Ok(Err(rejection)) => return problem(rejection.status(), "invalid-message", &rejection.body_text()),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "invalid-message", "the request did not come in time"),
    };
    let length = request.name.trim().chars().count();
    if !(1..=64).contains(&length) {
        return problem(StatusCode::BAD_REQUEST, "invalid-message", "a guest's name has 1 to 64 characters");
    }
    let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if request.guest.as_ref().is_some_and(|id| !is_id(id)) {
        return problem(StatusCode::BAD_REQUEST, "invalid-message", "`guest` is 32 hexadecimal digits");
    }
    match mint(&request) {
        Some(token) => {
            ([(header::CACHE_CONTROL, "no-store")], Json(serde_json::json!({ "token": token }))).into_response()
        }
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the token could not be made"),
    }
}

/// Whether a page of this machine asks: an origin alone could be any name that leads here.
fn is_own_page(headers: &HeaderMap) -> bool {
    asks_this_machine(headers) && is_own_origin(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_nodes_own_page_may_ask() {
        assert!(is_own_page(&headers("127.0.0.1:9000", Some("http://127.0.0.1:9000"))));
        assert!(is_own_page(&headers("localhost:9000", Some("http://localhost:9000"))));
        assert!(is_own_page(&headers("[::1]", Some("http://[::1]"))));
        for (host, origin) in [
            ("127.0.0.1:9000", Some("https://evil.example")),
            ("127.0.0.1:9000", Some("null")),
            ("127.0.0.1:9000", None),
            ("evil.example:9000", Some("http://evil.example:9000")),
        ] {
            assert!(!is_own_page(&headers(host, origin)), "{host} {origin:?}");
        }
    }
}
