//! One client: from its socket's opening until its last room forgets it.

mod life;
mod link;
mod renewals;
mod resume;

pub(crate) use life::Session;
pub(crate) use link::{Link, RoomEvent, RoomNews};
pub(crate) use resume::{Comeback, Resumable};

#[cfg(test)]
mod tests;
