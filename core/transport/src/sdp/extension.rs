//! Header extensions that are understood here, and the ids that a connection gave them.

/// A header extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Extension {
    /// The m-line that a packet belongs to (RFC 9143 §15).
    Mid,
    /// The simulcast encoding (RFC 8852).
    Rid,
    /// The simulcast encoding that a retransmission repairs (RFC 8852).
    RepairedRid,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    Twcc,
    /// When a packet left (draft-alvestrand-rmcat-remb-03 §A).
    AbsSendTime,
    /// How loud it is (RFC 6464).
    AudioLevel,
    /// How a picture is turned (3GPP TS 26.114).
    Orientation,
    /// What an AV1 or other frame depends on.
    DependencyDescriptor,
    /// What a publisher spends on each of its layers.
    LayersAllocation,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::Twcc,
        Self::AbsSendTime,
        Self::AudioLevel,
        Self::Orientation,
        Self::DependencyDescriptor,
        Self::LayersAllocation,
    ];

    /// Its name in `a=extmap`.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::Twcc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::Orientation => "urn:3gpp:video-orientation",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::LayersAllocation => "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}

/// Which id each extension has on a connection, both ways round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    ids: [u8; Extension::ALL.len()],
}

impl ExtensionMap {
    /// A map of some extensions and their ids.
    pub fn of(entries: &[(Extension, u8)]) -> Self {
        let mut map = Self::default();
        entries.iter().for_each(|(extension, id)| map.set(*extension, *id));
        map
    }

    /// Gives an extension an id, 1…255; one that has an id keeps it.
    pub fn set(&mut self, extension: Extension, id: u8) {
        let slot = &mut self.ids[extension as usize];
        if *slot == 0 {
            *slot = id;
        }
    }

    /// Its id.
    pub fn id(&self, extension: Extension) -> Option<u8> {
        Some(self.ids[extension as usize]).filter(|id| *id != 0)
    }

    /// What an id means.
    pub fn extension(&self, id: u8) -> Option<Extension> {
        Extension::ALL.into_iter().find(|extension| id != 0 && self.ids[*extension as usize] == id)
    }

    /// The extensions and their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Extension, u8)> + '_ {
        Extension::ALL.into_iter().filter_map(|extension| Some((extension, self.id(extension)?)))
    }

    /// Only what both sides know, with our ids.
    pub fn both(&self, other: &Self) -> Self {
        let mut map = *self;
        for extension in Extension::ALL {
            if other.id(extension).is_none() {
                map.ids[extension as usize] = 0;
            }
        }
        map
    }

    /// All but one.
    pub fn without(mut self, extension: Extension) -> Self {
        self.ids[extension as usize] = 0;
        self
    }
}
