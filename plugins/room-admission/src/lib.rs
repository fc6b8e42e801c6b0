//! Decides who enters a room, and what they may publish and record there.
//!
//! Admission: the room's list of subjects, its list of roles, its password and its capacity, in this order. Publishing and
//! recording: what the grant allows, that is the token together with what a role may do here. It decides whatever it is
//! asked, so that nothing is left to the configuration's default.
//!
//! A role comes from a claim of the token, which may be a list: who has several comes in by any of them, and may do what the rules of all
//! of them allow. Others find the role in the grant's attribute `room-admission.role`; several as a JSON list.
//!
//! Grants: `config`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! role_claim = "role"          # the claim that names the role, or a list of roles
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

use common::{any_in, words_of};

use crate::exports::lockgate::policy::{admission, publishing, recording};
use crate::lockgate::policy::types::{Denial, Grant, Identity, MediaKind, Track, Verdict};
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
        let rules = rules(&settings, &roles(&settings, &asked.who.identity));
        asked.tracks.iter().map(|track| publish(&rules, &asked.who.identity.grant, track)).collect()
    }
}

impl recording::Guest for RoomAdmission {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        let verdict = record(asked.who.as_ref().map(|who| &who.identity.grant));
        vec![verdict; asked.publications.len()]
    }
}

fn admit(settings: &Settings, asked: &admission::Question) -> Verdict {
    let roles = roles(settings, &asked.who.identity);
    let door = settings.rooms.get(&asked.room.name).unwrap_or(&settings.door);
    match refusal(door, asked, &roles) {
        Some(denial) => Verdict::Deny(denial),
        None => Verdict::Allow(stay(&rules(settings, &roles), &roles)),
    }
}

/// Why they may not enter. Whether the room is full comes last, so that outsiders do not learn it.
fn refusal(door: &Door, asked: &admission::Question, roles: &[String]) -> Option<Denial> {
    if door.subjects.as_ref().is_some_and(|subjects| !subjects.contains(&asked.who.identity.subject)) {
        return Some(common::denial!("forbidden", "you are not on this room's list"));
    }
    if door.roles.as_ref().is_some_and(|welcome| !any_in(roles, welcome)) {
        return Some(common::denial!("forbidden", "your role may not enter this room"));
    }
    if !door.opens_to(asked.password.as_deref()) {
        let message = if asked.password.is_some() { "the password is wrong" } else { "this room needs a password" };
        return Some(common::denial!("forbidden", message));
    }
    door.capacity
        .filter(|capacity| asked.room.participants >= *capacity)
        .map(|capacity| common::denial!("room-full", format!("the room has its {capacity} participants")))
}

/// The grant for the whole stay. An absent permission leaves the matter to the token, and `true` could not allow more than it.
fn stay(rules: &Role, roles: &[String]) -> Grant {
    let publishes = rules.publish.as_ref().is_none_or(|sources| !sources.is_empty());
    let role = match roles {
        [role] => role.clone(),
        several => serde_json::to_string(several).expect("texts are JSON"),
    };
    Grant {
        can_publish: (!publishes).then_some(false),
        can_record: rules.record,
        attributes: common::places!(rules.last_n, rules.top_n).chain([common::attr!("role", role)]).collect(),
        ..common::no_limits!()
    }
}

/// The sources of a role are not part of the grant for the stay: there they would limit what is received, too.
fn publish(rules: &Role, grant: &Grant, track: &Track) -> Verdict {
    let sources = [rules.publish.as_ref(), grant.sources.as_ref()];
    let fits = sources.into_iter().flatten().all(|sources| sources.contains(&track.source))
        && grant.can_publish != Some(false)
        && grant.kinds.as_ref().is_none_or(|kinds| kinds.contains(&track.kind))
        && (track.kind != MediaKind::Data || grant.can_data != Some(false));
    if fits {
        Verdict::Allow(common::no_limits!())
    } else {
        Verdict::Deny(common::denial!("forbidden", "you may not publish this"))
    }
}

/// Nobody: the operator's own configuration, which needs nobody's leave.
fn record(grant: Option<&Grant>) -> Verdict {
    match grant {
        Some(grant) if grant.can_record != Some(true) => {
            Verdict::Deny(common::denial!("forbidden", "you may not record"))
        }
        _ => Verdict::Allow(common::no_limits!()),
    }
}

/// The roles that the token names, else the default one.
fn roles(settings: &Settings, who: &Identity) -> Vec<String> {
    let named = words_of!(who, settings.role_claim);
    if named.is_empty() { vec![settings.default_role.clone()] } else { named }
}

/// What the rules of all these roles allow.
fn rules(settings: &Settings, roles: &[String]) -> Role {
    roles.iter().filter_map(|role| settings.roles.get(role)).cloned().reduce(Role::and).unwrap_or_default()
}

#[cfg(test)]
mod tests;
