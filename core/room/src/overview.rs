//! The room as operators see it. Only looks.

use std::ops::Bound;

use lockgate_model::{
    FlowOverview, ParticipantOverview, ParticipantStage, ParticipantsPage, PublisherId, RecordingOverview, RoomCounts,
    TrackId, TrackOverview, WatchOverview,
};

use crate::member::{Member, Reception, Stage, Track};
use crate::room::Room;

/// Which participants somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those with a higher number; none: from the first one on.
    pub after: Option<PublisherId>,
    /// At most so many; at least one is shown if there is any.
    pub most: usize,
    /// At most so many participants and tracks together, so that a page costs no more in a large room than in a small one.
    pub items: usize,
    /// Whether with what each receives.
    pub watches: bool,
}

impl Room {
    /// How much there is in it.
    pub fn counts(&self) -> RoomCounts {
        let participants = self.participants();
        RoomCounts {
            participants,
            waiting: self.members.len() - participants,
            tracks: self.owners.len(),
            watched: self.members.values().map(|member| member.receives.len()).sum(),
            recording: self.recording.as_ref().map(|recording| RecordingOverview {
                session_id: recording.session.clone(),
                state: recording.state,
                tracks: recording.tracks.len(),
            }),
        }
    }

    /// Some of those who are in it or at its door.
    pub fn page(&self, wanted: &Wanted) -> ParticipantsPage {
        let from = wanted.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = ParticipantsPage::default();
        let mut items = 0;
        for member in self.members.range((from, Bound::Unbounded)).map(|(_, member)| member) {
            let size = 1 + member.tracks.len() + if wanted.watches { member.receives.len() } else { 0 };
            let is_full = page.participants.len() >= wanted.most || items + size > wanted.items;
            if let Some(last) = page.participants.last().filter(|_| is_full) {
                page.next = Some(last.publisher_id);
                return page;
            }
            items += size;
            page.participants.push(self.overview(member, wanted.watches));
        }
        page
    }

    fn overview(&self, member: &Member, watches: bool) -> ParticipantOverview {
        let identity = &member.participant.identity;
        ParticipantOverview {
            publisher_id: member.id,
            user_id: identity.user_id,
            subject: identity.subject.clone(),
            username: identity.username.clone(),
            stage: member.stage.into(),
            door: member.participant.door,
            peer: member.participant.peer,
            grants: member.grant.clone(),
            tracks: member.tracks.values().map(|track| self.track_overview(track)).collect(),
            watches: watches.then(|| member.watches()),
            sends: member.sends_now(self.now_ms).map(FlowOverview::from),
            receives: member.receives_now(self.now_ms).map(FlowOverview::from),
        }
    }

    fn track_overview(&self, track: &Track) -> TrackOverview {
        let recorded = self.records(&track.info.track_id);
        let bitrates = track.rates_now(self.now_ms);
        TrackOverview { info: track.info.clone(), encodings: track.encodings, recorded, bitrates }
    }
}

impl Member {
    /// What is sent to this member, in the order of the tracks' names.
    fn watches(&self) -> Vec<WatchOverview> {
        let mut watches: Vec<_> = self.receives.iter().map(|(track, reception)| reception.overview(track)).collect();
        watches.sort_unstable_by(|one, other| one.track_id.cmp(&other.track_id));
        watches
    }
}

impl Reception {
    fn overview(&self, track: &TrackId) -> WatchOverview {
        let (layer, reason) = self.layer.unzip();
        WatchOverview {
            track_id: track.clone(),
            publisher_id: self.publisher,
            source: self.source,
            paused: self.limits().is_at_rest() || layer == Some(None),
            layer: layer.flatten(),
            reason,
        }
    }
}

impl From<Stage> for ParticipantStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Entering => Self::Entering,
            Stage::Waiting => Self::Waiting,
            Stage::Inside => Self::Inside,
        }
    }
}
