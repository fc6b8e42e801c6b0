//! What the hooks have in common: the settings, who is a host, and answers.

use serde::Deserialize;

use crate::lockgate::policy::config;
use crate::lockgate::policy::types::{Denial, Grant, Identity, Verdict};

/// What the operator chose.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Values of the claim `role` that make somebody a host.
    pub hosts: Vec<String>,
    /// The highest spatial layer that guests are sent, counted from 0.
    pub guest_layer: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { hosts: vec!["host".into()], guest_layer: 1 }
    }
}

impl Settings {
    /// Reads them, as `configure` gets them. The error is for the operator.
    pub fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// Those that `configure` has accepted; if they are bad all the same, a trap denies, which is right.
    pub fn get() -> Self {
        Self::read(&config::all()).expect("settings that were accepted")
    }

    /// Whether somebody is a host. Claims are JSON text.
    pub fn is_host(&self, who: &Identity) -> bool {
        let claim = who.claims.iter().find(|claim| claim.key == "role");
        let role = claim.and_then(|claim| serde_json::from_str::<String>(&claim.value).ok());
        role.is_some_and(|role| self.hosts.contains(&role))
    }
}

/// Under which somebody who was let in is remembered. A room's name has no line feed, so no two pairs share a key. A key has 256 bytes at most:
/// who has a longer name in a room cannot be remembered there.
pub fn place(room: &str, subject: &str) -> String {
    format!("{room}\n{subject}")
}

/// Yes, without limits.
pub fn allow() -> Verdict {
    Verdict::Allow(no_limits())
}

/// No.
pub fn deny(code: &str, message: &str) -> Denial {
    Denial { code: code.into(), message: message.into(), retry_after_ms: None }
}

/// A grant that limits nothing.
pub fn no_limits() -> Grant {
    Grant {
        max_spatial: None,
        max_temporal: None,
        max_bitrate: None,
        kinds: None,
        sources: None,
        rooms: None,
        can_publish: None,
        can_subscribe: None,
        can_record: None,
        can_data: None,
        admin: None,
        priority: None,
        hidden: false,
        expires_at_ms: None,
        reask_after_ms: None,
        attributes: Vec::new(),
    }
}
