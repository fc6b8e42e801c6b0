//! A client on the bare `rtc-dtls`, for what ours would never do: other SRTP profiles, RSA, small fragments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use lockgate_transport::dtls::{Fingerprint, FingerprintHash, SrtpKeys, SrtpProfile};
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_crypto::{RTCCryptoProvider, SecretVec};
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use crate::network::Peer;

pub(crate) const GCM_128: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
pub(crate) const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;
pub(crate) const CM_80: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
pub(crate) const CM_32: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32;

/// What the client is like.
pub(crate) struct Options {
    pub(crate) profiles: Vec<SrtpProtectionProfile>,
    pub(crate) algorithm: &'static rcgen::SignatureAlgorithm,
    pub(crate) mtu: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { profiles: vec![GCM_128], algorithm: &rcgen::PKCS_ECDSA_P256_SHA256, mtu: 1_200 }
    }
}

/// The client.
pub(crate) struct BareClient {
    endpoint: Endpoint,
    config: Arc<HandshakeConfig>,
    pub(crate) fingerprint: Fingerprint,
    keys: Option<SrtpKeys>,
    pub(crate) server_closed: bool,
}

impl BareClient {
    pub(crate) fn new(options: Options) -> Self {
        let provider = Arc::new(AwsLcRsProvider::new());
        let certificate =
            Certificate::generate_self_signed_with_alg(Vec::new(), options.algorithm, provider.crypto()).unwrap();
        let fingerprint = Fingerprint::of(&certificate.certificate[0], FingerprintHash::Sha256);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(options.profiles)
            .with_insecure_skip_verify(true)
            .with_server_name("test".to_owned())
            .with_mtu(options.mtu)
            .build(true, None)
            .unwrap();
        let endpoint = Endpoint::new(address(1), TransportProtocol::UDP, None);
        Self { endpoint, config: Arc::new(config), fingerprint, keys: None, server_closed: false }
    }

    fn export(&self) -> Option<SrtpKeys> {
        let state = self.endpoint.get_connection_state(address(2))?;
        let profile = match state.srtp_protection_profile() {
            GCM_128 => SrtpProfile::AeadAes128Gcm,
            GCM_256 => SrtpProfile::AeadAes256Gcm,
            CM_80 => SrtpProfile::AesCm128HmacSha1_80,
            _ => return None,
        };
        let (key, salt) = (profile.key_length(), profile.salt_length());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt)).unwrap().into_bytes();
        let part = |start: usize, length: usize| SecretVec::new(material[start..start + length].to_vec());
        Some(SrtpKeys {
            profile,
            local_key: part(0, key),
            remote_key: part(key, key),
            local_salt: part(2 * key, salt),
            remote_salt: part(2 * key + salt, salt),
        })
    }
}

impl Peer for BareClient {
    fn start(&mut self, now: Instant) {
        self.endpoint.connect(now, address(2), self.config.clone(), None).unwrap();
    }

    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let events = self.endpoint.read(now, address(2), None, BytesMut::from(datagram)).unwrap_or_default();
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => self.keys = self.export(),
                EndpointEvent::PeerClosed => self.server_closed = true,
                _ => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(address(2), now).ok();
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message.to_vec())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&address(2))
    }

    fn keys(&self) -> Option<&SrtpKeys> {
        self.keys.as_ref()
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
