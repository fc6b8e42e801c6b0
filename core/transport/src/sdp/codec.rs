//! A codec as a description names it: payload type, parameters, feedback.

use lockgate_model::Codec;

/// One codec of an m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecLine {
    /// Payload type, 0…127.
    pub payload_type: u8,
    /// Which codec.
    pub codec: Codec,
    /// The parameters of `a=fmtp`, as they stand there; empty if there are none.
    pub fmtp: String,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
    /// Payload type of packets that carry the one before as well (RFC 2198); of sound only.
    pub red: Option<u8>,
    /// What may be said back.
    pub feedback: Feedback,
}

impl CodecLine {
    /// `a=rtpmap` behind the payload type (RFC 8866 §6.6).
    pub(super) fn rtpmap(&self) -> String {
        let channels = if self.codec == Codec::Opus { "/2" } else { "" };
        format!("{}/{}{channels}", self.codec.rtpmap_name(), self.codec.clock_rate())
    }

    /// What we say back to who sends it: of what it takes what we want, and how much it may send only where it goes by our estimate, as
    /// it takes that and not what its own would need.
    pub fn feedback_taken(&self) -> Feedback {
        let both = self.feedback.both(Feedback::wanted(self.codec));
        Feedback { remb: both.remb && !both.twcc, ..both }
    }

    /// Whether it can be forwarded by rewriting headers: H.264 only in the mode whose packets a header tells apart (RFC 6184 §6.2…6.3).
    pub(super) fn is_forwardable(&self) -> bool {
        self.codec != Codec::H264 || matches!(self.parameter("packetization-mode"), None | Some("0" | "1"))
    }

    /// Whether streams of the other can be received as this: the parameters that make formats differ are equal.
    pub fn is_compatible(&self, other: &Self) -> bool {
        self.codec == other.codec && self.decisive() == other.decisive()
    }

    /// The parameters without which a decoder fails, each with its default (RFC 6184 §8.1, RFC 9628 §6).
    fn decisive(&self) -> Option<String> {
        match self.codec {
            Codec::H264 => {
                // Level is what a decoder can do at most; mode and profile are what the stream is.
                let profile = self.parameter("profile-level-id").unwrap_or("42000a");
                let mode = self.parameter("packetization-mode").unwrap_or("0");
                Some(format!("{mode}/{}", profile.get(..4).unwrap_or(profile).to_ascii_lowercase()))
            }
            Codec::Vp9 => Some(self.parameter("profile-id").unwrap_or("0").to_owned()),
            Codec::Av1 => Some(self.parameter("profile").unwrap_or("0").to_owned()),
            Codec::Opus | Codec::Vp8 => None,
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.fmtp.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// `a=rtcp-fb` (RFC 4585 §4.2), as far as it is acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// `nack`
    pub nack: bool,
    /// `nack pli`
    pub pli: bool,
    /// `ccm fir`
    pub fir: bool,
    /// `transport-cc`
    pub twcc: bool,
    /// `goog-remb`
    pub remb: bool,
}

impl Feedback {
    /// What is wanted for a codec.
    pub fn wanted(codec: Codec) -> Self {
        let video = super::is_retransmitted(codec);
        Self { nack: video, pli: video, fir: video, twcc: true, remb: video }
    }

    /// What both want.
    pub fn both(self, other: Self) -> Self {
        Self {
            nack: self.nack && other.nack,
            pli: self.pli && other.pli,
            fir: self.fir && other.fir,
            twcc: self.twcc && other.twcc,
            remb: self.remb && other.remb,
        }
    }

    pub(super) fn read(&mut self, value: &str) {
        match value {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.twcc = true,
            "goog-remb" => self.remb = true,
            _ => {}
        }
    }

    pub(super) fn lines(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.nack, "nack"),
            (self.pli, "nack pli"),
            (self.fir, "ccm fir"),
            (self.twcc, "transport-cc"),
            (self.remb, "goog-remb"),
        ];
        all.into_iter().filter_map(|(wanted, line)| wanted.then_some(line))
    }
}
