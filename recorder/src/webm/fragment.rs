//! Elements as bytes, also those that the library writes only in their place.

use std::io;

use webm_iterable::matroska_spec::{Master, MatroskaSpec};
use webm_iterable::{WebmWriter, WriteOptions};

/// A writer for what stands in a segment whose beginning was written by another one.
pub(super) fn segment_writer() -> io::Result<WebmWriter<Vec<u8>>> {
    let mut writer = WebmWriter::new(Vec::new());
    let unknown = WriteOptions::is_unknown_sized_element();
    writer.write_advanced(&MatroskaSpec::Segment(Master::Start), unknown).map_err(io::Error::other)?;
    // The library keeps the segment's head back until something follows it.
    writer.write(&MatroskaSpec::Void(Vec::new())).map_err(io::Error::other)?;
    writer.get_mut().clear();
    Ok(writer)
}

/// The bytes of elements that stand at the top of a segment.
pub(super) fn in_segment(elements: &[MatroskaSpec]) -> io::Result<Vec<u8>> {
    let mut writer = segment_writer()?;
    for element in elements {
        writer.write(element).map_err(io::Error::other)?;
    }
    Ok(std::mem::take(writer.get_mut()))
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

/// A size in eight bytes that says that it is not known.
pub(super) const UNKNOWN_SIZE: [u8; 8] = [1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// An element's size in eight bytes, as it is patched over an unknown one.
pub(super) fn size8(size: u64) -> [u8; 8] {
    (size | 1 << 56).to_be_bytes()
}
