//! Whatever clients, policy and media do in whatever order, the room keeps its promises.

use std::collections::BTreeSet;

use lockgate_model::SubscribeConnections::{PerPublisher, Shared};
use lockgate_model::policy::Grant;
use lockgate_model::{PublisherId, TrackId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Call, Rules, all, no};
use crate::{Connection, Input, LeaveReason, MediaAction, RoomConfig};

#[derive(Clone, Debug)]
enum Step {
    Join { who: u64, shared: bool },
    Say { who: u64, message: Value },
    Publish { who: u64, tracks: Vec<String> },
    Answer { index: usize },
    Offer { viewer: u64, of: Option<u64> },
    Lost { viewer: u64, of: Option<u64> },
    PublishLost { who: u64 },
    Speak { who: u64 },
    Wait { ms: u64 },
    Close { who: u64 },
}

fn people() -> impl Strategy<Value = u64> {
    1..5u64
}

fn messages() -> impl Strategy<Value = Value> {
    let track = prop_oneof!["v[1-4]", "a[1-4]"];
    prop_oneof![
        (people(), any::<bool>()).prop_map(|(to, id)| match id {
            true => json!({"type": "subscribe-request", "id": 1, "publisherId": to}),
            false => json!({"type": "unsubscribe", "publisherId": to}),
        }),
        track.prop_map(|track| json!({"type": "unpublish", "trackId": track})),
        people().prop_map(|whom| json!({"type": "kick", "publisherId": whom})),
        Just(json!({"type": "start-recording", "id": 2})),
        Just(json!({"type": "stop-recording"})),
        Just(json!({"type": "restart-ice"})),
        Just(json!({"type": "leave-room"})),
        Just(json!({"type": "join-room"})),
        Just(json!({"type": "chat", "text": "x"})),
        (people(), any::<bool>(), any::<u8>()).prop_map(|(of, paused, priority)| {
            let track = format!("v{of}");
            json!({"type": "set-layer", "publisherId": of, "trackId": track, "paused": paused, "priority": priority})
        }),
        ("[av][1-4]", any::<bool>())
            .prop_map(|(track, muted)| json!({"type": if muted { "mute" } else { "unmute" }, "trackId": track})),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (people(), any::<bool>()).prop_map(|(who, shared)| Step::Join { who, shared }),
        6 => (people(), messages()).prop_map(|(who, message)| Step::Say { who, message }),
        2 => people().prop_map(|who| Step::Publish { who, tracks: vec![format!("v{who}"), format!("a{who}")] }),
        1 => people().prop_map(|who| Step::Publish { who, tracks: vec!["v1".into()] }),
        8 => (0..4usize).prop_map(|index| Step::Answer { index }),
        2 => (people(), proptest::option::of(people())).prop_map(|(viewer, of)| Step::Offer { viewer, of }),
        1 => (people(), proptest::option::of(people())).prop_map(|(viewer, of)| Step::Lost { viewer, of }),
        1 => people().prop_map(|who| Step::PublishLost { who }),
        2 => people().prop_map(|who| Step::Speak { who }),
        2 => (0..2000u64).prop_map(|ms| Step::Wait { ms }),
        1 => people().prop_map(|who| Step::Close { who }),
    ]
}

/// A call whose policy answers late and in any order, denies some things, and wants to be asked about stays again and again.
fn call() -> Call {
    let config = RoomConfig { last_n: Some(1), top_n: Some(1), ..RoomConfig::default() };
    let rules = Rules {
        admit: Box::new(|_| Ok(Grant { reask_after_ms: Some(250), ..Grant::default() })),
        publish: Box::new(|track| if track.id.as_str() == "a3" { no("not this") } else { Ok(Grant::default()) }),
        subscribe: Box::new(|who, of| {
            let hidden = who.identity.subject == "2" && of.track.id.as_str() == "v4";
            if hidden { no("hidden") } else { Ok(Grant::default()) }
        }),
        ..Rules::default()
    };
    let mut call = Call::with(config, rules);
    call.slow_policy = true;
    call.slow_offers = true;
    call
}

fn take(call: &mut Call, step: Step, joined: &mut BTreeSet<u64>) {
    let connection =
        |viewer, of: Option<u64>| Connection { member: PublisherId(viewer), publisher: of.map(PublisherId) };
    match step {
        // A participant's number is never used again.
        Step::Join { who, shared } => {
            if joined.insert(who) {
                call.join_with(who, all(), if shared { Shared } else { PerPublisher });
            }
        }
        Step::Say { who, message } => call.say(PublisherId(who), message),
        Step::Publish { who, tracks } => {
            let tracks: Vec<&str> = tracks.iter().map(String::as_str).collect();
            call.publish(PublisherId(who), &tracks);
        }
        Step::Answer { index } => {
            if let Some((ticket, question)) = call.asked.remove(index) {
                let answer = call.rules.answer(&question);
                call.input(Input::Answer { ticket, answer });
            }
        }
        Step::Offer { viewer, of } => {
            let connection = connection(viewer, of);
            if call.sending.contains_key(&connection) {
                call.offer(connection, PublisherId(of.unwrap_or(1)));
            }
        }
        Step::Lost { viewer, of } => {
            let connection = connection(viewer, of);
            call.sending.remove(&connection);
            call.input(Input::ConnectionLost { connection, unanswered: false, reason: "lost".into() });
        }
        Step::PublishLost { who } => {
            call.input(Input::PublishLost { member: PublisherId(who), reason: "lost".into() });
        }
        Step::Wait { ms } => call.wait(ms),
        Step::Speak { who } => call.speak(&[&format!("a{who}")], 1500),
        Step::Close { who } => call.input(Input::Leave { member: PublisherId(who), reason: LeaveReason::Closed }),
    }
}

/// What each viewer is sent, as the media side was told.
fn flows(call: &Call) -> BTreeSet<(PublisherId, TrackId)> {
    let mut flows = BTreeSet::new();
    for action in &call.media {
        match action {
            MediaAction::Subscribe { connection, track, .. } => {
                flows.insert((connection.member, track.clone()));
            }
            MediaAction::Unsubscribe { connection, track, .. } => {
                flows.remove(&(connection.member, track.clone()));
            }
            MediaAction::CloseConnection { connection } => flows.retain(|(member, _)| *member != connection.member),
            _ => {}
        }
    }
    flows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_policy_denied_flows_and_nothing_is_left_over(steps in prop::collection::vec(steps(), 1..60)) {
        let (mut call, mut joined) = (call(), BTreeSet::new());
        for step in steps {
            take(&mut call, step, &mut joined);
        }
        for (viewer, track) in flows(&call) {
            prop_assert!(!(viewer == PublisherId(2) && track.as_str() == "v4"));
            prop_assert_ne!(track.as_str(), "a3");
        }
        for viewer in (1..5).map(PublisherId) {
            prop_assert!(call.sent(viewer, "v").len() <= 1 && call.sent(viewer, "a").len() <= 1, "too much for {viewer:?}");
        }
        for who in 1..5 {
            call.input(Input::Leave { member: PublisherId(who), reason: LeaveReason::Closed });
        }
        while !call.asked.is_empty() {
            call.answer_next();
        }
        prop_assert!(call.room.is_empty());
        prop_assert_eq!(call.gone.len(), joined.len());
        prop_assert!(call.room.has_nothing_pending());
        let told_after_going = call.told.iter().any(|(to, _)| !joined.contains(&to.0));
        prop_assert!(!told_after_going);
    }
}
