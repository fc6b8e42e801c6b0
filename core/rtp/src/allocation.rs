//! The video layers allocation: what a publisher spends on each of its layers.
//!
//! <https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/video-layers-allocation00>. It comes with key
//! frames and changes, on each of a track's streams, and tells of all of them.

/// What a publisher spends on the layers of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayersAllocation {
    /// Which stream it came on, counted as the publisher counts them.
    pub stream: u8,
    /// How many streams there are, 1…4.
    pub count: u8,
    streams: [[Option<LayerRates>; MAX]; MAX],
}

/// Kilobits a second that it takes to receive a spatial layer up to each of its temporal layers, with everything below.
type LayerRates = [u32; MAX];

impl LayersAllocation {
    /// Reads the extension's value. None: it cannot be read.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&head, mut rest) = bytes.split_first()?;
        let mut read = Self { stream: head >> 6, count: (head >> 4 & 3) + 1, streams: Default::default() };
        // Nothing is sent at all.
        if head == 0 && rest.is_empty() {
            return Some(read);
        }
        let count = usize::from(read.count);
        let mut masks = [head & 15; MAX];
        if head & 15 == 0 {
            let (own, behind) = rest.split_at_checked(count.div_ceil(2))?;
            masks =
                [0, 1, 2, 3].map(|stream| own.get(stream / 2).map_or(0, |byte| byte >> (4 - 4 * (stream % 2)) & 15));
            rest = behind;
        }
        let layers = |stream: usize| (0..MAX).filter(move |layer| masks[stream] >> layer & 1 == 1);
        let all = || (0..count).flat_map(|stream| layers(stream).map(move |layer| (stream, layer)));
        let (temporal, mut rest) = rest.split_at_checked(all().count().div_ceil(4))?;
        for (place, (stream, layer)) in all().enumerate() {
            let most = usize::from(temporal[place / 4] >> (6 - 2 * (place % 4)) & 3);
            let mut rates = [0; MAX];
            for rate in &mut rates[..=most] {
                *rate = take_leb128(&mut rest)?.min(MAX_RATE);
            }
            // There is nothing more to be had above the highest.
            let highest = rates[most];
            rates[most..].fill(highest);
            read.streams[stream][layer] = Some(rates);
        }
        // Sizes and frame rates follow, or not: what is left out here is not needed.
        Some(read)
    }

    /// What the layers of a stream have, the lowest spatial one first; none of one that is not sent.
    pub fn layers(&self, stream: u8) -> [Option<LayerRates>; MAX] {
        self.streams.get(usize::from(stream)).copied().unwrap_or_default()
    }

    /// Whether anything of a stream is sent.
    pub fn is_sent(&self, stream: u8) -> bool {
        self.layers(stream).iter().any(Option::is_some)
    }
}

/// An unsigned number, seven bits a byte, the lowest first (AV1 bitstream specification §4.10.5); larger ones than fit count as the largest.
fn take_leb128(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for place in 0..8 {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(u32::try_from(value).unwrap_or(u32::MAX));
        }
    }
    None
}

const MAX: usize = 4;
/// A gigabit a second: who says more lies.
const MAX_RATE: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layers_of_one_stream_are_read() {
        // Stream 0 of 1, spatial layers 0 and 1, with two and with one temporal layer: 50, 100, 300 kbit/s; then a size.
        let bytes = [0x03, 0b0100_0000, 50, 100, 0xac, 0x02, 1, 63, 0, 179, 30, 2, 127, 1, 103, 30];
        let read = LayersAllocation::read(&bytes).unwrap();
        assert_eq!((read.stream, read.count), (0, 1));
        assert_eq!(read.layers(0), [Some([50, 100, 100, 100]), Some([300; 4]), None, None]);
        assert!(read.is_sent(0) && !read.is_sent(1) && !read.is_sent(9));
    }

    #[test]
    fn streams_may_have_layers_of_their_own_and_none() {
        // Stream 1 of 3: the first has layer 0, the second none, the third layer 0.
        let bytes = [0b0110_0000, 0b0001_0000, 0b0001_0000, 0, 100, 0xc8, 0x01];
        let read = LayersAllocation::read(&bytes).unwrap();
        assert_eq!([0, 1, 2].map(|stream| read.is_sent(stream)), [true, false, true]);
        assert_eq!((read.stream, read.layers(2)[0]), (1, Some([200; 4])));
        let nothing = LayersAllocation::read(&[0]).unwrap();
        assert!(!nothing.is_sent(0));
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = [0x03, 0b0100_0000, 50, 100, 0xac, 0x02];
        for length in 0..whole.len() {
            assert_eq!(LayersAllocation::read(&whole[..length]), None, "cut to {length}");
        }
        assert_eq!(LayersAllocation::read(&[0x01, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]), None);
        let lie = LayersAllocation::read(&[0x01, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap();
        assert_eq!(lie.layers(0)[0], Some([MAX_RATE; 4]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(read) = LayersAllocation::read(&bytes) {
                prop_assert!(read.count <= 4 && read.stream < 4);
                prop_assert!((read.count..4).all(|stream| !read.is_sent(stream)));
            }
        }
    }
}
