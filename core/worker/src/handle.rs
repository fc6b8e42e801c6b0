//! The handles: routers and transports as their owners see them. Dropping one ends what it stands for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate_media::{
    AdmittedMedia, Answer, Limits, NegotiateError, RouterEvent, RouterId, Subscription, TransportId, check_candidate,
};
use lockgate_model::TrackId;
use lockgate_model::carrier::TrackNumber;
use tokio::sync::mpsc;

use crate::command::{Command, Commands};

/// The worker has ended, or does not turn any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media worker is gone")]
pub struct WorkerGone;

/// Why a request to a transport failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The description cannot be used.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
    /// There is nobody to ask.
    #[error(transparent)]
    Gone(#[from] WorkerGone),
}

/// A router that was just made.
pub struct NewRouter {
    /// It.
    pub router: Router,
    /// What happens in it. Whoever does not keep up with it loses the router: [`Self::events`] ends.
    pub events: mpsc::Receiver<RouterEvent>,
}

/// A room's media on one worker: tracks that are published into it reach the viewers of the same router.
/// Dropping the last clone ends it with its transports.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    commands: Commands,
    worker: u32,
    id: RouterId,
    /// How many routers its worker has.
    routers: Arc<AtomicUsize>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.routers.fetch_sub(1, Ordering::Relaxed);
        // A worker that is gone has no routers.
        let _ = self.commands.tell(Command::CloseRouter(self.id));
    }
}

impl Router {
    pub(crate) fn new(commands: Commands, worker: u32, id: RouterId, routers: Arc<AtomicUsize>) -> Self {
        routers.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::new(Shared { commands, worker, id, routers }) }
    }

    /// Which worker it lives on, from 0.
    pub fn worker(&self) -> u32 {
        self.shared.worker
    }

    /// A transport on which a client sends.
    pub async fn create_publish_transport(&self) -> Result<PublishTransport, WorkerGone> {
        let id = self.shared.commands.ask(|reply| Command::CreatePublish(self.shared.id, reply)).await?;
        Ok(PublishTransport { link: Link { router: self.clone(), id: id.ok_or(WorkerGone)? } })
    }

    /// A transport on which a client receives.
    pub async fn create_subscribe_transport(&self) -> Result<SubscribeTransport, WorkerGone> {
        let id = self.shared.commands.ask(|reply| Command::CreateSubscribe(self.shared.id, reply)).await?;
        Ok(SubscribeTransport { link: Link { router: self.clone(), id: id.ok_or(WorkerGone)? } })
    }

    /// Stops or resumes forwarding a track, whoever gets it.
    pub fn set_muted(&self, track: &TrackId, muted: bool) {
        self.tell(Command::SetMuted(self.shared.id, track.clone(), muted));
    }

    /// Sends a track to the attached recorder under this number.
    pub fn record(&self, track: &TrackId, number: TrackNumber) {
        self.tell(Command::Record(self.shared.id, track.clone(), number));
    }

    /// Sends a track to the recorder no more.
    pub fn record_no_more(&self, track: &TrackId) {
        self.tell(Command::RecordNoMore(self.shared.id, track.clone()));
    }

    /// Asks a track's publisher for a key frame, for the recorder.
    pub fn request_key_frame(&self, track: &TrackId) {
        self.tell(Command::RequestKeyFrame(self.shared.id, track.clone()));
    }

    fn tell(&self, command: Command) {
        // Whatever a worker that is gone should change is gone with it; its events end, and the owner learns it there.
        let _ = self.shared.commands.tell(command);
    }
}

/// What ends a transport when its handle is dropped.
struct Link {
    router: Router,
    id: TransportId,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.router.tell(Command::CloseTransport(self.id));
    }
}

/// A client's connection on which it sends. Dropping it closes it.
pub struct PublishTransport {
    link: Link,
}

impl PublishTransport {
    /// Its name in events.
    pub fn id(&self) -> TransportId {
        self.link.id
    }

    /// Answers the client's offer: what `admitted` names is received, the rest is rejected.
    ///
    /// # Errors
    /// When the offer cannot be used; then nothing has changed.
    pub async fn accept_offer(&self, offer: String, admitted: Vec<AdmittedMedia>) -> Result<Answer, RequestError> {
        let commands = &self.link.router.shared.commands;
        Ok(commands.ask(|reply| Command::AcceptOffer(self.link.id, offer, admitted, reply)).await??)
    }

    /// Checks a candidate of the client.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_ice_candidate(&self, line: &str) -> Result<(), NegotiateError> {
        Ok(check_candidate(line)?)
    }

    /// Stops receiving a track.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn unpublish(&self, track: &TrackId) -> Result<(), RequestError> {
        let commands = &self.link.router.shared.commands;
        Ok(commands.ask(|reply| Command::Unpublish(self.link.id, track.clone(), reply)).await?)
    }
}

/// A client's connection on which it receives. Dropping it closes it.
pub struct SubscribeTransport {
    link: Link,
}

impl SubscribeTransport {
    /// Its name in events.
    pub fn id(&self) -> TransportId {
        self.link.id
    }

    /// Sends a track; an offer follows as an event. One that is sent already is offered again.
    pub fn subscribe(&self, subscription: Subscription) {
        self.link.router.tell(Command::Subscribe(self.link.id, subscription));
    }

    /// Sends a track no more; an offer follows.
    pub fn unsubscribe(&self, track: &TrackId, cause: u64) {
        self.link.router.tell(Command::Unsubscribe(self.link.id, track.clone(), cause));
    }

    /// Sends more or less of a track.
    pub fn set_limits(&self, track: &TrackId, limits: Limits) {
        self.link.router.tell(Command::SetLimits(self.link.id, track.clone(), limits));
    }

    /// Takes the client's answer to the open offer.
    ///
    /// # Errors
    /// When no such offer is open or the answer cannot be used; then nothing has changed.
    pub async fn set_answer(&self, offer_id: Option<u64>, sdp: String) -> Result<(), RequestError> {
        let commands = &self.link.router.shared.commands;
        Ok(commands.ask(|reply| Command::AcceptAnswer(self.link.id, offer_id, sdp, reply)).await??)
    }

    /// Offers new ICE credentials.
    pub fn restart_ice(&self, cause: u64) {
        self.link.router.tell(Command::RestartIce(self.link.id, cause));
    }

    /// Checks a candidate of the client.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_ice_candidate(&self, line: &str) -> Result<(), NegotiateError> {
        Ok(check_candidate(line)?)
    }
}
