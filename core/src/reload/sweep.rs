//! When other plugins answer, everybody who is in is asked about again: a few rooms at a time, so that people at the doors do not wait
//! behind all who are in.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::node::Node;

/// Goes through all rooms whenever it is told that others may answer. A room that is asked about by the same ones as before does nothing.
pub(crate) async fn sweep(node: Arc<Node>, changed: Arc<Notify>) {
    let turns = Arc::new(Semaphore::new(ROOMS_AT_A_TIME));
    // Never more than there are turns: a room that is behind keeps no other one waiting.
    let mut told = JoinSet::new();
    loop {
        changed.notified().await;
        for (_, room) in node.rooms.all() {
            // Nobody closes it.
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            while told.try_join_next().is_some() {}
            told.spawn(async move { room.reconsider(turn).await });
        }
    }
}

/// Each has four questions with policy at most when it is asked about again (`Questions`), so these have 32 of a queue of 1,024.
const ROOMS_AT_A_TIME: usize = 8;
