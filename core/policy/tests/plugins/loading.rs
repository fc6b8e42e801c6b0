//! What keeps a host from starting, and that all of it is told.

use std::fs;

use lockgate_model::policy::Hook;
use lockgate_policy::{Capability, KeyMaterial, KeyRing, OnFailure, PluginConfig, Policy, PolicyConfig};
use serde_json::json;

use crate::support::{component, config, plugin, told};

fn problems(config: PolicyConfig) -> String {
    told(&Policy::load(config).map(drop).unwrap_err())
}

#[test]
fn all_problems_are_told_at_once_with_a_remedy() {
    let ungranted = PluginConfig { grants: [Capability::Config].into(), ..plugin("jwt-auth", json!({})) };
    let misspelt = plugin("room-admission", json!({ "dor": {} }));
    let pinned = PluginConfig { sha256: Some("00".repeat(32)), ..plugin("subscription-policy", json!({})) };
    let missing = PluginConfig::new("missing", "no/such.wasm");
    let unasked = PluginConfig { hooks: Some([Hook::Auth].into()), ..plugin("room-admission", json!({})) };
    let mut stale = plugin("faulty", json!({}));
    stale.on_failure.hooks.insert(Hook::Recording, OnFailure::LastKnown);
    let mut config = config(vec![stale, ungranted, misspelt, pinned, missing, unasked]);
    config.key_rings.insert("empty".into(), KeyRing::hs256(Vec::new()));
    let problems = problems(config);
    for part in [
        "plugin \"faulty\": its failures at the hook recording cannot mean \"last-known\"; choose",
        "plugin \"jwt-auth\": it imports jwt, which is not granted; add \"jwt\" to its grants",
        "plugin \"room-admission\": settings: unknown field `dor`",
        "plugin \"subscription-policy\": the file's SHA-256 is ",
        "plugin \"missing\": cannot read no/such.wasm",
        "plugin \"room-admission\": another plugin has the same name",
        "plugin \"room-admission\": it does not export the hook auth; remove \"auth\" from its hooks",
        "key ring \"empty\": the secret is empty",
    ] {
        assert!(problems.contains(part), "{part} is not in\n{problems}");
    }
    assert_eq!(problems.lines().count(), 8, "{problems}");
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    // An empty core module, and bytes of no kind.
    for bytes in [&b"\0asm\x01\0\0\0"[..], b"hello"] {
        fs::write(&file, bytes).unwrap();
        let problems = problems(config(vec![PluginConfig::new("x", &file)]));
        assert!(problems.contains("not a usable WebAssembly component"), "{problems}");
    }
}

#[test]
fn a_plugin_that_needs_more_memory_than_it_may_have_to_begin_with_is_refused() {
    let mut plugin = plugin("faulty", json!({}));
    plugin.limits.memory = 1 << 20;
    let problems = problems(config(vec![plugin]));
    assert!(
        problems.contains("it failed while it was loaded: memory; ask its author, or raise its limits"),
        "{problems}"
    );
}

#[test]
fn where_keys_are_trusted_every_plugin_needs_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    // RFC 8410 §10.1.
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    fs::write(&key, pem).unwrap();
    let plugins = || vec![plugin("faulty", json!({})), plugin("jwt-auth", json!({}))];
    let with = |trusted_keys| problems(PolicyConfig { trusted_keys, ..config(plugins()) });
    let unsigned = with(vec![key.clone()]);
    for part in
        ["plugin \"faulty\": it is not signed: there is no ", "plugin \"jwt-auth\": it is not signed", "openssl"]
    {
        assert!(unsigned.contains(part), "{part} is not in\n{unsigned}");
    }
    let missing = with(vec![key, folder.path().join("none.pem")]);
    assert!(missing.starts_with("policy: the trusted key ") && missing.contains("none.pem: No such file"), "{missing}");
    // Nothing of a plugin runs that nobody can vouch for: it would tell that its settings are wrong.
    let trusted_keys = vec![folder.path().join("none.pem")];
    let unread = PolicyConfig { trusted_keys, ..config(vec![plugin("room-admission", json!({ "dor": {} }))]) };
    let problems = problems(unread);
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn a_component_without_hooks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    fs::write(&file, b"\0asm\x0d\0\x01\0").unwrap();
    assert!(problems(config(vec![PluginConfig::new("x", &file)])).contains("it exports no hook"));
}

#[test]
fn another_version_of_the_contract_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let mut bytes = fs::read(component("subscription-policy")).unwrap();
    let (old, new) = (b"@0.1.0", b"@0.9.0");
    while let Some(place) = bytes.windows(old.len()).position(|window| window == old) {
        bytes[place..place + new.len()].copy_from_slice(new);
    }
    fs::write(&file, bytes).unwrap();
    let problems = problems(config(vec![PluginConfig::new("x", &file)]));
    assert!(problems.contains("it is made for lockgate:policy/subscription@0.9.0"), "{problems}");
}

#[test]
fn jwt_auth_wants_a_key_ring_that_exists() {
    let problems = problems(config(vec![plugin("jwt-auth", json!({ "key_ring": "other" }))]));
    assert!(problems.contains("there is no key ring \"other\""), "{problems}");
}

#[test]
fn a_key_ring_needs_a_key_that_fits_its_algorithms() {
    let ring = |algorithm: &str, keys| KeyRing { algorithms: vec![algorithm.into()], keys, ..KeyRing::hs256("s") };
    for (ring, part) in [
        (ring("none", KeyMaterial::Secret(b"s".to_vec())), "there is no algorithm \"none\" here"),
        (ring("RS256", KeyMaterial::Secret(b"s".to_vec())), "RS256 needs a public key, not a secret"),
        (ring("RS256", KeyMaterial::Pem(b"s".to_vec())), "the PEM holds no public key for [RS256]"),
        (ring("ES256", KeyMaterial::Jwks(b"{\"keys\":[]}".to_vec())), "the set holds no key for [ES256]"),
        (ring("ES256", KeyMaterial::Jwks(b"s".to_vec())), "it is no JSON Web Key Set"),
    ] {
        let mut config = config(Vec::new());
        config.key_rings.insert("bad".into(), ring);
        let problems = problems(config);
        assert!(problems.contains(part), "{part} is not in {problems}");
    }
}
