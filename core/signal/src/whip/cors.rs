//! Which other sites' pages may call (Fetch, "CORS protocol"). Clients that are no browsers send no `Origin` and are not concerned.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::pages::is_own_origin;
use crate::problem::problem;

/// The origins whose pages may call beside the node's own.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

/// Where a call comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// No page of another site.
    Own,
    /// A page of another site that may call; its origin.
    Allowed(HeaderValue),
    /// A page of another site.
    Stranger,
}

impl Origins {
    /// These, as in `https://example.org`; `*` means all.
    pub fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Where a call comes from.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(origin) = headers.get(header::ORIGIN) else { return Caller::Own };
        if is_own_origin(headers) {
            return Caller::Own;
        }
        let text = origin.to_str().unwrap_or_default();
        let allowed = self.0.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(text));
        if allowed { Caller::Allowed(origin.clone()) } else { Caller::Stranger }
    }
}

/// A call that is refused before it is looked at.
pub(crate) fn stranger() -> Response {
    let detail = "pages of this origin may not call: add it to http.cors_origins in config.toml";
    problem(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// The answer to `OPTIONS`: what may be done here, and what browsers ask before they do it.
pub(crate) fn options(allow: &'static str, posts: Option<&'static str>) -> Response {
    let mut response = (StatusCode::OK, [(header::ALLOW, allow)]).into_response();
    let headers = response.headers_mut();
    // Of the W3C's Linked Data Platform; RFC 9725 §4.2 wants it here.
    posts.into_iter().for_each(|types| drop(headers.insert("accept-post", HeaderValue::from_static(types))));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets the page that called read the answer. Tokens are shown, cookies never: no credentials mode is allowed.
pub(crate) fn let_read(caller: Caller, method: &Method, response: &mut Response) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    match caller {
        Caller::Allowed(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        }
        Caller::Own | Caller::Stranger if *method == Method::OPTIONS => {
            headers.remove(header::ACCESS_CONTROL_ALLOW_METHODS);
            headers.remove(header::ACCESS_CONTROL_ALLOW_HEADERS);
            headers.remove(header::ACCESS_CONTROL_MAX_AGE);
        }
        Caller::Own | Caller::Stranger => {}
    }
}

/// What pages may send.
const SENT: &str = "authorization, content-type, if-match, last-event-id";
/// What pages may read.
const READ: &str = "location, link, etag, accept-patch, accept-post, allow, retry-after, www-authenticate";

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(allowed: &[&str], origin: Option<&str>) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "node.example:9000".parse().unwrap());
        origin.into_iter().for_each(|origin| drop(headers.insert(header::ORIGIN, origin.parse().unwrap())));
        Origins::new(allowed.iter().map(|one| (*one).to_owned()).collect()).caller(&headers)
    }

    #[test]
    fn only_pages_that_were_named_may_call() {
        assert_eq!(caller(&[], None), Caller::Own);
        assert_eq!(caller(&[], Some("https://node.example:9000")), Caller::Own);
        for stranger in ["https://evil.example", "null", "https://node.example", "node.example:9000"] {
            assert_eq!(caller(&["https://tv.example"], Some(stranger)), Caller::Stranger, "{stranger}");
        }
        let known = "https://tv.example".parse().unwrap();
        assert_eq!(caller(&["https://tv.example"], Some("https://tv.example")), Caller::Allowed(known));
        assert!(matches!(caller(&["*"], Some("https://any.example")), Caller::Allowed(_)));
    }
}
