//! What a worker is told, and the way to it.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate_media::{
    AdmittedMedia, Answer, Counters, Limits, NegotiateError, RouterEvent, RouterId, Subscription, TransportId,
};
use lockgate_model::TrackId;
use lockgate_model::carrier::TrackNumber;
use mio::Waker;
use tokio::sync::{mpsc, oneshot};

use crate::handle::WorkerGone;

/// The end of an answer's way; whoever waited may be gone.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// One thing that a worker is told.
pub(crate) enum Command {
    CreateRouter(mpsc::Sender<RouterEvent>, Reply<RouterId>),
    CloseRouter(RouterId),
    CreatePublish(RouterId, Reply<Option<TransportId>>),
    CreateSubscribe(RouterId, Reply<Option<TransportId>>),
    CloseTransport(TransportId),
    AcceptOffer(TransportId, String, Vec<AdmittedMedia>, Reply<Result<Answer, NegotiateError>>),
    Unpublish(TransportId, TrackId, Reply<()>),
    Subscribe(TransportId, Subscription),
    Unsubscribe(TransportId, TrackId, u64),
    SetLimits(TransportId, TrackId, Limits),
    AcceptAnswer(TransportId, Option<u64>, String, Reply<Result<(), NegotiateError>>),
    RestartIce(TransportId, u64),
    SetMuted(RouterId, TrackId, bool),
    Record(RouterId, TrackId, TrackNumber),
    RecordNoMore(RouterId, TrackId),
    RequestKeyFrame(RouterId, TrackId),
    AttachRecorder(UnixStream),
    Stats(Reply<Counters>),
    Stop,
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

pub(crate) fn channel(waker: Waker) -> (Commands, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Commands { queue: sender, waiting: waiting.clone(), waker: Arc::new(waker) }, Inbox { queue: receiver, waiting })
}

impl Commands {
    /// Tells the worker. It is never made to wait, as ends of subscriptions and transports must not be lost; a worker that has
    /// this much before it does not turn any more, and counts as gone.
    pub(crate) fn tell(&self, command: Command) -> Result<(), WorkerGone> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(WorkerGone);
        }
        self.queue.send(command).map_err(|_| WorkerGone)?;
        self.waker.wake().map_err(|_| WorkerGone)
    }

    /// Tells the worker and waits for what it says.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, WorkerGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply))?;
        answer.await.map_err(|_| WorkerGone)
    }
}

impl Inbox {
    pub(crate) fn next(&mut self) -> Option<Command> {
        let command = self.queue.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(command)
    }
}

const MAX_WAITING: usize = 1 << 16;
