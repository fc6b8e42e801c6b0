//! What operators see. Rooms are asked by their tasks, a page at a time, and one that does not answer in time is shown without what is in
//! it: reading holds nobody up, and nobody holds up reading.

use std::time::Duration;

use lockgate_model::policy::{Denial, Identity};
use lockgate_model::{ErrorCode, PublisherId, RoomCounts, RoomName};
use lockgate_room::Wanted;
use lockgate_signal::PageRequest;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{allowed_in, no_such_room};
use crate::node::Node;
use crate::rooms::RoomHandle;

/// A room in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    room_name: RoomName,
    /// Absent: the room did not say in time.
    #[serde(flatten)]
    counts: Option<RoomCounts>,
}

/// The rooms that the operator may see, in the order of their names.
pub(super) async fn list_rooms(node: &Node, operator: &Identity, page: PageRequest<RoomName>) -> Result<Value, Denial> {
    let PageRequest { after, limit } = page;
    let mut rooms = node.rooms.all();
    rooms.retain(|(name, _)| {
        operator.grant.allows_room(name.as_str()) && after.as_ref().is_none_or(|after| name > after)
    });
    let total = rooms.len();
    rooms.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| total > limit).map(|(name, _)| name.clone());
    let mut asked = JoinSet::new();
    for (place, (room_name, handle)) in rooms.into_iter().enumerate() {
        asked.spawn(async move {
            let counts = timeout(ANSWER_WITHIN, handle.counts()).await;
            // One that has ended meanwhile is none any more.
            let gone = matches!(counts, Ok(None));
            (place, (!gone).then(|| Listed { room_name, counts: counts.ok().flatten() }))
        });
    }
    let mut listed = asked.join_all().await;
    listed.sort_unstable_by_key(|(place, _)| *place);
    let listed: Vec<_> = listed.into_iter().filter_map(|(_, room)| room).collect();
    Ok(with_next(json!({ "rooms": listed }), next))
}

/// What goes on in a room.
pub(super) async fn show_room(
    node: &Node,
    operator: &Identity,
    room: &RoomName,
    page: PageRequest<PublisherId>,
    watches: bool,
) -> Result<Value, Denial> {
    allowed_in(operator, room)?;
    let handle = node.rooms.find(room).ok_or_else(no_such_room)?;
    let wanted = Wanted { after: page.after, most: page.limit, items: MAX_ITEMS, watches };
    let (counts, page) = in_time(&handle, wanted).await?;
    let mut shown = json!(page);
    shown["roomName"] = json!(room);
    if watches {
        shown["counts"] = json!(counts);
    }
    Ok(shown)
}

async fn in_time(
    handle: &RoomHandle,
    wanted: Wanted,
) -> Result<(RoomCounts, lockgate_model::ParticipantsPage), Denial> {
    match timeout(ANSWER_WITHIN, handle.see(wanted)).await {
        Ok(seen) => seen.ok_or_else(no_such_room),
        Err(_) => Err(Denial::new(ErrorCode::OVERLOADED, "the room does not answer; try again later")),
    }
}

fn with_next(mut page: Value, next: Option<RoomName>) -> Value {
    if let Some(next) = next {
        page["next"] = json!(next);
    }
    page
}

/// How long a room may take to say what is in it: it waits for a media worker now and then.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Participants and tracks in one answer, but for those of the first participant: some megabytes.
const MAX_ITEMS: usize = 10_000;
