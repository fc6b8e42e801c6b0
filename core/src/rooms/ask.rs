//! Questions of a room, put to the plugins: a few at a time, so that one large room does not fill the queue of all.

use std::collections::{HashMap, VecDeque};

use lockgate_model::ErrorCode;
use lockgate_model::policy::{CommandAnswer, Decision, Denial};
use lockgate_policy::Policy;
use lockgate_room::{Answer, Question, Ticket};
use tokio::task::{Id, JoinSet};

/// The open questions of one room.
pub(super) struct Questions {
    policy: Policy,
    waiting: VecDeque<(Ticket, Box<Question>)>,
    asked: JoinSet<Answer>,
    /// For each of them, by its task.
    open: HashMap<Id, (Ticket, Shape)>,
}

/// What an answer must look like.
#[derive(Clone, Copy)]
enum Shape {
    One,
    Many(usize),
    Act,
}

impl Questions {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, waiting: VecDeque::new(), asked: JoinSet::new(), open: HashMap::new() }
    }

    /// Asks when it is the question's turn. Gives the answer at once when too many wait already: no.
    pub(super) fn ask(&mut self, ticket: Ticket, question: Box<Question>) -> Option<Answer> {
        if self.asked.len() < MAX_ASKED {
            self.put(ticket, question);
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((ticket, question));
        } else {
            return Some(Shape::of(&question).denied(ErrorCode::OVERLOADED, "too many questions wait for policy"));
        }
        None
    }

    /// The next answer; waits while nothing is asked. There is always one: a plugin that fails denies.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Answer)> {
        let answered = self.asked.join_next_with_id().await?;
        if let Some((ticket, question)) = self.waiting.pop_front() {
            self.put(ticket, question);
        }
        let id = match &answered {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let (ticket, shape) = self.open.remove(&id)?;
        let answer = answered.map(|(_, answer)| answer).unwrap_or_else(|error| {
            tracing::error!(%error, "a question to policy failed");
            shape.denied(ErrorCode::POLICY_UNAVAILABLE, "policy gave no answer")
        });
        Some((ticket, answer))
    }

    fn put(&mut self, ticket: Ticket, question: Box<Question>) {
        let (policy, shape) = (self.policy.clone(), Shape::of(&question));
        self.wait_for(ticket, shape, async move { ask(&policy, *question).await });
    }

    fn wait_for(&mut self, ticket: Ticket, shape: Shape, answer: impl Future<Output = Answer> + Send + 'static) {
        let id = self.asked.spawn(answer).id();
        self.open.insert(id, (ticket, shape));
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

impl Shape {
    fn of(question: &Question) -> Self {
        match question {
            Question::Admission(_) => Self::One,
            Question::Publish(question) => Self::Many(question.tracks.len()),
            Question::Subscribe(question) => Self::Many(question.publications.len()),
            Question::Record(question) => Self::Many(question.publications.len()),
            Question::Command(_) => Self::Act,
        }
    }

    /// No, to all that was asked.
    fn denied(self, code: ErrorCode, message: &str) -> Answer {
        let no = || Decision::Err(Denial::new(code.clone(), message));
        match self {
            Self::One => Answer::One(no()),
            Self::Many(count) => Answer::Many(std::iter::repeat_with(no).take(count).collect()),
            Self::Act => Answer::Act(CommandAnswer { decision: no(), reply: String::new(), effects: Vec::new() }),
        }
    }
}

/// Questions of one room that policy has at a time; its own queue is for the other rooms too.
const MAX_ASKED: usize = 16;
/// Questions that wait for their turn: each member has at most one of its own, the rest are announcements.
const MAX_WAITING: usize = 65_536;

#[cfg(test)]
mod tests {
    use lockgate_model::{PublisherId, RoomName};
    use lockgate_room::{Effect, Input, Room, RoomConfig};

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_question_that_fails_is_answered_with_a_no() {
        let (node, _hub) = testing::node();
        let mut room = Room::new(RoomName::new("board").unwrap(), RoomConfig::default());
        room.handle(0, Input::Join(testing::join(PublisherId(1))));
        let Some(Effect::Ask { ticket, .. }) = room.poll() else { panic!("nothing is asked") };
        let mut questions = Questions::new(node.policy.clone());
        questions.wait_for(ticket, Shape::Many(2), async { panic!("a test wants it") });
        let Some((answered, Answer::Many(decisions))) = questions.next().await else { panic!("no answer") };
        assert_eq!((answered, decisions.len()), (ticket, 2));
        assert!(decisions.iter().all(Result::is_err) && questions.open.is_empty());
    }
}
