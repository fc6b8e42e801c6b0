//! What is uploaded: read once, hashed as it is read, encrypted if it is to be.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use super::crypt::{Sealer, SessionKey, sealed_length};
use crate::archive::{Digest, hex, open_regular};

/// A file, or something as long as one, on its way to the store.
pub(super) struct Source {
    input: Input,
    /// As it must be; the hash only where it is known before.
    expected: (u64, Option<String>),
    /// How many bytes go to the store.
    pub(super) length: u64,
}

enum Input {
    Plain(Tally),
    Sealed(Box<Sealer<Tally>>),
}

impl Source {
    /// A file. A changed one is noticed when it was read to its end.
    pub(super) fn file(path: &Path, sha256: Option<&str>, key: Option<&SessionKey>) -> io::Result<Self> {
        let file = open_regular(path)?;
        let bytes = file.metadata()?.len();
        Self::new(From::File(file), bytes, sha256, key)
    }

    /// Bytes in memory.
    pub(super) fn bytes(bytes: Vec<u8>, key: Option<&SessionKey>) -> io::Result<Self> {
        let length = bytes.len() as u64;
        Self::new(From::Memory(Cursor::new(bytes)), length, None, key)
    }

    fn new(from: From, bytes: u64, sha256: Option<&str>, key: Option<&SessionKey>) -> io::Result<Self> {
        let tally = Tally { from, context: Context::new(&SHA256), bytes: 0 };
        let expected = (bytes, sha256.map(str::to_owned));
        let Some(key) = key else { return Ok(Self { input: Input::Plain(tally), expected, length: bytes }) };
        let sealer = Sealer::new(tally, bytes, key).map_err(|_| io::Error::other("no key can be drawn"))?;
        Ok(Self { input: Input::Sealed(Box::new(sealer)), expected, length: sealed_length(bytes) })
    }

    /// The next so many bytes, fewer only at the end.
    pub(super) fn next(&mut self, bytes: u64) -> io::Result<Bytes> {
        let mut piece = Vec::with_capacity(bytes.min(self.length) as usize);
        match &mut self.input {
            Input::Plain(tally) => tally.take(bytes).read_to_end(&mut piece)?,
            Input::Sealed(sealer) => sealer.as_mut().take(bytes).read_to_end(&mut piece)?,
        };
        Ok(piece.into())
    }

    /// Size and hash of the file, when all of it was read. None: it is not what it was.
    pub(super) fn digest(&self) -> Option<Digest> {
        let tally = match &self.input {
            Input::Plain(tally) => tally,
            Input::Sealed(sealer) => sealer.plain(),
        };
        let digest = tally.digest();
        let (bytes, sha256) = &self.expected;
        let same = digest.bytes == *bytes && sha256.as_ref().is_none_or(|sha256| *sha256 == digest.sha256);
        same.then_some(digest)
    }
}

enum From {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

/// Counts and hashes what passes.
struct Tally {
    from: From,
    context: Context,
    bytes: u64,
}

impl Tally {
    fn digest(&self) -> Digest {
        Digest { bytes: self.bytes, sha256: hex(self.context.clone().finish().as_ref()) }
    }
}

impl Read for Tally {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.from {
            From::File(file) => file.read(out)?,
            From::Memory(bytes) => bytes.read(out)?,
        };
        self.context.update(&out[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
