//! Reads the structure of a file element by element. It trusts nothing that it reads.

use std::io::{self, Read, Seek};

use super::head::{DURATION_LENGTH, VIDEO};

/// An element's head.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) id: u32,
    pub(super) start: u64,
    pub(super) content: u64,
    /// None: unknown.
    pub(super) size: Option<u64>,
}

/// The head of a simple block.
pub(super) struct Block {
    pub(super) track: u64,
    pub(super) offset: i16,
    pub(super) keyframe: bool,
}

/// Reads elements of a file, or of a piece of one. Offsets count from the file's start.
pub(super) struct Reader<'a, R> {
    file: &'a mut R,
    pub(super) at: u64,
    /// Where what can be read ends.
    pub(super) length: u64,
}

impl<'a, R: Read + Seek> Reader<'a, R> {
    /// What stands at `at` comes next from `file`; at `length` it ends.
    pub(super) fn new(file: &'a mut R, at: u64, length: u64) -> Self {
        Self { file, at, length }
    }

    /// The next element's head; none where there is no more, or no element.
    pub(super) fn element(&mut self) -> io::Result<Option<Element>> {
        let start = self.at;
        let Some(id) = self.vint(4, false)? else { return Ok(None) };
        let Some((size, known)) = self.vint(8, true)?.map(|(size, width)| (size, size != (1 << (7 * width)) - 1))
        else {
            return Ok(None);
        };
        Ok(Some(Element { id: id.0 as u32, start, content: self.at, size: known.then_some(size) }))
    }

    /// Like `element`, and none if its content is cut off. Of a cluster that is, the whole blocks still count: it is as if its size
    /// were not known yet.
    pub(super) fn whole_element(&mut self) -> io::Result<Option<Element>> {
        let length = self.length;
        let fits = |size: &u64, content: u64| content.checked_add(*size).is_some_and(|end| end <= length);
        Ok(self.element()?.and_then(|element| {
            let size = element.size.filter(|size| fits(size, element.content));
            (size.is_some() || element.id == CLUSTER).then_some(Element { size, ..element })
        }))
    }

    /// A number of variable width (RFC 8794 §4) and its width.
    fn vint(&mut self, widest: u32, unmarked: bool) -> io::Result<Option<(u64, u32)>> {
        if self.at >= self.length {
            return Ok(None);
        }
        let [first] = self.bytes()?;
        let width = first.leading_zeros() + 1;
        if width > widest || self.at + u64::from(width) - 1 > self.length {
            return Ok(None);
        }
        let mut value = u64::from(first);
        if unmarked {
            value &= (1 << (8 - width)) - 1;
        }
        for _ in 1..width {
            let [byte] = self.bytes()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(Some((value, width)))
    }

    pub(super) fn unsigned(&mut self, size: u64) -> io::Result<u64> {
        let mut value = 0;
        for _ in 0..size.min(8) {
            let [byte] = self.bytes()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// The head of a simple block (RFC 9559 §10.2).
    pub(super) fn block(&mut self, size: u64) -> io::Result<Option<Block>> {
        let content = self.at;
        let Some((track, _)) = self.vint(8, true)? else { return Ok(None) };
        if self.at + 3 > content + size {
            return Ok(None);
        }
        let [high, low, flags] = self.bytes()?;
        Ok(Some(Block { track, offset: i16::from_be_bytes([high, low]), keyframe: flags & 0x80 != 0 }))
    }

    /// Within an info element: the duration, or the void that keeps its place.
    pub(super) fn find_duration(&mut self, until: u64) -> io::Result<Option<u64>> {
        while self.at < until {
            let Some(Element { id, start, content, size: Some(size) }) = self.element()? else { break };
            if matches!(id, DURATION | VOID) && content + size - start == DURATION_LENGTH as u64 {
                return Ok(Some(start));
            }
            self.go_to(content.saturating_add(size))?;
        }
        Ok(None)
    }

    /// Within a tracks element: the numbers of the pictures.
    pub(super) fn picture_tracks(&mut self, until: u64) -> io::Result<Vec<u64>> {
        let (mut pictures, mut number) = (Vec::new(), 0);
        while self.at < until {
            let Some(Element { id, content, size: Some(size), .. }) = self.element()? else { break };
            match id {
                // Its children are read as if they stood here.
                TRACK_ENTRY => continue,
                TRACK_NUMBER => number = self.unsigned(size)?,
                TRACK_TYPE if self.unsigned(size)? == VIDEO && pictures.len() < MAX_PARTS => pictures.push(number),
                _ => {}
            }
            self.go_to(content.saturating_add(size))?;
        }
        Ok(pictures)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(super) fn go_to(&mut self, at: u64) -> io::Result<()> {
        let at = at.min(self.length);
        self.file.seek_relative(at.wrapping_sub(self.at).cast_signed())?;
        self.at = at;
        Ok(())
    }
}

pub(super) const CLUSTER: u32 = 0x1F43_B675;
pub(super) const TIMESTAMP: u32 = 0xE7;
pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
pub(super) const VOID: u32 = 0xEC;
const DURATION: u32 = 0x4489;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
/// More are not ours.
pub(super) const MAX_PARTS: usize = 16;
