//! What a session's frames become: files, what is told of them, and what is acknowledged.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use lockgate_model::carrier::{NodeTime, SessionState, StartSession, TrackNumber};

use super::group::Group;
use super::outbox::Outbox;
use super::timed::{Done, Timed};
use super::track::Track;
use super::{Session, State, key_of};
use crate::archive::Event;

impl Session {
    pub(super) fn deliver(&mut self, frames: Vec<Timed>, now: Instant, out: &mut Outbox) {
        for timed in frames {
            if let Err(error) = self.hand_on(timed, now) {
                return self.fail(&error.to_string(), now, out);
            }
        }
    }

    /// Gives a frame its place on the session's timeline and to its group's files.
    fn hand_on(&mut self, mut timed: Timed, now: Instant) -> io::Result<()> {
        let at = self.at_us();
        let Some(track) = self.tracks.get_mut(&timed.track) else { return Ok(()) };
        timed.at_us = session_time(timed.at, &self.start);
        if let Some((width, height)) = track.new_size(&timed.frame) {
            self.archive.note(at, Event::Resolution { track: timed.track, width, height });
        }
        let group = self.groups.get_mut(&key_of(&track.add));
        group.map_or(Ok(()), |group| group.take(timed, &mut self.archive, now))
    }

    pub(super) fn tick_files(&mut self, now: Instant, out: &mut Outbox) -> io::Result<()> {
        for group in self.groups.values_mut() {
            group.tick(&mut self.archive, now)?;
        }
        // A file that began is known before it has content: what nobody knows would not go on.
        self.archive.flush()?;
        for group in self.groups.values_mut() {
            note_written(&mut self.tracks, group.flush()?);
        }
        if matches!(self.state, State::Starting) && self.groups.values().any(Group::is_open) {
            self.state = State::Recording;
            self.tell(SessionState::Recording, None, out);
        }
        self.end_tracks(now)?;
        if now >= self.due_each_second {
            self.due_each_second = now + Duration::from_secs(1);
            self.check_disk()?;
            self.note_tracks(now);
        }
        self.archive.flush()
    }

    /// Takes tracks that are over out of their groups, and closes the files that no track is left for.
    fn end_tracks(&mut self, now: Instant) -> io::Result<()> {
        let over: Vec<_> =
            self.tracks.iter().filter(|(_, track)| track.is_over(now)).map(|(number, _)| *number).collect();
        for number in over {
            let Some(track) = self.tracks.get_mut(&number) else { continue };
            let clock = self.clocks.entry(track.add.publisher_id).or_default();
            let mut frames = Vec::new();
            track.on_end(now, clock, &mut frames);
            for timed in frames {
                self.hand_on(timed, now)?;
            }
            self.note_tracks(now);
            self.leave(number, now)?;
        }
        Ok(())
    }

    fn leave(&mut self, number: TrackNumber, now: Instant) -> io::Result<()> {
        let Some(track) = self.tracks.get_mut(&number) else { return Ok(()) };
        track.leave(now);
        let key = key_of(&track.add);
        let Some(group) = self.groups.get_mut(&key) else { return Ok(()) };
        if group.leave(number, &mut self.archive, now)? {
            note_written(&mut self.tracks, group.flush()?);
            self.groups.remove(&key);
            // Everything that came of the group is in a file now, or was given up.
            self.tracks.values_mut().filter(|track| key_of(&track.add) == key).for_each(Track::settle);
        }
        Ok(())
    }

    /// Forgets tracks that have left and whose last acknowledgement is out.
    pub(super) fn forget_tracks(&mut self, now: Instant) {
        let at = self.at_us();
        let done: Vec<_> =
            self.tracks.iter().filter(|(_, track)| track.is_done(now)).map(|(number, _)| *number).collect();
        for number in done {
            let Some(track) = self.tracks.remove(&number) else { continue };
            self.archive.note(at, track.end_event());
            let publisher = track.add.publisher_id;
            if !self.tracks.values().any(|track| track.add.publisher_id == publisher) {
                self.clocks.remove(&publisher);
            }
        }
    }

    fn check_disk(&self) -> io::Result<()> {
        match self.archive.free_bytes() {
            Ok(free) if free < RESERVE => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the disk is nearly full: {} MiB are left, {} MiB are kept free", free >> 20, RESERVE >> 20),
            )),
            _ => Ok(()),
        }
    }

    /// Tells beside the open files how far they have come: what is acknowledged now, no recorder gets again.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        let (tracks, clocks) = (&self.tracks, &self.clocks);
        for ((publisher, _), group) in &mut self.groups {
            let clock = clocks.get(publisher);
            group.mark(|number| tracks.get(&number).and_then(|track| track.progress(clock)))?;
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, out: &mut Outbox) {
        for track in self.tracks.values_mut() {
            if let Some(ack) = track.ack() {
                out.acknowledge(track.add.worker, ack);
            }
        }
    }

    pub(super) fn close_all(&mut self, now: Instant) -> io::Result<()> {
        let mut result = Ok(());
        for group in self.groups.values_mut() {
            // One file that cannot be closed must not keep the others open.
            let closed = group.close(&mut self.archive, now);
            let written = group.flush().map(|done| note_written(&mut self.tracks, done));
            result = closed.and(written).and(result);
        }
        self.groups.clear();
        result
    }
}

/// Frames are in files, or were given up.
fn note_written(tracks: &mut HashMap<TrackNumber, Track>, done: Vec<Done>) {
    for done in done {
        if let Some(track) = tracks.get_mut(&done.track) {
            track.on_written(&done);
        }
    }
}

/// A moment on the session's timeline; what lies before its start counts as its start.
fn session_time(at: NodeTime, start: &StartSession) -> u64 {
    u64::try_from(at.micros_since(start.started)).unwrap_or(0)
}

/// So much of the disk is left free, so that open files can still be ended and the rest of the machine lives, in bytes.
const RESERVE: u64 = 64 << 20;
