//! The hub: which recorder is attached, which sessions run, and what it must hear when it comes back.

mod telling;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::carrier::{
    AddTrack, BindingToken, FromRecorder, Hello, PROTOCOL, Refusal, Role, SessionState, StartSession, ToRecorder,
    TrackNumber, TrackStats, Welcome,
};
use lockgate_model::{RecordingId, RecordingState, RoomName, TrackId};
use lockgate_room::{Input, RecorderReport};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::door::{Connection, Conversation, refuse, wrong};
use super::wire::{Messages, write};
use super::{NewTrack, Recorders, ToHub};
use crate::node::{Ending, Node, wall_clock_ms};
use crate::rooms::ToRoom;

/// The hub's state.
pub(crate) struct Hub {
    node: Arc<Node>,
    inbox: mpsc::Receiver<ToHub>,
    recorders: Recorders,
    attached: Option<Attached>,
    sessions: HashMap<RecordingId, Session>,
    next_number: u32,
    attachments: u64,
    conversations: JoinSet<()>,
    /// Data connections of workers that are gone: a recorder that lost one would take the node for gone, and the other workers' media.
    idle: Vec<UnixStream>,
    /// Sessions fail when no recorder is back by then.
    give_up: Option<Instant>,
}

struct Attached {
    /// Which one it is: the words of an earlier one count no more.
    number: u64,
    to: mpsc::Sender<ToRecorder>,
    token: BindingToken,
    software: String,
    /// What it said last of the tracks.
    stats: HashMap<TrackNumber, TrackStats>,
}

/// A session that runs, or whose files are being closed.
struct Session {
    start: StartSession,
    inbox: mpsc::Sender<ToRoom>,
    tracks: HashMap<TrackId, AddTrack>,
    /// Those that are over, and since when: what is kept of them may still have to be written.
    over: VecDeque<(AddTrack, Instant)>,
    stopping: bool,
    /// Its files that were told of as complete.
    closed: HashSet<String>,
    /// Ends what watches over the room.
    _over: oneshot::Sender<()>,
}

impl Hub {
    pub(crate) fn new(node: Arc<Node>, recorders: Recorders, inbox: mpsc::Receiver<ToHub>) -> Self {
        let (sessions, conversations) = (HashMap::new(), JoinSet::new());
        Self {
            node,
            inbox,
            recorders,
            attached: None,
            sessions,
            next_number: 0,
            attachments: 0,
            conversations,
            idle: Vec::new(),
            give_up: None,
        }
    }

    /// Runs until the node ends.
    pub(crate) async fn run(mut self, mut ending: Ending) {
        loop {
            let give_up = self.give_up;
            tokio::select! {
                Some(message) = self.inbox.recv() => self.on_message(message).await,
                Some(_) = self.conversations.join_next(), if !self.conversations.is_empty() => {}
                () = async { sleep_until(give_up.unwrap_or_else(Instant::now)).await }, if give_up.is_some() => self.on_given_up(),
                () = ending.comes(), if self.sessions.is_empty() => return,
            }
        }
    }

    async fn on_message(&mut self, message: ToHub) {
        match message {
            ToHub::Start { session, room, inbox, result } => {
                // A room that stopped waiting is over.
                let _ = result.send(self.on_start(session, room, inbox));
            }
            ToHub::Add { session, track, number } => {
                // A room that stopped waiting is over.
                let _ = number.send(self.on_add(&session, *track));
            }
            ToHub::Remove { session, track } => self.on_remove(&session, &track),
            ToHub::Stop { session } => self.on_stop(&session),
            ToHub::Connection(Connection::Hello { hello, stream, messages }) => {
                self.on_hello(hello, stream, *messages).await;
            }
            ToHub::Connection(Connection::Said(from, said)) if self.is_current(from) => self.on_said(said),
            ToHub::Connection(Connection::Ended(from)) if self.is_current(from) => self.on_ended(),
            // The last words of a recorder that was put out.
            ToHub::Connection(Connection::Said(..) | Connection::Ended(_)) => {}
            ToHub::IsAttached(reply) => drop(reply.send(self.attached.is_some())),
            ToHub::Look(reply) => drop(reply.send(self.overview())),
        }
    }

    // Rooms.

    fn on_start(
        &mut self,
        session: RecordingId,
        room: RoomName,
        inbox: mpsc::Sender<ToRoom>,
    ) -> Result<(), &'static str> {
        if self.attached.is_none() {
            return Err("no recorder is attached");
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return Err("too many recordings run already");
        }
        let start = StartSession {
            session: session.clone(),
            room,
            started_at_us: wall_clock_ms() * 1000,
            started: self.node.time(),
            epoch: 0,
        };
        let (over, is_over) = oneshot::channel();
        self.conversations.spawn(stop_with_room(self.recorders.clone(), session.clone(), inbox.clone(), is_over));
        let fresh = Session {
            start: start.clone(),
            inbox,
            tracks: HashMap::new(),
            over: VecDeque::new(),
            stopping: false,
            closed: HashSet::new(),
            _over: over,
        };
        self.sessions.insert(session, fresh);
        self.say(ToRecorder::StartSession(start));
        Ok(())
    }

    fn on_add(&mut self, id: &RecordingId, track: NewTrack) -> Option<TrackNumber> {
        let session = self.sessions.get_mut(id).filter(|session| !session.stopping)?;
        self.next_number += 1;
        let number = TrackNumber(self.next_number);
        let add = AddTrack {
            number,
            session: id.clone(),
            worker: track.facts.worker,
            publisher_id: track.publisher,
            user_id: track.identity.as_ref().map(|identity| identity.user_id),
            username: track.identity.map(|identity| identity.username).unwrap_or_default(),
            track_id: track.track.clone(),
            kind: track.facts.kind,
            source: track.facts.source,
            codec: track.facts.codec,
            clock_rate: track.facts.codec.clock_rate(),
            payload_type: track.facts.payload_type,
            fmtp: track.facts.fmtp,
            level_id: track.facts.level_id,
        };
        session.tracks.insert(track.track, add.clone());
        self.say(ToRecorder::AddTrack(add));
        Some(number)
    }

    fn on_remove(&mut self, id: &RecordingId, track: &TrackId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(add) = session.tracks.remove(track) else { return };
        let track = add.number;
        session.end_track(add);
        self.say(ToRecorder::RemoveTrack { session: id.clone(), track });
    }

    fn on_stop(&mut self, id: &RecordingId) {
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.stopping) else { return };
        session.stopping = true;
        for (_, add) in std::mem::take(&mut session.tracks) {
            session.end_track(add);
        }
        self.say(ToRecorder::StopSession { session: id.clone() });
    }

    // The recorder.

    async fn on_hello(&mut self, hello: Hello, mut stream: UnixStream, messages: Messages) {
        let workers = u32::try_from(self.node.workers.count()).unwrap_or(u32::MAX);
        if let Some((code, message)) = wrong(&hello, workers) {
            return refuse(&mut stream, code, &message).await;
        }
        match hello.role {
            Role::Control => self.attach(stream, messages, workers, &hello.software).await,
            Role::Data { worker, token } => self.attach_data(stream, worker, &token).await,
        }
    }

    async fn attach(&mut self, mut stream: UnixStream, messages: Messages, workers: u32, software: &str) {
        if self.attached.is_some() {
            return refuse(&mut stream, Refusal::Overloaded, "a recorder is attached already").await;
        }
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            return refuse(&mut stream, Refusal::Overloaded, "the node has no randomness").await;
        }
        let token = BindingToken::from_random(bytes);
        let welcome = accepted(workers, Some(token.clone()));
        if let Err(error) = write(&mut stream, &welcome).await {
            return tracing::warn!(%error, "a recorder was gone before it was welcome");
        }
        tracing::info!(software, "a recorder is attached");
        let known = self.everything();
        let (to, to_recorder) = mpsc::channel(MAX_UNSAID + known.len());
        self.attachments += 1;
        let conversation = Conversation { number: self.attachments, recorders: self.recorders.clone() };
        self.conversations.spawn(conversation.carry(stream, messages, to_recorder));
        let software = software.to_owned();
        self.attached = Some(Attached { number: self.attachments, to, token, software, stats: HashMap::new() });
        self.idle.clear();
        self.give_up = None;
        known.into_iter().for_each(|message| self.say(message));
    }

    async fn attach_data(&mut self, mut stream: UnixStream, worker: u32, token: &BindingToken) {
        if !self.attached.as_ref().is_some_and(|attached| attached.token == *token) {
            return refuse(
                &mut stream,
                Refusal::Unauthenticated,
                "the token belongs to no control connection that stands",
            )
            .await;
        }
        let handed_over = async {
            write(&mut stream, &accepted(0, None)).await?;
            if self.node.workers.is_gone(worker) {
                self.idle.push(stream);
                return Ok(());
            }
            self.node.workers.attach_recorder(worker, stream.into_std()?).await.map_err(std::io::Error::other)
        };
        if let Err(error) = handed_over.await {
            tracing::warn!(%error, worker, "a recorder's data connection could not be handed over");
        }
    }

    /// What a recorder that came back must hear: every session and its tracks, by the numbers that they had.
    fn everything(&self) -> Vec<ToRecorder> {
        let sessions = self.sessions.iter().flat_map(|(id, session)| session.everything(id));
        sessions.chain([ToRecorder::SessionsTold]).collect()
    }

    fn is_current(&self, number: u64) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.number == number)
    }

    fn on_said(&mut self, said: FromRecorder) {
        match said {
            FromRecorder::State { session, state, reason, files } => {
                self.on_files(&session, files);
                self.on_state(session, state, reason);
            }
            FromRecorder::Pli { track } => self.on_pli(track),
            FromRecorder::Stats { tracks } => {
                let recorded = self.recorded();
                if let Some(attached) = &mut self.attached {
                    // A report may come in several messages.
                    attached.stats.extend(tracks.into_iter().map(|of_track| (of_track.track, of_track)));
                    attached.stats.retain(|track, _| recorded.contains(track));
                }
            }
            FromRecorder::Pong { .. } => {}
        }
    }

    fn on_state(&mut self, id: RecordingId, state: SessionState, reason: Option<String>) {
        let report = match state {
            SessionState::Starting => return,
            SessionState::Recording => RecorderReport::Recording { session: id.clone() },
            SessionState::Stopped => RecorderReport::Stopped { session: id.clone() },
            SessionState::Failed => return self.fail(&id, reason.as_deref().unwrap_or("the recorder gave no reason")),
        };
        let over = matches!(report, RecorderReport::Stopped { .. });
        self.report(&id, report);
        if over {
            self.tell_end(&id, RecordingState::Stopped, None);
            self.sessions.remove(&id);
        }
    }

    fn on_pli(&self, number: TrackNumber) {
        for session in self.sessions.values() {
            if let Some((track, _)) = session.tracks.iter().find(|(_, add)| add.number == number) {
                // Only a hint: the recorder asks again.
                let _ = session.inbox.try_send(ToRoom::KeyFrame(track.clone()));
            }
        }
    }

    fn on_ended(&mut self) {
        tracing::warn!(sessions = self.sessions.len(), "the recorder is gone");
        self.attached = None;
        if !self.sessions.is_empty() {
            self.give_up = Some(Instant::now() + COME_BACK_WITHIN);
        }
    }

    fn on_given_up(&mut self) {
        self.give_up = None;
        let sessions: Vec<_> = self.sessions.keys().cloned().collect();
        for session in sessions {
            self.fail(&session, "the recorder is gone");
        }
    }

    fn fail(&mut self, id: &RecordingId, reason: &str) {
        tracing::warn!(session = %id, reason, "a recording failed");
        self.report(id, RecorderReport::Failed { session: id.clone(), reason: reason.to_owned() });
        self.tell_end(id, RecordingState::Failed, Some(reason));
        self.sessions.remove(id);
    }

    fn report(&mut self, id: &RecordingId, report: RecorderReport) {
        let Some(room) = self.sessions.get(id).map(|session| session.inbox.clone()) else { return };
        self.tell_room(&room, ToRoom::Input(Box::new(Input::Recorder(report))));
    }

    /// Tells a room. One that is behind is waited for elsewhere; one that is over needs to know nothing.
    fn tell_room(&mut self, room: &mpsc::Sender<ToRoom>, message: ToRoom) {
        if let Err(mpsc::error::TrySendError::Full(message)) = room.try_send(message) {
            let room = room.clone();
            self.conversations.spawn(async move {
                if timeout(TELL_WITHIN, room.send(message)).await.is_err() {
                    tracing::error!("a room could not be told of its recording");
                }
            });
        }
    }

    /// Tells the recorder; one that does not keep up is put out, and hears everything again when it is back.
    fn say(&mut self, message: ToRecorder) {
        let Some(attached) = &self.attached else { return };
        if attached.to.try_send(message).is_err() {
            self.on_ended();
        }
    }
}

impl Session {
    /// A track is over. What is kept of it is kept for seconds.
    fn end_track(&mut self, add: AddTrack) {
        while self.over.len() >= MAX_OVER || self.over.front().is_some_and(|(_, since)| since.elapsed() > OVER) {
            self.over.pop_front();
        }
        self.over.push_back((add, Instant::now()));
    }

    fn everything(&self, id: &RecordingId) -> Vec<ToRecorder> {
        let over = self.over.iter().filter(|(_, since)| since.elapsed() <= OVER).map(|(add, _)| add);
        let mut messages = vec![ToRecorder::StartSession(self.start.clone())];
        messages.extend(self.tracks.values().chain(over.clone()).cloned().map(ToRecorder::AddTrack));
        messages.extend(over.map(|add| ToRecorder::RemoveTrack { session: id.clone(), track: add.number }));
        messages.extend(self.stopping.then(|| ToRecorder::StopSession { session: id.clone() }));
        messages
    }
}

/// Stops a session whose room ended without doing so: a room that failed.
async fn stop_with_room(
    recorders: Recorders,
    session: RecordingId,
    room: mpsc::Sender<ToRoom>,
    is_over: oneshot::Receiver<()>,
) {
    tokio::select! {
        () = room.closed() => recorders.stop(&session).await,
        _ = is_over => {}
    }
}

fn accepted(workers: u32, token: Option<BindingToken>) -> Welcome {
    let software = concat!("lockgate ", env!("CARGO_PKG_VERSION")).to_owned();
    Welcome::Accepted { protocol: PROTOCOL, software, workers, token }
}

/// How long sessions wait for a recorder that went away.
const COME_BACK_WITHIN: Duration = Duration::from_secs(15);
/// How long a recorder that comes back hears of a track that is over: for as long as it may take to come back, and what is kept of the
/// track at least.
const OVER: Duration = Duration::from_secs(20);
/// So many of those at most in one session; the oldest are forgotten.
const MAX_OVER: usize = 256;
/// Messages that the recorder may leave unread, beside those of what ran before it came.
const MAX_UNSAID: usize = 4096;
/// How long a room may take to hear of its recording.
const TELL_WITHIN: Duration = Duration::from_secs(30);
/// Sessions at a time, those included whose files are being closed.
const MAX_SESSIONS: usize = 4096;
