//! RTCP packets that a forwarder sends: each is appended to a buffer, complete before encryption.

use super::{
    AFB, FIR, ITEMS_END, NACK, PLI, PSFB, REMB, RR, RRTR, RTPFB, ReportBlock, SDES, SDES_CNAME, SR, SenderInfo, TWCC,
    TwccPacket, XR,
};

/// A sender report with the canonical name that RFC 3550 §6.1 wants beside it; of a name above 255 bytes, the first ones.
pub fn sender_report(out: &mut Vec<u8>, info: SenderInfo, cname: &str) {
    let start = begin(out, 0, SR);
    words(out, &[info.ssrc, (info.ntp >> 32) as u32, info.ntp as u32, info.rtp, info.packets, info.octets]);
    finish(out, start);
    let start = begin(out, 1, SDES);
    words(out, &[info.ssrc]);
    let name = &cname.as_bytes()[..cname.len().min(255)];
    out.extend_from_slice(&[SDES_CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    // At least one zero ends the items; the chunk is filled up to whole words (RFC 3550 §6.5).
    out.push(ITEMS_END);
    out.resize(start + (out.len() - start).next_multiple_of(4), ITEMS_END);
    finish(out, start);
}

/// A receiver report; blocks above the 31 that one packet holds are left out.
pub fn receiver_report(out: &mut Vec<u8>, sender: u32, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(31)];
    let start = begin(out, blocks.len() as u8, RR);
    words(out, &[sender]);
    for block in blocks {
        let lost = u32::from(block.fraction_lost) << 24 | block.lost & 0x00ff_ffff;
        words(out, &[block.ssrc, lost, block.highest, block.jitter, block.last_sr, block.delay]);
    }
    finish(out, start);
}

/// A receiver's time, which senders that know it give back (RFC 3611 §4.4); `ntp` as in sender reports, on any timeline.
pub fn reference_time(out: &mut Vec<u8>, sender: u32, ntp: u64) {
    let start = begin(out, 0, XR);
    words(out, &[sender, u32::from(RRTR) << 24 | 2, (ntp >> 32) as u32, ntp as u32]);
    finish(out, start);
}

/// Asks for packets again; `missing` in ascending order packs best. As many as a packet holds, 253 times up to 17.
pub fn nack(out: &mut Vec<u8>, sender: u32, ssrc: u32, missing: &[u16]) {
    let start = begin(out, NACK, RTPFB);
    words(out, &[sender, ssrc]);
    let mut rest = missing.iter().copied().peekable();
    let mut entries = 0;
    while let Some(first) = rest.next_if(|_| entries < MAX_NACKS) {
        let mut mask = 0_u16;
        while let Some(ahead) = rest.peek().map(|next| next.wrapping_sub(first)).filter(|ahead| *ahead <= 16) {
            mask |= 1_u16.checked_shl(u32::from(ahead.wrapping_sub(1))).unwrap_or(0);
            rest.next();
        }
        words(out, &[u32::from(first) << 16 | u32::from(mask)]);
        entries += 1;
    }
    finish(out, start);
}

/// Asks for a key frame.
pub fn pli(out: &mut Vec<u8>, sender: u32, ssrc: u32) {
    let start = begin(out, PLI, PSFB);
    words(out, &[sender, ssrc]);
    finish(out, start);
}

/// Asks for a key frame, of a sender that takes no PLI (RFC 5104 §4.3.1). `command` counts the requests that are no repetitions.
pub fn fir(out: &mut Vec<u8>, sender: u32, ssrc: u32, command: u8) {
    let start = begin(out, FIR, PSFB);
    words(out, &[sender, 0, ssrc, u32::from(command) << 24]);
    finish(out, start);
}

/// The most that these sources together may send, in bits per second (draft-alvestrand-rmcat-remb-03 §2.2): rounded down to 18 binary
/// digits. Of more sources than 255, the first ones.
pub fn remb(out: &mut Vec<u8>, sender: u32, bitrate: u64, sources: &[u32]) {
    let sources = &sources[..sources.len().min(255)];
    let start = begin(out, AFB, PSFB);
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate >> exponent) as u32;
    words(out, &[sender, 0, REMB, (sources.len() as u32) << 24 | exponent << 18 | mantissa]);
    words(out, sources);
    finish(out, start);
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) of arrivals in ascending order of their numbers.
/// Of none, or of numbers or times further apart than the packet can say, nothing is written, and false comes back.
pub fn twcc(out: &mut Vec<u8>, sender: u32, ssrc: u32, count: u8, base: u64, packets: &[TwccPacket]) -> bool {
    let start = out.len();
    let written = write_twcc(out, sender, ssrc, count, base, packets).is_some();
    if !written {
        out.truncate(start);
    }
    written
}

fn write_twcc(out: &mut Vec<u8>, sender: u32, ssrc: u32, count: u8, base: u64, packets: &[TwccPacket]) -> Option<()> {
    let (first, last) = (packets.first()?, packets.last()?);
    let statuses = u16::try_from(last.number.checked_sub(base)? + 1).ok().filter(|count| *count <= MAX_STATUSES)?;
    let reference = first.arrival_us / REFERENCE_US;
    let start = begin(out, TWCC, RTPFB);
    words(out, &[sender, ssrc, u32::from(base as u16) << 16 | u32::from(statuses)]);
    words(out, &[(reference as u32) << 8 | u32::from(count)]);
    // Two-bit vectors of seven; the status count says how many of the last one's are real.
    let vectors = out.len();
    out.resize(vectors + 2 * usize::from(statuses).div_ceil(7), 0);
    out[vectors..].iter_mut().step_by(2).for_each(|byte| *byte = 0b11 << 6);
    let mut at = reference * REFERENCE_US / DELTA_US;
    for packet in packets {
        let ticks = (packet.arrival_us + DELTA_US / 2) / DELTA_US;
        // Rounding errors are carried on, not added up.
        let delta = i16::try_from(ticks as i64 - at as i64).ok()?;
        at = ticks;
        let place = usize::try_from(packet.number.checked_sub(base)?).ok()?;
        let symbol = match u8::try_from(delta) {
            Ok(small) => {
                out.push(small);
                SMALL
            }
            Err(_) => {
                out.extend_from_slice(&delta.to_be_bytes());
                LARGE
            }
        };
        let (vector, shift) = (vectors + 2 * (place / 7), 12 - 2 * (place % 7));
        let bits = (u16::from(symbol) << shift).to_be_bytes();
        out[vector] |= bits[0];
        out[vector + 1] |= bits[1];
    }
    pad(out, start);
    finish(out, start);
    Some(())
}

/// A packet's head, whose length is written by [`finish`].
fn begin(out: &mut Vec<u8>, format: u8, kind: u8) -> usize {
    out.extend_from_slice(&[0x80 | format, kind, 0, 0]);
    out.len() - 4
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

fn finish(out: &mut [u8], start: usize) {
    let length = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Fills up to whole words, and says so in the head.
fn pad(out: &mut Vec<u8>, start: usize) {
    let padding = (out.len() - start).wrapping_neg() % 4;
    if padding > 0 {
        out.resize(out.len() + padding - 1, 0);
        out.push(padding as u8);
        out[start] |= 0x20;
    }
}

const REFERENCE_US: u64 = 64_000;
const DELTA_US: u64 = 250;
const MAX_STATUSES: u16 = 4096;
const MAX_NACKS: usize = 253;
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
            let mut bytes = Vec::new();
            prop_assert!(twcc(&mut bytes, 1, 2, 3, base, &packets));
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
        let mut out = vec![1];
        assert!(!twcc(&mut out, 1, 2, 3, 0, &[]));
        let far = TwccPacket { number: 1 << 20, arrival_us: 0 };
        assert!(!twcc(&mut out, 1, 2, 3, 0, &[far]));
        assert_eq!(out, [1]);
    }
}
