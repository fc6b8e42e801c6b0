//! What operators see of a room and do in it. Looking is one message among all others, and its answer has a bounded size: nobody in the
//! room waits longer for it than for somebody's join.

use std::collections::HashMap;

use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Event, ParticipantsPage, PublisherId, Reply, RoomCounts, TrackId};
use lockgate_policy::journal::OperatorAct;
use lockgate_room::{Input, Operation, Room, Wanted};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::RoomTask;

/// What an operator wants of a room.
#[derive(Debug)]
pub(crate) enum ToOperate {
    /// How much there is in it?
    Count(oneshot::Sender<RoomCounts>),
    /// Who is in it?
    See(Wanted, oneshot::Sender<(RoomCounts, ParticipantsPage)>),
    /// Somebody is to be silent, or not any more. Answered with the tracks that it concerned; none: there is no such participant, or
    /// track.
    Mute(Mute, oneshot::Sender<Option<Vec<TrackId>>>),
    /// Something is to be recorded, or not any more. Answered when policy has said whether it may be.
    Record(Box<Operation>, oneshot::Sender<Recorded>),
}

/// Somebody is to be silent.
#[derive(Debug)]
pub(crate) struct Mute {
    /// Who wants it, by subject.
    pub(crate) operator: String,
    /// Whose tracks.
    pub(crate) member: PublisherId,
    /// Which; none: all that can be heard or seen.
    pub(crate) track: Option<TrackId>,
    /// Whether they are to be silent.
    pub(crate) muted: bool,
}

/// How the recording stands, and what of it was refused; or why nothing came of it.
pub(crate) type Recorded = Result<Value, Denial>;

/// Operators who wait for what comes of their wish, by the numbers that they have in the room.
#[derive(Debug, Default)]
pub(super) struct Operators {
    open: HashMap<PublisherId, Open>,
}

#[derive(Debug)]
struct Open {
    done: oneshot::Sender<Recorded>,
    /// What policy refused of it.
    refused: Vec<(Option<TrackId>, Denial)>,
}

impl Operators {
    /// Somebody is told something under an operator's number. False: nobody waits under it.
    pub(super) fn hear(&mut self, to: PublisherId, reply: &Reply) -> bool {
        let Some(open) = self.open.get_mut(&to) else { return false };
        match &reply.event {
            Event::Error { code, message, track_id, retry_after_ms, .. } => {
                let denial = Denial { retry_after_ms: *retry_after_ms, ..Denial::new(code.clone(), message.clone()) };
                open.refused.push((track_id.clone(), denial));
            }
            Event::RecordingState { state, session_id, tracks, .. } => {
                let Some(Open { done, refused }) = self.open.remove(&to) else { return false };
                let refused = refused.iter().map(|(track, denial)| {
                    json!({ "trackId": track, "code": denial.code.as_str(), "message": denial.message })
                });
                let state = json!({
                    "sessionId": session_id,
                    "state": state,
                    "tracks": tracks,
                    "refused": refused.collect::<Vec<_>>(),
                });
                // Whoever wanted it may be gone; it is done all the same.
                let _ = done.send(Ok(state));
            }
            _ => {}
        }
        true
    }

    /// Tells those of whose wish nothing came, now that policy has answered.
    fn settle(&mut self, room: &Room) {
        for (_, Open { done, refused }) in self.open.extract_if(|by, _| !room.is_asking_for(*by)) {
            let nothing = || Denial::new(ErrorCode::NOT_FOUND, "nothing is left of what was to be recorded");
            let _ = done.send(Err(refused.into_iter().next().map_or_else(nothing, |(_, denial)| denial)));
        }
    }
}

impl RoomTask {
    pub(super) async fn operate(&mut self, wish: ToOperate) {
        match wish {
            // Whoever asked may have waited long enough, in all of these.
            ToOperate::Count(counts) => drop(counts.send(self.room.counts())),
            ToOperate::See(wanted, page) => drop(page.send((self.room.counts(), self.room.page(&wanted)))),
            ToOperate::Mute(mute, done) => {
                let concerned = self.mute(mute).await;
                drop(done.send(concerned));
            }
            ToOperate::Record(operation, done) => self.operate_recording(*operation, done).await,
        }
    }

    async fn mute(&mut self, mute: Mute) -> Option<Vec<TrackId>> {
        let Mute { operator, member, track, muted } = mute;
        let tracks = self.room.mutable(member, track.as_ref());
        if tracks.is_empty() && (track.is_some() || !self.room.contains(member)) {
            return None;
        }
        let act = if muted { OperatorAct::Mute } else { OperatorAct::Unmute };
        self.tell_act(&operator, act, vec![member], track.clone());
        self.notes.acted(operator, act, Some(member), track);
        self.handle(Input::MuteByOperator { tracks: tracks.clone(), muted }).await;
        Some(tracks)
    }

    async fn operate_recording(&mut self, operation: Operation, done: oneshot::Sender<Recorded>) {
        let act = if operation.record { OperatorAct::StartRecording } else { OperatorAct::StopRecording };
        let operator = operation.who.identity.subject.clone();
        self.tell_act(&operator, act, Vec::new(), None);
        self.notes.acted(operator, act, None, None);
        self.operators.open.insert(operation.by, Open { done, refused: Vec::new() });
        self.handle(Input::Operation(operation)).await;
    }

    /// Everything that one input brought about is done.
    pub(super) fn settle_operators(&mut self) {
        if !self.operators.open.is_empty() {
            self.operators.settle(&self.room);
        }
    }
}
