//! The template dependency structure of the dependency descriptor (§A.8.2…A.8.4).

use super::DescriptorError;
use crate::codec::bits::Bits;

/// What a frame is to a decode target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// No part of it.
    NotPresent,
    /// A part that nothing else of it needs.
    Discardable,
    /// From this frame on everything of it can be decoded, if this frame can.
    Switch,
    /// A part that others need.
    Required,
}

/// The frames that a frame needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Bit `n`: the frame whose number is `n + 1` less.
    pub near: u32,
    /// Some are further back than these bits tell.
    pub far: bool,
}

/// What frames of a stream look like, from a key frame on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    /// The number of the first template.
    offset: u8,
    templates: [Template; MAX_TEMPLATES],
    count: u8,
    targets: u8,
    chains: u8,
}

/// How the decode targets of a structure lie in each other. The bit `n` of a set is target `n`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The highest spatial and temporal layer that each target has frames of (§A.8.3.4).
    pub(crate) layers: [(u8, u8); MAX_TARGETS],
    /// The lowest spatial layer that each has frames of.
    pub(crate) lowest: [u8; MAX_TARGETS],
    /// The targets of which each has every frame, but for those that need no other frame.
    pub(crate) within: [u32; MAX_TARGETS],
}

/// What some frames have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) indications: u64,
    pub(super) references: References,
}

impl Indication {
    /// That of one decode target among those of all, two bits each.
    pub(super) fn of(all: u64, target: u8) -> Self {
        match all >> (2 * u32::from(target)).min(62) & 3 {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }
}

impl References {
    /// One more, so far back.
    pub(super) fn add(&mut self, difference: u32) {
        match difference {
            1..=32 => self.near |= 1 << (difference - 1),
            _ => self.far = true,
        }
    }

    /// Whether it needs none: a key frame.
    pub fn is_empty(&self) -> bool {
        self.near == 0 && !self.far
    }
}

impl Template {
    /// The decode targets that its frames are part of.
    fn present(&self) -> u32 {
        let present = |target: &u8| Indication::of(self.indications, *target) != Indication::NotPresent;
        (0..MAX_TARGETS as u8).filter(present).fold(0, |all, target| all | 1 << target)
    }
}

impl Structure {
    pub(super) fn read(bits: &mut Bits<'_>) -> Result<Self, DescriptorError> {
        let short = DescriptorError::Short;
        let mut structure = Self {
            offset: bits.take(6).ok_or(short)? as u8,
            templates: [Template::default(); MAX_TEMPLATES],
            count: 0,
            targets: bits.take(5).ok_or(short)? as u8 + 1,
            chains: 0,
        };
        structure.read_layers(bits)?;
        structure.read_templates(bits).ok_or(short)?;
        Ok(structure)
    }

    /// The template of this number.
    pub(super) fn template(&self, id: u8) -> Option<&Template> {
        let place = usize::from(id.wrapping_sub(self.offset) & 0x3f);
        self.templates().get(place)
    }

    /// How many decode targets there are, 1…32.
    pub(crate) fn targets(&self) -> u8 {
        self.targets
    }

    /// How many chains there are, 0…32; so many differences a frame of its own has.
    pub(super) fn chains(&self) -> u8 {
        self.chains
    }

    /// All decode targets: bit `n` is target `n`.
    pub(super) fn all_targets(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.targets))
    }

    /// How its decode targets lie in each other.
    pub(crate) fn shape(&self) -> Shape {
        let all = self.all_targets();
        let mut shape =
            Shape { layers: [(0, 0); MAX_TARGETS], lowest: [u8::MAX; MAX_TARGETS], within: [all; MAX_TARGETS] };
        for template in self.templates() {
            let has = template.present();
            for target in 0..usize::from(self.targets) {
                if has >> target & 1 == 1 {
                    let (spatial, temporal) = shape.layers[target];
                    shape.layers[target] = (spatial.max(template.spatial), temporal.max(template.temporal));
                    shape.lowest[target] = shape.lowest[target].min(template.spatial);
                } else if !template.references.is_empty() {
                    shape.within[target] &= !has;
                }
            }
        }
        shape
    }

    fn templates(&self) -> &[Template] {
        &self.templates[..usize::from(self.count)]
    }

    /// Layer by layer, the spatial ones outside: 0 the same again, 1 the next temporal, 2 the next spatial one, 3 the end.
    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Result<(), DescriptorError> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            let place = self.templates.get_mut(usize::from(self.count)).ok_or(DescriptorError::Bounds)?;
            (place.spatial, place.temporal) = (spatial, temporal);
            self.count += 1;
            match bits.take(2).ok_or(DescriptorError::Short)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
            if usize::from(spatial) >= MAX_SPATIAL || temporal >= MAX_TEMPORAL {
                return Err(DescriptorError::Bounds);
            }
        }
    }

    /// Chains and sizes are read past: nobody here needs them, but what stands behind them.
    fn read_templates(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let count = usize::from(self.count);
        for template in &mut self.templates[..count] {
            template.indications = read_indications(bits, self.targets)?;
        }
        for template in &mut self.templates[..count] {
            while bits.flag()? {
                template.references.add(bits.take(4)? + 1);
            }
        }
        self.chains = bits.below(u32::from(self.targets) + 1)? as u8;
        if self.chains > 0 {
            for _ in 0..self.targets {
                bits.below(self.chains.into())?;
            }
            for _ in 0..count * usize::from(self.chains) {
                bits.take(4)?;
            }
        }
        if bits.flag()? {
            let highest = self.templates().iter().map(|template| template.spatial).max().unwrap_or(0);
            for _ in 0..=highest {
                bits.take(32)?;
            }
        }
        Some(())
    }
}

/// Two bits for each decode target.
pub(super) fn read_indications(bits: &mut Bits<'_>, targets: u8) -> Option<u64> {
    (0..targets).try_fold(0, |all, target| Some(all | u64::from(bits.take(2)?) << (2 * target)))
}

/// What the format has room for: ids of 6 bits, targets of 5, spatial layers of 2 and temporal ones of 3 bits.
const MAX_TEMPLATES: usize = 64;
/// Most decode targets.
const MAX_TARGETS: usize = 32;
const MAX_SPATIAL: usize = 4;
const MAX_TEMPORAL: u8 = 8;
