//! Places: of the cameras, and of the microphones, that a viewer receives only so many are sent to it: those of the last speakers, and
//! those that are spoken into.
//!
//! The others stay subscribed and wait, so that each comes back with the next packet (of sound) or key frame when its publisher speaks.
//! Shared screens, and their sound, take no places.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use lockgate_model::carrier::NodeTime;
use lockgate_model::{Limits, PublisherId, Source, TrackId};

use crate::effect::MediaAction;
use crate::member::{Member, Reception};
use crate::room::Room;
use crate::speakers::Turn;

/// A track in line for a place, as it stands for all viewers alike: what sorts first is first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InLine<'a> {
    /// How long ago its publisher spoke.
    spoke: (u8, Reverse<NodeTime>),
    /// Who was here first.
    publisher: PublisherId,
    track: &'a TrackId,
    muted: bool,
}

/// The order of one viewer: what nothing is sent of anyway comes last, what it has put first before others.
const CLASSES: [(bool, bool); 4] = [(false, true), (false, false), (true, true), (true, false)];

impl Room {
    /// Chooses anew which cameras and microphones a viewer is sent.
    pub(crate) fn share_places(&mut self, viewer: PublisherId) {
        COUNTED.into_iter().for_each(|source| self.share_places_among(source, &[viewer]));
    }

    /// Chooses anew which tracks from such a source these viewers are sent.
    pub(crate) fn share_places_among(&mut self, source: Source, viewers: &[PublisherId]) {
        for (viewer, track, waits) in self.place_changes(source, viewers) {
            self.set_waiting(viewer, &track, waits);
        }
    }

    /// A viewer is to be sent one more track: others may have to make room. What it is sent of it comes back.
    pub(crate) fn find_place(&mut self, viewer: PublisherId, track: &TrackId) -> Option<Limits> {
        let source = self.members.get(&viewer)?.receives.get(track)?.source;
        for (_, changed, waits) in self.place_changes(source, &[viewer]) {
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
        self.share_places_between(Source::Microphone, track, begun);
    }

    /// Viewers choose anew for whom a track waits for a place, or those for whom it has one.
    fn share_places_between(&mut self, source: Source, track: &TrackId, waiting: bool) {
        if self.places_taken {
            self.share_places_where(source, |member| {
                member.receives.get(track).is_some_and(|reception| reception.waits == waiting)
            });
        }
    }

    /// A track was muted, or is not any more: whoever receives it chooses anew.
    pub(crate) fn share_places_of(&mut self, source: Source, track: &TrackId) {
        self.share_places_where(source, |member| member.receives.contains_key(track));
    }

    fn share_places_where(&mut self, source: Source, concerns: impl Fn(&Member) -> bool) {
        let viewers: Vec<_> = self.members.values().filter(|member| concerns(member)).map(|member| member.id).collect();
        self.share_places_among(source, &viewers);
    }

    /// Notes who spoke last, and brings their camera and microphone to those who wait for them.
    pub(crate) fn note_speaker(&mut self, publisher: PublisherId, at: NodeTime) {
        let Some(member) = self.members.get_mut(&publisher) else { return };
        member.spoke = Some(at);
        let tracks = member.tracks.values().filter(|track| COUNTED.contains(&track.info.source));
        let tracks: Vec<_> = tracks.map(|track| (track.info.source, track.info.track_id.clone())).collect();
        tracks.iter().for_each(|(source, track)| self.share_places_between(*source, track, true));
    }

    /// Which tracks of these viewers are to wait from now on (of each viewer first), and which are not any more.
    fn place_changes(&self, source: Source, viewers: &[PublisherId]) -> Vec<(PublisherId, TrackId, bool)> {
        let mut changes = Vec::new();
        if !COUNTED.contains(&source) {
            return changes;
        }
        let mut line = None;
        for viewer in viewers.iter().filter_map(|viewer| self.members.get(viewer)) {
            let places = self.places_of(viewer, source);
            if places.is_none() && !self.places_taken {
                continue;
            }
            let line = line.get_or_insert_with(|| self.line(source, viewers));
            let chosen = choose(viewer, source, line, places);
            changes.extend(chosen.into_iter().map(|(track, waits)| (viewer.id, track.clone(), waits)));
        }
        changes
    }

    /// The line of all tracks from a source; for a single viewer, of those that it receives.
    fn line(&self, source: Source, viewers: &[PublisherId]) -> Vec<InLine<'_>> {
        let alone = match viewers {
            [viewer] => self.members.get(viewer),
            _ => None,
        };
        let mut line: Vec<_> = match alone {
            Some(viewer) => {
                let received = viewer.receives.iter().filter(|(_, reception)| reception.source == source);
                received
                    .filter_map(|(track, reception)| self.in_line(self.members.get(&reception.publisher)?, track))
                    .collect()
            }
            None => {
                let tracks = self.tracks().filter(|(_, track)| track.info.source == source);
                tracks.filter_map(|(publisher, track)| self.in_line(publisher, &track.info.track_id)).collect()
            }
        };
        line.sort_unstable();
        line
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

    fn in_line<'a>(&self, publisher: &'a Member, track: &TrackId) -> Option<InLine<'a>> {
        let info = &publisher.tracks.get(track)?.info;
        let spoke = match info.source {
            Source::Microphone => self.turn_of(track),
            _ => (0, Reverse(publisher.spoke.unwrap_or_default())),
        };
        Some(InLine { spoke, publisher: publisher.id, track: &info.track_id, muted: info.muted })
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

/// Which tracks of a viewer are to wait from now on (first), and which are not any more, with so many places; none: with all.
fn choose<'a>(
    viewer: &'a Member,
    source: Source,
    line: &'a [InLine<'a>],
    places: Option<usize>,
) -> Vec<(&'a TrackId, bool)> {
    let (mut sent, mut waiting, mut puts_first) = (Vec::new(), 0, false);
    for (track, reception) in viewer.receives.iter().filter(|(_, reception)| reception.source == source) {
        puts_first |= reception.is_put_first();
        if reception.waits { waiting += 1 } else { sent.push(track) }
    }
    let enough = places.is_none_or(|places| places >= sent.len() + waiting);
    if enough && waiting == 0 {
        return Vec::new();
    }
    let classes = CLASSES.into_iter().filter(|(_, first)| puts_first || !first);
    let order = classes.flat_map(|class| line.iter().filter_map(move |one| one.of_class(viewer, class)));
    let chosen: Vec<_> = order.take(places.unwrap_or(usize::MAX)).collect();
    let keep: BTreeSet<_> = chosen.iter().filter(|(_, waits)| !waits).map(|(track, _)| *track).collect();
    sent.retain(|track| !keep.contains(track));
    sent.sort();
    let goes = sent.into_iter().map(|track| (track, true));
    let comes = chosen.into_iter().filter(|(_, waits)| *waits).map(|(track, _)| (track, false));
    goes.chain(comes).collect()
}

impl InLine<'_> {
    /// The track, and whether it waits, if it is of this class to a viewer.
    fn of_class<'a>(&'a self, viewer: &'a Member, (rests, first): (bool, bool)) -> Option<(&'a TrackId, bool)> {
        // Most are of the other class by this alone.
        if self.muted && !rests {
            return None;
        }
        let reception = viewer.receives.get(self.track)?;
        let is_so = (self.muted || reception.paused, reception.is_put_first()) == (rests, first);
        is_so.then_some((self.track, reception.waits))
    }
}

/// The sources that take places.
const COUNTED: [Source; 2] = [Source::Camera, Source::Microphone];
