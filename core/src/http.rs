//! HTTP as a client, in the clear or over TLS: one request over a connection of its own, or one after the other over a line that is kept. For
//! the command line, and for what the node tells others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Makes requests. What it trusts is what the system trusts; the variable SSL_CERT_FILE names other certificates.
#[derive(Clone)]
pub(crate) struct HttpClient {
    tls: TlsConnector,
}

/// An answer whose body is still to be read. The connection lives as long as it does.
pub(crate) struct Exchange {
    pub(crate) status: StatusCode,
    pub(crate) body: Incoming,
    _sender: SendRequest<Full<Bytes>>,
}

/// A client that keeps its connection from one request to the next, for as long as the server lets it: all of them are for one server.
pub(crate) struct HttpLine {
    client: HttpClient,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpProblem {
    /// The address is none that can be asked.
    #[error("{0} is no address: write http://HOST:PORT or https://HOST")]
    Address(String),
    /// Nobody is there.
    #[error("cannot reach {to}: {problem}")]
    Unreachable {
        /// Whom.
        to: String,
        /// Why.
        problem: String,
    },
    /// There was an end before there was an answer.
    #[error("{to} gave no answer: {problem}")]
    Broken {
        /// Who.
        to: String,
        /// Why.
        problem: String,
    },
}

impl HttpClient {
    /// Reads what the system trusts.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends a request to its absolute address and waits, at most so long, until the answer begins.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>, within: Duration) -> Result<Exchange, HttpProblem> {
        let uri = request.uri().clone();
        let mut sender = self.reach(&uri, within).await?;
        let request = in_origin_form(request, &uri)?;
        let answer = timeout(within, sender.send_request(request)).await.map_err(|_| late(&uri, within))?;
        let answer = answer.map_err(|error| broken(&uri, error))?;
        Ok(Exchange { status: answer.status(), body: answer.into_body(), _sender: sender })
    }

    /// Opens a connection, in the time that there is.
    async fn reach(&self, uri: &Uri, within: Duration) -> Result<SendRequest<Full<Bytes>>, HttpProblem> {
        let problem = || "it does not accept connections in time".to_owned();
        let opened = timeout(CONNECTED_WITHIN.min(within), self.open(uri)).await;
        opened.unwrap_or_else(|_| Err(HttpProblem::Unreachable { to: host_of(uri), problem: problem() }))
    }

    async fn open(&self, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, HttpProblem> {
        let wrong = || HttpProblem::Address(uri.to_string());
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']);
        let (secure, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let port = uri.port_u16().unwrap_or(port);
        let unreachable = |error: std::io::Error| HttpProblem::Unreachable {
            to: format!("{host}:{port}"),
            problem: error.to_string(),
        };
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !secure {
            return greet(stream, host).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
        greet(self.tls.connect(name, stream).await.map_err(unreachable)?, host).await
    }
}

impl HttpLine {
    pub(crate) fn new(client: HttpClient) -> Self {
        Self { client, kept: None }
    }

    /// Sends a request to its absolute address and waits, at most so long, for the answer. Its status is told, also when its body does not end in that
    /// time.
    pub(crate) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<StatusCode, HttpProblem> {
        let uri = request.uri().clone();
        let request = in_origin_form(request, &uri)?;
        let until = Instant::now() + within;
        let exchange = timeout_at(until, self.exchange(&uri, request, within));
        let Exchange { status, body, _sender: mut sender } = exchange.await.map_err(|_| late(&uri, within))??;
        // The connection is free for more once the body is read and its task says so; a long one costs more than another connection.
        let free = async { Limited::new(body, MAX_UNREAD).collect().await.is_ok() && sender.ready().await.is_ok() };
        let is_free = timeout_at(until, free).await.unwrap_or(false);
        self.kept = is_free.then_some(sender);
        Ok(status)
    }

    async fn exchange(
        &mut self,
        uri: &Uri,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Exchange, HttpProblem> {
        let mut sender = match self.kept.take().filter(|kept| !kept.is_closed()) {
            Some(kept) => kept,
            None => self.client.reach(uri, within).await?,
        };
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut failed) => match failed.take_message() {
                // The server has closed it in this moment, and nothing was sent.
                Some(request) => {
                    sender = self.client.reach(uri, within).await?;
                    sender.send_request(request).await.map_err(|error| broken(uri, error))?
                }
                None => return Err(broken(uri, failed.into_error())),
            },
        };
        Ok(Exchange { status: answer.status(), body: answer.into_body(), _sender: sender })
    }
}

impl Exchange {
    /// The whole body, if it has at most so many bytes.
    pub(crate) async fn read(self, most: usize) -> Result<Bytes, String> {
        let Self { body, _sender, .. } = self;
        Limited::new(body, most).collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string())
    }
}

/// Whom an address is of, without what may be a secret before the host: it is logged.
fn host_of(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

fn broken(uri: &Uri, problem: impl ToString) -> HttpProblem {
    HttpProblem::Broken { to: host_of(uri), problem: problem.to_string() }
}

fn late(uri: &Uri, within: Duration) -> HttpProblem {
    broken(uri, format!("none came within {} s", within.as_secs()))
}

/// Begins HTTP on a stream; a task drives it until it is no longer needed.
async fn greet<S>(stream: S, host: &str) -> Result<SendRequest<Full<Bytes>>, HttpProblem>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| HttpProblem::Broken { to: host.to_owned(), problem: error.to_string() };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // What goes wrong is told by the request, too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The address as a server wants it (RFC 9112 §3.2.1), and its host beside it.
fn in_origin_form(mut request: Request<Full<Bytes>>, uri: &Uri) -> Result<Request<Full<Bytes>>, HttpProblem> {
    let wrong = || HttpProblem::Address(uri.to_string());
    uri.authority().ok_or_else(wrong)?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&host_of(uri)).map_err(|_| wrong())?);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|_| wrong())?;
    Ok(request)
}

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// What is read of an answer that nobody wants, in bytes, so that its connection serves again.
const MAX_UNREAD: usize = 64 << 10;

/// A text as one segment of a path, or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    let all_dots = text.bytes().all(|byte| byte == b'.');
    let plain: &AsciiSet = if all_dots { NON_ALPHANUMERIC } else { UNRESERVED };
    utf8_percent_encode(text, plain).to_string()
}

/// RFC 3986 §2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_is_in_it() {
        assert_eq!(segment("a/b ü?"), "a%2Fb%20%C3%BC%3F");
        assert_eq!([segment("."), segment(".."), segment("a.b")], ["%2E", "%2E%2E", "a.b"]);
    }
}
