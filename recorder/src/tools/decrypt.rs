//! `decrypt`: files as they were before they were encrypted for the store.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Outcome, ToolError, file_error};
use crate::archive::{open_regular, rename_free};
use crate::upload::{CryptProblem, ENCRYPTED, EncryptionKey, Opener};

/// Why a file is not decrypted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Crypt(#[from] CryptProblem),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Decrypts files, each beside itself or into a folder. Nothing is written over, and nothing appears that is not whole.
pub(super) fn decrypt(
    files: &[PathBuf],
    key: &EncryptionKey,
    folder: Option<&Path>,
    out: &mut impl Write,
) -> Result<Outcome, ToolError> {
    let mut outcome = Outcome::Good;
    for file in files {
        let target = target(file, folder).ok_or_else(|| ToolError::Encrypted(file.clone()))?;
        let aside = target.with_added_extension("part");
        let made = OpenOptions::new().write(true).create_new(true).open(&aside).map_err(file_error(&aside))?;
        let done = decrypt_one(file, key, made).and_then(|()| Ok(rename_free(&aside, &target)?));
        if done.is_err() {
            std::fs::remove_file(&aside).map_err(file_error(&aside))?;
        }
        match done {
            Ok(()) => writeln!(out, "{}", target.display())?,
            Err(Failure::Crypt(problem)) => {
                outcome = Outcome::Damaged;
                writeln!(out, "{}: not decrypted: {problem}", file.display())?;
            }
            Err(Failure::Io(source)) => return Err(ToolError::File { path: target, source }),
        }
    }
    Ok(outcome)
}

/// The file's name without its ending, beside it or in the folder.
fn target(file: &Path, folder: Option<&Path>) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?.strip_suffix(ENCRYPTED).filter(|name| !name.is_empty())?;
    Some(folder.map_or_else(|| file.with_file_name(name), |folder| folder.join(name)))
}

fn decrypt_one(file: &Path, key: &EncryptionKey, mut made: File) -> Result<(), Failure> {
    let (mut sealed, mut piece, mut opener) = (open_regular(file)?, vec![0; PIECE], Opener::new(key));
    let mut write = |plain: &[u8]| Ok::<_, Failure>(made.write_all(plain)?);
    loop {
        match sealed.read(&mut piece)? {
            0 => break,
            count => opener.push(&piece[..count], &mut write)?,
        }
    }
    opener.finish(&mut write)?;
    Ok(made.sync_all()?)
}

/// Read at once, in bytes.
const PIECE: usize = 256 * 1024;
