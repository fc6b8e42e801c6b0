//! The chain of hashes: how a line is sealed onto the one before it, and how it is taken apart again.
//!
//! A line is a JSON object whose last member is `hash`: the SHA-256 of all bytes before it, as they are in the file, which begin
//! with the line's number and the hash of the line before. Nothing is put into a canonical form, so nothing can be changed
//! without a trace: neither a space nor the case of a digit.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

/// A SHA-256, written in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// What the first line of all follows.
    pub const NONE: Self = Self([0; 32]);

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of a part of a file, however long that is.
    pub(crate) fn of_part(file: &File, from: u64, to: u64) -> io::Result<Self> {
        let (mut digest, mut block, mut at) = (Sha256::new(), vec![0; BLOCK], from);
        while at < to {
            let length = usize::try_from(to - at).map_or(BLOCK, |left| left.min(BLOCK));
            file.read_exact_at(&mut block[..length], at)?;
            digest.update(&block[..length]);
            at += length as u64;
        }
        Ok(Self(digest.finalize().into()))
    }

    /// Reads 64 lower-case digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; 0 before the first one.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// A log without a line.
    pub const START: Self = Self { seq: 0, hash: Hash::NONE };

    /// Appends a line, `event` being a JSON object that is not empty.
    pub(crate) fn seal(&mut self, time_ms: u64, event: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let (seq, prev) = (self.seq.saturating_add(1), self.hash);
        let members = event.get(1..event.len().saturating_sub(1)).unwrap_or_default();
        out.extend_from_slice(format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"timeMs\":{time_ms},{members}").as_bytes());
        let hash = Hash::of(&out[start..]);
        out.extend_from_slice(format!("{SEAL}{hash}\"}}\n").as_bytes());
        *self = Self { seq, hash };
    }
}

/// What a line says of its place in the chain. It is what was written, if the line before it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// The hash of the line before.
    pub prev: Hash,
    /// When it was decided, in ms since 1970.
    pub time_ms: u64,
    /// Its own hash.
    pub hash: Hash,
}

/// Why a line cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// It has not the form of one.
    Form,
    /// It is not what it was when it was sealed.
    Changed,
}

impl Sealed {
    /// Takes a line apart, without its line feed.
    ///
    /// # Errors
    /// When it is none, or is not what was sealed.
    pub fn open(line: &[u8]) -> Result<Self, BadLine> {
        let (body, seal) = line.split_at_checked(line.len().wrapping_sub(SEAL_LENGTH)).ok_or(BadLine::Form)?;
        let digits =
            seal.strip_prefix(SEAL.as_bytes()).and_then(|rest| rest.strip_suffix(b"\"}")).ok_or(BadLine::Form)?;
        let hash = Hash::parse(digits).ok_or(BadLine::Form)?;
        if Hash::of(body) != hash {
            return Err(BadLine::Changed);
        }
        Self::read(body, hash).ok_or(BadLine::Form)
    }

    fn read(body: &[u8], hash: Hash) -> Option<Self> {
        let (seq, rest) = number(body.strip_prefix(b"{\"seq\":")?)?;
        let (prev, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(64)?;
        let (time_ms, rest) = number(rest.strip_prefix(b"\",\"timeMs\":")?)?;
        rest.starts_with(b",\"kind\":\"").then_some(Self { seq, prev: Hash::parse(prev)?, time_ms, hash })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at(end);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// Longest line, in bytes. What is longer is none: so whoever reads a log needs no more memory than this, whatever somebody has put
/// into it. The longest question that the queue takes is half of it.
pub(crate) const MAX_LINE: usize = if cfg!(test) { 1 << 17 } else { 64 << 20 };
/// So much is read at a time.
const BLOCK: usize = 64 << 10;
const SEAL: &str = ",\"hash\":\"";
const SEAL_LENGTH: usize = SEAL.len() + 64 + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_hash_of_the_one_before_it() {
        let (mut head, mut log) = (Head::START, Vec::new());
        head.seal(7, r#"{"kind":"end"}"#, &mut log);
        let first = head;
        head.seal(8, r#"{"kind":"end"}"#, &mut log);
        let lines: Vec<_> = log.split(|byte| *byte == b'\n').collect();
        assert_eq!(Sealed::open(lines[0]), Ok(Sealed { seq: 1, prev: Hash::NONE, time_ms: 7, hash: first.hash }));
        assert_eq!(Sealed::open(lines[1]), Ok(Sealed { seq: 2, prev: first.hash, time_ms: 8, hash: head.hash }));
        // The recipe of docs/decision-log.md.
        let body = lines[1].split(|byte| *byte == b',').take(4).collect::<Vec<_>>().join(&b","[..]);
        assert_eq!(Hash::of(&body), head.hash);
        let _: serde_json::Value = serde_json::from_slice(lines[1]).unwrap();
    }

    #[test]
    fn what_is_no_line_is_told_from_one_that_was_changed() {
        let (mut head, mut log) = (Head::START, Vec::new());
        head.seal(7, r#"{"kind":"end"}"#, &mut log);
        log.pop();
        for cut in 0..log.len() {
            assert!(Sealed::open(&log[..cut]).is_err(), "{cut}");
        }
        let text = String::from_utf8(log).unwrap();
        assert_eq!(Sealed::open(text.replace("end", "fin").as_bytes()), Err(BadLine::Changed));
        assert_eq!(Sealed::open(text.replace("hash", "hush").as_bytes()), Err(BadLine::Form));
        assert_eq!(Sealed::open(text.to_uppercase().as_bytes()), Err(BadLine::Form));
        assert_eq!(Hash::parse(head.hash.to_string().as_bytes()), Some(head.hash));
    }
}
