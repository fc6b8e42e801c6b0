//! Why a request is not done, and with which status that is told.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;

use super::target::NoTarget;
use crate::problem::{problem, refuse, refuse_as, status_of};

/// Why not.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// As the shell, the room or policy says.
    Denied(Denial),
    /// Nobody knows who it is.
    Unknown(Denial),
    /// For a reason that HTTP has a status for.
    Http(StatusCode, &'static str, &'static str),
    /// Nothing of this kind is done here; what is.
    Method(&'static str),
    /// There is nothing to see yet.
    NothingToSee,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<NoTarget> for Refusal {
    fn from(none: NoTarget) -> Self {
        match none {
            NoTarget::NotFound => Self::Http(
                StatusCode::NOT_FOUND,
                "not-found",
                "there is no such page: see docs/whip-whep.md for the paths",
            ),
            NoTarget::Room(detail) => Self::invalid(StatusCode::BAD_REQUEST, detail),
        }
    }
}

impl Refusal {
    /// What was sent cannot be used: which of HTTP's reasons that is, and what to send instead.
    pub(crate) const fn invalid(status: StatusCode, detail: &'static str) -> Self {
        Self::Http(status, "invalid-message", detail)
    }

    /// It is not known any more, or never was: both look alike.
    pub(crate) const NO_SESSION: Self = Self::Http(
        StatusCode::NOT_FOUND,
        "not-found",
        "there is no such session: it has ended, or never was; begin another one with POST",
    );
    /// The node, or the client's network, has as many sessions on their way as may be.
    pub(crate) fn busy(message: &str) -> Self {
        let denial = Denial::new(ErrorCode::OVERLOADED, message);
        Self::Denied(Denial { retry_after_ms: Some(RETRY_MS), ..denial })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(denial) => refuse(&denial),
            Self::Unknown(denial) => unknown(&denial),
            Self::Http(status, code, detail) => problem(status, code, detail),
            Self::Method(allow) => {
                let mut response = problem(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "invalid-message",
                    "this method does nothing here: see Allow",
                );
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
                response
            }
            Self::NothingToSee => {
                let detail = "nobody publishes here, or nothing that you may see: come again";
                let mut response = problem(StatusCode::CONFLICT, "not-found", detail);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_MS / 1000));
                response
            }
        }
    }
}

/// A plugin that refuses a token may say so in its own words, and the status is the same (RFC 6750 §3.1).
fn unknown(denial: &Denial) -> Response {
    match status_of(denial) {
        StatusCode::FORBIDDEN => refuse_as(StatusCode::UNAUTHORIZED, denial),
        status => refuse_as(status, denial),
    }
}

/// When whoever came too early or among too many may come again.
pub(crate) const RETRY_MS: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_known_for_now_is_told_when_to_come_again() {
        for (code, status) in [("x-closed", 401), ("token-expired", 401), ("policy-unavailable", 503)] {
            let denial = Denial::new(ErrorCode::from_plugin(code), "later");
            let response = Refusal::Unknown(Denial { retry_after_ms: Some(1500), ..denial }).into_response();
            assert_eq!(
                (response.status().as_u16(), response.headers()["retry-after"].as_bytes()),
                (status, &b"2"[..]),
                "{code}"
            );
            assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{code}");
        }
    }
}
