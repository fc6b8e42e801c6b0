//! Where events are sent.

use std::path::Path;

use hyper::Uri;
use lockgate_model::Secret;

use super::section::{FromValue, Section};
use super::tree::Value;
use crate::events::SigningKey;

/// `[webhooks]`
#[derive(Clone, Debug, Default)]
pub struct Webhooks {
    /// Where events are sent; none: nowhere.
    pub url: Option<String>,
    /// What they are signed with.
    pub secret: Option<Secret>,
}

impl Webhooks {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let url = section.find::<WebhookUrl>("url").map(|url| url.0);
        let webhooks = Self { url, secret: section.secret("secret", folder) };
        section.finish();
        webhooks
    }

    /// What is wrong with both together.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        match (&self.url, &self.secret) {
            (Some(_), None) => {
                Some(("is missing", "set webhooks.secret = { file = \"…\" }: who is told must know that it is you"))
            }
            (_, Some(secret)) if SigningKey::read(secret).is_none() => {
                Some(("is no secret of Standard Webhooks", "make one: echo whsec_$(openssl rand -base64 32)"))
            }
            _ => None,
        }
    }

    /// Where events are sent, and what they are signed with.
    pub(crate) fn target(&self) -> Option<(Uri, SigningKey)> {
        let url = self.url.as_ref()?.parse().ok()?;
        Some((url, SigningKey::read(self.secret.as_ref()?)?))
    }
}

/// An address that events can be sent to.
struct WebhookUrl(String);

impl FromValue for WebhookUrl {
    const REMEDY: &'static str = "write an address as in \"https://example.org/hooks/lockgate\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not a text".into()) };
        let uri: Uri = text.parse().map_err(|_| "is no address")?;
        let fits = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("has a user's name in it: leave it out, messages are signed with webhooks.secret".into());
        }
        if fits { Ok(Self(text.clone())) } else { Err("is no address with http:// or https://".into()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn problems(webhooks: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        std::fs::write(folder.path().join("bad"), "a secret of another kind, however long it is").unwrap();
        let text = format!("[dev]\nenabled = true\n[webhooks]\n{webhooks}\n");
        let read = Config::read("config.toml", &text, folder.path().to_owned(), []);
        read.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_webhook_has_an_address_and_a_secret_of_the_standards_form() {
        let url = "url = \"https://example.org/hook\"";
        assert!(problems("").is_empty() && problems(&format!("{url}\nsecret = {{ file = \"good\" }}")).is_empty());
        for (wrong, words) in [
            (url.to_owned(), "webhooks.secret: is missing"),
            (format!("{url}\nsecret = {{ file = \"bad\" }}"), "openssl rand -base64 32"),
            ("url = \"example.org\"".to_owned(), "write an address"),
            ("url = \"ftp://example.org\"".to_owned(), "http:// or https://"),
            ("url = \"https://me:mine@example.org\"".to_owned(), "a user's name"),
        ] {
            let told = problems(&wrong).join("\n");
            assert!(told.contains(words), "{wrong}: {told}");
        }
    }
}
