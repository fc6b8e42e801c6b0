//! One room's task: inputs in, the pure room, effects out.

mod following;
mod operating;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockgate_model::{Happening, OfferedMedia, PublisherId, RecordingId, Request, RoomName, Source, TrackId};
use lockgate_room::{
    Effect, Input, Join, LeaveReason, MediaProblem, RecordAction, RecorderReport, Revocation, Room, RoomConfig,
};
use lockgate_worker::NewRouter;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use self::operating::Operators;
pub(crate) use self::operating::{Mute, Recorded, ToOperate};
use super::ask::Questions;
use super::media::RoomMedia;
use super::notes::Notes;
use crate::config::Duplicate;
use crate::events::Refusals;
use crate::node::{Node, wall_clock_ms};
use crate::recording::NewTrack;
use crate::session::{RoomEvent, RoomNews};

/// What reaches a room's task.
#[derive(Debug)]
pub(crate) enum ToRoom {
    /// Somebody is at the door.
    Join(Box<Join>, mpsc::Sender<RoomNews>),
    /// Somebody inside asks for something.
    Command(Box<FromMember>),
    /// Anything else.
    Input(Box<Input>),
    /// Somebody may do something no more, because this operator wants it. Answered when the media side has been told, with whom it
    /// concerned.
    Revoke(Box<Revocation>, String, oneshot::Sender<Vec<PublisherId>>),
    /// An operator looks, or wants something else than to take something away.
    Operate(ToOperate),
    /// Other plugins may answer than before. Whoever holds the turn has the node's leave to ask about everybody in the room.
    Reconsider(OwnedSemaphorePermit),
    /// The recorder needs a key frame of a track.
    KeyFrame(TrackId),
}

/// What a member asks for.
#[derive(Debug)]
pub(crate) struct FromMember {
    pub(crate) member: PublisherId,
    pub(crate) request: Request,
    /// What an offer in it holds.
    pub(crate) offered: Option<Result<Vec<OfferedMedia>, MediaProblem>>,
    /// For what is not answered.
    pub(crate) news: mpsc::Sender<RoomNews>,
}

impl FromMember {
    /// Nobody in the room will answer it.
    pub(super) fn give_back(self, room: &RoomName) {
        let Self { member, request, news, .. } = self;
        tell_out(news, RoomNews { room: room.clone(), member, event: RoomEvent::Missed(Box::new(request)) });
    }
}

/// A running room.
pub(crate) struct RoomTask {
    node: Arc<Node>,
    name: RoomName,
    room: Room,
    media: RoomMedia,
    inbox: mpsc::Sender<ToRoom>,
    outbox: mpsc::Receiver<ToRoom>,
    seats: HashMap<PublisherId, Seat>,
    /// One for each seat: ends when the session does, so that one that fails or is cut off has left as well.
    departures: JoinSet<PublisherId>,
    questions: Questions,
    operators: Operators,
    /// Refusals that those who follow the node are told of.
    refusals: Refusals,
    notes: Notes,
}

/// A member's place.
struct Seat {
    news: mpsc::Sender<RoomNews>,
    departure: AbortHandle,
    subject: String,
}

/// A room that ends by itself has no seats left. One whose task fails lets go of its members, those at the door included: they
/// may join the next one.
impl Drop for RoomTask {
    fn drop(&mut self) {
        self.notes.closed();
        self.tell_closed();
        self.node.rooms.forget_if(&self.name, &self.inbox, || true);
        self.outbox.close();
        let mut out: Vec<_> = self.seats.drain().map(|(member, seat)| (member, seat.news)).collect();
        let mut unanswered = Vec::new();
        while let Ok(message) = self.outbox.try_recv() {
            match message {
                ToRoom::Join(join, news) => out.push((join.member, news)),
                ToRoom::Command(command) => unanswered.push(command),
                _ => {}
            }
        }
        if !out.is_empty() {
            tracing::error!(room = %self.name, participants = out.len(), "the room failed; its participants are out");
        }
        for (member, news) in out {
            tell_out(news, RoomNews { room: self.name.clone(), member, event: RoomEvent::Out(FAILED) });
        }
        unanswered.into_iter().for_each(|command| command.give_back(&self.name));
    }
}

impl RoomTask {
    pub(crate) fn new(
        node: Arc<Node>,
        name: RoomName,
        router: NewRouter,
        inbox: mpsc::Sender<ToRoom>,
        outbox: mpsc::Receiver<ToRoom>,
    ) -> Self {
        let config = RoomConfig {
            max_participants: node.config.rooms.max_participants,
            max_tracks: node.config.rooms.max_tracks,
            max_data_channels: node.config.rooms.max_data_channels,
            replace_duplicates: node.config.rooms.duplicate == Duplicate::Replace,
            auto_record: node.config.recording.auto,
            last_n: node.config.rooms.last_n,
            top_n: node.config.rooms.top_n,
            stale_max_ms: u64::try_from(node.config.policy.stale_max.as_millis()).unwrap_or(u64::MAX),
            level_interval_ms: u32::try_from(node.config.rooms.audio_levels.as_millis()).unwrap_or(u32::MAX),
        };
        let room = Room::new(name.clone(), config);
        let questions = Questions::new(node.policy.clone(), name.clone());
        let notes = Notes::new(node.policy.journal().clone(), &name);
        let (media, seats, departures) = (RoomMedia::new(router), HashMap::new(), JoinSet::new());
        let (operators, refusals) = (Operators::default(), Refusals::default());
        Self { node, name, room, media, inbox, outbox, seats, departures, questions, operators, refusals, notes }
    }

    /// Runs until the last participant is gone.
    pub(crate) async fn run(mut self) {
        tracing::info!(room = %self.name, "the room opened");
        self.node.events.tell(Some(&self.name), &Happening::RoomOpened {});
        loop {
            tokio::select! {
                Some(message) = self.outbox.recv() => self.on_message(message).await,
                event = self.media.next_event() => match event {
                    Some(input) => self.handle(input).await,
                    // Without media nobody should be in it: they are told that it failed, and may join the next one.
                    None => return,
                },
                Some(input) = self.questions.next() => self.handle(input).await,
                () = until(self.room.next_timeout()) => self.handle(Input::Time).await,
                Some(departed) = self.departures.join_next() => self.on_departure(departed.ok()).await,
            }
            // Joins enter the inbox under the list's lock, so nobody can knock between this look and the end.
            if self.room.is_empty() && self.node.rooms.forget_if(&self.name, &self.inbox, || self.outbox.is_empty()) {
                break;
            }
        }
        tracing::info!(room = %self.name, "the room closed");
    }

    async fn on_message(&mut self, message: ToRoom) {
        match message {
            ToRoom::Join(join, news) => {
                self.seat(&join, news);
                self.handle(Input::Join(*join)).await;
            }
            ToRoom::Command(command) if !self.seats.contains_key(&command.member) => command.give_back(&self.name),
            ToRoom::Command(command) => {
                let FromMember { member, request, offered, .. } = *command;
                self.handle(Input::Command { member, request, offered }).await;
            }
            ToRoom::Input(input) => self.handle(*input).await,
            ToRoom::Revoke(revocation, operator, done) => {
                let concerned = self.room.concerned(&revocation.whom);
                self.tell_revocation(&revocation, &concerned, operator.clone());
                self.notes.revoked(&revocation, &concerned, operator);
                self.handle(Input::Revoke(*revocation)).await;
                // Whoever wanted it may be gone; it is done all the same.
                let _ = done.send(concerned);
            }
            ToRoom::Operate(wish) => self.operate(wish).await,
            ToRoom::Reconsider(turn) => self.reconsider(turn).await,
            ToRoom::KeyFrame(track) => self.media.request_key_frame(&track),
        }
    }

    async fn reconsider(&mut self, turn: OwnedSemaphorePermit) {
        if self.questions.are_others_answering() {
            self.handle(Input::OtherPolicy).await;
            self.questions.take_turn(turn);
        }
    }

    fn seat(&mut self, join: &Join, news: mpsc::Sender<RoomNews>) {
        let (member, subject) = (join.member, join.participant.identity.subject.clone());
        let session = news.clone();
        let departure = self.departures.spawn(async move {
            session.closed().await;
            member
        });
        self.seats.insert(member, Seat { news, departure, subject });
    }

    /// A session is over, whether or not it said so: who left in time is known no more. None: the member was told that it is out.
    async fn on_departure(&mut self, member: Option<PublisherId>) {
        if let Some(member) = member {
            self.handle(Input::Leave { member, reason: LeaveReason::Closed }).await;
        }
    }

    async fn handle(&mut self, input: Input) {
        self.room.handle(wall_clock_ms(), input);
        while let Some(effect) = self.room.poll() {
            self.carry_out(effect).await;
        }
        self.settle_operators();
    }

    async fn carry_out(&mut self, effect: Effect) {
        self.notes.take(&effect);
        self.follow(&effect);
        match effect {
            // Told already.
            Effect::Happened(_) => {}
            Effect::Send { to, reply, .. } if self.operators.hear(to, &reply) => {}
            Effect::Send { to, reply, .. } => self.tell(to, RoomEvent::Tell(Box::new(reply))),
            Effect::Ask { ticket, question } => {
                if let Some(answer) = self.questions.ask(ticket, question) {
                    self.room.handle(wall_clock_ms(), Input::Unanswered { ticket, answer });
                }
            }
            Effect::Media(action) => {
                if let Some(input) = self.media.perform(action).await {
                    self.room.handle(wall_clock_ms(), input);
                }
            }
            Effect::Record(action) => self.record(action).await,
            Effect::Gone { member, missed } => {
                self.tell(member, RoomEvent::Gone);
                missed.into_iter().for_each(|request| self.tell(member, RoomEvent::Missed(Box::new(request))));
                if let Some(seat) = self.seats.remove(&member) {
                    // The session waits until its rooms let go of its end.
                    seat.departure.abort();
                }
            }
        }
    }

    fn tell(&mut self, member: PublisherId, event: RoomEvent) {
        let Some(seat) = self.seats.get(&member) else { return };
        let is_passing = matches!(&event, RoomEvent::Tell(reply) if reply.event.is_passing());
        if is_passing && seat.news.capacity() < seat.news.max_capacity() / 2 {
            return;
        }
        let news = RoomNews { room: self.name.clone(), member, event };
        match seat.news.try_send(news) {
            Ok(()) => {}
            // Its departure is on its way.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            // The session hands on at once unless it is stuck: then its client has lost messages and must not go on as if not.
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.node.counters.slow_sessions.fetch_add(1, Ordering::Relaxed);
                if let Some(seat) = self.seats.remove(&member) {
                    seat.departure.abort();
                    self.departures.spawn(async move { member });
                    tell_out(seat.news, RoomNews { room: self.name.clone(), member, event: RoomEvent::Out(BEHIND) });
                }
            }
        }
    }

    async fn record(&mut self, action: RecordAction) {
        match action {
            RecordAction::Start { session } => self.start_recording(session).await,
            RecordAction::Add { session, publisher, track, source } => {
                self.add_to_recording(&session, publisher, track, source).await;
            }
            RecordAction::Remove { session, track } => {
                self.media.record_no_more(&track);
                self.node.recorders.remove(&session, &track).await;
            }
            RecordAction::Stop { session } => self.node.recorders.stop(&session).await,
        }
    }

    async fn start_recording(&mut self, session: RecordingId) {
        let started = self.node.recorders.start(session.clone(), self.name.clone(), self.inbox.clone()).await;
        let report = match started {
            Ok(()) => RecorderReport::Started { session },
            Err(reason) => {
                tracing::warn!(room = %self.name, reason, "a recording cannot begin");
                RecorderReport::Absent { session, reason: reason.to_owned() }
            }
        };
        self.room.handle(wall_clock_ms(), Input::Recorder(report));
    }

    async fn add_to_recording(&self, session: &RecordingId, publisher: PublisherId, track: TrackId, source: Source) {
        let Some(facts) = self.media.recordable(&track, source) else { return };
        let identity = self.room.identity(publisher).cloned();
        let new = NewTrack { publisher, identity, track: track.clone(), facts };
        if let Some(number) = self.node.recorders.add(session, new).await {
            self.media.record(&track, number);
        }
    }
}

/// Waits until the wall clock shows this; for ever, if it is nothing. The clock may be set meanwhile: look again now and then.
async fn until(at_ms: Option<u64>) {
    let Some(at_ms) = at_ms else { return pending().await };
    loop {
        let left = at_ms.saturating_sub(wall_clock_ms());
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(left).min(LOOK_AGAIN)).await;
    }
}

/// Tells a session that it is out of the room, or what it missed there. One that is behind is waited for elsewhere; one that is gone needs to know nothing.
fn tell_out(news: mpsc::Sender<RoomNews>, word: RoomNews) {
    let Err(mpsc::error::TrySendError::Full(word)) = news.try_send(word) else { return };
    // There is none when the whole process ends.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        if timeout(TELL_WITHIN, news.send(word)).await.is_err() {
            tracing::error!("a session that stands still could not be told that it is out of a room");
        }
    });
}

const FAILED: &str = "the room failed; join it again";
const BEHIND: &str = "more was to be told than you took; join the room again";
/// How long a wait for the wall clock relies on the other one.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long a session may take to hear that it is out.
const TELL_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
