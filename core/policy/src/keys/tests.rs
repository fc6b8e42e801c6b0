use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn claims(further: Value) -> Value {
    let mut claims = json!({ "sub": "a", "exp": NOW_MS / 1000 + 60 });
    claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    claims
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}

fn hs256(further: Value) -> String {
    signed(&Header::new(Algorithm::HS256), &claims(further), &EncodingKey::from_secret(b"secret"))
}

fn ring(algorithms: &[&str], keys: KeyMaterial) -> KeyRing {
    let algorithms = algorithms.iter().map(|name| (*name).to_owned()).collect();
    KeyRing { algorithms, keys, ..KeyRing::hs256("secret") }
}

fn verify(ring: &KeyRing, token: &str) -> Result<Verified, BadToken> {
    Verifier::new(ring).unwrap().verify(token, NOW_MS)
}

fn bad(ring: &KeyRing, further: Value) -> Option<BadToken> {
    verify(ring, &hs256(further)).err()
}

#[test]
fn times_are_those_of_the_question_with_leeway() {
    let ring = KeyRing { leeway: Duration::from_secs(5), ..KeyRing::hs256("secret") };
    let now = NOW_MS / 1000;
    assert_eq!(bad(&ring, json!({ "exp": now - 4, "nbf": now + 5 })), None);
    assert_eq!(bad(&ring, json!({ "exp": now - 5 })), Some(BadToken::Expired));
    assert_eq!(bad(&ring, json!({ "nbf": now + 6 })), Some(BadToken::NotYetValid));
    assert_eq!(bad(&ring, json!({ "exp": "soon" })), Some(BadToken::Malformed));
    let endless = signed(&Header::default(), &json!({ "sub": "a" }), &EncodingKey::from_secret(b"secret"));
    assert_eq!(verify(&ring, &endless).err(), Some(BadToken::NoExpiry));
}

#[test]
fn issuer_and_audience_must_be_named_when_they_are_configured() {
    let ring = KeyRing { issuers: vec!["me".into()], audiences: vec!["us".into()], ..KeyRing::hs256("secret") };
    assert_eq!(bad(&ring, json!({ "iss": "me", "aud": "us" })), None);
    assert_eq!(bad(&ring, json!({ "iss": "me", "aud": ["them", "us"] })), None);
    assert_eq!(bad(&ring, json!({ "aud": "us" })), Some(BadToken::Issuer));
    assert_eq!(bad(&ring, json!({ "iss": "me", "aud": ["them"] })), Some(BadToken::Audience));
    assert_eq!(bad(&ring, json!({ "iss": "me" })), Some(BadToken::Audience));
    assert_eq!(bad(&KeyRing::hs256("secret"), json!({ "iss": "x", "aud": "y" })), None);
}

#[test]
fn a_public_key_cannot_be_taken_for_a_secret() {
    let ring = ring(&["ES256", "EdDSA", "HS256"], KeyMaterial::Pem(EC_PUBLIC.into()));
    let good =
        signed(&Header::new(Algorithm::ES256), &claims(json!({})), &EncodingKey::from_ec_pem(EC_PRIVATE).unwrap());
    assert_eq!(verify(&ring, &good).unwrap().algorithm, "ES256");
    let forged = signed(&Header::new(Algorithm::HS256), &claims(json!({})), &EncodingKey::from_secret(EC_PUBLIC));
    assert_eq!(verify(&ring, &forged).err(), Some(BadToken::Key));
}

#[test]
fn an_algorithm_that_is_not_pinned_is_refused() {
    let other = signed(&Header::new(Algorithm::HS512), &claims(json!({})), &EncodingKey::from_secret(b"secret"));
    assert_eq!(verify(&KeyRing::hs256("secret"), &other).err(), Some(BadToken::Algorithm));
    let wide = ring(&["HS256", "HS512"], KeyMaterial::Secret(b"secret".to_vec()));
    assert_eq!(verify(&wide, &other).unwrap().algorithm, "HS512");
    assert!(Verifier::new(&ring(&[], KeyMaterial::Secret(b"secret".to_vec()))).is_err());
}

#[test]
fn a_key_set_is_searched_by_key_id() {
    let set = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": ED_X },
        { "kty": "OKP", "crv": "Ed25519", "kid": "two", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    ]});
    let ring = ring(&["EdDSA"], KeyMaterial::Jwks(set.to_string().into_bytes()));
    let token = |id: Option<&str>| {
        let header = Header { kid: id.map(Into::into), ..Header::new(Algorithm::EdDSA) };
        signed(&header, &claims(json!({})), &EncodingKey::from_ed_pem(ED_PRIVATE).unwrap())
    };
    assert_eq!(verify(&ring, &token(Some("one"))).unwrap().key_id.as_deref(), Some("one"));
    assert_eq!(verify(&ring, &token(Some("two"))).err(), Some(BadToken::Signature));
    assert_eq!(verify(&ring, &token(Some("three"))).err(), Some(BadToken::Key));
    assert_eq!(verify(&ring, &token(None)).err(), Some(BadToken::Key), "which of the two?");
}

#[test]
fn a_header_that_must_be_understood_is_not() {
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    let token = signed(&header, &claims(json!({})), &EncodingKey::from_secret(b"secret"));
    assert_eq!(verify(&KeyRing::hs256("secret"), &token).err(), Some(BadToken::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_is_taken_for_a_token(text in "[A-Za-z0-9_.{}\":-]{0,80}|.{0,40}") {
        prop_assert!(verify(&KeyRing::hs256("secret"), &text).is_err());
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(place in any::<prop::sample::Index>(), byte in b'!'..b'~') {
        let mut token = hs256(json!({})).into_bytes();
        let place = place.index(token.len());
        prop_assume!(token[place] != byte);
        token[place] = byte;
        prop_assert!(verify(&KeyRing::hs256("secret"), &String::from_utf8(token).unwrap()).is_err());
    }
}

// Made for these tests.
const ED_X: &str = "rSRlZukS7_naDoUeB3zsWwGbPGo6DuuPTFLHjD8Gvwo";
const ED_PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIOvfEUI5wIBlVdaNHy7Ry/S2hpfS8YYsEOGgsGi74V4s
-----END PRIVATE KEY-----
";
const EC_PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvirSDK5akAT9UfwadHj5TFq0w7w/
qx7kn9ise7qWu0kDtZDoBZ8JCwC1MXCoPyh+qHSB7ybJXQQVZAtIDdfaJg==
-----END PUBLIC KEY-----
";
const EC_PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxcv95k/Eqr0Ix1KY
9zXuOKT9k2/YHkEe3b4D+DL+LFuhRANCAAS+KtIMrlqQBP1R/Bp0ePlMWrTDvD+r
HuSf2Kx7upa7SQO1kOgFnwkLALUxcKg/KH6odIHvJsldBBVkC0gN19om
-----END PRIVATE KEY-----
";
