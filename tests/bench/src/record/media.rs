//! Everybody who is recorded: a camera of 1 Mbit/s in VP8 and a microphone in Opus each, made up, with all that a browser sends.

use std::time::Duration;

use anyhow::Result;
use lockgate_model::carrier::{AddTrack, Frame, NodeTime, SenderReport, StartSession, TrackNumber, encode_rtp};
use lockgate_model::{Codec, PublisherId, RecordingId, RoomName, Source, TrackId};

/// A room full of participants, at a moment.
pub(super) struct Crowd {
    participants: u32,
    /// Steps of 20 ms.
    step: u64,
    /// Bytes of media that were sent, without headers.
    sent: u64,
    wire: Vec<u8>,
    body: Vec<u8>,
}

impl Crowd {
    pub(super) fn new(participants: u32) -> Self {
        // Noise, as what an encoder makes is.
        let body = (0..PICTURE).map(|index| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        Self { participants, step: 0, sent: 0, wire: Vec::new(), body }
    }

    /// The session that they are in.
    pub(super) fn session() -> Result<StartSession> {
        Ok(StartSession {
            session: RecordingId::new("bench")?,
            room: RoomName::new("bench")?,
            started_at_us: 1_790_000_000_000_000,
            started: NodeTime(BEGAN),
            epoch: 0,
        })
    }

    /// All their tracks.
    pub(super) fn tracks(&self) -> Result<Vec<AddTrack>> {
        let sources = [(Source::Microphone, Codec::Opus), (Source::Camera, Codec::Vp8)];
        let all = (0..self.participants).flat_map(|who| sources.map(|(source, codec)| (who, source, codec)));
        let tracks = all.map(|(who, source, codec)| {
            Ok(AddTrack {
                number: number(who, codec),
                session: Self::session()?.session,
                worker: 0,
                publisher_id: PublisherId(u64::from(who) + 1),
                user_id: None,
                username: format!("participant {who}"),
                track_id: TrackId::new(format!("{who}-{}", source.as_str()))?,
                kind: codec.kind(),
                source,
                codec,
                clock_rate: codec.clock_rate(),
                payload_type: payload_type(codec),
                fmtp: String::new(),
                level_id: Some(1),
            })
        });
        tracks.collect()
    }

    /// How long they have been there.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.step * 20)
    }

    /// Bytes of media that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The microphone of the last participant, whose packets are sent last; its sequence numbers are the steps.
    pub(super) fn last_microphone(&self) -> TrackNumber {
        number(self.participants - 1, Codec::Opus)
    }

    /// The frames of the next 20 ms, and 20 ms go by.
    pub(super) fn next_step(&mut self) -> &[u8] {
        self.wire.clear();
        for who in 0..self.participants {
            // Not all at once: reports and key frames of many are spread over their interval.
            if (self.step + u64::from(who)).is_multiple_of(50) {
                self.report(who, Codec::Opus);
                self.report(who, Codec::Vp8);
            }
            self.sound(who);
            // Three pictures in 100 ms.
            if matches!(self.step % 5, 0 | 2 | 4) {
                self.picture(who);
            }
        }
        self.step += 1;
        &self.wire
    }

    fn at(&self) -> NodeTime {
        NodeTime(BEGAN + self.step * 20_000)
    }

    fn report(&mut self, who: u32, codec: Codec) {
        let at_us = self.step * 20_000;
        let (seconds, micros) = (at_us / 1_000_000 + 3_900_000_000, at_us % 1_000_000);
        let ntp = (seconds << 32) | ((micros << 32) / 1_000_000);
        let report = SenderReport { ntp, rtp: self.timestamp(codec) };
        let (track, ssrc, arrival) = (number(who, codec), number(who, codec).0, self.at());
        Frame::SenderReport { track, ssrc, report, arrival }.encode(&mut self.wire);
    }

    fn sound(&mut self, who: u32) {
        // RFC 8285 §4.2: the loudness, as RFC 6464 has it.
        let extension = [0xBE, 0xDE, 0, 1, 0x10, 30, 0, 0];
        let head = self.head(who, Codec::Opus, self.step, false, true);
        let (track, at) = (number(who, Codec::Opus), self.at());
        encode_rtp(&mut self.wire, track, self.step, at, &[&head, &extension, &self.body[..SOUND]]);
        self.sent += SOUND as u64;
    }

    fn picture(&mut self, who: u32) {
        let index = self.step / 5 * 3 + self.step % 5 / 2;
        let key = (index + u64::from(who)).is_multiple_of(KEY_FRAMES) || index == 0;
        // RFC 6386 §9.1: a frame's head, a key frame's with its size.
        let frame: &[u8] = if key { &[0x50, 1, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1] } else { &[0x51, 1, 0] };
        let (track, at, parts) = (number(who, Codec::Vp8), self.at(), PICTURE.div_ceil(PACKET));
        for part in 0..parts {
            let first = part == 0;
            let seq = index * parts as u64 + part as u64;
            let head = self.head(who, Codec::Vp8, seq, part + 1 == parts, false);
            let body = &self.body[part * PACKET..PICTURE.min((part + 1) * PACKET)];
            // RFC 7741 §4.2: where a frame begins.
            let descriptor = [if first { 0x10 } else { 0 }];
            let pieces = [&head[..], &descriptor, if first { frame } else { &[] }, body];
            encode_rtp(&mut self.wire, track, seq, at, &pieces);
            self.sent += body.len() as u64;
        }
    }

    fn head(&self, who: u32, codec: Codec, seq: u64, marker: bool, extended: bool) -> [u8; 12] {
        let mut head = [0; 12];
        head[0] = if extended { 0x90 } else { 0x80 };
        head[1] = u8::from(marker) << 7 | payload_type(codec);
        head[2..4].copy_from_slice(&(seq as u16).to_be_bytes());
        head[4..8].copy_from_slice(&self.timestamp(codec).to_be_bytes());
        head[8..].copy_from_slice(&number(who, codec).0.to_be_bytes());
        head
    }

    fn timestamp(&self, codec: Codec) -> u32 {
        (self.step * u64::from(codec.clock_rate()) / 50) as u32
    }
}

fn number(who: u32, codec: Codec) -> TrackNumber {
    TrackNumber(who * 2 + if codec == Codec::Opus { 1 } else { 2 })
}

fn payload_type(codec: Codec) -> u8 {
    if codec == Codec::Opus { 111 } else { 96 }
}

/// Where the timeline is when the session begins, in microseconds.
const BEGAN: u64 = 1_000_000;
/// Bytes of a picture: 30 of them a second are 1 Mbit/s.
const PICTURE: usize = 4160;
const PACKET: usize = 1050;
/// Bytes of 20 ms of sound: 48 kbit/s.
const SOUND: usize = 120;
/// A key frame each two seconds.
const KEY_FRAMES: u64 = 60;
