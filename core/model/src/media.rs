//! What media is made of: kinds, sources, codecs, layers, bitrates.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
    /// Messages on a data channel.
    Data,
}

/// Where a track comes from, as its publisher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen's picture.
    Screen,
    /// A shared screen's sound.
    ScreenAudio,
    /// A data channel.
    Data,
}

impl Source {
    /// What a track is taken for when its publisher does not say.
    pub fn default_for(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Microphone,
            MediaKind::Video => Self::Camera,
            MediaKind::Data => Self::Data,
        }
    }

    /// Whether it belongs to a shared screen.
    pub fn is_screen(self) -> bool {
        matches!(self, Self::Screen | Self::ScreenAudio)
    }

    /// The kind that such a source must have.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Camera | Self::Screen => MediaKind::Video,
            Self::Microphone | Self::ScreenAudio => MediaKind::Audio,
            Self::Data => MediaKind::Data,
        }
    }

    /// The name on the wire and in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::Screen => "screen",
            Self::ScreenAudio => "screen-audio",
            Self::Data => "data",
        }
    }
}

/// A codec that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("x-grows" = true))]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The AV1 RTP payload format of the Alliance for Open Media.
    Av1,
}

impl Codec {
    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// The encoding name in `a=rtpmap`, upper- and lower-case as its RFC registers it.
    pub fn rtpmap_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// The codec of an `a=rtpmap` encoding name; names compare without case (RFC 8866 §6.6).
    pub fn from_rtpmap_name(name: &str) -> Option<Self> {
        [Self::Opus, Self::Vp8, Self::Vp9, Self::H264, Self::Av1]
            .into_iter()
            .find(|codec| codec.rtpmap_name().eq_ignore_ascii_case(name))
    }

    /// The name on our wire: lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::H264 => "h264",
            Self::Av1 => "av1",
        }
    }
}

/// A spatial and a temporal index, each 0 (lowest) … 7. With simulcast the spatial index counts encodings from the smallest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Layer {
    /// Resolution step.
    pub spatial: u8,
    /// Frame-rate step.
    pub temporal: u8,
}

impl Layer {
    /// Above every layer there is: no limit.
    pub const MAX: Self = Self { spatial: u8::MAX, temporal: u8::MAX };

    /// A layer from its two indices.
    pub fn new(spatial: u8, temporal: u8) -> Self {
        Self { spatial, temporal }
    }

    /// The lower of each index: what both limits allow.
    pub fn min(self, other: Self) -> Self {
        Self { spatial: self.spatial.min(other.spatial), temporal: self.temporal.min(other.temporal) }
    }
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bitrate(pub u64);

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps if bps >= 1_000_000 && bps.is_multiple_of(100_000) => write!(f, "{} Mbps", bps as f64 / 1e6),
            bps if bps >= 1_000 && bps.is_multiple_of(100) => write!(f, "{} kbps", bps as f64 / 1e3),
            bps => write!(f, "{bps} bps"),
        }
    }
}

/// Why a text is no bitrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a bitrate; write a number and a unit, as in \"500 kbps\" or \"2.5 Mbps\"")]
pub struct InvalidBitrate;

impl FromStr for Bitrate {
    type Err = InvalidBitrate;

    fn from_str(text: &str) -> Result<Self, InvalidBitrate> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(InvalidBitrate)?;
        let number: f64 = text[..digits].parse().map_err(|_| InvalidBitrate)?;
        let unit = match text[digits..].trim() {
            "bps" => 1.0,
            "kbps" => 1e3,
            "Mbps" => 1e6,
            "Gbps" => 1e9,
            _ => return Err(InvalidBitrate),
        };
        let bps = number * unit;
        if bps.is_finite() && bps <= 1e12 { Ok(Self(bps.round() as u64)) } else { Err(InvalidBitrate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrates_read_as_they_are_written() {
        for text in ["500 kbps", "2.5 Mbps", "7 bps"] {
            assert_eq!(text.parse::<Bitrate>().unwrap().to_string(), text);
        }
        for bad in ["", "12", "2 Mb", "-1 kbps", "1e9999 bps", "9999999 Gbps"] {
            assert_eq!(bad.parse::<Bitrate>(), Err(InvalidBitrate), "{bad}");
        }
    }

    #[test]
    fn a_layer_limit_bounds_each_index_by_itself() {
        assert_eq!(Layer::new(2, 0).min(Layer::new(0, 3)), Layer::new(0, 0));
        assert_eq!(Layer::MAX.min(Layer::new(1, 2)), Layer::new(1, 2));
    }
}
