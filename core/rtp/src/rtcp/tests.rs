//! What is written is read, and what is damaged does no harm; held against another reader and writer.

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
    let block = ReportBlock { ssrc: 7, fraction_lost: 9, lost: 2, highest: 70_000, jitter: 1, last_sr: 8, delay: 6 };
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
