//! Elements as bytes, also those that the library writes only in their place.

use std::io;

use webm_iterable::matroska_spec::{Master, MatroskaSpec};
use webm_iterable::{WebmWriter, WriteOptions};

/// The bytes of elements that stand at the top of a segment.
pub(super) fn in_segment(elements: &[MatroskaSpec]) -> io::Result<Vec<u8>> {
    let mut writer = WebmWriter::new(Vec::new());
    let unknown = WriteOptions::is_unknown_sized_element();
    writer.write_advanced(&MatroskaSpec::Segment(Master::Start), unknown).map_err(io::Error::other)?;
    for element in elements {
        writer.write(element).map_err(io::Error::other)?;
    }
    let bytes = std::mem::take(writer.get_mut());
    Ok(bytes.get(SEGMENT_HEAD..).unwrap_or_default().to_vec())
}

/// A `Void` element that is this long as a whole; none below its least length of two bytes.
pub(super) fn void(length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0xEC];
    match length {
        ..2 => return None,
        2..=128 => bytes.push(0x80 | (length - 2) as u8),
        _ => {
            bytes.push(0x01);
            bytes.extend_from_slice(&((length - 9) as u64).to_be_bytes()[1..]);
        }
    }
    bytes.resize(length, 0);
    Some(bytes)
}

/// An element's size in eight bytes, as it is patched over an unknown one.
pub(super) fn size8(size: u64) -> [u8; 8] {
    (size | 1 << 56).to_be_bytes()
}

/// The length of a segment's id and of its unknown size.
const SEGMENT_HEAD: usize = 12;
