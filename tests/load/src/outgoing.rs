//! One RTP stream of a publisher: headers, numbers, what is kept for retransmission, sender reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_model::Codec;
use lockgate_rtp::{Element, Profile, SenderInfo};

use crate::stamp::{Place, Stamp};
use crate::traffic::Frames;
use crate::voice::Voice;

/// A stream of packets.
pub(crate) struct Outgoing {
    pub(crate) ssrc: u32,
    /// Source and payload type of retransmissions.
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) names: Names,
    /// Whether the server knows the source: from then on its names are left out, as browsers do.
    pub(crate) is_known: bool,
    pub(crate) key_wanted: bool,
    pub(crate) frames: Frames,
    /// How loud it says that it is, and under which id.
    pub(crate) voice: Option<(Voice, u8)>,
    pub(crate) uplink_lost: u32,
    pub(crate) retransmitted: u64,
    source: u32,
    /// How many packets were sent, for whoever counts what of them comes.
    sent: Arc<AtomicU64>,
    sequence: u16,
    rtx_sequence: u16,
    timestamp: u32,
    base_timestamp: u32,
    picture: u16,
    packets: u32,
    octets: u32,
    kept: Vec<Vec<u8>>,
}

/// The header extensions that say what a stream is, with their negotiated ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) mid: Option<(u8, String)>,
    pub(crate) rid: Option<(u8, String)>,
    pub(crate) repaired_rid: Option<(u8, String)>,
    pub(crate) twcc: Option<u8>,
}

/// A source's name and counter.
pub(crate) struct Source {
    pub(crate) id: u32,
    pub(crate) sent: Arc<AtomicU64>,
}

impl Outgoing {
    pub(crate) fn new(ssrc: u32, rtx: Option<u32>, codec: Codec, source: Source, frames: Frames, start: u32) -> Self {
        Self {
            ssrc,
            rtx: rtx.map(|rtx| (rtx, 0)),
            codec,
            payload_type: 0,
            names: Names::default(),
            is_known: false,
            key_wanted: false,
            frames,
            voice: None,
            uplink_lost: 0,
            retransmitted: 0,
            source: source.id,
            sent: source.sent,
            // Low enough that the first packets do not wrap: a server that joins late could not tell their index.
            sequence: start as u16 >> 1,
            rtx_sequence: 0,
            timestamp: start,
            base_timestamp: start,
            picture: start as u16,
            packets: 0,
            octets: 0,
            kept: vec![Vec::new(); if codec == Codec::Vp8 { KEPT } else { 0 }],
        }
    }

    /// Begins a frame at a moment of the stream's time.
    pub(crate) fn begin_frame(&mut self, elapsed: std::time::Duration) {
        let ticks = (elapsed.as_secs_f64() * f64::from(self.codec.clock_rate())) as u64;
        self.timestamp = self.base_timestamp.wrapping_add(ticks as u32);
        self.picture = self.picture.wrapping_add(1);
    }

    /// Appends a packet, not sealed yet, with this transport-wide number.
    pub(crate) fn write_packet(&mut self, now_us: u64, part: Part, twcc: u16, out: &mut Vec<u8>) {
        let start = out.len();
        let names = if self.is_known { &Names { twcc: self.names.twcc, ..Names::default() } } else { &self.names };
        let header = Header {
            marker: part.last && self.codec != Codec::Opus,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let level = self.voice.map(|(voice, id)| (id, voice.level(now_us, self.packets)));
        let elements =
            Elements { mid: names.mid.as_ref(), rid: names.rid.as_ref(), level, twcc: names.twcc.map(|id| (id, twcc)) };
        header.write(&elements, out);
        let payload = out.len();
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let stamp = Stamp { source: self.source, number, sent_us: now_us };
        let place = Place { first: part.first, key_frame: part.key_frame, picture: self.picture };
        stamp.write(self.codec, place, part.size, out);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add((out.len() - payload) as u32);
        if let Some(slot) = slot(&mut self.kept, self.sequence) {
            slot.clear();
            slot.extend_from_slice(&out[start..]);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Appends a packet once more, as a retransmission (RFC 4588 §4) if that was negotiated. False if it is kept no longer.
    pub(crate) fn write_again(&mut self, sequence: u16, twcc: u16, out: &mut Vec<u8>) -> bool {
        let Some(kept) = slot(&mut self.kept, sequence) else { return false };
        let Ok(header) = lockgate_rtp::Header::parse(kept) else { return false };
        if header.sequence != sequence {
            return false;
        }
        self.retransmitted += 1;
        let Some((ssrc, payload_type)) = self.rtx else {
            out.extend_from_slice(kept);
            return true;
        };
        let again = Header {
            marker: header.marker,
            payload_type,
            sequence: self.rtx_sequence,
            timestamp: header.timestamp,
            ssrc,
        };
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        let names = &self.names;
        let (mid, rid) = (names.mid.as_ref(), names.repaired_rid.as_ref());
        again.write(&Elements { mid, rid, level: None, twcc: names.twcc.map(|id| (id, twcc)) }, out);
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&kept[header.len..]);
        true
    }

    /// The sender's part of a report, at a moment of the stream's time.
    pub(crate) fn report(&self, ntp: u64, elapsed: std::time::Duration) -> SenderInfo {
        let ticks = (elapsed.as_secs_f64() * f64::from(self.codec.clock_rate())) as u64;
        let rtp = self.base_timestamp.wrapping_add(ticks as u32);
        SenderInfo { ssrc: self.ssrc, ntp, rtp, packets: self.packets, octets: self.octets }
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.packets > 0
    }
}

/// A packet's place in its frame, and its payload's size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) key_frame: bool,
    pub(crate) size: usize,
}

struct Header {
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

/// A header's extension elements, each with its id.
struct Elements<'a> {
    mid: Option<&'a (u8, String)>,
    rid: Option<&'a (u8, String)>,
    level: Option<(u8, u8)>,
    twcc: Option<(u8, u16)>,
}

impl Header {
    fn write(&self, elements: &Elements<'_>, out: &mut Vec<u8>) {
        let Elements { mid, rid, level, twcc } = *elements;
        let extended = mid.is_some() || rid.is_some() || level.is_some() || twcc.is_some();
        out.push(if extended { 0x90 } else { 0x80 });
        out.push(u8::from(self.marker) << 7 | self.payload_type);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if !extended {
            return;
        }
        out.extend_from_slice(&Profile::OneByte.to_u16().to_be_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        for (id, name) in [mid, rid].into_iter().flatten() {
            Element { id: *id, value: name.as_bytes() }.write(Profile::OneByte, out);
        }
        if let Some((id, level)) = level {
            Element { id, value: &[level] }.write(Profile::OneByte, out);
        }
        if let Some((id, number)) = twcc {
            Element { id, value: &number.to_be_bytes() }.write(Profile::OneByte, out);
        }
        let block = out.len() - length_at - 2;
        out.resize(length_at + 2 + block.next_multiple_of(4), 0);
        let words = (block.div_ceil(4) as u16).to_be_bytes();
        out[length_at..length_at + 2].copy_from_slice(&words);
    }
}

fn slot(kept: &mut [Vec<u8>], sequence: u16) -> Option<&mut Vec<u8>> {
    let at = usize::from(sequence).checked_rem(kept.len())?;
    kept.get_mut(at)
}

/// Packets kept for retransmission: several seconds of a video.
const KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::traffic::Traffic;

    fn stream() -> Outgoing {
        let source = Source { id: 5, sent: Arc::default() };
        let frames = Frames::new(Traffic { bitrate: 1_000_000, frame_rate: 30.0 });
        let mut stream = Outgoing::new(77, Some(78), Codec::Vp8, source, frames, 9000);
        stream.payload_type = 96;
        stream.rtx = Some((78, 97));
        stream.names.mid = Some((1, "video".into()));
        stream.names.twcc = Some(2);
        stream
    }

    fn part(size: usize) -> Part {
        Part { first: true, last: true, key_frame: true, size }
    }

    #[test]
    fn a_packet_names_its_line_until_the_server_knows_it() {
        let mut stream = stream();
        let mut packet = Vec::new();
        stream.begin_frame(Duration::from_secs(1));
        stream.write_packet(1, part(500), 300, &mut packet);
        let header = lockgate_rtp::Header::parse(&packet).unwrap();
        assert_eq!((header.ssrc, header.payload_type, header.marker), (77, 96, true));
        assert_eq!((header.timestamp, packet.len() - header.len), (99_000, 500));
        let elements: Vec<_> = header.extensions(&packet).map(|element| (element.id, element.value)).collect();
        assert_eq!(elements, [(1, &b"video"[..]), (2, &[1, 44][..])]);
        stream.is_known = true;
        packet.clear();
        stream.write_packet(1, part(500), 301, &mut packet);
        let header = lockgate_rtp::Header::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).count(), 1);
    }

    #[test]
    fn a_kept_packet_is_sent_again_with_its_number_in_front() {
        let mut stream = stream();
        let (mut packet, mut again) = (Vec::new(), Vec::new());
        stream.begin_frame(Duration::ZERO);
        stream.write_packet(1, part(500), 0, &mut packet);
        let sequence = lockgate_rtp::Header::parse(&packet).unwrap().sequence;
        assert!(stream.write_again(sequence, 1, &mut again));
        let (first, second) =
            (lockgate_rtp::Header::parse(&packet).unwrap(), lockgate_rtp::Header::parse(&again).unwrap());
        assert_eq!((second.ssrc, second.payload_type, second.timestamp), (78, 97, first.timestamp));
        assert_eq!(again[second.len..second.len + 2], sequence.to_be_bytes());
        assert_eq!(again[second.len + 2..], packet[first.len..]);
        assert!(!stream.write_again(sequence.wrapping_add(1), 1, &mut again), "was never sent");
    }
}
