//! What the operator chose.

use std::collections::BTreeMap;

use common::{on_both, tighter};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// All settings; see the head of the crate.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) role_claim: String,
    pub(crate) default_role: String,
    pub(crate) door: Door,
    pub(crate) rooms: BTreeMap<String, Door>,
    pub(crate) roles: BTreeMap<String, Role>,
}

/// Who comes through a door.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Door {
    pub(crate) capacity: Option<u32>,
    pub(crate) password_sha256: Option<String>,
    pub(crate) subjects: Option<Vec<String>>,
    pub(crate) roles: Option<Vec<String>>,
}

/// What a role may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Role {
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) record: Option<bool>,
    pub(crate) last_n: Option<u32>,
    pub(crate) top_n: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role_claim: "role".into(),
            default_role: "guest".into(),
            door: Door::default(),
            rooms: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        let settings: Self = common::settings(json)?;
        let hex = |digest: &String| digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
        let usable = |door: &Door| door.password_sha256.as_ref().is_none_or(hex);
        if usable(&settings.door) && settings.rooms.values().all(usable) {
            Ok(settings)
        } else {
            Err("password_sha256 is not the 64 hexadecimal digits that sha256sum prints".into())
        }
    }
}

impl Role {
    /// What both allow.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            publish: on_both(self.publish, other.publish),
            record: tighter(self.record, other.record),
            last_n: tighter(self.last_n, other.last_n),
            top_n: tighter(self.top_n, other.top_n),
        }
    }
}

impl Door {
    /// Whether the password is right, or none is needed. Only digests are compared, which tells an attacker's clock nothing.
    pub(crate) fn opens_to(&self, password: Option<&str>) -> bool {
        let Some(expected) = &self.password_sha256 else { return true };
        let digest = Sha256::digest(password.unwrap_or_default());
        let actual: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        password.is_some() && actual.eq_ignore_ascii_case(expected)
    }
}
