//! A room's media as its owner sees it: one router, however many workers carry it.
//!
//! It begins on one worker. When that has its share, further transports go to others, each with a half of the router that is joined
//! to all other halves by pipes. Which half holds a transport or a track need not be known to the owner.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_media::{RouterId, TransportId};
use lockgate_model::TrackId;
use lockgate_model::carrier::TrackNumber;
use tokio::sync::Mutex as AsyncMutex;

use crate::carrier::{PipeEnd, PipeNumber};
use crate::command::{Command, Reply};
use crate::events::{Owner, RouterEvents, Told, owner, transport_id};
use crate::handle::{Link, PublishTransport, SubscribeTransport, WorkerGone};
use crate::place::{self, Standing};
use crate::workers::All;

/// A router that was just made.
pub struct NewRouter {
    /// It.
    pub router: Router,
    /// What happens in it.
    pub events: RouterEvents,
}

/// A room's media: tracks that are published into it reach the viewers of the same router. Dropping the last clone and the last
/// transport ends it.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

/// What all handles of a router and of its transports share.
pub(crate) struct Shared {
    all: Arc<All>,
    owner: Owner,
    halves: Mutex<Vec<Half>>,
    /// One transport is placed at a time, so that a half is opened once.
    placing: AsyncMutex<()>,
    over: AtomicBool,
}

/// What one worker carries of a router.
struct Half {
    worker: u32,
    id: RouterId,
    transports: HashSet<TransportId>,
    /// To the halves on which workers.
    pipes: Vec<(u32, PipeNumber)>,
}

impl Router {
    /// A router on the worker that is the least loaded.
    pub(crate) async fn open(all: Arc<All>) -> Result<NewRouter, WorkerGone> {
        let (owner, events) = owner();
        let (halves, placing) = (Mutex::default(), AsyncMutex::default());
        let shared = Arc::new(Shared { all, owner, halves, placing, over: AtomicBool::new(false) });
        let worker = place::for_room(&shared.all.standings(|_| None)).ok_or(WorkerGone)?;
        shared.open_half(worker).await?;
        shared.all.add_router(&shared);
        Ok(NewRouter { events: events(&shared), router: Self { shared } })
    }

    /// On which workers it is.
    pub fn workers(&self) -> Vec<u32> {
        self.shared.halves().iter().map(|half| half.worker).collect()
    }

    /// A transport on which a client sends.
    ///
    /// # Errors
    /// When no worker can take it.
    pub async fn create_publish_transport(&self) -> Result<PublishTransport, WorkerGone> {
        Ok(PublishTransport { link: self.create(Command::CreatePublish).await? })
    }

    /// A transport on which a client receives.
    ///
    /// # Errors
    /// When no worker can take it.
    pub async fn create_subscribe_transport(&self) -> Result<SubscribeTransport, WorkerGone> {
        Ok(SubscribeTransport { link: self.create(Command::CreateSubscribe).await? })
    }

    /// Stops or resumes forwarding a track, whoever gets it.
    pub fn set_muted(&self, track: &TrackId, muted: bool) {
        self.tell(|router| Command::SetMuted(router, track.clone(), muted));
    }

    /// Sends a track to the recorder that is attached to its publisher's worker, under this number.
    pub fn record(&self, track: &TrackId, number: TrackNumber) {
        self.tell(|router| Command::Record(router, track.clone(), number));
    }

    /// Sends a track to the recorder no more.
    pub fn record_no_more(&self, track: &TrackId) {
        for half in self.shared.halves().iter() {
            self.shared.all.end(half.worker, Command::RecordNoMore(half.id, track.clone()));
        }
    }

    /// Asks a track's publisher for a key frame, for the recorder.
    pub fn request_key_frame(&self, track: &TrackId) {
        self.tell(|router| Command::RequestKeyFrame(router, track.clone()));
    }

    async fn create(
        &self,
        command: impl FnOnce(RouterId, Reply<Option<TransportId>>) -> Command,
    ) -> Result<Link, WorkerGone> {
        let _placing = self.shared.placing.lock().await;
        let (worker, router) = self.shared.place().await?;
        let one = self.shared.all.get(worker).ok_or(WorkerGone)?;
        one.vitals.place();
        let id = one.commands.ask(|reply| command(router, reply)).await?.ok_or(WorkerGone)?;
        self.shared.note(worker, id);
        Ok(Link { router: self.shared.clone(), commands: one.commands.clone(), worker, id })
    }

    /// Tells all halves: the one whose track it is acts.
    fn tell(&self, command: impl Fn(RouterId) -> Command) {
        for half in self.shared.halves().iter() {
            self.shared.all.tell(half.worker, command(half.id));
        }
    }
}

impl Shared {
    /// The half for one more transport.
    async fn place(&self) -> Result<(u32, RouterId), WorkerGone> {
        if self.over.load(Ordering::Relaxed) {
            return Err(WorkerGone);
        }
        let standings: Vec<Standing> = {
            let halves = self.halves();
            let own = |worker| halves.iter().find(|half| half.worker == worker).map(|half| half.transports.len());
            self.all.standings(own)
        };
        let worker = place::for_transport(&standings, self.all.spread()).ok_or(WorkerGone)?;
        let known = self.halves().iter().find(|half| half.worker == worker).map(|half| half.id);
        match known {
            Some(router) => Ok((worker, router)),
            None => Ok((worker, self.open_half(worker).await?)),
        }
    }

    /// Makes a half and joins it to the others.
    async fn open_half(&self, worker: u32) -> Result<RouterId, WorkerGone> {
        let one = self.all.get(worker).ok_or(WorkerGone)?;
        let id = one.commands.ask(|reply| Command::CreateRouter(self.owner.clone(), reply)).await?;
        let mut new = Half { worker, id, transports: HashSet::new(), pipes: Vec::new() };
        let mut halves = self.halves();
        for half in halves.iter_mut() {
            let Some(other) = self.all.get(half.worker) else { continue };
            let number = self.all.next_pipe();
            let (there, here) = PipeEnd::pair(number, &other.dock, &one.dock);
            half.pipes.push((worker, number));
            new.pipes.push((half.worker, number));
            self.all.tell(half.worker, Command::OpenPipe(half.id, there));
            self.all.tell(worker, Command::OpenPipe(id, here));
        }
        halves.push(new);
        // It counts like a transport, so that rooms that open at the same time do not all go to one worker.
        self.all.count(worker, 1);
        Ok(id)
    }

    fn note(&self, worker: u32, transport: TransportId) {
        if let Some(half) = self.halves().iter_mut().find(|half| half.worker == worker) {
            half.transports.insert(transport);
            self.all.count(worker, 1);
        }
    }

    /// A transport's handle is gone.
    pub(crate) fn forget(&self, worker: u32, transport: TransportId) {
        let mut halves = self.halves();
        let half = halves.iter_mut().find(|half| half.worker == worker);
        if half.is_some_and(|half| half.transports.remove(&transport)) {
            self.all.count(worker, -1);
        }
    }

    /// A worker is gone. If it carried a part of this router, the owner is told.
    pub(crate) fn tell_lost(&self, worker: u32) {
        if self.halves().iter().any(|half| half.worker == worker) {
            self.owner.tell(Told::Lost(worker));
        }
    }

    /// Gives up what a worker carried: the transports that were there come back. Should it turn again, it lets go of them too.
    pub(crate) fn lose(&self, worker: u32) -> Vec<TransportId> {
        let mut halves = self.halves();
        let Some(place) = halves.iter().position(|half| half.worker == worker) else { return Vec::new() };
        let lost = halves.swap_remove(place);
        for half in halves.iter_mut() {
            let pipes = half.pipes.extract_if(.., |(other, _)| *other == worker);
            pipes.for_each(|(_, pipe)| self.all.end(half.worker, Command::ClosePipe(pipe)));
        }
        self.close(&lost);
        lost.transports.into_iter().map(|own| transport_id(worker, own)).collect()
    }

    /// Ends everything.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        let halves = std::mem::take(&mut *self.halves());
        halves.iter().for_each(|half| self.close(half));
    }

    fn close(&self, half: &Half) {
        self.all.count(half.worker, -1 - half.transports.len() as isize);
        self.all.end(half.worker, Command::CloseRouter(half.id));
    }

    fn halves(&self) -> MutexGuard<'_, Vec<Half>> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
    }
}
