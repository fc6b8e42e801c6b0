//! Secrets of the uploader, kept in files that only this user may read, or in the environment. None is ever shown.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretProblem {
    #[error("{}: the {what} cannot be read: {source}", path.display())]
    Read { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{}: others may read this {what} (mode {mode:03o}); take that from them with chmod 600, and change it if they may have", path.display())]
    Open { path: PathBuf, what: &'static str, mode: u32 },
    #[error("{}: no {what}; {remedy}", path.display())]
    Format { path: PathBuf, what: &'static str, remedy: &'static str },
    #[error("{name} is not set; set it, or write the store's keys into a file and name that in upload.credentials")]
    Variable { name: &'static str },
}

/// Reads a secret that only this user may read.
pub(super) fn read_secret(path: &Path, what: &'static str) -> Result<String, SecretProblem> {
    let read = |source| SecretProblem::Read { path: path.to_owned(), what, source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let mode = path.metadata().map_err(read)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretProblem::Open { path: path.to_owned(), what, mode });
    }
    Ok(text)
}

/// Where the keys to a store come from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A file, read anew for each request: keys that are replaced there are used at once.
    File(PathBuf),
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if there is one.
    Environment,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("environment"),
        }
    }
}

impl Credentials {
    /// The keys as they are now.
    pub(super) fn load(&self) -> Result<AwsCredential, SecretProblem> {
        match self {
            Self::File(path) => {
                let text = read_secret(path, WHAT)?;
                parse(&text).ok_or_else(|| SecretProblem::Format { path: path.clone(), what: WHAT, remedy: FORM })
            }
            Self::Environment => {
                let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
                let needed = |name| variable(name).ok_or(SecretProblem::Variable { name });
                let (key_id, secret_key) = (needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
                Ok(AwsCredential { key_id, secret_key, token: variable("AWS_SESSION_TOKEN") })
            }
        }
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let loaded = self.load().map_err(|problem| object_store::Error::Unauthenticated {
            path: String::from("upload.credentials"),
            source: Box::new(problem),
        });
        loaded.map(Arc::new)
    }
}

/// The keys of the section `[default]`, or of a file without sections.
fn parse(text: &str) -> Option<AwsCredential> {
    let (mut key_id, mut secret_key, mut token, mut ours) = (None, None, None, true);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            ours = section.trim_end_matches(']').trim() == "default";
        }
        let Some((name, value)) = line.split_once('=').filter(|_| ours) else { continue };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

const WHAT: &str = "file with the store's keys";
const FORM: &str = "write aws_access_key_id = … and aws_secret_access_key = … on lines of their own, below [default] or without sections";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_read_as_other_programs_write_them() {
        let text =
            "# mine\n[other]\naws_access_key_id=no\n[default]\naws_access_key_id = id\naws_secret_access_key= s=1\n";
        let keys = parse(text).unwrap();
        assert_eq!((keys.key_id.as_str(), keys.secret_key.as_str(), keys.token), ("id", "s=1", None));
        assert!(parse("aws_access_key_id=a\naws_secret_access_key=b\naws_session_token=c").unwrap().token.is_some());
        assert!(parse("aws_access_key_id = id\naws_secret_access_key =\n").is_none());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_its_content_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "aws_access_key_id = id\naws_secret_access_key = hush\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let problem = Credentials::File(path.clone()).load().unwrap_err().to_string();
        assert!(
            problem.contains("mode 640") && problem.contains("chmod 600") && !problem.contains("hush"),
            "{problem}"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keys = Credentials::File(path.clone()).load().unwrap();
        assert!(!format!("{keys:?}{:?}", Credentials::File(path)).contains("hush"));
    }
}
