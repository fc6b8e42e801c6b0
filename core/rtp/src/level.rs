//! How loud a packet's sound is, as its sender says in a header extension (RFC 6464).

use lockgate_model::Loudness;

/// The loudness in the value of a `ssrc-audio-level` element (RFC 6464 §3). Whether the sender takes it for a voice is not
/// looked at: encoders do not agree on what that is, and many leave it out.
pub fn audio_level(value: &[u8]) -> Option<Loudness> {
    value.first().map(|first| Loudness::below_loudest(first & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_with_and_without_voice() {
        assert_eq!(audio_level(&[0x80 | 30]).map(Loudness::dbov), Some(-30));
        assert_eq!(audio_level(&[30, 0]).map(Loudness::dbov), Some(-30));
        assert_eq!(audio_level(&[0x7f]), Some(Loudness::SILENCE));
        assert_eq!(audio_level(&[]), None);
    }
}
