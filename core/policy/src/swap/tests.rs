use lockgate_model::Secret;
use lockgate_model::policy::{AdmissionQuestion, AuthQuestion, Door, Grant, Identity, Participant, RoomFacts, Why};

use super::*;
use crate::tally::Outcome;

/// Plugins are not needed here: two configurations without any differ by what holds then.
fn config(default_allow: bool, canary: CanaryConfig) -> PolicyConfig {
    PolicyConfig { default_allow, canary, ..PolicyConfig::default() }
}

fn canary(share: f64) -> CanaryConfig {
    CanaryConfig { share, ..CanaryConfig::default() }
}

fn policy() -> Policy {
    Policy::load(config(false, canary(0.0))).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Replaces the plugins by those that allow or deny.
fn swap(policy: &Policy, default_allow: bool, canary: CanaryConfig, now: Instant) -> Swap {
    let candidate = policy.prepare(&config(default_allow, canary)).unwrap_or_else(|problems| panic!("{problems:?}"));
    policy.swap(candidate, "a test", now)
}

/// What came of it, and the numbers of who answered before and after.
fn told(swap: Option<Swap>) -> Option<(SwapOutcome, u64, u64)> {
    swap.map(|swap| (swap.outcome, swap.from.epoch, swap.to.epoch))
}

fn answers(set: &Set, count: usize, failed: bool, denied: bool) {
    let outcome = Outcome { failed, decisions: 1, denials: usize::from(denied), took: Duration::ZERO };
    (0..count).for_each(|_| set.tally.note(outcome));
}

fn room(number: u32) -> RoomName {
    RoomName::new(format!("room-{number}")).expect("a name")
}

/// Whether somebody is let into a room.
fn enters(policy: &Policy, number: u32) -> bool {
    let identity = Identity {
        subject: "7".into(),
        user_id: lockgate_model::UserId(7),
        username: "Ann".into(),
        claims: Vec::new(),
        expires_at_ms: None,
        grant: Grant::default(),
    };
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let who = Participant { identity, publisher_id: None, door: Door::Ws, peer };
    let room = RoomFacts { name: room(number), participants: 0, publications: 0, recording: false };
    let question = AdmissionQuestion { who, room, password: None, metadata: None, why: Why::Request, now_ms: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(policy.admit(question)).is_ok()
}

#[test]
fn another_set_answers_at_once_and_the_same_one_changes_nothing() {
    let (policy, now) = (policy(), Instant::now());
    assert!(!enters(&policy, 1));
    assert_eq!(told(Some(swap(&policy, true, canary(0.0), now))), Some((SwapOutcome::Swapped, 1, 2)));
    assert!(enters(&policy, 1));
    assert_eq!(told(Some(swap(&policy, true, canary(0.0), now))), Some((SwapOutcome::Unchanged, 2, 2)));
    assert_eq!(policy.status(now).fallback, Some(1));
    assert_eq!(told(policy.tend(now + Duration::from_secs(60))), None);
    assert_eq!(policy.status(now).fallback, None, "it has done well for long enough");
}

#[test]
fn a_question_is_answered_by_the_set_that_it_was_put_to() {
    let policy = Policy::load(PolicyConfig { threads: 1, ..config(false, canary(0.0)) }).unwrap_or_else(|_| panic!());
    let (started, has_started) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let busy = move || {
        started.send(()).expect("the test waits");
        released.recv().expect("the test goes on");
    };
    let busy = policy.inner.pool.submit(busy, || ());
    has_started.recv().expect("the only thread is busy");
    let asked = policy.sets();
    let asking = std::thread::spawn({
        let policy = policy.clone();
        move || enters(&policy, 1)
    });
    // Whoever asks holds the set while the question waits.
    while Arc::strong_count(&asked.stable) < 2 {
        std::thread::yield_now();
    }
    swap(&policy, true, CanaryConfig { hold: Duration::ZERO, ..canary(0.0) }, Instant::now());
    release.send(()).expect("the thread waits");
    assert!(!asking.join().expect("it is answered"));
    assert!(enters(&policy, 1));
    drop(busy);
    let before = Arc::downgrade(&asked.stable);
    drop(asked);
    // The thread lets go of the question a moment after it has answered.
    while before.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_canary_answers_for_its_share_of_rooms_and_then_for_all() {
    let (policy, now) = (policy(), Instant::now());
    assert_eq!(told(Some(swap(&policy, true, canary(0.3), now))), Some((SwapOutcome::Canary, 1, 2)));
    let entered: Vec<_> = (0..200).filter(|number| enters(&policy, *number)).collect();
    assert!((30..=90).contains(&entered.len()), "{} of 200", entered.len());
    for number in 0..200 {
        let epoch = if entered.contains(&number) { 2 } else { 1 };
        assert_eq!((policy.epoch_of(&room(number)), enters(&policy, number)), (epoch, epoch == 2), "of one mind");
    }
    assert_eq!(told(policy.tend(now + Duration::from_secs(59))), None);
    let done = now + Duration::from_secs(60);
    assert_eq!(told(policy.tend(done)), Some((SwapOutcome::Promoted, 1, 2)));
    assert!((0..200).all(|number| enters(&policy, number)));
    assert_eq!((policy.status(done).live.epoch, policy.status(done).fallback), (2, Some(1)));
    assert_eq!(told(policy.tend(done + Duration::from_secs(60))), None);
    assert_eq!(policy.status(done).fallback, None);
}

#[test]
fn operators_are_asked_about_by_who_answered_before() {
    let (policy, now) = (policy(), Instant::now());
    swap(&policy, true, canary(1.0), now);
    let ask = |door| {
        let peer = std::net::Ipv4Addr::LOCALHOST.into();
        let question = AuthQuestion { token: Secret::new("t"), door, peer, now_ms: 0 };
        crate::question::Question::Auth(question)
    };
    let sets = policy.sets();
    let epoch = |door| sets.pick(|| ask(door).subject()).policies.epoch;
    assert_eq!((epoch(Door::Ws), epoch(Door::Admin)), (2, 1));
}

#[test]
fn a_canary_that_fails_or_denies_more_is_taken_back() {
    for (failed, denied) in [(true, true), (false, true)] {
        let (policy, now) = (policy(), Instant::now());
        swap(&policy, true, canary(0.5), now);
        let sets = policy.sets();
        answers(&sets.stable, 100, false, false);
        answers(&sets.canary().expect("a canary").set, 100, failed, denied);
        let swap = policy.tend(now).expect("it is noticed");
        assert_eq!(told(Some(swap.clone())), Some((SwapOutcome::RolledBack, 2, 1)), "{}", swap.why);
        assert!((0..50).all(|number| !enters(&policy, number)));
        assert_eq!(told(policy.tend(now + Duration::from_secs(60))), None, "it is not tried again by itself");
    }
}

#[test]
fn a_set_that_fails_is_taken_back_while_it_is_watched_and_one_that_denies_is_not() {
    let (policy, now) = (policy(), Instant::now());
    answers(&policy.sets().stable, 100, false, false);
    swap(&policy, true, canary(0.0), now);
    answers(&policy.sets().stable, 100, false, true);
    assert_eq!(told(policy.tend(now)), None, "whoever swaps at once wants other answers");
    answers(&policy.sets().stable, 30, true, true);
    assert_eq!(told(policy.tend(now)), Some((SwapOutcome::RolledBack, 2, 1)));
    assert_eq!(
        told(Some(swap(&policy, true, canary(0.0), now))),
        Some((SwapOutcome::Swapped, 1, 3)),
        "no number twice"
    );
    assert_eq!(told(policy.tend(now + Duration::from_secs(60))), None);
    answers(&policy.sets().stable, 100, true, true);
    assert_eq!(told(policy.tend(now + Duration::from_secs(61))), None, "its breakers are there for what comes later");
}

#[test]
fn a_canary_ends_when_the_old_configuration_comes_back_or_another_one_comes() {
    let (policy, now) = (policy(), Instant::now());
    swap(&policy, true, canary(0.5), now);
    assert_eq!(told(Some(swap(&policy, true, canary(0.5), now))), Some((SwapOutcome::Unchanged, 2, 2)));
    assert_eq!(told(Some(swap(&policy, false, canary(0.5), now))), Some((SwapOutcome::Withdrawn, 2, 1)));
    assert!(policy.status(now).canary.is_none());
    swap(&policy, true, canary(0.5), now);
    let quick = PolicyConfig { chain_budget: Duration::from_millis(100), ..config(true, canary(0.5)) };
    let candidate = policy.prepare(&quick).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(told(Some(policy.swap(candidate, "a test", now))), Some((SwapOutcome::Canary, 1, 4)));
    let status = policy.status(now + Duration::from_secs(20)).canary.expect("a canary");
    assert_eq!((status.policies.epoch, status.left), (4, Duration::from_secs(40)));
}

#[test]
fn a_canary_answers_for_all_only_when_enough_is_known_of_it() {
    for failed in [false, true] {
        let (policy, now) = (policy(), Instant::now());
        swap(&policy, true, canary(0.5), now);
        let over = now + Duration::from_secs(60);
        assert_eq!(told(policy.tend(over)), None, "nobody has asked it");
        answers(&policy.sets().canary().expect("a canary").set, 19, failed, failed);
        assert_eq!(told(policy.tend(over)), None, "19 are not enough");
        answers(&policy.sets().canary().expect("a canary").set, 1, failed, failed);
        let outcome = if failed { (SwapOutcome::RolledBack, 2, 1) } else { (SwapOutcome::Promoted, 1, 2) };
        assert_eq!(told(policy.tend(over)), Some(outcome));
    }
}

#[test]
fn other_keys_count_for_everybody_at_once_and_are_not_taken_back() {
    let (policy, now) = (policy(), Instant::now());
    answers(&policy.sets().stable, 100, false, false);
    let ring = crate::config::KeyRing::hs256(b"another secret of a good length".to_vec());
    let other_keys = PolicyConfig { key_rings: [("default".to_owned(), ring)].into(), ..config(false, canary(0.1)) };
    let candidate = policy.prepare(&other_keys).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(told(Some(policy.swap(candidate, "a test", now))), Some((SwapOutcome::Swapped, 1, 2)));
    answers(&policy.sets().stable, 100, true, true);
    assert_eq!(told(policy.tend(now)), None);
    let status = policy.status(now);
    assert_eq!((status.live.epoch, status.canary.is_none(), status.fallback), (2, true, None));
}

#[test]
fn a_canary_is_given_to_more_or_to_all_by_its_configuration() {
    let (policy, now) = (policy(), Instant::now());
    swap(&policy, true, canary(0.1), now);
    assert_eq!(told(Some(swap(&policy, true, canary(1.0), now))), Some((SwapOutcome::Canary, 1, 3)));
    assert!((0..20).all(|number| enters(&policy, number)));
    assert_eq!(told(Some(swap(&policy, true, canary(0.0), now))), Some((SwapOutcome::Swapped, 1, 4)));
    assert!(policy.status(now).canary.is_none());
}

#[test]
fn what_is_gone_back_to_is_what_was_watched_to_the_end() {
    let (policy, now) = (policy(), Instant::now());
    answers(&policy.sets().stable, 100, false, false);
    swap(&policy, true, canary(0.0), now);
    answers(&policy.sets().stable, 100, true, true);
    let quick = PolicyConfig { chain_budget: Duration::from_millis(100), ..config(true, canary(0.0)) };
    let candidate = policy.prepare(&quick).unwrap_or_else(|problems| panic!("{problems:?}"));
    policy.swap(candidate, "a test", now);
    answers(&policy.sets().stable, 100, true, true);
    assert_eq!(told(policy.tend(now)), Some((SwapOutcome::RolledBack, 3, 1)), "the second one failed, too");
}

#[test]
fn what_is_wrong_changes_nothing_and_is_counted() {
    let policy = policy();
    let plugin = crate::config::PluginConfig::new("a", "no-such-file.wasm");
    let config = PolicyConfig { plugins: vec![plugin], ..PolicyConfig::default() };
    let problems = policy.prepare(&config).err().expect("there is no such file");
    assert!(problems[0].to_string().contains("no-such-file.wasm"), "{problems:?}");
    policy.refused();
    let refused = policy.stats().swaps.into_iter().find(|(outcome, _)| *outcome == SwapOutcome::Refused);
    assert_eq!((refused, policy.stats().epoch), (Some((SwapOutcome::Refused, 2)), 1));
}
