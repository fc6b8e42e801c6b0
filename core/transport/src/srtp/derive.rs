//! Session keys from master keys (RFC 3711 §4.3), with a key derivation rate of zero.

use rtc_crypto::{BlockCipherAlgorithm, CryptoError, RTCCrypto};

/// What a derived key is for.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// `length` bytes for `label`. A salt of 12 bytes (RFC 7714) counts as 14 with two zeros behind (§11 there).
pub(super) fn derive(
    crypto: &dyn RTCCrypto,
    key: &[u8],
    salt: &[u8],
    label: Label,
    length: usize,
) -> Result<Vec<u8>, CryptoError> {
    let algorithm = if key.len() == 32 { BlockCipherAlgorithm::Aes256 } else { BlockCipherAlgorithm::Aes128 };
    let mut block = [0_u8; 16];
    let known = salt.len().min(14);
    block[..known].copy_from_slice(&salt[..known]);
    block[7] ^= label as u8;
    let mut stream = Vec::with_capacity(length.next_multiple_of(16));
    for counter in 0..length.div_ceil(16) as u16 {
        let mut one = block;
        one[14..].copy_from_slice(&counter.to_be_bytes());
        crypto.block_encrypt(algorithm, key, &mut one)?;
        stream.extend_from_slice(&one);
    }
    stream.truncate(length);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use rtc_crypto::RTCCryptoProvider;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_those_of_rfc_3711_appendix_b_3() {
        let provider = crate::crypto::provider();
        let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
        let derived = |label, length| derive(provider.crypto(), &key, &salt, label, length).unwrap();
        assert_eq!(derived(Label::RtpKey, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(Label::RtpSalt, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68";
        assert_eq!(derived(Label::RtpAuth, 94), hex(auth)[..94]);
    }
}
