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
mod tests;
