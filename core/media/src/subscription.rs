//! One viewer of one track: which encoding it gets, and how the stream's numbers look to it.

mod copies;
mod format;
mod forward;
mod repair;

use std::time::Instant;

use lockgate_model::{Codec, Layer, Limits, MediaKind};
use lockgate_rtp::{LayerReader, Renumbered, SenderInfo, Target, Targets};

use self::copies::Copies;
pub(crate) use self::format::{Format, extensions};
use crate::arena::Key;
use crate::demands::Demands;
use crate::numbers::{Numbers, Origin};
use crate::packet::Packet;
use crate::selection::Selection;
use crate::told::Told;

/// One viewer of one track.
pub(crate) struct Subscription {
    /// The viewer's transport.
    pub(crate) transport: Key,
    /// What the viewer brings sound and picture together by.
    pub(crate) stream: Box<str>,
    pub(crate) ssrc: u32,
    pub(crate) limits: Limits,
    clock_rate: u32,
    /// None until the viewer has agreed.
    format: Option<Format>,
    numbers: Numbers,
    /// The highest layer that the viewer's link has room for; none: not even the lowest.
    pub(crate) ceiling: Option<Layer>,
    /// The encoding that is wanted, of those that come; none: nothing is to be sent.
    target: Option<u8>,
    /// The encoding that would be wanted if all came.
    wish: Option<u8>,
    /// The viewer does not want the track at all.
    is_refused: bool,
    /// Whether the numbering's current origin is being sent.
    open: bool,
    selection: Selection,
    last: Option<Sent>,
    /// The codec's numbers of the last packet, as the viewer saw them.
    picture: Option<Renumbered>,
    frame: Option<u16>,
    left_out: Option<u16>,
    /// Descriptors told fewer decode targets than there are, and nothing else since.
    masked: bool,
    /// What was sent, for a viewer that is sent it again as it was.
    copies: Option<Box<Copies>>,
    /// How many retransmissions there were, from a number on that is drawn.
    repeated: u64,
    packets: u32,
    octets: u32,
    /// What the viewer was told of what it gets, and whether that may be something else by now.
    pub(crate) told: Told,
    pub(crate) is_stirred: bool,
    /// What the viewer asks for again and anew.
    pub(crate) demands: Demands,
}

#[derive(Clone, Copy)]
struct Sent {
    timestamp: u32,
    at: Instant,
}

/// Where a viewer's numbers stand: another track goes on there under the same source.
#[derive(Clone, Copy)]
pub(crate) struct Past {
    highest: u64,
    repeated: u64,
    last: Option<Sent>,
    picture: Option<Renumbered>,
    frame: Option<u16>,
    packets: u32,
    octets: u32,
}

/// What is chosen for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The best of the encodings that come.
    pub(crate) encoding: u8,
    /// Its layers.
    pub(crate) layers: Target,
    /// The best of all that it may have: the publisher may have to be asked for it first.
    pub(crate) wish: u8,
}

/// A packet that is a viewer's turn.
pub(crate) struct Next<'a> {
    pub(crate) packet: &'a Packet<'a>,
    /// A decoder may begin with it; every packet of sound is such.
    pub(crate) key: bool,
    /// The one before, if it is to go along: it may have been lost.
    pub(crate) before: Option<Packet<'a>>,
    /// Bytes that make it as long as those that it leaves with.
    pub(crate) padding: u8,
}

/// What must be known of an encoding to go on with it.
pub(crate) struct Source<'a> {
    pub(crate) origin: Origin,
    pub(crate) sender: Option<SenderInfo>,
    pub(crate) layers: &'a LayerReader,
    /// The last report of another encoding of the track.
    pub(crate) sender_of: &'a dyn Fn(u8) -> Option<SenderInfo>,
}

impl Subscription {
    pub(crate) fn new(
        now: Instant,
        transport: Key,
        stream: String,
        ssrc: u32,
        random: u32,
        codec: Codec,
        limits: Limits,
    ) -> Self {
        Self {
            transport,
            stream: stream.into(),
            ssrc,
            limits,
            clock_rate: codec.clock_rate(),
            format: None,
            // Below half: a peer that sees the first packets out of order must not take them for a wrap (RFC 3711 §3.3.1).
            numbers: Numbers::new(random as u16 & 0x7fff),
            ceiling: Some(Layer::MAX),
            target: None,
            wish: None,
            is_refused: false,
            open: false,
            selection: Selection::new(),
            last: None,
            picture: None,
            frame: None,
            left_out: None,
            masked: false,
            copies: None,
            repeated: u64::from(random >> 16 & 0x7fff),
            packets: 0,
            octets: 0,
            told: if codec.kind() == MediaKind::Audio { Told::of_sound() } else { Told::default() },
            is_stirred: false,
            demands: Demands::new(now),
        }
    }

    /// Where its numbers stand.
    pub(crate) fn past(&self) -> Past {
        Past {
            highest: self.numbers.highest(),
            repeated: self.repeated,
            last: self.last,
            picture: self.picture,
            frame: self.frame,
            packets: self.packets,
            octets: self.octets,
        }
    }

    /// Goes on under the source of another track before: a receiver sees one stream, as when the encoding changes.
    pub(crate) fn go_on(&mut self, past: Past) {
        self.numbers = Numbers::after(past.highest);
        (self.repeated, self.last) = (past.repeated, past.last);
        (self.picture, self.frame) = (past.picture, past.frame);
        (self.packets, self.octets) = (past.packets, past.octets);
    }

    /// The viewer agreed, or (with none) refused.
    pub(crate) fn set_format(&mut self, format: Option<Format>) {
        if format.is_none() {
            self.close();
        }
        self.is_stirred = true;
        self.is_refused = format.is_none();
        if self.copies.is_some() != format.as_ref().is_some_and(|format| format.copies) {
            self.copies = self.copies.is_none().then(Box::default);
        }
        self.format = format;
    }

    /// Nothing is sent until a decoder can begin: what is left out meanwhile has no place in the viewer's numbers.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.is_stirred = true;
    }

    pub(crate) fn is_agreed(&self) -> bool {
        self.format.is_some()
    }

    /// Takes other limits. What they forbid of an encoding ends with the next packet, of its layers with the next picture; what they
    /// allow begins where a decoder can follow.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.is_stirred = true;
    }

    /// Chooses an encoding and its layers. `allowed`: whether limits forbid neither an encoding nor one of its spatial layers. True if
    /// a key frame of it is needed now.
    pub(crate) fn aim(&mut self, aim: Option<Aim>, allowed: impl Fn(u8, u8) -> bool) -> bool {
        let target = aim.map(|aim| aim.encoding);
        let layers = aim.map_or(self.selection.wish(), |aim| aim.layers);
        self.is_stirred |= self.target != target || layers != self.selection.wish();
        (self.target, self.wish) = (target, aim.map(|aim| aim.wish));
        self.selection.set_wish(layers);
        let current = self.current().filter(|_| self.open);
        // Layers that can be left without a key frame are left with the next picture.
        let spatial = if self.selection.is_stuck_above() { self.selection.current().spatial() } else { 0 };
        if target.is_none() || current.is_some_and(|origin| !allowed(origin.encoding, spatial)) {
            self.close();
        }
        self.wanted().is_some() || self.open && self.selection.needs_key()
    }

    /// The layers that are sent of its encoding.
    pub(crate) fn sent_layers(&self) -> Target {
        self.selection.current()
    }

    /// Whether a key frame is waited for that changes them.
    pub(crate) fn changes_layers(&self) -> bool {
        self.selection.is_on_its_way()
    }

    /// The encoding whose next key frame is waited for.
    pub(crate) fn wanted(&self) -> Option<u8> {
        let current = self.current().filter(|_| self.open).map(|origin| origin.encoding);
        self.target.filter(|target| current != Some(*target))
    }

    /// The encoding that was chosen.
    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    /// The encoding that it would get if all came.
    pub(crate) fn wish(&self) -> Option<u8> {
        self.wish
    }

    /// The sources that its packets are of: the stream's, and that of packets that are sent again.
    pub(crate) fn sources(&self) -> impl Iterator<Item = u32> + use<> {
        let again = self.format.as_ref().and_then(|format| format.rtx).map(|(ssrc, _)| ssrc);
        [Some(self.ssrc), again].into_iter().flatten()
    }

    /// The encodings of which something is wanted, until the viewer refuses the track.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = u8> + use<'_> {
        let all = [self.target, self.wish, self.sent_encoding()];
        all.into_iter().flatten().filter(|_| !self.is_refused)
    }

    /// The encoding that is being sent.
    pub(crate) fn sent_encoding(&self) -> Option<u8> {
        self.current().filter(|_| self.open).map(|origin| origin.encoding)
    }

    /// The encoding that a lost picture is to be repaired of.
    pub(crate) fn encoding_to_repair(&self) -> Option<u8> {
        self.sent_encoding().or(self.target)
    }

    /// Whether the viewer understands packets that carry the one before as well.
    pub(crate) fn takes_redundancy(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.red.is_some())
    }

    /// Whether packets of an encoding are of any use: they are sent, or one of them may be the first that is.
    pub(crate) fn uses(&self, encoding: u8) -> bool {
        self.target == Some(encoding) || self.sent_encoding() == Some(encoding)
    }

    /// Whether nothing is sent, nor to be.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.target.is_none() && !self.open
    }

    /// Whether what belongs to these layers is sent, or is to be.
    pub(crate) fn sends(&self, part_of: Targets) -> bool {
        part_of.has(self.selection.current()) || part_of.has(self.selection.wish())
    }

    fn current(&self) -> Option<Origin> {
        self.numbers.current().map(|segment| segment.origin)
    }
}

/// What the packet path touches of each viewer is small, so that many stay in a processor's cache.
const _: () = assert!(size_of::<Subscription>() <= 300);
