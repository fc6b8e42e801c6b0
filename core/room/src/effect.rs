//! What a room wants done.

use std::collections::BTreeSet;

use lockgate_model::policy::{
    AdmissionQuestion, CommandQuestion, PublishQuestion, RecordQuestion, SubscribeQuestion, Why,
};
use lockgate_model::{
    AdmittedMedia, Bitrate, Happening, Limits, PublisherId, RecordingId, Reply, Request, RequestId, Source, TrackId,
};

use crate::pending::Ticket;

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Tell a member.
    Send {
        /// Whom.
        to: PublisherId,
        /// What.
        reply: Reply,
        /// Who says why, where it is a refusal or an end.
        words: Words,
    },
    /// Ask policy; the answer comes back as [`crate::Input::Answer`].
    Ask {
        /// Which question.
        ticket: Ticket,
        /// The question.
        question: Box<Question>,
    },
    /// Tell those who follow what happens.
    Happened(Happening),
    /// Drive the media. Actions of one room are done in order.
    Media(MediaAction),
    /// Drive the recorder.
    Record(RecordAction),
    /// Forget a member: they are out.
    Gone {
        /// Whom.
        member: PublisherId,
        /// What they asked for that nobody here will answer, as it waited for what came before; in their order.
        missed: Vec<Request>,
    },
}

/// Whose decision a member is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// The room's own: it follows from its rules, from what was asked, or from the time.
    Room,
    /// Policy's: what is told is what it has answered just now.
    Policy,
}

/// What policy is asked.
#[derive(Debug)]
pub enum Question {
    /// May they enter?
    Admission(AdmissionQuestion),
    /// May they publish these?
    Publish(PublishQuestion),
    /// May they receive these?
    Subscribe(SubscribeQuestion),
    /// May these be recorded?
    Record(RecordQuestion),
    /// May they act so?
    Command(Box<CommandQuestion>),
}

impl Question {
    /// Whether it was answered before, and is put again: nobody waits for it.
    pub fn is_repeated(&self) -> bool {
        let why = match self {
            Self::Admission(question) => question.why,
            Self::Publish(question) => question.why,
            Self::Subscribe(question) => question.why,
            Self::Record(question) => question.why,
            Self::Command(_) => Why::Request,
        };
        why == Why::Recheck
    }
}

/// One of a member's subscribe connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    /// Whose.
    pub member: PublisherId,
    /// For whose tracks; none: for everybody's.
    pub publisher: Option<PublisherId>,
}

/// What the media side does.
#[derive(Debug)]
pub enum MediaAction {
    /// Answer a member's offer.
    AcceptOffer {
        /// For the reply.
        ticket: Ticket,
        /// Whose.
        member: PublisherId,
        /// The session description.
        offer: String,
        /// What became of its m-lines.
        admitted: Vec<AdmittedMedia>,
    },
    /// Take a candidate of a member's publish connection.
    PublishCandidate {
        /// The mark of the message.
        id: Option<RequestId>,
        /// Whose.
        member: PublisherId,
        /// The candidate; empty at their end.
        line: String,
    },
    /// Stop receiving a track.
    Unpublish {
        /// Whose.
        member: PublisherId,
        /// Which.
        track: TrackId,
    },
    /// Let through so much of a track from now on.
    LimitPublication {
        /// Whose.
        member: PublisherId,
        /// Which.
        track: TrackId,
        /// None: as much as comes.
        max_bitrate: Option<Bitrate>,
    },
    /// Forward a data channel that a member opened.
    AdmitChannel {
        /// Whose.
        member: PublisherId,
        /// Which of the connection's channels.
        stream: u16,
        /// Under which name.
        track: TrackId,
    },
    /// End a data channel that a member opened.
    RefuseChannel {
        /// Whose.
        member: PublisherId,
        /// Which of the connection's channels.
        stream: u16,
    },
    /// Stop or resume forwarding a track.
    Mute {
        /// Which.
        track: TrackId,
        /// Whether.
        muted: bool,
    },
    /// Send a track to a member; offers again when it is sent already.
    Subscribe {
        /// By which connection, made when there is none.
        connection: Connection,
        /// Whose.
        publisher: PublisherId,
        /// Which.
        track: TrackId,
        /// How much of it.
        limits: Limits,
    },
    /// Stop sending a track to a member.
    Unsubscribe {
        /// By which connection.
        connection: Connection,
        /// Whose.
        publisher: PublisherId,
        /// Which.
        track: TrackId,
    },
    /// A data channel was ended by its publisher: expect nothing more under its name. What was said on it last still goes to the member.
    ExpectNoMore {
        /// By which connection the member had it.
        connection: Connection,
        /// Which.
        track: TrackId,
    },
    /// What was said last on data channels that their publishers ended is not for the member any more.
    DiscardLast {
        /// By which connection.
        connection: Connection,
        /// Whose channels; none: everybody's.
        publisher: Option<PublisherId>,
        /// Which; none: all.
        tracks: Option<BTreeSet<TrackId>>,
    },
    /// Send more or less of a track.
    SetLimits {
        /// By which connection.
        connection: Connection,
        /// Which.
        track: TrackId,
        /// How much of it.
        limits: Limits,
    },
    /// Take a client's answer.
    TakeAnswer {
        /// For the reply.
        ticket: Ticket,
        /// On which connection.
        connection: Connection,
        /// Which offer it answers; none: the open one.
        offer_id: Option<u64>,
        /// The session description.
        answer: String,
    },
    /// Answer a client's offer to receive, with what is sent by this connection, made when there is none.
    AnswerReceiver {
        /// For the reply.
        ticket: Ticket,
        /// Which.
        connection: Connection,
        /// The session description.
        offer: String,
    },
    /// Take a candidate of a subscribe connection.
    SubscribeCandidate {
        /// The mark of the message.
        id: Option<RequestId>,
        /// Which.
        connection: Connection,
        /// The candidate; empty at their end.
        line: String,
    },
    /// Offer with new ICE credentials.
    RestartIce {
        /// Which.
        connection: Connection,
        /// Somebody whose tracks it carries.
        publisher: PublisherId,
    },
    /// End a subscribe connection.
    CloseConnection {
        /// Which.
        connection: Connection,
    },
    /// End a member's publish connection.
    ClosePublish {
        /// Whose.
        member: PublisherId,
    },
}

/// What the recorder does.
#[derive(Debug)]
pub enum RecordAction {
    /// Begin a session.
    Start {
        /// Which.
        session: RecordingId,
    },
    /// Record a track.
    Add {
        /// In which session.
        session: RecordingId,
        /// Whose.
        publisher: PublisherId,
        /// Which.
        track: TrackId,
        /// Where it comes from.
        source: Source,
    },
    /// Record a track no more.
    Remove {
        /// In which session.
        session: RecordingId,
        /// Which.
        track: TrackId,
    },
    /// End a session: close its files.
    Stop {
        /// Which.
        session: RecordingId,
    },
}
