//! The data channel establishment protocol (RFC 8832), and which message is which (RFC 8831 §6.6).

use bytes::{Bytes, BytesMut};
use rtc_datachannel::data_channel::DataChannel;
use rtc_datachannel::message::Message as Control;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{PayloadProtocolIdentifier as Kind, ReliabilityType};
use rtc_shared::marshal::{Marshal, Unmarshal};

use super::{Channel, MAX_LABEL, Message, Reliability};

/// What a peer says of a stream's channel.
pub(crate) enum Said {
    /// It opens one.
    Open(Channel),
    /// It takes ours.
    Ack,
}

/// What opens a channel. None if its names are too long.
pub(crate) fn write_open(channel: &Channel) -> Option<Bytes> {
    if channel.label.len() > MAX_LABEL || channel.protocol.len() > MAX_LABEL {
        return None;
    }
    let (channel_type, reliability_parameter) = to_type(channel);
    let open = DataChannelOpen {
        channel_type,
        priority: PRIORITY,
        reliability_parameter,
        label: channel.label.clone().into_bytes(),
        protocol: channel.protocol.clone().into_bytes(),
    };
    Some(Control::DataChannelOpen(open).marshal().ok()?.freeze())
}

/// What a peer wrote. None if it makes no sense, or opens a channel with names that are too long or no text.
pub(crate) fn read_control(mut payload: &[u8]) -> Option<Said> {
    match payload {
        ACK => Some(Said::Ack),
        // The library has other kinds, its own, and panics where they are cut off.
        [OPEN, ..] if payload.len() <= MAX_OPEN => match Control::unmarshal(&mut payload).ok()? {
            Control::DataChannelOpen(open) => read_open(open).map(Said::Open),
            _ => None,
        },
        _ => None,
    }
}

fn read_open(open: DataChannelOpen) -> Option<Channel> {
    let (unordered, kind) = DataChannel::get_reliability_params(open.channel_type);
    let reliability = match kind {
        ReliabilityType::Rexmit => Reliability::Retransmits(open.reliability_parameter),
        ReliabilityType::Timed => Reliability::Lifetime(open.reliability_parameter),
        _ => Reliability::Reliable,
    };
    let (label, protocol) = (String::from_utf8(open.label).ok()?, String::from_utf8(open.protocol).ok()?);
    let fits = label.len() <= MAX_LABEL && protocol.len() <= MAX_LABEL;
    fits.then_some(Channel { label, protocol, ordered: !unordered, reliability })
}

fn to_type(channel: &Channel) -> (ChannelType, u32) {
    match (channel.ordered, channel.reliability) {
        (true, Reliability::Reliable) => (ChannelType::Reliable, 0),
        (false, Reliability::Reliable) => (ChannelType::ReliableUnordered, 0),
        (true, Reliability::Retransmits(most)) => (ChannelType::PartialReliableRexmit, most),
        (false, Reliability::Retransmits(most)) => (ChannelType::PartialReliableRexmitUnordered, most),
        (true, Reliability::Lifetime(most)) => (ChannelType::PartialReliableTimed, most),
        (false, Reliability::Lifetime(most)) => (ChannelType::PartialReliableTimedUnordered, most),
    }
}

/// The library's words for how a channel delivers: unordered, kind, value.
pub(crate) fn delivery(channel: &Channel) -> (bool, ReliabilityType, u32) {
    let (kind, value) = match channel.reliability {
        Reliability::Reliable => (ReliabilityType::Reliable, 0),
        Reliability::Retransmits(most) => (ReliabilityType::Rexmit, most),
        Reliability::Lifetime(most) => (ReliabilityType::Timed, most),
    };
    (!channel.ordered, kind, value)
}

/// A message as it goes out: SCTP carries no empty ones.
pub(crate) fn write_message(message: Message) -> (Kind, Bytes) {
    match (message.text, message.bytes.is_empty()) {
        (true, true) => (Kind::StringEmpty, Bytes::from_static(&[0])),
        (false, true) => (Kind::BinaryEmpty, Bytes::from_static(&[0])),
        (true, false) => (Kind::String, message.bytes),
        (false, false) => (Kind::Binary, message.bytes),
    }
}

/// A message as it came. None if it is of no kind that browsers send, or says it is text and is not.
pub(crate) fn read_message(kind: Kind, bytes: BytesMut) -> Option<Message> {
    let (text, bytes) = match kind {
        Kind::String => (true, bytes.freeze()),
        Kind::Binary => (false, bytes.freeze()),
        Kind::StringEmpty => (true, Bytes::new()),
        Kind::BinaryEmpty => (false, Bytes::new()),
        _ => return None,
    };
    (!text || std::str::from_utf8(&bytes).is_ok()).then_some(Message { text, bytes })
}

/// RFC 8832 §8.2.1.
const OPEN: u8 = 3;
/// The acknowledgement of a channel (RFC 8832 §5.2).
pub(crate) const ACK: &[u8] = &[2];
/// The priority of browsers' channels unless they are told otherwise (RFC 8831 §6.4).
const PRIORITY: u16 = 256;
/// An opening with two names that are too long is not looked at.
const MAX_OPEN: usize = 12 + 2 * MAX_LABEL;
