//! RTCP, reduced to what a forwarder acts on. Reading and writing of the formats is `rtc-rtcp`'s.
//!
//! Each packet of a compound one is read by itself, so that one that is malformed or unknown costs only itself.

use bytes::{Bytes, BytesMut};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc_shared::marshal::Unmarshal;

pub mod write;

/// One thing that a peer reports or wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// A sender's two clocks and counts (RFC 3550 §6.4.1).
    Sender(SenderInfo),
    /// How a stream of ours is received; from sender and receiver reports alike.
    Report(ReportBlock),
    /// Packets that are missing (RFC 4585 §6.2.1).
    Nack {
        /// Of which stream.
        ssrc: u32,
        /// Their sequence numbers, at most 17 for each entry of the packet.
        missing: Vec<u16>,
    },
    /// A key frame is wanted (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    KeyFrameRequest {
        /// Of which stream.
        ssrc: u32,
    },
    /// A stream is over (RFC 3550 §6.6).
    Bye {
        /// Which.
        ssrc: u32,
    },
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
pub fn parse_rtcp(compound: &[u8], mut take: impl FnMut(Feedback)) -> usize {
    let (mut rest, mut malformed) = (Bytes::copy_from_slice(compound), 0);
    while !rest.is_empty() {
        let Some(length) = packet_length(&rest) else { return malformed + 1 };
        if read(&mut rest.split_to(length), &mut take).is_none() {
            malformed += 1;
        }
    }
    malformed
}

/// The first packet's length in bytes, if it is all there.
fn packet_length(rest: &[u8]) -> Option<usize> {
    let head: &[u8; 4] = rest.first_chunk()?;
    let length = 4 * (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1);
    (head[0] >> 6 == 2 && length <= rest.len()).then_some(length)
}

fn read(packet: &mut Bytes, take: &mut impl FnMut(Feedback)) -> Option<()> {
    match (packet[1], packet[0] & 0x1f) {
        (SR, _) => read_sender_report(SenderReport::unmarshal(packet).ok()?, take),
        (RR, _) => ReceiverReport::unmarshal(packet).ok()?.reports.iter().for_each(|block| take(report(block))),
        (RTPFB, NACK) => {
            let nack = TransportLayerNack::unmarshal(packet).ok()?;
            let missing = nack.nacks.iter().flat_map(|pair| pair.into_iter()).collect();
            take(Feedback::Nack { ssrc: nack.media_ssrc, missing });
        }
        (PSFB, PLI) => {
            take(Feedback::KeyFrameRequest { ssrc: PictureLossIndication::unmarshal(packet).ok()?.media_ssrc });
        }
        (PSFB, FIR) => {
            let request = FullIntraRequest::unmarshal(packet).ok()?;
            request.fir.iter().for_each(|entry| take(Feedback::KeyFrameRequest { ssrc: entry.ssrc }));
        }
        (BYE, _) => Goodbye::unmarshal(packet).ok()?.sources.iter().for_each(|&ssrc| take(Feedback::Bye { ssrc })),
        // Descriptions and extended reports change nothing here.
        _ => {}
    }
    Some(())
}

fn read_sender_report(report_: SenderReport, take: &mut impl FnMut(Feedback)) {
    take(Feedback::Sender(SenderInfo {
        ssrc: report_.ssrc,
        ntp: report_.ntp_time,
        rtp: report_.rtp_time,
        packets: report_.packet_count,
        octets: report_.octet_count,
    }));
    report_.reports.iter().for_each(|block| take(report(block)));
}

fn report(block: &ReceptionReport) -> Feedback {
    Feedback::Report(ReportBlock {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        lost: block.total_lost,
        highest: block.last_sequence_number,
        jitter: block.jitter,
        last_sr: block.last_sender_report,
        delay: block.delay,
    })
}

fn to_bytes(packets: &[Box<dyn rtc_rtcp::packet::Packet>]) -> BytesMut {
    // Only a buffer that is too short fails, and the library sizes it.
    rtc_rtcp::packet::marshal(packets).unwrap_or_default()
}

const SR: u8 = 200;
const RR: u8 = 201;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(compound: &[u8]) -> (Vec<Feedback>, usize) {
        let mut all = Vec::new();
        let malformed = parse_rtcp(compound, |feedback| all.push(feedback));
        (all, malformed)
    }

    #[test]
    fn what_is_written_is_read() {
        let info = SenderInfo { ssrc: 5, ntp: 0x0102_0304_0506_0708, rtp: 99, packets: 3, octets: 4 };
        assert_eq!(parse(&write::sender_report(info, "name")), (vec![Feedback::Sender(info)], 0));
        let block =
            ReportBlock { ssrc: 7, fraction_lost: 9, lost: 2, highest: 70_000, jitter: 1, last_sr: 8, delay: 6 };
        assert_eq!(parse(&write::receiver_report(1, &[block])), (vec![Feedback::Report(block)], 0));
        let nack = Feedback::Nack { ssrc: 7, missing: vec![65_534, 65_535, 3, 40] };
        assert_eq!(parse(&write::nack(1, 7, &[65_534, 65_535, 3, 40])), (vec![nack], 0));
        assert_eq!(parse(&write::pli(1, 7)), (vec![Feedback::KeyFrameRequest { ssrc: 7 }], 0));
    }

    #[test]
    fn a_malformed_packet_in_a_compound_one_costs_only_itself() {
        let mut compound = vec![0x81, 201, 0, 1, 0, 0, 0, 1];
        compound.extend_from_slice(&write::pli(1, 7));
        assert_eq!(parse(&compound), (vec![Feedback::KeyFrameRequest { ssrc: 7 }], 1));
    }

    proptest! {
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
