//! The paths of the operator's interface, and what each stands for.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, PublisherId, RecordingId, RoomName};

use super::{AdminAct, Whence, act, feed, read};
use crate::MAX_SUBJECT;
use crate::problem::{problem, refuse};
use crate::server::Doors;

/// The routes below `/admin/v1`.
pub(crate) fn routes() -> Router<Arc<Doors>> {
    all().into_iter().fold(Router::new(), |router, (path, route)| {
        let wrong =
            async || problem(StatusCode::METHOD_NOT_ALLOWED, "invalid-message", "this page takes no such method");
        router.route(path, route.fallback(wrong))
    })
}

/// Each path once.
fn all() -> Vec<(&'static str, MethodRouter<Arc<Doors>>)> {
    vec![
        ("/node", get(show_node)),
        ("/decisions", get(list_decisions)),
        ("/recordings", get(list_recordings)),
        ("/recordings/{room}/{session}", get(show_recording)),
        ("/rooms", get(list_rooms)),
        ("/rooms/{room}", get(show_room)),
        ("/rooms/{room}/participants", get(list_participants)),
        ("/rooms/{room}/participants/{publisher}", delete(kick)),
        ("/rooms/{room}/participants/{publisher}/mute", post(mute)),
        ("/rooms/{room}/participants/{publisher}/revoke", post(revoke_participant)),
        ("/rooms/{room}/recording", post(record)),
        ("/subjects/{subject}/revoke", post(revoke_subject)),
        ("/policy", get(show_policy)),
        ("/policy/reload", post(reload_policy)),
        ("/drain", post(drain).delete(stop_draining)),
        ("/events", get(feed::follow)),
        ("/openapi.json", get(describe)),
    ]
}

async fn show_node(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_, body| read::nothing(body).map(|()| AdminAct::ShowNode)).await
}

async fn list_decisions(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |query, body| {
        read::nothing(body)?;
        read::page(query).map(AdminAct::ListDecisions)
    })
    .await
}

async fn list_recordings(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |query, body| {
        read::nothing(body)?;
        read::page(query).map(AdminAct::ListRecordings)
    })
    .await
}

async fn show_recording(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path((room, session)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (Ok(room), Ok(session)) = (RoomName::new(room), RecordingId::new(session)) else {
        return refuse(&not_found("there is no such recording"));
    };
    act(doors, whence, request, |_, body| read::nothing(body).map(|()| AdminAct::ShowRecording { room, session })).await
}

async fn list_rooms(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |query, body| {
        read::nothing(body)?;
        read::page(query).map(AdminAct::ListRooms)
    })
    .await
}

async fn show_room(doors: State<Arc<Doors>>, whence: Whence, Path(room): Path<String>, request: Request) -> Response {
    let Ok(room) = RoomName::new(room) else { return no_such_room() };
    act(doors, whence, request, |query, body| {
        read::nothing(body)?;
        read::page(query).map(|page| AdminAct::ShowRoom { room, page })
    })
    .await
}

async fn list_participants(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(room): Path<String>,
    request: Request,
) -> Response {
    let Ok(room) = RoomName::new(room) else { return no_such_room() };
    act(doors, whence, request, |query, body| {
        read::nothing(body)?;
        read::page(query).map(|page| AdminAct::ListParticipants { room, page })
    })
    .await
}

async fn kick(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some((room, publisher)) = place_of(place) else { return no_such_participant() };
    let read = |query: Option<&str>, body: &_| {
        let revocation = read::kick(query, body)?;
        Ok(AdminAct::RevokeParticipant { room, publisher, revocation })
    };
    act(doors, whence, request, read).await
}

async fn mute(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some((room, publisher)) = place_of(place) else { return no_such_participant() };
    act(doors, whence, request, |_, body| Ok(AdminAct::Mute { room, publisher, mute: read::mute(body)? })).await
}

async fn revoke_participant(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some((room, publisher)) = place_of(place) else { return no_such_participant() };
    let read = |_: Option<&str>, body: &_| {
        let revocation = read::revocation(body)?;
        if revocation.hold_ms > 0 {
            return Err(Denial::new(ErrorCode::INVALID_MESSAGE, "`holdMs` is for subjects"));
        }
        Ok(AdminAct::RevokeParticipant { room, publisher, revocation })
    };
    act(doors, whence, request, read).await
}

async fn record(doors: State<Arc<Doors>>, whence: Whence, Path(room): Path<String>, request: Request) -> Response {
    let Ok(room) = RoomName::new(room) else { return no_such_room() };
    act(doors, whence, request, |_, body| Ok(AdminAct::Record { room, recording: read::recording(body)? })).await
}

async fn revoke_subject(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(subject): Path<String>,
    request: Request,
) -> Response {
    if subject.len() > MAX_SUBJECT {
        return refuse(&not_found("nobody has such a subject"));
    }
    let read = |_: Option<&str>, body: &_| Ok(AdminAct::RevokeSubject { subject, revocation: read::revocation(body)? });
    act(doors, whence, request, read).await
}

async fn show_policy(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_, body| read::nothing(body).map(|()| AdminAct::ShowPolicy)).await
}

async fn reload_policy(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_, body| read::nothing(body).map(|()| AdminAct::ReloadPolicy)).await
}

async fn drain(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_, body| read::drain(body).map(AdminAct::Drain)).await
}

async fn stop_draining(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_, body| read::nothing(body).map(|()| AdminAct::StopDraining)).await
}

/// What all this is, for programs. It is no secret: it is the same in every node.
async fn describe(State(doors): State<Arc<Doors>>) -> Response {
    if doors.pages.admin.is_none() {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    }
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

fn place_of((room, publisher): (String, String)) -> Option<(RoomName, PublisherId)> {
    RoomName::new(room).ok().zip(publisher.parse().ok().map(PublisherId))
}

fn no_such_room() -> Response {
    refuse(&not_found("there is no such room"))
}

fn no_such_participant() -> Response {
    refuse(&not_found("the room has no such participant"))
}

fn not_found(message: &str) -> Denial {
    Denial::new(ErrorCode::NOT_FOUND, message)
}

/// OpenAPI 3.1. A route that it does not name fails a test here; what it says of answers is held against them in `tests/tests/system/openapi.rs`.
const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_nothing_else_is() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes: BTreeSet<_> = all().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, routes);
    }
}
