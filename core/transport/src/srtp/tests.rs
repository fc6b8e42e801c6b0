//! RFC vectors, and `rtc-srtp` as the oracle.

use lockgate_model::testing::cases;
use proptest::prelude::*;
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::context::Context;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::cipher::Gcm;
use super::*;
use crate::crypto::provider;

pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// RFC 7714 gives session keys: no derivation.
fn gcm(key: &str) -> Gcm {
    Gcm::from_session_keys(provider().crypto(), &hex(key), &hex("517569642070726f2071756f")).unwrap()
}

const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const RTP_HEADER: &str = "8040f17b8041f8d35501a0b2";
const RTP_PAYLOAD: &str = "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";

#[test]
fn rtp_is_sealed_and_opened_as_in_rfc_7714_section_16() {
    let expected = [
        (
            KEY_128,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            KEY_256,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (key, sealed) in expected {
        let mut cipher = gcm(key);
        let plain = [hex(RTP_HEADER), hex(RTP_PAYLOAD)].concat();
        let mut packet = plain.clone();
        packet.extend_from_slice(&[0; 16]);
        RtpCipher::seal(&mut cipher, &mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(packet[12..], hex(sealed));
        let len = RtpCipher::open(&mut cipher, &mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(packet[..len], plain);
    }
}

#[test]
fn rtcp_is_sealed_as_in_rfc_7714_section_17() {
    let mut cipher = gcm(KEY_128);
    let plain =
        hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    let mut packet = plain.clone();
    RtcpCipher::seal(&mut cipher, &mut packet, 0x4d61_7273, 0x5d4).unwrap();
    let sealed = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4";
    assert_eq!(packet, hex(sealed));
    assert_eq!(cipher.index(&packet), Ok(0x5d4));
    let len = RtcpCipher::open(&mut cipher, &mut packet, 0x4d61_7273, 0x5d4).unwrap();
    assert_eq!(packet[..len], plain);
}

const PROFILES: [(SrtpProfile, ProtectionProfile, usize, usize); 3] = [
    (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm, 16, 12),
    (SrtpProfile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm, 32, 12),
    (SrtpProfile::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80, 16, 14),
];

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn open(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let header = Header::parse(&packet).unwrap();
    let len = receiver.unprotect_rtp(&mut packet, &header)?;
    packet.truncate(len);
    Ok(packet)
}

fn seal(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + sender.overhead(), 0);
    let len = sender.protect_rtp(&mut packet, plain.len()).unwrap();
    packet.truncate(len);
    packet
}

proptest! {
    #![proptest_config(cases(48))]

    /// Long walks with gaps, reordering and wraps: both read what the other wrote, packet for packet.
    #[test]
    fn we_and_the_oracle_read_each_other(
        which in 0_usize..3,
        key in proptest::array::uniform32(any::<u8>()),
        start in any::<u16>(),
        steps in proptest::collection::vec((-20_i16..3000, proptest::collection::vec(any::<u8>(), 0..80)), 1..60),
    ) {
        let (profile, theirs, key_len, salt_len) = PROFILES[which];
        let (key, salt) = (&key[..key_len], &[7; 14][..salt_len]);
        let crypto = provider();
        let mut sender = Sender::new(crypto.crypto(), profile, key, salt).unwrap();
        let mut receiver = Receiver::new(crypto.crypto(), profile, key, salt).unwrap();
        let context = || Context::new(key, salt, theirs, Some(srtp_replay_protection(128)), None, crypto.crypto()).unwrap();
        let (mut writer, mut reader) = (context(), context());
        // Below the first packet lies another cycle for one side and nothing for the other: start with room.
        let mut sequence = start.max(64);
        for (step, payload) in steps {
            let plain = rtp(9, sequence, &payload);
            let (ours, oracle) = (seal(&mut sender, &plain), writer.encrypt_rtp(&plain).unwrap());
            prop_assert_eq!(&ours, &oracle[..]);
            prop_assert_eq!(open(&mut receiver, &oracle).ok(), reader.decrypt_rtp(&ours).ok().map(|packet| packet.to_vec()));
            sequence = sequence.wrapping_add_signed(step);
        }
    }

    #[test]
    fn rtcp_too(which in 0_usize..3, bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..15), 1..6)) {
        let (profile, theirs, key_len, salt_len) = PROFILES[which];
        let (key, salt) = (&[3; 32][..key_len], &[7; 14][..salt_len]);
        let crypto = provider();
        let mut sender = Sender::new(crypto.crypto(), profile, key, salt).unwrap();
        let mut receiver = Receiver::new(crypto.crypto(), profile, key, salt).unwrap();
        let context = || Context::new(key, salt, theirs, None, None, crypto.crypto()).unwrap();
        let (mut writer, mut reader) = (context(), context());
        for body in bodies {
            let mut plain = vec![0x80, 201, 0, body.len() as u8 + 1, 0, 0, 0, 5];
            body.iter().for_each(|byte| plain.extend_from_slice(&[*byte; 4]));
            let mut ours = plain.clone();
            sender.protect_rtcp(&mut ours).unwrap();
            prop_assert_eq!(&reader.decrypt_rtcp(&ours).unwrap()[..], &plain);
            let mut oracle = writer.encrypt_rtcp(&plain).unwrap().to_vec();
            let replayed = oracle.clone();
            let len = receiver.unprotect_rtcp(&mut oracle).unwrap();
            prop_assert_eq!(&oracle[..len], &plain);
            prop_assert_eq!(receiver.unprotect_rtcp(&mut replayed.clone()), Err(SrtpError::Replay));
        }
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_refused(which in 0_usize..3, at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (profile, _, key_len, salt_len) = PROFILES[which];
        let (key, salt) = (&[3; 32][..key_len], &[7; 14][..salt_len]);
        let crypto = provider();
        let mut receiver = Receiver::new(crypto.crypto(), profile, key, salt).unwrap();
        let packet = seal(&mut Sender::new(crypto.crypto(), profile, key, salt).unwrap(), &rtp(9, 1, b"payload"));
        let mut changed = packet.clone();
        // The first byte decides how the header is read; everything behind it must be authentic.
        let at = 1 + at.index(changed.len() - 1);
        changed[at] ^= 1_u8 << bit;
        prop_assert_eq!(open(&mut receiver, &changed), Err(SrtpError::Authentication));
        prop_assert!(open(&mut receiver, &packet).is_ok(), "a refused packet changed something");
        prop_assert_eq!(open(&mut receiver, &packet), Err(SrtpError::Replay));
    }

    #[test]
    fn no_bytes_panic(which in 0_usize..3, mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (profile, _, key_len, salt_len) = PROFILES[which];
        let mut receiver = Receiver::new(provider().crypto(), profile, &[3; 32][..key_len], &[7; 14][..salt_len]).unwrap();
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(receiver.unprotect_rtp(&mut bytes.clone(), &header).is_err());
        }
        prop_assert!(receiver.unprotect_rtcp(&mut bytes).is_err());
    }
}

#[test]
fn a_connection_has_a_bounded_number_of_sources() {
    let crypto = provider();
    let new = |key: &[u8]| Sender::new(crypto.crypto(), SrtpProfile::AeadAes128Gcm, key, &[0; 12]).unwrap();
    let mut receiver = Receiver::new(crypto.crypto(), SrtpProfile::AeadAes128Gcm, &[1; 16], &[0; 12]).unwrap();
    let mut sender = new(&[1; 16]);
    for ssrc in 0..MAX_SOURCES as u32 {
        assert!(open(&mut receiver, &seal(&mut sender, &rtp(ssrc, 0, b"x"))).is_ok());
    }
    assert_eq!(open(&mut receiver, &seal(&mut sender, &rtp(u32::MAX, 0, b"x"))), Err(SrtpError::TooManySources));
}
