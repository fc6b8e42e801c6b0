//! `GET /socket?room=`: who comes, to which room, with which token.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use lockgate_model::{RoomName, Secret};
use serde::Deserialize;

use super::translator::Translator;
use crate::listen::Place;
use crate::pages::bearer;
use crate::problem::problem;
use crate::server::{Doors, no_upgrade, open_socket};
use crate::whip::cors::{self, Caller};

/// What the URL says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    room: Option<String>,
    token: Option<Secret>,
}

/// Opens a socket for the dialect of Rheomesh's examples. Who they are is told by the token; without one, policy is asked with an empty one,
/// and may let them in by where they come from: so pages of other sites must be named, as for requests over HTTP.
pub(crate) async fn socket(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Place>,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !doors.rheomesh {
        return problem(StatusCode::NOT_FOUND, "not-found", "this node does not speak Rheomesh's dialect");
    }
    if doors.origins.caller(&headers) == Caller::Stranger {
        return cors::stranger();
    }
    let invalid = |detail: &str| problem(StatusCode::BAD_REQUEST, "invalid-message", detail);
    let Ok(Query(Asked { room, token })) = query else {
        return invalid("the query cannot be read: write /socket?room=name, percent-encoded");
    };
    let room = match room.map(RoomName::new) {
        Some(Ok(room)) => room,
        Some(Err(problem)) => return invalid(&problem.to_string()),
        None => return invalid("the query names no room: write /socket?room=name"),
    };
    match upgrade {
        Ok(upgrade) => {
            let token = bearer(&headers).or_else(|| offered(&headers)).or(token).unwrap_or_default();
            let upgrade = upgrade.protocols([BEARER]);
            open_socket(upgrade, peer, place, &doors, Box::new(Translator::new(room, token)))
        }
        Err(rejection) => no_upgrade(rejection),
    }
}

/// The token after the subprotocol `bearer`: a page can set no other header.
fn offered(headers: &HeaderMap) -> Option<Secret> {
    let mut words = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?.split(',').map(str::trim);
    words.find(|word| word.eq_ignore_ascii_case(BEARER))?;
    words.next().map(Secret::new)
}

const BEARER: &str = "bearer";
