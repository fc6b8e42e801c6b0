//! What pipes carry of data channels: that there is one, and its messages in parts.

use std::borrow::Cow;

use lockgate_model::TrackId;
use lockgate_transport::data::{Channel, MAX_LABEL, Message, Reliability};

use super::{FrameError, MAX_ID, PipedTrack, track};
use crate::pipe::fields::{Fields, put_text, put32};

/// What must be known of a data channel to open it to viewers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AnnouncedChannel<'a> {
    pub(crate) track: PipedTrack,
    pub(crate) id: TrackId,
    pub(crate) channel: Cow<'a, Channel>,
    pub(crate) muted: bool,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipedMessage<'a> {
    pub(crate) track: PipedTrack,
    pub(crate) text: bool,
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) bytes: &'a [u8],
}

impl<'a> AnnouncedChannel<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (way, value) = match self.channel.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::Retransmits(most) => (1, most),
            Reliability::Lifetime(most) => (2, most),
        };
        put32(out, self.track.0);
        out.extend_from_slice(&[u8::from(self.channel.ordered), way]);
        put32(out, value);
        out.push(u8::from(self.muted));
        put_text(out, self.id.as_str());
        put_text(out, &self.channel.label);
        put_text(out, &self.channel.protocol);
    }

    /// A copy that stays when the batch is gone.
    pub(crate) fn into_owned(self) -> AnnouncedChannel<'static> {
        AnnouncedChannel { channel: Cow::Owned(self.channel.into_owned()), ..self }
    }

    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        let (track, ordered) = (track(fields)?, fields.bool()?);
        let (way, value) = (fields.u8()?, fields.u32()?);
        let reliability = fields.meaning(match (way, value) {
            (0, 0) => Some(Reliability::Reliable),
            (1, most) => Some(Reliability::Retransmits(most)),
            (2, most) => Some(Reliability::Lifetime(most)),
            _ => None,
        })?;
        let muted = fields.bool()?;
        let id = TrackId::new(fields.text(MAX_ID)?);
        let id = fields.meaning(id.ok())?;
        let [label, protocol] = [fields.text(MAX_LABEL)?.to_owned(), fields.text(MAX_LABEL)?.to_owned()];
        let channel = Cow::Owned(Channel { label, protocol, ordered, reliability });
        Ok(Self { track, id, channel, muted })
    }
}

impl<'a> PipedMessage<'a> {
    /// A message in parts that fit frames.
    pub(crate) fn parts(track: PipedTrack, message: &'a Message) -> impl Iterator<Item = Self> {
        let (bytes, text) = (&message.bytes[..], message.text);
        let count = bytes.len().div_ceil(PART).max(1);
        (0..count).map(move |at| {
            let bytes = &bytes[at * PART..bytes.len().min((at + 1) * PART)];
            Self { track, text, first: at == 0, last: at + 1 == count, bytes }
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put32(out, self.track.0);
        out.push(u8::from(self.text) | u8::from(self.first) << 1 | u8::from(self.last) << 2);
        out.extend_from_slice(self.bytes);
    }

    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        let (track, flags) = (track(fields)?, fields.u8()?);
        let flags = fields.meaning(Some(flags).filter(|flags| *flags < 8))?;
        let [text, first, last] = [0, 1, 2].map(|bit| flags >> bit & 1 == 1);
        Ok(Self { track, text, first, last, bytes: fields.rest() })
    }
}

/// Of a message in one frame, in bytes.
pub(super) const PART: usize = 32 * 1024;
