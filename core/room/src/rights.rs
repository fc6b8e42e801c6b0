//! What a member may do at this moment: what policy said, held together.

use lockgate_model::policy::{Decision, Denial, Grant, TrackFacts};
use lockgate_model::{ErrorCode, MediaKind, PublisherId, Secret, Source, TrackId};

use crate::member::{Member, Stage, Track};
use crate::standing::Standing;

/// What somebody said at the door.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) password: Option<Secret>,
    pub(crate) metadata: Option<String>,
}

/// What policy said about a track to somebody who may receive it.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    /// Whether they may know of it. What a new token widens waits for policy's answer to that.
    pub(crate) shown: bool,
    kind: MediaKind,
    source: Source,
}

impl Member {
    /// Brings the grant up to date with what token and admission say now. Returns what it was.
    pub(crate) fn settle(&mut self) -> Grant {
        let token = &self.participant.identity.grant;
        let grant = self.admission.grant().map_or_else(|| token.clone(), |admission| token.and(admission));
        std::mem::replace(&mut self.grant, grant)
    }

    /// Whether policy lets this member know of the track.
    pub(crate) fn may_know(&self, track: &TrackId) -> bool {
        self.verdicts.get(track).is_some_and(|verdict| verdict.shown)
    }

    /// What this member may receive of a track: what policy said of it, within the member's own grant. None: nobody was asked.
    pub(crate) fn verdict(&self, track: &TrackId) -> Option<Decision> {
        let Verdict { standing, kind, source, .. } = self.verdicts.get(track)?;
        let allows = |allowed: &Grant| allowed.allows_subscribing(*kind, *source);
        Some(standing.within(&self.grant, allows, "your grant does not allow to receive this"))
    }

    /// Wants nothing more of a publisher, or none of these tracks of it until it asks for them again.
    pub(crate) fn want_no_more(&mut self, of: PublisherId, tracks: Option<&[TrackId]>) {
        let Some(want) = self.wants.get_mut(&of) else { return };
        match (tracks, &mut want.tracks) {
            (None, _) => drop(self.wants.remove(&of)),
            (Some(tracks), Some(wanted)) => wanted.retain(|track| !tracks.contains(track)),
            (Some(tracks), None) => want.except.extend(tracks.iter().cloned()),
        }
    }

    /// When the stay ends: with the token, or what auth plugins or admission grant.
    pub(crate) fn stay_ends_ms(&self) -> Option<u64> {
        let identity = &self.participant.identity;
        identity.expires_at_ms.into_iter().chain(identity.grant.expires_at_ms).min()
    }

    /// When something of it ends or is to be asked about again.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let tracks = self.tracks.values().filter_map(|track| track.standing.next_ms());
        let verdicts = self.verdicts.values().filter_map(|verdict| verdict.standing.next_ms());
        let admission = match self.stage {
            Stage::Inside => self.admission.next_ms(),
            // Whoever is not in yet is not asked about again.
            Stage::Entering | Stage::Waiting => self.admission.ends_ms(),
        };
        let stay = self.stay_ends_ms().into_iter().chain(admission);
        stay.chain(tracks).chain(verdicts).min()
    }

    /// Sets this member's questions apart from others': 0 … 255.
    pub(crate) fn spread(&self) -> u8 {
        // Fibonacci hashing: neighbours end up far from each other.
        self.id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
    }
}

impl Standing {
    /// What comes of it within a publisher's own grant.
    pub(crate) fn to_publish(&self, own: &Grant, kind: MediaKind, source: Source) -> Decision {
        let allows = |allowed: &Grant| allowed.allows_publishing(kind, source);
        self.within(own, allows, "policy does not allow to publish this")
    }

    /// What comes of it within somebody's own grant, if both together allow what it is about.
    fn within(&self, own: &Grant, allows: impl FnOnce(&Grant) -> bool, refusal: &str) -> Decision {
        let allowed = own.and(self.decision().as_ref().map_err(Clone::clone)?);
        if allows(&allowed) { Ok(allowed) } else { Err(Denial::new(ErrorCode::FORBIDDEN, refusal)) }
    }
}

impl Verdict {
    pub(crate) fn new(standing: Standing, track: &TrackFacts) -> Self {
        Self { standing, shown: false, kind: track.kind, source: track.source }
    }
}

impl Track {
    /// What its publisher may send of it. None: nothing any more.
    pub(crate) fn allowed(&self, publisher: &Grant) -> Option<Grant> {
        self.standing.to_publish(publisher, self.info.kind, self.info.source).ok()
    }
}
