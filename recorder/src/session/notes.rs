//! What a session says of itself in `events.jsonl` while it runs.

use std::time::{Duration, Instant};

use lockgate_model::carrier::NodeTime;

use super::Session;
use super::gaps::Gap;
use super::track::Track;
use crate::archive::{Event, now_micros};

/// When something is to be said again.
#[derive(Debug)]
pub(super) struct Notes {
    clocks: Instant,
    wall: Instant,
}

impl Notes {
    pub(super) fn new(now: Instant) -> Self {
        Self { clocks: now + EACH_MINUTE, wall: now }
    }
}

impl Session {
    /// Media of this moment came in just now: once a minute, says what a clock on the wall shows then.
    pub(super) fn note_wall(&mut self, now: Instant) {
        if now < self.notes.wall {
            return;
        }
        self.notes.wall = now + EACH_MINUTE;
        self.archive.note(self.at_us(), Event::wall(now_micros()));
    }

    /// What was missed, who spoke, and once a minute how the senders' clocks run.
    pub(super) fn note_tracks(&mut self, now: Instant) {
        let at = self.at_us();
        let clocks = now >= self.notes.clocks;
        if clocks {
            self.notes.clocks = now + EACH_MINUTE;
        }
        let since = |moment: NodeTime| moment.micros_since(self.start.started).max(0) as u64 / 1000;
        for track in self.tracks.values_mut() {
            let (number, publisher) = (track.add.number, track.add.publisher_id);
            for Gap { reason, packets, from, to } in track.take_gaps() {
                let (from_ms, to_ms) = (from.map(since), to.map(since));
                self.archive.note(at, Event::Gap { track: number, packets, reason, from_ms, to_ms });
            }
            for (from, to) in track.take_speech(self.clock) {
                let (from_ms, to_ms) = (since(from), since(to));
                self.archive.note(at, Event::Speech { track: number, publisher_id: publisher, from_ms, to_ms });
            }
            if let Some((ppm, residual_us)) = track.clock().filter(|_| clocks) {
                self.archive.note(at, Event::Clock { track: number, ppm, residual_us });
            }
        }
    }

    /// Everything ends here: what is not said yet of the tracks, and that they are over.
    pub(super) fn end_notes(&mut self, now: Instant) {
        self.tracks.values_mut().for_each(Track::end_notes);
        self.note_tracks(now);
        let at = self.at_us();
        self.tracks.values().for_each(|track| self.archive.note(at, track.end_event()));
    }
}

const EACH_MINUTE: Duration = Duration::from_secs(60);
