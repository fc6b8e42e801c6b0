//! `upload.json` in a session's folder: what of it is in the store. Together with the folder itself this is all that an uploader
//! remembers; it is written anew, whole, before and after whatever a crash must not make it forget.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::crypt::{SessionKey, WrappingKey};
use crate::archive::{from_hex, hex, write_whole};

/// The content of `upload.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// The version of this format, [`Ledger::SCHEMA`].
    schema: u32,
    /// What is in the store and was read back, by name in the session.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Uploaded>,
    /// Objects that may be there and were not read back, by where they are: those that are on their way, those of which it is not known
    /// whether they arrived, and those that arrived damaged. With the number of an upload in pieces, or nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) pending: BTreeMap<String, String>,
    /// What is wrong with a file so that it is not uploaded, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) problems: BTreeMap<String, Held>,
    /// The manifests that were uploaded, one for each time that the session ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) seals: Vec<UploadedSeal>,
    /// The session's key, wrapped, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A file in the store, as it was when it was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Uploaded {
    /// Where it is.
    pub(crate) url: String,
    /// Size and SHA-256 (hex) of the file itself, not of its encrypted form.
    pub(crate) bytes: u64,
    /// See `bytes`.
    pub(crate) sha256: String,
    /// Size of the object.
    pub(super) stored: u64,
    /// What the store calls this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    /// When it was read back, in microseconds since 1970 (UTC).
    pub(super) verified_at_us: u64,
    /// Whether the local copy was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) removed: bool,
}

/// Why a file is not uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    /// For people.
    pub(super) what: String,
    /// When it was last tried, in microseconds since 1970 (UTC).
    pub(super) at_us: u64,
}

/// A manifest with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadedSeal {
    /// Of `session.json`, in hex.
    pub(super) sha256: String,
    /// When all of the session was in the store, in microseconds since 1970 (UTC); absent: it is not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) complete_at_us: Option<u64>,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// Here only.
    Local,
    /// Here, and in the store.
    LocalAndStore,
    /// In the store; removed here.
    Store,
}

impl Place {
    /// For people, behind other words; nothing where there is nothing to say.
    pub(crate) fn remark(self) -> &'static str {
        match self {
            Self::Local => "",
            Self::LocalAndStore => ", uploaded",
            Self::Store => ", uploaded and removed here",
        }
    }
}

impl Ledger {
    /// The version of this format.
    const SCHEMA: u32 = 1;

    /// Reads a session's. An error if there is one that cannot be understood: nothing may be done then that it might forbid.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(folder.join(LEDGER)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { schema: Self::SCHEMA, ..Self::default() });
            }
            Err(error) => return Err(error),
        };
        let ledger: Self = serde_json::from_slice(&bytes)?;
        match ledger.schema {
            Self::SCHEMA => Ok(ledger),
            other => Err(io::Error::other(format!("{LEDGER} has schema {other}; this version knows {}", Self::SCHEMA))),
        }
    }

    /// The same for who only looks.
    pub(crate) fn look(folder: &Path) -> Self {
        Self::load(folder).unwrap_or_default()
    }

    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        write_whole(&folder.join(LEDGER), &json, File::sync_all)
    }

    /// Where a file of the session is.
    pub(crate) fn place(&self, folder: &Path, name: &str) -> Place {
        match self.files.get(name) {
            Some(file) if file.removed && folder.join(name).symlink_metadata().is_err() => Place::Store,
            Some(_) => Place::LocalAndStore,
            None => Place::Local,
        }
    }

    /// Where in the store a file is.
    pub(crate) fn url(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(|file| file.url.as_str())
    }

    /// What is known of a file that is in the store and was removed here.
    pub(crate) fn removed(&self, name: &str) -> Option<&Uploaded> {
        self.files.get(name).filter(|file| file.removed)
    }

    /// What the names of a manifest's objects begin with: no object is written over, so each time that a session ended has names of its own.
    pub(super) fn seal_prefix(&mut self, manifest_sha256: &str) -> String {
        if self.seals.last().is_none_or(|seal| seal.sha256 != manifest_sha256) {
            self.seals.push(UploadedSeal { sha256: manifest_sha256.to_owned(), complete_at_us: None });
        }
        match self.seals.len() {
            1 => String::new(),
            number => format!("seal-{number}/"),
        }
    }

    /// The session's key, which is made when there is none yet.
    pub(super) fn session_key(&mut self, wrapping: &WrappingKey) -> io::Result<SessionKey> {
        let known = self.key.as_deref().map(from_hex);
        // One that was wrapped by an earlier key stands in the files that it encrypted.
        if let Some(key) = known.flatten().and_then(|wrapped| wrapping.unwrap(wrapped).ok()) {
            return Ok(key);
        }
        let key = wrapping.new_session().map_err(|_| io::Error::other("no key can be drawn"))?;
        self.key = Some(hex(key.wrapped()));
        Ok(key)
    }
}

/// What of a session is in the store.
pub(crate) const LEDGER: &str = "upload.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_session_has_names_of_its_own() {
        let mut ledger = Ledger::default();
        assert_eq!([ledger.seal_prefix("a"), ledger.seal_prefix("a")], ["", ""]);
        assert_eq!(
            [ledger.seal_prefix("b"), ledger.seal_prefix("b"), ledger.seal_prefix("c")],
            ["seal-2/", "seal-2/", "seal-3/"]
        );
    }

    #[test]
    fn what_cannot_be_understood_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::load(folder.path()).unwrap();
        ledger.save(folder.path()).unwrap();
        assert_eq!(Ledger::load(folder.path()).unwrap(), ledger);
        std::fs::write(folder.path().join(LEDGER), "{\"schema\":2}").unwrap();
        assert!(Ledger::load(folder.path()).unwrap_err().to_string().contains("schema 2"));
        std::fs::write(folder.path().join(LEDGER), "{\"schema\":1,\"fil").unwrap();
        assert!(Ledger::load(folder.path()).is_err());
    }
}
