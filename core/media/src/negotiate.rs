//! What is negotiated with clients, in the engine's terms.

use lockgate_model::{Codec, ErrorCode, MediaKind, OfferedMedia, TrackId};
use lockgate_transport::sdp::{CandidateError, Description, SdpError, Section, read_answer, read_offer};

/// Why a description is not taken. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    /// It cannot be used as it is.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// A candidate that is none.
    #[error(transparent)]
    Candidate(#[from] CandidateError),
    /// No offer is open, or another one.
    #[error("there is no open offer that this answers")]
    NoOffer,
    /// The answer's lines are not those of the offer.
    #[error("the answer's m-lines are not those of the offer")]
    OtherLines,
    /// The client offered to receive before, and now other lines; or it is offered to.
    #[error("the offer's m-lines are not those of the first one; open a new connection instead")]
    OtherOffer,
    /// There is no line on which anything could be sent.
    #[error("the offer has no m-line for audio or video that receives and has a codec that is forwarded here")]
    NothingReceived,
    /// A connection keeps its certificate for life.
    #[error("the certificate fingerprint changed; open a new connection instead")]
    OtherCertificate,
    /// The track's name is taken in this router.
    #[error("the track {0} is published already")]
    TrackTaken(TrackId),
    /// The transport is gone, or not of this kind.
    #[error("the connection is closed")]
    NoTransport,
}

impl NegotiateError {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoTransport => ErrorCode::NOT_FOUND,
            Self::TrackTaken(_) | Self::Candidate(_) => ErrorCode::INVALID_MESSAGE,
            Self::NothingReceived => ErrorCode::UNSUPPORTED_CODEC,
            _ => ErrorCode::INVALID_SDP,
        }
    }
}

/// The answer to an offer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The session description.
    pub sdp: String,
    /// The tracks that are received now.
    pub tracks: Vec<AcceptedTrack>,
}

/// The answer to an offer to receive.
#[derive(Clone, Debug)]
pub struct ReceiveAnswer {
    /// The session description.
    pub sdp: String,
    /// What is sent on its m-lines: mid and track.
    pub tracks: Vec<(String, TrackId)>,
}

/// A track that is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedTrack {
    /// The m-line.
    pub mid: String,
    /// Its name.
    pub track: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// How it is coded.
    pub codec: Codec,
    /// How many encodings it has.
    pub encodings: u8,
    /// Its payload type.
    pub payload_type: u8,
    /// The codec's parameters, as in `a=fmtp`.
    pub fmtp: String,
    /// The id of the header extension that tells its loudness, if it does.
    pub level_id: Option<u8>,
}

/// A viewer's answer, read. That is dearer than taking it is, as it has all the connection's m-lines: whoever has a thread of their own reads
/// it there.
#[derive(Clone, Debug)]
pub struct ViewersAnswer(pub(crate) Description);

impl ViewersAnswer {
    /// Reads one.
    ///
    /// # Errors
    /// When it cannot be used, whatever was offered.
    pub fn read(sdp: &str) -> Result<Self, NegotiateError> {
        Ok(Self(read_answer(sdp)?))
    }
}

/// What an offer holds, without changing anything: policy is asked about it first.
pub fn inspect_offer(sdp: &str) -> Result<Vec<OfferedMedia>, NegotiateError> {
    let Description { sections, .. } = read_offer(sdp)?;
    Ok(sections.iter().filter(|section| !section.rejected).filter_map(offered).collect())
}

fn offered(section: &Section) -> Option<OfferedMedia> {
    Some(OfferedMedia {
        mid: section.mid.clone(),
        kind: section.kind?,
        track_id: section.track_id().map(str::to_owned),
        codec: section.codec().map(|line| line.codec),
        encodings: section.encodings(),
        sending: section.sends || section.data.is_some(),
    })
}
