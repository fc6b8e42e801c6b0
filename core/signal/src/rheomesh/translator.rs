//! One client: its messages become those of the `type` dialect, and what the shell says becomes its messages.

use std::collections::VecDeque;

use lockgate_model::{
    Command, ErrorCode, Event, MaxLayer, RecordingState, Reply, Request, RequestId, RevokedWhat, RoomName, Secret,
    SubscribeConnections, TrackId,
};

use super::publishing::Publishing;
use super::subscribing::Subscribing;
use super::wire::{self, FromClient, Rid, Sdp, ToClient};
use crate::dialect::{Dialect, Said, TOO_MANY};
use crate::socket::CloseCode;

/// One client.
pub(crate) struct Translator {
    room: RoomName,
    /// Until it was shown.
    token: Option<Secret>,
    place: Place,
    publishing: Publishing,
    subscribing: Subscribing,
    /// Whether it has asked for a recording: then it is told that one fails.
    records: bool,
    /// Counts requests.
    number: i64,
}

/// Whether the client is in its room.
enum Place {
    /// On its way, or in the lobby. What it says is kept until it is in: it knows of no such thing, and waits for answers.
    Outside {
        held: VecDeque<(FromClient, usize)>,
        bytes: usize,
    },
    Inside,
    /// The socket is about to end: nothing more is heard.
    Leaving,
}

impl Dialect for Translator {
    fn begin(&mut self, said: &mut Said) {
        let token = self.token.take().unwrap_or_default();
        self.say(Command::Auth { token, resume: None }, 0, said);
        let (room_name, subscribe_connections) = (self.room.clone(), Some(SubscribeConnections::Shared));
        self.say(Command::JoinRoom { room_name, password: None, metadata: None, subscribe_connections }, 0, said);
    }

    fn on_text(&mut self, text: &str, allowed: bool, said: &mut Said) {
        let message = match wire::read(text) {
            Ok(message) if allowed => message,
            Ok(message) => return self.refuse(message, TOO_MANY, said),
            Err(_) if !allowed => return tell(said, &ToClient::error(ErrorCode::RATE_LIMITED, TOO_MANY, "")),
            Err(refusal) => return tell(said, &refusal),
        };
        match &mut self.place {
            Place::Leaving => {}
            Place::Inside => self.hear(message, text.len(), said),
            // An answer shows that the socket lives.
            Place::Outside { .. } if matches!(message, FromClient::Ping {}) => self.hear(message, text.len(), said),
            Place::Outside { held, bytes } if held.len() < MAX_HELD && *bytes + text.len() <= MAX_HELD_BYTES => {
                *bytes += text.len();
                held.push_back((message, text.len()));
            }
            Place::Outside { .. } => self.refuse(message, "too many messages before you are let in", said),
        }
    }

    fn on_reply(&mut self, reply: Reply, said: &mut Said) {
        let number = match reply.id {
            Some(RequestId::Number(number)) => number,
            _ => 0,
        };
        self.on_event(number, reply.event, said);
        self.ask_for_more(said);
    }

    /// The dialect has no word for coming back: a page that lost its socket begins anew.
    fn resumes(&self) -> bool {
        false
    }
}

impl Translator {
    /// A client who comes to this room with this token; an empty one is none.
    pub(crate) fn new(room: RoomName, token: Secret) -> Self {
        Self {
            room,
            token: Some(token),
            place: Place::Outside { held: VecDeque::new(), bytes: 0 },
            publishing: Publishing::default(),
            subscribing: Subscribing::default(),
            records: false,
            number: 0,
        }
    }

    // The client.

    fn hear(&mut self, message: FromClient, size: usize, said: &mut Said) {
        let room_name = self.room.clone();
        match message {
            FromClient::Ping {} => self.say(Command::Ping {}, size, said),
            // Transports begin with their first description.
            FromClient::PublisherInit {} => {}
            FromClient::SubscriberInit {} => self.subscribing.listen().iter().for_each(|told| tell(said, told)),
            FromClient::RequestPublish {} => tell(said, &ToClient::StartAsPublisher {}),
            FromClient::PublisherIce { candidate } => {
                self.say(Command::PublishIceCandidate { room_name, candidate }, size, said);
            }
            FromClient::SubscriberIce { candidate } => {
                self.say(Command::SubscribeIceCandidate { room_name, publisher_id: None, candidate }, size, said);
            }
            FromClient::Offer { sdp } => self.on_offer(&sdp.into_text(), size, said),
            FromClient::Answer { sdp } => self.on_answer(sdp.into_text(), size, said),
            // What was offered is published already, as far as policy allows: that was answered to the offer.
            FromClient::Publish {} => {}
            FromClient::Subscribe { publisher_id } => self.on_subscribe(publisher_id, said),
            FromClient::StopPublish { publisher_id: track_id } => {
                self.publishing.take_back(&track_id);
                self.say(Command::Unpublish { room_name, track_id }, size, said);
            }
            FromClient::StopSubscribe { subscriber_id } => self.on_stop_subscribe(subscriber_id, size, said),
            FromClient::SetPreferredLayer { subscriber_id, sid, tid, rid } => {
                self.on_layer(subscriber_id, (sid.or(rid.map(place_of)), tid), size, said);
            }
            FromClient::RestartIce {} => {
                self.say(Command::RestartIce { room_name, publisher_id: None }, size, said);
            }
            FromClient::Record { publisher_id } => self.on_record(&publisher_id, said),
            FromClient::StartRecording { publisher_id } => {
                self.records = true;
                self.say(Command::StartRecording { room_name, tracks: Some(vec![publisher_id]) }, size, said);
            }
            FromClient::StopRecording { publisher_id } => {
                self.say(Command::StopRecording { room_name, tracks: Some(vec![publisher_id]) }, size, said);
            }
        }
    }

    fn on_offer(&mut self, offer: &str, size: usize, said: &mut Said) {
        match self.publishing.offer(self.number + 1, offer) {
            Ok(offer) => {
                let room_name = self.room.clone();
                self.say(Command::PublishOffer { room_name, offer, tracks: Vec::new() }, size, said);
            }
            Err(answer) => {
                tell(said, &ToClient::Answer { sdp: Sdp::answer(answer) });
                tell(said, &ToClient::error(ErrorCode::RATE_LIMITED, "too many offers wait for an answer", "Offer"));
            }
        }
    }

    fn on_answer(&mut self, answer: String, size: usize, said: &mut Said) {
        let Some((publisher_id, offer_id)) = self.subscribing.offer() else {
            return tell(said, &ToClient::error(ErrorCode::INVALID_SDP, "nothing was offered to you", "Answer"));
        };
        let (room_name, offer_id) = (self.room.clone(), Some(offer_id));
        self.say(Command::SubscribeAnswer { room_name, publisher_id, answer, offer_id }, size, said);
    }

    fn on_subscribe(&mut self, track: TrackId, said: &mut Said) {
        if self.subscribing.want(track) {
            self.ask_for_more(said);
        } else {
            tell(said, &ToClient::error(ErrorCode::NOT_FOUND, NOT_PUBLISHED, "Subscribe"));
        }
    }

    fn on_stop_subscribe(&mut self, track: TrackId, size: usize, said: &mut Said) {
        self.subscribing.want_no_more(&track);
        let Some(publisher_id) = self.subscribing.publisher(&track) else {
            return tell(said, &ToClient::error(ErrorCode::NOT_FOUND, NOT_PUBLISHED, "StopSubscribe"));
        };
        let (room_name, track_ids) = (self.room.clone(), Some(vec![track]));
        self.say(Command::Unsubscribe { room_name, publisher_id, track_ids }, size, said);
    }

    fn on_layer(&mut self, track_id: TrackId, layer: (Option<u8>, Option<u8>), size: usize, said: &mut Said) {
        let Some(publisher_id) = self.subscribing.publisher(&track_id) else {
            return tell(said, &ToClient::error(ErrorCode::NOT_FOUND, NOT_PUBLISHED, "SetPreferredLayer"));
        };
        let (room_name, (spatial, temporal), paused, priority) = (self.room.clone(), layer, None, None);
        let command = Command::SetLayer { room_name, publisher_id, track_id, spatial, temporal, paused, priority };
        self.say(command, size, said);
    }

    /// The examples want a description for a program that receives RTP, before they let anybody start a recording. Here the node
    /// records by itself: there is nothing to receive.
    fn on_record(&self, track: &TrackId, said: &mut Said) {
        if self.publishing.has(track) || self.subscribing.publisher(track).is_some() {
            tell(said, &ToClient::RecordingSdp { sdp: NOTHING_TO_RECEIVE.to_owned() });
        } else {
            tell(said, &ToClient::RecordingError { error: NOT_PUBLISHED.to_owned() });
        }
    }

    /// Asks for the tracks that are to be received, as far as the room has places for requests.
    fn ask_for_more(&mut self, said: &mut Said) {
        while let Some((publisher_id, track)) = self.subscribing.ask(self.number + 1) {
            let (room_name, track_ids) = (self.room.clone(), Some(vec![track]));
            let max_layer: Option<MaxLayer> = None;
            self.say(Command::SubscribeRequest { room_name, publisher_id, track_ids, max_layer }, 0, said);
        }
    }

    /// A message that is not looked at. An offer is answered all the same: its client does nothing else until then.
    fn refuse(&self, message: FromClient, why: &str, said: &mut Said) {
        if let FromClient::Offer { sdp } = message {
            let answer = self.publishing.refuse_unheard(&sdp.into_text());
            tell(said, &ToClient::Answer { sdp: Sdp::answer(answer) });
        }
        tell(said, &ToClient::error(ErrorCode::RATE_LIMITED, why, ""));
    }

    // The shell.

    fn on_event(&mut self, number: i64, event: Event, said: &mut Said) {
        match event {
            Event::Pong {} => tell(said, &ToClient::Pong {}),
            Event::RoomJoined { .. } => self.on_joined(said),
            Event::RoomWaiting { message, .. } => tell(said, &ToClient::error(ErrorCode::WAITING, message, "")),
            Event::PublishersList { publishers, .. } => {
                let lists = publishers.into_iter().map(|one| self.subscribing.meet(one.publisher_id, one.tracks));
                lists.flatten().for_each(|told| tell(said, &told));
            }
            Event::NewPublisher { publisher_id, tracks, .. } => {
                self.subscribing.meet(publisher_id, tracks).iter().for_each(|told| tell(said, told));
            }
            Event::PublisherLeft { publisher_id, .. } => drop(self.subscribing.meet(publisher_id, Vec::new())),
            Event::PublishAnswer { answer, tracks, .. } => {
                self.publishing.answer(number, &answer, tracks);
                tell(said, &ToClient::Answer { sdp: Sdp::answer(answer) });
            }
            Event::SubscribeOffer { publisher_id, offer, offer_id, .. } => {
                self.subscribing.note_offer(publisher_id, offer_id);
                tell(said, &ToClient::Offer { sdp: Sdp::offer(offer) });
                self.on_subscribed(number, said);
            }
            Event::Subscribed { .. } => self.on_subscribed(number, said),
            Event::Revoked { what, reason, track_id, .. } => self.on_revoked(what, reason, track_id, said),
            Event::RecordingState { state: RecordingState::Failed, reason, .. } if self.records => {
                let error = reason.unwrap_or_else(|| "the recording has failed".to_owned());
                tell(said, &ToClient::RecordingError { error });
            }
            Event::Error { code, message, of, .. } => self.on_error(number, (code, message), &of, said),
            // The dialect has no words for the rest.
            _ => {}
        }
    }

    fn on_joined(&mut self, said: &mut Said) {
        let before = std::mem::replace(&mut self.place, Place::Inside);
        if let Place::Outside { held, .. } = before {
            held.into_iter().for_each(|(message, size)| self.hear(message, size, said));
        }
    }

    /// The subscriber's id is the track's: nobody receives a track twice.
    fn on_subscribed(&mut self, number: i64, said: &mut Said) {
        if let Some(subscriber_id) = self.subscribing.answered(number) {
            tell(said, &ToClient::Subscribed { subscriber_id });
        }
    }

    fn on_revoked(&mut self, what: RevokedWhat, reason: String, track: Option<TrackId>, said: &mut Said) {
        match what {
            RevokedWhat::Recording => return tell(said, &ToClient::RecordingError { error: reason }),
            RevokedWhat::Publication => track.iter().for_each(|track| self.publishing.take_back(track)),
            RevokedWhat::Subscription => {}
            // A socket here is for one room.
            RevokedWhat::Stay => self.leave("you are not in the room any more", said),
        }
        tell(said, &ToClient::error(ErrorCode::FORBIDDEN, reason, ""));
    }

    /// Ends the socket, unless the shell is about to do so by itself.
    fn leave(&mut self, why: &'static str, said: &mut Said) {
        if !matches!(std::mem::replace(&mut self.place, Place::Leaving), Place::Leaving) {
            said.close = Some((CloseCode::Policy, why));
        }
    }

    fn on_error(&mut self, number: i64, (code, message): (ErrorCode, String), of: &str, said: &mut Said) {
        if let Some(answer) = self.publishing.refuse(number) {
            tell(said, &ToClient::Answer { sdp: Sdp::answer(answer) });
        }
        // Its place among those that are asked for is free.
        let _ = self.subscribing.answered(number);
        match of {
            "start-recording" | "stop-recording" => tell(said, &ToClient::RecordingError { error: message }),
            // The shell closes after this, with a code that says so.
            "auth" => {
                self.place = Place::Leaving;
                tell(said, &ToClient::error(code, message, ""));
            }
            "join-room" => {
                tell(said, &ToClient::error(code, message, ""));
                self.leave("the room does not let you in", said);
            }
            of => tell(said, &ToClient::error(code, message, action_of(of))),
        }
    }

    // Saying things.

    fn say(&mut self, command: Command, size: usize, said: &mut Said) {
        self.number += 1;
        said.requests.push_back(Request { id: Some(RequestId::Number(self.number)), command, size });
    }
}

fn tell(said: &mut Said, message: &ToClient) {
    said.texts.push_back(wire::write(message));
}

/// Encodings are counted from the smallest.
fn place_of(rid: Rid) -> u8 {
    match rid {
        Rid::Low => 0,
        Rid::Mid => 1,
        Rid::High => 2,
    }
}

/// The action that becomes a message of this type.
fn action_of(of: &str) -> &str {
    match of {
        "publish-offer" => "Offer",
        "publish-ice-candidate" => "PublisherIce",
        "unpublish" => "StopPublish",
        "subscribe-request" => "Subscribe",
        "subscribe-answer" => "Answer",
        "subscribe-ice-candidate" => "SubscriberIce",
        "unsubscribe" => "StopSubscribe",
        "restart-ice" => "RestartICE",
        "set-layer" => "SetPreferredLayer",
        _ => "",
    }
}

const NOT_PUBLISHED: &str = "nobody publishes this, as far as you may know";
/// A description without streams (RFC 8866 §5: there need be none).
const NOTHING_TO_RECEIVE: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Lockgate\r\n\
     i=The node records by itself: StartRecording writes files, and there is nothing to receive.\r\nt=0 0\r\n";
/// Messages of a client that is not let in yet: as many as a room holds of a participant.
const MAX_HELD: usize = 64;
const MAX_HELD_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
