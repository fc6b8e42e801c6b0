//! Transport-wide feedback as it lies in a packet (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! A packet is checked once, in a time that its own bytes bound; after that its statuses are read without any way to fail.
//! What they mean for a link is the estimator's to say.

/// Which packets of a transport came, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwccFeedback<'a> {
    /// The first transport-wide number that it tells of.
    pub base: u16,
    /// The receiver's clock where the arrivals begin, in units of 64 ms; 24 bits, so it wraps after twelve days.
    pub reference: u32,
    /// Feedback packets so far, to tell that one was lost.
    pub count: u8,
    statuses: u16,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TwccFeedback<'a> {
    /// Of the packet's body behind the two SSRCs, without padding. None: it says less or more than its bytes hold.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let (head, rest) = body.split_first_chunk::<8>()?;
        let [base_high, base_low, statuses_high, statuses_low, high, middle, low, count] = *head;
        let statuses = u16::from_be_bytes([statuses_high, statuses_low]);
        let (mut left, mut chunks, mut deltas) = (statuses, 0, 0);
        while left > 0 {
            let chunk = Chunk::read(*rest.get(chunks..)?.first_chunk()?).up_to(left);
            left -= chunk.len();
            deltas += chunk.deltas()?;
            chunks += 2;
        }
        let (chunks, rest) = rest.split_at(chunks);
        Some(Self {
            base: u16::from_be_bytes([base_high, base_low]),
            reference: u32::from_be_bytes([0, high, middle, low]),
            count,
            statuses,
            chunks,
            deltas: rest.get(..deltas)?,
        })
    }

    /// Of how many packets it tells, lost ones included.
    pub fn len(&self) -> usize {
        self.statuses.into()
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.statuses == 0
    }

    /// Every number with its arrival in µs behind the reference (an early one may lie before it), None if it did not come. Up
    /// to 65,535 of them, whatever the packet's length: who reads them bounds how many.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Option<i64>)> + use<'a> {
        let Self { base, statuses, chunks, deltas, .. } = *self;
        let symbols = chunks.as_chunks::<2>().0.iter().flat_map(|chunk| Chunk::read(*chunk).symbols());
        let (mut deltas, mut at) = (deltas, 0_i64);
        symbols.take(statuses.into()).zip(0_u16..).map(move |(symbol, place)| {
            let delta = take_delta(symbol, &mut deltas);
            at += DELTA_US * delta.unwrap_or(0);
            (base.wrapping_add(place), delta.map(|_| at))
        })
    }
}

/// How long after the one before a packet came, in units of 250 µs (§3.1.5).
fn take_delta(symbol: u8, deltas: &mut &[u8]) -> Option<i64> {
    match symbol {
        SMALL => deltas.split_off_first().map(|delta| i64::from(*delta)),
        LARGE => {
            let (delta, rest) = deltas.split_first_chunk::<2>()?;
            *deltas = rest;
            Some(i64::from(i16::from_be_bytes(*delta)))
        }
        _ => None,
    }
}

/// A run of statuses (§3.1.3, §3.1.4).
#[derive(Clone, Copy)]
enum Chunk {
    Run {
        symbol: u8,
        len: u16,
    },
    /// `len` symbols of `width` bits each, the first one in the highest of 14 bits.
    Vector {
        bits: u16,
        width: u16,
        len: u16,
    },
}

impl Chunk {
    fn read(bytes: [u8; 2]) -> Self {
        let bits = u16::from_be_bytes(bytes);
        match bits >> 14 {
            0b10 => Self::Vector { bits, width: 1, len: 14 },
            0b11 => Self::Vector { bits, width: 2, len: 7 },
            _ => Self::Run { symbol: (bits >> 13) as u8, len: bits & 0x1fff },
        }
    }

    /// The last chunk may say more than there is.
    fn up_to(self, left: u16) -> Self {
        match self {
            Self::Run { symbol, len } => Self::Run { symbol, len: len.min(left) },
            Self::Vector { bits, width, len } => Self::Vector { bits, width, len: len.min(left) },
        }
    }

    fn len(self) -> u16 {
        match self {
            Self::Run { len, .. } | Self::Vector { len, .. } => len,
        }
    }

    /// How many bytes of deltas its symbols need. None: one of them is reserved, or it is empty and the packet without an end.
    fn deltas(self) -> Option<usize> {
        match self {
            Self::Run { len: 0, .. } => None,
            Self::Run { symbol, len } => size(symbol).map(|size| size * usize::from(len)),
            Self::Vector { .. } => self.symbols().map(size).sum(),
        }
    }

    fn symbols(self) -> impl Iterator<Item = u8> {
        (0..self.len()).map(move |place| match self {
            Self::Run { symbol, .. } => symbol,
            Self::Vector { bits, width, .. } => (bits >> (14 - width * (place + 1)) & ((1 << width) - 1)) as u8,
        })
    }
}

/// Bytes of the delta that a symbol announces.
fn size(symbol: u8) -> Option<usize> {
    match symbol {
        LOST => Some(0),
        SMALL => Some(1),
        LARGE => Some(2),
        _ => None,
    }
}

const LOST: u8 = 0;
const SMALL: u8 = 1;
const LARGE: u8 = 2;
const DELTA_US: i64 = 250;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
        PacketStatusChunk, StatusVectorChunk, SymbolTypeTcc, TransportLayerCc,
    };
    use rtc_shared::marshal::Unmarshal;

    use super::super::{Feedback, TwccPacket, parse_rtcp, write};
    use super::*;

    /// Numbers and arrivals.
    type Statuses = Vec<(u16, Option<i64>)>;

    fn read(packet: &[u8]) -> Option<(TwccFeedback<'_>, Statuses)> {
        let mut read = None;
        parse_rtcp(packet, |feedback| {
            if let Feedback::Twcc(feedback) = feedback {
                read = Some(feedback);
            }
        });
        read.map(|feedback| (feedback, feedback.iter().collect()))
    }

    fn packet(base: u16, statuses: u16, reference: u32, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend_from_slice(&base.to_be_bytes());
        packet.extend_from_slice(&statuses.to_be_bytes());
        packet.extend_from_slice(&(reference << 8 | 7).to_be_bytes());
        packet.extend(chunks.iter().flat_map(|chunk| chunk.to_be_bytes()));
        packet.extend_from_slice(deltas);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() / 4 - 1) as u8;
        packet
    }

    /// The chunk examples of §3.1.3 and §3.1.4.
    #[test]
    fn the_chunks_of_the_draft_are_read() {
        let lost_run = packet(1, 221, 0, &[0b0000_0000_1101_1101], &[]);
        assert_eq!(read(&lost_run).unwrap().1, (1..=221).map(|number| (number, None)).collect::<Vec<_>>());
        let one_bit = packet(65_530, 14, 9, &[0b1001_1111_0001_1100], &[1; 8]);
        let came: Vec<_> = read(&one_bit).unwrap().1.iter().map(|(_, at)| at.is_some()).collect();
        assert_eq!(came, [0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0].map(|bit| bit == 1));
        let two_bits = packet(65_533, 6, 9, &[0b1100_1010_0100_0001], &[0, 4, 0xff, 0xfe, 255]);
        let (feedback, all) = read(&two_bits).unwrap_or_else(|| panic!("{two_bits:?}"));
        assert_eq!((feedback.base, feedback.len(), feedback.reference, feedback.count), (65_533, 6, 9, 7));
        let expected =
            [(65_533, None), (65_534, Some(1000)), (65_535, Some(500)), (0, Some(64_250)), (1, None), (2, None)];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_packet_that_says_more_than_it_holds_is_refused() {
        assert_eq!(read(&packet(0, 20, 0, &[0x2014], &[0; 16])), None, "deltas are missing");
        assert_eq!(read(&packet(0, 20, 0, &[0x000a], &[])), None, "chunks are missing");
        assert_eq!(read(&packet(0, 2, 0, &[0x6002, 0], &[])), None, "a reserved symbol");
        assert_eq!(read(&packet(0, 2, 0, &[0, 0], &[])), None, "chunks of nothing");
        assert!(read(&packet(0, 0, 0, &[], &[])).unwrap().0.is_empty());
    }

    /// What the library reads.
    fn theirs(packet: &[u8]) -> Option<Statuses> {
        let read = TransportLayerCc::unmarshal(&mut &packet[..]).ok()?;
        let symbols = read.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; run.run_length.into()],
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk { symbol_list, .. }) => symbol_list.clone(),
        });
        let (mut deltas, mut at) = (read.recv_deltas.iter(), 0);
        let statuses = symbols.take(read.packet_status_count.into()).zip(0_u16..).map(|(symbol, place)| {
            let came =
                matches!(symbol, SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta);
            at += if came { deltas.next().map_or(0, |delta| delta.delta) } else { 0 };
            (read.base_sequence_number.wrapping_add(place), came.then_some(at))
        });
        Some(statuses.collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            steps in proptest::collection::vec((1_u64..6, -900_i64..90_000), 1..60),
            start in 100_000_u64..10_000_000_000_000,
        ) {
            let (mut number, mut arrival) = (1 << 16, start);
            let packets: Vec<_> = steps.iter().map(|(ahead, later)| {
                number += ahead;
                arrival = arrival.saturating_add_signed(*later);
                TwccPacket { number, arrival_us: arrival }
            }).collect();
            let base = packets[0].number - 1;
            let mut bytes = Vec::new();
            prop_assert!(write::twcc(&mut bytes, 1, 2, 3, base, &packets));
            let (feedback, all) = read(&bytes).unwrap();
            prop_assert_eq!(u64::from(feedback.reference), start_of(&packets) / 64_000 % (1 << 24));
            prop_assert_eq!(all.len() as u64, packets.last().unwrap().number - base + 1);
            let reference = start_of(&packets) / 64_000 * 64_000;
            let came: Vec<_> = all.iter().filter_map(|(number, at)| at.map(|at| (*number, at))).collect();
            prop_assert_eq!(came.len(), packets.len());
            for ((number, at), packet) in came.into_iter().zip(&packets) {
                prop_assert_eq!(number, packet.number as u16);
                prop_assert!((reference as i64 + at - packet.arrival_us as i64).abs() <= 250, "{at} {packet:?}");
            }
        }

        /// Only chunks whose symbols are not reserved: there the library is laxer.
        #[test]
        fn feedback_is_read_as_the_library_reads_it(
            base in any::<u16>(),
            statuses in 1_u16..200,
            chunks in proptest::collection::vec(any::<u16>(), 1..12),
            deltas in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let packet = packet(base, statuses, 5, &chunks, &deltas);
            if let Some((_, ours)) = read(&packet)
                && let Some(theirs) = theirs(&packet)
            {
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn no_feedback_panics(
            base in any::<u16>(),
            statuses in any::<u16>(),
            chunks in proptest::collection::vec(any::<u16>(), 0..12),
            deltas in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..100,
        ) {
            let packet = packet(base, statuses, u32::from(base), &chunks, &deltas);
            for bytes in [&packet[..], &packet[..packet.len() - cut.min(packet.len())]] {
                if let Some((feedback, all)) = read(bytes) {
                    prop_assert_eq!(all.len(), feedback.len());
                }
            }
        }
    }

    fn start_of(packets: &[TwccPacket]) -> u64 {
        packets[0].arrival_us
    }
}
