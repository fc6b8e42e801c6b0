//! HTTP as a client: one request over a connection of its own, in the clear or over TLS. For the command line, and for what the node tells
//! others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
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
        // It is logged: without what may stand before the host.
        let to = uri.authority().map_or("", |authority| authority.as_str());
        let to = to.rsplit('@').next().unwrap_or_default().to_owned();
        let unreachable = |problem: String| HttpProblem::Unreachable { to: to.clone(), problem };
        let broken = |problem: String| HttpProblem::Broken { to: to.clone(), problem };
        let mut sender = match timeout(CONNECTED_WITHIN.min(within), self.open(&uri)).await {
            Ok(opened) => opened?,
            Err(_) => return Err(unreachable("it does not accept connections in time".to_owned())),
        };
        let request = in_origin_form(request, &uri)?;
        let answer = timeout(within, sender.send_request(request)).await;
        let answer = answer.map_err(|_| broken(format!("none came within {} s", within.as_secs())))?;
        let answer = answer.map_err(|error| broken(error.to_string()))?;
        Ok(Exchange { status: answer.status(), body: answer.into_body(), _sender: sender })
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

impl Exchange {
    /// The whole body, if it has at most so many bytes.
    pub(crate) async fn read(self, most: usize) -> Result<Bytes, String> {
        let Self { body, _sender, .. } = self;
        Limited::new(body, most).collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string())
    }
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
    let authority = uri.authority().ok_or_else(wrong)?;
    // Whoever is named before an `@` is nobody's business but the connection's.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(|_| wrong())?);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|_| wrong())?;
    Ok(request)
}

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
