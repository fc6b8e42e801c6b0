//! What a client is told of the servers that help it to find a way to this node.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// STUN or TURN servers: what a browser takes as `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IceServer {
    /// `stun:`, `stuns:` (RFC 7064), `turn:` and `turns:` (RFC 7065) addresses that are used alike.
    pub urls: Vec<String>,
    /// Who the client is for them: TURN only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What proves that: TURN only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
}

/// A short-lived password that its own client is told, and nobody else: it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Credential(pub String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_the_credential_and_a_log_does_not() {
        let credential = Some(Credential("c2VjcmV0".into()));
        let server = IceServer { urls: vec!["turn:a".into()], username: Some("1:2".into()), credential };
        let expected = serde_json::json!({ "urls": ["turn:a"], "username": "1:2", "credential": "c2VjcmV0" });
        assert_eq!(serde_json::to_value(&server).unwrap(), expected);
        assert!(!format!("{server:?}").contains("c2VjcmV0"));
    }
}
