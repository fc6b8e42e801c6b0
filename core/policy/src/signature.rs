//! Who a plugin file is from: Ed25519 signatures (RFC 8032) beside the files, as `openssl pkeyutl` makes them.
//!
//! A signature is the raw 64 bytes, over the file as it is. Which of several good files is meant, a signature does not say: that is
//! what a pinned digest is for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};

use crate::load_error::LoadProblem;

/// The keys that plugin files may be signed with; none: files need no signature.
#[derive(Debug, Default)]
pub(crate) struct TrustedKeys(Vec<ParsedPublicKey>);

impl TrustedKeys {
    /// Reads public keys in PEM (RFC 8410).
    ///
    /// # Errors
    /// Each file that holds none.
    pub(crate) fn load(files: &[PathBuf]) -> Result<Self, Vec<LoadProblem>> {
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for file in files {
            match fs::read(file) {
                Ok(text) => match key(&text) {
                    Ok(key) => keys.push(key),
                    Err(why) => problems.push(LoadProblem::TrustedKey { file: file.clone(), why: why.into() }),
                },
                Err(error) => problems.push(LoadProblem::TrustedKey { file: file.clone(), why: error.to_string() }),
            }
        }
        if problems.is_empty() { Ok(Self(keys)) } else { Err(problems) }
    }

    /// Checks what was read from a plugin's file against the signature beside it.
    pub(crate) fn check(&self, file: &Path, bytes: &[u8]) -> Result<(), LoadProblem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let beside = signature_file(file);
        let signature = match fs::read(&beside) {
            Ok(signature) => signature,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LoadProblem::Unsigned { file: file.to_owned(), signature: beside });
            }
            Err(source) => return Err(LoadProblem::Unreadable { file: beside, source }),
        };
        if signature.len() != SIGNATURE {
            return Err(LoadProblem::NotASignature { file: beside, bytes: signature.len() });
        }
        let is_by = |key: &ParsedPublicKey| key.verify_sig(bytes, &signature).is_ok();
        if self.0.iter().any(is_by) { Ok(()) } else { Err(LoadProblem::Signature { file: beside }) }
    }
}

fn key(text: &[u8]) -> Result<ParsedPublicKey, &'static str> {
    let pem = pem::parse(text).map_err(|_| "it is no PEM")?;
    match pem.tag() {
        "PUBLIC KEY" => ParsedPublicKey::new(&ED25519, pem.contents()).map_err(|_| "it is no Ed25519 key"),
        "PRIVATE KEY" => Err("it is a private key, which has no business here"),
        _ => Err("it holds no public key"),
    }
}

/// Where a plugin's signature lies: `a.wasm.sig` for `a.wasm`.
pub fn signature_file(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".sig");
    name.into()
}

const SIGNATURE: usize = 64;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
            let file = self.0.path().join(name);
            fs::write(&file, bytes).expect("a file");
            file
        }

        /// A key pair, and the file with its public key.
        fn key(&self, name: &str) -> (Ed25519KeyPair, PathBuf) {
            let pair = Ed25519KeyPair::generate().expect("a key");
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("its public form");
            let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref()));
            let file = self.write(name, pem);
            (pair, file)
        }
    }

    fn checked(keys: &[PathBuf], file: &Path) -> Result<(), String> {
        let keys = TrustedKeys::load(keys).expect("keys");
        keys.check(file, &fs::read(file).expect("a file")).map_err(|problem| format!("{problem}; {}", problem.remedy()))
    }

    #[test]
    fn a_file_that_a_trusted_key_has_signed_passes_and_no_other() {
        let folder = Folder::new();
        let ((one, one_file), (other, other_file)) = (folder.key("one.pem"), folder.key("other.pem"));
        let file = folder.write("a.wasm", "a plugin");
        assert_eq!(checked(&[], &file), Ok(()), "no keys, no signatures");
        let problem = checked(std::slice::from_ref(&one_file), &file).unwrap_err();
        assert!(problem.contains("it is not signed") && problem.contains("openssl pkeyutl -sign"), "{problem}");
        folder.write("a.wasm.sig", other.sign(b"a plugin"));
        assert!(checked(std::slice::from_ref(&one_file), &file).unwrap_err().contains("none of the trusted keys"));
        assert_eq!(checked(&[one_file.clone(), other_file], &file), Ok(()));
        folder.write("a.wasm.sig", one.sign(b"a plugin"));
        assert_eq!(checked(std::slice::from_ref(&one_file), &file), Ok(()));
        folder.write("a.wasm", "a plugin!");
        assert!(checked(std::slice::from_ref(&one_file), &file).unwrap_err().contains("none of the trusted keys"));
        folder.write("a.wasm.sig", "in words");
        assert!(checked(&[one_file], &file).unwrap_err().contains("8 bytes"));
    }

    #[test]
    fn what_is_no_public_key_of_this_kind_is_refused() {
        let folder = Folder::new();
        let pem = |tag: &str| pem::encode(&pem::Pem::new(tag, vec![1, 2, 3]));
        let files = [
            (folder.0.path().join("none"), "No such file"),
            (folder.write("words", "hello"), "it is no PEM"),
            (folder.write("private", pem("PRIVATE KEY")), "it is a private key"),
            (folder.write("certificate", pem("CERTIFICATE")), "it holds no public key"),
            (folder.write("other", pem("PUBLIC KEY")), "it is no Ed25519 key"),
        ];
        let problems = TrustedKeys::load(&files.clone().map(|(file, _)| file)).unwrap_err();
        assert_eq!(problems.len(), files.len());
        for ((file, why), problem) in files.iter().zip(&problems) {
            let problem = problem.to_string();
            assert!(problem.contains(why) && problem.contains(&*file.to_string_lossy()), "{problem}");
        }
    }

    /// The commands of docs/operating.md.
    #[test]
    fn what_openssl_signs_passes() {
        let folder = Folder::new();
        folder.write("a.wasm", "a plugin");
        let openssl =
            |arguments: &str| Command::new("openssl").args(arguments.split(' ')).current_dir(folder.0.path()).output();
        for arguments in [
            "genpkey -algorithm ed25519 -out plugins.key",
            "pkey -in plugins.key -pubout -out plugins.pem",
            "pkeyutl -sign -rawin -inkey plugins.key -in a.wasm -out a.wasm.sig",
        ] {
            match openssl(arguments) {
                Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
                Err(error) => return eprintln!("not tested: openssl is not here: {error}"),
            }
        }
        assert_eq!(checked(&[folder.0.path().join("plugins.pem")], &folder.0.path().join("a.wasm")), Ok(()));
    }
}
