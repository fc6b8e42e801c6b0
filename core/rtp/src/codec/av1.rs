//! AV1 in RTP: does a coded video sequence start here?

/// The N bit of the aggregation header (AV1 RTP payload format §4.4): set on the first packet of a coded video sequence,
/// which begins with a key frame.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    payload.first().is_some_and(|head| head & NEW_SEQUENCE != 0 && head & CONTINUES == 0)
}

const CONTINUES: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_starts_where_the_header_says_so() {
        assert!(starts_key_frame(&[0x18, 0x0a]));
        assert!(!starts_key_frame(&[0x10, 0x32]));
        assert!(!starts_key_frame(&[]));
    }
}
