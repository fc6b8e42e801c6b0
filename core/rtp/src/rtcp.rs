//! RTCP, reduced to what a forwarder acts on: read where it lies and written in place, as it comes with the packets of every
//! viewer (the property tests compare with `rtc-rtcp`).
//!
//! Each packet of a compound one is read by itself, so that one that is malformed or unknown costs only itself.

mod twcc;
pub mod write;

pub use twcc::TwccFeedback;

/// One thing that a peer reports or wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback<'a> {
    /// A sender's two clocks and counts (RFC 3550 §6.4.1).
    Sender(SenderInfo),
    /// How a stream of ours is received; from sender and receiver reports alike.
    Report(ReportBlock),
    /// When a reference time of ours came to its receiver (RFC 3611 §4.5).
    Returned {
        /// Whose it was.
        ssrc: u32,
        /// Its middle 32 bits, in 1/65536 s.
        reference: u32,
        /// How long ago it came, in 1/65536 s.
        delay: u32,
    },
    /// Packets that are missing (RFC 4585 §6.2.1).
    Nack {
        /// Of which stream.
        ssrc: u32,
        /// Their sequence numbers.
        missing: Missing<'a>,
    },
    /// A key frame is wanted (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    KeyFrameRequest {
        /// Of which stream.
        ssrc: u32,
    },
    /// Which packets of the whole transport came, and when.
    Twcc(TwccFeedback<'a>),
    /// The most that a receiver believes its link to carry (draft-alvestrand-rmcat-remb-03 §2.2). The streams that it lists
    /// are left out: receivers list all of a transport.
    Remb {
        /// In bits per second.
        bitrate: u64,
    },
    /// A stream is over (RFC 3550 §6.6).
    Bye {
        /// Which.
        ssrc: u32,
    },
}

/// Sequence numbers as a packet tells them: a number, and which of the 16 behind it (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing<'a>(&'a [u8]);

impl Missing<'_> {
    /// The numbers, at most 17 for each entry of the packet.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.as_chunks::<4>().0.iter().flat_map(|[high, low, mask_high, mask_low]| {
            let first = u16::from_be_bytes([*high, *low]);
            let mask = u16::from_be_bytes([*mask_high, *mask_low]);
            let behind = (0..16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| first.wrapping_add(bit + 1));
            std::iter::once(first).chain(behind)
        })
    }
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Whose.
    pub ssrc: u32,
    /// NTP time: 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// The same moment as an RTP timestamp.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// One reception report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// About which stream.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost so far.
    pub lost: u32,
    /// Highest sequence number received, with the count of its cycles.
    pub highest: u32,
    /// Jitter in units of the stream's clock.
    pub jitter: u32,
    /// Middle of the last sender report's NTP time; 0 if there was none.
    pub last_sr: u32,
    /// How long ago that came, in 1/65536 s.
    pub delay: u32,
}

/// An arrival that transport-wide feedback reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwccPacket {
    /// Its transport-wide number, extended.
    pub number: u64,
    /// When it came, in µs on any timeline that does not jump.
    pub arrival_us: u64,
}

/// Whether a datagram whose first byte is 128…191 is RTCP and not RTP (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// Reads a decrypted compound packet; how many packets of it were malformed comes back.
pub fn parse_rtcp<'a>(compound: &'a [u8], mut take: impl FnMut(Feedback<'a>)) -> usize {
    let (mut rest, mut malformed) = (compound, 0);
    while !rest.is_empty() {
        let Some((packet, behind)) = packet_length(rest).and_then(|length| rest.split_at_checked(length)) else {
            return malformed + 1;
        };
        if read(packet, &mut take).is_none() {
            malformed += 1;
        }
        rest = behind;
    }
    malformed
}

/// The first packet's length in bytes, if it can be one.
fn packet_length(rest: &[u8]) -> Option<usize> {
    let head: &[u8; 4] = rest.first_chunk()?;
    (head[0] >> 6 == 2).then(|| 4 * (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1))
}

fn read<'a>(packet: &'a [u8], take: &mut impl FnMut(Feedback<'a>)) -> Option<()> {
    let (head, body) = packet.split_first_chunk::<4>()?;
    let (count, body) = (head[0] & 0x1f, without_padding(head, body)?);
    match (head[1], count) {
        (SR, _) => read_sender_report(body, count, take),
        (RR, _) => read_blocks(body.get(4..)?, count, take),
        (RTPFB, NACK) => {
            let (ssrc, missing) = (word(body, 1)?, body.get(8..).filter(|entries| !entries.is_empty())?);
            take(Feedback::Nack { ssrc, missing: Missing(missing) });
            Some(())
        }
        (RTPFB, TWCC) => {
            take(Feedback::Twcc(TwccFeedback::read(body.get(8..)?)?));
            Some(())
        }
        (PSFB, AFB) => read_application_layer(body, take),
        (PSFB, PLI) => {
            take(Feedback::KeyFrameRequest { ssrc: word(body, 1)? });
            Some(())
        }
        (PSFB, FIR) => {
            let entries = body.get(8..).filter(|entries| !entries.is_empty())?.as_chunks::<8>().0;
            entries.iter().filter_map(|entry| word(entry, 0)).for_each(|ssrc| take(Feedback::KeyFrameRequest { ssrc }));
            Some(())
        }
        (BYE, _) => (0..count.into()).try_for_each(|place| word(body, place).map(|ssrc| take(Feedback::Bye { ssrc }))),
        (XR, _) => read_extended(body.get(4..)?, take),
        // Descriptions change nothing here.
        _ => Some(()),
    }
}

/// RFC 3550 §6.4.1: the last byte counts the padding, itself included. Not in whole words only, as it says there: browsers fill
/// transport-wide feedback up with one to three bytes and say so.
fn without_padding<'a>(head: &[u8; 4], body: &'a [u8]) -> Option<&'a [u8]> {
    if head[0] & 0x20 == 0 {
        return Some(body);
    }
    let padding = usize::from(*body.last()?);
    let len = body.len().checked_sub(padding).filter(|_| padding > 0)?;
    Some(&body[..len])
}

fn read_sender_report<'a>(body: &'a [u8], count: u8, take: &mut impl FnMut(Feedback<'a>)) -> Option<()> {
    let info = SenderInfo {
        ssrc: word(body, 0)?,
        ntp: u64::from(word(body, 1)?) << 32 | u64::from(word(body, 2)?),
        rtp: word(body, 3)?,
        packets: word(body, 4)?,
        octets: word(body, 5)?,
    };
    let blocks = body.get(24..)?;
    take(Feedback::Sender(info));
    read_blocks(blocks, count, take)
}

fn read_blocks<'a>(blocks: &'a [u8], count: u8, take: &mut impl FnMut(Feedback<'a>)) -> Option<()> {
    (0..count.into()).try_for_each(|place| {
        let block = blocks.get(BLOCK * place..BLOCK * (place + 1))?;
        let lost = word(block, 1)?;
        take(Feedback::Report(ReportBlock {
            ssrc: word(block, 0)?,
            fraction_lost: (lost >> 24) as u8,
            lost: lost & 0x00ff_ffff,
            highest: word(block, 2)?,
            jitter: word(block, 3)?,
            last_sr: word(block, 4)?,
            delay: word(block, 5)?,
        }));
        Some(())
    })
}

/// Of extended reports (RFC 3611 §3) one block counts: when reference times came.
fn read_extended<'a>(mut blocks: &'a [u8], take: &mut impl FnMut(Feedback<'a>)) -> Option<()> {
    while !blocks.is_empty() {
        let (head, rest) = blocks.split_first_chunk::<4>()?;
        let (block, behind) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        if head[0] == DLRR {
            for one in block.as_chunks::<12>().0 {
                take(Feedback::Returned { ssrc: word(one, 0)?, reference: word(one, 1)?, delay: word(one, 2)? });
            }
        }
        blocks = behind;
    }
    Some(())
}

/// Of the feedback that applications define for themselves (RFC 4585 §6.4) one kind is known: a bitrate as a mantissa of 18
/// bits and an exponent of 6 (draft-alvestrand-rmcat-remb-03 §2.2). What does not fit 64 bits is as good as no limit.
fn read_application_layer<'a>(body: &'a [u8], take: &mut impl FnMut(Feedback<'a>)) -> Option<()> {
    if word(body, 2) != Some(REMB) {
        return Some(());
    }
    let value = word(body, 3)?;
    let (exponent, mantissa) = (value >> 18 & 0x3f, u64::from(value & 0x3_ffff));
    let bitrate = if mantissa.leading_zeros() >= exponent { mantissa << exponent } else { u64::MAX };
    take(Feedback::Remb { bitrate });
    Some(())
}

/// The 32-bit word at a place.
fn word(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(4 * place..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// A reception report block's length in bytes.
const BLOCK: usize = 24;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const XR: u8 = 207;
const RRTR: u8 = 4;
const DLRR: u8 = 5;
const SDES_CNAME: u8 = 1;
const ITEMS_END: u8 = 0;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const NACK: u8 = 1;
const TWCC: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const AFB: u8 = 15;
const REMB: u32 = u32::from_be_bytes(*b"REMB");

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged;
    use proptest::prelude::*;
    use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
    use rtc_rtcp::receiver_report::ReceiverReport;
    use rtc_rtcp::sender_report::SenderReport;
    use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
    use rtc_shared::marshal::{Marshal, Unmarshal};

    use super::*;

    fn parse(compound: &[u8]) -> (Vec<Feedback<'_>>, usize) {
        let mut all = Vec::new();
        let malformed = parse_rtcp(compound, |feedback| all.push(feedback));
        (all, malformed)
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let info = SenderInfo { ssrc: 5, ntp: 0x0102_0304_0506_0708, rtp: 99, packets: 3, octets: 4 };
        let packet = written(|out| write::sender_report(out, info, "name"));
        assert_eq!(parse(&packet), (vec![Feedback::Sender(info)], 0));
        let block =
            ReportBlock { ssrc: 7, fraction_lost: 9, lost: 2, highest: 70_000, jitter: 1, last_sr: 8, delay: 6 };
        let packet = written(|out| write::receiver_report(out, 1, &[block]));
        assert_eq!(parse(&packet), (vec![Feedback::Report(block)], 0));
        let packet = written(|out| write::reference_time(out, 1, 0x0102_0304_0506_0708));
        assert_eq!(packet, [0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8], "RFC 3611 §4.4");
        assert_eq!(parse(&packet), (vec![], 0), "it is for others to answer");
        let packet = written(|out| write::pli(out, 1, 7));
        assert_eq!(parse(&packet), (vec![Feedback::KeyFrameRequest { ssrc: 7 }], 0));
        let packet = written(|out| write::fir(out, 1, 7, 3));
        assert_eq!((parse(&packet), packet[16]), ((vec![Feedback::KeyFrameRequest { ssrc: 7 }], 0), 3));
        let packet = written(|out| write::nack(out, 1, 7, &[65_534, 65_535, 3, 40]));
        let (all, malformed) = parse(&packet);
        let [Feedback::Nack { ssrc: 7, missing }] = all[..] else { panic!("{all:?}") };
        assert_eq!((missing.iter().collect::<Vec<_>>(), malformed), (vec![65_534, 65_535, 3, 40], 0));
    }

    #[test]
    fn a_malformed_packet_in_a_compound_one_costs_only_itself() {
        let mut compound = vec![0x81, 201, 0, 1, 0, 0, 0, 1];
        write::pli(&mut compound, 1, 7);
        assert_eq!(parse(&compound), (vec![Feedback::KeyFrameRequest { ssrc: 7 }], 1));
    }

    #[test]
    fn the_return_of_a_reference_time_is_read_among_other_extended_reports() {
        let mut packet = vec![0x80, 207, 0, 11, 0, 0, 0, 9];
        packet.extend_from_slice(&[42, 0, 0, 1, 1, 2, 3, 4]);
        packet.extend_from_slice(&[5, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        packet.extend_from_slice(&[4, 0, 0, 0]);
        packet[3] = (packet.len() / 4 - 1) as u8;
        let returned = |ssrc, reference, delay| Feedback::Returned { ssrc, reference, delay };
        assert_eq!(parse(&packet), (vec![returned(7, 8, 9), returned(1, 2, 3)], 0));
        packet[11] = 200;
        assert_eq!(parse(&packet), (vec![], 1), "a block that is longer than its packet");
    }

    #[test]
    fn an_unknown_application_layer_feedback_is_passed_over() {
        let alien = [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'G', b'O', b'O', b'G'];
        assert_eq!(parse(&alien), (vec![], 0));
    }

    #[test]
    fn an_endless_bitrate_is_no_limit() {
        let mut packet = vec![0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B'];
        packet.extend_from_slice(&[0, 0xff, 0xff, 0xff]);
        assert_eq!(parse(&packet), (vec![Feedback::Remb { bitrate: u64::MAX }], 0));
        packet[17] = 0xfc;
        packet[18..].fill(0);
        assert_eq!(parse(&packet), (vec![Feedback::Remb { bitrate: 0 }], 0));
    }

    /// One of each kind that is written, and all together.
    fn one_of_each() -> Vec<Vec<u8>> {
        let arrivals: Vec<_> =
            (1..40).map(|number| TwccPacket { number: number * 2, arrival_us: 1_000_000 + number * 700 }).collect();
        let blocks = [ReportBlock { ssrc: 7, fraction_lost: 9, ..ReportBlock::default() }; 2];
        let info = SenderInfo { ssrc: 7, ntp: 1 << 40, rtp: 9000, packets: 5, octets: 500 };
        let mut all: Vec<Vec<u8>> = vec![Vec::new(); 7];
        write::sender_report(&mut all[0], info, "name");
        write::receiver_report(&mut all[1], 1, &blocks);
        write::reference_time(&mut all[2], 1, 1 << 40);
        write::nack(&mut all[3], 1, 7, &[1, 2, 5, 90]);
        write::pli(&mut all[4], 1, 7);
        write::fir(&mut all[5], 1, 7, 3);
        write::twcc(&mut all[6], 1, 7, 0, 2, &arrivals);
        all.push(vec![0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 0x07, 0xff, 0xff]);
        let together = all.concat();
        all.push(together);
        all
    }

    /// What the library reads.
    fn theirs(packet: &[u8]) -> Option<Vec<String>> {
        let mut bytes = packet;
        let mut all = Vec::new();
        let format = packet[0] & 0x1f;
        match (packet[1], format) {
            (SR, _) => {
                let report = SenderReport::unmarshal(&mut bytes).ok()?;
                all.push(format!("{} {} {}", report.ssrc, report.ntp_time, report.rtp_time));
                all.extend(report.reports.iter().map(|block| format!("{} {}", block.ssrc, block.last_sequence_number)));
            }
            (RR, _) => {
                let report = ReceiverReport::unmarshal(&mut bytes).ok()?;
                all.extend(report.reports.iter().map(|block| format!("{} {}", block.ssrc, block.last_sequence_number)));
            }
            (RTPFB, NACK) => {
                let nack = TransportLayerNack::unmarshal(&mut bytes).ok()?;
                let missing: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.into_iter()).collect();
                all.push(format!("{} {missing:?}", nack.media_ssrc));
            }
            (PSFB, PLI) => all.push(PictureLossIndication::unmarshal(&mut bytes).ok()?.media_ssrc.to_string()),
            _ => return None,
        }
        Some(all)
    }

    fn ours(packet: &[u8]) -> Vec<String> {
        let tell = |feedback: Feedback<'_>| match feedback {
            Feedback::Sender(info) => format!("{} {} {}", info.ssrc, info.ntp, info.rtp),
            Feedback::Report(block) => format!("{} {}", block.ssrc, block.highest),
            Feedback::Nack { ssrc, missing } => format!("{ssrc} {:?}", missing.iter().collect::<Vec<_>>()),
            Feedback::KeyFrameRequest { ssrc } | Feedback::Bye { ssrc } => ssrc.to_string(),
            Feedback::Returned { .. } | Feedback::Twcc(_) | Feedback::Remb { .. } => format!("{feedback:?}"),
        };
        parse(packet).0.into_iter().map(tell).collect()
    }

    proptest! {
        /// Whole packets, without padding: what the library takes we take, and alike.
        #[test]
        fn packets_are_read_as_the_library_reads_them(
            kind in prop_oneof![Just((SR, 2_u8)), Just((RR, 3)), Just((RTPFB, NACK)), Just((PSFB, PLI))],
            words in proptest::collection::vec(any::<u32>(), 1..24),
        ) {
            let mut packet = vec![0x80 | kind.1, kind.0];
            packet.extend_from_slice(&(words.len() as u16).to_be_bytes());
            packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            if let Some(theirs) = theirs(&packet) {
                prop_assert_eq!(ours(&packet), theirs);
            }
        }

        #[test]
        fn a_receivers_limit_is_read(bitrate in 0_u32..10_000_000, shift in 0_u32..30, ssrcs in 0_usize..4) {
            // Exactly what a float holds, so that the library's rounding does not matter.
            let bitrate = u64::from(bitrate) << shift;
            let mut written = Vec::new();
            write::remb(&mut written, 1, bitrate, &vec![7; ssrcs]);
            let (own, refused) = parse(&written);
            let [Feedback::Remb { bitrate: told }] = own[..] else { panic!("{own:?}") };
            prop_assert!(refused == 0 && told <= bitrate && bitrate - told <= bitrate >> 17, "{told} of {bitrate}");
            let remb = ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate: bitrate as f32, ssrcs: vec![7; ssrcs] };
            let packet = remb.marshal().unwrap();
            let (all, malformed) = parse(&packet);
            let [Feedback::Remb { bitrate: read }] = all[..] else { panic!("{all:?}") };
            prop_assert_eq!(malformed, 0);
            prop_assert!(read <= bitrate && read as f64 >= bitrate as f64 * (1.0 - 1.0 / 131_072.0), "{read} of {bitrate}");
        }

        #[test]
        fn damaged_packets_never_panic(packet in damaged(one_of_each())) {
            parse(&packet);
        }

        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            kind in 192_u8..=207,
            format in 0_u8..32,
            words in 0_u16..24,
        ) {
            parse(&bytes);
            let mut packet = vec![0x80 | format, kind];
            packet.extend_from_slice(&words.to_be_bytes());
            packet.extend_from_slice(&bytes);
            parse(&packet);
        }
    }
}
