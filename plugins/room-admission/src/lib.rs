//! Decides who enters a room, and what they may publish and record there.
//!
//! Admission: the room's list of subjects, its list of roles, its password and its capacity, in this order. Publishing and
//! recording: what the grant allows, that is the token together with what a role may do here. It decides whatever it is
//! asked, so that nothing is left to the configuration's default.
//!
//! A role comes from a claim of the token. Others find it in the grant's attribute `room-admission.role`.
//!
//! Grants: `config`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! role_claim = "role"          # the claim that names the role
//! default_role = "guest"       # the role of those whose token names none
//!
//! [plugin.settings.door]       # for every room
//! capacity = 50                # most participants
//! password_sha256 = "9f86…"    # of the password; made with: printf %s 'the password' | sha256sum
//! subjects = ["alice", "42"]   # nobody else enters
//! roles = ["host", "guest"]    # no other role enters
//!
//! [plugin.settings.rooms.board]   # for this room, instead of the door
//! capacity = 5
//!
//! [plugin.settings.roles.guest]   # what a role may do; what is absent is left to the token
//! publish = ["microphone", "camera"]   # sources; [] for none
//! record = false
//! last_n = 4                           # most cameras of others at a time, those of the last speakers
//! top_n = 3                            # most microphones of others at a time, those that are spoken into
//! ```

mod settings;

use crate::exports::lockgate::policy::{admission, publishing, recording};
use crate::lockgate::policy::types::{Attr, Denial, Grant, Identity, MediaKind, Track, Verdict};
use crate::settings::{Door, Role, Settings};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:room-admission;
        world plugin {
            include lockgate:policy/admission-plugin@0.1.0;
            include lockgate:policy/publishing-plugin@0.1.0;
            include lockgate:policy/recording-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct RoomAdmission;

export!(RoomAdmission);

common::lifecycle!(RoomAdmission);

impl admission::Guest for RoomAdmission {
    fn admit(asked: admission::Question) -> Verdict {
        admit(&settings(), &asked)
    }
}

impl publishing::Guest for RoomAdmission {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        let settings = settings();
        asked.tracks.iter().map(|track| publish(&settings, &asked.who.identity, track)).collect()
    }
}

impl recording::Guest for RoomAdmission {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        let verdict = record(asked.who.as_ref().map(|who| &who.identity.grant));
        vec![verdict; asked.publications.len()]
    }
}

fn admit(settings: &Settings, asked: &admission::Question) -> Verdict {
    let identity = &asked.who.identity;
    let role = role_of(settings, identity);
    let door = settings.rooms.get(&asked.room.name).unwrap_or(&settings.door);
    match refusal(door, asked, &role) {
        Some(denial) => Verdict::Deny(denial),
        None => Verdict::Allow(stay(settings.roles.get(&role), role)),
    }
}

/// Why they may not enter. Whether the room is full comes last, so that outsiders do not learn it.
fn refusal(door: &Door, asked: &admission::Question, role: &str) -> Option<Denial> {
    let missing =
        |list: &Option<Vec<String>>, one: &str| list.as_ref().is_some_and(|list| !list.iter().any(|it| it == one));
    if missing(&door.subjects, &asked.who.identity.subject) {
        return Some(denial("forbidden", "you are not on this room's list"));
    }
    if missing(&door.roles, role) {
        return Some(denial("forbidden", "your role may not enter this room"));
    }
    if !door.opens_to(asked.password.as_deref()) {
        let message = if asked.password.is_some() { "the password is wrong" } else { "this room needs a password" };
        return Some(denial("forbidden", message));
    }
    door.capacity
        .filter(|capacity| asked.room.participants >= *capacity)
        .map(|capacity| denial("room-full", &format!("the room has its {capacity} participants")))
}

/// The grant for the whole stay. An absent permission leaves the matter to the token, and `true` could not allow more than it.
fn stay(rules: Option<&Role>, role: String) -> Grant {
    let publishes = rules.and_then(|rules| rules.publish.as_ref()).is_none_or(|sources| !sources.is_empty());
    let attr = |key: &str, value: String| Attr { key: key.into(), value };
    let places = |key: &str, most: Option<u32>| most.map(|most| attr(key, most.to_string()));
    let limits = rules.into_iter().flat_map(|rules| [places("last-n", rules.last_n), places("top-n", rules.top_n)]);
    Grant {
        can_publish: (!publishes).then_some(false),
        can_record: rules.and_then(|rules| rules.record),
        attributes: limits.flatten().chain([attr("role", role)]).collect(),
        ..common::no_limits!()
    }
}

/// The sources of a role are not part of the grant for the stay: there they would limit what is received, too.
fn publish(settings: &Settings, identity: &Identity, track: &Track) -> Verdict {
    let grant = &identity.grant;
    let rules = settings.roles.get(&role_of(settings, identity));
    let sources = [rules.and_then(|rules| rules.publish.as_ref()), grant.sources.as_ref()];
    let fits = sources.into_iter().flatten().all(|sources| sources.contains(&track.source))
        && grant.can_publish != Some(false)
        && grant.kinds.as_ref().is_none_or(|kinds| kinds.contains(&track.kind))
        && (track.kind != MediaKind::Data || grant.can_data != Some(false));
    if fits {
        Verdict::Allow(common::no_limits!())
    } else {
        Verdict::Deny(denial("forbidden", "you may not publish this"))
    }
}

/// Nobody: the operator's own configuration, which needs nobody's leave.
fn record(grant: Option<&Grant>) -> Verdict {
    match grant {
        Some(grant) if grant.can_record != Some(true) => Verdict::Deny(denial("forbidden", "you may not record")),
        _ => Verdict::Allow(common::no_limits!()),
    }
}

/// The role that the token names, else the default. Claims are JSON text.
fn role_of(settings: &Settings, identity: &Identity) -> String {
    let claim = identity.claims.iter().find(|attr| attr.key == settings.role_claim);
    claim.and_then(|claim| serde_json::from_str(&claim.value).ok()).unwrap_or_else(|| settings.default_role.clone())
}

fn denial(code: &str, message: &str) -> Denial {
    Denial { code: code.into(), message: message.into(), retry_after_ms: None }
}

#[cfg(test)]
mod tests;
