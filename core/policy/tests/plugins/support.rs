//! Questions, tokens and configurations for tests.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lockgate_model::policy::{
    AdmissionQuestion, AuthQuestion, Door, Grant, Identity, Participant, Publication, PublishQuestion, RecordQuestion,
    RoomFacts, SubscribeQuestion, TrackFacts, Why,
};
use lockgate_model::{Codec, Layer, MediaKind, RoomName, Secret, Source, TrackId, UserId};
use lockgate_policy::{Capability, KeyRing, Limits, LoadError, PluginConfig, Policy, PolicyConfig};
use serde_json::{Value, json};

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// A built component.
pub(crate) fn component(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist").join(name).with_extension("wasm");
    assert!(file.is_file(), "{} is missing: run `cargo xtask plugins` first", file.display());
    file
}

/// A plugin that may import everything and has these settings. Tests share the machine, so it has much time for an answer, but
/// for one that is to be ended.
pub(crate) fn plugin(name: &str, settings: Value) -> PluginConfig {
    let deadline = if settings["fault"] == "loop" { Duration::from_millis(200) } else { PATIENCE };
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    let limits = Limits { deadline, ..Limits::default() };
    PluginConfig { grants: Capability::ALL.into(), settings, limits, ..PluginConfig::new(name, component(name)) }
}

/// A chain with the key ring `default`, which denies what no plugin decides.
pub(crate) fn config(plugins: Vec<PluginConfig>) -> PolicyConfig {
    let key_rings = [("default".to_owned(), KeyRing::hs256(SECRET))].into();
    // Compiled once for all tests.
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugins.cache"));
    PolicyConfig { plugins, key_rings, chain_budget: PATIENCE, cache, ..PolicyConfig::default() }
}

pub(crate) fn load(plugins: Vec<PluginConfig>) -> Policy {
    Policy::load(config(plugins)).unwrap_or_else(|problems| panic!("{}", told(&problems)))
}

pub(crate) fn told(problems: &[LoadError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A token as the shell makes them, good for a minute, with further claims.
pub(crate) fn token(further: Value) -> String {
    let mut claims = json!({ "sub": 42, "username": "Ann", "exp": NOW_MS / 1000 + 60 });
    claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

pub(crate) fn auth(token: &str) -> AuthQuestion {
    let peer = "127.0.0.1".parse().unwrap();
    AuthQuestion { token: Secret::new(token), door: Door::Ws, peer, now_ms: NOW_MS }
}

/// Somebody whose token has this role, or none.
pub(crate) fn somebody(subject: &str, role: Option<&str>, grant: Grant) -> Participant {
    let claims = role.map(|role| lockgate_model::policy::Attribute { key: "role".into(), value: format!("{role:?}") });
    let identity = Identity {
        subject: subject.into(),
        user_id: UserId(1),
        username: subject.into(),
        claims: claims.into_iter().collect(),
        expires_at_ms: None,
        grant,
    };
    Participant { identity, publisher_id: None, door: Door::Ws, peer: "127.0.0.1".parse().unwrap() }
}

pub(crate) fn room(name: &str, participants: u32) -> RoomFacts {
    RoomFacts { name: RoomName::new(name).unwrap(), participants, publications: 0, recording: false }
}

pub(crate) fn admission(who: Participant, room: RoomFacts, password: Option<&str>) -> AdmissionQuestion {
    AdmissionQuestion {
        who,
        room,
        password: password.map(Secret::new),
        metadata: None,
        why: Why::Request,
        now_ms: NOW_MS,
    }
}

pub(crate) fn publishing(who: Participant, tracks: Vec<TrackFacts>) -> PublishQuestion {
    PublishQuestion { who, room: room("board", 1), tracks, why: Why::Request, now_ms: NOW_MS }
}

pub(crate) fn subscription(who: Participant, publications: Vec<Publication>) -> SubscribeQuestion {
    SubscribeQuestion { who, room: room("board", 2), publications, why: Why::Announce, now_ms: NOW_MS }
}

pub(crate) fn recording(who: Option<Participant>, publications: Vec<Publication>) -> RecordQuestion {
    RecordQuestion { who, room: room("board", 2), publications, why: Why::Request, now_ms: NOW_MS }
}

pub(crate) fn camera(publisher: Participant) -> Publication {
    Publication { publisher, track: track("camera", Source::Camera) }
}

pub(crate) fn track(id: &str, source: Source) -> TrackFacts {
    TrackFacts {
        id: TrackId::new(id).unwrap(),
        kind: if source == Source::Microphone { MediaKind::Audio } else { MediaKind::Video },
        source,
        codec: Some(Codec::Vp8),
        top_layer: Layer { spatial: 2, temporal: 2 },
        bitrate: None,
    }
}
