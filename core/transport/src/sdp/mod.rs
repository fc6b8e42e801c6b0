//! Session descriptions, reduced to what a forwarder negotiates (RFC 8829, RFC 8843 bundle, RFC 8853 simulcast).
//!
//! Reading is `rtc-sdp`'s and then checked here; descriptions are written here, because an SFU's are few and always the same.

mod codec;
mod extension;
mod read;
#[cfg(test)]
mod tests;
mod write;

use lockgate_model::{Codec, MediaKind};

use crate::dtls::Fingerprint;
use crate::ice::Credentials;

pub use codec::{CodecLine, Feedback};
pub use extension::{Extension, ExtensionMap};
pub use read::{CandidateError, SdpError, check_candidate, read_answer, read_offer};
pub use write::{
    AnswerLine, DataLine, Local, OfferLine, ReceiverLine, Sends, write_answer, write_offer, write_receiver_answer,
};

/// A peer's description.
#[derive(Clone, Debug)]
pub struct Description {
    /// The peer's ICE credentials. Ours authenticate its checks; these only tell a restart from a repetition.
    pub ice: Remote,
    /// Digests of the certificates that it may present (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
    /// Who starts the handshake.
    pub setup: Setup,
    /// Its m-lines, in order.
    pub sections: Vec<Section>,
}

/// The peer's ICE credentials, comparable but not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote(pub(crate) Credentials);

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.ufrag)
    }
}

/// `a=setup` (RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Either may start.
    ActPass,
    /// The writer starts.
    Active,
    /// The reader starts.
    Passive,
}

/// One m-line.
#[derive(Clone, Debug)]
pub struct Section {
    /// `a=mid`.
    pub mid: String,
    /// Audio, video or data; none for what is not forwarded.
    pub kind: Option<MediaKind>,
    /// What its data channels are like, if it is for these.
    pub data: Option<DataSection>,
    /// What stood in the m-line, to be said again in an answer.
    pub media: String,
    /// The m-line's protocol.
    pub protocol: String,
    /// The first format, to be said again in a rejection.
    pub format: String,
    /// Port 0 without `a=bundle-only`, or outside the bundle.
    pub rejected: bool,
    /// Whether the writer sends.
    pub sends: bool,
    /// Whether the writer receives.
    pub receives: bool,
    /// Codecs that are forwarded here, in the writer's order.
    pub codecs: Vec<CodecLine>,
    /// Header extensions that are known here.
    pub extensions: ExtensionMap,
    /// Whether short and long header extensions may be mixed in a stream (RFC 8285 §6).
    pub mixes: bool,
    /// Simulcast encodings that are sent, from the smallest; empty without simulcast.
    pub rids: Vec<String>,
    /// The sources of simulcast encodings that have no names, from the smallest (`ssrc-group:SIM`); empty where there are names, and
    /// without simulcast.
    pub group: Vec<u32>,
    /// `a=msid`: stream and track.
    pub msid: Option<(String, Option<String>)>,
    /// Sources that are named, each with its retransmission source (`ssrc-group:FID`).
    pub sources: Vec<(u32, Option<u32>)>,
}

/// What a line for data channels says (RFC 8841).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSection {
    /// `a=max-message-size` in bytes; 0 for any.
    pub max_message: usize,
    /// Whether it is written as before RFC 8841, with an `a=sctpmap`.
    pub legacy: bool,
}

impl Section {
    /// The codec that is taken: the writer's first.
    pub fn codec(&self) -> Option<&CodecLine> {
        self.codecs.first()
    }

    /// The track that its writer sends here, as `a=msid` names it.
    pub fn track_id(&self) -> Option<&str> {
        self.msid.as_ref().and_then(|(_, track)| track.as_deref())
    }

    /// How many encodings it has.
    pub fn encodings(&self) -> u8 {
        self.rids.len().max(self.group.len()).max(1) as u8
    }
}

/// Most m-lines of a description: sixteen cameras, their sound, and as much again that was taken back.
pub const MAX_SECTIONS: usize = 256;
/// Most encodings of a track.
pub const MAX_RIDS: usize = 4;

/// Whether packets of this codec may be asked for again.
pub(crate) fn is_retransmitted(codec: Codec) -> bool {
    codec.kind() == MediaKind::Video
}
