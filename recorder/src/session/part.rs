//! One open file: frames of its tracks, interleaved by time.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use lockgate_model::Codec;
use lockgate_model::carrier::TrackNumber;

use super::PartLimits;
use super::timed::{Done, Timed};
use crate::archive::{Archive, FileEntry, LeftOpen, MarkFile, Progress, TrackMark};
use crate::assemble::Shape;
use crate::webm::Writer;

/// An open file.
pub(super) struct Part {
    writer: Writer,
    /// Where it is told how far it has come.
    mark: MarkFile,
    /// When it is complete.
    name: String,
    /// Its time 0 on the session's timeline.
    start_us: u64,
    tracks: Vec<PartTrack>,
    queued_bytes: usize,
    began: Instant,
    /// Given to the writer since it was last flushed.
    unflushed: Vec<Done>,
    /// Something could not be written: what was given to the writer is not all in the file.
    broken: bool,
}

struct PartTrack {
    number: TrackNumber,
    codec: Codec,
    shape: Shape,
    /// The time of its last frame, in milliseconds of the file.
    last_ms: Option<u64>,
    queue: VecDeque<Queued>,
    last_heard: Option<Instant>,
    frames: u64,
    keyframes: u64,
    /// Where its packets go on, as was last told beside the file.
    progress: Option<Progress>,
}

struct Queued {
    ms: u64,
    since: Instant,
    timed: Timed,
}

impl Part {
    pub(super) fn new(
        (writer, mark): (Writer, MarkFile),
        name: String,
        start_us: u64,
        tracks: impl Iterator<Item = (TrackNumber, Codec, Shape)>,
        now: Instant,
    ) -> Self {
        let tracks = tracks.map(|(number, codec, shape)| PartTrack {
            number,
            codec,
            shape,
            last_ms: None,
            queue: VecDeque::new(),
            last_heard: Some(now),
            frames: 0,
            keyframes: 0,
            progress: None,
        });
        let tracks = tracks.collect();
        Self { writer, mark, name, start_us, tracks, queued_bytes: 0, began: now, unflushed: Vec::new(), broken: false }
    }

    /// Goes on with a file that another recorder left open.
    pub(super) fn resume(left: LeftOpen, now: Instant) -> Self {
        let LeftOpen { entry, name, writer, mark, file } = left;
        let marked = |number| mark.tracks.iter().find(|track| track.number == number);
        let shape = |number| marked(number).map(|track| track.shape.clone()).unwrap_or_default();
        let tracks = entry.tracks.iter().map(|track| (track.track, track.codec, shape(track.track)));
        let mut part = Self::new((writer, file), name, entry.start_us, tracks, now);
        for (index, track) in part.tracks.iter_mut().enumerate() {
            track.last_ms = part.writer.last_ms(index);
            if let Some(mark) = marked(track.number) {
                (track.frames, track.keyframes) = (mark.frames, mark.keyframes);
                track.progress.clone_from(&mark.progress);
            }
        }
        part
    }

    /// Tells how far it has come, where `progress` says that of its tracks: everything up to there was flushed, and nothing behind it.
    pub(super) fn mark(&mut self, progress: impl Fn(TrackNumber) -> Option<Progress>) -> io::Result<()> {
        self.save_mark(progress, None)
    }

    /// The same of a file that begins, of which nobody else knows yet.
    pub(super) fn mark_first(&mut self, entry: FileEntry) -> io::Result<()> {
        self.save_mark(|_| None, Some(entry))
    }

    fn save_mark(
        &mut self,
        progress: impl Fn(TrackNumber) -> Option<Progress>,
        entry: Option<FileEntry>,
    ) -> io::Result<()> {
        let tracks = self.tracks.iter_mut().map(|track| {
            // Of a track that is over, or that this recorder was not told of yet, what was said last holds.
            track.progress = progress(track.number).or_else(|| track.progress.take());
            TrackMark {
                number: track.number,
                shape: track.shape.clone(),
                frames: track.frames,
                keyframes: track.keyframes,
                progress: track.progress.clone(),
            }
        });
        self.mark.save(self.writer.flushed(), tracks.collect(), entry)
    }

    /// How long it has been open.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Whether it is long or large enough.
    pub(super) fn is_full(&self, limits: PartLimits) -> bool {
        let length = Duration::from_millis(self.writer.duration_ms());
        limits.length.is_some_and(|most| length >= most) || limits.bytes.is_some_and(|most| self.writer.bytes() >= most)
    }

    /// Whether the file has this track.
    pub(super) fn has(&self, number: TrackNumber) -> bool {
        self.tracks.iter().any(|track| track.number == number)
    }

    /// Whether the file has the frame's track, and its head fits it: H.264 has its parameter sets there and nowhere else.
    pub(super) fn takes(&self, timed: &Timed) -> bool {
        let track = self.tracks.iter().find(|track| track.number == timed.track);
        let fits = |track: &PartTrack| match &timed.frame.shape {
            Some(shape) if track.codec == Codec::H264 => *shape == track.shape,
            _ => true,
        };
        track.is_some_and(fits)
    }

    /// Queues a frame that the file takes, and writes what is due.
    pub(super) fn push(&mut self, timed: Timed, now: Instant) -> io::Result<()> {
        let Some(track) = self.tracks.iter_mut().find(|track| track.number == timed.track) else { return Ok(()) };
        let ms = (timed.at_us.saturating_sub(self.start_us) + 500) / 1000;
        let ms = ms.max(track.last_ms.map_or(0, |last| last + 1));
        track.last_ms = Some(ms);
        track.last_heard = Some(now);
        self.queued_bytes += timed.frame.data.len();
        track.queue.push_back(Queued { ms, since: now, timed });
        self.drain(now)
    }

    /// Writes frames in the order of their times, as far as no track that is being heard can still bring an earlier one.
    pub(super) fn drain(&mut self, now: Instant) -> io::Result<()> {
        let within = |since: Instant, span: Duration| now.saturating_duration_since(since) < span;
        while let Some(index) = self.earliest() {
            let may_wait = self.tracks[index].queue.front().is_some_and(|queued| within(queued.since, INTERLEAVE));
            let heard = |track: &PartTrack| track.last_heard.is_some_and(|heard| within(heard, INTERLEAVE));
            let awaited = self.tracks.iter().any(|track| track.queue.is_empty() && heard(track));
            if may_wait && awaited && self.queued_bytes < MAX_QUEUED {
                break;
            }
            self.write_first(index)?;
        }
        Ok(())
    }

    /// Hands everything written to the operating system; adds the frames that are done with.
    pub(super) fn flush(&mut self, done: &mut Vec<Done>) -> io::Result<()> {
        self.writer.flush().inspect_err(|_| self.broken = true)?;
        done.append(&mut self.unflushed);
        self.writer.catch_up();
        Ok(())
    }

    /// Enters how far it has come.
    pub(super) fn report(&self, archive: &mut Archive) {
        archive.grown(&self.name, self.writer.bytes(), self.writer.duration_ms());
    }

    /// Writes what is queued and completes the file.
    pub(super) fn finish(mut self, archive: &mut Archive, done: &mut Vec<Done>) -> io::Result<()> {
        let mut written = Ok(());
        // Behind something that could not be written nothing more is: there would be a hole that nobody is told of.
        while let Some(index) = self.earliest().filter(|_| written.is_ok() && !self.broken) {
            written = self.write_first(index);
        }
        // What could not be written is cut off; the rest becomes a complete file.
        let written = written.and(self.writer.flush());
        let end_us = self.start_us + self.writer.duration_ms() * 1000;
        let finished = self.writer.finish()?;
        let counts = match self.broken || written.is_err() {
            true => archive.count_frames(&self.name)?,
            false => {
                done.append(&mut self.unflushed);
                self.tracks.iter().map(|track| (track.frames, track.keyframes)).collect()
            }
        };
        archive.closed(&self.name, finished, i64::try_from(end_us).unwrap_or(i64::MAX), |entry| {
            for (track, count) in entry.tracks.iter_mut().zip(counts) {
                (track.frames, track.keyframes) = count;
            }
        })?;
        written
    }

    fn earliest(&self) -> Option<usize> {
        let heads = self.tracks.iter().enumerate().filter_map(|(index, track)| Some((track.queue.front()?.ms, index)));
        heads.min().map(|(_, index)| index)
    }

    fn write_first(&mut self, index: usize) -> io::Result<()> {
        let track = &mut self.tracks[index];
        let Some(Queued { ms, timed, .. }) = track.queue.pop_front() else { return Ok(()) };
        self.queued_bytes -= timed.frame.data.len();
        let written = self.writer.write(index, ms, timed.frame.keyframe, &timed.frame.data);
        written.inspect_err(|_| self.broken = true)?;
        track.frames += 1;
        track.keyframes += u64::from(timed.frame.keyframe);
        self.unflushed.push(timed.done(true));
        Ok(())
    }
}

/// How long a frame waits for an earlier one of another track, and a track that was not heard for so long is not waited for.
const INTERLEAVE: Duration = Duration::from_millis(300);
/// A file's queue is written in any case when it is this long, in bytes.
const MAX_QUEUED: usize = 8 << 20;
