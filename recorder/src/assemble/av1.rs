//! AV1 (the RTP payload format of the Alliance for Open Media). Temporal delimiters go, every OBU gets its size: what Matroska wants.

use bytes::Bytes;

use super::bits::Bits;
use super::{Depacketise, MAX_FRAME_BYTES, Malformed, Picture, Shape};

#[derive(Default)]
pub(super) struct Av1 {
    data: Vec<u8>,
    /// An OBU that goes on in the next packet.
    partial: Option<Vec<u8>>,
    new_sequence: bool,
    /// The last sequence header, whole.
    sequence_header: Option<Vec<u8>>,
    has_header: bool,
    fresh: bool,
}

impl Depacketise for Av1 {
    fn starts(&self, payload: &Bytes) -> bool {
        payload.first().is_some_and(|aggregation| aggregation & CONTINUES == 0)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        let (&aggregation, mut rest) = payload.split_first().ok_or(Malformed)?;
        if self.data.len() + payload.len() > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        if !self.fresh {
            self.fresh = true;
            self.new_sequence = aggregation & NEW_SEQUENCE != 0;
        }
        if (aggregation & CONTINUES != 0) != self.partial.is_some() {
            self.partial = None;
            return Err(Malformed);
        }
        let count = aggregation >> 4 & 3;
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            let sized = count == 0 || index < count;
            let length = if sized { take_leb128(&mut rest).ok_or(Malformed)? } else { rest.len() };
            let element = rest.split_off(..length).ok_or(Malformed)?;
            let last = rest.is_empty();
            let mut obu = if index == 1 { self.partial.take().unwrap_or_default() } else { Vec::new() };
            if obu.len() + element.len() > MAX_FRAME_BYTES {
                return Err(Malformed);
            }
            obu.extend_from_slice(element);
            match last && aggregation & GOES_ON != 0 {
                true => self.partial = Some(obu),
                false => self.add(&obu)?,
            }
        }
        if count != 0 && index != count { Err(Malformed) } else { Ok(()) }
    }

    fn take(&mut self) -> Option<Picture> {
        let data = std::mem::take(&mut self.data);
        let torn = self.partial.take().is_some();
        let new_sequence = std::mem::take(&mut self.new_sequence);
        let has_header = std::mem::take(&mut self.has_header);
        self.fresh = false;
        if torn || data.is_empty() {
            return None;
        }
        let keyframe = has_header || new_sequence && self.sequence_header.is_some();
        let shape = if keyframe { Some(shape(self.sequence_header.as_deref()?)?) } else { None };
        Some(Picture { data, keyframe, shape })
    }
}

impl Av1 {
    /// Appends one OBU with a size field, unless a container does not want it.
    fn add(&mut self, obu: &[u8]) -> Result<(), Malformed> {
        let Some(&header) = obu.first() else { return Ok(()) };
        let kind = header >> 3 & 15;
        if matches!(kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            return Ok(());
        }
        let head = if header & HAS_EXTENSION != 0 { 2 } else { 1 };
        let mut payload = obu.get(head..).ok_or(Malformed)?;
        if header & HAS_SIZE != 0 {
            let size = take_leb128(&mut payload).ok_or(Malformed)?;
            payload = payload.get(..size).ok_or(Malformed)?;
        }
        let start = self.data.len();
        self.data.push(header | HAS_SIZE);
        self.data.extend_from_slice(&obu[1..head]);
        put_leb128(&mut self.data, payload.len());
        self.data.extend_from_slice(payload);
        if kind == SEQUENCE_HEADER {
            self.has_header = true;
            self.sequence_header = Some(self.data[start..].to_vec());
        }
        Ok(())
    }
}

fn take_leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in 0..5 {
        let byte = *bytes.split_off_first()?;
        value |= usize::from(byte & 0x7F) << (7 * shift);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 & 0x7F | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Size and `av1C` (AV1 in ISOBMFF §2.3.3) from a sequence header OBU (AV1 §5.5.1) that has a size field.
fn shape(obu: &[u8]) -> Option<Shape> {
    let mut rest = obu.get(if obu.first()? & HAS_EXTENSION != 0 { 2 } else { 1 }..)?;
    take_leb128(&mut rest)?;
    let bits = &mut Bits::new(rest);
    let profile = bits.take(3)?;
    bits.bit()?;
    let reduced = bits.bit()?;
    let (level, tier) = if reduced { (bits.take(5)?, 0) } else { operating_points(bits)? };
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let (width, height) = (bits.take(width_bits)? + 1, bits.take(height_bits)? + 1);
    skip_tools(bits, reduced)?;
    let colour = colour(bits, profile)?;
    let mut private = vec![0x81, (profile << 5 | level) as u8, (tier << 7) as u8 | colour, 0];
    private.extend_from_slice(obu);
    Some(Shape { width, height, private: Some(private) })
}

/// Level and tier of the first operating point.
fn operating_points(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let (mut decoder_model, mut delay_bits) = (false, 0);
    if bits.bit()? {
        bits.take(32)?;
        bits.take(32)?;
        if bits.bit()? {
            bits.unsigned()?;
        }
        decoder_model = bits.bit()?;
        if decoder_model {
            delay_bits = bits.take(5)? + 1;
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    let display_delay = bits.bit()?;
    let mut first = None;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        let level = bits.take(5)?;
        let tier = if level > 7 { bits.take(1)? } else { 0 };
        if decoder_model && bits.bit()? {
            bits.take(delay_bits)?;
            bits.take(delay_bits)?;
            bits.bit()?;
        }
        if display_delay && bits.bit()? {
            bits.take(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first
}

fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    if !reduced && bits.bit()? {
        bits.take(7)?;
    }
    bits.take(3)?;
    if !reduced {
        bits.take(4)?;
        let order_hint = bits.bit()?;
        if order_hint {
            bits.take(2)?;
        }
        let screen_content = if bits.bit()? { 2 } else { bits.take(1)? };
        if screen_content > 0 && !bits.bit()? {
            bits.bit()?;
        }
        if order_hint {
            bits.take(3)?;
        }
    }
    bits.take(3)?;
    Some(())
}

/// The third byte of `av1C` without the tier: depth, monochrome, subsampling, sample position.
fn colour(bits: &mut Bits<'_>, profile: u32) -> Option<u8> {
    let high = bits.bit()?;
    let twelve = profile == 2 && high && bits.bit()?;
    let mono = profile != 1 && bits.bit()?;
    let described = if bits.bit()? { Some((bits.take(8)?, bits.take(8)?, bits.take(8)?)) } else { None };
    let depth = u8::from(high) << 6 | u8::from(twelve) << 5;
    if mono {
        return Some(depth | 0x1C);
    }
    if described == Some((1, 13, 0)) {
        return Some(depth);
    }
    bits.bit()?;
    let (x, y) = match profile {
        0 => (true, true),
        1 => (false, false),
        _ if twelve => {
            let x = bits.bit()?;
            (x, x && bits.bit()?)
        }
        _ => (true, false),
    };
    let position = if x && y { bits.take(2)? as u8 } else { 0 };
    Some(depth | u8::from(x) << 3 | u8::from(y) << 2 | position)
}

const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;
