//! A room's media: its router, and everybody's transports.
//!
//! Translates between the room's words and the worker's. What the worker reports becomes an input of the room.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use lockgate_model::carrier::TrackNumber;
use lockgate_model::{
    AdmittedMedia, Bitrate, ErrorCode, Limits, OfferedMedia, PublisherId, RequestId, Source, TrackId,
};
use lockgate_room::{
    AcceptedTrack, Answered, Connection, Input, MediaAction, MediaProblem, ReceiverAnswer, SubscribeOffer, Ticket,
};
use lockgate_worker::{
    CloseReason, NegotiateError, NewRouter, PublishTransport, ReceiveAnswer, RequestError, Router, RouterEvent,
    RouterEvents, SubscribeTransport, Subscription, TransportId, WorkerGone, check_candidate,
};

use crate::recording::Recordable;

/// The media of one room.
pub(super) struct RoomMedia {
    router: Router,
    events: RouterEvents,
    publish: HashMap<PublisherId, PublishTransport>,
    subscribe: HashMap<Connection, SubscribeTransport>,
    owners: HashMap<TransportId, Owner>,
    tracks: HashMap<TrackId, Published>,
    /// What the room is to hear before the next event.
    backlog: VecDeque<Input>,
}

#[derive(Clone, Copy)]
enum Owner {
    Publish(PublisherId),
    Subscribe(Connection),
}

/// What must be known of a track to record it.
struct Published {
    publisher: PublisherId,
    accepted: lockgate_worker::AcceptedTrack,
}

/// Reads the tracks of an offer, for the questions that come before the answer.
pub(crate) fn inspect_offer(sdp: &str) -> Result<Vec<OfferedMedia>, MediaProblem> {
    if sdp.len() > MAX_SDP {
        let message = "an offer has at most 512 KiB".to_owned();
        return Err(MediaProblem { code: ErrorCode::INVALID_SDP, message });
    }
    lockgate_worker::inspect_offer(sdp).map_err(problem)
}

impl RoomMedia {
    pub(super) fn new(router: NewRouter) -> Self {
        let NewRouter { router, events } = router;
        Self {
            router,
            events,
            publish: HashMap::new(),
            subscribe: HashMap::new(),
            owners: HashMap::new(),
            tracks: HashMap::new(),
            backlog: VecDeque::new(),
        }
    }

    /// Does what the room wants; some actions have a result at once.
    pub(super) async fn perform(&mut self, action: MediaAction) -> Option<Input> {
        match action {
            MediaAction::AcceptOffer { ticket, member, offer, admitted } => {
                Some(self.accept_offer(ticket, member, offer, admitted).await)
            }
            MediaAction::PublishCandidate { id, member, line } => {
                look_at_candidate(id, member, "publish-ice-candidate", &line)
            }
            MediaAction::Unpublish { member, track } => self.unpublish(member, &track).await,
            MediaAction::LimitPublication { member, track, max_bitrate } => {
                self.limit_publication(member, &track, max_bitrate)
            }
            MediaAction::AdmitChannel { member, stream, track } => self.admit_channel(member, stream, &track),
            MediaAction::RefuseChannel { member, stream } => self.refuse_channel(member, stream),
            MediaAction::Mute { track, muted } => self.mute(&track, muted),
            MediaAction::Subscribe { connection, publisher, track, limits } => {
                self.send(connection, publisher, track, limits).await
            }
            MediaAction::Unsubscribe { connection, publisher, track } => self.unsend(connection, publisher, &track),
            MediaAction::ExpectNoMore { connection, track } => self.expect_no_more(connection, &track),
            MediaAction::DiscardLast { connection, publisher, tracks } => {
                self.discard_last(connection, publisher, tracks)
            }
            MediaAction::SetLimits { connection, track, limits } => self.limit(connection, &track, limits),
            MediaAction::TakeAnswer { ticket, connection, offer_id, answer } => {
                Some(self.take_answer(ticket, connection, offer_id, answer).await)
            }
            MediaAction::AnswerReceiver { ticket, connection, offer } => {
                Some(self.answer_receiver(ticket, connection, offer).await)
            }
            MediaAction::SubscribeCandidate { id, connection, line } => {
                look_at_candidate(id, connection.member, "subscribe-ice-candidate", &line)
            }
            MediaAction::RestartIce { connection, publisher } => self.restart_ice(connection, publisher),
            MediaAction::CloseConnection { connection } => self.close_connection(connection),
            MediaAction::ClosePublish { member } => self.close_publish(member),
        }
    }

    /// The next thing that the room must hear. None: the room did not keep up, and its media is closed for good.
    pub(super) async fn next_event(&mut self) -> Option<Input> {
        loop {
            if let Some(input) = self.backlog.pop_front() {
                return Some(input);
            }
            let event = self.events.recv().await?;
            self.on_event(event);
        }
    }

    /// What the recorder must know of a track; none when it is not received any more.
    pub(super) fn recordable(&self, track: &TrackId, source: Source) -> Option<Recordable> {
        let Published { publisher, accepted } = self.tracks.get(track)?;
        Some(Recordable {
            worker: self.publish.get(publisher)?.worker(),
            kind: accepted.kind,
            source,
            codec: accepted.codec,
            payload_type: accepted.payload_type,
            fmtp: accepted.fmtp.clone(),
            level_id: accepted.level_id,
        })
    }

    /// Sends a track's packets to the recorder from here on.
    pub(super) fn record(&self, track: &TrackId, number: TrackNumber) {
        if self.tracks.contains_key(track) {
            self.router.record(track, number);
            self.router.request_key_frame(track);
        }
    }

    pub(super) fn record_no_more(&self, track: &TrackId) {
        self.router.record_no_more(track);
    }

    pub(super) fn request_key_frame(&self, track: &TrackId) {
        self.router.request_key_frame(track);
    }

    // Publishing.

    async fn accept_offer(
        &mut self,
        ticket: Ticket,
        member: PublisherId,
        offer: String,
        admitted: Vec<AdmittedMedia>,
    ) -> Input {
        let result = match self.answer_offer(member, offer, admitted).await {
            Ok(answer) => Ok(self.note_accepted(member, answer)),
            Err(error) => Err(request_problem(error)),
        };
        Input::Accepted { ticket, result }
    }

    async fn answer_offer(
        &mut self,
        member: PublisherId,
        offer: String,
        admitted: Vec<AdmittedMedia>,
    ) -> Result<lockgate_worker::Answer, RequestError> {
        if !self.publish.contains_key(&member) {
            let transport = self.router.create_publish_transport().await.map_err(RequestError::Gone)?;
            self.owners.insert(transport.id(), Owner::Publish(member));
            self.publish.insert(member, transport);
        }
        let transport = self.publish.get(&member).ok_or(RequestError::Gone(WorkerGone))?;
        transport.accept_offer(offer, admitted).await
    }

    fn note_accepted(&mut self, member: PublisherId, answer: lockgate_worker::Answer) -> Answered {
        self.tracks.retain(|_, published| published.publisher != member);
        let mut tracks = Vec::new();
        for accepted in answer.tracks {
            tracks.push(AcceptedTrack {
                track: accepted.track.clone(),
                codec: accepted.codec,
                encodings: accepted.encodings,
            });
            self.tracks.insert(accepted.track.clone(), Published { publisher: member, accepted });
        }
        Answered { sdp: answer.sdp, tracks }
    }

    async fn unpublish(&mut self, member: PublisherId, track: &TrackId) -> Option<Input> {
        self.tracks.remove(track);
        let transport = self.publish.get(&member)?;
        if let Err(error) = transport.unpublish(track).await {
            tracing::debug!(%error, "a track to be unpublished was gone");
        }
        None
    }

    fn limit_publication(&self, member: PublisherId, track: &TrackId, most: Option<Bitrate>) -> Option<Input> {
        self.publish.get(&member)?.limit(track, most);
        None
    }

    fn admit_channel(&self, member: PublisherId, stream: u16, track: &TrackId) -> Option<Input> {
        self.publish.get(&member)?.admit_channel(stream, track);
        None
    }

    fn refuse_channel(&self, member: PublisherId, stream: u16) -> Option<Input> {
        self.publish.get(&member)?.refuse_channel(stream);
        None
    }

    fn mute(&self, track: &TrackId, muted: bool) -> Option<Input> {
        self.router.set_muted(track, muted);
        None
    }

    fn close_publish(&mut self, member: PublisherId) -> Option<Input> {
        self.tracks.retain(|_, published| published.publisher != member);
        if let Some(transport) = self.publish.remove(&member) {
            self.owners.remove(&transport.id());
        }
        None
    }

    // Subscribing.

    async fn send(
        &mut self,
        connection: Connection,
        publisher: PublisherId,
        track: TrackId,
        limits: Limits,
    ) -> Option<Input> {
        let (stream, cause) = (publisher.to_string(), publisher.0);
        match self.open_subscribe(connection).await {
            Ok(transport) => {
                transport.subscribe(Subscription { track, stream, cause, limits });
                None
            }
            Err(gone) => Some(Input::ConnectionLost { connection, unanswered: false, reason: gone.to_string() }),
        }
    }

    async fn open_subscribe(&mut self, connection: Connection) -> Result<&SubscribeTransport, WorkerGone> {
        let transport: &SubscribeTransport = match self.subscribe.entry(connection) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let transport = self.router.create_subscribe_transport().await?;
                self.owners.insert(transport.id(), Owner::Subscribe(connection));
                place.insert(transport)
            }
        };
        Ok(transport)
    }

    async fn answer_receiver(&mut self, ticket: Ticket, connection: Connection, offer: String) -> Input {
        let result = match self.open_subscribe(connection).await {
            Ok(transport) => transport.accept_offer(offer).await,
            Err(gone) => Err(RequestError::Gone(gone)),
        };
        let result = result.map(|ReceiveAnswer { sdp, tracks }| ReceiverAnswer { sdp, tracks });
        Input::ReceiverAnswered { ticket, result: result.map_err(request_problem) }
    }

    fn unsend(&self, connection: Connection, publisher: PublisherId, track: &TrackId) -> Option<Input> {
        self.subscribe.get(&connection)?.unsubscribe(track, publisher.0);
        None
    }

    fn expect_no_more(&self, connection: Connection, track: &TrackId) -> Option<Input> {
        self.subscribe.get(&connection)?.expect_no_more(track);
        None
    }

    fn discard_last(
        &self,
        connection: Connection,
        publisher: Option<PublisherId>,
        tracks: Option<BTreeSet<TrackId>>,
    ) -> Option<Input> {
        self.subscribe.get(&connection)?.discard_last(publisher.map(|publisher| publisher.0), tracks);
        None
    }

    fn limit(&self, connection: Connection, track: &TrackId, limits: Limits) -> Option<Input> {
        self.subscribe.get(&connection)?.set_limits(track, limits);
        None
    }

    async fn take_answer(
        &self,
        ticket: Ticket,
        connection: Connection,
        offer_id: Option<u64>,
        answer: String,
    ) -> Input {
        let result = match self.subscribe.get(&connection) {
            Some(transport) => transport.set_answer(offer_id, answer).await.map_err(request_problem),
            None => Err(MediaProblem {
                code: ErrorCode::INVALID_SDP,
                message: "no offer is open on such a connection".into(),
            }),
        };
        Input::AnswerTaken { ticket, result }
    }

    fn restart_ice(&self, connection: Connection, publisher: PublisherId) -> Option<Input> {
        self.subscribe.get(&connection)?.restart_ice(publisher.0);
        None
    }

    fn close_connection(&mut self, connection: Connection) -> Option<Input> {
        let transport = self.subscribe.remove(&connection)?;
        self.owners.remove(&transport.id());
        None
    }

    // The worker's reports.

    fn on_event(&mut self, event: RouterEvent) {
        let input = match event {
            RouterEvent::Connected { transport } => self.owners.get(&transport).map(|owner| match *owner {
                Owner::Publish(member) | Owner::Subscribe(Connection { member, .. }) => Input::Connected { member },
            }),
            RouterEvent::Closed { transport, reason } => {
                let unanswered = matches!(reason, CloseReason::NoAnswer);
                self.on_closed(transport, unanswered, reason.to_string())
            }
            RouterEvent::ChannelOpened { transport, stream, channel } => {
                self.publisher(transport).map(|member| Input::ChannelOpened { member, stream, channel })
            }
            RouterEvent::ChannelClosed { transport, stream } => {
                self.publisher(transport).map(|member| Input::ChannelClosed { member, stream })
            }
            RouterEvent::ChannelLost { transport, track, loss } => {
                self.connection(transport).map(|connection| Input::ChannelLost { connection, track, loss })
            }
            RouterEvent::Offer { transport, offer_id, cause, sdp, tracks } => {
                self.connection(transport).map(|connection| {
                    let cause = PublisherId(cause);
                    Input::Offer(SubscribeOffer { connection, offer_id, cause, sdp, tracks })
                })
            }
            RouterEvent::Placed { transport, cause, tracks } => self
                .connection(transport)
                .map(|connection| Input::Placed { connection, cause: PublisherId(cause), tracks }),
            RouterEvent::Levels { at, heard } => Some(Input::Levels { at, heard }),
            RouterEvent::Quality { transport, quality, rates } => {
                self.owners.get(&transport).map(|owner| match *owner {
                    Owner::Publish(member) => {
                        self.backlog.extend([Input::Rates { member, tracks: rates }]);
                        Input::Sent { member, quality }
                    }
                    Owner::Subscribe(connection) => Input::Received { connection, quality },
                })
            }
            RouterEvent::Steered { transport, track, encodings } => {
                self.publisher(transport).map(|member| Input::Steered { member, track, encodings })
            }
            RouterEvent::LayerChanged { transport, track, layer, reason } => {
                self.connection(transport).map(|connection| Input::Layer { connection, track, layer, reason })
            }
        };
        self.backlog.extend(input);
    }

    /// A transport ended by itself. One that was closed from here has no owner any more.
    fn on_closed(&mut self, transport: TransportId, unanswered: bool, reason: String) -> Option<Input> {
        match self.owners.remove(&transport)? {
            Owner::Publish(member) => {
                self.close_publish(member);
                Some(Input::PublishLost { member, reason })
            }
            Owner::Subscribe(connection) => {
                self.subscribe.remove(&connection);
                Some(Input::ConnectionLost { connection, unanswered, reason })
            }
        }
    }

    fn publisher(&self, transport: TransportId) -> Option<PublisherId> {
        match self.owners.get(&transport)? {
            Owner::Publish(member) => Some(*member),
            Owner::Subscribe(_) => None,
        }
    }

    fn connection(&self, transport: TransportId) -> Option<Connection> {
        match self.owners.get(&transport)? {
            Owner::Subscribe(connection) => Some(*connection),
            Owner::Publish(_) => None,
        }
    }
}

/// A candidate is only looked at: this side learns addresses from checks (ICE-lite), and so may take it early, late or twice.
fn look_at_candidate(id: Option<RequestId>, member: PublisherId, of: &'static str, line: &str) -> Option<Input> {
    let error = check_candidate(line).err()?;
    Some(Input::CandidateRefused { member, id, of, problem: problem(error.into()) })
}

fn problem(error: NegotiateError) -> MediaProblem {
    MediaProblem { code: error.code(), message: error.to_string() }
}

fn request_problem(error: RequestError) -> MediaProblem {
    match error {
        RequestError::Negotiate(error) => problem(error),
        RequestError::Gone(error) => MediaProblem { code: ErrorCode::INTERNAL, message: error.to_string() },
    }
}

/// Longest offer, in bytes. One of a browser with 64 tracks, each in all its codecs, is shorter.
const MAX_SDP: usize = 512 * 1024;

#[cfg(test)]
mod tests;
