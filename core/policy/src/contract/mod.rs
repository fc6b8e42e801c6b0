//! The contract with plugins, `lockgate:policy`: one module for each released version, and the bounds of all of them.
//!
//! A module knows the bindings of its version and the way between its words and the model's. The rest of the crate has the names of
//! the newest one, re-exported here. The bindings of the newest come from `wit/` itself, which may have more interfaces than were
//! released; those of an older one come from its copy in `wit/released/`, and convert into the newest at this edge, so that the
//! version which a component's names carry is known nowhere else.

mod v0_1;

use lockgate_model::policy as model;

pub(crate) use self::v0_1::{
    Batch, admission, admission_question, auth, auth_question, clock, command, command_question, config, jwt, kv,
    lifecycle, log, metrics, participant, publishing, publishing_question, read_attrs, read_denial, read_identity,
    read_response, read_verdict, recording, room, subscription, types, why,
};

/// What an auth plugin says of somebody, before the host has given them a number.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) subject: String,
    pub(crate) username: String,
    pub(crate) claims: Vec<model::Attribute>,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) grant: model::Grant,
}

/// A sentence for people.
fn message(text: &str) -> String {
    let mut message: String = text.chars().take(MAX_MESSAGE).map(printable).collect();
    cut(&mut message, MAX_MESSAGE);
    message
}

/// Shortens to so many bytes without splitting a character.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

/// A plugin's text reaches terminals and logs: control characters do not.
pub(crate) fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// What the names of the interfaces begin with, as in `lockgate:policy/auth@0.1.0`.
pub(crate) const PACKAGE: &str = "lockgate:policy/";
/// The version of the contract that this host speaks.
pub(crate) const VERSION: &str = "0.1.0";
/// Most tracks in one question.
pub(crate) const MAX_BATCH: usize = 256;
/// Most claims of an identity, and most things a plugin says of itself.
pub(crate) const MAX_CLAIMS: usize = 64;

const MAX_CLAIM_BYTES: usize = 16 << 10;
const MAX_SUBJECT: usize = 256;
pub(crate) const MAX_USERNAME: usize = 128;
const MAX_MESSAGE: usize = 256;
const MAX_TEXT: usize = 16 << 10;
const MAX_EFFECTS: usize = 32;
const MAX_ATTRIBUTES: usize = 32;
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 4096;
const MAX_ROOMS: usize = 256;
const MAX_ROOM: usize = 128;
const MAX_SET: usize = 16;
