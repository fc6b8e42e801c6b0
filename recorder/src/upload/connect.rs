//! HTTP for the store: HTTP/1.1 over TCP or TLS, one connection for each request, paced.
//!
//! A client of our own instead of reqwest: it paces what is sent within a request, gives up what stands still rather than what is slow,
//! and makes the completion of large objects conditional (`docs/decisions/0034-upload.md`).

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::pace::{Pacer, SLICE};

/// Makes clients for `object_store`.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Arc<Pacer>);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let tls = tls().map_err(|source| object_store::Error::Generic { store: "TLS", source: source.into() })?;
        Ok(HttpClient::new(Client { tls, pacer: Arc::clone(&self.0) }))
    }
}

/// Trusts what the system trusts; the variable SSL_CERT_FILE names other certificates.
fn tls() -> Result<TlsConnector, tokio_rustls::rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

struct Client {
    tls: TlsConnector,
    pacer: Arc<Pacer>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, HttpError>>>;

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let mut sender = match timeout(CONNECTED_WITHIN, self.open(&uri)).await {
            Ok(opened) => opened.map_err(|error| HttpError::new_boxed(HttpErrorKind::Connect, error))?,
            Err(elapsed) => return Err(HttpError::new(HttpErrorKind::Connect, elapsed)),
        };
        let moved = Arc::new(AtomicU64::new(0));
        let request = self.paced(request, Arc::clone(&moved))?;
        let answer = unless_still(sender.send_request(request), &moved).await;
        let answer = answer.ok_or_else(still)?.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let (head, body) = answer.into_parts();
        let body = StreamBody::new(arriving(body, sender, Arc::clone(&self.pacer)));
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

impl Client {
    /// A connection for one request.
    async fn open(&self, uri: &Uri) -> Result<SendRequest<Body>, Box<dyn Error + Send + Sync>> {
        let host = uri.host().ok_or("the address names no host")?.trim_matches(['[', ']']);
        let secure = uri.scheme_str() == Some("https");
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 }))).await?;
        stream.set_nodelay(true)?;
        if !secure {
            return greet(stream).await;
        }
        greet(self.tls.connect(ServerName::try_from(host.to_owned())?, stream).await?).await
    }

    /// What hyper is to send: with the headers that it does not add itself, slice by slice.
    fn paced(&self, request: HttpRequest, moved: Arc<AtomicU64>) -> Result<hyper::Request<Body>, HttpError> {
        let invalid = |error| HttpError::new_boxed(HttpErrorKind::Unknown, error);
        let (mut head, body) = request.into_parts();
        let completes =
            head.method == Method::POST && head.uri.query().is_some_and(|query| query.contains("uploadId="));
        if completes {
            // Never over an object that is there. It need not be signed: the signature covers `host` and `x-amz-…` only.
            head.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if !head.headers.contains_key(HOST) {
            let authority = head.uri.authority().map_or("", |authority| authority.as_str());
            head.headers.insert(HOST, HeaderValue::from_str(authority).map_err(|error| invalid(error.into()))?);
        }
        if body.content_length() > 0 || !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE) {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.content_length()));
        }
        // The address in origin form (RFC 9112 §3.2.1).
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target.parse().map_err(|error: hyper::http::uri::InvalidUri| invalid(error.into()))?;
        Ok(hyper::Request::from_parts(head, StreamBody::new(leaving(body, Arc::clone(&self.pacer), moved))))
    }
}

/// Begins HTTP on a stream; a task drives it until it is no longer needed.
async fn greet<S>(stream: S) -> Result<SendRequest<Body>, Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // What goes wrong is told by the request, too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// A request's content in slices, each when it may pass.
fn leaving(
    body: HttpRequestBody,
    pacer: Arc<Pacer>,
    moved: Arc<AtomicU64>,
) -> BoxStream<'static, Result<Frame<Bytes>, HttpError>> {
    let state = (body.into_data_stream(), Bytes::new(), pacer, moved);
    let slices = stream::unfold(state, |(mut whole, mut rest, pacer, moved)| async move {
        while rest.is_empty() {
            match whole.next().await? {
                Ok(next) => rest = next,
                Err(error) => return Some((Err(error), (whole, rest, pacer, moved))),
            }
        }
        let slice = rest.split_to(rest.len().min(SLICE));
        pacer.pass(slice.len()).await;
        moved.fetch_add(slice.len() as u64, Ordering::Relaxed);
        Some((Ok(Frame::data(slice)), (whole, rest, pacer, moved)))
    });
    // hyper and `object_store` ask again behind the end.
    slices.fuse().boxed()
}

/// An answer's content as it comes. The connection lives as long as this does.
fn arriving(
    body: Incoming,
    sender: SendRequest<Body>,
    pacer: Arc<Pacer>,
) -> Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, HttpError>> + Send + Sync>> {
    let frames = stream::unfold((body.into_data_stream(), sender, pacer), |(mut body, sender, pacer)| async move {
        let frame = match timeout(STILL, body.next()).await {
            Ok(frame) => frame?.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)),
            Err(_) => Err(still()),
        };
        if let Ok(data) = &frame {
            pacer.pass(data.len()).await;
        }
        Some((frame.map(Frame::data), (body, sender, pacer)))
    });
    Box::pin(frames.fuse())
}

/// What comes of some work; none if it stood still. A slow line is no reason to give up, one that moves nothing is.
async fn unless_still<T>(work: impl Future<Output = T>, moved: &AtomicU64) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(STILL, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if moved.load(Ordering::Relaxed) != before => {}
            Err(_) => return None,
        }
    }
}

fn still() -> HttpError {
    let problem = format!("nothing has moved for {} s", STILL.as_secs());
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, problem))
}

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// A store that neither takes nor sends anything for so long has gone.
const STILL: Duration = Duration::from_secs(60);
