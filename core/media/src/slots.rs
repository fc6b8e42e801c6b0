//! A viewer's own m-lines: it offered, we answered, and tracks take the lines that fit them, one after the other.
//!
//! Nothing is negotiated after the answer (WHEP knows no second offer), so a line keeps its source: when a track ends, another one goes
//! on under the same SSRC, where the numbers stand.

use lockgate_model::{Codec, MediaKind, TrackId};
use lockgate_transport::sdp::{CodecLine, Description, ExtensionMap, ReceiverLine, Remote, Section};

use crate::arena::Key;
use crate::negotiate::NegotiateError;
use crate::subscribe::NewLine;
use crate::subscription::{Format, Past, extensions};

/// All lines of a viewer's offer.
pub(crate) struct Slots {
    lines: Vec<Slot>,
    /// The viewer's ICE credentials: others are a restart.
    pub(crate) remote: Remote,
}

struct Slot {
    /// As it was offered.
    section: Section,
    /// What can be sent on it, in the viewer's order; none: the line is rejected.
    codecs: Vec<CodecLine>,
    ssrc: u32,
    rtx: u32,
    used: Option<Used>,
    /// Where the numbers of the track before stand.
    past: Option<Past>,
    /// Whether the answer promised dependency descriptors; none before there was one with a track in it.
    described: Option<bool>,
}

struct Used {
    track: Key,
    id: TrackId,
    stream: String,
    cause: u64,
    codec: u8,
    described: bool,
}

/// How a track is sent on a line.
pub(crate) struct Placed {
    pub(crate) ssrc: u32,
    pub(crate) format: Format,
    /// Where to go on.
    pub(crate) past: Option<Past>,
}

impl Slots {
    /// The lines of an offer.
    pub(crate) fn new(offer: Description, mut source: impl FnMut() -> u32) -> Result<Self, NegotiateError> {
        let slot = |section: Section| {
            let takes = !section.rejected && section.receives;
            let is_media = matches!(section.kind, Some(MediaKind::Audio | MediaKind::Video));
            let codecs = if takes && is_media { section.codecs.clone() } else { Vec::new() };
            Slot { section, codecs, ssrc: source(), rtx: source(), used: None, past: None, described: None }
        };
        let lines: Vec<_> = offer.sections.into_iter().map(slot).collect();
        if lines.iter().all(|slot| slot.codecs.is_empty()) {
            return Err(NegotiateError::NothingReceived);
        }
        Ok(Self { lines, remote: offer.ice })
    }

    /// Whether another offer is about the same lines.
    pub(crate) fn is_of(&self, offer: &Description) -> bool {
        self.lines.iter().map(|slot| &slot.section.mid).eq(offer.sections.iter().map(|section| &section.mid))
    }

    pub(crate) fn tracks(&self) -> impl Iterator<Item = Key> + '_ {
        self.lines.iter().filter_map(|slot| slot.used.as_ref()).map(|used| used.track)
    }

    pub(crate) fn cause_of(&self, track: Key) -> Option<u64> {
        let mut used = self.lines.iter().filter_map(|slot| slot.used.as_ref());
        used.find(|used| used.track == track).map(|used| used.cause)
    }

    /// What is sent: mid and track.
    pub(crate) fn placed(&self) -> Vec<(String, TrackId)> {
        let placed = |slot: &Slot| Some((slot.section.mid.clone(), slot.used.as_ref()?.id.clone()));
        self.lines.iter().filter_map(placed).collect()
    }

    /// Sends a track on the first free line that fits it.
    pub(crate) fn take(&mut self, new: &NewLine) -> Option<Placed> {
        let (slot, codec) = self.lines.iter_mut().find_map(|slot| slot.codec_for(new).map(|codec| (slot, codec)))?;
        slot.used = Some(Used {
            track: new.track,
            id: new.id.clone(),
            stream: new.stream.clone(),
            cause: new.cause,
            codec: codec.payload_type,
            described: new.described,
        });
        let format = Format::on(&slot.section.mid, &codec, Some(slot.rtx), slot.extensions());
        Some(Placed { ssrc: slot.ssrc, format, past: slot.past })
    }

    pub(crate) fn note_past(&mut self, track: Key, past: Past) {
        let of = |slot: &&mut Slot| slot.used.as_ref().is_some_and(|used| used.track == track);
        self.lines.iter_mut().find(of).into_iter().for_each(|slot| slot.past = Some(past));
    }

    /// A track is sent no more. Who caused that it was comes back, if it was.
    pub(crate) fn free(&mut self, track: Key) -> Option<u64> {
        let of = |slot: &&mut Slot| slot.used.as_ref().is_some_and(|used| used.track == track);
        self.lines.iter_mut().find(of)?.used.take().map(|used| used.cause)
    }

    /// The answer's lines. What they promise holds from the first answer on that says of any what is sent.
    pub(crate) fn answer(&mut self) -> Vec<ReceiverLine<'_>> {
        if self.lines.iter().any(|slot| slot.used.is_some()) {
            for slot in &mut self.lines {
                slot.described.get_or_insert(slot.used.as_ref().is_some_and(|used| used.described));
            }
        }
        self.lines.iter().map(Slot::line).collect()
    }
}

impl Slot {
    /// By which of the viewer's codecs a track can be sent here, if it can.
    fn codec_for(&self, new: &NewLine) -> Option<CodecLine> {
        let kept = self.described.is_none_or(|described| !described || new.described);
        if self.used.is_some() || !kept {
            return None;
        }
        let exact = self.codecs.iter().find(|own| own.is_compatible(&new.codec));
        // Decoders of H.264 take more than viewers dare to name, and publishers name more than they use.
        let close = || self.codecs.iter().find(|own| own.codec == Codec::H264 && new.codec.codec == Codec::H264);
        exact.or_else(close).cloned()
    }

    /// What may be sent with its packets; the viewer's to number.
    fn extensions(&self) -> ExtensionMap {
        let described = self.described.unwrap_or_else(|| self.used.as_ref().is_some_and(|used| used.described));
        let ours = self.section.kind.map(|kind| extensions(kind, described)).unwrap_or_default();
        self.section.extensions.both(&ours)
    }

    /// What is sent comes first, the rest is for tracks to come.
    fn line(&self) -> ReceiverLine<'_> {
        let first = self.used.as_ref().map(|used| used.codec);
        let (first, rest): (Vec<_>, Vec<_>) = self.codecs.iter().partition(|codec| Some(codec.payload_type) == first);
        ReceiverLine {
            section: &self.section,
            codecs: first.into_iter().chain(rest).collect(),
            extensions: self.extensions(),
            stream: self.used.as_ref().map(|used| used.stream.as_str()),
            track: self.used.as_ref().map(|used| used.id.as_str()),
            ssrc: self.ssrc,
            rtx: self.rtx,
        }
    }
}
