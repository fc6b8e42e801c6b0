//! What reaches a room from outside.

use std::collections::HashSet;

use lockgate_model::carrier::NodeTime;
use lockgate_model::policy::{CommandAnswer, CommandEffect, Decision, Denial, Identity, Participant};
use lockgate_model::{
    ChannelFacts, ChannelLoss, Codec, ErrorCode, Heard, Layer, LayerReason, OfferedMedia, PublisherId, Quality,
    RecordingId, Request, RequestId, RevokedWhat, Secret, SubscribeConnections, TrackId,
};

use crate::effect::Connection;
use crate::operator::Operation;
use crate::pending::Ticket;

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// Somebody with an accepted token wants in.
    Join(Join),
    /// A member asks for something. Until the member's last question is answered it is held, in order.
    Command {
        /// Who.
        member: PublisherId,
        /// What.
        request: Request,
        /// The tracks that a `publish-offer` names, read by the media side beforehand; none for other commands.
        offered: Option<Result<Vec<OfferedMedia>, MediaProblem>>,
    },
    /// It is as late as [`crate::Room::next_timeout`] said.
    Time,
    /// Somebody may do something no more.
    Revoke(Revocation),
    /// An operator wants something recorded, or not any more. What comes of it is sent to the operator's number.
    Operation(Operation),
    /// An operator mutes tracks, or takes that back.
    MuteByOperator {
        /// Which.
        tracks: Vec<TrackId>,
        /// Whether they are to be silent.
        muted: bool,
    },
    /// Other plugins answer than before: everything is asked about again. What stays allowed is not touched.
    OtherPolicy,
    /// A member's token was renewed.
    Renewed {
        /// Who.
        member: PublisherId,
        /// What the new token says.
        identity: Identity,
    },
    /// A member's socket came back: the state is sent again.
    Resumed {
        /// Who.
        member: PublisherId,
    },
    /// A member is gone.
    Leave {
        /// Who.
        member: PublisherId,
        /// Why.
        reason: LeaveReason,
    },
    /// Policy answered.
    Answer {
        /// Which question.
        ticket: Ticket,
        /// What it said.
        answer: Answer,
    },
    /// Policy was not asked, or nobody knows what it answered. This counts instead, and is nobody's word but the node's.
    Unanswered {
        /// Which question.
        ticket: Ticket,
        /// No.
        answer: Answer,
    },
    /// The media side answered an offer.
    Accepted {
        /// Which action.
        ticket: Ticket,
        /// The answer, or why there is none.
        result: Result<Answered, MediaProblem>,
    },
    /// The media side took a client's answer, or did not.
    AnswerTaken {
        /// Which action.
        ticket: Ticket,
        /// Whether.
        result: Result<(), MediaProblem>,
    },
    /// The media side cannot use a candidate.
    CandidateRefused {
        /// Whose.
        member: PublisherId,
        /// The mark of the message.
        id: Option<RequestId>,
        /// The `type` of the message.
        of: &'static str,
        /// Why.
        problem: MediaProblem,
    },
    /// The media side wants a client to receive other tracks.
    Offer(SubscribeOffer),
    /// The media side answered an offer to receive.
    ReceiverAnswered {
        /// Which action.
        ticket: Ticket,
        /// The answer, or why there is none.
        result: Result<ReceiverAnswer, MediaProblem>,
    },
    /// What is sent on the m-lines that a client offered has changed. Nothing is offered.
    Placed {
        /// On which connection.
        connection: Connection,
        /// Whose tracks caused it.
        cause: PublisherId,
        /// What is sent: mid and track.
        tracks: Vec<(String, TrackId)>,
    },
    /// A connection has come up.
    Connected {
        /// Whose.
        member: PublisherId,
    },
    /// A subscribe connection ended by itself.
    ConnectionLost {
        /// Which.
        connection: Connection,
        /// Whether it is the client's doing: an offer, and its repetition, were not answered.
        unanswered: bool,
        /// Why, for people.
        reason: String,
    },
    /// A member opened a data channel on its publish connection.
    ChannelOpened {
        /// Who.
        member: PublisherId,
        /// Which of the connection's channels.
        stream: u16,
        /// What it was opened with.
        channel: ChannelFacts,
    },
    /// A member's data channel is over.
    ChannelClosed {
        /// Whose.
        member: PublisherId,
        /// Which of the connection's channels.
        stream: u16,
    },
    /// A subscriber gets no more of a data channel, which goes on.
    ChannelLost {
        /// By which connection.
        connection: Connection,
        /// Of which one.
        track: TrackId,
        /// Why.
        loss: ChannelLoss,
    },
    /// A member's publish connection ended by itself.
    PublishLost {
        /// Whose.
        member: PublisherId,
        /// Why, for people.
        reason: String,
    },
    /// How well media flows on a subscribe connection.
    Received {
        /// Which.
        connection: Connection,
        /// How well.
        quality: Quality,
    },
    /// How well media flows from a publisher.
    Sent {
        /// Whose.
        member: PublisherId,
        /// How well.
        quality: Quality,
    },
    /// How much comes from a publisher.
    Rates {
        /// Whose.
        member: PublisherId,
        /// Each track, and what came of each of its encodings in the last second, the smallest first, in bit/s.
        tracks: Vec<(TrackId, Vec<u64>)>,
    },
    /// A member need not send all encodings of a track, or is to send more again: nobody, or somebody, watches them.
    Steered {
        /// Who.
        member: PublisherId,
        /// Which track.
        track: TrackId,
        /// Its encodings, the smallest first: the name, if it has one, and whether it is to be sent.
        encodings: Vec<(Option<String>, bool)>,
    },
    /// A subscriber receives another layer, or nothing.
    Layer {
        /// By which connection.
        connection: Connection,
        /// Of which track.
        track: TrackId,
        /// Which; none: nothing.
        layer: Option<Layer>,
        /// Why.
        reason: LayerReason,
    },
    /// How loud tracks are. Each engine that carries some of the room tells of its own, about every 100 ms while there is something.
    Levels {
        /// When, on the timeline of all engines.
        at: NodeTime,
        /// What was heard.
        heard: Vec<Heard>,
    },
    /// The recorder said something.
    Recorder(RecorderReport),
}

/// Somebody with an accepted token wants in.
#[derive(Debug)]
pub struct Join {
    /// Their place in the room if they get one.
    pub member: PublisherId,
    /// Who they are.
    pub participant: Participant,
    /// The mark of their message.
    pub id: Option<RequestId>,
    /// The password they gave.
    pub password: Option<Secret>,
    /// What their client wrote for policy.
    pub metadata: Option<String>,
    /// How they want to receive.
    pub connections: SubscribeConnections,
}

/// Somebody may do something no more, whatever policy says.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Who.
    pub whom: Whom,
    /// What: the stay, what they publish, what they receive, or that what they publish is recorded.
    pub what: RevokedWhat,
    /// Which track; none: all. A stay has none.
    pub track: Option<TrackId>,
    /// Why, for people.
    pub reason: String,
}

/// Somebody, by place or by name.
#[derive(Clone, Debug)]
pub enum Whom {
    /// Who has this place in the room.
    Member(PublisherId),
    /// Whoever goes by this subject, in all their places.
    Subject(String),
}

/// Why a member is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// Their socket is closed.
    Closed,
    /// Their token ended.
    Expired,
}

/// What policy said.
#[derive(Debug)]
pub enum Answer {
    /// To a question about one thing.
    One(Decision),
    /// To a question about several, in their order.
    Many(Vec<Decision>),
    /// To a question about an act.
    Act(CommandAnswer),
}

impl Answer {
    /// Its words for people: of what it denies, and of what it ends besides.
    pub(crate) fn words(&self) -> HashSet<String> {
        let denied = |decision: &Decision| decision.as_ref().err().map(|denial| denial.message.clone());
        match self {
            Self::One(decision) => denied(decision).into_iter().collect(),
            Self::Many(decisions) => decisions.iter().filter_map(denied).collect(),
            Self::Act(answer) => {
                let ended = answer.effects.iter().filter_map(|effect| match effect {
                    CommandEffect::Revoke { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                denied(&answer.decision).into_iter().chain(ended).collect()
            }
        }
    }

    /// The first or only decision.
    pub(crate) fn into_one(self) -> Decision {
        match self {
            Self::One(decision) => decision,
            Self::Many(decisions) => decisions.into_iter().next().unwrap_or_else(no_answer),
            Self::Act(answer) => answer.decision,
        }
    }

    pub(crate) fn into_many(self) -> Vec<Decision> {
        match self {
            Self::Many(decisions) => decisions,
            other => vec![other.into_one()],
        }
    }

    pub(crate) fn into_act(self) -> CommandAnswer {
        match self {
            Self::Act(answer) => answer,
            other => CommandAnswer { decision: other.into_one(), reply: String::new(), effects: Vec::new() },
        }
    }
}

/// Policy's decisions, one for each thing that was asked about: what it left out is denied.
pub(crate) fn for_each_asked<T>(
    asked: impl IntoIterator<Item = T>,
    decisions: Vec<Decision>,
) -> impl Iterator<Item = (T, Decision)> {
    asked.into_iter().zip(decisions.into_iter().chain(std::iter::repeat_with(no_answer)))
}

fn no_answer() -> Decision {
    Err(Denial::new(ErrorCode::POLICY_UNAVAILABLE, "policy gave no answer"))
}

/// The answer to a client's offer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The session description.
    pub sdp: String,
    /// What was accepted.
    pub tracks: Vec<AcceptedTrack>,
}

/// A track that is now received.
#[derive(Clone, Debug)]
pub struct AcceptedTrack {
    /// Its name in the room.
    pub track: TrackId,
    /// How it is coded.
    pub codec: Codec,
    /// How many encodings it has.
    pub encodings: u8,
}

/// Why the media side could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaProblem {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// What a client should be offered.
#[derive(Clone, Debug)]
pub struct SubscribeOffer {
    /// On which connection.
    pub connection: Connection,
    /// Counts up on each connection.
    pub offer_id: u64,
    /// Whose tracks caused it.
    pub cause: PublisherId,
    /// The session description.
    pub sdp: String,
    /// Its active m-lines.
    pub tracks: Vec<(String, TrackId)>,
}

/// The answer to an offer to receive.
#[derive(Clone, Debug)]
pub struct ReceiverAnswer {
    /// The session description.
    pub sdp: String,
    /// What is sent on its m-lines: mid and track.
    pub tracks: Vec<(String, TrackId)>,
}

/// What the recorder said.
#[derive(Clone, Debug)]
pub enum RecorderReport {
    /// A recorder has the session.
    Started {
        /// Which session.
        session: RecordingId,
    },
    /// No recorder would take it.
    Absent {
        /// Which session.
        session: RecordingId,
        /// Why, for people.
        reason: String,
    },
    /// Media is being written.
    Recording {
        /// Which session.
        session: RecordingId,
    },
    /// All files are closed.
    Stopped {
        /// Which session.
        session: RecordingId,
    },
    /// It cannot go on.
    Failed {
        /// Which session.
        session: RecordingId,
        /// Why, for people.
        reason: String,
    },
}
