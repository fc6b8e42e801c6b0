//! The handles of transports, as their owners see them. Dropping one ends what it stands for.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockgate_media::{
    AdmittedMedia, Answer, Limits, NegotiateError, ReceiveAnswer, Subscription, TransportId, ViewersAnswer,
    check_candidate,
};
use lockgate_model::{Bitrate, TrackId};

use crate::command::{Command, Commands};
use crate::events::transport_id;
use crate::router::Shared;

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

/// What ends a transport when its handle is dropped.
pub(crate) struct Link {
    pub(crate) router: Arc<Shared>,
    pub(crate) commands: Commands,
    pub(crate) worker: u32,
    /// As its worker's engine names it.
    pub(crate) id: TransportId,
}

impl Link {
    fn tell(&self, command: Command) {
        // Whatever a worker that is gone should change is gone with it; the owner learns it by the transport's end.
        let _ = self.commands.tell(command);
    }

    fn end(&self, command: Command) {
        // As above.
        let _ = self.commands.end(command);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end(Command::CloseTransport(self.id));
        self.router.forget(self.worker, self.id);
    }
}

/// A client's connection on which it sends. Dropping it closes it.
pub struct PublishTransport {
    pub(crate) link: Link,
}

impl PublishTransport {
    /// Its name in events.
    pub fn id(&self) -> TransportId {
        transport_id(self.link.worker, self.link.id)
    }

    /// The worker that carries it, from 0: its tracks go to the recorder from there.
    pub fn worker(&self) -> u32 {
        self.link.worker
    }

    /// Answers the client's offer: what `admitted` names is received, the rest is rejected.
    ///
    /// # Errors
    /// When the offer cannot be used; then nothing has changed.
    pub async fn accept_offer(&self, offer: String, admitted: Vec<AdmittedMedia>) -> Result<Answer, RequestError> {
        let commands = &self.link.commands;
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
        let commands = &self.link.commands;
        Ok(commands.ask(|reply| Command::Unpublish(self.link.id, track.clone(), reply)).await?)
    }
}

impl PublishTransport {
    /// Lets through so much of a track from now on; none: all that comes.
    pub fn limit(&self, track: &TrackId, most: Option<Bitrate>) {
        self.link.tell(Command::LimitPublication(self.link.id, track.clone(), most));
    }

    /// Forwards a data channel that the client opened, under this name.
    pub fn admit_channel(&self, stream: u16, track: &TrackId) {
        self.link.tell(Command::AdmitChannel(self.link.id, stream, track.clone()));
    }

    /// Ends a data channel that the client opened.
    pub fn refuse_channel(&self, stream: u16) {
        self.link.end(Command::RefuseChannel(self.link.id, stream));
    }
}

/// A client's connection on which it receives. Dropping it closes it.
pub struct SubscribeTransport {
    pub(crate) link: Link,
}

impl SubscribeTransport {
    /// The worker that carries it, from 0.
    pub fn worker(&self) -> u32 {
        self.link.worker
    }

    /// Its name in events.
    pub fn id(&self) -> TransportId {
        transport_id(self.link.worker, self.link.id)
    }

    /// Sends a track; an offer follows as an event. One that is sent already is offered again.
    pub fn subscribe(&self, subscription: Subscription) {
        self.link.tell(Command::Subscribe(self.link.id, subscription));
    }

    /// Sends a track no more; an offer follows.
    pub fn unsubscribe(&self, track: &TrackId, cause: u64) {
        self.link.end(Command::Unsubscribe(self.link.id, track.clone(), cause));
    }

    /// Waits no more for a data channel that its publisher ended; what was said on it last is still sent.
    pub fn expect_no_more(&self, track: &TrackId) {
        self.link.end(Command::ExpectNoMore(self.link.id, track.clone()));
    }

    /// What was said last on data channels that their publishers ended is sent no more: on those that were subscribed to by this cause, and
    /// of these names; none: on all.
    pub fn discard_last(&self, cause: Option<u64>, tracks: Option<BTreeSet<TrackId>>) {
        self.link.end(Command::DiscardLast(self.link.id, cause, tracks));
    }

    /// Sends more or less of a track.
    pub fn set_limits(&self, track: &TrackId, limits: Limits) {
        self.link.tell(Command::SetLimits(self.link.id, track.clone(), limits));
    }

    /// Takes the client's answer to the open offer.
    ///
    /// # Errors
    /// When no such offer is open or the answer cannot be used; then nothing has changed.
    pub async fn set_answer(&self, offer_id: Option<u64>, sdp: String) -> Result<(), RequestError> {
        // Here, and not on the thread that forwards media.
        let answer = ViewersAnswer::read(&sdp)?;
        let commands = &self.link.commands;
        Ok(commands.ask(|reply| Command::AcceptAnswer(self.link.id, offer_id, answer, reply)).await??)
    }

    /// Answers the client's own offer to receive: what is subscribed to is sent on its lines, and the transport makes no offers from then
    /// on. Again with other ICE credentials: a restart.
    ///
    /// # Errors
    /// When the offer cannot be used; then nothing has changed.
    pub async fn accept_offer(&self, offer: String) -> Result<ReceiveAnswer, RequestError> {
        let commands = &self.link.commands;
        Ok(commands.ask(|reply| Command::AnswerReceiver(self.link.id, offer, reply)).await??)
    }

    /// Offers new ICE credentials.
    pub fn restart_ice(&self, cause: u64) {
        self.link.tell(Command::RestartIce(self.link.id, cause));
    }

    /// Checks a candidate of the client.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_ice_candidate(&self, line: &str) -> Result<(), NegotiateError> {
        Ok(check_candidate(line)?)
    }
}
