use lockgate_model::carrier::NodeTime;
use lockgate_model::policy::Grant;
use lockgate_model::{Frames, Heard, Loudness, PublisherId};
use serde_json::json;

use super::{Call, Rules, no, track};
use crate::{Input, RoomConfig};

impl Call {
    /// These microphones are spoken into for so long, in ms; all others are silent.
    pub(super) fn speak(&mut self, microphones: &[&str], ms: u64) {
        for _ in 0..ms / 100 {
            self.heard_until += 100_000;
            let mut frames = Frames::default();
            [30, 28, 31, 62, 29].into_iter().for_each(|below| frames.push(Loudness::below_loudest(below)));
            let heard = microphones.iter().map(|name| Heard { track: track(name), frames }).collect();
            self.input(Input::Levels { at: NodeTime(self.heard_until), heard });
        }
    }
}

/// Ann, Bob and Cid, each with a microphone, who all see each other.
fn three(config: RoomConfig, rules: Rules) -> (Call, [PublisherId; 3]) {
    let mut call = Call::with(config, rules);
    let members = [1, 2, 3].map(|number| call.join(number));
    for (member, name) in members.into_iter().zip(["a1", "a2", "a3"]) {
        call.publish(member, &[name]);
    }
    call.quiet();
    (call, members)
}

#[test]
fn everybody_is_told_once_who_speaks_the_speaker_too() {
    let (mut call, members) = three(RoomConfig::default(), Rules::default());
    call.speak(&["a2"], 3000);
    for member in members {
        let told = call.only(member, "active-speaker");
        assert_eq!((&told["publisherId"], &told["roomName"]), (&json!(2), &json!("den")));
        let levels = told["audioLevels"].as_array().unwrap();
        assert_eq!((levels.len(), &levels[0]["publisherId"]), (1, &json!(2)));
        assert!((-90..-20).contains(&levels[0]["level"].as_i64().unwrap()), "{told}");
    }
    call.speak(&[], 2000);
    call.speak(&["a3"], 2000);
    assert_eq!(call.only(members[0], "active-speaker")["publisherId"], 3);
}

#[test]
fn whom_policy_hides_is_not_told_of() {
    let hides = |who: &lockgate_model::policy::Participant, of: &lockgate_model::policy::Publication| {
        let (who, of) = (who.identity.user_id.0, of.publisher.identity.user_id.0);
        if who == 3 && of == 1 { no("hidden") } else { Ok(Grant::default()) }
    };
    let (mut call, [_, bob, cid]) = three(
        RoomConfig { level_interval_ms: 200, ..RoomConfig::default() },
        Rules { subscribe: Box::new(hides), ..Rules::default() },
    );
    call.speak(&["a1", "a2"], 2000);
    call.quiet();
    call.speak(&[], 1000);
    call.quiet();
    call.speak(&["a1"], 2000);
    let at_bob = call.messages(bob);
    assert!(at_bob.iter().any(|message| message["publisherId"] == 1), "{at_bob:?}");
    let at_cid = call.messages(cid);
    assert!(!serde_json::to_string(&at_cid).unwrap().contains("\"publisherId\":1"), "{at_cid:?}");
}

#[test]
fn a_hidden_member_is_no_speaker() {
    let hidden = Rules {
        admit: Box::new(|who| Ok(Grant { hidden: who.identity.user_id.0 == 1, ..Grant::default() })),
        ..Rules::default()
    };
    let (mut call, [ann, bob, _]) = three(RoomConfig::default(), hidden);
    call.speak(&["a1"], 2000);
    assert!(call.heard(ann).is_empty() && call.heard(bob).is_empty());
    call.speak(&["a1", "a2"], 2000);
    assert_eq!(call.only(bob, "active-speaker")["publisherId"], 2);
}

#[test]
fn who_enters_or_comes_back_learns_who_speaks() {
    let (mut call, [ann, ..]) = three(RoomConfig::default(), Rules::default());
    call.speak(&["a1"], 2000);
    let dan = call.join(4);
    assert_eq!(call.only(dan, "active-speaker")["publisherId"], 1);
    call.input(Input::Resumed { member: dan });
    assert_eq!(call.only(dan, "active-speaker")["publisherId"], 1);
    call.say(ann, json!({"type": "leave-room"}));
    let eve = call.join(5);
    assert!(!call.heard(eve).contains(&"active-speaker".into()), "nobody speaks who is there");
}

#[test]
fn a_muted_microphone_and_a_shared_screen_do_not_speak() {
    let (mut call, [ann, bob, _]) = three(RoomConfig::default(), Rules::default());
    let screen =
        json!({"type": "publish-offer", "offer": "v=0", "tracks": [{"trackId": "a9", "source": "screen-audio"}]});
    call.offer_tracks(ann, screen, &["a1", "a9"]);
    call.quiet();
    call.speak(&["a9"], 2000);
    assert!(call.heard(bob).is_empty());
    call.speak(&["a1"], 2000);
    assert_eq!(call.only(bob, "active-speaker")["publisherId"], 1);
    call.say(ann, json!({"type": "mute", "trackId": "a1"}));
    call.quiet();
    // A second ahead of Bob is gone with the mute.
    call.speak(&["a2"], 600);
    assert_eq!(call.only(bob, "active-speaker")["publisherId"], 2);
}

#[test]
fn levels_are_told_as_often_as_configured_and_their_end_once() {
    let (mut call, [ann, ..]) = three(RoomConfig { level_interval_ms: 500, ..RoomConfig::default() }, Rules::default());
    call.speak(&["a2"], 5000);
    let told = call.messages(ann);
    assert!((8..=10).contains(&told.len()), "{}", told.len());
    call.speak(&[], 5000);
    let told = call.messages(ann);
    assert_eq!(told.last().unwrap()["audioLevels"], json!([]));
    assert_eq!(told.iter().filter(|message| message["audioLevels"] == json!([])).count(), 1);
}

#[test]
fn the_end_of_speech_is_told_within_the_second_of_silence_that_engines_tell_of() {
    for level_interval_ms in [200, 1000, 2000, 10_000] {
        let (mut call, [ann, ..]) = three(RoomConfig { level_interval_ms, ..RoomConfig::default() }, Rules::default());
        call.speak(&["a2"], 900);
        let spoken = call.messages(ann);
        assert_ne!(spoken.last().unwrap()["audioLevels"], json!([]), "{spoken:?}");
        call.speak(&[], 1000);
        let told = call.messages(ann);
        let ends = told.iter().filter(|message| message["audioLevels"] == json!([])).count();
        assert_eq!((ends, &told.last().unwrap()["audioLevels"]), (1, &json!([])), "every {level_interval_ms} ms");
    }
}

#[test]
fn whom_policy_hides_from_now_on_is_not_told_of_as_the_last_speaker() {
    let config = RoomConfig { level_interval_ms: 200, ..RoomConfig::default() };
    let (mut call, [ann, bob, cid]) = three(config, Rules::default());
    call.speak(&["a1"], 2000);
    assert_eq!(call.messages(cid).last().unwrap()["publisherId"], 1);
    call.rules.subscribe = Box::new(|who, of| match (who.identity.user_id.0, of.publisher.identity.user_id.0) {
        (3, 1) => no("not any more"),
        _ => Ok(Grant::default()),
    });
    call.rules.act = Box::new(|_, _| lockgate_model::policy::CommandAnswer {
        decision: Ok(Grant::default()),
        reply: String::new(),
        effects: vec![lockgate_model::policy::CommandEffect::ReAsk { subject: Some("3".into()) }],
    });
    call.say(bob, json!({"type": "policy-command", "name": "x"}));
    call.quiet();
    call.speak(&["a1", "a2"], 2000);
    assert_eq!(call.messages(bob).last().unwrap()["publisherId"], 1);
    let told = serde_json::to_string(&call.messages(cid)).unwrap();
    assert!(!told.contains("\"publisherId\":1"), "{told}");
    call.quiet();
    let hidden = super::identity(1, Grant { hidden: true, ..super::all() });
    call.input(Input::Renewed { member: ann, identity: hidden });
    call.quiet();
    call.input(Input::Resumed { member: bob });
    assert!(!call.heard(bob).contains(&"active-speaker".into()), "who hides is nobody's speaker");
}

#[test]
fn levels_of_tracks_that_the_room_does_not_know_change_nothing() {
    let (mut call, [ann, ..]) = three(RoomConfig::default(), Rules::default());
    call.speak(&["nobody", "v1"], 2000);
    assert!(call.heard(ann).is_empty());
}
