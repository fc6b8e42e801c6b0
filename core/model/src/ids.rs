//! Identifiers, each its own type so that none is mistaken for another.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person or program, as the signalling protocol shows it: the token's numeric `sub` (1 … 2^53−1) or a number the node allots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("maximum" = crate::schema::MAX_NUMBER))]
pub struct UserId(pub u64);

/// One participant: a socket (or WHIP/WHEP session) in one room. Unique in the cluster and never used again:
/// node slot × 2^32 + counter, below 2^53 so that JavaScript keeps it exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("maximum" = crate::schema::MAX_NUMBER))]
pub struct PublisherId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}; {remedy}")]
pub struct InvalidId {
    /// What was read: `room name`, `track id`, …
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What would be accepted.
    pub remedy: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path, $max:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("minLength" = 1, "maxLength" = $max, "pattern" = $pattern))]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A room's name: 1–128 bytes of UTF-8 without control characters.
    RoomName,
    check_room_name,
    128,
    r"^[^\u0000-\u001f\u007f-\u009f]+$"
);
text_id!(
    /// A track's name in its room: an RFC 8830 §2 token, 1–64 characters, unique in the room.
    TrackId,
    check_track_id,
    64,
    r"^[!#-'*+\-.0-9A-Z^-~]+$"
);
text_id!(
    /// One recording session of a room: 1–64 characters of `A–Z a–z 0–9 - _`, safe as a folder name.
    RecordingId,
    check_recording_id,
    64,
    "^[A-Za-z0-9_-]+$"
);

impl RoomName {
    /// The name as one percent-encoded segment for URLs and folders (RFC 3986 §2.1); `.` and `..` never come out bare.
    pub fn to_segment(&self) -> String {
        let only_dots = self.0.bytes().all(|byte| byte == b'.');
        let mut segment = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            let plain =
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !only_dots);
            if plain {
                segment.push(char::from(byte));
            } else {
                segment.push_str(&format!("%{byte:02X}"));
            }
        }
        segment
    }
}

impl TrackId {
    /// The name the server gives to a track whose offer names none.
    pub fn allotted(publisher: PublisherId, mid: &str) -> Self {
        let mid: String = mid.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        Self(format!("t{publisher}-{mid}").into())
    }

    /// Whose track would be named so by [`Self::allotted`], if anybody's.
    pub fn allotted_to(&self) -> Option<PublisherId> {
        let (number, _) = self.0.strip_prefix('t')?.split_once('-')?;
        let publisher = PublisherId(number.parse().ok()?);
        (publisher.to_string() == number).then_some(publisher)
    }
}

fn check_room_name(text: &str) -> Result<(), InvalidId> {
    let problem = match text {
        "" => "is empty",
        _ if text.len() > 128 => "is longer than 128 bytes",
        _ if text.chars().any(char::is_control) => "has a control character",
        _ => return Ok(()),
    };
    Err(InvalidId { what: "room name", problem, remedy: "use 1 to 128 bytes without control characters" })
}

fn check_track_id(text: &str) -> Result<(), InvalidId> {
    let problem = match text {
        "" => "is empty",
        _ if text.len() > 64 => "is longer than 64 characters",
        _ if !text.bytes().all(is_token_byte) => "has a character that RFC 8830 does not allow",
        _ => return Ok(()),
    };
    Err(InvalidId {
        what: "track id",
        problem,
        remedy: "use 1 to 64 characters of an SDP token (letters, digits, -_.+!#$%&'*^`{|}~)",
    })
}

fn check_recording_id(text: &str) -> Result<(), InvalidId> {
    let problem = match text {
        "" => "is empty",
        _ if text.len() > 64 => "is longer than 64 characters",
        _ if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) => {
            "has a character that a folder name should not have"
        }
        _ => return Ok(()),
    };
    Err(InvalidId { what: "recording session id", problem, remedy: "use 1 to 64 letters, digits, - and _" })
}

/// `token-char` of RFC 8866 §9.
fn is_token_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x27 | 0x2A..=0x2B | 0x2D..=0x2E | 0x30..=0x39 | 0x41..=0x5A | 0x5E..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_never_becomes_a_path() {
        for (name, segment) in [("..", "%2E%2E"), ("a/b", "a%2Fb"), ("v1.2", "v1.2"), ("Käse", "K%C3%A4se")] {
            assert_eq!(RoomName::new(name).unwrap().to_segment(), segment);
        }
    }

    #[test]
    fn bad_names_are_refused_with_a_remedy() {
        assert!(RoomName::new("").is_err());
        assert!(RoomName::new("a\nb").is_err());
        assert!(RoomName::new("x".repeat(129)).is_err());
        assert!(TrackId::new("a b").unwrap_err().to_string().contains("use 1 to 64"));
        assert!(RecordingId::new("../x").is_err());
        assert!(serde_json::from_str::<RoomName>("\"\"").is_err());
    }

    #[test]
    fn an_allotted_track_id_is_valid_whatever_the_mid() {
        let id = TrackId::allotted(PublisherId(7), "a b\u{1}ü0");
        assert_eq!(id.as_str(), "t7-ab0");
        assert!(TrackId::new(id.as_str()).is_ok());
        assert_eq!(id.allotted_to(), Some(PublisherId(7)));
    }

    #[test]
    fn a_name_is_allotted_to_whom_it_could_be_made_for() {
        let of = |name| TrackId::new(name).unwrap().allotted_to();
        assert_eq!(of("t4294967298-d0"), Some(PublisherId(4_294_967_298)));
        for name in ["chat", "t-d0", "t7", "t07-d0", "t+7-d0", "T7-d0", "t7a-d0", "t99999999999999999999-d0"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
