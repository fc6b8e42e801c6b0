//! One track: its packets become frames with a place in time.

mod life;

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::carrier::{AddTrack, Frame, GapReason, NodeTime, SenderReport, TrackStats};
use lockgate_model::{Loudness, MediaKind};
use lockgate_rtp::{Header, audio_level};

use self::life::Life;
use super::gaps::{Gap, Gaps};
use super::timed::{Done, Timed};
use super::voice::{Span, Voice};
use crate::archive::{Event, Position, Progress};
use crate::assemble::{self, Assembler};
use crate::clock::{PublisherClock, StreamClock};
use crate::jitter::{Jitter, Released};
use crate::packet::Packet;

/// A track that is being recorded.
pub(super) struct Track {
    pub(super) add: AddTrack,
    stream: Option<Stream>,
    /// The last report about an encoding of which no packet has come.
    early_report: Option<(u32, SenderReport)>,
    stats: TrackStats,
    gaps: Gaps,
    voice: Voice,
    /// What was said and not yet asked for.
    speech: Vec<Span>,
    request: Request,
    life: Life,
    last_heard: Instant,
    size: Option<(u32, u32)>,
    /// Frames handed on that are not in a file yet.
    unwritten: u64,
    written: Option<Position>,
    acked: Option<Position>,
    /// It goes on where another recorder was: what came before this and is of another encoding, that one had.
    had_before: Option<NodeTime>,
}

/// The encoding that is being sent.
struct Stream {
    ssrc: u32,
    /// When its first packet reached the node.
    since: Option<NodeTime>,
    began: Instant,
    jitter: Jitter,
    assembler: Assembler,
    clock: StreamClock,
}

/// Key frames that are asked for.
#[derive(Clone, Copy, Debug)]
struct Request {
    next: Option<Instant>,
    wait: Duration,
    /// How many packets there were when it was last asked.
    packets: u64,
}

impl Track {
    pub(super) fn new(add: AddTrack, now: Instant) -> Self {
        let track = add.number;
        let stats = TrackStats { track, packets: 0, frames: 0, bytes: 0, lost: 0, dropped_frames: 0, plis: 0 };
        Self {
            add,
            stream: None,
            early_report: None,
            stats,
            gaps: Gaps::default(),
            voice: Voice::new(),
            speech: Vec::new(),
            request: Request { next: None, wait: FIRST_WAIT, packets: 0 },
            life: Life::Running,
            last_heard: now,
            size: None,
            unwritten: 0,
            written: None,
            acked: None,
            had_before: None,
        }
    }

    /// Goes on where another recorder was.
    pub(super) fn resume(add: AddTrack, progress: Progress, publisher: &mut PublisherClock, now: Instant) -> Self {
        let Progress { position, last, size, clock, stats } = progress;
        let audio = add.kind == MediaKind::Audio;
        let clock = match clock {
            Some(mark) => StreamClock::resume(add.clock_rate, audio, &mark, publisher),
            None => StreamClock::new(add.clock_rate, audio),
        };
        let stream = Stream {
            ssrc: position.ssrc,
            since: Some(position.since),
            began: now,
            jitter: Jitter::starting_at(position.seq.saturating_add(1), HOLD),
            assembler: Assembler::resume(add.codec, &add.fmtp, position.whole),
            clock,
        };
        Self {
            stream: Some(stream),
            stats: TrackStats { track: add.number, ..stats },
            gaps: Gaps::behind(last),
            size,
            written: Some(position),
            had_before: Some(position.since),
            ..Self::new(add, now)
        }
    }

    /// Where another recorder can go on. To be asked when all frames are flushed that can be.
    pub(super) fn progress(&self, publisher: Option<&PublisherClock>) -> Option<Progress> {
        let position = self.position()?;
        let stream = self.stream.as_ref().filter(|stream| stream.ssrc == position.ssrc);
        let clock = stream.zip(publisher).and_then(|(stream, publisher)| stream.clock.mark(publisher));
        Some(Progress { position, last: self.gaps.last(), size: self.size, clock, stats: self.stats() })
    }

    /// A packet came.
    pub(super) fn on_rtp(
        &mut self,
        seq: u64,
        arrival: NodeTime,
        bytes: Bytes,
        now: Instant,
        publisher: &mut PublisherClock,
        out: &mut Vec<Timed>,
    ) {
        self.last_heard = now;
        let Some(packet) = Packet::parse(seq, arrival, &bytes) else {
            // It will be missed as lost.
            return;
        };
        let stale = self.had_before.is_some_and(|since| arrival < since);
        if stale && self.stream.as_ref().is_some_and(|stream| stream.ssrc != packet.ssrc) {
            return;
        }
        self.stats.packets += 1;
        if self.stream.as_ref().is_none_or(|stream| stream.ssrc != packet.ssrc) {
            self.switch(packet.ssrc, Jitter::new(HOLD), now, publisher, out);
        }
        let Some(stream) = &mut self.stream else { return };
        stream.since.get_or_insert(arrival);
        if packet.payload_type == self.add.payload_type && !packet.payload.is_empty() {
            stream.clock.arrived(packet.timestamp, arrival, publisher);
            if let Some((_, report)) = self.early_report.take_if(|(ssrc, _)| *ssrc == packet.ssrc) {
                stream.clock.reported(report, publisher);
            }
            if let Some(level) = loudness(&bytes, self.add.level_id) {
                let at = stream.clock.map(packet.timestamp, publisher).filter(|at| is_plausible(*at, arrival));
                self.speech.extend(self.voice.heard(at.unwrap_or(arrival), level));
            }
        }
        stream.jitter.push(packet, now);
        self.release(now, publisher, out);
    }

    /// A sender report came.
    pub(super) fn on_report(&mut self, ssrc: u32, report: SenderReport, publisher: &mut PublisherClock) {
        match self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) {
            Some(stream) => stream.clock.reported(report, publisher),
            None => self.early_report = Some((ssrc, report)),
        }
    }

    /// The track goes on with another encoding.
    pub(super) fn on_layer(
        &mut self,
        layer: Frame<'_>,
        now: Instant,
        publisher: &mut PublisherClock,
        out: &mut Vec<Timed>,
    ) {
        let Frame::Layer { old_ssrc, new_ssrc, first_seq, old_report, new_report, .. } = layer else { return };
        let there = self.stream.as_ref().filter(|stream| stream.ssrc == new_ssrc);
        if there.and_then(|stream| stream.jitter.done()).is_some_and(|done| done >= first_seq) {
            // Another recorder was there already.
            return;
        }
        if let Some(report) = old_report {
            self.on_report(old_ssrc, report, publisher);
        }
        self.switch(new_ssrc, Jitter::starting_at(first_seq, HOLD), now, publisher, out);
        if let Some(report) = new_report {
            self.on_report(new_ssrc, report, publisher);
        }
    }

    /// Packets will not come.
    pub(super) fn on_gap(&mut self, ssrc: u32, from: u64, to: u64, reason: GapReason) {
        match &mut self.stream {
            Some(stream) if stream.ssrc == ssrc => stream.jitter.give_up(from, to, reason),
            Some(_) => {}
            // Nothing came yet, and this will not.
            None => {
                let count = to.saturating_sub(from).saturating_add(1);
                self.stats.lost = self.stats.lost.saturating_add(count);
                self.gaps.missed(reason, count);
            }
        }
    }

    /// A frame is in a file, or was given up by it.
    pub(super) fn on_written(&mut self, done: &Done) {
        self.unwritten = self.unwritten.saturating_sub(1);
        let stream = self.stream.as_ref().filter(|stream| stream.ssrc == done.ssrc).and_then(|stream| stream.since);
        let before = self.written.filter(|written| written.ssrc == done.ssrc).map(|written| written.since);
        let since = stream.or(before).unwrap_or_default();
        self.written = Some(Position { ssrc: done.ssrc, seq: done.seq, whole: true, since });
        if done.bytes > 0 {
            self.stats.frames += 1;
            self.stats.bytes += done.bytes;
        } else {
            self.stats.dropped_frames += 1;
        }
    }

    /// Takes what is in order, or not worth waiting for any longer, and makes frames of it.
    pub(super) fn release(&mut self, now: Instant, publisher: &PublisherClock, out: &mut Vec<Timed>) {
        let Some(stream) = &mut self.stream else { return };
        let mut frames = Vec::new();
        while let Some(released) = stream.jitter.poll(now) {
            match released {
                Released::Packet(packet) if packet.payload_type == self.add.payload_type => {
                    stream.assembler.push(&packet, &mut frames);
                }
                Released::Packet(_) => {}
                Released::Lost { count, reason } => {
                    self.stats.lost = self.stats.lost.saturating_add(count);
                    stream.assembler.lost();
                    self.gaps.missed(reason, count);
                }
            }
            for frame in frames.drain(..) {
                let at = stream.clock.map(frame.timestamp, publisher).filter(|at| is_plausible(*at, frame.arrival));
                let at = at.unwrap_or(frame.arrival);
                self.gaps.frame(at);
                self.unwritten += 1;
                out.push(Timed { track: self.add.number, ssrc: stream.ssrc, at, at_us: 0, frame });
            }
        }
    }

    /// Whether to ask the node for a key frame now: something needs one, and it was not just asked for.
    pub(super) fn asks_for_keyframe(&mut self, file_waits: bool, now: Instant) -> bool {
        let broken = self.stream.as_ref().is_some_and(|stream| stream.needs_keyframe(now));
        if self.add.kind != MediaKind::Video || !matches!(self.life, Life::Running) || !broken && !file_waits {
            self.request = Request { next: None, wait: FIRST_WAIT, packets: 0 };
            return false;
        }
        let request = &mut self.request;
        // Who sends nothing answers nothing; asking again would only be noise.
        let again = request.next.is_some_and(|next| now >= next && self.stats.packets > request.packets);
        if request.next.is_some() && !again {
            return false;
        }
        *request = Request {
            next: Some(now + request.wait),
            wait: (request.wait * 2).min(LAST_WAIT),
            packets: self.stats.packets,
        };
        self.stats.plis += 1;
        true
    }

    /// What can be acknowledged and was not yet.
    pub(super) fn ack(&mut self) -> Option<Frame<'static>> {
        let position = self.position()?;
        let Position { ssrc, seq, .. } = position;
        if self.acked.is_some_and(|acked| acked.ssrc == ssrc && acked.seq >= seq) {
            return None;
        }
        self.acked = Some(position);
        Some(Frame::Ack { track: self.add.number, ssrc, seq })
    }

    /// All its frames are in files, or were given up.
    pub(super) fn settle(&mut self) {
        self.unwritten = 0;
    }

    /// The last packet behind which a frame ends and up to which everything is in a file or was given up.
    fn position(&self) -> Option<Position> {
        let settled = self.stream.as_ref().filter(|stream| self.unwritten == 0 && stream.assembler.is_idle());
        let settled = settled.and_then(|stream| {
            let (seq, whole) = (stream.jitter.done()?, stream.assembler.is_whole());
            Some(Position { ssrc: stream.ssrc, seq, whole, since: stream.since? })
        });
        // What was said once holds: behind it there may only be what is not written yet.
        let before = [self.written, self.acked].into_iter().flatten();
        settled.or_else(|| before.max_by_key(|position| (position.since, position.seq)))
    }

    /// The picture's size, when it is another one than before.
    pub(super) fn new_size(&mut self, frame: &assemble::Frame) -> Option<(u32, u32)> {
        let shape = frame.shape.as_ref()?;
        let size = Some((shape.width, shape.height));
        if self.size == size {
            return None;
        }
        self.size = size;
        size
    }

    /// What was missed since this was last asked.
    pub(super) fn take_gaps(&mut self) -> impl Iterator<Item = Gap> + use<> {
        self.gaps.take()
    }

    /// What was said since this was last asked, up to this moment.
    pub(super) fn take_speech(&mut self, now: NodeTime) -> Vec<Span> {
        self.speech.extend(self.voice.pause(now));
        std::mem::take(&mut self.speech)
    }

    /// Its sender's clock against nominal in parts per million, and the spread of its reports in µs; none before there are any.
    pub(super) fn clock(&self) -> Option<(f64, f64)> {
        self.stream.as_ref().and_then(|stream| stream.clock.fitness())
    }

    pub(super) fn stats(&self) -> TrackStats {
        let dropped = self.stream.as_ref().map_or(0, |stream| stream.assembler.dropped());
        TrackStats { dropped_frames: self.stats.dropped_frames + dropped, ..self.stats.clone() }
    }

    /// What is said of it when it is over.
    pub(super) fn end_event(&self) -> Event<'static> {
        let TrackStats { track, packets, lost, dropped_frames, .. } = self.stats();
        let clock_ppm = self.clock().map(|(ppm, _)| ppm);
        Event::TrackEnd { track, packets, lost, dropped_frames, clock_ppm }
    }

    /// Ends the encoding so far and begins another.
    fn switch(&mut self, ssrc: u32, jitter: Jitter, now: Instant, publisher: &PublisherClock, out: &mut Vec<Timed>) {
        if let Some(stream) = &mut self.stream {
            stream.jitter.flush();
            self.release(now, publisher, out);
        }
        if let Some(old) = self.stream.take() {
            self.stats.dropped_frames += old.assembler.dropped();
        }
        let audio = self.add.kind == MediaKind::Audio;
        self.stream = Some(Stream {
            ssrc,
            since: None,
            began: now,
            jitter,
            assembler: Assembler::new(self.add.codec, &self.add.fmtp),
            clock: StreamClock::new(self.add.clock_rate, audio),
        });
    }
}

impl Stream {
    /// Whether it is of no use until a key frame comes. The one that it begins with may still be on its way.
    fn needs_keyframe(&self, now: Instant) -> bool {
        self.assembler.needs_keyframe() && now.saturating_duration_since(self.began) >= BEGINNING
    }
}

/// What a packet says of how loud it is, in the extension with this id.
fn loudness(packet: &[u8], id: Option<u8>) -> Option<Loudness> {
    let header = Header::parse(packet).ok().filter(|_| id.is_some())?;
    let mut elements = header.extensions(packet);
    elements.find(|element| Some(element.id) == id).and_then(|element| audio_level(element.value))
}

/// Whether a sender's clock is believed: nothing travels back in time, or takes so long.
fn is_plausible(at: NodeTime, arrival: NodeTime) -> bool {
    at.micros_since(arrival).unsigned_abs() < TRUST_US
}

/// How long a missing packet is waited for that the node says nothing of. The node asks its publisher for one during 608 ms (after
/// 8 ms, and ten times more every 60 ms) and then says that it will not come: whoever waits less throws away what was repaired.
const HOLD: Duration = Duration::from_secs(1);
/// A frame further than this from its arrival is put there, in microseconds.
const TRUST_US: u64 = 5_000_000;
/// How long the packets of a first key frame may take.
const BEGINNING: Duration = Duration::from_millis(300);
/// Between two requests for a key frame, doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(8);
