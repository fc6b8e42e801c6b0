//! One m-line of a viewer's transport: what is sent on it, how it is offered, and what an answer makes of it.

use lockgate_model::{MediaKind, TrackId};
use lockgate_transport::sdp::{CodecLine, Extension, ExtensionMap, OfferLine, Section, Sends};

use crate::arena::Key;
use crate::subscription::Format;
use crate::template::Template;

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

    /// What may be sent with its packets. A descriptor is offered of what has one only: decoders that were promised it wait for it.
    fn extensions(&self) -> ExtensionMap {
        let all = extensions(self.kind);
        if self.described { all } else { all.without(Extension::DependencyDescriptor) }
    }

    pub(super) fn settle(&self, section: &Section) -> Option<Settled> {
        let used = self.used()?;
        let taken = section.codecs.iter().find(|line| line.codec == self.codec.codec);
        let format = taken.filter(|_| section.receives && !section.rejected).map(|codec| {
            let ids = self.extensions().both(&section.extensions);
            // Numbers that nobody reports on are left out.
            let ids = if codec.feedback.twcc { ids } else { ids.without(Extension::Twcc) };
            // An answer may name its own payload types (RFC 3264 §6.1): they are what the viewer wants to see.
            let (payload_type, rtx) = (codec.payload_type, used.rtx.zip(codec.rtx));
            Format { payload_type, rtx, red: codec.red, template: Template::new(&self.mid, &ids) }
        });
        Some(Settled { track: used.track, format })
    }
}

/// The header extensions that viewers are offered; ours to number.
fn extensions(kind: MediaKind) -> ExtensionMap {
    let own = match kind {
        MediaKind::Audio => [(Extension::Mid, 1), (Extension::AudioLevel, 2), (Extension::Twcc, 5)].as_slice(),
        MediaKind::Video => &[
            (Extension::Mid, 1),
            (Extension::Orientation, 3),
            (Extension::DependencyDescriptor, 4),
            (Extension::Twcc, 5),
        ],
        MediaKind::Data => &[],
    };
    ExtensionMap::of(own)
}
