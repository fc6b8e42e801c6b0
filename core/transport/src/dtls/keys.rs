//! What a finished handshake leaves to SRTP: the protection profile with both directions' master keys and salts.
//!
//! Deriving session keys from them is SRTP's business (RFC 3711 §4.3).

use rtc_crypto::SecretVec;

use super::Role;

/// The SRTP protection profiles we accept, best first (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM` (7): a quarter of the cost per packet of the HMAC profile.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (8).
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (1): what every client has, older ones nothing else.
    AesCm128HmacSha1_80,
}

/// The master keys of one association, as seen from our side. Wiped when dropped, hidden from `Debug`.
#[derive(Clone, Debug)]
pub struct SrtpKeys {
    /// How packets are protected.
    pub profile: SrtpProfile,
    /// Seals what we send; [`SrtpProfile::key_length`] bytes.
    pub local_key: SecretVec,
    /// Goes with `local_key`; [`SrtpProfile::salt_length`] bytes.
    pub local_salt: SecretVec,
    /// Opens what the peer sends; [`SrtpProfile::key_length`] bytes.
    pub remote_key: SecretVec,
    /// Goes with `remote_key`; [`SrtpProfile::salt_length`] bytes.
    pub remote_salt: SecretVec,
}

impl SrtpProfile {
    /// The profiles in the order we prefer them.
    pub const ALL: [Self; 3] = [Self::AeadAes128Gcm, Self::AeadAes256Gcm, Self::AesCm128HmacSha1_80];

    /// The master key's length, in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// The master salt's length, in bytes.
    pub const fn salt_length(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// How much keying material is exported for both directions, in bytes (RFC 5764 §4.2).
    pub(super) const fn material_length(self) -> usize {
        2 * (self.key_length() + self.salt_length())
    }
}

impl SrtpKeys {
    /// Cuts the exported material, which holds the client's key, the server's key, the client's salt and the server's
    /// salt (RFC 5764 §4.2). Anything but [`SrtpProfile::material_length`] bytes gives nothing.
    pub(super) fn cut(profile: SrtpProfile, role: Role, material: &[u8]) -> Option<Self> {
        if material.len() != profile.material_length() {
            return None;
        }
        let (keys, salts) = material.split_at(2 * profile.key_length());
        let (client_key, server_key) = keys.split_at(profile.key_length());
        let (client_salt, server_salt) = salts.split_at(profile.salt_length());
        let secret = |bytes: &[u8]| SecretVec::new(bytes.to_vec());
        let (client, server) = ((secret(client_key), secret(client_salt)), (secret(server_key), secret(server_salt)));
        let (local, remote) = match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Some(Self { profile, local_key: local.0, local_salt: local.1, remote_key: remote.0, remote_salt: remote.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_material_holds_client_before_server_and_keys_before_salts() {
        let material: Vec<u8> = (0..60).collect();
        let profile = SrtpProfile::AesCm128HmacSha1_80;
        let server = SrtpKeys::cut(profile, Role::Server, &material).unwrap();
        assert_eq!(server.remote_key.as_ref(), &material[0..16]);
        assert_eq!(server.local_key.as_ref(), &material[16..32]);
        assert_eq!(server.remote_salt.as_ref(), &material[32..46]);
        assert_eq!(server.local_salt.as_ref(), &material[46..60]);
        let client = SrtpKeys::cut(profile, Role::Client, &material).unwrap();
        assert_eq!(client.local_key.as_ref(), server.remote_key.as_ref());
        assert_eq!(client.local_salt.as_ref(), server.remote_salt.as_ref());
    }

    #[test]
    fn each_profile_takes_its_own_length_only() {
        let lengths = SrtpProfile::ALL.map(SrtpProfile::material_length);
        assert_eq!(lengths, [56, 88, 60]);
        assert!(SrtpKeys::cut(SrtpProfile::AeadAes128Gcm, Role::Server, &[0; 60]).is_none());
    }

    #[test]
    fn keys_never_show_in_debug_output() {
        let keys = SrtpKeys::cut(SrtpProfile::AeadAes128Gcm, Role::Server, &[0xAB; 56]).unwrap();
        let text = format!("{keys:?}").to_lowercase();
        assert!(!text.contains("ab, ") && !text.contains("171"), "{text}");
    }
}
