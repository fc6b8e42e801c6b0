use lockgate_model::policy::{Attribute, Door, RoomFacts, TrackFacts};
use lockgate_model::{Bitrate, Codec, ErrorCode, Layer, MediaKind, PublisherId, RoomName, Source, TrackId, UserId};
use proptest::prelude::*;

use super::*;

fn somebody(subject: &str) -> Participant {
    let identity = Identity {
        subject: subject.into(),
        user_id: UserId(1),
        username: subject.into(),
        claims: vec![Attribute { key: "role".into(), value: "\"host\"".into() }],
        expires_at_ms: Some(50_000),
        grant: Grant::default(),
    };
    Participant {
        identity,
        publisher_id: Some(PublisherId(7)),
        door: Door::Ws,
        peer: "192.0.2.1".parse().expect("an address"),
    }
}

fn question(why: Why, now_ms: u64) -> SubscribeQuestion {
    let track = TrackFacts {
        id: TrackId::new("camera").expect("a track's name"),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: Some(Codec::Vp8),
        top_layer: Layer { spatial: 2, temporal: 2 },
        bitrate: None,
    };
    let name = RoomName::new("board").expect("a room's name");
    SubscribeQuestion {
        who: somebody("viewer"),
        room: RoomFacts { name, participants: 2, publications: 1, recording: false },
        publications: vec![Publication { publisher: somebody("publisher"), track }],
        why,
        now_ms,
    }
}

fn asked(why: Why, now_ms: u64) -> Asked {
    let question = question(why, now_ms);
    Asked::new(&question, &question.publications)
}

fn layer(spatial: u8) -> Verdict {
    Verdict::Allow(Grant { max_spatial: Some(spatial), ..Grant::default() })
}

fn memory() -> LastKnown {
    LastKnown::new(Duration::from_secs(60), Arc::default())
}

/// What stands in: the highest layer that is allowed, or the code; none: nothing is known.
fn lent(memory: &LastKnown, asked: &Asked) -> Option<Result<Option<u8>, ErrorCode>> {
    let [verdict] = memory.lend(asked).try_into().expect("one for each pair");
    verdict.map(|verdict| match verdict {
        Verdict::Allow(grant) => Ok(grant.max_spatial),
        Verdict::Deny(denial) => Err(denial.code),
        Verdict::Abstain => Err(ErrorCode::NOT_FOUND),
    })
}

#[test]
fn the_last_verdict_stands_in_and_is_asked_about_again_soon() {
    let memory = memory();
    assert_eq!(lent(&memory, &asked(Why::Request, 0)), None);
    memory.keep(&asked(Why::Request, 0), &[layer(2)]);
    memory.keep(&asked(Why::Request, 1), &[layer(1)]);
    let [Some(Verdict::Allow(grant))] = &memory.lend(&asked(Why::Request, 2))[..] else { panic!("nothing stands in") };
    assert_eq!((grant.max_spatial, grant.reask_after_ms), (Some(1), Some(1000)));
    memory.keep(&asked(Why::Request, 3), &[Verdict::Deny(Denial::new(ErrorCode::FORBIDDEN, "no"))]);
    let [Some(Verdict::Deny(denial))] = &memory.lend(&asked(Why::Request, 4))[..] else { panic!("nothing stands in") };
    assert_eq!((&denial.code, denial.retry_after_ms), (&ErrorCode::FORBIDDEN, Some(1000)));
    assert_eq!(memory.lent.load(Relaxed), 2);
}

#[test]
fn a_verdict_stands_for_the_very_facts_that_it_was_given_for() {
    let memory = memory();
    memory.keep(&asked(Why::Request, 0), &[layer(2)]);
    let changes: [fn(&mut SubscribeQuestion); 13] = [
        |it| it.who.identity.subject = "other".into(),
        |it| it.who.identity.claims[0].value = "\"guest\"".into(),
        |it| it.who.identity.grant.can_data = Some(false),
        |it| it.who.door = Door::Whep,
        |it| it.who.peer = "192.0.2.2".parse().unwrap(),
        |it| it.room.name = RoomName::new("other").unwrap(),
        |it| it.publications[0].publisher.identity.subject = "other".into(),
        |it| it.publications[0].track.id = TrackId::new("other").unwrap(),
        |it| it.publications[0].track.source = Source::Screen,
        |it| it.publications[0].track.codec = None,
        |it| it.publications[0].track.top_layer.spatial += 1,
        |it| it.publications[0].track.bitrate = Some(Bitrate(1)),
        |it| it.room.recording = !it.room.recording,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut question = question(Why::Request, 1);
        change(&mut question);
        let asked = Asked::new(&question, &question.publications);
        assert_eq!(lent(&memory, &asked), None, "change {number}");
    }
    // The same people with a renewed token, back after they lost their place, in a room that has filled.
    let mut question = question(Why::Request, 1);
    question.who.identity.expires_at_ms = Some(90_000);
    question.who.identity.grant.expires_at_ms = Some(90_000);
    question.publications[0].publisher.publisher_id = Some(PublisherId(8));
    question.room.participants = 9;
    assert_eq!(lent(&memory, &Asked::new(&question, &question.publications)), Some(Ok(Some(2))));
}

#[test]
fn leave_to_know_of_a_track_is_no_leave_to_have_it() {
    let memory = memory();
    memory.keep(&asked(Why::Announce, 0), &[layer(2)]);
    assert_eq!(lent(&memory, &asked(Why::Announce, 1)), Some(Ok(Some(2))));
    assert_eq!(lent(&memory, &asked(Why::Request, 1)), None);
    memory.keep(&asked(Why::Request, 2), &[layer(0)]);
    memory.keep(&asked(Why::Announce, 3), &[layer(2)]);
    assert_eq!(lent(&memory, &asked(Why::Request, 4)), Some(Ok(Some(0))), "an announcement widens nothing");
    memory.keep(&asked(Why::Announce, 5), &[Verdict::Deny(Denial::new(ErrorCode::FORBIDDEN, "no"))]);
    assert_eq!(lent(&memory, &asked(Why::Request, 6)), Some(Err(ErrorCode::FORBIDDEN)), "but a no is a no");
}

#[test]
fn what_is_said_when_a_question_is_put_again_replaces_what_was_said_before() {
    let memory = memory();
    memory.keep(&asked(Why::Announce, 0), &[layer(2)]);
    memory.keep(&asked(Why::Recheck, 1), &[layer(1)]);
    assert_eq!(lent(&memory, &asked(Why::Announce, 2)), Some(Ok(Some(1))));
    assert_eq!(lent(&memory, &asked(Why::Request, 2)), None, "that was never allowed");
}

#[test]
fn a_question_that_is_put_again_fails_and_leaves_it_to_the_asker_to_keep_what_there_is() {
    let memory = memory();
    memory.keep(&asked(Why::Request, 0), &[layer(2)]);
    assert_eq!(lent(&memory, &asked(Why::Recheck, 1)), None);
}

#[test]
fn nothing_stands_in_for_longer_than_the_operator_allows() {
    let memory = memory();
    memory.keep(&asked(Why::Request, 0), &[layer(2)]);
    // Nobody noticed a failure before.
    assert!(lent(&memory, &asked(Why::Request, 500_000)).is_some());
    assert!(lent(&memory, &asked(Why::Request, 559_999)).is_some());
    assert_eq!(lent(&memory, &asked(Why::Request, 560_000)), None);
    memory.keep(&asked(Why::Request, 570_000), &[layer(2)]);
    assert!(lent(&memory, &asked(Why::Request, 600_000)).is_some(), "an answer begins it anew");
}

#[test]
fn a_verdict_that_wanted_to_be_asked_for_again_is_stale_from_then_on() {
    let memory = memory();
    let verdict = Verdict::Allow(Grant { reask_after_ms: Some(500), ..Grant::default() });
    memory.keep(&asked(Why::Request, 0), &[verdict]);
    let [Some(Verdict::Allow(grant))] = &memory.lend(&asked(Why::Request, 60_499))[..] else { panic!("it stands") };
    assert_eq!(grant.reask_after_ms, Some(500));
    assert_eq!(lent(&memory, &asked(Why::Request, 60_500)), None);
}

#[test]
fn a_grant_that_has_ended_does_not_come_back() {
    let memory = memory();
    let verdict = Verdict::Allow(Grant { expires_at_ms: Some(1000), ..Grant::default() });
    memory.keep(&asked(Why::Request, 0), &[verdict]);
    assert!(lent(&memory, &asked(Why::Request, 999)).is_some());
    assert_eq!(lent(&memory, &asked(Why::Request, 1000)), None);
}

#[test]
fn what_is_too_big_to_be_kept_is_forgotten_rather_than_what_it_replaces_remembered() {
    let memory = memory();
    memory.keep(&asked(Why::Request, 0), &[layer(2)]);
    let attributes = vec![Attribute { key: "a.b".into(), value: "x".repeat(MAX_BYTES) }];
    memory.keep(&asked(Why::Request, 1), &[Verdict::Allow(Grant { attributes, ..Grant::default() })]);
    assert_eq!(lent(&memory, &asked(Why::Request, 2)), None);
}

#[test]
fn the_pairs_that_were_asked_about_longest_ago_are_forgotten() {
    let memory = LastKnown { most: 2, ..memory() };
    let about = |viewer: &str| {
        let mut question = question(Why::Request, 0);
        question.who = somebody(viewer);
        Asked::new(&question, &question.publications)
    };
    for viewer in ["a", "b", "a", "c"] {
        memory.keep(&about(viewer), &[layer(2)]);
    }
    let known = ["a", "b", "c"].map(|viewer| lent(&memory, &about(viewer)).is_some());
    assert_eq!(known, [true, false, true]);
    let said = memory.lock();
    assert_eq!((said.of.len(), said.order.len()), (2, 2));
}

fn whys() -> impl Strategy<Value = Why> {
    prop_oneof![Just(Why::Announce), Just(Why::Request), Just(Why::Auto), Just(Why::Recheck)]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => (0..9u8).prop_map(layer),
        1 => Just(Verdict::Deny(Denial::new(ErrorCode::FORBIDDEN, "no"))),
        1 => Just(Verdict::Abstain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_was_said_nothing_but_the_last_word_on_such_a_question_is_allowed(
        said in proptest::collection::vec((whys(), verdicts()), 0..12),
        why in whys(),
    ) {
        let memory = memory();
        for (now_ms, (why, verdict)) in (0..).zip(&said) {
            memory.keep(&asked(*why, now_ms), std::slice::from_ref(verdict));
        }
        if let Some(Ok(spatial)) = lent(&memory, &asked(why, 100)) {
            prop_assert!(why != Why::Recheck);
            prop_assert!(!matches!(said.last(), Some((_, Verdict::Deny(_)))));
            let speaks_of_it = |said: Why| said == Why::Recheck || (said == Why::Announce) == (why == Why::Announce);
            let last = said.iter().rev().find(|(said, _)| speaks_of_it(*said)).map(|(_, verdict)| verdict);
            prop_assert_eq!(last.cloned(), Some(layer(spatial.unwrap_or(u8::MAX))));
        }
    }
}
