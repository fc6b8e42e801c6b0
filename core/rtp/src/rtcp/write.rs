//! RTCP packets that a forwarder sends, each a complete datagram before encryption.

use bytes::BytesMut;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::{ReportBlock, SenderInfo, TwccPacket, to_bytes};

/// A sender report with the canonical name that RFC 3550 §6.1 wants beside it.
pub fn sender_report(info: SenderInfo, cname: &str) -> BytesMut {
    let item = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: cname.to_owned().into() };
    let chunk = SourceDescriptionChunk { source: info.ssrc, items: vec![item] };
    to_bytes(&[
        Box::new(SenderReport {
            ssrc: info.ssrc,
            ntp_time: info.ntp,
            rtp_time: info.rtp,
            packet_count: info.packets,
            octet_count: info.octets,
            ..SenderReport::default()
        }),
        Box::new(SourceDescription { chunks: vec![chunk] }),
    ])
}

/// A receiver report; blocks above the 31 that one packet holds are left out.
pub fn receiver_report(sender: u32, blocks: &[ReportBlock]) -> BytesMut {
    let reports = blocks.iter().take(31).map(|block| ReceptionReport {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        total_lost: block.lost & 0x00ff_ffff,
        last_sequence_number: block.highest,
        jitter: block.jitter,
        last_sender_report: block.last_sr,
        delay: block.delay,
    });
    to_bytes(&[Box::new(ReceiverReport { ssrc: sender, reports: reports.collect(), ..ReceiverReport::default() })])
}

/// Asks for packets again; `missing` in ascending order packs best.
pub fn nack(sender: u32, ssrc: u32, missing: &[u16]) -> BytesMut {
    let mut nacks: Vec<NackPair> = Vec::new();
    for &sequence in missing {
        let Some(last) = nacks.last_mut() else {
            nacks.push(NackPair { packet_id: sequence, lost_packets: 0 });
            continue;
        };
        match sequence.wrapping_sub(last.packet_id) {
            0 => {}
            ahead @ 1..=16 => last.lost_packets |= 1 << (ahead - 1),
            _ => nacks.push(NackPair { packet_id: sequence, lost_packets: 0 }),
        }
    }
    to_bytes(&[Box::new(TransportLayerNack { sender_ssrc: sender, media_ssrc: ssrc, nacks })])
}

/// Asks for a key frame.
pub fn pli(sender: u32, ssrc: u32) -> BytesMut {
    to_bytes(&[Box::new(PictureLossIndication { sender_ssrc: sender, media_ssrc: ssrc })])
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) of arrivals in ascending order of their numbers.
/// Of none, or of numbers further apart than the packet can say, there is none.
pub fn twcc(sender: u32, ssrc: u32, count: u8, base: u64, packets: &[TwccPacket]) -> Option<Vec<u8>> {
    let (first, last) = (packets.first()?, packets.last()?);
    let statuses = u16::try_from(last.number.checked_sub(base)? + 1).ok().filter(|count| *count <= MAX_STATUSES)?;
    let reference = first.arrival_us / REFERENCE_US;
    let (symbols, deltas) = statuses_and_deltas(base, statuses, reference * REFERENCE_US, packets)?;

    let mut out = vec![0x80 | TWCC_FORMAT, RTPFB, 0, 0];
    out.extend_from_slice(&sender.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&(base as u16).to_be_bytes());
    out.extend_from_slice(&statuses.to_be_bytes());
    out.extend_from_slice(&(((reference as u32) << 8) | u32::from(count)).to_be_bytes());
    // Two-bit vectors of seven; the status count says how many of the last one's are real.
    for seven in symbols.chunks(7) {
        let vector = (0..7).fold(0b11, |bits: u16, at| bits << 2 | seven.get(at).copied().map_or(0, u16::from));
        out.extend_from_slice(&vector.to_be_bytes());
    }
    out.extend_from_slice(&deltas);
    pad(&mut out);
    Some(out)
}

/// A symbol for each number, and the receive deltas in 250 µs. Rounding errors are carried on, not added up.
fn statuses_and_deltas(base: u64, statuses: u16, start_us: u64, packets: &[TwccPacket]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut symbols = vec![NOT_RECEIVED; usize::from(statuses)];
    let mut deltas = Vec::with_capacity(packets.len());
    let mut at = start_us / DELTA_US;
    for packet in packets {
        let ticks = (packet.arrival_us + DELTA_US / 2) / DELTA_US;
        let delta = i16::try_from(ticks as i64 - at as i64).ok()?;
        at = ticks;
        let symbol = symbols.get_mut(usize::try_from(packet.number.checked_sub(base)?).ok()?)?;
        match u8::try_from(delta) {
            Ok(small) => {
                *symbol = SMALL;
                deltas.push(small);
            }
            Err(_) => {
                *symbol = LARGE;
                deltas.extend_from_slice(&delta.to_be_bytes());
            }
        }
    }
    Some((symbols, deltas))
}

/// Fills up to whole words, says so in the header, and sets the length.
fn pad(out: &mut Vec<u8>) {
    let padding = out.len().wrapping_neg() % 4;
    if padding > 0 {
        out.resize(out.len() + padding, 0);
        out[0] |= 0x20;
        if let Some(last) = out.last_mut() {
            *last = padding as u8;
        }
    }
    let words = (out.len() / 4 - 1) as u16;
    out[2..4].copy_from_slice(&words.to_be_bytes());
}

const RTPFB: u8 = 205;
const TWCC_FORMAT: u8 = 15;
const REFERENCE_US: u64 = 64_000;
const DELTA_US: u64 = 250;
const MAX_STATUSES: u16 = 4096;
const NOT_RECEIVED: u8 = 0;
const SMALL: u8 = 1;
const LARGE: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::{SymbolTypeTcc, TransportLayerCc};
    use rtc_shared::marshal::Unmarshal;

    use super::*;

    proptest! {
        #[test]
        fn feedback_says_which_packets_came_and_when(
            steps in proptest::collection::vec((1_u64..6, -900_i64..90_000), 1..60),
            start in 100_000_u64..10_000_000_000,
        ) {
            let (mut number, mut arrival) = (1 << 16, start);
            let packets: Vec<_> = steps.iter().map(|(ahead, later)| {
                number += ahead;
                arrival = arrival.saturating_add_signed(*later);
                TwccPacket { number, arrival_us: arrival }
            }).collect();
            let base = packets[0].number - 1;
            let bytes = twcc(1, 2, 3, base, &packets).unwrap();
            prop_assert_eq!(bytes.len() % 4, 0);
            let read = TransportLayerCc::unmarshal(&mut &bytes[..]).unwrap();
            prop_assert_eq!(read.base_sequence_number, base as u16);
            prop_assert_eq!(u64::from(read.packet_status_count), packets.last().unwrap().number - base + 1);
            let received: Vec<_> = read.recv_deltas.iter()
                .filter(|delta| delta.type_tcc_packet != SymbolTypeTcc::PacketNotReceived).collect();
            prop_assert_eq!(received.len(), packets.len());
            let mut at = i64::from(read.reference_time) * 64_000;
            let wrap = (1_i64 << 24) * 64_000;
            for (delta, packet) in received.iter().zip(&packets) {
                at += delta.delta;
                prop_assert!((at - packet.arrival_us as i64 % wrap).abs() <= 250, "{at} {packet:?}");
            }
        }
    }

    #[test]
    fn of_no_arrival_there_is_no_feedback() {
        assert_eq!(twcc(1, 2, 3, 0, &[]), None);
        let far = TwccPacket { number: 1 << 20, arrival_us: 0 };
        assert_eq!(twcc(1, 2, 3, 0, &[far]), None);
    }
}
