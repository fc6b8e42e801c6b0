//! The rooms of this node: one task each, which runs the pure room and carries out its effects.

mod ask;
mod media;
mod notes;
mod registry;
mod task;

pub(crate) use media::inspect_offer;
pub(crate) use registry::{RoomHandle, Rooms};
pub(crate) use task::{FromMember, Mute, ToRoom};
