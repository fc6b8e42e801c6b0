//! Whatever policy says and whenever, nothing flows longer than it may.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

use lockgate_model::TrackId;
use lockgate_model::policy::{Decision, Grant, TrackFacts};
use proptest::prelude::*;
use serde_json::json;

use super::{call, said, unavailable};
use crate::RecordAction;
use crate::tests::{Rules, no, track};

fn grants() -> impl Strategy<Value = Decision> {
    let times = (proptest::option::of(0..60_000u64), proptest::option::of(0..30_000u32), proptest::option::of(0..3u8));
    prop_oneof![
        4 => times.prop_map(|(ends, reask_after_ms, max_spatial)| {
            let expires_at_ms = ends.map(|ends| 1_000_000 + ends);
            Ok(Grant { expires_at_ms, reask_after_ms, max_spatial, ..Grant::default() })
        }),
        2 => Just(unavailable()),
        1 => Just(no("no")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Policy says this and that, at all doors, and at last nothing: what still flows then is what it has allowed without an end.
    #[test]
    fn nothing_flows_longer_than_it_may(answers in prop::collection::vec((0..20_000u64, grants()), 1..30)) {
        let current = said(Grant::default());
        let heard: Rc<RefCell<BTreeMap<(&str, String), Decision>>> = Rc::default();
        let rule = |hook| {
            let (current, heard) = (current.clone(), heard.clone());
            move |track: &TrackFacts| {
                let says = current.borrow().clone();
                if says != unavailable() {
                    heard.borrow_mut().insert((hook, track.id.to_string()), says.clone());
                }
                says
            }
        };
        let (subscribe, publish, record) = (rule("subscribe"), rule("publish"), rule("record"));
        let rules = Rules {
            subscribe: Box::new(move |_, of| subscribe(&of.track)),
            publish: Box::new(publish),
            record: Box::new(move |_, of| record(&of.track)),
            ..Rules::default()
        };
        let (mut call, ann, bob) = call(rules);
        call.say(bob, json!({"type": "start-recording"}));
        for (pause, answer) in answers {
            *current.borrow_mut() = answer;
            call.publish(ann, &["v1", "a1", "v2"]);
            call.subscribe(bob, ann);
            call.wait(pause);
        }
        *current.borrow_mut() = unavailable();
        // The longest interval, the time for which a stale grant stands, and the latest end.
        call.wait(30_000 + 60_000 + 60_000);
        let may_flow = |hook, track: &TrackId| {
            let heard = heard.borrow();
            let says = heard.get(&(hook, track.to_string()));
            says.is_some_and(|says| says.as_ref().is_ok_and(|it| it.expires_at_ms.or(it.reask_after_ms.map(u64::from)).is_none()))
        };
        for sent in call.sending.values().flatten() {
            prop_assert!(may_flow("subscribe", sent) && may_flow("publish", sent), "{} is sent", sent);
        }
        let recorded = call.recorder.iter().fold(BTreeSet::new(), |mut recorded, action| {
            match action {
                RecordAction::Add { track, .. } => drop(recorded.insert(track)),
                RecordAction::Remove { track, .. } => drop(recorded.remove(track)),
                _ => {}
            }
            recorded
        });
        for track in recorded {
            prop_assert!(may_flow("record", track) && may_flow("publish", track), "{} is recorded", track);
        }
    }
}

#[test]
fn time_alone_costs_nothing_where_nobody_limits_it() {
    let (call, ann, _) = call(Rules::default());
    assert_eq!((call.room.next_timeout(), call.room.contains(ann)), (None, true));
    assert!(call.room.identity(ann).is_some() && call.sending.values().flatten().any(|sent| *sent == track("v1")));
}
