//! Where clients get their tokens from: given, made here, or asked of a node in development.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use http_body_util::Full;
use hyper::Request;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};
use url::Url;

use crate::cli::Args;
use crate::failure::Failure;
use crate::net;

/// The source of tokens.
pub(crate) enum Tokens {
    /// The same for all.
    Given(String),
    /// One for each client.
    Made { key: Box<EncodingKey>, claims: Map<String, Value> },
    /// Guests' tokens of a node; they are good for minutes and can be renewed.
    Guests { page: Url },
}

/// A client, as tokens name it.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// Unique in a run.
    pub(crate) number: u64,
    pub(crate) name: String,
}

impl Tokens {
    /// What the command line says.
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        if let Some(token) = &args.token {
            return Ok(Self::Given(token.trim().to_owned()));
        }
        let secret = match (&args.secret_file, &args.jwt_secret) {
            (Some(file), _) => {
                let read = std::fs::read_to_string(file);
                let secret = read.with_context(|| format!("--secret-file {}", file.display()))?;
                Some(secret.trim_end_matches(['\r', '\n']).to_owned())
            }
            (None, secret) => secret.clone(),
        };
        if let Some(secret) = secret {
            anyhow::ensure!(!secret.is_empty(), "the secret for tokens is empty");
            let claims = args.claim.iter().cloned().collect();
            return Ok(Self::Made { key: Box::new(EncodingKey::from_secret(secret.as_bytes())), claims });
        }
        anyhow::ensure!(
            args.claim.is_empty(),
            "--claim needs --secret-file or JWT_SECRET: only made tokens have further claims"
        );
        let door = args.url.as_ref().context("WHIP and WHEP need --token, --secret-file or JWT_SECRET")?;
        let mut page = door.clone();
        let scheme = if door.scheme() == "wss" { "https" } else { "http" };
        page.set_scheme(scheme).ok().context("the address cannot be one of a page")?;
        page.set_path("/dev/token");
        page.set_query(None);
        Ok(Self::Guests { page })
    }

    /// A token for a client, each time a fresh one.
    pub(crate) async fn token(&self, who: &Who) -> Result<String, Failure> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::Made { key, claims } => make(key, claims, who),
            Self::Guests { page } => ask(page, who).await,
        }
    }
}

fn make(key: &EncodingKey, claims: &Map<String, Value>, who: &Who) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut all = Map::new();
    // Above the numbers that people's accounts have.
    all.insert("sub".into(), json!(FIRST_SUBJECT + who.number));
    all.insert("username".into(), json!(who.name));
    all.insert("exp".into(), json!(now + LIFETIME));
    all.extend(claims.clone());
    jsonwebtoken::encode(&Header::default(), &all, key).map_err(|error| Failure::new("token", error.to_string()))
}

async fn ask(page: &Url, who: &Who) -> Result<String, Failure> {
    let body = json!({ "name": who.name, "guest": format!("{:032x}", who.number) }).to_string();
    let host = net::authority(page);
    let request = Request::post(page.path())
        .header("host", &host)
        .header("origin", format!("{}://{host}", page.scheme()))
        .header("content-type", "application/json")
        .body(Full::from(body))
        .map_err(|error| Failure::new("token", error.to_string()))?;
    let answer = net::request(page, request).await?;
    let status = answer.status();
    if !status.is_success() {
        let text = format!(
            "no --token and no secret was given, and {page} gives no guests' tokens: {status} {}",
            String::from_utf8_lossy(answer.body()).chars().take(200).collect::<String>()
        );
        return Err(Failure::new("token", text));
    }
    let answer: Value = serde_json::from_slice(answer.body()).map_err(|error| Failure::protocol(error.to_string()))?;
    let token =
        answer["token"].as_str().ok_or_else(|| Failure::protocol(format!("{page} answered without a token")))?;
    Ok(token.to_owned())
}

const FIRST_SUBJECT: u64 = 1 << 40;
/// A day, in seconds.
const LIFETIME: u64 = 86_400;
