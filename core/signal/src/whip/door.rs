//! The HTTP side: which method does what where, and what it is answered with.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_model::IceServer;
use lockgate_model::policy::Door;
use tokio::sync::oneshot;

use super::acts::{Act, FRAGMENT};
use super::cors::{self, Caller};
use super::fragment::Fragment;
use super::refusal::Refusal;
use super::session::{Opened, Opening, Session};
use super::sessions::{Ask, Handle, Sessions};
use super::stream::EVENTS;
use super::target::{Endpoint, Part, Target};
use crate::body::{Unread, read_body};
use crate::pages::bearer;
use crate::server::Doors;

/// Where a request comes from, and the sessions.
type Whence = (ConnectInfo<SocketAddr>, Extension<Arc<Sessions>>);

/// Everything below `/whip/`.
pub(crate) async fn whip(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    serve(Door::Whip, &doors, whence, request).await
}

/// Everything below `/whep/`.
pub(crate) async fn whep(doors: State<Arc<Doors>>, whence: Whence, request: Request) -> Response {
    serve(Door::Whep, &doors, whence, request).await
}

async fn serve(door: Door, doors: &Doors, whence: Whence, request: Request) -> Response {
    let (caller, method) = (doors.origins.caller(request.headers()), request.method().clone());
    let mut response = if caller == Caller::Stranger {
        cors::stranger()
    } else {
        answer(door, doors, whence, request).await.unwrap_or_else(IntoResponse::into_response)
    };
    cors::let_read(caller, &method, &mut response);
    response
}

async fn answer(door: Door, doors: &Doors, whence: Whence, request: Request) -> Result<Response, Refusal> {
    // Both names are as long.
    let path = request.uri().path().get("/whip/".len()..).unwrap_or_default();
    match Target::read(door, path)? {
        Target::Endpoint(endpoint) => at_endpoint(endpoint, doors, whence, request).await,
        Target::Session { of, id, part } => {
            let (_, Extension(sessions)) = whence;
            let handle = || sessions.find(&id, &format!("{}/{id}", of.path())).ok_or(Refusal::NO_SESSION);
            match part {
                Part::Whole => at_session(handle, request).await,
                Part::Layer => at_layers(handle, request).await,
                Part::Events => at_events(handle, request).await,
                Part::Stream(stream) => at_stream(handle, &stream, request).await,
            }
        }
    }
}

async fn at_endpoint(endpoint: Endpoint, doors: &Doors, whence: Whence, request: Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::POST => begin(endpoint, doors, whence, request).await,
        Method::OPTIONS => Ok(cors::options(ENDPOINT, Some(SDP))),
        // RFC 9725 §4.1: there is no representation.
        Method::GET | Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
        _ => Err(Refusal::Method(ENDPOINT)),
    }
}

async fn at_session(handle: impl Fn() -> Result<Handle, Refusal>, request: Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::PATCH => {
            let handle = handle()?;
            expect(&request, FRAGMENT, UNKNOWN_PATCH)?;
            let token = bearer(request.headers());
            let if_match = text(request.headers(), header::IF_MATCH);
            let body = read(request.into_body(), MAX_FRAGMENT).await?;
            let fragment = Fragment::read(&body);
            let fragment = fragment.map_err(|detail| Refusal::invalid(StatusCode::BAD_REQUEST, detail))?;
            let act = Act::Patch { if_match, fragment, new_tag: random_id()? };
            tell(&handle, token, act).await
        }
        Method::DELETE => tell(&handle()?, bearer(request.headers()), Act::End).await,
        Method::OPTIONS => {
            let mut response = cors::options(SESSION, None);
            response.headers_mut().insert("accept-patch", HeaderValue::from_static(FRAGMENT));
            Ok(response)
        }
        Method::GET | Method::HEAD => handle().map(|_| StatusCode::NO_CONTENT.into_response()),
        _ => Err(Refusal::Method(SESSION)),
    }
}

async fn at_layers(handle: impl Fn() -> Result<Handle, Refusal>, request: Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::POST => {
            let handle = handle()?;
            expect(&request, JSON, UNKNOWN_JSON)?;
            let token = bearer(request.headers());
            let body = read(request.into_body(), MAX_JSON).await?;
            let wish = serde_json::from_str(&body).map_err(|_| NO_WISH)?;
            tell(&handle, token, Act::Layer(wish)).await
        }
        Method::OPTIONS => Ok(cors::options(POST_ONLY, Some(JSON))),
        _ => Err(Refusal::Method(POST_ONLY)),
    }
}

async fn at_events(handle: impl Fn() -> Result<Handle, Refusal>, request: Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::POST => {
            let handle = handle()?;
            let token = bearer(request.headers());
            let body = read(request.into_body(), MAX_JSON).await?;
            let mut wanted: Vec<String> = match body.trim() {
                "" => EVENTS.iter().map(|kind| (*kind).to_owned()).collect(),
                list => serde_json::from_str(list).map_err(|_| NO_LIST)?,
            };
            wanted.retain(|kind| EVENTS.contains(&kind.as_str()));
            tell(&handle, token, Act::Listen { stream: random_id()?, wanted }).await
        }
        Method::OPTIONS => Ok(cors::options(POST_ONLY, Some(JSON))),
        _ => Err(Refusal::Method(POST_ONLY)),
    }
}

/// Browsers' readers of event streams send no token: the stream's number, which nobody guesses, is enough.
async fn at_stream(
    handle: impl Fn() -> Result<Handle, Refusal>,
    stream: &str,
    request: Request,
) -> Result<Response, Refusal> {
    match *request.method() {
        Method::GET => handle()?.streams.read(stream),
        Method::DELETE if handle()?.streams.end(stream) => Ok(StatusCode::OK.into_response()),
        Method::DELETE => Err(Refusal::NO_SESSION),
        Method::OPTIONS => Ok(cors::options(STREAM, None)),
        _ => Err(Refusal::Method(STREAM)),
    }
}

async fn begin(endpoint: Endpoint, doors: &Doors, whence: Whence, request: Request) -> Result<Response, Refusal> {
    let (ConnectInfo(peer), Extension(sessions)) = whence;
    expect(&request, SDP, UNKNOWN_OFFER)?;
    let token = bearer(request.headers()).unwrap_or_default();
    let offer = read(request.into_body(), MAX_OFFER).await?;
    let numbers = (random_id()?, random_id()?);
    let (session, arrival) = Session::new(Opening { endpoint, token, offer }, peer);
    doors.arrivals.try_send(arrival).map_err(|_| Refusal::busy("the node takes no more sessions now"))?;
    let (began, beginning) = oneshot::channel();
    // It lives as long as the shell's side of it, which the node ends.
    tokio::spawn(session.live(numbers, sessions, began));
    beginning.await.unwrap_or(Err(FAILED)).map(created)
}

/// `201 Created` (RFC 9725 §4.2).
fn created(opened: Opened) -> Response {
    let Opened { path, tag, answer, ice_servers } = opened;
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, path.clone()),
        (header::ETAG, format!("\"{tag}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut response = (StatusCode::CREATED, headers, answer).into_response();
    let headers = response.headers_mut();
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    let mut links: Vec<_> = ice_servers.iter().flat_map(links_to).collect();
    if path.starts_with("/whep/") {
        let events = EVENTS.join(",");
        links.push(format!("<{path}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""));
        links.push(format!(
            "<{path}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"{events}\""
        ));
    }
    // What is no header text comes from the configuration, and is left out.
    let links = links.iter().filter_map(|link| HeaderValue::from_str(link).ok());
    for link in links {
        headers.append(header::LINK, link);
    }
    response
}

/// A STUN or TURN server (RFC 9725 §4.6).
fn links_to(server: &IceServer) -> impl Iterator<Item = String> + '_ {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let proof = server.username.as_ref().zip(server.credential.as_ref()).map(|(name, credential)| {
        let (name, credential) = (quoted(name), quoted(&credential.0));
        format!("; username=\"{name}\"; credential=\"{credential}\"; credential-type=\"password\"")
    });
    let proof = proof.unwrap_or_default();
    server.urls.iter().map(move |url| format!("<{url}>; rel=\"ice-server\"{proof}"))
}

async fn tell(handle: &Handle, token: Option<lockgate_model::Secret>, act: Act) -> Result<Response, Refusal> {
    let (answer, answered) = oneshot::channel();
    match handle.asks.try_send(Ask { token, act, answer }) {
        Ok(()) => answered.await.map_err(|_| Refusal::NO_SESSION),
        Err(tokio::sync::mpsc::error::TrySendError::Full(_)) => {
            Err(Refusal::busy("too many requests wait for this session"))
        }
        Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => Err(Refusal::NO_SESSION),
    }
}

fn expect(request: &Request, media_type: &str, refusal: Refusal) -> Result<(), Refusal> {
    let given = text(request.headers(), header::CONTENT_TYPE).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(media_type) { Ok(()) } else { Err(refusal) }
}

/// Reads a body within its bounds of length and time.
async fn read(body: Body, most: usize) -> Result<String, Refusal> {
    let bytes = read_body(body, most).await.map_err(|unread| match unread {
        Unread::Broken => TOO_LONG,
        Unread::Slow => TOO_SLOW,
    })?;
    String::from_utf8(bytes.into()).map_err(|_| NO_TEXT)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// 128 random bits in hexadecimal: what nobody guesses.
fn random_id() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| FAILED)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const SDP: &str = "application/sdp";
const JSON: &str = "application/json";
const ENDPOINT: &str = "POST, OPTIONS, GET, HEAD";
const SESSION: &str = "PATCH, DELETE, OPTIONS, GET, HEAD";
const POST_ONLY: &str = "POST, OPTIONS";
const STREAM: &str = "GET, DELETE, OPTIONS";
/// Bodies, in bytes: an offer of a browser with 30 lines in all its codecs, all candidates of a client, a few names.
const MAX_OFFER: usize = 256 * 1024;
const MAX_FRAGMENT: usize = 64 * 1024;
const MAX_JSON: usize = 4 * 1024;

const UNKNOWN_OFFER: Refusal =
    Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the offer as application/sdp");
const UNKNOWN_PATCH: Refusal = Refusal::invalid(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "send candidates or new credentials as application/trickle-ice-sdpfrag",
);
const UNKNOWN_JSON: Refusal =
    Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send an object as application/json");
const NO_WISH: Refusal = Refusal::invalid(
    StatusCode::BAD_REQUEST,
    "send an object with `mediaId` (a text), `rid` (a text), `spatialLayerId`, `temporalLayerId`, `maxSpatialLayerId` or \
     `maxTemporalLayerId` (numbers from 0 to 255); {} for all there is",
);
const NO_LIST: Refusal = Refusal::invalid(
    StatusCode::BAD_REQUEST,
    "send a list of the kinds of events that are wanted, as in [\"active\", \"layers\"], or nothing for all",
);
const TOO_LONG: Refusal = Refusal::invalid(
    StatusCode::PAYLOAD_TOO_LARGE,
    "the body is too long, or broke off: an offer has at most 256 KiB, a fragment 64 KiB, JSON 4 KiB",
);
const TOO_SLOW: Refusal = Refusal::invalid(StatusCode::REQUEST_TIMEOUT, "the body did not come within 5 seconds");
const NO_TEXT: Refusal = Refusal::invalid(StatusCode::BAD_REQUEST, "the body is not UTF-8");
const FAILED: Refusal =
    Refusal::Http(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the node failed at it; its log has more");
