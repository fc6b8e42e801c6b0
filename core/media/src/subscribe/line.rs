//! One m-line of a viewer's transport: what is sent on it, how it is offered, and what an answer makes of it.

use lockgate_model::{MediaKind, TrackId};
use lockgate_transport::sdp::{CodecLine, ExtensionMap, OfferLine, Section, Sends};

use crate::arena::Key;
use crate::subscription::{Format, extensions};

/// A line, and what is sent on it.
pub(super) struct Line {
    pub(super) mid: String,
    pub(super) kind: MediaKind,
    pub(super) codec: CodecLine,
    /// Its packets have dependency descriptors.
    pub(super) described: bool,
    pub(super) use_: Use,
}

/// What a line is used for.
pub(super) enum Use {
    Track(Used),
    Inactive,
    Stopped,
}

/// The track on a line, and under which sources.
#[derive(Clone)]
pub(super) struct Used {
    pub(super) track: Key,
    pub(super) id: TrackId,
    pub(super) stream: String,
    pub(super) cause: u64,
    pub(super) ssrc: u32,
    pub(super) rtx: Option<u32>,
}

/// What an answer settled about a track: how it is sent, or that the viewer does not want it.
pub(crate) struct Settled {
    pub(crate) track: Key,
    pub(crate) format: Option<Format>,
}

impl Line {
    pub(super) fn used(&self) -> Option<&Used> {
        match &self.use_ {
            Use::Track(used) => Some(used),
            Use::Inactive | Use::Stopped => None,
        }
    }

    pub(super) fn offer(&self) -> OfferLine<'_> {
        let sends = match &self.use_ {
            Use::Track(used) => {
                Sends::Track { stream: &used.stream, track: used.id.as_str(), ssrc: used.ssrc, rtx: used.rtx }
            }
            Use::Inactive => Sends::Nothing,
            Use::Stopped => Sends::Stopped,
        };
        OfferLine { mid: &self.mid, kind: self.kind, codec: &self.codec, extensions: self.extensions(), sends }
    }

    /// What may be sent with its packets; ours to number.
    fn extensions(&self) -> ExtensionMap {
        extensions(self.kind, self.described)
    }

    pub(super) fn settle(&self, section: &Section) -> Option<Settled> {
        let used = self.used()?;
        let taken = section.codecs.iter().find(|line| line.codec == self.codec.codec);
        let format = taken.filter(|_| section.receives && !section.rejected).map(|codec| {
            // An answer may name its own payload types (RFC 3264 §6.1): they are what the viewer wants to see.
            Format::on(&self.mid, codec, used.rtx, self.extensions().both(&section.extensions))
        });
        Some(Settled { track: used.track, format })
    }
}
