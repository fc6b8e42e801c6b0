//! Why the host does not start: every problem at once, each with its place and its remedy.

use std::fmt;
use std::path::PathBuf;

use crate::cache::CacheError;
use crate::failure::Failure;

/// One problem.
#[derive(Debug)]
pub struct LoadError {
    /// The plugin, the key ring, or `policy` itself.
    pub place: String,
    /// What is wrong.
    pub problem: LoadProblem,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.problem.remedy())
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

/// What may be wrong.
#[derive(Debug, thiserror::Error)]
pub enum LoadProblem {
    /// The name cannot be used.
    #[error("not a plugin name")]
    Name,
    /// Two plugins of one name.
    #[error("another plugin has the same name")]
    Duplicate,
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another file than the operator pinned.
    #[error("the file's SHA-256 is {actual}, not {expected}")]
    Digest {
        /// The pinned one.
        expected: String,
        /// The file's.
        actual: String,
    },
    /// Signatures are required, and there is none.
    #[error("it is not signed: there is no {}", signature.display())]
    Unsigned {
        /// The plugin's file.
        file: PathBuf,
        /// Where its signature is looked for.
        signature: PathBuf,
    },
    /// What lies beside the file is no signature.
    #[error("{} holds {bytes} bytes, and an Ed25519 signature has 64", file.display())]
    NotASignature {
        /// Which.
        file: PathBuf,
        /// How many bytes.
        bytes: usize,
    },
    /// It is signed by somebody else, or was changed since.
    #[error("the signature {} is by none of the trusted keys, or of another file", file.display())]
    Signature {
        /// Which.
        file: PathBuf,
    },
    /// A file that is named as a key for signatures.
    #[error("the trusted key {}: {why}", file.display())]
    TrustedKey {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file is no component that this engine can run.
    #[error("not a usable WebAssembly component: {0}")]
    NotAComponent(String),
    /// An import from somebody else.
    #[error("it imports {0}, which no plugin may")]
    ForeignImport(String),
    /// A version of the contract that this host does not speak.
    #[error("it is made for {0}; this host speaks {speaks}", speaks = crate::CONTRACT)]
    UnknownVersion(String),
    /// An import that its configuration does not grant.
    #[error("it imports {0}, which is not granted")]
    NotGranted(&'static str),
    /// Nothing to ask it.
    #[error("it exports no hook")]
    NoHook,
    /// The configuration names a hook that it does not export.
    #[error("it does not export the hook {0}")]
    HookNotExported(&'static str),
    /// A limit beyond what the engine can hold.
    #[error("{0}")]
    Limit(&'static str),
    /// Only subscriptions have a last answer that can stand in for the next one.
    #[error("its failures at the hook {0} cannot mean \"last-known\"")]
    LastKnown(&'static str),
    /// What a plugin in shadow is held against must be asked itself.
    #[error("there is no plugin {0:?} whose answers its own could be held against")]
    ShadowOf(String),
    /// The plugin refuses its settings.
    #[error("settings: {0}")]
    Settings(String),
    /// The plugin failed before the first question.
    #[error("it failed while it was loaded: {0}")]
    Failed(Failure),
    /// A key ring cannot be used.
    #[error("{0}")]
    Keys(String),
    /// It cannot be had while the node runs.
    #[error("{0}")]
    Restart(&'static str),
    /// The folder for machine code cannot be used.
    #[error("cache: {0}")]
    Cache(#[from] CacheError),
    /// The engine or its threads cannot be started.
    #[error("cannot start: {0}")]
    Engine(String),
}

impl LoadProblem {
    /// What the operator can do.
    pub fn remedy(&self) -> String {
        match self {
            Self::Name => "use 1 to 64 characters of a–z, 0–9 and -".into(),
            Self::Duplicate => "give each plugin a name of its own".into(),
            Self::Unreadable { .. } => {
                "check the path; `cargo xtask plugins` builds the plugins that come along".into()
            }
            Self::Digest { .. } => "restore the file, or pin the new digest if the change is meant".into(),
            Self::Unsigned { file, signature } => {
                let (file, signature) = (file.display(), signature.display());
                format!("sign it: openssl pkeyutl -sign -rawin -inkey KEY -in {file} -out {signature}")
            }
            Self::NotASignature { .. } => "make it with: openssl pkeyutl -sign -rawin".into(),
            Self::Signature { .. } => "restore the file, or have it signed again".into(),
            Self::TrustedKey { .. } => "make it with: openssl pkey -in KEY -pubout".into(),
            Self::NotAComponent(_) => "build it with `cargo xtask plugins`, or componentise it".into(),
            Self::ForeignImport(_) => "build it for wasm32-unknown-unknown, without WASI".into(),
            Self::UnknownVersion(_) => "rebuild it against this version of wit/".into(),
            Self::NotGranted(name) => format!("add \"{name}\" to its grants if you trust it with that"),
            Self::NoHook => {
                "export at least one of auth, admission, publishing, subscription, recording, command".into()
            }
            Self::HookNotExported(name) => format!("remove \"{name}\" from its hooks"),
            Self::Limit(_) => "choose a value in that range".into(),
            Self::LastKnown(_) => "choose \"closed\" or \"open\" there: \"last-known\" is for subscriptions".into(),
            Self::ShadowOf(_) => "name one that is not in shadow itself, or leave shadow_of out".into(),
            Self::Settings(_) => "correct the plugin's settings".into(),
            Self::Failed(_) => "ask its author, or raise its limits".into(),
            Self::Keys(_) => "check the key's file, its kind and the algorithms".into(),
            Self::Restart(_) => "restart the node".into(),
            Self::Cache(error) => error.remedy(),
            Self::Engine(_) => "check the memory that the process may map and its thread limit".into(),
        }
    }
}
