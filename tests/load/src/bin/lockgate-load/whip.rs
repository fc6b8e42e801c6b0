//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): an offer is posted, the answer comes back with the session's address.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, LOCATION};
use hyper::{Request, Response, StatusCode};
use url::Url;

use crate::failure::Failure;
use crate::net;

/// A session at the server.
pub(crate) struct Resource {
    url: Url,
    token: String,
}

impl Resource {
    /// Posts an offer. The answer comes back with the session; redirections are followed.
    pub(crate) async fn create(mut url: Url, token: String, offer: &str) -> Result<(Self, String), Failure> {
        for _ in 0..=MAX_REDIRECTIONS {
            let answer = net::request(&url, post(&url, &token, offer)?).await?;
            match answer.status() {
                StatusCode::CREATED => {
                    let location = location(&url, answer.headers()).unwrap_or_else(|| url.clone());
                    let sdp = String::from_utf8(answer.into_body().into());
                    let sdp = sdp.map_err(|_| Failure::protocol("the answer is not UTF-8"))?;
                    return Ok((Self { url: location, token }, sdp));
                }
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    url = location(&url, answer.headers())
                        .ok_or_else(|| Failure::protocol("a redirection that leads nowhere"))?;
                }
                _ => return Err(refusal(&answer)),
            }
        }
        Err(Failure::protocol("too many redirections"))
    }

    /// Ends the session.
    pub(crate) async fn delete(self) {
        let request = Request::delete(target(&self.url))
            .header("host", net::authority(&self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::default());
        if let Ok(request) = request {
            // A server that is gone has ended the session too.
            let _ = net::request(&self.url, request).await;
        }
    }
}

fn post(url: &Url, token: &str, offer: &str) -> Result<Request<Full<Bytes>>, Failure> {
    Request::post(target(url))
        .header("host", net::authority(url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/sdp")
        .header("accept", "application/sdp")
        .body(Full::from(offer.to_owned()))
        .map_err(|error| Failure::new("token", error.to_string()))
}

fn target(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn location(base: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = base.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    // A token that went encrypted goes on encrypted.
    let same = location.scheme() == base.scheme() || location.scheme() == "https";
    same.then_some(location)
}

/// What the server says, in the words of its problem document (RFC 9457) if it sent one.
fn refusal(answer: &Response<Bytes>) -> Failure {
    let status = answer.status();
    let problem: Option<serde_json::Value> = serde_json::from_slice(answer.body()).ok();
    let said = |key: &str| problem.as_ref().and_then(|problem| problem[key].as_str()).map(str::to_owned);
    let text = || String::from_utf8_lossy(answer.body()).chars().take(200).collect();
    let message: String = said("detail").or_else(|| said("title")).unwrap_or_else(text);
    let code = said("code").unwrap_or_else(|| format!("http-{}", status.as_u16()));
    Failure::new(code, format!("{status}: {message}"))
}

const MAX_REDIRECTIONS: usize = 3;
