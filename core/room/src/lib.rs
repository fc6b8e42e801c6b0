//! One room's state: who is in, what is published, who receives what, what was asked of policy and what it allowed.
//!
//! Pure: an [`Input`] goes in with the time, [`Effect`]s come out. The shell asks the policy, drives the media and
//! writes to the sockets as the effects say, and feeds what came of it back. Nothing here waits, sends or knows a clock.

mod data;
mod effect;
mod entrance;
mod input;
mod member;
mod moderation;
mod operator;
mod overview;
mod pending;
mod places;
mod publishing;
mod quality;
mod reasking;
mod receiving;
mod recorded;
mod recording;
mod revocation;
mod rights;
mod room;
mod session;
mod speakers;
mod speaking;
mod standing;
mod subscribing;
mod visibility;

pub use effect::{Connection, Effect, MediaAction, Question, RecordAction, Words};
pub use input::{
    AcceptedTrack, Answer, Answered, Input, Join, LeaveReason, MediaProblem, ReceiverAnswer, RecorderReport,
    Revocation, SubscribeOffer, Whom,
};
pub use operator::Operation;
pub use overview::Wanted;
pub use pending::Ticket;
pub use room::{Room, RoomConfig};

#[cfg(test)]
mod tests;
