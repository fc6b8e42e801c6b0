//! Frames of a pipe: what two engines tell each other about the tracks of a room, as bytes.
//!
//! Layout: `u8` version, `u8` type, `u16` length of the body, then the fields of the type in the order of its variant, all
//! big-endian. A frame stands for itself: it needs none before it to be read. `docs/pipes.md` says what each means and when it
//! is sent. Writing appends to a buffer and allocates only when that must grow; reading borrows.

mod channel;

use std::borrow::Cow;

use lockgate_model::carrier::NodeTime;
use lockgate_model::{Codec, TrackId};
use lockgate_rtp::SenderInfo;
use lockgate_transport::sdp::{CodecLine, Extension, ExtensionMap, Feedback, MAX_RIDS};

use super::fields::{Fields, framed, put_text, put32, put64};
use crate::numbers::Origin;

pub(crate) use channel::{AnnouncedChannel, PipedMessage};

/// The version that is spoken here.
pub(crate) const VERSION: u8 = 1;

/// A track's number on a pipe; the side that announces the track gives it, counting up, and never twice on one pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PipedTrack(pub(crate) u32);

/// Some of a track's encodings: bit `n` stands for encoding `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encodings(pub(crate) u8);

impl Encodings {
    pub(crate) fn has(self, encoding: u8) -> bool {
        self.0 >> encoding & 1 == 1
    }

    pub(crate) fn with(self, encoding: u8) -> Self {
        Self(self.0 | 1 << encoding)
    }

    /// How many there are up to the largest one of them.
    pub(crate) fn up_to_highest(self) -> u8 {
        (u8::BITS - self.0.leading_zeros()) as u8
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Bits per second of each encoding that a track may have; 0: nothing comes of it. With the highest bit: nothing comes as nobody wants
/// it, and about so much would.
pub(crate) type Rates = [u32; MAX_RIDS];

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    /// The first one of each side. Whatever was said before it on this pipe is over.
    Hello {
        /// Now, on the sender's timeline; [`Frame::Packet`] counts on the same one.
        time: NodeTime,
    },
    /// A track can be had.
    Announced(Announced<'a>),
    /// A track is over.
    Gone { track: PipedTrack },
    /// A track sends nothing until it is unmuted.
    Muted { track: PipedTrack, muted: bool },
    /// How much each encoding of a track has.
    Rates { track: PipedTrack, rates: Rates },
    /// A packet as its publisher sent it: decrypted, retransmissions unwrapped, nothing renumbered.
    Packet(Piped<'a>),
    /// A publisher's sender report. The life is that of the encoding, as in [`Piped`].
    Report { track: PipedTrack, origin: Origin, info: SenderInfo },
    /// Back: which encodings are to be sent over the pipe; none: nothing.
    Wanted { track: PipedTrack, encodings: Encodings },
    /// Back: key frames of these encodings are needed.
    KeyFrames { track: PipedTrack, encodings: Encodings },
    /// Back: packets that did not come, `first` and those after it whose bits are set (bit 0: the next one).
    Missing { track: PipedTrack, origin: Origin, first: u64, more: u64 },
    /// A data channel can be had. Its number is a track's.
    Channel(AnnouncedChannel<'a>),
    /// A part of a message on a data channel; those of one message follow each other.
    Message(PipedMessage<'a>),
    /// A data channel is over as its publisher ended it: what came of it before is still delivered. Where it was taken away it is
    /// [`Frame::Gone`].
    Closed { track: PipedTrack },
    /// A reliable data channel is over at this end, as its pipe was behind: what came of it before is still delivered, and it is
    /// announced anew.
    Behind { track: PipedTrack },
}

/// What must be known of a track to show it to viewers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Announced<'a> {
    pub(crate) track: PipedTrack,
    pub(crate) id: TrackId,
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) rtx: Option<u8>,
    pub(crate) feedback: Feedback,
    /// How many it has, 1…[`MAX_RIDS`].
    pub(crate) encodings: u8,
    pub(crate) muted: bool,
    /// The ids of the header extensions that viewers get.
    pub(crate) ids: ExtensionMap,
    /// The codec's parameters, as in `a=fmtp`.
    pub(crate) fmtp: Cow<'a, str>,
}

/// A packet on a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piped<'a> {
    pub(crate) track: PipedTrack,
    /// The encoding, and which life of it: a publisher that begins it anew under another source begins another life.
    pub(crate) origin: Origin,
    /// Its extended sequence number; the low 16 bits are those in the packet.
    pub(crate) number: u64,
    /// When it came from the publisher, on the sender's timeline.
    pub(crate) arrival: NodeTime,
    /// RTP header, extensions, payload, padding.
    pub(crate) packet: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The batch ends within a frame.
    #[error("a frame is cut off")]
    Cut,
    /// Another version than ours.
    #[error("a frame of version {0}")]
    Version(u8),
    /// A type that this version does not have.
    #[error("a frame of unknown type {0}")]
    Unknown(u8),
    /// Fewer bytes than the type needs.
    #[error("a frame of type {0} is too short")]
    Short(u8),
    /// More bytes than the type has.
    #[error("a frame of type {0} is too long")]
    Long(u8),
    /// A field with a value that it cannot have.
    #[error("a frame of type {0} has a value that means nothing")]
    Value(u8),
}

/// The frames of a batch, in order. One that is wrong costs only itself, unless its length leads nowhere: then it is the last.
pub(crate) struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    pub(crate) fn new(batch: &'a [u8]) -> Self {
        Self(batch)
    }

    /// How many bytes were not read yet.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let whole = self.0.split_first_chunk::<HEAD>().and_then(|(head, rest)| {
            let length = u16::from_be_bytes([head[2], head[3]]);
            Some((head, rest.split_at_checked(length.into())?))
        });
        let Some((&[version, kind, ..], (body, rest))) = whole else {
            self.0 = &[];
            return Some(Err(FrameError::Cut));
        };
        self.0 = rest;
        Some(if version == VERSION { Frame::read(kind, body) } else { Err(FrameError::Version(version)) })
    }
}

impl<'a> Frame<'a> {
    /// Appends it. One with a packet or parameters that are longer than a frame may have is left out, and `false` comes back.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Hello { time } => framed(out, HELLO, |out| put64(out, time.0)),
            Self::Announced(announced) => {
                announced.fmtp.len() <= MAX_FMTP && framed(out, ANNOUNCED, |out| announced.write(out))
            }
            Self::Gone { track } => framed(out, GONE, |out| put32(out, track.0)),
            Self::Muted { track, muted } => framed(out, MUTED, |out| {
                put32(out, track.0);
                out.push(u8::from(*muted));
            }),
            Self::Rates { track, rates } => framed(out, RATES, |out| {
                put32(out, track.0);
                rates.iter().for_each(|rate| put32(out, *rate));
            }),
            Self::Packet(piped) => framed(out, PACKET, |out| piped.write(out)),
            Self::Report { track, origin, info } => framed(out, REPORT, |out| {
                put_origin(out, *track, *origin);
                put32(out, info.ssrc);
                put64(out, info.ntp);
                [info.rtp, info.packets, info.octets].into_iter().for_each(|field| put32(out, field));
            }),
            Self::Wanted { track, encodings } => framed(out, WANTED, |out| put_encodings(out, *track, *encodings)),
            Self::KeyFrames { track, encodings } => {
                framed(out, KEY_FRAMES, |out| put_encodings(out, *track, *encodings))
            }
            Self::Missing { track, origin, first, more } => framed(out, MISSING, |out| {
                put_origin(out, *track, *origin);
                put64(out, *first);
                put64(out, *more);
            }),
            Self::Channel(announced) => framed(out, CHANNEL, |out| announced.write(out)),
            Self::Message(piped) => framed(out, MESSAGE, |out| piped.write(out)),
            Self::Closed { track } => framed(out, CLOSED, |out| put32(out, track.0)),
            Self::Behind { track } => framed(out, BEHIND, |out| put32(out, track.0)),
        }
    }

    fn read(kind: u8, body: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Fields::new(kind, body);
        let frame = match kind {
            HELLO => Self::Hello { time: NodeTime(fields.u64()?) },
            ANNOUNCED => Self::Announced(Announced::read(&mut fields)?),
            GONE => Self::Gone { track: track(&mut fields)? },
            MUTED => Self::Muted { track: track(&mut fields)?, muted: fields.bool()? },
            RATES => {
                let (track, mut rates) = (track(&mut fields)?, Rates::default());
                for rate in &mut rates {
                    *rate = fields.u32()?;
                }
                Self::Rates { track, rates }
            }
            PACKET => Self::Packet(Piped::read(&mut fields)?),
            REPORT => read_report(&mut fields)?,
            WANTED => Self::Wanted { track: track(&mut fields)?, encodings: encodings(&mut fields)? },
            KEY_FRAMES => Self::KeyFrames { track: track(&mut fields)?, encodings: encodings(&mut fields)? },
            MISSING => {
                let (track, origin) = (track(&mut fields)?, origin(&mut fields)?);
                Self::Missing { track, origin, first: number(&mut fields)?, more: fields.u64()? }
            }
            CHANNEL => Self::Channel(AnnouncedChannel::read(&mut fields)?),
            MESSAGE => Self::Message(PipedMessage::read(&mut fields)?),
            CLOSED => Self::Closed { track: track(&mut fields)? },
            BEHIND => Self::Behind { track: track(&mut fields)? },
            kind => return Err(FrameError::Unknown(kind)),
        };
        fields.end()?;
        Ok(frame)
    }
}

impl<'a> Announced<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        put32(out, self.track.0);
        let feedback = [self.feedback.nack, self.feedback.pli, self.feedback.fir, self.feedback.twcc];
        let flags = feedback.into_iter().rev().fold(0, |flags, flag| flags << 1 | u8::from(flag));
        out.extend_from_slice(&[code(self.codec), self.payload_type, self.rtx.unwrap_or(NONE), flags]);
        out.extend_from_slice(&[self.encodings, u8::from(self.muted)]);
        PASSED.iter().for_each(|extension| out.push(self.ids.id(*extension).unwrap_or(0)));
        put_text(out, self.id.as_str());
        put_text(out, &self.fmtp);
    }

    fn read(fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        let track = track(fields)?;
        let (codec, payload_type, rtx) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let codec = fields.meaning(CODECS.iter().find(|(_, own)| *own == codec).map(|(codec, _)| *codec))?;
        let payload_type = fields.meaning(Some(payload_type).filter(|own| *own < 128))?;
        let rtx = fields.meaning(Some(rtx).filter(|own| *own < 128 || *own == NONE))?;
        let flags = fields.u8()?;
        let flags = fields.meaning(Some(flags).filter(|flags| *flags < 16))?;
        let [nack, pli, fir, twcc] = [0, 1, 2, 3].map(|bit| flags >> bit & 1 == 1);
        let encodings = fields.u8()?;
        let encodings = fields.meaning(Some(encodings).filter(|count| (1..=MAX_RIDS).contains(&(*count).into())))?;
        let muted = fields.bool()?;
        let mut ids = ExtensionMap::default();
        for extension in PASSED {
            ids.set(extension, fields.u8()?);
        }
        let id = TrackId::new(fields.text(MAX_ID)?);
        let id = fields.meaning(id.ok())?;
        Ok(Self {
            track,
            id,
            codec,
            payload_type,
            rtx: Some(rtx).filter(|rtx| *rtx != NONE),
            // Who estimates a publisher's link is the engine that it is connected to.
            feedback: Feedback { nack, pli, fir, twcc, remb: false },
            encodings,
            muted,
            ids,
            fmtp: Cow::Borrowed(fields.text(MAX_FMTP)?),
        })
    }

    /// The codec as a publisher's offer names it.
    pub(crate) fn codec_line(&self) -> CodecLine {
        let Self { payload_type, codec, rtx, feedback, .. } = *self;
        CodecLine { payload_type, codec, fmtp: self.fmtp.clone().into_owned(), rtx, red: None, feedback }
    }

    /// A copy that stays when the batch is gone.
    pub(crate) fn into_owned(self) -> Announced<'static> {
        Announced { fmtp: Cow::Owned(self.fmtp.into_owned()), ..self }
    }
}

impl<'a> Piped<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        put_origin(out, self.track, self.origin);
        put64(out, self.number);
        put64(out, self.arrival.0);
        out.extend_from_slice(self.packet);
    }

    fn read(fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        let (track, origin, number) = (track(fields)?, origin(fields)?, number(fields)?);
        Ok(Self { track, origin, number, arrival: NodeTime(fields.u64()?), packet: fields.rest() })
    }
}

fn read_report<'a>(fields: &mut Fields<'a>) -> Result<Frame<'a>, FrameError> {
    let (track, origin) = (track(fields)?, origin(fields)?);
    let (ssrc, ntp) = (fields.u32()?, fields.u64()?);
    let (rtp, packets, octets) = (fields.u32()?, fields.u32()?, fields.u32()?);
    Ok(Frame::Report { track, origin, info: SenderInfo { ssrc, ntp, rtp, packets, octets } })
}

fn track(fields: &mut Fields<'_>) -> Result<PipedTrack, FrameError> {
    fields.u32().map(PipedTrack)
}

fn origin(fields: &mut Fields<'_>) -> Result<Origin, FrameError> {
    let (encoding, life) = (fields.u8()?, fields.u32()?);
    fields.meaning(Some(Origin { encoding, life }).filter(|_| usize::from(encoding) < MAX_RIDS))
}

/// Extended numbers begin one cycle up, and nobody sends for so long that they reach the other end.
fn number(fields: &mut Fields<'_>) -> Result<u64, FrameError> {
    let number = fields.u64()?;
    fields.meaning(Some(number).filter(|number| (1 << 15..1 << 48).contains(number)))
}

fn encodings(fields: &mut Fields<'_>) -> Result<Encodings, FrameError> {
    let encodings = fields.u8()?;
    fields.meaning(Some(Encodings(encodings)).filter(|_| encodings >> MAX_RIDS == 0))
}

fn put_origin(out: &mut Vec<u8>, track: PipedTrack, origin: Origin) {
    put32(out, track.0);
    out.push(origin.encoding);
    put32(out, origin.life);
}

fn put_encodings(out: &mut Vec<u8>, track: PipedTrack, encodings: Encodings) {
    put32(out, track.0);
    out.push(encodings.0);
}

fn code(codec: Codec) -> u8 {
    CODECS.iter().find(|(own, _)| *own == codec).map_or(0, |(_, code)| *code)
}

pub(super) const HEAD: usize = 4;
/// No payload type.
const NONE: u8 = 255;
const MAX_ID: usize = 64;
const MAX_FMTP: usize = 4096;

const HELLO: u8 = 1;
const ANNOUNCED: u8 = 2;
const GONE: u8 = 3;
const MUTED: u8 = 4;
const RATES: u8 = 5;
const PACKET: u8 = 6;
const REPORT: u8 = 7;
const WANTED: u8 = 8;
const KEY_FRAMES: u8 = 9;
const MISSING: u8 = 10;
const CHANNEL: u8 = 11;
const MESSAGE: u8 = 12;
const CLOSED: u8 = 13;
const BEHIND: u8 = 14;

const CODECS: [(Codec, u8); 5] =
    [(Codec::Opus, 1), (Codec::Vp8, 2), (Codec::Vp9, 3), (Codec::H264, 4), (Codec::Av1, 5)];

/// The header extensions that viewers get, in the order of their ids in [`Announced`].
const PASSED: [Extension; 3] = [Extension::AudioLevel, Extension::Orientation, Extension::DependencyDescriptor];

#[cfg(test)]
mod tests;
