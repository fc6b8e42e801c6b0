//! The secret that ties a data connection to its control connection.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 128 random bits, drawn by the node for each control connection; 32 hexadecimal digits on the wire, never printed.
#[derive(Clone)]
pub struct BindingToken([u8; 16]);

impl BindingToken {
    /// A token of bytes that must come from a cryptographic source.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for BindingToken {
    /// Takes the same time wherever the tokens differ.
    fn eq(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |difference, (a, b)| difference | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl Eq for BindingToken {}

impl fmt::Debug for BindingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingToken(…)")
    }
}

impl Serialize for BindingToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for BindingToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("a token is 32 hexadecimal digits"))
    }
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_json_and_is_not_printed() {
        let token = BindingToken::from_random(*b"\x00\xff0123456789abcd");
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(json, "\"00ff3031323334353637383961626364\"");
        assert_eq!(serde_json::from_str::<BindingToken>(&json).unwrap(), token);
        assert_ne!(token, BindingToken::from_random([0; 16]));
        assert!(!format!("{token:?}").contains("30"));
        for bad in ["\"\"", "\"00\"", "\"zzff3031323334353637383961626364\"", "\"éé303132333435363738396162636\"", "7"]
        {
            assert!(serde_json::from_str::<BindingToken>(bad).is_err(), "{bad}");
        }
    }
}
