//! Speaking: who is told who speaks, and how loud everybody is.

use lockgate_model::carrier::NodeTime;
use lockgate_model::{ActiveLevel, Event, Heard, Loudness, PublisherId, TrackId};

use crate::member::Member;
use crate::room::Room;

impl Room {
    pub(crate) fn on_levels(&mut self, at: NodeTime, heard: &[Heard]) {
        let members = &self.members;
        let counts = |publisher| members.get(&publisher).is_some_and(Member::is_visible);
        self.speakers.hear(at, heard, counts);
        match self.speakers.decide(at) {
            Some(publisher) => {
                self.tell_speaker(at);
                self.note_speaker(publisher, at);
            }
            None => self.tell_levels(at),
        }
        self.speakers.take_turned().iter().for_each(|track| self.change_turns(track));
    }

    /// Tells everybody who may know of it who speaks now.
    fn tell_speaker(&mut self, at: NodeTime) {
        let Some((track, publisher)) = self.speakers.dominant() else { return };
        let hears = |member: &&Member| self.may_hear_of(member, publisher, track);
        let told: Vec<_> = self.inside().filter(hears).map(|member| member.id).collect();
        for viewer in &told {
            if let Some(member) = self.members.get_mut(viewer) {
                member.speaker = Some(publisher);
            }
        }
        (self.silence_told, self.levels_told) = (false, Some(at));
        self.send_levels(&told);
    }

    /// Tells how loud everybody is, if that is wanted: while somebody is to be heard when it is time, and once at once when nobody is
    /// any more, as engines tell of nothing for a second only.
    fn tell_levels(&mut self, at: NodeTime) {
        let interval = i64::from(self.config.level_interval_ms) * 1000;
        if interval == 0 {
            return;
        }
        let silent = self.speakers.levels().is_empty();
        let early = self.levels_told.is_some_and(|told| at.micros_since(told) < interval);
        let is_told = if silent { self.silence_told } else { early };
        if is_told {
            return;
        }
        (self.silence_told, self.levels_told) = (silent, Some(at));
        let told: Vec<_> = self.inside().map(|member| member.id).collect();
        self.send_levels(&told);
    }

    /// Tells viewers the speaker that each knows of, if any, and how loud those are that it may hear.
    fn send_levels(&mut self, viewers: &[PublisherId]) {
        let levels = self.speakers.levels();
        let event = |viewer: &Member| {
            let (room_name, audio_levels) = (self.name.clone(), self.levels_for(viewer, &levels));
            Some((viewer.id, Event::ActiveSpeaker { room_name, publisher_id: viewer.speaker?, audio_levels }))
        };
        let viewers = viewers.iter().filter_map(|viewer| self.members.get(viewer));
        let told: Vec<_> = viewers.filter_map(event).collect();
        told.into_iter().for_each(|(viewer, event)| self.send(viewer, event));
    }

    /// Tells somebody who enters or comes back who speaks, if they may know it.
    pub(crate) fn tell_speaker_to(&mut self, viewer: PublisherId) {
        let Some((track, publisher)) = self.speakers.dominant() else { return };
        if !self.members.get(&viewer).is_some_and(|member| self.may_hear_of(member, publisher, track)) {
            return;
        }
        if let Some(member) = self.members.get_mut(&viewer) {
            member.speaker = Some(publisher);
            self.send_levels(&[viewer]);
        }
    }

    /// Those that a viewer may hear, and itself. Of somebody with several microphones the loudest counts.
    fn levels_for(&self, viewer: &Member, levels: &[(&TrackId, PublisherId, Loudness)]) -> Vec<ActiveLevel> {
        let mut known: Vec<ActiveLevel> = Vec::new();
        for (track, publisher, level) in levels {
            let may_hear = self.may_hear_of(viewer, *publisher, track);
            if may_hear && known.iter().all(|known| known.publisher_id != *publisher) {
                known.push(ActiveLevel { publisher_id: *publisher, level: level.dbov() });
            }
            if known.len() == MAX_LEVELS {
                break;
            }
        }
        known
    }

    /// Whether a viewer may know that somebody speaks into a microphone: its own, or one that policy shows of somebody who does not hide.
    fn may_hear_of(&self, viewer: &Member, publisher: PublisherId, microphone: &TrackId) -> bool {
        let is_visible = || self.members.get(&publisher).is_some_and(Member::is_visible);
        viewer.id == publisher || (viewer.may_know(microphone) && is_visible())
    }
}

/// Levels in one message: a client that shows more of them shows nothing.
const MAX_LEVELS: usize = 16;
