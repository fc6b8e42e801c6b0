//! The fields of frames, read strictly and written.

use super::frame::{FrameError, HEAD, VERSION};

/// The fields of a frame that are not read yet.
pub(super) struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(kind: u8, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Value(self.kind)),
        }
    }

    /// A text behind its length.
    pub(super) fn text(&mut self, longest: usize) -> Result<&'a str, FrameError> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (text, rest) = self.rest.split_at_checked(length).ok_or(FrameError::Short(self.kind))?;
        self.rest = rest;
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= longest);
        self.meaning(text)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// What a value means, if anything.
    pub(super) fn meaning<T>(&self, meaning: Option<T>) -> Result<T, FrameError> {
        meaning.ok_or(FrameError::Value(self.kind))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Long(self.kind)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Short(self.kind))?;
        self.rest = rest;
        Ok(*field)
    }
}

/// Appends a frame. One whose body is too long for its head is taken back, and `false` comes back.
pub(super) fn framed(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    body(out);
    match u16::try_from(out.len() - start - HEAD) {
        Ok(length) => {
            out[start + 2..start + HEAD].copy_from_slice(&length.to_be_bytes());
            true
        }
        Err(_) => {
            out.truncate(start);
            false
        }
    }
}

/// A text behind its length; a longer one than that can tell makes the frame too long anyway.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put16(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
