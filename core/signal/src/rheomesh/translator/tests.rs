use lockgate_model::policy::Grant;
use lockgate_model::{MediaKind, PublishedTrack, PublisherId, RecordingId, Source, TrackInfo, UserId};
use serde_json::{Value, json};

use super::*;

/// A client at the door, and what has been said so far.
struct Call {
    translator: Translator,
    said: Said,
}

impl Call {
    fn new() -> Self {
        let mut call = Self { translator: Translator::new(room(), Secret::new("t")), said: Said::default() };
        call.translator.begin(&mut call.said);
        let begun = call.commands();
        assert!(matches!(&begun[..], [Command::Auth { .. }, Command::JoinRoom { .. }]), "{begun:?}");
        call
    }

    /// A client that is in its room, and listens.
    fn inside() -> Self {
        let mut call = Self::new();
        call.hears(None, joined());
        call.says(json!({ "action": "SubscriberInit" }));
        call
    }

    fn says(&mut self, message: Value) {
        self.translator.on_text(&message.to_string(), true, &mut self.said);
    }

    fn hears(&mut self, id: Option<i64>, event: Event) {
        self.translator.on_reply(Reply { id: id.map(RequestId::Number), event }, &mut self.said);
    }

    fn commands(&mut self) -> Vec<Command> {
        self.said.requests.drain(..).map(|request| request.command).collect()
    }

    /// The only request, and its number.
    fn command(&mut self) -> (i64, Command) {
        let request = self.said.requests.pop_front().expect("something is asked");
        assert!(self.said.requests.is_empty());
        match request.id {
            Some(RequestId::Number(number)) => (number, request.command),
            other => panic!("{other:?}"),
        }
    }

    fn texts(&mut self) -> Vec<Value> {
        self.said.texts.drain(..).map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    /// The actions of what the client is told.
    fn told(&mut self) -> Vec<String> {
        self.texts().iter().map(|text| text["action"].as_str().unwrap().to_owned()).collect()
    }
}

fn room() -> RoomName {
    RoomName::new("r").unwrap()
}

fn id(name: &str) -> TrackId {
    TrackId::new(name).unwrap()
}

fn joined() -> Event {
    let (room_name, user_id, publisher_id) = (room(), UserId(1), PublisherId(9));
    Event::RoomJoined { room_name, user_id, publisher_id, participants: Vec::new(), grants: Grant::default() }
}

fn publishes(publisher: u64, names: &[&str]) -> Event {
    let track = |name: &&str| TrackInfo {
        track_id: id(name),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: None,
        simulcast: false,
        encodings: 1,
        muted: false,
        name: None,
        channel: None,
    };
    let (room_name, publisher_id, tracks) = (room(), PublisherId(publisher), names.iter().map(track).collect());
    Event::NewPublisher { room_name, publisher_id, username: String::new(), tracks, subject: String::new() }
}

fn offered(number: u64) -> Event {
    let (room_name, publisher_id, tracks) = (room(), PublisherId(1), Vec::new());
    Event::SubscribeOffer { room_name, publisher_id, offer: "v=0".into(), offer_id: number, tracks }
}

fn answered(track: &str) -> Event {
    let (track_id, mid) = (id(track), "0".to_owned());
    let tracks = vec![PublishedTrack { track_id, mid, accepted: true, code: None, reason: None }];
    Event::PublishAnswer { room_name: room(), answer: OFFER.replace("a=sendonly", "a=recvonly"), tracks }
}

const OFFER: &str = "v=0\r\nm=video 9 X 96\r\na=mid:0\r\na=sendonly\r\n";

fn offer() -> Value {
    json!({ "action": "Offer", "sdp": { "type": "offer", "sdp": OFFER } })
}

#[test]
fn what_comes_before_the_client_is_let_in_is_held_in_order() {
    let mut call = Call::new();
    call.hears(None, Event::RoomWaiting { room_name: room(), user_id: UserId(1), message: "wait".into() });
    assert_eq!(call.texts()[0]["code"], "waiting");
    for message in [json!({ "action": "RequestPublish" }), offer(), json!({ "action": "Ping" })] {
        call.says(message);
    }
    assert!(matches!(call.command().1, Command::Ping {}));
    assert_eq!(call.told(), [""; 0]);
    call.hears(None, joined());
    assert_eq!(call.told(), ["StartAsPublisher"]);
    assert!(matches!(call.command().1, Command::PublishOffer { .. }));
}

#[test]
fn what_is_held_is_bounded_and_offers_are_answered_even_then() {
    let mut call = Call::new();
    for _ in 0..MAX_HELD {
        call.says(json!({ "action": "RequestPublish" }));
    }
    assert_eq!(call.told(), [""; 0]);
    call.says(offer());
    let told = call.texts();
    assert!(told[0]["sdp"]["sdp"].as_str().unwrap().contains("m=video 0 "), "{told:?}");
    assert_eq!((&told[0]["action"], &told[1]["code"]), (&json!("Answer"), &json!("rate-limited")));
    let mut call = Call::new();
    let long = json!({ "action": "Answer", "sdp": "x".repeat(MAX_HELD_BYTES / 2) });
    (0..2).for_each(|_| call.says(long.clone()));
    assert_eq!(call.told(), ["Error"]);
}

#[test]
fn an_offer_is_answered_and_a_refused_one_too() {
    let mut call = Call::inside();
    call.says(offer());
    let (number, command) = call.command();
    assert!(matches!(command, Command::PublishOffer { offer, .. } if offer == OFFER));
    call.hears(Some(number), answered("a"));
    assert_eq!(call.texts()[0]["sdp"]["type"], "answer");
    call.says(offer());
    let (number, _) = call.command();
    let error = || Event::error(ErrorCode::RATE_LIMITED, "too fast", "publish-offer");
    call.hears(Some(number), error());
    let told = call.texts();
    assert!(told[0]["sdp"]["sdp"].as_str().unwrap().contains("m=video 9 X 96\r\na=mid:0\r\na=recvonly"), "{told:?}");
    assert_eq!((&told[1]["action"], &told[1]["of"]), (&json!("Error"), &json!("Offer")));
    // What is said of one track comes after its answer, under the same number.
    call.hears(Some(number), error());
    assert_eq!(call.told(), ["Error"]);
}

#[test]
fn what_was_taken_back_is_not_offered_again() {
    let mut call = Call::inside();
    call.says(offer());
    let (number, _) = call.command();
    call.hears(Some(number), answered("a"));
    call.says(json!({ "action": "StopPublish", "publisherId": "a" }));
    assert!(matches!(call.command().1, Command::Unpublish { track_id, .. } if track_id == id("a")));
    call.says(offer());
    assert!(matches!(call.command().1, Command::PublishOffer { offer, .. } if offer.contains("a=inactive")));
}

#[test]
fn a_track_is_told_subscribed_to_and_answered() {
    let mut call = Call::inside();
    call.hears(None, publishes(1, &["a"]));
    assert_eq!(call.texts(), [json!({ "action": "Published", "publisherIds": ["a"] })]);
    call.says(json!({ "action": "Subscribe", "publisherId": "a" }));
    let (number, command) = call.command();
    assert!(
        matches!(command, Command::SubscribeRequest { publisher_id: PublisherId(1), track_ids: Some(ids), .. } if ids == [id("a")])
    );
    call.hears(Some(number), offered(7));
    let told = call.texts();
    assert_eq!((&told[0]["action"], &told[0]["sdp"]["type"]), (&json!("Offer"), &json!("offer")));
    assert_eq!(told[1], json!({ "action": "Subscribed", "subscriberId": "a" }));
    call.says(json!({ "action": "Answer", "sdp": { "type": "answer", "sdp": "v=0" } }));
    assert!(matches!(call.command().1, Command::SubscribeAnswer { offer_id: Some(7), .. }));
    // Later offers are nobody's answer.
    call.hears(None, offered(8));
    assert_eq!(call.told(), ["Offer"]);
}

#[test]
fn a_refused_subscription_makes_room_for_the_next_one() {
    let mut call = Call::inside();
    let names: Vec<_> = (0..17).map(|number| format!("t{number}")).collect();
    call.hears(None, publishes(1, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    for name in &names {
        call.says(json!({ "action": "Subscribe", "publisherId": name }));
    }
    let first = call.said.requests.front().and_then(|request| request.id.clone());
    assert_eq!(call.commands().len(), 16);
    let Some(RequestId::Number(number)) = first else { panic!("it has none") };
    call.texts();
    call.hears(Some(number), Event::error(ErrorCode::FORBIDDEN, "no", "subscribe-request"));
    assert_eq!(call.texts()[0], json!({ "action": "Error", "code": "forbidden", "message": "no", "of": "Subscribe" }));
    assert!(matches!(call.command().1, Command::SubscribeRequest { .. }));
}

#[test]
fn layers_are_chosen_by_number_or_by_name() {
    let mut call = Call::inside();
    call.hears(None, publishes(1, &["a"]));
    for (more, expected) in [
        (json!({ "sid": 1, "tid": 2 }), (Some(1), Some(2))),
        (json!({ "sid": 0 }), (Some(0), None)),
        (json!({ "rid": "high" }), (Some(2), None)),
    ] {
        let mut message = json!({ "action": "SetPreferredLayer", "subscriberId": "a" });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call.says(message);
        match call.command().1 {
            Command::SetLayer { spatial, temporal, .. } => assert_eq!((spatial, temporal), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut call = Call::inside();
    for message in [
        json!({ "action": "Subscribe", "publisherId": "a" }),
        json!({ "action": "StopSubscribe", "subscriberId": "a" }),
        json!({ "action": "SetPreferredLayer", "subscriberId": "a", "sid": 0 }),
    ] {
        call.says(message.clone());
        let told = call.texts();
        assert_eq!((&told[0]["code"], &told[0]["of"]), (&json!("not-found"), &message["action"]));
    }
    call.says(json!({ "action": "Answer", "sdp": "v=0" }));
    assert_eq!(call.texts()[0]["code"], "invalid-sdp");
    call.says(json!({ "action": "Record", "publisherId": "a" }));
    assert_eq!(call.told(), ["RecordingError"]);
    assert!(call.commands().is_empty());
}

#[test]
fn a_recording_starts_ends_and_fails_in_the_dialects_words() {
    let mut call = Call::inside();
    call.hears(None, publishes(1, &["a"]));
    call.texts();
    let failed = || Event::RecordingState {
        room_name: room(),
        state: RecordingState::Failed,
        session_id: RecordingId::new("s").unwrap(),
        tracks: Vec::new(),
        reason: Some("the disk is full".into()),
    };
    call.hears(None, failed());
    assert_eq!(call.told(), [""; 0], "somebody else's");
    call.says(json!({ "action": "Record", "publisherId": "a" }));
    let told = call.texts();
    assert!(told[0]["action"] == "RecordingSDP" && told[0]["sdp"].as_str().unwrap().starts_with("v=0\r\n"), "{told:?}");
    call.says(json!({ "action": "StartRecording", "publisherId": "a" }));
    let (number, command) = call.command();
    assert!(matches!(command, Command::StartRecording { tracks: Some(ids), .. } if ids == [id("a")]));
    call.hears(Some(number), Event::error(ErrorCode::RECORDING_UNAVAILABLE, "no recorder", "start-recording"));
    assert_eq!(call.texts(), [json!({ "action": "RecordingError", "error": "no recorder" })]);
    call.hears(None, failed());
    assert_eq!(call.texts(), [json!({ "action": "RecordingError", "error": "the disk is full" })]);
    call.says(json!({ "action": "StopRecording", "publisherId": "a" }));
    assert!(matches!(call.command().1, Command::StopRecording { .. }));
}

fn put_out() -> Event {
    let (room_name, reason) = (room(), "an operator put you out".to_owned());
    let (publisher_id, track_id, decision_id) = (None, None, None);
    Event::Revoked { room_name, what: RevokedWhat::Stay, reason, publisher_id, track_id, decision_id }
}

#[test]
fn whoever_is_not_let_in_or_put_out_is_told_and_closed() {
    let mut call = Call::new();
    call.hears(None, Event::error(ErrorCode::ROOM_FULL, "full", "join-room"));
    assert_eq!(call.texts()[0]["code"], "room-full");
    assert!(matches!(call.said.close.take(), Some((CloseCode::Policy, _))));
    let mut call = Call::inside();
    call.hears(None, put_out());
    assert!(call.told() == ["Error"] && call.said.close.is_some());
}

#[test]
fn a_token_that_is_refused_or_ends_leaves_the_end_to_the_shell() {
    for mut call in [Call::new(), Call::inside()] {
        call.hears(None, Event::error(ErrorCode::TOKEN_EXPIRED, "it has ended", "auth"));
        call.hears(None, put_out());
        call.says(json!({ "action": "RequestPublish" }));
        assert_eq!((call.told(), call.said.close), (vec!["Error".to_owned(); 2], None));
    }
}

#[test]
fn whoever_talks_too_fast_is_told_and_an_offer_is_answered() {
    let mut call = Call::inside();
    call.translator.on_text(&json!({ "action": "Ping" }).to_string(), false, &mut call.said);
    call.translator.on_text("{", false, &mut call.said);
    assert_eq!(call.told(), ["Error", "Error"]);
    call.translator.on_text(&offer().to_string(), false, &mut call.said);
    assert_eq!(call.told(), ["Answer", "Error"]);
    assert!(call.commands().is_empty());
}
