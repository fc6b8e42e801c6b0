//! The operator's interface, `/admin/v1`: reads what is wanted and says what came of it.
//!
//! Who may do it is the shell's to ask. No header lets other sites' pages in: they cannot send a bearer token here.

mod act;
mod feed;
mod read;
mod routes;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;

pub use self::act::{
    AdminAct, AdminRequest, DrainRequest, MuteRequest, PageRequest, RecordingRequest, RecordingWish, RevocationRequest,
};
pub use self::feed::{FeedItem, FeedRequest, OpenFeed};
pub(crate) use self::routes::routes;
use crate::body::{Unread, read_body};
use crate::pages::bearer;
use crate::problem::{problem, refuse};
use crate::server::Doors;
use crate::turn::{Turn, Turns};

/// Does what an operator wants, if policy lets them. Once it has begun it is carried to its end, even if the operator hangs up. An answer
/// with `problems` says that it was not done because of these.
pub type Administer =
    Arc<dyn Fn(AdminRequest) -> Pin<Box<dyn Future<Output = Result<serde_json::Value, Denial>> + Send>> + Send + Sync>;

/// Where a request comes from, and whose turn it is.
type Whence = (ConnectInfo<SocketAddr>, Extension<Arc<Turns>>);

async fn act(
    State(doors): State<Arc<Doors>>,
    (ConnectInfo(peer), Extension(turns)): Whence,
    request: Request,
    read: impl FnOnce(Option<&str>, &Bytes) -> Result<AdminAct, Denial>,
) -> Response {
    let Some(administer) = &doors.pages.admin else {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    };
    // Only whoever shows a token is read from.
    let Some(token) = bearer(request.headers()) else {
        return refuse(&Denial::new(ErrorCode::UNAUTHENTICATED, "send a bearer token"));
    };
    let (head, body) = request.into_parts();
    let body = match read_body(body, MAX_BODY).await {
        Ok(body) => body,
        Err(Unread::Broken) => return refuse(&Denial::new(ErrorCode::INVALID_MESSAGE, "the body cannot be read")),
        Err(Unread::Slow) => {
            return problem(StatusCode::REQUEST_TIMEOUT, "invalid-message", "the request did not come in time");
        }
    };
    let act = match read(head.uri.query(), &body) {
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

fn too_many() -> Denial {
    let denial =
        Denial::new(ErrorCode::RATE_LIMITED, "too many requests from your address are open; wait for their answers");
    Denial { retry_after_ms: Some(RETRY_MS), ..denial }
}

/// When whoever has too many requests open may look again.
const RETRY_MS: u64 = 1000;
const MAX_BODY: usize = 16 * 1024;
