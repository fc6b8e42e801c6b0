//! Questions of a room, put to the plugins: a few at a time, so that one large room does not fill the queue of all.

use std::collections::VecDeque;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{CommandAnswer, Decision, Denial};
use lockgate_policy::Policy;
use lockgate_room::{Answer, Question, Ticket};
use tokio::task::JoinSet;

/// The open questions of one room.
pub(super) struct Questions {
    policy: Policy,
    waiting: VecDeque<(Ticket, Box<Question>)>,
    asked: JoinSet<(Ticket, Answer)>,
}

impl Questions {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, waiting: VecDeque::new(), asked: JoinSet::new() }
    }

    /// Asks when it is the question's turn. Gives the answer at once when too many wait already: no.
    pub(super) fn ask(&mut self, ticket: Ticket, question: Box<Question>) -> Option<Answer> {
        if self.asked.len() < MAX_ASKED {
            self.put(ticket, question);
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((ticket, question));
        } else {
            return Some(turned_away(&question));
        }
        None
    }

    /// The next answer; waits while nothing is asked. There is always one: a plugin that fails denies.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Answer)> {
        let answered = self.asked.join_next().await?;
        if let Some((ticket, question)) = self.waiting.pop_front() {
            self.put(ticket, question);
        }
        match answered {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!(%error, "a question to policy was lost");
                None
            }
        }
    }

    fn put(&mut self, ticket: Ticket, question: Box<Question>) {
        let policy = self.policy.clone();
        self.asked.spawn(async move { (ticket, ask(&policy, *question).await) });
    }
}

async fn ask(policy: &Policy, question: Question) -> Answer {
    match question {
        Question::Admission(question) => Answer::One(policy.admit(question).await),
        Question::Publish(question) => Answer::Many(policy.publish(question).await),
        Question::Subscribe(question) => Answer::Many(policy.subscribe(question).await),
        Question::Record(question) => Answer::Many(policy.record(question).await),
        Question::Command(question) => Answer::Act(policy.command(*question).await),
    }
}

fn turned_away(question: &Question) -> Answer {
    let no = || Decision::Err(Denial::new(ErrorCode::OVERLOADED, "too many questions wait for policy"));
    let many = |count| Answer::Many(std::iter::repeat_with(no).take(count).collect());
    match question {
        Question::Admission(_) => Answer::One(no()),
        Question::Publish(question) => many(question.tracks.len()),
        Question::Subscribe(question) => many(question.publications.len()),
        Question::Record(question) => many(question.publications.len()),
        Question::Command(_) => {
            Answer::Act(CommandAnswer { decision: no(), reply: String::new(), effects: Vec::new() })
        }
    }
}

/// Questions of one room that policy has at a time; its own queue is for the other rooms too.
const MAX_ASKED: usize = 16;
/// Questions that wait for their turn: each member has at most one of its own, the rest are announcements.
const MAX_WAITING: usize = 65_536;
