//! The room with small fakes around it: a policy that is a handful of closures, a media side that accepts everything.

mod chaos;
mod data;
mod entrance;
mod following;
mod moderation;
mod operator;
mod places;
mod publishing;
mod quality;
mod reasking;
mod receiving;
mod recording;
mod revocation;
mod speaking;
mod subscribing;
mod visibility;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use lockgate_model::policy::{
    Attribute, CommandAnswer, Decision, Denial, Door, Grant, Identity, Participant, Publication, TrackFacts,
};
use lockgate_model::{
    Codec, ErrorCode, Happening, MediaKind, OfferedMedia, PublisherId, Request, RoomName, SubscribeConnections,
    TrackId, UserId,
};
use serde_json::{Value, json};

use crate::*;

/// What the plugins say.
struct Rules {
    admit: Box<dyn Fn(&Participant) -> Decision>,
    publish: Box<dyn Fn(&TrackFacts) -> Decision>,
    subscribe: Box<SubscribeRule>,
    record: Box<RecordRule>,
    act: Box<ActRule>,
}

type SubscribeRule = dyn Fn(&Participant, &Publication) -> Decision;
type RecordRule = dyn Fn(Option<&Participant>, &Publication) -> Decision;
type ActRule = dyn Fn(&Participant, &str) -> CommandAnswer;

impl Default for Rules {
    fn default() -> Self {
        Self {
            admit: Box::new(|_| Ok(Grant::default())),
            publish: Box::new(|_| Ok(Grant::default())),
            subscribe: Box::new(|_, _| Ok(Grant::default())),
            record: Box::new(|_, _| Ok(Grant::default())),
            act: Box::new(|who, _| {
                let admin = who.identity.grant.is_admin();
                let decision = if admin { Ok(Grant::default()) } else { no("for admins only") };
                CommandAnswer { decision, reply: "ok".into(), effects: Vec::new() }
            }),
        }
    }
}

impl Rules {
    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Admission(asked) => Answer::One((self.admit)(&asked.who)),
            Question::Publish(asked) => Answer::Many(asked.tracks.iter().map(|track| (self.publish)(track)).collect()),
            Question::Subscribe(asked) => {
                Answer::Many(asked.publications.iter().map(|of| (self.subscribe)(&asked.who, of)).collect())
            }
            Question::Record(asked) => {
                Answer::Many(asked.publications.iter().map(|of| (self.record)(asked.who.as_ref(), of)).collect())
            }
            Question::Command(asked) => Answer::Act((self.act)(&asked.who, &asked.name)),
        }
    }
}

fn no(message: &str) -> Decision {
    Err(Denial::new(ErrorCode::FORBIDDEN, message))
}

/// A room and everything around it.
struct Call {
    room: Room,
    rules: Rules,
    /// Whether policy takes its time: questions wait in `asked` until `answer_next`.
    slow_policy: bool,
    asked: VecDeque<(Ticket, Box<Question>)>,
    /// Whether the media side takes its time with offers to subscribers: they wait until `offer`.
    slow_offers: bool,
    told: Vec<(PublisherId, Value)>,
    media: Vec<MediaAction>,
    recorder: Vec<RecordAction>,
    happened: Vec<Happening>,
    gone: Vec<PublisherId>,
    missed: Vec<Request>,
    sending: BTreeMap<Connection, Vec<TrackId>>,
    offers: u64,
    /// Up to when levels were told, in µs.
    heard_until: u64,
    /// Milliseconds since 1970.
    now_ms: u64,
    /// How many encodings each track has that is accepted.
    encodings: u8,
}

/// The one connection on which a member receives everybody.
fn shared(member: PublisherId) -> Connection {
    Connection { member, publisher: None }
}

impl Call {
    fn new() -> Self {
        Self::with(RoomConfig::default(), Rules::default())
    }

    fn ruled(rules: Rules) -> Self {
        Self::with(RoomConfig::default(), rules)
    }

    fn with(config: RoomConfig, rules: Rules) -> Self {
        Self {
            room: Room::new(RoomName::new("den").unwrap(), config),
            rules,
            slow_policy: false,
            asked: VecDeque::new(),
            slow_offers: false,
            told: Vec::new(),
            media: Vec::new(),
            recorder: Vec::new(),
            happened: Vec::new(),
            gone: Vec::new(),
            missed: Vec::new(),
            sending: BTreeMap::new(),
            offers: 0,
            heard_until: 0,
            now_ms: 1_000_000,
            encodings: 1,
        }
    }

    /// Ann (1) publishes these tracks, and Bob (2) watches her over a connection.
    fn watched(tracks: &[&str]) -> (Self, PublisherId, PublisherId, Connection) {
        let mut call = Self::new();
        let (ann, bob) = (call.join(1), call.join(2));
        call.publish(ann, tracks);
        call.subscribe(bob, ann);
        (call, ann, bob, shared(bob))
    }

    /// Somebody enters with a token that allows everything; their number is also their user's.
    fn join(&mut self, number: u64) -> PublisherId {
        self.join_with(number, all(), SubscribeConnections::Shared)
    }

    fn join_with(&mut self, number: u64, grant: Grant, connections: SubscribeConnections) -> PublisherId {
        self.join_as(number, number, grant, connections)
    }

    fn join_as(&mut self, number: u64, user: u64, grant: Grant, connections: SubscribeConnections) -> PublisherId {
        self.join_by(Door::Ws, number, identity(user, grant), connections)
    }

    /// An encoder enters.
    fn join_by_whip(&mut self, number: u64) -> PublisherId {
        self.join_by(Door::Whip, number, identity(number, all()), SubscribeConnections::Shared)
    }

    fn join_by(
        &mut self,
        door: Door,
        number: u64,
        identity: Identity,
        connections: SubscribeConnections,
    ) -> PublisherId {
        let member = PublisherId(number);
        let participant = Participant { identity, publisher_id: Some(member), door, peer: Ipv4Addr::LOCALHOST.into() };
        let id = Some(lockgate_model::RequestId::Text("join".into()));
        self.input(Input::Join(Join { member, participant, id, password: None, metadata: None, connections }));
        member
    }

    /// A client's message, as JSON without the room's name.
    fn say(&mut self, member: PublisherId, mut message: Value) {
        message["roomName"] = "den".into();
        let size = message.to_string().len();
        let request = Request { size, ..serde_json::from_value(message).unwrap() };
        self.input(Input::Command { member, request, offered: None });
    }

    /// Offers tracks: names that start with `a` are audio, with `x` of a codec that is not forwarded, all others VP8.
    fn publish(&mut self, member: PublisherId, tracks: &[&str]) {
        self.offer_tracks(member, json!({"type": "publish-offer", "id": "pub", "offer": "v=0"}), tracks);
    }

    fn offer_tracks(&mut self, member: PublisherId, mut message: Value, tracks: &[&str]) {
        message["roomName"] = "den".into();
        let request: Request = serde_json::from_value(message).unwrap();
        let offered = tracks.iter().enumerate().map(|(mid, name)| OfferedMedia {
            mid: mid.to_string(),
            kind: if name.starts_with('a') { MediaKind::Audio } else { MediaKind::Video },
            track_id: Some((*name).into()),
            codec: match name.as_bytes()[0] {
                b'a' => Some(Codec::Opus),
                b'x' => None,
                _ => Some(Codec::Vp8),
            },
            encodings: 1,
            sending: true,
        });
        let offered = Some(Ok(offered.collect()));
        self.input(Input::Command { member, request, offered });
    }

    fn subscribe(&mut self, member: PublisherId, to: PublisherId) {
        self.say(member, json!({"type": "subscribe-request", "id": "sub", "publisherId": to.0}));
    }

    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.room.handle(self.now_ms, input);
            while let Some(effect) = self.room.poll() {
                inputs.extend(self.carry_out(effect));
            }
        }
    }

    /// Time goes on by so many milliseconds; what it brings is done when it is due.
    fn wait(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(due) = self.room.next_timeout().filter(|due| *due <= until) {
            self.now_ms = self.now_ms.max(due);
            self.input(Input::Time);
            let next = self.room.next_timeout();
            assert!(next.is_none_or(|next| next > self.now_ms), "due at {next:?}, but it is {}", self.now_ms);
        }
        self.now_ms = until;
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { to, reply, .. } => self.told.push((to, serde_json::to_value(&reply).unwrap())),
            Effect::Ask { ticket, question } if self.slow_policy => self.asked.push_back((ticket, question)),
            Effect::Ask { ticket, question } => {
                let answer = self.rules.answer(&question);
                return Some(Input::Answer { ticket, answer });
            }
            Effect::Media(action) => {
                let came_of_it = self.drive(&action);
                self.media.push(action);
                return came_of_it;
            }
            Effect::Record(action) => self.recorder.push(action),
            Effect::Happened(happening) => self.happened.push(happening),
            Effect::Gone { member, missed } => {
                self.gone.push(member);
                self.missed.extend(missed);
            }
        }
        None
    }

    /// The media side: accepts what is admitted, offers what is subscribed.
    fn drive(&mut self, action: &MediaAction) -> Option<Input> {
        match action {
            MediaAction::AcceptOffer { ticket, admitted, .. } => {
                let tracks = admitted.iter().filter_map(|admitted| admitted.track.clone());
                let codec = |track: &TrackId| if track.as_str().starts_with('a') { Codec::Opus } else { Codec::Vp8 };
                let accept = |track| AcceptedTrack { codec: codec(&track), track, encodings: self.encodings };
                let tracks = tracks.map(accept).collect();
                Some(Input::Accepted { ticket: *ticket, result: Ok(Answered { sdp: "answer".into(), tracks }) })
            }
            MediaAction::Subscribe { connection, publisher, track, .. } => {
                let tracks = self.sending.entry(*connection).or_default();
                if !tracks.contains(track) {
                    tracks.push(track.clone());
                }
                (!self.slow_offers).then(|| self.make_offer(*connection, *publisher))
            }
            MediaAction::Unsubscribe { connection, track, .. } | MediaAction::ExpectNoMore { connection, track } => {
                self.sending.entry(*connection).or_default().retain(|sent| sent != track);
                None
            }
            MediaAction::TakeAnswer { ticket, offer_id, .. } => {
                let stale = offer_id.is_some_and(|id| id != self.offers);
                let problem = MediaProblem { code: ErrorCode::INVALID_SDP, message: "no such offer is open".into() };
                Some(Input::AnswerTaken { ticket: *ticket, result: if stale { Err(problem) } else { Ok(()) } })
            }
            _ => None,
        }
    }

    fn make_offer(&mut self, connection: Connection, cause: PublisherId) -> Input {
        self.offers += 1;
        let tracks = self.sending[&connection].iter().enumerate().map(|(mid, track)| (mid.to_string(), track.clone()));
        let (offer_id, sdp) = (self.offers, "offer".into());
        Input::Offer(SubscribeOffer { connection, offer_id, cause, sdp, tracks: tracks.collect() })
    }

    /// The media side offers what it sends by now.
    fn offer(&mut self, connection: Connection, cause: PublisherId) {
        let offer = self.make_offer(connection, cause);
        self.input(offer);
    }

    /// Policy answers the oldest question.
    fn answer_next(&mut self) {
        let (ticket, question) = self.asked.pop_front().unwrap();
        let answer = self.rules.answer(&question);
        self.input(Input::Answer { ticket, answer });
    }

    /// What a member was told since the last look, by type.
    fn heard(&mut self, member: PublisherId) -> Vec<String> {
        self.messages(member).iter().map(|message| message["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The messages that a member got since the last look.
    fn messages(&mut self, member: PublisherId) -> Vec<Value> {
        let (own, others) = std::mem::take(&mut self.told).into_iter().partition(|(to, _)| *to == member);
        self.told = others;
        own.into_iter().map(|(_, message)| message).collect()
    }

    /// The one message of a type that a member got since the last look.
    fn only(&mut self, member: PublisherId, kind: &str) -> Value {
        let messages = self.messages(member);
        let mut found = messages.iter().filter(|message| message["type"] == kind);
        let one = found.next().unwrap_or_else(|| panic!("no {kind} in {messages:#?}")).clone();
        assert!(found.next().is_none(), "several {kind} in {messages:#?}");
        one
    }

    /// How many tracks the last offer to a member has.
    fn offered(&mut self, member: PublisherId) -> usize {
        let mut offers = self.messages(member).into_iter().filter(|message| message["type"] == "subscribe-offer");
        offers.next_back().map_or(0, |offer| offer["tracks"].as_array().unwrap().len())
    }

    /// Forgets everything that was said and done so far.
    fn quiet(&mut self) {
        self.told.clear();
        self.media.clear();
        self.recorder.clear();
        self.happened.clear();
    }
}

/// A grant that allows what needs an explicit yes.
fn all() -> Grant {
    Grant { can_record: Some(true), admin: Some(true), ..Grant::default() }
}

fn identity(user: u64, grant: Grant) -> Identity {
    Identity {
        subject: user.to_string(),
        user_id: UserId(user),
        username: format!("user {user}"),
        claims: Vec::<Attribute>::new(),
        expires_at_ms: None,
        grant,
    }
}

fn track(name: &str) -> TrackId {
    TrackId::new(name).unwrap()
}
