//! Any question and any answer: what goes through the threads, and into the decision log, as one thing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::RoomName;
use lockgate_model::policy::{
    AdmissionQuestion, AuthQuestion, CommandAnswer, CommandQuestion, Decision, Denial, Door, Hook, Identity,
    PublishQuestion, RecordQuestion, SubscribeQuestion,
};

use crate::chain::{Chain, denied, unavailable};
use crate::heard::Heard;
use crate::journal::Answered;
use crate::plugin::Moment;
use crate::secrecy::Shown;

/// What plugins are asked.
#[derive(Debug)]
pub(crate) enum Question {
    Auth(AuthQuestion),
    Admission(AdmissionQuestion),
    Publish(PublishQuestion),
    Subscribe(SubscribeQuestion),
    Record(RecordQuestion),
    Command(Box<CommandQuestion>),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Identity(Result<Identity, Denial>),
    Decisions(Vec<Decision>),
    Act(CommandAnswer),
}

impl Question {
    /// Has the plugins of a chain answer it. What they repeat of a secret in it comes no further.
    pub(crate) fn put_to(&self, chain: &Chain, moment: Moment, heard: &mut Heard) -> Answer {
        self.put_after(chain, None, moment, heard)
    }

    /// Has the plugins of a chain answer it, others having accepted somebody before.
    pub(crate) fn put_after(
        &self,
        chain: &Chain,
        accepted: Option<Identity>,
        moment: Moment,
        heard: &mut Heard,
    ) -> Answer {
        let answer = match self {
            Self::Auth(question) => Answer::Identity(chain.authenticate(question, accepted, moment, heard)),
            Self::Admission(question) => Answer::Decisions(vec![chain.admit(question, moment, heard)]),
            Self::Publish(question) => Answer::Decisions(chain.publish(question, moment, heard)),
            Self::Subscribe(question) => Answer::Decisions(chain.subscribe(question, moment, heard)),
            Self::Record(question) => Answer::Decisions(chain.record(question, moment, heard)),
            Self::Command(question) => Answer::Act(chain.command(question, moment, heard)),
        };
        Shown::by(self).kept_from(answer)
    }

    /// Has a chain answer it that nobody waits for: all that it says is kept.
    pub(crate) fn ask_beside(self: Arc<Self>, chain: &Chain, accepted: Option<Identity>, within: Duration) -> Answered {
        let started = Instant::now();
        let moment = Moment { now_ms: self.now_ms(), until: started + within };
        let mut heard = Heard::new(true);
        let answer = self.put_after(chain, accepted, moment, &mut heard);
        let (words, took) = (heard.into_words(), started.elapsed());
        Answered { question: self, words, host: None, answer, epoch: 0, took }
    }

    /// No, to all that is asked.
    pub(crate) fn denied(&self, denial: Denial) -> Answer {
        match self {
            Self::Auth(_) => Answer::Identity(Err(denial)),
            Self::Admission(_) => Answer::Decisions(vec![Err(denial)]),
            Self::Publish(question) => Answer::Decisions(vec![Err(denial); question.tracks.len()]),
            Self::Subscribe(question) => Answer::Decisions(vec![Err(denial); question.publications.len()]),
            Self::Record(question) => Answer::Decisions(vec![Err(denial); question.publications.len()]),
            Self::Command(_) => Answer::Act(denied(denial)),
        }
    }

    /// Whether an operator waits for it, who does not wait for everybody else.
    pub(crate) fn is_operators(&self) -> bool {
        matches!(self, Self::Auth(AuthQuestion { door: Door::Admin, .. }))
    }

    /// Its kind.
    pub(crate) fn hook(&self) -> Hook {
        match self {
            Self::Auth(_) => Hook::Auth,
            Self::Admission(_) => Hook::Admission,
            Self::Publish(_) => Hook::Publishing,
            Self::Subscribe(_) => Hook::Subscription,
            Self::Record(_) => Hook::Recording,
            Self::Command(_) => Hook::Command,
        }
    }

    /// When it was asked, in ms since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::Auth(question) => question.now_ms,
            Self::Admission(question) => question.now_ms,
            Self::Publish(question) => question.now_ms,
            Self::Subscribe(question) => question.now_ms,
            Self::Record(question) => question.now_ms,
            Self::Command(question) => question.now_ms,
        }
    }
}

impl Question {
    /// Whom or what all answers to it should be of one mind about: the room, or whoever shows a token. None: an operator, who is to come
    /// in whatever is being tried.
    pub(crate) fn subject(&self) -> Option<[Vec<u8>; 2]> {
        let room = match self {
            Self::Auth(_) if self.is_operators() => return None,
            Self::Auth(question) => {
                return Some([question.token.expose().as_bytes().to_vec(), question.peer.to_string().into_bytes()]);
            }
            Self::Admission(question) => &question.room,
            Self::Publish(question) => &question.room,
            Self::Subscribe(question) => &question.room,
            Self::Record(question) => &question.room,
            Self::Command(question) => &question.room,
        };
        Some(of_room(&room.name))
    }
}

/// The subject of all questions about a room.
pub(crate) fn of_room(name: &RoomName) -> [Vec<u8>; 2] {
    [name.as_str().as_bytes().to_vec(), Vec::new()]
}

impl Answer {
    /// How many decisions there are, and how many of them are denials.
    pub(crate) fn counted(&self) -> (usize, usize) {
        match self {
            Self::Identity(known) => (1, usize::from(known.is_err())),
            Self::Decisions(decisions) => (decisions.len(), decisions.iter().filter(|one| one.is_err()).count()),
            Self::Act(answer) => (1, usize::from(answer.decision.is_err())),
        }
    }

    pub(crate) fn into_identity(self) -> Result<Identity, Denial> {
        match self {
            Self::Identity(known) => known,
            Self::Decisions(_) | Self::Act(_) => Err(unavailable()),
        }
    }

    pub(crate) fn into_many(self) -> Vec<Decision> {
        match self {
            Self::Decisions(decisions) => decisions,
            Self::Identity(_) | Self::Act(_) => Vec::new(),
        }
    }

    pub(crate) fn into_one(self) -> Decision {
        self.into_many().pop().unwrap_or_else(|| Err(unavailable()))
    }

    pub(crate) fn into_act(self) -> CommandAnswer {
        match self {
            Self::Act(answer) => answer,
            Self::Identity(_) | Self::Decisions(_) => denied(unavailable()),
        }
    }
}
