//! What operators do in a room in which they are not.
//!
//! Who wants something recorded is asked about and answers for it as a member does, under a number of their own that is no place in the
//! room: to the room they are somebody who wanted it and has left. What they are told is sent to that number.

use lockgate_model::policy::Participant;
use lockgate_model::{ErrorCode, PublisherId, TrackId};

use crate::pending::Pending;
use crate::room::Room;

/// An operator wants something of the recording.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Under which number: one that nobody has, and nobody had.
    pub by: PublisherId,
    /// Who that is.
    pub who: Participant,
    /// Whether it is to begin, or to end.
    pub record: bool,
    /// Which tracks; none: all, later ones too.
    pub tracks: Option<Vec<TrackId>>,
}

impl Room {
    /// Whether something that an operator wants waits for policy.
    pub fn is_asking_for(&self, by: PublisherId) -> bool {
        self.questions().any(|pending| matches!(pending, Pending::Record(record) if record.asker == Some(by)))
    }

    /// The tracks of a member that can be muted, of which this is one; none: all of them.
    pub fn mutable(&self, id: PublisherId, only: Option<&TrackId>) -> Vec<TrackId> {
        let Some(member) = self.members.get(&id) else { return Vec::new() };
        let tracks = member.tracks.values().filter(|track| track.stream.is_none());
        let tracks = tracks.map(|track| &track.info.track_id);
        tracks.filter(|track| only.is_none_or(|only| only == *track)).cloned().collect()
    }

    pub(crate) fn on_operation(&mut self, operation: Operation) {
        let Operation { by, who, record, tracks } = operation;
        // They are needed as long as policy is asked; what came of it is the recording's.
        let done: Vec<_> = self.operators.keys().copied().filter(|by| !self.is_asking_for(*by)).collect();
        done.iter().for_each(|by| drop(self.operators.remove(by)));
        if self.participants() == 0 {
            let of = if record { "start-recording" } else { "stop-recording" };
            return self.refuse(by, None, of, ErrorCode::NOT_FOUND, "nobody is in the room");
        }
        self.operators.insert(by, who);
        match record {
            true => self.on_start_recording(by, None, tracks),
            false => self.on_stop_recording(by, None, tracks),
        }
    }

    pub(crate) fn on_mute_by_operator(&mut self, tracks: &[TrackId], muted: bool) {
        tracks.iter().for_each(|track| self.set_muted(track, muted, None));
    }
}
