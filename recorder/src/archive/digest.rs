//! SHA-256 of files, as far as there is time for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

/// A file's size and the hash over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    /// How many bytes were hashed.
    pub(crate) bytes: u64,
    /// In lower-case hex.
    pub(crate) sha256: String,
}

/// How many bytes may still be hashed: a process that ends leaves the rest to the next one.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// Without a limit.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// From now on, so many and no more.
    pub(super) fn limit(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Opens a file for reading, but nothing else that may have its name: a link may lead anywhere, a pipe keeps who opens it waiting.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    match path.symlink_metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Hashes a file. None: the budget is used up.
pub(crate) fn digest(path: &Path, budget: &Budget) -> io::Result<Option<Digest>> {
    let mut file = open_regular(path)?;
    let (mut context, mut buffer, mut bytes) = (Context::new(&SHA256), vec![0; CHUNK], 0);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if !budget.take(count as u64) {
            return Ok(None);
        }
        context.update(&buffer[..count]);
        bytes += count as u64;
    }
    Ok(Some(Digest { bytes, sha256: hex(context.finish().as_ref()) }))
}

/// Bytes as people and `sha256sum` write them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads what [`hex`] writes, in letters of either case. None: it is something else, or not `N` bytes.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Read at once, in bytes.
const CHUNK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_if_the_budget_allows_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into();
        let budget = Budget::new();
        assert_eq!(digest(file.path(), &budget).unwrap(), Some(Digest { bytes: 3, sha256 }));
        budget.limit(2);
        assert_eq!(digest(file.path(), &budget).unwrap(), None);
    }

    #[test]
    fn hex_is_read_as_it_was_written_and_nothing_else_is() {
        assert_eq!(from_hex(&hex(&[0, 0x7F, 0xFF])), Some([0, 0x7F, 0xFF]));
        assert_eq!(from_hex("00fF"), Some([0, 255]));
        for wrong in ["", "0", "00f", "000000", "+f00", "0g00", "é00"] {
            assert_eq!(from_hex::<2>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "abc").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(digest(&file, &Budget::new()).is_ok());
        for other in [link, folder.path().to_owned()] {
            let problem = digest(&other, &Budget::new()).unwrap_err().to_string();
            assert_eq!(problem, "it is no regular file", "{}", other.display());
        }
    }
}
