//! What operators may do to a running node, if policy lets them in by the door `admin`.
//!
//! A revocation asks nobody but who the operator is, past the queue of all others: it must work when policy is busy, and at once.

mod acting;
mod archive;
mod looking;
mod overview;
mod tickets;
mod timeline;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use lockgate_model::policy::{AuthQuestion, Denial, Door, Identity};
use lockgate_model::{ErrorCode, Happening, PublisherId, RoomName, Secret};
use lockgate_policy::journal::{Line, SwapOutcome};
use lockgate_policy::{CanaryStatus, PolicyStatus};
use lockgate_room::{Revocation, Whom};
use lockgate_signal::{AdminAct, AdminRequest, Administer, FindRecorded, RevocationRequest};
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub(crate) use self::tickets::Tickets;
use crate::node::{Node, wall_clock_ms};
use crate::reload::Reloads;

/// The interface of a node.
pub(crate) fn administer(node: &Arc<Node>, reloads: Reloads) -> Administer {
    let node = node.clone();
    Arc::new(move |request| {
        let (node, reloads) = (node.clone(), reloads.clone());
        Box::pin(async move { act(&node, &reloads, request).await })
    })
}

/// Where recorded files lie, for those who have a link.
pub(crate) fn find_recorded(node: &Arc<Node>) -> FindRecorded {
    let node = node.clone();
    Arc::new(move |request| {
        let node = node.clone();
        Box::pin(async move { archive::find_recorded(&node, request).await })
    })
}

async fn act(node: &Arc<Node>, reloads: &Reloads, request: AdminRequest) -> Result<Value, Denial> {
    let AdminRequest { token, peer, act } = request;
    let operator = Operator { who: let_in(node, token, peer).await?, peer };
    let done = carry_out(node, reloads, &operator, act).await;
    if let Err(denial) = done.as_ref()
        && denial.code == ErrorCode::FORBIDDEN
    {
        node.note_refusal(&operator.who.subject, None, "admin", denial);
    }
    done
}

/// Who an operator is: whoever policy knows by the door `admin` and gives the admin grant. A refusal is told to those who look.
pub(crate) async fn let_in(node: &Node, token: Secret, peer: IpAddr) -> Result<Identity, Denial> {
    let question = AuthQuestion { token, door: Door::Admin, peer, now_ms: wall_clock_ms() };
    let operator = node.authenticate(question).await?;
    if operator.grant.is_admin() {
        return Ok(operator);
    }
    let denial = Denial::new(ErrorCode::FORBIDDEN, "this is for those with the admin grant");
    node.note_refusal(&operator.subject, None, "admin", &denial);
    Err(denial)
}

/// Somebody with the admin grant, and where they are.
struct Operator {
    who: Identity,
    peer: IpAddr,
}

async fn carry_out(
    node: &Node,
    reloads: &Reloads,
    Operator { who: operator, peer }: &Operator,
    act: AdminAct,
) -> Result<Value, Denial> {
    match act {
        AdminAct::ShowNode => {
            of_all_rooms(operator)?;
            overview::show_node(node).await
        }
        AdminAct::ListDecisions(page) => of_all_rooms(operator).map(|()| overview::list_decisions(node, &page)),
        AdminAct::ListRecordings(page) => archive::list_recordings(node, operator, page).await,
        AdminAct::ShowRecording { room, session } => archive::show_recording(node, operator, room, session).await,
        AdminAct::ListRooms(page) => looking::list_rooms(node, operator, page).await,
        AdminAct::ShowRoom { room, page } => looking::show_room(node, operator, &room, page, true).await,
        AdminAct::ListParticipants { room, page } => looking::show_room(node, operator, &room, page, false).await,
        AdminAct::Mute { room, publisher, mute } => acting::mute(node, operator, &room, publisher, mute).await,
        AdminAct::Record { room, recording } => acting::record(node, operator, *peer, &room, recording).await,
        AdminAct::Drain(drain) => of_all_rooms(operator).map(|()| acting::drain(node, operator, &drain)),
        AdminAct::StopDraining => of_all_rooms(operator).map(|()| acting::stop_draining(node, operator)),
        AdminAct::RevokeParticipant { room, publisher, revocation } => {
            revoke_participant(node, operator, &room, publisher, revocation).await
        }
        AdminAct::RevokeSubject { subject, revocation } => revoke_subject(node, operator, &subject, revocation).await,
        AdminAct::ShowPolicy => of_all_rooms(operator).map(|()| shown(&node.policy.status(Instant::now()))),
        AdminAct::ReloadPolicy => {
            of_all_rooms(operator)?;
            reload_policy(node, reloads, operator).await
        }
    }
}

/// Whether the operator's token is for this room.
fn allowed_in(operator: &Identity, room: &RoomName) -> Result<(), Denial> {
    match operator.grant.allows_room(room.as_str()) {
        true => Ok(()),
        false => Err(Denial::new(ErrorCode::FORBIDDEN, "the token is not for this room")),
    }
}

fn no_such_room() -> Denial {
    Denial::new(ErrorCode::NOT_FOUND, "there is no such room")
}

/// Whether the operator's token is for all rooms: plugins are.
fn of_all_rooms(operator: &Identity) -> Result<(), Denial> {
    match operator.grant.rooms {
        None => Ok(()),
        Some(_) => Err(Denial::new(ErrorCode::FORBIDDEN, "a token for some rooms is not for what concerns all")),
    }
}

async fn reload_policy(node: &Node, reloads: &Reloads, operator: &Identity) -> Result<Value, Denial> {
    let ends = || Denial::new(ErrorCode::INTERNAL, "the node ends");
    let reloaded = reloads.reload(format!("the operator {}", operator.subject)).await.ok_or_else(ends)?;
    let mut answer = shown(&node.policy.status(Instant::now()));
    match reloaded {
        Ok(swap) => answer["outcome"] = swap.outcome.as_str().into(),
        Err(problems) => {
            answer["outcome"] = SwapOutcome::Refused.as_str().into();
            answer["problems"] = problems.into();
        }
    }
    Ok(answer)
}

/// Which plugins answer.
fn shown(status: &PolicyStatus) -> Value {
    let PolicyStatus { live, canary, fallback } = status;
    let mut shown = json!(live);
    if let Some(CanaryStatus { policies, share, answers, left }) = canary {
        shown["canary"] = json!(policies);
        shown["canary"]["share"] = (*share).into();
        shown["canary"]["answers"] = (*answers).into();
        shown["canary"]["leftMs"] = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).into();
    }
    if let Some(epoch) = fallback {
        shown["fallback"] = (*epoch).into();
    }
    shown
}

async fn revoke_participant(
    node: &Node,
    operator: &Identity,
    room: &RoomName,
    publisher: PublisherId,
    revocation: RevocationRequest,
) -> Result<Value, Denial> {
    allowed_in(operator, room)?;
    let not_found = || Denial::new(ErrorCode::NOT_FOUND, "the room has no such participant");
    let handle = node.rooms.find(room).ok_or_else(not_found)?;
    let RevocationRequest { what, track_id: track, reason, .. } = revocation;
    tracing::info!(operator = operator.subject, room = %room, participant = %publisher, ?what, reason, "revoked");
    let revocation = Revocation { whom: Whom::Member(publisher), what, track, reason };
    let concerned = handle.revoke(revocation, operator.subject.clone()).await;
    if concerned.is_empty() {
        return Err(not_found());
    }
    Ok(json!({ "revoked": places(room, &concerned) }))
}

async fn revoke_subject(
    node: &Node,
    operator: &Identity,
    subject: &str,
    revocation: RevocationRequest,
) -> Result<Value, Denial> {
    let RevocationRequest { what, track_id: track, reason, hold_ms } = revocation;
    let now = wall_clock_ms();
    if hold_ms > 0 {
        if operator.grant.rooms.is_some() {
            return Err(Denial::new(ErrorCode::FORBIDDEN, "a token for some rooms keeps nobody out of all"));
        }
        // First of all, so that nobody comes back while they are put out.
        let until_ms = now.saturating_add(hold_ms);
        node.held.hold(subject, until_ms, now)?;
        let (operator, subject) = (operator.subject.clone(), subject.to_owned());
        let told = Happening::Operator {
            operator: operator.clone(),
            act: "hold".to_owned(),
            participant_ids: Vec::new(),
            track_id: None,
            reason: Some(format!("{subject}: {reason}")),
        };
        node.events.tell(None, &told);
        node.policy.journal().note(Line::Hold { operator, subject, until_ms });
    }
    tracing::info!(operator = operator.subject, subject, ?what, reason, hold_ms, "revoked");
    let mut rooms = JoinSet::new();
    for (name, handle) in node.rooms.all().into_iter().filter(|(name, _)| operator.grant.allows_room(name.as_str())) {
        let (whom, track, reason) = (Whom::Subject(subject.to_owned()), track.clone(), reason.clone());
        let by = operator.subject.clone();
        rooms.spawn(async move { (name, handle.revoke(Revocation { whom, what, track, reason }, by).await) });
    }
    let done = rooms.join_all().await;
    let revoked: Vec<_> = done.iter().flat_map(|(room, concerned)| places(room, concerned)).collect();
    Ok(json!({ "revoked": revoked }))
}

fn places(room: &RoomName, concerned: &[PublisherId]) -> Vec<Value> {
    concerned.iter().map(|publisher| json!({ "roomName": room, "publisherId": publisher })).collect()
}
