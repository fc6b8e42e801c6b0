//! The loop that owns all sessions. It waits only for inputs and for disks.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::RecordingId;
use lockgate_model::carrier::{
    AddTrack, Frame, FromRecorder, SessionState, StartSession, ToRecorder, TrackNumber, encode_message,
};

use super::{Input, Outlet};
use crate::archive::Durable;
use crate::config::Config;
use crate::session::{Left, Outbox, PartLimits, Session};

/// Sessions, and the way back to the node.
pub(super) struct Engine {
    root: PathBuf,
    limits: PartLimits,
    durable: Durable,
    sessions: HashMap<RecordingId, Session>,
    routes: HashMap<TrackNumber, RecordingId>,
    early: Early,
    /// Where sessions were when the node went away, and what they were begun with.
    left: HashMap<RecordingId, (StartSession, Left)>,
    node: Option<Node>,
    out: Outbox,
    next_tick: Instant,
    next_stats: Instant,
    /// When what earlier runs left open is mended, if no node says before what of it goes on.
    sweep: Option<Instant>,
}

struct Node {
    control: Outlet,
    data: Vec<Outlet>,
}

impl Engine {
    pub(super) fn new(config: &Config, durable: Durable) -> Self {
        let now = Instant::now();
        Self {
            root: config.directory.clone(),
            limits: PartLimits { length: config.part_length, bytes: config.part_size },
            durable,
            sessions: HashMap::new(),
            routes: HashMap::new(),
            early: Early::default(),
            left: HashMap::new(),
            node: None,
            out: Outbox::default(),
            next_tick: now,
            next_stats: now,
            sweep: Some(now + NODE_WITHIN),
        }
    }

    /// Runs until it is told to end; then all files are closed.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            match inputs.recv_timeout(self.next_tick.saturating_duration_since(Instant::now())) {
                Ok(Input::Terminate) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.on_input(input, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tick(Instant::now());
            self.send();
        }
        self.interrupt(Instant::now());
        self.send();
    }

    fn on_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Attached { control, data } => self.node = Some(Node { control, data }),
            Input::Control(message) => self.on_control(message, now),
            Input::Media { bytes, frames } => {
                frames.into_iter().for_each(|range| self.on_media(&bytes.slice(range), now));
            }

            Input::Detached => self.on_detached(now),
            Input::Terminate => {}
        }
    }

    fn on_control(&mut self, message: ToRecorder, now: Instant) {
        match message {
            ToRecorder::StartSession(start) => self.on_start(start, now),
            ToRecorder::AddTrack(add) => self.on_add(add, now),
            ToRecorder::RemoveTrack { session, track } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.remove_track(track, now);
                }
            }
            ToRecorder::StopSession { session } => self.on_stop(session, now),
            ToRecorder::SessionsTold => self.on_told(now),
            ToRecorder::Ping { id } => self.out.say(FromRecorder::Pong { id }),
        }
    }

    fn on_start(&mut self, start: StartSession, now: Instant) {
        let id = start.session.clone();
        if let Some(session) = self.sessions.get_mut(&id) {
            return session.repeat_state(&mut self.out);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            // A node need not stop what has failed.
            self.sessions.retain(|_, session| !session.has_failed());
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return self.refuse(id, "the recorder has as many sessions as it takes");
        }
        let left = self.left.remove(&id).filter(|(before, _)| *before == start).map(|(_, left)| left);
        let (durable, left) = (self.durable.clone(), left.unwrap_or_default());
        match Session::open(&self.root, start, durable, self.limits, left, now, &mut self.out) {
            Ok(session) => {
                tracing::info!(session = %id, "recording");
                self.sessions.insert(id, session);
            }
            Err(error) => {
                tracing::error!(session = %id, %error, folder = %self.root.display(), "a recording cannot begin");
                self.refuse(id, &format!("the folder of the session cannot be written: {error}"));
            }
        }
    }

    /// What earlier runs left open and the node did not speak of ends here.
    fn on_told(&mut self, now: Instant) {
        self.sessions.values_mut().for_each(|session| session.all_told(now, &mut self.out));
        if self.sweep.take().is_some() {
            self.durable.sweep();
        }
    }

    fn on_add(&mut self, add: AddTrack, now: Instant) {
        let (number, id) = (add.number, add.session.clone());
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if self.routes.len() >= MAX_TRACKS || self.routes.contains_key(&number) {
            return tracing::warn!(session = %id, track = %number, "a track is not taken: too many, or its number is in use");
        }
        session.add_track(add, now);
        self.routes.insert(number, id);
        for frame in self.early.take(number) {
            self.on_media(&frame, now);
        }
    }

    fn on_stop(&mut self, id: RecordingId, now: Instant) {
        match self.sessions.get_mut(&id) {
            Some(session) if session.has_failed() => {
                session.repeat_state(&mut self.out);
                self.sessions.remove(&id);
            }
            Some(session) => session.stop(now),
            None => self.refuse(id, "there is no such session here"),
        }
    }

    fn on_media(&mut self, bytes: &Bytes, now: Instant) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%error, "the node sends what is no frame; its connections are closed");
                // The readers see it, and attach again.
                self.node = None;
                return;
            }
        };
        match self.routes.get(&frame.track()).and_then(|id| self.sessions.get_mut(id)) {
            Some(session) => session.media(frame, bytes, now, &mut self.out),
            None => self.early.hold(frame.track(), bytes, now),
        }
    }

    /// What the node sent is all here; its sessions may be taken up again when it is back.
    fn on_detached(&mut self, now: Instant) {
        self.node = None;
        self.interrupt(now);
        self.out = Outbox::default();
    }

    fn interrupt(&mut self, now: Instant) {
        // Only of the last time: older ones nobody goes on with.
        self.left.clear();
        for (id, mut session) in self.sessions.drain() {
            let left = session.interrupt(now, &mut self.out);
            self.left.insert(id, (session.start().clone(), left));
        }
        self.routes.clear();
        self.early = Early::default();
    }

    fn refuse(&mut self, session: RecordingId, reason: &str) {
        let reason = Some(reason.to_owned());
        self.out.say(FromRecorder::State { session, state: SessionState::Failed, reason, files: Vec::new() });
    }

    fn tick(&mut self, now: Instant) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        if self.sweep.take_if(|due| now >= *due).is_some() {
            self.durable.sweep();
        }
        for session in self.sessions.values_mut() {
            session.tick(now, &mut self.out);
        }
        self.sessions.retain(|_, session| !session.is_over());
        self.early.expire(now);
        if now >= self.next_stats {
            self.next_stats = now + STATS;
            self.report();
        }
    }

    fn report(&mut self) {
        let sessions = &self.sessions;
        self.routes.retain(|track, id| sessions.get(id).is_some_and(|session| session.has_track(*track)));
        let stats: Vec<_> = self.sessions.values().flat_map(Session::stats).collect();
        for tracks in stats.chunks(STATS_IN_ONE) {
            self.out.say(FromRecorder::Stats { tracks: tracks.to_vec() });
        }
    }

    fn send(&mut self) {
        let Some(node) = &mut self.node else {
            self.out = Outbox::default();
            return;
        };
        node.control.flush();
        for message in self.out.control.drain(..) {
            let mut bytes = Vec::new();
            match encode_message(&message, &mut bytes) {
                Ok(()) => node.control.send(&bytes),
                Err(error) => tracing::error!(%error, "a message cannot be sent"),
            }
        }
        for (worker, acks) in std::mem::take(&mut self.out.acks) {
            let Some(outlet) = node.data.get_mut(worker as usize) else { continue };
            outlet.flush();
            // A later one says more: what a node does not read need not be kept for it.
            if outlet.is_clear() {
                outlet.send(&acks);
            }
        }
    }
}

/// Frames that came before their track was announced: control and data travel apart.
#[derive(Default)]
struct Early {
    frames: VecDeque<(TrackNumber, Bytes, Instant)>,
    bytes: usize,
}

impl Early {
    /// The oldest go when there are too many.
    fn hold(&mut self, track: TrackNumber, frame: &Bytes, now: Instant) {
        // A copy: a slice would keep its whole batch.
        self.frames.push_back((track, Bytes::copy_from_slice(frame), now));
        self.bytes += frame.len();
        while self.bytes > MAX_EARLY {
            self.drop_oldest();
        }
    }

    fn take(&mut self, track: TrackNumber) -> Vec<Bytes> {
        let (taken, rest) = std::mem::take(&mut self.frames).into_iter().partition::<VecDeque<_>, _>(|f| f.0 == track);
        self.frames = rest;
        let taken: Vec<_> = taken.into_iter().map(|(_, frame, _)| frame).collect();
        self.bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        taken
    }

    fn expire(&mut self, now: Instant) {
        while self.frames.front().is_some_and(|(_, _, since)| now.saturating_duration_since(*since) > EARLY) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, frame, _)) = self.frames.pop_front() {
            self.bytes -= frame.len();
        }
    }
}

/// Files are flushed, waits looked at and words said this often.
const TICK: Duration = Duration::from_millis(100);
/// A node gives its sessions up when no recorder came for 15 s: what was left open goes on within that time or never.
const NODE_WITHIN: Duration = Duration::from_secs(20);
const STATS: Duration = Duration::from_secs(2);
/// A message may have 256 KiB, an entry has less than 200 bytes.
const STATS_IN_ONE: usize = 1000;
const MAX_SESSIONS: usize = 4096;
const MAX_TRACKS: usize = 32_768;
/// What may wait for its announcement, in bytes, and for how long.
const MAX_EARLY: usize = 8 << 20;
const EARLY: Duration = Duration::from_secs(5);
