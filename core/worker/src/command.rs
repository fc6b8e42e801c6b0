//! What a worker is told, and the way to it.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lockgate_media::{
    AdmittedMedia, Answer, Limits, NegotiateError, ReceiveAnswer, RouterId, Subscription, TransportId, ViewersAnswer,
};
use lockgate_model::carrier::TrackNumber;
use lockgate_model::{Bitrate, TrackId};
use mio::Waker;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::carrier::{PipeEnd, PipeNumber};
use crate::events::Owner;
use crate::handle::WorkerGone;
use crate::stats::Stats;

/// The end of an answer's way; whoever waited may be gone.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// One thing that a worker is told.
pub(crate) enum Command {
    CreateRouter(Owner, Reply<RouterId>),
    CloseRouter(RouterId),
    OpenPipe(RouterId, PipeEnd),
    ClosePipe(PipeNumber),
    CreatePublish(RouterId, Reply<Option<TransportId>>),
    CreateSubscribe(RouterId, Reply<Option<TransportId>>),
    CloseTransport(TransportId),
    AcceptOffer(TransportId, String, Vec<AdmittedMedia>, Reply<Result<Answer, NegotiateError>>),
    Unpublish(TransportId, TrackId, Reply<()>),
    LimitPublication(TransportId, TrackId, Option<Bitrate>),
    AdmitChannel(TransportId, u16, TrackId),
    RefuseChannel(TransportId, u16),
    Subscribe(TransportId, Subscription),
    Unsubscribe(TransportId, TrackId, u64),
    ExpectNoMore(TransportId, TrackId),
    DiscardLast(TransportId, Option<u64>, Option<BTreeSet<TrackId>>),
    SetLimits(TransportId, TrackId, Limits),
    AcceptAnswer(TransportId, Option<u64>, ViewersAnswer, Reply<Result<(), NegotiateError>>),
    AnswerReceiver(TransportId, String, Reply<Result<ReceiveAnswer, NegotiateError>>),
    RestartIce(TransportId, u64),
    SetMuted(RouterId, TrackId, bool),
    Record(RouterId, TrackId, TrackNumber),
    RecordNoMore(RouterId, TrackId),
    RequestKeyFrame(RouterId, TrackId),
    AttachRecorder(UnixStream),
    Stats(Reply<Stats>),
    Stop,
    #[cfg(test)]
    Fail(crate::testing::Failure),
}

/// The way to a worker.
#[derive(Clone)]
pub(crate) struct Commands {
    queue: mpsc::UnboundedSender<Command>,
    waiting: Arc<AtomicUsize>,
    waker: Arc<Waker>,
}

/// The worker's end.
pub(crate) struct Inbox {
    queue: mpsc::UnboundedReceiver<Command>,
    waiting: Arc<AtomicUsize>,
}

pub(crate) fn channel(waker: Arc<Waker>) -> (Commands, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Commands { queue: sender, waiting: waiting.clone(), waker }, Inbox { queue: receiver, waiting })
}

impl Commands {
    /// Tells the worker without waiting for it. One that has this much before it does not turn any more, and counts as gone.
    pub(crate) fn tell(&self, command: Command) -> Result<(), WorkerGone> {
        if self.waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            return Err(WorkerGone);
        }
        self.end(command)
    }

    /// Tells the worker that something is over, however much waits: should it turn again, what was revoked must not go on. There
    /// are no more ends than things that began.
    pub(crate) fn end(&self, command: Command) -> Result<(), WorkerGone> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.send(command).map_err(|_| WorkerGone)?;
        self.waker.wake().map_err(|_| WorkerGone)
    }

    /// Tells the worker and waits for what it says. One that says nothing for so long stands still, and counts as gone.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, WorkerGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply))?;
        timeout(ANSWER_WITHIN, answer).await.map_err(|_| WorkerGone)?.map_err(|_| WorkerGone)
    }
}

impl Inbox {
    pub(crate) fn next(&mut self) -> Option<Command> {
        let command = self.queue.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(command)
    }

    /// Whether something waits, or will within moments.
    pub(crate) fn has_more(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// About; several may tell at the same moment.
const MAX_WAITING: usize = 1 << 16;
/// A turn takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
