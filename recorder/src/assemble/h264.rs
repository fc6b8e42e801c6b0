//! H.264 (RFC 6184): length-prefixed NAL units, parameter sets in `avcC`, as Matroska wants them.

use bytes::Bytes;

use super::bits::Bits;
use super::{Depacketise, MAX_FRAME_BYTES, Malformed, Picture, Shape};

pub(super) struct H264 {
    data: Vec<u8>,
    fragment: Option<Vec<u8>>,
    keyframe: bool,
    sps: Option<Vec<u8>>,
    pps: Option<Vec<u8>>,
}

impl H264 {
    /// Takes the parameter sets of the SDP, if it has them (RFC 6184 §8.1).
    pub(super) fn new(fmtp: &str) -> Self {
        let mut codec = Self { data: Vec::new(), fragment: None, keyframe: false, sps: None, pps: None };
        let sets = fmtp.split(';').filter_map(|pair| pair.trim().strip_prefix("sprop-parameter-sets="));
        for nal in sets.flat_map(|sets| sets.split(',')).filter_map(base64) {
            codec.keep_parameters(&nal);
        }
        codec
    }

    fn keep_parameters(&mut self, nal: &[u8]) -> bool {
        match nal.first().map(|head| head & 0x1F) {
            Some(SPS) => self.sps = Some(nal.to_vec()),
            Some(PPS) => self.pps = Some(nal.to_vec()),
            _ => return false,
        }
        true
    }

    fn add(&mut self, nal: &[u8]) -> Result<(), Malformed> {
        let kind = nal.first().ok_or(Malformed)? & 0x1F;
        if self.data.len() + nal.len() > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        if self.keep_parameters(nal) || matches!(kind, DELIMITER | FILLER) {
            return Ok(());
        }
        self.keyframe |= kind == IDR;
        self.data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        self.data.extend_from_slice(nal);
        Ok(())
    }

    fn add_fragment(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let [indicator, header, rest @ ..] = payload else { return Err(Malformed) };
        if header & 0x80 != 0 {
            self.fragment = Some(vec![indicator & 0xE0 | header & 0x1F]);
        }
        let fragment = self.fragment.as_mut().ok_or(Malformed)?;
        if fragment.len() + rest.len() > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        fragment.extend_from_slice(rest);
        if header & 0x40 == 0 {
            return Ok(());
        }
        let nal = self.fragment.take().ok_or(Malformed)?;
        self.add(&nal)
    }
}

impl Depacketise for H264 {
    fn starts(&self, payload: &Bytes) -> bool {
        // A slice that starts a picture has first_mb_in_slice 0: its Exp-Golomb code is a single one bit (H.264 §7.3.3).
        match payload[..] {
            [indicator, header, slice, ..] if indicator & 0x1F == FU_A => {
                header & 0x80 != 0 && (header & 0x1F > IDR || slice & 0x80 != 0)
            }
            [nal, slice, ..] if matches!(nal & 0x1F, 1 | IDR) => slice & 0x80 != 0,
            _ => true,
        }
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        match payload.first().ok_or(Malformed)? & 0x1F {
            1..=23 => self.add(payload),
            STAP_A => {
                let mut rest = &payload[1..];
                while let Some((length, after)) = rest.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    self.add(after.get(..length).ok_or(Malformed)?)?;
                    rest = &after[length..];
                }
                Ok(())
            }
            FU_A => self.add_fragment(payload),
            _ => Err(Malformed),
        }
    }

    fn take(&mut self) -> Option<Picture> {
        let data = std::mem::take(&mut self.data);
        let keyframe = std::mem::take(&mut self.keyframe);
        if self.fragment.take().is_some() || data.is_empty() {
            return None;
        }
        let shape = if keyframe { Some(shape(self.sps.as_deref()?, self.pps.as_deref()?)?) } else { None };
        Some(Picture { data, keyframe, shape })
    }
}

/// Size and `avcC` (ISO/IEC 14496-15 §5.3.3.1).
fn shape(sps: &[u8], pps: &[u8]) -> Option<Shape> {
    let (width, height, high) = size(sps)?;
    let mut private = vec![1, *sps.get(1)?, *sps.get(2)?, *sps.get(3)?, 0xFF, 0xE1];
    private.extend_from_slice(&u16::try_from(sps.len()).ok()?.to_be_bytes());
    private.extend_from_slice(sps);
    private.push(1);
    private.extend_from_slice(&u16::try_from(pps.len()).ok()?.to_be_bytes());
    private.extend_from_slice(pps);
    if let Some((chroma, luma_depth, chroma_depth)) = high {
        private.extend_from_slice(&[0xFC | chroma as u8, 0xF8 | luma_depth as u8, 0xF8 | chroma_depth as u8, 0]);
    }
    Some(Shape { width, height, private: Some(private) })
}

/// The size in a sequence parameter set (H.264 §7.3.2.1.1), and for the high profiles chroma format and depths.
#[expect(clippy::type_complexity, reason = "three small numbers that only avcC wants")]
fn size(sps: &[u8]) -> Option<(u32, u32, Option<(u32, u32, u32)>)> {
    let raw = without_emulation(sps.get(1..)?);
    let bits = &mut Bits::new(&raw);
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.unsigned()?;
    let (mut chroma, mut high) = (1, None);
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.bit()?;
        }
        high = Some((chroma & 3, bits.unsigned()? & 7, bits.unsigned()? & 7));
        bits.bit()?;
        if bits.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.unsigned()?;
    skip_picture_order(bits)?;
    bits.unsigned()?;
    bits.bit()?;
    let (width, height) = (bits.unsigned()?.checked_add(1)?, bits.unsigned()?.checked_add(1)?);
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?;
    let crop =
        if bits.bit()? { [bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?] } else { [0; 4] };
    let fields = if frames_only { 1 } else { 2 };
    let (unit_x, unit_y) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 } * fields);
    let width = width.checked_mul(16)?.checked_sub(crop[0].checked_add(crop[1])?.checked_mul(unit_x)?)?;
    let height = height.checked_mul(16 * fields)?.checked_sub(crop[2].checked_add(crop[3])?.checked_mul(unit_y)?)?;
    (width > 0 && height > 0).then_some((width, height, high))
}

fn skip_scaling_list(bits: &mut Bits<'_>, length: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..length {
        if next != 0 {
            next = last.wrapping_add(bits.signed()?) & 0xFF;
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.bit()?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned()?.min(255) {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Takes out the bytes that keep start codes from appearing (H.264 §7.4.1).
fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    raw
}

/// RFC 4648 §4, as `sprop-parameter-sets` has it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
