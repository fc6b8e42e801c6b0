//! What a plugin asked of its host while it answered, in the order in which it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One call of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all_fields = "kebab-case")]
pub enum HostCall {
    /// A line for the operator's log.
    #[serde(rename = "log.write")]
    Log {
        /// `debug`, `info`, `warn` or `error`.
        level: &'static str,
        /// The line.
        message: String,
        /// What stands behind it.
        fields: BTreeMap<String, String>,
    },
    /// The time of the question.
    #[serde(rename = "clock.now-ms")]
    Clock,
    /// One setting.
    #[serde(rename = "config.get")]
    Setting {
        /// Which.
        key: String,
        /// What it is, if it is set.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<String>,
    },
    /// All settings.
    #[serde(rename = "config.all")]
    Settings,
    /// A look into its memory.
    #[serde(rename = "kv.get")]
    Get {
        /// Where.
        key: String,
        /// What was there, if anything.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<Bytes>,
    },
    /// Something to remember.
    #[serde(rename = "kv.put")]
    Put {
        /// Where.
        key: String,
        /// What.
        value: Bytes,
        /// For so long; absent: for ever.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u32>,
        /// Why it was not kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<&'static str>,
    },
    /// Something to forget.
    #[serde(rename = "kv.delete")]
    Delete {
        /// Where.
        key: String,
    },
    /// A counter.
    #[serde(rename = "metrics.add")]
    Count {
        /// Which.
        name: String,
        /// By how much.
        amount: u64,
    },
    /// A token to be verified. The token itself is not told.
    #[serde(rename = "jwt.verify")]
    Verify {
        /// With which keys.
        key_ring: String,
        /// Why it is not good; absent: it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<&'static str>,
    },
}

/// The names of all calls, as expectations write them.
pub(super) const CALLS: [&str; 9] = [
    "log.write",
    "clock.now-ms",
    "config.get",
    "config.all",
    "kv.get",
    "kv.put",
    "kv.delete",
    "metrics.add",
    "jwt.verify",
];

/// Bytes that a plugin remembers: as text if they are one without control characters, otherwise in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// Text.
    Text(String),
    /// Anything else.
    Hex {
        /// Two digits for each byte.
        hex: Hex,
    },
}

/// Bytes that are written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains(char::is_control) => Self::Text(text),
            Ok(text) => Self::Hex { hex: Hex(text.into_bytes()) },
            Err(error) => Self::Hex { hex: Hex(error.into_bytes()) },
        }
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        match bytes {
            Bytes::Text(text) => text.into_bytes(),
            Bytes::Hex { hex: Hex(bytes) } => bytes,
        }
    }
}

impl From<Hex> for String {
    fn from(Hex(bytes): Hex) -> Self {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bad = "hex is not made of two hexadecimal digits for each byte";
        if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
            return Err(bad);
        }
        let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        pairs.collect::<Result<_, _>>().map(Self).map_err(|_| bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_if_they_can_be() {
        let json = |bytes: &[u8]| serde_json::to_string(&Bytes::from(bytes.to_vec())).unwrap();
        assert_eq!((json(b"a\xc3\xa9").as_str(), json(b"\xff\0").as_str()), ("\"aé\"", r#"{"hex":"ff00"}"#));
        assert_eq!(json(b"\x01\0"), r#"{"hex":"0100"}"#, "a number is no text");
        let read = |json: &str| serde_json::from_str::<Bytes>(json).map(Vec::from);
        assert_eq!(read(r#"{"hex":"Ff00"}"#).unwrap(), b"\xff\0");
        for bad in [r#"{"hex":"f"}"#, r#"{"hex":"é"}"#, r#"{"hex":"+f"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
