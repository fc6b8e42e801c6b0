//! What operators do that takes nothing from anybody for good.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockgate_model::policy::{Denial, Door, Identity, Participant};
use lockgate_model::{ErrorCode, Happening, PublisherId, RoomName};
use lockgate_policy::journal::{Line, OperatorAct};
use lockgate_room::Operation;
use lockgate_signal::{DrainRequest, MuteRequest, RecordingRequest, RecordingWish};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{allowed_in, no_such_room};
use crate::drain::milliseconds;
use crate::node::Node;
use crate::rooms::Mute;

/// Has somebody be silent, or not any more. Asks nobody but who the operator is, as a revocation does.
pub(super) async fn mute(
    node: &Node,
    operator: &Identity,
    room: &RoomName,
    member: PublisherId,
    wish: MuteRequest,
) -> Result<Value, Denial> {
    allowed_in(operator, room)?;
    let handle = node.rooms.find(room).ok_or_else(no_such_room)?;
    let MuteRequest { track_id: track, muted } = wish;
    tracing::info!(operator = operator.subject, room = %room, participant = %member, muted, "muted");
    let mute = Mute { operator: operator.subject.clone(), member, track, muted };
    let tracks = handle.mute(mute).await;
    let not_found =
        || Denial::new(ErrorCode::NOT_FOUND, "the room has no such participant, or they have no such track");
    Ok(json!({ "muted": muted, "tracks": tracks.ok_or_else(not_found)? }))
}

/// Has something recorded, or not any more. The `recording` hook is asked, as when a participant wants it.
pub(super) async fn record(
    node: &Node,
    operator: &Identity,
    peer: IpAddr,
    room: &RoomName,
    wish: RecordingRequest,
) -> Result<Value, Denial> {
    allowed_in(operator, room)?;
    let handle = node.rooms.find(room).ok_or_else(no_such_room)?;
    let who = Participant { identity: operator.clone(), publisher_id: None, door: Door::Admin, peer };
    let record = wish.action == RecordingWish::Start;
    tracing::info!(operator = operator.subject, room = %room, record, "a recording is to begin or to end");
    let operation = Operation { by: node.allot_publisher(), who, record, tracks: wish.track_ids };
    match timeout(RECORD_WITHIN, handle.record(operation)).await {
        Ok(done) => done.ok_or_else(no_such_room)?,
        Err(_) => Err(Denial::new(ErrorCode::OVERLOADED, "the room has not answered yet; look what came of it")),
    }
}

/// Lets nobody in any more.
pub(super) fn drain(node: &Node, operator: &Identity, wish: &DrainRequest) -> Value {
    let within = Duration::from_millis(wish.within_ms);
    tracing::info!(operator = operator.subject, ?within, "the node drains");
    note(node, operator, OperatorAct::Drain);
    // First the news: an empty node may end as soon as it drains.
    node.events.tell(None, &Happening::NodeDraining { deadline_ms: milliseconds(within) });
    node.drain.begin(within);
    json!({
        "draining": true,
        "deadlineMs": milliseconds(within),
        "connections": node.counters.connections.load(Ordering::Relaxed),
    })
}

/// Lets people in again.
pub(super) fn stop_draining(node: &Node, operator: &Identity) -> Value {
    if node.drain.stop() {
        tracing::info!(operator = operator.subject, "the node drains no more");
        note(node, operator, OperatorAct::Undrain);
        node.events.tell(None, &Happening::NodeUndrained {});
    }
    json!({ "draining": false })
}

fn note(node: &Node, operator: &Identity, act: OperatorAct) {
    let operator = operator.subject.clone();
    let told = Happening::Operator {
        operator: operator.clone(),
        act: act.as_str().to_owned(),
        participant_ids: Vec::new(),
        track_id: None,
        reason: None,
    };
    node.events.tell(None, &told);
    node.policy.journal().note(Line::Act { operator, act, room: None, participant: None, track: None });
}

/// How long a recording may take to be allowed: policy may take 10 s for one question.
const RECORD_WITHIN: Duration = Duration::from_secs(12);
