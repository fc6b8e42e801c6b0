//! Envelope encryption of what goes to a store: AES-256-GCM in chunks, under a key of each file, under a key of each session, which is
//! wrapped by a key from a file (`docs/archive.md` has the format).
//!
//! A chunk's nonce is its number and whether it is the last, so chunks that are changed, moved, repeated or missing, and files that were
//! cut, cannot be opened. The file's key is drawn from a new salt each time: no nonce is ever used twice with one key.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand;

use super::secret::{SecretProblem, read_secret};
use crate::archive::{from_hex, hex};

/// The key that wraps sessions' keys.
pub(crate) struct WrappingKey {
    key: [u8; KEY],
    id: KeyId,
}

/// Which wrapping key: the beginning of a hash over it.
pub(crate) type KeyId = [u8; 8];

/// A session's key, wrapped. It may be known to everybody.
pub(super) type Wrapped = [u8; WRAPPED];

/// A session's key, with its wrapping that stands in every file.
pub(super) struct SessionKey {
    key: [u8; KEY],
    id: KeyId,
    wrapped: Wrapped,
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CryptProblem {
    #[error("it was not encrypted by this program, or its beginning is missing")]
    Format,
    #[error("it was encrypted for another key")]
    OtherKey,
    #[error("it was changed, or a part of it is missing")]
    Changed,
}

impl WrappingKey {
    /// Reads a key: 64 hex digits in a file that only this user may read.
    pub(crate) fn load(path: &Path) -> Result<Self, SecretProblem> {
        let text = read_secret(path, WHAT)?;
        let key = from_hex::<KEY>(text.trim());
        let key = key.ok_or_else(|| SecretProblem::Format {
            path: path.to_owned(),
            what: WHAT,
            remedy: "make one with `openssl rand -hex 32`, and keep a copy",
        })?;
        Ok(Self::new(key))
    }

    fn new(key: [u8; KEY]) -> Self {
        let hash = digest(&SHA256, &[b"lockgate wrapping key", &key[..]].concat());
        let mut id = KeyId::default();
        id.copy_from_slice(&hash.as_ref()[..8]);
        Self { key, id }
    }

    /// A new key for a session.
    pub(super) fn new_session(&self) -> Result<SessionKey, Unspecified> {
        let mut key = [0; KEY];
        rand::fill(&mut key)?;
        let mut wrapped = [0; WRAPPED];
        AesKek::new(&AES_256, &self.key)?.wrap(&key, &mut wrapped)?;
        Ok(SessionKey { key, id: self.id, wrapped })
    }

    /// A session's key, unless it was wrapped by another one.
    pub(super) fn unwrap(&self, wrapped: Wrapped) -> Result<SessionKey, CryptProblem> {
        let mut key = [0; KEY];
        let kek = AesKek::new(&AES_256, &self.key).map_err(|_| CryptProblem::OtherKey)?;
        // AES Key Wrap (RFC 3394) tells whether it is the right one.
        kek.unwrap(&wrapped, &mut key).map_err(|_| CryptProblem::OtherKey)?;
        Ok(SessionKey { key, id: self.id, wrapped })
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappingKey({})", hex(&self.id))
    }
}

impl SessionKey {
    pub(super) fn wrapped(&self) -> &Wrapped {
        &self.wrapped
    }

    /// The beginning of a new file, and the key that its chunks are under.
    fn begin(&self) -> Result<(Vec<u8>, LessSafeKey), Unspecified> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt)?;
        let head = [&MAGIC[..], &self.id, &self.wrapped, &salt, &(CHUNK as u32).to_be_bytes()].concat();
        Ok((head.clone(), self.file_key(&head)?))
    }

    /// The key of a file with this beginning, all of which it depends on.
    fn file_key(&self, head: &[u8]) -> Result<LessSafeKey, Unspecified> {
        let salt = Salt::new(HKDF_SHA256, &head[HEAD - 4 - SALT..HEAD - 4]);
        let unbound = salt.extract(&self.key).expand(&[b"lockgate file", head], &AES_256_GCM)?.into();
        let unbound: UnboundKey = unbound;
        Ok(LessSafeKey::new(unbound))
    }
}

/// How long so many bytes are when they are encrypted.
pub(super) fn sealed_length(bytes: u64) -> u64 {
    HEAD as u64 + bytes + bytes.div_ceil(CHUNK as u64).max(1) * TAG as u64
}

/// Encrypts what it reads.
pub(super) struct Sealer<R> {
    plain: R,
    /// Bytes of it that are still to come.
    left: u64,
    key: LessSafeKey,
    number: u64,
    ready: Vec<u8>,
    given: usize,
    done: bool,
}

impl<R: Read> Sealer<R> {
    /// Of something with so many bytes.
    pub(super) fn new(plain: R, bytes: u64, session: &SessionKey) -> Result<Self, Unspecified> {
        let (ready, key) = session.begin()?;
        Ok(Self { plain, left: bytes, key, number: 0, ready, given: 0, done: false })
    }

    /// What is encrypted.
    pub(super) fn plain(&self) -> &R {
        &self.plain
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let size = self.left.min(CHUNK as u64);
        self.ready.resize(size as usize, 0);
        self.plain.read_exact(&mut self.ready)?;
        self.left -= size;
        self.done = self.left == 0;
        let nonce = nonce(self.number, self.done);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.ready);
        sealed.map_err(|_| io::Error::other("it cannot be encrypted"))?;
        (self.number, self.given) = (self.number + 1, 0);
        Ok(())
    }
}

impl<R: Read> Read for Sealer<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() && !self.done {
            self.next_chunk()?;
        }
        let count = out.len().min(self.ready.len() - self.given);
        out[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// Decrypts what comes in pieces of any size.
pub(crate) struct Opener<'a> {
    wrapping: &'a WrappingKey,
    key: Option<LessSafeKey>,
    number: u64,
    waiting: Vec<u8>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(wrapping: &'a WrappingKey) -> Self {
        Self { wrapping, key: None, number: 0, waiting: Vec::new() }
    }

    /// Takes the next bytes and gives what is certain by then. None of it may count before [`Self::finish`]: the file may have been cut.
    pub(crate) fn push<E: From<CryptProblem>>(
        &mut self,
        bytes: &[u8],
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.waiting.extend_from_slice(bytes);
        if self.key.is_none() && self.waiting.len() >= HEAD {
            let head: Vec<_> = self.waiting.drain(..HEAD).collect();
            self.key = Some(self.begin(&head)?);
        }
        // The last chunk is known by there being no more behind it.
        while self.key.is_some() && self.waiting.len() > CHUNK + TAG {
            let rest = self.waiting.split_off(CHUNK + TAG);
            let chunk = std::mem::replace(&mut self.waiting, rest);
            self.open(chunk, false, out)?;
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(crate) fn finish<E: From<CryptProblem>>(
        mut self,
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let chunk = std::mem::take(&mut self.waiting);
        self.open(chunk, true, out)
    }

    fn begin(&self, head: &[u8]) -> Result<LessSafeKey, CryptProblem> {
        let rest = head.strip_prefix(MAGIC).ok_or(CryptProblem::Format)?;
        if head[HEAD - 4..] != (CHUNK as u32).to_be_bytes() {
            return Err(CryptProblem::Format);
        }
        if rest[..8] != self.wrapping.id {
            return Err(CryptProblem::OtherKey);
        }
        let mut wrapped = [0; WRAPPED];
        wrapped.copy_from_slice(&rest[8..8 + WRAPPED]);
        let session = self.wrapping.unwrap(wrapped).map_err(|_| CryptProblem::Changed)?;
        session.file_key(head).map_err(|_| CryptProblem::Changed)
    }

    fn open<E: From<CryptProblem>>(
        &mut self,
        mut chunk: Vec<u8>,
        last: bool,
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = self.key.as_ref().ok_or(CryptProblem::Format)?;
        let opened = key.open_in_place(nonce(self.number, last), Aad::empty(), &mut chunk);
        self.number += 1;
        out(opened.map_err(|_| CryptProblem::Changed)?)
    }
}

/// The number of a chunk, and whether it is the last.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

const WHAT: &str = "encryption key (64 hex digits)";
/// What an encrypted file begins with; the last byte is the version.
const MAGIC: &[u8; 8] = b"LGCRYPT\x01";
const KEY: usize = 32;
/// AES Key Wrap adds 8 bytes.
pub(super) const WRAPPED: usize = KEY + 8;
const SALT: usize = 32;
const HEAD: usize = 8 + 8 + WRAPPED + SALT + 4;
/// Of what is encrypted at once, in bytes.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal(plain: &[u8], session: &SessionKey) -> Vec<u8> {
        let mut sealed = Vec::new();
        Sealer::new(plain, plain.len() as u64, session).unwrap().read_to_end(&mut sealed).unwrap();
        sealed
    }

    fn open(sealed: &[u8], piece: usize, key: &WrappingKey) -> Result<Vec<u8>, CryptProblem> {
        let (mut opener, mut plain) = (Opener::new(key), Vec::new());
        let mut out = |bytes: &[u8]| {
            plain.extend_from_slice(bytes);
            Ok(())
        };
        for bytes in sealed.chunks(piece) {
            opener.push(bytes, &mut out)?;
        }
        opener.finish(&mut out)?;
        Ok(plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_encrypted_is_opened_in_pieces_of_any_size(
            length in prop_oneof![0..3_usize, (CHUNK - 2)..(CHUNK + 2), 0..3 * CHUNK, Just(2 * CHUNK)],
            piece in 1..200_000_usize,
            flip in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let key = WrappingKey::new([7; KEY]);
            let plain: Vec<_> = (0..length).map(|index| (index * 31 % 251) as u8).collect();
            let mut sealed = seal(&plain, &key.new_session().unwrap());
            prop_assert_eq!(sealed.len() as u64, sealed_length(length as u64));
            prop_assert_eq!(open(&sealed, piece, &key).unwrap(), plain);
            prop_assert!(open(&sealed[..cut.index(sealed.len())], piece, &key).is_err());
            let place = flip.index(sealed.len());
            sealed[place] ^= 1;
            prop_assert!(open(&sealed, piece, &key).is_err());
        }
    }

    #[test]
    fn chunks_cannot_be_left_out_moved_or_added() {
        let key = WrappingKey::new([7; KEY]);
        let session = key.new_session().unwrap();
        let sealed = seal(&vec![1; 3 * CHUNK], &session);
        let (head, chunks) = sealed.split_at(HEAD);
        let chunks: Vec<_> = chunks.chunks(CHUNK + TAG).collect();
        for order in [&[0, 1][..], &[1, 0, 2], &[0, 2], &[0, 1, 2, 2], &[0, 0, 1, 2]] {
            let forged: Vec<_> = head.iter().chain(order.iter().flat_map(|&chunk| chunks[chunk])).copied().collect();
            assert_eq!(open(&forged, 1000, &key), Err(CryptProblem::Changed), "{order:?}");
        }
        // Nor do those of another file of the session fit.
        let other = seal(&vec![1; 3 * CHUNK], &session);
        assert_eq!(open(&[head, &other[HEAD..]].concat(), 1000, &key), Err(CryptProblem::Changed));
    }

    #[test]
    fn another_key_opens_nothing_and_says_so() {
        let (key, other) = (WrappingKey::new([7; KEY]), WrappingKey::new([8; KEY]));
        let session = key.new_session().unwrap();
        let sealed = seal(b"what was said", &session);
        assert_eq!(open(&sealed, 9, &other), Err(CryptProblem::OtherKey));
        assert_eq!(open(b"RIFF", 9, &key), Err(CryptProblem::Format));
        assert_eq!(open(&vec![0; 500], 9, &key), Err(CryptProblem::Format));
        assert!(other.unwrap(*session.wrapped()).is_err());
        let again = key.unwrap(*session.wrapped()).unwrap();
        assert_eq!(open(&seal(b"x", &again), 9, &key).unwrap(), b"x");
        assert!(!format!("{key:?}").contains("07070707"));
    }
}
