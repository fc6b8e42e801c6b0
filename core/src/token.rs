//! Making tokens: for the command line, and for guests of a development node.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lockgate_model::Secret;
use serde::Serialize;

use crate::config::{Config, KeySource};
use crate::node::{random_token, wall_clock_ms};
use crate::private::{folder_of, private_folder};

/// The claims that the shipped `jwt-auth` plugin reads.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// A number if it looks like one: then it is the `userId`.
    pub sub: serde_json::Value,
    /// Name for people.
    pub username: String,
    /// Seconds since 1970.
    pub iat: u64,
    /// Seconds since 1970.
    pub exp: u64,
    /// Rooms that it is good for; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// Absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// Absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// Absent: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_record: Option<bool>,
    /// Absent: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    /// The configured issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The configured audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeTokenError {
    /// The node verifies with a public key: whoever has the private one makes the tokens.
    #[error("tokens can be made with auth.secret only; this node has a public key")]
    NoSecret,
    /// The development secret is drawn when the node starts.
    #[error("there is no development secret in {}: start the node first", path.display())]
    NotRunning {
        /// Where it would be.
        path: PathBuf,
    },
    /// The signature could not be made.
    #[error("the token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Claims {
    /// Claims without any grant, good from now on.
    pub fn new(subject: &str, name: &str, ttl: Duration, config: &Config) -> Self {
        let now = wall_clock_ms() / 1000;
        Self {
            sub: subject.parse::<u64>().map_or_else(|_| subject.into(), Into::into),
            username: name.to_owned(),
            iat: now,
            exp: now.saturating_add(ttl.as_secs()),
            rooms: None,
            can_publish: None,
            can_subscribe: None,
            can_record: None,
            admin: None,
            iss: config.auth.issuer.clone(),
            aud: config.auth.audience.clone(),
        }
    }

    /// The signed token.
    pub fn sign(&self, secret: &Secret) -> Result<String, MakeTokenError> {
        let key = EncodingKey::from_secret(secret.expose().as_bytes());
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), self, &key)?)
    }
}

/// The secret that tokens are made with: the configured one, else the one that a running development node has drawn.
pub fn signing_secret(config: &Config) -> Result<Secret, MakeTokenError> {
    match &config.auth.key {
        Some(KeySource::Secret(secret)) => Ok(secret.clone()),
        Some(_) => Err(MakeTokenError::NoSecret),
        None => {
            let path = dev_secret_path(config);
            let text = std::fs::read_to_string(&path).map_err(|_| MakeTokenError::NotRunning { path })?;
            Ok(Secret::new(text.trim()))
        }
    }
}

/// Draws the secret of a development node and leaves it for `lockgate token`, readable by this user only.
pub(crate) fn draw_dev_secret(config: &Config) -> std::io::Result<Secret> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let text = format!("{}{}", random_token()?, random_token()?);
    let path = dev_secret_path(config);
    private_folder(folder_of(&path))?;
    // Never through somebody else's file or link: the old one goes first.
    let _ = std::fs::remove_file(&path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{text}")?;
    Ok(Secret::new(text))
}

fn dev_secret_path(config: &Config) -> PathBuf {
    folder_of(&config.recorder.socket).join("dev-secret")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn config(folder: &std::path::Path) -> Config {
        Config::read("config.toml", "[dev]\nenabled = true\n", folder.to_owned(), []).unwrap()
    }

    #[test]
    fn the_development_secret_is_drawn_anew_and_for_this_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(matches!(signing_secret(&config), Err(MakeTokenError::NotRunning { .. })));
        let first = draw_dev_secret(&config).unwrap();
        let second = draw_dev_secret(&config).unwrap();
        assert!(first != second && signing_secret(&config).unwrap() == second);
        let file = std::fs::metadata(folder.path().join("run/dev-secret")).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_says_only_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut claims = Claims::new("42", "Ann", Duration::from_secs(60), &config(folder.path()));
        claims.can_record = Some(true);
        let said = serde_json::to_value(&claims).unwrap();
        assert_eq!((&said["sub"], &said["canRecord"]), (&42.into(), &true.into()));
        assert!(said.get("admin").is_none() && said.get("rooms").is_none());
        assert_eq!(claims.exp - claims.iat, 60);
        assert_eq!(claims.sign(&Secret::new("s")).unwrap().split('.').count(), 3);
    }
}
