//! Which rooms there are. A room begins with its first join and ends when the last participant is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_model::{ParticipantsPage, PublisherId, RoomCounts, RoomName, TrackId};
use lockgate_room::{Input, Join, Operation, Revocation, Wanted};
use lockgate_worker::WorkerGone;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::task::{FromMember, Mute, Recorded, RoomTask, ToOperate, ToRoom};
use crate::node::Node;
use crate::session::RoomNews;

/// All rooms.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: Mutex<HashMap<RoomName, RoomHandle>>,
    tasks: Mutex<JoinSet<()>>,
}

/// A way to reach a room.
#[derive(Clone, Debug)]
pub(crate) struct RoomHandle {
    inbox: mpsc::Sender<ToRoom>,
}

/// Why a room cannot be entered at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinProblem {
    /// The media side has no place for one more room.
    #[error("the node has no place for one more room")]
    NoRouter(#[from] WorkerGone),
}

impl RoomHandle {
    /// Hands a room its input; waits while the room is behind. A room that has ended needs none.
    pub(crate) async fn input(&self, input: Input) {
        // The only reason to fail is that the room is over, and then the input has nothing to change.
        let _ = self.inbox.send(ToRoom::Input(Box::new(input))).await;
    }

    /// Hands a room what a member asks for. It comes back as [`crate::session::RoomEvent::Missed`] if the room has let go of them, or is over.
    pub(crate) async fn command(&self, room: &RoomName, command: FromMember) {
        if let Err(mpsc::error::SendError(ToRoom::Command(command))) =
            self.inbox.send(ToRoom::Command(Box::new(command))).await
        {
            command.give_back(room);
        }
    }

    /// How much there is in a room; none if it has ended.
    pub(crate) async fn counts(&self) -> Option<RoomCounts> {
        self.operate(ToOperate::Count).await
    }

    /// Some of those who are in a room; none if it has ended.
    pub(crate) async fn see(&self, wanted: Wanted) -> Option<(RoomCounts, ParticipantsPage)> {
        self.operate(|page| ToOperate::See(wanted, page)).await
    }

    /// Has somebody's tracks be silent, or not any more. Returns which; none: there is no such participant, or track.
    pub(crate) async fn mute(&self, mute: Mute) -> Option<Vec<TrackId>> {
        self.operate(|done| ToOperate::Mute(mute, done)).await.flatten()
    }

    /// Has something recorded, or not any more. Returns how the recording stands then, once policy has said whether it may be; none if
    /// the room has ended.
    pub(crate) async fn record(&self, operation: Operation) -> Option<Recorded> {
        self.operate(|done| ToOperate::Record(Box::new(operation), done)).await
    }

    async fn operate<T>(&self, wish: impl FnOnce(oneshot::Sender<T>) -> ToOperate) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.inbox.send(ToRoom::Operate(wish(done))).await.ok()?;
        answer.await.ok()
    }

    /// Has a room ask about everybody in it if other plugins answer than before. A room that has ended needs none.
    pub(crate) async fn reconsider(&self, turn: OwnedSemaphorePermit) {
        let _ = self.inbox.send(ToRoom::Reconsider(turn)).await;
    }

    /// Takes something from somebody because an operator wants it, who is named by subject. Returns whom it concerned, once the
    /// media side has been told; nobody if the room has ended.
    pub(crate) async fn revoke(&self, revocation: Revocation, operator: String) -> Vec<PublisherId> {
        let (done, concerned) = oneshot::channel();
        let told = self.inbox.send(ToRoom::Revoke(Box::new(revocation), operator, done)).await;
        if told.is_err() { Vec::new() } else { concerned.await.unwrap_or_default() }
    }
}

impl Rooms {
    /// Brings somebody to a room's door, and makes the room if need be.
    pub(crate) async fn join(
        &self,
        node: &Arc<Node>,
        name: &RoomName,
        join: Join,
        news: mpsc::Sender<RoomNews>,
    ) -> Result<RoomHandle, JoinProblem> {
        let mut knock = ToRoom::Join(Box::new(join), news);
        loop {
            let handle = match self.find(name) {
                Some(handle) => handle,
                None => self.open(node, name).await?,
            };
            match self.knock(name, &handle, knock) {
                Ok(()) => return Ok(handle),
                Err(returned) => knock = *returned,
            }
            // It is behind, or ended just now; then the next one is new.
            drop(handle.inbox.reserve().await);
        }
    }

    /// Puts a join into a room's inbox while the room cannot end.
    fn knock(&self, name: &RoomName, handle: &RoomHandle, knock: ToRoom) -> Result<(), Box<ToRoom>> {
        let mut rooms = self.lock();
        if !rooms.get(name).is_some_and(|room| room.inbox.same_channel(&handle.inbox)) {
            return Err(Box::new(knock));
        }
        handle.inbox.try_send(knock).map_err(|refused| {
            if matches!(refused, mpsc::error::TrySendError::Closed(_)) {
                // Its task failed: nobody else takes it out of the list.
                rooms.remove(name);
            }
            Box::new(refused.into_inner())
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes a room out of the list if it may end; nobody can knock while that is found out.
    pub(super) fn forget_if(
        &self,
        name: &RoomName,
        inbox: &mpsc::Sender<ToRoom>,
        may_end: impl FnOnce() -> bool,
    ) -> bool {
        let mut rooms = self.lock();
        if !may_end() {
            return false;
        }
        if rooms.get(name).is_some_and(|room| room.inbox.same_channel(inbox)) {
            rooms.remove(name);
        }
        true
    }

    /// Waits until all rooms have ended, but not for ever: what does not end by itself is ended.
    pub(crate) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if timeout(END_WITHIN, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(rooms = tasks.len(), "some rooms did not end in time; they are cut off");
            tasks.shutdown().await;
        }
    }

    /// Ends all tasks in the middle of what they do, as a panic would.
    #[cfg(test)]
    pub(super) fn fail_all(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(RoomName, RoomHandle)> {
        self.lock().iter().map(|(name, handle)| (name.clone(), handle.clone())).collect()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<RoomHandle> {
        self.lock().get(name).cloned()
    }

    async fn open(&self, node: &Arc<Node>, name: &RoomName) -> Result<RoomHandle, JoinProblem> {
        let router = node.workers.new_router().await?;
        let (inbox, outbox) = mpsc::channel(MAX_WAITING);
        let handle = RoomHandle { inbox };
        {
            let mut rooms = self.lock();
            if let Some(other) = rooms.get(name) {
                return Ok(other.clone());
            }
            rooms.insert(name.clone(), handle.clone());
        }
        let task = RoomTask::new(node.clone(), name.clone(), router, handle.inbox.clone(), outbox);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a room failed");
            }
        }
        tasks.spawn(task.run());
        Ok(handle)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomName, RoomHandle>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Inputs that a room may have waiting; more make their senders wait.
const MAX_WAITING: usize = 256;
/// How long rooms may take once everybody has left: a question to a worker that stands still is given up after five seconds.
const END_WITHIN: Duration = Duration::from_secs(8);
