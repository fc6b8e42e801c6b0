//! Makes frames of packets that come in order. One assembler serves one encoding.
//!
//! A frame that misses a packet is dropped, and so is every later one until a key frame, since it would be decoded from
//! something that is not there. Nothing is decoded here, and time is not its business.

mod av1;
mod bits;
mod h264;
mod vp8;
mod vp9;

use bytes::Bytes;
use lockgate_model::Codec;
use lockgate_model::carrier::NodeTime;
use serde::{Deserialize, Serialize};

use crate::packet::Packet;

/// A whole frame: for video what one picture needs (all its spatial layers), for audio one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// When its first packet reached the node.
    pub(crate) arrival: NodeTime,
    /// The extended sequence number of its last packet.
    pub(crate) seq: u64,
    /// What a decoder takes.
    pub(crate) data: Vec<u8>,
    /// Whether decoding can start here.
    pub(crate) keyframe: bool,
    /// Size and decoder settings, on key frames.
    pub(crate) shape: Option<Shape>,
}

/// What a file's head says of a video track.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Matroska's `CodecPrivate`, for codecs that have one.
    pub(crate) private: Option<Vec<u8>>,
}

/// A payload that breaks its codec's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A finished picture: data, key frame or not, shape.
pub(crate) struct Picture {
    data: Vec<u8>,
    keyframe: bool,
    shape: Option<Shape>,
}

/// What each codec knows.
trait Depacketise {
    /// Whether a frame starts with this payload.
    fn starts(&self, payload: &Bytes) -> bool;
    /// Whether this payload's frame is known to be the next one after the last that was taken, in spite of lost packets between them.
    fn follows(&self, _payload: &Bytes) -> bool {
        false
    }
    /// Adds a payload to the frame.
    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed>;
    /// Ends the frame; none if it holds no picture.
    fn take(&mut self) -> Option<Picture>;
}

/// Makes frames of the packets of one encoding.
pub(crate) struct Assembler {
    codec: Box<dyn Depacketise + Send>,
    video: bool,
    current: Option<Current>,
    need_key: bool,
    /// Packets were lost between two frames; whether a frame was among them shows when the next one starts.
    suspect: bool,
    dropped: u64,
}

struct Current {
    timestamp: u32,
    arrival: NodeTime,
    /// Of its last packet so far.
    seq: u64,
    whole: bool,
}

impl Assembler {
    /// For a codec; `fmtp` are the format parameters of its SDP.
    pub(crate) fn new(codec: Codec, fmtp: &str) -> Self {
        let depacketiser: Box<dyn Depacketise + Send> = match codec {
            Codec::Opus => Box::new(Opus::default()),
            Codec::Vp8 => Box::new(vp8::Vp8::default()),
            Codec::Vp9 => Box::new(vp9::Vp9::default()),
            Codec::Av1 => Box::new(av1::Av1::default()),
            Codec::H264 => Box::new(h264::H264::new(fmtp)),
        };
        let video = codec != Codec::Opus;
        Self { codec: depacketiser, video, current: None, need_key: video, suspect: false, dropped: 0 }
    }

    /// The same behind a frame that another assembler handed out; `whole`: what follows can be decoded.
    pub(crate) fn resume(codec: Codec, fmtp: &str, whole: bool) -> Self {
        let assembler = Self::new(codec, fmtp);
        Self { need_key: assembler.video && !whole, ..assembler }
    }

    /// Takes the next packet and appends the frames that it completes.
    pub(crate) fn push(&mut self, packet: &Packet, frames: &mut Vec<Frame>) {
        if packet.payload.is_empty() {
            return;
        }
        if self.current.as_ref().is_some_and(|current| current.timestamp != packet.timestamp) {
            self.finish(frames);
        }
        if self.current.is_none() {
            self.begin(packet);
        }
        let pushed = self.codec.push(&packet.payload);
        if let Some(current) = &mut self.current {
            current.seq = packet.seq;
            current.whole &= pushed.is_ok();
        }
        if packet.marker || !self.video {
            self.finish(frames);
        }
    }

    /// The packets that would come next are lost.
    pub(crate) fn lost(&mut self) {
        match &mut self.current {
            Some(current) => current.whole = false,
            None => self.suspect = true,
        }
    }

    /// Whether nothing can be kept until a key frame comes.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.need_key
    }

    /// Whether the next frame can be decoded, as far as is known.
    pub(crate) fn is_whole(&self) -> bool {
        !self.need_key && !self.suspect
    }

    /// Whether no frame is begun: every packet so far belongs to a frame that was handed out or dropped.
    pub(crate) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// Frames dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn begin(&mut self, packet: &Packet) {
        if std::mem::take(&mut self.suspect) && self.video && !self.codec.follows(&packet.payload) {
            self.need_key = true;
        }
        let whole = self.codec.starts(&packet.payload);
        self.current = Some(Current { timestamp: packet.timestamp, arrival: packet.arrival, seq: packet.seq, whole });
    }

    fn finish(&mut self, frames: &mut Vec<Frame>) {
        let Some(Current { timestamp, arrival, seq, whole }) = self.current.take() else { return };
        let Some(Picture { data, keyframe, shape }) = self.codec.take().filter(|_| whole) else {
            self.dropped += 1;
            self.need_key = self.video;
            return;
        };
        self.need_key &= !keyframe;
        if self.need_key {
            self.dropped += 1;
            return;
        }
        frames.push(Frame { timestamp, arrival, seq, data, keyframe, shape });
    }
}

/// RFC 7587: every packet is a frame, and each can be decoded by itself.
#[derive(Default)]
struct Opus(Vec<u8>);

impl Depacketise for Opus {
    fn starts(&self, _payload: &Bytes) -> bool {
        true
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Malformed> {
        self.0 = payload.to_vec();
        Ok(())
    }

    fn take(&mut self) -> Option<Picture> {
        Some(Picture { data: std::mem::take(&mut self.0), keyframe: true, shape: None })
    }
}

/// A frame above this is an attack or a mistake.
const MAX_FRAME_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests;
