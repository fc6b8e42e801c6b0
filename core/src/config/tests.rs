use std::path::{Path, PathBuf};

use lockgate_model::policy::Hook;
use lockgate_policy::OnFailure;
use lockgate_policy::journal::Omit;

use super::{Announce, Config};

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read("config.toml", text, PathBuf::from("."), environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn all_problems_are_told_at_once_with_place_and_remedy() {
    let problems = read("[http]\nport = 70000\nhots = \"x\"\n\n[rooms]\nresume = \"15\"\n[dev]\nenabled = true\n", &[])
        .unwrap_err();
    assert_eq!(
        problems,
        [
            "config.toml:2:8: http.port = 70000: is out of range; write a whole number",
            "config.toml:3:8: http.hots = \"x\": unknown key; did you mean \"host\"?",
            "config.toml:6:10: rooms.resume = \"15\": is not a duration; write a whole number and a unit, as in \"10ms\", \"30s\", \"5m\" or \"2h\"",
        ]
        .map(|text| text.replace("http.hots = \"x\"", "http.hots"))
    );
}

#[test]
fn levels_are_told_not_at_all_or_not_too_often() {
    let levels = |interval: &str| {
        read(&format!("[rooms]\naudio_levels = \"{interval}\"\n[dev]\nenabled = true\n"), &[])
            .map(|config| config.rooms.audio_levels.as_millis())
    };
    assert_eq!((levels("0s").unwrap(), levels("500ms").unwrap()), (0, 500));
    for interval in ["100ms", "11s"] {
        let problem = format!(
            "config.toml:2:16: rooms.audio_levels = \"{interval}\": is out of range; choose 0s, or 200ms to 10s"
        );
        assert_eq!(levels(interval).unwrap_err(), [problem]);
    }
}

#[test]
fn what_counts_after_a_restart_only_is_told_from_what_counts_at_once() {
    let read = |text: &str| read(&format!("[dev]\nenabled = true\n{text}"), &[]).unwrap().fixed;
    let plugin = "[[plugin]]\nname = \"a\"\nfile = \"a.wasm\"\n";
    for same in [plugin, "[policy]\ndefault = \"deny\"\nwatch = false\n[policy.canary]\nshare = 0.5\n"] {
        assert_eq!(read(same).differs(&read("")), [""; 0]);
    }
    let other = "[http]\nport = 1\n[policy]\nthreads = 3\n[policy.log]\nkeep = 3\n";
    assert_eq!(read(other).differs(&read("")), ["[http]", "[policy] threads", "[policy.log]"]);
}

#[test]
fn a_canary_has_a_share_and_a_time() {
    let canary = |text: &str| {
        read(&format!("[policy.canary]\n{text}\n[dev]\nenabled = true\n"), &[]).map(|config| config.policy.canary)
    };
    let some = canary("share = 0.25\nhold = \"5m\"\nmax_latency_ratio = 3").unwrap();
    assert_eq!((some.share, some.hold.as_secs(), some.max_latency_ratio), (0.25, 300, 3.0));
    assert_eq!(canary("").unwrap(), lockgate_policy::CanaryConfig::default());
    assert_eq!(
        canary("share = 2").unwrap_err(),
        ["config.toml:2:9: policy.canary.share = 2: is out of range; choose 0 to 1"]
    );
    assert!(canary("share = 0.1\nhold = \"0s\"").unwrap_err()[0].contains("for no time; set hold"));
}

#[test]
fn broken_toml_is_told_with_its_place() {
    let problems = read("[http\nport = 1\n[dev]\nenabled = true", &[]).unwrap_err();
    assert!(problems[0].starts_with("config.toml:1:6: "), "{problems:?}");
}

#[test]
fn pages_that_may_call_are_named_by_their_origins() {
    let origins = |list: &str| {
        let text = format!("[http]\ncors_origins = {list}\n[dev]\nenabled = true\n");
        read(&text, &[]).map(|config| config.http.cors_origins)
    };
    assert_eq!(origins("[]").unwrap(), [""; 0]);
    assert_eq!(origins(r#"["https://tv.example:8443", "*"]"#).unwrap(), ["https://tv.example:8443", "*"]);
    for bad in [r#"["tv.example"]"#, r#"["https://tv.example/app"]"#, r#"["https://*.example"]"#, r#"["null"]"#, "[7]"]
    {
        assert!(origins(bad).unwrap_err()[0].contains("scheme and host"), "{bad}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let dev = "[dev]\nenabled = true\n[http]\nport = 9001\n";
    assert_eq!(read(dev, &[]).unwrap().http.port, 9001);
    assert_eq!(read(dev, &[("PORT", "3002")]).unwrap().http.port, 3002);
    let config = read(dev, &[("LOCKGATE_HTTP_HOST", "::1"), ("LOCKGATE_MEDIA_ANNOUNCE", "[\"192.0.2.1:7\"]")]).unwrap();
    assert_eq!(config.http.host.to_string(), "::1");
    assert_eq!(config.media.announce, [Announce { ip: "192.0.2.1".parse().unwrap(), port: Some(7) }]);
    let problems = read(dev, &[("LOCKGATE_HTTP_PORT", "no")]).unwrap_err();
    assert_eq!(
        problems,
        ["environment variable LOCKGATE_HTTP_PORT: http.port = \"no\": is not a whole number; write a whole number"]
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let problems = read("[auth]\nsecret = \"hunter2\"\n[dev]\nenabled = true\n", &[]).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("auth.secret = …") && !problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn turn_servers_and_their_secret_belong_together() {
    let read = |media: &str| read(&format!("[media]\n{media}\n[dev]\nenabled = true\n"), &[]);
    let problems = read("ice_servers = [\"turn:a\"]").unwrap_err();
    assert!(problems[0].contains("TURN servers want credentials; set turn_secret"), "{problems:?}");
    let problems = read("ice_servers = [\"http:a\"]").unwrap_err();
    assert!(problems[0].contains("is neither a STUN nor a TURN server; write addresses as in"), "{problems:?}");
    let ice = read("ice_servers = [\"stun:a\", \"stun:b:1\"]").unwrap().media.ice;
    assert_eq!(
        (ice.stun, ice.turn.len(), ice.lifetime.as_secs()),
        (vec!["stun:a".into(), "stun:b:1".into()], 0, 43_200)
    );
}

#[test]
fn outside_development_a_secret_is_needed() {
    let problems = read("", &[]).unwrap_err();
    assert!(problems.iter().any(|problem| problem.contains("auth.secret: is missing")), "{problems:?}");
}

#[test]
fn a_media_thread_and_the_web_server_cannot_listen_at_the_same_place() {
    let media = |more: &str| {
        let text = format!("[http]\nport = 9002\n[media]\nworkers = 3\nport = 9000\n{more}\n[dev]\nenabled = true\n");
        read(&text, &[]).err().unwrap_or_default()
    };
    let problems = media("");
    assert!(problems.len() == 1 && problems[0].contains("http.port = 9002"), "{problems:?}");
    assert!(problems[0].contains("media.tcp = false"), "{problems:?}");
    for apart in ["tcp = false", "bind = [\"::\"]", "bind = [\"192.0.2.1\"]"] {
        assert_eq!(media(apart), [""; 0], "{apart}");
    }
    assert_eq!(media("bind = [\"192.0.2.1\", \"127.0.0.1\"]").len(), 1);
}

#[test]
fn guest_tokens_need_loopback() {
    let problems = read("[http]\nhost = \"0.0.0.0\"\n[dev]\nenabled = true\nguest_tokens = true\n", &[]).unwrap_err();
    assert!(problems[0].contains("dev.guest_tokens"), "{problems:?}");
}

#[test]
fn cluster_mode_is_refused_rather_than_ignored() {
    let problems = read("[dev]\nenabled = true\n", &[("CLUSTER_MODE", "true")]).unwrap_err();
    assert!(problems[0].contains("CLUSTER_MODE"), "{problems:?}");
}

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml")).unwrap()
}

#[test]
fn the_shipped_configuration_has_no_problem() {
    let config = read(&shipped(), &[]).unwrap();
    assert!(config.dev.enabled && config.dev.guest_tokens);
    let names: Vec<_> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(names, ["jwt-auth", "room-admission", "subscription-policy"]);
    assert_eq!(config.plugins[1].file, Path::new("./plugins/dist/room-admission.wasm"));
}

#[test]
fn the_shipped_values_are_the_defaults() {
    let shipped = read(&shipped(), &[]).unwrap();
    let default = read("[[plugin]]\nname = \"x\"\nfile = \"x\"\n[dev]\nenabled = true\n", &[]).unwrap();
    let shown = |config: &Config| {
        let Config { http, media, auth, rooms, policy, plugins, recording, recorder, upload, metrics, .. } = config;
        let plugin = (&plugins[0].limits, plugins[0].isolation, &plugins[0].on_failure, plugins[0].breaker);
        format!(
            "{http:#?}{media:#?}{auth:#?}{rooms:#?}{policy:#?}{plugin:#?}{recording:#?}{recorder:#?}{upload:#?}{metrics:#?}"
        )
    };
    assert_eq!(shown(&shipped), shown(&default));
}

/// Asks every section for a key that it cannot have: the complaint names those that it has.
#[test]
fn every_key_stands_in_the_shipped_configuration() {
    let shipped = shipped();
    for section in ["http", "media", "auth", "rooms", "policy", "recording", "recorder", "upload", "metrics", "dev"] {
        assert!(shipped.contains(&format!("\n[{section}]")), "{section}");
    }
    let unknown = "qqqqqqqqqqqqqqqqqq = 1";
    let mut text = format!("[[plugin]]\n{unknown}\n[plugin.limits]\n{unknown}\n[plugin.breaker]\n{unknown}\n");
    text.push_str(&format!("[policy.log]\n{unknown}\n[policy.canary]\n{unknown}\n"));
    super::SECTIONS.iter().for_each(|section| text.push_str(&format!("[{section}]\n{unknown}\n")));
    let problems = read(&text, &[]).unwrap_err();
    let lists: Vec<_> = problems.iter().filter_map(|problem| problem.split("the keys here are ").nth(1)).collect();
    assert_eq!(lists.len(), super::SECTIONS.len() + 5);
    for key in lists.iter().flat_map(|list| list.split(", ")) {
        let stands = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        let is_section = ["limits", "breaker", "settings", "log", "canary"].contains(&key);
        assert!(is_section || shipped.lines().any(stands), "{key}");
    }
}

#[test]
fn a_value_that_came_from_the_command_line_is_checked_against_the_others() {
    let mut config = read(&shipped(), &[]).unwrap();
    assert!(config.recheck().is_ok());
    config.http.host = "0.0.0.0".parse().unwrap();
    assert!(config.recheck().unwrap_err()[0].to_string().contains("dev.guest_tokens"));
}

#[test]
fn a_key_fits_its_algorithm() {
    let dev = "[dev]\nenabled = true\n[auth]\n";
    assert_eq!(read(&format!("{dev}jwks_file = \"k\"\n"), &[]).unwrap().auth.algorithms, ["RS256", "ES256", "EdDSA"]);
    let problems = read(&format!("{dev}jwks_file = \"k\"\nalgorithms = [\"HS256\"]\n"), &[]).unwrap_err();
    assert!(problems[0].contains("choose of RS256, ES256, EdDSA"), "{problems:?}");
    let problems = read(&format!("{dev}jwks_file = \"k\"\npublic_key_file = \"p\"\n"), &[]).unwrap_err();
    assert!(problems[0].contains("give one of"), "{problems:?}");
}

#[test]
fn a_plugins_limits_have_units_and_ranges() {
    let plugin = "[dev]\nenabled = true\n[[plugin]]\nname = \"a\"\nfile = \"a\"\n";
    let limits = |text: &str| read(&format!("{plugin}[plugin.limits]\n{text}\n"), &[]);
    let config = limits("memory = \"64 MiB\"\nhook_deadlines = { auth = \"1s\" }").unwrap();
    let auth = config.plugins[0].limits.hook_deadlines[&Hook::Auth];
    assert_eq!((config.plugins[0].limits.memory, auth.as_secs()), (64 << 20, 1));
    for (wrong, words) in [
        ("memory = \"512 MiB\"", "choose 1 MiB to 256 MiB"),
        ("memory = 32", "is not a size"),
        ("hook_deadlines = { autj = \"1s\" }", "did you mean \"auth\"?"),
    ] {
        let problems = limits(wrong).unwrap_err();
        assert!(problems[0].contains(words), "{problems:?}");
    }
    let problems =
        read(&format!("{plugin}grants = [\"file\"]\nhooks = [\"all\"]\nisolation = \"none\"\n"), &[]).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn what_a_failure_means_can_be_said_for_each_hook() {
    let plugin = "[dev]\nenabled = true\n[[plugin]]\nname = \"a\"\nfile = \"a\"\n";
    let modes = |text: &str| read(&format!("{plugin}on_failure = {text}\n"), &[]);
    let on_failure = |text: &str| Hook::ALL.map(|hook| modes(text).unwrap().plugins[0].on_failure.of(hook));
    let (closed, open, last_known) = (OnFailure::Closed, OnFailure::Open, OnFailure::LastKnown);
    assert_eq!(on_failure("\"open\""), [open; 6]);
    let some = "{ subscription = \"last-known\", admission = \"open\" }";
    assert_eq!(on_failure(some), [closed, open, closed, last_known, closed, closed]);
    for (wrong, words) in [
        ("\"last-known\"", "is for subscriptions only"),
        ("{ recording = \"last-known\" }", "is for subscriptions only"),
        ("{ subscriptions = \"open\" }", "did you mean \"subscription\"?"),
        ("\"half\"", "is no failure mode"),
    ] {
        let problems = modes(wrong).unwrap_err();
        assert!(problems[0].contains(words), "{problems:?}");
    }
}

#[test]
fn a_breakers_pauses_do_not_shrink() {
    let plugin = "[dev]\nenabled = true\n[[plugin]]\nname = \"a\"\nfile = \"a\"\n[plugin.breaker]\n";
    assert_eq!(read(&format!("{plugin}failures = 0\n"), &[]).unwrap().plugins[0].breaker.failures, 0);
    let problems = read(&format!("{plugin}pause = \"5m\"\n"), &[]).unwrap_err();
    assert!(problems[0].contains("max_pause is shorter than pause"), "{problems:?}");
}

#[test]
fn decisions_are_logged_where_the_section_is_there() {
    let read = |text: &str| read(&format!("[dev]\nenabled = true\n{text}"), &[]);
    assert!(read("[policy]\nthreads = 2\n").unwrap().policy.log.is_none());
    let log = read("[policy.log]\n").unwrap().policy.log.unwrap();
    assert_eq!((log.directory, log.max_size, log.keep), (PathBuf::from("./decisions"), 64 << 20, 30));
    assert_eq!(log.omit, [Omit::Metadata, Omit::Payload]);
    let log = read("[policy.log]\nomit = [\"claims\", \"peer\"]\nmax_age = \"1h\"\n").unwrap().policy.log.unwrap();
    assert_eq!((log.omit, log.max_age.as_secs()), (vec![Omit::Claims, Omit::Peer], 3600));
    let omit = "\"tokens\": is nothing that can be left out; choose of \"claims\", \"username\", \"peer\", \"metadata\", \"payload\"";
    assert_eq!(
        read("[policy.log]\ndir = \"x\"\nkeep = 0\nomit = [\"tokens\"]\n").unwrap_err(),
        [
            "config.toml:5:8: policy.log.keep = 0: is out of range; choose 1 to 100000".to_owned(),
            format!("config.toml:6:8: policy.log.omit = [ … ]: {omit}"),
            "config.toml:4:7: policy.log.dir: unknown key; the keys here are directory, max_size, max_age, keep, omit"
                .to_owned(),
        ]
    );
}
