//! The operator's interface, `/admin/v1`: reads what is wanted and says what came of it.
//!
//! Who may do it is the shell's to ask. No header lets other sites' pages in: they cannot send a bearer token here.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, PublisherId, RevokedWhat, RoomName, Secret, TrackId};
use serde::Deserialize;

use crate::MAX_SUBJECT;
use crate::body::{Unread, read_body};
use crate::pages::bearer;
use crate::problem::{problem, refuse};
use crate::server::Doors;
use crate::turn::{Turn, Turns};

/// Does what an operator wants, if policy lets them. Once it has begun it is carried to its end, even if the operator hangs up. An answer
/// with `problems` says that it was not done because of these.
pub type Administer =
    Arc<dyn Fn(AdminRequest) -> Pin<Box<dyn Future<Output = Result<serde_json::Value, Denial>> + Send>> + Send + Sync>;

/// What somebody wants of the node.
#[derive(Debug)]
pub struct AdminRequest {
    /// Who says so: the bearer token as it came.
    pub token: Secret,
    /// From which address.
    pub peer: IpAddr,
    /// What.
    pub act: AdminAct,
}

/// An operator's act.
#[derive(Debug)]
pub enum AdminAct {
    /// One participant may do something no more.
    RevokeParticipant {
        /// In which room.
        room: RoomName,
        /// Whose place.
        publisher: PublisherId,
        /// What.
        revocation: RevocationRequest,
    },
    /// Somebody may do something no more, in all rooms.
    RevokeSubject {
        /// Who, as the token's `sub` says.
        subject: String,
        /// What.
        revocation: RevocationRequest,
    },
    /// Which plugins answer?
    ShowPolicy,
    /// The configuration of plugins is to be read again.
    ReloadPolicy,
}

/// The body of a revocation; `{}` ends the stay.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RevocationRequest {
    /// What ends.
    pub what: RevokedWhat,
    /// Which track; none: all.
    pub track_id: Option<TrackId>,
    /// Why, for the one whom it concerns: at most 256 bytes.
    pub reason: String,
    /// For how long the subject is let in by no door, in ms; at most a day.
    pub hold_ms: u64,
}

impl Default for RevocationRequest {
    fn default() -> Self {
        let reason = "an operator revoked it".to_owned();
        Self { what: RevokedWhat::Stay, track_id: None, reason, hold_ms: 0 }
    }
}

/// Where a request comes from, and whose turn it is.
type Whence = (ConnectInfo<SocketAddr>, Extension<Arc<Turns>>);

/// `POST /admin/v1/rooms/{room}/participants/{publisher}/revoke`
pub(crate) async fn revoke_participant(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path((room, publisher)): Path<(String, String)>,
    request: Request,
) -> Response {
    let named = RoomName::new(room).ok().zip(publisher.parse().ok().map(PublisherId));
    let Some((room, publisher)) = named else { return refuse(&not_found("the room has no such participant")) };
    let read = revoking(|revocation| {
        if revocation.hold_ms > 0 {
            return Err(Denial::new(ErrorCode::INVALID_MESSAGE, "`holdMs` is for subjects"));
        }
        Ok(AdminAct::RevokeParticipant { room, publisher, revocation })
    });
    act(doors, whence, request, read).await
}

/// `POST /admin/v1/subjects/{subject}/revoke`
pub(crate) async fn revoke_subject(
    doors: State<Arc<Doors>>,
    whence: Whence,
    Path(subject): Path<String>,
    request: Request,
) -> Response {
    if subject.len() > MAX_SUBJECT {
        return refuse(&not_found("nobody has such a subject"));
    }
    act(doors, whence, request, revoking(|revocation| Ok(AdminAct::RevokeSubject { subject, revocation }))).await
}

/// `GET /admin/v1/policy`
pub(crate) async fn show_policy(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |_| Ok(AdminAct::ShowPolicy)).await
}

/// `POST /admin/v1/policy/reload`
pub(crate) async fn reload_policy(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    act(doors, whence, request, |body| if body.is_empty() { Ok(AdminAct::ReloadPolicy) } else { Err(no_body()) }).await
}

fn no_body() -> Denial {
    Denial::new(ErrorCode::INVALID_MESSAGE, "this takes no body")
}

/// Reads what is to be done with a revocation.
fn revoking(
    act: impl FnOnce(RevocationRequest) -> Result<AdminAct, Denial>,
) -> impl FnOnce(&Bytes) -> Result<AdminAct, Denial> {
    |body| revocation(body).and_then(act)
}

async fn act(
    State(doors): State<Arc<Doors>>,
    (ConnectInfo(peer), Extension(turns)): Whence,
    request: Request,
    read: impl FnOnce(&Bytes) -> Result<AdminAct, Denial>,
) -> Response {
    let Some(administer) = &doors.pages.admin else {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    };
    // Only whoever shows a token is read from.
    let Some(token) = bearer(request.headers()) else {
        return refuse(&Denial::new(ErrorCode::UNAUTHENTICATED, "send a bearer token"));
    };
    let body = match read_body(request.into_body(), MAX_BODY).await {
        Ok(body) => body,
        Err(Unread::Broken) => return refuse(&Denial::new(ErrorCode::INVALID_MESSAGE, "the body cannot be read")),
        Err(Unread::Slow) => {
            return problem(StatusCode::REQUEST_TIMEOUT, "invalid-message", "the request did not come in time");
        }
    };
    let act = match read(&body) {
        Ok(act) => act,
        Err(denial) => return refuse(&denial),
    };
    let Some(turn) = turns.take(peer.ip()) else { return refuse(&too_many()) };
    let request = AdminRequest { token, peer: peer.ip().to_canonical(), act };
    match see_through(administer(request), turn).await {
        Ok(done) => {
            let status = if done.get("problems").is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            (status, [(header::CACHE_CONTROL, "no-store")], Json(done)).into_response()
        }
        Err(denial) => refuse(&denial),
    }
}

/// Does it in a task of its own: an operator who hangs up does not end it half done, nor has another turn before it is over.
async fn see_through(
    done: impl Future<Output = Result<serde_json::Value, Denial>> + Send + 'static,
    turn: Turn,
) -> Result<serde_json::Value, Denial> {
    let done = tokio::spawn(async move {
        let done = done.await;
        drop(turn);
        done
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an operator's act failed");
        Err(Denial::new(ErrorCode::INTERNAL, "the node failed at it"))
    })
}

/// No body is as good as `{}`.
fn revocation(body: &Bytes) -> Result<RevocationRequest, Denial> {
    let body = if body.is_empty() { b"{}" } else { &body[..] };
    let invalid = |problem: String| Denial::new(ErrorCode::INVALID_MESSAGE, problem);
    // A record would be read from a list of its values, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the body is a JSON object, or nothing".to_owned()));
    }
    let revocation: RevocationRequest = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    let is_plain = |text: &str| text.len() <= MAX_REASON && !text.chars().any(char::is_control);
    if !is_plain(&revocation.reason) {
        return Err(invalid("`reason` has at most 256 bytes, and no control characters".to_owned()));
    }
    if revocation.what == RevokedWhat::Stay && revocation.track_id.is_some() {
        return Err(invalid("a stay has no `trackId`".to_owned()));
    }
    if revocation.what != RevokedWhat::Stay && revocation.hold_ms > 0 {
        return Err(invalid("`holdMs` is for a stay: nobody is kept out who is in".to_owned()));
    }
    if revocation.hold_ms > MAX_HOLD_MS {
        return Err(invalid("`holdMs` is at most a day".to_owned()));
    }
    Ok(revocation)
}

fn too_many() -> Denial {
    let denial =
        Denial::new(ErrorCode::RATE_LIMITED, "too many requests from your address are open; wait for their answers");
    Denial { retry_after_ms: Some(RETRY_MS), ..denial }
}

fn not_found(message: &str) -> Denial {
    Denial::new(ErrorCode::NOT_FOUND, message)
}

/// When whoever has too many requests open may look again.
const RETRY_MS: u64 = 1000;
const MAX_BODY: usize = 16 * 1024;
const MAX_REASON: usize = 256;
const MAX_HOLD_MS: u64 = 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_read_and_what_makes_no_sense_is_refused() {
        let read = |text: &'static str| revocation(&Bytes::from_static(text.as_bytes()));
        let plain = read("").unwrap();
        assert_eq!((plain.what, plain.hold_ms), (RevokedWhat::Stay, 0));
        let track = read(r#"{"what": "publication", "trackId": "v1", "reason": "not here"}"#).unwrap();
        assert_eq!((track.what, track.reason.as_str()), (RevokedWhat::Publication, "not here"));
        for bad in [
            "[]",
            r#"{"what": "everything"}"#,
            r#"{"wat": "stay"}"#,
            r#"{"trackId": "v1"}"#,
            r#"{"reason": "a\nb"}"#,
            r#"{"holdMs": 86400001}"#,
            r#"{"what": "publication", "holdMs": 1000}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, ErrorCode::INVALID_MESSAGE, "{bad}");
        }
    }
}
