//! The dependency descriptor: which frames a frame needs, and what would miss it if it were left out.
//!
//! "Dependency Descriptor RTP Header Extension", appendix A of the RTP payload format for AV1
//! (<https://aomediacodec.github.io/av1-rtp-spec/>); other codecs use it as well. A key frame brings the structure along, a table of
//! templates for the frames that follow; each of those names its template and says only what is different. Everything has a bound and
//! lies in fixed tables: nothing is allocated for a packet.

mod structure;
#[cfg(test)]
mod tests;
mod write;

use super::bits::Bits;

pub(super) use structure::Shape;
use structure::Structure;
pub use structure::{Indication, References};
pub use write::{MAX_DESCRIPTOR, MaskPlace};

/// What the descriptor of a packet says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The packet is its frame's first.
    pub begins: bool,
    /// The packet is its frame's last.
    pub ends: bool,
    /// The frame's number, one more for each frame of the stream.
    pub number: u16,
    /// Its spatial layer, 0…3.
    pub spatial: u8,
    /// Its temporal layer, 0…7.
    pub temporal: u8,
    /// What it is to each decode target, two bits each; see [`Descriptor::indication`].
    pub indications: u64,
    /// The frames that it needs.
    pub references: References,
    /// The structure came with this packet.
    pub attached: bool,
    /// Which decode targets the sender still produces, if the packet says so: bit `n` is target `n`.
    pub active: Option<u32>,
    /// Where that stands, or would.
    pub mask: MaskPlace,
}

/// Why bytes are no descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// It ends too early.
    #[error("the descriptor is cut off")]
    Short,
    /// No structure came yet.
    #[error("the descriptor needs a structure that has not come")]
    NoStructure,
    /// The structure has no such template.
    #[error("the descriptor names a template that there is not")]
    Template,
    /// More layers, templates or references than the format or its bounds here allow.
    #[error("the descriptor's structure is beyond all bounds")]
    Bounds,
}

/// The descriptors of one stream, with the structure that is in force.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    /// Made when the first one comes, and written over by the next.
    structure: Option<Box<Structure>>,
    /// Counts the structures.
    generation: u8,
    active: u32,
    /// The number of the frame that came with the structure, and of the one that told the active targets.
    since: (u16, u16),
}

impl Descriptors {
    /// Reads a descriptor. `late`: its packet was overtaken by others, so that what it tells is news only if its frame is.
    pub fn read(&mut self, bytes: &[u8], late: bool) -> Result<Descriptor, DescriptorError> {
        let has_structure = bytes.get(3).is_some_and(|flags| flags & 0x80 != 0);
        if !has_structure {
            let structure = self.structure.as_deref().ok_or(DescriptorError::NoStructure)?;
            let descriptor = read(bytes, structure, FLAGS_AT + 5)?;
            if !late {
                self.since = (pulled(self.since.0, descriptor.number), pulled(self.since.1, descriptor.number));
            }
            if let Some(active) = descriptor.active
                && is_news(descriptor.number, self.since.1, late)
            {
                (self.active, self.since.1) = (active, descriptor.number);
            }
            return Ok(descriptor);
        }
        let mut bits = Bits::new(bytes, FLAGS_AT + 5);
        let attached = Structure::read(&mut bits)?;
        let descriptor = read(bytes, &attached, bits.at())?;
        if descriptor.begins && (self.structure.is_none() || is_news(descriptor.number, self.since.0, late)) {
            self.adopt(attached, &descriptor);
        }
        Ok(descriptor)
    }

    fn adopt(&mut self, attached: Structure, descriptor: &Descriptor) {
        self.active = descriptor.active.unwrap_or(attached.all_targets());
        self.since = (descriptor.number, descriptor.number);
        // The frame's other packets do not bring it, but it may come twice.
        if self.structure.as_deref() == Some(&attached) {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        match &mut self.structure {
            Some(known) => **known = attached,
            None => self.structure = Some(Box::new(attached)),
        }
    }

    /// The structure that is in force.
    pub(super) fn structure(&self) -> Option<&Structure> {
        self.structure.as_deref()
    }

    /// Which one that is: a descriptor that was read by another one cannot be read by this.
    pub fn generation(&self) -> u8 {
        self.generation
    }

    /// The decode targets that the sender produces: bit `n` is target `n`.
    pub fn active(&self) -> u32 {
        self.active
    }
}

impl Descriptor {
    /// What the frame is to a decode target.
    pub fn indication(&self, target: u8) -> Indication {
        Indication::of(self.indications, target)
    }
}

/// Whether a frame tells something new after another one did. What is not late is: numbers come round in some minutes.
fn is_news(number: u16, since: u16, late: bool) -> bool {
    !late || number.wrapping_sub(since).wrapping_sub(1) < (1 << 15) - 1
}

/// What was told so long ago that numbers come round is before all that comes late.
fn pulled(since: u16, number: u16) -> u16 {
    if number.wrapping_sub(since) > LONG_AGO { number.wrapping_sub(LONG_AGO) } else { since }
}

/// Reads all but the structure, which ends at the bit `at`.
fn read(bytes: &[u8], structure: &Structure, at: usize) -> Result<Descriptor, DescriptorError> {
    let fixed: &[u8; 3] = bytes.first_chunk().ok_or(DescriptorError::Short)?;
    let template = structure.template(fixed[0] & 0x3f).ok_or(DescriptorError::Template)?;
    let mut descriptor = Descriptor {
        begins: fixed[0] & 0x80 != 0,
        ends: fixed[0] & 0x40 != 0,
        number: u16::from_be_bytes([fixed[1], fixed[2]]),
        spatial: template.spatial,
        temporal: template.temporal,
        indications: template.indications,
        references: template.references,
        attached: false,
        active: None,
        mask: MaskPlace { at: 0, end: 0, count: structure.targets(), present: false },
    };
    let Some(flags) = bytes.get(3) else { return Ok(descriptor) };
    let [attached, active, indications, references, chains] = [7, 6, 5, 4, 3].map(|bit| flags >> bit & 1 == 1);
    let mut bits = Bits::new(bytes, at);
    descriptor.attached = attached;
    descriptor.mask.at = at as u16;
    descriptor.mask.present = active;
    if active {
        descriptor.active = Some(bits.take(structure.targets().into()).ok_or(DescriptorError::Short)?);
    }
    if indications {
        let own = structure::read_indications(&mut bits, structure.targets());
        descriptor.indications = own.ok_or(DescriptorError::Short)?;
    }
    if references {
        descriptor.references = read_references(&mut bits).ok_or(DescriptorError::Short)?;
    }
    for _ in 0..if chains { structure.chains() } else { 0 } {
        bits.take(8).ok_or(DescriptorError::Short)?;
    }
    descriptor.mask.end = bits.at() as u16;
    Ok(descriptor)
}

/// The frame's own differences: each with a width of 4, 8 or 12 bits before it, 0 ends them.
fn read_references(bits: &mut Bits<'_>) -> Option<References> {
    let mut references = References::default();
    loop {
        match bits.take(2)? as usize {
            0 => return Some(references),
            width => references.add(bits.take(4 * width)? + 1),
        }
    }
}

/// Frames: more than can be overtaken, and far less than half of all numbers.
const LONG_AGO: u16 = 1 << 13;
/// Behind the mandatory fields: start and end of frame, template, frame number.
const FLAGS_AT: usize = 24;
