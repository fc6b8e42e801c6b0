//! Who is it: a token through `jwt-auth` and the host's verification, by the algorithm that it is signed with.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lockgate_policy::kit::Times;
use lockgate_policy::{KeyMaterial, KeyRing};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Runtime;

use super::load::{self, NOW_MS, SECRET};
use super::median;

/// What a token of an algorithm costs, from the question to the identity.
#[derive(Debug, Serialize)]
pub(super) struct AuthRow {
    pub(super) algorithm: &'static str,
    #[serde(flatten)]
    pub(super) times: Times,
}

/// A key that tokens are signed with, and what they are verified with.
struct Signer {
    algorithm: &'static str,
    keys: KeyMaterial,
    sign: Sign,
}

/// Makes a signature of a text.
type Sign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Unspecified>>;

pub(super) fn measure(runtime: &Runtime, plugins: &Path, turns: u32, rounds: usize) -> Result<Vec<AuthRow>> {
    let signers = signers().ok().context("no keys can be made")?;
    signers.into_iter().map(|signer| row(runtime, plugins, turns, rounds, signer)).collect()
}

fn row(runtime: &Runtime, plugins: &Path, turns: u32, rounds: usize, signer: Signer) -> Result<AuthRow> {
    let token = signer.token()?;
    let ring = KeyRing { algorithms: vec![signer.algorithm.into()], keys: signer.keys, ..KeyRing::hs256(SECRET) };
    let policy = load::host(vec![load::plugin(plugins, "jwt-auth", json!({}))], ring)?;
    let times = median(turns, || {
        let mut taken = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            let identity = runtime.block_on(policy.authenticate(load::auth(&token)));
            taken.push(started.elapsed());
            ensure!(identity.is_ok(), "{}: {identity:?}", signer.algorithm);
        }
        Ok(Times::of(taken))
    })?;
    Ok(AuthRow { algorithm: signer.algorithm, times })
}

/// A token for the shipped plugins, good for an hour.
pub(super) fn hs256() -> Result<String> {
    hmac_signer().token()
}

impl Signer {
    fn token(&self) -> Result<String> {
        let header = json!({ "alg": self.algorithm, "typ": "JWT" });
        let claims = json!({ "sub": "viewer-1", "name": "A viewer", "role": "viewer", "exp": NOW_MS / 1000 + 3600 });
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = (self.sign)(signed.as_bytes()).ok().context("a key signs")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn signers() -> Result<[Signer; 4], Unspecified> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let ed = Ed25519KeyPair::generate()?;
    Ok([
        hmac_signer(),
        Signer {
            algorithm: "RS256",
            keys: pem(&AsDer::<PublicKeyX509Der<'_>>::as_der(rsa.public_key())?),
            sign: Box::new(move |text| {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)?;
                Ok(signature)
            }),
        },
        Signer {
            algorithm: "ES256",
            keys: pem(&AsDer::<PublicKeyX509Der<'_>>::as_der(ec.public_key())?),
            sign: Box::new(move |text| Ok(ec.sign(&SystemRandom::new(), text)?.as_ref().to_vec())),
        },
        Signer {
            algorithm: "EdDSA",
            keys: pem(&AsDer::<PublicKeyX509Der<'_>>::as_der(ed.public_key())?),
            sign: Box::new(move |text| Ok(ed.sign(text).as_ref().to_vec())),
        },
    ])
}

fn hmac_signer() -> Signer {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let sign = Box::new(move |text: &[u8]| Ok(hmac::sign(&key, text).as_ref().to_vec()));
    Signer { algorithm: "HS256", keys: KeyMaterial::Secret(SECRET.to_vec()), sign }
}

fn pem(key: &PublicKeyX509Der<'_>) -> KeyMaterial {
    let text = STANDARD.encode(key.as_ref());
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    KeyMaterial::Pem(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")).into())
}
