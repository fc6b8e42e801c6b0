//! Frames of a data connection: original RTP, sender reports, layer switches, gaps, ends, and acknowledgements back.
//!
//! Layout: `u32` length, `u8` type, `u32` track, then the fields of the type in the order of its variant, all big-endian.
//! Encoding appends to a buffer and allocates only when that must grow.

use super::{NodeTime, TrackNumber};

/// One frame. What is borrowed lies in the buffer that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An RTP packet as its publisher sent it: decrypted, retransmissions unwrapped to their original, nothing renumbered.
    Rtp {
        /// The track.
        track: TrackNumber,
        /// The packet's sequence number, extended to 64 bits by the node: its low 16 bits are those in the packet, and it counts on
        /// where the packet's wraps. Each SSRC of a track has a count of its own.
        seq: u64,
        /// When it reached the node (for a retransmission: when that did).
        arrival: NodeTime,
        /// RTP header, extensions, payload, padding.
        packet: &'a [u8],
    },
    /// A sender report of the encoding that is being sent (RFC 3550 §6.4.1).
    SenderReport {
        /// The track.
        track: TrackNumber,
        /// Whose clock it speaks of.
        ssrc: u32,
        /// The report.
        report: SenderReport,
        /// When it reached the node.
        arrival: NodeTime,
    },
    /// From the packet `first_seq` of `new_ssrc` on, which starts a key frame, the track goes on with another encoding.
    /// Sent before that packet; of the old encoding nothing follows.
    Layer {
        /// The track.
        track: TrackNumber,
        /// The encoding so far.
        old_ssrc: u32,
        /// The encoding from now on.
        new_ssrc: u32,
        /// Its first packet, extended as in `Rtp`.
        first_seq: u64,
        /// The last report of the old encoding, if there was one.
        old_report: Option<SenderReport>,
        /// The last report of the new encoding, if there was one.
        new_report: Option<SenderReport>,
    },
    /// Packets `from` to `to` (both included) of an encoding will not come: nobody need wait for them.
    Gap {
        /// The track.
        track: TrackNumber,
        /// The encoding.
        ssrc: u32,
        /// First missing packet, extended as in `Rtp`.
        from: u64,
        /// Last missing packet.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// Nothing more comes for this track. The control connection's remove-track may come before or after it.
    End {
        /// The track.
        track: TrackNumber,
        /// When it ended.
        at: NodeTime,
    },
    /// From the recorder: every packet of this encoding up to `seq` is in the file or was given up, and a recorder that comes after
    /// this one knows that. What is not acknowledged, the node keeps for a while, to send it to that one again.
    Ack {
        /// The track.
        track: TrackNumber,
        /// The encoding.
        ssrc: u32,
        /// The last one done with, extended as in `Rtp`.
        seq: u64,
    },
}

/// The two clocks of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// NTP time, 32.32 fixed point seconds since 1900, of the sender's clock.
    pub ntp: u64,
    /// The RTP timestamp of the same moment.
    pub rtp: u32,
}

/// Why packets are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// They never reached the node and are no longer asked for.
    Loss = 1,
    /// The connection to the recorder was too slow and its queue full.
    Overload = 2,
    /// Policy took the permission to record back for a while.
    Policy = 3,
    /// The encoding was paused by its publisher or by the node.
    Paused = 4,
    /// No recorder was there for longer than the node keeps packets.
    Absent = 5,
}

impl GapReason {
    /// The name in logs and archives.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Overload => "overload",
            Self::Policy => "policy",
            Self::Paused => "paused",
            Self::Absent => "absent",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Loss, Self::Overload, Self::Policy, Self::Paused, Self::Absent];
        all.into_iter().find(|reason| *reason as u8 == byte)
    }
}

/// Why bytes are no frame. The two sides disagree; the connection should be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the type needs.
    #[error("frame of type {kind} is too short")]
    Short {
        /// Its type; 0 when even that is missing.
        kind: u8,
    },
    /// More bytes than the type has.
    #[error("frame of type {kind} is too long")]
    Long {
        /// Its type.
        kind: u8,
    },
    /// A type that this version does not have.
    #[error("frame of unknown type {kind}")]
    Unknown {
        /// The type.
        kind: u8,
    },
    /// A field with a value that it cannot have.
    #[error("frame of type {kind} has {value} where that means nothing")]
    Value {
        /// The frame's type.
        kind: u8,
        /// The value.
        value: u8,
    },
}

/// Appends an RTP frame whose packet lies in parts, as it does when a header was rebuilt around a retransmitted payload.
/// A packet longer than a datagram can be is cut off by nobody: it is not written at all and `false` comes back.
pub fn encode_rtp(out: &mut Vec<u8>, track: TrackNumber, seq: u64, arrival: NodeTime, packet: &[&[u8]]) -> bool {
    let length = HEAD + 16 + packet.iter().map(|part| part.len()).sum::<usize>();
    if length > super::MAX_FRAME {
        return false;
    }
    out.reserve(4 + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.push(RTP);
    out.extend_from_slice(&track.0.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&arrival.0.to_be_bytes());
    for part in packet {
        out.extend_from_slice(part);
    }
    true
}

impl<'a> Frame<'a> {
    /// Appends the frame with its length. A packet that is too long is left out, as [`encode_rtp`] says.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Rtp { track, seq, arrival, packet } => {
                encode_rtp(out, track, seq, arrival, &[packet]);
            }
            Self::SenderReport { track, ssrc, report, arrival } => {
                framed(out, SENDER_REPORT, track, |out| {
                    put32(out, ssrc);
                    put_report(out, report);
                    put64(out, arrival.0);
                });
            }
            Self::Layer { track, old_ssrc, new_ssrc, first_seq, old_report, new_report } => {
                framed(out, LAYER, track, |out| {
                    put32(out, old_ssrc);
                    put32(out, new_ssrc);
                    put64(out, first_seq);
                    put_optional_report(out, old_report);
                    put_optional_report(out, new_report);
                });
            }
            Self::Gap { track, ssrc, from, to, reason } => framed(out, GAP, track, |out| {
                put32(out, ssrc);
                put64(out, from);
                put64(out, to);
                out.push(reason as u8);
            }),
            Self::End { track, at } => framed(out, END, track, |out| put64(out, at.0)),
            Self::Ack { track, ssrc, seq } => framed(out, ACK, track, |out| {
                put32(out, ssrc);
                put64(out, seq);
            }),
        }
    }

    /// Reads one frame from what stood behind its length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Short { kind: 0 })?;
        let mut fields = Fields { kind, rest };
        let track = TrackNumber(fields.u32()?);
        let frame = match kind {
            RTP => Self::Rtp {
                track,
                seq: fields.u64()?,
                arrival: NodeTime(fields.u64()?),
                packet: std::mem::take(&mut fields.rest),
            },
            SENDER_REPORT => Self::SenderReport {
                track,
                ssrc: fields.u32()?,
                report: fields.report()?,
                arrival: NodeTime(fields.u64()?),
            },
            LAYER => Self::Layer {
                track,
                old_ssrc: fields.u32()?,
                new_ssrc: fields.u32()?,
                first_seq: fields.u64()?,
                old_report: fields.optional_report()?,
                new_report: fields.optional_report()?,
            },
            GAP => Self::Gap {
                track,
                ssrc: fields.u32()?,
                from: fields.u64()?,
                to: fields.u64()?,
                reason: fields.reason()?,
            },
            END => Self::End { track, at: NodeTime(fields.u64()?) },
            ACK => Self::Ack { track, ssrc: fields.u32()?, seq: fields.u64()? },
            kind => return Err(FrameError::Unknown { kind }),
        };
        if fields.rest.is_empty() { Ok(frame) } else { Err(FrameError::Long { kind }) }
    }

    /// The track that it belongs to.
    pub fn track(&self) -> TrackNumber {
        match *self {
            Self::Rtp { track, .. }
            | Self::SenderReport { track, .. }
            | Self::Layer { track, .. }
            | Self::Gap { track, .. }
            | Self::End { track, .. }
            | Self::Ack { track, .. } => track,
        }
    }
}

/// The fields of a frame that are not read yet.
struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    fn report(&mut self) -> Result<SenderReport, FrameError> {
        Ok(SenderReport { ntp: self.u64()?, rtp: self.u32()? })
    }

    fn optional_report(&mut self) -> Result<Option<SenderReport>, FrameError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.report().map(Some),
            value => Err(FrameError::Value { kind: self.kind, value }),
        }
    }

    fn reason(&mut self) -> Result<GapReason, FrameError> {
        let value = self.u8()?;
        GapReason::from_byte(value).ok_or(FrameError::Value { kind: self.kind, value })
    }
}

fn framed(out: &mut Vec<u8>, kind: u8, track: TrackNumber, fields: impl FnOnce(&mut Vec<u8>)) {
    let prefix = out.len();
    put32(out, 0);
    out.push(kind);
    put32(out, track.0);
    fields(out);
    let length = (out.len() - prefix - 4) as u32;
    out[prefix..prefix + 4].copy_from_slice(&length.to_be_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_report(out: &mut Vec<u8>, report: SenderReport) {
    put64(out, report.ntp);
    put32(out, report.rtp);
}

fn put_optional_report(out: &mut Vec<u8>, report: Option<SenderReport>) {
    out.push(u8::from(report.is_some()));
    if let Some(report) = report {
        put_report(out, report);
    }
}

/// Type and track.
const HEAD: usize = 5;

const RTP: u8 = 1;
const SENDER_REPORT: u8 = 2;
const LAYER: u8 = 3;
const GAP: u8 = 4;
const END: u8 = 5;
/// Types from the recorder have the high bit.
const ACK: u8 = 0x81;

#[cfg(test)]
mod tests;
