//! The kit for authors and operators, with real components.

use std::fs;
use std::path::PathBuf;

use lockgate_model::policy::Hook;
use lockgate_policy::kit::{self, About, Fixture, Inspection, Settings, Trial};

use crate::support::component;

/// A component in which some bytes are others.
fn changed(name: &str, old: &[u8], new: &[u8]) -> Inspection {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(component(name)).unwrap();
    while let Some(place) = bytes.windows(old.len()).position(|window| window == old) {
        bytes[place..place + new.len()].copy_from_slice(new);
    }
    kit::inspect(&written(&tempfile::tempdir().unwrap(), &bytes)).unwrap()
}

fn written(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let file = folder.path().join("x.wasm");
    fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn a_component_is_what_it_exports_and_imports() {
    let found = kit::inspect(&component("subscription-policy")).unwrap();
    assert_eq!(
        (found.world.as_deref(), found.hooks.as_slice()),
        (Some("subscription-plugin"), &[Hook::Subscription][..])
    );
    assert_eq!(found.imports, ["config"]);
    assert_eq!(found.contracts.into_iter().collect::<Vec<_>>(), [lockgate_policy::CONTRACT]);
    assert_eq!((found.settings, found.problems), (Settings::Optional, Vec::new()));
    let About::Said(about) = found.about else { panic!("{:?}", found.about) };
    assert_eq!(about[0], ("name".to_owned(), "subscription-policy".to_owned()));
    assert_eq!(found.bytes as u64, fs::metadata(component("subscription-policy")).unwrap().len());

    assert_eq!(kit::inspect(&component("faulty")).unwrap().world.as_deref(), Some("policy"));
    let own = kit::inspect(&component("room-admission")).unwrap();
    assert_eq!((own.world, own.hooks.len(), own.sha256.len()), (None, 3, 64));
}

#[test]
fn a_component_that_no_node_loads_is_told_all_reasons_and_is_not_run() {
    let other = changed("subscription-policy", b"@0.1.0", b"@0.9.0");
    assert!(other.contracts.contains("lockgate:policy@0.9.0"), "{:?}", other.contracts);
    assert!(other.problems.iter().any(|one| one.problem.contains("made for lockgate:policy/subscription@0.9.0")));
    assert_eq!((other.about, other.settings), (About::Unasked, Settings::Unasked));

    let foreign = changed("subscription-policy", b"lockgate:policy/config@0.1.0", b"somebody:policy/gadget@0.1.0");
    assert!(
        foreign.problems.iter().any(|one| one.problem.contains("it imports somebody:policy/gadget@0.1.0")),
        "{:?}",
        foreign.problems
    );
    assert_eq!(foreign.about, About::Unasked);
}

#[test]
fn what_is_no_component_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |bytes: &[u8]| kit::inspect(&written(&folder, bytes)).unwrap_err().to_string();
    assert_eq!(problem(b"\0asm\x01\0\0\0"), "not a usable WebAssembly component: it is a core module");
    assert!(problem(b"not at all").starts_with("not a usable WebAssembly component: "));
    assert_eq!(
        kit::inspect(&written(&folder, b"\0asm\x0d\0\x01\0")).unwrap().problems[0].problem,
        "it exports no hook"
    );
}

fn fixture(text: &str) -> Fixture {
    Fixture::read(text).unwrap()
}

fn told(name: &str, text: &str) -> Vec<String> {
    let (_, found) = Trial::open(&component(name)).unwrap().check(&fixture(text));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn every_fixture_of_a_shipped_plugin_holds() {
    let plugins = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let folders = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.join("fixtures").is_dir()).collect();
    assert!(folders.len() >= 3, "{folders:?}");
    for folder in folders {
        let trial = Trial::open(&component(folder.file_name().unwrap().to_str().unwrap())).unwrap();
        let files = kit::fixtures(&folder.join("fixtures")).unwrap();
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            let tested = kit::test(&trial, &file);
            assert!(tested.passed(), "{}:\n{}", file.display(), tested.complaint());
        }
    }
}

/// Every case of the worked example, put to it in some language.
fn passes_the_cases_of_the_kit(name: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/kit-rust/fixtures");
    let trial = Trial::open(&component(name)).unwrap();
    let files = kit::fixtures(&folder).unwrap();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let tested = kit::test(&trial, &file);
        assert!(tested.passed(), "{name}: {}:\n{}", file.display(), tested.complaint());
    }
}

#[test]
fn the_worked_example_is_the_same_in_rust_and_c() {
    passes_the_cases_of_the_kit("kit-rust");
    passes_the_cases_of_the_kit("kit-c");
}

#[test]
#[ignore = "fetches tools from npm and PyPI: cargo xtask test --only languages"]
fn the_worked_example_is_the_same_in_javascript_and_python() {
    passes_the_cases_of_the_kit("kit-javascript");
    passes_the_cases_of_the_kit("kit-python");
}

#[test]
fn an_answer_that_is_not_as_expected_is_told_field_by_field() {
    let text = "hook = \"subscription\"\n[settings.default]\nmax_spatial = 1\npriority = 9\n[expect]\nverdicts = [{ allow = { max-spatial = 0 } }]\n";
    assert_eq!(
        told("subscription-policy", text),
        [
            "verdicts[0].allow.max-spatial\n    expected 0\n    came     1",
            "verdicts[0].allow.priority\n    expected nothing\n    came     9"
        ]
    );
    let refused = "hook = \"subscription\"\nsettings = { no = 1 }\n[expect]\nverdicts = [\"allow\"]\n";
    assert!(told("subscription-policy", refused)[0].contains("refused-settings"), "a node would never ask it");
    let another = "hook = \"auth\"\n[expect]\noutcome = \"deny\"\n";
    let [not_asked] = told("subscription-policy", another).try_into().unwrap();
    assert!(not_asked.contains("not exported"), "{not_asked}");
}

#[test]
fn what_a_plugin_asks_of_its_host_is_seen() {
    // It counts its questions in `kv`, says so, and counts on the metrics page, too.
    let text = "hook = \"subscription\"\nnow = 2026-01-01T00:00:00Z\n[settings]\nfault = \"count\"\nevery = 2\n[kv]\nquestions = { hex = \"01000000\" }\n\
        [expect]\nfailure = \"bad-answer\"\nkv = { questions = { hex = \"02000000\" } }\nnever = [\"kv.delete\"]\n\
        calls = [{ call = \"metrics.add\", name = \"questions\" }, { call = \"kv.put\", key = \"questions\", value = { hex = \"02000000\" } },\n\
        { call = \"log.write\", level = \"info\", fields = { at = \"1767225600000\" } }]\n";
    assert_eq!(told("faulty", text), Vec::<String>::new());
    let before = text.replace("01000000", "00000000");
    let found = told("faulty", &before);
    assert!(found[0].starts_with("answer\n") && found[0].contains("came     {\"verdicts\""), "{found:?}");
    assert!(found.iter().any(|one| one.starts_with("calls[2]\n")), "{found:?}");
    assert!(found.iter().any(|one| one.starts_with("kv.questions\n") && one.contains("01000000")), "{found:?}");
}

#[test]
fn a_plugin_that_fails_fails_alike_on_every_machine() {
    let trial = Trial::open(&component("faulty")).unwrap();
    for (fault, cause) in
        [("trap", "trap"), ("loop", "timeout"), ("memory", "memory"), ("count", "bad-answer"), ("long", "bad-answer")]
    {
        let text =
            format!("hook = \"subscription\"\nsettings = {{ fault = \"{fault}\" }}\n[expect]\nfailure = \"{cause}\"\n");
        assert_eq!(trial.check(&fixture(&text)).1, [], "{fault}");
    }
}

#[test]
fn the_same_question_always_costs_the_same() {
    let text = "hook = \"subscription\"\n[expect]\nverdicts = [\"allow\"]\n";
    let trial = Trial::open(&component("subscription-policy")).unwrap();
    let (once, again) = (trial.put(&fixture(text).case), trial.put(&fixture(text).case));
    assert_eq!((once.cost, once.memory), (again.cost, again.memory));
    assert!((1_000..1_000_000).contains(&once.cost), "{}", once.cost);
    let dearer = text.replace("[expect]", "[settings.roles.viewer]\nsees = [\"host\", \"speaker\"]\n[expect]");
    assert!(trial.put(&fixture(&dearer).case).cost > once.cost, "more settings are more to read");
}

#[test]
fn the_pace_of_a_plugin_is_that_of_fresh_instances_and_of_one() {
    let case = fixture("hook = \"subscription\"\n[expect]\nverdicts = [\"allow\"]\n").case;
    let pace = kit::pace(&component("subscription-policy"), &case, 50).unwrap();
    let warm = pace.warm.unwrap();
    assert!(pace.rounds == 50 && pace.fresh.p50_us > 0.0 && pace.fresh.p50_us <= pace.fresh.p99_us);
    assert!(warm.p50_us > 0.0 && pace.cost > 0);
    let failing = fixture("hook = \"admission\"\nsettings = { fault = \"trap\" }\n[expect]\nfailure = \"trap\"\n").case;
    assert!(kit::pace(&component("faulty"), &failing, 50).unwrap_err().to_string().contains("trap"));
}

#[test]
fn the_fixture_of_the_guide_is_one() {
    let guide = include_str!("../../../../docs/plugins.md");
    let (_, after) = guide.split_once("closed-at-night.toml`\n\n```toml\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    let case = fixture(text).case;
    assert_eq!((case.question.hook(), case.question.now_ms()), (Hook::Admission, 1_769_902_200_000));
}
