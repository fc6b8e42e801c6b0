//! The hash of a certificate as SDP carries it (`a=fingerprint`, RFC 8122 §5).
//!
//! Fingerprints are the only thing that ties a DTLS peer to its signalling. SHA-1 and older are not understood: every
//! WebRTC endpoint sends SHA-256 (RFC 8827 §6.5).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash that a fingerprint can be made with, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FingerprintHash {
    /// `sha-256`, 32 bytes: what every WebRTC endpoint sends.
    Sha256,
    /// `sha-384`, 48 bytes.
    Sha384,
    /// `sha-512`, 64 bytes.
    Sha512,
}

/// The hash of one DER certificate.
///
/// `Display` and `FromStr` speak the value of `a=fingerprint`: `sha-256 AA:BB:…`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: FingerprintHash,
    bytes: Vec<u8>,
}

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseFingerprintError {
    /// There are not exactly two words with one space between them.
    #[error("a fingerprint is a hash name, one space and hexadecimal pairs")]
    Shape,
    /// The hash is none of ours. A peer may send several fingerprints: skip this one.
    #[error("unknown fingerprint hash {name:?}")]
    UnknownHash {
        /// The name as it was sent.
        name: String,
    },
    /// The value is not pairs of hexadecimal digits joined by colons.
    #[error("a fingerprint's value is hexadecimal pairs joined by colons")]
    Hexadecimal,
    /// The value has another length than its hash.
    #[error("{found} bytes where {expected} belong")]
    Length {
        /// What the hash yields, in bytes.
        expected: usize,
        /// What was sent, in bytes.
        found: usize,
    },
}

impl FingerprintHash {
    /// The name of RFC 8122 §5, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// The length of its value, in bytes.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Fingerprint {
    /// Hashes a DER certificate.
    pub fn of(certificate: &[u8], hash: FingerprintHash) -> Self {
        let bytes = match hash {
            FingerprintHash::Sha256 => Sha256::digest(certificate).to_vec(),
            FingerprintHash::Sha384 => Sha384::digest(certificate).to_vec(),
            FingerprintHash::Sha512 => Sha512::digest(certificate).to_vec(),
        };
        Self { hash, bytes }
    }

    /// Which hash it was made with.
    pub fn hash(&self) -> FingerprintHash {
        self.hash
    }

    /// The hash's value, [`FingerprintHash::length`] bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a certificate is the one that was promised.
    ///
    /// Only the strongest hash among the offered ones counts, so that a weaker one cannot be used to get past it; with
    /// several values of that hash any of them will do (RFC 8122 §5). Nothing offered means no.
    pub(super) fn any_matches(offered: &[Self], certificate: &[u8]) -> bool {
        let Some(strongest) = offered.iter().map(|fingerprint| fingerprint.hash).max() else {
            return false;
        };
        offered.contains(&Self::of(certificate, strongest))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.hash.name())?;
        for (index, byte) in self.bytes.iter().enumerate() {
            let separator = if index == 0 { ' ' } else { ':' };
            write!(formatter, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for FingerprintHash {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseFingerprintError::UnknownHash { name: text.chars().take(MAX_NAME).collect() })
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(' ').ok_or(ParseFingerprintError::Shape)?;
        if name.is_empty() || value.contains(' ') {
            return Err(ParseFingerprintError::Shape);
        }
        let hash: FingerprintHash = name.parse()?;
        let expected = hash.length();
        // Two digits and a colon for each byte but the last: nothing longer is worth reading.
        if value.len() > expected * 3 {
            return Err(ParseFingerprintError::Length { expected, found: (value.len() + 1) / 3 });
        }
        let bytes =
            value.split(':').map(byte).collect::<Option<Vec<u8>>>().ok_or(ParseFingerprintError::Hexadecimal)?;
        if bytes.len() != expected {
            return Err(ParseFingerprintError::Length { expected, found: bytes.len() });
        }
        Ok(Self { hash, bytes })
    }
}

/// Exactly two hexadecimal digits (`from_str_radix` alone would take a sign).
fn byte(pair: &str) -> Option<u8> {
    let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
}

/// How much of an unknown hash's name is kept, in characters: it comes from the peer.
const MAX_NAME: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &str =
        "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55";

    #[test]
    fn the_hash_of_nothing_is_the_well_known_one() {
        let fingerprint = Fingerprint::of(b"", FingerprintHash::Sha256);
        assert_eq!(fingerprint.to_string(), format!("sha-256 {VALUE}"));
    }

    #[test]
    fn names_and_digits_may_have_either_case() {
        let upper: Fingerprint = format!("SHA-256 {VALUE}").parse().unwrap();
        let lower: Fingerprint = format!("sha-256 {}", VALUE.to_lowercase()).parse().unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.to_string(), format!("sha-256 {VALUE}"));
    }

    #[test]
    fn a_strange_hash_is_named_in_the_error() {
        let error = format!("sha-1 {VALUE}").parse::<Fingerprint>().unwrap_err();
        assert_eq!(error, ParseFingerprintError::UnknownHash { name: "sha-1".to_owned() });
    }

    #[test]
    fn anything_but_pairs_of_digits_is_refused() {
        let broken = [
            (format!("sha-256  {VALUE}"), ParseFingerprintError::Shape),
            (format!(" {VALUE}"), ParseFingerprintError::Shape),
            (format!("sha-256 {VALUE} "), ParseFingerprintError::Shape),
            ("sha-256".to_owned(), ParseFingerprintError::Shape),
            ("sha-256 ".to_owned(), ParseFingerprintError::Hexadecimal),
            (format!("sha-256 +{}", &VALUE[1..]), ParseFingerprintError::Hexadecimal),
            (format!("sha-256 {}", VALUE.replace(':', "")), ParseFingerprintError::Hexadecimal),
            (format!("sha-256 {}", &VALUE[3..]), ParseFingerprintError::Length { expected: 32, found: 31 }),
            (format!("sha-256 {VALUE}:00"), ParseFingerprintError::Length { expected: 32, found: 33 }),
            (format!("sha-512 {VALUE}"), ParseFingerprintError::Length { expected: 64, found: 32 }),
        ];
        for (text, error) in broken {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn only_the_strongest_offered_hash_counts() {
        let right = |hash| Fingerprint::of(b"certificate", hash);
        let wrong = |hash| Fingerprint::of(b"another", hash);
        use FingerprintHash::{Sha256, Sha512};
        assert!(Fingerprint::any_matches(&[right(Sha256)], b"certificate"));
        assert!(Fingerprint::any_matches(&[wrong(Sha256), right(Sha256)], b"certificate"));
        assert!(Fingerprint::any_matches(&[wrong(Sha256), right(Sha512)], b"certificate"));
        assert!(!Fingerprint::any_matches(&[right(Sha256), wrong(Sha512)], b"certificate"));
        assert!(!Fingerprint::any_matches(&[], b"certificate"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            certificate in proptest::collection::vec(any::<u8>(), 0..64),
            hash in prop_oneof![
                Just(FingerprintHash::Sha256),
                Just(FingerprintHash::Sha384),
                Just(FingerprintHash::Sha512),
            ],
        ) {
            let fingerprint = Fingerprint::of(&certificate, hash);
            prop_assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        }

        #[test]
        fn a_text_that_is_read_is_written_the_same_but_for_case(text in "(?i)(sha-(256|384|512))( |:|[0-9A-F]{2}){0,70}") {
            if let Ok(fingerprint) = text.parse::<Fingerprint>() {
                prop_assert!(fingerprint.to_string().eq_ignore_ascii_case(&text));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,256}") {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
