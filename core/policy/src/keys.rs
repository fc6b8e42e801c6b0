//! Key rings: the native side of the import `jwt`.
//!
//! A ring pins its algorithms and the kind of its keys when it is loaded; what a token's header says only selects among
//! them. Nothing here logs or keeps a token.

use std::collections::BTreeMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use crate::config::{KeyMaterial, KeyRing};

/// All key rings, by name.
#[derive(Default)]
pub(crate) struct KeyRings(BTreeMap<String, Verifier>);

/// What a good token says.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadToken {
    Malformed,
    Algorithm,
    Key,
    Signature,
    NoExpiry,
    Expired,
    NotYetValid,
    Issuer,
    Audience,
    KeyRing,
}

struct Verifier {
    algorithms: Vec<Algorithm>,
    keys: Vec<Key>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_ms: u64,
}

/// A key, bound to one algorithm: so no token can have an RSA key taken for an HMAC secret.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeyRings {
    /// Reads all rings, and names each that cannot be used.
    pub(crate) fn load(rings: &BTreeMap<String, KeyRing>) -> Result<Self, Vec<(String, String)>> {
        let mut loaded = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, ring) in rings {
            match Verifier::new(ring) {
                Ok(verifier) => drop(loaded.insert(name.clone(), verifier)),
                Err(problem) => problems.push((name.clone(), problem)),
            }
        }
        if problems.is_empty() { Ok(Self(loaded)) } else { Err(problems) }
    }

    pub(crate) fn verify(&self, ring: &str, token: &str, now_ms: u64) -> Result<Verified, BadToken> {
        self.0.get(ring).ok_or(BadToken::KeyRing)?.verify(token, now_ms)
    }
}

impl Verifier {
    fn new(ring: &KeyRing) -> Result<Self, String> {
        let algorithms = algorithms(&ring.algorithms)?;
        let keys = match &ring.keys {
            KeyMaterial::Secret(secret) => secret_keys(&algorithms, secret)?,
            KeyMaterial::Pem(pem) => pem_keys(&algorithms, pem)?,
            KeyMaterial::Jwks(json) => jwks(&algorithms, json)?,
        };
        Ok(Self {
            algorithms,
            keys,
            issuers: ring.issuers.clone(),
            audiences: ring.audiences.clone(),
            leeway_ms: u64::try_from(ring.leeway.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn verify(&self, token: &str, now_ms: u64) -> Result<Verified, BadToken> {
        if token.len() > MAX_TOKEN {
            return Err(BadToken::Malformed);
        }
        let header = decode_header(token).map_err(|_| BadToken::Malformed)?;
        // RFC 7515 §4.1.11: what must be understood and is not makes the token invalid.
        if header.crit.is_some() {
            return Err(BadToken::Malformed);
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(BadToken::Algorithm);
        }
        let key = self.key(header.kid.as_deref(), header.alg)?;
        let mut validation = Validation::new(key.algorithm);
        // Times, issuer and audience are checked below, against the time of the question.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let token = decode::<Map<String, Value>>(token, &key.key, &validation).map_err(|e| cause(e.kind()))?;
        self.check(&token.claims, now_ms)?;
        Ok(Verified { algorithm: format!("{:?}", key.algorithm), key_id: header.kid, claims: token.claims })
    }

    /// The key that the token names, or the only one there is.
    fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, BadToken> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        if id.is_none() || self.keys.iter().all(|key| key.id.is_none()) {
            let only = fitting.next().ok_or(BadToken::Key)?;
            return if fitting.next().is_none() { Ok(only) } else { Err(BadToken::Key) };
        }
        fitting.find(|key| key.id.as_deref() == id).ok_or(BadToken::Key)
    }

    fn check(&self, claims: &Map<String, Value>, now_ms: u64) -> Result<(), BadToken> {
        let end = milliseconds(claims, "exp")?.ok_or(BadToken::NoExpiry)?;
        if end.saturating_add(self.leeway_ms) <= now_ms {
            return Err(BadToken::Expired);
        }
        if milliseconds(claims, "nbf")?.is_some_and(|start| start > now_ms.saturating_add(self.leeway_ms)) {
            return Err(BadToken::NotYetValid);
        }
        if !self.issuers.is_empty() && !says_one_of(claims.get("iss"), &self.issuers) {
            return Err(BadToken::Issuer);
        }
        let audience = match claims.get("aud") {
            Some(Value::Array(many)) => many.iter().any(|one| says_one_of(Some(one), &self.audiences)),
            one => says_one_of(one, &self.audiences),
        };
        if !self.audiences.is_empty() && !audience {
            return Err(BadToken::Audience);
        }
        Ok(())
    }
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, String> {
    if names.is_empty() {
        return Err("it allows no algorithm".into());
    }
    let known = |name: &String| name.parse().map_err(|_| format!("there is no algorithm {name:?} here"));
    names.iter().map(known).collect()
}

fn secret_keys(algorithms: &[Algorithm], secret: &[u8]) -> Result<Vec<Key>, String> {
    if secret.is_empty() {
        return Err("the secret is empty".into());
    }
    match algorithms.iter().find(|algorithm| algorithm.family() != AlgorithmFamily::Hmac) {
        Some(other) => Err(format!("{other:?} needs a public key, not a secret")),
        None => Ok(algorithms.iter().map(|one| Key::new(*one, DecodingKey::from_secret(secret))).collect()),
    }
}

fn pem_keys(algorithms: &[Algorithm], pem: &[u8]) -> Result<Vec<Key>, String> {
    let read = |algorithm: &Algorithm| {
        let key = match algorithm.family() {
            AlgorithmFamily::Hmac => return None,
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        };
        key.ok().map(|key| Key::new(*algorithm, key))
    };
    let keys: Vec<_> = algorithms.iter().filter_map(read).collect();
    if keys.is_empty() { Err(format!("the PEM holds no public key for {algorithms:?}")) } else { Ok(keys) }
}

fn jwks(algorithms: &[Algorithm], json: &[u8]) -> Result<Vec<Key>, String> {
    // The error's own text could quote the key.
    let set: JwkSet = serde_json::from_slice(json).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        for algorithm in algorithms.iter().filter(|algorithm| fits(**algorithm, jwk)) {
            let key = DecodingKey::from_jwk(jwk).map_err(|_| "a key of the set is damaged".to_owned())?;
            keys.push(Key { id: jwk.common.key_id.clone(), ..Key::new(*algorithm, key) });
        }
    }
    if keys.is_empty() { Err(format!("the set holds no key for {algorithms:?}")) } else { Ok(keys) }
}

fn fits(algorithm: Algorithm, jwk: &Jwk) -> bool {
    let for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let for_this = jwk.common.key_algorithm.is_none_or(|own| own.to_string() == format!("{algorithm:?}"));
    let kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        (AlgorithmParameters::RSA(_), algorithm) => algorithm.family() == AlgorithmFamily::Rsa,
        (AlgorithmParameters::OctetKey(_), algorithm) => algorithm.family() == AlgorithmFamily::Hmac,
        _ => false,
    };
    for_signatures && for_this && kind
}

impl Key {
    fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self { id: None, algorithm, key }
    }
}

fn cause(kind: &ErrorKind) -> BadToken {
    match kind {
        ErrorKind::InvalidAlgorithm => BadToken::Algorithm,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => BadToken::Malformed,
        _ => BadToken::Signature,
    }
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, perhaps with a fraction.
fn milliseconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, BadToken> {
    match claims.get(name) {
        None => Ok(None),
        // A float beyond the range saturates, which is what is meant by it.
        Some(value) => Ok(Some((value.as_f64().ok_or(BadToken::Malformed)? * 1e3) as u64)),
    }
}

fn says_one_of(value: Option<&Value>, allowed: &[String]) -> bool {
    value.and_then(Value::as_str).is_some_and(|value| allowed.iter().any(|one| one == value))
}

/// Longest token, in bytes.
const MAX_TOKEN: usize = 8 << 10;

#[cfg(test)]
mod tests;
