use std::cmp::Reverse;
use std::collections::BTreeSet;

use lockgate_model::policy::{Attribute, Grant};
use lockgate_model::{PublisherId, Source, SubscribeConnections};
use proptest::prelude::*;
use serde_json::json;

use super::{Call, Rules, all, track};
use crate::{MediaAction, RoomConfig};

/// A viewer, and this many others with a camera and a microphone each (`v1`, `a1` …), whom it receives.
fn meeting(others: u64, config: RoomConfig, grant: Grant) -> (Call, PublisherId) {
    let mut call = Call::with(config, Rules::default());
    for number in 1..=others {
        let member = call.join(number);
        call.publish(member, &[&format!("v{number}"), &format!("a{number}")]);
    }
    let viewer = call.join_with(100, grant, SubscribeConnections::Shared);
    for number in 1..=others {
        call.subscribe(viewer, PublisherId(number));
    }
    (call, viewer)
}

impl Call {
    /// What a viewer is really sent, of the tracks whose names begin so.
    pub(super) fn sent(&self, viewer: PublisherId, begins: &str) -> Vec<String> {
        let mut sent = BTreeSet::new();
        for action in &self.media {
            match action {
                MediaAction::Subscribe { connection, track, limits, .. }
                | MediaAction::SetLimits { connection, track, limits }
                    if connection.member == viewer =>
                {
                    let name = track.to_string();
                    if limits.is_at_rest() {
                        sent.remove(&name)
                    } else {
                        sent.insert(name)
                    };
                }
                MediaAction::Unsubscribe { connection, track, .. } if connection.member == viewer => {
                    sent.remove(&track.to_string());
                }
                MediaAction::CloseConnection { connection } if connection.member == viewer => sent.clear(),
                _ => {}
            }
        }
        sent.into_iter().filter(|name| name.starts_with(begins)).collect()
    }
}

fn last(n: usize) -> RoomConfig {
    RoomConfig { last_n: Some(n), ..RoomConfig::default() }
}

fn top(n: usize) -> RoomConfig {
    RoomConfig { top_n: Some(n), ..RoomConfig::default() }
}

#[test]
fn without_a_limit_everything_is_sent_and_nothing_changes_with_speakers() {
    let (mut call, viewer) = meeting(4, RoomConfig::default(), all());
    assert_eq!((call.sent(viewer, "v").len(), call.sent(viewer, "a").len()), (4, 4));
    call.media.clear();
    call.speak(&["a3"], 2000);
    assert!(call.media.is_empty());
}

#[test]
fn the_cameras_of_the_last_speakers_are_sent_and_all_microphones() {
    let (mut call, viewer) = meeting(4, last(2), all());
    assert_eq!((call.sent(viewer, "v"), call.sent(viewer, "a").len()), (vec!["v1".into(), "v2".into()], 4));
    call.speak(&["a4"], 2000);
    assert_eq!(call.sent(viewer, "v"), ["v1", "v4"], "nobody spoke before: who came last gives way");
    call.speak(&["a3"], 2000);
    assert_eq!(call.sent(viewer, "v"), ["v3", "v4"]);
    call.media.clear();
    call.speak(&["a4"], 2000);
    assert!(call.media.is_empty(), "it is there already");
    call.speak(&["a1"], 2000);
    let changes: Vec<_> = call.media.iter().map(|action| format!("{action:?}").contains("waits: true")).collect();
    assert_eq!(changes, [true, false], "one goes before another comes");
    call.say(PublisherId(4), json!({"type": "unpublish", "trackId": "v4"}));
    call.say(PublisherId(1), json!({"type": "leave-room"}));
    call.say(viewer, json!({"type": "unsubscribe", "publisherId": 3, "trackIds": ["v3"]}));
    let resumed = |name: &str| {
        call.media
            .iter()
            .rev()
            .find(|action| format!("{action:?}").contains(name))
            .map(|action| format!("{action:?}").contains("waits: false"))
    };
    assert_eq!(resumed("\"v2\""), Some(true), "places that become free are taken");
}

#[test]
fn screens_take_no_places() {
    let (mut call, viewer) = meeting(3, RoomConfig { last_n: Some(1), top_n: Some(1), ..RoomConfig::default() }, all());
    let sharing = json!({"type": "publish-offer", "offer": "v=0", "tracks": [
        {"trackId": "v9", "source": "screen"}, {"trackId": "a9", "source": "screen-audio"}]});
    call.offer_tracks(PublisherId(3), sharing, &["v3", "a3", "v9", "a9"]);
    assert_eq!(
        (call.sent(viewer, "v"), call.sent(viewer, "a")),
        (vec!["v1".into(), "v9".into()], vec!["a1".into(), "a9".into()])
    );
}

#[test]
fn whom_a_viewer_has_put_first_keeps_a_place_within_the_limit() {
    let (mut call, viewer) = meeting(4, last(2), all());
    call.say(viewer, json!({"type": "set-layer", "publisherId": 4, "trackId": "v4", "priority": 200}));
    assert_eq!(call.sent(viewer, "v"), ["v1", "v4"]);
    call.speak(&["a2"], 2000);
    call.speak(&["a3"], 2000);
    assert_eq!(call.sent(viewer, "v"), ["v3", "v4"]);
    call.say(viewer, json!({"type": "set-layer", "publisherId": 4, "trackId": "v4", "priority": 128}));
    assert_eq!(call.sent(viewer, "v"), ["v2", "v3"]);
}

#[test]
fn what_is_muted_or_paused_takes_no_place() {
    let (mut call, viewer) = meeting(4, last(2), all());
    call.say(viewer, json!({"type": "set-layer", "publisherId": 1, "trackId": "v1", "paused": true}));
    assert_eq!(call.sent(viewer, "v"), ["v2", "v3"]);
    call.say(PublisherId(2), json!({"type": "mute", "trackId": "v2"}));
    assert_eq!(call.sent(viewer, "v"), ["v3", "v4"]);
    call.say(PublisherId(2), json!({"type": "unmute", "trackId": "v2"}));
    assert_eq!(call.sent(viewer, "v"), ["v2", "v3"]);
    call.say(viewer, json!({"type": "set-layer", "publisherId": 1, "trackId": "v1", "paused": false}));
    assert_eq!(call.sent(viewer, "v"), ["v1", "v2"]);
}

#[test]
fn policy_may_leave_fewer_places_than_the_configuration() {
    let limited = |value: &str| {
        let attributes = vec![Attribute { key: "room-admission.last-n".into(), value: value.into() }];
        Grant { attributes, ..all() }
    };
    let (call, viewer) = meeting(4, last(3), limited("1"));
    assert_eq!(call.sent(viewer, "v"), ["v1"]);
    let (call, viewer) = meeting(4, last(3), limited("9"));
    assert_eq!(call.sent(viewer, "v").len(), 3);
    let (call, viewer) = meeting(4, RoomConfig::default(), limited("0"));
    assert!(call.sent(viewer, "v").is_empty() && call.sent(viewer, "a").len() == 4);
}

#[test]
fn another_token_gives_and_takes_places() {
    let (mut call, viewer) = meeting(3, RoomConfig::default(), all());
    let attributes = vec![Attribute { key: "a.last-n".into(), value: "1".into() }];
    call.input(crate::Input::Renewed { member: viewer, identity: super::identity(100, Grant { attributes, ..all() }) });
    assert_eq!(call.sent(viewer, "v"), ["v1"]);
    call.input(crate::Input::Renewed { member: viewer, identity: super::identity(100, all()) });
    assert_eq!(call.sent(viewer, "v").len(), 3);
}

#[test]
fn of_microphones_those_are_sent_that_are_spoken_into() {
    let (mut call, viewer) = meeting(5, top(2), all());
    assert_eq!(call.sent(viewer, "a"), ["a1", "a2"]);
    // A fifth of a second is enough to be heard.
    call.speak(&["a5"], 200);
    assert_eq!(call.sent(viewer, "a"), ["a1", "a5"]);
    call.speak(&["a5", "a4"], 200);
    assert_eq!(call.sent(viewer, "a"), ["a4", "a5"]);
    call.speak(&["a5", "a4", "a3"], 3000);
    assert_eq!(call.sent(viewer, "a"), ["a4", "a5"], "who speaks is not cut off by who begins");
    call.speak(&["a5", "a3"], 1000);
    assert_eq!(call.sent(viewer, "a"), ["a3", "a5"], "who has ended gives way");
    assert_eq!(call.sent(viewer, "v").len(), 5);
}

#[test]
fn a_speaker_who_is_silent_gives_way_to_whoever_begins() {
    let (mut call, viewer) = meeting(3, top(1), all());
    call.speak(&["a2"], 2000);
    assert_eq!(call.sent(viewer, "a"), ["a2"]);
    call.speak(&[], 2000);
    assert_eq!(call.sent(viewer, "a"), ["a2"], "as long as nobody else does");
    call.speak(&["a3"], 200);
    assert_eq!(call.sent(viewer, "a"), ["a3"], "a yes is heard");
    call.speak(&["a3", "a2"], 200);
    assert_eq!(call.sent(viewer, "a"), ["a2"], "who is the speaker still comes first with the next word");
}

#[test]
fn a_newcomer_joins_the_line() {
    let (mut call, viewer) = meeting(2, last(2), all());
    let late = call.join(50);
    call.publish(late, &["v50"]);
    call.subscribe(viewer, late);
    assert_eq!(call.sent(viewer, "v"), ["v1", "v2"]);
    let subscribed = call.media.iter().find_map(|action| match action {
        MediaAction::Subscribe { track, limits, .. } if track.as_str() == "v50" => Some(limits.waits),
        _ => None,
    });
    assert_eq!(subscribed, Some(true), "not for a moment");
}

/// Which of a viewer's cameras are not to wait, by the rule put plainly.
fn first_in_line(call: &Call, viewer: PublisherId, places: usize) -> BTreeSet<String> {
    let members = &call.room.members;
    let cameras = members[&viewer].receives.iter().filter(|(_, reception)| reception.source == Source::Camera);
    let mut line: Vec<_> = cameras
        .map(|(track, reception)| {
            let publisher = &members[&reception.publisher];
            let rests = publisher.tracks[track].info.muted || reception.paused;
            let spoke = Reverse(publisher.spoke.unwrap_or_default());
            (rests, reception.limits().priority <= 128, spoke, publisher.id, track.to_string())
        })
        .collect();
    line.sort();
    line.into_iter().take(places).map(|one| one.4).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_first_in_line_have_the_places_whoever_is_chosen_for_alone_or_with_others(
        places in 0..5_usize,
        acts in prop::collection::vec((1..7_u64, 0..5_u8), 1..12),
    ) {
        let (mut call, viewer) = meeting(6, RoomConfig { top_n: Some(places), ..last(places) }, all());
        let other = call.join(101);
        (1..=6).for_each(|number| call.subscribe(other, PublisherId(number)));
        for (who, act) in acts {
            let (camera, of) = (format!("v{who}"), PublisherId(who));
            let set = |what: &str, value: serde_json::Value| {
                json!({"type": "set-layer", "publisherId": who, "trackId": camera, what: value})
            };
            match act {
                0 => call.speak(&[&format!("a{who}")], 1000),
                1 => call.say(of, json!({"type": "mute", "trackId": camera})),
                2 => call.say(of, json!({"type": "unmute", "trackId": camera})),
                3 => call.say(viewer, set("priority", 200.into())),
                _ => call.say(viewer, set("paused", true.into())),
            }
        }
        for source in [Source::Camera, Source::Microphone] {
            call.room.share_places_among(source, &[viewer, other]);
        }
        while call.room.poll().is_some() {}
        for one in [viewer, other] {
            let receives = &call.room.members[&one].receives;
            let cameras = receives.iter().filter(|(_, reception)| reception.source == Source::Camera && !reception.waits);
            let sent: BTreeSet<_> = cameras.map(|(track, _)| track.to_string()).collect();
            prop_assert_eq!(sent, first_in_line(&call, one, places));
            call.room.share_places(one);
            prop_assert!(call.room.poll().is_none(), "the same choice");
        }
    }
}

/// What a turn of speech costs the task of a large room in which places are taken.
#[test]
#[ignore = "it measures; run it with --ignored --nocapture"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn what_turns_cost_in_a_large_room() {
    for others in [100, 300] {
        let mut call =
            Call::with(RoomConfig { last_n: Some(9), top_n: Some(5), ..RoomConfig::default() }, Rules::default());
        call.slow_offers = true;
        for number in 1..=others {
            let member = call.join(number);
            call.publish(member, &[&format!("v{number}"), &format!("a{number}")]);
            for other in (1..number).map(PublisherId) {
                call.subscribe(member, other);
                call.subscribe(other, member);
                // No offers are made here, which would end the wait for them.
                call.room.members.values_mut().for_each(|member| member.after_offer.clear());
            }
            call.quiet();
        }
        let mut took = Vec::new();
        for turn in 0..20 {
            call.quiet();
            let begins = std::time::Instant::now();
            call.speak(&[&format!("a{}", others - turn)], 200);
            took.push(begins.elapsed());
            let speaker = track(&format!("a{}", others - turn));
            let receptions = call.room.members.values().filter_map(|member| member.receives.get(&speaker));
            assert_eq!(receptions.filter(|reception| !reception.waits).count() as u64, others - 1);
            call.speak(&[], 600);
        }
        took.sort();
        println!("{others} members: a turn takes {:?}, at most {:?}", took[took.len() / 2], took[took.len() - 1]);
    }
}
