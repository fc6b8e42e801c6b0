//! A packet on its way through the engine: decrypted, parsed once, where the receive buffer holds it.

use std::ops::Range;

use lockgate_model::Loudness;
use lockgate_rtp::{Header, PacketFacts, audio_level};
use lockgate_transport::sdp::{Extension, ExtensionMap};

/// A publisher's packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet<'a> {
    /// Its extended sequence number, above 0.
    pub(crate) number: u64,
    pub(crate) header: Header,
    pub(crate) facts: PacketFacts,
    /// Where in `bytes` the payload lies.
    pub(crate) payload: Range<usize>,
    /// What viewers get of its header extensions.
    pub(crate) passed: Passed,
    /// All of it, without protection.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload.clone()]
    }

    /// How loud its sender says it is.
    pub(crate) fn audio_level(&self) -> Option<Loudness> {
        audio_level(self.passed.value(LEVEL, self.bytes)?)
    }
}

/// Header extensions that are handed on, and where in the packet their values lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed([(u16, u8); PASSED.len()]);

impl Passed {
    /// Finds them by the publisher's ids.
    pub(crate) fn find(header: &Header, bytes: &[u8], ids: &ExtensionMap) -> Self {
        let mut passed = Self::default();
        for element in header.extensions(bytes) {
            let place = ids.extension(element.id).and_then(|known| PASSED.iter().position(|one| *one == known));
            if let (Some(place), Ok(length)) = (place, u8::try_from(element.value.len())) {
                let start = element.value.as_ptr() as usize - bytes.as_ptr() as usize;
                passed.0[place] = (start as u16, length);
            }
        }
        passed
    }

    /// The dependency descriptor, if there is one.
    pub(crate) fn descriptor<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.iter(bytes).find(|(place, _)| *place == DESCRIPTOR).map(|(_, value)| value)
    }

    /// All but the dependency descriptor.
    pub(crate) fn without_descriptor(mut self) -> Self {
        self.0[DESCRIPTOR] = (0, 0);
        self
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, length)| *length == 0)
    }

    /// The extensions that are there, by their places in [`PASSED`], with their values.
    pub(crate) fn iter<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
        let places = self.0.into_iter().enumerate().filter(|(_, (_, length))| *length > 0);
        places.filter_map(|(place, (start, length))| {
            let start = usize::from(start);
            Some((place, bytes.get(start..start + usize::from(length))?))
        })
    }

    /// The value of one of them, by its place in [`PASSED`].
    fn value<'a>(&self, place: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (start, length) = self.0[place];
        bytes.get(usize::from(start)..usize::from(start) + usize::from(length)).filter(|value| !value.is_empty())
    }

    /// How many bytes they take in a header, about.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|(_, length)| *length > 0).map(|(_, length)| usize::from(*length) + 1).sum()
    }
}

/// What a viewer needs of what the publisher says; the rest is of the hop.
pub(crate) const PASSED: [Extension; 3] =
    [Extension::AudioLevel, Extension::Orientation, Extension::DependencyDescriptor];
/// The place of the dependency descriptor among them.
pub(crate) const DESCRIPTOR: usize = 2;
const _: () = assert!(matches!(PASSED[DESCRIPTOR], Extension::DependencyDescriptor));
/// The place of the audio level among them.
const LEVEL: usize = 0;
const _: () = assert!(matches!(PASSED[LEVEL], Extension::AudioLevel));
