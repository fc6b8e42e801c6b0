//! One track's packets, as its publisher would send them.

use bytes::Bytes;
use lockgate_model::carrier::{Frame, NodeTime, SenderReport, TrackNumber};
use rtc_rtp::packetizer::Payloader;

use super::{BEGAN, Clip, LEVEL_ID, Node};

/// Sends a clip. Times are microseconds since the session's start.
pub(crate) struct Sender {
    pub(crate) track: TrackNumber,
    pub(crate) ssrc: u32,
    /// The next sequence number.
    pub(crate) seq: u64,
    /// How long packets take to the node.
    pub(crate) delay_us: u64,
    /// When the clip's first frame is captured.
    pub(crate) from_us: u64,
    /// What its packets say of how loud they are, in dB below the loudest; none: nothing.
    pub(crate) level: Option<u8>,
    clip: Clip,
    payloader: Box<dyn Payloader>,
    next: usize,
    rtp0: u32,
}

/// An RTP packet with its extended number and arrival.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) seq: u64,
    pub(crate) arrival: NodeTime,
    pub(crate) bytes: Vec<u8>,
}

impl Sender {
    pub(crate) fn new(track: u32, clip: &Clip) -> Self {
        let payloader = clip.payloader();
        // Close to where both numbers wrap.
        let (seq, rtp0) = (65_530 + u64::from(track), u32::MAX - 40_000);
        let (track, ssrc) = (TrackNumber(track), 1000 + track);
        Self {
            track,
            ssrc,
            seq,
            delay_us: 30_000,
            from_us: 0,
            level: None,
            clip: clip.clone(),
            payloader,
            next: 0,
            rtp0,
        }
    }

    /// When the next frame is captured; none at the end.
    pub(crate) fn next_at(&self) -> Option<u64> {
        (self.next < self.clip.frames.len()).then(|| self.from_us + self.next as u64 * self.clip.step_us)
    }

    /// How many frames were sent.
    pub(crate) fn sent(&self) -> usize {
        self.next
    }

    /// The packets of the next frame.
    pub(crate) fn packets(&mut self) -> Vec<Sent> {
        let at = self.next_at().unwrap();
        let frame: Bytes = self.clip.frames[self.next].clone();
        self.next += 1;
        let payloads = self.payloader.payload(1100, &frame).unwrap();
        let count = payloads.len();
        let packets = payloads.into_iter().enumerate().map(|(index, payload)| {
            let marker = index + 1 == count && self.clip.codec != lockgate_model::Codec::Opus;
            let payload_type = if self.clip.codec == lockgate_model::Codec::Opus { 111 } else { 96 };
            let first = if self.level.is_some() { 0x90 } else { 0x80 };
            let mut bytes = vec![first, u8::from(marker) << 7 | payload_type];
            bytes.extend_from_slice(&(self.seq as u16).to_be_bytes());
            bytes.extend_from_slice(&self.rtp(at).to_be_bytes());
            bytes.extend_from_slice(&self.ssrc.to_be_bytes());
            if let Some(level) = self.level {
                bytes.extend_from_slice(&[0xBE, 0xDE, 0, 1, LEVEL_ID << 4, level, 0, 0]);
            }
            bytes.extend_from_slice(&payload);
            self.seq += 1;
            Sent { seq: self.seq - 1, arrival: NodeTime(BEGAN + at + self.delay_us), bytes }
        });
        packets.collect()
    }

    /// A sender report about this moment.
    pub(crate) fn report(&self, at_us: u64) -> SenderReport {
        let (seconds, micros) = (at_us / 1_000_000 + 3_000_000_000, at_us % 1_000_000);
        SenderReport { ntp: (seconds << 32) | ((micros << 32) / 1_000_000), rtp: self.rtp(at_us) }
    }

    fn rtp(&self, at_us: u64) -> u32 {
        let ticks = at_us as u128 * u128::from(self.clip.codec.clock_rate()) / 1_000_000;
        self.rtp0.wrapping_add(ticks as u32)
    }
}

impl Node {
    pub(crate) fn send_packet(&mut self, sender: &Sender, packet: &Sent) {
        let Sent { seq, arrival, bytes } = packet;
        self.frame(&Frame::Rtp { track: sender.track, seq: *seq, arrival: *arrival, packet: bytes });
    }

    pub(crate) fn send_report(&mut self, sender: &Sender, at_us: u64) {
        let arrival = NodeTime(BEGAN + at_us + sender.delay_us);
        let report = sender.report(at_us);
        self.frame(&Frame::SenderReport { track: sender.track, ssrc: sender.ssrc, report, arrival });
    }

    /// Sends all clips to their ends, or to `until_us`, in the order of arrival, with a report each second.
    pub(crate) fn play(&mut self, senders: &mut [&mut Sender], until_us: u64) {
        let mut reported = vec![None; senders.len()];
        while let Some((at, index)) = senders
            .iter()
            .enumerate()
            .filter_map(|(index, sender)| Some((sender.next_at()? + sender.delay_us, index)))
            .min()
            .filter(|(at, _)| *at < until_us)
        {
            let sender = &mut *senders[index];
            if reported[index].is_none_or(|last| at >= last + 1_000_000) {
                self.send_report(sender, at - sender.delay_us);
                reported[index] = Some(at);
            }
            for packet in sender.packets() {
                self.send_packet(sender, &packet);
            }
        }
    }
}
