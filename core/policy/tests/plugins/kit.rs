//! The kit for authors and operators, with real components.

use std::fs;
use std::path::PathBuf;

use lockgate_model::policy::Hook;
use lockgate_policy::kit::{self, About, Inspection, Settings};

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
