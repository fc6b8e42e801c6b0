//! One request to the admin interface, and what its refusal means at the command line.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;

use super::access::Access;
use crate::http::{HttpClient, HttpProblem};
use crate::policy_cli::Report;

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// The node cannot be asked.
    Away(String),
    /// The node says no.
    No {
        /// The status of its answer.
        status: StatusCode,
        /// The stable code, for programs.
        code: String,
        /// Why, for people.
        detail: String,
        /// The answer.
        answer: Value,
        /// What may help.
        hint: Option<String>,
    },
}

/// Asks the node for a page below `/admin/v1`; gives the answer's JSON.
pub(super) async fn ask(access: &Access, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refused> {
    let client = HttpClient::new().map_err(|error| Refused::Away(error.to_string()))?;
    let token = access.token().map_err(Refused::Away)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/admin/v1{path}", access.url))
        .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
        .body(Full::new(Bytes::from(body)));
    let request = request.map_err(|_| Refused::Away(HttpProblem::Address(access.url.clone()).to_string()))?;
    let away = |problem: HttpProblem| {
        let hint = match problem {
            HttpProblem::Unreachable { .. } => "; is the node running, and is --url right?",
            _ => "",
        };
        Refused::Away(format!("{problem}{hint}"))
    };
    let exchange = client.send(request, ANSWER_WITHIN).await.map_err(away)?;
    let status = exchange.status;
    let body =
        exchange.read(MAX_ANSWER).await.map_err(|problem| Refused::Away(format!("{}: {problem}", access.url)))?;
    let answer = serde_json::from_slice(&body);
    match (status.is_success(), answer) {
        (true, Ok(answer)) => Ok(answer),
        (true, Err(_)) => Err(Refused::Away(format!("{} is no node of Lockgate: it answered no JSON", access.url))),
        (false, answer) => Err(Refused::of(status, answer.unwrap_or(Value::Null))),
    }
}

impl Refused {
    pub(super) fn of(status: StatusCode, answer: Value) -> Self {
        let text = |key: &str| answer[key].as_str().map(ToOwned::to_owned);
        let code = text("code").unwrap_or_else(|| status.as_str().to_owned());
        let problems = answer["problems"].as_array().map(|problems| {
            let problems = problems.iter().filter_map(Value::as_str).map(|problem| format!("\n  {problem}"));
            format!("nothing was changed:{}", problems.collect::<String>())
        });
        let usual = || status.canonical_reason().unwrap_or("refused").to_lowercase();
        let detail = text("detail").or(problems).unwrap_or_else(usual);
        let hint = match status {
            StatusCode::UNAUTHORIZED => {
                Some("is the token of this node, and still good? `lockgate token --admin` makes one")
            }
            StatusCode::FORBIDDEN => {
                Some("it takes a token with the `admin` grant, for this room, and to record `canRecord`")
            }
            StatusCode::TOO_MANY_REQUESTS => Some("try again in a moment"),
            _ => None,
        };
        Self::No { status, code, detail, answer, hint: hint.map(ToOwned::to_owned) }
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::No { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// With something else that may help.
    pub(super) fn with_hint(mut self, help: String) -> Self {
        if let Self::No { hint, .. } = &mut self {
            *hint = Some(help);
        }
        self
    }

    /// What is said of it, and the exit code.
    pub(super) fn report(self, json: bool) -> Report {
        match self {
            Self::Away(problem) => Report { code: UNAVAILABLE, ..Report::failed(problem) },
            Self::No { status, code, detail, answer, hint } => {
                let mut complaint = format!("{detail} ({code})");
                if let Some(hint) = hint {
                    // Writing to a text cannot fail.
                    let _ = write!(complaint, "\n  {hint}");
                }
                let exit = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NO_PERMISSION,
                    _ => 1,
                };
                let text = if json && !answer.is_null() { format!("{answer}\n") } else { String::new() };
                Report { text, code: exit, ..Report::failed(complaint) }
            }
        }
    }
}

/// A recording that policy is asked about takes longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// No answer of a node is longer, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// EX_UNAVAILABLE of sysexits(3).
const UNAVAILABLE: u8 = 69;
/// EX_NOPERM of sysexits(3).
const NO_PERMISSION: u8 = 77;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_refusal_has_its_exit_code_and_says_what_to_do() {
        let of = |status: u16, answer: Value| Refused::of(StatusCode::from_u16(status).unwrap(), answer).report(false);
        let denied = of(401, json!({"code": "token-expired", "detail": "it has ended"}));
        assert_eq!(denied.code, 77);
        assert!(
            denied.complaint.contains("it has ended (token-expired)") && denied.complaint.contains("lockgate token")
        );
        assert_eq!((of(403, Value::Null).code, of(404, Value::Null).code, of(503, Value::Null).code), (77, 1, 1));
        let wrong = of(422, json!({"outcome": "refused", "problems": ["config.toml:1: no", "and this"]}));
        assert!(wrong.complaint.contains("config.toml:1: no\n") && wrong.complaint.contains("and this"), "{wrong:?}");
        assert_eq!(Refused::Away("nobody is there".into()).report(true).code, 69);
    }
}
