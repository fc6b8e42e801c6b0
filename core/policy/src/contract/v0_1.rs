//! Version 0.1.0 of the contract in Rust, and the way between its words and the model's.
//!
//! Whatever a guest answers is bounded here before it goes any further.

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated from wit/")]
mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "policy", imports: { default: trappable } });
}

use lockgate_model::policy::{
    self as model, AdmissionQuestion, AuthQuestion, CommandEffect, CommandQuestion, PublishQuestion, Why,
};
use lockgate_model::{Bitrate, ErrorCode, MediaKind, Source};

pub(crate) use bindings::exports::lockgate::policy::{
    admission, auth, command, lifecycle, publishing, recording, subscription,
};
pub(crate) use bindings::lockgate::policy::{clock, config, jwt, kv, log, metrics, types};

use super::{
    Accepted, MAX_ATTRIBUTES, MAX_CLAIM_BYTES, MAX_CLAIMS, MAX_EFFECTS, MAX_KEY, MAX_ROOM, MAX_ROOMS, MAX_SET,
    MAX_SUBJECT, MAX_TEXT, MAX_USERNAME, MAX_VALUE, cut, message, printable,
};
use crate::failure::Failure;

/// A batch of tracks and their publishers, each publisher once.
pub(crate) struct Batch {
    pub(crate) publishers: Vec<types::Participant>,
    pub(crate) publications: Vec<types::Publication>,
}

impl Batch {
    pub(crate) fn new(publications: &[model::Publication]) -> Self {
        let mut known: Vec<&model::Participant> = Vec::new();
        let mut batch = Self { publishers: Vec::new(), publications: Vec::with_capacity(publications.len()) };
        for publication in publications {
            let place = known.iter().position(|known| **known == publication.publisher).unwrap_or_else(|| {
                known.push(&publication.publisher);
                batch.publishers.push(participant(&publication.publisher));
                known.len() - 1
            });
            let publisher = u32::try_from(place).unwrap_or(u32::MAX);
            batch.publications.push(types::Publication { publisher, track: track(&publication.track) });
        }
        batch
    }
}

pub(crate) fn auth_question(question: &AuthQuestion, accepted: Option<&model::Identity>) -> auth::Question {
    auth::Question {
        token: question.token.expose().to_owned(),
        accepted: accepted.map(identity),
        door: question.door.as_str().into(),
        peer: question.peer.to_string(),
        now_ms: question.now_ms,
        extra: Vec::new(),
    }
}

pub(crate) fn admission_question(question: &AdmissionQuestion) -> admission::Question {
    admission::Question {
        who: participant(&question.who),
        room: room(&question.room),
        password: question.password.as_ref().map(|password| password.expose().to_owned()),
        metadata: question.metadata.clone(),
        now_ms: question.now_ms,
        extra: vec![types::Attr { key: "why".into(), value: why(question.why).into() }],
    }
}

pub(crate) fn publishing_question(question: &PublishQuestion, tracks: &[model::TrackFacts]) -> publishing::Question {
    publishing::Question {
        who: participant(&question.who),
        room: room(&question.room),
        tracks: tracks.iter().map(track).collect(),
        why: why(question.why).into(),
        now_ms: question.now_ms,
        extra: Vec::new(),
    }
}

pub(crate) fn command_question(question: &CommandQuestion) -> command::Question {
    command::Question {
        who: participant(&question.who),
        room: room(&question.room),
        name: question.name.clone(),
        target: question.target.as_ref().map(participant),
        payload: question.payload.clone(),
        now_ms: question.now_ms,
        extra: Vec::new(),
    }
}

pub(crate) fn participant(participant: &model::Participant) -> types::Participant {
    types::Participant {
        identity: identity(&participant.identity),
        user_id: participant.identity.user_id.0,
        publisher_id: participant.publisher_id.map(|id| id.0),
        door: participant.door.as_str().into(),
        peer: participant.peer.to_string(),
        extra: Vec::new(),
    }
}

pub(crate) fn room(room: &model::RoomFacts) -> types::Room {
    types::Room {
        name: room.name.as_str().into(),
        participants: room.participants,
        publications: room.publications,
        recording: room.recording,
        extra: Vec::new(),
    }
}

pub(crate) fn why(why: Why) -> &'static str {
    match why {
        Why::Announce => "announce",
        Why::Request => "request",
        Why::Auto => "auto",
        Why::Recheck => "recheck",
    }
}

fn identity(identity: &model::Identity) -> types::Identity {
    types::Identity {
        subject: identity.subject.clone(),
        username: identity.username.clone(),
        claims: attrs(&identity.claims),
        expires_at_ms: identity.expires_at_ms,
        grant: grant(&identity.grant),
    }
}

fn track(track: &model::TrackFacts) -> types::Track {
    types::Track {
        id: track.id.as_str().into(),
        kind: kind(track.kind),
        source: track.source.as_str().into(),
        codec: track.codec.map(|codec| codec.as_str().into()),
        top_layer: types::Layer { spatial: track.top_layer.spatial, temporal: track.top_layer.temporal },
        bitrate: track.bitrate.map(|bitrate| bitrate.0),
        extra: Vec::new(),
    }
}

fn grant(grant: &model::Grant) -> types::Grant {
    types::Grant {
        max_spatial: grant.max_spatial,
        max_temporal: grant.max_temporal,
        max_bitrate: grant.max_bitrate.map(|bitrate| bitrate.0),
        kinds: grant.kinds.as_ref().map(|kinds| kinds.iter().copied().map(kind).collect()),
        sources: grant.sources.as_ref().map(|sources| sources.iter().map(|source| source.as_str().into()).collect()),
        rooms: grant.rooms.as_ref().map(|rooms| rooms.iter().cloned().collect()),
        can_publish: grant.can_publish,
        can_subscribe: grant.can_subscribe,
        can_record: grant.can_record,
        can_data: grant.can_data,
        admin: grant.admin,
        priority: grant.priority,
        hidden: grant.hidden,
        expires_at_ms: grant.expires_at_ms,
        reask_after_ms: grant.reask_after_ms,
        attributes: attrs(&grant.attributes),
    }
}

fn attrs(attributes: &[model::Attribute]) -> Vec<types::Attr> {
    attributes.iter().map(|one| types::Attr { key: one.key.clone(), value: one.value.clone() }).collect()
}

fn kind(kind: MediaKind) -> types::MediaKind {
    match kind {
        MediaKind::Audio => types::MediaKind::Audio,
        MediaKind::Video => types::MediaKind::Video,
        MediaKind::Data => types::MediaKind::Data,
    }
}

pub(crate) fn read_identity(plugin: &str, identity: types::Identity) -> Result<Accepted, Failure> {
    let mut username = identity.username;
    cut(&mut username, MAX_USERNAME);
    let claims = read_attrs(identity.claims, MAX_CLAIMS)?;
    let bytes: usize = claims.iter().map(|claim| claim.key.len() + claim.value.len()).sum();
    if identity.subject.len() > MAX_SUBJECT || bytes > MAX_CLAIM_BYTES {
        return Err(Failure::BadAnswer);
    }
    Ok(Accepted {
        subject: identity.subject,
        username,
        claims,
        expires_at_ms: identity.expires_at_ms,
        grant: read_grant(plugin, identity.grant)?,
    })
}

pub(crate) fn read_verdict(plugin: &str, verdict: types::Verdict) -> Result<model::Verdict, Failure> {
    Ok(match verdict {
        types::Verdict::Allow(grant) => model::Verdict::Allow(read_grant(plugin, grant)?),
        types::Verdict::Deny(denial) => model::Verdict::Deny(read_denial(denial)),
        types::Verdict::Abstain => model::Verdict::Abstain,
    })
}

pub(crate) fn read_denial(denial: types::Denial) -> model::Denial {
    let message = message(&denial.message);
    let retry_after_ms = denial.retry_after_ms;
    model::Denial { retry_after_ms, ..model::Denial::new(ErrorCode::from_plugin(&denial.code), message) }
}

/// The reply and the effects of an act; the names of effects that nobody knows come back beside them.
pub(crate) fn read_response(response: command::Response) -> Result<(String, Vec<CommandEffect>, Vec<String>), Failure> {
    if response.reply.len() > MAX_TEXT || response.effects.len() > MAX_EFFECTS {
        return Err(Failure::BadAnswer);
    }
    let (mut effects, mut unknown) = (Vec::new(), Vec::new());
    for command::Effect { name, subject, payload } in response.effects {
        if payload.len() > MAX_TEXT || subject.as_ref().is_some_and(|subject| subject.len() > MAX_SUBJECT) {
            return Err(Failure::BadAnswer);
        }
        match name.as_str() {
            "re-ask" => effects.push(CommandEffect::ReAsk { subject }),
            "revoke" => effects.push(CommandEffect::Revoke { subject, reason: message(&payload) }),
            "admit" => effects.push(CommandEffect::Admit { subject }),
            "notify" => effects.push(CommandEffect::Notify { subject, payload }),
            _ => unknown.push(name.chars().take(MAX_KEY).map(printable).collect()),
        }
    }
    Ok((response.reply, effects, unknown))
}

pub(crate) fn read_attrs(attrs: Vec<types::Attr>, most: usize) -> Result<Vec<model::Attribute>, Failure> {
    let fits = |attr: &types::Attr| attr.key.len() <= MAX_KEY && attr.value.len() <= MAX_VALUE;
    if attrs.len() > most || !attrs.iter().all(fits) {
        return Err(Failure::BadAnswer);
    }
    Ok(attrs.into_iter().map(|attr| model::Attribute { key: attr.key, value: attr.value }).collect())
}

fn read_grant(plugin: &str, grant: types::Grant) -> Result<model::Grant, Failure> {
    let too_many = grant.rooms.as_ref().is_some_and(|rooms| rooms.len() > MAX_ROOMS)
        || grant.kinds.as_ref().is_some_and(|kinds| kinds.len() > MAX_SET)
        || grant.sources.as_ref().is_some_and(|sources| sources.len() > MAX_SET);
    if too_many || grant.rooms.iter().flatten().any(|room| room.len() > MAX_ROOM) {
        return Err(Failure::BadAnswer);
    }
    let mut attributes = read_attrs(grant.attributes, MAX_ATTRIBUTES)?;
    let is_limit =
        |attribute: &&model::Attribute| [model::Grant::LAST_N, model::Grant::TOP_N].contains(&attribute.key.as_str());
    if attributes.iter().filter(is_limit).any(|attribute| attribute.value.parse::<u32>().is_err()) {
        return Err(Failure::BadAnswer);
    }
    for attribute in &mut attributes {
        attribute.key.insert_str(0, &format!("{plugin}."));
    }
    Ok(model::Grant {
        max_spatial: grant.max_spatial,
        max_temporal: grant.max_temporal,
        max_bitrate: grant.max_bitrate.map(Bitrate),
        kinds: grant.kinds.map(|kinds| kinds.into_iter().map(read_kind).collect()),
        // A source that we do not know cannot come, so leaving it out only makes the set what it is.
        sources: grant.sources.map(|sources| sources.iter().filter_map(|source| read_source(source)).collect()),
        rooms: grant.rooms.map(|rooms| rooms.into_iter().collect()),
        can_publish: grant.can_publish,
        can_subscribe: grant.can_subscribe,
        can_record: grant.can_record,
        can_data: grant.can_data,
        admin: grant.admin,
        priority: grant.priority,
        hidden: grant.hidden,
        expires_at_ms: grant.expires_at_ms,
        reask_after_ms: grant.reask_after_ms,
        attributes,
    })
}

fn read_kind(kind: types::MediaKind) -> MediaKind {
    match kind {
        types::MediaKind::Audio => MediaKind::Audio,
        types::MediaKind::Video => MediaKind::Video,
        types::MediaKind::Data => MediaKind::Data,
    }
}

fn read_source(name: &str) -> Option<Source> {
    [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio, Source::Data]
        .into_iter()
        .find(|source| source.as_str() == name)
}

#[cfg(test)]
mod tests;
