//! The plugins and the questions that are measured: those that are shipped, and what a node asks when somebody joins.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lockgate_model::policy::{
    AdmissionQuestion, Attribute, AuthQuestion, Door, Grant, Identity, Participant, Publication, PublishQuestion,
    RoomFacts, SubscribeQuestion, TrackFacts, Why,
};
use lockgate_model::{Codec, Layer, MediaKind, PublisherId, RoomName, Secret, Source, TrackId, UserId};
use lockgate_policy::{Capability, Isolation, KeyRing, Limits, LoadError, PluginConfig, Policy, PolicyConfig};
use serde_json::{Value, json};

/// When all questions are put, in milliseconds since 1970.
pub(super) const NOW_MS: u64 = 1_800_000_000_000;
/// The secret of HS256.
pub(super) const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// The three shipped plugins with the settings of a class, on two threads.
pub(super) fn chain(plugins: &Path, isolation: Isolation) -> Result<Policy> {
    let roles = json!({ "roles": { "viewer": { "sees": ["host"], "max_spatial": 1 }, "host": {} } });
    let door = json!({ "door": { "capacity": 5000 }, "roles": { "viewer": { "publish": ["microphone", "camera"] } } });
    let settings = [("jwt-auth", json!({})), ("room-admission", door), ("subscription-policy", roles)];
    let kept = |(name, settings)| PluginConfig { isolation, ..plugin(plugins, name, settings) };
    host(settings.into_iter().map(kept).collect(), KeyRing::hs256(SECRET))
}

/// A host that is asked and asks nobody.
pub(super) fn nobody() -> Result<Policy> {
    host(Vec::new(), KeyRing::hs256(SECRET))
}

/// A host with some plugins and one key ring.
pub(super) fn host(plugins: Vec<PluginConfig>, ring: KeyRing) -> Result<Policy> {
    let key_rings = [("default".to_owned(), ring)].into();
    // An answer that comes late is a figure here, and no denial.
    let config =
        PolicyConfig { plugins, key_rings, queue: 4096, chain_budget: 2 * PATIENCE, ..PolicyConfig::default() };
    Policy::load(config).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(LoadError::to_string).collect();
        anyhow!("{}", told.join("; "))
    })
}

/// A shipped plugin that may import everything.
pub(super) fn plugin(folder: &Path, name: &str, settings: Value) -> PluginConfig {
    let settings = settings.as_object().cloned().unwrap_or_default();
    let file = folder.join(name).with_extension("wasm");
    let limits = Limits { deadline: PATIENCE, ..Limits::default() };
    PluginConfig { grants: Capability::ALL.into(), settings, limits, ..PluginConfig::new(name, file) }
}

pub(super) fn auth(token: &str) -> AuthQuestion {
    AuthQuestion { token: Secret::new(token), door: Door::Ws, peer: LOOPBACK, now_ms: NOW_MS }
}

pub(super) fn admission() -> Result<AdmissionQuestion> {
    let (password, metadata, why, now_ms) = (None, None, Why::Request, NOW_MS);
    Ok(AdmissionQuestion { who: somebody("viewer"), room: room()?, password, metadata, why, now_ms })
}

pub(super) fn publishing() -> Result<PublishQuestion> {
    let tracks = vec![track("camera", Source::Camera)?, track("microphone", Source::Microphone)?];
    Ok(PublishQuestion { who: somebody("viewer"), room: room()?, tracks, why: Why::Request, now_ms: NOW_MS })
}

/// A viewer before so many cameras of one host.
pub(super) fn subscription(cameras: usize) -> Result<SubscribeQuestion> {
    let camera = Publication { publisher: somebody("host"), track: track("camera", Source::Camera)? };
    let publications = vec![camera; cameras];
    Ok(SubscribeQuestion { who: somebody("viewer"), room: room()?, publications, why: Why::Announce, now_ms: NOW_MS })
}

fn somebody(role: &str) -> Participant {
    let claim = |key: &str, value: &str| Attribute { key: key.into(), value: format!("{value:?}") };
    let identity = Identity {
        subject: format!("{role}-1"),
        user_id: UserId(1),
        username: format!("A {role}"),
        claims: vec![claim("role", role), claim("locale", "de"), claim("plan", "free")],
        expires_at_ms: Some(NOW_MS + 3_600_000),
        grant: Grant::default(),
    };
    Participant { identity, publisher_id: Some(PublisherId(1)), door: Door::Ws, peer: LOOPBACK }
}

fn room() -> Result<RoomFacts> {
    let name = RoomName::new("board").map_err(|error| anyhow!("{error}"))?;
    Ok(RoomFacts { name, participants: 30, publications: 2, recording: false })
}

fn track(id: &str, source: Source) -> Result<TrackFacts> {
    let id = TrackId::new(id).map_err(|error| anyhow!("{error}"))?;
    let is_sound = source == Source::Microphone;
    let kind = if is_sound { MediaKind::Audio } else { MediaKind::Video };
    let codec = Some(if is_sound { Codec::Opus } else { Codec::Vp8 });
    let top_layer = if is_sound { Layer { spatial: 0, temporal: 0 } } else { Layer { spatial: 2, temporal: 2 } };
    Ok(TrackFacts { id, kind, source, codec, top_layer, bitrate: None })
}

/// For one plugin and one question, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
