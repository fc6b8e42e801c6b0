//! What people and scripts do with archives: check, mend, list, look into and compose them. No node is needed.

mod compose;
mod decrypt;
mod find;
mod hold;
mod info;
mod list;
mod repair;
mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use crate::archive::{KeyProblem, PublicKey, SigningKey};
use crate::config::{Config, Problem};
use crate::upload::{EncryptionKey, SecretProblem};
pub use compose::ComposeArguments;
pub use hold::HoldState;

/// A sub-command.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Check archives: hashes, signature, and the structure of every file, read to its end
    ///
    /// Exit codes: 0 all are good (or still being recorded), 65 at least one is damaged, 1 something could not be looked at.
    Verify {
        /// Folders of sessions, of rooms or of all archives; none: recording.directory.
        paths: Vec<PathBuf>,
        /// The key that must have signed them, public or private, in PEM: what is not sealed is damaged then. None:
        /// recorder.signing_key, if it is there, for those that are sealed.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Complete files that a killed recorder left open, and seal the archives of sessions that have ended
    ///
    /// A starting recorder does the same. Files that are being written are left alone. Exit codes: 0 all is complete, 65
    /// something cannot be mended.
    Repair {
        /// Folders of sessions, of rooms or of all archives; none: recording.directory.
        paths: Vec<PathBuf>,
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what a session's archive holds: files, tracks, gaps, clocks, speakers
    Info {
        /// The folder of the session.
        path: PathBuf,
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all sessions, the oldest first
    List {
        /// The folder of a room or of all archives; none: recording.directory.
        path: Option<PathBuf>,
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Render a session as one video, everybody in a gallery and in time with each other (needs ffmpeg)
    Compose(ComposeArguments),
    /// Keep a session from being deleted, here and in the store (legal hold), or let it go again
    Hold {
        /// The folder of the session.
        path: PathBuf,
        /// Whether it is held.
        state: HoldState,
        /// Why, for whoever finds it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Decrypt files (`….enc`) that were fetched from the store, each beside itself
    ///
    /// Nothing is written over. Exit codes: 0 all are whole, 65 at least one was changed or cut, or is encrypted for another key.
    Decrypt {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The file with the key. None: upload.encryption_key.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Write into this folder instead.
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Print the public key that archives are checked with, in PEM; the key is made if it is not there
    Key {
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// How a tool's work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Good,
    /// Something is damaged; what, was told.
    Damaged,
}

/// Why a tool's work could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The configuration is wrong, and the command line does not say what is needed of it.
    #[error("the configuration is wrong")]
    Config(Vec<Problem>),
    /// There is no archive.
    #[error("{}: no session is there; name the folder of a session (it has a session.json) or one above it", .0.display())]
    NoSession(PathBuf),
    /// The archive's manifest cannot be understood.
    #[error("{}: session.json cannot be understood by this version; try `lockgate-recorder verify`", .0.display())]
    Manifest(PathBuf),
    /// The key cannot be used.
    #[error("{0}")]
    Key(String),
    /// There is no key.
    #[error("recorder.signing_key is empty: archives are not signed")]
    NoKey,
    /// There is no key to decrypt with.
    #[error("no key is named; give one with --key or set upload.encryption_key")]
    NoEncryptionKey,
    /// It is not named as encrypted files are.
    #[error("{}: its name does not end in .enc", .0.display())]
    Encrypted(PathBuf),
    /// The video cannot be made.
    #[error("{0}")]
    Compose(String),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The result cannot be written.
    #[error("the result cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<SecretProblem> for ToolError {
    fn from(problem: SecretProblem) -> Self {
        Self::Key(problem.to_string())
    }
}

impl From<KeyProblem> for ToolError {
    fn from(problem: KeyProblem) -> Self {
        Self::Key(problem.to_string())
    }
}

/// Does the work and writes its result to `out`. `config` is read only where the tool needs it.
pub fn use_tool(
    tool: &Tool,
    config: impl Fn() -> Result<Config, Vec<Problem>>,
    out: &mut impl Write,
) -> Result<Outcome, ToolError> {
    let config = || config().map_err(ToolError::Config);
    let places = |paths: &[PathBuf]| match paths {
        [] => Ok(vec![config()?.directory]),
        _ => Ok::<_, ToolError>(paths.to_vec()),
    };
    match tool {
        Tool::Verify { paths, key, json } => {
            // Who names a key wants to know that it signed, not only that nothing tells otherwise.
            let sealed = key.is_some();
            let key = match key {
                Some(path) => Some(PublicKey::load(path)?),
                None => configured_key(config().ok())?,
            };
            verify::verify(&find::sessions_at(&places(paths)?)?, key, sealed, *json, out)
        }
        Tool::Repair { paths, json } => {
            let key = match config().ok().and_then(|config| config.signing_key) {
                Some(path) => Some(SigningKey::load_or_make(&path)?),
                None => None,
            };
            repair::repair(&find::sessions_at(&places(paths)?)?, key.as_ref(), *json, out)
        }
        Tool::Info { path, json } => info::info(path, *json, out),
        Tool::List { path, json } => list::list(&places(path.as_slice())?, *json, out),
        Tool::Compose(arguments) => compose::compose(arguments, out),
        Tool::Hold { path, state, reason } => hold::hold(path, *state, reason, out),
        Tool::Decrypt { files, key, output } => {
            let configured = || Ok(config()?.upload.and_then(|upload| upload.encryption_key()));
            let path = key.clone().map_or_else(configured, |path| Ok::<_, ToolError>(Some(path)))?;
            let key = EncryptionKey::load(&path.ok_or(ToolError::NoEncryptionKey)?)?;
            decrypt::decrypt(files, &key, output.as_deref(), out)
        }
        Tool::Key { json } => {
            let path = config()?.signing_key.ok_or(ToolError::NoKey)?;
            print_key(SigningKey::load_or_make(&path)?.public(), *json, out)
        }
    }
}

/// The public half of the configured key. Where no key is configured or none was made yet, none.
fn configured_key(config: Option<Config>) -> Result<Option<PublicKey>, ToolError> {
    let path = config.and_then(|config| config.signing_key).filter(|path| path.exists());
    Ok(path.map(|path| PublicKey::load(&path)).transpose()?)
}

fn print_key(key: PublicKey, json: bool, out: &mut impl Write) -> Result<Outcome, ToolError> {
    match json {
        true => write_json(&serde_json::json!({ "key": key.to_string(), "pem": key.to_pem() }), out)?,
        false => write!(out, "{}", key.to_pem())?,
    }
    Ok(Outcome::Good)
}

fn write_json(value: &impl Serialize, out: &mut impl Write) -> Result<(), ToolError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ToolError + '_ {
    move |source| ToolError::File { path: path.to_owned(), source }
}

/// Milliseconds as people read them.
fn clock_text(ms: u64) -> String {
    format!("{}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Bytes as people read them.
fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests;
