//! Questions that wait for their answers.

use lockgate_model::policy::Why;
use lockgate_model::{Command, PublisherId, RecordingId, RequestId, TrackId};

use crate::member::Opening;
use crate::publishing::Offered;
use crate::recording::RecordPending;

/// The mark of a question or action, given back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

/// What to do when the answer comes. Things may have changed by then: whoever goes on checks again.
#[derive(Debug)]
pub(crate) enum Pending {
    /// May this member enter?
    Admission { member: PublisherId, id: Option<RequestId> },
    /// May this member stay?
    Readmission { member: PublisherId },
    /// Which of the present tracks may this new member know of?
    Arrival { member: PublisherId, id: Option<RequestId>, asked: Vec<TrackId> },
    /// Which of the offered tracks may be published?
    Publish { member: PublisherId, id: Option<RequestId>, offer: String, offered: Vec<Offered>, asked: Vec<usize> },
    /// Which of these tracks may still be published?
    Republish { member: PublisherId, asked: Vec<TrackId> },
    /// May this data channel be published?
    Channel { member: PublisherId, stream: u16, opening: Opening },
    /// The media side makes the answer.
    Accept { member: PublisherId, id: Option<RequestId>, offered: Vec<Offered> },
    /// Which of these tracks may this member know of?
    Announce { viewer: PublisherId, asked: Vec<TrackId> },
    /// Which of these tracks may this member still know of and receive?
    Recheck { viewer: PublisherId, asked: Vec<TrackId> },
    /// Which of these tracks may this member receive?
    Subscribe { viewer: PublisherId, id: Option<RequestId>, publisher: PublisherId, asked: Vec<TrackId> },
    /// The media side reads a client's answer.
    TakeAnswer { member: PublisherId, id: Option<RequestId>, publisher: PublisherId },
    /// The media side answers an offer to receive.
    ReceiveOffer { member: PublisherId, id: Option<RequestId> },
    /// Which of these tracks may be recorded?
    Record(RecordPending),
    /// Which of these tracks may still be recorded?
    Rerecord { session: RecordingId, asked: Vec<TrackId> },
    /// May this member act so?
    Act { member: PublisherId, id: Option<RequestId>, command: Command },
}

impl Pending {
    /// Whose further commands wait for the answer.
    pub(crate) fn holds(&self) -> Option<PublisherId> {
        match self {
            Self::Admission { member, .. }
            | Self::Arrival { member, .. }
            | Self::Publish { member, .. }
            | Self::Accept { member, .. }
            | Self::TakeAnswer { member, .. }
            | Self::ReceiveOffer { member, .. }
            | Self::Act { member, .. } => Some(*member),
            Self::Subscribe { viewer, .. } => Some(*viewer),
            Self::Record(record) => record.asker.filter(|_| record.why == Why::Request),
            Self::Readmission { .. }
            | Self::Republish { .. }
            | Self::Rerecord { .. }
            | Self::Channel { .. }
            | Self::Announce { .. }
            | Self::Recheck { .. } => None,
        }
    }
}
