//! Plugins that are asked again what a decision log says others were asked.

use std::path::Path;
use std::time::Duration;

use lockgate_model::Source;
use lockgate_model::policy::{CommandQuestion, Grant, Hook, Participant, Why};
use lockgate_policy::journal::{Line, Omit, ReadLine, Reader, Spot, Verifier};
use lockgate_policy::replay::{Counts, Outcome, Replay, Replayed, Selection};
use lockgate_policy::{JournalConfig, PluginConfig, Policy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::support::{
    NOW_MS, admission, auth, camera, config, plugin, publishing, recording, room, somebody, subscription, token, told,
    track,
};

/// Plugins that come along, with settings that give them something to decide.
fn shipped() -> Vec<PluginConfig> {
    let viewer = json!({ "sees": ["host"], "max_spatial": 1, "priority": 9 });
    let tiers = json!({ "free": { "max_spatial": 0, "publish": ["camera"], "last_n": 2 }, "pro": {} });
    let lab = json!({ "rooms": ["lab*"], "most": 2, "open": ["mon-fri 08:00-18:00"] });
    let all = [
        ("room-admission", json!({ "door": { "capacity": 2 }, "roles": { "guest": { "publish": ["camera"] } } })),
        ("subscription-policy", json!({ "roles": { "guest": viewer } })),
        ("waiting-room", json!({ "waiting_s": 20, "admitted_s": 30 })),
        ("room-limits", json!({ "rules": [lab] })),
        ("classroom", json!({ "teachers": ["host"], "lesson_s": 25 })),
        ("paid-tiers", json!({ "tier_claim": "role", "default_tier": "free", "tiers": tiers })),
        ("recording-consent", json!({})),
        ("address-rules", json!({ "country_claim": "role", "rules": [{ "countries": ["host"] }] })),
    ];
    all.into_iter().map(|(name, settings)| plugin(name, settings)).collect()
}

/// Has a log written of what happens, on one thread: each question after the other.
async fn logged(folder: &Path, plugins: Vec<PluginConfig>, omit: &[Omit], happens: impl AsyncFnOnce(&Policy)) {
    let (directory, max_age) = (folder.to_owned(), Duration::from_secs(3600));
    let log = JournalConfig { directory, max_size: 1 << 20, max_age, keep: 99, omit: omit.to_vec() };
    let policy = Policy::load(config(plugins)).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    let policy = policy.log_to(&log).unwrap();
    happens(&policy).await;
    policy.journal().close();
}

fn replayed(folder: &Path, plugin: PluginConfig, selection: Selection) -> Replayed {
    let mut replay = Replay::open(plugin, selection).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    let mut verifier = Verifier::default();
    for file in Reader::files(&[folder.to_owned()]).unwrap() {
        let mut spot = Spot { file: file.file_name().unwrap().to_str().unwrap().to_owned(), line: 0 };
        let mut reader = Reader::open(&file).unwrap();
        while let Some(line) = reader.next_line().unwrap() {
            spot.line += 1;
            let sealed = verifier.line(&line).unwrap();
            let ReadLine::Whole(bytes) = line else { panic!("the log is whole") };
            replay.line(&spot, &sealed, &serde_json::from_slice::<Line>(&bytes).unwrap());
        }
    }
    replay.finish()
}

fn act(who: Participant, name: &str, payload: &str, now_ms: u64) -> CommandQuestion {
    let (name, payload, target) = (name.to_owned(), payload.to_owned(), None);
    CommandQuestion { who, room: room("board", 2), name, target, payload, now_ms }
}

/// Who asks what, about whom, how long after the question before.
type Step = (u8, &'static str, &'static str, &'static str, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let people = || select(vec!["host", "guest", "pro"]);
    vec((0..6_u8, people(), people(), select(vec!["lab-1", "board"]), 0..20_000_u64), 40..80)
}

/// The subject of somebody with that role, who is nobody else.
fn person(role: &str) -> Participant {
    let grant = Grant { can_record: Some(role == "host"), ..Grant::default() };
    somebody(&format!("{role}'s"), Some(role), grant)
}

async fn ask(policy: &Policy, (kind, who, whom, place, _): Step, now_ms: u64) {
    let acts = ["lobby-admit", "hand-raise", "hands", "board-call", "consent", "withdraw", "lobby-list"];
    let (asker, room) = (person(who), room(place, u32::from(who == "guest") * 3));
    let sources = [Source::Camera, Source::Screen, Source::Microphone];
    let tracks: Vec<_> = sources.into_iter().map(|source| track(source.as_str(), source)).collect();
    let publications = vec![camera(person(whom)), camera(person("pro"))];
    match kind {
        0 => drop(
            policy.admit(lockgate_model::policy::AdmissionQuestion { now_ms, ..admission(asker, room, None) }).await,
        ),
        1 => {
            let asked = publishing(asker, tracks);
            drop(policy.publish(lockgate_model::policy::PublishQuestion { room, now_ms, ..asked }).await);
        }
        2 => {
            let asked = subscription(asker, publications);
            drop(policy.subscribe(lockgate_model::policy::SubscribeQuestion { room, now_ms, ..asked }).await);
        }
        3 => {
            let asked = recording(Some(asker), publications);
            drop(policy.record(lockgate_model::policy::RecordQuestion { room, now_ms, ..asked }).await);
        }
        _ => {
            let name = acts[usize::try_from(now_ms % 7).unwrap()];
            let whom = if name.ends_with("list") { String::new() } else { person(whom).identity.subject };
            drop(policy.command(CommandQuestion { room, ..act(asker, name, &whom, now_ms) }).await);
        }
    }
}

proptest! {
    #![proptest_config(lockgate_model::testing::cases(1))]

    #[test]
    fn a_plugin_differs_nowhere_from_itself(steps in steps(), rest in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for plugin in shipped() {
            let folder = tempfile::tempdir().unwrap();
            // The second run of the node goes on in the same log, with nothing remembered.
            for steps in [&steps, &rest] {
                let happens = async |policy: &Policy| {
                    let mut now_ms = NOW_MS;
                    for step in steps {
                        now_ms += step.4;
                        ask(policy, *step, now_ms).await;
                    }
                };
                runtime.block_on(logged(folder.path(), vec![plugin.clone()], &[], happens));
            }
            let found = replayed(folder.path(), plugin.clone(), Selection::default());
            let Counts { questions, decisions, same, .. } = found.whole;
            prop_assert!(questions > 0 && decisions >= questions, "{}: {found:?}", plugin.name);
            prop_assert_eq!(same, decisions, "{}: {:#?}", plugin.name, found.differences);
            let asked = steps.len() + rest.len();
            prop_assert_eq!(questions + found.left_out.not_asked, u64::try_from(asked).unwrap(), "{}", plugin.name);
        }
    }
}

fn rules(roles: Value) -> PluginConfig {
    plugin("subscription-policy", json!({ "roles": roles }))
}

/// Guests see the host's camera, and nobody else's; somebody of the name `closed` is denied by another plugin first.
async fn an_evening(folder: &Path, omit: &[Omit]) {
    let closed = plugin("faulty", json!({ "fault": "deny", "only": "closed@subscription", "at": ["subscription"] }));
    let plugins = vec![
        closed,
        rules(json!({ "guest": { "sees": ["host"], "max_spatial": 2 } })),
        plugin("waiting-room", json!({})),
    ];
    logged(folder, plugins, omit, async |policy| {
        drop(policy.authenticate(auth(&token(json!({})))).await);
        for subject in ["ann", "bob", "closed"] {
            let viewer = somebody(subject, Some("guest"), Grant::default());
            let both = vec![
                camera(somebody("h", Some("host"), Grant::default())),
                camera(somebody("g", Some("guest"), Grant::default())),
            ];
            policy.subscribe(subscription(viewer, both)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn other_settings_differ_where_they_should_and_each_difference_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    an_evening(folder.path(), &[]).await;
    let new = rules(json!({ "guest": { "max_spatial": 0 } }));
    let found = replayed(folder.path(), new, Selection::default());
    assert_eq!(
        found.whole,
        Counts { questions: 2, decisions: 4, same: 0, different: 4, changed: 4, unknown: 0 },
        "{:#?}",
        found.differences
    );
    assert_eq!((found.left_out.auth, found.left_out.unreached, found.known), (1, 1, true));
    let told: Vec<_> = found
        .differences
        .iter()
        .map(|group| (group.count, group.outcome, group.changes.iter().map(ToString::to_string).collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        told,
        [
            (2, Outcome::Changed, vec!["maxSpatial 2 → 0".to_owned()]),
            (2, Outcome::Changed, vec!["verdict deny forbidden → allow".to_owned()]),
        ]
    );
    let example = &found.differences[1].example;
    assert_eq!(
        (example.who.as_deref(), example.about.as_deref(), example.spot.line),
        (Some("ann (subject ann)"), Some("camera \"camera\" of g (subject g)"), 3)
    );
    assert_eq!(example.would_come.as_ref().unwrap().in_short(), "allow", "the waiting room does not answer this");
}

#[tokio::test]
async fn what_others_deny_all_the_same_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    an_evening(folder.path(), &[]).await;
    let silent = plugin("faulty", json!({ "fault": "trap" }));
    let found = replayed(folder.path(), silent, Selection::default());
    // Of two people it allowed two tracks each; the third it denied itself. Now it fails, which is no.
    assert_eq!(
        (found.whole.questions, found.whole.different, found.whole.changed),
        (3, 6, 6),
        "{:#?}",
        found.differences
    );
    assert_eq!(found.differences[0].changes[0].to_string(), "verdict allow → failed trap");
    let open = plugin("faulty", json!({}));
    let found = replayed(folder.path(), open, Selection::default());
    let [group] = &found.differences[..] else { panic!("{:#?}", found.differences) };
    assert_eq!((group.count, group.outcome, found.whole.unknown), (2, Outcome::Unknown, 2), "nobody else was asked");
}

#[tokio::test]
async fn a_plugin_that_was_not_there_is_held_against_what_came_of_questions() {
    let folder = tempfile::tempdir().unwrap();
    an_evening(folder.path(), &[]).await;
    let new = PluginConfig {
        name: "tiers".into(),
        ..plugin("paid-tiers", json!({ "default_tier": "free", "tiers": { "free": { "max_spatial": 1 } } }))
    };
    let found = replayed(folder.path(), new, Selection::default());
    assert!(!found.known);
    assert_eq!((found.whole.questions, found.whole.same, found.whole.changed), (2, 2, 2), "{:#?}", found.differences);
    let [group] = &found.differences[..] else { panic!("{:#?}", found.differences) };
    assert_eq!(group.changes[0].to_string(), "maxSpatial 2 → 1");
    assert_eq!(group.example.then, None);
}

#[tokio::test]
async fn what_a_plugin_remembers_is_what_it_wrote_since_the_node_began() {
    let folder = tempfile::tempdir().unwrap();
    let host = || somebody("h", Some("host"), Grant::default());
    let guest = || somebody("g", Some("guest"), Grant::default());
    let lobby = || plugin("waiting-room", json!({}));
    for comes_in in [true, false] {
        logged(folder.path(), vec![lobby()], &[], async |policy| {
            assert!(policy.admit(admission(guest(), room("board", 1), None)).await.unwrap_err().waiting);
            if comes_in {
                assert!(policy.command(act(host(), "lobby-admit", "g", NOW_MS)).await.decision.is_ok());
                assert!(policy.admit(admission(guest(), room("board", 1), None)).await.is_ok());
            }
        })
        .await;
    }
    let found = replayed(folder.path(), lobby(), Selection::default());
    assert_eq!((found.whole.questions, found.whole.same), (4, 4), "{:#?}", found.differences);
    // Acts are put, too, though only doors are looked at.
    let doors = Selection { hooks: vec![Hook::Admission], ..Selection::default() };
    let found = replayed(folder.path(), lobby(), doors);
    assert_eq!((found.whole.questions, found.whole.same), (3, 3), "{:#?}", found.differences);
    let shorter = plugin("waiting-room", json!({ "moderators": ["nobody"] }));
    let found = replayed(folder.path(), shorter, Selection::default());
    assert_eq!(
        (found.whole.same, found.whole.different),
        (2, 2),
        "who may let in, and who is in: {:#?}",
        found.differences
    );
}

#[tokio::test]
async fn what_an_act_does_is_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let host = somebody("h", Some("host"), Grant::default());
    logged(folder.path(), vec![plugin("faulty", json!({}))], &[], async |policy| {
        assert!(policy.command(act(host, "lobby-admit", "g", NOW_MS)).await.decision.is_ok());
    })
    .await;
    let other = PluginConfig { name: "faulty".into(), ..plugin("waiting-room", json!({})) };
    let found = replayed(folder.path(), other, Selection::default());
    let [group] = &found.differences[..] else { panic!("{:#?}", found.differences) };
    let fields: Vec<_> = group.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!((fields, group.outcome), (vec!["effects", "reply"], Outcome::Changed), "{group:#?}");
}

#[tokio::test]
async fn questions_of_which_the_log_leaves_something_out_are_counted_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ask = async |policy: &Policy| {
        let guest = || somebody("g", Some("guest"), Grant::default());
        let with = |metadata: Option<&str>, password| lockgate_model::policy::AdmissionQuestion {
            metadata: metadata.map(str::to_owned),
            why: Why::Request,
            ..admission(guest(), room("board", 1), password)
        };
        policy.admit(with(None, None)).await.unwrap();
        policy.admit(with(Some("x"), None)).await.unwrap();
        policy.admit(with(None, Some("hunter2"))).await.unwrap();
    };
    logged(folder.path(), vec![plugin("room-admission", json!({}))], &[Omit::Metadata], ask).await;
    let stricter = plugin("room-admission", json!({ "door": { "subjects": ["alice"] } }));
    let found = replayed(folder.path(), stricter, Selection::default());
    assert_eq!((found.whole.questions, found.whole.different), (1, 1));
    assert_eq!((found.incomplete.questions, found.incomplete.different), (2, 2));
    assert_eq!(found.missing.iter().collect::<Vec<_>>(), [(&"metadata", &1), (&"password", &1)]);
    assert_eq!(
        found.differences.iter().map(|group| (group.incomplete, group.count)).collect::<Vec<_>>(),
        [(false, 1), (true, 2)]
    );
}

#[tokio::test]
async fn only_what_is_selected_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    logged(folder.path(), vec![rules(json!({}))], &[], async |policy| {
        for place in ["board", "lab"] {
            let asked = subscription(
                somebody("v", None, Grant::default()),
                vec![camera(somebody("p", None, Grant::default()))],
            );
            policy.subscribe(lockgate_model::policy::SubscribeQuestion { room: room(place, 2), ..asked }).await;
        }
    })
    .await;
    let compared = |selection: Selection| replayed(folder.path(), rules(json!({})), selection).whole.questions;
    assert_eq!(compared(Selection { room: Some("lab".into()), ..Selection::default() }), 1);
    assert_eq!(compared(Selection { hooks: vec![Hook::Admission], ..Selection::default() }), 0);
    assert_eq!(compared(Selection { until_ms: Some(1), ..Selection::default() }), 0);
    assert_eq!(compared(Selection { since_ms: Some(u64::MAX), ..Selection::default() }), 0);
    assert_eq!(compared(Selection { since_ms: Some(1), ..Selection::default() }), 2);
}

#[test]
fn a_plugin_that_no_node_would_load_is_told_why() {
    let problems = Replay::open(plugin("subscription-policy", json!({ "no": 1 })), Selection::default()).err().unwrap();
    assert!(told(&problems).contains("settings: "), "{}", told(&problems));
}
