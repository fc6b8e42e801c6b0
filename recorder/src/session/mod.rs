//! One recorded session: its tracks, the clocks that align them, the files they go to.
//!
//! The engine feeds it messages and media and asks it, ten times a second, for what is due. It writes files and nothing else;
//! what it has to say goes into an [`Outbox`].

mod ending;
mod files;
mod gaps;
mod group;
mod notes;
mod outbox;
mod part;
mod timed;
mod track;
mod voice;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use lockgate_model::carrier::{
    AddTrack, Frame, FromRecorder, NodeTime, SessionState, StartSession, TrackNumber, TrackStats,
};
use lockgate_model::{PublisherId, TrackId};

use crate::archive::{self, Archive, Durable, Event, LeftOpen, Manifest, Opened, Progress, report_swept};
use crate::clock::PublisherClock;
use group::Group;
pub(crate) use group::PartLimits;
use notes::Notes;
pub(crate) use outbox::Outbox;
use track::Track;

/// Tracks by their numbers, and where another recorder was with them, if it had begun with them.
pub(crate) type Left = HashMap<TrackNumber, (TrackId, Option<Progress>)>;

/// A session that is being recorded, or that failed and was not yet stopped.
pub(crate) struct Session {
    start: StartSession,
    archive: Archive,
    tracks: HashMap<TrackNumber, Track>,
    clocks: HashMap<PublisherId, PublisherClock>,
    groups: BTreeMap<(PublisherId, archive::Group), Group>,
    state: State,
    due_each_second: Instant,
    limits: PartLimits,
    /// Where another recorder was with tracks that the node has not told of yet.
    left: Left,
    notes: Notes,
    /// The latest moment of the node's timeline that is known: what events are dated with.
    clock: NodeTime,
}

#[derive(Debug)]
enum State {
    Starting,
    Recording,
    /// Asked to stop; waits for what is still on its way.
    Stopping,
    /// It ended as it was asked to.
    Stopped,
    Failed(String),
}

impl Session {
    /// Makes the session's folder, or goes on with it; `before` is where its tracks were when this process was interrupted in it.
    pub(crate) fn open(
        root: &Path,
        start: StartSession,
        durable: Durable,
        limits: PartLimits,
        before: Left,
        now: Instant,
        out: &mut Outbox,
    ) -> io::Result<Self> {
        let Opened { archive, left, swept } = Archive::open(root, &start, durable)?;
        report_swept(&swept);
        let clock = latest(&start, archive.manifest(), &left, &before);
        let mut session = Self {
            start,
            archive,
            tracks: HashMap::new(),
            clocks: HashMap::new(),
            groups: BTreeMap::new(),
            state: State::Starting,
            due_each_second: now,
            limits,
            left: before,
            notes: Notes::new(now),
            clock,
        };
        session.archive.note(session.at_us(), Event::Session { epoch: session.start.epoch });
        session.archive.flush()?;
        for left in left {
            session.take_over(left, now)?;
        }
        session.tell(SessionState::Starting, None, out);
        Ok(session)
    }

    /// Goes on with a file that another recorder left open.
    fn take_over(&mut self, left: LeftOpen, now: Instant) -> io::Result<()> {
        tracing::info!(session = %self.start.session, file = left.name, "goes on where another recorder was");
        self.archive.note(self.at_us(), Event::Resumed { file: &left.name });
        for entry in &left.entry.tracks {
            let marked = left.mark.tracks.iter().find(|track| track.number == entry.track);
            let progress = marked.and_then(|track| track.progress.clone());
            self.left.insert(entry.track, (entry.track_id.clone(), progress));
        }
        let key = (left.entry.publisher_id, left.entry.group);
        let group = self.groups.entry(key).or_insert_with(|| Group::new(key, self.limits));
        group.take_over(left, &mut self.archive, now)
    }

    /// The node has told of all tracks: files of others do not go on.
    pub(crate) fn all_told(&mut self, now: Instant, out: &mut Outbox) {
        self.left.clear();
        let mut closed = Ok(());
        self.groups.retain(|_, group| {
            let deserted = group.is_deserted();
            if deserted && closed.is_ok() {
                closed = group.close(&mut self.archive, now);
            }
            !deserted
        });
        if let Err(error) = closed {
            self.fail(&error.to_string(), now, out);
        }
    }

    /// A track joins.
    pub(crate) fn add_track(&mut self, add: AddTrack, now: Instant) {
        if matches!(self.state, State::Stopping | State::Stopped | State::Failed(_)) {
            return;
        }
        let left = self.left.remove(&add.number).filter(|(track, _)| *track == add.track_id);
        let key = key_of(&add);
        let group = self.groups.entry(key).or_insert_with(|| Group::new(key, self.limits));
        if left.is_none() && group.knows(add.number) {
            return tracing::warn!(track = %add.number, "a track is not taken: its number was used before");
        }
        group.join(add.clone());
        let number = add.number;
        let track = match left {
            Some((_, Some(progress))) => {
                let clock = self.clocks.entry(add.publisher_id).or_default();
                Track::resume(add, progress, clock, now)
            }
            _ => {
                self.archive.note(self.at_us(), Event::Track(&add));
                Track::new(add, now)
            }
        };
        self.tracks.insert(number, track);
    }

    /// A track is over; what is on its way is waited for.
    pub(crate) fn remove_track(&mut self, number: TrackNumber, now: Instant) {
        if let Some(track) = self.tracks.get_mut(&number) {
            track.ending(now);
        }
    }

    /// The session is to end; what is on its way is waited for.
    pub(crate) fn stop(&mut self, now: Instant) {
        if matches!(self.state, State::Stopped | State::Failed(_)) {
            return;
        }
        self.state = State::Stopping;
        self.tracks.values_mut().for_each(|track| track.ending(now));
    }

    /// A media frame of one of its tracks, which lies in `batch`.
    pub(crate) fn media(&mut self, frame: Frame<'_>, batch: &Bytes, now: Instant, out: &mut Outbox) {
        let track = self.tracks.get_mut(&frame.track()).filter(|track| !track.has_left());
        let Some(track) = track else { return };
        let clock = self.clocks.entry(track.add.publisher_id).or_default();
        let mut frames = Vec::new();
        match frame {
            Frame::Rtp { seq, arrival, packet, .. } => {
                track.on_rtp(seq, arrival, batch.slice_ref(packet), now, clock, &mut frames);
                self.clock = self.clock.max(arrival);
                self.note_wall(now);
            }
            Frame::SenderReport { ssrc, report, .. } => track.on_report(ssrc, report, clock),
            Frame::Layer { .. } => {
                track.on_layer(frame, now, clock, &mut frames);
                let Frame::Layer { track, new_ssrc, .. } = frame else { return };
                self.archive.note(self.at_us(), Event::Layer { track, ssrc: new_ssrc });
            }
            Frame::Gap { ssrc, from, to, reason, .. } => {
                track.on_gap(ssrc, from, to, reason);
                track.release(now, clock, &mut frames);
            }
            Frame::End { .. } => track.on_end(now, clock, &mut frames),
            Frame::Ack { .. } => {}
        }
        self.deliver(frames, now, out);
    }

    /// Does what is due: waits that are over, bytes that are to be written, words that are to be said.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Outbox) {
        if matches!(self.state, State::Stopped | State::Failed(_)) {
            return;
        }
        let mut frames = Vec::new();
        for track in self.tracks.values_mut() {
            let clock = self.clocks.entry(track.add.publisher_id).or_default();
            track.release(now, clock, &mut frames);
        }
        self.deliver(frames, now, out);
        if self.has_failed() {
            return;
        }
        if let Err(error) = self.tick_files(now, out) {
            return self.fail(&error.to_string(), now, out);
        }
        self.ask_for_keyframes(now, out);
        if let Err(error) = self.mark() {
            return self.fail(&error.to_string(), now, out);
        }
        self.acknowledge(out);
        self.forget_tracks(now);
        if matches!(self.state, State::Stopping) && self.tracks.is_empty() {
            self.finish(now, out);
        }
    }

    /// Says again how it stands.
    pub(crate) fn repeat_state(&mut self, out: &mut Outbox) {
        match &self.state {
            State::Starting => self.tell(SessionState::Starting, None, out),
            State::Recording | State::Stopping => self.tell(SessionState::Recording, None, out),
            State::Stopped => self.tell(SessionState::Stopped, None, out),
            State::Failed(reason) => {
                let reason = reason.clone();
                self.tell(SessionState::Failed, Some(reason), out);
            }
        }
    }

    /// What it was begun with.
    pub(crate) fn start(&self) -> &StartSession {
        &self.start
    }

    /// Whether a track is being recorded here.
    pub(crate) fn has_track(&self, number: TrackNumber) -> bool {
        self.tracks.contains_key(&number)
    }

    /// Whether it ended as it was asked to.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Whether it failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    /// What happened to its tracks.
    pub(crate) fn stats(&self) -> impl Iterator<Item = TrackStats> + '_ {
        self.tracks.values().map(Track::stats)
    }

    fn ask_for_keyframes(&mut self, now: Instant, out: &mut Outbox) {
        let at = self.at_us();
        for (number, track) in &mut self.tracks {
            let file_waits = self.groups.get(&key_of(&track.add)).is_some_and(|group| group.wants_keyframe(*number));
            if track.asks_for_keyframe(file_waits, now) {
                self.archive.note(at, Event::KeyframeRequest { track: *number });
                out.say(FromRecorder::Pli { track: *number });
            }
        }
    }

    fn tell(&mut self, state: SessionState, reason: Option<String>, out: &mut Outbox) {
        self.groups.values().for_each(|group| group.report(&mut self.archive));
        let mut files = self.archive.manifest().recorded_files();
        files.drain(..files.len().saturating_sub(MOST_FILES_TOLD));
        out.say(FromRecorder::State { session: self.start.session.clone(), state, reason, files });
    }

    fn at_us(&self) -> i64 {
        self.clock.micros_since(self.start.started)
    }
}

/// Which files a track goes to.
fn key_of(add: &AddTrack) -> (PublisherId, archive::Group) {
    (add.publisher_id, archive::Group::of(add.source))
}

/// The latest moment that is known of a session when it begins or goes on.
fn latest(start: &StartSession, manifest: &Manifest, left: &[LeftOpen], before: &Left) -> NodeTime {
    let ends = manifest.files.iter().map(|file| file.start_us.saturating_add(file.duration_ms.saturating_mul(1000)));
    let complete = start.started.0.saturating_add(ends.max().unwrap_or(0));
    let marked = left.iter().flat_map(|left| &left.mark.tracks).filter_map(|track| track.progress.as_ref());
    let known = before.values().filter_map(|(_, progress)| progress.as_ref());
    let last = marked.chain(known).filter_map(|progress| progress.last).max();
    last.unwrap_or_default().max(NodeTime(complete))
}

/// A message has room for so many files and more; the latest are told. `session.json` has them all.
const MOST_FILES_TOLD: usize = 1000;

#[cfg(test)]
mod tests;
