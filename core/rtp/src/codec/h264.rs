//! H.264 in RTP (RFC 6184 §5): does a key frame start here?

/// Whether the packet holds a sequence parameter set, which encoders for calls put before each IDR picture,
/// or starts an IDR picture by itself.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let Some((&head, rest)) = payload.split_first() else { return false };
    match head & TYPE {
        STAP_A => stapped(rest).any(is_key),
        FU_A => rest.first().is_some_and(|fragment| fragment & FIRST != 0 && is_key(fragment & TYPE)),
        kind => is_key(kind),
    }
}

/// The types of the units in an aggregation packet (§5.7.1).
fn stapped(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (size, units) = rest.split_first_chunk::<2>()?;
        let (unit, next) = units.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = next;
        unit.first().map(|head| head & TYPE)
    })
}

fn is_key(kind: u8) -> bool {
    kind == IDR || kind == SPS
}

const TYPE: u8 = 0x1f;
const FIRST: u8 = 0x80;
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_found_alone_aggregated_and_fragmented() {
        assert!(starts_key_frame(&[0x67, 1]));
        assert!(starts_key_frame(&[0x78, 0, 1, 0x68, 0, 2, 0x65, 9]));
        assert!(starts_key_frame(&[0x7c, 0x85, 1]));
        assert!(!starts_key_frame(&[0x7c, 0x05, 1]), "a later fragment");
        assert!(!starts_key_frame(&[0x61, 1]));
        assert!(!starts_key_frame(&[0x78, 0xff, 1, 0x65]), "a unit longer than its packet");
    }
}
