//! TCP, with TLS where the address says so, and one HTTP request after the other.

use std::sync::{Arc, OnceLock};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::failure::Failure;

/// A stream, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a stream to the host of an address.
pub(crate) async fn connect(url: &Url) -> Result<Box<dyn Stream>, Failure> {
    let host = url.host().ok_or_else(|| Failure::connect("there is no host in the address"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let opened = match host {
        Host::Domain(name) => TcpStream::connect((name, port)).await,
        Host::Ipv4(ip) => TcpStream::connect((ip, port)).await,
        Host::Ipv6(ip) => TcpStream::connect((ip, port)).await,
    };
    let stream = opened.map_err(|error| Failure::connect(format!("{host}:{port}: {error}")))?;
    // Messages are small and each waits for its answer.
    stream.set_nodelay(true).map_err(Failure::connect)?;
    if !matches!(url.scheme(), "wss" | "https") {
        return Ok(Box::new(stream));
    }
    let name = match host {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(Failure::connect)?,
        Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(ip).into()),
        Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(ip).into()),
    };
    let stream = connector().connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| Failure::connect(format!("{host}:{port}: TLS: {error}")))?))
}

/// Sends a request on a connection of its own and reads the answer whole.
pub(crate) async fn request(url: &Url, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let stream = TokioIo::new(connect(url).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(Failure::connect)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(Failure::connect)?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(Failure::connect)?;
        // The connection ends when there is nobody left to send on it.
        drop(sender);
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// `host` or `host:port`, as the header `Host` has it.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Trusts what the system trusts; the variable SSL_CERT_FILE names other certificates.
fn connector() -> TlsConnector {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    TlsConnector::from(Arc::clone(config))
}

const MAX_BODY: usize = 1 << 20;
