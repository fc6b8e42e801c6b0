//! VP9 (RFC 9628). The spatial layers of a picture become one superframe with an index, as a container wants it.

use bytes::Bytes;

use super::bits::Bits;
use super::vp8::next_picture_id;
use super::{Depacketise, MAX_FRAME_BYTES, Malformed, Picture, Shape};

#[derive(Default)]
pub(super) struct Vp9 {
    data: Vec<u8>,
    /// Where each layer frame in `data` ends.
    ends: Vec<usize>,
    keyframe: bool,
    picture_id: Option<u16>,
    last: Option<u16>,
    /// Of the last key frame: what a picture without its own size has.
    shape: Option<Shape>,
}

/// The payload descriptor (RFC 9628 §4.2).
struct Descriptor {
    length: usize,
    picture_id: Option<u16>,
    predicted: bool,
    begins: bool,
    ends: bool,
    spatial: u8,
}

impl Descriptor {
    fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let flag = |bit: u8| first & bit != 0;
        let (mut length, mut picture_id, mut spatial) = (1, None, 0);
        if flag(0x80) {
            let high = *payload.get(length)?;
            if high & 0x80 != 0 {
                picture_id = Some(u16::from_be_bytes([high, *payload.get(length + 1)?]));
                length += 1;
            } else {
                picture_id = Some(u16::from(high));
            }
            length += 1;
        }
        if flag(0x20) {
            spatial = *payload.get(length)? >> 1 & 7;
            // In non-flexible mode TL0PICIDX follows.
            length += 1 + usize::from(!flag(0x10));
        }
        if flag(0x10) && flag(0x40) {
            for count in 1.. {
                let difference = *payload.get(length)?;
                length += 1;
                if difference & 1 == 0 {
                    break;
                }
                if count == MAX_REFERENCES {
                    return None;
                }
            }
        }
        if flag(0x02) {
            length += structure_length(payload.get(length..)?)?;
        }
        let descriptor =
            Self { length, picture_id, predicted: flag(0x40), begins: flag(0x08), ends: flag(0x04), spatial };
        (length < payload.len()).then_some(descriptor)
    }
}

/// The length of the scalability structure (RFC 9628 §4.2.1).
fn structure_length(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let mut length = 1;
    if first & 0x10 != 0 {
        length += 4 * (usize::from(first >> 5) + 1);
    }
    if first & 0x08 != 0 {
        let pictures = *bytes.get(length)?;
        length += 1;
        for _ in 0..pictures {
            length += 1 + usize::from(*bytes.get(length)? >> 2 & 3);
        }
    }
    Some(length)
}

impl Depacketise for Vp9 {
    fn starts(&self, payload: &Bytes) -> bool {
        // The lowest layer that was sent need not be layer 0, but a picture whose start was lost begins with a layer that builds on another.
        Descriptor::parse(payload).is_some_and(|descriptor| descriptor.begins)
    }

    fn follows(&self, payload: &Bytes) -> bool {
        let now = Descriptor::parse(payload).filter(|descriptor| descriptor.spatial == 0).and_then(|d| d.picture_id);
        self.last.zip(now).is_some_and(|(last, now)| now == next_picture_id(last))
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        let descriptor = Descriptor::parse(payload).ok_or(Malformed)?;
        if self.data.len() + payload.len() > MAX_FRAME_BYTES || self.ends.len() >= MAX_LAYERS {
            return Err(Malformed);
        }
        if self.data.is_empty() {
            self.keyframe = !descriptor.predicted && descriptor.spatial == 0;
            self.picture_id = descriptor.picture_id;
        }
        let starts_layer = self.data.len() == self.ends.last().copied().unwrap_or(0);
        if descriptor.begins != starts_layer {
            return Err(Malformed);
        }
        self.data.extend_from_slice(&payload[descriptor.length..]);
        if descriptor.ends {
            self.ends.push(self.data.len());
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Picture> {
        self.last = self.picture_id.take();
        let (mut data, ends) = (std::mem::take(&mut self.data), std::mem::take(&mut self.ends));
        if data.is_empty() || ends.last() != Some(&data.len()) {
            return None;
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let layers: Vec<_> = starts.zip(ends.iter().copied()).collect();
        let keyframe = self.keyframe && is_key(&data);
        if keyframe {
            let sizes = layers.iter().filter_map(|(from, to)| shape(&data[*from..*to]));
            self.shape = Some(sizes.max_by_key(|shape| u64::from(shape.width) * u64::from(shape.height))?);
        }
        if layers.len() > 1 {
            append_index(&mut data, &layers);
        }
        Some(Picture { data, keyframe, shape: self.shape.clone().filter(|_| keyframe) })
    }
}

/// The superframe index (VP9 bitstream specification, annex B).
fn append_index(data: &mut Vec<u8>, layers: &[(usize, usize)]) {
    let longest = layers.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    let bytes = (1..4).find(|bytes| longest < 1 << (8 * bytes)).unwrap_or(4);
    let marker = 0xC0 | (bytes as u8 - 1) << 3 | (layers.len() as u8 - 1);
    data.push(marker);
    for (from, to) in layers {
        data.extend_from_slice(&((to - from) as u32).to_le_bytes()[..bytes]);
    }
    data.push(marker);
}

/// Reads the start of the uncompressed header (§6.2) up to the frame type: the profile, if it is a frame of its own.
fn frame_type(bits: &mut Bits<'_>) -> Option<(u32, bool)> {
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? | bits.take(1)? << 1;
    if profile == 3 {
        bits.bit()?;
    }
    let shown_again = bits.bit()?;
    if shown_again {
        return None;
    }
    Some((profile, !bits.bit()?))
}

fn is_key(frame: &[u8]) -> bool {
    frame_type(&mut Bits::new(frame)).is_some_and(|(_, key)| key)
}

/// The size in the uncompressed header of a key frame, or of a layer frame that is not predicted from another picture.
fn shape(frame: &[u8]) -> Option<Shape> {
    let bits = &mut Bits::new(frame);
    let (profile, key) = frame_type(bits)?;
    if !key {
        return None;
    }
    bits.take(2)?;
    if bits.take(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.bit()?;
    }
    let srgb = bits.take(3)? == 7;
    match (srgb, profile & 1) {
        (false, 0) => bits.take(1)?,
        (false, _) => bits.take(4)?,
        (true, 0) => 0,
        (true, _) => bits.take(1)?,
    };
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some(Shape { width, height, private: None })
}

/// RFC 9628 §4.2: at most three reference indices.
const MAX_REFERENCES: usize = 3;
/// A superframe index counts to eight.
const MAX_LAYERS: usize = 8;
