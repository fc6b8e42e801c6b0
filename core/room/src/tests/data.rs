//! Data channels: asked about, announced and subscribed to like other tracks.

use lockgate_model::policy::Grant;
use lockgate_model::{ChannelFacts, MediaKind, OfferedMedia, PublisherId, RevokedWhat, SubscribeConnections, TrackId};
use serde_json::json;

use super::{Call, Rules, all, no};
use crate::{Connection, Input, MediaAction, Revocation, RoomConfig, Whom};

fn channel(label: &str) -> ChannelFacts {
    ChannelFacts {
        label: label.into(),
        protocol: String::new(),
        ordered: true,
        max_retransmits: Some(0),
        max_packet_life_time: None,
    }
}

fn open(call: &mut Call, member: PublisherId, stream: u16, label: &str) {
    call.input(Input::ChannelOpened { member, stream, channel: channel(label) });
}

/// Offers a line for data channels.
fn offer(call: &mut Call, member: PublisherId) {
    let message = json!({"type": "publish-offer", "roomName": "den", "offer": "v=0"});
    let request = serde_json::from_value(message).unwrap();
    let data = OfferedMedia {
        mid: "0".into(),
        kind: MediaKind::Data,
        track_id: None,
        codec: None,
        encodings: 1,
        sending: true,
    };
    call.input(Input::Command { member, request, offered: Some(Ok(vec![data])) });
}

/// Whether more is expected; of whom and of which tracks the last words are discarded.
type LastWords<'a> = (bool, Option<u64>, Option<Vec<&'a str>>);

/// What becomes of last words: expected (true), or discarded, of a publisher's, of some names or all.
fn last_words(call: &Call) -> Vec<LastWords<'_>> {
    let last = call.media.iter().filter_map(|action| match action {
        MediaAction::ExpectNoMore { track, .. } => Some((true, None, Some(vec![track.as_str()]))),
        MediaAction::DiscardLast { publisher, tracks, .. } => {
            let names = tracks.as_ref().map(|tracks| tracks.iter().map(TrackId::as_str).collect());
            Some((false, publisher.map(|publisher| publisher.0), names))
        }
        MediaAction::Unsubscribe { .. } => panic!("{action:?}"),
        _ => None,
    });
    last.collect()
}

/// Which channels were admitted (true) and refused.
fn settled(call: &Call) -> Vec<(bool, u16)> {
    let settled = call.media.iter().filter_map(|action| match action {
        MediaAction::AdmitChannel { stream, .. } => Some((true, *stream)),
        MediaAction::RefuseChannel { stream, .. } => Some((false, *stream)),
        _ => None,
    });
    settled.collect()
}

#[test]
fn a_channel_is_a_track_that_others_are_told_of_and_may_have() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    offer(&mut call, ann);
    let answer = call.only(ann, "publish-answer");
    assert_eq!(answer["tracks"], json!([{"trackId": "t1-0", "mid": "0", "accepted": true}]));
    open(&mut call, ann, 0, "chat");
    open(&mut call, ann, 2, "my files");
    assert_eq!(settled(&call), [(true, 0), (true, 2)]);
    let news = call.messages(bob);
    let chat = json!({
        "trackId": "chat", "kind": "data", "source": "data", "simulcast": false, "muted": false,
        "channel": {"label": "chat", "ordered": true, "maxRetransmits": 0},
    });
    assert_eq!(news.last().unwrap()["tracks"][0], chat);
    assert_eq!(news.last().unwrap()["tracks"][1]["trackId"], "t1-d2", "a label that can be no name");
    call.subscribe(bob, ann);
    let offered = call.messages(bob).pop().unwrap();
    assert_eq!(offered["type"], "subscribe-offer");
    assert_eq!(offered["tracks"].as_array().unwrap().len(), 2);
    assert_eq!(offered["tracks"][0]["kind"], "data");
    // Another offer of the publisher's leaves them as they are.
    offer(&mut call, ann);
    assert!(call.only(ann, "publish-answer")["tracks"][0]["accepted"].as_bool().unwrap());
    assert_eq!(call.heard(bob), Vec::<String>::new());
    call.input(Input::ChannelClosed { member: ann, stream: 0 });
    assert_eq!(call.only(bob, "new-publisher")["tracks"].as_array().unwrap().len(), 1);
    call.say(ann, json!({"type": "unpublish", "trackId": "t1-d2"}));
    assert_eq!(call.heard(bob), ["publisher-left"]);
}

#[test]
fn who_may_not_use_data_neither_publishes_nor_gets_any() {
    let mut call = Call::new();
    let muzzled = || Grant { can_data: Some(false), ..all() };
    let ann = call.join(1);
    let eve = call.join_with(2, muzzled(), SubscribeConnections::Shared);
    call.quiet();
    open(&mut call, ann, 0, "chat");
    assert_eq!(call.heard(eve), Vec::<String>::new(), "she does not know of it");
    call.subscribe(eve, ann);
    assert_eq!(call.only(eve, "error")["code"], "forbidden");
    offer(&mut call, eve);
    let answer = call.messages(eve);
    assert_eq!((&answer[0]["tracks"][0]["code"], &answer[1]["code"]), (&json!("forbidden"), &json!("forbidden")));
    open(&mut call, eve, 0, "mine");
    assert_eq!(call.only(eve, "error")["trackId"], "mine");
    assert_eq!(settled(&call), [(true, 0), (false, 0)]);
    // What is taken away ends at once.
    let identity = super::identity(1, muzzled());
    call.input(Input::Renewed { member: ann, identity });
    assert_eq!(call.only(ann, "revoked")["trackId"], "chat");
    assert!(
        call.media
            .iter()
            .any(|action| matches!(action, MediaAction::Unpublish { track, .. } if track.as_str() == "chat"))
    );
}

#[test]
fn plugins_decide_about_each_channel_and_each_viewer() {
    let mut call = Call::ruled(Rules {
        publish: Box::new(|asked| match (asked.kind, asked.id.as_str()) {
            (MediaKind::Data, "secret") => no("no secrets"),
            _ => Ok(Grant::default()),
        }),
        subscribe: Box::new(|who, of| match (who.identity.user_id.0, of.track.kind) {
            (3, MediaKind::Data) => no("not for you"),
            _ => Ok(Grant::default()),
        }),
        ..Rules::default()
    });
    let [ann, bob, eve] = [1, 2, 3].map(|number| call.join(number));
    call.quiet();
    open(&mut call, ann, 0, "secret");
    assert_eq!(call.only(ann, "error")["message"], "no secrets");
    open(&mut call, ann, 2, "chat");
    assert_eq!(settled(&call), [(false, 0), (true, 2)]);
    assert_eq!((call.heard(bob), call.heard(eve)), (vec!["new-publisher".to_owned()], Vec::new()));
    call.subscribe(eve, ann);
    assert_eq!(call.only(eve, "error")["code"], "forbidden");
}

#[test]
fn a_channel_that_is_over_before_policy_answers_is_not_published() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.slow_policy = true;
    open(&mut call, ann, 0, "chat");
    call.input(Input::ChannelClosed { member: ann, stream: 0 });
    open(&mut call, ann, 2, "chat");
    call.answer_next();
    assert_eq!(settled(&call), []);
    call.answer_next();
    assert_eq!(settled(&call), [(true, 2)]);
}

#[test]
fn names_are_one_track_s_only_and_channels_are_counted() {
    let config = RoomConfig { max_data_channels: 2, ..RoomConfig::default() };
    let mut call = Call::with(config, Rules::default());
    let (ann, bob) = (call.join(1), call.join(2));
    call.quiet();
    open(&mut call, ann, 0, "chat");
    open(&mut call, bob, 0, "chat");
    assert_eq!(call.only(ann, "new-publisher")["tracks"][0]["trackId"], "t2-d0");
    open(&mut call, ann, 2, "more");
    open(&mut call, ann, 4, "too many");
    assert_eq!(call.only(ann, "error")["code"], "overloaded");
    assert_eq!(settled(&call).last(), Some(&(false, 4)));
    let mut call = Call::with(RoomConfig { max_data_channels: 0, ..RoomConfig::default() }, Rules::default());
    let ann = call.join(1);
    offer(&mut call, ann);
    assert_eq!(call.only(ann, "publish-answer")["tracks"][0]["code"], "forbidden");
}

#[test]
fn a_viewer_is_told_of_a_channel_that_it_lost_and_may_ask_again() {
    use lockgate_model::ChannelLoss::{Behind, Closed, Unable};

    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    open(&mut call, ann, 0, "chat");
    for (loss, code) in [(Behind, Some("rate-limited")), (Unable, Some("overloaded")), (Closed, None)] {
        call.subscribe(bob, ann);
        call.quiet();
        let connection = Connection { member: bob, publisher: None };
        for _ in 0..2 {
            call.input(Input::ChannelLost { connection, track: TrackId::new("chat").unwrap(), loss });
        }
        let ended =
            |action: &MediaAction| matches!(action, MediaAction::Unsubscribe { track, .. } if track.as_str() == "chat");
        assert_eq!(call.media.drain(..).filter(ended).count(), 1, "{loss:?}: nor does the media side send it");
        let told = call.messages(bob);
        let errors = told.iter().filter(|message| message["type"] == "error");
        let codes: Vec<_> = errors.map(|error| (error["code"].as_str(), error["trackId"].as_str())).collect();
        let expected: Vec<_> = code.iter().map(|code| (Some(*code), Some("chat"))).collect();
        assert_eq!(codes, expected, "{loss:?}: once");
        call.say(bob, json!({"type": "unsubscribe", "publisherId": 1, "trackIds": ["chat"]}));
        assert_eq!(call.only(bob, "error")["code"], "not-found", "{loss:?}: it is forgotten");
    }
}

/// Which names channels were published under, and by whom.
fn admitted(call: &Call) -> Vec<(u64, String)> {
    let admitted = call.media.iter().filter_map(|action| match action {
        MediaAction::AdmitChannel { member, track, .. } => Some((member.0, track.to_string())),
        _ => None,
    });
    admitted.collect()
}

#[test]
fn no_channel_takes_the_name_that_another_one_will_get() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    open(&mut call, ann, 0, "t2-d0");
    open(&mut call, ann, 2, "chat");
    open(&mut call, bob, 0, "chat");
    assert_eq!(admitted(&call), [(1, "t1-d0".into()), (1, "chat".into()), (2, "t2-d0".into())]);
    // One's own names may be taken, but only once.
    open(&mut call, ann, 4, "t1-d6");
    call.quiet();
    open(&mut call, ann, 6, "no name");
    let error = call.only(ann, "error");
    assert_eq!((&error["code"], &error["trackId"]), (&json!("invalid-message"), &json!("t1-d6")));
    assert_eq!(settled(&call).last(), Some(&(false, 6)));
    call.publish(bob, &["t1-d6", "chat"]);
    assert!(call.messages(bob)[0]["tracks"].as_array().unwrap().iter().all(|track| track["accepted"] == false));
}

#[test]
fn a_channel_is_published_under_the_name_that_policy_was_asked_about() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.slow_policy = true;
    open(&mut call, ann, 0, "news");
    open(&mut call, bob, 0, "news");
    call.input(Input::ChannelClosed { member: ann, stream: 0 });
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(admitted(&call), [(2, "t2-d0".into())], "the name was ann's while policy was asked");
    // Nor does a track take it meanwhile.
    open(&mut call, ann, 2, "v1");
    call.slow_policy = false;
    call.publish(bob, &["v1"]);
    assert_eq!(call.messages(bob).pop().unwrap()["code"], "invalid-message");
    call.answer_next();
    assert_eq!(admitted(&call).last(), Some(&(1, "v1".into())));
}

#[test]
fn a_channel_whose_connection_is_over_before_policy_answers_is_not_published() {
    for way in 0..3 {
        let mut call = Call::new();
        let ann = call.join(1);
        call.publish(ann, &["v1"]);
        call.slow_policy = true;
        open(&mut call, ann, 0, "chat");
        match way {
            0 => call.input(Input::PublishLost { member: ann, reason: "no consent".into() }),
            1 => {
                call.say(ann, json!({"type": "unpublish", "trackId": "v1"}));
                call.input(Input::PublishLost { member: ann, reason: "no consent".into() });
            }
            // An offer without a line for data.
            _ => call.publish(ann, &["v1"]),
        }
        call.answer_next();
        assert_eq!(settled(&call), [], "{way}");
        call.slow_policy = false;
        open(&mut call, ann, 0, "chat");
        assert_eq!(admitted(&call), [(1, "chat".into())], "{way}: the name is free");
    }
}

#[test]
fn messages_are_not_recorded() {
    let mut call = Call::with(RoomConfig { auto_record: true, ..RoomConfig::default() }, Rules::default());
    let ann = call.join(1);
    open(&mut call, ann, 0, "chat");
    assert!(call.recorder.is_empty());
    call.say(ann, json!({"type": "start-recording", "tracks": ["chat"]}));
    assert_eq!(call.only(ann, "error")["code"], "not-found");
    call.publish(ann, &["v1"]);
    assert!(call.recorder.iter().all(|action| !format!("{action:?}").contains("chat")));
}

#[test]
fn what_was_said_last_on_a_channel_reaches_its_viewers_unless_they_may_or_want_not() {
    let subscription = || {
        Input::Revoke(Revocation {
            whom: Whom::Member(PublisherId(2)),
            what: RevokedWhat::Subscription,
            track: Some(TrackId::new("chat").unwrap()),
            reason: "enough".into(),
        })
    };
    let muzzled = || super::identity(2, Grant { can_data: Some(false), ..all() });
    let unsubscribe = |tracks: serde_json::Value| {
        let mut message = json!({"type": "unsubscribe", "publisherId": 1});
        message["trackIds"] = tracks;
        message
    };
    for (way, discarded) in [
        ("nothing", None),
        ("unsubscribed", Some((false, Some(1), Some(vec!["chat"])))),
        ("unsubscribed from all", Some((false, Some(1), None))),
        ("revoked", Some((false, None, Some(vec!["chat"])))),
        ("another token", Some((false, None, None))),
    ] {
        let mut call = Call::new();
        let (ann, bob) = (call.join(1), call.join(2));
        offer(&mut call, ann);
        open(&mut call, ann, 0, "chat");
        call.subscribe(bob, ann);
        call.quiet();
        call.input(Input::ChannelClosed { member: ann, stream: 0 });
        match way {
            "unsubscribed" => call.say(bob, unsubscribe(json!(["chat"]))),
            "unsubscribed from all" => call.say(bob, unsubscribe(json!(null))),
            "revoked" => call.input(subscription()),
            "another token" => call.input(Input::Renewed { member: bob, identity: muzzled() }),
            _ => {}
        }
        let expected: Vec<_> = [(true, None, Some(vec!["chat"]))].into_iter().chain(discarded).collect();
        assert_eq!(last_words(&call), expected, "{way}");
    }
}
