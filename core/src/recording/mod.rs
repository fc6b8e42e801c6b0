//! The node's side of recording: the recorder attaches here, and rooms hand it sessions and tracks.
//!
//! Media never passes through here: each worker writes it to the recorder by itself, on a connection of its own.

mod door;
mod hub;
mod supervisor;
mod wire;

use lockgate_model::carrier::TrackNumber;
use lockgate_model::policy::Identity;
use lockgate_model::{Codec, MediaKind, PublisherId, RecordingId, RoomName, Source, TrackId};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::rooms::ToRoom;

pub(crate) use door::{DoorProblem, RecorderDoor};
pub(crate) use hub::Hub;
pub(crate) use supervisor::Supervisor;

/// What must be known of a track to record it.
#[derive(Clone, Debug)]
pub(crate) struct Recordable {
    pub(crate) worker: u32,
    pub(crate) kind: MediaKind,
    pub(crate) source: Source,
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) fmtp: String,
    /// The id of the header extension that tells its loudness, if it does.
    pub(crate) level_id: Option<u8>,
}

/// How recording does, for operators. What is counted is of the tracks that are recorded now, as the recorder said in the last seconds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecorderOverview {
    /// Whether a recorder is attached.
    pub(crate) attached: bool,
    /// Its name and version; absent: none is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) software: Option<String>,
    /// Sessions, those included whose files are being closed.
    pub(crate) sessions: usize,
    /// Tracks that are recorded.
    pub(crate) tracks: usize,
    /// Packets that came to the recorder.
    pub(crate) packets: u64,
    /// Bytes of frames that were written.
    pub(crate) bytes: u64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// Frames that were given up.
    pub(crate) dropped_frames: u64,
}

/// The way to the recorder.
#[derive(Clone, Debug)]
pub(crate) struct Recorders {
    hub: mpsc::Sender<ToHub>,
}

/// What rooms and connections tell the hub.
#[derive(Debug)]
pub(crate) enum ToHub {
    Start {
        session: RecordingId,
        room: RoomName,
        inbox: mpsc::Sender<ToRoom>,
        result: oneshot::Sender<Result<(), &'static str>>,
    },
    Add {
        session: RecordingId,
        track: Box<NewTrack>,
        number: oneshot::Sender<Option<TrackNumber>>,
    },
    Remove {
        session: RecordingId,
        track: TrackId,
    },
    Stop {
        session: RecordingId,
    },
    Connection(door::Connection),
    IsAttached(oneshot::Sender<bool>),
    Look(oneshot::Sender<RecorderOverview>),
}

/// A track to be recorded.
#[derive(Debug)]
pub(crate) struct NewTrack {
    pub(crate) publisher: PublisherId,
    pub(crate) identity: Option<Identity>,
    pub(crate) track: TrackId,
    pub(crate) facts: Recordable,
}

impl Recorders {
    pub(crate) fn new() -> (Self, mpsc::Receiver<ToHub>) {
        let (hub, inbox) = mpsc::channel(MAX_WAITING);
        (Self { hub }, inbox)
    }

    /// Begins a session; who is in `inbox` hears how it goes on. Errs with the reason for people when no recorder takes it.
    pub(crate) async fn start(
        &self,
        session: RecordingId,
        room: RoomName,
        inbox: mpsc::Sender<ToRoom>,
    ) -> Result<(), &'static str> {
        let (result, answer) = oneshot::channel();
        self.tell(ToHub::Start { session, room, inbox, result }).await;
        answer.await.unwrap_or(Err("the node is ending"))
    }

    /// Adds a track to a session; its number, or none when the session is over.
    pub(crate) async fn add(&self, session: &RecordingId, track: NewTrack) -> Option<TrackNumber> {
        let (number, answer) = oneshot::channel();
        self.tell(ToHub::Add { session: session.clone(), track: Box::new(track), number }).await;
        answer.await.ok().flatten()
    }

    pub(crate) async fn remove(&self, session: &RecordingId, track: &TrackId) {
        self.tell(ToHub::Remove { session: session.clone(), track: track.clone() }).await;
    }

    pub(crate) async fn stop(&self, session: &RecordingId) {
        self.tell(ToHub::Stop { session: session.clone() }).await;
    }

    /// Whether a recorder is attached.
    pub(crate) async fn is_attached(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.tell(ToHub::IsAttached(reply)).await;
        answer.await.unwrap_or(false)
    }

    /// How it does.
    pub(crate) async fn look(&self) -> RecorderOverview {
        let (reply, answer) = oneshot::channel();
        self.tell(ToHub::Look(reply)).await;
        answer.await.unwrap_or_default()
    }

    pub(crate) async fn tell(&self, message: ToHub) {
        // The hub lives as long as the node: without it the node is ending, and nothing is to be recorded.
        let _ = self.hub.send(message).await;
    }
}

/// Messages that the hub may have waiting; more make their senders wait.
const MAX_WAITING: usize = 256;

#[cfg(test)]
mod tests;
