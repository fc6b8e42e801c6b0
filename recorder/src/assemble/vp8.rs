//! VP8 (RFC 7741).

use bytes::Bytes;

use super::{Depacketise, MAX_FRAME_BYTES, Malformed, Picture, Shape};

#[derive(Default)]
pub(super) struct Vp8 {
    data: Vec<u8>,
    picture_id: Option<u16>,
    /// Of the last frame that was taken, with the width of the field.
    last: Option<u16>,
}

/// The payload descriptor (RFC 7741 §4.2).
struct Descriptor {
    length: usize,
    starts: bool,
    picture_id: Option<u16>,
}

impl Descriptor {
    fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let (mut length, mut picture_id) = (1, None);
        if first & 0x80 != 0 {
            let flags = *payload.get(1)?;
            length += 1;
            if flags & 0x80 != 0 {
                let high = *payload.get(length)?;
                if high & 0x80 != 0 {
                    picture_id = Some(u16::from_be_bytes([high, *payload.get(length + 1)?]));
                    length += 2;
                } else {
                    picture_id = Some(u16::from(high));
                    length += 1;
                }
            }
            length += usize::from(flags & 0x40 != 0) + usize::from(flags & 0x30 != 0);
        }
        (length < payload.len()).then_some(Self { length, starts: first & 0x17 == 0x10, picture_id })
    }
}

impl Depacketise for Vp8 {
    fn starts(&self, payload: &Bytes) -> bool {
        Descriptor::parse(payload).is_some_and(|descriptor| descriptor.starts)
    }

    fn follows(&self, payload: &Bytes) -> bool {
        let now = Descriptor::parse(payload).and_then(|descriptor| descriptor.picture_id);
        self.last.zip(now).is_some_and(|(last, now)| now == next_picture_id(last))
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        let descriptor = Descriptor::parse(payload).ok_or(Malformed)?;
        if self.data.len() + payload.len() > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        if self.data.is_empty() {
            self.picture_id = descriptor.picture_id;
        }
        self.data.extend_from_slice(&payload[descriptor.length..]);
        Ok(())
    }

    fn take(&mut self) -> Option<Picture> {
        self.last = self.picture_id.take();
        let data = std::mem::take(&mut self.data);
        let keyframe = data.first()? & 1 == 0;
        let shape = if keyframe { Some(shape(&data)?) } else { None };
        Some(Picture { data, keyframe, shape })
    }
}

/// The id after this one, in a field of 7 or 15 bits as this one's high bit says.
pub(super) fn next_picture_id(id: u16) -> u16 {
    match id & 0x8000 {
        0 => (id + 1) & 0x7F,
        wide => wide | (id + 1) & 0x7FFF,
    }
}

/// RFC 6386 §9.1: three bytes of tag, the start code, 14 bits of width and of height.
fn shape(frame: &[u8]) -> Option<Shape> {
    let [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = *frame.first_chunk::<10>()? else { return None };
    let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    let (width, height) = (size(w0, w1), size(h0, h1));
    (width > 0 && height > 0).then_some(Shape { width, height, private: None })
}
