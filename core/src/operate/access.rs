//! Which node, and by which right.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lockgate_model::Secret;

use crate::cli::DEFAULT_CONFIG;
use crate::config::{Config, Problem};
use crate::token::{Claims, signing_secret};

/// Where a node is found, and how its answers are shown.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The node's address, as in "https://sfu.example.org"; without one, http.host and http.port of the configuration.
    #[arg(long, env = "LOCKGATE_URL")]
    pub(super) url: Option<String>,
    /// A file with a token that has the `admin` grant. Without one: the token in the variable LOCKGATE_TOKEN, or one that is made with
    /// the configured secret for this one command.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Write the answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// The way to a node.
#[derive(Debug)]
pub(super) struct Access {
    /// Without a `/` at its end.
    pub(super) url: String,
    right: Right,
}

#[derive(Debug)]
enum Right {
    Given(Secret),
    /// Tokens are made as they are needed: they do not last.
    Made(Box<Config>),
}

impl Access {
    /// Reads the configuration only for what was not said otherwise.
    pub(super) fn of(remote: &Remote, config: Option<&Path>) -> Result<Self, String> {
        let read = || {
            let problems =
                |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            Config::load(config.unwrap_or(Path::new(DEFAULT_CONFIG))).map_err(problems)
        };
        let given = given_token(remote.token_file.as_deref())?;
        let (url, right) = match (&remote.url, given) {
            (Some(url), Some(token)) => (url.clone(), Right::Given(token)),
            (url, token) => {
                let config = read()?;
                let url = url.clone().map_or_else(|| address_of(&config), Ok)?;
                (url, token.map_or_else(|| Right::Made(Box::new(config)), Right::Given))
            }
        };
        let access = Self { url: url.trim_end_matches('/').to_owned(), right };
        // Better said now than after a connection was made.
        access.token()?;
        Ok(access)
    }

    /// A token for one request.
    pub(super) fn token(&self) -> Result<Secret, String> {
        match &self.right {
            Right::Given(token) => Ok(token.clone()),
            Right::Made(config) => made_token(config),
        }
    }
}

fn given_token(file: Option<&Path>) -> Result<Option<Secret>, String> {
    let variable = || std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    match file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok(Some(Secret::new(text.trim())))
        }
        None => Ok(variable().map(|token| Secret::new(token.trim()))),
    }
}

/// Where a node with this configuration listens, as seen from this machine.
fn address_of(config: &Config) -> Result<String, String> {
    let host = match config.http.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    match config.http.port {
        0 => Err("http.port is 0: the node has a free port; say which one with --url".to_owned()),
        port => Ok(format!("http://{}", std::net::SocketAddr::new(host, port))),
    }
}

/// A token for one request.
fn made_token(config: &Config) -> Result<Secret, String> {
    let secret = signing_secret(config)
        .map_err(|error| format!("{error}; or give a token with --token-file or in {TOKEN_VARIABLE}"))?;
    let subject = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "operator".to_owned());
    let subject = format!("cli-{subject}");
    let mut claims = Claims::new(&subject, &subject, TOKEN_TTL, config);
    (claims.admin, claims.can_record) = (Some(true), Some(true));
    claims.sign(&secret).map(Secret::new).map_err(|error| error.to_string())
}

const TOKEN_VARIABLE: &str = "LOCKGATE_TOKEN";
/// What a token is good for that nobody sees: clocks may differ by some of it.
const TOKEN_TTL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("[dev]\nenabled = true\n[http]\n{text}\n");
        Config::read("config.toml", &text, ".".into(), []).unwrap()
    }

    #[test]
    fn a_node_that_listens_everywhere_is_found_on_this_machine() {
        assert_eq!(address_of(&config("host = \"0.0.0.0\"")).unwrap(), "http://127.0.0.1:9000");
        assert_eq!(address_of(&config("host = \"::\"\nport = 8080")).unwrap(), "http://[::1]:8080");
        assert_eq!(address_of(&config("host = \"192.0.2.7\"")).unwrap(), "http://192.0.2.7:9000");
        assert!(address_of(&config("port = 0")).unwrap_err().contains("--url"));
    }

    #[test]
    fn with_address_and_token_no_configuration_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "a.b.c\n").unwrap();
        let remote = Remote { url: Some("https://sfu.example.org/".into()), token_file: Some(file), json: false };
        let access = Access::of(&remote, Some(Path::new("/nowhere/config.toml"))).unwrap();
        assert_eq!((access.url.as_str(), access.token().unwrap().expose()), ("https://sfu.example.org", "a.b.c"));
        let without = Remote { url: None, ..remote };
        assert!(Access::of(&without, Some(Path::new("/nowhere/config.toml"))).is_err());
    }
}
