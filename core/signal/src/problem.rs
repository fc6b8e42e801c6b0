//! Refusals as RFC 9457 problem documents: what they are for programs, and what to do about them for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_model::policy::Denial;

/// An RFC 9457 problem document.
pub(crate) fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// A denial as a problem document.
pub(crate) fn refuse(denial: &Denial) -> Response {
    refuse_as(status_of(denial), denial)
}

/// A denial as a problem document with a status of its place.
pub(crate) fn refuse_as(status: StatusCode, denial: &Denial) -> Response {
    let mut response = problem(status, denial.code.as_str(), &denial.message);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = denial.retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.div_ceil(1000)));
    }
    response
}

/// A plugin's own codes are refusals like any other.
pub(crate) fn status_of(denial: &Denial) -> StatusCode {
    match denial.code.as_str() {
        "unauthenticated" | "token-expired" => StatusCode::UNAUTHORIZED,
        "not-found" => StatusCode::NOT_FOUND,
        "invalid-message" | "invalid-sdp" => StatusCode::BAD_REQUEST,
        "unsupported-codec" => StatusCode::UNPROCESSABLE_ENTITY,
        "rate-limited" => StatusCode::TOO_MANY_REQUESTS,
        "overloaded" | "policy-unavailable" | "recording-unavailable" | "waiting" | "room-full" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::ErrorCode;

    use super::*;

    #[test]
    fn a_refusal_says_whether_and_when_to_come_again() {
        let denial = Denial::new(ErrorCode::WAITING, "in the lobby");
        let response = refuse(&Denial { retry_after_ms: Some(1500), ..denial });
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
        let response = refuse(&Denial::new(ErrorCode::TOKEN_EXPIRED, "it has ended"));
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(refuse(&Denial::new(ErrorCode::from_plugin("x-closed"), "")).status(), StatusCode::FORBIDDEN);
    }
}
