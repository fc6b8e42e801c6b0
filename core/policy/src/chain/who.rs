//! Who somebody is, by what plugins that accept them say.

use lockgate_model::UserId;
use lockgate_model::policy::{Denial, Identity};
use sha2::{Digest, Sha256};

use super::unavailable;
use crate::contract::{self, Accepted};

/// The first plugin that accepts says who it is; those after it can only narrow.
pub(super) fn narrowed(known: Option<Identity>, found: Accepted) -> Result<Identity, Denial> {
    let Some(known) = known else { return identified(found) };
    let expires_at_ms = match (known.expires_at_ms, found.expires_at_ms) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Ok(Identity { grant: known.grant.and(&found.grant), expires_at_ms, ..known })
}

fn identified(found: Accepted) -> Result<Identity, Denial> {
    let Accepted { mut subject, mut username, claims, expires_at_ms, grant } = found;
    if subject.is_empty() {
        subject = stranger().map_err(|_| unavailable())?;
        if username.is_empty() {
            username = "Guest".into();
        }
    }
    if username.is_empty() {
        username.clone_from(&subject);
        contract::cut(&mut username, contract::MAX_USERNAME);
    }
    Ok(Identity { user_id: user_id(&subject), subject, username, claims, expires_at_ms, grant })
}

/// The subject itself if it is a number that JavaScript can hold, else a number made from it that no token's can be taken for easily.
pub(crate) fn user_id(subject: &str) -> UserId {
    match subject.parse::<u64>() {
        Ok(number) if (1..FIRST_TOO_BIG).contains(&number) && !subject.starts_with(['+', '0']) => UserId(number),
        _ => {
            let number = first_u64(&Sha256::digest(subject.as_bytes()));
            UserId(ALLOTTED | (number % ALLOTTED))
        }
    }
}

/// The first eight bytes of a digest as a number.
pub(crate) fn first_u64(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A subject that nobody else has.
fn stranger() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(STRANGER.to_owned(), |subject, byte| format!("{subject}{byte:02x}")))
}

/// How the subject of somebody without one begins.
pub(crate) const STRANGER: &str = "guest:";
/// 2^53: from here on JavaScript's numbers have gaps.
const FIRST_TOO_BIG: u64 = 1 << 53;
/// 2^52: numbers that are made up lie in the upper half.
const ALLOTTED: u64 = 1 << 52;
