//! Places: of the cameras, and of the microphones, that a viewer receives only so many are sent to it: those of the last speakers, and
//! those that are spoken into.
//!
//! The others stay subscribed and wait, so that each comes back with the next packet (of sound) or key frame when its publisher speaks.
//! Shared screens, and their sound, take no places.

use std::cmp::Reverse;

use lockgate_model::carrier::NodeTime;
use lockgate_model::{Limits, PublisherId, Source, TrackId};

use crate::effect::MediaAction;
use crate::member::{Member, Reception};
use crate::room::Room;
use crate::speakers::Turn;

/// Who is first in line: what sorts first. A track that nothing is sent of anyway; one that nobody has put first; how long ago its
/// publisher spoke; and who was here first.
type Rank = (bool, bool, (u8, Reverse<NodeTime>), PublisherId);

impl Room {
    /// Chooses anew which cameras and microphones a viewer is sent.
    pub(crate) fn share_places(&mut self, viewer: PublisherId) {
        for source in COUNTED {
            for (track, waits) in self.place_changes(viewer, source) {
                self.set_waiting(viewer, &track, waits);
            }
        }
    }

    /// A viewer is to be sent one more track: others may have to make room. What it is sent of it comes back.
    pub(crate) fn find_place(&mut self, viewer: PublisherId, track: &TrackId) -> Option<Limits> {
        let source = self.members.get(&viewer)?.receives.get(track)?.source;
        for (changed, waits) in self.place_changes(viewer, source) {
            if changed != *track {
                self.set_waiting(viewer, &changed, waits);
            } else if let Some(reception) = self.reception(viewer, track) {
                reception.waits = waits;
                self.places_taken |= waits;
            }
        }
        self.reception(viewer, track).map(|reception| reception.limits())
    }

    /// Somebody began to speak into a microphone, or ended: those choose anew for whom that may matter.
    pub(crate) fn change_turns(&mut self, track: &TrackId) {
        let begun = matches!(self.speakers.turn(track), Turn::Since(_));
        self.share_places_between(track, begun);
    }

    /// Viewers choose anew for whom a track waits for a place, or those for whom it has one.
    fn share_places_between(&mut self, track: &TrackId, waiting: bool) {
        if self.places_taken {
            self.share_places_where(|member| {
                member.receives.get(track).is_some_and(|reception| reception.waits == waiting)
            });
        }
    }

    /// A track was muted, or is not any more: whoever receives it chooses anew.
    pub(crate) fn share_places_of(&mut self, track: &TrackId) {
        self.share_places_where(|member| member.receives.contains_key(track));
    }

    fn share_places_where(&mut self, concerns: impl Fn(&Member) -> bool) {
        let viewers: Vec<_> = self.members.values().filter(|member| concerns(member)).map(|member| member.id).collect();
        viewers.into_iter().for_each(|viewer| self.share_places(viewer));
    }

    /// Notes who spoke last, and brings their camera and microphone to those who wait for them.
    pub(crate) fn note_speaker(&mut self, publisher: PublisherId, at: NodeTime) {
        let Some(member) = self.members.get_mut(&publisher) else { return };
        member.spoke = Some(at);
        let tracks = member.tracks.values().filter(|track| COUNTED.contains(&track.info.source));
        let tracks: Vec<_> = tracks.map(|track| track.info.track_id.clone()).collect();
        tracks.iter().for_each(|track| self.share_places_between(track, true));
    }

    /// Which tracks of a viewer are to wait from now on (first), and which are not any more.
    fn place_changes(&self, viewer: PublisherId, source: Source) -> Vec<(TrackId, bool)> {
        let Some(member) = self.members.get(&viewer) else { return Vec::new() };
        let places = self.places_of(member, source);
        if places.is_none() && !self.places_taken {
            return Vec::new();
        }
        let counted = member.receives.iter().filter(|(_, reception)| reception.source == source);
        let mut line: Vec<_> =
            counted.map(|(track, reception)| (self.rank(track, reception), track, reception.waits)).collect();
        line.sort();
        let changes = line.into_iter().enumerate().filter_map(|(place, (_, track, waited))| {
            let waits = places.is_some_and(|places| place >= places);
            (waits != waited).then(|| (track.clone(), waits))
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort_by_key(|(_, waits)| !waits);
        changes
    }

    /// How many places there are for tracks from such a source: the fewer of what is configured and granted.
    fn places_of(&self, member: &Member, source: Source) -> Option<usize> {
        let limits = match source {
            Source::Camera => [self.config.last_n, member.grant.last_n()],
            Source::Microphone => [self.config.top_n, member.grant.top_n()],
            _ => return None,
        };
        limits.into_iter().flatten().min()
    }

    fn rank(&self, track: &TrackId, reception: &Reception) -> Rank {
        let publisher = self.members.get(&reception.publisher);
        let muted = publisher.and_then(|of| of.tracks.get(track)).is_none_or(|track| track.info.muted);
        let put_first = reception.limits().priority > Limits::DEFAULT_PRIORITY;
        let spoke = match reception.source {
            Source::Microphone => self.turn_of(track),
            _ => (0, Reverse(publisher.and_then(|of| of.spoke).unwrap_or_default())),
        };
        (muted || reception.paused, !put_first, spoke, reception.publisher)
    }

    /// The speaker's microphone comes first while it is spoken into; then the others that are, who began first first, so that nobody who
    /// speaks is cut off by somebody who begins; then those that were, the speaker's first, then the last one first.
    fn turn_of(&self, track: &TrackId) -> (u8, Reverse<NodeTime>) {
        match (self.speakers.turn(track), self.speakers.is_dominant(track)) {
            (Turn::Since(_), true) => (0, Reverse(NodeTime::default())),
            (Turn::Since(since), false) => (1, Reverse(NodeTime(u64::MAX - since.0))),
            (Turn::Until(_), true) => (2, Reverse(NodeTime(u64::MAX))),
            (Turn::Until(until), false) => (2, Reverse(until)),
            (Turn::Never, _) => (3, Reverse(NodeTime::default())),
        }
    }

    fn set_waiting(&mut self, viewer: PublisherId, track: &TrackId, waits: bool) {
        let Some(reception) = self.reception(viewer, track) else { return };
        let before = reception.limits();
        reception.waits = waits;
        let (connection, limits) = (reception.connection, reception.limits());
        self.places_taken |= waits;
        if limits != before {
            self.media(MediaAction::SetLimits { connection, track: track.clone(), limits });
        }
    }

    fn reception(&mut self, viewer: PublisherId, track: &TrackId) -> Option<&mut Reception> {
        self.members.get_mut(&viewer)?.receives.get_mut(track)
    }
}

/// The sources that take places.
const COUNTED: [Source; 2] = [Source::Camera, Source::Microphone];
