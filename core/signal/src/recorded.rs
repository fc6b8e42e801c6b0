//! `GET /recorded/{room}/{session}/{file}?ticket=…`: a recorded file, as a whole or in ranges (RFC 9110 §14), so that players may seek.
//!
//! A player sends no bearer token. The operator's interface hands out links with a ticket, which is for one file and a while.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, RecordingId, RoomName, Secret};
use serde::Deserialize;
use tower_http::services::ServeFile;

use crate::listen::{Place, Streaming};
use crate::problem::{problem, refuse};
use crate::server::Doors;

/// Says where a recorded file lies, to whoever has a ticket for it.
pub type FindRecorded =
    Arc<dyn Fn(RecordedRequest) -> Pin<Box<dyn Future<Output = Result<PathBuf, Denial>> + Send>> + Send + Sync>;

/// Somebody wants a recorded file.
#[derive(Debug)]
pub struct RecordedRequest {
    /// The room that was recorded.
    pub room: RoomName,
    /// The session.
    pub session: RecordingId,
    /// The file's name in the session's folder.
    pub file: String,
    /// Why they may have it.
    pub ticket: Secret,
}

#[derive(Deserialize)]
pub(crate) struct Ticket {
    ticket: String,
}

pub(crate) async fn recorded(
    State(doors): State<Arc<Doors>>,
    Extension(place): Extension<Place>,
    Path((room, session, file)): Path<(String, String, String)>,
    ticket: Result<Query<Ticket>, QueryRejection>,
    request: Request,
) -> Response {
    let Some(find) = &doors.pages.recorded else {
        return problem(StatusCode::NOT_FOUND, "not-found", "there is no such page");
    };
    let (Ok(room), Ok(session)) = (RoomName::new(room), RecordingId::new(session)) else {
        return refuse(&Denial::new(ErrorCode::NOT_FOUND, "there is no such recording"));
    };
    let Ok(Query(Ticket { ticket })) = ticket else {
        return refuse(&Denial::new(
            ErrorCode::UNAUTHENTICATED,
            "the operator's interface has links to recorded files",
        ));
    };
    // A file may take longer than connections have.
    let streaming = place.stream();
    match find(RecordedRequest { room, session, file, ticket: Secret::new(ticket) }).await {
        Ok(path) => serve(path, request, streaming).await,
        Err(denial) => refuse(&denial),
    }
}

async fn serve(path: PathBuf, request: Request, streaming: Streaming) -> Response {
    let mut response = match ServeFile::new(path).try_call(request).await {
        Ok(response) => response.map(|body| {
            let rest = (Body::new(body).into_data_stream(), streaming);
            Body::from_stream(stream::unfold(rest, |(mut chunks, streaming)| async move {
                let chunk = chunks.next().await?;
                Some((chunk, (chunks, streaming)))
            }))
        }),
        Err(error) => {
            tracing::warn!(%error, "a recorded file cannot be read");
            return problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the file cannot be read; the node's log says why",
            );
        }
    };
    let headers = response.headers_mut();
    // It is somebody's meeting: no cache on the way keeps it, and nothing in it is run.
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response.into_response()
}
