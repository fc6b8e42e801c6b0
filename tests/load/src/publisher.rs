//! A client that publishes: its streams, what the server asks of them, and when the next frame is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lockgate_model::{Codec, MediaKind};
use lockgate_rtp::{Feedback, parse_rtcp, write};
use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::sdp::{Extension, Section};

use crate::clock;
use crate::outgoing::{Names, Outgoing, Part, Source};
use crate::peer::Peer;
use crate::report::Uplink;
use crate::sdp::{NegotiateError, Own, SendLine, publish_offer};
use crate::traffic::{Frames, Traffic};
use crate::voice::Voice;

/// What a publisher sends.
#[derive(Clone, Debug, Default)]
pub struct PublisherSpec {
    /// Sound (Opus).
    pub audio: Option<Traffic>,
    /// A picture (VP8).
    pub video: Option<VideoSpec>,
    /// When it says that it is loud. None: it does not say how loud it is.
    pub voice: Option<Voice>,
    /// First part of the tracks' `a=msid`: a token of RFC 8830, unique in the room. Empty: one is made.
    pub stream: String,
}

/// The picture of a publisher.
#[derive(Clone, Debug)]
pub enum VideoSpec {
    /// One encoding.
    Single(Traffic),
    /// Simulcast: an encoding for each name, from the smallest.
    Simulcast(Vec<(String, Traffic)>),
}

/// A client that publishes.
pub(crate) struct Publisher {
    pub(crate) peer: Peer,
    streams: Vec<Outgoing>,
    /// Index of the stream for each source.
    by_ssrc: HashMap<u32, usize>,
    cname: String,
    twcc: u16,
    started: Option<Instant>,
    next_report: Option<Instant>,
    uplink: Uplink,
    wanted: Vec<(usize, u16)>,
    sizes: Vec<usize>,
}

/// The lines of an offer, and the streams on them.
pub(crate) struct Offered {
    lines: Vec<Line>,
    session: u64,
    stream: String,
    voice: Option<Voice>,
}

struct Line {
    mid: String,
    kind: MediaKind,
    track: String,
    encodings: Vec<Encoding>,
}

struct Encoding {
    rid: Option<String>,
    traffic: Traffic,
    ssrc: u32,
    rtx: Option<u32>,
}

/// Datagrams that leave for one address, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    pub(crate) bytes: Vec<u8>,
    /// Where each ends.
    pub(crate) ends: Vec<usize>,
}

impl Offered {
    pub(crate) fn new(spec: &PublisherSpec, random: &mut Rng) -> Self {
        let stream = if spec.stream.is_empty() { format!("load{:016x}", random.u64(..)) } else { spec.stream.clone() };
        let encoding = |rid: Option<&str>, traffic: &Traffic, video: bool, random: &mut Rng| Encoding {
            rid: rid.map(str::to_owned),
            traffic: *traffic,
            ssrc: random.u32(1..),
            rtx: video.then(|| random.u32(1..)),
        };
        let mut lines = Vec::new();
        if let Some(traffic) = &spec.audio {
            let encodings = vec![encoding(None, traffic, false, random)];
            lines.push(Line { mid: "0".into(), kind: MediaKind::Audio, track: format!("{stream}a"), encodings });
        }
        if let Some(video) = &spec.video {
            let encodings = match video {
                VideoSpec::Single(traffic) => vec![encoding(None, traffic, true, random)],
                VideoSpec::Simulcast(layers) => {
                    layers.iter().map(|(rid, traffic)| encoding(Some(rid), traffic, true, random)).collect()
                }
            };
            let mid = lines.len().to_string();
            lines.push(Line { mid, kind: MediaKind::Video, track: format!("{stream}v"), encodings });
        }
        Self { lines, session: random.u64(..) >> 2, stream, voice: spec.voice }
    }

    pub(crate) fn write(&self, peer: &Peer, fingerprint: &Fingerprint) -> String {
        let own = Own { session: self.session, version: 1, ice: peer.agent().local(), fingerprint, feedback: true };
        let sources: Vec<Vec<_>> =
            self.lines.iter().map(|line| line.encodings.iter().map(|one| (one.ssrc, one.rtx)).collect()).collect();
        let rids: Vec<Vec<&str>> = self
            .lines
            .iter()
            .map(|line| line.encodings.iter().filter_map(|one| one.rid.as_deref()).collect())
            .collect();
        let lines: Vec<_> = self
            .lines
            .iter()
            .zip(sources.iter().zip(&rids))
            .map(|(line, (sources, rids))| SendLine {
                mid: &line.mid,
                kind: line.kind,
                stream: &self.stream,
                track: &line.track,
                sources,
                rids,
            })
            .collect();
        publish_offer(&own, &lines)
    }
}

impl Publisher {
    /// A publisher whose offer was answered with these lines. `register` gives each stream its name and counter.
    pub(crate) fn new(
        peer: Peer,
        offered: &Offered,
        answer: &[Section],
        mut register: impl FnMut() -> (u32, Arc<AtomicU64>),
        random: &mut Rng,
    ) -> Result<Self, NegotiateError> {
        if answer.len() != offered.lines.len() {
            return Err(NegotiateError::OtherLines);
        }
        let mut streams = Vec::new();
        for (line, section) in offered.lines.iter().zip(answer) {
            if section.mid != line.mid {
                return Err(NegotiateError::OtherLines);
            }
            let Some(codec) = section.codec().filter(|_| !section.rejected && section.receives) else { continue };
            for encoding in &line.encodings {
                // A server that wants fewer encodings leaves their names out (RFC 8853 §5.3).
                let (id, sent) = register();
                let frames = Frames::new(encoding.traffic);
                let kind = if line.kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
                let source = Source { id, sent };
                let mut stream = Outgoing::new(encoding.ssrc, encoding.rtx, kind, source, frames, random.u32(..));
                stream.payload_type = codec.payload_type;
                stream.rtx = codec.rtx.and_then(|payload_type| Some((encoding.rtx?, payload_type)));
                stream.names = names(section, encoding.rid.as_deref());
                stream.voice = offered.voice.zip(section.extensions.id(Extension::AudioLevel));
                streams.push(stream);
            }
        }
        if streams.is_empty() {
            return Err(NegotiateError::AllRejected);
        }
        let by_ssrc = streams.iter().enumerate().map(|(at, stream)| (stream.ssrc, at)).collect();
        Ok(Self {
            peer,
            streams,
            by_ssrc,
            cname: offered.stream.clone(),
            twcc: random.u16(..) >> 1,
            started: None,
            next_report: None,
            uplink: Uplink::default(),
            wanted: Vec::new(),
            sizes: Vec::new(),
        })
    }

    /// Takes a decrypted RTCP packet.
    pub(crate) fn handle_rtcp(&mut self, packet: &[u8]) {
        let Self { streams, by_ssrc, wanted, uplink, .. } = self;
        parse_rtcp(packet, |feedback| match feedback {
            Feedback::Nack { ssrc, missing } => {
                uplink.asked_again += missing.iter().count() as u64;
                if let Some(&at) = by_ssrc.get(&ssrc) {
                    wanted.extend(missing.iter().map(|sequence| (at, sequence)));
                }
            }
            Feedback::KeyFrameRequest { ssrc } => {
                uplink.key_frames_asked += 1;
                if let Some(&at) = by_ssrc.get(&ssrc) {
                    streams[at].key_wanted = true;
                }
            }
            Feedback::Report(block) => {
                if let Some(&at) = by_ssrc.get(&block.ssrc) {
                    streams[at].is_known = true;
                    streams[at].uplink_lost = block.lost;
                }
            }
            Feedback::Sender(_)
            | Feedback::Returned { .. }
            | Feedback::Twcc(_)
            | Feedback::Remb { .. }
            | Feedback::Bye { .. } => {}
        });
    }

    /// Begins to send.
    pub(crate) fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
        self.next_report.get_or_insert(now + REPORT_EVERY);
    }

    /// Writes and seals what is due.
    pub(crate) fn send_due(&mut self, now: Instant, burst: &mut Burst) {
        let Some(started) = self.started.filter(|_| self.peer.is_connected()) else { return };
        let elapsed = now.saturating_duration_since(started);
        let now_us = clock::now_us();
        for at in 0..self.streams.len() {
            self.uplink.frames_left_out += self.streams[at].frames.skip_to(elapsed);
            while self.streams[at].frames.due() <= elapsed {
                self.send_frame(at, now_us, burst);
            }
        }
        for (at, sequence) in std::mem::take(&mut self.wanted) {
            let start = burst.bytes.len();
            if self.streams[at].write_again(sequence, self.twcc, &mut burst.bytes) {
                self.twcc = self.twcc.wrapping_add(1);
                self.finish_packet(start, burst);
            }
        }
        self.report(now, elapsed);
    }

    /// When [`Self::send_due`] has something to do.
    pub(crate) fn next_send(&self, now: Instant) -> Option<Instant> {
        let started = self.started.filter(|_| self.peer.is_connected())?;
        if !self.wanted.is_empty() {
            return Some(now);
        }
        let frames = self.streams.iter().map(|stream| started + stream.frames.due());
        frames.chain(self.next_report).min()
    }

    /// What was sent, and what the server said of it.
    pub(crate) fn uplink(&self) -> Uplink {
        let lost = self.streams.iter().map(|stream| u64::from(stream.uplink_lost)).sum();
        let retransmitted = self.streams.iter().map(|stream| stream.retransmitted).sum();
        Uplink { lost, retransmitted, ..self.uplink }
    }

    fn send_frame(&mut self, at: usize, now_us: u64, burst: &mut Burst) {
        let stream = &mut self.streams[at];
        let due = stream.frames.due();
        let wanted = std::mem::take(&mut stream.key_wanted);
        let mut sizes = std::mem::take(&mut self.sizes);
        let key_frame = stream.frames.take(wanted, &mut sizes);
        stream.begin_frame(due);
        for (place, size) in sizes.iter().enumerate() {
            let start = burst.bytes.len();
            let part = Part { first: place == 0, last: place + 1 == sizes.len(), key_frame, size: *size };
            self.streams[at].write_packet(now_us, part, self.twcc, &mut burst.bytes);
            self.twcc = self.twcc.wrapping_add(1);
            self.uplink.packets += 1;
            self.uplink.bytes += (burst.bytes.len() - start) as u64;
            self.finish_packet(start, burst);
        }
        self.sizes = sizes;
    }

    fn finish_packet(&mut self, start: usize, burst: &mut Burst) {
        if self.peer.seal_rtp(&mut burst.bytes, start) {
            burst.ends.push(burst.bytes.len());
        }
    }

    fn report(&mut self, now: Instant, elapsed: Duration) {
        if self.next_report.is_none_or(|due| due > now) {
            return;
        }
        self.next_report = Some(now + REPORT_EVERY);
        let ntp = clock::now_ntp();
        for stream in self.streams.iter().filter(|stream| stream.has_sent()) {
            let info = stream.report(ntp, elapsed);
            self.peer.send_rtcp(|out| write::sender_report(out, info, &self.cname));
        }
    }
}

fn names(section: &Section, rid: Option<&str>) -> Names {
    let id = |extension| section.extensions.id(extension);
    let named = |extension, name: &str| Some((id(extension)?, name.to_owned()));
    Names {
        mid: named(Extension::Mid, &section.mid),
        rid: rid.and_then(|rid| named(Extension::Rid, rid)),
        repaired_rid: rid.and_then(|rid| named(Extension::RepairedRid, rid)),
        twcc: id(Extension::Twcc),
    }
}

const REPORT_EVERY: Duration = Duration::from_secs(1);
