//! Who may depend on whom: the shape of the house, checked.
//!
//! The shell knows all parts; parts know the shared words and, on the packet path, the layer below. A foreign crate that
//! shapes a part belongs to that part alone.

use super::metadata::{Metadata, Package};

/// One sentence for each dependency that breaks a rule.
pub(super) fn broken(metadata: &Metadata) -> Vec<String> {
    let names: Vec<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    metadata.members().flat_map(|package| broken_by(package, &names)).collect()
}

fn broken_by(package: &Package, members: &[&str]) -> Vec<String> {
    let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!(
            "{} is not in the list of crates (xtask/src/test/arrows.rs): which may it use?",
            package.name
        )];
    };
    let mut broken = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if members.contains(&name) && !may_use.contains(&name) && !may_use.contains(&ANY) {
            broken.push(format!("{} may not depend on {name}", package.name));
        }
        if let Some((_, owners)) = owners(name).filter(|(_, owners)| !owners.contains(&package.name.as_str())) {
            broken.push(format!("{} may not depend on {name}: that is for {}", package.name, owners.join(", ")));
        }
        if SANS_IO.contains(&package.name.as_str()) && dependency.is_normal() && EFFECTS.contains(&name) {
            broken.push(format!("{} may not depend on {name}: it has no I/O, clock or randomness", package.name));
        }
    }
    broken
}

fn owners(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    OWNED.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *pattern == name,
    })
}

/// Which of our crates each of them may use, in its tests too.
const MAY_USE: &[(&str, &[&str])] = &[
    ("lockgate", &["lockgate-signal", "lockgate-policy", "lockgate-room", "lockgate-worker", "lockgate-model"]),
    ("lockgate-signal", &["lockgate-model"]),
    ("lockgate-policy", &["lockgate-model"]),
    ("lockgate-room", &["lockgate-model"]),
    ("lockgate-worker", &["lockgate-media", "lockgate-transport", "lockgate-rtp", "lockgate-model"]),
    ("lockgate-media", &["lockgate-transport", "lockgate-rtp", "lockgate-model"]),
    ("lockgate-transport", &["lockgate-rtp", "lockgate-model"]),
    ("lockgate-rtp", &["lockgate-model"]),
    ("lockgate-model", &[]),
    ("lockgate-recorder", &["lockgate-rtp", "lockgate-model"]),
    ("lockgate-load", &["lockgate-transport", "lockgate-rtp", "lockgate-model"]),
    ("lockgate-tests", &[ANY]),
    ("lockgate-bench", &["lockgate-policy", "lockgate-worker", "lockgate-transport", "lockgate-rtp", "lockgate-model"]),
    ("xtask", &["lockgate-model"]),
];

const ANY: &str = "*";

/// Foreign crates that only some of ours may use, so that each can be replaced in one place.
const OWNED: &[(&str, &[&str])] = &[
    ("wasmtime*", &["lockgate-policy", "lockgate-tests"]),
    (
        "rtc-*",
        &[
            "lockgate-rtp",
            "lockgate-transport",
            "lockgate-recorder",
            "lockgate-bench",
            "lockgate-load",
            "lockgate-tests",
        ],
    ),
    ("dimpl", &["lockgate-transport", "lockgate-tests"]),
    ("webrtc", &["lockgate-tests"]),
    ("webm-iterable", &["lockgate-recorder", "lockgate-tests"]),
    ("object_store", &["lockgate-recorder"]),
    ("axum*", &["lockgate-signal", "lockgate-tests"]),
];

/// Engines: time, entropy and bytes come in as arguments.
const SANS_IO: &[&str] = &["lockgate-model", "lockgate-rtp", "lockgate-transport", "lockgate-media", "lockgate-room"];

/// Crates that bring effects; an engine's tests may use them.
const EFFECTS: &[&str] =
    &["tokio", "mio", "socket2", "libc", "rustix", "nix", "getrandom", "fastrand", "rand", "reqwest"];

#[cfg(test)]
mod tests {
    use super::*;

    fn house(package: &str, dependency: &str, kind: &str) -> Vec<String> {
        let member = |name: &str, dependencies: String| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"0.1.0","license":null,"manifest_path":"/p","dependencies":[{dependencies}]}}"#
            )
        };
        let dependency = format!(r#"{{"name":"{dependency}","kind":{kind}}}"#);
        let mut packages = vec![member(package, dependency)];
        packages.extend(
            ["lockgate-room", "lockgate-signal", "lockgate-model"]
                .iter()
                .filter(|n| **n != package)
                .map(|n| member(n, String::new())),
        );
        let ids: Vec<_> =
            [package, "lockgate-room", "lockgate-signal", "lockgate-model"].map(|n| format!("\"{n}\"")).into();
        let text = format!(r#"{{"packages":[{}],"workspace_members":[{}]}}"#, packages.join(","), ids.join(","));
        broken(&Metadata::parse(&text).unwrap())
    }

    #[test]
    fn this_project_keeps_its_own_rules() {
        assert_eq!(broken(&Metadata::read().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn every_crate_of_the_list_exists() {
        let metadata = Metadata::read().unwrap();
        let members: Vec<_> = metadata.members().map(|package| package.name.as_str()).collect();
        for (name, _) in MAY_USE {
            assert!(members.contains(name), "{name} is gone: take it out of the list");
        }
    }

    #[test]
    fn every_engine_bans_effects_alike() {
        let bans = |name: &str| {
            let folder = crate::cargo::root().join("core").join(name);
            std::fs::read_to_string(folder.join("clippy.toml")).unwrap()
        };
        for name in ["transport", "media", "room"] {
            assert_eq!(bans(name), bans("rtp"), "core/{name}/clippy.toml and core/rtp/clippy.toml");
        }
        assert!(bans("rtp").contains("std::time::Instant::now"));
    }

    #[test]
    fn adapters_may_not_know_each_other() {
        assert_eq!(
            house("lockgate-signal", "lockgate-room", "null"),
            ["lockgate-signal may not depend on lockgate-room"]
        );
        assert_eq!(house("lockgate-signal", "lockgate-model", "null"), Vec::<String>::new());
    }

    #[test]
    fn tests_of_a_crate_keep_to_the_rules_too() {
        assert_eq!(house("lockgate-room", "lockgate-signal", "\"dev\"").len(), 1);
    }

    #[test]
    fn an_owned_crate_is_refused_elsewhere() {
        assert_eq!(house("lockgate-room", "wasmtime", "null").len(), 1);
        assert_eq!(house("lockgate-signal", "rtc-sdp", "null").len(), 1);
        assert_eq!(house("lockgate-policy", "wasmtime", "null"), Vec::<String>::new());
    }

    #[test]
    fn an_engine_has_effects_only_in_its_tests() {
        assert_eq!(house("lockgate-room", "tokio", "null").len(), 1);
        assert_eq!(house("lockgate-room", "fastrand", "\"dev\""), Vec::<String>::new());
    }

    #[test]
    fn a_new_crate_must_be_given_a_place() {
        assert!(house("lockgate-surprise", "serde", "null")[0].contains("not in the list"));
    }
}
