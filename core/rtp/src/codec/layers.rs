//! Which layers a packet belongs to, told alike for all codecs: by the dependency descriptor where there is one, else by the payload.

use lockgate_model::Codec;

use super::descriptor::{Descriptor, DescriptorError, Descriptors, Indication, MaskPlace, Shape};
use super::target::{Target, Targets};
use super::vp8::{self, Vp8};
use super::vp9::{self, Vp9};
use super::{PacketFacts, av1, h264};

/// What a packet's frame is within a layered stream. A frame is one spatial layer of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// Its spatial layer.
    pub spatial: u8,
    /// Its temporal layer.
    pub temporal: u8,
    /// The packet is its frame's first, as far as that is told.
    pub begins: bool,
    /// The packet is its frame's last, as far as that is told.
    pub ends: bool,
    /// What it is part of. Of a stream without layers every packet is part of everything.
    pub part_of: Targets,
    /// What it can be left out of, and nothing else is missed.
    pub spare_in: Targets,
    /// What can be decoded from this frame on, if the frame can.
    pub opens: Targets,
    /// When that is so.
    pub needs: Needs,
}

/// What a decoder must have got for a frame to open something to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Frames that are named: bit `n` stands for the one whose number is `n + 1` less.
    Frames(u32),
    /// Everything of the same spatial layer up to this temporal one.
    Temporal(u8),
    /// Everything of the next lower spatial layer and the same temporal one.
    SpatialBelow,
    /// More than can be told.
    Unknown,
}

/// What a packet's dependency descriptor says that viewers are to see otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorFacts {
    /// The frame's number.
    pub number: u16,
    /// Where the mask of active decode targets is to stand.
    pub mask: MaskPlace,
    /// Which structure it was read by.
    pub generation: u8,
    /// A structure, or a mask, comes with the packet.
    pub tells_targets: bool,
}

/// Reads the packets of one stream, and keeps what is needed for that.
#[derive(Clone, Debug, Default)]
pub struct LayerReader {
    descriptors: Descriptors,
    /// How its decode targets lie in each other, and the target that each stands for.
    shape: Shape,
    grid: Grid,
    /// What the last descriptor with other indications came out as.
    last: Option<(u64, Sets)>,
    /// The highest spatial layer that comes, and how many pictures went without it.
    top: u8,
    without_top: u8,
    /// The highest temporal layer that was seen.
    temporal: u8,
    /// Upper spatial layers do without the lower ones, but at key frames.
    apart: bool,
    /// What viewers of a layer that stopped coming are sent instead cannot be decoded yet.
    lost: bool,
}

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Its codec.
    pub codec: Codec,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its dependency descriptor.
    pub descriptor: Option<&'a [u8]>,
    /// The marker bit: it is its picture's last.
    pub marker: bool,
    /// Others have overtaken it.
    pub late: bool,
}

/// How decode targets lie in the grid.
#[derive(Clone, Debug, Default)]
struct Grid {
    generation: Option<u8>,
    active: u32,
    /// The decode target of each target.
    of: [u8; Target::COUNT],
    /// The decode targets of which a viewer of each target has everything.
    told: [u32; Target::COUNT],
    /// The highest layers, spatial and temporal.
    top: (u8, u8),
    /// The lowest spatial layer.
    bottom: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sets {
    part_of: Targets,
    spare_in: Targets,
    opens: Targets,
}

impl LayerFacts {
    /// What the frame opens to a decoder that got everything of `whole`, and of the frames before this one those in `sent`: bit `n`
    /// stands for the one whose number is `n + 1` less.
    pub fn opened(&self, whole: Targets, sent: u32) -> Targets {
        match self.needs {
            Needs::Nothing => self.opens,
            Needs::Frames(needed) if needed & !sent == 0 => self.opens,
            Needs::Frames(_) | Needs::Unknown => Targets::NONE,
            Needs::Temporal(temporal) => self.opens.and(whole.rows_with(temporal)),
            Needs::SpatialBelow => self.opens.and(whole.one_up()),
        }
    }

    /// A packet of a stream without layers.
    pub const PLAIN: Self = Self {
        spatial: 0,
        temporal: 0,
        begins: false,
        ends: false,
        part_of: Targets::ALL,
        spare_in: Targets::NONE,
        opens: Targets::NONE,
        needs: Needs::Nothing,
    };
}

impl Default for LayerFacts {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl LayerReader {
    /// Reads a packet. A descriptor that cannot be read is passed over, and why comes back as well.
    pub fn read(&mut self, arrived: Arrived<'_>) -> (PacketFacts, Option<DescriptorError>) {
        match arrived.descriptor.map(|bytes| self.descriptors.read(bytes, arrived.late)) {
            None => (self.by_payload(arrived), None),
            Some(Ok(descriptor)) => (self.by_descriptor(&descriptor, arrived), None),
            Some(Err(error)) => (self.by_payload(arrived), Some(error)),
        }
    }

    /// The highest layers that come: spatial and temporal.
    pub fn top(&self) -> (u8, u8) {
        (self.top, self.temporal)
    }

    /// Whether viewers of an upper layer were left without anything that they can decode since this was last asked: it stopped, and
    /// the lower ones go on without a key frame.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// The decode targets that a viewer of this target gets everything of, as its packets' descriptors are to say.
    pub fn told(&self, target: Target) -> u32 {
        self.grid.told[target.index()]
    }

    /// The structure that descriptors are read by now.
    pub fn generation(&self) -> u8 {
        self.descriptors.generation()
    }

    fn by_payload(&mut self, arrived: Arrived<'_>) -> PacketFacts {
        let payload = arrived.payload;
        match arrived.codec {
            Codec::Opus => PacketFacts::default(),
            Codec::Vp8 => vp8::read(payload).map(|read| self.of_vp8(&read)).unwrap_or_default(),
            Codec::Vp9 => vp9::read(payload).map(|read| self.of_vp9(&read, arrived)).unwrap_or_default(),
            Codec::H264 => PacketFacts { key_frame: h264::starts_key_frame(payload), ..PacketFacts::default() },
            Codec::Av1 => PacketFacts { key_frame: av1::starts_key_frame(payload), ..PacketFacts::default() },
        }
    }

    fn of_vp8(&mut self, read: &Vp8) -> PacketFacts {
        self.temporal = self.temporal.max(read.temporal);
        let temporal = read.temporal;
        let own = Target::new(0, temporal);
        // A frame that depends on the lowest layer only opens its own layer to who has the one below it (RFC 7741 §4.2).
        let opens = read.begins && read.sync && temporal > 0;
        let above = Targets::from(Target::new(0, temporal + 1));
        let open = Targets::from(own).without(if temporal < self.temporal { above } else { Targets::NONE });
        let layer = LayerFacts {
            spatial: 0,
            temporal,
            begins: read.begins,
            ends: false,
            part_of: Targets::from(own),
            spare_in: Targets::NONE,
            opens: if opens { open } else { Targets::NONE },
            needs: Needs::Temporal(temporal.saturating_sub(1)),
        };
        PacketFacts { key_frame: read.key_frame, layer, picture: Some(read.numbers), descriptor: None }
    }

    fn of_vp9(&mut self, read: &Vp9, arrived: Arrived<'_>) -> PacketFacts {
        let (key_frame, picture) = (read.is_key(), Some(read.numbers));
        if !read.layered {
            return PacketFacts { key_frame, picture, ..PacketFacts::default() };
        }
        self.temporal = self.temporal.max(read.temporal);
        if !arrived.late {
            self.note_top(read.spatial, arrived.marker);
            self.apart = !key_frame && (self.apart || read.unused_above && read.spatial < self.top);
        }
        let own = Target::new(read.spatial, read.temporal);
        let mut part_of = Targets::from(own);
        if read.unused_above && read.spatial < self.top {
            part_of = part_of.and(Targets::of_spatial(read.spatial..=read.spatial));
        }
        let (opens, needs) = match (read.refers_back, read.refers_below) {
            _ if !read.begins => (Targets::NONE, Needs::Nothing),
            (true, _) if read.switch_up && read.temporal < 3 => {
                (Targets::from(Target::new(read.spatial, read.temporal + 1)), Needs::Temporal(read.temporal))
            }
            // Who has the layer below it can go over to this one (RFC 9628 §4.2, the P bit).
            (false, true) if read.spatial > 0 => (this_layer(own), Needs::SpatialBelow),
            (false, false) if read.spatial > 0 => (this_layer(own), Needs::Nothing),
            _ => (Targets::NONE, Needs::Nothing),
        };
        let layer = LayerFacts {
            spatial: read.spatial,
            temporal: read.temporal,
            begins: read.begins,
            ends: read.ends,
            part_of,
            spare_in: Targets::NONE,
            opens,
            needs,
        };
        PacketFacts { key_frame, layer, picture, descriptor: None }
    }

    /// What comes as the highest spatial layer: one more at once, one less when some pictures ended without it.
    fn note_top(&mut self, spatial: u8, marker: bool) {
        if spatial >= self.top {
            (self.top, self.without_top) = (spatial, 0);
        } else if marker {
            self.without_top += 1;
            if self.without_top >= WITHOUT_TOP {
                (self.top, self.without_top) = (spatial, 0);
                self.lost |= self.apart;
            }
        }
    }

    fn by_descriptor(&mut self, read: &Descriptor, arrived: Arrived<'_>) -> PacketFacts {
        let anew = self.lay_out();
        // The structure comes with the lowest layer; where no layer needs another, with each of them when that begins anew.
        let begins = read.attached && (anew || read.spatial <= self.grid.bottom);
        // Nobody can decode anything without the structure. One that comes late may not be that which the grid is made of.
        let everybodys = begins || read.attached && arrived.late;
        let sets = if everybodys { Sets::EVERYBODYS } else { self.sets(read) };
        let needs = match read.references {
            none if none.is_empty() => Needs::Nothing,
            some if some.far => Needs::Unknown,
            some => Needs::Frames(some.near),
        };
        let layer = LayerFacts {
            spatial: read.spatial.min(MAX_LAYER),
            temporal: read.temporal.min(MAX_LAYER),
            begins: read.begins,
            ends: read.ends,
            part_of: sets.part_of,
            spare_in: sets.spare_in,
            opens: if read.begins { sets.opens } else { Targets::NONE },
            needs,
        };
        let descriptor = DescriptorFacts {
            number: read.number,
            mask: read.mask,
            generation: self.descriptors.generation(),
            tells_targets: read.attached || read.mask.present,
        };
        // What the encoder wrote may be encrypted end to end: of VP8 that is the bit that says so, too. The descriptor of VP9's payload
        // comes from the packetiser, and tells of layers' key frames more than this one.
        let by_descriptor = begins && read.begins;
        let (key_frame, picture) = match arrived.codec {
            Codec::Vp8 => (by_descriptor, vp8::read(arrived.payload).map(|read| read.numbers)),
            Codec::Vp9 => {
                let (key_frame, numbers) = vp9::read(arrived.payload).map(|read| (read.is_key(), read.numbers)).unzip();
                (key_frame.unwrap_or(false), numbers)
            }
            Codec::Opus | Codec::H264 | Codec::Av1 => (by_descriptor, None),
        };
        PacketFacts { key_frame, layer, picture, descriptor: Some(descriptor) }
    }

    fn sets(&mut self, read: &Descriptor) -> Sets {
        let sets = match self.last {
            Some((same, sets)) if same == read.indications => sets,
            _ => self.grid.sets(read),
        };
        self.last = Some((read.indications, sets));
        sets
    }

    /// Lays the decode targets out anew if there are others than before. True: by another structure.
    fn lay_out(&mut self) -> bool {
        let (generation, active) = (self.descriptors.generation(), self.descriptors.active());
        let Some(structure) = self.descriptors.structure() else { return false };
        let anew = self.grid.generation != Some(generation);
        if !anew && self.grid.active == active {
            return false;
        }
        if anew {
            self.shape = structure.shape();
        }
        let before = std::mem::replace(&mut self.grid, Grid::new(&self.shape, structure.targets(), generation, active));
        (self.top, self.temporal, self.last) = (self.grid.top.0, self.grid.top.1, None);
        // Who is moved to another decode target within a stream cannot go on with it unless its frames were sent so far.
        let mut moves = before.of.iter().zip(&self.grid.of);
        let had = |before: u8, now: u8| self.shape.within[usize::from(before)] >> now & 1 == 1;
        self.lost |= !anew && moves.any(|(before, now)| !had(*before, *now));
        anew
    }
}

impl Sets {
    /// Of what nobody can do without.
    const EVERYBODYS: Self = Self { part_of: Targets::ALL, spare_in: Targets::NONE, opens: Targets::NONE };
}

impl Grid {
    fn new(shape: &Shape, targets: u8, generation: u8, active: u32) -> Self {
        let active_ones = || (0..targets).filter(|target| active >> target & 1 == 1);
        let layers_of = |target: &u8| shape.layers[usize::from(*target)];
        let mut grid = Self { generation: Some(generation), active, ..Self::default() };
        for place in Target::all() {
            let fits = |target: &u8| {
                let (spatial, temporal) = layers_of(target);
                spatial <= place.spatial() && temporal.min(MAX_LAYER) <= place.temporal()
            };
            // Below the lowest there is nothing: it is what everybody gets.
            let own = active_ones().filter(fits).max_by_key(layers_of).or_else(|| active_ones().min_by_key(layers_of));
            let own = own.unwrap_or(0);
            grid.of[place.index()] = own;
            grid.told[place.index()] = shape.within[usize::from(own)] & active;
        }
        let highest = |(spatial, temporal): (u8, u8), one: (u8, u8)| (spatial.max(one.0), temporal.max(one.1));
        let (spatial, temporal) = active_ones().map(|target| layers_of(&target)).fold((0, 0), highest);
        grid.top = (spatial.min(MAX_LAYER), temporal.min(MAX_LAYER));
        grid.bottom = active_ones().map(|target| shape.lowest[usize::from(target)]).min().unwrap_or(0);
        grid
    }

    fn sets(&self, read: &Descriptor) -> Sets {
        let mut sets = Sets { part_of: Targets::NONE, spare_in: Targets::NONE, opens: Targets::NONE };
        for target in Target::all() {
            match read.indication(self.of[target.index()]) {
                Indication::NotPresent => continue,
                Indication::Discardable => sets.spare_in = sets.spare_in.with(target),
                Indication::Switch => sets.opens = sets.opens.with(target),
                Indication::Required => {}
            }
            sets.part_of = sets.part_of.with(target);
        }
        sets
    }
}

/// The targets of a spatial layer from a temporal one on.
fn this_layer(own: Target) -> Targets {
    Targets::from(own).and(Targets::of_spatial(own.spatial()..=own.spatial()))
}

/// Higher layers than the fourth count as that.
const MAX_LAYER: u8 = 3;
/// Pictures that end below the highest layer before that counts as gone: a quarter of a second.
const WITHOUT_TOP: u8 = 8;

#[cfg(test)]
mod tests;
