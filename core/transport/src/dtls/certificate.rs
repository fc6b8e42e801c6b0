//! Our identity towards peers, and the libraries' configurations that are made from it once.

use std::sync::Arc;
use std::time::Duration;

use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::DtlsError;
use super::fingerprint::{Fingerprint, FingerprintHash};
use super::keys::SrtpProfile;

/// A self-signed ECDSA P-256 certificate with its key. One serves a whole process; clones share it.
#[derive(Clone)]
pub struct Certificate {
    shared: Arc<Shared>,
}

struct Shared {
    fingerprint: Fingerprint,
    /// One for each of [`SrtpProfile::ALL`], offering it alone.
    rtc_servers: Vec<Arc<HandshakeConfig>>,
    rtc_client: Arc<HandshakeConfig>,
    dimpl: Arc<dimpl::Config>,
    dimpl_certificate: dimpl::DtlsCertificate,
}

impl Certificate {
    /// Draws a key from the system's randomness and signs a certificate with it. About a millisecond; call it once.
    ///
    /// # Errors
    /// When a library refuses its own defaults: there is no randomness, or an algorithm is missing.
    pub fn generate() -> Result<Self, DtlsError> {
        let provider = Arc::new(AwsLcRsProvider::new());
        let names = vec![NAME.to_owned()];
        let certificate = rtc_dtls::crypto::Certificate::generate_self_signed(names, provider.crypto())?;
        let leaf = certificate.certificate.first().ok_or(DtlsError::KeyNotExportable)?.to_vec();
        let key = certificate.private_key.signing_key.to_pkcs8_der().ok().flatten();
        let key = key.ok_or(DtlsError::KeyNotExportable)?;
        let rtc = RtcConfigs { provider, certificate };
        let shared = Shared {
            fingerprint: Fingerprint::of(&leaf, FingerprintHash::Sha256),
            rtc_servers: SrtpProfile::ALL.iter().map(|profile| rtc.server(*profile)).collect::<Result<_, _>>()?,
            rtc_client: rtc.client()?,
            dimpl: Arc::new(dimpl_config()?),
            dimpl_certificate: dimpl::DtlsCertificate { certificate: leaf, private_key: key.into_bytes() },
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The SHA-256 fingerprint for `a=fingerprint`.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.shared.fingerprint
    }

    /// A server's configuration offering the profile at that place of [`SrtpProfile::ALL`] alone.
    pub(super) fn rtc_server(&self, profile: usize) -> Option<Arc<HandshakeConfig>> {
        self.shared.rtc_servers.get(profile).cloned()
    }

    pub(super) fn rtc_client(&self) -> Arc<HandshakeConfig> {
        self.shared.rtc_client.clone()
    }

    pub(super) fn dimpl(&self) -> (Arc<dimpl::Config>, dimpl::DtlsCertificate) {
        (self.shared.dimpl.clone(), self.shared.dimpl_certificate.clone())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Certificate").field(&self.shared.fingerprint).finish()
    }
}

/// What all configurations of `rtc-dtls` have in common.
struct RtcConfigs {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: rtc_dtls::crypto::Certificate,
}

impl RtcConfigs {
    fn server(&self, profile: SrtpProfile) -> Result<Arc<HandshakeConfig>, DtlsError> {
        let builder = self.common().with_srtp_protection_profiles(vec![rtc_profile(profile)]);
        Ok(Arc::new(builder.build(false, None)?))
    }

    fn client(&self) -> Result<Arc<HandshakeConfig>, DtlsError> {
        let profiles = SrtpProfile::ALL.map(rtc_profile).to_vec();
        Ok(Arc::new(self.common().with_srtp_protection_profiles(profiles).build(true, None)?))
    }

    fn common(&self) -> ConfigBuilder {
        ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            ])
            // The default asks for no client certificate; without one there is no fingerprint to compare.
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates are self-signed: the fingerprint takes the place of a chain.
            .with_insecure_skip_verify(true)
            .with_server_name(NAME.to_owned())
    }
}

/// The owner of an association has addresses proven by ICE, so the cookie would only cost a round trip. Retries and
/// deadline follow the other engine's.
fn dimpl_config() -> Result<dimpl::Config, DtlsError> {
    let config = dimpl::Config::builder()
        .use_server_cookie(false)
        .flight_start_rto(Duration::from_millis(100))
        .flight_retries(8)
        .handshake_timeout(super::HANDSHAKE_TIMEOUT);
    config.build().map_err(DtlsError::Dimpl)
}

fn rtc_profile(profile: SrtpProfile) -> SrtpProtectionProfile {
    match profile {
        SrtpProfile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProfile::AeadAes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        SrtpProfile::AesCm128HmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    }
}

/// In the certificate and as the name we ask servers for. Nobody checks it.
const NAME: &str = "lockgate";
