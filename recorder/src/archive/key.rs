//! The key that archives are signed with: Ed25519 (RFC 8032), in PEM files as other programs read them (RFC 8410).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use pem::{EncodeConfig, LineEnding, Pem};

use super::digest::{from_hex, hex};
use super::folder::rename_free;

/// The private half.
pub(crate) struct SigningKey(Ed25519KeyPair);

/// The public half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey([u8; 32]);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyProblem {
    #[error("{}: the key cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: a key cannot be made there: {source}; set recorder.signing_key to a place that can be written", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("{}: others may read this key (mode {mode:03o}); take that from them with chmod 600, or make a new one", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{}: no {what} of Ed25519 in PEM; `openssl genpkey -algorithm ed25519` makes one", path.display())]
    Format { path: PathBuf, what: &'static str },
}

impl SigningKey {
    /// Reads a key; where there is none, one is made that only this user may read.
    pub(crate) fn load_or_make(path: &Path) -> Result<Self, KeyProblem> {
        if path.symlink_metadata().is_err() {
            make(path).map_err(|source| KeyProblem::Make { path: path.to_owned(), source })?;
        }
        Self::load(path)
    }

    /// Reads a key that only this user may read.
    pub(crate) fn load(path: &Path) -> Result<Self, KeyProblem> {
        let text = read(path)?;
        let mode = path.metadata().map_or(0, |found| found.mode() & 0o777);
        if mode & 0o077 != 0 {
            return Err(KeyProblem::Open { path: path.to_owned(), mode });
        }
        let der = decode(&text, PRIVATE);
        let pair = der.and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
        pair.map(Self).ok_or_else(|| KeyProblem::Format { path: path.to_owned(), what: "private key" })
    }

    /// The half that others may have.
    pub(crate) fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// The signature of some bytes, 64 bytes long.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl PublicKey {
    /// Reads a public key, or the public half of a private one.
    pub(crate) fn load(path: &Path) -> Result<Self, KeyProblem> {
        let text = read(path)?;
        if decode(&text, PRIVATE).is_some() {
            return SigningKey::load(path).map(|key| key.public());
        }
        let der = decode(&text, PUBLIC).and_then(|der| <[u8; 44]>::try_from(der).ok());
        let key = der.and_then(|der| der.strip_prefix(&PUBLIC_HEAD).and_then(|key| key.try_into().ok()));
        key.map(Self).ok_or_else(|| KeyProblem::Format { path: path.to_owned(), what: "public key" })
    }

    /// Reads what `Display` writes.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// As other programs read it.
    pub(crate) fn to_pem(self) -> String {
        encode(PUBLIC, [&PUBLIC_HEAD[..], &self.0].concat())
    }

    /// Whether this is the signature of these bytes by the private half.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

fn read(path: &Path) -> Result<String, KeyProblem> {
    std::fs::read_to_string(path).map_err(|source| KeyProblem::Read { path: path.to_owned(), source })
}

/// Makes a key. Of two processes that do so at once, the key of the quicker one stays.
fn make(path: &Path) -> io::Result<()> {
    let pair = Ed25519KeyPair::generate().map_err(|_| io::Error::other("the system has no randomness"))?;
    let der = pair.to_pkcs8v1().map_err(|_| io::Error::other("the key cannot be written out"))?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    // A process with this number was killed here, and its key never had its name.
    if let Err(error) = std::fs::remove_file(&aside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = file.write_all(encode(PRIVATE, der.as_ref().to_vec()).as_bytes()).and_then(|()| file.sync_all());
    let named = written.and_then(|()| rename_free(&aside, path));
    if let Err(error) = named {
        std::fs::remove_file(&aside)?;
        return if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) };
    }
    tracing::info!(key = %path.display(), "a key for signing archives was made; keep a copy of it");
    // A key that a power failure takes away could sign nothing again.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn decode(text: &str, tag: &str) -> Option<Vec<u8>> {
    pem::parse(text).ok().filter(|pem| pem.tag() == tag).map(Pem::into_contents)
}

fn encode(tag: &str, der: Vec<u8>) -> String {
    pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of a key in its `SubjectPublicKeyInfo` (RFC 8410 §4).
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_this_user_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = SigningKey::load_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::load_or_make(&path).unwrap().public(), key.public());
        assert_eq!(PublicKey::load(&path).unwrap(), key.public());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn what_a_process_with_the_same_number_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(folder.path().join(format!("key.pem.{}.new", std::process::id())), "half").unwrap();
        SigningKey::load_or_make(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        SigningKey::load_or_make(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let problem = SigningKey::load_or_make(&path).unwrap_err().to_string();
        assert!(problem.contains("mode 640") && problem.contains("chmod 600"), "{problem}");
    }

    #[test]
    fn what_is_no_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(SigningKey::load(&path).unwrap_err().to_string().contains("no private key"));
        assert!(PublicKey::load(&path).unwrap_err().to_string().contains("no public key"));
    }

    #[test]
    fn a_signature_holds_for_these_bytes_and_this_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_make(&folder.path().join("a")).unwrap();
        let other = SigningKey::load_or_make(&folder.path().join("b")).unwrap();
        let signature = key.sign(b"what was said");
        assert!(key.public().verifies(b"what was said", &signature));
        assert!(!key.public().verifies(b"what was sai", &signature));
        assert!(!other.public().verifies(b"what was said", &signature));
    }

    #[test]
    fn a_public_key_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_make(&folder.path().join("a")).unwrap().public();
        std::fs::write(folder.path().join("p"), key.to_pem()).unwrap();
        assert_eq!(PublicKey::load(&folder.path().join("p")).unwrap(), key);
        assert_eq!(PublicKey::from_hex(&key.to_string()), Some(key));
        assert_eq!(PublicKey::from_hex("zz"), None);
    }
}
