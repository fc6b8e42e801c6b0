//! Policy: the questions that doors ask, the verdicts that plugins give, the grants that the forwarder enforces.

mod grant;
mod question;
mod verdict;

pub use grant::{Attribute, Grant};
pub use question::{
    AdmissionQuestion, AuthQuestion, CommandQuestion, Door, Hook, Identity, Participant, Publication, PublishQuestion,
    RecordQuestion, RoomFacts, SubscribeQuestion, TrackFacts, Why,
};
pub use verdict::{AuthVerdict, CommandAnswer, CommandEffect, Decision, Denial, Verdict, merge};
