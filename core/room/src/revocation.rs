//! Revocation: a right ends because somebody said so. Nobody is asked, media ends first, and whoever it concerns is told after.
//!
//! It says nothing of later: who asks for the same again is answered by policy.

use std::collections::BTreeMap;

use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, PublisherId, RevokedWhat, TrackId};

use crate::effect::MediaAction;
use crate::input::{Revocation, Whom};
use crate::member::Member;
use crate::rights::Verdict;
use crate::room::Room;
use crate::standing::Standing;

impl Room {
    /// Whom a revocation concerns.
    pub fn concerned(&self, whom: &Whom) -> Vec<PublisherId> {
        let concerns = |member: &&Member| match whom {
            Whom::Member(id) => member.id == *id,
            Whom::Subject(subject) => member.is_subject(Some(subject)),
        };
        self.members.values().filter(concerns).map(|member| member.id).collect()
    }

    pub(crate) fn on_revoke(&mut self, revocation: Revocation) {
        let Revocation { whom, what, track, reason } = revocation;
        if let (Whom::Subject(subject), RevokedWhat::Stay) = (&whom, what) {
            self.end_recording_of_subject(subject, &reason);
        }
        for id in self.concerned(&whom) {
            match what {
                RevokedWhat::Stay => self.put_out(id, &reason),
                RevokedWhat::Publication => self.revoke_published(id, track.as_ref(), &reason),
                RevokedWhat::Subscription => self.revoke_received(id, track.as_ref(), &reason),
                RevokedWhat::Recording => self.revoke_recorded(id, track.as_ref(), &reason),
            }
        }
    }

    /// A plugin wants stays to end.
    pub(crate) fn put_out_subject(&mut self, subject: Option<&str>, reason: &str) {
        if let Some(subject) = subject {
            self.end_recording_of_subject(subject, reason);
        }
        let concerned: Vec<_> =
            self.members.values().filter(|member| member.is_subject(subject)).map(|member| member.id).collect();
        concerned.into_iter().for_each(|id| self.put_out(id, reason));
    }

    fn revoke_published(&mut self, id: PublisherId, only: Option<&TrackId>, reason: &str) {
        let after = self.next_question();
        let Some(member) = self.members.get_mut(&id) else { return };
        let named = |track: &TrackId| only.is_none_or(|only| only == track);
        let tracks = member.tracks.keys().filter(|track| named(track));
        let ended: Vec<_> = tracks.map(|track| (track.clone(), reason.to_owned())).collect();
        let opening: Vec<_> = member.opening.extract_if(.., |_, opening| named(&opening.track)).collect();
        if only.is_none() || (ended.is_empty() && opening.is_empty()) {
            // What is being asked about now was asked for before.
            member.publish_after = after;
        }
        for (stream, _) in opening {
            self.media(MediaAction::RefuseChannel { member: id, stream });
        }
        self.revoke_publications(id, ended);
    }

    fn revoke_received(&mut self, id: PublisherId, only: Option<&TrackId>, reason: &str) {
        let revoked = Standing::revoked(Denial::new(ErrorCode::FORBIDDEN, reason), self.next_question());
        let named = |track: &TrackId| only.is_none_or(|only| only == track);
        let others = self.tracks().filter(|(of, track)| of.id != id && named(&track.info.track_id));
        let facts: Vec<_> = others.map(|(_, track)| track.facts()).collect();
        let of = only.and_then(|only| self.publisher_of(only));
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut ended = Vec::new();
        for facts in facts {
            let (track, standing) = (facts.id.clone(), revoked.clone());
            // Of one without a verdict something may be asked now, which was put before.
            let verdict = member.verdicts.entry(track).or_insert_with(|| Verdict::new(standing, &facts));
            verdict.standing = revoked.clone();
            if verdict.shown {
                ended.push(facts.id);
            }
        }
        // It does not come back by itself.
        match (only, of) {
            (Some(only), Some(of)) => member.want_no_more(of, Some(std::slice::from_ref(only))),
            (Some(_), None) => {}
            (None, _) => member.wants.clear(),
        }
        if only.is_none_or(|only| !ended.contains(only)) {
            self.discard_last_words(id, only);
        }
        ended.sort();
        ended.iter().for_each(|track| self.hold_against_verdict(id, track));
    }

    fn revoke_recorded(&mut self, id: PublisherId, only: Option<&TrackId>, reason: &str) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut ended = BTreeMap::new();
        for (track, state) in member.tracks.iter_mut().filter(|(track, _)| only.is_none_or(|only| only == *track)) {
            state.withheld = true;
            ended.insert(track.clone(), reason.to_owned());
        }
        self.revoke_recordings(ended);
    }
}
